//! JSON text to frames and back, nothing else.

mod client;
mod objects;
mod rpc;
mod server;

use super::{ClientFrame, FRAME_BYTES_MAX, ServerFrame};
use crate::model::{Action, ErrorCode, RequestId};
use serde::de::Error;
use serde_json::error::Category;

/// Why a server's frame could not be understood. Its text is never repeated: it may hold what people wrote.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Longer than [`FRAME_BYTES_MAX`](super::FRAME_BYTES_MAX).
    #[error("the frame has {bytes} bytes, more than allowed")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// No JSON, or of another shape.
    #[error("the frame is not shaped as expected (line {line}, column {column})")]
    Malformed {
        /// Where the fault was met, from 1.
        line: usize,
        /// Where the fault was met, from 1.
        column: usize,
        /// What the JSON library said.
        source: serde_json::Error,
    },
    /// A known event whose content cannot be right.
    #[error("{event}: {what}")]
    Content {
        /// The event's name on the wire.
        event: Box<str>,
        /// Which member, and what about it.
        what: Box<str>,
    },
}

/// Why a client's frame could not be understood, as a server has to answer it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFault {
    /// The request, as far as it could be read; `None` when the frame deserves no answer (no JSON object at all).
    pub request: Option<RequestId>,
    /// The action, as far as it could be read.
    pub action: Action,
    /// 0 (payload), 1 (envelope), 2 (unknown action) or 26 (notification names).
    pub code: ErrorCode,
    /// Which member, and what about it.
    pub what: Box<str>,
}

impl DecodeError {
    /// Takes the place from the JSON library, and its words where they cannot repeat what people wrote.
    fn malformed(source: serde_json::Error) -> Self {
        let (line, column) = (source.line(), source.column());
        let source = match source.classify() {
            Category::Syntax | Category::Eof | Category::Io => source,
            Category::Data => serde_json::Error::custom("a member is not as it should be, or comes twice"),
        };
        Self::Malformed { line, column, source }
    }

    fn content(event: &str, what: &str) -> Self {
        Self::Content { event: event.into(), what: what.into() }
    }
}

/// Reads a frame of a client.
///
/// # Errors
///
/// [`ClientFault`] says how a server has to answer.
pub fn decode_client(text: &str) -> Result<ClientFrame, ClientFault> {
    if text.len() > FRAME_BYTES_MAX {
        let (action, code) = (Action::from(""), ErrorCode::MessageStructureIsWrong);
        return Err(ClientFault { request: None, action, code, what: "the frame is too long".into() });
    }
    client::decode(text)
}

/// Reads a frame of a server. An unknown event is no error: it comes back whole.
///
/// # Errors
///
/// [`DecodeError`] by variant.
pub fn decode_server(text: &str) -> Result<ServerFrame, DecodeError> {
    if text.len() > FRAME_BYTES_MAX {
        return Err(DecodeError::TooLong { bytes: text.len() });
    }
    server::decode(text)
}

/// Writes a frame of a client, with the exact `@type` that the service expects.
pub fn encode_client(frame: &ClientFrame) -> String {
    match frame {
        ClientFrame::Chat(chat) => client::encode(chat),
        ClientFrame::Rpc(rpc) => rpc::encode_client(rpc),
    }
}

/// Writes a frame of a server.
pub fn encode_server(frame: &ServerFrame) -> String {
    match frame {
        ServerFrame::Chat(chat) => server::encode(chat),
        ServerFrame::Rpc(rpc) => rpc::encode_server(rpc),
    }
}
