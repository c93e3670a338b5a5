//! A built operator on a ground of its own: instance, specs, workspaces, state directory, socket.
//!
//! All of it goes with the ground, also when a measure fails: the process first, by its ID, then what carries the instance's
//! label or name on the engine.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use chanop::clock::Clock;
use chanop::http::client::Client;
use rustix::process::{Pid, Signal, getegid, geteuid, kill_process};

use crate::Outcome;
use crate::engine::Engine;

/// Whose workspaces they are when root measures.
const OWNER: u32 = 1000;
/// An operator ends within fifteen seconds of its signal.
const ENDS_WITHIN: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub(crate) struct Ground {
    root: tempfile::TempDir,
    /// Whose containers they are.
    pub(crate) instance: String,
    program: PathBuf,
    image: String,
    engine: Engine,
    operator: Option<Child>,
    clock: Clock,
}

impl Ground {
    /// With an engine, which is swept when the ground goes.
    pub(crate) fn new(program: &Path, image: &str, engine: Engine, clock: Clock) -> Outcome<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        // Not the temporary directory, which may be in memory or private: the engine must see the same path.
        let root = tempfile::Builder::new().prefix("chanop-bench-").tempdir_in("/var/tmp")?;
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755))?;
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let ground = Self {
            instance: format!("bench{}x{number}", std::process::id()),
            program: program.to_owned(),
            image: image.to_owned(),
            root,
            engine,
            operator: None,
            clock,
        };
        for directory in ["specs", "home", "secrets", "run"] {
            fs::create_dir(ground.path(directory))?;
        }
        for private in ["secrets", "run"] {
            fs::set_permissions(ground.path(private), fs::Permissions::from_mode(0o700))?;
        }
        give(&ground.path("home"))?;
        fs::create_dir(ground.path("home/src"))?;
        give(&ground.path("home/src"))?;
        Ok(ground)
    }

    /// A path in the ground.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    /// So many channels, a file each, in folders of a hundred.
    pub(crate) fn channels(&self, count: usize) -> Outcome<()> {
        (0..count).try_for_each(|number| {
            let name = format!("c{number:05}");
            self.workspace(&name)?;
            self.save(&format!("team{}/{name}.yaml", number / 100), &name)
        })
    }

    /// A directory to work in.
    pub(crate) fn workspace(&self, name: &str) -> Outcome<()> {
        let path = self.path("home/src").join(name);
        fs::create_dir_all(&path)?;
        give(&path)
    }

    /// A channel's file, swapped in whole as an editor does it.
    pub(crate) fn save(&self, file: &str, name: &str) -> Outcome<()> {
        self.save_with(file, name, "")
    }

    /// Likewise; `more` are further lines of its spec, indented by two.
    pub(crate) fn save_with(&self, file: &str, name: &str, more: &str) -> Outcome<()> {
        let path = self.path("specs").join(file);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let new = path.with_extension("new");
        let text = channel_text(name, &self.path("home/src").join(name), &self.image) + more;
        fs::write(&new, text)?;
        Ok(fs::rename(new, path)?)
    }

    /// A secret with one key, of the operator's user alone.
    pub(crate) fn secret(&self, name: &str, key: &str, value: &str) -> Outcome<()> {
        let directory = self.path("secrets").join(name);
        fs::create_dir_all(&directory)?;
        fs::set_permissions(&directory, fs::Permissions::from_mode(0o700))?;
        let file = directory.join(key);
        fs::write(&file, value)?;
        Ok(fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?)
    }

    /// For questions to the operator.
    pub(crate) fn client(&self) -> Client {
        Client::new(self.path("run/c.sock"))
    }

    /// Starts the operator on this socket; when it was started.
    pub(crate) fn start(&mut self, engine: &Path) -> Outcome<Duration> {
        let log = File::options().create(true).append(true).open(self.path("log"))?;
        let mut command = program(&self.program);
        command.args(["operator", "--instance", &self.instance, "--no-listen"]);
        let (uid, gid) = owner();
        command.args(["--owner", &format!("{uid}:{gid}:{}", self.path("home").display())]);
        for (flag, path) in [
            ("--specs", "specs"),
            ("--state-dir", "state"),
            ("--secrets-dir", "secrets"),
            ("--socket", "run/c.sock"),
        ] {
            command.arg(flag).arg(self.path(path));
        }
        command.args(["--docker-host", &format!("unix://{}", engine.display())]);
        // Not the credentials of who measures.
        command.env("DOCKER_CONFIG", self.path("docker"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let began = self.clock.now().mono;
        self.operator = Some(command.spawn()?);
        Ok(began)
    }

    /// Asks the operator to end, and waits for it.
    pub(crate) fn stop(&mut self) -> Outcome<()> {
        let Some(mut operator) = self.operator.take() else { return Ok(()) };
        kill_process(Pid::from_child(&operator), Signal::TERM)?;
        let began = self.clock.now().mono;
        while operator.try_wait()?.is_none() {
            if self.clock.now().mono.saturating_sub(began) > ENDS_WITHIN {
                operator.kill()?;
                operator.wait()?;
                return Err(self.failed("the operator does not end"));
            }
            sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Its resident memory, in megabytes.
    pub(crate) fn resident_megabytes(&self) -> Outcome<f64> {
        let pid = self.operator.as_ref().ok_or("no operator runs")?.id();
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()).ok_or("no VmRSS")?;
        Ok(kilobytes.parse::<f64>()? / 1024.0)
    }

    /// Waits until so many channels are ready; when that was first seen.
    pub(crate) fn until_ready(&mut self, count: usize, patience: Duration) -> Outcome<Duration> {
        self.until(&format!("{count} channels are ready"), patience, |ground| {
            Ok(ground.ready() >= count)
        })
    }

    /// How many channels are ready; none while nobody answers.
    fn ready(&self) -> usize {
        let scraped = self.get("/metrics").unwrap_or_default();
        let line =
            scraped.lines().find_map(|line| line.strip_prefix("chanop_channels{ready=\"true\"} "));
        line.and_then(|number| number.parse().ok()).unwrap_or(0)
    }

    /// Asks over the control socket.
    fn get(&self, path: &str) -> Outcome<String> {
        let mut socket = UnixStream::connect(self.path("run/c.sock"))?;
        socket.set_read_timeout(Some(Duration::from_secs(10)))?;
        write!(socket, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until it is so; when that was first seen.
    pub(crate) fn until(
        &mut self,
        what: &str,
        patience: Duration,
        is_so: impl Fn(&Self) -> Outcome<bool>,
    ) -> Outcome<Duration> {
        let began = self.clock.now().mono;
        loop {
            if is_so(self)? {
                return Ok(self.clock.now().mono);
            }
            let ended = match self.operator.as_mut() {
                Some(operator) => operator.try_wait()?,
                None => None,
            };
            if ended.is_some() || self.clock.now().mono.saturating_sub(began) > patience {
                return Err(self.failed(&format!("waited for: {what} (operator: {ended:?})")));
            }
            sleep(Duration::from_millis(2));
        }
    }

    /// With the end of the log.
    fn failed(&self, what: &str) -> Box<dyn std::error::Error + Send + Sync> {
        let log = fs::read_to_string(self.path("log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n");
        format!("{what}; the last of its log:\n{last}").into()
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            let _ = operator.kill();
            let _ = operator.wait();
        }
        self.engine.sweep(&self.instance);
        let _ = fs::remove_dir_all(Path::new("/run/chanop").join(&self.instance));
    }
}

/// A channel as small as one can be, with a workspace of its own.
pub(crate) fn channel_text(name: &str, workspace: &Path, image: &str) -> String {
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata:\n  name: {name}\nspec:\n  \
         workspace: {{path: {}}}\n  image: {{ref: \"{image}\"}}\n",
        workspace.display()
    )
}

/// Root measures for another user, others for themselves.
fn owner() -> (u32, u32) {
    if geteuid().is_root() { (OWNER, OWNER) } else { (geteuid().as_raw(), getegid().as_raw()) }
}

fn give(path: &Path) -> Outcome<()> {
    let (uid, gid) = owner();
    Ok(chown(path, Some(uid), Some(gid))?)
}

/// A program of the host's.
pub(crate) fn program(name: impl AsRef<std::ffi::OsStr>) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the built programs are measured from outside")]
    Command::new(name)
}
