//! The agent's call for a person at a terminal: from a channel as it counts, and what lies on the host now, to an argv.
//!
//! What the agent reads at its start (model, prompt, servers, the project's file) needs no new container. So it is looked
//! at here, each time, and written where a running container sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::claude::command::Session;
use crate::claude::environment::{Manner, variables};
use crate::docker::Engine;
use crate::executor::agent::{call, with_project};
use crate::executor::{Means, image_user};
use crate::host::{self, Host};
use crate::http::{AgentCall, AgentCalls, AgentOrder, Conversation, NoCall};
use crate::init::layout;
use crate::resource::effective::{Home, Owner, User};
use crate::world::facts::Facts;
use crate::world::preparation::{ContainerUser, Preparation};

/// Calls that are made at once. Each takes milliseconds; one more only waits for a disk that hangs.
const AT_ONCE: usize = 8;
/// For the host to be read and written.
const WITHIN: Duration = Duration::from_secs(20);

/// Makes calls.
#[derive(Debug)]
pub(super) struct Agents<E> {
    means: Means<E>,
    owner: Owner,
    places: Arc<Semaphore>,
}

impl<E: Engine + std::fmt::Debug> AgentCalls for Agents<E> {
    fn call(&self, order: AgentOrder) -> BoxFuture<'_, Result<AgentCall, NoCall>> {
        self.make(order).boxed()
    }
}

impl<E: Engine> Agents<E> {
    pub(super) fn new(means: Means<E>, owner: Owner) -> Self {
        Self { means, owner, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    async fn make(&self, order: AgentOrder) -> Result<AgentCall, NoCall> {
        let busy = |why: &str| NoCall::Busy(why.to_owned());
        let place = Arc::clone(&self.places)
            .try_acquire_owned()
            .map_err(|_full| busy("too many agents are being started; try again"))?;
        let image = match order.effective.user {
            User::Owner | User::Ids { .. } => (0, 0),
            User::Image => image_user(&self.means, &order.image)
                .await
                .map_err(|failure| NoCall::Refused(failure.message().to_owned()))?,
        };
        let user = ContainerUser::of(order.effective.user, &self.owner, image);
        let (owner, host) = (self.owner.clone(), self.means.host.clone());
        let work = tokio::task::spawn_blocking(move || {
            // Held by the work and not by who waits for it: what hangs takes a place.
            let _place = place;
            prepared(&order, &owner, user, &host)
        });
        match tokio::time::timeout(WITHIN, work).await {
            Ok(Ok(call)) => call,
            Ok(Err(error)) => Err(NoCall::Refused(error.to_string())),
            Err(_elapsed) => Err(busy("the host's files do not answer; try again")),
        }
    }
}

/// Looks at the host, writes what the agent will read, and says how to call it.
fn prepared(
    order: &AgentOrder,
    owner: &Owner,
    user: ContainerUser,
    host: &Host,
) -> Result<AgentCall, NoCall> {
    let refused = |error: host::PrepareError| NoCall::Refused(sentence(&error));
    let (effective, mut notes) = with_project(&order.effective, Manner::Interactive)
        .map_err(|error| NoCall::Refused(sentence(&error)))?;
    let effective = &*effective;
    // Only what is optional depends on facts, and that was mounted long ago.
    let preparation = Preparation::of(&order.channel, effective, owner, user, &Facts::default());
    let place = host::prepare_agent(&preparation, effective, host).map_err(refused)?;
    notes.extend(place.notes);
    let session = session(order, host, &mut notes)?;
    let argv =
        call(effective, place.sign_in, layout::MCP_FILE, |builder| builder.interactive(session))
            .map_err(|error| NoCall::Refused(error.to_string()))?;
    let uid = (!user.of_image).then_some(user.uid);
    let env = variables(&effective.agent, uid, Manner::Interactive);
    Ok(AgentCall { argv, env, notes })
}

/// The session to begin, go on in or copy.
fn session(order: &AgentOrder, host: &Host, notes: &mut Vec<String>) -> Result<Session, NoCall> {
    let id = match order.conversation {
        Conversation::New => return Ok(Session::Fresh(None)),
        Conversation::Of(id) => id,
        Conversation::Latest if order.effective.home != Home::Channel => {
            let message = "sessions lie in the container, where the operator does not look: name one by its ID";
            return Err(NoCall::Refused(message.to_owned()));
        }
        Conversation::Latest => {
            let found = host::newest_session(host, &order.channel)
                .map_err(|error| NoCall::Refused(sentence(&error)))?;
            let Some(id) = found else {
                notes.push("there is no session yet: this is a new one".to_owned());
                return Ok(Session::Fresh(None));
            };
            id
        }
    };
    Ok(if order.fork { Session::Fork { of: id, id: None } } else { Session::Resume(id) })
}

/// An error with its causes.
fn sentence(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
