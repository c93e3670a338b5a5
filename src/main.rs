//! The `chanop` command.

use std::process::ExitCode;

fn main() -> ExitCode {
    chanop::cli::main().into()
}
