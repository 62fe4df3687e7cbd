//! What either side was told, in one form, so that the two can be compared.

use crate::browser::{Fired, Page};
use crate::world::Device;
use backscroll::engine::{MessengerEventType, TimelineItem, Window};
use backscroll::model::{Conversation, Participant};
use backscroll::{MessengerEvent, engine};
use serde_json::{Value, json};

/// A numbered event: position, kind as the SDK names it, what was asked for, who, when, and everything that it says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Told {
    pub(crate) sequence: u64,
    pub(crate) kind: String,
    pub(crate) action: String,
    pub(crate) timestamp: i64,
    pub(crate) initiator: u64,
    pub(crate) content: Value,
}

/// Checks that both sides were told every event up to `last` exactly once, in order, and alike; returns them.
pub(crate) async fn both_were_told(page: &Page, device: &Device, conversation: &str, last: u64) -> Vec<Told> {
    let of_page =
        |events: &[Fired]| -> Vec<Told> { events.iter().filter_map(|event| fired(event, conversation)).collect() };
    let of_device = |events: &[MessengerEvent]| -> Vec<Told> {
        events.iter().filter_map(|event| told(event, conversation)).collect()
    };
    let complete = |events: &[Told]| events.iter().any(|event| event.sequence == last);
    page.until(&format!("event {last} in the browser"), |events| complete(&of_page(events))).await;
    device.until(&format!("event {last} in the engine"), |events| complete(&of_device(events))).await;
    let (theirs, ours) = (of_page(&page.fired("")), of_device(&device.told()));
    let positions: Vec<u64> = ours.iter().map(|event| event.sequence).collect();
    assert_eq!(positions, (1..=last).collect::<Vec<_>>(), "each once and in order");
    assert_eq!(theirs, ours);
    ours
}

/// Checks that both sides end with the same: how the conversation is, and every message in it, the browser's read
/// from history in pages of 100 as an application would.
pub(crate) async fn both_hold_the_same(page: &Page, device: &Device, conversation: &str) {
    let theirs = page.messenger("getConversation", json!([conversation])).await.unwrap()["conversation"].clone();
    let id = conversation.parse().unwrap();
    let ours = device.conversation(id).await.unwrap().expect("held");
    assert_eq!(described(&theirs), description(&ours.conversation));
    let last = theirs["lastSeq"].as_u64().unwrap();
    assert_eq!((u64::from(ours.head.get()), ours.missing), (last, 0));

    let history = history(page, conversation, last).await;
    let positions: Vec<u64> = history.iter().map(|event| event.sequence).collect();
    assert_eq!(positions, (1..=last).collect::<Vec<_>>(), "history has each event once and in order");
    assert_eq!(folded(&history), messages(device, conversation).await);
}

/// Reads all of the history that a page may see, a page of 100 at a time and one after the other.
pub(crate) async fn history(page: &Page, conversation: &str, last: u64) -> Vec<Told> {
    let mut events = Vec::new();
    for first in (1..=last).step_by(100) {
        let range = json!([first, last.min(first + 99)]);
        let told = page.conversation(conversation, "retransmitEvents", range).await.unwrap();
        events.extend(told["events"].as_array().unwrap().iter().map(retransmitted));
    }
    events
}

/// Returns the messages that stand in the end, oldest first: sequence, sender and what is said.
fn folded(history: &[Told]) -> Vec<Value> {
    let mut messages: Vec<Value> = Vec::new();
    for event in history {
        let known = messages.iter().position(|message| message["said"]["uuid"] == event.content["uuid"]);
        match (event.kind.as_str(), known) {
            ("SendMessage", None) => messages.push(message(event.sequence, event.initiator, &event.content)),
            ("EditMessage", Some(known)) => messages[known]["said"] = event.content.clone(),
            ("RemoveMessage", Some(known)) => drop(messages.remove(known)),
            (other, _) => assert!(other.ends_with("Conversation"), "{event:?}"),
        }
    }
    messages
}

/// Returns the messages that an engine shows, in the form of [`folded`]; a gap fails the test.
async fn messages(device: &Device, conversation: &str) -> Vec<Value> {
    let items = device.messages(conversation.parse().unwrap(), Window::Newest, 1_000).await.unwrap();
    let messages = items.iter().map(|item| match item {
        TimelineItem::Message(message) => message,
        TimelineItem::Gap(range) => panic!("a gap at {range:?}"),
    });
    let standing = messages.filter(|message| !message.removed);
    standing.map(|shown| message(shown.sequence.get().into(), shown.sender.unwrap().get(), &saying(shown))).collect()
}

fn message(sequence: u64, sender: u64, said: &Value) -> Value {
    json!({ "sequence": sequence, "sender": sender, "said": said })
}

/// Returns an event out of the SDK's history, which names the action and not the kind.
fn retransmitted(event: &Value) -> Told {
    let action = event["messengerAction"].as_str().unwrap();
    let (kind, content) = match action {
        "sendMessage" => ("SendMessage", said(&event["message"])),
        "editMessage" => ("EditMessage", said(&event["message"])),
        "removeMessage" => ("RemoveMessage", json!({ "uuid": event["message"]["uuid"] })),
        "createConversation" => ("CreateConversation", described(&event["conversation"])),
        _ => ("EditConversation", described(&event["conversation"])),
    };
    Told {
        sequence: event["seq"].as_u64().unwrap(),
        kind: kind.to_owned(),
        action: action.to_owned(),
        timestamp: seconds(event),
        initiator: event["initiator"].as_u64().unwrap(),
        content,
    }
}

