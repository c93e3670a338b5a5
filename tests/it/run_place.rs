//! A run's attempt on the real engine, by the executor's arms: its prompt, its settings, that it is started once, and what is
//! known of its end. The agent is a script here; the real one is in `agent_cli`.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use chanop::claude::command::{PROMPT_MAX, Session};
use chanop::clock::Clock;
use chanop::container::{ContainerId, ContainerName, Identity, label};
use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Failure, Input};
use chanop::docker::image::CredentialSources;
use chanop::docker::{Docker, Engine as _};
use chanop::executor::{Executor, Means};
use chanop::host::{exit_record, sweep_run_places};
use chanop::planner::template::{run_container, shell_container};
use chanop::resource::condition::Reason;
use chanop::resource::run::Session as Asked;
use chanop::resource::text::RelativePath;
use chanop::resource::{Resource, ResourceName, SourceRef, merge};
use chanop::store::{Store, StoreHandle, StoreWriter};
use chanop::world::Settings;
use chanop::world::desired::{DesiredChannel, Verdict};
use chanop::world::facts::{CredentialsFact, Facts};
use chanop::world::preparation::RunPlace;
use chanop::world::run::{
    Ask, AttemptKind, ExitRecord, Order, RunId, RunRecord, RunTarget, Task, Trigger,
};
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

use crate::bed::{Bed, OWNER};
use crate::support::engine::{TEST_LABEL, TestBed};

/// What no settings may show.
const KEY: &str = "k3y-of-a-test-of-runs";
const TOKEN: &str = "t0ken-of-a-test-of-runs";
const MARK: &str = "the-prompt-of-a-test-of-runs";

/// As hardened as a channel can be, and with a secret of each kind.
const SPEC: &str = "network: {mode: None}
  securityContext: {readOnlyRootFilesystem: true}
  env: [{name: GH_TOKEN, valueFrom: {secretKeyRef: {name: github, key: token}}}]
";

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

/// An executor, and a channel whose agent is a script.
struct Place {
    bed: Bed,
    engine: TestBed,
    executor: Executor<Docker>,
    means: Means<Docker>,
    settings: Settings,
    channel: DesiredChannel,
    // The store's thread ends with its last handle.
    _store: (StoreHandle, StoreWriter),
    calls: u64,
}

impl Place {
    async fn new(script: &str) -> Self {
        Self::with(script, SPEC).await
    }

    async fn with(script: &str, spec: &str) -> Self {
        let (bed, engine) = (Bed::new(), TestBed::new().await);
        bed.secret("anthropic", "api-key", KEY.as_bytes());
        bed.secret("github", "token", TOKEN.as_bytes());
        bed.write("home/src/demo/agent.sh", &format!("#!/bin/sh\n{script}\n"));
        crate::bed::set_mode(&bed.path("home/src/demo/agent.sh"), 0o755);
        fs::create_dir(bed.path("specs")).unwrap();
        let settings = Settings {
            instance: name(&format!("run-{}", engine.mark())),
            owner: bed.preparation.owner.clone(),
            host_labels: BTreeMap::new(),
            protected: Vec::new(),
            environment: Vec::new(),
            paths: bed.host.paths.clone(),
            agent_cli: None,
            runtime_classes: std::collections::BTreeSet::new(),
            own_ports: std::collections::BTreeSet::new(),
            prune_delay: Duration::from_secs(10),
            stray_grace: Duration::from_mins(1),
            max_runs: 8,
            process: Uuid::nil(),
            state_place: chanop::world::ownership::StatePlace::default(),
        };
        let channel = channel(&bed, &engine, &settings, spec);
        let clock = Clock::start();
        let directory = bed.path("store");
        let (store, _) = Store::open(&directory, &settings.instance, clock.now().wall).unwrap();
        let key = store.key().clone();
        let store = chanop::store::start(store).unwrap();
        let (progress, _) = mpsc::channel(1);
        let means = Means {
            engine: engine.docker.clone(),
            host: bed.host.clone(),
            key,
            instance: settings.instance.clone(),
            specs_dir: bed.path("specs"),
            contexts: Arc::default(),
            credentials: CredentialSources { config_file: None, search_path: Vec::new() },
            progress,
            looking: Arc::new(Semaphore::new(1)),
            checking_mounts: Arc::new(Semaphore::new(1)),
            owner: settings.owner.clone(),
            clock,
            observer: Arc::new(|_, _, _| {}),
        };
        let executor = Executor::new(means.clone(), store.0.clone());
        Self { bed, engine, executor, means, settings, channel, _store: store, calls: 0 }
    }

