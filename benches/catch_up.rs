//! Catching up, against raw prepared inserts of the very rows that come of it: decoded pages applied (goal 0.6 of
//! the raw rate), and the whole way of the engine from a loop-back socket to the commit (goal 0.4).
//!
//! `EVENTS=1000000 cargo bench --bench catch_up` for another size. Only the ratio carries over to
//! another machine: processor time, both sides in turns, with the same pragmas, on the same disk, 1,000 events a transaction, the final
//! checkpoint included.

mod scripted;
mod workload;

use backscroll::model::{Credentials, Secret, UserName};
use backscroll::store::Store;
use backscroll::sync::{LinkState, Write};
use backscroll::{Config, Messenger};
use rusqlite::types::Value;
use rusqlite::{Connection, params_from_iter};
use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use workload::{CONVERSATIONS, Page, median, pages, size, timed};

/// How many rounds; the median of each side counts.
const ROUNDS: usize = 5;
/// How many pages make a transaction of about a thousand events.
const PAGES_A_TRANSACTION: usize = 10;

fn main() {
    scripted::serve_if_asked();
    let wanted = size(200_000);
    let (mut server, address) = scripted::start(wanted, CONVERSATIONS);
    let pages = pages(wanted, CONVERSATIONS);
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    let mut applied = Vec::new();
    let mut raw = Vec::new();
    let mut received = Vec::new();
    let mut bytes = 0;
    for _ in 0..ROUNDS {
        let folder = tempfile::tempdir().expect("a folder for files");
        let path = folder.path().join("store.db");
        applied.push(apply(&path, &pages));
        bytes = fs::metadata(&path).expect("the store").len();
        let rows = rows_by_page(&path, &pages);
        raw.push(insert_raw(&folder.path().join("raw.db"), &path, &rows));
        received.push(receive(&folder.path().join("engine.db"), address, events));
    }
    server.kill().expect("a child that serves");
    server.wait().expect("its end");
    let (applied, raw, received) = (median(applied), median(raw), median(received));
    let each = |time: Duration| time.as_secs_f64() * 1e6 / events as f64;
    println!(
        "{events} events in {} pages, median of {ROUNDS} rounds, {} bytes an event",
        pages.len(),
        bytes as usize / events
    );
    println!("raw prepared inserts of the same rows   {:6.2} µs of processor an event", each(raw));
    println!("apply decoded pages                     {:6.2} µs of processor an event", each(applied));
    println!("engine, from the socket to the commit   {:6.2} µs of processor an event", each(received));
    println!("apply reaches {:.2} of the raw rate (goal 0.6)", raw.as_secs_f64() / applied.as_secs_f64());
    println!("socket to commit reaches {:.2} of it (goal 0.4)", raw.as_secs_f64() / received.as_secs_f64());
}

/// The whole engine: logs in, catches up over a loop-back socket, and closes.
fn receive(path: &Path, address: SocketAddr, events: usize) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("threads");
    let (time, held) = processor_timed(|| {
        runtime.block_on(async {
            let config = Config::new(path).server(format!("ws://{address}/platform")).allow_plain_loopback();
            let messenger = Messenger::open(config).await.expect("a new store");
            let (user, password) = (UserName::new("user5@chat.acme"), Secret::new("password"));
            messenger.log_in(Credentials::Password { user, password }).await.expect("a login");
            let mut link = messenger.connection();
            link.wait_for(|state| *state == LinkState::Live).await.expect("an open engine");
            let held = messenger.overview().await.expect("a store that reads").events;
            messenger.close().await;
            held
        })
    });
    assert_eq!(held, events as u64, "everything was held before the clock stopped");
    time
}

