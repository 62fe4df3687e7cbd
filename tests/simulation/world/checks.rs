//! What must be true: while things happen, and when everything has come to rest.

use super::device::Asked;
use super::disk::{Held, token_of};
use super::medium::Medium;
use super::{Accepted, World, foreign};
use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, Intent, Membership, Message, MessageId, OutboxState,
    Permissions, Ranges, Sequence, SequenceRange, UserId, fold_messages,
};
use backscroll::protocol::{REQUEST_TIMEOUT, RETRANSMIT_MAX};
use backscroll_server::Hub;
use backscroll_server::storage::{Memory, Storage};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// The longest that a peer may be silent before its link is given up.
const SILENCE_MAX: Duration = Duration::from_secs(20);

/// Returns everything the hub ever numbered in a conversation.
pub(super) fn events(hub: &Hub<Memory>, conversation: ConversationId) -> Vec<Event> {
    let all = SequenceRange::new(Sequence::FIRST, Sequence(u32::MAX)).expect("not empty");
    hub.storage().events(conversation, all).expect("memory does not fail")
}

/// Returns whether the message born at this position was removed.
fn was_removed(log: &[Event], at: Sequence) -> bool {
    let born = log.iter().find(|event| event.sequence == at).and_then(|event| event.body.message());
    born.is_some() && log.iter().any(|event| matches!(event.body, EventBody::MessageRemoved(id) if Some(id) == born))
}

/// Who takes part, with what rights; read marks are no part of the log.
fn rights(conversation: &Conversation) -> BTreeMap<UserId, Permissions> {
    conversation.participants.iter().map(|participant| (participant.user, participant.permissions)).collect()
}

fn is_gone(membership: Membership) -> bool {
    membership == Membership::Removed
}

type Logs = BTreeMap<ConversationId, Vec<Event>>;

impl<M: Medium> World<M> {
    /// Nothing waits longer than it may.
    pub(super) fn check_patience(&mut self) -> Result<(), String> {
        let running = self.devices.iter().enumerate().filter(|(_, device)| device.process.stopped.is_none());
        for (index, device) in running {
            let quiet = device.process.link.and_then(|(_, conn)| self.conns.get(&conn)?.quiet_since);
            if let Some(since) = quiet {
                let told = self.now <= since + SILENCE_MAX;
                self.tally
                    .holds("C-4", told, || format!("device {index} believes in a peer silent since {since:?}"))?;
            }
            for waiting in device.process.waiting.values() {
                if let Asked::Query(at) = &waiting.asked {
                    // It may wait for a link first, and then for the answer.
                    let answered = self.now <= *at + 2 * REQUEST_TIMEOUT;
                    self.tally.holds("C-4", answered, || format!("device {index} asked at {at:?} in vain"))?;
                }
            }
        }
        Ok(())
    }

    /// What was pushed is held at once, whatever else is missing.
    pub(super) fn check_shown_at_once(&mut self, index: usize, event: &Event) -> Result<(), String> {
        let is_description =
            matches!(event.body, EventBody::ConversationCreated(_)) && event.sequence != Sequence::FIRST;
        if event.sequence == Sequence::ZERO || is_description {
            return Ok(());
        }
        let held = self.devices[index].disk.conversations.get(&event.conversation);
        let covered = held.is_some_and(|held| held.coverage.contains(event.sequence));
        let at = event.sequence;
        self.tally.holds("L-9", covered, || format!("{at} was pushed and is not held"))
    }

    /// What the hub holds, as clients see it.
    fn log(&self, conversation: ConversationId) -> Vec<Event> {
        let events = events(&self.hub, conversation);
        if self.idempotent { events } else { events.into_iter().map(foreign::unveil_event).collect() }
    }

    pub(super) fn check_the_end(&mut self) -> Result<(), String> {
        let logs: Logs = self.hub.storage().conversation_ids().map(|id| (id, self.log(id))).collect();
        for index in 0..self.devices.len() {
            for (id, log) in &logs {
                self.check_view(index, *id, log).map_err(|what| format!("{what}, on device {index}"))?;
            }
            self.check_effort(index)?;
            let contradicted = &self.devices[index].disk.contradicted;
            let made_up = || format!("an honest server seemed to contradict itself at {contradicted:?}");
            self.tally.holds("L-1", contradicted.is_empty(), made_up)?;
        }
        self.check_deliveries(&logs)?;
        if self.tally.faults.of("clock jump") > 0 {
            self.tally.holds("C-7", true, String::new)?;
        }
        Ok(())
    }

