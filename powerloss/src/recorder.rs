//! What a folder's files went through, and which change is to fail.
//!
//! Knows nothing of SQLite's interface: `vfs` asks this module before it touches a file.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{fmt, fs, mem};

/// One change that was asked of the disk. Files go by their name inside the watched folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// An empty file appeared.
    Create {
        /// Which.
        file: String,
    },
    /// Bytes were written; a gap before them reads as zeros.
    Write {
        /// Where.
        file: String,
        /// From which byte on.
        offset: u64,
        /// What.
        bytes: Vec<u8>,
    },
    /// The file was cut to a length.
    Truncate {
        /// Which.
        file: String,
        /// Its new length in bytes.
        length: u64,
    },
    /// The file's content was flushed. Its name was not: that belongs to the folder.
    Flush {
        /// Which.
        file: String,
    },
    /// The disk refused to flush the file. The kernel takes the writes that waited for written and never
    /// tries them again, so a later flush reports success without them.
    FlushRefused {
        /// Which.
        file: String,
    },
    /// The file's name was taken away.
    Remove {
        /// Which.
        file: String,
    },
    /// The folder was flushed: all names are as asked for.
    FlushFolder,
}

impl fmt::Display for Operation {
    /// Names the operation, without the bytes of a write.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { file } => write!(f, "{file} made"),
            Self::Write { file, offset, bytes } => write!(f, "{} bytes written at {offset} of {file}", bytes.len()),
            Self::Truncate { file, length } => write!(f, "{file} cut to {length} bytes"),
            Self::Flush { file } => write!(f, "{file} flushed"),
            Self::FlushRefused { file } => write!(f, "flush of {file} refused"),
            Self::Remove { file } => write!(f, "{file} removed"),
            Self::FlushFolder => f.write_str("folder flushed"),
        }
    }
}

/// How an operation fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// A write changes nothing and reports an error of the device.
    WriteError,
    /// A write changes nothing and reports a full disk.
    DiskFull,
    /// A write gets half of its bytes down and reports a full disk.
    HalfWrite,
    /// A flush reports an error, and what waited for it is lost: see [`Operation::FlushRefused`].
    FlushError,
}

impl FaultKind {
    /// Every kind there is.
    pub const ALL: [Self; 4] = [Self::WriteError, Self::DiskFull, Self::HalfWrite, Self::FlushError];

    const fn hits_flushes(self) -> bool {
        match self {
            Self::FlushError => true,
            Self::WriteError | Self::DiskFull | Self::HalfWrite => false,
        }
    }
}

/// A plan to make operations fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// How they fail. Decides whether writes or flushes are counted.
    pub kind: FaultKind,
    /// How many still succeed before the first that fails.
    pub after: u64,
    /// How many fail in a row.
    pub times: u64,
}

/// A [`Fault`] and how far it has come.
#[derive(Debug)]
struct Plan {
    fault: Fault,
    counted: u64,
    hits: u64,
}

impl Plan {
    /// Counts one operation and returns how it is to fail, if it is.
    fn next(&mut self, is_flush: bool) -> Option<FaultKind> {
        if self.fault.kind.hits_flushes() != is_flush {
            return None;
        }
        let turn = self.counted;
        self.counted += 1;
        let struck = turn.checked_sub(self.fault.after).is_some_and(|since| since < self.fault.times);
        self.hits += u64::from(struck);
        struck.then_some(self.fault.kind)
    }
}

#[derive(Debug, Default)]
struct State {
    operations: Vec<Operation>,
    /// Names whose content is accounted for, by the folder's first look or by operations.
    known: BTreeSet<String>,
    plan: Option<Plan>,
}

impl State {
    fn strike(&mut self, is_flush: bool) -> Option<FaultKind> {
        self.plan.as_mut()?.next(is_flush)
    }
}

/// The record of one folder, shared by the recorder and the open files.
#[derive(Debug, Default)]
pub(crate) struct Record(Mutex<State>);

/// The folders being watched. SQLite hands a VFS a path and nothing else, so the path is the key.
static WATCHED: Mutex<BTreeMap<PathBuf, Arc<Record>>> = Mutex::new(BTreeMap::new());

/// Locks even after a panic elsewhere: a failed assertion must not turn into an abort inside SQLite.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the record of the folder that `path` lies in, and the name inside; `None` when nobody watches.
pub(crate) fn record_of(path: &Path) -> Option<(Arc<Record>, String)> {
    let record = lock(&WATCHED).get(path.parent()?).cloned()?;
    Some((record, path.file_name()?.to_string_lossy().into_owned()))
}

impl Record {
    /// Takes note of a file that was just opened, and accounts for what others did to it before.
    ///
    /// Content that came around the recorder counts as written and not yet flushed.
    pub(crate) fn opened(&self, file: &str, path: &Path) {
        let mut state = lock(&self.0);
        if state.known.insert(file.to_owned()) {
            state.operations.push(Operation::Create { file: file.to_owned() });
            let bytes = fs::read(path).unwrap_or_default();
            if !bytes.is_empty() {
                state.operations.push(Operation::Write { file: file.to_owned(), offset: 0, bytes });
            }
        }
    }

