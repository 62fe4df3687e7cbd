//! Write → SQL.

use super::change::{Change, ChangeSet};
use super::error::{Doing, StoreError};
use super::value::LocalId;
use super::{conversations, coverage, events, outbox, people, rebuild, session, wish};
use crate::model::{Contradiction, Conversation, ConversationId, Membership, Sequence, UserId};
use crate::sync::Write;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// The open transaction: what later writes of it need to know of earlier ones.
pub(super) struct Transaction<'c> {
    pub(super) connection: &'c Connection,
    changes: BTreeSet<Change>,
    contradictions: Vec<Contradiction>,
    /// Whose store it is, once asked for.
    own_user: Option<Option<UserId>>,
    /// The conversation last written to: writes come in runs.
    latest: Option<(ConversationId, LocalId)>,
}

/// Carries out the writes inside the open transaction and returns what they touched, still without a number.
pub(super) fn apply(connection: &Connection, writes: &[Write]) -> Result<ChangeSet, StoreError> {
    let (changes, contradictions) = (BTreeSet::new(), Vec::new());
    let mut transaction = Transaction { connection, changes, contradictions, own_user: None, latest: None };
    for write in writes {
        transaction.apply(write)?;
    }
    let Transaction { changes, contradictions, .. } = transaction;
    Ok(ChangeSet { number: 0, changes, contradictions })
}

