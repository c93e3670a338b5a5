//! What every command is given: the global flags, made into values.

use std::path::PathBuf;

use super::failure::Failure;
use super::printer::Printer;
use crate::clock::Clock;
use crate::config::{Environment, Process, default_socket};
use crate::http::client::Client;
use crate::resource::ResourceName;

/// Flags that every command takes.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Globals {
    /// The operator's instance [default: default]
    #[arg(long, global = true, value_name = "NAME", value_parser = instance, help_heading = "Global options")]
    pub instance: Option<ResourceName>,
    /// The control socket.
    #[arg(
        help = "The operator's control socket [default: $CHANOP_SOCKET, /run/chanop/chanop.sock for \
                  root, $XDG_RUNTIME_DIR/chanop/chanop.sock]"
    )]
    #[arg(long, global = true, value_name = "PATH", help_heading = "Global options")]
    pub socket: Option<PathBuf>,
    /// No colour, even on a terminal
    #[arg(long, global = true, help_heading = "Global options")]
    pub no_color: bool,
}

fn instance(text: &str) -> Result<ResourceName, String> {
    ResourceName::parse_at_most(text, crate::resource::meta::NAME_MAX)
        .map_err(|error| error.to_string())
}

/// What a command needs of the world around it.
#[derive(Debug, Clone)]
pub struct Context {
    /// Where it writes.
    pub printer: Printer,
    /// The environment.
    pub environment: Environment,
    /// The clock.
    pub clock: Clock,
    /// The global flags as given.
    pub globals: Globals,
}

impl Context {
    /// The control socket: as given, or where it lies when nobody says.
    pub fn socket(&self) -> Result<PathBuf, Failure> {
        match &self.globals.socket {
            Some(socket) => Ok(socket.clone()),
            None => Ok(default_socket(Process::current().euid, &self.environment)?),
        }
    }

    /// The operator, once it is known to serve the instance that was asked for.
    pub async fn operator(&self) -> Result<Client, Failure> {
        let client = Client::new(self.socket()?);
        if let Some(wanted) = &self.globals.instance {
            let serves = client.status().await?.instance;
            if serves != wanted.as_str() {
                return Err(Failure::said(format!(
                    "the operator on {} serves the instance {serves}, not {wanted}: name its socket with --socket",
                    client.socket().display()
                )));
            }
        }
        Ok(client)
    }
}
