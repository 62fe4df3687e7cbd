//! The store of the engine on disks that lose power and refuse to write.
//!
//! `POWERLOSS_VARIANTS` sets how many times dice are thrown behind each operation.
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

mod cuts;
mod faults;
mod history;
mod leftovers;
mod look;
mod story;
mod tending;
mod upgrade;
