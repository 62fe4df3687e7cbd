//! The storage of a server that is to be kept: one SQLite file.

use super::database::{self, failed};
use super::rows::{self, Snapshot};
use super::{Answer, Stay, Storage, StorageError, StoredConversation, StoredMessage};
use backscroll::model::{
    ClientToken, Conversation, ConversationId, Event, EventBody, MessageId, Notification, Participant, Permissions,
    PrivateUser, RawJson, RequestId, Sequence, SequenceRange, Timestamp, User, UserId,
};
use backscroll::protocol::{Push, ServerChat, ServerFrame, UserKey, decode_server, encode_server};
use rusqlite::{Connection, OptionalExtension, Params, Row, named_params};
use std::path::Path;

/// How many old answers one call forgets, so that no request waits for a day's worth of them.
const FORGOTTEN_AT_ONCE: u32 = 256;

/// Keeps everything in `server.sqlite` of a data folder.
///
/// Outside a transaction each call is durable when it returns. Between [`begin`](Self::begin) and
/// [`commit`](Self::commit) everything becomes durable together.
#[derive(Debug)]
pub struct Sqlite {
    connection: Connection,
}

impl Sqlite {
    /// Opens the file of a data folder, and makes or upgrades it when needed.
    ///
    /// # Errors
    ///
    /// [`StorageError`] by variant; a file of a newer version is not touched.
    pub fn open(data: &Path) -> Result<Self, StorageError> {
        Ok(Self { connection: database::open(data)? })
    }

    /// Opens a transaction and waits until no other writes.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when one is open, or another process writes for too long.
    pub fn begin(&self) -> Result<(), StorageError> {
        self.batch("BEGIN IMMEDIATE", "begin a transaction")
    }

    /// Makes everything since [`begin`](Self::begin) durable, or takes all of it back.
    ///
    /// # Errors
    ///
    /// [`StorageError`] when the medium fails; nothing of the transaction was kept then.
    pub fn commit(&self) -> Result<(), StorageError> {
        let committed = self.batch("COMMIT", "commit a transaction");
        if committed.is_err() && !self.connection.is_autocommit() {
            self.batch("ROLLBACK", "roll a transaction back")?;
        }
        committed
    }

    /// Marks a place in the transaction.
    pub(crate) fn mark(&self) -> Result<(), StorageError> {
        self.batch("SAVEPOINT request", "mark a place in a transaction")
    }

    /// Forgets the mark and keeps what came after it.
    pub(crate) fn keep(&self) -> Result<(), StorageError> {
        self.batch("RELEASE request", "forget a mark")
    }

    /// Takes back what came after the mark.
    pub(crate) fn undo(&self) -> Result<(), StorageError> {
        self.batch("ROLLBACK TO request; RELEASE request", "go back to a mark")
    }

    /// Returns whose accounts were frozen or removed.
    pub(crate) fn barred(&self) -> Result<Vec<UserId>, StorageError> {
        let sql = "SELECT id FROM account WHERE deleted = 1 OR frozen = 1";
        self.all("read who is barred", sql, [], |row| rows::user_id(row, "id"))
    }

    /// Copies the write-ahead log into the main file and empties it.
    pub(crate) fn checkpoint(&self) -> Result<(), StorageError> {
        self.batch("PRAGMA wal_checkpoint(TRUNCATE)", "checkpoint the database")
    }

    fn batch(&self, sql: &str, doing: &'static str) -> Result<(), StorageError> {
        self.connection.execute_batch(sql).map_err(failed(doing))
    }

    /// Runs a statement and returns how many rows it changed.
    fn run(&self, doing: &'static str, sql: &str, params: impl Params) -> Result<usize, StorageError> {
        self.connection.prepare_cached(sql).and_then(|mut statement| statement.execute(params)).map_err(failed(doing))
    }

