//! What a new wish makes of those that wait: superseded work never leaves.
//!
//! Only what cannot have arrived is changed or taken back. What is under way takes its course, and a later wish about
//! the same thing stands behind it.

use super::outbox::{Lane, Outbox, cannot_have_arrived};
use crate::model::{
    ClientToken, ConversationConfig, ConversationId, Intent, MessageKey, OutboxEntry, RawJson, Sequence,
};
use std::collections::BTreeSet;

/// What becomes of a new wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Merge {
    /// It stands for itself, and makes these needless.
    Apart(Vec<ClientToken>),
    /// A waiting entry takes it in, and wants this from now on. So it does of these, which waited for that entry and would
    /// else come later and win.
    Into(ClientToken, Intent, Vec<ClientToken>),
    /// It takes back a message that has not left.
    Undoes(ClientToken),
}

/// Decides what becomes of a new wish.
pub(super) fn merge(outbox: &Outbox, wish: &Intent) -> Merge {
    let merged = match wish {
        Intent::EditMessage { conversation, message, text, payload } => {
            edit_message(outbox, *conversation, *message, text.as_ref(), payload.as_ref())
        }
        Intent::RemoveMessage { conversation, message } => return remove_message(outbox, *conversation, *message),
        Intent::MarkAsRead { conversation, sequence } => mark_as_read(outbox, *conversation, *sequence),
        Intent::EditConversation { conversation, title, public_join, custom_data } => {
            let public_join = *public_join;
            edit_conversation(outbox, *conversation, title.as_ref(), public_join, custom_data.as_ref())
        }
        Intent::EditUser { custom_data, private_custom_data } => {
            edit_user(outbox, custom_data.as_ref(), private_custom_data.as_ref())
        }
        Intent::ManageNotifications(_) => {
            let chooses = |entry: &&OutboxEntry| matches!(entry.intent, Intent::ManageNotifications(_));
            waiting(outbox, Lane::User).find(chooses).map(|entry| Merge::Into(entry.token, wish.clone(), Vec::new()))
        }
        Intent::Subscribe(_) | Intent::Unsubscribe(_) => follow(outbox, wish),
        Intent::UnsubscribeAll => {
            let follows = waiting(outbox, Lane::User).filter(|entry| followed(&entry.intent).is_some());
            return Merge::Apart(follows.map(|entry| entry.token).collect());
        }
        Intent::CreateConversation(_)
        | Intent::RemoveConversation(_)
        | Intent::JoinConversation(_)
        | Intent::LeaveConversation(_)
        | Intent::AddParticipants { .. }
        | Intent::EditParticipants { .. }
        | Intent::RemoveParticipants { .. }
        | Intent::SendMessage { .. }
        | Intent::RemoveDuplicate { .. } => None,
    };
    merged.unwrap_or_else(|| Merge::Apart(Vec::new()))
}

/// Returns the entries of a lane that cannot have arrived, the newest first.
fn waiting(outbox: &Outbox, lane: Lane) -> impl Iterator<Item = &OutboxEntry> {
    outbox.in_lane(lane).rev().filter(|entry| cannot_have_arrived(entry))
}

/// An edit becomes part of the message while that has not left, with the edits before it, and of an earlier edit of the
/// same message.
fn edit_message(
    outbox: &Outbox,
    conversation: ConversationId,
    message: MessageKey,
    text: Option<&String>,
    payload: Option<&RawJson>,
) -> Option<Merge> {
    let lane = Lane::Conversation(conversation);
    if let MessageKey::Token(token) = message
        && let Some(unsent) = outbox.get(token).filter(|entry| cannot_have_arrived(entry))
        && let Intent::SendMessage { text: old_text, payload: old_payload, .. } = &unsent.intent
    {
        let (mut whole, mut parts, mut needless) = (old_text, old_payload.as_ref(), Vec::new());
        for entry in outbox.in_lane(lane) {
            if let Intent::EditMessage { message: same, text, payload, .. } = &entry.intent
                && *same == message
            {
                (whole, parts) = (text.as_ref().unwrap_or(whole), payload.as_ref().or(parts));
                needless.push(entry.token);
            }
        }
        let text = text.unwrap_or(whole).clone();
        let payload = payload.or(parts).filter(|payload| **payload != RawJson::empty_array()).cloned();
        return Some(Merge::Into(token, Intent::SendMessage { conversation, text, payload }, needless));
    }
    waiting(outbox, lane).find_map(|entry| {
        let Intent::EditMessage { message: same, text: old_text, payload: old_payload, .. } = &entry.intent else {
            return None;
        };
        let (text, payload) = (text.or(old_text.as_ref()).cloned(), payload.or(old_payload.as_ref()).cloned());
        let edit = Intent::EditMessage { conversation, message, text, payload };
        (*same == message).then_some(Merge::Into(entry.token, edit, Vec::new()))
    })
}

