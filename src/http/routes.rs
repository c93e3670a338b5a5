//! The routes: from a path and a verb to the snapshot or the core's mailbox.

use std::fmt::Display;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, Request as HttpRequest, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use axum::{Extension, Json, Router, middleware};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use jiff::Timestamp;
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

use super::BASE;
use super::agent::{AgentBody, AgentCall, AgentOrder, NoCall};
use super::body;
use super::collection::{Collection, Shape};
use super::connections::{Caller, Connection, StreamPermit};
use super::discovery;
use super::failed_tokens::FailedTokens;
use super::guard::{self, Guard};
use super::health;
use super::runs;
use super::selector::Selector;
use super::server::{Faces, Limits};
use super::status::Refusal;
use super::table::Table;
use super::views::{AgentStart, Ensured, List, ListMetadata, Plan, Status, operator};
use super::watch::{self, Selection, Shown};
use crate::controller::request::{Reply, Request};
use crate::controller::view::View;
use crate::metrics;
use crate::resource::meta::API_VERSION;
use crate::resource::{Kind, ObjectRef, ResourceName};

/// For a shell to be made and started: an image's first container on a busy disk, and its stop before that.
const ENSURE_PATIENCE: Duration = Duration::from_mins(2);

/// For everything else that is asked: the core answers from what it knows, after a commit at most.
const ASK_PATIENCE: Duration = Duration::from_secs(30);

/// Orders of runs that are read at once on one door: at most a hundred megabytes with what is made of them.
const ORDERS_MAX: usize = 4;

/// Far below every interval of scraping.
const SCRAPE_MAX_AGE: Duration = Duration::from_millis(100);

/// The metrics' text as of one snapshot.
#[derive(Debug)]
struct Scraped {
    view: Arc<View>,
    at: Duration,
    text: Bytes,
}

/// What handlers share.
#[derive(Debug, Clone)]
pub(super) struct Api(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    faces: Faces,
    guard: Guard,
    shown: Shown,
    limits: Limits,
    orders: Semaphore,
    failed_tokens: FailedTokens,
    scraped: Mutex<Option<Scraped>>,
    stop: CancellationToken,
}

impl Api {
    pub(super) fn new(faces: Faces, guard: Guard, limits: Limits, stop: CancellationToken) -> Self {
        let orders = Semaphore::new(ORDERS_MAX);
        let failed_tokens = FailedTokens::new(limits.failed_token);
        let shown = Shown::default();
        Self(Arc::new(Inner {
            faces,
            guard,
            shown,
            limits,
            orders,
            failed_tokens,
            scraped: Mutex::default(),
            stop,
        }))
    }

    pub(super) fn faces(&self) -> &Faces {
        &self.0.faces
    }

    pub(super) fn guard(&self) -> &Guard {
        &self.0.guard
    }

    pub(super) fn failed_tokens(&self) -> &FailedTokens {
        &self.0.failed_tokens
    }

    pub(super) fn shown(&self) -> &Shown {
        &self.0.shown
    }

    /// How long a stream of events may be silent.
    pub(super) fn silence(&self) -> Duration {
        self.0.limits.silence
    }

    pub(super) fn now(&self) -> Timestamp {
        self.0.faces.clock.now().wall
    }

    /// The metrics' text. Scrapes of the same snapshot within [`SCRAPE_MAX_AGE`] share it: a thousand at once, which anyone may
    /// send, then cost one rendering.
    fn scrape(&self) -> Bytes {
        let (view, now) = (self.0.faces.core.snapshot(), self.0.faces.clock.now());
        // Nothing is awaited while it is held, and a text is whole or not there.
        let mut last = self.0.scraped.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = &*last
            && Arc::ptr_eq(&last.view, &view)
            && now.mono.saturating_sub(last.at) < SCRAPE_MAX_AGE
        {
            return last.text.clone();
        }
        let text = Bytes::from(self.0.faces.metrics.scrape(&view, now.wall));
        *last = Some(Scraped { view, at: now.mono, text: text.clone() });
        text
    }

    pub(super) async fn stopped(&self) {
        self.0.stop.cancelled().await;
    }

