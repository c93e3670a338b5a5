//! The JSON shape of a run: what was ordered, and what became of it.
//!
//! `spec` is the order in the files' form, so that it can be sent again; `null` while the run is not admitted. `status`:
//!
//! | field | what |
//! |---|---|
//! | `phase`, `reason`, `message` | how far it is, or how it ended: words of [`crate::world::run::Phase`] and of outcomes' classes |
//! | `channelName`, `trigger`, `from` | where it runs; `file`, `api` or `schedule`; `team/x.yaml:3`, `api`, `schedule/x` |
//! | `rerun`, `revision`, `held`, `cancel`, `notBefore`, `ahead` | as the record and the queue have them |
//! | `attempts` | one each: `{number, kind, session, resumes, container, image, imageDigest, permittedAt, end}`; `end` is `{result, message, evidence, exitCode, oomKilled, startedAt, finishedAt, transcript, tampered, recordedAt, outcome}` |
//! | `outcome` | the last attempt's that had one, as [`crate::claude::outcome`] lists it |
//! | `sessionId`, `models`, `turns`, `tools`, `tokens`, `cost` | over all attempts; of a running one, as far as its output says |
//! | `startedAt`, `finishedAt`, `durationSeconds` | from the first process's begin to the last one's end |
//! | `container`, `progress` | while there is one, and while one runs |
//! | `sourceTrouble` | what is wrong with its file, which does not change what was admitted |
//!
//! Lists and watches leave the outcomes out, and of an order what is longer than [`LISTED_BYTES_MAX`]; the annotation
//! [`SHORTENED_ANNOTATION`] names what was left out. One run alone has all of it.

use std::collections::BTreeSet;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Metadata, SOURCE_ANNOTATION};
use crate::claude::event::Tokens;
use crate::claude::outcome::{Cost, CostBasis};
use crate::controller::view::RunView;
use crate::resource::duration::Span;
use crate::resource::meta::API_VERSION;
use crate::resource::run::RunOrder;
use crate::resource::{ResourceName, RunSpec};
use crate::world::run::{Ask, Attempt, AttemptEnd, RunRecord};

/// The annotation that names what a list left out.
pub const SHORTENED_ANNOTATION: &str = "chanop.dev/shortened";

/// Of a prompt in a list: what a person looks at. A thousand runs with the longest prompts would be gigabytes.
pub const LISTED_BYTES_MAX: usize = 4 * 1024;

/// A run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// The API group and version.
    pub api_version: String,
    /// `Run`.
    pub kind: String,
    /// Its name and labels.
    pub metadata: Metadata,
    /// What was ordered, in the files' form; `null` while it is not admitted.
    pub spec: Value,
    /// What became of it.
    pub status: RunStatus,
}

/// What became of a run, or how far it is.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RunStatus {
    /// One word.
    pub phase: String,
    /// Why, in one word.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// In a sentence.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Its channel.
    pub channel_name: String,
    /// `file`, `api` or `schedule`.
    pub trigger: String,
    /// `team/x.yaml:3`, `api`, `schedule/x`.
    pub from: String,
    /// How often its file was told to run again.
    pub rerun: u32,
    /// The spec revision that it was admitted at.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// It waits for `chanop release`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub held: bool,
    /// Somebody wishes its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cancel: Option<CancelStatus>,
    /// Not tried again before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How many runs of the channel are before it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ahead: Option<usize>,
    /// Its attempts, oldest first.
    pub attempts: Vec<AttemptStatus>,
    /// The container of its last attempt, while there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub container: Option<String>,
    /// How far the running attempt is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub progress: Option<ProgressStatus>,
    /// The session that it left behind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<String>,
    /// Who answered.
    pub models: BTreeSet<String>,
    /// Turns.
    pub turns: u64,
    /// Tool uses.
    pub tools: u64,
    /// Tokens; absent when nothing said them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokens: Option<Tokens>,
    /// Dollars.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cost: Option<CostStatus>,
    /// When its first process began.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Between the two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_seconds: Option<u64>,
    /// What is wrong with its file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_trouble: Option<String>,
    /// What the last attempt that had a word came to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
}

/// Somebody wished the end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CancelStatus {
    /// When.
    pub at: Timestamp,
    /// Why.
    pub why: String,
}

/// How far a running attempt is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ProgressStatus {
    /// Turns.
    pub turns: u64,
    /// Tool uses.
    pub tools: u64,
    /// Dollars, where a result said them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dollars: Option<f64>,
    /// How often in a row the API refused the credentials.
    #[serde(default)]
    pub refused: u64,
}

