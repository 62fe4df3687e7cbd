//! Conversations of every kind, made from either side.

use crate::told::{both_were_told, raw};
use crate::world::{World, within_patience};
use backscroll::model::{ConversationConfig, Participant, UserId};
use serde_json::json;

#[tokio::test]
async fn two_people_talk_from_both_sides() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;

    let wish = ConversationConfig {
        title: "Lunch".to_owned(),
        participants: vec![Participant::new(UserId::new(102).unwrap())],
        custom_data: raw(&json!({ "colour": "green" })),
        ..ConversationConfig::default()
    };
    let made = alice.create_conversation(wish).await.unwrap();
    let lunch = within_patience("the conversation", made).await.unwrap().conversation;
    let id = lunch.id.to_string();
    bob.event("CreateConversation", |event| event["conversation"]["uuid"] == id).await;

    let said = lunch.send_message("Soup or salad?", Some(raw(&json!([{ "poll": 2 }])))).await.unwrap();
    within_patience("the message", said).await.unwrap();
    let answer = bob.conversation(&id, "sendMessage", json!(["Soup.", [{ "vote": 1 }]])).await.unwrap();
    bob.edit_message(answer["message"]["uuid"].as_str().unwrap(), "Salad.").await.unwrap();
    bob.message(answer["message"]["uuid"].as_str().unwrap(), "remove").await.unwrap();

    both_were_told(&bob, &alice, &id, 5).await;
}
