//! Docker as the core meets it, with the traps that were read in its sources.
//!
//! Kept: names are an atomic test-and-set, and may be reserved by nobody (a phantom); a start of an exited container runs it
//! again; a failed start leaves `created` with an error; a list lags behind exits, an inspect does not; the ring of events
//! has 256 places for everything that happens, and is gone with the daemon; a stop ends even what is paused. How it answers each
//! call in each state is held against the table of the contract (`tests/contract.rs`).

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use chanop::container::config::{ContainerConfig, NetworkMode};
use chanop::container::label;
use chanop::container::snapshot::Details;
use chanop::container::{ContainerId, ContainerName, ContainerState, Identity, Snapshot};
use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Doorbell, EngineFacts, Failure};
use chanop::executor::refuse_to_inherit;
use chanop::resource::ResourceName;
use chanop::resource::condition::Reason;
use chanop::world::image::{ImageSource, WantedImage};
use chanop::world::ownership::{Holder, Verdict};
use jiff::{SignedDuration, Timestamp};

mod hands;
mod process;

pub use process::{Agent, Agents, Execution, How, REFUSED_BY_GUARD, STAYS, Starter};

/// An image that the engine has.
pub const IMAGES: [&str; 4] = ["img-a:1", "img-b:1", "img-bad:1", "img-crash:1"];
/// An image that only the registry has at first.
pub const IMAGE_REMOTE: &str = "img-remote:1";
/// An image that nobody has.
pub const IMAGE_MISSING: &str = "img-missing:1";
/// An image whose containers cannot be started.
pub const IMAGE_BAD: &str = "img-bad:1";
/// An image whose process ends by itself soon.
pub const IMAGE_CRASHES: &str = "img-crash:1";
/// The engine's own pause before it restarts what ended.
const RESTARTS_AFTER: Duration = Duration::from_secs(1);
/// How long the ring of events is.
const RING: usize = 256;

/// Who made a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Maker {
    /// The operator.
    Operator,
    /// A person.
    Person,
}

/// A container.
#[derive(Debug, Clone)]
pub struct Container {
    /// Its ID.
    pub id: ContainerId,
    /// Its name now.
    pub name: ContainerName,
    /// What it was made from, labels and limits as they are now.
    pub config: ContainerConfig,
    /// Its state.
    pub state: ContainerState,
    /// Made when.
    pub created: Timestamp,
    /// Last started.
    pub started_at: Option<Timestamp>,
    /// Last ended.
    pub finished_at: Option<Timestamp>,
    /// Last exit code.
    pub exit_code: i64,
    /// Of the last start.
    pub error: String,
    /// `no` unless somebody meddled.
    pub restart_policy: String,
    /// What `docker update` set that chanop never does, by flag.
    pub set_by_hand: BTreeMap<&'static str, String>,
    /// The networks that it is connected to.
    pub networks: BTreeSet<String>,
    /// Exec sessions that run.
    pub execs: Vec<String>,
    /// How often a process of it began.
    pub starts: u32,
    /// How often its restart policy began one.
    pub restarted: i64,
    /// By whom.
    pub maker: Maker,
    /// What it is for, when it is a run's.
    pub agent: Option<Agent>,
    /// The disk was full when it was started: lists do not know of that.
    pub start_unwritten: bool,
    /// Which thing of that name its workspace was when its process began.
    pub mounted: u64,
    /// Its end was asked for: its restart policy does not count.
    stopped: bool,
    /// Which of the instance's networks it is bound to.
    bound_to: u32,
    /// Until then a list still says that it runs.
    lags_until: Duration,
}

impl Container {
    /// Does a process of it live?
    pub const fn is_live(&self) -> bool {
        self.state.is_live()
    }

