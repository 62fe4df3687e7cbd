//! The session, users, and the store as a whole.

use super::connections::Reader;
use super::error::StoreError;
use crate::model::{OutboxState, Session, User, UserId};
use std::collections::BTreeMap;

/// The store in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The schema of the file.
    pub schema_version: i64,
    /// Conversations known, in whatever standing.
    pub conversations: u64,
    /// Messages held, removed ones included.
    pub messages: u64,
    /// Numbered events held, births of messages included.
    pub events: u64,
    /// Gaps in all conversations.
    pub gaps: u64,
    /// Positions in these gaps.
    pub missing: u64,
    /// Outbox entries by state; states without any are absent.
    pub outbox: BTreeMap<OutboxState, u64>,
    /// Users known.
    pub users: u64,
    /// Size of the main file and its write-ahead log.
    pub bytes: u64,
    /// The number of the newest change.
    pub change: u64,
}

impl Reader<'_> {
    /// Returns the session, or `None` when nobody ever logged in.
    pub fn session(&self) -> Result<Option<Session>, StoreError> {
        todo!()
    }

    /// Returns a user, or `None` when unknown.
    pub fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        todo!()
    }

    /// Returns the store in numbers; counts rows, so not for a hot path.
    pub fn overview(&self) -> Result<Overview, StoreError> {
        todo!()
    }
}
