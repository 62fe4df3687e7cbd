//! What the engine promises, shown through its public interface against a real server over real TLS.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that meets anything else has failed")]

mod asking;
mod catch_up;
mod damage;
mod errors;
mod first_chat;
mod foreign;
mod history;
mod interface;
mod offline;
mod outbox;
mod raw;
mod session;
mod silence;
mod soak;
mod unblocked;
mod verifying;
mod world;
mod writes;
