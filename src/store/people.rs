//! Users, and the store as a whole.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::sifted::Sifted;
use super::value::Columns;
use crate::model::{ConversationId, Notification, OutboxState, PrivateUser, User, UserId, UserName};
use rusqlite::{Connection, Params, Row, params};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::{fs, io};
use uuid::Uuid;

/// The store in numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Overview {
    /// The schema of the file.
    pub schema_version: i64,
    /// Conversations known, in whatever standing.
    pub conversations: u64,
    /// Messages held, removed ones included.
    pub messages: u64,
    /// Numbered events held, births of messages included.
    pub events: u64,
    /// Gaps in all conversations.
    pub gaps: u64,
    /// Positions in these gaps.
    pub missing: u64,
    /// Outbox entries by state; states without any are absent.
    pub outbox: BTreeMap<OutboxState, u64>,
    /// What [`Reader::unreadable`] counts.
    pub unreadable: u64,
    /// Users known.
    pub users: u64,
    /// Size of the main file and its write-ahead log.
    pub bytes: u64,
    /// The number of the newest change.
    pub change: u64,
}

/// Replaces what is known of a user; a private part once known stays when this description has none.
pub(super) fn set_user(connection: &Connection, user: &User) -> Result<(), StoreError> {
    let private = user.private.as_ref();
    connection
        .prepare_cached(
            "INSERT INTO user (id, name, display_name, custom_data, deleted, private_custom_data, notifications,
                 conversations, left_conversations)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
             ON CONFLICT (id) DO UPDATE SET name = excluded.name, display_name = excluded.display_name,
                 custom_data = excluded.custom_data, deleted = excluded.deleted,
                 private_custom_data = coalesce(excluded.private_custom_data, private_custom_data),
                 notifications = coalesce(excluded.notifications, notifications),
                 conversations = coalesce(excluded.conversations, conversations),
                 left_conversations = coalesce(excluded.left_conversations, left_conversations)",
        )
        .and_then(|mut upsert| {
            upsert.execute(params![
                user.id,
                user.name,
                user.display_name,
                user.custom_data,
                user.deleted,
                private.map(|private| &private.custom_data),
                private.map(|private| {
                    private.notifications.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(" ")
                }),
                private.map(|private| uuids_to_bytes(&private.conversations)),
                private.map(|private| uuids_to_bytes(&private.left_conversations))
            ])
        })
        .doing("store a user")?;
    Ok(())
}

/// Forgets the users that cannot be read, so that they are asked for again. Returns who they are.
pub(super) fn forget_unreadable(connection: &Connection) -> Result<Vec<UserId>, StoreError> {
    const DOING: &str = "forget a damaged user";
    let mut forgotten = Vec::new();
    for damage in Reader::new(connection).sift_users()?.damaged {
        let StoreError::Damaged { rowid, .. } = damage else { continue };
        let id = connection
            .prepare_cached("DELETE FROM user WHERE id = ?1 RETURNING id")
            .and_then(|mut delete| delete.query_row([rowid], |row| Ok(row.get::<_, UserId>(0).ok())))
            .doing(DOING)?;
        forgotten.extend(id);
    }
    Ok(forgotten)
}

pub(super) fn set_subscriptions(connection: &Connection, users: &[UserId]) -> Result<(), StoreError> {
    connection
        .prepare_cached("DELETE FROM subscription")
        .and_then(|mut delete| delete.execute([]))
        .doing("forget subscriptions")?;
    subscribe(connection, users)
}

pub(super) fn subscribe(connection: &Connection, users: &[UserId]) -> Result<(), StoreError> {
    const DOING: &str = "store subscriptions";
    let mut insert =
        connection.prepare_cached("INSERT OR IGNORE INTO subscription (user_id) VALUES (?1)").doing(DOING)?;
    users.iter().try_for_each(|user| insert.execute([user]).map(drop)).doing(DOING)
}

pub(super) fn unsubscribe(connection: &Connection, users: &[UserId]) -> Result<(), StoreError> {
    const DOING: &str = "forget subscriptions";
    let mut delete = connection.prepare_cached("DELETE FROM subscription WHERE user_id = ?1").doing(DOING)?;
    users.iter().try_for_each(|user| delete.execute([user]).map(drop)).doing(DOING)
}

fn uuids_to_bytes(ids: &[ConversationId]) -> Vec<u8> {
    ids.iter().flat_map(|id| *id.as_uuid().as_bytes()).collect()
}

fn uuids_from_bytes(bytes: &[u8]) -> Option<Vec<ConversationId>> {
    let (ids, rest) = bytes.as_chunks::<16>();
    rest.is_empty().then(|| ids.iter().map(|id| ConversationId::from_uuid(Uuid::from_bytes(*id))).collect())
}

fn private_of(columns: &Columns<'_>) -> Result<Option<PrivateUser>, StoreError> {
    let Some(custom_data) = columns.get(5, "JSON")? else { return Ok(None) };
    let lists = |place| {
        let bytes: Vec<u8> = columns.get(place, "list of uuids")?;
        uuids_from_bytes(&bytes).ok_or_else(|| columns.damaged("list of uuids"))
    };
    Ok(Some(PrivateUser {
        custom_data,
        notifications: columns
            .text(6, "list of notifications")?
            .split_ascii_whitespace()
            .map(|name| Notification::from_name(name).ok_or_else(|| columns.damaged("list of notifications")))
            .collect::<Result<_, _>>()?,
        conversations: lists(7)?,
        left_conversations: lists(8)?,
    }))
}

