//! Runs: whose plan is carried out now, and what must be on the disk first.
//!
//! A run's records are kept one by one with everything else (`save`), and as long as one of them is not durable, nothing is done for
//! the run and nobody is told: so a start follows its permit, and a removal its result, whatever is lost in between.

mod answers;
mod asked;
mod books;
mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Controller;
use super::drive::SAFETY_NET;
use super::effect::{Call, Effect, FollowRun};
use super::input::Doorbell;
use crate::container::label::Role;
use crate::container::{ContainerId, ContainerName, ContainerState};
use crate::planner::Mark;
use crate::planner::run::{MEMORY_PATIENCE, RunAction, RunStep, holds, plan_run};
use crate::resource::condition::Reason;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::desired::Desired;
use crate::world::preparation::RunPlace;
use crate::world::record::{Write, meta_key};
use crate::world::run::{DesiredRun, Followed, Live, RunProgress, RunRecord, Runs};

/// So many waiting runs of a channel are planned again when a place becomes free: the first of them take it.
const NEXT_IN_LINE: usize = 16;

/// What the core remembers of runs beside the world.
#[derive(Debug, Default)]
pub(super) struct RunBooks {
    /// Of these a record is on its way to the disk, or waits to be.
    unsaved: BTreeSet<ResourceName>,
    /// Of these a record is being written.
    committing: BTreeSet<ResourceName>,
    /// Who waits for the admission of a run to be durable.
    submitted: Vec<(u64, ResourceName)>,
    /// Worth telling, and not worth a commit of its own: it goes with the next one, and is lost in a crash.
    pub(super) told: Vec<Write>,
    /// As last said to the follower.
    following: Arc<BTreeMap<ContainerId, FollowRun>>,
    /// Was it already decided which runs are held because the store is new?
    first_sight_decided: bool,
    /// Steps as last planned.
    pub(super) steps: BTreeMap<ResourceName, RunStep>,
}

/// Before anything is heard of them: what became of containers while nobody was there, their engine may make up.
/// Answers how many they are.
pub(super) fn adopt(runs: &mut Runs, first_sight: Option<&String>) -> u64 {
    let open: Vec<ContainerId> = runs
        .iter()
        .filter_map(|record| record.open_attempt())
        .map(|attempt| attempt.container.clone())
        .collect();
    let adopted = open.len() as u64;
    for id in open {
        runs.memory.containers.insert(id, Live { gap: true, ..Live::default() });
    }
    let names = first_sight.map(String::as_str).unwrap_or_default().split_ascii_whitespace();
    runs.memory.first_sight = names.filter_map(|name| ResourceName::parse(name).ok()).collect();
    adopted
}

/// By file, then by place in it, then by name; runs without a file first.
pub(super) fn in_file_order(desired: &Desired, mut runs: Vec<ObjectRef>) -> Vec<ObjectRef> {
    let source = |run: &ObjectRef| desired.runs.get(&run.name).map(|desired| &desired.source);
    runs.sort_by(|a, b| (source(a), &a.name).cmp(&(source(b), &b.name)));
    runs
}

impl RunBooks {
    /// Is it known which runs were there when the store was new?
    pub(super) fn begin(first_sight_decided: bool) -> Self {
        Self { first_sight_decided, ..Self::default() }
    }

    pub(super) fn is_saving(&self, name: &ResourceName) -> bool {
        self.unsaved.contains(name) || self.committing.contains(name)
    }
}

