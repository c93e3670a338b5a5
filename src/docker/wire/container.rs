//! Containers, from a list and from an inspect.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Deserializer};

use super::nullable;
use super::readback::{Config, HostConfig, NetworkSettings, config_of, set_by_hand};
use crate::container::snapshot::HostBind;
use crate::container::{ContainerId, ContainerName, ContainerState, Details, Snapshot};
use crate::docker::error::{EngineError, EngineResult};

/// One line of a list.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Listed {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    names: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    state: String,
    #[serde(default, deserialize_with = "nullable")]
    created: i64,
    #[serde(default, deserialize_with = "nullable", rename = "ImageID")]
    image_id: String,
    /// The engine sends no events of a container when it is taken off a network: only this tells.
    network_settings: Option<NetworkSettings>,
    #[serde(default, deserialize_with = "nullable")]
    mounts: Vec<ListedMount>,
    #[serde(default, deserialize_with = "nullable")]
    ports: Vec<ListedPort>,
}

/// A port of a running container; one that is only exposed has no public port.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ListedPort {
    #[serde(default)]
    public_port: Option<u16>,
}

/// A mount in a list. Podman writes targets alone.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum ListedMount {
    #[serde(rename_all = "PascalCase")]
    Whole {
        #[serde(default, rename = "Type", deserialize_with = "nullable")]
        kind: String,
        #[serde(default, deserialize_with = "nullable")]
        source: String,
        #[serde(default, rename = "RW", deserialize_with = "nullable")]
        writable: bool,
    },
    Target(#[expect(dead_code, reason = "it names no host path")] String),
}

impl ListedMount {
    fn into_bind(self) -> Option<HostBind> {
        match self {
            Self::Whole { kind, source, writable } if kind == "bind" => {
                Some(HostBind { source, writable })
            }
            Self::Whole { .. } | Self::Target(_) => None,
        }
    }
}

/// A whole inspect.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Inspected {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    created: String,
    #[serde(default, deserialize_with = "nullable")]
    image: String,
    #[serde(default, deserialize_with = "nullable")]
    restart_count: i64,
    #[serde(default, deserialize_with = "nullable")]
    state: State,
    #[serde(default, deserialize_with = "nullable")]
    config: Config,
    #[serde(default, deserialize_with = "nullable")]
    host_config: HostConfig,
    #[serde(default, deserialize_with = "nullable")]
    network_settings: NetworkSettings,
    #[serde(default, deserialize_with = "nullable", rename = "ExecIDs")]
    exec_ids: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    #[serde(default, deserialize_with = "nullable")]
    status: String,
    #[serde(default, deserialize_with = "nullable", rename = "OOMKilled")]
    oom_killed: bool,
    #[serde(default, deserialize_with = "nullable")]
    pid: i64,
    #[serde(default, deserialize_with = "nullable")]
    exit_code: i64,
    #[serde(default, deserialize_with = "nullable")]
    error: String,
    #[serde(default, deserialize_with = "moment")]
    started_at: Option<Timestamp>,
    #[serde(default, deserialize_with = "moment")]
    finished_at: Option<Timestamp>,
}

impl Listed {
    /// The snapshot of it.
    pub(in crate::docker) fn into_snapshot(self) -> EngineResult<Snapshot> {
        let id = container_id(&self.id)?;
        // A name with a second slash is a link's. One that has none at all is about to go, or nearly there; it is listed by
        // its ID, which is no name of ours.
        let own = self.names.iter().find(|name| !name.trim_start_matches('/').contains('/'));
        let name = container_name(own.map_or(self.id.as_str(), String::as_str))?;
        let created = Timestamp::from_second(self.created).map_err(unreadable)?;
        let state = ContainerState::parse(&self.state);
        let networks = self.network_settings.as_ref().map(NetworkSettings::names);
        let endpoints = self.network_settings.as_ref().map(NetworkSettings::endpoints);
        Ok(Snapshot {
            id,
            name,
            labels: self.labels,
            state,
            created,
            image_id: self.image_id,
            networks,
            endpoints: endpoints.unwrap_or_default(),
            host_ports: self.ports.iter().filter_map(|port| port.public_port).collect(),
            binds: self.mounts.into_iter().filter_map(ListedMount::into_bind).collect(),
            details: None,
        })
    }
}

