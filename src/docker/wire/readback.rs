//! A container's configuration, read back.
//!
//! The inverse of how [`crate::docker`] creates: right after a create, `drift(asked, read back)` is empty for every field. An
//! integration test holds that against a real engine with every field set.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use super::nullable;
use crate::container::ContainerConfig;
use crate::container::config::{Limits, LogConfig, MountConfig, NetworkMode, PortConfig};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Config {
    #[serde(default, deserialize_with = "nullable")]
    hostname: String,
    #[serde(default, deserialize_with = "nullable")]
    user: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(super) tty: bool,
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    cmd: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    image: String,
    #[serde(default, deserialize_with = "nullable")]
    working_dir: String,
    #[serde(default, deserialize_with = "nullable")]
    entrypoint: Words,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    stop_timeout: i64,
}

/// Podman writes an entrypoint as one text.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Words {
    Many(Vec<String>),
    One(String),
}

impl Default for Words {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct HostConfig {
    #[serde(default, deserialize_with = "nullable")]
    memory: i64,
    #[serde(default, deserialize_with = "nullable")]
    nano_cpus: i64,
    #[serde(default, deserialize_with = "nullable")]
    pids_limit: i64,
    #[serde(default, deserialize_with = "nullable")]
    mounts: Vec<Mount>,
    #[serde(default, deserialize_with = "nullable")]
    binds: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    tmpfs: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    log_config: Log,
    #[serde(default, deserialize_with = "nullable")]
    network_mode: String,
    #[serde(default, deserialize_with = "nullable")]
    port_bindings: BTreeMap<String, Option<Vec<Binding>>>,
    #[serde(default, deserialize_with = "nullable")]
    restart_policy: RestartPolicy,
    #[serde(default, deserialize_with = "nullable")]
    cap_add: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    cap_drop: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    extra_hosts: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    group_add: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    readonly_rootfs: bool,
    #[serde(default, deserialize_with = "nullable")]
    security_opt: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    shm_size: i64,
    #[serde(default, deserialize_with = "nullable")]
    runtime: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Mount {
    #[serde(default, rename = "Type", deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    source: String,
    #[serde(default, deserialize_with = "nullable")]
    target: String,
    #[serde(default, deserialize_with = "nullable")]
    read_only: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Log {
    #[serde(default, rename = "Type", deserialize_with = "nullable")]
    kind: String,
    #[serde(default, deserialize_with = "nullable")]
    config: BTreeMap<String, String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Binding {
    #[serde(default, deserialize_with = "nullable")]
    host_ip: String,
    #[serde(default, deserialize_with = "nullable")]
    host_port: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    #[serde(default, deserialize_with = "nullable")]
    name: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct NetworkSettings {
    #[serde(default, deserialize_with = "nullable")]
    networks: BTreeMap<String, serde_json::Value>,
}

impl NetworkSettings {
    pub(super) fn names(&self) -> BTreeSet<String> {
        self.networks.keys().cloned().collect()
    }
}

impl HostConfig {
    pub(super) fn restart_policy(&self) -> String {
        self.restart_policy.name.clone()
    }
}

/// The configuration that would make such a container.
pub(super) fn config_of(
    config: &Config,
    host: &HostConfig,
    networks: &NetworkSettings,
) -> ContainerConfig {
    ContainerConfig {
        image: config.image.clone(),
        entrypoint: match &config.entrypoint {
            Words::Many(words) => words.clone(),
            Words::One(text) if text.is_empty() => Vec::new(),
            Words::One(text) => vec![text.clone()],
        },
        cmd: config.cmd.clone(),
        env: config.env.clone(),
        working_dir: config.working_dir.clone(),
        user: config.user.clone(),
        hostname: config.hostname.clone(),
        labels: config.labels.clone(),
        mounts: mounts(host),
        group_add: host.group_add.clone(),
        limits: Limits {
            nano_cpus: host.nano_cpus.max(0),
            memory_bytes: host.memory.max(0),
            // 0 and -1 both mean none.
            pids: host.pids_limit.max(0),
        },
        shm_size_bytes: host.shm_size,
        cap_drop: host.cap_drop.clone(),
        cap_add: host.cap_add.clone(),
        no_new_privileges: host.security_opt.iter().any(|option| {
            matches!(
                option.as_str(),
                "no-new-privileges" | "no-new-privileges:true" | "no-new-privileges=true"
            )
        }),
        read_only_rootfs: host.readonly_rootfs,
        runtime: host.runtime.clone(),
        network: network(&host.network_mode, networks),
        ports: host
            .port_bindings
            .iter()
            .flat_map(|(port, bindings)| ports(port, bindings.as_deref()))
            .collect(),
        extra_hosts: host.extra_hosts.clone(),
        stop_timeout_seconds: config.stop_timeout,
        log: LogConfig {
            driver: host.log_config.kind.clone(),
            options: host.log_config.config.clone(),
        },
        tty: config.tty,
    }
}

fn mounts(host: &HostConfig) -> Vec<MountConfig> {
    let listed = host.mounts.iter().filter_map(|mount| {
        let (source, target, read_only) =
            (mount.source.clone(), mount.target.clone(), mount.read_only);
        match mount.kind.as_str() {
            "bind" => Some(MountConfig::Bind { source, target, read_only }),
            "volume" => Some(MountConfig::Volume { source, target, read_only }),
            "tmpfs" => Some(tmpfs(&target, "")),
            _ => None,
        }
    });
    let tmpfs = host.tmpfs.iter().map(|(target, options)| tmpfs(target, options));
    // Podman reports mounts only in the older form; in ours nobody asked for any, so one there is somebody else's doing.
    listed.chain(host.binds.iter().filter_map(|line| bind(line))).chain(tmpfs).collect()
}

/// `source:target[:options]`.
fn bind(line: &str) -> Option<MountConfig> {
    let mut parts = line.splitn(3, ':');
    let (source, target) = (parts.next()?.to_owned(), parts.next()?.to_owned());
    let read_only = parts.next().unwrap_or_default().split(',').any(|option| option == "ro");
    if source.starts_with('/') {
        return Some(MountConfig::Bind { source, target, read_only });
    }
    Some(MountConfig::Volume { source, target, read_only })
}

fn tmpfs(target: &str, options: &str) -> MountConfig {
    let mut exec = false;
    // Docker's defaults: no programs, everybody may write.
    let (mut size_bytes, mut mode, mut uid, mut gid) = (0, 0o1777, None, None);
    for option in options.split(',') {
        match option.split_once('=').unwrap_or((option, "")) {
            ("exec", _) => exec = true,
            ("noexec", _) => exec = false,
            ("size", text) => size_bytes = text.parse().unwrap_or(0),
            ("mode", text) => mode = u32::from_str_radix(text, 8).unwrap_or(mode),
            ("uid", text) => uid = text.parse().ok(),
            ("gid", text) => gid = text.parse().ok(),
            _ => {}
        }
    }
    MountConfig::Tmpfs { target: target.to_owned(), size_bytes, exec, mode, owner: uid.zip(gid) }
}

fn network(mode: &str, networks: &NetworkSettings) -> NetworkMode {
    match mode {
        "none" => NetworkMode::None,
        "host" => NetworkMode::Host,
        // Podman calls every bridge so; the network's own name stands elsewhere.
        "bridge" => {
            let mut names = networks.networks.keys();
            match (names.next(), names.next()) {
                (Some(name), None) => NetworkMode::Named(name.clone()),
                _ => NetworkMode::Named(mode.to_owned()),
            }
        }
        name => NetworkMode::Named(name.to_owned()),
    }
}

/// One `80/tcp` with its bindings. What is published elsewhere than on 127.0.0.1 reads as host port 0, which nobody asks for.
fn ports(port: &str, bindings: Option<&[Binding]>) -> Vec<PortConfig> {
    let container_port = port.split('/').next().and_then(|number| number.parse().ok()).unwrap_or(0);
    let of = |binding: &Binding| {
        let local = binding.host_ip == "127.0.0.1" && port.ends_with("/tcp");
        let host_port = if local { binding.host_port.parse().unwrap_or(0) } else { 0 };
        PortConfig { container_port, host_port }
    };
    bindings.unwrap_or_default().iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(config: &str, host: &str) -> ContainerConfig {
        let config = serde_json::from_str(config).unwrap();
        let host = serde_json::from_str(host).unwrap();
        config_of(&config, &host, &NetworkSettings::default())
    }

    #[test]
    fn an_answer_of_nulls_is_an_empty_configuration() {
        let config = read(
            r#"{"Cmd":null,"Env":null,"Entrypoint":null,"Labels":null}"#,
            r#"{"Mounts":null,"Binds":null,"Tmpfs":null,"PidsLimit":null,"CapAdd":null,"PortBindings":{"80/tcp":null}}"#,
        );
        assert_eq!(config.network, NetworkMode::Named(String::new()));
        assert_eq!(
            (config.mounts, config.ports, config.limits),
            (vec![], vec![], Limits::default())
        );
    }

    #[test]
    fn podmans_older_forms_are_read_too() {
        let config = read(
            r#"{"Entrypoint":"/bin/sh"}"#,
            r#"{"Binds":["/a:/b:ro,rprivate,rbind","vol:/c:rw"],"PidsLimit":-1}"#,
        );
        assert_eq!(config.entrypoint, ["/bin/sh"]);
        let bind =
            MountConfig::Bind { source: "/a".to_owned(), target: "/b".to_owned(), read_only: true };
        let volume = MountConfig::Volume {
            source: "vol".to_owned(),
            target: "/c".to_owned(),
            read_only: false,
        };
        assert_eq!((config.mounts, config.limits.pids), (vec![bind, volume], 0));
    }

    #[test]
    fn a_port_that_the_world_can_reach_is_none_that_we_asked_for() {
        let config =
            read("{}", r#"{"PortBindings":{"80/tcp":[{"HostIp":"0.0.0.0","HostPort":"8080"}]}}"#);
        assert_eq!(config.ports, [PortConfig { container_port: 80, host_port: 0 }]);
    }
}
