//! One world: real cores, a real hub, and between them a wire, a clock and disks that are made up.
//!
//! Everything happens in one thread in the order of an invented clock, and every choice comes from one seed: the
//! same seed is the same week of bad luck, in every run.

use crate::disk::Disk;
use crate::faults::{Faults, Struck};
use backscroll::model::{
    Action, ClientToken, ConversationConfig, ConversationId, Credentials, ErrorCode, Event, EventBody, Intent,
    Membership, MessagingError, OutboxState, Participant, RawJson, RequestId, Secret, Sequence, ServerAddress,
    Timestamp, Tokens, Uptime, UserId, UserName,
};
use backscroll::protocol::{
    Announcement, ClientFrame, ClientRpc, Header, Push, RateLimit, Request, ServerChat, ServerFrame, ServerRpc,
};
use backscroll::sync::{
    Command, CommandId, Core, Input, LinkId, LinkState, Output, Query, Reply, Settings, Signal, Write,
};
use backscroll_server::Hub;
use backscroll_server::hub::Context;
use backscroll_server::storage::Memory;
use fastrand::Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use uuid::Uuid;

/// The clock of the server at the beginning.
const EPOCH: i64 = 1_800_000_000;
/// Deadlines in a row that move neither the clock nor anything else, before a core counts as spinning.
const SPINS_MAX: u32 = 200;

/// What kind of server there is, and how careful the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Ours: does nothing twice and says so.
    Ours,
    /// Somebody else's: does what it is asked as often as it is asked.
    Foreign,
    /// As before, and the clients believe that it does nothing twice: they must be seen to double.
    Blind,
    /// As before, and the clients look without waiting for late frames: they must be seen to double.
    Hasty,
}

struct Device {
    user: UserId,
    core: Option<Core>,
    started: Duration,
    disk: Disk,
    link: Option<(LinkId, u64)>,
    waiting: BTreeSet<CommandId>,
    commands: u64,
    state: LinkState,
    spins: u32,
}

/// A connection, as the network sees it.
struct Conn {
    device: usize,
    link: LinkId,
    /// Whether the client's end still listens.
    heard: bool,
    silent: bool,
    user: Option<UserId>,
    last_up: Duration,
    last_down: Duration,
}

enum Packet {
    ToServer(u64, ClientFrame),
    Connected(u64),
    ToClient(u64, ServerFrame),
    Noise(u64),
    Closed(u64),
    /// A refused dial, or the end of a process that never had a connection.
    Refused(usize, LinkId),
    Start(usize),
    /// Somebody at the device types the password again.
    LogIn(usize),
    Act,
}

/// A message that was accepted, in the order in which its device accepted them.
pub(crate) struct Accepted {
    device: usize,
    conversation: ConversationId,
    token: ClientToken,
}

pub(crate) struct World {
    flavour: Flavour,
    pub(crate) faults: Faults,
    pub(crate) struck: Struck,
    pub(crate) steps: u64,
    pub(crate) now: Duration,
    rng: Rng,
    hub: Hub<Memory>,
    users: Vec<(UserId, UserName)>,
    devices: Vec<Device>,
    conns: BTreeMap<u64, Conn>,
    packets: BTreeMap<(Duration, u64), Packet>,
    serial: u64,
    accepted: Vec<Accepted>,
    cancelled: BTreeSet<ClientToken>,
    actions_left: u32,
    trace: bool,
}

