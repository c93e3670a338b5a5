//! Conditions: what holds of an object, since when, and why.

use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Which question a condition answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionType {
    /// Is it as its file wants it, and usable?
    Ready,
    /// Is its file readable and valid? When not, the last good content counts.
    SourceValid,
    /// Is the container made from the newest spec?
    UpToDate,
    /// Does git work in the workspace? Only where it did not at some time.
    GitUsable,
}

/// The answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ConditionStatus {
    /// Yes.
    True,
    /// No.
    False,
    /// Not known now.
    Unknown,
}

impl fmt::Display for ConditionStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        })
    }
}

/// Why. Stable words: scripts and alerts match on them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Reason {
    /// The shell runs.
    Running,
    /// The channel wants no shell.
    ShellDisabled,
    /// The container is being made.
    Creating,
    /// The container is being started.
    Starting,
    /// The shell is being stopped.
    Stopping,
    /// The container is being removed.
    Removing,
    /// Stopped, as the file or a person wants.
    Suspended,
    /// This host is not selected.
    NotForThisHost,
    /// The file is gone; the shell is on its way out.
    Deleting,
    /// Removals are held until a person confirms them.
    PruneHeld,
    /// Frozen by a person; left alone.
    Paused,
    /// Its process ends again and again.
    CrashLoopBackOff,
    /// The engine could not start it.
    StartFailed,
    /// A network that it was made with is gone.
    NetworkMissing,
    /// The engine refused to make it.
    CreateFailed,
    /// The engine has no such image, and the operator may not bring it.
    ImageMissing,
    /// The image is being pulled.
    ImagePulling,
    /// The image could not be pulled; tried again more and more slowly.
    ImagePullBackOff,
    /// The image is being built.
    ImageBuilding,
    /// The image could not be built.
    ImageBuildFailed,
    /// Somebody else's container has its name.
    NameConflict,
    /// The policy forbids what the spec asks for.
    PolicyViolation,
    /// The named class does not exist.
    ClassNotFound,
    /// Class and channel together make no valid spec.
    InvalidSpec,
    /// The file cannot be used; its last good content counts.
    SourceInvalid,
    /// Two files claim the name; the first one counts.
    Conflict,
    /// The file is as good as its content.
    Valid,
    /// The workspace is not there.
    WorkspaceMissing,
    /// The source of a mount or file is not there.
    MountMissing,
    /// The workspace or a mount was replaced on the host; the shell has the old one until it is restarted.
    MountReplaced,
    /// A git worktree's repository is not mounted.
    GitDirectoryNotMounted,
    /// A secret is not there or cannot be used.
    SecretMissing,
    /// The file with the run's prompt is not there, or cannot be read now.
    PromptMissing,
    /// The agent's CLI is to be injected, and the operator has none.
    AgentCliMissing,
    /// The host could not be prepared.
    HostFailed,
    /// The engine does not answer.
    EngineUnavailable,
    /// A port that the shell is to publish is in use.
    PortInUse,
    /// No space left on the engine's disk.
    NoSpace,
    /// The spec directory cannot be read.
    SourceUnavailable,
    /// The spec and the container are the same.
    UpToDate,
    /// A change waits.
    UpdatePending,
    /// Limits could not be changed in place; the shell runs with the old ones.
    UpdateFailed,
    /// The engine holds the container in a state that does not end.
    Stuck,
    /// Not looked at yet.
    Waiting,
    /// The channel of a run does not exist.
    ChannelNotFound,
    /// So many runs of the channel wait that no further one is taken in.
    QueueFull,
    /// The run was there when the store was new, and may have run before; a person must release it.
    HeldFirstSight,
    /// The run is tried again later.
    BackOff,
    /// The run waits for its turn.
    Queued,
    /// Another run is at work in the session that this one goes on in.
    SessionInUse,
    /// The prompt of a run that comes before it in the files is being read.
    AfterEarlierRun,
}

impl Reason {
    /// The word.
    pub fn as_str(self) -> String {
        format!("{self:?}")
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One condition of one object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// Which question.
    #[serde(rename = "type")]
    pub kind: ConditionType,
    /// The answer.
    pub status: ConditionStatus,
    /// Why, in one stable word.
    pub reason: Reason,
    /// Why, in a sentence.
    pub message: String,
    /// The generation of the spec that this speaks of.
    pub observed_generation: i64,
    /// When `status` last changed.
    pub last_transition_time: Timestamp,
}

/// Puts `new` into `conditions`; the transition time stays unless the status flips. Answers whether anything changed.
pub fn set(conditions: &mut Vec<Condition>, mut new: Condition) -> bool {
    let Some(old) = conditions.iter_mut().find(|old| old.kind == new.kind) else {
        conditions.push(new);
        return true;
    };
    if old.status == new.status {
        new.last_transition_time = old.last_transition_time;
    }
    let changed = *old != new;
    *old = new;
    changed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_transition_time_changes_only_when_the_status_flips() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let ready = |status, reason, time| Condition {
            kind: ConditionType::Ready,
            status,
            reason,
            message: String::new(),
            observed_generation: 1,
            last_transition_time: at(time),
        };
        let mut all = vec![];
        assert!(set(&mut all, ready(ConditionStatus::False, Reason::Creating, 1)));
        assert!(set(&mut all, ready(ConditionStatus::False, Reason::Starting, 2)));
        assert_eq!(all[0].last_transition_time, at(1));
        assert!(!set(&mut all, ready(ConditionStatus::False, Reason::Starting, 3)));
        assert!(set(&mut all, ready(ConditionStatus::True, Reason::Running, 4)));
        assert_eq!(all[0].last_transition_time, at(4));
    }
}
