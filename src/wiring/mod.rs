//! Builds the parts, connects the mailboxes, supervises, drains: the only room that knows them all.
//!
//! [`operate`] is the operator from its settings to its end; [`core_loop`] drives the core; [`plan`] makes one plan without
//! an operator; [`agent`] how the agent is called for a person.

mod agent;
pub mod core_loop;
pub mod plan;
mod state_place;
mod transcripts;

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Semaphore, mpsc, watch};
use tracing::{error, info, warn};

use crate::claude::mcp::SecretBytes;
use crate::clock::Clock;
use crate::config::{self, ConfigError, Environment};
use crate::controller::input::Input;
use crate::controller::view::View;
use crate::controller::{Beginning, Controller};
use crate::docker::image::CredentialSources;
use crate::docker::{Docker, Endpoint, EngineError};
use crate::executor::{Executor, Means};
use crate::follower::{self, Follower};
use crate::host::{self, Host, PrepareError, SecretsRoot};
use crate::http::{
    self, CoreHandle, Door, Faces, Limits, Snapshots, SocketError, TokenFileError, Tokens,
};
use crate::metrics::{InvalidFamily, Labels, Metrics};
use crate::resource::ResourceName;
use crate::specs::SpecTree;
use crate::specs::parse::parse_file;
use crate::store::transcripts::Secrets;
use crate::store::{self, Store, StoreError};
use crate::supervisor::{Ending, Tasks};
use crate::world::Settings;
use crate::world::environment::HostEnvironment;
use crate::world::preparation::{HostPaths, is_below};
use crate::world::record::Loaded;
use crate::world::scan::ParsedFile;
use agent::Agents;
use core_loop::CoreLoop;

/// From a signal to the end: calls on their way have ten seconds, requests and the store the rest.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(15);
/// The store's last writes and its checkpoint.
const STORE_CLOSES_WITHIN: Duration = Duration::from_secs(5);
/// A container of ours that nothing explains: the longest create is over by then, and its file may come back.
const STRAY_GRACE: Duration = Duration::from_mins(5);
/// Inputs that may wait for the core: an engine-wide storm of events, several times over.
const INPUTS_MAX: usize = 4_096;
/// Checks of mounts at once: one for each `exec` that comes in, and threads that hang in a dead network mount.
const MOUNT_CHECKS_MAX: usize = 8;
/// Requests that may wait for the core.
const QUESTIONS_MAX: usize = 64;

