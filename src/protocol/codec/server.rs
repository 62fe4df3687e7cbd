//! Messaging frames of a server.
//!
//! A frame is read in one pass: the event's name, which stands before the payload, says which shape the
//! payload has. A payload that comes before its name is kept as text and read in a second pass.

mod write;

pub(super) use write::encode;

use super::objects::{Checked, ConversationObject, MessageObject, UserObject, sequence, time, user_id, user_ids};
use super::{DecodeError, rpc};
use crate::model::{
    Action, Conversation, ConversationId, ErrorCode, Event, EventBody, MessageContent, MessageId, MessagingError,
    RawJson, RequestId, Sequence, Timestamp, UserId,
};
use crate::protocol::wire::{Int, Members, Text, Time, by_place, wire_objects};
use crate::protocol::{Head, Header, Push, ServerChat, ServerFrame};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;

/// Stands for who caused an event that names nobody.
const NOBODY: UserId = UserId::new(0).expect("0 is in range");

macro_rules! kinds {
    ($($kind:ident = $name:literal: $payload:ty,)*) => {
        /// Which event a frame is about, and with it the shape of the payload.
        #[derive(Clone, Copy, PartialEq, Eq)]
        enum Kind {
            $($kind,)*
            Unknown,
        }

        impl Kind {
            fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$kind,)*
                    _ => Self::Unknown,
                }
            }
        }

        /// The payload of a frame in the shape of its event.
        enum Payload<'de> {
            $($kind($payload),)*
            /// An unknown event, or one whose name has not been read yet.
            Unknown(&'de RawValue),
        }

        /// Reads a payload of a kind into its place.
        struct FillPayload<'a, 'de> {
            kind: Kind,
            payload: &'a mut Option<Payload<'de>>,
        }

        impl<'de> DeserializeSeed<'de> for FillPayload<'_, 'de> {
            type Value = ();

            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
                *self.payload = Some(match self.kind {
                    $(Kind::$kind => Payload::$kind(Deserialize::deserialize(deserializer)?),)*
                    Kind::Unknown => Payload::Unknown(Deserialize::deserialize(deserializer)?),
                });
                Ok(())
            }
        }
    };
}

kinds! {
    ConversationCreated = "onCreateConversation": Numbered<'de, Box<ConversationObject<'de>>>,
    ConversationEdited = "onEditConversation": Numbered<'de, Box<ConversationObject<'de>>>,
    ConversationRemoved = "onRemoveConversation": Numbered<'de, RemovedObject<'de>>,
    Conversation = "onGetConversation": Numbered<'de, Box<ConversationObject<'de>>>,
    MessageSent = "onSendMessage": Numbered<'de, MessageObject<'de>>,
    MessageEdited = "onEditMessage": Numbered<'de, MessageObject<'de>>,
    MessageRemoved = "onRemoveMessage": Numbered<'de, RemovedMessageObject<'de>>,
    PublicConversations = "onGetPublicConversations": Told<'de, PublicObject<'de>>,
    User = "onGetUser": Told<'de, Box<UserObject<'de>>>,
    UserEdited = "onEditUser": Told<'de, Box<UserObject<'de>>>,
    Status = "onSetStatus": Told<'de, StatusObject<'de>>,
    Subscribed = "onSubscribe": Told<'de, UsersObject<'de>>,
    Unsubscribed = "onUnsubscribe": Told<'de, UsersObject<'de>>,
    Subscriptions = "onGetSubscriptionList": Told<'de, SubscriptionsObject<'de>>,
    Typing = "onTyping": Told<'de, TypingObject<'de>>,
    Read = "isRead": Told<'de, ReadObject<'de>>,
    Retransmitted = "onRetransmitEvents": RetransmitPayload<'de>,
    HeadsSince = "onHeadsSince": Told<'de, HeadsObject<'de>>,
    Error = "onError": ErrorPayload<'de>,
}

impl Kind {
    /// Returns whether it happens in a conversation and has a number there.
    const fn is_numbered(self) -> bool {
        matches!(
            self,
            Self::ConversationCreated
                | Self::ConversationEdited
                | Self::ConversationRemoved
                | Self::MessageSent
                | Self::MessageEdited
                | Self::MessageRemoved
        )
    }
}