    /// Returns the first row, read by `read`.
    fn one<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnOnce(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StorageError> {
        let row = self.connection.prepare_cached(sql).and_then(|mut found| found.query_row(params, read).optional());
        row.map_err(failed(doing))
    }

    /// Returns every row, read by `read`.
    fn all<T>(
        &self,
        doing: &'static str,
        sql: &str,
        params: impl Params,
        read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>, StorageError> {
        let rows = self.connection.prepare_cached(sql).and_then(|mut found| found.query_map(params, read)?.collect());
        rows.map_err(failed(doing))
    }

    fn insert_stays(
        &self,
        conversation: ConversationId,
        at: Sequence,
        participants: &[Participant],
    ) -> Result<(), StorageError> {
        for participant in participants {
            self.run(
                "add a participant",
                "INSERT INTO stay (conversation, account, joined_at, permissions, last_read)
                 VALUES (:conversation, :account, :joined_at, :permissions, :last_read)",
                named_params! {
                    ":conversation": rows::key(conversation.as_uuid()),
                    ":account": rows::number(participant.user),
                    ":joined_at": at.get(),
                    ":permissions": participant.permissions.bits(),
                    ":last_read": participant.last_read.get(),
                },
            )?;
        }
        Ok(())
    }
}

impl Storage for Sqlite {
    fn user(&self, key: &UserKey) -> Result<Option<User>, StorageError> {
        let doing = "read a user";
        match key {
            UserKey::Id(id) => self.one(
                doing,
                "SELECT id, name, display_name, custom_data, deleted FROM account WHERE id = ?1",
                [rows::number(*id)],
                rows::user,
            ),
            UserKey::Name(name) => self.one(
                doing,
                "SELECT id, name, display_name, custom_data, deleted FROM account WHERE name = ?1 AND deleted = 0",
                [name.as_str()],
                rows::user,
            ),
        }
    }

    fn private_user(&self, user: UserId) -> Result<PrivateUser, StorageError> {
        let doing = "read a user's private data";
        let stays = self.all(
            doing,
            "SELECT conversation, max(left_at IS NULL) AS present FROM stay
             JOIN conversation ON conversation.id = stay.conversation AND removed = 0
             WHERE account = ?1 GROUP BY conversation ORDER BY conversation",
            [rows::number(user)],
            |row| Ok((ConversationId::from_uuid(rows::uuid(row, "conversation")?), row.get::<_, bool>("present")?)),
        )?;
        let (present, left): (Vec<_>, Vec<_>) = stays.into_iter().partition(|(_, present)| *present);
        let ids = |stays: Vec<(ConversationId, bool)>| stays.into_iter().map(|(id, _)| id).collect();
        let (custom_data, notifications) = self
            .one(
                doing,
                "SELECT private_custom_data, notifications FROM account WHERE id = ?1",
                [rows::number(user)],
                |row| Ok((rows::json(row, "private_custom_data")?, rows::notifications(row)?)),
            )?
            .ok_or(StorageError::Damaged { table: "account", expected: "known user" })?;
        Ok(PrivateUser { custom_data, notifications, conversations: ids(present), left_conversations: ids(left) })
    }

    fn set_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError> {
        let sql = "UPDATE account SET custom_data = ?2 WHERE id = ?1";
        self.run("change a user", sql, (rows::number(user), data.as_str())).map(drop)
    }

    fn set_private_custom_data(&mut self, user: UserId, data: &RawJson) -> Result<(), StorageError> {
        let sql = "UPDATE account SET private_custom_data = ?2 WHERE id = ?1";
        self.run("change a user", sql, (rows::number(user), data.as_str())).map(drop)
    }

    fn set_notifications(&mut self, user: UserId, kinds: &[Notification]) -> Result<(), StorageError> {
        let names = serde_json::Value::from_iter(kinds.iter().map(|kind| kind.name()));
        let sql = "UPDATE account SET notifications = ?2 WHERE id = ?1";
        self.run("change a user", sql, (rows::number(user), names.to_string())).map(drop)
    }

    fn subscriptions(&self, user: UserId) -> Result<Vec<UserId>, StorageError> {
        let sql = "SELECT followed FROM subscription WHERE account = ?1 ORDER BY followed";
        self.all("read subscriptions", sql, [rows::number(user)], |row| rows::user_id(row, "followed"))
    }

    fn subscribers(&self, user: UserId) -> Result<Vec<UserId>, StorageError> {
        let sql = "SELECT account FROM subscription WHERE followed = ?1 ORDER BY account";
        self.all("read subscribers", sql, [rows::number(user)], |row| rows::user_id(row, "account"))
    }

    fn subscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError> {
        for other in others {
            let sql = "INSERT OR IGNORE INTO subscription (account, followed) VALUES (?1, ?2)";
            self.run("subscribe", sql, [rows::number(user), rows::number(*other)])?;
        }
        Ok(())
    }

    fn unsubscribe(&mut self, user: UserId, others: &[UserId]) -> Result<(), StorageError> {
        for other in others {
            let sql = "DELETE FROM subscription WHERE account = ?1 AND followed = ?2";
            self.run("unsubscribe", sql, [rows::number(user), rows::number(*other)])?;
        }
        Ok(())
    }

    fn conversation(&self, id: ConversationId) -> Result<Option<StoredConversation>, StorageError> {
        let doing = "read a conversation";
        let found = self.one(
            doing,
            "SELECT id, title, direct, public_join, uber, custom_data, created_at, last_update, head, removed
             FROM conversation WHERE id = ?1",
            [rows::key(id.as_uuid())],
            rows::conversation,
        )?;
        let Some(mut stored) = found else { return Ok(None) };
        stored.conversation.participants = self.all(
            doing,
            "SELECT account, permissions, last_read FROM stay
             WHERE conversation = ?1 AND left_at IS NULL ORDER BY number",
            [rows::key(id.as_uuid())],
            rows::participant,
        )?;
        Ok(Some(stored))
    }

    fn direct_conversation(&self, one: UserId, other: UserId) -> Result<Option<ConversationId>, StorageError> {
        self.one(
            "look for a direct conversation",
            "SELECT id FROM conversation WHERE direct = 1 AND removed = 0 AND lower_user = ?1 AND higher_user = ?2",
            [rows::number(one.min(other)), rows::number(one.max(other))],
            |row| rows::uuid(row, "id").map(ConversationId::from_uuid),
        )
    }

    fn conversation_by_token(
        &self,
        creator: UserId,
        token: ClientToken,
    ) -> Result<Option<ConversationId>, StorageError> {
        self.one(
            "look for a conversation by its token",
            "SELECT id FROM conversation WHERE creator = ?1 AND token = ?2",
            (rows::number(creator), rows::key(token.as_uuid())),
            |row| rows::uuid(row, "id").map(ConversationId::from_uuid),
        )
    }

    fn public_conversations(&self) -> Result<Vec<ConversationId>, StorageError> {
        let sql = "SELECT id FROM conversation WHERE public_join = 1 AND removed = 0 ORDER BY id";
        self.all("list public conversations", sql, [], |row| rows::uuid(row, "id").map(ConversationId::from_uuid))
    }

    fn create_conversation(
        &mut self,
        conversation: &Conversation,
        creator: UserId,
        token: Option<ClientToken>,
    ) -> Result<(), StorageError> {
        let pair = if conversation.direct { conversation.participants.get(..2) } else { None };
        let users = || pair.into_iter().flatten().map(|participant| rows::number(participant.user));
        self.run(
            "create a conversation",
            "INSERT INTO conversation (id, title, direct, public_join, uber, custom_data, created_at, last_update,
                 head, creator, token, lower_user, higher_user)
             VALUES (:id, :title, :direct, :public_join, :uber, :custom_data, :created_at, :last_update,
                 0, :creator, :token, :lower_user, :higher_user)",
            named_params! {
                ":id": rows::key(conversation.id.as_uuid()),
                ":title": conversation.title,
                ":direct": conversation.direct,
                ":public_join": conversation.public_join,
                ":uber": conversation.uber,
                ":custom_data": conversation.custom_data.as_str(),
                ":created_at": conversation.created_at.0,
                ":last_update": conversation.last_update.0,
                ":creator": rows::number(creator),
                ":token": token.as_ref().map(|token| rows::key(token.as_uuid())),
                ":lower_user": users().min(),
                ":higher_user": users().max(),
            },
        )?;
        self.insert_stays(conversation.id, Sequence::FIRST, &conversation.participants)
    }

    fn describe_conversation(&mut self, conversation: &Conversation) -> Result<(), StorageError> {
        self.run(
            "change a conversation",
            "UPDATE conversation SET title = :title, public_join = :public_join, custom_data = :custom_data
             WHERE id = :id",
            named_params! {
                ":id": rows::key(conversation.id.as_uuid()),
                ":title": conversation.title,
                ":public_join": conversation.public_join,
                ":custom_data": conversation.custom_data.as_str(),
            },
        )
        .map(drop)
    }

    fn remove_conversation(&mut self, id: ConversationId) -> Result<(), StorageError> {
        let sql = "UPDATE conversation SET removed = 1 WHERE id = ?1";
        self.run("remove a conversation", sql, [rows::key(id.as_uuid())]).map(drop)
    }

    fn stays(&self, conversation: ConversationId, user: UserId) -> Result<Vec<Stay>, StorageError> {
        self.all(
            "read a user's stays",
            "SELECT joined_at, left_at, last_read FROM stay WHERE account = ?1 AND conversation = ?2 ORDER BY number",
            (rows::number(user), rows::key(conversation.as_uuid())),
            rows::stay,
        )
    }

    fn heads(&self, user: UserId) -> Result<Vec<(ConversationId, Sequence)>, StorageError> {
        self.all(
            "read heads",
            "SELECT conversation.id, iif(max(left_at IS NULL), head, max(left_at)) AS head
             FROM stay JOIN conversation ON conversation.id = stay.conversation
             WHERE account = ?1 AND removed = 0 GROUP BY conversation.id ORDER BY conversation.id",
            [rows::number(user)],
            |row| Ok((ConversationId::from_uuid(rows::uuid(row, "id")?), Sequence(row.get("head")?))),
        )
    }

    fn add_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        participants: &[Participant],
    ) -> Result<(), StorageError> {
        self.insert_stays(conversation, at, participants)
    }

