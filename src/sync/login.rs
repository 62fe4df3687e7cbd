//! Credentials and tokens: who logs in with what, and what is tried when that fails.
//!
//! ```text
//!   greeted ─┬▶ password, answer to a key, access token of a waiting login ─────────┬──────▶ in
//!            ├▶ wish for a one-time key ── 302 ──▶ the answer ──────────────────────┤
//!            │                              └────▶ the application, which has five minutes
//!            ├▶ refresh token of a waiting login ──────────────┐ stored             │
//!            └▶ access token kept ─┬── 401, 701 ──▶ refresh ───┴──▶ new access token┤
//!                 ▲                └────────────────────────────────────────────────┘
//!                 │ in a while       refresh, or the new token, refused: the password this
//!               402, 403, 500, …     process last logged in with, or nobody
//!
//!   in ── nine tenths of the access token's life ──▶ refresh on the live link ──▶ stored ──▶ in
//! ```
//!
//! A refresh happens on the one link there is, in its one phase, or once it is logged in: there are never two.

use super::core::Core;
use super::link::{Attempt, Phase};
use super::pending::Purpose;
use super::{CommandId, Refusal, Reply, Signal, Write};
use crate::model::{
    ConversationId, Credentials, Membership, Secret, ServerAddress, Session, Tokens, Uptime, User, UserName,
};
use crate::protocol::{
    Announcement, ClientFrame, ClientRpc, LoginOptions, Request, ServerRpc, UserKey, one_time_key_answer, password_hash,
};
use std::collections::BTreeSet;
use std::time::Duration;

/// The password is right, and a second-stage code is wanted. Source of all codes: protocol notes, section 3.
const SECOND_STAGE: i64 = 301;
/// No failure: the answer carries the one-time key that was asked for.
const ONE_TIME_KEY: i64 = 302;
/// The token or password is not valid.
const NOT_VALID: i64 = 401;
/// There is no such user, or no longer.
const NO_SUCH_USER: i64 = 404;
/// The server failed: the same may succeed later.
const INTERNAL: i64 = 500;
/// The token has expired.
const EXPIRED: i64 = 701;

/// How long a one-time key can be answered. Source: protocol notes, section 3.3.
const ONE_TIME_KEY_LIVES: Duration = Duration::from_secs(5 * 60);

/// The longest life of an access token that is believed. The vendor's texts disagree about the unit, and what is
/// longer than a year is a date or a number of milliseconds: such a token is used until it is refused.
const LIFE_BELIEVED_MAX: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// The least time between two renewals on a live link, whatever a server says of the tokens' life.
const RENEWAL_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// How long after a failure of the server a renewal is tried again; the old access token has a tenth of its life left.
const RENEWAL_RETRY: Duration = Duration::from_secs(60);

/// What the application waits for.
#[derive(Clone, Debug)]
pub(super) struct LoginCommand {
    id: CommandId,
    goal: Goal,
    pub(super) server: ServerAddress,
}

/// Where a login command is to lead.
#[derive(Clone, Debug)]
pub(super) enum Goal {
    /// To a session.
    In(Credentials),
    /// To a one-time key for this user.
    Key(UserName),
}

impl LoginCommand {
    pub(super) const fn new(id: CommandId, goal: Goal, server: ServerAddress) -> Self {
        Self { id, goal, server }
    }

    const fn user(&self) -> &UserName {
        match &self.goal {
            Goal::In(credentials) => credentials.user(),
            Goal::Key(user) => user,
        }
    }
}

/// The renewal of tokens before they end, on a link that is logged in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// Nothing is known of their life: they are used until they are refused.
    Unplanned,
    /// To be asked for, on whatever link there is then.
    Due(Uptime),
    /// Asked for.
    UnderWay {
        /// When the link is taken for dead.
        deadline: Uptime,
    },
}

impl Renewal {
    fn plan(tokens: &Tokens, now: Uptime) -> Self {
        let life = Duration::from_secs(u64::try_from(tokens.access_expires_s).unwrap_or(0));
        if life.is_zero() || life > LIFE_BELIEVED_MAX {
            return Self::Unplanned;
        }
        Self::Due(now.after((life / 10 * 9).max(RENEWAL_INTERVAL_MIN)))
    }

    pub(super) const fn deadline(self) -> Option<Uptime> {
        match self {
            Self::Unplanned => None,
            Self::Due(at) | Self::UnderWay { deadline: at } => Some(at),
        }
    }

