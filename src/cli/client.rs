//! A client of the operator, over its control socket.
//!
//! A connection a call: the socket is near. Every call has a timeout for the whole of it, but a watch, which has none.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use crate::http::BASE;
use crate::http::views::{AgentStart, Ensured, OperatorStatus, Status};

/// The operator answers from memory; what takes longer than this is stuck.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// For a shell to be made, and the agent's call: a little longer than the operator itself waits.
const ENSURE_TIMEOUT: Duration = Duration::from_secs(145);

/// Ten thousand channels with their specs are a tenth of it.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One line of a watch.
const LINE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The media type of tables.
pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The media type of objects.
pub(super) const JSON: &str = "application/json";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error("no operator answers on {}: start one with `chanop operator --specs DIR`", .0.display())]
    NoOperator(PathBuf),
    /// The directory lets only others in.
    #[error("you may not open {}: it belongs to the operator's user, or to the group of --socket-group", .0.display())]
    Forbidden(PathBuf),
    /// The socket could not be reached for another reason.
    #[error("failed to reach the operator on {}", .0.display())]
    Connect(PathBuf, #[source] io::Error),
    /// Not in time.
    #[error("the operator on {} has not answered in {} s", .0.display(), .1.as_secs())]
    Timeout(PathBuf, Duration),
    /// The connection broke off.
    #[error("the operator broke off")]
    Broken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It said no, and why.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// The operator's sentence.
        message: String,
    },
    /// It is not the version that this client knows.
    #[error("the operator's answer does not fit this version of chanop")]
    Unreadable(#[source] serde_json::Error),
}

/// The operator behind a control socket.
#[derive(Debug, Clone)]
pub struct Client {
    socket: PathBuf,
}

impl Client {
    /// Connects at each call, not now.
    pub const fn new(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// The socket.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Who the operator is and how it stands.
    pub async fn status(&self) -> Result<OperatorStatus, ClientError> {
        self.get("/operator/status", JSON).await
    }

    /// Reads what lies at `path`, below the API's base.
    pub async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        accept: &str,
    ) -> Result<T, ClientError> {
        let request = request(Method::GET, path, accept, Bytes::new())?;
        decode(&self.call(request, CALL_TIMEOUT).await?)
    }

    /// Has something done; answers the operator's sentence.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Result<String, ClientError> {
        let body = serde_json::to_vec(body).map_err(ClientError::Unreadable)?;
        let request = request(Method::POST, path, JSON, body.into())?;
        let status: Status = decode(&self.call(request, CALL_TIMEOUT).await?)?;
        Ok(status.message)
    }

    /// Has a channel's shell made, if need be, and answers where it runs.
    pub async fn ensure(&self, channel: &str) -> Result<Ensured, ClientError> {
        let path = format!("/channels/{channel}/ensure");
        let request = request(Method::POST, &path, JSON, Bytes::new())?;
        decode(&self.call(request, ENSURE_TIMEOUT).await?)
    }

    /// Likewise, and how the agent is called there.
    pub async fn agent(
        &self,
        channel: &str,
        session: &str,
        fork: bool,
    ) -> Result<AgentStart, ClientError> {
        let path = format!("/channels/{channel}/agent");
        let body = serde_json::json!({ "session": session, "fork": fork }).to_string();
        let request = request(Method::POST, &path, JSON, body.into())?;
        decode(&self.call(request, ENSURE_TIMEOUT).await?)
    }

    /// Hands each line of a watch to `each` until it answers false or the operator ends.
    pub async fn watch(
        &self,
        path: &str,
        accept: &str,
        mut each: impl FnMut(&[u8]) -> Result<bool, serde_json::Error>,
    ) -> Result<(), ClientError> {
        let request = request(Method::GET, path, accept, Bytes::new())?;
        self.exchange(request, async |mut body: Incoming| {
            let mut rest: Vec<u8> = vec![];
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(broken)?;
                rest.extend_from_slice(frame.data_ref().map_or(&[][..], |data| data));
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if !each(&line).map_err(ClientError::Unreadable)? {
                        return Ok(());
                    }
                }
                if rest.len() > LINE_BYTES_MAX {
                    return Err(broken("a line of the watch has no end"));
                }
            }
            Ok(())
        })
        .await
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Bytes, ClientError> {
        let exchange = self.exchange(request, collect);
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_elapsed| ClientError::Timeout(self.socket.clone(), timeout))?
    }

    /// One request on a connection of its own; `read` gets the body of a success.
    async fn exchange<T>(
        &self,
        request: Request<Full<Bytes>>,
        read: impl AsyncFnOnce(Incoming) -> Result<T, ClientError>,
    ) -> Result<T, ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        let talk = async {
            let response = sender.send_request(request).await.map_err(broken)?;
            let code = response.status();
            if code.is_success() {
                return read(response.into_body()).await;
            }
            Err(refused(code, &collect(response.into_body()).await?))
        };
        tokio::pin!(talk, connection);
        // The connection is driven here and not by a task: it ends with the call.
        tokio::select! {
            biased;
            answer = &mut talk => answer,
            _ended = &mut connection => talk.await,
        }
    }

    fn unreachable(&self, error: io::Error) -> ClientError {
        let socket = self.socket.clone();
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                ClientError::NoOperator(socket)
            }
            io::ErrorKind::PermissionDenied => ClientError::Forbidden(socket),
            _ => ClientError::Connect(socket, error),
        }
    }
}

fn request(
    method: Method,
    path: &str,
    accept: &str,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, ClientError> {
    let mut request = Request::builder()
        .method(method)
        .uri(format!("{BASE}{path}"))
        .header(header::HOST, "localhost")
        .header(header::ACCEPT, accept);
    if !body.is_empty() {
        request = request.header(header::CONTENT_TYPE, JSON);
    }
    request.body(Full::new(body)).map_err(broken)
}

async fn collect(body: Incoming) -> Result<Bytes, ClientError> {
    Ok(Limited::new(body, ANSWER_BYTES_MAX).collect().await.map_err(broken)?.to_bytes())
}

fn refused(code: StatusCode, body: &[u8]) -> ClientError {
    let status: Result<Status, _> = serde_json::from_slice(body);
    let message =
        status.map_or_else(|_other| format!("the operator answered {code}"), |it| it.message);
    ClientError::Refused { code: code.as_u16(), message }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(ClientError::Unreadable)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}

/// `text` as a value of a query.
pub(super) fn query_value(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                escaped.push(char::from(byte));
            }
            _ => {
                const HEX: [char; 16] = [
                    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F',
                ];
                escaped.push('%');
                escaped.extend(HEX.get(usize::from(byte >> 4)));
                escaped.extend(HEX.get(usize::from(byte & 15)));
            }
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::query_value;

    #[test]
    fn a_selector_survives_its_way_through_a_query() {
        assert_eq!(query_value("team in (a,b)"), "team%20in%20%28a%2Cb%29");
    }
}