    fn snapshot(&self, details: bool, odd: bool, now: Duration) -> Snapshot {
        let mut config = self.config.clone();
        let killed = self.agent.as_ref().and_then(|agent| agent.out_of_memory);
        if odd {
            "localhost".clone_into(&mut config.hostname);
        }
        Snapshot {
            id: self.id.clone(),
            name: self.name.clone(),
            labels: self.config.labels.clone(),
            state: self.state,
            created: self.created,
            image_id: format!("sha256:{}", self.config.image),
            networks: Some(self.networks.clone()),
            endpoints: BTreeSet::new(),
            binds: self.config.binds(),
            host_ports: self.config.host_ports(),
            details: details.then(|| {
                Box::new(Details {
                    started_at: self.started_at,
                    finished_at: self.finished_at,
                    exit_code: self.exit_code,
                    oom_killed: killed.is_some_and(|known| known <= now),
                    error: self.error.clone(),
                    pid: i64::from(self.is_live()),
                    restart_count: self.restarted,
                    restart_policy: self.restart_policy.clone(),
                    limits: self.config.limits,
                    memory_swap_bytes: self.config.limits.memory_bytes,
                    set_by_hand: self.set_by_hand.clone(),
                    image_volumes: BTreeSet::new(),
                    config,
                    exec_ids: self.execs.clone(),
                })
            }),
        }
    }
}

/// One event; containers' only are told, all take a place in the ring.
#[derive(Debug, Clone)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What is told; `None`: of a network or image.
    pub doorbell: Option<Doorbell>,
}

/// The engine.
#[derive(Debug, Default)]
pub struct Engine {
    /// What it calls itself.
    pub id: String,
    /// Its version.
    pub version: String,
    /// What runs' agents do, and did.
    pub agents: Agents,
    /// Everything it has.
    pub containers: BTreeMap<ContainerId, Container>,
    /// Names that nobody has and nobody can take, until then.
    pub phantoms: BTreeMap<ContainerName, Duration>,
    /// Does it answer?
    pub down: bool,
    /// No space for new containers.
    pub full: bool,
    /// The instance's network.
    pub network: bool,
    /// Images.
    pub images: BTreeSet<String>,
    /// What a registry has.
    pub registry: BTreeSet<String>,
    /// Does the registry answer?
    pub registry_down: bool,
    /// The anchor volume's labels.
    pub anchor: Option<Holder>,
    /// Does it remap user IDs?
    pub remaps_users: bool,
    /// Why no network can be made; `None`: one can.
    pub network_refusal: Option<String>,
    /// The ring.
    pub ring: VecDeque<Event>,
    /// What has happened since the driver last took it.
    pub news: Vec<Event>,
    /// Which of them will end by themselves, and when.
    pub ends: Vec<(Duration, ContainerId)>,
    /// Which of them will be gone, and when.
    pub removals: Vec<(Duration, ContainerId)>,
    /// How long a list lags.
    pub lag: Duration,
    /// How far its clock is ahead of true time.
    pub ahead: SignedDuration,
    /// It reports every container's host name otherwise than it was asked for.
    pub odd: bool,
    /// The next list is answered with the body of the one before.
    pub stale_once: bool,
    /// The body of the list before the last.
    pub earlier_list: Vec<Snapshot>,
    /// Which thing a host path is, where it was replaced.
    pub inodes: BTreeMap<String, u64>,
    /// How often the instance's network was made: a container is bound to the one that it was made with.
    pub networks_made: u32,
    /// Which of them will come up again by themselves, and when.
    restarts: Vec<(Duration, ContainerId)>,
    made: u64,
    at: Duration,
}

fn inode_of(inodes: &BTreeMap<String, u64>, path: &str) -> u64 {
    inodes.get(path).copied().unwrap_or(0)
}

/// The wall clock at an instant of virtual time.
pub fn wall(at: Duration) -> Timestamp {
    let start = Timestamp::from_second(1_767_225_600).unwrap_or_default();
    jiff::SignedDuration::try_from(at)
        .ok()
        .and_then(|at| start.checked_add(at).ok())
        .unwrap_or(start)
}

impl Engine {
    /// One that has images and nothing else.
    pub fn new() -> Self {
        let id = "ENGINE".to_owned();
        let images: BTreeSet<String> = IMAGES.iter().map(|&image| image.to_owned()).collect();
        let registry = images.iter().cloned().chain([IMAGE_REMOTE.to_owned()]).collect();
        let version = "20.10.24".to_owned();
        Self { id, version, images, registry, ..Self::default() }
    }

    /// What its clock says.
    pub fn clock(&self) -> Timestamp {
        let at = wall(self.at);
        at.checked_add(self.ahead).unwrap_or(at)
    }

    /// Time passes: processes end, removals complete.
    pub fn pass(&mut self, now: Duration) {
        self.at = now;
        let due: Vec<ContainerId> = take_due(&mut self.ends, now);
        for id in due {
            self.end(&id, 1);
        }
        self.agents_pass();
        for id in take_due(&mut self.removals, now) {
            if let Some(gone) = self.containers.remove(&id) {
                self.tell_labels(&id, "destroy", None, Some(gone.config.labels));
            }
        }
        for id in take_due(&mut self.restarts, now) {
            self.come_up_again(&id);
        }
        self.phantoms.retain(|_, until| *until > now);
    }

