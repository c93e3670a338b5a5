//! Measures the built chanop against its aims: `make bench`.
//!
//! One process, one table; what is divided by something else is measured beside it, in turns. Nothing here decides whether a
//! change is good: continuous integration counts calls, in the tests, and never compares times.
//!
//! In reading order: `table` and `stats` (a row), `counter` (a socket that notes every request), `ground` (a built operator),
//! `engine` (a real one), `engine_server` (the simulator's one behind a socket), `agent`
//! (a script in its place), `deaths` (when containers ended), `floor` and `compose` (what others need for
//! the same), [`chanop_bench::core`] (the state machine alone), [`measures`] (a file a subject).

mod agent;
mod compose;
mod counter;
mod deaths;
mod engine;
mod engine_server;
mod floor;
mod ground;
mod measures;
mod stats;
mod table;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chanop::clock::Clock;
pub(crate) use chanop_bench::Outcome;
use clap::Parser;
use tokio::runtime::Runtime;

use crate::measures::MEASURES;
use crate::table::Row;

/// Measures chanop against its aims
#[derive(Debug, Clone, Parser)]
#[command(name = "chanop-bench")]
pub(crate) struct Arguments {
    /// Only these measures: cold, life, many, memory, plan, read, runs. Repeatable
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// How often what is divided is measured beside what it is divided by
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Channels on the real engine
    #[arg(long, default_value_t = 40)]
    channels: usize,
    /// Channels on the simulated engine
    #[arg(long, default_value_t = 1_000)]
    many: usize,
    /// Channels for plan, files and memory
    #[arg(long, default_value_t = 10_000)]
    most: usize,
    /// Saves, kills, runs and lines that quantiles are taken of
    #[arg(long, default_value_t = 100)]
    samples: usize,
    /// Runs that are ordered at once
    #[arg(long, default_value_t = 40)]
    runs: usize,
    /// Runs that are queued and not started
    #[arg(long, default_value_t = 1_000)]
    queued: usize,
    /// Seconds at rest
    #[arg(long, default_value_t = 60)]
    rest: u64,
    /// The program [default: `chanop` beside this one]
    #[arg(long, value_name = "FILE")]
    chanop: Option<PathBuf>,
    /// The real engine's socket
    #[arg(long, value_name = "FILE", default_value = "/var/run/docker.sock")]
    engine: PathBuf,
    /// Writes the rows there too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What every measure is given.
#[derive(Debug)]
pub(crate) struct Bench {
    pub(crate) arguments: Arguments,
    pub(crate) program: PathBuf,
    pub(crate) runtime: Arc<Runtime>,
    pub(crate) clock: Clock,
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chanop-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Outcome<()> {
    let arguments = Arguments::parse();
    let known = |name: &str| MEASURES.iter().any(|(measure, _)| *measure == name);
    if let Some(unknown) = arguments.only.iter().find(|name| !known(name)) {
        return Err(format!("there is no measure `{unknown}`; see --help").into());
    }
    let beside = std::env::current_exe()?.with_file_name("chanop");
    let program = arguments.chanop.clone().unwrap_or(beside);
    if !program.is_file() {
        return Err(format!("there is no {}; run `make bench`", program.display()).into());
    }
    let runtime = Arc::new(tokio::runtime::Builder::new_multi_thread().enable_all().build()?);
    let bench = Bench { arguments, program, runtime, clock: Clock::start() };
    let mut rows: Vec<Row> = Vec::new();
    let mut failed = Vec::new();
    for (name, measure) in MEASURES {
        let only = &bench.arguments.only;
        if !only.is_empty() && !only.iter().any(|wanted| wanted == name) {
            continue;
        }
        eprintln!("{name} …");
        match measure(&bench) {
            Ok(measured) => rows.extend(measured),
            // The other rows are worth having all the same.
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    print!("{}", table::text(&rows));
    if let Some(file) = &bench.arguments.json {
        std::fs::write(file, serde_json::to_string_pretty(&table::json(&rows))? + "\n")?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}
