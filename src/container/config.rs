//! Everything that a container is made from.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use super::snapshot::HostBind;

/// The settings of a new container. The ancestor's fields keep their meaning: image, memory, CPUs, environment, command,
/// binds, working directory, groups, labels; the rest is what hardening needs.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct ContainerConfig {
    /// The image's reference or ID.
    pub image: String,
    /// Replaces the image's entrypoint when not empty.
    pub entrypoint: Vec<String>,
    /// The command; empty: the image's.
    pub cmd: Vec<String>,
    /// `NAME=value`. Never a secret.
    pub env: Vec<String>,
    /// Absolute; empty: the image's.
    pub working_dir: String,
    /// `uid:gid`; empty: the image's.
    pub user: String,
    /// The host name inside; empty: the engine's choice.
    pub hostname: String,
    /// Our labels.
    pub labels: BTreeMap<String, String>,
    /// Every mount.
    pub mounts: Vec<MountConfig>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// What can be changed in place.
    pub limits: Limits,
    /// Bytes of `/dev/shm`; 0: the engine's default.
    pub shm_size_bytes: i64,
    /// Capabilities taken away.
    pub cap_drop: Vec<String>,
    /// Capabilities given.
    pub cap_add: Vec<String>,
    /// `no-new-privileges`.
    pub no_new_privileges: bool,
    /// Is the image's file system read-only?
    pub read_only_rootfs: bool,
    /// The OCI runtime; empty: the engine's default.
    pub runtime: String,
    /// What it is connected to.
    pub network: NetworkMode,
    /// Published on 127.0.0.1.
    pub ports: Vec<PortConfig>,
    /// `name:address` lines of `/etc/hosts`.
    pub extra_hosts: Vec<String>,
    /// Seconds between TERM and KILL when the engine stops it by itself.
    pub stop_timeout_seconds: i64,
    /// Log driver and its options; explicit, so that logs can be read whatever the engine's default is.
    pub log: LogConfig,
    /// A terminal for the main process.
    pub tty: bool,
}

impl ContainerConfig {
    /// The ports of the host's loopback that such a container publishes. A port that is published otherwise than chanop does
    /// is read back as 0 and left out.
    pub fn host_ports(&self) -> BTreeSet<u16> {
        self.ports.iter().map(|port| port.host_port).filter(|port| *port != 0).collect()
    }

    /// The host paths that such a container mounts.
    pub fn binds(&self) -> Vec<HostBind> {
        let bind = |mount: &MountConfig| match mount {
            MountConfig::Bind { source, target: _, read_only } => {
                Some(HostBind { source: source.clone(), writable: !read_only })
            }
            MountConfig::Volume { .. } | MountConfig::Tmpfs { .. } => None,
        };
        self.mounts.iter().filter_map(bind).collect()
    }
}

/// Limits that Docker changes in a running container; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Limits {
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Bytes; swap equals it.
    pub memory_bytes: i64,
    /// Processes and threads.
    pub pids: i64,
}

impl Limits {
    /// The ancestor's unit.
    pub const fn memory_mb(&self) -> i64 {
        self.memory_bytes / (1024 * 1024)
    }

