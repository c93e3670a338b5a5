//! What is done with runs over the API: one is ordered, followed, ended, let go.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;

use super::body;
use super::collection::Collection;
use super::connections::{Caller, Connection};
use super::order::{self, Named, ORDER_BYTES_MAX, RunSubmission};
use super::routes::{Api, answer, is_on, no_such};
use super::status::Refusal;
use super::streams;
use super::transcript::TranscriptSource;
use super::turns::Place;
use super::views::StatusDetails;
use super::views::run::{self, Detail};
use crate::controller::request::{Reply, Request};
use crate::controller::view::{RunView, View};
use crate::resource::ResourceName;
use crate::world::run::Phase;

/// For the whole order: twelve megabytes over a bad line.
const ORDER_TIMEOUT: Duration = Duration::from_mins(1);

/// From the core's word that a run is on the disk to the snapshot that shows it: mostly none.
const SHOWN_WITHIN: Duration = Duration::from_secs(2);

/// For a run that has the name: it is in the snapshot, but for one that came a moment ago, and one that has gone.
const TAKEN_WITHIN: Duration = Duration::from_millis(200);

/// Two generated names are the same once in 14 million; so often in a row nobody is that unlucky.
const NAMES_TRIED: usize = 8;

/// `POST …/runs`.
pub(super) async fn submit(
    api: Api,
    who: &Caller,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    // Orders may be large, so few are held at once; others wait their turn, or are told to come back.
    let turn = tokio::time::timeout(ORDER_TIMEOUT, api.orders()).await;
    let turn = turn.ok().and_then(Result::ok).ok_or_else(|| {
        Refusal::too_many("too many large orders are being read; try again later")
    })?;
    let bytes = body::bytes(request, ORDER_BYTES_MAX, ORDER_TIMEOUT).await?;
    let RunSubmission { name: named, labels, spec } = order::decode(&bytes)?;
    drop(bytes);
    for _ in 0..NAMES_TRIED {
        let name = named.name()?;
        tracing::info!(%who, run = %name, channel = %spec.channel_name, "run");
        let request = Request::SubmitRun {
            name: name.clone(),
            labels: labels.clone(),
            spec: Arc::clone(&spec),
        };
        match api.ask(request).await? {
            Reply::Submitted(name) => {
                // What comes now is a wait for the next view.
                drop(turn);
                let (view, run) = shown(&api, &name, SHOWN_WITHIN).await;
                let run = run.unwrap_or_else(|| unseen(name, spec.channel_name.clone(), labels));
                let run = run::run(&run, &api.resource_version(&view), Detail::Whole);
                return Ok((StatusCode::CREATED, Json(run)).into_response());
            }
            Reply::Exists(_) if matches!(named, Named::Generated(_)) => {}
            Reply::Exists(name) => return Err(taken(&api, &name).await),
            other => return answer(other),
        }
    }
    Err(Refusal::already_exists("every name that was made is taken: send another generateName"))
}

/// The run that has the name, for who asks twice. One whose record has gone still has it.
async fn taken(api: &Api, name: &ResourceName) -> Refusal {
    let (view, run) = shown(api, name, TAKEN_WITHIN).await;
    let version = api.resource_version(&view);
    let message = match &run {
        Some(_) => format!("there is a run `{name}` already"),
        None => format!("there was a run `{name}` already, and its record has gone since"),
    };
    let object = run.map(|run| run::run(&run, &version, Detail::Whole));
    let details = StatusDetails {
        name: name.to_string(),
        kind: Collection::Runs.as_str().to_owned(),
        object: object.and_then(|run| serde_json::to_value(run).ok()),
        ..StatusDetails::default()
    };
    Refusal::already_exists(message).about(details)
}

/// The run as a snapshot shows it, and that snapshot.
async fn shown(
    api: &Api,
    name: &ResourceName,
    within: Duration,
) -> (Arc<View>, Option<Arc<RunView>>) {
    let mut snapshots = api.faces().core.snapshots.clone();
    let there = snapshots.until(|view| view.runs.contains_key(name));
    // Late or never: what is said then is said without it.
    let _late = tokio::time::timeout(within, there).await.is_err();
    let view = api.faces().core.snapshot();
    api.shown().remember(&view);
    let run = view.runs.get(name).cloned();
    (view, run)
}

/// A run that is on the disk, and that no snapshot shows yet.
fn unseen(
    name: ResourceName,
    channel: ResourceName,
    labels: std::collections::BTreeMap<String, String>,
) -> Arc<RunView> {
    Arc::new(RunView {
        name,
        channel,
        source: None,
        labels,
        record: None,
        phase: Phase::Pending,
        reason: String::new(),
        message: String::new(),
        ahead: None,
        container: None,
        running_since: None,
        progress: None,
        source_trouble: None,
    })
}

