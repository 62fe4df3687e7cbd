//! The processes at a device's file: which one syncs, and what becomes of one that the lease was taken from.
//!
//! ```text
//!             takes over, or succeeds one that died
//!   follows ───────────────────────────────────────▶ holds ◀────▶ stopped
//!    ▲   ▲                                             │             │  another takes over
//!    │   │                                             ▼             ▼
//!    │   └──── notices, or is refused a transaction ─ outdated ◀─── stopped
//!    └──────── is started again, and somebody syncs ─ dead, from all that run
//! ```
//!
//! Whose transactions count is decided here as the store decides it; the store itself has tests of its own.

use super::device::{Asked, Device};
use super::diagrams::Diagrams;
use super::medium::Medium;
use super::{Packet, World};
use backscroll::model::{ConversationId, Ranges, Sequence};
use backscroll::sync::{Command, CommandId, Core, Input, LEAVES_WITHIN, LinkId, LinkState, Output};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

/// The longest until a process that runs notices what another one did to the file.
pub(super) const NOTICED_MS: u64 = 100;

/// The longest the system goes on sending what a process handed to a socket, while nobody takes it.
const UNACKNOWLEDGED_MS: u64 = 15_000;

/// A command, and what its answer is checked for.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) asked: Asked,
    pub(super) command: Command,
}

/// What a stopped process has yet to do.
#[derive(Debug)]
pub(super) struct Stopped {
    until: Duration,
    outputs: VecDeque<Output>,
    /// When the transaction behind which they come was begun.
    decided: Duration,
    /// Whether that was stored, and frames are to follow.
    is_between: bool,
}

/// A process: a core, and the shell that performs what it wants.
#[derive(Debug, Default)]
pub(super) struct Process {
    /// Which of the two at the file.
    pub(super) number: usize,
    pub(super) lives: bool,
    /// What the file must say for a transaction of this process to count.
    pub(super) generation: u64,
    /// `None` while it follows, or does not live.
    pub(super) core: Option<Core>,
    pub(super) started: Duration,
    /// When the core is next due.
    pub(super) due: Option<Duration>,
    pub(super) link: Option<(LinkId, u64)>,
    pub(super) waiting: BTreeMap<CommandId, Waiting>,
    pub(super) commands: u64,
    pub(super) state: LinkState,
    pub(super) spins: u32,
    pub(super) diagrams: Diagrams,
    /// Whether it was given the password and the server did not refuse it.
    pub(super) knows_password: bool,
    /// Events it told of.
    pub(super) told: BTreeSet<(ConversationId, Sequence)>,
    /// Which history somebody waits for on the present link.
    pub(super) awaited: BTreeMap<ConversationId, Ranges>,
    /// Which conversations were looked through for something uncertain on the present link.
    pub(super) searched: BTreeSet<ConversationId>,
    /// Until when it must be silent after it was told to slow down.
    pub(super) slow_until: Duration,
    /// The link on which a refresh is under way.
    pub(super) refreshing: Option<LinkId>,
    pub(super) stopped: Option<Stopped>,
    /// Whether it held the lease before.
    has_held: bool,
    /// Until when it must have noticed that the lease was taken from it.
    notices_by: Option<Duration>,
}

impl Process {
    pub(super) fn new(number: usize) -> Self {
        Self { number, lives: true, ..Self::default() }
    }

    const fn follows(&self) -> bool {
        self.lives && self.core.is_none() && self.stopped.is_none()
    }

    pub(super) const fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// When its core is due; while it is stopped nothing is.
    pub(super) const fn wakes_for_deadline(&self) -> Option<Duration> {
        if self.stopped.is_some() { None } else { self.due }
    }

    /// Whether it lives, and has synced since it was so far.
    pub(super) fn runs_since(&self, started: Duration) -> bool {
        self.core.is_some() && self.stopped.is_none() && self.started == started
    }

    /// What was waited for on a link that is gone is not waited for any more.
    pub(super) fn forget_awaited(&mut self) {
        self.awaited.clear();
        self.searched.clear();
    }
}

impl<M> Device<M> {
    /// Returns whether the process that acts is the one whose transactions count.
    pub(super) const fn is_current(&self) -> bool {
        self.process.generation == self.generation
    }

    pub(super) fn process(&self, number: usize) -> Option<&Process> {
        [Some(&self.process), self.other.as_ref()].into_iter().flatten().find(|process| process.number == number)
    }

    fn change_places(&mut self) {
        if let Some(other) = &mut self.other {
            std::mem::swap(&mut self.process, other);
        }
    }
}

