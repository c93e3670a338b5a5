//! The agent at a terminal: the operator's whole way from a channel's file to a prompt that answers, and its end.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::place::{API_KEY, IMAGE};
use crate::support::mock_api::MockApi;
use crate::support::operator::Ground;
use crate::support::tmux::Terminal;

/// What the CLI's prompt is waiting behind.
const READY: &str = "bypass permissions on";

struct Place {
    ground: Ground,
    api: MockApi,
}

impl Place {
    /// An operator with one channel of the agent's image, which runs and signs in by a key; `agent` are further fields of its
    /// agent.
    async fn new(agent: &str) -> Self {
        Self::with_credential("api-key", API_KEY, agent).await
    }

    async fn with_credential(kind: &str, value: &str, agent: &str) -> Self {
        let mut ground = Ground::new();
        let api = MockApi::start().await;
        ground.secret("anthropic", kind, value);
        ground.workspace("a");
        let more = format!(
            "  env: [{{name: ANTHROPIC_BASE_URL, value: '{}'}}]\n  agent: {{model: haiku, credentials: {{secret: anthropic}}{agent}}}\n",
            api.url()
        );
        let text = ground.channel_text("a", "", &more).replace(&ground.image, IMAGE);
        ground.write("a.yaml", &text);
        ground.start();
        ground.until_converged(&["a"]);
        Self { ground, api }
    }

    /// `chanop` with these words, at a terminal.
    fn terminal(&self, number: u8, words: &str) -> Terminal {
        let chanop = env!("CARGO_BIN_EXE_chanop");
        let socket = self.ground.path("run/c.sock");
        let command = format!("CHANOP_SOCKET='{}' exec {chanop} {words}", socket.display());
        Terminal::open(self.ground.path(&format!("tmux-{number}")), &command)
    }

    /// Until the screen shows this.
    fn sees(&mut self, terminal: &Terminal, word: &str) {
        let what = format!("`{word}` on the screen");
        self.ground.until_seen(&what, || terminal.screen().contains(word), || terminal.screen());
    }

    /// The commands of the container's processes.
    fn processes(&self) -> String {
        self.ground.docker(&["top", &self.ground.container("a"), "-eo", "pid,args"])
    }

    fn ended(&mut self) {
        self.ground.until("the CLI has ended in the container", |ground| {
            let top = ground.docker(&["top", &ground.container("a"), "-eo", "pid,args"]);
            !top.contains("claude") && !top.contains("leash")
        });
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_person_talks_to_the_agent_without_a_dialog_and_it_ends_with_the_terminal() {
    let mut place = Place::new("").await;
    let terminal = place.terminal(1, "agent a");
    place.sees(&terminal, READY);
    assert!(place.processes().contains("claude"), "{}", place.processes());
    terminal.types("hello [[mock:text]]");
    terminal.press("Enter");
    place.sees(&terminal, "Hello from the mock API.");
    let requests = place.api.messages_with("hello [[mock:");
    assert_eq!(requests[0].headers["x-api-key"], API_KEY);

    // The CLI draws its lines as long as the terminal is wide.
    terminal.resize(70, 30);
    let line = "─".repeat(70);
    place.sees(&terminal, &line);

    kill_process(Pid::from_raw(terminal.pid()).unwrap(), Signal::KILL).unwrap();
    place.ended();

    let again = place.terminal(2, "agent a --session latest");
    place.sees(&again, "Hello from the mock API.");
    place.sees(&again, READY);
    again.types("again [[mock:usage:7:3]]");
    again.press("Enter");
    place.sees(&again, "Counted.");
    let body = place.api.messages_with("again [[mock:")[0].body.to_string();
    assert!(body.contains("hello [[mock:"), "what was said before is known");
    drop(again);
    place.ended();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_token_signs_in_without_a_dialog_and_is_hidden_from_the_agents_commands() {
    let token = "sk-ant-oat01-of-the-test";
    let mut place = Place::with_credential("oauth-token", token, "").await;
    let terminal = place.terminal(1, "agent a");
    place.sees(&terminal, READY);
    terminal.types("env [[mock:env]]");
    terminal.press("Enter");
    place.sees(&terminal, "Done: the tool answered.");
    let requests = place.api.messages_with("env [[mock:env]]");
    assert_eq!(requests[0].headers["authorization"], format!("Bearer {token}"));
    let seen = requests.last().unwrap().body.to_string();
    assert!(seen.contains("CHANOP_CHANNEL=a") && !seen.contains(token), "{seen}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn the_key_is_in_no_environment_and_a_cli_started_by_hand_signs_in_all_the_same() {
    let mut place = Place::new("").await;
    let script = "claude --print --dangerously-skip-permissions --model haiku 'by hand [[mock:env]]' </dev/null; env";
    let said = place.ground.exec("a", script).well();
    assert!(said.contains("Done: the tool answered."), "{said}");
    assert!(!said.contains(API_KEY), "{said}");
    let requests = place.api.messages_with("by hand");
    assert_eq!(requests[0].headers["x-api-key"], API_KEY);
    let seen: Value = requests.last().unwrap().body.clone();
    assert!(seen.to_string().contains("CHANOP_CHANNEL=a") && !seen.to_string().contains(API_KEY));
    let inspected = place.ground.shell("a").to_string();
    assert!(!inspected.contains(API_KEY));
    place.ended();
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn what_the_project_says_counts_at_the_next_start_and_a_mistake_in_it_is_told() {
    let mut place = Place::new(", projectFile: true").await;
    let directory = place.ground.path("home/src/a/.chanop");
    fs::create_dir(&directory).unwrap();
    let write = |text: &str| fs::write(directory.join("project.yaml"), text).unwrap();
    write("modle: x\n");
    let refused = place.terminal(1, "agent a");
    place.sees(&refused, "unknown field `modle`");
    let before = place.ground.shell("a")["Id"].clone();

    write(
        "systemPrompt: RULES-OF-THE-PROJECT\nmcpServers: {s: {command: sh, args: [-c, 'echo $W >/tmp/server'], env: {W: word}}}\n",
    );
    let terminal = place.terminal(2, "agent a");
    place.sees(&terminal, READY);
    terminal.types("rules [[mock:text]]");
    terminal.press("Enter");
    place.sees(&terminal, "Hello from the mock API.");
    let body = place.api.messages_with("rules [[mock:")[0].body.to_string();
    assert!(body.contains("RULES-OF-THE-PROJECT"));
    assert_eq!(place.ground.exec("a", "cat /tmp/server").well(), "word\n");
    assert_eq!(place.ground.shell("a")["Id"], before, "none of it needs a new container");
}
