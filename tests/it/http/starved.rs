//! Hostile connections by the thousand, and the scrape that must be answered beside them.
//!
//! Every timeout of the server is an hour here, so that only the limits on connections can make room. Attackers and scraper
//! have the same address.

use std::time::Duration;

use chanop::http::{BASE, Limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

use super::{on_socket, on_tcp, raw};
use crate::faces::{Served, view};

/// Far more than the listener keeps.
const HOSTILE: usize = 1_000;
/// The aim is one second on an idle machine; without room for it a scrape takes an hour.
const SCRAPE_TIMEOUT: Duration = Duration::from_secs(10);
const HOUR: Duration = Duration::from_hours(1);

fn no_timeouts() -> Limits {
    Limits {
        first_byte: HOUR,
        header: HOUR,
        unauthenticated: HOUR,
        write: HOUR,
        lifetime: HOUR,
        ..Limits::default()
    }
}

/// What a hostile connection sends, once or many times without reading an answer.
struct Hostile {
    says: String,
    copies: usize,
}

impl Hostile {
    fn once(says: impl Into<String>) -> Self {
        Self { says: says.into(), copies: 1 }
    }

    fn pipelined(says: impl Into<String>) -> Self {
        Self { says: says.into(), copies: 16 }
    }

    /// Opens the connections, and keeps those that the server has not closed.
    async fn attack(&self, served: &Served) -> Vec<TcpStream> {
        let mut open = vec![];
        for _ in 0..HOSTILE {
            let mut stream = TcpStream::connect(served.address).await.unwrap();
            let _closed = stream.write_all(self.says.repeat(self.copies).as_bytes()).await;
            open.push(stream);
        }
        open
    }
}

fn post(token: &str) -> Hostile {
    Hostile::once(format!(
        "POST {BASE}/runs HTTP/1.1\r\nhost: localhost\r\n{token}content-type: application/json\r\n\
         content-length: 1000\r\n\r\n{{\"half\": "
    ))
}

const VIEWER: &str = "authorization: Bearer viewer\r\n";
const RUNNER: &str = "authorization: Bearer runner\r\n";

async fn scrape_beside(hostile: Hostile) {
    let served = Served::new(view(), no_timeouts()).await;
    let open = hostile.attack(&served).await;
    for path in ["/metrics", "/readyz"] {
        let scrape = on_tcp(&served, "GET", path, "");
        let answer = tokio::time::timeout(SCRAPE_TIMEOUT, scrape).await;
        assert_eq!(answer.expect("the scrape was starved").code, 200, "{path}");
    }
    drop(open);
}

#[tokio::test]
async fn a_scrape_passes_idle_http2_prefaces() {
    scrape_beside(Hostile::once("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")).await;
}

#[tokio::test]
async fn a_scrape_passes_pipelined_scrapes_that_are_never_read() {
    scrape_beside(Hostile::pipelined("GET /metrics HTTP/1.1\r\nhost: localhost\r\n\r\n")).await;
}

#[tokio::test]
async fn a_scrape_passes_half_sent_bodies_without_a_token() {
    scrape_beside(post("")).await;
}

#[tokio::test]
async fn a_scrape_passes_half_sent_bodies_with_a_token() {
    scrape_beside(post(RUNNER)).await;
}

#[tokio::test]
async fn a_scrape_passes_silent_connections() {
    scrape_beside(Hostile::once("")).await;
}

#[tokio::test]
async fn a_scrape_passes_half_a_header() {
    scrape_beside(Hostile::once("GET /metrics HTTP/1.1\r\nhost: loc")).await;
}

#[tokio::test]
async fn a_scrape_passes_idle_kept_connections() {
    let says = format!("GET {BASE}/channels HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n");
    scrape_beside(Hostile::once(says)).await;
}

#[tokio::test]
async fn a_scrape_passes_streams_that_are_never_read() {
    let says = format!("GET {BASE}/channels?watch=1 HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n");
    scrape_beside(Hostile::once(says)).await;
}

#[tokio::test]
async fn a_scrape_passes_pipelined_lists_that_are_never_read() {
    let says = format!("GET {BASE}/channels HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n");
    scrape_beside(Hostile::pipelined(says)).await;
}

#[tokio::test]
async fn wrong_tokens_are_delayed_and_starve_nobody() {
    let limits = Limits { failed_token: HOUR, ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let wrong = "authorization: Bearer wrong\r\n";
    let request = format!("GET {BASE}/channels HTTP/1.1\r\nhost: localhost\r\n{wrong}\r\n");
    let open = Hostile::once(request).attack(&served).await;
    let channels = format!("{BASE}/channels");
    for (path, headers, code) in
        [("/metrics", "", 200), (&channels, VIEWER, 200), (&channels, "", 401)]
    {
        let answer = tokio::time::timeout(SCRAPE_TIMEOUT, on_tcp(&served, "GET", path, headers));
        assert_eq!(answer.await.expect("starved").code, code, "{path}");
    }
    drop(open);
}

#[tokio::test]
async fn a_wrong_token_is_refused_after_a_delay() {
    let limits = Limits { failed_token: HOUR, ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let channels = format!("{BASE}/channels");
    let wrong = "authorization: Bearer wrong\r\n";
    let mut delayed = futures_util::stream::FuturesUnordered::new();
    for _ in 0..17 {
        delayed.push(on_tcp(&served, "GET", &channels, wrong));
    }
    // Sixteen are delayed for an hour; the one beyond is answered.
    let first = futures_util::StreamExt::next(&mut delayed).await.unwrap();
    assert_eq!((first.code, delayed.len()), (401, 16));
}

#[tokio::test]
async fn the_control_socket_passes_silent_connections() {
    let served = Served::new(view(), no_timeouts()).await;
    let mut open = vec![];
    for _ in 0..HOSTILE {
        open.push(UnixStream::connect(&served.socket).await.unwrap());
    }
    let path = format!("{BASE}/channels");
    let answer = tokio::time::timeout(SCRAPE_TIMEOUT, on_socket(&served, "GET", &path, "", ""));
    assert_eq!(answer.await.expect("the socket was starved").code, 200);
}

#[tokio::test]
async fn scrapes_of_a_new_snapshot_show_it() {
    let served = Served::new(view(), Limits::default()).await;
    for held in 1..4 {
        served.publish(|view| view.specs.held = vec!["x".to_owned(); held]);
        let text = on_tcp(&served, "GET", "/metrics", "").await.body;
        assert!(text.contains(&format!("\nchanop_prune_held {held}\n")), "{text}");
    }
}

#[tokio::test]
async fn an_http2_preface_is_refused() {
    let served = Served::new(view(), no_timeouts()).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    // `raw` fails when the server does not end the connection.
    let answer = raw(stream, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
    assert!(matches!(answer.code, 0 | 400 | 505), "{}", answer.head);
    assert!(answer.code == 0 || answer.head.starts_with("http/1.1"), "{}", answer.head);
}

#[tokio::test]
async fn a_request_without_a_token_is_the_last_on_its_connection() {
    let served = Served::new(view(), no_timeouts()).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.to_ascii_lowercase().contains("connection: close"), "{answer}");
}

/// Requests until the server ends the connection, and reads nothing before.
async fn request_without_reading(stream: &mut TcpStream, request: &str) {
    let many = request.repeat(64);
    // Fails when the server has closed the connection.
    while stream.write_all(many.as_bytes()).await.is_ok() {}
}

#[tokio::test]
async fn a_peer_that_does_not_read_is_cut_off() {
    let limits = Limits { write: Duration::from_millis(50), ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    for path in ["channels", "channels?watch=1"] {
        let mut stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET {BASE}/{path} HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n");
        if path == "channels" {
            request_without_reading(&mut stream, &request).await;
            continue;
        }
        stream.write_all(request.as_bytes()).await.unwrap();
        // New channels until the stream is blocked, and its place is free again.
        let blocked = async {
            let mut large =
                crate::faces::channel("web", chanop::resource::condition::Reason::Running);
            for round in 0.. {
                large.message = format!("{round}{}", "x".repeat(1 << 20));
                let large = std::sync::Arc::new(large.clone());
                served.publish(|view| drop(view.channels.insert(large.name.clone(), large)));
                if stream.write_all(b" ").await.is_err() {
                    return;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_mins(1), blocked).await.unwrap();
    }
}

#[tokio::test]
async fn a_connection_without_a_token_has_a_short_life() {
    let limits = Limits { unauthenticated: Duration::from_millis(50), ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    // `raw` fails when the server does not end the connection.
    let answer = raw(stream, b"GET /metrics HTTP/1.1\r\nhost: loc").await;
    assert_eq!(answer.code, 0);
}

#[tokio::test]
async fn a_connection_with_a_token_has_a_longer_life() {
    let limits = Limits { unauthenticated: Duration::from_millis(50), ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let watch = format!(
        "GET {BASE}/channels?watch=1&timeoutSeconds=1 HTTP/1.1\r\nhost: localhost\r\n\
         connection: close\r\n{VIEWER}\r\n"
    );
    stream.write_all(watch.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    // The last chunk: the watch ended as it wished, and was not cut off.
    assert!(answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
}

#[tokio::test]
async fn a_connection_ends_with_its_lifetime() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let request = format!("GET {BASE}/channels HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n");
    let answer = raw(stream, request.as_bytes()).await;
    assert_eq!(answer.code, 200);
    // Also in the middle of a request.
    let stream = TcpStream::connect(served.address).await.unwrap();
    raw(stream, post(RUNNER).says.as_bytes()).await;
}

#[tokio::test]
async fn a_stream_outlives_the_lifetime_of_connections() {
    let limits = Limits { lifetime: Duration::from_millis(50), ..no_timeouts() };
    let served = Served::new(view(), limits).await;
    let stream = TcpStream::connect(served.address).await.unwrap();
    let watch = format!(
        "GET {BASE}/channels?watch=1&timeoutSeconds=1 HTTP/1.1\r\nhost: localhost\r\n{VIEWER}\r\n"
    );
    let answer = raw(stream, watch.as_bytes()).await;
    assert!(answer.head.contains("chunked"), "{}", answer.head);
    // `dechunked` fails on a body that was cut off.
    assert_eq!(answer.body.lines().count(), 2);
}
