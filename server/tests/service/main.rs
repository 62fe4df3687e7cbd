//! The server as its clients see it: real sockets, real TLS, real files.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test ends where something is wrong")]

mod chat;
mod client;
mod durability;
mod fault_injection;
mod files;
mod hostility;
mod login;
mod push_tokens;
mod upgrade;
