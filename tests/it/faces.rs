//! What the tests of HTTP and command line share: a snapshot made by hand, and a core that answers as it is told.
//!
//! The boundary is the core's mailbox. Everything on this side of it is real: sockets, the server, the binary.

pub(crate) mod runs;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use chanop::clock::Clock;
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::request::{EnsuredShell, PlanLine, PlanReport, PlanSign, Reply, Request};
use chanop::controller::stats::{Counts, Stats};
use chanop::controller::view::{ChannelView, ContainerView, EngineView, PendingView, View};
use chanop::http::{
    AgentCall, AgentCalls, AgentOrder, Bound, CoreHandle, Door, Faces, Limits, NoCall, Snapshots,
    Tokens, serve,
};
use chanop::metrics::{Labels, Metrics};
use chanop::resource::condition::{Condition, ConditionStatus, ConditionType, Reason};
use chanop::resource::effective::Effective;
use chanop::resource::merge;
use chanop::resource::{Owner, Resource, ResourceName, SourceRef};
use chanop::specs::parse::parse_file;
use chanop::world::record::EventRecord;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

/// A server on a socket and on a free port, and its core.
pub(crate) struct Served {
    pub(crate) socket: PathBuf,
    pub(crate) address: SocketAddr,
    pub(crate) view: watch::Sender<Arc<View>>,
    pub(crate) transcripts: runs::Transcripts,
    stop: CancellationToken,
    _directory: tempfile::TempDir,
    tasks: tokio::task::JoinSet<()>,
}

impl Served {
    /// Serves `view` within `limits`.
    pub(crate) async fn new(view: View, limits: Limits) -> Self {
        Self::with_shell(view, limits, id()).await
    }

    /// Likewise; the shell of `web` is that container.
    pub(crate) async fn with_shell(view: View, limits: Limits, shell: ContainerId) -> Self {
        Self::start(view, limits, shell, false).await
    }

    /// Likewise; metrics need a token.
    pub(crate) async fn with_metrics_auth(view: View) -> Self {
        Self::start(view, Limits::default(), id(), true).await
    }

    async fn start(view: View, limits: Limits, shell: ContainerId, metrics_auth: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let socket = directory.path().join("run/chanop.sock");
        let mut bound = Bound::new(&socket, None).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();

        let (view, seen) = watch::channel(Arc::new(view));
        let (requests, mut asked) = mpsc::channel(8);
        let engine_endpoint = "unix:///var/run/docker.sock".to_owned();
        let core = CoreHandle { snapshots: Snapshots::new(seen), requests, engine_endpoint };
        let transcripts = runs::Transcripts::default();
        let faces =
            Faces::new(core, Arc::new(Metrics::new(Labels::default()).unwrap()), Clock::start())
                .with_agents(Arc::new(Agents))
                .with_transcripts(Arc::new(transcripts.clone()));

        let stop = CancellationToken::new();
        let mut tasks = tokio::task::JoinSet::new();
        let unix = Door::Socket(bound.take().unwrap());
        let tokens = Tokens::parse(&tokens()).unwrap();
        let tcp = Door::Tcp { listener, tokens, allowed_hosts: vec![], metrics_auth };
        for door in [unix, tcp] {
            tasks.spawn(serve(faces.clone(), door, limits, stop.clone()));
        }
        let published = view.clone();
        tasks.spawn(async move {
            let _bound = bound;
            while let Some((request, reply)) = asked.recv().await {
                let reply_to = match request {
                    Request::SubmitRun { name, labels, spec } => {
                        runs::submit(&published, name, labels, &spec)
                    }
                    Request::CancelRun { name, why } => runs::cancel(&published, &name, why),
                    request => answer(request, &shell),
                };
                let _hung_up = reply.send(reply_to);
            }
        });
        Self { socket, address, view, transcripts, stop, _directory: directory, tasks }
    }

    /// Publishes a changed snapshot.
    pub(crate) fn publish(&self, change: impl FnOnce(&mut View)) {
        publish(&self.view, change);
    }

