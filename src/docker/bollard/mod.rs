//! The real engine: bollard over our own transport, and our own requests where bollard loses something.
//!
//! The only user of bollard; none of its types leaves here. Its traps, measured on 0.21.1, and what is done about each:
//!
//! | trap | here |
//! |---|---|
//! | never sends the API version | the transport puts it into each path |
//! | puts names into URLs unescaped | only parsed types are taken: `ContainerId`, `ContainerName`, `ImageRef`, `ObjectName`, `ExecId` |
//! | a new connection per request, without bound | the transport's pool and permits |
//! | its timeout ends at the head of the response | switched off; callers time whole calls |
//! | a wait's non-zero exit is an error | mapped back |
//! | a terminal's logs wait for newlines and lose bytes | own request and own [`super::frames`], for exec too |
//! | logs payloads at debug | [`super::LOG_CAP`], which telemetry must apply |
//! | seconds in 32 bits for log times | not used; events take nanoseconds, by own request |
//! | 32 bits for a build's memory | own request; pulls too, since an error in mid-stream loses what kind it is |
//! | 304 is success, indistinguishably | that is what [`Engine`](super::Engine) promises |
//! | one unknown word fails a whole list | [`super::wire`] |
//! | a dropped exec goes on; a bad command is *output* and exit code 126 | documented in the trait; callers read `exec_inspect` |
//! | networks of one name | `CheckDuplicate`, look-up by exact name, answers by ID |
//! | buildkit's feature changes types | not compiled in |
//! | an error's status is lost with an odd body | the bridge below reads refusals itself |
//! | the socket is only looked at, not connected to | every connect error says path and way out |
//! | lines are cut at 16 KiB | chunks are bytes; joining lines is the reader's affair |
//! | two types called `ResizeExecOptions` | no glob imports |
//! | a failed build leaves a container behind | `forcerm` |
//!
//! Podman (4.3 was tried) is served as far as it goes: it cannot update limits, has no owner of a tmpfs and no `enable_icc`,
//! takes no tag of an import but `latest`, sets owners of copied files to root, makes up an ID for each `/info` (so we use
//! where its data lies), and gives back other words than it was given: `docker.io/library/` before an image, `oci` for a
//! runtime, each capability instead of `ALL`. Drift in those fields means nothing there.

mod create;
mod engine;
mod error;
mod image;
mod stream;

use std::fmt;

use http_body_util::BodyExt;
use serde::Deserialize;

use super::endpoint::Endpoint;
use super::error::{EngineError, EngineResult};
use super::transport::{Transport, TransportError};

/// Seconds after which bollard gives up by itself: never, since it would count only until the head of a response.
const NO_TIMEOUT_SECONDS: u64 = 365 * 24 * 3600;

/// A Docker engine behind a unix socket. Cheap to clone; all clones share one pool.
#[derive(Clone)]
pub struct Docker {
    api: bollard::Docker,
    transport: Transport,
}

impl fmt::Debug for Docker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Docker")
            .field("endpoint", self.transport.endpoint())
            .finish_non_exhaustive()
    }
}

impl Docker {
    /// Connects, and agrees on a version.
    pub async fn connect(endpoint: &Endpoint) -> EngineResult<Self> {
        let docker = Self::lazy(endpoint)?;
        docker.transport.peer().await.map_err(error::of_transport)?;
        Ok(docker)
    }

    /// Agrees on a version with the first call that reaches the engine, and anew after it was out of reach: an operator
    /// may start before its engine does, and outlives an engine's upgrade.
    pub fn lazy(endpoint: &Endpoint) -> EngineResult<Self> {
        let transport = Transport::new(endpoint).map_err(error::of_transport)?;
        let bridge = transport.clone();
        let send = move |request: bollard::BollardRequest| {
            let transport = bridge.clone();
            async move { pass_on(&transport, request).await }
        };
        let api = bollard::Docker::connect_with_custom_transport(
            send,
            Some("http://docker"),
            NO_TIMEOUT_SECONDS,
            bollard::API_DEFAULT_VERSION,
        )
        .map_err(|error| EngineError::Unreachable(error.to_string()))?;
        Ok(Self { api, transport })
    }

    /// The socket that it speaks over.
    pub fn endpoint(&self) -> &Endpoint {
        self.transport.endpoint()
    }
}

#[derive(Deserialize)]
struct Refusal {
    message: String,
}

/// bollard's requests go our way. A refusal is read here, whatever its body is, so that its status is never lost.
async fn pass_on(
    transport: &Transport,
    request: bollard::BollardRequest,
) -> Result<http::Response<hyper::body::Incoming>, bollard::errors::Error> {
    let carried = |error: TransportError| bollard::errors::Error::IOError {
        err: std::io::Error::other(error),
    };
    let response = transport.send(request.map(BodyExt::boxed_unsync)).await.map_err(carried)?;
    let status = response.status();
    if status.is_success()
        || status == http::StatusCode::NOT_MODIFIED
        || status == http::StatusCode::SWITCHING_PROTOCOLS
    {
        return Ok(response);
    }
    let message = refusal(&transport.read(response).await.map_err(carried)?);
    Err(bollard::errors::Error::DockerResponseServerError { status_code: status.as_u16(), message })
}

/// The text of a refusal, whether or not it is the JSON that it should be.
fn refusal(bytes: &[u8]) -> String {
    match serde_json::from_slice::<Refusal>(bytes) {
        Ok(refusal) => refusal.message,
        Err(_) => String::from_utf8_lossy(bytes).into_owned(),
    }
}