/// A removal takes back what has not left, and makes edits of the same message needless.
fn remove_message(outbox: &Outbox, conversation: ConversationId, message: MessageKey) -> Merge {
    if let MessageKey::Token(token) = message
        && outbox.get(token).is_some_and(cannot_have_arrived)
    {
        return Merge::Undoes(token);
    }
    let lane = Lane::Conversation(conversation);
    let removes =
        |entry: &&OutboxEntry| matches!(&entry.intent, Intent::RemoveMessage { message: same, .. } if *same == message);
    if let Some(earlier) = outbox.in_lane(lane).find(removes) {
        return Merge::Into(earlier.token, earlier.intent.clone(), Vec::new());
    }
    let edits =
        |entry: &&OutboxEntry| matches!(&entry.intent, Intent::EditMessage { message: same, .. } if *same == message);
    Merge::Apart(waiting(outbox, lane).filter(edits).map(|entry| entry.token).collect())
}

/// Of several read marks the highest is left; zero, which makes everything unread, counts when it came last.
fn mark_as_read(outbox: &Outbox, conversation: ConversationId, sequence: Sequence) -> Option<Merge> {
    let (earlier, marked) = outbox.newest_mark(conversation).zip(outbox.own_read_mark(conversation))?;
    let highest = if sequence == Sequence::ZERO { sequence } else { sequence.max(marked) };
    let changes = highest != marked;
    (!changes || cannot_have_arrived(earlier)).then_some(Merge::Into(
        earlier.token,
        Intent::MarkAsRead { conversation, sequence: highest },
        Vec::new(),
    ))
}

/// A change of a conversation becomes part of its making while that has not left, with the changes before it, and of an
/// earlier change.
fn edit_conversation(
    outbox: &Outbox,
    conversation: ConversationId,
    title: Option<&String>,
    public_join: Option<bool>,
    custom_data: Option<&RawJson>,
) -> Option<Merge> {
    let lane = Lane::Conversation(conversation);
    if let Some(maker) = outbox.get(conversation.maker()).filter(|entry| cannot_have_arrived(entry))
        && let Intent::CreateConversation(config) = &maker.intent
    {
        let (mut name, mut joined, mut data) = (&config.title, config.public_join, &config.custom_data);
        let mut needless = Vec::new();
        for entry in outbox.in_lane(lane) {
            if let Intent::EditConversation { title, public_join, custom_data, .. } = &entry.intent {
                name = title.as_ref().unwrap_or(name);
                joined = public_join.unwrap_or(joined);
                data = custom_data.as_ref().unwrap_or(data);
                needless.push(entry.token);
            }
        }
        let config = ConversationConfig {
            title: title.unwrap_or(name).clone(),
            public_join: public_join.unwrap_or(joined),
            custom_data: custom_data.unwrap_or(data).clone(),
            ..config.clone()
        };
        return Some(Merge::Into(maker.token, Intent::CreateConversation(config), needless));
    }
    waiting(outbox, lane).find_map(|entry| {
        let Intent::EditConversation { title: old_title, public_join: old_join, custom_data: old_data, .. } =
            &entry.intent
        else {
            return None;
        };
        let edit = Intent::EditConversation {
            conversation,
            title: title.or(old_title.as_ref()).cloned(),
            public_join: public_join.or(*old_join),
            custom_data: custom_data.or(old_data.as_ref()).cloned(),
        };
        Some(Merge::Into(entry.token, edit, Vec::new()))
    })
}

/// A change of what one says of oneself becomes part of an earlier one.
fn edit_user(outbox: &Outbox, public: Option<&RawJson>, private: Option<&RawJson>) -> Option<Merge> {
    waiting(outbox, Lane::User).find_map(|entry| {
        let Intent::EditUser { custom_data, private_custom_data } = &entry.intent else { return None };
        let edit = Intent::EditUser {
            custom_data: public.or(custom_data.as_ref()).cloned(),
            private_custom_data: private.or(private_custom_data.as_ref()).cloned(),
        };
        Some(Merge::Into(entry.token, edit, Vec::new()))
    })
}

/// Following the same users twice is done once; the opposite of the last wish about them replaces it.
///
/// Only the last such wish is looked at: one before it may be about some of the same users.
fn follow(outbox: &Outbox, wish: &Intent) -> Option<Merge> {
    let users = followed(wish)?;
    let last = outbox.in_lane(Lane::User).rev().find(|entry| followed(&entry.intent).is_some());
    let last = last.filter(|last| cannot_have_arrived(last) && followed(&last.intent).as_ref() == Some(&users))?;
    Some(if last.intent.action() == wish.action() {
        Merge::Into(last.token, wish.clone(), Vec::new())
    } else {
        Merge::Apart(vec![last.token])
    })
}

/// Returns whom a wish to follow, or not to, is about; nobody named stands for everybody.
fn followed(wish: &Intent) -> Option<BTreeSet<crate::model::UserId>> {
    if let Intent::Subscribe(users) | Intent::Unsubscribe(users) = wish {
        return Some(users.iter().copied().collect());
    }
    matches!(wish, Intent::UnsubscribeAll).then(BTreeSet::new)
}
