//! Conversations as people see them.

use super::connections::Reader;
use super::error::StoreError;
use crate::model::{Conversation, ConversationId, Membership, Sequence, Timestamp, UserId};
use crate::sync::SavedConversation;

/// What the list shows of the newest message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its position.
    pub sequence: Sequence,
    /// Who wrote it.
    pub sender: UserId,
    /// When it was written.
    pub timestamp: Timestamp,
    /// Its first 100 characters.
    pub text: String,
}

/// A conversation with everything the store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// As last described by the server; bare when it never was.
    pub conversation: Conversation,
    /// Where the user stands.
    pub membership: Membership,
    /// The newest sequence the server told of.
    pub head: Sequence,
    /// How many positions are covered.
    pub covered: u64,
    /// How many positions up to the head are not: still to be fetched.
    pub missing: u64,
    /// Messages of others, not removed, above the own read mark.
    pub unread: u64,
    /// Whether that is all; otherwise it is "at least", as a gap above the read mark may hide more.
    pub unread_exact: bool,
    /// The own read mark.
    pub own_read_mark: Sequence,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The newest message that was not removed, if one is held.
    pub preview: Option<Preview>,
}

impl Reader<'_> {
    /// Returns one conversation, or `None` when it is unknown.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRow>, StoreError> {
        todo!()
    }

    /// Returns those the user is or was in, latest activity first: at most `limit` after the first `offset`.
    pub fn conversations(&self, limit: u32, offset: u32) -> Result<Vec<ConversationRow>, StoreError> {
        todo!()
    }

    /// Returns the conversations whose uuid begins with `name`, or whose title is exactly `name`: at most 10.
    pub fn find_conversations(&self, name: &str) -> Result<Vec<ConversationRow>, StoreError> {
        todo!()
    }

    /// Returns what the core needs to know of every conversation.
    pub fn saved_conversations(&self) -> Result<Vec<SavedConversation>, StoreError> {
        todo!()
    }
}
