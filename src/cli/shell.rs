//! `chanop shell`: a login shell in a channel's shell container.

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::session::{self, Session, Tty};
use super::{target, terminal};

/// Where.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ShellArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
}

/// Runs the command.
pub(super) async fn run(args: &ShellArgs, context: &Context) -> Outcome {
    let channel = target::channel(&args.channel)?;
    if !terminal::is_interactive(&std::io::stdin(), &std::io::stdout()) {
        return Err(Failure::said(format!(
            "a shell needs a terminal: use `chanop exec {channel} -- CMD` in scripts"
        )));
    }
    let session = Session { login: true, tty: Tty::HangsUp, stdin: true, ..Session::default() };
    session::run(context, &channel, session).await
}
