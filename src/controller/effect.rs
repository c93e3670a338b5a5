//! Everything that the core can ask for.
//!
//! `Call` and `Commit` get exactly one answer each. The others are declarative: the newest counts, and none is answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::input::Seq;
use super::request::Reply;
use super::view::View;
use crate::container::config::Limits;
use crate::container::{ContainerId, ContainerName};
use crate::resource::effective::Build;
use crate::resource::text::RelativePath;
use crate::resource::{ObjectRef, ResourceName};
use crate::world::desired::Target;
use crate::world::facts::FactsWanted;
use crate::world::image::{ImageSource, WantedImage};
use crate::world::ownership::Claim;
use crate::world::preparation::RunPlace;
use crate::world::record::Write;
use crate::world::run::{RunId, RunTarget};

/// Something to be done.
#[derive(Debug, Clone)]
pub enum Effect {
    /// A call to the engine or the host. Answered once.
    Call {
        /// To answer by.
        seq: Seq,
        /// For which channel or run, for logs; `None`: for all.
        subject: Option<ObjectRef>,
        /// What.
        call: Call,
        /// After so long it is given up, and its outcome is unknown.
        timeout: Duration,
        /// Why, for logs.
        cause: String,
        /// How long it waited for its lane.
        waited: Duration,
    },
    /// Writes to the store, all or none. Answered once they are durable.
    Commit {
        /// To answer by.
        seq: Seq,
        /// What.
        writes: Vec<Write>,
    },
    /// Follow the engine's events from then on, instead of whatever stream is open.
    Follow {
        /// Comes back with each of its words.
        epoch: Seq,
        /// From when on.
        since: Timestamp,
    },
    /// Follow the output of these containers, and of no others. Each is told of once, when it has ended.
    FollowRuns(Arc<BTreeMap<ContainerId, FollowRun>>),
    /// Look at the spec directory now.
    Scan,
    /// Wake the core at this time, and not at any earlier one asked for.
    WakeAt(Duration),
    /// What the faces see from now on.
    Publish(Arc<View>),
    /// The answer to a request.
    Reply {
        /// The request's.
        id: u64,
        /// What.
        reply: Reply,
    },
    /// The operator cannot go on: the reason, and what to do.
    Fatal(String),
}

/// Whose output is followed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowRun {
    /// The run.
    pub run: RunId,
    /// Its channel.
    pub channel: ResourceName,
    /// The attempt's number.
    pub attempt: u32,
    /// It has ended: what its output still has is soon there, or never.
    pub ended: bool,
}

/// Whose secrets are removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretsOf {
    /// Of these channels.
    These(BTreeSet<ResourceName>),
    /// Of all that have any, but these.
    AllBut(BTreeSet<ResourceName>),
}

/// A call.
#[derive(Debug, Clone, PartialEq)]
pub enum Call {
    /// Is the engine there?
    Ping,
    /// Who is the engine?
    Info,
    /// Read whose the instance is; make the anchor where there is none, or where our own earlier process left it.
    Anchor(Arc<Claim>),
    /// Make the instance's network, if it is not there, and only once.
    Network,
    /// All containers with our label.
    List,
    /// One container.
    Inspect(ContainerId),
    /// One container by name.
    InspectName(ContainerName),
    /// Prepare the host, then make the container.
    Create {
        /// Its name.
        name: ContainerName,
        /// What from.
        target: Arc<Target>,
    },
    /// Prepare the host for a run's attempt, make its container, and copy its files in.
    CreateRun {
        /// Its name.
        name: ContainerName,
        /// What from.
        target: Arc<RunTarget>,
    },
    /// Read the prompt of a run, beneath the spec directory.
    ReadPrompt(RelativePath),
    /// Prepare the host again (its memory may have been emptied by a reboot), then start it.
    Start {
        /// Which.
        id: ContainerId,
        /// What it is made from.
        target: Option<Arc<Target>>,
    },
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
        /// Kill it first.
        force: bool,
        /// Of a run's: what the host has for the attempt goes with it.
        place: Option<RunPlace>,
    },
    /// Change limits in place.
    Update {
        /// Which.
        id: ContainerId,
        /// To what.
        limits: Limits,
    },
    /// Is an image there?
    LookForImage(WantedImage),
    /// Pull or build an image. Tells how far it is meanwhile.
    BringImage(WantedImage),
    /// Remove the tags of the images that were built for a channel that is gone. A conflict while a container uses one.
    UntagBuilds {
        /// The channel's own repository.
        repository: String,
        /// References that another channel names.
        keep: BTreeSet<String>,
    },
    /// Look at the host; not at what images are built from.
    Probe(Arc<FactsWanted>),
    /// Look at what images are built from.
    Contexts(BTreeSet<Build>),
    /// Remove the secrets, and the copies of files, that channels without containers have on the host.
    RemoveSecrets {
        /// Of which channels.
        of: SecretsOf,
        /// What was written since stays: a new channel of the name may have it.
        before: Timestamp,
    },
    /// Compare what these channels' running shells have mounted with what the host has by the same names.
    CheckMounts(BTreeSet<ResourceName>),
}

impl Call {
    /// One word for logs and metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Ping => "ping",
            Self::Info => "info",
            Self::Anchor(_) => "anchor",
            Self::Network => "network",
            Self::List => "list",
            Self::Inspect(_) | Self::InspectName(_) => "inspect",
            Self::Create { .. } | Self::CreateRun { .. } => "create",
            Self::ReadPrompt(_) => "prompt",
            Self::Start { .. } => "start",
            Self::Stop { .. } => "stop",
            Self::Remove { .. } => "remove",
            Self::Update { .. } => "update",
            Self::LookForImage(_) => "image",
            Self::BringImage(WantedImage { source: ImageSource::Registry(_), .. }) => "pull",
            Self::BringImage(WantedImage { source: ImageSource::Build(_), .. }) => "build",
            Self::UntagBuilds { .. } => "untag",
            Self::Probe(_) => "probe",
            Self::Contexts(_) => "contexts",
            Self::CheckMounts(_) => "mounts",
            Self::RemoveSecrets { .. } => "secrets",
        }
    }

    /// Does it change a container?
    pub const fn mutates(&self) -> bool {
        matches!(
            self,
            Self::Create { .. }
                | Self::CreateRun { .. }
                | Self::Start { .. }
                | Self::Stop { .. }
                | Self::Remove { .. }
                | Self::Update { .. }
        )
    }
}
