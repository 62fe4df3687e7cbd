//! Files that earlier versions wrote: each opens in this one with the same history and the same outbox.
//!
//! `tests/fixtures/stores` has one file for each schema that was ever released, made by the tool of that version
//! against a server of that version, and beside it what that version told of it.

use super::*;
use backscroll::model::OutboxState;
use backscroll::store::{Item, PAGE_MAX, Reader, StoreError, Window};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// The schemas that were released, oldest first.
const RELEASED: &[&str] = &["v1"];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/stores").join(name)
}

/// Tells everything people see of a file, a line each.
fn told(reader: &Reader<'_>) -> Result<String, StoreError> {
    let mut told = String::new();
    let session = reader.session()?.expect("somebody was logged in");
    writeln!(told, "account {} {:?}, tokens {}", session.user, session.user_id, session.tokens.is_some()).unwrap();
    for row in reader.conversations(PAGE_MAX, 0)? {
        let shown = &row.conversation;
        let (title, kind, head) = (&shown.title, shown.kind(), row.head);
        writeln!(told, "conversation {title:?} {kind:?} head {head} unread {}", row.unread).unwrap();
        for participant in &shown.participants {
            let (user, rights, read) = (participant.user, participant.permissions.bits(), participant.last_read);
            writeln!(told, "  participant {user} {rights} read {read}").unwrap();
        }
        for item in reader.messages(shown.id, Window::Newest, PAGE_MAX)? {
            let Item::Message(message) = item else { panic!("nothing is missing in {title:?}") };
            let (at, revision, sender) = (message.sequence, message.revision, message.sender.expect("known"));
            let (text, payload) = (message.text, message.payload.map(|payload| payload.as_str().to_owned()));
            writeln!(told, "  message {at}/{revision} of {sender}: {text:?} {payload:?}").unwrap();
        }
    }
    for entry in reader.outbox()?.into_iter().filter(|entry| entry.state != OutboxState::Settled) {
        let (at, action, state) = (entry.position, entry.intent.action(), entry.state);
        writeln!(told, "outbox {at} {} {state:?} {}", action.name(), entry.token).unwrap();
    }
    Ok(told)
}

/// nothing of the history and nothing of the outbox is lost, and the file holds what it claims.
#[test]
fn files_of_every_released_version_open_with_the_same_history_and_outbox() {
    for released in RELEASED {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::copy(fixture(&format!("{released}.db")), &path).unwrap();
        let store = Store::open(&path).unwrap();
        assert_sound(&store);
        let expected = fs::read_to_string(fixture(&format!("{released}.txt"))).unwrap();
        assert_eq!(store.read(told).unwrap(), expected, "{released}");
        drop(store);
        let again = Store::open(&path).unwrap();
        assert_eq!(again.read(told).unwrap(), expected, "{released}, opened again");
    }
}

/// D-7: an older file is not migrated by looking at it.
#[test]
fn looking_at_an_older_file_changes_nothing_of_it() {
    for released in RELEASED {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        fs::copy(fixture(&format!("{released}.db")), &path).unwrap();
        let before = fs::read(&path).unwrap();
        match Store::inspect(&path) {
            Ok(store) => drop(store.read(told).unwrap()),
            Err(StoreError::Older { .. }) => {}
            Err(other) => panic!("{other}"),
        }
        assert_eq!(fs::read(&path).unwrap(), before, "{released}");
    }
}
