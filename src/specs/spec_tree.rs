//! The task that looks at the spec directory: when somebody rings, when the core asks, and every half a minute.
//!
//! Scans are sent one after the other over a bounded mailbox; while the core is busy nothing is looked at, and the next look
//! sees everything. Unchanged scans are sent too: the core needs a second one to believe that something is gone.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::NowFn;
use super::limits::Limits;
use super::scan::{Scanner, unavailable};
use super::watch::{Bell, Watches};
use crate::world::scan::RawScan;

/// When to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// After a change, until nothing has changed for this long: an editor's save and a checkout are many changes.
    pub quiet: Duration,
    /// At the latest so long after the first change, so that somebody who writes all the time is heard.
    pub at_most: Duration,
    /// Whether or not anything rang, give or take a fifth.
    pub every: Duration,
    /// A look that takes this long is reported as a directory that cannot be read: a network file system whose server is away
    /// keeps one waiting for as long as it likes.
    pub stalled: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            quiet: Duration::from_millis(100),
            at_most: Duration::from_secs(1),
            every: Duration::from_secs(30),
            stalled: Duration::from_secs(20),
        }
    }
}

/// The spec directory, looked at for as long as the operator runs.
pub struct SpecTree {
    directory: PathBuf,
    now: Arc<NowFn>,
    timing: Timing,
    bell: Arc<Bell>,
}

impl std::fmt::Debug for SpecTree {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SpecTree").field("directory", &self.directory).finish_non_exhaustive()
    }
}

/// What goes to the blocking thread and comes back.
struct Looker {
    scanner: Scanner,
    watches: Watches,
    now: Arc<NowFn>,
}

/// What one look brought.
struct Look {
    scan: RawScan,
    /// The tree did not hold still.
    unsettled: bool,
}

impl SpecTree {
    /// Of this directory, which need not be there.
    pub fn new(directory: PathBuf, now: Arc<NowFn>) -> Self {
        Self { directory, now, timing: Timing::default(), bell: Arc::new(Bell::default()) }
    }

    /// With other times.
    #[must_use]
    pub const fn with_timing(mut self, timing: Timing) -> Self {
        self.timing = timing;
        self
    }

    /// Sends a scan at once, and one whenever there may be something new, until cancelled or until nobody listens.
    pub async fn run(
        self,
        mailbox: mpsc::Sender<RawScan>,
        mut rescan: mpsc::Receiver<()>,
        cancel: CancellationToken,
    ) {
        let mut looker = self.looker();
        loop {
            let Some((next, look)) = self.look(looker, &mailbox, &cancel).await else { return };
            looker = next;
            let jitter = jitter(&look.scan);
            tokio::select! {
                () = cancel.cancelled() => return,
                sent = mailbox.send(look.scan) => if sent.is_err() { return },
            }
            let wait = if look.unsettled {
                self.timing.at_most
            } else {
                self.timing.every.mul_f64(jitter)
            };
            let due = Instant::now() + wait;
            tokio::select! {
                () = cancel.cancelled() => return,
                Some(()) = rescan.recv() => {}
                () = self.bell.rung() => self.quiet().await,
                () = sleep_until(due) => {}
            }
            while rescan.try_recv().is_ok() {}
        }
    }

    fn looker(&self) -> Looker {
        Looker {
            scanner: Scanner::new(self.directory.clone(), Limits::default()),
            watches: Watches::new(Arc::clone(&self.bell)),
            now: Arc::clone(&self.now),
        }
    }

    /// Waits until nobody has rung for a while.
    async fn quiet(&self) {
        let latest = Instant::now() + self.timing.at_most;
        while Instant::now() < latest && timeout(self.timing.quiet, self.bell.rung()).await.is_ok()
        {
        }
    }

    /// Looks, on a thread that may block; nothing when cancelled. A look that does not end is told of once.
    async fn look(
        &self,
        looker: Looker,
        mailbox: &mpsc::Sender<RawScan>,
        cancel: &CancellationToken,
    ) -> Option<(Looker, Look)> {
        let started = (self.now)();
        let mut job = tokio::task::spawn_blocking(move || looker.look());
        let mut told = false;
        let stalled = sleep_until(Instant::now() + self.timing.stalled);
        tokio::pin!(stalled);
        loop {
            tokio::select! {
                () = cancel.cancelled() => return None,
                done = &mut job => {
                    return Some(done.unwrap_or_else(|error| {
                        tracing::error!(%error, "looking at the specs failed");
                        let scan = unavailable(started, &*self.now, "looking at it failed".to_owned());
                        (self.looker(), Look { scan, unsettled: true })
                    }));
                }
                () = &mut stalled, if !told => {
                    told = true;
                    let reason = format!("{}: reading it does not end", self.directory.display());
                    // When nobody takes it, nobody is waiting for it.
                    let _ = mailbox.try_send(unavailable(started, &*self.now, reason));
                }
            }
        }
    }
}

impl Looker {
    fn look(mut self) -> (Self, Look) {
        let (mut scan, listen) = self.scanner.scan(&*self.now);
        if self.watches.arm(&listen) {
            // What changed there before the watch held was not told.
            self.watches.ring();
        }
        scan.watch = self.watches.state();
        (self, Look { scan, unsettled: listen.unsettled })
    }
}

/// Between 0.8 and 1.2, so that operators started together do not all read at once. The time of day is random enough.
fn jitter(scan: &RawScan) -> f64 {
    let nanos = scan.started.wall.subsec_nanosecond().unsigned_abs();
    0.8 + f64::from(nanos / 1_000 % 1_000) / 2_500.0
}
