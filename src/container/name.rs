//! Names that go into the engine's URLs: parsed first, escaped never.
//!
//! The engine's client puts names into paths as they are, so `../info#` as a container's name would reach another
//! resource. These types are the only ones that [`crate::docker`] takes.

use std::fmt;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::resource::ResourceName;

/// Why a text is not a name of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what} of the engine")]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

impl InvalidName {
    pub(super) fn new(what: &'static str, text: &str) -> Self {
        Self { what, text: text.to_owned() }
    }
}

fn is_object_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 255
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The full, 64-digit ID of a container: the only way to name one in a call that changes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ContainerId(String);

impl TryFrom<String> for ContainerId {
    type Error = InvalidName;

    fn try_from(text: String) -> Result<Self, InvalidName> {
        Self::parse(&text)
    }
}

impl From<ContainerId> for String {
    fn from(id: ContainerId) -> Self {
        id.0
    }
}

impl ContainerId {
    /// 64 lower-case hexadecimal digits and nothing else: a prefix could mean a stranger's container.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() == 64 && text.bytes().all(hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName { what: "container ID", text: text.to_owned() })
    }

    /// All 64 digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The first 12 digits, as `docker ps` shows them.
    pub fn short(&self) -> &str {
        self.0.get(..12).unwrap_or(&self.0)
    }
}

impl fmt::Display for ContainerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name of a container of ours, or of one that has it instead of ours.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContainerName(String);

impl ContainerName {
    /// The shell of a channel. `_` cannot stand in a DNS-1123 name, so two channels never share one.
    pub fn shell(instance: &ResourceName, channel: &ResourceName) -> Self {
        Self(format!("chanop_{instance}_{channel}"))
    }

    /// One attempt of a run.
    pub fn run(
        instance: &ResourceName,
        channel: &ResourceName,
        run: &ResourceName,
        attempt: u32,
    ) -> Self {
        Self(format!("chanop_{instance}_{channel}_{run}_{attempt}"))
    }

    /// One that is never started, and there for a moment to give a volume away. It has no label, so nobody takes it for a shell.
    pub fn for_giving(instance: &ResourceName, unique: Uuid) -> Self {
        Self(format!("chanop_volume_{instance}_{}", unique.simple()))
    }

    /// Parses a name as the engine reports it, with or without its leading slash.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let name = text.strip_prefix('/').unwrap_or(text);
        if is_object_name(name) {
            return Ok(Self(name.to_owned()));
        }
        Err(InvalidName { what: "container name", text: text.to_owned() })
    }

    /// The name, without a slash.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ContainerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The name or ID of a volume or network.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ObjectName(String);

impl ObjectName {
    /// Parses a name.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        if is_object_name(text) {
            return Ok(Self(text.to_owned()));
        }
        Err(InvalidName { what: "volume or network name", text: text.to_owned() })
    }

    /// The instance's own bridge network.
    pub fn network_of(instance: &ResourceName) -> Self {
        Self(format!("chanop_{instance}"))
    }

    /// The volume whose label says which state directory owns the instance on this engine.
    pub fn anchor_of(instance: &ResourceName) -> Self {
        Self(format!("chanop_anchor_{instance}"))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_could_reach_another_resource_are_refused() {
        for text in ["", "../info#", "a/b", "a?x=1", "-a", ".a", "a b", "a%2f"] {
            assert!(ContainerName::parse(text).is_err(), "{text}");
            assert!(ObjectName::parse(text).is_err(), "{text}");
            assert!(ContainerId::parse(text).is_err(), "{text}");
        }
        assert_eq!(
            ContainerName::parse("/chanop_default_web").unwrap().as_str(),
            "chanop_default_web"
        );
    }

    #[test]
    fn a_prefix_of_an_id_is_no_id() {
        assert!(ContainerId::parse("0123456789ab").is_err());
        assert_eq!(ContainerId::parse(&"a".repeat(64)).unwrap().short(), "aaaaaaaaaaaa");
    }
}
