//! Conversations of every kind, made from either side.

use crate::told::{both_hold_the_same, both_were_told, described, description};
use crate::world::{World, lunch_of_two, settled, user, with};
use backscroll::model::{ConversationConfig, ConversationKind, ErrorCode, Membership, RawJson};
use serde_json::{Value, json};

fn uuid(answer: &Value) -> String {
    answer["conversation"]["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn each_kind_made_in_the_browser_is_the_same_in_the_engine() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let others = json!([
        { "userId": 101, "canWrite": true, "canManageParticipants": true },
        { "userId": 103, "isOwner": true, "canWrite": true, "canEdit": true, "canRemove": true,
          "canManageParticipants": true, "canEditAll": true, "canRemoveAll": true },
    ]);
    // Participants, title, direct, public join, uber, custom data.
    let kinds = [
        (json!([others, "Team", false, false, false, { "icon": "star" }]), ConversationKind::Regular),
        (json!([[{ "userId": 101 }], "", true, false, false, {}]), ConversationKind::Direct),
        (json!([others, "Square", false, true, false, {}]), ConversationKind::Public),
        (json!([others, "Club", false, false, true, {}]), ConversationKind::Uber),
    ];
    for (wish, kind) in kinds {
        let made = bob.messenger("createConversation", wish).await.unwrap();
        let id = uuid(&made);
        both_were_told(&bob, &alice, &id, 1).await;
        both_hold_the_same(&bob, &alice, &id).await;
        let held = alice.conversation(id.parse().unwrap()).await.unwrap().unwrap().conversation;
        assert_eq!((held.kind(), description(&held)), (kind, described(&made["conversation"])));
    }
}

#[tokio::test]
async fn each_kind_made_in_the_engine_is_the_same_in_the_browser() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let kinds = [
        with("Team", &[user(1)]),
        ConversationConfig { direct: true, ..with("", &[user(1)]) },
        ConversationConfig { public_join: true, ..with("Square", &[user(1)]) },
        ConversationConfig { uber: true, ..with("Club", &[user(1)]) },
    ];
    for wish in kinds {
        let made = alice.makes(wish).await;
        let id = made.id.to_string();
        both_were_told(&bob, &alice, &id, 1).await;
        both_hold_the_same(&bob, &alice, &id).await;
        let seen = bob.event("CreateConversation", |event| uuid(event) == id).await;
        assert_eq!(description(&made), described(&seen["conversation"]));
    }
}

#[tokio::test]
async fn two_people_have_one_direct_conversation_whoever_asks() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let first = alice.makes(ConversationConfig { direct: true, ..with("", &[user(1)]) }).await;
    let id = first.id.to_string();
    bob.event("CreateConversation", |event| uuid(event) == id).await;
    bob.conversation(&id, "sendMessage", json!(["Hello.", []])).await.unwrap();

    let again = bob.messenger("createConversation", json!([[{ "userId": 101 }], "Another", true])).await.unwrap();
    assert_eq!((uuid(&again), &again["conversation"]["lastSeq"]), (id.clone(), &json!(2)));
    let again = alice.makes(ConversationConfig { direct: true, ..with("Another", &[user(1)]) }).await;
    assert_eq!(again.id, first.id);
    // Nothing happened in it: the next event is the next position.
    bob.conversation(&id, "sendMessage", json!(["Are you there?", []])).await.unwrap();
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn title_data_and_public_join_change_for_both() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let made = bob.messenger("createConversation", json!([[{ "userId": 101 }], "Lunch"])).await.unwrap();
    let id = uuid(&made);
    bob.conversation(&id, "setTitle", json!(["Dinner"])).await.unwrap();
    bob.conversation(&id, "setCustomData", json!([{ "place": "garden" }])).await.unwrap();
    bob.conversation(&id, "setPublicJoin", json!([true])).await.unwrap();
    let told = both_were_told(&bob, &alice, &id, 4).await;
    let last = &told[3].content;
    assert_eq!((&last["title"], &last["data"]), (&json!("Dinner"), &json!({ "place": "garden" })));
    assert_eq!(last["public"], true);
    both_hold_the_same(&bob, &alice, &id).await;

    // The other way round, one part at a time: what is not named stays.
    let lunch = alice.makes(with("Lunch", &[user(1)])).await;
    let id = lunch.id.to_string();
    let data = RawJson::from_value(&json!({ "place": "garden" }));
    settled(lunch.update(None, None, Some(data)).await).await;
    settled(lunch.update(Some("Dinner".to_owned()), None, None).await).await;
    settled(lunch.update(None, Some(true), None).await).await;
    let told = both_were_told(&bob, &alice, &id, 4).await;
    let last = &told[3].content;
    assert_eq!((&last["title"], &last["data"]), (&json!("Dinner"), &json!({ "place": "garden" })));
    assert_eq!(last["public"], true);
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn a_removed_conversation_is_gone_for_both() {
    let (_world, alice, bob, lunch) = lunch_of_two().await;
    let id = lunch.id.to_string();
    let removed = settled(lunch.remove().await).await;
    assert_eq!(removed.sequence.get(), 2);
    let told = bob.event("RemoveConversation", |event| event["uuid"] == id).await;
    assert_eq!((&told["seq"], &told["initiator"]), (&json!(2), &json!(101)));
    assert_eq!(bob.messenger("getConversation", json!([id])).await.unwrap_err()["code"], 16);
    let refused = alice.get_conversation(lunch.id).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::ConversationDeleted);
}

