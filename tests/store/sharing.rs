//! One store that several use at once. Each `Store` here stands for a process: the lock beside the file knows no better.

use super::*;
use backscroll::model::{ClientToken, Intent, OutboxState, Wish, WishAnswer, WishKind};
use backscroll::store::{OpenOptions, PAGE_MAX, Role, Standing, StoreError, Window, Wished};
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use tokio::sync::watch;

fn share(folder: &TempDir) -> Store {
    Store::share(OpenOptions::new(folder.path().join("store.db"))).unwrap()
}

fn role(store: &Store) -> Role {
    store.standing().unwrap().borrow().role.clone()
}

/// Waits until a store stands as it should.
fn until(store: &Store, stands: impl FnMut(&Standing) -> bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut standing: watch::Receiver<Standing> = store.standing().unwrap();
    runtime.block_on(standing.wait_for(stands)).unwrap();
}

fn token(number: u128) -> ClientToken {
    ClientToken::from_uuid(Uuid::from_u128(number))
}

fn wish(number: u128) -> Wish {
    let intent = Intent::SendMessage { conversation: conversation(1), text: format!("wish {number}"), payload: None };
    Wish { token: token(number), kind: WishKind::Submit(intent), wished_at: Timestamp(5) }
}

/// D-8
#[test]
fn the_first_one_syncs_and_others_follow_until_it_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (share(&folder), share(&folder));
    assert_eq!(role(&first), Role::Syncing);
    assert!(matches!(role(&second), Role::Following { .. }));
    assert!(matches!(second.write(page(&[sent(1, 2, 5, "one")])).wait(), Err(StoreError::LeaseLost { .. })));
    drop(first);
    until(&second, |standing| standing.role == Role::Syncing);
    second.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    assert_sound(&second);
}

/// whoever is in the way has a name.
#[test]
fn the_one_who_syncs_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let first = share(&folder);
    first.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    let refused = Store::open(first.path()).unwrap_err();
    let us = std::process::id();
    assert!(matches!(&refused, StoreError::InUse { holder: Some(holder), .. } if holder.process == us), "{refused:?}");
    assert!(refused.to_string().contains(&format!("process {us}")), "{refused}");
    let inspector = Store::inspect(first.path()).unwrap();
    assert_eq!(inspector.holder().unwrap().unwrap().process, us);
    let second = share(&folder);
    assert!(matches!(role(&second), Role::Following { holder: Some(holder) } if holder.process == us));
    drop((first, second));
    assert_eq!(inspector.holder().unwrap(), None, "nobody syncs, whoever did last");
}

/// D-8, R-46: from the moment of a take-over nothing of the earlier holder is kept, whether it knows or not.
#[test]
fn a_take_over_ends_the_writing_of_the_earlier_one() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (share(&folder), share(&folder));
    first.write(page(&[sent(1, 2, 5, "one")])).wait().unwrap();
    second.take_over().wait().unwrap();
    let refused = first.write(page(&[sent(2, 2, 6, "late")])).wait().unwrap_err();
    assert!(matches!(refused, StoreError::LeaseLost { holder: Some(_) }), "{refused:?}");
    until(&first, |standing| matches!(standing.role, Role::Following { .. }));
    second.write(page(&[sent(2, 2, 7, "two")])).wait().unwrap();
    let texts =
        |reader: &backscroll::store::Reader<'_>| Ok(reader.messages(conversation(1), Window::Newest, PAGE_MAX)?.len());
    assert_eq!(first.read(texts).unwrap(), 2);
    // It does not come back by itself as long as the other one lives, and does when that is gone.
    drop(second);
    until(&first, |standing| standing.role == Role::Syncing);
    first.write(page(&[sent(3, 2, 8, "three")])).wait().unwrap();
    assert_sound(&first);
}

