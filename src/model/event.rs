//! What happens in a conversation: numbered events, and notices that are pushed and forgotten.

use super::{Action, Conversation, ConversationId, MessageId, RawJson, Sequence, Timestamp, UserId};
use std::fmt;

/// What a message says, in the event of its birth and in each edit. `Debug` tells sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct MessageContent {
    /// Assigned by the server.
    pub id: MessageId,
    /// At most 5,000 Unicode scalar values.
    pub text: String,
    /// A JSON array of objects as received, our own token included; `None` when empty.
    pub payload: Option<RawJson>,
}

impl fmt::Debug for MessageContent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, text, payload } = self;
        f.debug_struct("MessageContent")
            .field("id", id)
            .field("text", &format_args!("{} bytes", text.len()))
            .field("payload", payload)
            .finish()
    }
}

/// Something the server numbered in a conversation. Kept for ever, and retransmitted on request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Where it happened.
    pub conversation: ConversationId,
    /// Its position; unique in the conversation.
    pub sequence: Sequence,
    /// What was asked for.
    pub action: Action,
    /// Who asked for it.
    pub initiator: UserId,
    /// When it happened, by the server's clock.
    pub timestamp: Timestamp,
    /// What happened.
    pub body: EventBody,
    /// Members this version does not know, as a JSON object by place: `{"payload":{…},"object":{…}}`.
    pub unknown: Option<RawJson>,
}

/// What an event says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventBody {
    /// The conversation was made; it is described as it was then.
    ConversationCreated(Box<Conversation>),
    /// Title, data, rights or participants changed; described as it was afterwards.
    ConversationEdited(Box<Conversation>),
    /// The conversation was removed for everybody.
    ConversationRemoved,
    /// A message was born here.
    MessageSent(MessageContent),
    /// A message was changed.
    MessageEdited(MessageContent),
    /// A message was removed.
    MessageRemoved(MessageId),
    /// A kind this version does not know.
    Unknown {
        /// The name on the wire.
        name: Box<str>,
        /// The whole payload as received.
        payload: RawJson,
    },
}

impl EventBody {
    /// Returns the name on the wire.
    pub fn name(&self) -> &str {
        match self {
            Self::ConversationCreated(_) => "onCreateConversation",
            Self::ConversationEdited(_) => "onEditConversation",
            Self::ConversationRemoved => "onRemoveConversation",
            Self::MessageSent(_) => "onSendMessage",
            Self::MessageEdited(_) => "onEditMessage",
            Self::MessageRemoved(_) => "onRemoveMessage",
            Self::Unknown { name, .. } => name,
        }
    }

    /// Returns the message this is about.
    pub const fn message(&self) -> Option<MessageId> {
        match self {
            Self::MessageSent(content) | Self::MessageEdited(content) => Some(content.id),
            Self::MessageRemoved(id) => Some(*id),
            Self::ConversationCreated(_)
            | Self::ConversationEdited(_)
            | Self::ConversationRemoved
            | Self::Unknown { .. } => None,
        }
    }

    /// Returns the conversation as the event describes it.
    pub const fn conversation(&self) -> Option<&Conversation> {
        match self {
            Self::ConversationCreated(conversation) | Self::ConversationEdited(conversation) => Some(conversation),
            Self::ConversationRemoved
            | Self::MessageSent(_)
            | Self::MessageEdited(_)
            | Self::MessageRemoved(_)
            | Self::Unknown { .. } => None,
        }
    }
}

/// Pushed, never numbered, never retransmitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Somebody is writing.
    Typing {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
    },
    /// Somebody set a read mark.
    Read {
        /// Where.
        conversation: ConversationId,
        /// Who.
        user: UserId,
        /// Up to and including this event; may be lower than before.
        sequence: Sequence,
    },
    /// Somebody came or went.
    Status {
        /// Who.
        user: UserId,
        /// Whether they are there.
        online: bool,
        /// When.
        timestamp: Timestamp,
    },
    /// The user follows more people, by whatever device.
    Subscribed(Vec<UserId>),
    /// The user follows fewer people, by whatever device.
    Unsubscribed(Vec<UserId>),
}
