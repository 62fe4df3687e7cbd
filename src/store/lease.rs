//! Who may write what the server told: one process at a time.
//!
//! Two things make a holder. A **lock** of the operating system on a file beside the store says that it lives: the system
//! takes it back from a process however that ends. A **generation** in the store says whose commits count: each
//! transaction of a holder reads it, and keeps nothing once it is not the one of that holder. So whoever raises the
//! generation is the holder from that commit on, even when the earlier one still believes to be, is stopped or hangs.

use super::connections::Reader;
use super::error::{Doing, StoreError};
use super::value::Columns;
use crate::model::Timestamp;
use rusqlite::{Connection, params};
use std::fmt;
use std::fs::{File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

/// The process that syncs a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// Its number in the operating system.
    pub process: u32,
    /// The name of its program.
    pub program: String,
    /// Since when, by the clock of the machine.
    pub since: Timestamp,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "process {} ({})", self.process, self.program)
    }
}

/// What a process is to a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Role {
    /// It talks to the server and writes what that tells.
    Syncing,
    /// Another one does: this one reads, and adds to the outbox.
    Following {
        /// Who syncs, as far as known.
        holder: Option<Holder>,
    },
}

/// What the row says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) generation: u64,
    /// Who took it last, alive or not; `None` before the first.
    pub(super) holder: Option<Holder>,
}

/// Reads the generation alone: what each transaction pays for.
pub(super) fn generation(connection: &Connection) -> Result<u64, StoreError> {
    connection
        .prepare_cached("SELECT generation FROM lease WHERE id = 1")
        .and_then(|mut select| select.query_row([], |row| row.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .doing("read the lease")
}

/// Reads the row.
pub(super) fn read(connection: &Connection) -> Result<Row, StoreError> {
    const DOING: &str = "read the lease";
    let mut select = connection
        .prepare_cached("SELECT id, generation, process, program, since FROM lease WHERE id = 1")
        .doing(DOING)?;
    let mut rows = select.query([]).doing(DOING)?;
    let missing = StoreError::Damaged { table: "lease", rowid: 1, expected: "row" };
    let row = rows.next().doing(DOING)?.ok_or(missing)?;
    let columns = Columns::new(row, "lease")?;
    let holder = match columns.get::<Option<u32>>(2, "process id")? {
        None => None,
        Some(process) => {
            Some(Holder { process, program: columns.get(3, "name of a program")?, since: columns.get(4, "time")? })
        }
    };
    Ok(Row { generation: columns.get::<i64>(1, "generation")?.unsigned_abs(), holder })
}

/// Makes this process the holder, inside the open transaction, and returns the generation that is now its own.
pub(super) fn take(connection: &Connection) -> Result<u64, StoreError> {
    // The store reads no clock; SQLite's is good enough to tell a person since when.
    connection
        .prepare_cached(
            "UPDATE lease SET generation = generation + 1, process = ?1, program = ?2, since = unixepoch()
             WHERE id = 1 RETURNING generation",
        )
        .and_then(|mut update| update.query_row(params![std::process::id(), own_program()], |row| row.get::<_, i64>(0)))
        .map(i64::unsigned_abs)
        .doing("take the lease")
}

fn own_program() -> String {
    let path = std::env::current_exe().ok();
    let name = path.as_deref().and_then(Path::file_name);
    name.map_or_else(|| "unknown".to_owned(), |name| name.to_string_lossy().into_owned())
}

/// The lock, held until dropped.
#[derive(Debug)]
pub(super) struct Lock {
    _locked: File,
}

impl Lock {
    /// Tries to lock the file beside the store; `None` when another process, or another store of this one, has it.
    pub(super) fn try_take(store: &Path) -> Result<Option<Self>, StoreError> {
        let path = beside(store);
        match super::schema::private_file().create(true).truncate(false).open(&path) {
            Ok(file) => match file.try_lock() {
                Ok(()) => Ok(Some(Self { _locked: file })),
                Err(TryLockError::WouldBlock) => Ok(None),
                Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
            },
            Err(source) => Err(StoreError::File { path, source }),
        }
    }

    /// Returns whether anybody holds the lock right now, without waiting for it and without making the file.
    ///
    /// Looking takes a share of it for an instant: a process that opens the store in that instant follows, until
    /// it tries again.
    pub(super) fn is_taken(store: &Path) -> Result<bool, StoreError> {
        let path = beside(store);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(source) => return Err(StoreError::File { path, source }),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(false),
            Err(TryLockError::WouldBlock) => Ok(true),
            Err(TryLockError::Error(source)) => Err(StoreError::File { path, source }),
        }
    }
}

/// Returns the file that carries the lock. It is one of our own, as SQLite's locks belong to single transactions.
fn beside(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".lock");
    name.into()
}

/// Returns who syncs a store that is not open here; `None` when nobody does, or when that cannot be read.
pub(super) fn holder_of(path: &Path, vfs: Option<&str>) -> Option<Holder> {
    let connection = super::schema::open_read_only(path, vfs).ok()?;
    read(&connection).ok()?.holder
}

impl Reader<'_> {
    /// Returns who synced the store last, alive or not.
    pub(super) fn last_holder(&self) -> Result<Option<Holder>, StoreError> {
        Ok(read(self.connection)?.holder)
    }
}
