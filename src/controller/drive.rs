//! The queue: which channel is planned next, and whether what its plan wants goes out now.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use super::backoff::{CRASH_RESET, crash_wait};
use super::effect::{Call, Effect};
use super::input::Seq;
use super::key::{InFlight, MustRead};
use super::lanes::timeout_of;
use super::runs::in_file_order;
use super::{Controller, Sent};
use crate::container::{ContainerId, ContainerName, ContainerState};
use crate::planner::action::{WaitClock, Want};
use crate::planner::{Action, Mark, Step, Wake, plan_channel};
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::{Kind, Now, ObjectRef, ResourceName};
use crate::world::desired::Target;
use crate::world::record::Write;

/// Whatever happens, a key that is not as it should be is planned again after this.
pub(super) const SAFETY_NET: Duration = Duration::from_mins(1);

impl Controller {
    pub(super) fn enqueue(&mut self, object: &ObjectRef) {
        self.turns += 1;
        let turns = self.turns;
        let key = self.keys.entry(object.clone()).or_default();
        if key.in_flight.is_some() {
            return;
        }
        if !self.ready.contains(&(key.turn, object.clone())) {
            key.turn = turns;
            self.stats.queue_adds += 1;
            self.ready.insert((turns, object.clone()));
        }
    }

    pub(super) fn enqueue_channel(&mut self, name: &ResourceName) {
        self.enqueue(&ObjectRef::channel(name.clone()));
    }

    pub(super) fn enqueue_all(&mut self) {
        let mut all: BTreeSet<ObjectRef> = self.keys.keys().cloned().collect();
        all.extend(self.world.desired.channels.keys().cloned().map(ObjectRef::channel));
        all.extend(self.world.observed.channels().cloned().map(ObjectRef::channel));
        all.extend(self.world.observed.runs().cloned().map(ObjectRef::run));
        let (runs, others): (Vec<_>, Vec<_>) =
            all.into_iter().partition(|object| object.kind == Kind::Run);
        for object in others.into_iter().chain(in_file_order(&self.world.desired, runs)) {
            self.enqueue(&object);
        }
    }

    /// Plans every channel that waits to be planned.
    pub(super) fn drive(&mut self, now: Now) {
        loop {
            while let Some((_, object)) = self.ready.pop_first() {
                self.step(now, &object);
            }
            // Whoever waited longest for a lane that has room is planned again: the world may have changed since.
            let Some(object) = self.lanes.admissible(now.mono) else { break };
            self.step(now, &object);
        }
    }

    /// Why nothing may be changed now; `None`: all that actions need is there.
    pub(super) fn blocked(&self) -> Option<String> {
        if self.shutting_down {
            return Some("shutting down".to_owned());
        }
        if let Some(error) = &self.store_error {
            return Some(format!("the store cannot be written: {error}"));
        }
        if !self.sources.scanned() {
            return Some("the spec directory has not been read yet".to_owned());
        }
        self.session.error()
    }

    fn step(&mut self, now: Now, object: &ObjectRef) {
        let in_flight = self.keys.get(object).is_some_and(|key| key.in_flight.is_some());
        if in_flight {
            return;
        }
        match object.kind {
            Kind::Channel => self.step_channel(now, &object.name),
            Kind::Run => self.step_run(now, object),
            Kind::Schedule | Kind::ChannelClass => {}
        }
    }

    fn step_channel(&mut self, now: Now, name: &ResourceName) {
        let object = &ObjectRef::channel(name.clone());
        let step = plan_channel(&self.world, name, now);
        self.note_step(now, name, &step);
        self.marks.extend(step.mark);
        self.note_port_wait(name, &step);
        let blocked = self.blocked().is_some();
        self.stats.reconciles.add(match &step {
            Step { want: Some(_), .. } if blocked => "blocked",
            Step { want: Some(_), .. } => "wanting",
            Step { pending: Some(_), .. } => "waiting",
            _ => "resting",
        });
        if blocked {
            return;
        }
        let by_name = ContainerName::shell(&self.world.settings.instance, name);
        if self.reads_first(now, object, Some(by_name)) {
            return;
        }
        let recreate = step.recreate;
        match step.want {
            None => {}
            Some(Want { action: Action::Forget, cause }) => self.untag_builds(now, name, cause),
            Some(want) => self.carry_out(now, name, want, recreate),
        }
    }

