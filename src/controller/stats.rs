//! What the core counts of itself: figures that no object has.
//!
//! Counters begin with the process. Their words are of closed sets, so that a metric made of them has a bound.

use std::collections::BTreeMap;

use jiff::Timestamp;

/// Figures of one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Channels that wait for a lane.
    pub queue_depth: usize,
    /// Times a channel was put into the queue.
    pub queue_adds: u64,
    /// Calls on their way.
    pub in_flight: usize,
    /// Since when the oldest call for a channel is on its way.
    pub oldest_call_since: Option<Timestamp>,
    /// When the last list was merged: how old what is known may be.
    pub listed_at: Option<Timestamp>,
    /// Events heard, by Docker's word.
    pub events: Counts,
    /// Event streams that ended.
    pub event_gaps: u64,
    /// Lists sent, by why.
    pub relists: Counts,
    /// Entries of a list that said nothing, because something was done or seen since it was sent.
    pub stale_reads: u64,
    /// Plans of channels made, by what came of them.
    pub reconciles: Counts,
    /// Plans of runs made, by what came of them.
    pub run_reconciles: Counts,
    /// Times the meaning of the files changed.
    pub spec_changes: u64,
    /// Actions sent.
    pub actions: u64,
    /// Actions sent again after a failure.
    pub retries: u64,
    /// Calls that failed.
    pub failures: u64,
    /// Changes whose answer left open whether they were carried out, by what they were.
    pub unknown_outcomes: Counts,
    /// Runs whose end was not known when this process began, and that it took over.
    pub runs_adopted: u64,
    /// Is the breaker open?
    pub breaker_open: bool,
    /// Policy violations now.
    pub policy_violations: usize,
    /// Ours, running.
    pub shells_running: usize,
}

/// Counters by a word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts(BTreeMap<&'static str, u64>);

impl Counts {
    /// One more.
    pub fn add(&mut self, word: &'static str) {
        *self.0.entry(word).or_default() += 1;
    }

    /// All, by word.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().map(|(word, count)| (*word, *count))
    }
}

impl<const N: usize> From<[(&'static str, u64); N]> for Counts {
    fn from(counts: [(&'static str, u64); N]) -> Self {
        Self(counts.into())
    }
}

/// Docker's word for what happened to a container, as far as it concerns us.
pub(super) fn event_word(action: &str) -> &'static str {
    const WORDS: [&str; 14] = [
        "create",
        "start",
        "die",
        "oom",
        "stop",
        "kill",
        "pause",
        "unpause",
        "rename",
        "update",
        "destroy",
        "restart",
        "exec_die",
        "exec_start",
    ];
    WORDS.into_iter().find(|word| *word == action).unwrap_or("other")
}
