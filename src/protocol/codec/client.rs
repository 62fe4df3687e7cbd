//! Messaging requests of a client.
//!
//! The envelope is read first and the payload in a second pass, so that a faulty payload can still be
//! answered by its request.

use super::objects::{Asked, Checked, user_ids};
use super::{ClientFault, rpc};
use crate::model::{
    Action, ConversationConfig, ConversationId, ErrorCode, MessageId, Notification, Participant, RawJson, RequestId,
    UserName,
};
use crate::protocol::wire::{Array, Int, Object, Text, document, object_count, wire_objects};
use crate::protocol::{ClientChat, ClientFrame, Request, UserKey};
use serde::de::{Deserialize, Deserializer, Error};
use serde_json::value::RawValue;

wire_objects! {
    /// Raw throughout: what is wrong with one member must not hide the others.
    Envelope<'de> {
        service = "service": &'de RawValue,
        event = "event": &'de RawValue,
        payload = "payload": &'de RawValue,
        request = "request_uuid": &'de RawValue,
        name = "name": &'de RawValue,
        params = "params": &'de RawValue,
    }

    Nothing<'de> {}

    Config<'de> {
        title = "title": String,
        participants = "participants": Vec<Asked>,
        direct = "direct": bool,
        public_join = "enable_public_join": bool,
        uber = "uber_conversation": bool,
        custom_data = "custom_data": &'de RawValue,
    }

    ConversationEdit<'de> {
        conversation = "uuid": ConversationId,
        title = "title": String,
        public_join = "enable_public_join": bool,
        custom_data = "custom_data": &'de RawValue,
    }

    OneConversation<'de> {
        conversation = "uuid": ConversationId,
    }

    ManyConversations<'de> {
        conversations = "uuid": Vec<ConversationId>,
    }

    Participants<'de> {
        conversation = "uuid": ConversationId,
        participants = "participants": Vec<Asked>,
    }

    Removal<'de> {
        conversation = "uuid": ConversationId,
        users = "participants": Vec<Int>,
    }

    Key<'de> {
        name = "user_name": Text<'de>,
        id = "user_id": Int,
    }

    Keys<'de> {
        users = "users": Vec<Named>,
    }

    UserEdit<'de> {
        custom_data = "custom_data": &'de RawValue,
        private_custom_data = "private_custom_data": &'de RawValue,
    }

    Status<'de> {
        online = "online": bool,
    }

    Users<'de> {
        users = "user_id": Vec<Int>,
        all = "all": bool,
    }

    Notifications<'de> {
        names = "notifications": Vec<Option<&'de RawValue>>,
    }

    Content<'de> {
        message = "uuid": MessageId,
        conversation = "conversation": ConversationId,
        text = "text": String,
        payload = "payload": &'de RawValue,
    }

    Place<'de> {
        conversation = "conversation": ConversationId,
        sequence = "seq": Int,
    }

    Range<'de> {
        conversation = "conversation": ConversationId,
        from = "events_from": Int,
        to = "events_to": Int,
        count = "count": Int,
    }

    Since<'de> {
        cursor = "cursor": String,
    }
}

/// Takes a member that must be there.
macro_rules! required {
    ($object:ident . $field:ident, $wire:literal) => {
        $object.$field.ok_or(concat!($wire, " is missing"))?
    };
}

