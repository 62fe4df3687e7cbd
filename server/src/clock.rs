//! The only reader of clock and randomness in the server.
#![expect(clippy::disallowed_methods, reason = "this is the one place the others are kept from")]

use backscroll::model::{Secret, Timestamp};
use std::time::{Instant, SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Returns the time of day; zero on a machine that believes it is before 1970.
pub(crate) fn now() -> Timestamp {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    Timestamp(i64::try_from(seconds).unwrap_or(i64::MAX))
}

/// Returns the monotonic time.
pub(crate) fn instant() -> Instant {
    Instant::now()
}

/// Returns a new random id.
pub(crate) fn fresh_id() -> Uuid {
    Uuid::new_v4()
}

/// Returns a text that nobody can guess: 244 random bits as 64 hexadecimal digits.
pub(crate) fn fresh_secret() -> Secret {
    Secret::new(format!("{}{}", Uuid::new_v4().simple(), Uuid::new_v4().simple()))
}
