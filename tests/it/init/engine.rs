//! As the entrypoint of a hardened container: the mounts are those that the template gets, the files those that the host
//! prepared, and the user has no privilege at all.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use chanop::container::config::MountConfig;
use chanop::resource::effective::SecretKeyRef;
use chanop::world::preparation::{Bind, HostFile, support_mounts};

use crate::bed::{Bed, OWNER};

/// Everything that these tests make has it.
const LABEL: &str = "chanop-test=init";

fn docker(arguments: &[&str]) -> Output {
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's own client, as an independent witness"
    )]
    let mut command = Command::new("docker");
    command.args(arguments).output().expect("these tests need the docker client")
}

/// Its output, or the test fails with what it said.
fn docker_ok(arguments: &[&str]) -> String {
    let output = docker(arguments);
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    text
}

fn docker_stdin(arguments: &[&str], input: &[u8]) {
    assert!(docker_takes(arguments, input), "{arguments:?}");
}

fn docker_takes(arguments: &[&str], input: &[u8]) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's own client, as an independent witness"
    )]
    let mut command = Command::new("docker");
    let mut child =
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait().unwrap().success()
}

/// A container and its image, which holds a static busybox and a profile that sets PATH anew.
struct Container {
    name: String,
    volume: Option<String>,
}

impl Drop for Container {
    fn drop(&mut self) {
        docker(&["rm", "-f", "-v", &self.name]);
        docker(&["rmi", "-f", &image_of(&self.name)]);
        if let Some(volume) = &self.volume {
            docker(&["volume", "rm", volume]);
        }
    }
}

fn image_of(name: &str) -> String {
    format!("{name}-image:latest")
}

impl Container {
    /// Prepares the host, makes the container, hands in what the engine is to be given.
    fn create(bed: &Bed, test: &str, command: &[&str]) -> Self {
        let name = format!("chanop-test-init-{test}-{}", std::process::id());
        let image = image_of(&name);
        let changes = ["-c", "ENV PATH=/image/bin:/bin", "-"];
        docker_stdin(&[&["import"], &changes[..], &[&image]].concat(), &root_file_system());
        let prepared = bed.prepare().unwrap();
        let mut mounts = support_mounts(&bed.host.paths, &bed.preparation);
        let bind = |source: &str, target: &str, read_only| MountConfig::Bind {
            source: source.to_owned(),
            target: target.to_owned(),
            read_only,
        };
        let workspace = &bed.preparation.workspace.path;
        mounts.push(bind(workspace, workspace, false));
        for Bind { source, target, read_only } in &bed.preparation.binds {
            mounts.push(bind(source, target, *read_only));
        }
        let mut arguments: Vec<String> = vec!["create".into(), "--read-only".into()];
        for (source, target) in bed.preparation.volumes.iter().zip(&bed.preparation.targets) {
            // As on an engine that does not know the volume yet.
            arguments.push(format!("--mount=type=volume,source={source},target={target}"));
        }
        for mount in mounts {
            let MountConfig::Bind { source, target, read_only } = mount else { continue };
            let read_only = if read_only { ",readonly" } else { "" };
            arguments.push(format!("--mount=type=bind,source={source},target={target}{read_only}"));
        }
        let home = format!("--env=HOME={}", bed.preparation.owner.home);
        let user = format!("--user={OWNER}:{OWNER}");
        arguments.extend(
            ["--cap-drop=ALL", "--security-opt=no-new-privileges", "--network=none", &home, &user]
                .map(str::to_owned),
        );
        arguments.extend(["--name", &name, "--label", LABEL].map(str::to_owned));
        arguments.extend(["--entrypoint=/.chanop/init", &image].map(str::to_owned));
        arguments.extend(command.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let volume = bed.preparation.volumes.first().cloned();
        let container = Self { name, volume };
        docker_ok(&words);
        for grant in &prepared.volume_grants {
            let format = "{{.Mountpoint}}";
            let mountpoint = docker_ok(&["volume", "inspect", "--format", format, &grant.volume]);
            chanop::host::give_volume(mountpoint.trim(), grant.owner).unwrap();
        }
        container
    }

    fn start(&self) {
        docker_ok(&["start", &self.name]);
    }

    /// Waits for its end; answers exit code and output.
    fn end(&self) -> (String, String) {
        let code = docker_ok(&["wait", &self.name]);
        let logs = docker(&["logs", &self.name]);
        let text = [logs.stdout, logs.stderr].concat();
        (code, String::from_utf8(text).unwrap())
    }

    /// A script with the secrets exported, as `chanop exec` runs it.
    fn script(&self, script: &str) -> String {
        docker_ok(&["exec", &self.name, "/.chanop/init", "exec", "--", "/bin/sh", "-c", script])
    }
}

fn root_file_system() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut append = |name: &str, mode: u32, content: &[u8]| {
        let mut header = tar::Header::new_gnu();
        header.set_mode(mode);
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, content).unwrap();
    };
    append("bin/busybox", 0o755, &fs::read(busybox()).unwrap());
    append("etc/profile", 0o644, b"export PATH=/bin:/profile/bin FROM_PROFILE=yes\n");
    for applet in ["sh", "sleep", "cat", "id", "touch", "ls", "grep", "stat"] {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    archive.into_inner().unwrap()
}

