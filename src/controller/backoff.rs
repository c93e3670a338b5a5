//! How long to wait after a failure, by its class.
//!
//! A gate closed by a failure opens with time, with a new generation of the spec, or, when the engine was away, with its
//! return. Docker's events do not open it: a create that fails makes events of its own, and would feed itself.

use std::time::Duration;

use jiff::Timestamp;

use crate::resource::Now;

/// What kind of failure it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Class {
    /// The engine did not answer, or failed.
    Engine,
    /// A name is taken, a removal goes on.
    Conflict,
    /// The spec, the image or the host does not allow it.
    Spec,
    /// No space.
    Space,
}

impl Class {
    const fn base_and_cap(self) -> (Duration, Duration) {
        match self {
            Self::Engine => (Duration::from_millis(200), Duration::from_secs(30)),
            Self::Conflict => (Duration::from_millis(50), Duration::from_secs(2)),
            Self::Spec => (Duration::from_secs(5), Duration::from_mins(5)),
            Self::Space => (Duration::from_secs(30), Duration::from_mins(10)),
        }
    }
}

/// A closed gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gate {
    /// Opens then.
    pub until: Duration,
    /// Closed by.
    pub class: Class,
    /// How many failures in a row.
    pub failures: u32,
    /// When the first of them was.
    pub since: Duration,
}

/// The gate after one more failure.
pub fn after_failure(old: Option<Gate>, class: Class, now: Duration, jitter: f64) -> Gate {
    let same = old.filter(|old| old.class == class);
    let failures = same.map_or(1, |old| old.failures.saturating_add(1));
    let (base, cap) = class.base_and_cap();
    let ceiling = base.saturating_mul(1_u32 << (failures - 1).min(16)).min(cap);
    // Half of it is certain and half by chance: many keys that failed together come back apart, and none at once.
    let wait = ceiling.mul_f64(0.5 + jitter / 2.0);
    Gate { until: now + wait, class, failures, since: same.map_or(now, |old| old.since) }
}

/// The time of day at which a gate opens, for people.
pub fn wall_at(now: Now, until: Duration) -> Timestamp {
    let ahead = jiff::SignedDuration::try_from(until.saturating_sub(now.mono));
    ahead.ok().and_then(|ahead| now.wall.checked_add(ahead).ok()).unwrap_or(now.wall)
}

/// How long a shell that ended by itself is left alone: at once the first time, then 10 s and doubling up to 5 minutes.
pub fn crash_wait(count: u32) -> Duration {
    match count {
        0 | 1 => Duration::ZERO,
        more => Duration::from_secs(10)
            .saturating_mul(1_u32 << (more - 2).min(10))
            .min(Duration::from_mins(5)),
    }
}

/// A shell that ran so long is no longer in a loop.
pub const CRASH_RESET: Duration = Duration::from_mins(10);

/// Random numbers that are the same for the same seed: the core has no other chance in it.
#[derive(Debug, Clone)]
pub struct Jitter(u64);

impl Jitter {
    /// From a seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// At least 0, less than 1 (splitmix64).
    pub fn draw(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        let upper = (z >> 32) as u32;
        f64::from(upper) / (f64::from(u32::MAX) + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_spec_is_tried_about_seven_times_in_five_minutes() {
        let mut jitter = Jitter::new(1);
        let (mut now, mut gate, mut tries) = (Duration::ZERO, None, 0);
        while now < Duration::from_mins(5) {
            let next = after_failure(gate, Class::Spec, now, jitter.draw());
            now = next.until;
            gate = Some(next);
            tries += 1;
        }
        assert!((6..=9).contains(&tries), "{tries}");
    }

    #[test]
    fn another_class_begins_anew() {
        let first = after_failure(None, Class::Engine, Duration::ZERO, 0.0);
        let second = after_failure(Some(first), Class::Spec, Duration::ZERO, 0.0);
        assert_eq!(second.failures, 1);
    }

    #[test]
    fn a_shell_that_ends_is_started_at_once_then_later_and_later() {
        let waits: Vec<u64> = (1..=8).map(|count| crash_wait(count).as_secs()).collect();
        assert_eq!(waits, [0, 10, 20, 40, 80, 160, 300, 300]);
    }
}
