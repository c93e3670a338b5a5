//! What is done with transcripts when nobody waits for it: packing, deleting, sweeping up. One thread, one thing at a time.
//!
//! Everything may be done again: what a crash interrupts, the next start's sweep finds. What fails is said and left for it too.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use sha2::{Digest as _, Sha256};

use super::Place;
use super::packed::{FRAME_BYTES, Packed, Source, pack};
use crate::resource::ResourceName;

/// What may wait: a burst of ends and burials. What finds no place is done at the next start.
const JOBS_MAX: usize = 4_096;

/// Something to be done.
#[derive(Debug)]
pub(super) enum Job {
    /// Pack a transcript that nobody will go on with.
    Pack(ResourceName, u32),
    /// Delete the transcripts of a buried run.
    Delete(ResourceName, Range<u32>),
    /// Do what was left undone.
    Sweep(Sweep),
}

/// What there should be.
#[derive(Debug, Default)]
pub(super) struct Sweep {
    /// The attempts of each run that has a record, and whether they have ended.
    pub(super) known: BTreeMap<ResourceName, BTreeMap<u32, bool>>,
    /// Runs of which something was buried, and the number below which attempts were.
    pub(super) buried: BTreeMap<ResourceName, u32>,
}

/// The thread, and its mailbox.
#[derive(Debug)]
pub(super) struct Keeper {
    jobs: Mutex<Option<SyncSender<Job>>>,
    stopping: Arc<AtomicBool>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Keeper {
    pub(super) fn start(place: Place) -> io::Result<Self> {
        let (jobs, received) = sync_channel(JOBS_MAX);
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let thread = thread::Builder::new()
            .name("chanop-keeper".to_owned())
            .spawn(move || Work { place, stop }.run(&received))?;
        let (jobs, thread) = (Mutex::new(Some(jobs)), Mutex::new(Some(thread)));
        Ok(Self { jobs, stopping, thread })
    }

    pub(super) fn ask(&self, job: Job) {
        let jobs = self.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        if jobs.as_ref().is_none_or(|jobs| jobs.try_send(job).is_err()) {
            tracing::debug!("a transcript's file is kept as it is until the next start");
        }
    }

    /// Waits until all is done.
    #[cfg(test)]
    pub(super) fn finish(&self) {
        drop(self.jobs.lock().unwrap().take());
        self.thread.lock().unwrap().take().unwrap().join().unwrap();
    }

    /// Gives up what is being done, and waits for that.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        drop(self.jobs.lock().unwrap_or_else(PoisonError::into_inner).take());
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the keeper of transcripts panicked");
        }
    }
}

struct Work {
    place: Place,
    stop: Arc<AtomicBool>,
}

impl Work {
    fn run(&self, jobs: &Receiver<Job>) {
        while let Ok(job) = jobs.recv() {
            if self.go_on().is_err() {
                return;
            }
            match job {
                Job::Pack(run, attempt) => self.said("pack", &run, self.pack(&run, attempt)),
                Job::Delete(run, attempts) => {
                    self.said("delete", &run, self.delete(&run, |it| attempts.contains(&it)));
                }
                Job::Sweep(sweep) => self.sweep(&sweep),
            }
        }
    }

    fn said(&self, doing: &str, run: &ResourceName, outcome: io::Result<()>) {
        if let Err(error) = outcome
            && self.go_on().is_ok()
        {
            tracing::warn!(%run, %error, "failed to {doing} a transcript; the next start tries again");
        }
    }

    fn go_on(&self) -> io::Result<()> {
        if self.stop.load(Ordering::Relaxed) {
            return Err(ErrorKind::Interrupted.into());
        }
        Ok(())
    }

    /// Written beside, read back, renamed; only then the plain one goes.
    fn pack(&self, run: &ResourceName, attempt: u32) -> io::Result<()> {
        let (plain, packed) = (self.place.plain(run, attempt), self.place.packed(run, attempt));
        let file = match File::open(&plain) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let beside = packed.with_extension("zst.new");
        let out = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        let written = pack(&file, &out, || self.go_on())
            .and_then(|()| self.same(file, out.try_clone()?))
            .and_then(|()| out.sync_all());
        if let Err(error) = written {
            // It is in the way of nothing, but takes place that may be short just now.
            drop(fs::remove_file(&beside));
            return Err(error);
        }
        fs::rename(&beside, &packed)?;
        sync_directory(&packed)?;
        fs::remove_file(&plain)
    }

    fn same(&self, plain: File, packed: File) -> io::Result<()> {
        let plain = self.hash(Source::Plain(plain))?;
        if self.hash(Source::Packed(Packed::new(packed)))? == plain {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::InvalidData, "what was packed does not come back the same"))
    }

    fn hash(&self, mut source: Source) -> io::Result<[u8; 32]> {
        let (mut hash, mut place) = (Sha256::new(), 0);
        loop {
            self.go_on()?;
            let piece = source.read(place, FRAME_BYTES)?;
            if piece.is_empty() {
                return Ok(hash.finalize().into());
            }
            hash.update(&piece);
            place += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        }
    }

    /// Deletes the files of those attempts, and the directory when nothing is left in it.
    fn delete(&self, run: &ResourceName, doomed: impl Fn(u32) -> bool) -> io::Result<()> {
        let directory = self.place.directory(run);
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            if attempt_of(&entry.path()).is_some_and(&doomed) {
                fs::remove_file(entry.path())?;
            }
        }
        match fs::remove_dir(&directory) {
            Err(error) if error.kind() != ErrorKind::DirectoryNotEmpty => Err(error),
            Ok(()) | Err(_) => Ok(()),
        }
    }

    fn sweep(&self, sweep: &Sweep) {
        let none = BTreeMap::new();
        for (run, below) in &sweep.buried {
            let known = sweep.known.get(run).unwrap_or(&none);
            // An attempt that is no record's, and has a number that was given out.
            let doomed = |attempt: u32| attempt < *below && !known.contains_key(&attempt);
            self.said("delete", run, self.delete(run, doomed));
        }
        for (run, attempts) in &sweep.known {
            for (attempt, _) in attempts.iter().filter(|(_, ended)| **ended) {
                if self.go_on().is_err() {
                    return;
                }
                self.said("pack", run, self.pack(run, *attempt));
            }
        }
    }
}

/// The attempt's number that a file's name begins with.
fn attempt_of(path: &Path) -> Option<u32> {
    let (number, rest) = path.file_name()?.to_str()?.split_once('.')?;
    rest.starts_with("jsonl").then(|| number.parse().ok()).flatten()
}

pub(super) fn sync_directory(path: &Path) -> io::Result<()> {
    path.parent().map_or(Ok(()), |directory| File::open(directory)?.sync_all())
}
