//! What the answer to a call means for its channel.
//!
//! A definite answer is an observation as fresh as itself. After any other the channel must be read before anything else.

use std::collections::BTreeSet;

use super::Controller;
use super::backoff::{CRASH_RESET, Class, Gate, after_failure, crash_wait, wall_at};
use super::effect::Call;
use super::input::{Answer, Failure, Seq};
use super::key::MustRead;
use super::session::ECHO_WITHIN;
use crate::container::label::Ownership;
use crate::container::{ContainerId, ContainerName, ContainerState, Identity, Snapshot};
use crate::planner::Mark;
use crate::planner::difference::drift_fields;
use crate::resource::condition::Reason;
use crate::resource::{Kind, Now, ObjectRef, ResourceName};
use crate::world::desired::Target;
use crate::world::observed::Noted;
use crate::world::record::Write;
use crate::world::{Crashes, Trouble};

/// A conflict that lasts longer than this will not go away by itself.
const CONFLICT_PATIENCE: std::time::Duration = std::time::Duration::from_mins(1);

impl Controller {
    pub(super) fn on_answer(&mut self, now: Now, seq: Seq, answer: Result<Answer, Failure>) {
        let Some(sent) = self.calls.remove(&seq) else { return };
        self.lanes.give_back(&sent.call);
        let Some(object) = sent.subject else {
            self.on_session_answer(now, seq, &sent.call, answer);
            return;
        };
        if object.kind == Kind::Channel && self.auditing.as_ref() == Some(&object.name) {
            self.auditing = None;
        }
        let done = self.next_seq();
        let key = self.keys.entry(object.clone()).or_default();
        key.in_flight = None;
        if sent.call.mutates() {
            key.last_write = done;
        }
        match answer {
            Ok(answer) => {
                self.engine_failures.clear();
                if sent.call.mutates() {
                    self.expect_echo(now, &object, &sent.call);
                }
                if object.kind == Kind::Run {
                    self.run_answered(now, &object, seq, done, sent.call, answer, &sent.cause);
                } else {
                    let name = &object.name;
                    self.succeeded(now, name, seq, done, sent.call, answer, &sent.cause);
                }
            }
            Err(failure) => self.failed(now, &object, seq, &sent.call, failure),
        }
        self.touch(&object);
        self.enqueue(&object);
    }

