//! The JSON shapes of the API: the only ones, and a promise.
//!
//! Kubernetes' `metadata`, `spec` and `status`, so that its clients and habits fit. They are made from the core's snapshot
//! by hand, so that a change inside changes nothing outside by accident. The command line reads the same types.

pub mod run;
mod status;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use self::run::Activity;
use super::spec_view;
use crate::controller::request::{EnsuredShell, PlanReport};
use crate::controller::view::{ChannelView, View};
use crate::resource::meta::API_VERSION;
use crate::world::record::EventRecord;
pub use status::{Status, StatusCause, StatusDetails};

/// The annotation that says where an object was written.
pub const SOURCE_ANNOTATION: &str = "chanop.dev/source";

/// `metadata`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// The same for as long as instance and name are.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Opaque: to watch from.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Counts the meaningful changes of its spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creation_timestamp: Option<Timestamp>,
    /// For selecting.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// The file's, and [`SOURCE_ANNOTATION`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

/// A channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Channel {
    /// The API group and version.
    pub api_version: String,
    /// `Channel`.
    pub kind: String,
    /// Its name and labels.
    pub metadata: Metadata,
    /// The spec that counts, in the files' form: class merged in, defaults filled. `null` when none could be made.
    pub spec: Value,
    /// How it stands.
    pub status: ChannelStatus,
}

/// How a channel stands.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelStatus {
    /// One word: `Running`, or why not.
    pub phase: String,
    /// Ready's sentence.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Of the spec that was last looked at.
    pub observed_generation: i64,
    /// What holds, since when, and why.
    pub conditions: Vec<ConditionStatus>,
    /// Its shell container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub container: Option<Container>,
    /// Its image, while that is being pulled or built.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_work: Option<ImageWork>,
    /// Its runs.
    #[serde(default)]
    pub runs: ChannelRuns,
    /// What is wanted and waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pending: Option<Pending>,
    /// What a person set against the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub r#override: Option<Override>,
    /// How often its process ended by itself lately.
    #[serde(default)]
    pub restarts: u32,
    /// What is being done right now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<String>,
    /// When the operator looks again by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_look: Option<Timestamp>,
    /// Where each field of the spec came from, by path; only when asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<BTreeMap<String, String>>,
}

/// A channel's runs.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelRuns {
    /// Starting or running.
    pub active: usize,
    /// Waiting.
    pub queued: usize,
    /// The one that ended last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastRun>,
    /// Dollars of those that ended within a day; absent when none of them said anything.
    #[serde(default, rename = "dollars24h", skip_serializing_if = "Option::is_none")]
    pub dollars_24h: Option<f64>,
}

/// The run that ended last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LastRun {
    /// Its name.
    pub name: String,
    /// How it ended.
    pub phase: String,
    /// When.
    pub finished_at: Timestamp,
}

/// A condition, in words, so that an older client reads what a newer operator says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionStatus {
    /// Which question.
    #[serde(rename = "type")]
    pub kind: String,
    /// `True`, `False` or `Unknown`.
    pub status: String,
    /// Why, in one stable word.
    pub reason: String,
    /// Why, in a sentence.
    #[serde(default)]
    pub message: String,
    /// The generation that this speaks of.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Container {
    /// All 64 digits.
    pub id: String,
    /// Its name.
    pub name: String,
    /// The engine's word.
    pub state: String,
    /// The image's reference.
    pub image: String,
    /// The image's ID.
    #[serde(default, rename = "imageID", skip_serializing_if = "String::is_empty")]
    pub image_id: String,
    /// The image's digest in its registry, where the operator pulled it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// When it was made.
    pub created_at: Timestamp,
}

/// An image on its way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImageWork {
    /// `pull` or `build`.
    pub verb: String,
    /// Layers, or steps, that are done.
    pub done: u32,
    /// Layers, or steps, that are known of.
    pub total: u32,
    /// Bytes that have come.
    pub bytes: u64,
    /// Bytes of all layers whose size is known.
    pub bytes_total: u64,
}

/// A change that waits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// `recreate`, `stop`, `remove`, `update`.
    pub action: String,
    /// Why.
    pub cause: String,
    /// For what it waits.
    pub waits: String,
    /// Since when.
    pub since: Timestamp,
    /// When it is done all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forced_at: Option<Timestamp>,
}

/// What a person set against the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Override {
    /// Suspended?
    pub suspend: bool,
    /// In the person's words.
    #[serde(default)]
    pub reason: String,
    /// Since when.
    pub since: Timestamp,
    /// Until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A class, as far as this version shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ChannelClass {
    /// The API group and version.
    pub api_version: String,
    /// `ChannelClass`.
    pub kind: String,
    /// Its name.
    pub metadata: Metadata,
    /// Who uses it.
    pub status: ClassStatus,
}

/// Who uses a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ClassStatus {
    /// How many channels.
    pub channels: usize,
}

