//! `chanop doctor`: what this host has, and what it lacks, for an operator.
//!
//! A line a check, with the way out where something is wrong. It needs neither engine nor operator, changes nothing, and
//! looks only: what a spec file says is `chanop validate`'s affair, what would be done is `chanop plan`'s.

use std::fmt;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::busybox::{Unfit, static_elf};
use super::demo_image::DEMO_IMAGE;
use super::exit::Exit;
use super::printer::{Printer, plain};
use crate::config::{
    Environment, OwnerError, Passwd, Process, check_not_writable_by_others, default_secrets_dir,
    default_socket, default_state_dir, parse_owner,
};
use crate::container::ImageRef;
use crate::docker::engine::EngineInfo;
use crate::docker::{Docker, Endpoint, EndpointSources, Engine};

/// An engine that answers takes milliseconds; one that is starting may take a second or two.
const ENGINE_TIMEOUT: Duration = Duration::from_secs(5);
/// Below this, an image or a few logs can fill the disk between two looks.
const STATE_FREE_BYTES: u64 = 1024 * 1024 * 1024;
/// One watch a directory below the spec directory; other programs of the user share the number.
const INOTIFY_WATCHES: u64 = 8192;
/// One instance an operator; desktops use dozens.
const INOTIFY_INSTANCES: u64 = 128;

/// Where to look; what is not named is looked for where the operator would.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct DoctorArgs {
    /// The spec directory
    #[arg(long, value_name = "DIR")]
    pub specs: Option<PathBuf>,
    /// The operator's state directory
    #[arg(long, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
    /// The directory of secrets
    #[arg(long, value_name = "DIR")]
    pub secrets_dir: Option<PathBuf>,
    /// Whose workspaces these are: USER or UID:GID:HOME
    #[arg(long, value_name = "OWNER")]
    pub owner: Option<String>,
    /// The engine's socket, instead of the one that the docker command would take
    #[arg(long, value_name = "URL")]
    pub docker_host: Option<String>,
}

/// How a check came out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One line of the report.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Finding {
    level: Level,
    subject: &'static str,
    text: String,
    /// What to do.
    remedy: Option<String>,
}

impl Finding {
    fn ok(subject: &'static str, text: impl Into<String>) -> Self {
        Self { level: Level::Ok, subject, text: text.into(), remedy: None }
    }

    fn warn(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, subject, text: text.into(), remedy: Some(remedy.into()) }
    }

    fn fail(subject: &'static str, text: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, subject, text: text.into(), remedy: Some(remedy.into()) }
    }

    /// An error that says itself what to do.
    fn error(subject: &'static str, error: impl fmt::Display) -> Self {
        Self { level: Level::Fail, subject, text: error.to_string(), remedy: None }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let level = match self.level {
            Level::Ok => "ok  ",
            Level::Warn => "warn",
            Level::Fail => "FAIL",
        };
        write!(f, "{level}  {:<9} {}", self.subject, plain(&self.text))?;
        if let Some(remedy) = &self.remedy {
            write!(f, "\n{:16} {}", "", plain(remedy))?;
        }
        Ok(())
    }
}

/// Looks at everything. The exit code is 1 when something is so wrong that an operator could not work.
/// `socket` is the global flag `--socket`.
pub async fn run(
    printer: Printer,
    environment: &Environment,
    socket: Option<&Path>,
    args: &DoctorArgs,
) -> Exit {
    let process = Process::current();
    let mut findings = engine(environment, args).await;
    findings.push(init());
    findings.push(owner(environment, args, process));
    findings.extend(args.specs.as_deref().map(specs));
    let socket =
        socket.map(Path::to_path_buf).map_or_else(|| default_socket(process.euid, environment), Ok);
    findings
        .push(socket.map_or_else(|error| Finding::error("operator", error), |it| operator(&it)));
    let state =
        args.state_dir.clone().map_or_else(|| default_state_dir(process.euid, environment), Ok);
    findings.push(
        state.map_or_else(|error| Finding::error("state", error), |it| state_dir(&it, process)),
    );
    let secrets =
        args.secrets_dir.clone().map_or_else(|| default_secrets_dir(process.euid, environment), Ok);
    match secrets {
        Ok(dir) => findings.extend(secrets_dir(&dir)),
        Err(error) => findings.push(Finding::error("secrets", error)),
    }
    findings.push(inotify(Path::new("/proc/sys/fs/inotify")));

    for finding in &findings {
        printer.out(finding);
    }
    let of = |level| findings.iter().filter(|finding| finding.level == level).count();
    printer.out(format!("{} failed, {} to look at", of(Level::Fail), of(Level::Warn)));
    if of(Level::Fail) == 0 { Exit::Ok } else { Exit::Error }
}

