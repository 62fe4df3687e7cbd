//! Small worlds, explored over every interleaving: the real core, the real hub, and everything that may go wrong once.
//!
//! `LARGE=1 cargo test --release --test exhaustive` allows more to go wrong; `DEPTH=20` stops after so many steps, where
//! the search otherwise goes on to the end.
#![expect(clippy::wildcard_enum_match_arm, reason = "a world looks for one thing among many")]

#[path = "../simulation/world/disk.rs"]
#[expect(dead_code, reason = "a simulated disk answers more questions than are asked here")]
mod disk;
mod fingerprint;
#[path = "../simulation/world/foreign.rs"]
mod foreign;
#[path = "../simulation/world/tally.rs"]
#[expect(dead_code, reason = "only what holds is of interest here, not how often")]
mod tally;
mod world;

use std::collections::HashMap;
use world::{Budget, Flavour, Step, World};

/// What the search has seen.
#[derive(Default)]
struct Search {
    /// The least number of steps in which each state was reached.
    seen: HashMap<u64, usize>,
    transitions: u64,
    at_rest: u64,
    deepest: usize,
    depth_max: usize,
    cut_off: u64,
    path: Vec<Step>,
}

impl Search {
    /// Explores everything that may follow.
    fn explore(&mut self, world: &World) -> Result<(), String> {
        let depth = self.path.len();
        self.deepest = self.deepest.max(depth);
        if depth == self.depth_max {
            self.cut_off += 1;
            return Ok(());
        }
        let steps = world.steps();
        if !steps.iter().any(|step| step.is_certain()) {
            self.at_rest += 1;
            world.check_rest()?;
        }
        for step in steps {
            let outputs = self.follow(world, step)?;
            for killed in world.kills(step, outputs) {
                self.follow(world, killed)?;
            }
        }
        Ok(())
    }

    /// Takes one step and explores what may follow, if that was not done before. Returns the outputs of the step.
    fn follow(&mut self, world: &World, step: Step) -> Result<usize, String> {
        let mut next = world.clone();
        self.transitions += 1;
        self.path.push(step);
        let outputs = next.take(step)?;
        next.check()?;
        let depth = self.path.len();
        let known = self.seen.entry(fingerprint::of(&next)).or_insert(usize::MAX);
        if *known > depth {
            let is_new = *known == usize::MAX;
            *known = depth;
            // Reached again in fewer steps, a state matters only where steps are counted.
            if is_new || self.depth_max < usize::MAX {
                self.explore(&next)?;
            }
        }
        self.path.pop();
        Ok(outputs)
    }
}

/// Explores one world to its end, or to the depth that was asked for, and says how far that was.
fn search(flavour: Flavour, left: Budget) -> Result<(), String> {
    let depth_max = std::env::var("DEPTH").map_or(usize::MAX, |text| text.parse().expect("a number"));
    let mut search = Search { depth_max, ..Search::default() };
    let world = World::new(flavour, left).expect("a world that begins");
    let ended = search.explore(&world).map_err(|what| format!("{flavour:?}: {what}, after {:?}", search.path));
    let Search { seen, transitions, at_rest, deepest, cut_off, .. } = search;
    println!(
        "{flavour:?}, {left:?}: {} states, {transitions} transitions, {at_rest} at rest, {deepest} steps deep, \
         {cut_off} cut off",
        seen.len()
    );
    ended
}

/// Whether more may go wrong: a long run, for a release build.
fn is_large() -> bool {
    std::env::var_os("LARGE").is_some()
}

/// Two messages and an edit, one cut, one kill, one late frame.
fn writing() -> Budget {
    let more = u8::from(is_large());
    Budget { acts: 3, cuts: 1, crashes: 1, late_frames: 1, timeouts: more, friends_messages: more }
}

/// Bob writes while Alice writes, with one cut and one kill.
fn reading() -> Budget {
    let more = u8::from(is_large());
    Budget { acts: 1, cuts: 1 + more, crashes: 1, late_frames: 0, timeouts: 0, friends_messages: 1 + more }
}

/// L-1, L-2, L-4, L-8, O-1, O-4, D-3, C-5, M-1 in every state that can be reached.
#[test]
fn every_interleaving_of_writing_to_our_server_holds() {
    search(Flavour::Ours, writing()).unwrap_or_else(|what| panic!("{what}"));
}

/// L-1, L-2, L-4, L-8, O-1, O-4, D-3, C-5, M-1 in every state that can be reached.
#[test]
fn every_interleaving_of_writing_to_a_foreign_server_holds() {
    search(Flavour::Foreign, writing()).unwrap_or_else(|what| panic!("{what}"));
}

/// L-1, L-2, L-4, L-8, L-9, M-1 in every state that can be reached.
#[test]
fn every_interleaving_of_reading_holds() {
    search(Flavour::Ours, reading()).unwrap_or_else(|what| panic!("{what}"));
    search(Flavour::Foreign, reading()).unwrap_or_else(|what| panic!("{what}"));
}

/// The search must find the double that a look without a quarantine makes possible.
#[test]
fn a_look_without_a_quarantine_is_seen_to_double() {
    let found = search(Flavour::Hasty, writing()).expect_err("a double");
    assert!(found.contains("O-1"), "{found}");
}
