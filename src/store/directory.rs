//! The state directory itself: made private, and refused when others could write into it.
//!
//! Whoever can write here decides what the operator believes, and so what it removes. Reading is less dangerous: the key
//! and the database have modes of their own.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;

use super::StoreError;

/// Makes `dir` with mode 0700 when it is missing, and refuses it when it is not ours alone to write.
pub(super) fn prepare(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(dir)
        .map_err(|error| StoreError::io("make the state directory", dir, error))?;
    let found = std::fs::metadata(dir)
        .map_err(|error| StoreError::io("look at the state directory", dir, error))?;
    let us = rustix::process::geteuid().as_raw();
    match objection(found.uid(), found.mode(), us) {
        None => Ok(()),
        Some((problem, remedy)) => {
            let remedy = format!("{remedy} {}", dir.display());
            Err(StoreError::Unsafe { path: dir.to_path_buf(), problem, remedy })
        }
    }
}

/// What speaks against a directory of this owner and mode, and the command that cures it, but for the path.
fn objection(owner: u32, mode: u32, us: u32) -> Option<(String, String)> {
    if owner != us {
        let problem = format!("belongs to uid {owner}, and this operator runs as uid {us}");
        return Some((problem, format!("run it as the owner, or: chown {us}")));
    }
    if mode & 0o022 != 0 {
        let problem = format!("can be written by others (mode {:04o})", mode & 0o7777);
        return Some((problem, "chmod go-w".to_owned()));
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_directory_that_nobody_else_can_write_is_taken() {
        assert_eq!(objection(1000, 0o40_700, 1000), None);
        assert_eq!(objection(1000, 0o40_755, 1000), None);
        let (problem, remedy) = objection(1000, 0o40_775, 1000).unwrap();
        assert_eq!(problem, "can be written by others (mode 0775)");
        assert_eq!(remedy, "chmod go-w");
        assert!(objection(1000, 0o40_702, 1000).is_some());
        let (problem, _) = objection(1001, 0o40_700, 1000).unwrap();
        assert_eq!(problem, "belongs to uid 1001, and this operator runs as uid 1000");
    }
}
