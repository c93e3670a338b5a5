//! What the answer to a call means for its run.

use super::super::Controller;
use super::super::backoff::Class;
use super::super::effect::Call;
use super::super::input::{Answer, Failure, Seq};
use super::super::key::MustRead;
use crate::container::label::Ownership;
use crate::container::{ContainerId, ContainerState, Identity, Snapshot};
use crate::planner::Mark;
use crate::planner::run::MEMORY_PATIENCE;
use crate::resource::condition::Reason;
use crate::resource::{Now, ObjectRef};
use crate::world::observed::{Noted, Seen};
use crate::world::record::Write;

impl Controller {
    #[expect(clippy::too_many_arguments, reason = "all of one answer, taken apart once")]
    pub(in super::super) fn run_answered(
        &mut self,
        now: Now,
        object: &ObjectRef,
        sent: Seq,
        done: Seq,
        call: Call,
        answer: Answer,
        cause: &str,
    ) {
        let name = &object.name;
        let answer = match answer {
            Answer::CreatedWithNotes(id, notes) => {
                for note in notes {
                    let event = self.event(now, &object.to_string(), true, "HomeRepaired", &note);
                    self.run_books.told.push(event);
                }
                Answer::Created(id)
            }
            answer => answer,
        };
        match (call, answer) {
            (Call::CreateRun { name: container, target }, Answer::Created(id)) => {
                self.lanes.speed_up();
                let channel = self.channel_of(object);
                self.image_served(&channel);
                self.note_made(now, done, &id, container, &target.target);
                let made = self.world.runs.memory.making.remove(name);
                self.live(&id).made = made;
                self.run_is_well(object);
                self.tell_run(now, object, "Created", cause);
            }
            (Call::Start { id, .. }, _) => {
                if let Some(seen) = self.world.observed.get_mut(&id) {
                    seen.snapshot.state = ContainerState::Running;
                    seen.as_of = done;
                    seen.read_at = now.mono;
                    seen.made_here = false;
                }
                self.live(&id).ran = true;
                self.run_is_well(object);
                self.tell_run(now, object, "Started", cause);
            }
            (Call::Stop { id, .. }, _) => {
                self.keys.entry(object.clone()).or_default().must_read = Some(MustRead::Id(id));
                self.tell_run(now, object, "Stopped", cause);
            }
            (Call::Remove { id, .. }, answer) => {
                let created = self.world.observed.get(&id).map(Seen::state);
                let unstarted = matches!(answer, Answer::RunRemoved { unstarted: true });
                self.world.observed.forget(&id);
                let live = self.live(&id);
                live.gone = true;
                // An engine that was killed at its start forgets it, and a late one may come between the look and this. Its init knows.
                live.fenced |= created == Some(ContainerState::Created) && unstarted;
                live.ended_at.get_or_insert(now.mono);
                self.forget_live(object, &id);
                self.run_is_well(object);
                self.tell_run(now, object, "RemovedContainer", cause);
            }
            (Call::Update { id, limits }, _) => {
                self.world.applied.insert(id.clone(), limits);
                self.unsaved.push(Write::Applied(id.clone(), Some(limits)));
                self.keys.entry(object.clone()).or_default().must_read = Some(MustRead::Id(id));
            }
            (Call::Inspect(_), Answer::Inspected(snapshot)) => {
                self.run_inspected(now, object, sent, *snapshot);
            }
            (Call::InspectName(_), Answer::Inspected(snapshot)) => {
                self.wait_for_name(now, object);
                self.run_inspected(now, object, sent, *snapshot);
            }
            (Call::ReadPrompt(_), Answer::Prompt(text)) => {
                self.world.runs.memory.prompts.insert(name.clone(), Ok(text.into()));
                self.enqueue_after_earlier(object);
            }
            _ => {}
        }
    }

    /// The last thing that was tried worked.
    fn run_is_well(&mut self, object: &ObjectRef) {
        self.keys.entry(object.clone()).or_default().gate = None;
        self.world.runs.troubles.remove(&object.name);
    }

    fn tell_run(&mut self, now: Now, object: &ObjectRef, reason: &str, cause: &str) {
        // Three commits a run are enough: admitted, permitted, ended.
        let event = self.event(now, &object.to_string(), false, reason, cause);
        self.run_books.told.push(event);
    }

