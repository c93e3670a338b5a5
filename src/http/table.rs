//! Tables: what `get` prints, made where the objects are, as Kubernetes' API server does for kubectl.
//!
//! A column of priority 0 is always shown, one of priority 1 with `-o wide`.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::views::run::{Activity, Sums, duration, finished_at};
use super::views::{ListMetadata, Metadata};
use crate::claude::outcome::{Cost, CostBasis};
use crate::controller::view::{ChannelView, PendingView, RunView};
use crate::resource::effective::Effective;
use crate::world::record::EventRecord;
use crate::world::run::Trigger;

/// A table of objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// `Table`.
    pub kind: String,
    /// `meta.k8s.io/v1`.
    pub api_version: String,
    /// To watch from.
    pub metadata: ListMetadata,
    /// What the cells mean.
    #[serde(default)]
    pub column_definitions: Vec<Column>,
    /// An object a row.
    #[serde(default)]
    pub rows: Vec<Row>,
}

/// What a cell means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Column {
    /// The heading.
    pub name: String,
    /// `string`.
    #[serde(rename = "type")]
    pub kind: String,
    /// `name` for the name.
    #[serde(default)]
    pub format: String,
    /// A sentence.
    #[serde(default)]
    pub description: String,
    /// 0: always shown; 1: with `-o wide`.
    #[serde(default)]
    pub priority: u8,
}

/// An object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Row {
    /// One for each column.
    pub cells: Vec<String>,
    /// Which object.
    pub object: RowObject,
}

/// The object of a row: its metadata alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RowObject {
    /// `PartialObjectMetadata`.
    pub kind: String,
    /// `meta.k8s.io/v1`.
    pub api_version: String,
    /// Its metadata.
    pub metadata: Metadata,
}

impl Table {
    pub(super) fn new(resource_version: String, columns: &[ColumnSpec], rows: Vec<Row>) -> Self {
        Self {
            kind: "Table".to_owned(),
            api_version: "meta.k8s.io/v1".to_owned(),
            metadata: ListMetadata { resource_version },
            column_definitions: columns.iter().map(Column::new).collect(),
            rows,
        }
    }
}

impl Column {
    fn new(&(name, priority, description): &ColumnSpec) -> Self {
        Self {
            name: name.to_owned(),
            kind: "string".to_owned(),
            format: if name == "NAME" { "name".to_owned() } else { String::new() },
            description: description.to_owned(),
            priority,
        }
    }
}

impl Row {
    pub(super) fn new(cells: Vec<String>, metadata: Metadata) -> Self {
        let kind = "PartialObjectMetadata".to_owned();
        let api_version = "meta.k8s.io/v1".to_owned();
        Self { cells, object: RowObject { kind, api_version, metadata } }
    }
}

/// Heading, priority, description.
pub(super) type ColumnSpec = (&'static str, u8, &'static str);

pub(super) const CHANNELS: &[ColumnSpec] = &[
    ("NAME", 0, "The channel"),
    ("READY", 0, "Is it as its file wants it, and usable?"),
    ("STATUS", 0, "Running, or why not"),
    ("RUNS", 0, "Active runs of how many, and queued ones"),
    ("LAST-RUN", 0, "How the last run ended, and the time since"),
    ("COST-24H", 0, "Dollars of the last 24 hours"),
    ("NEXT", 0, "Time until the next scheduled run"),
    ("PENDING", 0, "The change that waits"),
    ("AGE", 0, "Time since it was first seen"),
    ("IMAGE", 1, "The image of its spec"),
    ("WORKSPACE", 1, "The project directory"),
    ("CONTAINER", 1, "The shell container"),
    ("CLASS", 1, "The class merged in"),
    ("SOURCE", 1, "Where it is written"),
];

pub(super) fn channel_cells(it: &ChannelView, runs: &Activity, now: Timestamp) -> Vec<String> {
    let effective = it.effective.as_deref();
    let of_spec = |get: fn(&Effective) -> String| effective.map(get);
    vec![
        it.name.to_string(),
        if it.ready { "True" } else { "False" }.to_owned(),
        or_dash(it.status.clone()),
        effective.map_or_else(dash, |it| slots(runs, it.runs.max_concurrent)),
        runs.last.as_ref().map_or_else(dash, |(_, phase, at)| format!("{phase} {}", age(*at, now))),
        runs.dollars.map_or_else(dash, |dollars| format!("{dollars:.2}")),
        // Schedules come with a later version; a dash, because nought would be a claim.
        dash(),
        it.pending.as_ref().map_or_else(dash, pending_word),
        age(it.created_at, now),
        of_spec(image_of).map_or_else(dash, or_dash),
        of_spec(|it| it.workspace.path.clone()).map_or_else(dash, or_dash),
        it.container.as_ref().map_or_else(dash, |it| it.id.short().to_owned()),
        effective.and_then(|it| it.class_name.as_ref()).map_or_else(dash, ToString::to_string),
        it.source.as_ref().map_or_else(dash, ToString::to_string),
    ]
}

/// `1/1+3`: at work, at most at once, waiting.
fn slots(runs: &Activity, max: u32) -> String {
    let queued = if runs.queued > 0 { format!("+{}", runs.queued) } else { String::new() };
    format!("{}/{max}{queued}", runs.active)
}

fn image_of(it: &Effective) -> String {
    it.image
        .build
        .as_ref()
        .map_or_else(|| it.image.reference.clone(), |it| format!("build:{}", it.context))
}

