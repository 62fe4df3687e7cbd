//! What a transaction touched, and its number.
//!
//! SQLite's own update hook misses replaced rows and reports rows that are rolled back, so the code
//! that writes says itself what it touched.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::Columns;
use crate::model::{ClientToken, Contradiction, ConversationId, UserId};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// One thing that is different after a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Change {
    /// The session.
    Session,
    /// A conversation: its description, its events, what is known to be missing, a read mark.
    Conversation(ConversationId),
    /// A user.
    User(UserId),
    /// An outbox entry, which may be gone.
    Outbox(ClientToken),
}

/// Everything one transaction touched.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChangeSet {
    /// Rises by one with each transaction that touched anything; kept over restarts.
    ///
    /// Of a transaction that changed nothing, the number of the last one that did.
    pub number: u64,
    /// What was touched; empty when everything was known before.
    pub changes: BTreeSet<Change>,
    /// Where the server contradicted what it had told before, each position once; not kept with the numbers.
    pub contradictions: Vec<Contradiction>,
}

impl ChangeSet {
    /// Returns whether the conversation was touched.
    pub fn concerns(&self, conversation: ConversationId) -> bool {
        self.changes.contains(&Change::Conversation(conversation))
    }
}

/// How many transactions back a reader may ask what was touched.
const CHANGES_KEPT: u64 = 10_000;

/// What nobody counts up to: a higher number is damage.
const NUMBER_MAX: u64 = 1 << 62;

/// Returns the number of the newest change; zero in a new store.
pub(super) fn last_number(connection: &Connection) -> Result<u64, StoreError> {
    connection
        .prepare_cached("SELECT coalesce(max(number), 0) FROM change")
        .and_then(|mut select| select.query_row([], |row| row.get::<_, i64>(0)))
        .map(|number| number.max(0).unsigned_abs())
        .doing("read the number of the last change")
        .and_then(|number| match number {
            0..=NUMBER_MAX => Ok(number),
            _ => Err(StoreError::Damaged { table: "change", rowid: 0, expected: "number" }),
        })
}

/// Notes what the open transaction touched, and forgets what is long past.
pub(super) fn record(connection: &Connection, set: &ChangeSet) -> Result<(), StoreError> {
    const DOING: &str = "note what changed";
    let number = set.number.cast_signed();
    let mut insert =
        connection.prepare_cached("INSERT INTO change (number, subject, key) VALUES (?1, ?2, ?3)").doing(DOING)?;
    for change in &set.changes {
        let user;
        let (subject, key): (i64, &[u8]) = match change {
            Change::Session => (0, &[]),
            Change::Conversation(id) => (1, id.as_uuid().as_bytes()),
            Change::User(id) => {
                user = id.get().to_be_bytes();
                (2, &user)
            }
            Change::Outbox(token) => (3, token.as_uuid().as_bytes()),
        };
        insert.execute(params![number, subject, key]).doing(DOING)?;
    }
    connection
        .prepare_cached("DELETE FROM change WHERE number <= ?1")
        .and_then(|mut delete| delete.execute([number - CHANGES_KEPT.cast_signed()]))
        .doing(DOING)?;
    Ok(())
}

impl Reader<'_> {
    /// Returns the number of the newest change; zero in a new store.
    pub fn last_change(&self) -> Result<u64, StoreError> {
        last_number(self.connection)
    }

    /// Returns what was touched by all transactions after the one with this number, and the newest number.
    ///
    /// For whoever read the store at that number and goes on after a restart or in another process.
    /// `None` when it is too long ago to say (ten thousand transactions): then everything is to be read afresh.
    pub fn changes_after(&self, number: u64) -> Result<Option<ChangeSet>, StoreError> {
        const DOING: &str = "read what changed";
        let newest = last_number(self.connection)?;
        if number.saturating_add(CHANGES_KEPT) < newest {
            return Ok(None);
        }
        let mut select =
            self.connection.prepare_cached("SELECT number, subject, key FROM change WHERE number > ?1").doing(DOING)?;
        let mut rows = select.query([i64::try_from(number).unwrap_or(i64::MAX)]).doing(DOING)?;
        let mut changes = BTreeSet::new();
        while let Some(row) = rows.next().doing(DOING)? {
            let columns = Columns::new(row, "change")?;
            changes.insert(match columns.get::<i64>(1, "subject of a change")? {
                0 => Change::Session,
                1 => Change::Conversation(columns.get(2, "uuid of a conversation")?),
                2 => {
                    let user = u64::from_be_bytes(columns.get(2, "user id")?);
                    Change::User(UserId::new(user).ok_or_else(|| columns.damaged("user id"))?)
                }
                3 => Change::Outbox(columns.get(2, "token")?),
                _ => return Err(columns.damaged("subject of a change")),
            });
        }
        Ok(Some(ChangeSet { number: newest, changes, contradictions: Vec::new() }))
    }
}
