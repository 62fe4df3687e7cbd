//! Conversations as people see them.

use super::connections::Reader;
use super::coverage;
use super::error::{Doing, StoreError};
use super::sifted::{Sifted, unless_damaged};
use super::value::{Columns, LocalId};
use crate::model::{
    Conversation, ConversationConfig, ConversationId, Delivery, HistoryPolicy, Membership, Message, Participant,
    Permissions, Ranges, RawJson, Sequence, SequenceRange, Timestamp, UserId,
};
use crate::sync::SavedConversation;
use rusqlite::{Connection, Params, Row, params};
use uuid::Uuid;

/// Characters of a message that the list shows.
pub(super) const PREVIEW_CHARS: usize = 100;

/// What the list shows of the newest message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Preview {
    /// Its position; zero while the server has not given it one.
    pub sequence: Sequence,
    /// Who wrote it.
    pub sender: UserId,
    /// When it was written.
    pub timestamp: Timestamp,
    /// Its first 100 characters.
    pub text: String,
    /// How far it has come, or what changes it.
    pub delivery: Delivery,
}

impl Preview {
    /// Returns what the list shows of a message; `None` when nobody knows who wrote it.
    pub fn of(message: Message) -> Option<Self> {
        let text = message.text.chars().take(PREVIEW_CHARS).collect();
        let (sequence, timestamp, delivery) = (message.sequence, message.timestamp, message.delivery);
        Some(Self { sequence, sender: message.sender?, timestamp, text, delivery })
    }
}

/// A conversation with everything the store knows of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConversationRow {
    /// As last described by the server; bare when it never was.
    pub conversation: Conversation,
    /// Where the user stands.
    pub membership: Membership,
    /// The newest sequence the server told of.
    pub head: Sequence,
    /// Positions asked for and completely answered.
    pub coverage: Ranges,
    /// Its own history policy, if it has one.
    pub history: Option<HistoryPolicy>,
    /// Messages of others, not removed, above the own read mark.
    pub unread: u64,
    /// Whether that is all; otherwise it is "at least", as a gap above the read mark may hide more.
    pub unread_exact: bool,
    /// The own read mark.
    pub own_read_mark: Sequence,
    /// When something last happened.
    pub last_activity: Timestamp,
    /// The newest message that was not removed, if one is held.
    pub preview: Option<Preview>,
}

/// The columns of `conversation` in the order that [`row_of`] reads.
macro_rules! conversation_columns {
    () => {
        "id, uuid, title, custom_data, direct, public_join, uber, created_at, last_update, described_at,
         membership, head, own_read, unread, last_activity, preview_sequence, preview_sender, preview_sent_at,
         preview_text"
    };
}

/// What was being done when conversations could not be read.
const READ: &str = "read conversations";

/// What a conversation's own column holds.
const UUID: &str = "uuid of a conversation";

fn local_of(columns: &Columns<'_>) -> Result<LocalId, StoreError> {
    LocalId::new(columns.rowid()).ok_or_else(|| columns.damaged("local id"))
}

/// Reads a row; participants and coverage come from their own tables.
fn row_of(row: &Row<'_>) -> Result<(LocalId, ConversationRow), StoreError> {
    let columns = Columns::new(row, "conversation")?;
    let local = local_of(&columns)?;
    let config = ConversationConfig {
        title: columns.get(2, "title")?,
        participants: Vec::new(),
        custom_data: columns.get(3, "JSON")?,
        direct: columns.get(4, "yes or no")?,
        public_join: columns.get(5, "yes or no")?,
        uber: columns.get(6, "yes or no")?,
    };
    let (created, updated) = (columns.get(7, "time")?, columns.get(8, "time")?);
    let described_at = columns.get(9, "sequence")?;
    let id = columns.get(1, UUID)?;
    let preview = match columns.get(15, "sequence")? {
        Some(sequence) => Some(Preview {
            sequence,
            sender: columns.get(16, "user id")?,
            timestamp: columns.get(17, "time")?,
            text: columns.get(18, "text")?,
            delivery: Delivery::Settled,
        }),
        None => None,
    };
    let row = ConversationRow {
        conversation: Conversation::recreate(id, config, described_at, updated, created),
        membership: membership_of(&columns, 10)?,
        head: columns.get(11, "sequence")?,
        own_read_mark: columns.get(12, "sequence")?,
        unread: columns.get::<u32>(13, "count")?.into(),
        last_activity: columns.get(14, "time")?,
        preview,
        coverage: Ranges::new(),
        history: None,
        unread_exact: false,
    };
    Ok((local, row))
}

