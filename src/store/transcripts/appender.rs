//! Writes one transcript: bytes at its end, their hash, and who reads along told.
//!
//! Blocks, and belongs where blocking is allowed. After an error nothing more is written: a hole would shift every place
//! after it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt;

use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::sync::watch;

use super::keeper::sync_directory;
use super::packed::read_at;
use super::{CHUNK_BYTES, Growth, Held, Place};
use crate::resource::text::hex;
use crate::world::run::TranscriptFact;

/// The open transcript of an attempt that goes on.
#[derive(Debug)]
pub struct Appender {
    file: File,
    bytes: u64,
    hash: Sha256,
    // Of the beginning that `hash` has seen: a file that was there is hashed while it is read.
    hashed: u64,
    broken: Option<String>,
    growth: watch::Sender<Growth>,
    held: Held,
}

impl Appender {
    pub(super) fn open(
        place: &Place,
        held: Held,
        growth: watch::Sender<Growth>,
    ) -> io::Result<Self> {
        let (run, attempt) = &held.key;
        place.make_directory(run)?;
        if place.packed(run, *attempt).exists() {
            return Err(io::Error::new(
                io::ErrorKind::AlreadyExists,
                "the transcript is packed: its attempt has ended",
            ));
        }
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .create(true)
            .mode(0o600)
            .open(place.plain(run, *attempt))?;
        let bytes = file.metadata()?.len();
        growth.send_if_modified(|growth| std::mem::replace(&mut growth.bytes, bytes) != bytes);
        let hash = Sha256::new();
        Ok(Self { file, bytes, hash, hashed: 0, broken: None, growth, held })
    }

    /// How long it is.
    pub const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next piece of what was there when it was opened; empty when all of it was read. All of it must be, before
    /// anything is appended.
    pub fn catch_up(&mut self) -> io::Result<Bytes> {
        let left = usize::try_from(self.bytes - self.hashed).unwrap_or(usize::MAX);
        let piece = read_at(&self.file, self.hashed, left.min(CHUNK_BYTES))?;
        self.hash.update(&piece);
        self.hashed += length(&piece);
        Ok(piece)
    }

    /// What it holds at a place.
    pub fn read_at(&self, place: u64, bytes: usize) -> io::Result<Bytes> {
        read_at(&self.file, place, bytes)
    }

    /// Writes on. `Err` the first time that it cannot be, and nothing from then on.
    pub fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.broken.is_some() || bytes.is_empty() {
            return Ok(());
        }
        debug_assert_eq!(self.bytes, self.hashed, "what was there must be read first");
        if let Err(error) = self.file.write_all(bytes) {
            // A part of it may be there; what is not counted is cut off, so that a later process begins at the same place.
            let cut = self.file.set_len(self.bytes);
            let cut = cut.err().map(|error| format!(", nor cut off: {error}")).unwrap_or_default();
            self.broken =
                Some(format!("it could not be written from byte {}: {error}{cut}", self.bytes));
            return Err(error);
        }
        self.hash.update(bytes);
        self.bytes += length(bytes);
        self.hashed = self.bytes;
        self.growth.send_modify(|growth| growth.bytes = self.bytes);
        Ok(())
    }

    /// From now on every write fails.
    #[cfg(test)]
    pub(super) fn break_for_test(&mut self, path: &std::path::Path) {
        self.file = File::open(path).unwrap();
    }

    /// It is on the disk, and this is it; readers are told that nothing more comes. `missing`: what the writer knows of.
    pub fn finish(self, missing: Option<String>) -> TranscriptFact {
        let (run, attempt) = &self.held.key;
        let path = self.held.transcripts.shared.place.plain(run, *attempt);
        let synced = self.file.sync_all().and_then(|()| sync_directory(&path));
        let unsure = synced.err().map(|error| format!("it may not be on the disk: {error}"));
        let missing: Vec<String> = [missing, self.broken, unsure].into_iter().flatten().collect();
        self.growth.send_modify(|growth| growth.ended = true);
        TranscriptFact {
            bytes: self.bytes,
            sha256: hex(&self.hash.finalize()),
            missing: (!missing.is_empty()).then(|| missing.join("; ")),
        }
    }
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
