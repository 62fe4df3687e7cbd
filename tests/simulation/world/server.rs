//! The server: the real hub behind a login that is made up.

use super::medium::Medium;
use super::{EPOCH, Flavour, Packet, World, foreign};
use backscroll::model::{Action, ErrorCode, MessagingError, RequestId, Secret, Timestamp, Tokens, UserId, UserName};
use backscroll::protocol::{ClientFrame, ClientRpc, Header, Push, Request, ServerChat, ServerFrame, ServerRpc};
use backscroll_server::hub::{Context, FanOut};
use std::collections::BTreeMap;

/// The texts of messages that are refused with a code nobody knows, as often as they are sent.
pub(super) const POISON: &str = "poison";

/// Which tokens are good, and whose they are. A refresh token is good once.
#[derive(Debug, Default)]
pub(super) struct Accounts {
    issued: u64,
    access: BTreeMap<String, UserId>,
    refresh: BTreeMap<String, UserId>,
}

impl Accounts {
    fn issue(&mut self, user: UserId) -> Tokens {
        self.issued += 1;
        let (access, refresh) = (format!("access {}", self.issued), format!("refresh {}", self.issued));
        self.access.insert(access.clone(), user);
        self.refresh.insert(refresh.clone(), user);
        Tokens {
            access: Secret::new(access),
            access_expires_s: 172_800,
            refresh: Secret::new(refresh),
            refresh_expires_s: 2_592_000,
        }
    }
}

impl<M: Medium> World<M> {
    /// Whether the greeting says that nothing is done twice, true or not.
    pub(super) fn announces_idempotence(&self) -> bool {
        self.idempotent || self.flavour == Flavour::Blind
    }

    fn restart(&mut self) {
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        for conn in conns {
            self.packets.retain(|_, packet| !matches!(packet, Packet::ToServer(of, _) if *of == conn));
            let known = self.conns.get_mut(&conn).expect("known");
            known.user = None;
            if known.heard && !known.silent {
                known.silent = true;
                known.quiet_since = None;
                let at = self.now + self.latency();
                self.post(at, Packet::Closed(conn));
            }
        }
    }

    pub(super) fn serve(&mut self, conn: u64, frame: ClientFrame) {
        match frame {
            ClientFrame::Rpc(rpc) => self.serve_rpc(conn, rpc),
            ClientFrame::Chat(chat) => {
                let Some(caller) = self.conns.get(&conn).and_then(|conn| conn.user) else {
                    return self.refuse(conn, chat.request, chat.body.action(), ErrorCode::NotAuthorized);
                };
                if let Request::SendMessage { text, .. } = &chat.body
                    && text.starts_with(POISON)
                {
                    self.tally.strike("poison");
                    return self.refuse(conn, chat.request, chat.body.action(), ErrorCode::Other(4_711));
                }
                if self.chance(self.faults.refuse_request) {
                    let (fault, code) = [
                        ("limit a second", ErrorCode::LimitPerSecond),
                        ("limit a minute", ErrorCode::LimitPerMinute),
                        ("outage", ErrorCode::ServiceUnavailable),
                        ("outage", ErrorCode::Internal),
                    ][self.rng.usize(0..4)];
                    self.tally.strike(fault);
                    return self.refuse(conn, chat.request, chat.body.action(), code);
                }
                if self.strikes("clock jump", self.faults.clock) {
                    self.clock_error = [-3_600, 0, 3_600, 31_536_000][self.rng.usize(0..4)];
                }
                self.serve_request(conn, caller, chat.request, chat.body);
                if self.strikes("server restart", self.faults.restart) {
                    self.restart();
                }
            }
        }
    }

    fn refuse(&mut self, conn: u64, request: RequestId, action: Action, code: ErrorCode) {
        let header = Header { action, initiator: None, timestamp: None, unknown: None };
        let push = Push::Error { header, error: MessagingError::from(code) };
        self.reply(conn, ServerFrame::Chat(ServerChat { request: Some(request), push }));
    }

