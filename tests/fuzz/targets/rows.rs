//! Rows that somebody else wrote: sound pages, legal types, and whatever values.

use super::hostile_server::Shell;
use super::small_store::{self, Scratch, entry, live_with, room, session};
use backscroll::model::{Intent, OutboxEntry, OutboxState};
use backscroll::store::{Durability, OpenOptions, Store};
use backscroll::sync::{SavedState, Write};
use rusqlite::types::Value;
use rusqlite::{Connection, params};
use std::path::Path;
use std::sync::LazyLock;
use tempfile::TempDir;

/// How many values one input may replace.
const EDITS_MAX: usize = 8;

/// Opens a file past the store, with none of its checks.
fn open_raw(path: &Path) -> Connection {
    let raw = Connection::open(path).expect("a file");
    raw.execute_batch("PRAGMA ignore_check_constraints = ON; PRAGMA foreign_keys = OFF; PRAGMA synchronous = OFF;")
        .expect("pragmas");
    raw
}

/// A store whose outbox has one entry, and a connection that writes past it.
struct Desk {
    store: Store,
    raw: Connection,
    entry: OutboxEntry,
    _folder: TempDir,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let options = OpenOptions { commits: Durability::Normal, ..OpenOptions::new(&path) };
        let store = Store::open_with(options).expect("a store");
        let text = Intent::SendMessage { conversation: room(), text: String::new(), payload: None };
        let entry = entry(1, OutboxState::Queued, text);
        store.write(vec![Write::Session(session()), Write::Outbox(entry.clone())]).wait().expect("a store that writes");
        Self { store, raw: open_raw(&path), entry, _folder: folder }
    }

    /// Puts an intent into the row, with its checksum: who prepares a file can make one.
    fn put(&self, intent: &str) {
        let OutboxEntry { token, request, position, attempts, queued_at, .. } = &self.entry;
        let mut summed = Vec::new();
        let bytes = |summed: &mut Vec<u8>, bytes: &[u8]| {
            summed.extend_from_slice(bytes);
            summed.extend_from_slice(&(bytes.len() as u64).to_le_bytes());
        };
        let number = |summed: &mut Vec<u8>, number: i64| summed.extend_from_slice(&number.to_le_bytes());
        number(&mut summed, position.cast_signed());
        bytes(&mut summed, token.as_uuid().as_bytes());
        bytes(&mut summed, request.as_uuid().as_bytes());
        // Queued.
        number(&mut summed, 0);
        number(&mut summed, (*attempts).into());
        number(&mut summed, queued_at.0);
        bytes(&mut summed, intent.as_bytes());
        // Not settled: no conversation, no message, no sequence.
        number(&mut summed, 0);
        bytes(&mut summed, &[]);
        bytes(&mut summed, &[]);
        number(&mut summed, -1);
        let update = "UPDATE outbox SET intent = ?1, checksum = ?2, position = 1, token = ?3, request = ?4, state = 0,
                          attempts = 1, settled = 0, settled_conversation = NULL, settled_message = NULL,
                          settled_sequence = NULL, error_code = NULL, error_description = NULL";
        let (token, request) = (token.as_uuid().as_bytes(), request.as_uuid().as_bytes());
        let row = params![intent, i64::from(crc32fast::hash(&summed)), token, request];
        self.raw.prepare_cached(update).and_then(|mut update| update.execute(row)).expect("one row");
    }
}

/// S-5, S-6: an intent in a row is understood or is damage; what is understood is kept as it is, and leaves in frames
/// that a server can read.
pub fn stored_intent(bytes: &[u8]) {
    thread_local! {
        static DESK: Desk = Desk::new();
    }
    let text = String::from_utf8_lossy(bytes);
    DESK.with(|desk| {
        desk.put(&text);
        let read = desk.store.read(|reader| reader.outbox()).expect("damage is passed over");
        let Some(entry) = read.first() else {
            let unreadable = desk.store.read(|reader| reader.unreadable()).expect("damage is counted");
            return assert_eq!(unreadable, 1);
        };
        desk.store.write(vec![Write::Outbox(entry.clone())]).wait().expect("an entry that was read can be written");
        let again = desk.store.read(|reader| reader.outbox()).expect("what was written can be read");
        assert_eq!(again, read);
        let saved = SavedState { session: Some(session()), outbox: again, ..small_store::saved_state().clone() };
        let mut shell = Shell::restore(saved);
        shell.come_up();
        (0..20).for_each(|_| shell.wait());
    });
}

