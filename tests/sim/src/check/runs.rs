//! The promises about runs, held against what agents really did, what is on the disk, and every call.
//!
//! | | promise | where |
//! |---|---|---|
//! | S3 | one start for each container, over all processes | `run_starts` |
//! | S4 | one execution for each attempt, one attempt at work for each run | `executions` |
//! | S5 | the next attempt only when the one before has an end on the disk | `run_is_made`, `attempts` |
//! | S6 | what has ended never changes | `record_is_written`, `attempts` |
//! | S7 | no remove of what ever ran, without its result on the disk | `run_is_removed` |
//! | S8 | the permit is on the disk before the start, and is this process's | `run_starts` |
//! | S9, S10 | no run is ended or begun that its file does not end or begin | `admitted`, `cancelled`, `run_stops` |
//! | S15 | what is asked is what was admitted, and what the file said then | `admitted`, `run_is_made` |
//! | S18 | a success is one: the process ended with 0 after it had said so | `attempt_ends` |
//! | S21 | counters are the records' sums | `after_durable` |
//! | 6, 7 | how often and why there is another attempt | `retries` |
//! | | `maxConcurrent`, the host's cap, one run at a time in a conversation, nothing that is held | `permitted`, `executions` |

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use chanop::claude::outcome::{OutcomeClass, Stop};
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::effect::Call;
use chanop::controller::request::Request;
use chanop::resource::ResourceName;
use chanop::world::Settings;
use chanop::world::record::{Loaded, Write};
use chanop::world::run::{
    Ask, Attempt, AttemptEnd, AttemptKind, AttemptResult, Evidence, Phase, RunId, RunRecord, Task,
    Trigger, total,
};
use uuid::Uuid;

use super::{Check, HUSH};
use crate::engine::{Engine, Execution, STAYS, Starter};
use crate::tree::{Asks, RunFile, Tree, path_of_run};

/// Retries outside `backoffLimit`.
const FREE_RETRIES: usize = 3;

/// What is known of one run's file by the scans that were delivered.
#[derive(Debug, Clone, Default)]
struct RunBelief {
    file: Option<RunFile>,
    /// All that it has said: a record is decided when the file is read, and durable perhaps much later.
    said: Vec<RunFile>,
    /// When it last said that the run is to end.
    ended_at: Option<Duration>,
    scans: u32,
    since: Duration,
    /// Was it proved once that the file is gone, and is that on the disk or known to this process? So it stays until it is there again.
    proved: bool,
}

/// A run's place before its permit.
#[derive(Debug)]
struct Making {
    channel: String,
    /// Once the create was answered.
    container: Option<ContainerId>,
}

/// The book of runs.
#[derive(Debug, Default)]
pub(super) struct RunBook {
    /// As the core last wrote them, durable or not.
    written: BTreeMap<RunId, Arc<RunRecord>>,
    /// As the core knows that they are on the disk.
    acked: BTreeMap<RunId, Arc<RunRecord>>,
    buried: BTreeSet<RunId>,
    /// Of records that were dropped: their ends were on the disk.
    buried_ends: BTreeSet<ContainerId>,
    /// Start calls, over all processes.
    starts: BTreeMap<ContainerId, u32>,
    /// How often a run ended, by the labels of its counter.
    ended: BTreeMap<Vec<String>, u64>,
    /// Of all attempts that ended.
    tokens: f64,
    dollars: f64,
    beliefs: BTreeMap<String, RunBelief>,
    /// Texts that a prompt's file had.
    prompts: BTreeSet<String>,
    submitted: BTreeSet<String>,
    cancelled: BTreeSet<String>,
    released: BTreeSet<String>,
    all_released: bool,
    process: Uuid,
    /// The most that a channel's file ever allowed: what was decided when it did, goes on.
    backoff: BTreeMap<String, u32>,
    /// Runs whose container is being made, or is there without a permit.
    making: BTreeMap<String, Making>,
    /// Containers that an answer said are ours.
    seen: BTreeSet<ContainerId>,
    /// What is found on the engine may be of another store.
    store_was_lost: bool,
    /// Deadlines are by the calendar after a restart: one that jumps proves nothing.
    clocks_move: bool,
}

impl RunBook {
    fn of_container(&self, id: &ContainerId) -> Option<(&Arc<RunRecord>, &Attempt)> {
        self.acked.values().find_map(|record| {
            record.attempts.iter().find(|it| it.container == *id).map(|it| (record, it))
        })
    }

    fn of_name<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<RunRecord>> {
        self.written.values().filter(move |record| record.id.name.as_str() == name)
    }

