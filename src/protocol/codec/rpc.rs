//! Calls about the connection and the login, both ways.

use super::objects::Checked;
use super::{ClientFault, DecodeError};
use crate::model::{Action, ErrorCode, RawJson, Secret, Tokens, UserName};
use crate::protocol::wire::{Array, Int, Object, Time, document, wire_objects};
use crate::protocol::{Announcement, ClientRpc, LoginOptions, RateLimit, ServerRpc};
use serde::Deserialize;
use serde_json::value::RawValue;
use std::time::Duration;

wire_objects! {
    OptionsObject<'de> {
        access_token = "accessToken": Secret,
        device_token = "deviceToken": Secret,
    }

    RefreshObject<'de> {
        refresh = "refreshToken": Secret,
        device = "deviceToken": Secret,
    }

    GrantObject<'de> {
        tokens = "OAuth": TokensObject<'de>,
        connection = "connectionId": String,
    }

    TokensObject<'de> {
        access = "accessToken": Secret,
        access_expires = "accessExpire": Time,
        refresh = "refreshToken": Secret,
        refresh_expires = "refreshExpire": Time,
    }

    GreetingObject<'de> {
        backscroll = "backscroll": AnnouncementObject<'de>,
    }

    AnnouncementObject<'de> {
        idempotent = "idempotent": bool,
        heads = "heads": bool,
        burst = "burst": u32,
        interval_us = "interval_us": u64,
    }
}

/// The positional arguments of a call.
struct Params<'a>(Vec<&'a RawValue>);

impl<'a> Params<'a> {
    fn read(raw: Option<&'a RawValue>) -> Checked<Self> {
        let Some(raw) = raw else { return Ok(Self(Vec::new())) };
        serde_json::from_str(raw.get()).map(Self).map_err(|_| "params is no array")
    }

    fn present(&self, place: usize) -> Option<&'a RawValue> {
        self.0.get(place).copied().filter(|raw| raw.get() != "null")
    }

    /// Returns the argument; `what` says which one is absent or wrong.
    fn take<T: Deserialize<'a>>(&self, place: usize, what: &'static str) -> Checked<T> {
        self.optional(place, what)?.ok_or(what)
    }

    fn optional<T: Deserialize<'a>>(&self, place: usize, what: &'static str) -> Checked<Option<T>> {
        self.present(place).map(|raw| serde_json::from_str(raw.get()).map_err(|_| what)).transpose()
    }

    /// Returns the argument when it has the shape; servers put other things there, which we do not need.
    fn if_shaped<T: Deserialize<'a>>(&self, place: usize) -> Option<T> {
        self.optional(place, "").ok().flatten()
    }

    fn user(&self) -> Checked<UserName> {
        self.take::<String>(0, "the user name is no string").map(|name| UserName::new(&name))
    }

    fn options(&self) -> Checked<LoginOptions> {
        let Some(options) =
            self.optional::<OptionsObject<'_>>(2, "the options are no object, or a token is no string")?
        else {
            return Ok(LoginOptions::default());
        };
        let OptionsObject { access_token, device_token, unknown, .. } = options;
        Ok(LoginOptions { access_token, device_token, unknown: unknown.into_object() })
    }
}

fn all_params(raw: Option<&RawValue>) -> RawJson {
    raw.map_or_else(|| RawJson::from_value(&serde_json::Value::Array(Vec::new())), RawJson::from_raw)
}

fn name_of(raw: Option<&RawValue>) -> Option<String> {
    serde_json::from_str(raw?.get()).ok()
}

pub(super) fn decode_client(name: Option<&RawValue>, params: Option<&RawValue>) -> Result<ClientRpc, ClientFault> {
    let name = name_of(name).unwrap_or_default();
    client_call(&name, params).map_err(|what| ClientFault {
        request: None,
        action: Action::from(&*name),
        code: ErrorCode::MessageStructureIsWrong,
        what: what.into(),
    })
}

