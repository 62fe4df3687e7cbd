//! The outbox as rows.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::intent::StoredIntent;
use super::sifted::Sifted;
use super::value::{Checksum, Columns};
use crate::model::{
    ClientToken, ConversationId, ErrorCode, MessagingError, OutboxEntry, OutboxState, RequestId, Settlement,
};
use rusqlite::{Connection, OptionalExtension, Params, Row, params};

/// The columns of `outbox` in the order that [`entry_of`] reads and [`set`] writes.
macro_rules! outbox_columns {
    () => {
        "position, token, request, state, attempts, queued_at, intent, settled, settled_conversation,
         settled_message, settled_sequence, error_code, error_description, checksum"
    };
}

/// Inserts an entry, or replaces the one with the same token.
pub(super) fn set(connection: &Connection, entry: &OutboxEntry) -> Result<(), StoreError> {
    const DOING: &str = "store an outbox entry";
    let intent =
        serde_json::to_string(&StoredIntent::from(&entry.intent)).expect("strings, numbers and valid JSON make JSON");
    let settlement = entry.settlement.as_ref();
    let error = entry.error.as_ref();
    connection
        .prepare_cached(concat!(
            "INSERT INTO outbox (",
            outbox_columns!(),
            ", conversation) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)
             ON CONFLICT (token) DO UPDATE SET position = excluded.position, request = excluded.request,
                 state = excluded.state, attempts = excluded.attempts, queued_at = excluded.queued_at,
                 intent = excluded.intent, settled = excluded.settled,
                 settled_conversation = excluded.settled_conversation, settled_message = excluded.settled_message,
                 settled_sequence = excluded.settled_sequence, error_code = excluded.error_code,
                 error_description = excluded.error_description, checksum = excluded.checksum,
                 conversation = excluded.conversation"
        ))
        .and_then(|mut upsert| {
            upsert.execute(params![
                entry.position.cast_signed(),
                entry.token,
                entry.request,
                state_column(entry.state),
                entry.attempts,
                entry.queued_at,
                intent,
                settlement.is_some(),
                settlement.and_then(|settlement| settlement.conversation),
                settlement.and_then(|settlement| settlement.message),
                settlement.and_then(|settlement| settlement.sequence),
                error.map(|error| error.code.number()),
                error.map(|error| error.description.as_str()),
                checksum(entry, &intent),
                entry.conversation()
            ])
        })
        .doing(DOING)?;
    Ok(())
}

/// Forgets an entry. Returns whether there was one.
pub(super) fn forget(connection: &Connection, token: ClientToken) -> Result<bool, StoreError> {
    let forgotten = connection
        .prepare_cached("DELETE FROM outbox WHERE token = ?1")
        .and_then(|mut delete| delete.execute([token]))
        .doing("forget an outbox entry")?;
    Ok(forgotten > 0)
}

/// Makes anew by what an entry is found, of the outbox and of the wishes that wait. The entries stay as they are. Returns
/// the tokens of those that were not found.
pub(super) fn index_anew(connection: &Connection) -> Result<Vec<ClientToken>, StoreError> {
    const DOING: &str = "find outbox entries by their conversation";
    let reader = Reader::new(connection);
    let mut anew = Vec::new();
    for (table, misplaced) in [("outbox", reader.misplaced()?), ("wish", reader.misplaced_wishes()?)] {
        let sql = format!("UPDATE {table} SET conversation = ?2 WHERE token = ?1");
        for entry in misplaced {
            connection
                .prepare_cached(&sql)
                .and_then(|mut update| update.execute(params![entry.token, entry.conversation()]))
                .doing(DOING)?;
            anew.push(entry.token);
        }
    }
    Ok(anew)
}

const fn state_column(state: OutboxState) -> i64 {
    match state {
        OutboxState::Queued => 0,
        OutboxState::Sending => 1,
        OutboxState::Uncertain => 2,
        OutboxState::Settled => 3,
        OutboxState::Failed => 4,
    }
}