/// a wish is durable, in order, seen by everybody at once, and its answer finds the way back.
#[test]
fn wishes_of_a_follower_wait_in_order_until_they_are_answered() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (share(&folder), share(&folder));
    first.write(vec![Write::Session(session())]).wait().unwrap();
    let set = second.wish(vec![wish(1), wish(2)]).wait().unwrap();
    until(&first, |standing| standing.changed_elsewhere >= set.number);
    second.wish(vec![wish(2), wish(3)]).wait().unwrap();
    let waiting = first.read(|reader| reader.wishes()).unwrap();
    assert_eq!(waiting, [(1, wish(1)), (2, wish(2)), (3, wish(3))], "one wished for twice is one");
    let shown = second.read(|reader| reader.unsettled(Some(conversation(1)))).unwrap();
    assert!(shown.iter().all(|entry| entry.state == OutboxState::Queued) && shown.len() == 3);
    assert!(first.read(|reader| reader.outbox()).unwrap().is_empty());

    let accepted = WishAnswer::Accepted(token(1));
    let writes = vec![Write::WishAnswered(1, accepted), Write::WishAnswered(2, WishAnswer::Refused)];
    let set = first.write(writes).wait().unwrap();
    until(&second, |standing| standing.changed_elsewhere >= set.number);
    let answers = second
        .read(|reader| Ok([reader.submission(token(1))?, reader.submission(token(2))?, reader.submission(token(3))?]));
    assert_eq!(answers.unwrap(), [Wished::Answered(accepted), Wished::Answered(WishAnswer::Refused), Wished::Waits]);

    // Taking back may be wished for again after it was refused.
    let cancel = Wish { token: token(1), kind: WishKind::Cancel, wished_at: Timestamp(6) };
    second.wish(vec![cancel.clone()]).wait().unwrap();
    let (number, _) = *first.read(|reader| reader.wishes()).unwrap().last().unwrap();
    first.write(vec![Write::WishAnswered(number, WishAnswer::Refused)]).wait().unwrap();
    assert_eq!(second.read(|reader| reader.cancellation(token(1))).unwrap(), Wished::Answered(WishAnswer::Refused));
    second.wish(vec![cancel]).wait().unwrap();
    assert_eq!(second.read(|reader| reader.cancellation(token(1))).unwrap(), Wished::Waits);
    assert_sound(&first);
}

/// Changes have one order for all.
#[test]
fn changes_of_all_processes_are_numbered_in_one_row() {
    let folder = tempfile::tempdir().unwrap();
    let (first, second) = (share(&folder), share(&folder));
    let mut numbers = Vec::new();
    for number in 1..=20_u32 {
        numbers.push(first.write(page(&[sent(number, 2, number.into(), "text")])).wait().unwrap().number);
        numbers.push(second.wish(vec![wish(number.into())]).wait().unwrap().number);
    }
    assert_eq!(numbers, (1..=40).collect::<Vec<u64>>());
    let after = second.read(|reader| reader.changes_after(39)).unwrap().unwrap();
    assert_eq!((after.number, after.changes.len()), (40, 1));
}

/// D-10, R-45: the log is bounded under readers that never pause and a writer that hardly does.
#[test]
fn the_log_stays_below_its_bound_under_readers_and_a_writer() {
    const BOUND: u64 = 64 << 20;
    let folder = tempfile::tempdir().unwrap();
    let store = share(&folder);
    let log = folder.path().join("store.db-wal");
    let over = AtomicBool::new(false);
    let text = "many words ".repeat(400);
    thread::scope(|scope| {
        for _ in 0..2 {
            let reader = share(&folder);
            let over = &over;
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    reader.read(|reader| reader.messages(conversation(1), Window::Newest, 50)).unwrap();
                }
            });
        }
        let mut highest = 0;
        let mut written = 0_u64;
        let mut at = 1;
        while written < 3 * BOUND {
            let events: Vec<Event> = (at..at + 100).map(|at| sent(at, 2, at.into(), &text)).collect();
            at += 100;
            written += events.len() as u64 * text.len() as u64;
            store.write(page(&events)).wait().unwrap();
            highest = highest.max(length_of(&log));
        }
        over.store(true, Ordering::Relaxed);
        println!("{} MiB written, the log at most {} MiB", written >> 20, highest >> 20);
        assert!(highest < BOUND, "{highest} bytes");
    });
}

fn length_of(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}
