//! Finds a message by its uuid within a conversation.
//!
//! Four bytes of each uuid stand in the order of positions, one row for each [`POSITIONS`] of them. An
//! edit or a removal nearly always means a recent message, so the search goes backwards and mostly ends
//! in the first row; at worst it is linear in the conversation, about 4 ns a message. An index of uuids
//! would make each insert several times as dear, because neighbours in time are strangers in it.

use super::error::{Doing, StoreError};
use super::log::{self, MessageRow};
use super::value::{LocalId, sequence_of};
use crate::model::{MessageId, Sequence};
use rusqlite::{Connection, OptionalExtension, params};

/// How many positions one row covers.
const POSITIONS: u32 = 128;

const BYTES: usize = 4;

/// Returns the bytes that stand for a uuid; never all zero, which stands for no message.
///
/// All of the uuid counts: a server need not make them at random.
fn hash(id: MessageId) -> [u8; BYTES] {
    let mut folded = [0; BYTES];
    for (place, byte) in id.as_uuid().as_bytes().iter().enumerate() {
        folded[place % BYTES] ^= byte;
    }
    if folded == [0; BYTES] { [0, 0, 0, 1] } else { folded }
}

/// Makes births findable; they rise.
pub(super) fn add(
    connection: &Connection,
    local: LocalId,
    births: impl Iterator<Item = (Sequence, MessageId)>,
) -> Result<(), StoreError> {
    let mut births = births.peekable();
    while let Some(&(first, _)) = births.peek() {
        let row = first.0 / POSITIONS;
        let id = local.at(Sequence(row * POSITIONS));
        let mut hashes = hashes_at(connection, id)?.unwrap_or_default();
        while let Some((sequence, message)) = births.next_if(|(sequence, _)| sequence.0 / POSITIONS == row) {
            let place = (sequence.0 % POSITIONS) as usize * BYTES;
            if hashes.len() < place + BYTES {
                hashes.resize(place + BYTES, 0);
            }
            hashes[place..place + BYTES].copy_from_slice(&hash(message));
        }
        connection
            .prepare_cached(
                "INSERT INTO message_hash (id, hashes) VALUES (?1, ?2)
                 ON CONFLICT (id) DO UPDATE SET hashes = excluded.hashes",
            )
            .and_then(|mut upsert| upsert.execute(params![id, hashes]))
            .doing("make messages findable")?;
    }
    Ok(())
}

fn hashes_at(connection: &Connection, id: i64) -> Result<Option<Vec<u8>>, StoreError> {
    connection
        .prepare_cached("SELECT hashes FROM message_hash WHERE id = ?1")
        .and_then(|mut select| select.query_row([id], |row| row.get(0)).optional())
        .doing("look up a message")
}

/// Returns the message with this uuid that was born nearest below a position.
pub(super) fn find(
    connection: &Connection,
    local: LocalId,
    message: MessageId,
    below: Sequence,
) -> Result<Option<MessageRow>, StoreError> {
    find_between(connection, (local.all().0, local.at(below)), message)
}

/// Returns a message between two row ids, the highest if there are several; the upper end is exclusive.
pub(super) fn find_between(
    connection: &Connection,
    (from, below): (i64, i64),
    message: MessageId,
) -> Result<Option<MessageRow>, StoreError> {
    const DOING: &str = "look up a message";
    let wanted = hash(message);
    let mut select = connection
        .prepare_cached("SELECT id, hashes FROM message_hash WHERE id >= ?1 AND id < ?2 ORDER BY id DESC")
        .doing(DOING)?;
    let mut rows = select.query([from, below]).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let first: i64 = row.get(0).doing(DOING)?;
        let damaged = StoreError::Damaged { table: "message_hash", rowid: first, expected: "row of hashes" };
        let Ok(hashes) = row.get_ref(1).doing(DOING)?.as_blob() else { return Err(damaged) };
        for (place, found) in hashes.chunks_exact(BYTES).enumerate().rev() {
            let id = first + place as i64;
            // Four bytes may agree by chance; the row decides.
            if found == wanted
                && id < below
                && let Some(row) = log::message_at(connection, id)?.filter(|row| row.uuid == message)
            {
                return Ok(Some(row));
            }
        }
    }
    Ok(None)
}

/// Returns whether a birth is findable at its position.
pub(super) fn holds(connection: &Connection, id: i64, message: MessageId) -> Result<bool, StoreError> {
    let slot = sequence_of(id).0 % POSITIONS;
    let place = slot as usize * BYTES;
    let hashes = hashes_at(connection, id - i64::from(slot))?.unwrap_or_default();
    Ok(hashes.get(place..place + BYTES) == Some(&hash(message)))
}