    /// Sends a call, and waits for its answer.
    async fn call(&mut self, call: Call) -> Result<Answer, Failure> {
        self.calls += 1;
        let (seq, timeout) = (self.calls, Duration::from_mins(1));
        self.executor.call(seq, None, call, timeout, "a test".to_owned(), Duration::ZERO);
        match self.executor.next().await {
            Some(Input::Answered { answer, .. }) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn target(&self, attempt: u32, kind: AttemptKind, session: Session, ask: Ask) -> RunTarget {
        let record = record(ask);
        let made = run_container(&record, attempt, kind, session, &self.channel, &self.settings);
        let mut target = made.unwrap();
        let mark = (TEST_LABEL.to_owned(), self.engine.mark().to_owned());
        target.target.config.labels.extend([mark]);
        target
    }

    /// Makes an attempt's container.
    async fn create(&mut self, attempt: u32, prompt: &str) -> Result<ContainerId, Failure> {
        let session = Session::Fresh(Some(Uuid::from_u128(7)));
        let ask = Ask::Prompt(prompt.to_owned());
        let target = self.target(attempt, AttemptKind::First, session, ask);
        self.make(target).await
    }

    async fn make(&mut self, target: RunTarget) -> Result<ContainerId, Failure> {
        let name = self.container(target.attempt);
        match self.call(Call::CreateRun { name, target: Arc::new(target) }).await? {
            Answer::Created(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    /// Starts a container as the core does, and waits for its end; answers its exit code.
    async fn run(&mut self, id: &ContainerId) -> i64 {
        let started = self.call(Call::Start { id: id.clone(), target: None }).await;
        assert!(matches!(started, Ok(Answer::Done)), "{started:?}");
        self.engine.docker.wait(id).await.unwrap().status_code
    }

    fn container(&self, attempt: u32) -> ContainerName {
        ContainerName::run(&self.settings.instance, &name("demo"), &name("fix"), attempt)
    }

    fn exit(&self, attempt: u32) -> Option<ExitRecord> {
        exit_record(&self.bed.host.paths, &name("demo"), &name("fix"), attempt)
    }

    fn place(&self, attempt: u32) -> PathBuf {
        self.bed.path("state/channels/demo/runs/fix").join(attempt.to_string())
    }

    /// A file that the agent wrote into its workspace.
    fn wrote(&self, name: &str) -> Vec<u8> {
        fs::read(self.bed.path("home/src/demo").join(name)).unwrap()
    }

    /// The container as the engine shows it to everybody.
    fn shown(id: &ContainerId) -> String {
        let output = docker(&["inspect", id.as_str()]);
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}

fn docker(arguments: &[&str]) -> Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's own client, as an independent witness"
    )]
    let mut command = Command::new("docker");
    command.args(arguments).output().expect("these tests need the docker client")
}

fn channel(bed: &Bed, engine: &TestBed, settings: &Settings, spec: &str) -> DesiredChannel {
    let workspace = &bed.preparation.workspace.path;
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: demo}}\nspec:\n  workspace: {{path: '{workspace}'}}\n  image: {{ref: '{}'}}\n  agent: {{bin: '{workspace}/agent.sh', projectFile: true, credentials: {{secret: anthropic}}}}\n  {spec}",
        engine.image.reference()
    );
    let parsed = chanop::specs::parse::parse_file("a.yaml", &text);
    let Some(Resource::Channel(channel)) = parsed.resources.into_iter().next() else {
        panic!("{:?}", parsed.violations);
    };
    let effective = merge::effective(&channel, None, &settings.owner).unwrap().effective;
    let key = CredentialsFact::ApiKey { hash: "h".to_owned() };
    let facts =
        Facts { credentials: BTreeMap::from([("anthropic".to_owned(), key)]), ..Facts::default() };
    let annotations = BTreeMap::new();
    let shell =
        shell_container(&name("demo"), &effective, &facts, settings, "a.yaml", &annotations);
    DesiredChannel {
        source: SourceRef { file: "a.yaml".to_owned(), line: 1 },
        labels: BTreeMap::new(),
        annotations,
        effective: Some(Arc::new(effective)),
        origins: Arc::default(),
        fingerprint: String::new(),
        verdict: Verdict::Admitted,
        target: Some(Arc::new(shell)),
        git_missing: Vec::new(),
        source_trouble: None,
        removal_held: false,
    }
}

