//! What can go wrong with the store, by what one can do about it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::ErrorCode;

/// What is below an error. Shared, because a group of commits fails together and each caller is told.
pub type Cause = Arc<dyn Error + Send + Sync>;

/// Why the store could not be opened, read or written.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// Others could change what the operator believes.
    #[error("{} {problem}; {remedy}", path.display())]
    Unsafe {
        /// Which directory or file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
        /// The way out.
        remedy: String,
    },
    /// Another process has this state directory.
    #[error("another operator{} holds {}", pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default(), path.display())]
    Locked {
        /// The lock file.
        path: PathBuf,
        /// Who it says it is.
        pid: Option<u32>,
    },
    /// The state directory belongs to another instance.
    #[error("{} belongs to instance `{recorded}`, not `{asked}`; give each instance a --state-dir of its own", path.display())]
    OtherInstance {
        /// The database.
        path: PathBuf,
        /// Whose it is.
        recorded: String,
        /// Who asked.
        asked: String,
    },
    /// A newer chanop wrote it.
    #[error("{} was written by a newer chanop (version {found} of its tables, this one knows {known})", path.display())]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version found.
        found: u32,
        /// The newest one known here.
        known: u32,
    },
    /// No space left. What was acknowledged stays; later commits work again when there is space.
    #[error("no space left to {doing} {}", path.display())]
    Full {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The database's word.
        source: Cause,
    },
    /// The file or its file system cannot be written.
    #[error("failed to {doing} {}: it is read-only", path.display())]
    ReadOnly {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// The database's word.
        source: Cause,
    },
    /// The file is damaged, or is no database of ours.
    #[error("{} is damaged; restore it, or move it away and start with --takeover", path.display())]
    Corrupt {
        /// Which file.
        path: PathBuf,
        /// What was found.
        source: Cause,
    },
    /// It was moved or removed while it was open: what would be written there, no later process would find.
    #[error("{} is not the file that was opened; put it back, or start anew", path.display())]
    Lost {
        /// Which file.
        path: PathBuf,
    },
    /// The writer has stopped.
    #[error("the store is closed")]
    Closed,
    /// Anything else.
    #[error("failed to {doing} {}", path.display())]
    Other {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: Cause,
    },
}

/// A text as a cause.
pub(super) fn cause(text: String) -> Cause {
    Arc::from(Box::<dyn Error + Send + Sync>::from(text))
}

impl StoreError {
    /// Sorts an error of the database by what one can do about it.
    pub(super) fn of(doing: &'static str, path: &Path, error: rusqlite::Error) -> Self {
        let path = path.to_path_buf();
        let corrupt = matches!(
            error,
            // A column that does not hold what its table promises: the file is not what we wrote.
            rusqlite::Error::FromSqlConversionFailure(..)
                | rusqlite::Error::InvalidColumnType(..)
                | rusqlite::Error::IntegralValueOutOfRange(..)
        );
        let (code, extended) = match &error {
            rusqlite::Error::SqliteFailure(failure, _) => {
                (Some(failure.code), failure.extended_code)
            }
            _ => (None, 0),
        };
        let source: Cause = Arc::new(error);
        match code {
            _ if corrupt => Self::Corrupt { path, source },
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                Self::Corrupt { path, source }
            }
            Some(ErrorCode::DiskFull) => Self::Full { doing, path, source },
            // The index beside the log could not grow: in practice the same.
            _ if extended == rusqlite::ffi::SQLITE_IOERR_SHMSIZE => {
                Self::Full { doing, path, source }
            }
            Some(ErrorCode::ReadOnly) => Self::ReadOnly { doing, path, source },
            _ => Self::Other { doing, path, source },
        }
    }

    /// Sorts an error of the file system.
    pub(super) fn io(doing: &'static str, path: &Path, error: std::io::Error) -> Self {
        use std::io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};

        let path = path.to_path_buf();
        let kind = error.kind();
        let source: Cause = Arc::new(error);
        match kind {
            StorageFull | QuotaExceeded => Self::Full { doing, path, source },
            ReadOnlyFilesystem => Self::ReadOnly { doing, path, source },
            _ => Self::Other { doing, path, source },
        }
    }
}
