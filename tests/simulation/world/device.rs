//! Devices: a core, its disk, and the shell that performs what the core wants.

use super::diagrams::Diagrams;
use super::disk::Disk;
use super::keeper::Keeper;
use super::medium::Medium;
use super::process::{Process, Waiting};
use super::wishes::accepted_in;
use super::{Accepted, Flavour, Packet, World};
use backscroll::model::{
    ClientToken, ConversationId, Credentials, Event, HistoryPolicy, Intent, OutboxEntry, OutboxState, Secret, Sequence,
    SequenceRange, ServerAddress, Tokens, Uptime, UserId,
};
use backscroll::protocol::{ClientFrame, RateLimit, Request, ServerFrame};
use backscroll::sync::{
    Command, CommandId, Core, Input, LEAVES_WITHIN, LinkId, LinkState, Output, Refusal, Reply, Settings, Signal, Write,
};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// So many times likelier a process is killed right behind a frame that may double.
const KILLS_AFTER_SENDING: u32 = 4;

/// The longest a frame of a killed process is still under way, or in the hands of the server.
const LATE_OF_THE_DEAD_MS: u64 = 45_000;

/// What a waiting command is about, as far as its answer is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    LogIn,
    /// As somebody else than the owner of the store.
    LogInAsAnother,
    LogOut,
    /// A question for the server, and when it was asked.
    Query(Duration),
    Retry,
    /// The edit of this number, of a message known by its token.
    Edit(usize),
    /// A part of history, as far as there was one when it was asked for.
    Fetch(ConversationId, SequenceRange),
    Other,
}

/// A file, and the processes that work on it.
pub(crate) struct Device<M> {
    pub(super) user: UserId,
    /// How much history it fetches of conversations without a policy of their own.
    pub(super) policy: HistoryPolicy,
    /// Where the tokens are, if not in the file.
    pub(super) keeper: Option<Keeper>,
    /// Whether other processes have the file open as well.
    pub(super) is_shared: bool,
    /// The process that syncs; while the other one does something, that one.
    pub(super) process: Process,
    /// Another process with the file open that may take over, or that was taken over from.
    pub(super) other: Option<Process>,
    /// What the file says about whose transactions count.
    pub(super) generation: u64,
    /// When that changed last.
    pub(super) taken: Duration,
    pub(super) disk: Disk,
    pub(crate) medium: M,
    /// Until when there is no network.
    pub(super) offline_until: Duration,
    /// What wishes of other processes are about.
    pub(super) wished: BTreeMap<u64, Asked>,
    /// How often something kept an answer from coming: lost links, ends of a process, refusals, incomplete answers.
    pub(super) interruptions: u32,
    /// Which history was asked for.
    pub(super) asked: BTreeMap<ConversationId, Vec<SequenceRange>>,
    /// The own read marks that it sent.
    pub(super) marks: BTreeMap<ConversationId, i64>,
}

impl<M> Device<M> {
    /// Returns the tokens that are durable.
    pub(super) fn tokens(&self) -> Option<&Tokens> {
        let in_file = || self.disk.session.as_ref().and_then(|session| session.tokens.as_ref());
        self.keeper.as_ref().and_then(Keeper::kept).or_else(in_file)
    }

    /// Nothing is going to happen by itself any more.
    pub(super) fn is_calm(&self) -> bool {
        self.process.state == LinkState::Live
            && self.disk.unfinished().next().is_none()
            && self.disk.waiting_wishes().next().is_none()
            && !self.process.waiting.values().any(|waiting| matches!(waiting.asked, Asked::Fetch(..)))
            && self.process.stopped.is_none()
            && self.other.as_ref().is_none_or(|other| other.core.is_none())
    }

    /// What comes with the end of a link, whoever ended it.
    pub(super) fn link_lost(&mut self) {
        self.interruptions += 1;
        self.process.refreshing = None;
        self.process.forget_awaited();
    }
}

