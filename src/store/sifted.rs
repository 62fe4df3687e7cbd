//! Rows of which some cannot be read.

use super::error::StoreError;

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
