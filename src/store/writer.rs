//! The writer thread: its queue, and what it does between two jobs.

use super::change::{self, ChangeSet};
use super::error::{Doing, StoreError};
use super::lease::{self, Lock, Role};
use super::{OpenOptions, apply, schema, wish};
use crate::model::Wish;
use crate::sync::Write;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, TransactionBehavior};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::task::{Context, Poll};
use std::thread::{self, JoinHandle};
use std::time::Duration;
use tokio::sync::{broadcast, oneshot, watch};

/// How many transactions may wait for the writer. A caller that awaits each never has two.
const QUEUE_MAX: usize = 32;

/// How many change sets a listener may fall behind.
const CHANGES_MAX: usize = 256;

/// How long an idle writer waits before it looks what other processes did: people call 200 ms at once, and two such
/// waits lie between a wish here and what becomes of it there.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// How often one who lost the lease looks, before it tries to get it back: two seconds, in which the winner finds the
/// lock free.
const LOOKS_AFTER_LOSS: u32 = 40;

/// Pages of log that an idle moment is worth a checkpoint for: 4 MiB.
const IDLE_CHECKPOINT: u32 = 1_000;

/// Pages of log after which a checkpoint waits for no idle moment: 16 MiB. Pages written again and again reach the main
/// file once in so many: a fifth less time.
const BUSY_CHECKPOINT: u32 = 4_000;

/// Pages of log after which a checkpoint waits for readers, so that the log begins anew and stays below 64 MiB.
const WAITING_CHECKPOINT: u32 = 12_000;

/// The answer to one [`Store::write`](super::Store::write): wait for it in a thread or in a task.
///
/// Dropping it cancels nothing.
#[derive(Debug)]
#[must_use = "whether it was stored is known from the ticket only"]
pub struct Ticket(oneshot::Receiver<Stored>);

/// How a transaction went.
type Stored = Result<Arc<ChangeSet>, StoreError>;

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

/// How a store stands to its file, and how far other processes got in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// What this process is to the file.
    pub role: Role,
    /// The number of the newest change that another process made, as far as noticed.
    pub changed_elsewhere: u64,
}

/// What the writer thread is asked for.
enum Job {
    /// Carry out what the core wants, as one transaction.
    Write(Vec<Write>, oneshot::Sender<Stored>),
    /// Add wishes for the process that syncs, as one transaction.
    Wish(Vec<Wish>, oneshot::Sender<Stored>),
    /// Take the lease from whoever has it.
    TakeOver(oneshot::Sender<Stored>),
    /// End at once; the log stays beside the file.
    Leave,
}

/// The thread that owns the only writable connection.
pub(super) struct Writer {
    queue: Option<SyncSender<Job>>,
    changes: broadcast::Sender<Arc<ChangeSet>>,
    standing: watch::Receiver<Standing>,
    thread: Option<JoinHandle<()>>,
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Writer").finish_non_exhaustive()
    }
}

impl Writer {
    /// Opens the file on the calling thread, so that the caller learns why it cannot be opened.
    ///
    /// While another process syncs it, it is opened only if it `may_follow`.
    pub(super) fn start(options: &OpenOptions, may_follow: bool) -> Result<Self, StoreError> {
        let desk = Desk::open(options, may_follow)?;
        let (queue, jobs) = sync_channel(QUEUE_MAX);
        let (changes, standing) = (desk.told.clone(), desk.standing.subscribe());
        let thread = thread::Builder::new()
            .name("backscroll-store".to_owned())
            .spawn(move || desk.serve(&jobs))
            .map_err(|source| StoreError::File { path: options.path.clone(), source })?;
        Ok(Self { queue: Some(queue), changes, standing, thread: Some(thread) })
    }

    pub(super) fn write(&self, writes: Vec<Write>) -> Ticket {
        self.ask(|answer| Job::Write(writes, answer))
    }

    pub(super) fn wish(&self, wishes: Vec<Wish>) -> Ticket {
        self.ask(|answer| Job::Wish(wishes, answer))
    }

    pub(super) fn take_over(&self) -> Ticket {
        self.ask(Job::TakeOver)
    }

