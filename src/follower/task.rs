//! One container's task: when to read, how long to wait, and when it is over.

use std::io::ErrorKind;
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::copy::{Copy, Misfit};
use super::{GIVE_UP_AFTER, Means};
use crate::container::ContainerId;
use crate::controller::effect::FollowRun;
use crate::controller::input::Input;
use crate::docker::engine::LogChunk;
use crate::docker::{Engine, EngineError};
use crate::world::run::{Followed, RunProgress};

/// After its container's end, a stream that is still open has all by then: the engine itself gives up on its copy after ten seconds.
const STREAM_ENDS_WITHIN: Duration = Duration::from_secs(10);
/// Between the end of the output and the core's word that the container ended lie an event and an inspect.
const WORD_COMES_WITHIN: Duration = Duration::from_secs(1);
/// A stream that broke is opened again after this, doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// As long as the engine is away: it is asked as often as the core itself asks.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// People look at a count once a second, at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Pieces that are worked off at once: the engine's have at most 16 KiB.
const BATCH: usize = 64;
/// An earlier task of the same attempt lets go of the file when its batch is written.
const FILE_FREE_WITHIN: Duration = Duration::from_secs(10);
/// A log whose beginning is thrown away again and again while it is read is not caught up with.
const SEARCHES_MAX: u32 = 5;

pub(super) struct Task<E> {
    means: Means<E>,
    id: ContainerId,
    run: FollowRun,
    ended: watch::Receiver<bool>,
    ended_at: Option<Instant>,
    stop: CancellationToken,
    told: RunProgress,
    told_at: Option<Instant>,
    searches: u32,
    // Not here while something is done with it where blocking is allowed.
    copy: Option<Copy>,
}

/// How a reading of the log ended.
#[derive(Debug)]
enum End {
    /// The engine said all.
    All,
    /// It broke off, or could not begin.
    Broken(EngineError),
    /// It did not end in time.
    Late,
    /// It does not go on from what was read before.
    Misfit,
}

/// Everything stops, or nobody wants to know.
struct Stopped;

impl<E: Engine> Task<E> {
    pub(super) fn new(
        means: Means<E>,
        id: ContainerId,
        run: FollowRun,
        ended: watch::Receiver<bool>,
        stop: CancellationToken,
    ) -> Self {
        let told = RunProgress::default();
        Self {
            means,
            id,
            run,
            ended,
            ended_at: None,
            stop,
            told,
            told_at: None,
            searches: 0,
            copy: None,
        }
    }

    /// All of it, or `None` when it was stopped before.
    pub(super) async fn run(mut self) -> Option<Followed> {
        self.copy = Some(self.open().await.ok()?);
        let missing = self.copy_all().await.ok()?;
        let (exit, run) = (self.means.exit.clone(), self.run.clone());
        let copy = self.copy.take()?;
        Some(blocking(move || copy.finish(missing, exit(&run))).await)
    }

    async fn open(&self) -> Result<Copy, Stopped> {
        let since = Instant::now();
        loop {
            let (means, run) = (self.means.clone(), self.run.clone());
            let opened = blocking(move || {
                let secrets = (means.secrets)(&run.channel);
                Copy::open(&means.transcripts, &run.run.name, run.attempt, secrets)
            });
            match opened.await {
                Ok(copy) => return Ok(copy),
                Err(error)
                    if error.kind() == ErrorKind::ResourceBusy
                        && since.elapsed() < FILE_FREE_WITHIN =>
                {
                    self.pause(FIRST_PAUSE).await?;
                }
                Err(error) => {
                    // Two writers would spoil it; this one is not told of, and the next set tries again.
                    tracing::error!(run = %self.run.run.name, %error, "its transcript is being written by another task");
                    return Err(Stopped);
                }
            }
        }
    }

