//! `login` and `logout`.

use super::{absolute, named, open, password};
use crate::args::LoginWay;
use crate::failure::Failure;
use crate::render::Out;
use backscroll::model::{Credentials, Secret, UserId, UserName};
use backscroll::{Config, Messenger};
use serde_json::json;
use std::path::PathBuf;

pub(crate) async fn log_in(
    out: Out,
    store: Option<PathBuf>,
    server: Option<String>,
    user: &str,
    ca: Option<PathBuf>,
    way: &LoginWay,
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
    // A prompt for what is needed comes before the file is made.
    let typed = |what: &str| password(&format!("{what} of {user}: ")).map(Secret::new);
    let credentials = if way.one_time_hash {
        None
    } else if way.access_token {
        Some(Credentials::AccessToken { user: user.clone(), token: typed("Access token")? })
    } else if way.refresh_token {
        Some(Credentials::RefreshToken { user: user.clone(), token: typed("Refresh token")? })
    } else if way.one_time_key {
        Some(Credentials::PasswordByKey { user: user.clone(), password: typed("Password")? })
    } else {
        Some(Credentials::Password { user: user.clone(), password: typed("Password")? })
    };
    let messenger = Messenger::open(config).await?;
    let outcome = match credentials {
        Some(credentials) => messenger.log_in(credentials).await.map_err(Failure::from),
        None => answer_key(out, &messenger, user).await,
    };
    let (user, server) = (messenger.me(), messenger.server());
    messenger.close().await;
    let (id, user) = (outcome?, user.map(|user| user.to_string()).unwrap_or_default());
    let url = server.map(|server| server.url);
    out.object(json!({"type": "session", "user": user, "user_id": id, "server": url}))?;
    out.say(format!("logged in as {user}, user {id}"))
}

/// Prints a one-time key, and logs in with the hash that somebody makes of it.
async fn answer_key(out: Out, messenger: &Messenger, user: UserName) -> Result<UserId, Failure> {
    let key = messenger.request_one_time_key(user.clone()).await?;
    out.object(json!({"type": "one_time_key", "user": user.as_str(), "key": key.reveal()}))?;
    out.say(format!("one-time key  {}", key.reveal()))?;
    let hash = Secret::new(password("Hash that answers it: ")?);
    Ok(messenger.log_in(Credentials::OneTimeKeyHash { user, hash }).await?)
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