    /// Is something to be read before anything else is done? Then that is done, or waited for.
    pub(super) fn reads_first(
        &mut self,
        now: Now,
        object: &ObjectRef,
        by_name: Option<ContainerName>,
    ) -> bool {
        let Some(key) = self.keys.get(object) else { return false };
        let (Some(what), gate) = (key.must_read.clone(), key.read_gate) else { return false };
        if let Some(gate) = gate.filter(|gate| gate.until > now.mono) {
            self.marks.insert(Mark::ReadWaits);
            self.wake_at(object, gate.until);
            return true;
        }
        let call = match (what, by_name) {
            (MustRead::Id(id), _) => Call::Inspect(id),
            (MustRead::Name, Some(name)) => Call::InspectName(name),
            (MustRead::Name, None) => return false,
        };
        self.marks.insert(Mark::ReadFirst);
        self.dispatch(object, call, "what is known is not certain".to_owned());
        true
    }

    /// Keeps what the plan says of the channel, and when to look again.
    fn note_step(&mut self, now: Now, name: &ResourceName, step: &Step) {
        let wake = match step.wake {
            Wake::After(after) => Some(now.mono + after),
            Wake::OnChange if step.want.is_some() => Some(now.mono + SAFETY_NET),
            Wake::OnChange => None,
        };
        // Before the first list no container is known, and that is no reason to forget what one waits for.
        if self.session.is_live() {
            self.note_pending(now, name, step);
        }
        let object = &ObjectRef::channel(name.clone());
        self.wake_next(object, wake);
        // As it should be, by whatever hand.
        if step.want.is_none()
            && self.world.troubles.get(name).is_some_and(|it| it.reason == Reason::UpdateFailed)
        {
            self.world.troubles.remove(name);
        }
        let key = self.keys.entry(object.clone()).or_default();
        key.status = Some(step.status.clone());
        key.pending.clone_from(&step.pending);
        self.touch(object);
    }

    /// A list told something of a channel whose own look is still on its way, so nothing is planned yet. What is said of the channel must
    /// not contradict that meanwhile: a shell that ended is not ready.
    pub(super) fn restate(&mut self, now: Now, object: &ObjectRef) {
        let looks = self.keys.get(object).is_some_and(|key| key.in_flight.is_some());
        if looks && object.kind == Kind::Channel {
            let step = plan_channel(&self.world, &object.name, now);
            self.note_step(now, &object.name, &step);
        }
    }

    /// Instead of any earlier wake-up; that of an echo that is due stays.
    pub(super) fn wake_next(&mut self, object: &ObjectRef, wake: Option<Duration>) {
        let key = self.keys.entry(object.clone()).or_default();
        let echo_due = key.echo_due;
        if let Some(old) = key.wake_at.take() {
            self.wakes.remove(&(old, object.clone()));
        }
        if let Some(at) = wake.into_iter().chain(echo_due).min() {
            self.wake_at(object, at);
        }
    }

    /// Since when a change waits, and since when a gone channel's shell is stopped: kept over restarts.
    fn note_pending(&mut self, now: Now, name: &ResourceName, step: &Step) {
        let object = ObjectRef::channel(name.clone());
        let state =
            self.world.observed.shell_of(name).map(super::super::world::observed::Seen::state);
        let exited = state == Some(ContainerState::Exited);
        // The wait is over when the container is as it should be, or no longer runs; not when that cannot be judged now.
        let settled = step.status.ready == ConditionStatus::True
            || !state.is_some_and(ContainerState::is_live);
        if !self.world.observed.synced {
            return;
        }
        let Some(row) = self.world.inventory.get_mut(&object) else { return };
        let before = row.clone();
        let clock = step.pending.as_ref().map_or(WaitClock::Off, |pending| pending.clock);
        let stopping = step
            .want
            .as_ref()
            .is_some_and(|want| matches!(want.action, Action::Inspect(_) | Action::Stop { .. }));
        match clock {
            WaitClock::Runs => {
                row.pending_since.get_or_insert(now.wall);
            }
            WaitClock::Off if settled && !stopping => row.pending_since = None,
            WaitClock::Off | WaitClock::Stands => {}
        }
        if row.gone_since.is_some() && exited {
            row.stopped_at.get_or_insert(now.wall);
        }
        if *row != before {
            let row = row.clone();
            self.unsaved.push(Write::Inventory(object, Some(row)));
        }
    }