/// A table of the file: its name, its columns, and those that tell its rows apart.
struct Table {
    name: String,
    columns: Vec<String>,
    key: Vec<String>,
}

fn tables() -> &'static [Table] {
    static TABLES: LazyLock<Vec<Table>> = LazyLock::new(|| {
        Scratch::with(|scratch| {
            let raw = open_raw(&scratch.place(small_store::image()).path);
            let list = |sql: &str| -> Vec<String> {
                let mut select = raw.prepare(sql).expect("SQL");
                select.query_map([], |row| row.get(0)).and_then(Iterator::collect).expect("names")
            };
            let names = list("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'");
            let table = |name: String| {
                let columns = list(&format!("SELECT name FROM pragma_table_info('{name}')"));
                let key = list(&format!("SELECT name FROM pragma_table_info('{name}') WHERE pk > 0 ORDER BY pk"));
                Table { name, columns, key }
            };
            names.into_iter().map(table).collect()
        })
    });
    &TABLES
}

/// Takes bytes from the front; zeros when there are none left.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn one(&mut self) -> usize {
        self.some(1).first().copied().unwrap_or_default().into()
    }

    fn some(&mut self, count: usize) -> &'a [u8] {
        let (taken, left) = self.0.split_at(count.min(self.0.len()));
        self.0 = left;
        taken
    }

    fn number(&mut self) -> i64 {
        let mut number = [0; 8];
        let taken = self.some(8);
        number[..taken.len()].copy_from_slice(taken);
        i64::from_le_bytes(number)
    }

    /// A value of any type that SQLite has.
    fn value(&mut self) -> Value {
        const EDGES: [i64; 10] = [0, 1, -1, 2, 20, 1 << 31, (1 << 32) - 1, 1 << 32, i64::MAX, i64::MIN];
        match self.one() % 6 {
            0 => Value::Null,
            1 => Value::Integer(EDGES[self.one() % EDGES.len()]),
            2 => Value::Integer(self.number()),
            3 => Value::Real(f64::from_bits(self.number().cast_unsigned())),
            4 => {
                let length = self.one();
                Value::Text(String::from_utf8_lossy(self.some(length)).into_owned())
            }
            _ => {
                let length = self.one();
                Value::Blob(self.some(length).to_vec())
            }
        }
    }
}

/// S-6: rows may hold any values: what is asked is answered or is damage, and nothing panics or hangs.
///
/// An edit is a table, a row, a column and a value; from column 250 on the row is deleted.
pub fn stored_rows(bytes: &[u8]) {
    Scratch::with(|scratch| {
        let options = scratch.place(small_store::image());
        let raw = open_raw(&options.path);
        raw.execute_batch("BEGIN").expect("a transaction");
        let mut bytes = Bytes(bytes);
        for _ in 0..EDITS_MAX {
            if bytes.0.is_empty() {
                break;
            }
            let table = &tables()[bytes.one() % tables().len()];
            let (row, column) = (bytes.one() % 32, bytes.one());
            let (name, key) = (&table.name, table.key.join(", "));
            let picked = format!("({key}) IN (SELECT {key} FROM {name} ORDER BY {key} LIMIT 1 OFFSET {row})");
            let edited = if column < 250 {
                let column = &table.columns[column % table.columns.len()];
                raw.execute(&format!("UPDATE {name} SET {column} = ?1 WHERE {picked}"), [bytes.value()])
            } else {
                raw.execute(&format!("DELETE FROM {name} WHERE {picked}"), [])
            };
            // A strict table takes no value of another type, and no second row of one key.
            drop(edited);
        }
        raw.execute_batch("COMMIT").expect("a commit");
        drop(raw);
        live_with(options);
    });
}
