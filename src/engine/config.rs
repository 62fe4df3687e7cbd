//! What an application chooses when it opens the engine.

use super::TokenKeeper;
use crate::model::{HistoryPolicy, ServerAddress};
use crate::sync::Settings;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

/// What an application chooses when it opens the engine. Only the file is needed.
///
/// The server and the extra root certificate are those of the next login. They are kept in the file with
/// the session that it gives: an application that opens the file again need not name them.
#[derive(Clone)]
pub struct Config {
    pub(crate) store: PathBuf,
    server: Option<String>,
    extra_root: Option<String>,
    pub(crate) allow_plain_loopback: bool,
    pub(crate) settings: Settings,
    pub(crate) token_keeper: Option<Arc<dyn TokenKeeper>>,
    pub(crate) take_over: bool,
}

impl Config {
    /// Names the file that holds everything; it is made when there is none.
    pub fn new(store: impl Into<PathBuf>) -> Self {
        Self {
            store: store.into(),
            server: None,
            extra_root: None,
            allow_plain_loopback: false,
            settings: Settings::default(),
            token_keeper: None,
            take_over: false,
        }
    }

    /// Names the server, as in `wss://host:port/platform`. Without port it is 443, without path `/platform`.
    #[must_use]
    pub fn server(mut self, url: impl Into<String>) -> Self {
        self.server = Some(url.into());
        self
    }

    /// Names a PEM file with a root certificate to trust besides the public ones.
    ///
    /// The file is read when the first connection is opened.
    #[must_use]
    pub fn extra_root(mut self, path: impl Into<String>) -> Self {
        self.extra_root = Some(path.into());
        self
    }

    /// Lets a `ws://` address be used, which is not encrypted. It must still name this very machine.
    #[must_use]
    pub fn allow_plain_loopback(mut self) -> Self {
        self.allow_plain_loopback = true;
        self
    }

    /// Returns the server of the next login.
    pub(crate) fn server_address(&self) -> Option<ServerAddress> {
        let url = self.server.clone()?;
        Some(ServerAddress { url, extra_root: self.extra_root.clone() })
    }

    /// Chooses how much history is fetched without anybody asking, of conversations without a policy of their own.
    #[must_use]
    pub fn history(mut self, policy: HistoryPolicy) -> Self {
        self.settings.history = policy;
        self
    }

    /// Has the application keep the tokens itself. Tokens that are in the file already move over with the next write.
    #[must_use]
    pub fn token_keeper(mut self, keeper: Arc<dyn TokenKeeper>) -> Self {
        self.token_keeper = Some(keeper);
        self
    }

    /// Takes the file over from a process that syncs it; without this, opening follows that process.
    #[must_use]
    pub fn take_over(mut self) -> Self {
        self.take_over = true;
        self
    }

    /// Replaces delays, paces, intervals and the history policy.
    #[must_use]
    pub fn settings(mut self, settings: Settings) -> Self {
        self.settings = settings;
        self
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config").field("store", &self.store).field("server", &self.server).finish_non_exhaustive()
    }
}
