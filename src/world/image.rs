//! Images: how each comes to be on the engine, what is known to be there, what is being fetched, and what failed.
//!
//! Keyed by reference and source and not by channel: however many channels wait for an image in the same way, it is
//! fetched once; and one that may not be pulled says nothing about the same one where it may.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::time::Duration;

use jiff::Timestamp;

use crate::resource::condition::Reason;
use crate::resource::effective::{Build, PullPolicy};

/// How long it counts that an image was seen, or pulled, before a container is made of it or taken away for it.
pub const SEEN_FOR: Duration = Duration::from_mins(1);

/// How an image comes to be on the engine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageSource {
    /// From its registry, as the policy says.
    Registry(PullPolicy),
    /// Built from a directory beneath the spec directory. Its reference names the content, so one that is there is right.
    Build(Build),
}

impl ImageSource {
    /// May the operator bring it?
    pub const fn can_be_brought(&self) -> bool {
        !matches!(self, Self::Registry(PullPolicy::Never))
    }

    /// Is one that is there as good as a new one?
    pub const fn may_be_old(&self) -> bool {
        !matches!(self, Self::Registry(PullPolicy::Always))
    }
}

/// An image that a container is to be made from.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct WantedImage {
    /// Its reference.
    pub reference: String,
    /// How it comes to be there.
    pub source: ImageSource,
}

/// What is known of images.
pub type Images = BTreeMap<WantedImage, ImageState>;

/// What is known of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageState {
    /// It was there.
    pub found: Option<FoundImage>,
    /// A create or a look said that there is none.
    pub missing: bool,
    /// A create said so, and none was brought since: should a look find it and the next create not, that is no reason to
    /// bring it again at once.
    pub denied: bool,
    /// What is being done about it.
    pub work: Option<ImageWork>,
    /// The last try failed.
    pub failed: Option<ImageFailure>,
}

/// An image that was there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundImage {
    /// `sha256:…`.
    pub id: String,
    /// Its digest in the registry, as `name@sha256:…`, where it came from one.
    pub digest: Option<String>,
    /// The paths that it declares as volumes.
    pub volumes: BTreeSet<String>,
    /// When.
    pub at: Duration,
}

/// What is being done about an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageWork {
    /// What.
    pub kind: ImageWorkKind,
    /// How far it is.
    pub progress: ImageProgress,
}

/// What can be done about an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ImageWorkKind {
    /// Is it there? A moment.
    Look,
    /// Minutes.
    Pull,
    /// Minutes, and the engine's CPUs.
    Build,
}

impl ImageWorkKind {
    /// In a word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Look => "look",
            Self::Pull => "pull",
            Self::Build => "build",
        }
    }
}

/// How far a pull or build is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageProgress {
    /// Layers, or steps, that are done.
    pub done: u32,
    /// Layers, or steps, that are known of.
    pub total: u32,
    /// Bytes that have come.
    pub bytes: u64,
    /// Bytes of all layers whose size is known.
    pub bytes_total: u64,
}

/// Why an image could not be brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFailure {
    /// In one word.
    pub reason: Reason,
    /// In sentences; of a build, the end of its output.
    pub message: String,
    /// Not tried again before.
    pub retry_at: Duration,
    /// The same, for people.
    pub retry_wall: Timestamp,
}

impl ImageState {
    /// Was it there, not long ago?
    pub fn is_fresh(&self, now: Duration) -> bool {
        self.found.as_ref().is_some_and(|found| now.saturating_sub(found.at) < SEEN_FOR)
    }
}

impl fmt::Display for WantedImage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reference)
    }
}
