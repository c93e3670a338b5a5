//! When it is checked whether running shells still have what the host has: with a scan, and for everybody who asks for a shell.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Controller;
use super::backoff::crash_wait;
use super::effect::Call;
use super::input::{Answer, Failure, Seq};
use crate::container::{ContainerId, ContainerState};
use crate::planner::Mark;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::mounted::{MountChanges, Remounts};

/// Between two checks of all running shells; a scan follows within 30 s, so that each is checked once a minute at least.
const CHECK_MOUNTS_INTERVAL: Duration = Duration::from_secs(30);

/// A shell whose mounts lasted so long is restarted at once for the next change.
const REMOUNT_RESET: Duration = Duration::from_hours(2);
/// Restarts for mounts are this much further apart than those after crashes, up to an hour: the shell works meanwhile.
const REMOUNT_FACTOR: u32 = 12;

/// State of these checks.
#[derive(Debug, Default)]
pub(super) struct MountChecks {
    /// The check of all shells that is on its way.
    all: Option<Seq>,
    next: Duration,
    /// The newest check of each shell that was answered: an older one may be answered later.
    answered: BTreeMap<ResourceName, Seq>,
}

impl MountChecks {
    pub(super) fn forget(&mut self, name: &ResourceName) {
        self.answered.remove(name);
    }

    fn is_newest(&mut self, name: &ResourceName, seq: Seq) -> bool {
        let newest = self.answered.entry(name.clone()).or_default();
        *newest = seq.max(*newest);
        *newest == seq
    }
}

impl Controller {
    /// Checks all running shells, unless that was done just now or a check has not been answered.
    pub(super) fn check_all_mounts(&mut self, now: Now) {
        if self.mount_checks.all.is_some()
            || now.mono < self.mount_checks.next
            || self.shutting_down
        {
            return;
        }
        let running: BTreeSet<ResourceName> = self
            .world
            .observed
            .channels()
            .filter(|name| self.running_shell(name).is_some())
            .cloned()
            .collect();
        if running.is_empty() {
            return;
        }
        self.mount_checks.next = now.mono + CHECK_MOUNTS_INTERVAL;
        let cause = "compares mounts with the host".to_owned();
        self.mount_checks.all = Some(self.send(None, Call::CheckMounts(running), cause));
    }

    /// Checks one shell, when it runs; answers the call to wait for.
    pub(super) fn check_mounts_of(&mut self, name: &ResourceName) -> Option<Seq> {
        self.running_shell(name)?;
        let cause = "compares mounts with the host".to_owned();
        Some(self.send(None, Call::CheckMounts(BTreeSet::from([name.clone()])), cause))
    }

    fn running_shell(&self, name: &ResourceName) -> Option<ContainerId> {
        let seen = self.world.observed.shell_of(name)?;
        (seen.state() == ContainerState::Running).then(|| seen.snapshot.id.clone())
    }

    /// A check that failed, of a file system that does not answer, says nothing: what the last one found stays.
    pub(super) fn mounts_checked(&mut self, now: Now, seq: Seq, answer: Result<Answer, Failure>) {
        if self.mount_checks.all == Some(seq) {
            self.mount_checks.all = None;
        }
        let Ok(Answer::MountChanges(found)) = answer else { return };
        for (name, changes) in found {
            let object = ObjectRef::channel(name.clone());
            // It may have been started since, with other mounts.
            if self.is_stale_for(&object, seq) || !self.mount_checks.is_newest(&name, seq) {
                continue;
            }
            let found = self
                .running_shell(&name)
                .filter(|_| !changes.is_empty())
                .map(|container| MountChanges { container, changes });
            if self.world.mount_changes.get(&name) == found.as_ref() {
                continue;
            }
            if let Some(found) = &found {
                self.marks.insert(Mark::MountsChanged);
                for change in &found.changes {
                    let text = object.to_string();
                    self.record(now, &text, true, "MountChanged", &change.describe());
                }
            }
            match found {
                Some(found) => drop(self.world.mount_changes.insert(name, found)),
                None => drop(self.world.mount_changes.remove(&name)),
            }
            self.enqueue(&object);
        }
    }

    /// A shell was stopped; when for its mounts, the next time may be later.
    pub(super) fn mounts_let_go(&mut self, now: Now, name: &ResourceName, id: &ContainerId) {
        let Some(found) = self.world.mount_changes.remove(name) else { return };
        if found.container != *id {
            return;
        }
        let before = self.world.remounts.get(name);
        let count = before
            .filter(|before| now.mono.saturating_sub(before.last) < REMOUNT_RESET)
            .map_or(1, |before| before.count.saturating_add(1));
        let not_before = now.mono + crash_wait(count).saturating_mul(REMOUNT_FACTOR);
        let remounts = Remounts { count, last: now.mono, not_before };
        self.world.remounts.insert(name.clone(), remounts);
    }
}
