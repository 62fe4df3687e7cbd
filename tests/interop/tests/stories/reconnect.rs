//! A dropped socket. Our engine comes back by itself; the SDK never does: an application connects, logs in and
//! reads what it missed.

use crate::browser::Page;
use crate::told::{both_hold_the_same, both_were_told, history};
use crate::world::{World, long_name, lunch_of_two, secret, settled, user, with, within_patience};
use backscroll::MessengerEvent;
use serde_json::json;

/// Comes back as an application does, and returns how far the conversation is.
async fn come_back(page: &Page, name: &str, conversation: &str) -> u64 {
    page.client("connect", json!([false])).await.unwrap();
    page.client("login", json!([long_name(name), secret(name)])).await.unwrap();
    let described = page.messenger("getConversation", json!([conversation])).await.unwrap();
    described["conversation"]["lastSeq"].as_u64().unwrap()
}

fn sequence_of_message(event: &MessengerEvent) -> Option<u32> {
    match event {
        MessengerEvent::Message(event) => Some(event.sequence.get()),
        _ => None,
    }
}

#[tokio::test]
async fn both_sides_catch_up_after_the_server_crashed() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let lunch = alice.makes(with("Lunch", &[user(1)])).await;
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
    assert_eq!(come_back(&bob, "bob", &id).await, 5);
    let missed = bob.conversation(&id, "retransmitEvents", json!([5, 5])).await.unwrap();
    assert_eq!(missed["events"][0]["message"]["text"], "number 5");

    bob.conversation(&id, "sendMessage", json!(["number 6", []])).await.unwrap();
    alice.until_sequence(&id, 6).await;
    alice.until_live().await;
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn a_browser_that_was_away_reads_what_it_missed_and_the_rest_is_told() {
    let (world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();
    // Of the two links the second is bob's: it breaks with the next answer to a ping.
    world.faults().drop_one_link_after(1, 2);
    bob.event("ConnectionClosed", |_| true).await;
    for number in 2..=121 {
        settled(lunch.send_message(format!("number {number}"), None).await).await;
    }

    let head = come_back(&bob, "bob", &id).await;
    assert_eq!((head, bob.fired("SendMessage").len()), (121, 0));
    settled(lunch.send_message("number 122", None).await).await;
    bob.event("SendMessage", |event| event["seq"] == 122).await;
    // History up to where it came back, and what was told since: together everything once.
    let mut held: Vec<u64> = history(&bob, &id, head).await.iter().map(|event| event.sequence).collect();
    held.extend(bob.fired("SendMessage").iter().map(|event| event.payload["seq"].as_u64().unwrap()));
    assert_eq!(held, (1..=122).collect::<Vec<_>>());
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn an_engine_whose_link_keeps_breaking_is_told_everything_once() {
    let world = World::with_users(&["alice", "bob"]).await;
    let bob = world.in_browser("bob").await;
    let alice = world.with_engine("alice").await;
    let made = bob.messenger("createConversation", json!([[{ "userId": 101 }], "Lunch"])).await.unwrap();
    let id = made["conversation"]["uuid"].as_str().unwrap();
    alice.until_sequence(id, 1).await;
    let lunch = alice.conversation(id.parse().unwrap()).await.unwrap().unwrap().conversation;

    // Every link but bob's breaks after its 20th frame.
    world.faults().drop_link_after(20, 2);
    let theirs = async {
        for number in 0..20 {
            bob.conversation(id, "sendMessage", json!([format!("theirs {number}"), []])).await.unwrap();
        }
    };
    let ours = async {
        for number in 0..20 {
            settled(lunch.send_message(format!("ours {number}"), None).await).await;
        }
    };
    tokio::join!(theirs, ours);
    world.faults().clear();
    // One more, so that an engine that is offline just now is told of the end.
    bob.conversation(id, "sendMessage", json!(["The end.", []])).await.unwrap();
    alice.until("all 41 messages", |events| events.iter().filter_map(sequence_of_message).count() >= 41).await;
    alice.until_live().await;
    both_hold_the_same(&bob, &alice, id).await;
    for (name, mut positions) in [
        ("engine", alice.told().iter().filter_map(sequence_of_message).map(u64::from).collect::<Vec<_>>()),
        ("browser", bob.fired("SendMessage").iter().filter_map(|event| event.payload["seq"].as_u64()).collect()),
    ] {
        positions.sort_unstable();
        assert_eq!(positions, (2..=42).collect::<Vec<_>>(), "each once in the {name}");
    }
}