impl Controller {
    /// Plans a run, and carries out what its plan wants, if its time is now.
    pub(super) fn step_run(&mut self, now: Now, object: &ObjectRef) {
        let name = &object.name;
        if self.run_books.is_saving(name) {
            return;
        }
        self.refresh_holding(name);
        let Some(step) = plan_run(&self.world, name, now) else {
            self.run_books.steps.remove(name);
            self.drop_key(object);
            return;
        };
        self.marks.extend(step.mark);
        let blocked = self.blocked().is_some();
        self.stats.run_reconciles.add(match &step.want {
            Some(_) if blocked => "blocked",
            Some(_) => "wanting",
            None if step.wake.is_some() => "waiting",
            None => "resting",
        });
        let wake = step.wake.map(|after| now.mono + after);
        let net = step.want.is_some().then_some(now.mono + SAFETY_NET);
        self.wake_next(object, wake.into_iter().chain(net).min());
        let changed =
            self.run_books.steps.insert(name.clone(), step.clone()).as_ref() != Some(&step);
        if changed {
            self.touch(object);
        }
        // Nothing is left to be done, and nothing is still to be heard of it.
        let over = self.world.runs.get(name).is_none_or(|record| record.end.is_some());
        let quiet = self.keys.get(object).is_some_and(|key| {
            key.wake_at.is_none() && key.must_read.is_none() && key.echo.is_empty()
        });
        let wanted =
            self.world.desired.runs.contains_key(name) && self.world.runs.get(name).is_none();
        if over && quiet && !wanted && step.want.is_none() {
            self.keys.remove(object);
            self.note_dropped(object);
            return;
        }
        if blocked {
            return;
        }
        let by_name = self.world.runs.get(name).map(|record| {
            let number = record.next_attempt();
            ContainerName::run(&self.world.settings.instance, &record.channel, name, number)
        });
        if self.reads_first(now, object, by_name) {
            return;
        }
        if let Some((action, cause)) = step.want {
            self.carry_out_run(now, object, action, cause);
        }
    }

    fn carry_out_run(&mut self, now: Now, object: &ObjectRef, action: RunAction, cause: String) {
        let name = &object.name;
        let key = self.keys.entry(object.clone()).or_default();
        let fresh = key.fresh_at(now.mono);
        if let Some(gate) = key.read_gate.filter(|gate| gate.until > now.mono) {
            self.wake_at(object, gate.until);
            return;
        }
        let gate = key.gate.filter(|gate| gate.until > now.mono);
        // What is only written down, or looked at, waits for no gate.
        let action = match action {
            RunAction::Keep(record) => return self.keep_run(now, *record, &cause),
            RunAction::Inspect(id) => {
                // A second look is wanted a moment after the first, and none before.
                let last = key.fresh.as_ref().filter(|(of, _)| *of == id).map(|(_, at)| *at);
                let next = last.map(|at| at + MEMORY_PATIENCE).filter(|at| *at > now.mono);
                return match next {
                    Some(at) => self.wake_at(object, at),
                    None => self.dispatch(object, Call::Inspect(id), cause),
                };
            }
            action => action,
        };
        if let Some(gate) = gate {
            self.marks.insert(Mark::GateClosed);
            self.wake_at(object, gate.until);
            return;
        }
        let (call, stop) = match action {
            RunAction::Keep(_) | RunAction::Inspect(_) => return,
            RunAction::ReadPrompt(file) => {
                return self.dispatch(object, Call::ReadPrompt(file), cause);
            }
            RunAction::LookForImage(image) => return self.look_for_image(image, cause),
            RunAction::BringImage(image) => return self.bring_image(image, cause),
            RunAction::Create { name: container, target, conversation } => {
                let call = Call::CreateRun { name: container, target };
                if !self.may_change(now, object, &call) {
                    return;
                }
                self.world.runs.memory.making.insert(name.clone(), conversation.made);
                self.refresh_holding(name);
                return self.dispatch(object, call, cause);
            }
            // Its start comes after its making in the same process, and nobody else may send one: no look is needed, and none would help.
            RunAction::Start(id) => {
                let call = Call::Start { id: id.clone(), target: None };
                if self.may_change(now, object, &call) {
                    let live = self.live(&id);
                    live.start_sent = true;
                    live.started_at = Some(now.wall);
                    self.dispatch(object, call, cause);
                }
                return;
            }
            RunAction::Stop { id, grace_seconds, why } => {
                (Call::Stop { id, grace_seconds }, Some(why))
            }
            RunAction::StopLeftOver(id) => (Call::Stop { id, grace_seconds: 10 }, None),
            RunAction::Remove { id, force } => {
                let place = self.place_of(&id);
                (Call::Remove { id, force, place }, None)
            }
            RunAction::Update { id, limits } => (Call::Update { id, limits }, None),
        };
        let (Call::Stop { id, .. } | Call::Remove { id, .. } | Call::Update { id, .. }) = &call
        else {
            return;
        };
        let id = id.clone();
        if fresh.as_ref() != Some(&id) && !self.is_surely_ended(object, &id) {
            self.marks.insert(Mark::LooksFirst);
            self.will_change(now);
            let cause = format!("looks before it is to {}", call.word());
            self.dispatch(object, Call::Inspect(id), cause);
            return;
        }
        if self.may_change(now, object, &call) {
            if let Some(why) = stop {
                self.live(&id).stop.get_or_insert(why);
            }
            self.dispatch(object, call, cause);
        }
    }