#[tokio::test]
async fn a_public_conversation_is_listed_joined_and_left() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let square = alice.makes(ConversationConfig { public_join: true, ..with("Square", &[]) }).await;
    let id = square.id.to_string();
    let listed = bob.messenger("getPublicConversations", json!([])).await.unwrap();
    assert_eq!(listed["conversations"], json!([id]));

    let joined = bob.messenger("joinConversation", json!([id])).await.unwrap();
    assert_eq!(joined["conversation"]["participants"].as_array().unwrap().len(), 2);
    bob.conversation(&id, "sendMessage", json!(["What is this place?", []])).await.unwrap();
    alice.until_sequence(&id, 3).await;
    both_hold_the_same(&bob, &alice, &id).await;

    let left = bob.messenger("leaveConversation", json!([id])).await.unwrap();
    assert_eq!(left["conversation"]["participants"].as_array().unwrap().len(), 1);
    alice.until_sequence(&id, 4).await;
    settled(square.send_message("Gone already?", None).await).await;
    // Whoever left hears nothing more. An answer that is asked for now comes after whatever was told before.
    let me = bob.messenger("getUser", json!(["bob@chat.acme"])).await.unwrap();
    assert_eq!(me["user"]["conversationsList"], json!([]));
    assert_eq!(bob.fired("SendMessage").len(), 1);
}

#[tokio::test]
async fn the_engine_lists_joins_and_leaves_what_the_browser_made() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let made = bob.messenger("createConversation", json!([[], "Square", false, true])).await.unwrap();
    let id = uuid(&made);
    bob.conversation(&id, "sendMessage", json!(["Is anybody here?", []])).await.unwrap();
    assert_eq!(alice.get_public_conversations().await.unwrap().conversations, [id.parse().unwrap()]);

    let square = settled(alice.join_conversation(id.parse().unwrap()).await).await.conversation;
    assert_eq!(square.participants.len(), 2);
    settled(square.send_message("I am.", None).await).await;
    bob.event("SendMessage", |event| event["initiator"] == 101).await;
    alice.until_live().await;
    both_hold_the_same(&bob, &alice, &id).await;

    settled(alice.leave_conversation(square.id).await).await;
    let told = bob.event("EditConversation", |event| event["messengerAction"] == "leaveConversation").await;
    assert_eq!((&told["seq"], &told["initiator"]), (&json!(5), &json!(101)));
    let kept = alice.conversation(square.id).await.unwrap().unwrap();
    assert_eq!(kept.membership, Membership::Left);
}

#[tokio::test]
async fn several_conversations_are_described_at_once() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let mut ids = Vec::new();
    for number in 0..30 {
        ids.push(alice.makes(with(&format!("number {number}"), &[user(1)])).await.id.to_string());
    }
    let described = bob.messenger("getConversations", json!([ids])).await.unwrap();
    let titles = described.as_array().unwrap().iter().map(|event| event["conversation"]["title"].clone());
    let expected = (0..30).map(|number| Value::from(format!("number {number}")));
    assert_eq!(titles.collect::<Vec<_>>(), expected.collect::<Vec<_>>());
}
