//! Opening and making paths without following links.
//!
//! A path is walked component by component, each opened beneath the one before with `O_NOFOLLOW`. Whoever swaps a
//! directory for a link meanwhile gets an error, never another file.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use rustix::fs::{
    AtFlags, CWD, FileType, Gid, Mode, OFlags, Stat, Uid, fchmod, fchown, fstat, mkdirat, openat,
    renameat, unlinkat,
};
use rustix::io::Errno;

/// Who a thing belongs to.
pub(super) type Ids = (u32, u32);

/// Why a path could not be walked.
#[derive(Debug)]
pub(super) enum WalkError {
    /// Nothing there.
    Missing,
    /// A link, or a path with `..`, or one that does not begin at the root: another thing than its name says.
    NotReal,
    /// Anything else.
    Io(io::Error),
}

impl From<Errno> for WalkError {
    fn from(errno: Errno) -> Self {
        match errno {
            Errno::NOENT => Self::Missing,
            Errno::LOOP => Self::NotReal,
            _ => Self::Io(errno.into()),
        }
    }
}

impl From<WalkError> for io::Error {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Missing => io::ErrorKind::NotFound.into(),
            WalkError::NotReal => Self::other("there is a link on the way, or it is not absolute"),
            WalkError::Io(error) => error,
        }
    }
}

const DIRECTORY: OFlags =
    OFlags::DIRECTORY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::RDONLY);
const LOOK: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// NONBLOCK: opening a pipe must not wait for a writer.
const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::NONBLOCK).union(OFlags::CLOEXEC);

/// Opens `path`, absolute and normal, to look at it: no component may be a link, the last neither.
pub(super) fn look(path: &Path) -> Result<(OwnedFd, Stat), WalkError> {
    let fd = open_from_root(path, LOOK)?;
    let stat = fstat(&fd)?;
    if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
        return Err(WalkError::NotReal);
    }
    Ok((fd, stat))
}

/// Opens the directory `path` without following a link.
pub(super) fn directory(path: &Path) -> Result<OwnedFd, WalkError> {
    open_from_root(path, DIRECTORY)
}

fn open_from_root(path: &Path, last: OFlags) -> Result<OwnedFd, WalkError> {
    walk_from_root(path, last, |_directory| Ok(()))
}

/// `check` is asked about each directory on the way, through the handle by which the walk continues.
fn walk_from_root(
    path: &Path,
    last: OFlags,
    check: impl Fn(&OwnedFd) -> Result<(), WalkError>,
) -> Result<OwnedFd, WalkError> {
    // Also the empty one, of which no component is left: it would be the root itself.
    if !path.is_absolute() {
        return Err(WalkError::NotReal);
    }
    let mut names = Vec::new();
    for component in path.components() {
        match component {
            Component::RootDir => {}
            Component::Normal(name) => names.push(name),
            Component::CurDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(WalkError::NotReal);
            }
        }
    }
    let mut fd =
        openat(CWD, "/", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let count = names.len();
    for (index, name) in names.into_iter().enumerate() {
        let is_last = index + 1 == count;
        check(&fd)?;
        let flags = if is_last { last } else { LOOK | OFlags::DIRECTORY };
        fd = openat(&fd, name, flags, Mode::empty()).map_err(|errno| not_real(&fd, name, errno))?;
    }
    if count == 0 {
        fd = openat(CWD, "/", last, Mode::empty())?;
    }
    Ok(fd)
}

/// With `O_DIRECTORY` a link is ENOTDIR, as a file is: say which.
fn not_real(parent: &OwnedFd, name: &std::ffi::OsStr, errno: Errno) -> WalkError {
    let is_link = || {
        let found = rustix::fs::statat(parent, name, AtFlags::SYMLINK_NOFOLLOW);
        found.is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
    };
    if errno == Errno::NOTDIR && is_link() { WalkError::NotReal } else { errno.into() }
}

/// Opens the directory `relative` beneath `base` without following a link.
pub(super) fn open_directories(base: impl AsFd, relative: &Path) -> Result<OwnedFd, WalkError> {
    let mut fd = openat(base, ".", DIRECTORY, Mode::empty())?;
    for component in relative.components() {
        let Component::Normal(name) = component else { return Err(WalkError::NotReal) };
        fd = openat(&fd, name, DIRECTORY, Mode::empty())
            .map_err(|errno| not_real(&fd, name, errno))?;
    }
    Ok(fd)
}

