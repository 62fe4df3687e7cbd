//! no statement of a hot path reads a whole table, or sorts.
//!
//! Every statement that runs is heard by SQLite's own trace, so a new one is looked at without being listed here.

use super::connections::Reader;
use super::messages::Window;
use super::{OpenOptions, apply, change, schema};
use crate::model::*;
use crate::sync::{HoleReason, Write};
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use uuid::Uuid;

const HERE: ConversationId = ConversationId::from_uuid(Uuid::from_u128(1));

fn event(at: u32, body: EventBody) -> Event {
    Event {
        conversation: HERE,
        sequence: Sequence(at),
        action: Action::SendMessage,
        initiator: UserId::new(2).unwrap(),
        timestamp: Timestamp(at.into()),
        body,
        unknown: None,
    }
}

fn content(id: u128) -> MessageContent {
    MessageContent { id: MessageId::from_uuid(Uuid::from_u128(id)), text: "x".to_owned(), payload: None }
}

/// Everything the core writes while it catches up and chats.
fn writes() -> Vec<Write> {
    let range = SequenceRange::new(Sequence(1), Sequence(9)).unwrap();
    let sent = |at: u32| event(at, EventBody::MessageSent(content(at.into())));
    let edited = |at: u32, id| event(at, EventBody::MessageEdited(content(id)));
    let removed = |at: u32, id| event(at, EventBody::MessageRemoved(content(id).id));
    let own = UserId::new(1).unwrap();
    let entry = OutboxEntry {
        token: ClientToken::from_uuid(Uuid::from_u128(3)),
        position: 1,
        intent: Intent::MarkAsRead { conversation: HERE, sequence: Sequence(1) },
        state: OutboxState::Settled,
        request: RequestId::from_uuid(Uuid::from_u128(4)),
        attempts: 1,
        queued_at: Timestamp(1),
        settlement: Some(Settlement::default()),
        error: None,
    };
    let described = Conversation::recreate(
        HERE,
        ConversationConfig { participants: vec![Participant::new(own)], ..ConversationConfig::default() },
        Sequence(9),
        Timestamp(1),
        Timestamp(1),
    );
    vec![
        Write::Conversation(described),
        Write::Hole(HERE, range, HoleReason::NotInHistory),
        Write::Events(HERE, vec![sent(4), sent(5), edited(6, 4), removed(9, 2)]),
        // A change of an older page's message, one that waited, and a page told twice.
        Write::Events(HERE, vec![edited(10, 5), removed(11, 5), edited(12, 77)]),
        Write::Events(HERE, vec![sent(2)]),
        Write::Events(HERE, vec![sent(2)]),
        Write::Cover(HERE, range),
        Write::Membership(HERE, Membership::Left),
        Write::ReadMark { conversation: HERE, user: own, sequence: Sequence(1) },
        Write::Outbox(entry.clone()),
        Write::OutboxForget(entry.token),
        Write::WishAnswered(1, WishAnswer::Accepted(entry.token)),
    ]
}

fn heard(connection: &mut Connection) -> Arc<Mutex<BTreeSet<String>>> {
    let heard = Arc::new(Mutex::new(BTreeSet::new()));
    let hears = Arc::clone(&heard);
    let note = move |event: TraceEvent<'_>| {
        if let TraceEvent::Stmt(statement, _) = event {
            hears.lock().unwrap().insert(statement.sql().into_owned());
        }
    };
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(note)).unwrap();
    heard
}

fn assert_no_scan(connection: &mut Connection, statements: &BTreeSet<String>) {
    connection.trace_v2(TraceEventCodes::empty(), None::<fn(TraceEvent<'_>)>).unwrap();
    let planned = |sql: &&String| ["SELECT", "INSERT", "UPDATE", "DELETE"].iter().any(|verb| sql.starts_with(verb));
    for sql in statements.iter().filter(planned) {
        let mut explain = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let none = vec![rusqlite::types::Null; explain.parameter_count()];
        let plan: Vec<String> = explain
            .query_map(rusqlite::params_from_iter(none), |row| row.get("detail"))
            .unwrap()
            .collect::<Result<_, _>>()
            .unwrap();
        for step in plan {
            // One row at most, an index read in its own order up to a limit, or one that holds what is asked for alone.
            let harmless = [
                "SCAN CONSTANT ROW",
                "SCAN conversation USING INDEX conversation_recent",
                "SCAN outbox USING INDEX outbox_making",
                "SCAN wish USING INDEX wish_making",
            ]
            .contains(&step.as_str());
            assert!(!(step.starts_with("SCAN") && !harmless || step.contains("TEMP B-TREE")), "{step} in: {sql}");
        }
    }
}

#[test]
fn no_statement_that_writes_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(folder.path().join("store.db"));
    schema::create_private(&options.path).unwrap();
    let mut connection = schema::open_writable(&options, true).unwrap();
    let heard = heard(&mut connection);
    let changes = apply::apply(&connection, &writes()).unwrap();
    change::record(&connection, &change::ChangeSet { number: 1, ..changes }).unwrap();
    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 40, "only {} statements were heard", heard.len());
    assert_no_scan(&mut connection, &heard);
}

#[test]
fn no_statement_that_reads_a_screen_reads_a_whole_table() {
    let folder = tempfile::tempdir().unwrap();
    let options = OpenOptions::new(folder.path().join("store.db"));
    schema::create_private(&options.path).unwrap();
    let writable = schema::open_writable(&options, true).unwrap();
    apply::apply(&writable, &writes()).unwrap();
    let mut connection = schema::open_read_only(&options.path, None).unwrap();
    let heard = heard(&mut connection);
    let reader = Reader::new(&connection);
    assert_eq!(reader.conversations(50, 0).unwrap().len(), 1);
    assert!(reader.conversation(HERE).unwrap().is_some());
    for window in [Window::Newest, Window::Before(Sequence(9)), Window::After(Sequence(1)), Window::Around(Sequence(4))]
    {
        assert!(!reader.messages(HERE, window, 50).unwrap().is_empty());
    }
    assert!(reader.message(HERE, content(4).id).unwrap().is_some());
    assert!(!reader.gaps(Some(HERE)).unwrap().is_empty());
    let everything = SequenceRange::new(Sequence(1), Sequence(100)).unwrap();
    assert!(!reader.events(HERE, everything).unwrap().is_empty());
    assert!(reader.user(UserId::new(1).unwrap()).unwrap().is_none());
    // Of the outbox only what is about this screen, and of the list what is still to be made.
    assert!(reader.unsettled(Some(HERE)).unwrap().is_empty() && reader.unsettled(None).unwrap().is_empty());
    assert!(reader.unsettled_makings().unwrap().is_empty());
    let heard = heard.lock().unwrap().clone();
    assert!(heard.len() > 10, "only {} statements were heard", heard.len());
    assert_no_scan(&mut connection, &heard);
}
