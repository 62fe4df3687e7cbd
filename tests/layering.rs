//! The walls inside the packages, held by reading the sources: no arrow of the graph turns back up.

use std::fs;
use std::path::{Path, PathBuf};

/// A folder or file, and what its sources must not name.
const WALLS: &[(&str, &[&str])] = &[
    (
        "src/model",
        &["crate::protocol", "crate::sync", "crate::store", "crate::live", "crate::engine", "rusqlite", "tokio"],
    ),
    ("src/protocol", &["crate::sync", "crate::store", "crate::live", "crate::engine", "rusqlite", "tokio"]),
    (
        "src/sync",
        &["crate::store", "crate::live", "crate::engine", "rusqlite", "tokio", "std::thread", "std::fs", "std::net"],
    ),
    ("src/store", &["crate::live", "crate::engine", "crate::protocol", "tokio_tungstenite"]),
    ("server/src/hub", &["crate::storage::sqlite", "rusqlite", "tokio", "std::thread", "std::fs", "std::net"]),
    ("server/src", &["backscroll::sync", "backscroll::store", "backscroll::engine", "backscroll::Messenger"]),
    ("cli/src", &["rusqlite", "tokio_tungstenite"]),
];

/// The half that must give the same outputs for the same inputs, in every run.
const PURE: &[&str] = &["src/model", "src/protocol", "src/sync", "server/src/hub"];

/// What reads a clock, makes a random number, or has an order of its own.
const IMPURE: &[&str] = &["Instant::now", "SystemTime", "new_v4", "HashMap", "HashSet", "thread_rng", "Rng::new("];

fn sources(place: &str) -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(place);
    let mut found = Vec::new();
    let mut waiting = vec![root];
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting
                .extend(fs::read_dir(&path).expect("a folder of sources").map(|entry| entry.expect("an entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found
}

/// Returns each place where a line of code, comments left out, contains one of the names.
fn mentions(place: &str, names: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for path in sources(place) {
        let text = fs::read_to_string(&path).expect("a source is UTF-8");
        for (line, number) in text.lines().zip(1..) {
            let code = line.split("//").next().unwrap_or_default();
            for name in names.iter().filter(|name| code.contains(**name)) {
                found.push(format!("{}:{number} names {name}", path.display()));
            }
        }
    }
    found
}

#[test]
fn no_arrow_turns_back_up() {
    let found: Vec<String> = WALLS.iter().flat_map(|(place, names)| mentions(place, names)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn the_pure_half_reads_no_clock_and_rolls_no_dice() {
    let found: Vec<String> = PURE.iter().flat_map(|place| mentions(place, IMPURE)).collect();
    assert!(found.is_empty(), "{found:#?}");
}

#[test]
fn store_knows_of_sync_only_its_values() {
    let allowed = ["HeadsCursor", "HoleReason", "SavedConversation", "SavedState", "Write"];
    for path in sources("src/store") {
        let text = fs::read_to_string(&path).expect("a source is UTF-8");
        for used in text.split("crate::sync::").skip(1) {
            let list = used.strip_prefix('{').and_then(|rest| rest.split('}').next());
            let names = list.unwrap_or_else(|| used.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default());
            for name in names.split(',').map(str::trim).filter(|name| !name.is_empty()) {
                assert!(allowed.contains(&name), "{} uses sync::{name}", path.display());
            }
        }
    }
}

#[test]
fn the_walls_have_sources_behind_them() {
    for (place, _) in WALLS {
        assert!(!sources(place).is_empty(), "{place} holds no source: the wall guards nothing");
    }
}
