//! The library's face to programs: have the agent do something, hear its turns, and get what became of it.
//!
//! [`DockerRunner`] is a client of the operator's control socket and holds no container itself: a program that ends leaves
//! its run to the operator, and one that comes back with the same key finds it again, as it stands or as it ended.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! use chanop::resource::ResourceName;
//! use chanop::runner::{AgentRequest, DockerRunner, Runner, Turn};
//!
//! let runner = DockerRunner::new("/run/chanop/chanop.sock");
//! let request = AgentRequest::prompt(ResourceName::parse("payments")?, "What changed since Monday?");
//! let response = runner
//!     .run(&request, &mut |turn: &Turn| {
//!         if let Turn::Text(said) = turn {
//!             println!("{}", said.text);
//!         }
//!     })
//!     .await?;
//! println!("{}: {:?}", response.class.name(), response.cost.dollars);
//! # Ok(())
//! # }
//! ```

mod follow;

use std::path::PathBuf;

use serde_json::{Value, json};

pub use crate::claude::RunOutcome;
pub use crate::http::client::ClientError;
pub use crate::http::turns::{EndTurn, Turn};
pub use crate::http::views::run::Run;
pub use follow::Follow;

use crate::http::client::Client;
use crate::resource::ResourceName;
use crate::resource::meta::API_VERSION;
use crate::resource::meta::NameError;
use crate::resource::run::{RunOrder, RunSpec, Session};

/// What came of a request: what the agent's process came to.
pub type AgentResponse = RunOutcome;

/// Hears each turn as it comes.
pub type OnTurn<'a> = &'a mut (dyn FnMut(&Turn) + Send);

/// What the agent is to do.
#[derive(Debug, Clone, PartialEq)]
pub struct AgentRequest {
    /// The order, with the channel that it is for.
    pub spec: RunSpec,
    /// The run's name: the caller's own key, with which asking twice runs once. Without, the operator makes one.
    pub key: Option<ResourceName>,
}

impl AgentRequest {
    /// A prompt for a channel's agent, in a session of its own.
    pub fn prompt(channel: ResourceName, prompt: impl Into<String>) -> Self {
        let order = RunOrder { prompt: Some(prompt.into()), ..RunOrder::default() };
        let spec = RunSpec { channel_name: channel, rerun: None, cancel: None, order };
        Self { spec, key: None }
    }

    /// Under this name.
    #[must_use]
    pub fn with_key(self, key: ResourceName) -> Self {
        Self { key: Some(key), ..self }
    }

    /// In that session.
    #[must_use]
    pub fn in_session(mut self, session: Session) -> Self {
        self.spec.order.session = Some(session);
        self
    }

    /// The object that the API takes.
    pub fn object(&self) -> Value {
        let metadata = match &self.key {
            Some(key) => json!({ "name": key.as_str() }),
            None => json!({ "generateName": format!("{}-", self.spec.channel_name) }),
        };
        let spec = serde_json::to_value(&self.spec).unwrap_or_default();
        json!({ "apiVersion": API_VERSION, "kind": "Run", "metadata": metadata, "spec": spec })
    }
}

/// Has the agent work.
pub trait Runner {
    /// Why there is no response.
    type Error;

    /// Has the agent do it, tells its turns, and answers what became of it, success or not.
    ///
    /// Dropped, it leaves the run to the operator, and only stops listening.
    fn run(
        &self,
        request: &AgentRequest,
        on_turn: OnTurn<'_>,
    ) -> impl Future<Output = Result<AgentResponse, Self::Error>> + Send;

    /// Sees to it that nothing is left of runs that are over.
    fn cleanup(&self) -> impl Future<Output = Result<(), Self::Error>> + Send;
}

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum RunnerError {
    /// The operator cannot be asked, or says no.
    #[error(transparent)]
    Operator(#[from] ClientError),
    /// The key is taken by another order.
    #[error("there is a run `{0}` already, and it was another order")]
    OtherOrder(ResourceName),
    /// JSON has no such number, and without it there would be no bound.
    #[error("a budget of {0} dollars is none")]
    Budget(f64),
    /// The run ended without the agent having had a word.
    #[error("run/{name} ended as {} ({}): {}", end.phase, end.reason, end.message)]
    NoOutcome {
        /// Which run.
        name: ResourceName,
        /// How it ended.
        end: Box<EndTurn>,
    },
    /// The operator's name for the run is none.
    #[error("the operator's answer does not fit this version of chanop")]
    Name(#[from] NameError),
    /// The outcome cannot be read.
    #[error("the operator's answer does not fit this version of chanop")]
    Unreadable(#[from] serde_json::Error),
}

/// Runs agents in containers, by way of the operator.
#[derive(Debug, Clone)]
pub struct DockerRunner {
    client: Client,
}

impl DockerRunner {
    /// By way of the operator behind this control socket.
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self { client: Client::new(socket.into()) }
    }

    /// Hands the order over; answers the run once it is on the operator's disk. With a key that has the same order
    /// already, that run.
    pub async fn submit(&self, request: &AgentRequest) -> Result<Run, RunnerError> {
        if let Some(dollars) = request.spec.order.max_budget_usd.filter(|it| !it.is_finite()) {
            return Err(RunnerError::Budget(dollars));
        }
        let object = request.object();
        match self.client.submit_run(&object).await {
            Ok(run) => Ok(run),
            Err(ClientError::Refused { code: 409, message, details }) => {
                let existing = details.as_ref().and_then(|it| it.object.clone());
                let (Some(key), Some(existing)) = (&request.key, existing) else {
                    return Err(ClientError::Refused { code: 409, message, details }.into());
                };
                let run: Run = serde_json::from_value(existing)?;
                if is_same_order(&run.spec, &request.spec) {
                    Ok(run)
                } else {
                    Err(RunnerError::OtherOrder(key.clone()))
                }
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The turns of a run, from its first one on.
    pub fn follow(&self, run: &ResourceName) -> Follow {
        Follow::new(self.client.clone(), run.clone())
    }
}

/// Was this asked for? What the order leaves open, the operator may have filled in.
fn is_same_order(ordered: &Value, asked: &RunSpec) -> bool {
    let asked = serde_json::to_value(asked).unwrap_or_default();
    let ordered_has =
        |(field, value): (&String, &Value)| value.is_null() || ordered.get(field) == Some(value);
    asked.as_object().is_some_and(|asked| asked.iter().all(ordered_has))
}

impl Runner for DockerRunner {
    type Error = RunnerError;

    async fn run(
        &self,
        request: &AgentRequest,
        on_turn: OnTurn<'_>,
    ) -> Result<AgentResponse, RunnerError> {
        let name = ResourceName::parse(&self.submit(request).await?.metadata.name)?;
        let mut follow = self.follow(&name);
        let end = loop {
            let event = follow.next().await?;
            on_turn(&event.turn);
            if let Turn::End(end) = event.turn {
                break end;
            }
        };
        match self.client.run(&name).await?.status.outcome {
            Some(outcome) => Ok(serde_json::from_value(outcome)?),
            None => Err(RunnerError::NoOutcome { name, end: Box::new(end) }),
        }
    }

    async fn cleanup(&self) -> Result<(), RunnerError> {
        // The operator removes what nothing explains by itself; this has it look now.
        self.client.post("/operator/reconcile", &json!({})).await?;
        Ok(())
    }
}