impl<M: Medium> World<M> {
    pub(super) fn add_device(&mut self, user: UserId) {
        let index = self.devices.len();
        let policy = if self.policies { Self::a_policy(&mut self.rng) } else { HistoryPolicy::Everything };
        let keeper = (self.rng.u32(0..4) == 0).then(Keeper::default);
        let is_shared = self.rng.u32(0..3) == 0;
        let other = (is_shared && self.fate.bool()).then(|| Process::new(1));
        self.devices.push(Device {
            user,
            policy,
            keeper,
            is_shared,
            process: Process::new(0),
            other,
            generation: 0,
            taken: Duration::ZERO,
            disk: Disk::default(),
            medium: M::new(self.rng.u64(..)),
            offline_until: Duration::ZERO,
            wished: BTreeMap::new(),
            interruptions: 0,
            asked: BTreeMap::new(),
            marks: BTreeMap::new(),
        });
        self.post(self.now + Duration::from_millis(index as u64), Packet::Start(index, 0));
    }

    fn settings(&self, history: HistoryPolicy) -> Settings {
        let quarantine = if self.flavour == Flavour::Hasty { Duration::ZERO } else { Duration::from_secs(60) };
        let rate = RateLimit { burst: 16, interval: Duration::from_millis(20) };
        Settings { rate, quarantine, history, ..Settings::default() }
    }

    /// A process begins, where none works on the file.
    pub(super) fn start(&mut self, index: usize) -> Result<(), String> {
        let device = &mut self.devices[index];
        device.medium.reopen(&device.disk)?;
        device.process.told.clear();
        self.begin(index)
    }

    /// A process begins to sync with what the file holds.
    pub(super) fn begin(&mut self, index: usize) -> Result<(), String> {
        let settings = self.settings(self.devices[index].policy);
        let seed = self.rng.u64(..);
        self.hold(index);
        let device = &mut self.devices[index];
        let mut saved = device.disk.saved_state();
        if let Some(keeper) = &device.keeper {
            keeper.give_back(&mut saved);
        }
        let may_resume = saved.session.as_ref().is_some_and(|session| session.tokens.is_some());
        let process = &mut device.process;
        process.started = self.now;
        process.state = LinkState::default();
        process.slow_until = Duration::ZERO;
        process.knows_password = false;
        process.diagrams = Diagrams::begin(&saved);
        process.core = Some(Core::restore(saved, settings, seed, Uptime::default()));
        self.ask_deadline(index);
        self.take_wishes(index)?;
        if may_resume { Ok(()) } else { self.log_in(index, self.devices[index].user) }
    }

    /// Somebody types a name and its password.
    pub(super) fn log_in(&mut self, index: usize, who: UserId) -> Result<(), String> {
        let user = self.users.iter().find(|(id, _)| *id == who).expect("known").1.clone();
        let credentials = Credentials::Password { user, password: Secret::new("password") };
        let server = ServerAddress { url: "wss://example.org/platform".to_owned(), extra_root: None };
        let is_owner = who == self.devices[index].user;
        let asked = if is_owner { Asked::LogIn } else { Asked::LogInAsAnother };
        self.devices[index].process.knows_password |= asked == Asked::LogIn;
        self.command(index, Command::LogIn { credentials, server }, asked)
    }

    pub(super) fn kill(&mut self, index: usize) {
        let number = self.devices[index].process.number;
        if self.trace {
            println!("{:?} device {index}: process {number} killed", self.now);
        }
        let is_late = self.fate.bool();
        if let Some((_, conn)) = self.devices[index].process.link.take_if(|_| is_late) {
            self.sever_within(conn, LATE_OF_THE_DEAD_MS);
        }
        self.end_process(index);
        self.devices[index].process.lives = false;
        self.leave_to_another(index);
        // Mostly it is started again at once; what was under way may also have long been decided by then.
        let longest_ms = if self.rng.u32(0..6) == 0 { 300_000 } else { 5_000 };
        let at = self.now + Duration::from_millis(self.rng.u64(0..longest_ms));
        self.post(at, Packet::Start(index, number));
    }

