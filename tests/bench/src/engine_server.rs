//! The simulator's engine behind a unix socket: what an operator asks of Docker, answered in Docker's words.
//!
//! Only what the operator asks is here, and only as much of each answer as it reads. The state is the simulator's; a
//! container's whole configuration is the body that it was created with, given back. Time is the host's.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use bytes::Bytes;
use chanop::clock::Clock;
use chanop::container::config::{ContainerConfig, NetworkMode};
use chanop::container::{ContainerId, ContainerName, Snapshot, label};
use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Failure};
use chanop::resource::ResourceName;
use chanop_sim::engine::{Engine, Event, Maker, wall};
use futures_util::{StreamExt as _, stream};
use http::{Method, Response, StatusCode};
use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::runtime::Runtime;
use tokio::sync::broadcast;

use crate::Outcome;

/// The image that it has.
pub(crate) const IMAGE: &str = "img-a:1";
/// Events that a slow listener may be behind: those of ten thousand creates and starts.
const BEHIND_MAX: usize = 1 << 16;
/// A create's body is a few kilobytes.
const BODY_BYTES_MAX: usize = 1 << 20;

/// A server, for as long as its runtime lives.
#[derive(Debug)]
pub(crate) struct EngineServer {
    directory: tempfile::TempDir,
}

#[derive(Debug)]
struct Inner {
    engine: Engine,
    /// What each container was asked to be.
    bodies: BTreeMap<ContainerId, Value>,
    volumes: BTreeMap<String, Value>,
    network: Option<Value>,
}

#[derive(Debug)]
struct Shared {
    inner: Mutex<Inner>,
    events: broadcast::Sender<Bytes>,
    instance: ResourceName,
    clock: Clock,
}

impl EngineServer {
    /// Serves an engine that has nothing, to this instance.
    pub(crate) fn start(runtime: &Runtime, instance: &str, clock: Clock) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("chanop-e").tempdir_in("/var/tmp")?;
        let engine = Engine::new();
        let inner =
            Inner { engine, bodies: BTreeMap::new(), volumes: BTreeMap::new(), network: None };
        let shared = Arc::new(Shared {
            inner: Mutex::new(inner),
            events: broadcast::channel(BEHIND_MAX).0,
            instance: ResourceName::parse(instance)?,
            clock,
        });
        let listener = {
            let _within = runtime.enter();
            UnixListener::bind(directory.path().join("docker.sock"))?
        };
        let router = Router::new().fallback(answer).with_state(shared);
        runtime.spawn(async move { axum::serve(listener, router).await });
        Ok(Self { directory })
    }

    /// Where it listens.
    pub(crate) fn socket(&self) -> PathBuf {
        self.directory.path().join("docker.sock")
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is done; whoever listens hears of it.
    fn act<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let since = self.clock.now().wall.duration_since(wall(Duration::ZERO));
        inner.engine.pass(Duration::try_from(since).unwrap_or_default());
        let done = work(&mut inner);
        for event in std::mem::take(&mut inner.engine.news) {
            if let Some(line) = line_of(&event, &self.instance) {
                // Without a listener there is nobody to tell.
                let _ = self.events.send(line);
            }
        }
        done
    }

    fn call(&self, call: &Call) -> Result<Answer, Failure> {
        self.act(|inner| inner.engine.execute(&self.instance, call))
    }
}

async fn answer(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let bytes = to_bytes(body, BODY_BYTES_MAX).await.unwrap_or_default();
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let query = parts.uri.query().unwrap_or_default();
    let words: Vec<&str> = parts.uri.path().split('/').filter(|word| !word.is_empty()).collect();
    let words = match words.as_slice() {
        [version, rest @ ..] if version.starts_with("v1.") => rest,
        words => words,
    };
    match (&parts.method, words) {
        (_, ["_ping"]) => told(StatusCode::OK, "OK"),
        (&Method::GET, ["events"]) => events(&shared, query),
        (&Method::GET, words) => look(&shared, words),
        (_, ["containers", "create"]) => create(&shared, named(query, "name"), body),
        (method, ["containers", id, verb @ ..]) => change(&shared, method, id, verb),
        (_, ["volumes", "create"]) => {
            let name = body.get("Name").and_then(Value::as_str).unwrap_or_default().to_owned();
            let volume = json!({ "Name": name, "Driver": "local", "Mountpoint": "", "Scope": "local",
                "Labels": body.get("Labels"), "Options": {} });
            let kept = shared.act(|inner| inner.volumes.entry(name).or_insert(volume).clone());
            said(StatusCode::CREATED, &kept)
        }
        (_, ["networks", "create"]) => {
            let network = json!({ "Id": "0".repeat(64), "Name": body.get("Name"),
                "Labels": body.get("Labels"), "Options": body.get("Options"), "Created": "2026-01-01T00:00:00Z" });
            let _made = shared.call(&Call::Network);
            shared.act(|inner| inner.network = Some(network.clone()));
            said(StatusCode::CREATED, &network)
        }
        _ => refused(StatusCode::NOT_FOUND, "this engine is simulated, and knows no such thing"),
    }
}

