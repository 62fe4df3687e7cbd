//! What the writer does between transactions, on a disk that refuses: saying who syncs, folding the log into the file,
//! taking the lease. Nobody waits for the first two, so they are tried again until the disk allows it.

use crate::faults::assert_typed;
use crate::history;
use crate::leftovers::Leftovers;
use crate::look::{self, Content};
use crate::story;
use backscroll::model::{
    Action, ConversationId, Event, EventBody, MessageContent, MessageId, Sequence, SequenceRange, Timestamp, UserId,
};
use backscroll::store::{Durability, OpenOptions, Store, StoreError};
use backscroll::sync::Write;
use powerloss::{Disk, Fault, FaultKind, Image, Operation, Recorder, Survival};
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::thread;
use std::time::Duration;
use tempfile::TempDir;
use uuid::Uuid;

/// How often to look for what should happen within a twentieth of a second, before it counts as not happening.
const LOOKS_MAX: u32 = 30_000;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(2);

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let happened = (0..LOOKS_MAX).any(|_| {
        let now = is_so();
        if !now {
            thread::sleep(PAUSE);
        }
        now
    });
    assert!(happened, "{what}: not within {LOOKS_MAX} looks");
}

fn generation(path: &Path) -> i64 {
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    db.query_row("SELECT generation FROM lease", [], |row| row.get(0)).unwrap()
}

fn folder_with(image: &Image) -> (TempDir, Recorder) {
    let folder = look::scratch();
    image.lay_out(folder.path()).unwrap();
    let recorder = Recorder::watch(folder.path()).unwrap();
    (folder, recorder)
}

/// Returns a store that was closed, and its content.
fn closed() -> (Image, Content) {
    let folder = look::scratch();
    let store = Store::open(look::file(folder.path())).unwrap();
    story::samples()[0].store(&store).unwrap();
    let content = look::content(store.path()).unwrap();
    drop(store);
    (Image::read(folder.path()).unwrap(), content)
}

/// D-4, D-8: that nothing is transacted is no reason not to say who syncs; the disk's refusal is one to say it later.
#[test]
fn who_syncs_is_written_down_once_the_disk_allows_it() {
    let (image, expected) = closed();
    for kind in FaultKind::ALL {
        for after in 0.. {
            let (folder, recorder) = folder_with(&image);
            let before = generation(&look::file(folder.path()));
            recorder.inject(Fault { kind, after, times: 2 });
            let store = history::open(folder.path(), Durability::Full).unwrap();
            until("who syncs is written down", || generation(store.path()) > before);
            let hits = recorder.heal();
            let context = format!("{kind:?} after {after}");
            assert_eq!(look::content(store.path()), Ok(expected), "{context}");
            story::samples()[1].store(&store).unwrap();
            assert_eq!(generation(store.path()), before + 1, "{context}: it is taken once");
            if hits == 0 {
                assert!(after > 0, "{context}");
                break;
            }
        }
    }
}

/// D-4, D-8: a take-over that the disk refuses changes nobody's role, and can be asked for again.
#[test]
fn a_take_over_that_the_disk_refuses_leaves_the_holder_where_it_is() {
    let steps = story::samples();
    for kind in FaultKind::ALL {
        for after in 0.. {
            let (folder, recorder) = folder_with(&Image::default());
            let holder = history::open(folder.path(), Durability::Full).unwrap();
            steps[0].store(&holder).unwrap();
            let vfs = Some(powerloss::VFS.to_owned());
            let other = Store::share(OpenOptions { vfs, ..OpenOptions::new(holder.path()) }).unwrap();
            recorder.inject(Fault { kind, after, times: 1 });
            let refusal = other.take_over().wait().err();
            let hits = recorder.heal();
            let context = format!("{kind:?} after {after}");
            if let Some(error) = &refusal {
                assert_typed(error, kind);
                steps[1].store(&holder).unwrap_or_else(|error| panic!("{context}: {error:?}"));
                other.take_over().wait().unwrap();
            }
            let late = steps[2].store(&holder);
            assert!(matches!(late, Err(StoreError::LeaseLost { .. })), "{context}: {late:?}");
            steps[2].store(&other).unwrap();
            assert_eq!(other.read(|reader| reader.verify()).unwrap(), [], "{context}");
            if hits == 0 {
                assert!(after > 0 && refusal.is_none(), "{context}");
                break;
            }
        }
    }
}

