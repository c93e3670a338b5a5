//! Walks the spec directory once and takes every file with a spec's name.
//!
//! Directories first, under their own names, in order; then the links, in order. What has several names is taken once. So the
//! same tree always gives the same answer, and no arrangement of links makes it larger than it is.
//!
//! Whether what was taken is one state of the tree is looked at when all is taken: [`Stillness`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{AtFlags, Dir, FileType, Stat, statat};
use rustix::io::Errno;

use super::beneath::{Beneath, NotFollowed, Stillness, Target};
use super::cache::{Cache, Cached, digest};
use super::limits::{Limits, is_passed_over, is_spec_name};
use super::read::{NotRead, Permitted, Stamp, kind_text, read_file, refuse};
use crate::world::scan::{FileState, Identity, ParsedFile};

/// How a file becomes objects: its relative path, and its content.
pub(super) type Parse = fn(&str, Vec<u8>) -> Parsed;

/// A parsed file, and how much memory its objects need.
pub(super) struct Parsed {
    pub(super) file: ParsedFile,
    pub(super) memory: usize,
}

/// What a walk took.
#[derive(Debug, Default)]
pub(super) struct Tree {
    pub(super) files: BTreeMap<String, FileState>,
    pub(super) directories: BTreeMap<String, Identity>,
    pub(super) unreadable: BTreeMap<String, String>,
    pub(super) incomplete: Option<String>,
    pub(super) parsed: usize,
    /// Every real directory that matters, relative to the root: where changes can be heard of.
    pub(super) real_directories: BTreeMap<PathBuf, Identity>,
    /// What `..data` in the root says, as Kubernetes publishes a `ConfigMap`.
    pub(super) data_link: Option<OsString>,
}

/// Why a walk ends early.
enum Halt {
    /// Start again.
    Changed,
    /// A bound of the whole scan was met; what was taken stands.
    Full,
}

/// A directory that is being read.
struct Here<'a> {
    fd: &'a OwnedFd,
    /// Where it is: relative to the root, without links.
    path: &'a Path,
    /// What it is called, with the links that led to it: relative to the root too.
    name: &'a str,
    depth: usize,
}

