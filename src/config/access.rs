//! Who may write what the operator obeys.
//!
//! Whoever can write a spec, the policy or a secret decides what is started as the owner. Looked at is the path itself,
//! behind its links: for a directory of specs that is its root. Files below are made by whoever may write the directories,
//! and directories above belong to the administrator.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::ConfigError;

/// Refuses a directory or file that its group or everybody may write.
pub fn check_not_writable_by_others(path: &Path) -> Result<(), ConfigError> {
    let found = std::fs::metadata(path)
        .map_err(|source| ConfigError::Unreadable { path: path.to_path_buf(), source })?;
    let mode = found.mode() & 0o7777;
    if mode & 0o022 != 0 {
        return Err(ConfigError::WritableByOthers { path: path.to_path_buf(), mode });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn what_others_can_write_is_refused_with_the_way_out() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("specs");
        std::fs::create_dir(&path).unwrap();
        let chmod =
            |mode| std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();

        for fine in [0o700, 0o755, 0o555] {
            chmod(fine);
            check_not_writable_by_others(&path).unwrap();
        }
        for bad in [0o775, 0o757, 0o1777] {
            chmod(bad);
            let error = check_not_writable_by_others(&path).unwrap_err().to_string();
            assert!(error.contains(&format!("(mode {bad:04o})")), "{error}");
            assert!(error.ends_with(&format!("chmod go-w {}", path.display())), "{error}");
        }

        let link = dir.path().join("link");
        symlink(&path, &link).unwrap();
        assert!(check_not_writable_by_others(&link).is_err());
    }

    #[test]
    fn what_is_not_there_is_said_to_be_unreadable() {
        let dir = tempfile::tempdir().unwrap();
        let error = check_not_writable_by_others(&dir.path().join("nothing")).unwrap_err();
        assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    }
}