/// Makes what is missing of `relative` beneath `base` and gives only that to `owner`; answers the last directory.
pub(super) fn make_directories(
    base: impl AsFd,
    relative: &Path,
    mode: u32,
    owner: Ids,
) -> Result<OwnedFd, WalkError> {
    let mut fd = openat(base, ".", DIRECTORY, Mode::empty())?;
    for component in relative.components() {
        let Component::Normal(name) = component else { return Err(WalkError::NotReal) };
        let made = match mkdirat(&fd, name, Mode::RWXU) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno.into()),
        };
        let next = openat(&fd, name, DIRECTORY, Mode::empty())
            .map_err(|errno| not_real(&fd, name, errno))?;
        if made {
            give(&next, mode, owner)?;
        }
        fd = next;
    }
    Ok(fd)
}

/// Makes `name` beneath `parent` an empty file of `owner`'s when nothing is there: a mount point.
pub(super) fn touch(parent: impl AsFd, name: &Path, owner: Ids) -> Result<(), WalkError> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    match openat(parent, name, flags, Mode::RUSR | Mode::WUSR) {
        Ok(file) => Ok(give(&file, 0o600, owner)?),
        Err(Errno::EXIST) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}

/// Gives an open file or directory its owner and permissions, when it has others.
pub(super) fn give(fd: impl AsFd, mode: u32, (uid, gid): Ids) -> Result<(), Errno> {
    let stat = fstat(&fd)?;
    if (stat.st_uid, stat.st_gid) != (uid, gid) {
        fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    if stat.st_mode & 0o7777 != mode {
        fchmod(&fd, Mode::from_raw_mode(mode))?;
    }
    Ok(())
}

/// Puts `content` at `name` beneath `parent` in one step, with its owner and permissions from the first instant on. A
/// container that has the old file mounted keeps it.
pub(super) fn replace_file(
    parent: impl AsFd,
    name: &str,
    mut content: impl io::Read,
    mode: u32,
    owner: Ids,
) -> io::Result<()> {
    let parent = parent.as_fd();
    // One name: where several could write, they hold the channel's lock; and what a crash left is taken away here.
    let temporary = format!(".{name}.new");
    remove_file(parent, &temporary)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(parent, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
    io::copy(&mut content, &mut file)?;
    give(&file, mode, owner)?;
    Ok(renameat(parent, &temporary, parent, name)?)
}

/// Removes the file `name` beneath `parent`, when it is there.
pub(super) fn remove_file(parent: impl AsFd, name: &str) -> Result<(), Errno> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::NOENT) => Ok(()),
        result => result,
    }
}

/// Reads the regular file `name` beneath `parent`, no link; `Ok(None)` when it is longer than `bound`.
pub(super) fn read_file(
    parent: impl AsFd,
    name: &Path,
    bound: u64,
) -> Result<(Stat, Option<Vec<u8>>), WalkError> {
    read_open(openat(parent, name, READ, Mode::empty())?, bound)
}

/// Reads the last `bound` bytes of the regular file `name` beneath `parent`, no link.
pub(super) fn read_tail(parent: impl AsFd, name: &Path, bound: u64) -> Result<Vec<u8>, WalkError> {
    let fd = openat(parent, name, READ, Mode::empty())?;
    let length = regular(&fd)?.st_size;
    let mut file = File::from(fd);
    let start = u64::try_from(length).unwrap_or(0).saturating_sub(bound);
    let mut bytes = Vec::new();
    file.seek(io::SeekFrom::Start(start)).map_err(WalkError::Io)?;
    // It may grow while it is read.
    file.take(bound).read_to_end(&mut bytes).map_err(WalkError::Io)?;
    Ok(bytes)
}

/// Reads the regular file at `path`, absolute, without following a link.
pub(super) fn read_path(path: &Path, bound: u64) -> Result<(Stat, Option<Vec<u8>>), WalkError> {
    read_open(open_from_root(path, READ)?, bound)
}

/// The same, if `reader` could read it, too: the operator may be root.
/// Supplementary groups and access control lists are not looked at.
pub(super) fn read_path_as(
    reader: Ids,
    path: &Path,
    bound: u64,
) -> Result<(Stat, Option<Vec<u8>>), WalkError> {
    const SEARCH: u32 = 0o1;
    const READ_BIT: u32 = 0o4;
    let fd = walk_from_root(path, READ, |directory| may(reader, &fstat(directory)?, SEARCH))?;
    may(reader, &fstat(&fd)?, READ_BIT)?;
    read_open(fd, bound)
}

