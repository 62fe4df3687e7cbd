//! How long a commit takes at worst: folding the log into the main file must not be part of one.
//!
//! `EVENTS=1000000 cargo bench --bench commits` for more. Both sides take the same pages in turns, each with a rest
//! after it as a live link has them; one is the store, whose writer thread folds between jobs, the other a bare
//! connection that folds as SQLite does by itself, within whichever commit makes the log a thousand pages long.

mod workload;

use backscroll::model::EventBody;
use backscroll::store::Store;
use rusqlite::{Connection, params};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;
use workload::{CONVERSATIONS, Page, median, pages, size, timed};

/// After each page: that of a busy live link.
const REST: Duration = Duration::from_millis(2);

fn main() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let pages = pages(size(100_000), CONVERSATIONS);
    let store = Store::open(folder.path().join("store.db")).expect("a new store");
    let mut bare = open_bare(&folder.path().join("bare.db"));
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for page in &pages {
        ours.push(timed(|| store.write(page.writes().to_vec()).wait().expect("room on the disk")).0);
        theirs.push(timed(|| insert(&mut bare, page)).0);
        sleep(REST);
    }
    println!("{} commits of up to 100 events", pages.len());
    let (ours, theirs) =
        (tell("the store, folding between commits", ours), tell("bare SQLite, folding in commits", theirs));
    println!("at p99.9 {:.2} times the bare connection", ours.as_secs_f64() / theirs.as_secs_f64());
}

/// Prints a distribution and returns its p99.9.
fn tell(who: &str, mut times: Vec<Duration>) -> Duration {
    times.sort();
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    let (p99, p999, most) = (at(0.99), at(0.999), at(1.0));
    println!("{who}: p50 {:?}, p99 {p99:?}, p99.9 {p999:?}, at most {most:?}", median(times));
    p999
}

fn open_bare(path: &Path) -> Connection {
    let bare = Connection::open(path).expect("a new file");
    bare.pragma_update(None, "journal_mode", "WAL").expect("a log");
    bare.pragma_update(None, "synchronous", "FULL").expect("a flush a commit");
    bare.execute_batch(
        "CREATE TABLE message (id INTEGER PRIMARY KEY, uuid BLOB, sender INTEGER, sent_at INTEGER, text TEXT, payload TEXT)",
    )
    .expect("a table");
    bare
}

fn insert(bare: &mut Connection, page: &Page) {
    let transaction = bare.transaction().expect("a transaction");
    {
        let mut insert = transaction
            .prepare_cached("INSERT INTO message (uuid, sender, sent_at, text, payload) VALUES (?1, ?2, ?3, ?4, ?5)")
            .expect("a statement");
        for event in &page.events {
            if let EventBody::MessageSent(content) | EventBody::MessageEdited(content) = &event.body {
                let payload = content.payload.as_ref().map(|payload| payload.as_str());
                let (uuid, sender) = (content.id.as_uuid().as_bytes(), event.initiator.get().cast_signed());
                insert.execute(params![uuid, sender, event.timestamp.0, content.text, payload]).expect("a row");
            }
        }
    }
    transaction.commit().expect("room on the disk");
}
