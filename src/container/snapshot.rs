//! What the engine said of a container, once.
//!
//! A list gives little and may lag behind exits; an inspect gives all and does not. Both become a [`Snapshot`]; only an
//! inspect has [`Details`].

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::config::{ContainerConfig, Limits};
use super::name::{ContainerId, ContainerName};

/// The state of a container, in the engine's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContainerState {
    /// Made, never started, or its start failed.
    Created,
    /// Its process runs.
    Running,
    /// Frozen by a person.
    Paused,
    /// The engine restarts it: somebody set a restart policy.
    Restarting,
    /// On its way out.
    Removing,
    /// Its process ended.
    Exited,
    /// Half removed.
    Dead,
    /// A word that this version does not know.
    Unknown,
}

impl ContainerState {
    /// Is a process of it alive, or about to be?
    pub const fn is_live(self) -> bool {
        matches!(self, Self::Running | Self::Paused | Self::Restarting)
    }

    /// The engine's word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Restarting => "restarting",
            Self::Removing => "removing",
            Self::Exited => "exited",
            Self::Dead => "dead",
            Self::Unknown => "unknown",
        }
    }

    /// Parses the engine's word; Podman's own are taken for their nearest kin.
    pub fn parse(word: &str) -> Self {
        match word {
            "created" | "initialized" | "configured" => Self::Created,
            "running" => Self::Running,
            "paused" => Self::Paused,
            "restarting" => Self::Restarting,
            "removing" | "stopping" => Self::Removing,
            "exited" | "stopped" => Self::Exited,
            "dead" => Self::Dead,
            _ => Self::Unknown,
        }
    }
}

/// One container as the engine reported it.
#[derive(Debug, Clone, PartialEq)]
pub struct Snapshot {
    /// Its full ID.
    pub id: ContainerId,
    /// Its name, without a slash.
    pub name: ContainerName,
    /// All its labels, its image's among them.
    pub labels: BTreeMap<String, String>,
    /// Its state.
    pub state: ContainerState,
    /// When it was made.
    pub created: Timestamp,
    /// The ID of the image that it was made from; empty where the answer did not say.
    pub image_id: String,
    /// The names of the networks that it is connected to; `None` where the answer did not say.
    pub networks: Option<BTreeSet<String>>,
    /// The IDs of its connections to them, while it runs: a connection that was made anew has another ID.
    pub endpoints: BTreeSet<String>,
    /// The host paths that it has mounted.
    pub binds: Vec<HostBind>,
    /// The host's ports that it publishes; a list knows them only of a container that runs.
    pub host_ports: BTreeSet<u16>,
    /// What only an inspect tells.
    pub details: Option<Box<Details>>,
}

/// A host path that a container has mounted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostBind {
    /// Absolute, on the host.
    pub source: String,
    /// Can the container write it?
    pub writable: bool,
}

/// What only an inspect tells.
#[derive(Debug, Clone, PartialEq)]
pub struct Details {
    /// When its process last began; `None`: never. Of a process that ended at once, some engines write this down after
    /// the end, so it may lie after `finished_at`.
    pub started_at: Option<Timestamp>,
    /// When its process last ended; `None`: never.
    pub finished_at: Option<Timestamp>,
    /// Of the last process.
    pub exit_code: i64,
    /// Did the kernel kill it for memory?
    pub oom_killed: bool,
    /// Why the last start failed; empty when it did not.
    pub error: String,
    /// On the host; 0 when none.
    pub pid: i64,
    /// How often the engine restarted it by itself.
    pub restart_count: i64,
    /// `no`, unless somebody changed it; empty counts as `no`.
    pub restart_policy: String,
    /// What can be changed in place, as it is now.
    pub limits: Limits,
    /// Bytes of memory and swap together, as Docker counts them; -1: unlimited swap.
    pub memory_swap_bytes: i64,
    /// What `docker update` and `docker network connect` can set and chanop never does: each setting that is not at its
    /// default, by its flag's name, with its value.
    pub set_by_hand: BTreeMap<&'static str, String>,
    /// The configuration as the engine reports it: environment and labels include the image's.
    pub config: ContainerConfig,
    /// The paths that the image declares as volumes: the engine makes a new, empty volume of each for every container.
    pub image_volumes: BTreeSet<String>,
    /// Exec sessions that the engine knows of, ended ones perhaps among them.
    pub exec_ids: Vec<String>,
}

impl Details {
    /// Did somebody give it a restart policy?
    pub fn has_restart_policy(&self) -> bool {
        !matches!(self.restart_policy.as_str(), "" | "no")
    }
}
