//! Backscroll: an offline-first messaging engine that applications embed.

pub mod model;
pub mod protocol;
pub mod store;
pub mod sync;
