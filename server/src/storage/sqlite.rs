//! The storage of a server that is to be kept: one SQLite file.
/// Keeps everything in one SQLite file.
#[derive(Debug)]
pub struct Sqlite {}
