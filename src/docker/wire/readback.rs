//! A container's configuration, read back.
//!
//! The inverse of how [`crate::docker`] creates: right after a create, `drift(asked, read back)` is empty for every field. An
//! integration test holds that against a real engine with every field set.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::Value;

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
    #[serde(default, deserialize_with = "nullable")]
    volumes: BTreeMap<String, Value>,
}

impl Config {
    /// Those of its image: chanop declares none itself.
    pub(super) fn volumes(&self) -> BTreeSet<String> {
        self.volumes.keys().cloned().collect()
    }
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
    memory_swap: i64,
    #[serde(default, deserialize_with = "nullable")]
    memory_reservation: i64,
    #[serde(default, deserialize_with = "nullable")]
    kernel_memory: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpu_period: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpu_quota: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpu_realtime_period: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpu_realtime_runtime: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpu_shares: i64,
    #[serde(default, deserialize_with = "nullable")]
    cpuset_cpus: String,
    #[serde(default, deserialize_with = "nullable")]
    cpuset_mems: String,
    #[serde(default, deserialize_with = "nullable")]
    blkio_weight: i64,
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
    networks: BTreeMap<String, Value>,
}

impl NetworkSettings {
    /// The IDs of the connections that are in effect.
    pub(super) fn endpoints(&self) -> BTreeSet<String> {
        let ids = self.networks.values().filter_map(|endpoint| endpoint["EndpointID"].as_str());
        ids.filter(|id| !id.is_empty()).map(str::to_owned).collect()
    }

    pub(super) fn names(&self) -> BTreeSet<String> {
        self.networks.keys().cloned().collect()
    }
}

/// How a container is connected to one network, as far as `docker network connect` can say. Read leniently: no shape of it makes
/// a container unreadable.
fn endpoint_options(endpoint: &Value, own_names: &[&str]) -> Vec<String> {
    let texts = |list: &Value| -> Vec<String> {
        let texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.map(str::to_owned).collect()
    };
    let ipam = &endpoint["IPAMConfig"];
    let addresses = ["IPv4Address", "IPv6Address"].map(|field| ipam[field].as_str());
    let addresses = addresses.into_iter().flatten().filter(|address| !address.is_empty());
    // Docker gives every container its short ID and its host name for aliases.
    let aliases = texts(&endpoint["Aliases"]);
    let aliases = aliases.iter().filter(|alias| !own_names.contains(&alias.as_str()));
    let options = endpoint["DriverOpts"].as_object().into_iter().flat_map(|map| map.keys());
    let priority = endpoint["GwPriority"].as_i64().filter(|priority| *priority != 0);
    addresses
        .map(|address| format!("--ip {address}"))
        .chain(texts(&ipam["LinkLocalIPs"]).iter().map(|ip| format!("--link-local-ip {ip}")))
        .chain(texts(&endpoint["Links"]).iter().map(|link| format!("--link {link}")))
        .chain(aliases.map(|alias| format!("--alias {alias}")))
        .chain(options.map(|option| format!("--driver-opt {option}")))
        .chain(priority.map(|priority| format!("--gw-priority {priority}")))
        .collect()
}

/// What `docker update` and `docker network connect` can set and [`config_of`] has no field for: settings that are not at their
/// default. `own_names` are the aliases that the engine gives by itself.
pub(super) fn set_by_hand(
    host: &HostConfig,
    networks: &NetworkSettings,
    own_names: &[&str],
) -> BTreeMap<&'static str, String> {
    // Podman reports a CPU limit as quota and period too; Docker refuses to set both.
    let limited = host.nano_cpus > 0;
    let numbers = [
        ("memory-reservation", host.memory_reservation),
        ("kernel-memory", host.kernel_memory),
        ("cpu-period", if limited { 0 } else { host.cpu_period }),
        ("cpu-quota", if limited { 0 } else { host.cpu_quota }),
        ("cpu-rt-period", host.cpu_realtime_period),
        ("cpu-rt-runtime", host.cpu_realtime_runtime),
        ("cpu-shares", host.cpu_shares),
        ("blkio-weight", host.blkio_weight),
    ];
    // -1 means no limit, like 0.
    let numbers = numbers.into_iter().filter(|(_, value)| *value > 0);
    let texts = [("cpuset-cpus", &host.cpuset_cpus), ("cpuset-mems", &host.cpuset_mems)];
    let texts = texts.into_iter().filter(|(_, value)| !value.is_empty());
    let endpoints = networks.networks.values();
    let endpoints: Vec<String> =
        endpoints.flat_map(|endpoint| endpoint_options(endpoint, own_names)).collect();
    numbers
        .map(|(name, value)| (name, value.to_string()))
        .chain(texts.map(|(name, value)| (name, value.clone())))
        .chain((!endpoints.is_empty()).then(|| ("network connect", endpoints.join(" "))))
        .collect()
}

