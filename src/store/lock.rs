//! One process a state directory: `flock`, held for life.
//!
//! The kernel lets go of it when the process is gone, however it went; a stopped process still holds it, which is right,
//! since it may go on. The pid in the file is for people only. The directory is locked as well, since
//! the file can be removed and created again.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write as _};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::StoreError;

/// The held lock. Dropping it lets go.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
    _directory: File,
}

impl Lock {
    /// Takes the lock, or says who has it. Does not wait: two operators are a mistake, not a queue.
    pub(super) fn acquire(path: &Path) -> Result<Self, StoreError> {
        let failed = |error| StoreError::io("lock", path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        let directory = File::open(path.parent().unwrap_or(path)).map_err(failed)?;
        let taken = [&file, &directory]
            .map(|locked| flock(locked, FlockOperation::NonBlockingLockExclusive));
        for lock in taken {
            match lock {
                Ok(()) => {}
                Err(Errno::WOULDBLOCK) => {
                    return Err(StoreError::Locked {
                        path: path.to_path_buf(),
                        pid: holder(&mut file),
                    });
                }
                Err(errno) => return Err(failed(errno.into())),
            }
        }
        // An old pid must go; when the new one cannot be written (disk full), the lock is just as good.
        file.set_len(0).map_err(failed)?;
        if let Err(error) = writeln!(file, "{}", std::process::id()) {
            tracing::debug!(path = %path.display(), %error, "the lock file does not say who holds it");
        }
        Ok(Self { _file: file, _directory: directory })
    }
}

fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    // A pid has at most ten digits; the bound is against a file that is something else.
    file.take(32).read_to_string(&mut text).ok()?;
    text.trim().parse().ok()
}
