//! One match over [`Input`], handing parts to the parts.

use super::fetching::Fetch;
use super::heads::Since;
use super::ledger::Ledger;
use super::link::{Link, Phase};
use super::login::{Goal, LoginCommand, Renewal};
use super::outbox::{Lane, Outbox};
use super::pace::{Pace, Window};
use super::pending::{Heads, Pending, Purpose, Range, Users};
use super::push_tokens::PushTokens;
use super::{
    Command, CommandId, Input, LinkId, LinkState, Output, Query, Refusal, Reply, SavedState, Settings, Signal, Write,
};
use crate::model::{
    ClientToken, ConversationId, Credentials, ErrorCode, MessagingError, OutboxEntry, RequestId, Secret, Session,
    Uptime, UserId,
};
use crate::protocol::{
    CONVERSATIONS_MAX, ClientChat, ClientFrame, ClientRpc, GREETING_TIMEOUT, Request, ServerFrame, USERS_MAX, UserKey,
};
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// Entries of the outbox under way at once, each in a lane of its own.
const OUTBOX_WINDOW: usize = 32;

/// The state machine. Plain data: a copy decides as the original does, so a test may follow both ways from a fork.
#[derive(Clone, Debug)]
pub struct Core {
    pub(super) settings: Settings,
    pub(super) rng: Rng,
    /// The time of the input being handled.
    pub(super) now: Uptime,
    pub(super) session: Option<Session>,
    /// The password that logged in last in this process: tried again when the tokens fail. Never stored.
    pub(super) credentials: Option<Credentials>,
    /// A login the application waits for.
    pub(super) login: Option<LoginCommand>,
    /// When the tokens are renewed, and whether that is under way.
    pub(super) renewal: Renewal,
    /// The id of this device, until a login succeeds that it went along with.
    pub(super) new_device: Option<Secret>,
    /// The code with which the server refused the last login for now.
    pub(super) refused_for_now: Option<i64>,
    pub(super) push: PushTokens,
    pub(super) link: Link,
    /// Whether the present server does nothing twice.
    pub(super) idempotent: bool,
    pub(super) pace: Pace,
    pub(super) window: Window,
    pub(super) pending: Pending,
    pub(super) ledger: Ledger,
    pub(super) outbox: Outbox,
    /// Where asking for heads since a cursor stands.
    pub(super) since: Since,
    /// Parts of history that somebody waits for.
    pub(super) fetches: Vec<Fetch>,
    /// Questions of the application that wait for the link, with the time they are given up.
    pub(super) queries: VecDeque<(CommandId, Query, Uptime)>,
    /// What goes out now or never.
    pub(super) volatile: VecDeque<(CommandId, Request)>,
    /// Where the user was last said to be writing, and when.
    pub(super) typed_at: BTreeMap<ConversationId, Uptime>,
    /// Questions of which a part is answered, and the next may be asked.
    pub(super) continued: VecDeque<Purpose>,
    /// Participants whose names are neither held nor asked for.
    pub(super) nameless: BTreeSet<UserId>,
    /// Users whose names are held.
    pub(super) named: BTreeSet<UserId>,
    /// Users whose names were asked for on the present link: who cannot be named stays a number.
    pub(super) asked_names: BTreeSet<UserId>,
    /// Whether the own user, with the list of conversations, is to be read.
    pub(super) wants_own_user: bool,
    /// Whether the list of those the user follows is to be read.
    pub(super) wants_subscriptions: bool,
    /// Whether the own user was read on the present link.
    pub(super) knows_own_user: bool,
    /// When heads are asked for again though nothing happens.
    pub(super) tail_check_at: Uptime,
    /// Conversations whose heads were asked for on the present link, and not told though each was asked for by itself.
    pub(super) unheard: BTreeSet<ConversationId>,
    /// Where the round of tail checks goes on.
    pub(super) tail_check_from: Option<ConversationId>,
    /// Whether the outbox had its turn last; it and catching up alternate.
    outbox_had_turn: bool,
    /// Whether everything was held at some moment of the present link.
    was_live: bool,
    reported: LinkState,
    pub(super) out: Vec<Output>,
}