impl<M: Medium> World<M> {
    /// Lets something happen to one of the two processes of a device.
    pub(super) fn as_process<T>(&mut self, index: usize, number: usize, act: impl FnOnce(&mut Self) -> T) -> T {
        if self.devices[index].process.number == number {
            return act(self);
        }
        self.devices[index].change_places();
        let outcome = act(self);
        self.devices[index].change_places();
        outcome
    }

    /// Returns until when the process that a packet is for is stopped, so that it waits in the system.
    pub(super) fn stopped_until(&self, index: usize, number: usize) -> Option<Duration> {
        let stopped = self.devices[index].process(number)?.stopped.as_ref()?;
        Some(stopped.until)
    }

    /// Stops a process before it performs these outputs, sometimes: only where there is another to take over.
    pub(super) fn stops(
        &mut self,
        index: usize,
        outputs: &mut VecDeque<Output>,
        decided: Duration,
        has_stored: bool,
    ) -> bool {
        let device = &self.devices[index];
        if self.faults.stop == 0 || !device.other.as_ref().is_some_and(Process::follows) {
            return false;
        }
        let is_between = has_stored && matches!(outputs.front(), Some(Output::Send(..)));
        let in_a_thousand = if is_between { 3 * self.faults.stop } else { self.faults.stop };
        if self.fate.u32(0..1_000) >= in_a_thousand {
            return false;
        }
        self.tally.strike("stopped process");
        let longest_ms = [50, 15_000, 60_000, 200_000][self.fate.usize(0..4)];
        let until = self.now + Duration::from_millis(self.fate.u64(1..longest_ms));
        let number = device.process.number;
        let conn = device.process.link.map(|(_, conn)| conn);
        if self.trace {
            println!("{:?} device {index}: process {number} stopped until {until:?}", self.now);
        }
        let outputs = std::mem::take(outputs);
        self.devices[index].process.stopped = Some(Stopped { until, outputs, decided, is_between });
        self.post(until, Packet::Wakes(index, number));
        // Mostly somebody takes over while it is stopped, be it at once or long before it wakes.
        if self.fate.u32(0..4) > 0 {
            let most_ms = if self.fate.bool() { 1 } else { longest_ms.min(20_000) };
            let at = self.now + Duration::from_millis(self.fate.u64(0..most_ms));
            self.post(at, Packet::TakesOver(index));
        }
        if let Some(conn) = conn.filter(|_| self.fate.bool()) {
            let held = Duration::from_millis(self.fate.u64(0..UNACKNOWLEDGED_MS));
            self.hold_back(conn, self.now + held);
        }
        true
    }

    /// A process goes on where it was stopped.
    pub(super) fn wakes(&mut self, index: usize) -> Result<(), String> {
        let now = self.now;
        let device = &mut self.devices[index];
        let Some(Stopped { outputs, decided, .. }) = device.process.stopped.take() else { return Ok(()) };
        for waiting in device.process.waiting.values_mut() {
            if let Asked::Query(at) = &mut waiting.asked {
                *at = now;
            }
        }
        if let Some(conn) = device.process.link.and_then(|(_, conn)| self.conns.get_mut(&conn))
            && conn.quiet_since.is_some()
        {
            conn.quiet_since = Some(now);
        }
        if self.trace {
            println!("{now:?} device {index}: process {} goes on", device.process.number);
        }
        if device.is_current() {
            // What was wished for meanwhile is seen with the next look.
            self.post(now + Duration::from_millis(NOTICED_MS), Packet::Wished(index));
        } else {
            self.will_notice(index);
        }
        self.perform(index, outputs, decided)?;
        self.ask_deadline(index);
        if self.devices[index].process.state.is_signed_out() {
            self.post(now + Duration::from_secs(1), Packet::LogIn(index));
        }
        Ok(())
    }

    /// Another process takes the lease, from one that runs or is stopped.
    pub(super) fn take_over(&mut self, index: usize) -> Result<(), String> {
        let device = &mut self.devices[index];
        let Some(other) = device.other.as_ref().filter(|other| other.follows()) else { return Ok(()) };
        if device.process.core.is_none() {
            return Ok(());
        }
        if let Some(stopped) = &device.process.stopped {
            self.tally.strike("take-over of a stopped holder");
            if stopped.is_between {
                self.tally.strike("take-over between a transaction and its frames");
            }
        } else {
            self.tally.strike("take-over of a running holder");
        }
        self.tally.arrow("Process", "holds", "outdated");
        if other.has_held {
            self.tally.strike("take-over and back");
        }
        device.change_places();
        device.interruptions += 1;
        if let Some(former) = device.other.as_ref().filter(|former| former.stopped.is_none()) {
            let number = former.number;
            self.as_process(index, number, |world| world.will_notice(index));
        }
        self.tally.arrow("Process", "follows", "holds");
        self.begin(index)
    }

