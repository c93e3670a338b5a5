//! The HTTP faces on a real socket and a real port: shapes, roles, limits, and how streams end.

mod runs;
mod starved;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use chanop::http::{BASE, Limits};
use chanop::resource::condition::Reason;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::{TcpStream, UnixStream};

use crate::faces::{Served, channel, effective, view};

/// A response, whole.
struct Response {
    code: u16,
    head: String,
    body: String,
}

impl Response {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

const WAIT: Duration = Duration::from_secs(20);

/// Sends `request` as it is and reads until the server ends the connection.
async fn raw(mut stream: impl AsyncRead + AsyncWrite + Unpin, request: &[u8]) -> Response {
    stream.write_all(request).await.unwrap();
    let mut bytes = vec![];
    tokio::time::timeout(WAIT, stream.read_to_end(&mut bytes)).await.unwrap().unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let code = head.split(' ').nth(1).and_then(|it| it.parse().ok()).unwrap_or(0);
    let body = if head.contains("chunked") { dechunked(body) } else { body.to_owned() };
    Response { code, head: head.to_ascii_lowercase(), body }
}

fn dechunked(body: &str) -> String {
    let mut rest = body;
    let mut whole = String::new();
    while let Some((size, tail)) = rest.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        whole.push_str(&tail[..size]);
        rest = tail[size..].trim_start_matches("\r\n");
    }
    whole
}

fn request(method: &str, path: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}content-length: {length}\r\n\r\n{body}"
    )
}

async fn on_socket(
    served: &Served,
    method: &str,
    path: &str,
    headers: &str,
    body: &str,
) -> Response {
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    raw(stream, request(method, path, headers, body).as_bytes()).await
}

async fn on_tcp(served: &Served, method: &str, path: &str, headers: &str) -> Response {
    let stream = TcpStream::connect(served.address).await.unwrap();
    raw(stream, request(method, path, headers, "").as_bytes()).await
}

async fn get(served: &Served, path: &str) -> Response {
    on_socket(served, "GET", &format!("{BASE}{path}"), "", "").await
}

async fn post(served: &Served, path: &str, body: &str) -> Response {
    let json = "content-type: application/json\r\n";
    on_socket(served, "POST", &format!("{BASE}{path}"), json, body).await
}

async fn served() -> Served {
    Served::new(view(), Limits::default()).await
}

#[tokio::test]
async fn a_list_and_one_of_it_have_the_shapes_of_kubernetes() {
    let served = served().await;
    let list = get(&served, "/channels").await.json();
    assert_eq!(list["kind"], "ChannelList");
    assert_eq!(list["apiVersion"], "chanop.dev/v1alpha1");
    let names: Vec<_> =
        list["items"].as_array().unwrap().iter().map(|it| &it["metadata"]["name"]).collect();
    assert_eq!(names, ["ledger", "web"]);

    let web = get(&served, "/channels/web").await.json();
    assert_eq!(web["kind"], "Channel");
    assert_eq!(web["metadata"]["annotations"]["chanop.dev/source"], "team/web.yaml:1");
    assert_eq!(web["metadata"]["resourceVersion"], list["metadata"]["resourceVersion"]);
    assert_eq!(web["status"]["conditions"][0]["type"], "Ready");
    assert_eq!(web["status"]["conditions"][0]["reason"], "Running");
    assert_eq!(web["status"]["container"]["name"], "chanop_default_web");
    assert_eq!(web["status"]["pending"]["cause"], "image node:20 → node:22");
    assert_eq!(web["status"].get("origins"), None, "only when asked for");

    let classes = get(&served, "/channelclasses").await.json();
    assert_eq!(classes["items"][0]["metadata"]["name"], "default");
    let events = get(&served, "/events").await.json();
    assert_eq!(events["items"][0]["regarding"], "channel/ledger");
    assert_eq!(events["items"][0]["type"], "Warning");
}

