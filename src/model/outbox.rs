//! What we asked for and cannot yet prove done.

use super::{
    Action, ClientToken, ConversationConfig, ConversationId, MessageId, MessagingError, Participant, RawJson,
    RequestId, Sequence, Timestamp,
};
use std::fmt;

/// Something the user wants done, kept until it is. `Debug` tells of what people wrote the sizes only.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Intent {
    /// Make a conversation.
    CreateConversation(ConversationConfig),
    /// Add participants.
    AddParticipants {
        /// Where.
        conversation: ConversationId,
        /// Whom, with what rights.
        participants: Vec<Participant>,
    },
    /// Send a message.
    SendMessage {
        /// Where.
        conversation: ConversationId,
        /// At most 5,000 Unicode scalar values.
        text: String,
        /// What the application gave, without our token; `None` when empty.
        payload: Option<RawJson>,
    },
    /// Change a message. Both parts are always sent, as the protocol replaces both.
    EditMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
        /// The new text.
        text: String,
        /// The new payload; `None` when empty.
        payload: Option<RawJson>,
    },
    /// Remove a message.
    RemoveMessage {
        /// Where.
        conversation: ConversationId,
        /// Which.
        message: MessageId,
    },
    /// Set the own read mark.
    MarkAsRead {
        /// Where.
        conversation: ConversationId,
        /// Up to and including this event.
        sequence: Sequence,
    },
}

impl Intent {
    /// Returns the action that carries it out.
    pub const fn action(&self) -> Action {
        match self {
            Self::CreateConversation(_) => Action::CreateConversation,
            Self::AddParticipants { .. } => Action::AddParticipants,
            Self::SendMessage { .. } => Action::SendMessage,
            Self::EditMessage { .. } => Action::EditMessage,
            Self::RemoveMessage { .. } => Action::RemoveMessage,
            Self::MarkAsRead { .. } => Action::IsRead,
        }
    }

    /// Returns the conversation it is about; `None` for a new one.
    pub const fn conversation(&self) -> Option<ConversationId> {
        match self {
            Self::CreateConversation(_) => None,
            Self::AddParticipants { conversation, .. }
            | Self::SendMessage { conversation, .. }
            | Self::EditMessage { conversation, .. }
            | Self::RemoveMessage { conversation, .. }
            | Self::MarkAsRead { conversation, .. } => Some(*conversation),
        }
    }
}

impl fmt::Debug for Intent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateConversation(config) => f.debug_tuple("CreateConversation").field(config).finish(),
            Self::AddParticipants { conversation, participants } => f
                .debug_struct("AddParticipants")
                .field("conversation", conversation)
                .field("participants", participants)
                .finish(),
            Self::SendMessage { conversation, text, payload } => f
                .debug_struct("SendMessage")
                .field("conversation", conversation)
                .field("text", &format_args!("{} bytes", text.len()))
                .field("payload", payload)
                .finish(),
            Self::EditMessage { conversation, message, text, payload } => f
                .debug_struct("EditMessage")
                .field("conversation", conversation)
                .field("message", message)
                .field("text", &format_args!("{} bytes", text.len()))
                .field("payload", payload)
                .finish(),
            Self::RemoveMessage { conversation, message } => {
                f.debug_struct("RemoveMessage").field("conversation", conversation).field("message", message).finish()
            }
            Self::MarkAsRead { conversation, sequence } => {
                f.debug_struct("MarkAsRead").field("conversation", conversation).field("sequence", sequence).finish()
            }
        }
    }
}

/// How far an outbox entry has come.
///
/// ```text
///              link live, its turn          answer, or own token seen
///   Queued ──────────────────────▶ Sending ──────────────────────────▶ Settled
///     ▲  ▲                          │   │
///     │  └── refused for now ───────┘   └── refused for good ────────▶ Failed
///     │                             │
///     │                             │ link lost before the answer, or killed
///     │                             ▼
///     └── looked for, absent ── Uncertain ── own token seen ─────────▶ Settled
/// ```
///
/// Each arrow is durable before what follows from it leaves the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OutboxState {
    /// Accepted, not yet sent, or sent and refused for now.
    Queued,
    /// The request may have left; no answer yet.
    Sending,
    /// The link broke before the answer: the server may have done it or not.
    Uncertain,
    /// Done, and proven.
    Settled,
    /// Refused for good.
    Failed,
}

/// What settling an entry brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settlement {
    /// The conversation; known for a new one only now.
    pub conversation: Option<ConversationId>,
    /// The message sent, edited or removed.
    pub message: Option<MessageId>,
    /// The event that did it; `None` where the protocol numbers none.
    pub sequence: Option<Sequence>,
}

/// One thing we asked for and cannot yet prove done, or how it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Our own id; inside the message, too.
    pub token: ClientToken,
    /// The order in which entries were accepted, rising.
    pub position: u64,
    /// What is wanted.
    pub intent: Intent,
    /// How far it has come.
    pub state: OutboxState,
    /// The id that every attempt carries.
    pub request: RequestId,
    /// How often the request left.
    pub attempts: u32,
    /// When it was accepted, by the clock of this machine.
    pub queued_at: Timestamp,
    /// What it brought, once settled.
    pub settlement: Option<Settlement>,
    /// Why it failed, or why the last attempt did not succeed.
    pub error: Option<MessagingError>,
}
