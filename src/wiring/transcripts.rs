//! Transcripts for the faces: the store's files, through the door that the faces know.

use std::io;

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use crate::http::{TranscriptSource, TranscriptTail};
use crate::resource::ResourceName;
use crate::store::Transcripts;
use crate::store::transcripts::Tail;

impl TranscriptSource for Transcripts {
    fn open(
        &self,
        run: &ResourceName,
        attempt: u32,
        from: u64,
    ) -> io::Result<Box<dyn TranscriptTail>> {
        let tail = Self::open(self, run, attempt, from)?;
        Ok(Box::new(tail))
    }
}

impl TranscriptTail for Tail {
    fn next(&mut self) -> BoxFuture<'_, io::Result<Option<Bytes>>> {
        Self::next(self).boxed()
    }
}
