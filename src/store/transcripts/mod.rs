//! Transcripts: what each attempt of a run wrote, byte by byte, with known secrets masked.
//!
//! Pure file work; what the bytes mean is [`crate::claude`]'s to say, and whence they come [`crate::follower`]'s.
//!
//! ```text
//! <state-dir>/runs/<run>/          0700
//!   <attempt>.jsonl                0600; appended to while the attempt goes on
//!   <attempt>.jsonl.zst            0600; instead of it, once the record of its end is durable
//! ```
//!
//! # Guarantees
//!
//! - What was appended is never changed. A place in a transcript is a count of bytes, the same before and after packing, and
//!   the same in what the container wrote.
//! - A [`Tail`] gives every byte once, from any place on, and its end when the attempt's end is known: it may be slow, or
//!   come back, and nobody waits for it.
//! - A plain file goes only when a packed one was read back whole. A crash leaves one, or both with the same content.
//! - What is deleted was buried: the store's tombstones say so.
//!
//! The store tells this room of every record that became durable ([`Transcripts::committed`]): so it knows which attempts go on,
//! before anybody follows them, and packs no transcript that a new process might still have to go on with.

mod appender;
mod keeper;
mod mask;
mod packed;
mod tail;
mod unescape;

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::ops::Range;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use crate::resource::ResourceName;
use crate::world::record::{Loaded, Write};
use crate::world::run::RunRecord;

pub use appender::Appender;
use keeper::{Job, Keeper, Sweep};
pub use mask::{Masker, SECRET_BYTES_MIN, Secrets};
use packed::Source;
pub use tail::Tail;

/// Bytes read at once: some twenty lines of the agent's.
pub const CHUNK_BYTES: usize = 64 * 1024;

/// Every transcript of one state directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Transcripts {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    place: Place,
    live: Mutex<BTreeMap<(ResourceName, u32), Live>>,
    keeper: Keeper,
}

/// An attempt whose end is not recorded yet.
#[derive(Debug)]
struct Live {
    growth: watch::Sender<Growth>,
    writing: bool,
    recorded: bool,
}

/// How far a transcript is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Growth {
    bytes: u64,
    ended: bool,
}

/// Where the files are.
#[derive(Debug, Clone)]
struct Place(PathBuf);

impl Place {
    fn directory(&self, run: &ResourceName) -> PathBuf {
        self.0.join(run.as_str())
    }

    fn plain(&self, run: &ResourceName, attempt: u32) -> PathBuf {
        self.directory(run).join(format!("{attempt}.jsonl"))
    }

    fn packed(&self, run: &ResourceName, attempt: u32) -> PathBuf {
        self.directory(run).join(format!("{attempt}.jsonl.zst"))
    }

    /// Makes the run's directory, and makes sure that it stays.
    fn make_directory(&self, run: &ResourceName) -> io::Result<()> {
        let directory = self.directory(run);
        if directory.is_dir() {
            return Ok(());
        }
        DirBuilder::new().recursive(true).mode(0o700).create(&directory)?;
        for made in directory.ancestors().skip(1).take(2) {
            File::open(made)?.sync_all()?;
        }
        Ok(())
    }
}

impl Transcripts {
    /// Those below `state_dir`. Makes no file.
    pub fn new(state_dir: &Path) -> io::Result<Self> {
        let place = Place(state_dir.join("runs"));
        let keeper = Keeper::start(place.clone())?;
        Ok(Self { shared: Arc::new(Shared { place, live: Mutex::default(), keeper }) })
    }

    /// Takes up what the store remembers: which attempts go on; and has done in the background what a predecessor left undone.
    pub(super) fn restore(&self, loaded: &Loaded) -> io::Result<()> {
        if loaded.fresh {
            // A store that was lost counts attempts anew: another run's words must not be taken for this one's.
            return self.set_aside(&loaded.state_id);
        }
        let mut sweep = Sweep::default();
        for record in &loaded.runs {
            let attempts = sweep.known.entry(record.id.name.clone()).or_default();
            attempts.extend(
                record.attempts.iter().map(|attempt| (attempt.number, attempt.end.is_some())),
            );
            for attempt in record.attempts.iter().filter(|attempt| attempt.end.is_none()) {
                let plain = self.shared.place.plain(&record.id.name, attempt.number);
                let bytes = fs::metadata(plain).map_or(0, |found| found.len());
                self.expect(&record.id.name, attempt.number, bytes);
            }
        }
        for (id, tombstone) in &loaded.tombstones {
            let buried = sweep.buried.entry(id.name.clone()).or_default();
            *buried = (*buried).max(tombstone.next_attempt);
        }
        self.shared.keeper.ask(Job::Sweep(sweep));
        Ok(())
    }

