//! `chanop cancel`, `chanop release` and `chanop wait`: what is said about a run that is there.

use std::time::Duration;

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;
use super::suspend::duration;
use super::{follow, target};

/// Which run is to end, and why.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CancelArgs {
    /// For instance run/fix-flaky-ci
    #[arg(value_name = "run/NAME")]
    run: String,
    /// Why, for those who find it cancelled
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    reason: String,
}

/// Which run is to be let go.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReleaseArgs {
    /// For instance run/fix-flaky-ci
    #[arg(value_name = "run/NAME", required_unless_present = "all")]
    run: Option<String>,
    /// All that are held
    #[arg(long, conflicts_with = "run")]
    all: bool,
}

/// Which run is waited for.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct WaitArgs {
    /// For instance run/fix-flaky-ci
    #[arg(value_name = "run/NAME")]
    run: String,
    /// No longer than this: 90s, 30m
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    timeout: Option<Duration>,
}

/// Runs `cancel`.
pub(super) async fn cancel(args: &CancelArgs, context: &Context) -> Outcome {
    let run = target::run(&args.run)?;
    let client = context.operator().await?;
    let answer =
        client.post(&format!("/runs/{run}/cancel"), &json!({ "reason": args.reason })).await?;
    context.printer.out(plain(&answer));
    Ok(Exit::Ok)
}

/// Runs `release`.
pub(super) async fn release(args: &ReleaseArgs, context: &Context) -> Outcome {
    let path = match &args.run {
        Some(run) => format!("/runs/{}/release", target::run(run)?),
        None => "/operator/release".to_owned(),
    };
    let answer = context.operator().await?.post(&path, &json!({})).await?;
    context.printer.out(plain(&answer));
    Ok(Exit::Ok)
}

/// Runs `wait`.
pub(super) async fn wait(args: &WaitArgs, context: &Context) -> Outcome {
    let run = target::run(&args.run)?;
    let client = context.operator().await?;
    let late = async {
        match args.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = follow::until_ended(&client, &run) => ended?,
        () = late => return Err(Failure::said(format!("run/{run} has not ended; it goes on"))),
        _interrupted = tokio::signal::ctrl_c() => return Ok(Exit::Interrupted),
    };
    context.printer.out(follow::summary(&ended));
    Ok(Exit::of_run(&ended.status.phase, &ended.status.reason))
}
