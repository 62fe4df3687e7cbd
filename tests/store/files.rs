//! The file: who may read it, who may write it, and what is refused.

use super::*;
use backscroll::store::{Fault, OpenOptions, StoreError};
use rusqlite::Connection;
use std::fs;
use std::path::Path;

#[cfg(unix)]
fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// S-1: SQLite alone would make files everybody can read.
#[cfg(unix)]
#[test]
fn all_files_and_a_new_folder_are_for_the_user_alone() {
    let folder = tempfile::tempdir().unwrap();
    let inner = folder.path().join("new").join("deeper");
    let store = Store::open(inner.join("store.db")).unwrap();
    store.write(vec![Write::Session(session())]).wait().unwrap();
    let modes: Vec<(String, u32)> = fs::read_dir(&inner)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), mode(&entry.path())))
        .collect();
    assert!(modes.iter().any(|(name, _)| name == "store.db-wal"), "{modes:?}");
    assert!(modes.iter().all(|(_, mode)| *mode == 0o600), "{modes:?}");
    assert_eq!((mode(&inner), mode(&folder.path().join("new"))), (0o700, 0o700));
}

/// D-8: two writers would each believe their own picture of the file.
#[test]
fn a_second_writer_is_refused_until_the_first_is_gone() {
    let (folder, store) = new_store();
    let path = folder.path().join("store.db");
    assert!(matches!(Store::open(&path), Err(StoreError::InUse { .. })));
    drop(store);
    Store::open(&path).unwrap();
}

/// D-6
#[test]
fn a_file_of_a_newer_version_is_refused_and_not_touched() {
    let (folder, store) = new_store();
    let path = folder.path().join("store.db");
    drop(store);
    let other = Connection::open(&path).unwrap();
    other.execute_batch("PRAGMA user_version = 99").unwrap();
    other.close().unwrap();
    let before = fs::read(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Newer { found: 99, .. })));
    assert!(matches!(Store::inspect(&path), Err(StoreError::Newer { found: 99, .. })));
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn what_is_no_store_is_refused_and_not_touched() {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("notes.txt");
    fs::write(&text, "Dear diary, this is longer than a header of SQLite. ".repeat(40)).unwrap();
    let foreign = folder.path().join("foreign.db");
    let other = Connection::open(&foreign).unwrap();
    other.execute_batch("CREATE TABLE theirs (x)").unwrap();
    other.close().unwrap();
    for path in [&text, &foreign] {
        let before = fs::read(path).unwrap();
        assert!(matches!(Store::open(path), Err(StoreError::NotAStore { .. })));
        assert!(matches!(Store::inspect(path), Err(StoreError::NotAStore { .. })));
        assert_eq!(&fs::read(path).unwrap(), &before);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("file"), "").unwrap();
    let error = Store::open(folder.path().join("file/inner/store.db")).unwrap_err();
    assert!(matches!(&error, StoreError::File { path, .. } if path.ends_with("file/inner")), "{error}");
    assert!(matches!(Store::inspect(folder.path().join("nowhere.db")), Err(StoreError::Open { .. })));
}

/// D-7: an inspector sees what is committed, and changes nothing.
#[test]
fn an_inspector_reads_a_store_in_use_and_changes_no_byte() {
    let (folder, store) = new_store();
    let path = folder.path().join("store.db");
    store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    let before = fs::read(&path).unwrap();
    let inspector = Store::inspect(&path).unwrap();
    assert_eq!(inspector.read(|reader| reader.overview()).unwrap().messages, 1);
    store.write(page(&[sent(2, 2, 6, "two")])).wait().unwrap();
    assert_eq!(inspector.read(|reader| reader.overview()).unwrap().messages, 2);
    assert_sound(&inspector);
    assert!(matches!(inspector.write(page(&[sent(3, 2, 7, "no")])).wait(), Err(StoreError::Closed)));
    drop(inspector);
    assert_eq!(fs::read(&path).unwrap(), before, "nothing but a checkpoint writes the main file");
}

/// D-1, D-3: a process that ends without a word leaves the log for the next one.
#[test]
fn what_was_answered_is_there_after_an_end_without_closing() {
    let (folder, store) = new_store();
    store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    let copy = tempfile::tempdir().unwrap();
    for name in ["store.db", "store.db-wal"] {
        fs::copy(folder.path().join(name), copy.path().join(name)).unwrap();
    }
    let reopened = Store::open(copy.path().join("store.db")).unwrap();
    assert_eq!(reopened.read(|reader| reader.overview()).unwrap().messages, 1);
    assert_sound(&reopened);
}

