//! What the engine promises, shown through its public interface against a real server over real TLS.

mod first_chat;
mod offline;
mod outbox;
mod world;