pub(super) const fn membership_column(membership: Membership) -> i64 {
    match membership {
        Membership::Member => 0,
        Membership::Left => 1,
        Membership::Removed => 2,
        Membership::Stranger => 3,
    }
}

fn membership_of(columns: &Columns<'_>, place: usize) -> Result<Membership, StoreError> {
    match columns.get::<i64>(place, "membership")? {
        0 => Ok(Membership::Member),
        1 => Ok(Membership::Left),
        2 => Ok(Membership::Removed),
        3 => Ok(Membership::Stranger),
        _ => Err(columns.damaged("membership")),
    }
}

fn participants(connection: &Connection, local: LocalId) -> Result<Vec<Participant>, StoreError> {
    const DOING: &str = "read participants";
    let mut select = connection
        .prepare_cached(
            "SELECT conversation, user_id, permissions, last_read FROM participant WHERE conversation = ?1 ORDER BY place",
        )
        .doing(DOING)?;
    let mut rows = select.query([local.get()]).doing(DOING)?;
    let mut participants = Vec::new();
    while let Some(row) = rows.next().doing(DOING)? {
        let columns = Columns::new(row, "participant")?;
        participants.push(Participant {
            user: columns.get(1, "user id")?,
            permissions: Permissions::from_bits(columns.get(2, "permissions")?),
            last_read: columns.get(3, "sequence")?,
        });
    }
    Ok(participants)
}

/// Runs a statement that selects [`conversation_columns`], and completes each row.
fn read_rows(
    connection: &Connection,
    sql: &'static str,
    parameters: impl Params,
) -> Result<Sifted<ConversationRow>, StoreError> {
    Sifted::select(connection, sql, parameters, READ, |row| {
        let (local, row) = row_of(row)?;
        complete(connection, local, row)
    })
}

fn complete(connection: &Connection, local: LocalId, mut row: ConversationRow) -> Result<ConversationRow, StoreError> {
    row.conversation.participants = participants(connection, local)?;
    row.coverage = coverage::covered(connection, local)?;
    row.history = coverage::history(connection, local)?;
    // Of a conversation whose head was never told, nothing is known to be all.
    row.unread_exact = row.head > Sequence::ZERO
        && SequenceRange::new(row.own_read_mark.next(), row.head)
            .is_none_or(|above| row.coverage.contains_range(above));
    Ok(row)
}

/// Returns the description held, or `None` when there never was one.
pub(super) fn described(connection: &Connection, local: LocalId) -> Result<Option<Conversation>, StoreError> {
    const DOING: &str = "read a conversation";
    let mut select = connection
        .prepare_cached(concat!("SELECT ", conversation_columns!(), " FROM conversation WHERE id = ?1"))
        .doing(DOING)?;
    let mut rows = select.query([local.get()]).doing(DOING)?;
    let Some(row) = rows.next().doing(DOING)? else { return Ok(None) };
    let mut conversation = row_of(row)?.1.conversation;
    conversation.participants = participants(connection, local)?;
    Ok((conversation.last_sequence > Sequence::ZERO).then_some(conversation))
}

/// Returns where the user stands to a conversation.
pub(super) fn membership(connection: &Connection, local: LocalId) -> Result<Membership, StoreError> {
    const DOING: &str = "read a membership";
    let mut select = connection.prepare_cached("SELECT id, membership FROM conversation WHERE id = ?1").doing(DOING)?;
    let mut rows = select.query([local.get()]).doing(DOING)?;
    match rows.next().doing(DOING)? {
        Some(row) => membership_of(&Columns::new(row, "conversation")?, 1),
        None => Ok(Membership::Stranger),
    }
}

pub(super) fn own_read(connection: &Connection, local: LocalId) -> Result<Sequence, StoreError> {
    connection
        .prepare_cached("SELECT own_read FROM conversation WHERE id = ?1")
        .and_then(|mut select| select.query_row([local.get()], |row| row.get(0)))
        .doing("read a read mark")
}

/// Replaces the list of conversations that anybody may join.
pub(super) fn set_public(connection: &Connection, conversations: &[ConversationId]) -> Result<(), StoreError> {
    const DOING: &str = "store the public conversations";
    connection
        .prepare_cached("DELETE FROM public_conversation")
        .and_then(|mut delete| delete.execute([]))
        .doing(DOING)?;
    // One listed twice is a server fault: the first mention stays.
    let mut insert = connection
        .prepare_cached("INSERT OR IGNORE INTO public_conversation (place, uuid) VALUES (?1, ?2)")
        .doing(DOING)?;
    (0_i64..).zip(conversations).try_for_each(|(place, id)| insert.execute(params![place, id]).map(drop)).doing(DOING)
}

