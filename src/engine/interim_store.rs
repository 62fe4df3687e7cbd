//! Stands in until the store lands.
use crate::sync::{SavedState, Write};
use std::path::Path;
use std::time::Duration;

/// Why the store failed.
#[derive(Debug, thiserror::Error)]
#[error("the store failed")]
pub struct StoreError;
impl StoreError {
    /// Returns whether it may pass.
    pub fn is_transient(&self) -> bool {
        false
    }
}
/// The store.
#[derive(Clone, Debug)]
pub struct Store;
impl Store {
    pub(crate) fn open(_: &Path) -> Result<Self, StoreError> {
        Ok(Self)
    }
    pub(crate) fn saved_state(&self) -> Result<SavedState, StoreError> {
        Ok(SavedState::default())
    }
    pub(crate) async fn write(&self, _: Vec<Write>) -> Result<(), StoreError> {
        Ok(())
    }
    pub(crate) async fn close(&self, _: Duration) -> Result<(), StoreError> {
        Ok(())
    }
}
