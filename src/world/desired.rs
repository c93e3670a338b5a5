//! What the files want, judged: for each channel its effective spec and whether it may be acted upon.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::container::ContainerConfig;
use crate::resource::condition::Reason;
use crate::resource::{Effective, ResourceName, SourceRef};
use crate::world::image::{ImageSource, WantedImage};
use crate::world::preparation::Preparation;
use crate::world::run::DesiredRun;

/// Every channel that has a file, or whose file's absence is not yet believed.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Desired {
    /// By name.
    pub channels: BTreeMap<ResourceName, Arc<DesiredChannel>>,
    /// Every run that has a file.
    pub runs: BTreeMap<ResourceName, Arc<DesiredRun>>,
    /// The classes that were read.
    pub classes: Vec<ResourceName>,
    /// Why the spec directory cannot be read now; what was last read counts.
    pub unavailable: Option<String>,
    /// Files and directories of which nobody knows what they hold now.
    pub unread: BTreeSet<String>,
    /// Has a complete scan been merged?
    pub ready: bool,
}

impl Desired {
    /// May this file hold something though nothing of it is known?
    pub fn may_hide(&self, file: &str) -> bool {
        let above =
            std::iter::successors(Some(file), |path| path.rsplit_once('/').map(|(up, _)| up));
        self.unavailable.is_some() || above.into_iter().any(|path| self.unread.contains(path))
    }
}

/// One channel as its file wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct DesiredChannel {
    /// Where it is written.
    pub source: SourceRef,
    /// `metadata.labels`.
    pub labels: BTreeMap<String, String>,
    /// `metadata.annotations`.
    pub annotations: BTreeMap<String, String>,
    /// Class merged in; `None` when that was not possible.
    pub effective: Option<Arc<Effective>>,
    /// Which fields came from where.
    pub origins: Arc<BTreeMap<String, String>>,
    /// Of all that has meaning in the spec: a change of it is a new generation.
    pub fingerprint: String,
    /// May it be acted upon?
    pub verdict: Verdict,
    /// What its shell is to be made from, once admitted.
    pub target: Option<Arc<Target>>,
    /// What git lacks in the workspace or a bind: see [`super::worktree`].
    pub git_missing: Vec<String>,
    /// Is the content newer than what counts, and wrong? Or claimed twice?
    pub source_trouble: Option<(Reason, String)>,
    /// Its file is gone, but its removal waits for a person.
    pub removal_held: bool,
}

/// May a channel be acted upon?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Admitted,
    /// Another host's: its shell is stopped here and never removed.
    NotForThisHost,
    /// No: what runs stays as it is.
    Held {
        /// In one word.
        reason: Reason,
        /// In sentences.
        message: String,
    },
}

/// What a shell is to be made from: computed once for each change, compared often.
#[derive(Debug, Clone, PartialEq)]
pub struct Target {
    /// All of it.
    pub config: ContainerConfig,
    /// How its image comes to be on the engine.
    pub image: ImageSource,
    /// Of everything that cannot change in place.
    pub hash: String,
    /// The lines of the environment that come from the operator's own (`TZ`, proxies). They are not in the hash: a change of
    /// them waits for the shell's next start.
    pub host_environment: Vec<String>,
    /// Does it need the instance's own network?
    pub own_network: bool,
    /// What the host must prepare before it is made.
    pub preparation: Preparation,
}

impl Target {
    /// The image that it is to be made from.
    pub fn wanted_image(&self) -> WantedImage {
        WantedImage { reference: self.config.image.clone(), source: self.image.clone() }
    }
}