wire_objects! {
    /// The payload of what has a number, and of a conversation, which tells the newest one.
    Numbered<'de, O> {
        action = "on_incoming_event": Text<'de>,
        initiator = "initiator": Int,
        object = "object": O,
        sequence = "seq": Int,
        timestamp = "timestamp": Time,
    }

    /// The payload of what has no number.
    Told<'de, O> {
        action = "on_incoming_event": Text<'de>,
        initiator = "initiator": Int,
        object = "object": O,
        timestamp = "timestamp": Time,
    }

    RetransmitPayload<'de> {
        action = "on_incoming_event": Text<'de>,
        initiator = "initiator": Int,
        object = "object": OldFrame<'de>,
        timestamp = "timestamp": Time,
        from = "from_seq": Int,
        to = "to_seq": Int,
        count = "count": Int,
    }

    ErrorPayload<'de> {
        action = "on_incoming_event": Text<'de>,
        initiator = "initiator": Int,
        code = "code": Int,
        description = "description": String,
        timestamp = "timestamp": Time,
    }

    RemovedObject<'de> {
        uuid = "uuid": ConversationId,
    }

    RemovedMessageObject<'de> {
        uuid = "uuid": MessageId,
        conversation = "conversation": ConversationId,
    }

    PublicObject<'de> {
        uuids = "uuid": Vec<ConversationId>,
    }

    StatusObject<'de> {
        online = "online": bool,
    }

    UsersObject<'de> {
        users = "user_id": Vec<Int>,
    }

    SubscriptionsObject<'de> {
        users = "subscriptions": Vec<Int>,
    }

    TypingObject<'de> {
        conversation = "conversation": ConversationId,
    }

    ReadObject<'de> {
        conversation = "conversation": ConversationId,
        sequence = "seq": Int,
    }

    HeadsObject<'de> {
        heads = "heads": Vec<HeadObject<'de>>,
        cursor = "cursor": String,
    }

    HeadObject<'de> {
        conversation = "uuid": ConversationId,
        sequence = "seq": Int,
    }

    /// Where an event of an unknown kind may have happened.
    UnknownObject<'de> {
        conversation = "conversation": &'de RawValue,
        uuid = "uuid": &'de RawValue,
    }
}

/// The members of a frame, whatever kind of frame it is.
#[derive(Default)]
struct Envelope<'de> {
    service: Option<&'de RawValue>,
    event: Option<Text<'de>>,
    payload: Option<Payload<'de>>,
    request: Option<&'de RawValue>,
    name: Option<&'de RawValue>,
    params: Option<&'de RawValue>,
    unknown: Members,
}

/// Which frame of a text is meant: the whole, or the one that a retransmission holds.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Age {
    New,
    Old,
}

impl Age {
    /// Returns the kind of an event. Of old events only the numbered ones are read, so that no frame
    /// holds a frame that holds a frame.
    fn kind(self, event: &str) -> Kind {
        let kind = Kind::from_name(event);
        if self == Self::New || kind.is_numbered() { kind } else { Kind::Unknown }
    }
}

/// The frame inside a retransmission: one that a server sent, or might have sent, before.
pub(super) struct OldFrame<'de>(Box<Envelope<'de>>);

impl<'de> Deserialize<'de> for OldFrame<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut frame = Box::default();
        deserializer.deserialize_map(Fill { age: Age::Old, frame: &mut frame })?;
        Ok(Self(frame))
    }
}

/// Reads a frame into its place. By value each frame would be moved four times on its way up, which was
/// a good part of the time that reading it takes.
struct Fill<'a, 'de> {
    age: Age,
    frame: &'a mut Envelope<'de>,
}

fn once<E: Error>(is_taken: bool, name: &'static str) -> Result<(), E> {
    if is_taken { Err(E::duplicate_field(name)) } else { Ok(()) }
}

