//! The store as tasks use it: the driver writes, handles read, and closing or pausing waits for both.

use super::TokenKeeper;
use crate::model::{Tokens, Wish};
use crate::store::{ChangeSet, Holder, OpenOptions, Reader, Role, Standing, Store, StoreError};
use crate::sync::{SavedState, Write};
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{RwLock, watch};

/// How long closing waits for reads under way and for the writer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// How long opening waits for another process that is just making or migrating the file.
const MADE_TIMEOUT: Duration = Duration::from_secs(10);

/// How often it looks whether that is done.
const MADE_INTERVAL: Duration = Duration::from_millis(20);

/// A store that many share, until it is closed for all of them.
///
/// The lock guards against closing only: whoever uses the store shares it. SQLite blocks, so every use is on a
/// thread that may.
#[derive(Clone)]
pub(crate) struct OpenStore {
    path: PathBuf,
    shared: Arc<RwLock<State>>,
    /// Who keeps the tokens in place of the file.
    keeper: Option<Arc<dyn TokenKeeper>>,
}

/// Whether there is a file to use.
///
/// ```text
///   Open ──▶ Paused ──▶ Open
///     └────────┴──▶ Closed
/// ```
#[derive(Debug)]
enum State {
    Open(Store),
    Paused,
    Closed,
}

impl State {
    const fn store(&self) -> Result<&Store, StoreError> {
        match self {
            Self::Open(store) => Ok(store),
            Self::Paused => Err(StoreError::Paused),
            Self::Closed => Err(StoreError::Closed),
        }
    }
}

impl OpenStore {
    /// Opens a file, makes and migrates it as needed; while another process syncs it, follows that.
    pub(crate) async fn open(path: PathBuf, keeper: Option<Arc<dyn TokenKeeper>>) -> Result<Self, StoreError> {
        let store = share(path.clone()).await?;
        Ok(Self { path, shared: Arc::new(RwLock::new(State::Open(store))), keeper })
    }

    /// Opens a file strictly for reading, be it in use elsewhere or not.
    pub(crate) async fn inspect(path: PathBuf) -> Result<Self, StoreError> {
        let named = path.clone();
        let store = blocking(move || Store::inspect(named)).await?;
        Ok(Self { path, shared: Arc::new(RwLock::new(State::Open(store))), keeper: None })
    }

    /// Stores all of `writes`, or none. Durable when it returns.
    ///
    /// New tokens are kept by their keeper first: when the rest fails, the newest pair is still the one that works.
    pub(crate) async fn write(&self, mut writes: Vec<Write>) -> Result<Arc<ChangeSet>, StoreError> {
        if let Some(keeper) = &self.keeper {
            let mut newest = None;
            for write in &mut writes {
                if let Write::Session(session) = write {
                    newest = Some(session.tokens.take());
                }
            }
            if let Some(tokens) = newest {
                let keeper = Arc::clone(keeper);
                blocking(move || keep(&*keeper, tokens.as_ref())).await?;
            }
        }
        // The queue behind this has room: the driver is the only one who writes, and waits each time.
        let ticket = self.shared.read().await.store()?.write(writes);
        ticket.await
    }

    /// Adds wishes for the process that syncs. Durable when it returns.
    pub(crate) async fn wish(&self, wishes: Vec<Wish>) -> Result<(), StoreError> {
        let ticket = self.shared.read().await.store()?.wish(wishes);
        ticket.await.map(drop)
    }

    /// Becomes the process that syncs, whoever it was.
    pub(crate) async fn take_over(&self) -> Result<(), StoreError> {
        let ticket = self.shared.read().await.store()?.take_over();
        ticket.await.map(drop)
    }

    /// Returns what this process is to the file, to be watched.
    pub(crate) async fn standing(&self) -> Result<Standings, StoreError> {
        Ok(Standings(self.shared.read().await.store()?.standing()))
    }

    /// Returns who syncs the file right now.
    pub(crate) async fn holder(&self) -> Result<Option<Holder>, StoreError> {
        let shared = Arc::clone(&self.shared).read_owned().await;
        blocking(move || shared.store()?.holder()).await
    }

