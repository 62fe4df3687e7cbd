//! Messages, read marks and typing, back and forth.

use crate::told::{both_hold_the_same, both_were_told};
use crate::world::{lunch_of_two, settled, user};
use backscroll::MessengerEvent;
use backscroll::engine::MessengerEventType;
use backscroll::model::{ErrorCode, RawJson, Sequence};
use serde_json::{Value, json};

fn uuid(answer: &Value) -> String {
    answer["message"]["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn what_is_sent_edited_and_removed_is_the_same_on_both_sides() {
    let (_world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();

    let poll = RawJson::from_value(&json!([{ "poll": ["soup", "salad"], "price": 7.5 }]));
    let asked = settled(lunch.send_message("Soup or salad? 🥗 \u{202e}\"\\ \u{0}", Some(poll)).await).await;
    let answered = uuid(&bob.conversation(&id, "sendMessage", json!(["Soup.", [{ "vote": 1 }]])).await.unwrap());
    let empty = uuid(&bob.conversation(&id, "sendMessage", json!(["", [{ "sticker": "spoon" }]])).await.unwrap());
    bob.edit_message(&answered, "Salad.").await.unwrap();
    settled(asked.message.update(Some("Salad, then.".to_owned()), None).await).await;
    bob.message(&empty, "remove").await.unwrap();
    settled(asked.message.remove().await).await;

    let told = both_were_told(&bob, &alice, &id, 8).await;
    let kinds: Vec<&str> = told.iter().map(|event| event.kind.as_str()).collect();
    let (send, edit, remove) = ("SendMessage", "EditMessage", "RemoveMessage");
    assert_eq!(kinds, ["CreateConversation", send, send, send, edit, edit, remove, remove]);
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn many_messages_at_once_from_both_sides_arrive_once_and_in_order() {
    let (_world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();
    let theirs = async {
        for number in 0..10 {
            bob.conversation(&id, "sendMessage", json!([format!("theirs {number}"), []])).await.unwrap();
        }
    };
    let ours = async {
        for number in 0..40 {
            settled(lunch.send_message(format!("ours {number}"), None).await).await;
        }
    };
    tokio::join!(theirs, ours);
    both_were_told(&bob, &alice, &id, 51).await;
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn read_marks_are_told_and_kept_both_ways() {
    let (_world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();
    settled(lunch.send_message("Hungry?", None).await).await;
    bob.conversation(&id, "sendMessage", json!(["Always.", []])).await.unwrap();
    both_were_told(&bob, &alice, &id, 3).await;

    let marked = bob.conversation(&id, "markAsRead", json!([2])).await.unwrap();
    assert_eq!((&marked["conversation"], &marked["seq"]), (&json!(id), &json!(2)));
    let seen = |event: &MessengerEvent| match event {
        MessengerEvent::ConversationService(event) if event.kind == MessengerEventType::Read => {
            Some((event.initiator, event.sequence))
        }
        _ => None,
    };
    alice
        .until("the mark of bob", |events| {
            events.iter().filter_map(seen).any(|mark| mark == (Some(user(1)), Sequence(2)))
        })
        .await;

    settled(lunch.mark_as_read(Sequence(3)).await).await;
    let told = bob.event("Read", |event| event["initiator"] == 101).await;
    assert_eq!((&told["conversation"], &told["seq"]), (&json!(id), &json!(3)));
    assert_eq!(bob.fired("Read").len(), 2);
    // The marks are part of how the conversation is.
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn typing_is_told_and_at_most_once_in_ten_seconds() {
    let (_world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();
    assert_eq!(bob.conversation(&id, "typing", json!([])).await.unwrap()["conversation"], json!(id));
    assert_eq!(bob.conversation(&id, "typing", json!([])).await.unwrap(), json!(false));
    let typing = |events: &[MessengerEvent]| {
        let of = |event: &&MessengerEvent| {
            matches!(event, MessengerEvent::ConversationService(event)
                if event.kind == MessengerEventType::Typing && event.initiator == Some(user(1)))
        };
        events.iter().filter(of).count()
    };
    alice.until("somebody typing", |events| typing(events) > 0).await;
    // What is said afterwards is told afterwards: had there been a second one, it would be there by now.
    bob.conversation(&id, "sendMessage", json!(["Soup.", []])).await.unwrap();
    alice.until_sequence(&id, 2).await;
    assert_eq!(typing(&alice.told()), 1);

    lunch.typing().await.unwrap();
    bob.event("Typing", |event| event["initiator"] == 101 && event["conversation"] == id).await;
    let refused = lunch.typing().await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::MethodCallDiscarded);
}
