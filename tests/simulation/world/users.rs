//! The users: what people do with their devices.

use super::device::Asked;
use super::disk::{Disk, is_unfinished};
use super::faults::Faults;
use super::medium::Medium;
use super::server::POISON;
use super::{EPOCH, Packet, World};
use backscroll::model::{
    ClientToken, ConversationConfig, ConversationId, Intent, Membership, MessageKey, Participant, Sequence,
    SequenceRange, Timestamp,
};
use backscroll::sync::{Command, Query};
use std::time::Duration;

impl<M: Medium> World<M> {
    pub(super) fn act(&mut self) -> Result<(), String> {
        if self.actions_left == 0 {
            return Ok(());
        }
        self.actions_left -= 1;
        let at = self.now + Duration::from_millis(self.rng.u64(0..4_000));
        self.post(at, Packet::Act);
        if self.rng.u32(0..8) == 0 {
            self.act_elsewhere();
            return Ok(());
        }
        let index = self.rng.usize(0..self.devices.len());
        if self.devices[index].other.is_some() && self.fate.u32(0..1_000) < self.faults.take_over {
            self.take_over(index)?;
        }
        let device = &self.devices[index];
        let rooms: Vec<ConversationId> = device
            .disk
            .conversations
            .iter()
            .filter(|(_, held)| held.membership == Membership::Member)
            .map(|(id, _)| *id)
            .collect();
        match self.rng.u32(0..60) {
            0 => return self.command(index, Command::LogOut, Asked::LogOut),
            1 => {
                // Of a new store nobody knows yet whose it will be.
                let anybody = self.users[self.rng.usize(0..self.users.len())].0;
                let user = if device.disk.session.is_some() { anybody } else { device.user };
                return self.log_in(index, user);
            }
            _ => {}
        }
        let waiting: Vec<ClientToken> =
            unfinished(&device.disk, |intent| matches!(intent, Intent::CreateConversation(_)));
        let command = if rooms.is_empty() || self.rng.u32(0..12) == 0 {
            self.submit_new(index)
        } else if !waiting.is_empty() && self.rng.bool() {
            // Written into before the server has named it.
            let conversation = ConversationId::provisional(waiting[self.rng.usize(0..waiting.len())]);
            let text = format!("early {}", self.steps);
            self.submit(Intent::SendMessage { conversation, text, payload: None })
        } else {
            let room = rooms[self.rng.usize(0..rooms.len())];
            if self.policies && self.rng.u32(0..6) == 0 {
                self.something_of_history(index, room)
            } else {
                self.something_in(index, room)
            }
        };
        let asked = match &command {
            Command::Query(_) => Asked::Query(self.now),
            Command::Retry(_) => Asked::Retry,
            Command::Submit {
                intent: Intent::EditMessage { message: MessageKey::Token(of), text: Some(text), .. },
                ..
            } => {
                self.edits.push((*of, text.clone()));
                Asked::Edit(self.edits.len() - 1)
            }
            Command::Fetch { conversation, range } => {
                let held = &self.devices[index].disk.conversations[conversation];
                let known = SequenceRange::new(Sequence::FIRST, held.head);
                let known = known.and_then(|known| known.intersection(*range));
                known.map_or(Asked::Other, |known| Asked::Fetch(*conversation, known))
            }
            _ => Asked::Other,
        };
        let device = &self.devices[index];
        // Nobody asks anything of a process that is stopped.
        let has_session = device.disk.session.is_some();
        if device.is_shared && has_session && (self.rng.bool() || device.process.is_stopped()) {
            return self.wish(index, command, asked);
        }
        self.command(index, command, asked)
    }

    pub(super) fn submit(&mut self, intent: Intent) -> Command {
        Command::Submit { token: ClientToken::from_uuid(self.fresh()), intent, queued_at: Timestamp(EPOCH) }
    }

    pub(super) fn submit_new(&mut self, index: usize) -> Command {
        let others: Vec<Participant> = self
            .users
            .iter()
            .filter(|(user, _)| *user != self.devices[index].user)
            .map(|(user, _)| Participant::new(*user))
            .collect();
        let mut config = ConversationConfig { participants: others, ..ConversationConfig::default() };
        match self.rng.u32(0..5) {
            0 => {
                config.direct = true;
                config.participants.truncate(1);
            }
            1 => config.uber = true,
            2 => config.public_join = true,
            _ => {}
        }
        self.submit(Intent::CreateConversation(config))
    }

