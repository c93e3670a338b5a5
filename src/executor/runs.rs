//! A run's attempt: its prompt from a file, and its container.
//!
//! The agent's call is made when the container is: what the project's file, the secrets and the servers say then counts. Nothing
//! of the prompt or of a secret is among the container's settings, which all can read who may use the engine; the prompt is a
//! file that only the container's user reads, and its standard input.

use std::sync::Arc;

use super::Means;
use super::agent::{self, ProjectError};
use super::calls::{finish, resolved, user_of};
use super::failure::of_host;
use crate::claude::command::{BatchCommand, CommandError, PROMPT_MAX};
use crate::claude::environment::{Manner, of_run, variables};
use crate::container::config::Limits;
use crate::container::{ContainerConfig, ContainerName};
use crate::controller::effect::Call;
use crate::controller::input::{Answer, Failure};
use crate::docker::Engine;
use crate::host::{self, Prepared, SignIn};
use crate::init::layout;
use crate::resource::condition::Reason;
use crate::resource::effective::Effective;
use crate::resource::text::RelativePath;
use crate::specs::{self, PromptError};
use crate::world::preparation::{Preparation, RunPlace};
use crate::world::run::{RunTarget, Task};

/// Reads a run's prompt beneath the spec directory.
pub(super) async fn read_prompt<E: Engine>(
    means: &Means<E>,
    file: &RelativePath,
) -> Result<Answer, Failure> {
    let (directory, file) = (means.specs_dir.clone(), file.to_string());
    let read =
        tokio::task::spawn_blocking(move || specs::read_prompt(&directory, &file, PROMPT_MAX))
            .await;
    let read = read.map_err(|error| Failure::Unknown(error.to_string()))?;
    read.map(Answer::Prompt).map_err(|error| {
        let reason = match &error {
            PromptError::NotThere(_) => Reason::PromptMissing,
            PromptError::NoPrompt(_) => Reason::InvalidSpec,
        };
        Failure::Refused(reason, error.to_string())
    })
}

/// Prepares the host for an attempt, makes its container, and gives it its files and volumes.
pub(super) async fn create_run<E: Engine>(
    means: &Means<E>,
    call: &Call,
    name: &ContainerName,
    order: &Arc<RunTarget>,
) -> Result<Answer, Failure> {
    let mut preparation = resolved(means, &order.target, &order.target.config.image).await?;
    let place = RunPlace {
        channel: preparation.channel.clone(),
        run: order.run.clone(),
        attempt: order.attempt,
    };
    preparation.run = Some(place);
    let (order, host) = (Arc::clone(order), means.host.clone());
    let work = move || -> Result<(Prepared, ContainerConfig), Failure> {
        let (effective, _told_to_people) =
            agent::with_project(&order.effective, Manner::Batch).map_err(of_project)?;
        preparation.mcp_servers.clone_from(&effective.agent.mcp_servers);
        let prepared = host::prepare_run(&preparation, &host, stdin(&order.task))
            .map_err(|error| of_host(&error))?;
        let mut config = config(&order, &effective, &preparation, prepared.sign_in)
            .map_err(|error| Failure::Refused(Reason::InvalidSpec, error.to_string()))?;
        config.user = user_of(preparation.user);
        Ok((prepared, config))
    };
    let (prepared, config) = tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| Failure::Refused(Reason::HostFailed, error.to_string()))??;
    let notes = prepared.notes.clone();
    // Should the create fail, the log alone says it.
    for note in &notes {
        tracing::warn!(container = %name, "{note}");
    }
    let answer = finish(means, call, name, &config, prepared).await?;
    Ok(match answer {
        Answer::Created(id) if !notes.is_empty() => Answer::CreatedWithNotes(id, notes),
        answer => answer,
    })
}

/// What its command reads.
fn stdin(task: &Task) -> &[u8] {
    match task {
        Task::Prompt(text) => text.as_bytes(),
        Task::Compact(_) => &[],
    }
}

/// The template's, with what the project's file had a word in: command, environment and limits.
fn config(
    order: &RunTarget,
    effective: &Effective,
    preparation: &Preparation,
    sign_in: Option<SignIn>,
) -> Result<ContainerConfig, CommandError> {
    let mut config = order.target.config.clone();
    config.cmd = agent::call(effective, sign_in, layout::RUN_MCP_FILE, |builder| {
        let builder = builder.run_system_prompt(&order.system_prompt).prompt_by_stdin();
        match &order.task {
            Task::Prompt(text) => builder.batch(order.session, text, order.bounds),
            Task::Compact(session) => builder.compact(*session),
        }
    })
    .map(|BatchCommand { argv, prompt: _at_its_place }| argv)?;
    let user = preparation.user;
    let uid = (!user.of_image).then_some(user.uid);
    let mut variables = variables(&effective.agent, uid, Manner::Batch);
    variables.extend(of_run(order.run.as_str(), &order.author));
    config.env.extend(variables.iter().map(|(name, value)| format!("{name}={value}")));
    config.limits = Limits {
        nano_cpus: effective.resources.nano_cpus,
        memory_bytes: effective.resources.memory_bytes,
        pids: effective.resources.pids,
    };
    config.shm_size_bytes = effective.resources.shm_size_bytes;
    Ok(config)
}

fn of_project(error: ProjectError) -> Failure {
    match error {
        ProjectError::Host(error) => of_host(&error),
        ProjectError::Invalid(text) => Failure::Refused(Reason::InvalidSpec, text),
    }
}
