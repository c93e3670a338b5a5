//! Where containers' secrets lie on the host: in memory, where that can be had.

use std::path::Path;

use rustix::fs::statfs;

/// The kernel's number of a tmpfs, from `magic.h`.
const TMPFS_MAGIC: u64 = 0x0102_1994;
/// The kernel's number of a ramfs.
const RAMFS_MAGIC: u64 = 0x8584_58f6;

/// The directory of the secrets of one instance, and whether a disk may see them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecretsRoot {
    /// Absolute.
    pub path: String,
    /// Is it in memory? When not, doctor and the log say so.
    pub in_memory: bool,
}

impl SecretsRoot {
    /// Chooses: below `/run/chanop` for root, below `$XDG_RUNTIME_DIR/chanop` else, where that is in memory; or else in
    /// the state directory.
    pub fn choose(
        is_root: bool,
        xdg_runtime_dir: Option<&str>,
        state: &str,
        instance: &str,
    ) -> Self {
        let runtime = if is_root { Some("/run") } else { xdg_runtime_dir };
        let in_memory = runtime.filter(|directory| is_in_memory(Path::new(directory)));
        in_memory.map_or_else(
            || Self { path: format!("{state}/secrets"), in_memory: false },
            |directory| Self {
                path: format!("{directory}/chanop/{instance}/secrets"),
                in_memory: true,
            },
        )
    }
}

fn is_in_memory(directory: &Path) -> bool {
    let kind = statfs(directory).map(|found| u64::try_from(found.f_type).unwrap_or_default());
    matches!(kind, Ok(TMPFS_MAGIC | RAMFS_MAGIC))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_lie_in_memory_or_say_that_they_do_not() {
        let shm = SecretsRoot::choose(false, Some("/dev/shm"), "/state", "default");
        assert_eq!((shm.path.as_str(), shm.in_memory), ("/dev/shm/chanop/default/secrets", true));
        for not_in_memory in [Some("/proc"), Some("/nowhere"), None] {
            let root = SecretsRoot::choose(false, not_in_memory, "/state", "default");
            assert_eq!((root.path.as_str(), root.in_memory), ("/state/secrets", false));
        }
    }
}