/// Dollars, and how sure they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CostStatus {
    /// Of this run alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dollars: Option<f64>,
    /// `exact`, `atMost`, `atLeast` or `unknown`.
    pub basis: String,
}

/// One container's run of the agent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AttemptStatus {
    /// Its number.
    pub number: u32,
    /// Why there is one.
    pub kind: String,
    /// The session that it leaves behind.
    pub session: String,
    /// The session that it goes on in, or copies.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resumes: Option<String>,
    /// Its container.
    pub container: String,
    /// The container's image, by ID.
    #[serde(default)]
    pub image: String,
    /// The image's digest in its registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image_digest: Option<String>,
    /// When its start was permitted.
    pub permitted_at: Timestamp,
    /// How it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<EndStatus>,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndStatus {
    /// `Succeeded`, `Failed`, `NeverStarted`, `Lost` or `Cancelled`.
    pub result: String,
    /// The outcome's class, where there is an outcome.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub class: String,
    /// Why.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// Who says so: `Init`, `Engine`, `EngineAfterRestart`, `Event` or `None`.
    pub evidence: String,
    /// The process's exit code.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i64>,
    /// The kernel killed something of it for memory.
    #[serde(default)]
    pub oom_killed: bool,
    /// When its process began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When its process ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finished_at: Option<Timestamp>,
    /// Its transcript.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transcript: Option<TranscriptStatus>,
    /// Somebody else had a hand in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tampered: Option<String>,
    /// When this was known.
    pub recorded_at: Timestamp,
    /// What it said and did; not in lists.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<Value>,
}

/// A transcript, as it lies on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TranscriptStatus {
    /// Its length, uncompressed.
    pub bytes: u64,
    /// SHA-256 of it, uncompressed.
    pub sha256: String,
    /// What is missing of it, and why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

/// How much of a run is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Detail {
    /// What a list has room for.
    Listed,
    /// All of it.
    Whole,
}

/// A run, as the snapshot has it.
pub(crate) fn run(it: &RunView, version: &str, detail: Detail) -> Run {
    let mut metadata = run_metadata(it, version);
    let mut spec = it.record.as_deref().map_or(Value::Null, spec_of);
    if detail == Detail::Listed
        && let Some(field) = shorten(&mut spec)
    {
        metadata.annotations.insert(SHORTENED_ANNOTATION.to_owned(), field.to_owned());
    }
    Run {
        api_version: API_VERSION.to_owned(),
        kind: "Run".to_owned(),
        metadata,
        spec,
        status: status(it, detail),
    }
}

/// A run's metadata.
pub(crate) fn run_metadata(it: &RunView, version: &str) -> Metadata {
    let record = it.record.as_deref();
    let source = it.source.as_ref().map(ToString::to_string);
    Metadata {
        name: it.name.to_string(),
        // Another order under the same name is another object.
        uid: record.map_or_else(String::new, |record| {
            let of = format!("{}/{}/{}", it.name, record.id.rerun, record.admitted_at);
            Uuid::new_v5(&Uuid::NAMESPACE_OID, of.as_bytes()).to_string()
        }),
        resource_version: version.to_owned(),
        generation: None,
        creation_timestamp: record.map(|record| record.admitted_at),
        labels: it.labels.clone(),
        annotations: source.map(|it| (SOURCE_ANNOTATION.to_owned(), it)).into_iter().collect(),
    }
}

/// The order in the files' form.
fn spec_of(record: &RunRecord) -> Value {
    let order = &record.order;
    let (prompt, messages) = match &order.ask {
        Ask::Prompt(text) => (Some(text.clone()), None),
        Ask::Messages(all) => (None, Some(all.clone())),
    };
    let said = |text: &String| (!text.is_empty()).then(|| text.clone());
    let spec = RunSpec {
        channel_name: record.channel.clone(),
        rerun: (record.id.rerun > 0).then_some(record.id.rerun),
        cancel: None,
        order: RunOrder {
            prompt,
            prompt_from: None,
            messages,
            system_prompt: said(&order.system_prompt),
            author: said(&order.author),
            session: Some(order.session.clone()),
            fork: order.fork.then_some(true),
            starting_deadline_seconds: Some(order.starting_deadline_seconds),
            active_deadline_seconds: order.active_deadline_seconds,
            termination_grace_period_seconds: order.termination_grace_period_seconds,
            backoff_limit: order.backoff_limit,
            max_turns: order.max_turns,
            max_budget_usd: order.max_budget_usd,
            keep_container: order
                .keep_container_seconds
                .map(|seconds| Span(std::time::Duration::from_secs(seconds))),
        },
    };
    match serde_json::to_value(&spec) {
        Ok(Value::Object(fields)) => {
            Value::Object(fields.into_iter().filter(|(_, it)| !it.is_null()).collect())
        }
        _ => Value::Object(Map::new()),
    }
}

