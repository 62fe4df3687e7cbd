//! The power goes out behind every single operation.

use crate::history::{self, History, Verdict};
use crate::look::{self, Content};
use crate::story;
use backscroll::store::{Durability, Store};
use powerloss::{Cut, Image, Operation, Recorder, Survival, after_every_operation};
use rusqlite::{Connection, OpenFlags};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::mpsc::sync_channel;
use std::sync::{Mutex, PoisonError};
use std::{env, fmt, thread};

/// A recorded run.
struct Run {
    history: History,
    operations: Vec<Operation>,
    /// The position at which the file was made, and at which each step had been answered.
    answered: Vec<usize>,
}

/// Folds the log into the main file without closing the store, as a commit does when the log has grown long.
fn checkpoint(path: &Path, mode: &str) {
    let db = Connection::open_with_flags_and_vfs(path, OpenFlags::SQLITE_OPEN_READ_WRITE, powerloss::VFS).unwrap();
    let busy: bool = db.query_row(&format!("PRAGMA wal_checkpoint({mode})"), [], |row| row.get(0)).unwrap();
    assert!(!busy, "nobody else is at work");
}

/// Makes a store, lives through the story, with checkpoints of every kind and one restart, and closes it.
fn record(commits: Durability, rounds: u32) -> Run {
    let folder = look::scratch();
    let recorder = Recorder::watch(folder.path()).unwrap();
    let mut store = history::open(folder.path(), commits).unwrap();
    let mut answered = vec![recorder.position()];
    let mut history = History::of(story::steps(rounds), &store);
    while let Some(step) = history.next().cloned() {
        step.store(&store).unwrap();
        answered.push(recorder.position());
        history.store_next(&store);
        match history.stored() % 20 {
            5 | 15 => checkpoint(store.path(), "PASSIVE"),
            10 => checkpoint(store.path(), "TRUNCATE"),
            0 => {
                drop(store);
                store = history::open(folder.path(), commits).unwrap();
            }
            _ => {}
        }
    }
    drop(store);
    Run { history, operations: recorder.operations(), answered }
}

/// What became of the disks of a run.
#[derive(Debug, Default)]
struct Tally {
    disks: usize,
    different: usize,
    /// D-1: does not open, or finds something wrong with itself.
    damaged: usize,
    /// D-2: holds a part of a transaction.
    torn: usize,
    /// D-3: lacks an answered promise.
    promises_lost: usize,
    /// Lacks answered transactions that the server can tell again.
    repeatable_lost: usize,
    /// The first disk that no store may leave behind.
    first: Option<String>,
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disks, different, damaged, torn, promises_lost, repeatable_lost, first } = self;
        write!(
            f,
            "{disks} disks, {different} of them different: {damaged} damaged, {torn} with a part of a transaction, \
             {promises_lost} without a promise, {repeatable_lost} without what the server can tell again"
        )?;
        first.iter().try_for_each(|first| write!(f, "; the first: {first}"))
    }
}

/// The disks of a run and what each turned out to hold.
struct Found {
    /// Where the power went, what survived, and the fingerprint of the image.
    cuts: Vec<(usize, Survival, u64)>,
    /// The content, or what is wrong, by fingerprint.
    recovered: HashMap<u64, Result<Content, String>>,
}

/// Recovers each different disk once, on all processors.
///
/// The store itself opens those that hold what was flushed or everything, and all that date from before it was
/// made; SQLite alone opens the many in between.
fn recover(run: &Run, throws: u64) -> Found {
    let mut cuts = Vec::new();
    let recovered = Mutex::new(HashMap::new());
    let (different, waiting) = sync_channel::<(bool, Cut)>(8);
    let waiting = Mutex::new(waiting);
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                let folder = look::scratch();
                loop {
                    let next = waiting.lock().unwrap_or_else(PoisonError::into_inner).recv();
                    let Ok((by_store, cut)) = next else { break };
                    cut.image.lay_out(folder.path()).unwrap();
                    let file = look::file(folder.path());
                    let found = if by_store { look::recovered(&file) } else { look::recovered_by_sqlite(&file) };
                    recovered.lock().unwrap().insert(cut.fingerprint, found);
                }
            });
        }
        let mut seen = HashSet::new();
        for cut in after_every_operation(&Image::default(), &run.operations, throws) {
            cuts.push((cut.after, cut.survival, cut.fingerprint));
            let by_store = cut.after <= run.answered[0] || !matches!(cut.survival, Survival::Dice(_));
            if seen.insert((cut.fingerprint, by_store)) {
                different.send((by_store, cut)).unwrap();
            }
        }
        drop(different);
    });
    Found { cuts, recovered: recovered.into_inner().unwrap() }
}

