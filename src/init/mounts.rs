//! The identity list: which thing must stand at each mount's target.
//!
//! The engine resolves a mount's source when the container *starts*, long after the policy looked at it: meanwhile a disk
//! may have been unmounted, or a directory swapped for a link. The host writes down device and inode of what it
//! checked; init compares before anything else runs. A device number may change with a reboot, so the host writes the list anew
//! before each start.
//!
//! Form: `dev ino target`, each ended by a NUL.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

/// One mount that was checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// Where it appears in the container.
    pub target: String,
    /// Its file system's device number.
    pub device: u64,
    /// Its inode.
    pub inode: u64,
}

/// Why the mounts are not what was prepared.
#[derive(Debug, thiserror::Error)]
pub enum MountsError {
    /// Another thing is there.
    #[error(
        "{target} is not what was mounted there when the container was prepared: its source was moved, replaced or unmounted"
    )]
    Other {
        /// The mount's target.
        target: String,
    },
    /// It cannot be looked at.
    #[error("failed to look at mount {target}: {cause}")]
    Unreadable {
        /// The mount's target.
        target: String,
        /// Why.
        cause: std::io::Error,
    },
    /// The list itself cannot be used.
    #[error("failed to read the list of mounts from {}: {cause}", path.display())]
    List {
        /// The list.
        path: PathBuf,
        /// Why.
        cause: std::io::Error,
    },
}

/// Puts a list into the file's form.
pub fn encode(identities: &[Identity]) -> String {
    let mut text = String::new();
    for Identity { target, device, inode } in identities {
        // Writing to a String cannot fail.
        let _ = write!(text, "{device} {inode} {target}\0");
    }
    text
}

/// Takes the file's form apart. `None` when it is not of that form.
pub fn decode(text: &str) -> Option<Vec<Identity>> {
    let identity = |entry: &str| {
        let mut words = entry.splitn(3, ' ');
        let device = words.next()?.parse().ok()?;
        let inode = words.next()?.parse().ok()?;
        let target = words.next().filter(|target| target.starts_with('/'))?.to_owned();
        Some(Identity { target, device, inode })
    };
    if text.is_empty() {
        return Some(Vec::new());
    }
    text.strip_suffix('\0')?.split('\0').map(identity).collect()
}

/// Compares every mount of the list with what stands there. No file, nothing to compare: an image may have its own
/// init and no chanop.
pub fn verify(list: &Path) -> Result<(), MountsError> {
    let unusable = |cause| MountsError::List { path: list.to_owned(), cause };
    let text = match std::fs::read_to_string(list) {
        Err(cause) if cause.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        read => read.map_err(unusable)?,
    };
    let identities =
        decode(&text).ok_or_else(|| unusable(std::io::ErrorKind::InvalidData.into()))?;
    for identity in identities {
        let target = identity.target;
        match std::fs::metadata(&target) {
            Ok(found) if (found.dev(), found.ino()) == (identity.device, identity.inode) => {}
            Ok(_) => return Err(MountsError::Other { target }),
            Err(cause) => return Err(MountsError::Unreadable { target, cause }),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let list = vec![
            Identity { target: "/a b\nc".to_owned(), device: 2049, inode: 7 },
            Identity { target: "/".to_owned(), device: u64::MAX, inode: 0 },
        ];
        assert_eq!(decode(&encode(&list)).unwrap(), list);
        assert_eq!(decode("").unwrap(), vec![]);
    }

    #[test]
    fn a_damaged_list_is_no_list() {
        for text in ["1 2 /a", "1 2\0", "x 2 /a\0", "1 2 a\0", "\0", "1 2 /a\0\0"] {
            assert_eq!(decode(text), None, "{text:?}");
        }
    }
}
