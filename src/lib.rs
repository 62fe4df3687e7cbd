//! Backscroll: an offline-first messaging engine that applications embed.

pub mod engine;
mod error;
pub mod model;
pub mod protocol;
pub mod store;
pub mod sync;

pub use engine::{Config, Conversation, Message, Messenger, MessengerEvent, Sending};
pub use error::Error;
