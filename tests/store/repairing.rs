//! Damage is found where it is, and everything that follows from sound rows is made anew.

use super::*;
use backscroll::model::{ClientToken, Intent, Membership, OutboxEntry, OutboxState, Ranges, RequestId, Wish, WishKind};
use backscroll::store::{Fault, Finding};
use backscroll::sync::HoleReason;
use rusqlite::Connection;

/// A conversation with births, an edit, a removal, an edit that waits for its message, and a hole.
fn history() -> Vec<Write> {
    let mut writes = vec![Write::Membership(conversation(1), Membership::Member)];
    writes.extend(page(&[
        sent(1, 2, 11, "one"),
        sent(2, 2, 12, "two"),
        edited(3, 2, 11, "one, edited"),
        sent(4, OWN, 13, "three"),
        removed(5, 2, 12),
        edited(6, 2, 99, "of a message not held"),
        sent(9, 2, 14, "four"),
    ]));
    writes.push(Write::Hole(conversation(1), range(7, 7), HoleReason::NotInHistory));
    writes.push(Write::Cover(conversation(1), range(7, 7)));
    writes
}

/// Damages a closed file behind the engine's back.
fn damaged(statements: &str) -> (TempDir, Store) {
    let (folder, store) = new_store();
    store.write(history()).wait().unwrap();
    drop(store);
    let path = folder.path().join("store.db");
    Connection::open(&path).unwrap().execute_batch(statements).unwrap();
    let store = Store::open(&path).unwrap();
    (folder, store)
}

fn findings(store: &Store) -> Vec<Finding> {
    store.read(|reader| reader.verify()).unwrap()
}

fn rebuild(store: &Store) {
    store.write(vec![Write::Rebuild(conversation(1), Vec::new())]).wait().unwrap();
}

fn gaps(store: &Store) -> Vec<SequenceRange> {
    store.read(|reader| reader.gaps(None)).unwrap().into_iter().map(|(_, range)| range).collect()
}

/// Everything that follows from the log, as people see it.
fn shown(store: &Store) -> String {
    store
        .read(|reader| {
            let row = reader.conversation(conversation(1))?.expect("known");
            let items = reader.messages(conversation(1), backscroll::store::Window::Newest, 100)?;
            let holes = reader.holes(None)?;
            Ok(format!("{row:?} {items:?} {holes:?}"))
        })
        .unwrap()
}

/// D-9: whatever was derived is derived again, to the letter.
#[test]
fn what_follows_from_the_log_is_made_anew() {
    let (_folder, sound) = new_store();
    sound.write(history()).wait().unwrap();
    assert_sound(&sound);
    rebuild(&sound);
    assert_sound(&sound);
    let expected = shown(&sound);
    for (damage, fault) in [
        ("UPDATE conversation SET unread = 77", Fault::List),
        ("UPDATE conversation SET preview_text = 'other words'", Fault::List),
        ("DELETE FROM message_hash", Fault::Index),
        ("DELETE FROM waiting", Fault::Message),
        ("DELETE FROM coverage WHERE first = 9", Fault::Coverage),
        ("INSERT INTO hole SELECT id, 4, 4, 0 FROM conversation", Fault::Coverage),
        ("UPDATE message SET text = 'one, forged' WHERE state = 1", Fault::Row),
    ] {
        let (_folder, store) = damaged(damage);
        let found = findings(&store);
        assert!(found.iter().any(|found| found.fault == fault), "{damage}: {found:?}");
        rebuild(&store);
        assert_sound(&store);
        assert_eq!(shown(&store), expected, "{damage}");
        assert_eq!(gaps(&store), [range(8, 8)], "{damage}");
    }
}

/// D-9: a damaged event is found at its place, is missing from then on, and comes back whole.
#[test]
fn a_damaged_event_is_missing_and_fetched_again() {
    for (damage, at) in [
        ("UPDATE message SET text = 'forged' WHERE id & 4294967295 = 4", 4),
        ("UPDATE message SET sender = 5 WHERE id & 4294967295 = 9", 9),
        ("UPDATE event SET happened_at = 1 WHERE id & 4294967295 = 3", 3),
        ("UPDATE event SET initiator = 5 WHERE id & 4294967295 = 5", 5),
        ("DELETE FROM message WHERE id & 4294967295 = 4", 4),
    ] {
        let (_folder, store) = damaged(damage);
        assert!(findings(&store).iter().any(|found| found.range == Some(range(at, at))), "{damage}");
        rebuild(&store);
        assert_sound(&store);
        let missing: Ranges = [range(at, at), range(8, 8)].into_iter().collect();
        assert_eq!(gaps(&store), missing.iter().collect::<Vec<_>>(), "{damage}");
        store.write(history()).wait().unwrap();
        assert_sound(&store);
        assert_eq!(gaps(&store), [range(8, 8)], "{damage}");
    }
}

/// an entry of the outbox that is shown nowhere is shown again, and itself not touched.
#[test]
fn entries_of_the_outbox_are_found_by_their_conversation_again() {
    let entry = OutboxEntry {
        token: ClientToken::from_uuid(Uuid::from_u128(7)),
        position: 1,
        intent: Intent::SendMessage { conversation: conversation(1), text: "on its way".to_owned(), payload: None },
        state: OutboxState::Queued,
        request: RequestId::from_uuid(Uuid::from_u128(8)),
        attempts: 0,
        queued_at: Timestamp(1),
        settlement: None,
        error: None,
    };
    let (folder, store) = new_store();
    store.write(vec![Write::Outbox(entry.clone())]).wait().unwrap();
    let wish = Wish {
        token: ClientToken::from_uuid(Uuid::from_u128(9)),
        kind: WishKind::Submit(entry.intent.clone()),
        wished_at: Timestamp(2),
    };
    store.wish(vec![wish]).wait().unwrap();
    drop(store);
    let path = folder.path().join("store.db");
    let damage =
        "UPDATE outbox SET conversation = x'00000000000000000000000000000002'; UPDATE wish SET conversation = NULL";
    Connection::open(&path).unwrap().execute_batch(damage).unwrap();
    let store = Store::open(&path).unwrap();
    let shown = || store.read(|reader| reader.unsettled(Some(conversation(1)))).unwrap();
    assert!(shown().is_empty());
    let faults: Vec<Fault> = findings(&store).into_iter().map(|found| found.fault).collect();
    assert_eq!(faults, [Fault::Index, Fault::Index]);
    let changed = store.write(vec![Write::Mend]).wait().unwrap();
    assert_eq!(changed.changes.len(), 2);
    assert_sound(&store);
    assert_eq!(shown().len(), 2);
    assert_eq!(shown()[0], entry);
}

/// What no server will show again is left as it is, and goes on being reported.
#[test]
fn nothing_is_taken_away_that_cannot_be_replaced() {
    let (_folder, store) =
        damaged("UPDATE conversation SET membership = 2; UPDATE message SET text = 'forged' WHERE id & 4294967295 = 4");
    let before = findings(&store);
    rebuild(&store);
    assert_eq!(findings(&store), before);
}
