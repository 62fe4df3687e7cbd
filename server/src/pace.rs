//! How fast one link may ask, and one user with all links together.

use backscroll::model::{ErrorCode, UserId};
use backscroll::protocol::RateLimit;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How unevenly the network may deliver what a client sent evenly: frames held back for so long and then
/// delivered at once do not count as too many.
const JITTER: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Counts the requests of one link or user. The time is told, not read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the requests so far would have been made, had they been spread evenly.
    evenly: Instant,
    interval: Duration,
    /// How far they may be ahead of that.
    ahead: Duration,
    per_minute: Option<u32>,
    minute_began: Instant,
    in_this_minute: u32,
}

impl Pace {
    pub(crate) fn new(rate: RateLimit, per_minute: Option<u32>, now: Instant) -> Self {
        let RateLimit { burst, interval } = rate;
        let ahead = interval.saturating_mul(burst).saturating_add(JITTER);
        Self { evenly: now, interval, ahead, per_minute, minute_began: now, in_this_minute: 0 }
    }

    /// Counts one request, or refuses it with error 32 or 33.
    pub(crate) fn take(&mut self, now: Instant) -> Result<(), ErrorCode> {
        if now.duration_since(self.minute_began) >= MINUTE {
            self.minute_began = now;
            self.in_this_minute = 0;
        }
        if self.per_minute.is_some_and(|most| self.in_this_minute >= most) {
            return Err(ErrorCode::LimitPerMinute);
        }
        let next = self.evenly.max(now) + self.interval;
        if next.duration_since(now) > self.ahead {
            return Err(ErrorCode::LimitPerSecond);
        }
        self.evenly = next;
        self.in_this_minute = self.in_this_minute.saturating_add(1);
        Ok(())
    }
}

/// The pace of each user, shared by the user's links.
#[derive(Debug)]
pub(crate) struct UserPaces {
    rate: RateLimit,
    per_minute: Option<u32>,
    paces: Mutex<BTreeMap<UserId, Arc<Mutex<Pace>>>>,
}

impl UserPaces {
    pub(crate) const fn new(rate: RateLimit, per_minute: Option<u32>) -> Self {
        Self { rate, per_minute, paces: Mutex::new(BTreeMap::new()) }
    }

    /// Returns the pace of a user, for a new link of theirs. Those of users who were away for a minute are forgotten:
    /// coming back sooner does not make anybody begin anew.
    pub(crate) fn of(&self, user: UserId, now: Instant) -> Arc<Mutex<Pace>> {
        let mut paces = lock(&self.paces);
        paces.retain(|_, pace| Arc::strong_count(pace) > 1 || now.duration_since(lock(pace).minute_began) < MINUTE);
        let begun = || Arc::new(Mutex::new(Pace::new(self.rate, self.per_minute, now)));
        Arc::clone(paces.entry(user).or_insert_with(begun))
    }
}

/// Takes what is behind a lock: nothing panics while it is held.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(burst: u32, interval: Duration, per_minute: Option<u32>) -> (Pace, Instant) {
        let rate = RateLimit { burst, interval };
        let start = crate::clock::instant();
        (Pace::new(rate, per_minute, start), start)
    }

    #[test]
    fn a_client_at_the_announced_pace_is_never_refused_even_when_its_frames_come_in_heaps() {
        let interval = Duration::from_millis(100);
        let (mut pace, start) = pace(5, interval, None);
        // Sent: five at once, then one each interval. Held back: each full second's frames come at its end.
        for second in 1..60_u32 {
            let sent = if second == 1 { 15 } else { 10 };
            for _ in 0..sent {
                assert_eq!(pace.take(start + Duration::from_secs(second.into())), Ok(()));
            }
        }
    }

    #[test]
    fn a_runaway_is_refused_and_forgiven_as_time_passes() {
        let (mut pace, start) = pace(5, Duration::from_millis(100), None);
        let taken = (0..100).take_while(|_| pace.take(start).is_ok()).count();
        assert_eq!(taken, 15);
        assert_eq!(pace.take(start), Err(ErrorCode::LimitPerSecond));
        assert_eq!(pace.take(start + Duration::from_millis(100)), Ok(()));
        assert_eq!(pace.take(start + Duration::from_millis(100)), Err(ErrorCode::LimitPerSecond));
    }

    #[test]
    fn a_minute_has_its_own_limit() {
        let (mut pace, start) = pace(100, Duration::from_millis(1), Some(3));
        assert!((0..3).all(|_| pace.take(start).is_ok()));
        assert_eq!(pace.take(start + Duration::from_secs(59)), Err(ErrorCode::LimitPerMinute));
        assert_eq!(pace.take(start + MINUTE), Ok(()));
    }

    #[test]
    fn a_user_who_reconnects_does_not_begin_anew() {
        let take = |pace: &Mutex<Pace>, now| lock(pace).take(now);
        let start = crate::clock::instant();
        let paces = UserPaces::new(RateLimit { burst: 9, interval: Duration::from_millis(1) }, Some(2));
        let (alice, bob) = (UserId::new(101).unwrap(), UserId::new(102).unwrap());
        let first = paces.of(alice, start);
        let second = paces.of(alice, start);
        assert_eq!(take(&first, start), Ok(()));
        assert_eq!(take(&second, start), Ok(()));
        assert_eq!(take(&first, start), Err(ErrorCode::LimitPerMinute));
        drop((first, second));
        let soon = start + MINUTE / 2;
        assert_eq!(take(&paces.of(alice, soon), soon), Err(ErrorCode::LimitPerMinute));
        assert_eq!(take(&paces.of(bob, start), start), Ok(()));
        paces.of(bob, start + MINUTE);
        assert_eq!(lock(&paces.paces).len(), 1, "whoever was away for a minute is forgotten");
    }
}
