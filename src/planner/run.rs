//! The plan of one run: admitted once, started at most once an attempt, its end written down before anything of it is removed.
//!
//! Read top to bottom it is the run's life: its file's word, its turn, its container, its process, its end, and what is left of it. A
//! step is one thing: a call, or a record to be kept. What is decided from is the record as it is on the disk, and the container as it
//! was last seen: so a step that was carried out and whose answer was lost is found done.

mod admission;
mod attempt;
mod end;
mod history;
mod next;
mod session;
#[cfg(test)]
mod tests;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::mark::Mark;
use super::until;
use crate::container::config::Limits;
use crate::container::{ContainerId, ContainerName, ContainerState};
use crate::resource::text::RelativePath;
use crate::resource::{Now, ResourceName};
use crate::world::World;
use crate::world::image::WantedImage;
use crate::world::observed::Seen;
use crate::world::run::{Attempt, Cancel, Phase, RunEnd, RunRecord, RunTarget, Trigger};

pub use admission::{fingerprint, order_of};
pub use attempt::MEMORY_PATIENCE;
pub use history::expired;
pub use session::Conversation;
pub use turn::{holds, queue_is_full};

/// How often what the engine does by itself is looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// How often it is looked whether something that only a person can change has changed.
const LOOK_NOW_AND_THEN: Duration = Duration::from_mins(1);

/// One thing to do for a run.
#[derive(Debug, Clone, PartialEq)]
pub enum RunAction {
    /// Keep this record.
    Keep(Box<RunRecord>),
    /// Read the prompt.
    ReadPrompt(RelativePath),
    /// Make the container of an attempt.
    Create {
        /// Its name.
        name: ContainerName,
        /// What from.
        target: Arc<RunTarget>,
        /// In which conversation.
        conversation: Conversation,
    },
    /// Start it: once.
    Start(ContainerId),
    /// End its process.
    Stop {
        /// Which.
        id: ContainerId,
        /// Between TERM and KILL.
        grace_seconds: u32,
        /// Why.
        why: crate::claude::outcome::Stop,
    },
    /// End the process of a container whose run has ended: somebody started it by hand.
    StopLeftOver(ContainerId),
    /// Remove it.
    Remove {
        /// Which.
        id: ContainerId,
        /// Also when the engine holds it half dead.
        force: bool,
    },
    /// Take a restart policy off it.
    Update {
        /// Which.
        id: ContainerId,
        /// The limits that it has.
        limits: Limits,
    },
    /// Find out whether an image is there.
    LookForImage(WantedImage),
    /// Pull or build an image.
    BringImage(WantedImage),
    /// Look at it.
    Inspect(ContainerId),
}

/// What should be done for a run, and what is said of it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunStep {
    /// The next action, and why.
    pub want: Option<(RunAction, String)>,
    /// How far it is.
    pub phase: Phase,
    /// Why it is not further, in a word; of an ended run, its outcome's class.
    pub reason: String,
    /// In a sentence.
    pub message: String,
    /// How many are before it, while it waits for its turn.
    pub ahead: Option<usize>,
    /// When to look again though nothing happens.
    pub wake: Option<Duration>,
    /// The branch of recovery that it comes from, if it is one.
    pub mark: Option<Mark>,
}

impl RunStep {
    fn rest(phase: Phase, reason: impl Into<String>, message: impl Into<String>) -> Self {
        Self {
            want: None,
            phase,
            reason: reason.into(),
            message: message.into(),
            ahead: None,
            wake: None,
            mark: None,
        }
    }

    fn act(phase: Phase, action: RunAction, cause: impl Into<String>) -> Self {
        let cause = cause.into();
        let step = Self::rest(phase, phase.as_str(), cause.clone());
        Self { want: Some((action, cause)), ..step }
    }

    fn wake_after(mut self, after: Duration) -> Self {
        self.wake = Some(self.wake.map_or(after, |old| old.min(after)));
        self
    }

    fn marked(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }
}

