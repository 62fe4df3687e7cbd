//! A self-hosted server of the messaging protocol that Backscroll speaks, as a library.

mod config;
mod faults;
pub mod hub;
pub mod storage;

pub use config::{Config, Limits, PasswordCost, Tls};
pub use faults::Faults;
pub use hub::Hub;
pub use storage::StorageError;

use std::net::SocketAddr;
use std::path::Path;

/// Why a server could not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The folder or what it holds cannot be used.
    #[error("cannot use the server's data")]
    Storage(#[from] StorageError),
    /// Nothing can listen there.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// Links without TLS were asked for on an address that others can reach.
    #[error("links without TLS are for loop-back addresses only, not for {address}")]
    PlainBeyondLoopback {
        /// Where.
        address: SocketAddr,
    },
}

/// A running server. Dropping it is a crash: links break and nothing is said, but what was answered is kept.
#[derive(Debug)]
pub struct Server {}

/// Starts a server; it listens when this returns.
///
/// # Errors
///
/// [`ServeError`] by variant.
pub async fn serve(_config: Config) -> Result<Server, ServeError> {
    unimplemented!()
}

impl Server {
    /// Returns what clients connect to, as in `wss://127.0.0.1:8443/platform`.
    pub fn url(&self) -> String {
        unimplemented!()
    }

    /// Returns where the server listens.
    pub fn address(&self) -> SocketAddr {
        unimplemented!()
    }

    /// Returns the certificate in PEM that clients must be told to trust; `None` without TLS.
    pub fn certificate(&self) -> Option<&Path> {
        unimplemented!()
    }

    /// Returns the handle that steers the faults of this server.
    pub fn faults(&self) -> &Faults {
        unimplemented!()
    }

    /// Stops cleanly: links are closed, everything is on disk.
    pub async fn stop(self) {
        unimplemented!()
    }
}
