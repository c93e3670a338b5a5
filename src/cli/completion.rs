//! `chanop completion`: the script that completes commands in a shell.

use clap::CommandFactory;

use super::Cli;
use super::exit::Exit;
use super::printer::Printer;

/// For which shell.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CompletionArgs {
    /// The shell
    #[arg(value_enum)]
    shell: clap_complete::Shell,
}

/// Runs the command.
pub(super) fn run(args: &CompletionArgs, printer: Printer) -> Exit {
    // Through memory: the library panics where the pipe is closed.
    let mut script = vec![];
    clap_complete::generate(args.shell, &mut Cli::command(), "chanop", &mut script);
    printer.raw(&script);
    Exit::Ok
}
