//! How fast we may ask, and how long we wait before trying again.

use crate::model::Uptime;
use crate::protocol::RateLimit;
use fastrand::Rng;
use std::time::Duration;

/// The slowest pace that limit errors may bring about: one request each ten seconds.
const INTERVAL_MAX: Duration = Duration::from_secs(10);

/// How long everything rests after a limit error: the shorter of the two limits is per second.
const REST: Duration = Duration::from_secs(1);

/// Lets `burst` requests out at once and then one each interval.
///
/// A limit error doubles the interval and makes everything rest; each success takes a twentieth of the
/// excess back.
#[derive(Clone, Debug)]
pub(super) struct Pace {
    rate: RateLimit,
    interval: Duration,
    /// When the budget would be full again: each request moves it one interval on.
    full_at: Uptime,
    rest_until: Uptime,
}

impl Pace {
    pub(super) fn new(rate: RateLimit) -> Self {
        Self { rate, interval: rate.interval, full_at: Uptime::default(), rest_until: Uptime::default() }
    }

    /// Takes the rate that a server announced.
    pub(super) fn set_rate(&mut self, rate: RateLimit) {
        *self = Self { rest_until: self.rest_until, ..Self::new(rate) };
    }

    /// Returns when the next request may leave; not later than `now` when it may leave at once.
    pub(super) fn next(&self, now: Uptime) -> Uptime {
        let saved = self.interval.saturating_mul(self.rate.burst.saturating_sub(1));
        let spent = self.full_at.since(now);
        now.after(spent.saturating_sub(saved)).max(self.rest_until)
    }

    /// Takes one request from the budget, if there is one.
    pub(super) fn take(&mut self, now: Uptime) -> bool {
        if self.next(now) > now {
            return false;
        }
        self.full_at = self.full_at.max(now).after(self.interval);
        true
    }

    /// The server said "too fast" (errors 32 and 33).
    pub(super) fn slow_down(&mut self, now: Uptime) {
        let doubled = self.interval.max(Duration::from_millis(10)).saturating_mul(2);
        self.interval = doubled.min(INTERVAL_MAX);
        self.rest_until = now.after(REST);
    }

    /// A request went well.
    pub(super) fn succeed(&mut self) {
        let excess = self.interval.saturating_sub(self.rate.interval);
        self.interval -= excess / 20;
    }
}

/// How many requests about heads and history may be under way at once.
///
/// Eight fill a long round trip, and whoever opens a conversation waits for no more than these. Where eight pages come
/// within a quarter of a second there may be twice as many: a transaction fills while the one before it is stored.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Window {
    is_wide: bool,
    /// Pages that came since then.
    pages: usize,
    since: Uptime,
}

impl Window {
    const NARROW: usize = 8;
    const WIDE: usize = 16;
    /// In which so many pages as the narrow window holds must come for the wide one.
    const QUICK: Duration = Duration::from_millis(250);

    pub(super) const fn size(self) -> usize {
        if self.is_wide { Self::WIDE } else { Self::NARROW }
    }

    /// A page of history came as it was asked for.
    pub(super) fn page_came(&mut self, now: Uptime) {
        self.pages += 1;
        if self.pages == Self::NARROW {
            *self = Self { is_wide: now.since(self.since) <= Self::QUICK, pages: 0, since: now };
        }
    }
}

/// Full-jitter back-off: a random delay up to a ceiling that doubles with each failure.
#[derive(Clone, Copy, Debug)]
pub(super) struct Backoff {
    least: Duration,
    greatest: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) const fn new((least, greatest): (Duration, Duration)) -> Self {
        Self { least, greatest, failures: 0 }
    }

    /// Counts one failure and returns how long to wait: between the least delay and the ceiling.
    pub(super) fn fail(&mut self, rng: &mut Rng) -> Duration {
        let ceiling = self.least.saturating_mul(1 << self.failures.min(20)).min(self.greatest);
        self.failures = self.failures.saturating_add(1);
        let spread = ceiling.saturating_sub(self.least);
        self.least + spread.mul_f64(rng.f64())
    }

    /// Begins anew.
    pub(super) const fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns how often it failed since the last success.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Uptime {
        Uptime::from_duration(Duration::from_millis(ms))
    }

    fn pace() -> Pace {
        Pace::new(RateLimit { burst: 3, interval: Duration::from_millis(100) })
    }

    /// whoever opens a conversation waits for no more than comes at once.
    #[test]
    fn the_window_is_wide_only_while_pages_come_quickly() {
        let mut window = Window::default();
        let sizes = |window: &mut Window, times: [u64; 8]| {
            times.into_iter().for_each(|ms| window.page_came(at(ms)));
            window.size()
        };
        assert_eq!(window.size(), 8);
        assert_eq!(sizes(&mut window, [5_000, 5_001, 5_002, 5_003, 5_004, 5_005, 5_006, 5_007]), 8, "after a silence");
        assert_eq!(sizes(&mut window, [5_030, 5_060, 5_090, 5_120, 5_150, 5_180, 5_210, 5_257]), 16);
        assert_eq!(sizes(&mut window, [5_258, 5_259, 5_260, 5_261, 5_262, 5_263, 5_264, 5_508]), 8, "they took longer");
    }

    #[test]
    fn a_burst_leaves_at_once_and_the_rest_is_spaced() {
        let mut pace = pace();
        assert!([0, 0, 0].iter().all(|_| pace.take(at(0))));
        assert!(!pace.take(at(0)));
        assert_eq!(pace.next(at(0)), at(100));
        assert!(pace.take(at(100)) && !pace.take(at(150)) && pace.take(at(200)));
        // A second of silence fills the budget again, and no more than that.
        assert_eq!((0..9).filter(|_| pace.take(at(1_200))).count(), 3);
    }

    /// O-8: a limit error delays everything.
    #[test]
    fn a_limit_error_halves_the_pace_and_success_restores_it() {
        let mut pace = pace();
        pace.slow_down(at(0));
        assert!(!pace.take(at(999)));
        assert!(pace.take(at(1_000)));
        assert_eq!(pace.interval, Duration::from_millis(200));
        for _ in 0..200 {
            pace.succeed();
        }
        assert!(pace.interval < Duration::from_millis(102));
    }

    #[test]
    fn the_backoff_has_a_ceiling_and_jitter() {
        let mut rng = Rng::with_seed(1);
        let (least, greatest) = (Duration::from_millis(100), Duration::from_secs(2));
        let mut backoff = Backoff::new((least, greatest));
        let delays: Vec<Duration> = (0..50).map(|_| backoff.fail(&mut rng)).collect();
        assert!(delays.iter().all(|delay| (least..=greatest).contains(delay)));
        assert!(delays[10..].windows(2).any(|pair| pair[0] != pair[1]));
        backoff.reset();
        assert_eq!(backoff.fail(&mut rng), least);
    }
}
