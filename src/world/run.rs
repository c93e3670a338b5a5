//! Runs: what was asked, what was permitted, what became of it. The record of each is what the store keeps.
//!
//! A record changes in few ways, each a commit: it is *admitted*, an attempt is *permitted* (the one and only start of its
//! container may follow), the attempt *ends* (nothing of its container is removed before that is on the disk), and the run ends with
//! its last attempt. An ended record never changes again.

mod index;
mod live;
mod target;

use std::collections::BTreeMap;
use std::fmt;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::claude::RunOutcome;
use crate::claude::outcome::Stop;
use crate::container::ContainerId;
use crate::resource::run::{Message, Session};
use crate::resource::{ResourceName, SourceRef};

pub use index::{DesiredRun, Runs};
pub use live::{Live, Made, Memory, PromptRead};
pub use target::{ExitRecord, RunTarget, Task};

/// Which run: its name, and how often its file was told to run again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RunId {
    /// Its name.
    pub name: ResourceName,
    /// `spec.rerun`.
    pub rerun: u32,
}

/// Everything that is kept of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RunRecord {
    /// Which.
    pub id: RunId,
    /// The channel that it runs in.
    pub channel: ResourceName,
    /// Counts admissions: the queue's order.
    pub turn: u64,
    /// Who or what asked for it.
    pub trigger: Trigger,
    /// The spec revision that it was admitted at.
    pub revision: Option<String>,
    /// `metadata.labels`.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What was asked; never changed.
    pub order: Order,
    /// Of the order: another one under the same name is not run.
    pub fingerprint: String,
    /// When it was admitted.
    pub admitted_at: Timestamp,
    /// Seen in the first scan of a new store, and perhaps run before: it waits for a person.
    #[serde(default)]
    pub held: bool,
    /// Somebody wishes its end.
    #[serde(default)]
    pub cancel: Option<Cancel>,
    /// The number of its first attempt: attempts count on across reruns, since containers are named by them.
    pub first_attempt: u32,
    /// Its attempts, oldest first. One is here from its permit on.
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    /// Why it is tried again, once its last attempt has ended.
    #[serde(default)]
    pub next: Option<AttemptKind>,
    /// Not tried again before.
    #[serde(default)]
    pub not_before: Option<Timestamp>,
    /// How it ended.
    #[serde(default)]
    pub end: Option<RunEnd>,
}

/// Who or what asked for a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all_fields = "camelCase")]
pub enum Trigger {
    /// A file.
    File {
        /// Relative to the spec directory.
        file: String,
        /// Its line.
        line: u32,
    },
    /// Somebody over the API.
    Api,
    /// Nobody that is known: its container was found, and no record of it.
    Found,
    /// A schedule.
    Schedule {
        /// Its name.
        name: ResourceName,
    },
}

impl Trigger {
    /// A file's.
    pub fn file(source: &SourceRef) -> Self {
        Self::File { file: source.file.clone(), line: source.line }
    }

    /// One word, for metrics.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::File { .. } => "file",
            Self::Api => "api",
            Self::Found => "found",
            Self::Schedule { .. } => "schedule",
        }
    }
}

impl fmt::Display for Trigger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Api | Self::Found => f.write_str(self.word()),
            Self::Schedule { name } => write!(f, "schedule/{name}"),
        }
    }
}

/// What the agent is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Ask {
    /// A prompt; the text of its file, where it stands in one.
    Prompt(String),
    /// A conversation.
    Messages(Vec<Message>),
}

/// What was asked, with what the file left to its channel still open.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Order {
    /// What the agent is told.
    pub ask: Ask,
    /// Appended to the channel's.
    pub system_prompt: String,
    /// Who asked.
    pub author: String,
    /// Which session.
    pub session: Session,
    /// In a copy of it?
    pub fork: bool,
    /// Seconds within which the first start must happen.
    pub starting_deadline_seconds: u32,
    /// Instead of the channel's.
    pub active_deadline_seconds: Option<u32>,
    /// Instead of the channel's.
    pub termination_grace_period_seconds: Option<u32>,
    /// Instead of the channel's.
    pub backoff_limit: Option<u32>,
    /// Instead of the channel's.
    pub max_turns: Option<u32>,
    /// Instead of the channel's.
    #[serde(rename = "maxBudgetUSD")]
    pub max_budget_usd: Option<f64>,
    /// Instead of the channel's, in seconds.
    pub keep_container_seconds: Option<u64>,
}

/// Somebody wished the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cancel {
    /// When.
    pub at: Timestamp,
    /// Why, in a sentence.
    pub why: String,
}

/// Why there is an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptKind {
    /// It is the first one.
    First,
    /// The last one failed, and may be tried again.
    Retry,
    /// The session to go on in is gone: the prompt alone.
    WithoutSession,
    /// The session is too long: it is made shorter.
    Compact,
    /// And goes on.
    AfterCompact,
}