    fn serve_rpc(&mut self, conn: u64, rpc: ClientRpc) {
        let answer = match rpc {
            ClientRpc::Ping => ServerRpc::Pong,
            ClientRpc::Login { .. } if self.strikes("login outage", self.faults.refuse_login) => {
                ServerRpc::LoginFailed { code: 500, extra: None }
            }
            ClientRpc::Login { user, options, .. } => match self.prove(&user, options.access_token.as_ref()) {
                Ok(id) => {
                    if let Some(known) = self.conns.get_mut(&conn) {
                        known.user = Some(id);
                    }
                    // A login by password brings a pair; by token it may, or leave the old one.
                    let tokens = (options.access_token.is_none() || self.rng.bool()).then(|| self.accounts.issue(id));
                    ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens }
                }
                Err(code) => ServerRpc::LoginFailed { code, extra: None },
            },
            ClientRpc::RefreshToken { refresh, .. } => {
                let known = self.accounts.refresh.remove(refresh.reveal());
                match known {
                    Some(_) if self.strikes("expired refresh token", self.faults.expire_refresh) => {
                        ServerRpc::RefreshFailed { code: 701 }
                    }
                    Some(id) => ServerRpc::Refreshed(self.accounts.issue(id)),
                    None => ServerRpc::RefreshFailed { code: 401 },
                }
            }
            _ => return,
        };
        self.reply(conn, ServerFrame::Rpc(answer));
    }

    /// Returns who logs in, by a token or else by the password, which here is always right.
    fn prove(&mut self, name: &UserName, access: Option<&Secret>) -> Result<UserId, i64> {
        let Some(access) = access else {
            return self.users.iter().find(|(_, known)| known == name).map(|(id, _)| *id).ok_or(404);
        };
        let known = self.accounts.access.get(access.reveal()).copied().ok_or(401)?;
        if self.strikes("expired access token", self.faults.expire) {
            self.accounts.access.remove(access.reveal());
            return Err(701);
        }
        Ok(known)
    }

    /// The server's clock, right or wrong.
    pub(super) fn time_of_day(&self) -> Timestamp {
        let seconds = i64::try_from(self.now.as_secs()).expect("a short life");
        Timestamp(EPOCH + seconds + self.clock_error)
    }

    fn serve_request(&mut self, conn: u64, caller: UserId, request: RequestId, body: Request) {
        // A foreign hub knows neither our tokens nor that it saw a request before.
        let (known_as, body) = if self.idempotent {
            (request, body)
        } else {
            (RequestId::from_uuid(self.fresh()), foreign::veil_request(body))
        };
        let context = Context { now: self.time_of_day(), caller, request: known_as, fresh: self.fresh() };
        let outcome = self.hub.handle(&context, body).expect("memory does not fail");
        for chat in outcome.reply {
            let mut push = chat.push;
            if !self.idempotent {
                push = foreign::unveil(push);
                if let Push::Retransmitted { count, .. } = &mut push {
                    *count = None;
                    if self.strikes("frame left out of an answer", self.faults.leave_out) {
                        let device = self.conns[&conn].device;
                        self.devices[device].interruptions += 1;
                        continue;
                    }
                }
            }
            let answers = chat.request.map(|_| request);
            self.reply(conn, ServerFrame::Chat(ServerChat { request: answers, push }));
        }
        self.tell_others(Some(conn), outcome.fan_out);
    }

    /// Tells every connection of the users named, but for the one that asked.
    pub(super) fn tell_others(&mut self, asked: Option<u64>, pushes: Vec<FanOut>) {
        for FanOut { users, push } in pushes {
            let push = if self.idempotent { push } else { foreign::unveil(push) };
            let others: Vec<u64> = self
                .conns
                .iter()
                .filter(|(id, other)| Some(**id) != asked && other.user.is_some_and(|user| users.contains(&user)))
                .map(|(id, _)| *id)
                .collect();
            for other in others {
                let frame = ServerFrame::Chat(ServerChat { request: None, push: push.clone() });
                if self.strikes("duplicate", self.faults.duplicate) {
                    self.reply(other, frame.clone());
                }
                self.reply(other, frame);
            }
        }
    }
}