/// Leaves out what a list has no room for, and says what that was.
fn shorten(spec: &mut Value) -> Option<&'static str> {
    let fields = spec.as_object_mut()?;
    if let Some(Value::String(prompt)) = fields.get_mut("prompt")
        && prompt.len() > LISTED_BYTES_MAX
    {
        prompt.truncate(prompt.floor_char_boundary(LISTED_BYTES_MAX));
        return Some("spec.prompt");
    }
    let messages = fields.get("messages")?.as_array()?;
    let said = |it: &Value| it.get("content").and_then(Value::as_str).map_or(0, str::len);
    if messages.iter().map(said).sum::<usize>() > LISTED_BYTES_MAX {
        fields.remove("messages");
        return Some("spec.messages");
    }
    None
}

fn status(it: &RunView, detail: Detail) -> RunStatus {
    let sums = Sums::of(it);
    let mut status = RunStatus {
        phase: it.phase.to_string(),
        reason: it.reason.clone(),
        message: it.message.clone(),
        channel_name: it.channel.to_string(),
        trigger: "file".to_owned(),
        from: it.source.as_ref().map(ToString::to_string).unwrap_or_default(),
        ahead: it.ahead,
        container: it.container.as_ref().map(ToString::to_string),
        progress: it.progress.map(|it| ProgressStatus {
            turns: it.turns,
            tools: it.tools,
            dollars: it.dollars,
            refused: it.refused,
        }),
        session_id: sums.session,
        models: sums.models,
        turns: sums.turns,
        tools: sums.tools,
        tokens: sums.tokens,
        cost: sums
            .cost
            .map(|cost| CostStatus { dollars: cost.dollars, basis: basis(cost.basis).to_owned() }),
        started_at: started_at(it),
        finished_at: finished_at(it),
        source_trouble: it.source_trouble.clone(),
        ..RunStatus::default()
    };
    status.duration_seconds = status.finished_at.and_then(|end| duration(it, end));
    let Some(record) = &it.record else { return status };
    record.trigger.word().clone_into(&mut status.trigger);
    status.from = record.trigger.to_string();
    status.rerun = record.id.rerun;
    status.revision.clone_from(&record.revision);
    status.held = record.held;
    status.cancel =
        record.cancel.as_ref().map(|it| CancelStatus { at: it.at, why: it.why.clone() });
    status.not_before = record.not_before.filter(|_| record.end.is_none());
    status.attempts = record.attempts.iter().map(|it| attempt(it, detail)).collect();
    if detail == Detail::Whole {
        status.outcome = record.outcome().and_then(|it| serde_json::to_value(it).ok());
    }
    status
}

fn attempt(it: &Attempt, detail: Detail) -> AttemptStatus {
    AttemptStatus {
        number: it.number,
        kind: format!("{:?}", it.kind),
        session: it.session.to_string(),
        resumes: it.resumes.map(|it| it.to_string()),
        container: it.container.to_string(),
        image: it.image.clone(),
        image_digest: it.image_digest.clone(),
        permitted_at: it.permitted_at,
        end: it.end.as_ref().map(|it| end(it, detail)),
    }
}

fn end(it: &AttemptEnd, detail: Detail) -> EndStatus {
    let outcome = it.outcome.as_ref();
    EndStatus {
        result: format!("{:?}", it.result),
        class: outcome.map(|it| it.class.name().to_owned()).unwrap_or_default(),
        message: it.message.clone(),
        evidence: format!("{:?}", it.evidence),
        exit_code: it.exit_code,
        oom_killed: it.oom_killed,
        started_at: it.started_at,
        finished_at: it.finished_at,
        transcript: it.transcript.as_ref().map(|it| TranscriptStatus {
            bytes: it.bytes,
            sha256: it.sha256.clone(),
            missing: it.missing.clone(),
        }),
        tampered: it.tampered.clone(),
        recorded_at: it.recorded_at,
        outcome: outcome
            .filter(|_| detail == Detail::Whole)
            .and_then(|it| serde_json::to_value(it).ok()),
    }
}

const fn basis(basis: CostBasis) -> &'static str {
    match basis {
        CostBasis::Exact => "exact",
        CostBasis::AtMost => "atMost",
        CostBasis::AtLeast => "atLeast",
        CostBasis::Unknown => "unknown",
    }
}

/// Over all attempts of a run.
#[derive(Debug, Default)]
pub(crate) struct Sums {
    pub(crate) session: Option<String>,
    pub(crate) models: BTreeSet<String>,
    pub(crate) turns: u64,
    pub(crate) tools: u64,
    pub(crate) tokens: Option<Tokens>,
    pub(crate) cost: Option<Cost>,
}

