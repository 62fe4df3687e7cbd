//! The wire as others speak it: captured frames, frames of every kind, and frames that mean harm.
#![expect(clippy::unwrap_used, reason = "a test ends where its premises do")]

mod fixtures;
mod hostile;
mod round_trip;
mod secrecy;
mod strategies;
mod tolerance;