    /// Attempts of other runs that are at work, or may be; the end of one that is dead may be on its way to the disk.
    fn open<'a>(
        &'a self,
        but: &'a RunId,
        engine: &'a Engine,
    ) -> impl Iterator<Item = (&'a RunRecord, &'a Attempt)> {
        let others = self.written.values().filter(move |record| record.id != *but);
        let open = others.filter_map(|record| Some((record.as_ref(), record.open_attempt()?)));
        open.filter(|(_, attempt)| {
            let id = &attempt.container;
            // What is left dead never starts any more.
            let may_start = engine
                .containers
                .get(id)
                .is_some_and(|it| it.error.is_empty() && it.state != ContainerState::Dead);
            let mut all = engine.agents.of(id).peekable();
            (all.peek().is_none() && may_start) || all.any(Execution::is_live)
        })
    }
}

impl Check {
    /// Clocks are stepped in this world.
    pub const fn clocks_move(&mut self) {
        self.runs.clocks_move = true;
    }

    pub(super) fn runs_scanned(&mut self, tree: &Tree, now: Duration, prune_delay: Duration) {
        self.runs.prompts.extend(tree.prompts.values().cloned());
        for (channel, file) in &tree.files {
            let most = self.runs.backoff.entry(channel.clone()).or_default();
            *most = (*most).max(file.spec.runs.backoff);
        }
        for (run, found) in &tree.runs {
            if found.is_whole(run) && !tree.is_run_closed(run) {
                let RunBelief { mut said, mut ended_at, .. } =
                    self.runs.beliefs.remove(run).unwrap_or_default();
                if said.last() != Some(&found.file) {
                    said.push(found.file.clone());
                }
                if found.file.cancel {
                    ended_at = Some(now);
                }
                let file = Some(found.file.clone());
                let belief = RunBelief { file, said, ended_at, ..RunBelief::default() };
                self.runs.beliefs.insert(run.clone(), belief);
            } else if let Some(belief) = self.runs.beliefs.get_mut(run) {
                belief.scans = 0;
            }
        }
        for (run, belief) in &mut self.runs.beliefs {
            if tree.runs.contains_key(run) {
                continue;
            }
            if tree.is_run_closed(run) {
                belief.scans = 0;
                continue;
            }
            belief.scans += 1;
            if belief.scans == 1 {
                belief.since = now;
            }
            belief.proved |= belief.scans >= 2 && now.saturating_sub(belief.since) >= prune_delay;
        }
    }

    pub(super) fn runs_unseen(&mut self) {
        for belief in self.runs.beliefs.values_mut() {
            belief.scans = 0;
        }
    }

    /// A person asks something of a run.
    pub fn requested(&mut self, request: &Request) {
        match request {
            Request::SubmitRun { name, spec, .. } => {
                self.runs.submitted.insert(name.to_string());
                self.runs.prompts.extend(spec.order.prompt.clone());
            }
            Request::CancelRun { name, .. } => {
                self.runs.cancelled.insert(name.to_string());
            }
            Request::ReleaseRun(Some(name)) => {
                self.runs.released.insert(name.to_string());
            }
            Request::ReleaseRun(None) => self.runs.all_released = true,
            _ => {}
        }
    }

    /// A new process, and which.
    pub fn begins(&mut self, process: Uuid, loaded: &Loaded) {
        let book = &mut self.runs;
        book.process = process;
        let all = loaded.runs.iter().map(|it| (it.id.clone(), Arc::new(it.clone())));
        book.written = all.collect();
        book.acked = book.written.clone();
        book.buried = loaded.tombstones.keys().cloned().collect();
        book.seen.clear();
        book.making.clear();
        // Its file's text goes from the disk when its end is proved.
        for (run, belief) in &mut book.beliefs {
            belief.proved &= !loaded.sources.contains_key(&path_of_run(run));
        }
        self.runs_unseen();
    }

    pub(super) fn runs_lost(&mut self) {
        let starts = std::mem::take(&mut self.runs.starts);
        let clocks_move = self.runs.clocks_move;
        self.runs = RunBook { starts, clocks_move, store_was_lost: true, ..RunBook::default() };
    }

    // What is written.

    /// The core asks for writes.
    pub fn commits(
        &mut self,
        now: Duration,
        writes: &[Write],
        engine: &Engine,
        settings: &Settings,
    ) {
        for write in writes {
            match write {
                Write::Run(record) => self.record_is_written(now, record, engine, settings),
                Write::Bury(id, _) => {
                    let ended = self.runs.written.get(id).is_some_and(|it| it.end.is_some());
                    if !ended {
                        self.fail(format!("S6: {} is buried alive", id.name));
                    }
                    self.runs.written.remove(id);
                    self.runs.buried.insert(id.clone());
                }
                _ => {}
            }
        }
    }

