//! Scenarios: the core is driven by hand, frame by frame, and says what it would do.
#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario looks for one thing among many")]

use super::{
    Command, CommandId, Core, Input, LinkId, LinkState, Output, Refusal, Reply, SavedState, Settings, Signal,
    SignedOut, Write,
};
use crate::model::{
    Action, ClientToken, Conversation, ConversationConfig, ConversationId, Credentials, ErrorCode, Event, EventBody,
    Intent, MessageContent, MessageId, MessagingError, OutboxState, Participant, PrivateUser, RawJson, RequestId,
    Secret, Sequence, ServerAddress, Session, Timestamp, Tokens, Uptime, User, UserId, UserName, with_token,
};
use crate::protocol::{
    Announcement, ClientFrame, ClientRpc, Header, Push, RateLimit, Request, ServerChat, ServerFrame, ServerRpc,
};
use std::time::Duration;
use uuid::Uuid;

mod session;

const ROOM: u128 = 10;

fn conversation(n: u128) -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(n))
}

fn token(n: u128) -> ClientToken {
    ClientToken::from_uuid(Uuid::from_u128(n))
}

fn me() -> UserId {
    UserId::new(101).expect("small")
}

fn header(action: Action) -> Header {
    Header::new(action, me(), Timestamp(1))
}

fn described(n: u128, head: u32) -> Conversation {
    let config = ConversationConfig { participants: vec![Participant::new(me())], ..ConversationConfig::default() };
    Conversation::recreate(conversation(n), config, Sequence(head), Timestamp(1), Timestamp(1))
}

fn message(n: u128, sequence: u32, initiator: UserId, own: Option<ClientToken>) -> Event {
    let id = MessageId::from_uuid(Uuid::from_u128(u128::from(sequence) + (n << 32)));
    let payload = own.map(|token| with_token(None, token));
    Event {
        conversation: conversation(n),
        sequence: Sequence(sequence),
        action: Action::SendMessage,
        initiator,
        timestamp: Timestamp(i64::from(sequence)),
        body: EventBody::MessageSent(MessageContent { id, text: format!("text {sequence}"), payload }),
        unknown: None,
    }
}

fn stranger() -> UserId {
    UserId::new(102).expect("small")
}

fn session() -> Session {
    let tokens = Tokens {
        access: Secret::new("access"),
        access_expires_s: 1,
        refresh: Secret::new("refresh"),
        refresh_expires_s: 1,
    };
    let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
    let user = UserName::new("alice@chat.acme");
    Session { user, user_id: Some(me()), server, tokens: Some(tokens), refused: None, device: None }
}

/// A shell that performs nothing, and remembers what it was told.
struct Shell {
    core: Core,
    now: Uptime,
    commands: u64,
    link: Option<LinkId>,
    state: LinkState,
}

impl Shell {
    fn resume() -> Self {
        Self::restore(SavedState { session: Some(session()), ..SavedState::default() })
    }

    fn restore(saved: SavedState) -> Self {
        let rate = RateLimit { burst: 64, interval: Duration::from_millis(1) };
        let settings = Settings { rate, ..Settings::default() };
        let core = Core::restore(saved, settings, 1, Uptime::default());
        Self { core, now: Uptime::default(), commands: 0, link: None, state: LinkState::default() }
    }

    fn give(&mut self, input: Input) -> Vec<Output> {
        let outputs = self.core.handle(self.now, input);
        for output in &outputs {
            match output {
                Output::Dial(link, _) => {
                    assert_eq!(self.link, None, "C-5: a second link while one is open");
                    self.link = Some(*link);
                }
                Output::HangUp(link) => assert_eq!(self.link.take(), Some(*link)),
                Output::Signal(Signal::Link(state)) => self.state = state.clone(),
                Output::Write(_) | Output::Send(..) | Output::Load(_) | Output::Answer(..) | Output::Signal(_) => {}
            }
        }
        outputs
    }

    /// Lets time pass until something is due.
    fn wait(&mut self) -> Vec<Output> {
        let due = self.core.deadline().expect("something is due");
        self.now = self.now.max(due);
        self.give(Input::DeadlinePassed)
    }

    /// Lets time pass until `found` is among the outputs; fails when `limit` passes first.
    fn wait_for(&mut self, limit: Duration, found: impl Fn(&Output) -> bool) -> Vec<Output> {
        let end = self.now.after(limit);
        loop {
            let outputs = self.wait();
            assert!(self.now <= end, "not within {limit:?}");
            if outputs.iter().any(&found) {
                return outputs;
            }
        }
    }