/// One container's run of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Attempt {
    /// Its number; with the run's name, its container's name.
    pub number: u32,
    /// Why there is one.
    pub kind: AttemptKind,
    /// The session that it leaves behind.
    pub session: Uuid,
    /// The session that it goes on in, or copies.
    pub resumes: Option<Uuid>,
    /// Its container.
    pub container: ContainerId,
    /// The container's image, by ID; empty where that is not known.
    pub image: String,
    /// The image's digest in its registry.
    pub image_digest: Option<String>,
    /// When its start was permitted.
    pub permitted_at: Timestamp,
    /// By which process: it alone may send the start.
    pub permitted_by: Uuid,
    /// The bounds that it was started with; a later change of its channel does not touch it.
    pub terms: Terms,
    /// Why chanop decided to end it, where neither a cancel nor a deadline says so: recorded before the stop is sent, so that an
    /// operator that starts in between knows the reason.
    #[serde(default, rename = "stopDecision", skip_serializing_if = "Option::is_none")]
    pub stop: Option<StopDecision>,
    /// How it ended.
    pub end: Option<AttemptEnd>,
}

/// That an attempt is to be ended. It may end by another hand before the stop is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopDecision {
    /// Why.
    pub why: Stop,
    /// When.
    pub at: Timestamp,
    /// By which process: it knows whether it sent the stop.
    pub by: Uuid,
}

/// The bounds of an attempt, as its run and its channel had them when it was permitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Terms {
    /// Seconds of running, over all attempts; 0: no deadline.
    pub active_deadline_seconds: u64,
    /// Seconds between TERM and KILL.
    pub grace_seconds: u32,
    /// Seconds that the ended container stays.
    pub keep_container_seconds: u64,
    /// Is it ended when its channel goes?
    pub cancel_with_channel: bool,
    /// Further attempts after work was done. An end may be judged before the channel's file was read, or after it is gone. Older
    /// records do not say: none.
    #[serde(default)]
    pub backoff_limit: u32,
}

/// What became of an attempt, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum AttemptResult {
    /// The agent's word: a result that is no error.
    Succeeded,
    /// It did what it did, and that was not it.
    Failed,
    /// Its process never ran.
    NeverStarted,
    /// It ran, and nobody knows how it ended.
    Lost,
    /// It was ended because somebody wished it.
    Cancelled,
}

/// How surely an end is known, the surest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Evidence {
    /// The init of its container wrote it down.
    Init,
    /// The engine says it, and was never away.
    Engine,
    /// The engine says it, after it was away, with a code that it does not make up.
    EngineAfterRestart,
    /// The container is gone; its last event said it.
    Event,
    /// Nothing says it.
    None,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptEnd {
    /// In a word.
    pub result: AttemptResult,
    /// Why, in a sentence; of a success a note, or nothing.
    pub message: String,
    /// How surely that is known.
    pub evidence: Evidence,
    /// The process's, where it is known.
    pub exit_code: Option<i64>,
    /// The kernel killed something of it for memory.
    pub oom_killed: bool,
    /// When its process began.
    pub started_at: Option<Timestamp>,
    /// When its process ended.
    pub finished_at: Option<Timestamp>,
    /// What it said and did; `None` when it never ran, or nothing of it is left.
    pub outcome: Option<RunOutcome>,
    /// Its transcript.
    pub transcript: Option<TranscriptFact>,
    /// Somebody else had a hand in it: started it by hand, gave it a restart policy.
    #[serde(default)]
    pub tampered: Option<String>,
    /// When this was known.
    pub recorded_at: Timestamp,
}

impl AttemptEnd {
    /// How long its process ran.
    pub fn ran_for(&self) -> SignedDuration {
        match (self.started_at, self.finished_at) {
            (Some(start), Some(end)) => end.duration_since(start).max(SignedDuration::ZERO),
            _ => SignedDuration::ZERO,
        }
    }
}

/// A transcript, as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptFact {
    /// Its length, uncompressed.
    pub bytes: u64,
    /// SHA-256 of it, uncompressed, in hexadecimal digits.
    pub sha256: String,
    /// What is missing of it, and why.
    pub missing: Option<String>,
}

/// What became of a run, or how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Phase {
    /// It cannot be queued yet: its channel or its prompt is missing, or it is held.
    Pending,
    /// It waits for its turn.
    Queued,
    /// Its container is being made.
    Starting,
    /// The agent works.
    Running,
    /// Ended: the agent's word.
    Succeeded,
    /// Ended.
    Failed,
    /// Ended, because somebody wished it.
    Cancelled,
    /// Ended before its process ever ran.
    NeverStarted,
    /// Ended, and nobody knows how.
    Lost,
}

