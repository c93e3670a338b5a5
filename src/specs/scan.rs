//! One look at the whole spec directory, taken until it is one state of it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, Mode, OFlags, openat};

use super::NowFn;
use super::beneath::Stillness;
use super::cache::Cache;
use super::limits::Limits;
use super::parse;
use super::place::{self, Steps};
use super::read::{NotRead, read_file};
use super::revision;
use super::tree::{Parse, Tree, Walk};
use crate::resource::Now;
use crate::world::scan::{FileState, Identity, ParsedFile, Place, RawScan, Root, Watch};

/// How often a tree that changes while it is read is read again before the scan says so.
const TRIES: usize = 3;

/// Where to listen for changes of what a scan saw.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Listen {
    /// Directories on the way to the root, and the name in each that matters.
    pub(super) way: Steps,
    /// Directories of which everything matters.
    pub(super) whole: Vec<(PathBuf, Identity)>,
    /// The tree did not hold still: look again soon.
    pub(super) unsettled: bool,
}

/// Takes scans of one directory, remembering the last one's files.
#[derive(Debug)]
pub(super) struct Scanner {
    directory: PathBuf,
    limits: Limits,
    cache: Cache,
    parse: Parse,
}

impl Scanner {
    pub(super) fn new(directory: PathBuf, limits: Limits) -> Self {
        Self { directory, limits, cache: Cache::default(), parse }
    }

    /// Looks at everything.
    pub(super) fn scan(&mut self, now: &NowFn) -> (RawScan, Listen) {
        let started = now();
        self.cache.begin(started.wall);
        let mut listen = Listen::default();
        let mut parsed = 0;
        let mut tries = 0;
        loop {
            tries += 1;
            let (place, steps) = place::find(&self.directory);
            listen.way = steps;
            let walked = place
                .map_err(|error| error.to_string())
                .and_then(|place| self.walk(&place).map(|walked| (place, walked)));
            let (place, (mut tree, stillness)) = match walked {
                Ok(walked) => walked,
                Err(reason) => {
                    listen.whole.clear();
                    let reason = format!("{}: {reason}", self.directory.display());
                    return (unavailable(started, now, reason), listen);
                }
            };
            parsed += tree.parsed;
            tree.parsed = parsed;
            listen.whole = whole(&place, &tree);
            if stillness != Stillness::Still && tries < TRIES {
                continue;
            }
            listen.unsettled = stillness != Stillness::Still;
            if listen.unsettled {
                tree = unsettled(tree, stillness);
            } else {
                self.cache.retain(|name| tree.files.contains_key(name));
            }
            return (present(started, now, place, tree), listen);
        }
    }

    /// One walk, and whether it saw one state of the tree. An error is of the root itself.
    fn walk(&mut self, place: &Place) -> Result<(Tree, Stillness), String> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = openat(CWD, place.real.as_str(), flags, Mode::empty())
            .map_err(|errno| errno.to_string())?;
        let (tree, stillness) = Walk::new(root, &self.limits, &mut self.cache, self.parse).walk();
        if let Some(reason) = tree.unreadable.get("") {
            return Err(reason.clone());
        }
        let same_place = place::find(&self.directory).0.is_ok_and(|after| after == *place);
        Ok((tree, if same_place { stillness } else { Stillness::Swapped }))
    }
}

/// A tree that changed each time. When it may be a mixture of two, no file of it is passed on; else those that were seen are,
/// so that somebody who writes all the time does not keep the others from being heard.
fn unsettled(tree: Tree, stillness: Stillness) -> Tree {
    let reason = "the files changed while they were read, each time".to_owned();
    match stillness {
        Stillness::Swapped => {
            Tree { parsed: tree.parsed, incomplete: Some(reason), ..Tree::default() }
        }
        Stillness::Still | Stillness::Moving => Tree { incomplete: Some(reason), ..tree },
    }
}

/// A scan that saw nothing at all.
pub(super) fn unavailable(started: Now, now: &NowFn, reason: String) -> RawScan {
    of_root(started, now, Root::Unavailable { reason }, Tree::default())
}

fn present(started: Now, now: &NowFn, place: Place, tree: Tree) -> RawScan {
    let data_link = tree.data_link.as_ref().map(|link| link.to_string_lossy());
    let revision = revision::of(&place, data_link.as_deref());
    RawScan { revision, ..of_root(started, now, Root::Present(place), tree) }
}

fn of_root(started: Now, now: &NowFn, root: Root, tree: Tree) -> RawScan {
    RawScan {
        started,
        took: now().mono.saturating_sub(started.mono),
        root,
        files: tree.files,
        directories: tree.directories,
        unreadable: tree.unreadable,
        incomplete: tree.incomplete,
        revision: None,
        watch: Watch::Off,
        parsed: tree.parsed,
    }
}

fn whole(place: &Place, tree: &Tree) -> Vec<(PathBuf, Identity)> {
    let root = Path::new(&place.real);
    tree.real_directories.iter().map(|(path, identity)| (root.join(path), *identity)).collect()
}

/// Looks at `path` once: a directory with all beneath it, or a single file, which may have any name and be a link.
pub fn scan_once(path: &Path, now: &NowFn) -> RawScan {
    if path.is_dir() {
        return Scanner::new(path.to_path_buf(), Limits::default()).scan(now).0;
    }
    let started = now();
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) => return unavailable(started, now, format!("{}: {error}", path.display())),
    };
    let (Some(directory), Some(entry)) = (real.parent(), real.file_name()) else {
        return unavailable(started, now, format!("{}: no file", path.display()));
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let opened = openat(CWD, directory, flags, Mode::empty()).map_err(NotRead::Failed);
    let name = path.to_string_lossy().into_owned();
    let state = match opened.and_then(|directory| read_file(directory, entry, &Limits::default())) {
        Ok((_, bytes)) => FileState::Parsed(Arc::new(parse(&name, bytes))),
        Err(NotRead::Failed(errno)) => FileState::Unreadable(errno.to_string()),
        Err(NotRead::Refused(reason)) => FileState::Refused(reason),
        Err(NotRead::Unstable) => FileState::Unstable,
    };
    let tree = Tree { files: [(name, state)].into(), parsed: 1, ..Tree::default() };
    match place::find(directory).0 {
        Ok(place) => present(started, now, place, tree),
        Err(error) => unavailable(started, now, error.to_string()),
    }
}

/// One file to its objects. What is no text has a violation that says so, and is kept as far as it can be shown.
fn parse(file: &str, bytes: Vec<u8>) -> ParsedFile {
    let parse::ParsedFile { resources, violations } = parse::parse_bytes(file, &bytes);
    let text = String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned());
    ParsedFile { text: text.into(), resources, violations }
}
