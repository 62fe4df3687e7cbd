//! The public error, and the questions it answers.

use crate::engine::TransportError;
use crate::model::{ErrorClass, MessagingError};
use crate::store::{Holder, StoreError};
use crate::sync::Refusal;
use std::sync::Arc;

/// Why the engine could not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The file could not be opened, read or written.
    #[error("the store failed")]
    Store(#[source] Arc<StoreError>),
    /// The server, or a check before anything left, said no.
    #[error(transparent)]
    Refused(Refusal),
    /// There is no connection to the server, and the answer is needed now.
    #[error("there is no connection to the server")]
    Offline {
        /// Why the last attempt failed, if there was one.
        #[source]
        cause: Option<Arc<TransportError>>,
    },
    /// The address of the server cannot be used.
    #[error(transparent)]
    Address(TransportError),
    /// Nobody ever named a server, neither in the configuration nor at an earlier login.
    #[error("no server is named")]
    NoServer,
    /// It is done, but which event did it is not known yet: it lies in a gap of the history held.
    #[error("done; the event that did it is still to be fetched")]
    EventUnknown,
    /// It was taken back before it left.
    #[error("cancelled before it left")]
    Cancelled,
    /// It has ended while this process did not look, so long ago that the file does not tell how: done or taken back.
    /// Never said of a message that is held, and never by the process that syncs.
    #[error("ended; whether it was done or taken back is not kept any more")]
    EndForgotten,
    /// The engine is paused: it touches neither file nor network until it is resumed. What was accepted is kept.
    #[error("the engine is paused")]
    Paused,
    /// Another process talks to the server for this file; only there can this be done.
    #[error("{} talks to the server for this store", holder.as_ref().map_or("another process".to_owned(), ToString::to_string))]
    Following {
        /// Which process, as far as known.
        holder: Option<Holder>,
    },
    /// The engine is closed, or was closed before the answer came. What was accepted is kept.
    #[error("the engine is closed")]
    Closed,
}

impl Error {
    /// Returns the code of the protocol behind this error, if there is one.
    pub const fn messaging(&self) -> Option<&MessagingError> {
        match self {
            Self::Refused(Refusal::Messaging(error)) => Some(error),
            Self::Refused(_)
            | Self::Store(_)
            | Self::Offline { .. }
            | Self::Address(_)
            | Self::NoServer
            | Self::EventUnknown
            | Self::Cancelled
            | Self::EndForgotten
            | Self::Paused
            | Self::Following { .. }
            | Self::Closed => None,
        }
    }

    /// Returns whether the same call may succeed later with nothing changed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Store(error) => error.is_transient(),
            Self::Refused(Refusal::Messaging(error)) => {
                matches!(error.code.class(), ErrorClass::Later | ErrorClass::TooFast)
            }
            Self::Offline { .. } | Self::Paused | Self::Following { .. } => true,
            Self::Refused(_)
            | Self::Address(_)
            | Self::NoServer
            | Self::EventUnknown
            | Self::Cancelled
            | Self::EndForgotten
            | Self::Closed => false,
        }
    }
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        if let StoreError::LeaseLost { holder } = error {
            return Self::Following { holder };
        }
        if matches!(error, StoreError::Paused) { Self::Paused } else { Self::Store(Arc::new(error)) }
    }
}

impl From<MessagingError> for Error {
    fn from(error: MessagingError) -> Self {
        Self::Refused(Refusal::Messaging(error))
    }
}