    /// The limits of a container that had `have` after an update to these. No engine removes a CPU or memory limit from a
    /// container that exists, so a 0 leaves that limit as it was; `pids` changes in every direction.
    #[must_use]
    pub const fn updated_from(self, have: Self) -> Self {
        Self {
            nano_cpus: if self.nano_cpus > 0 { self.nano_cpus } else { have.nano_cpus },
            memory_bytes: if self.memory_bytes > 0 { self.memory_bytes } else { have.memory_bytes },
            pids: self.pids,
        }
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub enum MountConfig {
    /// A host path; it must exist.
    Bind {
        /// Absolute, on the host.
        source: String,
        /// Absolute, in the container.
        target: String,
        /// Read-only?
        read_only: bool,
    },
    /// A named volume; made by the engine when it is missing.
    Volume {
        /// Its name.
        source: String,
        /// Absolute, in the container.
        target: String,
        /// Read-only?
        read_only: bool,
    },
    /// Memory.
    Tmpfs {
        /// Absolute, in the container.
        target: String,
        /// At most so many bytes; 0: the engine's default.
        size_bytes: u64,
        /// May programs be run from it?
        exec: bool,
        /// Its permissions.
        mode: u32,
        /// Who owns it, where the engine can say so.
        owner: Option<(u32, u32)>,
    },
}

impl MountConfig {
    /// Where it appears in the container.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Volume { target, .. }
            | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// What a container is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub enum NetworkMode {
    /// Nothing.
    #[default]
    None,
    /// The host's own.
    Host,
    /// A network by name.
    Named(String),
}

/// One published port, on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct PortConfig {
    /// In the container.
    pub container_port: u16,
    /// On the host.
    pub host_port: u16,
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LogConfig {
    /// The driver.
    pub driver: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

impl Default for LogConfig {
    fn default() -> Self {
        let options = [("max-size", "20m"), ("max-file", "3")];
        Self {
            driver: "json-file".to_owned(),
            options: options.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
        }
    }
}

/// One field in which a container differs from what it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FieldDrift {
    /// The field, as [`ContainerConfig`] names it.
    pub field: &'static str,
    /// What it should be.
    pub want: String,
    /// What it is.
    pub have: String,
}

/// Every field in which `have`, as the engine reports it, differs from `want`.
///
/// Environment and labels may have more than was asked for (the image's); an empty wish (command, working directory,
/// user, runtime, shm size) takes what the image or the engine has. Limits are not compared here: they change in place.
///
/// Asked of every channel at every look, and nearly always nothing: words are only made for what differs.
pub fn drift(want: &ContainerConfig, have: &ContainerConfig) -> Vec<FieldDrift> {
    let mut found = Vec::new();
    let mut note = |field: &'static str, same: bool, words: &dyn Fn() -> (String, String)| {
        if !same {
            let (want, have) = words();
            found.push(FieldDrift { field, want, have });
        }
    };
    let mut text = |field: &'static str, want: &str, have: &str| {
        let same = want.is_empty() || want == have;
        note(field, same, &|| (want.to_owned(), have.to_owned()));
    };
    text("image", &want.image, &have.image);
    text("user", &want.user, &have.user);
    text("working_dir", &want.working_dir, &have.working_dir);
    text("hostname", &want.hostname, &have.hostname);
    text("runtime", &want.runtime, &have.runtime);
    let mut command = |field: &'static str, want: &[String], have: &[String]| {
        let same = want.is_empty() || want == have;
        note(field, same, &|| (want.join(" "), have.join(" ")));
    };
    command("entrypoint", &want.entrypoint, &have.entrypoint);
    command("cmd", &want.cmd, &have.cmd);
    for line in &want.env {
        // Values stay out of the report: it is shown, and a value may be private.
        let name = || line.split('=').next().unwrap_or_default().to_owned();
        let words = || (name(), "another value, or none".to_owned());
        note("env", have.env.contains(line), &words);
    }
    for (key, value) in &want.labels {
        let has = have.labels.get(key).map_or("", String::as_str);
        let words = || (format!("{key}={value}"), format!("{key}={has}"));
        note("labels", has == value, &words);
    }
    let mut lists = |field: &'static str, want: &[String], have: &[String]| {
        let words = || (sorted(want).join(","), sorted(have).join(","));
        note(field, same_in_any_order(want, have), &words);
    };
    lists("group_add", &want.group_add, &have.group_add);
    lists("extra_hosts", &want.extra_hosts, &have.extra_hosts);
    for (field, want, have) in
        [("cap_drop", &want.cap_drop, &have.cap_drop), ("cap_add", &want.cap_add, &have.cap_add)]
    {
        let same = want == have || same_in_any_order(&capabilities(want), &capabilities(have));
        let words =
            || (sorted(&capabilities(want)).join(","), sorted(&capabilities(have)).join(","));
        note(field, same, &words);
    }
    let mounts = |config: &ContainerConfig| {
        let lines: Vec<String> = config.mounts.iter().map(describe_mount).collect();
        sorted(&lines).join(",")
    };
    let same_mounts = same_in_order(&want.mounts, &have.mounts) || mounts(want) == mounts(have);
    note("mounts", same_mounts, &|| (mounts(want), mounts(have)));
    note(
        "shm_size_bytes",
        want.shm_size_bytes == 0 || want.shm_size_bytes == have.shm_size_bytes,
        &|| (want.shm_size_bytes.to_string(), have.shm_size_bytes.to_string()),
    );
    let mut flags = |field: &'static str, want: bool, have: bool| {
        note(field, want == have, &|| (want.to_string(), have.to_string()));
    };
    flags("no_new_privileges", want.no_new_privileges, have.no_new_privileges);
    flags("read_only_rootfs", want.read_only_rootfs, have.read_only_rootfs);
    flags("tty", want.tty, have.tty);
    note("network", want.network == have.network, &|| {
        (format!("{:?}", want.network), format!("{:?}", have.network))
    });
    let ports = |config: &ContainerConfig| {
        let mut ports = config.ports.clone();
        ports.sort();
        ports
    };
    let same_ports = want.ports == have.ports || ports(want) == ports(have);
    note("ports", same_ports, &|| (format!("{:?}", ports(want)), format!("{:?}", ports(have))));
    note("log", want.log == have.log, &|| (want.log.driver.clone(), have.log.driver.clone()));
    found
}

