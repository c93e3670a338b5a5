//! What is done with a request: passed on, or its fault.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use tokio::net::UnixStream;

use super::rule::{Fault, Lines, unversioned};
use super::{Shared, Wire};

type Error = Box<dyn std::error::Error + Send + Sync>;
type Body = UnsyncBoxBody<Bytes, Error>;

/// Why a connection closes.
const LOST: &str = "lost on purpose";
/// The largest body that is kept whole.
const BODY_MAX: usize = 64 << 20;
/// Documents that are remembered.
const DOCUMENTS_MAX: usize = 1024;
/// Between the last piece of a truncated answer and its end.
const CUT_AFTER: Duration = Duration::from_millis(50);
/// The longest line of a stream.
const LINE_MAX: usize = 1 << 20;

/// A request with all its body.
type Whole = Request<Full<Bytes>>;

/// An error closes the connection without a word.
pub(super) async fn serve(
    shared: Arc<Shared>,
    wire: Arc<Wire>,
    mut request: Request<Incoming>,
) -> Result<Response<Body>, Error> {
    let method = request.method().to_string();
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let path = unversioned(path).to_owned();
    *wire.request.lock().unwrap() = (method.clone(), path.clone());
    let fault = shared.judge(&method, &path);
    let place = shared.note(&method, &path, fault.as_ref().map(Fault::word));
    let client = hyper::upgrade::on(&mut request);
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
    let request = Request::from_parts(parts, Full::new(body));

    let response = if let Some(response) = before(&shared, &path, &request, fault.as_ref()).await? {
        response
    } else {
        let response = forward(&shared, request).await?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            tunnel(&shared, &wire, client, response)
        } else {
            let document = (method == "GET").then_some(path).filter(|path| is_document(path));
            after(&shared, document, response, fault).await?
        }
    };
    shared.answered(place, response.status().as_u16());
    Ok(response)
}

/// What happens before the engine hears of it; an answer, if it never does.
async fn before(
    shared: &Arc<Shared>,
    path: &str,
    request: &Whole,
    fault: Option<&Fault>,
) -> Result<Option<Response<Body>>, Error> {
    match fault {
        Some(Fault::DropRequest) => return Err(Error::from(LOST)),
        Some(Fault::DelayBefore(delay)) => tokio::time::sleep(*delay).await,
        Some(Fault::Hold(hold)) => hold.pass().await,
        Some(Fault::Twice) => drop(whole(forward(shared, request.clone()).await?).await?),
        Some(Fault::Answer(status, body)) => {
            return Ok(Some(document(StatusCode::from_u16(*status)?, Bytes::from(body.clone()))));
        }
        Some(Fault::Stale) => {
            let old = shared.documents.lock().unwrap().get(path).cloned();
            let old = old.ok_or("nothing is remembered of this document")?;
            return Ok(Some(document(StatusCode::OK, old)));
        }
        Some(Fault::HeadFirst(hold)) => {
            let (shared, request, hold) = (Arc::clone(shared), request.clone(), hold.clone());
            let later = async move {
                hold.pass().await;
                Ok::<_, Error>(pieces(forward(&shared, request).await?.into_body()))
            };
            return Ok(Some(Response::new(streamed(stream::once(later).try_flatten()))));
        }
        _ => {}
    }
    Ok(None)
}