fn record(ask: Ask) -> RunRecord {
    RunRecord {
        id: RunId { name: name("fix"), rerun: 0 },
        channel: name("demo"),
        turn: 1,
        trigger: Trigger::Api,
        revision: None,
        labels: BTreeMap::new(),
        order: Order {
            ask,
            system_prompt: "and kind".to_owned(),
            author: "Ann".to_owned(),
            session: Asked::Fresh,
            fork: false,
            starting_deadline_seconds: 60,
            active_deadline_seconds: None,
            termination_grace_period_seconds: None,
            backoff_limit: None,
            max_turns: Some(3),
            max_budget_usd: None,
            keep_container_seconds: None,
        },
        fingerprint: "f1:abc".to_owned(),
        admitted_at: jiff::Timestamp::UNIX_EPOCH,
        held: false,
        cancel: None,
        first_attempt: 1,
        attempts: Vec::new(),
        next: None,
        not_before: None,
        end: None,
    }
}

#[tokio::test]
async fn a_prompt_arrives_byte_for_byte_and_nothing_of_it_or_of_a_secret_is_shown() {
    let mut place =
        Place::new("cat >got; env >env; for word in \"$@\"; do echo \"$word\"; done").await;
    // More than an argument may have, and than a pipe holds; and not a whole number of lines.
    let long = format!("{MARK} é\n").repeat(100_000) + "end";
    assert!(long.len() > 3_000_000);
    let prompts = [MARK, "--help", "-\n\n", "\u{feff} {\"a\": 1}\r\n", &long];
    for (attempt, prompt) in (1..).zip(prompts) {
        let id = place.create(attempt, prompt).await.unwrap();
        let shown = Place::shown(&id);
        for hidden in [MARK, KEY, TOKEN, "--help"] {
            assert!(!shown.contains(hidden), "{hidden}: {shown}");
        }
        assert_eq!(place.run(&id).await, 0);
        assert!(place.wrote("got") == prompt.as_bytes(), "attempt {attempt}");
        let metadata = fs::metadata(place.place(attempt).join("stdin")).unwrap();
        assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (OWNER, 0o400));
    }
    let env = String::from_utf8(place.wrote("env")).unwrap();
    for line in [
        "CHANOP_CHANNEL=demo",
        "CHANOP_RUN=fix",
        "CHANOP_AUTHOR=Ann",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS=1",
        &format!("GH_TOKEN={TOKEN}"),
    ] {
        assert!(env.lines().any(|found| found == line), "{line}: {env}");
    }
    let id = place.engine.docker.inspect_name(&place.container(1)).await.unwrap().id;
    let (output, _) = place.engine.output(&id).await;
    for word in [
        "--print",
        "--append-system-prompt=and kind",
        "--max-turns=3",
        "--session-id=00000000-0000-0000-0000-000000000007",
        r#"--settings={"apiKeyHelper":"cat /.chanop/secrets/api-key"}"#,
    ] {
        assert!(output.lines().any(|found| found == word), "{word}: {output}");
    }
    assert!(!output.lines().any(|word| word == "--"), "no argument is a prompt: {output}");
}

