//! Clients that are broken, hostile, too fast or too slow.

use crate::chat::{create, event, history, say};
use crate::client::{Client, NAMES, config, fresh, open, start, start_with, tls};
use backscroll::model::{Action, ErrorCode, RawJson};
use backscroll::protocol::{FRAME_BYTES_MAX, Push, RateLimit, Request, TEXT_CHARS_MAX};
use backscroll_server::{Limits, Server};
use futures_util::SinkExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::tungstenite::{self, Message};

fn refused(error: tungstenite::Error) -> u16 {
    match error {
        tungstenite::Error::Http(response) => response.status().as_u16(),
        other => panic!("not refused by HTTP: {other}"),
    }
}

#[tokio::test]
async fn only_the_protocols_path_and_version_are_served() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    assert_eq!(refused(open(&server, "/").await.unwrap_err()), 404);
    assert_eq!(refused(open(&server, "/platform/x").await.unwrap_err()), 404);
    assert_eq!(refused(open(&server, "/platform?im_version=3").await.unwrap_err()), 400);
    for target in ["/platform", "/platform?", "/platform?x=1&im_version=2&&=", "/platform?im_versions=9"] {
        open(&server, target).await.unwrap();
    }
    // No WebSocket at all.
    let mut stream = tls(&server).await;
    stream.write_all(b"GET /platform HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    // Whether the server says goodbye to TLS is not the question here.
    let _ = stream.read_to_end(&mut answer).await;
    assert!(!answer.starts_with(b"HTTP/1.1 101"));
}

