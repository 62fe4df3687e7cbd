//! Commands that want something done: durable first, then out if there is a link.

use super::{inspect, open};
use crate::args::{ParticipantsAction, Wait};
use crate::failure::{Exit, Failure};
use crate::names;
use crate::render::Out;
use backscroll::model::{
    ClientToken, ConversationConfig, ConversationId, OutboxEntry, OutboxState, Permissions, RawJson, Sequence,
};
use backscroll::sync::LinkState;
use backscroll::{Error, Messenger, Sending};
use serde_json::json;
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

/// Without `--wait`: long enough for a server that is there to answer, short enough not to be in the way.
const MOMENT: Duration = Duration::from_secs(2);

pub(crate) async fn create(
    out: Out,
    store: Option<PathBuf>,
    config: ConversationConfig,
    users: &[String],
    wait: Wait,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let participants = names::participants(&messenger, users, Permissions::WRITER).await?;
        let sending = messenger.create_conversation(ConversationConfig { participants, ..config }).await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn send(
    out: Out,
    store: Option<PathBuf>,
    conversation: &str,
    text: String,
    payload: Option<String>,
    wait: Wait,
) -> Result<(), Failure> {
    let payload = payload.map(|json| RawJson::new(&json)).transpose().map_err(|error| {
        let place = std::error::Error::source(&error).map(ToString::to_string).unwrap_or_default();
        Failure::usage(format!("the payload is no JSON: {place}")).hint(r#"a payload looks like [{"kind":"card"}]"#)
    })?;
    let messenger = open(store).await?;
    let done = async {
        let held = names::conversation(&messenger, conversation).await?;
        let sending = held.conversation.send_message(text, payload).await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn edit(
    out: Out,
    store: Option<PathBuf>,
    message: &str,
    text: String,
    wait: Wait,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let sending = names::message(&messenger, message).await?.update(Some(text), None).await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn remove(out: Out, store: Option<PathBuf>, message: &str, wait: Wait) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let sending = names::message(&messenger, message).await?.remove().await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn read(
    out: Out,
    store: Option<PathBuf>,
    conversation: &str,
    sequence: Option<u32>,
    wait: Wait,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let held = names::conversation(&messenger, conversation).await?;
        let sending = held.conversation.mark_as_read(sequence.map_or(held.head, Sequence)).await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn participants(
    out: Out,
    store: Option<PathBuf>,
    conversation: &str,
    action: ParticipantsAction,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let there = names::conversation(&messenger, conversation).await?.conversation;
        let (sending, wait) = match action {
            ParticipantsAction::Add { users, rights, wait } => {
                let participants = names::participants(&messenger, &users, rights.into()).await?;
                (there.add_participants(participants).await?, wait)
            }
            ParticipantsAction::Edit { users, rights, wait } => {
                let participants = names::participants(&messenger, &users, rights.into()).await?;
                (there.edit_participants(participants).await?, wait)
            }
            ParticipantsAction::Remove { users, wait } => {
                let participants = names::participants(&messenger, &users, Permissions::NONE).await?;
                let users = participants.iter().map(|participant| participant.user).collect();
                (there.remove_participants(users).await?, wait)
            }
        };
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn remove_conversation(
    out: Out,
    store: Option<PathBuf>,
    conversation: &str,
    wait: Wait,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let sending = names::conversation(&messenger, conversation).await?.conversation.remove().await?;
        settle(out, &messenger, sending, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn join(out: Out, store: Option<PathBuf>, id: ConversationId, wait: Wait) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async { settle(out, &messenger, messenger.join_conversation(id).await?, wait).await };
    finish(&messenger, done.await).await
}

pub(crate) async fn leave(out: Out, store: Option<PathBuf>, conversation: &str, wait: Wait) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let id = names::conversation(&messenger, conversation).await?.conversation.id;
        settle(out, &messenger, messenger.leave_conversation(id).await?, wait).await
    };
    finish(&messenger, done.await).await
}

pub(crate) async fn retry(out: Out, store: Option<PathBuf>, token: ClientToken, wait: Wait) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async { settle(out, &messenger, messenger.retry(token).await?, wait).await };
    finish(&messenger, done.await).await
}

pub(crate) async fn cancel(out: Out, store: Option<PathBuf>, token: ClientToken) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        messenger.cancel(token).await?;
        out.object(json!({"type": "outbox", "token": token, "state": "cancelled"}))?;
        out.say("taken back")
    };
    finish(&messenger, done.await).await
}

/// Sends messages one after the other, and prints the text of each once it is accepted. Ends when all are, without
/// waiting for the server.
pub(crate) async fn send_many(
    store: Option<PathBuf>,
    conversation: &str,
    prefix: &str,
    count: u32,
) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let done = async {
        let held = names::conversation(&messenger, conversation).await?;
        for number in 1..=count {
            let text = format!("{prefix} {number}");
            // On its way for good; nobody here waits for its end.
            drop(held.conversation.send_message(text.as_str(), None).await?);
            let mut out = io::stdout().lock();
            writeln!(out, "{text}")?;
            out.flush()?;
        }
        Ok(())
    };
    finish(&messenger, done.await).await
}

/// Closes in order, whatever came before.
async fn finish(messenger: &Messenger, outcome: Result<(), Failure>) -> Result<(), Failure> {
    messenger.close().await;
    outcome
}

/// Waits for the server as long as was asked, then prints how the entry stands.
async fn settle<T>(out: Out, messenger: &Messenger, sending: Sending<T>, wait: Wait) -> Result<(), Failure> {
    let token = sending.token();
    let refusal = match wait.wait {
        Some(seconds) => tokio::time::timeout(Duration::from_secs(seconds), sending).await.ok(),
        None => tokio::select! {
            outcome = sending => Some(outcome),
            () = no_link(messenger) => None,
            () = tokio::time::sleep(MOMENT) => None,
        },
    };
    let entry = entry(messenger, token).await?;
    inspect::print_entry(out, &entry)?;
    match (refusal, entry.state) {
        (_, OutboxState::Settled) => Ok(()),
        (Some(Err(error)), OutboxState::Failed) => Err(error.into()),
        (_, OutboxState::Failed) => Err(Failure::no("refused for good; outbox says why")),
        (_, OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain) if wait.wait.is_some() => {
            Err(Failure { exit: Exit::No, ..Failure::no("not answered in time; it goes on with the next sync") })
        }
        (_, OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain) => Ok(()),
    }
}

async fn entry(messenger: &Messenger, token: ClientToken) -> Result<OutboxEntry, Failure> {
    let outbox = messenger.outbox().await?;
    outbox.into_iter().find(|entry| entry.token == token).ok_or_else(|| Error::Cancelled.into())
}

/// Returns when it is clear that there is no link to be had for now.
async fn no_link(messenger: &Messenger) {
    let mut link = messenger.connection();
    let began = link.wait_for(|state| state.is_signed_out() || *state == LinkState::Connecting).await;
    if began.is_ok_and(|state| state.is_signed_out()) {
        return;
    }
    // An error means that the engine ended: then there is no link either.
    link.wait_for(|state| matches!(state, LinkState::SignedOut(_) | LinkState::Offline { .. })).await.map(drop).ok();
}
