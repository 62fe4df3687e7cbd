//! Users: looked up, edited, followed, there or not.

use crate::world::{World, settled, user};
use backscroll::MessengerEvent;
use backscroll::engine::MessengerEventType;
use backscroll::model::{Notification, RawJson};
use serde_json::{Value, json};

#[tokio::test]
async fn users_are_looked_up_by_name_and_by_number() {
    let world = World::with_users(&["alice", "bob"]).await;
    let bob = world.in_browser("bob").await;
    let alice = json!({ "userId": 101, "userName": "alice@chat.acme", "displayName": "alice", "customData": {} });
    let known = |answer: &Value| {
        let mut known = answer["user"].clone();
        known.as_object_mut().unwrap().retain(|_, value| !value.is_null() && *value != false);
        known
    };
    assert_eq!(known(&bob.messenger("getUser", json!(["alice@chat.acme"])).await.unwrap()), alice);
    // The SDK cuts the long form of a name by itself.
    assert_eq!(known(&bob.messenger("getUser", json!(["alice@chat.acme.voximplant.com"])).await.unwrap()), alice);
    assert_eq!(known(&bob.messenger("getUserById", json!([101])).await.unwrap()), alice);
    for (call, wanted) in
        [("getUsers", json!(["bob@chat.acme", "alice@chat.acme"])), ("getUsersById", json!([102, 101]))]
    {
        let answer = bob.messenger(call, json!([wanted])).await.unwrap();
        let answer = answer.as_array().unwrap();
        assert_eq!((answer.len(), &answer[0]["user"]["userId"], known(&answer[1])), (2, &json!(102), alice.clone()));
    }
    assert_eq!(bob.messenger("getUser", json!(["nobody@chat.acme"])).await.unwrap_err()["code"], 25);
    // Only one's own is told in full.
    let own = bob.messenger("getUserById", json!([102])).await.unwrap();
    assert_eq!((&own["user"]["conversationsList"], &own["user"]["privateCustomData"]), (&json!([]), &json!({})));
}

#[tokio::test]
async fn public_data_reaches_whoever_follows_and_private_data_nobody() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let bob = world.in_browser("bob").await;
    let carol = world.in_browser("carol").await;
    let bob_on_our_engine = world.with_engine("bob").await;
    carol.messenger("subscribe", json!([[102]])).await.unwrap();

    let edited = bob.messenger("editUser", json!([{ "mood": "fine" }, { "pin": 7 }])).await.unwrap();
    assert_eq!(edited["user"]["privateCustomData"], json!({ "pin": 7 }));
    let seen = carol.event("EditUser", |_| true).await;
    assert_eq!(seen["user"]["customData"], json!({ "mood": "fine" }));
    assert_eq!((&seen["user"]["privateCustomData"], &seen["initiator"]), (&Value::Null, &json!(102)));
    // The own other device is told everything.
    let own = |event: &MessengerEvent| match event {
        MessengerEvent::User(event) if event.user.id == user(1) => event.user.private.clone(),
        _ => None,
    };
    let pinned = |events: &[MessengerEvent]| {
        events.iter().filter_map(own).any(|private| private.custom_data.as_str() == r#"{"pin":7}"#)
    };
    bob_on_our_engine.until("the private data", pinned).await;
    // What is left out stays; what is empty is erased.
    let edited = bob.messenger("editUser", json!([{}])).await.unwrap();
    assert_eq!(
        (&edited["user"]["customData"], &edited["user"]["privateCustomData"]),
        (&json!({}), &json!({ "pin": 7 }))
    );
}

#[tokio::test]
async fn subscriptions_are_made_listed_and_ended_and_outlive_the_page() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let bob = world.in_browser("bob").await;
    let made = bob.messenger("subscribe", json!([[101, 103]])).await.unwrap();
    assert_eq!(made["users"], json!([101, 103]));
    drop(bob);

    let bob = world.in_browser("bob").await;
    let listed = bob.messenger("getSubscriptionList", json!([])).await.unwrap();
    assert_eq!(listed["users"], json!([101, 103]));
    let ended = bob.messenger("unsubscribe", json!([[103]])).await.unwrap();
    assert_eq!(ended["users"], json!([103]));
    let ended = bob.messenger("unsubscribe", json!([[], true])).await.unwrap();
    assert_eq!(ended["users"], json!([101]));
    assert_eq!(bob.messenger("getSubscriptionList", json!([])).await.unwrap()["users"], json!([]));
}

