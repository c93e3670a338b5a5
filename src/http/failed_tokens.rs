//! What happens when a request has a wrong token: a line in the log, and a delay.
//!
//! Both are bounded. One line is written per [`LOG_INTERVAL`], with the number of failures since the last one. At most
//! [`DELAYED_MAX`] requests are delayed at once; further ones are refused at once, because a delay for them would hold
//! connections. A delayed connection is a waiting one, so it makes room for others.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;

use super::connections::Peer;

/// A person who mistypes a token sees the line, and an attack does not fill the disk.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// An eighth of the waiting connections.
pub(super) const DELAYED_MAX: usize = 16;

/// The failures of one listener.
#[derive(Debug)]
pub(super) struct FailedTokens {
    delay: Duration,
    delayed: Semaphore,
    log: Mutex<Log>,
}

#[derive(Debug, Default)]
struct Log {
    last: Option<Duration>,
    unreported: u64,
}

impl FailedTokens {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, delayed: Semaphore::new(DELAYED_MAX), log: Mutex::default() }
    }

    /// Logs a failure at `now`, a time of the monotonic clock, and waits.
    pub(super) async fn failed(&self, peer: Peer, now: Duration) {
        if let Some(failures) = self.report(now) {
            tracing::warn!(%peer, failures, "refused a token that is not in the token file");
        }
        if let Ok(_permit) = self.delayed.try_acquire() {
            tokio::time::sleep(self.delay).await;
        }
    }

    /// Counts a failure; answers how many a line in the log is due for.
    fn report(&self, now: Duration) -> Option<u64> {
        // Nothing is awaited and nothing can fail while it is held.
        let mut log = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        log.unreported = log.unreported.saturating_add(1);
        if log.last.is_some_and(|last| now.saturating_sub(last) < LOG_INTERVAL) {
            return None;
        }
        log.last = Some(now);
        Some(std::mem::take(&mut log.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_are_logged_once_per_interval_with_their_number() {
        let failed = FailedTokens::new(Duration::ZERO);
        let reports = [0, 1, 9, 10, 11, 30].map(|now| failed.report(Duration::from_secs(now)));
        assert_eq!(reports, [Some(1), None, None, Some(3), None, Some(2)]);
    }
}