impl<'de> Visitor<'de> for Fill<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        let Self { age, frame } = self;
        while let Some(Text(key)) = members.next_key()? {
            match &*key {
                "service" => {
                    once(frame.service.is_some(), "service")?;
                    frame.service = Some(members.next_value()?);
                }
                "event" => {
                    once(frame.event.is_some(), "event")?;
                    frame.event = Some(members.next_value()?);
                }
                "payload" => {
                    once(frame.payload.is_some(), "payload")?;
                    let kind = frame.event.as_ref().map_or(Kind::Unknown, |event| age.kind(&event.0));
                    members.next_value_seed(FillPayload { kind, payload: &mut frame.payload })?;
                }
                "request_uuid" if age == Age::New => {
                    once(frame.request.is_some(), "request_uuid")?;
                    frame.request = Some(members.next_value()?);
                }
                "name" if age == Age::New && frame.service.is_none() => {
                    once(frame.name.is_some(), "name")?;
                    frame.name = Some(members.next_value()?);
                }
                "params" if age == Age::New && frame.service.is_none() => {
                    once(frame.params.is_some(), "params")?;
                    frame.params = Some(members.next_value()?);
                }
                "@type" => _ = members.next_value::<serde::de::IgnoredAny>()?,
                other => frame.unknown.push(other, members.next_value()?),
            }
        }
        Ok(())
    }
}

impl<'de> Envelope<'de> {
    fn read(&mut self, text: &'de str) -> serde_json::Result<()> {
        let mut json = serde_json::Deserializer::from_str(text);
        json.deserialize_map(Fill { age: Age::New, frame: self })?;
        json.end()?;
        self.settle(Age::New)
    }

    /// Reads payloads that came before the name of their event.
    fn settle(&mut self, age: Age) -> serde_json::Result<()> {
        if let (Some(event), Some(Payload::Unknown(raw))) = (&self.event, &self.payload) {
            let kind = age.kind(&event.0);
            if kind != Kind::Unknown {
                let mut json = serde_json::Deserializer::from_str(raw.get());
                FillPayload { kind, payload: &mut self.payload }.deserialize(&mut json)?;
            }
        }
        if let Some(Payload::Retransmitted(RetransmitPayload { object: Some(old), .. })) = &mut self.payload {
            old.0.settle(Age::Old)?;
        }
        Ok(())
    }

    /// Returns the request the frame answers; a mark that no request of ours can have is kept as unknown.
    fn request(&mut self) -> Option<RequestId> {
        let raw = self.request.filter(|raw| raw.get() != "null")?;
        // Nobody escapes the digits of a uuid; whoever does gets the second look.
        let digits = raw.get().strip_prefix('"').and_then(|text| text.strip_suffix('"'));
        let plain = digits.and_then(|digits| digits.parse().ok());
        let request = plain.or_else(|| serde_json::from_str(raw.get()).ok());
        if request.is_none() {
            self.unknown.push("request_uuid", raw);
        }
        request
    }
}

/// What stands in a payload next to the object.
struct Cause {
    action: Action,
    initiator: Option<UserId>,
    timestamp: Option<Timestamp>,
    envelope: Members,
    payload: Members,
}

impl Cause {
    fn read(
        action: Option<Text<'_>>,
        initiator: Option<Int>,
        timestamp: Option<Time>,
        envelope: Members,
        payload: Members,
    ) -> Checked<Self> {
        let action = Action::from(action.as_ref().map_or("", |action| &*action.0));
        Ok(Self { action, initiator: user_id(initiator)?, timestamp: time(timestamp), envelope, payload })
    }

    fn into_header(self, object: Members) -> Header {
        let Self { action, initiator, timestamp, envelope, payload } = self;
        Header { action, initiator, timestamp, unknown: by_place(envelope, payload, object) }
    }

    /// Returns an event; one without an initiator was caused by nobody, whose number is 0.
    fn into_event(self, conversation: ConversationId, sequence: Sequence, body: EventBody, object: Members) -> Event {
        let Self { action, initiator, timestamp, envelope, payload } = self;
        Event {
            conversation,
            sequence,
            action,
            initiator: initiator.unwrap_or(NOBODY),
            timestamp: timestamp.unwrap_or_default(),
            body,
            unknown: by_place(envelope, payload, object),
        }
    }
}

impl<O> Numbered<'_, O> {
    fn open(self, envelope: Members) -> Checked<(Cause, Option<Sequence>, O)> {
        let object = self.object.ok_or("object is missing")?;
        let cause = Cause::read(self.action, self.initiator, self.timestamp, envelope, self.unknown)?;
        Ok((cause, sequence(self.sequence)?, object))
    }
}

impl<O> Told<'_, O> {
    fn open(self, envelope: Members) -> Checked<(Cause, O)> {
        let object = self.object.ok_or("object is missing")?;
        Ok((Cause::read(self.action, self.initiator, self.timestamp, envelope, self.unknown)?, object))
    }
}

