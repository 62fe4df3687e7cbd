//! What is done with bytes that nobody vouches for: one function a target.
//!
//! Each takes any bytes and returns. A panic, a broken promise or an endless loop is a finding; an error of ours is
//! not. `fuzz/` feeds them from libFuzzer, the test beside this folder from seeds and what was found before.

mod frames;
mod hostile_server;
mod rows;
mod seeds;
mod small_store;
mod store_file;

pub use frames::client_frame;
pub use hostile_server::server_frame;
pub use rows::{stored_intent, stored_rows};
pub use store_file::store_file;

use std::path::Path;

/// One way in.
pub struct Target {
    /// As `cargo fuzz run` has it.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Returns inputs that reach far in; the argument is the folder of the repository.
    pub seeds: fn(&Path) -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: [Target; 5] = [
    Target { name: "client_frame", run: client_frame, seeds: seeds::client_frames },
    Target { name: "server_frame", run: server_frame, seeds: seeds::server_frames },
    Target { name: "stored_intent", run: stored_intent, seeds: |_| seeds::intents() },
    Target { name: "stored_rows", run: stored_rows, seeds: |_| seeds::rows() },
    Target { name: "store_file", run: store_file, seeds: |_| seeds::files() },
];