fn client_call(name: &str, raw: Option<&RawValue>) -> Checked<ClientRpc> {
    let params = Params::read(raw)?;
    Ok(match name {
        "" => return Err("neither a service nor a name"),
        "__ping" => ClientRpc::Ping,
        "login" => ClientRpc::Login {
            user: params.user()?,
            password: params.optional(1, "the password is no string")?.unwrap_or_else(|| Secret::new("")),
            options: params.options()?,
        },
        "loginGenerateOneTimeKey" => ClientRpc::GenerateOneTimeKey { user: params.user()? },
        "loginUsingOneTimeKey" => ClientRpc::LoginOneTimeKey {
            user: params.user()?,
            hash: params.take(1, "the hash is no string")?,
            options: params.options()?,
        },
        "loginStage2" => ClientRpc::LoginSecondStage {
            user: params.user()?,
            code: params.take(1, "the code is no string")?,
            options: params.options()?,
        },
        "refreshOauthToken" => {
            let what = "the refresh token is no string";
            let (refresh, device) = match params.present(1) {
                Some(raw) if raw.get().starts_with('{') => {
                    let both: RefreshObject<'_> = params.take(1, what)?;
                    (both.refresh.ok_or(what)?, both.device)
                }
                _ => (params.take(1, what)?, None),
            };
            ClientRpc::RefreshToken { user: params.user()?, refresh, device }
        }
        "registerPushToken" => ClientRpc::RegisterPushToken(params.take(0, "the push token is no string")?),
        "unregisterPushToken" => ClientRpc::UnregisterPushToken(params.take(0, "the push token is no string")?),
        "pushFeedback" => ClientRpc::PushFeedback(params.take(0, "the notification is missing")?),
        _ => ClientRpc::Unknown { name: name.into(), params: all_params(raw) },
    })
}

pub(super) fn decode_server(name: Option<&RawValue>, params: Option<&RawValue>) -> Result<ServerRpc, DecodeError> {
    let name = name_of(name).unwrap_or_default();
    server_call(&name, params).map_err(|what| DecodeError::content(&name, what))
}

fn server_call(name: &str, raw: Option<&RawValue>) -> Checked<ServerRpc> {
    let params = Params::read(raw)?;
    let code = || params.take::<Int>(0, "the code is no number")?.exact().ok_or("the code is out of range");
    Ok(match name {
        "" => return Err("neither a service nor a name"),
        "__connectionSuccessful" | "__createConnection" => {
            ServerRpc::Greeting { connection: params.if_shaped(0), announcement: announcement(&params)? }
        }
        "__connectionFailed" => ServerRpc::GoAway,
        "__pong" => ServerRpc::Pong,
        "loginSuccessful" => {
            let grant: Option<GrantObject<'_>> = params.optional(1, "the second argument is not shaped as expected")?;
            let (connection, tokens) = grant.map_or((None, None), |grant| (grant.connection, grant.tokens));
            ServerRpc::LoggedIn {
                display_name: params.if_shaped(0).unwrap_or_default(),
                connection,
                tokens: tokens.map(TokensObject::read).transpose()?,
            }
        }
        "loginFailed" => ServerRpc::LoginFailed { code: code()?, extra: params.if_shaped(1) },
        "refreshOauthTokenSuccessful" => {
            let grant: GrantObject<'_> = params.take(0, "the argument is not shaped as expected")?;
            ServerRpc::Refreshed(grant.tokens.ok_or("OAuth is missing")?.read()?)
        }
        "refreshOauthTokenFailed" => ServerRpc::RefreshFailed { code: code()? },
        _ => ServerRpc::Unknown { name: name.into(), params: all_params(raw) },
    })
}

/// Reads what our own server says about itself; other servers have no second argument, or another one.
fn announcement(params: &Params<'_>) -> Checked<Announcement> {
    let Some(raw) = params.present(1).filter(|raw| raw.get().starts_with('{')) else {
        return Ok(Announcement::default());
    };
    let what = "the announcement is not shaped as expected";
    let greeting: GreetingObject<'_> = serde_json::from_str(raw.get()).map_err(|_| what)?;
    let Some(said) = greeting.backscroll else { return Ok(Announcement::default()) };
    let rate = match (said.burst, said.interval_us) {
        (Some(burst), Some(interval_us)) => Some(RateLimit { burst, interval: Duration::from_micros(interval_us) }),
        _ => None,
    };
    let (idempotent, heads) = (said.idempotent.unwrap_or_default(), said.heads.unwrap_or_default());
    Ok(Announcement { idempotent, heads, rate })
}

impl TokensObject<'_> {
    fn read(self) -> Checked<Tokens> {
        let seconds = |time: Option<Time>| time.and_then(Time::get).unwrap_or_default().0;
        Ok(Tokens {
            access: self.access.ok_or("OAuth.accessToken is missing")?,
            access_expires_s: seconds(self.access_expires),
            refresh: self.refresh.ok_or("OAuth.refreshToken is missing")?,
            refresh_expires_s: seconds(self.refresh_expires),
        })
    }
}