impl Reader<'_> {
    /// Returns the conversations that anybody may join, as the server last listed them and in its order.
    pub fn public_conversations(&self) -> Result<Vec<ConversationId>, StoreError> {
        self.connection
            .prepare_cached("SELECT uuid FROM public_conversation ORDER BY place")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .doing("read the public conversations")
    }

    /// Returns one conversation, or `None` when it is unknown.
    pub fn conversation(&self, id: ConversationId) -> Result<Option<ConversationRow>, StoreError> {
        let rows = read_rows(
            self.connection,
            concat!("SELECT ", conversation_columns!(), " FROM conversation WHERE uuid = ?1"),
            [id],
        )?;
        Ok(rows.whole()?.into_iter().next())
    }

    /// Returns those the user is or was in, latest activity first: at most `limit` after the first `offset`. One whose
    /// row is damaged is passed over, and [`verify`](Self::verify) finds it.
    pub fn conversations(&self, limit: u32, offset: u32) -> Result<Vec<ConversationRow>, StoreError> {
        let rows = read_rows(
            self.connection,
            concat!(
                "SELECT ",
                conversation_columns!(),
                " FROM conversation WHERE membership < 2 ORDER BY last_activity DESC, id DESC LIMIT ?1 OFFSET ?2"
            ),
            [limit, offset],
        )?;
        Ok(rows.go_on())
    }

    /// Returns the conversations whose uuid begins with `name`, or whose title is exactly `name`: at most 10.
    ///
    /// The uuid is written as usual, with hyphens; case makes no difference to it. Nothing has an empty name.
    pub fn find_conversations(&self, name: &str) -> Result<Vec<ConversationRow>, StoreError> {
        if name.is_empty() {
            return Ok(Vec::new());
        }
        let (from, to) = uuids_beginning(name).unzip();
        let rows = read_rows(
            self.connection,
            concat!(
                "SELECT ",
                conversation_columns!(),
                " FROM conversation WHERE uuid BETWEEN ?1 AND ?2 OR title = ?3 ORDER BY last_activity DESC LIMIT 10"
            ),
            params![from, to, name],
        )?;
        Ok(rows.go_on())
    }

    /// Returns what the core needs to know of every conversation. One whose rows are damaged is passed over, and
    /// [`verify`](Self::verify) finds it.
    pub fn saved_conversations(&self) -> Result<Vec<SavedConversation>, StoreError> {
        Ok(self.sift_saved_conversations(&mut Vec::new())?.go_on())
    }

    /// Notes in `unreadable` the conversations that are passed over, as far as it can be read which they are.
    pub(super) fn sift_saved_conversations(
        &self,
        unreadable: &mut Vec<ConversationId>,
    ) -> Result<Sifted<SavedConversation>, StoreError> {
        let sql = "SELECT id, uuid, head, described_at, membership, uber, last_activity, own_read
                   FROM conversation ORDER BY id";
        Sifted::select(self.connection, sql, [], READ, |row| {
            let columns = Columns::new(row, "conversation")?;
            let read = self.saved_conversation(&columns);
            if read.is_err() {
                unreadable.extend(columns.get::<ConversationId>(1, UUID));
            }
            read
        })
    }

    fn saved_conversation(&self, columns: &Columns<'_>) -> Result<SavedConversation, StoreError> {
        let local = local_of(columns)?;
        Ok(SavedConversation {
            id: columns.get(1, UUID)?,
            head: columns.get(2, "sequence")?,
            described_at: columns.get(3, "sequence")?,
            membership: membership_of(columns, 4)?,
            uber: columns.get(5, "yes or no")?,
            coverage: coverage::covered(self.connection, local)?,
            holes: coverage::holes(self.connection, local)?.into_iter().map(|(hole, _)| hole).collect(),
            last_activity: columns.get(6, "time")?,
            own_read: columns.get(7, "sequence")?,
            history: coverage::history(self.connection, local)?,
        })
    }

    /// Returns the local number of a conversation, if it is known.
    pub(super) fn local(&self, conversation: ConversationId) -> Result<Option<LocalId>, StoreError> {
        Ok(self.heads(Some(conversation))?.first().map(|(_, local, _)| *local))
    }

    /// Returns the head of one conversation or of all. Of all, those whose rows are damaged are passed over.
    pub(super) fn heads(
        &self,
        only: Option<ConversationId>,
    ) -> Result<Vec<(ConversationId, LocalId, Sequence)>, StoreError> {
        let sql = match only {
            Some(_) => "SELECT id, uuid, head FROM conversation WHERE uuid = ?1",
            None => "SELECT id, uuid, head FROM conversation WHERE ?1 IS NULL ORDER BY id",
        };
        let heads = Sifted::select(self.connection, sql, [only], READ, |row| {
            let columns = Columns::new(row, "conversation")?;
            Ok((columns.get(1, UUID)?, local_of(&columns)?, columns.get(2, "sequence")?))
        })?;
        match only {
            Some(_) => heads.whole(),
            None => Ok(heads.go_on()),
        }
    }

    /// Returns which conversations there are, known by as little as can be read.
    pub(super) fn numbered(&self) -> Result<Sifted<(ConversationId, LocalId)>, StoreError> {
        Sifted::select(self.connection, "SELECT id, uuid FROM conversation ORDER BY id", [], READ, |row| {
            let columns = Columns::new(row, "conversation")?;
            Ok((columns.get(1, UUID)?, local_of(&columns)?))
        })
    }
}

