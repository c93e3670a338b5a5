//! A directory as a tar archive: the context of an image's build.
//!
//! The same directory gives the same bytes: names are sorted, times and owners are zero. Links are kept as links, never
//! followed, so an archive has nothing from outside its directory. Sockets, pipes and devices are left out.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use tar::{Builder, EntryType, Header};

/// The largest archive, since it is made in memory. A context of that size is a forgotten `.git` or `target`.
const ARCHIVE_BYTES_MAX: u64 = 512 << 20;

/// Why a directory could not be archived.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Too large.
    #[error("{} holds more than {} MiB", path.display(), ARCHIVE_BYTES_MAX >> 20)]
    TooLarge {
        /// The directory.
        path: PathBuf,
    },
}

/// Archives all that is in `directory`, under names relative to it. Blocks.
pub fn tar_directory(directory: &Path) -> Result<Bytes, ArchiveError> {
    let mut archive = Archive { root: directory, builder: Builder::new(Vec::new()), bytes: 0 };
    archive.add_children(Path::new(""))?;
    let read = |source| ArchiveError::Read { path: directory.to_owned(), source };
    Ok(Bytes::from(archive.builder.into_inner().map_err(read)?))
}

struct Archive<'a> {
    root: &'a Path,
    builder: Builder<Vec<u8>>,
    bytes: u64,
}

impl Archive<'_> {
    fn add_children(&mut self, relative: &Path) -> Result<(), ArchiveError> {
        // Joining nothing would put a slash at the end.
        let path =
            if relative == Path::new("") { self.root.to_owned() } else { self.root.join(relative) };
        let read = |source| ArchiveError::Read { path: path.clone(), source };
        let mut names = Vec::new();
        for entry in fs::read_dir(&path).map_err(read)? {
            names.push(entry.map_err(read)?.file_name());
        }
        names.sort();
        names.into_iter().try_for_each(|name| self.add(&relative.join(name)))
    }

    fn add(&mut self, relative: &Path) -> Result<(), ArchiveError> {
        let path = self.root.join(relative);
        let read = |source| ArchiveError::Read { path: path.clone(), source };
        let meta = fs::symlink_metadata(&path).map_err(read)?;
        let mut header = Header::new_gnu();
        header.set_mode(mode(&meta));
        header.set_size(0);
        if meta.is_dir() {
            header.set_entry_type(EntryType::Directory);
            self.builder.append_data(&mut header, relative, io::empty()).map_err(read)?;
            return self.add_children(relative);
        }
        if meta.is_symlink() {
            header.set_entry_type(EntryType::Symlink);
            let target = fs::read_link(&path).map_err(read)?;
            return self.builder.append_link(&mut header, relative, target).map_err(read);
        }
        if !meta.is_file() {
            return Ok(());
        }
        self.bytes += meta.len();
        if self.bytes > ARCHIVE_BYTES_MAX {
            return Err(ArchiveError::TooLarge { path: self.root.to_owned() });
        }
        // Read whole first: a file that grows meanwhile must not break the archive after its header.
        let content = fs::read(&path).map_err(read)?;
        header.set_size(content.len() as u64);
        self.builder.append_data(&mut header, relative, content.as_slice()).map_err(read)
    }
}

fn mode(meta: &fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    meta.permissions().mode() & 0o7777
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn entries(archive: &Bytes) -> BTreeMap<String, (EntryType, u32, String)> {
        let mut archive = tar::Archive::new(archive.as_ref());
        let entries = archive.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut text = String::new();
            entry.read_to_string(&mut text).unwrap();
            if let Some(link) = entry.link_name().unwrap() {
                text = link.display().to_string();
            }
            let path = entry.path().unwrap().display().to_string();
            (path, (entry.header().entry_type(), entry.header().mode().unwrap(), text))
        });
        entries.collect()
    }

    #[test]
    fn a_directory_is_archived_whole_with_links_as_links() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir(root.join("sub")).unwrap();
        fs::write(root.join("sub/run.sh"), "echo").unwrap();
        fs::set_permissions(root.join("sub/run.sh"), fs::Permissions::from_mode(0o755)).unwrap();
        let long = format!("{}/{}", "d".repeat(120), "f".repeat(120));
        fs::create_dir(root.join("d".repeat(120))).unwrap();
        fs::write(root.join(&long), "x").unwrap();
        symlink("/etc/shadow", root.join("out")).unwrap();
        symlink("nowhere", root.join("dangling")).unwrap();
        let archive = tar_directory(root).unwrap();
        let entries = entries(&archive);
        assert_eq!(entries["sub/run.sh"], (EntryType::Regular, 0o755, "echo".to_owned()));
        assert_eq!(
            (entries["out"].0, entries["out"].2.as_str()),
            (EntryType::Symlink, "/etc/shadow")
        );
        assert_eq!(entries["dangling"].2, "nowhere");
        assert_eq!(entries[&long].2, "x");
        assert_eq!(tar_directory(root).unwrap(), archive);
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = tar_directory(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(error.to_string(), "cannot read /nowhere/at/all");
    }
}
