//! What we asked for and cannot yet prove done.

use super::{ClientToken, ConversationId, Intent, MessageId, MessagingError, RequestId, Sequence, Timestamp};

/// How far an outbox entry has come.
///
/// ```text
///              link live, its turn          answer, or own token seen
///   Queued ──────────────────────▶ Sending ──────────────────────────▶ Settled
///    ▲▲▲ │                         │  │  │                                ▲
///    │││ │                         │  │  └─ refused for good ──▶ Failed ──┘ own token seen after all
///    ││└─┼──── refused for now ────┘  │                           ▲  │
///    ││  └─ names what is gone ───────┼───────────────────────────┘  │
///    │└─────── tried again by hand ───┼──────────────────────────────┘
///    │                                │ link lost before the answer, or killed
///    │                                ▼
///    └──────── looked for, absent ── Uncertain ── own token seen ─────▶ Settled
/// ```
///
/// What is queued and cannot have arrived may be merged with a later wish, or taken back; a removal that takes back
/// what has not left is settled from the beginning. What waits for another entry stays queued until that is settled.
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

impl OutboxEntry {
    /// Returns the conversation it is about, under its provisional id when it makes it; `None` when it is about the user.
    pub fn conversation(&self) -> Option<ConversationId> {
        self.intent.about(self.token)
    }
}
