//! The scheduler: carries out effects late, twice or not at all, and keeps virtual time.
//!
//! Whatever the core asks for becomes a happening in the future; the order of what falls on one instant is the order of
//! asking. A crash takes the core and every answer on its way; what the engine was asked, it may still do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chanop::container::ContainerId;
use chanop::controller::Controller;
use chanop::controller::effect::{Call, Effect};
use chanop::controller::input::{Answer, Failure, Input, Seq, StreamEvent};
use chanop::controller::request::{Reply, Request};
use chanop::controller::view::{ChannelView, View};
use chanop::planner::Mark;
use chanop::resource::{Now, ObjectRef};
use chanop::world::Settings;
use chanop::world::facts::Facts;
use chanop::world::record::Write;
use jiff::{SignedDuration, Timestamp};

use self::runs::Following;
use crate::check::Check;
use crate::engine::{Container, Engine, Event, wall};
use crate::host::{Host, name, settings};
use crate::rng::Rng;
use crate::store::Store;
use crate::tree::{Spec, Tree};

mod calls;
mod events;
mod operator;
mod runs;

pub use calls::{Counted, Fate, Planned, key_of};

/// After a crash that a plan names.
const BACK_AFTER: Duration = Duration::from_millis(500);

/// How often what goes wrong, in thousandths.
#[derive(Debug, Clone, Copy, Default)]
pub struct Luck {
    /// A call never arrives, or its answer does not.
    pub unknown: u64,
    /// Of a call that was given up, that it is done later.
    pub zombie: u64,
    /// A call is refused, out of space, in conflict.
    pub refused: u64,
    /// An event is not delivered.
    pub event_lost: u64,
    /// An event is delivered twice.
    pub event_twice: u64,
    /// An event comes late, after others.
    pub event_late: u64,
    /// A list is answered with the body of the one before.
    pub stale_list: u64,
    /// The event stream never opens.
    pub unopened: u64,
    /// The operator crashes after an input.
    pub crash: u64,
    /// A commit fails.
    pub commit: u64,
    /// Nobody hears that a file changed.
    pub doorbell_lost: u64,
    /// How slow everything may be, in milliseconds.
    pub slow: u64,
}

impl Luck {
    /// How many kinds there are.
    pub const COUNT: usize = 11;

    /// One kind, by number.
    pub const fn of(&mut self, number: usize) -> &mut u64 {
        match number {
            0 => &mut self.unknown,
            1 => &mut self.zombie,
            2 => &mut self.refused,
            3 => &mut self.event_lost,
            4 => &mut self.event_twice,
            5 => &mut self.event_late,
            6 => &mut self.stale_list,
            7 => &mut self.unopened,
            8 => &mut self.crash,
            9 => &mut self.commit,
            _ => &mut self.doorbell_lost,
        }
    }
}

#[derive(Debug)]
enum Happening {
    Execute { call: u64 },
    Answer { generation: u32, call: u64, answer: Result<Answer, Failure> },
    Durable { generation: u32, seq: Seq, writes: Vec<Write>, fails: bool },
    Committed { generation: u32, seq: Seq, result: Result<(), String> },
    Opened { generation: u32, epoch: Seq },
    Subscribe { generation: u32, epoch: Seq },
    Ring { generation: u32, epoch: Seq, event: Event },
    Ended { generation: u32, epoch: Seq },
    Look,
    Periodic { generation: u32 },
    Restart,
    EngineUp,
    Leaves(ContainerId),
    TakesOver { generation: u32 },
    Progress { generation: u32, id: ContainerId },
    Followed { generation: u32, id: ContainerId },
}

#[derive(Debug)]
struct OnItsWay {
    generation: u32,
    seq: Seq,
    subject: Option<ObjectRef>,
    call: Call,
    sent: Duration,
    answers: bool,
    /// What others do just before it arrives.
    fate: Fate,
}

#[derive(Debug, Clone, Copy)]
struct Stream {
    epoch: Seq,
    since: Timestamp,
    subscribed: bool,
}

/// A call as the log has it.
#[derive(Debug, Clone, PartialEq)]
pub struct Logged {
    /// When it was sent.
    pub at: Duration,
    /// For which channel, or `run/` and which run.
    pub channel: Option<String>,
    /// What.
    pub word: &'static str,
    /// Does it change something?
    pub mutates: bool,
}