    fn run_inspected(&mut self, now: Now, object: &ObjectRef, sent: Seq, snapshot: Snapshot) {
        let key = self.keys.entry(object.clone()).or_default();
        let stale = key.last_event > sent;
        key.read_gate = None;
        if stale {
            self.marks.insert(Mark::StaleLook);
        } else {
            key.must_read = None;
            key.fresh = Some((snapshot.id.clone(), now.mono));
        }
        let id = snapshot.id.clone();
        let instance = self.world.settings.instance.clone();
        let ended = matches!(snapshot.state, ContainerState::Exited | ContainerState::Dead);
        let ran = ended || snapshot.state.is_live();
        let of_open = self.is_open(object, &id);
        if of_open || self.world.runs.memory.of(&id).is_some() {
            let live = self.live(&id);
            let began =
                snapshot.details.as_ref().is_some_and(|details| details.started_at.is_some());
            live.looked_at = Some(now.mono);
            live.ran |= ran && began;
            live.gone = false;
            if ended {
                // The first look follows the event at once; only a later one is the second.
                live.looked_again |=
                    live.ended_at.is_some_and(|at| now.mono.saturating_sub(at) >= MEMORY_PATIENCE);
                live.ended_at.get_or_insert(now.mono);
            }
        }
        let before = self.world.observed.get(&id).map(|seen| (seen.state(), seen.made_here));
        let ownership = Identity::of(&instance, &snapshot.labels, &snapshot.name);
        let is_ours = matches!(ownership, Ownership::Ours(_));
        if of_open {
            let renamed = (!is_ours).then(|| Box::new(snapshot.clone()));
            self.live(&id).renamed = renamed;
        }
        let name = snapshot.name.clone();
        if let Noted::NotOurs(_) = self.world.observed.note(&instance, snapshot, sent, now.mono) {
            self.keys.entry(object.clone()).or_default().fresh = None;
            if !of_open {
                self.marks.insert(Mark::NameConflict);
                let message = format!(
                    "container {name} is not chanop's: rename or remove it, then `chanop reconcile {object}`"
                );
                self.trouble(now, object, Reason::NameConflict, message, Class::Spec);
            }
            return;
        }
        if let (Some((_, true)), Some(seen)) = (before, self.world.observed.get_mut(&id)) {
            seen.made_here = seen.state() == ContainerState::Created;
        }
    }

    /// Is it the container of the attempt whose end is not known?
    fn is_open(&self, object: &ObjectRef, id: &ContainerId) -> bool {
        let record = self.world.runs.get(&object.name);
        record
            .and_then(|record| record.open_attempt())
            .is_some_and(|attempt| attempt.container == *id)
    }

    /// Nothing has this ID any more.
    pub(in super::super) fn run_container_gone(&mut self, object: &ObjectRef, id: &ContainerId) {
        let mono = self.now.mono;
        let created = self.world.observed.get(id).map(Seen::state);
        if self.is_open(object, id) {
            let live = self.live(id);
            live.gone = true;
            live.renamed = None;
            live.ended_at.get_or_insert(mono);
            // It was never started, and now it cannot be.
            live.fenced |=
                created == Some(ContainerState::Created) && !live.start_sent && !live.gap;
        } else {
            self.forget_live(object, id);
        }
    }

    /// What was known of a container that no open attempt has.
    fn forget_live(&mut self, object: &ObjectRef, id: &ContainerId) {
        if !self.is_open(object, id) {
            self.world.runs.memory.containers.remove(id);
        }
        if self.world.applied.remove(id).is_some() {
            self.unsaved.push(Write::Applied(id.clone(), None));
        }
    }

    /// A run's call failed: what is particular about that.
    pub(in super::super) fn run_failed(
        &mut self,
        object: &ObjectRef,
        call: &Call,
        failure: &Failure,
    ) {
        let name = &object.name;
        match (call, failure) {
            (Call::CreateRun { .. }, _) => {
                self.world.runs.memory.making.remove(name);
            }
            (Call::ReadPrompt(_), Failure::Refused(reason, message)) => {
                let read = Err((*reason, message.clone()));
                self.world.runs.memory.prompts.insert(name.clone(), read);
                self.enqueue_after_earlier(object);
            }
            // It surely did not arrive, and may be sent yet.
            (Call::Start { id, .. }, Failure::Unreachable(_)) => self.live(id).start_sent = false,
            _ => {}
        }
        self.refresh_holding(name);
    }
}
