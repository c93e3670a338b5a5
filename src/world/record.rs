//! What outlives the process, as data: what [`crate::store`] loads at start and what the core asks it to write.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::container::ContainerId;
use crate::container::config::Limits;
use crate::resource::ObjectRef;
use crate::resource::condition::Condition;
use crate::world::run::{KnownSession, RunId, RunRecord, SessionKey, Tombstone, TotalKey};

/// Everything the store held at start.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Loaded {
    /// The identity of this state directory.
    pub state_id: String,
    /// Was the store made just now?
    pub fresh: bool,
    /// Single values by key: see [`meta_key`].
    pub meta: BTreeMap<String, String>,
    /// What we believe exists.
    pub inventory: BTreeMap<ObjectRef, InventoryRow>,
    /// The last good content of each spec file.
    pub sources: BTreeMap<String, SourceRow>,
    /// What people overrode.
    pub overrides: BTreeMap<ObjectRef, Override>,
    /// Conditions as last written.
    pub conditions: BTreeMap<ObjectRef, Vec<Condition>>,
    /// The limits last given to a container.
    pub applied: BTreeMap<ContainerId, Limits>,
    /// The newest event records, oldest first.
    pub events: Vec<EventRecord>,
    /// Every run.
    pub runs: Vec<RunRecord>,
    /// What is left of runs whose record was dropped.
    pub tombstones: BTreeMap<RunId, Tombstone>,
    /// The newest sessions.
    pub sessions: BTreeMap<SessionKey, KnownSession>,
    /// What the counters count.
    pub totals: BTreeMap<TotalKey, f64>,
}

/// Keys of [`Loaded::meta`].
pub mod meta_key {
    /// The engine's ID.
    pub const ENGINE_ID: &str = "engine_id";
    /// The ID of the engine on which the anchor was last ours: missing there, it was pruned.
    pub const ANCHORED_ON: &str = "anchored_on";
    /// The spec directory, instance and host labels of the last start: when they change, removals are held.
    pub const SCOPE: &str = "scope";
    /// Where the last scan was that missed nothing.
    pub const PLACE: &str = "place";
    /// The runs that were there when the store was new, with spaces between: they may have run before.
    pub const FIRST_SIGHT: &str = "first_sight";
}

/// One object that we believe exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryRow {
    /// The file that owns it.
    pub file: String,
    /// Counts the meaningful changes of its spec.
    pub generation: i64,
    /// Of the canonical spec that the generation belongs to.
    pub fingerprint: String,
    /// When it was first seen.
    pub created_at: Timestamp,
    /// Since when a wanted change waits.
    pub pending_since: Option<Timestamp>,
    /// How it is to be taken away, from its last good spec.
    pub farewell: Farewell,
    /// Since when its absence is believed.
    pub gone_since: Option<Timestamp>,
    /// Is its removal held until a person confirms it?
    pub held: bool,
    /// When its shell was seen stopped for good.
    pub stopped_at: Option<Timestamp>,
}

/// What is kept of a spec for the time after its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Farewell {
    /// How long the stopped shell stays.
    pub keep_stopped_seconds: u64,
    /// May it be stopped only when nobody is in it?
    pub when_idle: bool,
    /// After so long a wait it is stopped all the same.
    pub max_wait_seconds: u64,
    /// Between TERM and KILL.
    pub grace_seconds: u32,
}

/// The last good content of a spec file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceRow {
    /// The text as it was read.
    pub text: String,
}

/// What a person set against the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Override {
    /// Suspended by hand?
    pub suspend: bool,
    /// Why, in the person's words.
    pub reason: String,
    /// When.
    pub since: Timestamp,
    /// Until when; `None`: until it is taken back.
    pub until: Option<Timestamp>,
}

/// Something worth telling, with a count instead of a flood.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// About what; `operator` when about no object.
    pub object: String,
    /// Is it something to worry about?
    pub warning: bool,
    /// A stable word.
    pub reason: String,
    /// A sentence.
    pub message: String,
    /// How often.
    pub count: u64,
    /// First time.
    pub first: Timestamp,
    /// Last time.
    pub last: Timestamp,
}

/// One change of the store. `None` takes the row away.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// A single value.
    Meta(String, String),
    /// An inventory row.
    Inventory(ObjectRef, Option<InventoryRow>),
    /// The last good content of a file.
    Source(String, Option<SourceRow>),
    /// An override.
    Override(ObjectRef, Option<Override>),
    /// An object's conditions.
    Conditions(ObjectRef, Option<Vec<Condition>>),
    /// The limits given to a container.
    Applied(ContainerId, Option<Limits>),
    /// An event record: replaces the one of the same object, reason and message.
    Event(EventRecord),
    /// A run's record: replaces the one of the same run, unless that has ended.
    Run(Arc<RunRecord>),
    /// Instead of a run's record: its transcripts go too.
    Bury(RunId, Tombstone),
    /// The newest session.
    Session(SessionKey, KnownSession),
    /// What a counter counts now.
    Total(TotalKey, f64),
}
