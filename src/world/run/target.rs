//! What one attempt's container is made from.

use std::sync::Arc;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::claude::command::{Bounds, Session};
use crate::resource::{Effective, ResourceName};
use crate::world::desired::Target;

/// What one attempt's container is made from. The agent's arguments are not in it: what its project's file says is looked at
/// when the container is made.
#[derive(Debug, Clone, PartialEq)]
pub struct RunTarget {
    /// The run.
    pub run: ResourceName,
    /// The attempt's number.
    pub attempt: u32,
    /// The channel as it counts.
    pub effective: Arc<Effective>,
    /// The container, but for its command and the environment that depends on the project's file.
    pub target: Target,
    /// What the agent is to do.
    pub task: Task,
    /// In which session.
    pub session: Session,
    /// The run's own, behind the channel's.
    pub system_prompt: String,
    /// Who asked.
    pub author: String,
    /// Turns and dollars.
    pub bounds: Bounds,
}

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Task {
    /// Answer this.
    Prompt(Arc<str>),
    /// Make the session shorter.
    Compact(Uuid),
}

/// What a run container's init writes down about the end of its command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ExitRecord {
    /// When the command was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Timestamp,
    /// Its exit code; 128 and a signal's number when that ended it.
    pub exit_code: i64,
}
