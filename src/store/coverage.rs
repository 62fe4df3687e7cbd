//! What was asked for and completely answered, and what of it holds nothing.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::sifted::{Sifted, unless_damaged};
use super::value::{Columns, LocalId};
use crate::model::{ConversationId, HistoryPolicy, Ranges, Sequence, SequenceRange, Timestamp};
use crate::sync::{HeadsCursor, HoleReason};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Positions that hold nothing though they were asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HoleRow {
    /// Where.
    pub conversation: ConversationId,
    /// Which positions.
    pub range: SequenceRange,
    /// Why.
    pub reason: HoleReason,
}

/// Adds a range, melting what overlaps or touches it. Returns whether anything of it was new.
pub(super) fn cover(connection: &Connection, local: LocalId, range: SequenceRange) -> Result<bool, StoreError> {
    const DOING: &str = "store what is covered";
    let (below, above) = (range.first().previous(), range.last().next());
    let near = near(
        connection,
        "SELECT conversation, first, last FROM coverage WHERE conversation = ?1 AND first <= ?3 AND last >= ?2
         AND first >= coalesce((SELECT max(first) FROM coverage WHERE conversation = ?1 AND first <= ?2), 0)
         ORDER BY first",
        (local, below, above),
        |row| range_from_row(row, "coverage"),
    )?;
    let mut first = range.first();
    let mut last = range.last();
    for held in &near {
        if held.first() <= first && held.last() >= last {
            return Ok(false);
        }
        first = first.min(held.first());
        last = last.max(held.last());
    }
    for held in &near {
        connection
            .prepare_cached("DELETE FROM coverage WHERE conversation = ?1 AND first = ?2")
            .and_then(|mut delete| delete.execute(params![local.get(), held.first()]))
            .doing(DOING)?;
    }
    connection
        .prepare_cached("INSERT INTO coverage (conversation, first, last) VALUES (?1, ?2, ?3)")
        .and_then(|mut insert| insert.execute(params![local.get(), first, last]))
        .doing(DOING)?;
    Ok(true)
}

/// Adds a hole; what was a hole before keeps its reason.
pub(super) fn add_hole(
    connection: &Connection,
    local: LocalId,
    range: SequenceRange,
    reason: HoleReason,
) -> Result<(), StoreError> {
    let known: Ranges = holes_near(connection, local, range)?.into_iter().map(|(hole, _)| hole).collect();
    for free in known.missing(range) {
        insert_hole(connection, local, free, reason)?;
    }
    Ok(())
}

/// Takes positions out of holes, because something came after all.
pub(super) fn fill_holes(
    connection: &Connection,
    local: LocalId,
    first: Sequence,
    last: Sequence,
    filled: impl Iterator<Item = Sequence>,
) -> Result<(), StoreError> {
    let Some(within) = SequenceRange::new(first, last) else { return Ok(()) };
    let holes = holes_near(connection, local, within)?;
    if holes.is_empty() {
        return Ok(());
    }
    let filled: Ranges = filled.filter_map(SequenceRange::single).collect();
    for (hole, reason) in holes {
        connection
            .prepare_cached("DELETE FROM hole WHERE conversation = ?1 AND first = ?2")
            .and_then(|mut delete| delete.execute(params![local.get(), hole.first()]))
            .doing("fill a hole")?;
        for left in filled.missing(hole) {
            insert_hole(connection, local, left, reason)?;
        }
    }
    Ok(())
}

fn insert_hole(
    connection: &Connection,
    local: LocalId,
    range: SequenceRange,
    reason: HoleReason,
) -> Result<(), StoreError> {
    let reason = match reason {
        HoleReason::NotInHistory => 0,
        HoleReason::NotAMember => 1,
    };
    connection
        .prepare_cached("INSERT INTO hole (conversation, first, last, reason) VALUES (?1, ?2, ?3, ?4)")
        .and_then(|mut insert| insert.execute(params![local.get(), range.first(), range.last(), reason]))
        .doing("store a hole")?;
    Ok(())
}

fn holes_near(
    connection: &Connection,
    local: LocalId,
    range: SequenceRange,
) -> Result<Vec<(SequenceRange, HoleReason)>, StoreError> {
    near(
        connection,
        "SELECT conversation, first, last, reason FROM hole WHERE conversation = ?1 AND first <= ?3 AND last >= ?2
         AND first >= coalesce((SELECT max(first) FROM hole WHERE conversation = ?1 AND first <= ?2), 0)
         ORDER BY first",
        (local, range.first(), range.last()),
        hole_from_row,
    )
}

