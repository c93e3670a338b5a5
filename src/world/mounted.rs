//! What a running shell has mounted, compared with the host paths that it was mounted from.
//!
//! A bind mount keeps the directory or file that it was made from. When a person removes that directory and creates another of the same
//! name, the path and the container show two different things from then on. [`crate::host`] finds these differences, the
//! planner decides what becomes of the shell: a restart mounts the new directory.

use crate::container::ContainerId;
use std::time::Duration;

/// A host path that is no longer what the container has mounted from it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MountChange {
    /// Absolute, on the host.
    pub source: String,
    /// Absolute, in the container.
    pub target: String,
    /// How it differs.
    pub kind: MountChangeKind,
}

/// How a path differs from what was mounted from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum MountChangeKind {
    /// Another directory or file has its name. A restart mounts that one.
    Replaced,
    /// Its own file system is not mounted any more; its mount point is there, and empty as a rule. The container still has the
    /// file system, and a restart would give it the mount point instead.
    Unmounted,
    /// Nothing has its name.
    Missing,
}

impl MountChange {
    /// Does a restart of the container end the difference?
    pub const fn ends_with_restart(&self) -> bool {
        match self.kind {
            MountChangeKind::Replaced => true,
            MountChangeKind::Unmounted | MountChangeKind::Missing => false,
        }
    }

    /// A sentence for people, without a full stop.
    pub fn describe(&self) -> String {
        let Self { source, target, kind } = self;
        let at = if source == target { String::new() } else { format!(" (mounted at {target})") };
        match kind {
            MountChangeKind::Replaced => {
                format!(
                    "{source}{at} was replaced on the host; the container still has the old one"
                )
            }
            MountChangeKind::Unmounted => format!(
                "the file system of {source}{at} is not mounted on the host any more; mount it again"
            ),
            MountChangeKind::Missing => {
                format!("{source}{at} is not there any more; the container still has the old one")
            }
        }
    }
}

/// What the last check of a running shell found. Kept only while there is something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MountChanges {
    /// Of which container.
    pub container: ContainerId,
    /// By target; never empty.
    pub changes: Vec<MountChange>,
}

/// Restarts of a shell for replaced mounts: a file system whose inode numbers do not last must not cost one a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Remounts {
    /// How many in a row.
    pub count: u32,
    /// When the last one was.
    pub last: Duration,
    /// The next one not before.
    pub not_before: Duration,
}
