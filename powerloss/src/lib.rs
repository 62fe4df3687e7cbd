//! Power loss and disk faults under SQLite, in one process and repeatable.
//!
//! Killing a process does not show what a power cut does: the kernel still writes what the process
//! left in its cache. So the cut is computed instead. Three parts, in reading order:
//!
//! 1. A [`Recorder`] watches a folder. SQLite connections opened there through the VFS named [`VFS`]
//!    work as ever, while the recorder keeps every change they ask of the disk, flushes included, and
//!    makes chosen ones fail ([`Fault`]).
//! 2. A [`Disk`] is fed these [`Operation`]s and knows at each moment what is certain to survive and what
//!    only may: a write that was not flushed can be there, be missing, or be torn.
//! 3. [`after_every_operation`] yields the [`Image`]s a disk may show when the power comes back, for a cut
//!    behind every operation. A test lays each out in a scratch folder, opens it, and looks.
//!
//! ```
//! use powerloss::{Image, Recorder, after_every_operation};
//! use rusqlite::{Connection, OpenFlags};
//!
//! let folder = tempfile::tempdir()?;
//! let recorder = Recorder::watch(folder.path())?;
//! let store = folder.path().join("store.db");
//! let db = Connection::open_with_flags_and_vfs(&store, OpenFlags::default(), powerloss::VFS)?;
//! db.pragma_update(None, "journal_mode", "wal")?;
//! db.pragma_update(None, "synchronous", "full")?;
//! db.execute_batch("CREATE TABLE note (text TEXT NOT NULL)")?;
//! let begun = recorder.position();
//! db.execute("INSERT INTO note (text) VALUES ('kept')", [])?;
//! let promised = recorder.position();
//!
//! let scratch = tempfile::tempdir_in(powerloss::scratch_root())?;
//! for cut in after_every_operation(&Image::default(), &recorder.operations(), 3).filter(|cut| cut.after >= begun) {
//!     cut.image.lay_out(scratch.path())?;
//!     let found: u32 = Connection::open(scratch.path().join("store.db"))?
//!         .query_row("SELECT count(*) FROM note", [], |row| row.get(0))?;
//!     assert!(found == 1 || (found == 0 && cut.after < promised));
//! }
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! What the model leaves out: reads never fail, a flush never lies without saying so, and a sector is
//! written whole or not at all.

mod disk;
mod recorder;
mod vfs;

pub use disk::{Cut, Disk, Image, SECTOR_BYTES, Survival, after_every_operation, scratch_root};
pub use recorder::{Fault, FaultKind, Operation, Recorder};
pub use vfs::{VFS, make_default};