impl Sums {
    pub(crate) fn of(it: &RunView) -> Self {
        let mut sums = Self::default();
        let attempts = it.record.iter().flat_map(|record| &record.attempts);
        for attempt in attempts {
            let outcome = attempt.end.as_ref().and_then(|end| end.outcome.as_ref());
            let left = outcome.and_then(|it| it.session_id.clone());
            sums.session = left.or_else(|| Some(attempt.session.to_string()));
            let Some(outcome) = outcome else { continue };
            sums.models.extend(outcome.models.iter().cloned());
            sums.turns = sums.turns.saturating_add(outcome.turns);
            sums.tools = sums.tools.saturating_add(outcome.tool_uses.total);
            if let Some(tokens) = outcome.tokens {
                sums.tokens = Some(sums.tokens.unwrap_or_default().plus(tokens));
            }
            sums.cost = Some(sums.cost.map_or(outcome.cost, |sum| plus(sum, outcome.cost)));
        }
        if let Some(progress) = it.progress {
            sums.turns = sums.turns.saturating_add(progress.turns);
            sums.tools = sums.tools.saturating_add(progress.tools);
            let so_far = progress
                .dollars
                .map(|dollars| Cost { dollars: Some(dollars), basis: CostBasis::AtLeast });
            sums.cost = match (sums.cost, so_far) {
                (Some(sum), Some(more)) => Some(plus(sum, more)),
                (one, other) => one.or(other),
            };
        }
        sums
    }
}

/// Two attempts' dollars together: as sure as the less sure one.
fn plus(one: Cost, other: Cost) -> Cost {
    let dollars = match (one.dollars, other.dollars) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    let basis = match (one.basis, other.basis) {
        (one, other) if one == other => one,
        // Nothing was said of one of them: it may have cost something.
        (CostBasis::Unknown, CostBasis::Exact | CostBasis::AtLeast)
        | (CostBasis::Exact | CostBasis::AtLeast, CostBasis::Unknown)
            if one.dollars.is_none() != other.dollars.is_none() =>
        {
            CostBasis::AtLeast
        }
        (CostBasis::Exact, basis) | (basis, CostBasis::Exact) => basis,
        _ => CostBasis::Unknown,
    };
    Cost { dollars, basis }
}

/// When its first process began.
pub(crate) fn started_at(it: &RunView) -> Option<Timestamp> {
    it.record.as_ref().and_then(|record| record.started_at()).or(it.running_since)
}

/// When it ended: its last process, or, where none is known to have, the run.
pub(crate) fn finished_at(it: &RunView) -> Option<Timestamp> {
    let record = it.record.as_ref()?;
    let end = record.end.as_ref()?;
    let last = record.attempts.last().and_then(|attempt| attempt.end.as_ref()?.finished_at);
    Some(last.unwrap_or(end.at))
}

/// Seconds from its begin until then.
pub(crate) fn duration(it: &RunView, until: Timestamp) -> Option<u64> {
    let seconds = until.duration_since(started_at(it)?).as_secs();
    Some(u64::try_from(seconds).unwrap_or(0))
}

/// Runs of a channel, at one instant.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Activity {
    /// At work: starting or running.
    pub(crate) active: usize,
    /// Waiting for their turn, or for what they lack.
    pub(crate) queued: usize,
    /// The one that ended last.
    pub(crate) last: Option<(ResourceName, crate::world::run::Phase, Timestamp)>,
    /// Dollars of those that ended within a day; `None`: none of them said anything.
    pub(crate) dollars: Option<f64>,
}

impl Activity {
    /// Takes a run of the channel in.
    pub(crate) fn add(&mut self, it: &RunView, now: Timestamp) {
        use crate::world::run::Phase;
        match it.phase {
            Phase::Starting | Phase::Running => self.active += 1,
            Phase::Pending | Phase::Queued => self.queued += 1,
            Phase::Succeeded
            | Phase::Failed
            | Phase::Cancelled
            | Phase::NeverStarted
            | Phase::Lost => {}
        }
        let Some(end) = finished_at(it) else { return };
        if self.last.as_ref().is_none_or(|(_, _, last)| *last < end) {
            self.last = Some((it.name.clone(), it.phase, end));
        }
        let day = jiff::SignedDuration::from_hours(24);
        if now.duration_since(end) < day
            && let Some(dollars) = Sums::of(it).cost.and_then(|cost| cost.dollars)
        {
            self.dollars = Some(self.dollars.unwrap_or(0.0) + dollars);
        }
    }
}
