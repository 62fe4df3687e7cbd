//! The harness against plain SQLite, whose guarantees are known: it must find the loss and the damage that
//! weaker settings allow, or its zeros elsewhere mean nothing.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use powerloss::{Disk, Fault, FaultKind, Image, Recorder, Survival, after_every_operation};
use rusqlite::{Connection, OpenFlags};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

fn scratch() -> TempDir {
    tempfile::tempdir_in(powerloss::scratch_root()).expect("a scratch folder")
}

fn store(folder: &TempDir) -> PathBuf {
    folder.path().join("store.db")
}

fn open(path: &Path, journal: &str, synchronous: &str) -> Connection {
    let db = Connection::open_with_flags_and_vfs(path, OpenFlags::default(), powerloss::VFS).unwrap();
    db.pragma_update(None, "journal_mode", journal).unwrap();
    db.pragma_update(None, "synchronous", synchronous).unwrap();
    // So small that the run has checkpoints.
    db.pragma_update(None, "wal_autocheckpoint", 24).unwrap();
    db.execute_batch(
        "BEGIN;
         CREATE TABLE event (number INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;
         CREATE TABLE head (number INTEGER NOT NULL) STRICT;
         INSERT INTO head (number) VALUES (0);
         COMMIT;",
    )
    .unwrap();
    db
}

/// Stores event `number` and moves the head; both or neither.
fn append(db: &mut Connection, number: u32) -> rusqlite::Result<()> {
    let transaction = db.transaction()?;
    let body = vec![number.to_le_bytes()[0]; 40 + number as usize * 397 % 5000];
    transaction.execute("INSERT INTO event (number, body) VALUES (?1, ?2)", (number, body))?;
    transaction.execute("UPDATE head SET number = ?1", [number])?;
    transaction.commit()
}

/// What a disk turned out to hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Found {
    Damaged,
    HalfTransaction,
    /// Every event up to this one and nothing else; 0 also before there were tables.
    Events(u32),
}

fn look(path: &Path) -> rusqlite::Result<Found> {
    let db = Connection::open(path)?;
    if db.query_row("PRAGMA integrity_check", [], |row| row.get::<_, String>(0))? != "ok" {
        return Ok(Found::Damaged);
    }
    if !db.table_exists(None, "head")? {
        return Ok(Found::Events(0));
    }
    let (head, count, newest): (u32, u32, u32) = db.query_row(
        "SELECT number, (SELECT count(*) FROM event), (SELECT coalesce(max(number), 0) FROM event) FROM head",
        [],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )?;
    Ok(if head == count && head == newest { Found::Events(head) } else { Found::HalfTransaction })
}

/// How often each fault was seen.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    disks: usize,
    damaged: usize,
    half_transactions: usize,
    promises_lost: usize,
}

/// Records `count` transactions and looks at every disk that a power cut may leave. `is_promise` names the
/// transactions that must survive; with "mixed" they commit with FULL and the others with NORMAL.
fn cut_everywhere(journal: &str, synchronous: &str, count: u32, is_promise: fn(u32) -> bool) -> Tally {
    let (live, after) = (scratch(), scratch());
    let recorder = Recorder::watch(live.path()).unwrap();
    let mixed = synchronous == "mixed";
    let mut db = open(&store(&live), journal, if mixed { "full" } else { synchronous });
    let mut promised = Vec::new();
    for number in 1..=count {
        if mixed {
            db.pragma_update(None, "synchronous", if is_promise(number) { "full" } else { "normal" }).unwrap();
        }
        append(&mut db, number).unwrap();
        if is_promise(number) {
            promised.push((recorder.position(), number));
        }
    }
    drop(db);
    let mut tally = Tally::default();
    let mut seen = HashMap::new();
    for cut in after_every_operation(&Image::default(), &recorder.operations(), 6) {
        let found = *seen.entry(cut.fingerprint).or_insert_with(|| {
            cut.image.lay_out(after.path()).unwrap();
            look(&store(&after)).unwrap_or(Found::Damaged)
        });
        let promise =
            promised.iter().rev().find(|(position, _)| *position <= cut.after).map_or(0, |(_, number)| *number);
        tally.disks += 1;
        match found {
            Found::Damaged => tally.damaged += 1,
            Found::HalfTransaction => tally.half_transactions += 1,
            Found::Events(newest) => tally.promises_lost += usize::from(newest < promise),
        }
    }
    eprintln!("{journal}, {synchronous}: {tally:?}, {} of them different", seen.len());
    tally
}

fn sound(tally: &Tally) -> bool {
    tally.disks > 500 && tally.damaged == 0 && tally.half_transactions == 0
}

#[test]
fn a_log_flushed_with_every_commit_loses_nothing() {
    let tally = cut_everywhere("wal", "full", 40, |_| true);
    assert!(sound(&tally) && tally.promises_lost == 0, "{tally:?}");
}

#[test]
fn a_log_flushed_at_checkpoints_only_is_seen_to_lose_commits_and_nothing_else() {
    let tally = cut_everywhere("wal", "normal", 40, |_| true);
    assert!(sound(&tally) && tally.promises_lost > 0, "{tally:?}");
}

#[test]
fn a_log_never_flushed_is_seen_to_damage_the_file() {
    let tally = cut_everywhere("wal", "off", 40, |_| true);
    assert!(tally.damaged > 0, "{tally:?}");
}

