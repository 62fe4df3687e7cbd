//! The server as its clients see it: real sockets, real TLS, real files.

mod chat;
mod client;