    /// A process that had died is started again: it syncs if no other does.
    pub(super) fn start_again(&mut self, index: usize, number: usize) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.process.number == number {
            device.process.lives = true;
            return self.start(index);
        }
        if let Some(other) = &mut device.other {
            *other = Process::new(number);
        }
        Ok(())
    }

    pub(super) fn end_process(&mut self, index: usize) {
        if let Some((_, conn)) = self.devices[index].process.link.take() {
            self.sever(conn);
        }
        let device = &mut self.devices[index];
        device.link_lost();
        device.process.core = None;
        device.process.due = None;
        device.process.waiting.clear();
        device.process.state = LinkState::default();
    }

    pub(super) fn command(&mut self, index: usize, command: Command, asked: Asked) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.process.core.is_none() || device.process.is_stopped() {
            return Ok(());
        }
        if let (Asked::Fetch(conversation, range), true) = (asked, device.process.link.is_some()) {
            device.process.awaited.entry(conversation).or_default().insert(range);
        }
        device.process.commands += 1;
        let id = CommandId(device.process.commands);
        device.process.waiting.insert(id, Waiting { asked, command: command.clone() });
        self.give(index, Input::Command(id, command))
    }

    /// Gives a core one input and performs what it wants, as far as its process lives.
    pub(super) fn give(&mut self, index: usize, input: Input) -> Result<(), String> {
        let now = self.uptime(index);
        if self.trace {
            println!("{:?} device {index} <- {}", self.now, brief(&format!("{input:?}")));
        }
        let device = &mut self.devices[index];
        let running = device.process.core.as_mut().filter(|_| device.process.stopped.is_none());
        let Some(core) = running else { return Ok(()) };
        device.process.diagrams.see_input(&input, &mut self.tally);
        let outputs = VecDeque::from(core.handle(now, input));
        self.ask_deadline(index);
        self.perform(index, outputs, self.now)
    }

    /// Performs what a core wants, as far as its process lives and runs. What leaves was `decided` then.
    pub(super) fn perform(
        &mut self,
        index: usize,
        mut outputs: VecDeque<Output>,
        decided: Duration,
    ) -> Result<(), String> {
        let (mut broken, mut has_stored) = (None, false);
        while !outputs.is_empty() {
            if self.strikes("kill", self.faults.kill) {
                self.kill(index);
                return Ok(());
            }
            if self.stops(index, &mut outputs, decided, has_stored) {
                return Ok(());
            }
            let Some(output) = outputs.pop_front() else { break };
            if self.trace {
                println!("{:?} device {index} -> {}", self.now, brief(&format!("{output:?}")));
            }
            self.devices[index].process.diagrams.see_output(&output, &mut self.tally);
            match output {
                Output::Write(writes) => {
                    if !self.commit(index, writes)? {
                        return Ok(());
                    }
                    has_stored = true;
                }
                Output::Dial(link, _) => self.dial(index, link)?,
                Output::HangUp(link) => self.hang_up(index, link)?,
                Output::Send(link, _) if self.now > decided + LEAVES_WITHIN => broken = Some(link),
                Output::Send(_, frame) if frame.uses_tokens() && !self.devices[index].is_current() => {
                    // The shell asks the file first.
                    self.tally.strike("tokens of a former holder withheld");
                    return self.gives_up(index);
                }
                Output::Send(link, frame) => {
                    // Where it matters most: what left is under way.
                    let may_double = matches!(&frame, ClientFrame::Chat(chat) if may_double(&chat.body));
                    self.send(index, link, frame, decided)?;
                    if may_double && self.fate.u32(0..1_000) < KILLS_AFTER_SENDING * self.faults.kill {
                        self.tally.strike("kill behind a frame");
                        self.kill(index);
                        return Ok(());
                    }
                }
                Output::Load(load) => {
                    let now = self.uptime(index);
                    let device = &mut self.devices[index];
                    let found = device.disk.message(load.conversation, load.message);
                    if found.is_none() {
                        // An edit that has to know it searches for it.
                        device.process.searched.insert(load.conversation);
                    }
                    let core = device.process.core.as_mut().expect("it lives");
                    outputs.extend(core.handle(now, Input::Loaded(load.token, found)));
                }
                Output::Answer(id, reply) => self.answered(index, id, reply)?,
                Output::Signal(signal) => self.told(index, signal)?,
            }
        }
        broken.map_or(Ok(()), |link| self.withhold(index, link))
    }

    /// Gives a core a frame of a link that it has given up: nothing may follow from it.
    pub(super) fn haunt(&mut self, index: usize, link: LinkId, frame: ServerFrame) -> Result<(), String> {
        // Whatever is due by now happens before, so that it is not taken for the frame's doing.
        self.give(index, Input::DeadlinePassed)?;
        let now = self.uptime(index);
        let Some(core) = self.devices[index].process.core.as_mut() else { return Ok(()) };
        self.tally.strike("frame of a dead link heard");
        let outputs = core.handle(now, Input::Frame(link, frame));
        self.tally.holds("C-5", outputs.is_empty(), || format!("of a dead link came {outputs:?}"))
    }

    /// Stores a transaction, unless the disk or the process fails. Returns whether the process goes on.
    fn commit(&mut self, index: usize, mut writes: Vec<Write>) -> Result<bool, String> {
        if !self.devices[index].is_current() {
            self.tally.strike("transaction of a former holder refused");
            self.gives_up(index)?;
            return Ok(false);
        }
        let fails = self.strikes("failed commit", self.faults.commit);
        let dies = !fails && self.strikes("death in a commit", self.faults.torn_commit);
        self.keep_tokens(index, &mut writes, fails || dies);
        let device = &mut self.devices[index];
        let is_kept = if fails {
            device.medium.refuse(&writes)?
        } else if dies {
            device.medium.die_in(&writes, &device.disk, &mut self.rng)?
        } else {
            device.medium.commit(&writes, &device.disk)?;
            true
        };
        if is_kept {
            for token in writes.iter().filter_map(forgotten_by) {
                match device.disk.outbox.get(&token).filter(|entry| entry.state == OutboxState::Settled) {
                    // Only the newest settled entries are kept.
                    Some(entry) => drop(self.outlived.insert(token, entry.clone())),
                    None => drop(self.cancelled.insert(token)),
                }
            }
            // Who comes back asks again for what was not shown outside.
            let turns = writes.iter().filter(|write| matches!(write, Write::Membership(..))).count();
            device.interruptions += u32::try_from(turns).expect("few");
            let accepted = accepted_in(&writes);
            device.disk.apply(writes, &mut self.tally)?;
            self.wishes_answered(index, &accepted)?;
        }
        if dies {
            self.kill(index);
        } else if !is_kept {
            // What the shell does: answers whoever waits, hangs up, starts again from the file.
            self.end_process(index);
            self.start(index)?;
        }
        Ok(is_kept && !dies)
    }

    /// Tokens go to whoever keeps them, before the transaction that they are taken out of: when that fails, the newest
    /// pair is still the one that works. The keeper may be what fails.
    fn keep_tokens(&mut self, index: usize, writes: &mut [Write], may_fail: bool) {
        let Some(keeper) = &mut self.devices[index].keeper else { return };
        if let Some(tokens) = Keeper::take_out(writes) {
            if may_fail && self.rng.bool() {
                return;
            }
            keeper.keep(tokens);
            self.tally.arrow("Tokens", "file", "keeper");
        }
    }

    fn hang_up(&mut self, index: usize, link: LinkId) -> Result<(), String> {
        let device = &mut self.devices[index];
        let open = device.process.link.take().filter(|(current, _)| *current == link);
        self.tally.holds("C-5", open.is_some(), || "hung up what was not open".to_owned())?;
        device.link_lost();
        if let Some((_, conn)) = open {
            self.sever(conn);
        }
        Ok(())
    }

    fn answered(&mut self, index: usize, id: CommandId, reply: Result<Reply, Refusal>) -> Result<(), String> {
        let device = &mut self.devices[index];
        let Some(Waiting { asked, .. }) = device.process.waiting.remove(&id) else {
            return Err(format!("command {id:?} was answered twice"));
        };
        match (asked, reply) {
            // Refused for now, a password that worked before is still one.
            (Asked::LogIn, Err(Refusal::Login { code })) => {
                device.process.knows_password &= !matches!(code, 401 | 404 | 701)
            }
            (Asked::LogOut, _) => device.process.knows_password = false,
            (Asked::LogInAsAnother, reply) => {
                let refused = matches!(reply, Err(Refusal::OtherUser { .. }));
                self.tally.holds("C-3", refused, || "another user logged in to this store".to_owned())?;
            }
            (_, Ok(Reply::Accepted(entry))) => {
                // What one left behind, another may have gone on with.
                let stored = !device.is_current() || device.disk.outbox.contains_key(&entry.token);
                self.tally.holds("D-3", stored, || "accepted before it was stored".to_owned())?;
                self.accepted(index, &entry, asked);
            }
            (Asked::Fetch(id, range), Ok(_)) => self.check_fetched(index, id, range)?,
            (Asked::Fetch(..), Err(Refusal::Offline)) => self.tally.arrow("Fetch", "asked", "offline"),
            (Asked::Fetch(..), Err(_)) => self.tally.arrow("Fetch", "asked", "refused"),
            _ => {}
        }
        Ok(())
    }

    /// Takes note of an entry that stands for what was wanted.
    pub(super) fn accepted(&mut self, index: usize, entry: &OutboxEntry, asked: Asked) {
        if let Asked::Edit(number) = asked {
            self.accepted_edits.push((number, entry.token));
        }
        // Accepted once more when an edit goes into it, or when it is tried again by hand: then others may have gone
        // before it.
        match self.accepted.iter_mut().find(|accepted| accepted.token == entry.token) {
            Some(accepted) => accepted.in_order &= asked != Asked::Retry,
            None => {
                if let Intent::SendMessage { conversation, .. } = entry.intent {
                    // Stored by a process that did not live to say so, it has its place among others from then.
                    let in_order = self.devices[index].is_current() && !matches!(asked, Asked::Retry | Asked::Edit(_));
                    self.accepted.push(Accepted { device: index, conversation, token: entry.token, in_order });
                }
            }
        }
    }

    fn told(&mut self, index: usize, signal: Signal) -> Result<(), String> {
        match signal {
            Signal::Link(state) => {
                self.devices[index].process.state = state;
                if self.devices[index].process.state.is_signed_out() {
                    let at = self.now + Duration::from_secs(1);
                    self.post(at, Packet::LogIn(index));
                }
                Ok(())
            }
            Signal::Event { event, .. } => self.told_event(index, &event),
            Signal::Outbox { entry, cancelled, .. } => self.told_entry(index, &entry, cancelled),
            Signal::Notice(_) | Signal::User(_) | Signal::Carried { .. } => Ok(()),
        }
    }

    fn told_event(&mut self, index: usize, event: &Event) -> Result<(), String> {
        if event.sequence == Sequence::ZERO {
            return Ok(());
        }
        let device = &mut self.devices[index];
        let held = device.disk.conversations.get(&event.conversation);
        let held = held.and_then(|held| held.events.get(&event.sequence));
        let stored = held == Some(event);
        self.tally.holds("D-5", stored, || "an event was shown before it was stored".to_owned())?;
        let is_new = device.process.told.insert((event.conversation, event.sequence));
        self.tally.holds("L-12", is_new, || format!("{} was told twice", event.sequence))
    }

    fn told_entry(&mut self, index: usize, entry: &OutboxEntry, cancelled: bool) -> Result<(), String> {
        let stored = if !self.devices[index].is_current() {
            true
        } else if cancelled {
            self.cancelled.contains(&entry.token)
        } else {
            self.devices[index].disk.outbox.get(&entry.token) == Some(entry)
        };
        self.tally.holds("D-5", stored, || format!("{:?} was shown before it was stored", entry.token))
    }

    /// No message of this token was taken back.
    pub(super) fn was_cancelled(&self, token: ClientToken) -> bool {
        self.cancelled.contains(&token)
    }
}

/// Whether a server that does as often as it is asked has something twice then.
const fn may_double(request: &Request) -> bool {
    matches!(request, Request::SendMessage { .. } | Request::CreateConversation(_))
}

const fn forgotten_by(write: &Write) -> Option<ClientToken> {
    match write {
        Write::OutboxForget(token) => Some(*token),
        _ => None,
    }
}

fn brief(text: &str) -> &str {
    text.char_indices().nth(300).map_or(text, |(end, _)| &text[..end])
}
