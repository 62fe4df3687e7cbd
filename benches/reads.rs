//! What people wait for: the newest page of a conversation, and the first screen of a process that just began.
//!
//! `EVENTS=1000000 cargo bench --bench reads` for another size. Both sides of a ratio run in turns on the
//! same warm file. Goals: a page at most 2 times the bare SELECT of owned rows, the first screen at most
//! 1.5 times a bare open with the two SELECTs.

mod workload;

use backscroll::model::{ConversationId, Membership};
use backscroll::store::{Store, Window};
use backscroll::sync::Write;
use rusqlite::{Connection, OpenFlags};
use std::collections::BTreeSet;
use std::hint::black_box;
use std::path::Path;
use workload::{CONVERSATIONS, Page, median, pages, size, timed};

/// How often each is asked.
const TIMES: usize = 400;

fn main() {
    let folder = tempfile::tempdir().expect("a folder for files");
    let path = folder.path().join("store.db");
    let pages = pages(size(200_000), CONVERSATIONS);
    let store = Store::open(&path).expect("a new store");
    let conversations: BTreeSet<ConversationId> = pages.iter().map(|page| page.conversation).collect();
    let member = |id| Write::Membership(id, Membership::Member);
    store.write(conversations.into_iter().map(member).collect()).wait().expect("room on the disk");
    for part in pages.chunks(10) {
        store.write(part.iter().flat_map(Page::writes).collect()).wait().expect("room on the disk");
    }
    drop(store);
    let events: usize = pages.iter().map(|page| page.events.len()).sum();
    println!("{events} events, median of {TIMES}");
    newest_page(&path, &pages);
    first_screen(&path);
}

fn newest_page(path: &Path, pages: &[Page]) {
    let store = Store::open(path).expect("the store");
    let bare = open_bare(path);
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for page in pages.iter().cycle().take(TIMES) {
        let local = local(&bare, page.conversation);
        theirs.push(timed(|| black_box(select_newest(&bare, local))).0);
        let read = || store.read(|reader| reader.messages(page.conversation, Window::Newest, 50)).expect("a page");
        ours.push(timed(|| black_box(read())).0);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("newest page of 50: {ours:?}, bare SELECT {theirs:?}: {ratio:.2} times (goal 2)");
}

fn first_screen(path: &Path) {
    let mut ours = Vec::new();
    let mut theirs = Vec::new();
    for _ in 0..TIMES / 4 {
        // What was opened is closed outside of the time, as it is in a process that goes on.
        let (time, opened) = timed(|| {
            let bare = open_bare(path);
            let list = select_list(&bare);
            let newest = select_newest(&bare, list[0].0);
            (bare, list, newest)
        });
        drop(opened);
        theirs.push(time);
        let (time, opened) = timed(|| {
            let store = Store::open(path).expect("the store");
            let screen = store.read(|reader| {
                let list = reader.conversations(50, 0)?;
                let newest = reader.messages(list[0].conversation.id, Window::Newest, 50)?;
                Ok((list, newest))
            });
            (store, screen.expect("a screen"))
        });
        drop(opened);
        ours.push(time);
    }
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
    println!("open, list of 50 and newest 50: {ours:?}, bare {theirs:?}: {ratio:.2} times (goal 1.5)");
}

fn open_bare(path: &Path) -> Connection {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE).expect("the store");
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
             PRAGMA wal_autocheckpoint = 4000; PRAGMA temp_store = MEMORY;",
        )
        .expect("pragmas");
    connection
}

fn local(connection: &Connection, conversation: ConversationId) -> i64 {
    connection
        .prepare_cached("SELECT id FROM conversation WHERE uuid = ?1")
        .and_then(|mut select| select.query_row([conversation.as_uuid().as_bytes()], |row| row.get(0)))
        .expect("a conversation")
}

type BareMessage = (i64, [u8; 16], i64, i64, i64, i64, String, Option<String>);

fn select_newest(connection: &Connection, local: i64) -> Vec<BareMessage> {
    connection
        .prepare_cached(
            "SELECT id, uuid, sender, sent_at, state, revision, text, payload FROM message
             WHERE id BETWEEN ?1 AND ?2 ORDER BY id DESC LIMIT 50",
        )
        .and_then(|mut select| {
            select
                .query_map([local << 32, local << 32 | 0xffff_ffff], |row| {
                    Ok((
                        row.get(0)?,
                        row.get(1)?,
                        row.get(2)?,
                        row.get(3)?,
                        row.get(4)?,
                        row.get(5)?,
                        row.get(6)?,
                        row.get(7)?,
                    ))
                })?
                .collect()
        })
        .expect("a page")
}

type BareConversation = (i64, [u8; 16], String, i64, i64, Option<String>);

fn select_list(connection: &Connection) -> Vec<BareConversation> {
    connection
        .prepare_cached(
            "SELECT id, uuid, title, unread, last_activity, preview_text FROM conversation
             WHERE membership < 2 ORDER BY last_activity DESC, id DESC LIMIT 50",
        )
        .and_then(|mut select| {
            select
                .query_map([], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
                })?
                .collect()
        })
        .expect("a list")
}