    /// And is told what became of them.
    pub fn committed(&mut self, writes: &[Write], done: bool) {
        let book = &mut self.runs;
        for write in writes {
            match write {
                Write::Run(record) if done => {
                    book.acked.insert(record.id.clone(), Arc::clone(record));
                }
                Write::Bury(id, _) if done => {
                    book.acked.remove(id);
                }
                Write::Run(record) => match book.acked.get(&record.id).cloned() {
                    Some(old) => {
                        book.written.insert(record.id.clone(), old);
                    }
                    None => {
                        book.written.remove(&record.id);
                    }
                },
                Write::Bury(id, _) => {
                    book.buried.remove(id);
                    if let Some(old) = book.acked.get(id).cloned() {
                        book.written.insert(id.clone(), old);
                    }
                }
                _ => {}
            }
        }
    }

    /// Writes are about to be on the disk.
    pub fn before_durable(&mut self, durable: &Loaded, writes: &[Write], _engine: &Engine) {
        for write in writes {
            if let Write::Bury(id, _) = write {
                let dropped = durable.runs.iter().filter(|it| it.id == *id);
                let ended = dropped.flat_map(|it| &it.attempts).filter(|it| it.end.is_some());
                self.runs.buried_ends.extend(ended.map(|it| it.container.clone()));
            }
            let Write::Run(record) = write else { continue };
            let old = durable.runs.iter().find(|old| old.id == record.id);
            let was_over = old.is_some_and(|old| old.end.is_some());
            if was_over && old != Some(record.as_ref()) {
                self.fail(format!("S6: the record of {} changes after its end", record.id.name));
            }
            let before =
                old.map_or(0, |old| old.attempts.iter().filter(|it| it.end.is_some()).count());
            let ends = record.attempts.iter().filter_map(|it| it.end.as_ref()).skip(before);
            for outcome in ends.filter_map(|end| end.outcome.as_ref()) {
                let all = outcome.tokens.unwrap_or_default();
                let sum = all.input + all.output + all.cache_read + all.cache_creation;
                self.runs.tokens += sum as f64;
                self.runs.dollars += outcome.cost.dollars.unwrap_or(0.0);
            }
            if let (Some(end), false) = (&record.end, was_over) {
                let labels = vec![
                    record.channel.to_string(),
                    record.trigger.word().to_owned(),
                    end.phase.to_string(),
                    end.reason.clone(),
                ];
                *self.runs.ended.entry(labels).or_default() += 1;
            }
        }
    }

    /// S21: what the counters say is what the records say, at every instant.
    pub fn after_durable(&mut self, durable: &Loaded) {
        let mut counted: BTreeMap<Vec<String>, u64> = BTreeMap::new();
        let (mut tokens, mut dollars) = (0.0, 0.0);
        for (key, value) in &durable.totals {
            match key.family {
                total::ENDED => {
                    counted.insert(key.labels.clone(), *value as u64);
                }
                total::TOKENS => tokens += value,
                total::DOLLARS => dollars += value,
                _ => {}
            }
        }
        if counted != self.runs.ended {
            let want = &self.runs.ended;
            return self.fail(format!("S21: the counters say {counted:?}, the records {want:?}"));
        }
        let off = |a: f64, b: f64| (a - b).abs() > 1e-6;
        let (want_tokens, want_dollars) = (self.runs.tokens, self.runs.dollars);
        if off(tokens, want_tokens) || off(dollars, want_dollars) {
            self.fail(format!(
                "S21: the counters say {tokens} tokens and {dollars} $, the records {want_tokens} and {want_dollars}"
            ));
        }
        let over = durable.runs.iter().filter(|it| it.end.is_some()).count();
        let known: u64 = counted.values().sum();
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        if known != over + durable.tombstones.len() {
            self.fail(format!("S21: {known} ends are counted, {over} records have one"));
        }
    }

    fn record_is_written(
        &mut self,
        now: Duration,
        record: &Arc<RunRecord>,
        engine: &Engine,
        settings: &Settings,
    ) {
        let name = &record.id.name;
        let old = self.runs.written.insert(record.id.clone(), Arc::clone(record));
        let Some(old) = old else {
            self.admitted(record);
            // What was found ran with another store, and nobody has leave to start it.
            if record.attempts.iter().any(|it| !it.permitted_by.is_nil()) {
                self.fail(format!("S8: {name} is admitted with an attempt"));
            }
            self.run_ends(record);
            return;
        };
        if old.end.is_some() {
            if old != *record {
                self.fail(format!("S6: the record of {name} changes after its end"));
            }
            return;
        }
        // Who was let go counts from then on.
        let since = old.held == record.held;
        let fixed = |it: &RunRecord| {
            let ids = (it.id.clone(), it.channel.clone(), it.turn, it.first_attempt);
            let admitted = since.then_some(it.admitted_at);
            (ids, it.trigger.clone(), it.fingerprint.clone(), it.order.clone(), admitted)
        };
        if fixed(&old) != fixed(record) {
            self.fail(format!("S15: what was asked of {name} changes after its admission"));
        }
        if old.cancel.is_some() && record.cancel.is_none() {
            self.fail(format!("S9: {name} is not to be ended any more"));
        }
        if old.cancel.is_none() && record.cancel.is_some() {
            self.cancelled(now, record);
        }
        let released = self.runs.all_released || self.runs.released.contains(name.as_str());
        if old.held && !record.held && !released {
            self.fail(format!("5: {name} is let go, and nobody said so"));
        }
        self.attempts(&old, record, engine, settings);
        self.run_ends(record);
    }