impl HostConfig {
    pub(super) const fn memory_swap(&self) -> i64 {
        self.memory_swap
    }

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
    fn every_flag_of_docker_update_is_read_back() {
        let host = |json: &str| serde_json::from_str::<HostConfig>(json).unwrap();
        let read = |json: &str| {
            set_by_hand(&host(json), &NetworkSettings::default(), &[])
                .into_iter()
                .collect::<Vec<_>>()
        };
        for (json, name, value) in [
            (r#"{"CpusetCpus":"0-1"}"#, "cpuset-cpus", "0-1"),
            (r#"{"CpusetMems":"0"}"#, "cpuset-mems", "0"),
            (r#"{"CpuShares":512}"#, "cpu-shares", "512"),
            (r#"{"CpuPeriod":50000}"#, "cpu-period", "50000"),
            (r#"{"CpuQuota":50000}"#, "cpu-quota", "50000"),
            (r#"{"CpuRealtimePeriod":1000}"#, "cpu-rt-period", "1000"),
            (r#"{"CpuRealtimeRuntime":1000}"#, "cpu-rt-runtime", "1000"),
            (r#"{"MemoryReservation":33554432}"#, "memory-reservation", "33554432"),
            (r#"{"KernelMemory":52428800}"#, "kernel-memory", "52428800"),
            (r#"{"BlkioWeight":300}"#, "blkio-weight", "300"),
        ] {
            assert_eq!(read(json), [(name, value.to_owned())], "{json}");
        }
        // What a container has by itself, a quota that was removed, and Podman's second form of a CPU limit.
        for json in [
            r#"{"CpusetCpus":"","CpuShares":0,"CpuQuota":-1,"MemorySwap":-1,"KernelMemory":null}"#,
            r#"{"NanoCpus":500000000,"CpuPeriod":100000,"CpuQuota":50000}"#,
        ] {
            assert_eq!(read(json), [], "{json}");
        }
    }

    #[test]
    fn options_of_network_connect_are_read_back() {
        let read = |endpoint: &str| {
            let text = format!(r#"{{"Networks":{{"net":{endpoint}}}}}"#);
            let networks: NetworkSettings = serde_json::from_str(&text).unwrap();
            let own = ["114998b57434", "web"];
            set_by_hand(&HostConfig::default(), &networks, &own).remove("network connect")
        };
        for untouched in [
            "null",
            r#"{"IPAMConfig":null,"Links":null,"Aliases":["114998b57434","web"],"DriverOpts":null}"#,
            r#"{"IPAMConfig":{},"Aliases":null,"DriverOpts":{},"GwPriority":0,"EndpointID":"ab"}"#,
        ] {
            assert_eq!(read(untouched), None, "{untouched}");
        }
        let by_hand = r#"{"IPAMConfig":{"IPv4Address":"10.0.0.7"},"Links":["db:db"],
            "Aliases":["other","114998b57434"],"DriverOpts":{"a.b":"c"},"GwPriority":1}"#;
        assert_eq!(
            read(by_hand).unwrap(),
            "--ip 10.0.0.7 --link db:db --alias other --driver-opt a.b --gw-priority 1"
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
