//! `chanop exec`: a command in a channel's shell container.

use super::context::Context;
use super::failure::Outcome;
use super::session::{self, Session, Tty};
use super::{target, terminal};

/// Where, and what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ExecArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// No terminal for the command, even from one
    #[arg(short = 'T', long)]
    no_tty: bool,
    /// Nothing on the command's standard input
    #[arg(short = 'n', long)]
    no_stdin: bool,
    /// In a login shell's environment
    #[arg(long)]
    login: bool,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    command: Vec<String>,
}

/// Runs the command.
pub(super) async fn run(args: &ExecArgs, context: &Context) -> Outcome {
    let channel = target::channel(&args.channel)?;
    let interactive = terminal::is_interactive(&std::io::stdin(), &std::io::stdout());
    let with_tty = interactive && !args.no_tty && !args.no_stdin;
    let tty = if with_tty { Tty::HangsUp } else { Tty::None };
    let session = Session {
        command: args.command.clone(),
        login: args.login,
        tty,
        stdin: !args.no_stdin,
        ..Session::default()
    };
    session::run(context, &channel, session).await
}
