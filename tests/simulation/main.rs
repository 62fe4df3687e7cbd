//! Seeded worlds: real cores and a real hub between invented networks, clocks and disks.
//!
//! `SEED=123 cargo test --test simulation -- --nocapture` replays one seed with a trace, against each kind of server;
//! `SEEDS=1000000 cargo test --release --test simulation -- --nocapture` runs more than usual; a failure names the
//! seed and the faults of its world. At the end stands what was checked, how often, and in how many worlds; the run
//! fails as well when an invariant, a fault or an arrow of a state diagram was never met.
#![expect(clippy::wildcard_enum_match_arm, reason = "a world looks for one thing among many")]

mod queue;
mod report;
mod storm;
mod world;

use report::Total;
use std::num::NonZero;
use std::sync::atomic::{AtomicU64, Ordering};
use world::medium::Imagined;
use world::{Flavour, World};

/// Seeds of the normal run, for each of the two kinds of server.
const SEEDS: u64 = 2_500;
/// One lying server for so many honest ones of a kind.
const HONEST_TO_HOSTILE: u64 = 5;
/// Failures that are told before a run gives up.
const FAILURES_TOLD: usize = 5;

/// Seeds that once failed, with what they found. What a seed means changes with the faults there are: these are kept
/// because they are cheap, and the faults that they found are planted again by `tests/mutants`.
const CORPUS: &[(Flavour, u64, &str)] = &[
    (Flavour::Ours, 1_009, "a refusal that came after the entry was settled queued it again"),
    (Flavour::Foreign, 1_482, "a kill between an event and the entry it settles sent the message twice"),
    (Flavour::Ours, 383, "an edit went into a message that may have arrived, and was lost"),
    (Flavour::Foreign, 742, "a message written before the conversation was removed counted as failed unread"),
    (Flavour::Foreign, 270, "whoever had left looked for ever for what the server would not show"),
    (Flavour::Foreign, 621, "a cancellation that was stored and not yet told"),
    (Flavour::Foreign, 1_782, "a read mark set before the server had told who reads was not shown"),
    (Flavour::Ours, 2_802, "an edit that had waited for its message undid a later one"),
];

/// Runs one world to its end; a fault names everything that is needed to see it again.
fn run(seed: u64, flavour: Flavour, total: &mut Total) -> Result<(), String> {
    let trace = number("SEED").is_some();
    let mut world = World::<Imagined>::new(seed, flavour, trace);
    let faults = world.faults;
    let ended = world.run();
    total.add(&world);
    ended.map_err(|what| format!("seed {seed}, {flavour:?}, {faults:?}: at {:?}: {what}", world.now))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

/// Runs these seeds on every processor; the first few that fail are told.
fn run_all(flavour: Flavour, seeds: u64) -> (Total, Vec<String>) {
    let (from, to) = number("SEED").map_or((0, seeds), |seed| (seed, seed + 1));
    let next = AtomicU64::new(from);
    let one_after_the_other = || {
        let (mut total, mut failed) = (Total::default(), Vec::new());
        while failed.len() < FAILURES_TOLD {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= to {
                break;
            }
            failed.extend(run(seed, flavour, &mut total).err());
        }
        (total, failed)
    };
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    std::thread::scope(|scope| {
        let runs: Vec<_> = (0..threads).map(|_| scope.spawn(one_after_the_other)).collect();
        let mut all = (Total::default(), Vec::new());
        for run in runs {
            let (total, failed) = run.join().expect("a world that does not panic");
            all.0.merge(&total);
            all.1.extend(failed);
        }
        all
    })
}

/// every invariant of the table in `report.rs`, under every fault of it.
#[test]
fn no_world_loses_doubles_or_leaves_a_hole() {
    let seeds = number("SEEDS").unwrap_or(SEEDS);
    let mut all = Total::default();
    for (flavour, seeds) in
        [(Flavour::Ours, seeds), (Flavour::Foreign, seeds), (Flavour::Hostile, seeds.div_ceil(HONEST_TO_HOSTILE))]
    {
        let (total, failed) = run_all(flavour, seeds);
        assert!(failed.is_empty(), "{}", failed.join("\n"));
        println!("{flavour:?}: {}", total.summary());
        all.merge(&total);
    }
    println!("{}", all.table());
    // A single seed, or a handful, does not meet everything there is.
    if seeds >= SEEDS && number("SEED").is_none() {
        assert_eq!(all.never_met(), Vec::<String>::new(), "never met in {seeds} seeds");
    }
}

/// Some worlds of this kind must be seen to double, or the simulation is blind.
fn some_double(flavour: Flavour) {
    let mut total = Total::default();
    let is_double = |what: &String| what.contains("O-1") || what.contains("O-2");
    let doubled = (0..300).filter_map(|seed| run(seed, flavour, &mut total).err()).find(is_double);
    assert!(doubled.is_some(), "{flavour:?} was not seen to double in {}", total.summary());
}

#[test]
fn a_client_that_sends_again_blindly_is_seen_to_double() {
    some_double(Flavour::Blind);
}

#[test]
fn a_client_that_looks_without_a_quarantine_is_seen_to_double() {
    some_double(Flavour::Hasty);
}

#[test]
fn seeds_that_once_failed_pass() {
    let mut total = Total::default();
    for (flavour, seed, found) in CORPUS {
        if let Err(what) = run(*seed, *flavour, &mut total) {
            panic!("{what} (once: {found})");
        }
    }
}
