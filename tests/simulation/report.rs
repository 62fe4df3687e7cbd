//! What a run has met, and what it must have met to count.

use crate::world::World;
use crate::world::tally::{Arrow, Counts, Tally};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

/// The invariants that worlds check, by their names in the design.
const INVARIANTS: &[(&str, &str)] = &[
    ("L-1", "a position is stored once, and keeps what it first held"),
    ("L-2", "what is covered is held, or a recorded hole"),
    ("L-3", "the end of the unbroken coverage never goes back"),
    ("L-4", "coverage is sorted, disjoint, not adjacent, and what the events say"),
    ("L-5", "a request asks for 1 to 100 events"),
    ("L-6", "a position is asked for again only after an interruption"),
    ("L-7", "an undisturbed device catches up with as many requests as pages"),
    ("L-8", "once faults stop, every device comes to hold what the server holds"),
    ("L-9", "a pushed event is held at once, whatever else is missing"),
    ("L-10", "leaving, removal and return end as a recorded state"),
    ("L-12", "events are told once a process, and rise within a transaction"),
    ("O-1", "an accepted message is in the log once, or reported as failed"),
    ("O-2", "no message is held twice, nor beside its own entry"),
    ("O-4", "messages reach the log in the order of their acceptance"),
    ("O-5", "edits and removals name ids that the server gave"),
    ("O-6", "read marks that leave never fall"),
    ("O-8", "limits hold everything up; attempts are bounded by what went wrong; nothing spins"),
    ("O-9", "a message that is always refused holds nothing else up"),
    ("O-10", "what was taken back is not sent"),
    ("M-1", "messages are the fold of the server's log"),
    ("M-5", "a read mark on its way is not shown lower than it was set"),
    ("M-7", "participants and rights are the server's"),
    ("C-1", "tokens leave only as they stand on disk"),
    ("C-2", "one refresh at a time"),
    ("C-3", "nobody dials without a session; another user is refused"),
    ("C-4", "a silent peer is given up within 20 s; questions are answered in time"),
    ("C-5", "one link at a time, and nothing of an older one counts"),
    ("C-7", "jumps of the server's clock change nothing"),
    ("D-3", "accepted is stored"),
    ("D-5", "what is shown is what is stored"),
    ("D-8", "what another process wishes for is taken over once, and an accepted wish becomes an entry"),
    ("R-46", "whoever lost the lease changes nothing more and soon follows; what leaves was allowed before"),
    ("R-59", "what no policy wants is asked for only while somebody waits for it, and what was waited for is held"),
];

/// The faults, as they are called where they strike.
const FAULTS: &[&str] = &[
    "cut",
    "cut in an answer",
    "silent peer",
    "peer that never greets",
    "refused dial",
    "no network for minutes",
    "lost frame",
    "late frame of a dead link",
    "frame of a dead link heard",
    "delay of more than a second",
    "duplicate",
    "torn frame",
    "frame left out of an answer",
    "kill",
    "kill behind a frame",
    "failed commit",
    "death in a commit",
    "server restart",
    "clock jump",
    "limit a second",
    "limit a minute",
    "outage",
    "login outage",
    "poison",
    "expired access token",
    "expired refresh token",
    "stopped process",
    "take-over of a running holder",
    "take-over of a stopped holder",
    "take-over between a transaction and its frames",
    "take-over and back",
    "succession to a dead holder",
    "transaction of a former holder refused",
    "frame of a former holder",
    "frame withheld as too old",
    "frame of a stopped process held back",
    "tokens of a former holder withheld",
    "lie",
    "contradiction",
];

