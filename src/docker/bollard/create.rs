//! A [`ContainerConfig`] in the engine's words. Pure.
//!
//! Everything is said aloud, also what is the engine's default today, so that a container is the same on every engine:
//! no restart policy (chanop restarts), no init (chanop-init is one), no health check of the image's, swap equal to memory.
//! The inverse is [`crate::docker::wire`]'s read-back.

use bollard::models::{
    ContainerCreateBody, ContainerUpdateBody, HealthConfig, HostConfig, HostConfigLogConfig, Mount,
    MountBindOptions, MountBindOptionsPropagationEnum, MountType, PortBinding, RestartPolicy,
    RestartPolicyNameEnum,
};

use crate::container::ContainerConfig;
use crate::container::config::{Limits, MountConfig, NetworkMode, PortConfig};

/// The body of a create. Podman knows no owner of a tmpfs.
pub(super) fn body(config: &ContainerConfig, podman: bool) -> ContainerCreateBody {
    ContainerCreateBody {
        image: Some(config.image.clone()),
        entrypoint: list(&config.entrypoint),
        cmd: list(&config.cmd),
        env: list(&config.env),
        working_dir: text(&config.working_dir),
        user: text(&config.user),
        hostname: text(&config.hostname),
        labels: Some(config.labels.clone().into_iter().collect()),
        exposed_ports: list(&config.ports.iter().copied().map(tcp).collect::<Vec<_>>()),
        healthcheck: Some(HealthConfig {
            test: Some(vec!["NONE".to_owned()]),
            ..HealthConfig::default()
        }),
        // The init heeds TERM, whatever the image's own program wants to be stopped by.
        stop_signal: Some("SIGTERM".to_owned()),
        stop_timeout: (config.stop_timeout_seconds > 0).then_some(config.stop_timeout_seconds),
        tty: Some(config.tty),
        open_stdin: Some(false),
        host_config: Some(host_config(config, podman)),
        ..ContainerCreateBody::default()
    }
}

fn host_config(config: &ContainerConfig, podman: bool) -> HostConfig {
    let tmpfs = config.mounts.iter().filter_map(|mount| tmpfs(mount, podman));
    let ports = config.ports.iter().map(|port| {
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".to_owned()),
            host_port: Some(port.host_port.to_string()),
        };
        (tcp(*port), Some(vec![binding]))
    });
    HostConfig {
        mounts: list(&config.mounts.iter().filter_map(mount).collect::<Vec<_>>()),
        tmpfs: Some(tmpfs.collect()),
        group_add: list(&config.group_add),
        nano_cpus: above_zero(config.limits.nano_cpus),
        memory: above_zero(config.limits.memory_bytes),
        memory_swap: above_zero(config.limits.memory_bytes),
        pids_limit: above_zero(config.limits.pids),
        shm_size: above_zero(config.shm_size_bytes),
        cap_drop: list(&config.cap_drop),
        cap_add: list(&config.cap_add),
        security_opt: config.no_new_privileges.then(|| vec!["no-new-privileges".to_owned()]),
        readonly_rootfs: Some(config.read_only_rootfs),
        runtime: text(&config.runtime),
        network_mode: Some(match &config.network {
            NetworkMode::None => "none".to_owned(),
            NetworkMode::Host => "host".to_owned(),
            NetworkMode::Named(name) => name.clone(),
        }),
        port_bindings: Some(ports.collect()),
        extra_hosts: list(&config.extra_hosts),
        log_config: Some(HostConfigLogConfig {
            typ: Some(config.log.driver.clone()),
            config: Some(config.log.options.clone().into_iter().collect()),
        }),
        restart_policy: Some(no_restarts()),
        auto_remove: Some(false),
        init: Some(false),
        ..HostConfig::default()
    }
}

/// The body of an update. Memory or CPUs of 0 are left as they are: no engine takes a limit away in place, but its absence
/// must not stop the others from changing.
pub(super) fn update(limits: &Limits) -> ContainerUpdateBody {
    ContainerUpdateBody {
        nano_cpus: above_zero(limits.nano_cpus),
        memory: above_zero(limits.memory_bytes),
        // Together, or raising the one above the other's old value is refused.
        memory_swap: above_zero(limits.memory_bytes),
        pids_limit: Some(limits.pids),
        restart_policy: Some(no_restarts()),
        ..ContainerUpdateBody::default()
    }
}

const fn no_restarts() -> RestartPolicy {
    RestartPolicy { name: Some(RestartPolicyNameEnum::NO), maximum_retry_count: None }
}

