//! What the hub remembers, behind one interface.
//!
//! A storage keeps facts and answers questions about them; it decides nothing. Two implementations
//! behave alike: [`Memory`] for tests and simulations, [`Sqlite`] for a server that is to be kept.

mod database;
mod memory;
mod rows;
mod sqlite;

pub(crate) use database::{failed, open, private_file};
pub use memory::Memory;
pub use sqlite::Sqlite;

use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, MessageId, Notification, Participant, Permissions,
    PrivateUser, RawJson, RequestId, Sequence, SequenceRange, Timestamp, User, UserId,
};
use backscroll::protocol::{Push, UserKey};
use std::path::PathBuf;

/// Why the storage could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StorageError {
    /// The file or its folder cannot be made or opened.
    #[error("cannot open {}", path.display())]
    Open {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file was written by a newer version, and was left as it is.
    #[error("{} was written by a newer version", path.display())]
    Newer {
        /// The file.
        path: PathBuf,
    },
    /// The file could not be brought to the present schema.
    #[error("cannot bring {} to the present schema", path.display())]
    Migrate {
        /// The file.
        path: PathBuf,
        /// What the migrations said.
        source: Box<refinery::Error>,
    },
    /// The database refused.
    #[error("could not {doing}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// What the database said.
        source: rusqlite::Error,
    },
    /// The transaction around it could not be kept.
    #[error("the transaction was taken back")]
    Aborted,
    /// A row does not hold what it should.
    #[error("a row of {table} holds no valid {expected}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// What should be there.
        expected: &'static str,
    },
}

/// A conversation, and whether it is still there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredConversation {
    /// As it is now; `last_sequence` is the head.
    pub conversation: Conversation,
    /// Whether it was removed for everybody.
    pub removed: bool,
}

/// A time during which a user took part in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stay {
    /// The event that brought the user in.
    pub joined: Sequence,
    /// The event that took the user out; `None` while the user is in.
    pub left: Option<Sequence>,
    /// The user's read mark, which a later stay begins with.
    pub last_read: Sequence,
}

/// What must be known of a message to change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredMessage {
    /// Who wrote it.
    pub sender: UserId,
    /// Its newest event.
    pub newest: EventBody,
}

/// The answer that a repeated request gets again.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The event at this position.
    Event(ConversationId, Sequence),
    /// A frame that is no stored event.
    Push(Box<Push>),
}

/// What the hub needs to remember. Every list has a stated order, the same in each implementation.
///
/// # Errors
///
/// Each method fails with a [`StorageError`] when the medium does, and then changed nothing.
pub trait Storage {
    /// Returns what everybody may know of a user; `private` is `None`.
    fn user(&self, key: &UserKey) -> Result<Option<User>, StorageError>;

    /// Returns what only the user may know; both lists are in the order of the ids.
    fn private_user(&self, user: UserId) -> Result<PrivateUser, StorageError>;

    /// Replaces what everybody sees.
    fn set_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError>;

    /// Replaces what only the user sees.
    fn set_private_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError>;

    /// Replaces the kinds of event worth a push notification.
    fn set_notifications(&mut self, user: UserId, kinds: &[Notification]) -> Result<(), StorageError>;

    /// Returns whom `user` follows, by rising number.
    fn subscriptions(&self, user: UserId) -> Result<Vec<UserId>, StorageError>;

    /// Returns who follows `user`, by rising number.
    fn subscribers(&self, user: UserId) -> Result<Vec<UserId>, StorageError>;

    /// Makes `user` follow the others; following twice is following.
    fn subscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError>;

    /// Makes `user` follow the others no longer.
    fn unsubscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError>;

    /// Returns a conversation with its present participants in the order of their joining.
    fn conversation(&self, id: ConversationId) -> Result<Option<StoredConversation>, StorageError>;

    /// Returns the direct conversation of two users, unless it was removed.
    fn direct_conversation(&self, one: UserId, other: UserId) -> Result<Option<ConversationId>, StorageError>;

    /// Returns the conversation that `creator` made with this token.
    fn conversation_by_token(
        &self,
        creator: UserId,
        token: ClientToken,
    ) -> Result<Option<ConversationId>, StorageError>;

    /// Returns the conversations that anyone may join, in the order of their ids.
    fn public_conversations(&self) -> Result<Vec<ConversationId>, StorageError>;

    /// Keeps a new conversation; its participants join at [`Sequence::FIRST`].
    fn create_conversation(
        &mut self,
        conversation: &Conversation,
        creator: UserId,
        token: Option<ClientToken>,
    ) -> Result<(), StorageError>;

    /// Replaces title, public join and custom data.
    fn describe_conversation(&mut self, conversation: &Conversation) -> Result<(), StorageError>;

    /// Marks a conversation as removed for everybody.
    fn remove_conversation(&mut self, id: ConversationId) -> Result<(), StorageError>;

    /// Returns the user's stays, oldest first; empty when the user never was in.
    fn stays(&self, conversation: ConversationId, user: UserId) -> Result<Vec<Stay>, StorageError>;

    /// Returns the conversations that `user` is or was in and that were not removed, in the order of their ids, with the
    /// sequence of the newest event of each; of those the user left, of the event that took the user out.
    fn heads(&self, user: UserId) -> Result<Vec<(ConversationId, Sequence)>, StorageError>;

    /// Begins a stay at the event `at` for each of `participants`, who are not in.
    fn add_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        participants: &[Participant],
    ) -> Result<(), StorageError>;

    /// Replaces the rights of a present participant.
    fn set_permissions(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        permissions: Permissions,
    ) -> Result<(), StorageError>;

    /// Replaces the read mark of a present participant.
    fn set_last_read(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        last_read: Sequence,
    ) -> Result<(), StorageError>;

    /// Ends the stays of `users` at the event `at`.
    fn remove_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        users: &[UserId],
    ) -> Result<(), StorageError>;

    /// Keeps the next event of a conversation, whose head and time of last update move to it.
    fn append(&mut self, event: &Event, token: Option<ClientToken>) -> Result<(), StorageError>;

    /// Returns the events in `range`, in rising order.
    fn events(&self, conversation: ConversationId, range: SequenceRange) -> Result<Vec<Event>, StorageError>;

    /// Returns where `sender` used this token in the conversation.
    fn event_by_token(
        &self,
        conversation: ConversationId,
        sender: UserId,
        token: ClientToken,
    ) -> Result<Option<Sequence>, StorageError>;

    /// Returns a message of the conversation.
    fn message(&self, conversation: ConversationId, message: MessageId) -> Result<Option<StoredMessage>, StorageError>;

    /// Takes text and payload out of every event of a message.
    fn erase_message(&mut self, conversation: ConversationId, message: MessageId) -> Result<(), StorageError>;

    /// Returns the answer that was kept for a request.
    fn answer(&self, user: UserId, request: RequestId) -> Result<Option<Answer>, StorageError>;

    /// Keeps the answer to a request that had none.
    fn keep_answer(
        &mut self,
        user: UserId,
        request: RequestId,
        now: Timestamp,
        answer: &Answer,
    ) -> Result<(), StorageError>;

    /// Forgets answers that were kept before `before`, a bounded number at a time.
    fn forget_answers(&mut self, before: Timestamp) -> Result<(), StorageError>;
}
