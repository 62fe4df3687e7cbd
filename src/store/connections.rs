//! The writer thread, and the read-only connections.

use super::change::{self, ChangeSet};
use super::error::{Doing, StoreError};
use super::{OpenOptions, apply, schema};
use crate::model::UserId;
use crate::sync::Write;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use std::cell::OnceCell;
use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use tokio::sync::{broadcast, oneshot};

/// How many transactions may wait for the writer. A caller that awaits each never has two.
const QUEUE_MAX: usize = 32;

/// How many change sets a listener may fall behind.
const CHANGES_MAX: usize = 256;

/// How many read-only connections there may be: a page can be read while a list is.
const READERS_MAX: usize = 2;

/// The answer to one [`Store::write`](super::Store::write): wait for it in a thread or in a task.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "whether it was stored is known from the ticket only"]
pub struct Ticket(oneshot::Receiver<Result<Arc<ChangeSet>, StoreError>>);

impl Ticket {
    pub(super) fn refused(error: StoreError) -> Self {
        let (answer, ticket) = oneshot::channel();
        // The receiver is alive two lines below, so this cannot fail.
        let _ = answer.send(Err(error));
        Self(ticket)
    }

    /// Blocks until the transaction is stored or refused. Not for use inside a task.
    ///
    /// # Errors
    ///
    /// Why nothing of the transaction was stored.
    pub fn wait(self) -> Result<Arc<ChangeSet>, StoreError> {
        self.0.blocking_recv().unwrap_or(Err(StoreError::Closed))
    }
}

impl Future for Ticket {
    type Output = Result<Arc<ChangeSet>, StoreError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|answer| answer.unwrap_or(Err(StoreError::Closed)))
    }
}

/// What the writer thread is asked for.
enum Job {
    /// Carry out one transaction.
    Write(Vec<Write>, oneshot::Sender<Result<Arc<ChangeSet>, StoreError>>),
    /// End at once; the log stays beside the file.
    Leave,
}

/// The thread that owns the only writable connection.
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    changes: broadcast::Sender<Arc<ChangeSet>>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens the file on the calling thread, so that the caller learns why it cannot be opened.
    pub(super) fn start(options: &OpenOptions) -> Result<Self, StoreError> {
        let (connection, lease) = schema::open_writable(options)?;
        let number = change::last_number(&connection)?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (changes, _) = broadcast::channel(CHANGES_MAX);
        let told = changes.clone();
        let thread = thread::Builder::new()
            .name("backscroll-store".to_owned())
            .spawn(move || {
                Desk { connection, number, told }.serve(&jobs);
                drop(lease);
            })
            .map_err(|source| StoreError::File { path: options.path.clone(), source })?;
        Ok(Self { queue: Some(queue), changes, thread: Some(thread) })
    }

    pub(super) fn write(&self, writes: Vec<Write>) -> Ticket {
        let (answer, ticket) = oneshot::channel();
        match &self.queue {
            // A dead thread drops the job and with it the answer, which the ticket reads as closed.
            Some(queue) => drop(queue.send(Job::Write(writes, answer))),
            None => return Ticket::refused(StoreError::Closed),
        }
        Ticket(ticket)
    }

    /// Ends when what is queued is stored, and leaves tidying up to the next one who opens the file.
    pub(super) fn leave(self) {
        if let Some(queue) = &self.queue {
            // A dead thread has left already.
            queue.send(Job::Leave).ok();
        }
    }

    pub(super) fn subscribe(&self) -> broadcast::Receiver<Arc<ChangeSet>> {
        self.changes.subscribe()
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // Without a sender the thread finishes what is queued and ends.
        self.queue = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer thread panicked");
        }
    }
}

/// What the writer thread works with.
struct Desk {
    connection: Connection,
    /// The number of the newest committed change.
    number: u64,
    told: broadcast::Sender<Arc<ChangeSet>>,
}