/// Returns the rows whose range meets `first` to `last`.
fn near<T>(
    connection: &Connection,
    sql: &'static str,
    (local, first, last): (LocalId, Sequence, Sequence),
    from_row: impl Fn(&Row<'_>) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    const DOING: &str = "read what is covered";
    let mut select = connection.prepare_cached(sql).doing(DOING)?;
    let mut rows = select.query(params![local.get(), first, last]).doing(DOING)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().doing(DOING)? {
        found.push(from_row(row)?);
    }
    Ok(found)
}

fn range_from_row(row: &Row<'_>, table: &'static str) -> Result<SequenceRange, StoreError> {
    let columns = Columns::new(row, table)?;
    let (first, last) = (columns.get(1, "sequence")?, columns.get(2, "sequence")?);
    SequenceRange::new(first, last).ok_or_else(|| columns.damaged("range of sequences"))
}

fn hole_from_row(row: &Row<'_>) -> Result<(SequenceRange, HoleReason), StoreError> {
    let columns = Columns::new(row, "hole")?;
    let reason = match columns.get::<i64>(3, "reason of a hole")? {
        0 => HoleReason::NotInHistory,
        1 => HoleReason::NotAMember,
        _ => return Err(columns.damaged("reason of a hole")),
    };
    Ok((range_from_row(row, "hole")?, reason))
}

/// Keeps a conversation's own history policy, or forgets it.
pub(super) fn set_history(
    connection: &Connection,
    local: LocalId,
    policy: Option<HistoryPolicy>,
) -> Result<(), StoreError> {
    const DOING: &str = "store a history policy";
    let Some(policy) = policy else {
        return connection
            .prepare_cached("DELETE FROM history WHERE conversation = ?1")
            .and_then(|mut delete| delete.execute([local.get()]))
            .map(drop)
            .doing(DOING);
    };
    let depth = match policy {
        HistoryPolicy::Everything => None,
        HistoryPolicy::Newest(count) => Some(count),
        HistoryPolicy::OnDemand => Some(0),
    };
    connection
        .prepare_cached("INSERT OR REPLACE INTO history (conversation, depth) VALUES (?1, ?2)")
        .and_then(|mut insert| insert.execute(params![local.get(), depth]))
        .map(drop)
        .doing(DOING)
}

/// Returns a conversation's own history policy, if it has one.
pub(super) fn history(connection: &Connection, local: LocalId) -> Result<Option<HistoryPolicy>, StoreError> {
    let depth: Option<Option<u32>> = connection
        .prepare_cached("SELECT depth FROM history WHERE conversation = ?1")
        .and_then(|mut select| select.query_row([local.get()], |row| row.get(0)).optional())
        .doing("read a history policy")?;
    Ok(depth.map(|depth| match depth {
        None => HistoryPolicy::Everything,
        Some(0) => HistoryPolicy::OnDemand,
        Some(count) => HistoryPolicy::Newest(count),
    }))
}

/// Keeps up to where heads were compared.
pub(super) fn set_heads_cursor(connection: &Connection, held: &HeadsCursor) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO heads_cursor (id, server_url, cursor) VALUES (1, ?1, ?2)")
        .and_then(|mut insert| insert.execute([&held.server_url, &held.cursor]))
        .map(drop)
        .doing("store up to where heads were compared")
}

/// Has all heads compared again.
pub(super) fn forget_heads_cursor(connection: &Connection) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM heads_cursor")
        .and_then(|mut delete| delete.execute([]))
        .map(drop)
        .doing("forget up to where heads were compared")
}

/// Notes that everything was held at this time.
pub(super) fn set_whole_at(connection: &Connection, at: Timestamp) -> Result<(), StoreError> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO whole (id, at) VALUES (1, ?1)")
        .and_then(|mut insert| insert.execute([at]))
        .map(drop)
        .doing("note that everything is held")
}

/// Returns all ranges covered in a conversation.
pub(super) fn covered(connection: &Connection, local: LocalId) -> Result<Ranges, StoreError> {
    let ranges = near(
        connection,
        "SELECT conversation, first, last FROM coverage WHERE conversation = ?1 AND first BETWEEN ?2 AND ?3 ORDER BY first",
        (local, Sequence::FIRST, Sequence(u32::MAX)),
        |row| range_from_row(row, "coverage"),
    )?;
    Ok(ranges.into_iter().collect())
}

