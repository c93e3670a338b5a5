//! What people and programs ask of runs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::Controller;
use super::super::request::Reply;
use crate::planner::run::{fingerprint, order_of, queue_is_full};
use crate::resource::{Now, ObjectRef, ResourceName, RunSpec};
use crate::world::desired::Verdict;
use crate::world::run::{Cancel, RunId, RunRecord, Trigger};

/// So many askers may wait for the disk.
const SUBMITTED_MAX: usize = 10_000;

impl Controller {
    pub(in super::super) fn ask_submit(
        &mut self,
        now: Now,
        id: u64,
        name: ResourceName,
        labels: BTreeMap<String, String>,
        spec: &Arc<RunSpec>,
    ) {
        let channel = spec.channel_name.clone();
        let known = self.world.runs.get(&name).is_some()
            || self.world.runs.tombstone(&name).is_some()
            || self.world.desired.runs.contains_key(&name);
        if known {
            self.reply(id, Reply::Exists(name));
            return;
        }
        let refuse = |this: &mut Self, why: String| this.reply(id, Reply::Refused(why));
        match self.world.desired.channels.get(&channel).map(|channel| &channel.verdict) {
            None => {
                let why = format!("there is no channel `{channel}`");
                self.reply(id, Reply::NotFound(why));
                return;
            }
            Some(Verdict::NotForThisHost) => {
                return refuse(self, format!("channel/{channel} is not for this host"));
            }
            Some(Verdict::Admitted | Verdict::Held { .. }) => {}
        }
        if self.shutting_down {
            return refuse(self, "the operator is ending".to_owned());
        }
        if let Some(error) = &self.store_error {
            let why = format!("the store cannot be written: {error}");
            return refuse(self, why);
        }
        if let Some(full) = queue_is_full(&self.world, &channel) {
            return refuse(self, full);
        }
        let Some(order) = order_of(&spec.order, None) else {
            let why = "a run over the API brings its prompt with it: spec.prompt or spec.messages";
            return refuse(self, why.to_owned());
        };
        if self.run_books.submitted.len() >= SUBMITTED_MAX {
            return refuse(self, "too many wait for the disk already".to_owned());
        }
        let record = RunRecord {
            id: RunId { name: name.clone(), rerun: 0 },
            channel,
            turn: self.world.runs.next_turn(),
            trigger: Trigger::Api,
            revision: self.view.specs.revision.clone(),
            labels,
            order,
            fingerprint: fingerprint(spec),
            admitted_at: now.wall,
            held: false,
            cancel: None,
            first_attempt: 1,
            attempts: Vec::new(),
            next: None,
            not_before: None,
            end: None,
        };
        self.keep_run(now, record, "submitted");
        self.run_books.submitted.push((id, name));
    }

    /// Those whose run is on the disk by now.
    pub(super) fn answer_submitted(&mut self) {
        let submitted = std::mem::take(&mut self.run_books.submitted);
        for (id, name) in submitted {
            if self.run_books.is_saving(&name) {
                self.run_books.submitted.push((id, name));
            } else {
                self.reply(id, Reply::Submitted(name));
            }
        }
    }

    pub(in super::super) fn ask_cancel(
        &mut self,
        now: Now,
        id: u64,
        name: &ResourceName,
        why: String,
    ) {
        let Some(record) = self.world.runs.get(name).cloned() else {
            let in_file = self.world.desired.runs.get(name).map(|desired| desired.source.clone());
            let reply = match in_file {
                Some(source) => Reply::Refused(format!(
                    "run/{name} was not admitted yet: remove it from {source}, or set spec.cancel to true"
                )),
                None => Reply::NotFound(format!("there is no run `{name}`")),
            };
            self.reply(id, reply);
            return;
        };
        if let Some(end) = &record.end {
            let message = format!("run/{name} has ended already: {}", end.phase);
            self.reply(id, Reply::Accepted(message));
            return;
        }
        if record.cancel.is_none() {
            let mut record = RunRecord::clone(&record);
            let why = if why.is_empty() { "cancelled by request".to_owned() } else { why };
            record.cancel = Some(Cancel { at: now.wall, why });
            self.keep_run(now, record, "cancelled by request");
        }
        self.reply(id, Reply::Accepted(format!("run/{name} is being ended")));
    }

    pub(in super::super) fn ask_release(&mut self, now: Now, id: u64, name: Option<ResourceName>) {
        let held: Vec<Arc<RunRecord>> = self
            .world
            .runs
            .iter()
            .filter(|record| record.held && record.end.is_none())
            .filter(|record| name.as_ref().is_none_or(|name| record.id.name == *name))
            .cloned()
            .collect();
        if held.is_empty() {
            let reply = match &name {
                Some(name) if self.world.runs.get(name).is_none() => {
                    Reply::NotFound(format!("there is no run `{name}`"))
                }
                Some(name) => Reply::Refused(format!("run/{name} is not held")),
                None => Reply::Refused("no run is held".to_owned()),
            };
            self.reply(id, reply);
            return;
        }
        let count = held.len();
        for record in held {
            let mut record = RunRecord::clone(&record);
            record.held = false;
            // What it waited for a person does not count against it.
            record.admitted_at = now.wall;
            self.enqueue(&ObjectRef::run(record.id.name.clone()));
            self.keep_run(now, record, "released");
        }
        let message = match (count, name) {
            (1, Some(name)) => format!("run/{name} is let go"),
            (count, _) => format!("{count} runs are let go"),
        };
        self.reply(id, Reply::Accepted(message));
    }
}
