//! The plan of one channel: at most one live shell, made from the file, never yanked from under anybody.
//!
//! Read top to bottom it is the table of the README's "what happens when": first what is intended, then what the container
//! is, then the one next action.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::action::{Action, Pending, Status, Step, WaitClock, Wake, Want};
use super::difference::{
    describe, differences, host_environment_drift, is_limit, limits_to_remove,
};
use super::image::{self, ImageStep};
use super::intent::{Intent, STRAY_FAREWELL, farewell_of};
use super::mark::Mark;
use super::{until, writer};
use crate::container::config::FieldDrift;
use crate::container::{ContainerName, ContainerState, label};
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::effective::UpdateStrategyKind;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::World;
use crate::world::desired::{DesiredChannel, Target};
use crate::world::observed::Seen;
use crate::world::record::{Farewell, InventoryRow};

/// How often it is checked whether a shell that somebody is in has become idle. The end of a session is an event too; this
/// is for the event that was lost.
const IDLE_CHECK: Duration = Duration::from_mins(1);
/// How often a container on its way out is looked at.
const REMOVING_CHECK: Duration = Duration::from_secs(2);
/// A container that has run and so often cannot be started again is made anew: after an engine that crashed, it may hold
/// on to what is left of the last run for ever.
const STARTS_TRIED: u32 = 3;

/// What should be done for one channel.
pub fn plan_channel(world: &World, name: &ResourceName, now: Now) -> Step {
    let object = ObjectRef::channel(name.clone());
    let context = Context {
        world,
        name,
        now,
        row: world.inventory.get(&object),
        seen: world.observed.shell_of(name),
    };
    match context.intent(&object) {
        Intent::Keep { desired, target } => {
            context.with_lost_volumes(context.keep(desired, target), target)
        }
        Intent::Stopped { reason, message, farewell } => context.stopped(reason, message, farewell),
        Intent::Disabled { farewell } => context.disabled(farewell),
        Intent::HandsOff { reason, message } => {
            let step = Step::rest(ConditionStatus::False, reason, message);
            let unread = reason == Reason::SourceInvalid;
            if unread { step.marked(Mark::MayBeClaimed) } else { step }
        }
        Intent::Gone { row } => context.gone(row),
        Intent::Stray => context.stray(),
        Intent::Unknown => Step::rest(
            ConditionStatus::Unknown,
            Reason::Waiting,
            "the spec directory has not been read yet".to_owned(),
        ),
        Intent::Nothing => {
            Step::rest(ConditionStatus::Unknown, Reason::UpToDate, "nothing is left".to_owned())
        }
    }
}

impl Step {
    pub(super) fn rest(ready: ConditionStatus, reason: Reason, message: String) -> Self {
        Self {
            want: None,
            status: Status { ready, reason, message },
            pending: None,
            wake: Wake::OnChange,
            recreate: false,
            mark: None,
        }
    }

    fn act(reason: Reason, action: Action, cause: impl Into<String>) -> Self {
        let cause = cause.into();
        let status = Status { ready: ConditionStatus::False, reason, message: cause.clone() };
        let want = Some(Want { action, cause });
        Self { want, status, pending: None, wake: Wake::OnChange, recreate: false, mark: None }
    }

    pub(super) fn wake_after(mut self, after: Duration) -> Self {
        self.wake = Wake::After(after);
        self
    }

    /// A step that recovers from something; the branch nearest to the decision counts.
    fn marked(mut self, mark: Mark) -> Self {
        self.mark.get_or_insert(mark);
        self
    }

    fn recreating(mut self) -> Self {
        self.recreate = true;
        self
    }
}

/// What the plan of one channel looks at.
pub(super) struct Context<'a> {
    pub(super) world: &'a World,
    pub(super) name: &'a ResourceName,
    pub(super) now: Now,
    pub(super) row: Option<&'a InventoryRow>,
    pub(super) seen: Option<&'a Seen>,
}