    /// A device of a participant holds what the server holds, and shows the same messages.
    fn check_view(&mut self, index: usize, id: ConversationId, log: &[Event]) -> Result<(), String> {
        let device = &self.devices[index];
        let stands = self.stands(id, device.user);
        let held = device.disk.conversations.get(&id);
        let (tally, hub) = (&mut self.tally, &self.hub);
        match (stands, held) {
            (Some(Membership::Member), Some(held)) => {
                let member = held.membership == Membership::Member;
                tally.holds("L-10", member, || format!("of {id} it stands as {:?}", held.membership))?;
            }
            (Some(Membership::Member), None) => {
                return tally.holds("L-8", false, || format!("conversation {id} is unknown"));
            }
            (_, Some(held)) => {
                let outside = held.membership != Membership::Member;
                return tally.holds("L-10", outside, || format!("{stands:?} of {id}, and it does not know"));
            }
            (_, None) => return Ok(()),
        }
        let held = held.expect("matched above");
        let stored = hub.storage().conversation(id).map_err(|error| error.to_string())?.expect("stands in it");
        let head = log.last().map_or(Sequence::ZERO, |event| event.sequence);
        let wanted = device.wanted(held);
        let whole = held.head == head && wanted.is_none_or(|wanted| held.coverage.contains_range(wanted));
        let behind = || format!("{id} is at {} of {head}, covers {:?} and wants {wanted:?}", held.head, held.coverage);
        tally.holds("L-8", whole, behind)?;
        let has_holes = !held.holes.is_empty() && !stored.conversation.uber;
        tally.holds("L-2", !has_holes, || format!("{id} has holes {:?}", held.holes))?;
        let described = held.description.as_ref().ok_or_else(|| format!("M-7: {id} was never described"))?;
        let same = rights(described) == rights(&stored.conversation);
        tally.holds("M-7", same, || format!("{id} has another list of participants"))?;
        let difference = first_difference(held, log);
        tally.holds("M-1", difference.is_none(), || format!("{id} shows another message at {difference:?}"))
    }

    /// No answer was fetched more often than something kept it from coming.
    fn check_effort(&mut self, index: usize) -> Result<(), String> {
        let device = &self.devices[index];
        for (id, ranges) in &device.asked {
            let is_uber = device.disk.conversations.get(id).and_then(|held| held.description.as_ref());
            if is_uber.is_none_or(|described| described.uber) {
                continue;
            }
            let most = ranges.iter().map(|range| ranges.iter().filter(|other| other.contains(range.first())).count());
            let most = most.max().unwrap_or_default();
            let allowed = device.interruptions as usize + 1;
            let busy = || format!("a position of {id} was asked for {most} times, interrupted {allowed} times");
            self.tally.holds("L-6", most <= allowed, busy)?;
        }
        for entry in device.disk.outbox.values() {
            let attempts = entry.attempts;
            let busy = || format!("{:?} left {attempts} times", entry.token);
            self.tally.holds("O-8", attempts <= device.interruptions + 1, busy)?;
        }
        Ok(())
    }

    /// Every accepted message is in the log exactly once, or was refused, or taken back; and in order.
    fn check_deliveries(&mut self, logs: &Logs) -> Result<(), String> {
        let mut found: BTreeMap<ClientToken, u32> = BTreeMap::new();
        for token in logs.values().flatten().filter_map(token_of) {
            *found.entry(token).or_default() += 1;
        }
        let doubled = found.iter().find(|(_, times)| **times > 1);
        self.tally
            .holds("O-1", doubled.is_none(), || format!("a message is in the log more than once: {doubled:?}"))?;
        // A client that finds two copies of a message of its own has one removed, and its token with it.
        let mut wishes = self.devices.iter().flat_map(|device| device.disk.outbox.values()).map(|entry| &entry.intent);
        let removed = wishes.any(|wish| matches!(wish, Intent::RemoveDuplicate { .. }));
        self.tally.holds("O-1", !removed, || "a message was in the log twice".to_owned())?;
        let mut last: BTreeMap<(usize, ConversationId), Sequence> = BTreeMap::new();
        for Accepted { device, conversation, token, in_order } in &self.accepted {
            let entry = self.devices[*device].disk.outbox.get(token).or_else(|| self.outlived.get(token));
            let cancelled = self.was_cancelled(*token);
            let expected = match entry.map(|entry| entry.state) {
                Some(OutboxState::Settled) => 1,
                Some(OutboxState::Failed) => 0,
                None if cancelled => 0,
                Some(_) if entry.is_some_and(|entry| self.devices[*device].disk.waits_for_failed(entry)) => 0,
                other => return Err(format!("O-1: accepted message {token} ended as {other:?}")),
            };
            // A message removed later leaves no token behind: its entry says where it was.
            let settled_at = entry.and_then(|entry| entry.settlement).and_then(|settlement| settlement.sequence);
            // What was meant for a conversation that had no name yet is in the one that it became.
            let settled_in = entry.and_then(|entry| entry.settlement).and_then(|settlement| settlement.conversation);
            let log = logs.get(&settled_in.unwrap_or(*conversation));
            let removed = log.zip(settled_at).is_some_and(|(log, at)| was_removed(log, at));
            let times = found.get(token).copied().unwrap_or(u32::from(removed && expected == 1));
            // Of a conversation that is gone nobody can read whether the message had arrived before.
            let unreadable =
                !self.idempotent && self.stands(*conversation, self.devices[*device].user).is_none_or(is_gone);
            let allowed = times == expected || (times == 1 && unreadable);
            let name = if cancelled { "O-10" } else { "O-1" };
            let wrong = || format!("{token} is there {times} times, and should be {expected}");
            self.tally.holds(name, allowed, wrong)?;
            if let Some(at) = settled_at.filter(|_| *in_order) {
                let before = last.insert((*device, *conversation), at);
                let later = before.is_none_or(|before| before < at);
                self.tally.holds("O-4", later, || format!("{token} overtook an earlier message"))?;
            }
        }
        self.check_edits(logs)?;
        if self.tally.faults.of("poison") > 0 {
            // Everything else came to its end, or the world would not have come to rest.
            self.tally.holds("O-9", true, String::new)?;
        }
        Ok(())
    }

