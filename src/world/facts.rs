//! What the host was seen to be: paths and secrets, as data.
//!
//! [`crate::host`] gathers them; policy and template judge them. A fact is as old as its probe, so what depends on one is
//! looked at again when the container is made.

use std::collections::{BTreeMap, BTreeSet};

use crate::resource::effective::{Build, SecretKeyRef};

/// What is to be looked at.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FactsWanted {
    /// Absolute host paths.
    pub paths: BTreeSet<String>,
    /// Single secrets.
    pub secrets: BTreeSet<SecretKeyRef>,
    /// Secret directories that hold an agent's credentials.
    pub credentials: BTreeSet<String>,
    /// What images are built from.
    pub builds: BTreeSet<Build>,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    /// By path as asked.
    pub paths: BTreeMap<String, PathFact>,
    /// By reference.
    pub secrets: BTreeMap<SecretKeyRef, SecretFact>,
    /// By directory.
    pub credentials: BTreeMap<String, CredentialsFact>,
    /// By directory whose `.git` is a file: the git directory that it needs elsewhere. The agent can write that file.
    pub git: BTreeMap<String, String>,
    /// By what is asked for.
    pub builds: BTreeMap<Build, BuildFact>,
    /// The engine's default runtime, as its `/info` names it; `None` before the engine was asked.
    pub default_runtime: Option<String>,
}

/// One host path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathFact {
    /// Nothing there.
    Missing,
    /// It could not be looked at.
    Unreadable(String),
    /// It is there.
    Present {
        /// With every link resolved.
        real: String,
        /// What it is.
        kind: PathKind,
        /// Its owner.
        uid: u32,
        /// Device and inode: which thing it is, whatever its name.
        identity: (u64, u64),
    },
}

/// What a path is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PathKind {
    /// A directory.
    Directory,
    /// A regular file.
    File,
    /// A socket: never mounted.
    Socket,
    /// A device, pipe or anything else: never mounted.
    Other,
}

/// One secret. Its value is never here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretFact {
    /// Nothing there.
    Missing,
    /// It could not be read, or its file may be read by others.
    Unusable(String),
    /// It is there. The hash is keyed with a key of the state directory: equal values, equal hashes, and no guessing.
    Present {
        /// Keyed hash of the value.
        hash: String,
    },
}

/// An agent's credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CredentialsFact {
    /// Neither file is there.
    Missing,
    /// Both files are there, or one that cannot be read.
    Unusable(String),
    /// `oauth-token`.
    OauthToken {
        /// Keyed hash of the value.
        hash: String,
    },
    /// `api-key`.
    ApiKey {
        /// Keyed hash of the value.
        hash: String,
    },
}

/// What an image is built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildFact {
    /// It cannot be used; why.
    Unusable(String),
    /// It is there.
    Present {
        /// Of everything that the image depends on: another content, another image.
        hash: String,
    },
}
