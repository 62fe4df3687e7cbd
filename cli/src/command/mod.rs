//! One file a command.

pub(crate) mod demo;
pub(crate) mod inspect;
pub(crate) mod list;
pub(crate) mod online;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod sync;
pub(crate) mod user;
pub(crate) mod write;

use crate::failure::{Failure, VERIFY_HINT};
use crate::render::Out;
use backscroll::{Config, Messenger};
use std::io::{self, BufRead, IsTerminal};
use std::path::{Path, PathBuf};

/// The database file that was named, wherever.
pub(crate) fn named(store: Option<PathBuf>) -> Result<PathBuf, Failure> {
    store.ok_or_else(|| Failure::usage("no database is named").hint("use --store FILE, or set BACKSCROLL_STORE"))
}

fn existing(store: Option<PathBuf>) -> Result<PathBuf, Failure> {
    let path = named(store)?;
    if !path.exists() {
        return Err(Failure::environment(format!("there is no file {}", path.display()))
            .hint("backscroll --store FILE login makes one"));
    }
    Ok(path)
}

/// Opens the store for writing and sets out to reach the server.
pub(crate) async fn open(store: Option<PathBuf>) -> Result<Messenger, Failure> {
    Ok(Messenger::open(Config::new(existing(store)?)).await?)
}

/// Opens the store strictly for reading; another process may be writing to it. What is damaged is missing from lists:
/// that is said, beside the answer.
pub(crate) async fn look_into(out: Out, store: Option<PathBuf>) -> Result<Messenger, Failure> {
    let messenger = Messenger::inspect(existing(store)?).await?;
    let unreadable = messenger.unreadable().await?;
    if unreadable > 0 {
        out.warn(&format!("damaged and left out: {unreadable} of the conversations and outbox entries"), VERIFY_HINT)?;
    }
    Ok(messenger)
}

/// Reads a password: one line of standard input, or a prompt on a terminal.
pub(crate) fn password(prompt: &str) -> Result<String, Failure> {
    if io::stdin().is_terminal() {
        return Ok(rpassword::prompt_password(prompt)?);
    }
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    let password = line.trim_end_matches(['\r', '\n']);
    if password.is_empty() {
        return Err(Failure::usage("no password came in").hint("give it on standard input, or run on a terminal"));
    }
    Ok(password.to_owned())
}

/// Returns a path that means the same from any folder.
pub(crate) fn absolute(path: &Path) -> Result<String, Failure> {
    let found = path.canonicalize().map_err(|error| Failure::environment(format!("{}: {error}", path.display())))?;
    found.into_os_string().into_string().map_err(|_| Failure::usage(format!("{} is no UTF-8", path.display())))
}
