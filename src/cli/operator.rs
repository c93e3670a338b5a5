//! `chanop operator`: reads the specs and keeps the channels.

use std::net::SocketAddr;
use std::path::PathBuf;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::setup;
use crate::config::{Groups, LogFormat, Settings, parse_group};
use crate::{telemetry, wiring};

/// What decides which channels there are and what they may ask for.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "What to keep")]
pub struct SetupArgs {
    /// The directory of spec files, searched through all its folders
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    /// Whose workspaces these are: whose home `~` is, whose uid containers run as.
    /// Required for root; else oneself
    #[arg(long, value_name = "USER|UID:GID:HOME")]
    pub owner: Option<String>,
    /// What this host is; with labels it takes only channels whose hostSelector selects it. Repeatable
    #[arg(long = "host-label", value_name = "KEY=VALUE")]
    pub host_labels: Vec<String>,
    /// Where the operator remembers.
    #[arg(
        help = "Where the operator remembers [default: /var/lib/chanop for root, else $XDG_STATE_HOME/chanop]"
    )]
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// One directory a secret, one file a key.
    #[arg(
        help = "One directory a secret, one file a key [default: /etc/chanop/secrets for root, else \
                  $XDG_CONFIG_HOME/chanop/secrets]"
    )]
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// The administrator's policy [default: the built-in one]
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// The agent's program, for channels with `agent.cli: Inject`: mounted into their containers
    #[arg(long, value_name = "FILE")]
    pub agent_cli: Option<PathBuf>,
    /// A runtime of the engine that specs may name in `runtimeClassName`, besides its default. Repeatable
    #[arg(long = "runtime-class", value_name = "NAME")]
    pub runtime_classes: Vec<String>,
    /// The engine's socket.
    #[arg(help = super::ENGINE_HELP)]
    #[arg(long, value_name = "URL")]
    pub docker_host: Option<String>,
}

/// All of an operator's flags.
#[derive(Debug, Clone, clap::Args)]
pub struct OperatorArgs {
    /// What to keep.
    #[command(flatten)]
    pub setup: SetupArgs,
    /// How long a file must be missing before its channel counts as gone
    #[arg(long, value_name = "DURATION", value_parser = super::suspend::duration, help_heading = "What to keep")]
    pub prune_delay: Option<std::time::Duration>,
    /// How many runs may go on at once on this host, whatever channels allow
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..), help_heading = "What to keep")]
    pub max_runs: Option<u32>,
    /// Take an instance over from an operator whose state directory was lost
    #[arg(long, help_heading = "What to keep")]
    pub takeover: bool,
    /// Metrics, health and, by token, the API over TCP [default: 127.0.0.1:9841]
    #[arg(
        long,
        value_name = "ADDRESS",
        help_heading = "Who may ask",
        conflicts_with = "no_listen"
    )]
    pub listen: Option<SocketAddr>,
    /// No TCP listener
    #[arg(long, help_heading = "Who may ask")]
    pub no_listen: bool,
    /// Who may use the API over TCP: lines of name:role:sha256, roles metrics, viewer, runner, admin
    #[arg(long, value_name = "FILE", help_heading = "Who may ask")]
    pub token_file: Option<PathBuf>,
    /// Require a token for /metrics over TCP, of role metrics or above
    #[arg(long, help_heading = "Who may ask", requires = "token_file")]
    pub metrics_auth: bool,
    /// Which names are labels of metrics; none: metrics are sums over all channels
    #[arg(
        long,
        value_enum,
        value_name = "LABELS",
        default_value = "channel",
        help_heading = "Who may ask"
    )]
    pub metrics_labels: MetricsLabelsArg,
    /// A model that has its own label in metrics, beside the known families. Repeatable
    #[arg(
        long = "metrics-model",
        value_name = "NAME",
        value_parser = model_name,
        help_heading = "Who may ask"
    )]
    pub metrics_models: Vec<String>,
    /// A name beside localhost by which the TCP listener may be called. Repeatable
    #[arg(long = "allowed-host", value_name = "NAME", help_heading = "Who may ask")]
    pub allowed_hosts: Vec<String>,
    /// A group that may use the control socket too
    #[arg(long, value_name = "GROUP", help_heading = "Who may ask")]
    pub socket_group: Option<String>,
    /// How log lines look
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text", help_heading = "Log")]
    pub log_format: LogFormatArg,
}

/// Which names are labels of metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum MetricsLabelsArg {
    /// Names of channels
    Channel,
    /// No names
    None,
}

/// The longest name of a model.
const MODEL_NAME_BYTES_MAX: usize = 128;

fn model_name(text: &str) -> Result<String, String> {
    let ok = |c: char| c.is_ascii_alphanumeric() || "-_.:@/".contains(c);
    if text.is_empty() || text.len() > MODEL_NAME_BYTES_MAX || !text.chars().all(ok) {
        return Err(format!(
            "the name of a model has 1 to {MODEL_NAME_BYTES_MAX} letters, digits and `-_.:@/`"
        ));
    }
    Ok(text.to_owned())
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormatArg {
    /// One readable line each
    Text,
    /// One JSON object a line
    Json,
}

/// Runs the operator until it is told to stop.
pub fn run(args: &OperatorArgs, context: &Context) -> Outcome {
    let settings = settings(args, context)?;
    telemetry::init(settings.log_format, &context.environment, context.clock)?;
    let endpoint = super::endpoint(context, args.setup.docker_host.clone())?;
    let init = setup::init_beside_us()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let operator = wiring::operate(
        settings,
        args.allowed_hosts.clone(),
        &context.environment,
        endpoint,
        init,
        context.clock,
    );
    let ended = runtime.block_on(operator);
    runtime.shutdown_background();
    ended?;
    Ok(Exit::Ok)
}

fn settings(args: &OperatorArgs, context: &Context) -> Result<Settings, Failure> {
    let socket_group = match &args.socket_group {
        Some(group) => Some(parse_group(group, &Groups::read()?)?),
        None => None,
    };
    let default_listen = Settings::DEFAULT_LISTEN.parse().ok();
    Ok(Settings {
        socket_group,
        listen: if args.no_listen { None } else { args.listen.or(default_listen) },
        token_file: args.token_file.clone(),
        metrics_auth: args.metrics_auth,
        metrics_channels: args.metrics_labels == MetricsLabelsArg::Channel,
        metrics_models: args.metrics_models.iter().cloned().collect(),
        prune_delay: args.prune_delay.unwrap_or(Settings::DEFAULT_PRUNE_DELAY),
        max_runs: args.max_runs.unwrap_or(Settings::DEFAULT_MAX_RUNS),
        log_format: match args.log_format {
            LogFormatArg::Text => LogFormat::Text,
            LogFormatArg::Json => LogFormat::Json,
        },
        takeover: args.takeover,
        ..setup::settings(&args.setup, context)?
    })
}
