//! Each fault of the proxy, against an engine of a few lines; and sessions through it, on the real one.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use chanop::docker::engine::ExecConfig;
use chanop::docker::{Docker, Endpoint, Engine};
use futures_util::StreamExt as _;
use tokio::io::AsyncWriteExt as _;

use super::{Fault, Hold, Proxy, Rule, When, ask, count};
use crate::support::engine::{TestBed, endpoint};

/// Answers each request with its number, and a stream of three lines to those who ask for events.
struct Fake {
    directory: tempfile::TempDir,
    heard: Arc<AtomicUsize>,
}

impl Fake {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(directory.path().join("engine.sock")).unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&heard);
        // Ends with the test's process.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let number = counter.fetch_add(1, Ordering::SeqCst) + 1;
                answer(stream.unwrap(), number);
            }
        });
        Self { directory, heard }
    }

    fn proxy(&self) -> Proxy {
        Proxy::before(&self.directory.path().join("engine.sock"))
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

fn answer(mut stream: UnixStream, number: usize) {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        head.extend_from_slice(&byte);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let answer = if head.contains("/events") {
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\none\ntwo\nthree\n".to_owned()
    } else {
        let body = format!("{{\"number\":{number}}}");
        format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
    };
    // Who asked may be gone.
    let _ = stream.write_all(answer.as_bytes());
}

const LIST: &str = "/v1.41/containers/json?all=1";

fn list(proxy: &Proxy) -> (u16, String) {
    ask(&proxy.socket(), "GET", LIST, "")
}

fn number(number: usize) -> (u16, String) {
    (200, format!("{{\"number\":{number}}}"))
}

/// No answer.
fn nothing() -> (u16, String) {
    (0, String::new())
}

#[test]
fn without_a_rule_everything_passes_and_is_on_record_without_its_version() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    assert_eq!(list(&proxy), number(1));
    assert_eq!(ask(&proxy.socket(), "POST", "/v1.41/containers/abc/start", "{}"), number(2));
    let transcript = proxy.transcript();
    let seen: Vec<(&str, &str, Option<u16>)> =
        transcript.iter().map(|line| (&*line.method, &*line.path, line.status)).collect();
    let expected = [
        ("GET", "/containers/json?all=1", Some(200)),
        ("POST", "/containers/abc/start", Some(200)),
    ];
    assert_eq!(seen, expected);
    assert_eq!(count(&transcript, "*", "/containers/*/start"), 1);
    assert_eq!(count(&transcript, "*", "/containers/*"), 1, "one word, not two");
    assert_eq!(count(&transcript, "GET", "/containers/json?all=2"), 0);
    assert_eq!(transcript.iter().filter(|line| line.mutates()).count(), 1);
}

#[test]
fn a_lost_request_is_not_heard_and_a_lost_answer_was() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    proxy.rule(Rule::on("GET", "/containers/json", Fault::DropRequest).when(When::Nth(1)));
    proxy.rule(Rule::on("GET", "/containers/json", Fault::DropAnswer).when(When::Nth(1)));
    assert_eq!((list(&proxy), fake.heard()), (nothing(), 0));
    assert_eq!((list(&proxy), fake.heard()), (nothing(), 1));
    assert_eq!(list(&proxy), number(2));
    let faults: Vec<_> = proxy.transcript().iter().map(|line| (line.fault, line.status)).collect();
    assert_eq!(
        faults,
        [(Some("drop-request"), None), (Some("drop-answer"), None), (None, Some(200))]
    );
}

#[test]
fn an_answer_is_replaced_doubled_cut_off_or_the_last_one_again() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    let once = |fault| proxy.rule(Rule::on("*", "*", fault).when(When::First(1)));
    assert_eq!(list(&proxy), number(1));
    once(Fault::error(503, "busy"));
    assert_eq!(list(&proxy), (503, r#"{"message":"busy"}"#.to_owned()));
    proxy.heal();
    once(Fault::Twice);
    assert_eq!((list(&proxy), fake.heard()), (number(3), 3));
    proxy.heal();
    once(Fault::Truncate(4));
    assert_eq!(list(&proxy), (200, "{\"nu".to_owned()));
    proxy.heal();
    assert_eq!(list(&proxy), number(5));
    once(Fault::Stale);
    assert_eq!((list(&proxy), fake.heard()), (number(5), 5));
    assert_eq!(list(&proxy), number(6), "once");
}

#[test]
fn answers_come_late_and_what_is_held_waits_for_the_test() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    let late = Duration::from_millis(200);
    let clock = chanop::clock::Clock::start();
    for fault in [Fault::DelayBefore(late), Fault::DelayAfter(late), Fault::Drip(late)] {
        let began = clock.now().mono;
        proxy.rule(Rule::on("GET", "*", fault));
        assert_eq!(list(&proxy).0, 200);
        assert!(clock.now().mono >= began + late);
        proxy.heal();
    }
    for (fault, heard) in
        [(Fault::Hold as fn(Hold) -> Fault, 0), (Fault::HoldAnswer, 1), (Fault::HeadFirst, 0)]
    {
        let before = fake.heard();
        let hold = Hold::new();
        proxy.rule(Rule::on("GET", "*", fault(hold.clone())));
        let answer = thread::scope(|scope| {
            let asking = scope.spawn(|| list(&proxy));
            hold.until_reached(1);
            assert_eq!(hold.reached(), 1);
            thread::sleep(Duration::from_millis(50));
            assert_eq!(fake.heard() - before, heard, "{:?}", proxy.transcript());
            assert!(!asking.is_finished());
            hold.release();
            asking.join().unwrap()
        });
        assert_eq!(answer.0, 200);
        assert!(answer.1.contains(&format!("{{\"number\":{}}}", before + 1)), "{answer:?}");
        proxy.heal();
    }
}