impl HeadObject<'_> {
    fn read(self) -> Checked<Head> {
        let conversation = self.conversation.ok_or("object.heads.uuid is missing")?;
        Ok(Head { conversation, sequence: sequence(self.sequence)?.ok_or("object.heads.seq is missing")? })
    }
}

fn position(sequence: Option<Sequence>) -> Checked<Sequence> {
    sequence.filter(|sequence| *sequence >= Sequence::FIRST).ok_or("seq is missing or zero")
}

fn conversation_event(
    payload: Numbered<'_, Box<ConversationObject<'_>>>,
    envelope: Members,
    body: impl FnOnce(Box<Conversation>) -> EventBody,
) -> Checked<Push> {
    let (cause, sequence, object) = payload.open(envelope)?;
    let sequence = position(sequence)?;
    let (conversation, unknown) = object.read(sequence)?;
    Ok(Push::Event(cause.into_event(conversation.id, sequence, body(Box::new(conversation)), unknown)))
}

fn message_event(
    payload: Numbered<'_, MessageObject<'_>>,
    envelope: Members,
    body: impl FnOnce(MessageContent) -> EventBody,
) -> Checked<Push> {
    let (cause, sequence, object) = payload.open(envelope)?;
    let (conversation, content, unknown) = object.read()?;
    Ok(Push::Event(cause.into_event(conversation, position(sequence)?, body(content), unknown)))
}

/// Returns what a frame of a known event says.
fn push(payload: Payload<'_>, envelope: Members) -> Checked<Option<Push>> {
    Ok(Some(match payload {
        Payload::ConversationCreated(payload) => conversation_event(payload, envelope, EventBody::ConversationCreated)?,
        Payload::ConversationEdited(payload) => conversation_event(payload, envelope, EventBody::ConversationEdited)?,
        Payload::ConversationRemoved(payload) => {
            let (cause, sequence, object) = payload.open(envelope)?;
            let conversation = object.uuid.ok_or("object.uuid is missing")?;
            let sequence = sequence.unwrap_or_default();
            Push::Event(cause.into_event(conversation, sequence, EventBody::ConversationRemoved, object.unknown))
        }
        Payload::Conversation(payload) => {
            let (cause, sequence, object) = payload.open(envelope)?;
            let (conversation, unknown) = object.read(sequence.unwrap_or_default())?;
            Push::Conversation { header: cause.into_header(unknown), conversation }
        }
        Payload::MessageSent(payload) => message_event(payload, envelope, EventBody::MessageSent)?,
        Payload::MessageEdited(payload) => message_event(payload, envelope, EventBody::MessageEdited)?,
        Payload::MessageRemoved(payload) => {
            let (cause, sequence, object) = payload.open(envelope)?;
            let conversation = object.conversation.ok_or("object.conversation is missing")?;
            let body = EventBody::MessageRemoved(object.uuid.ok_or("object.uuid is missing")?);
            Push::Event(cause.into_event(conversation, position(sequence)?, body, object.unknown))
        }
        Payload::PublicConversations(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let conversations = object.uuids.ok_or("object.uuid is missing")?;
            Push::PublicConversations { header: cause.into_header(object.unknown), conversations }
        }
        Payload::User(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let (user, unknown) = object.read()?;
            Push::User { header: cause.into_header(unknown), user }
        }
        Payload::UserEdited(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let (user, unknown) = object.read()?;
            Push::UserEdited { header: cause.into_header(unknown), user }
        }
        Payload::Status(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let online = object.online.ok_or("object.online is missing")?;
            Push::Status { header: cause.into_header(object.unknown), online }
        }
        Payload::Subscribed(payload) => {
            let (cause, object) = payload.open(envelope)?;
            Push::Subscribed { users: user_ids(object.users)?, header: cause.into_header(object.unknown) }
        }
        Payload::Unsubscribed(payload) => {
            let (cause, object) = payload.open(envelope)?;
            Push::Unsubscribed { users: user_ids(object.users)?, header: cause.into_header(object.unknown) }
        }
        Payload::Subscriptions(payload) => {
            let (cause, object) = payload.open(envelope)?;
            Push::Subscriptions { users: user_ids(object.users)?, header: cause.into_header(object.unknown) }
        }
        Payload::Typing(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let conversation = object.conversation.ok_or("object.conversation is missing")?;
            Push::Typing { header: cause.into_header(object.unknown), conversation }
        }
        Payload::Read(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let conversation = object.conversation.ok_or("object.conversation is missing")?;
            let sequence = sequence(object.sequence)?.ok_or("object.seq is missing")?;
            Push::Read { header: cause.into_header(object.unknown), conversation, sequence }
        }
        Payload::Retransmitted(payload) => {
            let cause = Cause::read(payload.action, payload.initiator, payload.timestamp, envelope, payload.unknown)?;
            let Some(event) = old_event(*payload.object.ok_or("object is missing")?.0)? else { return Ok(None) };
            let count = payload.count.map(|count| count.bits().ok_or("count is out of range")).transpose()?;
            let (from, to) = (sequence(payload.from)?, sequence(payload.to)?);
            Push::Retransmitted { header: cause.into_header(Members::default()), from, to, count, event }
        }
        Payload::HeadsSince(payload) => {
            let (cause, object) = payload.open(envelope)?;
            let heads = object.heads.ok_or("object.heads is missing")?.into_iter().map(HeadObject::read);
            let heads = heads.collect::<Checked<_>>()?;
            Push::HeadsSince { header: cause.into_header(object.unknown), heads, cursor: object.cursor }
        }
        Payload::Error(payload) => {
            let cause = Cause::read(payload.action, payload.initiator, payload.timestamp, envelope, payload.unknown)?;
            let code = payload.code.and_then(Int::exact).ok_or("code is missing or out of range")?;
            let error = MessagingError::new(ErrorCode::from(code), payload.description.unwrap_or_default());
            Push::Error { header: cause.into_header(Members::default()), error }
        }
        Payload::Unknown(_) => return Ok(None),
    }))
}