    /// S5, S6: attempts are added one by one, each after the end of the one before; what is said of one stays.
    fn attempts(
        &mut self,
        old: &RunRecord,
        record: &RunRecord,
        engine: &Engine,
        settings: &Settings,
    ) {
        let name = &record.id.name;
        for (before, after) in old.attempts.iter().zip(&record.attempts) {
            let without_end = |it: &Attempt| Attempt { end: None, ..it.clone() };
            let mut known = without_end(before);
            // Which image it was may be known by its end only.
            if before.end.is_none() && after.end.is_some() && known.image.is_empty() {
                known.image.clone_from(&after.image);
            }
            // Why it is to be ended is recorded before the stop.
            if known.stop.is_none() && before.end.is_none() {
                known.stop = after.stop;
            }
            let same = known == without_end(after);
            if !same || (before.end.is_some() && before.end != after.end) {
                self.fail(format!(
                    "S6: what is said of attempt {} of {name} changes",
                    before.number
                ));
            }
            if let (None, Some(end)) = (&before.end, &after.end) {
                self.attempt_ends(record, after, end, engine);
            }
        }
        let added = record.attempts.len().checked_sub(old.attempts.len());
        let new = record.attempts.iter().skip(old.attempts.len());
        let found = new.filter(|it| it.permitted_by.is_nil()).count();
        match (added, record.attempts.last()) {
            (Some(0), _) => {}
            // Found, of another store: nobody has leave to start them.
            (Some(added), _) if added > 0 && found == added && self.runs.store_was_lost => {}
            (Some(1), Some(attempt)) => {
                if attempt.number != old.next_attempt() {
                    self.fail(format!("S5: {name} goes on with attempt {}", attempt.number));
                }
                if old.open_attempt().is_some() {
                    self.fail(format!("S5: {name} has an attempt while another has no end"));
                }
                self.permitted(record, attempt, engine, settings);
            }
            _ => self.fail(format!("S6: {name} had {} attempts", old.attempts.len())),
        }
    }

    fn admitted(&mut self, record: &RunRecord) {
        let name = record.id.name.clone();
        let others: Vec<Arc<RunRecord>> =
            self.runs.of_name(name.as_str()).filter(|it| it.id != record.id).cloned().collect();
        let buried = self.runs.buried.iter().filter(|id| id.name == name).map(|id| id.rerun).max();
        let newest = others.iter().map(|it| it.id.rerun).max().max(buried);
        if newest.is_some_and(|newest| newest >= record.id.rerun) {
            self.fail(format!("5: {name} is admitted again, as rerun {}", record.id.rerun));
        }
        let numbers = others.iter().map(|it| it.next_attempt()).max();
        if numbers.is_some_and(|next| record.first_attempt < next) {
            self.fail(format!("S13: attempts of {name} do not count on"));
        }
        match &record.trigger {
            Trigger::File { .. } => {
                let belief = self.runs.beliefs.get(name.as_str());
                let said = belief.map(|belief| belief.said.clone()).unwrap_or_default();
                if said.is_empty() {
                    // Its last good content, from the store.
                    return;
                }
                let prompts = &self.runs.prompts;
                let same = |file: &RunFile| {
                    let asks = match (&file.asks, &record.order.ask) {
                        (Asks::Prompt(text), Ask::Prompt(asked)) => text == asked,
                        (Asks::From(_), Ask::Prompt(asked)) => prompts.contains(asked),
                        _ => false,
                    };
                    asks && file.channel == record.channel.as_str() && file.rerun == record.id.rerun
                };
                if !said.iter().any(same) {
                    self.fail(format!("S15: {name} is admitted with what its file never said"));
                }
            }
            Trigger::Api if self.runs.submitted.contains(name.as_str()) => {}
            Trigger::Found if !record.attempts.is_empty() => {}
            other => self.fail(format!("S15: nobody asked for {name}: {other}")),
        }
    }

