//! The wire: frames as types, both directions, for the engine and for a server alike.
//!
//! This module knows neither sockets nor state. [`decode_client`] and [`decode_server`] turn text into
//! frames, [`encode_client`] and [`encode_server`] turn frames into text; whatever the text, they
//! return an error and never panic.

mod codec;
mod limits;
mod one_time_key;
mod push;
mod request;
mod rpc;
mod wire;

pub use codec::{ClientFault, DecodeError, decode_client, decode_server, encode_client, encode_server};
pub use limits::*;
pub use one_time_key::{one_time_key_answer, password_hash};
pub use push::{Head, Header, Push, ServerChat};
pub use request::{ClientChat, Request, UserKey};
pub use rpc::{Announcement, ClientRpc, LoginOptions, RateLimit, ServerRpc};

/// A frame that a client sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientFrame {
    /// A messaging request.
    Chat(ClientChat),
    /// A call about the connection or the login.
    Rpc(ClientRpc),
}

impl ClientFrame {
    /// Returns whether the frame carries a token of the session, which may be good once.
    pub const fn uses_tokens(&self) -> bool {
        match self {
            Self::Chat(_) => false,
            Self::Rpc(rpc) => match rpc {
                ClientRpc::RefreshToken { .. } => true,
                ClientRpc::Login { options, .. } => options.access_token.is_some(),
                ClientRpc::Ping
                | ClientRpc::GenerateOneTimeKey { .. }
                | ClientRpc::LoginOneTimeKey { .. }
                | ClientRpc::LoginSecondStage { .. }
                | ClientRpc::RegisterPushToken(_)
                | ClientRpc::UnregisterPushToken(_)
                | ClientRpc::PushFeedback(_)
                | ClientRpc::Unknown { .. } => false,
            },
        }
    }
}

/// A frame that a server sends.
#[derive(Clone, Debug, PartialEq)]
pub enum ServerFrame {
    /// A messaging event, or the answer to a messaging request, which look the same.
    Chat(ServerChat),
    /// A call about the connection or the login.
    Rpc(ServerRpc),
}
