//! An attempt: its container made, permitted, started once, followed to its end.

use std::sync::Arc;
use std::time::Duration;

use super::next::limit_wait;
use super::session::{Conversation, of_next};
use super::turn::{Turn, bounds, turn, unrecorded};
use super::{Context, LOOK_AGAIN, LOOK_NOW_AND_THEN, RunAction, RunStep, later, look_again, until};
use crate::claude::outcome::Stop;
use crate::container::snapshot::Details;
use crate::container::{ContainerName, ContainerState, Snapshot};
use crate::planner::action::Action;
use crate::planner::channel::network_wait;
use crate::planner::image::{self, ImageStep};
use crate::planner::mark::Mark;
use crate::planner::template;
use crate::planner::writer::writer_above;
use crate::resource::condition::Reason;
use crate::resource::effective::{DeletionRuns, RunDefaults};
use crate::resource::{Effective, ObjectRef};
use crate::world::desired::{DesiredChannel, Target, Verdict};
use crate::world::observed::Seen;
use crate::world::run::{Attempt, Live, Made, Order, Phase, RunRecord, StopDecision, Terms};

/// A start whose answer was lost may still come through: so long a container that has not been started is left alone before it is
/// removed, which no start survives.
const START_PATIENCE: Duration = Duration::from_secs(10);
/// Seconds in which a start that was sent comes through, if ever: twice what it may take.
const STARTS_WITHIN: u64 = 240;
/// The output of a container that has ended is waited for so long, and not longer: the record must not hang on it.
const OUTPUT_PATIENCE: Duration = Duration::from_mins(1);
/// The engine hears of a process that was killed for memory a moment after it hears of its end.
pub const MEMORY_PATIENCE: Duration = Duration::from_millis(250);
/// So often in a row the API refuses the credentials before the CLI is spared the rest of its tries.
const REFUSED_OFTEN: u64 = 5;
/// An agent that gave its final result, has nothing pending and prints nothing exits within milliseconds, or never.
const EXIT_TIMEOUT: Duration = Duration::from_secs(30);

