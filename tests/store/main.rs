//! The store through its public interface: one module a promise.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod contradicting;
mod files;
mod folding;
mod keeping;
mod reading;
mod repairing;
mod sharing;
mod upgrade;

use backscroll::model::{
    Action, ConversationId, Event, EventBody, MessageContent, MessageId, RawJson, Sequence, SequenceRange,
    ServerAddress, Session, Timestamp, UserId, UserName,
};
use backscroll::store::Store;
use backscroll::sync::Write;
use tempfile::TempDir;
use uuid::Uuid;

/// The user whose store it is.
const OWN: u64 = 1;

fn user(number: u64) -> UserId {
    UserId::new(number).unwrap()
}

fn conversation(number: u128) -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(number))
}

fn message(number: u128) -> MessageId {
    MessageId::from_uuid(Uuid::from_u128(number))
}

fn range(first: u32, last: u32) -> SequenceRange {
    SequenceRange::new(Sequence(first), Sequence(last)).unwrap()
}

fn event(sequence: u32, initiator: u64, action: Action, body: EventBody) -> Event {
    Event {
        conversation: conversation(1),
        sequence: Sequence(sequence),
        action,
        initiator: user(initiator),
        timestamp: Timestamp(1_700_000_000 + i64::from(sequence)),
        body,
        unknown: None,
    }
}

fn content(id: u128, text: &str) -> MessageContent {
    MessageContent { id: message(id), text: text.to_owned(), payload: None }
}

fn sent(sequence: u32, by: u64, id: u128, text: &str) -> Event {
    event(sequence, by, Action::SendMessage, EventBody::MessageSent(content(id, text)))
}

fn edited(sequence: u32, by: u64, id: u128, text: &str) -> Event {
    event(sequence, by, Action::EditMessage, EventBody::MessageEdited(content(id, text)))
}

fn removed(sequence: u32, by: u64, id: u128) -> Event {
    event(sequence, by, Action::RemoveMessage, EventBody::MessageRemoved(message(id)))
}

fn json(text: &str) -> RawJson {
    RawJson::new(text).unwrap()
}

fn session() -> Session {
    let server = ServerAddress { url: "wss://localhost/platform".to_owned(), extra_root: Some("/ca.pem".to_owned()) };
    let name = UserName::new("me@chat.acme");
    Session { user: name, user_id: Some(user(OWN)), server, tokens: None, refused: None, device: None }
}

/// Writes a page of the first conversation and that its positions are covered.
fn page(events: &[Event]) -> Vec<Write> {
    let mut writes = vec![Write::Events(conversation(1), events.to_vec())];
    writes.extend(
        events.iter().map(|event| Write::Cover(conversation(1), range(event.sequence.get(), event.sequence.get()))),
    );
    writes
}

/// A new store of [`OWN`], in a folder that goes away with it.
fn new_store() -> (TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(folder.path().join("store.db")).unwrap();
    store.write(vec![Write::Session(session())]).wait().unwrap();
    (folder, store)
}

fn assert_sound(store: &Store) {
    let findings = store.read(|reader| reader.verify()).unwrap();
    assert!(findings.is_empty(), "{}", findings.iter().map(|found| format!("{found}\n")).collect::<String>());
}
