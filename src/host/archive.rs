//! Tar archives for the created container: files of its own, and the owner of a new volume.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

use super::beneath::Ids;

/// A file to be put into the container's own file system.
#[derive(Debug)]
pub(super) struct Entry {
    /// Absolute, in the container.
    pub(super) target: String,
    /// Permissions.
    pub(super) mode: u32,
    /// What it holds.
    pub(super) content: Vec<u8>,
}

/// An archive for `/`. Directories from `home` downwards become the user's; others are made by the engine where missing.
pub(super) fn of_files(entries: &[Entry], home: &str, owner: Ids) -> io::Result<Bytes> {
    let mut archive = Builder::new(Vec::new());
    let mut directories = BTreeSet::new();
    for Entry { target, mode, content } in entries {
        let mut parents: Vec<&Path> = Path::new(target)
            .ancestors()
            .skip(1)
            .take_while(|parent| parent.starts_with(home) && parent.parent().is_some())
            .collect();
        parents.reverse();
        for parent in parents {
            if directories.insert(parent) {
                let name = format!("{}/", relative(&parent.to_string_lossy()));
                append(&mut archive, &name, EntryType::Directory, 0o755, owner, &[])?;
            }
        }
        append(&mut archive, relative(target), EntryType::Regular, *mode, owner, content)?;
    }
    archive.into_inner().map(Bytes::from)
}

/// Archives of nothing but the mount's own directory, each with the path to put it at, the better one first: they give a new
/// volume to the user.
///
/// At the directory above, it is an entry like any other; but where that lies in a read-only file system, the engine takes
/// none. At the directory itself the engine passes over an entry `.` (it must not change the directory that it extracts
/// into); Docker 20.10 compares only that text, so `/` is the same directory under another name to it, and 28 is not fooled.
pub(super) fn of_ownership(target: &str, owner: Ids) -> io::Result<Vec<(String, Bytes)>> {
    let target = target.trim_end_matches('/');
    let (above, name) = target.rsplit_once('/').unwrap_or(("", target));
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, &format!("{name}/"), EntryType::Directory, 0o755, owner, &[])?;
    let entry = archive.into_inner().map(Bytes::from)?;
    Ok(vec![(format!("{above}/"), entry), (target.to_owned(), of_root(owner)?)])
}

fn of_root((uid, gid): Ids) -> io::Result<Bytes> {
    let mut header = Header::new_gnu();
    header.set_entry_type(EntryType::Directory);
    if let Some(first) = header.as_old_mut().name.first_mut() {
        *first = b'/';
    }
    header.set_mode(0o755);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(0);
    header.set_size(0);
    header.set_cksum();
    let mut archive = Builder::new(Vec::new());
    archive.append(&header, io::empty())?;
    archive.into_inner().map(Bytes::from)
}

fn relative(target: &str) -> &str {
    target.trim_start_matches('/')
}

fn append(
    archive: &mut Builder<Vec<u8>>,
    name: &str,
    kind: EntryType,
    mode: u32,
    (uid, gid): Ids,
    content: &[u8],
) -> io::Result<()> {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(uid.into());
    header.set_gid(gid.into());
    header.set_mtime(0);
    header.set_size(u64::try_from(content.len()).map_err(io::Error::other)?);
    archive.append_data(&mut header, name, content)
}
