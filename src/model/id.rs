//! Names of things. Each kind has a type of its own, so that none is taken for another.

use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Takes an id as it is; every uuid is a valid one.
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// Returns the uuid.
            pub const fn as_uuid(&self) -> &Uuid {
                &self.0
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    )*};
}

uuid_id! {
    /// Names a conversation; assigned by the server.
    ConversationId;
    /// Names a message; assigned by the server.
    MessageId;
    /// Our own id inside a message or a new conversation, by which we know its echo.
    ///
    /// 128 bits, random, made before anything is stored or sent.
    ClientToken;
    /// Joins a request to its response. Kept with the outbox entry, so that a repeated
    /// request carries the same one.
    RequestId;
}

impl ConversationId {
    /// Returns the id by which a conversation is known until the server has named it: the uuid of the token under
    /// which the outbox lists its making. It goes on to name the conversation afterwards.
    pub const fn provisional(token: ClientToken) -> Self {
        Self(token.0)
    }

    /// Returns the token of what makes the conversation, if this is a provisional id.
    pub(crate) const fn maker(self) -> ClientToken {
        ClientToken(self.0)
    }
}

/// The number of a user inside messaging.
///
/// Fits in SQLite's 64-bit integer: at most [`UserId::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UserId(u64);

impl UserId {
    /// The largest id a store can hold.
    pub const MAX: u64 = i64::MAX as u64;

    /// Returns the id, or `None` above [`UserId::MAX`].
    pub const fn new(number: u64) -> Option<Self> {
        if number <= Self::MAX { Some(Self(number)) } else { None }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// A user's name in the short form that messaging uses: `user@app.account`.
///
/// The long form of log-in calls (`user@app.account.voximplant.com`) is cut to the short one.
/// Names are compared as they are: neither end folds their case.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct UserName(Box<str>);

impl UserName {
    /// What the long form adds; fixed by the protocol.
    pub const LONG_SUFFIX: &str = ".voximplant.com";

    /// Takes a name in its short or long form.
    ///
    /// Everything after the second label behind `@` is cut, as the vendor's clients do.
    pub fn new(name: &str) -> Self {
        let Some((user, domain)) = name.split_once('@') else { return Self(name.into()) };
        let mut labels = domain.splitn(3, '.');
        match (labels.next(), labels.next(), labels.next()) {
            (Some(app), Some(account), Some(_)) => Self(format!("{user}@{app}.{account}").into()),
            _ => Self(name.into()),
        }
    }

    /// Returns the short form.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the part before `@`; the whole name when there is none.
    pub fn local_part(&self) -> &str {
        self.0.split_once('@').map_or(&*self.0, |(user, _)| user)
    }

    /// Returns the long form that log-in calls carry.
    pub fn long_form(&self) -> String {
        format!("{}{}", self.0, Self::LONG_SUFFIX)
    }
}

impl fmt::Display for UserName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_names_are_cut_to_the_short_form() {
        assert_eq!(UserName::new("a@chat.acme.voximplant.com").as_str(), "a@chat.acme");
        assert_eq!(UserName::new("a@chat.acme").as_str(), "a@chat.acme");
        assert_eq!(UserName::new("a@chat.acme").long_form(), "a@chat.acme.voximplant.com");
        assert_eq!(UserName::new("a@chat").as_str(), "a@chat");
        assert_eq!(UserName::new("nobody").local_part(), "nobody");
    }
}
