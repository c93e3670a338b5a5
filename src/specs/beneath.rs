//! Follows links beneath the spec directory, and never out of it.
//!
//! The kernel's `openat2` could do it, where there is one and no seccomp filter forbids it; this is done by hand, a name at a
//! time and without following anything, so that it is the same everywhere, and because each link and directory passed has to
//! be remembered: [`Beneath::still_as_passed`] looks at all of them again when everything has been read. A directory swapped
//! under a scan (a `ConfigMap`'s `..data`, a checkout) shows there, so no scan is a mixture of two trees.
//!
//! Always: `..` goes back to a directory that was come from, so the root is never left.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat};
use rustix::io::Errno;

use super::read::{Stamp, not_permitted};
use crate::config::{Access, WriteRule};

/// How many links one name may take, as in the kernel.
const HOPS: usize = 40;

/// Did what was passed hold still?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stillness {
    /// All of it: what was read is one state of the tree.
    Still,
    /// Names came or went in a directory: each file is right, but some may have been missed.
    Moving,
    /// A link leads elsewhere, or a directory is another one: what was read may be of two trees.
    Swapped,
}

/// Where a link led.
#[derive(Debug)]
pub(super) enum Target {
    /// To a directory, opened for reading.
    Directory { fd: OwnedFd, path: PathBuf },
    /// To anything else: its directory, its name there and what it is.
    File { directory: Rc<OwnedFd>, name: OsString, stat: Stat },
}

/// Why a link was not followed, or a directory not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotFollowed {
    /// It leads out of the directory, or says a place from `/`.
    Outside,
    /// There is nothing where it leads.
    Missing,
    /// It leads to itself, or through more links than the kernel would follow.
    Endless,
    /// The system would not.
    Failed(Errno),
    /// What was passed was another thing a moment ago.
    Changed,
    /// Others can write the directory; with what to do.
    NotPermitted(String),
}

impl NotFollowed {
    /// In words. Not where the link leads: that may be nobody's business.
    pub(super) fn reason(self) -> String {
        match self {
            Self::Outside => "is a link that leads out of the spec directory".to_owned(),
            Self::Missing => "is a link to nothing".to_owned(),
            Self::Endless => "is a link that never ends".to_owned(),
            Self::NotPermitted(why) => why,
            Self::Changed => "changed while it was read".to_owned(),
            Self::Failed(errno) => format!("is a link that cannot be followed: {errno}"),
        }
    }
}

/// What a directory was like when it was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Passed {
    stamp: Stamp,
    /// Were its entries read, so that they have to be the same at the end?
    listed: bool,
}

/// The opened root, and all that was passed beneath it. Paths are relative to it and without links.
#[derive(Debug)]
pub(super) struct Beneath {
    root: Rc<OwnedFd>,
    /// The root's path, for messages.
    path: PathBuf,
    rule: WriteRule,
    directories: BTreeMap<PathBuf, Passed>,
    links: BTreeMap<(PathBuf, OsString), OsString>,
}

impl Beneath {
    /// Everything in `root` has to belong to the root directory's owner, to the operator or to root.
    pub(super) fn new(root: OwnedFd, path: &Path) -> Self {
        let rule =
            fstat(&root).map_or_else(|_| WriteRule::below(0), |stat| WriteRule::below(stat.st_uid));
        Self {
            root: Rc::new(root),
            path: path.to_path_buf(),
            rule,
            directories: BTreeMap::new(),
            links: BTreeMap::new(),
        }
    }

    /// Who may write what is read.
    pub(super) const fn rule(&self) -> &WriteRule {
        &self.rule
    }

    /// Where `name`, relative to the root, is on the host; for messages.
    pub(super) fn shown(&self, name: impl AsRef<Path>) -> PathBuf {
        // The root's own name is empty, and would become a slash at the end.
        let name = name.as_ref();
        if name.as_os_str().is_empty() { self.path.clone() } else { self.path.join(name) }
    }

    /// Opens the root, whose entries will be read.
    pub(super) fn open_root(&mut self) -> Result<OwnedFd, NotFollowed> {
        self.open_listed(Rc::clone(&self.root), OsStr::new("."), Path::new(""))
    }

    /// Every directory passed, without links.
    pub(super) fn directories(&self) -> impl Iterator<Item = (&Path, Stamp)> {
        self.directories.iter().map(|(path, passed)| (path.as_path(), passed.stamp))
    }

    /// What the link `name` in the root said, if it was passed.
    pub(super) fn link_in_root(&self, name: &str) -> Option<&OsStr> {
        self.links.get(&(PathBuf::new(), OsString::from(name))).map(OsString::as_os_str)
    }

    /// Opens a directory whose entries will be read.
    pub(super) fn open_listed(
        &mut self,
        parent: impl AsFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<OwnedFd, NotFollowed> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match openat(parent, name, flags, Mode::empty()) {
            Ok(fd) => fd,
            // It was a directory a moment ago.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Err(NotFollowed::Changed),
            Err(errno) => return Err(NotFollowed::Failed(errno)),
        };
        self.note(&fd, path, true)?;
        Ok(fd)
    }