impl Core {
    /// Rebuilds the core from what the store holds: at the start, and after any failed write.
    ///
    /// `seed` decides every choice that is left to chance: request ids, delays. A core with a session
    /// that can log in dials at its first deadline, which is `now`.
    pub fn restore(saved: SavedState, settings: Settings, seed: u64, now: Uptime) -> Self {
        let can_log_in = saved.session.as_ref().is_some_and(|session| session.tokens.is_some());
        let phase = if can_log_in { Phase::Down { until: now } } else { Phase::Idle };
        let mut rng = Rng::with_seed(seed);
        // Half of the range is left to count up in.
        let before = LinkId(rng.u64(..) >> 1);
        Self {
            rng,
            now,
            session: saved.session,
            credentials: None,
            login: None,
            renewal: Renewal::Unplanned,
            new_device: None,
            refused_for_now: None,
            push: PushTokens::restore(saved.push_tokens),
            link: Link::new(before, phase, settings.backoff),
            idempotent: false,
            pace: Pace::new(settings.rate),
            window: Window::default(),
            pending: Pending::default(),
            ledger: Ledger::restore(saved.conversations, settings.history),
            outbox: Outbox::restore(saved.outbox, saved.last_position, now.after(settings.quarantine)),
            queries: VecDeque::new(),
            since: Since::restore(saved.heads_cursor),
            fetches: Vec::new(),
            volatile: VecDeque::new(),
            typed_at: BTreeMap::new(),
            continued: VecDeque::new(),
            nameless: BTreeSet::new(),
            named: saved.users,
            asked_names: BTreeSet::new(),
            wants_own_user: false,
            wants_subscriptions: false,
            knows_own_user: false,
            tail_check_at: now,
            unheard: BTreeSet::new(),
            tail_check_from: None,
            outbox_had_turn: false,
            was_live: false,
            reported: LinkState::default(),
            settings,
            out: Vec::new(),
        }
    }

    /// Takes one input and returns what must now be done.
    #[must_use = "outputs are the only effect of this call"]
    pub fn handle(&mut self, now: Uptime, input: Input) -> Vec<Output> {
        // A shell that woke early, or a clock read twice, must not turn time back.
        self.now = self.now.max(now);
        match input {
            Input::Connected(link) if self.link.is(link) => self.connected(),
            Input::Frame(link, frame) if self.link.is(link) => {
                self.link.heard(self.now);
                match frame {
                    ServerFrame::Rpc(rpc) => self.rpc(rpc),
                    ServerFrame::Chat(chat) => self.chat(chat),
                }
            }
            Input::Noise(link) if self.link.is(link) => self.link.heard(self.now),
            Input::Disconnected(link) if self.link.is(link) => self.link_lost(),
            Input::Connected(_) | Input::Frame(..) | Input::Noise(_) | Input::Disconnected(_) => {}
            Input::DeadlinePassed => {}
            Input::Command(id, command) => self.command(id, command),
            Input::Wish(number, wish) => self.take_wish(number, wish),
            Input::Loaded(token, message) => self.loaded(token, message),
        }
        self.time_passes();
        self.pump();
        self.report();
        std::mem::take(&mut self.out)
    }

    /// Returns when [`Input::DeadlinePassed`] is next due, derived from the state; `None` for never.
    ///
    /// A deadline that has passed already means "at once".
    pub fn deadline(&self) -> Option<Uptime> {
        let ready = self.link.phase == Phase::Ready;
        let work = (ready && self.has_work()).then(|| self.pace.next(self.now));
        let looks = ready.then(|| self.outbox.next_wake()).flatten();
        let ledger = ready.then(|| self.ledger.next_wake()).flatten();
        let tail = (ready && self.knows_own_user).then_some(self.tail_check_at);
        let query = self.queries.front().map(|(_, _, until)| *until);
        let link = self.link.deadline(self.settings.silence_limit);
        let renewal = ready.then(|| self.renewal.deadline()).flatten();
        [work, looks, ledger, tail, query, link, renewal, self.pending.deadline()].into_iter().flatten().min()
    }

    /// Returns the own user's number, once the server has told it.
    pub(super) fn me(&self) -> Option<UserId> {
        self.session.as_ref()?.user_id
    }

