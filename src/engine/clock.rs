//! The only reader of clock and randomness.
#![expect(clippy::disallowed_methods, reason = "everything else is handed the time, a seed or an id from here")]

use crate::model::{ClientToken, Timestamp, Uptime};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;
use uuid::Uuid;

/// The two clocks: time since the engine was opened, and the time of day.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    opened: Instant,
}

impl Clock {
    /// Starts counting now.
    pub(crate) fn start() -> Self {
        Self { opened: Instant::now() }
    }

    /// Returns the time passed since the start.
    pub(crate) fn uptime(self) -> Uptime {
        Uptime::from_duration(self.opened.elapsed())
    }

    /// Waits until `due`; for ever when there is nothing due.
    pub(crate) async fn reach(self, due: Option<Uptime>) {
        match due.and_then(|due| self.opened.checked_add(due.as_duration())) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }
}

/// Returns the time of day of this machine; zero when it is set before 1970.
pub(crate) fn time_of_day() -> Timestamp {
    let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since_1970.as_secs()).unwrap_or(i64::MAX))
}

/// Returns 64 random bits for a core to make its choices from.
pub(crate) fn seed() -> u64 {
    let (high, low) = Uuid::new_v4().as_u64_pair();
    // Six of the bits are fixed by the format, in different places of the two halves.
    high ^ low.rotate_left(32)
}

/// Returns a token that nobody has.
pub(crate) fn token() -> ClientToken {
    ClientToken::from_uuid(Uuid::new_v4())
}
