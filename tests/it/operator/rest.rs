//! What the operator asks of the engine, counted on the way: little to get twelve channels running, and next to nothing after.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use super::table;
use crate::support::operator::Ground;

/// A socket before the engine's that passes everything on and keeps the first line of each request.
struct Counter {
    directory: tempfile::TempDir,
    requests: Arc<Mutex<Vec<String>>>,
}

impl Counter {
    fn new() -> Self {
        let directory = tempfile::Builder::new().prefix("chanop-c").tempdir_in("/var/tmp").unwrap();
        let listener = UnixListener::bind(directory.path().join("docker.sock")).unwrap();
        let requests: Arc<Mutex<Vec<String>>> = Arc::default();
        let seen = Arc::clone(&requests);
        thread::spawn(move || {
            for client in listener.incoming() {
                let (client, seen) = (client.unwrap(), Arc::clone(&seen));
                let engine = UnixStream::connect(Path::new("/var/run/docker.sock")).unwrap();
                let (from, to) = (client.try_clone().unwrap(), engine.try_clone().unwrap());
                thread::spawn(move || pass_on(from, to, |bytes| note(bytes, &seen)));
                thread::spawn(move || pass_on(engine, client, |_| {}));
            }
        });
        Self { directory, requests }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// What was asked since the last time.
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().unwrap())
    }

    /// The same, once the echoes of all that was done are heard, and nothing is looked at any more.
    fn quiet(&self) -> Vec<String> {
        let mut asked = self.take();
        loop {
            thread::sleep(Duration::from_secs(3));
            let more = self.take();
            if more.iter().all(|request| request.contains("/_ping")) {
                return asked;
            }
            asked.extend(more);
        }
    }
}

/// A client sends the head of a request at once, and nothing before the answer to the last one.
fn note(bytes: &[u8], seen: &Mutex<Vec<String>>) {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line).into_owned();
    if line.ends_with(" HTTP/1.1") {
        seen.lock().unwrap().push(line);
    }
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, look: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        look(&buffer[..count]);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// How often each thing was asked, whatever the version and the container.
fn by_kind(requests: &[String]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let path = request.split(['?', ' ']).nth(1).unwrap_or_default();
        let words = path.split('/').filter(|word| !word.starts_with("v1."));
        let words = words.filter(|word| !word.starts_with("chanop_"));
        let words = words.map(|word| if word.len() < 60 { word } else { "ID" }).collect::<Vec<_>>();
        let method = request.split(' ').next().unwrap_or_default();
        *counts.entry(format!("{method} {}", words.join("/"))).or_default() += 1;
    }
    counts
}

/// An agent that has nothing to do and says so, as the CLI says it.
const AGENT: &str = r#"#!/bin/sh
cat >/dev/null
echo '{"type":"system","subtype":"init","session_id":"00000000-0000-4000-8000-000000000007"}'
echo '{"type":"assistant","message":{"id":"m","type":"message","role":"assistant","content":[{"type":"text","text":"done"}]}}'
echo '{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"done"}'
"#;

#[test]
fn a_run_costs_five_calls_a_create_a_start_a_log_an_inspect_and_a_remove() {
    let counter = Counter::new();
    let mut ground = Ground::on(Some(counter.socket()));
    ground.secret("anthropic", "api-key", "sk-of-a-test-of-the-operator");
    let bin = ground.workspace("a").join("agent.sh");
    fs::write(&bin, AGENT).unwrap();
    fs::set_permissions(&bin, fs::Permissions::from_mode(0o755)).unwrap();
    let more = format!(
        "  agent: {{bin: '{}', credentials: {{secret: anthropic}}}}\n  shell: {{enabled: false}}\n  \
         runs: {{keepContainer: 0s}}\n",
        bin.display()
    );
    ground.channel("a.yaml", "a", &more);
    ground.start();
    ground.until_converged(&["a"]);
    // With the first container of all its network is looked up, which is not the run's.
    ground.chanop(&["run", "a", "--name", "first", "--wait", "-p", "go"]).well();
    counter.quiet();
    ground.chanop(&["run", "a", "--name", "second", "--wait", "-p", "go"]).well();
    let mut counts = by_kind(&counter.quiet());
    // These come with time.
    counts.retain(|kind, _| {
        !matches!(kind.as_str(), "GET /_ping" | "GET /containers/json" | "GET /events")
    });
    let five = [
        "DELETE /containers/ID",
        "GET /containers/ID/json",
        "GET /containers/ID/logs",
        "POST /containers/ID/start",
        "POST /containers/create",
    ];
    assert_eq!(counts, five.map(|kind| (kind.to_owned(), 1)).into());
    drop(ground);
}

#[test]
fn twelve_channels_cost_two_writes_each_and_at_rest_a_list_a_minute_and_a_ping_in_fifteen_seconds()
{
    let counter = Counter::new();
    let mut ground = Ground::on(Some(counter.socket()));
    counter.take();
    table::start_twelve(&mut ground, "");
    let asked = counter.quiet();
    let counts = by_kind(&asked);
    let writes: usize =
        counts.iter().filter(|(kind, _)| !kind.starts_with("GET")).map(|(_, n)| n).sum();
    assert_eq!(counts.get("POST /containers/create"), Some(&12), "{counts:?}");
    assert_eq!(counts.get("POST /containers/ID/start"), Some(&12), "{counts:?}");
    // Beside those: the anchor and the network.
    assert_eq!(writes, 26, "{counts:?}");
    assert!(asked.len() <= 26 + 4 * 12, "few looks at each: {counts:?}");

    // Lists come every 48 to 72 seconds, pings 15 after the last answer.
    thread::sleep(Duration::from_secs(45));
    let mut counts = by_kind(&counter.take());
    let mut taken = |kind: &str| counts.remove(kind).unwrap_or_default();
    let (pings, lists, streams) =
        (taken("GET /_ping"), taken("GET /containers/json"), taken("GET /events"));
    assert!((1..=3).contains(&pings), "{pings} pings");
    // Whose the instance is, is read every 40 to 56 seconds.
    assert!(taken("GET /volumes") <= 2);
    assert!(lists <= 1 && streams <= 1, "{lists} lists, {streams} streams");
    assert!(counts.is_empty(), "and nothing else: {counts:?}");
    drop(ground);
}
