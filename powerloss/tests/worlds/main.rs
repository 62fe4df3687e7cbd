//! Network and disk from one seed: the worlds of the simulation, with the engine's real store under every device.
//!
//! Cores, hub, wire and clock are those of `tests/simulation`. Here each device keeps what it keeps in a real file, on
//! a disk that loses power in the middle of transactions, refuses writes and tears them; what the file must hold after
//! each end of a process is what the maps of the simulation hold.
//!
//! `SEEDS=1000 cargo test --release -p powerloss --test worlds -- --nocapture` runs longer; `SEED=7` repeats one world.
#![expect(clippy::wildcard_enum_match_arm, reason = "a world looks for one thing among many")]

mod file;
#[path = "../../../tests/simulation/world/mod.rs"]
#[expect(dead_code, reason = "here only worlds of one kind are made")]
mod world;

use file::{Figures, File};
use std::time::Duration;
use world::{Flavour, World};

/// Seeds of the normal run, for each of the two kinds of server.
const SEEDS: u64 = 10;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

fn run(flavour: Flavour) {
    let seeds = match number("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("SEEDS").unwrap_or(SEEDS),
    };
    let (mut worlds, mut steps, mut time, mut all) = (0, 0, Duration::ZERO, Figures::default());
    for seed in seeds {
        let mut world = World::<File>::new(seed, flavour, number("SEED").is_some());
        // Disks are what this is about.
        world.faults.torn_commit = world.faults.torn_commit.max(10);
        world.faults.commit = world.faults.commit.max(10);
        world.faults.kill = world.faults.kill.max(5);
        let ended = world.run();
        worlds += 1;
        steps += world.steps;
        time += world.now;
        all.add(&world.figures());
        if let Err(what) = ended {
            panic!("seed {seed}, {flavour:?}, {:?}: at {:?}: {what}", world.faults, world.now);
        }
    }
    let hours = time.as_secs_f64() / 3_600.0;
    println!("{flavour:?}: {worlds} worlds, {steps} steps, {hours:.1} simulated hours, {all}");
}

/// D-1, D-2, D-3, D-4, D-5, M-1, M-4, O-1, L-8, under power loss with our own server.
#[test]
fn no_power_cut_in_a_world_with_our_server_loses_or_doubles_anything() {
    run(Flavour::Ours);
}

/// D-1, D-2, D-3, D-4, D-5, M-1, M-4, O-1, L-8, under power loss with any other server.
#[test]
fn no_power_cut_in_a_world_with_a_foreign_server_loses_or_doubles_anything() {
    run(Flavour::Foreign);
}
