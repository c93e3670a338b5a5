//! The spec directory on a real file system: what people, editors, git and the kernel do to files, and what a scan then says.

mod git;
mod saves;
mod swap;
mod tree;
mod watch;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use chanop::resource::Now;
use chanop::specs::{NowFn, SpecTree, Timing, scan_once};
use chanop::world::scan::{FileState, RawScan};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_util::sync::{CancellationToken, DropGuard};

/// How long a test waits for what must come. Far more than it takes, since the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(20);

/// A clock so many seconds ahead: what was written just now is then long settled.
#[expect(clippy::disallowed_methods, reason = "a test is its own clock")]
fn clock_ahead(seconds: i64) -> Arc<NowFn> {
    let began = std::time::Instant::now();
    Arc::new(move || Now {
        mono: began.elapsed(),
        wall: jiff::Timestamp::now() + jiff::SignedDuration::from_secs(seconds),
    })
}

/// A directory to look at, in one that may hold other things.
struct Specs {
    outside: TempDir,
}

impl Specs {
    fn new() -> Self {
        let specs = Self { outside: tempfile::tempdir().unwrap() };
        fs::create_dir(specs.root()).unwrap();
        specs
    }

    fn root(&self) -> PathBuf {
        self.outside.path().join("specs")
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root().join(name)
    }

    /// Writes a file in place, and the directories above it.
    fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, name: &str, target: &str) {
        symlink(target, self.path(name)).unwrap();
    }

    fn scan(&self) -> RawScan {
        scan_once(&self.root(), &*clock_ahead(0))
    }
}

/// Publishes a link as git-sync and the kubelet do: made beside, renamed over.
fn relink(link: &Path, target: &str) {
    let beside = link.with_file_name("..new_link");
    symlink(target, &beside).unwrap();
    fs::rename(beside, link).unwrap();
}

/// The names of all files, whatever their state.
fn names(scan: &RawScan) -> Vec<&str> {
    scan.files.keys().map(String::as_str).collect()
}

/// What a file says, when it was read.
fn text<'a>(scan: &'a RawScan, name: &str) -> Option<&'a str> {
    match scan.files.get(name)? {
        FileState::Parsed(file) => Some(&file.text),
        _ => None,
    }
}

/// Why a file was refused.
fn refused<'a>(scan: &'a RawScan, name: &str) -> Option<&'a str> {
    match scan.files.get(name)? {
        FileState::Refused(reason) => Some(reason),
        _ => None,
    }
}

/// A directory that is looked at all the time.
struct Watched {
    scans: mpsc::Receiver<RawScan>,
    ask: mpsc::Sender<()>,
    _cancel: DropGuard,
}

/// As the operator looks, but so rarely of itself that only an event can be the cause.
fn on_events_only() -> Timing {
    Timing { every: Duration::from_hours(1), ..Timing::default() }
}

impl Watched {
    fn new(directory: PathBuf, timing: Timing) -> Self {
        let (mailbox, scans) = mpsc::channel(1);
        let (ask, rescan) = mpsc::channel(1);
        let cancel = CancellationToken::new();
        let tree = SpecTree::new(directory, clock_ahead(0)).with_timing(timing);
        #[expect(clippy::disallowed_methods, reason = "the guard ends it with the test")]
        tokio::spawn(tree.run(mailbox, rescan, cancel.clone()));
        Self { scans, ask, _cancel: cancel.drop_guard() }
    }

    /// Waits until watches hold on what is there now: the first scan arms them, and rings for a second one.
    async fn armed(directory: PathBuf, timing: Timing) -> Self {
        let mut watched = Self::new(directory, timing);
        watched.next().await;
        watched.next().await;
        watched
    }

    async fn next(&mut self) -> RawScan {
        tokio::time::timeout(PATIENCE, self.scans.recv()).await.expect("a scan comes").unwrap()
    }

    async fn next_after_asking(&mut self) -> RawScan {
        self.ask.send(()).await.unwrap();
        self.next().await
    }

    /// The first scan that is so.
    async fn until(&mut self, what: &str, is_so: impl Fn(&RawScan) -> bool) -> RawScan {
        let mut last = None;
        let wanted = async {
            loop {
                let scan = self.scans.recv().await.unwrap();
                if is_so(&scan) {
                    return scan;
                }
                last = Some(scan);
            }
        };
        match tokio::time::timeout(PATIENCE, wanted).await {
            Ok(scan) => scan,
            Err(elapsed) => panic!("never seen: {what} ({elapsed}); last seen: {last:#?}"),
        }
    }
}

/// Runs a program that has to succeed.
fn run(program: &str, arguments: &[&str], directory: &Path) {
    let output = command(program).args(arguments).current_dir(directory).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[expect(clippy::disallowed_methods, reason = "the real programs are what is tested against")]
fn command(program: &str) -> Command {
    Command::new(program)
}

/// How a test that must not touch its surroundings, or must not be root, is run.
enum Apart {
    /// With mounts of its own, that end with it.
    Mounts,
    /// As nobody, for whom permissions count.
    Nobody,
    /// As Mounts, and the kernel gives it no inotify instance.
    WithoutInotify,
}

const INNER: &str = "CHANOP_TEST_APART";

/// True inside: run the test. Outside it runs the test of this name inside and passes on how it ended.
#[expect(clippy::disallowed_methods, reason = "so a process knows that it is the inner one")]
fn apart(how: &Apart, test: &str) -> bool {
    if std::env::var_os(INNER).is_some() {
        return true;
    }
    let root = rustix::process::geteuid().is_root();
    let unshare: &[&str] = if root { &["unshare", "-m"] } else { &["unshare", "-Urm"] };
    let wrapper: &[&str] = match how {
        Apart::Nobody if root => &["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"],
        Apart::Nobody => &["env"],
        Apart::Mounts => unshare,
        Apart::WithoutInotify => &[
            "unshare",
            "-Ur",
            "sh",
            "-c",
            "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$@\"",
            "sh",
        ],
    };
    // By its descriptor, since nobody may be kept from the path to it.
    let this = fs::File::open("/proc/self/exe").unwrap();
    let output = command(wrapper[0])
        .args(&wrapper[1..])
        .args(["/proc/self/fd/0", "--exact", test, "--nocapture", "--test-threads=1"])
        .env(INNER, "1")
        .env("TMPDIR", "/tmp")
        .current_dir("/")
        .stdin(this)
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && told.contains("1 passed"),
        "{told}{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}
