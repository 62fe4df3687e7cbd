//! What is read although it is not as we would write it, what is kept although we do not know it, and what
//! is refused, with which code.

use backscroll::model::{
    Action, ErrorCode, Event, EventBody, Permissions, RawJson, RequestId, Sequence, Timestamp, UserId,
};
use backscroll::protocol::{
    ClientChat, ClientFault, ClientFrame, DecodeError, Push, Request, ServerChat, ServerFrame, UserKey, decode_client,
    decode_server, encode_client, encode_server,
};
use serde_json::{Value, json};

const ID: &str = "e2c492b3-6027-4a8d-8aca-ebd59fb93965";
const OTHER: &str = "fdc9c4a4-1fcb-4e37-bb2a-3152a34edc5e";

fn push(text: &str) -> Push {
    match decode_server(text) {
        Ok(ServerFrame::Chat(ServerChat { push, .. })) => push,
        other => panic!("{other:?}"),
    }
}

fn event(text: &str) -> Event {
    let push = push(text);
    let (Push::Event(event) | Push::Retransmitted { event, .. }) = push else { panic!("{push:?}") };
    event
}

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn request(body: Value) -> Result<Request, ClientFault> {
    match decode_client(&body.to_string())? {
        ClientFrame::Chat(ClientChat { body, .. }) => Ok(body),
        ClientFrame::Rpc(rpc) => panic!("{rpc:?}"),
    }
}

fn chat(action: &str, payload: Value) -> Value {
    json!({"service": "chat", "event": action, "payload": payload, "request_uuid": ID})
}

#[test]
fn numbers_of_a_server_may_be_strings() {
    let described = event(&format!(
        r#"{{"service":"chat","event":"onEditConversation","payload":{{"initiator":"9223372036854775807","seq":"4294967295",
            "timestamp":7,"object":{{"uuid":"{ID}","participants":[{{"user_id":"5","flags":"65535","last_read":"3"}}]}}}}}}"#
    ));
    assert_eq!((described.initiator, described.sequence), (user(UserId::MAX), Sequence(u32::MAX)));
    let participant = described.body.conversation().unwrap().participants[0];
    assert_eq!(
        (participant.user, participant.permissions, participant.last_read),
        (user(5), Permissions::OWNER, Sequence(3))
    );

    let old = push(&format!(
        r#"{{"service":"chat","event":"onRetransmitEvents","payload":{{"from_seq":"1","to_seq":"9","count":"9","object":
            {{"event":"onRemoveMessage","payload":{{"seq":"2","object":{{"uuid":"{ID}","conversation":"{OTHER}"}}}}}}}}}}"#
    ));
    let Push::Retransmitted { from, to, count, event, .. } = old else { panic!("{old:?}") };
    assert_eq!((from, to, count), (Some(Sequence(1)), Some(Sequence(9)), Some(9)));
    assert_eq!((event.sequence, event.initiator, event.timestamp), (Sequence(2), user(0), Timestamp(0)));

    let read = push(&format!(
        r#"{{"service":"chat","event":"isRead","payload":{{"object":{{"conversation":"{ID}","seq":"0"}}}}}}"#
    ));
    assert!(matches!(read, Push::Read { sequence: Sequence::ZERO, .. }));
    let users = push(r#"{"service":"chat","event":"onSubscribe","payload":{"object":{"user_id":["1",2,3.0]}}}"#);
    assert!(matches!(users, Push::Subscribed { users, .. } if users == [user(1), user(2), user(3)]));
}

#[test]
fn numbers_of_a_server_that_no_store_can_hold_are_refused() {
    for (initiator, sequence) in [
        ("9223372036854775808", "1"),
        ("-1", "1"),
        ("1.5", "1"),
        ("\"x\"", "1"),
        ("1", "4294967296"),
        ("1", "-1"),
        ("1", "0"),
        ("1", "null"),
    ] {
        for (before, after) in
            [("", ""), (r#"{"service":"chat","event":"onRetransmitEvents","payload":{"object":"#, "}}")]
        {
            let text = format!(
                r#"{before}{{"service":"chat","event":"onRemoveMessage","payload":{{"initiator":{initiator},"seq":{sequence},
                    "object":{{"uuid":"{ID}","conversation":"{OTHER}"}}}}}}{after}"#
            );
            assert!(decode_server(&text).is_err(), "{text}");
        }
    }
}

