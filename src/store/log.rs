//! The log: rows of `message` and `event`, and the events they came from.

use super::error::{Doing, StoreError};
use super::sifted::Sifted;
use super::value::{Checksum, Columns, LocalId, local_of, sequence_of};
use crate::model::{
    Action, Conversation, ConversationConfig, ConversationId, Event, EventBody, Message, MessageContent, MessageId,
    Participant, Permissions, Ranges, RawJson, Sequence, SequenceRange, Timestamp, UserId, token_of_payload,
    without_token,
};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// How a message stands: column `message.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageState {
    AsWritten = 0,
    Edited = 1,
    Removed = 2,
}

/// A row of `message`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct MessageRow {
    pub(super) id: i64,
    pub(super) uuid: MessageId,
    pub(super) sender: UserId,
    pub(super) sent_at: Timestamp,
    pub(super) state: MessageState,
    pub(super) revision: Sequence,
    pub(super) text: String,
    pub(super) payload: Option<RawJson>,
    pub(super) action: Option<Action>,
    pub(super) unknown: Option<RawJson>,
    pub(super) checksum: i64,
}

/// The columns of `message` in the order that [`MessageRow::from_row`] reads.
macro_rules! message_columns {
    () => {
        "id, uuid, sender, sent_at, state, revision, text, payload, action, unknown, checksum"
    };
}
pub(super) use message_columns;

/// Inserts what [`message_checksum`] covers, in that order, and the checksum.
pub(super) const INSERT_MESSAGE: &str =
    concat!("INSERT INTO message (", message_columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)");

#[expect(clippy::too_many_arguments, reason = "one for each column")]
pub(super) fn message_checksum(
    id: i64,
    uuid: MessageId,
    sender: UserId,
    sent_at: Timestamp,
    state: MessageState,
    revision: Sequence,
    text: &str,
    payload: Option<&RawJson>,
    action: Option<&Action>,
    unknown: Option<&RawJson>,
) -> i64 {
    Checksum::new()
        .number(id)
        .bytes(uuid.as_uuid().as_bytes())
        .number(sender.as_i64())
        .number(sent_at.0)
        .number(state as i64)
        .number(revision.0.into())
        .bytes(text.as_bytes())
        .maybe(payload.map(RawJson::as_str))
        .maybe(action.map(Action::name))
        .maybe(unknown.map(RawJson::as_str))
        .finish()
}

impl MessageRow {
    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let columns = Columns::new(row, "message")?;
        Ok(Self {
            id: columns.rowid(),
            uuid: columns.get(1, "uuid of a message")?,
            sender: columns.get(2, "user id")?,
            sent_at: columns.get(3, "time")?,
            state: match columns.get::<i64>(4, "state of a message")? {
                0 => MessageState::AsWritten,
                1 => MessageState::Edited,
                2 => MessageState::Removed,
                _ => return Err(columns.damaged("state of a message")),
            },
            revision: columns.get(5, "sequence")?,
            text: columns.get(6, "text")?,
            payload: columns.get(7, "JSON payload")?,
            action: columns.get(8, "action")?,
            unknown: columns.get(9, "JSON")?,
            checksum: columns.get(10, "checksum")?,
        })
    }

    pub(super) fn sequence(&self) -> Sequence {
        sequence_of(self.id)
    }

    /// Returns the checksum that belongs to the other columns.
    pub(super) fn expected_checksum(&self) -> i64 {
        message_checksum(
            self.id,
            self.uuid,
            self.sender,
            self.sent_at,
            self.state,
            self.revision,
            &self.text,
            self.payload.as_ref(),
            self.action.as_ref(),
            self.unknown.as_ref(),
        )
    }

    /// Writes the columns that change after a birth.
    pub(super) fn update(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.checksum = self.expected_checksum();
        connection
            .prepare_cached(
                "UPDATE message SET state = ?2, revision = ?3, text = ?4, payload = ?5, unknown = ?6, checksum = ?7
                 WHERE id = ?1",
            )
            .and_then(|mut update| {
                update.execute(params![
                    self.id,
                    self.state as i64,
                    self.revision,
                    self.text,
                    self.payload,
                    self.unknown,
                    self.checksum
                ])
            })
            .doing("change a message")?;
        Ok(())
    }

    /// Returns the message as people see it, with our own token out of sight.
    pub(super) fn into_message(self, conversation: ConversationId, own: Option<UserId>) -> Message {
        let sequence = self.sequence();
        let token = if own == Some(self.sender) { token_of_payload(self.payload.as_ref()) } else { None };
        let payload = without_token(self.payload);
        let mut message = Message::recreate(Some(self.uuid), conversation, self.text, payload, sequence);
        message.revision = self.revision;
        message.sender = Some(self.sender);
        message.timestamp = self.sent_at;
        message.edited = self.state == MessageState::Edited;
        message.removed = self.state == MessageState::Removed;
        message.token = token;
        message
    }

    /// Returns the event of the birth of a message that was never edited.
    pub(super) fn into_birth(self, conversation: ConversationId) -> Event {
        Event {
            conversation,
            sequence: self.sequence(),
            action: self.action.unwrap_or(Action::SendMessage),
            initiator: self.sender,
            timestamp: self.sent_at,
            body: EventBody::MessageSent(MessageContent { id: self.uuid, text: self.text, payload: self.payload }),
            unknown: self.unknown,
        }
    }
}

