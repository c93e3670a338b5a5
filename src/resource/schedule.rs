//! Kind `Schedule`, as its file writes it: runs at times.

use std::borrow::Cow;
use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::channel::exactly_one;
use super::cron::{CronPattern, ZoneName};
use super::decode::{Decode, Decoder, Words, fields, words};
use super::duration::Span;
use super::labels;
use super::meta::{ObjectMeta, ResourceName, SourceRef};
use super::node::{Node, shown};
use super::run::RunOrder;
use super::validate::Code;

/// A schedule as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// Name, labels, annotations.
    pub meta: ObjectMeta,
    /// What is wanted.
    pub spec: ScheduleSpec,
    /// Where it was written.
    pub source: SourceRef,
}

/// When to run what.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// The channel it runs in.
    pub channel_name: ResourceName,
    /// Cron with five fields, or @hourly, @daily, @weekly, @monthly, @yearly. Exactly one of schedule, every and at.
    pub schedule: Option<CronPattern>,
    /// The time from one fire to the next.
    pub every: Option<Span>,
    /// Once, at this time (RFC 3339).
    pub at: Option<At>,
    /// The zone that `schedule` is read in; never the process's own.
    #[schemars(extend("default" = "Etc/UTC"))]
    pub time_zone: Option<ZoneName>,
    /// Seconds after its time within which a fire still counts.
    #[schemars(extend("default" = 3600))]
    pub starting_deadline_seconds: Option<u32>,
    /// Of the fires that were missed while nobody looked: the latest, or none. A new or resumed schedule never fires the
    /// past.
    #[schemars(extend("default" = "Latest"))]
    pub missed_run_policy: Option<MissedRunPolicy>,
    /// When the last run is still active: skip, queue behind it, end it first, or run beside it.
    #[schemars(extend("default" = "Forbid"))]
    pub concurrency_policy: Option<ConcurrencyPolicy>,
    /// Fire no more until it is false again.
    #[schemars(extend("default" = false))]
    pub suspend: Option<bool>,
    /// How many succeeded runs stay.
    #[schemars(extend("default" = 10))]
    pub successful_runs_history_limit: Option<u32>,
    /// How many failed runs stay.
    #[schemars(extend("default" = 10))]
    pub failed_runs_history_limit: Option<u32>,
    /// The run.
    pub run_template: RunTemplate,
}
fields!(ScheduleSpec {
    channel_name = "channelName" required,
    schedule = "schedule",
    every = "every",
    at = "at",
    time_zone = "timeZone",
    starting_deadline_seconds = "startingDeadlineSeconds",
    missed_run_policy = "missedRunPolicy",
    concurrency_policy = "concurrencyPolicy",
    suspend = "suspend",
    successful_runs_history_limit = "successfulRunsHistoryLimit",
    failed_runs_history_limit = "failedRunsHistoryLimit",
    run_template = "runTemplate" required,
}, judge ScheduleSpec::judge);

impl ScheduleSpec {
    fn judge(node: &Node, decoder: &mut Decoder) {
        /// A run takes a second to start; more often than this is a mistake.
        const EVERY_SECONDS_MIN: u64 = 10;
        exactly_one(node, &["schedule", "every", "at"], decoder);
        if let Some(at) = node.get("every")
            && let Some(every) = at.as_str().and_then(|text| Span::parse(text).ok())
            && every.0.as_secs() < EVERY_SECONDS_MIN
        {
            let words = Words::new(format!("every {every} is too often"))
                .label(format!("at least {EVERY_SECONDS_MIN}s"));
            decoder.within("every", |decoder| decoder.report(Code::OutOfRange, at.place, words));
        }
    }
}

/// What becomes of missed fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum MissedRunPolicy {
    /// The latest is made good.
    Latest,
    /// None is.
    Skip,
}
words!(MissedRunPolicy { Latest, Skip });

/// What happens when the last run is still active.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum ConcurrencyPolicy {
    /// The fire is skipped.
    Forbid,
    /// The new run waits.
    Queue,
    /// The old run is cancelled.
    Replace,
    /// Both run.
    Allow,
}
words!(ConcurrencyPolicy { Forbid, Queue, Replace, Allow });

/// The run that each fire makes.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct RunTemplate {
    /// Labels and annotations of the runs.
    pub metadata: Option<TemplateMeta>,
    /// The order.
    pub spec: RunOrder,
}
fields!(RunTemplate { metadata = "metadata", spec = "spec" required });

/// Labels and annotations of the runs.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct TemplateMeta {
    /// For selecting.
    pub labels: Option<BTreeMap<String, String>>,
    /// For notes.
    pub annotations: Option<BTreeMap<String, String>>,
}
fields!(TemplateMeta {
    labels = "labels",
    annotations = "annotations",
}, judge TemplateMeta::judge);

impl TemplateMeta {
    fn judge(node: &Node, decoder: &mut Decoder) {
        labels::check(node, "labels", decoder);
    }
}

/// A moment, with its offset from UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At(pub Timestamp);

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl JsonSchema for At {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": r"^[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}(:[0-9]{2}(\.[0-9]+)?)?([Zz]|[+-][0-9]{2}(:?[0-9]{2})?)$",
        })
    }
}

impl Decode for At {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let text = String::decode(node, decoder)?;
        if let Ok(timestamp) = text.parse() {
            return Some(Self(timestamp));
        }
        let local = text.parse::<jiff::civil::DateTime>().ok();
        let words = Words::new(format!("invalid time `{}`", shown(&text)))
            .label(if local.is_some() { "no offset from UTC" } else { "not a time" })
            .suggest(local.map(|local| format!("{local}Z")))
            .help("RFC 3339, with Z or an offset: 2026-12-01T14:00:00Z, 2026-12-01T15:00:00+01:00");
        decoder.report(Code::InvalidTimestamp, node.place, words);
        None
    }
}
