//! What was answered is kept: through restarts, crashes and repetitions.

use crate::chat::{create, event, history, say, text, user};
use crate::client::{Client, NAMES, config, fresh, start, start_with};
use backscroll::model::{Notification, Sequence};
use backscroll::protocol::{Push, Request, UserKey};
use std::collections::BTreeSet;

#[tokio::test]
async fn a_restart_keeps_everything() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let certificate = std::fs::read(server.certificate().unwrap()).unwrap();
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut alice, &[102]).await;
    let request = fresh();
    let sent = event(alice.ask_as(request, say(conversation, "Hello")).await);
    alice.ask(Request::MarkAsRead { conversation, sequence: 2 }).await;
    alice.ask(Request::Subscribe(vec![user(102)])).await;
    alice.ask(Request::ManageNotifications(vec![Some(Notification::EditMessage)])).await;
    let before = history(&mut alice, conversation, 2).await;
    let address = server.address();
    server.stop().await;
    assert!(!data.path().join("server.sqlite-wal").exists(), "a clean stop leaves one file");

    let mut again = config(data.path());
    again.listen = address;
    let server = start_with(again).await;
    assert_eq!(server.address(), address);
    assert_eq!(std::fs::read(server.certificate().unwrap()).unwrap(), certificate);
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    assert_eq!(history(&mut bob, conversation, 2).await, before);
    let Push::Conversation { conversation: now, .. } = bob.ask(Request::GetConversation(conversation)).await else {
        panic!("no conversation")
    };
    assert_eq!((now.last_sequence, now.participants[0].last_read), (Sequence(2), Sequence(2)));
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let Push::Subscriptions { users, .. } = alice.ask(Request::GetSubscriptions).await else { panic!("no list") };
    assert_eq!(users, [user(102)]);
    bob.ask(Request::SetStatus { online: true }).await;
    assert!(matches!(alice.push().await, Push::Status { online: true, .. }));
    let Push::User { user: own, .. } = alice.ask(Request::GetUser(UserKey::Id(user(101)))).await else {
        panic!("no user")
    };
    assert_eq!(own.private.unwrap().notifications, [Notification::EditMessage]);
    assert_eq!(event(alice.ask_as(request, say(conversation, "Hello")).await), sent);
    assert_eq!(event(alice.ask(say(conversation, "again")).await).sequence, Sequence(3));
}

/// V-2, V-3: the server is dropped in the middle of a burst; whatever was answered is there, and after
/// repeating every request each message is there exactly once.
#[tokio::test(flavor = "multi_thread")]
async fn a_crash_in_the_middle_of_a_burst_loses_and_doubles_nothing() {
    const MESSAGES: usize = 60;
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut alice, &[102]).await;
    server.stop().await;
    let requests: Vec<_> = (0..MESSAGES).map(|number| (fresh(), format!("message {number}"))).collect();
    let mut answered = BTreeSet::new();
    for answers_before_crash in [0, 1, 7, 20] {
        let server = start(data.path()).await;
        let mut alice = Client::log_in(&server, NAMES[0]).await;
        for (request, text) in &requests {
            alice.send(*request, say(conversation, text)).await;
        }
        for (request, _) in &requests[..answers_before_crash] {
            answered.insert(event(alice.answer(*request).await).sequence);
        }
        drop(server);
        alice.until_closed().await;
    }
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut sequences = BTreeSet::new();
    for (request, text) in &requests {
        sequences.insert(event(alice.ask_as(*request, say(conversation, text)).await).sequence);
    }
    assert!(sequences.is_superset(&answered));
    let events = history(&mut alice, conversation, u32::try_from(MESSAGES).unwrap() + 1).await;
    let texts: BTreeSet<_> = events[1..].iter().map(text).collect();
    assert_eq!(texts.len(), MESSAGES);
    let body = Request::RetransmitEvents { conversation, from: Some(MESSAGES as i64 + 2), to: None, count: Some(1) };
    assert_eq!(alice.refusal(body).await, 24, "nothing more than each message once");
}

#[tokio::test]
async fn a_clean_stop_answers_what_is_under_way_and_closes_links() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut stranger = Client::connect(&server).await;
    let conversation = create(&mut alice, &[]).await;
    alice.ask(say(conversation, "2")).await;
    server.stop().await;
    assert_eq!(alice.until_closed().await, 0);
    assert_eq!(stranger.until_closed().await, 0);
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    assert_eq!(history(&mut alice, conversation, 2).await.len(), 2);
}

#[tokio::test]
async fn a_dropped_server_lets_go_of_its_address_and_folder() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let address = server.address();
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    drop(server);
    alice.until_closed().await;
    let mut again = config(data.path());
    again.listen = address;
    let mut server = start_with(again).await;
    Client::log_in(&server, NAMES[0]).await;
    // It runs until it is told to end.
    let running = tokio::time::timeout(std::time::Duration::from_millis(1), server.wait()).await;
    assert!(running.is_err());
    server.stop().await;
}

/// D-4: a request that the disk fails at leaves nothing behind, harms no other, and succeeds later.
#[tokio::test]
async fn a_request_that_fails_half_way_is_taken_back_alone() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let conversation = create(&mut alice, &[102]).await;
    event(bob.push().await);
    let connection = rusqlite::Connection::open(data.path().join("server.sqlite")).unwrap();
    // The last thing a request writes fails, for Alice only.
    let trigger = "CREATE TRIGGER failing BEFORE INSERT ON answer WHEN new.account = 101
        BEGIN SELECT raise(ABORT, 'disk'); END";
    connection.execute_batch(trigger).unwrap();
    let request = fresh();
    let Push::Error { error, .. } = alice.ask_as(request, say(conversation, "Hello")).await else {
        panic!("not refused")
    };
    assert_eq!(error.code.number(), 500);
    assert_eq!(event(bob.ask(say(conversation, "Hi")).await).sequence, Sequence(2));
    connection.execute_batch("DROP TRIGGER failing").unwrap();
    let sent = event(alice.ask_as(request, say(conversation, "Hello")).await);
    assert_eq!((sent.sequence, text(&sent)), (Sequence(3), "Hello"));
    assert_eq!(history(&mut bob, conversation, 3).await.len(), 3);
}