/// D-7
#[test]
fn an_inspector_reads_a_closed_store_and_changes_no_byte() {
    let (folder, store) = new_store();
    let path = folder.path().join("store.db");
    store.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    drop(store);
    let before = fs::read(&path).unwrap();
    let inspector = Store::inspect(&path).unwrap();
    assert_eq!(inspector.read(|reader| reader.overview()).unwrap().messages, 1);
    // Another process may begin to write meanwhile.
    let store = Store::open(&path).unwrap();
    store.write(page(&[sent(2, 2, 6, "two")])).wait().unwrap();
    assert_eq!(inspector.read(|reader| reader.overview()).unwrap().messages, 2);
    drop(inspector);
    assert_eq!(fs::read(&path).unwrap(), before);
    drop(store);
    assert_sound(&Store::open(&path).unwrap());
}

#[test]
fn an_unknown_vfs_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = OpenOptions::new(folder.path().join("store.db"));
    options.vfs = Some("nonesuch".to_owned());
    assert!(matches!(Store::open_with(options), Err(StoreError::Open { .. })));
}

/// R-06, D-9, S-6: a changed byte is a finding or an error that names the row, never a wrong answer.
#[test]
fn changed_rows_are_found() {
    for (sql, expected) in [
        ("UPDATE message SET text = 'forged' WHERE id = 1 << 32 | 1", "does not fit its checksum"),
        ("UPDATE message SET sender = 3 WHERE id = 1 << 32 | 2", "does not fit its checksum"),
        ("UPDATE event SET text = 'forged'", "does not fit its checksum"),
        ("DELETE FROM message WHERE id = 1 << 32 | 1", "said to be held, and is not"),
        ("UPDATE conversation SET unread = 7", "7 messages are said to be unread, 2 are"),
        ("UPDATE conversation SET preview_text = 'x'", "the list does not show the newest message"),
        ("UPDATE coverage SET last = last + 1", "said to be held, and is not"),
        ("DELETE FROM coverage", "held, and not said to be"),
        ("UPDATE message_hash SET hashes = zeroblob(16)", "cannot be found by its uuid"),
        ("UPDATE message SET payload = 'no JSON' WHERE id = 1 << 32 | 1", "holds no valid JSON payload"),
        ("UPDATE outbox SET attempts = 9", "outbox entry that fits its checksum"),
        ("DELETE FROM waiting", "does not wait for its message"),
    ] {
        let (folder, store) = new_store();
        let events = [sent(1, 2, 5, "one"), sent(2, 2, 6, "two"), edited(3, 2, 6, "Two"), edited(4, 2, 9, "Nine")];
        store.write(page(&events)).wait().unwrap();
        store.write(vec![Write::Outbox(keeping::entry(1))]).wait().unwrap();
        assert_sound(&store);
        drop(store);
        let path = folder.path().join("store.db");
        let other = Connection::open(&path).unwrap();
        other.execute_batch(sql).unwrap();
        other.close().unwrap();
        let store = Store::open(&path).unwrap();
        let findings = store.read(|reader| reader.verify()).unwrap();
        let told: Vec<String> = findings.iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line.contains(expected)), "{sql}: {told:?}");
    }
}

/// R-47, D-9: damage to one row hides neither the sound ones nor other damage.
#[test]
fn damaged_rows_hide_nothing_beside_them() {
    let (folder, store) = new_store();
    store.write(page(&(1..=4).map(|n| sent(n, 2, n.into(), "text")).collect::<Vec<_>>())).wait().unwrap();
    store.write((1..=4).map(|n| Write::Outbox(keeping::entry(n))).collect()).wait().unwrap();
    drop(store);
    let path = folder.path().join("store.db");
    let other = Connection::open(&path).unwrap();
    other
        .execute_batch(
            "PRAGMA ignore_check_constraints = ON; UPDATE outbox SET state = 9 WHERE position IN (2, 4);
             UPDATE message SET text = CAST(x'ff' AS TEXT) WHERE id & 4294967295 IN (2, 4)",
        )
        .unwrap();
    other.close().unwrap();
    let store = Store::open(&path).unwrap();
    let saved = store.saved_state().unwrap();
    assert_eq!(saved.outbox.iter().map(|entry| entry.position).collect::<Vec<_>>(), [1, 3]);
    assert_eq!(saved.last_position, 4);
    assert_eq!(store.read(|reader| reader.unreadable()).unwrap(), 2);
    let findings = store.read(|reader| reader.verify()).unwrap();
    let places: Vec<_> = findings.iter().map(|found| (found.fault, found.range)).collect();
    let rows = [(Fault::Row, Some(range(2, 2))), (Fault::Row, Some(range(4, 4)))];
    assert_eq!(places, [rows[0], rows[1], (Fault::Outbox, None), (Fault::Outbox, None)]);
}