    fn link(&self) -> LinkId {
        self.link.expect("a link")
    }

    fn frame(&mut self, frame: ServerFrame) -> Vec<Output> {
        self.give(Input::Frame(self.link(), frame))
    }

    fn rpc(&mut self, rpc: ServerRpc) -> Vec<Output> {
        self.frame(ServerFrame::Rpc(rpc))
    }

    fn push(&mut self, request: Option<RequestId>, push: Push) -> Vec<Output> {
        self.frame(ServerFrame::Chat(ServerChat { request, push }))
    }

    fn command(&mut self, command: Command) -> Vec<Output> {
        self.commands += 1;
        self.give(Input::Command(CommandId(self.commands), command))
    }

    fn send_text(&mut self, n: u128) -> Vec<Output> {
        let intent = Intent::SendMessage { conversation: conversation(ROOM), text: format!("{n}"), payload: None };
        self.command(Command::Submit { token: token(n), intent, queued_at: Timestamp(1) })
    }

    fn lose_link(&mut self) -> Vec<Output> {
        let link = self.link.take().expect("a link");
        self.give(Input::Disconnected(link))
    }

    /// Dials and greets; returns the outputs behind the greeting.
    fn connect(&mut self, idempotent: bool) -> Vec<Output> {
        if self.link.is_none() {
            self.wait_for(Duration::from_secs(90), |output| matches!(output, Output::Dial(..)));
        }
        self.give(Input::Connected(self.link()));
        let rate = idempotent.then_some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
        let announcement = Announcement { idempotent, heads: false, rate };
        self.rpc(ServerRpc::Greeting { connection: None, announcement })
    }

    /// Connects, logs in, and tells who the user is and that there is one conversation with this head.
    fn come_up(&mut self, idempotent: bool, head: u32) -> Vec<Output> {
        self.connect(idempotent);
        let outputs = self.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
        let own_user = requests(&outputs).remove(0);
        let outputs = self.tell_own_user(own_user.0, &[ROOM]);
        let heads = requests(&outputs);
        let (id, _) = heads.iter().find(|(_, body)| matches!(body, Request::GetConversations(_))).expect("heads");
        self.push(
            Some(*id),
            Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, head) },
        )
    }

    fn tell_own_user(&mut self, request: RequestId, conversations: &[u128]) -> Vec<Output> {
        let private = PrivateUser {
            custom_data: RawJson::empty_object(),
            notifications: Vec::new(),
            conversations: conversations.iter().map(|n| conversation(*n)).collect(),
            left_conversations: Vec::new(),
        };
        let user = User {
            id: me(),
            name: UserName::new("alice@chat.acme"),
            display_name: String::new(),
            custom_data: RawJson::empty_object(),
            deleted: false,
            private: Some(private),
        };
        self.push(Some(request), Push::User { header: header(Action::GetUser), user })
    }

    fn answer_range(&mut self, request: RequestId, first: u32, last: u32, own: &[(u32, ClientToken)]) -> Vec<Output> {
        let mut outputs = Vec::new();
        for sequence in first..=last {
            let token = own.iter().find(|(at, _)| *at == sequence).map(|(_, token)| *token);
            let by = if token.is_some() { me() } else { stranger() };
            outputs.extend(self.push(
                Some(request),
                Push::Retransmitted {
                    header: header(Action::RetransmitEvents),
                    from: None,
                    to: None,
                    count: Some(last - first + 1),
                    event: message(ROOM, sequence, by, token),
                },
            ));
        }
        outputs
    }
}

fn requests(outputs: &[Output]) -> Vec<(RequestId, Request)> {
    let chats = outputs.iter().filter_map(|output| match output {
        Output::Send(_, ClientFrame::Chat(chat)) => Some((chat.request, chat.body.clone())),
        Output::Send(_, ClientFrame::Rpc(_))
        | Output::Write(_)
        | Output::Dial(..)
        | Output::HangUp(_)
        | Output::Load(_)
        | Output::Answer(..)
        | Output::Signal(_) => None,
    });
    chats.collect()
}

fn ranges(outputs: &[Output]) -> Vec<(RequestId, i64, i64)> {
    let asked = requests(outputs);
    let asked = asked.into_iter().filter_map(|(id, body)| match body {
        Request::RetransmitEvents { from: Some(from), to: Some(to), .. } => Some((id, from, to)),
        _ => None,
    });
    asked.collect()
}

