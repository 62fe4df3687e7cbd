//! What can go wrong between us and the file.

use super::lease::Holder;
use rusqlite::ErrorCode;
use std::borrow::Cow;
use std::path::PathBuf;

/// Why the store could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The file could not be opened, or not prepared for use.
    #[error("cannot open {}", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file, its folder or its lock could not be made or opened.
    #[error("cannot create or open {}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process, or another `Store` of this one, syncs it.
    #[error("{} is in use by {}", path.display(), name(holder))]
    InUse {
        /// Which file.
        path: PathBuf,
        /// Who has it, as far as known.
        holder: Option<Holder>,
    },
    /// Another process took the lease; nothing of the transaction was kept, and nothing of a later one will be.
    #[error("{} syncs the store now", name(holder))]
    LeaseLost {
        /// Who has it now, as far as known.
        holder: Option<Holder>,
    },
    /// The file is something else, or its first page is damaged.
    #[error("{} is not a Backscroll store", path.display())]
    NotAStore {
        /// Which file.
        path: PathBuf,
    },
    /// The file holds a schema this version does not know; it was not touched.
    #[error("{} was written by a newer version (schema {found}, known up to {known})", path.display())]
    Newer {
        /// Which file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
        /// The newest schema this version knows.
        known: i64,
    },
    /// The file holds an older schema and was opened without the right to change it.
    #[error("{} was written by an older version (schema {found}) and must be opened for writing once", path.display())]
    Older {
        /// Which file.
        path: PathBuf,
        /// The schema of the file.
        found: i64,
    },
    /// The schema could not be brought up to date; the file is as it was.
    #[error("cannot migrate {}", path.display())]
    Migration {
        /// Which file.
        path: PathBuf,
        /// What refinery said: an applied migration differs from ours, or SQL failed.
        source: refinery::Error,
    },
    /// A row cannot be what it should be: the file was damaged or changed by somebody else.
    #[error("row {rowid} of {table} holds no valid {expected}")]
    Damaged {
        /// Where.
        table: &'static str,
        /// Which row.
        rowid: i64,
        /// What should have been there.
        expected: &'static str,
    },

    /// SQLite failed; nothing of the transaction was kept.
    #[error("could not {doing}")]
    Sqlite {
        /// What was being done.
        doing: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The application could not keep the tokens of the session, or not give them back; nothing was stored.
    #[error("the application could not keep the tokens")]
    TokenKeeper {
        /// What it said.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The file was given up for a while; it can be used again when it is opened again.
    #[error("the store is paused")]
    Paused,
    /// The writer thread is gone.
    #[error("the store is closed")]
    Closed,
}

impl StoreError {
    /// Returns whether a row cannot be what it should be, and nothing worse.
    pub(super) const fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Sqlite { source, .. } => matches!(
                source,
                rusqlite::Error::FromSqlConversionFailure(..)
                    | rusqlite::Error::IntegralValueOutOfRange(..)
                    | rusqlite::Error::InvalidColumnType(..)
                    | rusqlite::Error::Utf8Error(..)
            ),
            Self::Open { .. }
            | Self::File { .. }
            | Self::InUse { .. }
            | Self::LeaseLost { .. }
            | Self::NotAStore { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Migration { .. }
            | Self::TokenKeeper { .. }
            | Self::Paused
            | Self::Closed => false,
        }
    }

    /// Returns whether the same call may succeed later with nothing changed but the disk's free space
    /// or another process gone.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Open { source, .. } | Self::Sqlite { source, .. } => matches!(
                source.sqlite_error_code(),
                Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked | ErrorCode::DiskFull)
            ),
            Self::InUse { .. } | Self::LeaseLost { .. } | Self::TokenKeeper { .. } | Self::Paused => true,
            Self::File { .. }
            | Self::NotAStore { .. }
            | Self::Newer { .. }
            | Self::Older { .. }
            | Self::Migration { .. }
            | Self::Damaged { .. }
            | Self::Closed => false,
        }
    }
}

fn name(holder: &Option<Holder>) -> Cow<'static, str> {
    holder.as_ref().map_or(Cow::Borrowed("another process"), |holder| holder.to_string().into())
}

/// Says what was being done when SQLite failed.
pub(super) trait Doing<T> {
    /// Wraps the error of SQLite; `doing` completes "could not …".
    fn doing(self, doing: &'static str) -> Result<T, StoreError>;
}

impl<T> Doing<T> for rusqlite::Result<T> {
    fn doing(self, doing: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Sqlite { doing, source })
    }
}
