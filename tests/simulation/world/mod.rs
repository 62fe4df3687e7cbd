//! One world: real cores, a real hub, and between them a wire, a clock and disks that are made up.
//!
//! Everything happens in one thread in the order of an invented clock, and every choice comes from one seed: the
//! same seed is the same week of bad luck, in every run.

mod checks;
mod device;
mod diagrams;
pub(crate) mod disk;
pub(crate) mod faults;
mod foreign;
mod keeper;
mod lies;
pub(crate) mod medium;
mod network;
mod outsiders;
mod policies;
mod process;
mod server;
pub(crate) mod tally;
mod users;
mod wishes;

use backscroll::model::{ClientToken, ConversationId, OutboxEntry, Uptime, UserId, UserName};
use backscroll::protocol::{ClientFrame, ServerFrame};
use backscroll::sync::{Input, LinkId};
use backscroll_server::Hub;
use backscroll_server::storage::Memory;
use device::Device;
use fastrand::Rng;
use faults::Faults;
use medium::Medium;
use network::Conn;
use server::Accounts;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tally::Tally;
use uuid::Uuid;

/// The clock of the server at the beginning.
const EPOCH: i64 = 1_800_000_000;
/// Deadlines in a row that move neither the clock nor anything else, before a core counts as spinning.
const SPINS_MAX: u32 = 200;
/// Steps that a world with a lying server goes on for after the last action: it need not come to rest.
const STEPS_AMONG_LIES: u64 = 300;

/// What cannot hold when the server says that an event is somebody else's, or elsewhere, or not there.
const NOT_AMONG_LIES: &[&str] = &["O-2", "O-5", "O-6", "L-9", "M-5"];

/// What kind of server there is, and how careful the clients are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flavour {
    /// Ours: does nothing twice and says so.
    Ours,
    /// Somebody else's: does what it is asked as often as it is asked.
    Foreign,
    /// Either of them, and it lies: wrong numbers, events of elsewhere, changed content.
    Hostile,
    /// A foreign one, and the clients believe that it does nothing twice: they must be seen to double.
    Blind,
    /// A foreign one, and the clients look without waiting for late frames: they must be seen to double.
    Hasty,
}

enum Packet {
    ToServer(u64, ClientFrame),
    Connected(u64),
    ToClient(u64, ServerFrame),
    Noise(u64),
    Closed(u64),
    /// A refused dial of one of the processes of a device.
    Refused(usize, usize, LinkId),
    /// A process that had died is started.
    Start(usize, usize),
    /// A process finds the lock of one that died free.
    Succeeds(usize, usize),
    /// The other process takes the lease.
    TakesOver(usize),
    /// A process sees that the lease is another's.
    Notices(usize, usize),
    /// A stopped process goes on.
    Wakes(usize, usize),
    /// Somebody at the device types the password again.
    LogIn(usize),
    /// The process that syncs notices what others want.
    Wished(usize),
    Act,
}

/// A message that was accepted, in the order in which its device accepted them.
pub(crate) struct Accepted {
    device: usize,
    conversation: ConversationId,
    token: ClientToken,
    /// Whether it leaves in the order of acceptance: not when it was tried again by hand.
    in_order: bool,
}

pub(crate) struct World<M> {
    flavour: Flavour,
    /// Whether the server announces that it does nothing twice, and does nothing twice.
    idempotent: bool,
    pub(crate) faults: Faults,
    pub(crate) tally: Tally,
    pub(crate) steps: u64,
    pub(crate) now: Duration,
    rng: Rng,
    /// Chooses what befalls devices with two processes, so that worlds without any stay what they were.
    fate: Rng,
    hub: Hub<Memory>,
    accounts: Accounts,
    /// How far the server's time of day is from the truth, in seconds.
    clock_error: i64,
    users: Vec<(UserId, UserName)>,
    pub(crate) devices: Vec<Device<M>>,
    /// Whether devices choose how much history they fetch.
    policies: bool,
    conns: BTreeMap<u64, Conn>,
    packets: BTreeMap<(Duration, u64), Packet>,
    serial: u64,
    accepted: Vec<Accepted>,
    cancelled: BTreeSet<ClientToken>,
    /// Edits of messages known by their token: of which, and the new text.
    edits: Vec<(ClientToken, String)>,
    /// The numbers of those that were accepted, in that order, and the entries that carry them.
    accepted_edits: Vec<(usize, ClientToken)>,
    /// Settled so long ago that no device keeps it.
    outlived: BTreeMap<ClientToken, OutboxEntry>,
    actions_left: u32,
    trace: bool,
}