    #[expect(clippy::too_many_arguments, reason = "all of one answer, taken apart once")]
    fn succeeded(
        &mut self,
        now: Now,
        name: &ResourceName,
        sent: Seq,
        done: Seq,
        call: Call,
        answer: Answer,
        cause: &str,
    ) {
        match (call, answer) {
            (Call::Create { name: container, target }, Answer::Created(id)) => {
                self.lanes.speed_up();
                self.image_served(name);
                self.note_made(now, done, &id, container, &target);
                self.world.applied.insert(id.clone(), target.config.limits);
                self.unsaved.push(Write::Applied(id, Some(target.config.limits)));
                self.tell(now, name, "Created", cause);
            }
            (Call::Start { id, .. }, _) => {
                self.set_state(&id, ContainerState::Running, done, now);
                self.world.mount_changes.remove(name);
                let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
                key.stopped_by_us = None;
                // It was made anew because the last one differed: did that help?
                if key.drift_tried.as_ref().is_some_and(|(replaced, _)| *replaced != id) {
                    key.must_read = Some(MustRead::Id(id));
                }
                self.clear_trouble(name);
                self.tell(now, name, "Started", cause);
            }
            (Call::Stop { id, .. }, _) => {
                self.set_state(&id, ContainerState::Exited, done, now);
                self.mounts_let_go(now, name, &id);
                self.keys.entry(ObjectRef::channel(name.clone())).or_default().stopped_by_us =
                    Some(id);
                self.tell(now, name, "Stopped", cause);
            }
            (Call::Remove { id, .. }, _) => {
                self.gone(&id);
                self.clear_gate(name);
                self.tell(now, name, "RemovedContainer", cause);
            }
            (Call::Update { id, limits }, _) => {
                let details = self.world.observed.get(&id).map(|seen| &seen.snapshot.details);
                let before = match details {
                    Some(Some(details)) => Some(details.limits),
                    _ => self.world.applied.get(&id).copied(),
                };
                let limits = before.map_or(limits, |before| limits.updated_from(before));
                if let Some(seen) = self.world.observed.get_mut(&id) {
                    seen.as_of = done;
                    if let Some(details) = &mut seen.snapshot.details {
                        details.limits = limits;
                        details.memory_swap_bytes = limits.memory_bytes;
                        "no".clone_into(&mut details.restart_policy);
                    }
                    if seen.snapshot.state == ContainerState::Restarting {
                        self.keys.entry(ObjectRef::channel(name.clone())).or_default().must_read =
                            Some(MustRead::Id(id.clone()));
                    }
                }
                self.world.applied.insert(id.clone(), limits);
                self.unsaved.push(Write::Applied(id, Some(limits)));
                self.clear_trouble(name);
                self.tell(now, name, "Updated", cause);
            }
            (Call::Inspect(_), Answer::Inspected(snapshot)) => {
                self.inspected(now, name, sent, *snapshot);
            }
            (Call::UntagBuilds { .. }, Answer::Untagged { kept }) => {
                self.builds_untagged(now, name, &kept);
            }
            (Call::InspectName(_), Answer::Inspected(snapshot)) => {
                self.wait_for_name(now, &ObjectRef::channel(name.clone()));
                self.inspected(now, name, sent, *snapshot);
            }
            _ => {}
        }
    }

    /// A container that was made just now: what it is follows from what it was made from.
    pub(super) fn note_made(
        &mut self,
        now: Now,
        done: Seq,
        id: &ContainerId,
        name: ContainerName,
        target: &Target,
    ) {
        let found = self.world.images.get(&target.wanted_image());
        let found = found.and_then(|image| image.found.as_ref());
        let snapshot = Snapshot {
            id: id.clone(),
            name,
            labels: target.config.labels.clone(),
            state: ContainerState::Created,
            created: now.wall,
            image_id: found.map_or_else(String::new, |found| found.id.clone()),
            networks: None,
            endpoints: BTreeSet::new(),
            binds: target.config.binds(),
            host_ports: target.config.host_ports(),
            details: None,
        };
        let instance = self.world.settings.instance.clone();
        self.world.observed.note(&instance, snapshot, done, now.mono);
        if let Some(seen) = self.world.observed.get_mut(id) {
            seen.made_here = true;
        }
    }

    fn expect_echo(&mut self, now: Now, object: &ObjectRef, call: &Call) {
        let key = self.keys.entry(object.clone()).or_default();
        if key.awaits(call) {
            key.echo_due = Some(now.mono + ECHO_WITHIN);
        }
    }

    fn tell(&mut self, now: Now, name: &ResourceName, reason: &str, cause: &str) {
        self.record(now, &ObjectRef::channel(name.clone()).to_string(), false, reason, cause);
    }

    fn set_state(&mut self, id: &ContainerId, state: ContainerState, done: Seq, now: Now) {
        if let Some(seen) = self.world.observed.get_mut(id) {
            seen.snapshot.state = state;
            seen.snapshot.endpoints.clear();
            // Limits, policy and configuration outlast a start or stop; who is in it does not.
            if let Some(details) = &mut seen.snapshot.details {
                details.exec_ids.clear();
                details.error.clear();
            }
            seen.as_of = done;
            seen.read_at = now.mono;
            seen.made_here = false;
        }
    }

    fn gone(&mut self, id: &ContainerId) {
        self.world.mount_changes.retain(|_, found| found.container != *id);
        self.world.observed.forget(id);
        if self.world.applied.remove(id).is_some() {
            self.unsaved.push(Write::Applied(id.clone(), None));
        }
    }