pub(super) fn decode(text: &str) -> Result<ClientFrame, ClientFault> {
    let fault = |request, action, code, what: &str| ClientFault { request, action, code, what: what.into() };
    let envelope: Envelope<'_> = serde_json::from_str(text).map_err(|_| {
        fault(None, Action::from(""), ErrorCode::MessageStructureIsWrong, "not a JSON object, or a member comes twice")
    })?;
    let request: Option<RequestId> = envelope.request.and_then(|raw| serde_json::from_str(raw.get()).ok());
    let event: Option<Text<'_>> = envelope.event.and_then(|raw| serde_json::from_str(raw.get()).ok());
    if envelope.service.is_none() && (envelope.name.is_some() || envelope.event.is_none()) {
        return rpc::decode_client(envelope.name, envelope.params).map(ClientFrame::Rpc);
    }
    let action = Action::from(event.as_ref().map_or("", |event| &*event.0));
    let wrong = |what: &str| fault(request, action.clone(), ErrorCode::MessageStructureIsWrong, what);
    if envelope.service.is_none_or(|service| service.get() != "\"chat\"") {
        return Err(wrong("service is not chat"));
    }
    let request = request.ok_or_else(|| wrong("request_uuid is no uuid"))?;
    if event.is_none() {
        return Err(wrong("event is no string"));
    }
    let payload = envelope.payload.filter(|payload| payload.get().starts_with('{'));
    let payload = payload.ok_or_else(|| wrong("payload is no object"))?;
    match body(&action, payload) {
        Ok(Some(body)) => Ok(ClientFrame::Chat(ClientChat { request, body })),
        Ok(None) => Err(fault(Some(request), action, ErrorCode::EventNameIsUnknown, "event is unknown")),
        Err(what) => Err(fault(Some(request), action, ErrorCode::SomethingWentWrong, what)),
    }
}

fn read<'a, T: Deserialize<'a>>(payload: &'a RawValue) -> Checked<T> {
    serde_json::from_str(payload.get()).map_err(|_| "a member of the payload is not as it should be, or comes twice")
}

fn object(raw: Option<&RawValue>) -> Checked<Option<RawJson>> {
    match raw {
        Some(raw) if raw.get().starts_with('{') => Ok(Some(RawJson::from_raw(raw))),
        Some(_) => Err("custom data is no object"),
        None => Ok(None),
    }
}

fn objects(raw: Option<&RawValue>) -> Checked<Option<RawJson>> {
    match raw {
        Some(raw) if object_count(raw.get()).is_some() => Ok(Some(RawJson::from_raw(raw))),
        Some(_) => Err("payload is no array of objects"),
        None => Ok(None),
    }
}

fn participants(list: Vec<Asked>) -> Vec<Participant> {
    list.into_iter().map(|asked| asked.0).collect()
}

/// How a look-up names a user. Checked item by item, so that a long list of nothing takes no memory.
pub(super) struct Named(UserKey);

impl<'de> Deserialize<'de> for Named {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let key = Key::deserialize(deserializer)?;
        match (key.name, key.id.map(Int::user)) {
            (Some(Text(name)), _) => Ok(Self(UserKey::Name(UserName::new(&name)))),
            (None, Some(Some(id))) => Ok(Self(UserKey::Id(id))),
            (None, Some(None)) => Err(D::Error::custom("user_id is out of range")),
            (None, None) => Err(D::Error::custom("neither user_name nor user_id")),
        }
    }
}