    /// One's turn to have an order read.
    pub(super) async fn orders(&self) -> Result<SemaphorePermit<'_>, tokio::sync::AcquireError> {
        self.0.orders.acquire().await
    }

    /// The snapshot's version, above every version of an earlier process: snapshots are counted from nought in each.
    pub(super) fn resource_version(&self, view: &View) -> String {
        self.base_version().saturating_add(view.version).to_string()
    }

    fn base_version(&self) -> u64 {
        // A million snapshots a second are not reached; 2^53, beyond which JavaScript's numbers blur, is not either.
        u64::try_from(self.0.faces.started.as_second()).unwrap_or(0) << 20
    }

    pub(super) async fn ask(&self, request: Request) -> Result<Reply, Refusal> {
        Ok(self.0.faces.core.ask(request, ASK_PATIENCE).await?)
    }
}

/// Every route of one door.
pub(super) fn router(api: Api) -> Router {
    let at = |path: &str| format!("{BASE}{path}");
    Router::new()
        .route("/metrics", read(get(scrape)))
        .route("/healthz", read(get(async || health::live())))
        .route("/livez", read(get(async || health::live())))
        .route("/readyz", read(get(readyz)))
        .route("/version", read(get(discovery::version)))
        .route("/api", read(get(discovery::core_versions)))
        .route("/apis", read(get(discovery::groups)))
        .route("/apis/chanop.dev", read(get(discovery::group)))
        .route(BASE, read(get(discovery::resources)))
        .route(&at("/operator/status"), read(get(operator_status)))
        .route(&at("/operator/plan"), read(get(plan)))
        .route(&at("/operator/reconcile"), verb(post(reconcile)))
        .route(&at("/operator/prune"), verb(post(prune)))
        .route(&at("/channels/{name}/ensure"), verb(post(ensure)))
        .route(&at("/channels/{name}/agent"), verb(post(agent)))
        .route(&at("/channels/{name}/suspend"), verb(post(suspend)))
        .route(&at("/channels/{name}/resume"), verb(post(resume)))
        .route(&at("/operator/release"), verb(post(runs::release_all)))
        .route(&at("/runs/{name}/log"), read(get(runs::log)))
        .route(&at("/runs/{name}/turns"), read(get(runs::turns)))
        .route(&at("/runs/{name}/cancel"), verb(post(runs::cancel)))
        .route(&at("/runs/{name}/release"), verb(post(runs::release)))
        .route(&at("/{collection}"), get(list_or_watch).post(create).fallback(written_in_files))
        .route(&at("/{collection}/{name}"), get(get_one).fallback(written_in_files))
        .fallback(async || Refusal::not_found(format!("there is nothing here; see {BASE}")))
        .layer(middleware::from_fn_with_state(api.clone(), guard::check))
        .with_state(api)
}

fn read(route: MethodRouter<Api>) -> MethodRouter<Api> {
    route.fallback(async || Refusal::method_not_allowed("this can only be read: use GET"))
}

fn verb(route: MethodRouter<Api>) -> MethodRouter<Api> {
    route.fallback(async || Refusal::method_not_allowed("this is something to do: use POST"))
}

/// Runs are all that can be made over the API.
async fn create(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(collection): Path<String>,
    request: HttpRequest,
) -> Result<Response, Refusal> {
    if Collection::parse(&collection) != Some(Collection::Runs) {
        let refusal = not_made_here(&collection, None);
        return Ok(([(header::ALLOW, "GET,HEAD")], refusal).into_response());
    }
    runs::submit(api, &who, request).await
}

/// Objects come from files; the answer says what to do instead.
async fn written_in_files(Path(path): Path<Vec<(String, String)>>) -> Refusal {
    let mut parts = path.iter().map(|(_, value)| value.as_str());
    let collection = parts.next().unwrap_or_default();
    not_made_here(collection, parts.next())
}

