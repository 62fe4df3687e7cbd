//! What one frame costs the core: the same among ten conversations and among ten thousand.
//!
//! `cargo bench --bench frame`. The core is live and holds each conversation whole, with something unsent in every
//! one of them that the server does not answer. Goal: a ratio of about 1.

#[expect(dead_code, reason = "the clock alone")]
mod workload;

use backscroll::model::{
    Action, ClientToken, ConversationId, Event, EventBody, Intent, Membership, MessageContent, MessageId, OutboxEntry,
    OutboxState, PrivateUser, Ranges, RawJson, RequestId, Secret, Sequence, SequenceRange, ServerAddress, Session,
    Timestamp, Tokens, Uptime, User, UserId, UserName,
};
use backscroll::protocol::{Announcement, ClientFrame, Header, Push, RateLimit, ServerChat, ServerFrame, ServerRpc};
use backscroll::sync::{Core, Input, LinkId, Output, SavedConversation, SavedState, Settings};
use std::hint::black_box;
use std::time::Duration;
use uuid::Uuid;
use workload::{median, timed};

/// How many live events a core takes in each round.
const FRAMES: usize = 4_000;
/// How many rounds each, in turns; the median of each side counts.
const ROUNDS: usize = 5;

fn main() {
    let sides = [10, 10_000];
    let mut times = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        for (times, conversations) in times.iter_mut().zip(sides) {
            times.push(a_frame_among(conversations));
        }
    }
    let [few, many] = times.map(median);
    for (conversations, time) in sides.into_iter().zip([few, many]) {
        println!("a live event among {conversations:6} conversations, each with something unsent: {time:?}");
    }
    println!("a thousand times as many: {:.2} times the time (goal: about 1)", many.as_secs_f64() / few.as_secs_f64());
}

fn me() -> UserId {
    UserId::new(5).expect("a small number")
}

fn conversation(n: u128) -> ConversationId {
    ConversationId::from_uuid(Uuid::from_u128(n))
}

/// Returns the median time in which a core takes one live event and says when it is due next.
fn a_frame_among(conversations: u128) -> Duration {
    let (mut core, link) = live_core(conversations);
    let now = Uptime::default();
    let times = (0..FRAMES).map(|n| {
        // Of the same ten conversations on both sides, and each the next event there.
        let event = event(n as u128 % 10, 11 + u32::try_from(n / 10).expect("few"));
        let push = ServerFrame::Chat(ServerChat { request: None, push: Push::Event(event) });
        let (time, outputs) = timed(|| {
            let outputs = core.handle(now, Input::Frame(link, push));
            (black_box(core.deadline()), outputs)
        });
        drop(outputs);
        time
    });
    median(times.collect())
}

fn event(n: u128, sequence: u32) -> Event {
    let id = MessageId::from_uuid(Uuid::from_u128(n << 32 | u128::from(sequence)));
    Event {
        conversation: conversation(n),
        sequence: Sequence(sequence),
        action: Action::SendMessage,
        initiator: UserId::new(6).expect("a small number"),
        timestamp: Timestamp(1_700_000_000 + i64::from(sequence)),
        body: EventBody::MessageSent(MessageContent { id, text: "a text".to_owned(), payload: None }),
        unknown: None,
    }
}

/// A core that is live on a link, holds every conversation whole, and has something to send in each, of which the
/// server answers nothing.
fn live_core(conversations: u128) -> (Core, LinkId) {
    let mut core = Core::restore(saved(conversations), Settings::default(), 7, Uptime::default());
    let mut give = |input| core.handle(Uptime::default(), input);
    let outputs = give(Input::DeadlinePassed);
    let dialled = outputs.iter().find_map(|output| if let Output::Dial(link, _) = output { Some(*link) } else { None });
    let link = dialled.expect("a link");
    drop(give(Input::Connected(link)));
    let rate = Some(RateLimit { burst: 1_000_000, interval: Duration::from_micros(1) });
    let announcement = Announcement { idempotent: true, heads: true, rate };
    drop(give(Input::Frame(link, ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement }))));
    let logged_in = ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens: None };
    let own_user = request_among(&give(Input::Frame(link, ServerFrame::Rpc(logged_in))));
    let header = |action| Header::new(action, me(), Timestamp(1_700_000_000));
    let private = PrivateUser {
        custom_data: RawJson::empty_object(),
        notifications: Vec::new(),
        conversations: (0..conversations).map(conversation).collect(),
        left_conversations: Vec::new(),
    };
    let user = User {
        id: me(),
        name: UserName::new("user5@chat.acme"),
        display_name: String::new(),
        custom_data: RawJson::empty_object(),
        deleted: false,
        private: Some(private),
    };
    let push = Push::User { header: header(Action::GetUser), user };
    let outputs = give(Input::Frame(link, ServerFrame::Chat(ServerChat { request: own_user, push })));
    let heads = request_among(&outputs);
    let push =
        Push::HeadsSince { header: header(Action::HeadsSince), heads: Vec::new(), cursor: Some("a:1".to_owned()) };
    drop(give(Input::Frame(link, ServerFrame::Chat(ServerChat { request: heads, push }))));
    (core, link)
}

/// Returns the id of the first request that is about no message.
fn request_among(outputs: &[Output]) -> Option<RequestId> {
    outputs.iter().find_map(|output| match output {
        Output::Send(_, ClientFrame::Chat(chat)) if chat.body.action() != Action::SendMessage => Some(chat.request),
        Output::Send(..)
        | Output::Write(_)
        | Output::Dial(..)
        | Output::HangUp(_)
        | Output::Load(_)
        | Output::Answer(..)
        | Output::Signal(_) => None,
    })
}

fn saved(conversations: u128) -> SavedState {
    let tokens = Tokens {
        access: Secret::new("access"),
        access_expires_s: 172_800,
        refresh: Secret::new("refresh"),
        refresh_expires_s: 2_592_000,
    };
    let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
    let user = UserName::new("user5@chat.acme");
    let session = Session { user, user_id: Some(me()), server, tokens: Some(tokens), refused: None, device: None };
    let whole = |n| SavedConversation {
        id: conversation(n),
        head: Sequence(10),
        described_at: Sequence(10),
        membership: Membership::Member,
        uber: false,
        coverage: Ranges::from_iter(SequenceRange::new(Sequence(1), Sequence(10))),
        holes: Ranges::new(),
        last_activity: Timestamp(1_700_000_000),
        own_read: Sequence::ZERO,
        history: None,
    };
    let unsent = |n: u128| OutboxEntry {
        token: ClientToken::from_uuid(Uuid::from_u128(n + (1 << 64))),
        position: u64::try_from(n).expect("few") + 1,
        intent: Intent::SendMessage { conversation: conversation(n), text: "unsent".to_owned(), payload: None },
        state: OutboxState::Queued,
        request: RequestId::from_uuid(Uuid::from_u128(n + (1 << 65))),
        attempts: 0,
        queued_at: Timestamp(1_700_000_000),
        settlement: None,
        error: None,
    };
    SavedState {
        session: Some(session),
        conversations: (0..conversations).map(whole).collect(),
        outbox: (0..conversations).map(unsent).collect(),
        users: [me()].into(),
        ..SavedState::default()
    }
}
