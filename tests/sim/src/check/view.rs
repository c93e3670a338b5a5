//! S19 and S24: what is shown is true, and tells no secret.

use std::sync::Arc;

use chanop::container::ContainerState;
use chanop::controller::view::{ChannelView, View};

use super::{Check, HUSH};

impl Check {
    /// A snapshot for the faces.
    pub fn published(&mut self, old: &View, new: &View) {
        for (name, channel) in &new.channels {
            let before = old.channels.get(name);
            if before.is_some_and(|before| Arc::ptr_eq(before, channel)) {
                continue;
            }
            let running = channel.container.as_ref().map(|it| it.state);
            let expects = channel.effective.as_ref().is_some_and(|it| it.shell.enabled);
            if channel.ready && expects && running != Some(ContainerState::Running) {
                self.fail(format!(
                    "S19: {name} is shown as ready, and its container as {running:?}"
                ));
            }
            if let Some(kind) = before.and_then(|before| flips_wrongly(before, channel)) {
                self.fail(format!("S19: {name}: {kind} and the time of its transition disagree"));
            }
            if tells(channel) {
                self.fail(format!("S24: {name}: a variable's value is shown"));
            }
        }
        if let Some(event) = new.events.last().filter(|event| event.message.contains(HUSH)) {
            self.fail(format!("S24: a variable's value is in an event: {}", event.message));
        }
    }
}

fn flips_wrongly(before: &ChannelView, after: &ChannelView) -> Option<String> {
    let wrong = after.conditions.iter().find(|new| {
        let old = before.conditions.iter().find(|old| old.kind == new.kind);
        old.is_some_and(|old| {
            let flipped = old.status != new.status;
            !flipped && old.last_transition_time != new.last_transition_time
        })
    });
    wrong.map(|it| format!("{:?}", it.kind))
}

fn tells(channel: &ChannelView) -> bool {
    let pending = channel.pending.iter().flat_map(|it| [&it.cause, &it.waits]);
    let conditions = channel.conditions.iter().map(|it| &it.message);
    pending.chain(conditions).chain([&channel.message]).any(|text| text.contains(HUSH))
}
