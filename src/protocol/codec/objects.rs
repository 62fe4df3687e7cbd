//! The objects that servers describe, as on the wire and as in the model.

use crate::model::{
    Conversation, ConversationId, MessageContent, MessageId, Notification, Participant, Permissions, PrivateUser,
    RawJson, Sequence, Timestamp, User, UserId, UserName,
};
use crate::protocol::wire::{Array, Int, Listed, Members, Object, Text, Time, object_count, wire_objects};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

/// A value, or which member of the frame cannot be right and why.
pub(super) type Checked<T> = Result<T, &'static str>;

wire_objects! {
    ConversationObject<'de> {
        uuid = "uuid": ConversationId,
        title = "title": String,
        participants = "participants": Listed<Described>,
        direct = "direct": bool,
        public_join = "enable_public_join": bool,
        uber = "uber_conversation": bool,
        custom_data = "custom_data": &'de RawValue,
        created_at = "created_at": Time,
        last_update = "last_update": Time,
    }

    ParticipantObject<'de> {
        user = "user_id": Int,
        flags = "flags": Int,
        last_read = "last_read": Int,
    }

    UserObject<'de> {
        id = "user_id": Int,
        name = "user_name": Text<'de>,
        display_name = "display_name": String,
        custom_data = "custom_data": &'de RawValue,
        deleted = "deleted": bool,
        private_custom_data = "private_custom_data": &'de RawValue,
        notifications = "notification_events": Vec<Text<'de>>,
        conversations = "conversations_list": Vec<ConversationId>,
        left_conversations = "leave_conversations": Vec<ConversationId>,
    }

    MessageObject<'de> {
        uuid = "uuid": MessageId,
        conversation = "conversation": ConversationId,
        text = "text": String,
        payload = "payload": &'de RawValue,
    }
}

pub(super) fn user_id(number: Option<Int>) -> Checked<Option<UserId>> {
    number.map(|number| number.user().ok_or("a user id is out of range")).transpose()
}

pub(super) fn user_ids(numbers: Option<Vec<Int>>) -> Checked<Vec<UserId>> {
    let numbers = numbers.ok_or("the list of users is missing")?;
    numbers.into_iter().map(|number| number.user().ok_or("a user id is out of range")).collect()
}

pub(super) fn sequence(number: Option<Int>) -> Checked<Option<Sequence>> {
    number.map(|number| number.sequence().ok_or("a sequence is out of range")).transpose()
}

pub(super) fn time(time: Option<Time>) -> Option<Timestamp> {
    time.and_then(Time::get)
}

/// Takes custom data; what is no object counts as an empty one.
fn custom_data(raw: Option<&RawValue>) -> RawJson {
    match raw {
        Some(raw) if raw.get().starts_with('{') => RawJson::from_raw(raw),
        _ => RawJson::empty_object(),
    }
}

impl ConversationObject<'_> {
    /// Returns the conversation, and the members this version does not know.
    pub(super) fn read(self, last_sequence: Sequence) -> Checked<(Conversation, Members)> {
        let participants = self.participants.map_or(Vec::new(), |list| list.0);
        let conversation = Conversation {
            id: self.uuid.ok_or("object.uuid is missing")?,
            title: self.title.unwrap_or_default(),
            participants: participants.into_iter().map(|described| described.0).collect(),
            direct: self.direct.unwrap_or_default(),
            public_join: self.public_join.unwrap_or_default(),
            uber: self.uber.unwrap_or_default(),
            custom_data: custom_data(self.custom_data),
            created_at: time(self.created_at).unwrap_or_default(),
            last_update: time(self.last_update).unwrap_or_default(),
            last_sequence,
        };
        Ok((conversation, self.unknown))
    }
}

/// A participant as a server describes one. Checked item by item, so that a long list of nothing takes no memory.
pub(super) struct Described(Participant);

impl<'de> Deserialize<'de> for Described {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = ParticipantObject::deserialize(deserializer)?;
        let last_read = sequence(object.last_read).map_err(D::Error::custom)?.unwrap_or_default();
        let participant = object.read(Some(Permissions::NONE)).map_err(D::Error::custom)?;
        Ok(Self(Participant { last_read, ..participant }))
    }
}