    fn set_permissions(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        permissions: Permissions,
    ) -> Result<(), StorageError> {
        self.run(
            "change a participant",
            "UPDATE stay SET permissions = ?3 WHERE conversation = ?1 AND account = ?2 AND left_at IS NULL",
            (rows::key(conversation.as_uuid()), rows::number(user), permissions.bits()),
        )
        .map(drop)
    }

    fn set_last_read(
        &mut self,
        conversation: ConversationId,
        user: UserId,
        last_read: Sequence,
    ) -> Result<(), StorageError> {
        self.run(
            "set a read mark",
            "UPDATE stay SET last_read = ?3 WHERE conversation = ?1 AND account = ?2 AND left_at IS NULL",
            (rows::key(conversation.as_uuid()), rows::number(user), last_read.get()),
        )
        .map(drop)
    }

    fn remove_participants(
        &mut self,
        conversation: ConversationId,
        at: Sequence,
        users: &[UserId],
    ) -> Result<(), StorageError> {
        for user in users {
            self.run(
                "remove a participant",
                "UPDATE stay SET left_at = ?3 WHERE conversation = ?1 AND account = ?2 AND left_at IS NULL",
                (rows::key(conversation.as_uuid()), rows::number(*user), at.get()),
            )?;
        }
        Ok(())
    }

