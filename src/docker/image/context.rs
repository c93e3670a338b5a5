//! A build's context: a directory as a tar archive, read without following a link.
//!
//! The same directory gives the same bytes: names are sorted, times and owners are zero. So the hash of the archive names what is
//! built from it. It is read twice, once for the hash and once on its way to the engine, and never held: the second reading is
//! compared with the first, and what changed between the two is not built. Links are kept as links. Sockets, pipes and
//! devices are left out, and what `.dockerignore` says. Blocks, but for [`BuildContext::send`].

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat, fstat, openat, readlinkat, statat,
};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};
use tokio::sync::mpsc;

use super::ignore::{FILE_NAME, Ignore, IgnoreError, Verdict};
use crate::resource::text::hex;

/// The largest archive. A context of that size is a forgotten `.git` or `target`, and is read anew for each look.
const ARCHIVE_BYTES_MAX: u64 = 1 << 30;
/// Files and directories in it: a large `node_modules` has a tenth.
const ENTRIES_MAX: usize = 500_000;
/// Directories within each other, each an open file while it is read.
const DEPTH_MAX: usize = 100;
/// The longest `.dockerignore`.
const IGNORE_BYTES_MAX: u64 = 64 * 1024;
/// How much work it may be to match all paths with all patterns: a minute or two. Ten patterns on 100,000 files are a hundredth.
const MATCHING_STEPS_MAX: u64 = 20_000_000_000;
/// How much is handed on at once, and how many of such pieces wait: the memory that a build of any size takes.
const PIECE_BYTES: usize = 64 * 1024;
const PIECES_WAITING: usize = 8;

/// Why a directory cannot be built from.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The directory itself, or a file that decides something, is a link.
    #[error("{} is a link, which is not followed", path.display())]
    Link {
        /// Which.
        path: PathBuf,
    },
    /// Too large.
    #[error("{} has more than {limit}: list in {FILE_NAME} what the build does not need", path.display())]
    TooLarge {
        /// The directory.
        path: PathBuf,
        /// Than what.
        limit: &'static str,
    },
    /// There is nothing to build by.
    #[error("{} has no {dockerfile}", path.display())]
    NoDockerfile {
        /// The directory.
        path: PathBuf,
        /// What was looked for.
        dockerfile: String,
    },
    /// A Dockerfile outside.
    #[error("the Dockerfile `{0}` does not lie in the context")]
    Outside(String),
    /// What to leave out cannot be told.
    #[error("{}", path.display())]
    Ignore {
        /// The directory.
        path: PathBuf,
        /// Which line, and why.
        source: IgnoreError,
    },
    /// Somebody writes to it.
    #[error("{} changed while it was read", path.display())]
    Changed {
        /// The file or directory.
        path: PathBuf,
    },
}

/// A directory that can be built from, as it was when it was looked at.
#[derive(Debug, Clone)]
pub struct BuildContext(Arc<Context>);

#[derive(Debug)]
struct Context {
    root: OwnedFd,
    /// For messages.
    path: PathBuf,
    dockerfile: String,
    ignore: Ignore,
    /// [`MATCHING_STEPS_MAX`], but for tests.
    steps_max: u64,
    digest: [u8; 32],
    bytes: u64,
}