    /// Its name was taken after a failure that lasts: that wait is over, and a conflict's is not.
    pub(super) fn wait_for_name(&mut self, now: Now, object: &ObjectRef) {
        let opened = |gate: &&mut Gate| gate.class == Class::Spec && gate.until <= now.mono;
        let gate = self.keys.get_mut(object).and_then(|key| key.gate.as_mut());
        if let Some(gate) = gate.filter(opened) {
            let jitter = self.jitter.draw();
            gate.until = after_failure(None, Class::Conflict, now.mono, jitter).until;
        }
    }

    fn clear_gate(&mut self, name: &ResourceName) {
        let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
        // A container that could not be started was removed: the next one must not follow at once.
        if key.gate.is_some_and(|gate| gate.class != Class::Spec) {
            key.gate = None;
        }
    }

    fn clear_trouble(&mut self, name: &ResourceName) {
        self.keys.entry(ObjectRef::channel(name.clone())).or_default().gate = None;
        self.world.troubles.remove(name);
    }

    fn inspected(&mut self, now: Now, name: &ResourceName, sent: Seq, snapshot: Snapshot) {
        let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
        let stale = key.last_event > sent;
        key.read_gate = None;
        if stale {
            self.marks.insert(Mark::StaleLook);
        } else {
            key.must_read = None;
            key.fresh = Some((snapshot.id.clone(), now.mono));
        }
        let instance = self.world.settings.instance.clone();
        let ownership = Identity::of(&instance, &snapshot.labels, &snapshot.name);
        let our_name = ContainerName::shell(&instance, name);
        let conflict = snapshot.name == our_name && !matches!(ownership, Ownership::Ours(_));
        let id = snapshot.id.clone();
        let before = self.world.observed.get(&id).map(|seen| (seen.state(), seen.made_here));
        self.count_end(now, name, &snapshot);
        self.forget_mounts_of_earlier_start(name, &snapshot);
        if let Noted::NotOurs(_) = self.world.observed.note(&instance, snapshot, sent, now.mono) {
            if conflict {
                self.marks.insert(Mark::NameConflict);
                let message = format!(
                    "container {our_name} is not chanop's: rename or remove it, then `chanop reconcile channel/{name}`"
                );
                let object = ObjectRef::channel(name.clone());
                self.trouble(now, &object, Reason::NameConflict, message, Class::Spec);
            }
            self.keys.entry(ObjectRef::channel(name.clone())).or_default().fresh = None;
            return;
        }
        if let (Some((_, true)), Some(seen)) = (before, self.world.observed.get_mut(&id)) {
            seen.made_here = seen.state() == ContainerState::Created;
        }
        self.note_unreadable_drift(name, &id);
    }

    /// A person may have restarted it: what was found of its mounts before says nothing of those that it has now.
    fn forget_mounts_of_earlier_start(&mut self, name: &ResourceName, snapshot: &Snapshot) {
        let started = |snapshot: &Snapshot| snapshot.details.as_ref()?.started_at;
        let before = self.world.observed.get(&snapshot.id).and_then(|seen| started(&seen.snapshot));
        let restarted = before.is_some() && before != started(snapshot);
        if restarted || snapshot.state != ContainerState::Running {
            self.world.mount_changes.remove(name);
        } else if before.is_none() && self.world.mount_changes.remove(name).is_some() {
            // Nobody knows when it was started before, so it may have been started since: it is compared again, and who asked for the
            // shell waits for that.
            let check = self.check_mounts_of(name);
            for waiter in self.ensuring.iter_mut().filter(|waiter| waiter.channel == *name) {
                waiter.mounts = check;
            }
        }
    }

