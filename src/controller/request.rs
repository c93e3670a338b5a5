//! What people and programs ask of the core, and what it answers.
//!
//! The core holds no way back to the asker: a request has an ID, and the wiring remembers who asked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::container::ContainerId;
use crate::planner::report::{Line, Report, Sign};
use crate::resource::{ObjectRef, ResourceName, RunSpec};

/// Something asked.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// A running shell, made if need be. Answered when it runs, or when it is clear that it will not.
    Ensure(ResourceName),
    /// Suspend against the file.
    Suspend {
        /// What.
        target: ObjectRef,
        /// For how long; `None`: until resumed.
        duration: Option<Duration>,
        /// In the person's words.
        reason: String,
    },
    /// Take a suspension back.
    Resume(ObjectRef),
    /// Look again now: the spec directory and the engine, or one object, whose backoff ends.
    Reconcile(Option<ObjectRef>),
    /// Let go of held removals; the revision must be the one shown.
    ConfirmPrune(String),
    /// What would be done, and why.
    Plan,
    /// A run that is no file. Answered once it is on the disk.
    SubmitRun {
        /// Its name: the asker's key, so that asking twice runs once.
        name: ResourceName,
        /// Its labels.
        labels: BTreeMap<String, String>,
        /// What is asked.
        spec: Arc<RunSpec>,
    },
    /// End a run.
    CancelRun {
        /// Which.
        name: ResourceName,
        /// Why, in the person's words.
        why: String,
    },
    /// Let a run go that is held since it was first seen with a new store; `None`: all of them.
    ReleaseRun(Option<ResourceName>),
}

/// The answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It runs.
    Ensured(EnsuredShell),
    /// Done, or on its way; a sentence says what.
    Accepted(String),
    /// The plan.
    Planned(PlanReport),
    /// The run is admitted, and on the disk.
    Submitted(ResourceName),
    /// There is a run of this name already.
    Exists(ResourceName),
    /// There is no such object.
    NotFound(String),
    /// It cannot be done as things are; the sentence says why and what to do.
    Refused(String),
}

/// Where a running shell is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct EnsuredShell {
    /// Its container.
    pub container_id: ContainerId,
    /// On which engine.
    pub engine_id: String,
}

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanReport {
    /// The spec revision.
    pub revision: String,
    /// The engine's version; `None` when it does not answer.
    pub engine: Option<String>,
    /// Everything that is not as it should be.
    pub lines: Vec<PlanLine>,
    /// How many are as they should be.
    pub unchanged: usize,
}

impl PlanReport {
    /// The planner's report, with what it was made for.
    pub fn new(report: Report, revision: String, engine: Option<String>) -> Self {
        let line = |line: Line| PlanLine {
            sign: match line.sign {
                Sign::Add => PlanSign::Add,
                Sign::Change => PlanSign::Change,
                Sign::Replace => PlanSign::Replace,
                Sign::Remove => PlanSign::Remove,
                Sign::Held => PlanSign::Held,
            },
            object: line.object,
            verb: line.verb.to_owned(),
            cause: line.cause,
            when: line.when,
            waiting: line.waiting,
        };
        let lines = report.lines.into_iter().map(line).collect();
        Self { revision, engine, lines, unchanged: report.unchanged }
    }
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PlanLine {
    /// `+`, `~`, `-/+`, `-` or `!`.
    pub sign: PlanSign,
    /// `channel/web`.
    pub object: String,
    /// `create`, `update`, `recreate`, `start`, `stop`, `remove`, `held`.
    pub verb: String,
    /// Why.
    pub cause: String,
    /// When, or for what it waits; empty: now.
    pub when: String,
    /// Does it wait?
    pub waiting: bool,
}

/// How a line of the plan is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum PlanSign {
    /// Something new.
    #[serde(rename = "+")]
    Add,
    /// Changed in place.
    #[serde(rename = "~")]
    Change,
    /// Made anew.
    #[serde(rename = "-/+")]
    Replace,
    /// Taken away.
    #[serde(rename = "-")]
    Remove,
    /// Not done until something changes.
    #[serde(rename = "!")]
    Held,
}

impl PlanSign {
    /// The mark.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Add => "+",
            Self::Change => "~",
            Self::Replace => "-/+",
            Self::Remove => "-",
            Self::Held => "!",
        }
    }
}
