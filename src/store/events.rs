//! A page of events → rows: messages folded, the log kept, the conversation's own columns brought along.
//!
//! A page is folded in memory as far as it goes, so that a message edited in the page it was born in is
//! written once. What changes older messages goes through the rows; what changes messages not yet held
//! waits in a table of its own, which births are compared with.

use super::apply::Transaction;
use super::error::{Doing, StoreError};
use super::log::{self, EventRow, INSERT_MESSAGE, Kind, MessageRow, MessageState, message_checksum, unusual_action};
use super::value::{LocalId, sequence_of};
use super::{contradictions, conversations, coverage, lookup};
use crate::model::{ConversationId, Event, EventBody, MessageContent, MessageId, RawJson, Sequence, Timestamp, UserId};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, HashMap};

/// What a page changes in the row of its conversation.
struct Standing {
    own_read: Sequence,
    /// A damaged count stays wrong, for `verify` to tell, and stops no page.
    unread: u32,
    head: Sequence,
    last_activity: Timestamp,
    previewed: Option<Sequence>,
}

/// A message born in this page, folded as far as is known.
struct Birth<'a> {
    event: &'a Event,
    id: MessageId,
    state: MessageState,
    revision: Sequence,
    text: &'a str,
    payload: Option<&'a RawJson>,
}

impl<'a> Birth<'a> {
    fn new(event: &'a Event, content: &'a MessageContent) -> Self {
        let MessageContent { id, text, payload } = content;
        let (state, revision) = (MessageState::AsWritten, event.sequence);
        Self { event, id: *id, state, revision, text, payload: payload.as_ref() }
    }

    /// The edit with the highest sequence wins.
    fn edit(&mut self, at: Sequence, text: &'a str, payload: Option<&'a RawJson>) {
        if self.state != MessageState::Removed && at > self.revision {
            (self.state, self.revision, self.text, self.payload) = (MessageState::Edited, at, text, payload);
        }
    }

    /// A removal wins over everything, and the first is the one that counts.
    fn remove(&mut self, at: Sequence) {
        if self.state != MessageState::Removed || at < self.revision {
            (self.state, self.revision, self.text, self.payload) = (MessageState::Removed, at, "", None);
        }
    }

    fn removed(&self) -> bool {
        self.state == MessageState::Removed
    }
}

/// The messages born in a page, in the order of their positions, and where each uuid is among them.
#[derive(Default)]
struct Births<'a> {
    all: Vec<Birth<'a>>,
    places: HashMap<MessageId, usize>,
}

impl<'a> Births<'a> {
    /// Returns the message of this uuid born below a position.
    fn below(&mut self, at: Sequence, id: MessageId) -> Option<&mut Birth<'a>> {
        let birth = self.all.get_mut(*self.places.get(&id)?)?;
        (birth.event.sequence < at).then_some(birth)
    }
}

/// Stores events of one conversation. Those held already are compared, and change nothing.
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
    drop_held(transaction, conversation, local, &mut page)?;
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