impl World {
    pub(crate) fn new(seed: u64, flavour: Flavour, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = match flavour {
            Flavour::Ours => Faults::of(&mut rng, false),
            Flavour::Foreign => Faults::of(&mut rng, true),
            // What is needed to be seen: frames that come late, and links that break under them.
            Flavour::Blind | Flavour::Hasty => {
                Faults { cut: 40, latency_ms: 200, late_ms: 20_000, ..Faults::default() }
            }
        };
        let mut hub = Hub::new(Memory::new());
        let users: Vec<(UserId, UserName)> = (101..101 + rng.u64(2..=3))
            .map(|number| (UserId::new(number).expect("small"), UserName::new(&format!("user{number}@chat.acme"))))
            .collect();
        for (id, name) in &users {
            hub.storage_mut().add_user(*id, name.clone(), "");
        }
        let devices: Vec<Device> = users
            .iter()
            .flat_map(|(user, _)| vec![*user; rng.usize(1..=2)])
            .map(|user| Device {
                user,
                core: None,
                started: Duration::ZERO,
                disk: Disk::default(),
                link: None,
                waiting: BTreeSet::new(),
                commands: 0,
                state: LinkState::default(),
                spins: 0,
            })
            .collect();
        let actions_left = rng.u32(20..60);
        let mut world = Self {
            flavour,
            faults,
            struck: Struck::default(),
            steps: 0,
            now: Duration::ZERO,
            rng,
            hub,
            users,
            devices,
            conns: BTreeMap::new(),
            packets: BTreeMap::new(),
            serial: 0,
            accepted: Vec::new(),
            cancelled: BTreeSet::new(),
            actions_left,
            trace,
        };
        for device in 0..world.devices.len() {
            world.post(Duration::from_millis(device as u64), Packet::Start(device));
        }
        world.post(Duration::from_secs(2), Packet::Act);
        world
    }