fn may((uid, gid): Ids, stat: &Stat, bit: u32) -> Result<(), WalkError> {
    let shift = match (stat.st_uid == uid, stat.st_gid == gid) {
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    if stat.st_mode & (bit << shift) == 0 {
        let message = "the owner cannot read it";
        return Err(WalkError::Io(io::Error::new(io::ErrorKind::PermissionDenied, message)));
    }
    Ok(())
}

/// Reads the regular file at `path`, links followed.
pub(super) fn read_through_links(path: &Path, bound: u64) -> Result<Option<Vec<u8>>, WalkError> {
    let fd = openat(CWD, path, READ.difference(OFlags::NOFOLLOW), Mode::empty())?;
    read_open(fd, bound).map(|(_, bytes)| bytes)
}

fn read_open(fd: OwnedFd, bound: u64) -> Result<(Stat, Option<Vec<u8>>), WalkError> {
    let stat = regular(&fd)?;
    let mut bytes = Vec::new();
    File::from(fd).take(bound.saturating_add(1)).read_to_end(&mut bytes).map_err(WalkError::Io)?;
    let fits = u64::try_from(bytes.len()).is_ok_and(|length| length <= bound);
    Ok((stat, fits.then_some(bytes)))
}

fn regular(fd: impl AsFd) -> Result<Stat, WalkError> {
    let stat = fstat(fd)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => Ok(stat),
        _ => Err(WalkError::Io(io::Error::other("it is no regular file"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    fn own() -> Ids {
        (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
    }

    #[test]
    fn what_the_reader_could_not_read_is_not_read() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        let file = root.join("d/f");
        std::fs::create_dir(root.join("d")).unwrap();
        std::fs::write(&file, "x").unwrap();
        let (uid, gid) = own();
        let stranger = (uid + 1, gid + 1);
        let mode = |path: &Path, mode| {
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        let table = [
            (0o755, 0o755, 0o644, true, true, true),
            (0o755, 0o755, 0o640, true, true, false),
            (0o755, 0o755, 0o600, true, false, false),
            (0o755, 0o750, 0o644, true, true, false),
            (0o700, 0o755, 0o644, true, false, false),
        ];
        for (top, directory, of_file, owner, group, other) in table {
            for (path, bits) in [(&root, top), (&root.join("d"), directory), (&file, of_file)] {
                mode(path, bits);
            }
            for (reader, wanted) in
                [((uid, gid), owner), ((uid + 1, gid), group), (stranger, other)]
            {
                let read = read_path_as(reader, &file, 9);
                assert_eq!(read.is_ok(), wanted, "{top:o} {directory:o} {of_file:o} {reader:?}");
            }
        }
    }

    #[test]
    fn a_link_anywhere_on_the_way_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir_all(root.join("real/sub")).unwrap();
        symlink("real", root.join("link")).unwrap();
        assert!(look(&root.join("real/sub")).is_ok());
        assert!(directory(&root.join("real/sub")).is_ok());
        for bad in ["link", "link/sub", "real/../real"] {
            assert!(matches!(look(&root.join(bad)), Err(WalkError::NotReal)), "{bad}");
            assert!(matches!(directory(&root.join(bad)), Err(WalkError::NotReal)), "{bad}");
        }
        assert!(matches!(look(&root.join("gone/x")), Err(WalkError::Missing)));
        assert!(look(Path::new("/")).is_ok());
    }

    #[test]
    fn a_path_that_does_not_begin_at_the_root_is_refused() {
        for bad in ["", ".", "etc", "./etc", "etc/passwd"] {
            let path = Path::new(bad);
            assert!(matches!(look(path), Err(WalkError::NotReal)), "{bad:?}");
            assert!(matches!(directory(path), Err(WalkError::NotReal)), "{bad:?}");
            assert!(matches!(read_path(path, 1), Err(WalkError::NotReal)), "{bad:?}");
        }
    }

    #[test]
    fn directories_are_not_made_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let base = directory(&dir.path().canonicalize().unwrap()).unwrap();
        symlink(elsewhere.path(), dir.path().join("a")).unwrap();
        let made = make_directories(&base, Path::new("a/b"), 0o755, own());
        assert!(matches!(made, Err(WalkError::NotReal)));
        assert!(!elsewhere.path().join("b").exists());
        make_directories(&base, Path::new("c/d"), 0o755, own()).unwrap();
        assert!(dir.path().join("c/d").is_dir());
    }

    #[test]
    fn a_file_is_replaced_and_never_written_through_a_link() {
        let dir = tempfile::tempdir().unwrap();
        let base = directory(&dir.path().canonicalize().unwrap()).unwrap();
        let victim = dir.path().join("victim");
        std::fs::write(&victim, "kept").unwrap();
        symlink(&victim, dir.path().join("f")).unwrap();
        symlink(&victim, dir.path().join(".f.new")).unwrap();
        replace_file(&base, "f", &b"new"[..], 0o444, own()).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("f")).unwrap(), "new");
        assert_eq!(std::fs::read_to_string(victim).unwrap(), "kept");
        assert!(matches!(read_file(&base, Path::new("f"), 2), Ok((_, None))));
    }
}
