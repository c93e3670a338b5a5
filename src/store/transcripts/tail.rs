//! Reads one transcript to its end, and waits while that has not come.
//!
//! A reader costs the writer nothing: it is told a length, and reads the file by itself when it likes.

use std::io;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::packed::Source;
use super::{CHUNK_BYTES, Growth, Place};
use crate::resource::ResourceName;

/// A transcript that is read.
#[derive(Debug)]
pub struct Tail {
    place: Place,
    which: (ResourceName, u32),
    growth: Option<watch::Receiver<Growth>>,
    source: Option<Source>,
    at: u64,
    // A read that goes on where blocking is allowed. Kept here, so that a wait that is given up loses nothing.
    reading: Option<JoinHandle<(Option<Source>, io::Result<Bytes>)>>,
}

impl Tail {
    pub(super) const fn new(
        place: Place,
        which: (ResourceName, u32),
        growth: Option<watch::Receiver<Growth>>,
        source: Option<Source>,
        from: u64,
    ) -> Self {
        Self { place, which, growth, source, at: from, reading: None }
    }

    /// Where the next piece begins.
    pub const fn at(&self) -> u64 {
        self.at
    }

    /// The next piece; `None` when the attempt has ended and all was read; `Interrupted` when the operator ends before that.
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            if self.reading.is_none() {
                let Some(most) = self.readable().await? else { return Ok(None) };
                self.read(most);
            }
            let Some(reading) = self.reading.as_mut() else { continue };
            let done = reading.await;
            self.reading = None;
            let (source, piece) = done.map_err(io::Error::other)?;
            self.source = source;
            let piece = piece?;
            if piece.is_empty() {
                // Shorter than it was said to be: the file was cut or taken away.
                return if self.growth.is_some() {
                    Err(io::ErrorKind::UnexpectedEof.into())
                } else {
                    Ok(None)
                };
            }
            self.at += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            return Ok(Some(piece));
        }
    }

    /// How much can be read, once something can; `None`: nothing more ever.
    async fn readable(&mut self) -> io::Result<Option<usize>> {
        let Some(growth) = &mut self.growth else { return Ok(Some(CHUNK_BYTES)) };
        loop {
            let Growth { bytes, ended } = *growth.borrow_and_update();
            if self.at < bytes {
                let left = usize::try_from(bytes - self.at).unwrap_or(usize::MAX);
                return Ok(Some(left.min(CHUNK_BYTES)));
            }
            if ended {
                return Ok(None);
            }
            if growth.changed().await.is_err() {
                return Err(io::Error::new(io::ErrorKind::Interrupted, "the operator is ending"));
            }
        }
    }

    fn read(&mut self, most: usize) {
        let (place, (run, attempt), at) = (self.place.clone(), self.which.clone(), self.at);
        let source = self.source.take();
        self.reading = Some(tokio::task::spawn_blocking(move || {
            let source = source.map_or_else(|| Source::open(&place, &run, attempt), Ok);
            match source {
                Ok(mut source) => {
                    let piece = source.read(at, most);
                    (Some(source), piece)
                }
                Err(error) => (None, Err(error)),
            }
        }));
    }
}