/// The world and the core in it.
#[derive(Debug)]
pub struct Sim {
    /// Chance.
    pub rng: Rng,
    /// Virtual time.
    pub now: Duration,
    /// Docker.
    pub engine: Engine,
    /// The spec directory.
    pub tree: Tree,
    /// The database.
    pub store: Store,
    /// The file system.
    pub host: Host,
    /// The flags.
    pub settings: Settings,
    /// What the specs directory, instance and labels are.
    pub scope: String,
    /// Does a person start an operator that gave up again, with `--takeover`?
    pub supervised: bool,
    /// How far the operator's clock is ahead of true time.
    pub ahead: SignedDuration,
    /// `--takeover`, until it was granted.
    pub takeover: bool,
    /// The promises.
    pub check: Check,
    /// How it goes.
    pub luck: Luck,
    /// What goes wrong in this case, and when.
    pub planned: Planned,
    /// What a plan can name.
    pub counted: Counted,
    /// The fates of the next calls of a word.
    pub fates: VecDeque<(&'static str, Fate)>,
    /// The event stream is open and says nothing.
    pub deaf: bool,
    /// What was last published.
    pub view: Arc<View>,
    /// Answers to requests.
    pub replies: BTreeMap<u64, Reply>,
    /// Every call.
    pub calls: Vec<Logged>,
    /// Everything, in plain words.
    pub log: Vec<String>,
    /// The core said that it cannot go on.
    pub fatal: Option<String>,
    /// The follower of runs' output hangs.
    pub follower_hangs: bool,
    /// Are commits part of the trace?
    pub show_commits: bool,
    /// Inputs taken.
    pub inputs: u64,
    /// Measures the core, where somebody wants to know.
    pub clock: Option<fn() -> Duration>,
    /// What it took, and the longest of its inputs.
    pub core_took: (Duration, Duration),
    core: Option<Controller>,
    marks: BTreeSet<Mark>,
    born: Duration,
    generation: u32,
    happenings: BTreeMap<(Duration, u64), Happening>,
    counter: u64,
    wake: Option<Duration>,
    flying: BTreeMap<u64, OnItsWay>,
    stream: Option<Stream>,
    following: BTreeMap<ContainerId, Following>,
    committing: BTreeMap<Seq, Vec<Write>>,
    restarts_at: Option<Duration>,
    looking: Option<Duration>,
    here: (Duration, u32),
    probed: Option<Facts>,
}

impl Sim {
    /// A world without a file or container, and an operator that begins.
    pub fn new(seed: u64) -> Self {
        let mut sim = Self {
            rng: Rng::new(seed),
            now: Duration::ZERO,
            engine: Engine::new(),
            tree: Tree::default(),
            store: Store::default(),
            host: Host::default(),
            settings: settings(),
            scope: "specs".to_owned(),
            supervised: false,
            ahead: SignedDuration::ZERO,
            takeover: false,
            check: Check::default(),
            luck: Luck { slow: 20, ..Luck::default() },
            planned: Planned::default(),
            counted: Counted::default(),
            fates: VecDeque::new(),
            deaf: false,
            view: Arc::default(),
            replies: BTreeMap::new(),
            calls: Vec::new(),
            log: Vec::new(),
            fatal: None,
            follower_hangs: false,
            show_commits: false,
            inputs: 0,
            clock: None,
            core_took: (Duration::ZERO, Duration::ZERO),
            core: None,
            marks: BTreeSet::new(),
            born: Duration::ZERO,
            generation: 0,
            happenings: BTreeMap::new(),
            counter: 0,
            wake: None,
            flying: BTreeMap::new(),
            stream: None,
            following: BTreeMap::new(),
            committing: BTreeMap::new(),
            restarts_at: None,
            looking: None,
            here: (Duration::ZERO, 0),
            probed: None,
        };
        sim.at(Duration::ZERO, Happening::Restart);
        sim
    }

    /// A world in which these channels have a file each.
    pub fn with_channels(seed: u64, channels: &[&str]) -> Self {
        let mut sim = Self::new(seed);
        for channel in channels {
            sim.tree.write(channel, Spec::default());
        }
        sim
    }

    /// Writes a line of the trace.
    pub fn note(&mut self, line: impl AsRef<str>) {
        let line = format!("{:>10.3}s  {}", self.now.as_secs_f64(), line.as_ref());
        self.log.push(line);
    }

