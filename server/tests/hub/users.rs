//! Users, presence and subscriptions.

use crate::world::*;
use backscroll::model::{Notification, RawJson, UserName};
use backscroll::protocol::{Push, Request, UserKey};

fn edit_user(custom: Option<&str>, private: Option<&str>) -> Request {
    Request::EditUser { custom_data: custom.map(json), private_custom_data: private.map(json) }
}

#[test]
fn private_members_are_for_the_user_alone() {
    let mut world = World::new();
    let conversation = world.group(&[BOB]);
    world.get(ALICE, edit_user(Some(r#"{"mood":"fine"}"#), Some(r#"{"pin":7}"#)));
    let private = world.private(ALICE);
    assert_eq!(private.custom_data.as_str(), r#"{"pin":7}"#);
    assert_eq!(private.conversations, [conversation]);
    let by_name = Request::GetUser(UserKey::Name(UserName::new("alice@chat.acme")));
    let Push::User { user, .. } = world.get(BOB, by_name) else { panic!("no user") };
    assert_eq!((user.id, user.custom_data.as_str(), user.private), (ALICE, r#"{"mood":"fine"}"#, None));
}

#[test]
fn many_users_are_answered_one_by_one_in_the_order_asked() {
    let mut world = World::new();
    let keys = [CAROL, ALICE, BOB].map(UserKey::Id).to_vec();
    let outcome = world.ask(ALICE, Request::GetUsers(keys));
    let users: Vec<_> = outcome
        .reply
        .iter()
        .map(|chat| match &chat.push {
            Push::User { user, .. } => (user.id, user.private.is_some()),
            _ => panic!("no user"),
        })
        .collect();
    assert_eq!(users, [(CAROL, false), (ALICE, true), (BOB, false)]);
}

#[test]
fn an_edit_is_told_to_the_user_in_full_and_to_followers_in_part() {
    let mut world = World::new();
    world.get(BOB, Request::Subscribe(vec![ALICE]));
    let outcome = world.ask(ALICE, edit_user(Some(r#"{"a":1}"#), None));
    let shown: Vec<_> = outcome
        .fan_out
        .iter()
        .map(|one| match &one.push {
            Push::UserEdited { user, .. } => (one.users.clone(), user.private.is_some()),
            _ => panic!("no user"),
        })
        .collect();
    assert_eq!(shown, [(vec![ALICE], true), (vec![BOB], false)]);
    // What is absent is kept, an empty object erases.
    world.get(ALICE, edit_user(None, Some(r#"{"b":2}"#)));
    world.get(ALICE, edit_user(Some("{}"), None));
    assert_eq!(world.private(ALICE).custom_data.as_str(), r#"{"b":2}"#);
}

#[test]
fn presence_goes_to_followers_and_to_oneself() {
    let mut world = World::new();
    world.get(BOB, Request::Subscribe(vec![ALICE, CAROL, ALICE]));
    world.get(ALICE, Request::Subscribe(vec![ALICE]));
    let outcome = world.ask(ALICE, Request::SetStatus { online: true });
    assert!(matches!(outcome.reply[0].push, Push::Status { online: true, .. }));
    assert_eq!(told(&outcome.fan_out), [ALICE, BOB]);
    world.get(BOB, Request::Unsubscribe(vec![ALICE]));
    let outcome = world.ask(ALICE, Request::SetStatus { online: false });
    assert_eq!(told(&outcome.fan_out), [ALICE]);
}

#[test]
fn subscriptions_are_listed_and_dropped_together() {
    let mut world = World::new();
    let outcome = world.ask(BOB, Request::Subscribe(vec![CAROL, ALICE]));
    assert_eq!(told(&outcome.fan_out), [BOB]);
    assert!(matches!(
        world.get(BOB, Request::GetSubscriptions),
        Push::Subscriptions { users, .. } if users == [ALICE, CAROL]
    ));
    assert!(matches!(
        world.get(BOB, Request::UnsubscribeAll),
        Push::Unsubscribed { users, .. } if users == [ALICE, CAROL]
    ));
    assert!(matches!(
        world.get(BOB, Request::GetSubscriptions),
        Push::Subscriptions { users, .. } if users.is_empty()
    ));
}

#[test]
fn notifications_are_replaced_and_told_to_the_user_alone() {
    let mut world = World::new();
    world.get(BOB, Request::Subscribe(vec![ALICE]));
    let kinds = vec![Some(Notification::EditMessage), Some(Notification::SendMessage), Some(Notification::EditMessage)];
    let outcome = world.ask(ALICE, Request::ManageNotifications(kinds));
    assert_eq!(told(&outcome.fan_out), [ALICE]);
    assert_eq!(world.private(ALICE).notifications, [Notification::SendMessage, Notification::EditMessage]);
    assert_eq!(world.refusal(ALICE, Request::ManageNotifications(vec![None])), 26);
    world.get(ALICE, Request::ManageNotifications(Vec::new()));
    assert_eq!(world.private(ALICE).notifications, []);
    assert_eq!(world.private(ALICE).custom_data, RawJson::empty_object());
}
