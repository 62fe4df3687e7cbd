//! A device's file on a disk that loses power.

use crate::world::World;
use crate::world::disk::Disk as Maps;
use crate::world::medium::Medium;
use backscroll::model::Wish;
use backscroll::store::{OpenOptions, Store};
use backscroll::sync::{SavedState, Write};
use fastrand::Rng;
use powerloss::{Disk, Fault, FaultKind, Image, Recorder, Survival};
use std::fmt;
use tempfile::TempDir;

/// Of so many transactions one is cut behind every single operation.
const ENUMERATED: u64 = 40;
/// How many dice are thrown behind each operation then.
const THROWS: u64 = 2;

/// How often things happened to a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Figures {
    commits: u64,
    reopened: u64,
    cuts: u64,
    enumerated: u64,
    refused: u64,
}

impl Figures {
    pub(crate) const fn add(&mut self, other: &Self) {
        self.commits += other.commits;
        self.reopened += other.reopened;
        self.cuts += other.cuts;
        self.enumerated += other.enumerated;
        self.refused += other.refused;
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { commits, reopened, cuts, enumerated, refused } = self;
        write!(
            f,
            "{commits} transactions, {reopened} starts, {cuts} power cuts lived through, {enumerated} more disks looked \
             at, {refused} transactions refused by the disk"
        )
    }
}

/// A file that is used through the recording VFS.
pub(crate) struct File {
    folder: TempDir,
    recorder: Recorder,
    store: Option<Store>,
    /// The disk as the operations up to `seen` left it.
    disk: Disk,
    seen: usize,
    rng: Rng,
    figures: Figures,
}

fn scratch() -> Result<TempDir, String> {
    tempfile::tempdir_in(powerloss::scratch_root()).map_err(|error| error.to_string())
}

fn open(folder: &TempDir) -> Result<Store, String> {
    let options =
        OpenOptions { vfs: Some(powerloss::VFS.to_owned()), ..OpenOptions::new(folder.path().join("store.db")) };
    Store::open_with(options).map_err(|error| format!("D-1: the store does not open: {error:?}"))
}

/// The same state in the same words, whatever order it came in.
fn words(mut state: SavedState, wishes: &[(u64, Wish)]) -> String {
    state.conversations.sort_by_key(|conversation| conversation.id);
    format!("{state:#?} {wishes:#?}")
}

fn held(store: &Store) -> Result<String, String> {
    let state = store.saved_state().and_then(|state| Ok((state, store.read(|reader| reader.wishes())?)));
    let (state, wishes) = state.map_err(|error| format!("D-1: the store does not read: {error:?}"))?;
    Ok(words(state, &wishes))
}

fn expected(maps: &Maps) -> String {
    let wishes: Vec<(u64, Wish)> = maps.waiting_wishes().map(|(number, wish)| (number, wish.clone())).collect();
    words(maps.saved_state(), &wishes)
}

/// D-1, M-1, M-4: the file is sound, and what it shows follows from what it holds.
fn check(store: &Store) -> Result<(), String> {
    let findings = store.read(|reader| reader.verify()).map_err(|error| format!("D-1: {error:?}"))?;
    findings.first().map_or(Ok(()), |finding| Err(format!("D-1, M-1, M-4: {finding}")))
}

/// The first line in which two texts differ.
fn difference(one: &str, other: &str) -> String {
    let pair = one.lines().zip(other.lines()).find(|(one, other)| one != other);
    pair.map_or_else(|| "one is longer".to_owned(), |(one, other)| format!("{} / {}", one.trim(), other.trim()))
}

impl File {
    fn store(&self) -> Result<&Store, String> {
        self.store.as_ref().ok_or_else(|| "the process has ended".to_owned())
    }

    /// Tells the model of the disk everything that was asked of it so far.
    fn catch_up(&mut self, to: usize) {
        let operations = self.recorder.operations_from(self.seen);
        for operation in operations.iter().take(to - self.seen) {
            self.disk.apply(operation);
        }
        self.seen = to;
    }

    /// Goes on from what a disk shows when the power is back.
    fn boot(&mut self, image: &Image) -> Result<(), String> {
        self.store = None;
        let folder = scratch()?;
        image.lay_out(folder.path()).map_err(|error| error.to_string())?;
        self.recorder = Recorder::watch(folder.path()).map_err(|error| error.to_string())?;
        self.folder = folder;
        self.disk = Disk::holding(image);
        self.seen = 0;
        let store = open(&self.folder)?;
        check(&store)?;
        self.store = Some(store);
        Ok(())
    }

