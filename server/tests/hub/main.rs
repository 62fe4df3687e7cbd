//! The hub by itself, without a socket: what it decides and whom it tells.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test ends where something is wrong")]

mod conformance;
mod conversations;
mod heads;
mod history;
mod messages;
mod refusals;
mod repetition;
mod rights;
mod users;
mod world;