/// What changes nothing.
fn look(shared: &Shared, words: &[&str]) -> Response<Body> {
    match words {
        ["version"] => said(
            StatusCode::OK,
            &json!({ "Version": "20.10.24", "ApiVersion": "1.41", "MinAPIVersion": "1.12" }),
        ),
        ["info"] => said(
            StatusCode::OK,
            &json!({ "ID": "SIMULATED", "Name": "sim", "NCPU": 4, "OSType": "linux", "Architecture": "x86_64" }),
        ),
        ["containers", "json"] => match shared.call(&Call::List) {
            Ok(Answer::Listed(all)) => said(StatusCode::OK, &all.iter().map(listed).collect()),
            other => unexpected(other),
        },
        ["containers", id, "json"] => inspect(shared, id),
        ["volumes", name] => match shared.lock().volumes.get(*name) {
            Some(volume) => said(StatusCode::OK, volume),
            None => refused(StatusCode::NOT_FOUND, "no such volume"),
        },
        ["networks"] => said(StatusCode::OK, &shared.lock().network.iter().cloned().collect()),
        ["images", path @ .., "json"] if !path.is_empty() => {
            said(StatusCode::OK, &json!({ "Id": format!("sha256:{IMAGE}"), "Config": {} }))
        }
        _ => refused(StatusCode::NOT_FOUND, "this engine is simulated, and knows no such thing"),
    }
}

fn inspect(shared: &Shared, reference: &str) -> Response<Body> {
    let call = match (ContainerId::parse(reference), ContainerName::parse(reference)) {
        (Ok(id), _) => Call::Inspect(id),
        (_, Ok(name)) => Call::InspectName(name),
        _ => return refused(StatusCode::NOT_FOUND, "no such container"),
    };
    match shared.call(&call) {
        Ok(Answer::Inspected(found)) => {
            let body = shared.lock().bodies.get(&found.id).cloned().unwrap_or_default();
            said(StatusCode::OK, &inspected(&found, body))
        }
        other => unexpected(other),
    }
}

fn create(shared: &Shared, name: &str, body: Value) -> Response<Body> {
    let Ok(name) = ContainerName::parse(name) else {
        return refused(StatusCode::BAD_REQUEST, "no name");
    };
    let text =
        |pointer| body.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let labels = body.get("Labels").and_then(Value::as_object).into_iter().flatten();
    let labels = labels.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())));
    let config = ContainerConfig {
        image: text("/Image"),
        labels: labels.collect(),
        network: match text("/HostConfig/NetworkMode").as_str() {
            "none" => NetworkMode::None,
            "host" => NetworkMode::Host,
            name => NetworkMode::Named(name.to_owned()),
        },
        ..ContainerConfig::default()
    };
    let made = shared.act(|inner| {
        let made = inner.engine.create(&name, &config, Maker::Operator);
        if let Ok(Answer::Created(id)) = &made {
            inner.bodies.insert(id.clone(), body);
        }
        made
    });
    match made {
        Ok(Answer::Created(id)) => said(StatusCode::CREATED, &json!({ "Id": id, "Warnings": [] })),
        other => unexpected(other),
    }
}

fn change(shared: &Shared, method: &Method, id: &str, verb: &[&str]) -> Response<Body> {
    let Ok(id) = ContainerId::parse(id) else {
        return refused(StatusCode::NOT_FOUND, "no such container");
    };
    let call = match (method, verb) {
        (&Method::POST, ["start"]) => Call::Start { id, target: None },
        (&Method::POST, ["stop"]) => Call::Stop { id, grace_seconds: 10 },
        (&Method::DELETE, []) => Call::Remove { id, force: true, place: None },
        (&Method::PUT, ["archive"]) => return told(StatusCode::OK, ""),
        _ => return refused(StatusCode::NOT_FOUND, "this engine is simulated, and cannot do that"),
    };
    match shared.call(&call) {
        Ok(_) => told(StatusCode::NO_CONTENT, ""),
        other => unexpected(other),
    }
}