    /// S9: why a run is to be ended.
    fn cancelled(&mut self, now: Duration, record: &RunRecord) {
        let name = record.id.name.as_str();
        let belief = self.runs.beliefs.get(name);
        // And the last scan missed it too.
        let gone = belief.is_some_and(|it| it.proved && it.scans >= 1);
        let queued = record.attempts.is_empty();
        let lately = |at: &Duration| now.saturating_sub(*at) < Duration::from_secs(120);
        // It was decided when it was so, and may be written down when it is so no more.
        let by_file = belief.is_some_and(|it| {
            it.file.as_ref().is_some_and(|file| file.cancel)
                || it.ended_at.as_ref().is_some_and(lately)
        });
        let channel_went = self.went.get(record.channel.as_str()).is_some_and(lately);
        let channel_goes = channel_went
            || match self.beliefs.get(record.channel.as_str()) {
                Some(channel) => {
                    let waits = record.open_attempt().is_none();
                    let cancels =
                        |spec: &crate::tree::Spec| spec.runs.deletion == "Cancel" || waits;
                    channel.gone && channel.spec.as_ref().is_none_or(cancels)
                }
                None => true,
            };
        let asked = self.runs.cancelled.contains(name);
        if !(asked || by_file || (gone && queued) || channel_goes) {
            self.fail(format!("S9: {name} is to be ended, and nobody said so"));
        }
    }

    /// An attempt may start.
    fn permitted(
        &mut self,
        record: &RunRecord,
        attempt: &Attempt,
        engine: &Engine,
        settings: &Settings,
    ) {
        let name = record.id.name.as_str();
        let by_hand = engine.agents.of(&attempt.container).any(|it| it.by != Starter::Operator);
        if attempt.permitted_by != self.runs.process && !(attempt.permitted_by.is_nil() && by_hand)
        {
            self.fail(format!("S8: attempt {} of {name} is permitted by another", attempt.number));
        }
        if record.held {
            self.fail(format!("5: {name} is permitted, though it is held"));
        }
        if record.cancel.is_some() && !by_hand {
            self.fail(format!("S9: {name} is permitted, though it is to be ended"));
        }
        let made = engine.containers.get(&attempt.container).and_then(|it| it.agent.as_ref());
        let other = made.filter(|it| it.run != name || it.attempt != attempt.number);
        if let Some(other) = other {
            self.fail(format!("S13: {name} is permitted the container of {}", other.run));
        }
        let open: Vec<(String, Uuid, Option<Uuid>)> = self
            .runs
            .open(&record.id, engine)
            .map(|(it, other)| (it.channel.to_string(), other.session, other.resumes))
            .collect();
        // Who starts a container by hand asks nobody for a place.
        if !by_hand && open.len() >= settings.max_runs as usize {
            self.fail(format!("{name} is one more than {} on this host", settings.max_runs));
        }
        let mut here = open.iter().filter(|(channel, ..)| *channel == record.channel.as_str());
        let shared = here.any(|(_, session, _)| {
            attempt.session == *session || attempt.resumes == Some(*session)
        });
        if shared {
            self.fail(format!("{name} goes on in a conversation that is in use"));
        }
        self.runs.making.remove(name);
        self.retries(record, attempt);
    }

    /// Promise 7, and the ancestor's two recoveries.
    fn retries(&mut self, record: &RunRecord, attempt: &Attempt) {
        let name = record.id.name.as_str();
        let pairs = record.attempts.iter().zip(record.attempts.iter().skip(1));
        let (mut free, mut paid) = (0_usize, 0_usize);
        // What was found says nothing of why there was another.
        for (before, after) in pairs.filter(|(_, after)| !after.permitted_by.is_nil()) {
            let Some(end) = &before.end else { continue };
            let class = end.outcome.as_ref().map(|it| &it.class);
            if end.result == AttemptResult::Lost || end.result == AttemptResult::Cancelled {
                self.fail(format!("7: {name} is tried again after {:?}", end.result));
            }
            let fits = match after.kind {
                AttemptKind::First => false,
                AttemptKind::Retry => end.result != AttemptResult::Succeeded,
                AttemptKind::WithoutSession => {
                    let rejected = OutcomeClass::ApiError { status: Some(400) };
                    class == Some(&OutcomeClass::SessionNotFound)
                        || (class == Some(&rejected) && before.resumes.is_some())
                }
                AttemptKind::Compact => {
                    let again = before.kind == AttemptKind::Compact && is_free(end);
                    again || class == Some(&OutcomeClass::PromptTooLong)
                }
                AttemptKind::AfterCompact => before.kind == AttemptKind::Compact,
            };
            if !fits {
                self.fail(format!("7: {name}: {:?} after {:?} {class:?}", after.kind, end.result));
            }
            if after.kind == AttemptKind::Retry {
                let limited = matches!(class, Some(OutcomeClass::RateLimited { .. }));
                if is_free(end) && limited {
                    // Waiting for a usage limit is bounded by the queue's maximum age alone.
                } else if is_free(end) {
                    free += 1;
                } else {
                    paid += 1;
                }
            }
        }
        for kind in [AttemptKind::WithoutSession, AttemptKind::Compact] {
            let in_vain = |it: &Attempt| it.end.as_ref().is_some_and(is_free);
            if record.attempts.iter().filter(|it| it.kind == kind && !in_vain(it)).count() > 1 {
                self.fail(format!("7: {name} has {kind:?} twice"));
            }
        }
        let of_channel = self.runs.backoff.get(record.channel.as_str()).copied();
        let limit = record.order.backoff_limit.or(of_channel);
        let charged = paid + free.saturating_sub(FREE_RETRIES);
        if limit.is_some_and(|limit| charged > limit as usize) {
            self.fail(format!(
                "7: {name} is tried again {free} times for nothing and {paid} times more"
            ));
        }
        let before = record.attempts.iter().rev().nth(1);
        let limited = before.and_then(|it| it.end.as_ref()).and_then(|end| end.outcome.as_ref());
        if let Some(OutcomeClass::RateLimited { resets_at: Some(at) }) = limited.map(|it| &it.class)
            && attempt.permitted_at < *at
            && !self.runs.clocks_move
        {
            self.fail(format!("7: {name} does not wait for the limit's reset"));
        }
    }

