//! A socket before the engine's at which faults happen, as rules say: requests are lost, answers come late or never, lists
//! are old, streams go deaf.
//!
//! It speaks HTTP/1.1 on both sides, one connection to the engine for each request, and hands sessions that change their
//! protocol (`exec`) through. It runs in threads of its own, so that tests need no runtime. Everything in it is bounded:
//! bodies, what is remembered, and how long anything is held. What it saw and did stands in the [`Transcript`].
//!
//! The rules are in [`rule`], what a fault does in [`serve`], and the proxy's own tests in [`tests`].

mod rule;
mod serve;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use chanop::clock::Clock;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use rule::{Fault, Hold, Rule, When};

/// Connections at once: an operator has some three hundred at most.
const WIRES_MAX: usize = 1024;
/// Lines of the transcript that are kept.
const LINES_MAX: usize = 50_000;
/// How long it may take until the socket is there, or gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// One request, as it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Since the proxy began.
    pub(crate) at: Duration,
    pub(crate) method: String,
    /// With its query, without the API's version.
    pub(crate) path: String,
    /// What was answered; none: no answer, or not yet.
    pub(crate) status: Option<u16>,
    /// What was done to it.
    pub(crate) fault: Option<&'static str>,
}

impl Line {
    /// Does it change something in the engine?
    pub(crate) fn mutates(&self) -> bool {
        self.method != "GET" && self.method != "HEAD"
    }

    /// Is it a request of this kind? See [`Rule::on`].
    pub(crate) fn is(&self, method: &str, pattern: &str) -> bool {
        rule::matches(method, pattern, &self.method, &self.path)
    }
}

/// What was asked, in order.
pub(crate) type Transcript = Vec<Line>;

/// How many of its lines are of this kind.
pub(crate) fn count(transcript: &[Line], method: &str, pattern: &str) -> usize {
    transcript.iter().filter(|line| line.is(method, pattern)).count()
}

/// See the module.
pub(crate) struct Proxy {
    directory: tempfile::TempDir,
    shared: Arc<Shared>,
    opens: watch::Sender<bool>,
    listening: watch::Receiver<bool>,
    runtime: Option<Runtime>,
}

/// What all connections share.
struct Shared {
    engine: PathBuf,
    clock: Clock,
    handle: Handle,
    rules: Mutex<Vec<Rule>>,
    transcript: Mutex<Transcript>,
    /// The last body of each document that was asked for, for those who want it stale.
    documents: Mutex<BTreeMap<String, Bytes>>,
    wires: Mutex<BTreeMap<u64, Arc<Wire>>>,
}

/// A connection.
struct Wire {
    /// What it serves now.
    request: Mutex<(String, String)>,
    cut: CancellationToken,
}

