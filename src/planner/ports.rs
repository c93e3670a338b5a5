//! A port of the host that another container of the instance publishes.
//!
//! It is waited for: each attempt would create, start and remove a container in vain. The controller plans the channel again as soon as
//! the holder changes. A port that something else holds is known from the engine's refusal alone, and is tried with growing pauses.

use std::time::Duration;

use super::action::Step;
use super::channel::Context;
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::{ObjectRef, ResourceName};
use crate::world::World;
use crate::world::desired::Target;
use crate::world::observed::Seen;

/// Should the change of the holder be missed, the channel is planned again after this.
const PORT_CHECK: Duration = Duration::from_mins(1);

/// The running container of another channel that publishes a port of `target`, and that port.
pub fn port_holder<'a>(
    world: &'a World,
    name: &ResourceName,
    target: &Target,
) -> Option<(&'a Seen, u16)> {
    let wanted = target.config.host_ports();
    if wanted.is_empty() {
        return None;
    }
    let others = world.observed.iter().map(|(_, seen)| seen).filter(|seen| {
        seen.identity.object() != ObjectRef::channel(name.clone()) && seen.state().is_live()
    });
    let mut held = others.filter_map(|seen| {
        let port = seen.snapshot.host_ports.intersection(&wanted).next()?;
        Some((seen, *port))
    });
    held.next()
}

impl Context<'_> {
    pub(super) fn port_wait(&self, target: &Target) -> Option<Step> {
        let (holder, port) = port_holder(self.world, self.name, target)?;
        let object = holder.identity.object();
        let row = self.world.inventory.get(&object);
        let then = match self.world.desired.channels.get(&object.name) {
            Some(desired) if desired.removal_held => {
                "whose removal waits for `chanop prune --confirm`"
            }
            Some(desired) => match &desired.target {
                Some(target) if target.config.host_ports().contains(&port) => {
                    "whose file has the same hostPort"
                }
                Some(_) => "which gives it up when idle",
                None => "which keeps it for now",
            },
            None if row.is_some_and(|row| row.held) => {
                "whose removal waits for `chanop prune --confirm`"
            }
            None if row.is_none_or(|row| row.gone_since.is_some()) => "which stops when idle",
            None => "whose file cannot be read now",
        };
        let message = format!("port {port} is used by {object}, {then}");
        let rest = Step::rest(ConditionStatus::False, Reason::PortInUse, message);
        Some(rest.wake_after(PORT_CHECK))
    }
}
