//! Two clocks that must never be mixed.

use std::time::Duration;

/// Server time in UNIX seconds, for people. Never used to decide what is missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

/// Time since the engine was opened, monotonic, for deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uptime(Duration);

impl Uptime {
    /// Takes the time passed since the engine was opened.
    pub const fn from_duration(since_open: Duration) -> Self {
        Self(since_open)
    }

    /// Returns the time passed since the engine was opened.
    pub const fn as_duration(self) -> Duration {
        self.0
    }

    /// Returns the instant `delay` later; the end of time when that overflows.
    #[must_use]
    pub const fn after(self, delay: Duration) -> Self {
        Self(self.0.saturating_add(delay))
    }

    /// Returns how long after `earlier` this is; zero when it is not.
    pub const fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}
