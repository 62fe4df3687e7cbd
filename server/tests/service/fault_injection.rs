//! The faults that a server can be told to make.

use crate::chat::{create, event, history, say};
use crate::client::{Client, NAMES, fresh, start};
use backscroll::model::Sequence;
use backscroll::protocol::{Push, Request};
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;

#[tokio::test]
async fn links_break_after_so_many_frames_from_a_certain_link_on() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    server.faults().drop_link_after(3, 2);
    let mut first = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut first, &[102]).await;
    first.ask(say(conversation, "2")).await;
    // Greeting, login, one answer.
    let mut second = Client::log_in(&server, NAMES[0]).await;
    second.ask(Request::GetSubscriptions).await;
    assert!(second.frame().await.is_none());
    server.faults().clear();
    let mut third = Client::log_in(&server, NAMES[0]).await;
    assert_eq!(history(&mut third, conversation, 2).await.len(), 2);
}

/// however far an answer has come, the link breaks there once, and the next link gets everything.
#[tokio::test]
async fn one_link_breaks_at_any_frame_wanted() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut alice, &[]).await;
    alice.ask(say(conversation, "2")).await;
    for frames in 3..=4 {
        server.faults().drop_one_link_after(frames, 2);
        let mut broken = Client::log_in(&server, NAMES[0]).await;
        let all = Request::RetransmitEvents { conversation, from: Some(1), to: Some(2), count: None };
        broken.send(fresh(), all).await;
        assert_eq!(broken.until_closed().await as u64, frames - 2);
        let mut whole = Client::log_in(&server, NAMES[0]).await;
        assert_eq!(history(&mut whole, conversation, 2).await.len(), 2);
    }
}

#[tokio::test]
async fn an_answer_is_cut_in_its_middle_once() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let conversation = create(&mut alice, &[]).await;
    for _ in 2..=9 {
        alice.ask(say(conversation, "")).await;
    }
    server.faults().cut_next_answer_after(4);
    let whole = Request::RetransmitEvents { conversation, from: Some(1), to: Some(9), count: None };
    alice.send(fresh(), whole).await;
    assert_eq!(alice.until_closed().await, 4);
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    assert_eq!(history(&mut alice, conversation, 9).await.len(), 9);
}

#[tokio::test]
async fn a_swallowed_answer_was_carried_out_all_the_same() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let conversation = create(&mut alice, &[102]).await;
    event(bob.push().await);
    server.faults().swallow_answers(1);
    let lost = fresh();
    alice.send(lost, say(conversation, "2")).await;
    assert_eq!(event(bob.push().await).sequence, Sequence(2));
    assert_eq!(event(alice.ask(say(conversation, "3")).await).sequence, Sequence(3));
    assert_eq!(event(alice.ask_as(lost, say(conversation, "2")).await).sequence, Sequence(2));
}

#[tokio::test]
async fn frames_come_twice() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    server.faults().duplicate_frames(Some(1));
    let request = fresh();
    alice.send(request, Request::GetSubscriptions).await;
    assert_eq!(alice.answer(request).await, alice.answer(request).await);
    server.faults().duplicate_frames(None);
    assert!(matches!(alice.ask(Request::GetSubscriptions).await, Push::Subscriptions { .. }));
    assert_eq!(alice.count_until_pong().await, 0);
}

#[tokio::test]
#[expect(clippy::disallowed_methods, reason = "the delay itself is measured")]
async fn frames_come_late() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    server.faults().delay_frames(Duration::from_millis(30));
    let asked = Instant::now();
    alice.ask(Request::GetSubscriptions).await;
    assert!(asked.elapsed() >= Duration::from_millis(30));
}

#[tokio::test]
async fn links_are_refused_and_let_in_again() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    server.faults().refuse_links(true);
    let mut refused = TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(refused.read(&mut [0; 1]).await.unwrap_or(0), 0);
    alice.ask(Request::GetSubscriptions).await;
    server.faults().refuse_links(false);
    Client::log_in(&server, NAMES[0]).await;
}