    /// A fresh container that shows the very drift that the last one was removed for: the engine reports it so.
    fn note_unreadable_drift(&mut self, name: &ResourceName, id: &ContainerId) {
        let key = self.keys.get(&ObjectRef::channel(name.clone()));
        let Some((replaced, tried)) = key.and_then(|key| key.drift_tried.clone()) else { return };
        // The stop of the one that differs may fail: that it still differs then says nothing of the engine.
        if replaced == *id {
            return;
        }
        let Some(seen) = self.world.observed.get(id) else { return };
        let Some(target) =
            self.world.desired.channels.get(name).and_then(|desired| desired.target.as_ref())
        else {
            return;
        };
        let hash = seen.snapshot.labels.get(crate::container::label::SPEC_HASH);
        if hash != Some(&target.hash) || seen.state() != ContainerState::Running {
            return;
        }
        let fields = drift_fields(target, seen);
        // Judged once a container: whoever changes it by hand later is not the engine.
        let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
        key.drift_tried = None;
        let again: Vec<&'static str> =
            fields.into_iter().filter(|field| tried.contains(field)).collect();
        let twice = std::mem::replace(&mut key.drift_again, !again.is_empty());
        if twice && !again.is_empty() {
            self.marks.insert(Mark::UnreadableDrift);
            self.world.unreadable_drift.insert(name.clone(), again);
        }
    }

    /// A process that ended by itself: the more often, the longer until it is started again.
    fn count_end(&mut self, now: Now, name: &ResourceName, snapshot: &Snapshot) {
        let Some(details) = &snapshot.details else { return };
        let (ContainerState::Exited, Some(finished)) = (snapshot.state, details.finished_at) else {
            return;
        };
        let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
        let end = (snapshot.id.clone(), finished);
        if key.last_end.as_ref() == Some(&end) {
            return;
        }
        key.last_end = Some(end);
        if key.stopped_by_us.as_ref() == Some(&snapshot.id) {
            return;
        }
        let ran = details.started_at.map(|started| finished.duration_since(started));
        let long = ran.is_some_and(|ran| ran.unsigned_abs() >= CRASH_RESET);
        let before = self.world.crashes.get(name).map_or(0, |crashes| crashes.count);
        let count = if long { 1 } else { before.saturating_add(1) };
        let crashes = Crashes {
            count,
            not_before: now.mono + crash_wait(count),
            exit_code: details.exit_code,
        };
        self.world.crashes.insert(name.clone(), crashes);
        let message = format!("its process ended with {}", details.exit_code);
        let object = ObjectRef::channel(name.clone()).to_string();
        self.record(now, &object, count > 1, "Ended", &message);
    }

