//! The command line: a verb a file.
//!
//! [`main`] parses, gives each verb its [`Context`] and turns what comes back into an [`Exit`]. A verb
//! prints through [`printer`] alone and reads the operator through [`crate::http::client`]. Errors are one line on standard error.

mod agent;
mod agent_host;
pub mod agent_image;
mod busybox;
mod cancel;
mod completion;
pub mod context;
mod cost;
pub mod demo_image;
mod describe;
mod describe_run;
pub mod diagnostic;
pub mod doctor;
mod elf;
mod exec;
pub mod exit;
pub mod explain;
pub mod failure;
mod follow;
mod get;
mod grid;
mod image_bar;
mod init;
mod layer;
mod logs;
pub mod operator;
mod outcome;
pub mod plan;
pub mod printer;
mod progress;
mod prune;
mod reconcile;
mod run;
pub mod schema;
mod session;
mod setup;
mod shell;
mod suspend;
mod target;
mod terminal;
mod transcript;
mod turns;
pub mod validate;
mod version;
mod work_dir;
mod yaml;

use std::path::PathBuf;

use clap::Parser;

use crate::clock::Clock;
use crate::config::Environment;
use crate::docker::{Docker, Endpoint, EndpointSources};
use context::{Context, Globals};
use exit::Exit;
use failure::{Failure, Outcome};
use printer::Printer;

/// The whole of `chanop`.
#[derive(Debug, Parser)]
#[command(
    name = "chanop",
    version,
    about = "Keeps workspaces of AI agents in Docker as their YAML files say",
    disable_help_subcommand = true,
    help_template = HELP,
    after_help = AFTER_HELP,
    max_term_width = 100
)]
pub struct Cli {
    #[command(flatten)]
    globals: Globals,
    #[command(subcommand)]
    command: Command,
}

/// Clap has no groups of subcommands; a test sees to it that none is forgotten here.
const HELP: &str = "\
{about}

{usage-heading} {usage}

Write specs:
  init        Make a spec directory to begin with
  validate    Check spec files; needs no Docker
  explain     Say what a field is: chanop explain channel.spec.image
  plan        Show what the operator would do, and why

Look:
  get         List channels, runs, classes or events
  describe    Show all of one object
  logs        Show what an agent said and did in a run
  cost        Add up what runs cost

Work:
  run         Have a channel's agent do something, in a container of its own
  wait        Wait until a run has ended
  cancel      End a run
  shell       Open a login shell in a channel's container
  exec        Run a command in a channel's container
  agent       Talk to the agent in a channel's container

Operate:
  operator    Read the specs and keep the channels
  reconcile   Look again now
  suspend     Stop a channel for a while
  resume      Take a suspension back
  prune       Let go of removals that were held
  release     Let go of runs that were held since a new store first saw them
  doctor      Check what this host has and lacks
  version     Show the versions of chanop, operator and engine

Options:
{options}{after-help}";

const AFTER_HELP: &str = "\
First steps:
  chanop init specs-dir --workspace ~/src/my-project
  chanop operator --specs specs-dir
  chanop get channels

`chanop COMMAND --help` says more of each.
Exit codes: 0 done, 1 error, 2 `plan` found something to do, 130 interrupted; of a run: 3 failed,
4 cancelled, 5 lost or never started, 124 its time was over; `exec`, `shell` and `agent` pass the
command's own code on.";

const ENGINE_HELP: &str =
    "The engine's socket [default: $DOCKER_HOST, the docker CLI's context, or the first found]";

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make a spec directory to begin with
    #[command(after_help = "\
Examples:
  cd ~/src/my-project && chanop init ~/chanop-specs
  chanop init ~/chanop-specs --workspace ~/src/shop --name shop --image node:22")]
    Init(init::InitArgs),
    /// Check spec files; needs no Docker
    Validate(validate::ValidateArgs),
    /// Say what a field is
    #[command(after_help = "\
Examples:
  chanop explain channel
  chanop explain channel.spec.resources.limits")]
    Explain(explain::ExplainArgs),
    /// Show what the operator would do, and why; exit code 2 when there is something
    #[command(after_help = "\
Signs: + new, ~ changed in place, -/+ made anew, - taken away, ! held

Examples:
  chanop plan
  chanop plan -o json")]
    Plan(Box<plan::PlanArgs>),
    /// List channels, runs, classes or events, as they are or as they change
    #[command(after_help = "\
Examples:
  chanop get channels
  chanop get channels -o wide -l team=billing
  chanop get channel/payments -o yaml --effective
  chanop get runs --channel payments
  chanop get events -w")]
    Get(get::GetArgs),
    /// Show all of one object: conditions, container, what waits, where fields come from, events; of a run its timeline
    #[command(
        after_help = "Examples:\n  chanop describe channel/payments\n  chanop describe run/fix-flaky-ci"
    )]
    Describe(describe::DescribeArgs),
    /// Show what an agent said and did in a run
    #[command(after_help = "\
With -f the exit code is that of `chanop run`.