/// What happens to the engine's answer; a document is remembered.
async fn after(
    shared: &Shared,
    document: Option<String>,
    response: Response<Incoming>,
    fault: Option<Fault>,
) -> Result<Response<Body>, Error> {
    match fault {
        Some(Fault::DropAnswer) => return Err(Error::from(LOST)),
        Some(Fault::DelayAfter(delay)) => tokio::time::sleep(delay).await,
        Some(Fault::HoldAnswer(hold)) => hold.pass().await,
        Some(Fault::StallAfterHead) => return Ok(response.map(|_| streamed(stream::pending()))),
        Some(Fault::Truncate(bytes)) => {
            let (parts, body) = whole(response).await?;
            let part = body.slice(..bytes.min(body.len()));
            let end = async {
                // An error that comes with the first piece would take its place.
                tokio::time::sleep(CUT_AFTER).await;
                Err(Error::from(LOST))
            };
            let broken = stream::iter([Ok(part)]).chain(stream::once(end));
            return Ok(Response::from_parts(parts, streamed(broken)));
        }
        Some(Fault::Lines(lines)) => {
            return Ok(response.map(|body| streamed(changed(pieces(body), lines))));
        }
        Some(Fault::Drip(delay)) => {
            let slowly = |body| {
                streamed(pieces(body).then(move |piece| async move {
                    tokio::time::sleep(delay).await;
                    piece
                }))
            };
            return Ok(response.map(slowly));
        }
        _ => {}
    }
    let Some(path) = document.filter(|_| response.status().is_success()) else {
        return Ok(response.map(|body| body.map_err(Error::from).boxed_unsync()));
    };
    let (parts, body) = whole(response).await?;
    let mut documents = shared.documents.lock().unwrap();
    if documents.len() < DOCUMENTS_MAX || documents.contains_key(&path) {
        documents.insert(path, body.clone());
    }
    Ok(Response::from_parts(parts, Full::new(body).map_err(never).boxed_unsync()))
}

/// Is its answer one document, not a stream?
fn is_document(path: &str) -> bool {
    path.split('?').next().unwrap_or_default().ends_with("/json")
}

/// To the engine, over a connection of its own.
async fn forward(shared: &Shared, request: Whole) -> Result<Response<Incoming>, Error> {
    let stream = UnixStream::connect(&shared.engine).await?;
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
    // Ends with the answer, or with whoever reads it.
    shared.handle.spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// Both ends of a session, connected until one of them closes or the wire is cut.
fn tunnel(
    shared: &Shared,
    wire: &Wire,
    client: hyper::upgrade::OnUpgrade,
    mut response: Response<Incoming>,
) -> Response<Body> {
    let engine = hyper::upgrade::on(&mut response);
    let cut = wire.cut.clone();
    shared.handle.spawn(async move {
        let both = async {
            let (client, engine) = tokio::try_join!(client, engine)?;
            let (mut client, mut engine) = (TokioIo::new(client), TokioIo::new(engine));
            tokio::io::copy_bidirectional(&mut client, &mut engine).await?;
            Ok::<_, Error>(())
        };
        tokio::select! {
            _ = both => {}
            () = cut.cancelled() => {}
        }
    });
    response.map(|_| Full::default().map_err(never).boxed_unsync())
}

/// The answer, with all of its body.
async fn whole(response: Response<Incoming>) -> Result<(http::response::Parts, Bytes), Error> {
    let (mut parts, body) = response.into_parts();
    let body = Limited::new(body, BODY_MAX).collect().await?.to_bytes();
    parts.headers.remove(header::TRANSFER_ENCODING);
    if !matches!(parts.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED) {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
    }
    Ok((parts, body))
}

fn document(status: StatusCode, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body).map_err(never).boxed_unsync());
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

fn pieces(body: Incoming) -> impl stream::Stream<Item = Result<Bytes, Error>> + Send + 'static {
    body.into_data_stream().map_err(Error::from)
}

fn streamed(pieces: impl stream::Stream<Item = Result<Bytes, Error>> + Send + 'static) -> Body {
    StreamBody::new(pieces.map_ok(Frame::data)).boxed_unsync()
}

/// Line by line, as the rule makes them.
fn changed(
    pieces: impl stream::Stream<Item = Result<Bytes, Error>> + Send + 'static,
    lines: Lines,
) -> impl stream::Stream<Item = Result<Bytes, Error>> + Send + 'static {
    let mut begun = Vec::new();
    pieces.map(move |piece| {
        begun.extend_from_slice(&piece?);
        let mut out = String::new();
        while let Some(end) = begun.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = begun.drain(..=end).collect();
            for line in lines.lock().unwrap()(String::from_utf8_lossy(&line).trim_end()) {
                out.push_str(&line);
                out.push('\n');
            }
        }
        if begun.len() > LINE_MAX {
            return Err(Error::from("a line without an end"));
        }
        Ok(Bytes::from(out))
    })
}

fn never(never: Infallible) -> Error {
    match never {}
}
