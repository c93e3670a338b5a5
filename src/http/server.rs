//! The accept loops, which limit what peers can hold.
//!
//! *Flow.* A connection is accepted at once, registered, and served until it ends, its time is up or it must make room for
//! others ([`super::connections`] says which one must). When the operator stops, the loop stops accepting, streams end,
//! open requests finish, and what is left after [`Limits::drain`] is cut off.
//!
//! *Guarantees.* HTTP/1 only: hyper-util's automatic connections speak HTTP/2 whatever they are told, and hyper's idle
//! HTTP/2 connections have no time limit. At most [`Limits::waiting`] connections without an authenticated request, at most
//! [`Limits::requests`] with one, at most [`Limits::streams`] of those with a stream; so neither streams nor slow peers keep
//! a scrape out. A peer that is silent, sends half a header, idles between two requests or stops reading is cut off after
//! its timeout, and every connection but a stream has a maximum lifetime. Nothing that a peer does makes the loop pause.
//! The listeners come from outside, so tests use a free port.

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinSet;
use tokio::time::Sleep;
use tokio_util::sync::CancellationToken;

use super::agent::AgentCalls;
use super::auth::Tokens;
use super::connections::{Connection, Connections, OpenConnection, Peer};
use super::core::CoreHandle;
use super::guard::{Guard, Hosts};
use super::routes::{self, Api};
use super::timed_stream::TimedStream;
use super::transcript::TranscriptSource;
use crate::clock::Clock;
use crate::metrics::Metrics;

/// What every door shows.
#[derive(Debug, Clone)]
pub struct Faces {
    pub(super) core: CoreHandle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    pub(super) started: Timestamp,
    pub(super) agents: Option<Arc<dyn AgentCalls>>,
    pub(super) transcripts: Option<Arc<dyn TranscriptSource>>,
}

impl Faces {
    /// Ages are those at the request, not at the snapshot; so the faces have the clock.
    pub fn new(core: CoreHandle, metrics: Arc<Metrics>, clock: Clock) -> Self {
        let started = clock.now().wall;
        Self { core, metrics, clock, started, agents: None, transcripts: None }
    }

    /// With somebody who makes the agent's calls.
    #[must_use]
    pub fn with_agents(self, agents: Arc<dyn AgentCalls>) -> Self {
        Self { agents: Some(agents), ..self }
    }

    /// With somebody who reads transcripts.
    #[must_use]
    pub fn with_transcripts(self, transcripts: Arc<dyn TranscriptSource>) -> Self {
        Self { transcripts: Some(transcripts), ..self }
    }
}

/// Where clients come in.
#[derive(Debug)]
pub enum Door {
    /// The control socket: the whole API for whoever may open it.
    Socket(UnixListener),
    /// A TCP listener: health for anyone, metrics for anyone unless they need a token, the rest by token.
    Tcp {
        /// Bound already.
        listener: TcpListener,
        /// Who may do what.
        tokens: Tokens,
        /// Names beside loopback's and the listener's address that a Host header may hold.
        allowed_hosts: Vec<String>,
        /// Do metrics need a token of role metrics?
        metrics_auth: bool,
    },
}

/// Limits of one listener.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections without an authenticated request. The oldest one is closed for a new one. A scrape takes milliseconds, so
    /// it succeeds unless that many other connections come within them.
    pub waiting: usize,
    /// Of those, connections of one peer. Lower than `waiting`, so that one peer never closes the connections of another.
    pub waiting_per_peer: usize,
    /// Authenticated requests at once, streams included. A browser opens six, a script one per call.
    pub requests: usize,
    /// Of those, requests with one token.
    pub requests_per_token: usize,
    /// Streams at once. Fewer than requests, so that streams leave room for other requests.
    pub streams: usize,
    /// Of those, streams with one token.
    pub streams_per_token: usize,
    /// Before a wrong token is refused, as long as few requests wait for that.
    pub failed_token: Duration,
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// For a whole header; also how long a connection may idle between requests.
    pub header: Duration,
    /// For a whole connection that never had an authenticated request: a scrape of a megabyte over a bad line.
    pub unauthenticated: Duration,
    /// For a write without any progress.
    pub write: Duration,
    /// After this long a connection takes no further request. The longest request, an ensure, takes two minutes, so after
    /// twice this time the connection is cut off, unless it is a stream.
    pub lifetime: Duration,
    /// For open requests when the operator stops.
    pub drain: Duration,
    /// How long a stream of events may be silent: proxies close what is for 30 or 60 seconds.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 128,
            waiting_per_peer: 96,
            requests: 128,
            requests_per_token: 96,
            streams: 64,
            streams_per_token: 48,
            failed_token: Duration::from_secs(1),
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(10),
            unauthenticated: Duration::from_secs(15),
            write: Duration::from_secs(30),
            lifetime: Duration::from_mins(5),
            drain: Duration::from_secs(5),
            silence: Duration::from_secs(15),
        }
    }
}

/// The longest header, and how much hyper buffers per connection.
const BUFFER_BYTES: usize = 64 * 1024;