/// Debian's static busybox, taken once for each build and not installed.
fn busybox() -> PathBuf {
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("init-busybox");
    let found = || ["bin", "usr/bin"].map(|bin| directory.join(bin).join("busybox"));
    if !found().iter().any(|path| path.exists()) {
        // Each test process unpacks into a place of its own, and the first to be done wins.
        let own = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let script = "apt-get download -q busybox-static && dpkg-deb -x busybox-static_*.deb .";
        #[expect(clippy::disallowed_methods, reason = "the package manager is no engine")]
        let mut command = Command::new("sh");
        let output = command.args(["-c", script]).current_dir(own.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        if fs::rename(own.path(), &directory).is_ok() {
            let _ = own.keep();
        }
    }
    found().into_iter().find(|path| path.exists()).expect("the package has a busybox")
}

/// Asks until it is so; the engine's answers take a while.
fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = now() + Duration::from_secs(10);
    while !is_so() {
        assert!(now() < deadline, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}

fn with_secret() -> Bed {
    let mut bed = Bed::new();
    bed.secret("github", "token", b"v3ry-secret\n");
    let reference = SecretKeyRef { name: "github".to_owned(), key: "token".to_owned() };
    bed.preparation.secrets = vec![("GH_TOKEN".to_owned(), reference)];
    bed
}

#[test]
fn an_idle_container_reaps_and_stops_at_once() {
    let bed = Bed::new();
    let container = Container::create(&bed, "idle", &["idle"]);
    container.start();
    // The shell ends first: its child is an orphan, and ends as one.
    container.script("(sleep 0.05 &) ; :");
    let processes = "cat /proc/[0-9]*/stat | grep -c -e ' Z ' -e '(sleep)' || :";
    eventually("an orphan stayed a zombie", || container.script(processes) == "0");
    let begin = now();
    docker_ok(&["stop", "--time", "10", &container.name]);
    assert!(now() - begin < Duration::from_secs(1), "{:?}", now() - begin);
    assert_eq!(container.end().0, "0");
}

#[test]
fn a_command_has_the_secrets_and_its_container_does_not_show_them() {
    let bed = with_secret();
    let script = "echo $GH_TOKEN; id -u; touch / 2>/dev/null || echo read-only; exit 5";
    let container = Container::create(&bed, "secrets", &["run", "--", "/bin/sh", "-c", script]);
    container.start();
    assert_eq!(container.end(), ("5".to_owned(), "v3ry-secret\n1000\nread-only\n".to_owned()));
    let inspected = docker_ok(&["inspect", &container.name]);
    assert!(!inspected.contains("v3ry"), "{inspected}");
}

#[test]
fn a_command_is_told_to_stop_and_a_changed_secret_reaches_the_next_exec() {
    let bed = with_secret();
    let script = "trap 'exit 9' TERM; while :; do sleep 0.05; done";
    let container = Container::create(&bed, "stop", &["run", "--", "/bin/sh", "-c", script]);
    container.start();
    assert_eq!(container.script("echo $GH_TOKEN"), "v3ry-secret");
    bed.secret("github", "token", b"rotated");
    bed.prepare().unwrap();
    assert_eq!(container.script("echo $GH_TOKEN"), "rotated");
    docker_ok(&["stop", "--time", "10", &container.name]);
    assert_eq!(container.end().0, "9");
}

#[test]
fn the_users_home_workspace_and_name_are_theirs() {
    let bed = Bed::new();
    let container = Container::create(&bed, "home", &["idle"]);
    container.start();
    let workspace = &bed.preparation.workspace.path;
    container.script(&format!("touch $HOME/a $HOME/src/b {workspace}/c"));
    let owner = |name: &str| {
        use std::os::unix::fs::MetadataExt as _;
        fs::metadata(bed.path(name)).unwrap().uid()
    };
    assert_eq!(owner("home/src/demo/c"), OWNER);
    assert_eq!(owner("state/homes/demo/src/b"), OWNER);
    assert_eq!(container.script("id -un; id -gn"), "ada\nada");
}

#[test]
fn a_source_that_was_swapped_after_the_preparation_is_refused() {
    let mut bed = Bed::new();
    bed.write("home/data/x", "x");
    let bind = Bind { source: bed.text("home/data"), target: "/data".to_owned(), read_only: true };
    bed.preparation.binds = vec![bind];
    let container = Container::create(&bed, "swap", &["idle"]);
    fs::rename(bed.path("home/data"), bed.path("home/away")).unwrap();
    fs::create_dir(bed.path("home/data")).unwrap();
    container.start();
    let (code, output) = container.end();
    assert_eq!(code, "78");
    assert!(output.starts_with("chanop-init: /data is not what was mounted"), "{output}");
    assert_eq!(output.lines().count(), 1);
    // Prepared again, as before each start, it is what it should be.
    bed.prepare().unwrap();
    container.start();
    assert_eq!(container.script("ls /data"), "");
}

#[test]
fn a_new_volume_is_the_users() {
    let mut bed = Bed::new();
    let volume = format!("chanop-test-init-volume-{}", std::process::id());
    let target = bed.text("home/.cargo");
    bed.preparation.volumes = vec![volume];
    bed.preparation.targets = vec![target.clone()];
    let container = Container::create(&bed, "volume", &["idle"]);
    container.start();
    let seen = container.script(&format!("touch {target}/x; stat -c %u:%g {target} {target}/x"));
    assert_eq!(seen, "1000:1000\n1000:1000");
}

#[test]
fn files_are_the_containers_own_copies() {
    let mut bed = Bed::new();
    bed.write("home/.npmrc", "registry");
    let file =
        |target: String| HostFile { source: bed.text("home/.npmrc"), target, read_only: false };
    bed.preparation.files = vec![file(bed.text("home/.npmrc")), file("/opt/own/npmrc".to_owned())];
    let container = Container::create(&bed, "files", &["idle"]);
    container.start();
    let seen = container.script(
        "for f in $HOME/.npmrc /opt/own/npmrc; do echo own >> $f; cat $f; stat -c %u $f; done",
    );
    assert_eq!(seen, "registryown\n1000\nregistryown\n1000");
    assert_eq!(fs::read_to_string(bed.path("home/.npmrc")).unwrap(), "registry");
}

#[test]
fn a_login_in_busybox_reads_the_profile_and_keeps_the_images_path_first() {
    let bed = with_secret();
    let container = Container::create(&bed, "login", &["idle"]);
    container.start();
    let script = "echo $PATH $FROM_PROFILE $GH_TOKEN";
    let words = ["/.chanop/init", "exec", "--login", "--", "sh", "-c", script];
    let seen = docker_ok(&[&["exec", &container.name][..], &words].concat());
    assert_eq!(seen, "/image/bin:/bin:/profile/bin yes v3ry-secret");
    // Without a command it is the shell itself.
    let words = ["exec", "-i", &container.name, "/.chanop/init", "exec", "--login"];
    #[expect(
        clippy::disallowed_methods,
        reason = "the engine's own client, as an independent witness"
    )]
    let mut command = Command::new("docker");
    let mut child =
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"echo $0 $SHELL; exit 3\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "/bin/sh /bin/sh\n");
    assert_eq!(output.status.code(), Some(3));
}
