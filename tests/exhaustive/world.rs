//! One small world that can be copied: a real core on a disk of maps, one connection, and the real hub.
//!
//! Alice sends two messages and edits the first; Bob writes. A connection is cut, Alice's process is killed between any
//! two of its outputs, a frame of a dead connection comes late, and a time-out strikes though frames are on their way:
//! each as often as a [`Budget`] says. Which of these happens when is not decided here: [`World::steps`] tells what may
//! happen next, and [`World::take`] makes it happen.

use crate::disk::Disk;
use crate::foreign;
use crate::tally::Tally;
use backscroll::model::{
    ClientToken, ConversationConfig, ConversationId, Credentials, Event, EventBody, HistoryPolicy, Intent, MessageId,
    MessageKey, OutboxState, Participant, RequestId, Secret, Sequence, SequenceRange, ServerAddress, Timestamp, Tokens,
    Uptime, UserId, UserName, fold_messages, token_of_payload,
};
use backscroll::protocol::{
    Announcement, ClientFrame, ClientRpc, Push, REQUEST_TIMEOUT, RateLimit, Request, ServerChat, ServerFrame, ServerRpc,
};
use backscroll::sync::{Command, CommandId, Core, Input, LinkId, LinkState, Output, Reply, Settings, Signal};
use backscroll_server::Hub;
use backscroll_server::hub::Context;
use backscroll_server::storage::{Memory, Storage};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;
use uuid::Uuid;

/// Deadlines so far away are about keeping a quiet link alive: a world that only waits for one is at rest.
const FAR: Duration = Duration::from_secs(86_400);
/// How long a frame of a dead connection may still be on its way.
const LATE_MAX: Duration = Duration::from_secs(60);

/// What kind of server there is, and how careful the client is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Ours: does nothing twice and says so.
    Ours,
    /// Somebody else's: does what it is asked as often as it is asked.
    Foreign,
    /// As before, and the client looks without waiting for late frames: it must be seen to double.
    Hasty,
}

/// What may still happen, and how often.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    /// How much of what Alice has in mind she does: two messages, and an edit of the first.
    pub(crate) acts: u8,
    pub(crate) cuts: u8,
    pub(crate) crashes: u8,
    pub(crate) late_frames: u8,
    pub(crate) timeouts: u8,
    pub(crate) friends_messages: u8,
}

/// What is on its way to the client.
#[derive(Clone, Debug)]
enum Down {
    Connected,
    Frame(Box<ServerFrame>),
    Closed,
}

/// A connection, from dialling until the client knows of its end.
#[derive(Clone, Debug)]
struct Conn {
    link: LinkId,
    up: VecDeque<ClientFrame>,
    down: VecDeque<Down>,
    is_cut: bool,
    is_logged_in: bool,
}

/// A frame of a connection that is over, on its way to the server nevertheless.
#[derive(Clone, Debug)]
struct Late {
    frame: ClientFrame,
    until: Duration,
}

/// Something that may happen next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The server takes the next frame of the connection.
    Serve,
    /// The client takes the next thing that is on its way to it; with a number, it is killed after so many outputs.
    Hear(Option<usize>),
    /// Alice does the next thing she has in mind.
    Act(Option<usize>),
    /// The client's next deadline passes.
    Wait(Option<usize>),
    /// The late frame reaches the server.
    ServeLate,
    /// The connection breaks.
    Cut,
    /// The late frame is lost after all.
    LoseLate,
    /// Bob writes.
    Friend,
}

