//! One attempt's output on its way: masked, written, parsed and counted. Blocks, and belongs where blocking is allowed.
//!
//! The output may be read several times from its beginning: what was seen before is compared and passed over. The engine keeps a
//! bounded log, in files that it turns. It throws the oldest away; then the place where it goes on is found by the last bytes that
//! were seen. And when it turns them under a reader who follows, Docker 20.10 gives parts twice: that is mostly seen when the log
//! is read again, and said. Logs of runs are made so large that they are hardly ever turned.

use std::io::{self, ErrorKind};

use bytes::Bytes;

use crate::claude::outcome::Fold;
use crate::claude::parser::Parser;
use crate::docker::engine::LogChunk;
use crate::resource::ResourceName;
use crate::store::transcripts::{Appender, Masker, Secrets, Transcripts};
use crate::world::run::{ExitRecord, Followed, RunProgress};

/// Of standard error: the CLI's last words, with a stack trace.
const STDERR_BYTES_MAX: usize = 8 * 1024;
/// By so many bytes the place is found where a log goes on whose beginning is gone: more than a line's unique parts (its IDs, its
/// counters), less than the smallest log.
const MARK_BYTES: usize = 4 * 1024;

/// After so much output the engine may have turned its log's files, which have 20 MB in a form of its own.
const TURNED_AFTER_BYTES: u64 = 8 * 1024 * 1024;

/// What the engine gives now is not what it gave before.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misfit;

#[derive(Debug)]
pub(super) struct Copy {
    file: Option<Appender>,
    secrets: Secrets,
    parser: Parser,
    fold: Fold,
    // How much of the output was seen, by this process or an earlier one; and the end of it.
    seen: u64,
    mark: Vec<u8>,
    // So much more of the output was seen than the engine's log has before the place where it goes on.
    gone: u64,
    // Before this place the log is not what was seen, and is not compared.
    unlike_until: u64,
    reading: Reading,
    missing: Vec<String>,
}

/// One reading of the log, from its beginning.
#[derive(Debug)]
struct Reading {
    stdout: Masker,
    stderr: Masker,
    // Of the output: where this reading is.
    at: u64,
    errors: Vec<u8>,
    search: Option<Search>,
}

/// Looks for the mark in the log.
#[derive(Debug, Default)]
struct Search {
    window: Vec<u8>,
    // Of the log.
    window_at: u64,
    found_end: Option<u64>,
}

impl Reading {
    fn new(secrets: &Secrets, at: u64, search: Option<Search>) -> Self {
        let masker = || Masker::new(secrets.clone());
        Self { stdout: masker(), stderr: masker(), at, errors: Vec::new(), search }
    }
}

impl Copy {
    /// Begins, or goes on where an earlier process was. Without a file, when there can be none.
    pub(super) fn open(
        transcripts: &Transcripts,
        run: &ResourceName,
        attempt: u32,
        secrets: Secrets,
    ) -> io::Result<Self> {
        let mut copy = Self {
            file: None,
            reading: Reading::new(&secrets, 0, None),
            secrets,
            parser: Parser::new(),
            fold: Fold::new(),
            seen: 0,
            mark: Vec::new(),
            gone: 0,
            unlike_until: 0,
            missing: Vec::new(),
        };
        match transcripts.append_to(run, attempt).and_then(|file| copy.catch_up(file)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::ResourceBusy => return Err(error),
            Err(error) => {
                tracing::warn!(%run, attempt, %error, "there will be no transcript");
                // What was read of it counts; the rest comes from the engine.
                copy.missing.push(format!("its file cannot be used: {error}"));
            }
        }
        Ok(copy)
    }

    fn catch_up(&mut self, mut file: Appender) -> io::Result<()> {
        loop {
            let piece = file.catch_up()?;
            if piece.is_empty() {
                break;
            }
            self.count(&piece);
        }
        self.file = Some(file);
        Ok(())
    }

    /// The log is read from its beginning.
    pub(super) fn begin(&mut self) {
        self.reading = Reading::new(&self.secrets, self.gone, None);
    }

    /// The log is read once from its beginning to its end, to find out where it goes on.
    pub(super) fn begin_search(&mut self) {
        self.reading = Reading::new(&self.secrets, 0, Some(Search::default()));
    }

    /// The search is over.
    pub(super) fn end_search(&mut self) {
        let found = self.reading.search.take().and_then(|search| search.found_end);
        let gone = found.and_then(|end| self.seen.checked_sub(end));
        self.gone = gone.unwrap_or(self.seen);
        self.unlike_until = self.seen.saturating_sub(length(&self.mark));
        if gone.is_none() {
            let text =
                "the engine's log was full, and its beginning thrown away before it was read";
            self.missing.push(format!("{text} (after byte {})", self.seen));
        }
    }

    /// Takes the next pieces in.
    pub(super) fn take(&mut self, chunks: &[LogChunk]) -> Result<(), Misfit> {
        for chunk in chunks {
            if chunk.stderr {
                let masked = self.reading.stderr.push(&chunk.bytes);
                keep_end(&mut self.reading.errors, &masked, STDERR_BYTES_MAX);
            } else {
                let masked = self.reading.stdout.push(&chunk.bytes);
                self.accept(&masked)?;
            }
        }
        Ok(())
    }

