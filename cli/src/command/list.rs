//! `conversations`, `messages`, `participants`: what people read, and `inspect` of each conversation. Works offline and beside a running engine.

use super::look_into;
use crate::failure::Failure;
use crate::names;
use crate::render::{Out, harmless, time};
use backscroll::engine::{ConversationSummary, Freshness, TimelineItem, Window};
use backscroll::model::{ConversationKind, Delivery, HistoryPolicy, Participant, RawJson, UserId};
use backscroll::{Conversation, Message, Messenger};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::PathBuf;

pub(crate) async fn conversations(out: Out, store: Option<PathBuf>, limit: u32) -> Result<(), Failure> {
    let messenger = look_into(out, store).await?;
    let mut rows = Vec::new();
    for summary in messenger.conversations(0, limit).await? {
        let gaps = messenger.gaps(Some(summary.conversation.id)).await?.len();
        rows.push(conversation_row(&summary, gaps));
    }
    out.rows(
        &["conversation", "title", "kind", "head", "gaps", "unread", "last activity", "last message"],
        rows,
        "no conversations",
    )
}

fn conversation_row(summary: &ConversationSummary, gaps: usize) -> (Vec<String>, Value) {
    let conversation = &summary.conversation;
    let preview = summary.preview.as_ref().map(|preview| {
        let on_its_way = Some(preview.delivery).filter(|delivery| *delivery != Delivery::Settled);
        let state = on_its_way.map(|delivery| format!(" ({})", state_of(delivery))).unwrap_or_default();
        format!("{}{state}", harmless(&preview.text))
    });
    let unread = format!("{}{}", summary.unread, if summary.unread_exact { "" } else { "+" });
    let cells = vec![
        conversation.id.to_string(),
        harmless(&conversation.title),
        kind_of(conversation).to_owned(),
        summary.head.to_string(),
        gaps.to_string(),
        unread,
        time(summary.last_activity),
        preview.unwrap_or_default(),
    ];
    (cells, conversation_object(summary, gaps))
}

/// Returns what programs are told of a conversation.
fn conversation_object(summary: &ConversationSummary, gaps: usize) -> Value {
    let conversation = &summary.conversation;
    let (freshness, stale_since) = match summary.freshness {
        Freshness::Live => ("live", None),
        Freshness::CatchingUp { .. } => ("catching_up", None),
        Freshness::Stale { since } => ("stale", since),
    };
    json!({
        "type": "conversation", "uuid": conversation.id, "title": conversation.title, "kind": kind_of(conversation),
        "head": summary.head, "covered": summary.covered, "gaps": gaps, "missing": summary.missing,
        "unread": summary.unread, "unread_exact": summary.unread_exact,
        "last_activity": summary.last_activity, "freshness": freshness, "stale_since": stale_since,
        "history": history_of(summary),
        "membership": format!("{:?}", summary.membership).to_lowercase(),
    })
}

fn kind_of(conversation: &Conversation) -> &'static str {
    match conversation.kind() {
        ConversationKind::Regular => "regular",
        ConversationKind::Direct => "direct",
        ConversationKind::Public => "public",
        ConversationKind::Uber => "uber",
    }
}

fn history_of(summary: &ConversationSummary) -> String {
    match summary.history {
        HistoryPolicy::Everything => "everything".to_owned(),
        HistoryPolicy::Newest(count) => format!("newest {count}"),
        HistoryPolicy::OnDemand => "on demand".to_owned(),
    }
}

/// Prints of each conversation how much of it is wanted, how much of that is held, and since when that may be old.
pub(crate) async fn holdings(out: Out, messenger: &Messenger, limit: u32) -> Result<(), Failure> {
    let mut rows = Vec::new();
    for summary in messenger.conversations(0, limit).await? {
        let gaps = messenger.gaps(Some(summary.conversation.id)).await?.len();
        let freshness = match summary.freshness {
            Freshness::Live => "live".to_owned(),
            Freshness::CatchingUp { missing } => format!("{missing} on their way"),
            Freshness::Stale { since: Some(since) } => format!("as of {}", time(since)),
            Freshness::Stale { since: None } => "never whole".to_owned(),
        };
        let cells = vec![
            summary.conversation.id.to_string(),
            harmless(&summary.conversation.title),
            history_of(&summary),
            format!("{} of {}", summary.covered, summary.head),
            freshness,
        ];
        rows.push((cells, conversation_object(&summary, gaps)));
    }
    out.rows(&["conversation", "title", "history wanted", "held", "freshness"], rows, "no conversations")
}

