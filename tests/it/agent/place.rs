//! Where the CLI runs: a channel's place on the host, the container that is made of it, and what came out.

use std::time::Duration;

use chanop::claude::command::{Bounds, ClaudeCmdBuilder, PromptDelivery, Session};
use chanop::claude::credentials::Credential;
use chanop::claude::environment::{Manner, variables};
use chanop::container::config::{Limits, MountConfig, NetworkMode};
use chanop::container::{ContainerConfig, ContainerId, ImageRef};
use chanop::docker::Engine;
use chanop::init::layout;
use chanop::resource::Effective;
use chanop::world::preparation::support_mounts;
use futures_util::StreamExt;
use serde_json::Value;
use uuid::Uuid;

use crate::bed::{Bed, OWNER, effective};
use crate::support::engine::{TEST_LABEL, TestBed};
use crate::support::mock_api::MockApi;

/// What `make test-agent` makes.
pub(super) const IMAGE: &str = "chanop-test-agent:latest";
/// The key in the channel's secrets.
pub(super) const API_KEY: &str = "sk-of-the-test-and-of-nothing-else";
/// No run of a test takes longer. One has 1 s; the first after the image was made reads 390 MB from the disk.
const PATIENCE: Duration = Duration::from_mins(2);
const MIB: i64 = 1024 * 1024;

/// A channel's workspace, home and secrets, an engine, and an API.
pub(super) struct Place {
    pub(super) engine: TestBed,
    pub(super) api: MockApi,
    host: Bed,
    effective: Effective,
}

/// What is to be run.
#[derive(Debug, Clone)]
pub(super) struct Order<'a> {
    /// What is asked; how it gets there is the product's affair.
    pub(super) prompt: &'a str,
    /// In which conversation.
    pub(super) session: Session,
    /// Its bounds.
    pub(super) bounds: Bounds,
    /// Beside the variables that every run has.
    pub(super) env: &'a [&'a str],
    /// The container's memory.
    pub(super) memory_mib: i64,
    /// The program's name, where it is not the image's that is called.
    pub(super) injected_as: Option<&'a str>,
}

impl<'a> Order<'a> {
    pub(super) fn new(prompt: &'a str) -> Self {
        Self {
            prompt,
            session: Session::Fresh(None),
            bounds: Bounds::default(),
            env: &[],
            memory_mib: 1024,
            injected_as: None,
        }
    }

    pub(super) fn within(self, session: Session) -> Self {
        Self { session, ..self }
    }
}

/// How it ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) exit: i64,
    pub(super) oom_killed: bool,
    /// The lines of standard output, each a JSON object.
    pub(super) events: Vec<Value>,
    pub(super) stderr: String,
}

impl Ended {
    /// The last event of type `result`.
    pub(super) fn result(&self) -> Option<&Value> {
        self.events.iter().rfind(|event| event["type"] == "result")
    }

    /// The session that the last event names.
    pub(super) fn session(&self) -> Uuid {
        let id = self.events.last().and_then(|event| event["session_id"].as_str());
        id.unwrap_or_default().parse().unwrap_or_else(|_| panic!("no session: {self:?}"))
    }

    /// How many events of that type there are.
    pub(super) fn count(&self, kind: &str) -> usize {
        self.events.iter().filter(|event| event["type"] == kind).count()
    }

    /// The first answer of a tool.
    pub(super) fn tool_result(&self) -> Option<&Value> {
        let blocks = self.events.iter().filter_map(|event| event["message"]["content"].as_array());
        blocks.flatten().find(|block| block["type"] == "tool_result")
    }
}

impl Place {
    pub(super) async fn new() -> Self {
        let engine = TestBed::new().await;
        let image = ImageRef::parse(IMAGE).unwrap();
        let have = engine.docker.image(&image).await.unwrap();
        assert!(
            have.is_some(),
            "{IMAGE} is not on the engine: run these tests by `make test-agent`"
        );
        let mut host = Bed::new();
        host.secret("anthropic", "api-key", API_KEY.as_bytes());
        host.preparation.credentials = Some("anthropic".to_owned());
        host.preparation.signs_in_by_key = true;
        host.prepare().unwrap();
        let effective = effective(&host);
        Self { engine, api: MockApi::start().await, host, effective }
    }

    /// The project directory, the same in the container.
    pub(super) fn workspace(&self) -> &str {
        &self.host.preparation.workspace.path
    }

    /// Writes a file of the workspace, the owner's.
    pub(super) fn write(&self, name: &str, text: &str) {
        self.host.write(&format!("home/src/demo/{name}"), text);
    }

    /// Runs it to its end.
    pub(super) async fn run(&self, word: &str, order: Order<'_>) -> Ended {
        let id = self.start(word, order).await;
        self.end(&id).await
    }