Examples:
  chanop logs -f run/fix-flaky-ci
  chanop logs run/fix-flaky-ci --attempt 1 --format raw > transcript.jsonl")]
    Logs(logs::LogsArgs),
    /// Add up what runs cost
    #[command(after_help = "\
Only what is on record counts: see spec.runs.history.

Example:
  chanop cost --since 7d --by model")]
    Cost(cost::CostArgs),
    /// Have a channel's agent do something, in a container of its own
    #[command(after_help = "\
The run is the operator's: it goes on when this command ends, and when the operator restarts. Exit
codes: 0 succeeded, 3 failed, 4 cancelled, 5 lost or never started, 124 its time was over, 130 left by
Ctrl-C.

Examples:
  chanop run payments -p 'Why is the last build red?'
  git diff | chanop run payments - --max-turns 20 --budget 2
  chanop run payments -f prompts/review.md --session key:reviews --detach
  chanop run run/fix-flaky-ci                # the same order again")]
    Run(Box<run::RunArgs>),
    /// Wait until a run has ended; its exit code is that of `chanop run`
    #[command(after_help = "Example:\n  chanop wait run/fix-flaky-ci --timeout 1h")]
    Wait(cancel::WaitArgs),
    /// End a run
    #[command(after_help = "\
Example:
  chanop cancel run/fix-flaky-ci --reason 'fixed by hand'")]
    Cancel(cancel::CancelArgs),
    /// Open a login shell in a channel's container, which is made if there is none
    #[command(after_help = "Example:\n  chanop shell payments")]
    Shell(shell::ShellArgs),
    /// Run a command in a channel's container, which is made if there is none
    #[command(after_help = "\
The command has a terminal when standard input and output are one; its exit code becomes chanop's.

Examples:
  chanop exec payments -- cargo test
  tar c . | chanop exec payments -- tar x -C /tmp
  chanop exec payments -n -- git status     # leaves standard input alone, for loops")]
    Exec(exec::ExecArgs),
    /// Talk to the agent in a channel's container, which is made if there is none
    #[command(after_help = "\
The agent ends when this command does, also when its terminal is closed; what was said is kept in its
session. There is no way to detach: leave, and go on later with --session latest.

Examples:
  chanop agent payments
  chanop agent payments --session latest
  chanop agent payments --session latest --fork")]
    Agent(agent::AgentArgs),
    /// Read the specs and keep the channels, until told to stop; containers stay
    #[command(after_help = "\
Examples:
  chanop operator --specs ~/chanop-specs
  sudo chanop operator --specs /etc/chanop/specs --owner ann --listen 127.0.0.1:9841")]
    Operator(Box<operator::OperatorArgs>),
    /// Look again now: at everything, or at one object, whose backoff ends
    #[command(after_help = "Examples:\n  chanop reconcile\n  chanop reconcile channel/payments")]
    Reconcile(reconcile::ReconcileArgs),
    /// Stop a channel's shell against its file, and keep the container
    #[command(after_help = "\
Example:
  chanop suspend channel/payments --for 2h --reason 'migrating the database'")]
    Suspend(suspend::SuspendArgs),
    /// Take a suspension back
    #[command(after_help = "Example:\n  chanop resume channel/payments")]
    Resume(suspend::ResumeArgs),
    /// Let go of removals that were held because too many channels went at once
    #[command(after_help = "\
Examples:
  chanop prune                        # what is held, and under which revision
  chanop prune --confirm 4f1c2aa")]
    Prune(prune::PruneArgs),
    /// Let go of runs that were held since a new store first saw them
    #[command(after_help = "Examples:\n  chanop release run/fix-flaky-ci\n  chanop release --all")]
    Release(cancel::ReleaseArgs),
    /// Check what this host has, and lacks, for an operator
    Doctor(doctor::DoctorArgs),
    /// Show the versions of chanop, of the operator and of its engine
    Version,
    /// Print the JSON Schemas of spec files
    #[command(hide = true)]
    Schema(schema::SchemaArgs),
    /// Print the script that completes commands in a shell
    #[command(hide = true)]
    Completion(completion::CompletionArgs),
    /// Show what chanop makes of a transcript of the agent's CLI
    #[command(hide = true)]
    #[command(after_help = "\
Examples:
  chanop transcript run.jsonl --exit-code 0
  chanop transcript - -o json < run.jsonl")]
    Transcript(transcript::TranscriptArgs),
    /// Make the demo image from a static busybox, without any registry
    #[command(hide = true)]
    DemoImage(DemoImageArgs),
    /// Make the image that the agent lives in: from Debian, or from this host's own files
    #[command(hide = true)]
    #[command(after_help = "\
Examples:
  chanop agent-image
  chanop agent-image --from-host --claude \"$(make -s claude)\"")]
    AgentImage(agent_image::AgentImageArgs),
}

#[derive(Debug, Clone, clap::Args)]
struct DemoImageArgs {
    /// A static busybox [default: the host's, or the one of Debian's package busybox-static]
    #[arg(long, value_name = "FILE")]
    busybox: Option<PathBuf>,
    /// The engine's socket.
    #[arg(help = ENGINE_HELP)]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
}

