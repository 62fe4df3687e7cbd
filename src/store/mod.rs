//! One SQLite file: what the core wants kept, and everything people read.
//!
//! ```text
//!   Write values ──▶ writer thread (the only writable connection) ──▶ commit ──▶ ChangeSet
//!   other processes ──▶ commits in the same file ──▶ noticed ──▶ Standing
//!   questions    ──▶ two read-only connections, each question in one snapshot
//! ```
//!
//! **What "stored" survives.** A [`Ticket`] answers after the commit. From then on the transaction
//! survives the end of the process however it comes, and a power cut: every commit waits for the disk
//! (`synchronous=FULL`). Letting what the server can tell again wait for a later flush would save one a
//! page, and is not safe: when that flush fails, the system drops what waited, and behind the hole in the
//! log every later commit is lost at a power cut, promises ([`Write::is_promise`]) and whole pages alike.
//! The tests of `powerloss` show both.
//!
//! **The log is kept once.** An unedited message's row *is* the event of its birth; every other numbered
//! event has a row of its own. Folding them again must give the rows people read, which is what
//! [`Reader::verify`] checks.
//!
//! This module knows no wire, no link and no clock, and decides nothing: `sync` does.

mod apply;
mod change;
mod connections;
mod contradictions;
mod conversations;
mod coverage;
mod error;
mod events;
mod intent;
mod lease;
mod log;
mod lookup;
mod messages;
mod outbox;
mod people;
#[cfg(test)]
mod plans;
mod rebuild;
mod schema;
mod session;
mod sifted;
mod value;
mod verify;
mod wish;
mod writer;

pub use self::change::{Change, ChangeSet};
pub use self::connections::Reader;
pub use self::contradictions::Mismatch;
pub use self::conversations::{ConversationRow, Preview};
pub use self::coverage::HoleRow;
pub use self::error::StoreError;
pub use self::lease::{Holder, Role};
pub use self::messages::{Item, PAGE_MAX, Window};
pub use self::people::Overview;
pub use self::verify::{Fault, Finding};
pub use self::wish::Wished;
pub use self::writer::{Standing, Ticket};

pub(crate) use self::sifted::unless_damaged;

use self::connections::Readers;
use self::writer::Writer;
use crate::model::Wish;
use crate::sync::{SavedState, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{broadcast, watch};

/// How a store is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenOptions {
    /// The file; made when it is not there, with its folder.
    pub path: PathBuf,
    /// The SQLite VFS to go through; `None` for the platform's own.
    pub vfs: Option<String>,
    /// What commits wait for.
    pub commits: Durability,
}

impl OpenOptions {
    /// Returns the settings everybody should use.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), vfs: None, commits: Durability::Full }
    }
}

/// What a commit waits for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Until the disk has it: survives a power cut.
    #[default]
    Full,
    /// Until the system has it: survives the end of the process only. For promises this is wrong, and
    /// selectable so that tests of power loss can show that they notice.
    Normal,
}

/// An open store. Cheap to share behind an [`Arc`]; dropping it waits for what was queued.
#[derive(Debug)]
pub struct Store {
    // Declared, and so dropped, before the writer: the last connection to close folds the
    // write-ahead log into the main file, and only the writer may.
    readers: Readers,
    writer: Option<Writer>,
}

