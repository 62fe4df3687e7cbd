//! Events in any order, any number of times → the current messages.
//!
//! The edit with the highest sequence wins, a removal wins over everything, an edit or removal whose
//! message is unknown waits for it. The store does the same in SQL, row by row; this is what it is
//! checked against.

use super::{Event, EventBody, Message, MessageContent, MessageId, Sequence};
use std::collections::BTreeMap;

/// Folds the messages of one conversation.
#[derive(Clone, Debug, Default)]
pub struct MessageFold {
    messages: BTreeMap<MessageId, Folded>,
}

/// What is known of one message so far.
#[derive(Clone, Debug, Default)]
struct Folded {
    birth: Option<Message>,
    edit: Option<(Sequence, MessageContent)>,
    removed: Option<Sequence>,
}

impl MessageFold {
    /// Takes one event; one of another kind changes nothing, nor does one taken before.
    pub fn apply(&mut self, event: &Event) {
        let Some(id) = event.body.message() else { return };
        let folded = self.messages.entry(id).or_default();
        match &event.body {
            EventBody::MessageSent(content) => {
                // Positions are unique, so a second birth is a server fault: the first one stays.
                if folded.birth.as_ref().is_none_or(|birth| event.sequence < birth.sequence) {
                    let mut message = Message::recreate(
                        Some(id),
                        event.conversation,
                        content.text.clone(),
                        content.payload.clone(),
                        event.sequence,
                    );
                    message.sender = Some(event.initiator);
                    message.timestamp = event.timestamp;
                    folded.birth = Some(message);
                }
            }
            EventBody::MessageEdited(content) => {
                if folded.edit.as_ref().is_none_or(|(at, _)| event.sequence > *at) {
                    folded.edit = Some((event.sequence, content.clone()));
                }
            }
            EventBody::MessageRemoved(_) => {
                // The first removal is the one that counts; the server refuses a second.
                folded.removed = Some(folded.removed.map_or(event.sequence, |at| at.min(event.sequence)));
            }
            EventBody::ConversationCreated(_)
            | EventBody::ConversationEdited(_)
            | EventBody::ConversationRemoved
            | EventBody::Unknown { .. } => {}
        }
    }

    /// Returns the messages whose birth is known, in the order of their birth.
    pub fn messages(&self) -> Vec<Message> {
        let mut messages: Vec<Message> = self.messages.values().filter_map(Folded::current).collect();
        messages.sort_by_key(|message| message.sequence);
        messages
    }
}

impl Folded {
    fn current(&self) -> Option<Message> {
        let mut message = self.birth.clone()?;
        if let Some(at) = self.removed {
            message.removed = true;
            message.edited = false;
            message.text.clear();
            message.payload = None;
            message.revision = at;
        } else if let Some((at, content)) = &self.edit {
            message.edited = true;
            message.text.clone_from(&content.text);
            message.payload.clone_from(&content.payload);
            message.revision = *at;
        }
        Some(message)
    }
}

/// Folds events of one conversation into its current messages, in the order of their birth.
pub fn fold_messages<'a>(events: impl IntoIterator<Item = &'a Event>) -> Vec<Message> {
    let mut fold = MessageFold::default();
    for event in events {
        fold.apply(event);
    }
    fold.messages()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, ConversationId, Timestamp, UserId};
    use proptest::prelude::*;
    use uuid::Uuid;

    fn event(sequence: u32, message: u128, what: u8) -> Event {
        let id = MessageId::from_uuid(Uuid::from_u128(message));
        let content = MessageContent { id, text: format!("text {sequence}"), payload: None };
        let (action, body) = match what {
            0 => (Action::SendMessage, EventBody::MessageSent(content)),
            1 => (Action::EditMessage, EventBody::MessageEdited(content)),
            _ => (Action::RemoveMessage, EventBody::MessageRemoved(id)),
        };
        Event {
            conversation: ConversationId::from_uuid(Uuid::from_u128(1)),
            sequence: Sequence(sequence),
            action,
            initiator: UserId::new(7).expect("a small number"),
            timestamp: Timestamp(i64::from(sequence)),
            body,
            unknown: None,
        }
    }

    #[test]
    fn the_highest_edit_wins_and_a_removal_wins_over_all() {
        let events = [event(1, 9, 0), event(5, 9, 1), event(3, 9, 1)];
        assert_eq!(fold_messages(&events)[0].text, "text 5");
        let messages = fold_messages(events.iter().chain([&event(4, 9, 2)]));
        assert!(messages[0].removed && messages[0].text.is_empty());
        assert_eq!(messages[0].revision, Sequence(4));
    }

    #[test]
    fn an_edit_waits_for_its_message() {
        assert!(fold_messages(&[event(2, 9, 1)]).is_empty());
        assert_eq!(fold_messages(&[event(2, 9, 1), event(1, 9, 0)])[0].text, "text 2");
    }

    fn history() -> impl Strategy<Value = (Vec<Event>, Vec<Event>)> {
        proptest::collection::vec((0..4_u128, 0..3_u8), 1..24).prop_flat_map(|kinds| {
            let events: Vec<Event> =
                kinds.iter().zip(1..).map(|((message, what), at)| event(at, *message, *what)).collect();
            let twice: Vec<Event> = events.iter().chain(&events).cloned().collect();
            (Just(events), Just(twice).prop_shuffle())
        })
    }

    proptest! {
        /// M-2, M-3: any order and any repetition of the same events give the same messages.
        #[test]
        fn any_order_and_repetition_folds_the_same((events, shuffled) in history()) {
            prop_assert_eq!(fold_messages(&events), fold_messages(&shuffled));
        }
    }
}