/// Returns a numbered event of `conversation` that the SDK fired.
fn fired(event: &Fired, conversation: &str) -> Option<Told> {
    let payload = &event.payload;
    let content = match event.name.as_str() {
        "CreateConversation" | "EditConversation" => described(&payload["conversation"]),
        "SendMessage" | "EditMessage" => said(&payload["message"]),
        "RemoveMessage" => json!({ "uuid": payload["message"]["uuid"] }),
        _ => return None,
    };
    let place = if payload["conversation"].is_object() {
        &payload["conversation"]["uuid"]
    } else {
        &payload["message"]["conversation"]
    };
    (place == conversation).then(|| Told {
        sequence: payload["seq"].as_u64().unwrap(),
        kind: event.name.clone(),
        action: payload["messengerAction"].as_str().unwrap().to_owned(),
        timestamp: seconds(payload),
        initiator: payload["initiator"].as_u64().unwrap(),
        content,
    })
}

/// Returns a numbered event of `conversation` that the engine told of.
fn told(event: &MessengerEvent, conversation: &str) -> Option<Told> {
    match event {
        MessengerEvent::Conversation(event) => (event.conversation.id.to_string() == conversation).then(|| Told {
            sequence: event.sequence.get().into(),
            kind: format!("{:?}", event.kind),
            action: event.action.to_string(),
            timestamp: event.timestamp.0,
            initiator: event.initiator.expect("told by an event").get(),
            content: description(&event.conversation),
        }),
        MessengerEvent::Message(event) => (event.message.conversation.to_string() == conversation).then(|| Told {
            sequence: event.sequence.get().into(),
            kind: format!("{:?}", event.kind),
            action: event.action.to_string(),
            timestamp: event.timestamp.0,
            initiator: event.initiator.get(),
            content: match event.kind {
                MessengerEventType::RemoveMessage => json!({ "uuid": event.message.id.map(|id| id.to_string()) }),
                _ => saying(&event.message),
            },
        }),
        _ => None,
    }
}

/// Returns when it happened. The wire has seconds, and the SDK makes milliseconds of them.
fn seconds(event: &Value) -> i64 {
    event["timestamp"].as_i64().unwrap() / 1_000
}

/// Returns what the SDK says of a conversation, in the common form.
pub(crate) fn described(conversation: &Value) -> Value {
    let participants = conversation["participants"].as_array().unwrap().iter().map(|participant| {
        let mut participant = participant.clone();
        participant.as_object_mut().unwrap().retain(|_, value| *value != false);
        participant
    });
    json!({
        "uuid": conversation["uuid"],
        "title": conversation["title"],
        "direct": conversation["direct"],
        "public": conversation["publicJoin"],
        "uber": conversation["uberConversation"],
        "data": without_token(&conversation["customData"]),
        "created": conversation["createdAt"],
        "participants": participants.collect::<Vec<_>>(),
    })
}

/// Returns what the engine says of a conversation, in the common form.
pub(crate) fn description(conversation: &Conversation) -> Value {
    json!({
        "uuid": conversation.id.to_string(),
        "title": conversation.title,
        "direct": conversation.direct,
        "public": conversation.public_join,
        "uber": conversation.uber,
        "data": conversation.custom_data.parse::<Value>().unwrap(),
        "created": conversation.created_at.0,
        "participants": conversation.participants.iter().map(participation).collect::<Vec<_>>(),
    })
}

fn participation(participant: &Participant) -> Value {
    let given = participant.permissions;
    let rights = [
        ("isOwner", given.is_owner()),
        ("canWrite", given.can_write()),
        ("canEdit", given.can_edit()),
        ("canRemove", given.can_remove()),
        ("canManageParticipants", given.can_manage_participants()),
        ("canEditAll", given.can_edit_all()),
        ("canRemoveAll", given.can_remove_all()),
    ];
    let mut described = json!({ "userId": participant.user.get(), "lastRead": participant.last_read.get() });
    for (name, _) in rights.into_iter().filter(|(_, given)| *given) {
        described[name] = true.into();
    }
    described
}

/// Returns what the SDK says of a message, in the common form.
pub(crate) fn said(message: &Value) -> Value {
    let mut payload = message["payload"].clone();
    // An engine's own id inside the message, which it does not show; the SDK shows everything.
    payload.as_array_mut().unwrap().retain(|part| part.get("client_id").is_none());
    json!({ "uuid": message["uuid"], "text": message["text"], "payload": payload })
}

/// Returns what the engine says of a message, in the common form.
pub(crate) fn saying(message: &engine::Message) -> Value {
    let payload = message.payload.as_ref().map_or_else(|| json!([]), |payload| payload.parse().unwrap());
    json!({ "uuid": message.id.map(|id| id.to_string()), "text": message.text, "payload": payload })
}

fn without_token(custom_data: &Value) -> Value {
    let mut custom_data = custom_data.clone();
    custom_data.as_object_mut().unwrap().remove("client_id");
    custom_data
}
