//! The hash that says what a container was made from.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::config::{ContainerConfig, Limits};
use super::label;
use crate::resource::text::hex;

/// Raised by hand when the template changes what it makes of the same spec, so that an upgrade recreates on purpose only.
const TEMPLATE_VERSION: u32 = 1;

/// The hash of everything that cannot be changed in a running container.
///
/// Limits are left out (they change in place), and so is the label with the source file (moving a file between folders
/// disturbs nobody). `extra` is what was resolved beside the configuration: a keyed hash of the secrets' names and
/// values, the restart annotation.
pub fn spec_hash(config: &ContainerConfig, extra: &impl Serialize) -> String {
    let mut config = config.clone();
    config.limits = Limits::default();
    config.labels.remove(label::SOURCE);
    config.labels.remove(label::SPEC_HASH);
    let canonical =
        serde_json::json!({ "version": TEMPLATE_VERSION, "config": set(&config), "extra": extra });
    let digest = Sha256::digest(canonical.to_string().as_bytes());
    format!("h1:{}", hex(digest.get(..16).unwrap_or_default()))
}

/// The fields that are not at their default: a field that a later version adds changes no hash until it is used.
fn set(config: &ContainerConfig) -> BTreeMap<String, serde_json::Value> {
    let fields = |config: &ContainerConfig| match serde_json::to_value(config) {
        Ok(serde_json::Value::Object(fields)) => fields,
        Ok(_) | Err(_) => serde_json::Map::new(),
    };
    let default = fields(&ContainerConfig::default());
    fields(config).into_iter().filter(|(name, value)| default.get(name) != Some(value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_and_the_source_file_do_not_count() {
        let config = ContainerConfig { image: "a".to_owned(), ..ContainerConfig::default() };
        let mut other = config.clone();
        other.limits.memory_bytes = 5;
        other.labels.insert(label::SOURCE.to_owned(), "b.yaml".to_owned());
        assert_eq!(spec_hash(&config, &()), spec_hash(&other, &()));
        other.image = "b".to_owned();
        assert_ne!(spec_hash(&config, &()), spec_hash(&other, &()));
    }

    #[test]
    fn the_hash_of_a_given_config_never_changes() {
        let config = ContainerConfig { image: "a".to_owned(), ..ContainerConfig::default() };
        expect_test::expect!["h1:4d6c5e1cf975902520d6cdc39cf63814"]
            .assert_eq(&spec_hash(&config, &()));
    }
}
