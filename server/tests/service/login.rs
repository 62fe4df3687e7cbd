//! Logging in, by what and how often.

use crate::chat::create;
use crate::client::{Client, NAMES, PASSWORD, config, start, start_with};
use backscroll::model::{Secret, UserName};
use backscroll::protocol::{ClientRpc, LoginOptions, Request, ServerRpc, UserKey};
use backscroll_server::{AccountError, Accounts, LoginRules, Server, Tls};
use rusqlite::Connection;
use std::path::Path;

/// Makes every token of the kind older than it may be.
fn expire(data: &Path, column: &str) {
    let connection = Connection::open(data.join("server.sqlite")).unwrap();
    assert!(connection.execute(&format!("UPDATE token_pair SET {column} = 1"), []).unwrap() > 0);
}

async fn start_and_log_in(data: &Path) -> (Server, Client, backscroll::model::Tokens) {
    let server = start(data).await;
    let mut alice = Client::connect(&server).await;
    let tokens = alice.password(NAMES[0], PASSWORD).await.unwrap();
    (server, alice, tokens)
}

#[tokio::test]
async fn a_password_is_right_or_wrong_and_a_name_known_or_not() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.password(NAMES[0], "wrong").await.unwrap_err(), 401);
    assert_eq!(client.password(NAMES[0], "").await.unwrap_err(), 401);
    assert_eq!(client.password("mallory@chat.acme", PASSWORD).await.unwrap_err(), 404);
    let tokens = client.password(&UserName::new(NAMES[0]).long_form(), PASSWORD).await.unwrap();
    assert_eq!((tokens.access_expires_s, tokens.refresh_expires_s), (172_800, 2_592_000));
    // Again on the same link: the same user may, another may not.
    client.password(NAMES[0], PASSWORD).await.unwrap();
    assert_eq!(client.password(NAMES[1], PASSWORD).await.unwrap_err(), 491);
    create(&mut client, &[102]).await;
}

#[tokio::test]
async fn an_access_token_logs_in_until_it_expires() {
    let data = tempfile::tempdir().unwrap();
    let (server, _, tokens) = start_and_log_in(data.path()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.access_token(NAMES[0], &Secret::new("wrong")).await.unwrap_err(), 401);
    assert_eq!(client.access_token(NAMES[1], &tokens.access).await.unwrap_err(), 401);
    assert_eq!(client.access_token("mallory@chat.acme", &tokens.access).await.unwrap_err(), 404);
    let next = client.access_token(NAMES[0], &tokens.access).await.unwrap();
    assert!(next.access != tokens.access && next.refresh != tokens.refresh);
    create(&mut client, &[]).await;
    expire(data.path(), "access_expires");
    assert_eq!(Client::connect(&server).await.access_token(NAMES[0], &tokens.access).await.unwrap_err(), 701);
}

#[tokio::test]
async fn a_refresh_token_works_once_and_does_not_log_in() {
    let data = tempfile::tempdir().unwrap();
    let (server, _, first) = start_and_log_in(data.path()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.refresh(NAMES[0], &Secret::new("wrong")).await.unwrap_err(), 401);
    assert_eq!(client.refresh(NAMES[0], &first.access).await.unwrap_err(), 401);
    let second = client.refresh(NAMES[0], &first.refresh).await.unwrap();
    assert_eq!(client.refusal(Request::GetUser(UserKey::Name(UserName::new(NAMES[0])))).await, 3);
    client.access_token(NAMES[0], &second.access).await.unwrap();
    // The second pair was seen, so the first one comes from a thief: the whole family is void.
    assert_eq!(client.refresh(NAMES[0], &first.refresh).await.unwrap_err(), 401);
    assert_eq!(client.refresh(NAMES[0], &second.refresh).await.unwrap_err(), 401);
    assert_eq!(client.access_token(NAMES[0], &first.access).await.unwrap_err(), 401);
}

/// C-1: the new pair may be lost on its way; the old refresh token then still helps.
#[tokio::test]
async fn a_refresh_whose_answer_was_lost_may_be_repeated() {
    let data = tempfile::tempdir().unwrap();
    let (server, _, first) = start_and_log_in(data.path()).await;
    let mut client = Client::connect(&server).await;
    let lost = client.refresh(NAMES[0], &first.refresh).await.unwrap();
    let second = client.refresh(NAMES[0], &first.refresh).await.unwrap();
    assert_eq!(client.access_token(NAMES[0], &lost.access).await.unwrap_err(), 401);
    client.access_token(NAMES[0], &second.access).await.unwrap();
    expire(data.path(), "refresh_expires");
    assert_eq!(client.refresh(NAMES[0], &second.refresh).await.unwrap_err(), 701);
}

