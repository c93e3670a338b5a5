//! A private directory that goes away again.

use std::io;
use std::path::{Path, PathBuf};

/// See the module.
pub(super) struct WorkDir(PathBuf);

impl WorkDir {
    /// A new, empty one, with a word in its name of what it is for.
    pub(super) fn new(purpose: &str) -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("chanop-{purpose}-{}", uuid::Uuid::new_v4()));
        // `create` fails where something is already: nobody can have put a link there for us.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _left_for_the_system_to_clean = std::fs::remove_dir_all(&self.0);
    }
}
