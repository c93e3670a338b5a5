//! From a channel as it counts to the container that is to be made of it.
//!
//! Pure: the same channel, facts and settings give the same configuration and the same hash. A change here that changes
//! what the same channel gets must raise `TEMPLATE_VERSION` in [`crate::container::spec_hash`], or an upgrade would leave
//! the old containers as they are.

mod run;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::container::config::{Limits, LogConfig, MountConfig, NetworkMode, PortConfig};
use crate::container::spec_hash::spec_hash;
use crate::container::{ContainerConfig, Identity, ImageRef, NormalImageRef, ObjectName, label};
use crate::init::layout;
use crate::resource::effective::{
    AgentCli, Effective, EnvValue, Image, Mount, Network, PullPolicy, User,
};
use crate::resource::merge::DEFAULT_IMAGE;
use crate::resource::{ResourceName, meta};
use crate::world::Settings;
use crate::world::desired::Target;
use crate::world::environment::HOST_ALIAS;
use crate::world::facts::{BuildFact, CredentialsFact, Facts, SecretFact};
use crate::world::image::ImageSource;
use crate::world::preparation::{ContainerUser, Preparation, support_mounts};
use crate::world::runtime;

pub use run::run_container;

/// Where images that chanop builds are, and no others.
pub const BUILD_REPOSITORY: &str = "chanop-build";
/// The instance whose builds are named by their channel alone; two instances must not take each other's builds away.
const DEFAULT_INSTANCE: &str = "default";
/// Seconds that the engine itself gives a container between TERM and KILL, when the host shuts down.
const STOP_TIMEOUT_SECONDS: i64 = 10;

/// The shell container of a channel: the ancestor's `CreateShellContainer`, as a value.
pub fn shell_container(
    name: &ResourceName,
    effective: &Effective,
    facts: &Facts,
    settings: &Settings,
    source_file: &str,
    annotations: &BTreeMap<String, String>,
) -> Target {
    let identity = Identity::shell(settings.instance.clone(), name.clone());
    let user = ContainerUser::of(effective.user, &settings.owner, (0, 0));
    let preparation = Preparation::of(name, effective, &settings.owner, user, facts);
    let (network, own_network) = match &effective.network {
        Network::Bridge => {
            (NetworkMode::Named(ObjectName::network_of(&settings.instance).to_string()), true)
        }
        Network::None => (NetworkMode::None, false),
        Network::Host => (NetworkMode::Host, false),
        Network::Named(name) => (NetworkMode::Named(name.clone()), false),
    };
    let reaches_host = matches!(network, NetworkMode::Named(_));
    let mut labels = identity.labels();
    labels.insert(label::SOURCE.to_owned(), source_file.to_owned());
    let (reference, image) = image_of(&settings.instance, name, &effective.image, facts);
    let mut config = ContainerConfig {
        image: reference,
        entrypoint: entrypoint(&effective.shell.command),
        cmd: Vec::new(),
        env: environment(name, effective, settings),
        working_dir: effective.workspace.path.clone(),
        user: match effective.user {
            User::Image => String::new(),
            User::Owner | User::Ids { .. } => format!("{}:{}", user.uid, user.gid),
        },
        // The host's network brings the host's name.
        hostname: if network == NetworkMode::Host { String::new() } else { name.to_string() },
        labels,
        mounts: mounts(effective, settings, &preparation),
        group_add: effective.security.supplemental_groups.iter().map(u32::to_string).collect(),
        limits: Limits {
            nano_cpus: effective.resources.nano_cpus,
            memory_bytes: effective.resources.memory_bytes,
            pids: effective.resources.pids,
        },
        shm_size_bytes: effective.resources.shm_size_bytes,
        cap_drop: effective.security.drop_capabilities.clone(),
        cap_add: effective.security.add_capabilities.clone(),
        no_new_privileges: !effective.security.allow_privilege_escalation,
        read_only_rootfs: effective.security.read_only_root_filesystem,
        runtime: runtime::requested(effective, facts.default_runtime.as_deref()).to_owned(),
        network,
        ports: effective
            .ports
            .iter()
            .map(|port| PortConfig {
                container_port: port.container_port,
                host_port: port.host_port,
            })
            .collect(),
        extra_hosts: if reaches_host {
            vec![format!("{HOST_ALIAS}:host-gateway")]
        } else {
            Vec::new()
        },
        stop_timeout_seconds: STOP_TIMEOUT_SECONDS,
        log: LogConfig::default(),
        tty: false,
    };
    let host_environment: Vec<String> =
        settings.environment.iter().filter(|line| config.env.contains(line)).cloned().collect();
    let mut hashed = config.clone();
    hashed.env.retain(|line| !host_environment.contains(line));
    let hash = spec_hash(&hashed, &Resolved::of(effective, facts, annotations));
    config.labels.insert(label::SPEC_HASH.to_owned(), hash.clone());
    Target { config, image, hash, host_environment, own_network, preparation }
}

