//! Faults to inject, for tests of applications that embed the engine.
//!
//! Every fault can be set before the start and changed while the server runs; all are off by default.
//! Links are counted from 1 in the order of their arrival; frames from the server's greeting on.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The faults a server is to make. Shared between the server and whoever steers it.
#[derive(Debug, Default)]
pub struct Faults(Mutex<Settings>);

/// What is to go wrong.
#[derive(Clone, Copy, Debug, Default)]
struct Settings {
    drop_link: Option<DropLink>,
    cut_answers_after: Option<usize>,
    swallow_answers: u32,
    delay: Duration,
    duplicate_every: Option<u64>,
    refuse_links: bool,
}

/// When a link is to break.
#[derive(Clone, Copy, Debug)]
struct DropLink {
    after_frames: u64,
    from_link: u64,
    once: bool,
}

impl Faults {
    /// Returns a server's usual behaviour: no fault.
    pub fn none() -> Self {
        Self::default()
    }

    /// Makes every fault end.
    pub fn clear(&self) {
        *self.settings() = Settings::default();
    }

    /// Breaks each link, from the `from_link`-th on, right after its `frames`-th frame to the client.
    pub fn drop_link_after(&self, frames: u64, from_link: u64) {
        self.settings().drop_link = Some(DropLink { after_frames: frames, from_link, once: false });
    }

    /// Breaks one link right after its `frames`-th frame to the client: the first one to come so far, beginning
    /// with the `from_link`-th.
    pub fn drop_one_link_after(&self, frames: u64, from_link: u64) {
        self.settings().drop_link = Some(DropLink { after_frames: frames, from_link, once: true });
    }

    /// Breaks the link in the middle of the next answer that has more than `frames` frames, after so many of
    /// them. Once: the next link is whole again.
    pub fn cut_next_answer_after(&self, frames: usize) {
        self.settings().cut_answers_after = Some(frames);
    }

    /// Carries out the next `requests` changes, tells the others, and never answers.
    pub fn swallow_answers(&self, requests: u32) {
        self.settings().swallow_answers = requests;
    }

    /// Holds each frame to a client back for so long, one after the other.
    pub fn delay_frames(&self, delay: Duration) {
        self.settings().delay = delay;
    }

    /// Sends each `every`-th messaging frame of a link twice; `None` ends it.
    pub fn duplicate_frames(&self, every: Option<u64>) {
        self.settings().duplicate_every = every.filter(|every| *every > 0);
    }

    /// Closes new connections before a byte is exchanged.
    pub fn refuse_links(&self, refuse: bool) {
        self.settings().refuse_links = refuse;
    }

    pub(crate) fn refuses_links(&self) -> bool {
        self.settings().refuse_links
    }

    pub(crate) fn delay(&self) -> Duration {
        self.settings().delay
    }

    /// Returns whether link number `link` breaks now that it sent `frames` frames; may use the fault up.
    pub(crate) fn takes_link(&self, link: u64, frames: u64) -> bool {
        let mut settings = self.settings();
        let due = settings.drop_link.filter(|drop| link >= drop.from_link && frames >= drop.after_frames);
        if due.is_some_and(|drop| drop.once) {
            settings.drop_link = None;
        }
        due.is_some()
    }

    /// Returns whether the messaging frame number `frame` of a link goes out twice.
    pub(crate) fn duplicates(&self, frame: u64) -> bool {
        self.settings().duplicate_every.is_some_and(|every| frame.is_multiple_of(every))
    }

    /// Returns after how many frames an answer of `frames` frames is cut, and uses the fault up.
    pub(crate) fn take_cut(&self, frames: usize) -> Option<usize> {
        let mut settings = self.settings();
        let after = settings.cut_answers_after.filter(|after| *after < frames)?;
        settings.cut_answers_after = None;
        Some(after)
    }

    /// Returns whether the answer to a change is to be kept back, and counts it.
    pub(crate) fn take_swallow(&self) -> bool {
        let mut settings = self.settings();
        let swallows = settings.swallow_answers > 0;
        settings.swallow_answers = settings.swallow_answers.saturating_sub(1);
        swallows
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        // Nothing panics while it holds the lock, and the numbers are whole in any case.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
