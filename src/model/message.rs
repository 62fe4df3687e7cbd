//! Messages as people see them.

use super::{ClientToken, ConversationId, MessageId, RawJson, Sequence, Timestamp, UserId};
use std::fmt;

/// How far a message of one's own has come. Messages of others are always [`Delivery::Settled`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Delivery {
    /// In the outbox, not yet sent.
    Queued,
    /// Sent, not yet answered.
    Sending,
    /// The link broke before the answer; being looked for before anything is sent again.
    Uncertain,
    /// The server has it.
    #[default]
    Settled,
    /// Refused for good, with the reason in the outbox.
    Failed,
}

/// Content a person wrote.
///
/// Keeps the `sequence` of its birth and the `revision` of its last change. `Debug` tells sizes only.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    /// Assigned by the server; `None` while the message waits in the outbox.
    pub id: Option<MessageId>,
    /// Where it was written.
    pub conversation: ConversationId,
    /// The event of its birth; zero while the message waits in the outbox.
    pub sequence: Sequence,
    /// The event of its last change; equal to `sequence` when never changed.
    pub revision: Sequence,
    /// Who wrote it; `None` in a message recreated without its sender.
    pub sender: Option<UserId>,
    /// When it was written.
    pub timestamp: Timestamp,
    /// Empty after a removal.
    pub text: String,
    /// A JSON array of objects; `None` stands for an empty one.
    pub payload: Option<RawJson>,
    /// Whether an edit was applied.
    pub edited: bool,
    /// Whether it was removed; a removed message holds no content.
    pub removed: bool,
    /// How far it has come.
    pub delivery: Delivery,
    /// Our own id, while the message is known by it.
    pub token: Option<ClientToken>,
}

impl Message {
    /// Rebuilds a message from what somebody kept of it: no network, no disk.
    ///
    /// This is the one way a message comes back, be it from the store's own rows or from an
    /// application's table. The published parameters make a thin message; the store sets the
    /// remaining members, which are public, from its row.
    pub const fn recreate(
        id: Option<MessageId>,
        conversation: ConversationId,
        text: String,
        payload: Option<RawJson>,
        sequence: Sequence,
    ) -> Self {
        Self {
            id,
            conversation,
            sequence,
            revision: sequence,
            sender: None,
            timestamp: Timestamp(0),
            text,
            payload,
            edited: false,
            removed: false,
            delivery: Delivery::Settled,
            token: None,
        }
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            id,
            conversation,
            sequence,
            revision,
            sender,
            timestamp,
            text,
            payload,
            edited,
            removed,
            delivery,
            token,
        } = self;
        f.debug_struct("Message")
            .field("id", id)
            .field("conversation", conversation)
            .field("sequence", sequence)
            .field("revision", revision)
            .field("sender", sender)
            .field("timestamp", timestamp)
            .field("text", &format_args!("{} bytes", text.len()))
            .field("payload", payload)
            .field("edited", edited)
            .field("removed", removed)
            .field("delivery", delivery)
            .field("token", token)
            .finish()
    }
}