fn sends(outputs: &[Output]) -> Vec<RequestId> {
    requests(outputs)
        .into_iter()
        .filter(|(_, body)| matches!(body, Request::SendMessage { .. }))
        .map(|(id, _)| id)
        .collect()
}

fn position(outputs: &[Output], found: impl Fn(&Output) -> bool) -> usize {
    outputs.iter().position(found).expect("among the outputs")
}

fn stores_entry(output: &Output, state: OutboxState) -> bool {
    matches!(output, Output::Write(writes)
        if writes.iter().any(|write| matches!(write, Write::Outbox(entry) if entry.state == state)))
}

#[test]
fn what_is_wanted_is_stored_before_it_is_accepted_and_again_before_it_leaves() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.send_text(1);
    let queued = position(&outputs, |output| stores_entry(output, OutboxState::Queued));
    let accepted = position(&outputs, |output| matches!(output, Output::Answer(_, Ok(Reply::Accepted(_)))));
    let sending = position(&outputs, |output| stores_entry(output, OutboxState::Sending));
    let sent = position(&outputs, |output| matches!(output, Output::Send(..)));
    assert!(queued < accepted && sending < sent, "{outputs:?}");
}

#[test]
fn an_event_is_stored_before_it_is_shown() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.push(None, Push::Event(message(ROOM, 1, stranger(), None)));
    let stored = position(&outputs, |output| matches!(output, Output::Write(_)));
    let shown = position(&outputs, |output| matches!(output, Output::Signal(Signal::Event { live: true, .. })));
    assert!(stored < shown);
    let again = shell.push(None, Push::Event(message(ROOM, 1, stranger(), None)));
    assert!(again.is_empty(), "L-1: a second copy changes nothing: {again:?}");
}

#[test]
fn a_frame_of_an_old_link_is_ignored() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let old = shell.link();
    shell.lose_link();
    let chat = ServerChat { request: None, push: Push::Event(message(ROOM, 1, stranger(), None)) };
    assert!(shell.give(Input::Frame(old, ServerFrame::Chat(chat))).is_empty());
}

/// C-1, C-2: an expired token is refreshed once; the new pair is stored before it is used.
#[test]
fn an_expired_token_is_refreshed_and_a_refused_one_ends_the_session() {
    let mut shell = Shell::resume();
    let outputs = shell.connect(true);
    assert!(matches!(&outputs[..], [Output::Send(_, ClientFrame::Rpc(ClientRpc::Login { options, .. })), ..]
        if options.access_token.is_some()));
    let outputs = shell.rpc(ServerRpc::LoginFailed { code: 701, extra: None });
    assert!(matches!(&outputs[..], [Output::Send(_, ClientFrame::Rpc(ClientRpc::RefreshToken { .. }))]));
    let fresh = Tokens { access: Secret::new("new"), ..session().tokens.expect("a pair") };
    let outputs = shell.rpc(ServerRpc::Refreshed(fresh));
    let stored = position(&outputs, |output| matches!(output, Output::Write(_)));
    let used = position(&outputs, |output| matches!(output, Output::Send(..)));
    assert!(stored < used);
    let outputs = shell.rpc(ServerRpc::LoginFailed { code: 701, extra: None });
    assert_eq!(shell.state, LinkState::SignedOut(SignedOut::Refused { code: 701 }));
    assert!(outputs.iter().any(|output| matches!(output, Output::HangUp(_))));
    assert_eq!(shell.core.deadline(), None, "nothing is tried again by itself");
    // What is written meanwhile is kept for the same user.
    assert!(shell.send_text(1).iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Accepted(_))))));
}

#[test]
fn a_login_as_somebody_else_is_refused() {
    let mut shell = Shell::resume();
    let credentials = Credentials::Password { user: UserName::new("bob@chat.acme"), password: Secret::new("x") };
    let outputs = shell.command(Command::LogIn { credentials, server: session().server });
    let refused = |output: &Output| matches!(output, Output::Answer(_, Err(Refusal::OtherUser { .. })));
    assert!(outputs.iter().any(refused), "{outputs:?}");
}

/// R-87, C-4: a peer that says nothing any more is found within 20 s, and replaced.
#[test]
fn a_silent_peer_is_given_up_within_twenty_seconds() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    shell.wait_for(Duration::from_secs(20), |output| matches!(output, Output::HangUp(_)));
    if shell.link.is_none() {
        shell.wait_for(Duration::from_secs(5), |output| matches!(output, Output::Dial(..)));
    }
}

