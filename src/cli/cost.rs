//! `chanop cost`: what runs cost, from the records that the operator keeps.
//!
//! A record that a channel's `runs.history` let go is not counted; the metrics count on.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::grid::Grid;
use super::suspend::duration;
use crate::http::client::JSON;
use crate::http::views::List;
use crate::http::views::run::Run;

/// Of what time, and by what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CostArgs {
    /// Of runs that ended within this time: 24h, 7d
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = duration)]
    since: Duration,
    /// By what it is added up
    #[arg(long, value_enum, value_name = "BY", default_value = "channel")]
    by: By,
}

/// By what it is added up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum By {
    /// Channels
    Channel,
    /// Models; a run of several counts for all of them together
    Model,
    /// Runs
    Run,
}

/// Runs the command.
pub(super) async fn run(args: &CostArgs, context: &Context) -> Outcome {
    let runs: List<Run> = context.operator().await?.get("/runs", JSON).await?;
    let now = context.clock.now().wall;
    let within = SignedDuration::try_from(args.since)
        .map_err(|_too_long| Failure::said("--since is too long"))?;
    let lines = Grid::default().lines(&table(&runs.items, args.by, now, within));
    for line in lines {
        context.printer.out(line);
    }
    Ok(Exit::Ok)
}

#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    runs: u64,
    turns: u64,
    tokens: u64,
    dollars: f64,
    // Some of it is only a bound, or not known.
    is_open: bool,
}

impl Sum {
    fn add(&mut self, run: &Run) {
        let status = &run.status;
        let cost = status.cost.as_ref();
        self.runs += 1;
        self.turns = self.turns.saturating_add(status.turns);
        let tokens = status.tokens.map_or(0, crate::claude::event::Tokens::total);
        self.tokens = self.tokens.saturating_add(tokens);
        self.dollars += cost.and_then(|cost| cost.dollars).unwrap_or(0.0);
        // A run without any outcome never reached the agent.
        self.is_open |= cost.is_some_and(|cost| cost.basis != "exact");
    }

    fn row(self, what: &str) -> Vec<String> {
        let sign = if self.is_open { "~" } else { "" };
        vec![
            what.to_owned(),
            self.runs.to_string(),
            self.turns.to_string(),
            self.tokens.to_string(),
            format!("{sign}{:.2}", self.dollars),
        ]
    }
}

fn table(runs: &[Run], by: By, now: Timestamp, within: SignedDuration) -> Vec<Vec<String>> {
    let ended =
        |run: &&Run| run.status.finished_at.is_some_and(|end| now.duration_since(end) <= within);
    let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
    let mut all = Sum::default();
    for run in runs.iter().filter(ended) {
        let models: Vec<_> = run.status.models.iter().cloned().collect();
        let key = match by {
            By::Channel => run.status.channel_name.clone(),
            By::Model if models.is_empty() => "none".to_owned(),
            By::Model => models.join(","),
            By::Run => run.metadata.name.clone(),
        };
        sums.entry(key).or_default().add(run);
        all.add(run);
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by(|(_, one), (_, other)| other.dollars.total_cmp(&one.dollars));
    let heading = match by {
        By::Channel => "CHANNEL",
        By::Model => "MODEL",
        By::Run => "RUN",
    };
    let mut rows =
        vec![[heading, "RUNS", "TURNS", "TOKENS", "DOLLARS"].map(str::to_owned).to_vec()];
    rows.extend(sums.iter().map(|(key, sum)| sum.row(key)));
    rows.push(all.row("all"));
    rows
}