impl Phase {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Queued => "Queued",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Succeeded => "Succeeded",
            Self::Failed => "Failed",
            Self::Cancelled => "Cancelled",
            Self::NeverStarted => "NeverStarted",
            Self::Lost => "Lost",
        }
    }

    /// Is it over?
    pub const fn is_end(self) -> bool {
        matches!(
            self,
            Self::Succeeded | Self::Failed | Self::Cancelled | Self::NeverStarted | Self::Lost
        )
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunEnd {
    /// One of the ends.
    pub phase: Phase,
    /// The class of the outcome, or another stable word.
    pub reason: String,
    /// In a sentence; empty for a success.
    pub message: String,
    /// When.
    pub at: Timestamp,
}

impl RunRecord {
    /// The attempt whose end is not known yet; the oldest, should a lost store have left several.
    pub fn open_attempt(&self) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.end.is_none())
    }

    /// This attempt.
    pub fn attempt(&self, number: u32) -> Option<&Attempt> {
        self.attempts.iter().find(|attempt| attempt.number == number)
    }

    /// The number that the next attempt gets.
    pub fn next_attempt(&self) -> u32 {
        self.attempts.last().map_or(self.first_attempt, |last| last.number + 1)
    }

    /// How its last attempt that ended did so.
    pub fn last_end(&self) -> Option<&AttemptEnd> {
        self.attempts.iter().rev().find_map(|attempt| attempt.end.as_ref())
    }

    /// The last outcome that the agent had a word in.
    pub fn outcome(&self) -> Option<&RunOutcome> {
        self.attempts.iter().rev().find_map(|attempt| attempt.end.as_ref()?.outcome.as_ref())
    }

    /// When its first process began.
    pub fn started_at(&self) -> Option<Timestamp> {
        self.attempts.iter().find_map(|attempt| attempt.end.as_ref()?.started_at)
    }
}

/// What is left of a run whose record was dropped: its file must never run again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Tombstone {
    /// Of the order.
    pub fingerprint: String,
    /// The number that the next attempt of this name gets.
    pub next_attempt: u32,
    /// When the run ended.
    pub ended_at: Timestamp,
    /// How.
    pub phase: Phase,
}

/// The newest session of a channel, or of one key in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionKey {
    /// The channel.
    pub channel: ResourceName,
    /// The key of a run's `session: {key: …}`; `None`: the channel's latest, of whatever key.
    pub key: Option<String>,
}

/// A session that a run left behind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSession {
    /// Its ID.
    pub id: Uuid,
    /// When the run ended.
    pub at: Timestamp,
}

/// What a counter counts: its family's name, and the values of its labels.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct TotalKey {
    /// The family.
    pub family: &'static str,
    /// The values of its labels, in the family's order.
    pub labels: Vec<String>,
}

/// The families of totals: they are kept with the records that they count, so that neither a restart nor retention makes them fall.
pub mod total {
    /// Runs that ended, by channel, trigger, phase and reason.
    pub const ENDED: &str = "runs_ended";
    /// Tokens, by channel, model and kind (`input`, `output`, `cacheRead`, `cacheCreation`).
    pub const TOKENS: &str = "tokens";
    /// Dollars, by channel and model.
    pub const DOLLARS: &str = "dollars";
    /// Attempts beyond the first, by channel and kind.
    pub const RETRIES: &str = "attempts_again";
    /// The largest value: beyond 2^53 a counter cannot grow by one.
    pub const VALUE_MAX: f64 = 9_007_199_254_740_992.0;

    /// A value from a file: `None` when no counter has it, like the infinity that an older version could write.
    pub fn checked(value: f64) -> Option<f64> {
        (0.0..=VALUE_MAX).contains(&value).then_some(value)
    }

    /// All of them.
    pub const ALL: [&str; 4] = [ENDED, TOKENS, DOLLARS, RETRIES];
}

/// How far a running attempt is, as its output says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct RunProgress {
    /// Turns.
    pub turns: u64,
    /// Tool uses.
    pub tools: u64,
    /// Dollars, where a result said them.
    pub dollars: Option<f64>,
    /// How often in a row the API refused the credentials, with the CLI trying again.
    pub refused: u64,
    /// Bytes of output so far, once the final result was given: while the number stays the same, the agent is silent.
    pub finished: Option<u64>,
}

/// All that an attempt's output and its container's own files say, once the container has ended.
#[derive(Debug)]
pub struct Followed {
    /// Its output, folded.
    pub fold: crate::claude::outcome::Fold,
    /// What could not be read of it.
    pub noise: crate::claude::parser::Noise,
    /// The end of its standard error.
    pub stderr: String,
    /// Its transcript; `None` when not even a file could be made.
    pub transcript: Option<TranscriptFact>,
    /// What its init wrote down.
    pub exit: Option<ExitRecord>,
}
