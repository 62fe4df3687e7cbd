//! Every messaging frame of the server. A push and the answer to a request look the same.

use crate::model::{
    Action, Conversation, ConversationId, Event, MessagingError, RawJson, RequestId, Sequence, Timestamp, User, UserId,
};

/// A messaging frame in its envelope.
#[derive(Clone, Debug, PartialEq)]
pub struct ServerChat {
    /// The request it answers; absent on what others caused.
    pub request: Option<RequestId>,
    /// What it says.
    pub push: Push,
}

/// What every frame but an event says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// What was asked for.
    pub action: Action,
    /// Who asked.
    pub initiator: Option<UserId>,
    /// When, by the server's clock.
    pub timestamp: Option<Timestamp>,
    /// Members this version does not know, as a JSON object by place:
    /// `{"envelope":{…},"payload":{…},"object":{…}}`.
    pub unknown: Option<RawJson>,
}

impl Header {
    /// Returns a header with nothing but its cause.
    pub const fn new(action: Action, initiator: UserId, timestamp: Timestamp) -> Self {
        Self { action, initiator: Some(initiator), timestamp: Some(timestamp), unknown: None }
    }
}

/// How far a conversation has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Which.
    pub conversation: ConversationId,
    /// The sequence of its newest event; of one that the user left, of the event of leaving.
    pub sequence: Sequence,
}

/// What a server says about conversations, messages and users.
///
/// Source: protocol notes, section 7.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Push {
    /// Something numbered happened just now.
    Event(Event),
    /// `onGetConversation`: a conversation as it is; its `last_sequence` is the head.
    Conversation {
        /// Cause and time.
        header: Header,
        /// The description.
        conversation: Conversation,
    },
    /// `onGetPublicConversations`.
    PublicConversations {
        /// Cause and time.
        header: Header,
        /// The ids, in the server's order.
        conversations: Vec<ConversationId>,
    },
    /// `onGetUser`.
    User {
        /// Cause and time.
        header: Header,
        /// The description.
        user: User,
    },
    /// `onEditUser`: somebody changed their own data.
    UserEdited {
        /// Cause and time.
        header: Header,
        /// The description.
        user: User,
    },
    /// `onSetStatus`.
    Status {
        /// Cause and time; the initiator is who came or went.
        header: Header,
        /// Whether they are there.
        online: bool,
    },
    /// `onSubscribe`.
    Subscribed {
        /// Cause and time.
        header: Header,
        /// Whom.
        users: Vec<UserId>,
    },
    /// `onUnsubscribe`.
    Unsubscribed {
        /// Cause and time.
        header: Header,
        /// Whom.
        users: Vec<UserId>,
    },
    /// `onGetSubscriptionList`.
    Subscriptions {
        /// Cause and time.
        header: Header,
        /// Everybody the user is subscribed to.
        users: Vec<UserId>,
    },
    /// `onTyping`.
    Typing {
        /// Cause and time; the initiator is who writes.
        header: Header,
        /// Where.
        conversation: ConversationId,
    },
    /// `isRead`.
    Read {
        /// Cause and time; the initiator is who read.
        header: Header,
        /// Where.
        conversation: ConversationId,
        /// Up to and including this event.
        sequence: Sequence,
    },
    /// `onRetransmitEvents`: one event of history.
    Retransmitted {
        /// Cause and time of the answer, not of the event.
        header: Header,
        /// The lowest position asked for, if told.
        from: Option<Sequence>,
        /// The highest position asked for, if told.
        to: Option<Sequence>,
        /// How many frames the answer has, if told.
        count: Option<u32>,
        /// The event as it was.
        event: Event,
    },
    /// `onHeadsSince`: conversations that moved since a cursor. An extension of our own server.
    HeadsSince {
        /// Cause and time.
        header: Header,
        /// They moved: something was numbered, or somebody has read. By rising id over all frames of an answer.
        heads: Vec<Head>,
        /// What to ask with the next time; absent in all frames of an answer but the last.
        cursor: Option<String>,
    },
    /// `onError`: a refusal.
    Error {
        /// Cause and time.
        header: Header,
        /// What is wrong.
        error: MessagingError,
    },
    /// A frame this version does not know; nothing of it is lost.
    Unknown {
        /// The name on the wire.
        name: Box<str>,
        /// The whole frame as received.
        frame: RawJson,
    },
}