/// Serves until `stop`, then drains. Ends only then: a failing accept is waited out.
pub async fn serve(faces: Faces, door: Door, limits: Limits, stop: CancellationToken) {
    let (accept, guard) = Accept::new(door);
    let api = Api::new(faces, guard, limits, stop.clone());
    let routes = TowerToHyperService::new(routes::router(api));
    let mut http = http1::Builder::new();
    // Without a timer hyper knows no timeout.
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(BUFFER_BYTES);

    let open = Connections::new(limits);
    let mut tasks = JoinSet::new();
    loop {
        // Each arm can be cancelled: a connection that was not accepted is still there at the next call, likewise a task.
        let (peer, stream) = tokio::select! {
            () = stop.cancelled() => break,
            // Ended ones are taken out as they end, or the set would grow for ever.
            Some(_ended) = tasks.join_next() => continue,
            next = accept.next() => match next {
                Ok(accepted) => accepted,
                Err(error) if is_of_peer(&error) => {
                    tracing::debug!(%error, "a connection broke off before it was accepted");
                    continue;
                }
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    // Out of descriptors, most likely: the same error would come at once again.
                    open.close_one();
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let connection = open.open(peer);
        let service = Routes { routes: routes.clone(), connection: connection.handle() };
        let stream = TokioIo::new(TimedStream::new(stream, limits.first_byte, limits.write));
        let served = http.serve_connection(stream, service);
        tasks.spawn(serve_one(connection, served, limits, stop.clone()));
    }
    drop(accept);
    let drained = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(limits.drain, drained).await.is_err() {
        tracing::warn!("cutting off requests that did not end in time");
    }
    tasks.shutdown().await;
}

/// A failed accept that says something about one peer and nothing about this process.
fn is_of_peer(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

type Served = http1::Connection<TokioIo<TimedStream<Box<dyn Stream>>>, Routes>;

/// Serves a connection until it ends, or has to.
async fn serve_one(open: OpenConnection, served: Served, limits: Limits, stop: CancellationToken) {
    let mut served = std::pin::pin!(served);
    let unauthenticated = std::pin::pin!(tokio::time::sleep(limits.unauthenticated));
    let mut unauthenticated = Some(unauthenticated);
    let lifetime = std::pin::pin!(tokio::time::sleep(limits.lifetime));
    let mut lifetime = Some(lifetime);
    let cut_off = std::pin::pin!(tokio::time::sleep(limits.lifetime.saturating_mul(2)));
    let mut cut_off = Some(cut_off);
    let mut stop = Some(stop);
    // Each arm can be cancelled: the futures stay, and each is polled again until it has ended.
    loop {
        tokio::select! {
            ended = &mut served => {
                if let Err(error) = ended {
                    tracing::debug!(peer = %open.peer(), %error, "a connection broke off");
                }
                return;
            }
            () = open.closed() => {
                tracing::debug!(peer = %open.peer(), "closed a connection to make room for another");
                return;
            }
            () = expired(&mut unauthenticated) => {
                unauthenticated = None;
                if !open.was_authenticated() {
                    return;
                }
            }
            () = expired(&mut lifetime) => {
                lifetime = None;
                served.as_mut().graceful_shutdown();
            }
            () = expired(&mut cut_off) => {
                cut_off = None;
                if !open.streams() {
                    tracing::debug!(peer = %open.peer(), "cut off a connection at the end of its lifetime");
                    return;
                }
            }
            () = stopped(stop.as_ref()) => {
                stop = None;
                served.as_mut().graceful_shutdown();
            }
        }
    }
}

async fn expired(sleep: &mut Option<Pin<&mut Sleep>>) {
    match sleep {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}

async fn stopped(stop: Option<&CancellationToken>) {
    match stop {
        Some(stop) => stop.cancelled().await,
        None => std::future::pending().await,
    }
}

/// The routes, told on which connection a request comes.
struct Routes {
    routes: TowerToHyperService<Router>,
    connection: Connection,
}

impl Service<Request<Incoming>> for Routes {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(self.connection.clone());
        self.routes.call(request)
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

enum Accept {
    Socket(UnixListener),
    Tcp(TcpListener),
}

impl Accept {
    fn new(door: Door) -> (Self, Guard) {
        match door {
            Door::Socket(listener) => (Self::Socket(listener), Guard::Socket),
            Door::Tcp { listener, tokens, allowed_hosts, metrics_auth } => {
                let address = listener
                    .local_addr()
                    .map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip());
                let hosts = Hosts::new(address, &allowed_hosts);
                (Self::Tcp(listener), Guard::Tcp { tokens, hosts, metrics_auth })
            }
        }
    }

    async fn next(&self) -> io::Result<(Peer, Box<dyn Stream>)> {
        Ok(match self {
            Self::Socket(listener) => (Peer::Local, Box::new(listener.accept().await?.0)),
            Self::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Lines of a watch are small and awaited. A peer that is gone already fails at its first read.
                let _gone = stream.set_nodelay(true);
                (Peer::remote(address.ip()), Box::new(stream))
            }
        })
    }
}
