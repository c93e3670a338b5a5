//! What the faces see of runs: only what is durable.

use std::sync::Arc;

use super::super::Controller;
use super::super::view::RunView;
use crate::container::ContainerState;
use crate::planner::run::RunStep;
use crate::resource::ResourceName;
use crate::world::run::Phase;

impl Controller {
    pub(in super::super) fn publish_run(&mut self, name: ResourceName) {
        // It is touched again when its record is on the disk.
        if self.run_books.is_saving(&name) {
            return;
        }
        match self.run_view(&name) {
            Some(view) => {
                if self.view.runs.get(&name).map(AsRef::as_ref) != Some(&view) {
                    self.view.runs.insert(name, Arc::new(view));
                }
            }
            None => {
                self.view.runs.remove(&name);
            }
        }
    }

    fn run_view(&self, name: &ResourceName) -> Option<RunView> {
        let record = self.world.runs.get(name).cloned();
        let desired = self.world.desired.runs.get(name);
        let step = self.run_books.steps.get(name);
        if record.is_none() && desired.is_none() {
            return None;
        }
        let channel = record
            .as_ref()
            .map(|record| record.channel.clone())
            .or_else(|| desired.map(|desired| desired.spec.channel_name.clone()))?;
        let open = record.as_ref().and_then(|record| record.open_attempt());
        let live = open.and_then(|open| self.world.runs.memory.of(&open.container));
        let seen = open.and_then(|open| self.world.observed.get(&open.container));
        let last =
            self.world.observed.attempts_of(name).last().map(|(_, seen)| seen.snapshot.id.clone());
        let began = seen.is_some_and(|seen| seen.state() != ContainerState::Created)
            || live.is_some_and(|live| live.ran);
        let (phase, reason, message, ahead) = match (&record, step) {
            (Some(record), step) if record.end.is_some() => {
                let end = record.end.as_ref()?;
                let message = step.map_or_else(|| end.message.clone(), |step| step.message.clone());
                (end.phase, end.reason.clone(), message, None)
            }
            (_, Some(RunStep { phase, reason, message, ahead, .. })) => {
                // Until its process runs it only starts.
                let phase =
                    if *phase == Phase::Running && !began { Phase::Starting } else { *phase };
                // An end that is not on the disk is none; that of a dropped record is, in its tombstone.
                let unwritten = phase.is_end() && record.is_some();
                let phase = if unwritten { Phase::Running } else { phase };
                (phase, reason.clone(), message.clone(), *ahead)
            }
            (_, None) => (Phase::Pending, "Waiting".to_owned(), String::new(), None),
        };
        Some(RunView {
            name: name.clone(),
            channel,
            source: desired.map(|desired| desired.source.clone()),
            labels: record
                .as_ref()
                .map(|record| record.labels.clone())
                .or_else(|| desired.map(|desired| desired.labels.clone()))
                .unwrap_or_default(),
            phase,
            reason,
            message,
            ahead,
            container: last,
            running_since: open.filter(|_| began).map(|open| open.permitted_at),
            progress: live.and_then(|live| live.progress),
            source_trouble: desired
                .and_then(|desired| desired.source_trouble.as_ref())
                .map(|(_, message)| message.clone()),
            record,
        })
    }
}
