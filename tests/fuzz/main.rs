//! The targets of `fuzz/` in small: what was found before, the seeds, and some thousand seeded mutations of both.
//!
//! `FUZZ=100 cargo test --test fuzz` makes a hundred times as many mutations, `SEED=…` makes others. The long run
//! is that of libFuzzer: see `fuzz/README.md`.
#![expect(unreachable_pub, reason = "in fuzz/ the same functions are public")]

mod mutation;
mod targets;

use fastrand::Rng;
use mutation::mutate;
use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use targets::{TARGETS, Target};

fn number(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |text| text.parse().expect("a number"))
}

/// Returns what once made a target fail: `tests/fuzz/found/<target>/`, a file each.
fn found(root: &Path, target: &str) -> Vec<Vec<u8>> {
    let folder = root.join("tests/fuzz/found").join(target);
    let Ok(files) = fs::read_dir(folder) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.expect("a readable folder").path()).collect();
    paths.sort();
    paths.into_iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

/// Runs a target; on a failure says with what, before the failure goes its way.
fn run(target: &Target, input: &[u8]) {
    let outcome = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    if let Err(panic) = outcome {
        let file = std::env::temp_dir().join(format!("{}-{:08x}", target.name, crc32fast::hash(input)));
        let kept = fs::write(&file, input).map(|()| file);
        eprintln!("{} fails; the input is in {kept:?}:\n{}", target.name, input.escape_ascii());
        std::panic::resume_unwind(panic);
    }
}

fn replay(name: &str, mutations: u64) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut corpus = found(root, name);
    corpus.extend((target.seeds)(root));
    corpus.iter().for_each(|input| run(target, input));
    let mut dice = Rng::with_seed(number("SEED", 1));
    let mutations = mutations * number("FUZZ", 1);
    for _ in 0..mutations {
        run(target, &mutate(&corpus, &mut dice));
    }
    println!("{name}: {} inputs and {mutations} mutations of them", corpus.len());
}

/// S-5.
#[test]
fn any_frame_of_a_client_is_understood_or_refused() {
    replay("client_frame", 100_000);
}

/// S-5, S-6.
#[test]
fn whatever_a_server_says_the_file_holds_what_it_claims() {
    replay("server_frame", 300);
}

/// S-6.
#[test]
fn any_intent_in_a_row_is_understood_or_is_damage() {
    replay("stored_intent", 3_000);
}

/// S-6.
#[test]
fn any_value_in_any_row_is_an_answer_or_damage() {
    replay("stored_rows", 200);
}

/// S-6.
#[test]
fn any_file_is_an_answer_or_damage() {
    replay("store_file", 200);
}
