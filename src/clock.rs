//! The only reader of clocks. Everything else is given a [`Now`].

use std::time::Instant;

use crate::resource::Now;

/// Both clocks, the monotonic one counted from [`Clock::start`].
///
/// A process makes one and copies it: readings of two clocks must not be mixed.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    started: Instant,
}

impl Clock {
    /// Begins to count.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn start() -> Self {
        Self { started: Instant::now() }
    }

    /// What time it is.
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
    pub fn now(self) -> Now {
        Now { mono: self.started.elapsed(), wall: jiff::Timestamp::now() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_count_from_the_same_start_and_never_back() {
        let clock = Clock::start();
        let copy = clock;
        let first = clock.now();
        let second = copy.now();
        assert!(second.mono >= first.mono);
    }
}
