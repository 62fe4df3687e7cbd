//! The local echo: what one's own work on its way will make of the conversations and messages people read.

use crate::model::{
    Conversation, ConversationId, Delivery, Intent, Membership, Message, MessageKey, OutboxEntry, OutboxState,
    Participant, Permissions, Ranges, RawJson, Sequence, User, UserId,
};
use crate::store::ConversationRow;
use std::collections::BTreeSet;

/// Shows a message as it will be once the edits and removals on their way have arrived.
///
/// Entries are taken in the order of acceptance. One that failed shows nothing: the message is what the
/// server has, and the outbox says why.
pub(crate) fn apply_pending(message: &mut Message, outbox: &[OutboxEntry]) {
    for entry in outbox.iter().filter(|entry| is_under_way(entry.state)) {
        if message.removed || !is_about(entry, message) {
            continue;
        }
        if let Intent::EditMessage { text, payload, .. } = &entry.intent {
            if let Some(text) = text {
                message.text.clone_from(text);
            }
            if let Some(payload) = payload {
                message.payload = Some(payload.clone()).filter(|payload| *payload != RawJson::empty_array());
            }
            message.edited = true;
        } else {
            message.text.clear();
            message.payload = None;
            message.edited = false;
            message.removed = true;
        }
        message.delivery = delivery_of(entry.state);
    }
}

/// Returns whether an entry changes or removes this message.
fn is_about(entry: &OutboxEntry, message: &Message) -> bool {
    entry.intent.message().is_some_and(|key| match key {
        MessageKey::Id(id) => message.id == Some(id),
        MessageKey::Token(token) => message.token == Some(token),
    })
}

/// Returns whether the message is the second copy of one of the user's own, which is to be removed. It stays out of
/// sight even where removing it was refused.
pub(crate) fn is_second_copy(message: &Message, outbox: &[OutboxEntry]) -> bool {
    outbox
        .iter()
        .any(|entry| matches!(entry.intent, Intent::RemoveDuplicate { message: copy, .. } if message.id == Some(copy)))
}

/// Returns the conversation that an entry will make, under its provisional id; `None` for any other entry, and for one
/// that is done.
pub(crate) fn conversation_of(entry: &OutboxEntry, me: Option<UserId>) -> Option<(ConversationRow, Delivery)> {
    let Intent::CreateConversation(config) = &entry.intent else { return None };
    if entry.state == OutboxState::Settled {
        return None;
    }
    let id = ConversationId::provisional(entry.token);
    let mut conversation = Conversation::recreate(id, config.clone(), Sequence::ZERO, entry.queued_at, entry.queued_at);
    // The server adds whoever makes it as the owner.
    let owner = me.map(|me| Participant::new(me).with_permissions(Permissions::OWNER));
    conversation.participants.retain(|participant| Some(participant.user) != me);
    conversation.participants.splice(0..0, owner);
    let row = ConversationRow {
        conversation,
        membership: Membership::Member,
        head: Sequence::ZERO,
        coverage: Ranges::new(),
        history: None,
        unread: 0,
        unread_exact: true,
        own_read_mark: Sequence::ZERO,
        last_activity: entry.queued_at,
        preview: None,
    };
    Some((row, delivery_of(entry.state)))
}

/// Shows a conversation as it will be once the changes on their way have arrived. Returns how far the last of them
/// has come; `None` when there is none.
pub(crate) fn apply_to_conversation(
    row: &mut ConversationRow,
    outbox: &[OutboxEntry],
    me: Option<UserId>,
) -> Option<Delivery> {
    let id = row.conversation.id;
    let mut delivery = None;
    for entry in outbox.iter().filter(|entry| is_under_way(entry.state) && entry.intent.conversation() == Some(id)) {
        let shown = &mut row.conversation;
        match &entry.intent {
            Intent::EditConversation { title, public_join, custom_data, .. } => {
                shown.title = title.as_ref().unwrap_or(&shown.title).clone();
                shown.public_join = public_join.unwrap_or(shown.public_join);
                shown.custom_data = custom_data.as_ref().unwrap_or(&shown.custom_data).clone();
            }
            Intent::AddParticipants { participants, .. } => participants.iter().for_each(|new| add(shown, *new)),
            Intent::EditParticipants { participants, .. } => {
                for changed in participants {
                    let known = shown.participants.iter_mut().find(|known| known.user == changed.user);
                    known.into_iter().for_each(|known| known.permissions = changed.permissions);
                }
            }
            Intent::RemoveParticipants { users, .. } => {
                shown.participants.retain(|participant| !users.contains(&participant.user));
            }
            Intent::JoinConversation(_) => {
                row.membership = Membership::Member;
                me.into_iter().for_each(|me| add(shown, Participant::new(me)));
            }
            Intent::LeaveConversation(_) => {
                row.membership = Membership::Left;
                shown.participants.retain(|participant| Some(participant.user) != me);
            }
            Intent::RemoveConversation(_) => row.membership = Membership::Removed,
            // What is about messages shows in the messages, and a read mark counts from the moment it is set.
            Intent::SendMessage { .. }
            | Intent::EditMessage { .. }
            | Intent::RemoveMessage { .. }
            | Intent::RemoveDuplicate { .. }
            | Intent::MarkAsRead { .. }
            | Intent::CreateConversation(_)
            | Intent::EditUser { .. }
            | Intent::ManageNotifications(_)
            | Intent::Subscribe(_)
            | Intent::Unsubscribe(_)
            | Intent::UnsubscribeAll => continue,
        }
        delivery = Some(delivery_of(entry.state));
    }
    delivery
}

fn add(conversation: &mut Conversation, new: Participant) {
    if conversation.participant(new.user).is_none() {
        conversation.participants.push(new);
    }
}

