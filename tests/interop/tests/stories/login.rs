//! The ways in.

use crate::world::{World, long_name, secret, user_name};
use backscroll::model::Secret;
use backscroll::protocol::{one_time_key_answer, password_hash};
use backscroll_server::LoginRules;
use serde_json::{Value, json};
use std::time::Duration;

/// What the SDK says of a login that succeeded.
fn tokens(answer: &Value) -> &Value {
    assert_eq!(answer["result"], true);
    let tokens = &answer["tokens"];
    assert!(tokens["accessToken"].is_string() && tokens["refreshToken"].is_string(), "{answer}");
    assert_eq!((&tokens["accessExpire"], &tokens["refreshExpire"]), (&json!(48 * 3_600), &json!(30 * 24 * 3_600)));
    tokens
}

#[tokio::test]
async fn a_password_opens_a_session_and_a_wrong_one_does_not() {
    let world = World::with_users(&["alice"]).await;
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    for (name, password, code) in [("alice", "a guess", 401), ("nobody", "a guess", 404)] {
        let refused = page.client("login", json!([long_name(name), password])).await.unwrap_err();
        assert_eq!((&refused["result"], &refused["code"]), (&json!(false), &json!(code)), "{name}");
    }
    let welcome = page.client("login", json!([long_name("alice"), secret("alice")])).await.unwrap();
    tokens(&welcome);
    assert_eq!(welcome["displayName"], "alice");
    assert_eq!(page.messenger("getMe", json!([])).await, Ok(json!("alice@chat.acme")));
    assert_eq!(page.messenger("getMyId", json!([])).await, Ok(json!(101)));
}

#[tokio::test]
async fn a_one_time_key_proves_the_password_without_telling_it() {
    let world = World::with_users(&["alice"]).await;
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    // The SDK shows this refusal as an event only; its promise never ends.
    tokio::select! {
        given = page.client("requestOneTimeLoginKey", json!([long_name("nobody")])) => panic!("{given:?}"),
        refused = page.event("AuthResult", |_| true) => assert_eq!(refused["code"], 404),
    }
    let key = async || {
        let given = page.client("requestOneTimeLoginKey", json!([long_name("alice")])).await.unwrap();
        Secret::new(given["key"].as_str().unwrap())
    };
    let hash = password_hash(&user_name("alice"), &Secret::new(secret("alice")));
    let wrong = one_time_key_answer(&key().await, &Secret::new("a guess"));
    let refused = page.client("loginWithOneTimeKey", json!([long_name("alice"), wrong.reveal()])).await.unwrap_err();
    assert_eq!(refused["code"], 401);
    // A new key ends the life of the one before.
    let (old, _new) = (key().await, key().await);
    let answer = one_time_key_answer(&old, &hash);
    assert!(page.client("loginWithOneTimeKey", json!([long_name("alice"), answer.reveal()])).await.is_err());
    let answer = one_time_key_answer(&key().await, &hash);
    let welcome = page.client("loginWithOneTimeKey", json!([long_name("alice"), answer.reveal()])).await.unwrap();
    tokens(&welcome);
    assert_eq!(page.messenger("getMyId", json!([])).await, Ok(json!(101)));
}

#[tokio::test]
async fn what_has_expired_or_is_frozen_has_its_code() {
    let rules = LoginRules { access_token_life: Duration::ZERO, ..LoginRules::for_tests() };
    let world = World::with_rules(&["alice"], rules).await;
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let welcome = page.client("login", json!([long_name("alice"), secret("alice")])).await.unwrap();
    let access = &welcome["tokens"]["accessToken"];
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let expired = page.client("loginWithToken", json!([long_name("alice"), access])).await.unwrap_err();
    assert_eq!(expired["code"], 701);
    world.accounts().set_frozen(&user_name("alice"), true).unwrap();
    let frozen = page.client("login", json!([long_name("alice"), secret("alice")])).await.unwrap_err();
    assert_eq!(frozen["code"], 403);
}

#[tokio::test]
async fn an_access_token_opens_a_session_without_the_password() {
    let world = World::with_users(&["alice"]).await;
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let welcome = page.client("login", json!([long_name("alice"), secret("alice")])).await.unwrap();
    let access = &tokens(&welcome)["accessToken"];

    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let refused = page.client("loginWithToken", json!([long_name("alice"), "a guess"])).await.unwrap_err();
    assert_eq!(refused["code"], 401);
    let welcome = page.client("loginWithToken", json!([long_name("alice"), access])).await.unwrap();
    tokens(&welcome);
    assert_eq!(page.messenger("getMyId", json!([])).await, Ok(json!(101)));
}

#[tokio::test]
async fn a_refresh_token_gives_a_new_pair_and_works_once() {
    let world = World::with_users(&["alice"]).await;
    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let welcome = page.client("login", json!([long_name("alice"), secret("alice")])).await.unwrap();
    let refresh = &tokens(&welcome)["refreshToken"];

    let page = world.page().await;
    page.client("connect", json!([false])).await.unwrap();
    let renewed = page.client("tokenRefresh", json!([long_name("alice"), refresh])).await.unwrap();
    let access = &tokens(&renewed)["accessToken"];
    page.client("loginWithToken", json!([long_name("alice"), access])).await.unwrap();
    assert_eq!(page.messenger("getMe", json!([])).await, Ok(json!("alice@chat.acme")));
    // The new pair has arrived, so that the old one is spent.
    let again = page.client("tokenRefresh", json!([long_name("alice"), refresh])).await.unwrap_err();
    assert_eq!((&again["result"], &again["code"]), (&json!(false), &json!(401)));
}

#[tokio::test]
async fn push_tokens_are_taken_without_an_answer() {
    let world = World::with_users(&["alice"]).await;
    let page = world.in_browser("alice").await;
    for call in ["registerForPushNotifications", "handlePushNotification", "unregisterForPushNotifications"] {
        page.client(call, json!(["a token of the browser's vendor"])).await.unwrap();
    }
    // The link stands and answers.
    assert_eq!(page.messenger("getMyId", json!([])).await, Ok(json!(101)));
    assert_eq!(page.fired("ConnectionClosed"), []);
}
