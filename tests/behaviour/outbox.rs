//! What was accepted arrives, once, whatever happens to links and processes.

use crate::world::{
    World, assert_sound, conversation_of, messages, texts, until, until_link, until_live, until_texts, within_patience,
};
use backscroll::Error;
use backscroll::model::{ConversationConfig, Delivery, OutboxState, Participant, Sequence};
use backscroll::sync::{LinkState, Refusal};
use futures_util::future::join_all;
use std::collections::BTreeSet;

#[tokio::test]
async fn what_is_written_offline_is_shown_at_once_and_arrives_after_reconnecting() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;

    let first = ours.send_message("one", None).await.unwrap();
    let second = ours.send_message("two", None).await.unwrap();
    let echo = messages(&alice, ours.id).await;
    assert_eq!(echo.iter().map(|message| message.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    assert!(echo.iter().all(|message| message.delivery == Delivery::Queued && message.id.is_none()));
    assert_eq!(echo[0].token, Some(first.token()));

    world.start_server().await;
    // The very handles of before tell the end.
    assert_eq!(within_patience("the first", first).await.unwrap().sequence, Sequence(2));
    assert_eq!(within_patience("the second", second).await.unwrap().sequence, Sequence(3));
    for device in [&alice, &bob] {
        until_texts(device, ours.id, &["one", "two"]).await;
        assert_sound(device).await;
    }
}

/// The list of conversations shows what people read at the end of each, their own unsent words and changes included.
#[tokio::test]
async fn the_list_shows_what_was_written_and_changed_offline() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let sent = within_patience("the answer", ours.send_message("one", None).await.unwrap()).await.unwrap();
    world.take_server_from(&alice).await;
    let preview = || async { alice.conversations(0, 1).await.unwrap().remove(0).preview.unwrap() };
    assert_eq!((preview().await.text, preview().await.delivery), ("one".to_owned(), Delivery::Settled));

    drop(sent.message.update(Some("one, edited".to_owned()), None).await.unwrap());
    let shown = preview().await;
    assert_eq!((shown.text.as_str(), shown.delivery, shown.sequence), ("one, edited", Delivery::Queued, Sequence(2)));

    let second = ours.send_message("two", None).await.unwrap();
    let shown = preview().await;
    assert_eq!((shown.text.as_str(), shown.delivery, shown.sequence), ("two", Delivery::Queued, Sequence::ZERO));
    assert_eq!(alice.conversation(ours.id).await.unwrap().unwrap().preview, Some(shown));

    second.cancel().await.unwrap();
    drop(sent.message.remove().await.unwrap());
    assert_eq!(alice.conversations(0, 1).await.unwrap()[0].preview, None, "nothing is left to show");
}

/// what only this device knows of outlives a restart and everything that the server tells afterwards.
#[tokio::test]
async fn unsent_work_survives_a_restart() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    let sent = within_patience("the answer", ours.send_message("one", None).await.unwrap()).await.unwrap();
    world.take_server_from(&alice).await;

    drop(ours.send_message("two", None).await.unwrap());
    drop(sent.message.update(Some("one, edited".to_owned()), None).await.unwrap());
    drop(ours.mark_as_read(Sequence(2)).await.unwrap());
    let wish = ConversationConfig {
        title: "Dinner".to_owned(),
        participants: vec![Participant::new(bob.my_id().unwrap())],
        ..ConversationConfig::default()
    };
    drop(alice.create_conversation(wish).await.unwrap());
    alice.close().await;

    let alice = world.open("alice").await;
    assert_eq!(texts(&alice, ours.id).await, ["one, edited", "two"]);
    let waiting = alice.outbox().await.unwrap();
    assert_eq!(waiting.iter().filter(|entry| entry.state == OutboxState::Queued).count(), 4);

    world.start_server().await;
    for device in [&alice, &bob] {
        until_texts(device, ours.id, &["one, edited", "two"]).await;
    }
    until(&bob, "the new conversation", || async { !bob.find_conversations("Dinner").await.unwrap().is_empty() }).await;
    until(&alice, "an empty outbox", || async { unfinished(&alice).await == 0 }).await;
    assert_eq!(alice.conversations(0, 10).await.unwrap().len(), 2);
    for device in [&alice, &bob] {
        until_live(device).await;
        assert_sound(device).await;
    }
}

#[tokio::test]
async fn what_has_not_left_can_be_taken_back() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;
    let regretted = ours.send_message("regretted", None).await.unwrap();
    let kept = ours.send_message("kept", None).await.unwrap();
    regretted.cancel().await.unwrap();
    assert_eq!(texts(&alice, ours.id).await, ["kept"]);
    assert!(matches!(within_patience("the end", regretted).await, Err(Error::Cancelled)));

    world.start_server().await;
    let token = kept.token();
    within_patience("the other", kept).await.unwrap();
    until_texts(&bob, ours.id, &["kept"]).await;
    let sent = alice.outbox().await.unwrap().into_iter().find(|entry| entry.token == token);
    assert!(sent.is_none_or(|entry| entry.state == OutboxState::Settled));
    let late = ours.send_message("late", None).await.unwrap();
    until_texts(&bob, ours.id, &["kept", "late"]).await;
    assert!(matches!(late.cancel().await, Err(Error::Refused(Refusal::TooLate))));
}

