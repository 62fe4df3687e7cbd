//! Any frame there can be, made the way a decoder would make it.

use backscroll::model::{
    Action, Conversation, ConversationConfig, ConversationId, ErrorCode, Event, EventBody, MessageContent, MessageId,
    MessagingError, Notification, Participant, Permissions, PrivateUser, RawJson, RequestId, Secret, Sequence,
    Timestamp, Tokens, User, UserId, UserName,
};
use backscroll::protocol::{
    Announcement, ClientChat, ClientFrame, ClientRpc, Head, Header, LoginOptions, Push, RateLimit, Request, ServerChat,
    ServerFrame, ServerRpc, UserKey,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value};
use std::time::Duration;
use uuid::Uuid;

pub(crate) fn client_frame() -> impl Strategy<Value = ClientFrame> {
    prop_oneof![
        3 => (request_id(), request()).prop_map(|(request, body)| ClientFrame::Chat(ClientChat { request, body })),
        1 => client_rpc().prop_map(ClientFrame::Rpc),
    ]
}

pub(crate) fn server_frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        3 => (option::of(request_id()), push()).prop_map(|(request, push)| ServerFrame::Chat(ServerChat { request, push })),
        1 => unknown_push().prop_map(ServerFrame::Chat),
        1 => server_rpc().prop_map(ServerFrame::Rpc),
    ]
}

fn conversation_id() -> impl Strategy<Value = ConversationId> {
    any::<u128>().prop_map(|bits| ConversationId::from_uuid(Uuid::from_u128(bits)))
}

fn message_id() -> impl Strategy<Value = MessageId> {
    any::<u128>().prop_map(|bits| MessageId::from_uuid(Uuid::from_u128(bits)))
}

fn request_id() -> impl Strategy<Value = RequestId> {
    any::<u128>().prop_map(|bits| RequestId::from_uuid(Uuid::from_u128(bits)))
}

fn user_id() -> impl Strategy<Value = UserId> {
    prop_oneof![Just(0), Just(UserId::MAX), 0..=UserId::MAX].prop_map(|number| UserId::new(number).unwrap())
}

fn user_name() -> impl Strategy<Value = UserName> {
    prop_oneof!["[a-z]{1,6}@[a-z]{1,4}\\.[a-z]{1,4}", "[a-z@.]{0,12}", any::<String>()]
        .prop_map(|name| UserName::new(&name))
}

fn sequence() -> impl Strategy<Value = Sequence> {
    prop_oneof![Just(1), Just(u32::MAX), 1..=u32::MAX].prop_map(Sequence)
}

fn timestamp() -> impl Strategy<Value = Timestamp> {
    prop_oneof![0..4_000_000_000_i64, any::<i64>()].prop_map(Timestamp)
}

fn json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            vec((any::<String>(), inner), 0..4).prop_map(|members| Value::Object(Map::from_iter(members))),
        ]
    })
}

/// Writes a value with or without white space, so that only a copy of the characters compares equal.
fn raw(value: impl Strategy<Value = Value>) -> impl Strategy<Value = RawJson> {
    (value, any::<bool>()).prop_map(|(value, spaced)| {
        let text = if spaced { format!("{value:#}") } else { value.to_string() };
        RawJson::new(&text).unwrap()
    })
}

fn raw_object() -> impl Strategy<Value = RawJson> {
    raw(vec((any::<String>(), json()), 0..3).prop_map(|members| Value::Object(Map::from_iter(members))))
}

fn raw_array() -> impl Strategy<Value = RawJson> {
    raw(vec(json(), 0..4).prop_map(Value::from))
}

fn objects(sizes: std::ops::Range<usize>) -> impl Strategy<Value = RawJson> {
    (vec(raw_object(), sizes), select(vec![",", " ,\n"])).prop_map(|(objects, comma)| {
        let objects: Vec<_> = objects.iter().map(RawJson::as_str).collect();
        RawJson::new(&format!("[{}]", objects.join(comma))).unwrap()
    })
}

/// `{"xa":…,"xb":…}`: names that no version of the protocol has.
fn unknown_members() -> impl Strategy<Value = String> {
    let value =
        prop_oneof![raw(json()), select(vec!["1.50", "1e400", "[ ]", "-0"]).prop_map(|t| RawJson::new(t).unwrap())];
    vec((any::<String>(), value), 1..3).prop_map(|members| {
        let members: Vec<_> = members
            .into_iter()
            .map(|(name, value)| format!("{}:{}", Value::from(format!("x{name}")), value.as_str()))
            .collect();
        format!("{{{}}}", members.join(","))
    })
}

