//! A connection with time limits on its peer.
//!
//! hyper's header timeout begins with the first byte, and it has none for writes: a peer that connects and stays silent, or
//! that asks and never reads, would keep its connection for ever.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// `stream`, whose first read fails when nothing came in time, and whose writes fail when the peer accepts no byte for too
/// long.
#[derive(Debug)]
pub(super) struct TimedStream<S> {
    stream: S,
    /// `None` once the peer has sent something.
    first_byte: Option<Pin<Box<Sleep>>>,
    write_timeout: Duration,
    /// Set while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
}

impl<S> TimedStream<S> {
    pub(super) fn new(stream: S, first_byte: Duration, write_timeout: Duration) -> Self {
        let first_byte = Some(Box::pin(tokio::time::sleep(first_byte)));
        Self { stream, first_byte, write_timeout, blocked: None }
    }

    /// Passes on what a write answered, unless the stream has been blocked for too long.
    fn limit<T>(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let timeout = self.write_timeout;
        let blocked = self.blocked.get_or_insert_with(|| Box::pin(tokio::time::sleep(timeout)));
        match blocked.as_mut().poll(context) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => Poll::Ready(Err(timed_out("the peer reads nothing"))),
        }
    }
}

fn timed_out(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

impl<S: AsyncRead + Unpin> AsyncRead for TimedStream<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if let Poll::Ready(outcome) = Pin::new(&mut self.stream).poll_read(context, buffer) {
            self.first_byte = None;
            return Poll::Ready(outcome);
        }
        match self.first_byte.as_mut().map(|deadline| deadline.as_mut().poll(context)) {
            Some(Poll::Ready(())) => Poll::Ready(Err(timed_out("the peer sent nothing"))),
            Some(Poll::Pending) | None => Poll::Pending,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for TimedStream<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.limit(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if flushed.is_ready() {
            // A socket has nothing to flush: this is no progress of a blocked write.
            return flushed;
        }
        self.limit(context, flushed)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        self.limit(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const SOON: Duration = Duration::from_millis(20);
    const HOUR: Duration = Duration::from_hours(1);

    #[tokio::test]
    async fn a_write_without_progress_times_out() {
        let (near, _far) = tokio::io::duplex(16);
        let mut near = TimedStream::new(near, HOUR, SOON);
        let error = near.write_all(&[0; 17]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_reads_again_gets_a_new_time_limit() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = TimedStream::new(near, HOUR, HOUR);
        near.write_all(&[0; 16]).await.unwrap();
        assert!(futures_util::poll!(Box::pin(near.write_u8(0))).is_pending());
        assert!(near.blocked.is_some());
        far.read_exact(&mut [0; 16]).await.unwrap();
        near.write_u8(0).await.unwrap();
        assert!(near.blocked.is_none());
    }

    #[tokio::test]
    async fn the_first_byte_must_come_in_time() {
        let (near, _far) = tokio::io::duplex(16);
        let mut near = TimedStream::new(near, SOON, HOUR);
        assert_eq!(near.read_u8().await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn later_bytes_have_no_time_limit_here() {
        let (near, mut far) = tokio::io::duplex(16);
        let mut near = TimedStream::new(near, SOON, HOUR);
        far.write_all(b"x").await.unwrap();
        near.read_u8().await.unwrap();
        assert!(near.first_byte.is_none());
    }
}