/// A bind or volume. As a `Mount`, never as a `Bind`: then a source that is missing is an error, and no fresh directory of
/// root's. Mounts below the source come with it, and those made later do not. With a read-only source they do not come either:
/// the kernel makes the source's own mount read-only and leaves those below it writable. Engines from API 1.44 can make all of them
/// read-only, but only with a kernel from 5.12 on, and either refuse or ignore it on older ones.
fn mount(mount: &MountConfig) -> Option<Mount> {
    let (typ, source, target, read_only) = match mount {
        MountConfig::Bind { source, target, read_only } => {
            (MountType::BIND, source, target, read_only)
        }
        MountConfig::Volume { source, target, read_only } => {
            (MountType::VOLUME, source, target, read_only)
        }
        MountConfig::Tmpfs { .. } => return None,
    };
    let bind_options = MountBindOptions {
        propagation: Some(MountBindOptionsPropagationEnum::RPRIVATE),
        create_mountpoint: Some(false),
        non_recursive: read_only.then_some(true),
        ..MountBindOptions::default()
    };
    Some(Mount {
        typ: Some(typ),
        source: Some(source.clone()),
        target: Some(target.clone()),
        read_only: Some(*read_only),
        bind_options: (typ == MountType::BIND).then_some(bind_options),
        ..Mount::default()
    })
}

/// A tmpfs, in the older form: the newer one has no way to say `exec`, nor whose it is.
fn tmpfs(mount: &MountConfig, podman: bool) -> Option<(String, String)> {
    let MountConfig::Tmpfs { target, size_bytes, exec, mode, owner } = mount else { return None };
    let mut options = vec![
        "rw".to_owned(),
        "nosuid".to_owned(),
        "nodev".to_owned(),
        if *exec { "exec".to_owned() } else { "noexec".to_owned() },
        format!("mode={mode:o}"),
    ];
    if *size_bytes > 0 {
        options.push(format!("size={size_bytes}"));
    }
    if let (Some((uid, gid)), false) = (owner, podman) {
        options.push(format!("uid={uid}"));
        options.push(format!("gid={gid}"));
    }
    Some((target.clone(), options.join(",")))
}

fn tcp(port: PortConfig) -> String {
    format!("{}/tcp", port.container_port)
}

fn text(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

fn list<T: Clone>(items: &[T]) -> Option<Vec<T>> {
    (!items.is_empty()).then(|| items.to_vec())
}

fn above_zero(number: i64) -> Option<i64> {
    (number > 0).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_never_makes_its_source() {
        let bind =
            MountConfig::Bind { source: "/a".to_owned(), target: "/b".to_owned(), read_only: true };
        let config = ContainerConfig { mounts: vec![bind], ..ContainerConfig::default() };
        let host = body(&config, false).host_config.unwrap();
        assert_eq!(host.binds, None);
        let mounts = host.mounts.unwrap();
        assert_eq!(mounts[0].bind_options.as_ref().unwrap().create_mountpoint, Some(false));
        assert_eq!(mounts[0].read_only, Some(true));
    }

    #[test]
    fn only_writable_binds_bring_the_mounts_below_their_source() {
        for (read_only, non_recursive) in [(true, Some(true)), (false, None)] {
            let (source, target) = ("/a".to_owned(), "/b".to_owned());
            let bind = mount(&MountConfig::Bind { source, target, read_only }).unwrap();
            assert_eq!(bind.bind_options.unwrap().non_recursive, non_recursive);
        }
    }

    #[test]
    fn an_empty_configuration_still_says_what_must_not_be_left_to_the_engine() {
        let body = body(&ContainerConfig::default(), false);
        assert_eq!(body.healthcheck.unwrap().test, Some(vec!["NONE".to_owned()]));
        let host = body.host_config.unwrap();
        assert_eq!(host.restart_policy, Some(no_restarts()));
        assert_eq!((host.init, host.auto_remove), (Some(false), Some(false)));
        assert_eq!(host.network_mode.as_deref(), Some("none"));
        assert_eq!(host.log_config.unwrap().typ.as_deref(), Some("json-file"));
        assert_eq!((host.memory, host.memory_swap), (None, None));
    }

    #[test]
    fn a_tmpfs_says_what_may_be_run_from_it_and_whose_it_is() {
        let mount = MountConfig::Tmpfs {
            target: "/t".to_owned(),
            size_bytes: 1024,
            exec: true,
            mode: 0o700,
            owner: Some((1000, 1001)),
        };
        let options = "rw,nosuid,nodev,exec,mode=700,size=1024,uid=1000,gid=1001";
        assert_eq!(tmpfs(&mount, false), Some(("/t".to_owned(), options.to_owned())));
        assert!(!tmpfs(&mount, true).unwrap().1.contains("uid="));
    }

    #[test]
    fn an_update_moves_memory_and_swap_together_and_never_sends_a_zero_for_them() {
        let update_of = |memory_bytes| update(&Limits { memory_bytes, nano_cpus: 0, pids: 0 });
        assert_eq!((update_of(7).memory, update_of(7).memory_swap), (Some(7), Some(7)));
        assert_eq!(
            (update_of(0).memory, update_of(0).nano_cpus, update_of(0).pids_limit),
            (None, None, Some(0))
        );
    }
}
