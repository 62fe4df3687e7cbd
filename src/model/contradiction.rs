//! Two tellings of one event, and whether they contradict each other.
//!
//! Not every difference is one. A server may strip what a removed message said from its earlier events, or keep it
//! (protocol notes, section 8), read marks move without a number, and what this version does not know says nothing
//! that it could contradict.

use super::{Conversation, ConversationId, Event, EventBody, MessageContent, Sequence};
use std::fmt;

/// The part of an event that two tellings of it disagree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EventPart {
    /// What kind of event it is.
    Kind = 0,
    /// Which message it is about.
    Message = 1,
    /// What was asked for.
    Action = 2,
    /// Who asked.
    Initiator = 3,
    /// When it happened.
    Time = 4,
    /// What the message says.
    Content = 5,
    /// How the conversation is described.
    Description = 6,
}

impl EventPart {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 7] =
        [Self::Kind, Self::Message, Self::Action, Self::Initiator, Self::Time, Self::Content, Self::Description];

    /// Returns the name by which the tool tells it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kind => "kind",
            Self::Message => "message",
            Self::Action => "action",
            Self::Initiator => "initiator",
            Self::Time => "time",
            Self::Content => "content",
            Self::Description => "description",
        }
    }
}

impl fmt::Display for EventPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The server told an event again, and told something else. What it told first is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contradiction {
    /// Where.
    pub conversation: ConversationId,
    /// The position of the event.
    pub sequence: Sequence,
    /// The first part that differs.
    pub part: EventPart,
}

impl Event {
    /// Returns the first part in which another telling of this event contradicts it, or `None` when both may be true.
    ///
    /// Of a message that was edited, a telling of its birth or of an earlier edit may also say what it says now, which
    /// only whoever holds the later edits can know.
    pub fn contradicted_by(&self, told: &Self) -> Option<EventPart> {
        // While nothing else has happened in a direct conversation, asking for it once more is answered in the shape of
        // its making, by whoever asks, now.
        let may_be_an_answer = matches!(&self.body, EventBody::ConversationCreated(made) if made.direct);
        let parts = [
            (self.body.name() != told.body.name(), EventPart::Kind),
            (self.body.message() != told.body.message(), EventPart::Message),
            (self.action != told.action, EventPart::Action),
            (!may_be_an_answer && self.initiator != told.initiator, EventPart::Initiator),
            (!may_be_an_answer && self.timestamp != told.timestamp, EventPart::Time),
        ];
        if let Some((_, part)) = parts.into_iter().find(|(differs, _)| *differs) {
            return Some(part);
        }
        match (&self.body, &told.body) {
            (EventBody::MessageSent(held), EventBody::MessageSent(told))
            | (EventBody::MessageEdited(held), EventBody::MessageEdited(told)) => {
                let agree = held.is_stripped() || told.is_stripped() || held.says_what(told);
                (!agree).then_some(EventPart::Content)
            }
            (EventBody::ConversationCreated(held), EventBody::ConversationCreated(told))
            | (EventBody::ConversationEdited(held), EventBody::ConversationEdited(told)) => {
                (!describes_the_same(held, told)).then_some(EventPart::Description)
            }
            (EventBody::Unknown { payload: held, .. }, EventBody::Unknown { payload: told, .. }) => {
                (!held.means(told)).then_some(EventPart::Content)
            }
            (
                EventBody::ConversationCreated(_)
                | EventBody::ConversationEdited(_)
                | EventBody::ConversationRemoved
                | EventBody::MessageSent(_)
                | EventBody::MessageEdited(_)
                | EventBody::MessageRemoved(_)
                | EventBody::Unknown { .. },
                _,
            ) => None,
        }
    }
}

impl MessageContent {
    /// Returns whether nothing is left of it, as of a message that was removed.
    fn is_stripped(&self) -> bool {
        self.text.is_empty() && self.payload.is_none()
    }

    /// Returns whether two contents mean the same, however their JSON is written.
    pub fn says_what(&self, other: &Self) -> bool {
        let same_payload = match (&self.payload, &other.payload) {
            (Some(one), Some(other)) => one.means(other),
            (one, other) => one == other,
        };
        self.text == other.text && same_payload
    }
}

