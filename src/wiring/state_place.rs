//! What tells the state directory from a copy of it, and this start of the machine from another.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::world::ownership::StatePlace;

const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// Of a directory that is there. What cannot be read stays empty, which proves nothing to anybody.
pub(super) fn of(directory: &str) -> StatePlace {
    let boot_id = std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned();
    let inode = std::fs::metadata(Path::new(directory))
        .map_or_else(|_| String::new(), |found| format!("{}:{}", found.dev(), found.ino()));
    StatePlace { boot_id, inode, path: directory.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renamed_directory_is_the_same_and_another_is_not() {
        let root = tempfile::tempdir().unwrap();
        let text = |name: &str| root.path().join(name).display().to_string();
        for name in ["a", "b"] {
            std::fs::create_dir(text(name)).unwrap();
        }
        let before = of(&text("a"));
        assert!(!before.boot_id.is_empty() && !before.inode.is_empty());
        std::fs::rename(text("a"), text("c")).unwrap();
        let after = of(&text("c"));
        assert_eq!((&after.boot_id, &after.inode), (&before.boot_id, &before.inode));
        assert_ne!(of(&text("b")).inode, before.inode);
        assert_eq!(of(&text("missing")).inode, "");
    }
}
