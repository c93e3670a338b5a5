//! `chanop agent`: the interactive agent in a channel's shell container.
//!
//! It ends with this process, whatever becomes of that: there is no way to detach, because an exec'd command cannot be
//! attached to again. What was said is in its session, and `--session latest` goes on there.

use super::context::Context;
use super::failure::{Failure, Outcome};
use super::session::{self, Session, Tty};
use super::{target, terminal};
use crate::http::Conversation;

/// Where, and in which session.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct AgentArgs {
    /// The channel
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// Go on in a session: `latest`, `new` or a session's ID
    #[arg(long, value_name = "SESSION", default_value = "new", value_parser = word)]
    session: String,
    /// Go on in a copy of it, and leave it as it is
    #[arg(long)]
    fork: bool,
}

fn word(text: &str) -> Result<String, String> {
    Conversation::parse(text).map(|_| text.to_owned())
}

/// Runs the command.
pub(super) async fn run(args: &AgentArgs, context: &Context) -> Outcome {
    let channel = target::channel(&args.channel)?;
    if !terminal::is_interactive(&std::io::stdin(), &std::io::stdout()) {
        return Err(Failure::said("the agent needs a terminal: run this in one"));
    }
    let start = context.operator().await?.agent(channel.as_str(), &args.session, args.fork).await?;
    for note in &start.notes {
        context.printer.err(format!("chanop: {note}"));
    }
    let session = Session {
        command: start.argv,
        env: start.env.iter().map(|(name, value)| format!("{name}={value}")).collect(),
        login: false,
        tty: Tty::Kills,
        stdin: true,
    };
    session::run_in(context, &start.shell, session).await
}
