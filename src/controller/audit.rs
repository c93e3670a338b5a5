//! A look at every running shell after a gap in the events: a list does not tell everything that people can change.

use std::collections::BTreeSet;

use super::Controller;
use super::effect::Call;
use super::key::MustRead;
use crate::container::ContainerState;
use crate::planner::Mark;
use crate::resource::ObjectRef;

impl Controller {
    /// What happened to shells while nobody listened is looked for: to running ones now, to those that were created by this process and
    /// not started yet before their start.
    pub(super) fn begin_audit(&mut self) {
        self.auditing = None;
        self.to_audit = self.world.observed.channels().cloned().collect();
        self.world.observed.doubt_new_shells();
    }

    /// A list does not tell limits, restart policy or configuration: what people changed while the stream was away is seen by
    /// looking at each running shell once, in the background, after the channels that need something.
    pub(super) fn audit(&mut self) {
        if self.blocked().is_some() {
            return;
        }
        let mut later = BTreeSet::new();
        while self.auditing.is_none() {
            let Some(name) = self.to_audit.pop_first() else { break };
            let running = self
                .world
                .observed
                .shell_of(&name)
                .filter(|seen| seen.state() == ContainerState::Running)
                .map(|seen| seen.snapshot.id.clone());
            let Some(id) = running else { continue };
            let key = self.keys.entry(ObjectRef::channel(name.clone())).or_default();
            // Another container's doorbell, or a call, is no look at this one.
            let looks = key.must_read == Some(MustRead::Id(id.clone()))
                || key.in_flight.as_ref().is_some_and(|it| it.call == Call::Inspect(id.clone()));
            if looks {
                continue;
            }
            if key.in_flight.is_some() || key.must_read.is_some() {
                later.insert(name);
            } else {
                self.marks.insert(Mark::Audited);
                key.must_read = Some(MustRead::Id(id));
                self.auditing = Some(name.clone());
                self.enqueue_channel(&name);
            }
        }
        self.to_audit.append(&mut later);
    }
}
