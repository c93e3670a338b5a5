//! What this process knows of runs beside what the store keeps and what the engine reports: gone with the process, and never needed for
//! being right, only for knowing more.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::{AttemptKind, Followed, RunProgress};
use crate::claude::outcome::Stop;
use crate::container::{ContainerId, Snapshot};
use crate::resource::ResourceName;
use crate::resource::condition::Reason;

/// Of one run's container.
#[derive(Debug, Clone, Default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a thing that was seen or done, and any may be without the others"
)]
pub struct Live {
    /// What it was made for, if this process made it.
    pub made: Option<Made>,
    /// This process sent its start. Never again.
    pub start_sent: bool,
    /// When it sent it: its time counts from then on, and not from a permit that waited for the engine.
    pub started_at: Option<Timestamp>,
    /// This process sent its end, and why.
    pub stop: Option<Stop>,
    /// It ran: its start was answered, or an event or a look said so.
    pub ran: bool,
    /// It was removed before it ever ran, so that no start can come through any more.
    pub fenced: bool,
    /// Nobody has this ID any more.
    pub gone: bool,
    /// The exit code of its last `die`, heard while it happened.
    pub exit_event: Option<i64>,
    /// The engine was away while it ran, or this process was not there: what the engine says of its end may be made up.
    pub gap: bool,
    /// It was killed, and the engine was asked a second time whether for memory.
    pub looked_again: bool,
    /// When it was last looked at.
    pub looked_at: Option<Duration>,
    /// When it was first seen ended.
    pub ended_at: Option<Duration>,
    /// Its output, all of it.
    pub followed: Option<Arc<Followed>>,
    /// How far its output is.
    pub progress: Option<RunProgress>,
    /// When this process was first told that the agent gave its final result and has been silent since.
    pub finished_at: Option<Duration>,
    /// It has another name now, given by hand: it is read, and never touched.
    pub renamed: Option<Box<Snapshot>>,
}

/// What a container was made for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Why there is an attempt.
    pub kind: AttemptKind,
    /// The session that it leaves behind.
    pub session: Uuid,
    /// The session that it goes on in, or copies.
    pub resumes: Option<Uuid>,
}

/// The text of a prompt's file, or why there is none.
pub type PromptRead = Result<Arc<str>, (Reason, String)>;

/// Of all runs.
#[derive(Debug, Clone, Default)]
pub struct Memory {
    /// By container.
    pub containers: BTreeMap<ContainerId, Live>,
    /// Runs that hold a place: their container is being made, or is there, and has not ended.
    pub holding: BTreeSet<ResourceName>,
    /// Runs whose container is being made, each with what for.
    pub making: BTreeMap<ResourceName, Made>,
    /// Prompts that were read from files, by run.
    pub prompts: BTreeMap<ResourceName, PromptRead>,
    /// Runs of the first scan of a new store: they may have run before.
    pub first_sight: BTreeSet<ResourceName>,
}

impl Memory {
    /// What is known of a container.
    pub fn of(&self, id: &ContainerId) -> Option<&Live> {
        self.containers.get(id)
    }
}
