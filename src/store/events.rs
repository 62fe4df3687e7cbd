//! A page of events → rows: messages folded, the log kept, the conversation's own columns brought along.
//!
//! A page is folded in memory as far as it goes, so that a message edited in the page it was born in is
//! written once. What changes older messages goes through the rows; what changes messages not yet held
//! waits in a table of its own, which births are compared with.

use super::apply::Transaction;
use super::error::{Doing, StoreError};
use super::log::{self, EventRow, INSERT_MESSAGE, Kind, MessageRow, MessageState, message_checksum, unusual_action};
use super::value::{LocalId, sequence_of};
use super::{coverage, lookup};
use crate::model::{ConversationId, Event, EventBody, MessageContent, MessageId, Sequence, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, HashMap};

/// How many characters of a message the list of conversations shows.
const PREVIEW_CHARS: usize = 100;

/// What a page changes in the row of its conversation.
struct Standing {
    own_read: Sequence,
    unread: i64,
    head: Sequence,
    last_activity: Timestamp,
    previewed: Option<Sequence>,
}

/// A message born in this page, folded as far as the page goes.
struct Birth<'a> {
    event: &'a Event,
    born: &'a MessageContent,
    current: &'a MessageContent,
    state: MessageState,
    revision: Sequence,
}

/// Stores events of one conversation. Those held already change nothing.
pub(super) fn store(
    transaction: &mut Transaction<'_>,
    conversation: ConversationId,
    events: &[Event],
) -> Result<(), StoreError> {
    if events.is_empty() {
        return Ok(());
    }
    let local = transaction.local(conversation)?;
    let mut page: Vec<&Event> = events.iter().filter(|event| event.sequence >= Sequence::FIRST).collect();
    if !page.is_sorted_by(|one, next| one.sequence < next.sequence) {
        page.sort_by_key(|event| event.sequence);
        page.dedup_by_key(|event| event.sequence);
    }
    drop_held(transaction.connection, conversation, local, &mut page)?;
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
    let (first, last) = (first.sequence, last.sequence);
    let mut work = Page {
        connection: transaction.connection,
        local,
        own: transaction.own_user()?,
        standing: standing(transaction.connection, local)?,
        preview_stale: false,
    };
    work.standing.head = work.standing.head.max(last);
    let newest = page.iter().map(|event| event.timestamp).max();
    work.standing.last_activity = work.standing.last_activity.max(newest.unwrap_or_default());
    work.fold(&page)?;
    coverage::fill_holes(transaction.connection, local, first, last, page.iter().map(|event| event.sequence))?;
    work.finish()?;
    transaction.touched_conversation(conversation);
    Ok(())
}

/// Leaves in the page what is not held yet. The first thing held at a position stays.
fn drop_held(
    connection: &Connection,
    conversation: ConversationId,
    local: LocalId,
    page: &mut Vec<&Event>,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
    let ids = (local.at(first.sequence), local.at(last.sequence));
    if !any_held(connection, ids)? {
        return Ok(());
    }
    let held = log::events_between(connection, conversation, ids)?;
    let mut held = held.iter().peekable();
    page.retain(|event| {
        while held.next_if(|held| held.sequence < event.sequence).is_some() {}
        let Some(kept) = held.peek().filter(|held| held.sequence == event.sequence) else { return true };
        if !says_the_same(kept, event) {
            tracing::warn!(%conversation, sequence = %event.sequence, "told something else of an event held already");
        }
        false
    });
    Ok(())
}

/// Returns whether two tellings of one event agree, as far as the held one was not wiped by a removal.
fn says_the_same(held: &Event, told: &Event) -> bool {
    let wiped = match &held.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
            content.text.is_empty() && content.payload.is_none()
        }
        EventBody::ConversationCreated(_)
        | EventBody::ConversationEdited(_)
        | EventBody::ConversationRemoved
        | EventBody::MessageRemoved(_)
        | EventBody::Unknown { .. } => false,
    };
    if wiped {
        held.body.name() == told.body.name() && held.body.message() == told.body.message()
    } else {
        held == told
    }
}

fn any_held(connection: &Connection, ids: (i64, i64)) -> Result<bool, StoreError> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM message WHERE id BETWEEN ?1 AND ?2)
                 OR EXISTS (SELECT 1 FROM event WHERE id BETWEEN ?1 AND ?2)",
        )
        .and_then(|mut select| select.query_row([ids.0, ids.1], |row| row.get(0)))
        .doing("look for events held already")
}

