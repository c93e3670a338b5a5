//! The agent's call for a person at a terminal: from a channel as it counts, and what lies on the host now, to an argv.
//!
//! What the agent reads at its start (model, prompt, servers, the project's file) needs no new container. So it is looked
//! at here, each time, and written where a running container sees it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::sync::Semaphore;

use crate::claude::command::{ClaudeCmdBuilder, Session};
use crate::claude::credentials::Credential;
use crate::claude::environment::{Manner, variables};
use crate::claude::project;
use crate::docker::Engine;
use crate::executor::{Means, image_user};
use crate::host::{self, Host, SignIn};
use crate::http::{AgentCall, AgentCalls, AgentOrder, Conversation, NoCall};
use crate::init::layout;
use crate::resource::effective::{Effective, Home, Owner, User};
use crate::resource::project::{PROJECT_FILE, ProjectFile, decode_project};
use crate::specs::parse::parse_node;
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
    let mut notes = Vec::new();
    let effective = &*with_project(order, &mut notes)?;
    // Only what is optional depends on facts, and that was mounted long ago.
    let preparation = Preparation::of(&order.channel, effective, owner, user, &Facts::default());
    let place = host::prepare_agent(&preparation, effective, host).map_err(refused)?;
    notes.extend(place.notes);
    let session = session(order, host, &mut notes)?;
    let inside = |name: &str| format!("{}/{name}", layout::SECRETS);
    let (key, servers) = (inside(layout::API_KEY_FILE), inside(layout::MCP_FILE));
    let mut builder = ClaudeCmdBuilder::new(effective);
    match place.sign_in {
        Some(SignIn::ApiKey) => builder = builder.credential(Credential::ApiKey { file: &key }),
        Some(SignIn::OauthToken) => builder = builder.credential(Credential::OauthToken),
        None => {}
    }
    if !effective.agent.mcp_servers.is_empty() {
        builder = builder.mcp_config(&servers);
    }
    let argv = builder.interactive(session).map_err(|error| NoCall::Refused(error.to_string()))?;
    let uid = (!user.of_image).then_some(user.uid);
    let env = variables(&effective.agent, uid, Manner::Interactive);
    Ok(AgentCall { argv, env, notes })
}

/// The channel with what its project's file says, where the channel lets it.
fn with_project(order: &AgentOrder, notes: &mut Vec<String>) -> Result<Arc<Effective>, NoCall> {
    let effective = &order.effective;
    if !effective.agent.project_file {
        return Ok(Arc::clone(effective));
    }
    let found = host::project_file(&effective.workspace.path)
        .map_err(|error| NoCall::Refused(sentence(&error)))?;
    let Some(bytes) = found else { return Ok(Arc::clone(effective)) };
    let project = parse_project(&bytes).map_err(NoCall::Refused)?;
    if project.resources.is_some() {
        notes.push(format!("{PROJECT_FILE}: resources count for runs, not in the shell"));
    }
    let (mut applied, left_out) = project::apply(effective, &project);
    applied.resources = effective.resources;
    notes.extend(
        left_out.iter().map(|note| format!("{PROJECT_FILE}: {}: {}", note.field, note.message)),
    );
    Ok(Arc::new(applied))
}

/// The file as text, or everything that is wrong with it in a sentence.
fn parse_project(bytes: &[u8]) -> Result<ProjectFile, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{PROJECT_FILE} is not UTF-8"))?;
    let node = parse_node(PROJECT_FILE, text).map_err(|violation| violation.to_string())?;
    let (project, violations) = decode_project(PROJECT_FILE, &node);
    project.ok_or_else(|| violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_file_that_is_wrong_is_told_with_its_places() {
        let project = parse_project(b"model: haiku\n").unwrap();
        assert_eq!(project.model.as_deref(), Some("haiku"));
        for (text, said) in [
            (&b"modle: x\nimage: {}\n"[..], "project.yaml:1:1: unknown field `modle`"),
            (b"\xff", ".chanop/project.yaml is not UTF-8"),
            (b"a: [", "project.yaml:1:"),
        ] {
            let error = parse_project(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse_project(b"modle: x\nimage: {}\n").unwrap_err().contains("; "));
    }
}
