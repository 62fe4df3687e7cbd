//! What went wrong, with the exit code and what to do next.

use backscroll::Error;
use backscroll::model::MessagingError;
use backscroll::store::StoreError;
use backscroll::sync::Refusal;
use backscroll_server::{AccountError, ServeError};
use std::io;

/// What to do about damage.
pub(crate) const VERIFY_HINT: &str = "backscroll verify says what is damaged, repair puts right what it can";

/// Why the tool ends with something else than success.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
    pub(crate) refusal: Option<MessagingError>,
}

/// The exit codes other than 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// The answer is no.
    No = 1,
    /// Wrong use.
    Usage = 2,
    /// File, network or server.
    Environment = 3,
    /// Whoever read our output has seen enough.
    Silent = 0,
}

impl Failure {
    pub(crate) fn no(message: impl Into<String>) -> Self {
        Self { exit: Exit::No, message: message.into(), hint: None, refusal: None }
    }

    pub(crate) fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::no(message) }
    }

    pub(crate) fn environment(message: impl Into<String>) -> Self {
        Self { exit: Exit::Environment, ..Self::no(message) }
    }

    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }
}

/// Returns an error with everything behind it, in one line.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = chain(&error);
        match &error {
            Error::Store(store) => match &**store {
                StoreError::InUse { .. } => Self::environment(text)
                    .hint("an older version of the program writes to it; reading commands work all the same"),
                StoreError::Newer { .. } => Self::environment(text).hint("use the newer version of this tool"),
                StoreError::NotAStore { .. } => Self::environment(text).hint("name another file with --store"),
                StoreError::Damaged { .. } => Self::environment(text).hint(VERIFY_HINT),
                _ => Self::environment(text),
            },
            Error::Following { .. } => Self::environment(text)
                .hint("end that one, or do it there; reading and writing messages works all the same"),
            Error::Refused(Refusal::Messaging(refusal)) => Self { refusal: Some(refusal.clone()), ..Self::no(text) },
            Error::Refused(Refusal::NoSession) => {
                Self::environment(text).hint("log in first: backscroll --store FILE login --server URL --user NAME")
            }
            Error::Refused(Refusal::Login { code }) => {
                let hint = match code {
                    401 => "the password or token is wrong",
                    403 => "the account is frozen",
                    404 => "there is no such user on this server",
                    701 => "the token has expired",
                    _ => "the server said no; try again later",
                };
                Self::no(text).hint(hint)
            }
            Error::Refused(Refusal::SecondStage) => {
                Self::no(text).hint("use an account without a second stage; this tool cannot give its code")
            }
            Error::Refused(Refusal::OtherUser { .. }) => {
                Self::usage(text).hint("a store belongs to one user; name another file with --store")
            }
            Error::Refused(Refusal::Offline) | Error::Offline { .. } => {
                let hint = if text.contains("ertificate") {
                    "trust the server's certificate: login --ca FILE; serve names the file in its first line"
                } else {
                    "is the server running, and is its address right?"
                };
                Self::environment(text).hint(hint)
            }
            Error::NoServer => Self::usage(text).hint("name it: login --server wss://host:port/platform"),
            Error::Address(_) => Self::usage(text).hint("an address looks like wss://127.0.0.1:8443/platform"),
            _ => Self::no(text),
        }
    }
}

impl From<AccountError> for Failure {
    fn from(error: AccountError) -> Self {
        let text = chain(&error);
        match error {
            AccountError::NameInvalid | AccountError::DisplayNameInvalid | AccountError::PasswordInvalid => {
                Self::usage(text)
            }
            AccountError::Exists(_) | AccountError::Unknown(_) => Self::no(text),
            _ => Self::environment(text),
        }
    }
}

impl From<ServeError> for Failure {
    fn from(error: ServeError) -> Self {
        let text = chain(&error);
        match error {
            ServeError::PlainBeyondLoopback { .. } => Self::usage(text),
            ServeError::Listen { .. } => Self::environment(text).hint("--listen 127.0.0.1:0 takes a free port"),
            _ => Self::environment(text),
        }
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self { exit: Exit::Silent, ..Self::no("") };
        }
        Self::environment(error.to_string())
    }
}