    /// S18, and promise 7's "sees it dead".
    fn attempt_ends(
        &mut self,
        record: &RunRecord,
        attempt: &Attempt,
        end: &AttemptEnd,
        engine: &Engine,
    ) {
        let (name, number) = (record.id.name.as_str(), attempt.number);
        let all: Vec<&Execution> = engine.agents.of(&attempt.container).collect();
        if all.iter().any(|it| it.is_live() && it.by == Starter::Operator) {
            self.fail(format!("7: attempt {number} of {name} has an end, and is at work"));
        }
        if end.result == AttemptResult::Succeeded {
            if end.evidence == Evidence::None {
                self.fail(format!("S18: attempt {number} of {name} succeeded without evidence"));
            }
            // Without the init's note, nobody knows of an end that the engine did not notice: it looks like an agent that does not exit.
            // The notes go with the state directory.
            let finished = attempt.stop.is_some_and(|it| it.why == Stop::Finished);
            let noteless =
                engine.agents.guard_off || all.iter().all(|it| it.epoch != engine.agents.epoch);
            let unnoticed = noteless && finished;
            if !unnoticed && !all.iter().any(|it| it.succeeded) {
                let truth: Vec<_> = all.iter().map(|it| it.ended).collect();
                self.fail(format!(
                    "S18: attempt {number} of {name} succeeded, and in truth {truth:?}"
                ));
            }
        }
        // Where no init writes anything down, nobody knows.
        let forgotten =
            engine.agents.guard_off && engine.agents.forgotten.contains(&attempt.container);
        if end.result == AttemptResult::NeverStarted && !all.is_empty() && !forgotten {
            self.fail(format!("S18: attempt {number} of {name} never started, and it did"));
        }
        if end.message == "Succeeded" {
            self.fail(format!("S18: attempt {number} of {name} is {:?}: Succeeded", end.result));
        }
        if end.result == AttemptResult::Cancelled && record.cancel.is_none() {
            self.fail(format!("S9: attempt {number} of {name} was ended, and nobody said so"));
        }
    }

    fn run_ends(&mut self, record: &RunRecord) {
        let Some(end) = &record.end else { return };
        let name = record.id.name.as_str();
        self.runs.making.remove(name);
        if record.open_attempt().is_some() {
            self.fail(format!("L2: {name} has an end, and its last attempt has none"));
        }
        let last = record.attempts.last().and_then(|it| it.end.as_ref()).map(|it| it.result);
        let fits = match end.phase {
            Phase::Succeeded => last == Some(AttemptResult::Succeeded),
            Phase::Failed => !matches!(last, Some(AttemptResult::Succeeded | AttemptResult::Lost)),
            Phase::Lost => last == Some(AttemptResult::Lost),
            Phase::NeverStarted => matches!(last, None | Some(AttemptResult::NeverStarted)),
            Phase::Cancelled => record.cancel.is_some(),
            _ => false,
        };
        if !fits {
            self.fail(format!("S18: {name} is {}, and its last attempt {last:?}", end.phase));
        }
    }

    // Calls.