impl Context<'_> {
    fn container_name(&self) -> ContainerName {
        ContainerName::shell(&self.world.settings.instance, self.name)
    }

    fn keep(&self, desired: &DesiredChannel, target: &Arc<Target>) -> Step {
        let Some(seen) = self.seen else {
            return self.create(target);
        };
        let id = seen.snapshot.id.clone();
        let same = hash_of(seen) == Some(target.hash.as_str());
        match seen.state() {
            ContainerState::Running => self.running(desired, target, seen, same),
            ContainerState::Paused => Step::rest(
                ConditionStatus::False,
                Reason::Paused,
                "paused by a person; left alone until it is unpaused".to_owned(),
            ),
            ContainerState::Created if !same => Step::act(
                Reason::Removing,
                Action::Remove { id, force: false },
                "the spec changed before it was started",
            )
            .recreating()
            .marked(Mark::ChangedBeforeStart),
            ContainerState::Created if seen.made_here => {
                let start = Step::act(Reason::Starting, Action::Start(id), "made, not started yet");
                self.port_wait(target).unwrap_or(start)
            }
            ContainerState::Created => match &seen.snapshot.details {
                None => Step::act(Reason::Starting, Action::Inspect(id), "made, not started yet"),
                Some(details) if !details.error.is_empty() => {
                    let cause = format!("start failed: {}", details.error);
                    let remove = Action::Remove { id, force: false };
                    self.with_trouble(Step::act(Reason::StartFailed, remove, cause))
                        .recreating()
                        .marked(Mark::StartLeftError)
                }
                // Its volumes are given to the user after it is created. A container that another process created, or whose
                // creation was not answered, can lack that. It never ran, so nothing is lost.
                Some(_) => Step::act(
                    Reason::Creating,
                    Action::Remove { id, force: false },
                    "made, but perhaps not completely",
                )
                .recreating()
                .marked(Mark::PerhapsIncomplete),
            },
            ContainerState::Exited if !same => {
                self.replaced(target, seen, "stopped, and the spec has changed".to_owned())
            }
            ContainerState::Exited if self.is_unstartable(seen) => Step::act(
                Reason::Removing,
                Action::Remove { id, force: false },
                "it is bound to a network that is gone",
            )
            .recreating()
            .marked(Mark::Unstartable),
            ContainerState::Exited if self.difference(target, seen, same).is_some() => Step::act(
                Reason::Removing,
                Action::Remove { id, force: false },
                "stopped, and not what its file wants",
            )
            .recreating()
            .marked(Mark::EndedChangedByHand),
            ContainerState::Exited if host_environment_drift(target, seen).is_some() => {
                let what = host_environment_drift(target, seen).unwrap_or_default();
                self.replaced(target, seen, format!("stopped, and new: {what}"))
            }
            ContainerState::Exited => self.port_wait(target).unwrap_or_else(|| self.exited(seen)),
            ContainerState::Restarting => self.restarting(seen, target),
            ContainerState::Removing => self.removing(seen),
            ContainerState::Dead => Step::act(
                Reason::Removing,
                Action::Remove { id, force: true },
                "the engine holds it half removed",
            )
            .recreating()
            .marked(Mark::Dead),
            ContainerState::Unknown => Step::act(
                Reason::Waiting,
                Action::Inspect(id),
                "the engine reports a state that is not known",
            )
            .wake_after(IDLE_CHECK),
        }
    }

    /// It ended, and its spec has changed: made anew. As long as the new image cannot be had, the old one serves.
    fn replaced(&self, target: &Target, seen: &Seen, cause: String) -> Step {
        match image::for_successor(self.world, target, self.now) {
            ImageStep::There => {
                let id = seen.snapshot.id.clone();
                Step::act(Reason::Removing, Action::Remove { id, force: false }, cause).recreating()
            }
            ImageStep::Do(action, cause) => Step::act(Reason::Starting, action, cause),
            ImageStep::UnderWay { reason, message } => {
                Step::rest(ConditionStatus::False, reason, message)
            }
            ImageStep::Failed { .. } => self.exited(seen).marked(Mark::OldOneServes),
        }
    }

    /// Somebody set a restart policy; chanop restarts shells itself.
    fn restarting(&self, seen: &Seen, target: &Target) -> Step {
        let id = seen.snapshot.id.clone();
        let cause = "somebody set a restart policy; chanop restarts shells itself";
        match &seen.snapshot.details {
            None => Step::act(Reason::Stopping, Action::Inspect(id), cause),
            Some(details) if details.has_restart_policy() => Step::act(
                Reason::Stopping,
                Action::Update { id, limits: target.config.limits },
                cause,
            )
            .marked(Mark::Restarting),
            // The engine's last restart by the old policy is on its way.
            Some(_) => self.look_now_and_then(seen, Reason::Stopping, cause),
        }
    }

    fn removing(&self, seen: &Seen) -> Step {
        self.look_now_and_then(seen, Reason::Removing, "the engine is removing it")
            .marked(Mark::Removing)
    }

    /// What the engine does by itself is looked at every two seconds: its event may be lost.
    fn look_now_and_then(&self, seen: &Seen, reason: Reason, message: &str) -> Step {
        let age = self.now.mono.saturating_sub(seen.read_at);
        if age >= REMOVING_CHECK {
            let inspect = Action::Inspect(seen.snapshot.id.clone());
            return Step::act(reason, inspect, message).wake_after(REMOVING_CHECK);
        }
        Step::rest(ConditionStatus::False, reason, message.to_owned())
            .wake_after(REMOVING_CHECK.saturating_sub(age))
    }

    /// Did its start fail for good, by what it was made with?
    fn is_unstartable(&self, seen: &Seen) -> bool {
        self.world.unstartable.get(self.name) == Some(&seen.snapshot.id)
    }

    fn create(&self, target: &Arc<Target>) -> Step {
        if let Some((reason, message)) = network_wait(self.world, target) {
            return Step::rest(ConditionStatus::False, reason, message);
        }
        if let Some(message) = writer::writer_above(self.world, self.name, target) {
            let step = Step::rest(ConditionStatus::False, Reason::Waiting, message);
            return step.wake_after(writer::LOOK_AGAIN);
        }
        if let Some(wait) = self.port_wait(target) {
            return wait;
        }
        match image::for_new(self.world, target, self.now) {
            ImageStep::There => {}
            ImageStep::Do(action, cause) => return Step::act(Reason::Creating, action, cause),
            ImageStep::UnderWay { reason, message } => {
                return Step::rest(ConditionStatus::False, reason, message);
            }
            ImageStep::Failed { reason, message, after } => {
                return Step::rest(ConditionStatus::False, reason, message).wake_after(after);
            }
        }
        let action = Action::Create { name: self.container_name(), target: Arc::clone(target) };
        let cause = match self.row {
            Some(_) => "there is no container".to_owned(),
            None => "its file is new".to_owned(),
        };
        let step = Step::act(Reason::Creating, action, cause);
        self.with_trouble(step)
    }

    /// What went wrong the last time says more than that it will be tried again.
    fn with_trouble(&self, mut step: Step) -> Step {
        if let Some(trouble) = self.world.troubles.get(self.name) {
            step.status.reason = trouble.reason;
            step.status.message = trouble.text();
        }
        step
    }

    fn exited(&self, seen: &Seen) -> Step {
        let id = seen.snapshot.id.clone();
        let code = seen.snapshot.details.as_ref().map(|details| details.exit_code);
        let exit = code.map_or(String::new(), |code| format!(" with {code}"));
        match self.world.crashes.get(self.name) {
            Some(crashes) if self.now.mono < crashes.not_before => {
                let wait = crashes.not_before.saturating_sub(self.now.mono);
                Step::rest(
                    ConditionStatus::False,
                    Reason::CrashLoopBackOff,
                    format!(
                        "ended by itself {} times, last with {}; started again in {} s",
                        crashes.count,
                        crashes.exit_code,
                        wait.as_secs().max(1)
                    ),
                )
                .wake_after(wait)
                .marked(Mark::CrashLoop)
            }
            _ => {
                let trouble = self.world.troubles.get(self.name);
                let failed = trouble.filter(|trouble| trouble.reason == Reason::StartFailed);
                if let Some(failed) = failed.filter(|failed| failed.count >= STARTS_TRIED) {
                    let cause = format!("start failed {} times: {}", failed.count, failed.message);
                    let remove = Action::Remove { id, force: false };
                    return Step::act(Reason::StartFailed, remove, cause)
                        .recreating()
                        .marked(Mark::StartedInVain);
                }
                let step =
                    Step::act(Reason::Starting, Action::Start(id), format!("it ended{exit}"));
                self.with_trouble(step)
            }
        }
    }

    fn running(
        &self,
        desired: &DesiredChannel,
        target: &Arc<Target>,
        seen: &Seen,
        same: bool,
    ) -> Step {
        let id = seen.snapshot.id.clone();
        if let Some(cause) = self.difference(target, seen, same) {
            // A list does not say what differs, nor whether somebody is in it.
            if seen.snapshot.details.is_none() {
                return Step::act(Reason::Running, Action::Inspect(id), "looks at what differs")
                    .ready();
            }
            let step = self.outdated(desired, target, seen, &cause);
            return if same { step.marked(Mark::ChangedByHand) } else { step };
        }
        let limits = target.config.limits;
        if let Some(cause) = self.in_place(seen, limits) {
            let step = Step::act(Reason::Running, Action::Update { id, limits }, cause).ready();
            return if self.is_as_applied(seen, limits) {
                step.marked(Mark::PutBack)
            } else {
                step
            };
        }
        if let Some(found) =
            self.world.mount_changes.get(self.name).filter(|found| found.container == id)
        {
            return self.remount(desired, seen, &found.changes);
        }
        if desired.removal_held {
            return Step::rest(
                ConditionStatus::True,
                Reason::PruneHeld,
                "its file is gone; it stays until a person says `chanop prune --confirm`"
                    .to_owned(),
            );
        }
        let mut step =
            Step::rest(ConditionStatus::True, Reason::Running, "the shell runs".to_owned());
        if let Some(what) = host_environment_drift(target, seen) {
            step.pending = Some(Pending {
                verb: "recreate",
                cause: format!("new: {what}"),
                waits: "for the shell's next start; nothing is stopped for it".to_owned(),
                forced_at: None,
                reason: Reason::UpdatePending,
                clock: WaitClock::Off,
            });
            return step.recreating();
        }
        step
    }

    /// Why the container would have to be made anew.
    fn difference(&self, target: &Target, seen: &Seen, same: bool) -> Option<String> {
        let mut found = differences(target, seen);
        let applied = self.world.applied.get(&seen.snapshot.id);
        // A list does not tell limits; what was last applied does.
        if let (None, Some(applied)) = (&seen.snapshot.details, applied) {
            found.extend(limits_to_remove(*applied, target.config.limits));
        }
        if same {
            let ignored = self.world.unreadable_drift.get(self.name);
            found.retain(|field| ignored.is_none_or(|ignored| !ignored.contains(&field.field)));
        }
        if same && found.is_empty() {
            return None;
        }
        let has_applied_limits =
            seen.snapshot.details.as_ref().is_none_or(|details| applied == Some(&details.limits));
        Some(if same && has_applied_limits && found.iter().all(is_limit) {
            describe(&found)
        } else if same {
            format!("changed by hand: {}", describe(&found))
        } else {
            let named: Vec<FieldDrift> =
                found.into_iter().filter(|field| field.field != "labels").collect();
            if named.is_empty() {
                "a secret, a copied file or the restart annotation changed".to_owned()
            } else {
                describe(&named)
            }
        })
    }

    fn outdated(
        &self,
        desired: &DesiredChannel,
        target: &Target,
        seen: &Seen,
        cause: &str,
    ) -> Step {
        let strategy = desired.effective.as_ref().map(|effective| effective.update_strategy.kind);
        if strategy == Some(UpdateStrategyKind::OnDelete) {
            let mut step = Step::rest(
                ConditionStatus::True,
                Reason::Running,
                "the shell runs; a change waits until a person removes the container".to_owned(),
            );
            step.pending = Some(Pending {
                verb: "recreate",
                cause: cause.to_owned(),
                waits: "until the container is removed by hand".to_owned(),
                forced_at: None,
                reason: Reason::UpdatePending,
                clock: WaitClock::Off,
            });
            return step.recreating();
        }
        let farewell = farewell_of(desired).unwrap_or(STRAY_FAREWELL);
        let step = self.stop(seen, farewell, "recreate", cause, Reason::Running).recreating();
        let stops = matches!(&step.want, Some(want) if matches!(want.action, Action::Stop { .. }));
        // Put out at the end of the wait, or nobody there to be put out?
        let since = self.row.and_then(|row| row.pending_since);
        let clock = if since.is_some() { WaitClock::Stands } else { WaitClock::Off };
        if stops { self.once_its_image_is_there(step, target, cause, clock) } else { step }
    }

    /// Nothing is stopped for a container that could not be made.
    fn once_its_image_is_there(
        &self,
        stop: Step,
        target: &Target,
        cause: &str,
        clock: WaitClock,
    ) -> Step {
        let rest = || Step::rest(ConditionStatus::True, Reason::Running, String::new());
        let (mut step, reason, waits) = match image::for_successor(self.world, target, self.now) {
            ImageStep::There => return stop,
            ImageStep::Do(action, why) => {
                let step = Step::act(Reason::Running, action, why.clone()).ready();
                (step, Reason::UpdatePending, why)
            }
            ImageStep::UnderWay { reason, message } => {
                (rest().ready_as(Reason::Running), reason, message)
            }
            ImageStep::Failed { reason, message, after } => {
                let step = rest().wake_after(after).ready_as(Reason::Running);
                (step.marked(Mark::SuccessorWaits), reason, message)
            }
        };
        let cause = cause.to_owned();
        step.pending =
            Some(Pending { verb: "recreate", cause, waits, reason, forced_at: None, clock });
        step.recreating()
    }

    /// Stops a running container, as soon as nobody is in it.
    pub(super) fn stop(
        &self,
        seen: &Seen,
        farewell: Farewell,
        verb: &'static str,
        cause: &str,
        reason: Reason,
    ) -> Step {
        let id = seen.snapshot.id.clone();
        let stop = Action::Stop { id: id.clone(), grace_seconds: farewell.grace_seconds };
        let since = self.row.and_then(|row| row.pending_since).unwrap_or(self.now.wall);
        let forced_at = add(since, farewell.max_wait_seconds);
        if !farewell.when_idle || forced_at.is_some_and(|at| at <= self.now.wall) {
            let inside =
                seen.snapshot.details.as_ref().is_some_and(|details| !details.exec_ids.is_empty());
            let step = Step::act(Reason::Stopping, stop, cause);
            let over = farewell.when_idle && inside;
            return if over { step.marked(Mark::WaitIsOver) } else { step };
        }
        let Some(details) = &seen.snapshot.details else {
            return Step::act(reason, Action::Inspect(id), "looks whether somebody is in it");
        };
        let inside = details.exec_ids.len();
        let at_work = self.world.runs.unfinished_in(self.name);
        let at_work = at_work.filter(|record| record.open_attempt().is_some()).count();
        if inside == 0 && at_work == 0 {
            return Step::act(Reason::Stopping, stop, cause);
        }
        let waits = match (inside, at_work) {
            (0, runs) => format!("runs active ({runs})"),
            (execs, _) => format!("shell open ({execs})"),
        };
        let pending = Pending {
            verb,
            cause: cause.to_owned(),
            waits,
            forced_at,
            reason: Reason::UpdatePending,
            clock: WaitClock::Runs,
        };
        let next = forced_at.map_or(IDLE_CHECK, |at| until(self.now.wall, at).min(IDLE_CHECK));
        let age = self.now.mono.saturating_sub(seen.read_at);
        if age >= IDLE_CHECK {
            let mut step =
                Step::act(reason, Action::Inspect(id), "looks whether somebody is still in it");
            step.pending = Some(pending);
            return step.ready_as(reason).marked(Mark::StillInside);
        }
        let mut step = Step::rest(
            ConditionStatus::False,
            reason,
            format!("{cause}; waits: somebody is in the shell, or a run is active"),
        );
        step.pending = Some(pending);
        step.ready_as(reason).wake_after(next.max(Duration::from_secs(1)))
    }

    fn stopped(&self, reason: Reason, message: String, farewell: Farewell) -> Step {
        let rest = Step::rest(ConditionStatus::False, reason, message.clone());
        let Some(seen) = self.seen else { return rest };
        let id = seen.snapshot.id.clone();
        match seen.state() {
            ContainerState::Running => {
                let mut step = self.stop(seen, farewell, "stop", &message, reason);
                step.status = Status { ready: ConditionStatus::False, reason, message };
                step
            }
            ContainerState::Restarting => Step::act(
                Reason::Stopping,
                Action::Stop { id, grace_seconds: farewell.grace_seconds },
                message,
            ),
            ContainerState::Paused
            | ContainerState::Created
            | ContainerState::Exited
            | ContainerState::Removing
            | ContainerState::Dead
            | ContainerState::Unknown => rest,
        }
    }

    fn disabled(&self, farewell: Farewell) -> Step {
        let cause = "spec.shell.enabled is false";
        match self.seen {
            None => Step::rest(ConditionStatus::True, Reason::ShellDisabled, cause.to_owned()),
            Some(seen) => self.take_away(seen, farewell, cause, Reason::ShellDisabled),
        }
    }

    fn gone(&self, row: &InventoryRow) -> Step {
        let cause = format!("{} is gone", row.file);
        let Some(seen) = self.seen else {
            return self.with_trouble(Step::act(Reason::Deleting, Action::Forget, cause));
        };
        let stopped = matches!(seen.state(), ContainerState::Exited);
        if stopped {
            let since = row.stopped_at.unwrap_or(self.now.wall);
            let due = add(since, row.farewell.keep_stopped_seconds);
            if let Some(due) = due.filter(|due| *due > self.now.wall) {
                let left = until(self.now.wall, due);
                let mut step = Step::rest(ConditionStatus::False, Reason::Deleting, cause.clone());
                step.pending = Some(Pending {
                    verb: "remove",
                    cause,
                    waits: "keepStopped".to_owned(),
                    forced_at: Some(due),
                    reason: Reason::UpdatePending,
                    clock: WaitClock::Off,
                });
                return step.wake_after(left);
            }
        }
        self.take_away(seen, row.farewell, &cause, Reason::Deleting)
    }

    fn stray(&self) -> Step {
        let cause = "no file and no record wants it";
        let Some(seen) = self.seen else {
            return Step::rest(
                ConditionStatus::Unknown,
                Reason::UpToDate,
                "nothing is left".to_owned(),
            );
        };
        let age = self.now.mono.saturating_sub(seen.first_seen);
        let grace = self.world.settings.stray_grace;
        if age < grace {
            let mut step = Step::rest(ConditionStatus::False, Reason::Deleting, cause.to_owned());
            step.pending = Some(Pending {
                verb: "remove",
                cause: cause.to_owned(),
                waits: "a file may still claim it".to_owned(),
                forced_at: add(self.now.wall, grace.saturating_sub(age).as_secs()),
                reason: Reason::UpdatePending,
                clock: WaitClock::Off,
            });
            return step.wake_after(grace.saturating_sub(age)).marked(Mark::StrayWaits);
        }
        self.take_away(seen, STRAY_FAREWELL, cause, Reason::Deleting).marked(Mark::StrayGoes)
    }

    /// Stop, then remove.
    fn take_away(&self, seen: &Seen, farewell: Farewell, cause: &str, reason: Reason) -> Step {
        let id = seen.snapshot.id.clone();
        let mut step = match seen.state() {
            ContainerState::Running => self.stop(seen, farewell, "stop", cause, reason),
            ContainerState::Paused => Step::rest(
                ConditionStatus::False,
                Reason::Paused,
                format!("{cause}; paused by a person, left alone until it is unpaused"),
            )
            .marked(Mark::PausedFarewell),
            ContainerState::Restarting => {
                Step::act(reason, Action::Stop { id, grace_seconds: farewell.grace_seconds }, cause)
            }
            ContainerState::Created | ContainerState::Exited => {
                Step::act(reason, Action::Remove { id, force: false }, cause)
            }
            ContainerState::Dead => Step::act(reason, Action::Remove { id, force: true }, cause),
            ContainerState::Removing => self.removing(seen),
            ContainerState::Unknown => {
                Step::act(reason, Action::Inspect(id), cause).wake_after(IDLE_CHECK)
            }
        };
        step.status.ready = ConditionStatus::False;
        step
    }
}