#[tokio::test]
async fn a_new_password_ends_every_session() {
    let data = tempfile::tempdir().unwrap();
    let (server, _, tokens) = start_and_log_in(data.path()).await;
    // As another process does it, with the server running.
    let accounts = Accounts::open_with(data.path(), LoginRules::for_tests()).unwrap();
    accounts.set_password(&UserName::new(NAMES[0]), &Secret::new("new")).unwrap();
    let mut client = Client::connect(&server).await;
    assert_eq!(client.access_token(NAMES[0], &tokens.access).await.unwrap_err(), 401);
    assert_eq!(client.refresh(NAMES[0], &tokens.refresh).await.unwrap_err(), 401);
    assert_eq!(client.password(NAMES[0], PASSWORD).await.unwrap_err(), 401);
    client.password(NAMES[0], "new").await.unwrap();
}

#[tokio::test]
async fn accounts_come_and_go_while_the_server_runs() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let accounts = Accounts::open_with(data.path(), LoginRules::for_tests()).unwrap();
    let (erin, password) = (UserName::new("erin@chat.acme"), Secret::new("pass"));
    assert_eq!(accounts.add(&erin, "Erin", &password).unwrap().get(), 105);
    assert!(matches!(accounts.add(&erin, "", &password), Err(AccountError::Exists(_))));
    let mut client = Client::connect(&server).await;
    client.password("erin@chat.acme", "pass").await.unwrap();
    create(&mut client, &[101]).await;
    accounts.remove(&erin).unwrap();
    assert!(matches!(accounts.remove(&erin), Err(AccountError::Unknown(_))));
    assert_eq!(Client::connect(&server).await.password("erin@chat.acme", "pass").await.unwrap_err(), 404);
    // The name is free again, the number is not.
    assert_eq!(accounts.add(&erin, "", &password).unwrap().get(), 106);
    let listed: Vec<_> = accounts.list().unwrap().iter().map(|account| account.id.get()).collect();
    assert_eq!(listed, [101, 102, 103, 104, 106]);
}

#[test]
fn names_and_passwords_are_checked() {
    let data = tempfile::tempdir().unwrap();
    let accounts = Accounts::open_with(data.path(), LoginRules::for_tests()).unwrap();
    let password = Secret::new("x");
    for name in [
        "",
        "alice",
        "alice@chat",
        "@chat.acme",
        "a b@chat.acme",
        "alice@chat.",
        "alice@.acme",
        "a@b@c.d",
        "é@chat.acme",
    ] {
        let added = accounts.add(&UserName::new(name), "", &password);
        assert!(matches!(added, Err(AccountError::NameInvalid)), "{name}");
    }
    let alice = UserName::new("Alice.B-c_1@chat.acme.voximplant.com");
    assert!(matches!(accounts.add(&alice, "", &Secret::new("")), Err(AccountError::PasswordInvalid)));
    assert!(matches!(accounts.add(&alice, "a\u{7}", &password), Err(AccountError::DisplayNameInvalid)));
    accounts.add(&alice, "Älice", &password).unwrap();
    assert_eq!(accounts.list().unwrap()[0].name.as_str(), "Alice.B-c_1@chat.acme");
    assert!(!format!("{accounts:?}").contains("argon2"), "hashes are not shown");
}

#[tokio::test]
async fn a_link_that_guesses_is_closed() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    for _ in 0..10 {
        assert_eq!(client.password(NAMES[0], "guess").await.unwrap_err(), 401);
    }
    assert_eq!(client.until_closed().await, 0);
}

#[tokio::test]
async fn what_is_not_offered_is_refused_or_ignored() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    let (user, code) = (UserName::new(NAMES[0]), Secret::new("1234"));
    client.rpc(ClientRpc::LoginSecondStage { user, code, options: LoginOptions::default() }).await;
    assert!(matches!(client.call().await, ServerRpc::LoginFailed { code: 500, .. }));
    client.text(r#"{"name":"pushFeedback","params":[{}]}"#).await;
    client.text(r#"{"name":"createCall","params":[1]}"#).await;
    assert_eq!(client.count_until_pong().await, 0);
}

#[tokio::test]
async fn links_without_tls_stay_on_this_machine() {
    let data = tempfile::tempdir().unwrap();
    let mut plain = config(data.path());
    plain.tls = Tls::Plain;
    plain.listen = "0.0.0.0:0".parse().unwrap();
    let refused = backscroll_server::serve(plain.clone()).await.unwrap_err();
    assert!(matches!(refused, backscroll_server::ServeError::PlainBeyondLoopback { .. }));
    plain.listen = "127.0.0.1:0".parse().unwrap();
    let server = start_with(plain).await;
    assert_eq!((server.url(), server.certificate()), (format!("ws://{}/platform", server.address()), None));
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    tokio_tungstenite::client_async(server.url(), stream).await.unwrap();
}

/// The password does not travel, a key works once, and a new one voids the one before.
#[tokio::test]
async fn a_one_time_key_is_answered_once() {
    let data = tempfile::tempdir().unwrap();
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.key("mallory@chat.acme").await.unwrap_err(), 404);
    let first = client.key(NAMES[0]).await.unwrap();
    let second = client.key(NAMES[0]).await.unwrap();
    assert_ne!(first, second);
    assert_eq!(client.answer_key(NAMES[0], &first, PASSWORD).await.unwrap_err(), 401, "voided, and now spent");
    assert_eq!(client.answer_key(NAMES[0], &second, PASSWORD).await.unwrap_err(), 401);
    let key = client.key(NAMES[0]).await.unwrap();
    assert_eq!(client.answer_key(NAMES[1], &key, PASSWORD).await.unwrap_err(), 401, "somebody else's");
    // Another link may answer: the key belongs to the account.
    let mut other = Client::connect(&server).await;
    other.answer_key(NAMES[0], &key, PASSWORD).await.unwrap();
    create(&mut other, &[102]).await;
    assert_eq!(client.answer_key(NAMES[0], &key, PASSWORD).await.unwrap_err(), 401, "spent");
    let key = client.key(NAMES[0]).await.unwrap();
    assert_eq!(client.answer_key(NAMES[0], &key, "wrong").await.unwrap_err(), 401);
}

