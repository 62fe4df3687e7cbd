//! `sync`: until live, complete, and nothing is on its way.

use super::open;
use crate::failure::Failure;
use crate::render::{Out, harmless};
use backscroll::engine::{Holder, OutboxEvent, Role};
use backscroll::model::OutboxState;
use backscroll::sync::LinkState;
use backscroll::{Messenger, MessengerEvent};
use futures_util::StreamExt;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// How often progress is looked at.
const TICK: Duration = Duration::from_millis(50);

#[derive(Debug, Default)]
struct Progress {
    events: u64,
    settled: u64,
    failed: u64,
}

impl Progress {
    fn count(&mut self, event: &MessengerEvent) {
        match event {
            MessengerEvent::Conversation(_) | MessengerEvent::Message(_) | MessengerEvent::Unknown(_) => {
                self.events += 1;
            }
            MessengerEvent::Lagged { missed } => self.events += missed,
            MessengerEvent::Outbox(OutboxEvent { entry, .. }) => match entry.state {
                OutboxState::Settled => self.settled += 1,
                OutboxState::Failed => self.failed += 1,
                OutboxState::Queued | OutboxState::Sending | OutboxState::Uncertain => {}
            },
            MessengerEvent::ConversationService(_) | MessengerEvent::User(_) | MessengerEvent::Status(_) => {}
            // A kind that a later engine tells of.
            _ => {}
        }
    }
}

pub(crate) async fn run(out: Out, store: Option<PathBuf>, seconds: u64, follow: bool) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let outcome = catch_up(out, &messenger, seconds, follow).await;
    messenger.close().await;
    outcome
}

async fn catch_up(out: Out, messenger: &Messenger, seconds: u64, follow: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let bar = bar(out);
    let mut progress = Progress::default();
    let mut events = messenger.events();
    let waiting = until_done(out, messenger, &bar, &mut progress, &mut events);
    let ended = timeout(Duration::from_secs(seconds), waiting).await;
    bar.finish_and_clear();
    let held = messenger.overview().await?;
    let waits: u64 = [OutboxState::Queued, OutboxState::Sending, OutboxState::Uncertain]
        .iter()
        .filter_map(|state| held.outbox.get(state))
        .sum();
    let took = began.elapsed().as_secs_f64();
    out.object(json!({
        "type": "summary", "events": progress.events, "settled": progress.settled, "failed": progress.failed,
        "gaps": held.gaps, "missing": held.missing, "waiting": waits, "seconds": (took * 1_000.0).round() / 1_000.0,
    }))?;
    out.say(format!(
        "{} events came, {} sent, {} refused, {} positions missing, {waits} still waiting, in {took:.1} s",
        progress.events, progress.settled, progress.failed, held.missing
    ))?;
    match ended {
        Ok(outcome) => outcome?,
        Err(_elapsed) => {
            let state = messenger.connection().borrow().clone();
            let why = match state {
                LinkState::SignedOut(_) => "nobody is logged in",
                LinkState::Offline { .. } | LinkState::Connecting | LinkState::Paused => {
                    "there is no connection to the server"
                }
                LinkState::CatchingUp { .. } => "history is still being fetched",
                LinkState::Live => "something still waits to be sent",
            };
            return Err(Failure::no(format!("not complete after {seconds} s: {why}"))
                .hint("--timeout SECONDS gives it longer; gaps and outbox say what is missing"));
        }
    }
    if follow { follow_on(out, &mut events).await } else { Ok(()) }
}

fn bar(out: Out) -> ProgressBar {
    if out.json || !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::no_length();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {msg} {wide_bar} {pos}/{len}") {
        bar.set_style(style);
    }
    bar
}

/// Waits until everything is held and nothing is on its way; an error when that cannot come.
async fn until_done(
    out: Out,
    messenger: &Messenger,
    bar: &ProgressBar,
    progress: &mut Progress,
    events: &mut (impl StreamExt<Item = MessengerEvent> + Unpin),
) -> Result<(), Failure> {
    let link = messenger.connection();
    let mut tick = interval(TICK);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut told = None;
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(event) => progress.count(&event),
                None => return Err(Failure::environment("the engine ended by itself")),
            },
            _ = tick.tick() => {
                if let Role::Following { holder } = &*messenger.role().borrow() {
                    return Err(following(holder.as_ref()));
                }
                let state = link.borrow().clone();
                let missing = match state {
                    LinkState::SignedOut(_) => {
                        return Err(Failure::environment("nobody is logged in").hint("backscroll login"));
                    }
                    LinkState::CatchingUp { missing, .. } => Some(missing),
                    LinkState::Live | LinkState::Offline { .. } | LinkState::Connecting | LinkState::Paused => None,
                };
                bar.set_message(name(&state));
                bar.set_length(progress.events + missing.unwrap_or(0));
                bar.set_position(progress.events);
                let now = (name(&state), progress.events, missing);
                if told != Some(now) {
                    out.object(json!({
                        "type": "progress", "state": now.0, "events": now.1, "missing": now.2,
                    }))?;
                    told = Some(now);
                }
                if state == LinkState::Live && nothing_waits(messenger).await? {
                    return Ok(());
                }
            }
        }
    }
}

pub(super) fn following(holder: Option<&Holder>) -> Failure {
    let who = holder.map_or_else(|| "another process".to_owned(), ToString::to_string);
    Failure::environment(format!("{} syncs this store already", harmless(&who)))
        .hint("messages, send and all commands but sync, login and logout work meanwhile; inspect says who it is")
}

fn name(state: &LinkState) -> &'static str {
    match state {
        LinkState::SignedOut(_) => "signed out",
        LinkState::Offline { .. } => "offline",
        LinkState::Connecting => "connecting",
        LinkState::CatchingUp { .. } => "catching up",
        LinkState::Live => "live",
        LinkState::Paused => "paused",
    }
}

async fn nothing_waits(messenger: &Messenger) -> Result<bool, Failure> {
    let outbox = messenger.outbox().await?;
    Ok(outbox.iter().all(|entry| matches!(entry.state, OutboxState::Settled | OutboxState::Failed)))
}

/// Prints what happens until a signal ends it.
async fn follow_on(out: Out, events: &mut (impl StreamExt<Item = MessengerEvent> + Unpin)) -> Result<(), Failure> {
    loop {
        let event = tokio::select! {
            interrupted = tokio::signal::ctrl_c() => return Ok(interrupted?),
            event = events.next() => event,
        };
        match event {
            Some(MessengerEvent::Message(event)) => {
                let (action, message) = (event.action.name(), &event.message);
                out.object(json!({
                    "type": "event", "action": action, "conversation": message.conversation, "uuid": message.id,
                    "sequence": event.sequence, "initiator": event.initiator, "text": message.text,
                }))?;
                out.say(format!("{:>6}  {action}  {}", event.sequence, harmless(&message.text)))?;
            }
            Some(MessengerEvent::Conversation(event)) => {
                let action = event.action.name();
                out.object(json!({
                    "type": "event", "action": action, "conversation": event.conversation.id,
                    "sequence": event.sequence, "initiator": event.initiator,
                }))?;
                out.say(format!("{:>6}  {action}  {}", event.sequence, harmless(&event.conversation.title)))?;
            }
            Some(_) => {}
            None => return Err(Failure::environment("the engine ended by itself")),
        }
    }
}
