//! What outlives the process: `SQLite` in the state directory.
//!
//! One process owns a state directory, one connection writes it, and a write is acknowledged when it is on the disk:
//! WAL with `synchronous=FULL`, so a killed operator or a lost machine loses nothing that was answered. People may look
//! with `sqlite3` while the operator runs; the tables have columns for that, and the views `objects`, `runs` and `costs` sum them up.
//!
//! What the rows mean is [`crate::world::record`]'s to say. Nothing here decides, and no database type leaves this room.
//!
//! ```text
//! <state-dir>/         0700 when made here
//!   lock               flock held for life; holds the pid
//!   key                32 random bytes, 0600: the key of hashes of secrets
//!   chanop.db          0600; -wal and -shm beside it while it is open
//!   runs/              0700: see [`transcripts`]
//! ```
//!
//! # Guarantees
//!
//! - `Ok` from a commit means that all its writes are durable, together.
//! - `Err` means that nobody may count on them. They may still turn out to be there after a crash; every [`Write`] may be
//!   repeated, so the caller simply writes again.
//! - The record of a run that has ended never changes, and goes only when its tombstone comes, in the same transaction.
//! - A full disk is an error of the commits made meanwhile, not of the store: it goes on when there is space.

mod columns;
mod directory;
mod error;
mod key;
mod lock;
mod rows;
mod run_rows;
mod schema;
pub mod transcripts;
mod writer;

use std::fs::OpenOptions;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OpenFlags, TransactionBehavior};

use crate::resource::ResourceName;
use crate::world::record::{Loaded, Write};

pub use error::{Cause, StoreError};
pub use key::StateKey;
pub use transcripts::Transcripts;
pub use writer::{StoreHandle, StoreWriter, start};

/// How long a person's `sqlite3` may hold the database before a commit fails: longer than any sane query, shorter than
/// the time-out that the core gives a commit.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// The log is cut back to so many bytes when it is checkpointed: one burst must not keep the space for ever.
const WAL_BYTES_MAX: u32 = 16 * 1024 * 1024;

/// The open store of one instance.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    // Device and inode of the file that was opened.
    file: (u64, u64),
    key: StateKey,
    transcripts: Transcripts,
    // Fields drop in this order: the database is closed before another process may have it.
    _lock: lock::Lock,
}

impl Store {
    /// Opens the store of `instance` in `dir`, made when there is none, and reads all of it.
    ///
    /// The file is checked before it is believed: thoroughly after an unclean end, quickly otherwise.
    pub fn open(
        dir: &Path,
        instance: &ResourceName,
        now: Timestamp,
    ) -> Result<(Self, Loaded), StoreError> {
        directory::prepare(dir)?;
        let lock = lock::Lock::acquire(&dir.join("lock"))?;
        let path = dir.join("chanop.db");
        let key = StateKey::load_or_make(&dir.join("key"), path.exists())?;
        let unclean = left_open(&path);
        let connection = connect(&path)?;
        let transcripts = Transcripts::new(dir)
            .map_err(|error| StoreError::io("keep transcripts in", dir, error))?;
        let file = device_and_inode(&path).map_err(|error| StoreError::io("open", &path, error))?;
        let mut store = Self { connection, path, file, key, transcripts, _lock: lock };
        store.check(unclean)?;
        store.migrate()?;
        let loaded = store.load(instance, now)?;
        store
            .transcripts
            .restore(&loaded)
            .map_err(|error| StoreError::io("put transcripts aside in", dir, error))?;
        Ok((store, loaded))
    }

    /// Writes all of `writes`, or nothing, and returns when they are on the disk.
    pub fn commit(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        if writes.is_empty() {
            return Ok(());
        }
        let path = &self.path;
        // SQLite would write on into a log that has no name any more, and call it durable.
        if device_and_inode(path).ok() != Some(self.file) {
            return Err(StoreError::Lost { path: path.clone() });
        }
        let failed = |error| StoreError::of("write to", path, error);
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(failed)?;
        let mut buried = Vec::new();
        for write in writes {
            if let Write::Bury(id, _) = write {
                buried.extend(run_rows::attempts(&transaction, id).map_err(failed)?);
            }
            rows::apply(&transaction, write).map_err(failed)?;
        }
        if writes.iter().any(|write| matches!(write, Write::Event(_))) {
            rows::trim_events(&transaction).map_err(failed)?;
        }
        transaction.commit().map_err(failed)?;
        self.transcripts.committed(writes, buried);
        Ok(())
    }

    /// The transcripts of this state directory.
    pub const fn transcripts(&self) -> &Transcripts {
        &self.transcripts
    }

    /// The key of this state directory.
    pub const fn key(&self) -> &StateKey {
        &self.key
    }

    /// Folds the log into the database and closes it, so that the next start need not recover anything.
    pub fn close(self) -> Result<(), StoreError> {
        let Self { connection, path, file: _, key: _, transcripts, _lock } = self;
        transcripts.stop();
        connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(|error| StoreError::of("checkpoint", &path, error))?;
        connection.close().map_err(|(_, error)| StoreError::of("close", &path, error))
    }

    fn check(&self, thoroughly: bool) -> Result<(), StoreError> {
        let pragma = if thoroughly { "PRAGMA integrity_check(1)" } else { "PRAGMA quick_check(1)" };
        let found: String = self
            .connection
            .query_row(pragma, [], |row| row.get(0))
            .map_err(|error| StoreError::of("check", &self.path, error))?;
        if found == "ok" {
            return Ok(());
        }
        Err(StoreError::Corrupt { path: self.path.clone(), source: error::cause(found) })
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let failed = |error| StoreError::of("migrate", &self.path, error);
        let found = schema::version(&self.connection).map_err(failed)?;
        if found > schema::VERSION {
            let path = self.path.clone();
            return Err(StoreError::Newer { path, found, known: schema::VERSION });
        }
        schema::migrate(&mut self.connection, found).map_err(failed)
    }

    fn load(&mut self, instance: &ResourceName, now: Timestamp) -> Result<Loaded, StoreError> {
        let failed = |error| StoreError::of("read", &self.path, error);
        let identity = rows::identify(&mut self.connection, instance, now).map_err(failed)?;
        if identity.instance != instance.as_str() {
            return Err(StoreError::OtherInstance {
                path: self.path.clone(),
                recorded: identity.instance,
                asked: instance.to_string(),
            });
        }
        rows::load(&self.connection, identity).map_err(failed)
    }
}

fn device_and_inode(path: &Path) -> std::io::Result<(u64, u64)> {
    std::fs::metadata(path).map(|found| (found.dev(), found.ino()))
}

/// Did the last owner end without closing? `SQLite` removes the log when the last connection closes.
fn left_open(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).is_ok_and(|log| log.len() > 0)
}

fn connect(path: &Path) -> Result<Connection, StoreError> {
    // Made here and not by SQLite, for its mode; -wal and -shm get the same one.
    OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map_err(|source| StoreError::io("open", path, source))?;
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    Connection::open_with_flags(path, flags)
        .and_then(|connection| {
            connection.busy_timeout(BUSY_TIMEOUT)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.pragma_update(None, "journal_size_limit", WAL_BYTES_MAX)?;
            // The database is read once and then only written: no schema of a stranger is trusted.
            connection.pragma_update(None, "trusted_schema", false)?;
            Ok(connection)
        })
        .map_err(|error| StoreError::of("open", path, error))
}

#[cfg(test)]
mod tests;