/// Makes the row of a conversation readable again, if it is not: what cannot be read is as before anybody told of it,
/// and all conversations are asked for again.
pub(super) fn mend(connection: &Connection, local: LocalId) -> Result<(), StoreError> {
    const DOING: &str = "make a conversation readable";
    if unless_damaged(coverage::history(connection, local))?.is_none() {
        coverage::set_history(connection, local, None)?;
    }
    if unless_damaged(described(connection, local))?.is_some() {
        return Ok(());
    }
    let mut select = connection
        .prepare_cached(concat!("SELECT ", conversation_columns!(), " FROM conversation WHERE id = ?1"))
        .doing(DOING)?;
    let mut rows = select.query([local.get()]).doing(DOING)?;
    let Some(row) = rows.next().doing(DOING)? else { return Ok(()) };
    let title = row.get_ref(2).ok().and_then(|title| title.as_bytes().ok()).map(String::from_utf8_lossy);
    let flag = |place| row.get::<_, bool>(place).unwrap_or_default();
    let time = |place| row.get::<_, i64>(place).unwrap_or_default();
    let sequence = |place| row.get::<_, Sequence>(place).unwrap_or_default();
    let membership = Columns::new(row, "conversation").and_then(|columns| membership_of(&columns, 10));
    connection
        .prepare_cached(
            "UPDATE conversation SET title = ?2, custom_data = ?3, direct = ?4, public_join = ?5, uber = ?6,
                 created_at = ?7, last_update = ?8, described_at = 0, membership = ?9, head = ?10, own_read = ?11,
                 unread = 0, last_activity = ?12, preview_sequence = NULL, preview_sender = NULL,
                 preview_sent_at = NULL, preview_text = NULL
             WHERE id = ?1",
        )
        .and_then(|mut update| {
            update.execute(params![
                local.get(),
                title.unwrap_or_default().into_owned(),
                row.get::<_, RawJson>(3).unwrap_or_else(|_| ConversationConfig::default().custom_data),
                flag(4),
                flag(5),
                flag(6),
                time(7),
                time(8),
                // A member until the server says otherwise: whoever asks of too much is told so.
                membership_column(membership.unwrap_or(Membership::Member)),
                sequence(11),
                sequence(12),
                time(14)
            ])
        })
        .doing(DOING)?;
    connection
        .prepare_cached("DELETE FROM participant WHERE conversation = ?1")
        .and_then(|mut delete| delete.execute([local.get()]))
        .doing(DOING)?;
    coverage::forget_heads_cursor(connection)
}

/// Returns the lowest and the highest uuid that begin with `text`, or `None` when no uuid does.
fn uuids_beginning(text: &str) -> Option<(ConversationId, ConversationId)> {
    const SHAPE: &str = "00000000-0000-0000-0000-000000000000";
    let rest = SHAPE.get(text.len()..)?;
    if !text.is_ascii() {
        return None;
    }
    // Hyphens must stand where they belong; parsing alone would accept other shapes.
    let as_shaped = |(shape, given): (u8, u8)| (shape == b'-') == (given == b'-');
    if !SHAPE.bytes().zip(text.bytes()).all(as_shaped) {
        return None;
    }
    let id = |rest: &str| Uuid::parse_str(&format!("{text}{rest}")).ok().map(ConversationId::from_uuid);
    Some((id(rest)?, id(&rest.replace('0', "f"))?))
}