    fn append(&mut self, event: &Event, token: Option<ClientToken>) -> Result<(), StorageError> {
        let doing = "append an event";
        // Only the position right behind the head is free: a gap or a second event at one place is impossible.
        let moved = self.run(
            doing,
            "UPDATE conversation SET head = ?2, last_update = ?3 WHERE id = ?1 AND head = ?2 - 1",
            (rows::key(event.conversation.as_uuid()), event.sequence.get(), event.timestamp.0),
        )?;
        if moved != 1 {
            return Err(StorageError::Damaged { table: "conversation", expected: "head before the new event" });
        }
        let mut content = None;
        if let EventBody::MessageSent(said) | EventBody::MessageEdited(said) = &event.body {
            content = Some(said);
        }
        let description = event.body.conversation().map(Snapshot::of).transpose()?;
        self.run(
            doing,
            "INSERT INTO event (conversation, sequence, kind, action, initiator, timestamp, message, text, payload,
                 token, description)
             VALUES (:conversation, :sequence, :kind, :action, :initiator, :timestamp, :message, :text, :payload,
                 :token, :description)",
            named_params! {
                ":conversation": rows::key(event.conversation.as_uuid()),
                ":sequence": event.sequence.get(),
                ":kind": event.body.name(),
                ":action": event.action.name(),
                ":initiator": rows::number(event.initiator),
                ":timestamp": event.timestamp.0,
                ":message": event.body.message().as_ref().map(|message| rows::key(message.as_uuid())),
                ":text": content.map(|content| content.text.as_str()),
                ":payload": content.and_then(|content| content.payload.as_ref()).map(RawJson::as_str),
                ":token": token.as_ref().map(|token| rows::key(token.as_uuid())),
                ":description": description,
            },
        )
        .map(drop)
    }

    fn events(&self, conversation: ConversationId, range: SequenceRange) -> Result<Vec<Event>, StorageError> {
        self.all(
            "read events",
            "SELECT conversation, sequence, kind, action, initiator, timestamp, message, text, payload, description
             FROM event WHERE conversation = ?1 AND sequence BETWEEN ?2 AND ?3 ORDER BY sequence",
            (rows::key(conversation.as_uuid()), range.first().get(), range.last().get()),
            rows::event,
        )
    }

    fn event_by_token(
        &self,
        conversation: ConversationId,
        sender: UserId,
        token: ClientToken,
    ) -> Result<Option<Sequence>, StorageError> {
        self.one(
            "look for a message by its token",
            "SELECT sequence FROM event WHERE conversation = ?1 AND initiator = ?2 AND token = ?3",
            (rows::key(conversation.as_uuid()), rows::number(sender), rows::key(token.as_uuid())),
            |row| row.get("sequence").map(Sequence),
        )
    }

    fn message(&self, conversation: ConversationId, message: MessageId) -> Result<Option<StoredMessage>, StorageError> {
        let doing = "read a message";
        // Left alone, SQLite would rather walk through the whole conversation.
        let params = (rows::key(conversation.as_uuid()), rows::key(message.as_uuid()));
        let sender = self.one(
            doing,
            "SELECT initiator FROM event INDEXED BY event_by_message
             WHERE conversation = ?1 AND message = ?2 ORDER BY sequence LIMIT 1",
            params,
            |row| rows::user_id(row, "initiator"),
        )?;
        let newest = self.one(
            doing,
            "SELECT conversation, sequence, kind, action, initiator, timestamp, message, text, payload, description
             FROM event INDEXED BY event_by_message
             WHERE conversation = ?1 AND message = ?2 ORDER BY sequence DESC LIMIT 1",
            params,
            rows::event,
        )?;
        Ok(sender.zip(newest).map(|(sender, newest)| StoredMessage { sender, newest: newest.body }))
    }

    fn erase_message(&mut self, conversation: ConversationId, message: MessageId) -> Result<(), StorageError> {
        self.run(
            "erase a message",
            "UPDATE event INDEXED BY event_by_message SET text = '', payload = NULL
             WHERE conversation = ?1 AND message = ?2 AND text IS NOT NULL",
            (rows::key(conversation.as_uuid()), rows::key(message.as_uuid())),
        )
        .map(drop)
    }

    fn answer(&self, user: UserId, request: RequestId) -> Result<Option<Answer>, StorageError> {
        let found = self.one(
            "look for a kept answer",
            "SELECT conversation, sequence, frame FROM answer WHERE account = ?1 AND request = ?2",
            (rows::number(user), rows::key(request.as_uuid())),
            |row| match row.get::<_, Option<String>>("frame")? {
                Some(frame) => Ok(Err(frame)),
                None => {
                    let conversation = ConversationId::from_uuid(rows::uuid(row, "conversation")?);
                    Ok(Ok(Answer::Event(conversation, Sequence(row.get("sequence")?))))
                }
            },
        )?;
        match found {
            None => Ok(None),
            Some(Ok(answer)) => Ok(Some(answer)),
            Some(Err(frame)) => match decode_server(&frame) {
                Ok(ServerFrame::Chat(chat)) => Ok(Some(Answer::Push(Box::new(chat.push)))),
                Ok(ServerFrame::Rpc(_)) | Err(_) => Err(StorageError::Damaged { table: "answer", expected: "frame" }),
            },
        }
    }

    fn keep_answer(
        &mut self,
        user: UserId,
        request: RequestId,
        now: Timestamp,
        answer: &Answer,
    ) -> Result<(), StorageError> {
        let (conversation, sequence, frame) = match answer {
            Answer::Event(conversation, sequence) => (Some(conversation), Some(sequence.get()), None),
            Answer::Push(push) => (None, None, Some(frame_text(push))),
        };
        self.run(
            "keep an answer",
            "INSERT INTO answer (account, request, kept_at, conversation, sequence, frame)
             VALUES (:account, :request, :kept_at, :conversation, :sequence, :frame)",
            named_params! {
                ":account": rows::number(user),
                ":request": rows::key(request.as_uuid()),
                ":kept_at": now.0,
                ":conversation": conversation.map(|id| rows::key(id.as_uuid())),
                ":sequence": sequence,
                ":frame": frame,
            },
        )
        .map(drop)
    }

    fn forget_answers(&mut self, before: Timestamp) -> Result<(), StorageError> {
        self.run(
            "forget old answers",
            "DELETE FROM answer
             WHERE number IN (SELECT number FROM answer ORDER BY number LIMIT ?2) AND kept_at < ?1",
            (before.0, FORGOTTEN_AT_ONCE),
        )
        .map(drop)
    }
}

fn frame_text(push: &Push) -> String {
    encode_server(&ServerFrame::Chat(ServerChat { request: None, push: push.clone() }))
}