#[tokio::test]
async fn a_container_that_is_started_again_by_hand_does_not_run_its_command_again() {
    let mut place = Place::new("echo x >>ran; exit 3").await;
    let id = place.create(1, "once").await.unwrap();
    assert_eq!(place.exit(1), None, "it has not run");
    assert_eq!(place.run(&id).await, 3);
    let record = place.exit(1).unwrap();
    assert_eq!(record.exit_code, 3);
    for _ in 0..2 {
        assert!(docker(&["start", id.as_str()]).status.success());
        assert_eq!(place.engine.docker.wait(&id).await.unwrap().status_code, 254);
    }
    assert_eq!(place.wrote("ran"), b"x\n");
    assert_eq!(place.exit(1), Some(record), "what was written down stays");
    let (_, said) = place.engine.output(&id).await;
    assert!(said.contains("chanop-init: the command was started before"), "{said}");
}

#[tokio::test]
async fn every_end_of_a_command_is_written_down() {
    let script = "case $(cat) in killed) kill -KILL $$;; code) exit 7;; esac; trap 'exit 9' TERM; echo; while :; do sleep 0.05; done";
    let mut place = Place::new(script).await;
    for (attempt, prompt, code) in [(1, "killed", 137), (2, "code", 7)] {
        let id = place.create(attempt, prompt).await.unwrap();
        let before = place.means.clock.now().wall;
        assert_eq!(place.run(&id).await, code);
        let record = place.exit(attempt).unwrap();
        assert_eq!(record.exit_code, code, "{prompt}");
        assert!(record.started_at >= before && record.finished_at >= record.started_at);
        assert!(record.finished_at <= place.means.clock.now().wall);
    }
    // Told to stop: the command's own word. Killed with its init: nobody's.
    for (attempt, signal, code) in [(3, "TERM", 9), (4, "KILL", 137)] {
        let id = place.create(attempt, "wait").await.unwrap();
        let started = place.call(Call::Start { id: id.clone(), target: None }).await;
        assert!(matches!(started, Ok(Answer::Done)), "{started:?}");
        while place.engine.docker.inspect(&id).await.unwrap().state.is_live()
            && !docker(&["logs", id.as_str()]).stdout.starts_with(b"\n")
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        assert!(docker(&["kill", "--signal", signal, id.as_str()]).status.success());
        assert_eq!(place.engine.docker.wait(&id).await.unwrap().status_code, code);
        let written = place.exit(attempt).map(|record| record.exit_code);
        assert_eq!(written, (signal == "TERM").then_some(9));
    }
    // A program that is not there.
    fs::remove_file(place.bed.path("home/src/demo/agent.sh")).unwrap();
    let id = place.create(5, "x").await.unwrap();
    assert_eq!(place.run(&id).await, 127);
    assert_eq!(place.exit(5).unwrap().exit_code, 127);
}

#[tokio::test]
async fn an_agent_that_writes_where_its_init_does_harms_its_own_record_alone() {
    let script = "case $(cat) in long) seq 1 300000 >>/.chanop/attempt;; less) : >/.chanop/attempt;; gone) rm -f /.chanop/attempt; echo no >>/.chanop/attempt;; esac; exit 4";
    let mut place = Place::new(script).await;
    for (attempt, prompt) in [(1, "long"), (2, "less"), (3, "gone")] {
        let id = place.create(attempt, prompt).await.unwrap();
        assert_eq!(place.run(&id).await, 4);
        assert_eq!(place.exit(attempt).unwrap().exit_code, 4, "{prompt}");
    }
    // A link that nobody's container can have made is not followed all the same.
    fs::remove_file(place.place(1).join("attempt")).unwrap();
    symlink(place.place(2).join("attempt"), place.place(1).join("attempt")).unwrap();
    assert_eq!(place.exit(1), None);
    assert_eq!(place.exit(9), None);
}

