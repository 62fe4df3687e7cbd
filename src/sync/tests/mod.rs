//! Scenarios: the core is driven by hand, frame by frame, and says what it would do.
#![expect(clippy::wildcard_enum_match_arm, reason = "a scenario looks for one thing among many")]

mod catching_up;
mod heads;
mod link;
mod outbox;
mod scale;
mod session;
mod wishes;
mod writes;

use super::{
    Command, CommandId, Core, Input, LinkId, LinkState, Output, Query, Refusal, Reply, SavedState, Settings, Signal,
    SignedOut, Write,
};
use crate::model::{
    Action, ClientToken, Conversation, ConversationConfig, ConversationId, Credentials, ErrorCode, Event, EventBody,
    HistoryPolicy, Intent, MessageContent, MessageId, MessagingError, OutboxState, Participant, PrivateUser, RawJson,
    RequestId, Secret, Sequence, SequenceRange, ServerAddress, Session, Timestamp, Tokens, Uptime, User, UserId,
    UserName, with_token,
};
use crate::protocol::{
    Announcement, ClientFrame, ClientRpc, Header, Push, RateLimit, Request, ServerChat, ServerFrame, ServerRpc, UserKey,
};
use std::time::Duration;
use uuid::Uuid;

const ROOM: u128 = 10;

fn conversation(n: u128) -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(n))
}

fn token(n: u128) -> ClientToken {
    // Apart from the uuids of conversations, as random ones are: a token may stand for one.
    ClientToken::from_uuid(Uuid::from_u128(n + (1 << 64)))
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
    /// How often in a row something was due at once.
    spins: u32,
}

impl Shell {
    fn resume() -> Self {
        Self::restore(SavedState { session: Some(session()), ..SavedState::default() })
    }

    fn restore(saved: SavedState) -> Self {
        Self::restore_with(saved, HistoryPolicy::Everything)
    }

    fn restore_with(saved: SavedState, history: HistoryPolicy) -> Self {
        let rate = RateLimit { burst: 64, interval: Duration::from_millis(1) };
        let settings = Settings { rate, history, ..Settings::default() };
        // Another process draws other request ids than the one that left this.
        let seed = 1 + saved.outbox.len() as u64;
        let core = Core::restore(saved, settings, seed, Uptime::default());
        Self { core, now: Uptime::default(), commands: 0, link: None, state: LinkState::default(), spins: 0 }
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
        self.spins = if due > self.now { 0 } else { self.spins + 1 };
        assert!(self.spins < 1_000, "O-8: due again and again, and nothing comes of it");
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

    /// As [`Shell::wait_for`], on a link whose peer shows that it lives.
    fn live_until(&mut self, limit: Duration, found: impl Fn(&[Output]) -> bool) -> Vec<Output> {
        let end = self.now.after(limit);
        loop {
            let mut outputs = self.give(Input::Noise(self.link()));
            outputs.extend(self.wait());
            assert!(self.now <= end, "not within {limit:?}");
            if found(&outputs) {
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
        let rate = idempotent.then_some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
        self.greet(Announcement { idempotent, heads: false, rate })
    }

    fn greet(&mut self, announcement: Announcement) -> Vec<Output> {
        if self.link.is_none() {
            self.wait_for(Duration::from_secs(90), |output| matches!(output, Output::Dial(..)));
        }
        self.give(Input::Connected(self.link()));
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
        self.tell_own_user_of(request, conversations, &[])
    }

    fn tell_own_user_of(&mut self, request: RequestId, conversations: &[u128], left: &[u128]) -> Vec<Output> {
        let private = PrivateUser {
            custom_data: RawJson::empty_object(),
            notifications: Vec::new(),
            conversations: conversations.iter().map(|n| conversation(*n)).collect(),
            left_conversations: left.iter().map(|n| conversation(*n)).collect(),
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

fn asked(outputs: &[Output]) -> Vec<(i64, i64)> {
    ranges(outputs).into_iter().map(|(_, from, to)| (from, to)).collect()
}

fn answers(outputs: &[Output]) -> Vec<Result<Reply, Refusal>> {
    let answers = outputs.iter().filter_map(|output| match output {
        Output::Answer(_, answer) => Some(answer.clone()),
        _ => None,
    });
    answers.collect()
}

/// Returns whether heads are asked for.
fn asks_heads(outputs: &[Output]) -> bool {
    requests(outputs).iter().any(|(_, body)| matches!(body, Request::GetConversations(_)))
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