    /// Hears what became durable, and which attempts were buried by it.
    pub(super) fn committed(&self, writes: &[Write], buried: Vec<(ResourceName, Range<u32>)>) {
        for write in writes {
            if let Write::Run(record) = write {
                self.note(record);
            }
        }
        for (run, attempts) in buried {
            self.shared.keeper.ask(Job::Delete(run, attempts));
        }
    }

    /// Stops what goes on in the background, as a kill would.
    pub(super) fn stop(&self) {
        self.shared.keeper.stop();
    }

    fn note(&self, record: &RunRecord) {
        let run = &record.id.name;
        for attempt in &record.attempts {
            if attempt.end.is_some() {
                self.recorded(run, attempt.number);
            } else if !self.live().contains_key(&(run.clone(), attempt.number)) {
                // Permitted just now: what lies there is of a store that was put back to an older state.
                let plain = self.shared.place.plain(run, attempt.number);
                let old = plain.with_extension("jsonl.old");
                if fs::rename(&plain, old).is_ok() {
                    tracing::warn!(path = %plain.display(), "a transcript was there before its attempt");
                }
                self.expect(run, attempt.number, 0);
            }
        }
    }

    fn set_aside(&self, state_id: &str) -> io::Result<()> {
        let place = &self.shared.place.0;
        let aside = place.with_file_name(format!("runs-before-{state_id}"));
        match fs::rename(place, &aside) {
            Ok(()) => {
                tracing::warn!(path = %aside.display(), "the store is new: older transcripts were put aside");
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }

    /// Writes an attempt's transcript on. Only one may at a time: `ResourceBusy`.
    pub fn append_to(&self, run: &ResourceName, attempt: u32) -> io::Result<Appender> {
        let key = (run.clone(), attempt);
        self.expect(run, attempt, 0);
        let growth = {
            let mut live = self.live();
            let Some(entry) = live.get_mut(&key).filter(|entry| !entry.writing) else {
                return Err(io::ErrorKind::ResourceBusy.into());
            };
            entry.writing = true;
            entry.growth.clone()
        };
        let held = Held { transcripts: self.clone(), key };
        Appender::open(&self.shared.place, held, growth)
    }

    /// Reads an attempt's transcript from a place on, to its end. What goes on is waited for, even before its first byte;
    /// `NotFound` when there is none.
    pub fn open(&self, run: &ResourceName, attempt: u32, from: u64) -> io::Result<Tail> {
        let growth = self.live().get(&(run.clone(), attempt)).map(|live| live.growth.subscribe());
        let source = match Source::open(&self.shared.place, run, attempt) {
            Ok(source) => Some(source),
            Err(error) if error.kind() == io::ErrorKind::NotFound && growth.is_some() => None,
            Err(error) => return Err(error),
        };
        let place = self.shared.place.clone();
        Ok(Tail::new(place, (run.clone(), attempt), growth, source, from))
    }

    fn expect(&self, run: &ResourceName, attempt: u32, bytes: u64) {
        let new = || Live {
            growth: watch::Sender::new(Growth { bytes, ended: false }),
            writing: false,
            recorded: false,
        };
        self.live().entry((run.clone(), attempt)).or_insert_with(new);
    }

    /// The record of its end is durable: nobody goes on with it.
    fn recorded(&self, run: &ResourceName, attempt: u32) {
        let key = (run.clone(), attempt);
        let mut live = self.live();
        if let Some(entry) = live.get_mut(&key) {
            entry.recorded = true;
            entry.growth.send_if_modified(|growth| !std::mem::replace(&mut growth.ended, true));
        }
        self.close_if_over(&mut live, &key);
    }

    fn close_if_over(
        &self,
        live: &mut BTreeMap<(ResourceName, u32), Live>,
        key: &(ResourceName, u32),
    ) {
        if live.get(key).is_some_and(|entry| entry.recorded && !entry.writing) {
            live.remove(key);
            self.shared.keeper.ask(Job::Pack(key.0.clone(), key.1));
        }
    }

    fn live(&self) -> MutexGuard<'_, BTreeMap<(ResourceName, u32), Live>> {
        // Nothing that can panic is done while it is held.
        self.shared.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write one transcript; given back when it is dropped.
#[derive(Debug)]
struct Held {
    transcripts: Transcripts,
    key: (ResourceName, u32),
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut live = self.transcripts.live();
        if let Some(entry) = live.get_mut(&self.key) {
            entry.writing = false;
        }
        self.transcripts.close_if_over(&mut live, &self.key);
    }
}

#[cfg(test)]
mod tests;