    /// Nobody knows what became of a wish that was under way.
    pub(super) const fn link_lost(&mut self, now: Uptime) {
        if let Self::UnderWay { .. } = self {
            *self = Self::Due(now);
        }
    }
}

impl Core {
    pub(super) fn log_in(&mut self, login: LoginCommand) {
        if let Some(session) = &self.session
            && session.user != *login.user()
        {
            let owner = session.user.clone();
            return self.answer(login.id, Err(Refusal::OtherUser { owner }));
        }
        self.login_lost();
        // The answer to a key belongs on the link that gave the key, should the server insist.
        let answers_key = matches!(login.goal, Goal::In(Credentials::OneTimeKeyHash { .. }));
        if answers_key
            && matches!(self.link.phase, Phase::KeyGiven { .. })
            && self.link.server.as_ref() == Some(&login.server)
        {
            self.login = Some(login);
            return self.attempt_login();
        }
        if self.link.is_up() {
            self.give_link_up();
        }
        self.login = Some(login);
        self.link.backoff.reset();
        self.link.phase = Phase::Down { until: self.now };
    }

    pub(super) fn log_out(&mut self, id: CommandId) {
        self.login_lost();
        self.credentials = None;
        self.end_session(None);
        if self.link.is_up() {
            self.give_link_up();
        }
        self.link.phase = Phase::Idle;
        self.answer(id, Ok(Reply::Done));
    }