fn unknown(places: &'static [&'static str]) -> impl Strategy<Value = Option<RawJson>> {
    vec(option::weighted(0.3, unknown_members()), places.len()).prop_map(|members| {
        let places: Vec<_> = places
            .iter()
            .zip(members)
            .filter_map(|(place, members)| members.map(|members| format!("\"{place}\":{members}")))
            .collect();
        (!places.is_empty()).then(|| RawJson::new(&format!("{{{}}}", places.join(","))).unwrap())
    })
}

const ALL_PLACES: &[&str] = &["envelope", "payload", "object"];
const WITHOUT_OBJECT: &[&str] = &["envelope", "payload"];

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => select(Action::KNOWN),
        1 => any::<String>().prop_map(|name| Action::Other(format!("x{name}").into())),
        1 => Just(Action::Other("".into())),
    ]
}

fn header(places: &'static [&'static str]) -> impl Strategy<Value = Header> {
    (action(), option::of(user_id()), option::of(timestamp()), unknown(places))
        .prop_map(|(action, initiator, timestamp, unknown)| Header { action, initiator, timestamp, unknown })
}

fn permissions() -> impl Strategy<Value = Permissions> {
    any::<u32>().prop_map(Permissions::from_bits)
}

fn participant() -> impl Strategy<Value = Participant> {
    (user_id(), permissions(), any::<u32>()).prop_map(|(user, permissions, last_read)| Participant {
        user,
        permissions,
        last_read: Sequence(last_read),
    })
}

fn asked_participants() -> impl Strategy<Value = Vec<Participant>> {
    vec((user_id(), permissions()).prop_map(|(user, rights)| Participant::new(user).with_permissions(rights)), 0..4)
}

fn config(participants: impl Strategy<Value = Vec<Participant>>) -> impl Strategy<Value = ConversationConfig> {
    (any::<String>(), participants, any::<[bool; 3]>(), raw_object()).prop_map(
        |(title, participants, [direct, public_join, uber], custom_data)| ConversationConfig {
            title,
            participants,
            direct,
            public_join,
            uber,
            custom_data,
        },
    )
}

fn conversation() -> impl Strategy<Value = Conversation> {
    (conversation_id(), config(vec(participant(), 0..4)), any::<u32>(), timestamp(), timestamp()).prop_map(
        |(id, config, head, update, created)| Conversation::recreate(id, config, Sequence(head), update, created),
    )
}

fn user() -> impl Strategy<Value = User> {
    let private = (
        raw_object(),
        vec(select(Notification::ALL.to_vec()), 0..3),
        vec(conversation_id(), 0..3),
        vec(conversation_id(), 0..3),
    )
        .prop_map(|(custom_data, notifications, conversations, left_conversations)| PrivateUser {
            custom_data,
            notifications,
            conversations,
            left_conversations,
        });
    (user_id(), user_name(), any::<String>(), raw_object(), any::<bool>(), option::of(private)).prop_map(
        |(id, name, display_name, custom_data, deleted, private)| User {
            id,
            name,
            display_name,
            custom_data,
            deleted,
            private,
        },
    )
}

fn content() -> impl Strategy<Value = MessageContent> {
    (message_id(), any::<String>(), option::of(objects(1..3))).prop_map(|(id, text, payload)| MessageContent {
        id,
        text,
        payload,
    })
}

fn known_event() -> impl Strategy<Value = Event> {
    let body = prop_oneof![
        conversation().prop_map(|conversation| EventBody::ConversationCreated(Box::new(conversation))),
        conversation().prop_map(|conversation| EventBody::ConversationEdited(Box::new(conversation))),
        Just(EventBody::ConversationRemoved),
        content().prop_map(EventBody::MessageSent),
        content().prop_map(EventBody::MessageEdited),
        message_id().prop_map(EventBody::MessageRemoved),
    ];
    (conversation_id(), sequence(), action(), user_id(), timestamp(), body, unknown(ALL_PLACES)).prop_map(
        |(mut conversation, sequence, action, initiator, timestamp, mut body, unknown)| {
            if let EventBody::ConversationCreated(described) | EventBody::ConversationEdited(described) = &mut body {
                conversation = described.id;
                described.last_sequence = sequence;
            }
            Event { conversation, sequence, action, initiator, timestamp, body, unknown }
        },
    )
}

fn unknown_event() -> impl Strategy<Value = Event> {
    let head = (conversation_id(), sequence(), action(), user_id(), timestamp());
    let rest = (any::<bool>(), "onX[a-z]{0,6}", unknown_members(), unknown(&["envelope"]));
    (head, rest).prop_map(|((conversation, sequence, action, initiator, timestamp), (by_uuid, name, more, unknown))| {
        let member = if by_uuid { "uuid" } else { "conversation" };
        let payload = format!(
            r#"{{ "object":{{"{member}":"{conversation}"}},"seq":{sequence},"timestamp":{},"initiator":{initiator},
                "on_incoming_event":{},"more":{more}}}"#,
            timestamp.0,
            Value::from(action.name()),
        );
        let body = EventBody::Unknown { name: name.into(), payload: RawJson::new(&payload).unwrap() };
        Event { conversation, sequence, action, initiator, timestamp, body, unknown }
    })
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![4 => known_event(), 1 => unknown_event()]
}