fn sorted(list: &[String]) -> Vec<String> {
    let mut list = list.to_vec();
    list.sort();
    list
}

fn same_in_any_order(one: &[String], other: &[String]) -> bool {
    one == other || (one.len() == other.len() && sorted(one) == sorted(other))
}

/// As far as an engine reports them: a tmpfs by its target alone.
fn same_in_order(one: &[MountConfig], other: &[MountConfig]) -> bool {
    let same = |(one, other): (&MountConfig, &MountConfig)| match (one, other) {
        (MountConfig::Tmpfs { target, .. }, MountConfig::Tmpfs { target: other, .. }) => {
            target == other
        }
        (one, other) => one == other,
    };
    one.len() == other.len() && one.iter().zip(other).all(same)
}

/// One spelling of the many: engines differ in whether they give back `CAP_KILL`, `KILL` or `kill`.
fn capabilities(names: &[String]) -> Vec<String> {
    let plain = |name: &String| {
        let name = name.to_ascii_uppercase();
        name.strip_prefix("CAP_").unwrap_or(&name).to_owned()
    };
    names.iter().map(plain).collect()
}

fn describe_mount(mount: &MountConfig) -> String {
    match mount {
        MountConfig::Bind { source, target, read_only } => {
            format!("bind {source}:{target}{}", if *read_only { ":ro" } else { "" })
        }
        MountConfig::Volume { source, target, read_only } => {
            format!("volume {source}:{target}{}", if *read_only { ":ro" } else { "" })
        }
        MountConfig::Tmpfs { target, .. } => format!("tmpfs {target}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_image_adds_is_no_drift() {
        let want = ContainerConfig { env: vec!["A=1".to_owned()], ..ContainerConfig::default() };
        let mut have = want.clone();
        have.env.push("PATH=/bin".to_owned());
        have.labels.insert("vendor".to_owned(), "x".to_owned());
        have.cmd = vec!["sh".to_owned()];
        assert_eq!(drift(&want, &have), vec![]);
    }

    #[test]
    fn a_capability_spelled_otherwise_is_no_drift() {
        let with = |name: &str| ContainerConfig {
            cap_add: vec![name.to_owned()],
            ..ContainerConfig::default()
        };
        assert_eq!(drift(&with("KILL"), &with("CAP_KILL")), vec![]);
        assert_eq!(drift(&with("KILL"), &with("CAP_CHOWN")).len(), 1);
    }

    #[test]
    fn a_changed_value_is_named_without_being_shown() {
        let want = ContainerConfig { env: vec!["A=secretish".to_owned()], ..Default::default() };
        let have = ContainerConfig { env: vec!["A=2".to_owned()], ..Default::default() };
        let found = drift(&want, &have);
        assert_eq!(found.len(), 1);
        assert!(!format!("{found:?}").contains("secretish"));
    }
}