    pub(super) fn wake_at(&mut self, object: &ObjectRef, at: Duration) {
        let key = self.keys.entry(object.clone()).or_default();
        if let Some(old) = key.wake_at.replace(at) {
            self.wakes.remove(&(old, object.clone()));
        }
        self.wakes.insert((at, object.clone()));
    }

    /// Sends what the plan wants, if its gate is open and it was looked at just now.
    fn carry_out(&mut self, now: Now, name: &ResourceName, want: Want, recreate: bool) {
        let object = &ObjectRef::channel(name.clone());
        let key = self.keys.entry(object.clone()).or_default();
        let fresh = key.fresh_at(now.mono);
        if let Some(gate) = key.read_gate.filter(|gate| gate.until > now.mono) {
            self.wake_at(object, gate.until);
            return;
        }
        if let Action::Inspect(id) = &want.action {
            if fresh.as_ref() == Some(id) {
                // It was looked at just now, and still does not say enough.
                self.wake_at(object, now.mono + SAFETY_NET);
                return;
            }
            self.dispatch(object, Call::Inspect(id.clone()), want.cause);
            return;
        }
        if let Some(gate) = key.gate.filter(|gate| gate.until > now.mono) {
            self.marks.insert(Mark::GateClosed);
            self.wake_at(object, gate.until);
            return;
        }
        let want = match want {
            Want { action: Action::LookForImage(image), cause } => {
                return self.look_for_image(image, cause);
            }
            Want { action: Action::BringImage(image), cause } => {
                return self.bring_image(image, cause);
            }
            want => want,
        };
        if let Some(id) = want.action.is_read_through() {
            let made_here = matches!(want.action, Action::Start(_))
                && self.world.observed.get(id).is_some_and(|seen| seen.made_here);
            if !made_here && fresh.as_ref() != Some(id) {
                self.marks.insert(Mark::LooksFirst);
                self.will_change(now);
                let call = Call::Inspect(id.clone());
                self.dispatch(
                    object,
                    call,
                    format!("looks before it is to {}", want.action.verb()),
                );
                return;
            }
        }
        let call = match want.action {
            Action::Create { name, target } => Call::Create { name, target },
            Action::Start(id) => Call::Start { target: self.prepared_for(name, &id), id },
            Action::Stop { id, grace_seconds } => Call::Stop { id, grace_seconds },
            Action::Remove { id, force } => Call::Remove { id, force, place: None },
            Action::Update { id, limits } => Call::Update { id, limits },
            Action::LookForImage(_)
            | Action::BringImage(_)
            | Action::Inspect(_)
            | Action::Forget => return,
        };
        if !self.may_change(now, object, &call) {
            return;
        }
        // It counts the change, so it comes last.
        if recreate && let Some(until) = self.mend_again_at(now, name) {
            self.wake_at(object, until);
            return;
        }
        self.dispatch(object, call, want.cause);
    }

    /// What a container was made from, where that is known: one that serves until its successor can be made is started as it is.
    fn prepared_for(&self, name: &ResourceName, id: &ContainerId) -> Option<Arc<Target>> {
        let target = self.world.desired.channels.get(name)?.target.clone()?;
        let seen = self.world.observed.get(id)?;
        let hash = seen.snapshot.labels.get(crate::container::label::SPEC_HASH);
        (hash == Some(&target.hash)).then_some(target)
    }

    /// A container of the right hash is to be made anew for these fields: should the next one show them too, it is the
    /// engine that reports them so. Whoever changes each new one again is not fought more and more often: then it answers
    /// when the next may be made.
    fn mend_again_at(&mut self, now: Now, name: &ResourceName) -> Option<Duration> {
        let seen = self.world.observed.shell_of(name)?;
        let target = self.world.desired.channels.get(name)?.target.as_ref()?;
        if seen.snapshot.labels.get(crate::container::label::SPEC_HASH) != Some(&target.hash) {
            return None;
        }
        let id = seen.snapshot.id.clone();
        let running = seen.state() == ContainerState::Running;
        let fields = crate::planner::difference::drift_fields(target, seen);
        let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
        // Once for its stop; its removal belongs to that.
        if running && !fields.is_empty() {
            let (last, count) = key.mended.unwrap_or((now.mono, 0));
            let again = now.mono.saturating_sub(last) < CRASH_RESET;
            let count = if again { count + 1 } else { 1 };
            let until = last + crash_wait(count);
            if again && until > now.mono {
                return Some(until);
            }
            key.mended = Some((now.mono, count));
        }
        key.drift_tried = (!fields.is_empty()).then_some((id, fields));
        None
    }

