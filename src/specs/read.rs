//! Reads one file whole, once, and only when it is a regular file that holds still.
//!
//! Nothing here waits: a pipe or device is recognised before it is opened, and opened without blocking should it take the
//! place of a file in between. Links are not followed; [`super::beneath`] does that.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, Stat, fstat, openat};
use rustix::io::Errno;

use super::limits::Limits;
use crate::config::{Access, Objection, WriteRule};

/// How often a file that changes while it is read is read again.
const TRIES: usize = 3;

/// What a file's metadata say of its content: the same stamp, most likely the same bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) identity: (u64, u64),
    pub(super) size: u64,
    /// Seconds and nanoseconds.
    pub(super) modified: (i64, i64),
    /// Seconds and nanoseconds; the kernel's own, which no tool can set back.
    pub(super) changed: (i64, i64),
}

impl Stamp {
    #[expect(
        clippy::useless_conversion,
        reason = "the width of these fields differs between architectures"
    )]
    pub(super) fn of(stat: &Stat) -> Self {
        let nanos = |value| i64::try_from(value).unwrap_or(0);
        Self {
            identity: (stat.st_dev.into(), stat.st_ino.into()),
            size: u64::try_from(stat.st_size).unwrap_or(0),
            modified: (stat.st_mtime.into(), nanos(stat.st_mtime_nsec)),
            changed: (stat.st_ctime.into(), nanos(stat.st_ctime_nsec)),
        }
    }

    /// The later of its two times.
    pub(super) fn newest(&self) -> (i64, i64) {
        self.modified.max(self.changed)
    }
}

/// Why a file was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum NotRead {
    /// The system would not.
    Failed(Errno),
    /// It is something that is not read.
    Refused(String),
    /// It changed each time.
    Unstable,
}

/// What a thing that is no regular file is called.
pub(super) fn kind_text(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Symlink => "a link",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "of no known kind",
    }
}

/// Reads the file `name` in `directory`, and says what it was like when it was read.
pub(super) fn read_file(
    directory: impl AsFd,
    name: &OsStr,
    limits: &Limits,
    permitted: &Permitted<'_>,
) -> Result<(Stamp, Vec<u8>), NotRead> {
    for _ in 0..TRIES {
        if let Some(read) = read_still(directory.as_fd(), name, limits.file_bytes, permitted)? {
            return Ok(read);
        }
    }
    Err(NotRead::Unstable)
}

/// One try; `None` when the file changed meanwhile.
fn read_still(
    directory: impl AsFd,
    name: &OsStr,
    most: u64,
    permitted: &Permitted<'_>,
) -> Result<Option<(Stamp, Vec<u8>)>, NotRead> {
    let flags =
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let file = openat(directory, name, flags, Mode::empty()).map_err(NotRead::Failed)?;
    let before = fstat(&file).map_err(NotRead::Failed)?;
    refuse(&before, most, permitted)?;
    let mut bytes = Vec::with_capacity(usize::try_from(before.st_size).unwrap_or(0));
    let mut file = File::from(file);
    if let Err(error) = (&mut file).take(most + 1).read_to_end(&mut bytes) {
        return Err(NotRead::Failed(Errno::from_io_error(&error).unwrap_or(Errno::IO)));
    }
    let stamp = Stamp::of(&before);
    let after = Stamp::of(&fstat(&file).map_err(NotRead::Failed)?);
    let whole = u64::try_from(bytes.len()) == Ok(stamp.size);
    Ok((stamp == after && whole).then_some((stamp, bytes)))
}

/// Refuses what must not even be opened.
pub(super) fn refuse(stat: &Stat, most: u64, permitted: &Permitted<'_>) -> Result<(), NotRead> {
    let kind = FileType::from_raw_mode(stat.st_mode);
    if kind != FileType::RegularFile {
        return Err(NotRead::Refused(format!("is {}, not a regular file", kind_text(kind))));
    }
    if Stamp::of(stat).size > most {
        return Err(NotRead::Refused(format!("is larger than {}", size_text(most))));
    }
    if let Some(objection) = permitted.rule.objection(Access::of(stat)) {
        return Err(NotRead::Refused(not_permitted(objection, permitted.path)));
    }
    Ok(())
}

/// Who may write a file, and where it is, for the message.
pub(super) struct Permitted<'a> {
    pub(super) rule: &'a WriteRule,
    pub(super) path: &'a Path,
}

/// Why a file or directory that others can write is not used, and what to do.
pub(super) fn not_permitted(objection: Objection, path: &Path) -> String {
    format!("{objection}, so it is not used: {} {}", objection.remedy(), path.display())
}

fn size_text(bytes: u64) -> String {
    if bytes >= 1 << 20 && bytes.is_multiple_of(1 << 20) {
        return format!("{} MiB", bytes >> 20);
    }
    format!("{bytes} bytes")
}