    /// When something will happen by itself.
    pub fn next_time(&self) -> Option<Duration> {
        let own = self.ends.iter().chain(&self.removals).chain(&self.restarts).map(|(at, _)| *at);
        own.chain(self.agents.next_time()).min()
    }

    fn new_id(&mut self) -> Option<ContainerId> {
        self.made += 1;
        let mut words = String::new();
        let mut rng = crate::rng::Rng::new(self.made);
        for _ in 0..4 {
            words.push_str(&format!("{:016x}", rng.next()));
        }
        ContainerId::parse(&words).ok()
    }

    fn push(&mut self, doorbell: Option<Doorbell>) {
        let event = Event { at: self.clock(), doorbell };
        self.ring.push_back(event.clone());
        while self.ring.len() > RING {
            self.ring.pop_front();
        }
        self.news.push(event);
    }

    /// Something else happens on the engine: it takes places in the ring.
    pub fn noise(&mut self, count: usize) {
        for _ in 0..count {
            self.push(None);
        }
    }

    fn tell(&mut self, id: &ContainerId, action: &str, exit_code: Option<i64>) {
        let channel = self.containers.get(id).map(|c| c.config.labels.clone());
        self.tell_labels(id, action, exit_code, channel);
    }

    fn tell_labels(
        &mut self,
        id: &ContainerId,
        action: &str,
        exit_code: Option<i64>,
        labels: Option<BTreeMap<String, String>>,
    ) {
        let doorbell = Doorbell {
            id: id.clone(),
            object: labels.as_ref().and_then(Identity::object_of),
            action: action.to_owned(),
            exit_code,
            time_nano: i64::try_from(self.clock().as_nanosecond()).unwrap_or_default(),
        };
        self.push(Some(doorbell));
    }

    /// Who has this name.
    pub fn named(&self, name: &ContainerName) -> Option<&Container> {
        self.containers.values().find(|container| container.name == *name)
    }

    /// The channel's own shell: label and name.
    pub fn shell(&self, instance: &ResourceName, channel: &ResourceName) -> Option<&Container> {
        let name = ContainerName::shell(instance, channel);
        self.named(&name).filter(|found| is_ours(instance, found))
    }

