//! Write → SQL.

use super::change::Change;
use super::error::StoreError;
use crate::sync::Write;
use rusqlite::Connection;
use std::collections::BTreeSet;

/// Carries out the writes inside the open transaction and returns what they touched.
pub(super) fn apply(connection: &Connection, writes: &[Write]) -> Result<BTreeSet<Change>, StoreError> {
    todo!()
}
