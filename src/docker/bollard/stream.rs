//! Requests of our own: whole answers into our own types, and the streams.
//!
//! Each stream holds its permit and its connection until it ends or is dropped. No stream ends silently: a broken connection
//! is its last item, as an error.

use std::collections::VecDeque;

use bytes::{Buf, Bytes, BytesMut};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt, TryStreamExt};
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use serde::Deserialize;
use tokio_util::io::ReaderStream;

use super::{Docker, error, refusal};
use crate::docker::classify::{Call, classify};
use crate::docker::engine::{EngineEvent, ExecStream, LogChunk};
use crate::docker::error::{EngineError, EngineResult};
use crate::docker::frames::{FrameError, Frames};
use crate::docker::transport::{Body, Permit, chain, empty, full};
use crate::docker::wire;

/// The longest line of a stream: an event with all its labels has a few kB, a build's output what people write.
const LINE_BYTES_MAX: usize = 1 << 20;
/// Bytes read at once from an exec session: a terminal's screen.
const READ_BYTES: usize = 16 * 1024;

pub(super) type Pieces = BoxStream<'static, EngineResult<Bytes>>;

/// How the engine took a request.
pub(super) enum Exchange {
    /// It does it, or has done it.
    Answered(Response<Incoming>),
    /// It does not, and says why.
    Refused { status: u16, message: String },
}

impl Docker {
    /// Asks, and decodes the whole answer into a type of ours.
    pub(super) async fn ask<T: for<'de> Deserialize<'de>>(
        &self,
        call: Call,
        path: &str,
    ) -> EngineResult<T> {
        self.request(call, Method::GET, path, empty()).await
    }

    /// Like [`Self::ask`], with a body in JSON.
    pub(super) async fn tell<T: for<'de> Deserialize<'de>>(
        &self,
        call: Call,
        path: &str,
        body: &serde_json::Value,
    ) -> EngineResult<T> {
        self.request(call, Method::POST, path, full(body.to_string())).await
    }

    async fn request<T: for<'de> Deserialize<'de>>(
        &self,
        call: Call,
        method: Method,
        path: &str,
        body: Body,
    ) -> EngineResult<T> {
        let _permit = self.transport.short().await.map_err(error::of_transport)?;
        let response = self.open(call, method, path, body, false).await?;
        let bytes = self.transport.read(response).await.map_err(error::of_transport)?;
        wire::decode(path.split('?').next().unwrap_or_default(), &bytes)
    }

    /// Sends, and turns a refusal into its error.
    async fn open(
        &self,
        call: Call,
        method: Method,
        path: &str,
        body: Body,
        upgrade: bool,
    ) -> EngineResult<Response<Incoming>> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::CONTENT_TYPE, "application/json");
        if upgrade {
            request = request.header(header::CONNECTION, "Upgrade").header(header::UPGRADE, "tcp");
        }
        match self.exchange(request.body(body)).await? {
            Exchange::Answered(response) => Ok(response),
            Exchange::Refused { status, message } => Err(classify(call, status, &message)),
        }
    }

    /// Sends a request; the head of the answer, or the whole of a refusal.
    pub(super) async fn exchange(
        &self,
        request: Result<Request<Body>, http::Error>,
    ) -> EngineResult<Exchange> {
        let request = request.map_err(|error| EngineError::Refused(error.to_string()))?;
        let response = self.transport.send(request).await.map_err(error::of_transport)?;
        let status = response.status();
        if status.is_success() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Ok(Exchange::Answered(response));
        }
        let bytes = self.transport.read(response).await.map_err(error::of_transport)?;
        Ok(Exchange::Refused { status: status.as_u16(), message: refusal(&bytes) })
    }

    /// Output of a container whose kind is known.
    pub(super) async fn open_logs(
        &self,
        path: &str,
        tty: bool,
    ) -> EngineResult<BoxStream<'static, EngineResult<LogChunk>>> {
        let permit = self.transport.long().await.map_err(error::of_transport)?;
        let response = self.open(Call::Logs, Method::GET, path, empty(), false).await?;
        Ok(chunks(body_bytes(response.into_body(), permit), Frames::of(tty)))
    }

    /// Events, `Opened` first.
    pub(super) async fn open_events(
        &self,
        path: &str,
    ) -> EngineResult<BoxStream<'static, EngineResult<EngineEvent>>> {
        let permit = self.transport.long().await.map_err(error::of_transport)?;
        let response = self.open(Call::Events, Method::GET, path, empty(), false).await?;
        let lines = lines(body_bytes(response.into_body(), permit), End::IsAnError);
        let events = lines.try_filter_map(|line| async move {
            let event: wire::event::Event = wire::decode("event", &line)?;
            Ok(event.into_container_event()?.map(EngineEvent::Container))
        });
        Ok(to_first_error(stream::iter([Ok(EngineEvent::Opened)]).chain(events)))
    }

    /// Both ends of an exec session.
    pub(super) async fn open_exec(&self, path: &str, tty: bool) -> EngineResult<ExecStream> {
        let permit = self.transport.long().await.map_err(error::of_transport)?;
        let body = full(serde_json::json!({ "Detach": false, "Tty": tty }).to_string());
        let response = self.open(Call::Exec, Method::POST, path, body, true).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            return Err(EngineError::Unreadable(
                "the engine did not hand over the connection of an exec session".to_owned(),
            ));
        }
        let upgraded = hyper::upgrade::on(response)
            .await
            .map_err(|error| EngineError::Unknown(format!("exec session: {}", chain(&error))))?;
        let (read, write) = tokio::io::split(hyper_util::rt::TokioIo::new(upgraded));
        let broken = |error: std::io::Error| EngineError::Unknown(format!("exec session: {error}"));
        let bytes = ReaderStream::with_capacity(read, READ_BYTES).map_err(broken);
        Ok(ExecStream {
            output: chunks(held(bytes, permit), Frames::of(tty)),
            input: Box::pin(write),
        })
    }
}