#[tokio::test]
async fn what_an_attempt_has_on_the_host_goes_with_its_container() {
    let mut place = Place::new("exit 0").await;
    let spare = place.create(1, "one").await.unwrap();
    let id = place.create(2, "two").await.unwrap();
    assert_eq!(place.run(&id).await, 0);
    // A create whose answer was lost is sent again, and finds the name taken; what is there can still be started.
    assert!(matches!(place.create(1, "one").await, Err(Failure::NameTaken(_))));
    assert_eq!(place.run(&spare).await, 0);

    let of = |attempt| RunPlace { channel: name("demo"), run: name("fix"), attempt };
    let idle = place.create(3, "three").await.unwrap();
    for (id, attempt, is_unstarted) in [(&id, 2, false), (&idle, 3, true), (&idle, 3, false)] {
        let call = Call::Remove { id: id.clone(), force: false, place: Some(of(attempt)) };
        let removed = place.call(call).await;
        let Ok(Answer::RunRemoved { unstarted }) = removed else { panic!("{removed:?}") };
        assert_eq!(unstarted, is_unstarted, "{attempt}");
    }
    assert!(!place.place(2).exists() && place.place(1).join("stdin").exists());
    let paths = place.bed.host.paths.clone();
    assert_eq!(sweep_run_places(&paths, &|found| *found == of(1)).unwrap(), 0);
    assert_eq!(sweep_run_places(&paths, &|_| false).unwrap(), 1);
    assert!(!place.bed.path("state/channels/demo/runs/fix").exists());
    assert!(place.bed.path("state/channels/demo/passwd").exists());
}

#[tokio::test]
async fn a_run_is_owned_by_its_name_and_leaves_the_shells_files_alone() {
    let mut place = Place::with(
        "exit 0",
        &format!("{SPEC}  files: [{{source: ~/.npmrc, target: ~/.npmrc}}]\n"),
    )
    .await;
    place.bed.write("home/.npmrc", "one");
    let shell = Arc::clone(place.channel.target.as_ref().unwrap());
    let prepare = |occasion| {
        chanop::host::prepare(&shell.preparation, &place.bed.host, occasion).unwrap();
    };
    prepare(chanop::host::Occasion::Create);
    let staged = shell.preparation.staged_file(&place.bed.host.paths, &shell.preparation.files[0]);
    let inodes = |place: &Place| {
        let own = ["passwd", "group", "gitconfig"]
            .map(|name| place.bed.path("state/channels/demo").join(name));
        let mut all: Vec<_> = own.iter().map(|path| fs::metadata(path).unwrap().ino()).collect();
        all.push(fs::metadata(&staged).unwrap().ino());
        all
    };
    let before = inodes(&place);
    place.bed.write("home/.npmrc", "two");
    let id = place.create(1, "x").await.unwrap();
    assert_eq!(inodes(&place), before);
    assert_eq!(fs::read_to_string(&staged).unwrap(), "one");
    let snapshot = place.engine.docker.inspect(&id).await.unwrap();
    let owner = Identity::of(&place.settings.instance, &snapshot.labels, &snapshot.name);
    assert!(matches!(owner, label::Ownership::Ours(_)), "{owner:?}");
    assert_eq!(snapshot.labels[label::SPEC_HASH], "f1:abc");
}