    /// Ends the server as the operator does; answers whether it ended by itself.
    pub(crate) async fn stop(mut self) -> bool {
        self.stop.cancel();
        let end = async {
            // Both doors; the core's task ends when their handles are gone.
            self.tasks.join_next().await;
            self.tasks.join_next().await;
        };
        tokio::time::timeout(Duration::from_secs(10), end).await.is_ok()
    }
}

fn publish(view: &watch::Sender<Arc<View>>, change: impl FnOnce(&mut View)) {
    view.send_modify(|view| {
        let mut next = (**view).clone();
        change(&mut next);
        next.version += 1;
        *view = Arc::new(next);
    });
}

/// A token file in which the tokens of root, ci, eye and prom are `admin`, `runner`, `viewer` and `metrics`: their roles.
fn tokens() -> String {
    use sha2::{Digest, Sha256};
    [("root", "admin"), ("ci", "runner"), ("eye", "viewer"), ("prom", "metrics")]
        .map(|(name, role)| {
            let digest: Vec<_> =
                Sha256::digest(role).iter().map(|byte| format!("{byte:02x}")).collect();
            format!("{name}:{role}:{}\n", digest.concat())
        })
        .concat()
}

fn answer(request: Request, shell: &ContainerId) -> Reply {
    match request {
        Request::Ensure(name) if name.as_str() == "web" => Reply::Ensured(EnsuredShell {
            container_id: shell.clone(),
            engine_id: "ENGINE".to_owned(),
        }),
        Request::Ensure(name) => Reply::NotFound(format!("there is no channel {name}")),
        Request::Suspend { target, duration, reason } => {
            Reply::Accepted(format!("{target} suspended for {duration:?}: {reason}"))
        }
        Request::Resume(target) => Reply::Refused(format!("{target} is not suspended")),
        Request::Reconcile(target) => Reply::Accepted(match target {
            Some(target) => format!("looking at {target}"),
            None => "looking at everything".to_owned(),
        }),
        Request::SubmitRun { .. } | Request::CancelRun { .. } => unreachable!("answered before"),
        Request::ReleaseRun(Some(name)) => Reply::Accepted(format!("run/{name} is let go")),
        Request::ReleaseRun(None) => Reply::Accepted("all runs are let go".to_owned()),
        Request::ConfirmPrune(revision) => Reply::Accepted(format!("let go of {revision}")),
        Request::Plan => Reply::Planned(PlanReport {
            revision: "4f1c2aa".to_owned(),
            engine: Some("20.10.24".to_owned()),
            lines: vec![PlanLine {
                sign: PlanSign::Add,
                object: "channel/ledger".to_owned(),
                verb: "create".to_owned(),
                cause: "team/ledger.yaml:1 is new".to_owned(),
                when: String::new(),
                waiting: false,
            }],
            unchanged: 1,
        }),
    }
}

/// Some container's ID.
pub(crate) fn id() -> ContainerId {
    ContainerId::parse(&"0123456789abcdef".repeat(4)).unwrap()
}

pub(crate) fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

pub(crate) fn ago(hours: i64) -> Timestamp {
    // A little more, so that the test is not on the edge of a unit.
    Clock::start().now().wall - jiff::SignedDuration::from_secs(hours * 3_600 + 60)
}

/// The effective spec of a channel's file whose `spec` is `text`, in YAML's flow or block form, with two spaces before.
pub(crate) fn effective(text: &str) -> Effective {
    let head = "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {name: x}\nspec:\n";
    let mut parsed = parse_file("x.yaml", &format!("{head}{text}\n"));
    assert_eq!(parsed.violations, vec![], "{text}");
    let Resource::Channel(channel) = parsed.resources.remove(0) else {
        panic!("no channel: {text}")
    };
    let owner = Owner { user: "ann".into(), uid: 1000, gid: 1000, home: "/home/ann".into() };
    merge::effective(&channel, None, &owner).unwrap().effective
}

