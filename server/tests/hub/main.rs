//! The hub by itself, without a socket: what it decides and whom it tells.
#![expect(clippy::unwrap_used, reason = "a test ends where something is not as it should be")]

mod conformance;
mod conversations;
mod history;
mod messages;
mod refusals;
mod repetition;
mod users;
mod world;
