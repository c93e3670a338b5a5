//! Channels that wait for a port of another channel's container: planned again as soon as the holder changes.

use std::sync::Arc;

use super::Controller;
use crate::container::ContainerId;
use crate::planner::Step;
use crate::planner::ports::port_holder;
use crate::resource::condition::Reason;
use crate::resource::{ObjectRef, ResourceName};
use crate::world::desired::DesiredChannel;

/// Whom a channel waits for, as its last plan saw it.
#[derive(Debug, Clone)]
pub(super) struct PortHolder {
    id: ContainerId,
    port: u16,
    channel: ResourceName,
    desired: Option<Arc<DesiredChannel>>,
}

impl Controller {
    /// Keeps in mind whom the channel waits for, by its plan.
    pub(super) fn note_port_wait(&mut self, name: &ResourceName, step: &Step) {
        if step.status.reason != Reason::PortInUse || step.want.is_some() {
            self.port_waits.remove(name);
            return;
        }
        let target = self.world.desired.channels.get(name).and_then(|it| it.target.as_ref());
        let held = target.and_then(|target| port_holder(&self.world, name, target));
        let Some((seen, port)) = held else { return };
        let channel = seen.identity.object().name;
        let desired = self.world.desired.channels.get(&channel).cloned();
        let holder = PortHolder { id: seen.snapshot.id.clone(), port, channel, desired };
        self.port_waits.insert(name.clone(), holder);
    }

    /// Plans those again whose port was given up, or whose holder's file changed. What failed for the port is tried at once.
    pub(super) fn enqueue_port_waits(&mut self) {
        let waits = self.port_waits.iter();
        let changed: Vec<(ResourceName, bool)> = waits
            .filter_map(|(name, holder)| {
                let seen = self.world.observed.get(&holder.id);
                let held = seen.is_some_and(|seen| {
                    seen.state().is_live() && seen.snapshot.host_ports.contains(&holder.port)
                });
                let desired = self.world.desired.channels.get(&holder.channel);
                let same = match (desired, &holder.desired) {
                    (Some(now), Some(then)) => Arc::ptr_eq(now, then),
                    (now, then) => now.is_none() && then.is_none(),
                };
                (!held || !same).then(|| (name.clone(), held))
            })
            .collect();
        for (name, held) in changed {
            self.port_waits.remove(&name);
            let for_port =
                self.world.troubles.get(&name).is_some_and(|it| it.reason == Reason::PortInUse);
            if for_port && !held {
                self.world.troubles.remove(&name);
                if let Some(key) = self.keys.get_mut(&ObjectRef::channel(name.clone())) {
                    key.gate = None;
                }
            }
            self.enqueue_channel(&name);
        }
    }
}
