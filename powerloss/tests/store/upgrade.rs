//! A file of an earlier version on a disk that loses power or refuses while it is brought up to date.

use crate::history;
use crate::look::{self, Content};
use backscroll::store::{Durability, Store, StoreError};
use powerloss::{Fault, FaultKind, Image, Recorder, after_every_operation};
use std::fs;
use std::path::Path;

/// Dice thrown behind each operation.
const THROWS: u64 = 6;

/// Returns the file that the first released version left behind, and what is in it once it is up to date.
fn released() -> (Image, Content) {
    let folder = look::scratch();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/stores/v1.db");
    fs::copy(fixture, look::file(folder.path())).unwrap();
    let image = Image::read(folder.path()).unwrap();
    let store = Store::open(look::file(folder.path())).unwrap();
    assert!(!store.read(|reader| reader.outbox()).unwrap().is_empty(), "there is something to lose");
    (image, look::content(store.path()).unwrap())
}

/// D-6, R-37, R-53: the schema is the old one or the new one, and every event and every entry is there.
#[test]
fn power_loss_anywhere_in_an_upgrade_leaves_a_file_that_opens_with_everything() {
    let (image, expected) = released();
    let folder = look::scratch();
    image.lay_out(folder.path()).unwrap();
    let recorder = Recorder::watch(folder.path()).unwrap();
    let store = history::open(folder.path(), Durability::Full).unwrap();
    let upgraded = recorder.position();
    assert_eq!(look::content(store.path()), Ok(expected));

    let found = look::scratch();
    let mut disks = 0;
    for cut in after_every_operation(&image, &recorder.operations()[..upgraded], THROWS) {
        cut.image.lay_out(found.path()).unwrap();
        let content = look::recovered(&look::file(found.path()));
        assert_eq!(content, Ok(expected), "{:?} behind operation {}", cut.survival, cut.after);
        disks += 1;
    }
    println!("an upgrade of {upgraded} operations: {disks} disks");
    assert!(disks > upgraded);
}

/// D-4, D-6: an upgrade that the disk refuses says so, leaves the file as it was, and is made once the disk allows it.
#[test]
fn an_upgrade_that_the_disk_refuses_is_made_later() {
    let (image, expected) = released();
    let mut refused = 0;
    for kind in FaultKind::ALL {
        for times in [1, 6] {
            for after in 0.. {
                let folder = look::scratch();
                image.lay_out(folder.path()).unwrap();
                let recorder = Recorder::watch(folder.path()).unwrap();
                recorder.inject(Fault { kind, after, times });
                let refusal = history::open(folder.path(), Durability::Full).err();
                let hits = recorder.heal();
                let context = format!("{kind:?} x{times} after {after}: {refusal:?}");
                match &refusal {
                    Some(StoreError::Open { .. } | StoreError::Migration { .. }) => refused += 1,
                    Some(_) => panic!("{context}"),
                    None => {}
                }
                let left = Image::read(folder.path()).unwrap();
                let found = look::scratch();
                left.lay_out(found.path()).unwrap();
                assert_eq!(look::recovered(&look::file(found.path())), Ok(expected), "{context}, then killed");
                let store = history::open(folder.path(), Durability::Full).unwrap();
                assert_eq!(look::content(store.path()), Ok(expected), "{context}, opened again");
                if hits == 0 {
                    assert!(after > 0 && refusal.is_none(), "{context}");
                    break;
                }
            }
        }
    }
    println!("{refused} upgrades refused");
}
