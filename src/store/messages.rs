//! Messages by page, and one message by its uuid.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::log::{self, MessageRow, message_columns};
use super::value::{LocalId, sequence_of};
use super::{coverage, lookup};
use crate::model::{ClientToken, ConversationId, Event, Message, MessageId, Sequence, SequenceRange};
use rusqlite::{OptionalExtension, params};

/// The most messages one window may hold.
pub const PAGE_MAX: u32 = 1_000;

/// Which part of a conversation to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Window {
    /// The end.
    Newest,
    /// What lies before a position, nearest first taken.
    Before(Sequence),
    /// What lies after a position, nearest first taken.
    After(Sequence),
    /// What lies on both sides of a position, and what is there.
    Around(Sequence),
}

/// One line of a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// A message that is held.
    Message(Message),
    /// Positions not fetched yet, between or beside messages.
    Gap(SequenceRange),
}

/// The messages below a row id, nearest first.
const BELOW: &str =
    concat!("SELECT ", message_columns!(), " FROM message WHERE id >= ?1 AND id < ?2 ORDER BY id DESC LIMIT ?3");

/// The messages above a row id, nearest first.
const ABOVE: &str =
    concat!("SELECT ", message_columns!(), " FROM message WHERE id > ?1 AND id <= ?2 ORDER BY id LIMIT ?3");

