//! Following a run to its end, and waiting for it in silence; both end with its exit code.

use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;
use super::progress::{Progress, counted};
use super::turns::{Format, Teller};
use crate::http::client::{Client, ClientError, JSON, query_value};
use crate::http::table::span;
use crate::http::turns::Turn;
use crate::http::views::WatchEvent;
use crate::http::views::run::Run;
use crate::resource::ResourceName;
use crate::runner::DockerRunner;

/// While the operator restarts, it is asked again so often.
const ASKED_AGAIN_EVERY: Duration = Duration::from_secs(2);
/// And so many times: an upgrade takes a minute.
const ASKED_AGAIN_MAX: u32 = 60;

/// Prints a run's turns until it ends. Ctrl-C leaves it running.
pub(super) async fn follow(
    context: &Context,
    client: &Client,
    run: &ResourceName,
    format: Format,
) -> Outcome {
    let printer = context.printer;
    let mut interrupted = signal(SignalKind::interrupt())?;
    let mut turns = DockerRunner::new(client.socket()).follow(run);
    let mut teller = Teller::new(printer, format);
    let mut progress = Progress::new(context, client, run);
    let end = loop {
        tokio::select! {
            biased;
            _ = interrupted.recv() => {
                progress.clear();
                printer.err(format!(
                    "chanop: detached; run/{run} goes on\n  go on here:  chanop logs -f run/{run}\n  end it:      \
                     chanop cancel run/{run}"
                ));
                return Ok(Exit::Interrupted);
            }
            event = turns.next() => {
                progress.clear();
                let event = event?;
                let is_heard = teller.tell(event.id.as_deref(), &event.turn);
                if let Turn::End(end) = event.turn {
                    break end;
                }
                if !is_heard {
                    // Nobody reads any more; the run goes on.
                    return Ok(Exit::Ok);
                }
            }
            () = progress.is_due() => progress.draw().await,
        }
    };
    // What is known beside the end is worth a line, and not an error.
    match client.run(run).await {
        Ok(run) => printer.err(summary(&run)),
        Err(_gone) => printer.err(plain(&format!("run/{run} {} {}", end.phase, end.message))),
    }
    Ok(Exit::of_run(&end.phase, &end.reason))
}

/// Waits until a run has ended; across a restart of the operator.
pub(super) async fn until_ended(client: &Client, run: &ResourceName) -> Result<Run, Failure> {
    let mut tries = 0;
    loop {
        match ended(client, run).await {
            Ok(Some(run)) => return Ok(run),
            Ok(None) => tries = 0,
            Err(
                ClientError::NoOperator(_)
                | ClientError::Connect(..)
                | ClientError::Timeout(..)
                | ClientError::Broken(_),
            ) if tries > 0 && tries < ASKED_AGAIN_MAX => {}
            Err(error) => return Err(error.into()),
        }
        tries += 1;
        tokio::time::sleep(ASKED_AGAIN_EVERY).await;
    }
}

/// The run, once it has ended; `None` when the operator ended first.
async fn ended(client: &Client, run: &ResourceName) -> Result<Option<Run>, ClientError> {
    let now = client.run(run).await?;
    if is_end(&now) {
        return Ok(Some(now));
    }
    let field = query_value(&format!("metadata.name={run}"));
    let path = format!("/runs?watch=true&fieldSelector={field}");
    let mut has_ended = false;
    let each = |line: &[u8]| {
        let event: WatchEvent<Run> = serde_json::from_slice(line)?;
        has_ended = is_end(&event.object) || event.kind == "DELETED";
        Ok(!has_ended)
    };
    // A watch that breaks off has said what it said.
    let _broke = client.watch(&path, JSON, each).await;
    if !has_ended {
        return Ok(None);
    }
    // A watch shows less of it.
    Ok(Some(client.run(run).await?))
}

fn is_end(run: &Run) -> bool {
    matches!(
        run.status.phase.as_str(),
        "Succeeded" | "Failed" | "Cancelled" | "NeverStarted" | "Lost"
    )
}

/// `run/x Failed (MaxTurns): 12 turns, 5 tools, $0.42, 3m`, and why.
pub(super) fn summary(run: &Run) -> String {
    let status = &run.status;
    let reason =
        Some(&status.reason).filter(|reason| !reason.is_empty() && **reason != status.phase);
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    let mut facts = vec![counted(status.turns, "turn"), counted(status.tools, "tool")];
    let dollars = status.cost.as_ref().and_then(|cost| cost.dollars);
    facts.extend(dollars.map(|dollars| format!("${dollars:.2}")));
    facts.extend(status.duration_seconds.map(span));
    let head = format!("run/{} {}{reason}: {}", run.metadata.name, status.phase, facts.join(", "));
    let whole =
        if status.message.is_empty() { head } else { format!("{head}; {}", status.message) };
    plain(&whole).replace('\n', " ")
}
