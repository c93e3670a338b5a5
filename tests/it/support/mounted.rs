//! A file system mounted on a directory, as long as this lives.

use std::path::PathBuf;

use super::operator::{Said, program};

/// See the module.
pub(crate) struct Mounted(PathBuf);

impl Mounted {
    /// One in memory, empty; `options` are added to its own.
    pub(crate) fn on(directory: PathBuf, options: &str) -> Self {
        let options = format!("mode=755{options}");
        let mount =
            program("mount").args(["-t", "tmpfs", "-o", &options, "none"]).arg(&directory).output();
        Said::from(mount.unwrap()).well();
        Self(directory)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = program("umount").arg("-l").arg(&self.0).status();
    }
}