/// Something worth telling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Event {
    /// The API group and version.
    pub api_version: String,
    /// `Event`.
    pub kind: String,
    /// Its name: the same for as long as object, reason and message are.
    pub metadata: Metadata,
    /// About what: `channel/web`, or `operator`.
    pub regarding: String,
    /// `Normal` or `Warning`.
    #[serde(rename = "type")]
    pub severity: String,
    /// A stable word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often.
    pub count: u64,
    /// First time.
    pub first_timestamp: Timestamp,
    /// Last time.
    pub last_timestamp: Timestamp,
}

/// Several objects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct List<T> {
    /// The API group and version.
    pub api_version: String,
    /// `ChannelList` and so on.
    pub kind: String,
    /// To watch from.
    pub metadata: ListMetadata,
    /// The objects.
    pub items: Vec<T>,
}

/// `metadata` of a list.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListMetadata {
    /// Opaque: to watch from.
    #[serde(default)]
    pub resource_version: String,
}

/// One line of a watch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WatchEvent<T> {
    /// `ADDED`, `MODIFIED`, `DELETED`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The object, as a table of one row when tables were asked for.
    pub object: T,
}

/// The answer to `ensure`: where the running shell is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Ensured {
    /// The container.
    pub container_id: String,
    /// Where its engine listens.
    pub engine_endpoint: String,
    /// Which engine that is.
    pub engine_id: String,
}

/// How to call the agent in a running shell.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AgentStart {
    /// Where.
    #[serde(flatten)]
    pub shell: Ensured,
    /// Program and arguments.
    pub argv: Vec<String>,
    /// More for its environment.
    pub env: BTreeMap<String, String>,
    /// What a person should know, each in a sentence.
    pub notes: Vec<String>,
}

impl Ensured {
    pub(super) fn new(shell: EnsuredShell, engine_endpoint: &str) -> Self {
        Self {
            container_id: shell.container_id.to_string(),
            engine_endpoint: engine_endpoint.to_owned(),
            engine_id: shell.engine_id,
        }
    }
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Plan {
    /// The API group and version.
    pub api_version: String,
    /// `Plan`.
    pub kind: String,
    /// The spec revision.
    pub revision: String,
    /// The engine's version; absent when it does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<String>,
    /// Everything that is not as it should be.
    pub lines: Vec<PlanLine>,
    /// How many are as they should be.
    pub unchanged: usize,
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanLine {
    /// `+`, `~`, `-/+`, `-` or `!`.
    pub sign: String,
    /// `channel/web`.
    pub object: String,
    /// `create`, `update`, `recreate`, `start`, `stop`, `remove`, `held`.
    pub verb: String,
    /// Why.
    pub cause: String,
    /// When, or for what it waits; empty: now.
    #[serde(default)]
    pub when: String,
    /// Does it wait?
    #[serde(default)]
    pub waiting: bool,
}

impl From<PlanReport> for Plan {
    fn from(report: PlanReport) -> Self {
        let line = |it: crate::controller::request::PlanLine| PlanLine {
            sign: it.sign.as_str().to_owned(),
            object: it.object,
            verb: it.verb,
            cause: it.cause,
            when: it.when,
            waiting: it.waiting,
        };
        Self {
            api_version: API_VERSION.to_owned(),
            kind: "Plan".to_owned(),
            revision: report.revision,
            engine: report.engine,
            lines: report.lines.into_iter().map(line).collect(),
            unchanged: report.unchanged,
        }
    }
}

/// The operator itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OperatorStatus {
    /// The API group and version.
    pub api_version: String,
    /// `OperatorStatus`.
    pub kind: String,
    /// Of chanop.
    pub version: String,
    /// The instance.
    pub instance: String,
    /// Why nothing is done; `None` when all is there that actions need.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub blocked: Option<String>,
    /// The spec directory.
    pub specs: SpecsStatus,
    /// The engine.
    pub engine: EngineStatus,
    /// Containers with our label that are not ours by name.
    #[serde(default)]
    pub foreign: Vec<String>,
}

/// The spec directory as last scanned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SpecsStatus {
    /// Git's short commit or the link's target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// When it was last read completely.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scanned_at: Option<Timestamp>,
    /// Why it cannot be read now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unavailable: Option<String>,
    /// Files read well.
    pub files_ok: usize,
    /// Files whose last good content counts, each with why.
    pub invalid: BTreeMap<String, String>,
    /// Channels whose removal waits for a person.
    pub held: Vec<String>,
    /// What `chanop prune --confirm` must name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_revision: Option<String>,
    /// Channels that other hosts take.
    pub not_for_this_host: usize,
}

/// The engine as last seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EngineStatus {
    /// Does it answer?
    pub live: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Its version.
    pub version: String,
    /// The API version in use.
    pub api_version: String,
    /// Its ID.
    pub id: String,
    /// Where it listens.
    pub endpoint: String,
}

