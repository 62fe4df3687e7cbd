//! The store as tasks use it: the driver writes, handles read, and closing waits for both.

use crate::store::{Reader, Store, StoreError};
use crate::sync::{SavedState, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;

/// How long closing waits for reads under way and for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// A store that many share, until it is closed for all of them.
///
/// The lock guards against closing only: whoever uses the store shares it. SQLite blocks, so every use is on a
/// thread that may.
#[derive(Clone, Debug)]
pub(crate) struct OpenStore(Arc<RwLock<Option<Store>>>);

impl OpenStore {
    /// Opens a file for reading and writing, makes and migrates it as needed.
    pub(crate) async fn open(path: PathBuf) -> Result<Self, StoreError> {
        let store = blocking(move || Store::open(path)).await?;
        Ok(Self(Arc::new(RwLock::new(Some(store)))))
    }

    /// Opens a file strictly for reading, be it in use elsewhere or not.
    pub(crate) async fn inspect(path: PathBuf) -> Result<Self, StoreError> {
        let store = blocking(move || Store::inspect(path)).await?;
        Ok(Self(Arc::new(RwLock::new(Some(store)))))
    }

    /// Stores all of `writes`, or none. Durable when it returns.
    pub(crate) async fn write(&self, writes: Vec<Write>) -> Result<(), StoreError> {
        // The queue behind this has room: the driver is the only one who writes, and waits each time.
        let ticket = self.0.read().await.as_ref().ok_or(StoreError::Closed)?.write(writes);
        ticket.await.map(drop)
    }

    /// Asks questions, all answered from one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.0).read_owned().await;
        blocking(move || shared.as_ref().ok_or(StoreError::Closed)?.read(question)).await
    }

    /// Returns everything the core needs to go on where it was.
    pub(crate) async fn saved_state(&self) -> Result<SavedState, StoreError> {
        let shared = Arc::clone(&self.0).read_owned().await;
        blocking(move || shared.as_ref().ok_or(StoreError::Closed)?.saved_state()).await
    }

    /// Closes the file for all who share it. What was queued is stored before.
    ///
    /// Returns whether that was over within two seconds; if not it goes on in the background.
    pub(crate) async fn close(&self) -> bool {
        let shared = Arc::clone(&self.0);
        let closing = async move {
            let store = shared.write_owned().await.take();
            tokio::task::spawn_blocking(move || drop(store)).await
        };
        matches!(tokio::time::timeout(CLOSE_TIMEOUT, tokio::spawn(closing)).await, Ok(Ok(Ok(()))))
    }
}

/// Runs what blocks on a thread that may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(outcome) => outcome,
        Err(stopped) => match stopped.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down.
            Err(_cancelled) => Err(StoreError::Closed),
        },
    }
}