impl Context<'_> {
    // Before its permit.

    /// There is no container of the next attempt.
    pub(super) fn to_be_made(&self, number: u32) -> RunStep {
        let record = self.record;
        if let Some(cancel) = &record.cancel {
            return self.over(Phase::Cancelled, "Cancelled", cancel.why.clone());
        }
        if let Some(step) = self.too_late() {
            return step;
        }
        let waits = |phase: Phase, reason: Reason, message: String| {
            let step = RunStep::rest(phase, reason.as_str(), message);
            self.with_deadlines(step)
        };
        if record.held {
            let message = format!(
                "it was there when this store was new, and may have run before: `chanop release run/{}` runs it",
                record.id.name
            );
            return waits(Phase::Pending, Reason::HeldFirstSight, message).marked(Mark::RunHeld);
        }
        let (desired, target) = match self.channel() {
            Ok(channel) => channel,
            Err((reason, message)) => return waits(Phase::Queued, reason, message),
        };
        if let Some(at) = record.not_before.filter(|at| *at > self.now.wall) {
            let message = format!("{}; tried again at {at}", self.last_failure());
            let left = until(self.now.wall, at);
            return waits(Phase::Queued, Reason::BackOff, message).wake_after(left);
        }
        let Some(conversation) = of_next(self.world, record) else {
            return waits(
                Phase::Queued,
                Reason::Waiting,
                "its last attempt has not ended".to_owned(),
            );
        };
        match turn(self.world, record, self.now) {
            Turn::Now => {}
            Turn::Behind(ahead) => {
                let message = format!("{ahead} runs of channel/{} before it", record.channel);
                let mut step = waits(Phase::Queued, Reason::Queued, message);
                step.ahead = Some(ahead);
                return self.behind_unrecorded(step);
            }
            Turn::HostFull => {
                let message = format!(
                    "{} runs go on on this host (--max-runs)",
                    self.world.settings.max_runs
                );
                let step = waits(Phase::Queued, Reason::Queued, message);
                return self.behind_unrecorded(step);
            }
        }
        if !conversation.is_free(self.world, record) {
            let message = "another run is at work in its session".to_owned();
            return waits(Phase::Queued, Reason::SessionInUse, message);
        }
        self.create(number, desired, target, conversation)
    }

    /// Nobody wakes a run when a container goes that no record tells of.
    fn behind_unrecorded(&self, step: RunStep) -> RunStep {
        match unrecorded(self.world).next() {
            Some(_) => step.wake_after(LOOK_AGAIN),
            None => step,
        }
    }

    fn create(
        &self,
        number: u32,
        desired: &DesiredChannel,
        target: &Arc<Target>,
        conversation: Conversation,
    ) -> RunStep {
        let starting = |action, cause| {
            let mut step = RunStep::act(Phase::Starting, action, cause);
            if let Some(trouble) = self.world.runs.troubles.get(&self.record.id.name) {
                step.reason = trouble.reason.as_str();
                step.message = trouble.text();
            }
            self.with_deadlines(step)
        };
        let waits = |reason: Reason, message: String| {
            self.with_deadlines(RunStep::rest(Phase::Starting, reason.as_str(), message))
        };
        if let Some((reason, message)) = network_wait(self.world, target) {
            return waits(reason, message);
        }
        if let Some(message) = writer_above(self.world, &self.record.channel, target) {
            return waits(Reason::Waiting, message).wake_after(LOOK_AGAIN);
        }
        match image::for_new(self.world, target, self.now) {
            ImageStep::There => {}
            ImageStep::Do(Action::LookForImage(image), cause) => {
                return starting(RunAction::LookForImage(image), cause);
            }
            ImageStep::Do(Action::BringImage(image), cause) => {
                return starting(RunAction::BringImage(image), cause);
            }
            ImageStep::Do(_, cause) => return waits(Reason::Waiting, cause),
            ImageStep::UnderWay { reason, message } => return waits(reason, message),
            ImageStep::Failed { reason, message, after } => {
                return waits(reason, message).wake_after(after);
            }
        }
        let made = template::run_container(
            self.record,
            number,
            conversation.made.kind,
            conversation.session,
            desired,
            &self.world.settings,
        );
        match made {
            Ok(target) => {
                let name = ContainerName::run(
                    &self.world.settings.instance,
                    &self.record.channel,
                    &self.record.id.name,
                    number,
                );
                let target = Arc::new(target);
                let cause = format!("attempt {number}");
                starting(RunAction::Create { name, target, conversation }, cause)
            }
            Err(why) => self.over(Phase::NeverStarted, "InvalidSpec", why),
        }
    }

    /// The channel, if runs may begin in it.
    fn channel(&self) -> Result<(&DesiredChannel, &Arc<Target>), (Reason, String)> {
        let record = self.record;
        let world = self.world;
        if !world.desired.ready || world.desired.unavailable.is_some() {
            let message = "the spec directory cannot be read; nothing new is begun".to_owned();
            return Err((Reason::SourceUnavailable, message));
        }
        let Some(desired) = world.desired.channels.get(&record.channel) else {
            let message = format!("there is no channel `{}`", record.channel);
            return Err((Reason::ChannelNotFound, message));
        };
        let object = ObjectRef::channel(record.channel.clone());
        if world.suspended_by_hand(&object, self.now).is_some() {
            return Err((Reason::Suspended, format!("{object} is suspended by hand")));
        }
        match &desired.verdict {
            Verdict::Held { reason, message } => return Err((*reason, message.clone())),
            Verdict::NotForThisHost => {
                return Err((Reason::NotForThisHost, format!("{object} is not for this host")));
            }
            Verdict::Admitted => {}
        }
        if desired.effective.as_ref().is_some_and(|effective| effective.suspend) {
            return Err((Reason::Suspended, format!("{object} is suspended by its file")));
        }
        match &desired.target {
            Some(target) => Ok((desired, target)),
            None => Err((Reason::Waiting, "the host has not been looked at yet".to_owned())),
        }
    }

    /// It has waited longer than it may.
    fn too_late(&self) -> Option<RunStep> {
        let record = self.record;
        if record.held {
            return None;
        }
        if !record.attempts.is_empty() {
            let deadline = self.limit_until().filter(|deadline| *deadline <= self.now.wall)?;
            let message = format!(
                "{}; it waited for the usage limit until {deadline} (runs.queue.maxAge)",
                self.last_failure()
            );
            return Some(self.over(Phase::Failed, "RateLimited", message).marked(Mark::RunTooLate));
        }
        let (deadline, reason) = self.start_by();
        (deadline <= self.now.wall).then(|| {
            let why = self.world.runs.troubles.get(&record.id.name);
            let why = why.map_or_else(String::new, |trouble| format!(": {}", trouble.message));
            let message = format!("it could not begin before {deadline}{why}");
            self.over(Phase::NeverStarted, reason, message).marked(Mark::RunTooLate)
        })
    }

    fn start_by(&self) -> (jiff::Timestamp, &'static str) {
        let record = self.record;
        let own = u64::from(record.order.starting_deadline_seconds);
        let queue =
            bounds(self.world, &record.channel).map(|bounds| bounds.queue_max_age.as_secs());
        match queue.filter(|queue| *queue < own) {
            Some(queue) => (later(record.admitted_at, queue), "QueueMaxAge"),
            None => (later(record.admitted_at, own), "StartingDeadline"),
        }
    }

    /// Until when it waits for a usage limit, if it does.
    fn limit_until(&self) -> Option<jiff::Timestamp> {
        let last = self.record.attempts.last()?.end.as_ref()?;
        limit_wait(last)?;
        let age = bounds(self.world, &self.record.channel)?.queue_max_age;
        Some(later(self.record.admitted_at, age.as_secs()))
    }

    /// It wakes when its time to begin is over.
    fn with_deadlines(&self, step: RunStep) -> RunStep {
        if self.record.held {
            return step;
        }
        let until_when = if self.record.attempts.is_empty() {
            Some(self.start_by().0)
        } else {
            self.limit_until()
        };
        match until_when {
            Some(at) => step.wake_after(until(self.now.wall, at)),
            None => step,
        }
    }

    fn last_failure(&self) -> String {
        self.record.last_end().map_or_else(String::new, |end| end.message.clone())
    }

    /// There is a container of the next attempt, and no permit for it.
    pub(super) fn made(&self, number: u32, seen: &Seen) -> RunStep {
        let id = seen.snapshot.id.clone();
        let record = self.record;
        let starting = |action, cause: &str| RunStep::act(Phase::Starting, action, cause);
        let made = self.world.runs.memory.of(&id).and_then(|live| live.made.clone());
        match (seen.state(), made) {
            (ContainerState::Created, Some(_)) if record.cancel.is_some() => {
                self.to_be_made(number).marked(Mark::RunCancelled)
            }
            (ContainerState::Created, Some(made)) if seen.made_here => {
                self.permit(number, seen, &made)
            }
            // Its volumes are given to the user after it is created, and before its permit. A container that another process created can lack
            // that. No process was permitted to start it.
            (ContainerState::Created, _) => starting(
                RunAction::Remove { id, force: false },
                "made, but perhaps not completely, and nobody may start it",
            )
            .marked(Mark::PerhapsIncomplete),
            (ContainerState::Dead, _) => {
                starting(RunAction::Remove { id, force: true }, "the engine holds it half removed")
            }
            (ContainerState::Removing | ContainerState::Unknown, _) => self.wait_for(seen),
            // A person started it: it ran, and what comes of it is its end.
            (_, made) => {
                let made = made.unwrap_or(Made {
                    kind: super::session::kind_of_next(record)
                        .unwrap_or(crate::world::run::AttemptKind::First),
                    session: uuid::Uuid::nil(),
                    resumes: None,
                });
                let mut step = self.permit(number, seen, &made).marked(Mark::StartedByHand);
                if let Some((RunAction::Keep(record), _)) = &mut step.want
                    && let Some(attempt) = record.attempts.last_mut()
                {
                    attempt.permitted_by = uuid::Uuid::nil();
                }
                step
            }
        }
    }

    fn permit(&self, number: u32, seen: &Seen, made: &Made) -> RunStep {
        let mut record = RunRecord::clone(self.record);
        let found = self.world.images.values().filter_map(|image| image.found.as_ref());
        let digest = found
            .filter(|found| found.id == seen.snapshot.image_id)
            .find_map(|it| it.digest.clone());
        record.attempts.push(Attempt {
            number,
            kind: made.kind,
            session: made.session,
            resumes: made.resumes,
            container: seen.snapshot.id.clone(),
            image: seen.snapshot.image_id.clone(),
            image_digest: digest,
            permitted_at: self.now.wall,
            permitted_by: self.world.settings.process,
            terms: self.terms(),
            stop: None,
            end: None,
        });
        record.next = None;
        record.not_before = None;
        let cause = format!("attempt {number} may start");
        RunStep::act(Phase::Starting, RunAction::Keep(Box::new(record)), cause)
    }

    pub(super) fn terms(&self) -> Terms {
        let channel = self.world.desired.channels.get(&self.record.channel);
        terms(&self.record.order, channel.and_then(|channel| channel.effective.as_deref()))
    }

    // After its permit.

    /// The attempt whose end is not on record.
    pub(super) fn attempt(&self, attempt: &Attempt) -> RunStep {
        let nothing = Live::default();
        let live = self.world.runs.memory.of(&attempt.container).unwrap_or(&nothing);
        match self.world.observed.get(&attempt.container) {
            Some(seen) => self.attempt_seen(attempt, live, seen),
            None => self.attempt_not_seen(attempt, live),
        }
    }

    fn attempt_seen(&self, attempt: &Attempt, live: &Live, seen: &Seen) -> RunStep {
        let id = seen.snapshot.id.clone();
        match seen.state() {
            ContainerState::Created => self.created(attempt, live, seen),
            ContainerState::Running => self.running(attempt, live, seen),
            ContainerState::Paused => RunStep::rest(
                Phase::Running,
                "Paused",
                "paused by a person; left alone until it is unpaused",
            )
            .marked(Mark::RunPaused),
            ContainerState::Restarting => {
                let action = RunAction::Inspect(id);
                match &seen.snapshot.details {
                    Some(details) => self.without_policy(seen, details),
                    None => RunStep::act(Phase::Running, action, "the engine restarts it"),
                }
            }
            ContainerState::Removing | ContainerState::Unknown => self.wait_for(seen),
            ContainerState::Exited | ContainerState::Dead => {
                self.ended_process(attempt, live, &seen.snapshot)
            }
        }
    }

    /// Permitted, and not seen to run.
    fn created(&self, attempt: &Attempt, live: &Live, seen: &Seen) -> RunStep {
        let id = seen.snapshot.id.clone();
        let starting = |action, cause: &str| RunStep::act(Phase::Starting, action, cause);
        let ours = attempt.permitted_by == self.world.settings.process;
        if ours && !live.start_sent && self.record.cancel.is_none() {
            return starting(RunAction::Start(id), "it may start");
        }
        let Some(details) = &seen.snapshot.details else {
            return starting(RunAction::Inspect(id), "was it started?");
        };
        // Unless all was heard, it may be the error of another start, by hand, after one that the engine forgot.
        if !details.error.is_empty() && ours && !live.gap {
            let why = format!("start failed: {}", details.error);
            return self
                .attempt_over(attempt, live, Some(&seen.snapshot), Some(why))
                .marked(Mark::StartLeftError);
        }
        // Its start may have been sent, by this process or by one before it, and may still come through.
        let since = until(attempt.permitted_at, self.now.wall);
        let never_sent = ours && !live.start_sent;
        if let Some(left) =
            START_PATIENCE.checked_sub(since).filter(|it| !never_sent && !it.is_zero())
        {
            let step = RunStep::rest(Phase::Starting, "Starting", "its start was not answered");
            let wait = left.min(LOOK_AGAIN);
            return match look_again(seen, self.now) {
                Some((action, cause)) => starting(action, &cause).wake_after(wait),
                None => step.wake_after(wait),
            }
            .marked(Mark::StartUnanswered);
        }
        starting(
            RunAction::Remove { id, force: false },
            "it may not be started any more, and once it is gone no start can come through",
        )
        .marked(Mark::RunFenced)
    }

    fn running(&self, attempt: &Attempt, live: &Live, seen: &Seen) -> RunStep {
        let id = seen.snapshot.id.clone();
        if let Some(details) = &seen.snapshot.details
            && details.has_restart_policy()
        {
            return self.without_policy(seen, details);
        }
        let stop = |why: Stop, cause: String| {
            let grace_seconds = attempt.terms.grace_seconds;
            RunStep::act(
                Phase::Running,
                RunAction::Stop { id: id.clone(), grace_seconds, why },
                cause,
            )
        };
        if let Some(cancel) = &self.record.cancel {
            return stop(Stop::Cancel, cancel.why.clone()).marked(Mark::RunCancelled);
        }
        let refused = live.progress.is_some_and(|progress| progress.refused >= REFUSED_OFTEN);
        if refused || live.stop == Some(Stop::Refused) {
            let cause = "the API refuses its credentials again and again".to_owned();
            return stop(Stop::Refused, cause).marked(Mark::CredentialsRefused);
        }
        let step = RunStep::rest(Phase::Running, "Running", "the agent works");
        let step = match self.deadline(attempt) {
            Some(at) if at <= self.now.wall => {
                let cause = format!("its {} s are over", attempt.terms.active_deadline_seconds);
                return stop(Stop::Deadline, cause).marked(Mark::RunDeadline);
            }
            Some(at) => step.wake_after(until(self.now.wall, at)),
            None => step,
        };
        let Some(since) = live.finished_at else { return step };
        let silent = self.now.mono.saturating_sub(since);
        if let Some(left) = EXIT_TIMEOUT.checked_sub(silent).filter(|left| !left.is_zero()) {
            return step.wake_after(left);
        }
        let cause = format!("no exit {} s after its final result", EXIT_TIMEOUT.as_secs());
        if attempt.stop.is_some() {
            return stop(Stop::Finished, cause).marked(Mark::DoesNotExit);
        }
        self.decide_stop(attempt, Stop::Finished, cause)
    }

    /// Records why the attempt is ended; the stop follows once that is durable.
    fn decide_stop(&self, attempt: &Attempt, why: Stop, cause: String) -> RunStep {
        let mut record = RunRecord::clone(self.record);
        if let Some(open) = record.attempts.iter_mut().find(|it| it.number == attempt.number) {
            let by = self.world.settings.process;
            open.stop = Some(StopDecision { why, at: self.now.wall, by });
        }
        RunStep::act(Phase::Running, RunAction::Keep(Box::new(record)), cause)
    }

    /// When its time is over: all attempts count, and waiting between them does not.
    pub(super) fn deadline(&self, attempt: &Attempt) -> Option<jiff::Timestamp> {
        let seconds = attempt.terms.active_deadline_seconds;
        if seconds == 0 {
            return None;
        }
        let ran: i64 = self
            .record
            .attempts
            .iter()
            .filter_map(|it| it.end.as_ref())
            .map(|end| end.ran_for().as_secs())
            .sum();
        let left = seconds.saturating_sub(u64::try_from(ran).unwrap_or(0));
        let id = &attempt.container;
        let sent = self.world.runs.memory.of(id).and_then(|live| live.started_at);
        let details = self.world.observed.get(id).and_then(|seen| seen.snapshot.details.as_ref());
        let began = details.and_then(|details| details.started_at);
        // A start that was not answered may have come through later; but the engine's clock may be another.
        let sent = sent.unwrap_or(attempt.permitted_at);
        let began = began.filter(|began| *began > sent && *began <= later(sent, STARTS_WITHIN));
        Some(later(began.unwrap_or(sent), left))
    }

    /// Somebody set a restart policy; a run is never restarted.
    fn without_policy(&self, seen: &Seen, details: &Details) -> RunStep {
        if !details.has_restart_policy() {
            return self.wait_for(seen);
        }
        let limits = self.world.applied.get(&seen.snapshot.id).copied().unwrap_or(details.limits);
        let action = RunAction::Update { id: seen.snapshot.id.clone(), limits };
        RunStep::act(
            Phase::Running,
            action,
            "somebody set a restart policy; a run is never restarted",
        )
        .marked(Mark::RunPolicy)
    }

    fn wait_for(&self, seen: &Seen) -> RunStep {
        let step = match look_again(seen, self.now) {
            Some((action, cause)) => RunStep::act(self.phase(), action, cause),
            None => {
                RunStep::rest(self.phase(), "Waiting", "the engine is at work on its container")
            }
        };
        step.wake_after(LOOK_AGAIN)
    }

    fn ended_process(&self, attempt: &Attempt, live: &Live, snapshot: &Snapshot) -> RunStep {
        let id = snapshot.id.clone();
        let ending = |action, cause: &str| RunStep::act(Phase::Running, action, cause);
        // Seen by a look at it as the open attempt's: one of several that a lost store left may have been seen before.
        let (Some(details), Some(ended_at)) = (&snapshot.details, live.ended_at) else {
            return ending(RunAction::Inspect(id), "how did it end?");
        };
        let since = self.now.mono.saturating_sub(ended_at);
        if details.exit_code == 137
            && !details.oom_killed
            && live.stop.is_none()
            && !live.looked_again
        {
            return match MEMORY_PATIENCE.checked_sub(since).filter(|left| !left.is_zero()) {
                None => ending(RunAction::Inspect(id), "was it killed for memory?")
                    .marked(Mark::SecondLook),
                Some(left) => {
                    RunStep::rest(Phase::Running, "Ending", "its end is looked at").wake_after(left)
                }
            };
        }
        self.with_output(attempt, live, Some(snapshot), since)
    }

    /// Its container is not there, by our name.
    fn attempt_not_seen(&self, attempt: &Attempt, live: &Live) -> RunStep {
        if !self.world.observed.synced {
            return RunStep::rest(
                Phase::Running,
                "EngineUnavailable",
                "the engine does not answer",
            );
        }
        if let Some(renamed) = &live.renamed {
            return self.renamed(attempt, live, renamed);
        }
        if !live.gone {
            let action = RunAction::Inspect(attempt.container.clone());
            return RunStep::act(Phase::Running, action, "its container is not listed")
                .marked(Mark::RunVanished);
        }
        let since = live.ended_at.map_or(Duration::ZERO, |at| self.now.mono.saturating_sub(at));
        self.with_output(attempt, live, None, since)
    }

    /// Renamed by hand: read until it is dead, and not touched.
    fn renamed(&self, attempt: &Attempt, live: &Live, snapshot: &Snapshot) -> RunStep {
        match snapshot.state {
            ContainerState::Exited | ContainerState::Dead => {
                self.ended_process(attempt, live, snapshot).marked(Mark::RunRenamed)
            }
            _ => {
                let message = format!(
                    "its container was renamed to {}: it is read to its end, and not touched",
                    snapshot.name
                );
                let step = RunStep::rest(Phase::Running, "Renamed", message)
                    .wake_after(LOOK_NOW_AND_THEN)
                    .marked(Mark::RunRenamed);
                // No list has it, and its last event may be missed.
                let age = live.looked_at.map(|at| self.now.mono.saturating_sub(at));
                if age.is_none_or(|age| age >= LOOK_NOW_AND_THEN) {
                    let action = RunAction::Inspect(attempt.container.clone());
                    return RunStep {
                        want: Some((action, "does it still work?".to_owned())),
                        ..step
                    };
                }
                step
            }
        }
    }

    /// Its end is known, and its output is waited for.
    fn with_output(
        &self,
        attempt: &Attempt,
        live: &Live,
        snapshot: Option<&Snapshot>,
        since: Duration,
    ) -> RunStep {
        // What never ran has nothing to say.
        let silent = live.fenced && !live.ran;
        if live.followed.is_none() && !silent {
            if let Some(left) = OUTPUT_PATIENCE.checked_sub(since).filter(|left| !left.is_zero()) {
                return RunStep::rest(Phase::Running, "Ending", "its output is read to the end")
                    .wake_after(left);
            }
            return self.attempt_over(attempt, live, snapshot, None).marked(Mark::OutputGivenUp);
        }
        self.attempt_over(attempt, live, snapshot, None)
    }
}

/// The bounds of an attempt, as its order and its channel have them now.
pub(super) fn terms(order: &Order, effective: Option<&Effective>) -> Terms {
    let default = RunDefaults::default();
    let channel = effective.map_or(&default, |effective| &effective.runs);
    let seconds = |own: Option<u32>, channel: Duration| own.map_or(channel.as_secs(), u64::from);
    let grace = seconds(order.termination_grace_period_seconds, channel.termination_grace_period);
    Terms {
        active_deadline_seconds: seconds(order.active_deadline_seconds, channel.active_deadline),
        grace_seconds: u32::try_from(grace).unwrap_or(u32::MAX),
        keep_container_seconds: order
            .keep_container_seconds
            .unwrap_or(channel.keep_container.as_secs()),
        cancel_with_channel: effective
            .is_some_and(|effective| effective.deletion.runs == DeletionRuns::Cancel),
        backoff_limit: order.backoff_limit.unwrap_or(channel.backoff_limit),
    }
}
