//! All runs that are known, found by name, by channel and by turn.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{KnownSession, Memory, RunId, RunRecord, SessionKey, Tombstone, TotalKey};
use crate::resource::condition::Reason;
use crate::resource::{ResourceName, RunSpec, SourceRef};
use crate::world::Trouble;

/// A run as its file wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredRun {
    /// Where it is written.
    pub source: SourceRef,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// What is asked.
    pub spec: Arc<RunSpec>,
    /// Of what is asked, but for `rerun` and `cancel`.
    pub fingerprint: String,
    /// Is the content newer than what counts, and wrong? Or claimed twice?
    pub source_trouble: Option<(Reason, String)>,
}

/// All runs that are known.
#[derive(Debug, Clone, Default)]
pub struct Runs {
    records: BTreeMap<RunId, Arc<RunRecord>>,
    /// By channel, in the order of admission.
    unfinished: BTreeMap<ResourceName, BTreeSet<(u64, ResourceName)>>,
    /// By channel, the oldest first.
    ended: BTreeMap<ResourceName, BTreeSet<(u64, RunId)>>,
    /// What is left of records that were dropped.
    pub tombstones: BTreeMap<RunId, Tombstone>,
    /// The newest sessions.
    pub sessions: BTreeMap<SessionKey, KnownSession>,
    /// What the counters count.
    pub totals: BTreeMap<TotalKey, f64>,
    /// What this process knows beside.
    pub memory: Memory,
    /// What last went wrong with a run, until something goes right.
    pub troubles: BTreeMap<ResourceName, Trouble>,
    last_turn: u64,
}

impl Runs {
    /// What was loaded.
    pub fn restore(
        records: Vec<RunRecord>,
        tombstones: BTreeMap<RunId, Tombstone>,
        sessions: BTreeMap<SessionKey, KnownSession>,
        totals: BTreeMap<TotalKey, f64>,
    ) -> Self {
        let mut runs = Self { tombstones, sessions, totals, ..Self::default() };
        for record in records {
            runs.put(Arc::new(record));
        }
        runs
    }

    /// The newest record of this name.
    pub fn get(&self, name: &ResourceName) -> Option<&Arc<RunRecord>> {
        self.all_of(name).next_back()
    }

    /// Every record of this name, by rerun.
    pub fn all_of(&self, name: &ResourceName) -> impl DoubleEndedIterator<Item = &Arc<RunRecord>> {
        let from = RunId { name: name.clone(), rerun: 0 };
        let to = RunId { name: name.clone(), rerun: u32::MAX };
        self.records.range(from..=to).map(|(_, record)| record)
    }

    /// What is left of the newest dropped record of this name.
    pub fn tombstone(&self, name: &ResourceName) -> Option<(&RunId, &Tombstone)> {
        let from = RunId { name: name.clone(), rerun: 0 };
        let to = RunId { name: name.clone(), rerun: u32::MAX };
        self.tombstones.range(from..=to).next_back()
    }

    /// Every record.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<RunRecord>> {
        self.records.values()
    }

    /// Takes a record in, instead of an older one of the same run.
    pub fn put(&mut self, record: Arc<RunRecord>) {
        self.last_turn = self.last_turn.max(record.turn);
        let name = record.id.name.clone();
        if record.end.is_some() {
            if let Some(queue) = self.unfinished.get_mut(&record.channel) {
                queue.remove(&(record.turn, name));
                if queue.is_empty() {
                    self.unfinished.remove(&record.channel);
                }
            }
            let ended = self.ended.entry(record.channel.clone()).or_default();
            ended.insert((record.turn, record.id.clone()));
        } else {
            self.unfinished.entry(record.channel.clone()).or_default().insert((record.turn, name));
        }
        self.records.insert(record.id.clone(), record);
    }

    /// Drops an ended record; what is left of it is its tombstone.
    pub fn bury(&mut self, id: &RunId, tombstone: Tombstone) {
        if let Some(record) = self.records.remove(id)
            && let Some(ended) = self.ended.get_mut(&record.channel)
        {
            ended.remove(&(record.turn, id.clone()));
            if ended.is_empty() {
                self.ended.remove(&record.channel);
            }
        }
        self.tombstones.insert(id.clone(), tombstone);
    }

    /// The channel's runs that have not ended, in the order of admission.
    pub fn unfinished_in(
        &self,
        channel: &ResourceName,
    ) -> impl Iterator<Item = &Arc<RunRecord>> + Clone {
        let names = self.unfinished.get(channel).into_iter().flatten();
        names.filter_map(|(_, name)| self.get(name))
    }

    /// How many of the channel's runs have not ended.
    pub fn unfinished_count(&self, channel: &ResourceName) -> usize {
        self.unfinished.get(channel).map_or(0, BTreeSet::len)
    }

    /// Channels with runs that have not ended.
    pub fn busy_channels(&self) -> impl Iterator<Item = &ResourceName> {
        self.unfinished.keys()
    }

    /// The channel's ended runs, the oldest first.
    pub fn ended_in(
        &self,
        channel: &ResourceName,
    ) -> impl ExactSizeIterator<Item = &RunId> + DoubleEndedIterator {
        static NONE: BTreeSet<(u64, RunId)> = BTreeSet::new();
        self.ended.get(channel).unwrap_or(&NONE).iter().map(|(_, id)| id)
    }

    /// Channels with ended runs.
    pub fn channels_with_history(&self) -> impl Iterator<Item = &ResourceName> {
        self.ended.keys()
    }

    /// The record of this run.
    pub fn record(&self, id: &RunId) -> Option<&Arc<RunRecord>> {
        self.records.get(id)
    }

    /// The place in the queue of the next run to be admitted.
    pub const fn next_turn(&self) -> u64 {
        self.last_turn + 1
    }

    /// The newest session of a channel, or of a key in it.
    pub fn session(&self, channel: &ResourceName, key: Option<&str>) -> Option<Uuid> {
        let key = SessionKey { channel: channel.clone(), key: key.map(str::to_owned) };
        self.sessions.get(&key).map(|session| session.id)
    }

    /// Is a run at work in this session? The CLI does not lock it, and two would write over each other.
    pub fn session_in_use(&self, channel: &ResourceName, session: Uuid) -> bool {
        self.unfinished_in(channel)
            .filter_map(|record| record.open_attempt())
            .any(|attempt| attempt.session == session || attempt.resumes == Some(session))
    }
}