    fn at(&mut self, time: Duration, happening: Happening) {
        self.counter += 1;
        self.happenings.insert((time.max(self.now), self.counter), happening);
    }

    fn soon(&mut self) -> Duration {
        let slow = self.luck.slow.max(1);
        self.now + self.rng.millis(1, slow)
    }

    /// The branches of recovery that all cores took.
    pub fn marks(&self) -> BTreeSet<Mark> {
        let living = self.core.iter().flat_map(|core| core.marks());
        self.marks.iter().chain(living).copied().collect()
    }

    /// The core, while it lives.
    pub const fn core(&self) -> Option<&Controller> {
        self.core.as_ref()
    }

    /// The core's time.
    pub fn core_now(&self) -> Now {
        let true_time = wall(self.now);
        let wall = true_time.checked_add(self.ahead).unwrap_or(true_time);
        Now { mono: self.now.saturating_sub(self.born), wall }
    }

    // Time.

    /// Lets time pass.
    pub fn run_for(&mut self, time: Duration) {
        let end = self.now + time;
        while self.step(end) {}
        self.now = end;
        self.engine.pass(end);
    }

    /// Lets time pass until it is so; true when it came to be within the limit.
    pub fn run_until(&mut self, limit: Duration, mut so: impl FnMut(&Self) -> bool) -> bool {
        let end = self.now + limit;
        loop {
            if so(self) {
                return true;
            }
            if !self.step(end) {
                self.now = end;
                self.engine.pass(end);
                return so(self);
            }
        }
    }

    /// The next thing that happens, unless it lies beyond `end`.
    pub fn step(&mut self, end: Duration) -> bool {
        if self.check.broken.is_some() {
            return false;
        }
        if self.inputs > 30_000 {
            self.check.fail("30,000 inputs: something goes round and round");
        }
        self.spread_news();
        self.watch_runs();
        let happening = self.happenings.first_key_value().map(|((at, _), _)| *at);
        let next = [happening, self.wake, self.engine.next_time()].into_iter().flatten().min();
        let Some(at) = next.filter(|at| *at <= end) else { return false };
        self.now = at.max(self.now);
        self.engine.pass(self.now);
        self.spread_news();
        if self.engine.next_time().is_some_and(|time| time <= self.now) {
            return true;
        }
        if happening.is_some_and(|time| time <= self.now) {
            if let Some((_, happening)) = self.happenings.pop_first() {
                self.happen(happening);
            }
        } else if self.wake.is_some_and(|time| time <= self.now) {
            self.wake = None;
            self.feed(Input::Tick);
        }
        self.spread_news();
        true
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Execute { call } => self.execute(call),
            Happening::Answer { generation, call, answer } if generation == self.generation => {
                self.answer(call, answer);
            }
            Happening::Durable { generation, seq, writes, fails } => {
                if generation != self.generation {
                    return;
                }
                let failed = fails || self.store.failing;
                let result = if failed {
                    Err("disk I/O error".to_owned())
                } else {
                    self.make_durable(writes);
                    Ok(())
                };
                let at = self.soon();
                self.at(at, Happening::Committed { generation, seq, result });
            }
            Happening::Committed { generation, seq, result } if generation == self.generation => {
                let writes = self.committing.remove(&seq).unwrap_or_default();
                self.check.committed(&writes, result.is_ok());
                self.feed(Input::Committed { seq, result });
            }
            Happening::Opened { generation, epoch } if generation == self.generation => {
                self.feed(Input::Stream { epoch, event: StreamEvent::Opened });
            }
            Happening::Subscribe { generation, epoch } if generation == self.generation => {
                self.subscribe(epoch);
            }
            Happening::Ring { generation, epoch, event } if generation == self.generation => {
                if let Some(doorbell) = event.doorbell {
                    self.feed(Input::Stream { epoch, event: StreamEvent::Container(doorbell) });
                }
            }
            Happening::Ended { generation, epoch } if generation == self.generation => {
                let event = StreamEvent::Ended("connection closed".to_owned());
                self.feed(Input::Stream { epoch, event });
            }
            Happening::Look => {
                self.looking = None;
                self.look();
            }
            Happening::Periodic { generation } if generation == self.generation => {
                self.look();
                self.at(self.now + Duration::from_secs(30), Happening::Periodic { generation });
            }
            Happening::Restart => self.begin(),
            Happening::EngineUp => {
                self.note("the engine is back");
                self.engine.come_up();
            }
            Happening::TakesOver { generation } if generation == self.generation => {
                self.note("a person starts it again with --takeover");
                self.takeover = true;
                self.crash(Duration::from_secs(2));
            }
            Happening::Progress { generation, id } if generation == self.generation => {
                self.progress(&id);
            }
            Happening::Followed { generation, id } if generation == self.generation => {
                self.followed(&id);
            }
            Happening::Leaves(stranger) => self.engine.remove_by_hand(&stranger),
            _ => {}
        }
    }