    /// Carries a call out.
    pub fn execute(&mut self, instance: &ResourceName, call: &Call) -> Result<Answer, Failure> {
        let lost =
            |id: &ContainerId| Failure::NotFound(format!("no such container: {}", id.short()));
        match call {
            Call::Ping => Ok(Answer::Pong),
            Call::Info => Ok(Answer::Engine(EngineFacts {
                id: self.id.clone(),
                version: self.version.clone(),
                api_version: "1.41".to_owned(),
                default_runtime: "runc".to_owned(),
                cpus: 4,
                limits_swap: true,
                remaps_users: self.remaps_users,
            })),
            Call::Anchor(claim) => {
                let verdict = self.anchor.as_ref().map(|found| claim.judge(found));
                let replaces = matches!(verdict, Some(Verdict::Succeed | Verdict::TakeOver));
                if replaces {
                    self.anchor = None;
                }
                if self.anchor.is_none() && !replaces && !claim.takeover && !claim.held_before {
                    refuse_to_inherit(instance, &self.list(instance))?;
                }
                let holder = self.anchor.get_or_insert_with(|| claim.ours.clone());
                Ok(Answer::Anchor(holder.clone()))
            }
            Call::Network => {
                if let Some(why) = self.network_refusal.as_ref().filter(|_| !self.network) {
                    return Err(Failure::Unknown(why.clone()));
                }
                self.networks_made += u32::from(!self.network);
                self.network = true;
                Ok(Answer::NetworkReady)
            }
            Call::List => {
                let now = self.list(instance);
                let earlier = std::mem::replace(&mut self.earlier_list, now.clone());
                let stale = std::mem::take(&mut self.stale_once);
                Ok(Answer::Listed(if stale { earlier } else { now }))
            }
            Call::Inspect(id) => {
                let found = self.containers.get(id).ok_or_else(|| lost(id))?;
                Ok(Answer::Inspected(Box::new(found.snapshot(true, self.odd, self.at))))
            }
            Call::InspectName(name) => {
                let nobody = || Failure::NotFound(format!("no such container: {name}"));
                let found = self.named(name).ok_or_else(nobody)?;
                Ok(Answer::Inspected(Box::new(found.snapshot(true, self.odd, self.at))))
            }
            Call::Create { name, target } => self.create(name, &target.config, Maker::Operator),
            Call::Start { id, .. } => self.start(id, Starter::Operator),
            Call::Stop { id, grace_seconds } => {
                let state = self.containers.get(id).ok_or_else(|| lost(id))?.state;
                match state {
                    ContainerState::Running
                    | ContainerState::Paused
                    | ContainerState::Restarting => {
                        self.tell(id, "kill", None);
                        if self.defies(id, Duration::from_secs(u64::from(*grace_seconds))) {
                            return Ok(Answer::Done);
                        }
                        self.end(id, 143);
                        self.tell(id, "stop", None);
                        Ok(Answer::Done)
                    }
                    _ => Ok(Answer::Done),
                }
            }
            Call::Remove { id, force, place } => {
                let answer = self.remove(id, *force);
                let Some(place) = place else { return answer };
                if !matches!(answer, Ok(_) | Err(Failure::NotFound(_))) {
                    return answer;
                }
                let unstarted = self.agents.forget_place(place.run.as_str(), place.attempt);
                answer.map(|_| Answer::RunRemoved { unstarted })
            }
            Call::Update { id, limits } => {
                let found = self.containers.get_mut(id).ok_or_else(|| lost(id))?;
                found.config.limits = limits.updated_from(found.config.limits);
                "no".clone_into(&mut found.restart_policy);
                if found.state == ContainerState::Restarting {
                    found.state = ContainerState::Exited;
                }
                self.tell(id, "update", None);
                Ok(Answer::Done)
            }
            Call::LookForImage(image) => self.look(image),
            Call::BringImage(image) => self.bring(image),
            Call::CreateRun { name, target } => {
                self.create_run(name, &target.target.config, Agent::of(target))
            }
            Call::UntagBuilds { repository, keep } => self.untag(repository, keep),
            Call::Probe(_)
            | Call::Contexts(_)
            | Call::ReadPrompt(_)
            | Call::CheckMounts(_)
            | Call::RemoveSecrets { .. } => {
                Err(Failure::Refused(Reason::HostFailed, "not the engine's".to_owned()))
            }
        }
    }

    fn look(&self, image: &WantedImage) -> Result<Answer, Failure> {
        let reference = &image.reference;
        if self.images.contains(reference) {
            let id = format!("sha256:{reference}");
            return Ok(Answer::Image {
                id,
                digest: None,
                volumes: BTreeSet::new(),
                brought: false,
            });
        }
        if image.source.can_be_brought() {
            return Ok(Answer::NoImage);
        }
        Err(Failure::Refused(Reason::ImageMissing, format!("no such image: {reference}")))
    }

    fn bring(&mut self, image: &WantedImage) -> Result<Answer, Failure> {
        let reference = &image.reference;
        if image.source.may_be_old() && self.images.contains(reference) {
            return self.look(image);
        }
        if let ImageSource::Registry(_) = image.source {
            let refused = |why: String| Err(Failure::Refused(Reason::ImagePullBackOff, why));
            if self.registry_down {
                return refused("the registry does not answer".to_owned());
            }
            if !self.registry.contains(reference) {
                return refused(format!("the registry has no {reference}"));
            }
        }
        self.images.insert(reference.clone());
        self.push(None);
        let id = format!("sha256:{reference}");
        Ok(Answer::Image { id, digest: None, volumes: BTreeSet::new(), brought: true })
    }

    fn untag(&mut self, repository: &str, keep: &BTreeSet<String>) -> Result<Answer, Failure> {
        let of = |image: &&String| image.rsplit_once(':').is_some_and(|(it, _)| it == repository);
        let (kept, built): (Vec<String>, Vec<String>) =
            self.images.iter().filter(of).cloned().partition(|image| keep.contains(image));
        for image in built {
            if self.containers.values().any(|container| container.config.image == image) {
                return Err(Failure::Conflict(format!("{image} is in use")));
            }
            self.images.remove(&image);
        }
        Ok(Answer::Untagged { kept })
    }

