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
/// the engine has turned over is lost; Docker 20.10 gives a reader parts twice when it turns over. A long run says some megabytes, one that reads many images a hundred (each line with one
/// has up to 5 MB). It is kept for minutes after the end, so it may be long. A shell says next to nothing.
fn log() -> LogConfig {
    let mut log = LogConfig::default();
    log.options.extend(
        [("max-size", "500m"), ("max-file", "2")].map(|(k, v)| (k.to_owned(), v.to_owned())),
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use uuid::Uuid;

    use super::super::tests;
    use super::*;
    use crate::container::config::{MountConfig, NetworkMode};
    use crate::container::label::Ownership;
    use crate::resource::run::{Message, Role as Speaker, Session as Asked};
    use crate::resource::{ResourceName, SourceRef};
    use crate::world::desired::Verdict;
    use crate::world::facts::Facts;
    use crate::world::run::RunId;

    const SPEC: &str = "network: {mode: None}\n  securityContext: {readOnlyRootFilesystem: true}\n  ports: [{containerPort: 1, hostPort: 1}]\n  files: [{source: ~/.npmrc, target: ~/.npmrc}]\n  runs: {maxTurns: 5, terminationGracePeriodSeconds: 7}\n  env: [{name: T, valueFrom: {secretKeyRef: {name: s, key: k}}}, {name: A, value: a}]";
    const FRESH: Session = Session::Fresh(Some(Uuid::from_u128(1)));
    const ON: Session = Session::Resume(Uuid::from_u128(2));

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    fn desired(spec: &str) -> (DesiredChannel, Settings) {
        let (effective, target, settings) = tests::channel(spec, None, &Facts::default());
        let channel = DesiredChannel {
            source: SourceRef { file: "a.yaml".to_owned(), line: 1 },
            labels: BTreeMap::new(),
            annotations: BTreeMap::new(),
            effective: Some(Arc::new(effective)),
            origins: Arc::default(),
            fingerprint: String::new(),
            verdict: Verdict::Admitted,
            target: Some(Arc::new(target)),
            git_missing: Vec::new(),
            source_trouble: None,
            removal_held: false,
        };
        (channel, settings)
    }

    fn record(ask: Ask) -> RunRecord {
        RunRecord {
            id: RunId { name: name("fix"), rerun: 0 },
            channel: name("a"),
            turn: 1,
            trigger: Trigger::File { file: "runs/fix.yaml".to_owned(), line: 9 },
            revision: None,
            labels: BTreeMap::new(),
            order: Order {
                ask,
                system_prompt: "be kind".to_owned(),
                author: "Ann".to_owned(),
                session: Asked::Fresh,
                fork: false,
                starting_deadline_seconds: 60,
                active_deadline_seconds: None,
                termination_grace_period_seconds: None,
                backoff_limit: None,
                max_turns: None,
                max_budget_usd: Some(0.5),
                keep_container_seconds: None,
            },
            fingerprint: "f1:abc".to_owned(),
            admitted_at: Timestamp::UNIX_EPOCH,
            held: false,
            cancel: None,
            first_attempt: 1,
            attempts: Vec::new(),
            next: None,
            not_before: None,
            end: None,
        }
    }

    fn prompted() -> RunRecord {
        record(Ask::Prompt("the-prompt".to_owned()))
    }

    fn made(record: &RunRecord, kind: AttemptKind, session: Session) -> RunTarget {
        let (channel, settings) = desired(SPEC);
        run_container(record, 3, kind, session, &channel, &settings).unwrap()
    }

    #[test]
    fn a_runs_container_is_the_shells_under_another_name_and_with_another_command() {
        let (channel, settings) = desired(SPEC);
        let shell = channel.target.clone().unwrap();
        let found =
            run_container(&prompted(), 3, AttemptKind::First, FRESH, &channel, &settings).unwrap();
        let config = &found.target.config;
        let labels = |key: &str| config.labels[key].as_str();
        let called = crate::container::ContainerName::parse("chanop_default_a_fix_3").unwrap();
        let Ownership::Ours(identity) = Identity::of(&settings.instance, &config.labels, &called)
        else {
            panic!("{:?}", config.labels);
        };
        assert_eq!(identity.role, Role::Run { run: name("fix"), attempt: 3 });
        assert_eq!(labels(label::SPEC_HASH), "f1:abc");
        assert_eq!(labels(label::SOURCE), "runs/fix.yaml");
        assert_eq!(found.target.hash, "f1:abc");
        assert_eq!(
            config.entrypoint.join(" "),
            "/.chanop/init run --guard /.chanop/attempt --stdin /.chanop/stdin --"
        );
        assert_eq!((config.cmd.len(), config.ports.len()), (0, 0));
        assert_eq!(config.stop_timeout_seconds, 7);
        assert_eq!(config.network, NetworkMode::None);
        assert_eq!(
            (found.bounds.max_turns, found.bounds.max_budget_usd.to_string()),
            (5, "0.5".to_owned())
        );
        let mut same = config.clone();
        let other = shell.config.clone();
        same.labels.clone_from(&other.labels);
        same.mounts.clone_from(&other.mounts);
        same.entrypoint.clone_from(&other.entrypoint);
        same.ports.clone_from(&other.ports);
        same.log.clone_from(&other.log);
        same.stop_timeout_seconds = other.stop_timeout_seconds;
        assert_eq!(same, other, "user, limits, network and security are the shell's");
        assert!(same.read_only_rootfs);
        assert_eq!(shell.config.log, LogConfig::default(), "a shell's log stays as it was");
    }

    #[test]
    fn neither_a_prompt_nor_a_secret_stands_in_the_settings() {
        let config = made(&prompted(), AttemptKind::First, FRESH).target.config;
        let text = format!("{config:?}");
        assert!(!text.contains("the-prompt") && !text.contains("T="), "{text}");
        assert!(config.env.contains(&"A=a".to_owned()), "{:?}", config.env);
    }

    #[test]
    fn an_attempt_has_a_prompt_a_note_and_copies_of_its_own() {
        let (channel, _) = desired(SPEC);
        let shells = channel.target.unwrap().config.mounts.clone();
        let runs = made(&prompted(), AttemptKind::First, FRESH).target.config.mounts;
        let own: Vec<_> = runs.iter().filter(|mount| !shells.contains(mount)).collect();
        let bind = |source: &str, target: &str, read_only| MountConfig::Bind {
            source: format!("/state/channels/a/runs/fix/3/{source}"),
            target: target.to_owned(),
            read_only,
        };
        let copy = own.iter().find(|mount| mount.target() == "/home/u/.npmrc").unwrap();
        assert!(
            matches!(copy, MountConfig::Bind { source, .. } if source.starts_with("/state/channels/a/runs/fix/3/files/"))
        );
        assert_eq!(own.len(), 3, "{own:?}");
        assert!(own.contains(&&bind("attempt", "/.chanop/attempt", false)), "{own:?}");
        assert!(own.contains(&&bind("stdin", "/.chanop/stdin", true)), "{own:?}");
        assert_eq!(runs.len(), shells.len() + 2, "nothing of the shell's is missing");
        assert!(runs.is_sorted_by_key(MountConfig::target));
    }

    #[test]
    fn a_conversation_is_told_as_far_as_the_session_does_not_know_it() {
        let message = |role, content: &str| Message { role, content: content.to_owned() };
        let record = record(Ask::Messages(vec![
            message(Speaker::User, "old"),
            message(Speaker::Assistant, "answer"),
            message(Speaker::User, "new"),
        ]));
        let told = |kind, session| match made(&record, kind, session).task {
            Task::Prompt(text) => text.to_string(),
            Task::Compact(_) => panic!("it is to answer"),
        };
        assert_eq!(told(AttemptKind::First, ON), "new");
        assert_eq!(
            told(AttemptKind::First, Session::Fork { of: Uuid::from_u128(2), id: None }),
            "new"
        );
        let all = told(AttemptKind::WithoutSession, FRESH);
        assert!(all.contains("old") && all.ends_with("new"), "{all}");
        let Task::Prompt(text) = made(&prompted(), AttemptKind::AfterCompact, ON).task else {
            panic!("it is to answer");
        };
        assert_eq!(&*text, "the-prompt");
    }

    #[test]
    fn a_session_that_goes_on_is_made_shorter_and_reads_nothing() {
        let found = made(&prompted(), AttemptKind::Compact, ON);
        assert_eq!(found.task, Task::Compact(Uuid::from_u128(2)));
        assert_eq!(
            found.target.config.entrypoint.join(" "),
            "/.chanop/init run --guard /.chanop/attempt --"
        );
        let (channel, settings) = desired(SPEC);
        let kind = AttemptKind::Compact;
        let fresh = run_container(&prompted(), 3, kind, FRESH, &channel, &settings);
        assert!(fresh.unwrap_err().contains("only a session that goes on"));
    }

    #[test]
    fn a_channel_that_is_not_admitted_gets_no_run() {
        let (mut channel, settings) = desired("ports: []");
        channel.target = None;
        let found = run_container(&prompted(), 1, AttemptKind::First, FRESH, &channel, &settings);
        assert_eq!(found.unwrap_err(), "channel a is not admitted");
    }

    #[test]
    fn who_asked_is_told_where_no_file_did() {
        for (trigger, said) in [
            (Trigger::Api, "api"),
            (Trigger::Schedule { name: name("nightly") }, "schedule/nightly"),
        ] {
            let record = RunRecord { trigger, ..prompted() };
            let config = made(&record, AttemptKind::First, FRESH).target.config;
            assert_eq!(config.labels[label::SOURCE], said);
        }
    }
}