fn not_made_here(collection: &str, name: Option<&str>) -> Refusal {
    match (Collection::parse(collection), name) {
        (Some(Collection::Runs), Some(name)) => Refusal::method_not_allowed(format!(
            "a run is ordered once and stays as it is: end it with POST {BASE}/runs/{name}/cancel; its record goes by \
             the channel's runs.history"
        )),
        (Some(Collection::Runs), None) => {
            Refusal::method_not_allowed("runs are listed with GET and ordered with POST")
        }
        (Some(Collection::Events), _) => {
            Refusal::method_not_allowed("events are the operator's own words and can only be read")
        }
        (Some(_), Some(name)) => Refusal::method_not_allowed(format!(
            "{collection} are written in files: edit or remove the file of {name} in the spec directory \
             (its place is the annotation chanop.dev/source); to stop a channel for a while: chanop suspend channel/{name}"
        )),
        (Some(_), None) => Refusal::method_not_allowed(format!(
            "{collection} are written in files: put a YAML file into the spec directory; chanop validate checks it"
        )),
        (None, _) => unknown_collection(collection),
    }
}

fn unknown_collection(word: &str) -> Refusal {
    match word {
        "schedules" => Refusal::not_implemented(format!("{word} are not served by this version")),
        _ => Refusal::not_found(format!("there is no `{word}` here; see {BASE}")),
    }
}

/// What a list, a watch or a get may be asked with. Others, which Kubernetes' clients send, change nothing here.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Parameters {
    watch: Option<String>,
    label_selector: String,
    field_selector: String,
    resource_version: String,
    timeout_seconds: Option<u64>,
    origins: Option<String>,
    verbose: Option<String>,
}

impl Parameters {
    fn take(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Refusal> {
        query.map(|Query(it)| it).map_err(|error| Refusal::bad_request(error.body_text()))
    }
}

pub(super) fn is_on(flag: Option<&str>) -> bool {
    flag.is_some_and(|word| !matches!(word, "false" | "0"))
}

type Parsed = Result<Query<Parameters>, QueryRejection>;

async fn list_or_watch(
    State(api): State<Api>,
    Extension(connection): Extension<Connection>,
    Path(collection): Path<String>,
    query: Parsed,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let collection =
        Collection::parse(&collection).ok_or_else(|| unknown_collection(&collection))?;
    let parameters = Parameters::take(query)?;
    let mut selection = Selection {
        collection,
        labels: Selector::parse(&parameters.label_selector)
            .map_err(|error| Refusal::bad_request(error.to_string()))?,
        name: None,
        channel: None,
        as_table: wants_table(&headers),
    };
    select_fields(&mut selection, &parameters.field_selector)?;
    if is_on(parameters.watch.as_deref()) {
        let permit = connection.begin_stream()?;
        return watch(api, selection, &parameters, permit);
    }
    let view = api.faces().core.snapshot();
    api.shown().remember(&view);
    let version = api.resource_version(&view);
    let now = api.now();
    let items = collection.order(selection.items(&view, now));
    if selection.as_table {
        let rows = items.iter().map(|item| item.row(&version, now)).collect();
        return Ok(Json(Table::new(version, collection.columns(), rows)).into_response());
    }
    let list = List {
        api_version: API_VERSION.to_owned(),
        kind: collection.list_kind().to_owned(),
        items: items.iter().map(|item| item.object(&version, Shape::Listed)).collect(),
        metadata: ListMetadata { resource_version: version },
    };
    Ok(Json(list).into_response())
}

fn watch(
    api: Api,
    selection: Selection,
    parameters: &Parameters,
    permit: StreamPermit,
) -> Result<Response, Refusal> {
    let since = match parameters.resource_version.as_str() {
        "" | "0" => None,
        version => Some(shown_as(&api, version)?),
    };
    let timeout = parameters.timeout_seconds.map(Duration::from_secs);
    let lines = watch::lines(api, selection, since.as_deref(), timeout, permit);
    Ok(([(header::CONTENT_TYPE, "application/json")], Body::from_stream(lines)).into_response())
}

/// The snapshot of that version, if a client was shown it lately.
fn shown_as(api: &Api, version: &str) -> Result<Arc<View>, Refusal> {
    let number: u64 = version
        .parse()
        .map_err(|_not_ours| Refusal::bad_request(format!("`{version}` is no resourceVersion")))?;
    number
        .checked_sub(api.base_version())
        .and_then(|number| api.shown().find(number))
        .ok_or_else(|| Refusal::expired(format!("version {version} is too old: list again")))
}

/// `metadata.name=X`, and for runs `spec.channelName=X`; several with commas between.
fn select_fields(selection: &mut Selection, field_selector: &str) -> Result<(), Refusal> {
    for term in field_selector.split(',').filter(|term| !term.is_empty()) {
        let (field, value) = term.split_once('=').unwrap_or((term, ""));
        let value = Some(value.trim_start_matches('=').to_owned());
        match (field, selection.collection) {
            ("metadata.name", _) => selection.name = value,
            ("spec.channelName", Collection::Runs) => selection.channel = value,
            _ => {
                return Err(Refusal::bad_request(
                    "fields that can be selected are metadata.name and, of runs, spec.channelName",
                ));
            }
        }
    }
    Ok(())
}

fn wants_table(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|it| it.to_str().ok()).unwrap_or_default();
    accept.split(',').any(|media| media.split(';').any(|part| part.trim() == "as=Table"))
}

