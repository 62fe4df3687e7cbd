//! Makes everything of a conversation anew from its log.
//!
//! Messages, their index, what waits, coverage, unread count and preview all follow from the events and holes held. So
//! there is one repair: what is sound of the log is read, everything that follows from it is thrown away, and the
//! events are stored again as if they came from the server. A damaged row of the log is not among them: its position
//! is missing from then on, and asked for again.

use super::apply::Transaction;
use super::error::{Doing, StoreError};
use super::value::LocalId;
use super::{contradictions, conversations, coverage, events, log};
use crate::model::{ConversationId, Event, Membership, Ranges, SequenceRange};
use rusqlite::Connection;

/// Events stored again at once: as in a page, so that they are folded in memory as far as it goes.
const EVENTS_AT_ONCE: usize = 1_000;

/// Makes a conversation anew, with `instead` in place of what is held at the positions of these events. One that has
/// lost a row of its log, and that no server will show again, is left alone.
pub(super) fn rebuild(
    transaction: &mut Transaction<'_>,
    conversation: ConversationId,
    instead: &[Event],
) -> Result<(), StoreError> {
    let connection = transaction.connection;
    let local = transaction.local(conversation)?;
    conversations::mend(connection, local)?;
    let (sound, lost) = log::sound_events(connection, conversation, local.all())?;
    let replaced: Ranges = instead.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
    let (sound, lost) = (replace(sound, instead, &replaced), lost.without(&replaced));
    let shown_again = match conversations::membership(connection, local)? {
        Membership::Member | Membership::Left => true,
        Membership::Removed | Membership::Stranger => false,
    };
    if !lost.is_empty() && !shown_again {
        return Ok(());
    }
    let holes = coverage::sound_holes(connection, local)?;
    forget(connection, local)?;
    for page in sound.chunks(EVENTS_AT_ONCE) {
        events::store(transaction, conversation, page)?;
    }
    let held: Ranges = sound.iter().filter_map(|event| SequenceRange::single(event.sequence)).collect();
    for (hole, reason) in holes {
        for nothing in held.missing(hole) {
            coverage::add_hole(connection, local, nothing, reason)?;
            coverage::cover(connection, local, nothing)?;
        }
    }
    for range in held.iter() {
        coverage::cover(connection, local, range)?;
    }
    for event in instead {
        contradictions::settle(connection, local, event.sequence)?;
    }
    contradictions::forget_unheld(connection, local)?;
    transaction.touched_conversation(conversation);
    Ok(())
}

/// Returns the sound events with others in place of those at the same positions, rising.
fn replace(mut sound: Vec<Event>, instead: &[Event], replaced: &Ranges) -> Vec<Event> {
    sound.retain(|event| !replaced.contains(event.sequence));
    sound.extend_from_slice(instead);
    sound.sort_by_key(|event| event.sequence);
    sound
}

/// Throws away the log and everything that follows from it.
fn forget(connection: &Connection, local: LocalId) -> Result<(), StoreError> {
    const DOING: &str = "make a conversation anew";
    let (lowest, highest) = local.all();
    for packed in [
        "DELETE FROM message WHERE id BETWEEN ?1 AND ?2",
        "DELETE FROM event WHERE id BETWEEN ?1 AND ?2",
        "DELETE FROM message_hash WHERE id BETWEEN ?1 AND ?2",
    ] {
        connection.prepare_cached(packed).and_then(|mut delete| delete.execute([lowest, highest])).doing(DOING)?;
    }
    for counted in [
        "DELETE FROM waiting WHERE conversation = ?1",
        "DELETE FROM coverage WHERE conversation = ?1",
        "DELETE FROM hole WHERE conversation = ?1",
        "UPDATE conversation SET unread = 0, preview_sequence = NULL, preview_sender = NULL, preview_sent_at = NULL,
             preview_text = NULL WHERE id = ?1",
    ] {
        connection.prepare_cached(counted).and_then(|mut change| change.execute([local.get()])).doing(DOING)?;
    }
    Ok(())
}
