//! Rows of which some cannot be read.

use super::error::{Doing, StoreError};
use rusqlite::{Connection, Params, Row};

/// What was read of many rows, and what cannot be: a damaged row costs what it holds, and nothing beside it.
#[derive(Debug)]
pub(super) struct Sifted<T> {
    pub(super) sound: Vec<T>,
    pub(super) damaged: Vec<StoreError>,
}

impl<T> Sifted<T> {
    pub(super) const fn new() -> Self {
        Self { sound: Vec::new(), damaged: Vec::new() }
    }

    /// Reads all rows of a statement; `doing` completes "could not …".
    pub(super) fn select(
        connection: &Connection,
        sql: &str,
        parameters: impl Params,
        doing: &'static str,
        mut read: impl FnMut(&Row<'_>) -> Result<T, StoreError>,
    ) -> Result<Self, StoreError> {
        let mut select = connection.prepare_cached(sql).doing(doing)?;
        let mut rows = select.query(parameters).doing(doing)?;
        let mut sifted = Self::new();
        while let Some(row) = rows.next().doing(doing)? {
            sifted.add(read(row))?;
        }
        Ok(sifted)
    }

    /// Adds a row as it was read; what is worse than a damaged row ends the reading.
    pub(super) fn add(&mut self, row: Result<T, StoreError>) -> Result<(), StoreError> {
        match row {
            Ok(row) => self.sound.push(row),
            Err(error) if error.is_damage() => self.damaged.push(error),
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Returns all rows, or the first damage.
    pub(super) fn whole(mut self) -> Result<Vec<T>, StoreError> {
        match self.damaged.is_empty() {
            true => Ok(self.sound),
            false => Err(self.damaged.swap_remove(0)),
        }
    }

    /// Goes on with what can be read. The rest stays in the file, where [`verify`](super::Reader::verify) finds it.
    pub(super) fn go_on(self) -> Vec<T> {
        for damage in &self.damaged {
            tracing::error!(%damage, "going on without a damaged row");
        }
        self.sound
    }
}