/// Returns of how many accounts a hash is kept that one-time keys are answered with.
fn hashes_for_keys(data: &Path) -> i64 {
    let connection = Connection::open(data.join("server.sqlite")).unwrap();
    connection.query_row("SELECT count(one_time_hash) FROM account", [], |row| row.get(0)).unwrap()
}

#[tokio::test]
async fn a_server_without_one_time_keys_says_so_and_keeps_no_hash_for_them() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.logins.one_time_keys = false;
    let server = start_with(config).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.key(NAMES[0]).await.unwrap_err(), 500);
    client.password(NAMES[0], PASSWORD).await.unwrap();
    assert_eq!(hashes_for_keys(data.path()), 0);
    // Whoever opens the folder beside the server keeps to it.
    let accounts = Accounts::open_with(data.path(), LoginRules::for_tests()).unwrap();
    accounts.add(&UserName::new("erin@chat.acme"), "", &Secret::new("pass")).unwrap();
    accounts.set_password(&UserName::new(NAMES[1]), &Secret::new("new")).unwrap();
    assert_eq!(hashes_for_keys(data.path()), 0);
    server.stop().await;
    // Turned on later, the first login by password makes them possible.
    let server = start(data.path()).await;
    let mut client = Client::connect(&server).await;
    assert_eq!(client.key(NAMES[0]).await.unwrap_err(), 500);
    Client::log_in(&server, NAMES[0]).await;
    let key = client.key(NAMES[0]).await.unwrap();
    client.answer_key(NAMES[0], &key, PASSWORD).await.unwrap();
    assert_eq!(hashes_for_keys(data.path()), 1);
    // And off again, nothing of it is left.
    server.stop().await;
    let mut config = self::config(data.path());
    config.logins.one_time_keys = false;
    let server = start_with(config).await;
    assert_eq!(hashes_for_keys(data.path()), 0);
    assert_eq!(Client::connect(&server).await.key(NAMES[0]).await.unwrap_err(), 500);
}

#[tokio::test]
async fn a_frozen_account_logs_in_by_nothing_until_it_is_let_again() {
    let data = tempfile::tempdir().unwrap();
    let (server, mut alice, tokens) = start_and_log_in(data.path()).await;
    let mut bob = Client::log_in(&server, NAMES[1]).await;
    let name = UserName::new(NAMES[0]);
    server.accounts().set_frozen(&name, true).unwrap();
    let mut client = Client::connect(&server).await;
    assert_eq!(client.password(NAMES[0], PASSWORD).await.unwrap_err(), 403);
    assert_eq!(client.password(NAMES[0], "wrong").await.unwrap_err(), 401, "a stranger is not told");
    assert_eq!(client.access_token(NAMES[0], &tokens.access).await.unwrap_err(), 403);
    assert_eq!(client.refresh(NAMES[0], &tokens.refresh).await.unwrap_err(), 403);
    let key = client.key(NAMES[0]).await.unwrap();
    assert_eq!(client.answer_key(NAMES[0], &key, PASSWORD).await.unwrap_err(), 403);
    // Links from before are closed when there is something to do, looked for once a second.
    let asking = async {
        loop {
            bob.ask(Request::GetSubscriptions).await;
        }
    };
    tokio::select! {
        frames = alice.until_closed() => assert_eq!(frames, 0),
        () = asking => {}
    }
    server.accounts().set_frozen(&name, false).unwrap();
    client.access_token(NAMES[0], &tokens.access).await.unwrap();
}

#[tokio::test]
async fn tokens_live_as_long_as_the_server_was_told() {
    let data = tempfile::tempdir().unwrap();
    let mut config = config(data.path());
    config.logins.access_token_life = std::time::Duration::ZERO;
    config.logins.refresh_token_life = std::time::Duration::from_secs(60);
    let server = start_with(config).await;
    let mut client = Client::connect(&server).await;
    let tokens = client.password(NAMES[0], PASSWORD).await.unwrap();
    assert_eq!((tokens.access_expires_s, tokens.refresh_expires_s), (0, 60));
    assert_eq!(client.access_token(NAMES[0], &tokens.access).await.unwrap_err(), 701);
    client.refresh(NAMES[0], &tokens.refresh).await.unwrap();
}
