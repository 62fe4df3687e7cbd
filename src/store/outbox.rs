//! The outbox as rows.

use super::connections::Reader;
use super::error::StoreError;
use crate::model::OutboxEntry;

impl Reader<'_> {
    /// Returns every entry held, settled ones included, by rising position.
    pub fn outbox(&self) -> Result<Vec<OutboxEntry>, StoreError> {
        todo!()
    }
}