/// What an event is: column `event.kind`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    ConversationCreated = 0,
    ConversationEdited = 1,
    ConversationRemoved = 2,
    MessageSent = 3,
    MessageEdited = 4,
    MessageRemoved = 5,
    Unknown = 6,
}

impl Kind {
    const ALL: [Self; 7] = [
        Self::ConversationCreated,
        Self::ConversationEdited,
        Self::ConversationRemoved,
        Self::MessageSent,
        Self::MessageEdited,
        Self::MessageRemoved,
        Self::Unknown,
    ];

    const fn of(body: &EventBody) -> Self {
        match body {
            EventBody::ConversationCreated(_) => Self::ConversationCreated,
            EventBody::ConversationEdited(_) => Self::ConversationEdited,
            EventBody::ConversationRemoved => Self::ConversationRemoved,
            EventBody::MessageSent(_) => Self::MessageSent,
            EventBody::MessageEdited(_) => Self::MessageEdited,
            EventBody::MessageRemoved(_) => Self::MessageRemoved,
            EventBody::Unknown { .. } => Self::Unknown,
        }
    }

    /// Returns the action that nearly always causes such an event, and so is not written down.
    const fn usual_action(self) -> Option<Action> {
        match self {
            Self::ConversationCreated => Some(Action::CreateConversation),
            Self::ConversationEdited => Some(Action::EditConversation),
            Self::ConversationRemoved => Some(Action::RemoveConversation),
            Self::MessageSent => Some(Action::SendMessage),
            Self::MessageEdited => Some(Action::EditMessage),
            Self::MessageRemoved => Some(Action::RemoveMessage),
            Self::Unknown => None,
        }
    }
}

/// Returns the action of an event as its row has it: nothing when it is the usual one.
pub(super) fn unusual_action(event: &Event) -> Option<&Action> {
    let usual = Kind::of(&event.body).usual_action();
    (usual.as_ref() != Some(&event.action)).then_some(&event.action)
}

/// A row of `event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventRow {
    pub(super) id: i64,
    pub(super) kind: Kind,
    pub(super) action: Option<Action>,
    pub(super) initiator: UserId,
    pub(super) happened_at: Timestamp,
    pub(super) message: Option<MessageId>,
    pub(super) text: Option<String>,
    pub(super) data: Option<RawJson>,
    pub(super) unknown: Option<RawJson>,
    pub(super) checksum: i64,
}

/// The columns of `event` in the order that [`EventRow::from_row`] reads.
macro_rules! event_columns {
    () => {
        "id, kind, action, initiator, happened_at, message, text, data, unknown, checksum"
    };
}