#[tokio::test]
async fn what_is_shown_under_spec_can_be_put_back_into_a_file() {
    let all = r#"
  suspend: true
  hostSelector: {disk: fast}
  workspace: {path: ~/src/x, create: true}
  home: {type: Tmpfs}
  image: {ref: "node:22", pullPolicy: Never}
  user: "1000:1001"
  env:
  - {name: A, value: b}
  - {name: GH_TOKEN, valueFrom: {secretKeyRef: {name: github, key: token}}}
  mounts:
  - {type: bind, source: ~/data, target: ~/data, readOnly: false, optional: true}
  - {type: volume, source: cargo-cache, target: ~/.cargo}
  - {type: tmpfs, target: /scratch, size: 1Gi, exec: true}
  files: [{source: ~/.npmrc, target: ~/.npmrc, optional: true}]
  ports: [{containerPort: 3000, hostPort: 3001}]
  resources: {limits: {cpu: 1500m, memory: 4Gi, pids: 99}, shmSize: 256Mi}
  securityContext:
    supplementalGroups: [7]
    capabilities: {drop: [ALL], add: [CHOWN]}
  runtimeClassName: runsc
  network: {mode: Named, name: proxy}
  agent:
    model: sonnet
    credentials: {secret: anthropic}
    mcpServers: {db: {command: npx, args: [-y, some-server], env: {}}}
    workspaceSettings: Full
  shell: {enabled: true, command: [sleep, "1"]}
  runs: {maxConcurrent: 2, queue: {maxAge: 90m}, maxBudgetUSD: 1.5}
  updateStrategy: {type: Recreate, maxWait: 36h}
  deletion: {runs: Cancel, keepStopped: 90s}"#;
    for text in [all, "  workspace: {path: ~/src/x}"] {
        let before = effective(text);
        let mut view = view();
        let mut shown = channel("web", Reason::Running);
        shown.effective = Some(Arc::new(before.clone()));
        view.channels.insert(shown.name.clone(), Arc::new(shown));
        let served = Served::new(view, Limits::default()).await;
        let web = get(&served, "/channels/web").await.json();
        // JSON is YAML.
        let after = effective(&format!("  {}", web["spec"]));
        assert_eq!(after, before, "{:#}", web["spec"]);
    }
}

#[tokio::test]
async fn what_is_not_there_is_said_in_a_status() {
    let served = served().await;
    for (path, code, reason) in [
        ("/channels/nope", 404, "NotFound"),
        ("/pods", 404, "NotFound"),
        ("/runs/nope", 404, "NotFound"),
        ("/runs/nope/turns", 404, "NotFound"),
        ("/schedules/x", 501, "NotImplemented"),
        ("/channels?labelSelector=a%20b", 400, "BadRequest"),
        ("/channels?fieldSelector=spec.x%3D1", 400, "BadRequest"),
        ("/channels?watch=true&resourceVersion=12", 410, "Expired"),
        ("/a/b/c/d", 404, "NotFound"),
    ] {
        let response = get(&served, path).await;
        let status = response.json();
        assert_eq!((response.code, status["reason"].as_str().unwrap()), (code, reason), "{path}");
        assert_eq!((&status["kind"], &status["status"]), (&json!("Status"), &json!("Failure")));
        assert!(!status["message"].as_str().unwrap().is_empty());
    }
}

#[tokio::test]
async fn labels_select() {
    let served = served().await;
    for (selector, expected) in [
        ("team%3Dteam-web", vec!["web"]),
        ("team!%3Dteam-web", vec!["ledger"]),
        ("team%20in%20(team-web,team-ledger)", vec!["ledger", "web"]),
        ("!team", vec![]),
    ] {
        let list = get(&served, &format!("/channels?labelSelector={selector}")).await.json();
        let names: Vec<_> =
            list["items"].as_array().unwrap().iter().map(|it| &it["metadata"]["name"]).collect();
        assert_eq!(names, expected, "{selector}");
    }
}

