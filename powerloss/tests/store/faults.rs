//! The disk refuses writes and flushes: each in its turn, once and six times in a row.

use crate::history::{self, History, Verdict};
use crate::leftovers::Leftovers;
use crate::look::{self, Content};
use crate::story;
use backscroll::store::{Durability, StoreError};
use powerloss::{Fault, FaultKind, Image, Operation, Recorder};
use rusqlite::ErrorCode;
use std::ops::RangeInclusive;

/// How many refusals in a row are tried: a hiccup, and a disk that stays full for a while.
const TIMES: [u64; 2] = [1, 6];

/// the caller learns what happened in the store's own terms.
pub(crate) fn assert_typed(error: &StoreError, kind: FaultKind) {
    let StoreError::Sqlite { source, .. } = error else { panic!("{kind:?} surfaced as {error:?}") };
    let (expected, transient) = match kind {
        FaultKind::DiskFull | FaultKind::HalfWrite => (ErrorCode::DiskFull, true),
        FaultKind::WriteError | FaultKind::FlushError => (ErrorCode::SystemIoFailure, false),
    };
    assert_eq!((source.sqlite_error_code(), error.is_transient()), (Some(expected), transient), "{error:?}");
}

/// Lives through the story on a disk that refuses, in each step, every operation in turn. The same store goes
/// on all the time. Returns how many transactions were refused.
fn refuse_everywhere(kind: FaultKind, times: u64) -> u32 {
    let folder = look::scratch();
    let recorder = Recorder::watch(folder.path()).unwrap();
    let store = history::open(folder.path(), Durability::Full).unwrap();
    let mut history = History::of(story::samples(), &store);
    let mut leftovers = Leftovers::of(&Image::default());
    let mut refused = 0;
    while let Some(step) = history.next().cloned() {
        let (before, context) = (history.stored(), format!("{kind:?} x{times}, {}", step.what));
        let content = look::content(store.path()).unwrap();
        let (mut killed, mut cut) = (Vec::new(), Vec::new());
        'step: for after in 0.. {
            let mut fault = Fault { kind, after, times };
            while fault.times > 0 {
                recorder.inject(fault);
                let outcome = step.store(&store);
                let hits = recorder.heal();
                let Err(error) = outcome else { break 'step };
                assert_typed(&error, kind);
                assert!(hits > 0, "{context}: refused for nothing");
                refused += 1;
                fault = Fault { kind, after: 0, times: fault.times - hits };
            }
            assert_eq!(look::content(store.path()), Ok(content), "{context}: a refusal changed something");
            killed.push(leftovers.of_a_kill(folder.path()));
            cut.extend(leftovers.of_a_power_cut(&recorder));
        }
        history.store_next(&store);

        // A commit whose flush was refused is undone for the store, but its bytes are in the log: who finds it
        // before the next commit takes its place may see the transaction, whole.
        let possible = if kind == FaultKind::FlushError { before + 1 } else { before };
        assert_found(&history, killed, before..=possible, &format!("{context}, then killed"));
        assert_found(&history, cut, history.promised(before)..=before + 1, &format!("{context}, then cut"));
        // What was stored in the end is found.
        let (killed, cut) = (leftovers.of_a_kill(folder.path()), leftovers.of_a_power_cut(&recorder));
        let stored = before + 1;
        assert_found(&history, [killed], stored..=stored, &format!("{context}, stored, then killed"));
        assert_found(&history, cut, history.promised(stored)..=stored, &format!("{context}, stored, then cut"));
    }
    refused
}

/// D-1, D-2, D-3: each store that was found is whole, and as it was behind one of the allowed numbers of steps.
fn assert_found(
    history: &History,
    found: impl IntoIterator<Item = Result<Content, String>>,
    allowed: RangeInclusive<usize>,
    context: &str,
) {
    for content in found {
        let content = content.unwrap_or_else(|what| panic!("{context}: {what}"));
        let is_allowed = matches!(history.judge(content), Verdict::Behind(stored) if allowed.contains(&stored));
        assert!(is_allowed, "{context}: {:?}, not one of {allowed:?}", history.judge(content));
    }
}

fn refuse_kind(kind: FaultKind) {
    for times in TIMES {
        let refused = refuse_everywhere(kind, times);
        println!("{kind:?} x{times}: {refused} refused transactions");
        assert!(refused > 0);
    }
}

/// D-4, R-98, K4.
#[test]
fn after_any_write_error_the_same_store_goes_on() {
    refuse_kind(FaultKind::WriteError);
}

/// D-4, R-98, K4.
#[test]
fn after_any_moment_of_a_full_disk_the_same_store_goes_on() {
    refuse_kind(FaultKind::DiskFull);
}

/// D-4, R-98, K4.
#[test]
fn after_any_half_write_the_same_store_goes_on() {
    refuse_kind(FaultKind::HalfWrite);
}

/// D-4, K5.
#[test]
fn after_any_refused_flush_the_same_store_goes_on() {
    refuse_kind(FaultKind::FlushError);
}

/// D-4, D-6: a store that could not be made says so, and can be made once the disk allows it.
#[test]
fn a_store_that_could_not_be_made_is_made_later() {
    for kind in FaultKind::ALL {
        for after in 0.. {
            let folder = look::scratch();
            let recorder = Recorder::watch(folder.path()).unwrap();
            recorder.inject(Fault { kind, after, times: 1 });
            let refusal = history::open(folder.path(), Durability::Full).err();
            let hits = recorder.heal();
            if let Some(error) = &refusal {
                assert!(
                    matches!(error, StoreError::Open { .. } | StoreError::Migration { .. }),
                    "{kind:?} after {after}: {error:?}"
                );
            }
            let store = history::open(folder.path(), Durability::Full).unwrap();
            story::samples()[0].store(&store).unwrap();
            assert_eq!(store.read(|reader| reader.verify()).unwrap(), []);
            if hits == 0 {
                assert!(after > 0 && refusal.is_none());
                break;
            }
        }
    }
}

/// D-4: closing folds the log into the file; when the disk refuses, the log stays and nothing is lost.
#[test]
fn a_store_that_could_not_be_folded_up_on_closing_loses_nothing() {
    let (image, expected) = unfolded();
    for kind in FaultKind::ALL {
        for after in 0.. {
            let folder = look::scratch();
            image.lay_out(folder.path()).unwrap();
            let recorder = Recorder::watch(folder.path()).unwrap();
            let mut leftovers = Leftovers::of(&image);
            let store = history::open(folder.path(), Durability::Full).unwrap();
            recorder.inject(Fault { kind, after, times: 6 });
            drop(store);
            let hits = recorder.heal();
            assert_eq!(leftovers.of_a_kill(folder.path()), Ok(expected), "{kind:?} after {after}");
            for found in leftovers.of_a_power_cut(&recorder) {
                assert_eq!(found, Ok(expected), "{kind:?} after {after}");
            }
            if hits == 0 {
                let folded = |operation: &Operation| matches!(operation, Operation::Remove { .. });
                assert!(recorder.operations().iter().any(folded), "closing takes the log away");
                break;
            }
        }
    }
}

/// Returns a store whose log was never folded into the file, and its content.
fn unfolded() -> (Image, Content) {
    let folder = look::scratch();
    let _recorder = Recorder::watch(folder.path()).unwrap();
    let store = history::open(folder.path(), Durability::Full).unwrap();
    for step in story::samples() {
        step.store(&store).unwrap();
    }
    (Image::read(folder.path()).unwrap(), look::content(store.path()).unwrap())
}
