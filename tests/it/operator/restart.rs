//! The engine goes away under the operator, politely and not: an engine of the test's own, in a network namespace of its own
//! (a second one in the host's would take the first one's bridge away).

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::operator::{Ground, Said, program};

/// How long an engine may take to answer, or to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// A Docker engine that is nobody else's.
struct OwnEngine {
    root: TempDir,
    process: Option<Child>,
}

impl OwnEngine {
    fn new() -> Self {
        assert!(rustix::process::geteuid().is_root(), "a second engine needs root");
        // Short: sockets' paths are. Not in memory: overlayfs wants a disk.
        let root = tempfile::Builder::new().prefix("chanop-d").tempdir_in("/var/tmp").unwrap();
        let mut engine = Self { root, process: None };
        engine.start();
        engine
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    fn start(&mut self) {
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        // In its mounts the host's containerd is hidden, so that it starts one of its own; `unshare` and `sh` become
        // dockerd, so that the process is the engine. What belongs to one that was killed would be taken for this one's.
        let script = "ip link set lo up 2>/dev/null; ! test -d /run/containerd || mount -t tmpfs none /run/containerd; \
                      rm -f \"$1/pid\"; exec dockerd --bridge=none --iptables=false --ip6tables=false \
                      --data-root \"$1/data\" --exec-root \"$1/exec\" --pidfile \"$1/pid\" --host \"unix://$1/docker.sock\"";
        let mut command = program("unshare");
        command.args(["-n", "-m", "sh", "-c", script, "sh"]).arg(self.root.path());
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.process = Some(command.spawn().unwrap());
        let clock = chanop::clock::Clock::start();
        while !self.answers() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            assert!(
                ended.is_none() && clock.now().mono < PATIENCE,
                "the engine: {ended:?}\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn answers(&self) -> bool {
        let host = format!("unix://{}", self.socket().display());
        let version = program("docker").args(["--host", &host, "version"]).output().unwrap();
        Said::from(version).code == 0
    }

    fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            let _ = kill_process(Pid::from_child(&process), signal);
            let _ = process.wait();
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.end(Signal::TERM);
        // One that was killed leaves its containerd to the next; the last one stops it, unless it never came up.
        let pid = fs::read_to_string(self.path("exec/containerd/containerd.pid")).ok();
        if let Some(pid) = pid.and_then(|pid| pid.trim().parse().ok()).and_then(Pid::from_raw) {
            let name = fs::read_to_string(Path::new("/proc").join(pid.to_string()).join("cmdline"));
            if name.is_ok_and(|name| name.contains(self.root.path().to_str().unwrap())) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
    }
}

#[test]
fn the_engine_may_stop_or_die_under_the_operator_and_all_shells_run_again_when_it_returns() {
    let mut engine = OwnEngine::new();
    let mut ground = Ground::on(Some(engine.socket()));
    let channels = ["a", "b", "c"];
    for (channel, more) in channels.iter().zip(["", "  network: {mode: None}\n", ""]) {
        ground.channel(&format!("{channel}.yaml"), channel, more);
    }
    ground.start();
    ground.until_converged(&channels);
    let operator = ground.pid();
    for signal in [Signal::TERM, Signal::KILL] {
        let ids: Vec<Value> =
            channels.iter().map(|name| ground.shell(name)["Id"].clone()).collect();
        engine.end(signal);
        ground.until("the operator says that the engine is away", |ground| {
            ground.chanop(&["get", "channels", "-o", "json"]).out.contains("EngineUnavailable")
        });
        assert_eq!(ground.channels().len(), channels.len(), "and forgets nothing");
        engine.start();
        for (channel, id) in channels.iter().zip(&ids) {
            let shell = ground.until_runs(channel, |_| true);
            // An engine that was killed may be unable to start what it left behind; then it is made anew.
            let killed = signal == Signal::KILL;
            assert!(killed || shell["Id"] == *id, "the same container of {channel}");
        }
        ground.until_converged(&channels);
        assert_eq!(ground.pid(), operator);
    }
    // The stream is heard again: a kill is healed long before the next list.
    let before = ground.shell("a");
    ground.docker(&["kill", &ground.container("a")]);
    ground.until_runs("a", |now| now["State"]["StartedAt"] != before["State"]["StartedAt"]);
    drop(ground);
    drop(engine);
}