impl Step {
    /// It runs all the while.
    fn ready(mut self) -> Self {
        self.status = Status {
            ready: ConditionStatus::True,
            reason: Reason::Running,
            message: "the shell runs".to_owned(),
        };
        self
    }

    /// A shell whose change waits is a usable shell.
    pub(super) fn ready_as(mut self, reason: Reason) -> Self {
        if reason == Reason::Running {
            self.status.ready = ConditionStatus::True;
            self.status.reason = Reason::Running;
            "the shell runs; a change waits".clone_into(&mut self.status.message);
        }
        self
    }
}

/// Why a container of this target cannot be created yet for lack of the instance's network; `None`: the network is there.
pub(super) fn network_wait(world: &World, target: &Target) -> Option<(Reason, String)> {
    if !target.own_network {
        return None;
    }
    match &world.network_failure {
        Some(failure) => Some((
            failure.reason,
            format!("the instance's network cannot be made: {}", failure.text()),
        )),
        None if world.network_ready => None,
        None => Some((Reason::Creating, "the instance's network is being looked for".to_owned())),
    }
}

pub(super) fn add(at: Timestamp, seconds: u64) -> Option<Timestamp> {
    let span = jiff::SignedDuration::from_secs(i64::try_from(seconds).ok()?);
    at.checked_add(span).ok()
}

fn hash_of(seen: &Seen) -> Option<&str> {
    seen.snapshot.labels.get(label::SPEC_HASH).map(String::as_str)
}