#[test]
fn a_head_without_a_body_stalls_until_it_is_cut() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    proxy.rule(Rule::on("GET", "*", Fault::StallAfterHead));
    let mut stream = UnixStream::connect(proxy.socket()).unwrap();
    stream.write_all(format!("GET {LIST} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    let mut head = [0; 15];
    stream.read_exact(&mut head).unwrap();
    assert_eq!(&head, b"HTTP/1.1 200 OK");
    assert_eq!(proxy.cut("GET", "/events"), 0);
    assert_eq!(proxy.cut("GET", "/containers/json"), 1);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!String::from_utf8_lossy(&rest).contains("number"));
}

#[test]
fn lines_of_a_stream_are_lost_doubled_and_changed() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    proxy.rule(Rule::on(
        "GET",
        "/events",
        Fault::lines(|line| match line {
            "one" => Vec::new(),
            "two" => vec!["two".to_owned(); 2],
            other => vec![format!("{other}!")],
        }),
    ));
    let (_, body) = ask(&proxy.socket(), "GET", "/v1.41/events?since=1", "");
    for line in ["two\ntwo\n", "three!\n"] {
        assert!(body.contains(line), "{body}");
    }
    assert!(!body.contains("one"), "{body}");
}

#[test]
fn chance_is_the_same_for_the_same_seed() {
    let hits = |seed| {
        let fake = Fake::new();
        let proxy = fake.proxy();
        let rule = Rule::on("GET", "*", Fault::error(500, "bad luck"));
        proxy.rule(rule.when(When::Percent(30, seed)));
        (0..40).map(|_| list(&proxy).0 == 500).collect::<Vec<_>>()
    };
    let first = hits(7);
    assert_eq!(first, hits(7));
    assert_ne!(first, hits(8));
    let bad = first.iter().filter(|hit| **hit).count();
    assert!((4..=20).contains(&bad), "{bad} of 40");
}

#[test]
fn a_proxy_that_refuses_has_nobody_listening_until_it_accepts_again() {
    let fake = Fake::new();
    let proxy = fake.proxy();
    let mut idle = UnixStream::connect(proxy.socket()).unwrap();
    idle.write_all(format!("GET {LIST} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
    idle.read_exact(&mut [0; 12]).unwrap();
    proxy.refuse();
    let refused = UnixStream::connect(proxy.socket()).unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
    assert!(idle.read_to_end(&mut Vec::new()).is_ok(), "open connections break");
    proxy.accept();
    assert_eq!(list(&proxy), number(2));
}

#[tokio::test]
async fn a_session_in_a_container_passes_through_with_both_of_its_ends() {
    let bed = TestBed::new().await;
    let id = bed.run("session", "sleep 1000").await;
    let socket = endpoint().socket().to_owned();
    // Its start blocks, which a runtime's thread must not.
    let proxy = tokio::task::spawn_blocking(move || Proxy::before(&socket)).await.unwrap();
    let docker = Docker::connect(&Endpoint::unix(proxy.socket())).await.unwrap();
    let config = ExecConfig {
        cmd: ["sh", "-c", "cat; echo end"].map(str::to_owned).to_vec(),
        stdin: true,
        ..ExecConfig::default()
    };
    let session = docker.exec_create(&id, &config).await.unwrap();
    let mut stream = docker.exec_start(&session, false).await.unwrap();
    stream.input.write_all(b"hello\n").await.unwrap();
    stream.input.shutdown().await.unwrap();
    let mut out = Vec::new();
    while let Some(chunk) = stream.output.next().await {
        out.extend_from_slice(&chunk.unwrap().bytes);
    }
    assert_eq!(String::from_utf8(out).unwrap(), "hello\nend\n");
    let transcript = proxy.transcript();
    let started = transcript.iter().find(|line| line.is("POST", "/exec/*/start")).unwrap();
    assert_eq!(started.status, Some(101));
}