    /// Is any call on its way?
    pub fn calls_fly(&self) -> bool {
        !self.flying.is_empty()
    }

    /// Asks the core; the answer will be in `replies`.
    pub fn request(&mut self, request: Request) -> u64 {
        let id = self.replies.len() as u64 + 1_000 + self.inputs;
        self.note(format!("a person asks: {request:?}"));
        self.check.asked();
        self.check.requested(&request);
        if let Request::Suspend { target, .. } = &request {
            self.check.overridden(target.name.as_str());
        }
        if let Request::ConfirmPrune(_) = &request {
            self.feed(Input::Requested { id, request });
            if matches!(self.replies.get(&id), Some(Reply::Accepted(_))) {
                self.check.confirmed();
            }
            return id;
        }
        self.feed(Input::Requested { id, request });
        id
    }

    /// Gives the core an input, and carries out what it wants.
    pub fn feed(&mut self, input: Input) {
        let now = self.core_now();
        let Some(core) = &mut self.core else { return };
        self.inputs += 1;
        let began = self.clock.map(|clock| clock());
        let effects = core.on(now, input);
        if let (Some(clock), Some(began)) = (self.clock, began) {
            let took = clock() - began;
            self.core_took = (self.core_took.0 + took, self.core_took.1.max(took));
        }
        self.watch_for_storms();
        let published = effects.iter().any(|effect| matches!(effect, Effect::Publish(_)));
        // What is written is decided before what is called, whatever the order in which both are said.
        for effect in &effects {
            if let Effect::Commit { writes, .. } = effect {
                self.check.commits(self.now, writes, &self.engine, &self.settings);
            }
        }
        for effect in effects {
            let acts = !matches!(effect, Effect::WakeAt(_) | Effect::Publish(_));
            self.carry_out(effect);
            self.counted.effects += u64::from(acts);
            let count = self.counted.effects;
            let crash = self.planned.crash.take_if(|(after, _)| acts && *after == count);
            if let Some((_, arrives)) = crash {
                return self.crash_where(BACK_AFTER, |_| arrives);
            }
        }
        if let Some(core) = self.core.as_ref().filter(|_| published && self.view.blocked.is_none())
        {
            self.check.no_lost_wake(core, &self.view, now);
        }
        if self.rng.permille(self.luck.crash) {
            let back = self.rng.millis(1, 3_000);
            self.crash(back);
        }
    }

    fn watch_for_storms(&mut self) {
        self.here =
            if self.here.0 == self.now { (self.now, self.here.1 + 1) } else { (self.now, 0) };
        if self.here.1 == 2_000 {
            let now = self.core_now().mono;
            let core = format!("{:?}", self.core);
            let timers: Vec<&str> =
                ["session:", "rescan_at:", "_retry_at:", "wakes:", "ensuring:", "published_at:"]
                    .iter()
                    .flat_map(|timer| core.match_indices(timer).map(|(at, _)| at))
                    .filter_map(|at| core.get(at..at + 80))
                    .collect();
            self.note(format!("{timers:#?} at {now:?}, wakes at {:?}", self.wake));
            self.check.fail("2,000 inputs at one instant: the core wakes itself without end");
        }
    }