/// The reference to make the container from, and how it comes to be there. A build's names its content, so that another
/// content is another image; where that is not known, no channel is admitted.
fn image_of(
    instance: &ResourceName,
    name: &ResourceName,
    image: &Image,
    facts: &Facts,
) -> (String, ImageSource) {
    match &image.build {
        None => {
            // Made on the engine; in a registry, anybody could have that name.
            let normal = |text: &str| ImageRef::parse(text).ok().and_then(|image| image.normal());
            let made_here = normal(&image.reference) == normal(DEFAULT_IMAGE);
            let policy = if made_here { PullPolicy::Never } else { image.pull_policy };
            (with_tag(&image.reference), ImageSource::Registry(policy))
        }
        Some(build) => {
            let hash = match facts.builds.get(build) {
                Some(BuildFact::Present { hash }) => hash.as_str(),
                _ => "unknown",
            };
            let reference = format!("{}:{hash}", build_repository(instance, name));
            (reference, ImageSource::Build(build.clone()))
        }
    }
}

/// The repository of what is built for a channel; its tags are hashes of contents.
pub fn build_repository(instance: &ResourceName, channel: &ResourceName) -> String {
    match instance.as_str() {
        DEFAULT_INSTANCE => format!("{BUILD_REPOSITORY}/{channel}"),
        instance => format!("{BUILD_REPOSITORY}/{instance}.{channel}"),
    }
}

fn entrypoint(command: &[String]) -> Vec<String> {
    let init = layout::INIT.to_owned();
    match command {
        [] => vec![init, "idle".to_owned()],
        command => [init, "run".to_owned(), "--".to_owned()]
            .into_iter()
            .chain(command.iter().cloned())
            .collect(),
    }
}

/// A name without a tag could be the beginning of an image's ID to an engine that has no image of that name.
fn with_tag(reference: &str) -> String {
    let normal = ImageRef::parse(reference).ok().and_then(|reference| reference.normal());
    match normal.as_ref().and_then(NormalImageRef::tag) {
        Some(tag) if !reference.ends_with(&format!(":{tag}")) => format!("{reference}:{tag}"),
        _ => reference.to_owned(),
    }
}

/// The host's (time zone, proxies), then ours, then the channel's own, which win. Secrets are not among them.
fn environment(name: &ResourceName, effective: &Effective, settings: &Settings) -> Vec<String> {
    let mut lines: BTreeMap<&str, &str> = BTreeMap::new();
    for line in &settings.environment {
        if let Some((key, value)) = line.split_once('=') {
            lines.insert(key, value);
        }
    }
    if effective.user != User::Image {
        lines.insert("HOME", &settings.owner.home);
        lines.insert("USER", &settings.owner.user);
        lines.insert("LOGNAME", &settings.owner.user);
    }
    lines.insert("CHANOP_CHANNEL", name.as_str());
    for variable in &effective.env {
        match &variable.value {
            EnvValue::Plain(value) => lines.insert(&variable.name, value),
            EnvValue::Secret(_) => lines.remove(variable.name.as_str()),
        };
    }
    lines.into_iter().map(|(key, value)| format!("{key}={value}")).collect()
}

fn mounts(
    effective: &Effective,
    settings: &Settings,
    preparation: &Preparation,
) -> Vec<MountConfig> {
    let mut mounts = support_mounts(&settings.paths, preparation);
    mounts.push(MountConfig::Bind {
        source: effective.workspace.path.clone(),
        target: effective.workspace.path.clone(),
        read_only: false,
    });
    for bind in &preparation.binds {
        mounts.push(MountConfig::Bind {
            source: bind.source.clone(),
            target: bind.target.clone(),
            read_only: bind.read_only,
        });
    }
    // Not among those that init compares: it is the operator's own file, and an upgrade may replace it.
    if let (AgentCli::Inject, Some(program)) = (effective.agent.cli, &settings.agent_cli) {
        mounts.push(MountConfig::Bind {
            source: program.clone(),
            target: format!("{}/{}", layout::PROGRAMS, effective.agent.bin),
            read_only: true,
        });
    }
    let user = preparation.user;
    for mount in &effective.mounts {
        match mount {
            Mount::Bind { .. } => {}
            Mount::Volume { source, target, read_only } => mounts.push(MountConfig::Volume {
                source: source.clone(),
                target: target.clone(),
                read_only: *read_only,
            }),
            Mount::Tmpfs { target, size_bytes, exec } => mounts.push(MountConfig::Tmpfs {
                target: target.clone(),
                size_bytes: *size_bytes,
                exec: *exec,
                mode: 0o1777,
                owner: Some((user.uid, user.gid)),
            }),
        }
    }
    // A mount comes after the one that it lies in.
    mounts.sort_by(|a, b| a.target().cmp(b.target()));
    mounts
}