    /// The holder died, and whoever follows, if anybody does, will find its lock free.
    pub(super) fn leave_to_another(&mut self, index: usize) {
        let device = &mut self.devices[index];
        if !device.is_current() || !device.other.as_ref().is_some_and(Process::follows) {
            return;
        }
        device.change_places();
        let number = device.process.number;
        self.tally.strike("succession to a dead holder");
        let at = self.now + Duration::from_millis(self.fate.u64(0..NOTICED_MS));
        self.post(at, Packet::Succeeds(index, number));
    }

    /// Whoever found the lock free syncs, unless the one that died was quicker to come back.
    pub(super) fn succeeds(&mut self, index: usize, number: usize) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.process.number != number || !device.process.follows() {
            return Ok(());
        }
        self.tally.arrow("Process", "follows", "succeeds");
        device.medium.reopen(&device.disk)?;
        self.begin(index)
    }

    fn will_notice(&mut self, index: usize) {
        let longest = Duration::from_millis(NOTICED_MS);
        let at = self.now + Duration::from_millis(self.fate.u64(0..NOTICED_MS));
        let process = &mut self.devices[index].process;
        process.notices_by = Some(self.now + longest);
        let number = process.number;
        self.post(at, Packet::Notices(index, number));
    }

    /// A process sees, by a look at the file or by a refused transaction, that the lease is another's: it gives up
    /// core and link, and what its application waits for becomes a wish.
    pub(super) fn gives_up(&mut self, index: usize) -> Result<(), String> {
        let device = &mut self.devices[index];
        if device.is_current() || device.process.core.is_none() || device.process.stopped.is_some() {
            return Ok(());
        }
        if self.trace {
            println!("{:?} device {index}: process {} follows", self.now, device.process.number);
        }
        self.tally.arrow("Process", "outdated", "follows");
        let unanswered = std::mem::take(&mut device.process.waiting);
        self.end_process(index);
        if self.devices[index].disk.session.is_some() {
            for Waiting { asked, command } in unanswered.into_values() {
                if matches!(command, Command::Submit { .. } | Command::Cancel(_) | Command::Retry(_)) {
                    self.wish(index, command, asked)?;
                }
            }
        }
        Ok(())
    }

    /// The present process takes the lease as its own: a core begins with what the file holds.
    pub(super) fn hold(&mut self, index: usize) {
        let device = &mut self.devices[index];
        device.generation += 1;
        device.taken = self.now;
        device.process.generation = device.generation;
        device.process.has_held = true;
        device.process.notices_by = None;
    }

    /// What leaves a process that the lease was taken from was allowed before that, and not long ago.
    pub(super) fn check_leaving(&mut self, index: usize, decided: Duration) -> Result<(), String> {
        let device = &self.devices[index];
        if device.is_current() {
            return self.tally.holds("R-46", true, String::new);
        }
        self.tally.strike("frame of a former holder");
        let (now, taken) = (self.now, device.taken);
        let is_allowed = decided <= taken && now <= decided + LEAVES_WITHIN;
        let late = || format!("a frame left that was decided at {decided:?}; another process took over at {taken:?}");
        self.tally.holds("R-46", is_allowed, late)
    }

    /// Whoever lost the lease notices in time.
    pub(super) fn check_noticed(&mut self) -> Result<(), String> {
        for (index, device) in self.devices.iter().enumerate() {
            let Some(former) = device.other.as_ref().filter(|other| other.core.is_some()) else { continue };
            if former.stopped.is_none() {
                let in_time = former.notices_by.is_some_and(|by| self.now <= by);
                self.tally.holds("R-46", in_time, || format!("device {index} has two processes that sync"))?;
            }
        }
        Ok(())
    }

    /// The link ends here: what was to leave on it has waited too long.
    pub(super) fn withhold(&mut self, index: usize, link: LinkId) -> Result<(), String> {
        self.tally.strike("frame withheld as too old");
        let process = &mut self.devices[index].process;
        let Some((_, conn)) = process.link.take_if(|(current, _)| *current == link) else { return Ok(()) };
        self.sever(conn);
        self.devices[index].link_lost();
        self.give(index, Input::Disconnected(link))
    }
}
