//! `serve`: a server until a signal ends it.

use crate::args::Serve;
use crate::failure::Failure;
use crate::render::Out;
use backscroll::model::{Secret, UserName};
use backscroll::protocol::RateLimit;
use backscroll_server::{AccountError, Accounts, Config, LoginRules, Tls, serve};
use serde_json::json;
use std::path::Path;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    name: String,
    password: Secret,
    #[serde(default)]
    display_name: String,
}

pub(crate) async fn run(out: Out, typed: Serve) -> Result<(), Failure> {
    let logins = LoginRules {
        one_time_keys: !typed.no_one_time_keys,
        access_token_life: Duration::from_secs(typed.access_token_life),
        refresh_token_life: Duration::from_secs(typed.refresh_token_life),
        ..LoginRules::default()
    };
    if let Some(file) = &typed.users {
        make_accounts(&typed.data, file, logins.clone())?;
    }
    let mut config = Config::new(typed.listen, &typed.data);
    config.logins = logins;
    config.limits.rate = rate(typed.burst, typed.interval);
    config.limits.requests_per_minute = typed.per_minute;
    config.limits.user_rate = rate(typed.user_burst, typed.user_interval);
    config.limits.user_requests_per_minute = typed.user_per_minute;
    config.tls = match (typed.tls_cert, typed.tls_key) {
        (Some(certificate), Some(key)) => Tls::Files { certificate, key },
        _ if typed.plain => Tls::Plain,
        _ => Tls::SelfSigned,
    };
    // Before the first line is out, so that whoever reads it may send a signal at once.
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut terminated = signal(SignalKind::terminate())?;
    let mut server = serve(config).await?;
    let ca = server.certificate().map(|path| path.display().to_string());
    let (url, data) = (server.url(), typed.data.display().to_string());
    out.object(json!({"type": "ready", "url": url, "ca": ca, "data": data}))?;
    out.say(format!("ready at {url}"))?;
    if let Some(ca) = ca {
        out.say(format!("clients trust it with --ca {ca}"))?;
    }
    out.say(format!("accounts: backscroll user add --data {data} NAME"))?;
    tokio::select! {
        _ = interrupted.recv() => {}
        _ = terminated.recv() => {}
        () = server.wait() => return Err(Failure::environment("the server ended by itself")),
    }
    server.stop().await;
    out.say("stopped")
}

const fn rate(burst: u32, interval_us: u64) -> RateLimit {
    RateLimit { burst, interval: Duration::from_micros(interval_us) }
}

fn make_accounts(data: &Path, file: &Path, logins: LoginRules) -> Result<(), Failure> {
    let fault = |what: String| Failure::environment(format!("{}: {what}", file.display()));
    let text = std::fs::read_to_string(file).map_err(|error| fault(error.to_string()))?;
    let wanted: Vec<NewAccount> = serde_json::from_str(&text).map_err(|error| {
        // The library's own text may repeat a password.
        fault(format!("no JSON array of accounts at line {}, column {}", error.line(), error.column()))
            .hint(r#"[{"name":"alice@chat.acme","password":"…","display_name":"Alice"}]"#)
    })?;
    let accounts = Accounts::open_with(data, logins)?;
    for account in wanted {
        match accounts.add(&UserName::new(&account.name), &account.display_name, &account.password) {
            Ok(_) | Err(AccountError::Exists(_)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}