/// A body, piece by piece.
pub(super) fn body_bytes(body: Incoming, permit: Permit) -> Pieces {
    let broken = |error: hyper::Error| {
        EngineError::Unknown(format!("the answer broke off: {}", chain(&error)))
    };
    held(body.into_data_stream().map_err(broken), permit)
}

/// A stream that gives its permit back when it is dropped.
fn held(
    pieces: impl Stream<Item = EngineResult<Bytes>> + Send + 'static,
    permit: Permit,
) -> Pieces {
    pieces
        .inspect(move |_| {
            let _held = &permit;
        })
        .boxed()
}

/// An error is the last item: what comes after an event that could not be read is not to be trusted.
pub(super) fn to_first_error<T: Send + 'static, E: Send + 'static>(
    items: impl Stream<Item = Result<T, E>> + Send + 'static,
) -> BoxStream<'static, Result<T, E>> {
    items
        .scan(false, |failed, item| {
            let over = std::mem::replace(failed, item.is_err());
            std::future::ready((!over).then_some(item))
        })
        .boxed()
}

/// Output in chunks. An error is the last item.
fn chunks(pieces: Pieces, frames: Frames) -> BoxStream<'static, EngineResult<LogChunk>> {
    let state = Some((pieces, frames, VecDeque::new()));
    let unreadable = |error: FrameError| Err(EngineError::Unreadable(error.to_string()));
    stream::unfold(state, move |state| async move {
        let (mut pieces, mut frames, mut ready) = state?;
        loop {
            if let Some(chunk) = ready.pop_front() {
                return Some((Ok(chunk), Some((pieces, frames, ready))));
            }
            match pieces.next().await {
                Some(Ok(piece)) => match frames.push(piece) {
                    Ok(chunks) => ready.extend(chunks),
                    Err(error) => return Some((unreadable(error), None)),
                },
                Some(Err(error)) => return Some((Err(error), None)),
                None => return frames.end().err().map(|error| (unreadable(error), None)),
            }
        }
    })
    .boxed()
}

/// What the end of a stream of lines means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// That all was said.
    IsTheEnd,
    /// It has none of its own: the last item is an error.
    IsAnError,
}

/// The lines of a stream. An error is the last item.
pub(super) fn lines(pieces: Pieces, end: End) -> Pieces {
    stream::unfold(Some((pieces, BytesMut::new())), move |state| async move {
        let (mut pieces, mut buffer) = state?;
        let failed = |error: EngineError| Some((Err(error), None));
        loop {
            if let Some(end) = buffer.iter().position(|byte| *byte == b'\n') {
                let line = buffer.split_to(end).freeze();
                buffer.advance(1);
                return Some((Ok(line), Some((pieces, buffer))));
            }
            if buffer.len() > LINE_BYTES_MAX {
                return failed(EngineError::Unreadable("a line of more than 1 MiB".to_owned()));
            }
            match pieces.next().await {
                Some(Ok(piece)) => buffer.extend_from_slice(&piece),
                Some(Err(error)) => return failed(error),
                None if end == End::IsAnError => {
                    return failed(EngineError::Unknown("the event stream ended".to_owned()));
                }
                None if buffer.is_empty() => return None,
                None => return Some((Ok(buffer.freeze()), None)),
            }
        }
    })
    .boxed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(parts: &[&'static str]) -> Pieces {
        stream::iter(parts.to_vec()).map(|part| Ok(Bytes::from_static(part.as_bytes()))).boxed()
    }

    #[tokio::test]
    async fn lines_come_out_whole_however_they_came_in_and_the_end_is_an_error() {
        let out: Vec<_> =
            lines(pieces(&["a", "b\nc\n", "", "d\n"]), End::IsAnError).collect().await;
        let words: Vec<_> = out.iter().flatten().map(|line| line.to_vec()).collect();
        assert_eq!(words, [b"ab".to_vec(), b"c".to_vec(), b"d".to_vec()]);
        assert_eq!(out.last().unwrap().as_ref().unwrap_err().class(), "unknown");
        assert_eq!(out.len(), 4);
    }

    #[tokio::test]
    async fn an_end_that_is_one_leaves_no_line_behind() {
        let out: Vec<_> = lines(pieces(&["a\nb"]), End::IsTheEnd).collect().await;
        let words: Vec<_> = out.into_iter().map(|line| line.unwrap().to_vec()).collect();
        assert_eq!(words, [b"a".to_vec(), b"b".to_vec()]);
    }

    #[tokio::test]
    async fn nothing_comes_after_an_error() {
        let items = [Ok(1), Err(EngineError::Unknown(String::new())), Ok(2)];
        let out: Vec<_> = to_first_error(stream::iter(items)).collect().await;
        assert_eq!(out.len(), 2);
    }

    #[tokio::test]
    async fn output_that_breaks_off_ends_with_an_error() {
        let out: Vec<_> =
            chunks(pieces(&["\u{1}\0\0\0\0\0\0\u{5}abc"]), Frames::of(false)).collect().await;
        assert_eq!(out.len(), 2);
        assert_eq!(out[0].as_ref().unwrap().bytes, "abc");
        assert_eq!(out[1].as_ref().unwrap_err().class(), "unreadable");
    }
}
