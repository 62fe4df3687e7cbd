//! What a server is told at its start.

use crate::faults::Faults;
use backscroll::protocol::RateLimit;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// What a server is told at its start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The folder that holds everything the server keeps; made when it is missing.
    pub data: PathBuf,
    /// How links are protected.
    pub tls: Tls,
    /// What one client may use up.
    pub limits: Limits,
    /// How people prove who they are, and for how long.
    pub logins: LoginRules,
    /// Faults to inject, for tests of applications. The same faults can be changed while the server runs.
    pub faults: Arc<Faults>,
}

impl Config {
    /// Takes an address and a folder; everything else is fit for use on a network.
    pub fn new(listen: SocketAddr, data: impl Into<PathBuf>) -> Self {
        Self {
            listen,
            data: data.into(),
            tls: Tls::SelfSigned,
            limits: Limits::default(),
            logins: LoginRules::default(),
            faults: Arc::new(Faults::none()),
        }
    }
}

/// How links are protected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Tls {
    /// With a certificate that the server makes at its first start and keeps in its folder as
    /// `certificate.pem`, which clients must be told to trust.
    #[default]
    SelfSigned,
    /// With a certificate from elsewhere.
    Files {
        /// The chain in PEM, the server's own certificate first.
        certificate: PathBuf,
        /// The key in PEM.
        key: PathBuf,
    },
    /// Not at all. Refused unless the server listens on a loop-back address.
    Plain,
}

/// How people prove who they are, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoginRules {
    /// How much work a password costs, for the server and for those who steal its file.
    pub password_cost: PasswordCost,
    /// Whether one-time keys are given out. They need a hash of each password in the file that is as good as the
    /// password to whoever reads it; without them the file holds Argon2 hashes only: a server without deletes
    /// those it had, and keeps others that open its folder from adding any.
    pub one_time_keys: bool,
    /// How long an access token logs in. Source of the default: protocol notes, section 3.5.
    pub access_token_life: Duration,
    /// How long a refresh token gives a new pair. Source of the default: protocol notes, section 3.5.
    pub refresh_token_life: Duration,
}

impl Default for LoginRules {
    fn default() -> Self {
        Self {
            password_cost: PasswordCost::Standard,
            one_time_keys: true,
            access_token_life: Duration::from_secs(48 * 60 * 60),
            refresh_token_life: Duration::from_secs(30 * 24 * 60 * 60),
        }
    }
}

impl LoginRules {
    /// Returns rules under which tests are fast: passwords cost almost nothing.
    pub fn for_tests() -> Self {
        Self { password_cost: PasswordCost::Testing, ..Self::default() }
    }
}

/// How much work one password is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum PasswordCost {
    /// Argon2id with 19 MiB and two passes: the first choice of the OWASP password storage cheat sheet.
    #[default]
    Standard,
    /// Almost none, so that tests are fast. Worth nothing against whoever holds the file.
    Testing,
}

/// What one client may use up.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Limits {
    /// How fast one connection may ask; announced in the greeting. A client that keeps to it is never refused,
    /// even when the network holds its frames back for a second and then delivers them at once; a faster one
    /// meets error 32.
    pub rate: RateLimit,
    /// How many requests one connection may make in a minute; `None` for any number. More meet error 33.
    pub requests_per_minute: Option<u32>,
    /// How fast all connections of one user together may ask; faster ones meet error 32.
    pub user_rate: RateLimit,
    /// How many requests all connections of one user together may make in a minute; `None` for any number. More meet
    /// error 33.
    pub user_requests_per_minute: Option<u32>,
    /// How long TLS and the opening of the WebSocket may take.
    pub handshake: Duration,
    /// How long a link may stay without a login.
    pub login: Duration,
    /// How long a link may stay without any frame of the client.
    pub idle: Duration,
    /// How many links there may be at once; more wait unanswered in the system's queue.
    pub links: usize,
    /// How many frames may wait for a client that does not read; one more and the link is closed, for the
    /// client to come back and catch up.
    pub backlog: usize,
    /// How many requests of one link may be under way; the link is not read further until one is answered.
    pub requests_under_way: usize,
    /// How long a clean stop waits for links to close.
    pub stop: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            rate: RateLimit { burst: 64, interval: Duration::from_micros(100) },
            requests_per_minute: None,
            // Four devices at full speed.
            user_rate: RateLimit { burst: 256, interval: Duration::from_micros(25) },
            user_requests_per_minute: None,
            handshake: Duration::from_secs(10),
            login: Duration::from_secs(30),
            idle: Duration::from_secs(60),
            links: 10_000,
            backlog: 1_024,
            requests_under_way: 64,
            stop: Duration::from_secs(2),
        }
    }
}
