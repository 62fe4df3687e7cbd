//! `login` and `logout`.

use super::{absolute, named, open, password};
use crate::failure::Failure;
use crate::render::Out;
use backscroll::model::{Credentials, Secret, UserName};
use backscroll::{Config, Messenger};
use serde_json::json;
use std::path::PathBuf;

pub(crate) async fn log_in(
    out: Out,
    store: Option<PathBuf>,
    server: Option<String>,
    user: &str,
    ca: Option<PathBuf>,
) -> Result<(), Failure> {
    let user = UserName::new(user);
    if !user.as_str().contains('@') {
        return Err(Failure::usage(format!("{user:?} names no user")).hint("a user is named like alice@chat.acme"));
    }
    let mut config = Config::new(named(store)?).allow_plain_loopback();
    if let Some(url) = server {
        config = config.server(url);
    }
    if let Some(ca) = ca {
        config = config.extra_root(absolute(&ca)?);
    }
    let password = Secret::new(password(&format!("Password of {user}: "))?);
    let messenger = Messenger::open(config).await?;
    let outcome = messenger.log_in(Credentials::Password { user, password }).await;
    let (user, server) = (messenger.me(), messenger.server());
    messenger.close().await;
    let (id, user) = (outcome?, user.map(|user| user.to_string()).unwrap_or_default());
    let url = server.map(|server| server.url);
    out.object(json!({"type": "session", "user": user, "user_id": id, "server": url}))?;
    out.say(format!("logged in as {user}, user {id}"))
}

pub(crate) async fn log_out(out: Out, store: Option<PathBuf>) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let (user, outcome) = (messenger.me(), messenger.log_out().await);
    messenger.close().await;
    outcome?;
    let user = user.map(|user| user.to_string());
    out.object(json!({"type": "session", "user": user, "ended": true}))?;
    out.say("logged out; history and outbox stay")
}