    fn failed(&mut self, now: Now, object: &ObjectRef, sent: Seq, call: &Call, failure: Failure) {
        self.stats.failures += 1;
        let id = match call {
            Call::Inspect(id)
            | Call::Start { id, .. }
            | Call::Stop { id, .. }
            | Call::Remove { id, .. }
            | Call::Update { id, .. } => Some(id.clone()),
            _ => None,
        };
        let must_read = match (&id, call) {
            (Some(id), _) => MustRead::Id(id.clone()),
            (None, _) => MustRead::Name,
        };
        if object.kind == Kind::Run {
            self.run_failed(object, call, &failure);
        }
        let key = self.keys.entry(object.clone()).or_default();
        key.echo.clear();
        key.echo_due = None;
        let channel = self.channel_of(object);
        let no_image = matches!(failure, Failure::Refused(Reason::ImageMissing, _));
        // The plan says how it is brought.
        if no_image
            && matches!(call, Call::Create { .. } | Call::CreateRun { .. })
            && self.image_is_missing(&channel)
        {
            self.marks.insert(Mark::ImageMissing);
            return;
        }
        let key = self.keys.entry(object.clone()).or_default();
        // What the start left behind decides now, and not that it was made just before.
        if let (Call::Start { id, .. }, false) = (call, matches!(failure, Failure::Unreachable(_)))
            && let Some(seen) = self.world.observed.get_mut(id)
        {
            seen.made_here = false;
        }
        match failure {
            Failure::NotFound(message) => {
                let stale = key.last_event > sent;
                if !stale {
                    key.must_read = None;
                }
                key.read_gate = None;
                key.fresh = None;
                match (&id, call) {
                    (Some(id), _) if object.kind == Kind::Run => {
                        self.marks.insert(Mark::Vanished);
                        self.run_container_gone(object, id);
                        self.world.observed.forget(id);
                    }
                    (Some(id), _) => {
                        self.marks.insert(Mark::Vanished);
                        self.gone(id);
                    }
                    // Nobody has the name: what was uncertain did not happen, or a removal has just ended.
                    (None, Call::InspectName(_)) => {
                        self.marks.insert(Mark::NameIsFree);
                        // A name that was refused for long, and that nobody has: as slowly as one that somebody has.
                        let stuck =
                            |gate: &Gate| gate.class == Class::Spec && gate.until <= now.mono;
                        if key.gate.as_ref().is_some_and(stuck) {
                            self.close_gate(now, object, Class::Spec);
                        }
                    }
                    (None, _) => {
                        self.trouble(now, object, Reason::CreateFailed, message, Class::Spec);
                        self.network_in_doubt(now, object);
                    }
                }
            }
            Failure::NameTaken(message) => {
                self.marks.insert(Mark::NameTaken);
                key.must_read = Some(MustRead::Name);
                // Who has it is known from the last time, and is waited for more and more slowly.
                if key.gate.is_none_or(|gate| gate.class != Class::Spec) {
                    self.close_gate(now, object, Class::Conflict);
                    self.patience(now, object, &message);
                }
            }
            // A look that the engine refuses: looked again later and later, and it is said.
            Failure::Conflict(message)
            | Failure::Refused(_, message)
            | Failure::Failed(_, message)
            | Failure::NoSpace(message)
                if !call.mutates() =>
            {
                self.marks.insert(Mark::LookRefused);
                key.must_read = Some(must_read);
                self.close_read_gate(now, object);
                self.trouble(now, object, Reason::Stuck, message, Class::Engine);
            }
            Failure::Conflict(message) => {
                self.marks.insert(Mark::Conflict);
                key.must_read = Some(must_read);
                self.close_gate(now, object, Class::Conflict);
                self.patience(now, object, &message);
            }
            Failure::Refused(reason, message) => {
                self.marks.insert(Mark::Refused);
                // A start that failed leaves its error on the container.
                if id.is_some() {
                    key.must_read = Some(must_read);
                }
                if let (Reason::NetworkMissing, Some(id), Kind::Channel) =
                    (reason, id.clone(), object.kind)
                {
                    self.world.unstartable.insert(channel.clone(), id);
                }
                self.trouble(now, object, reason, message, Class::Spec);
                if matches!(call, Call::Create { .. } | Call::CreateRun { .. } | Call::Start { .. })
                {
                    self.network_in_doubt(now, object);
                }
            }
            Failure::Failed(reason, message) => {
                self.marks.insert(Mark::Failed);
                key.must_read = Some(must_read);
                self.trouble(now, object, reason, message, Class::Spec);
            }
            Failure::NoSpace(message) => {
                self.marks.insert(Mark::NoSpace);
                key.must_read = Some(must_read);
                self.trouble(now, object, Reason::NoSpace, message, Class::Space);
            }
            Failure::Unknown(message) => {
                if call.mutates() {
                    self.marks.insert(Mark::UnknownChange);
                    self.stats.unknown_outcomes.add(call.word());
                } else {
                    self.marks.insert(Mark::UnknownLook);
                    self.close_read_gate(now, object);
                }
                let key = self.keys.entry(object.clone()).or_default();
                key.must_read = Some(must_read);
                self.close_gate(now, object, Class::Engine);
                self.count_engine_failure(now, object, &Failure::Unknown(message));
            }
            Failure::Unreachable(message) => {
                self.marks.insert(Mark::Unreachable);
                if self.is_made_here(call) {
                    self.marks.insert(Mark::StartUnsent);
                }
                let key = self.keys.entry(object.clone()).or_default();
                if !call.mutates() {
                    key.must_read = Some(must_read);
                    self.close_read_gate(now, object);
                }
                self.close_gate(now, object, Class::Engine);
                self.count_engine_failure(now, object, &Failure::Unreachable(message));
            }
        }
    }

