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

/// How a user proves who they are. Nothing of it is stored: what lasts are the tokens that the server gives.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Credentials {
    /// The account's password, told to the server.
    Password {
        /// Who.
        user: UserName,
        /// The password.
        password: Secret,
    },
    /// The account's password, proven with a one-time key: it does not leave this machine.
    PasswordByKey {
        /// Who.
        user: UserName,
        /// The password.
        password: Secret,
    },
    /// The answer to a one-time key that was asked for before, from whoever knows the password or its hash.
    OneTimeKeyHash {
        /// Who.
        user: UserName,
        /// As [`one_time_key_answer`](crate::protocol::one_time_key_answer) makes it.
        hash: Secret,
    },
    /// An access token that the application got elsewhere.
    AccessToken {
        /// Who.
        user: UserName,
        /// The token.
        token: Secret,
    },
    /// A refresh token that the application got elsewhere; it is spent, and a new pair is kept.
    RefreshToken {
        /// Who.
        user: UserName,
        /// The token.
        token: Secret,
    },
}

impl Credentials {
    /// Returns who logs in.
    pub const fn user(&self) -> &UserName {
        match self {
            Self::Password { user, .. }
            | Self::PasswordByKey { user, .. }
            | Self::OneTimeKeyHash { user, .. }
            | Self::AccessToken { user, .. }
            | Self::RefreshToken { user, .. } => user,
        }
    }

    /// Returns whether they prove the same a second time.
    pub const fn last(&self) -> bool {
        match self {
            Self::Password { .. } | Self::PasswordByKey { .. } => true,
            Self::OneTimeKeyHash { .. } | Self::AccessToken { .. } | Self::RefreshToken { .. } => false,
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
    /// The newest pair; `None` once only a new login helps.
    pub tokens: Option<Tokens>,
    /// The code with which the server ended it; `None` while it lasts, and when the user logged out.
    pub refused: Option<i64>,
    /// A random id that the device keeps and shows at each login; `None` before the first.
    pub device: Option<Secret>,
}

/// A token under which a push service reaches this device, and whether the server is to use it.
///
/// The protocol answers neither wish. A token that is wanted is therefore told after each login, and one that is
/// not until a later answer proves that the server heard it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushToken {
    /// What the push service calls the device.
    pub token: Secret,
    /// `true` to be registered, `false` to be unregistered and then forgotten.
    pub wanted: bool,
}
