//! What one look at the spec directory saw, as data.
//!
//! [`crate::specs`] makes these; the core judges them. A scan says what was read, and as exactly what was *not*: a file that
//! could not be read, a directory that would not open, a bound that was met. Absence counts only where
//! [`RawScan::proves_absence_of`] says so; whether it lasts, whether it is too much at once, and which content was last good
//! is the core's business.
//!
//! Always: no state but [`FileState::Parsed`] holds a byte of a file's content, and the text of a reason never does.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::resource::validate::Violation;
use crate::resource::{Now, Resource};

/// Device and inode: which directory it is, whatever its name.
///
/// Good for as long as the host is up; after a reboot a device may have another number.
pub type Identity = (u64, u64);

/// One look at the whole tree. Cheap to clone parts of: the files' contents are shared.
#[derive(Debug, Clone)]
pub struct RawScan {
    /// When it began. What changed later may or may not be in it.
    pub started: Now,
    /// How long it took.
    pub took: Duration,
    /// The directory itself.
    pub root: Root,
    /// Every file with a spec's name, by its path relative to the root, with `/` between the parts.
    ///
    /// A file with several names, through links, is here once: under its own name where that was read, else under the first
    /// link that led to it.
    pub files: BTreeMap<String, FileState>,
    /// Every directory that was read, by relative path (the root is the empty one). Another device than last time means that
    /// something was mounted or unmounted there: what is then missing beneath it was not deleted.
    pub directories: BTreeMap<String, Identity>,
    /// Directories, and links that may have led to one, that were not read, each with the reason. Files beneath are unknown.
    pub unreadable: BTreeMap<String, String>,
    /// Why this scan proves no absence at all: more files than are read, or a tree that did not hold still.
    pub incomplete: Option<String>,
    /// Which state of the files this is, where somebody wrote it down.
    pub revision: Option<Revision>,
    /// Does the kernel tell of changes, or is there only the periodic look?
    pub watch: Watch,
    /// How many files were read and parsed for it; the others were as before.
    pub parsed: usize,
}

impl RawScan {
    /// May a file that is not in [`RawScan::files`] be taken for one that is not there?
    ///
    /// Not when the root is away, when the scan is incomplete, or when the file would lie in a directory that was not read.
    pub fn proves_absence_of(&self, file: &str) -> bool {
        matches!(self.root, Root::Present(_))
            && self.incomplete.is_none()
            && !ancestors(file).any(|directory| self.unreadable.contains_key(directory))
    }

    /// Was something mounted or unmounted, between `earlier` and this scan, on a directory above `file`?
    pub fn remounted_above(&self, earlier: &Self, file: &str) -> bool {
        ancestors(file).any(|directory| {
            match (earlier.directories.get(directory), self.directories.get(directory)) {
                (Some((before, _)), Some((now, _))) => before != now,
                _ => false,
            }
        })
    }
}

/// Every directory above a relative path, the root (the empty path) last; the path itself first, since a link that may have been
/// a directory has a name of its own.
fn ancestors(file: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(file), |path| match path.rsplit_once('/') {
        Some((parent, _)) => Some(parent),
        None if path.is_empty() => None,
        None => Some(""),
    })
}

/// The spec directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Root {
    /// It was read.
    Present(Place),
    /// It is missing, no directory, or could not be read. Nothing is known about any file.
    Unavailable {
        /// Why, in words.
        reason: String,
    },
}

/// Where the path of the spec directory led.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The directory at its end.
    pub identity: Identity,
    /// Its path without links.
    pub real: String,
    /// Every link passed on the way, in order. Empty where the path is what it says.
    pub links: Vec<RootLink>,
}

/// One link on the way to the spec directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RootLink {
    /// The directory that holds the link.
    pub holder: Identity,
    /// The link's name in it.
    pub name: String,
    /// What it says.
    pub target: String,
}

impl Place {
    /// Is this still the source that `pinned` was, so that what is missing here may be deleted there?
    ///
    /// The same directory is. So is another directory when a link on the way, the same one in the same place, now says
    /// something else: git-sync publishes a revision so. Another directory under an unchanged path is not: it was moved away,
    /// replaced, unmounted or mounted over, and nobody said that the old files are gone.
    pub fn continues(&self, pinned: &Self) -> bool {
        if self.identity == pinned.identity {
            return true;
        }
        let first_change = pinned.links.iter().zip(&self.links).find(|(before, now)| before != now);
        first_change
            .is_some_and(|(before, now)| before.holder == now.holder && before.name == now.name)
    }
}

/// One file.
#[derive(Debug, Clone)]
pub enum FileState {
    /// Read and parsed; whether well is in its violations.
    Parsed(Arc<ParsedFile>),
    /// It is there and would not be read: an error of the system, a link to nothing.
    Unreadable(String),
    /// It will not be read: a link out of the directory, no regular file, too large, no text.
    Refused(String),
    /// It changed while it was read, each time.
    Unstable,
}

/// What a file says.
#[derive(Debug)]
pub struct ParsedFile {
    /// The whole of it, as read.
    pub text: Arc<str>,
    /// The objects, as far as they could be read.
    pub resources: Vec<Resource>,
    /// What is wrong with it. With an error among them the file does not count, and its last good content does. A file
    /// without an object has one.
    pub violations: Vec<Violation>,
}

/// Which state of the files a scan saw.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Revision {
    /// A commit's first seven digits, or the name of what a link points to.
    pub text: String,
}

/// How changes come to be noticed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Watch {
    /// Nobody is watching: this was one look.
    #[default]
    Off,
    /// The kernel tells; and every half a minute all is looked at anyway.
    Active,
    /// The kernel refuses to tell, so a change may take half a minute to be seen.
    Degraded(String),
}