    fn ask(&self, job: impl FnOnce(oneshot::Sender<Stored>) -> Job) -> Ticket {
        let (answer, ticket) = oneshot::channel();
        match &self.queue {
            // A dead thread drops the job and with it the answer, which the ticket reads as closed.
            Some(queue) => drop(queue.send(job(answer))),
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

    pub(super) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.clone()
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

/// The right to write what the server told.
struct Tenure {
    /// `None` while an earlier holder that the lease was taken from still has it.
    lock: Option<Lock>,
    /// What the row must say for a transaction to count.
    generation: u64,
    /// Whether that generation is our own: it is raised with the first transaction, so that opening costs no commit.
    claimed: bool,
}

/// What the writer thread works with.
///
/// ```text
///              lock free, or taken over            another generation found
///   following ──────────────────────────▶ tenure ──────────────────────────▶ following
/// ```
pub(super) struct Desk {
    connection: Connection,
    path: PathBuf,
    tenure: Option<Tenure>,
    /// How often to look before the lock is tried.
    looks_to_wait: u32,
    /// The number of the newest change known.
    number: u64,
    /// SQLite's own mark of what other connections committed; `None` before the first look.
    data_version: Option<i64>,
    log: Log,
    told: broadcast::Sender<Arc<ChangeSet>>,
    standing: watch::Sender<Standing>,
}

/// How long the write-ahead log is, in pages.
struct Log {
    /// After the newest commit here.
    pages: Arc<AtomicU32>,
    /// At the last checkpoint, while the log has not begun anew since.
    copied: u32,
}

impl Desk {
    pub(super) fn open(options: &OpenOptions, may_follow: bool) -> Result<Self, StoreError> {
        let path = options.path.clone();
        schema::create_private(&path)?;
        let lock = Lock::try_take(&path)?;
        if lock.is_none() && !may_follow {
            return Err(StoreError::InUse { holder: lease::holder_of(&path, options.vfs.as_deref()), path });
        }
        let mut connection = schema::open_writable(options, lock.is_some())?;
        let pages = Arc::new(AtomicU32::new(0));
        let noted = Arc::clone(&pages);
        let note = move |_: &mut rusqlite::hooks::Wal, pages: std::ffi::c_int| {
            noted.store(pages.unsigned_abs(), Ordering::Relaxed);
            Ok(())
        };
        connection.wal_hook(Some(note)).map_err(|source| StoreError::Open { path: path.clone(), source })?;
        let row = lease::read(&connection)?;
        let number = change::last_number(&connection)?;
        let tenure = lock.map(|lock| Tenure { lock: Some(lock), generation: row.generation, claimed: false });
        let role = if tenure.is_some() { Role::Syncing } else { Role::Following { holder: row.holder } };
        Ok(Self {
            connection,
            path,
            tenure,
            looks_to_wait: 0,
            number,
            data_version: None,
            log: Log { pages, copied: 0 },
            told: broadcast::channel(CHANGES_MAX).0,
            standing: watch::channel(Standing { role, changed_elsewhere: number }).0,
        })
    }

    fn serve(mut self, jobs: &Receiver<Job>) {
        loop {
            let idle = match jobs.recv_timeout(LOOK_INTERVAL) {
                Ok(Job::Leave) => return self.leave(),
                Ok(Job::Write(writes, answer)) => self.do_job(answer, |desk| desk.write(&writes)),
                Ok(Job::Wish(wishes, answer)) => self.do_job(answer, |desk| desk.wish(&wishes)),
                Ok(Job::TakeOver(answer)) => self.do_job(answer, Self::take_over),
                Err(RecvTimeoutError::Timeout) => true,
                Err(RecvTimeoutError::Disconnected) => break,
            };
            let looked = if idle { self.claim() } else { Ok(()) }.and_then(|()| self.look());
            if let Err(error) = looked.and_then(|()| self.checkpoint(idle)) {
                // Tried again at the next look.
                tracing::debug!(error = %error, "could not look after the file");
            }
        }
        // Statistics for the planner, where they are missing or stale; closing then folds the log into the file.
        if self.tenure.is_some()
            && let Err(error) = self.connection.execute_batch("PRAGMA optimize")
        {
            tracing::debug!(error = %error, "no statistics on closing");
        }
        // Whoever gets the lock next finds the file closed.
        let Self { connection, tenure, .. } = self;
        drop(connection);
        drop(tenure);
    }

    /// Folding the log into the file takes as long as the log is: a system that suspends us does not wait for it.
    fn leave(self) {
        if let Err(error) = self.connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true) {
            tracing::debug!(error = %error, "the log is folded into the file on leaving");
        }
        let Self { connection, tenure, .. } = self;
        drop(connection);
        drop(tenure);
    }

    /// Carries out a job and answers it. Returns that the moment is not idle.
    fn do_job(
        &mut self,
        answer: oneshot::Sender<Stored>,
        job: impl FnOnce(&mut Self) -> Result<ChangeSet, StoreError>,
    ) -> bool {
        let stored = job(self).map(Arc::new);
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
        false
    }

    pub(super) fn write(&mut self, writes: &[Write]) -> Result<ChangeSet, StoreError> {
        let Some(tenure) = &mut self.tenure else { return Err(StoreError::LeaseLost { holder: self.holder()? }) };
        let transaction = begin(&self.connection)?;
        if lease::generation(&transaction)? != tenure.generation {
            drop(transaction);
            let holder = self.holder()?;
            self.lose(holder.clone());
            return Err(StoreError::LeaseLost { holder });
        }
        let touched = apply::apply(&transaction, writes)?;
        if touched.changes.is_empty() {
            // Rolled back on purpose: there is nothing to keep.
            return Ok(ChangeSet { number: self.number, ..touched });
        }
        if !tenure.claimed {
            let generation = lease::take(&transaction)?;
            let set = commit(transaction, touched)?;
            (tenure.generation, tenure.claimed) = (generation, true);
            return Ok(self.committed(set));
        }
        let set = commit(transaction, touched)?;
        Ok(self.committed(set))
    }

    fn wish(&mut self, wishes: &[Wish]) -> Result<ChangeSet, StoreError> {
        let transaction = begin(&self.connection)?;
        let changes = wish::add(&transaction, wishes)?;
        let set = commit(transaction, ChangeSet { changes, ..ChangeSet::default() })?;
        Ok(self.committed(set))
    }

    /// Takes the lease, whoever has it: from this commit on nothing of the earlier holder counts.
    fn take_over(&mut self) -> Result<ChangeSet, StoreError> {
        let unchanged = ChangeSet { number: self.number, ..ChangeSet::default() };
        if self.tenure.is_some() {
            return Ok(unchanged);
        }
        let lock = Lock::try_take(&self.path)?;
        let transaction = begin(&self.connection)?;
        let generation = lease::take(&transaction)?;
        transaction.commit().doing("take the lease")?;
        self.begin_tenure(lock, generation, true);
        Ok(unchanged)
    }

    fn begin_tenure(&mut self, lock: Option<Lock>, generation: u64, claimed: bool) {
        self.tenure = Some(Tenure { lock, generation, claimed });
        self.standing.send_if_modified(|standing| {
            let changed = standing.role != Role::Syncing;
            standing.role = Role::Syncing;
            changed
        });
    }

    /// Another process is the holder now: the lock goes, so that it finds it free.
    fn lose(&mut self, holder: Option<lease::Holder>) {
        self.tenure = None;
        self.looks_to_wait = LOOKS_AFTER_LOSS;
        self.standing.send_modify(|standing| standing.role = Role::Following { holder });
    }

    fn holder(&self) -> Result<Option<lease::Holder>, StoreError> {
        Ok(lease::read(&self.connection)?.holder)
    }

    /// Writes down who syncs, when there was no transaction to do it with.
    fn claim(&mut self) -> Result<(), StoreError> {
        let Some(tenure) = self.tenure.as_mut().filter(|tenure| !tenure.claimed) else { return Ok(()) };
        let transaction = begin(&self.connection)?;
        if lease::generation(&transaction)? == tenure.generation {
            let generation = lease::take(&transaction)?;
            transaction.commit().doing("take the lease")?;
            (tenure.generation, tenure.claimed) = (generation, true);
        }
        Ok(())
    }

    /// Looks what other processes did, and then for a lock that became free.
    fn look(&mut self) -> Result<(), StoreError> {
        self.look_for_changes()?;
        self.look_for_the_lock()
    }

    fn look_for_changes(&mut self) -> Result<(), StoreError> {
        let version = self
            .connection
            .prepare_cached("PRAGMA data_version")
            .and_then(|mut select| select.query_row([], |row| row.get(0)))
            .doing("look for changes")?;
        if self.data_version == Some(version) {
            return Ok(());
        }
        let row = lease::read(&self.connection)?;
        let number = change::last_number(&self.connection)?;
        match &self.tenure {
            Some(tenure) if tenure.generation != row.generation => self.lose(row.holder),
            Some(_) => {}
            None => {
                let role = Role::Following { holder: row.holder };
                let has_changed = self.standing.send_if_modified(|standing| {
                    let changed = standing.role != role;
                    standing.role = role;
                    changed
                });
                if has_changed {
                    // Whoever took over may still have to find the lock free.
                    self.looks_to_wait = LOOKS_AFTER_LOSS;
                }
            }
        }
        if number > self.number {
            self.changed_elsewhere(number);
        }
        self.data_version = Some(version);
        Ok(())
    }

    fn look_for_the_lock(&mut self) -> Result<(), StoreError> {
        if self.looks_to_wait > 0 {
            self.looks_to_wait -= 1;
            return Ok(());
        }
        match &mut self.tenure {
            Some(Tenure { lock: Some(_), .. }) => {}
            Some(tenure) => tenure.lock = Lock::try_take(&self.path)?,
            None => {
                if let Some(lock) = Lock::try_take(&self.path)? {
                    // The holder is gone, or took over and has not found the lock free yet. Then it writes until the
                    // generation is another, so that has to be before anything is read for the new core.
                    let transaction = begin(&self.connection)?;
                    let generation = lease::take(&transaction)?;
                    transaction.commit().doing("take the lease")?;
                    self.begin_tenure(Some(lock), generation, true);
                }
            }
        }
        Ok(())
    }

    fn changed_elsewhere(&mut self, number: u64) {
        self.number = number;
        self.standing.send_modify(|standing| standing.changed_elsewhere = number);
    }

    /// Notes a commit of our own, and one of others that it may have found before it.
    fn committed(&mut self, set: ChangeSet) -> ChangeSet {
        if set.number > self.number + 1 {
            self.changed_elsewhere(set.number - 1);
        }
        self.number = self.number.max(set.number);
        set
    }

    /// Folds the log into the main file, outside every commit: nobody waits for it who asked for a transaction.
    fn checkpoint(&mut self, idle: bool) -> Result<(), StoreError> {
        if self.tenure.is_none() {
            return Ok(());
        }
        let pages = self.log.pages.load(Ordering::Relaxed);
        if pages < self.log.copied {
            // It began anew.
            self.log.copied = 0;
        }
        let fresh = pages - self.log.copied;
        if fresh < if idle { IDLE_CHECKPOINT } else { BUSY_CHECKPOINT } {
            return Ok(());
        }
        let sql = if pages < WAITING_CHECKPOINT {
            "PRAGMA wal_checkpoint(PASSIVE)"
        } else {
            "PRAGMA wal_checkpoint(RESTART)"
        };
        self.connection.query_row(sql, [], |_| Ok(())).doing("fold the log into the file")?;
        self.log.copied = pages;
        Ok(())
    }
}

fn begin(connection: &Connection) -> Result<rusqlite::Transaction<'_>, StoreError> {
    // The thread has one connection and never begins a second transaction on it.
    rusqlite::Transaction::new_unchecked(connection, TransactionBehavior::Immediate).doing("begin a transaction")
}

/// Commits, with the next number of all processes.
fn commit(transaction: rusqlite::Transaction<'_>, touched: ChangeSet) -> Result<ChangeSet, StoreError> {
    let set = ChangeSet { number: change::last_number(&transaction)? + 1, ..touched };
    change::record(&transaction, &set)?;
    transaction.commit().doing("commit a transaction")?;
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        Action, ConversationId, Event, EventBody, MessageContent, MessageId, Sequence, Timestamp, UserId,
    };
    use crate::store::{Fault, Reader};
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
        let mut desk = Desk::open(&options, false).unwrap();
        let pages: i64 = desk.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
        desk.connection.pragma_update_and_check(None, "max_page_count", pages + 20, |_| Ok(())).unwrap();
        let error = desk.write(&page(200)).unwrap_err();
        assert!(error.is_transient(), "{error}");
        assert!(
            matches!(&error, StoreError::Sqlite { source, .. } if source.sqlite_error_code() == Some(ErrorCode::DiskFull))
        );
        let left: i64 = desk.connection.query_row("SELECT count(*) FROM conversation", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
        assert_eq!(desk.write(&page(3)).unwrap().number, 1, "a little fits");
        desk.connection.pragma_update_and_check(None, "max_page_count", 1_000_000, |_| Ok(())).unwrap();
        assert_eq!(desk.write(&page(200)).unwrap().number, 2);
        assert!(Reader::new(&desk.connection).verify().unwrap().iter().all(|found| found.fault == Fault::Coverage));
    }