    pub(super) fn something_in(&mut self, index: usize, conversation: ConversationId) -> Command {
        let held = &self.devices[index].disk.conversations[&conversation];
        let head = held.head;
        let messages: Vec<_> = held.events.values().filter_map(|event| event.body.message()).collect();
        let wished = self.devices[index].disk.waiting_wishes().map(|(_, wish)| wish.token);
        let tokens: Vec<ClientToken> = self.devices[index].disk.outbox.keys().copied().chain(wished).collect();
        let unsent = unfinished(
            &self.devices[index].disk,
            |intent| matches!(intent, Intent::SendMessage { conversation: of, .. } if *of == conversation),
        );
        match (self.rng.u32(0..20), messages.is_empty()) {
            (0, false) => {
                let message = messages[self.rng.usize(0..messages.len())];
                let (message, text) = (MessageKey::Id(message), Some(format!("edited {}", self.steps)));
                self.submit(Intent::EditMessage { conversation, message, text, payload: None })
            }
            (1, false) => {
                let message = MessageKey::Id(messages[self.rng.usize(0..messages.len())]);
                self.submit(Intent::RemoveMessage { conversation, message })
            }
            (2, _) if head > Sequence::ZERO => self.submit(Intent::MarkAsRead { conversation, sequence: head }),
            (3, _) if !tokens.is_empty() => Command::Cancel(tokens[self.rng.usize(0..tokens.len())]),
            (4, _) => Command::Focus(vec![conversation]),
            (5, _) => Command::NetworkChanged,
            (6, _) => Command::Query(Query::Conversations(vec![conversation])),
            (10 | 11, _) if !unsent.is_empty() => {
                // Known by the token only, and for the engine to make the best of.
                let message = MessageKey::Token(unsent[self.rng.usize(0..unsent.len())]);
                if self.rng.u32(0..4) == 0 {
                    self.submit(Intent::RemoveMessage { conversation, message })
                } else {
                    let text = Some(format!("edited early {}", self.steps));
                    self.submit(Intent::EditMessage { conversation, message, text, payload: None })
                }
            }
            (8, _) if !tokens.is_empty() => Command::Retry(tokens[self.rng.usize(0..tokens.len())]),
            (9, _) => self.something_about(conversation),
            (7, _) => {
                let user = self.users[self.rng.usize(0..self.users.len())].0;
                self.submit(Intent::AddParticipants { conversation, participants: vec![Participant::new(user)] })
            }
            _ => {
                let kind = if self.rng.u32(0..30) == 0 { POISON } else { "text" };
                let text = format!("{kind} {}", self.steps);
                self.submit(Intent::SendMessage { conversation, text, payload: None })
            }
        }
    }

    /// Somebody changes the conversation itself. Whether it is allowed is for the server to say.
    fn something_about(&mut self, conversation: ConversationId) -> Command {
        let user = self.users[self.rng.usize(0..self.users.len())].0;
        let intent = match self.rng.u32(0..5) {
            0 => Intent::JoinConversation(conversation),
            1 => Intent::LeaveConversation(conversation),
            2 => Intent::RemoveParticipants { conversation, users: vec![user] },
            3 if self.rng.u32(0..6) == 0 => Intent::RemoveConversation(conversation),
            _ => {
                let title = Some(format!("title {}", self.steps));
                Intent::EditConversation { conversation, title, public_join: None, custom_data: None }
            }
        };
        self.submit(intent)
    }

    /// Somebody writes `each` messages into each of `rooms` conversations on a device without a network, all within
    /// a second. Then the network is back.
    pub(crate) fn write_offline(&mut self, rooms: u32, each: u32) -> Result<(), String> {
        self.actions_left = 0;
        let user = self.devices[0].user;
        let made: Vec<ConversationId> = (0..rooms).map(|_| self.make_conversation(user)).collect();
        self.come_to_rest()?;
        let faults = self.faults;
        self.faults = Faults { refuse_dial: 1_000, ..faults };
        self.lose_every_link()?;
        for number in 0..rooms * each {
            let conversation = made[(number % rooms) as usize];
            let intent = Intent::SendMessage { conversation, text: format!("offline {number}"), payload: None };
            let command = self.submit(intent);
            self.command(0, command, Asked::Other)?;
        }
        self.faults = faults;
        self.come_to_rest()?;
        let accepted = self.accepted.len();
        let all = accepted == (rooms * each) as usize;
        self.tally.holds("O-1", all, || format!("{accepted} of {} were accepted", rooms * each))?;
        self.check_the_end()
    }
}

/// Returns the tokens of what is on its way and of this kind.
fn unfinished(disk: &Disk, kind: impl Fn(&Intent) -> bool) -> Vec<ClientToken> {
    let entries = disk.outbox.values().filter(|entry| is_unfinished(entry.state) && kind(&entry.intent));
    entries.map(|entry| entry.token).collect()
}