/// What counts in the hash beside the configuration.
#[derive(Serialize)]
struct Resolved {
    restarted_at: Option<String>,
    secrets: Vec<String>,
    credentials: Option<String>,
    /// Constant. Limits change in place, and the planner compares those that Docker cannot remove; the two fields keep the
    /// hashes of channels with default limits, so that an upgrade does not recreate their containers.
    has_cpu_limit: bool,
    has_memory_limit: bool,
    /// Read-only binds leave out the mounts below their source. Containers that an earlier version made with such a bind could write to
    /// those mounts, so they are made again; no other container has another hash for this.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    non_recursive_binds: bool,
}

impl Resolved {
    fn of(effective: &Effective, facts: &Facts, annotations: &BTreeMap<String, String>) -> Self {
        let secrets = effective.env.iter().filter_map(|variable| match &variable.value {
            EnvValue::Plain(_) => None,
            EnvValue::Secret(key) => match facts.secrets.get(key) {
                Some(SecretFact::Present { hash }) => Some(format!("{}={hash}", variable.name)),
                _ => None,
            },
        });
        let credentials = effective.agent.credentials.as_ref().and_then(|name| {
            match facts.credentials.get(name) {
                Some(CredentialsFact::OauthToken { hash } | CredentialsFact::ApiKey { hash }) => {
                    Some(format!("{name}={hash}"))
                }
                _ => None,
            }
        });
        Self {
            restarted_at: annotations.get(meta::RESTARTED_AT).cloned(),
            secrets: secrets.collect(),
            credentials,
            has_cpu_limit: false,
            has_memory_limit: true,
            non_recursive_binds: effective
                .mounts
                .iter()
                .any(|mount| matches!(mount, Mount::Bind { read_only: true, .. })),
        }
    }
}

#[cfg(test)]
pub(in crate::planner) mod tests {
    use std::collections::BTreeSet;
    use std::time::Duration;

    use super::*;
    use crate::resource::effective::SecretKeyRef;
    use crate::resource::{Owner, Resource, merge};
    use crate::specs::parse::parse_file;
    use crate::world::preparation::HostPaths;

    fn made(agent: &str, agent_cli: Option<&str>) -> Target {
        made_with(agent, agent_cli, &Facts::default())
    }

    fn made_with(agent: &str, agent_cli: Option<&str>, facts: &Facts) -> Target {
        let (_, target, _) = channel(&format!("agent: {agent}"), agent_cli, facts);
        target
    }

    /// A channel as it counts, its shell, and the settings of its operator.
    pub(in crate::planner) fn channel(
        spec: &str,
        agent_cli: Option<&str>,
        facts: &Facts,
    ) -> (Effective, Target, Settings) {
        let text = format!(
            "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: a}}\nspec:\n  workspace: {{path: /home/u/src}}\n  {spec}\n"
        );
        let parsed = parse_file("a.yaml", &text);
        let [Resource::Channel(channel)] = parsed.resources.as_slice() else {
            panic!("{:?}", parsed.violations)
        };
        let owner =
            Owner { user: "u".to_owned(), uid: 1000, gid: 1000, home: "/home/u".to_owned() };
        let effective = merge::effective(channel, None, &owner).unwrap().effective;
        let settings = Settings {
            instance: ResourceName::parse("default").unwrap(),
            owner,
            host_labels: BTreeMap::new(),
            protected: Vec::new(),
            environment: Vec::new(),
            paths: HostPaths { state: "/state".to_owned(), secrets: "/run/secrets".to_owned() },
            agent_cli: agent_cli.map(str::to_owned),
            runtime_classes: BTreeSet::new(),
            own_ports: BTreeSet::new(),
            prune_delay: Duration::from_secs(10),
            stray_grace: Duration::from_mins(1),
            max_runs: 8,
            process: uuid::Uuid::nil(),
            state_place: crate::world::ownership::StatePlace::default(),
        };
        let name = &channel.meta.name;
        let target =
            shell_container(name, &effective, facts, &settings, "a.yaml", &BTreeMap::new());
        (effective, target, settings)
    }

