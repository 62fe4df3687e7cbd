//! `inspect`, `gaps`, `outbox`, `verify`, `repair`: what the file holds, what it lacks, and whether it is sound.

use super::{existing, look_into, open};
use crate::failure::Failure;
use crate::names;
use crate::render::{Out, harmless, size, time};
use backscroll::Messenger;
use backscroll::engine::{Finding, Repair};
use backscroll::model::{ConversationId, OutboxEntry, OutboxState, SequenceRange};
use backscroll::sync::{HoleReason, LinkState, SignedOut};
use serde_json::{Value, json};
use std::path::PathBuf;

pub(crate) async fn inspect(out: Out, store: Option<PathBuf>, limit: u32) -> Result<(), Failure> {
    let messenger = Messenger::inspect(existing(store)?).await?;
    let held = messenger.overview().await?;
    let count = |state| held.outbox.get(&state).copied().unwrap_or(0);
    let (queued, sending) = (count(OutboxState::Queued), count(OutboxState::Sending));
    let (uncertain, failed) = (count(OutboxState::Uncertain), count(OutboxState::Failed));
    let account = messenger.me().map(|user| user.to_string());
    let server = messenger.server().map(|server| server.url);
    let session = match LinkState::before_dialling(messenger.session().as_ref()) {
        LinkState::SignedOut(SignedOut::NeverLoggedIn) => "none".to_owned(),
        LinkState::SignedOut(SignedOut::LoggedOut) => "logged out".to_owned(),
        LinkState::SignedOut(SignedOut::Refused { code }) => format!("ended by the server (code {code})"),
        LinkState::Offline { .. }
        | LinkState::Connecting
        | LinkState::CatchingUp { .. }
        | LinkState::Live
        | LinkState::Paused => "kept".to_owned(),
    };
    let holder = messenger.holder().await?;
    out.object(json!({
        "type": "store", "holder": holder.as_ref().map(|holder| {
            json!({"process": holder.process, "program": holder.program, "since": holder.since})
        }), "account": account, "user_id": messenger.my_id(), "server": server, "session": session,
        "schema_version": held.schema_version, "conversations": held.conversations, "messages": held.messages,
        "events": held.events, "gaps": held.gaps, "missing": held.missing, "users": held.users,
        "outbox": {"queued": queued, "sending": sending, "uncertain": uncertain, "failed": failed},
        "unreadable": held.unreadable, "bytes": held.bytes, "change": held.change,
    }))?;
    let user_id = messenger.my_id().map(|id| format!(", user {id}")).unwrap_or_default();
    out.say(format!("account        {}{user_id}", account.unwrap_or_else(|| "nobody ever logged in".to_owned())))?;
    out.say(format!("server         {}", server.unwrap_or_default()))?;
    out.say(format!("session        {session}"))?;
    let held_by = holder.map_or_else(
        || "nobody".to_owned(),
        |holder| format!("process {} ({}) since {}", holder.process, harmless(&holder.program), time(holder.since)),
    );
    out.say(format!("synced by      {held_by}"))?;
    out.say(format!("schema         version {}", held.schema_version))?;
    out.say(format!("conversations  {}", held.conversations))?;
    out.say(format!("messages       {} in {} events", held.messages, held.events))?;
    out.say(format!("gaps           {} with {} positions to be fetched", held.gaps, held.missing))?;
    out.say(format!("outbox         {queued} queued, {sending} sending, {uncertain} uncertain, {failed} failed"))?;
    if held.unreadable > 0 {
        out.say(format!(
            "unreadable     {} of the conversations and outbox entries: verify says which",
            held.unreadable
        ))?;
    }
    out.say(format!("size           {}", size(held.bytes)))?;
    super::list::holdings(out, &messenger, limit).await
}

pub(crate) async fn gaps(
    out: Out,
    store: Option<PathBuf>,
    conversation: Option<&str>,
    holes: bool,
) -> Result<(), Failure> {
    let messenger = look_into(out, store).await?;
    let id = match conversation {
        Some(name) => Some(names::conversation(&messenger, name).await?.conversation.id),
        None => None,
    };
    if holes {
        let rows = messenger.holes(id).await?.into_iter().map(|hole| {
            let reason = match hole.reason {
                HoleReason::NotInHistory => "not in the server's history",
                HoleReason::NotAMember => "not a participant at that time",
            };
            let object = json!({
                "type": "hole", "conversation": hole.conversation, "first": hole.range.first(),
                "last": hole.range.last(), "reason": reason,
            });
            (vec![hole.conversation.to_string(), hole.range.to_string(), reason.to_owned()], object)
        });
        return out.rows(&["conversation", "positions", "reason"], rows.collect(), "no holes");
    }
    let gaps = messenger.gaps(id).await?;
    let missing = !gaps.is_empty();
    let rows = gaps.into_iter().map(|(conversation, range)| {
        let object = json!({"type": "gap", "conversation": conversation, "first": range.first(), "last": range.last()});
        (vec![conversation.to_string(), range.to_string()], object)
    });
    out.rows(&["conversation", "to be fetched"], rows.collect(), "no gaps")?;
    if missing {
        return Err(Failure::no("something is still to be fetched").hint("backscroll sync fetches it"));
    }
    Ok(())
}

pub(crate) async fn outbox(out: Out, store: Option<PathBuf>) -> Result<(), Failure> {
    let messenger = look_into(out, store).await?;
    let mut entries = messenger.outbox().await?;
    entries.retain(|entry| entry.state != OutboxState::Settled);
    let rows = entries.iter().map(entry_row).collect();
    out.rows(&["token", "action", "state", "attempts", "queued", "error"], rows, "nothing is on its way")
}