/// The ring since then, and what comes.
fn events(shared: &Shared, query: &str) -> Response<Body> {
    let since = named(query, "since").parse::<f64>().unwrap_or(0.0);
    #[expect(clippy::cast_possible_truncation, reason = "seconds of this century")]
    let since = Timestamp::from_second(since as i64).unwrap_or_default();
    let inner = shared.lock();
    let listener = shared.events.subscribe();
    let past: Vec<Bytes> = inner
        .engine
        .ring
        .iter()
        .filter(|event| event.at >= since)
        .filter_map(|event| line_of(event, &shared.instance))
        .collect();
    drop(inner);
    let future = stream::unfold(listener, |mut listener| async move {
        listener.recv().await.ok().map(|line| (line, listener))
    });
    let lines = stream::iter(past).chain(future).map(Ok::<_, Infallible>);
    Response::new(Body::from_stream(lines))
}

fn line_of(event: &Event, instance: &ResourceName) -> Option<Bytes> {
    let bell = event.doorbell.as_ref()?;
    let mut attributes = BTreeMap::from([(label::INSTANCE, instance.to_string())]);
    // Shells alone: this engine runs nothing else.
    attributes.extend(bell.object.as_ref().map(|object| (label::CHANNEL, object.name.to_string())));
    attributes.insert(label::KIND, "shell".to_owned());
    attributes.extend(bell.exit_code.map(|code| ("exitCode", code.to_string())));
    let line = json!({ "Type": "container", "Action": bell.action, "timeNano": bell.time_nano,
        "Actor": { "ID": bell.id, "Attributes": attributes } });
    Some(Bytes::from(format!("{line}\n")))
}

fn networks(found: &Snapshot) -> Value {
    let names = found.networks.iter().flatten().map(|name| (name.clone(), json!({})));
    json!({ "Networks": names.collect::<serde_json::Map<String, Value>>() })
}

fn listed(found: &Snapshot) -> Value {
    json!({ "Id": found.id, "Names": [format!("/{}", found.name)], "Labels": found.labels,
        "State": found.state.as_str(), "Created": found.created.as_second(), "ImageID": found.image_id,
        "NetworkSettings": networks(found) })
}

fn inspected(found: &Snapshot, mut body: Value) -> Value {
    let host = body.as_object_mut().and_then(|body| body.remove("HostConfig"));
    let time = |time: Option<Timestamp>| {
        time.map_or("0001-01-01T00:00:00Z".to_owned(), |time| time.to_string())
    };
    let details = found.details.as_deref();
    let state = json!({ "Status": found.state.as_str(),
        "Pid": details.map(|details| details.pid),
        "ExitCode": details.map(|details| details.exit_code),
        "Error": details.map(|details| details.error.as_str()),
        "StartedAt": time(details.and_then(|details| details.started_at)),
        "FinishedAt": time(details.and_then(|details| details.finished_at)) });
    json!({ "Id": found.id, "Name": format!("/{}", found.name), "Created": found.created.to_string(),
        "Image": found.image_id, "State": state, "Config": body, "HostConfig": host,
        "NetworkSettings": networks(found) })
}

/// A value of the query, as it stands there: none that is asked for is escaped.
fn named<'a>(query: &'a str, key: &str) -> &'a str {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(name, _)| *name == key).map(|(_, value)| value).next().unwrap_or_default()
}

fn unexpected(answer: Result<Answer, Failure>) -> Response<Body> {
    match answer {
        Ok(other) => refused(StatusCode::INTERNAL_SERVER_ERROR, &format!("{other:?}")),
        Err(failure) => {
            let status = match failure {
                Failure::NotFound(_) => StatusCode::NOT_FOUND,
                Failure::NameTaken(_) | Failure::Conflict(_) => StatusCode::CONFLICT,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            };
            refused(status, failure.message())
        }
    }
}

fn refused(status: StatusCode, message: &str) -> Response<Body> {
    said(status, &json!({ "message": message }))
}

fn said(status: StatusCode, value: &Value) -> Response<Body> {
    told(status, value.to_string())
}

fn told(status: StatusCode, text: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(text.into());
    *response.status_mut() = status;
    response
}