fn checksum(entry: &OutboxEntry, intent: &str) -> i64 {
    let settlement = entry.settlement.unwrap_or_default();
    let mut sum = Checksum::new()
        .number(entry.position.cast_signed())
        .bytes(entry.token.as_uuid().as_bytes())
        .bytes(entry.request.as_uuid().as_bytes())
        .number(state_column(entry.state))
        .number(entry.attempts.into())
        .number(entry.queued_at.0)
        .bytes(intent.as_bytes())
        .number(entry.settlement.is_some().into())
        .bytes(settlement.conversation.as_ref().map_or(&[], |id| id.as_uuid().as_bytes()))
        .bytes(settlement.message.as_ref().map_or(&[], |id| id.as_uuid().as_bytes()))
        .number(settlement.sequence.map_or(-1, |sequence| sequence.0.into()));
    if let Some(error) = &entry.error {
        sum = sum.number(error.code.number()).bytes(error.description.as_bytes());
    }
    sum.finish()
}

fn entry_of(row: &Row<'_>) -> Result<OutboxEntry, StoreError> {
    let columns = Columns::new(row, "outbox")?;
    let intent = columns.text(6, "intent")?;
    let stored: StoredIntent = serde_json::from_str(intent).map_err(|_| columns.damaged("intent"))?;
    let settled: bool = columns.get(7, "yes or no")?;
    let settlement = Settlement {
        conversation: columns.get(8, "uuid of a conversation")?,
        message: columns.get(9, "uuid of a message")?,
        sequence: columns.get(10, "sequence")?,
    };
    let error = match columns.get::<Option<i64>>(11, "error code")? {
        Some(code) => Some(MessagingError::new(ErrorCode::from(code), columns.get::<String>(12, "text")?)),
        None => None,
    };
    let entry = OutboxEntry {
        position: columns.rowid().try_into().map_err(|_| columns.damaged("position"))?,
        token: columns.get::<ClientToken>(1, "token")?,
        request: columns.get::<RequestId>(2, "request id")?,
        state: match columns.get::<i64>(3, "state of an outbox entry")? {
            0 => OutboxState::Queued,
            1 => OutboxState::Sending,
            2 => OutboxState::Uncertain,
            3 => OutboxState::Settled,
            4 => OutboxState::Failed,
            _ => return Err(columns.damaged("state of an outbox entry")),
        },
        attempts: columns.get(4, "count")?,
        queued_at: columns.get(5, "time")?,
        intent: stored.into(),
        settlement: settled.then_some(settlement),
        error,
    };
    // An entry is a promise, and there are few: damage to one is told, never sent.
    if checksum(&entry, intent) != columns.get::<i64>(13, "checksum")? {
        return Err(columns.damaged("outbox entry that fits its checksum"));
    }
    Ok(entry)
}