    /// Sends a channel's or run's call, or lets it wait for its lane.
    pub(super) fn dispatch(&mut self, object: &ObjectRef, call: Call, cause: String) {
        if !self.lanes.take(&call) {
            self.wait_for_lane(object, &call);
            return;
        }
        self.lanes.leave(object);
        let key = self.keys.entry(object.clone()).or_default();
        let since = key.waits_since.take();
        if call.mutates() {
            self.stats.actions += 1;
            self.stats.retries += u64::from(key.gate.is_some());
        }
        let waited = since.map_or(Duration::ZERO, |since| self.now.mono.saturating_sub(since));
        let seq = self.send_taken(Some(object.clone()), call.clone(), cause, waited);
        let key = self.keys.entry(object.clone()).or_default();
        if call.mutates() {
            key.fresh = None;
            key.expect(&call);
        }
        key.in_flight = Some(InFlight { seq, call });
        self.touch(object);
    }

    pub(super) fn wait_for_lane(&mut self, object: &ObjectRef, call: &Call) {
        self.marks.insert(Mark::LaneFull);
        let key = self.keys.entry(object.clone()).or_default();
        key.waits_since.get_or_insert(self.now.mono);
        let turn = key.turn;
        self.lanes.wait(call, turn, object.clone());
    }

    /// Sends a call that concerns no channel.
    pub(super) fn send(&mut self, subject: Option<ObjectRef>, call: Call, cause: String) -> Seq {
        // The lane of these has no bound: the session has one of each at most.
        self.lanes.take(&call);
        self.send_taken(subject, call, cause, Duration::ZERO)
    }

    fn send_taken(
        &mut self,
        subject: Option<ObjectRef>,
        call: Call,
        cause: String,
        waited: Duration,
    ) -> Seq {
        let seq = self.next_seq();
        let timeout = timeout_of(&call);
        let at = self.now.wall;
        let sent = Sent { subject: subject.clone(), call: call.clone(), cause: cause.clone(), at };
        self.calls.insert(seq, sent);
        self.out.push(Effect::Call { seq, subject, call, timeout, cause, waited });
        seq
    }

    /// Nothing more is to be done about it.
    pub(super) fn drop_key(&mut self, object: &ObjectRef) {
        if let Some(key) = self.keys.remove(object)
            && let Some(at) = key.wake_at
        {
            self.wakes.remove(&(at, object.clone()));
        }
        self.note_dropped(object);
        self.touch(object);
    }

    /// Whatever a list says of it that was sent before this: see `is_stale_for`.
    pub(super) fn note_dropped(&mut self, object: &ObjectRef) {
        let seq = self.next_seq();
        self.dropped.insert(object.clone(), seq);
    }

    pub(super) fn touch(&mut self, object: &ObjectRef) {
        self.touched.insert(object.clone());
        self.view_dirty = true;
    }

    /// A person's word opens every gate.
    pub(super) fn open_gate(&mut self, object: &ObjectRef) {
        if let Some(key) = self.keys.get_mut(object) {
            key.gate = None;
        }
        self.forget_image_failure(&self.channel_of(object));
        if object.kind == Kind::Channel {
            self.world.crashes.remove(&object.name);
        }
    }

    /// Is the channel's shell running and ready, as last planned?
    pub(super) fn is_ready(&self, name: &ResourceName) -> bool {
        self.keys
            .get(&ObjectRef::channel(name.clone()))
            .and_then(|key| key.status.as_ref())
            .is_some_and(|status| status.ready == ConditionStatus::True)
    }

    pub(super) fn since(&self, name: &ResourceName) -> Option<Timestamp> {
        let object = ObjectRef::channel(name.clone());
        self.world.inventory.get(&object).and_then(|row| row.pending_since)
    }
}
