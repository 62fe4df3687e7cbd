//! The server: the real hub behind a login that is made up.

use super::{EPOCH, Flavour, Packet, World, foreign};
use backscroll::model::{Action, ErrorCode, MessagingError, RequestId, Secret, Timestamp, Tokens, UserId, UserName};
use backscroll::protocol::{ClientFrame, ClientRpc, Header, Push, Request, ServerChat, ServerFrame, ServerRpc};
use backscroll_server::hub::Context;

impl World {
    pub(super) fn restart(&mut self) {
        self.struck.restarts += 1;
        let conns: Vec<u64> = self.conns.keys().copied().collect();
        for conn in conns {
            self.packets.retain(|_, packet| !matches!(packet, Packet::ToServer(of, _) if *of == conn));
            let known = self.conns.get_mut(&conn).expect("known");
            known.user = None;
            if known.heard && !known.silent {
                known.silent = true;
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
                if self.chance(self.faults.refuse_request) {
                    self.struck.refused_requests += 1;
                    let codes = [ErrorCode::LimitPerSecond, ErrorCode::ServiceUnavailable, ErrorCode::Internal];
                    let code = codes[self.rng.usize(0..codes.len())];
                    return self.refuse(conn, chat.request, chat.body.action(), code);
                }
                self.serve_request(conn, caller, chat.request, chat.body);
                if self.chance(self.faults.restart) {
                    self.restart();
                }
            }
        }
    }

    pub(super) fn refuse(&mut self, conn: u64, request: RequestId, action: Action, code: ErrorCode) {
        let header = Header { action, initiator: None, timestamp: None, unknown: None };
        let push = Push::Error { header, error: MessagingError::from(code) };
        self.reply(conn, ServerFrame::Chat(ServerChat { request: Some(request), push }));
    }

    pub(super) fn serve_rpc(&mut self, conn: u64, rpc: ClientRpc) {
        let user_of = |world: &Self, name: &UserName| world.users.iter().find(|(_, known)| known == name).map(|u| u.0);
        let tokens = Tokens {
            access: Secret::new("access"),
            access_expires_s: 172_800,
            refresh: Secret::new("refresh"),
            refresh_expires_s: 2_592_000,
        };
        match rpc {
            ClientRpc::Ping => self.reply(conn, ServerFrame::Rpc(ServerRpc::Pong)),
            ClientRpc::Login { user, options, .. } => {
                if options.access_token.is_some() && self.chance(self.faults.expire) {
                    self.struck.expired += 1;
                    return self.reply(conn, ServerFrame::Rpc(ServerRpc::LoginFailed { code: 701, extra: None }));
                }
                let id = user_of(self, &user);
                if let Some(known) = self.conns.get_mut(&conn) {
                    known.user = id;
                }
                let rpc = ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: Some(tokens) };
                self.reply(conn, ServerFrame::Rpc(rpc));
            }
            ClientRpc::RefreshToken { .. } => self.reply(conn, ServerFrame::Rpc(ServerRpc::Refreshed(tokens))),
            _ => {}
        }
    }

    pub(super) fn serve_request(&mut self, conn: u64, caller: UserId, request: RequestId, body: Request) {
        let foreign = self.flavour != Flavour::Ours;
        let seconds = i64::try_from(self.now.as_secs()).expect("a short life");
        // A foreign hub knows neither our tokens nor that it saw a request before.
        let (known_as, body) =
            if foreign { (RequestId::from_uuid(self.fresh()), foreign::veil_request(body)) } else { (request, body) };
        let context = Context { now: Timestamp(EPOCH + seconds), caller, request: known_as, fresh: self.fresh() };
        let outcome = self.hub.handle(&context, body).expect("memory does not fail");
        for chat in outcome.reply {
            let mut push = chat.push;
            if foreign {
                push = foreign::unveil(push);
                if let Push::Retransmitted { count, .. } = &mut push {
                    *count = None;
                    if self.chance(self.faults.leave_out) {
                        self.struck.left_out += 1;
                        continue;
                    }
                }
            }
            let answers = chat.request.map(|_| request);
            self.reply(conn, ServerFrame::Chat(ServerChat { request: answers, push }));
        }
        for fan_out in outcome.fan_out {
            let push = if foreign { foreign::unveil(fan_out.push) } else { fan_out.push };
            let others: Vec<u64> = self
                .conns
                .iter()
                .filter(|(id, other)| **id != conn && other.user.is_some_and(|user| fan_out.users.contains(&user)))
                .map(|(id, _)| *id)
                .collect();
            for other in others {
                let frame = ServerFrame::Chat(ServerChat { request: None, push: push.clone() });
                if self.chance(self.faults.duplicate) {
                    self.struck.duplicates += 1;
                    self.reply(other, frame.clone());
                }
                self.reply(other, frame);
            }
        }
    }
}
