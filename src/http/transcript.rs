//! Transcripts, as far as the streams need them: read by whoever owns the files, which this room does not.

use std::fmt;
use std::io;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::resource::ResourceName;

/// Where transcripts are read.
pub trait TranscriptSource: fmt::Debug + Send + Sync {
    /// The transcript of one attempt, from a byte on. `NotFound`: there is none (any more, or yet).
    fn open(
        &self,
        run: &ResourceName,
        attempt: u32,
        from: u64,
    ) -> io::Result<Box<dyn TranscriptTail>>;
}

/// A transcript that is being read.
pub trait TranscriptTail: fmt::Debug + Send {
    /// The next bytes, known secrets masked. Waits while the attempt is live; `None` when it has ended and all was read;
    /// `Interrupted` when the operator ends before that.
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>>;
}
