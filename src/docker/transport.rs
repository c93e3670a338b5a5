//! The way to the engine: one unix socket, a small pool, a bound on what is open, and the API version in every path.
//!
//! It sends requests and tells apart what a caller must tell apart: not sent, or sent and not answered. It knows nothing of
//! what requests mean, retries nothing that reached the wire, and has no timeouts, because only the caller knows how long a
//! stop may take.
//!
//! **Version.** The first request asks `GET /version` and remembers the answer. Whenever the engine could not be reached, or
//! a connection broke, that is forgotten: the engine that comes back may be another one.
//!
//! **Bounds.** A caller takes a [`Permit`] first and holds it until it has read the answer. Long calls (waits, streams, stops)
//! have a bound of their own, so a hundred followers cannot keep an inspect waiting.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use bytes::Bytes;
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderValue, Request, Response, StatusCode, Uri, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty, Full, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyperlocal::UnixConnector;
use serde::Deserialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::endpoint::Endpoint;
use super::version::ApiVersion;

/// A request's body, whatever it is made of.
pub(super) type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

/// The right to have one request open; given back when dropped.
pub(super) type Permit = OwnedSemaphorePermit;

/// Requests open at once. Above what the controller's lanes let through, below what makes dockerd slow.
pub(super) const SHORT_CALLS_MAX: usize = 16;
/// Streams and slow calls open at once: a follower and a wait for each of a hundred runs, and some shells.
pub(super) const LONG_CALLS_MAX: usize = 256;
/// Idle connections kept. Four cover the steady state (ping, list, inspect, one change).
const IDLE_CONNECTIONS_MAX: usize = 4;
/// The longest answer that is read into memory: an inspect is 10 kB, a list of ten thousand containers 20 MB.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Clone, thiserror::Error)]
pub(super) enum TransportError {
    /// Nothing was sent: no socket, nobody listens, or an engine that we cannot speak with.
    #[error("{0}")]
    NotSent(String),
    /// It was sent, or may have been, and the connection broke.
    #[error("{0}")]
    Broken(String),
}

/// What negotiation found out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    /// The version in every path.
    pub(super) api: ApiVersion,
    /// The engine's own version.
    pub(super) version: String,
    /// Is it Podman behind Docker's API?
    pub(super) podman: bool,
}

/// See the module.
#[derive(Clone)]
pub(super) struct Transport(Arc<Shared>);

struct Shared {
    endpoint: Endpoint,
    authority: Authority,
    client: Client<UnixConnector, Body>,
    short: Arc<Semaphore>,
    long: Arc<Semaphore>,
    // std's lock: held for a clone, never across an await.
    peer: RwLock<Option<Peer>>,
    // One asks for the version, the others wait for its answer.
    negotiation: tokio::sync::Mutex<()>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").field("endpoint", &self.0.endpoint).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct VersionAnswer {
    #[serde(default)]
    version: String,
    #[serde(default)]
    api_version: String,
    // Go's spelling, not serde's.
    #[serde(default, rename = "MinAPIVersion")]
    min_api_version: String,
    #[serde(default)]
    components: Option<Vec<Component>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    #[serde(default)]
    name: String,
}

impl Transport {
    /// Opens nothing yet.
    pub(super) fn new(endpoint: &Endpoint) -> Result<Self, TransportError> {
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .build(UnixConnector);
        // hyper sends again only what was handed back unsent by a pooled connection found closed: that is no retry of a call.
        Ok(Self(Arc::new(Shared {
            authority: authority(endpoint)?,
            endpoint: endpoint.clone(),
            client,
            short: Arc::new(Semaphore::new(SHORT_CALLS_MAX)),
            long: Arc::new(Semaphore::new(LONG_CALLS_MAX)),
            peer: RwLock::new(None),
            negotiation: tokio::sync::Mutex::new(()),
        })))
    }

    pub(super) fn endpoint(&self) -> &Endpoint {
        &self.0.endpoint
    }

    /// The right to make one short call.
    pub(super) async fn short(&self) -> Result<Permit, TransportError> {
        acquire(&self.0.short).await
    }

    /// The right to make one long call.
    pub(super) async fn long(&self) -> Result<Permit, TransportError> {
        acquire(&self.0.long).await
    }