    fn list(&self, instance: &ResourceName) -> Vec<Snapshot> {
        let label = |c: &Container| c.config.labels.get(label::INSTANCE).cloned();
        self.containers
            .values()
            .filter(|c| label(c).as_deref() == Some(instance.as_str()))
            .map(|c| {
                let mut snapshot = c.snapshot(false, self.odd, self.at);
                if c.state == ContainerState::Exited && self.at < c.lags_until {
                    snapshot.state = ContainerState::Running;
                }
                if c.start_unwritten {
                    snapshot.state = ContainerState::Created;
                }
                snapshot
            })
            .collect()
    }

    /// Makes a container, for whoever speaks with the engine in another way than by [`Call`].
    pub fn create(
        &mut self,
        name: &ContainerName,
        config: &ContainerConfig,
        maker: Maker,
    ) -> Result<Answer, Failure> {
        if self.phantoms.contains_key(name) || self.named(name).is_some() {
            return Err(Failure::NameTaken(format!("the name {name} is in use")));
        }
        if !self.images.contains(&config.image) {
            let message = format!("no such image: {}", config.image);
            return Err(Failure::Refused(Reason::ImageMissing, message));
        }
        if self.full {
            return Err(Failure::NoSpace("no space left on device".to_owned()));
        }
        let Some(id) = self.new_id() else {
            return Err(Failure::Unknown("no ID".to_owned()));
        };
        let container = Container {
            id: id.clone(),
            name: name.clone(),
            config: config.clone(),
            state: ContainerState::Created,
            created: self.clock(),
            started_at: None,
            finished_at: None,
            exit_code: 0,
            error: String::new(),
            restart_policy: "no".to_owned(),
            set_by_hand: BTreeMap::new(),
            networks: networks_of(&config.network),
            execs: Vec::new(),
            starts: 0,
            restarted: 0,
            maker,
            agent: None,
            stopped: false,
            bound_to: self.networks_made,
            start_unwritten: false,
            mounted: 0,
            lags_until: Duration::ZERO,
        };
        self.containers.insert(id.clone(), container);
        self.tell(&id, "create", None);
        Ok(Answer::Created(id))
    }

    /// Makes the container of a run's attempt.
    pub fn create_run(
        &mut self,
        name: &ContainerName,
        config: &ContainerConfig,
        agent: Agent,
    ) -> Result<Answer, Failure> {
        let answer = self.create(name, config, Maker::Operator);
        if let Ok(Answer::Created(id)) = &answer
            && let Some(made) = self.containers.get_mut(id)
        {
            self.agents.places.insert(agent.key());
            made.agent = Some(agent);
            self.agents.made.insert(id.clone());
        }
        answer
    }

    fn start(&mut self, id: &ContainerId, by: Starter) -> Result<Answer, Failure> {
        let at = self.clock();
        let lost = || Failure::NotFound(format!("no such container: {}", id.short()));
        let network = self.network.then_some(self.networks_made);
        let found = self.containers.get_mut(id).ok_or_else(lost)?;
        match found.state {
            ContainerState::Running | ContainerState::Restarting => return Ok(Answer::Done),
            ContainerState::Paused | ContainerState::Removing | ContainerState::Dead => {
                return Err(Failure::Conflict(format!("it is {}", found.state.as_str())));
            }
            _ => {}
        }
        let needs_network = matches!(found.config.network, NetworkMode::Named(_));
        if needs_network && network != Some(found.bound_to) {
            let message = "network chanop_default not found".to_owned();
            found.error.clone_from(&message);
            found.exit_code = 128;
            return Err(Failure::Refused(Reason::NetworkMissing, message));
        }
        if found.config.image == IMAGE_BAD {
            found.error = "exec: not found".to_owned();
            found.exit_code = 127;
            let message = found.error.clone();
            return Err(Failure::Refused(Reason::StartFailed, message));
        }
        found.state = ContainerState::Running;
        found.started_at = Some(at);
        found.error = String::new();
        found.stopped = false;
        found.starts += 1;
        found.mounted = inode_of(&self.inodes, &found.config.working_dir);
        let crashes = found.config.image == IMAGE_CRASHES && found.agent.is_none();
        self.agent_begins(id, by);
        self.push(None);
        self.tell(id, "start", None);
        if crashes {
            self.ends.push((self.at + Duration::from_secs(1), id.clone()));
        }
        Ok(Answer::Done)
    }

