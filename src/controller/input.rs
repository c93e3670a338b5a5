//! Everything that can happen to the core.

use std::collections::{BTreeMap, BTreeSet};

use super::request::Request;
use crate::container::{ContainerId, Snapshot};
use crate::resource::condition::Reason;
use crate::resource::effective::Build;
use crate::resource::{ObjectRef, ResourceName};
use crate::world::facts::{BuildFact, Facts};
use crate::world::image::ImageProgress;
use crate::world::mounted::MountChange;
use crate::world::ownership::Holder;
use crate::world::run::{Followed, RunProgress};
use crate::world::scan::RawScan;

/// Ties an answer to the effect that asked for it.
pub type Seq = u64;

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// The spec directory was looked at.
    Scanned(RawScan),
    /// A call was answered, or given up on.
    Answered {
        /// Of the effect.
        seq: Seq,
        /// What came.
        answer: Result<Answer, Failure>,
    },
    /// A call that takes long is so far.
    Progressed {
        /// Of the effect.
        seq: Seq,
        /// How far.
        progress: ImageProgress,
    },
    /// Writes are durable, or not.
    Committed {
        /// Of the effect.
        seq: Seq,
        /// Why not.
        result: Result<(), String>,
    },
    /// The output of a run's container is so far.
    RunProgressed {
        /// Which.
        id: ContainerId,
        /// How far.
        progress: RunProgress,
    },
    /// The output of a run's container is all there, or all that there will be. Once.
    RunFollowed {
        /// Which.
        id: ContainerId,
        /// All of it.
        followed: Box<Followed>,
    },
    /// The event stream says something.
    Stream {
        /// Of the effect that opened it: an older stream's words do not count.
        epoch: Seq,
        /// What.
        event: StreamEvent,
    },
    /// Somebody asks something.
    Requested {
        /// To answer by.
        id: u64,
        /// What.
        request: Request,
    },
    /// The time that was asked for has come.
    Tick,
    /// Begin nothing more.
    Shutdown,
}

/// What the event stream says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamEvent {
    /// It is open.
    Opened,
    /// Something happened to a container that carries our label.
    Container(Doorbell),
    /// It ended; why.
    Ended(String),
}

/// Look again at this container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doorbell {
    /// Which.
    pub id: ContainerId,
    /// The channel or run that its labels name.
    pub object: Option<ObjectRef>,
    /// Docker's word.
    pub action: String,
    /// `die`'s code.
    pub exit_code: Option<i64>,
    /// By the engine's clock, in nanoseconds.
    pub time_nano: i64,
}

/// What a call brought.
#[derive(Debug)]
pub enum Answer {
    /// The engine is there.
    Pong,
    /// Who the engine is.
    Engine(EngineFacts),
    /// Who holds the instance on this engine, as the anchor says.
    Anchor(Holder),
    /// The instance's network is there, once.
    NetworkReady,
    /// Every container with our label.
    Listed(Vec<Snapshot>),
    /// One container; its list of exec sessions has only those that run.
    Inspected(Box<Snapshot>),
    /// A container was made.
    Created(ContainerId),
    /// A run's container was made, and something in the channel's home was put right before: each in a sentence.
    CreatedWithNotes(ContainerId, Vec<String>),
    /// A run's prompt.
    Prompt(String),
    /// What was asked is so.
    Done,
    /// A run's container is not there any more, nor what its attempt had on the host.
    RunRemoved {
        /// This call removed it, and its init had written down nothing: its command was never started.
        unstarted: bool,
    },
    /// The image is there.
    Image {
        /// `sha256:…`.
        id: String,
        /// `name@sha256:…`, where it came from a registry.
        digest: Option<String>,
        /// The paths that it declares as volumes.
        volumes: BTreeSet<String>,
        /// Was it pulled or built by this call?
        brought: bool,
    },
    /// There is no such image.
    NoImage,
    /// The images that were built for a channel have lost their tags.
    Untagged {
        /// But for these, which another channel names.
        kept: Vec<String>,
    },
    /// What images are built from.
    Contexts(BTreeMap<Build, BuildFact>),
    /// What the host was seen to be.
    Facts(Facts),
    /// How mounts of running shells differ from the host: every channel that was asked about.
    MountChanges(BTreeMap<ResourceName, Vec<MountChange>>),
}

/// What the core wants to know of an engine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct EngineFacts {
    /// Its ID.
    pub id: String,
    /// Its version.
    pub version: String,
    /// The API version in use.
    pub api_version: String,
    /// The runtime of a container that names none.
    pub default_runtime: String,
    /// How many CPUs it has: starts are CPU work.
    pub cpus: usize,
    /// Can it limit swap?
    pub limits_swap: bool,
    /// Does it remap user IDs (`userns-remap`)? Then no container can use the owner's files.
    pub remaps_users: bool,
}

/// Why a call did not bring what was asked, sorted by what the core does about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// There is no such thing.
    NotFound(String),
    /// The name is taken.
    NameTaken(String),
    /// Its state does not allow it now.
    Conflict(String),
    /// It will not work until something changes; the reason in a word and a sentence.
    Refused(Reason, String),
    /// The engine failed at this one, and perhaps not before it was done.
    Failed(Reason, String),
    /// The engine's disk is full.
    NoSpace(String),
    /// It may have happened, or may yet: read before anything else.
    Unknown(String),
    /// The engine could not be reached; nothing happened.
    Unreachable(String),
}

impl Failure {
    /// In words.
    pub fn message(&self) -> &str {
        match self {
            Self::NotFound(text)
            | Self::NameTaken(text)
            | Self::Conflict(text)
            | Self::Refused(_, text)
            | Self::Failed(_, text)
            | Self::NoSpace(text)
            | Self::Unknown(text)
            | Self::Unreachable(text) => text,
        }
    }
}