    fn command(&mut self, id: CommandId, command: Command) {
        match command {
            Command::LogIn { credentials, server } => self.log_in(LoginCommand::new(id, Goal::In(credentials), server)),
            Command::OneTimeKey { user, server } => self.log_in(LoginCommand::new(id, Goal::Key(user), server)),
            Command::LogOut => self.log_out(id),
            Command::PushToken(token) => self.push_token(id, token),
            Command::PushFeedback(notification) => self.push_feedback(id, notification),
            Command::Submit { token, intent, queued_at } => self.submit(id, token, intent, queued_at),
            Command::Cancel(token) => self.cancel(id, token),
            Command::Retry(token) => self.retry(id, token),
            Command::Typing(conversation) => self.typing(id, self.outbox.resolve(conversation)),
            Command::SetStatus(online) => self.volatile(id, Request::SetStatus { online }),
            Command::Query(query) => self.query(id, query),
            Command::Focus(conversations) => {
                // Whoever opens a conversation wants what waits there to leave.
                let conversations: Vec<ConversationId> =
                    conversations.into_iter().map(|id| self.outbox.resolve(id)).collect();
                conversations.iter().for_each(|id| self.outbox.wake_lane(Lane::Conversation(*id)));
                self.ledger.set_focus(conversations);
                self.answer(id, Ok(Reply::Done));
            }
            Command::Fetch { conversation, range } => self.fetch(id, conversation, range),
            Command::SetHistory(conversation, policy) => self.set_history(id, conversation, policy),
            Command::NetworkChanged => {
                self.link.backoff.reset();
                self.outbox.wake_all();
                if matches!(self.link.phase, Phase::Down { .. }) {
                    self.link.phase = Phase::Down { until: self.now };
                }
                self.link.ping_now(self.now);
                self.answer(id, Ok(Reply::Done));
            }
        }
    }

    /// Whatever is due by now happens.
    fn time_passes(&mut self) {
        if let Phase::Down { until } = self.link.phase
            && until <= self.now
        {
            self.dial();
        }
        if self.link.is_overdue(self.now, self.settings.silence_limit) {
            self.give_link_up();
        }
        while let Some((id, purpose)) = self.pending.take_overdue(self.now) {
            self.request_timed_out(id, purpose);
        }
        while let Some((id, _, _)) = self.queries.front().filter(|(_, _, until)| *until <= self.now) {
            let id = *id;
            self.queries.pop_front();
            self.answer(id, Err(Refusal::Offline));
        }
        if self.link.take_ping(self.now, self.settings.ping_interval) {
            self.send(ClientFrame::Rpc(ClientRpc::Ping));
        }
        if self.link.phase == Phase::Ready {
            self.renew_tokens();
        }
        if self.link.phase == Phase::Ready {
            self.ledger.wake(self.now);
            self.outbox.wake(self.now);
            self.check_tails();
            self.look_for_uncertain();
        }
    }

    fn request_timed_out(&mut self, id: RequestId, purpose: Purpose) {
        match purpose {
            // Nobody knows whether it was done: only a new link and a look can tell.
            Purpose::Outbox(_) | Purpose::OwnUser => {
                self.pending.insert(id, purpose, self.now.after(self.settings.request_timeout));
                self.give_link_up();
            }
            Purpose::Heads(heads) => self.heads_answered(heads, false),
            Purpose::HeadsSince(_) => self.heads_since_failed(),
            Purpose::Range(range) => self.range_answered(range, false),
            Purpose::Users(users) => self.users_answered(users, false),
            Purpose::List(id) => self.answer(id, Err(timed_out())),
            // What is held stays until the next login.
            Purpose::Subscriptions => {}
            Purpose::Volatile(id) => self.answer(id, Ok(Reply::Done)),
            Purpose::Fact(token) => self.entry_refused(token, MessagingError::from(ErrorCode::Timeout)),
        }
    }

    fn has_work(&self) -> bool {
        !self.queries.is_empty()
            || !self.volatile.is_empty()
            || !self.continued.is_empty()
            || self.wants_own_user
            || self.may_ask_subscriptions()
            || self.may_send_entry()
            || (self.pending.catch_up_count() < self.window.size()
                && (self.since.wanted
                    || self.ledger.heads_waiting() > 0
                    || !self.nameless.is_empty()
                    || (self.knows_own_user && self.ledger.is_wanting())))
    }

    fn may_send_entry(&self) -> bool {
        self.outbox.next_ready().is_some() && self.pending.outbox_count() < OUTBOX_WINDOW
    }

    const fn may_ask_subscriptions(&self) -> bool {
        self.wants_subscriptions && self.knows_own_user
    }

    /// Sends what the pace allows.
    fn pump(&mut self) {
        while self.link.phase == Phase::Ready && self.has_work() && self.pace.take(self.now) {
            if self.wants_own_user {
                self.ask_own_user();
            } else if let Some((id, body)) = self.volatile.pop_front() {
                self.request(body, Purpose::Volatile(id));
            } else if let Some(purpose) = self.continued.pop_front() {
                self.go_on(purpose);
            } else if let Some((id, query, _)) = self.queries.pop_front() {
                self.ask_query(id, query);
            } else if self.outbox_had_turn && self.ask_for_history() {
                self.outbox_had_turn = false;
            } else if let Some(entry) = self.outbox.next_ready().filter(|_| self.may_send_entry()).cloned() {
                self.outbox_had_turn = true;
                self.send_entry(entry);
            } else if !self.ask_for_history() && self.may_ask_subscriptions() {
                self.wants_subscriptions = false;
                self.request(Request::GetSubscriptions, Purpose::Subscriptions);
            }
        }
    }