/// Why a run is to end.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CancelBody {
    reason: String,
}

/// `POST …/runs/X/cancel`.
pub(super) async fn cancel(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    body::Json(body): body::Json<CancelBody>,
) -> Result<Response, Refusal> {
    let name = run_name(&name)?;
    tracing::info!(%who, run = %name, reason = body.reason, "cancel");
    let why = if body.reason.is_empty() { format!("asked for by {who}") } else { body.reason };
    answer(api.ask(Request::CancelRun { name, why }).await?)
}

/// `POST …/runs/X/release`.
pub(super) async fn release(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    _body: body::Json<body::Nothing>,
) -> Result<Response, Refusal> {
    let name = run_name(&name)?;
    tracing::info!(%who, run = %name, "release");
    answer(api.ask(Request::ReleaseRun(Some(name))).await?)
}

/// `POST …/operator/release`: all that are held.
pub(super) async fn release_all(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    _body: body::Json<body::Nothing>,
) -> Result<Response, Refusal> {
    tracing::info!(%who, "release of all runs");
    answer(api.ask(Request::ReleaseRun(None)).await?)
}

/// What a stream may be asked with.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct StreamParameters {
    follow: Option<String>,
    attempt: Option<u32>,
    last_event_id: Option<String>,
}

type Parsed = Result<Query<StreamParameters>, axum::extract::rejection::QueryRejection>;

fn parameters(query: Parsed) -> Result<StreamParameters, Refusal> {
    query.map(|Query(it)| it).map_err(|error| Refusal::bad_request(error.body_text()))
}

/// `GET …/runs/X/log`.
pub(super) async fn log(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    query: Parsed,
) -> Result<Response, Refusal> {
    let parameters = parameters(query)?;
    let (name, run) = found(&api, &name)?;
    let source = source(&api)?;
    let numbers: Vec<u32> =
        run.record.iter().flat_map(|record| &record.attempts).map(|it| it.number).collect();
    let attempt = match (parameters.attempt, numbers.last()) {
        (Some(wanted), _) if numbers.contains(&wanted) => wanted,
        (None, Some(last)) => *last,
        (Some(wanted), _) => {
            return Err(Refusal::not_found(format!("runs \"{name}\" has no attempt {wanted}")));
        }
        (None, None) => {
            return Err(Refusal::not_found(format!("runs \"{name}\" was not started yet")));
        }
    };
    let permit = connection.begin_stream()?;
    let follow = is_on(parameters.follow.as_deref());
    let bytes = streams::log(api, &source, &name, attempt, follow, permit);
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson")], Body::from_stream(bytes)).into_response())
}

/// `GET …/runs/X/turns`.
pub(super) async fn turns(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    Path(name): Path<String>,
    query: Parsed,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let parameters = parameters(query)?;
    let (name, run) = found(&api, &name)?;
    let source = source(&api)?;
    let header = headers.get("last-event-id").and_then(|it| it.to_str().ok());
    // A browser sends the header only when it comes back.
    let last = header.or(parameters.last_event_id.as_deref()).filter(|it| !it.is_empty());
    let last = last.map(|id| place_in(&run, id)).transpose()?;
    let permit = connection.begin_stream()?;
    let events = streams::turns(api, &source, &name, last, permit);
    let headers =
        [(header::CONTENT_TYPE, "text/event-stream"), (header::CACHE_CONTROL, "no-store")];
    Ok((headers, Body::from_stream(events)).into_response())
}

fn place_in(run: &RunView, id: &str) -> Result<Place, Refusal> {
    let place =
        Place::parse(id).filter(|place| run.attempt().is_some_and(|last| place.attempt <= last));
    place.ok_or_else(|| Refusal::bad_request(format!("`{id}` is no event's id of this run")))
}

fn run_name(name: &str) -> Result<ResourceName, Refusal> {
    ResourceName::parse(name).map_err(|_no_name| no_such(Collection::Runs, name))
}

fn found(api: &Api, name: &str) -> Result<(ResourceName, Arc<RunView>), Refusal> {
    let name = run_name(name)?;
    let run = api.faces().core.snapshot().runs.get(&name).cloned();
    run.map(|run| (name.clone(), run)).ok_or_else(|| no_such(Collection::Runs, name))
}

fn source(api: &Api) -> Result<Arc<dyn TranscriptSource>, Refusal> {
    let source = api.faces().transcripts.clone();
    source.ok_or_else(|| Refusal::not_implemented("transcripts are not read here"))
}