    /// Asks questions, all answered from one snapshot.
    pub(crate) async fn read<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Reader<'_>) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let shared = Arc::clone(&self.shared).read_owned().await;
        blocking(move || shared.store()?.read(question)).await
    }

    /// Returns everything the core needs to go on where it was. Conversations that it would miss, for damage to them,
    /// are made anew before, if this process is the one that writes.
    pub(crate) async fn saved_state(&self) -> Result<SavedState, StoreError> {
        let shared = Arc::clone(&self.shared).read_owned().await;
        let keeper = self.keeper.clone();
        blocking(move || {
            let mut saved = readable(shared.store()?)?;
            if let (Some(session), Some(keeper)) = (&mut saved.session, keeper) {
                let kept = keeper.kept().map_err(|source| StoreError::TokenKeeper { source })?;
                session.tokens = kept.or_else(|| session.tokens.take());
            }
            Ok(saved)
        })
        .await
    }

    /// Gives the file up until it is [reopened](Self::reopen): when this returns, nothing of it is open.
    ///
    /// Waits for reads under way and for what was queued. Nobody else gets in between.
    pub(crate) async fn pause(&self) -> Result<(), StoreError> {
        let mut shared = Arc::clone(&self.shared).write_owned().await;
        shared.store()?;
        let State::Open(store) = std::mem::replace(&mut *shared, State::Paused) else { return Ok(()) };
        blocking(move || {
            store.leave();
            Ok(())
        })
        .await
    }

    /// Opens the file again after a pause.
    pub(crate) async fn reopen(&self) -> Result<(), StoreError> {
        let mut shared = Arc::clone(&self.shared).write_owned().await;
        match &*shared {
            State::Open(_) => return Ok(()),
            State::Closed => return Err(StoreError::Closed),
            State::Paused => {}
        }
        *shared = State::Open(share(self.path.clone()).await?);
        Ok(())
    }

    /// Closes the file for all who share it. What was queued is stored before.
    ///
    /// Returns whether that was over within two seconds; if not it goes on in the background.
    pub(crate) async fn close(&self) -> bool {
        let shared = Arc::clone(&self.shared);
        let closing = async move {
            let store = std::mem::replace(&mut *shared.write_owned().await, State::Closed);
            tokio::task::spawn_blocking(move || drop(store)).await
        };
        matches!(tokio::time::timeout(CLOSE_TIMEOUT, tokio::spawn(closing)).await, Ok(Ok(Ok(()))))
    }
}

impl fmt::Debug for OpenStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenStore").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What this process is to a file, as it changes.
#[derive(Debug)]
pub(crate) struct Standings(Option<watch::Receiver<Standing>>);

impl Standings {
    /// Waits until another process did something, or until the role changed.
    pub(crate) async fn changed(&mut self) {
        let changed = match &mut self.0 {
            Some(standing) => standing.changed().await.is_ok(),
            None => false,
        };
        if !changed {
            // The file is only inspected, or being closed: nothing more will be noticed.
            std::future::pending().await
        }
    }

    /// Returns what this process is to the file; a file that is only inspected takes no writes from a driver.
    pub(crate) fn role(&self) -> Role {
        self.0.as_ref().map_or(Role::Syncing, |standing| standing.borrow().role.clone())
    }
}

async fn share(path: PathBuf) -> Result<Store, StoreError> {
    let opened = async {
        loop {
            let options = OpenOptions::new(path.clone());
            match blocking(move || Store::share(options)).await {
                Err(StoreError::Older { .. }) => tokio::time::sleep(MADE_INTERVAL).await,
                outcome => return outcome,
            }
        }
    };
    // One who keeps an older file to itself for longer is an older version that uses it.
    tokio::time::timeout(MADE_TIMEOUT, opened)
        .await
        .unwrap_or(Err(StoreError::InUse { path: path.clone(), holder: None }))
}

/// Returns what can be read, and makes more of it readable if it may.
fn readable(store: &Store) -> Result<SavedState, StoreError> {
    let saved = store.saved_state()?;
    let syncs = store.standing().is_some_and(|standing| standing.borrow().role == Role::Syncing);
    if saved.unreadable.is_empty() || !syncs {
        return Ok(saved);
    }
    let mut anew: Vec<Write> = saved.unreadable.iter().map(|id| Write::Rebuild(*id, Vec::new())).collect();
    anew.push(Write::Mend);
    match store.write(anew).wait() {
        Ok(_) => {
            tracing::warn!(
                conversations = saved.unreadable.len(),
                "damaged conversations were made anew from their events"
            );
            store.saved_state()
        }
        Err(error) => {
            tracing::error!(%error, "damaged conversations could not be made anew");
            Ok(saved)
        }
    }
}

fn keep(keeper: &dyn TokenKeeper, tokens: Option<&Tokens>) -> Result<(), StoreError> {
    keeper.keep(tokens).map_err(|source| StoreError::TokenKeeper { source })
}

/// Runs what blocks on a thread that may.
pub(crate) async fn blocking<T: Send + 'static>(
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
