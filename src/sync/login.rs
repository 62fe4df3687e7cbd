//! Credentials and tokens: who logs in with what, and what is tried when that fails.
//!
//! ```text
//!   greeted ──▶ password of a waiting login ──────────────┬─▶ in
//!          └──▶ access token ── 401, 701 ──▶ refresh ──▶ access token ──▶ in
//!                                              │ refused
//!                                              └──▶ the password this process last logged in with, or nobody
//! ```

use super::core::{Core, LoginCommand};
use super::link::{Attempt, Phase};
use super::pending::Purpose;
use super::{CommandId, Refusal, Reply, Signal, Write};
use crate::model::{ConversationId, Credentials, Membership, Secret, Session, Tokens, User, UserName};
use crate::protocol::{
    Announcement, ClientFrame, ClientRpc, LoginOptions, REQUEST_TIMEOUT, Request, ServerRpc, UserKey,
};
use std::collections::BTreeSet;

/// Answers that say the same login may succeed later. Source: protocol notes, section 3.
const INTERNAL: i64 = 500;
/// The token is not valid. Source: protocol notes, section 3.
const NOT_VALID: i64 = 401;
/// The token has expired. Source: protocol notes, section 3.
const EXPIRED: i64 = 701;

impl Core {
    pub(super) fn log_in(&mut self, login: LoginCommand) {
        if let Some(session) = &self.session
            && session.user != *login.credentials.user()
        {
            let owner = session.user.clone();
            return self.answer(login.id, Err(Refusal::OtherUser { owner }));
        }
        if let Some(earlier) = self.login.take() {
            self.answer(earlier.id, Err(Refusal::Offline));
        }
        if self.link.is_up() {
            self.give_link_up();
        }
        self.login = Some(login);
        self.link.backoff.reset();
        self.link.phase = Phase::Down { until: self.now };
    }

    pub(super) fn log_out(&mut self, id: CommandId) {
        self.credentials = None;
        self.forget_tokens();
        if self.link.is_up() {
            self.give_link_up();
        }
        self.link.phase = Phase::Idle;
        self.answer(id, Ok(Reply::Done));
    }

    fn forget_tokens(&mut self) {
        if let Some(session) = &mut self.session {
            session.tokens = None;
            let session = session.clone();
            self.write(Write::Session(session));
        }
    }

    /// Returns whether there is anything to log in with.
    pub(super) fn can_log_in(&self) -> bool {
        self.login.is_some()
            || self.credentials.is_some()
            || self.session.as_ref().is_some_and(|session| session.tokens.is_some())
    }

    /// The link went away under a login: whoever waits for it is told.
    pub(super) fn login_lost(&mut self) {
        if let Some(login) = self.login.take() {
            self.answer(login.id, Err(Refusal::Offline));
        }
    }

    pub(super) fn rpc(&mut self, rpc: ServerRpc) {
        match (rpc, self.link.phase) {
            (ServerRpc::Greeting { announcement, .. }, Phase::Greeting { .. }) => self.greeted(announcement),
            (ServerRpc::GoAway, _) => self.give_link_up(),
            (ServerRpc::LoggedIn { tokens, .. }, Phase::LoggingIn { attempt, .. }) => self.logged_in(attempt, tokens),
            (ServerRpc::LoginFailed { code, .. }, Phase::LoggingIn { attempt, .. }) => self.login_failed(attempt, code),
            (ServerRpc::Refreshed(tokens), Phase::LoggingIn { attempt: Attempt::Refresh, .. }) => {
                // On disk before the old pair is given up: a crash in between leaves a usable one.
                self.keep_tokens(Some(tokens));
                self.attempt_login();
            }
            (ServerRpc::RefreshFailed { code }, Phase::LoggingIn { attempt: Attempt::Refresh, .. }) => {
                if code == INTERNAL {
                    self.give_link_up();
                } else {
                    self.tokens_refused();
                }
            }
            // Out of turn, or about calls: nothing to do, and proof of life already taken.
            (
                ServerRpc::Greeting { .. }
                | ServerRpc::LoggedIn { .. }
                | ServerRpc::LoginFailed { .. }
                | ServerRpc::Refreshed(_)
                | ServerRpc::RefreshFailed { .. }
                | ServerRpc::Pong
                | ServerRpc::Unknown { .. },
                _,
            ) => {}
        }
    }

    fn greeted(&mut self, announcement: Announcement) {
        self.idempotent = announcement.idempotent;
        self.pace.set_rate(announcement.rate.unwrap_or(self.settings.rate));
        self.attempt_login();
    }

    /// Sends the best proof there is.
    fn attempt_login(&mut self) {
        let password = self.login.as_ref().map(|login| &login.credentials);
        let tokens = self.session.as_ref().and_then(|session| Some((&session.user, session.tokens.as_ref()?)));
        let (attempt, user, password, access_token) = match (password, tokens, &self.credentials) {
            (Some(Credentials::Password { user, password }), _, _)
            | (None, None, Some(Credentials::Password { user, password })) => {
                (Attempt::Password, user.clone(), password.clone(), None)
            }
            (None, Some((user, tokens)), _) => {
                (Attempt::AccessToken, user.clone(), Secret::new(""), Some(tokens.access.clone()))
            }
            (None, None, None) => {
                self.give_link_up();
                return;
            }
        };
        let options = LoginOptions { access_token, ..LoginOptions::default() };
        self.send_login(attempt, ClientRpc::Login { user, password, options });
    }

