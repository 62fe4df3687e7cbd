//! Calls about the connection and the login: positional arguments, no ids.

use crate::model::{RawJson, Secret, Tokens, UserName};
use std::time::Duration;

/// What a client adds to a login.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LoginOptions {
    /// Logs in without a password.
    pub access_token: Option<Secret>,
    /// A random id that the device keeps.
    pub device_token: Option<Secret>,
    /// Members this version does not know, as a JSON object.
    pub unknown: Option<RawJson>,
}

/// A call of a client. User names are in the long form on the wire and in the short form here.
///
/// Source: protocol notes, sections 2 and 3.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ClientRpc {
    /// `__ping`: asks for a pong.
    Ping,
    /// `login`, with a password or, the password empty, with an access token in the options.
    Login {
        /// Who.
        user: UserName,
        /// May be empty.
        password: Secret,
        /// The access token among others.
        options: LoginOptions,
    },
    /// `loginGenerateOneTimeKey`: answered by a failed login with code 302 and the key.
    GenerateOneTimeKey {
        /// Who.
        user: UserName,
    },
    /// `loginUsingOneTimeKey`.
    LoginOneTimeKey {
        /// Who.
        user: UserName,
        /// `MD5(key|MD5(user:voximplant.com:password))` in lower-case hexadecimal digits.
        hash: Secret,
        /// The device token among others.
        options: LoginOptions,
    },
    /// `loginStage2`: the code that a 301 asked for.
    LoginSecondStage {
        /// Who.
        user: UserName,
        /// The code.
        code: Secret,
        /// Options.
        options: LoginOptions,
    },
    /// `refreshOauthToken`.
    RefreshToken {
        /// Who.
        user: UserName,
        /// Works once.
        refresh: Secret,
        /// A random id that the device keeps.
        device: Option<Secret>,
    },
    /// `registerPushToken`: not answered.
    RegisterPushToken(Secret),
    /// `unregisterPushToken`: not answered.
    UnregisterPushToken(Secret),
    /// `pushFeedback`: not answered.
    PushFeedback(RawJson),
    /// A call this version does not know.
    Unknown {
        /// The name on the wire.
        name: Box<str>,
        /// The arguments, a JSON array.
        params: RawJson,
    },
}

/// How fast a server lets one connection ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Requests that may go out at once.
    pub burst: u32,
    /// Then one more each time this has passed.
    pub interval: Duration,
}

/// What our own server says about itself in its greeting, as a second argument that other clients ignore:
/// `{"backscroll":{"idempotent":true,"heads":true,"burst":64,"interval_us":100}}`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Announcement {
    /// A request repeated with the same `request_uuid` by the same user is answered as the first time,
    /// and a message with a token that the sender used before in the conversation likewise.
    pub idempotent: bool,
    /// `headsSince` is answered.
    pub heads: bool,
    /// How fast a client may ask.
    pub rate: Option<RateLimit>,
}

/// A call of a server.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum ServerRpc {
    /// `__connectionSuccessful`: the client may log in.
    Greeting {
        /// Names the connection.
        connection: Option<String>,
        /// Empty on servers that are not ours.
        announcement: Announcement,
    },
    /// `__connectionFailed`: the client must go away.
    GoAway,
    /// `__pong`: the answer to a ping.
    Pong,
    /// `loginSuccessful`.
    LoggedIn {
        /// The name people see.
        display_name: String,
        /// Names the connection.
        connection: Option<String>,
        /// A fresh pair.
        tokens: Option<Tokens>,
    },
    /// `loginFailed`.
    LoginFailed {
        /// 302 is no failure: `extra` is the one-time key.
        code: i64,
        /// What belongs to the code.
        extra: Option<Secret>,
    },
    /// `refreshOauthTokenSuccessful`.
    Refreshed(Tokens),
    /// `refreshOauthTokenFailed`.
    RefreshFailed {
        /// 401 invalid, 404 no such user, 500 internal, 701 expired.
        code: i64,
    },
    /// A call this version does not know.
    Unknown {
        /// The name on the wire.
        name: Box<str>,
        /// The arguments, a JSON array.
        params: RawJson,
    },
}