/// A participant as a client asks for one: with rights, and without a read mark.
pub(super) struct Asked(pub(super) Participant);

impl<'de> Deserialize<'de> for Asked {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let object = ParticipantObject::deserialize(deserializer)?;
        object.read(None).map(Self).map_err(D::Error::custom)
    }
}

impl ParticipantObject<'_> {
    fn read(&self, unsaid: Option<Permissions>) -> Checked<Participant> {
        let user = user_id(self.user)?.ok_or("a participant's user_id is missing")?;
        let permissions = match self.flags {
            Some(flags) => flags.permissions().ok_or("a participant's flags are out of range")?,
            None => unsaid.ok_or("a participant's flags are missing")?,
        };
        Ok(Participant::new(user).with_permissions(permissions))
    }
}

impl UserObject<'_> {
    /// Returns the user, and the members this version does not know. Unknown kinds of notification are left out.
    pub(super) fn read(self) -> Checked<(User, Members)> {
        let is_private = self.private_custom_data.is_some()
            || self.notifications.is_some()
            || self.conversations.is_some()
            || self.left_conversations.is_some();
        let kinds = self.notifications.unwrap_or_default();
        let private = is_private.then(|| PrivateUser {
            custom_data: custom_data(self.private_custom_data),
            notifications: kinds.iter().filter_map(|kind| Notification::from_name(&kind.0)).collect(),
            conversations: self.conversations.unwrap_or_default(),
            left_conversations: self.left_conversations.unwrap_or_default(),
        });
        let user = User {
            id: user_id(self.id)?.ok_or("object.user_id is missing")?,
            name: UserName::new(&self.name.ok_or("object.user_name is missing")?.0),
            display_name: self.display_name.unwrap_or_default(),
            custom_data: custom_data(self.custom_data),
            deleted: self.deleted.unwrap_or_default(),
            private,
        };
        Ok((user, self.unknown))
    }
}

impl MessageObject<'_> {
    /// Returns the content, and the members this version does not know.
    pub(super) fn read(self) -> Checked<(ConversationId, MessageContent, Members)> {
        let payload = self.payload.filter(|payload| object_count(payload.get()).is_some_and(|count| count > 0));
        let content = MessageContent {
            id: self.uuid.ok_or("object.uuid is missing")?,
            text: self.text.unwrap_or_default(),
            payload: payload.map(RawJson::from_raw),
        };
        Ok((self.conversation.ok_or("object.conversation is missing")?, content, self.unknown))
    }
}

pub(super) fn write_conversation(object: &mut Object<'_>, conversation: &Conversation) {
    object.member("uuid", &conversation.id);
    object.member("title", &conversation.title);
    object.member("direct", &conversation.direct);
    object.member("enable_public_join", &conversation.public_join);
    object.member("uber_conversation", &conversation.uber);
    object.raw("custom_data", &conversation.custom_data);
    object.member("created_at", &conversation.created_at);
    object.member("last_update", &conversation.last_update);
    object.array("participants", |list| {
        for participant in &conversation.participants {
            list.object(|object| {
                object.member("user_id", &participant.user);
                object.member("flags", &participant.permissions.bits());
                object.member("last_read", &participant.last_read);
            });
        }
    });
}

pub(super) fn write_user(object: &mut Object<'_>, user: &User) {
    object.member("user_id", &user.id);
    object.member("user_name", &user.name);
    object.member("display_name", &user.display_name);
    object.raw("custom_data", &user.custom_data);
    object.member("deleted", &user.deleted);
    let Some(private) = &user.private else { return };
    object.raw("private_custom_data", &private.custom_data);
    object.array("notification_events", |list| private.notifications.iter().for_each(|kind| list.item(kind.name())));
    object.member("conversations_list", &private.conversations);
    object.member("leave_conversations", &private.left_conversations);
}

pub(super) fn write_message(object: &mut Object<'_>, conversation: ConversationId, content: &MessageContent) {
    object.member("uuid", &content.id);
    object.member("conversation", &conversation);
    object.member("text", &content.text);
    match &content.payload {
        Some(payload) => object.raw("payload", payload),
        None => object.array("payload", |_: &mut Array<'_>| {}),
    }
}