/// Why the operator did not start, or ended other than by a signal.
#[derive(Debug, thiserror::Error)]
pub enum OperateError {
    /// The settings.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The state directory.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The state directory cannot hold what containers need.
    #[error(transparent)]
    Host(#[from] PrepareError),
    /// The engine's address.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// The control socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// A path cannot be used.
    #[error("failed to use {}", path.display())]
    Path {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The TCP address cannot be used.
    #[error(
        "failed to listen on {address}; choose another with --listen, or none with --no-listen"
    )]
    Listen {
        /// Which.
        address: std::net::SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The token file.
    #[error("{}: {source}", path.display())]
    Tokens {
        /// Which.
        path: PathBuf,
        /// Why.
        source: TokenFileError,
    },
    /// A metric family is wrong: a defect of this version.
    #[error(transparent)]
    Metrics(#[from] InvalidFamily),
    /// The administrator's policy file belongs to a later version.
    #[error("--policy is not read by this version: the built-in policy holds; start without it")]
    PolicyFile,
    /// The operator cannot go on.
    #[error("{0}")]
    Fatal(String),
    /// A part of it ended that must not.
    #[error("task {name} ended: {why}")]
    Task {
        /// Which.
        name: String,
        /// How.
        why: String,
    },
    /// A second signal came.
    #[error("ended at once, by a second signal")]
    Forced,
}

/// Runs the operator until a signal.
pub async fn operate(
    settings: config::Settings,
    allowed_hosts: Vec<String>,
    environment: &Environment,
    endpoint: Endpoint,
    init_source: PathBuf,
    clock: Clock,
) -> Result<(), OperateError> {
    if settings.policy.is_some() {
        return Err(OperateError::PolicyFile);
    }
    for path in [&settings.specs_dir, &settings.secrets_dir] {
        if path.exists() {
            config::check_not_writable_by_others(path)?;
        }
    }
    if let Some(program) = &settings.agent_cli {
        config::check_not_writable_by_others(program)?;
        if !program.is_file() {
            let source = std::io::Error::other("the agent's CLI is a program, and this is no file");
            return Err(OperateError::Path { path: program.clone(), source });
        }
    }
    let (store, loaded) = Store::open(&settings.state_dir, &settings.instance, clock.now().wall)?;
    let key = store.key().clone();
    let transcripts = store.transcripts().clone();
    let (handle, writer) = store::start(store)?;
    let state_dir = real_path(&settings.state_dir)?;
    let paths = host_paths(&settings, environment, state_dir);
    if is_below(&paths.secrets, &paths.state) {
        warn!(
            "secrets lie on disk, in {}: neither /run nor $XDG_RUNTIME_DIR is in memory",
            paths.secrets
        );
    }
    let host = Host {
        paths: paths.clone(),
        secrets_directory: Some(settings.secrets_dir.clone()),
        init_source,
    };
    host::install_init(&host)?;
    sweep_run_places(&paths, &loaded);
    let metrics = Arc::new(Metrics::new(Labels {
        channels: settings.metrics_channels,
        models: settings.metrics_models.clone(),
    })?);
    let observed = Arc::clone(&metrics);
    let (inputs_in, inputs) = mpsc::channel(INPUTS_MAX);
    let means = Means {
        engine: Docker::lazy(&endpoint)?,
        host,
        specs_dir: settings.specs_dir.clone(),
        contexts: Arc::default(),
        credentials: CredentialSources {
            config_file: environment.docker_config_file(),
            search_path: environment.search_path(),
        },
        progress: inputs_in.clone(),
        looking: Arc::new(Semaphore::new(1)),
        checking_mounts: Arc::new(Semaphore::new(MOUNT_CHECKS_MAX)),
        owner: settings.owner.clone(),
        key,
        instance: settings.instance.clone(),
        clock,
        observer: Arc::new(move |op, code, seconds| match op {
            "commit" => observed.observe_commit(seconds),
            "queue" => observed.observe_wait(seconds),
            _ => observed.observe_call(op, code, seconds),
        }),
    };
    let mut bound = http::Bound::new(&settings.socket, settings.socket_group)?;
    let tcp = bind_tcp(&settings).await?;
    let core = Controller::new(beginning(&settings, environment, paths, &endpoint, loaded, clock));

    let (scans_in, scans) = mpsc::channel(1);
    let (rescan_in, rescan) = mpsc::channel(1);
    let (questions_in, questions) = mpsc::channel(QUESTIONS_MAX);
    let (view_in, view) = watch::channel(Arc::new(View::default()));
    let (fatal_in, mut fatal) = mpsc::channel(1);
    let engine_endpoint = format!("unix://{}", endpoint.socket().display());
    let handle_of_core =
        CoreHandle { snapshots: Snapshots::new(view), requests: questions_in, engine_endpoint };
    let agents = Arc::new(Agents::new(means.clone(), settings.owner.clone()));
    let faces = Faces::new(handle_of_core, metrics, clock)
        .with_agents(agents)
        .with_transcripts(Arc::new(transcripts.clone()));

    let mut tasks = Tasks::new();
    let executor = Executor::new(means.clone(), handle);
    let follower = Follower::new(following(&means, transcripts, inputs_in.clone()));
    let core_loop = CoreLoop {
        core,
        executor,
        follower,
        engine: means.engine,
        instance: settings.instance.clone(),
        clock,
        inputs,
        inputs_in,
        scans,
        questions,
        view: view_in,
        rescan: rescan_in,
        fatal: fatal_in,
    };
    tasks.spawn("core", |stop| core_loop.run(stop));
    let now = Arc::new(move || clock.now());
    let tree = SpecTree::new(settings.specs_dir.clone(), now);
    tasks.spawn("specs", |stop| tree.run(scans_in, rescan, stop));
    if let Some(listener) = bound.take() {
        let faces = faces.clone();
        tasks.spawn("control socket", |stop| {
            http::serve(faces, Door::Socket(listener), Limits::default(), stop)
        });
    }
    if let Some((listener, tokens)) = tcp {
        let metrics_auth = settings.metrics_auth;
        let door = Door::Tcp { listener, tokens, allowed_hosts, metrics_auth };
        tasks.spawn("TCP listener", |stop| http::serve(faces, door, Limits::default(), stop));
    }
    info!(
        instance = %settings.instance,
        specs = %settings.specs_dir.display(),
        socket = %settings.socket.display(),
        engine = %endpoint.socket().display(),
        "operator started"
    );
    let ended = until_the_end(&mut tasks, &mut fatal).await;
    info!("stopping: calls on their way finish, containers stay");
    let forced = second_signal();
    let result = tokio::select! {
        bad = tasks.shutdown(SHUTDOWN_WITHIN) => {
            for task in bad {
                warn!(ending = ?task.ending, "task {} did not end well", task.name);
            }
            ended
        }
        () = forced => Err(OperateError::Forced),
    };
    // A disk that hangs must not keep a process that is told to end.
    match tokio::time::timeout(STORE_CLOSES_WITHIN, writer.close()).await {
        Ok(closed) => closed?,
        Err(_elapsed) => warn!("the store did not close in time; the next start checks it"),
    }
    drop(bound);
    match &result {
        Ok(()) => info!("operator stopped"),
        Err(error) => error!("operator failed: {error}"),
    }
    result
}

/// What the output of runs is followed with.
fn following(
    means: &Means<Docker>,
    transcripts: store::Transcripts,
    inputs: mpsc::Sender<Input>,
) -> follower::Means<Docker> {
    let host = means.host.clone();
    let paths = host.paths.clone();
    let secrets = move |channel: &ResourceName| {
        let known = host::known_secrets(&host, channel);
        Secrets::new(known.iter().map(SecretBytes::expose))
    };
    follower::Means {
        engine: means.engine.clone(),
        transcripts,
        inputs,
        secrets: Arc::new(secrets),
        exit: Arc::new(move |follow| {
            host::exit_record(&paths, &follow.channel, &follow.run.name, follow.attempt)
        }),
    }
}

/// Until a signal, or until something ends that must not.
async fn until_the_end(
    tasks: &mut Tasks,
    fatal: &mut mpsc::Receiver<String>,
) -> Result<(), OperateError> {
    tokio::select! {
        () = a_signal() => Ok(()),
        Some(reason) = fatal.recv() => Err(OperateError::Fatal(reason)),
        Some(ended) = tasks.join() => {
            let why = match ended.ending {
                Ending::Returned => "unexpectedly".to_owned(),
                Ending::Panicked(message) => format!("panicked: {message}"),
                Ending::Overdue => "overdue".to_owned(),
            };
            Err(OperateError::Task { name: ended.name, why })
        }
    }
}

async fn a_signal() {
    let (Ok(mut terminate), Ok(mut interrupt)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        // Without handlers the signals end the process by themselves, which is what they are for.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}

async fn second_signal() {
    a_signal().await;
}

/// The token file's text. A line has about a hundred bytes.
fn read_tokens(path: &Path) -> std::io::Result<String> {
    const TOKEN_FILE_BYTES_MAX: u64 = 1 << 20;
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(TOKEN_FILE_BYTES_MAX + 1).read_to_string(&mut text)?;
    if u64::try_from(text.len()).is_ok_and(|length| length > TOKEN_FILE_BYTES_MAX) {
        return Err(std::io::Error::other("the token file is larger than 1 MiB"));
    }
    Ok(text)
}

async fn bind_tcp(
    settings: &config::Settings,
) -> Result<Option<(TcpListener, Tokens)>, OperateError> {
    let Some(address) = settings.listen else { return Ok(None) };
    let tokens = match &settings.token_file {
        None => Tokens::default(),
        Some(path) => {
            config::check_not_writable_by_others(path)?;
            let text = read_tokens(path)
                .map_err(|source| OperateError::Path { path: path.clone(), source })?;
            Tokens::parse(&text)
                .map_err(|source| OperateError::Tokens { path: path.clone(), source })?
        }
    };
    let listener = TcpListener::bind(address)
        .await
        .map_err(|source| OperateError::Listen { address, source })?;
    Ok(Some((listener, tokens)))
}

fn beginning(
    settings: &config::Settings,
    environment: &Environment,
    paths: HostPaths,
    endpoint: &Endpoint,
    loaded: Loaded,
    clock: Clock,
) -> Beginning {
    let sources = loaded
        .sources
        .iter()
        .map(|(file, row)| {
            let parsed = parse_file(file, &row.text);
            let parsed = ParsedFile {
                text: Arc::from(row.text.as_str()),
                resources: parsed.resources,
                violations: parsed.violations,
            };
            (file.clone(), Arc::new(parsed))
        })
        .collect::<BTreeMap<String, Arc<ParsedFile>>>();
    let labels: Vec<String> =
        settings.host_labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    Beginning {
        scope: format!("{} {}", settings.specs_dir.display(), labels.join(",")),
        settings: core_settings(settings, environment, paths, endpoint),
        loaded,
        sources,
        takeover: settings.takeover,
        // Only spreads retries; two operators on one engine should not keep step.
        seed: clock.now().wall.as_nanosecond().unsigned_abs().try_into().unwrap_or(u64::MAX),
    }
}

/// A crash may have come between a run's container and what the host had for it. Of a new store nothing is known: it may have
/// lost those runs.
fn sweep_run_places(paths: &HostPaths, loaded: &Loaded) {
    if loaded.fresh {
        return;
    }
    let open = loaded.runs.iter().filter(|run| run.end.is_none());
    let open: BTreeSet<&ResourceName> = open.map(|run| &run.id.name).collect();
    match host::sweep_run_places(paths, &|place| open.contains(&place.run)) {
        Ok(0) => {}
        Ok(gone) => {
            info!("{gone} ended attempts of runs had something left on the host: it is gone");
        }
        Err(error) => {
            let error: &dyn std::error::Error = &error;
            warn!(error, "what ended runs had on the host stays");
        }
    }
}

/// Where things lie on the host.
fn host_paths(settings: &config::Settings, environment: &Environment, state: String) -> HostPaths {
    let root = SecretsRoot::choose(
        rustix::process::geteuid().is_root(),
        environment.xdg_runtime_dir.as_deref().map(|path| as_real(Path::new(path))).as_deref(),
        &state,
        settings.instance.as_str(),
    );
    HostPaths { state, secrets: root.path }
}

/// What the core is told of the settings.
fn core_settings(
    settings: &config::Settings,
    environment: &Environment,
    paths: HostPaths,
    endpoint: &Endpoint,
) -> Settings {
    let own = [
        Some(settings.state_dir.as_path()),
        Some(settings.specs_dir.as_path()),
        Some(settings.secrets_dir.as_path()),
        settings.policy.as_deref(),
        settings.token_file.as_deref(),
        // Whoever could write it would be the agent of every channel.
        settings.agent_cli.as_deref(),
        settings.socket.parent(),
        Some(endpoint.socket()),
        Some(Path::new(&paths.secrets)),
    ];
    // Where a path leads, and the path itself: whoever can change a link on it can change where it leads.
    let both = |path: &Path| {
        [as_real(path), std::path::absolute(path).map_or_else(|_| as_real(path), |it| shown(&it))]
    };
    let mut protected: Vec<String> =
        own.into_iter().flatten().flat_map(both).filter(|path| path != "/").collect();
    protected.sort();
    protected.dedup();
    let state_place = state_place::of(&paths.state);
    Settings {
        instance: settings.instance.clone(),
        owner: settings.owner.clone(),
        host_labels: settings.host_labels.clone(),
        protected,
        environment: HostEnvironment::from_variables(environment.for_containers()).lines(),
        paths,
        agent_cli: settings.agent_cli.as_deref().map(as_real),
        runtime_classes: settings.runtime_classes.clone(),
        own_ports: settings.listen.iter().map(std::net::SocketAddr::port).collect(),
        prune_delay: settings.prune_delay,
        stray_grace: STRAY_GRACE,
        max_runs: settings.max_runs,
        process: uuid::Uuid::new_v4(),
        state_place,
    }
}

/// The path without links, where it is there; else as it was said.
fn as_real(path: &Path) -> String {
    shown(&std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()))
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn real_path(path: &Path) -> Result<String, OperateError> {
    let failed = |source| OperateError::Path { path: path.to_owned(), source };
    let real = std::fs::canonicalize(path).map_err(failed)?;
    real.into_os_string()
        .into_string()
        .map_err(|_| failed(std::io::Error::other("it is no UTF-8, which Docker needs")))
}