fn state_name(state: OutboxState) -> &'static str {
    match state {
        OutboxState::Queued => "queued",
        OutboxState::Sending => "sending",
        OutboxState::Uncertain => "uncertain",
        OutboxState::Settled => "settled",
        OutboxState::Failed => "failed",
    }
}

fn entry_row(entry: &OutboxEntry) -> (Vec<String>, Value) {
    let settled = entry.settlement.unwrap_or_default();
    let error = entry.error.as_ref();
    let object = json!({
        "type": "outbox", "token": entry.token, "state": state_name(entry.state),
        "uuid": settled.message, "sequence": settled.sequence,
        "conversation": entry.intent.conversation().or(settled.conversation),
        "action": entry.intent.action().name(), "attempts": entry.attempts, "queued_at": entry.queued_at,
        "error": error.map(|error| json!({"code": error.code.number(), "name": error.code.name()})),
    });
    let cells = vec![
        entry.token.to_string(),
        entry.intent.action().name().to_owned(),
        state_name(entry.state).to_owned(),
        entry.attempts.to_string(),
        time(entry.queued_at),
        error.map(ToString::to_string).unwrap_or_default(),
    ];
    (cells, object)
}

/// Prints how one entry stands: a new conversation as such, anything else as an entry.
pub(crate) fn print_entry(out: Out, entry: &OutboxEntry) -> Result<(), Failure> {
    let (_, object) = entry_row(entry);
    let settled = entry.settlement.unwrap_or_default();
    let state = state_name(entry.state);
    if let backscroll::model::Intent::CreateConversation(config) = &entry.intent {
        // Until the server has named it, it is known and written to by an id of our own.
        let id = settled.conversation.unwrap_or(ConversationId::provisional(entry.token));
        // A new conversation begins with its own event.
        let sequence = settled.conversation.map(|_| settled.sequence.map_or(1, backscroll::model::Sequence::get));
        out.object(json!({
            "type": "conversation", "uuid": id, "title": config.title, "state": state,
            "sequence": sequence, "token": entry.token,
        }))?;
        return out.say(format!("{state}: conversation {id}"));
    }
    out.object(object)?;
    let what = settled.message.map(|id| format!(", message {id}")).unwrap_or_default();
    let place = settled.sequence.map(|sequence| format!(", sequence {sequence}")).unwrap_or_default();
    out.say(format!("{state}{what}{place}"))
}

pub(super) fn print_finding(out: Out, finding: &Finding) -> Result<(), Failure> {
    out.object(json!({
        "type": "finding", "fault": finding.fault.name(), "conversation": finding.conversation,
        "first": finding.range.map(SequenceRange::first), "last": finding.range.map(SequenceRange::last),
        "what": finding.what,
    }))?;
    out.say(finding.to_string())
}

pub(crate) async fn verify(out: Out, store: Option<PathBuf>) -> Result<(), Failure> {
    let messenger = Messenger::inspect(existing(store)?).await?;
    let findings = messenger.verify().await?;
    let checked = messenger.overview().await?.events;
    findings.iter().try_for_each(|finding| print_finding(out, finding))?;
    let ok = findings.is_empty();
    out.object(json!({"type": "summary", "ok": ok, "checked": checked, "findings": findings.len()}))?;
    if ok {
        return out.say(format!("sound: {checked} events checked"));
    }
    let failure = Failure::no(format!("findings: {}", findings.len()));
    Err(failure.hint("backscroll repair puts right what the file and the server allow"))
}

pub(crate) async fn repair(out: Out, store: Option<PathBuf>) -> Result<(), Failure> {
    let looked_into = Messenger::inspect(existing(store.clone())?).await?;
    let before = if looked_into.unreadable().await? > 0 { looked_into.verify().await? } else { Vec::new() };
    looked_into.close().await;
    let messenger = open(store).await?;
    let mut repair = messenger.repair().await?;
    messenger.close().await;
    // Opening has put right already what kept conversations from being read.
    let is_mended = |finding: &Finding| finding.fault.is_rebuilt() && !repair.found.contains(finding);
    let opened: Vec<Finding> = before.into_iter().filter(is_mended).collect();
    repair.rebuilt.extend(opened.iter().filter_map(|finding| finding.conversation));
    repair.rebuilt.sort_unstable();
    repair.rebuilt.dedup();
    repair.found.splice(0..0, opened);
    print_repair(out, &repair)?;
    let ok = repair.left.is_empty();
    out.object(json!({
        "type": "summary", "ok": ok, "findings": repair.found.len(), "rebuilt": repair.rebuilt.len(),
        "missing": repair.missing.len(), "left": repair.left.len(),
    }))?;
    if ok {
        return out.say(format!("findings: {}, all put right", repair.found.len()));
    }
    for finding in &repair.left {
        out.say(format!("left as it is: {finding}"))?;
    }
    Err(Failure::no(format!("findings left: {}", repair.left.len())))
}

/// Prints what a repair of the file by itself found and did.
pub(super) fn print_repair(out: Out, repair: &Repair) -> Result<(), Failure> {
    repair.found.iter().try_for_each(|finding| print_finding(out, finding))?;
    for conversation in &repair.rebuilt {
        out.object(json!({"type": "rebuilt", "conversation": conversation}))?;
        out.say(format!("conversation {conversation} was made anew from its events"))?;
    }
    for (conversation, range) in &repair.missing {
        let (first, last) = (range.first(), range.last());
        out.object(json!({"type": "gap", "conversation": conversation, "first": first, "last": last}))?;
        out.say(format!("conversation {conversation}, {range} was damaged and is to be fetched again"))?;
    }
    Ok(())
}
