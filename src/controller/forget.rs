//! The last steps of a channel that is gone: its container was removed, now the images that were built for it lose their
//! tags, and then its records go.
//!
//! The channel's record is what makes the operator try again, after a failure as after a restart. So it is removed last.

use std::collections::BTreeSet;

use super::Controller;
use super::drive::SAFETY_NET;
use super::effect::Call;
use crate::planner::Mark;
use crate::planner::template::build_repository;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::record::Write;

impl Controller {
    /// Removes the tags of what was built for a channel that has no container any more.
    pub(super) fn untag_builds(&mut self, now: Now, name: &ResourceName, cause: String) {
        let object = &ObjectRef::channel(name.clone());
        let gates = self.keys.get(object).map(|key| (key.gate, key.read_gate));
        let (gate, read_gate) = gates.unwrap_or_default();
        let closed = gate.into_iter().chain(read_gate).map(|gate| gate.until).max();
        if let Some(until) = closed.filter(|until| *until > now.mono) {
            self.marks.insert(Mark::GateClosed);
            self.wake_at(object, until);
            return;
        }
        let repository = build_repository(&self.world.settings.instance, name);
        // A build that is under way would tag its image afterwards.
        let mut under_way = self.world.images.iter().filter(|(_, state)| state.work.is_some());
        if under_way.any(|(image, _)| is_in(&repository, &image.reference)) {
            self.wake_at(object, now.mono + SAFETY_NET);
            return;
        }
        let targets = self.world.desired.channels.values().filter_map(|it| it.target.as_ref());
        let keep: BTreeSet<String> = targets
            .map(|target| &target.config.image)
            .filter(|image| is_in(&repository, image))
            .cloned()
            .collect();
        let call = Call::UntagBuilds { repository, keep };
        if self.may_change(now, object, &call) {
            self.dispatch(object, call, cause);
        }
    }

    /// What was built for a channel has no tags any more. Its file may have come back meanwhile.
    pub(super) fn builds_untagged(&mut self, now: Now, name: &ResourceName, kept: &[String]) {
        let row = self.world.inventory.get(&ObjectRef::channel(name.clone()));
        let gone = row.is_some_and(|row| row.gone_since.is_some());
        let left = self.world.observed.shell_of(name).is_some();
        if gone && !left && !self.world.desired.channels.contains_key(name) {
            self.forget(now, name, kept);
        }
    }

    /// Removes what was recorded of a channel that is gone for good.
    fn forget(&mut self, now: Now, name: &ResourceName, kept: &[String]) {
        let object = ObjectRef::channel(name.clone());
        self.world.inventory.remove(&object);
        self.world.overrides.remove(&object);
        self.world.troubles.remove(name);
        self.world.crashes.remove(name);
        self.world.unreadable_drift.remove(name);
        self.world.mount_changes.remove(name);
        self.world.remounts.remove(name);
        self.mount_checks.forget(name);
        self.port_waits.remove(name);
        self.channel_left(name);
        self.unsaved.push(Write::Inventory(object.clone(), None));
        self.unsaved.push(Write::Override(object.clone(), None));
        self.unsaved.push(Write::Conditions(object.clone(), None));
        self.record(now, &object.to_string(), false, "Removed", &removed(kept));
        self.drop_key(&object);
    }
}

/// What the event says: also what stays.
fn removed(kept: &[String]) -> String {
    let images = match kept {
        [] => String::new(),
        kept => format!(" and {}, which another channel uses", kept.join(", ")),
    };
    format!(
        "its shell and the images built for it are removed from Docker; its home, volumes and directories stay{images}"
    )
}

fn is_in(repository: &str, image: &str) -> bool {
    image.rsplit_once(':').is_some_and(|(of, _)| of == repository)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removal_event_names_what_stays() {
        assert!(removed(&[]).ends_with("its home, volumes and directories stay"));
        let kept = removed(&["chanop-build/a:1".to_owned()]);
        assert!(kept.ends_with("and chanop-build/a:1, which another channel uses"), "{kept}");
    }

    #[test]
    fn another_channels_repository_is_not_meant() {
        assert!(is_in("chanop-build/a", "chanop-build/a:0f"));
        assert!(!is_in("chanop-build/a", "chanop-build/ab:0f"));
        assert!(!is_in("chanop-build/a", "chanop-build/i.a:0f"));
    }
}