#[tokio::test]
async fn wishes_made_together_share_a_commit() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.take_server_from(&alice).await;
    let before = alice.overview().await.unwrap().change;
    let wishes = (0..200).map(|n| ours.send_message(n.to_string(), None));
    let accepted = join_all(wishes).await;
    assert!(accepted.iter().all(Result::is_ok));
    let commits = alice.overview().await.unwrap().change - before;
    assert!((1..=20).contains(&commits), "200 wishes took {commits} commits");
    assert_eq!(messages(&alice, ours.id).await.len(), 200);
}

#[tokio::test]
async fn a_permanent_refusal_is_told_and_kept() {
    let world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    let sent = within_patience("the answer", ours.send_message("mine", None).await.unwrap()).await.unwrap();
    until_texts(&bob, ours.id, &["mine"]).await;
    let stolen = bob.message(ours.id, sent.message.id.unwrap()).await.unwrap().unwrap();
    let refused = within_patience("the refusal", stolen.update(Some("yours".to_owned()), None).await.unwrap()).await;
    let code = refused.unwrap_err().messaging().unwrap().code;
    let entry = bob.outbox().await.unwrap().pop().unwrap();
    assert_eq!((entry.state, entry.error.map(|error| error.code)), (OutboxState::Failed, Some(code)));
    // What stands behind it still goes.
    within_patience("the next", theirs.send_message("next", None).await.unwrap()).await.unwrap();
    until_texts(&alice, ours.id, &["mine", "next"]).await;
}

#[tokio::test]
async fn a_server_that_crashes_under_connected_clients_costs_nothing() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, theirs) = conversation_of(&alice, &bob).await;
    let mut handles = Vec::new();
    for n in 0..60 {
        let (conversation, name) = if n % 2 == 0 { (&ours, "alice") } else { (&theirs, "bob") };
        handles.push(conversation.send_message(format!("{name} {n}"), None).await.unwrap());
        if n % 20 == 10 {
            world.crash_server();
            world.start_server().await;
        }
    }
    let mut sequences = BTreeSet::new();
    for handle in handles {
        sequences.insert(within_patience("every message", handle).await.unwrap().sequence);
    }
    assert_eq!(sequences.len(), 60, "each has an event of its own");
    for device in [&alice, &bob] {
        until(device, "all messages", || async { settled_texts(device, &ours).await.len() >= 60 }).await;
        until_live(device).await;
        let texts = settled_texts(device, &ours).await;
        assert_eq!(texts.len(), 60);
        for name in ["alice", "bob"] {
            let own: Vec<u32> = texts.iter().filter_map(|text| text.strip_prefix(name)?.trim().parse().ok()).collect();
            assert!(own.is_sorted() && own.len() == 30, "{name} wrote in another order: {own:?}");
        }
        assert_sound(device).await;
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_found_in_history() {
    let mut world = World::with_users(&["alice", "bob"]).await;
    let (alice, bob) = (world.log_in("alice").await, world.log_in("bob").await);
    let (ours, _) = conversation_of(&alice, &bob).await;
    world.server().faults().swallow_answers(1);
    let sending = ours.send_message("once", None).await.unwrap();
    until_texts(&bob, ours.id, &["once"]).await;
    world.crash_server();
    world.start_server().await;
    assert_eq!(within_patience("the event", sending).await.unwrap().sequence, Sequence(2));
    assert_eq!(texts(&bob, ours.id).await, ["once"]);
    until_texts(&alice, ours.id, &["once"]).await;
    assert_sound(&alice).await;
}

#[tokio::test]
async fn the_link_is_watched_as_it_comes_and_goes() {
    let mut world = World::with_users(&["alice"]).await;
    let alice = world.log_in("alice").await;
    world.server().faults().refuse_links(true);
    world.crash_server();
    let mut link = alice.connection();
    within_patience("the loss", link.wait_for(|state| *state != LinkState::Live)).await.unwrap();
    world.start_server().await;
    alice.network_changed().await.unwrap();
    until_link(&alice, &LinkState::Live).await;
}

async fn unfinished(messenger: &backscroll::Messenger) -> usize {
    let entries = messenger.outbox().await.unwrap();
    entries.iter().filter(|entry| entry.state != OutboxState::Settled).count()
}

async fn settled_texts(device: &backscroll::Messenger, conversation: &backscroll::Conversation) -> Vec<String> {
    use backscroll::engine::{TimelineItem, Window};
    let items = device.messages(conversation.id, Window::Newest, 1_000).await.unwrap();
    let texts = items.into_iter().filter_map(|item| match item {
        TimelineItem::Message(message) if message.id.is_some() => Some(message.text.clone()),
        TimelineItem::Message(_) | TimelineItem::Gap(_) => None,
    });
    texts.collect()
}