fn call(name: &str, fill: impl FnOnce(&mut Array<'_>)) -> String {
    document(|frame| {
        frame.member("name", name);
        frame.array("params", fill);
    })
}

/// Returns the long form, unless it would not be read as the same name again.
fn login_name(user: &UserName) -> String {
    let long = user.long_form();
    if UserName::new(&long) == *user { long } else { user.as_str().to_owned() }
}

fn write_options(params: &mut Array<'_>, options: &LoginOptions) {
    params.object(|object| {
        object.optional("accessToken", &options.access_token);
        object.optional("deviceToken", &options.device_token);
        object.splice(options.unknown.as_ref().and_then(|unknown| unknown.parse().ok()));
    });
}

fn write_tokens(object: &mut Object<'_>, tokens: &Tokens) {
    object.object("OAuth", |object| {
        object.member("accessToken", &tokens.access);
        object.member("accessExpire", &tokens.access_expires_s);
        object.member("refreshToken", &tokens.refresh);
        object.member("refreshExpire", &tokens.refresh_expires_s);
    });
}

pub(super) fn encode_client(rpc: &ClientRpc) -> String {
    let login = |name: &str, user: &UserName, secret: &Secret, options: &LoginOptions| {
        call(name, |params| {
            params.item(&login_name(user));
            params.item(secret);
            write_options(params, options);
        })
    };
    match rpc {
        ClientRpc::Ping => call("__ping", |params| params.array(|_| {})),
        ClientRpc::Login { user, password, options } => login("login", user, password, options),
        ClientRpc::GenerateOneTimeKey { user } => {
            call("loginGenerateOneTimeKey", |params| params.item(&login_name(user)))
        }
        ClientRpc::LoginOneTimeKey { user, hash, options } => login("loginUsingOneTimeKey", user, hash, options),
        ClientRpc::LoginSecondStage { user, code, options } => login("loginStage2", user, code, options),
        ClientRpc::RefreshToken { user, refresh, device } => call("refreshOauthToken", |params| {
            params.item(&login_name(user));
            match device {
                None => params.item(refresh),
                Some(device) => params.object(|object| {
                    object.member("refreshToken", refresh);
                    object.member("deviceToken", device);
                }),
            }
        }),
        ClientRpc::RegisterPushToken(token) => call("registerPushToken", |params| params.item(token)),
        ClientRpc::UnregisterPushToken(token) => call("unregisterPushToken", |params| params.item(token)),
        ClientRpc::PushFeedback(notification) => call("pushFeedback", |params| params.raw(notification)),
        ClientRpc::Unknown { name, params } => unknown(name, params),
    }
}

fn unknown(name: &str, params: &RawJson) -> String {
    document(|frame| {
        frame.member("name", name);
        frame.raw("params", params);
    })
}

pub(super) fn encode_server(rpc: &ServerRpc) -> String {
    match rpc {
        ServerRpc::Greeting { connection, announcement } => call("__connectionSuccessful", |params| {
            let is_silent = *announcement == Announcement::default();
            if connection.is_some() || !is_silent {
                params.item(connection);
            }
            if !is_silent {
                params.object(|object| object.object("backscroll", |object| write_announcement(object, announcement)));
            }
        }),
        ServerRpc::GoAway => call("__connectionFailed", |_| {}),
        ServerRpc::Pong => call("__pong", |_| {}),
        ServerRpc::LoggedIn { display_name, connection, tokens } => call("loginSuccessful", |params| {
            params.item(display_name);
            params.object(|object| {
                object.optional("connectionId", connection);
                // Calls are no business of ours; the vendor's clients are used to an empty list.
                object.array("iceConfig", |_| {});
                if let Some(tokens) = tokens {
                    write_tokens(object, tokens);
                }
            });
        }),
        ServerRpc::LoginFailed { code, extra } => call("loginFailed", |params| {
            params.item(code);
            if let Some(extra) = extra {
                params.item(extra);
            }
        }),
        ServerRpc::Refreshed(tokens) => call("refreshOauthTokenSuccessful", |params| {
            params.object(|object| write_tokens(object, tokens));
        }),
        ServerRpc::RefreshFailed { code } => call("refreshOauthTokenFailed", |params| params.item(code)),
        ServerRpc::Unknown { name, params } => unknown(name, params),
    }
}

fn write_announcement(object: &mut Object<'_>, announcement: &Announcement) {
    object.member("idempotent", &announcement.idempotent);
    object.member("heads", &announcement.heads);
    if let Some(rate) = announcement.rate {
        object.member("burst", &rate.burst);
        object.member("interval_us", &u64::try_from(rate.interval.as_micros()).unwrap_or(u64::MAX));
    }
}