/// What should be done for one run. `None`: nothing is known of it.
pub fn plan_run(world: &World, name: &ResourceName, now: Now) -> Option<RunStep> {
    let record = world.runs.get(name);
    let desired = world.desired.runs.get(name);
    match (record, desired) {
        (Some(record), _) if record.end.is_none() => {
            Some(Context { world, record, now }.unfinished(desired.map(AsRef::as_ref)))
        }
        (record, Some(desired)) => {
            let step = admission::step(world, name, record, desired, now);
            // What ran with a store that is lost does not wait for its channel or prompt to be written down.
            let waits = record.is_none() && step.want.is_none();
            let found = waits.then(|| admission::found(world, name, now)).flatten();
            Some(match found {
                Some(found) if found.want.is_some() => found,
                Some(RunStep { wake: Some(after), .. }) => step.wake_after(after),
                _ => step,
            })
        }
        (Some(record), None) => Some(Context { world, record, now }.ended()),
        (None, None) => admission::found(world, name, now),
    }
}

/// What the plan of an admitted run looks at.
struct Context<'a> {
    world: &'a World,
    record: &'a Arc<RunRecord>,
    now: Now,
}

impl Context<'_> {
    fn unfinished(&self, desired: Option<&crate::world::run::DesiredRun>) -> RunStep {
        if let Some(why) = self.newly_cancelled(desired) {
            let mut record = RunRecord::clone(self.record);
            record.cancel = Some(Cancel { at: self.now.wall, why: why.clone() });
            return RunStep::act(self.phase(), RunAction::Keep(Box::new(record)), why)
                .marked(Mark::RunCancelled);
        }
        if let Some(attempt) = self.record.open_attempt() {
            return self.attempt(attempt);
        }
        let number = self.record.next_attempt();
        let attempts = self.world.observed.attempts_of(&self.record.id.name);
        // A store that was put back from a copy knows less than the engine.
        let unknown: Vec<_> = attempts
            .iter()
            .filter(|(at, seen)| *at > number && self.known(*at).is_none() && admission::ran(seen))
            .map(|(at, seen)| admission::found_attempt(*at, seen, self.terms()))
            .collect();
        if !unknown.is_empty() {
            let mut record = RunRecord::clone(self.record);
            record.attempts.extend(unknown);
            let keep = RunAction::Keep(Box::new(record));
            return RunStep::act(
                Phase::Running,
                keep,
                "containers of attempts that are on no record",
            )
            .marked(Mark::RunFound);
        }
        let step = match attempts.iter().find(|(attempt, _)| *attempt == number) {
            Some((_, seen)) => self.made(number, seen),
            None => self.to_be_made(number),
        };
        // What is left of earlier attempts goes while there is nothing else to do.
        if step.want.is_none() { self.clear_up(step) } else { step }
    }

    /// Why it is to end though nobody has said so in its record yet.
    fn newly_cancelled(&self, desired: Option<&crate::world::run::DesiredRun>) -> Option<String> {
        let record = self.record;
        if record.cancel.is_some() {
            return None;
        }
        let begun = !record.attempts.is_empty();
        let channel = crate::resource::ObjectRef::channel(record.channel.clone());
        let channel_gone = !self.world.desired.channels.contains_key(&record.channel)
            && self.world.inventory.get(&channel).is_some_and(|row| row.gone_since.is_some());
        if let Some(desired) = desired.filter(|it| it.spec.rerun.unwrap_or(0) == record.id.rerun)
            && desired.spec.cancel == Some(true)
        {
            return Some(format!("cancel is true in {}", desired.source));
        }
        if let (Trigger::File { file, .. }, None) = (&record.trigger, desired)
            && !begun
            && self.world.desired.ready
            && !self.world.desired.may_hide(file)
        {
            return Some(format!("{file} is gone, and it had not begun"));
        }
        // What is at work may be let finish; what only waits never could begin again.
        let ends_with_channel =
            record.open_attempt().is_none_or(|attempt| attempt.terms.cancel_with_channel);
        (channel_gone && ends_with_channel).then(|| format!("channel/{} is gone", record.channel))
    }

    /// How far it is, by its record and its container alone.
    fn phase(&self) -> Phase {
        match self.record.open_attempt() {
            Some(_) => Phase::Running,
            None if self.world.runs.memory.holding.contains(&self.record.id.name) => {
                Phase::Starting
            }
            None => Phase::Queued,
        }
    }

    /// The end of a run that no attempt decided.
    fn over(&self, phase: Phase, reason: &str, message: String) -> RunStep {
        let mut record = RunRecord::clone(self.record);
        let reason = reason.to_owned();
        record.end = Some(RunEnd { phase, reason, message: message.clone(), at: self.now.wall });
        record.not_before = None;
        RunStep::act(phase, RunAction::Keep(Box::new(record)), message)
    }

    /// It has ended: what is left of it stays for a while, and goes.
    fn ended(&self) -> RunStep {
        let step = match &self.record.end {
            Some(end) => RunStep::rest(end.phase, end.reason.clone(), end.message.clone()),
            None => RunStep::rest(self.phase(), "", ""),
        };
        self.clear_up(step)
    }

    /// Takes away containers whose end is on record, once they have been kept long enough.
    fn clear_up(&self, step: RunStep) -> RunStep {
        let mut step = step;
        let over = self.record.end.is_some();
        for (number, seen) in self.world.observed.attempts_of(&self.record.id.name) {
            let left = match self.known(number) {
                Some(attempt) => match &attempt.end {
                    Some(end) => {
                        let due = later(end.recorded_at, attempt.terms.keep_container_seconds);
                        until(self.now.wall, due)
                    }
                    None => continue,
                },
                // The next attempt's, which is wanted.
                None if !over && number == self.record.next_attempt() => continue,
                None if !admission::ran(seen) => Duration::ZERO,
                // A person started what nobody wanted any more.
                None => {
                    let age = self.now.mono.saturating_sub(seen.first_seen);
                    self.world.settings.stray_grace.saturating_sub(age)
                }
            };
            if !left.is_zero() {
                step = step.wake_after(left);
                continue;
            }
            if let Some((action, cause)) = take_away(seen, self.now) {
                step.want = Some((action, cause));
                return step;
            }
            step = step.wake_after(LOOK_AGAIN);
        }
        step
    }

    /// The attempt of this number, of this run or an earlier one of its name.
    fn known(&self, number: u32) -> Option<&Attempt> {
        let mut all = self.world.runs.all_of(&self.record.id.name);
        all.find_map(|record| record.attempt(number))
    }
}