/// Leaves in the page what is not held yet. The first thing held at a position stays; what contradicts it is noted.
fn drop_held(
    transaction: &mut Transaction<'_>,
    conversation: ConversationId,
    local: LocalId,
    page: &mut Vec<&Event>,
) -> Result<(), StoreError> {
    let (Some(first), Some(last)) = (page.first(), page.last()) else { return Ok(()) };
    let ids = (local.at(first.sequence), local.at(last.sequence));
    if !any_held(transaction.connection, ids)? {
        return Ok(());
    }
    let (held, damaged) = log::sound_events(transaction.connection, conversation, ids)?;
    let mut held = held.iter().peekable();
    let mut fresh = Vec::new();
    for event in page.drain(..) {
        while held.next_if(|held| held.sequence < event.sequence).is_some() {}
        match held.peek().filter(|held| held.sequence == event.sequence) {
            Some(kept) => contradictions::compare(transaction, local, kept, event)?,
            // What is damaged stays where it is, for a repair to find.
            None if damaged.contains(event.sequence) => {}
            None => fresh.push(event),
        }
    }
    *page = fresh;
    Ok(())
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
        let waiting = self.any_waiting()?;
        let changes = page.iter().any(|event| !matches!(event.body, EventBody::MessageSent(_)));
        // Only where something may ask for it: most pages are births and nothing else.
        let indexed = waiting || changes;
        let mut births = Births::default();
        for event in page {
            if let EventBody::MessageSent(content) = &event.body {
                if indexed {
                    births.places.insert(content.id, births.all.len());
                }
                births.all.push(Birth::new(event, content));
            }
        }
        let woken = if waiting { self.wake(&mut births)? } else { Vec::new() };
        for row in &woken {
            let Some(birth) = row.message.and_then(|id| births.below(row.sequence(), id)) else { continue };
            if row.kind == Kind::MessageRemoved {
                birth.remove(row.sequence());
            } else {
                birth.edit(row.sequence(), row.text.as_deref().unwrap_or_default(), row.data.as_ref());
            }
        }
        for event in page.iter().filter(|event| !matches!(event.body, EventBody::MessageSent(_))) {
            let Some(birth) = event.body.message().and_then(|id| births.below(event.sequence, id)) else { continue };
            if let EventBody::MessageEdited(content) = &event.body {
                birth.edit(event.sequence, &content.text, content.payload.as_ref());
            } else {
                birth.remove(event.sequence);
            }
        }
        self.insert_births(&births.all)?;
        for event in page {
            self.insert_change(event, &mut births)?;
        }
        for row in &woken {
            if row.kind == Kind::MessageEdited
                && row.message.and_then(|id| births.below(row.sequence(), id)).is_some_and(|birth| birth.removed())
            {
                self.wipe(row.id)?;
            }
        }
        Ok(())
    }

    fn insert_births(&mut self, births: &[Birth<'_>]) -> Result<(), StoreError> {
        const DOING: &str = "store messages";
        let mut insert = self.connection.prepare_cached(INSERT_MESSAGE).doing(DOING)?;
        for birth in births {
            let Birth { event, id: uuid, state, revision, text, payload } = *birth;
            let id = self.local.at(event.sequence);
            let unknown = event.unknown.as_ref().filter(|_| !birth.removed());
            let action = unusual_action(event);
            let (sender, sent_at) = (event.initiator, event.timestamp);
            let checksum = message_checksum(id, uuid, sender, sent_at, state, revision, text, payload, action, unknown);
            let state = state as i64;
            insert
                .execute(params![id, uuid, sender, sent_at, state, revision, text, payload, action, unknown, checksum])
                .doing(DOING)?;
            if birth.state == MessageState::Edited {
                EventRow::of(event, self.local).insert(self.connection)?;
            }
            if !birth.removed() {
                let counts = u32::from(self.counts(sender, event.sequence));
                self.standing.unread = self.standing.unread.saturating_add(counts);
                self.preview_stale |= self.standing.previewed < Some(event.sequence);
            }
        }
        lookup::add(self.connection, self.local, births.iter().map(|birth| (birth.event.sequence, birth.id)))
    }

    /// Returns whether a message not removed counts as unread.
    fn counts(&self, sender: UserId, sequence: Sequence) -> bool {
        Some(sender) != self.own && sequence > self.standing.own_read
    }

    /// Stores an event that is no birth, and lets it change a message that is not of this page.
    fn insert_change(&mut self, event: &Event, births: &mut Births<'_>) -> Result<(), StoreError> {
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
        if let Some(birth) = births.below(event.sequence, message) {
            if birth.removed() && !removal {
                row.wipe();
            }
            return row.insert(self.connection);
        }
        match lookup::find(self.connection, self.local, message, event.sequence)? {
            Some(message) => {
                let wiped = self.change(message, &row)?;
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
    fn change(&mut self, mut message: MessageRow, by: &EventRow) -> Result<bool, StoreError> {
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
        let counted = u32::from(self.counts(message.sender, message.sequence()));
        self.standing.unread = self.standing.unread.saturating_sub(counted);
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

    /// Returns the edits and removals that waited for messages born in this page, and lets them wait no more.
    fn wake(&self, births: &mut Births<'_>) -> Result<Vec<EventRow>, StoreError> {
        const DOING: &str = "change a message that was waited for";
        let mut due: Vec<(MessageId, Sequence)> = Vec::new();
        {
            let mut select = self
                .connection
                .prepare_cached("SELECT message, sequence FROM waiting WHERE conversation = ?1")
                .doing(DOING)?;
            let mut rows = select.query([self.local.get()]).doing(DOING)?;
            while let Some(row) = rows.next().doing(DOING)? {
                let (message, sequence) = (row.get(0).doing(DOING)?, row.get(1).doing(DOING)?);
                if births.below(sequence, message).is_some() {
                    due.push((message, sequence));
                }
            }
        }
        let mut delete = self
            .connection
            .prepare_cached("DELETE FROM waiting WHERE conversation = ?1 AND message = ?2 AND sequence = ?3")
            .doing(DOING)?;
        let mut woken = Vec::with_capacity(due.len());
        for (message, sequence) in due {
            let id = self.local.at(sequence);
            let damaged = StoreError::Damaged { table: "event", rowid: id, expected: "waiting event" };
            woken.push(log::event_at(self.connection, id)?.ok_or(damaged)?);
            delete.execute(params![self.local.get(), message, sequence]).doing(DOING)?;
        }
        Ok(woken)
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
                    let text = row.get_ref(3)?.as_str().map_err(|error| {
                        rusqlite::Error::FromSqlConversionFailure(3, rusqlite::types::Type::Text, Box::new(error))
                    })?;
                    let end = text.char_indices().nth(conversations::PREVIEW_CHARS).map_or(text.len(), |(end, _)| end);
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
