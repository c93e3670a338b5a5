//! What was parsed last time, so that one changed file costs one parse.
//!
//! A file is unchanged when its stamp is, and is older than the scan that read it by more than clocks are coarse: a file
//! written twice within a tick of its file system's clock has one stamp and two contents. Where that cannot be told, the text
//! is read and its digest compared; that is still no parse. A file that was refused for its size keeps an entry without its
//! content, so that it is not parsed again at each scan.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

use super::read::Stamp;
use crate::world::scan::ParsedFile;

/// How much older than the last scan a stamp must be to be believed. Two seconds is the coarsest clock of a file system (FAT).
const COARSEST_SECONDS: i64 = 2;

/// The last scan's files. Belongs to one directory.
#[derive(Debug, Default)]
pub(super) struct Cache {
    files: BTreeMap<String, Entry>,
    /// When the scan that goes on began.
    now: i64,
}

#[derive(Debug)]
struct Entry {
    stamp: Stamp,
    digest: [u8; 32],
    /// When the scan that read it began, in seconds.
    read: i64,
    cached: Cached,
}

/// What is remembered of a file.
#[derive(Debug, Clone)]
pub(super) struct Cached {
    /// The content, unless the scan had no memory left for it.
    pub(super) file: Option<Arc<ParsedFile>>,
    /// How much memory it needs, in bytes.
    pub(super) memory: usize,
}

impl Cache {
    /// A scan begins.
    pub(super) fn begin(&mut self, now: Timestamp) {
        self.now = now.as_second();
    }

    /// A scan has ended: what is not among its files is forgotten.
    pub(super) fn retain(&mut self, is_there: impl Fn(&str) -> bool) {
        self.files.retain(|name, _| is_there(name));
    }

    /// The file as it was, if it has not been touched since.
    pub(super) fn unchanged(&self, name: &str, stamp: &Stamp) -> Option<Cached> {
        let entry = self.files.get(name)?;
        let (newest, _) = stamp.newest();
        let settled = newest.saturating_add(COARSEST_SECONDS) < entry.read;
        (settled && entry.stamp == *stamp).then(|| entry.cached.clone())
    }

    /// The file as it was, if it says the same.
    pub(super) fn same_text(&self, name: &str, bytes: &[u8]) -> Option<Cached> {
        let entry = self.files.get(name)?;
        (entry.digest == digest(bytes)).then(|| entry.cached.clone())
    }

    /// Remembers a file that was read.
    pub(super) fn keep(&mut self, name: &str, stamp: Stamp, digest: [u8; 32], cached: Cached) {
        let entry = Entry { stamp, digest, read: self.now, cached };
        self.files.insert(name.to_owned(), entry);
    }

    /// Drops the content of a file for which there is no memory.
    pub(super) fn drop_content(&mut self, name: &str) {
        if let Some(entry) = self.files.get_mut(name) {
            entry.cached.file = None;
        }
    }
}

/// What identifies a content.
pub(super) fn digest(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