impl Store {
    /// Opens the file for reading and writing, makes it when it is not there, and migrates it when it is old.
    ///
    /// # Errors
    ///
    /// [`StoreError::InUse`] when it is open for writing elsewhere, [`StoreError::Newer`] when a newer
    /// version wrote it, [`StoreError::NotAStore`] when it is something else; the file is then untouched.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        Self::open_with(OpenOptions::new(path.as_ref()))
    }

    /// As [`Store::open`], with settings.
    ///
    /// # Errors
    ///
    /// As [`Store::open`].
    pub fn open_with(options: OpenOptions) -> Result<Self, StoreError> {
        let writer = Writer::start(&options, false)?;
        Ok(Self { readers: Readers::new(options.path, options.vfs), writer: Some(writer) })
    }

    /// Opens the file as [`Store::open_with`] does, or follows the process that syncs it already.
    ///
    /// A store that follows reads, and adds [wishes](Store::wish). Once the other one is gone it becomes the one that
    /// syncs by itself, within an instant; [`Store::standing`] says so.
    ///
    /// # Errors
    ///
    /// As [`Store::open`], without [`StoreError::InUse`]; [`StoreError::Older`] when the other process has not finished
    /// making or migrating the file.
    pub fn share(options: OpenOptions) -> Result<Self, StoreError> {
        let writer = Writer::start(&options, true)?;
        Ok(Self { readers: Readers::new(options.path, options.vfs), writer: Some(writer) })
    }

    /// Opens the file strictly for reading, be it in use elsewhere or not.
    ///
    /// Never changes a byte of the file, never migrates it and never keeps a writer waiting.
    /// Each [`Store::write`] is refused with [`StoreError::Closed`].
    ///
    /// # Errors
    ///
    /// As [`Store::open`], and [`StoreError::Older`] when the file would have to be migrated first.
    pub fn inspect(path: impl AsRef<Path>) -> Result<Self, StoreError> {
        let readers = Readers::new(path.as_ref().to_owned(), None);
        readers.check_schema()?;
        Ok(Self { readers, writer: None })
    }

    /// Closes the file without tidying it up: what dropping does later, at leisure, the next open makes up for.
    ///
    /// What was queued is stored before. When this returns, nothing of the file is open.
    pub fn leave(self) {
        let Self { readers, writer } = self;
        drop(readers);
        if let Some(writer) = writer {
            writer.leave();
        }
    }

    /// Returns the file.
    pub fn path(&self) -> &Path {
        self.readers.path()
    }

    /// Queues writes as one transaction: all of them are stored, or none.
    ///
    /// Transactions are carried out in the order of the calls. Blocks while as many transactions wait as
    /// the queue holds, which a caller that awaits its tickets never meets.
    #[must_use = "whether it was stored is known from the ticket only"]
    pub fn write(&self, writes: Vec<Write>) -> Ticket {
        match &self.writer {
            Some(writer) => writer.write(writes),
            None => Ticket::refused(StoreError::Closed),
        }
    }

    /// Queues wishes for the process that syncs, as one transaction, whether that is this one or not.
    ///
    /// Waits for other processes up to a minute each time.
    #[must_use = "whether it was stored is known from the ticket only"]
    pub fn wish(&self, wishes: Vec<Wish>) -> Ticket {
        match &self.writer {
            Some(writer) => writer.wish(wishes),
            None => Ticket::refused(StoreError::Closed),
        }
    }

    /// Becomes the process that syncs, whoever it was: once the ticket is answered, nothing that an earlier one
    /// writes is kept.
    #[must_use = "whether it was taken over is known from the ticket only"]
    pub fn take_over(&self) -> Ticket {
        match &self.writer {
            Some(writer) => writer.take_over(),
            None => Ticket::refused(StoreError::Closed),
        }
    }

    /// Returns a watch of what this process is to the file, and how far others got in it; noticed within 100 ms.
    ///
    /// `None` for a store that only [inspects](Store::inspect).
    pub fn standing(&self) -> Option<watch::Receiver<Standing>> {
        self.writer.as_ref().map(Writer::standing)
    }

    /// Returns who syncs the file right now; `None` when nobody does, or nobody has said so yet.
    ///
    /// # Errors
    ///
    /// When the file, or the lock beside it, cannot be read.
    pub fn holder(&self) -> Result<Option<Holder>, StoreError> {
        let own = self.standing().is_some_and(|standing| standing.borrow().role == Role::Syncing);
        if own {
            // Not yet written down, it would name the one before.
            let holder = self.read(|reader| reader.last_holder())?;
            return Ok(holder.filter(|holder| holder.process == std::process::id()));
        }
        if lease::Lock::is_taken(self.path())? { self.read(|reader| reader.last_holder()) } else { Ok(None) }
    }

    /// Listens to what transactions of this store touch, from now on, after each commit.
    ///
    /// A listener that falls far behind loses the oldest sets and is told so; then it reads afresh.
    pub fn subscribe(&self) -> broadcast::Receiver<Arc<ChangeSet>> {
        match &self.writer {
            Some(writer) => writer.subscribe(),
            // Nobody will ever send: the receiver is closed from the start.
            None => broadcast::channel(1).1,
        }
    }

    /// Asks questions, all answered from one snapshot.
    ///
    /// Blocks on the disk, and while both read-only connections are in use; never on the writer.
    ///
    /// # Errors
    ///
    /// What `question` returns, or why no connection could be opened.
    pub fn read<T>(&self, question: impl FnOnce(&Reader<'_>) -> Result<T, StoreError>) -> Result<T, StoreError> {
        self.readers.read(question)
    }

    /// Returns everything the core needs to go on where it was, without what is damaged.
    ///
    /// # Errors
    ///
    /// When the file cannot be read, or the session is damaged: nobody knows then whose file it is.
    pub fn saved_state(&self) -> Result<SavedState, StoreError> {
        self.read(|reader| {
            let mut unreadable = Vec::new();
            Ok(SavedState {
                session: reader.session()?,
                push_tokens: reader.push_tokens()?,
                conversations: reader.sift_saved_conversations(&mut unreadable)?.go_on(),
                unreadable,
                outbox: reader.outbox()?,
                last_position: reader.last_position()?,
                users: reader.user_ids()?,
                heads_cursor: unless_damaged(reader.heads_cursor())?.flatten(),
            })
        })
    }
}