async fn get_one(
    State(api): State<Api>,
    Path((word, name)): Path<(String, String)>,
    query: Parsed,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let collection = Collection::parse(&word).ok_or_else(|| unknown_collection(&word))?;
    let parameters = Parameters::take(query)?;
    let view = api.faces().core.snapshot();
    api.shown().remember(&view);
    let version = api.resource_version(&view);
    let mut items = collection.items(&view, api.now());
    let item = items.remove(&name).ok_or_else(|| no_such(collection, &name))?;
    if wants_table(&headers) {
        let rows = vec![item.row(&version, api.now())];
        return Ok(Json(Table::new(version, collection.columns(), rows)).into_response());
    }
    let with_origins = is_on(parameters.origins.as_deref());
    let shape = if with_origins { Shape::WithOrigins } else { Shape::Whole };
    let object = item.object(&version, shape);
    Ok(Json(object).into_response())
}

pub(super) fn no_such(collection: Collection, name: impl Display) -> Refusal {
    Refusal::not_found(format!("{} \"{name}\" not found", collection.as_str()))
}

async fn operator_status(State(api): State<Api>) -> Response {
    let core = &api.faces().core;
    Json(operator(&core.snapshot(), &core.engine_endpoint)).into_response()
}

async fn scrape(State(api): State<Api>) -> Response {
    ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], api.scrape()).into_response()
}

async fn readyz(State(api): State<Api>, query: Parsed) -> Result<(StatusCode, String), Refusal> {
    let verbose = is_on(Parameters::take(query)?.verbose.as_deref());
    let with_reasons = matches!(api.guard(), Guard::Socket);
    Ok(health::ready(&api.faces().core.snapshot(), verbose, with_reasons))
}

async fn plan(State(api): State<Api>) -> Result<Response, Refusal> {
    match api.ask(Request::Plan).await? {
        Reply::Planned(report) => Ok(Json(Plan::from(report)).into_response()),
        other => answer(other),
    }
}

async fn ensure(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    _body: body::Json<body::Nothing>,
) -> Result<Response, Refusal> {
    let channel = channel_name(&name)?;
    tracing::debug!(%who, channel = %channel, "ensure");
    match ensured(&api, channel).await? {
        Ok(shell) => Ok(Json(shell).into_response()),
        Err(other) => answer(other),
    }
}

/// A running shell, or what the core says instead.
async fn ensured(api: &Api, channel: ResourceName) -> Result<Result<Ensured, Reply>, Refusal> {
    let core = &api.faces().core;
    Ok(match core.ask(Request::Ensure(channel), ENSURE_PATIENCE).await? {
        Reply::Ensured(shell) => Ok(Ensured::new(shell, &core.engine_endpoint)),
        other => Err(other),
    })
}