/// A channel with little in it.
pub(crate) fn channel(channel: &str, reason: Reason) -> ChannelView {
    let ready = reason == Reason::Running;
    let container = ContainerView {
        id: id(),
        name: ContainerName::shell(&name("default"), &name(channel)),
        state: ContainerState::Running,
        image: "node:20".to_owned(),
        image_id: "sha256:aa".to_owned(),
        image_digest: None,
        created: ago(5),
    };
    ChannelView {
        name: name(channel),
        uid: format!("uid-{channel}"),
        generation: 3,
        created_at: ago(72),
        labels: BTreeMap::from([("team".to_owned(), format!("team-{channel}"))]),
        annotations: BTreeMap::new(),
        source: Some(SourceRef { file: format!("team/{channel}.yaml"), line: 1 }),
        effective: None,
        origins: Arc::default(),
        conditions: vec![Condition {
            kind: ConditionType::Ready,
            status: if ready { ConditionStatus::True } else { ConditionStatus::False },
            reason,
            message: format!("{channel} is {reason}"),
            observed_generation: 3,
            last_transition_time: ago(2),
        }],
        ready,
        status: reason.as_str(),
        message: format!("{channel} is {reason}"),
        container: ready.then_some(container),
        image_work: None,
        pending: None,
        overridden: None,
        restarts: 0,
        in_flight: None,
        next_look: None,
    }
}

/// Calls an agent whose only argument is what was ordered, and none that is to be forked.
#[derive(Debug)]
struct Agents;

impl AgentCalls for Agents {
    fn call(&self, order: AgentOrder) -> BoxFuture<'_, Result<AgentCall, NoCall>> {
        let AgentOrder { channel, effective: _, image, conversation, fork } = order;
        let call = AgentCall {
            argv: vec![format!("{channel} {image} {conversation:?}")],
            env: BTreeMap::from([("A".to_owned(), "1".to_owned())]),
            notes: vec!["a note".to_owned()],
        };
        let refused = NoCall::Refused("nothing is forked here".to_owned());
        async move { if fork { Err(refused) } else { Ok(call) } }.boxed()
    }
}

/// Two channels, one of them ready with a change that waits, a class and an event.
pub(crate) fn view() -> View {
    let mut web = channel("web", Reason::Running);
    let spec = "  workspace: {path: ~/src/web}\n  image: {ref: 'node:22'}\n";
    web.effective = Some(Arc::new(effective(spec)));
    web.origins = Arc::new([("spec.image.ref".to_owned(), "class default".to_owned())].into());
    web.pending = Some(PendingView {
        action: "recreate".to_owned(),
        cause: "image node:20 → node:22".to_owned(),
        waits: "shell open".to_owned(),
        since: ago(1),
        forced_at: None,
    });
    let ledger = channel("ledger", Reason::PolicyViolation);
    let mut view = View {
        version: 7,
        instance: "default".to_owned(),
        engine: EngineView {
            live: true,
            error: None,
            version: "20.10.24".to_owned(),
            api_version: "1.41".to_owned(),
            id: "ENGINE".to_owned(),
        },
        channels: [web, ledger].map(|it| (it.name.clone(), Arc::new(it))).into(),
        events: Arc::new(vec![EventRecord {
            object: "channel/ledger".to_owned(),
            warning: true,
            reason: "PolicyViolation".to_owned(),
            message: "mount /run/docker.sock \u{1b}[2J is not allowed".to_owned(),
            count: 4,
            first: ago(9),
            last: ago(3),
        }]),
        stats: Stats {
            events: Counts::from([("die", 12)]),
            shells_running: 1,
            policy_violations: 1,
            ..Stats::default()
        },
        ..View::default()
    };
    view.specs.revision = Some("4f1c2aa".to_owned());
    view.specs.scanned_at = Some(ago(0));
    view.specs.held = vec!["old".to_owned()];
    view.specs.hold_revision = Some("h1".to_owned());
    view.specs.not_for_this_host = 2;
    view.specs.classes = vec!["default".to_owned()];
    view
}