impl Reader<'_> {
    /// Returns every entry held, settled ones included, by rising position. One whose row is damaged is passed over:
    /// it is neither sent nor forgotten, and [`verify`](Self::verify) finds it.
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        Ok(self.sift_outbox()?.go_on())
    }

    pub(super) fn sift_outbox(&self) -> Result<Sifted<OutboxEntry>, StoreError> {
        self.entries(concat!("SELECT ", outbox_columns!(), " FROM outbox ORDER BY position"), [])
    }

    /// Returns the entries about a conversation, its making included, or about the user, that are not settled, failed
    /// ones included, by rising position: what people see of it. Those that another process wished for are among them.
    pub fn unsettled(&self, about: Option<ConversationId>) -> Result<Vec<OutboxEntry>, StoreError> {
        let entries = self.entries(
            concat!(
                "SELECT ",
                outbox_columns!(),
                " FROM outbox INDEXED BY outbox_about WHERE conversation IS ?1 AND state <> 3 ORDER BY position"
            ),
            [about],
        )?;
        let mut entries = entries.go_on();
        entries.extend(self.wished_about(about)?);
        Ok(entries)
    }

    /// Returns the entries that make a conversation and are not settled, likewise.
    pub fn unsettled_makings(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        let entries = self.entries(
            concat!(
                "SELECT ",
                outbox_columns!(),
                " FROM outbox INDEXED BY outbox_making WHERE state <> 3 AND conversation = token ORDER BY position"
            ),
            [],
        )?;
        let mut entries = entries.go_on();
        entries.extend(self.wished_makings()?);
        Ok(entries)
    }

    /// Returns the sound entries that are not found by the conversation they are about.
    pub(super) fn misplaced(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        const DOING: &str = "compare entries with what they are found by";
        let mut select = self
            .connection
            .prepare_cached(concat!("SELECT ", outbox_columns!(), ", conversation FROM outbox ORDER BY position"))
            .doing(DOING)?;
        let mut rows = select.query([]).doing(DOING)?;
        let mut misplaced = Vec::new();
        while let Some(row) = rows.next().doing(DOING)? {
            let Ok(entry) = entry_of(row) else { continue };
            let found_by = Columns::new(row, "outbox")?.get::<Option<ConversationId>>(14, "uuid of a conversation");
            misplaced.extend((found_by.ok() != Some(entry.conversation())).then_some(entry));
        }
        Ok(misplaced)
    }

    /// Returns an entry, also one that another process wished for; `None` for one that was never there, was taken back or was settled long ago.
    pub fn entry(&self, token: ClientToken) -> Result<Option<OutboxEntry>, StoreError> {
        const DOING: &str = "read an outbox entry";
        let mut select = self
            .connection
            .prepare_cached(concat!("SELECT ", outbox_columns!(), " FROM outbox WHERE token = ?1"))
            .doing(DOING)?;
        let mut rows = select.query([token]).doing(DOING)?;
        match rows.next().doing(DOING)? {
            Some(row) => entry_of(row).map(Some),
            None => self.wished_entry(token),
        }
    }

    /// Returns how many settled entries are held.
    pub fn settled_count(&self) -> Result<usize, StoreError> {
        self.connection
            .prepare_cached("SELECT count(*) FROM outbox WHERE state = 3")
            .and_then(|mut select| select.query_row([], |row| Ok(row.get::<_, u32>(0)? as usize)))
            .doing("count settled entries")
    }

    /// Returns the conversation that a provisional id stands for, once the server has named it; any other id as it is.
    pub fn resolve(&self, conversation: ConversationId) -> Result<ConversationId, StoreError> {
        let made = self
            .connection
            .prepare_cached("SELECT settled_conversation FROM outbox WHERE token = ?1")
            .and_then(|mut select| select.query_row([conversation], |row| row.get(0)).optional())
            .doing("look up a conversation made here")?;
        Ok(made.flatten().unwrap_or(conversation))
    }

    fn entries(&self, sql: &str, parameters: impl Params) -> Result<Sifted<OutboxEntry>, StoreError> {
        Sifted::select(self.connection, sql, parameters, "read the outbox", entry_of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::*;
    use crate::store::Store;
    use crate::sync::Write;
    use uuid::Uuid;

    const HERE: ConversationId = ConversationId::from_uuid(Uuid::from_u128(77));

    /// One entry of each kind.
    fn entries() -> Vec<OutboxEntry> {
        let message = MessageKey::Id(MessageId::from_uuid(Uuid::from_u128(5)));
        let data = || Some(RawJson::new(r#"{"conversation":"not this"}"#).unwrap());
        let payload = || Some(RawJson::new(r#"[{"conversation":"not this"}]"#).unwrap());
        let users = || vec![UserId::new(9).unwrap()];
        let participants = || vec![Participant::new(UserId::new(9).unwrap())];
        let intents = vec![
            Intent::CreateConversation(ConversationConfig { participants: participants(), ..Default::default() }),
            Intent::EditConversation { conversation: HERE, title: None, public_join: None, custom_data: data() },
            Intent::RemoveConversation(HERE),
            Intent::JoinConversation(HERE),
            Intent::LeaveConversation(HERE),
            Intent::AddParticipants { conversation: HERE, participants: participants() },
            Intent::EditParticipants { conversation: HERE, participants: participants() },
            Intent::RemoveParticipants { conversation: HERE, users: users() },
            Intent::SendMessage { conversation: HERE, text: "one".to_owned(), payload: None },
            Intent::EditMessage { conversation: HERE, message, text: None, payload: payload() },
            Intent::RemoveMessage { conversation: HERE, message },
            Intent::RemoveDuplicate { conversation: HERE, message: MessageId::from_uuid(Uuid::from_u128(5)) },
            Intent::MarkAsRead { conversation: HERE, sequence: Sequence(1) },
            Intent::EditUser { custom_data: data(), private_custom_data: data() },
            Intent::ManageNotifications(vec![Notification::SendMessage]),
            Intent::Subscribe(users()),
            Intent::Unsubscribe(users()),
            Intent::UnsubscribeAll,
        ];
        let entries = intents.into_iter().zip(1..).map(|(intent, position)| OutboxEntry {
            token: ClientToken::from_uuid(Uuid::from_u128(position.into())),
            position,
            intent,
            state: OutboxState::Queued,
            request: RequestId::from_uuid(Uuid::from_u128(u128::from(position) << 64)),
            attempts: 0,
            queued_at: Timestamp(1),
            settlement: None,
            error: None,
        });
        entries.collect()
    }

    /// R-53: what an earlier version queued is found by its conversation, and what is damaged keeps no file from opening.
    #[test]
    fn the_migration_finds_entries_as_writing_them_does() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let store = Store::open(&path).unwrap();
        store.write(entries().into_iter().map(Write::Outbox).collect()).wait().unwrap();
        let found = store.read(|reader| reader.unsettled(Some(HERE))).unwrap();
        assert_eq!((found.len(), store.read(|reader| reader.unsettled(None)).unwrap().len()), (12, 5));
        assert_eq!(store.read(|reader| reader.unsettled_makings()).unwrap().len(), 1);
        drop(store);

        let migration = include_str!("../../migrations/V2__sync.sql");
        let from = migration.find("UPDATE outbox").unwrap();
        let fill = &migration[from..from + migration[from..].find(';').unwrap()];
        let file = Connection::open(&path).unwrap();
        file.execute_batch(&format!("UPDATE outbox SET conversation = NULL; {fill};")).unwrap();
        assert!(Reader::new(&file).misplaced().unwrap().is_empty());
        for damaged in ["", "{", "7", "[]", r#""x""#, r#"{"join_conversation":"no uuid"}"#, r#"{"send_message":{}}"#] {
            file.execute("UPDATE outbox SET intent = ?1", [damaged]).unwrap();
            file.execute_batch(&format!("UPDATE outbox SET conversation = NULL; {fill};")).unwrap();
            let found: i64 = file
                .query_row("SELECT count(*) FROM outbox WHERE conversation IS NOT NULL", [], |row| row.get(0))
                .unwrap();
            assert_eq!(found, 0, "{damaged}");
        }
    }

    /// R-68: a screen reads of the outbox what is about it, whatever else waits.
    #[test]
    fn entries_are_found_by_index() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        drop(Store::open(&path).unwrap());
        let file = Connection::open(&path).unwrap();
        let plan = |sql: &str| -> Vec<String> {
            let mut explain = file.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            explain.query_map([], |row| row.get("detail")).unwrap().collect::<Result<_, _>>().unwrap()
        };
        let about = "FROM outbox WHERE conversation IS x'00' AND state <> 3 ORDER BY position";
        assert_eq!(plan(&format!("SELECT * {about}")), ["SEARCH outbox USING INDEX outbox_about (conversation=?)"]);
        let about = "FROM wish WHERE conversation IS x'00' AND answer IS NULL AND kind = 0 ORDER BY number";
        assert_eq!(plan(&format!("SELECT * {about}")), ["SEARCH wish USING INDEX wish_about (conversation=?)"]);
    }
}
