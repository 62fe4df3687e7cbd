//! The vendor's unmodified Web SDK and our engine in the same conversations, on our server.
//!
//! What only the SDK's quirks ask for is done by the server; nothing here works around one. `README.md` says how
//! to run this.
#![expect(clippy::unwrap_used, clippy::wildcard_enum_match_arm, reason = "a test that meets anything else has failed")]

mod browser;
mod told;
mod world;

mod conversations;
mod errors;
mod history;
mod login;
mod messages;
mod people;
mod reconnect;
mod rights;