/// What changes, in one word: `image` of `image a → b`; for a stop or removal, that.
fn pending_word(it: &PendingView) -> String {
    match it.action.as_str() {
        "recreate" | "update" => {
            or_dash(it.cause.split_whitespace().next().unwrap_or_default().to_owned())
        }
        action => action.to_owned(),
    }
}

pub(super) const RUNS: &[ColumnSpec] = &[
    ("NAME", 0, "The run"),
    ("CHANNEL", 0, "The channel that it runs in"),
    ("STATUS", 0, "How far it is, or how it ended"),
    ("REASON", 0, "Why it is not further, or its outcome's class"),
    ("TURNS", 0, "Turns of the agent, over all attempts"),
    ("TOOLS", 0, "Tool uses, over all attempts"),
    ("COST", 0, "Dollars; ≤ and ≥ where the agent's words leave it open"),
    ("DURATION", 0, "From the first process's begin to the last one's end, or until now"),
    ("AGE", 0, "Time since it was admitted"),
    ("FROM", 0, "Who or what asked for it"),
    ("ATTEMPT", 1, "The number of its last attempt"),
    ("SESSION", 1, "The session that it leaves behind"),
    ("MODEL", 1, "Who answered"),
    ("TOKENS", 1, "All tokens, those of the cache too"),
    ("EXIT", 1, "The last process's exit code"),
    ("REVISION", 1, "The spec revision that it was admitted at"),
    ("SOURCE", 1, "Where it is written"),
];

pub(super) fn run_cells(it: &RunView, now: Timestamp) -> Vec<String> {
    let record = it.record.as_deref();
    let sums = Sums::of(it);
    let until = finished_at(it).unwrap_or(now);
    let is_known = sums.turns > 0 || sums.cost.is_some() || it.progress.is_some();
    let counted = |number: u64| if is_known { number.to_string() } else { dash() };
    let models: Vec<_> = sums.models.into_iter().collect();
    let exit = record.and_then(|it| it.last_end()?.exit_code);
    vec![
        it.name.to_string(),
        it.channel.to_string(),
        it.phase.to_string(),
        or_dash(it.reason.clone()),
        counted(sums.turns),
        counted(sums.tools),
        sums.cost.map_or_else(dash, cost),
        duration(it, until).map_or_else(dash, span),
        record.map_or_else(dash, |it| age(it.admitted_at, now)),
        record.map_or_else(|| "file".to_owned(), |it| from(&it.trigger)),
        it.attempt().map_or_else(dash, |number| number.to_string()),
        sums.session.unwrap_or_else(dash),
        or_dash(models.join(",")),
        sums.tokens.map_or_else(dash, |it| it.total().to_string()),
        exit.map_or_else(dash, |code| code.to_string()),
        record.and_then(|it| it.revision.clone()).map_or_else(dash, or_dash),
        it.source.as_ref().map_or_else(dash, ToString::to_string),
    ]
}

/// A file's place has a column of its own.
fn from(trigger: &Trigger) -> String {
    match trigger {
        Trigger::File { .. } | Trigger::Api | Trigger::Found => trigger.word().to_owned(),
        Trigger::Schedule { .. } => trigger.to_string(),
    }
}

fn cost(cost: Cost) -> String {
    let Some(dollars) = cost.dollars else { return dash() };
    let sign = match cost.basis {
        CostBasis::Exact => "",
        CostBasis::AtMost => "≤",
        CostBasis::AtLeast => "≥",
        CostBasis::Unknown => "~",
    };
    format!("{sign}{dollars:.2}")
}

pub(super) const CLASSES: &[ColumnSpec] =
    &[("NAME", 0, "The class"), ("CHANNELS", 0, "How many channels it is merged into")];

pub(super) const EVENTS: &[ColumnSpec] = &[
    ("LAST-SEEN", 0, "Time since it last happened"),
    ("TYPE", 0, "Normal or Warning"),
    ("REASON", 0, "A stable word"),
    ("OBJECT", 0, "About what"),
    ("COUNT", 0, "How often"),
    ("MESSAGE", 0, "A sentence"),
    ("FIRST-SEEN", 1, "Time since it first happened"),
    ("NAME", 1, "The event's own name"),
];

pub(super) fn event_cells(it: &EventRecord, name: &str, now: Timestamp) -> Vec<String> {
    vec![
        age(it.last, now),
        super::views::severity(it).to_owned(),
        it.reason.clone(),
        it.object.clone(),
        it.count.to_string(),
        it.message.clone(),
        age(it.first, now),
        name.to_owned(),
    ]
}

fn dash() -> String {
    "-".to_owned()
}

fn or_dash(text: String) -> String {
    if text.is_empty() { dash() } else { text }
}

/// `45s`, `14m`, `6h`, `3d`: the unit in which the number is worth reading.
pub fn age(since: Timestamp, now: Timestamp) -> String {
    let seconds = now.as_second().saturating_sub(since.as_second());
    span(u64::try_from(seconds).unwrap_or(0))
}

/// So many seconds, likewise.
pub fn span(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_age_has_one_unit_and_is_never_negative() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let ages = [-5, 0, 119, 120, 7_199, 7_200, 172_800].map(|now| age(at(0), at(now)));
        assert_eq!(ages, ["0s", "0s", "119s", "2m", "119m", "2h", "2d"]);
    }
}