#[tokio::test]
async fn a_table_has_the_documented_columns() {
    let served = served().await;
    let accept = "accept: application/json;as=Table;v=v1;g=meta.k8s.io,application/json\r\n";
    let path = format!("{BASE}/channels");
    let table = on_socket(&served, "GET", &path, accept, "").await.json();
    assert_eq!(table["kind"], "Table");
    let columns: Vec<_> = table["columnDefinitions"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|it| it["priority"] == 0)
        .map(|it| it["name"].as_str().unwrap())
        .collect();
    let expected = "NAME READY STATUS RUNS LAST-RUN COST-24H NEXT PENDING AGE";
    assert_eq!(columns.join(" "), expected);
    let cells: Vec<_> = table["rows"][1]["cells"].as_array().unwrap().iter().take(9).collect();
    assert_eq!(cells, ["web", "True", "Running", "0/1", "-", "-", "-", "image", "3d"]);
    assert_eq!(table["rows"][1]["object"]["metadata"]["name"], "web");
}

#[tokio::test]
async fn objects_are_changed_in_files_and_the_answer_says_so() {
    let served = served().await;
    for (method, path) in [
        ("POST", "/channels"),
        ("PUT", "/channels/web"),
        ("PATCH", "/channels/web"),
        ("DELETE", "/channels/web"),
        ("DELETE", "/channelclasses/default"),
    ] {
        let response = on_socket(&served, method, &format!("{BASE}{path}"), "", "").await;
        assert_eq!(response.code, 405, "{method} {path}");
        assert!(response.head.contains("\r\nallow: get"), "{}", response.head);
        let message = response.json()["message"].as_str().unwrap().to_owned();
        assert!(message.contains("file"), "{message}");
    }
    assert_eq!(get(&served, "/operator/prune").await.code, 405);
    assert_eq!(post(&served, "/operator/plan", "").await.code, 405);
}

