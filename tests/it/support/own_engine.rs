//! A Docker engine that is nobody else's, with a containerd that outlives it, as where a service manager starts both.
//!
//! It has a data directory, sockets, cgroups, and namespaces for networks and mounts of its own: a second engine in the
//! host's network would take the first one's bridge away. When it is dropped, nothing of it is left, however the test
//! ended; [`OwnEngine::leftovers`] says whether that is so.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use chanop::clock::Clock;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::operator::{Said, program};

/// How long an engine may take to answer, or to stop.
const PATIENCE: Duration = Duration::from_mins(1);
/// How long what was killed may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(10);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);

/// See the module.
pub(crate) struct OwnEngine {
    /// Its namespace of mounts. Held open, or the next one on this machine could get its number, and processes that are not
    /// ours would be taken for ours.
    namespace: Option<File>,
    root: TempDir,
    containerd: Child,
    process: Option<Child>,
    /// Flags beside those that every engine here has.
    pub(crate) flags: Vec<String>,
    /// The directory of its data, below the root.
    data: &'static str,
}

impl OwnEngine {
    pub(crate) fn new() -> Self {
        Self::with_mounts("true")
    }

    /// An engine in whose namespace of mounts this script was run first; `$1` is its root.
    pub(crate) fn with_mounts(script: &str) -> Self {
        assert!(rustix::process::geteuid().is_root(), "a second engine needs root");
        // Short: sockets' paths are. Not in memory: overlayfs wants a disk.
        let root = tempfile::Builder::new().prefix("chanop-d").tempdir_in("/var/tmp").unwrap();
        // `unshare` becomes containerd, whose namespaces the engine joins: what one mounts, the other sees.
        let script = format!("{OWN_SETTINGS} && {script} && {CONTAINERD}");
        let mut command = program("unshare");
        command.args(["-n", "-m", "sh", "-c", &script, "sh"]).arg(root.path());
        let containerd = logged(&mut command, root.path());
        let mut engine = Self {
            root,
            containerd,
            namespace: None,
            process: None,
            flags: Vec::new(),
            data: "data",
        };
        engine.start();
        engine
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("docker.sock")
    }

