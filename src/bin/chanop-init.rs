//! The tiny init of every container: see [`chanop::init`].

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(chanop::init::main(std::env::args_os()))
}