/// A page of long messages behind this position.
fn page(behind: u32) -> Vec<Write> {
    let conversation = ConversationId::from_uuid(Uuid::from_u128(1));
    let sent = |at: u32| Event {
        conversation,
        sequence: Sequence(at),
        action: Action::SendMessage,
        initiator: UserId::new(8).unwrap(),
        timestamp: Timestamp(i64::from(at)),
        body: EventBody::MessageSent(MessageContent {
            id: MessageId::from_uuid(Uuid::from_u128(u128::from(at))),
            text: format!("{at} ").repeat(900),
            payload: None,
        }),
        unknown: None,
    };
    let range = SequenceRange::new(Sequence(behind + 1), Sequence(behind + 100)).unwrap();
    vec![
        Write::Events(conversation, range.iter().map(|at| sent(at.get())).collect()),
        Write::Cover(conversation, range),
    ]
}

/// Returns a store whose log is so long that the next idle moment folds it into the file, and its content.
fn with_a_long_log() -> (Image, Content) {
    let folder = look::scratch();
    let store = Store::open(look::file(folder.path())).unwrap();
    // The writer has no idle moment in between, and leaves the log where it is.
    let tickets: Vec<_> = (0..14).map(|number| store.write(page(number * 100))).collect();
    store.leave();
    tickets.into_iter().for_each(|ticket| drop(ticket.wait().unwrap()));
    let image = Image::read(folder.path()).unwrap();
    let log = image.file("store.db-wal").map_or(0, <[u8]>::len);
    assert!(log > 5 << 20, "{log} bytes of log");
    (image, look::content(&look::file(folder.path())).unwrap())
}

/// D-3, D-4, D-10: a log that cannot be folded into the file stays, whenever the power goes, and is folded later.
#[test]
fn a_log_that_the_disk_keeps_from_being_folded_is_folded_later() {
    let (image, expected) = with_a_long_log();
    let found = look::scratch();
    let mut cuts = 0;
    for kind in FaultKind::ALL {
        // Beyond the first few, operations of a checkpoint are all alike.
        for after in (0..8).chain((4..).map(|power| 1 << power)) {
            let (folder, recorder) = folder_with(&image);
            recorder.inject(Fault { kind, after, times: 3 });
            let store = history::open(folder.path(), Durability::Full).unwrap();
            let folds = |operation: &Operation| matches!(operation, Operation::Flush { file } if file == "store.db");
            until("the log is folded", || recorder.operations().iter().any(folds));
            let hits = recorder.heal();
            let context = format!("{kind:?} after {after}");
            assert_eq!(look::content(store.path()), Ok(expected), "{context}");
            assert_eq!(Leftovers::of(&image).of_a_kill(folder.path()), Ok(expected), "{context}, then killed");
            // The moments that matter: behind each flush, refused or not.
            let mut disk = Disk::holding(&image);
            for operation in recorder.operations() {
                disk.apply(&operation);
                if operation.is_flush() {
                    disk.cut(Survival::Flushed).image.lay_out(found.path()).unwrap();
                    let content = look::recovered_by_sqlite(&look::file(found.path()));
                    assert_eq!(content, Ok(expected), "{context}, then cut behind {operation}");
                    cuts += 1;
                }
            }
            if hits == 0 {
                assert!(after > 0, "{context}");
                break;
            }
        }
    }
    println!("{cuts} power cuts around checkpoints");
}