fn push() -> impl Strategy<Value = Push> {
    let about = || header(ALL_PLACES);
    let users = || vec(user_id(), 0..4);
    let position = || option::of(any::<u32>().prop_map(Sequence));
    let error = (any::<i64>(), any::<String>())
        .prop_map(|(code, description)| MessagingError::new(ErrorCode::from(code), description));
    prop_oneof![
        4 => event().prop_map(Push::Event),
        1 => (about(), conversation()).prop_map(|(header, conversation)| Push::Conversation { header, conversation }),
        1 => (about(), vec(conversation_id(), 0..4))
            .prop_map(|(header, conversations)| Push::PublicConversations { header, conversations }),
        1 => (about(), user()).prop_map(|(header, user)| Push::User { header, user }),
        1 => (about(), user()).prop_map(|(header, user)| Push::UserEdited { header, user }),
        1 => (about(), any::<bool>()).prop_map(|(header, online)| Push::Status { header, online }),
        1 => (about(), users()).prop_map(|(header, users)| Push::Subscribed { header, users }),
        1 => (about(), users()).prop_map(|(header, users)| Push::Unsubscribed { header, users }),
        1 => (about(), users()).prop_map(|(header, users)| Push::Subscriptions { header, users }),
        1 => (about(), vec((conversation_id(), any::<u32>()), 0..4), option::of(any::<String>())).prop_map(
            |(header, heads, cursor)| Push::HeadsSince {
                header,
                heads: heads.into_iter().map(|(conversation, at)| Head { conversation, sequence: Sequence(at) }).collect(),
                cursor,
            }
        ),
        1 => (about(), conversation_id()).prop_map(|(header, conversation)| Push::Typing { header, conversation }),
        1 => (about(), conversation_id(), any::<u32>()).prop_map(|(header, conversation, sequence)| Push::Read {
            header,
            conversation,
            sequence: Sequence(sequence),
        }),
        4 => (header(WITHOUT_OBJECT), position(), position(), option::of(any::<u32>()), event())
            .prop_map(|(header, from, to, count, event)| Push::Retransmitted { header, from, to, count, event }),
        1 => (header(WITHOUT_OBJECT), error).prop_map(|(header, error)| Push::Error { header, error }),
    ]
}