    /// Asks for heads or for a range, and returns whether there was anything to ask.
    fn ask_for_history(&mut self) -> bool {
        if self.pending.catch_up_count() >= self.window.size() {
            return false;
        }
        if self.since.wanted {
            self.ask_heads_since();
            return true;
        }
        if self.ledger.heads_waiting() > 0 {
            let waiting = self.ledger.take_heads(CONVERSATIONS_MAX);
            self.ask_heads(waiting, None);
            return true;
        }
        if !self.nameless.is_empty() {
            self.ask_names();
            return true;
        }
        if !self.knows_own_user {
            return false;
        }
        let Some((conversation, range)) = self.ledger.take_range() else { return false };
        self.ask_range(Range::new(conversation, range, None));
        true
    }

    /// Asks for one head before all others: a decision waits for it, or it may have spoilt an answer for many.
    pub(super) fn ask_one_head(&mut self, id: ConversationId, decides: bool) {
        let heads = Heads { decides, ..Heads::new(BTreeSet::from([id]), None) };
        self.continued.push_back(Purpose::Heads(heads));
    }

    pub(super) fn ask_heads(&mut self, waiting: BTreeSet<ConversationId>, command: Option<CommandId>) {
        let ids: Vec<ConversationId> = waiting.iter().copied().collect();
        self.request(Request::GetConversations(ids), Purpose::Heads(Heads::new(waiting, command)));
    }

    /// Asks who the participants are that nobody has named yet.
    fn ask_names(&mut self) {
        let ids: Vec<UserId> = self.nameless.iter().take(USERS_MAX).copied().collect();
        for id in &ids {
            self.nameless.remove(id);
            self.asked_names.insert(*id);
        }
        self.ask_users(ids.into_iter().map(UserKey::Id).collect(), None);
    }

    pub(super) fn ask_range(&mut self, range: Range) {
        let request = Request::RetransmitEvents {
            conversation: range.conversation,
            from: Some(i64::from(range.range.first().get())),
            to: Some(i64::from(range.range.last().get())),
            count: None,
        };
        self.request(request, Purpose::Range(range));
    }

    /// Sends a request with a fresh id.
    pub(super) fn request(&mut self, body: Request, purpose: Purpose) {
        let request = self.fresh_request_id();
        self.request_as(request, body, purpose);
    }

    /// Sends a request with a given id.
    pub(super) fn request_as(&mut self, request: RequestId, body: Request, purpose: Purpose) {
        let patience = self.settings.request_timeout.saturating_mul(purpose.patience());
        self.pending.insert(request, purpose, self.now.after(patience));
        self.send(ClientFrame::Chat(ClientChat { request, body }));
    }

