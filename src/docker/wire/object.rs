//! The engine itself, images, networks and volumes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::nullable;
use crate::docker::engine::{ImageInfo, NetworkInfo, VolumeInfo};

/// `/info`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Info {
    #[serde(default, rename = "ID", deserialize_with = "nullable")]
    pub(in crate::docker) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) name: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) docker_root_dir: String,
    #[serde(default, rename = "OSType", deserialize_with = "nullable")]
    pub(in crate::docker) os_type: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) architecture: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) default_runtime: String,
    #[serde(default, rename = "NCPU", deserialize_with = "nullable")]
    pub(in crate::docker) ncpu: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) mem_total: i64,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) swap_limit: bool,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) cgroup_version: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) security_options: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) warnings: Vec<String>,
}

/// An image's inspect.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Image {
    id: String,
    #[serde(default, deserialize_with = "nullable")]
    repo_digests: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    config: ImageConfig,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    #[serde(default, deserialize_with = "nullable")]
    env: Vec<String>,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    user: String,
    #[serde(default, deserialize_with = "nullable")]
    volumes: BTreeMap<String, Value>,
}

/// One line of a list of images.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct ListedImage {
    pub(in crate::docker) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) repo_tags: Vec<String>,
}

/// A network.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Network {
    pub(in crate::docker) id: String,
    #[serde(default, deserialize_with = "nullable")]
    pub(in crate::docker) name: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    created: String,
}

/// What a network's creation answers.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct CreatedNetwork {
    pub(in crate::docker) id: String,
}

/// A volume.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(in crate::docker) struct Volume {
    name: String,
    #[serde(default, deserialize_with = "nullable")]
    labels: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    driver: String,
    #[serde(default, deserialize_with = "nullable")]
    options: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "nullable")]
    mountpoint: String,
}

impl From<Image> for ImageInfo {
    fn from(image: Image) -> Self {
        let ImageConfig { env, labels, user, volumes } = image.config;
        let volumes = volumes.into_keys().collect();
        Self { id: image.id, repo_digests: image.repo_digests, env, labels, user, volumes }
    }
}

impl From<Network> for NetworkInfo {
    fn from(network: Network) -> Self {
        let Network { id, name: _, labels, options, created } = network;
        Self { id, labels, options, created }
    }
}

impl From<Volume> for VolumeInfo {
    fn from(volume: Volume) -> Self {
        let Volume { name, labels, driver, options, mountpoint } = volume;
        Self { name, labels, driver, options, mountpoint }
    }
}