/// Returns what is asked for; `None` when the action is no request.
fn body(action: &Action, payload: &RawValue) -> Checked<Option<Request>> {
    Ok(Some(match action {
        Action::CreateConversation => {
            let config: Config<'_> = read(payload)?;
            Request::CreateConversation(ConversationConfig {
                title: config.title.unwrap_or_default(),
                participants: participants(config.participants.unwrap_or_default()),
                direct: config.direct.unwrap_or_default(),
                public_join: config.public_join.unwrap_or_default(),
                uber: config.uber.unwrap_or_default(),
                custom_data: object(config.custom_data)?.unwrap_or_else(RawJson::empty_object),
            })
        }
        Action::EditConversation => {
            let edit: ConversationEdit<'_> = read(payload)?;
            Request::EditConversation {
                conversation: required!(edit.conversation, "uuid"),
                title: edit.title,
                public_join: edit.public_join,
                custom_data: object(edit.custom_data)?,
            }
        }
        Action::RemoveConversation => Request::RemoveConversation(one_conversation(payload)?),
        Action::JoinConversation => Request::JoinConversation(one_conversation(payload)?),
        Action::LeaveConversation => Request::LeaveConversation(one_conversation(payload)?),
        Action::GetConversation => Request::GetConversation(one_conversation(payload)?),
        Action::GetConversations => {
            let many: ManyConversations<'_> = read(payload)?;
            Request::GetConversations(required!(many.conversations, "uuid"))
        }
        Action::GetPublicConversations => {
            read::<Nothing<'_>>(payload)?;
            Request::GetPublicConversations
        }
        Action::AddParticipants => {
            let (conversation, participants) = some_participants(payload)?;
            Request::AddParticipants { conversation, participants }
        }
        Action::EditParticipants => {
            let (conversation, participants) = some_participants(payload)?;
            Request::EditParticipants { conversation, participants }
        }
        Action::RemoveParticipants => {
            let removal: Removal<'_> = read(payload)?;
            Request::RemoveParticipants {
                conversation: required!(removal.conversation, "uuid"),
                users: user_ids(removal.users)?,
            }
        }
        Action::GetUser => Request::GetUser(read::<Named>(payload)?.0),
        Action::GetUsers => {
            let keys: Keys<'_> = read(payload)?;
            Request::GetUsers(required!(keys.users, "users").into_iter().map(|named| named.0).collect())
        }
        Action::EditUser => {
            let edit: UserEdit<'_> = read(payload)?;
            Request::EditUser {
                custom_data: object(edit.custom_data)?,
                private_custom_data: object(edit.private_custom_data)?,
            }
        }
        Action::SetStatus => {
            let status: Status<'_> = read(payload)?;
            Request::SetStatus { online: required!(status.online, "online") }
        }
        Action::Subscribe => {
            let users: Users<'_> = read(payload)?;
            Request::Subscribe(user_ids(users.users)?)
        }
        Action::Unsubscribe => {
            let users: Users<'_> = read(payload)?;
            match users.all {
                Some(true) => Request::UnsubscribeAll,
                Some(false) | None => Request::Unsubscribe(user_ids(users.users)?),
            }
        }
        Action::GetSubscriptionList => {
            read::<Nothing<'_>>(payload)?;
            Request::GetSubscriptions
        }
        Action::ManageNotification => {
            let notifications: Notifications<'_> = read(payload)?;
            let names = required!(notifications.names, "notifications").into_iter();
            Request::ManageNotifications(names.map(|name| notification(name?)).collect())
        }
        Action::SendMessage => {
            let content: Content<'_> = read(payload)?;
            Request::SendMessage {
                conversation: required!(content.conversation, "conversation"),
                text: content.text.unwrap_or_default(),
                payload: objects(content.payload)?.filter(|payload| object_count(payload.as_str()) != Some(0)),
            }
        }
        Action::EditMessage => {
            let content: Content<'_> = read(payload)?;
            Request::EditMessage {
                conversation: required!(content.conversation, "conversation"),
                message: required!(content.message, "uuid"),
                text: content.text,
                payload: objects(content.payload)?,
            }
        }
        Action::RemoveMessage => {
            let content: Content<'_> = read(payload)?;
            Request::RemoveMessage {
                conversation: required!(content.conversation, "conversation"),
                message: required!(content.message, "uuid"),
            }
        }
        Action::TypingMessage => {
            let place: Place<'_> = read(payload)?;
            Request::Typing(required!(place.conversation, "conversation"))
        }
        Action::IsRead => {
            let place: Place<'_> = read(payload)?;
            Request::MarkAsRead {
                conversation: required!(place.conversation, "conversation"),
                sequence: required!(place.sequence, "seq").saturated(),
            }
        }
        Action::RetransmitEvents => {
            let range: Range<'_> = read(payload)?;
            Request::RetransmitEvents {
                conversation: required!(range.conversation, "conversation"),
                from: range.from.map(Int::saturated),
                to: range.to.map(Int::saturated),
                count: range.count.map(Int::saturated),
            }
        }
        Action::HeadsSince => Request::HeadsSince { cursor: read::<Since<'_>>(payload)?.cursor },
        Action::RemoveEmptyConversation | Action::Other(_) => return Ok(None),
    }))
}

fn one_conversation(payload: &RawValue) -> Checked<ConversationId> {
    let one: OneConversation<'_> = read(payload)?;
    Ok(required!(one.conversation, "uuid"))
}

fn some_participants(payload: &RawValue) -> Checked<(ConversationId, Vec<Participant>)> {
    let some: Participants<'_> = read(payload)?;
    let list = required!(some.participants, "participants");
    Ok((required!(some.conversation, "uuid"), participants(list)))
}

fn notification(name: &RawValue) -> Option<Notification> {
    let Text(name) = serde_json::from_str(name.get()).ok()?;
    Notification::from_name(&name)
}

/// Returns the type that the service expects, which is named after the action with few exceptions.
const fn type_name(request: &Request) -> &'static str {
    match request {
        Request::CreateConversation(_) => "type/vox.store.IncomingNamespace.CreateConversation",
        Request::EditConversation { .. } => "type/vox.store.IncomingNamespace.EditConversation",
        Request::RemoveConversation(_) => "type/vox.store.IncomingNamespace.RemoveConversation",
        Request::JoinConversation(_) => "type/vox.store.IncomingNamespace.JoinConversation",
        Request::LeaveConversation(_) => "type/vox.store.IncomingNamespace.LeaveConversation",
        Request::GetConversation(_) => "type/vox.store.IncomingNamespace.GetConversation",
        Request::GetConversations(_) | Request::GetPublicConversations => {
            "type/vox.store.IncomingNamespace.GetConversations"
        }
        Request::AddParticipants { .. } | Request::EditParticipants { .. } => {
            "type/vox.store.IncomingNamespace.ManageParticipants"
        }
        Request::RemoveParticipants { .. } => "type/vox.store.IncomingNamespace.RemoveParticipants",
        Request::GetUser(_) => "type/vox.store.IncomingNamespace.GetUser",
        Request::GetUsers(_) => "type/vox.store.IncomingNamespace.GetUsers",
        Request::EditUser { .. } => "type/vox.store.IncomingNamespace.EditUser",
        Request::SetStatus { .. } => "type/vox.store.CommonNamespace.PresenceMessage",
        Request::Subscribe(_) | Request::Unsubscribe(_) | Request::UnsubscribeAll => {
            "type/vox.store.CommonNamespace.ManageSubscribes"
        }
        Request::GetSubscriptions => "type/vox.store.IncomingNamespace.GetSubscriptionList",
        Request::ManageNotifications(_) => "type/vox.store.IncomingNamespace.ManageNotifications",
        Request::SendMessage { .. } => "type/vox.store.IncomingNamespace.SendMessage",
        Request::EditMessage { .. } => "type/vox.store.IncomingNamespace.EditMessage",
        Request::RemoveMessage { .. } => "type/vox.store.IncomingNamespace.RemoveMessage",
        Request::Typing(_) => "type/vox.store.CommonNamespace.TypingMessage",
        Request::MarkAsRead { .. } => "type/vox.store.CommonNamespace.StatusMessage",
        Request::RetransmitEvents { .. } => "type/vox.store.IncomingNamespace.RetransmitRequest",
        // Ours alone: named as the service would have named it.
        Request::HeadsSince { .. } => "type/vox.store.IncomingNamespace.HeadsSince",
    }
}

