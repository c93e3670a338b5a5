//! Conditions: what is true of an object now, since when and why, in Kubernetes' shape.
//!
//! `last_transition_time` moves only when the status flips, so "not ready since" can be trusted. Reasons are a closed
//! list: people alert on them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// True, false or not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    /// It holds.
    True,
    /// It does not.
    False,
    /// It cannot be told now.
    Unknown,
}

macro_rules! closed {
    ($(#[doc = $head:literal])+ $type:ident { $($(#[doc = $doc:literal])+ $name:ident,)+ }) => {
        $(#[doc = $head])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $type {
            $($(#[doc = $doc])+ $name,)+
        }

        impl $type {
            /// Every one.
            pub const ALL: &'static [Self] = &[$(Self::$name,)+];

            /// The word as it is printed.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name),)+ }
            }
        }

        impl std::fmt::Display for $type {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

closed! {
    /// What a condition is about.
    ConditionType {
        /// The object is as its file wants it.
        Ready,
        /// Its file parses and is the one that counts.
        SourceValid,
        /// Its spec keeps the policy.
        Accepted,
        /// Directories, secrets and mounts of the host are there.
        HostReady,
        /// The image is there.
        ImageReady,
        /// Nothing waits to be changed.
        UpToDate,
        /// A person or the file suspended it.
        Suspended,
    }
}

closed! {
    /// Why a condition is as it is.
    Reason {
        /// The shell runs and is as wanted.
        Running,
        /// There is nothing to run: the shell is disabled.
        ShellDisabled,
        /// It is being made or changed.
        Progressing,
        /// It was looked at and is good.
        Valid,
        /// The file does not parse; the last good content counts.
        InvalidSpec,
        /// The file cannot be read.
        SourceUnavailable,
        /// Two files claim the name.
        Conflict,
        /// The class that is named does not exist.
        ClassMissing,
        /// The channel that is named does not exist.
        ChannelMissing,
        /// The policy forbids it.
        PolicyViolation,
        /// The workspace is not there.
        WorkspaceMissing,
        /// A mount's source is not there.
        MountMissing,
        /// A file to copy is not there.
        FileMissing,
        /// A secret is not there.
        SecretMissing,
        /// A host path is not what it was when it was checked.
        PathChanged,
        /// The engine does not have the image.
        ImageMissing,
        /// The image is being pulled.
        ImagePulling,
        /// Pulling failed.
        ImagePullFailed,
        /// The image is being built.
        ImageBuilding,
        /// Building failed.
        ImageBuildFailed,
        /// The engine refused to create the container.
        CreateFailed,
        /// The container did not start.
        StartFailed,
        /// It ends again and again.
        CrashLoopBackOff,
        /// The kernel ended it for its memory.
        OomKilled,
        /// Its health check says no.
        Unhealthy,
        /// Suspended by file or override.
        Suspended,
        /// Not for this host: its selector does not match.
        Deselected,
        /// The file is gone; the shell is stopped.
        Removed,
        /// A removal is held until a person confirms.
        PruneHeld,
        /// A change waits until nobody is in the shell.
        WaitingForIdle,
        /// A change waits for the container's removal by a person.
        WaitingForDelete,
        /// What is wanted is there.
        UpToDate,
        /// Somebody changed the container by hand.
        Drifted,
        /// Another container has the name.
        NameTaken,
        /// The host's port is taken.
        PortTaken,
        /// The engine does not answer.
        EngineUnavailable,
        /// An answer was lost; the next look will tell.
        OutcomeUnknown,
        /// The store does not answer.
        StoreUnavailable,
        /// Something that has no reason of its own.
        Internal,
    }
}

/// One condition of an object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// What it is about.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// Whether it holds.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// The same in words, with the particulars.
    pub message: String,
    /// The generation of the object that this was said of.
    pub observed_generation: u64,
    /// When the status last flipped.
    pub last_transition_time: Timestamp,
}

impl Condition {
    /// Puts `self` among `conditions` in place of the one of its type; keeps that one's time when the status is the same.
    /// Says whether anything changed.
    pub fn set(conditions: &mut Vec<Self>, mut new: Self) -> bool {
        let Some(old) = conditions.iter_mut().find(|old| old.kind == new.kind) else {
            conditions.push(new);
            conditions.sort_by_key(|condition| condition.kind);
            return true;
        };
        if old.status == new.status {
            new.last_transition_time = old.last_transition_time;
        }
        let changed = *old != new;
        *old = new;
        changed
    }

    /// The condition of this type.
    pub fn get(conditions: &[Self], kind: ConditionType) -> Option<&Self> {
        conditions.iter().find(|condition| condition.kind == kind)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::{Condition, ConditionType, Reason, Status};

    fn ready(status: Status, reason: Reason, second: i64) -> Condition {
        Condition {
            kind: ConditionType::Ready,
            status,
            reason,
            message: String::new(),
            observed_generation: 1,
            last_transition_time: Timestamp::from_second(second).unwrap(),
        }
    }

    #[test]
    fn the_time_moves_only_when_the_status_flips() {
        let mut all = Vec::new();
        assert!(Condition::set(&mut all, ready(Status::False, Reason::ImageMissing, 1)));
        assert!(Condition::set(&mut all, ready(Status::False, Reason::StartFailed, 2)));
        assert_eq!(all[0].last_transition_time.as_second(), 1);
        assert_eq!(all[0].reason, Reason::StartFailed);
        assert!(!Condition::set(&mut all, ready(Status::False, Reason::StartFailed, 3)));
        assert!(Condition::set(&mut all, ready(Status::True, Reason::Running, 4)));
        assert_eq!(all[0].last_transition_time.as_second(), 4);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn it_is_written_in_kubernetes_shape() {
        let json =
            serde_json::to_value(ready(Status::Unknown, Reason::EngineUnavailable, 0)).unwrap();
        assert_eq!(
            json,
            serde_json::json!({
                "type": "Ready", "status": "Unknown", "reason": "EngineUnavailable", "message": "",
                "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:00Z",
            })
        );
    }
}
