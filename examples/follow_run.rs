//! Has a channel's agent answer a prompt, and prints its turns as they come.
//!
//! ```sh
//! cargo run --example follow_run -- /run/chanop/chanop.sock payments 'What changed since Monday?'
//! ```
//!
//! A fourth argument is the run's name: with it, asking again finds the same run instead of beginning another.

use std::error::Error;
use std::io::{self, Write};
use std::process::ExitCode;

use chanop::resource::ResourceName;
use chanop::runner::{AgentRequest, DockerRunner, Runner, Turn};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(socket), Some(channel), Some(prompt)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: follow_run SOCKET CHANNEL PROMPT [NAME]".into());
    };
    let mut request = AgentRequest::prompt(ResourceName::parse(&channel)?, prompt);
    if let Some(name) = arguments.next() {
        request = request.with_key(ResourceName::parse(&name)?);
    }
    let runner = DockerRunner::new(socket);
    let response = runner.run(&request, &mut |turn: &Turn| print(turn)).await?;
    let mut out = io::stdout().lock();
    writeln!(out, "{}: {} turns", response.class.name(), response.turns)?;
    Ok(if response.class.is_success() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn print(turn: &Turn) {
    // `{:?}` shows control characters of the agent's text as escapes.
    let line = match turn {
        Turn::Text(it) => format!("says {:?}", it.text),
        Turn::ToolUse(it) => format!("uses {:?} {:?}", it.name, it.input),
        Turn::ToolResult(it) => format!("gets {} bytes", it.bytes),
        other => format!("{other:?}"),
    };
    // Nobody may be reading; the run goes on.
    let _closed = writeln!(io::stdout().lock(), "{line}");
}
