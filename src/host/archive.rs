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

/// An archive of nothing but the directory itself: put at a mount's target, it gives an empty volume to the user.
pub(super) fn of_ownership(owner: Ids) -> io::Result<Bytes> {
    let mut archive = Builder::new(Vec::new());
    append(&mut archive, "./", EntryType::Directory, 0o755, owner, &[])?;
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
