//! What works with no network at all.

use crate::world::{World, conversation_of, credentials, messages, nobody, texts, until_live, within_patience};
use backscroll::engine::{Freshness, Role};
use backscroll::model::{ConversationConfig, ConversationId, Delivery, MessageId, Sequence, Timestamp};
use backscroll::sync::{LinkState, Refusal, SignedOut};
use backscroll::{Config, Error, Messenger};
use uuid::Uuid;

/// everything people see comes from the file, with no network at all.
#[tokio::test]
async fn a_device_opens_and_reads_everything_with_the_server_gone() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    within_patience("the answer", ours.send_message("Soup?", None).await.unwrap()).await.unwrap();
    let (name, id) = (alice.me(), alice.my_id());
    alice.close().await;
    world.stop_server().await;

    // Without naming the server: the file remembers it.
    let alice = Messenger::open(Config::new(world.store("alice"))).await.unwrap();
    assert_eq!((alice.me(), alice.my_id()), (name, id));
    assert!(alice.server().is_some_and(|server| server.extra_root.is_some()));
    let list = alice.conversations(0, 10).await.unwrap();
    assert_eq!((list.len(), list[0].conversation.id), (1, ours.id));
    assert!(matches!(list[0].freshness, Freshness::Stale { since: Some(at) } if at >= list[0].last_activity), "R-88");
    assert_eq!(texts(&alice, ours.id).await, ["Soup?"]);
    assert_eq!(alice.verify().await.unwrap(), []);
    assert_ne!(*alice.connection().borrow(), LinkState::Live);
}

#[tokio::test]
async fn a_session_resumes_by_itself() {
    let world = World::with_users(&["alice"]).await;
    world.log_in("alice").await.close().await;
    let alice = Messenger::open(Config::new(world.store("alice"))).await.unwrap();
    until_live(&alice).await;
}

#[tokio::test]
async fn after_a_logout_history_stays_and_only_a_login_connects_again() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    within_patience("the answer", ours.send_message("Soup?", None).await.unwrap()).await.unwrap();
    alice.log_out().await.unwrap();
    assert_eq!(*alice.connection().borrow(), LinkState::SignedOut(SignedOut::LoggedOut));
    assert_eq!(texts(&alice, ours.id).await, ["Soup?"]);
    alice.close().await;

    let alice = world.open("alice").await;
    assert_eq!(*alice.connection().borrow(), LinkState::SignedOut(SignedOut::LoggedOut));
    alice.log_in(credentials("alice")).await.unwrap();
    until_live(&alice).await;
}

#[tokio::test]
async fn before_the_first_login_nothing_can_be_asked_or_wished() {
    let world = World::with_users(&["alice"]).await;
    let device = world.open("alice").await;
    assert_eq!((device.me(), device.my_id()), (None, None));
    let refused = device.create_conversation(ConversationConfig::default()).await.unwrap_err();
    assert!(matches!(refused, Error::Refused(Refusal::NoSession)));
    assert!(device.conversations(0, 10).await.unwrap().is_empty());
    let device = Messenger::open(Config::new(world.store("nobody"))).await.unwrap();
    assert!(matches!(device.log_in(credentials("alice")).await, Err(Error::NoServer)));
}

#[tokio::test]
async fn objects_are_recreated_from_what_an_application_kept() {
    let mut world = World::with_users(&["alice"]).await;
    world.stop_server().await;
    let device = world.open("alice").await;
    let id = ConversationId::from_uuid(Uuid::from_u128(1));
    let config = ConversationConfig { title: "Lunch".to_owned(), ..ConversationConfig::default() };
    let conversation = device.recreate_conversation(id, config, Sequence(7), Timestamp(9), Timestamp(8));
    assert_eq!((conversation.id, conversation.title.as_str()), (id, "Lunch"));
    let times = (conversation.last_sequence, conversation.last_update, conversation.created_at);
    assert_eq!(times, (Sequence(7), Timestamp(9), Timestamp(8)));

    let message = MessageId::from_uuid(Uuid::from_u128(2));
    let message = device.recreate_message(message, id, "Soup?", None, Sequence(3));
    assert_eq!((message.text.as_str(), message.sequence, message.delivery), ("Soup?", Sequence(3), Delivery::Settled));
    assert!(device.conversation(id).await.unwrap().is_none());
    assert_eq!(device.user(nobody()).await.unwrap(), None);
}

///
#[tokio::test]
async fn a_file_in_use_can_be_inspected_and_opened_twice_it_is_the_same_engine() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    within_patience("the answer", ours.send_message("Soup?", None).await.unwrap()).await.unwrap();

    let twice = Messenger::open(world.config("alice")).await.unwrap();
    assert_eq!(*twice.role().borrow(), Role::Syncing);
    let sent = twice.conversation(ours.id).await.unwrap().unwrap().conversation.send_message("Salad?", None).await;
    within_patience("the answer", sent.unwrap()).await.unwrap();
    drop(twice);
    let onlooker = Messenger::inspect(world.store("alice")).await.unwrap();
    assert_eq!(onlooker.me(), alice.me());
    assert_eq!(onlooker.holder().await.unwrap().map(|holder| holder.process), Some(std::process::id()));
    assert_eq!(texts(&onlooker, ours.id).await, ["Soup?", "Salad?"]);
    let conversation = onlooker.conversation(ours.id).await.unwrap().unwrap().conversation;
    assert!(matches!(conversation.send_message("no", None).await, Err(Error::Closed)));
}

#[tokio::test]
async fn a_closed_engine_says_so_and_leaves_the_file_free() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    alice.close().await;
    alice.close().await;
    assert!(matches!(ours.send_message("late", None).await, Err(Error::Closed)));
    assert!(alice.conversation(ours.id).await.is_err());
    let again = world.open("alice").await;
    assert!(messages(&again, ours.id).await.is_empty());
}