/// Returns what can be read of the holes in a conversation, rising.
pub(super) fn sound_holes(
    connection: &Connection,
    local: LocalId,
) -> Result<Vec<(SequenceRange, HoleReason)>, StoreError> {
    let sql = "SELECT conversation, first, last, reason FROM hole WHERE conversation = ?1 ORDER BY first";
    Ok(Sifted::select(connection, sql, [local.get()], "read holes", hole_from_row)?.go_on())
}

/// Returns all holes in a conversation, rising.
pub(super) fn holes(connection: &Connection, local: LocalId) -> Result<Vec<(SequenceRange, HoleReason)>, StoreError> {
    holes_near(
        connection,
        local,
        SequenceRange::new(Sequence::FIRST, Sequence(u32::MAX)).expect("1 is the lowest position"),
    )
}

impl Reader<'_> {
    /// Returns the positions of a conversation that were asked for and answered, or pushed; empty for an unknown one.
    pub fn coverage(&self, conversation: ConversationId) -> Result<Ranges, StoreError> {
        match self.local(conversation)? {
            Some(local) => covered(self.connection, local),
            None => Ok(Ranges::default()),
        }
    }

    /// Returns the positions of a conversation at which an event is held; empty for an unknown one.
    pub fn held(&self, conversation: ConversationId) -> Result<Ranges, StoreError> {
        let Some(local) = self.local(conversation)? else { return Ok(Ranges::default()) };
        let holes: Ranges = holes(self.connection, local)?.into_iter().map(|(hole, _)| hole).collect();
        Ok(covered(self.connection, local)?.without(&holes))
    }

    /// Returns up to where heads were compared, if a server ever told.
    pub fn heads_cursor(&self) -> Result<Option<HeadsCursor>, StoreError> {
        self.connection
            .prepare_cached("SELECT server_url, cursor FROM heads_cursor WHERE id = 1")
            .and_then(|mut select| {
                let read = |row: &Row<'_>| Ok(HeadsCursor { server_url: row.get(0)?, cursor: row.get(1)? });
                select.query_row([], read).optional()
            })
            .doing("read up to where heads were compared")
    }

    /// Returns when everything the server had told of was last known to be held, by the clock of this machine.
    ///
    /// Noted now and then while it is so: it may have been so later, too. `None` when it never was.
    pub fn whole_at(&self) -> Result<Option<Timestamp>, StoreError> {
        self.connection
            .prepare_cached("SELECT at FROM whole WHERE id = 1")
            .and_then(|mut select| select.query_row([], |row| row.get(0)).optional())
            .doing("read when everything was held")
    }

    /// Returns what is still to be fetched, of one conversation or of all, rising in each. Where it cannot be read what is
    /// held, that is everything.
    pub fn gaps(&self, only: Option<ConversationId>) -> Result<Vec<(ConversationId, SequenceRange)>, StoreError> {
        let mut gaps = Vec::new();
        for (id, local, head) in self.heads(only)? {
            let Some(known) = SequenceRange::new(Sequence::FIRST, head) else { continue };
            let vouched_for = unless_damaged(covered(self.connection, local))?.unwrap_or_default();
            gaps.extend(vouched_for.missing(known).map(|gap| (id, gap)));
        }
        Ok(gaps)
    }

    /// Returns the holes, of one conversation or of all, rising in each; neighbours for the same reason are one.
    pub fn holes(&self, only: Option<ConversationId>) -> Result<Vec<HoleRow>, StoreError> {
        let mut rows = Vec::new();
        for (conversation, local, _) in self.heads(only)? {
            for (range, reason) in sound_holes(self.connection, local)? {
                // What was found out answer by answer is one hole to people.
                let melted = rows.pop_if(|row: &mut HoleRow| {
                    row.conversation == conversation && row.reason == reason && row.range.last().next() == range.first()
                });
                let first = melted.map_or(range.first(), |row| row.range.first());
                rows.extend(SequenceRange::new(first, range.last()).map(|range| HoleRow {
                    conversation,
                    range,
                    reason,
                }));
            }
        }
        Ok(rows)
    }
}
