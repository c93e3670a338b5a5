//! Carries out effects: one arm for each call, with its timeout. It decides nothing and queues nothing.
//!
//! A call that was given up may still be carried out by the engine: its answer says that its outcome is unknown, and the
//! core reads before it does anything else.

pub mod agent;
mod anchor;
mod builds;
mod calls;
mod failure;
mod follow;
mod image;
mod runs;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::{AbortHandle, JoinSet};
use tracing::{debug, info, warn};

use crate::clock::Clock;
use crate::controller::effect::Call;
use crate::controller::input::{Answer, Failure, Input, Seq};
use crate::docker::Engine;
use crate::docker::image::CredentialSources;
use crate::host::Host;
use crate::resource::{ObjectRef, Owner, ResourceName};
use crate::store::{StateKey, StoreHandle};
use crate::world::record::Write;

pub use anchor::refuse_to_inherit;
pub use builds::Contexts;
pub use calls::{image_user, only_running_sessions};
pub use follow::follow;

/// Hears how each call went: operation, outcome, seconds. `commit` is the store's, `queue` the wait before a call.
pub type Observer = Arc<dyn Fn(&'static str, &'static str, f64) + Send + Sync>;

/// What calls are carried out with.
#[derive(Clone)]
pub struct Means<E> {
    /// The engine.
    pub engine: E,
    /// The host.
    pub host: Host,
    /// Keys the hashes of secrets.
    pub key: StateKey,
    /// Whose containers are ours.
    pub instance: ResourceName,
    /// The spec directory, of which images are built.
    pub specs_dir: PathBuf,
    /// What is known of the contexts in it.
    pub contexts: Arc<Contexts>,
    /// Who the engine is at registries.
    pub credentials: CredentialSources,
    /// Hears how far a call is that takes long.
    pub progress: mpsc::Sender<Input>,
    /// One look at the host at a time.
    pub looking: Arc<Semaphore>,
    /// So many checks of mounts at a time.
    pub checking_mounts: Arc<Semaphore>,
    /// Whose workspaces these are. A disk that is not on the file system of their home may be unmounted.
    pub owner: Owner,
    /// Tells the time that calls take.
    pub clock: Clock,
    /// Hears of each call.
    pub observer: Observer,
}

impl<E: std::fmt::Debug> std::fmt::Debug for Means<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Means").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// The calls and commits that are on their way.
#[derive(Debug)]
pub struct Executor<E> {
    means: Means<E>,
    store: StoreHandle,
    on_their_way: JoinSet<Input>,
    /// Pulls and builds.
    long: Vec<AbortHandle>,
}

impl<E: Engine> Executor<E> {
    /// One that has nothing to do yet.
    pub fn new(means: Means<E>, store: StoreHandle) -> Self {
        Self { means, store, on_their_way: JoinSet::new(), long: Vec::new() }
    }

    /// Sends a call, which waited so long for its turn.
    pub fn call(
        &mut self,
        seq: Seq,
        subject: Option<ObjectRef>,
        call: Call,
        timeout: Duration,
        cause: String,
        waited: Duration,
    ) {
        if subject.is_some() {
            (self.means.observer)("queue", "ok", waited.as_secs_f64());
        }
        let means = self.means.clone();
        let is_long = matches!(call, Call::BringImage(_));
        let task = self.on_their_way.spawn(async move {
            let answer = carry_out(&means, seq, subject, &call, timeout, &cause).await;
            Input::Answered { seq, answer }
        });
        self.long.retain(|task| !task.is_finished());
        if is_long {
            self.long.push(task);
        }
    }

    /// Gives up what takes minutes and changes no container: pulls and builds. Their answers do not come.
    pub fn give_up_long(&mut self) {
        for task in self.long.drain(..) {
            task.abort();
        }
    }

    /// Sends writes.
    pub fn commit(&mut self, seq: Seq, writes: Vec<Write>) {
        let store = self.store.clone();
        let observer = Arc::clone(&self.means.observer);
        let clock = self.means.clock;
        self.on_their_way.spawn(async move {
            let began = clock.now().mono;
            let result = store.commit(writes).await;
            let seconds = clock.now().mono.saturating_sub(began).as_secs_f64();
            let code = if result.is_ok() { "ok" } else { "error" };
            observer("commit", code, seconds);
            if let Err(error) = &result {
                warn!(error = error as &dyn std::error::Error, "the store cannot be written");
            }
            Input::Committed { seq, result: result.map_err(|error| error.to_string()) }
        });
    }

    /// The next answer; `None` when nothing is on its way.
    pub async fn next(&mut self) -> Option<Input> {
        loop {
            match self.on_their_way.join_next().await? {
                Ok(input) => return Some(input),
                // A panic in an arm: its answer would never come, so the process must not go on as if it would.
                Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
                Err(_cancelled) => {}
            }
        }
    }

    /// Is nothing on its way?
    pub fn is_idle(&self) -> bool {
        self.on_their_way.is_empty()
    }
}

async fn carry_out<E: Engine>(
    means: &Means<E>,
    seq: Seq,
    subject: Option<ObjectRef>,
    call: &Call,
    timeout: Duration,
    cause: &str,
) -> Result<Answer, Failure> {
    let began = means.clock.now().mono;
    let outcome = tokio::time::timeout(timeout, calls::carry_out(means, seq, call)).await;
    let took = means.clock.now().mono.saturating_sub(began);
    let answer = outcome.unwrap_or_else(|_elapsed| {
        Err(Failure::Unknown(format!("no answer to {} within {timeout:?}", call.word())))
    });
    let code = answer.as_ref().err().map_or("ok", failure::word);
    (means.observer)(call.word(), code, took.as_secs_f64());
    let subject = subject.map_or_else(|| "engine".to_owned(), |object| object.to_string());
    let milliseconds = took.as_millis();
    let verb = call.word();
    match &answer {
        Ok(answer) if call.mutates() || matches!(answer, Answer::Image { brought: true, .. }) => {
            info!(milliseconds, cause, "{subject}: {verb} done");
        }
        Ok(_) => debug!(milliseconds, cause, "{subject}: {verb}"),
        Err(Failure::NotFound(_)) if !call.mutates() => {
            debug!(milliseconds, cause, "{subject}: {verb} found nothing");
        }
        Err(failure) => {
            let error = failure.message();
            warn!(milliseconds, cause, error, "{subject}: {verb} failed");
        }
    }
    answer
}