#[tokio::test]
async fn broken_frames_are_answered_or_ignored_and_kill_nothing() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    let id = fresh();
    let chat = |event: &str, payload: &str| {
        format!(r#"{{"service":"chat","event":"{event}","payload":{payload},"request_uuid":"{id}"}}"#)
    };
    let deep = "[".repeat(30_000);
    for nonsense in ["", "{", "null", "[]", "{}", "\u{0}", r#"{"name":1}"#, r#"{"name":"login","params":[]}"#, &*deep] {
        client.text(nonsense).await;
        client.message(Message::binary(nonsense.as_bytes().to_vec())).await;
    }
    client.message(Message::Ping(vec![1, 2].into())).await;
    client.text(&chat("getUser", r#"{"user_id":101}"#)).await;
    let Push::Error { error, .. } = client.answer(id).await else { panic!("not refused") };
    assert_eq!(error.code, ErrorCode::NotAuthorized);

    client.password(NAMES[0], crate::client::PASSWORD).await.unwrap();
    for (frame, code, action) in [
        (chat("makeTea", "{}"), 2, "makeTea"),
        (chat("sendMessage", "[]"), 1, "sendMessage"),
        (chat("sendMessage", r#"{"conversation":"x","text":"y"}"#), 0, "sendMessage"),
        (chat("getUser", r#"{"user_id":-1}"#), 0, "getUser"),
        (chat("manageNotification", r#"{"notifications":[null]}"#), 26, "manageNotification"),
    ] {
        client.text(&frame).await;
        let Push::Error { header, error } = client.answer(id).await else { panic!("not refused: {frame}") };
        assert_eq!((error.code.number(), header.action), (code, Action::from(action)), "{frame}");
    }
    // Without a request id there is nothing to answer to.
    client.text(r#"{"service":"chat","event":"getUser","payload":{"user_id":101}}"#).await;
    assert_eq!(client.count_until_pong().await, 0);
    create(&mut client, &[102]).await;
}

#[tokio::test]
async fn frames_beyond_their_limit_end_the_link_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let mut stranger = Client::connect(&server).await;
    stranger.text(&" ".repeat((64 << 10) + 1)).await;
    assert_eq!(stranger.until_closed().await, 0);
    // The server may break the link before it has all of it.
    let mut large = open(&server, "/platform").await.unwrap();
    let _ = large.send(Message::text(" ".repeat(FRAME_BYTES_MAX + 1))).await;
    // A message in pieces has no end.
    let mut raw = tls(&server).await;
    raw.write_all(b"\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff").await.unwrap();
    let mut nothing = Vec::new();
    let _ = raw.read_to_end(&mut nothing).await;
    create(&mut bob, &[101]).await;
}

/// Returns a server of its own with other limits.
async fn limited(data: &Path, change: impl FnOnce(&mut Limits)) -> Server {
    let mut config = config(data);
    change(&mut config.limits);
    start_with(config).await
}

#[tokio::test]
async fn whoever_says_nothing_is_not_kept() {
    let data = tempfile::tempdir().unwrap();
    let server = limited(data.path(), |limits| limits.handshake = Duration::from_millis(100)).await;
    let mut silent = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    assert_eq!(silent.read(&mut [0; 1]).await.unwrap_or(0), 0);
    server.stop().await;
    let server = limited(data.path(), |limits| limits.login = Duration::from_millis(100)).await;
    assert_eq!(Client::connect(&server).await.until_closed().await, 0);
    server.stop().await;
    let server = limited(data.path(), |limits| limits.idle = Duration::from_millis(700)).await;
    assert_eq!(Client::log_in(&server, NAMES[0]).await.until_closed().await, 0);
}

#[tokio::test]
async fn whoever_asks_too_fast_is_told_so_and_served_later() {
    let data = tempfile::tempdir().unwrap();
    // The second of tolerance for uneven networks adds 5 to the burst.
    let rate = RateLimit { burst: 5, interval: Duration::from_millis(200) };
    let server = limited(data.path(), |limits| limits.rate = rate).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let requests: Vec<_> = (0..60).map(|_| fresh()).collect();
    for request in &requests {
        alice.send(*request, Request::GetSubscriptions).await;
    }
    let mut codes = Vec::new();
    for request in requests {
        let answer = alice.answer(request).await;
        codes.push(if let Push::Error { error, .. } = answer { error.code.number() } else { -1 });
    }
    let served = codes.iter().filter(|code| **code == -1).count();
    assert!((10..60).contains(&served), "{served} of 60 were served");
    assert_eq!(codes.iter().filter(|code| **code == 32).count(), 60 - served);
    while matches!(alice.ask(Request::GetSubscriptions).await, Push::Error { .. }) {}

    server.stop().await;
    let server = limited(data.path(), |limits| limits.requests_per_minute = Some(3)).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    for _ in 0..3 {
        alice.ask(Request::GetSubscriptions).await;
    }
    assert_eq!(alice.refusal(Request::GetSubscriptions).await, 33);
}

/// S-11: limits of a user hold for all links together, and for no other user.
#[tokio::test]
async fn more_links_do_not_make_a_user_faster() {
    let data = tempfile::tempdir().unwrap();
    let rate = RateLimit { burst: 5, interval: Duration::from_secs(60) };
    let server = limited(data.path(), |limits| limits.user_rate = rate).await;
    let mut links = Vec::new();
    for _ in 0..3 {
        links.push(Client::log_in(&server, NAMES[0]).await);
    }
    for place in 0..5 {
        links[place % 3].ask(Request::GetSubscriptions).await;
    }
    for link in &mut links {
        assert_eq!(link.refusal(Request::GetSubscriptions).await, 32);
    }
    Client::log_in(&server, NAMES[1]).await.ask(Request::GetSubscriptions).await;

    server.stop().await;
    let server = limited(data.path(), |limits| limits.user_requests_per_minute = Some(2)).await;
    for _ in 0..2 {
        Client::log_in(&server, NAMES[0]).await.ask(Request::GetSubscriptions).await;
    }
    let mut third = Client::log_in(&server, NAMES[0]).await;
    assert_eq!(third.refusal(Request::GetSubscriptions).await, 33);
}

/// V-6: who does not read is given up; the others do not notice, and the slow one catches up.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_is_given_up() {
    let data = tempfile::tempdir().unwrap();
    let server = limited(data.path(), |limits| (limits.backlog, limits.requests_under_way) = (16, 8)).await;
    let mut alice = Client::log_in(&server, NAMES[0]).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let conversation = create(&mut alice, &[102]).await;
    assert_eq!(event(bob.push().await).sequence.get(), 1);
    // 20 MB are more than the sockets of both sides hold.
    let payload = RawJson::new(&format!(r#"[{{"x":"{}"}}]"#, "x".repeat(200_000))).unwrap();
    let count = 100;
    for _ in 0..count {
        let text = "x".repeat(TEXT_CHARS_MAX);
        let payload = Some(payload.clone());
        event(alice.ask(Request::SendMessage { conversation, text, payload }).await);
    }
    let received = bob.until_closed().await;
    assert!(received < count, "nothing was given up");
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    assert_eq!(history(&mut bob, conversation, u32::try_from(count).unwrap() + 1).await.len(), count + 1);
    event(bob.ask(say(conversation, "here I am")).await);
    event(alice.push().await);
}
