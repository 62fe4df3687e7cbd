//! One match over [`Input`], handing parts to the parts.

use super::{Input, Output, SavedState, Settings};
use crate::model::Uptime;

/// The state machine.
#[derive(Debug)]
pub struct Core {}

impl Core {
    /// Rebuilds the core from what the store holds: at the start, and after any failed write.
    pub fn restore(_saved: SavedState, _settings: Settings, _seed: u64, _now: Uptime) -> Self {
        Self {}
    }

    /// Takes one input and returns what must now be done.
    #[must_use = "outputs are the only effect of this call"]
    pub fn handle(&mut self, _now: Uptime, _input: Input) -> Vec<Output> {
        Vec::new()
    }

    /// Returns when [`Input::DeadlinePassed`] is next due, derived from the state; `None` for never.
    pub fn deadline(&self) -> Option<Uptime> {
        None
    }
}