impl BuildContext {
    /// Looks at the directory `path`, which must not be a link itself; `dockerfile` is relative to it.
    pub fn read(path: &Path, dockerfile: &str) -> Result<Self, ContextError> {
        let root = openat(CWD, path, DIRECTORY, Mode::empty()).map_err(|errno| {
            match statat(CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) if kind(&stat) == FileType::Symlink => {
                    ContextError::Link { path: path.to_owned() }
                }
                _ => read_error(path, errno),
            }
        })?;
        Self::read_opened(root, path, dockerfile)
    }

    /// The same for a directory that somebody opened who knows how to get there; `path` is what messages call it.
    pub fn read_opened(root: OwnedFd, path: &Path, dockerfile: &str) -> Result<Self, ContextError> {
        let dockerfile = inside(dockerfile)?;
        let ignore = read_ignore(&root, path)?.but_for(FILE_NAME).but_for(&dockerfile);
        let mut context = Context {
            root,
            path: path.to_owned(),
            dockerfile,
            ignore,
            steps_max: MATCHING_STEPS_MAX,
            digest: [0; 32],
            bytes: 0,
        };
        (context.digest, context.bytes) = context.write_to(io::sink())?;
        Ok(Self(Arc::new(context)))
    }

    /// The SHA-256 of its archive.
    pub fn digest(&self) -> &[u8; 32] {
        &self.0.digest
    }

    /// The hash in hexadecimal digits.
    pub fn hash(&self) -> String {
        hex(&self.0.digest)
    }

    /// The size of its archive.
    pub fn bytes(&self) -> u64 {
        self.0.bytes
    }

    /// The Dockerfile, relative to it.
    pub fn dockerfile(&self) -> &str {
        &self.0.dockerfile
    }

    /// Reads it again, on a thread that ends with the reading or when nobody takes the pieces any more. Only a
    /// context that is still the same ends well.
    pub(in crate::docker) fn send(&self) -> Sent {
        let (pieces, taken) = mpsc::channel(PIECES_WAITING);
        let failure = Arc::new(Mutex::new(None));
        let (context, told) = (Arc::clone(&self.0), Arc::clone(&failure));
        // Not awaited: what there is to know of it comes with the pieces.
        let _reading = tokio::task::spawn_blocking(move || {
            let mut out = Pieces { pieces: pieces.clone(), waiting: Vec::new() };
            let outcome = context.write_to(&mut out).and_then(|(digest, _)| {
                let same = digest == context.digest;
                same.then_some(()).ok_or_else(|| context.changed(&context.path))
            });
            let last = match outcome {
                Ok(()) => out.flush(),
                Err(error) => {
                    let text = error.to_string();
                    *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    pieces.blocking_send(Err(io::Error::other(text))).map_err(|_| gone())
                }
            };
            // Whoever does not listen any more needs no last piece either.
            drop(last);
        });
        Sent { pieces: taken, failure }
    }
}

/// An archive on its way.
pub(in crate::docker) struct Sent {
    /// Its pieces, and an error in the place of the last when it must not be built.
    pub(in crate::docker) pieces: mpsc::Receiver<io::Result<Bytes>>,
    /// That error, for whoever only hears that the request broke off.
    pub(in crate::docker) failure: Arc<Mutex<Option<ContextError>>>,
}

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
// NONBLOCK: opening a pipe must not wait for a writer.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

impl Context {
    /// Writes the archive; answers its hash and size.
    fn write_to(&self, out: impl Write) -> Result<([u8; 32], u64), ContextError> {
        let out = Hashed { out, hash: Sha256::new(), bytes: 0 };
        let mut archive = Archive {
            context: self,
            builder: Builder::new(out),
            entries: 0,
            bytes: 0,
            steps: 0,
            has_dockerfile: false,
        };
        archive.add_children(&self.root, Path::new(""), &Verdict::default(), 0)?;
        if !archive.has_dockerfile {
            let dockerfile = self.dockerfile.clone();
            return Err(ContextError::NoDockerfile { path: self.path.clone(), dockerfile });
        }
        let out =
            archive.builder.into_inner().map_err(|source| self.unreadable(&self.path, source))?;
        Ok((out.hash.finalize().into(), out.bytes))
    }

    fn unreadable(&self, relative: &Path, source: impl Into<io::Error>) -> ContextError {
        ContextError::Read { path: self.path.join(relative), source: source.into() }
    }

    fn changed(&self, relative: &Path) -> ContextError {
        ContextError::Changed { path: self.path.join(relative) }
    }
}

struct Archive<'a, W: Write> {
    context: &'a Context,
    builder: Builder<Hashed<W>>,
    entries: usize,
    bytes: u64,
    /// Of matching paths with patterns.
    steps: u64,
    has_dockerfile: bool,
}

