//! Two people talk: every action that there is, over real TLS.

use crate::world::{
    World, assert_sound, conversation_of, credentials, messages, texts, until, until_texts, user_name, within_patience,
};
use backscroll::engine::{MessengerEventType, TransportError};
use backscroll::model::{
    ConversationConfig, ConversationId, Credentials, ErrorCode, Participant, RawJson, Secret, Sequence,
};
use backscroll::sync::Refusal;
use backscroll::{Config, Error, Messenger, MessengerEvent};
use std::sync::{Arc, Mutex};
use tokio::sync::mpsc;

fn card() -> RawJson {
    RawJson::new(r#"[{"kind":"card","n":1.50}]"#).unwrap()
}

#[tokio::test]
async fn what_one_writes_the_other_reads() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    assert_eq!(alice.me(), Some(user_name("alice")));
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    assert_eq!((theirs.title.as_str(), theirs.participants.len()), ("Lunch", 2));

    let sent = ours.send_message("Soup?", Some(card())).await.unwrap();
    let sent = within_patience("the answer", sent).await.unwrap();
    assert_eq!((sent.sequence, sent.kind), (Sequence(2), MessengerEventType::SendMessage));
    within_patience("the answer", theirs.send_message("Salad.", None).await.unwrap()).await.unwrap();
    for device in [&alice, &bob] {
        until_texts(device, ours.id, &["Soup?", "Salad."]).await;
    }

    // Our token in the payload is nobody's business.
    let received = messages(&bob, ours.id).await.remove(0);
    assert_eq!(received.payload, Some(card()));
    assert_eq!((received.sender, received.sequence), (alice.my_id(), Sequence(2)));
    for device in [&alice, &bob] {
        assert_sound(device).await;
    }
}

#[tokio::test]
async fn an_edit_keeps_what_it_does_not_name_and_a_removal_leaves_nothing() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let sent = within_patience("the answer", ours.send_message("Soup?", Some(card())).await.unwrap()).await.unwrap();

    // An object that lacks the payload, as an application would rebuild it from its own table.
    let id = sent.message.id.expect("sent");
    let thin = alice.recreate_message(id, ours.id, "", None, Sequence::ZERO);
    let edited = within_patience("the edit", thin.update(Some("Soup!".to_owned()), None).await.unwrap()).await.unwrap();
    assert_eq!((edited.sequence, edited.kind), (Sequence(3), MessengerEventType::EditMessage));
    until_texts(&bob, ours.id, &["Soup!"]).await;
    let seen = messages(&bob, ours.id).await.remove(0);
    assert_eq!((seen.payload.clone(), seen.edited, seen.revision), (Some(card()), true, Sequence(3)));

    let removed = within_patience("the removal", thin.remove().await.unwrap()).await.unwrap();
    assert_eq!((removed.sequence, removed.kind), (Sequence(4), MessengerEventType::RemoveMessage));
    until_texts(&bob, ours.id, &[""]).await;
    let seen = messages(&bob, ours.id).await.remove(0);
    assert!(seen.removed && seen.payload.is_none());
    // Both devices folded the same history to the same message.
    assert_eq!(messages(&alice, ours.id).await.remove(0).revision, seen.revision);
    assert_sound(&bob).await;
}

#[tokio::test]
async fn a_read_mark_is_counted_here_and_seen_there() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    for text in ["one", "two"] {
        within_patience("the answer", ours.send_message(text, None).await.unwrap()).await.unwrap();
    }
    until_texts(&bob, ours.id, &["one", "two"]).await;
    assert_eq!(bob.conversation(ours.id).await.unwrap().unwrap().unread, 2);

    let (told, mut marks) = mpsc::channel(8);
    let _subscription = alice.on_read(move |event| told.try_send(*event).unwrap());
    let marked = within_patience("the answer", theirs.mark_as_read(Sequence(3)).await.unwrap()).await.unwrap();
    assert_eq!((marked.sequence, marked.initiator), (Sequence(3), bob.my_id()));
    assert_eq!(bob.conversation(ours.id).await.unwrap().unwrap().unread, 0);
    let seen = within_patience("the mark at the other side", marks.recv()).await.unwrap();
    assert_eq!((seen.conversation, seen.initiator, seen.sequence), (ours.id, bob.my_id(), Sequence(3)));
    let known = alice.conversation(ours.id).await.unwrap().unwrap().conversation;
    assert_eq!(known.participant(bob.my_id().unwrap()).unwrap().last_read, Sequence(3));
}