async fn engine(environment: &Environment, args: &DoctorArgs) -> Vec<Finding> {
    let path = |text: &Option<String>| text.clone().map(PathBuf::from);
    let sources = EndpointSources {
        flag: args.docker_host.clone(),
        docker_host: environment.docker_host.clone(),
        docker_context: environment.docker_context.clone(),
        docker_config_dir: path(&environment.docker_config),
        home: path(&environment.home),
        xdg_runtime_dir: path(&environment.xdg_runtime_dir),
    };
    let endpoint = match Endpoint::find(&sources) {
        Ok(endpoint) => endpoint,
        Err(error) => return vec![Finding::error("engine", error)],
    };
    let answer = tokio::time::timeout(ENGINE_TIMEOUT, async {
        let docker = Docker::connect(&endpoint).await?;
        let info = docker.info().await?;
        let image = match ImageRef::parse(DEMO_IMAGE) {
            Ok(reference) => docker.image(&reference).await?,
            Err(_a_constant_that_parses) => None,
        };
        Ok::<_, crate::docker::EngineError>((info, image.is_some()))
    });
    match answer.await {
        Ok(Ok((info, image))) => {
            let mut findings = engine_says(&info, &endpoint.to_string());
            findings.push(if image {
                Finding::ok("image", format!("{DEMO_IMAGE} is there, the quickstart can begin"))
            } else {
                Finding::warn(
                    "image",
                    format!("{DEMO_IMAGE}, the quickstart's image, is not there"),
                    "make it, without a registry: chanop demo-image",
                )
            });
            findings
        }
        Ok(Err(error)) => vec![Finding::error("engine", error)],
        Err(_elapsed) => vec![Finding::fail(
            "engine",
            format!(
                "{endpoint} accepts connections and does not answer within {} s",
                ENGINE_TIMEOUT.as_secs()
            ),
            "look at the engine's log: journalctl -u docker",
        )],
    }
}

fn engine_says(info: &EngineInfo, endpoint: &str) -> Vec<Finding> {
    let mut findings = vec![Finding::ok(
        "engine",
        format!(
            "{} {} (API {}) at {endpoint}, {} CPUs, {} MiB, cgroup v{}",
            if info.podman { "Podman" } else { "Docker" },
            info.version,
            info.api_version,
            info.cpus,
            info.memory_bytes / (1024 * 1024),
            if info.cgroup_version.is_empty() { "1" } else { &info.cgroup_version },
        ),
    )];
    if info.os != "linux" {
        findings.push(Finding::fail(
            "engine",
            format!("it runs {} containers", info.os),
            "chanop needs Linux containers",
        ));
    }
    if info.podman {
        findings.push(Finding::warn(
            "engine",
            "Podman answers in Docker's words, and differs in some",
            "it is not what chanop is tested with; Docker 20.10 or newer is",
        ));
    }
    if info.rootless {
        findings.push(Finding::warn(
            "engine",
            "it is rootless: uids in containers are others on the host, and limits need cgroup v2 with delegation",
            "run the operator as the engine's own user, with `user: \"0:0\"` allowed by the policy, or use a rootful engine",
        ));
    }
    if info.remaps_users {
        findings.push(Finding::fail(
            "engine",
            "it remaps user IDs (userns-remap), so containers cannot use the owner's files",
            "remove `userns-remap` from /etc/docker/daemon.json and restart dockerd, or use an engine without it (--docker-host)",
        ));
    }
    for warning in info.warnings.iter().filter(|warning| limits_us(warning)) {
        findings.push(Finding::warn(
            "limits",
            warning.trim_start_matches("WARNING: ").to_owned(),
            "that field of spec.resources has no effect here; enable the cgroup controller (kernel parameters cgroup_enable=memory swapaccount=1)",
        ));
    }
    findings
}

/// Engines warn of much that is none of chanop's business; these are the limits that channels set.
fn limits_us(warning: &str) -> bool {
    ["memory limit", "swap limit", "pids limit", "cpu cfs"]
        .iter()
        .any(|word| warning.to_ascii_lowercase().contains(word))
}

