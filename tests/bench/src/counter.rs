//! A socket before the engine's that passes everything on, and notes each request with its times.
//!
//! Whatever is compared goes through one: it costs both sides the same, some hundredths of a millisecond a call.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use chanop::clock::Clock;
use jiff::Timestamp;

use crate::Outcome;

/// One request.
#[derive(Debug, Clone)]
pub(crate) struct Exchange {
    /// `POST /v1.41/containers/create?name=…`.
    pub(crate) line: String,
    /// When it was seen, by the run's clock.
    pub(crate) sent: Duration,
    /// The same by the wall clock, which the engine's events have too.
    pub(crate) sent_wall: Timestamp,
    /// When its answer began; `None`: not yet.
    pub(crate) answered: Option<Duration>,
}

impl Exchange {
    /// The method, and the path without version and query.
    fn parts(&self) -> (&str, &str) {
        let (method, path) = self.line.split_once(' ').unwrap_or_default();
        let path = path.split(['?', ' ']).next().unwrap_or_default();
        let path = path.strip_prefix("/v1.").map_or(path, |rest| {
            rest.find('/').and_then(|slash| rest.get(slash..)).unwrap_or_default()
        });
        (method, path)
    }

    /// Does it ask for a new container?
    pub(crate) fn is_create(&self) -> bool {
        self.parts() == ("POST", "/containers/create")
    }

    /// Does it start one?
    pub(crate) fn is_start(&self) -> bool {
        let (method, path) = self.parts();
        method == "POST" && path.starts_with("/containers/") && path.ends_with("/start")
    }

    /// Does it change a container?
    pub(crate) fn writes_container(&self) -> bool {
        let (method, path) = self.parts();
        method != "GET" && path.starts_with("/containers/")
    }

    /// Does it read one container?
    pub(crate) fn reads_container(&self) -> bool {
        let (method, path) = self.parts();
        let one = path.starts_with("/containers/") && path != "/containers/json";
        method == "GET" && (one || path.starts_with("/exec/"))
    }

    /// Does it look at one container?
    pub(crate) fn is_inspect(&self) -> bool {
        self.reads_container() && self.parts().1.ends_with("/json")
    }

    /// Is it the list of all?
    pub(crate) fn is_list(&self) -> bool {
        self.parts() == ("GET", "/containers/json")
    }

    /// Does it remove one?
    pub(crate) fn is_remove(&self) -> bool {
        let (method, path) = self.parts();
        method == "DELETE" && path.starts_with("/containers/")
    }

    /// Is it a ping?
    pub(crate) fn is_ping(&self) -> bool {
        self.parts().1 == "/_ping"
    }

    /// Does it open the stream of events?
    pub(crate) fn is_events(&self) -> bool {
        self.parts().1 == "/events"
    }
}

#[derive(Debug, Default)]
struct Log(Mutex<Vec<Exchange>>);

impl Log {
    fn lock(&self) -> MutexGuard<'_, Vec<Exchange>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Counter {
    directory: tempfile::TempDir,
    log: Arc<Log>,
}

impl Counter {
    /// Before this engine.
    pub(crate) fn before(engine: &Path, clock: Clock) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("chanop-b").tempdir_in("/var/tmp")?;
        let listener = UnixListener::bind(directory.path().join("docker.sock"))?;
        let log: Arc<Log> = Arc::default();
        let (engine, seen) = (engine.to_owned(), Arc::clone(&log));
        // The threads end with their connections, this one with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if let Ok(engine) = UnixStream::connect(&engine) {
                    // One that cannot be passed on is closed, and its caller says so.
                    let _ = pass_both(client, engine, &seen, clock);
                }
            }
        });
        Ok(Self { directory, log })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }

    /// How many requests there were until now.
    pub(crate) fn mark(&self) -> usize {
        self.log.lock().len()
    }

    /// All since a mark.
    pub(crate) fn since(&self, mark: usize) -> Vec<Exchange> {
        self.log.lock().get(mark..).unwrap_or_default().to_vec()
    }
}

/// A client sends the head of a request at once, and nothing before the answer to the last one: so what comes next from the
/// engine on the same connection is that answer.
fn pass_both(client: UnixStream, engine: UnixStream, log: &Arc<Log>, clock: Clock) -> Outcome<()> {
    let (from, to) = (client.try_clone()?, engine.try_clone()?);
    let open: Arc<Mutex<Option<usize>>> = Arc::default();
    let (asked, answered) = (Arc::clone(&open), open);
    let (requests, answers) = (Arc::clone(log), Arc::clone(log));
    thread::spawn(move || {
        pass_on(from, to, |bytes| {
            if let Some(at) = note(bytes, &requests, clock) {
                *asked.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
            }
        });
    });
    thread::spawn(move || {
        pass_on(engine, client, |_| {
            let open = answered.lock().unwrap_or_else(PoisonError::into_inner).take();
            let mut answers = answers.lock();
            if let Some(exchange) = open.and_then(|at| answers.get_mut(at)) {
                exchange.answered = Some(clock.now().mono);
            }
        });
    });
    Ok(())
}

fn note(bytes: &[u8], log: &Log, clock: Clock) -> Option<usize> {
    let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let line = line.strip_suffix(" HTTP/1.1")?.to_owned();
    let now = clock.now();
    let mut log = log.lock();
    log.push(Exchange { line, sent: now.mono, sent_wall: now.wall, answered: None });
    Some(log.len() - 1)
}

fn pass_on(mut from: UnixStream, mut to: UnixStream, look: impl Fn(&[u8])) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let bytes = buffer.get(..count).unwrap_or_default();
        look(bytes);
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exchange(line: &str) -> Exchange {
        Exchange {
            line: line.to_owned(),
            sent: Duration::ZERO,
            sent_wall: Timestamp::UNIX_EPOCH,
            answered: None,
        }
    }

    #[test]
    fn each_request_is_known_by_what_it_does_whatever_the_version() {
        assert!(exchange("POST /v1.41/containers/create?name=a").is_create());
        assert!(exchange("POST /v1.53/containers/abc/start").is_start());
        assert!(exchange("DELETE /v1.41/containers/abc?v=true").writes_container());
        assert!(exchange("DELETE /v1.41/containers/abc?v=true").is_remove());
        assert!(!exchange("POST /v1.41/networks/create").writes_container());
        assert!(exchange("GET /v1.41/containers/abc/json").reads_container());
        assert!(exchange("GET /v1.41/containers/abc/json").is_inspect());
        assert!(!exchange("GET /v1.41/containers/abc/logs?follow=true").is_inspect());
        assert!(!exchange("GET /v1.41/containers/json?all=true").reads_container());
        assert!(exchange("GET /v1.41/containers/json?all=true").is_list());
        assert!(exchange("GET /v1.41/_ping").is_ping());
        assert!(exchange("GET /v1.41/events?since=1").is_events());
        assert!(!exchange("GET /version").reads_container());
    }
}