    /// Was it seen ended by an inspect, with its end on record, and nothing heard since, which may be another name? A remove without
    /// force changes nothing that a hand may have started since: the engine refuses it.
    fn is_surely_ended(&self, object: &ObjectRef, id: &ContainerId) -> bool {
        let live = self.world.runs.memory.of(id);
        let heard = self.keys.get(object).map_or(0, |key| key.last_event);
        self.world.observed.get(id).is_some_and(|seen| {
            seen.as_of > heard
                && seen.state() == ContainerState::Exited
                && seen.snapshot.details.is_some()
                && live.is_some_and(|live| live.followed.is_some())
        })
    }

    /// What the host has for a container of ours.
    fn place_of(&self, id: &ContainerId) -> Option<RunPlace> {
        let identity = &self.world.observed.get(id)?.identity;
        match &identity.role {
            Role::Run { run, attempt } => Some(RunPlace {
                channel: identity.channel.clone(),
                run: run.clone(),
                attempt: *attempt,
            }),
            Role::Shell => None,
        }
    }

    pub(super) fn live(&mut self, id: &ContainerId) -> &mut Live {
        self.world.runs.memory.containers.entry(id.clone()).or_default()
    }

    /// Keeps a record. Nothing more is done for the run until it is durable.
    fn keep_run(&mut self, now: Now, mut record: RunRecord, cause: &str) {
        let name = record.id.name.clone();
        let before = self.world.runs.record(&record.id).cloned();
        if before.is_none() && record.revision.is_none() {
            record.revision.clone_from(&self.view.specs.revision);
        }
        let record = Arc::new(record);
        self.enter(now, before.as_deref(), &record, cause);
        self.world.runs.put(Arc::clone(&record));
        self.unsaved.push(Write::Run(Arc::clone(&record)));
        self.run_books.unsaved.insert(name.clone());
        self.world.runs.troubles.remove(&name);
        self.refresh_holding(&name);
        if record.open_attempt().is_none() {
            self.enqueue_next(&record.channel);
        }
        self.enqueue_channel(&record.channel);
    }

    /// Records that are being written from now on.
    pub(super) fn runs_committing(&mut self) {
        let unsaved = std::mem::take(&mut self.run_books.unsaved);
        self.run_books.committing.extend(unsaved);
    }

    /// They are durable, or to be written again.
    pub(super) fn runs_committed(&mut self, durable: bool) {
        let committed = std::mem::take(&mut self.run_books.committing);
        if !durable {
            self.run_books.unsaved.extend(committed);
            return;
        }
        for name in committed {
            let object = ObjectRef::run(name);
            self.touch(&object);
            self.enqueue(&object);
        }
        self.answer_submitted();
    }

    /// Does it hold a place? Whoever waits for one is planned again when one becomes free.
    pub(super) fn refresh_holding(&mut self, name: &ResourceName) {
        let holds = holds(&self.world, name);
        let holding = &mut self.world.runs.memory.holding;
        let changed = if holds { holding.insert(name.clone()) } else { holding.remove(name) };
        if !changed || holds {
            return;
        }
        if let Some(record) = self.world.runs.get(name) {
            let channel = record.channel.clone();
            self.enqueue_next(&channel);
        }
        // The host's places are everybody's.
        let full = self.world.runs.memory.holding.len() + 1
            >= usize::try_from(self.world.settings.max_runs).unwrap_or(usize::MAX);
        if full {
            let others: Vec<ResourceName> = self.world.runs.busy_channels().cloned().collect();
            for channel in others {
                self.enqueue_next(&channel);
            }
        }
    }

