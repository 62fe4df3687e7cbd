//! The local echo: what one's own work on its way will make of the messages people read.

use crate::model::{Delivery, Intent, Message, MessageKey, OutboxEntry, OutboxState, RawJson, Sequence, UserId};

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
    use crate::model::{ClientToken, ConversationId, MessageId, RequestId, Timestamp};
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

    #[test]
    fn an_unsent_message_is_shown_until_it_is_settled() {
        let intent = Intent::SendMessage { conversation: ROOM, text: "hello".to_owned(), payload: None };
        let echo = message_of(&entry(intent.clone(), OutboxState::Failed), UserId::new(9)).expect("an echo");
        assert_eq!((echo.id, echo.sender, echo.delivery), (None, UserId::new(9), Delivery::Failed));
        assert_eq!(message_of(&entry(intent, OutboxState::Settled), None), None);
    }
}