pub(super) fn channel(
    it: &ChannelView,
    runs: &Activity,
    version: &str,
    with_origins: bool,
) -> Channel {
    Channel {
        api_version: API_VERSION.to_owned(),
        kind: "Channel".to_owned(),
        metadata: channel_metadata(it, version),
        spec: it.effective.as_deref().map_or(Value::Null, spec_view::spec),
        status: ChannelStatus {
            phase: it.status.clone(),
            message: it.message.clone(),
            observed_generation: it.generation,
            conditions: it.conditions.iter().map(condition).collect(),
            container: it.container.as_ref().map(|it| Container {
                id: it.id.to_string(),
                name: it.name.to_string(),
                state: it.state.as_str().to_owned(),
                image: it.image.clone(),
                image_id: it.image_id.clone(),
                image_digest: it.image_digest.clone(),
                created_at: it.created,
            }),
            image_work: it.image_work.as_ref().map(|it| ImageWork {
                verb: it.kind.as_str().to_owned(),
                done: it.progress.done,
                total: it.progress.total,
                bytes: it.progress.bytes,
                bytes_total: it.progress.bytes_total,
            }),
            runs: ChannelRuns {
                active: runs.active,
                queued: runs.queued,
                last: runs.last.as_ref().map(|(name, phase, at)| LastRun {
                    name: name.to_string(),
                    phase: phase.to_string(),
                    finished_at: *at,
                }),
                dollars_24h: runs.dollars,
            },
            pending: it.pending.as_ref().map(|it| Pending {
                action: it.action.clone(),
                cause: it.cause.clone(),
                waits: it.waits.clone(),
                since: it.since,
                forced_at: it.forced_at,
            }),
            r#override: it.overridden.as_ref().map(|it| Override {
                suspend: it.suspend,
                reason: it.reason.clone(),
                since: it.since,
                until: it.until,
            }),
            restarts: it.restarts,
            in_flight: it.in_flight.map(str::to_owned),
            next_look: it.next_look,
            origins: with_origins.then(|| (*it.origins).clone()),
        },
    }
}

pub(super) fn channel_metadata(it: &ChannelView, version: &str) -> Metadata {
    let mut annotations = it.annotations.clone();
    if let Some(source) = &it.source {
        annotations.insert(SOURCE_ANNOTATION.to_owned(), source.to_string());
    }
    Metadata {
        name: it.name.to_string(),
        uid: it.uid.clone(),
        resource_version: version.to_owned(),
        generation: Some(it.generation),
        creation_timestamp: Some(it.created_at),
        labels: it.labels.clone(),
        annotations,
    }
}

fn condition(it: &crate::resource::condition::Condition) -> ConditionStatus {
    ConditionStatus {
        kind: format!("{:?}", it.kind),
        status: it.status.to_string(),
        reason: it.reason.as_str(),
        message: it.message.clone(),
        observed_generation: it.observed_generation,
        last_transition_time: it.last_transition_time,
    }
}

pub(super) fn class(name: &str, channels: usize, version: &str) -> ChannelClass {
    ChannelClass {
        api_version: API_VERSION.to_owned(),
        kind: "ChannelClass".to_owned(),
        metadata: Metadata {
            name: name.to_owned(),
            resource_version: version.to_owned(),
            ..Metadata::default()
        },
        status: ClassStatus { channels },
    }
}

pub(super) fn event(it: &EventRecord, version: &str) -> Event {
    Event {
        api_version: API_VERSION.to_owned(),
        kind: "Event".to_owned(),
        metadata: Metadata {
            name: event_name(it),
            resource_version: version.to_owned(),
            creation_timestamp: Some(it.first),
            ..Metadata::default()
        },
        regarding: it.object.clone(),
        severity: severity(it).to_owned(),
        reason: it.reason.clone(),
        message: it.message.clone(),
        count: it.count,
        first_timestamp: it.first,
        last_timestamp: it.last,
    }
}

pub(super) const fn severity(it: &EventRecord) -> &'static str {
    if it.warning { "Warning" } else { "Normal" }
}

/// Object, then what it is about, in a name that Kubernetes' clients take.
pub(super) fn event_name(it: &EventRecord) -> String {
    let digest = Sha256::new()
        .chain_update(it.object.as_bytes())
        .chain_update([0])
        .chain_update(it.reason.as_bytes())
        .chain_update([0])
        .chain_update(it.message.as_bytes())
        .finalize();
    let tail: u64 = digest.iter().take(8).fold(0, |sum, byte| (sum << 8) | u64::from(*byte));
    format!("{}.{tail:016x}", it.object.replace('/', "."))
}

pub(super) fn operator(view: &View, engine_endpoint: &str) -> OperatorStatus {
    let specs = &view.specs;
    let engine = &view.engine;
    OperatorStatus {
        api_version: API_VERSION.to_owned(),
        kind: "OperatorStatus".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        instance: view.instance.clone(),
        blocked: view.blocked.clone(),
        specs: SpecsStatus {
            revision: specs.revision.clone(),
            scanned_at: specs.scanned_at,
            unavailable: specs.unavailable.clone(),
            files_ok: specs.files_ok,
            invalid: specs.invalid.clone(),
            held: specs.held.clone(),
            hold_revision: specs.hold_revision.clone(),
            not_for_this_host: specs.not_for_this_host,
        },
        engine: EngineStatus {
            live: engine.live,
            error: engine.error.clone(),
            version: engine.version.clone(),
            api_version: engine.api_version.clone(),
            id: engine.id.clone(),
            endpoint: engine_endpoint.to_owned(),
        },
        foreign: view.impostors.iter().map(ToString::to_string).collect(),
    }
}