async fn agent(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    body::Json(body): body::Json<AgentBody>,
) -> Result<Response, Refusal> {
    let channel = channel_name(&name)?;
    let (conversation, fork) = body.parse().map_err(Refusal::bad_request)?;
    let Some(agents) = &api.faces().agents else {
        return Err(Refusal::not_implemented("agents are not called here"));
    };
    tracing::info!(%who, channel = %channel, ?conversation, fork, "agent");
    let shell = match ensured(&api, channel.clone()).await? {
        Ok(shell) => shell,
        Err(other) => return answer(other),
    };
    let view = api.faces().core.snapshot();
    let seen = view.channels.get(&channel);
    let of_view = seen.and_then(|seen| Some((seen.effective.clone()?, seen.container.as_ref()?)));
    let Some((effective, container)) = of_view else {
        return Err(Refusal::conflict(format!("channel/{channel} is on its way out")));
    };
    let image = container.image.clone();
    let order = AgentOrder { channel, effective, image, conversation, fork };
    match agents.call(order).await {
        Ok(AgentCall { argv, env, notes }) => {
            Ok(Json(AgentStart { shell, argv, env, notes }).into_response())
        }
        Err(NoCall::Refused(message)) => Err(Refusal::conflict(message)),
        Err(NoCall::Busy(message)) => Err(Refusal::too_many(message)),
    }
}

async fn suspend(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    body::Json(body): body::Json<SuspendBody>,
) -> Result<Response, Refusal> {
    let target = ObjectRef::channel(channel_name(&name)?);
    tracing::info!(%who, object = %target, reason = body.reason, "suspend");
    let duration = body.duration_seconds.map(Duration::from_secs);
    answer(api.ask(Request::Suspend { target, duration, reason: body.reason }).await?)
}

async fn resume(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    Path(name): Path<String>,
    _body: body::Json<body::Nothing>,
) -> Result<Response, Refusal> {
    let target = ObjectRef::channel(channel_name(&name)?);
    tracing::info!(%who, object = %target, "resume");
    answer(api.ask(Request::Resume(target)).await?)
}

async fn reconcile(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    body::Json(body): body::Json<ReconcileBody>,
) -> Result<Response, Refusal> {
    let target = body.object.as_deref().map(object_ref).transpose()?;
    tracing::info!(%who, object = body.object, "reconcile");
    answer(api.ask(Request::Reconcile(target)).await?)
}

async fn prune(
    State(api): State<Api>,
    Extension(who): Extension<Caller>,
    body::Json(body): body::Json<PruneBody>,
) -> Result<Response, Refusal> {
    if body.confirm.is_empty() {
        return Err(Refusal::bad_request(
            "`confirm` must name the revision that the operator shows",
        ));
    }
    tracing::info!(%who, revision = body.confirm, "prune");
    answer(api.ask(Request::ConfirmPrune(body.confirm)).await?)
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
struct SuspendBody {
    duration_seconds: Option<u64>,
    reason: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ReconcileBody {
    object: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct PruneBody {
    confirm: String,
}

fn channel_name(name: &str) -> Result<ResourceName, Refusal> {
    ResourceName::parse(name).map_err(|_no_name| no_such(Collection::Channels, name))
}

fn object_ref(text: &str) -> Result<ObjectRef, Refusal> {
    let bad = || Refusal::bad_request(format!("`{text}` names no object: write channel/NAME"));
    let (kind, name) = text.split_once('/').ok_or_else(bad)?;
    let kind =
        Kind::ALL.into_iter().find(|it| it.as_str().eq_ignore_ascii_case(kind)).ok_or_else(bad)?;
    Ok(ObjectRef { kind, name: ResourceName::parse(name).map_err(|_no_name| bad())? })
}

/// An answer that has no object of its own.
pub(super) fn answer(reply: Reply) -> Result<Response, Refusal> {
    match reply {
        Reply::Accepted(message) => Ok(Json(Status::success(message)).into_response()),
        Reply::NotFound(message) => Err(Refusal::not_found(message)),
        Reply::Refused(message) => Err(Refusal::conflict(message)),
        Reply::Exists(name) => Err(Refusal::conflict(format!("there is a run `{name}` already"))),
        Reply::Ensured(_) | Reply::Planned(_) | Reply::Submitted(_) => {
            Ok(Json(Status::success("done".to_owned())).into_response())
        }
    }
}
