//! `chanop version`: this program, the operator, and its engine.

use super::context::Context;
use super::exit::Exit;
use super::failure::{Failure, Outcome};
use super::printer::plain;
use crate::http::client::{Client, ClientError};

/// Runs the command. That no operator answers is an answer, not an error.
pub(super) async fn run(context: &Context) -> Outcome {
    let printer = context.printer;
    printer.out(concat!("chanop    ", env!("CARGO_PKG_VERSION")));
    let client = Client::new(context.socket()?);
    let status = match client.status().await {
        Ok(status) => status,
        Err(ClientError::NoOperator(socket)) => {
            printer.out(format!("operator  none answers on {}", socket.display()));
            return Ok(Exit::Ok);
        }
        Err(error) => return Err(Failure::from(error)),
    };
    printer.out(plain(&format!(
        "operator  {}, instance {}, on {}",
        status.version,
        status.instance,
        client.socket().display()
    )));
    let engine = status.engine;
    printer.out(plain(&match (engine.live, engine.error) {
        (true, _) => format!(
            "engine    {}, API {}, on {}",
            engine.version, engine.api_version, engine.endpoint
        ),
        (false, error) => format!(
            "engine    does not answer: {}",
            error.unwrap_or_else(|| "not asked yet".to_owned())
        ),
    }));
    Ok(Exit::Ok)
}