impl<M: Medium> World<M> {
    pub(crate) fn new(seed: u64, flavour: Flavour, trace: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let faults = match flavour {
            Flavour::Ours => Faults::of(&mut rng, false),
            Flavour::Foreign => Faults::of(&mut rng, true),
            Flavour::Hostile => Faults { lie: rng.u32(10..300), ..Faults::of(&mut rng, true) },
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
        let owners: Vec<UserId> = users.iter().flat_map(|(user, _)| vec![*user; rng.usize(1..=2)]).collect();
        let mut world = Self {
            flavour,
            idempotent: flavour == Flavour::Ours || (flavour == Flavour::Hostile && rng.bool()),
            faults,
            tally: Tally { waived: if flavour == Flavour::Hostile { NOT_AMONG_LIES } else { &[] }, ..Tally::default() },
            steps: 0,
            now: Duration::ZERO,
            actions_left: rng.u32(20..60),
            hub,
            accounts: Accounts::default(),
            clock_error: 0,
            users,
            devices: Vec::new(),
            policies: rng.bool(),
            conns: BTreeMap::new(),
            packets: BTreeMap::new(),
            serial: 0,
            accepted: Vec::new(),
            cancelled: BTreeSet::new(),
            edits: Vec::new(),
            accepted_edits: Vec::new(),
            outlived: BTreeMap::new(),
            fate: Rng::with_seed(!seed),
            rng,
            trace,
        };
        for owner in owners {
            world.add_device(owner);
        }
        if world.rng.u32(0..8) == 0 {
            world.make_history();
        }
        world.post(Duration::from_secs(2), Packet::Act);
        world
    }

    /// Lets everything happen that is going to, then lets it come to rest, and checks what is left.
    pub(crate) fn run(&mut self) -> Result<(), String> {
        while self.actions_left > 0 {
            self.step()?;
        }
        if self.flavour == Flavour::Hostile {
            return (0..STEPS_AMONG_LIES).try_for_each(|_| self.step());
        }
        self.faults = self.faults.quiet();
        self.come_to_rest()?;
        self.check_the_end()?;
        self.check_a_fresh_device()
    }

    /// Goes on until nothing moves any more: without faults that takes a bounded time.
    fn come_to_rest(&mut self) -> Result<(), String> {
        let end = self.now + Duration::from_secs(2 * 3_600);
        let mut calm_since = None;
        loop {
            self.step()?;
            let calm = self.devices.iter().all(Device::is_calm);
            let since = *calm_since.get_or_insert(self.now);
            if !calm {
                calm_since = None;
            } else if self.now > since + Duration::from_secs(30) {
                return self.tally.holds("L-8", true, String::new);
            }
            if self.now > end {
                let stuck: Vec<_> = self
                    .devices
                    .iter()
                    .map(|d| {
                        (d.user, d.process.state.clone(), d.disk.unfinished().collect::<Vec<_>>(), &d.process.waiting)
                    })
                    .collect();
                let stuck = || format!("not at rest after two quiet hours: {stuck:?}");
                return self.tally.holds("L-8", false, stuck);
            }
        }
    }

    fn chance(&mut self, in_a_thousand: u32) -> bool {
        in_a_thousand > 0 && self.rng.u32(0..1_000) < in_a_thousand
    }

    /// Lets a fault strike, or not.
    fn strikes(&mut self, fault: &'static str, in_a_thousand: u32) -> bool {
        let strikes = self.chance(in_a_thousand);
        if strikes {
            self.tally.strike(fault);
        }
        strikes
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
        Uptime::from_duration(self.now - self.devices[device].process.started)
    }

    /// Asks a core when it is next due: after everything that may have changed the answer.
    fn ask_deadline(&mut self, device: usize) {
        let device = &mut self.devices[device];
        let deadline = device.process.core.as_ref().and_then(backscroll::sync::Core::deadline);
        device.process.due = deadline.map(|at| device.process.started + at.as_duration());
    }

    /// The next thing happens: a packet arrives, or a deadline passes.
    fn step(&mut self) -> Result<(), String> {
        self.steps += 1;
        let processes = self.devices.iter().enumerate().flat_map(|(index, device)| {
            [Some(&device.process), device.other.as_ref()].into_iter().flatten().map(move |process| (index, process))
        });
        let due =
            processes.filter_map(|(index, process)| Some((process.wakes_for_deadline()?, index, process.number))).min();
        let packet = self.packets.first_key_value().map(|(key, _)| *key);
        match (due, packet) {
            (Some((at, device, process)), key) if key.is_none_or(|(arrives, _)| at < arrives) => {
                self.as_process(device, process, |world| world.deadline_passed(at, device))?;
            }
            (_, Some(key)) => {
                self.now = self.now.max(key.0);
                let packet = self.packets.remove(&key).expect("just seen");
                self.arrive(packet)?;
            }
            (_, None) => return Err("nothing will ever happen again".to_owned()),
        }
        self.check_noticed()?;
        self.check_patience()
    }

    fn deadline_passed(&mut self, at: Duration, device: usize) -> Result<(), String> {
        let process = &mut self.devices[device].process;
        process.spins = if at > self.now { 0 } else { process.spins + 1 };
        let spins = process.spins > SPINS_MAX;
        let spinning = || "a core asks for the same deadline over and over".to_owned();
        self.tally.holds("O-8", !spins, spinning)?;
        self.now = self.now.max(at);
        self.give(device, Input::DeadlinePassed)
    }
}
