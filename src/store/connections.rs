//! The read-only connections.

use super::error::{Doing, StoreError};
use super::schema;
use crate::model::UserId;
use rusqlite::Connection;
use std::cell::OnceCell;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How many read-only connections there may be: a page can be read while a list is.
const READERS_MAX: usize = 2;

/// The read-only connections, opened when first needed.
#[derive(Debug)]
pub(super) struct Readers {
    path: PathBuf,
    vfs: Option<String>,
    idle: Mutex<Idle>,
    returned: Condvar,
}

#[derive(Debug, Default)]
struct Idle {
    connections: Vec<Connection>,
    opened: usize,
}

impl Readers {
    pub(super) fn new(path: PathBuf, vfs: Option<String>) -> Self {
        Self { path, vfs, idle: Mutex::default(), returned: Condvar::new() }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the first connection, and learns whether the file can be read.
    pub(super) fn check_schema(&self) -> Result<(), StoreError> {
        self.read(|_| Ok(()))
    }

    pub(super) fn read<T>(&self, question: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let loan = Loan { readers: self, connection: Some(self.borrow()?) };
        let Some(connection) = &loan.connection else { return Err(StoreError::Closed) };
        // One snapshot for all statements of the question; dropped, it ends without a trace.
        let snapshot = connection.unchecked_transaction().doing("begin reading")?;
        question(&Reader::new(&snapshot))
    }

    fn borrow(&self) -> Result<Connection, StoreError> {
        let mut idle = self.lock();
        loop {
            if let Some(connection) = idle.connections.pop() {
                return Ok(connection);
            }
            if idle.opened < READERS_MAX {
                idle.opened += 1;
                drop(idle);
                return schema::open_read_only(&self.path, self.vfs.as_deref()).inspect_err(|_| {
                    self.lock().opened -= 1;
                    self.returned.notify_one();
                });
            }
            idle = self.returned.wait(idle).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Idle> {
        // Nothing is ever half done while the lock is held, so a poisoned one is as good.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection on loan.
struct Loan<'a> {
    readers: &'a Readers,
    connection: Option<Connection>,
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.readers.lock().connections.extend(self.connection.take());
        self.readers.returned.notify_one();
    }
}

/// Answers questions from one snapshot of the store. Each method is one question.
///
/// Whatever a method returns was committed, and all answers of one reader belong together.
///
/// # Errors
///
/// Every method fails with [`StoreError::Sqlite`] when the file cannot be read, and with
/// [`StoreError::Damaged`] when a row holds what it never should.
pub struct Reader<'a> {
    pub(super) connection: &'a Connection,
    /// The user whose store it is, read when first asked for.
    pub(super) own_user: OnceCell<Option<UserId>>,
}

impl<'a> Reader<'a> {
    pub(super) const fn new(connection: &'a Connection) -> Self {
        Self { connection, own_user: OnceCell::new() }
    }
}

impl fmt::Debug for Reader<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reader").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Store;

    /// D-7: no read path can delete, or change anything at all.
    #[test]
    fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let _store = Store::open(&path).unwrap();
        let readers = Readers::new(path, None);
        let refused = readers.read(|reader| reader.connection.execute_batch("DELETE FROM user").doing("write"));
        assert!(refused.is_err());
    }
}