pub(crate) async fn messages(
    out: Out,
    store: Option<PathBuf>,
    conversation: &str,
    window: Window,
    limit: u32,
) -> Result<(), Failure> {
    let messenger = look_into(out, store).await?;
    let id = names::conversation(&messenger, conversation).await?.conversation.id;
    let items = messenger.messages(id, window, limit).await?;
    let mut names = BTreeMap::new();
    let mut rows = Vec::with_capacity(items.len());
    for item in &items {
        rows.push(match item {
            TimelineItem::Gap(range) => {
                let cells = vec![range.to_string(), String::new(), String::new(), "(to be fetched)".to_owned()];
                (cells, json!({"type": "gap", "first": range.first(), "last": range.last()}))
            }
            TimelineItem::Message(message) => {
                let sender = name_of(&messenger, &mut names, message.sender).await?;
                message_row(message, sender)
            }
        });
    }
    out.rows(&["sequence", "time", "sender", "text"], rows, "no messages held")
}

async fn name_of(
    messenger: &Messenger,
    names: &mut BTreeMap<UserId, String>,
    sender: Option<UserId>,
) -> Result<String, Failure> {
    let Some(sender) = sender else { return Ok(String::new()) };
    if let Some(known) = names.get(&sender) {
        return Ok(known.clone());
    }
    let name = match messenger.user(sender).await? {
        Some(user) if !user.display_name.is_empty() => harmless(&user.display_name),
        Some(user) => user.name.to_string(),
        None => sender.to_string(),
    };
    names.insert(sender, name.clone());
    Ok(name)
}

fn state_of(delivery: Delivery) -> &'static str {
    match delivery {
        Delivery::Queued => "queued",
        Delivery::Sending => "sending",
        Delivery::Uncertain => "uncertain",
        Delivery::Settled => "settled",
        Delivery::Failed => "failed",
    }
}

fn message_row(message: &Message, sender: String) -> (Vec<String>, Value) {
    let state = state_of(message.delivery);
    let mark = match (message.delivery, message.removed, message.edited) {
        (Delivery::Settled, true, _) => "(removed)".to_owned(),
        (Delivery::Settled, false, true) => format!("{} (edited)", harmless(&message.text)),
        (Delivery::Settled, false, false) => harmless(&message.text),
        (_, _, _) => format!("{} ({state})", harmless(&message.text)),
    };
    let place = if message.id.is_some() { message.sequence.to_string() } else { "–".to_owned() };
    let payload = message.payload.as_ref().map(value).unwrap_or_else(|| json!([]));
    let object = json!({
        "type": "message", "uuid": message.id, "conversation": message.conversation,
        "sequence": message.id.map(|_| message.sequence), "revision": message.id.map(|_| message.revision),
        "sender": message.sender, "text": message.text, "payload": payload, "timestamp": message.timestamp,
        "edited": message.edited, "removed": message.removed, "state": state, "token": message.token,
    });
    (vec![place, time(message.timestamp), sender, mark], object)
}

/// Returns stored JSON as a value; what nests too deep to be read stays a text.
fn value(raw: &RawJson) -> Value {
    raw.parse().unwrap_or_else(|_| Value::String(raw.as_str().to_owned()))
}

pub(crate) async fn participants(out: Out, store: Option<PathBuf>, conversation: &str) -> Result<(), Failure> {
    let messenger = look_into(out, store).await?;
    let held = names::conversation(&messenger, conversation).await?;
    let mut names = BTreeMap::new();
    let mut rows = Vec::new();
    for participant in &held.conversation.participants {
        let name = name_of(&messenger, &mut names, Some(participant.user)).await?;
        let rights = rights_of(participant);
        let cells = vec![participant.user.to_string(), name, rights.join(" "), participant.last_read.to_string()];
        let object = json!({
            "type": "participant", "user_id": participant.user, "rights": rights, "last_read": participant.last_read,
        });
        rows.push((cells, object));
    }
    out.rows(&["id", "name", "rights", "has read"], rows, "nobody takes part")
}

fn rights_of(participant: &Participant) -> Vec<&'static str> {
    let rights = participant.permissions;
    [
        (rights.can_write(), "write"),
        (rights.can_edit(), "edit"),
        (rights.can_remove(), "remove"),
        (rights.can_manage_participants(), "manage"),
        (rights.can_edit_all(), "edit-all"),
        (rights.can_remove_all(), "remove-all"),
        (rights.is_owner(), "owner"),
    ]
    .into_iter()
    .filter_map(|(given, name)| given.then_some(name))
    .collect()
}
