//! `chanop completion`: the script that completes commands in a shell.

use clap::CommandFactory;

use super::Cli;
use super::context::Context;
use super::exit::Exit;
use super::failure::Outcome;

/// For which shell.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(super) fn run(args: &CompletionArgs, context: &Context) -> Outcome {
    // Through memory: the library panics where the pipe is closed.
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "chanop", &mut script);
    context.printer.raw(&script);
    Ok(Exit::Ok)
}