fn init() -> Finding {
    let remedy =
        "install chanop-init beside chanop: both come from one build (make build, make dist)";
    let here = match std::env::current_exe() {
        Ok(program) => program.with_file_name("chanop-init"),
        Err(error) => {
            return Finding::fail(
                "init",
                format!("chanop cannot tell where it is: {error}"),
                remedy,
            );
        }
    };
    let bytes = match fs::read(&here) {
        Ok(bytes) => bytes,
        Err(error) => return Finding::fail("init", format!("{}: {error}", here.display()), remedy),
    };
    match static_elf(&bytes) {
        Ok(_) => Finding::ok("init", format!("{}, static", here.display())),
        Err(Unfit::Dynamic) => Finding::fail(
            "init",
            format!("{} is dynamically linked and would not start in most images", here.display()),
            "build it statically: cargo build in chanop's own tree, whose .cargo/config.toml says crt-static",
        ),
        Err(_other) => Finding::fail("init", format!("{} is no program", here.display()), remedy),
    }
}

fn owner(environment: &Environment, args: &DoctorArgs, process: Process) -> Finding {
    let passwd = match Passwd::read() {
        Ok(passwd) => passwd,
        Err(error) => return Finding::error("owner", error),
    };
    let owner = match parse_owner(args.owner.as_deref(), process, environment, &passwd) {
        Ok(owner) => owner,
        // Root may ask for another's sake: this is about the operator's flag and not about the host.
        Err(error @ OwnerError::Required) => {
            return Finding::warn("owner", error.to_string(), "give doctor the same, to check it");
        }
        Err(error) => return Finding::error("owner", error),
    };
    let who = format!("{} ({}:{}), home {}", owner.user, owner.uid, owner.gid, owner.home);
    match fs::metadata(&owner.home) {
        Ok(home) if home.is_dir() && home.uid() == owner.uid => Finding::ok("owner", who),
        Ok(home) if home.is_dir() => Finding::warn(
            "owner",
            format!("{who}, which belongs to uid {}", home.uid()),
            "the owner could not write there; check --owner",
        ),
        Ok(_) => Finding::fail("owner", format!("{who} is no directory"), "check --owner"),
        Err(error) => {
            Finding::fail("owner", format!("{who}: {error}"), "make it, or check --owner")
        }
    }
}

fn specs(directory: &Path) -> Finding {
    if let Err(error) = check_not_writable_by_others(directory) {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
        return Finding::error("specs", format!("{error}{}", cause.unwrap_or_default()));
    }
    match fs::read_dir(directory) {
        Ok(_) => Finding::ok(
            "specs",
            format!("{}; what is in it: chanop validate {0}", directory.display()),
        ),
        Err(error) => Finding::fail(
            "specs",
            format!("{}: {error}", directory.display()),
            "name a directory that you can read",
        ),
    }
}

fn operator(socket: &Path) -> Finding {
    let at = socket.display();
    match UnixStream::connect(socket) {
        Ok(_) => Finding::ok("operator", format!("one listens at {at}")),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => Finding::warn(
            "operator",
            format!("{at}: you may not use it"),
            "run as the operator's user, or join the group of its --socket-group",
        ),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Finding::warn(
            "operator",
            format!("none runs: {at} is left from one that was killed"),
            "start one, it takes over by itself: chanop operator --specs DIR",
        ),
        Err(_not_there) => Finding::warn(
            "operator",
            format!("none listens at {at}"),
            "start one: chanop operator --specs DIR (or name its socket with --socket)",
        ),
    }
}

fn state_dir(directory: &Path, process: Process) -> Finding {
    let at = directory.display();
    let found = match fs::metadata(directory) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Finding::ok("state", format!("{at} is made by the first start"));
        }
        Err(error) => {
            return Finding::fail("state", format!("{at}: {error}"), "run as the operator's user");
        }
    };
    if !found.is_dir() {
        return Finding::fail(
            "state",
            format!("{at} is no directory"),
            "name another with --state-dir",
        );
    }
    if found.mode() & 0o077 != 0 {
        return Finding::fail(
            "state",
            format!("{at} is open to others (mode {:04o})", found.mode() & 0o7777),
            format!("chmod 700 {at}"),
        );
    }
    if process.euid != 0 && found.uid() != process.euid {
        return Finding::fail(
            "state",
            format!("{at} belongs to uid {}", found.uid()),
            "run as that user, or name another with --state-dir",
        );
    }
    match rustix::fs::statvfs(directory) {
        Ok(disk) if disk.f_bavail.saturating_mul(disk.f_frsize) < STATE_FREE_BYTES => {
            Finding::warn(
                "state",
                format!(
                    "{at}: {} MiB free",
                    disk.f_bavail.saturating_mul(disk.f_frsize) / (1024 * 1024)
                ),
                "make room: without it nothing can be recorded, and nothing is started",
            )
        }
        Ok(_) => Finding::ok("state", at.to_string()),
        Err(error) => {
            Finding::fail("state", format!("{at}: {error}"), "name another with --state-dir")
        }
    }
}

