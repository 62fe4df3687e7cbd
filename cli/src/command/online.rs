//! `verify --online` and `repair --online`: the file against the server.

use super::inspect::{print_finding, print_repair};
use super::open;
use crate::args::Online;
use crate::failure::Failure;
use crate::render::Out;
use backscroll::Messenger;
use backscroll::engine::{Allowed, Comparison, Depth, Difference, Discrepancy, Role};
use backscroll::model::SequenceRange;
use backscroll::sync::LinkState;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::time::Duration;
use tokio::time::timeout;

/// How long the file may take to catch up before it is compared: what is still being fetched is no difference, only
/// not compared.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(60);

impl Online {
    fn depth(&self) -> Depth {
        match self.sample {
            _ if self.full => Depth::Full,
            Some(positions) => Depth::Sample { positions, seed: self.seed },
            None => Depth::Heads,
        }
    }
}

pub(crate) async fn verify(out: Out, store: Option<PathBuf>, online: &Online) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let outcome = compare(out, &messenger, online.depth()).await;
    messenger.close().await;
    outcome
}

async fn compare(out: Out, messenger: &Messenger, depth: Depth) -> Result<(), Failure> {
    until_reached(messenger).await?;
    let findings = messenger.verify().await?;
    findings.iter().try_for_each(|finding| print_finding(out, finding))?;
    let comparison = messenger.verify_online(depth).await?;
    print_differences(out, &comparison)?;
    let missing = messenger.overview().await?.missing;
    let ok = findings.is_empty() && comparison.is_same();
    out.object(json!({
        "type": "summary", "ok": ok, "findings": findings.len(), "conversations": comparison.conversations,
        "compared": comparison.positions, "differences": comparison.wrong, "unanswered": comparison.silent,
        "missing": missing,
    }))?;
    let (conversations, positions) = (comparison.conversations, comparison.positions);
    if ok {
        return out.say(format!(
            "as the server has it; conversations compared: {conversations}, positions: {positions}, still to be fetched: {missing}"
        ));
    }
    let (found, wrong, silent) = (findings.len(), comparison.wrong, comparison.silent);
    let failure = Failure::no(format!("findings: {found}, differences: {wrong}, not compared: {silent}"));
    Err(failure.hint(if found == 0 && wrong == 0 {
        "the server did not answer in minutes: try again when it is less busy"
    } else {
        "backscroll repair --online puts right what the file and the server allow"
    }))
}

pub(crate) async fn repair(out: Out, store: Option<PathBuf>, online: &Online) -> Result<(), Failure> {
    let messenger = open(store).await?;
    let outcome = fetch(out, &messenger, online.depth()).await;
    messenger.close().await;
    outcome
}

async fn fetch(out: Out, messenger: &Messenger, depth: Depth) -> Result<(), Failure> {
    let offline = messenger.repair().await?;
    print_repair(out, &offline)?;
    until_reached(messenger).await?;
    let online = messenger.repair_online(depth).await?;
    for fixed in &online.fixed {
        out.object(object("fixed", fixed))?;
        out.say(format!("{fixed}: fetched"))?;
    }
    print_differences(out, &online.left)?;
    // The server's copy settled what it had told differently before.
    let findings = messenger.verify().await?;
    findings.iter().try_for_each(|finding| print_finding(out, finding))?;
    let left = findings.len() as u64 + online.left.wrong + online.left.silent;
    out.object(json!({
        "type": "summary", "ok": left == 0, "findings": offline.found.len(), "rebuilt": offline.rebuilt.len(),
        "missing": offline.missing.len(), "differences": online.found.wrong, "fixed": online.fixed.len(),
        "unanswered": online.left.silent, "left": left,
    }))?;
    if left == 0 {
        let (findings, differences) = (offline.found.len(), online.found.wrong);
        return out.say(format!("findings: {findings}, differences: {differences}, all put right"));
    }
    Err(Failure::no(format!("findings, differences and parts not compared that are left: {left}")))
}

/// Waits until the server has told everything that the file is to hold.
async fn until_reached(messenger: &Messenger) -> Result<(), Failure> {
    if let Role::Following { holder } = &*messenger.role().borrow() {
        return Err(super::sync::following(holder.as_ref()));
    }
    let mut link = messenger.connection();
    let reached = |state: &LinkState| matches!(state, LinkState::Live | LinkState::SignedOut(_));
    let waiting = timeout(CATCH_UP_TIMEOUT, link.wait_for(reached)).await;
    match waiting {
        Ok(Ok(state)) if *state == LinkState::Live => Ok(()),
        Ok(Ok(_)) => Err(Failure::environment("nobody is logged in").hint("backscroll login")),
        Ok(Err(_)) => Err(Failure::environment("the engine ended by itself")),
        Err(_elapsed) => {
            let link = messenger.connection().borrow().clone();
            match link {
                // Some of it cannot be had now. What is held can be compared.
                LinkState::CatchingUp { .. } => Ok(()),
                LinkState::SignedOut(_)
                | LinkState::Offline { .. }
                | LinkState::Connecting
                | LinkState::Live
                | LinkState::Paused => Err(Failure::environment("there is no connection to the server")
                    .hint("is the server running, and is its address right?")),
            }
        }
    }
}

fn print_differences(out: Out, comparison: &Comparison) -> Result<(), Failure> {
    for found in &comparison.found {
        out.object(object("difference", found))?;
        out.say(found.to_string())?;
    }
    let told = comparison.found.iter().filter(|found| !found.is_allowed()).count() as u64;
    if told < comparison.wrong {
        let more = comparison.wrong - told;
        out.object(json!({"type": "more", "differences": more}))?;
        out.say(format!("and {more} more"))?;
    }
    for silent in &comparison.unanswered {
        out.object(json!({
            "type": "unanswered", "conversation": silent.conversation, "first": silent.range.map(SequenceRange::first),
            "last": silent.range.map(SequenceRange::last), "what": silent.to_string(),
        }))?;
        out.say(silent.to_string())?;
    }
    let more = comparison.silent - comparison.unanswered.len() as u64;
    if more > 0 {
        out.object(json!({"type": "more", "unanswered": more}))?;
        out.say(format!("and {more} more not compared"))?;
    }
    Ok(())
}

fn object(kind: &str, found: &Discrepancy) -> Value {
    let (difference, part) = match found.difference {
        Difference::NotHeld => ("not held", None),
        Difference::UnknownToServer => ("unknown to the server", None),
        Difference::HeadBehind { .. } => ("head behind", None),
        Difference::Description(part) => ("description", Some(part.name())),
        Difference::Hole => ("hole", None),
        Difference::Lost => ("lost", None),
        Difference::NotShown(None) => ("not shown", None),
        Difference::NotShown(Some(Allowed::Removed)) => ("not shown", Some("removed")),
        Difference::NotShown(Some(Allowed::Outside)) => ("not shown", Some("outside")),
        Difference::Event(part) => ("event", Some(part.name())),
        // A kind that a later engine tells of.
        _ => ("other", None),
    };
    json!({
        "type": kind, "difference": difference, "part": part, "allowed": found.is_allowed(),
        "conversation": found.conversation, "first": found.range.map(SequenceRange::first),
        "last": found.range.map(SequenceRange::last), "what": found.to_string(),
    })
}