impl<W: Write> Archive<'_, W> {
    fn add_children(
        &mut self,
        directory: &OwnedFd,
        relative: &Path,
        verdict: &Verdict,
        depth: usize,
    ) -> Result<(), ContextError> {
        self.hold(depth <= DEPTH_MAX, "100 directories within each other")?;
        for name in self.names(directory, relative)? {
            self.add(directory, &relative.join(name), verdict, depth)?;
        }
        Ok(())
    }

    /// The names in a directory, in the order of the archive.
    fn names(
        &mut self,
        directory: &OwnedFd,
        relative: &Path,
    ) -> Result<Vec<OsString>, ContextError> {
        let unreadable = |errno: Errno| self.context.unreadable(relative, errno);
        let mut names = Vec::new();
        for entry in Dir::read_from(directory).map_err(unreadable)? {
            let name = entry.map_err(unreadable)?.file_name().to_bytes().to_vec();
            if name != b"." && name != b".." {
                names.push(OsString::from_vec(name));
            }
            self.hold(self.entries + names.len() <= ENTRIES_MAX, "500000 files")?;
        }
        self.entries += names.len();
        names.sort();
        Ok(names)
    }

    fn add(
        &mut self,
        parent: &OwnedFd,
        relative: &Path,
        above: &Verdict,
        depth: usize,
    ) -> Result<(), ContextError> {
        let unreadable = |errno: Errno| self.context.unreadable(relative, errno);
        let Some(name) = relative.file_name() else { return Ok(()) };
        let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(unreadable)?;
        let shown = relative.to_string_lossy();
        let verdict = self.context.ignore.judge(above, &shown);
        self.steps = self.steps.saturating_add(verdict.steps);
        self.hold(self.steps <= self.context.steps_max, "20000 million comparisons with patterns")?;
        let is_directory = kind(&stat) == FileType::Directory;
        let skip_below = verdict.excluded && !self.context.ignore.may_take_back_below(&shown);
        if if is_directory { skip_below } else { verdict.excluded } {
            return Ok(());
        }
        match kind(&stat) {
            FileType::Directory => {
                if !verdict.excluded {
                    let mut header = header(EntryType::Directory, &stat);
                    self.append(&mut header, relative, io::empty())?;
                }
                let directory =
                    openat(parent, name, DIRECTORY, Mode::empty()).map_err(unreadable)?;
                self.add_children(&directory, relative, &verdict, depth + 1)
            }
            FileType::Symlink => {
                self.has_dockerfile |= shown == self.context.dockerfile;
                let target = readlinkat(parent, name, Vec::new()).map_err(unreadable)?;
                let target = OsString::from_vec(target.into_bytes());
                let mut header = header(EntryType::Symlink, &stat);
                let appended = self.builder.append_link(&mut header, relative, target);
                appended.map_err(|source| self.context.unreadable(relative, source))
            }
            FileType::RegularFile => {
                self.has_dockerfile |= shown == self.context.dockerfile;
                let file = openat(parent, name, READ, Mode::empty()).map_err(unreadable)?;
                self.add_file(File::from(file), relative)
            }
            _ => Ok(()),
        }
    }

    /// A file of exactly the size that its header says: one that grows meanwhile is cut, and its hash tells.
    fn add_file(&mut self, file: File, relative: &Path) -> Result<(), ContextError> {
        let stat = fstat(&file).map_err(|errno| self.context.unreadable(relative, errno))?;
        if kind(&stat) != FileType::RegularFile {
            return Err(self.context.changed(relative));
        }
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        self.bytes = self.bytes.saturating_add(size);
        self.hold(self.bytes <= ARCHIVE_BYTES_MAX, "1024 MiB")?;
        let mut header = header(EntryType::Regular, &stat);
        header.set_size(size);
        let mut content = Counted { file: file.take(size), bytes: 0 };
        self.append(&mut header, relative, &mut content)?;
        if content.bytes == size { Ok(()) } else { Err(self.context.changed(relative)) }
    }

    fn append(
        &mut self,
        header: &mut Header,
        relative: &Path,
        content: impl io::Read,
    ) -> Result<(), ContextError> {
        let appended = self.builder.append_data(header, relative, content);
        appended.map_err(|source| self.context.unreadable(relative, source))
    }

    fn hold(&self, holds: bool, limit: &'static str) -> Result<(), ContextError> {
        if holds {
            return Ok(());
        }
        Err(ContextError::TooLarge { path: self.context.path.clone(), limit })
    }
}

/// Neither times nor owners: they differ from checkout to checkout.
fn header(kind: EntryType, stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(0);
    header
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

fn read_error(path: &Path, errno: Errno) -> ContextError {
    ContextError::Read { path: path.to_owned(), source: errno.into() }
}

/// The Dockerfile's path, made plain; it lies in the context.
fn inside(dockerfile: &str) -> Result<String, ContextError> {
    let parts: Vec<&str> =
        dockerfile.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.is_empty() || dockerfile.starts_with('/') || parts.contains(&"..") {
        return Err(ContextError::Outside(dockerfile.to_owned()));
    }
    Ok(parts.join("/"))
}

fn read_ignore(root: impl AsFd, path: &Path) -> Result<Ignore, ContextError> {
    let file = path.join(FILE_NAME);
    let opened = match openat(root, FILE_NAME, READ, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(Errno::NOENT) => return Ok(Ignore::default()),
        Err(Errno::LOOP) => return Err(ContextError::Link { path: file }),
        Err(errno) => return Err(read_error(&file, errno)),
    };
    let mut bytes = Vec::new();
    let read = opened.take(IGNORE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|source| ContextError::Read { path: file.clone(), source })?;
    if bytes.len() as u64 > IGNORE_BYTES_MAX {
        return Err(ContextError::TooLarge { path: file, limit: "64 KiB" });
    }
    Ignore::parse(&String::from_utf8_lossy(&bytes))
        .map_err(|source| ContextError::Ignore { path: path.to_owned(), source })
}

/// A reader that knows how much it gave.
struct Counted<R> {
    file: R,
    bytes: u64,
}

impl<R: io::Read> io::Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.bytes += count as u64;
        Ok(count)
    }
}