/// One line for the directory, or one for each file in it that others can read.
fn secrets_dir(directory: &Path) -> Vec<Finding> {
    let at = directory.display();
    let Ok(entries) = fs::read_dir(directory) else {
        return vec![match fs::symlink_metadata(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Finding::ok("secrets", format!("none: there is no {at}"))
            }
            _ => Finding::fail(
                "secrets",
                format!("{at} cannot be read"),
                "run as the operator's user",
            ),
        }];
    };
    let mut open: Vec<PathBuf> = Vec::new();
    let mut secrets = 0_usize;
    let too_open = |found: &Metadata| found.permissions().mode() & 0o077 != 0;
    for entry in entries.flatten().filter(|entry| entry.path().is_dir()) {
        secrets += 1;
        for file in fs::read_dir(entry.path()).into_iter().flatten().flatten() {
            if file.metadata().is_ok_and(|found| found.is_file() && too_open(&found)) {
                open.push(file.path());
            }
        }
    }
    if let Err(error) = check_not_writable_by_others(directory) {
        return vec![Finding::error("secrets", error)];
    }
    if open.is_empty() {
        return vec![Finding::ok("secrets", format!("{secrets} in {at}"))];
    }
    open.sort();
    open.iter()
        .map(|file| {
            let file = file.display();
            Finding::fail(
                "secrets",
                format!("{file} can be read by others"),
                format!("chmod 600 {file}"),
            )
        })
        .collect()
}