fn apply(path: &Path, pages: &[Page]) -> Duration {
    let store = Store::open(path).expect("a new store");
    let transactions: Vec<Vec<Write>> =
        pages.chunks(PAGES_A_TRANSACTION).map(|pages| pages.iter().flat_map(Page::writes).collect()).collect();
    let (time, ()) = processor_timed(|| {
        for writes in transactions {
            store.write(writes).wait().expect("room on the disk");
        }
        drop(store);
    });
    time
}

/// The rows of a page: those of `message`, of `event`, and one of `message_hash`.
type Rows = [Vec<Vec<Value>>; 3];

/// Reads the rows that each page became.
fn rows_by_page(path: &Path, pages: &[Page]) -> Vec<Rows> {
    let connection = Connection::open(path).expect("the store");
    let mut conversations = connection.prepare("SELECT uuid, id FROM conversation").expect("a statement");
    let locals: BTreeMap<Vec<u8>, i64> = conversations
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .and_then(Iterator::collect)
        .expect("conversations");
    let mut messages = connection.prepare("SELECT * FROM message WHERE id BETWEEN ?1 AND ?2").expect("a statement");
    let mut events = connection.prepare("SELECT * FROM event WHERE id BETWEEN ?1 AND ?2").expect("a statement");
    let mut rows = Vec::new();
    for page in pages {
        let local = locals[page.conversation.as_uuid().as_bytes().as_slice()];
        let at = |event: &backscroll::model::Event| local << 32 | i64::from(event.sequence.get());
        let ids = [at(&page.events[0]), at(&page.events[page.events.len() - 1])];
        let read = |statement: &mut rusqlite::Statement<'_>| -> Vec<Vec<Value>> {
            let columns = statement.column_count();
            statement
                .query_map(ids, |row| (0..columns).map(|column| row.get(column)).collect())
                .and_then(Iterator::collect)
                .expect("rows")
        };
        let hashes = vec![Value::Integer(ids[0]), Value::Blob(vec![7; 4 * page.events.len()])];
        rows.push([read(&mut messages), read(&mut events), vec![hashes]]);
    }
    rows
}

fn insert_raw(path: &Path, like: &Path, rows: &[Rows]) -> Duration {
    let mut connection = Connection::open(path).expect("a new file");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA cache_size = -16384;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;",
        )
        .expect("pragmas");
    connection.execute("ATTACH ?1 AS original", [like.to_str()]).expect("the store");
    let tables: Vec<String> = connection
        .prepare("SELECT sql FROM original.sqlite_schema WHERE name IN ('message', 'event', 'message_hash') AND type = 'table'")
        .and_then(|mut select| select.query_map([], |row| row.get(0))?.collect())
        .expect("the schema");
    connection.execute_batch("DETACH original").expect("no longer needed");
    connection.execute_batch(&tables.join(";")).expect("the same tables");
    let (time, ()) = processor_timed(|| {
        for rows in rows.chunks(PAGES_A_TRANSACTION) {
            let transaction = connection.transaction().expect("a transaction");
            for [messages, events, hashes] in rows {
                for (sql, rows) in [
                    ("INSERT INTO message VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)", messages),
                    ("INSERT INTO event VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)", events),
                    ("INSERT INTO message_hash VALUES (?1, ?2)", hashes),
                ] {
                    let mut insert = transaction.prepare_cached(sql).expect("a statement");
                    for row in rows {
                        insert.execute(params_from_iter(row)).expect("room on the disk");
                    }
                }
            }
            transaction.commit().expect("room on the disk");
        }
        drop(connection);
    });
    time
}

/// Returns how much processor time `work` took in all threads, or how long it took where nobody says.
///
/// On a machine with other work to do, time on the clock says more about that other work.
fn processor_timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = processor_time();
    let (elapsed, done) = timed(work);
    let spent = before.zip(processor_time()).map(|(before, after)| after.saturating_sub(before));
    (spent.unwrap_or(elapsed), done)
}

/// Reads the user and system time of this process, which Linux counts in hundredths of a second.
fn processor_time() -> Option<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(Duration::from_millis((user + system) * 10))
}
