//! The built operator as a child process, on a ground of its own: an instance, an image, an owner's home, specs and a state
//! directory, all of which go away with it, also when the test panics.
//!
//! What the operator did is asked of the `docker` command, which shares no code with it; what it says, of `chanop get`.
//! Every wait looks for something that must come about, and fails with the operator's log when it does not.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use chanop::clock::Clock;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use super::image;

/// The owner's number, and group.
pub(crate) const OWNER: u32 = 1000;
/// How long anything may take that takes a second on an idle machine.
const PATIENCE: Duration = Duration::from_mins(1);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
/// So long what is left of a test is tried to be removed.
const SWEEPS_WITHIN: Duration = Duration::from_secs(5);

/// A program of the host's.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(
        clippy::disallowed_methods,
        reason = "the tests judge the built programs from outside"
    )]
    Command::new(name)
}

/// What a command said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or_else(|| 128 + output.status.signal().unwrap_or(0)),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

impl Said {
    /// Its standard output, when it ended well.
    pub(crate) fn well(self) -> String {
        assert_eq!(self.code, 0, "{self:?}");
        self.out
    }
}

/// The whole of a test's surroundings.
pub(crate) struct Ground {
    root: TempDir,
    pub(crate) instance: String,
    /// The image of its channels.
    pub(crate) image: String,
    /// The engine's socket, when it is not the usual one.
    engine: Option<PathBuf>,
    /// The socket by which the operator reaches the engine, when it is another one.
    way: Option<PathBuf>,
    /// Flags beside those that every operator here has.
    pub(crate) flags: Vec<String>,
    /// The operator is the owner's process, in the group that may use the engine's socket, and not root's.
    unprivileged: bool,
    operator: Option<Child>,
    clock: Clock,
    /// How long anything may take.
    pub(crate) patience: Duration,
}

impl Ground {
    /// On the usual engine.
    pub(crate) fn new() -> Self {
        Self::on(None)
    }