    fn accept(&mut self, masked: &[u8]) -> Result<(), Misfit> {
        if let Some(search) = &mut self.reading.search {
            search.push(masked, &self.mark);
            return Ok(());
        }
        let known =
            usize::try_from(self.seen.saturating_sub(self.reading.at)).unwrap_or(usize::MAX);
        let (old, new) = masked.split_at(known.min(masked.len()));
        if !self.fits(old) {
            // A log that still begins as it did has not lost its beginning.
            if self.unlike_until == 0 && self.reading.at > length(&self.mark) {
                let from = self.reading.at;
                self.missing.push(format!("the engine gave a part of it twice, after byte {from}"));
            }
            return Err(Misfit);
        }
        self.reading.at += length(masked);
        if !new.is_empty() {
            if let Some(file) = &mut self.file
                && let Err(error) = file.append(new)
            {
                tracing::warn!(%error, "a transcript cannot be written on");
            }
            self.count(new);
        }
        Ok(())
    }

    /// Is it what was seen before? A star may stand for what is no secret any more, or was none then.
    fn fits(&self, old: &[u8]) -> bool {
        let unlike = self.unlike_until.saturating_sub(self.reading.at);
        let old = old.get(usize::try_from(unlike).unwrap_or(usize::MAX)..).unwrap_or_default();
        let Some(file) = self.file.as_ref().filter(|_| !old.is_empty()) else { return true };
        let place = self.reading.at + unlike;
        let written = file.read_at(place, old.len()).unwrap_or_else(|_| Bytes::new());
        let same =
            |(written, read): (&u8, &u8)| written == read || [written, read].contains(&&b'*');
        written.iter().zip(old).all(same)
    }

    fn count(&mut self, bytes: &[u8]) {
        self.seen += length(bytes);
        keep_end(&mut self.mark, bytes, MARK_BYTES);
        for located in self.parser.push(bytes) {
            self.fold.add(&located.event);
        }
    }

    /// How much of the output was seen.
    pub(super) const fn seen(&self) -> u64 {
        self.seen
    }

    /// May the engine have turned its log's files while they were followed?
    pub(super) const fn is_to_be_checked(&self) -> bool {
        self.seen > TURNED_AFTER_BYTES
    }

    /// Did this reading not get as far as an earlier one?
    pub(super) const fn is_short(&self) -> bool {
        self.reading.at < self.seen
    }

    /// Was a result the last word, with nothing of a further line behind it? A followed log can lack its last line when that has
    /// no newline: Docker's json-file driver writes such a line only when the output is closed, and the follower may be gone by then.
    pub(super) fn is_over(&self) -> bool {
        self.fold.is_over() && !self.parser.is_mid_line() && !self.reading.stdout.holds_bytes()
    }

    pub(super) fn progress(&self) -> RunProgress {
        RunProgress {
            turns: self.fold.turns(),
            tools: self.fold.tools(),
            dollars: self.fold.dollars(),
            refused: self.fold.unauthorized(),
            finished: self.fold.is_finished().then_some(self.seen),
        }
    }

    /// Nothing more comes.
    pub(super) fn finish(mut self, missing: Option<String>, exit: Option<ExitRecord>) -> Followed {
        self.reading.search = None;
        let rest = self.reading.stdout.finish();
        // A part of a secret at the very end may be masked otherwise than before; the bytes are the same.
        let _ = self.accept(&rest);
        if let Some(located) = self.parser.finish() {
            self.fold.add(&located.event);
        }
        let rest = self.reading.stderr.finish();
        keep_end(&mut self.reading.errors, &rest, STDERR_BYTES_MAX);
        self.missing.extend(missing);
        let missing = Some(self.missing.join("; ")).filter(|missing| !missing.is_empty());
        Followed {
            noise: self.parser.noise().clone(),
            fold: self.fold,
            stderr: String::from_utf8_lossy(&self.reading.errors).into_owned(),
            transcript: self.file.map(|file| file.finish(missing)),
            exit,
        }
    }
}

impl Search {
    fn push(&mut self, bytes: &[u8], mark: &[u8]) {
        self.window.extend_from_slice(bytes);
        if mark.is_empty() {
            return;
        }
        // The last one counts: what was seen last stands last.
        let found = self.window.windows(mark.len()).rposition(|window| window == mark);
        if let Some(at) = found {
            let end = u64::try_from(at.saturating_add(mark.len())).unwrap_or(u64::MAX);
            self.found_end = Some(self.window_at + end);
        }
        let passed = self.window.len().saturating_sub(mark.len().saturating_sub(1));
        self.window.drain(..passed);
        self.window_at += u64::try_from(passed).unwrap_or(u64::MAX);
    }
}

/// Adds `bytes`, and keeps the last ones.
fn keep_end(kept: &mut Vec<u8>, bytes: &[u8], most: usize) {
    let bytes = bytes.get(bytes.len().saturating_sub(most)..).unwrap_or_default();
    let too_many = (kept.len() + bytes.len()).saturating_sub(most);
    kept.drain(..too_many.min(kept.len()));
    kept.extend_from_slice(bytes);
}

fn length(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
