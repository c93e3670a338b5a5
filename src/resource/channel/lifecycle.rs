//! The fields of a channel that say when things happen: the shell, the runs, changes and the end.

use schemars::JsonSchema;
use serde::Serialize;

use crate::resource::decode::{Decoder, Words, fields, words};
use crate::resource::duration::Span;
use crate::resource::effective::{DeletionRuns, UpdateStrategyKind};
use crate::resource::node::Node;
use crate::resource::validate::Code;

/// The long-lived container to work in.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct ShellSpec {
    /// Should there be one?
    #[schemars(extend("default" = true))]
    pub enabled: Option<bool>,
    /// What runs in it; empty: the idle init.
    #[schemars(extend("default" = []))]
    pub command: Option<Vec<String>>,
}
fields!(ShellSpec { enabled = "enabled", command = "command" });

/// Defaults for every Run of the channel.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct RunsSpec {
    /// How many runs at once.
    #[schemars(extend("default" = 1), range(min = 1))]
    pub max_concurrent: Option<u32>,
    /// How many may wait, and how long.
    pub queue: Option<QueueSpec>,
    /// Seconds from the first start, over all attempts, queueing not counted; 0: no deadline.
    #[schemars(extend("default" = 3600))]
    pub active_deadline_seconds: Option<u32>,
    /// Seconds between TERM and KILL.
    #[schemars(extend("default" = 30))]
    pub termination_grace_period_seconds: Option<u32>,
    /// Further attempts after work was done. Agents have side effects, so the default is none.
    #[schemars(extend("default" = 0))]
    pub backoff_limit: Option<u32>,
    /// The CLI's bound on turns; 0: none.
    #[schemars(extend("default" = 0))]
    pub max_turns: Option<u32>,
    /// The CLI's bound on dollars; 0: none.
    #[serde(rename = "maxBudgetUSD")]
    #[schemars(extend("default" = 0), range(min = 0))]
    pub max_budget_usd: Option<f64>,
    /// How long an ended container stays, for `docker logs`; the record and the transcript stay.
    #[schemars(extend("default" = "5m"))]
    pub keep_container: Option<Span>,
    /// How many records stay, and how long.
    pub history: Option<HistorySpec>,
}
fields!(RunsSpec {
    max_concurrent = "maxConcurrent",
    queue = "queue",
    active_deadline_seconds = "activeDeadlineSeconds",
    termination_grace_period_seconds = "terminationGracePeriodSeconds",
    backoff_limit = "backoffLimit",
    max_turns = "maxTurns",
    max_budget_usd = "maxBudgetUSD",
    keep_container = "keepContainer",
    history = "history",
} check RunsSpec::check);

impl RunsSpec {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        if let (Some(0), Some(at)) = (self.max_concurrent, node.get("maxConcurrent")) {
            let words = Words::new("0 runs at once would never run any")
                .label("at least 1")
                .help("to start no runs set spec.suspend: true");
            decoder.within("maxConcurrent", |d| d.report(Code::OutOfRange, at.place, words));
        }
        budget(self.max_budget_usd, node, decoder);
    }
}

/// Reports a budget below nothing.
pub(in crate::resource) fn budget(budget: Option<f64>, node: &Node, decoder: &mut Decoder) {
    if let (Some(budget), Some(at)) = (budget, node.get("maxBudgetUSD"))
        && budget < 0.0
    {
        let words = Words::new(format!("{budget} is out of range")).label("0 or more dollars");
        decoder.within("maxBudgetUSD", |d| d.report(Code::OutOfRange, at.place, words));
    }
}

/// How many runs may wait, and how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct QueueSpec {
    /// How many.
    #[schemars(extend("default" = 20))]
    pub max_length: Option<u32>,
    /// How long.
    #[schemars(extend("default" = "24h"))]
    pub max_age: Option<Span>,
}
fields!(QueueSpec { max_length = "maxLength", max_age = "maxAge" });

/// How many records of runs stay, and how long.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct HistorySpec {
    /// How many.
    #[schemars(extend("default" = 100))]
    pub limit: Option<u32>,
    /// How long.
    #[schemars(extend("default" = "90d"))]
    pub max_age: Option<Span>,
}
fields!(HistorySpec { limit = "limit", max_age = "maxAge" });

/// How a changed shell is replaced.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct UpdateStrategySpec {
    /// When: nobody is in the shell and no run is active, at once, or when a person removes the container.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "WhenIdle"))]
    pub kind: Option<UpdateStrategyKind>,
    /// With `WhenIdle`: after so long it is done all the same.
    #[schemars(extend("default" = "24h"))]
    pub max_wait: Option<Span>,
}
fields!(UpdateStrategySpec { kind = "type", max_wait = "maxWait" });
words!(UpdateStrategyKind { WhenIdle, Recreate, OnDelete });

/// What happens when the file goes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct DeletionSpec {
    /// What becomes of active runs.
    #[schemars(extend("default" = "Finish"))]
    pub runs: Option<DeletionRuns>,
    /// How long the stopped shell stays.
    #[schemars(extend("default" = "1h"))]
    pub keep_stopped: Option<Span>,
}
fields!(DeletionSpec { runs = "runs", keep_stopped = "keepStopped" });
words!(DeletionRuns { Finish, Cancel });