/// The columns of `user` in the order that [`user_of`] reads.
macro_rules! user_columns {
    () => {
        "id, name, display_name, custom_data, deleted, private_custom_data, notifications, conversations,
         left_conversations"
    };
}

fn user_of(row: &Row<'_>) -> Result<User, StoreError> {
    let columns = Columns::new(row, "user")?;
    Ok(User {
        id: columns.get(0, "user id")?,
        name: columns.get(1, "user name")?,
        display_name: columns.get(2, "name")?,
        custom_data: columns.get(3, "JSON")?,
        deleted: columns.get(4, "yes or no")?,
        private: private_of(&columns)?,
    })
}

impl Reader<'_> {
    /// Returns a user, or `None` when unknown.
    pub fn user(&self, id: UserId) -> Result<Option<User>, StoreError> {
        let sql = concat!("SELECT ", user_columns!(), " FROM user WHERE id = ?1");
        Ok(self.users(sql, [id])?.whole()?.pop())
    }

    fn users(&self, sql: &str, parameters: impl Params) -> Result<Sifted<User>, StoreError> {
        Sifted::select(self.connection, sql, parameters, "read users", user_of)
    }

    /// Returns whom the user follows, as the server last told, by rising number.
    pub fn subscriptions(&self) -> Result<Vec<UserId>, StoreError> {
        self.connection
            .prepare_cached("SELECT user_id FROM subscription ORDER BY user_id")
            .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
            .doing("read subscriptions")
    }

    /// Returns all users described so far.
    pub(super) fn sift_users(&self) -> Result<Sifted<User>, StoreError> {
        self.users(concat!("SELECT ", user_columns!(), " FROM user ORDER BY id"), [])
    }

    /// Returns the numbers of all users described so far.
    pub(super) fn user_ids(&self) -> Result<BTreeSet<UserId>, StoreError> {
        self.connection
            .prepare_cached("SELECT id FROM user")
            // A number that is none belongs to nobody.
            .and_then(|mut select| {
                select.query_map([], |row| Ok(row.get(0).ok()))?.filter_map(Result::transpose).collect()
            })
            .doing("read who is known")
    }

    /// Returns the user with this name as last described, the newest account first; `None` for an unknown one.
    pub fn user_named(&self, name: &UserName) -> Result<Option<User>, StoreError> {
        let sql = concat!("SELECT ", user_columns!(), " FROM user WHERE name = ?1 ORDER BY id DESC LIMIT 1");
        Ok(self.users(sql, [name])?.whole()?.pop())
    }

    /// Returns how many conversations, outbox entries and wishes cannot be read, and are therefore in no list of them;
    /// [`verify`](Self::verify) names them. Reads all of them, so not for a hot path.
    pub fn unreadable(&self) -> Result<u64, StoreError> {
        let conversations = self.sift_saved_conversations(&mut Vec::new())?.damaged.len();
        Ok((conversations + self.sift_outbox()?.damaged.len() + self.sift_wishes()?.damaged.len()) as u64)
    }

    /// Returns the store in numbers; counts rows, so not for a hot path.
    pub fn overview(&self) -> Result<Overview, StoreError> {
        const DOING: &str = "count what is stored";
        let count = |sql: &'static str| {
            self.connection
                .prepare_cached(sql)
                .and_then(|mut count| count.query_row([], |row| row.get::<_, i64>(0)))
                .map(i64::unsigned_abs)
                .doing(DOING)
        };
        let gaps = self.gaps(None)?;
        let mut outbox = BTreeMap::new();
        for entry in self.outbox()? {
            *outbox.entry(entry.state).or_default() += 1;
        }
        Ok(Overview {
            schema_version: super::schema::SCHEMA_VERSION,
            conversations: count("SELECT count(*) FROM conversation")?,
            messages: count("SELECT count(*) FROM message")?,
            // The birth of an edited message has a row in both tables.
            events: count(
                "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM message) - (SELECT count(*) FROM event WHERE kind = 3)",
            )?,
            gaps: gaps.len() as u64,
            missing: gaps.iter().map(|(_, gap)| u64::from(gap.len())).sum(),
            outbox,
            unreadable: self.unreadable()?,
            users: count("SELECT count(*) FROM user")?,
            bytes: self.file_bytes()?,
            change: super::change::last_number(self.connection)?,
        })
    }

    /// Returns the size of the main file and of its write-ahead log.
    fn file_bytes(&self) -> Result<u64, StoreError> {
        let Some(path) = self.connection.path().filter(|path| !path.is_empty()) else { return Ok(0) };
        let main = PathBuf::from(path);
        let mut log = main.clone().into_os_string();
        log.push("-wal");
        let bytes = |path: PathBuf| match fs::metadata(&path) {
            Ok(metadata) => Ok(metadata.len()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(source) => Err(StoreError::File { path, source }),
        };
        Ok(bytes(main)? + bytes(log.into())?)
    }
}
