//! The transport: against the real engine through a counting proxy, and against engines that misbehave.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chanop::docker::{Docker, Endpoint, Engine, EngineError};
use futures_util::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{UnixListener, UnixStream};

use crate::support::engine::{TestBed, endpoint, engine};

/// A socket in a directory of its own, served until the test's runtime ends.
struct Served {
    directory: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn socket(&self) -> PathBuf {
        self.directory.path().join("engine.sock")
    }

    fn lazy(&self) -> Docker {
        Docker::lazy(&Endpoint::unix(self.socket())).unwrap()
    }

    /// Serves each connection by `serve`.
    fn serve<F>(&self, serve: impl Fn(UnixStream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = UnixListener::bind(self.socket()).unwrap();
        spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                spawn(serve(stream));
            }
        });
    }
}

fn spawn(future: impl Future<Output = ()> + Send + 'static) {
    #[expect(clippy::disallowed_methods, reason = "a test's server ends with the test's runtime")]
    tokio::spawn(future);
}

/// How an answer ends whose rest never comes.
const CUT_SHORT: &str = "{\"ID\":";

fn version(api: &str) -> String {
    ok(&format!(r#"{{"Version":"1","ApiVersion":"{api}","MinAPIVersion":"1.12"}}"#))
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// Answers each request by its path, on one connection after the other; `None` hangs up, and so does an answer cut short.
async fn script(mut stream: UnixStream, answer: impl Fn(&str) -> Option<String>) {
    let mut buffer = Vec::new();
    while let Ok(1..) = stream.read_buf(&mut buffer).await {
        if !buffer.ends_with(b"\r\n\r\n") {
            continue;
        }
        let text = String::from_utf8(std::mem::take(&mut buffer)).unwrap();
        match answer(text.split(' ').nth(1).unwrap()) {
            Some(answer) => {
                stream.write_all(answer.as_bytes()).await.unwrap();
                if answer.ends_with(CUT_SHORT) {
                    return;
                }
            }
            None => return,
        }
    }
}

#[tokio::test]
async fn two_hundred_questions_at_once_open_few_connections() {
    let real = endpoint().socket().to_owned();
    engine().await;
    let (served, open, most, all) = (Served::new(), counter(), counter(), counter());
    let counters = (open.clone(), most.clone(), all.clone());
    served.serve(move |mut stream| {
        let (real, (open, most, all)) = (real.clone(), counters.clone());
        async move {
            all.fetch_add(1, Ordering::SeqCst);
            most.fetch_max(open.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            let mut engine = UnixStream::connect(real).await.unwrap();
            let _ = copy_bidirectional(&mut stream, &mut engine).await;
            open.fetch_sub(1, Ordering::SeqCst);
        }
    });
    let docker = served.lazy();
    let answers = join_all((0..200).map(|_| docker.info())).await;
    assert!(
        answers.iter().all(Result::is_ok),
        "{:?}",
        answers.iter().find(|answer| answer.is_err())
    );
    // Sixteen at once, and perhaps one more each whose connection was begun while another became free.
    assert!(most.load(Ordering::SeqCst) <= 32, "{most:?} open at once");
    let before = all.load(Ordering::SeqCst);
    for _ in 0..20 {
        docker.ping().await.unwrap();
    }
    assert!(all.load(Ordering::SeqCst) <= before + 1, "connections are used again");
}

fn counter() -> Arc<AtomicUsize> {
    Arc::default()
}

#[tokio::test]
async fn long_calls_do_not_keep_short_ones_waiting() {
    let bed = TestBed::new().await;
    let id = bed.run("busy", "sleep 1000").await;
    let waits = join_all((0..60).map(|_| bed.docker.wait(&id)));
    let short = async {
        for _ in 0..5 {
            bed.docker.inspect(&id).await.unwrap();
        }
        bed.docker.kill(&id, "KILL").await.unwrap();
    };
    let both = async { tokio::join!(waits, short) };
    let (codes, ()) = tokio::time::timeout(Duration::from_mins(1), both).await.unwrap();
    assert!(codes.into_iter().all(|answer| answer.unwrap().status_code == 137));
}

#[tokio::test]
async fn an_engine_that_never_answers_costs_a_timeout_and_nothing_more() {
    let (served, accepted) = (Served::new(), counter());
    let count = accepted.clone();
    served.serve(move |stream| {
        count.fetch_add(1, Ordering::SeqCst);
        async move {
            let _silent = stream;
            std::future::pending::<()>().await;
        }
    });
    let docker = served.lazy();
    // More than the bound: a call given up must give its permit back.
    for _ in 0..40 {
        let answer = tokio::time::timeout(Duration::from_millis(20), docker.info()).await;
        assert!(answer.is_err());
    }
    assert_eq!(accepted.load(Ordering::SeqCst), 40);
}

#[tokio::test]
async fn an_operator_may_start_before_its_engine_and_outlive_its_upgrade() {
    let (served, seen) = (Served::new(), Arc::new(std::sync::Mutex::new(Vec::new())));
    let docker = served.lazy();
    let error = docker.ping().await.unwrap_err();
    let path = served.socket().display().to_string();
    assert!(
        matches!(&error, EngineError::Unreachable(text) if text.contains(&path) && text.contains("start Docker")),
        "{error}"
    );
    let connected = Docker::connect(&Endpoint::unix(served.socket())).await;
    assert_eq!(connected.unwrap_err().class(), "unreachable");

    for api in ["1.41", "1.47", "1.99"] {
        let _ = std::fs::remove_file(served.socket());
        let paths = seen.clone();
        let gone = Arc::new(tokio::sync::Notify::new());
        let (until, listener) = (gone.clone(), UnixListener::bind(served.socket()).unwrap());
        let server = async move {
            while let Ok((stream, _)) = listener.accept().await {
                let paths = paths.clone();
                script(stream, |path| {
                    paths.lock().unwrap().push(path.to_owned());
                    match path {
                        "/version" => Some(version(api)),
                        // Answers one ping, then goes: the next call finds a broken connection.
                        _ => Some(ok("OK").replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")),
                    }
                })
                .await;
            }
        };
        spawn(async move {
            tokio::select! { () = server => {}, () = until.notified() => {} }
        });
        docker.ping().await.unwrap();
        gone.notify_one();
        tokio::task::yield_now().await;
        std::fs::remove_file(served.socket()).unwrap();
        assert_eq!(docker.ping().await.unwrap_err().class(), "unreachable");
    }
    let seen = seen.lock().unwrap().clone();
    assert_eq!(
        seen,
        ["/version", "/v1.41/_ping", "/version", "/v1.47/_ping", "/version", "/v1.53/_ping"]
    );
}

#[tokio::test]
async fn an_engine_that_is_too_old_is_refused_with_the_way_out() {
    let served = Served::new();
    served.serve(|stream| script(stream, |_| Some(version("1.40"))));
    let error = served.lazy().ping().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unreachable(text) if text.contains("1.40") && text.contains("Docker 20.10")),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_question_leaves_its_outcome_unknown() {
    let served = Served::new();
    served.serve(|stream| {
        script(stream, |path| match path {
            "/version" => Some(version("1.41")),
            path if path.contains("/info") => {
                Some(format!("HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{CUT_SHORT}"))
            }
            _ => None,
        })
    });
    let docker = served.lazy();
    let ping = docker.ping().await.unwrap_err();
    assert!(matches!(ping, EngineError::Unknown(_)), "{ping}");
    assert!(ping.is_uncertain());
    let info = docker.info().await.unwrap_err();
    assert!(matches!(info, EngineError::Unknown(_)), "{info}");
}

#[tokio::test]
async fn a_refusal_keeps_its_status_whatever_its_body_is() {
    let served = Served::new();
    served.serve(|stream| {
        script(stream, |path| {
            let body = if path.contains("json") { "{\"mess" } else { "" };
            match path {
                "/version" => Some(version("1.41")),
                _ => Some(format!(
                    "HTTP/1.1 409 Conflict\r\nContent-Length: {}\r\n\r\n{body}",
                    body.len()
                )),
            }
        })
    });
    let docker = served.lazy();
    let id = chanop::container::ContainerId::parse(&"a".repeat(64)).unwrap();
    assert_eq!(docker.start(&id).await.unwrap_err().class(), "conflict");
    assert_eq!(docker.inspect(&id).await.unwrap_err().class(), "conflict");
}

#[tokio::test]
async fn a_list_with_words_of_tomorrow_is_still_a_list_and_nonsense_is_unreadable() {
    let served = Served::new();
    let id = "a".repeat(64);
    let list = format!(
        r#"[{{"Id":"{id}","Names":["/x"],"State":"hibernating","HostConfig":{{"NetworkMode":["new"]}}}}]"#
    );
    served.serve(move |stream| {
        let list = list.clone();
        async move {
            script(stream, |path| match path {
                "/version" => Some(version("1.41")),
                path if path.contains("label") && path.contains("nonsense") => Some(ok("<html>")),
                _ => Some(ok(&list)),
            })
            .await;
        }
    });
    let docker = served.lazy();
    let containers = docker.list("label", "x").await.unwrap();
    assert_eq!(containers[0].state, chanop::container::ContainerState::Unknown);
    assert_eq!(docker.list("label", "nonsense").await.unwrap_err().class(), "unreadable");
}

#[tokio::test]
async fn a_socket_that_nobody_listens_on_says_so() {
    let served = Served::new();
    drop(std::os::unix::net::UnixListener::bind(served.socket()).unwrap());
    assert!(Path::new(&served.socket()).exists());
    let error = served.lazy().ping().await.unwrap_err();
    assert!(
        matches!(&error, EngineError::Unreachable(text) if text.contains("refused")),
        "{error}"
    );
}
