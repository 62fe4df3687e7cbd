//! What the server told of events in other words than the first time.
//!
//! The first telling is kept; that there was another is noted, once a position, for people who look into the file.

use super::apply::Transaction;
use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::{Columns, LocalId, sequence_of};
use super::{coverage, log};
use crate::model::{
    Contradiction, ConversationId, Event, EventBody, EventPart, MessageContent, Ranges, Sequence, SequenceRange,
};
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

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

/// In what a position of the file is not as the server shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mismatch {
    /// The server shows an event where the file knows of none.
    Hole,
    /// The server shows an event that the file claims to hold, and has lost.
    Lost,
    /// The file holds an event that the server does not show.
    NotShown {
        /// Whether it is about a message that was removed, of which a server need show nothing.
        removed: bool,
    },
    /// Both have an event, and these are not the same.
    Content(EventPart),
}

impl Reader<'_> {
    /// Compares what the server shows in a range with what the file claims to hold there: in rising order, the
    /// positions that are not the same. Gaps are no claims.
    pub fn compare(
        &self,
        conversation: ConversationId,
        range: SequenceRange,
        shown: &[Event],
    ) -> Result<Vec<(Sequence, Mismatch)>, StoreError> {
        let Some(local) = self.local(conversation)? else { return Ok(Vec::new()) };
        let covered = coverage::covered(self.connection, local)?;
        let holes: Ranges = coverage::holes(self.connection, local)?.into_iter().map(|(hole, _)| hole).collect();
        let ids = (local.at(range.first()), local.at(range.last()));
        let (held, _) = log::sound_events(self.connection, conversation, ids)?;
        let held: BTreeMap<Sequence, Event> = held.into_iter().map(|event| (event.sequence, event)).collect();
        let shown: BTreeMap<Sequence, &Event> = shown.iter().map(|event| (event.sequence, event)).collect();
        let mut found = Vec::new();
        for at in range.iter().filter(|at| covered.contains(*at)) {
            let mismatch = match (held.get(&at), shown.get(&at)) {
                (Some(held), Some(shown)) => contradiction(self.connection, local, held, shown)?.map(Mismatch::Content),
                (Some(held), None) => Some(Mismatch::NotShown { removed: self.is_of_a_removed_message(held)? }),
                (None, Some(_)) if holes.contains(at) => Some(Mismatch::Hole),
                (None, Some(_)) => Some(Mismatch::Lost),
                // The file contradicts itself there, if anything.
                (None, None) => None,
            };
            found.extend(mismatch.map(|mismatch| (at, mismatch)));
        }
        Ok(found)
    }

    fn is_of_a_removed_message(&self, held: &Event) -> Result<bool, StoreError> {
        let Some(message) = held.body.message() else { return Ok(false) };
        Ok(self.message(held.conversation, message)?.is_none_or(|message| message.removed))
    }

    /// Returns where the server contradicted what it had told before, in one conversation or in all.
    pub fn contradictions(&self, only: Option<ConversationId>) -> Result<Vec<Contradiction>, StoreError> {
        let mut found = Vec::new();
        for (conversation, local, _) in self.heads(only)? {
            found.extend(noted(self.connection, conversation, local)?);
        }
        Ok(found)
    }
}