    /// R-46: a third process that finds the lock free, before the one that took over does, shares no generation with it.
    #[test]
    fn whoever_finds_the_lock_free_is_the_only_one_whose_transactions_count() {
        let folder = tempfile::tempdir().unwrap();
        let options = OpenOptions::new(folder.path().join("store.db"));
        let open = || Desk::open(&options, true).unwrap();
        let (mut holder, mut winner, mut third) = (open(), open(), open());
        assert_eq!(holder.write(&page(1)).unwrap().number, 1);
        winner.take_over().unwrap();
        third.look().unwrap();
        holder.look().unwrap();
        assert!(holder.tenure.is_none());
        third.look().unwrap();
        assert!(third.tenure.is_none(), "whoever took over is let go first");
        third.looks_to_wait = 0;
        third.look().unwrap();
        assert!(third.tenure.is_some());
        assert!(matches!(winner.write(&[]), Err(StoreError::LeaseLost { .. })), "a transaction of nothing asks");
        assert!(matches!(winner.write(&page(2)), Err(StoreError::LeaseLost { .. })));
        assert_eq!(third.write(&page(2)).unwrap().number, 2);
    }

    /// D-3: that every commit waits for the disk is seen on the connection itself.
    #[test]
    fn commits_wait_for_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let desk = Desk::open(&OpenOptions::new(folder.path().join("store.db")), false).unwrap();
        let synchronous: i64 = desk.connection.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
        assert_eq!(synchronous, 2, "FULL");
    }
}
