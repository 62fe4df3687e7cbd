//! Starting, accepting and stopping.

use crate::accounts::{AccountError, Accounts};
use crate::certificate::{CertificateError, protection};
use crate::config::{Config, Tls};
use crate::faults::Faults;
use crate::link::{self, PATH, Shared};
use crate::pace::UserPaces;
use crate::storage::{Sqlite, StorageError};
use crate::switchboard::{Command, Switchboard};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};
use tokio::task::{self, JoinHandle, JoinSet};
use tokio::time::{sleep, timeout};

/// Requests that may wait for the hub. Each link has a bound of its own; this one bounds their sum.
const WAITING_MAX: usize = 1_024;

/// Passwords hashed at once: each takes a core and 19 MiB.
const HASHED_AT_ONCE: usize = 2;

/// How often an address in use is tried again: a server just dropped lets go of it within moments.
const BIND_ATTEMPTS: u32 = 50;
const BIND_PAUSE: Duration = Duration::from_millis(20);

/// How long to wait after the system refused a connection, for example for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The folder or what it holds cannot be used.
    #[error("cannot use the data folder")]
    Storage(#[from] StorageError),
    /// The accounts cannot be used.
    #[error("cannot use the accounts")]
    Accounts(#[from] AccountError),
    /// There is no certificate to work with.
    #[error("cannot use the certificate")]
    Certificate(#[from] CertificateError),
    /// Nothing can listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Links without TLS were asked for on an address that others can reach.
    #[error("links without TLS are for loop-back addresses only, not for {address}")]
    PlainBeyondLoopback {
        /// Where.
        address: SocketAddr,
    },
    /// The system gave no thread.
    #[error("cannot start a thread")]
    Thread(#[source] io::Error),
}

/// A running server.
///
/// Dropping it is a crash: links break without a word, requests that wait are lost, and what was answered is
/// kept. Once dropped it writes nothing any more. [`stop`](Self::stop) ends it in good order.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    certificate: Option<PathBuf>,
    accounts: Arc<Accounts>,
    faults: Arc<Faults>,
    stop_limit: Duration,
    stopping: watch::Sender<bool>,
    accepting: JoinHandle<()>,
    commands: mpsc::Sender<Command>,
    abandoned: Arc<AtomicBool>,
    hub: Option<thread::JoinHandle<()>>,
}

/// Starts a server; it listens when this returns.
///
/// The first start in a data folder makes the folder, the database and, for [`Tls::SelfSigned`], the
/// certificate; later starts find them.
///
/// # Errors
///
/// [`ServeError`] by variant.
pub async fn serve(config: Config) -> Result<Server, ServeError> {
    if config.tls == Tls::Plain && !config.listen.ip().is_loopback() {
        return Err(ServeError::PlainBeyondLoopback { address: config.listen });
    }
    let Config { listen, data, tls, limits, logins, faults } = config;
    let listener = bind(listen).await.map_err(|source| ServeError::Listen { address: listen, source })?;
    let address = listener.local_addr().map_err(|source| ServeError::Listen { address: listen, source })?;
    let opened = task::spawn_blocking(move || -> Result<_, ServeError> {
        let storage = Sqlite::open(&data)?;
        let accounts = Accounts::open_with(&data, logins)?;
        accounts.settle_one_time_keys()?;
        Ok((storage, accounts, protection(&tls, &data, listen)?))
    });
    let (storage, accounts, protection) =
        opened.await.map_err(|panic| ServeError::Thread(io::Error::other(panic)))??;
    let (commands, waiting) = mpsc::channel(WAITING_MAX);
    let (stopping, stopping_seen) = watch::channel(false);
    let abandoned = Arc::new(AtomicBool::new(false));
    let switchboard = Switchboard::new(storage, Arc::clone(&faults), Arc::clone(&abandoned));
    let hub = thread::Builder::new().name("backscroll-hub".to_owned());
    let hub = hub.spawn(move || switchboard.run(waiting)).map_err(ServeError::Thread)?;
    let accounts = Arc::new(accounts);
    let stop_limit = limits.stop;
    let shared = Shared {
        paces: UserPaces::new(limits.user_rate, limits.user_requests_per_minute),
        limits,
        faults: Arc::clone(&faults),
        acceptor: protection.acceptor,
        accounts: Arc::clone(&accounts),
        hashing: Semaphore::new(HASHED_AT_ONCE),
        commands: commands.clone(),
        stopping: stopping_seen,
    };
    let accepting = tokio::spawn(accept(Arc::new(shared), listener));
    Ok(Server {
        address,
        certificate: protection.certificate,
        accounts,
        faults,
        stop_limit,
        stopping,
        accepting,
        commands,
        abandoned,
        hub: Some(hub),
    })
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    for _ in 1..BIND_ATTEMPTS {
        match TcpListener::bind(address).await {
            Err(error) if error.kind() == ErrorKind::AddrInUse => sleep(BIND_PAUSE).await,
            bound => return bound,
        }
    }
    TcpListener::bind(address).await
}

/// Accepts links until the server stops, then waits for the last of them.
async fn accept(shared: Arc<Shared>, listener: TcpListener) {
    let mut links = JoinSet::new();
    let mut stopping = shared.stopping.clone();
    let places = Arc::new(Semaphore::new(shared.limits.links));
    let mut arrived = 0;
    loop {
        tokio::select! {
            _ = stopping.wait_for(|stopping| *stopping) => break,
            // The hub never ends by itself unless it fails, and then nobody can be served.
            () = shared.commands.closed() => break,
            // A link is worth no more than its own end: one that panicked is only one link less.
            Some(_) = links.join_next() => {}
            (stream, place) = next_link(&listener, &places) => {
                arrived += 1;
                if !shared.faults.refuses_links() {
                    let link = link::serve(Arc::clone(&shared), arrived, stream);
                    links.spawn(async move {
                        link.await;
                        drop(place);
                    });
                }
            }
        }
    }
    drop(listener);
    while links.join_next().await.is_some() {}
}

/// Returns the next connection once there is a place for it.
async fn next_link(listener: &TcpListener, places: &Arc<Semaphore>) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed.
    let place = Arc::clone(places).acquire_owned().await.ok();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, place),
            Err(error) => {
                tracing::warn!(%error, "a connection was not accepted");
                sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

impl Server {
    /// Returns what clients connect to, as in `wss://127.0.0.1:8443/platform`.
    ///
    /// For a server that listens on every address this is the loop-back one.
    pub fn url(&self) -> String {
        let scheme = if self.certificate.is_some() { "wss" } else { "ws" };
        let mut reachable = self.address;
        if reachable.ip().is_unspecified() {
            reachable.set_ip(match reachable.ip() {
                IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
                IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
            });
        }
        format!("{scheme}://{reachable}{PATH}")
    }

    /// Returns where the server listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the certificate in PEM that clients must be told to trust; `None` without TLS.
    pub fn certificate(&self) -> Option<&Path> {
        self.certificate.as_deref()
    }

    /// Returns who may log in. Its calls block: for moments, or as long as a password takes.
    pub fn accounts(&self) -> &Accounts {
        &self.accounts
    }

    /// Returns the handle that steers the faults of this server.
    pub const fn faults(&self) -> &Arc<Faults> {
        &self.faults
    }

    /// Waits until the server has ended by itself, which it does only when its storage fails for good.
    ///
    /// May be dropped at any time and called again.
    pub async fn wait(&mut self) {
        if !self.accepting.is_finished() {
            // It can only have ended: it is not cancelled while it is borrowed, and it does not panic.
            let _ = (&mut self.accepting).await;
        }
    }

    /// Stops in good order: nobody new is let in, what is under way is answered, links are closed, and the
    /// database is whole in one file. Takes no longer than [`Limits::stop`](crate::Limits::stop) for the links.
    pub async fn stop(mut self) {
        self.stopping.send_replace(true);
        if timeout(self.stop_limit, self.wait()).await.is_err() {
            tracing::info!("links that did not close in time are broken");
        }
        self.accepting.abort();
        // Fails only when the hub has ended.
        let _ = self.commands.send(Command::Stop).await;
        if let Some(hub) = self.hub.take()
            && task::spawn_blocking(move || hub.join()).await.is_ok_and(|ended| ended.is_err())
        {
            tracing::error!("the hub failed");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.abandoned.store(true, Ordering::Release);
        self.accepting.abort();
        // Wakes the hub when it waits; when the queue is full, it does not.
        let _ = self.commands.try_send(Command::Stop);
        if let Some(hub) = self.hub.take() {
            // One batch at most, so that nothing is written once this returns.
            let _ = hub.join();
        }
    }
}
