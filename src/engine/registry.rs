//! The engines of this process by their file: opening a file twice gives the engine that is there.

use super::messenger::Shared;
use crate::store::StoreError;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

/// Guards one file while it is being opened.
pub(crate) type Slot = Arc<tokio::sync::Mutex<Weak<Shared>>>;

static SLOTS: Mutex<BTreeMap<PathBuf, Slot>> = Mutex::new(BTreeMap::new());

/// Returns the place of a file, under whatever name it is given.
///
/// Blocks on the disk.
pub(crate) fn slot(path: &Path) -> Result<Slot, StoreError> {
    let identity = identity(path).map_err(|source| StoreError::File { path: path.to_owned(), source })?;
    let mut slots = SLOTS.lock().unwrap_or_else(PoisonError::into_inner);
    // Files that nobody has open, and nobody is opening, are forgotten.
    slots
        .retain(|_, slot| Arc::strong_count(slot) > 1 || slot.try_lock().is_ok_and(|engine| engine.strong_count() > 0));
    Ok(Arc::clone(slots.entry(identity).or_default()))
}

/// Returns the one path that all names of a file lead to; of a file that is to be made, as far as its folder exists.
fn identity(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok(known) = path.canonicalize() {
        return Ok(known);
    }
    let absolute = std::path::absolute(path)?;
    match (absolute.parent().map(Path::canonicalize), absolute.file_name()) {
        (Some(Ok(folder)), Some(name)) => Ok(folder.join(name)),
        _ => Ok(absolute),
    }
}
