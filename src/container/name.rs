//! Names that go into the engine's URLs: parsed first, escaped never.
//!
//! The engine's client puts names into paths as they are, so `../info#` as a container's name would reach another
//! resource. These types are the only ones that [`crate::docker`] takes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::resource::ResourceName;

/// Why a text is not a name of the engine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {what} of the engine")]
pub struct InvalidName {
    what: &'static str,
    text: String,
}

fn is_object_name(text: &str) -> bool {
    let mut bytes = text.bytes();
    text.len() <= 255
        && bytes.next().is_some_and(|b| b.is_ascii_alphanumeric())
        && bytes.all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
}

/// The full, 64-digit ID of a container: the only way to name one in a call that changes it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct ContainerId(String);

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

/// A reference to an image, or an image's ID.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ImageRef(String);

impl ImageRef {
    /// Parses a reference: an optional host with port, path components, tag, digest. The tag is not added here.
    pub fn parse(text: &str) -> Result<Self, InvalidName> {
        let bad = || InvalidName { what: "image reference", text: text.to_owned() };
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest)),
            None => (text, None),
        };
        if let Some(digest) = digest {
            let hex = digest.strip_prefix("sha256:").ok_or_else(bad)?;
            if hex.len() != 64 || !hex.bytes().all(|b| b.is_ascii_hexdigit()) {
                return Err(bad());
            }
        }
        let last_slash = rest.rfind('/').map_or(0, |at| at + 1);
        let (path, tag) = match rest.get(last_slash..).and_then(|last| last.find(':')) {
            Some(colon) => rest.split_at(last_slash + colon),
            None => (rest, ""),
        };
        let tag_ok = |tag: &str| {
            !tag.is_empty()
                && tag.len() <= 128
                && !tag.starts_with(['.', '-'])
                && tag.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
        };
        if !tag.is_empty() && !tag_ok(tag.trim_start_matches(':')) {
            return Err(bad());
        }
        let mut parts = path.split('/').peekable();
        let first = parts.peek().copied().unwrap_or_default();
        let is_host = path.contains('/')
            && (first.contains('.') || first.contains(':') || first == "localhost");
        if is_host {
            let (host, port) = first.split_once(':').unwrap_or((first, "0"));
            // Label by label: `..` would be a host of dots only, and climb out of the URL's path.
            let label_ok = |label: &str| {
                !label.is_empty() && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            };
            let port_ok = !port.is_empty() && port.bytes().all(|b| b.is_ascii_digit());
            if !port_ok || !host.split('.').all(label_ok) {
                return Err(bad());
            }
            parts.next();
        }
        let component_ok = |part: &str| {
            part.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
                && part.bytes().last().is_some_and(|b| b.is_ascii_alphanumeric())
                && part.bytes().all(|b| {
                    b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'_' | b'.' | b'-')
                })
                && !part.contains("..")
        };
        let mut parts = parts.peekable();
        if path.len() > 255 || parts.peek().is_none() || !parts.all(component_ok) {
            return Err(bad());
        }
        Ok(Self(text.to_owned()))
    }

    /// The reference as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ImageRef {
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

    #[test]
    fn image_references_follow_their_grammar() {
        for text in [
            "busybox",
            "chanop-demo:latest",
            "library/node:20",
            "localhost:5000/a/b:tag_1",
            "reg.example.com/a__b/c@sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        ] {
            assert!(ImageRef::parse(text).is_ok(), "{text}");
        }
        for text in [
            "",
            "A",
            "a/",
            "/a",
            "a:",
            "a:-x",
            "../x",
            "./x",
            ".:5/x",
            "h..i/x",
            "h:/x",
            "h:x/x",
            "a@sha256:12",
            "a b",
            "a/../b",
            "a?x",
            "a#b",
            "h:5/x/:y",
        ] {
            assert!(ImageRef::parse(text).is_err(), "{text}");
        }
    }
}
