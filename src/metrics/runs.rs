//! Figures of runs: from the snapshot's totals, which are kept with the records, and from the runs that it shows.
//!
//! Totals outlive the process, so the counters equal the records after a restart. The histograms do not: a record that
//! ended before this process looked first is not observed, and one that ended since is observed once.
//!
//! Names of channels are labels here, and only here, unless the operator was told to leave them out. They have a bound; channels
//! beyond it are `other`. A channel that has a label keeps it for the process's life, so that no series is split in two. Which
//! labels models have is decided in [`super::models`]: an agent can print any name.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use prometheus::CounterVec;

use super::families::Families;
use super::models::Models;
use super::{Labels, count, seconds_since};
use crate::controller::view::{RunView, View};
use crate::world::run::{Phase, RunId, total};

/// Channels with a name of their own: more than a box has, and a hundredth of what hurts Prometheus.
const CHANNELS_MAX: usize = 100;
/// Reasons are words of the program; a record of another version may have others.
const REASONS_MAX: usize = 64;
/// The label of all beyond.
pub(super) const OTHER: &str = "other";

/// What the figures remember between two scrapes.
#[derive(Debug)]
pub(super) struct RunFigures {
    has_channels: bool,
    channels: Names<CHANNELS_MAX>,
    models: Models,
    reasons: Names<REASONS_MAX>,
    /// Ended runs that the histograms have seen; no more of them than the snapshot shows.
    seen: Option<BTreeSet<RunId>>,
}

/// The first names that came.
#[derive(Debug, Default)]
struct Names<const MAX: usize>(BTreeSet<String>);

impl<const MAX: usize> Names<MAX> {
    fn label(&mut self, name: &str) -> String {
        if !self.0.contains(name) {
            if self.0.len() >= MAX {
                return OTHER.to_owned();
            }
            self.0.insert(name.to_owned());
        }
        name.to_owned()
    }
}

/// How many of a channel's runs wait, and since when the first.
#[derive(Default)]
struct Queue {
    length: usize,
    oldest: Option<Timestamp>,
}

impl RunFigures {
    pub(super) fn new(labels: Labels) -> Self {
        Self {
            has_channels: labels.channels,
            channels: Names::default(),
            models: Models::new(labels.models),
            reasons: Names::default(),
            seen: None,
        }
    }

    /// A channel's label; one for all when channels have none.
    fn channel(&mut self, name: &str) -> String {
        if self.has_channels { self.channels.label(name) } else { String::new() }
    }

