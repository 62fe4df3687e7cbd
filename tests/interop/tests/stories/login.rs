//! The ways in.

use crate::world::{World, long_name, secret};
use serde_json::{Value, json};

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