/// Shows a user as they will be once the changes on their way have arrived.
pub(crate) fn apply_to_user(user: &mut User, outbox: &[OutboxEntry]) {
    for entry in outbox.iter().filter(|entry| is_under_way(entry.state)) {
        if let Intent::EditUser { custom_data, private_custom_data } = &entry.intent {
            user.custom_data = custom_data.as_ref().unwrap_or(&user.custom_data).clone();
            if let (Some(private), Some(data)) = (&mut user.private, private_custom_data) {
                private.custom_data = data.clone();
            }
        }
        if let (Some(private), Intent::ManageNotifications(kinds)) = (&mut user.private, &entry.intent) {
            private.notifications.clone_from(kinds);
        }
    }
}

/// Returns whom the user will follow once the wishes on their way have arrived.
pub(crate) fn apply_to_subscriptions(users: Vec<UserId>, outbox: &[OutboxEntry]) -> Vec<UserId> {
    let mut followed: BTreeSet<UserId> = users.into_iter().collect();
    for entry in outbox.iter().filter(|entry| is_under_way(entry.state)) {
        if let Intent::Subscribe(users) = &entry.intent {
            followed.extend(users);
        } else if let Intent::Unsubscribe(users) = &entry.intent {
            followed.retain(|user| !users.contains(user));
        } else if matches!(entry.intent, Intent::UnsubscribeAll) {
            followed.clear();
        }
    }
    followed.into_iter().collect()
}

/// Returns whether an entry makes or changes a message that people see.
pub(crate) const fn shows_in_messages(entry: &OutboxEntry) -> bool {
    matches!(entry.intent, Intent::SendMessage { .. } | Intent::EditMessage { .. } | Intent::RemoveMessage { .. })
}

/// Returns the message that an entry will make; `None` for any other entry, and for one that is done.
pub(crate) fn message_of(entry: &OutboxEntry, me: Option<UserId>) -> Option<Message> {
    let Intent::SendMessage { conversation, text, payload } = &entry.intent else { return None };
    if entry.state == OutboxState::Settled {
        return None;
    }
    let mut message = Message::recreate(None, *conversation, text.clone(), payload.clone(), Sequence::ZERO);
    message.sender = me;
    message.timestamp = entry.queued_at;
    message.delivery = delivery_of(entry.state);
    message.token = Some(entry.token);
    Some(message)
}

const fn is_under_way(state: OutboxState) -> bool {
    match state {
        OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => true,
        OutboxState::Settled | OutboxState::Failed => false,
    }
}

const fn delivery_of(state: OutboxState) -> Delivery {
    match state {
        OutboxState::Queued => Delivery::Queued,
        OutboxState::Sending => Delivery::Sending,
        OutboxState::Uncertain => Delivery::Uncertain,
        OutboxState::Settled => Delivery::Settled,
        OutboxState::Failed => Delivery::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{ClientToken, MessageId, RequestId, Timestamp};
    use uuid::Uuid;

    const ROOM: ConversationId = ConversationId::from_uuid(Uuid::from_u128(1));
    const MESSAGE: MessageId = MessageId::from_uuid(Uuid::from_u128(2));

    fn entry(intent: Intent, state: OutboxState) -> OutboxEntry {
        OutboxEntry {
            token: ClientToken::from_uuid(Uuid::from_u128(3)),
            position: 1,
            intent,
            state,
            request: RequestId::from_uuid(Uuid::from_u128(4)),
            attempts: 0,
            queued_at: Timestamp(5),
            settlement: None,
            error: None,
        }
    }

    fn edit(text: &str) -> Intent {
        let (text, payload) = (Some(text.to_owned()), Some(RawJson::empty_array()));
        Intent::EditMessage { conversation: ROOM, message: MessageKey::Id(MESSAGE), text, payload }
    }

    fn stored() -> Message {
        let payload = RawJson::new(r#"[{"a":1}]"#).expect("JSON");
        Message::recreate(Some(MESSAGE), ROOM, "as sent".to_owned(), Some(payload), Sequence(7))
    }

    #[test]
    fn the_last_edit_under_way_is_shown_and_a_failed_one_is_not() {
        let mut message = stored();
        let outbox = [
            entry(edit("first"), OutboxState::Settled),
            entry(edit("second"), OutboxState::Sending),
            entry(edit("third"), OutboxState::Queued),
            entry(edit("refused"), OutboxState::Failed),
        ];
        apply_pending(&mut message, &outbox);
        assert_eq!((message.text.as_str(), message.edited, message.payload.clone()), ("third", true, None));
        assert_eq!((message.delivery, message.sequence), (Delivery::Queued, Sequence(7)));
    }

    #[test]
    fn a_removal_under_way_leaves_no_content() {
        let mut message = stored();
        let removal = Intent::RemoveMessage { conversation: ROOM, message: MessageKey::Id(MESSAGE) };
        apply_pending(&mut message, &[entry(removal, OutboxState::Uncertain)]);
        assert!(message.removed && message.text.is_empty() && message.payload.is_none());
        assert_eq!(message.delivery, Delivery::Uncertain);
    }

    /// R-26.
    #[test]
    fn an_unsent_message_is_shown_until_it_is_settled() {
        let intent = Intent::SendMessage { conversation: ROOM, text: "hello".to_owned(), payload: None };
        let echo = message_of(&entry(intent.clone(), OutboxState::Failed), UserId::new(9)).expect("an echo");
        assert_eq!((echo.id, echo.sender, echo.delivery), (None, UserId::new(9), Delivery::Failed));
        assert_eq!(message_of(&entry(intent, OutboxState::Settled), None), None);
    }
}
