//! Tokens that the application keeps instead of the file.

use backscroll::model::Tokens;
use backscroll::sync::{SavedState, Write};

/// A place for one pair of tokens outside the file.
#[derive(Debug, Default)]
pub(super) struct Keeper(Option<Tokens>);

impl Keeper {
    /// Takes the tokens out of a transaction, so that they do not get into the file. Returns the newest, if the
    /// transaction is about any.
    pub(super) fn take_out(writes: &mut [Write]) -> Option<Option<Tokens>> {
        let sessions = writes.iter_mut().filter_map(|write| match write {
            Write::Session(session) => Some(session.tokens.take()),
            _ => None,
        });
        sessions.last()
    }

    pub(super) fn keep(&mut self, tokens: Option<Tokens>) {
        self.0 = tokens;
    }

    pub(super) const fn kept(&self) -> Option<&Tokens> {
        self.0.as_ref()
    }

    /// Puts the pair where a core looks for it.
    pub(super) fn give_back(&self, saved: &mut SavedState) {
        if let Some(session) = &mut saved.session {
            session.tokens = self.0.clone().or_else(|| session.tokens.take());
        }
    }
}
