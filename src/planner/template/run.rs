//! From a run's record to the container of one attempt.
//!
//! Derived from the shell's: the policy judged the channel once, and what it let pass is the same for both: image, mounts,
//! user, limits, network, security. What differs is what the container is called, what it runs, and that nobody connects to it.
//! The agent's arguments are the executor's to add, since the project's file may have a word in them.

use std::sync::Arc;

use crate::claude::command::{Bounds, Session};
use crate::claude::prompt;
use crate::container::config::LogConfig;
use crate::container::label::{self, Role};
use crate::container::{ContainerConfig, Identity};
use crate::init::layout;
use crate::world::Settings;
use crate::world::desired::{DesiredChannel, Target};
use crate::world::preparation::{RunPlace, support_mounts};
use crate::world::run::{Ask, AttemptKind, Order, RunRecord, RunTarget, Task, Trigger};

/// What one attempt's container is made from. The error is a sentence: the channel is not judged yet, or was denied; or there is
/// no session to make shorter.
pub fn run_container(
    record: &RunRecord,
    attempt: u32,
    kind: AttemptKind,
    session: Session,
    channel: &DesiredChannel,
    settings: &Settings,
) -> Result<RunTarget, String> {
    let (Some(effective), Some(shell)) = (&channel.effective, &channel.target) else {
        return Err(format!("channel {} is not admitted", record.channel));
    };
    let order = &record.order;
    let task = task(order, kind, session)?;
    let grace = order
        .termination_grace_period_seconds
        .map_or_else(|| effective.runs.termination_grace_period.as_secs(), u64::from);
    let mut target = of_shell(record, attempt, shell, settings);
    target.config.entrypoint = entrypoint(&task);
    target.config.stop_timeout_seconds = i64::try_from(grace).unwrap_or(i64::MAX);
    Ok(RunTarget {
        run: record.id.name.clone(),
        attempt,
        effective: Arc::clone(effective),
        target,
        task,
        session,
        system_prompt: order.system_prompt.clone(),
        author: order.author.clone(),
        bounds: Bounds::of(&effective.runs, order.max_turns, order.max_budget_usd),
    })
}

/// What the agent is told. In a session that goes on it knows the older messages already.
fn task(order: &Order, kind: AttemptKind, session: Session) -> Result<Task, String> {
    match (kind, session) {
        (AttemptKind::Compact, Session::Resume(id)) => return Ok(Task::Compact(id)),
        (AttemptKind::Compact, Session::Fresh(_) | Session::Fork { .. }) => {
            return Err("only a session that goes on can be made shorter".to_owned());
        }
        _ => {}
    }
    let goes_on = !matches!(session, Session::Fresh(_));
    Ok(Task::Prompt(match &order.ask {
        Ask::Prompt(text) => text.as_str().into(),
        Ask::Messages(messages) => prompt::of_messages(messages, goes_on).into(),
    }))
}

/// The shell's container, as another one.
fn of_shell(record: &RunRecord, attempt: u32, shell: &Target, settings: &Settings) -> Target {
    let run = record.id.name.clone();
    let mut preparation = shell.preparation.clone();
    preparation.run = Some(RunPlace { channel: record.channel.clone(), run: run.clone(), attempt });
    let shells = support_mounts(&settings.paths, &shell.preparation);
    let own = shell.config.mounts.iter().filter(|mount| !shells.contains(mount)).cloned();
    let mut mounts: Vec<_> = own.chain(support_mounts(&settings.paths, &preparation)).collect();
    // A mount comes after the one that it lies in.
    mounts.sort_by(|a, b| a.target().cmp(b.target()));
    let identity = Identity {
        instance: settings.instance.clone(),
        channel: record.channel.clone(),
        role: Role::Run { run, attempt },
    };
    let mut labels = identity.labels();
    labels.insert(label::SOURCE.to_owned(), source(&record.trigger));
    labels.insert(label::SPEC_HASH.to_owned(), record.fingerprint.clone());
    let config = ContainerConfig {
        cmd: Vec::new(),
        labels,
        mounts,
        // Published on the host they belong to the shell.
        ports: Vec::new(),
        log: log(),
        ..shell.config.clone()
    };
    Target { config, hash: record.fingerprint.clone(), preparation, ..shell.clone() }
}

/// The agent follows as the command. Its prompt is no argument: those can be read by all who may use the engine.
fn entrypoint(task: &Task) -> Vec<String> {
    let mut words = vec![layout::INIT, "run", "--guard", layout::ATTEMPT];
    if matches!(task, Task::Prompt(_)) {
        words.extend(["--stdin", layout::STDIN]);
    }
    words.push("--");
    words.into_iter().map(str::to_owned).collect()
}

/// The transcript is read from the engine's log, live; but while no operator runs, the log is all there is of it, and what
/// the engine has turned over is lost. A long run says some megabytes, one that reads many images a hundred (each line with one
/// has up to 5 MB). It is kept for minutes after the end, so it may be long: 300 MB. A shell says next to nothing.
fn log() -> LogConfig {
    let mut log = LogConfig::default();
    log.options.extend(
        [("max-size", "100m"), ("max-file", "3")].map(|(k, v)| (k.to_owned(), v.to_owned())),
    );
    log
}

/// The file without its line, which moves when others are written above it; or what else asked.
fn source(trigger: &Trigger) -> String {
    match trigger {
        Trigger::File { file, .. } => file.clone(),
        Trigger::Api | Trigger::Found | Trigger::Schedule { .. } => trigger.to_string(),
    }
}
