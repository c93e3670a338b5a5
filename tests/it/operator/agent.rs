//! How the agent is called in a channel's shell, and that it ends with its terminal. The agent is a script here, so that what
//! it gets can be seen; the real one is in `agent::interactive`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Stdio;

use serde_json::json;

use super::life::on_a_terminal;
use crate::support::operator::{Ground, program};

const ID: &str = "00000000-0000-4000-8000-000000000007";
const KEY: &str = "sk-of-a-test-of-the-operator";

/// An operator with one channel that runs, whose agent is this script; `more` are further fields of the agent.
fn with_agent(script: &str, more: &str) -> Ground {
    let mut ground = Ground::new();
    ground.secret("anthropic", "api-key", KEY);
    ground.secret("db", "password", "one");
    ground.workspace("a");
    let bin = ground.path("home/src/a/agent.sh");
    fs::write(&bin, format!("#!/bin/sh\n{script}\n")).unwrap();
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    ground.channel("a.yaml", "a", &agent(&ground, more));
    ground.start();
    ground.until_converged(&["a"]);
    ground
}

fn agent(ground: &Ground, more: &str) -> String {
    let bin = ground.path("home/src/a/agent.sh");
    format!("  agent: {{bin: '{}', credentials: {{secret: anthropic}}{more}}}\n", bin.display())
}

const TELLS: &str =
    r#"for word in "$0" "$@"; do echo "<$word>"; done; env; cat /.chanop/secrets/mcp.json"#;
const SERVER: &str = ", mcpServers: {db: {command: npx, env: {P: {valueFrom: {secretKeyRef: {name: db, key: password}}}}}}";

#[test]
fn what_the_agent_is_started_with_is_read_at_each_start_and_needs_no_new_container() {
    let mut ground = with_agent(TELLS, SERVER);
    let before = ground.shell("a")["Id"].clone();
    let seen = on_a_terminal(&ground, "agent a", "");
    let settings = r#"<--settings={"apiKeyHelper":"cat /.chanop/secrets/api-key"}>"#;
    for word in [
        "<--permission-mode=bypassPermissions>",
        "<--setting-sources=user>",
        "<--mcp-config=/.chanop/secrets/mcp.json>",
        "DISABLE_TELEMETRY=1",
        r#""env":{"P":"one"}"#,
        settings,
    ] {
        assert!(seen.contains(word), "{word}: {seen}");
    }
    assert!(!seen.contains(KEY) && !seen.contains("--resume"), "{seen}");
    assert!(seen.contains("exit 0"), "{seen}");
    let managed = ground.exec("a", "cat /etc/claude-code/managed-settings.d/50-chanop.json").well();
    assert_eq!(managed, r#"{"apiKeyHelper":"cat /.chanop/secrets/api-key"}"#);
    let answers = ground.exec("a", "cat ~/.claude.json").well();
    assert!(answers.contains("hasTrustDialogAccepted"), "{answers}");

    ground.secret("db", "password", "two");
    ground.channel("a.yaml", "a", &agent(&ground, &format!("{SERVER}, model: newer")));
    ground.until("the file is read", |ground| {
        ground.shown("a")["spec"]["agent"]["model"] == json!("newer")
    });
    let seen = on_a_terminal(&ground, "agent a", "");
    assert!(seen.contains("<--model=newer>") && seen.contains(r#""env":{"P":"two"}"#), "{seen}");
    ground.until_converged(&["a"]);
    assert_eq!(ground.shell("a")["Id"], before);

    fs::remove_file(ground.path("secrets/db/password")).unwrap();
    ground.chanop(&["reconcile"]).well();
    let message = ground.until_reason("a", "Ready", "SecretMissing");
    assert!(message.contains("spec.agent.mcpServers.db.env.P"), "{message}");
}

#[test]
fn a_session_is_gone_on_in_by_name_or_as_the_newest() {
    let ground = with_agent(r#"echo "$@""#, "");
    let seen = on_a_terminal(&ground, "agent a --session latest", "");
    assert!(seen.contains("there is no session yet") && !seen.contains("--resume"), "{seen}");
    ground
        .exec(
            "a",
            &format!(
                "mkdir -p ~/.claude/projects/-x; echo '{{}}' >~/.claude/projects/-x/{ID}.jsonl"
            ),
        )
        .well();
    for (words, expected) in [
        ("agent a --session latest", format!("--resume={ID}")),
        (&format!("agent a --session {ID} --fork"), format!("--resume={ID} --fork-session")),
    ] {
        let seen = on_a_terminal(&ground, words, "");
        assert!(seen.contains(&expected), "{words}: {seen}");
    }
    for (words, expected) in [
        ("agent a --session newest", "is no session"),
        ("agent a --fork", "nothing to fork"),
        ("agent b", "there is no channel"),
    ] {
        let seen = on_a_terminal(&ground, words, "");
        assert!(seen.contains(expected) && seen.contains("exit 1"), "{words}: {seen}");
    }
    let piped = ground.chanop(&["agent", "a"]);
    assert_eq!(piped.code, 1);
    assert!(piped.err.contains("needs a terminal"), "{}", piped.err);
}

/// Runs `chanop` with these words on a terminal that is taken away as soon as the file `here` of the workspace is there.
fn on_a_terminal_that_goes(ground: &mut Ground, words: &str) {
    let command = format!("{} {words}", env!("CARGO_BIN_EXE_chanop"));
    let mut script = program("script");
    script.args(["--quiet", "--command", &command, "/dev/null"]);
    script.env("CHANOP_SOCKET", ground.path("run/c.sock"));
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut script = script.spawn().expect("this test needs script(1), of util-linux");
    ground.until("the command runs", |ground| ground.path("home/src/a/here").exists());
    script.kill().unwrap();
    script.wait().unwrap();
    fs::remove_file(ground.path("home/src/a/here")).unwrap();
}

/// Until nobody is in the channel's shell.
fn until_alone(ground: &mut Ground) {
    ground.until("nothing runs in the shell but its init", |ground| {
        ground.docker(&["top", &ground.container("a"), "-eo", "pid"]).lines().count() == 2
    });
}

#[test]
fn a_terminal_that_goes_away_hangs_up_on_its_agent_and_on_its_commands() {
    let mut ground = with_agent(
        "trap 'echo hung up >hung; exit' HUP; touch here; while :; do sleep 0.1; done",
        "",
    );
    on_a_terminal_that_goes(&mut ground, "agent a");
    until_alone(&mut ground);
    assert_eq!(fs::read_to_string(ground.path("home/src/a/hung")).unwrap(), "hung up\n");

    on_a_terminal_that_goes(&mut ground, "exec a -- sh -c 'touch here; exec sleep 1000'");
    until_alone(&mut ground);
    // One that wants to stay may; only the agent may not.
    on_a_terminal_that_goes(
        &mut ground,
        "exec a -- sh -c 'trap \"\" HUP; touch here; sleep 2; touch stayed'",
    );
    ground.until("it went on", |ground| ground.path("home/src/a/stayed").exists());
    until_alone(&mut ground);
}

#[test]
fn an_agent_that_does_not_heed_that_its_terminal_is_gone_is_killed() {
    let mut ground = with_agent("trap '' HUP TERM; touch here; while :; do sleep 0.1; done", "");
    on_a_terminal_that_goes(&mut ground, "agent a");
    until_alone(&mut ground);
}
