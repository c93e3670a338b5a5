//! `chanop reconcile`: look again now.

use serde_json::json;

use super::context::Context;
use super::exit::Exit;
use super::failure::Outcome;
use super::printer::plain;
use super::target;

/// At what.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct ReconcileArgs {
    /// One object, whose backoff ends; without: the spec directory and the engine
    #[arg(value_name = "TYPE/NAME")]
    what: Option<String>,
}

/// Runs the command.
pub(super) async fn run(args: &ReconcileArgs, context: &Context) -> Outcome {
    let body = match &args.what {
        None => json!({}),
        Some(what) => {
            let (collection, name) = target::object(what, None)?;
            json!({"object": format!("{}/{name}", collection.singular())})
        }
    };
    let answer = context.operator().await?.post("/operator/reconcile", &body).await?;
    context.printer.out(plain(&answer));
    Ok(Exit::Ok)
}
