//! Long histories, read in pages of 100.

use crate::told::{both_hold_the_same, history};
use crate::world::{World, settled, user, with};
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
