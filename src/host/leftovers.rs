//! Removing what a channel without containers has on the host and could give away: its secrets, and its copies of the owner's files.
//!
//! The home stays, as promised, and so do the files that say nothing secret.

use std::io;
use std::path::Path;

use rustix::fs::{AtFlags, FileType, statat};

use super::beneath;
use super::prepare::{Host, PrepareError, io_failed, locked};
use crate::resource::ResourceName;

/// Removes them for every channel that `goes`, where they were last written before this second of the wall clock: those of a new
/// channel of the same name stay. Answers how many channels had something. Blocks on the file system.
pub fn remove_secrets(
    host: &Host,
    goes: &dyn Fn(&ResourceName) -> bool,
    before: i64,
) -> Result<usize, PrepareError> {
    let mut gone = 0;
    let channels = format!("{}/channels", host.paths.state);
    let mut names = directories(&host.paths.secrets)?;
    names.extend(directories(&channels)?);
    names.sort();
    names.dedup();
    for name in names.iter().filter(|name| goes(name)) {
        let _lock = locked(host, name)?;
        let secrets = remove_tree(&host.paths.secrets, name.as_str(), before)?;
        let files = remove_tree(&host.paths.channel(name), "files", before)?;
        gone += usize::from(secrets || files);
    }
    Ok(gone)
}

/// Removes the directory `name` in `parent`; answers whether it was there and old enough.
fn remove_tree(parent: &str, name: &str, before: i64) -> Result<bool, PrepareError> {
    let path = format!("{parent}/{name}");
    let failed = |cause| io_failed("remove", &path, cause);
    let Ok(parent) = Path::new(parent).canonicalize() else { return Ok(false) };
    let parent_fd = beneath::directory(&parent).map_err(|error| failed(error.into()))?;
    let Ok(stat) = statat(&parent_fd, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(false) };
    let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
    if !is_directory || stat.st_ctime >= before {
        return Ok(false);
    }
    // The secrets' directory cannot be written by its owner.
    let directory = beneath::open_directories(&parent_fd, Path::new(name))
        .map_err(|error| failed(error.into()))?;
    beneath::give(&directory, 0o700, (stat.st_uid, stat.st_gid))
        .map_err(|errno| failed(errno.into()))?;
    std::fs::remove_dir_all(parent.join(name)).map_err(failed)?;
    Ok(true)
}

/// The directories in `path` that are named like a channel; none when it is not there.
fn directories(path: &str) -> Result<Vec<ResourceName>, PrepareError> {
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(cause) => return Err(io_failed("look for secrets in", path, cause)),
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name());
    let names: Vec<std::ffi::OsString> = entries
        .map(name)
        .collect::<io::Result<_>>()
        .map_err(|cause| io_failed("look for secrets in", path, cause))?;
    let names = names.into_iter().filter_map(|name| name.into_string().ok());
    Ok(names.filter_map(|name| ResourceName::parse(&name).ok()).collect())
}