    /// Looks at every disk that a power cut could leave behind each operation of a transaction.
    fn enumerate(&mut self, from: usize, before: &str, after: &str) -> Result<(), String> {
        let operations = self.recorder.operations_from(from);
        let mut disk = self.disk.clone();
        for operation in &operations {
            disk.apply(operation);
            let dice = (0..THROWS).map(|_| Survival::Dice(self.rng.u64(..))).collect::<Vec<_>>();
            for survival in [Survival::Flushed, Survival::Everything].into_iter().chain(dice) {
                let folder = scratch()?;
                disk.cut(survival).image.lay_out(folder.path()).map_err(|error| error.to_string())?;
                let store = Store::open(folder.path().join("store.db")).map_err(|error| format!("D-1: {error:?}"))?;
                check(&store)?;
                let found = held(&store)?;
                if found != before && found != after {
                    return Err(format!("D-2: a part of a transaction is there: {}", difference(&found, before)));
                }
                self.figures.enumerated += 1;
            }
        }
        Ok(())
    }
}

impl World<File> {
    /// Returns how often things happened to the files of all devices.
    pub(crate) fn figures(&self) -> Figures {
        let mut all = Figures::default();
        self.devices.iter().for_each(|device| all.add(&device.medium.figures));
        all
    }
}

impl Medium for File {
    fn new(seed: u64) -> Self {
        let folder = scratch().expect("a scratch folder");
        let recorder = Recorder::watch(folder.path()).expect("a folder to watch");
        Self {
            store: Some(open(&folder).expect("a new store")),
            folder,
            recorder,
            disk: Disk::default(),
            seen: 0,
            rng: Rng::with_seed(seed),
            figures: Figures::default(),
        }
    }

    fn commit(&mut self, writes: &[Write], maps: &Maps) -> Result<(), String> {
        self.figures.commits += 1;
        let from = self.recorder.position();
        let is_enumerated = self.figures.commits.is_multiple_of(ENUMERATED);
        if is_enumerated {
            self.catch_up(from);
        }
        self.store()?.write(writes.to_vec()).wait().map_err(|error| format!("D-3: not stored: {error:?}"))?;
        if is_enumerated {
            let after = held(self.store()?)?;
            self.enumerate(from, &expected(maps), &after)?;
        }
        Ok(())
    }

    fn wish(&mut self, wish: &Wish) -> Result<(), String> {
        let wished = self.store()?.wish(vec![wish.clone()]).wait();
        wished.map(drop).map_err(|error| format!("D-3: not wished: {error:?}"))
    }

    fn reopen(&mut self, maps: &Maps) -> Result<(), String> {
        self.figures.reopened += 1;
        // Killed, everything is there that the process had written; without power, what was promised.
        let survival = if self.rng.bool() { Survival::Everything } else { Survival::Dice(self.rng.u64(..)) };
        self.figures.cuts += u64::from(survival != Survival::Everything);
        self.catch_up(self.recorder.position());
        let image = self.disk.cut(survival).image;
        self.boot(&image)?;
        let (found, expected) = (held(self.store()?)?, expected(maps));
        if found == expected {
            Ok(())
        } else {
            Err(format!("D-3, D-5: the file holds something else: {}", difference(&found, &expected)))
        }
    }

    fn refuse(&mut self, writes: &[Write]) -> Result<bool, String> {
        let kind = FaultKind::ALL[self.rng.usize(0..FaultKind::ALL.len())];
        self.recorder.inject(Fault { kind, after: self.rng.u64(0..4), times: self.rng.u64(1..3) });
        let answer = self.store()?.write(writes.to_vec()).wait();
        self.figures.refused += u64::from(answer.is_err());
        self.recorder.heal();
        Ok(answer.is_ok())
    }

    fn die_in(&mut self, writes: &[Write], maps: &Maps, _: &mut Rng) -> Result<bool, String> {
        self.figures.cuts += 1;
        let before = expected(maps);
        let from = self.recorder.position();
        self.store()?.write(writes.to_vec()).wait().map_err(|error| format!("D-3: not stored: {error:?}"))?;
        let (after, to) = (held(self.store()?)?, self.recorder.position());
        let cut_at = self.rng.usize(from..=to);
        self.catch_up(cut_at);
        let image = self.disk.cut(Survival::Dice(self.rng.u64(..))).image;
        self.boot(&image)?;
        let found = held(self.store()?)?;
        match (found == before, found == after) {
            (_, true) => Ok(true),
            (true, false) => Ok(false),
            (false, false) => Err(format!("D-2: a part of a transaction is there: {}", difference(&found, &before))),
        }
    }
}
