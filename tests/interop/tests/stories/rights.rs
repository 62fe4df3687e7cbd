//! Who may do what, and who is told when that changes.

use crate::told::{both_hold_the_same, both_were_told};
use crate::world::{World, settled, user, with, within_patience};
use backscroll::model::{ErrorCode, Membership, Participant, Permissions};
use serde_json::{Value, json};

fn uuid(answer: &Value) -> String {
    answer["conversation"]["uuid"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn participants_come_change_and_go_and_the_engine_follows() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let carol = world.with_engine("carol").await;
    let bob = world.in_browser("bob").await;
    let made = bob.messenger("createConversation", json!([[{ "userId": 101 }], "Team"])).await.unwrap();
    let id = uuid(&made);

    bob.conversation(&id, "addParticipants", json!([[{ "userId": 103, "canWrite": true }]])).await.unwrap();
    carol.until_sequence(&id, 2).await;
    let mute = json!([[{ "userId": 101, "canManageParticipants": true }, { "userId": 103 }]]);
    bob.conversation(&id, "editParticipants", mute).await.unwrap();
    both_were_told(&bob, &alice, &id, 3).await;
    both_hold_the_same(&bob, &alice, &id).await;
    let held = alice.conversation(id.parse().unwrap()).await.unwrap().unwrap().conversation;
    let own = held.participant(alice.my_id().unwrap()).unwrap().permissions;
    assert!(own.can_manage_participants() && !own.can_write() && !own.is_owner());

    bob.conversation(&id, "removeParticipants", json!([[{ "userId": 103 }]])).await.unwrap();
    both_were_told(&bob, &alice, &id, 4).await;
    // Whoever is taken out is told so, and keeps what there was.
    carol.until_sequence(&id, 4).await;
    carol.until_live().await;
    let kept = carol.conversation(id.parse().unwrap()).await.unwrap().unwrap();
    assert_eq!(kept.membership, Membership::Left);
    bob.conversation(&id, "sendMessage", json!(["Between us", []])).await.unwrap();
    both_were_told(&bob, &alice, &id, 5).await;
    both_hold_the_same(&bob, &alice, &id).await;
}

#[tokio::test]
async fn the_engine_brings_people_in_and_the_browser_follows() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let carol = world.in_browser("carol").await;
    let team = alice.makes(with("Team", &[user(1)])).await;
    let id = team.id.to_string();

    settled(team.add_participants(vec![Participant::new(user(2))]).await).await;
    carol.event("EditConversation", |event| event["messengerAction"] == "addParticipants").await;
    let mute = Participant::new(user(1)).with_permissions(Permissions::NONE.with_manage_participants(true));
    settled(team.edit_participants(vec![mute]).await).await;
    both_were_told(&bob, &alice, &id, 3).await;
    both_hold_the_same(&bob, &alice, &id).await;
    let refused = bob.conversation(&id, "sendMessage", json!(["Anybody?", []])).await.unwrap_err();
    assert_eq!(refused["code"], 12);

    settled(team.remove_participants(vec![user(2)]).await).await;
    let told = carol.event("EditConversation", |event| event["messengerAction"] == "removeParticipants").await;
    assert_eq!((&told["seq"], &told["initiator"]), (&json!(4), &json!(101)));
    both_were_told(&bob, &alice, &id, 4).await;
    both_hold_the_same(&bob, &alice, &id).await;
    // What is refused to the engine has its code there, too.
    let refused =
        within_patience("a refusal", team.remove_participants(vec![user(2)]).await.unwrap()).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::UserIsNotInTheParticipantList);
}

#[tokio::test]
async fn what_a_right_does_not_give_is_refused_with_code_12() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.in_browser("alice").await;
    let bob = world.in_browser("bob").await;
    let made = alice.messenger("createConversation", json!([[{ "userId": 102 }], "Team"])).await.unwrap();
    let id = uuid(&made);
    bob.event("CreateConversation", |_| true).await;
    let of_alice = alice.conversation(&id, "sendMessage", json!(["Mine", []])).await.unwrap();
    let of_alice = of_alice["message"]["uuid"].as_str().unwrap();
    bob.event("SendMessage", |_| true).await;
    let refused = |answer: Result<Value, Value>| answer.unwrap_err()["code"].clone();

    // By default: write, edit and remove one's own.
    let own = bob.conversation(&id, "sendMessage", json!(["Yours", []])).await.unwrap();
    let own = own["message"]["uuid"].as_str().unwrap();
    bob.edit_message(own, "Ours").await.unwrap();
    assert_eq!(refused(bob.edit_message(of_alice, "Ours").await), 12);
    assert_eq!(refused(bob.message(of_alice, "remove").await), 12);
    assert_eq!(refused(bob.conversation(&id, "setTitle", json!(["Ours"])).await), 12);
    assert_eq!(refused(bob.conversation(&id, "addParticipants", json!([[{ "userId": 101 }]])).await), 12);
    assert_eq!(refused(bob.conversation(&id, "removeParticipants", json!([[{ "userId": 101 }]])).await), 12);

    // Nothing at all.
    alice.conversation(&id, "editParticipants", json!([[{ "userId": 102 }]])).await.unwrap();
    for answer in [
        bob.conversation(&id, "sendMessage", json!(["Anybody?", []])).await,
        bob.edit_message(own, "Anybody?").await,
        bob.message(own, "remove").await,
    ] {
        assert_eq!(refused(answer), 12);
    }

    // Other people's, too.
    let more = json!([[{ "userId": 102, "canEditAll": true, "canRemoveAll": true }]]);
    alice.conversation(&id, "editParticipants", more).await.unwrap();
    bob.edit_message(of_alice, "Ours").await.unwrap();
    let edited = alice.event("EditMessage", |event| event["message"]["uuid"] == of_alice).await;
    assert_eq!((&edited["message"]["text"], &edited["initiator"]), (&json!("Ours"), &json!(102)));
    bob.message(of_alice, "remove").await.unwrap();
    alice.event("RemoveMessage", |event| event["message"]["uuid"] == of_alice).await;
}
