//! What is written and read each time that the agent is started, where the agent itself may have been before.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

use chanop::host::{PrepareError, SignIn, newest_session, prepare_agent, project_file};
use chanop::init::secrets;
use chanop::resource::condition::Reason;
use chanop::resource::effective::{EnvValue, EnvVar, Home, McpServer, SecretKeyRef};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::bed::{Bed, OWNER, effective};

/// A bed whose container was made.
fn prepared() -> Bed {
    let bed = Bed::new();
    bed.prepare().unwrap();
    bed
}

fn start(bed: &Bed) -> Result<chanop::host::AgentPlace, PrepareError> {
    prepare_agent(&bed.preparation, &effective(bed), &bed.host)
}

fn server(env: Vec<EnvVar>) -> BTreeMap<String, McpServer> {
    let server = McpServer { command: "npx".to_owned(), args: vec![], env, url: String::new() };
    BTreeMap::from([("db".to_owned(), server)])
}

/// Names and values that every command of the container has.
fn exported(bed: &Bed) -> Vec<(String, String)> {
    let bytes = fs::read(bed.path("run/secrets/demo/env")).unwrap();
    let pair = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
        (name.into_string().unwrap(), value.into_string().unwrap())
    };
    secrets::decode(&bytes).unwrap().into_iter().map(pair).collect()
}

#[test]
fn a_token_is_exported_and_a_key_is_not() {
    let mut bed = Bed::new();
    bed.preparation.credentials = Some("anthropic".to_owned());
    let token = bed.secret("anthropic", "oauth-token", b"t");
    bed.prepare().unwrap();
    assert_eq!(exported(&bed), [("CLAUDE_CODE_OAUTH_TOKEN".to_owned(), "t".to_owned())]);
    assert!(!bed.path("run/secrets/demo/api-key").exists());
    assert!(!bed.path("state/channels/demo/managed-settings.json").exists());

    fs::remove_file(&token).unwrap();
    bed.secret("anthropic", "api-key", b"k\n");
    bed.preparation.signs_in_by_key = true;
    bed.prepare().unwrap();
    assert_eq!(exported(&bed), []);
    let file = bed.path("run/secrets/demo/api-key");
    assert_eq!(fs::read(&file).unwrap(), b"k");
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (OWNER, 0o400));
    let settings = fs::read(bed.path("state/channels/demo/managed-settings.json")).unwrap();
    assert_eq!(
        serde_json::from_slice::<Value>(&settings).unwrap(),
        json!({ "apiKeyHelper": "cat /.chanop/secrets/api-key" })
    );

    // What was changed since reaches the next start of the agent, and what is gone is nowhere.
    bed.secret("anthropic", "api-key", b"rotated");
    assert_eq!(start(&bed).unwrap().sign_in, Some(SignIn::ApiKey));
    assert_eq!(fs::read(&file).unwrap(), b"rotated");
    fs::remove_file(bed.path("secrets/anthropic/api-key")).unwrap();
    bed.secret("anthropic", "oauth-token", b"t");
    assert_eq!(start(&bed).unwrap().sign_in, Some(SignIn::OauthToken));
    assert!(!file.exists());
}

#[test]
fn servers_and_their_secrets_are_written_as_they_are_at_each_start() {
    let mut bed = Bed::new();
    let reference = SecretKeyRef { name: "db".to_owned(), key: "password".to_owned() };
    let variable = EnvVar { name: "P".to_owned(), value: EnvValue::Secret(reference) };
    bed.preparation.mcp_servers = server(vec![variable]);
    let missing = bed.prepare().unwrap_err();
    assert_eq!(missing.reason(), Reason::SecretMissing);
    assert_eq!(missing.to_string(), "secret db/password: it is not there");
    bed.secret("db", "password", b"\xff\xfe");
    let said = bed.prepare().unwrap_err().to_string();
    assert_eq!(said, "secret db/password: it is not UTF-8, as a server's must be");

    bed.secret("db", "password", b"one");
    bed.prepare().unwrap();
    let written = || {
        let file = bed.path("run/secrets/demo/mcp.json");
        let metadata = fs::metadata(&file).unwrap();
        assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (OWNER, 0o400));
        serde_json::from_slice::<Value>(&fs::read(file).unwrap()).unwrap()
    };
    assert_eq!(written()["mcpServers"]["db"]["env"]["P"], "one");
    bed.secret("db", "password", b"two");
    start(&bed).unwrap();
    assert_eq!(written()["mcpServers"]["db"]["env"]["P"], "two");
    let mut bed = bed;
    bed.preparation.mcp_servers.clear();
    start(&bed).unwrap();
    let text = fs::read_to_string(bed.path("run/secrets/demo/mcp.json")).unwrap();
    assert_eq!(text, r#"{"mcpServers":{}}"#, "a secret that nobody asks for is gone");
}

#[test]
fn the_first_questions_are_answered_in_the_channels_home_and_nothing_else_is_changed() {
    let bed = prepared();
    let file = bed.path("state/homes/demo/.claude.json");
    assert_eq!(start(&bed).unwrap().notes, [""; 0]);
    let metadata = fs::metadata(&file).unwrap();
    assert_eq!((metadata.uid(), metadata.permissions().mode() & 0o7777), (OWNER, 0o600));
    let read = || serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).unwrap();
    let workspace = &bed.preparation.workspace.path;
    assert_eq!(read()["projects"][workspace]["hasTrustDialogAccepted"], true);
    start(&bed).unwrap();
    assert_eq!(fs::metadata(&file).unwrap().ino(), metadata.ino(), "it has all the answers");

    fs::write(&file, r#"{"theme":"dark","hasCompletedOnboarding":false}"#).unwrap();
    start(&bed).unwrap();
    assert_eq!(
        (&read()["theme"], &read()["hasCompletedOnboarding"]),
        (&json!("dark"), &json!(true))
    );
}