    fn end(&mut self, id: &ContainerId, code: i64) {
        let how = if code == 143 { How::Term } else { How::Kill };
        self.end_as(id, code, how);
    }

    fn end_as(&mut self, id: &ContainerId, code: i64, how: How) {
        self.agent_ends(id, code, how);
        let (at, lag, clock) = (self.at, self.lag, self.clock());
        let Some(found) = self.containers.get_mut(id).filter(|c| c.is_live()) else { return };
        found.state = ContainerState::Exited;
        found.finished_at = Some(clock);
        found.exit_code = code;
        found.execs.clear();
        found.lags_until = at + lag;
        let again = !matches!(found.restart_policy.as_str(), "" | "no") && !found.stopped;
        self.tell(id, "die", Some(code));
        if again && code != 143 {
            if let Some(found) = self.containers.get_mut(id) {
                found.state = ContainerState::Restarting;
            }
            self.restarts.push((at + RESTARTS_AFTER, id.clone()));
        }
    }

    /// `rm -rf PATH && mkdir PATH`: containers keep the old one.
    pub fn replace_path(&mut self, path: &str) {
        *self.inodes.entry(path.to_owned()).or_insert(0) += 1;
    }

    /// Has it another workspace mounted than the one that has the name now?
    pub fn has_replaced_workspace(&self, container: &Container) -> bool {
        container.mounted != inode_of(&self.inodes, &container.config.working_dir)
    }

    /// Is it bound to a network that is gone?
    pub fn is_unstartable(&self, container: &Container) -> bool {
        matches!(container.config.network, NetworkMode::Named(_))
            && !(self.network && container.bound_to == self.networks_made)
    }

    /// A restart policy does its work.
    fn come_up_again(&mut self, id: &ContainerId) {
        let clock = self.clock();
        let Some(found) =
            self.containers.get_mut(id).filter(|found| found.state == ContainerState::Restarting)
        else {
            return;
        };
        found.state = ContainerState::Running;
        found.started_at = Some(clock);
        found.starts += 1;
        found.mounted = inode_of(&self.inodes, &found.config.working_dir);
        found.restarted += 1;
        self.agent_begins(id, Starter::Policy);
        self.tell(id, "start", None);
    }

    fn remove(&mut self, id: &ContainerId, force: bool) -> Result<Answer, Failure> {
        let lost = || Failure::NotFound(format!("no such container: {}", id.short()));
        let found = self.containers.get_mut(id).ok_or_else(lost)?;
        if found.state == ContainerState::Removing {
            return Err(Failure::Conflict("removal is in progress already".to_owned()));
        }
        if found.is_live() && !force {
            return Err(Failure::Conflict("it runs".to_owned()));
        }
        if found.is_live() {
            self.end(id, 137);
        }
        let labels = self.containers.remove(id).map(|found| found.config.labels);
        self.tell_labels(id, "destroy", None, labels);
        Ok(Answer::Done)
    }
}

/// What a container is connected to when it is made.
fn networks_of(mode: &NetworkMode) -> BTreeSet<String> {
    BTreeSet::from([match mode {
        NetworkMode::None => "none".to_owned(),
        NetworkMode::Host => "host".to_owned(),
        NetworkMode::Named(name) => name.clone(),
    }])
}

/// Label and name together: told here in words of its own, since the core's rule is what is to be judged.
pub fn is_ours(instance: &ResourceName, container: &Container) -> bool {
    spells(instance, &container.config.labels, &container.name)
}

/// Do these labels spell this name?
pub fn spells(
    instance: &ResourceName,
    labels: &BTreeMap<String, String>,
    name: &ContainerName,
) -> bool {
    let label = |key: &str| labels.get(&format!("dev.chanop.{key}")).map(String::as_str);
    let Some(channel) = label("channel") else { return false };
    let spelt = match (label("kind"), label("run"), label("attempt")) {
        (Some("run"), Some(run), Some(attempt)) => {
            format!("chanop_{instance}_{channel}_{run}_{attempt}")
        }
        _ => format!("chanop_{instance}_{channel}"),
    };
    label("instance") == Some(instance.as_str()) && name.as_str() == spelt
}

fn take_due(list: &mut Vec<(Duration, ContainerId)>, now: Duration) -> Vec<ContainerId> {
    let due = list.iter().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone()).collect();
    list.retain(|(at, _)| *at > now);
    due
}