impl Desk {
    fn serve(mut self, jobs: &Receiver<Job>) {
        for job in jobs {
            let (writes, answer) = match job {
                Job::Write(writes, answer) => (writes, answer),
                Job::Leave => return self.leave(),
            };
            let stored = self.transaction(&writes).map(Arc::new);
            match &stored {
                Ok(set) if !set.changes.is_empty() => {
                    // No listener is no fault.
                    let _ = self.told.send(Arc::clone(set));
                }
                Ok(_) => {}
                Err(error) => tracing::warn!(error = %error, "a transaction was not stored"),
            }
            // A caller that dropped its ticket does not want to know.
            let _ = answer.send(stored);
        }
        // Statistics for the planner, where they are missing or stale; closing then folds the log into the file.
        if let Err(error) = self.connection.execute_batch("PRAGMA optimize") {
            tracing::debug!(error = %error, "no statistics on closing");
        }
    }

    /// Folding the log into the file takes as long as the log is: a system that suspends us does not wait for it.
    fn leave(self) {
        if let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::debug!(error = %error, "the log is folded into the file on leaving");
        }
    }

    fn transaction(&mut self, writes: &[Write]) -> Result<ChangeSet, StoreError> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).doing("begin a transaction")?;
        let changes = apply::apply(&transaction, writes)?;
        if changes.is_empty() {
            // Rolled back on purpose: there is nothing to keep.
            return Ok(ChangeSet { number: self.number, changes });
        }
        let set = ChangeSet { number: self.number + 1, changes };
        change::record(&transaction, &set)?;
        transaction.commit().doing("commit a transaction")?;
        self.number = set.number;
        Ok(set)
    }
}

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
    use crate::model::{Action, ConversationId, Event, EventBody, MessageContent, MessageId, Sequence, Timestamp};
    use rusqlite::ErrorCode;
    use uuid::Uuid;

    fn page(events: u32) -> Vec<Write> {
        let conversation = ConversationId::from_uuid(Uuid::from_u128(1));
        let sent = |at: u32| Event {
            conversation,
            sequence: Sequence(at),
            action: Action::SendMessage,
            initiator: UserId::new(2).unwrap(),
            timestamp: Timestamp(at.into()),
            body: EventBody::MessageSent(MessageContent {
                id: MessageId::from_uuid(Uuid::from_u128(at.into())),
                text: "many words ".repeat(100),
                payload: None,
            }),
            unknown: None,
        };
        vec![Write::Events(conversation, (1..=events).map(sent).collect())]
    }

    /// D-4, R-08: a full disk is an error of its own, nothing is half stored, and there is no restart.
    #[test]
    fn a_full_disk_refuses_and_the_same_writer_goes_on_once_there_is_room() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(folder.path().join("store.db"));
        let (connection, _lease) = schema::open_writable(&options).unwrap();
        let pages: i64 = connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        connection.pragma_update_and_check(None, "max_page_count", pages + 20, |_| Ok(())).unwrap();
        let (told, _) = broadcast::channel(1);
        let mut desk = Desk { connection, number: 0, told };
        let error = desk.transaction(&page(200)).unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(
            matches!(&error, StoreError::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
        );
        let left: i64 = desk.connection.query_row("SELECT count(*) FROM conversation", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
        assert_eq!(desk.transaction(&page(3)).unwrap().number, 1, "a little fits");
        desk.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        assert_eq!(desk.transaction(&page(200)).unwrap().number, 2);
        assert!(
            Reader::new(&desk.connection)
                .verify()
                .unwrap()
                .iter()
                .all(|found| found.fault == super::super::Fault::Coverage)
        );
    }

    /// D-3: that every commit waits for the disk is seen on the connection itself.
    #[test]
    fn commits_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let (connection, _lease) = schema::open_writable(&OpenOptions::new(folder.path().join("store.db"))).unwrap();
        let synchronous: i64 = connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }

    #[test]
    fn a_reader_cannot_write() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("store.db");
        let (_connection, _lease) = schema::open_writable(&OpenOptions::new(&path)).unwrap();
        let readers = Readers::new(path, None);
        let refused = readers.read(|reader| reader.connection.execute_batch("DELETE FROM user").doing("write"));
        assert!(refused.is_err());
    }
}
