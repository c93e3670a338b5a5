//! The accept loops: whoever serves the world must bound it.
//!
//! *Flow.* A place is taken, then a connection accepted, then served until it ends or its time is up. At the end the loop
//! stops accepting, streams are told to end, open requests finish, and what is left at the deadline is cut off.
//!
//! *Guarantees.* No more connections than [`Limits::connections`], and no more of them streams than [`Limits::streams`],
//! which is less: watches never keep a scrape out. A peer that says nothing, or half a header, or idles between two
//! requests, is cut off after its timeout. The listeners come from outside, so tests use a free port.

use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use jiff::Timestamp;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::agent::AgentCalls;
use super::auth::Tokens;
use super::core::CoreHandle;
use super::first_byte::FirstByte;
use super::guard::{Guard, Hosts};
use super::routes::{self, Api};
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
    /// A TCP listener: metrics and health for anyone, the rest by token.
    Tcp {
        /// Bound already.
        listener: TcpListener,
        /// Who may do what.
        tokens: Tokens,
        /// Names beside loopback's and the listener's address that a Host header may hold.
        allowed_hosts: Vec<String>,
    },
}

/// Bounds of one door.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Connections at once. A browser opens six, Prometheus one, a script one a call.
    pub connections: usize,
    /// Streams at once, fewer than connections.
    pub streams: usize,
    /// From the connection to its first byte.
    pub first_byte: Duration,
    /// For a whole header; also how long a connection may idle between requests.
    pub header: Duration,
    /// For open requests at the end.
    pub drain: Duration,
    /// How long a stream of events may be silent: proxies close what is for 30 or 60 seconds.
    pub silence: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 128,
            streams: 64,
            first_byte: Duration::from_secs(10),
            header: Duration::from_secs(10),
            drain: Duration::from_secs(5),
            silence: Duration::from_secs(15),
        }
    }
}

/// Serves until `stop`, then drains. Ends only then: a failing accept is waited out.
pub async fn serve(faces: Faces, door: Door, limits: Limits, stop: CancellationToken) {
    let (accept, guard) = Accept::new(door);
    let api = Api::new(faces, guard, limits, stop.clone());
    let service = TowerToHyperService::new(routes::router(api));
    let mut http = auto::Builder::new(TokioExecutor::new()).http1_only();
    // Without a timer hyper knows no timeout.
    http.http1().timer(TokioTimer::new()).header_read_timeout(limits.header);

    let places = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await.map_err(io::Error::other)?;
            Ok::<_, io::Error>((place, accept.next().await?))
        };
        let (place, stream) = tokio::select! {
            () = stop.cancelled() => break,
            // Ended ones are taken out as they end, or the set would grow for ever.
            Some(_ended) = connections.join_next() => continue,
            next = next => match next {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "failed to accept a connection");
                    // Out of descriptors, most likely: the same error would come at once again.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
        };
        let stream = TokioIo::new(FirstByte::new(stream, limits.first_byte));
        let connection = http.serve_connection_with_upgrades(stream, service.clone()).into_owned();
        let connection = graceful.watch(connection);
        connections.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(error, "a connection broke off");
            }
            drop(place);
        });
    }
    drop(accept);
    if tokio::time::timeout(limits.drain, graceful.shutdown()).await.is_err() {
        tracing::warn!("cutting off requests that did not end in time");
    }
    connections.shutdown().await;
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
            Door::Tcp { listener, tokens, allowed_hosts } => {
                let address = listener
                    .local_addr()
                    .map_or(IpAddr::from([127, 0, 0, 1]), |address| address.ip());
                let hosts = Hosts::new(address, &allowed_hosts);
                (Self::Tcp(listener), Guard::Tcp { tokens, hosts })
            }
        }
    }

    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        Ok(match self {
            Self::Socket(listener) => Box::new(listener.accept().await?.0),
            Self::Tcp(listener) => {
                let stream = listener.accept().await?.0;
                // Lines of a watch are small and awaited.
                stream.set_nodelay(true)?;
                Box::new(stream)
            }
        })
    }
}
