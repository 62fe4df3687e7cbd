//! A dropped socket. The SDK never comes back by itself; an application connects, logs in and reads what it missed.

use crate::browser::Page;
use crate::told::{both_were_told, said, saying};
use crate::world::{World, long_name, secret, within_patience};
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, Participant, UserId};
use serde_json::{Value, json};

#[tokio::test]
async fn both_sides_catch_up_after_the_server_crashed() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let participants = vec![Participant::new(UserId::new(102).unwrap())];
    let wish = ConversationConfig { title: "Lunch".to_owned(), participants, ..ConversationConfig::default() };
    let lunch = within_patience("it", alice.create_conversation(wish).await.unwrap()).await.unwrap().conversation;
    let id = lunch.id.to_string();
    bob.event("CreateConversation", |_| true).await;
    for number in 2..=4 {
        bob.conversation(&id, "sendMessage", json!([format!("number {number}"), []])).await.unwrap();
    }
    both_were_told(&bob, &alice, &id, 4).await;

    world.crash_server();
    bob.event("ConnectionClosed", |_| true).await;
    // What the engine accepts now leaves when the server is back.
    let waiting = lunch.send_message("number 5", None).await.unwrap();
    world.start_server().await;
    within_patience("the message", waiting).await.unwrap();
    bob.client("connect", json!([false])).await.unwrap();
    bob.client("login", json!([long_name("bob"), secret("bob")])).await.unwrap();

    // As an application does: how far is it, and what is missing?
    let newest = bob.messenger("getConversation", json!([id])).await.unwrap()["conversation"]["lastSeq"].clone();
    assert_eq!(newest, 5);
    let missed = bob.conversation(&id, "retransmitEvents", json!([5, newest])).await.unwrap();
    assert_eq!(missed["events"][0]["message"]["text"], "number 5");
    bob.conversation(&id, "sendMessage", json!(["number 6", []])).await.unwrap();
    alice.until_live().await;
    alice.until("event 6", |events| events.iter().any(|event| sequence(event) == Some(6))).await;

    let items = alice.messages(lunch.id, Window::Newest, 100).await.unwrap();
    let ours: Vec<Value> = items
        .iter()
        .map(|item| match item {
            TimelineItem::Message(message) => saying(message),
            TimelineItem::Gap(range) => panic!("a gap at {range:?}"),
        })
        .collect();
    assert_eq!(history(&bob, &id, 2, 6).await, ours);
}

fn sequence(event: &backscroll::MessengerEvent) -> Option<u32> {
    match event {
        backscroll::MessengerEvent::Message(event) => Some(event.sequence.get()),
        _ => None,
    }
}

/// Returns the messages of a piece of history in which nothing was edited or removed.
async fn history(page: &Page, conversation: &str, first: u32, last: u32) -> Vec<Value> {
    let told = page.conversation(conversation, "retransmitEvents", json!([first, last])).await.unwrap();
    told["events"].as_array().unwrap().iter().map(|event| said(&event["message"])).collect()
}
