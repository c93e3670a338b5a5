//! A client of the operator, over its control socket.
//!
//! A connection a call: the socket is near. Every call has a timeout for the whole of it, but a stream, which has one for its
//! head alone.

use std::io;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, StatusCode, header};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::net::UnixStream;

use super::BASE;
use super::turns::Turn;
use super::views::run::Run;
use super::views::{AgentStart, Ensured, OperatorStatus, Status, StatusDetails};
use crate::resource::ResourceName;

/// The operator answers from memory; what takes longer than this is stuck.
const CALL_TIMEOUT: Duration = Duration::from_secs(40);

/// For a shell to be made, and the agent's call: a little longer than the operator itself waits.
const ENSURE_TIMEOUT: Duration = Duration::from_secs(145);

/// Ten thousand channels with their specs are a tenth of it.
const ANSWER_BYTES_MAX: usize = 256 * 1024 * 1024;

/// One line of a watch, or of an event: a turn's text has at most a transcript's line, escaped once more.
const LINE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The media type of tables.
pub const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
/// The media type of objects.
pub const JSON: &str = "application/json";
/// The media type of events.
const EVENTS: &str = "text/event-stream";

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
        /// What it is about.
        details: Option<Box<StatusDetails>>,
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

    /// Orders a run: the object as its file would write it. Answers the run, once it is on the operator's disk.
    pub async fn submit_run(&self, object: &impl Serialize) -> Result<Run, ClientError> {
        let body = serde_json::to_vec(object).map_err(ClientError::Unreadable)?;
        let request = request(Method::POST, "/runs", JSON, body.into())?;
        decode(&self.call(request, ENSURE_TIMEOUT).await?)
    }

    /// One run.
    pub async fn run(&self, name: &ResourceName) -> Result<Run, ClientError> {
        self.get(&format!("/runs/{name}"), JSON).await
    }

    /// A run's turns, behind the event of this ID.
    pub async fn turns(
        &self,
        run: &ResourceName,
        last: Option<&str>,
    ) -> Result<Events, ClientError> {
        let mut request =
            request(Method::GET, &format!("/runs/{run}/turns"), EVENTS, Bytes::new())?;
        if let Some(last) = last {
            let last = last.parse().map_err(broken)?;
            request.headers_mut().insert("last-event-id", last);
        }
        Ok(Events { lines: self.lines(request).await?, begun: Begun::default() })
    }

    /// What lies at `path`, as it comes.
    pub async fn stream(&self, path: &str, accept: &str) -> Result<ByteStream, ClientError> {
        self.begin(request(Method::GET, path, accept, Bytes::new())?).await
    }

    /// Hands each line of a watch to `each` until it answers false or the operator ends.
    pub async fn watch(
        &self,
        path: &str,
        accept: &str,
        mut each: impl FnMut(&[u8]) -> Result<bool, serde_json::Error>,
    ) -> Result<(), ClientError> {
        let mut lines = self.lines(request(Method::GET, path, accept, Bytes::new())?).await?;
        while let Some(line) = lines.next().await? {
            if !each(&line).map_err(ClientError::Unreadable)? {
                break;
            }
        }
        Ok(())
    }

    async fn lines(&self, request: Request<Full<Bytes>>) -> Result<Lines, ClientError> {
        Ok(Lines { stream: self.begin(request).await?, rest: vec![], searched: 0 })
    }

    /// A stream, once its head is there; what comes then takes its time.
    async fn begin(&self, request: Request<Full<Bytes>>) -> Result<ByteStream, ClientError> {
        tokio::time::timeout(CALL_TIMEOUT, self.open(request))
            .await
            .map_err(|_elapsed| ClientError::Timeout(self.socket.clone(), CALL_TIMEOUT))?
    }

    async fn call(
        &self,
        request: Request<Full<Bytes>>,
        timeout: Duration,
    ) -> Result<Bytes, ClientError> {
        let exchange = async { self.open(request).await?.collect().await };
        tokio::time::timeout(timeout, exchange)
            .await
            .map_err(|_elapsed| ClientError::Timeout(self.socket.clone(), timeout))?
    }

    /// One request on a connection of its own, up to the body of a success.
    async fn open(&self, request: Request<Full<Bytes>>) -> Result<ByteStream, ClientError> {
        let stream =
            UnixStream::connect(&self.socket).await.map_err(|error| self.unreachable(error))?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // The connection is driven by whoever waits for its bytes, and not by a task: it ends with the call.
        let mut connection: Connection = Box::pin(async { drop(connection.await) });
        let mut is_open = true;
        let response = {
            let response = sender.send_request(request);
            tokio::pin!(response);
            loop {
                tokio::select! {
                    biased;
                    response = &mut response => break response.map_err(broken)?,
                    () = &mut connection, if is_open => is_open = false,
                }
            }
        };
        let code = response.status();
        let body = response.into_body();
        let stream = ByteStream { body, connection, is_open };
        if code.is_success() {
            return Ok(stream);
        }
        let within = tokio::time::timeout(CALL_TIMEOUT, stream.collect()).await;
        let said =
            within.map_err(|_| ClientError::Timeout(self.socket.clone(), CALL_TIMEOUT))??;
        Err(refused(code, &said))
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

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The body of an answer, as it comes.
pub struct ByteStream {
    body: Incoming,
    connection: Connection,
    is_open: bool,
}

impl std::fmt::Debug for ByteStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ByteStream").finish_non_exhaustive()
    }
}

