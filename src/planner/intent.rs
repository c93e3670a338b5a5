//! What is intended for a channel, before its container is looked at: kept, stopped, taken away, or left alone.
//!
//! Each intent has its reason in words, because it is shown.

use std::sync::Arc;

use super::channel::Context;
use crate::container::label;
use crate::resource::ObjectRef;
use crate::resource::condition::Reason;
use crate::resource::effective::UpdateStrategyKind;
use crate::world::desired::{DesiredChannel, Target, Verdict};
use crate::world::observed::Seen;
use crate::world::record::{Farewell, InventoryRow};

/// Between TERM and KILL of a shell. The init ends at once; what else runs in it has this long.
const SHELL_GRACE_SECONDS: u32 = 10;

/// What should become of a channel.
pub(super) enum Intent<'a> {
    /// There should be a running shell made from this.
    Keep { desired: &'a DesiredChannel, target: &'a Arc<Target> },
    /// The shell should be stopped and stay.
    Stopped { reason: Reason, message: String, farewell: Farewell },
    /// There should be no shell.
    Disabled { farewell: Farewell },
    /// What is, stays.
    HandsOff { reason: Reason, message: String },
    /// The file is gone: stop, then remove.
    Gone { row: &'a InventoryRow },
    /// Ours, and nothing explains it.
    Stray,
    /// Not known yet.
    Unknown,
    /// Neither wanted nor there.
    Nothing,
}

/// What is kept of a spec for the time after its file, and for every stop before it.
pub fn farewell_of(desired: &DesiredChannel) -> Option<Farewell> {
    let effective = desired.effective.as_ref()?;
    Some(Farewell {
        keep_stopped_seconds: effective.deletion.keep_stopped.as_secs(),
        when_idle: effective.update_strategy.kind == UpdateStrategyKind::WhenIdle,
        max_wait_seconds: effective.update_strategy.max_wait.as_secs(),
        grace_seconds: SHELL_GRACE_SECONDS,
    })
}

/// Of a container that nothing explains.
pub(super) const STRAY_FAREWELL: Farewell = Farewell {
    keep_stopped_seconds: 0,
    when_idle: true,
    max_wait_seconds: 86_400,
    grace_seconds: SHELL_GRACE_SECONDS,
};

impl<'a> Context<'a> {
    /// What should become of the channel.
    pub(super) fn intent(&self, object: &ObjectRef) -> Intent<'a> {
        let Some(desired) = self.world.desired.channels.get(self.name) else {
            return match (self.row, self.seen) {
                _ if !self.world.desired.ready => Intent::Unknown,
                (Some(row), _) if row.gone_since.is_some() => Intent::Gone { row },
                // Known, and its absence not yet believed: the controller keeps its last good content, so this is a
                // moment at most.
                (Some(_), _) => Intent::Unknown,
                (None, Some(seen)) if self.may_be_claimed(seen) => Intent::HandsOff {
                    reason: Reason::SourceInvalid,
                    message:
                        "the file that may hold it cannot be used; nothing is done to its container"
                            .to_owned(),
                },
                (None, Some(_)) => Intent::Stray,
                (None, None) => Intent::Nothing,
            };
        };
        // Stopping needs nobody's leave, whatever the spec has come to.
        if let Some(set) = self.world.suspended_by_hand(object, self.now) {
            let why =
                if set.reason.is_empty() { String::new() } else { format!(": {}", set.reason) };
            let until = set.until.map_or(String::new(), |until| format!(" until {until}"));
            return Intent::Stopped {
                reason: Reason::Suspended,
                message: format!("suspended by hand{until}{why}"),
                farewell: farewell_of(desired).unwrap_or(STRAY_FAREWELL),
            };
        }
        match &desired.verdict {
            Verdict::Held { reason, message } => {
                return Intent::HandsOff { reason: *reason, message: message.clone() };
            }
            Verdict::NotForThisHost => {
                return Intent::Stopped {
                    reason: Reason::NotForThisHost,
                    message: "hostSelector does not select this host; stopped here, never removed"
                        .to_owned(),
                    farewell: farewell_of(desired).unwrap_or(STRAY_FAREWELL),
                };
            }
            Verdict::Admitted => {}
        }
        let (Some(effective), Some(target)) = (&desired.effective, &desired.target) else {
            return Intent::HandsOff {
                reason: Reason::Waiting,
                message: "the host has not been looked at yet".to_owned(),
            };
        };
        let farewell = farewell_of(desired).unwrap_or(STRAY_FAREWELL);
        if effective.suspend {
            let message = "spec.suspend is true".to_owned();
            return Intent::Stopped { reason: Reason::Suspended, message, farewell };
        }
        if !effective.shell.enabled {
            return Intent::Disabled { farewell };
        }
        Intent::Keep { desired, target }
    }

    /// May a file that cannot be read now want this container?
    fn may_be_claimed(&self, seen: &Seen) -> bool {
        let source = seen.snapshot.labels.get(label::SOURCE);
        source.is_none_or(|file| self.world.desired.may_hide(file))
    }
}
