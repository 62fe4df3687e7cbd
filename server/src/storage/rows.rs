//! Rows to values and back. What cannot be read is an error naming the column, never a default.

use super::{Stay, StorageError, StoredConversation};
use backscroll::model::{
    Action, Conversation, ConversationConfig, ConversationId, Event, EventBody, MessageContent, MessageId,
    Notification, Participant, Permissions, RawJson, Sequence, Timestamp, User, UserId, UserName,
};
use rusqlite::{Row, types::Type};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Returns what an id column holds.
pub(super) const fn key(id: &Uuid) -> &[u8] {
    id.as_bytes().as_slice()
}

/// Returns what an account column holds.
pub(super) const fn number(user: UserId) -> i64 {
    // Never negative: a `UserId` is at most `i64::MAX`.
    user.get().cast_signed()
}

fn unreadable(row: &Row<'_>, column: &str, expected: &'static str) -> rusqlite::Error {
    let index = row.as_ref().column_index(column).unwrap_or_default();
    rusqlite::Error::FromSqlConversionFailure(index, Type::Null, expected.into())
}

pub(super) fn uuid(row: &Row<'_>, column: &str) -> rusqlite::Result<Uuid> {
    row.get::<_, [u8; 16]>(column).map(Uuid::from_bytes)
}

pub(super) fn user_id(row: &Row<'_>, column: &str) -> rusqlite::Result<UserId> {
    let number = u64::try_from(row.get::<_, i64>(column)?).ok().and_then(UserId::new);
    number.ok_or_else(|| unreadable(row, column, "a user id"))
}

pub(super) fn json(row: &Row<'_>, column: &str) -> rusqlite::Result<RawJson> {
    let text: String = row.get(column)?;
    RawJson::new(&text).map_err(|_| unreadable(row, column, "JSON"))
}

pub(super) fn notifications(row: &Row<'_>) -> rusqlite::Result<Vec<Notification>> {
    let column = "notifications";
    let names: Vec<String> = json(row, column)?.parse().map_err(|_| unreadable(row, column, "an array of names"))?;
    let kinds = names.iter().map(|name| Notification::from_name(name)).collect::<Option<_>>();
    kinds.ok_or_else(|| unreadable(row, column, "kinds of notification"))
}

pub(super) fn user(row: &Row<'_>) -> rusqlite::Result<User> {
    Ok(User {
        id: user_id(row, "id")?,
        name: UserName::new(row.get_ref("name")?.as_str()?),
        display_name: row.get("display_name")?,
        custom_data: json(row, "custom_data")?,
        deleted: row.get("deleted")?,
        private: None,
    })
}

/// Reads a conversation without its participants.
pub(super) fn conversation(row: &Row<'_>) -> rusqlite::Result<StoredConversation> {
    let config = ConversationConfig {
        title: row.get("title")?,
        participants: Vec::new(),
        direct: row.get("direct")?,
        public_join: row.get("public_join")?,
        uber: row.get("uber")?,
        custom_data: json(row, "custom_data")?,
    };
    let conversation = Conversation::recreate(
        ConversationId::from_uuid(uuid(row, "id")?),
        config,
        Sequence(row.get("head")?),
        Timestamp(row.get("last_update")?),
        Timestamp(row.get("created_at")?),
    );
    Ok(StoredConversation { conversation, removed: row.get("removed")? })
}

pub(super) fn participant(row: &Row<'_>) -> rusqlite::Result<Participant> {
    Ok(Participant {
        user: user_id(row, "account")?,
        permissions: Permissions::from_bits(row.get("permissions")?),
        last_read: Sequence(row.get("last_read")?),
    })
}

pub(super) fn stay(row: &Row<'_>) -> rusqlite::Result<Stay> {
    Ok(Stay {
        joined: Sequence(row.get("joined_at")?),
        left: row.get::<_, Option<u32>>("left_at")?.map(Sequence),
        last_read: Sequence(row.get("last_read")?),
    })
}

pub(super) fn event(row: &Row<'_>) -> rusqlite::Result<Event> {
    let conversation = ConversationId::from_uuid(uuid(row, "conversation")?);
    let sequence = Sequence(row.get("sequence")?);
    let body = match row.get_ref("kind")?.as_str()? {
        "onCreateConversation" => EventBody::ConversationCreated(Box::new(described(row, conversation, sequence)?)),
        "onEditConversation" => EventBody::ConversationEdited(Box::new(described(row, conversation, sequence)?)),
        "onRemoveConversation" => EventBody::ConversationRemoved,
        "onSendMessage" => EventBody::MessageSent(content(row)?),
        "onEditMessage" => EventBody::MessageEdited(content(row)?),
        "onRemoveMessage" => EventBody::MessageRemoved(MessageId::from_uuid(uuid(row, "message")?)),
        _ => return Err(unreadable(row, "kind", "a kind of event")),
    };
    Ok(Event {
        conversation,
        sequence,
        action: Action::from(row.get_ref("action")?.as_str()?),
        initiator: user_id(row, "initiator")?,
        timestamp: Timestamp(row.get("timestamp")?),
        body,
        unknown: None,
    })
}

fn content(row: &Row<'_>) -> rusqlite::Result<MessageContent> {
    let has_payload = row.get_ref("payload")?.data_type() != Type::Null;
    Ok(MessageContent {
        id: MessageId::from_uuid(uuid(row, "message")?),
        text: row.get("text")?,
        payload: has_payload.then(|| json(row, "payload")).transpose()?,
    })
}

fn described(row: &Row<'_>, id: ConversationId, sequence: Sequence) -> rusqlite::Result<Conversation> {
    let text = row.get_ref("description")?.as_str()?;
    let snapshot: Snapshot =
        serde_json::from_str(text).map_err(|_| unreadable(row, "description", "a description of a conversation"))?;
    Ok(snapshot.into_conversation(id, sequence))
}

/// A conversation as it was after an event: the JSON of the `description` column.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Snapshot {
    title: String,
    /// Number, rights and read mark of each, in order.
    participants: Vec<(UserId, u32, Sequence)>,
    direct: bool,
    public_join: bool,
    uber: bool,
    custom_data: RawJson,
    created_at: Timestamp,
    last_update: Timestamp,
}

impl Snapshot {
    /// Writes a conversation as the column holds it.
    pub(super) fn of(conversation: &Conversation) -> Result<String, StorageError> {
        let participants = conversation.participants.iter();
        let snapshot = Self {
            title: conversation.title.clone(),
            participants: participants.map(|one| (one.user, one.permissions.bits(), one.last_read)).collect(),
            direct: conversation.direct,
            public_join: conversation.public_join,
            uber: conversation.uber,
            custom_data: conversation.custom_data.clone(),
            created_at: conversation.created_at,
            last_update: conversation.last_update,
        };
        serde_json::to_string(&snapshot)
            .map_err(|_| StorageError::Damaged { table: "event", expected: "description of a conversation" })
    }

    fn into_conversation(self, id: ConversationId, sequence: Sequence) -> Conversation {
        let participants = self.participants.into_iter().map(|(user, bits, last_read)| Participant {
            user,
            permissions: Permissions::from_bits(bits),
            last_read,
        });
        let config = ConversationConfig {
            title: self.title,
            participants: participants.collect(),
            direct: self.direct,
            public_join: self.public_join,
            uber: self.uber,
            custom_data: self.custom_data,
        };
        Conversation::recreate(id, config, sequence, self.last_update, self.created_at)
    }
}
