//! A self-hosted server of the messaging protocol that Backscroll speaks, as a library.
//!
//! [`serve`] starts one on a socket. The decisions are made by [`hub`], which is pure and can be driven
//! without any socket, over a [`storage`] in memory or on disk.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use backscroll_server::{Config, serve};
//!
//! let server = serve(Config::new("127.0.0.1:0".parse()?, "/var/lib/backscroll")).await?;
//! println!("{}", server.url());
//! server.stop().await;
//! # Ok(())
//! # }
//! ```

mod accounts;
mod certificate;
mod clock;
mod config;
mod faults;
pub mod hub;
mod link;
mod pace;
mod server;
pub mod storage;
mod switchboard;

pub use accounts::{Account, AccountError, Accounts};
pub use certificate::CertificateError;
pub use config::{Config, Limits, LoginRules, PasswordCost, Tls};
pub use faults::Faults;
pub use hub::Hub;
pub use server::{ServeError, Server, serve};
pub use storage::StorageError;