    #[test]
    fn what_the_agent_reads_at_each_start_makes_no_container_anew() {
        let server = "mcpServers: {db: {command: x, env: {P: {valueFrom: {secretKeyRef: {name: s, key: k}}}}}}";
        let facts = |hash: &str| {
            let key = SecretKeyRef { name: "s".to_owned(), key: "k".to_owned() };
            let fact = SecretFact::Present { hash: hash.to_owned() };
            Facts { secrets: BTreeMap::from([(key, fact)]), ..Facts::default() }
        };
        let plain = made("{}", None);
        for agent in
            ["{model: m, systemPrompt: s, args: [--tools, Bash]}", &format!("{{{server}}}")]
        {
            for hash in ["one", "two"] {
                let target = made_with(agent, None, &facts(hash));
                assert_eq!(target.hash, plain.hash, "{agent}");
            }
        }
        // But the next start of the container brings them.
        let servers = made(&format!("{{{server}}}"), None).preparation.mcp_servers;
        assert_eq!(servers.keys().collect::<Vec<_>>(), ["db"]);
    }

    #[test]
    fn environment_of_the_operator_is_not_in_the_hash() {
        let (effective, plain, mut settings) =
            channel("env: [{name: TZ, value: UTC}]", None, &Facts::default());
        settings.environment = vec!["TZ=Europe/Berlin".to_owned(), "NO_PROXY=x".to_owned()];
        let name = ResourceName::parse("a").unwrap();
        let facts = Facts::default();
        let target =
            shell_container(&name, &effective, &facts, &settings, "a.yaml", &BTreeMap::new());
        assert!(target.config.env.contains(&"NO_PROXY=x".to_owned()), "{:?}", target.config.env);
        assert_eq!(target.hash, plain.hash);
        // The channel's own word wins, and is in the hash.
        assert_eq!(target.host_environment, ["NO_PROXY=x"]);
        assert!(target.config.env.contains(&"TZ=UTC".to_owned()));
    }

    #[test]
    fn only_channels_with_read_only_binds_are_made_again() {
        let hash = |mounts: &str| {
            let facts = Facts::default();
            let (effective, target, _) = channel(&format!("mounts: {mounts}"), None, &facts);
            let mut before = Resolved::of(&effective, &facts, &BTreeMap::new());
            before.non_recursive_binds = false;
            (target.hash, spec_hash(&target.config, &before))
        };
        for (mounts, again) in [
            ("[{type: bind, source: /home/u/d, target: /d}]", true),
            ("[{type: bind, source: /home/u/d, target: /d, readOnly: false}]", false),
            ("[]", false),
        ] {
            let (now, before) = hash(mounts);
            assert_eq!(now != before, again, "{mounts}");
        }
    }

    #[test]
    fn a_key_is_shown_to_the_cli_by_a_file_and_a_token_is_not() {
        let credentials = |fact: CredentialsFact| {
            let credentials = BTreeMap::from([("c".to_owned(), fact)]);
            let facts = Facts { credentials, ..Facts::default() };
            made_with("{credentials: {secret: c}}", None, &facts)
        };
        let shows = |target: &Target| {
            target.config.mounts.iter().any(|mount| mount.target() == layout::MANAGED_SETTINGS)
        };
        let key = |hash: &str| credentials(CredentialsFact::ApiKey { hash: hash.to_owned() });
        let token = credentials(CredentialsFact::OauthToken { hash: "h".to_owned() });
        assert!(shows(&key("h")) && !shows(&token) && !shows(&made("{}", None)));
        assert!(!token.preparation.signs_in_by_key);
        assert_ne!(
            key("h").hash,
            key("i").hash,
            "a new key reaches a shell that is open with the next container"
        );
    }

    #[test]
    fn the_operators_cli_is_mounted_where_it_is_to_be_injected_and_there_alone() {
        let target = |agent, cli| {
            let mounts = made(agent, cli).config.mounts;
            mounts
                .into_iter()
                .filter(|mount| mount.target().starts_with(layout::PROGRAMS))
                .collect::<Vec<_>>()
        };
        let mount = |target: &str| MountConfig::Bind {
            source: "/opt/claude".to_owned(),
            target: target.to_owned(),
            read_only: true,
        };
        assert_eq!(target("{cli: Inject}", Some("/opt/claude")), [mount("/.chanop/bin/claude")]);
        assert_eq!(
            target("{cli: Inject, bin: cc}", Some("/opt/claude")),
            [mount("/.chanop/bin/cc")]
        );
        assert_eq!(target("{cli: Image}", Some("/opt/claude")), []);
        assert_eq!(target("{cli: Inject}", None), []);
        // A new flag of the operator's makes nobody's container anew who does not ask for it.
        assert_eq!(made("{}", Some("/opt/claude")).hash, made("{}", None).hash);
    }
}