    /// A family's labels, with the channel's before them where the family has it.
    fn with_channel<'l>(&self, channel: &'l str, others: &[&'l str]) -> Vec<&'l str> {
        self.has_channels.then_some(channel).into_iter().chain(others.iter().copied()).collect()
    }

    /// Copies a snapshot's figures over.
    pub(super) fn observe(&mut self, to: &Families, view: &View, now: Timestamp) {
        self.observe_totals(to, view);
        self.observe_runs(to, view, now);
        self.observe_ends(to, view);
    }

    fn observe_totals(&mut self, to: &Families, view: &View) {
        let mut sums: BTreeMap<(&'static str, Vec<String>), f64> = BTreeMap::new();
        for (key, value) in view.totals.iter() {
            let labels = self.labels(key.family, &key.labels);
            *sums.entry((key.family, labels)).or_default() += value;
        }
        for ((family, labels), value) in &sums {
            let counters = match *family {
                total::ENDED => &to.runs_ended,
                total::TOKENS => &to.tokens,
                total::DOLLARS => &to.dollars,
                total::RETRIES => &to.attempts_again,
                _ => continue,
            };
            raise(counters, labels, *value);
        }
    }

    /// The labels' values. Those that people and agents choose are bounded; the family says which ones they are.
    fn labels(&mut self, family: &str, values: &[String]) -> Vec<String> {
        let label = |(index, value): (usize, &String)| match (family, index) {
            (_, 0) => self.has_channels.then(|| self.channels.label(value)),
            (total::TOKENS | total::DOLLARS, 1) => Some(self.models.label(value)),
            (total::ENDED, 3) => Some(self.reasons.label(value)),
            _ => Some(value.clone()),
        };
        values.iter().enumerate().filter_map(label).collect()
    }

    fn observe_runs(&mut self, to: &Families, view: &View, now: Timestamp) {
        to.runs.reset();
        to.run_queue_depth.reset();
        to.run_queue_oldest.reset();
        // A channel without a waiting run has a queue all the same: an alert must see it empty.
        let mut queues: BTreeMap<String, Queue> = BTreeMap::new();
        if !self.has_channels {
            queues.entry(String::new()).or_default();
        }
        for channel in view.channels.keys() {
            queues.entry(self.channel(channel.as_str())).or_default();
        }
        let mut held = 0;
        for run in view.runs.values().filter(|run| !run.phase.is_end()) {
            let channel = self.channel(run.channel.as_str());
            let labels = self.with_channel(&channel, &[run.phase.as_str()]);
            if let Ok(gauge) = to.runs.get_metric_with_label_values(&labels) {
                gauge.inc();
            }
            held += usize::from(run.record.as_ref().is_some_and(|record| record.held));
            if matches!(run.phase, Phase::Pending | Phase::Queued) {
                let admitted = run.record.as_ref().map(|record| record.admitted_at);
                let queue = queues.entry(channel).or_default();
                queue.length += 1;
                queue.oldest = match (queue.oldest, admitted) {
                    (Some(one), Some(other)) => Some(one.min(other)),
                    (one, other) => one.or(other),
                };
            }
        }
        to.runs_held.set(count(held));
        for (channel, queue) in &queues {
            let label = &self.with_channel(channel, &[]);
            if let Ok(gauge) = to.run_queue_depth.get_metric_with_label_values(label) {
                gauge.set(count(queue.length));
            }
            if let Ok(gauge) = to.run_queue_oldest.get_metric_with_label_values(label) {
                gauge.set(seconds_since(queue.oldest, now));
            }
        }
    }

    fn observe_ends(&mut self, to: &Families, view: &View) {
        // Before the core has said anything there is nothing to have seen.
        if view.version == 0 {
            return;
        }
        let ended: BTreeMap<&RunId, &RunView> = view
            .runs
            .values()
            .filter_map(|run| {
                let record = run.record.as_ref().filter(|record| record.end.is_some())?;
                Some((&record.id, run.as_ref()))
            })
            .collect();
        if let Some(seen) = &self.seen {
            for (_, run) in ended.iter().filter(|(id, _)| !seen.contains(**id)) {
                observe_end(to, run);
            }
        }
        self.seen = Some(ended.into_keys().cloned().collect());
    }
}

fn observe_end(to: &Families, run: &RunView) {
    let Some(record) = &run.record else { return };
    if let Some(first) = record.attempts.first() {
        let waited = seconds_since(Some(record.admitted_at), first.permitted_at);
        to.run_queue_wait.observe(waited);
    }
    let worked: f64 = record
        .attempts
        .iter()
        .filter_map(|attempt| attempt.end.as_ref())
        .map(|end| end.ran_for().as_secs_f64())
        .sum();
    if let Ok(duration) = to.run_duration.get_metric_with_label_values(&[run.phase.as_str()]) {
        duration.observe(worked);
    }
}

/// A counter takes steps. A total that fell belongs to a new store: nothing is taken back.
fn raise(counters: &CounterVec, labels: &[String], total: f64) {
    let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
    if let Ok(counter) = counters.get_metric_with_label_values(&labels) {
        // What is no number would stay for the process's life.
        let step = total - counter.get();
        counter.inc_by(if step.is_finite() { step.max(0.0) } else { 0.0 });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_beyond_the_bound_are_one_and_those_before_keep_theirs() {
        let mut names = Names::<2>::default();
        let labels = ["b", "a", "c", "a", "d"].map(|name| names.label(name));
        assert_eq!(labels, ["b", "a", "other", "a", "other"]);
    }
}