/// L-9: an event far beyond the head is stored and shown, and hides nothing.
#[test]
fn an_event_far_beyond_the_head_leaves_a_gap_that_is_fetched() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.push(None, Push::Event(message(ROOM, 501, stranger(), None)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Signal(Signal::Event { live: true, .. }))));
    let asked: Vec<_> = ranges(&outputs).into_iter().map(|(_, from, to)| (from, to)).collect();
    assert_eq!(asked, [(401, 500), (301, 400), (201, 300), (101, 200), (1, 100)]);
    assert_eq!(shell.state, LinkState::CatchingUp { missing: 500 });
}

/// L-5: an answer that lacks something covers no more than it brought; what is asked for again is the rest.
#[test]
fn an_incomplete_answer_of_a_foreign_server_covers_only_what_came() {
    let mut shell = Shell::resume();
    let outputs = shell.come_up(false, 10);
    let (request, from, to) = ranges(&outputs)[0];
    assert_eq!((from, to), (1, 10));
    for sequence in [1, 2, 3, 5, 6, 7, 8, 9, 10] {
        let push = Push::Retransmitted {
            header: header(Action::RetransmitEvents),
            from: None,
            to: None,
            count: Some(9),
            event: message(ROOM, sequence, stranger(), None),
        };
        assert!(shell.push(Some(request), push).is_empty(), "the number of frames is not believed");
    }
    let mut outputs = Vec::new();
    while !ranges(&outputs).iter().any(|(id, ..)| *id != request) {
        // The peer lives; only this answer does not come.
        shell.give(Input::Noise(shell.link()));
        outputs = shell.wait();
    }
    assert_eq!(ranges(&outputs).iter().map(|(_, from, to)| (*from, *to)).collect::<Vec<_>>(), [(4, 4)]);
}

/// O-4: one conversation's messages leave in order; a refusal for good is set aside and holds nothing up.
#[test]
fn a_refused_message_is_set_aside_and_the_next_one_leaves() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    assert_eq!(sends(&shell.send_text(2)), [], "in order: one at a time");
    let error = MessagingError::from(ErrorCode::Acl);
    let outputs = shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Failed)));
    assert_eq!(sends(&outputs).len(), 1);
}

/// R-28, O-8: a refusal for now is tried again on schedule, with no further input, and never in a tight loop.
#[test]
fn a_refusal_for_now_is_tried_again_with_the_same_request_id() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    for code in [ErrorCode::LimitPerSecond, ErrorCode::Internal, ErrorCode::ServiceUnavailable] {
        let error = MessagingError::from(code);
        let outputs = shell.push(Some(first), Push::Error { header: header(Action::SendMessage), error });
        assert_eq!(sends(&outputs), [], "not at once");
        let before = shell.now;
        let again = shell.wait_for(Duration::from_secs(10), |output| {
            matches!(output, Output::Send(_, ClientFrame::Chat(chat)) if matches!(chat.body, Request::SendMessage { .. }))
        });
        assert_eq!(sends(&again), [first]);
        assert!(shell.now.since(before) >= Duration::from_millis(400));
    }
}

/// R-22, O-1: on a server that does nothing twice, what is uncertain is sent again at once, with the same id.
#[test]
fn what_is_uncertain_is_sent_again_at_once_to_a_server_that_does_nothing_twice() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let first = sends(&shell.send_text(1))[0];
    let outputs = shell.lose_link();
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Uncertain)));
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    assert_eq!(sends(&outputs), [first]);
}

/// elsewhere it waits out the quarantine, reads the head anew, holds history up to it, and only then goes again.
#[test]
fn what_is_uncertain_is_looked_for_before_it_is_sent_again_to_a_foreign_server() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    let first = sends(&shell.send_text(1))[0];
    let lost_at = shell.now;
    shell.lose_link();
    shell.come_up(false, 0);
    let mut outputs = Vec::new();
    while !requests(&outputs).iter().any(|(_, body)| matches!(body, Request::GetConversations(_))) {
        shell.give(Input::Noise(shell.link()));
        outputs = shell.wait();
        assert_eq!(sends(&outputs), [], "nothing is sent before the look");
    }
    assert!(shell.now.since(lost_at) >= Settings::default().quarantine);
    let (look, _) = requests(&outputs).remove(0);
    let push = Push::Conversation { header: header(Action::GetConversations), conversation: described(ROOM, 2) };
    let outputs = shell.push(Some(look), push);
    assert_eq!(sends(&outputs), [], "history up to the head is not held yet");
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 1, 2, &[]);
    assert_eq!(sends(&outputs), [first], "absent: sent again with the same id");
}

