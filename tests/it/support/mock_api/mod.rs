//! A server that answers like the Messages API, as far as the agent's CLI asks it.
//!
//! What it answers is named by the last mark `[[mock:NAME]]` in the newest user text that has one, or else by the base URL
//! (`…/s/NAME`); [`scenario`] has the names. Every request is kept, so that a test can say what the CLI sent. It listens
//! on every address, because the containers' way to this host is the engine's affair: they call it `host.docker.internal`,
//! which [`MockApi::extra_host`] makes the bridge's gateway.

mod scenario;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::response::Response;
use futures_util::{StreamExt as _, stream};
use http::StatusCode;
use serde_json::{Value, json};

use scenario::{Asked, Reply};

/// The CLI's requests have 50 kB and more with each turn; the longest prompt of a test has some megabytes.
const BODY_BYTES_MAX: usize = 64 << 20;

/// The running server; it ends with the test that made it.
#[derive(Debug)]
pub(crate) struct MockApi {
    port: u16,
    kept: Arc<Kept>,
    server: tokio::task::JoinHandle<()>,
}

/// A request as it came.
#[derive(Debug, Clone)]
pub(crate) struct ApiRequest {
    /// With its query.
    pub(crate) path: String,
    /// By lower-case name.
    pub(crate) headers: BTreeMap<String, String>,
    /// Null when it was no JSON.
    pub(crate) body: Value,
    /// Which scenario answered it; empty for all but messages.
    pub(crate) scenario: String,
}

#[derive(Debug, Default)]
struct Kept {
    requests: Mutex<Vec<ApiRequest>>,
    /// How often each scenario that fails first was asked.
    counts: Mutex<BTreeMap<String, u32>>,
}

impl MockApi {
    /// On a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("0.0.0.0:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let kept = Arc::new(Kept::default());
        let app = axum::Router::new().fallback(answer).with_state(Arc::clone(&kept));
        #[expect(
            clippy::disallowed_methods,
            reason = "a test's task, aborted when the mock is dropped"
        )]
        let server = tokio::spawn(async move { axum::serve(listener, app).await.unwrap() });
        Self { port, kept, server }
    }

    /// Where a container finds it.
    pub(crate) fn url(&self) -> String {
        format!("http://host.docker.internal:{}", self.port)
    }

    /// Where a process of this host finds it.
    pub(crate) fn local_url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What a container needs in its `/etc/hosts` for that.
    pub(crate) fn extra_host() -> String {
        "host.docker.internal:host-gateway".to_owned()
    }

    /// The requests for messages so far in which a user says `word`.
    pub(crate) fn messages_with(&self, word: &str) -> Vec<ApiRequest> {
        let kept = self.kept.requests.lock().unwrap();
        let about = |request: &&ApiRequest| {
            !request.scenario.is_empty()
                && scenario::user_texts(&request.body).iter().any(|text| text.contains(word))
        };
        kept.iter().filter(about).cloned().collect()
    }

    /// Every request so far.
    pub(crate) fn requests(&self) -> Vec<ApiRequest> {
        self.kept.requests.lock().unwrap().clone()
    }
}

impl Drop for MockApi {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(kept): State<Arc<Kept>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let path = head.uri.path_and_query().map_or("/", http::uri::PathAndQuery::as_str).to_owned();
    let (prefix, below) = split_prefix(head.uri.path());
    let asked = (head.method == http::Method::POST && below == "/v1/messages")
        .then(|| Asked::of(&body, prefix));
    let headers = head.headers.iter().map(|(name, value)| {
        (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    });
    kept.requests.lock().unwrap().push(ApiRequest {
        path,
        headers: headers.collect(),
        body,
        scenario: asked.as_ref().map(|asked| asked.scenario.clone()).unwrap_or_default(),
    });
    match asked {
        Some(asked) => {
            let reply = asked.reply(&mut kept.counts.lock().unwrap());
            respond(reply).await
        }
        None if below.ends_with("/count_tokens") => {
            whole(StatusCode::OK, &[], &json!({ "input_tokens": 120 }))
        }
        None if head.method == http::Method::HEAD => whole(StatusCode::OK, &[], &Value::Null),
        None => whole(StatusCode::NOT_FOUND, &[], &scenario::error("not_found_error", "Not found")),
    }
}

/// `/s/NAME/v1/messages` is scenario NAME at `/v1/messages`.
fn split_prefix(path: &str) -> (Option<&str>, &str) {
    let split =
        path.strip_prefix("/s/").and_then(|rest| rest.find('/').map(|at| rest.split_at(at)));
    split.map_or((None, path), |(name, below)| (Some(name), below))
}

async fn respond(reply: Reply) -> Response {
    match reply {
        Reply::Whole { status, headers, body } => whole(status, &headers, &body),
        Reply::Stream { events, pause, breaks } => {
            let lines = stream::unfold(events.into_iter(), move |mut events| async move {
                let event = events.next()?;
                tokio::time::sleep(pause).await;
                Some((event, events))
            });
            let end = stream::iter(breaks.then(|| Err(std::io::Error::other("broken on purpose"))));
            let body = Body::from_stream(lines.map(|line| Ok(Bytes::from(line))).chain(end));
            Response::builder().header("content-type", "text/event-stream").body(body).unwrap()
        }
        // Ends when the client hangs up.
        Reply::Never => std::future::pending::<Result<Response, Infallible>>().await.unwrap(),
    }
}

fn whole(status: StatusCode, headers: &[(&str, &str)], body: &Value) -> Response {
    let mut response = Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .header("request-id", "req_mock");
    for (name, value) in headers {
        response = response.header(*name, *value);
    }
    response.body(Body::from(body.to_string())).unwrap()
}

/// How long a stream waits before each event, when it is not a slow one.
const AT_ONCE: Duration = Duration::ZERO;

/// What the CLI gets over the wire, asked without a CLI.
#[tokio::test]
async fn the_mock_answers_over_the_wire_and_remembers_who_asked() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    let api = MockApi::start().await;
    let body = json!({
        "model": "m", "stream": true, "tools": [{ "name": "Bash" }],
        "messages": [{ "role": "user", "content": "say [[mock:echo:good morning]]" }],
    })
    .to_string();
    let mut socket = tokio::net::TcpStream::connect(("127.0.0.1", api.port)).await.unwrap();
    let request = format!(
        "POST /v1/messages?beta=true HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Api-Key: k\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.contains("event: message_start\n"), "{answer}");
    assert!(answer.contains(r#""text":"good morning""#), "{answer}");
    assert!(answer.contains("event: message_stop\n"), "{answer}");
    let requests = api.messages_with("say");
    assert_eq!(requests.len(), 1);
    assert_eq!(requests[0].headers["x-api-key"], "k");
    assert_eq!(requests[0].path, "/v1/messages?beta=true");
    assert_eq!(requests[0].scenario, "echo:good morning");
    assert_eq!(api.requests().len(), 1);
}
