//! What the server told of events in other words than the first time.
//!
//! The first telling is kept; that there was another is noted, once a position, for people who look into the file.

use super::apply::Transaction;
use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::{Columns, LocalId, sequence_of};
use crate::model::{Contradiction, ConversationId, Event, EventBody, EventPart, MessageContent, Sequence};
use rusqlite::{Connection, params};

/// Compares another telling of an event with the one held, and notes a contradiction that is new.
pub(super) fn compare(
    transaction: &mut Transaction<'_>,
    local: LocalId,
    held: &Event,
    told: &Event,
) -> Result<(), StoreError> {
    let Some(part) = contradiction(transaction.connection, local, held, told)? else { return Ok(()) };
    let noted = transaction
        .connection
        .prepare_cached("INSERT OR IGNORE INTO contradiction (id, part) VALUES (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![local.at(held.sequence), part as i64]))
        .doing("note a contradiction")?;
    if noted > 0 {
        let (conversation, sequence) = (held.conversation, held.sequence);
        tracing::warn!(%conversation, %sequence, %part, "the server contradicts what it told before");
        transaction.contradicted(Contradiction { conversation, sequence, part });
    }
    Ok(())
}

/// Returns in what another telling contradicts the one held, if it does.
pub(super) fn contradiction(
    connection: &Connection,
    local: LocalId,
    held: &Event,
    told: &Event,
) -> Result<Option<EventPart>, StoreError> {
    let part = held.contradicted_by(told);
    // A server may show what a message became in place of what it was.
    if part == Some(EventPart::Content)
        && let EventBody::MessageSent(content) | EventBody::MessageEdited(content) = &told.body
        && is_a_later_edit(connection, local, held.sequence, content)?
    {
        return Ok(None);
    }
    Ok(part)
}

/// Returns whether an edit of the message behind a position says this.
fn is_a_later_edit(
    connection: &Connection,
    local: LocalId,
    behind: Sequence,
    told: &MessageContent,
) -> Result<bool, StoreError> {
    const DOING: &str = "look for a later edit";
    let mut select = connection
        .prepare_cached("SELECT text, data FROM event WHERE id > ?1 AND id <= ?2 AND message = ?3 AND kind = 4")
        .doing(DOING)?;
    let mut rows = select.query(params![local.at(behind), local.all().1, told.id]).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let (text, payload) = (row.get(0).doing(DOING)?, row.get(1).doing(DOING)?);
        if (MessageContent { id: told.id, text, payload }).says_what(told) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Forgets the contradictions at positions that hold nothing any more.
pub(super) fn forget_unheld(connection: &Connection, local: LocalId) -> Result<(), StoreError> {
    connection
        .prepare_cached(
            "DELETE FROM contradiction WHERE id BETWEEN ?1 AND ?2
                 AND NOT EXISTS (SELECT 1 FROM message WHERE message.id = contradiction.id)
                 AND NOT EXISTS (SELECT 1 FROM event WHERE event.id = contradiction.id)",
        )
        .and_then(|mut delete| delete.execute([local.all().0, local.all().1]))
        .map(drop)
        .doing("forget contradictions")
}

/// Forgets that there was another telling: it is the one held now.
pub(super) fn settle(connection: &Connection, local: LocalId, at: Sequence) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM contradiction WHERE id = ?1")
        .and_then(|mut delete| delete.execute([local.at(at)]))
        .map(drop)
        .doing("forget a contradiction")
}

/// Returns the contradictions noted in one conversation, rising.
pub(super) fn noted(
    connection: &Connection,
    conversation: ConversationId,
    local: LocalId,
) -> Result<Vec<Contradiction>, StoreError> {
    const DOING: &str = "read contradictions";
    let mut select = connection
        .prepare_cached("SELECT id, part FROM contradiction WHERE id BETWEEN ?1 AND ?2 ORDER BY id")
        .doing(DOING)?;
    let mut rows = select.query([local.all().0, local.all().1]).doing(DOING)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().doing(DOING)? {
        let columns = Columns::new(row, "contradiction")?;
        let part: u8 = columns.get(1, "part of an event")?;
        let part = EventPart::ALL.get(usize::from(part)).ok_or_else(|| columns.damaged("part of an event"))?;
        found.push(Contradiction { conversation, sequence: sequence_of(columns.rowid()), part: *part });
    }
    Ok(found)
}

impl Reader<'_> {
    /// Returns where the server contradicted what it had told before, in one conversation or in all.
    pub fn contradictions(&self, only: Option<ConversationId>) -> Result<Vec<Contradiction>, StoreError> {
        let mut found = Vec::new();
        for (conversation, local, _) in self.heads(only)? {
            found.extend(noted(self.connection, conversation, local)?);
        }
        Ok(found)
    }
}
