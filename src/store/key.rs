//! The key of a state directory: secrets are compared by keyed hash, never kept.
//!
//! A plain hash of a short secret can be guessed from a label or a status; one with a key that never leaves the host
//! cannot. HMAC-SHA256 (RFC 2104) over `sha2`, a dozen lines instead of a dependency.

use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read, Write as _};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{StoreError, error};
use crate::resource::text::hex;

const KEY_BYTES: usize = 32;

/// What SHA-256 eats at a time; HMAC pads its key to it.
const BLOCK_BYTES: usize = 64;

/// The key. It has no accessor and does not print.
#[derive(Clone)]
pub struct StateKey([u8; KEY_BYTES]);

impl StateKey {
    /// A key of these bytes, for tests and simulators; the operator's comes from its state directory.
    pub const fn from_bytes(bytes: [u8; KEY_BYTES]) -> Self {
        Self(bytes)
    }

    /// HMAC-SHA256 of `bytes`, in hexadecimal.
    pub fn hash(&self, bytes: &[u8]) -> String {
        hex(&hmac_sha256(&self.0, bytes))
    }

    /// Reads the key of a state directory that an operator may be using: the plan without an operator compares by it.
    pub fn read(state_dir: &Path) -> Result<Self, StoreError> {
        let path = state_dir.join("key");
        let file = File::open(&path).map_err(|error| StoreError::io("read", &path, error))?;
        Self::load(&path, file)
    }

    /// Reads the key, or makes it. `expected`: there is a store already, so a missing key was lost.
    pub(super) fn load_or_make(path: &Path, expected: bool) -> Result<Self, StoreError> {
        match File::open(path) {
            Ok(file) => Self::load(path, file),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                if expected {
                    tracing::warn!(
                        path = %path.display(),
                        "the key is gone and made anew: every channel with secrets counts as changed"
                    );
                }
                Self::make(path).map_err(|error| StoreError::io("make", path, error))
            }
            Err(error) => Err(StoreError::io("read", path, error)),
        }
    }

    fn load(path: &Path, mut file: File) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("read", path, error);
        let found = file.metadata().map_err(failed)?;
        let mode = found.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(StoreError::Unsafe {
                path: path.to_path_buf(),
                problem: format!("is open to others (mode {mode:04o})"),
                remedy: format!("chmod 0600 {}", path.display()),
            });
        }
        if found.len() != KEY_BYTES as u64 {
            let source = error::cause(format!("{} bytes instead of {KEY_BYTES}", found.len()));
            return Err(StoreError::Corrupt { path: path.to_path_buf(), source });
        }
        let mut bytes = [0; KEY_BYTES];
        file.read_exact(&mut bytes).map_err(failed)?;
        Ok(Self(bytes))
    }

    /// Written beside and renamed: a crash leaves no key or a whole one.
    fn make(path: &Path) -> std::io::Result<Self> {
        let mut bytes = [0; KEY_BYTES];
        File::open("/dev/urandom")?.read_exact(&mut bytes)?;
        let beside = path.with_extension("new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        std::fs::rename(&beside, path)?;
        if let Some(dir) = path.parent() {
            File::open(dir)?.sync_all()?;
        }
        Ok(Self(bytes))
    }
}

impl fmt::Debug for StateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StateKey(…)")
    }
}

/// RFC 2104 for keys that fit a block.
fn hmac_sha256(key: &[u8; KEY_BYTES], message: &[u8]) -> [u8; 32] {
    let padded = |pad: u8| {
        let mut block = [pad; BLOCK_BYTES];
        for (byte, key) in block.iter_mut().zip(key) {
            *byte ^= key;
        }
        block
    };
    let inner = Sha256::new().chain_update(padded(0x36)).chain_update(message).finalize();
    Sha256::new().chain_update(padded(0x5c)).chain_update(inner).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 4231 has no 32-byte key, but a shorter key padded with zeros is the same key.
    fn key(text: &[u8]) -> StateKey {
        let mut bytes = [0; KEY_BYTES];
        bytes[..text.len()].copy_from_slice(text);
        StateKey::from_bytes(bytes)
    }

    #[test]
    fn the_hash_is_hmac_sha256() {
        assert_eq!(
            key(&[0x0b; 20]).hash(b"Hi There"),
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7"
        );
        assert_eq!(
            key(b"Jefe").hash(b"what do ya want for nothing?"),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn the_key_does_not_print() {
        assert_eq!(format!("{:?}", key(b"secret")), "StateKey(…)");
    }

    #[test]
    fn a_key_is_made_once_and_kept_private() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let made = StateKey::load_or_make(&path, false).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        let read = StateKey::load_or_make(&path, true).unwrap();
        assert_eq!(made.hash(b"x"), read.hash(b"x"));
        let other = StateKey::load_or_make(&dir.path().join("other"), false).unwrap();
        assert_ne!(made.hash(b"x"), other.hash(b"x"));
    }

    #[test]
    fn a_key_that_others_can_read_or_that_was_cut_is_refused() {
        use std::os::unix::fs::PermissionsExt;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        StateKey::load_or_make(&path, false).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o640)).unwrap();
        let error = StateKey::load_or_make(&path, true).unwrap_err();
        assert!(error.to_string().contains("is open to others (mode 0640); chmod 0600"), "{error}");

        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
        std::fs::write(&path, b"short").unwrap();
        let error = StateKey::load_or_make(&path, true).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error}");
    }
}