    /// Lets everything happen that is going to, then lets it come to rest, and checks what is left.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while self.actions_left > 0 {
            self.step()?;
        }
        self.faults = self.faults.quiet();
        let end = self.now + Duration::from_secs(2 * 3_600);
        let mut calm_since = None;
        loop {
            self.step()?;
            let calm =
                self.devices.iter().all(|device| device.state == LinkState::Live && device.disk.unfinished() == 0);
            let since = *calm_since.get_or_insert(self.now);
            if !calm {
                calm_since = None;
            } else if self.now > since + Duration::from_secs(30) {
                break;
            }
            if self.now > end {
                let stuck = self.devices.iter().map(|d| (d.user, d.state.clone(), d.disk.unfinished()));
                return Err(format!("L-8: not at rest after two quiet hours: {:?}", stuck.collect::<Vec<_>>()));
            }
        }
        self.check_the_end()
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        in_a_thousand > 0 && self.rng.u32(0..1_000) < in_a_thousand
    }

    fn latency(&mut self) -> Duration {
        Duration::from_micros(self.rng.u64(0..=self.faults.latency_ms * 1_000))
    }

    fn post(&mut self, at: Duration, packet: Packet) {
        self.serial += 1;
        self.packets.insert((at, self.serial), packet);
    }

    fn fresh(&mut self) -> Uuid {
        uuid::Builder::from_random_bytes(self.rng.u128(..).to_be_bytes()).into_uuid()
    }

    fn uptime(&self, device: usize) -> Uptime {
        Uptime::from_duration(self.now - self.devices[device].started)
    }

    fn deadline(&self, device: usize) -> Option<Duration> {
        let device = &self.devices[device];
        Some(device.started + device.core.as_ref()?.deadline()?.as_duration())
    }

    /// The next thing happens: a packet arrives, or a deadline passes.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        let due = (0..self.devices.len()).filter_map(|device| Some((self.deadline(device)?, device))).min();
        let packet = self.packets.first_key_value().map(|(key, _)| *key);
        match (due, packet) {
            (Some((at, device)), key) if key.is_none_or(|(arrives, _)| at < arrives) => {
                self.devices[device].spins = if at > self.now { 0 } else { self.devices[device].spins + 1 };
                if self.devices[device].spins > SPINS_MAX {
                    return Err("a core asks for the same deadline over and over".to_owned());
                }
                self.now = self.now.max(at);
                self.give(device, Input::DeadlinePassed)
            }
            (_, Some(key)) => {
                self.now = self.now.max(key.0);
                let packet = self.packets.remove(&key).expect("just seen");
                self.arrive(packet)
            }
            (_, None) => Err("nothing will ever happen again".to_owned()),
        }
    }

    fn arrive(&mut self, packet: Packet) -> Result<(), String> {
        match packet {
            Packet::ToServer(conn, frame) => {
                self.serve(conn, frame);
                Ok(())
            }
            Packet::Start(device) => self.start(device),
            Packet::LogIn(device) if self.devices[device].state == LinkState::SignedOut => self.log_in(device),
            Packet::LogIn(_) => Ok(()),
            Packet::Act => self.act(),
            Packet::Refused(device, link) => {
                if self.devices[device].link.is_some_and(|(current, _)| current == link) {
                    self.devices[device].link = None;
                    return self.give(device, Input::Disconnected(link));
                }
                Ok(())
            }
            Packet::Connected(conn) => self.hear(conn, Input::Connected),
            Packet::Noise(conn) => self.hear(conn, Input::Noise),
            Packet::Closed(conn) => {
                let Some(known) = self.conns.get_mut(&conn).filter(|conn| conn.heard) else { return Ok(()) };
                known.heard = false;
                let (device, link) = (known.device, known.link);
                if self.devices[device].link.is_some_and(|(_, current)| current == conn) {
                    self.devices[device].link = None;
                }
                self.give(device, Input::Disconnected(link))
            }
            Packet::ToClient(conn, frame) => {
                if !self.conns.get(&conn).is_some_and(|conn| conn.heard) {
                    return Ok(());
                }
                if self.chance(self.faults.cut) {
                    self.struck.cuts += 1;
                    self.sever(conn);
                    let at = self.now + self.latency();
                    self.post(at, Packet::Closed(conn));
                    return Ok(());
                }
                if self.chance(self.faults.silence) {
                    self.struck.silences += 1;
                    self.conns.get_mut(&conn).expect("known").silent = true;
                }
                self.hear(conn, |link| Input::Frame(link, frame))
            }
        }
    }

    fn hear(&mut self, conn: u64, input: impl FnOnce(LinkId) -> Input) -> Result<(), String> {
        match self.conns.get(&conn) {
            Some(known) if known.heard && !known.silent => {
                let (device, link) = (known.device, known.link);
                self.give(device, input(link))
            }
            _ => Ok(()),
        }
    }

    // ------------------------------------------------------------------ devices

    fn settings(&self) -> Settings {
        let quarantine = if self.flavour == Flavour::Hasty { Duration::ZERO } else { Duration::from_secs(60) };
        let rate = RateLimit { burst: 16, interval: Duration::from_millis(20) };
        Settings { rate, quarantine, ..Settings::default() }
    }

    fn start(&mut self, index: usize) -> Result<(), String> {
        let settings = self.settings();
        let seed = self.rng.u64(..);
        let device = &mut self.devices[index];
        device.started = self.now;
        device.state = LinkState::default();
        let saved = device.disk.saved_state();
        let is_new = saved.session.is_none();
        device.core = Some(Core::restore(saved, settings, seed, Uptime::default()));
        if is_new { self.log_in(index) } else { Ok(()) }
    }

    fn log_in(&mut self, index: usize) -> Result<(), String> {
        let user = self.users.iter().find(|(id, _)| *id == self.devices[index].user).expect("known").1.clone();
        let credentials = Credentials::Password { user, password: Secret::new("password") };
        let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
        self.command(index, Command::LogIn { credentials, server })
    }

    fn kill(&mut self, index: usize) {
        if self.trace {
            println!("{:?} device {index} killed", self.now);
        }
        if let Some((_, conn)) = self.devices[index].link.take() {
            self.sever(conn);
        }
        self.devices[index].core = None;
        self.devices[index].waiting.clear();
        self.devices[index].state = LinkState::default();
        let at = self.now + Duration::from_millis(self.rng.u64(0..5_000));
        self.post(at, Packet::Start(index));
    }

    fn command(&mut self, index: usize, command: Command) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.core.is_none() {
            return Ok(());
        }
        device.commands += 1;
        let id = CommandId(device.commands);
        device.waiting.insert(id);
        self.give(index, Input::Command(id, command))
    }

    /// Gives a core one input and performs what it wants, as far as its process lives.
    fn give(&mut self, index: usize, input: Input) -> Result<(), String> {
        let now = self.uptime(index);
        if self.trace {
            println!("{:?} device {index} <- {}", self.now, brief(&format!("{input:?}")));
        }
        let Some(core) = self.devices[index].core.as_mut() else { return Ok(()) };
        let outputs = core.handle(now, input);
        for output in outputs {
            if self.chance(self.faults.kill) {
                self.struck.kills += 1;
                self.kill(index);
                return Ok(());
            }
            if self.trace {
                println!("{:?} device {index} -> {}", self.now, brief(&format!("{output:?}")));
            }
            match output {
                Output::Write(writes) => {
                    if self.chance(self.faults.commit) {
                        self.struck.commits += 1;
                        return self.recover(index);
                    }
                    let forgotten = writes.iter().filter_map(|write| match write {
                        Write::OutboxForget(token) => Some(*token),
                        _ => None,
                    });
                    self.cancelled.extend(forgotten);
                    self.devices[index].disk.apply(writes)?;
                }
                Output::Dial(link, _) => self.dial(index, link)?,
                Output::HangUp(link) => {
                    let Some((current, conn)) = self.devices[index].link.take() else {
                        return Err("hung up what was not open".to_owned());
                    };
                    if current != link {
                        return Err("hung up another link".to_owned());
                    }
                    self.sever(conn);
                }
                Output::Send(link, frame) => self.send(index, link, frame)?,
                Output::Answer(id, reply) => {
                    if !self.devices[index].waiting.remove(&id) {
                        return Err(format!("command {id:?} was answered twice"));
                    }
                    if let Ok(Reply::Accepted(entry)) = reply {
                        if !self.devices[index].disk.outbox.contains_key(&entry.token) {
                            return Err("D-3: accepted before it was stored".to_owned());
                        }
                        if let Intent::SendMessage { conversation, .. } = entry.intent {
                            self.accepted.push(Accepted { device: index, conversation, token: entry.token });
                        }
                    }
                }
                Output::Signal(signal) => self.told(index, signal)?,
            }
        }
        Ok(())
    }

    /// What the shell does after a failed commit: answers, hangs up, starts again from the file.
    fn recover(&mut self, index: usize) -> Result<(), String> {
        if let Some((_, conn)) = self.devices[index].link.take() {
            self.sever(conn);
        }
        self.devices[index].waiting.clear();
        self.devices[index].core = None;
        self.start(index)
    }

    fn told(&mut self, index: usize, signal: Signal) -> Result<(), String> {
        let device = &mut self.devices[index];
        match signal {
            Signal::Link(state) => {
                device.state = state;
                if device.state == LinkState::SignedOut {
                    let at = self.now + Duration::from_secs(1);
                    self.post(at, Packet::LogIn(index));
                }
            }
            Signal::Event { event, .. } => {
                let held = device.disk.conversations.get(&event.conversation);
                let held = held.and_then(|held| held.events.get(&event.sequence));
                if held.is_none() && event.sequence != Sequence::ZERO {
                    return Err("an event was shown before it was stored".to_owned());
                }
            }
            Signal::Outbox { entry, cancelled: true, .. } => {
                if !self.cancelled.contains(&entry.token) {
                    return Err("a cancellation was shown before it was stored".to_owned());
                }
            }
            Signal::Outbox { entry, .. } => {
                if device.disk.outbox.get(&entry.token) != Some(&entry) {
                    return Err("an entry was shown before it was stored".to_owned());
                }
            }
            Signal::Notice(_) | Signal::User(_) => {}
        }
        Ok(())
    }

    // ------------------------------------------------------------------ the network

    fn dial(&mut self, index: usize, link: LinkId) -> Result<(), String> {
        if self.devices[index].link.is_some() {
            return Err("C-5: dialled while a link is open".to_owned());
        }
        self.serial += 1;
        let conn = self.serial;
        self.devices[index].link = Some((link, conn));
        let at = self.now + self.latency();
        if self.chance(self.faults.refuse_dial) {
            self.struck.refused_dials += 1;
            self.post(at, Packet::Refused(index, link));
            return Ok(());
        }
        let known = Conn { device: index, link, heard: true, silent: false, user: None, last_up: at, last_down: at };
        self.conns.insert(conn, known);
        self.post(at, Packet::Connected(conn));
        let idempotent = matches!(self.flavour, Flavour::Ours | Flavour::Blind);
        let rate = idempotent.then_some(RateLimit { burst: 64, interval: Duration::from_millis(1) });
        let announcement = Announcement { idempotent, rate };
        self.reply(conn, ServerFrame::Rpc(ServerRpc::Greeting { connection: None, announcement }));
        Ok(())
    }

    fn send(&mut self, index: usize, link: LinkId, frame: ClientFrame) -> Result<(), String> {
        let Some((current, conn)) = self.devices[index].link else { return Ok(()) };
        if current != link {
            return Err("sent on another link".to_owned());
        }
        if let ClientFrame::Chat(chat) = &frame
            && matches!(chat.body, Request::SendMessage { .. })
        {
            let mut entries = self.devices[index].disk.outbox.values();
            if !entries.any(|entry| entry.request == chat.request && entry.state == OutboxState::Sending) {
                return Err("a message left before that was stored".to_owned());
            }
        }
        let at = self.now + self.latency();
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_up = known.last_up.max(at);
            let at = known.last_up;
            self.post(at, Packet::ToServer(conn, frame));
        }
        Ok(())
    }

    /// A connection is over for the client. What is on its way to it is lost; what is on its way to the server is
    /// lost or comes late.
    fn sever(&mut self, conn: u64) {
        let Some(known) = self.conns.get_mut(&conn) else { return };
        let was_silent = known.silent;
        known.silent = true;
        let mine = |packet: &Packet| matches!(packet, Packet::ToServer(of, _) if *of == conn);
        let keys: Vec<(Duration, u64)> =
            self.packets.iter().filter(|(_, packet)| mine(packet)).map(|(key, _)| *key).collect();
        let mut last = self.now;
        for key in keys {
            let packet = self.packets.remove(&key).expect("just seen");
            if was_silent || self.rng.bool() {
                continue;
            }
            last = last.max(self.now + Duration::from_millis(self.rng.u64(0..=self.faults.late_ms)));
            self.struck.late_frames += 1;
            self.post(last, packet);
        }
    }

    fn reply(&mut self, conn: u64, frame: ServerFrame) {
        let at = self.now + self.latency();
        if self.chance(self.faults.noise) {
            self.struck.noises += 1;
            self.post(at, Packet::Noise(conn));
        }
        if let Some(known) = self.conns.get_mut(&conn).filter(|conn| !conn.silent) {
            known.last_down = known.last_down.max(at);
            let at = known.last_down;
            self.post(at, Packet::ToClient(conn, frame));
        }
    }

    // ------------------------------------------------------------------ the server

    fn restart(&mut self) {
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

    fn serve(&mut self, conn: u64, frame: ClientFrame) {
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

    fn refuse(&mut self, conn: u64, request: RequestId, action: Action, code: ErrorCode) {
        let header = Header { action, initiator: None, timestamp: None, unknown: None };
        let push = Push::Error { header, error: MessagingError::from(code) };
        self.reply(conn, ServerFrame::Chat(ServerChat { request: Some(request), push }));
    }

    fn serve_rpc(&mut self, conn: u64, rpc: ClientRpc) {
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

    fn serve_request(&mut self, conn: u64, caller: UserId, request: RequestId, body: Request) {
        let foreign = self.flavour != Flavour::Ours;
        let seconds = i64::try_from(self.now.as_secs()).expect("a short life");
        // A foreign hub knows neither our tokens nor that it saw a request before.
        let (known_as, body) =
            if foreign { (RequestId::from_uuid(self.fresh()), veil_request(body)) } else { (request, body) };
        let context = Context { now: Timestamp(EPOCH + seconds), caller, request: known_as, fresh: self.fresh() };
        let outcome = self.hub.handle(&context, body).expect("memory does not fail");
        for chat in outcome.reply {
            let mut push = chat.push;
            if foreign {
                push = unveil(push);
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
            let push = if foreign { unveil(fan_out.push) } else { fan_out.push };
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

    // ------------------------------------------------------------------ the users

    fn act(&mut self) -> Result<(), String> {
        if self.actions_left == 0 {
            return Ok(());
        }
        self.actions_left -= 1;
        let at = self.now + Duration::from_millis(self.rng.u64(0..4_000));
        self.post(at, Packet::Act);
        let index = self.rng.usize(0..self.devices.len());
        let device = &self.devices[index];
        let rooms: Vec<ConversationId> = device
            .disk
            .conversations
            .iter()
            .filter(|(_, held)| held.membership == Membership::Member)
            .map(|(id, _)| *id)
            .collect();
        let command = if rooms.is_empty() || self.rng.u32(0..12) == 0 {
            self.submit_new(index)
        } else {
            let room = rooms[self.rng.usize(0..rooms.len())];
            self.something_in(index, room)
        };
        self.command(index, command)
    }

    fn submit(&mut self, intent: Intent) -> Command {
        Command::Submit { token: ClientToken::from_uuid(self.fresh()), intent, queued_at: Timestamp(EPOCH) }
    }

    fn submit_new(&mut self, index: usize) -> Command {
        let others: Vec<Participant> = self
            .users
            .iter()
            .filter(|(user, _)| *user != self.devices[index].user)
            .map(|(user, _)| Participant::new(*user))
            .collect();
        let mut config = ConversationConfig { participants: others, ..ConversationConfig::default() };
        match self.rng.u32(0..5) {
            0 => {
                config.direct = true;
                config.participants.truncate(1);
            }
            1 => config.uber = true,
            2 => config.public_join = true,
            _ => {}
        }
        self.submit(Intent::CreateConversation(config))
    }

    fn something_in(&mut self, index: usize, conversation: ConversationId) -> Command {
        let held = &self.devices[index].disk.conversations[&conversation];
        let head = held.head;
        let messages: Vec<_> = held.events.values().filter_map(|event| event.body.message()).collect();
        let tokens: Vec<ClientToken> = self.devices[index].disk.outbox.keys().copied().collect();
        match (self.rng.u32(0..14), messages.is_empty()) {
            (0, false) => {
                let message = messages[self.rng.usize(0..messages.len())];
                let text = format!("edited {}", self.steps);
                self.submit(Intent::EditMessage { conversation, message, text, payload: None })
            }
            (1, false) => {
                let message = messages[self.rng.usize(0..messages.len())];
                self.submit(Intent::RemoveMessage { conversation, message })
            }
            (2, _) if head > Sequence::ZERO => self.submit(Intent::MarkAsRead { conversation, sequence: head }),
            (3, _) if !tokens.is_empty() => Command::Cancel(tokens[self.rng.usize(0..tokens.len())]),
            (4, _) => Command::Focus(vec![conversation]),
            (5, _) => Command::NetworkChanged,
            (6, _) => Command::Query(Query::Conversations(vec![conversation])),
            (7, _) => {
                let user = self.users[self.rng.usize(0..self.users.len())].0;
                self.submit(Intent::AddParticipants { conversation, participants: vec![Participant::new(user)] })
            }
            _ => {
                let text = format!("text {}", self.steps);
                self.submit(Intent::SendMessage { conversation, text, payload: None })
            }
        }
    }

    // ------------------------------------------------------------------ what is left

    /// What the hub holds, as clients see it.
    fn log(&self, conversation: ConversationId) -> Vec<Event> {
        let events = crate::checks::events(&self.hub, conversation);
        if self.flavour == Flavour::Ours { events } else { events.into_iter().map(unveil_event).collect() }
    }

    fn check_the_end(&self) -> Result<(), String> {
        let logs: BTreeMap<ConversationId, Vec<Event>> =
            self.hub.storage().conversation_ids().map(|id| (id, self.log(id))).collect();
        for (index, device) in self.devices.iter().enumerate() {
            let files = &device.disk.conversations;
            crate::checks::same_view(&self.hub, device.user, files, &logs)
                .map_err(|what| format!("device {index}: {what}"))?;
        }
        let mut found: BTreeMap<ClientToken, u32> = BTreeMap::new();
        let mut order: BTreeMap<ClientToken, Sequence> = BTreeMap::new();
        for event in logs.values().flatten() {
            if let Some(token) = self.token_of(event) {
                *found.entry(token).or_default() += 1;
                order.entry(token).or_insert(event.sequence);
            }
        }
        if let Some((token, times)) = found.iter().find(|(_, times)| **times > 1) {
            return Err(format!("O-1: message {token} is in the log {times} times"));
        }
        let mut last: BTreeMap<(usize, ConversationId), Sequence> = BTreeMap::new();
        for Accepted { device, conversation, token } in &self.accepted {
            let entry = self.devices[*device].disk.outbox.get(token);
            let expected = match entry.map(|entry| entry.state) {
                Some(OutboxState::Settled) => 1,
                Some(OutboxState::Failed) => 0,
                None if self.cancelled.contains(token) => 0,
                other => return Err(format!("O-1: accepted message {token} ended as {other:?}")),
            };
            // A message removed later leaves no token behind: its entry says where it was.
            let settled_at = entry.and_then(|entry| entry.settlement).and_then(|settlement| settlement.sequence);
            let removed = settled_at.is_some_and(|at| crate::checks::was_removed(&logs[conversation], at));
            let times = found.get(token).copied().unwrap_or(u32::from(removed && expected == 1));
            if times != expected {
                return Err(format!("O-1, O-10: {token} is there {times} times, and should be {expected}"));
            }
            if let Some(at) = settled_at {
                let before = last.insert((*device, *conversation), at);
                if before.is_some_and(|before| before >= at) {
                    return Err(format!("O-4: {token} overtook an earlier message"));
                }
            }
        }
        Ok(())
    }

    fn token_of(&self, event: &Event) -> Option<ClientToken> {
        match &event.body {
            EventBody::MessageSent(content) => backscroll::model::token_of_payload(content.payload.as_ref()),
            _ => None,
        }
    }
}

fn brief(text: &str) -> &str {
    text.char_indices().nth(300).map_or(text, |(end, _)| &text[..end])
}

// A foreign server must not know our tokens: on its side they go under a name it does not look for.

fn renamed(json: &RawJson, from: &str, to: &str) -> RawJson {
    RawJson::new(&json.as_str().replace(from, to)).expect("a name for a name")
}

fn veil_request(request: Request) -> Request {
    match request {
        Request::SendMessage { conversation, text, payload } => {
            let payload = payload.map(|payload| renamed(&payload, "client_id", "klient_id"));
            Request::SendMessage { conversation, text, payload }
        }
        Request::CreateConversation(mut config) => {
            config.custom_data = renamed(&config.custom_data, "client_id", "klient_id");
            Request::CreateConversation(config)
        }
        other => other,
    }
}

fn unveil_event(mut event: Event) -> Event {
    match &mut event.body {
        EventBody::MessageSent(content) | EventBody::MessageEdited(content) => {
            content.payload = content.payload.take().map(|payload| renamed(&payload, "klient_id", "client_id"));
        }
        EventBody::ConversationCreated(conversation) | EventBody::ConversationEdited(conversation) => {
            conversation.custom_data = renamed(&conversation.custom_data, "klient_id", "client_id");
        }
        _ => {}
    }
    event
}

fn unveil(push: Push) -> Push {
    match push {
        Push::Event(event) => Push::Event(unveil_event(event)),
        Push::Retransmitted { header, from, to, count, event } => {
            Push::Retransmitted { header, from, to, count, event: unveil_event(event) }
        }
        Push::Conversation { header, mut conversation } => {
            conversation.custom_data = renamed(&conversation.custom_data, "klient_id", "client_id");
            Push::Conversation { header, conversation }
        }
        other => other,
    }
}