    pub(super) async fn start(&self, word: &str, order: Order<'_>) -> ContainerId {
        let config = self.config(word, &order);
        let id = self.engine.docker.create(&self.engine.name(word), &config).await.unwrap();
        self.engine.docker.start(&id).await.unwrap();
        id
    }

    /// Waits for the end and reads everything.
    pub(super) async fn end(&self, id: &ContainerId) -> Ended {
        let waited = tokio::time::timeout(PATIENCE, self.engine.docker.wait(id)).await;
        let exit = waited.expect("the CLI ends").unwrap().status_code;
        let details = self.engine.docker.inspect(id).await.unwrap().details.unwrap();
        let (stdout, stderr) = self.engine.output(id).await;
        let parse =
            |line: &str| serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        Ended {
            exit,
            oom_killed: details.oom_killed,
            events: stdout.lines().map(parse).collect(),
            stderr,
        }
    }

    /// Waits until its standard output has `word` in it.
    pub(super) async fn said(&self, id: &ContainerId, word: &str) {
        let mut output = self.engine.docker.logs(id, true);
        let mut said = Vec::new();
        let heard = async {
            while let Some(chunk) = output.next().await {
                said.extend_from_slice(&chunk.unwrap().bytes);
                if String::from_utf8_lossy(&said).contains(word) {
                    return true;
                }
            }
            false
        };
        let heard = tokio::time::timeout(PATIENCE, heard).await.unwrap_or_default();
        assert!(heard, "never said `{word}`: {}", String::from_utf8_lossy(&said));
    }

    fn config(&self, word: &str, order: &Order<'_>) -> ContainerConfig {
        let preparation = &self.host.preparation;
        let mut mounts = support_mounts(&self.host.host.paths, preparation);
        let bind = |source: &str, target: &str, read_only| MountConfig::Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only,
        };
        mounts.push(bind(self.workspace(), self.workspace(), false));
        mounts.push(MountConfig::Tmpfs {
            target: "/tmp".to_owned(),
            size_bytes: 0,
            exec: false,
            mode: 0o1777,
            owner: None,
        });
        let mut effective = self.effective.clone();
        if let Some(name) = order.injected_as {
            name.clone_into(&mut effective.agent.bin);
        }
        let key = format!("{}/{}", layout::SECRETS, layout::API_KEY_FILE);
        let builder =
            ClaudeCmdBuilder::new(&effective).credential(Credential::ApiKey { file: &key });
        let command = builder.batch(order.session, order.prompt, order.bounds).unwrap();
        let mut entrypoint = vec![layout::INIT, "run"];
        if let PromptDelivery::Stdin(bytes) = &command.prompt {
            let file = format!("stdin-{word}");
            self.host.write(&file, std::str::from_utf8(bytes).unwrap());
            mounts.push(bind(&self.host.text(&file), layout::STDIN, true));
            entrypoint.extend(["--stdin", layout::STDIN]);
        }
        if let Some(name) = order.injected_as {
            mounts.push(bind(&cli(), &format!("{}/{name}", layout::PROGRAMS), true));
        }
        entrypoint.push("--");
        entrypoint.extend(command.argv.iter().map(String::as_str));
        mounts.sort_by(|a, b| a.target().cmp(b.target()));
        ContainerConfig {
            image: IMAGE.to_owned(),
            entrypoint: entrypoint.into_iter().map(str::to_owned).collect(),
            env: self.environment(order),
            working_dir: self.workspace().to_owned(),
            user: format!("{OWNER}:{OWNER}"),
            labels: [(TEST_LABEL.to_owned(), self.engine.mark().to_owned())].into(),
            mounts,
            limits: Limits { nano_cpus: 0, memory_bytes: order.memory_mib * MIB, pids: 4096 },
            cap_drop: vec!["ALL".to_owned()],
            no_new_privileges: true,
            read_only_rootfs: true,
            network: NetworkMode::Named("bridge".to_owned()),
            extra_hosts: vec![MockApi::extra_host()],
            ..ContainerConfig::default()
        }
    }

    /// The CLI's environment but for the key, which comes as a secret does.
    fn environment(&self, order: &Order<'_>) -> Vec<String> {
        let mut env = variables(&self.effective.agent, Some(OWNER), Manner::Batch);
        env.insert("HOME".to_owned(), self.host.preparation.owner.home.clone());
        env.insert("ANTHROPIC_BASE_URL".to_owned(), self.api.url());
        let lines = env.iter().map(|(name, value)| format!("{name}={value}"));
        lines.chain(order.env.iter().map(|line| (*line).to_owned())).collect()
    }
}

/// Where the CLI is on this host.
fn cli() -> String {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own to read")]
    let path = std::env::var("CHANOP_TEST_CLI");
    path.expect("CHANOP_TEST_CLI names the CLI: run these tests by `make test-agent`")
}
