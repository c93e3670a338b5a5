//! A workspace, a home, an API and the CLI, and what the CLI said.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::process::{Command, Stdio};

use chanop::claude::command::{BatchCommand, Bounds, ClaudeCmdBuilder, PromptDelivery, Session};
use chanop::claude::credentials::Credential;
use chanop::claude::environment::{self, Manner};
use chanop::resource::{Effective, Owner, Resource, merge};
use serde_json::Value;

use super::api::Api;

/// What the agent signs in with.
pub(super) const KEY: &str = "sk-ant-api03-of-a-test";

pub(super) struct Bed {
    pub(super) api: Api,
    pub(super) effective: Effective,
    directory: tempfile::TempDir,
    key_file: String,
}

/// What a process of the CLI did.
pub(super) struct Told {
    pub(super) code: i32,
    pub(super) events: Vec<Value>,
    pub(super) stderr: String,
}

impl Bed {
    /// A channel whose `agent` has these fields.
    pub(super) async fn new(agent: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        // The real path, by which the CLI knows its directory.
        let root = directory.path().canonicalize().unwrap().display().to_string();
        for name in ["home", "workspace"] {
            std::fs::create_dir(format!("{root}/{name}")).unwrap();
        }
        let key_file = format!("{root}/the key");
        std::fs::write(&key_file, format!("{KEY}\n")).unwrap();
        let cli = claude();
        let comma = if agent.is_empty() { "" } else { ", " };
        let text = format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: a}}\nspec:\n  workspace: {{path: '{root}/workspace'}}\n  agent: {{bin: '{cli}', model: haiku{comma}{agent}}}\n"
        );
        let parsed = chanop::specs::parse::parse_file("a.yaml", &text);
        assert!(!parsed.has_errors(), "{:?}", parsed.violations);
        let Some(Resource::Channel(channel)) = parsed.resources.into_iter().next() else {
            panic!("no channel in {text}");
        };
        let home = format!("{root}/home");
        let owner = Owner { user: "ann".to_owned(), uid: 1000, gid: 1000, home };
        let effective = merge::effective(&channel, None, &owner).unwrap().effective;
        Self { api: Api::start().await, effective, directory, key_file }
    }

    pub(super) fn key(&self) -> Credential<'_> {
        Credential::ApiKey { file: &self.key_file }
    }

    /// A file beside workspace and home.
    pub(super) fn path(&self, name: &str) -> String {
        self.directory.path().canonicalize().unwrap().join(name).display().to_string()
    }

    /// The environment of a run, with more.
    pub(super) fn env<const N: usize>(&self, more: [(&str, &str); N]) -> BTreeMap<String, String> {
        let uid = rustix::process::geteuid().as_raw();
        let mut env = environment::variables(&self.effective.agent, Some(uid), Manner::Batch);
        let basic = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin"),
            ("HOME", &self.path("home")),
            ("ANTHROPIC_BASE_URL", &self.api.url),
            // A test that fails for want of an answer fails soon.
            ("CLAUDE_CODE_MAX_RETRIES", "0"),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        env.extend(basic.into_iter().chain(more).map(owned));
        env
    }

    pub(super) async fn batch(&self, session: Session, prompt: &str, bounds: Bounds) -> Told {
        let builder = ClaudeCmdBuilder::new(&self.effective).credential(self.key());
        self.run(&builder.batch(session, prompt, bounds).unwrap()).await
    }

    pub(super) async fn run(&self, command: &BatchCommand) -> Told {
        self.run_with(command, &self.env([])).await
    }

    pub(super) async fn run_with(
        &self,
        command: &BatchCommand,
        env: &BTreeMap<String, String>,
    ) -> Told {
        let (command, env) = (command.clone(), env.clone());
        let workspace = self.effective.workspace.path.clone();
        tokio::task::spawn_blocking(move || run(&command, &env, &workspace)).await.unwrap()
    }
}

#[expect(clippy::disallowed_methods, reason = "the CLI itself is what is tested")]
fn run(command: &BatchCommand, env: &BTreeMap<String, String>, workspace: &str) -> Told {
    let (program, arguments) = command.argv.split_first().unwrap();
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .envs(env)
        .current_dir(workspace)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    if let PromptDelivery::Stdin(bytes) = &command.prompt {
        stdin.write_all(bytes).unwrap();
    }
    drop(stdin);
    let output = child.wait_with_output().unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    Told {
        code: output.status.code().unwrap_or(-1),
        events: lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}

#[expect(clippy::disallowed_methods, reason = "how a test is told of the CLI")]
fn claude() -> String {
    std::env::var("CHANOP_TEST_CLI").expect("CHANOP_TEST_CLI names the agent's CLI")
}

impl Told {
    pub(super) fn has(&self, subtype: &str) -> bool {
        self.events.iter().any(|event| event["subtype"] == subtype)
    }

    pub(super) fn init(&self) -> &Value {
        let init = self.events.iter().find(|event| event["subtype"] == "init");
        init.unwrap_or_else(|| panic!("no init: {}", self.stderr))
    }

    /// The one result.
    pub(super) fn result(&self) -> &Value {
        let mut all = self.events.iter().filter(|event| event["type"] == "result");
        let result = all.next().unwrap_or_else(|| panic!("no result: {}", self.stderr));
        assert!(all.next().is_none(), "one answer: {:?}", self.events);
        result
    }

    pub(super) fn session(&self) -> String {
        self.result()["session_id"].as_str().unwrap_or_default().to_owned()
    }

    /// What the commands printed.
    pub(super) fn tool_results(&self) -> String {
        let users = self.events.iter().filter(|event| event["type"] == "user");
        let blocks = users.filter_map(|event| event["message"]["content"].as_array()).flatten();
        blocks.filter_map(|block| block["content"].as_str()).collect()
    }
}