    pub(super) fn run_is_made(
        &mut self,
        name: &ContainerName,
        target: &chanop::world::run::RunTarget,
        engine: &Engine,
        settings: &Settings,
    ) {
        let run = target.run.clone();
        let config = &target.target.config;
        let channel = config.labels.get("dev.chanop.channel").cloned().unwrap_or_default();
        let wanted = format!("chanop_{}_{channel}_{run}_{}", settings.instance, target.attempt);
        if name.as_str() != wanted {
            self.fail(format!("S13: {run}: create of {name}"));
        }
        if config.labels.values().any(|label| label.contains(HUSH)) {
            self.fail(format!("S24: {run}: a variable's value is in a label"));
        }
        let newest = self.runs.acked.values().rfind(|it| it.id.name == run).cloned();
        let Some(record) = newest.filter(|it| it.end.is_none()) else {
            return self.fail(format!("S5: {run}: create without a record that has no end"));
        };
        if record.open_attempt().is_some() || record.next_attempt() != target.attempt {
            self.fail(format!("S5: {run}: create of attempt {}", target.attempt));
        }
        if record.held {
            self.fail(format!("5: {run}: create though it is held"));
        }
        let spec = self.beliefs.get(&channel).and_then(|it| it.spec.as_ref());
        if let Some(spec) = spec {
            let (most, suspended) = (spec.runs.at_once as usize, spec.suspend);
            let open =
                self.runs.open(&record.id, engine).filter(|(it, _)| it.channel.as_str() == channel);
            let others = self.runs.making.iter();
            let others = others
                .filter(|(it, making)| it.as_str() != run.as_str() && making.channel == channel);
            if open.count() + others.count() >= most {
                self.fail(format!("{run} is one more than {most} in {channel}"));
            }
            if suspended {
                self.fail(format!("{run}: create in a suspended channel"));
            }
        }
        self.runs.making.insert(run.to_string(), Making { channel, container: None });
        if let (Task::Prompt(told), Ask::Prompt(asked)) = (&target.task, &record.order.ask)
            && told.as_ref() != asked.as_str()
        {
            self.fail(format!("S15: {run} is told what was not admitted"));
        }
    }

    pub(super) fn run_starts(&mut self, id: &ContainerId) {
        let count = self.runs.starts.entry(id.clone()).or_default();
        *count += 1;
        if *count > 1 {
            self.fail(format!("S3: {} is started a second time", id.short()));
        }
        let process = self.runs.process;
        let Some((record, attempt)) = self.runs.of_container(id) else {
            return self.fail(format!("S8: {} is started without a permit", id.short()));
        };
        let name = record.id.name.clone();
        let (held, open) = (record.held, attempt.end.is_none());
        if !open || attempt.permitted_by != process {
            return self.fail(format!("S8: {name} is started without a permit of this process"));
        }
        if held {
            self.fail(format!("5: {name} is started, though it is held"));
        }
    }

    /// It surely did not arrive.
    pub(super) fn start_is_unsent(&mut self, id: &ContainerId) {
        if let Some(count) = self.runs.starts.get_mut(id) {
            *count = count.saturating_sub(1);
        }
    }