    fn carry_out(&mut self, effect: Effect) {
        let generation = self.generation;
        match effect {
            Effect::Call { seq, subject, call, timeout, cause, waited: _ } => {
                self.send(seq, subject, call, timeout, &cause);
            }
            Effect::Commit { seq, writes } => {
                let fails = self.rng.permille(self.luck.commit);
                let at = self.soon();
                if self.show_commits {
                    self.note(format!("core: commit {writes:#?}"));
                }
                self.committing.insert(seq, writes.clone());
                self.at(at, Happening::Durable { generation, seq, writes, fails });
            }
            Effect::Follow { epoch, since } => {
                self.note("core: follow events");
                self.stream = Some(Stream { epoch, since, subscribed: false });
                let opened = self.soon();
                if self.rng.permille(self.luck.unopened) {
                    return;
                }
                if self.engine.down {
                    self.at(opened, Happening::Ended { generation, epoch });
                    return;
                }
                // The engine answers before it subscribes.
                let later = opened + self.rng.millis(0, self.luck.slow);
                self.at(opened, Happening::Opened { generation, epoch });
                self.at(later, Happening::Subscribe { generation, epoch });
            }
            Effect::FollowRuns(set) => self.follow_runs(&set),
            Effect::Scan => {
                let at = self.soon();
                self.look_at(at);
            }
            Effect::WakeAt(at) => self.wake = Some((self.born + at).max(self.now)),
            Effect::Publish(view) => {
                self.check.published(&self.view, &view);
                self.view = view;
            }
            Effect::Reply { id, reply } => {
                self.note(format!("core answers: {reply:?}"));
                if self.replies.insert(id, reply).is_some() {
                    self.check.fail("a request was answered twice");
                }
            }
            Effect::Fatal(why) => {
                self.note(format!("core gives up: {why}"));
                if self.supervised {
                    self.at(self.now + Duration::from_secs(1), Happening::TakesOver { generation });
                }
                self.fatal = Some(why);
            }
        }
    }

    // The spec directory.

    /// Something in the directory changed: somebody may hear of it.
    pub fn files_changed(&mut self) {
        if self.rng.permille(self.luck.doorbell_lost) {
            return;
        }
        let at = self.now + self.rng.millis(100, 100 + 2 * self.luck.slow);
        self.look_at(at);
    }

    fn look_at(&mut self, at: Duration) {
        if self.looking.is_none_or(|other| at < other) {
            self.looking = Some(at);
            self.at(at, Happening::Look);
        }
    }

    fn look(&mut self) {
        if self.core.is_none() {
            return;
        }
        let scan = self.tree.scan(self.core_now());
        self.check.scanned(&self.tree, self.now, self.settings.prune_delay);
        self.feed(Input::Scanned(scan));
    }

    /// Writes a channel's file.
    pub fn write(&mut self, channel: &str, spec: Spec) {
        self.note(format!("file of {channel}: {spec:?}"));
        self.tree.write(channel, spec);
        self.files_changed();
    }

    /// Changes a channel's file.
    pub fn edit(&mut self, channel: &str, change: impl FnOnce(&mut Spec)) {
        let mut spec = self.tree.files.get(channel).map_or_else(Spec::default, |f| f.spec.clone());
        change(&mut spec);
        self.write(channel, spec);
    }

    /// Deletes a channel's file.
    pub fn delete(&mut self, channel: &str) {
        self.note(format!("file of {channel}: deleted"));
        self.tree.delete(channel);
        self.files_changed();
    }

    // What is.

    /// The channel's own shell container.
    pub fn shell(&self, channel: &str) -> Option<&Container> {
        self.engine.shell(&self.settings.instance, &name(channel))
    }

    /// The channel as published.
    pub fn channel(&self, channel: &str) -> Option<&ChannelView> {
        self.view.channels.get(&name(channel)).map(AsRef::as_ref)
    }

    /// Is it published as ready, and does its shell run?
    pub fn is_ready(&self, channel: &str) -> bool {
        self.channel(channel).is_some_and(|view| view.ready)
            && self.shell(channel).is_some_and(Container::is_live)
    }

    /// Are all channels of the directory ready?
    pub fn all_ready(&self) -> bool {
        self.tree.files.keys().all(|channel| self.is_ready(channel))
    }

    /// Calls of a word sent since, for all or one channel.
    pub fn count(&self, since: Duration, word: &str, channel: Option<&str>) -> usize {
        self.calls
            .iter()
            .filter(|call| call.at >= since && call.word == word)
            .filter(|call| channel.is_none() || call.channel.as_deref() == channel)
            .count()
    }

    /// Changing calls sent since.
    pub fn mutations(&self, since: Duration) -> usize {
        self.calls.iter().filter(|call| call.at >= since && call.mutates).count()
    }
}