fn inotify(directory: &Path) -> Finding {
    let number = |name: &str| -> Option<u64> {
        fs::read_to_string(directory.join(name)).ok()?.trim().parse().ok()
    };
    let (Some(watches), Some(instances)) =
        (number("max_user_watches"), number("max_user_instances"))
    else {
        return Finding::warn(
            "inotify",
            "its limits cannot be read",
            "without inotify, changes of files arrive with the next periodic scan only",
        );
    };
    let text = format!("{watches} watches, {instances} instances a user");
    if watches < INOTIFY_WATCHES || instances < INOTIFY_INSTANCES {
        let remedy = format!(
            "sysctl -w fs.inotify.max_user_watches={INOTIFY_WATCHES} fs.inotify.max_user_instances={INOTIFY_INSTANCES} or more; else changes arrive with the next periodic scan only"
        );
        return Finding::warn("inotify", text, remedy);
    }
    Finding::ok("inotify", text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::DirBuilderExt;
    use std::os::unix::net::UnixListener;

    use super::*;

    fn info() -> EngineInfo {
        EngineInfo {
            id: "x".to_owned(),
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            name: "box".to_owned(),
            os: "linux".to_owned(),
            architecture: "x86_64".to_owned(),
            default_runtime: "runc".to_owned(),
            podman: false,
            cpus: 2,
            memory_bytes: 8 << 30,
            limits_swap: true,
            remaps_users: false,
            cgroup_version: "2".to_owned(),
            rootless: false,
            warnings: Vec::new(),
        }
    }

    fn levels(findings: &[Finding]) -> Vec<Level> {
        findings.iter().map(|finding| finding.level).collect()
    }

    #[test]
    fn engine_that_remaps_users_is_a_failure() {
        let findings = engine_says(&EngineInfo { remaps_users: true, ..info() }, "x");
        assert_eq!(levels(&findings), [Level::Ok, Level::Fail]);
    }

    #[test]
    fn a_plain_engine_is_one_good_line() {
        let findings = engine_says(&info(), "unix:///run/docker.sock");
        assert_eq!(levels(&findings), [Level::Ok]);
        assert_eq!(
            findings[0].to_string(),
            "ok    engine    Docker 20.10.24 (API 1.41) at unix:///run/docker.sock, 2 CPUs, 8192 MiB, cgroup v2"
        );
    }

    #[test]
    fn limits_that_the_engine_cannot_keep_are_named_and_its_other_worries_are_not() {
        let warnings =
            ["WARNING: No swap limit support", "WARNING: bridge-nf-call-iptables is disabled"];
        let warnings = warnings.map(str::to_owned).to_vec();
        let findings = engine_says(&EngineInfo { warnings, ..info() }, "x");
        assert_eq!(levels(&findings), [Level::Ok, Level::Warn]);
        assert_eq!(findings[1].text, "No swap limit support");
        assert!(findings[1].remedy.is_some());
    }

    #[test]
    fn a_rootless_podman_is_a_warning_each() {
        let findings = engine_says(&EngineInfo { podman: true, rootless: true, ..info() }, "x");
        assert_eq!(levels(&findings), [Level::Ok, Level::Warn, Level::Warn]);
    }

    #[test]
    fn a_state_directory_that_others_can_open_fails_with_the_command_that_closes_it() {
        let dir = tempfile::tempdir().unwrap();
        let me = Process::current();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        let open = state_dir(dir.path(), me);
        assert_eq!(open.level, Level::Fail);
        assert_eq!(open.remedy, Some(format!("chmod 700 {}", dir.path().display())));
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o700)).unwrap();
        assert_ne!(state_dir(dir.path(), me).level, Level::Fail);
        assert_eq!(state_dir(&dir.path().join("new"), me).level, Level::Ok);
        let stranger = Process { euid: me.euid + 1, ..me };
        assert_eq!(state_dir(dir.path(), stranger).level, Level::Fail);
    }

    #[test]
    fn a_secret_that_others_can_read_is_named_and_never_shown() {
        let dir = tempfile::tempdir().unwrap();
        let secrets = dir.path().join("secrets");
        assert_eq!(levels(&secrets_dir(&secrets)), [Level::Ok], "none is fine");
        fs::DirBuilder::new().mode(0o700).recursive(true).create(secrets.join("github")).unwrap();
        let file = secrets.join("github/token");
        fs::write(&file, "hunter2").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o644)).unwrap();
        let findings = secrets_dir(&secrets);
        assert_eq!(levels(&findings), [Level::Fail]);
        assert!(findings[0].to_string().contains("chmod 600"), "{}", findings[0]);
        assert!(!findings[0].to_string().contains("hunter2"));
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        assert_eq!(secrets_dir(&secrets)[0].text, format!("1 in {}", secrets.display()));
    }

    #[test]
    fn a_socket_that_nobody_listens_on_is_told_from_one_that_is_not_there() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("chanop.sock");
        assert!(operator(&socket).text.starts_with("none listens"));
        let listener = UnixListener::bind(&socket).unwrap();
        assert_eq!(operator(&socket).level, Level::Ok);
        drop(listener);
        assert!(operator(&socket).text.contains("was killed"));
    }

    #[test]
    fn specs_that_others_can_write_fail() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o777)).unwrap();
        assert_eq!(specs(dir.path()).level, Level::Fail);
        fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(specs(dir.path()).level, Level::Ok);
        let gone = specs(&dir.path().join("gone"));
        assert!(gone.text.contains("No such file"), "{gone}");
    }

    #[test]
    fn low_inotify_limits_are_a_warning_with_the_command_that_raises_them() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(inotify(dir.path()).level, Level::Warn);
        fs::write(dir.path().join("max_user_watches"), "100\n").unwrap();
        fs::write(dir.path().join("max_user_instances"), "128\n").unwrap();
        assert!(inotify(dir.path()).remedy.unwrap().starts_with("sysctl -w"));
        fs::write(dir.path().join("max_user_watches"), "65536\n").unwrap();
        assert_eq!(inotify(dir.path()).level, Level::Ok);
    }

    #[tokio::test]
    async fn an_engine_that_is_not_there_is_a_failure_that_says_what_to_do() {
        let args = DoctorArgs {
            docker_host: Some("unix:///nowhere/docker.sock".to_owned()),
            ..DoctorArgs::default()
        };
        let findings = engine(&Environment::default(), &args).await;
        assert_eq!(levels(&findings), [Level::Fail]);
        assert!(findings[0].text.contains("/nowhere/docker.sock"), "{}", findings[0]);
        let remote = DoctorArgs { docker_host: Some("tcp://there:2375".to_owned()), ..args };
        let findings = engine(&Environment::default(), &remote).await;
        assert!(findings[0].text.contains("no unix socket"), "{}", findings[0]);
    }
}