impl Proxy {
    /// Before the engine behind this socket.
    pub(crate) fn before(engine: &Path) -> Self {
        // Short: sockets' paths are.
        let directory = tempfile::Builder::new().prefix("chanop-p").tempdir_in("/var/tmp").unwrap();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("fault-proxy")
            .enable_all()
            .build()
            .unwrap();
        let shared = Arc::new(Shared {
            engine: engine.to_owned(),
            clock: Clock::start(),
            handle: runtime.handle().clone(),
            rules: Mutex::default(),
            transcript: Mutex::default(),
            documents: Mutex::default(),
            wires: Mutex::default(),
        });
        let (opens, opened) = watch::channel(true);
        let (listens, listening) = watch::channel(false);
        let socket = directory.path().join("docker.sock");
        runtime.handle().spawn(listen(Arc::clone(&shared), socket, opened, listens));
        let proxy = Self { directory, shared, opens, listening, runtime: Some(runtime) };
        proxy.until_listening(true);
        proxy
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// One more rule; the first that applies to a request is the one that counts.
    pub(crate) fn rule(&self, rule: Rule) {
        self.shared.rules.lock().unwrap().push(rule);
    }

    /// No rules: everything passes. What is held stays held until it is released.
    pub(crate) fn heal(&self) {
        self.shared.rules.lock().unwrap().clear();
    }

    /// What was asked so far.
    pub(crate) fn transcript(&self) -> Transcript {
        self.shared.transcript.lock().unwrap().clone()
    }

    /// What was asked since the last time.
    pub(crate) fn since(&self, mark: usize) -> Transcript {
        self.transcript().split_off(mark)
    }

    /// For [`Self::since`].
    pub(crate) fn mark(&self) -> usize {
        self.shared.transcript.lock().unwrap().len()
    }

    /// Nobody listens any more, and every connection breaks.
    pub(crate) fn refuse(&self) {
        self.opens.send_replace(false);
        self.until_listening(false);
        self.cut("*", "*");
    }

    /// Somebody listens again.
    pub(crate) fn accept(&self) {
        self.opens.send_replace(true);
        self.until_listening(true);
    }

    /// Breaks every connection that serves such a request now; how many those were.
    pub(crate) fn cut(&self, method: &str, pattern: &str) -> usize {
        let hit = self.serving(method, pattern);
        for wire in &hit {
            wire.cut.cancel();
        }
        hit.len()
    }

    /// How many connections serve such a request now, or served one last.
    pub(crate) fn open(&self, method: &str, pattern: &str) -> usize {
        self.serving(method, pattern).len()
    }

    fn serving(&self, method: &str, pattern: &str) -> Vec<Arc<Wire>> {
        let wires = self.shared.wires.lock().unwrap();
        let hit = wires.values().filter(|wire| {
            let (asked, path) = &*wire.request.lock().unwrap();
            rule::matches(method, pattern, asked, path)
        });
        hit.map(Arc::clone).collect()
    }

    fn until_listening(&self, wanted: bool) {
        let mut listening = self.listening.clone();
        let waits = listening.wait_for(|now| *now == wanted);
        let waited = async { tokio::time::timeout(PATIENCE, waits).await.map(|it| it.is_ok()) };
        let waited = self.shared.handle.block_on(waited);
        assert_eq!(waited.ok(), Some(true), "the proxy's socket: listening {wanted}");
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// Accepts connections as long as it is open; without a listener, the socket's file refuses.
async fn listen(
    shared: Arc<Shared>,
    socket: PathBuf,
    mut open: watch::Receiver<bool>,
    listens: watch::Sender<bool>,
) {
    while open.wait_for(|open| *open).await.is_ok() {
        let _ = std::fs::remove_file(&socket);
        let listener = UnixListener::bind(&socket).unwrap();
        listens.send_replace(true);
        loop {
            tokio::select! {
                closed = open.wait_for(|open| !*open) => {
                    if closed.is_err() { return; }
                    break;
                }
                accepted = listener.accept() => {
                    if let Ok((stream, _)) = accepted { welcome(&shared, stream); }
                }
            }
        }
        drop(listener);
        listens.send_replace(false);
    }
}

fn welcome(shared: &Arc<Shared>, stream: UnixStream) {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let id = NEXT.fetch_add(1, Ordering::Relaxed);
    let wire = Arc::new(Wire { request: Mutex::default(), cut: CancellationToken::new() });
    {
        let mut wires = shared.wires.lock().unwrap();
        if wires.len() >= WIRES_MAX {
            return;
        }
        wires.insert(id, Arc::clone(&wire));
    }
    let shared = Arc::clone(shared);
    let handle = shared.handle.clone();
    handle.spawn(async move {
        let service =
            service_fn(|request| serve::serve(Arc::clone(&shared), Arc::clone(&wire), request));
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        tokio::select! {
            // How it ended is the client's affair.
            _ = connection => {}
            () = wire.cut.cancelled() => {}
        }
        shared.wires.lock().unwrap().remove(&id);
    });
}

impl Shared {
    /// Puts a request on record; its place there.
    fn note(&self, method: &str, path: &str, fault: Option<&'static str>) -> usize {
        let mut transcript = self.transcript.lock().unwrap();
        assert!(transcript.len() < LINES_MAX, "more requests than any test makes");
        transcript.push(Line {
            at: self.clock.now().mono,
            method: method.to_owned(),
            path: path.to_owned(),
            status: None,
            fault,
        });
        transcript.len() - 1
    }

    fn answered(&self, place: usize, status: u16) {
        if let Some(line) = self.transcript.lock().unwrap().get_mut(place) {
            line.status = Some(status);
        }
    }

    /// What is to be done to the request.
    fn judge(&self, method: &str, path: &str) -> Option<Fault> {
        let mut rules = self.rules.lock().unwrap();
        rules.iter_mut().find_map(|rule| rule.applies(method, path))
    }
}

/// A request to the engine itself, past the proxy: quicker than the `docker` command, where there are hundreds.
pub(crate) fn ask(socket: &Path, method: &str, path: &str, body: &str) -> (u16, String) {
    use std::io::{Read as _, Write as _};
    let mut stream = StdUnixStream::connect(socket).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request = format!(
        "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}