impl Reader<'_> {
    /// Returns a window of at most `limit` messages (and [`PAGE_MAX`]), oldest first, with one item for each
    /// gap between them and up to the edge the window was asked from.
    ///
    /// Removed messages are there, without content. Our own token is taken out of payloads; it is in
    /// [`Message::token`] when the message is one's own. Empty when the conversation is unknown.
    pub fn messages(&self, conversation: ConversationId, window: Window, limit: u32) -> Result<Vec<Item>, StoreError> {
        let Some(&(_, local, head)) = self.heads(Some(conversation))?.first() else { return Ok(Vec::new()) };
        let limit = limit.clamp(1, PAGE_MAX);
        let (lowest, highest) = local.all();
        let mut rows;
        let within = match window {
            Window::Newest => {
                rows = self.rows(BELOW, (lowest, highest), limit)?;
                from_below(&mut rows, limit, head)
            }
            Window::Before(at) => {
                rows = self.rows(BELOW, (lowest, local.at(at)), limit)?;
                from_below(&mut rows, limit, at.previous())
            }
            Window::After(at) => {
                rows = self.rows(ABOVE, (local.at(at), highest), limit)?;
                from_above(&rows, limit, at.next(), head)
            }
            Window::Around(at) => {
                let (older, newer) = (limit - limit / 2, limit / 2);
                rows = self.rows(BELOW, (lowest, local.at(at) + 1), older)?;
                let below = from_below(&mut rows, older, at);
                let above = self.rows(ABOVE, (local.at(at), highest), newer)?;
                let above_within = from_above(&above, newer, at.next(), head);
                rows.extend(above);
                (below.0, below.1.max(above_within.1))
            }
        };
        self.with_gaps(conversation, local, rows, (within.0, within.1.min(head)))
    }

    fn rows(&self, sql: &'static str, ids: (i64, i64), limit: u32) -> Result<Vec<MessageRow>, StoreError> {
        const DOING: &str = "read messages";
        let mut select = self.connection.prepare_cached(sql).doing(DOING)?;
        let mut rows = select.query([ids.0, ids.1, limit.into()]).doing(DOING)?;
        let mut found = Vec::with_capacity(limit as usize);
        while let Some(row) = rows.next().doing(DOING)? {
            found.push(MessageRow::from_row(row)?);
        }
        Ok(found)
    }

    /// Puts one item for each gap of the positions looked at between the messages.
    fn with_gaps(
        &self,
        conversation: ConversationId,
        local: LocalId,
        rows: Vec<MessageRow>,
        (first, last): (Sequence, Sequence),
    ) -> Result<Vec<Item>, StoreError> {
        let gaps: Vec<SequenceRange> = match SequenceRange::new(first.max(Sequence::FIRST), last) {
            Some(within) => coverage::covered(self.connection, local)?.missing(within).collect(),
            None => Vec::new(),
        };
        let mut gaps = gaps.into_iter().peekable();
        let own = self.own_user()?;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            while let Some(gap) = gaps.next_if(|gap| gap.first() <= row.sequence()) {
                items.push(Item::Gap(gap));
            }
            items.push(Item::Message(row.into_message(conversation, own)));
        }
        items.extend(gaps.map(Item::Gap));
        Ok(items)
    }

    /// Returns a message of a conversation.
    pub fn message(&self, conversation: ConversationId, id: MessageId) -> Result<Option<Message>, StoreError> {
        match self.local(conversation)? {
            Some(local) => self.message_between(local.all(), id),
            None => Ok(None),
        }
    }

    /// Returns a message wherever it is; looks through all conversations.
    pub fn find_message(&self, id: MessageId) -> Result<Option<Message>, StoreError> {
        self.message_between((0, i64::MAX), id)
    }

    fn message_between(&self, ids: (i64, i64), message: MessageId) -> Result<Option<Message>, StoreError> {
        let Some(row) = lookup::find_between(self.connection, ids, message)? else { return Ok(None) };
        let conversation = log::conversation_of(self.connection, "message", row.id)?;
        Ok(Some(row.into_message(conversation, self.own_user()?)))
    }

    /// Returns which message of a conversation the user sent under this token, and where it stands; `None` when no such
    /// message is held, or when it was removed since. Looks through the conversation.
    pub fn sent_as(
        &self,
        conversation: ConversationId,
        token: ClientToken,
    ) -> Result<Option<(MessageId, Sequence)>, StoreError> {
        let Some(local) = self.local(conversation)? else { return Ok(None) };
        let ((lowest, highest), own) = (local.all(), self.own_user()?);
        // The birth of one that was edited since stands among the events.
        self.connection
            .prepare_cached(
                "SELECT id, uuid FROM message
                 WHERE id BETWEEN ?1 AND ?2 AND sender = ?3 AND instr(payload, ?4) > 0
                 UNION ALL
                 SELECT id, message FROM event
                 WHERE id BETWEEN ?1 AND ?2 AND kind = 3 AND initiator = ?3 AND instr(data, ?4) > 0
                 LIMIT 1",
            )
            .and_then(|mut select| {
                let parameters = params![lowest, highest, own, token.to_string()];
                select.query_row(parameters, |row| Ok((row.get(1)?, sequence_of(row.get(0)?)))).optional()
            })
            .doing("look for a message by its token")
    }

    /// Returns the events held in a range, rising, as they were received; removed messages have lost their content.
    pub fn events(&self, conversation: ConversationId, range: SequenceRange) -> Result<Vec<Event>, StoreError> {
        match self.local(conversation)? {
            Some(local) => {
                log::events_between(self.connection, conversation, (local.at(range.first()), local.at(range.last())))
            }
            None => Ok(Vec::new()),
        }
    }
}

/// Turns rows found downwards the right way round, and returns the positions they stand for.
///
/// A full window ends at its oldest message, any other reaches back to the first position.
fn from_below(rows: &mut [MessageRow], limit: u32, last: Sequence) -> (Sequence, Sequence) {
    rows.reverse();
    let full = rows.len() == limit as usize;
    let first = rows.first().filter(|_| full).map_or(Sequence::FIRST, MessageRow::sequence);
    (first, last)
}

/// Returns the positions that rows found upwards stand for.
fn from_above(rows: &[MessageRow], limit: u32, first: Sequence, head: Sequence) -> (Sequence, Sequence) {
    let full = rows.len() == limit as usize;
    match rows.last() {
        Some(row) if full => (first, row.sequence()),
        // Nothing was asked for on this side.
        None if full => (first, first.previous()),
        Some(_) | None => (first, head),
    }
}