impl Inspected {
    /// The snapshot of it, with all its details.
    pub(in crate::docker) fn into_snapshot(self) -> EngineResult<Snapshot> {
        let config = config_of(&self.config, &self.host_config, &self.network_settings);
        let short_id = self.id.get(..12).unwrap_or_default();
        let own_names = [short_id, &config.hostname, self.name.trim_start_matches('/')];
        let details = Details {
            memory_swap_bytes: self.host_config.memory_swap(),
            set_by_hand: set_by_hand(&self.host_config, &self.network_settings, &own_names),
            started_at: self.state.started_at,
            finished_at: self.state.finished_at,
            exit_code: self.state.exit_code,
            oom_killed: self.state.oom_killed,
            error: self.state.error,
            pid: self.state.pid,
            restart_count: self.restart_count,
            restart_policy: self.host_config.restart_policy(),
            limits: config.limits,
            image_volumes: self.config.volumes(),
            config,
            exec_ids: self.exec_ids,
        };
        Ok(Snapshot {
            id: container_id(&self.id)?,
            name: container_name(&self.name)?,
            labels: details.config.labels.clone(),
            state: ContainerState::parse(&self.state.status),
            created: self.created.parse().map_err(unreadable)?,
            image_id: self.image,
            networks: Some(self.network_settings.names()),
            endpoints: self.network_settings.endpoints(),
            binds: details.config.binds(),
            host_ports: details.config.host_ports(),
            details: Some(Box::new(details)),
        })
    }

    /// Has its main process a terminal?
    pub(in crate::docker) const fn tty(&self) -> bool {
        self.config.tty
    }
}

/// An ID as the engine gave it.
pub(in crate::docker) fn container_id(text: &str) -> EngineResult<ContainerId> {
    ContainerId::parse(text).map_err(unreadable)
}

fn container_name(text: &str) -> EngineResult<ContainerName> {
    ContainerName::parse(text).map_err(unreadable)
}

fn unreadable(error: impl std::fmt::Display) -> EngineError {
    EngineError::Unreadable(error.to_string())
}

/// The year 1 is Go's "never".
fn moment<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let text = Option::<String>::deserialize(deserializer)?.unwrap_or_default();
    if text.is_empty() || text.starts_with("0001-") {
        return Ok(None);
    }
    text.parse().map(Some).map_err(serde::de::Error::custom)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::docker::wire::decode;

    const ID: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

    fn listed(json: &str) -> EngineResult<Snapshot> {
        decode::<Listed>("container", json.replace("ID", ID).as_bytes())?.into_snapshot()
    }

    #[test]
    fn words_that_we_do_not_know_fail_nothing() {
        let json = r#"{"Id":"ID","Names":["/a"],"Labels":null,"State":"improper","Created":1,"New":{"x":[]}}"#;
        assert_eq!(listed(json).unwrap().state, ContainerState::Unknown);
        let json = r#"{"Id":"ID","Names":["/a"],"State":"stopped"}"#;
        assert_eq!(listed(json).unwrap().state, ContainerState::Exited);
    }

    #[test]
    fn a_links_name_is_not_the_containers() {
        let json = r#"{"Id":"ID","Names":["/other/db","/chanop_default_web"],"State":"running"}"#;
        assert_eq!(listed(json).unwrap().name.as_str(), "chanop_default_web");
        assert_eq!(listed(r#"{"Id":"ID","Names":null,"State":"dead"}"#).unwrap().name.as_str(), ID);
    }

    #[test]
    fn an_answer_that_names_no_container_is_an_error_that_repeats_nothing() {
        let error = listed(r#"{"Id":"short","Names":["/a"]}"#).unwrap_err();
        assert_eq!(error.class(), "unreadable");
        let error =
            decode::<Vec<Listed>>("list", br#"[{"Id":5,"Names":["secretish"]}]"#).unwrap_err();
        assert!(
            error.to_string().contains("[0].Id") && !error.to_string().contains("secretish"),
            "{error}"
        );
    }

    #[test]
    fn go_never_is_none_and_podmans_zones_are_read() {
        let json = format!(
            r#"{{"Id":"{ID}","Name":"/a","Created":"2026-01-02T03:04:05.123456789+02:00","State":{{"Status":"exited",
            "StartedAt":"0001-01-01T00:00:00Z","FinishedAt":"2026-01-02T03:04:05Z","ExitCode":137,"OOMKilled":true}}}}"#
        );
        let snapshot = decode::<Inspected>("c", json.as_bytes()).unwrap().into_snapshot().unwrap();
        let details = snapshot.details.unwrap();
        assert_eq!((details.started_at, details.exit_code, details.oom_killed), (None, 137, true));
        assert_eq!(details.finished_at.unwrap().to_string(), "2026-01-02T03:04:05Z");
        assert_eq!(snapshot.created.to_string(), "2026-01-02T01:04:05.123456789Z");
    }
}
