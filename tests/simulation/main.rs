//! Seeded worlds: real cores and a real hub between invented networks, clocks and disks.
//!
//! `SEED=123 cargo test --test simulation -- --nocapture` replays one seed with a trace, against both kinds of
//! server; `SEEDS=100000` runs more than usual; a failure names the seed and the faults of its world.
#![expect(clippy::wildcard_enum_match_arm, reason = "a world looks for one thing among many")]

mod world;

use std::ops::Range;
use std::time::Duration;
use world::faults::Struck;
use world::{Flavour, World};

/// Seeds of the normal run, for each of the two kinds of server.
const SEEDS: u64 = 600;

/// Seeds that once failed, with what they found.
const CORPUS: &[(Flavour, u64, &str)] = &[
    (Flavour::Ours, 1_009, "a refusal that came after the entry was settled queued it again"),
    (Flavour::Foreign, 1_482, "a kill between an event and the entry it settles sent the message twice"),
    (Flavour::Foreign, 621, "a cancellation that was stored and not yet told"),
];

#[derive(Default)]
struct Total {
    worlds: u64,
    steps: u64,
    time: Duration,
    struck: Struck,
}

/// Runs one world to its end; a fault names everything that is needed to see it again.
fn run(seed: u64, flavour: Flavour, total: &mut Total) -> Result<(), String> {
    let trace = std::env::var_os("SEED").is_some();
    let mut world = World::new(seed, flavour, trace);
    let faults = world.faults;
    let ended = world.run();
    total.worlds += 1;
    total.steps += world.steps;
    total.time += world.now;
    total.struck.add(&world.struck);
    ended.map_err(|what| format!("seed {seed}, {flavour:?}, {faults:?}: at {:?}: {what}", world.now))
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn seeds() -> Range<u64> {
    match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    }
}

/// No world of this kind may fail. The first few that do are told.
fn none_fails(flavour: Flavour) {
    let mut total = Total::default();
    let failed: Vec<String> = seeds().filter_map(|seed| run(seed, flavour, &mut total).err()).take(5).collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    println!(
        "{flavour:?}: {} worlds, {} steps, {:.0} simulated hours, {:?}",
        total.worlds,
        total.steps,
        total.time.as_secs_f64() / 3_600.0,
        total.struck
    );
}

/// Some worlds of this kind must be seen to double, or the simulation is blind.
fn some_double(flavour: Flavour) {
    let mut total = Total::default();
    let doubled = (0..150).filter_map(|seed| run(seed, flavour, &mut total).err()).find(|what| what.contains("O-1"));
    assert!(doubled.is_some(), "{flavour:?} was not seen to double in {} worlds", total.worlds);
}

#[test]
fn no_world_with_our_server_loses_doubles_or_leaves_a_hole() {
    none_fails(Flavour::Ours);
}

#[test]
fn no_world_with_a_foreign_server_loses_doubles_or_leaves_a_hole() {
    none_fails(Flavour::Foreign);
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