#[tokio::test]
async fn verbs_reach_the_core_and_its_word_comes_back() {
    let served = served().await;
    let ensured = post(&served, "/channels/web/ensure", "").await.json();
    assert_eq!(ensured["engineEndpoint"], "unix:///var/run/docker.sock");
    assert_eq!(ensured["engineId"], "ENGINE");
    assert_eq!(ensured["containerId"].as_str().unwrap().len(), 64);
    assert_eq!(post(&served, "/channels/nope/ensure", "").await.code, 404);

    let called = post(&served, "/channels/web/agent", r#"{"session": "latest"}"#).await.json();
    assert_eq!(called["containerId"], ensured["containerId"]);
    let argv = called["argv"][0].as_str().unwrap();
    assert!(argv.starts_with("web ") && argv.ends_with(" Latest"), "{argv}");
    assert_eq!((&called["env"]["A"], &called["notes"][0]), (&"1".into(), &"a note".into()));
    for (path, body, code) in [
        ("/channels/nope/agent", "{}", 404),
        ("/channels/web/agent", r#"{"session": "newest"}"#, 400),
        ("/channels/web/agent", r#"{"fork": true}"#, 400),
        ("/channels/web/agent", r#"{"prompt": "x"}"#, 400),
        ("/channels/web/agent", r#"{"session": "latest", "fork": true}"#, 409),
    ] {
        assert_eq!(post(&served, path, body).await.code, code, "{path} {body}");
    }

    let body = r#"{"durationSeconds": 60, "reason": "because"}"#;
    let suspended = post(&served, "/channels/web/suspend", body).await.json();
    assert_eq!(suspended["status"], "Success");
    assert_eq!(suspended["message"], "channel/web suspended for Some(60s): because");
    assert_eq!(post(&served, "/channels/web/resume", "").await.code, 409);
    let everything = post(&served, "/operator/reconcile", "").await.json();
    assert_eq!(everything["message"], "looking at everything");
    let one = post(&served, "/operator/reconcile", r#"{"object": "channel/web"}"#).await.json();
    assert_eq!(one["message"], "looking at channel/web");
    assert_eq!(post(&served, "/operator/reconcile", r#"{"object": "web"}"#).await.code, 400);
    assert_eq!(post(&served, "/operator/prune", "{}").await.code, 400, "a revision must be named");
    let plan = get(&served, "/operator/plan").await.json();
    assert_eq!(plan["lines"][0]["sign"], "+");
}

#[tokio::test]
async fn a_body_is_json_and_small_and_nothing_else() {
    let served = served().await;
    let path = format!("{BASE}/channels/web/suspend");
    let text = "content-type: text/plain\r\n";
    assert_eq!(on_socket(&served, "POST", &path, text, "{}").await.code, 415);
    assert_eq!(on_socket(&served, "POST", &path, "", "{}").await.code, 415);
    let misspelt = post(&served, "/channels/web/suspend", r#"{"reson": "x"}"#).await;
    assert_eq!(misspelt.code, 400);
    assert!(misspelt.body.contains("reson"), "{}", misspelt.body);
    let large = format!(r#"{{"reason": "{}"}}"#, "x".repeat(1024 * 1024));
    assert_eq!(post(&served, "/channels/web/suspend", &large).await.code, 413);
}

/// The lines of an open watch.
struct Watch<S>(BufReader<S>);

impl<S: AsyncRead + AsyncWrite + Unpin> Watch<S> {
    async fn open(mut stream: S, path: &str, headers: &str) -> Self {
        let request = format!(
            "GET {BASE}{path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut watch = Self(BufReader::new(stream));
        assert!(watch.line().await.unwrap().starts_with("HTTP/1.1 200"));
        watch
    }

    async fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let length =
            tokio::time::timeout(WAIT, self.0.read_line(&mut line)).await.unwrap().unwrap();
        (length > 0).then_some(line)
    }

    /// The next event: what and whom. Heads and chunk sizes are skipped.
    async fn event(&mut self) -> Option<(String, String)> {
        loop {
            let line = self.line().await?;
            if let Ok(event @ Value::Object(_)) = serde_json::from_str::<Value>(&line) {
                let text =
                    |pointer: &str| event.pointer(pointer).unwrap().as_str().unwrap().to_owned();
                return Some((text("/type"), text("/object/metadata/name")));
            }
        }
    }
}

fn event(kind: &str, name: &str) -> (String, String) {
    (kind.to_owned(), name.to_owned())
}

#[tokio::test]
async fn a_watch_tells_what_is_and_what_changes_and_ends_with_the_operator() {
    let served = served().await;
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let mut watch = Watch::open(stream, "/channels?watch=true", "").await;
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "ledger"));
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "web"));

    served.publish(|view| {
        let shop = Arc::new(channel("shop", Reason::Creating));
        view.channels.insert(shop.name.clone(), shop);
    });
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "shop"));
    served.publish(|view| {
        let shop = Arc::new(channel("shop", Reason::Running));
        view.channels.insert(shop.name.clone(), shop);
    });
    assert_eq!(watch.event().await.unwrap(), event("MODIFIED", "shop"));
    served.publish(|view| view.channels.retain(|name, _| name.as_str() != "ledger"));
    assert_eq!(watch.event().await.unwrap(), event("DELETED", "ledger"));

    assert!(served.stop().await, "open streams keep the server from ending");
    assert_eq!(watch.event().await, None);
}

#[tokio::test]
async fn a_watch_goes_on_where_a_list_ended() {
    let served = served().await;
    let list = get(&served, "/channels").await.json();
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    served.publish(|view| view.channels.retain(|name, _| name.as_str() != "web"));
    served.publish(|_| {});
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let path = format!("/channels?watch=1&resourceVersion={version}&timeoutSeconds=1");
    let mut watch = Watch::open(stream, &path, "").await;
    assert_eq!(watch.event().await.unwrap(), event("DELETED", "web"));
    // Nothing else is told, and the asked-for time ends it.
    let end = watch.event().await;
    assert_eq!(end, None);
}

#[tokio::test]
async fn what_leaves_a_selection_is_deleted_from_it() {
    let served = served().await;
    let stream = UnixStream::connect(&served.socket).await.unwrap();
    let path = "/channels?watch=true&labelSelector=team%3Dteam-web";
    let mut watch = Watch::open(stream, path, "").await;
    assert_eq!(watch.event().await.unwrap(), event("ADDED", "web"));
    served.publish(|view| {
        let mut web = channel("web", Reason::Running);
        web.labels.clear();
        view.channels.insert(web.name.clone(), Arc::new(web));
    });
    assert_eq!(watch.event().await.unwrap(), event("DELETED", "web"));
}

#[tokio::test]
async fn over_tcp_a_token_decides_and_metrics_are_open() {
    let served = served().await;
    let bearer = |token: &str| format!("authorization: Bearer {token}\r\n");
    for path in ["/metrics", "/healthz", "/livez", "/readyz"] {
        assert_eq!(on_tcp(&served, "GET", path, "").await.code, 200, "{path}");
    }
    let channels = format!("{BASE}/channels");
    let ensure = format!("{BASE}/channels/web/ensure");
    let agent = format!("{BASE}/channels/web/agent");
    let prune = format!("{BASE}/operator/reconcile");
    for (method, path, token, code) in [
        ("GET", channels.as_str(), None, 401),
        ("GET", "/apis", None, 401),
        ("GET", "/metrics/../apis", None, 401),
        ("GET", &channels, Some("wrong"), 401),
        ("GET", &channels, Some("viewer"), 200),
        ("POST", &ensure, Some("viewer"), 403),
        ("POST", &ensure, Some("runner"), 200),
        ("POST", &agent, Some("runner"), 403),
        ("POST", &prune, Some("runner"), 403),
        ("POST", &prune, Some("admin"), 200),
    ] {
        let headers = token.map(bearer).unwrap_or_default();
        let response = on_tcp(&served, method, path, &headers).await;
        assert_eq!(response.code, code, "{method} {path} {token:?}: {}", response.body);
        assert_eq!(response.head.contains("www-authenticate: bearer"), code == 401);
        assert!(!response.head.contains("access-control-"), "{}", response.head);
    }
}

#[tokio::test]
async fn metrics_need_a_token_when_the_operator_says_so() {
    let served = Served::with_metrics_auth(view()).await;
    let channels = format!("{BASE}/channels");
    for (path, token, code) in [
        ("/metrics", None, 401),
        ("/metrics", Some("wrong"), 401),
        ("/metrics", Some("metrics"), 200),
        ("/metrics", Some("viewer"), 200),
        ("/metrics", Some("admin"), 200),
        ("/readyz", None, 200),
        ("/version", Some("metrics"), 403),
        (&channels, Some("metrics"), 403),
    ] {
        let headers = token.map(|token| format!("authorization: Bearer {token}\r\n"));
        let response = on_tcp(&served, "GET", path, &headers.unwrap_or_default()).await;
        assert_eq!(response.code, code, "{path} {token:?}: {}", response.body);
    }
    let near = on_socket(&served, "GET", "/metrics", "", "").await;
    assert_eq!(near.code, 200, "the socket needs none");
}

#[tokio::test]
async fn a_name_that_was_rebound_gets_nothing_over_tcp() {
    let served = served().await;
    for (host, code) in [("evil.example", 403), ("127.0.0.1", 200), ("localhost:1", 200)] {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        assert_eq!(raw(stream, request.as_bytes()).await.code, code, "{host}");
    }
}

#[tokio::test]
async fn readiness_says_why_on_the_socket_and_only_that_over_tcp() {
    let served = served().await;
    served
        .publish(|view| view.specs.unavailable = Some("/etc/specs: permission denied".to_owned()));
    let near = on_socket(&served, "GET", "/readyz", "", "").await;
    assert_eq!(near.code, 503);
    assert!(near.body.contains("permission denied"), "{}", near.body);
    let far = on_tcp(&served, "GET", "/readyz?verbose", "").await;
    assert_eq!(far.code, 503);
    assert!(far.body.contains("[-]specs failed: reason withheld"), "{}", far.body);
    assert_eq!(on_tcp(&served, "GET", "/livez", "").await.code, 200);
}

#[tokio::test]
async fn who_says_nothing_or_half_a_header_is_cut_off() {
    let quick = Duration::from_millis(300);
    let limits = Limits { first_byte: quick, header: quick, ..Limits::default() };
    let served = Served::new(view(), limits).await;
    for said in ["", "GET /metrics HTTP/1.1\r\nhost: loc"] {
        let stream = TcpStream::connect(served.address).await.unwrap();
        // `raw` fails when the server does not end the connection.
        let response = raw(stream, said.as_bytes()).await;
        assert!(matches!(response.code, 0 | 408), "{said:?}: {}", response.code);
    }
    let mut idle = TcpStream::connect(served.address).await.unwrap();
    let request = format!(
        "GET {BASE}/channels HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer viewer\r\n\r\n"
    );
    idle.write_all(request.as_bytes()).await.unwrap();
    let mut bytes = vec![];
    tokio::time::timeout(WAIT, idle.read_to_end(&mut bytes)).await.unwrap().unwrap();
    assert!(bytes.starts_with(b"HTTP/1.1 200"));
}

#[tokio::test]
async fn streams_have_a_quota_that_leaves_room_for_metrics() {
    let limits = Limits { requests: 3, streams: 2, ..Limits::default() };
    let served = Served::new(view(), limits).await;
    let viewer = "authorization: Bearer viewer\r\n";
    let mut open = vec![];
    for _ in 0..2 {
        let stream = TcpStream::connect(served.address).await.unwrap();
        open.push(Watch::open(stream, "/channels?watch=true", viewer).await);
    }
    let third = on_tcp(&served, "GET", &format!("{BASE}/channels?watch=true"), viewer).await;
    assert_eq!((third.code, third.head.contains("retry-after")), (429, true));
    assert_eq!(on_tcp(&served, "GET", "/metrics", "").await.code, 200);
    // A watch that ends gives its place back.
    drop(open.pop());
    let path = "/channels?watch=true";
    let stream = TcpStream::connect(served.address).await.unwrap();
    served.publish(|view| view.channels.clear());
    drop(stream);
    for _ in 0..100 {
        let stream = TcpStream::connect(served.address).await.unwrap();
        let request = format!(
            "GET {BASE}{path}&timeoutSeconds=0 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{viewer}\r\n"
        );
        if raw(stream, request.as_bytes()).await.code == 200 {
            return;
        }
    }
    panic!("the place of an ended watch was not given back");
}

#[tokio::test]
async fn kubernetes_clients_find_the_group_and_its_kinds() {
    let served = served().await;
    let groups = on_socket(&served, "GET", "/apis", "", "").await.json();
    assert_eq!(groups["groups"][0]["preferredVersion"]["groupVersion"], "chanop.dev/v1alpha1");
    let kinds = get(&served, "").await.json();
    let channels = &kinds["resources"][0];
    assert_eq!((&channels["name"], &channels["namespaced"]), (&json!("channels"), &json!(false)));
}

#[tokio::test]
async fn the_metrics_pass_the_fields_own_checker() {
    let served = served().await;
    let metrics = on_tcp(&served, "GET", "/metrics", "").await;
    assert!(metrics.head.contains("content-type: text/plain; version=0.0.4"), "{}", metrics.head);
    for sample in [
        "chanop_channels{ready=\"true\"} 1",
        "chanop_channels_running 1",
        "chanop_channel_status{reason=\"PolicyViolation\"} 1",
        "chanop_spec_revision_info{revision=\"4f1c2aa\"} 1",
        "chanop_prune_held 1",
        "chanop_engine_up 1",
        "chanop_events_total{action=\"die\"} 12",
    ] {
        assert!(metrics.body.lines().any(|line| line == sample), "{sample}\n{}", metrics.body);
    }

    #[expect(clippy::disallowed_methods, reason = "promtool is the judge of what Prometheus takes")]
    let mut promtool = Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool is missing: `make test` installs it");
    promtool.stdin.take().unwrap().write_all(metrics.body.as_bytes()).unwrap();
    let verdict = promtool.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&verdict.stderr) + String::from_utf8_lossy(&verdict.stdout);
    assert!(verdict.status.success() && said.trim().is_empty(), "{said}");
}