/// Compares what an event describes: not the read marks, which move without a number, nor how far the conversation was.
fn describes_the_same(held: &Conversation, told: &Conversation) -> bool {
    let rights = |conversation: &Conversation| {
        let mut rights: Vec<_> =
            conversation.participants.iter().map(|participant| (participant.user, participant.permissions)).collect();
        rights.sort_unstable();
        rights
    };
    (held.id, &held.title, held.direct, held.public_join, held.uber, held.created_at)
        == (told.id, &told.title, told.direct, told.public_join, told.uber, told.created_at)
        && held.custom_data.means(&told.custom_data)
        && rights(held) == rights(told)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Action, ConversationConfig, MessageId, Participant, Permissions, RawJson, Timestamp, UserId};
    use uuid::Uuid;

    fn event(action: Action, body: EventBody) -> Event {
        Event {
            conversation: ConversationId::from_uuid(Uuid::from_u128(1)),
            sequence: Sequence(3),
            action,
            initiator: UserId::new(7).expect("a small number"),
            timestamp: Timestamp(30),
            body,
            unknown: None,
        }
    }

    fn sent(text: &str, payload: Option<&str>) -> Event {
        let payload = payload.map(|payload| RawJson::new(payload).expect("valid"));
        let id = MessageId::from_uuid(Uuid::from_u128(9));
        event(Action::SendMessage, EventBody::MessageSent(MessageContent { id, text: text.to_owned(), payload }))
    }

    fn described(title: &str, read: u32) -> Event {
        let config = ConversationConfig {
            title: title.to_owned(),
            participants: vec![Participant {
                user: UserId::new(7).expect("a small number"),
                permissions: Permissions::OWNER,
                last_read: Sequence(read),
            }],
            ..ConversationConfig::default()
        };
        let id = ConversationId::from_uuid(Uuid::from_u128(1));
        let conversation = Conversation::recreate(id, config, Sequence(read), Timestamp(2), Timestamp(1));
        event(Action::EditConversation, EventBody::ConversationEdited(Box::new(conversation)))
    }

    /// L-1: what the protocol allows to differ is no contradiction.
    #[test]
    fn what_may_differ_contradicts_nothing() {
        let held = sent("hello", Some(r#"[{"a":1,"b":2}]"#));
        let rewritten = sent("hello", Some(r#"[{ "b": 2, "a": 1 }]"#));
        let stripped = sent("", None);
        let marked = Event { unknown: Some(RawJson::empty_object()), ..held.clone() };
        for (held, told) in [(&held, &rewritten), (&held, &stripped), (&stripped, &held), (&held, &marked)] {
            assert_eq!(held.contradicted_by(told), None);
        }
        assert_eq!(described("tea", 1).contradicted_by(&described("tea", 2)), None, "read marks move");
    }

    /// L-1: everything else is one, and says in what.
    #[test]
    fn the_first_part_that_differs_is_named() {
        let held = sent("hello", None);
        let EventBody::MessageSent(content) = held.body.clone() else { unreachable!("made above") };
        let other = MessageContent { id: MessageId::from_uuid(Uuid::from_u128(10)), ..content.clone() };
        for (told, part) in [
            (Event { body: EventBody::MessageEdited(content), ..held.clone() }, EventPart::Kind),
            (Event { body: EventBody::ConversationRemoved, ..held.clone() }, EventPart::Kind),
            (Event { body: EventBody::MessageSent(other), ..held.clone() }, EventPart::Message),
            (Event { action: Action::EditMessage, ..held.clone() }, EventPart::Action),
            (Event { initiator: UserId::new(8).expect("small"), ..held.clone() }, EventPart::Initiator),
            (Event { timestamp: Timestamp(31), ..held.clone() }, EventPart::Time),
            (sent("bye", None), EventPart::Content),
            (sent("hello", Some("[{}]")), EventPart::Content),
        ] {
            assert_eq!(held.contradicted_by(&told), Some(part));
        }
        assert_eq!(described("tea", 1).contradicted_by(&described("coffee", 1)), Some(EventPart::Description));
    }
}