    /// Lets `write` put `bytes` down, all, half of them or none, and returns how it is to fail.
    ///
    /// The lock is held meanwhile, so that the record has the order of the disk.
    pub(crate) fn write<E>(
        &self,
        file: &str,
        offset: u64,
        bytes: &[u8],
        write: impl FnOnce(&[u8]) -> Result<(), E>,
    ) -> Result<Option<FaultKind>, E> {
        let mut state = lock(&self.0);
        let fault = state.strike(false);
        let kept = match fault {
            None => bytes,
            Some(FaultKind::HalfWrite) => &bytes[..bytes.len() / 2],
            Some(FaultKind::WriteError | FaultKind::DiskFull | FaultKind::FlushError) => return Ok(fault),
        };
        write(kept)?;
        state.operations.push(Operation::Write { file: file.to_owned(), offset, bytes: kept.to_vec() });
        Ok(fault)
    }

    /// Lets `truncate` cut the file.
    pub(crate) fn truncate<E>(
        &self,
        file: &str,
        length: u64,
        truncate: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = lock(&self.0);
        truncate()?;
        state.operations.push(Operation::Truncate { file: file.to_owned(), length });
        Ok(())
    }

    /// Notes a flush, with one of the folder behind it when asked for, and returns whether it succeeded.
    ///
    /// Nothing is really flushed: the record decides what is durable, and a real flush costs time only.
    pub(crate) fn flush(&self, file: &str, folder_too: bool) -> bool {
        let mut state = lock(&self.0);
        let file = file.to_owned();
        if state.strike(true).is_some() {
            state.operations.push(Operation::FlushRefused { file });
            return false;
        }
        state.operations.push(Operation::Flush { file });
        if folder_too {
            state.operations.push(Operation::FlushFolder);
        }
        true
    }

    /// Lets `remove` take the name away, and notes whether the folder was flushed behind it.
    pub(crate) fn remove<E>(
        &self,
        file: &str,
        folder_too: bool,
        remove: impl FnOnce() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut state = lock(&self.0);
        remove()?;
        state.known.remove(file);
        state.operations.push(Operation::Remove { file: file.to_owned() });
        if folder_too {
            state.operations.push(Operation::FlushFolder);
        }
        Ok(())
    }
}

/// Watches a folder until dropped.
///
/// Only files opened through the VFS named [`VFS`](crate::VFS) are seen; of those, SQLite's
/// shared-memory files are not, as they never survive a restart. Several recorders may be at work at the
/// same time, in one test or in many, each with a folder of its own.
#[derive(Debug)]
pub struct Recorder {
    folder: PathBuf,
    record: Arc<Record>,
}

impl Recorder {
    /// Begins to watch `folder`. What lies in it now counts as durable.
    ///
    /// # Errors
    ///
    /// When the folder cannot be read, or is being watched already ([`io::ErrorKind::AlreadyExists`]).
    pub fn watch(folder: &Path) -> io::Result<Self> {
        crate::vfs::register();
        let folder = fs::canonicalize(folder)?;
        let mut state = State::default();
        for entry in fs::read_dir(&folder)? {
            state.known.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        let record = Arc::new(Record(Mutex::new(state)));
        let mut watched = lock(&WATCHED);
        if watched.contains_key(&folder) {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "another recorder watches this folder"));
        }
        watched.insert(folder.clone(), Arc::clone(&record));
        Ok(Self { folder, record })
    }

    /// Returns how many operations were recorded so far.
    ///
    /// What a caller was promised before this moment must survive every cut at this position or behind it.
    pub fn position(&self) -> usize {
        lock(&self.record.0).operations.len()
    }

    /// Returns everything recorded so far, in the order in which it reached the disk.
    pub fn operations(&self) -> Vec<Operation> {
        self.operations_from(0)
    }

    /// Returns what was recorded from a position on; empty when there is nothing yet.
    pub fn operations_from(&self, position: usize) -> Vec<Operation> {
        lock(&self.record.0).operations.iter().skip(position).cloned().collect()
    }

    /// Makes operations fail from now on, as planned. Replaces an earlier plan.
    pub fn inject(&self, fault: Fault) {
        lock(&self.record.0).plan = Some(Plan { fault, counted: 0, hits: 0 });
    }

    /// Ends the plan and returns how many operations it made fail; zero when there was none.
    pub fn heal(&self) -> u64 {
        mem::take(&mut lock(&self.record.0).plan).map_or(0, |plan| plan.hits)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        lock(&WATCHED).remove(&self.folder);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_spares_what_comes_before_and_behind() {
        let fault = Fault { kind: FaultKind::DiskFull, after: 2, times: 2 };
        let mut plan = Plan { fault, counted: 0, hits: 0 };
        assert_eq!(plan.next(true), None);
        let struck: Vec<bool> = (0..6).map(|_| plan.next(false).is_some()).collect();
        assert_eq!(struck, [false, false, true, true, false, false]);
        assert_eq!(plan.hits, 2);
    }
}
