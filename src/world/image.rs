//! Images: how each comes to be on the engine, what is known to be there, what is being fetched, and what failed.
//!
//! Keyed by reference and not by channel: however many channels wait for an image, it is fetched once.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use crate::resource::condition::Reason;
use crate::resource::effective::{Build, PullPolicy};

/// How long it counts that an image was seen, or pulled, before a container is made of it or taken away for it.
pub const SEEN_FOR: Duration = Duration::from_mins(1);

/// How an image comes to be on the engine.
#[derive(Debug, Clone, PartialEq, Eq)]
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

    /// What bringing it is called.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Registry(_) => "pull",
            Self::Build(_) => "build",
        }
    }
}

/// What is known of images, by reference.
pub type Images = BTreeMap<String, ImageState>;

/// What is known of one image.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageState {
    /// It was there.
    pub found: Option<FoundImage>,
    /// The engine said that it has none.
    pub missing: bool,
    /// It is being brought.
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
    /// When.
    pub at: Duration,
}

/// An image on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageWork {
    /// `pull` or `build`.
    pub verb: &'static str,
    /// How far it is.
    pub progress: ImageProgress,
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

impl fmt::Display for ImageProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.total == 0 {
            return f.write_str("begun");
        }
        write!(f, "{} of {}", self.done, self.total)?;
        if self.bytes_total > 0 {
            let megabytes = |bytes: u64| bytes.div_ceil(1_000_000);
            write!(f, ", {} of {} MB", megabytes(self.bytes), megabytes(self.bytes_total))?;
        }
        Ok(())
    }
}

/// Why an image could not be brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageFailure {
    /// In one word.
    pub reason: Reason,
    /// In sentences; of a build, the end of its output.
    pub message: String,
    /// How often in a row.
    pub count: u32,
    /// Not tried again before.
    pub retry_at: Duration,
}

impl ImageState {
    /// Was it there, not long ago?
    pub fn is_fresh(&self, now: Duration) -> bool {
        self.found.as_ref().is_some_and(|found| now.saturating_sub(found.at) < SEEN_FOR)
    }
}
