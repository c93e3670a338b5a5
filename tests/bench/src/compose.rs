//! The same containers by `docker compose up -d`, where compose is installed.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use chanop::clock::Clock;
use chanop::container::ContainerConfig;
use chanop::container::config::{MountConfig, NetworkMode};
use serde_json::{Map, Value, json};

use crate::Outcome;
use crate::floor::anonymous;
use crate::ground::program;

/// How it is called here; `None`: it is not installed.
pub(crate) fn installed() -> Option<Vec<&'static str>> {
    let ways: [&[&str]; 2] = [&["docker", "compose"], &["docker-compose"]];
    let answers = |way: &&[&str]| {
        let quiet =
            command(way).arg("version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        quiet.is_ok_and(|status| status.success())
    };
    ways.into_iter().find(answers).map(<[&str]>::to_vec)
}

fn command(way: &[&str]) -> Command {
    let mut command = program(way.first().copied().unwrap_or_default());
    command.args(way.iter().skip(1)).stdin(Stdio::null());
    command
}

/// How long it takes, from its start to its end.
pub(crate) fn run(
    way: &[&str],
    directory: &Path,
    engine: &Path,
    configs: &[ContainerConfig],
    instance: &str,
    clock: Clock,
) -> Outcome<Duration> {
    let file = directory.join("compose.json");
    std::fs::write(&file, project(configs, instance).to_string())?;
    let mut up = command(way);
    up.env("DOCKER_HOST", format!("unix://{}", engine.display()));
    up.arg("-p").arg(format!("{instance}c")).arg("-f").arg(&file).args(["up", "-d"]);
    let began = clock.now().mono;
    let output = up.output()?;
    let took = clock.now().mono.saturating_sub(began);
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned().into());
    }
    Ok(took)
}

/// Everything that compose can say of them; on the operator's network, as the others are.
fn project(configs: &[ContainerConfig], instance: &str) -> Value {
    let services = configs.iter().enumerate().map(|(number, config)| {
        (format!("s{number}"), service(&anonymous(config.clone(), instance)))
    });
    let networks = configs.iter().filter_map(|config| match &config.network {
        NetworkMode::Named(name) => Some((name.clone(), json!({ "external": true, "name": name }))),
        NetworkMode::None | NetworkMode::Host => None,
    });
    json!({
        "version": "3.8",
        "services": services.collect::<Map<String, Value>>(),
        "networks": networks.collect::<Map<String, Value>>(),
    })
}

fn service(config: &ContainerConfig) -> Value {
    let volumes = config.mounts.iter().filter_map(|mount| match mount {
        MountConfig::Bind { source, target, read_only } => Some(
            json!({ "type": "bind", "source": source, "target": target, "read_only": read_only }),
        ),
        MountConfig::Volume { .. } | MountConfig::Tmpfs { .. } => None,
    });
    let tmpfs = config.mounts.iter().filter_map(|mount| match mount {
        MountConfig::Tmpfs { target, .. } => Some(target.clone()),
        MountConfig::Bind { .. } | MountConfig::Volume { .. } => None,
    });
    // What a dollar means to compose it shall not mean here.
    let plain =
        |words: &[String]| words.iter().map(|word| word.replace('$', "$$")).collect::<Vec<_>>();
    let mut service = json!({
        "image": config.image,
        "entrypoint": plain(&config.entrypoint),
        "environment": plain(&config.env),
        "working_dir": config.working_dir,
        "user": config.user,
        "hostname": config.hostname,
        "labels": config.labels,
        "volumes": volumes.collect::<Value>(),
        "tmpfs": tmpfs.collect::<Value>(),
        "cap_drop": config.cap_drop,
        "read_only": config.read_only_rootfs,
        "extra_hosts": config.extra_hosts,
        "logging": { "driver": config.log.driver, "options": config.log.options },
    });
    if let (NetworkMode::Named(name), Some(fields)) = (&config.network, service.as_object_mut()) {
        fields.insert("networks".to_owned(), json!([name]));
    }
    if let (true, Some(fields)) = (config.no_new_privileges, service.as_object_mut()) {
        fields.insert("security_opt".to_owned(), json!(["no-new-privileges"]));
    }
    service
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::BENCH_LABEL;

    #[test]
    fn a_service_has_the_label_by_which_it_is_removed_and_no_variable_of_composes() {
        let config = ContainerConfig {
            image: "a:1".to_owned(),
            env: vec!["A=$B".to_owned()],
            network: NetworkMode::Named("n".to_owned()),
            ..ContainerConfig::default()
        };
        let project = project(&[config], "bench1x1");
        assert_eq!(project.pointer("/services/s0/environment/0"), Some(&json!("A=$$B")));
        assert_eq!(project["services"]["s0"]["labels"][BENCH_LABEL], "bench1x1");
        assert_eq!(project["networks"]["n"]["external"], true);
    }
}