#[tokio::test]
async fn a_projects_file_makes_a_run_smaller_and_a_wrong_one_keeps_it_from_being_made() {
    let spec = format!("{SPEC}  resources: {{limits: {{memory: 1Gi, pids: 100}}}}\n");
    let mut place = Place::with("cat /.chanop/secrets/run-mcp.json; echo \"$@\"", &spec).await;
    place.bed.write(
        "home/src/demo/.chanop/project.yaml",
        "model: haiku\nmcpServers: {db: {command: own}}\nresources: {limits: {memory: 64Mi, pids: 900}}\n",
    );
    let id = place.create(1, "x").await.unwrap();
    let limits = place.engine.docker.inspect(&id).await.unwrap().details.unwrap().limits;
    assert_eq!((limits.memory_bytes, limits.pids), (64 << 20, 100));
    assert_eq!(place.run(&id).await, 0);
    let (output, _) = place.engine.output(&id).await;
    for word in
        ["--model=haiku", "--mcp-config=/.chanop/secrets/run-mcp.json", r#""command":"own""#]
    {
        assert!(output.contains(word), "{word}: {output}");
    }

    place.bed.write("home/src/demo/.chanop/project.yaml", "modle: haiku\n");
    let Err(Failure::Refused(Reason::InvalidSpec, said)) = place.create(2, "x").await else {
        panic!("a run was made");
    };
    assert!(said.contains("project.yaml:1:1: unknown field `modle`"), "{said}");
    fs::remove_file(place.bed.path("home/src/demo/.chanop/project.yaml")).unwrap();
    let Err(Failure::Refused(Reason::InvalidSpec, said)) = place.create(2, " \n").await else {
        panic!("a run was made");
    };
    assert_eq!(said, "the prompt is empty");
    fs::remove_file(place.bed.path("secrets/github/token")).unwrap();
    let failed = place.create(2, "x").await;
    assert!(matches!(failed, Err(Failure::Refused(Reason::SecretMissing, _))), "{failed:?}");
    assert!(place.engine.docker.inspect_name(&place.container(2)).await.is_err());
}

#[tokio::test]
async fn a_session_is_made_shorter_by_a_command_that_is_no_secret_and_reads_nothing() {
    let mut place = Place::new("cat; echo \"$@\"").await;
    let session = Session::Resume(Uuid::from_u128(8));
    let ask = Ask::Prompt(MARK.to_owned());
    let target = place.target(1, AttemptKind::Compact, session, ask);
    assert_eq!(target.task, Task::Compact(Uuid::from_u128(8)));
    let id = place.make(target).await.unwrap();
    assert!(!Place::shown(&id).contains(MARK));
    assert_eq!(place.run(&id).await, 0);
    let (output, _) = place.engine.output(&id).await;
    assert!(
        output.ends_with("--resume=00000000-0000-0000-0000-000000000008 -- /compact\n"),
        "{output}"
    );
    assert_eq!(output.lines().count(), 1, "{output}");
}

#[tokio::test]
async fn a_prompts_file_is_read_beneath_the_spec_directory() {
    let mut place = Place::new("").await;
    fs::create_dir(place.bed.path("specs/prompts")).unwrap();
    fs::write(place.bed.path("specs/prompts/a.md"), "-do it\n").unwrap();
    fs::write(place.bed.path("specs/long.md"), "x".repeat(PROMPT_MAX + 1)).unwrap();
    symlink("/etc/passwd", place.bed.path("specs/out.md")).unwrap();
    let read = |file: &str| Call::ReadPrompt(RelativePath::parse(file).unwrap());
    let found = place.call(read("prompts/a.md")).await;
    assert!(matches!(&found, Ok(Answer::Prompt(text)) if text == "-do it\n"), "{found:?}");
    for (file, reason, said) in [
        ("gone.md", Reason::PromptMissing, "prompt gone.md is not in the spec directory"),
        ("prompts", Reason::InvalidSpec, "prompt prompts is a directory"),
        ("long.md", Reason::InvalidSpec, "prompt long.md is larger than 10 MiB"),
        (
            "out.md",
            Reason::InvalidSpec,
            "prompt out.md is a link that leads out of the spec directory",
        ),
    ] {
        let failed = place.call(read(file)).await.unwrap_err();
        assert_eq!(failed, Failure::Refused(reason, said.to_owned()));
    }
}