/// found in history, it is settled and never sent again.
#[test]
fn what_is_found_in_history_is_settled_and_not_sent_again() {
    let mut shell = Shell::resume();
    shell.come_up(false, 0);
    assert_eq!(sends(&shell.send_text(1)).len(), 1);
    shell.lose_link();
    let outputs = shell.come_up(false, 2);
    let (request, ..) = ranges(&outputs)[0];
    let outputs = shell.answer_range(request, 1, 2, &[(2, token(1))]);
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
    for _ in 0..30 {
        shell.give(Input::Noise(shell.link()));
        assert_eq!(sends(&shell.wait()), []);
    }
}

/// killed between sending and answer, the entry is uncertain at the next start, not stuck.
#[test]
fn what_was_being_sent_when_the_process_ended_is_uncertain_at_the_next_start() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let outputs = shell.send_text(1);
    let kept = outputs.iter().rev().find_map(|output| match output {
        Output::Write(writes) => writes.iter().rev().find_map(|write| match write {
            Write::Outbox(entry) => Some(entry.clone()),
            _ => None,
        }),
        _ => None,
    });
    let kept = kept.expect("stored");
    assert_eq!(kept.state, OutboxState::Sending);
    let saved = SavedState { session: Some(session()), outbox: vec![kept.clone()], ..SavedState::default() };
    let mut shell = Shell::restore(saved);
    shell.connect(true);
    let outputs = shell.rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None });
    assert_eq!(sends(&outputs), [kept.request]);
}

/// O-10: what has left and was not refused cannot be taken back; what has not can.
#[test]
fn an_entry_is_taken_back_only_while_it_cannot_have_arrived() {
    let mut shell = Shell::resume();
    shell.send_text(1);
    let outputs = shell.command(Command::Cancel(token(1)));
    assert!(outputs.iter().any(|output| matches!(output, Output::Answer(_, Ok(Reply::Done)))));
    shell.send_text(2);
    shell.come_up(true, 0);
    for _ in 0..2 {
        let outputs = shell.command(Command::Cancel(token(2)));
        assert!(outputs.iter().any(|output| matches!(output, Output::Answer(_, Err(Refusal::TooLate)))));
        // Uncertain, and then queued to be sent again: it may have arrived all the same.
        shell.lose_link();
        shell.come_up(true, 0);
    }
}

/// The answer to an attempt at a direct conversation that exists describes it under its newest number.
#[test]
fn an_existing_direct_conversation_is_a_description_and_no_event() {
    let mut shell = Shell::resume();
    shell.come_up(true, 0);
    let intent = Intent::CreateConversation(ConversationConfig { direct: true, ..ConversationConfig::default() });
    let outputs = shell.command(Command::Submit { token: token(1), intent, queued_at: Timestamp(1) });
    let (request, _) = requests(&outputs).remove(0);
    let event = Event {
        conversation: conversation(20),
        sequence: Sequence(7),
        action: Action::CreateConversation,
        initiator: me(),
        timestamp: Timestamp(1),
        body: EventBody::ConversationCreated(Box::new(described(20, 7))),
        unknown: None,
    };
    let outputs = shell.push(Some(request), Push::Event(event));
    let stored_event = |output: &Output| matches!(output, Output::Write(writes) if writes.iter().any(|write| matches!(write, Write::Events(..))));
    assert!(!outputs.iter().any(stored_event), "position 7 holds something else");
    assert!(outputs.iter().any(|output| stores_entry(output, OutboxState::Settled)));
    assert_eq!(ranges(&outputs).iter().map(|(_, from, to)| (*from, *to)).collect::<Vec<_>>(), [(1, 7)]);
}

/// word of a network is acted upon at once.
#[test]
fn word_of_a_network_ends_the_wait() {
    let mut shell = Shell::resume();
    for _ in 0..6 {
        shell.wait_for(Duration::from_secs(90), |output| matches!(output, Output::Dial(..)));
        shell.lose_link();
    }
    assert!(shell.core.deadline().expect("a next attempt") > shell.now);
    let outputs = shell.command(Command::NetworkChanged);
    assert!(outputs.iter().any(|output| matches!(output, Output::Dial(..))));
}
