//! Local reads: what the file holds, with what still waits in the outbox.

use super::{Conversation, Message, Messenger};
use crate::error::Error;
use crate::model::{
    ConversationId, Event, Membership, MessageId, OutboxEntry, Sequence, SequenceRange, Timestamp, User, UserId,
    UserName,
};
use crate::sync::HoleReason;

/// How far the local copy of a conversation can be trusted to be whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Freshness {
    /// Everything the server has told of is held, and more will be told as it happens.
    Live,
    /// Something is missing and being fetched.
    CatchingUp,
    /// There is no link: what happened since is not known.
    Stale,
}

/// Where a page of the conversation list begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListPosition {
    /// When something last happened there.
    pub last_activity: Timestamp,
    /// Which.
    pub id: ConversationId,
}

/// What a list of conversations shows of one.
#[derive(Clone, Debug)]
pub struct ConversationSummary {
    /// The newest description held.
    pub conversation: Conversation,
    /// Where the user stands to it.
    pub membership: Membership,
    /// The newest sequence the server told of; zero when it never did.
    pub head: Sequence,
    /// Positions asked for and completely answered.
    pub covered: u64,
    /// Ranges up to the head that are still to be fetched, rising.
    pub gaps: Vec<SequenceRange>,
    /// Messages of others, not removed, above the own read mark.
    pub unread: u64,
    /// `false` when a gap leaves the number open: it is at least this.
    pub unread_exact: bool,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The newest message held, removed ones included.
    pub last_message: Option<Message>,
    /// Whether what is shown is whole.
    pub freshness: Freshness,
}

impl ConversationSummary {
    /// Returns where the page after this one begins.
    pub fn position(&self) -> ListPosition {
        ListPosition { last_activity: self.last_activity, id: self.conversation.id }
    }
}

/// Which part of a conversation to read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Window {
    /// The newest messages, with those that wait in the outbox at the end.
    #[default]
    Newest,
    /// Messages before this position.
    Before(Sequence),
    /// Messages after this position.
    After(Sequence),
    /// Messages around this position, half of them before it.
    Around(Sequence),
}

/// A line of a conversation as people read it.
#[derive(Clone, Debug)]
pub enum TimelineItem {
    /// A message, as it is now.
    Message(Message),
    /// Positions still to be fetched: what was said there is not known yet.
    Gap(SequenceRange),
}

/// Positions still to be fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Inclusive.
    pub range: SequenceRange,
}

/// Positions that hold nothing, and are not asked for again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hole {
    /// Of which conversation.
    pub conversation: ConversationId,
    /// Inclusive.
    pub range: SequenceRange,
    /// Why.
    pub reason: HoleReason,
}

/// Entries of the outbox by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutboxCounts {
    /// Accepted, not yet sent.
    pub queued: u64,
    /// Sent, not yet answered.
    pub sending: u64,
    /// The link broke before the answer.
    pub uncertain: u64,
    /// Refused for good.
    pub failed: u64,
}

/// What the file holds, in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// Whose data it is; `None` before the first login.
    pub account: Option<UserName>,
    /// The user's number; `None` until the server told it.
    pub user_id: Option<UserId>,
    /// The version of the tables.
    pub schema_version: u32,
    /// Conversations known.
    pub conversations: u64,
    /// Messages held, removed ones included.
    pub messages: u64,
    /// Events held.
    pub events: u64,
    /// Ranges still to be fetched.
    pub gaps: u64,
    /// What waits.
    pub outbox: OutboxCounts,
    /// The size of the file.
    pub bytes: u64,
}

/// What a check of the file found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verification {
    /// One sentence for each fault; empty when the file holds what it claims.
    pub findings: Vec<String>,
    /// How many facts were checked.
    pub checked: u64,
}

/// Local reads: they wait for neither the network nor a write, and each sees one moment of the file.
///
/// Every one fails with [`Error::Store`] when the file cannot be read.
#[expect(clippy::missing_errors_doc, reason = "said once for all")]
impl Messenger {
    /// Returns a conversation as the file holds it; `None` for an unknown one.
    pub async fn conversation(&self, _id: ConversationId) -> Result<Option<ConversationSummary>, Error> {
        Ok(None)
    }

    /// Returns a page of the conversation list, by falling last activity: the first, or the one `after` a position.
    pub async fn conversations(
        &self,
        _after: Option<ListPosition>,
        _limit: usize,
    ) -> Result<Vec<ConversationSummary>, Error> {
        Ok(Vec::new())
    }

    /// Returns messages of a conversation, oldest first, with one gap item wherever something is missing.
    ///
    /// `limit` counts messages that the server has. A window that reaches the newest of them ends with the user's
    /// own that wait in the outbox; edits and removals under way are shown as if done.
    pub async fn messages(
        &self,
        _conversation: ConversationId,
        _window: Window,
        _limit: usize,
    ) -> Result<Vec<TimelineItem>, Error> {
        Ok(Vec::new())
    }

    /// Returns a message as the file holds it, with edits and removals under way applied.
    pub async fn message(&self, _id: MessageId) -> Result<Option<Message>, Error> {
        Ok(None)
    }

    /// Returns what was asked for and is not done, and how the last of it ended, in the order of acceptance.
    pub async fn outbox(&self) -> Result<Vec<OutboxEntry>, Error> {
        Ok(Vec::new())
    }

    /// Returns what is still to be fetched: of one conversation, or of all.
    pub async fn gaps(&self, _conversation: Option<ConversationId>) -> Result<Vec<Gap>, Error> {
        Ok(Vec::new())
    }

    /// Returns the positions that hold nothing: of one conversation, or of all.
    pub async fn holes(&self, _conversation: Option<ConversationId>) -> Result<Vec<Hole>, Error> {
        Ok(Vec::new())
    }

    /// Returns a user as last described; `None` for an unknown one.
    pub async fn user(&self, _id: UserId) -> Result<Option<User>, Error> {
        Ok(None)
    }

    /// Returns what the file holds, in numbers.
    pub async fn overview(&self) -> Result<Overview, Error> {
        Ok(Overview {
            account: self.me(),
            user_id: self.my_id(),
            schema_version: 0,
            conversations: 0,
            messages: 0,
            events: 0,
            gaps: 0,
            outbox: OutboxCounts::default(),
            bytes: 0,
        })
    }

    /// Checks whether the file holds what it claims. Reads all of it.
    pub async fn verify(&self) -> Result<Verification, Error> {
        Ok(Verification::default())
    }

    /// Returns the event that settled an entry, as far as the file holds it.
    pub(crate) async fn settling_event(&self, _entry: &OutboxEntry) -> Result<Option<Event>, Error> {
        Ok(None)
    }
}
