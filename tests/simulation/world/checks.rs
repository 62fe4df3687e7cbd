//! What must be true when everything has come to rest.

use super::disk::Held;
use super::{Accepted, Flavour, World, foreign};
use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, Intent, Membership, Message, OutboxState, Permissions,
    Sequence, SequenceRange, UserId, fold_messages,
};
use backscroll_server::Hub;
use backscroll_server::storage::{Memory, Storage};
use std::collections::BTreeMap;

/// Returns everything the hub ever numbered in a conversation.
pub(super) fn events(hub: &Hub<Memory>, conversation: ConversationId) -> Vec<Event> {
    let all = SequenceRange::new(Sequence::FIRST, Sequence(u32::MAX)).expect("not empty");
    hub.storage().events(conversation, all).expect("memory does not fail")
}

/// Returns whether the message born at this position was removed.
pub(super) fn was_removed(log: &[Event], at: Sequence) -> bool {
    let born = log.iter().find(|event| event.sequence == at).and_then(|event| event.body.message());
    born.is_some() && log.iter().any(|event| matches!(event.body, EventBody::MessageRemoved(id) if Some(id) == born))
}

/// Who takes part, with what rights; read marks are no part of the log.
fn rights(conversation: &Conversation) -> BTreeMap<UserId, Permissions> {
    conversation.participants.iter().map(|participant| (participant.user, participant.permissions)).collect()
}

/// L-2, L-8, M-1: a device of a participant holds what the server holds, and shows the same messages.
pub(super) fn same_view(
    hub: &Hub<Memory>,
    user: UserId,
    files: &BTreeMap<ConversationId, Held>,
    logs: &BTreeMap<ConversationId, Vec<Event>>,
) -> Result<(), String> {
    for (id, log) in logs {
        let Some(stored) = hub.storage().conversation(*id).map_err(|error| error.to_string())? else { continue };
        if stored.conversation.participant(user).is_none() {
            continue;
        }
        let held = files.get(id).ok_or_else(|| format!("conversation {id} is unknown"))?;
        if held.membership != Membership::Member {
            return Err(format!("L-10: of {id} it stands as {:?}", held.membership));
        }
        let head = log.last().map_or(Sequence::ZERO, |event| event.sequence);
        if held.head != head || held.coverage.contiguous_end() != head {
            return Err(format!("L-2: {id} is at {} of {head}, covered {:?}", held.head, held.coverage));
        }
        if !held.holes.is_empty() && !stored.conversation.uber {
            return Err(format!("{id} has holes {:?}", held.holes));
        }
        let described = held.description.as_ref().ok_or_else(|| format!("{id} was never described"))?;
        if rights(described) != rights(&stored.conversation) {
            return Err(format!("M-7: {id} has another list of participants"));
        }
        let visible = log.iter().filter(|event| !held.holes.contains(event.sequence));
        let (shown, expected) = (fold_messages(held.events.values()), fold_messages(visible));
        if shown != expected {
            let differs = |pair: &(&Message, &Message)| pair.0 != pair.1;
            let first = shown.iter().zip(&expected).find(differs).map(|(message, _)| message.sequence);
            return Err(format!("M-1: {id} shows other messages, first at {first:?}"));
        }
    }
    Ok(())
}

impl World {
    /// What the hub holds, as clients see it.
    pub(super) fn log(&self, conversation: ConversationId) -> Vec<Event> {
        let events = events(&self.hub, conversation);
        if self.flavour == Flavour::Ours { events } else { events.into_iter().map(foreign::unveil_event).collect() }
    }

    pub(super) fn check_the_end(&self) -> Result<(), String> {
        let logs: BTreeMap<ConversationId, Vec<Event>> =
            self.hub.storage().conversation_ids().map(|id| (id, self.log(id))).collect();
        for (index, device) in self.devices.iter().enumerate() {
            let files = &device.disk.conversations;
            same_view(&self.hub, device.user, files, &logs).map_err(|what| format!("device {index}: {what}"))?;
        }
        let mut found: BTreeMap<ClientToken, u32> = BTreeMap::new();
        let mut order: BTreeMap<ClientToken, Sequence> = BTreeMap::new();
        for event in logs.values().flatten() {
            if let Some(token) = self.token_of(event) {
                *found.entry(token).or_default() += 1;
                order.entry(token).or_insert(event.sequence);
            }
        }
        if let Some((token, times)) = found.iter().find(|(_, times)| **times > 1) {
            return Err(format!("O-1: message {token} is in the log {times} times"));
        }
        // A client that finds two copies of a message of its own has one removed, and its token with it.
        let wishes = self.devices.iter().flat_map(|device| device.disk.outbox.values()).map(|entry| &entry.intent);
        if wishes.into_iter().any(|wish| matches!(wish, Intent::RemoveDuplicate { .. })) {
            return Err("O-1: a message was in the log twice".to_owned());
        }
        let mut last: BTreeMap<(usize, ConversationId), Sequence> = BTreeMap::new();
        for Accepted { device, conversation, token } in &self.accepted {
            let entry = self.devices[*device].disk.outbox.get(token);
            let expected = match entry.map(|entry| entry.state) {
                Some(OutboxState::Settled) => 1,
                Some(OutboxState::Failed) => 0,
                None if self.cancelled.contains(token) => 0,
                other => return Err(format!("O-1: accepted message {token} ended as {other:?}")),
            };
            // A message removed later leaves no token behind: its entry says where it was.
            let settled_at = entry.and_then(|entry| entry.settlement).and_then(|settlement| settlement.sequence);
            let removed = settled_at.is_some_and(|at| was_removed(&logs[conversation], at));
            let times = found.get(token).copied().unwrap_or(u32::from(removed && expected == 1));
            if times != expected {
                return Err(format!("O-1, O-10: {token} is there {times} times, and should be {expected}"));
            }
            if let Some(at) = settled_at {
                let before = last.insert((*device, *conversation), at);
                if before.is_some_and(|before| before >= at) {
                    return Err(format!("O-4: {token} overtook an earlier message"));
                }
            }
        }
        Ok(())
    }

    pub(super) fn token_of(&self, event: &Event) -> Option<ClientToken> {
        match &event.body {
            EventBody::MessageSent(content) => backscroll::model::token_of_payload(content.payload.as_ref()),
            _ => None,
        }
    }
}