    /// Forgets the tokens; `refused` is the code with which the server ended the session, if it did.
    fn end_session(&mut self, refused: Option<i64>) {
        self.renewal = Renewal::Unplanned;
        if let Some(session) = &mut self.session {
            session.tokens = None;
            session.refused = refused;
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
            (
                ServerRpc::LoginFailed { code: ONE_TIME_KEY, extra: Some(key) },
                Phase::LoggingIn { attempt: Attempt::Key, .. },
            ) => self.key_given(key),
            (ServerRpc::LoginFailed { code, .. }, Phase::LoggingIn { attempt, .. }) => self.login_failed(attempt, code),
            (ServerRpc::Refreshed(tokens), Phase::LoggingIn { attempt: Attempt::Refresh, .. }) => {
                self.refreshed(tokens);
            }
            (ServerRpc::RefreshFailed { code }, Phase::LoggingIn { attempt: Attempt::Refresh, .. }) => {
                self.refresh_failed(code);
            }
            (ServerRpc::Refreshed(tokens), Phase::Ready) if self.is_renewing() => self.keep_tokens(Some(tokens)),
            (ServerRpc::RefreshFailed { code }, Phase::Ready) if self.is_renewing() => {
                // The link is logged in all the same. Whether the session can go on shows at the next one.
                let again = code == INTERNAL;
                self.renewal = if again { Renewal::Due(self.now.after(RENEWAL_RETRY)) } else { Renewal::Unplanned };
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
        self.since.announced = announcement.heads;
        self.pace.set_rate(announcement.rate.unwrap_or(self.settings.rate));
        self.attempt_login();
    }

    /// Sends the best proof there is.
    fn attempt_login(&mut self) {
        match self.login.as_ref().map(|login| login.goal.clone()) {
            Some(Goal::Key(user)) => self.send_login(Attempt::Key, ClientRpc::GenerateOneTimeKey { user }),
            Some(Goal::In(credentials)) => self.show(credentials),
            None if self.has_tokens() => self.show_access_token(Attempt::AccessToken),
            None => match self.credentials.clone() {
                Some(credentials) => self.show(credentials),
                None => self.give_link_up(),
            },
        }
    }

    fn show(&mut self, credentials: Credentials) {
        match credentials {
            Credentials::Password { user, password } => {
                let options = self.login_options();
                self.send_login(Attempt::Proof, ClientRpc::Login { user, password, options });
            }
            Credentials::PasswordByKey { user, .. } => {
                self.send_login(Attempt::Key, ClientRpc::GenerateOneTimeKey { user });
            }
            Credentials::OneTimeKeyHash { user, hash } => {
                let options = self.login_options();
                self.send_login(Attempt::Proof, ClientRpc::LoginOneTimeKey { user, hash, options });
            }
            Credentials::AccessToken { user, token } => {
                let options = LoginOptions { access_token: Some(token), ..self.login_options() };
                self.send_login(Attempt::Proof, ClientRpc::Login { user, password: Secret::new(""), options });
            }
            Credentials::RefreshToken { user, token: refresh } => {
                self.send_login(Attempt::Refresh, ClientRpc::RefreshToken { user, refresh, device: None });
            }
        }
    }

    fn has_tokens(&self) -> bool {
        self.session.as_ref().is_some_and(|session| session.tokens.is_some())
    }

    fn show_access_token(&mut self, attempt: Attempt) {
        let Some(Session { user, tokens: Some(tokens), .. }) = &self.session else { return self.give_link_up() };
        let (user, access_token) = (user.clone(), Some(tokens.access.clone()));
        let options = LoginOptions { access_token, ..self.login_options() };
        self.send_login(attempt, ClientRpc::Login { user, password: Secret::new(""), options });
    }

    /// Returns what goes along with each login: the device's own id, made at the first.
    fn login_options(&mut self) -> LoginOptions {
        let kept = self.session.as_ref().and_then(|session| session.device.clone());
        let device = kept.or_else(|| self.new_device.clone()).unwrap_or_else(|| {
            let made = Secret::new(format!("{:032x}", self.rng.u128(..)));
            self.new_device.insert(made).clone()
        });
        LoginOptions { device_token: Some(device), ..LoginOptions::default() }
    }

    fn send_login(&mut self, attempt: Attempt, rpc: ClientRpc) {
        self.link.phase = Phase::LoggingIn { deadline: self.now.after(self.settings.request_timeout), attempt };
        self.send(ClientFrame::Rpc(rpc));
    }

    /// The server gave a one-time key: to be answered here, or by the application.
    fn key_given(&mut self, key: Secret) {
        let shown = match self.login.as_ref().map(|login| &login.goal) {
            Some(Goal::In(credentials)) => Some(credentials.clone()),
            Some(Goal::Key(_)) => None,
            None => self.credentials.clone(),
        };
        if let Some(Credentials::PasswordByKey { user, password }) = shown {
            let hash = one_time_key_answer(&key, &password_hash(&user, &password));
            return self.show(Credentials::OneTimeKeyHash { user, hash });
        }
        if let Some(login) = self.login.take() {
            self.answer(login.id, Ok(Reply::OneTimeKey(key)));
        }
        self.link.phase = Phase::KeyGiven { deadline: self.now.after(ONE_TIME_KEY_LIVES) };
        self.link.ping_now(self.now.after(self.settings.ping_interval));
    }

    fn logged_in(&mut self, attempt: Attempt, tokens: Option<Tokens>) {
        self.take_up_login();
        if let Some(device) = self.new_device.take()
            && let Some(session) = &mut self.session
        {
            session.device = Some(device);
        }
        // A login by token need not bring new tokens: then the old ones stay.
        let kept = match attempt {
            Attempt::AccessToken | Attempt::FreshToken => self.session.as_ref().and_then(|known| known.tokens.clone()),
            Attempt::Proof | Attempt::Key | Attempt::Refresh => None,
        };
        match (tokens, kept) {
            (None, Some(_)) => {}
            (tokens, _) => self.keep_tokens(tokens),
        }
        self.link.phase = Phase::Ready;
        self.link.ping_now(self.now.after(self.settings.ping_interval));
        self.wants_own_user = true;
        self.wants_subscriptions = true;
        self.tell_push_tokens();
    }

    /// The server agreed to what a waiting login showed: the session is that of its user and server.
    fn take_up_login(&mut self) {
        let Some(LoginCommand { goal: Goal::In(credentials), server, .. }) = &self.login else { return };
        let known = self.session.take();
        let (user_id, device) = known.as_ref().map_or((None, None), |known| (known.user_id, known.device.clone()));
        let tokens = known.and_then(|known| known.tokens);
        let user = credentials.user().clone();
        self.session = Some(Session { user, user_id, server: server.clone(), tokens, refused: None, device });
        self.credentials = Some(credentials.clone()).filter(Credentials::last);
    }

    fn keep_tokens(&mut self, tokens: Option<Tokens>) {
        self.renewal = tokens.as_ref().map_or(Renewal::Unplanned, |tokens| Renewal::plan(tokens, self.now));
        if let Some(session) = &mut self.session {
            session.tokens = tokens;
            session.refused = None;
            let session = session.clone();
            self.write(Write::Session(session));
        }
    }

    fn login_failed(&mut self, attempt: Attempt, code: i64) {
        match attempt {
            Attempt::Proof | Attempt::Key => self.proof_refused(code),
            Attempt::AccessToken if code == NOT_VALID || code == EXPIRED => self.refresh(code),
            Attempt::AccessToken if code == NO_SUCH_USER => self.tokens_refused(code),
            Attempt::FreshToken if code == NOT_VALID || code == EXPIRED || code == NO_SUCH_USER => {
                self.tokens_refused(code);
            }
            Attempt::AccessToken | Attempt::FreshToken | Attempt::Refresh => self.refused_for_now(code),
        }
    }

    fn proof_refused(&mut self, code: i64) {
        if let Some(login) = self.login.take() {
            let refusal = if code == SECOND_STAGE { Refusal::SecondStage } else { Refusal::Login { code } };
            self.answer(login.id, Err(refusal));
            self.give_link_up();
        } else if code == INTERNAL {
            self.refused_for_now(code);
        } else {
            self.credentials = None;
            self.give_link_up();
        }
    }

    /// The session stands; the next attempt may succeed.
    fn refused_for_now(&mut self, code: i64) {
        if let Some(login) = self.login.take() {
            self.answer(login.id, Err(Refusal::Login { code }));
        }
        self.give_link_up();
        self.refused_for_now = Some(code);
    }

    fn refresh(&mut self, code: i64) {
        let Some(rpc) = self.refresh_request() else { return self.tokens_refused(code) };
        self.send_login(Attempt::Refresh, rpc);
    }

    fn refresh_request(&self) -> Option<ClientRpc> {
        let Session { user, tokens: Some(tokens), device, .. } = self.session.as_ref()? else { return None };
        let (user, refresh, device) = (user.clone(), tokens.refresh.clone(), device.clone());
        Some(ClientRpc::RefreshToken { user, refresh, device })
    }

    /// New tokens: on disk before they are used, so that a crash in between leaves a usable pair.
    fn refreshed(&mut self, tokens: Tokens) {
        self.take_up_login();
        self.keep_tokens(Some(tokens));
        self.show_access_token(Attempt::FreshToken);
    }

    fn refresh_failed(&mut self, code: i64) {
        if self.login.is_some() || code == INTERNAL {
            self.refused_for_now(code);
        } else {
            self.tokens_refused(code);
        }
    }

    /// Neither token works: the password of this process is left, or a new login.
    fn tokens_refused(&mut self, code: i64) {
        self.end_session(Some(code));
        if self.login.is_none() && self.credentials.is_some() {
            self.attempt_login();
        } else {
            self.refused_for_now(code);
        }
    }

    fn is_renewing(&self) -> bool {
        matches!(self.renewal, Renewal::UnderWay { .. })
    }

    /// Asks for new tokens when the old ones are about to end, by the core's own clock.
    pub(super) fn renew_tokens(&mut self) {
        match self.renewal {
            Renewal::Due(at) if at <= self.now => match self.refresh_request() {
                Some(rpc) => {
                    self.renewal = Renewal::UnderWay { deadline: self.now.after(self.settings.request_timeout) };
                    self.send(ClientFrame::Rpc(rpc));
                }
                None => self.renewal = Renewal::Unplanned,
            },
            // Nobody knows whether the old pair still works: a new link and a login will tell.
            Renewal::UnderWay { deadline } if deadline <= self.now => self.give_link_up(),
            Renewal::Unplanned | Renewal::Due(_) | Renewal::UnderWay { .. } => {}
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
            // What was read before the server had told who reads.
            for (conversation, sequence) in self.outbox.own_read_marks() {
                self.ledger.change(conversation, |track| track.own_read = sequence);
                self.write(Write::ReadMark { conversation, user: user.id, sequence });
            }
        }
        self.write(Write::User(user.clone()));
        if let Some(login) = self.login.take() {
            self.answer(login.id, Ok(Reply::LoggedIn(user.id, user.name.clone())));
        }
        self.push_tokens_heard();
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
        self.list_read();
        self.signal(Signal::User(user));
    }

    /// Compares the conversations held with the server's list.
    fn compare_list(&mut self, member: &BTreeSet<ConversationId>, left: &BTreeSet<ConversationId>) {
        let mut doubtful = BTreeSet::new();
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
                doubtful.insert(id);
            }
        }
        for (ids, membership) in [(member, Membership::Member), (left, Membership::Left)] {
            for id in ids {
                if self.ledger.ensure(*id, membership) {
                    self.write(Write::Membership(*id, membership));
                    doubtful.insert(*id);
                }
            }
        }
        doubtful.retain(|id| self.ledger.get(*id).is_some_and(|track| track.membership != Membership::Removed));
        self.compare_all_heads(member.union(&doubtful).copied().collect(), doubtful);
    }
}
