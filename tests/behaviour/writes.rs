//! Every write with no network: shown at once, done once there is one, and nothing erased on the way.

use crate::world::{
    World, assert_sound, conversation_of, messages, nobody, texts, until, until_texts, user_name, within_patience,
};
use backscroll::engine::{MessengerEventType, Sending};
use backscroll::model::{
    ConversationConfig, ConversationId, Delivery, ErrorCode, Membership, Notification, OutboxState, Participant,
    Permissions, RawJson, Sequence, Timestamp,
};
use backscroll::{Error, Messenger};

fn json(text: &str) -> RawJson {
    RawJson::new(text).unwrap()
}

async fn settled<T>(sending: Result<Sending<T>, Error>) -> T {
    within_patience("the answer", sending.unwrap()).await.unwrap()
}

async fn until_done(messenger: &Messenger) {
    until(messenger, "an empty outbox", || async {
        messenger.outbox().await.unwrap().iter().all(|entry| entry.state == OutboxState::Settled)
    })
    .await;
}

fn with(participants: &[&Messenger]) -> ConversationConfig {
    let participants = participants.iter().map(|other| Participant::new(other.my_id().unwrap())).collect();
    ConversationConfig { title: "Dinner".to_owned(), participants, ..ConversationConfig::default() }
}

/// R-29, R-33: made, renamed and written into with no network, by a process that ends at once.
#[tokio::test]
async fn a_conversation_made_offline_is_used_before_the_server_has_named_it() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    world.take_server_from(&alice).await;
    let making = alice.create_conversation(with(&[&bob])).await.unwrap();
    let here = ConversationId::provisional(making.token());
    drop(making);
    let shown = alice.conversation(here).await.unwrap().expect("shown at once");
    assert_eq!((shown.conversation.title.as_str(), shown.delivery), ("Dinner", Delivery::Queued));
    let owner = shown.conversation.participant(alice.my_id().unwrap()).expect("whoever makes it is in");
    assert!(owner.permissions.is_owner());
    drop(shown.conversation.send_message("first", None).await.unwrap());
    drop(shown.conversation.update(Some("Supper".to_owned()), None, None).await.unwrap());
    drop(shown.conversation.send_message("second", None).await.unwrap());
    assert_eq!(texts(&alice, here).await, ["first", "second"]);
    let listed = alice.conversations(0, 10).await.unwrap();
    assert_eq!(listed.iter().map(|row| row.conversation.title.as_str()).collect::<Vec<_>>(), ["Supper"]);
    alice.close().await;

    let alice = world.open("alice").await;
    assert_eq!(texts(&alice, here).await, ["first", "second"]);
    world.start_server().await;
    until_done(&alice).await;
    let made = alice.conversation(here).await.unwrap().expect("still known by that id");
    assert_ne!(made.conversation.id, here);
    assert_eq!((made.delivery, alice.conversations(0, 10).await.unwrap().len()), (Delivery::Settled, 1));
    until_texts(&bob, made.conversation.id, &["first", "second"]).await;
    assert_eq!(bob.conversation(made.conversation.id).await.unwrap().unwrap().conversation.title, "Supper");
    // Whoever wrote the provisional id down goes on with it.
    let kept = alice.recreate_conversation(
        here,
        ConversationConfig::default(),
        Sequence::ZERO,
        Timestamp::default(),
        Timestamp::default(),
    );
    settled(kept.send_message("third", None).await).await;
    until_texts(&bob, made.conversation.id, &["first", "second", "third"]).await;
    assert_sound(&alice).await;
    assert_sound(&bob).await;
}

/// R-31, M-10: a making that is refused is set aside with what was meant for it, and the rest goes on.
#[tokio::test]
async fn a_refused_making_is_changed_back_by_hand() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;
    let wish = ConversationConfig { participants: vec![Participant::new(nobody())], ..with(&[]) };
    let making = alice.create_conversation(wish).await.unwrap();
    let token = making.token();
    let here = alice.conversation(ConversationId::provisional(token)).await.unwrap().unwrap().conversation;
    let held = here.send_message("meant for nobody", None).await.unwrap();
    drop(ours.send_message("elsewhere", None).await.unwrap());
    world.start_server().await;
    until_texts(&bob, ours.id, &["elsewhere"]).await;
    let refused = within_patience("the refusal", making).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::UserValidation);
    let entry = |token| {
        let alice = &alice;
        async move { alice.outbox().await.unwrap().into_iter().find(|entry| entry.token == token) }
    };
    assert_eq!(entry(held.token()).await.unwrap().state, OutboxState::Queued);
    let again = within_patience("the refusal", alice.retry(token).await.unwrap()).await.unwrap_err();
    assert_eq!(again.messaging().unwrap().code, ErrorCode::UserValidation);
    alice.cancel(token).await.unwrap();
    assert_eq!(entry(token).await, None);
    let failed = within_patience("its end", held).await.unwrap_err();
    assert_eq!(failed.messaging().unwrap().code, ErrorCode::ConversationDoesNotExist);
}