#[tokio::test]
async fn whoever_is_added_later_reads_it_all() {
    let world = World::with_users(&["alice", "bob", "carol"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let carol = world.log_in("carol").await;
    let (ours, _) = conversation_of(&alice, &bob).await;
    within_patience("the answer", ours.send_message("Soup?", None).await.unwrap()).await.unwrap();

    let newcomer = vec![Participant::new(carol.my_id().unwrap())];
    let added = within_patience("the answer", ours.add_participants(newcomer).await.unwrap()).await.unwrap();
    assert_eq!((added.kind, added.conversation.participants.len()), (MessengerEventType::EditConversation, 3));
    until_texts(&carol, ours.id, &["Soup?"]).await;
    assert_sound(&carol).await;
}

#[tokio::test]
async fn events_come_in_order_and_after_they_are_on_disk() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;

    let seen = Arc::new(Mutex::new(Vec::new()));
    let (told, mut done) = mpsc::channel(1);
    let subscription = bob.on_event({
        let seen = Arc::clone(&seen);
        move |event| {
            if let MessengerEvent::Message(event) = event {
                seen.lock().unwrap().push((event.sequence, event.message.text.clone()));
                if event.message.text == "9" {
                    told.try_send(event.message.clone()).unwrap();
                }
            }
        }
    });
    for n in 0..10 {
        drop(ours.send_message(n.to_string(), None).await.unwrap());
    }
    let last = within_patience("the last message", done.recv()).await.unwrap();
    // The file has what the callback was told of.
    assert!(bob.message(last.conversation, last.id.unwrap()).await.unwrap().is_some());
    let expected: Vec<_> = (0..10).map(|n| (Sequence(n + 2), n.to_string())).collect();
    assert_eq!(*seen.lock().unwrap(), expected);

    drop(subscription);
    within_patience("the answer", ours.send_message("unheard", None).await.unwrap()).await.unwrap();
    until(&bob, "the unheard message", || async { texts(&bob, ours.id).await.len() == 11 }).await;
    assert_eq!(seen.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn history_is_given_by_the_three_calls() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    for text in ["one", "two", "three"] {
        within_patience("the answer", ours.send_message(text, None).await.unwrap()).await.unwrap();
    }
    let sequences = |history: &backscroll::engine::RetransmitEvent| {
        let all = history.events.iter().filter_map(|event| {
            if let MessengerEvent::Message(event) = event {
                return Some(event.sequence.get());
            }
            if let MessengerEvent::Conversation(event) = event { Some(event.sequence.get()) } else { None }
        });
        (history.from_sequence.get(), history.to_sequence.get(), all.collect::<Vec<_>>())
    };
    let range = ours.retransmit_events(Sequence(1), Sequence(3)).await.unwrap();
    assert_eq!(sequences(&range), (1, 3, vec![1, 2, 3]));
    let from = ours.retransmit_events_from(Sequence(3), 2).await.unwrap();
    assert_eq!(sequences(&from), (3, 4, vec![3, 4]));
    let to = ours.retransmit_events_to(Sequence(4), 3).await.unwrap();
    assert_eq!(sequences(&to), (2, 4, vec![2, 3, 4]));

    for too_many in
        [ours.retransmit_events(Sequence(1), Sequence(101)).await, ours.retransmit_events_from(Sequence(1), 101).await]
    {
        assert_eq!(too_many.unwrap_err().messaging().unwrap().code, ErrorCode::RequestedNumberTooBig);
    }
}

#[tokio::test]
async fn conversations_are_asked_for_by_the_dozen() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    assert_eq!(bob.get_conversation(ours.id).await.unwrap().title, "Lunch");
    assert_eq!(bob.get_conversations(vec![ours.id]).await.unwrap().len(), 1);
    for wrong in [0, 31] {
        let refused = bob.get_conversations(vec![ours.id; wrong]).await.unwrap_err();
        assert_eq!(refused.messaging().unwrap().code, ErrorCode::RequestedNumberTooBigOr0);
    }
    let unknown = ConversationId::from_uuid(uuid::Uuid::from_u128(7));
    let refused = bob.get_conversation(unknown).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::ConversationDoesNotExist);
}

#[tokio::test]
async fn limits_are_checked_before_anything_is_accepted() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let settled = alice.outbox().await.unwrap().len();
    let refused = ours.send_message("ж".repeat(5_001), None).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::MessageSizeExceedsLimit);
    let refused = ours.send_message("x", Some(RawJson::empty_object())).await.unwrap_err();
    assert_eq!(refused.messaging().unwrap().code, ErrorCode::InvalidArguments);
    let wish = ConversationConfig {
        custom_data: RawJson::new(&format!(r#"{{"a":"{}"}}"#, "x".repeat(5_000))).unwrap(),
        ..ConversationConfig::default()
    };
    assert!(alice.create_conversation(wish).await.is_err());
    assert_eq!(alice.outbox().await.unwrap().len(), settled);
}

#[tokio::test]
async fn a_login_is_refused_for_its_own_reason() {
    let world = World::with_users(&["alice", "bob"]).await;
    let device = world.open("alice").await;
    let wrong = Credentials::Password { user: user_name("alice"), password: Secret::new("guess") };
    assert!(matches!(device.log_in(wrong).await, Err(Error::Refused(Refusal::Login { code: 401 }))));
    assert_eq!(device.me(), None);
    device.log_in(credentials("alice")).await.unwrap();
    let other = device.log_in(credentials("bob")).await.unwrap_err();
    assert!(matches!(other, Error::Refused(Refusal::OtherUser { owner }) if owner == user_name("alice")));
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    let world = World::with_users(&["alice"]).await;
    let config = Config::new(world.store("alice")).server(world.server().url());
    let device = Messenger::open(config).await.unwrap();
    let Err(Error::Offline { cause: Some(cause) }) = device.log_in(credentials("alice")).await else {
        panic!("a stranger was trusted");
    };
    assert!(matches!(*cause, TransportError::Connect { .. }), "{cause:?}");
}
