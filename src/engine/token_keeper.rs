//! Tokens kept by the application instead of in the file.

use crate::model::Tokens;
use std::error::Error;

/// Keeps the tokens of one session where the application wants them: a key store of the system, for example.
///
/// They are then never in the file. The engine calls from threads that may block, one call at a time.
///
/// ```
/// use backscroll::engine::TokenKeeper;
/// use backscroll::model::Tokens;
/// use std::error::Error;
/// use std::sync::Mutex;
///
/// /// Forgets everything with the process: its user logs in at each start.
/// #[derive(Default)]
/// struct Memory(Mutex<Option<Tokens>>);
///
/// impl TokenKeeper for Memory {
///     fn kept(&self) -> Result<Option<Tokens>, Box<dyn Error + Send + Sync>> {
///         Ok(self.0.lock().map_err(|_| "poisoned")?.clone())
///     }
///
///     fn keep(&self, tokens: Option<&Tokens>) -> Result<(), Box<dyn Error + Send + Sync>> {
///         *self.0.lock().map_err(|_| "poisoned")? = tokens.cloned();
///         Ok(())
///     }
/// }
/// ```
pub trait TokenKeeper: Send + Sync {
    /// Returns the pair kept last; `None` for none.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being read. The engine does not open then.
    fn kept(&self) -> Result<Option<Tokens>, Box<dyn Error + Send + Sync>>;

    /// Keeps a pair in place of the last, or forgets the last when there is none.
    ///
    /// It must be durable when this returns: a refresh token works once, and the old pair is worth nothing any more.
    ///
    /// # Errors
    ///
    /// Whatever keeps it from being kept. The engine treats it as a failed write of the file: it goes on from what
    /// was kept before.
    fn keep(&self, tokens: Option<&Tokens>) -> Result<(), Box<dyn Error + Send + Sync>>;
}
