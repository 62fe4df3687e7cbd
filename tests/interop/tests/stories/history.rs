//! Long histories, read in pages of 100.

use crate::told::{both_hold_the_same, history};
use crate::world::{World, settled, user, with};
use backscroll::engine::{TimelineItem, Window};
use backscroll::model::{ConversationConfig, Participant};
use serde_json::json;

#[tokio::test]
async fn three_hundred_events_are_the_same_to_whoever_comes_later() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let lunch = alice.makes(with("Lunch", &[user(1)])).await;
    let id = lunch.id.to_string();
    // Every tenth message is edited, every twentieth removed.
    let mut sequence = 1;
    for number in 0..262 {
        let sent = settled(lunch.send_message(format!("number {number}"), None).await).await.message;
        sequence += 1;
        if number % 10 == 3 {
            settled(sent.update(Some(format!("number {number}, edited")), None).await).await;
            sequence += 1;
        }
        if number % 20 == 7 {
            settled(sent.remove().await).await;
            sequence += 1;
        }
    }
    assert!(sequence > 300 - 3, "{sequence}");

    let bob = world.in_browser("bob").await;
    let newest = bob.messenger("getConversation", json!([id])).await.unwrap()["conversation"]["lastSeq"].clone();
    assert_eq!(newest, sequence);
    both_hold_the_same(&bob, &alice, &id).await;
    // Our engine on another device reads the same.
    let other_device = world.device("alice elsewhere").await;
    other_device.log_in(world.credentials("alice")).await.unwrap();
    other_device.until_live().await;
    both_hold_the_same(&bob, &other_device, &id).await;
    // Each event was fired once for each time it was asked for.
    assert_eq!(bob.fired("RetransmitEvents").len(), 2 * usize::try_from(sequence).unwrap());
    assert_eq!(history(&bob, &id, 100).await.len(), 100);
}

#[tokio::test]
async fn an_uber_conversation_shows_either_side_the_time_they_were_in() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let carol = world.with_engine("carol").await;
    let bob = world.in_browser("bob").await;
    let club = alice.makes(ConversationConfig { uber: true, ..with("Club", &[]) }).await;
    let id = club.id.to_string();
    for text in ["before", "long before"] {
        settled(club.send_message(text, None).await).await;
    }
    settled(club.add_participants(vec![Participant::new(user(1)), Participant::new(user(2))]).await).await;
    bob.event("EditConversation", |event| event["seq"] == 4).await;
    settled(club.send_message("now", None).await).await;
    carol.until_sequence(&id, 5).await;
    carol.until_live().await;

    let seen = bob.conversation(&id, "retransmitEvents", json!([4, 5])).await.unwrap();
    assert_eq!(seen["events"][1]["message"]["text"], "now");
    let held = carol.messages(club.id, Window::Newest, 10).await.unwrap();
    let [TimelineItem::Message(only)] = &held[..] else { panic!("{held:?}") };
    assert_eq!(only.text, "now");
    // What came before is no gap that is asked for over and over, but known to be nobody's business.
    let holes = carol.holes(Some(club.id)).await.unwrap();
    assert_eq!((carol.gaps(None).await.unwrap(), holes.iter().map(|hole| hole.range.len()).sum::<u32>()), (vec![], 3));
}