impl ByteStream {
    /// The next bytes; `None` at the end. Nothing is lost when the future is dropped.
    pub async fn next(&mut self) -> Result<Option<Bytes>, ClientError> {
        loop {
            tokio::select! {
                biased;
                frame = self.body.frame() => {
                    let Some(frame) = frame.transpose().map_err(broken)? else { return Ok(None) };
                    if let Ok(bytes) = frame.into_data() {
                        return Ok(Some(bytes));
                    }
                }
                () = &mut self.connection, if self.is_open => self.is_open = false,
            }
        }
    }

    async fn collect(mut self) -> Result<Bytes, ClientError> {
        let mut whole = vec![];
        while let Some(bytes) = self.next().await? {
            if whole.len() + bytes.len() > ANSWER_BYTES_MAX {
                return Err(broken("the operator's answer has no end"));
            }
            whole.extend_from_slice(&bytes);
        }
        Ok(whole.into())
    }
}

/// Lines of a stream.
#[derive(Debug)]
struct Lines {
    stream: ByteStream,
    rest: Vec<u8>,
    // So much of the rest has no end of a line: each byte is looked at once.
    searched: usize,
}

impl Lines {
    /// The next line with its end. What has none is not a line.
    async fn next(&mut self) -> Result<Option<Vec<u8>>, ClientError> {
        loop {
            let fresh = self.rest.get(self.searched..).unwrap_or_default();
            if let Some(end) = fresh.iter().position(|byte| *byte == b'\n') {
                let after = self.rest.split_off(self.searched + end + 1);
                self.searched = 0;
                return Ok(Some(std::mem::replace(&mut self.rest, after)));
            }
            self.searched = self.rest.len();
            if self.rest.len() > LINE_BYTES_MAX {
                return Err(broken("a line of the operator's answer has no end"));
            }
            match self.stream.next().await? {
                Some(bytes) => self.rest.extend_from_slice(&bytes),
                None => return Ok(None),
            }
        }
    }
}

/// A run's turns, as they come.
#[derive(Debug)]
pub struct Events {
    lines: Lines,
    begun: Begun,
}

/// The lines of an event that is not whole yet.
#[derive(Debug, Default)]
struct Begun {
    id: Option<String>,
    word: String,
    data: String,
}

/// One event of a run's stream.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnEvent {
    /// Where to go on behind it; `end` has none.
    pub id: Option<String>,
    /// What it tells.
    pub turn: Turn,
}

impl Events {
    /// The next event; `None` when the stream ended, be it behind `end` or because the operator did. What this version
    /// does not know is passed over. Of an event whose lines are not whole, nothing is told; nothing is lost when the
    /// future is dropped.
    pub async fn next(&mut self) -> Result<Option<TurnEvent>, ClientError> {
        while let Some(line) = self.lines.next().await? {
            let line = String::from_utf8_lossy(&line);
            let line = line.trim_end_matches(['\r', '\n']);
            if line.is_empty() {
                let Begun { id, word, data } = std::mem::take(&mut self.begun);
                if let Some(turn) = Turn::parse(&word, &data) {
                    return Ok(Some(TurnEvent { id, turn }));
                }
            }
            match line.split_once(": ") {
                Some(("id", value)) => self.begun.id = Some(value.to_owned()),
                Some(("event", value)) => value.clone_into(&mut self.begun.word),
                Some(("data", value)) => value.clone_into(&mut self.begun.data),
                _ => {}
            }
        }
        Ok(None)
    }
}

fn refused(code: StatusCode, body: &[u8]) -> ClientError {
    let status: Result<Status, _> = serde_json::from_slice(body);
    let (message, details) = status.map_or_else(
        |_other| (format!("the operator answered {code}"), None),
        |it| (it.message, it.details),
    );
    ClientError::Refused { code: code.as_u16(), message, details }
}

fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, ClientError> {
    serde_json::from_slice(body).map_err(ClientError::Unreadable)
}

fn broken(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> ClientError {
    ClientError::Broken(error.into())
}

/// `text` as a value of a query.
pub fn query_value(text: &str) -> String {
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