/// Parses the process's arguments and runs what they ask for.
pub fn main() -> Exit {
    let environment = Environment::read();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(asked) => return help_or_usage(&asked, &environment),
    };
    let no_color = cli.globals.no_color || !environment.allows_color();
    let printer = Printer::new(no_color);
    let context = Context { printer, environment, clock: Clock::start(), globals: cli.globals };
    dispatch(cli.command, &context).unwrap_or_else(|failure| {
        let line = printer::plain(&failure.to_string()).replace('\n', "; ");
        printer.err(format!("chanop: {line}"));
        Exit::Error
    })
}

/// Help is an answer; wrong usage is an error like any other, because 2 means that a plan has something to do.
fn help_or_usage(asked: &clap::Error, environment: &Environment) -> Exit {
    let printer = Printer::new(!environment.allows_color());
    let text = asked.render();
    if asked.use_stderr() {
        printer.raw_err(text.to_string().as_bytes());
        return Exit::Error;
    }
    let text = if printer.colour() { text.ansi().to_string() } else { text.to_string() };
    printer.raw(text.as_bytes());
    Exit::Ok
}

fn dispatch(command: Command, context: &Context) -> Outcome {
    let printer = context.printer;
    match command {
        Command::Init(args) => init::run(&args, context),
        Command::Validate(args) => Ok(validate::run(&args, printer)),
        Command::Explain(args) => Ok(explain::run(&args, printer)),
        Command::Plan(args) => block_on(plan::run(&args, context)),
        Command::Get(args) => block_on(get::run(&args, context)),
        Command::Describe(args) => block_on(describe::run(&args, context)),
        Command::Logs(args) => block_on(logs::run(&args, context)),
        Command::Cost(args) => block_on(cost::run(&args, context)),
        Command::Run(args) => block_on(run::run(&args, context)),
        Command::Wait(args) => block_on(cancel::wait(&args, context)),
        Command::Cancel(args) => block_on(cancel::cancel(&args, context)),
        Command::Release(args) => block_on(cancel::release(&args, context)),
        Command::Shell(args) => block_on(shell::run(&args, context)),
        Command::Exec(args) => block_on(exec::run(&args, context)),
        Command::Agent(args) => block_on(agent::run(&args, context)),
        Command::Operator(args) => operator::run(&args, context),
        Command::Reconcile(args) => block_on(reconcile::run(&args, context)),
        Command::Suspend(args) => block_on(suspend::suspend(&args, context)),
        Command::Resume(args) => block_on(suspend::resume(&args, context)),
        Command::Prune(args) => block_on(prune::run(&args, context)),
        Command::Doctor(args) => block_on(async {
            let socket = context.globals.socket.as_deref();
            Ok(doctor::run(printer, &context.environment, socket, &args).await)
        }),
        Command::Version => block_on(version::run(context)),
        Command::Schema(args) => Ok(schema::run(&args, printer)),
        Command::Completion(args) => Ok(completion::run(&args, printer)),
        Command::Transcript(args) => transcript::run(&args, printer),
        Command::DemoImage(args) => block_on(async {
            let endpoint = endpoint(context, args.docker_host)?;
            let engine = Docker::connect(&endpoint).await?;
            demo_image::run(printer, &engine, args.busybox.as_deref()).await
        }),
        Command::AgentImage(args) => block_on(async {
            let endpoint = endpoint(context, args.docker_host.clone())?;
            let engine = Docker::connect(&endpoint).await?;
            agent_image::run(printer, &engine, args).await
        }),
    }
}

/// Runs a verb that waits. What still blocks at its end (a read of the terminal) is left behind, not waited for.
fn block_on(verb: impl Future<Output = Outcome>) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(verb);
    runtime.shutdown_background();
    outcome
}

/// The engine, as the docker CLI would find it.
fn endpoint(context: &Context, flag: Option<String>) -> Result<Endpoint, Failure> {
    let environment = &context.environment;
    let path = |text: &Option<String>| text.clone().map(PathBuf::from);
    let sources = EndpointSources {
        flag,
        docker_host: environment.docker_host.clone(),
        docker_context: environment.docker_context.clone(),
        docker_config_dir: path(&environment.docker_config),
        home: path(&environment.home),
        xdg_runtime_dir: path(&environment.xdg_runtime_dir),
    };
    Ok(Endpoint::find(&sources)?)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn the_overview_names_every_command_and_no_hidden_one() {
        for command in Cli::command().get_subcommands() {
            let line = format!("\n  {:<10}  ", command.get_name());
            assert_eq!(HELP.contains(&line), !command.is_hide_set(), "{}", command.get_name());
        }
    }

    #[test]
    fn every_command_and_flag_is_explained() {
        for command in Cli::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                let id = argument.get_id();
                assert!(argument.get_help().is_some(), "{} {id}", command.get_name());
            }
        }
    }
}