/// What ends the stay of a container whose end is on record, or was.
fn take_away(seen: &Seen, now: Now) -> Option<(RunAction, String)> {
    let id = seen.snapshot.id.clone();
    let cause = "its end is on record";
    match seen.state() {
        ContainerState::Created | ContainerState::Exited => {
            Some((RunAction::Remove { id, force: false }, cause.to_owned()))
        }
        ContainerState::Dead => Some((RunAction::Remove { id, force: true }, cause.to_owned())),
        ContainerState::Running | ContainerState::Restarting => {
            Some((RunAction::StopLeftOver(id), "started by hand after its end".to_owned()))
        }
        ContainerState::Removing | ContainerState::Unknown => look_again(seen, now),
        ContainerState::Paused => None,
    }
}

/// A look, unless there was one just now.
fn look_again(seen: &Seen, now: Now) -> Option<(RunAction, String)> {
    let age = now.mono.saturating_sub(seen.read_at);
    let due = age >= LOOK_AGAIN;
    due.then(|| (RunAction::Inspect(seen.snapshot.id.clone()), "looks again".to_owned()))
}

fn later(at: Timestamp, seconds: u64) -> Timestamp {
    let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).unwrap_or(i64::MAX / 4));
    at.checked_add(span).unwrap_or(Timestamp::MAX)
}