fn cut_everywhere(run: &Run, throws: u64) -> Tally {
    let Found { cuts, recovered } = recover(run, throws);
    let mut tally = Tally { disks: cuts.len(), different: recovered.len(), ..Tally::default() };
    for (after, survival, fingerprint) in cuts {
        let answered = run.answered.iter().rposition(|position| *position <= after).unwrap_or(0);
        let promised = run.history.promised(answered);
        let fault = match recovered[&fingerprint].as_ref().map(|content| run.history.judge(*content)) {
            Err(what) => {
                tally.damaged += 1;
                what.clone()
            }
            Ok(Verdict::Torn) => {
                tally.torn += 1;
                "holds a part of a transaction".to_owned()
            }
            Ok(Verdict::Behind(step)) if step < promised => {
                tally.promises_lost += 1;
                format!("was promised step {promised} and holds {step}")
            }
            Ok(Verdict::Behind(step)) => {
                tally.repeatable_lost += usize::from(step < answered);
                continue;
            }
        };
        let operation = &run.operations[after - 1];
        let step = run.history.what(answered + 1);
        tally
            .first
            .get_or_insert_with(|| format!("{survival:?} behind operation {after} ({operation}; {step}): {fault}"));
    }
    tally
}

/// Returns how often to throw dice behind each operation.
fn throws(usual: u64) -> u64 {
    env::var("POWERLOSS_VARIANTS").map_or(usual, |text| text.parse().expect("POWERLOSS_VARIANTS is a number"))
}

/// D-1, D-2, D-3, L-2, D-6: whenever the power goes, the store opens, is whole, and keeps what it promised.
#[test]
fn power_loss_anywhere_leaves_a_whole_store_with_every_promise() {
    let run = record(Durability::Full, 2);
    let tally = cut_everywhere(&run, throws(22));
    println!("{} transactions, {} operations, {tally}", run.history.stored(), run.operations.len());
    let lost = tally.promises_lost + tally.repeatable_lost;
    assert_eq!((tally.damaged, tally.torn, lost), (0, 0, 0), "{tally}");
    assert!(tally.disks > 10 * run.history.stored(), "too few disks to mean anything");
}

/// The control: promises that do not wait for the disk must be seen to get lost, or the zeros above mean nothing.
#[test]
fn promises_that_do_not_wait_for_the_disk_are_seen_to_get_lost() {
    let run = record(Durability::Normal, 1);
    let tally = cut_everywhere(&run, 1);
    println!("promises that do not wait: {tally}");
    assert_eq!((tally.damaged, tally.torn), (0, 0), "{tally}");
    assert!(tally.promises_lost > 0, "{tally}");
}

/// D-6: a store whose making was cut short is made again, and then works.
#[test]
fn a_store_cut_short_while_it_is_made_is_made_again() {
    let (live, found) = (look::scratch(), look::scratch());
    let recorder = Recorder::watch(live.path()).unwrap();
    let store = history::open(live.path(), Durability::Full).unwrap();
    let made = recorder.position();
    let step = &story::steps(1)[0];
    step.store(&store).unwrap();
    let expected = look::content(store.path()).unwrap();
    for cut in after_every_operation(&Image::default(), &recorder.operations()[..made], 4) {
        cut.image.lay_out(found.path()).unwrap();
        let again = Store::open(look::file(found.path())).unwrap();
        step.store(&again).unwrap();
        assert_eq!(look::content(again.path()), Ok(expected), "{:?} behind {}", cut.survival, cut.after);
    }
}
