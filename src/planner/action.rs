//! The planner's words: what is wanted, why, and when to look again.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::mark::Mark;
use crate::container::config::Limits;
use crate::container::{ContainerId, ContainerName};
use crate::resource::condition::{ConditionStatus, Reason};
use crate::world::desired::Target;
use crate::world::image::{ImageSource, WantedImage};

/// One thing to do: each is one call.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Make the container.
    Create {
        /// Its name: the idempotency key.
        name: ContainerName,
        /// What from.
        target: Arc<Target>,
    },
    /// Start it.
    Start(ContainerId),
    /// Stop it.
    Stop {
        /// Which.
        id: ContainerId,
        /// Between TERM and KILL.
        grace_seconds: u32,
    },
    /// Remove it.
    Remove {
        /// Which.
        id: ContainerId,
        /// Also when the engine holds it half dead.
        force: bool,
    },
    /// Change limits in place, and the restart policy back.
    Update {
        /// Which.
        id: ContainerId,
        /// To what.
        limits: Limits,
    },
    /// Find out whether an image is there. One call for all who need it.
    LookForImage(WantedImage),
    /// Pull or build an image. One call for all who need it.
    BringImage(WantedImage),
    /// Look at it: what a list says is not enough to decide.
    Inspect(ContainerId),
    /// Drop what is kept of it: it is gone for good.
    Forget,
}

impl Action {
    /// Is something changed by it that a look must come before?
    pub fn is_read_through(&self) -> Option<&ContainerId> {
        match self {
            Self::Start(id)
            | Self::Stop { id, .. }
            | Self::Remove { id, .. }
            | Self::Update { id, .. } => Some(id),
            Self::Create { .. }
            | Self::LookForImage(_)
            | Self::BringImage(_)
            | Self::Inspect(_)
            | Self::Forget => None,
        }
    }

    /// One word for logs, tables and metrics.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Create { .. } => "create",
            Self::Start(_) => "start",
            Self::Stop { .. } => "stop",
            Self::Remove { .. } => "remove",
            Self::Update { .. } => "update",
            Self::LookForImage(_) => "look",
            Self::BringImage(WantedImage { source: ImageSource::Registry(_), .. }) => "pull",
            Self::BringImage(WantedImage { source: ImageSource::Build(_), .. }) => "build",
            Self::Inspect(_) => "inspect",
            Self::Forget => "forget",
        }
    }
}

/// What is wanted now, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Want {
    /// What.
    pub action: Action,
    /// Why, for people.
    pub cause: String,
}

/// A change that is wanted but waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// `recreate`, `stop`, `remove`.
    pub verb: &'static str,
    /// Why it is wanted.
    pub cause: String,
    /// For what it waits.
    pub waits: String,
    /// The same in a word.
    pub reason: Reason,
    /// When it is done all the same.
    pub forced_at: Option<Timestamp>,
    /// Does the time of this wait count towards its end?
    pub clock: WaitClock,
}

/// What a wait does to the time since when a change waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitClock {
    /// It runs: somebody is in the way, and will be put out in the end.
    Runs,
    /// It stands: what has run so far still counts.
    Stands,
    /// There is none: it waits for a person's deed, or only for the time itself, or nobody is in the way.
    Off,
}

/// When to look again though nothing happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wake {
    /// Only when something changes: converged, or waiting for a person or a file.
    OnChange,
    /// After so long.
    After(Duration),
}

/// What is said of the object: the Ready condition and the `UpToDate` one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Ready?
    pub ready: ConditionStatus,
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
}

/// What should be done for one key.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// The next action; `None`: nothing, now.
    pub want: Option<Want>,
    /// What is said of it.
    pub status: Status,
    /// A change that waits.
    pub pending: Option<Pending>,
    /// When to look again.
    pub wake: Wake,
    /// Is the container to be made anew, when `want` or `pending` speaks of its stop or removal?
    pub recreate: bool,
    /// The branch of recovery that it comes from, if it is one.
    pub mark: Option<Mark>,
}
