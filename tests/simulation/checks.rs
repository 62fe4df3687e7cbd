//! What must be true when everything has come to rest.

use crate::disk::Held;
use backscroll::model::{
    Conversation, ConversationId, Event, EventBody, Membership, Message, Permissions, Sequence, SequenceRange, UserId,
    fold_messages,
};
use backscroll_server::Hub;
use backscroll_server::storage::{Memory, Storage};
use std::collections::BTreeMap;

/// Returns everything the hub ever numbered in a conversation.
pub(crate) fn events(hub: &Hub<Memory>, conversation: ConversationId) -> Vec<Event> {
    let all = SequenceRange::new(Sequence::FIRST, Sequence(u32::MAX)).expect("not empty");
    hub.storage().events(conversation, all).expect("memory does not fail")
}

/// Returns whether the message born at this position was removed.
pub(crate) fn was_removed(log: &[Event], at: Sequence) -> bool {
    let born = log.iter().find(|event| event.sequence == at).and_then(|event| event.body.message());
    born.is_some() && log.iter().any(|event| matches!(event.body, EventBody::MessageRemoved(id) if Some(id) == born))
}

/// Who takes part, with what rights; read marks are no part of the log.
fn rights(conversation: &Conversation) -> BTreeMap<UserId, Permissions> {
    conversation.participants.iter().map(|participant| (participant.user, participant.permissions)).collect()
}

/// L-2, L-8, M-1: a device of a participant holds what the server holds, and shows the same messages.
pub(crate) fn same_view(
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