    /// Is it the start of what this process made just before?
    fn is_made_here(&self, call: &Call) -> bool {
        matches!(call, Call::Start { id, .. } if self.world.observed.get(id).is_some_and(|seen| seen.made_here))
    }

    /// The instance's network may have been taken away by hand: made again, if so.
    fn network_in_doubt(&mut self, now: Now, object: &ObjectRef) {
        let own = self
            .world
            .desired
            .channels
            .get(&self.channel_of(object))
            .and_then(|desired| desired.target.as_ref())
            .is_some_and(|target| target.own_network);
        if own && self.network_retry_at.is_none() {
            self.marks.insert(Mark::NetworkInDoubt);
            self.network_retry_at = Some(now.mono);
        }
    }

    /// A look that failed is not taken again at once either.
    fn close_read_gate(&mut self, now: Now, object: &ObjectRef) {
        let jitter = self.jitter.draw();
        let key = self.keys.entry(object.clone()).or_default();
        key.read_gate = Some(after_failure(key.read_gate, Class::Engine, now.mono, jitter));
    }

    /// The channel that a channel or run belongs to.
    pub(super) fn channel_of(&self, object: &ObjectRef) -> ResourceName {
        match object.kind {
            Kind::Run => self.world.runs.get(&object.name).map(|record| record.channel.clone()),
            Kind::Channel | Kind::Schedule | Kind::ChannelClass => None,
        }
        .unwrap_or_else(|| object.name.clone())
    }

    pub(super) fn close_gate(&mut self, now: Now, object: &ObjectRef, class: Class) {
        let jitter = self.jitter.draw();
        let key = self.keys.entry(object.clone()).or_default();
        let gate = after_failure(key.gate, class, now.mono, jitter);
        // A failure of another kind does not shorten the wait for the first.
        let longer = |old: &Gate| old.class != class && old.until > gate.until;
        key.gate = Some(key.gate.filter(longer).unwrap_or(gate));
    }

    pub(super) fn trouble(
        &mut self,
        now: Now,
        object: &ObjectRef,
        reason: Reason,
        message: String,
        class: Class,
    ) {
        self.close_gate(now, object, class);
        self.record(now, &object.to_string(), true, reason.as_str().as_str(), &message);
        let troubles = match object.kind {
            Kind::Run => &mut self.world.runs.troubles,
            Kind::Channel | Kind::Schedule | Kind::ChannelClass => &mut self.world.troubles,
        };
        let before = troubles.get(&object.name).filter(|trouble| trouble.reason == reason);
        let count = before.map_or(0, |trouble| trouble.count).saturating_add(1);
        let until = self.keys.get(object).and_then(|key| key.gate).map_or(now.mono, |it| it.until);
        let retry_at = wall_at(now, until);
        troubles.insert(object.name.clone(), Trouble { reason, message, count, retry_at });
    }

    /// A conflict that does not end is said, and tried more slowly.
    fn patience(&mut self, now: Now, object: &ObjectRef, message: &str) {
        let lasts = self
            .keys
            .get(object)
            .and_then(|key| key.gate)
            .is_some_and(|gate| now.mono.saturating_sub(gate.since) > CONFLICT_PATIENCE);
        if lasts {
            self.marks.insert(Mark::ConflictLasts);
            self.trouble(now, object, Reason::Stuck, message.to_owned(), Class::Spec);
        }
    }
}