/// One walk.
pub(super) struct Walk<'a> {
    limits: &'a Limits,
    cache: &'a mut Cache,
    parse: Parse,
    beneath: Beneath,
    /// Links not followed yet: by relative path, the real directory they are in and their name there.
    links: BTreeMap<String, (PathBuf, OsString)>,
    seen: BTreeSet<Identity>,
    entries: usize,
    bytes: u64,
    /// Memory of the files taken so far, as far as each is above an ordinary one.
    large: usize,
    tree: Tree,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        root: OwnedFd,
        path: &Path,
        limits: &'a Limits,
        cache: &'a mut Cache,
        parse: Parse,
    ) -> Self {
        Self {
            limits,
            cache,
            parse,
            beneath: Beneath::new(root, path),
            links: BTreeMap::new(),
            seen: BTreeSet::new(),
            entries: 0,
            bytes: 0,
            large: 0,
            tree: Tree::default(),
        }
    }

    /// Takes everything, and says whether it held still.
    pub(super) fn walk(mut self) -> (Tree, Stillness) {
        let whole = !matches!(self.everything(), Err(Halt::Changed));
        let stillness = match self.beneath.still_as_passed() {
            Stillness::Still if !whole => Stillness::Moving,
            stillness => stillness,
        };
        let real = |(path, stamp): (&Path, Stamp)| (path.to_path_buf(), stamp.identity);
        self.tree.real_directories = self.beneath.directories().map(real).collect();
        self.tree.data_link = self.beneath.link_in_root("..data").map(OsStr::to_owned);
        (self.tree, stillness)
    }

    fn everything(&mut self) -> Result<(), Halt> {
        match self.beneath.open_root() {
            Ok(fd) => self.directory(&Here { fd: &fd, path: Path::new(""), name: "", depth: 0 })?,
            Err(NotFollowed::Changed) => return Err(Halt::Changed),
            Err(NotFollowed::Failed(errno)) => self.unreadable("", errno.to_string()),
            Err(why) => self.unreadable("", why.reason()),
        }
        while let Some((name, (directory, link))) = self.links.pop_first() {
            self.link(&name, &directory, &link)?;
        }
        Ok(())
    }

    /// Takes one opened directory.
    fn directory(&mut self, here: &Here<'_>) -> Result<(), Halt> {
        let stamp = self.beneath.note(here.fd, here.path, true).map_err(|_| Halt::Changed)?;
        if !self.seen.insert(stamp.identity) {
            return Ok(());
        }
        let entries = match entries(here.fd) {
            Ok(entries) => entries,
            Err(errno) => {
                self.unreadable(here.name, errno.to_string());
                return Ok(());
            }
        };
        self.tree.directories.insert(here.name.to_owned(), stamp.identity);
        self.entries += entries.len();
        if self.entries > self.limits.entries {
            return Err(self.full(&format!("more than {} names", self.limits.entries)));
        }
        for (entry, kind) in entries {
            self.entry(here, entry, kind)?;
        }
        Ok(())
    }

    /// Takes one name in a directory; a link is put off until all directories are known.
    fn entry(&mut self, here: &Here<'_>, entry: OsString, kind: FileType) -> Result<(), Halt> {
        let text = printable(&entry);
        if is_passed_over(&text) {
            return Ok(());
        }
        let is_spec = is_spec_name(&text);
        let name = if here.name.is_empty() { text } else { format!("{}/{text}", here.name) };
        let look = || statat(here.fd, &entry, AtFlags::SYMLINK_NOFOLLOW);
        let kind = match kind {
            // Some file systems do not say it with the name.
            FileType::Unknown => {
                look().map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
            }
            kind => kind,
        };
        match kind {
            FileType::Directory => self.subdirectory(here, &entry, &name),
            FileType::Symlink => {
                self.links.insert(name, (here.path.to_path_buf(), entry));
                Ok(())
            }
            _ if !is_spec => Ok(()),
            _ => match look() {
                Ok(stat) => self.file(here.fd, &entry, &stat, name),
                Err(Errno::NOENT) => Err(Halt::Changed),
                Err(errno) => self.put(name, FileState::Unreadable(errno.to_string())),
            },
        }
    }

    fn subdirectory(&mut self, here: &Here<'_>, entry: &OsStr, name: &str) -> Result<(), Halt> {
        let (path, depth) = (here.path.join(entry), here.depth + 1);
        if self.is_too_deep(name, depth) {
            return Ok(());
        }
        match self.beneath.open_listed(here.fd, entry, &path) {
            Ok(fd) => self.directory(&Here { fd: &fd, path: &path, name, depth }),
            Err(NotFollowed::Changed) => Err(Halt::Changed),
            Err(NotFollowed::Failed(errno)) => {
                self.unreadable(name, errno.to_string());
                Ok(())
            }
            Err(why) => {
                self.unreadable(name, why.reason());
                Ok(())
            }
        }
    }

    fn is_too_deep(&mut self, name: &str, depth: usize) -> bool {
        let is_too_deep = depth > self.limits.depth;
        if is_too_deep {
            let reason = format!("lies more than {} directories deep", self.limits.depth);
            self.unreadable(name, reason);
        }
        is_too_deep
    }

    fn unreadable(&mut self, name: &str, reason: String) {
        self.tree.unreadable.insert(name.to_owned(), reason);
    }

    /// Takes what the link called `name` leads to.
    fn link(&mut self, name: &str, directory: &Path, link: &OsStr) -> Result<(), Halt> {
        let is_spec = is_spec_name(last(name));
        match self.beneath.follow(directory, link) {
            Ok(Target::Directory { fd, path }) => {
                let depth = name.split('/').count();
                if self.is_too_deep(name, depth) {
                    return Ok(());
                }
                self.directory(&Here { fd: &fd, path: &path, name, depth })
            }
            Ok(Target::File { directory, name: entry, stat }) if is_spec => {
                if self.seen.contains(&Stamp::of(&stat).identity) {
                    return Ok(());
                }
                self.file(&*directory, &entry, &stat, name.to_owned())
            }
            Ok(Target::File { .. }) => Ok(()),
            Err(NotFollowed::Changed) => Err(Halt::Changed),
            Err(
                why @ (NotFollowed::Outside | NotFollowed::Endless | NotFollowed::NotPermitted(_)),
            ) if is_spec => self.put(name.to_owned(), FileState::Refused(why.reason())),
            Err(why) if is_spec => self.put(name.to_owned(), FileState::Unreadable(why.reason())),
            Err(why) => {
                self.unreadable(name, why.reason());
                Ok(())
            }
        }
    }

    /// Takes one file: as it was when nothing says that it changed, else by reading it.
    fn file(
        &mut self,
        directory: impl AsFd,
        entry: &OsStr,
        stat: &Stat,
        name: String,
    ) -> Result<(), Halt> {
        let stamp = Stamp::of(stat);
        self.seen.insert(stamp.identity);
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::Directory {
            return Err(Halt::Changed);
        }
        let path = self.beneath.shown(&name);
        let permitted = Permitted { rule: self.beneath.rule(), path: &path };
        if let Err(NotRead::Refused(reason)) = refuse(stat, self.limits.file_bytes, &permitted) {
            tracing::debug!(file = name, kind = kind_text(kind), "a spec file is refused");
            return self.put(name, FileState::Refused(reason));
        }
        if let Some(cached) = self.cache.unchanged(&name, &stamp)
            && (cached.file.is_some() || !self.fits(cached.memory))
        {
            let state = self.taken(&name, cached);
            return self.put(name, state);
        }
        let state = match read_file(directory, entry, self.limits, &permitted) {
            Ok((stamp, bytes)) => {
                let cached = self.parsed(&name, stamp, bytes);
                self.taken(&name, cached)
            }
            Err(NotRead::Refused(reason)) => FileState::Refused(reason),
            Err(NotRead::Unstable) => FileState::Unstable,
            Err(NotRead::Failed(Errno::NOENT | Errno::LOOP)) => return Err(Halt::Changed),
            Err(NotRead::Failed(errno)) => FileState::Unreadable(errno.to_string()),
        };
        self.put(name, state)
    }

    /// The same text is the same file, whatever its times say.
    fn parsed(&mut self, name: &str, stamp: Stamp, bytes: Vec<u8>) -> Cached {
        let digest = digest(&bytes);
        let same = self.cache.same_text(name, &bytes);
        let cached =
            same.filter(|it| it.file.is_some() || !self.fits(it.memory)).unwrap_or_else(|| {
                self.tree.parsed += 1;
                let Parsed { file, memory } = (self.parse)(name, bytes);
                let memory = memory.saturating_add(file.text.len());
                Cached { file: Some(Arc::new(file)), memory }
            });
        self.cache.keep(name, stamp, digest, cached.clone());
        cached
    }

    /// Is there memory for a file that needs so much?
    fn fits(&self, memory: usize) -> bool {
        let above = memory.saturating_sub(self.limits.ordinary_bytes);
        above == 0 || self.large.saturating_add(above) <= self.limits.large_bytes
    }

    /// Takes a file when there is memory for it. One file that needs too much keeps no other file from being read.
    fn taken(&mut self, name: &str, cached: Cached) -> FileState {
        match cached.file {
            Some(file) if self.fits(cached.memory) => {
                self.large += cached.memory.saturating_sub(self.limits.ordinary_bytes);
                FileState::Parsed(file)
            }
            _ => {
                self.cache.drop_content(name);
                FileState::Refused(format!(
                    "needs {} KiB of memory, and all large files together may need {} MiB: split it, \
                     or move long prompts into files of their own (promptFrom)",
                    cached.memory >> 10,
                    self.limits.large_bytes >> 20,
                ))
            }
        }
    }

    fn put(&mut self, name: String, state: FileState) -> Result<(), Halt> {
        if self.tree.files.len() == self.limits.files {
            return Err(self.full(&format!("more than {} files", self.limits.files)));
        }
        if let FileState::Parsed(file) = &state {
            self.bytes += u64::try_from(file.text.len()).unwrap_or(u64::MAX);
        }
        self.tree.files.insert(name, state);
        if self.bytes > self.limits.total_bytes {
            return Err(self.full(&format!("more than {} bytes in all", self.limits.total_bytes)));
        }
        Ok(())
    }

    fn full(&mut self, what: &str) -> Halt {
        self.tree.incomplete = Some(format!("{what}: the rest was not read"));
        Halt::Full
    }
}

/// The names in a directory and what they are, in order.
fn entries(fd: &OwnedFd) -> rustix::io::Result<Vec<(OsString, FileType)>> {
    let mut entries = Vec::new();
    // A descriptor of its own for `Dir` to close; to open `.` anew would need the right to search, not only to read.
    for entry in Dir::new(fd.try_clone().map_err(|_| Errno::MFILE)?)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            entries.push((OsString::from_vec(name.to_vec()), entry.file_type()));
        }
    }
    entries.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(entries)
}

/// A name as people may read it: one that would move the cursor, or is no text, is written in escapes.
fn printable(name: &OsStr) -> String {
    match name.to_str() {
        Some(name) if !name.chars().any(char::is_control) => name.to_owned(),
        _ => name.as_encoded_bytes().escape_ascii().to_string(),
    }
}

/// A relative path's last name.
fn last(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(_, last)| last)
}