fn standing(connection: &Connection, local: LocalId) -> Result<Standing, StoreError> {
    connection
        .prepare_cached(
            "SELECT own_read, unread, head, last_activity, preview_sequence FROM conversation WHERE id = ?1",
        )
        .and_then(|mut select| {
            select.query_row([local.get()], |row| {
                Ok(Standing {
                    own_read: row.get(0)?,
                    unread: row.get(1)?,
                    head: row.get(2)?,
                    last_activity: row.get(3)?,
                    previewed: row.get(4)?,
                })
            })
        })
        .doing("read a conversation")
}

/// One page on its way into the rows.
struct Page<'c> {
    connection: &'c Connection,
    local: LocalId,
    own: Option<UserId>,
    standing: Standing,
    preview_stale: bool,
}

impl Page<'_> {
    fn fold(&mut self, page: &[&Event]) -> Result<(), StoreError> {
        let mut births: Vec<Birth<'_>> = Vec::with_capacity(page.len());
        let waiting = self.any_waiting()?;
        let changes = page.iter().any(|event| !matches!(event.body, EventBody::MessageSent(_)));
        // Only where something may ask for it: most pages are births and nothing else.
        let mut places: HashMap<MessageId, usize> = HashMap::new();
        for event in page {
            match &event.body {
                EventBody::MessageSent(content) => {
                    if waiting || changes {
                        places.insert(content.id, births.len());
                    }
                    let (state, revision) = (MessageState::AsWritten, event.sequence);
                    births.push(Birth { event, born: content, current: content, state, revision });
                }
                EventBody::MessageEdited(content) => {
                    if let Some(birth) = places.get(&content.id).and_then(|place| births.get_mut(*place))
                        && birth.state != MessageState::Removed
                    {
                        (birth.state, birth.current, birth.revision) = (MessageState::Edited, content, event.sequence);
                    }
                }
                EventBody::MessageRemoved(id) => {
                    if let Some(birth) = places.get(id).and_then(|place| births.get_mut(*place))
                        && birth.state != MessageState::Removed
                    {
                        (birth.state, birth.revision) = (MessageState::Removed, event.sequence);
                    }
                }
                EventBody::ConversationCreated(_)
                | EventBody::ConversationEdited(_)
                | EventBody::ConversationRemoved
                | EventBody::Unknown { .. } => {}
            }
        }
        self.insert_births(&births)?;
        if changes {
            for event in page {
                let birth = event.body.message().and_then(|id| places.get(&id)).and_then(|place| births.get(*place));
                self.insert_change(event, birth)?;
            }
        }
        if waiting {
            self.wake(&places, &births)?;
        }
        Ok(())
    }

    fn insert_births(&mut self, births: &[Birth<'_>]) -> Result<(), StoreError> {
        const DOING: &str = "store messages";
        let mut insert = self.connection.prepare_cached(INSERT_MESSAGE).doing(DOING)?;
        for birth in births {
            let event = birth.event;
            let id = self.local.at(event.sequence);
            let removed = birth.state == MessageState::Removed;
            let (text, payload, unknown) = if removed {
                ("", None, None)
            } else {
                (birth.current.text.as_str(), birth.current.payload.as_ref(), event.unknown.as_ref())
            };
            let action = unusual_action(event);
            let uuid = birth.born.id;
            let checksum = message_checksum(
                id,
                uuid,
                event.initiator,
                event.timestamp,
                birth.state,
                birth.revision,
                text,
                payload,
                action,
                unknown,
            );
            insert
                .execute(params![
                    id,
                    uuid,
                    event.initiator,
                    event.timestamp,
                    birth.state as i64,
                    birth.revision,
                    text,
                    payload,
                    action,
                    unknown,
                    checksum
                ])
                .doing(DOING)?;
            if birth.state == MessageState::Edited {
                EventRow::of(event, self.local).insert(self.connection)?;
            }
            if !removed {
                self.standing.unread += i64::from(self.counts(event.initiator, event.sequence));
                self.preview_stale |= self.standing.previewed < Some(event.sequence);
            }
        }
        lookup::add(self.connection, self.local, births.iter().map(|birth| (birth.event.sequence, birth.born.id)))
    }

    /// Returns whether a message not removed counts as unread.
    fn counts(&self, sender: UserId, sequence: Sequence) -> bool {
        Some(sender) != self.own && sequence > self.standing.own_read
    }

    /// Stores an event that is no birth, and lets it change a message that is not of this page.
    fn insert_change(&mut self, event: &Event, birth: Option<&Birth<'_>>) -> Result<(), StoreError> {
        let (message, removal) = match &event.body {
            // Stored as its message.
            EventBody::MessageSent(_) => return Ok(()),
            EventBody::MessageEdited(content) => (content.id, false),
            EventBody::MessageRemoved(id) => (*id, true),
            EventBody::ConversationCreated(_)
            | EventBody::ConversationEdited(_)
            | EventBody::ConversationRemoved
            | EventBody::Unknown { .. } => return EventRow::of(event, self.local).insert(self.connection),
        };
        let mut row = EventRow::of(event, self.local);
        if let Some(birth) = birth.filter(|birth| birth.event.sequence < event.sequence) {
            if birth.state == MessageState::Removed && !removal {
                row.wipe();
            }
            return row.insert(self.connection);
        }
        match lookup::find(self.connection, self.local, message, event.sequence)? {
            Some(id) => {
                let wiped = self.change(id, &row)?;
                if wiped && !removal {
                    row.wipe();
                }
            }
            None => {
                if self.wait(message, event.sequence, removal)? && !removal {
                    row.wipe();
                }
            }
        }
        row.insert(self.connection)
    }

    /// Lets an edit or a removal change the row of its message. Returns whether the message is removed.
    fn change(&mut self, id: i64, by: &EventRow) -> Result<bool, StoreError> {
        let damaged = StoreError::Damaged { table: "message", rowid: id, expected: "message" };
        let mut message = log::message_at(self.connection, id)?.ok_or(damaged)?;
        let removal = by.kind == Kind::MessageRemoved;
        match message.state {
            // The first removal is the one that counts.
            MessageState::Removed if !removal || by.sequence() >= message.revision => return Ok(true),
            MessageState::Removed => message.revision = by.sequence(),
            MessageState::AsWritten | MessageState::Edited if removal => self.remove(&mut message, by.sequence())?,
            // Late, and superseded: its own row is all it leaves.
            MessageState::Edited if by.sequence() <= message.revision => return Ok(false),
            MessageState::AsWritten | MessageState::Edited => {
                if message.state == MessageState::AsWritten {
                    self.set_birth_apart(&message)?;
                }
                message.state = MessageState::Edited;
                message.revision = by.sequence();
                message.text = by.text.clone().unwrap_or_default();
                message.payload.clone_from(&by.data);
            }
        }
        message.update(self.connection)?;
        self.preview_stale |= self.standing.previewed == Some(message.sequence());
        Ok(message.state == MessageState::Removed)
    }

    /// Keeps the birth of a message as it was, in a row of its own, before its first edit.
    fn set_birth_apart(&self, message: &MessageRow) -> Result<(), StoreError> {
        let mut birth = EventRow {
            id: message.id,
            kind: Kind::MessageSent,
            action: message.action.clone(),
            initiator: message.sender,
            happened_at: message.sent_at,
            message: Some(message.uuid),
            text: Some(message.text.clone()),
            data: message.payload.clone(),
            unknown: message.unknown.clone(),
            checksum: 0,
        };
        birth.insert(self.connection)
    }

    /// Takes all content of a message away: what it says, what it said at its birth, and in each edit.
    fn remove(&mut self, message: &mut MessageRow, at: Sequence) -> Result<(), StoreError> {
        const DOING: &str = "remove a message";
        self.standing.unread -= i64::from(self.counts(message.sender, message.sequence()));
        if message.state == MessageState::Edited {
            self.connection
                .prepare_cached("DELETE FROM event WHERE id = ?1")
                .and_then(|mut delete| delete.execute([message.id]))
                .doing(DOING)?;
            // Edits follow their message, mostly soon; only messages both edited and removed are searched for.
            let edits: Vec<i64> = self
                .connection
                .prepare_cached("SELECT id FROM event WHERE id BETWEEN ?1 AND ?2 AND message = ?3 AND kind = 4")
                .and_then(|mut select| {
                    select.query_map(params![message.id, self.local.all().1, message.uuid], |row| row.get(0))?.collect()
                })
                .doing(DOING)?;
            for edit in edits {
                self.wipe(edit)?;
            }
        }
        message.state = MessageState::Removed;
        message.revision = at;
        message.text.clear();
        message.payload = None;
        message.unknown = None;
        Ok(())
    }

    fn wipe(&self, id: i64) -> Result<(), StoreError> {
        if let Some(mut row) = log::event_at(self.connection, id)? {
            row.wipe();
            row.replace(self.connection)?;
        }
        Ok(())
    }

    /// Returns whether any edit or removal in this conversation waits for its message.
    fn any_waiting(&self) -> Result<bool, StoreError> {
        self.connection
            .prepare_cached("SELECT 1 FROM waiting WHERE conversation = ?1")
            .and_then(|mut select| select.exists([self.local.get()]))
            .doing("look for changes of messages not held")
    }

    /// Lets an edit or removal wait for its message. Returns whether a removal of the same message waits, too.
    fn wait(&self, message: MessageId, at: Sequence, removal: bool) -> Result<bool, StoreError> {
        const DOING: &str = "keep a change of a message not held";
        self.connection
            .prepare_cached("INSERT INTO waiting (conversation, message, sequence, removal) VALUES (?1, ?2, ?3, ?4)")
            .and_then(|mut insert| insert.execute(params![self.local.get(), message, at, removal]))
            .doing(DOING)?;
        let mut select = self
            .connection
            .prepare_cached("SELECT sequence, removal FROM waiting WHERE conversation = ?1 AND message = ?2")
            .doing(DOING)?;
        let others: Vec<(Sequence, bool)> = select
            .query_map(params![self.local.get(), message], |row| Ok((row.get(0)?, row.get(1)?)))
            .and_then(Iterator::collect)
            .doing(DOING)?;
        if removal {
            for (edit, _) in others.iter().filter(|(_, removal)| !removal) {
                self.wipe(self.local.at(*edit))?;
            }
        }
        Ok(others.iter().any(|(_, removal)| *removal))
    }

    /// Lets what waited change the messages born in this page.
    fn wake(&mut self, places: &HashMap<MessageId, usize>, births: &[Birth<'_>]) -> Result<(), StoreError> {
        const DOING: &str = "change a message that was waited for";
        let mut woken: Vec<(MessageId, Sequence, i64)> = Vec::new();
        {
            let mut select = self
                .connection
                .prepare_cached(
                    "SELECT message, sequence FROM waiting WHERE conversation = ?1 ORDER BY message, sequence",
                )
                .doing(DOING)?;
            let mut rows = select.query([self.local.get()]).doing(DOING)?;
            while let Some(row) = rows.next().doing(DOING)? {
                let (message, sequence): (MessageId, Sequence) = (row.get(0).doing(DOING)?, row.get(1).doing(DOING)?);
                let birth = places.get(&message).and_then(|place| births.get(*place)).map(|birth| birth.event.sequence);
                if let Some(birth) = birth.filter(|birth| *birth < sequence) {
                    woken.push((message, sequence, self.local.at(birth)));
                }
            }
        }
        for (message, sequence, birth) in woken {
            let id = self.local.at(sequence);
            let damaged = StoreError::Damaged { table: "event", rowid: id, expected: "waiting event" };
            let row = log::event_at(self.connection, id)?.ok_or(damaged)?;
            if self.change(birth, &row)? && row.kind == Kind::MessageEdited {
                self.wipe(id)?;
            }
            self.connection
                .prepare_cached("DELETE FROM waiting WHERE conversation = ?1 AND message = ?2 AND sequence = ?3")
                .and_then(|mut delete| delete.execute(params![self.local.get(), message, sequence]))
                .doing(DOING)?;
        }
        Ok(())
    }

    /// Writes what the page changed in the row of its conversation.
    fn finish(self) -> Result<(), StoreError> {
        const DOING: &str = "bring a conversation up to date";
        let Standing { unread, head, last_activity, .. } = self.standing;
        let local = self.local.get();
        if !self.preview_stale {
            self.connection
                .prepare_cached("UPDATE conversation SET unread = ?2, head = ?3, last_activity = ?4 WHERE id = ?1")
                .and_then(|mut update| update.execute(params![local, unread, head, last_activity]))
                .doing(DOING)?;
            return Ok(());
        }
        let (sequence, sender, sent_at, text) = match newest_message(self.connection, self.local)? {
            Some((id, sender, sent_at, text)) => (Some(sequence_of(id)), Some(sender), Some(sent_at), Some(text)),
            None => (None, None, None, None),
        };
        self.connection
            .prepare_cached(
                "UPDATE conversation SET unread = ?2, head = ?3, last_activity = ?4, preview_sequence = ?5,
                 preview_sender = ?6, preview_sent_at = ?7, preview_text = ?8 WHERE id = ?1",
            )
            .and_then(|mut update| {
                update.execute(params![local, unread, head, last_activity, sequence, sender, sent_at, text])
            })
            .doing(DOING)?;
        Ok(())
    }
}

/// What the list shows of the newest message that was not removed: position, sender, time, text.
pub(super) type PreviewColumns = (i64, UserId, Timestamp, String);

/// Reads the preview from the messages themselves.
pub(super) fn newest_message(connection: &Connection, local: LocalId) -> Result<Option<PreviewColumns>, StoreError> {
    let (from, to) = local.all();
    connection
        .prepare_cached(
            "SELECT id, sender, sent_at, text FROM message
             WHERE id BETWEEN ?1 AND ?2 AND state <> 2 ORDER BY id DESC LIMIT 1",
        )
        .and_then(|mut select| {
            select
                .query_row([from, to], |row| {
                    let text = row.get_ref(3)?.as_str().map_err(|_| rusqlite::Error::InvalidQuery)?;
                    let end = text.char_indices().nth(PREVIEW_CHARS).map_or(text.len(), |(end, _)| end);
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, text[..end].to_owned()))
                })
                .optional()
        })
        .doing("find the newest message")
}