    pub(super) fn run_stops(&mut self, now: Duration, id: &ContainerId, engine: &Engine) {
        let tampered = self.tampered.contains(id);
        let book = &self.runs;
        let written =
            book.written.values().find(|it| it.attempts.iter().any(|a| a.container == *id));
        let Some(record) = written else {
            let by_hand = engine.agents.of(id).any(|it| it.by != Starter::Operator);
            if !tampered
                && !by_hand
                && engine.agents.of(id).any(|it| it.epoch == engine.agents.epoch)
            {
                self.fail(format!("S9: stop of {}, of which there is no record", id.short()));
            }
            return;
        };
        let over = record.attempts.iter().any(|it| it.container == *id && it.end.is_some());
        let attempt = record.attempts.iter().find(|it| it.container == *id);
        let deadline = attempt.map(|it| it.terms.active_deadline_seconds);
        let first = engine.agents.ledger.iter().find(|it| it.agent.run == record.id.name.as_str());
        let late = match (deadline, first) {
            (Some(0), _) | (_, None) => false,
            (Some(deadline), Some(first)) => {
                now.saturating_sub(first.began) + Duration::from_secs(1)
                    >= Duration::from_secs(deadline)
            }
            (None, Some(_)) => true,
        };
        let refused = engine.agents.of(id).any(|it| {
            it.printed(now).filter(|line| line.contains(r#""error_status":401"#)).count() >= 3
        });
        // One whose end the engine did not notice is silent as well.
        let stays = engine.agents.of(id).any(|it| {
            let silent = it.ended.map(|(at, ..)| now.saturating_sub(at));
            let stays = it.stays_for(now);
            stays.is_some_and(|stays| stays + silent.unwrap_or_default() >= STAYS)
        });
        let why = over
            || record.cancel.is_some()
            || late
            || refused
            || stays
            || tampered
            || book.clocks_move;
        if !why {
            let name = record.id.name.clone();
            self.fail(format!("S9: {name} is stopped before its time"));
        }
    }

    pub(super) fn run_is_removed(&mut self, id: &ContainerId, force: bool, engine: &Engine) {
        let of_this_store = |it: &&Execution| it.epoch == engine.agents.epoch;
        let ran = engine.agents.of(id).filter(of_this_store).any(|it| it.by == Starter::Operator);
        let durable = self.runs.of_container(id).is_some_and(|(_, it)| it.end.is_some())
            || self.runs.buried_ends.contains(id);
        if ran && !durable {
            // A fence: seen as not started, and without force the engine refuses it once a start has come through.
            let fence = self.looks.get(id).is_some_and(|it| it.state == ContainerState::Created);
            if !fence || force {
                self.fail(format!("S7: remove of {}, whose end is not on the disk", id.short()));
            }
        }
        if force && !durable && engine.agents.live_in(id).is_some() {
            self.fail(format!("S7: {} is removed at work", id.short()));
        }
    }

    pub(super) fn run_was_made(&mut self, run: &str, id: &ContainerId) {
        if let Some(making) = self.runs.making.get_mut(run) {
            making.container = Some(id.clone());
        }
    }

    /// The engine says of a container that it is not ours, or gone: what had no permit to start in it has no place any more.
    pub(super) fn unpermitted_is_lost(&mut self, id: &ContainerId) {
        self.runs.making.retain(|_, making| making.container.as_ref() != Some(id));
    }

    /// There will be no container, or there is none any more.
    pub(super) fn run_is_not_made(&mut self, run: &str) {
        self.runs.making.remove(run);
    }

    pub(super) fn run_is_seen(&mut self, id: &ContainerId, ours: bool) {
        if ours {
            self.runs.seen.insert(id.clone());
        } else {
            self.runs.seen.remove(id);
            self.unpermitted_is_lost(id);
        }
    }

    /// Its end is on the disk, and the engine once said that it is ours: the name of what has ended proves nothing new.
    pub(super) fn may_go_unseen(&self, id: &ContainerId) -> bool {
        let over = self.runs.of_container(id).is_some_and(|(_, it)| it.end.is_some());
        over && self.runs.seen.contains(id)
    }

    /// S4, and who shares a conversation.
    pub(super) fn executions(&mut self, engine: &Engine, max_runs: u32) {
        let agents = &engine.agents;
        let ours: Vec<&Execution> =
            agents.ledger.iter().filter(|it| it.by == Starter::Operator).collect();
        let mut count: BTreeMap<(u32, &str, u32), u32> = BTreeMap::new();
        let mut broken = None;
        for it in &ours {
            let times = count.entry((it.epoch, &it.agent.run, it.agent.attempt)).or_default();
            *times += 1;
            if *times > 1 {
                broken = Some(format!(
                    "S4: attempt {} of {} runs twice",
                    it.agent.attempt, it.agent.run
                ));
            }
        }
        let live: Vec<&&Execution> =
            ours.iter().filter(|it| it.is_live() && it.epoch == agents.epoch).collect();
        for (number, one) in live.iter().enumerate() {
            for other in live.iter().skip(number + 1) {
                if one.agent.run == other.agent.run {
                    broken = Some(format!("S4: two attempts of {} are at work", one.agent.run));
                }
                let same = one.agent.writes() == other.agent.writes();
                if same && one.agent.channel == other.agent.channel {
                    broken = Some(format!(
                        "{} and {} share a conversation",
                        one.agent.run, other.agent.run
                    ));
                }
            }
        }
        if live.len() > max_runs as usize {
            broken = Some(format!("{} runs are at work on this host", live.len()));
        }
        if let Some(broken) = broken {
            self.fail(broken);
        }
    }

    /// Has every admitted run exactly one end?
    pub fn channel_of_run(&self, run: &ResourceName) -> Option<String> {
        self.runs.beliefs.get(run.as_str())?.file.as_ref().map(|file| file.channel.clone())
    }

    pub(super) fn is_run_call(call: &Call, engine: &Engine) -> bool {
        let is_runs = |id: &ContainerId| engine.agents.made.contains(id);
        match call {
            Call::CreateRun { .. } | Call::ReadPrompt(_) => true,
            Call::Start { id, .. }
            | Call::Stop { id, .. }
            | Call::Remove { id, .. }
            | Call::Inspect(id) => is_runs(id),
            _ => false,
        }
    }
}

/// It did nothing, and may be tried again for nothing.
fn is_free(end: &AttemptEnd) -> bool {
    let nothing = |class: &OutcomeClass| {
        matches!(class, OutcomeClass::Overloaded | OutcomeClass::RateLimited { .. })
    };
    let outcome = end.outcome.as_ref();
    end.result == AttemptResult::NeverStarted
        || outcome.is_some_and(|it| nothing(&it.class) && !it.made_tool_use)
}