    /// Reads until nothing more comes; answers what is missing, if anything is known to be.
    async fn copy_all(&mut self) -> Result<Option<String>, Stopped> {
        let mut pause = FIRST_PAUSE;
        // An open stream costs one call; a container that has ended needs none.
        while !self.has_ended() {
            let before = self.copy.as_ref().map(Copy::seen);
            match self.read(true).await? {
                End::All if self.is_short() => {}
                End::All if self.is_over() => {
                    if self.copy.as_ref().is_some_and(Copy::is_to_be_checked) {
                        break;
                    }
                    return Ok(None);
                }
                // Without a final result, or within a line, the follow may have missed the last line: the log is read once more.
                End::All if self.has_ended() => break,
                // It is not started yet: then the engine has no output to be followed.
                End::All if self.copy.as_ref().is_some_and(|copy| copy.seen() == 0) => {}
                // Its end is not known here yet; or the engine went down in good order, and it goes on.
                End::All => {
                    if self.ended_within(WORD_COMES_WITHIN).await? {
                        break;
                    }
                }
                End::Broken(EngineError::NotFound(_)) => return Ok(Some(gone())),
                End::Broken(error) => {
                    debug!(run = %self.run.run.name, %error, "its output broke off");
                }
                End::Misfit => self.search().await?,
                End::Late => break,
            }
            if self.copy.as_ref().map(Copy::seen) != before {
                pause = FIRST_PAUSE;
            }
            if self.ended_within(pause).await? {
                break;
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        self.settle().await
    }

    /// It has ended: reads what there is, once, and again only when that fails.
    async fn settle(&mut self) -> Result<Option<String>, Stopped> {
        let mut pause = FIRST_PAUSE;
        loop {
            let why = match self.read(false).await? {
                End::All if self.is_short() => {
                    self.search().await?;
                    "its log is shorter than what was read of it before".to_owned()
                }
                End::All => return Ok(None),
                End::Broken(EngineError::NotFound(_)) => return Ok(Some(gone())),
                End::Broken(error) => error.to_string(),
                End::Misfit => {
                    self.search().await?;
                    "its log does not go on from what was read of it before".to_owned()
                }
                End::Late => "the engine does not end it".to_owned(),
            };
            if self.overdue(GIVE_UP_AFTER) || self.searches > SEARCHES_MAX {
                return Ok(Some(format!("the rest of it could not be read: {why}")));
            }
            self.pause(pause).await?;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Finds out where the engine's log goes on.
    async fn search(&mut self) -> Result<(), Stopped> {
        self.searches += 1;
        self.on(Copy::begin_search).await?;
        if matches!(self.pass(false).await?, End::All) && self.searches <= SEARCHES_MAX {
            self.on(Copy::end_search).await?;
        }
        Ok(())
    }

    async fn read(&mut self, follow: bool) -> Result<End, Stopped> {
        self.on(Copy::begin).await?;
        self.pass(follow).await
    }

    /// One reading, from the log's beginning.
    async fn pass(&mut self, follow: bool) -> Result<End, Stopped> {
        let mut pieces = self.means.engine.output(&self.id, follow).ready_chunks(BATCH);
        let most = if follow { STREAM_ENDS_WITHIN } else { GIVE_UP_AFTER };
        loop {
            self.note_end();
            let late = self.ended_at.map(|at| at + most);
            let news = self.progress_due();
            let batch = tokio::select! {
                biased;
                () = self.stop.cancelled() => return Err(Stopped),
                batch = pieces.next() => batch,
                () = at(late) => return Ok(End::Late),
                () = at(news) => {
                    self.tell();
                    continue;
                }
                // The next round counts from now.
                _ = self.ended.changed(), if self.ended_at.is_none() && self.ended.has_changed().is_ok() => continue,
            };
            let Some(batch) = batch else { return Ok(End::All) };
            let mut broken = None;
            let chunks: Vec<LogChunk> = batch
                .into_iter()
                .map_while(|piece| piece.map_err(|error| broken = Some(error)).ok())
                .collect();
            if self.on(move |copy| copy.take(&chunks)).await? == Err(Misfit) {
                return Ok(End::Misfit);
            }
            if let Some(error) = broken {
                return Ok(End::Broken(error));
            }
        }
    }

    fn has_ended(&mut self) -> bool {
        self.note_end();
        self.ended_at.is_some()
    }

    fn note_end(&mut self) {
        if *self.ended.borrow_and_update() && self.ended_at.is_none() {
            self.ended_at = Some(Instant::now());
        }
    }

    fn overdue(&self, most: Duration) -> bool {
        self.ended_at.is_some_and(|at| at.elapsed() >= most)
    }

    /// Waits for the core's word that the container has ended.
    async fn ended_within(&mut self, most: Duration) -> Result<bool, Stopped> {
        let word = self.ended.wait_for(|ended| *ended);
        tokio::select! {
            () = self.stop.cancelled() => return Err(Stopped),
            _ = timeout(most, word) => {}
        }
        Ok(self.has_ended())
    }

    async fn pause(&self, pause: Duration) -> Result<(), Stopped> {
        tokio::select! {
            () = self.stop.cancelled() => Err(Stopped),
            () = sleep(pause) => Ok(()),
        }
    }

    /// When the core is to hear how far it is; `None`: it knows.
    fn progress_due(&self) -> Option<Instant> {
        let changed = self.copy.as_ref().is_some_and(|copy| copy.progress() != self.told);
        let last = self.told_at.map(|at| at + PROGRESS_EVERY);
        changed.then(|| last.unwrap_or_else(Instant::now))
    }

    /// Tells the core, unless it is busy: then it hears more next time.
    fn tell(&mut self) {
        let Some(progress) = self.copy.as_ref().map(Copy::progress) else { return };
        self.told_at = Some(Instant::now());
        let input = Input::RunProgressed { id: self.id.clone(), progress };
        if self.means.inputs.try_send(input).is_ok() {
            self.told = progress;
        }
    }

    fn is_over(&self) -> bool {
        self.copy.as_ref().is_some_and(Copy::is_over)
    }

    fn is_short(&self) -> bool {
        self.copy.as_ref().is_some_and(Copy::is_short)
    }

    /// Does something with the copy where blocking is allowed.
    async fn on<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut Copy) -> T + Send + 'static,
    ) -> Result<T, Stopped> {
        let mut copy = self.copy.take().ok_or(Stopped)?;
        let (copy, done) = blocking(move || {
            let done = work(&mut copy);
            (copy, done)
        })
        .await;
        self.copy = Some(copy);
        Ok(done)
    }
}

/// Does it where blocking is allowed. A panic goes on here.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is going down, and this with it.
            Err(_cancelled) => std::future::pending().await,
        },
    }
}

fn gone() -> String {
    "its container was gone before all was read".to_owned()
}

async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
