//! The tool `backscroll`: chats offline and on, runs a server, looks into a store.
//!
//! It sees the public interface of the engine and the server only. Exit codes: 0 done, 1 the answer is no,
//! 2 wrong use, 3 environment.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "enums of the engine and the server may grow, and a tool says the same of every new variant"
)]

mod args;
mod command;
mod failure;
mod names;
mod render;

use args::{Command, Typed};
use backscroll::engine::Window;
use backscroll::model::{ConversationConfig, Sequence};
use clap::Parser;
use clap::error::ErrorKind;
use command::{demo, inspect, list, online, serve, session, sync, user, write};
use failure::{Exit, Failure};
use render::Out;
use serde_json::json;
use std::process::ExitCode;

fn main() -> ExitCode {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            // Nobody to tell when even this cannot be printed.
            error.print().ok();
            return ExitCode::SUCCESS;
        }
        Err(error) => {
            if std::env::args().any(|word| word == "--json") {
                let failure = Failure::usage(error.kind().to_string()).hint("backscroll --help");
                return report(Out { json: true }, &failure);
            }
            error.print().ok();
            return ExitCode::from(Exit::Usage as u8);
        }
    };
    let out = Out { json: typed.json };
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return report(out, &error.into()),
    };
    match runtime.block_on(run(out, typed)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => report(out, &failure),
    }
}

fn report(out: Out, failure: &Failure) -> ExitCode {
    use std::io::Write;
    if failure.exit != Exit::Silent {
        let (hint, refusal) = (failure.hint.as_deref(), failure.refusal.as_ref());
        let text = if out.json {
            let mut object = json!({"type": "error", "message": failure.message});
            if let Some(hint) = hint {
                object["hint"] = json!(hint);
            }
            if let Some(refusal) = refusal {
                object["code"] = json!(refusal.code.number());
                object["name"] = json!(refusal.code.name());
            }
            object.to_string()
        } else {
            let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
            format!("error: {}{hint}", failure.message)
        };
        // Nobody to tell when even this cannot be printed; the exit code says it.
        writeln!(std::io::stderr(), "{text}").ok();
    }
    ExitCode::from(failure.exit as u8)
}

async fn run(out: Out, Typed { store, command, .. }: Typed) -> Result<(), Failure> {
    match command {
        Command::Demo { dir } => demo::run(out, dir).await,
        Command::WriteMany { conversation, prefix, count } => {
            write::send_many(store, &conversation, &prefix, count).await
        }
        Command::Serve(typed) => serve::run(out, typed).await,
        Command::User { action } => user::run(out, action),
        Command::Login { server, user, ca, way } => session::log_in(out, store, server, &user, ca, &way).await,
        Command::Logout => session::log_out(out, store).await,
        Command::Sync { timeout, follow } => sync::run(out, store, timeout, follow).await,
        Command::Create { title, direct, public, uber, users, wait } => {
            let config =
                ConversationConfig { title, direct, public_join: public, uber, ..ConversationConfig::default() };
            write::create(out, store, config, &users, wait).await
        }
        Command::Send { conversation, text, payload, wait } => {
            write::send(out, store, &conversation, text, payload, wait).await
        }
        Command::Edit { message, text, wait } => write::edit(out, store, &message, text, wait).await,
        Command::Remove { message: Some(message), wait, .. } => write::remove(out, store, &message, wait).await,
        Command::Remove { message: None, conversation, wait } => {
            write::remove_conversation(out, store, &conversation.unwrap_or_default(), wait).await
        }
        Command::Join { conversation, wait } => write::join(out, store, conversation, wait).await,
        Command::Leave { conversation, wait } => write::leave(out, store, &conversation, wait).await,
        Command::Read { conversation, sequence, wait } => write::read(out, store, &conversation, sequence, wait).await,
        Command::Participants { conversation, action: None } => list::participants(out, store, &conversation).await,
        Command::Participants { conversation, action: Some(action) } => {
            write::participants(out, store, &conversation, action).await
        }
        Command::Conversations { limit } => list::conversations(out, store, limit).await,
        Command::Messages { conversation, around, before, after, limit } => {
            let window = match (around, before, after) {
                (Some(at), _, _) => Window::Around(Sequence(at)),
                (None, Some(before), _) => Window::Before(Sequence(before)),
                (None, None, Some(after)) => Window::After(Sequence(after)),
                (None, None, None) => Window::Newest,
            };
            list::messages(out, store, &conversation, window, limit).await
        }
        Command::Gaps { conversation, holes } => inspect::gaps(out, store, conversation.as_deref(), holes).await,
        Command::Outbox => inspect::outbox(out, store).await,
        Command::Retry { token, wait } => write::retry(out, store, token, wait).await,
        Command::Cancel { token } => write::cancel(out, store, token).await,
        Command::Inspect { limit } => inspect::inspect(out, store, limit).await,
        Command::Verify { online } if online.online => online::verify(out, store, &online).await,
        Command::Verify { .. } => inspect::verify(out, store).await,
        Command::Repair { online } if online.online => online::repair(out, store, &online).await,
        Command::Repair { .. } => inspect::repair(out, store).await,
    }
}