    /// Remembers what a directory is like.
    pub(super) fn note(
        &mut self,
        fd: impl AsFd,
        path: &Path,
        listed: bool,
    ) -> Result<Stamp, NotFollowed> {
        let stat = fstat(fd).map_err(NotFollowed::Failed)?;
        if let Some(objection) = self.rule.objection(Access::of(&stat)) {
            return Err(NotFollowed::NotPermitted(not_permitted(objection, &self.shown(path))));
        }
        let stamp = Stamp::of(&stat);
        if let Some(before) = self.directories.get_mut(path) {
            if before.stamp.identity != stamp.identity || (before.listed && before.stamp != stamp) {
                return Err(NotFollowed::Changed);
            }
            before.listed |= listed;
            before.stamp = stamp;
        } else {
            self.directories.insert(path.to_path_buf(), Passed { stamp, listed });
        }
        Ok(stamp)
    }

    /// Follows the link `name` in the directory `from`.
    pub(super) fn follow(&mut self, from: &Path, name: &OsStr) -> Result<Target, NotFollowed> {
        let mut todo: VecDeque<OsString> = from.iter().map(OsStr::to_owned).collect();
        todo.push_back(name.to_owned());
        let mut above: Vec<(Rc<OwnedFd>, PathBuf)> = Vec::new();
        let mut here = (Rc::clone(&self.root), PathBuf::new());
        let mut hops = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                here = above.pop().ok_or(NotFollowed::Outside)?;
                continue;
            }
            let stat =
                statat(&*here.0, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(
                    |errno| match errno {
                        Errno::NOENT | Errno::NOTDIR => NotFollowed::Missing,
                        errno => NotFollowed::Failed(errno),
                    },
                )?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Symlink => {
                    hops += 1;
                    if hops > HOPS {
                        return Err(NotFollowed::Endless);
                    }
                    let target = self.read_link(&here.0, &here.1, &name)?;
                    prepend(&mut todo, Path::new(&target))?;
                }
                FileType::Directory => {
                    let path = here.1.join(&name);
                    let fd = self.pass(&here.0, &name, &path)?;
                    above.push(std::mem::replace(&mut here, (Rc::new(fd), path)));
                }
                _ if todo.is_empty() => return Ok(Target::File { directory: here.0, name, stat }),
                _ => return Err(NotFollowed::Missing),
            }
        }
        let fd = self.open_listed(&*here.0, OsStr::new("."), &here.1)?;
        Ok(Target::Directory { fd, path: here.1 })
    }

    /// Opens a directory only to go through it.
    fn pass(
        &mut self,
        parent: impl AsFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<OwnedFd, NotFollowed> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = openat(parent, name, flags, Mode::empty()).map_err(|errno| match errno {
            Errno::NOENT | Errno::NOTDIR | Errno::LOOP => NotFollowed::Changed,
            errno => NotFollowed::Failed(errno),
        })?;
        self.note(&fd, path, false)?;
        Ok(fd)
    }

    /// Reads a link; saying something else than before is a change.
    fn read_link(
        &mut self,
        directory: impl AsFd,
        at: &Path,
        name: &OsStr,
    ) -> Result<OsString, NotFollowed> {
        let target = link_text(directory, name).map_err(|_| NotFollowed::Changed)?;
        let before =
            self.links.entry((at.to_path_buf(), name.to_owned())).or_insert_with(|| target.clone());
        if *before == target { Ok(target) } else { Err(NotFollowed::Changed) }
    }

    /// Is every link and every directory that was passed the same as then?
    pub(super) fn still_as_passed(&self) -> Stillness {
        let same_link = |((at, name), target): (&(PathBuf, OsString), &OsString)| {
            link_text(&*self.root, at.join(name).as_os_str()).is_ok_and(|now| now == *target)
        };
        if !self.links.iter().all(same_link) {
            return Stillness::Swapped;
        }
        let mut stillness = Stillness::Still;
        for (path, passed) in &self.directories {
            let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
            let Ok(stat) = statat(&*self.root, path, AtFlags::SYMLINK_NOFOLLOW) else {
                return Stillness::Swapped;
            };
            let now = Stamp::of(&stat);
            if now.identity != passed.stamp.identity {
                return Stillness::Swapped;
            }
            if passed.listed && now != passed.stamp {
                stillness = Stillness::Moving;
            }
        }
        stillness
    }
}

fn link_text(directory: impl AsFd, name: &OsStr) -> rustix::io::Result<OsString> {
    Ok(OsString::from_vec(readlinkat(directory, name, Vec::new())?.into_bytes()))
}

/// Puts the parts of a link before what is still to be walked. A link from `/` is refused even when it would lead back in: the
/// same tree lies elsewhere for whoever mounts it.
fn prepend(todo: &mut VecDeque<OsString>, target: &Path) -> Result<(), NotFollowed> {
    for component in target.components().rev() {
        match component {
            Component::Normal(name) => todo.push_front(name.to_owned()),
            Component::ParentDir => todo.push_front(OsString::from("..")),
            Component::CurDir => {}
            Component::RootDir | Component::Prefix(_) => return Err(NotFollowed::Outside),
        }
    }
    Ok(())
}