    /// Its process.
    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(self.process.as_ref().expect("the engine runs"))
    }

    /// Starts the engine, and waits until it answers.
    pub(crate) fn start(&mut self) {
        let clock = Clock::start();
        while !self.path("ctd.sock").exists() {
            assert!(clock.now().mono < PATIENCE, "containerd: {}", self.log());
            std::thread::sleep(LOOK);
        }
        if self.namespace.is_none() {
            let pid = self.containerd.id();
            self.namespace = Some(File::open(format!("/proc/{pid}/ns/mnt")).unwrap());
        }
        // A process ID that a killed engine left would be taken for another running one.
        let script = "root=$1 data=$2 group=$3; shift 3; rm -f \"$root/pid\"; ip link set lo up 2>/dev/null; \
                      exec dockerd --containerd \"$root/ctd.sock\" --bridge=none --iptables=false \
                      --ip6tables=false --data-root \"$root/$data\" --exec-root \"$root/exec\" \
                      --pidfile \"$root/pid\" --host \"unix://$root/docker.sock\" \
                      --cgroup-parent \"$group\" \"$@\"";
        let mut command = self.inside();
        command.args(["sh", "-c", script, "sh"]).arg(self.root.path()).arg(self.data);
        command.arg(format!("/{}", self.cgroup())).args(&self.flags);
        self.process = Some(logged(&mut command, self.root.path()));
        while !self.answers() {
            let ended = self.process.as_mut().unwrap().try_wait().unwrap();
            let late = clock.now().mono > PATIENCE;
            assert!(ended.is_none() && !late, "the engine: {ended:?}\n{}", self.log());
            std::thread::sleep(LOOK);
        }
    }

    /// Ends the engine; its containerd stays.
    pub(crate) fn end(&mut self, signal: Signal) {
        if let Some(mut process) = self.process.take() {
            let pid = Pid::from_child(&process);
            // Stopped, it would not hear.
            let _ = kill_process(pid, Signal::CONT);
            let _ = kill_process(pid, signal);
            let _ = process.wait();
        }
    }

    /// The next one that starts is another engine: without data, and with an identity of its own.
    pub(crate) fn become_another(&mut self) {
        self.data = "other";
        // Docker 20.10 has its identity there, newer ones have it with their data.
        let said = self.inside().args(["rm", "-f", "/etc/docker/key.json"]).output().unwrap();
        Said::from(said).well();
    }

    /// Kills containerd and starts another one, under an engine that runs.
    pub(crate) fn replace_containerd(&mut self, between: impl FnOnce()) {
        let _ = self.containerd.kill();
        let _ = self.containerd.wait();
        between();
        let _ = fs::remove_file(self.path("ctd.sock"));
        let mut command = self.inside();
        command.args(["sh", "-c", CONTAINERD, "sh"]).arg(self.root.path());
        self.containerd = logged(&mut command, self.root.path());
    }

    /// A command in its namespaces.
    pub(crate) fn inside(&self) -> Command {
        let member = self.process.as_ref().unwrap_or(&self.containerd);
        let mut command = program("nsenter");
        command.args(["-t", &member.id().to_string(), "-n", "-m"]);
        command
    }

    /// Sends a signal to the shim of a container.
    pub(crate) fn kill_shim(&self, container: &str) {
        let shim = self.processes().into_iter().find(|pid| {
            let line = command_line(*pid);
            line.contains("containerd-shim") && line.contains(container)
        });
        kill(shim.expect("the container has a shim"));
    }

    fn answers(&self) -> bool {
        let host = format!("unix://{}", self.socket().display());
        let version = program("docker").args(["--host", &host, "version"]).output().unwrap();
        Said::from(version).code == 0
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The group of all its containers, in every hierarchy.
    fn cgroup(&self) -> String {
        self.root.path().file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Every process that is its, or in one of its containers: named after its directory, or with its mounts.
    fn processes(&self) -> BTreeSet<i32> {
        let root = self.root.path().to_str().unwrap();
        let here = mount_namespace("self");
        let its = self.namespace.as_ref().map(|it| it.metadata().unwrap().ino());
        let all = fs::read_dir("/proc")
            .unwrap()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<i32>().ok());
        all.filter(|pid| {
            let namespace = mount_namespace(&pid.to_string());
            let mounts = || fs::read_to_string(format!("/proc/{pid}/mountinfo"));
            namespace.is_some()
                && namespace != here
                && (namespace == its || mounts().unwrap_or_default().contains(root))
        })
        .collect()
    }

    /// Ends it, and says what is left of it on this machine: processes, mounts and cgroups. Namespaces live only as long as
    /// the processes in them.
    pub(crate) fn leftovers(&mut self) -> Vec<String> {
        self.tear_down();
        let mut left: Vec<String> =
            self.processes().iter().map(|pid| format!("{pid}: {}", command_line(*pid))).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let root = self.root.path().to_str().unwrap();
        left.extend(mounts.lines().filter(|line| line.contains(root)).map(str::to_owned));
        left.extend(self.cgroups().iter().map(|path| path.display().to_string()));
        left
    }

    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.cgroup();
        let below = fs::read_dir("/sys/fs/cgroup").into_iter().flatten();
        let hierarchies = below.filter_map(|entry| Some(entry.ok()?.path()));
        let all = hierarchies.chain([PathBuf::from("/sys/fs/cgroup")]);
        all.map(|hierarchy| hierarchy.join(&name)).filter(|path| path.exists()).collect()
    }

    fn tear_down(&mut self) {
        self.end(Signal::TERM);
        let clock = Clock::start();
        // Containers that outlived it, and their shims, which would else outlive everything.
        loop {
            let all = self.processes();
            all.iter().copied().for_each(kill);
            let _ = self.containerd.wait();
            if all.is_empty() || clock.now().mono > GONE_WITHIN {
                break;
            }
            std::thread::sleep(LOOK);
        }
        // A process that ends leaves its mounts before its group.
        let clock = Clock::start();
        loop {
            for group in self.cgroups() {
                remove_group(&group);
            }
            if self.cgroups().is_empty() || clock.now().mono > GONE_WITHIN {
                break;
            }
            std::thread::sleep(LOOK);
        }
    }
}

impl Drop for OwnEngine {
    fn drop(&mut self) {
        self.tear_down();
    }
}

/// Neither the machine's settings nor its engine's identity are read.
const OWN_SETTINGS: &str = "mkdir -p /etc/docker && mount -t tmpfs -o mode=755 none /etc/docker";

/// Ends up as containerd, in the root `$1`.
const CONTAINERD: &str = "exec containerd --root \"$1/ctd\" --state \"$1/run\" --address \"$1/ctd.sock\" --log-level warn";

fn mount_namespace(pid: &str) -> Option<u64> {
    fs::metadata(format!("/proc/{pid}/ns/mnt")).ok().map(|it| it.ino())
}

fn command_line(pid: i32) -> String {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&line).replace('\0', " ")
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// A group goes after those in it.
fn remove_group(path: &Path) {
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove_group(&entry.path());
        }
    }
    let _ = fs::remove_dir(path);
}

/// Starts it; what it says goes to the log in this directory.
fn logged(command: &mut Command, directory: &Path) -> Child {
    let log = fs::OpenOptions::new().create(true).append(true).open(directory.join("log")).unwrap();
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    command.spawn().unwrap()
}
