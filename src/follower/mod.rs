//! Follows the output of runs' containers: into their transcripts, and into what the core is told of them.
//!
//! The core declares whose output is wanted ([`Follower::follow`]); for each container there is one task, until it is told of once
//! ([`Input::RunFollowed`]) or leaves the set. What was read by an earlier process is in the transcript's file: it is read from there,
//! and the engine's output is passed over as far as it is the same. So no byte is lost or doubled, and none is asked for twice that is
//! not on the disk.
//!
//! Whatever goes wrong with the disk or the engine, the core gets its word: an attempt's end never waits for its transcript longer than
//! [`GIVE_UP_AFTER`]; what is missing, and why, is said with it.

mod copy;
mod task;

use std::collections::BTreeMap;
use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::claude::outcome::Fold;
use crate::claude::parser::Noise;
use crate::container::ContainerId;
use crate::controller::effect::FollowRun;
use crate::controller::input::Input;
use crate::docker::Engine;
use crate::resource::ResourceName;
use crate::store::transcripts::{Secrets, Transcripts};
use crate::world::run::{ExitRecord, Followed};

/// After a container's end its output is waited for so long, whatever the engine does: it closes its copy of the output within ten
/// seconds, and an attempt's record must not wait for one that does not.
pub const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// When everything stops: a batch that is being written is done in milliseconds, on a disk that works.
const STOPS_WITHIN: Duration = Duration::from_secs(2);

/// The secrets that a channel's containers were given. Blocks.
pub type SecretsOf = Arc<dyn Fn(&ResourceName) -> Secrets + Send + Sync>;
/// What a container's init wrote down. Blocks.
pub type ExitOf = Arc<dyn Fn(&FollowRun) -> Option<ExitRecord> + Send + Sync>;

/// What following is done with.
#[derive(Clone)]
pub struct Means<E> {
    /// Whose containers they are.
    pub engine: E,
    /// Where it goes.
    pub transcripts: Transcripts,
    /// Who is told.
    pub inputs: mpsc::Sender<Input>,
    /// What is masked.
    pub secrets: SecretsOf,
    /// The other evidence of an end.
    pub exit: ExitOf,
}

impl<E: fmt::Debug> fmt::Debug for Means<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Means").field("engine", &self.engine).finish_non_exhaustive()
    }
}

/// All that is followed.
#[derive(Debug)]
pub struct Follower<E> {
    means: Means<E>,
    tasks: JoinSet<()>,
    // One that has been told of stays until it leaves the set: it is not to be told of twice.
    followed: BTreeMap<ContainerId, Known>,
}

#[derive(Debug)]
struct Known {
    ended: watch::Sender<bool>,
    stop: CancellationToken,
}

impl Drop for Known {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl<E: Engine> Follower<E> {
    /// Follows nothing yet.
    pub fn new(means: Means<E>) -> Self {
        Self { means, tasks: JoinSet::new(), followed: BTreeMap::new() }
    }

    /// Follows these, and no others, from now on.
    pub fn follow(&mut self, wanted: &BTreeMap<ContainerId, FollowRun>) {
        while self.tasks.try_join_next().is_some() {}
        self.followed.retain(|id, _| wanted.contains_key(id));
        for (id, run) in wanted {
            if let Some(known) = self.followed.get(id) {
                known
                    .ended
                    .send_if_modified(|ended| std::mem::replace(ended, run.ended) != run.ended);
                continue;
            }
            let (ended, is_ended) = watch::channel(run.ended);
            let stop = CancellationToken::new();
            self.followed.insert(id.clone(), Known { ended, stop: stop.clone() });
            self.tasks.spawn(follow_one(
                self.means.clone(),
                id.clone(),
                run.clone(),
                is_ended,
                stop,
            ));
        }
    }

    /// Stops all of it; what was read is in the files.
    pub async fn stop(mut self) {
        self.followed.clear();
        let all = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(STOPS_WITHIN, all).await.is_err() {
            tracing::warn!("a transcript's disk hangs: it is left as it is");
        }
    }
}

async fn follow_one<E: Engine>(
    means: Means<E>,
    id: ContainerId,
    run: FollowRun,
    ended: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let inputs = means.inputs.clone();
    let name = run.run.name.clone();
    let following = task::Task::new(means, id.clone(), run, ended, stop.clone()).run();
    // A defect here must not leave a run without an end.
    let followed = match AssertUnwindSafe(following).catch_unwind().await {
        Ok(None) => return,
        Ok(Some(followed)) => followed,
        Err(_panic) => {
            tracing::error!(run = %name, "following its output panicked; what it did is not known");
            unknown()
        }
    };
    let told = inputs.send(Input::RunFollowed { id, followed: Box::new(followed) });
    tokio::select! {
        // Without a core there is nobody to tell.
        _ = told => {}
        () = stop.cancelled() => {}
    }
}

/// Nothing is known, and everything may have been done.
fn unknown() -> Followed {
    Followed {
        fold: Fold::new(),
        noise: Noise { may_hide_tool_use: true, ..Noise::default() },
        stderr: String::new(),
        transcript: None,
        exit: None,
    }
}