    /// On the engine behind this socket, or the usual one.
    pub(crate) fn on(engine: Option<PathBuf>) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        assert!(
            rustix::process::geteuid().is_root(),
            "this test serves another user: run it as root"
        );
        // Not the temporary directory, which may be in memory or private: the engine must see the same path.
        let root = tempfile::Builder::new().prefix("chanop-it-").tempdir_in("/var/tmp").unwrap();
        let instance = format!("it{}x{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let image = format!("chanop-{instance}:latest");
        let ground = Self {
            root,
            instance,
            image,
            engine,
            way: None,
            flags: ["--no-listen", "--prune-delay", "1s"].map(str::to_owned).to_vec(),
            unprivileged: false,
            operator: None,
            clock: Clock::start(),
            patience: PATIENCE,
        };
        fs::set_permissions(ground.root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["specs", "home", "secrets", "run"] {
            fs::create_dir(ground.path(directory)).unwrap();
        }
        for private in ["secrets", "run"] {
            fs::set_permissions(ground.path(private), fs::Permissions::from_mode(0o700)).unwrap();
        }
        give(&ground.path("home"));
        let answers = ground.try_docker(&["version"]);
        assert_eq!(
            answers.code, 0,
            "this test needs a Docker engine: run `make docker` ({})",
            answers.err
        );
        ground.import_busybox(&ground.image);
        ground
    }

    /// Makes an image of busybox alone.
    pub(crate) fn import_busybox(&self, reference: &str) {
        self.import(&busybox(), reference);
    }

    /// On the engine behind this socket, which the operator reaches by way of another one.
    pub(crate) fn behind(engine: PathBuf, way: PathBuf) -> Self {
        let mut ground = Self::on(Some(engine));
        ground.way = Some(way);
        ground
    }

    /// Makes an image of a root file system.
    pub(crate) fn import(&self, root: &[u8], reference: &str) {
        let mut import =
            self.docker_command(&["import", "--change", "ENV PATH=/bin", "-", reference]);
        import.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut import = import.spawn().unwrap();
        import.stdin.take().unwrap().write_all(root).unwrap();
        Said::from(import.wait_with_output().unwrap()).well();
    }

    /// A path in the ground.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// Milliseconds since it was made, for what must not take long.
    pub(crate) fn elapsed(&self) -> Duration {
        self.clock.now().mono
    }

    // --- files ------------------------------------------------------------------------------------------------------

    /// A file of the spec directory, swapped in whole.
    pub(crate) fn write(&self, file: &str, text: &str) {
        let path = self.path("specs").join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let new =
            path.with_file_name(format!(".{}.new", path.file_name().unwrap().to_str().unwrap()));
        fs::write(&new, text).unwrap();
        fs::rename(new, path).unwrap();
    }

    /// The file goes.
    pub(crate) fn unlink(&self, file: &str) {
        fs::remove_file(self.path("specs").join(file)).unwrap();
    }

    /// A channel of the ground's image; `more` are further lines of its spec, indented by two.
    pub(crate) fn channel(&self, file: &str, name: &str, more: &str) {
        self.workspace(name);
        self.write(file, &self.channel_text(name, "", more));
    }

    /// The text of [`Self::channel`]; `meta` are further lines of its metadata.
    pub(crate) fn channel_text(&self, name: &str, meta: &str, more: &str) -> String {
        format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: {name}\n{meta}spec:\n  \
             workspace: {{path: ~/src/{name}}}\n  image: {{ref: \"{}\"}}\n{more}",
            self.image
        )
    }

    /// A directory of the owner's, for a channel to work in.
    pub(crate) fn workspace(&self, name: &str) -> PathBuf {
        let path = self.path("home/src").join(name);
        fs::create_dir_all(&path).unwrap();
        give(&self.path("home/src"));
        give(&path);
        path
    }

    /// A secret, as it should be.
    pub(crate) fn secret(&self, name: &str, key: &str, value: &str) {
        let directory = self.path("secrets").join(name);
        fs::create_dir_all(&directory).unwrap();
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(directory.join(key), value).unwrap();
        fs::set_permissions(directory.join(key), fs::Permissions::from_mode(0o600)).unwrap();
    }

    // --- the operator -----------------------------------------------------------------------------------------------

    /// Starts it; it is up when the socket answers.
    pub(crate) fn start(&mut self) {
        self.spawn();
        self.until("the control socket answers", |ground| ground.chanop(&["get", "all"]).code == 0);
    }

    /// From now on the operator is the owner's process, and not root's.
    pub(crate) fn without_root(&mut self) {
        self.unprivileged = true;
        fs::create_dir(self.path("state")).unwrap();
        fs::set_permissions(self.path("state"), fs::Permissions::from_mode(0o700)).unwrap();
        for directory in ["state", "secrets", "run"] {
            give(&self.path(directory));
        }
    }

    /// Starts it, and looks no further.
    pub(crate) fn spawn(&mut self) {
        assert!(self.operator.is_none(), "one operator runs already");
        let log = fs::OpenOptions::new().create(true).append(true).open(self.path("log")).unwrap();
        let mut command = self.operator_command(&self.path("state"), &self.path("run/c.sock"));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        self.operator = Some(command.spawn().unwrap());
    }

    /// One more operator than the one that runs.
    pub(crate) fn operator_command(&self, state: &Path, socket: &Path) -> Command {
        let mut command = if self.unprivileged {
            let group = fs::metadata("/var/run/docker.sock").unwrap().gid();
            let mut command = program("setpriv");
            let ids = [format!("--reuid={OWNER}"), format!("--regid={OWNER}")];
            command.args(ids).arg(format!("--groups={group}"));
            command.arg(env!("CARGO_BIN_EXE_chanop"));
            command
        } else {
            program(env!("CARGO_BIN_EXE_chanop"))
        };
        let owner = format!("{OWNER}:{OWNER}:{}", self.path("home").display());
        command.args(["operator", "--instance", &self.instance, "--owner", &owner]);
        command.arg("--specs").arg(self.path("specs")).arg("--state-dir").arg(state);
        command.arg("--secrets-dir").arg(self.path("secrets")).arg("--socket").arg(socket);
        // Not the credentials of who runs the tests.
        command.env("DOCKER_CONFIG", self.path("docker"));
        if let Some(way) = self.way.as_ref().or(self.engine.as_ref()) {
            command.arg("--docker-host").arg(format!("unix://{}", way.display()));
        }
        command.args(&self.flags);
        command
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.operator.as_ref().expect("an operator runs").id()
    }

    /// Takes it away without a word.
    pub(crate) fn kill(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            operator.kill().unwrap();
            operator.wait().unwrap();
        }
    }

    /// Until it has ended by itself.
    pub(crate) fn until_gone(&mut self) {
        let mut operator = self.operator.take().expect("an operator runs");
        let began = self.elapsed();
        while operator.try_wait().unwrap().is_none() {
            if self.elapsed().saturating_sub(began) > self.patience {
                self.operator = Some(operator);
                panic!("{}", self.dump("it does not end"));
            }
            std::thread::sleep(LOOK);
        }
    }

    /// Waits for its end, which is on its way.
    pub(crate) fn reap(&mut self) {
        self.operator.take().expect("an operator runs").wait().unwrap();
    }

    /// Asks it to stop; how long it took.
    pub(crate) fn stop(&mut self) -> Duration {
        let began = self.elapsed();
        let mut operator = self.operator.take().expect("an operator runs");
        let pid = Pid::from_child(&operator);
        kill_process(pid, Signal::TERM).unwrap();
        let status = operator.wait().unwrap();
        assert_eq!(status.code(), Some(0), "{}", self.log());
        self.elapsed().saturating_sub(began)
    }

    /// Everything that it logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// The command line, asking this operator.
    pub(crate) fn chanop(&self, arguments: &[&str]) -> Said {
        self.chanop_command(arguments).output().unwrap().into()
    }

    /// The same, not run yet.
    pub(crate) fn chanop_command(&self, arguments: &[&str]) -> Command {
        let mut command = program(env!("CARGO_BIN_EXE_chanop"));
        command.args(arguments).env("CHANOP_SOCKET", self.path("run/c.sock")).stdin(Stdio::null());
        command
    }

    /// A command in a channel's shell.
    pub(crate) fn exec(&self, channel: &str, script: &str) -> Said {
        self.chanop(&["exec", channel, "--", "sh", "-c", script])
    }

    /// All channels as `chanop get` shows them; none when nobody answers.
    pub(crate) fn channels(&self) -> Vec<Value> {
        let said = self.chanop(&["get", "channels", "-o", "json"]);
        if said.code != 0 {
            return Vec::new();
        }
        let list: Value = serde_json::from_str(&said.out).unwrap();
        list["items"].as_array().unwrap().clone()
    }

    /// One of them; null when it is not there.
    pub(crate) fn shown(&self, name: &str) -> Value {
        let found = self.channels().into_iter().find(|channel| channel["metadata"]["name"] == name);
        found.unwrap_or_default()
    }

    /// A condition: status, reason and message.
    pub(crate) fn condition(&self, name: &str, kind: &str) -> (String, String, String) {
        condition(&self.shown(name), kind)
    }

    /// The plan, and its exit code.
    pub(crate) fn plan(&self) -> (i32, Value) {
        let said = self.chanop(&["plan", "-o", "json"]);
        (said.code, serde_json::from_str(&said.out).unwrap_or_default())
    }

    // --- the engine -------------------------------------------------------------------------------------------------

    /// A `docker` command of the engine in question.
    pub(crate) fn docker_command(&self, arguments: &[&str]) -> Command {
        self.docker_by(program("docker"), arguments)
    }

    fn docker_by(&self, mut command: Command, arguments: &[&str]) -> Command {
        if let Some(engine) = &self.engine {
            command.arg("--host").arg(format!("unix://{}", engine.display()));
        }
        command.args(arguments);
        command
    }

    /// Runs it; an engine that hangs does not hang the test.
    pub(crate) fn try_docker(&self, arguments: &[&str]) -> Said {
        let mut bounded = program("timeout");
        bounded.args([&PATIENCE.as_secs().to_string(), "docker"]);
        self.docker_by(bounded, arguments).stdin(Stdio::null()).output().unwrap().into()
    }

    /// Runs it; it must end well.
    pub(crate) fn docker(&self, arguments: &[&str]) -> String {
        self.try_docker(arguments).well().trim_end().to_owned()
    }

    /// The name of a channel's container.
    pub(crate) fn container(&self, channel: &str) -> String {
        format!("chanop_{}_{channel}", self.instance)
    }

    /// What the engine says of containers; null when one of them is not there.
    pub(crate) fn inspect(&self, containers: &[&str]) -> Value {
        let said = self.try_docker(&[&["container", "inspect"], containers].concat());
        if said.code == 0 { serde_json::from_str(&said.out).unwrap() } else { Value::Null }
    }

    /// What the engine says of a channel's container; null when there is none.
    pub(crate) fn shell(&self, channel: &str) -> Value {
        self.inspect(&[&self.container(channel)])[0].clone()
    }

    /// The ID of a channel's running container; none when it does not run.
    pub(crate) fn running(&self, channel: &str) -> Option<String> {
        let shell = self.shell(channel);
        let runs = shell["State"]["Running"] == true && shell["State"]["Paused"] == false;
        runs.then(|| shell["Id"].as_str().unwrap().to_owned())
    }

    /// Names of all containers with the instance's label, running or not.
    pub(crate) fn containers(&self) -> Vec<String> {
        let filter = format!("label=dev.chanop.instance={}", self.instance);
        let names = self.docker(&["ps", "-a", "--filter", &filter, "--format", "{{.Names}}"]);
        let mut names: Vec<String> = names.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    // --- waiting ----------------------------------------------------------------------------------------------------

    /// Until it is so.
    pub(crate) fn until(&mut self, what: &str, is_so: impl Fn(&Self) -> bool) {
        self.until_some(what, |ground| is_so(ground).then_some(()));
    }

    /// Until there is an answer.
    pub(crate) fn until_some<T>(&mut self, what: &str, look: impl Fn(&Self) -> Option<T>) -> T {
        let began = self.elapsed();
        loop {
            if let Some(found) = look(self) {
                return found;
            }
            let ended = self.operator.as_mut().and_then(|operator| operator.try_wait().unwrap());
            let late = self.elapsed().saturating_sub(began) > self.patience;
            assert!(
                !(ended.is_some() || late),
                "{}",
                self.dump(&format!("waited for: {what}; operator: {ended:?}"))
            );
            std::thread::sleep(LOOK);
        }
    }

    /// Until something is seen beside the operator; `shown` says what is there when it never is.
    pub(crate) fn until_seen(
        &mut self,
        what: &str,
        is_seen: impl Fn() -> bool,
        shown: impl Fn() -> String,
    ) {
        let began = self.elapsed();
        while !is_seen() {
            let late = self.elapsed().saturating_sub(began) > PATIENCE;
            assert!(!late, "{}", self.dump(&format!("waited for: {what}; there is:\n{}", shown())));
            std::thread::sleep(LOOK);
        }
    }

    /// Until these channels are ready and nothing is to be done.
    pub(crate) fn until_converged(&mut self, names: &[&str]) {
        let what = format!("{names:?} are ready, and the plan is empty");
        self.until(&what, |ground| {
            let channels = ground.channels();
            let ready = |name: &&str| {
                channels.iter().any(|channel| {
                    channel["metadata"]["name"] == **name && condition(channel, "Ready").0 == "True"
                })
            };
            names.iter().all(ready) && ground.plan().0 == 0
        });
    }

    /// Until the condition has this reason; its message.
    pub(crate) fn until_reason(&mut self, name: &str, kind: &str, reason: &str) -> String {
        self.until_some(&format!("{kind} of {name} is {reason}"), |ground| {
            let (_, found, message) = ground.condition(name, kind);
            (found == reason).then_some(message)
        })
    }

    /// Until a container runs that is another one than `old`, or has another start.
    pub(crate) fn until_runs(
        &mut self,
        channel: &str,
        as_it_should: impl Fn(&Value) -> bool,
    ) -> Value {
        self.until_some(&format!("the shell of {channel} runs as it should"), |ground| {
            let shell = ground.shell(channel);
            (shell["State"]["Running"] == true && as_it_should(&shell)).then_some(shell)
        })
    }

    /// For a failure: what can be known.
    pub(crate) fn dump(&self, what: &str) -> String {
        let get = self.chanop(&["get", "channels"]);
        let plan = self.chanop(&["plan"]);
        let events = self.chanop(&["get", "events"]);
        let filter = format!("label=dev.chanop.instance={}", self.instance);
        let ps = self.try_docker(&["ps", "-a", "--filter", &filter]);
        format!(
            "{what}\n--- get\n{}{}--- plan\n{}--- events\n{}--- docker ps\n{}--- log\n{}",
            get.out,
            get.err,
            plan.out,
            events.out,
            ps.out,
            self.log()
        )
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            let _ = operator.kill();
            let _ = operator.wait();
        }
        let label = format!("label=dev.chanop.instance={}", self.instance);
        self.sweep(&["ps", "-aq", "--filter", &label], &["rm", "-f"]);
        // Whatever the test made beside the operator carries the instance's name.
        let name = format!("name={}", self.instance);
        self.sweep(&["ps", "-aq", "--filter", &name], &["rm", "-f"]);
        self.sweep(&["network", "ls", "-q", "--no-trunc", "--filter", &name], &["network", "rm"]);
        self.sweep(&["volume", "ls", "-q", "--filter", &name], &["volume", "rm"]);
        // What was built from another goes first.
        for images in ["reference=*/*{}*", "reference=*{}*"] {
            let images = images.replace("{}", &self.instance);
            self.sweep(&["image", "ls", "-q", "--filter", &images], &["image", "rm", "-f"]);
        }
        let _ = fs::remove_dir_all(Path::new("/run/chanop").join(&self.instance));
    }
}

impl Ground {
    /// Until nothing is left: what the killed operator had asked the engine for may still come through, or be under way. An engine
    /// that was killed itself may not be able to, and takes ten seconds to say so each time.
    fn sweep(&self, list: &[&str], remove: &[&str]) {
        let clock = Clock::start();
        let mut refusal = String::new();
        while clock.now().mono < SWEEPS_WITHIN {
            let found = self.try_docker(list).out;
            let found: Vec<&str> = found.lines().collect();
            if found.is_empty() {
                return;
            }
            refusal = self.try_docker(&[remove, found.as_slice()].concat()).err;
            if !refusal.is_empty() {
                std::thread::sleep(LOOK);
            }
        }
        // No panic: it would hide why the test failed, or abort it.
        let _ = writeln!(io::stderr(), "not cleared up: docker {}: {refusal}", remove.join(" "));
    }
}

/// A condition of an object that was shown.
pub(crate) fn condition(shown: &Value, kind: &str) -> (String, String, String) {
    let all = shown["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let found = all.into_iter().find(|condition| condition["type"] == kind).unwrap_or_default();
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"), text("message"))
}

/// To the owner.
pub(crate) fn give(path: &Path) {
    chown(path, Some(OWNER), Some(OWNER)).unwrap();
}

/// The root file system with busybox; made by one test at a time, for its program may have to be fetched first.
fn busybox() -> Vec<u8> {
    let lock = Path::new(env!("CARGO_TARGET_TMPDIR")).join("image-making.lock");
    let making = fs::File::create(lock).unwrap();
    flock(&making, FlockOperation::LockExclusive).unwrap();
    image::root().to_vec()
}