pub(super) fn encode(chat: &ClientChat) -> String {
    document(|frame| {
        frame.member("service", "chat");
        frame.member("event", chat.body.action().name());
        frame.object("payload", |payload| {
            write_body(payload, &chat.body);
            payload.member("@type", type_name(&chat.body));
        });
        frame.member("request_uuid", &chat.request);
    })
}

fn write_participants(payload: &mut Object<'_>, participants: &[Participant]) {
    payload.array("participants", |list| {
        for participant in participants {
            list.object(|object| {
                object.member("user_id", &participant.user);
                object.member("flags", &participant.permissions.bits());
            });
        }
    });
}

fn write_key(object: &mut Object<'_>, key: &UserKey) {
    match key {
        UserKey::Name(name) => object.member("user_name", name),
        UserKey::Id(id) => object.member("user_id", id),
    }
}

fn write_body(payload: &mut Object<'_>, request: &Request) {
    match request {
        Request::CreateConversation(config) => {
            write_participants(payload, &config.participants);
            payload.member("title", &config.title);
            payload.member("direct", &config.direct);
            payload.member("enable_public_join", &config.public_join);
            if config.uber {
                payload.member("uber_conversation", &true);
            }
            payload.raw("custom_data", &config.custom_data);
        }
        Request::EditConversation { conversation, title, public_join, custom_data } => {
            payload.member("uuid", conversation);
            payload.optional("title", title);
            payload.optional("enable_public_join", public_join);
            payload.optional("custom_data", custom_data);
        }
        Request::RemoveConversation(conversation)
        | Request::JoinConversation(conversation)
        | Request::LeaveConversation(conversation)
        | Request::GetConversation(conversation) => payload.member("uuid", conversation),
        Request::GetConversations(conversations) => payload.member("uuid", conversations),
        Request::GetPublicConversations | Request::GetSubscriptions => {}
        Request::AddParticipants { conversation, participants }
        | Request::EditParticipants { conversation, participants } => {
            payload.member("uuid", conversation);
            write_participants(payload, participants);
        }
        Request::RemoveParticipants { conversation, users } => {
            payload.member("uuid", conversation);
            payload.member("participants", users);
        }
        Request::GetUser(key) => write_key(payload, key),
        Request::GetUsers(keys) => payload.array("users", |list| {
            keys.iter().for_each(|key| list.object(|object| write_key(object, key)));
        }),
        Request::EditUser { custom_data, private_custom_data } => {
            payload.optional("custom_data", custom_data);
            payload.optional("private_custom_data", private_custom_data);
        }
        Request::SetStatus { online } => payload.member("online", online),
        Request::Subscribe(users) | Request::Unsubscribe(users) => payload.member("user_id", users),
        Request::UnsubscribeAll => {
            payload.array("user_id", |_: &mut Array<'_>| {});
            payload.member("all", &true);
        }
        Request::ManageNotifications(kinds) => payload.array("notifications", |list| {
            kinds.iter().for_each(|kind| list.item(&kind.map(Notification::name)));
        }),
        Request::SendMessage { conversation, text, payload: objects } => {
            payload.member("text", text);
            payload.member("conversation", conversation);
            match objects {
                Some(objects) => payload.raw("payload", objects),
                None => payload.array("payload", |_: &mut Array<'_>| {}),
            }
        }
        Request::EditMessage { conversation, message, text, payload: objects } => {
            payload.optional("text", text);
            payload.member("conversation", conversation);
            payload.optional("payload", objects);
            payload.member("uuid", message);
        }
        Request::RemoveMessage { conversation, message } => {
            payload.member("uuid", message);
            payload.member("conversation", conversation);
        }
        Request::Typing(conversation) => payload.member("conversation", conversation),
        Request::MarkAsRead { conversation, sequence } => {
            payload.member("conversation", conversation);
            payload.member("seq", sequence);
        }
        Request::RetransmitEvents { conversation, from, to, count } => {
            payload.member("conversation", conversation);
            payload.optional("events_from", from);
            payload.optional("events_to", to);
            payload.optional("count", count);
        }
        Request::HeadsSince { cursor } => payload.optional("cursor", cursor),
    }
}