    /// Sends a request whose path has no version; answers when the head of the response is there.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TransportError> {
        let peer = self.peer().await?;
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
        parts.uri = self.uri(&format!("/v{}{path}", peer.api))?;
        let response = self.send_as_is(Request::from_parts(parts, body)).await?;
        if response.status() == StatusCode::BAD_REQUEST {
            // Perhaps "client version is too new": then the engine was replaced. Asking once more costs a millisecond.
            self.forget();
        }
        Ok(response)
    }

    /// The engine behind the socket, asked once.
    pub(super) async fn peer(&self) -> Result<Peer, TransportError> {
        if let Some(peer) = self.known() {
            return Ok(peer);
        }
        let _negotiating = self.0.negotiation.lock().await;
        if let Some(peer) = self.known() {
            return Ok(peer);
        }
        let peer = self.negotiate().await?;
        *self.0.peer.write().unwrap_or_else(PoisonError::into_inner) = Some(peer.clone());
        Ok(peer)
    }

    /// The next call negotiates anew.
    pub(super) fn forget(&self) {
        *self.0.peer.write().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn known(&self) -> Option<Peer> {
        self.0.peer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn negotiate(&self) -> Result<Peer, TransportError> {
        let socket = self.0.endpoint.to_string();
        let odd = |why: String| {
            TransportError::NotSent(format!("cannot speak with the engine at {socket}: {why}"))
        };
        let request = Request::get(self.uri("/version")?)
            .body(empty())
            .map_err(|error| odd(error.to_string()))?;
        // Nothing of the caller's was sent yet, so whatever goes wrong here is "not sent".
        let not_sent = |error: TransportError| TransportError::NotSent(error.to_string());
        let response = self.send_as_is(request).await.map_err(not_sent)?;
        let status = response.status();
        let bytes = self.read(response).await.map_err(not_sent)?;
        if !status.is_success() {
            return Err(odd(format!("/version answered {status}")));
        }
        let answer: VersionAnswer =
            serde_json::from_slice(&bytes).map_err(|error| odd(format!("/version: {error}")))?;
        let api = ApiVersion::choose(&answer.api_version, &answer.min_api_version).map_err(odd)?;
        let podman = answer
            .components
            .unwrap_or_default()
            .iter()
            .any(|component| component.name.to_ascii_lowercase().contains("podman"));
        Ok(Peer { api, version: answer.version, podman })
    }

    /// Reads a whole answer.
    pub(super) async fn read(&self, response: Response<Incoming>) -> Result<Bytes, TransportError> {
        match Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await {
            Ok(body) => Ok(body.to_bytes()),
            Err(error) => {
                self.forget();
                Err(TransportError::Broken(format!(
                    "the answer broke off: {}",
                    chain(error.as_ref())
                )))
            }
        }
    }

    async fn send_as_is(
        &self,
        mut request: Request<Body>,
    ) -> Result<Response<Incoming>, TransportError> {
        request.headers_mut().insert(header::HOST, HeaderValue::from_static("docker"));
        self.0.client.request(request).await.map_err(|error| {
            self.forget();
            // hyper's own words ("client error (Connect)") say nothing to a person; their cause does.
            let text = std::error::Error::source(&error).map_or_else(|| chain(&error), chain);
            if error.is_connect() {
                TransportError::NotSent(self.0.endpoint.explain_unreachable(&text))
            } else {
                TransportError::Broken(format!("{} closed the connection: {text}", self.0.endpoint))
            }
        })
    }

    fn uri(&self, path: &str) -> Result<Uri, TransportError> {
        Uri::builder()
            .scheme(
                Scheme::try_from("unix")
                    .map_err(|error| TransportError::NotSent(error.to_string()))?,
            )
            .authority(self.0.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| TransportError::NotSent(format!("bad request path: {error}")))
    }
}

async fn acquire(semaphore: &Arc<Semaphore>) -> Result<Permit, TransportError> {
    let closed = |_| TransportError::NotSent("the client is closed".to_owned());
    Arc::clone(semaphore).acquire_owned().await.map_err(closed)
}

/// hyperlocal's way to put a path where a host belongs: hexadecimal.
fn authority(endpoint: &Endpoint) -> Result<Authority, TransportError> {
    use fmt::Write;
    let mut hex = String::new();
    for byte in endpoint.socket().as_os_str().as_encoded_bytes() {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    Authority::try_from(hex)
        .map_err(|error| TransportError::NotSent(format!("bad socket path {endpoint}: {error}")))
}

/// No body.
pub(super) fn empty() -> Body {
    Empty::new().map_err(|never| match never {}).boxed_unsync()
}

/// A body that is all there.
pub(super) fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never| match never {}).boxed_unsync()
}

/// An error and its causes, in one line.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}

/// `?a=b&c=d`, with everything escaped that is not plainly a word.
pub(super) fn query(pairs: &[(&str, &str)]) -> String {
    use fmt::Write;
    let mut text = String::new();
    for (key, value) in pairs {
        text.push(if text.is_empty() { '?' } else { '&' });
        text.push_str(key);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-_.".contains(&byte) {
                text.push(char::from(byte));
            } else {
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_in_a_query_cannot_end_it() {
        assert_eq!(query(&[]), "");
        assert_eq!(
            query(&[("a", "x y&b=c#?/é"), ("b", "1.5")]),
            "?a=x%20y%26b%3Dc%23%3F%2F%C3%A9&b=1.5"
        );
    }
}
