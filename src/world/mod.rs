//! The state the core decides from: what is desired, what is observed, what the host is like, what was overridden.
//!
//! One writer, the controller; everyone else reads. Nothing here reads a clock or does I/O.

pub mod admission;
pub mod desired;
pub mod environment;
pub mod facts;
pub mod image;
pub mod mounted;
pub mod observed;
pub mod ownership;
pub mod preparation;
pub mod record;
pub mod run;
pub mod runtime;
pub mod scan;
pub mod worktree;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::Timestamp;

use crate::container::ContainerId;
use crate::container::config::Limits;
use crate::resource::condition::Reason;
use crate::resource::{Now, ObjectRef, Owner, ResourceName};
use desired::Desired;
use image::Images;
use mounted::{MountChanges, Remounts};
use observed::Observed;
use preparation::HostPaths;
use record::{InventoryRow, Override};
use run::Runs;

/// What the operator was told at its start; it never changes.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Whose containers are ours.
    pub instance: ResourceName,
    /// Whose home `~` is, and whose uid containers run as.
    pub owner: Owner,
    /// Matched against `hostSelector`. Empty: this host takes every channel.
    pub host_labels: BTreeMap<String, String>,
    /// Directories that no container may see: state, specs, secrets, policy, sockets.
    pub protected: Vec<String>,
    /// What every container's environment has: `TZ`, proxies.
    pub environment: Vec<String>,
    /// Where homes, secrets and what `chanop-init` brings lie on the host.
    pub paths: HostPaths,
    /// The CLI on the host that is mounted where a channel says `agent.cli: Inject`.
    pub agent_cli: Option<String>,
    /// `--runtime-class`: runtimes that specs may name besides the engine's default.
    pub runtime_classes: BTreeSet<String>,
    /// Ports of this host that the operator itself listens on: no channel publishes them.
    pub own_ports: BTreeSet<u16>,
    /// Two scans so far apart must miss an object before it counts as gone.
    pub prune_delay: Duration,
    /// A container of ours that nothing explains is left alone for so long.
    pub stray_grace: Duration,
    /// So many runs at once on this host, whatever channels allow.
    pub max_runs: u32,
    /// Which process this is: it alone sends the starts that it permitted.
    pub process: uuid::Uuid,
    /// Where its state is, which tells it from an operator on a copy.
    pub state_place: ownership::StatePlace,
}

/// Everything the planner may look at.
#[derive(Debug, Clone)]
pub struct World {
    /// From the start.
    pub settings: Settings,
    /// What the files want.
    pub desired: Desired,
    /// What the engine has.
    pub observed: Observed,
    /// What we believe exists, and what is kept of it for its end.
    pub inventory: BTreeMap<ObjectRef, InventoryRow>,
    /// What people set against the files.
    pub overrides: BTreeMap<ObjectRef, Override>,
    /// The limits last given to each container.
    pub applied: BTreeMap<ContainerId, Limits>,
    /// What last went wrong with a channel, until something goes right.
    pub troubles: BTreeMap<ResourceName, Trouble>,
    /// Channels whose process ended by itself.
    pub crashes: BTreeMap<ResourceName, Crashes>,
    /// Fields in which the engine reports a fresh container otherwise than it was asked for; recreating would not help.
    pub unreadable_drift: BTreeMap<ResourceName, Vec<&'static str>>,
    /// Containers whose start failed for what they were made with: only another one can start.
    pub unstartable: BTreeMap<ResourceName, ContainerId>,
    /// Can the engine limit swap? Where its kernel cannot, every container reports unlimited swap.
    pub engine_limits_swap: bool,
    /// Running shells whose mounts are not what the host has by the same names.
    pub mount_changes: BTreeMap<ResourceName, MountChanges>,
    /// Shells that were restarted for that.
    pub remounts: BTreeMap<ResourceName, Remounts>,
    /// Is the instance's own network there?
    pub network_ready: bool,
    /// Why it could not be made, and when that is tried again. It may have failed though the network was ready before.
    pub network_failure: Option<Trouble>,
    /// What is known of images.
    pub images: Images,
    /// Every run that is known.
    pub runs: Runs,
}

impl World {
    /// A world that knows nothing yet.
    pub fn new(settings: Settings) -> Self {
        let HostPaths { state, secrets } = settings.paths.clone();
        let observed = Observed::new(vec![state, secrets]);
        Self {
            settings,
            desired: Desired::default(),
            observed,
            inventory: BTreeMap::new(),
            overrides: BTreeMap::new(),
            applied: BTreeMap::new(),
            troubles: BTreeMap::new(),
            crashes: BTreeMap::new(),
            unreadable_drift: BTreeMap::new(),
            unstartable: BTreeMap::new(),
            engine_limits_swap: false,
            mount_changes: BTreeMap::new(),
            remounts: BTreeMap::new(),
            network_ready: false,
            network_failure: None,
            images: Images::new(),
            runs: Runs::default(),
        }
    }

    /// Is the object suspended by hand, now?
    pub fn suspended_by_hand(&self, object: &ObjectRef, now: Now) -> Option<&Override> {
        self.overrides
            .get(object)
            .filter(|set| set.suspend && set.until.is_none_or(|until| now.wall < until))
    }
}

/// Why the last action on a channel failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// In one word.
    pub reason: Reason,
    /// In a sentence.
    pub message: String,
    /// How often in a row, for the same reason.
    pub count: u32,
    /// When it is tried again, unless something changes before.
    pub retry_at: Timestamp,
}

impl Trouble {
    /// What went wrong and when it is tried again, to the second: a condition's text must not change with each look.
    pub fn text(&self) -> String {
        let at = Timestamp::from_second(self.retry_at.as_second()).unwrap_or(self.retry_at);
        format!("{}; tried again at {at}", self.message)
    }
}

/// A process that ended by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Crashes {
    /// How often since it last ran long enough.
    pub count: u32,
    /// Not started again before.
    pub not_before: Duration,
    /// Of the last end.
    pub exit_code: i64,
}