#[test]
fn promises_flushed_among_commits_that_are_not_are_kept() {
    let tally = cut_everywhere("wal", "mixed", 40, |number| number % 4 == 0);
    assert!(sound(&tally) && tally.promises_lost == 0, "{tally:?}");
}

/// K3: without a flush of the folder the removal of a journal does not last, and it comes back to undo its commit.
#[test]
fn a_journal_that_comes_back_is_seen_to_undo_a_commit() {
    let tally = cut_everywhere("delete", "full", 20, |_| true);
    assert!(sound(&tally) && tally.promises_lost > 0, "{tally:?}");
    let tally = cut_everywhere("delete", "extra", 20, |_| true);
    assert!(sound(&tally) && tally.promises_lost == 0, "{tally:?}");
}

/// Lets each operation of a run fail in turn, `times` in a row, and tries again what was refused on the same
/// connection. Returns how many of the runs left a bad file after a kill, and how many after a power cut.
fn fail_everywhere(kind: FaultKind, times: u64, synchronous: fn(u32) -> &'static str) -> (u32, u32) {
    let (mut killed, mut cut) = (0, 0);
    let (mut runs, mut refused) = (0, 0);
    for after in 0.. {
        let (live, found) = (scratch(), scratch());
        let recorder = Recorder::watch(live.path()).unwrap();
        let mut db = open(&store(&live), "wal", "full");
        recorder.inject(Fault { kind, after, times });
        for number in 1..=12 {
            db.pragma_update(None, "synchronous", synchronous(number)).unwrap();
            while let Err(error) = append(&mut db, number) {
                refused += 1;
                assert!(refused < 100_000, "{error}");
            }
        }
        let hits = recorder.heal();
        runs += 1;

        let is_bad = |image: &Image| {
            image.lay_out(found.path()).unwrap();
            u32::from(look(&store(&found)) != Ok(Found::Events(12)))
        };
        killed += is_bad(&Image::read(live.path()).unwrap());
        let mut disk = Disk::default();
        recorder.operations().iter().for_each(|operation| disk.apply(operation));
        cut += is_bad(&disk.cut(Survival::Flushed).image);
        if hits == 0 {
            break;
        }
    }
    eprintln!("{kind:?} x{times}: {runs} runs, {refused} refused; bad when killed {killed}, after power loss {cut}");
    assert!(refused > 0);
    (killed, cut)
}

/// D-4, K4, K5: with every commit flushed the same connection goes on after any fault.
#[test]
fn after_a_fault_at_any_operation_the_same_connection_goes_on() {
    for kind in FaultKind::ALL {
        for times in [1, 6] {
            assert_eq!(fail_everywhere(kind, times, |_| "full"), (0, 0), "{kind:?} x{times}");
        }
    }
}

/// A refused flush also drops commits that were not flushed before. Later promises lie behind them in the log
/// and are lost with them, although their own flush succeeds: a store that mixes must know and act.
#[test]
fn a_refused_flush_among_commits_that_are_not_flushed_is_seen_to_lose_later_promises() {
    let mixed = |number| if number % 4 == 0 { "full" } else { "normal" };
    let (killed, cut) = fail_everywhere(FaultKind::FlushError, 1, mixed);
    assert!(killed == 0 && cut > 0, "{killed} {cut}");
}

#[test]
fn a_cut_can_be_seen_again() {
    let live = scratch();
    let recorder = Recorder::watch(live.path()).unwrap();
    append(&mut open(&store(&live), "wal", "normal"), 1).unwrap();
    let fingerprints = |_| {
        after_every_operation(&Image::default(), &recorder.operations(), 20)
            .map(|cut| (cut.after, cut.survival, cut.fingerprint))
            .collect::<Vec<_>>()
    };
    assert_eq!(fingerprints(1), fingerprints(2));
}

#[test]
fn recorders_of_different_folders_do_not_hear_each_other() {
    let folders = [scratch(), scratch()];
    let recorders = folders.each_ref().map(|folder| Recorder::watch(folder.path()).unwrap());
    let mut first = open(&store(&folders[0]), "wal", "full");
    assert_eq!(recorders[1].position(), 0);
    recorders[1].inject(Fault { kind: FaultKind::DiskFull, after: 0, times: u64::MAX });
    append(&mut first, 1).unwrap();
    assert_eq!(recorders[1].heal(), 0);
    assert!(Recorder::watch(folders[0].path()).is_err(), "a folder has one recorder");
}

#[test]
fn what_others_wrote_before_the_first_open_counts_as_not_flushed() {
    let (live, source) = (scratch(), scratch());
    append(&mut open(&store(&source), "delete", "full"), 1).unwrap();
    let recorder = Recorder::watch(live.path()).unwrap();
    Image::read(source.path()).unwrap().lay_out(live.path()).unwrap();
    let db = Connection::open_with_flags_and_vfs(store(&live), OpenFlags::default(), powerloss::VFS).unwrap();
    assert_eq!(db.query_row("SELECT number FROM head", [], |row| row.get(0)), Ok(1));
    let cuts: Vec<_> = after_every_operation(&Image::default(), &recorder.operations(), 0).collect();
    let first = &cuts.first().unwrap();
    assert_eq!((first.survival, first.image.file("store.db")), (Survival::Flushed, None));
    let everything = cuts.iter().rfind(|cut| cut.survival == Survival::Everything).unwrap();
    assert!(everything.image.file("store.db").is_some_and(|content| !content.is_empty()));
}