impl EventRow {
    pub(super) fn of(event: &Event, local: LocalId) -> Self {
        let (text, data) = match &event.body {
            EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
                (None, Some(Description::of(conversation).to_json()))
            }
            EventBody::ConversationRemoved | EventBody::MessageRemoved(_) => (None, None),
            EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
                (Some(content.text.clone()), content.payload.clone())
            }
            EventBody::Unknown { name, payload } => (Some(name.to_string()), Some(payload.clone())),
        };
        Self {
            id: local.at(event.sequence),
            kind: Kind::of(&event.body),
            action: unusual_action(event).cloned(),
            initiator: event.initiator,
            happened_at: event.timestamp,
            message: event.body.message(),
            text,
            data,
            unknown: event.unknown.clone(),
            checksum: 0,
        }
    }

    pub(super) fn from_row(row: &Row<'_>) -> Result<Self, StoreError> {
        let columns = Columns::new(row, "event")?;
        let kind = columns.get::<u8>(1, "kind of event")?;
        Ok(Self {
            id: columns.rowid(),
            kind: *Kind::ALL.get(usize::from(kind)).ok_or_else(|| columns.damaged("kind of event"))?,
            action: columns.get(2, "action")?,
            initiator: columns.get(3, "user id")?,
            happened_at: columns.get(4, "time")?,
            message: columns.get(5, "uuid of a message")?,
            text: columns.get(6, "text")?,
            data: columns.get(7, "JSON")?,
            unknown: columns.get(8, "JSON")?,
            checksum: columns.get(9, "checksum")?,
        })
    }

    pub(super) fn sequence(&self) -> Sequence {
        sequence_of(self.id)
    }

    /// Returns the checksum that belongs to the other columns.
    pub(super) fn expected_checksum(&self) -> i64 {
        Checksum::new()
            .number(self.id)
            .number(self.kind as i64)
            .maybe(self.action.as_ref().map(Action::name))
            .number(self.initiator.as_i64())
            .number(self.happened_at.0)
            .bytes(self.message.as_ref().map_or(&[], |message| message.as_uuid().as_bytes()))
            .maybe(self.text.as_deref())
            .maybe(self.data.as_ref().map(RawJson::as_str))
            .maybe(self.unknown.as_ref().map(RawJson::as_str))
            .finish()
    }

    /// Takes away what a removed message said in its birth or an edit.
    pub(super) fn wipe(&mut self) {
        self.text = self.text.is_some().then(String::new);
        self.data = None;
        self.unknown = None;
    }

    pub(super) fn insert(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.write(
            connection,
            concat!("INSERT INTO event (", event_columns!(), ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"),
        )
    }

    pub(super) fn replace(&mut self, connection: &Connection) -> Result<(), StoreError> {
        self.write(
            connection,
            concat!(
                "INSERT OR REPLACE INTO event (",
                event_columns!(),
                ") VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)"
            ),
        )
    }

    fn write(&mut self, connection: &Connection, sql: &'static str) -> Result<(), StoreError> {
        self.checksum = self.expected_checksum();
        connection
            .prepare_cached(sql)
            .and_then(|mut insert| {
                insert.execute(params![
                    self.id,
                    self.kind as i64,
                    self.action,
                    self.initiator,
                    self.happened_at,
                    self.message,
                    self.text,
                    self.data,
                    self.unknown,
                    self.checksum
                ])
            })
            .doing("store an event")?;
        Ok(())
    }

    pub(super) fn into_event(self, conversation: ConversationId) -> Result<Event, StoreError> {
        let rowid = self.id;
        let damaged = |expected| StoreError::Damaged { table: "event", rowid, expected };
        let sequence = self.sequence();
        let message = || self.message.ok_or(damaged("uuid of a message"));
        let body = match self.kind {
            Kind::ConversationCreated | Kind::ConversationEdited => {
                let described = self
                    .data
                    .as_ref()
                    .and_then(|data| data.parse::<Description>().ok())
                    .ok_or(damaged("description of a conversation"))?;
                let described = Box::new(described.into_conversation());
                if self.kind == Kind::ConversationCreated {
                    EventBody::ConversationCreated(described)
                } else {
                    EventBody::ConversationEdited(described)
                }
            }
            Kind::ConversationRemoved => EventBody::ConversationRemoved,
            Kind::MessageSent | Kind::MessageEdited => {
                let text = self.text.ok_or(damaged("text"))?;
                let content = MessageContent { id: message()?, text, payload: self.data };
                if self.kind == Kind::MessageSent {
                    EventBody::MessageSent(content)
                } else {
                    EventBody::MessageEdited(content)
                }
            }
            Kind::MessageRemoved => EventBody::MessageRemoved(message()?),
            Kind::Unknown => EventBody::Unknown {
                name: self.text.ok_or(damaged("name of an event"))?.into(),
                payload: self.data.ok_or(damaged("JSON"))?,
            },
        };
        Ok(Event {
            conversation,
            sequence,
            action: self.action.or_else(|| self.kind.usual_action()).ok_or(damaged("action"))?,
            initiator: self.initiator,
            timestamp: self.happened_at,
            body,
            unknown: self.unknown,
        })
    }
}

