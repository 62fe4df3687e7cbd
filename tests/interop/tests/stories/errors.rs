//! What the server refuses, as the SDK shows it: the promise rejected and one error event, both with the code.

use crate::browser::Page;
use crate::world::{World, user, with};
use backscroll::model::ConversationConfig;
use serde_json::{Value, json};

const UNKNOWN: &str = "00000000-0000-4000-8000-000000000000";

async fn uuid(page: &Page, arguments: Value) -> String {
    let made = page.messenger("createConversation", arguments).await.unwrap();
    made["conversation"]["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_refusal_has_its_code() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;

    let foreign = alice.makes(with("Without bob", &[user(2)])).await.id.to_string();
    let direct = alice.makes(ConversationConfig { direct: true, ..with("", &[user(1)]) }).await.id.to_string();
    bob.event("CreateConversation", |event| event["conversation"]["uuid"] == direct).await;
    let own = uuid(&bob, json!([[{ "userId": 101 }], "Own"])).await;
    let ended = uuid(&bob, json!([[], "Ended"])).await;
    bob.messenger("leaveConversation", json!([ended])).await.unwrap();
    let removed = bob.conversation(&own, "sendMessage", json!(["A slip", []])).await.unwrap();
    let removed = removed["message"]["uuid"].as_str().unwrap();
    bob.message(removed, "remove").await.unwrap();
    let thin = json!({ "uuid": UNKNOWN, "conversation": own, "text": "", "payload": [], "sender": 102 });
    bob.messenger("createMessageFromCache", json!([thin])).await.unwrap();

    let names: Vec<String> = (0..51).map(|number| format!("user{number}@chat.acme")).collect();
    let (own, direct) = (format!("conversation:{own}"), format!("conversation:{direct}"));
    let id_of = |name: &str| name.split_once(':').unwrap().1.to_owned();
    let messenger = "messenger";
    let refusals = [
        (0, messenger, "createConversation", json!([[], "", false, false, false, { "much": "x".repeat(5_000) }])),
        (8, messenger, "getConversation", json!([UNKNOWN])),
        (10, &format!("message:{UNKNOWN}"), "remove", json!([])),
        (11, &format!("message:{removed}"), "remove", json!([])),
        (12, messenger, "getConversation", json!([foreign])),
        (13, &own, "addParticipants", json!([[{ "userId": 101 }]])),
        (15, messenger, "joinConversation", json!([foreign])),
        (16, messenger, "getConversation", json!([ended])),
        (18, &own, "addParticipants", json!([[{ "userId": 999_999 }]])),
        (18, messenger, "createConversation", json!([[{ "userId": 999_999 }], ""])),
        (19, &own, "removeParticipants", json!([[{ "userId": 103 }]])),
        (19, messenger, "leaveConversation", json!([foreign])),
        (21, messenger, "getUsers", json!([names])),
        (23, &own, "sendMessage", json!(["x".repeat(5_001), []])),
        (24, &own, "markAsRead", json!([999])),
        (25, messenger, "getUser", json!(["nobody@chat.acme"])),
        (25, messenger, "subscribe", json!([[999_999]])),
        (26, messenger, "manageNotification", json!([["Typing"]])),
        (34, messenger, "createConversation", json!([[{ "userId": 101 }], "", true, true])),
        (35, messenger, "createConversation", json!([[{ "userId": 101 }, { "userId": 103 }], "", true])),
        (37, &direct, "addParticipants", json!([[{ "userId": 103 }]])),
        (38, &direct, "removeParticipants", json!([[{ "userId": 101 }]])),
        (39, messenger, "joinConversation", json!([id_of(&direct)])),
        (40, messenger, "leaveConversation", json!([id_of(&direct)])),
    ];
    let mut expected = Vec::new();
    for (code, on, call, args) in refusals {
        let refused = bob.call(on, call, args).await.unwrap_err();
        assert_eq!(refused["code"], code, "{on} {call}: {refused}");
        expected.push(code);
    }
    // This SDK cannot be made to ask for these; without a promise of its own it shows the event only.
    let range = |from: u32, to: u32| json!({ "conversation": id_of(&own), "events_from": from, "events_to": to });
    let mut three = range(1, 2);
    three["count"] = json!(2);
    let written = [
        (2, "noSuchEvent", json!({})),
        (22, "retransmitEvents", range(1, 101)),
        (28, "retransmitEvents", range(2, 1)),
        (36, "retransmitEvents", three),
        (41, "retransmitEvents", json!({ "conversation": id_of(&own), "events_from": 1 })),
    ];
    for (number, (code, event, payload)) in (0_u32..).zip(written) {
        let request = format!("00000000-0000-4000-8000-0000000000{number:02}");
        bob.write(&json!({ "service": "chat", "event": event, "payload": payload, "request_uuid": request })).await;
        let shown = bob.event("Error", |error| error["requestUuid"] == request).await;
        assert_eq!(shown["code"], code, "{event}: {shown}");
        expected.push(code);
    }
    let shown: Vec<i64> = bob.fired("Error").iter().map(|error| error.payload["code"].as_i64().unwrap()).collect();
    assert_eq!(shown, expected);
}