    fn send_login(&mut self, attempt: Attempt, rpc: ClientRpc) {
        self.link.phase = Phase::LoggingIn { deadline: self.now.after(REQUEST_TIMEOUT), attempt };
        self.send(ClientFrame::Rpc(rpc));
    }

    fn logged_in(&mut self, attempt: Attempt, tokens: Option<Tokens>) {
        if let Some(login) = &self.login {
            let user = login.credentials.user().clone();
            let user_id = self.session.as_ref().and_then(|session| session.user_id);
            self.session = Some(Session { user, user_id, server: login.server.clone(), tokens: None });
            self.credentials = Some(login.credentials.clone());
        }
        // A login by token need not bring new tokens: then the old ones stay.
        if tokens.is_some() || attempt == Attempt::Password {
            self.keep_tokens(tokens);
        }
        self.link.phase = Phase::Ready;
        self.link.ping_now(self.now.after(self.settings.ping_interval));
        self.wants_own_user = true;
    }

    fn keep_tokens(&mut self, tokens: Option<Tokens>) {
        if let Some(session) = &mut self.session {
            session.tokens = tokens;
            let session = session.clone();
            self.write(Write::Session(session));
        }
    }

    fn login_failed(&mut self, attempt: Attempt, code: i64) {
        match attempt {
            Attempt::AccessToken if code == NOT_VALID || code == EXPIRED => self.refresh(),
            Attempt::AccessToken | Attempt::Refresh => self.give_link_up(),
            Attempt::Password => {
                self.credentials = None;
                if let Some(login) = self.login.take() {
                    self.answer(login.id, Err(Refusal::Login { code }));
                }
                self.give_link_up();
            }
        }
    }

    fn refresh(&mut self) {
        let Some((user, refresh)) = self.refresh_token() else { return self.tokens_refused() };
        self.send_login(Attempt::Refresh, ClientRpc::RefreshToken { user, refresh, device: None });
    }

    fn refresh_token(&self) -> Option<(UserName, Secret)> {
        let session = self.session.as_ref()?;
        Some((session.user.clone(), session.tokens.as_ref()?.refresh.clone()))
    }

    /// Neither token works: the password of this process is left, or a new login.
    fn tokens_refused(&mut self) {
        self.forget_tokens();
        if self.credentials.is_some() {
            self.attempt_login();
        } else {
            self.give_link_up();
        }
    }

    pub(super) fn ask_own_user(&mut self) {
        self.wants_own_user = false;
        let Some(session) = &self.session else { return };
        let user = session.user.clone();
        self.request(Request::GetUser(UserKey::Name(user)), Purpose::OwnUser);
    }

    /// The server told who the user is and which conversations there are.
    pub(super) fn own_user_answered(&mut self, user: User) {
        let Some(session) = &mut self.session else { return };
        if session.user_id != Some(user.id) {
            session.user_id = Some(user.id);
            let session = session.clone();
            self.write(Write::Session(session));
        }
        self.write(Write::User(user.clone()));
        if let Some(login) = self.login.take() {
            self.answer(login.id, Ok(Reply::LoggedIn(user.id, user.name.clone())));
        }
        self.knows_own_user = true;
        // Not before: a server that takes logins and then fails must not be dialled in a tight loop.
        self.link.backoff.reset();
        self.tail_check_at = self.now.after(self.settings.tail_check_interval);
        if let Some(private) = &user.private {
            self.compare_list(
                &private.conversations.iter().copied().collect(),
                &private.left_conversations.iter().copied().collect(),
            );
        }
        self.own_user_known();
        self.signal(Signal::User(user));
    }

    /// Compares the conversations held with the server's list.
    fn compare_list(&mut self, member: &BTreeSet<ConversationId>, left: &BTreeSet<ConversationId>) {
        let mut wanted: BTreeSet<ConversationId> = member.clone();
        let known: Vec<_> = self.ledger.iter().map(|(id, track)| (id, track.membership)).collect();
        for (id, membership) in known {
            let now = if member.contains(&id) {
                Membership::Member
            } else if left.contains(&id) {
                Membership::Left
            } else if membership == Membership::Stranger {
                membership
            } else {
                Membership::Removed
            };
            if now != membership {
                self.set_membership(id, now);
                // What happened up to the leaving, or since the return, is not known.
                wanted.insert(id);
            }
        }
        for (ids, membership) in [(member, Membership::Member), (left, Membership::Left)] {
            for id in ids {
                if self.ledger.ensure(*id, membership) {
                    self.write(Write::Membership(*id, membership));
                    wanted.insert(*id);
                }
            }
        }
        wanted.retain(|id| self.ledger.get(*id).is_some_and(|track| track.membership != Membership::Removed));
        self.compare_heads(wanted);
    }
}