/// A conversation as an event described it, in the JSON of its row.
#[derive(Serialize, Deserialize)]
struct Description {
    id: ConversationId,
    title: String,
    /// User, permissions, last read.
    participants: Vec<(UserId, u32, Sequence)>,
    direct: bool,
    public_join: bool,
    uber: bool,
    custom_data: RawJson,
    created_at: Timestamp,
    last_update: Timestamp,
    last_sequence: Sequence,
}

impl Description {
    fn of(conversation: &Conversation) -> Self {
        Self {
            id: conversation.id,
            title: conversation.title.clone(),
            participants: conversation
                .participants
                .iter()
                .map(|participant| (participant.user, participant.permissions.bits(), participant.last_read))
                .collect(),
            direct: conversation.direct,
            public_join: conversation.public_join,
            uber: conversation.uber,
            custom_data: conversation.custom_data.clone(),
            created_at: conversation.created_at,
            last_update: conversation.last_update,
            last_sequence: conversation.last_sequence,
        }
    }

    fn to_json(&self) -> RawJson {
        let text = serde_json::to_string(self).expect("strings, numbers and valid JSON make JSON");
        RawJson::new(&text).expect("a serializer writes JSON")
    }

    fn into_conversation(self) -> Conversation {
        let config = ConversationConfig {
            title: self.title,
            participants: self
                .participants
                .into_iter()
                .map(|(user, permissions, last_read)| Participant {
                    user,
                    permissions: Permissions::from_bits(permissions),
                    last_read,
                })
                .collect(),
            direct: self.direct,
            public_join: self.public_join,
            uber: self.uber,
            custom_data: self.custom_data,
        };
        Conversation::recreate(self.id, config, self.last_sequence, self.last_update, self.created_at)
    }
}

/// Returns one message row.
pub(super) fn message_at(connection: &Connection, id: i64) -> Result<Option<MessageRow>, StoreError> {
    let rows = message_rows(connection, (id, id))?;
    Ok(rows.into_iter().next())
}

/// Returns the message rows between two row ids, inclusive, rising.
pub(super) fn message_rows(connection: &Connection, ids: (i64, i64)) -> Result<Vec<MessageRow>, StoreError> {
    sift_messages(connection, ids)?.whole()
}

pub(super) fn sift_messages(connection: &Connection, ids: (i64, i64)) -> Result<Sifted<MessageRow>, StoreError> {
    let sql = concat!("SELECT ", message_columns!(), " FROM message WHERE id BETWEEN ?1 AND ?2 ORDER BY id");
    Sifted::select(connection, sql, [ids.0, ids.1], "read messages", MessageRow::from_row)
}

/// Returns the event rows between two row ids, inclusive, rising.
pub(super) fn event_rows(connection: &Connection, ids: (i64, i64)) -> Result<Vec<EventRow>, StoreError> {
    sift_events(connection, ids)?.whole()
}

pub(super) fn sift_events(connection: &Connection, ids: (i64, i64)) -> Result<Sifted<EventRow>, StoreError> {
    let sql = concat!("SELECT ", event_columns!(), " FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id");
    Sifted::select(connection, sql, [ids.0, ids.1], "read events", EventRow::from_row)
}

