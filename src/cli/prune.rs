//! `chanop prune`: let go of removals that were held.

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;

/// Which removals.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct PruneArgs {
    /// The revision that the operator shows: what is let go is what you have seen
    #[arg(long, value_name = "REVISION")]
    confirm: Option<String>,
}

/// Runs the command; without `--confirm` it shows what is held.
pub(super) async fn run(args: &PruneArgs, context: &Context) -> Outcome {
    let client = context.operator().await?;
    if let Some(revision) = &args.confirm {
        let answer = client.post("/operator/prune", &json!({"confirm": revision})).await?;
        context.printer.out(plain(&answer));
        return Ok(Exit::Ok);
    }
    let specs = client.status().await?.specs;
    let Some(revision) = specs.hold_revision.filter(|_| !specs.held.is_empty()) else {
        context.printer.out("nothing is held");
        return Ok(Exit::Ok);
    };
    for channel in &specs.held {
        context.printer.out(plain(channel));
    }
    Err(Failure::said(format!(
        "{} held; if they are to go: chanop prune --confirm {revision}; if not, bring their files back",
        specs.held.len()
    )))
}