/// Returns how many messages of others, not removed, are above a read mark: the one definition of "unread".
pub(super) fn count_unread(
    connection: &Connection,
    local: LocalId,
    own: Option<UserId>,
    read: Sequence,
) -> Result<i64, StoreError> {
    connection
        .prepare_cached("SELECT count(*) FROM message WHERE id > ?1 AND id <= ?2 AND state <> 2 AND sender IS NOT ?3")
        .and_then(|mut count| count.query_row(params![local.at(read), local.all().1, own], |row| row.get(0)))
        .doing("count unread messages")
}

/// Moves the own read mark. Returns whether it was elsewhere.
pub(super) fn set_own_read(
    connection: &Connection,
    local: LocalId,
    own: Option<UserId>,
    read: Sequence,
) -> Result<bool, StoreError> {
    let unread = count_unread(connection, local, own, read)?;
    let moved = connection
        .prepare_cached("UPDATE conversation SET own_read = ?2, unread = ?3 WHERE id = ?1 AND own_read <> ?2")
        .and_then(|mut update| update.execute(params![local.get(), read, unread]))
        .doing("move a read mark")?;
    Ok(moved > 0)
}

/// Counts unread messages again everywhere, because it changed who the user is.
pub(super) fn recount_all(
    connection: &Connection,
    own: Option<UserId>,
) -> Result<BTreeSet<ConversationId>, StoreError> {
    const DOING: &str = "count unread messages again";
    let known: Vec<(i64, ConversationId, Sequence)> = connection
        .prepare_cached(
            "SELECT id, uuid, max(own_read, coalesce(
                 (SELECT last_read FROM participant WHERE conversation = conversation.id AND user_id = ?1), 0))
             FROM conversation",
        )
        .and_then(|mut select| select.query_map([own], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect())
        .doing(DOING)?;
    let mut touched = BTreeSet::new();
    for (id, conversation, read) in known {
        let damaged = StoreError::Damaged { table: "conversation", rowid: id, expected: "local id" };
        let local = LocalId::new(id).ok_or(damaged)?;
        let unread = count_unread(connection, local, own, read)?;
        connection
            .prepare_cached("UPDATE conversation SET own_read = ?2, unread = ?3 WHERE id = ?1")
            .and_then(|mut update| update.execute(params![id, read, unread]))
            .doing(DOING)?;
        touched.insert(conversation);
    }
    Ok(touched)
}