#[tokio::test]
async fn the_browser_follows_what_the_engine_says_of_its_user() {
    let world = World::with_users(&["alice", "bob"]).await;
    let alice = world.with_engine("alice").await;
    let bob = world.in_browser("bob").await;
    let alice_in_browser = world.in_browser("alice").await;
    bob.messenger("subscribe", json!([[101]])).await.unwrap();

    let mood = RawJson::from_value(&json!({ "mood": "hungry" }));
    let pin = RawJson::from_value(&json!({ "pin": 7 }));
    let edited = settled(alice.edit_user(Some(mood.clone()), Some(pin.clone())).await).await.user;
    assert_eq!((&edited.custom_data, &edited.private.unwrap().custom_data), (&mood, &pin));
    let seen = bob.event("EditUser", |event| event["initiator"] == 101).await;
    assert_eq!(seen["user"]["customData"], json!({ "mood": "hungry" }));
    assert_eq!(seen["user"]["privateCustomData"], Value::Null);
    let own = alice_in_browser.event("EditUser", |event| event["initiator"] == 101).await;
    assert_eq!(own["user"]["privateCustomData"], json!({ "pin": 7 }));

    alice.set_status(true).await.unwrap();
    bob.event("SetStatus", |event| event["initiator"] == 101 && event["online"] == true).await;

    let wanted = vec![Notification::SendMessage];
    let kept = settled(alice.manage_push_notifications(wanted.clone()).await).await.user;
    assert_eq!(kept.private.unwrap().notifications, wanted);
    let told = alice_in_browser.event("EditUser", |event| event["messengerAction"] == "manageNotification").await;
    assert_eq!(told["user"]["notificationEvents"], json!(["SendMessage"]));
}

#[tokio::test]
async fn whom_a_user_follows_is_the_same_on_all_devices() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let alice = world.with_engine("alice").await;
    let browser = world.in_browser("alice").await;
    settled(alice.subscribe(vec![user(1), user(2)]).await).await;
    assert_eq!(browser.event("Subscribe", |_| true).await["users"], json!([102, 103]));
    settled(alice.unsubscribe(vec![user(1)]).await).await;
    assert_eq!(browser.event("Unsubscribe", |_| true).await["users"], json!([102]));
    assert_eq!(alice.get_subscriptions().await.unwrap().users, [user(2)]);

    browser.messenger("subscribe", json!([[102]])).await.unwrap();
    let told = |event: &MessengerEvent| match event {
        MessengerEvent::Subscription(event) => Some((event.kind, event.users.clone())),
        _ => None,
    };
    let followed = |events: &[MessengerEvent]| {
        events.iter().filter_map(told).any(|event| event == (MessengerEventType::Subscribe, vec![user(1)]))
    };
    alice.until("the subscription of the browser", followed).await;
    settled(alice.unsubscribe_from_all().await).await;
    browser
        .until("nobody followed", |events| events.iter().filter(|event| event.name == "Unsubscribe").count() == 2)
        .await;
    assert_eq!(browser.messenger("getSubscriptionList", json!([])).await.unwrap()["users"], json!([]));
}

#[tokio::test]
async fn presence_is_told_to_whoever_follows() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let bob = world.in_browser("bob").await;
    let carol = world.in_browser("carol").await;
    let bob_on_our_engine = world.with_engine("bob").await;
    carol.messenger("subscribe", json!([[102]])).await.unwrap();
    for online in [true, false] {
        let told = bob.messenger("setStatus", json!([online])).await.unwrap();
        assert_eq!((&told["online"], &told["initiator"]), (&json!(online), &json!(102)));
        carol.event("SetStatus", |event| event["online"] == online && event["initiator"] == 102).await;
    }
    let status = |event: &MessengerEvent| match event {
        MessengerEvent::Status(event) => Some((event.user, event.online)),
        _ => None,
    };
    let both = |events: &[MessengerEvent]| events.iter().filter_map(status).eq([(user(1), true), (user(1), false)]);
    bob_on_our_engine.until("both states", both).await;
    assert_eq!(carol.fired("SetStatus").len(), 2);
}

#[tokio::test]
async fn the_kinds_of_push_notifications_are_kept() {
    let world = World::with_users(&["bob"]).await;
    let bob = world.in_browser("bob").await;
    let wanted = json!(["SendMessage", "EditMessage"]);
    let kept = bob.messenger("manageNotification", json!([wanted])).await.unwrap();
    assert_eq!(kept["user"]["notificationEvents"], wanted);
    let none = bob.messenger("manageNotification", json!([[]])).await.unwrap();
    assert_eq!(none["user"]["notificationEvents"], json!([]));
}