/// Returns one event row.
pub(super) fn event_at(connection: &Connection, id: i64) -> Result<Option<EventRow>, StoreError> {
    Ok(event_rows(connection, (id, id))?.into_iter().next())
}

/// Returns the events between two row ids, inclusive, rising.
///
/// The birth of a message that was edited is found in `event`, any other in `message`.
pub(super) fn events_between(
    connection: &Connection,
    conversation: ConversationId,
    ids: (i64, i64),
) -> Result<Vec<Event>, StoreError> {
    let mut apart = event_rows(connection, ids)?.into_iter().peekable();
    let mut events = Vec::new();
    for message in message_rows(connection, ids)? {
        while let Some(row) = apart.next_if(|row| row.id <= message.id) {
            events.push(row.into_event(conversation)?);
        }
        if message.state != MessageState::Edited {
            events.push(message.into_birth(conversation));
        }
    }
    for row in apart {
        events.push(row.into_event(conversation)?);
    }
    Ok(events)
}

/// Returns the events between two row ids whose rows are as they were stored, rising, and the positions of the others.
///
/// Of a message that was edited only the rows of its events count: its own follows from them.
pub(super) fn sound_events(
    connection: &Connection,
    conversation: ConversationId,
    ids: (i64, i64),
) -> Result<(Vec<Event>, Ranges), StoreError> {
    const DOING: &str = "read what is sound";
    let mut sound: BTreeMap<i64, Event> = BTreeMap::new();
    let mut lost: BTreeSet<i64> = BTreeSet::new();
    let mut select = connection
        .prepare_cached(concat!("SELECT ", event_columns!(), " FROM event WHERE id BETWEEN ?1 AND ?2 ORDER BY id"))
        .doing(DOING)?;
    let mut rows = select.query([ids.0, ids.1]).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let id = row.get(0).doing(DOING)?;
        let as_stored = EventRow::from_row(row).ok().filter(|row| row.checksum == row.expected_checksum());
        match as_stored.and_then(|row| row.into_event(conversation).ok()) {
            Some(event) => drop(sound.insert(id, event)),
            None => drop(lost.insert(id)),
        }
    }
    let mut select = connection
        .prepare_cached(concat!("SELECT ", message_columns!(), " FROM message WHERE id BETWEEN ?1 AND ?2 ORDER BY id"))
        .doing(DOING)?;
    let mut rows = select.query([ids.0, ids.1]).doing(DOING)?;
    while let Some(row) = rows.next().doing(DOING)? {
        let id = row.get(0).doing(DOING)?;
        let as_stored = MessageRow::from_row(row).ok().filter(|row| row.checksum == row.expected_checksum());
        match as_stored.filter(|row| row.state != MessageState::Edited) {
            Some(message) => drop(sound.entry(id).or_insert_with(|| message.into_birth(conversation))),
            // The birth of an edited message has a row of its own.
            None if sound.contains_key(&id) => {}
            None => drop(lost.insert(id)),
        }
    }
    let lost = lost.into_iter().filter_map(|id| SequenceRange::single(sequence_of(id))).collect();
    Ok((sound.into_values().collect(), lost))
}

/// Returns the uuid of the conversation that a packed row id lies in.
pub(super) fn conversation_of(
    connection: &Connection,
    table: &'static str,
    id: i64,
) -> Result<ConversationId, StoreError> {
    let damaged = StoreError::Damaged { table, rowid: id, expected: "position in a known conversation" };
    let Some(local) = local_of(id) else { return Err(damaged) };
    let found = connection
        .prepare_cached("SELECT uuid FROM conversation WHERE id = ?1")
        .and_then(|mut select| select.query_row([local.get()], |row| row.get(0)));
    match found {
        Ok(conversation) => Ok(conversation),
        Err(rusqlite::Error::QueryReturnedNoRows) => Err(damaged),
        Err(source) => Err(StoreError::Sqlite { doing: "read a conversation", source }),
    }
}