#[test]
fn damaged_answers_file_is_moved_aside_and_a_link_left_alone() {
    let bed = prepared();
    let file = bed.path("state/homes/demo/.claude.json");
    bed.write("home/victim", r#"{"a":1}"#);
    symlink(bed.path("home/victim"), &file).unwrap();
    assert_eq!(start(&bed).unwrap().notes, ["~/.claude.json is a link: it is left alone"]);
    assert_eq!(fs::read_to_string(bed.path("home/victim")).unwrap(), r#"{"a":1}"#);
    fs::remove_file(&file).unwrap();
    fs::write(&file, "[]").unwrap();
    let moved = |number| {
        format!("~/.claude.json was not a JSON object: moved to ~/.claude.json.damaged-{number}")
    };
    assert_eq!(start(&bed).unwrap().notes, [moved(1)]);
    assert!(serde_json::from_slice::<Value>(&fs::read(&file).unwrap()).unwrap().is_object());
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(start(&bed).unwrap().notes, [moved(2)]);
    assert!(file.is_file() && bed.path("state/homes/demo/.claude.json.damaged-2").is_dir());
    // A link where the new file would be written first is not gone through either.
    fs::remove_file(&file).unwrap();
    symlink(bed.path("home/victim"), bed.path("state/homes/demo/..claude.json.new")).unwrap();
    assert_eq!(start(&bed).unwrap().notes, [""; 0]);
    assert_eq!(fs::read_to_string(bed.path("home/victim")).unwrap(), r#"{"a":1}"#);
    let mut bed = bed;
    bed.preparation.home = Home::Tmpfs;
    assert!(start(&bed).unwrap().notes[0].contains("first questions"));
}

#[test]
fn a_project_file_is_read_where_it_is_and_nowhere_else() {
    let bed = Bed::new();
    let read = || project_file(&bed.preparation.workspace.path);
    assert_eq!(read().unwrap(), None);
    bed.write("home/src/demo/.chanop/project.yaml", "model: haiku\n");
    assert_eq!(read().unwrap().unwrap(), b"model: haiku\n");

    let file = bed.path("home/src/demo/.chanop/project.yaml");
    bed.write("home/secret", "model: opus\n");
    fs::remove_file(&file).unwrap();
    symlink(bed.path("home/secret"), &file).unwrap();
    assert!(matches!(read(), Err(PrepareError::NotReal(_))));
    fs::remove_file(&file).unwrap();
    fs::write(&file, "x".repeat(256 * 1024 + 1)).unwrap();
    assert!(matches!(read(), Err(PrepareError::TooLong { .. })));
    fs::remove_file(&file).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &file, rustix::fs::Mode::RWXU).unwrap();
    assert!(matches!(read(), Err(PrepareError::Io { .. })), "a pipe is not waited for");
    fs::remove_dir_all(bed.path("home/src/demo/.chanop")).unwrap();
    bed.write("home/elsewhere/project.yaml", "model: opus\n");
    symlink(bed.path("home/elsewhere"), bed.path("home/src/demo/.chanop")).unwrap();
    assert!(matches!(read(), Err(PrepareError::NotReal(_))));
}

#[test]
fn the_newest_session_is_the_one_that_was_written_to_last() {
    let bed = prepared();
    let newest = || newest_session(&bed.host, &bed.preparation.channel).unwrap();
    assert_eq!(newest(), None);
    #[expect(clippy::disallowed_methods, reason = "files have the system's time")]
    let now = SystemTime::now();
    let put = |path: &str, ago: u64, content: &str| {
        let path = bed.path("state/homes/demo/.claude/projects").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        let file = fs::File::options().write(true).open(&path).unwrap();
        file.set_modified(now - Duration::from_secs(ago)).unwrap();
        chown(&path, Some(OWNER), Some(OWNER)).unwrap();
    };
    let id = |number| Uuid::from_u128(number);
    put(&format!("-a/{}.jsonl", id(1)), 30, "{}");
    put(&format!("-b/{}.jsonl", id(2)), 20, "{}");
    put(&format!("-a/{}.jsonl", id(3)), 40, "{}");
    assert_eq!(newest(), Some(id(2)));
    // Newer, and no sessions: a subagent's, an empty one, another file, and links out.
    put("-b/agent-1234.jsonl", 1, "{}");
    put(&format!("-b/{}.jsonl", id(4)), 1, "");
    put(&format!("-b/{}.json", id(5)), 1, "{}");
    put(&format!("{}.jsonl", id(6)), 1, "{}");
    let projects = bed.path("state/homes/demo/.claude/projects");
    let outside = bed.path("home/out");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join(format!("{}.jsonl", id(7))), "{}").unwrap();
    symlink(&outside, projects.join("-c")).unwrap();
    symlink(outside.join(format!("{}.jsonl", id(7))), projects.join(format!("-a/{}.jsonl", id(8))))
        .unwrap();
    assert_eq!(newest(), Some(id(2)));
    put(&format!("-a/{}.jsonl", id(1)), 10, "{}");
    assert_eq!(newest(), Some(id(1)));

    fs::remove_dir_all(&projects).unwrap();
    symlink(&outside, &projects).unwrap();
    let error = newest_session(&bed.host, &bed.preparation.channel).unwrap_err();
    assert!(matches!(error, PrepareError::NotReal(_)), "{error}");
    assert!(Path::new(&outside).exists());
}
