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
        let mut sifted = Self { sound: Vec::new(), damaged: Vec::new() };
        while let Some(row) = rows.next().doing(doing)? {
            sifted.add(read(row))?;
        }
        Ok(sifted)
    }

    /// Adds a row as it was read; what is worse than a damaged row ends the reading.
    fn add(&mut self, row: Result<T, StoreError>) -> Result<(), StoreError> {
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
        self.damaged.iter().for_each(log);
        self.sound
    }
}

/// Goes on without what is damaged, likewise; what is worse stays an error.
pub(crate) fn unless_damaged<T>(read: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
    match read {
        Ok(read) => Ok(Some(read)),
        Err(damage) if damage.is_damage() => {
            log(&damage);
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn log(damage: &StoreError) {
    tracing::error!(%damage, "going on without what is damaged");
}