#[test]
fn a_time_that_is_no_number_counts_as_absent() {
    for (time, expected) in [("7", 7), ("7.9", 7), ("\"7\"", 0), ("null", 0), ("{}", 0), ("[[1]]", 0), ("true", 0)] {
        let text = format!(
            r#"{{"service":"chat","event":"onRemoveMessage","payload":{{"seq":1,"timestamp":{time},
                "object":{{"uuid":"{ID}","conversation":"{OTHER}"}}}}}}"#
        );
        assert_eq!(event(&text).timestamp, Timestamp(expected), "{time}");
    }
    let status =
        push(r#"{"service":"chat","event":"onSetStatus","payload":{"timestamp":"7","object":{"online":true}}}"#);
    assert!(matches!(status, Push::Status { header, online: true } if header.timestamp.is_none()));
}

#[test]
fn what_a_server_leaves_out_or_misshapes_in_a_conversation_has_its_default() {
    for (participants, data) in [("null", "null"), ("{\"a\":1}", "[]"), ("7", "\"{}\""), ("\"x\"", "1")] {
        let text = format!(
            r#"{{"service":"chat","event":"onGetConversation",
                "payload":{{"object":{{"uuid":"{ID}","participants":{participants},"custom_data":{data}}}}}}}"#
        );
        let Push::Conversation { conversation, .. } = push(&text) else { panic!("{text}") };
        assert!(conversation.participants.is_empty() && conversation.title.is_empty());
        assert_eq!(conversation.custom_data, RawJson::empty_object());
        assert_eq!(conversation.last_sequence, Sequence::ZERO);
    }
}

#[test]
fn a_message_payload_is_kept_as_received_or_not_at_all() {
    let cases = [
        (r#"[{"a" : 1.50}, {} ]"#, Some(r#"[{"a" : 1.50}, {} ]"#)),
        (r#"[{"a":"]}\"[{"}]"#, Some(r#"[{"a":"]}\"[{"}]"#)),
        ("[]", None),
        ("[ ]", None),
        ("[{},1]", None),
        ("[[{}]]", None),
        ("[\"{}\"]", None),
        ("{}", None),
        ("\"[{}]\"", None),
        ("null", None),
    ];
    for (received, kept) in cases {
        let text = format!(
            r#"{{"service":"chat","event":"onSendMessage","payload":{{"seq":1,
                "object":{{"uuid":"{ID}","conversation":"{OTHER}","text":"t","payload":{received}}}}}}}"#
        );
        let EventBody::MessageSent(content) = event(&text).body else { panic!("{text}") };
        assert_eq!(content.payload.as_ref().map(RawJson::as_str), kept, "{received}");
    }
}