    /// The last accepted edit of a message is what it says, unless it was refused, or somebody else edited it as well.
    fn check_edits(&mut self, logs: &Logs) -> Result<(), String> {
        let entry_of = |token: &ClientToken| {
            let held = self.devices.iter().find_map(|device| device.disk.outbox.get(token));
            held.or_else(|| self.outlived.get(token))
        };
        let mut wanted: BTreeMap<ClientToken, Vec<(&str, bool)>> = BTreeMap::new();
        for (number, carrier) in &self.accepted_edits {
            let (of, text) = &self.edits[*number];
            let done = entry_of(carrier).is_some_and(|entry| entry.state == OutboxState::Settled);
            wanted.entry(*of).or_default().push((text, done));
        }
        for (token, texts) in wanted {
            let Some(settlement) = entry_of(&token).and_then(|entry| entry.settlement) else { continue };
            let Some(log) = settlement.conversation.and_then(|id| logs.get(&id)) else { continue };
            let ours = |event: &&Event| event.body.message() == settlement.message;
            let strange = log.iter().filter(ours).any(|event| match &event.body {
                EventBody::MessageEdited(content) => texts.iter().all(|(text, _)| *text != content.text),
                _ => false,
            });
            let shown = fold_messages(log).into_iter().find(|message| message.id == settlement.message);
            let last = texts.iter().rev().find(|(_, done)| *done);
            if let (false, Some(shown), Some((last, _))) = (strange, shown.filter(|shown| !shown.removed), last) {
                let same = shown.text == *last;
                self.tally.holds("O-5", same, || format!("{token} says something else than its last edit"))?;
            }
        }
        Ok(())
    }

    /// A device that comes late gets the whole history, with no more requests than that takes.
    pub(super) fn check_a_fresh_device(&mut self) -> Result<(), String> {
        let index = self.devices.len();
        self.add_device(self.users[0].0);
        self.come_to_rest()?;
        let logs: Logs = self.hub.storage().conversation_ids().map(|id| (id, self.log(id))).collect();
        for (id, log) in &logs {
            self.check_view(index, *id, log).map_err(|what| format!("{what}, on a fresh device"))?;
            let device = &self.devices[index];
            let Some(held) = device.disk.conversations.get(id) else { continue };
            if held.membership == Membership::Member && held.description.as_ref().is_some_and(|told| !told.uber) {
                let wanted: Ranges = device.wanted(held).into_iter().collect();
                let needed = wanted.count().div_ceil(u64::from(RETRANSMIT_MAX));
                let asked = device.asked.get(id).map_or(0, Vec::len) as u64;
                let many = || format!("{asked} requests for {} of {} events", wanted.count(), log.len());
                self.tally.holds("L-7", asked <= needed, many)?;
                let exact = || format!("{wanted:?} of {id} is wanted, and {:?} is held", held.coverage);
                self.tally.holds("R-59", held.coverage == wanted, exact)?;
            }
        }
        Ok(())
    }
}

/// Where a device shows another message than the log gives, of which it may hold a part, if anywhere.
fn first_difference(held: &Held, log: &[Event]) -> Option<Sequence> {
    let is_held = |event: &&Event| held.events.contains_key(&event.sequence);
    let visible = log.iter().filter(is_held);
    let (mut shown, mut expected) = (fold_messages(held.events.values()), fold_messages(visible));
    // The server erases what was removed, also for those who were away, or do not want to hear of the removal.
    let removed_unseen: BTreeSet<MessageId> = log
        .iter()
        .filter(|event| !is_held(event))
        .filter_map(|event| match event.body {
            EventBody::MessageRemoved(id) => Some(id),
            _ => None,
        })
        .collect();
    for messages in [&mut shown, &mut expected] {
        messages.retain(|message| message.id.is_none_or(|id| !removed_unseen.contains(&id)));
    }
    let differs = |pair: &(&Message, &Message)| pair.0 != pair.1;
    let first = shown.iter().zip(&expected).find(differs).map(|(message, _)| message.sequence);
    first.or_else(|| (shown.len() != expected.len()).then_some(Sequence::ZERO))
}
