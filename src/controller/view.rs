//! What the faces see: one snapshot of everything, made by the core, read by all.
//!
//! No face reaches into the world; what it shows, it takes from here. Channels are shared between snapshots, so that
//! publishing costs what changed.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;

use super::stats::Stats;
use crate::container::{ContainerId, ContainerName, ContainerState};
use crate::resource::condition::Condition;
use crate::resource::effective::Effective;
use crate::resource::{ResourceName, SourceRef};
use crate::world::image::ImageWork;
use crate::world::record::{EventRecord, Override};
use crate::world::run::{Phase, RunProgress, RunRecord, TotalKey};

/// Everything, at one instant.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// Counts snapshots; watchers resume from it.
    pub version: u64,
    /// When it was made.
    pub at: Timestamp,
    /// The instance.
    pub instance: String,
    /// The spec directory.
    pub specs: SpecsView,
    /// The engine.
    pub engine: EngineView,
    /// Channels by name, those on their way out among them.
    pub channels: BTreeMap<ResourceName, Arc<ChannelView>>,
    /// Runs, the newest record of each name; those whose file is not admitted yet among them.
    pub runs: BTreeMap<ResourceName, Arc<RunView>>,
    /// What is counted of runs, for the metrics: it outlives the process and the records.
    pub totals: Arc<BTreeMap<TotalKey, f64>>,
    /// Labelled with our instance, but not ours by name: never touched.
    pub impostors: Vec<ContainerName>,
    /// The newest events, oldest first.
    pub events: Arc<Vec<EventRecord>>,
    /// Is everything there that actions need? The reason when not.
    pub blocked: Option<String>,
    /// Figures for the metrics.
    pub stats: Stats,
}

/// The spec directory as last scanned.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecsView {
    /// Git's short commit or the link's target.
    pub revision: Option<String>,
    /// When a complete scan last succeeded.
    pub scanned_at: Option<Timestamp>,
    /// Why it cannot be read now.
    pub unavailable: Option<String>,
    /// Files read well.
    pub files_ok: usize,
    /// Files whose last good content counts, each with why: `file:line: message`.
    pub invalid: BTreeMap<String, String>,
    /// Channels whose removal waits for a person.
    pub held: Vec<String>,
    /// What `chanop prune --confirm` must name to release them.
    pub hold_revision: Option<String>,
    /// Channels that other hosts take.
    pub not_for_this_host: usize,
    /// Kinds of objects that were read but that this version does not act on yet.
    pub classes: Vec<String>,
}

/// The engine as last seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineView {
    /// Does it answer, and is its state known?
    pub live: bool,
    /// Why not.
    pub error: Option<String>,
    /// Its version.
    pub version: String,
    /// The API version in use.
    pub api_version: String,
    /// Its ID.
    pub id: String,
}

/// One channel.
#[derive(Debug, Clone, PartialEq)]
pub struct ChannelView {
    /// Its name.
    pub name: ResourceName,
    /// A stable ID: the same for as long as instance and name are.
    pub uid: String,
    /// Counts the meaningful changes of its spec.
    pub generation: i64,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Where it is written; `None` once the file is gone.
    pub source: Option<SourceRef>,
    /// The spec that counts, class merged in; `None` when none could be made.
    pub effective: Option<Arc<Effective>>,
    /// Which fields came from where, by path.
    pub origins: Arc<BTreeMap<String, String>>,
    /// `True`, `False` or `Unknown`, with reasons.
    pub conditions: Vec<Condition>,
    /// Ready's answer.
    pub ready: bool,
    /// One word for the table: `Running`, or why not.
    pub status: String,
    /// Ready's sentence.
    pub message: String,
    /// Its shell container.
    pub container: Option<ContainerView>,
    /// Its image, while that is being pulled or built.
    pub image_work: Option<ImageWork>,
    /// What is wanted and waits.
    pub pending: Option<PendingView>,
    /// Set by hand against the file.
    pub overridden: Option<Override>,
    /// How often its process ended by itself lately.
    pub restarts: u32,
    /// What is being done right now, one word.
    pub in_flight: Option<&'static str>,
    /// When the core looks again by itself.
    pub next_look: Option<Timestamp>,
}

/// A channel's shell container.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerView {
    /// Its ID.
    pub id: ContainerId,
    /// Its name.
    pub name: ContainerName,
    /// Its state, in the engine's word.
    pub state: ContainerState,
    /// The image's reference.
    pub image: String,
    /// The image's ID; empty while it is not known.
    pub image_id: String,
    /// The image's digest in its registry, where the operator pulled it.
    pub image_digest: Option<String>,
    /// When it was made.
    pub created: Timestamp,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub struct RunView {
    /// Its name.
    pub name: ResourceName,
    /// Its channel.
    pub channel: ResourceName,
    /// Its file, while it is there.
    pub source: Option<SourceRef>,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// What is kept of it; `None` while it is not admitted.
    pub record: Option<Arc<RunRecord>>,
    /// What became of it, or how far it is.
    pub phase: Phase,
    /// One word: why it is not further, or the outcome's class.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// How many runs of the channel are before it, while it waits for its turn.
    pub ahead: Option<usize>,
    /// The container of its last attempt, while there is one.
    pub container: Option<ContainerId>,
    /// When the process of the open attempt began.
    pub running_since: Option<Timestamp>,
    /// How far the open attempt is.
    pub progress: Option<RunProgress>,
    /// What is wrong with its file, which does not change what was admitted.
    pub source_trouble: Option<String>,
}

impl RunView {
    /// The number of its last attempt.
    pub fn attempt(&self) -> Option<u32> {
        self.record.as_ref()?.attempts.last().map(|attempt| attempt.number)
    }
}

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PendingView {
    /// `recreate`, `stop`, `remove`, `update`.
    pub action: String,
    /// Why: `image a → b`.
    pub cause: String,
    /// For what it waits.
    pub waits: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is done all the same.
    pub forced_at: Option<Timestamp>,
}