#[test]
fn a_removed_conversation_needs_no_number() {
    let text =
        format!(r#"{{"service":"chat","event":"onRemoveConversation","payload":{{"object":{{"uuid":"{ID}"}}}}}}"#);
    let removed = event(&text);
    assert_eq!((removed.sequence, removed.body), (Sequence::ZERO, EventBody::ConversationRemoved));
}

#[test]
fn the_order_of_members_says_nothing() {
    let object = format!(r#"{{"text":"t","conversation":"{OTHER}","uuid":"{ID}"}}"#);
    let usual = format!(r#"{{"service":"chat","event":"onSendMessage","payload":{{"seq":1,"object":{object}}}}}"#);
    let other = format!(r#"{{"payload":{{"object":{object},"seq":1}},"event":"onSendMessage","service":"chat"}}"#);
    let escaped = usual.replace("onSend", r"\u006fnSend").replace("\"seq\"", r#""s\u0065q""#);
    assert_eq!(event(&usual), event(&other));
    assert_eq!(event(&usual), event(&escaped));
    let old = |frame: &str, last: bool| {
        let object = format!(r#""payload":{{"object":{frame}}}"#);
        let event = r#""event":"onRetransmitEvents""#;
        let (first, second) = if last { (event, &*object) } else { (&*object, event) };
        format!(r#"{{{first},"service":"chat",{second}}}"#)
    };
    for last in [true, false] {
        assert_eq!(event(&old(&usual, last)), event(&usual));
        assert_eq!(event(&old(&other, last)), event(&usual));
    }
}

#[test]
fn unknown_members_are_kept_to_the_character_and_put_back() {
    let text = format!(
        r#"{{"service":"chat","to":"a@b.c","event":"onSendMessage","name":"n","payload":{{"@type":"x","seq":1,"initiator":2,
            "pay" : {{ "b":1.0, "a":1e2 }},"object":{{"uuid":"{ID}","conversation":"{OTHER}","text":"t","title":[ 1 ]}}}},"z":null}}"#
    );
    let expected = r#"{"envelope":{"to":"a@b.c","name":"n","z":null},"payload":{"pay":{ "b":1.0, "a":1e2 }},"object":{"title":[ 1 ]}}"#;
    let live = event(&text);
    assert_eq!(live.unknown.as_ref().unwrap().as_str(), expected);
    let written = encode_server(&ServerFrame::Chat(ServerChat { request: None, push: Push::Event(live) }));
    assert_eq!(event(&written).unknown.unwrap().as_str(), expected);
    assert!(written.contains(r#"{ "b":1.0, "a":1e2 }"#) && written.contains("[ 1 ]"));

    // What surrounds an old event is not the event's.
    let old = format!(r#"{{"service":"chat","event":"onRetransmitEvents","payload":{{"p":1,"object":{text}}},"e":2}}"#);
    let Push::Retransmitted { header, event, .. } = push(&old) else { panic!("{old}") };
    assert_eq!(header.unknown.unwrap().as_str(), r#"{"envelope":{"e":2},"payload":{"p":1}}"#);
    assert_eq!(event.unknown.unwrap().as_str(), expected);
}

#[test]
fn an_unknown_event_with_a_position_is_an_event() {
    let payload = format!(
        r#"{{ "seq" : "7","timestamp":9,"on_incoming_event":"pin","object":{{"conversation":"{OTHER}","uuid":"no uuid","by":[ 1]}}}}"#
    );
    let live = format!(r#"{{"service":"chat","event":"onPinMessage","payload":{payload},"to":"a"}}"#);
    let old = format!(r#"{{"service":"chat","event":"onRetransmitEvents","payload":{{"object":{live}}}}}"#);
    for text in [live, old] {
        let event = event(&text);
        assert_eq!(event.conversation, OTHER.parse().unwrap());
        assert_eq!((event.sequence, event.timestamp), (Sequence(7), Timestamp(9)));
        assert_eq!(event.action, Action::from("pin"));
        assert_eq!(event.unknown.unwrap().as_str(), r#"{"envelope":{"to":"a"}}"#);
        let EventBody::Unknown { name, payload: kept } = event.body else { panic!("{text}") };
        assert_eq!((&*name, kept.as_str()), ("onPinMessage", &*payload));
    }
    let of_a_conversation =
        format!(r#"{{"service":"chat","event":"onFreeze","payload":{{"seq":1,"object":{{"uuid":"{ID}"}}}}}}"#);
    assert_eq!(event(&of_a_conversation).conversation, ID.parse().unwrap());
}

#[test]
fn an_unknown_event_without_a_position_comes_back_whole() {
    for text in [
        format!(r#"{{"service":"chat", "event":"onX","payload":{{"seq":1}},"request_uuid":"{ID}"}}"#),
        format!(
            r#"{{"service":"chat", "event":"onX","payload":{{"object":{{"uuid":"{OTHER}"}}}},"request_uuid":"{ID}"}}"#
        ),
        format!(
            r#"{{"service":"chat", "event":"onX","payload":{{"seq":4294967296,"object":{{"uuid":"{OTHER}"}}}},"request_uuid":"{ID}"}}"#
        ),
        format!(r#"{{"service":"chat", "event":"onX","payload":[ 1],"request_uuid":"{ID}"}}"#),
        format!(r#"{{"service":"chat", "event":"onX","request_uuid":"{ID}"}}"#),
        format!(
            r#"{{"service":"other","event":"onX","payload":{{"seq":1,"object":{{"uuid":"{OTHER}"}}}},"request_uuid":"{ID}"}}"#
        ),
    ] {
        let frame = decode_server(&text).unwrap();
        let name = "onX".into();
        let push = Push::Unknown { name, frame: RawJson::new(&text).unwrap() };
        assert_eq!(frame, ServerFrame::Chat(ServerChat { request: Some(ID.parse().unwrap()), push }));
        assert_eq!(encode_server(&frame), text);
    }
    // An old frame of a kind that has no number, or no kind at all.
    for inner in [r#"{"event":"onTyping","payload":{}}"#, r#"{"event":"onX","payload":{"seq":1}}"#] {
        let text = format!(r#"{{"service":"chat","event":"onRetransmitEvents","payload":{{"object":{inner}}}}}"#);
        assert!(matches!(push(&text), Push::Unknown { name, .. } if &*name == "onRetransmitEvents"));
    }
}

#[test]
fn a_mark_that_is_no_request_of_ours_answers_nothing_and_stays() {
    let text = r#"{"service":"chat","event":"onSetStatus","request_uuid":"r-1","payload":{"object":{"online":true}}}"#;
    let frame = decode_server(text).unwrap();
    assert!(matches!(&frame, ServerFrame::Chat(ServerChat { request: None, .. })));
    assert!(encode_server(&frame).contains(r#""request_uuid":"r-1""#));
}

#[test]
fn a_known_event_that_cannot_be_right_is_named() {
    for (text, member) in [
        (r#"{"service":"chat","event":"onSendMessage"}"#, "payload"),
        (r#"{"service":"chat","event":"onSendMessage","payload":{"seq":1}}"#, "object"),
        (r#"{"service":"chat","event":"onGetUser","payload":{"object":{}}}"#, "user_id"),
        (r#"{"service":"chat","event":"onError","payload":{}}"#, "code"),
        (r#"{"name":"loginFailed","params":[]}"#, "code"),
        (r#"{"name":"refreshOauthTokenSuccessful","params":[{"OAuth":{"accessToken":"a"}}]}"#, "refreshToken"),
        (r#"{}"#, "service"),
    ] {
        match decode_server(text) {
            Err(DecodeError::Content { what, .. }) => assert!(what.contains(member), "{text}: {what}"),
            other => panic!("{text}: {other:?}"),
        }
    }
}

#[test]
fn numbers_of_a_client_may_be_strings_and_ranges_are_cut_to_64_bits() {
    let history = json!({"conversation": ID, "events_from": "-3", "events_to": 1e300, "count": u64::MAX});
    assert_eq!(
        request(chat("retransmitEvents", history)),
        Ok(Request::RetransmitEvents {
            conversation: ID.parse().unwrap(),
            from: Some(-3),
            to: Some(i64::MAX),
            count: Some(i64::MAX),
        })
    );
    assert_eq!(request(chat("getUser", json!({"user_id": "7"}))), Ok(Request::GetUser(UserKey::Id(user(7)))));
    let added = json!({"uuid": ID, "participants": [{"user_id": "7", "flags": "0"}]});
    let Ok(Request::AddParticipants { participants, .. }) = request(chat("addParticipants", added)) else { panic!() };
    assert_eq!((participants[0].user, participants[0].permissions), (user(7), Permissions::NONE));
}

#[test]
fn absent_parts_of_an_edit_stay_absent_and_an_empty_payload_erases() {
    let edit = request(chat("editMessage", json!({"uuid": ID, "conversation": OTHER, "payload": []}))).unwrap();
    let Request::EditMessage { text: None, payload: Some(payload), .. } = &edit else { panic!("{edit:?}") };
    assert_eq!(payload.as_str(), "[]");
    let frame = ClientFrame::Chat(ClientChat { request: ID.parse().unwrap(), body: edit });
    let written: Value = serde_json::from_str(&encode_client(&frame)).unwrap();
    assert_eq!(written["payload"].get("text"), None);

    let renamed = request(chat("editConversation", json!({"uuid": ID, "title": "t", "custom_data": null})));
    assert!(matches!(
        renamed,
        Ok(Request::EditConversation { title: Some(_), public_join: None, custom_data: None, .. })
    ));
    let sent = request(chat("sendMessage", json!({"conversation": ID, "payload": []})));
    assert!(matches!(sent, Ok(Request::SendMessage { payload: None, text, .. }) if text.is_empty()));
}

#[test]
fn a_faulty_request_is_answered_by_its_id_and_code() {
    use ErrorCode::{EventNameIsUnknown, MessageStructureIsWrong, SomethingWentWrong};
    let id: Option<RequestId> = Some(ID.parse().unwrap());
    let cases = [
        ("", None, "", MessageStructureIsWrong),
        ("[]", None, "", MessageStructureIsWrong),
        ("{\"service\":", None, "", MessageStructureIsWrong),
        ("{}", None, "", MessageStructureIsWrong),
        (r#"{"service":"chat"}"#, None, "", MessageStructureIsWrong),
        (r#"{"service":"chat","request_uuid":"ID"}"#, id, "", MessageStructureIsWrong),
        (r#"{"service":"chat","event":7,"payload":{},"request_uuid":"ID"}"#, id, "", MessageStructureIsWrong),
        (r#"{"service":"chat","event":"getUser","request_uuid":"ID"}"#, id, "getUser", MessageStructureIsWrong),
        (
            r#"{"service":"chat","event":"getUser","payload":[],"request_uuid":"ID"}"#,
            id,
            "getUser",
            MessageStructureIsWrong,
        ),
        (r#"{"service":"chat","event":"getUser","payload":{}}"#, None, "getUser", MessageStructureIsWrong),
        (
            r#"{"service":"chat","event":"getUser","payload":{},"request_uuid":"1"}"#,
            None,
            "getUser",
            MessageStructureIsWrong,
        ),
        (r#"{"event":"getUser","payload":{},"request_uuid":"ID"}"#, id, "getUser", MessageStructureIsWrong),
        (
            r#"{"service":"tv","event":"getUser","payload":{},"request_uuid":"ID"}"#,
            id,
            "getUser",
            MessageStructureIsWrong,
        ),
        (r#"{"service":"chat","event":"fly","payload":{},"request_uuid":"ID"}"#, id, "fly", EventNameIsUnknown),
        (r#"{"service":"chat","event":"getUser","payload":{},"request_uuid":"ID"}"#, id, "getUser", SomethingWentWrong),
        (
            r#"{"service":"chat","event":"getUser","payload":{"user_id":-1},"request_uuid":"ID"}"#,
            id,
            "getUser",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"joinConversation","payload":{"uuid":"x"},"request_uuid":"ID"}"#,
            id,
            "joinConversation",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"sendMessage","payload":{"conversation":"ID","text":7},"request_uuid":"ID"}"#,
            id,
            "sendMessage",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"sendMessage","payload":{"conversation":"ID","payload":[7]},"request_uuid":"ID"}"#,
            id,
            "sendMessage",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"sendMessage","payload":{"conversation":"ID","text":"\ud800"},"request_uuid":"ID"}"#,
            id,
            "sendMessage",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"editUser","payload":{"custom_data":[]},"request_uuid":"ID"}"#,
            id,
            "editUser",
            SomethingWentWrong,
        ),
        (
            r#"{"service":"chat","event":"setStatus","payload":{},"request_uuid":"ID"}"#,
            id,
            "setStatus",
            SomethingWentWrong,
        ),
        (r#"{"name":"login","params":[7]}"#, None, "login", MessageStructureIsWrong),
        (r#"{"name":"login","params":7}"#, None, "login", MessageStructureIsWrong),
    ];
    for (text, request, action, code) in cases {
        let fault = decode_client(&text.replace("ID", ID)).unwrap_err();
        assert_eq!((fault.request, fault.action, fault.code), (request, Action::from(action), code), "{text}");
    }
}

#[test]
fn kinds_of_notification_that_there_are_not_are_told_apart() {
    let names = json!({"notifications": ["onSendMessage", null, "onSneeze", 7, {}]});
    let Ok(Request::ManageNotifications(kinds)) = request(chat("manageNotification", names)) else { panic!() };
    assert_eq!(kinds.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, false, false, false]);
}