/// Returns the event inside a retransmission, or `None` when its position cannot be told.
fn old_event(frame: Envelope<'_>) -> Checked<Option<Event>> {
    let Text(name) = frame.event.ok_or("object.event is missing")?;
    let payload = frame.payload.ok_or("object.payload is missing")?;
    if let Payload::Unknown(payload) = payload {
        return Ok(unknown_event(&name, payload, frame.unknown));
    }
    let push = push(payload, frame.unknown)?;
    Ok(if let Some(Push::Event(event)) = push { Some(event) } else { None })
}

/// Returns an event of an unknown kind, or `None` when its position cannot be told.
fn unknown_event(name: &str, payload: &RawValue, envelope: Members) -> Option<Event> {
    let content: Numbered<'_, UnknownObject<'_>> = serde_json::from_str(payload.get()).ok()?;
    let (mut cause, sequence, object) = content.open(envelope).ok()?;
    let id = |raw: &RawValue| serde_json::from_str(raw.get()).ok();
    let conversation = object.conversation.and_then(id).or_else(|| object.uuid.and_then(id))?;
    let body = EventBody::Unknown { name: name.into(), payload: RawJson::from_raw(payload) };
    // The body holds the whole payload already.
    cause.payload = Members::default();
    Some(cause.into_event(conversation, position(sequence).ok()?, body, Members::default()))
}

pub(super) fn decode(text: &str) -> Result<ServerFrame, DecodeError> {
    let mut frame = Envelope::default();
    frame.read(text).map_err(DecodeError::malformed)?;
    let Some(service) = frame.service else {
        return rpc::decode_server(frame.name, frame.params).map(ServerFrame::Rpc);
    };
    for (name, value) in [("name", frame.name), ("params", frame.params)] {
        if let Some(value) = value {
            frame.unknown.push(name, value);
        }
    }
    let request = frame.request();
    let Text(event) = frame.event.ok_or_else(|| DecodeError::content("", "event is missing"))?;
    let push = match frame.payload {
        _ if service.get() != "\"chat\"" => None,
        None if Kind::from_name(&event) == Kind::Unknown => None,
        None => return Err(DecodeError::content(&event, "payload is missing")),
        Some(Payload::Unknown(payload)) => unknown_event(&event, payload, frame.unknown).map(Push::Event),
        Some(payload) => push(payload, frame.unknown).map_err(|what| DecodeError::content(&event, what))?,
    };
    let push = match push {
        Some(push) => push,
        None => {
            let frame: &RawValue = serde_json::from_str(text).map_err(DecodeError::malformed)?;
            Push::Unknown { name: (&*event).into(), frame: RawJson::from_raw(frame) }
        }
    };
    Ok(ServerFrame::Chat(ServerChat { request, push }))
}
