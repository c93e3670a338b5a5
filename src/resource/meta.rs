//! Names, metadata and where an object was written.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The API group and version every file names.
pub const API_VERSION: &str = "chanop.dev/v1alpha1";

/// The longest name of a channel: it must fit into container names beside instance, run and attempt.
pub const NAME_MAX: usize = 40;

/// The longest name of a run or schedule: a DNS-1123 label.
pub const LABEL_MAX: usize = 63;

/// A DNS-1123 label: lower-case letters, digits and `-`, starting and ending with a letter or digit.
///
/// Parsed once; whoever holds one may put it into a path, a label or a container name. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

/// Why a text is not a [`ResourceName`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing was written.
    #[error("a name must not be empty")]
    Empty,
    /// Longer than a DNS-1123 label may be.
    #[error("a name has at most {max} characters, this one has {length}")]
    TooLong {
        /// The bound that was passed.
        max: usize,
        /// What was found.
        length: usize,
    },
    /// A character that has no place there.
    #[error(
        "a name has lower-case letters, digits and `-`, and starts and ends with a letter or digit; `{0}` does not"
    )]
    BadCharacters(String),
}

impl ResourceName {
    /// Parses a name of at most [`LABEL_MAX`] characters.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        Self::parse_at_most(text, LABEL_MAX)
    }

    /// Parses a name of at most `max` characters.
    pub fn parse_at_most(text: &str, max: usize) -> Result<Self, NameError> {
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text.len() > max {
            return Err(NameError::TooLong { max, length: text.len() });
        }
        let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if !text.bytes().all(inner) || text.starts_with('-') || text.ends_with('-') {
            return Err(NameError::BadCharacters(text.to_owned()));
        }
        Ok(Self(text.into()))
    }

    /// The name as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for ResourceName {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ResourceName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// The kinds of object that files hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// A workspace with one long-lived shell container.
    Channel,
    /// The agent once, in a container of its own.
    Run,
    /// Runs at times.
    Schedule,
    /// What many channels share.
    ChannelClass,
}

impl Kind {
    /// Every kind, in the order in which they are listed.
    pub const ALL: [Self; 4] = [Self::Channel, Self::Run, Self::Schedule, Self::ChannelClass];

    /// The word as files write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Channel => "Channel",
            Self::Run => "Run",
            Self::Schedule => "Schedule",
            Self::ChannelClass => "ChannelClass",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which object: what everything in the core is keyed by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct ObjectRef {
    /// Its kind.
    pub kind: Kind,
    /// Its name.
    pub name: ResourceName,
}

impl ObjectRef {
    /// The channel of this name.
    pub const fn channel(name: ResourceName) -> Self {
        Self { kind: Kind::Channel, name }
    }

    /// The run of this name.
    pub const fn run(name: ResourceName) -> Self {
        Self { kind: Kind::Run, name }
    }
}

impl fmt::Display for ObjectRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.kind.as_str().to_ascii_lowercase(), self.name)
    }
}

/// Where an object was written.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceRef {
    /// The file, relative to the spec directory, with `/` between its parts.
    pub file: String,
    /// The line of the document's first key, from 1.
    pub line: u32,
}

impl fmt::Display for SourceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// `metadata` of every kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectMeta {
    /// The object's ID within its kind.
    pub name: ResourceName,
    /// For selecting; they never become Docker labels.
    pub labels: BTreeMap<String, String>,
    /// For notes, and for `chanop.dev/restartedAt`.
    pub annotations: BTreeMap<String, String>,
}

/// The annotation whose every new value recreates the shell, as `kubectl rollout restart` does.
pub const RESTARTED_AT: &str = "chanop.dev/restartedAt";