/// Frames of events that this version does not know and that tell no position.
fn unknown_push() -> impl Strategy<Value = ServerChat> {
    ("onX[a-z]{0,6}", option::of(request_id()), raw(json())).prop_map(|(name, request, payload)| {
        let answers = request.map_or(String::new(), |request| format!(r#","request_uuid":"{request}""#));
        let payload = payload.as_str();
        let frame = format!(r#"{{"payload":{payload}, "service":"chat","event":"{name}"{answers}}}"#);
        ServerChat { request, push: Push::Unknown { name: name.into(), frame: RawJson::new(&frame).unwrap() } }
    })
}

fn secret() -> impl Strategy<Value = Secret> {
    any::<String>().prop_map(Secret::new)
}

fn tokens() -> impl Strategy<Value = Tokens> {
    (secret(), any::<i64>(), secret(), any::<i64>()).prop_map(
        |(access, access_expires_s, refresh, refresh_expires_s)| Tokens {
            access,
            access_expires_s,
            refresh,
            refresh_expires_s,
        },
    )
}

fn unknown_call() -> impl Strategy<Value = (Box<str>, RawJson)> {
    (any::<String>().prop_map(|name| format!("x{name}").into()), raw_array())
}

fn server_rpc() -> impl Strategy<Value = ServerRpc> {
    let rate = (any::<u32>(), any::<u64>())
        .prop_map(|(burst, interval_us)| RateLimit { burst, interval: Duration::from_micros(interval_us) });
    let announcement = (any::<bool>(), any::<bool>(), option::of(rate))
        .prop_map(|(idempotent, heads, rate)| Announcement { idempotent, heads, rate });
    let text = || option::of(any::<String>());
    prop_oneof![
        (text(), announcement).prop_map(|(connection, announcement)| ServerRpc::Greeting { connection, announcement }),
        Just(ServerRpc::GoAway),
        Just(ServerRpc::Pong),
        (any::<String>(), text(), option::of(tokens()))
            .prop_map(|(display_name, connection, tokens)| ServerRpc::LoggedIn { display_name, connection, tokens }),
        (any::<i64>(), text()).prop_map(|(code, extra)| ServerRpc::LoginFailed { code, extra: extra.map(Secret::new) }),
        tokens().prop_map(ServerRpc::Refreshed),
        any::<i64>().prop_map(|code| ServerRpc::RefreshFailed { code }),
        unknown_call().prop_map(|(name, params)| ServerRpc::Unknown { name, params }),
    ]
}

fn options() -> impl Strategy<Value = LoginOptions> {
    let unknown = unknown_members().prop_map(|members| RawJson::new(&members).unwrap());
    (option::of(secret()), option::of(secret()), option::of(unknown))
        .prop_map(|(access_token, device_token, unknown)| LoginOptions { access_token, device_token, unknown })
}

fn client_rpc() -> impl Strategy<Value = ClientRpc> {
    prop_oneof![
        Just(ClientRpc::Ping),
        (user_name(), secret(), options()).prop_map(|(user, password, options)| ClientRpc::Login {
            user,
            password,
            options
        }),
        user_name().prop_map(|user| ClientRpc::GenerateOneTimeKey { user }),
        (user_name(), secret(), options()).prop_map(|(user, hash, options)| ClientRpc::LoginOneTimeKey {
            user,
            hash,
            options
        }),
        (user_name(), secret(), options()).prop_map(|(user, code, options)| ClientRpc::LoginSecondStage {
            user,
            code,
            options
        }),
        (user_name(), secret(), option::of(secret())).prop_map(|(user, refresh, device)| ClientRpc::RefreshToken {
            user,
            refresh,
            device
        }),
        secret().prop_map(ClientRpc::RegisterPushToken),
        secret().prop_map(ClientRpc::UnregisterPushToken),
        raw_object().prop_map(ClientRpc::PushFeedback),
        unknown_call().prop_map(|(name, params)| ClientRpc::Unknown { name, params }),
    ]
}

fn user_key() -> impl Strategy<Value = UserKey> {
    prop_oneof![user_name().prop_map(UserKey::Name), user_id().prop_map(UserKey::Id)]
}

fn request() -> impl Strategy<Value = Request> {
    let users = || vec(user_id(), 0..4);
    let edit = (conversation_id(), option::of(any::<String>()), option::of(any::<bool>()), option::of(raw_object()));
    let number = || option::of(any::<i64>());
    prop_oneof![
        config(asked_participants()).prop_map(Request::CreateConversation),
        edit.prop_map(|(conversation, title, public_join, custom_data)| Request::EditConversation {
            conversation,
            title,
            public_join,
            custom_data,
        }),
        conversation_id().prop_map(Request::RemoveConversation),
        conversation_id().prop_map(Request::JoinConversation),
        conversation_id().prop_map(Request::LeaveConversation),
        conversation_id().prop_map(Request::GetConversation),
        vec(conversation_id(), 0..4).prop_map(Request::GetConversations),
        Just(Request::GetPublicConversations),
        (conversation_id(), asked_participants())
            .prop_map(|(conversation, participants)| Request::AddParticipants { conversation, participants }),
        (conversation_id(), asked_participants())
            .prop_map(|(conversation, participants)| Request::EditParticipants { conversation, participants }),
        (conversation_id(), users())
            .prop_map(|(conversation, users)| Request::RemoveParticipants { conversation, users }),
        user_key().prop_map(Request::GetUser),
        vec(user_key(), 0..4).prop_map(Request::GetUsers),
        (option::of(raw_object()), option::of(raw_object()))
            .prop_map(|(custom_data, private_custom_data)| Request::EditUser { custom_data, private_custom_data }),
        any::<bool>().prop_map(|online| Request::SetStatus { online }),
        users().prop_map(Request::Subscribe),
        users().prop_map(Request::Unsubscribe),
        Just(Request::UnsubscribeAll),
        Just(Request::GetSubscriptions),
        vec(option::of(select(Notification::ALL.to_vec())), 0..4).prop_map(Request::ManageNotifications),
        (conversation_id(), any::<String>(), option::of(objects(1..3)))
            .prop_map(|(conversation, text, payload)| Request::SendMessage { conversation, text, payload }),
        (conversation_id(), message_id(), option::of(any::<String>()), option::of(objects(0..3))).prop_map(
            |(conversation, message, text, payload)| Request::EditMessage { conversation, message, text, payload }
        ),
        (conversation_id(), message_id())
            .prop_map(|(conversation, message)| Request::RemoveMessage { conversation, message }),
        conversation_id().prop_map(Request::Typing),
        (conversation_id(), any::<i64>())
            .prop_map(|(conversation, sequence)| Request::MarkAsRead { conversation, sequence }),
        (conversation_id(), number(), number(), number())
            .prop_map(|(conversation, from, to, count)| Request::RetransmitEvents { conversation, from, to, count }),
        option::of(any::<String>()).prop_map(|cursor| Request::HeadsSince { cursor }),
    ]
}
