//! How fast one link may ask.

use crate::config::Limits;
use backscroll::model::ErrorCode;
use std::time::{Duration, Instant};

/// How unevenly the network may deliver what a client sent evenly: frames held back for so long and then
/// delivered at once do not count as too many.
const JITTER: Duration = Duration::from_secs(1);

const MINUTE: Duration = Duration::from_secs(60);

/// Counts the requests of one link. The time is told, not read.
#[derive(Debug)]
pub(crate) struct Pace {
    /// When the link would have made its requests so far, had it spread them evenly.
    evenly: Instant,
    interval: Duration,
    /// How far the link may be ahead of that.
    ahead: Duration,
    per_minute: Option<u32>,
    minute_began: Instant,
    in_this_minute: u32,
}

impl Pace {
    pub(crate) fn new(limits: &Limits, now: Instant) -> Self {
        let interval = limits.rate.interval;
        let ahead = interval.saturating_mul(limits.rate.burst).saturating_add(JITTER);
        let per_minute = limits.requests_per_minute;
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

#[cfg(test)]
mod tests {
    use super::*;
    use backscroll::protocol::RateLimit;

    fn pace(burst: u32, interval: Duration, per_minute: Option<u32>) -> (Pace, Instant) {
        let rate = RateLimit { burst, interval };
        let limits = Limits { rate, requests_per_minute: per_minute, ..Limits::default() };
        let start = crate::clock::instant();
        (Pace::new(&limits, start), start)
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
}