/// The arrows of the state diagrams, as they are drawn above their enums and seen from outside; a world takes some more
/// among lies.
const ARROWS: &[Arrow] = &[
    ("OutboxState", "Queued", "Sending"),
    ("OutboxState", "Sending", "Settled"),
    ("OutboxState", "Sending", "Queued"),
    ("OutboxState", "Sending", "Failed"),
    ("OutboxState", "Sending", "Uncertain"),
    ("OutboxState", "Uncertain", "Queued"),
    ("OutboxState", "Uncertain", "Settled"),
    ("Look", "Quarantine", "AskHead"),
    ("Look", "AskHead", "Asked"),
    ("Look", "Asked", "CatchUp"),
    ("Look", "Asked", "AskHead"),
    ("Look", "CatchUp", "settled"),
    ("Look", "CatchUp", "queued again"),
    ("LinkState", "SignedOut", "Connecting"),
    ("LinkState", "Connecting", "Offline"),
    ("LinkState", "Connecting", "SignedOut"),
    ("LinkState", "Connecting", "CatchingUp"),
    ("LinkState", "Offline", "Connecting"),
    ("LinkState", "Offline", "SignedOut"),
    ("LinkState", "CatchingUp", "Live"),
    ("LinkState", "CatchingUp", "Offline"),
    ("LinkState", "Live", "CatchingUp"),
    ("LinkState", "Live", "Offline"),
    ("LinkState", "Live", "SignedOut"),
    ("Phase", "Idle", "Dialing"),
    ("Phase", "Down", "Dialing"),
    ("Phase", "Down", "Idle"),
    ("Phase", "Dialing", "Greeting"),
    ("Phase", "Dialing", "Down"),
    ("Phase", "Greeting", "LoggingIn by password"),
    ("Phase", "Greeting", "LoggingIn by token"),
    ("Phase", "Greeting", "Down"),
    ("Phase", "LoggingIn by token", "LoggingIn, refreshing"),
    ("Phase", "LoggingIn, refreshing", "LoggingIn by token"),
    ("Phase", "LoggingIn, refreshing", "LoggingIn by password"),
    ("Phase", "LoggingIn by password", "Ready"),
    ("Phase", "LoggingIn by token", "Ready"),
    ("Phase", "LoggingIn by password", "Down"),
    ("Phase", "LoggingIn by token", "Down"),
    ("Phase", "LoggingIn, refreshing", "Down"),
    ("Phase", "LoggingIn, refreshing", "Idle"),
    ("Phase", "Ready", "Down"),
    ("Phase", "Ready", "Idle"),
    ("LinkState", "CatchingUp", "Connecting"),
    ("LinkState", "CatchingUp", "SignedOut"),
    ("LinkState", "Live", "Connecting"),
    ("Look", "CatchUp", "AskHead"),
    ("OutboxState", "Queued", "Settled"),
    ("OutboxState", "Failed", "Queued"),
    ("Phase", "Dialing", "Idle"),
    ("Phase", "Greeting", "Idle"),
    ("Phase", "LoggingIn by password", "Idle"),
    ("Wish", "waiting", "accepted"),
    ("Wish", "waiting", "done"),
    ("Wish", "waiting", "refused"),
    ("Process", "follows", "holds"),
    ("Process", "follows", "succeeds"),
    ("Process", "holds", "outdated"),
    ("Process", "outdated", "follows"),
    ("Tokens", "file", "keeper"),
    ("History", "that of all", "everything"),
    ("History", "that of all", "newest"),
    ("History", "that of all", "on demand"),
    ("History", "everything", "that of all"),
    ("History", "everything", "newest"),
    ("History", "everything", "on demand"),
    ("History", "newest", "that of all"),
    ("History", "newest", "everything"),
    ("History", "newest", "on demand"),
    ("History", "on demand", "that of all"),
    ("History", "on demand", "everything"),
    ("History", "on demand", "newest"),
    ("History", "not wanted", "fetched"),
    ("History", "not wanted", "searched"),
    ("Fetch", "asked", "held"),
    ("Fetch", "asked", "refused"),
    ("Fetch", "asked", "offline"),
    ("Membership", "Left", "Removed"),
    ("Membership", "Removed", "Member"),
    ("Membership", "Member", "Left"),
    ("Membership", "Left", "Member"),
    ("Membership", "Member", "Removed"),
];

/// What a number of worlds have met.
#[derive(Default)]
pub(crate) struct Total {
    worlds: u64,
    steps: u64,
    time: Duration,
    tally: Tally,
    /// In how many worlds each invariant was checked.
    seeds: Counts,
}

impl Total {
    pub(crate) fn add<M>(&mut self, world: &World<M>) {
        self.worlds += 1;
        self.steps += world.steps;
        self.time += world.now;
        world.tally.checks.names().for_each(|name| self.seeds.count(name));
        self.tally.add(&world.tally);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        self.worlds += other.worlds;
        self.steps += other.steps;
        self.time += other.time;
        self.seeds.add(&other.seeds);
        self.tally.add(&other.tally);
    }

    pub(crate) fn summary(&self) -> String {
        let hours = self.time.as_secs_f64() / 3_600.0;
        format!("{} worlds, {} steps, {hours:.0} simulated hours", self.worlds, self.steps)
    }

    /// What was checked, what struck, and which way the states went.
    pub(crate) fn table(&self) -> String {
        let mut text = String::from("\ninvariant      checks   worlds\n");
        for (name, what) in INVARIANTS {
            let (checks, worlds) = (self.tally.checks.of(name), self.seeds.of(name));
            writeln!(text, "{name:<9} {checks:>11} {worlds:>8}  {what}").expect("memory");
        }
        text.push_str("\nfault                            struck\n");
        for name in FAULTS {
            writeln!(text, "{name:<29} {:>9}", self.tally.faults.of(name)).expect("memory");
        }
        text.push_str("\narrow                                                              taken\n");
        for ((drawing, from, to), taken) in &self.tally.arrows {
            let arrow = format!("{from} → {to}");
            let drawn = if ARROWS.contains(&(drawing, from, to)) { "" } else { "  (not listed)" };
            writeln!(text, "{drawing:<12} {arrow:<48} {taken:>10}{drawn}").expect("memory");
        }
        text
    }

    /// What a run of the normal length must have met and did not.
    pub(crate) fn never_met(&self) -> Vec<String> {
        let arrows: &BTreeMap<Arrow, u64> = &self.tally.arrows;
        let invariants = INVARIANTS.iter().map(|(name, _)| *name).filter(|name| self.tally.checks.of(name) == 0);
        let faults = FAULTS.iter().copied().filter(|name| self.tally.faults.of(name) == 0);
        let untaken = ARROWS.iter().filter(|arrow| !arrows.contains_key(*arrow));
        invariants
            .chain(faults)
            .map(str::to_owned)
            .chain(untaken.map(|(drawing, from, to)| format!("{drawing}: {from} → {to}")))
            .collect()
    }
}