    /// Every run of a channel that has not ended is planned again.
    pub(super) fn enqueue_runs_of(&mut self, channel: &ResourceName) {
        let all = self.world.runs.unfinished_in(channel);
        let all: Vec<ObjectRef> =
            all.map(|record| ObjectRef::run(record.id.name.clone())).collect();
        for object in all {
            self.enqueue(&object);
        }
    }

    /// The first of those who wait in a channel are planned again.
    pub(super) fn enqueue_next(&mut self, channel: &ResourceName) {
        let holding = &self.world.runs.memory.holding;
        let wall = self.now.wall;
        let next: Vec<ObjectRef> = self
            .world
            .runs
            .unfinished_in(channel)
            .filter(|record| !holding.contains(&record.id.name))
            // A person's word or the time wakes these, and until then they must not hide those behind.
            .filter(|record| !record.held && record.not_before.is_none_or(|at| at <= wall))
            .take(NEXT_IN_LINE)
            .map(|record| ObjectRef::run(record.id.name.clone()))
            .collect();
        for object in next {
            self.enqueue(&object);
        }
    }

    /// A prompt was read, or cannot be: runs that come after it in the files are planned again, behind it.
    pub(super) fn enqueue_after_earlier(&mut self, object: &ObjectRef) {
        self.enqueue(object);
        let waits = |step: &RunStep| step.reason == Reason::AfterEarlierRun.as_str();
        let waiting = self.run_books.steps.iter().filter(|(_, step)| waits(step));
        let waiting: Vec<ObjectRef> =
            waiting.map(|(name, _)| ObjectRef::run(name.clone())).collect();
        for object in in_file_order(&self.world.desired, waiting) {
            self.enqueue(&object);
        }
    }

    /// What the engine says of a run's container is more than that something is to be looked at.
    pub(super) fn run_rang(&mut self, object: &ObjectRef, doorbell: &Doorbell) {
        let of_open = self
            .world
            .runs
            .get(&object.name)
            .and_then(|record| record.open_attempt())
            .is_some_and(|attempt| attempt.container == doorbell.id);
        if !of_open {
            return;
        }
        let mono = self.now.mono;
        let live = self.live(&doorbell.id);
        match doorbell.action.as_str() {
            "start" => live.ran = true,
            "die" => {
                live.ran = true;
                live.exit_event = doorbell.exit_code.or(live.exit_event);
                live.ended_at.get_or_insert(mono);
            }
            _ => {}
        }
    }

    /// The engine is away, or its events are: what it says later of an end that nobody heard of may be made up.
    pub(super) fn runs_unheard(&mut self) {
        for live in self.world.runs.memory.containers.values_mut() {
            live.gap |= live.exit_event.is_none();
        }
    }

    pub(super) fn run_progressed(&mut self, id: &ContainerId, progress: RunProgress) {
        let Some(object) = self.run_of(id) else { return };
        let mono = self.now.mono;
        let live = self.live(id);
        let refused = live.progress.is_some_and(|old| old.refused != progress.refused);
        let finished = live.progress.and_then(|old| old.finished);
        if finished != progress.finished {
            live.finished_at = progress.finished.map(|_| mono);
        }
        live.progress = Some(progress);
        live.ran = true;
        self.touch(&object);
        if refused || progress.refused > 0 || finished != progress.finished {
            self.enqueue(&object);
        }
    }

    pub(super) fn run_followed(&mut self, id: &ContainerId, followed: Followed) {
        let Some(object) = self.run_of(id) else { return };
        self.live(id).followed = Some(Arc::new(followed));
        self.enqueue(&object);
    }