impl Step {
    /// Whether it happens sooner or later; the others may never.
    pub(crate) const fn is_certain(self) -> bool {
        match self {
            Self::Serve | Self::Hear(None) | Self::Act(None) | Self::Wait(None) | Self::ServeLate => true,
            Self::Hear(Some(_))
            | Self::Act(Some(_))
            | Self::Wait(Some(_))
            | Self::LoseLate
            | Self::Cut
            | Self::Friend => false,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct World {
    flavour: Flavour,
    pub(crate) left: Budget,
    core: Core,
    disk: Rc<Disk>,
    state: LinkState,
    commands: u64,
    lives: u64,
    conn: Option<Conn>,
    late: Option<Late>,
    hub: Rc<Hub<Memory>>,
    conversation: ConversationId,
    now: Duration,
    fresh: u128,
}

fn user(number: u64) -> UserId {
    UserId::new(number).expect("small")
}

fn name(who: &str) -> UserName {
    UserName::new(&format!("{who}@chat.acme"))
}

const ALICE: u64 = 101;
const BOB: u64 = 102;

fn token(act: u8) -> ClientToken {
    ClientToken::from_uuid(Uuid::from_u128(0x00ac_7000 + u128::from(act)))
}

fn settings(flavour: Flavour) -> Settings {
    Settings {
        // No pace, no delay and no sign of life: what is left of time are time-outs and the quarantine.
        request_timeout: REQUEST_TIMEOUT,
        rate: RateLimit { burst: 1, interval: Duration::ZERO },
        backoff: (Duration::ZERO, Duration::ZERO),
        ping_interval: 2 * FAR,
        silence_limit: 3 * FAR,
        tail_check_interval: 2 * FAR,
        quarantine: if flavour == Flavour::Hasty { Duration::ZERO } else { LATE_MAX },
        new_ones_pass: false,
        history: HistoryPolicy::Everything,
    }
}

impl World {
    /// Alice and Bob have a conversation; Alice's device is logged in and live.
    pub(crate) fn new(flavour: Flavour, left: Budget) -> Result<Self, String> {
        let mut hub = Hub::new(Memory::new());
        hub.storage_mut().add_user(user(ALICE), name("alice"), "");
        hub.storage_mut().add_user(user(BOB), name("bob"), "");
        let mut world = Self {
            flavour,
            left,
            core: Core::restore(Disk::default().saved_state(), settings(flavour), 1, Uptime::default()),
            disk: Rc::default(),
            state: LinkState::default(),
            commands: 0,
            lives: 1,
            conn: None,
            late: None,
            hub: Rc::new(hub),
            conversation: ConversationId::from_uuid(Uuid::nil()),
            now: Duration::ZERO,
            fresh: 0,
        };
        let participants = vec![Participant::new(user(ALICE))];
        let made =
            world.ask_hub(BOB, Request::CreateConversation(ConversationConfig { participants, ..Default::default() }));
        let id = made.iter().find_map(|push| match push {
            Push::Event(event) => Some(event.conversation),
            _ => None,
        });
        world.conversation = id.ok_or("no conversation was made")?;
        let credentials = Credentials::Password { user: name("alice"), password: Secret::new("password") };
        let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
        world.command(Command::LogIn { credentials, server }, None)?;
        while world.state != LinkState::Live {
            let step = [Step::Serve, Step::Hear(None), Step::Wait(None)].into_iter().find(|step| world.may(*step));
            world.take(step.ok_or_else(|| format!("the login hangs: {world:?}"))?)?;
        }
        Ok(world)
    }

    /// Returns everything that may happen next.
    pub(crate) fn steps(&self) -> Vec<Step> {
        let plain = [
            Step::Serve,
            Step::Hear(None),
            Step::Act(None),
            Step::Wait(None),
            Step::ServeLate,
            Step::LoseLate,
            Step::Cut,
            Step::Friend,
        ];
        plain.into_iter().filter(|step| self.may(*step)).collect()
    }

    fn may(&self, step: Step) -> bool {
        let conn = self.conn.as_ref();
        match step {
            Step::Serve => conn.is_some_and(|conn| !conn.is_cut && !conn.up.is_empty()),
            Step::Hear(_) => conn.is_some_and(|conn| !conn.down.is_empty()),
            // The edit needs the id that the server gave.
            Step::Act(_) => self.acts() < self.left.acts.min(if self.first_message().is_some() { 3 } else { 2 }),
            Step::Wait(_) => self.due().is_some_and(|at| at <= self.now || self.may_pass(at)),
            Step::ServeLate | Step::LoseLate => self.late.is_some(),
            Step::Cut => self.left.cuts > 0 && conn.is_some_and(|conn| !conn.is_cut),
            Step::Friend => self.left.friends_messages > 0,
        }
    }

    /// When the client's next deadline is due, if it is about work.
    fn due(&self) -> Option<Duration> {
        self.core.deadline().map(Uptime::as_duration).filter(|at| *at < self.now + FAR)
    }

    /// Whether time may pass up to here: nothing is faster, or this is the time-out that comes too early.
    fn may_pass(&self, at: Duration) -> bool {
        let nothing_under_way = self.conn.as_ref().is_none_or(|conn| conn.up.is_empty() && conn.down.is_empty());
        self.late.as_ref().is_none_or(|late| at < late.until) && (nothing_under_way || self.left.timeouts > 0)
    }

    /// Makes a step happen, and returns how many outputs it had: after each of them the process may be killed instead.
    pub(crate) fn take(&mut self, step: Step) -> Result<usize, String> {
        match step {
            Step::Serve => {
                let frame = self.conn.as_mut().and_then(|conn| conn.up.pop_front()).ok_or("nothing to serve")?;
                self.serve(frame, true);
                Ok(0)
            }
            Step::ServeLate => {
                self.left.late_frames -= 1;
                let late = self.late.take().ok_or("nothing late")?;
                self.serve(late.frame, false);
                Ok(0)
            }
            Step::Hear(kill) => {
                let conn = self.conn.as_mut().ok_or("no connection")?;
                let link = conn.link;
                match conn.down.pop_front().ok_or("nothing to hear")? {
                    Down::Connected => self.give(Input::Connected(link), kill),
                    Down::Frame(frame) => self.give(Input::Frame(link, *frame), kill),
                    Down::Closed => {
                        self.conn = None;
                        self.give(Input::Disconnected(link), kill)
                    }
                }
            }
            Step::Act(kill) => {
                let intent = self.next_intent()?;
                let token = token(self.acts());
                self.command(Command::Submit { token, intent, queued_at: Timestamp(0) }, kill)
            }
            Step::Wait(kill) => {
                let at = self.due().ok_or("nothing is due")?;
                let under_way = self.conn.as_ref().is_some_and(|conn| !conn.up.is_empty() || !conn.down.is_empty());
                if at > self.now && under_way {
                    self.left.timeouts -= 1;
                }
                self.now = self.now.max(at);
                self.give(Input::DeadlinePassed, kill)
            }
            Step::LoseLate => {
                self.late = None;
                Ok(0)
            }
            Step::Cut => {
                self.left.cuts -= 1;
                self.sever();
                if let Some(conn) = &mut self.conn {
                    conn.down = VecDeque::from([Down::Closed]);
                }
                Ok(0)
            }
            Step::Friend => {
                self.left.friends_messages -= 1;
                let conversation = self.conversation;
                self.ask_hub(BOB, Request::SendMessage { conversation, text: "from Bob".to_owned(), payload: None });
                Ok(0)
            }
        }
    }

    /// The same step, with a kill after each number of outputs.
    pub(crate) fn kills(&self, step: Step, outputs: usize) -> Vec<Step> {
        let kills = (0..=outputs).filter(|_| self.left.crashes > 0);
        let killed = |after| match step {
            Step::Hear(None) => Some(Step::Hear(Some(after))),
            Step::Act(None) => Some(Step::Act(Some(after))),
            Step::Wait(None) => Some(Step::Wait(Some(after))),
            _ => None,
        };
        kills.filter_map(killed).collect()
    }

    /// How much of what Alice has in mind was accepted: what a kill prevented she does again.
    fn acts(&self) -> u8 {
        (0..self.left.acts).find(|act| !self.disk.outbox.contains_key(&token(*act))).unwrap_or(self.left.acts)
    }

    fn first_message(&self) -> Option<MessageId> {
        self.disk.outbox.get(&token(0))?.settlement?.message
    }

    fn next_intent(&self) -> Result<Intent, String> {
        let conversation = self.conversation;
        match self.acts() {
            // Texts of different lengths: sizes are all that a fingerprint sees of them.
            0 => Ok(Intent::SendMessage { conversation, text: "first".to_owned(), payload: None }),
            1 => Ok(Intent::SendMessage { conversation, text: "second".to_owned(), payload: None }),
            _ => {
                let message = self.first_message().ok_or("the first message has no id")?;
                let (message, text) = (MessageKey::Id(message), Some("first, edited".to_owned()));
                Ok(Intent::EditMessage { conversation, message, text, payload: None })
            }
        }
    }

    // ------------------------------------------------------------------ the client

    fn command(&mut self, command: Command, kill: Option<usize>) -> Result<usize, String> {
        self.commands += 1;
        self.give(Input::Command(CommandId(self.commands), command), kill)
    }

    fn give(&mut self, input: Input, kill: Option<usize>) -> Result<usize, String> {
        let now = Uptime::from_duration(self.now);
        let mut outputs = VecDeque::from(self.core.handle(now, input));
        let mut count = 0;
        while let Some(output) = outputs.pop_front().filter(|_| kill != Some(count)) {
            count += 1;
            match output {
                Output::Load(load) => {
                    let found = self.disk.message(load.conversation, load.message);
                    outputs.extend(self.core.handle(now, Input::Loaded(load.token, found)));
                }
                // Whom the user follows touches nothing else: answered at once it multiplies no states.
                Output::Send(link, ClientFrame::Chat(chat)) if matches!(chat.body, Request::GetSubscriptions) => {
                    let pushes = self.handle(ALICE, true, chat.request, chat.body);
                    for push in pushes {
                        let frame = ServerFrame::Chat(ServerChat { request: Some(chat.request), push });
                        outputs.extend(self.core.handle(now, Input::Frame(link, frame)));
                    }
                }
                output => self.perform(output)?,
            }
        }
        if kill.is_some() {
            self.kill();
        }
        Ok(count)
    }

    fn perform(&mut self, output: Output) -> Result<(), String> {
        match output {
            Output::Write(writes) => Rc::make_mut(&mut self.disk).apply(writes, &mut Tally::default()),
            Output::Dial(link, _) => {
                if self.conn.is_some() {
                    return Err("C-5: dialled while a link is open".to_owned());
                }
                let idempotent = self.flavour == Flavour::Ours;
                let rate = idempotent.then_some(settings(self.flavour).rate);
                let announcement = Announcement { idempotent, heads: false, rate };
                let greeting = ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement });
                let down = VecDeque::from([Down::Connected, Down::Frame(Box::new(greeting))]);
                self.conn = Some(Conn { link, up: VecDeque::new(), down, is_cut: false, is_logged_in: false });
                Ok(())
            }
            Output::HangUp(link) => {
                if self.conn.as_ref().is_none_or(|conn| conn.link != link) {
                    return Err("C-5: hung up what was not open".to_owned());
                }
                self.sever();
                self.conn = None;
                Ok(())
            }
            Output::Send(link, frame) => {
                match &mut self.conn {
                    Some(conn) if conn.link == link && !conn.is_cut => conn.up.push_back(frame),
                    Some(conn) if conn.link == link => {}
                    _ => return Err("C-5: sent on a link that is not open".to_owned()),
                }
                Ok(())
            }
            Output::Answer(_, Ok(Reply::Accepted(entry))) if !self.disk.outbox.contains_key(&entry.token) => {
                Err("D-3: accepted before it was stored".to_owned())
            }
            Output::Answer(..) => Ok(()),
            Output::Signal(Signal::Link(state)) => {
                self.state = state;
                Ok(())
            }
            Output::Signal(Signal::Outbox { entry, cancelled: false, .. })
                if self.disk.outbox.get(&entry.token) != Some(&entry) =>
            {
                Err("D-3: an entry was shown before it was stored".to_owned())
            }
            Output::Signal(_) => Ok(()),
            Output::Load(_) => unreachable!("answered at once"),
        }
    }

    /// The process ends here, and one begins on what it left.
    fn kill(&mut self) {
        self.left.crashes -= 1;
        self.sever();
        self.conn = None;
        self.lives += 1;
        self.state = LinkState::default();
        let now = Uptime::from_duration(self.now);
        self.core = Core::restore(self.disk.saved_state(), settings(self.flavour), self.lives, now);
    }

    /// The connection is over: what was on its way is lost, but for the next frame perhaps.
    fn sever(&mut self) {
        let Some(conn) = self.conn.as_mut().filter(|conn| !conn.is_cut) else { return };
        conn.is_cut = true;
        if let Some(frame) = conn.up.pop_front().filter(|_| self.left.late_frames > 0 && self.late.is_none()) {
            self.late = Some(Late { frame, until: self.now + LATE_MAX });
        }
        conn.up.clear();
    }

    // ------------------------------------------------------------------ the server

    fn serve(&mut self, frame: ClientFrame, is_current: bool) {
        let tokens = Tokens {
            access: Secret::new("access"),
            access_expires_s: 172_800,
            refresh: Secret::new("refresh"),
            refresh_expires_s: 2_592_000,
        };
        let answers = match frame {
            ClientFrame::Chat(chat) => {
                let (ours, request) = (self.flavour == Flavour::Ours, chat.request);
                let (body, known_as) =
                    if ours { (chat.body, request) } else { (foreign::veil_request(chat.body), self.fresh_request()) };
                let pushes = self.handle(ALICE, is_current, known_as, body);
                let named = |push| ServerFrame::Chat(ServerChat { request: Some(request), push });
                pushes.into_iter().map(named).collect()
            }
            ClientFrame::Rpc(ClientRpc::Login { .. }) => {
                if let Some(conn) = self.conn.as_mut().filter(|_| is_current) {
                    conn.is_logged_in = true;
                }
                let tokens = Some(tokens);
                vec![ServerFrame::Rpc(ServerRpc::LoggedIn { display_name: String::new(), connection: None, tokens })]
            }
            ClientFrame::Rpc(_) => Vec::new(),
        };
        if let Some(conn) = self.conn.as_mut().filter(|_| is_current) {
            conn.down.extend(answers.into_iter().map(|frame| Down::Frame(Box::new(frame))));
        }
    }

    fn ask_hub(&mut self, caller: u64, body: Request) -> Vec<Push> {
        let request = self.fresh_request();
        self.handle(caller, false, request, body)
    }

    fn fresh_request(&mut self) -> RequestId {
        RequestId::from_uuid(self.fresh())
    }

    fn fresh(&mut self) -> Uuid {
        self.fresh += 1;
        Uuid::from_u128(0x00f4_e500_0000 + self.fresh)
    }

    /// Lets the hub answer; whoever else must hear of it hears of it.
    fn handle(&mut self, caller: u64, is_current: bool, request: RequestId, body: Request) -> Vec<Push> {
        let context = Context { now: Timestamp(0), caller: user(caller), request, fresh: self.fresh() };
        let outcome = Rc::make_mut(&mut self.hub).handle(&context, body).expect("memory does not fail");
        let ours = self.flavour == Flavour::Ours;
        let seen = |push: Push| if ours { push } else { foreign::unveil(push) };
        for fan_out in outcome.fan_out {
            // The connection that asks hears by the answer.
            let hears = !is_current && fan_out.users.contains(&user(ALICE));
            if let Some(conn) = self.conn.as_mut().filter(|conn| hears && conn.is_logged_in && !conn.is_cut) {
                let push = seen(fan_out.push);
                let frame = ServerFrame::Chat(ServerChat { request: None, push });
                conn.down.push_back(Down::Frame(Box::new(frame)));
            }
        }
        outcome.reply.into_iter().map(|chat| seen(chat.push)).collect()
    }

    // ------------------------------------------------------------------ what must be true

    fn log(&self) -> Vec<Event> {
        let all = SequenceRange::new(Sequence::FIRST, Sequence(u32::MAX)).expect("not empty");
        let events = self.hub.storage().events(self.conversation, all).expect("memory does not fail");
        if self.flavour == Flavour::Ours { events } else { events.into_iter().map(foreign::unveil_event).collect() }
    }

    /// Checks what holds in every state.
    pub(crate) fn check(&self) -> Result<(), String> {
        let log = self.log();
        let sent: Vec<ClientToken> = log.iter().filter_map(token_of).collect();
        if sent != [token(0), token(1)][..sent.len().min(2)] {
            return Err(format!("O-1, O-4: the log holds {sent:?}"));
        }
        let held = self.disk.conversations.get(&self.conversation).ok_or("the conversation was forgotten")?;
        if held.events.values().any(|event| log.iter().all(|known| known != event)) {
            return Err("L-1: an event is held that the server does not have".to_owned());
        }
        for act in 0..self.acts() {
            let is_settled = self.disk.outbox[&token(act)].state == OutboxState::Settled;
            if act < 2 && is_settled && !sent.contains(&token(act)) {
                return Err("O-1: an entry is settled that the server never had".to_owned());
            }
        }
        Ok(())
    }

    /// Checks what holds when nothing is going to happen any more by itself.
    pub(crate) fn check_rest(&self) -> Result<(), String> {
        if self.state != LinkState::Live || self.acts() < self.left.acts {
            return Err(format!("L-8: it all ends as {:?} after {} acts", self.state, self.acts()));
        }
        let log = self.log();
        for act in 0..self.left.acts {
            let entry = &self.disk.outbox[&token(act)];
            if entry.state != OutboxState::Settled {
                return Err(format!("O-1: act {act} ended as {:?}", entry.state));
            }
            let done = match act {
                2 => log.iter().any(|event| matches!(event.body, EventBody::MessageEdited(_))),
                _ => log.iter().any(|event| token_of(event) == Some(token(act))),
            };
            if !done {
                return Err(format!("O-1: act {act} is settled and was never done"));
            }
        }
        let held = &self.disk.conversations[&self.conversation];
        let head = log.last().map_or(Sequence::ZERO, |event| event.sequence);
        // Nothing asks for a tail that was lost until the next check of tails: what is known must be held.
        if held.coverage.contiguous_end() != held.head || !held.holes.is_empty() {
            return Err(format!("L-2: of {head} it covers {:?}", held.coverage));
        }
        if held.head != head {
            return Err(format!("L-8: it knows of {} of {head}", held.head));
        }
        if fold_messages(held.events.values()) != fold_messages(&log) {
            return Err("M-1: it shows other messages".to_owned());
        }
        Ok(())
    }
}

fn token_of(event: &Event) -> Option<ClientToken> {
    match &event.body {
        EventBody::MessageSent(content) => token_of_payload(content.payload.as_ref()),
        _ => None,
    }
}