    pub(super) fn fresh_request_id(&mut self) -> RequestId {
        let bytes = self.rng.u128(..).to_be_bytes();
        RequestId::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    pub(super) fn fresh_token(&mut self) -> ClientToken {
        let bytes = self.rng.u128(..).to_be_bytes();
        ClientToken::from_uuid(uuid::Builder::from_random_bytes(bytes).into_uuid())
    }

    /// A request went well: so may others that rest.
    pub(super) fn succeeded(&mut self) {
        self.pace.succeed();
        self.outbox.wake_rested(self.now);
    }

    fn connected(&mut self) {
        self.link.heard(self.now);
        self.link.phase = Phase::Greeting { deadline: self.now.after(GREETING_TIMEOUT) };
    }

    fn dial(&mut self) {
        self.refused_for_now = None;
        let pending_login = self.login.as_ref().map(|login| &login.server);
        let stored = self.session.as_ref().map(|session| &session.server);
        match pending_login.or(stored).cloned() {
            Some(server) => {
                let link = self.link.dial(server.clone());
                self.out.push(Output::Dial(link, server));
            }
            None => self.link.phase = Phase::Idle,
        }
    }

    /// Gives the link up on our side: nothing of it may still arrive at the server.
    pub(super) fn give_link_up(&mut self) {
        if self.link.is_up() {
            self.out.push(Output::HangUp(self.link.id));
            self.link_lost();
        }
    }

    /// The link is gone, for whatever reason.
    pub(super) fn link_lost(&mut self) {
        let had_worked = self.knows_own_user;
        self.knows_own_user = false;
        self.was_live = false;
        self.wants_own_user = false;
        self.wants_subscriptions = false;
        self.unheard.clear();
        self.idempotent = false;
        self.window = Window::default();
        self.since.link_lost();
        self.lose_fetches();
        self.nameless.clear();
        self.asked_names.clear();
        self.ledger.link_lost();
        for (id, _) in std::mem::take(&mut self.volatile) {
            self.answer(id, Ok(Reply::Done));
        }
        for purpose in self.pending.drain().into_iter().chain(std::mem::take(&mut self.continued)) {
            match purpose {
                Purpose::Heads(Heads { command: Some(id), .. })
                | Purpose::Range(Range { command: Some(id), .. })
                | Purpose::Users(Users { command: Some(id), .. })
                | Purpose::List(id) => self.answer(id, Err(Refusal::Offline)),
                Purpose::Volatile(id) => self.answer(id, Ok(Reply::Done)),
                Purpose::Heads(_)
                | Purpose::HeadsSince(_)
                | Purpose::Range(_)
                | Purpose::Users(_)
                | Purpose::Subscriptions
                | Purpose::Outbox(_)
                | Purpose::Fact(_)
                | Purpose::OwnUser => {}
            }
        }
        for entry in self.outbox.link_lost(self.now.after(self.settings.quarantine)) {
            self.record(entry);
        }
        self.login_lost();
        self.renewal.link_lost(self.now);
        // After a link that worked the next may come soon, but not of all clients in the same instant.
        let delay = self.link.backoff.fail(&mut self.rng).mul_f64(if had_worked { self.rng.f64() } else { 1.0 });
        let until = self.now.after(delay);
        self.link.phase = if self.can_log_in() { Phase::Down { until } } else { Phase::Idle };
    }

    fn report(&mut self) {
        self.was_live |= self.link.phase == Phase::Ready && self.is_caught_up();
        let state = match self.link.phase {
            Phase::Idle => LinkState::before_dialling(self.session.as_ref()),
            Phase::Down { until } => {
                LinkState::Offline { retry_in: until.since(self.now), refused: self.refused_for_now }
            }
            Phase::Dialing | Phase::Greeting { .. } | Phase::LoggingIn { .. } | Phase::KeyGiven { .. } => {
                LinkState::Connecting
            }
            Phase::Ready if self.is_caught_up() => LinkState::Live,
            Phase::Ready => {
                let waiting = self.ledger.heads_waiting() + usize::from(self.since.wanted);
                let unchecked = (waiting + self.pending.heads_awaited()) as u64;
                LinkState::CatchingUp { unchecked, missing: self.ledger.missing() }
            }
        };
        // One wait is told once, not again at each input that shortens what is left of it.
        let same_wait = matches!((&state, &self.reported), (LinkState::Offline { .. }, LinkState::Offline { .. }));
        if state != self.reported && !same_wait {
            self.reported = state.clone();
            self.signal(Signal::Link(state));
        }
    }

    fn is_caught_up(&self) -> bool {
        // Once live, reading heads again takes nothing back: only what it brings to light does.
        let heads_compared = self.was_live
            || (!self.since.wanted
                && self.ledger.heads_waiting() == 0
                && self.continued.is_empty()
                && !self.pending.awaits_heads());
        self.knows_own_user && heads_compared && self.ledger.missing() == 0
    }

    /// Stores, then tells, how an entry stands.
    pub(super) fn record(&mut self, entry: OutboxEntry) {
        self.write(Write::Outbox(entry.clone()));
        self.signal(Signal::Outbox { entry, event: None, cancelled: false });
    }

    /// Adds to the writes at the end of the outputs, or begins new ones behind what was put out since.
    pub(super) fn write(&mut self, write: Write) {
        match self.out.last_mut() {
            Some(Output::Write(writes)) => writes.push(write),
            _ => self.out.push(Output::Write(vec![write])),
        }
    }

    pub(super) fn send(&mut self, frame: ClientFrame) {
        self.out.push(Output::Send(self.link.id, frame));
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.out.push(Output::Signal(signal));
    }

    pub(super) fn answer(&mut self, id: CommandId, reply: Result<Reply, Refusal>) {
        match id.wish() {
            // Whoever wished is told through the file.
            Some(number) => self.wish_answered(number, reply),
            None => self.out.push(Output::Answer(id, reply)),
        }
    }
}

/// The time-out of a request, as the application sees it.
pub(super) fn timed_out() -> Refusal {
    Refusal::Messaging(MessagingError::from(ErrorCode::Timeout))
}
