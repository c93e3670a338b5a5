//! What becomes of a running shell whose mounts are not what the host has by the same names.

use super::action::{Pending, Step, WaitClock};
use super::channel::{Context, add};
use super::intent::{STRAY_FAREWELL, farewell_of};
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::effective::UpdateStrategyKind;
use crate::world::desired::DesiredChannel;
use crate::world::mounted::MountChange;
use crate::world::observed::Seen;

impl Context<'_> {
    /// What it has mounted is not what the host has by the same name. A restart mounts that; but where a path is missing or its disk is
    /// unmounted, the shell keeps what it has until the path is back.
    pub(super) fn remount(
        &self,
        desired: &DesiredChannel,
        seen: &Seen,
        changes: &[MountChange],
    ) -> Step {
        let workspace = desired.effective.as_ref().map(|effective| &effective.workspace.path);
        let is_workspace = |change: &&MountChange| Some(&change.source) == workspace;
        if let Some(lost) = changes.iter().find(|change| !change.ends_with_restart()) {
            let reason =
                if is_workspace(&lost) { Reason::WorkspaceMissing } else { Reason::MountMissing };
            return Step::rest(ConditionStatus::False, reason, lost.describe());
        }
        let words: Vec<String> = changes.iter().map(MountChange::describe).collect();
        let cause = words.join("; ");
        // Commands in a removed working directory fail, and what is written to the old one is lost: not usable. Without another
        // replaced mount it can still be worked in.
        let reason = if changes.iter().any(|change| is_workspace(&change)) {
            Reason::MountReplaced
        } else {
            Reason::Running
        };
        let waits_for = |waits: String, forced_at| {
            let status = ConditionStatus::False;
            let mut step = Step::rest(status, reason, format!("{cause}; waits: {waits}"));
            step.pending = Some(Pending {
                verb: "restart",
                cause: cause.clone(),
                waits,
                forced_at,
                reason: Reason::MountReplaced,
                clock: WaitClock::Off,
            });
            step.ready_as(reason)
        };
        let strategy = desired.effective.as_ref().map(|effective| effective.update_strategy.kind);
        if strategy == Some(UpdateStrategyKind::OnDelete) {
            return waits_for("until a person restarts the container".to_owned(), None);
        }
        if let Some(remounts) = self.world.remounts.get(self.name)
            && self.now.mono < remounts.not_before
        {
            let wait = remounts.not_before.saturating_sub(self.now.mono);
            let waits = format!("it was restarted for this {} times", remounts.count);
            return waits_for(waits, add(self.now.wall, wait.as_secs())).wake_after(wait);
        }
        let farewell = farewell_of(desired).unwrap_or(STRAY_FAREWELL);
        let mut step = self.stop(seen, farewell, "restart", &cause, reason);
        if let Some(pending) = &mut step.pending {
            pending.reason = Reason::MountReplaced;
        }
        step
    }
}
