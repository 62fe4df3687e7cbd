//! What a login gives, and what it takes.

use super::{UserId, UserName};
use std::fmt;

/// A text that must never be shown: a password or a token. `Debug` prints nothing of it.
#[derive(Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// Takes the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// Returns the text, for the wire and the store only.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// The pair of tokens that each login and each refresh gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Logs in again without a password, for 48 hours.
    pub access: Secret,
    /// Seconds the access token lives, as the server said; not trusted, errors 401 and 701 decide.
    pub access_expires_s: i64,
    /// Gives a new pair, once, for 30 days.
    pub refresh: Secret,
    /// Seconds the refresh token lives, as the server said.
    pub refresh_expires_s: i64,
}

/// How a user proves who they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credentials {
    /// The account's password. Never stored.
    Password {
        /// Who.
        user: UserName,
        /// The password.
        password: Secret,
    },
}

impl Credentials {
    /// Returns who logs in.
    pub const fn user(&self) -> &UserName {
        match self {
            Self::Password { user, .. } => user,
        }
    }
}

/// Where a server is, and what proves that it is the right one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerAddress {
    /// `wss://host[:port]/platform`; `ws://` is for loop-back only.
    pub url: String,
    /// The path of a file with further certificates to trust, in PEM.
    pub extra_root: Option<String>,
}

/// What a login gave and links come and go under. One for each store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Session {
    /// Who is logged in.
    pub user: UserName,
    /// The number inside messaging; `None` until the server has told it.
    pub user_id: Option<UserId>,
    /// Where the user logged in.
    pub server: ServerAddress,
    /// The newest pair; `None` once the server refused both and only a new login helps.
    pub tokens: Option<Tokens>,
}