/// O-5: what has not left is changed where it waits, and a removed one never leaves.
#[tokio::test]
async fn a_message_that_waits_is_changed_and_removed_where_it_waits() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;
    let first = ours.send_message("frist", Some(json(r#"[{"a":1}]"#))).await.unwrap();
    let second = ours.send_message("never", None).await.unwrap();
    let shown = messages(&alice, ours.id).await;
    drop(shown[0].update(Some("first".to_owned()), None).await.unwrap());
    let removed = within_patience("at once", shown[1].remove().await.unwrap()).await.unwrap();
    assert_eq!((removed.kind, removed.sequence), (MessengerEventType::RemoveMessage, Sequence::ZERO));
    assert!(matches!(within_patience("its end", second).await, Err(Error::Cancelled)));
    assert_eq!(texts(&alice, ours.id).await, ["first"]);
    world.start_server().await;
    let sent = within_patience("the message", first).await.unwrap();
    assert_eq!(sent.sequence, Sequence(2));
    until_texts(&bob, ours.id, &["first"]).await;
    let seen = messages(&bob, ours.id).await.remove(0);
    assert_eq!((seen.edited, seen.payload.clone()), (false, Some(json(r#"[{"a":1}]"#))));
}

#[tokio::test]
async fn people_titles_and_rights_change_offline_and_show_at_once() {
    let mut world = World::with_users(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let carol = world.log_in("carol").await;
    let (ours, _) = conversation_of(&alice, &bob).await;
    let (bob_id, carol_id) = (bob.my_id().unwrap(), carol.my_id().unwrap());
    world.take_server_from(&alice).await;
    drop(ours.update(Some("Brunch".to_owned()), Some(true), None).await.unwrap());
    drop(ours.add_participants(vec![Participant::new(carol_id)]).await.unwrap());
    let reader = Participant::new(bob_id).with_permissions(Permissions::NONE);
    drop(ours.edit_participants(vec![reader]).await.unwrap());
    drop(alice.edit_user(Some(json(r#"{"mood":"hungry"}"#)), None).await.unwrap());
    drop(alice.subscribe(vec![bob_id, carol_id]).await.unwrap());
    drop(alice.manage_push_notifications(vec![Notification::SendMessage]).await.unwrap());
    let as_wished = |shown: &backscroll::Conversation| {
        let rights = shown.participant(bob_id).map(|bob| bob.permissions);
        (shown.title.clone(), shown.public_join, rights, shown.participant(carol_id).is_some())
    };
    let wished = ("Brunch".to_owned(), true, Some(Permissions::NONE), true);
    let shown = alice.conversation(ours.id).await.unwrap().unwrap();
    assert_eq!((as_wished(&shown.conversation), shown.delivery), (wished.clone(), Delivery::Queued));
    let me = alice.my_id().unwrap();
    assert_eq!(alice.user(me).await.unwrap().unwrap().custom_data, json(r#"{"mood":"hungry"}"#));
    assert_eq!(alice.subscriptions().await.unwrap(), [bob_id, carol_id]);

    world.start_server().await;
    until_done(&alice).await;
    let shown = alice.conversation(ours.id).await.unwrap().unwrap();
    assert_eq!((as_wished(&shown.conversation), shown.delivery), (wished.clone(), Delivery::Settled));
    until(&bob, "the change", || async {
        as_wished(&bob.conversation(ours.id).await.unwrap().unwrap().conversation) == wished
    })
    .await;
    let told = within_patience("alice", bob.get_user_by_im_id(me)).await.unwrap().user;
    assert_eq!(told.custom_data, json(r#"{"mood":"hungry"}"#));
    // A refused change leaves no trace: Bob owns nothing here.
    let theirs = bob.conversation(ours.id).await.unwrap().unwrap().conversation;
    let refused = within_patience("the refusal", theirs.update(Some("Mine".to_owned()), None, None).await.unwrap());
    assert_eq!(refused.await.unwrap_err().messaging().unwrap().code, ErrorCode::Acl);
    assert_eq!(bob.conversation(ours.id).await.unwrap().unwrap().conversation.title, "Brunch");
    settled(bob.leave_conversation(ours.id).await).await;
    assert_eq!(bob.conversation(ours.id).await.unwrap().unwrap().membership, Membership::Left);
}

/// Protocol notes 13.5, 14 #15: what an object lacks is not erased by what is done through it.
#[tokio::test]
async fn nothing_is_erased_through_a_thin_object() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let wish = ConversationConfig { public_join: true, custom_data: json(r#"{"icon":"soup"}"#), ..with(&[&bob]) };
    let made = settled(alice.create_conversation(wish).await).await.conversation;
    let said = settled(made.send_message("Soup?", Some(json(r#"[{"card":1}]"#))).await).await.message;

    // As an application rebuilds them that wrote down nothing but ids, here on a device that holds nothing else.
    let device = world.open("another device of alice").await;
    device.log_in(crate::world::credentials("alice")).await.unwrap();
    let (zero, never) = (Sequence::ZERO, Timestamp::default());
    let thin = device.recreate_conversation(made.id, ConversationConfig::default(), zero, never, never);
    let message = device.recreate_message(said.id.unwrap(), made.id, "", None, zero);
    let renamed = settled(thin.update(Some("Lunch".to_owned()), None, None).await).await.conversation;
    let kept = (renamed.title.as_str(), renamed.public_join, &renamed.custom_data);
    assert_eq!(kept, ("Lunch", true, &json(r#"{"icon":"soup"}"#)));
    settled(message.update(Some("Soup!".to_owned()), None).await).await;
    until_texts(&bob, made.id, &["Soup!"]).await;
    assert_eq!(messages(&bob, made.id).await[0].payload, Some(json(r#"[{"card":1}]"#)));
    // All else is done through them as well.
    settled(thin.send_message("Salad.", None).await).await;
    thin.typing().await.unwrap();
    let again = thin.typing().await.unwrap_err();
    assert_eq!(again.messaging().unwrap().code, ErrorCode::MethodCallDiscarded);
    settled(thin.mark_as_read(Sequence(2)).await).await;
    settled(message.remove().await).await;
    until_texts(&bob, made.id, &["", "Salad."]).await;
}

/// R-35: what counts now or never is dropped without an error.
#[tokio::test]
async fn typing_and_presence_are_dropped_while_there_is_no_link() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;
    for _ in 0..2 {
        within_patience("no error", ours.typing()).await.unwrap();
        within_patience("no error", alice.set_status(true)).await.unwrap();
    }
    assert!(alice.outbox().await.unwrap().iter().all(|entry| entry.state == OutboxState::Settled));
}

/// Those known come back, and those unknown are absent; both lists are read offline from then on.
#[tokio::test]
async fn look_ups_answer_in_part_and_are_kept() {
    let mut world = World::with_users(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let names = ["nobody", "bob", "neither", "carol", "alice"].map(user_name).to_vec();
    let found = within_patience("three", alice.get_users_by_name(names)).await.unwrap();
    let mut found: Vec<String> = found.into_iter().map(|event| event.user.display_name).collect();
    found.sort();
    assert_eq!(found, ["alice", "bob", "carol"]);
    let none = within_patience("nobody", alice.get_users_by_im_id(vec![nobody(), nobody()])).await.unwrap();
    assert_eq!(none, []);

    let square = ConversationConfig { public_join: true, ..with(&[]) };
    let square = settled(bob.create_conversation(square).await).await.conversation;
    let unknown = ConversationId::from_uuid(uuid::Uuid::from_u128(7));
    let some = within_patience("one", alice.get_conversations(vec![unknown, square.id])).await.unwrap();
    assert_eq!(some.iter().map(|one| one.id).collect::<Vec<_>>(), [square.id]);
    let listed = within_patience("the list", alice.get_public_conversations()).await.unwrap();
    assert_eq!(listed.conversations, [square.id]);
    settled(alice.subscribe(vec![bob.my_id().unwrap()]).await).await;
    world.stop_server().await;
    assert_eq!(alice.public_conversations().await.unwrap(), [square.id]);
    assert_eq!(alice.subscriptions().await.unwrap(), [bob.my_id().unwrap()]);
    assert!(alice.user_named(user_name("carol")).await.unwrap().is_some());
}