/// A writer that knows what went through it.
struct Hashed<W> {
    out: W,
    hash: Sha256,
    bytes: u64,
}

impl<W: Write> Write for Hashed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        self.hash.update(bytes.get(..count).unwrap_or_default());
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// A writer whose bytes somebody else takes.
struct Pieces {
    pieces: mpsc::Sender<io::Result<Bytes>>,
    waiting: Vec<u8>,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        if self.waiting.len() >= PIECE_BYTES {
            self.hand_on()?;
        }
        Ok(bytes.len())
    }

    /// The end: tar does not flush in between.
    fn flush(&mut self) -> io::Result<()> {
        self.hand_on()
    }
}

impl Pieces {
    fn hand_on(&mut self) -> io::Result<()> {
        let piece = Bytes::from(std::mem::take(&mut self.waiting));
        self.pieces.blocking_send(Ok(piece)).map_err(|_| gone())
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::BrokenPipe, "nobody takes the archive any more")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;

    use super::*;

    type Entries = BTreeMap<String, (EntryType, u32, String)>;

    /// What a context's archive holds, as it would be sent.
    async fn entries(context: &BuildContext) -> Result<Entries, String> {
        let bytes = sent(context).await.map_err(|error| error.to_string())?;
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let header = entry.header();
            assert_eq!((header.mtime().unwrap(), header.uid().unwrap()), (0, 0));
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if let Some(link) = entry.link_name().unwrap() {
                text = link.display().to_string();
            }
            let path = entry.path().unwrap().display().to_string();
            (path, (entry.header().entry_type(), entry.header().mode().unwrap(), text))
        });
        Ok(entries.collect())
    }

    async fn sent(context: &BuildContext) -> io::Result<Vec<u8>> {
        let mut sent = context.send();
        let mut bytes = Vec::new();
        while let Some(piece) = sent.pieces.recv().await {
            bytes.extend_from_slice(&piece?);
        }
        Ok(bytes)
    }

    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, content) in files {
            let path = directory.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        directory
    }

    fn read(directory: &tempfile::TempDir) -> Result<BuildContext, ContextError> {
        BuildContext::read(directory.path(), "Dockerfile")
    }

    #[tokio::test]
    async fn a_directory_is_archived_whole_with_links_as_links() {
        let directory = directory(&[("Dockerfile", "FROM scratch"), ("sub/run.sh", "echo")]);
        let root = directory.path();
        fs::set_permissions(root.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        fs::create_dir(root.join("d".repeat(120))).unwrap();
        fs::write(root.join(&long), "x").unwrap();
        symlink("/etc/shadow", root.join("out")).unwrap();
        symlink("/", root.join("root")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        let entries = entries(&read(&directory).unwrap()).await.unwrap();
        assert_eq!(entries["sub/run.sh"], (EntryType::Regular, 0o755, "echo".to_owned()));
        assert_eq!(
            (entries["out"].0, entries["out"].2.as_str()),
            (EntryType::Symlink, "/etc/shadow")
        );
        assert_eq!(entries["dangling"].2, "nowhere");
        assert_eq!(entries[&long].2, "x");
        // Dockerfile, sub, its script, two long ones, three links; no socket, and nothing of what links lead to.
        assert_eq!(entries.len(), 8, "{:?}", entries.keys());
    }

    #[tokio::test]
    async fn what_is_ignored_is_left_out_but_for_what_the_build_needs() {
        let directory = directory(&[
            ("build/Dockerfile.dev", "FROM scratch"),
            ("build/other", ""),
            (".dockerignore", "*\n!src\nsrc/**/*.o\n!deep/er/keep\n"),
            (".git/config", ""),
            ("src/a/x.c", ""),
            ("src/a/x.o", ""),
            ("deep/er/keep", ""),
            ("deep/er/lose", ""),
            ("secret", ""),
        ]);
        let context = BuildContext::read(directory.path(), "./build/Dockerfile.dev").unwrap();
        let entries = entries(&context).await.unwrap();
        let names: Vec<&str> = entries.keys().map(|name| name.trim_end_matches('/')).collect();
        assert_eq!(
            names,
            [".dockerignore", "build/Dockerfile.dev", "deep/er/keep", "src", "src/a", "src/a/x.c"]
        );
    }

    #[tokio::test]
    async fn the_hash_is_the_contents_and_not_the_times() {
        let files = [("Dockerfile", "FROM scratch"), ("a", "1"), (".dockerignore", "log")];
        let (one, other) = (directory(&files), directory(&files));
        let old = File::options().write(true).open(other.path().join("a")).unwrap();
        old.set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::write(other.path().join("log"), "what is ignored counts for nothing").unwrap();
        let hash = |directory| read(directory).unwrap().hash();
        assert_eq!(hash(&one), hash(&other));
        let context = read(&one).unwrap();
        let archive = sent(&context).await.unwrap();
        assert_eq!(hex(&Sha256::digest(&archive)), context.hash(), "it is the archive's own");
        assert_eq!(archive.len() as u64, context.bytes());
        let before = hash(&one);
        fs::set_permissions(one.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(hash(&one), before, "a program is another thing than a text");
        fs::write(other.path().join("a"), "2").unwrap();
        assert_ne!(hash(&other), before);
    }

    #[tokio::test]
    async fn what_changes_between_looking_and_building_is_not_built() {
        let directory = directory(&[("Dockerfile", "FROM scratch"), ("a", "1")]);
        let context = read(&directory).unwrap();
        fs::write(directory.path().join("a"), "2").unwrap();
        let mut sent = context.send();
        let mut last = None;
        while let Some(piece) = sent.pieces.recv().await {
            last = Some(piece);
        }
        assert!(last.unwrap().is_err(), "the archive has no good end");
        let failure = sent.failure.lock().unwrap().take().unwrap();
        assert!(matches!(failure, ContextError::Changed { .. }), "{failure}");
        fs::remove_file(directory.path().join("Dockerfile")).unwrap();
        assert!(entries(&context).await.unwrap_err().contains("no Dockerfile"));
    }

    #[tokio::test]
    async fn a_large_context_passes_through_in_pieces() {
        let content = "0123456789abcdef".repeat(300 * 1024);
        let directory = directory(&[("Dockerfile", "FROM scratch"), ("large", &content)]);
        let context = read(&directory).unwrap();
        let mut sent = context.send();
        let (mut total, mut largest) = (0, 0);
        while let Some(piece) = sent.pieces.recv().await {
            let piece = piece.unwrap();
            total += piece.len();
            largest = largest.max(piece.len());
        }
        assert_eq!(total as u64, context.bytes());
        assert!(total > content.len() && largest < 2 * PIECE_BYTES, "{largest}");
    }

    #[test]
    fn what_cannot_be_built_from_says_why() {
        let missing = BuildContext::read(Path::new("/nowhere/at/all"), "Dockerfile").unwrap_err();
        assert_eq!(missing.to_string(), "cannot read /nowhere/at/all");
        let empty = directory(&[]);
        let said = read(&empty).unwrap_err().to_string();
        assert_eq!(said, format!("{} has no Dockerfile", empty.path().display()));
        for outside in ["../Dockerfile", "/etc/passwd", "a/../../b", "", "."] {
            let error = BuildContext::read(empty.path(), outside).unwrap_err();
            assert!(matches!(error, ContextError::Outside(_)), "{outside}: {error}");
        }
        let bad = directory(&[("Dockerfile", ""), (".dockerignore", "[x")]);
        assert!(matches!(read(&bad).unwrap_err(), ContextError::Ignore { .. }));
        let long = directory(&[("Dockerfile", ""), (".dockerignore", &"#".repeat(70_000))]);
        assert!(matches!(read(&long).unwrap_err(), ContextError::TooLarge { .. }));
        let deep = directory(&[("Dockerfile", ""), (&format!("{}x", "d/".repeat(102)), "")]);
        assert!(matches!(read(&deep).unwrap_err(), ContextError::TooLarge { .. }));
    }

    #[test]
    fn no_link_is_followed_to_the_directory_or_to_what_decides() {
        let real = directory(&[("Dockerfile", "FROM scratch")]);
        let links = directory(&[("Dockerfile", "FROM scratch")]);
        symlink(real.path(), links.path().join("context")).unwrap();
        let error = BuildContext::read(&links.path().join("context"), "Dockerfile").unwrap_err();
        assert!(matches!(error, ContextError::Link { .. }), "{error}");
        symlink("/etc/hosts", links.path().join(".dockerignore")).unwrap();
        assert!(matches!(read(&links).unwrap_err(), ContextError::Link { .. }));
    }
}