    fn run_of(&self, id: &ContainerId) -> Option<ObjectRef> {
        self.run_books.following.get(id).map(|follow| ObjectRef::run(follow.run.name.clone()))
    }

    /// Whose output is to be followed now.
    pub(super) fn follow_runs(&mut self) {
        let runs = &self.world.runs;
        let mut wanted = BTreeMap::new();
        for name in &runs.memory.holding {
            let Some(record) = runs.get(name) else { continue };
            let Some(attempt) = record.open_attempt() else { continue };
            let live = runs.memory.of(&attempt.container);
            let seen = self.world.observed.get(&attempt.container);
            let state = seen.map(crate::world::observed::Seen::state);
            // The log of one that is only made ends at once: its start may be heard of before it is answered.
            let began = match state {
                Some(state) => state != ContainerState::Created,
                None => live.is_some_and(|live| live.ran),
            };
            let silent = live.is_some_and(|live| live.fenced && !live.ran);
            // What is not listed yet has not ended: only who asked for it by its ID knows.
            let gone = live.is_some_and(|live| live.gone);
            if silent || !(began || gone) || live.is_some_and(|live| live.followed.is_some()) {
                continue;
            }
            // Not seen is not ended: the first list may not be there, or the start's answer.
            let ended = live.is_some_and(|live| live.gone || live.ended_at.is_some())
                || matches!(state, Some(ContainerState::Exited | ContainerState::Dead));
            let follow = FollowRun {
                run: record.id.clone(),
                channel: record.channel.clone(),
                attempt: attempt.number,
                ended,
            };
            wanted.insert(attempt.container.clone(), follow);
        }
        if *self.run_books.following != wanted {
            self.run_books.following = Arc::new(wanted);
            self.out.push(Effect::FollowRuns(Arc::clone(&self.run_books.following)));
        }
    }

    /// The files want something else than before: of runs, or of the channels that they are in.
    pub(super) fn runs_desired(
        &mut self,
        old: &Desired,
        channels: &BTreeSet<ResourceName>,
        global: bool,
    ) {
        self.decide_first_sight();
        let new = &self.world.desired.runs;
        let mut changed: BTreeSet<ResourceName> = new
            .iter()
            .filter(|(name, run)| global || old.runs.get(*name) != Some(run))
            .map(|(name, _)| name.clone())
            .collect();
        changed.extend(old.runs.keys().filter(|name| !new.contains_key(*name)).cloned());
        let waits_for = |run: &DesiredRun| channels.contains(&run.spec.channel_name);
        let waiting = new.iter().filter(|(_, run)| waits_for(run));
        changed.extend(waiting.map(|(name, _)| name.clone()));
        // What is found on the engine waits for the first reading of the files.
        if old.unread != self.world.desired.unread || old.ready != self.world.desired.ready {
            changed.extend(self.world.observed.runs().cloned());
        }
        let busy: Vec<ResourceName> = self
            .world
            .runs
            .busy_channels()
            .filter(|channel| global || channels.contains(*channel))
            .cloned()
            .collect();
        for channel in busy {
            let all = self.world.runs.unfinished_in(&channel);
            changed.extend(all.map(|record| record.id.name.clone()));
        }
        // What one scan brings is admitted in the order of the files.
        let changed = changed.into_iter().map(ObjectRef::run).collect();
        for object in in_file_order(&self.world.desired, changed) {
            self.touch(&object);
            self.enqueue(&object);
        }
    }

    /// At the first complete scan: runs that are there although the store is new may have run before.
    fn decide_first_sight(&mut self) {
        if self.run_books.first_sight_decided || !self.world.desired.ready {
            return;
        }
        self.run_books.first_sight_decided = true;
        let names: Vec<&str> = self.world.desired.runs.keys().map(ResourceName::as_str).collect();
        self.unsaved.push(Write::Meta(meta_key::FIRST_SIGHT.to_owned(), names.join(" ")));
        self.world.runs.memory.first_sight = self.world.desired.runs.keys().cloned().collect();
    }
}