impl Transaction<'_> {
    fn apply(&mut self, write: &Write) -> Result<(), StoreError> {
        match write {
            Write::Session(session) => {
                let before = self.own_user()?;
                session::set_session(self.connection, session)?;
                self.own_user = Some(session.user_id);
                self.touched(Change::Session);
                if before != session.user_id {
                    let recounted = events::recount_all(self.connection, session.user_id)?;
                    self.changes.extend(recounted.into_iter().map(Change::Conversation));
                }
            }
            Write::PushToken(token) => {
                session::set_push_token(self.connection, token)?;
                self.touched(Change::Session);
            }
            Write::PushTokenForget(token) => {
                session::forget_push_token(self.connection, token)?;
                self.touched(Change::Session);
            }
            Write::User(user) => {
                people::set_user(self.connection, user)?;
                self.touched(Change::User(user.id));
            }
            Write::Conversation(conversation) => self.describe(conversation)?,
            Write::Membership(conversation, membership) => self.set_membership(*conversation, *membership)?,
            Write::Events(conversation, events) | Write::Repeated(conversation, events) => {
                events::store(self, *conversation, events)?
            }
            Write::Cover(conversation, range) => {
                let local = self.local(*conversation)?;
                if coverage::cover(self.connection, local, *range)? {
                    self.touched_conversation(*conversation);
                }
            }
            Write::Hole(conversation, range, reason) => {
                let local = self.local(*conversation)?;
                coverage::add_hole(self.connection, local, *range, *reason)?;
                self.touched_conversation(*conversation);
            }
            Write::ReadMark { conversation, user, sequence } => self.set_read_mark(*conversation, *user, *sequence)?,
            Write::Rebuild(conversation, instead) => rebuild::rebuild(self, *conversation, instead)?,
            Write::HeadsCursor(cursor) => {
                coverage::set_heads_cursor(self.connection, cursor)?;
                self.touched(Change::Session);
            }
            Write::History(conversation, policy) => {
                let local = self.local(*conversation)?;
                coverage::set_history(self.connection, local, *policy)?;
                self.touched_conversation(*conversation);
            }
            Write::WholeAt(at) => {
                coverage::set_whole_at(self.connection, *at)?;
                self.touched(Change::Session);
            }
            Write::Subscriptions(users) => {
                people::set_subscriptions(self.connection, users)?;
                self.touched_own_user()?;
            }
            Write::Subscribed(users) => {
                people::subscribe(self.connection, users)?;
                self.touched_own_user()?;
            }
            Write::Unsubscribed(users) => {
                people::unsubscribe(self.connection, users)?;
                self.touched_own_user()?;
            }
            Write::PublicConversations(conversations) => {
                conversations::set_public(self.connection, conversations)?;
                self.touched_own_user()?;
            }
            Write::Outbox(entry) => {
                outbox::set(self.connection, entry)?;
                self.touched(Change::Outbox(entry.token));
            }
            Write::Mend => {
                // What is found by it now was not shown before, or shown elsewhere.
                for token in outbox::index_anew(self.connection)? {
                    self.touched(Change::Outbox(token));
                }
                for user in people::forget_unreadable(self.connection)? {
                    self.touched(Change::User(user));
                    // Who takes part is asked for where a conversation is described.
                    coverage::forget_heads_cursor(self.connection)?;
                }
            }
            Write::WishAnswered(number, answer) => {
                if let Some(token) = wish::answer(self.connection, *number, *answer)? {
                    self.touched(Change::Outbox(token));
                }
            }
            Write::OutboxForget(token) => {
                if outbox::forget(self.connection, *token)? {
                    self.touched(Change::Outbox(*token));
                }
            }
        }
        Ok(())
    }

    pub(super) fn touched(&mut self, change: Change) {
        self.changes.insert(change);
    }

    /// Something held was told differently: to be told, once the transaction is stored.
    pub(super) fn contradicted(&mut self, contradiction: Contradiction) {
        self.touched_conversation(contradiction.conversation);
        self.contradictions.push(contradiction);
    }

    pub(super) fn touched_conversation(&mut self, conversation: ConversationId) {
        self.touched(Change::Conversation(conversation));
    }

    /// Lists that were looked up count as facts about the user.
    fn touched_own_user(&mut self) -> Result<(), StoreError> {
        let own = self.own_user()?;
        self.touched(own.map_or(Change::Session, Change::User));
        Ok(())
    }

    /// Returns whose store it is; `None` before the server has told.
    pub(super) fn own_user(&mut self) -> Result<Option<UserId>, StoreError> {
        match self.own_user {
            Some(known) => Ok(known),
            None => Ok(*self.own_user.insert(session::own_user(self.connection)?)),
        }
    }

    /// Returns the local number of a conversation; an unknown one gets a bare row, in which the user is a stranger: a
    /// read mark of one's own, for example, may name a conversation that does not exist.
    pub(super) fn local(&mut self, conversation: ConversationId) -> Result<LocalId, StoreError> {
        const DOING: &str = "number a conversation";
        if let Some((latest, local)) = self.latest
            && latest == conversation
        {
            return Ok(local);
        }
        let known = self
            .connection
            .prepare_cached("SELECT id FROM conversation WHERE uuid = ?1")
            .and_then(|mut select| select.query_row([conversation], |row| row.get(0)).optional())
            .doing(DOING)?;
        let id = match known {
            Some(id) => id,
            None => {
                self.touched_conversation(conversation);
                self.connection
                    .prepare_cached(
                        "INSERT INTO conversation (uuid, title, custom_data, direct, public_join, uber, created_at,
                             last_update, described_at, membership, head, own_read, unread, last_activity)
                         VALUES (?1, '', '{}', 0, 0, 0, 0, 0, 0, ?2, 0, 0, 0, 0)",
                    )
                    .and_then(|mut insert| {
                        insert.insert(params![conversation, conversations::membership_column(Membership::Stranger)])
                    })
                    .doing(DOING)?
            }
        };
        let damaged = StoreError::Damaged { table: "conversation", rowid: id, expected: "local id" };
        let local = LocalId::new(id).ok_or(damaged)?;
        self.latest = Some((conversation, local));
        Ok(local)
    }

    fn describe(&mut self, told: &Conversation) -> Result<(), StoreError> {
        const DOING: &str = "store a conversation";
        let local = self.local(told.id)?;
        // After each reconnect most descriptions say nothing new.
        if conversations::described(self.connection, local)?.is_some_and(|held| held == *told) {
            return Ok(());
        }
        self.connection
            .prepare_cached(
                "UPDATE conversation SET title = ?2, custom_data = ?3, direct = ?4, public_join = ?5, uber = ?6,
                     created_at = ?7, last_update = ?8, described_at = ?9, head = max(head, ?9),
                     last_activity = max(last_activity, ?8)
                 WHERE id = ?1",
            )
            .and_then(|mut update| {
                update.execute(params![
                    local.get(),
                    told.title,
                    told.custom_data,
                    told.direct,
                    told.public_join,
                    told.uber,
                    told.created_at,
                    told.last_update,
                    told.last_sequence
                ])
            })
            .doing(DOING)?;
        self.connection
            .prepare_cached("DELETE FROM participant WHERE conversation = ?1")
            .and_then(|mut delete| delete.execute([local.get()]))
            .doing(DOING)?;
        // A user listed twice is a server fault: the first mention stays.
        let mut insert = self
            .connection
            .prepare_cached(
                "INSERT OR IGNORE INTO participant (conversation, user_id, place, permissions, last_read)
                 VALUES (?1, ?2, ?3, ?4, ?5)",
            )
            .doing(DOING)?;
        for (participant, place) in told.participants.iter().zip(0_i64..) {
            insert
                .execute(params![
                    local.get(),
                    participant.user,
                    place,
                    participant.permissions.bits(),
                    participant.last_read
                ])
                .doing(DOING)?;
        }
        self.touched_conversation(told.id);
        let own = self.own_user()?;
        if let Some(own) = own.and_then(|own| told.participant(own)) {
            // A description may be older than a mark that was set since: it never takes one back.
            let held = conversations::own_read(self.connection, local)?;
            events::set_own_read(self.connection, local, Some(own.user), held.max(own.last_read))?;
        }
        Ok(())
    }

    fn set_membership(&mut self, conversation: ConversationId, membership: Membership) -> Result<(), StoreError> {
        let local = self.local(conversation)?;
        let changed = self
            .connection
            .prepare_cached("UPDATE conversation SET membership = ?2 WHERE id = ?1 AND membership <> ?2")
            .and_then(|mut update| update.execute([local.get(), conversations::membership_column(membership)]))
            .doing("store a membership")?;
        if changed > 0 {
            self.touched_conversation(conversation);
        }
        Ok(())
    }

    fn set_read_mark(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        sequence: Sequence,
    ) -> Result<(), StoreError> {
        let local = self.local(conversation)?;
        let moved = self
            .connection
            .prepare_cached(
                "UPDATE participant SET last_read = ?3 WHERE conversation = ?1 AND user_id = ?2 AND last_read <> ?3",
            )
            .and_then(|mut update| update.execute(params![local.get(), user, sequence]))
            .doing("store a read mark")?;
        let own = self.own_user()?;
        let own_moved = own == Some(user) && events::set_own_read(self.connection, local, own, sequence)?;
        if moved > 0 || own_moved {
            self.touched_conversation(conversation);
        }
        Ok(())
    }
}
