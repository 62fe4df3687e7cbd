//! The users: what people do with their devices.

use super::device::Asked;
use super::medium::Medium;
use super::server::POISON;
use super::{EPOCH, Packet, World};
use backscroll::model::{
    ClientToken, ConversationConfig, ConversationId, Intent, Membership, MessageKey, Participant, Sequence, Timestamp,
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
        let command = if rooms.is_empty() || self.rng.u32(0..12) == 0 {
            self.submit_new(index)
        } else {
            let room = rooms[self.rng.usize(0..rooms.len())];
            self.something_in(index, room)
        };
        let asked = if matches!(command, Command::Query(_)) { Asked::Query(self.now) } else { Asked::Other };
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
        let tokens: Vec<ClientToken> = self.devices[index].disk.outbox.keys().copied().collect();
        match (self.rng.u32(0..14), messages.is_empty()) {
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
}
