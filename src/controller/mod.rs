//! The core: a state machine without I/O that says when the planner's actions are carried out.
//!
//! [`Controller::on`] takes what happened and answers with what to do. It owns the world and everything that decides about
//! *when*: the queue, gates and lanes (`drive`), what is fresh enough to act on (`answers`, `session`), last good
//! content ([`scan`]), and what people asked (`asked`). It reads no clock, draws no unseeded number and iterates only
//! ordered maps, so the same inputs give the same effects under tokio and under the simulator.
//!
//! Always:
//! - at most one call on its way for a channel or run, and after each answer it is planned again, from the world;
//! - after an unknown outcome the next call on that one is a read;
//! - a stop, remove, update or start of what was not made just now comes right after an inspect that nothing followed; but a run's
//!   container that was seen ended, whose end is on record, and of which nothing was heard since, is removed by that look (without force, and by its ID);
//! - every call gets one answer, each that is not as it should be has a call, a wake-up or a closed gate with a time.

mod answers;
mod asked;
mod audit;
mod drive;
mod events;
mod fence;
mod forget;
mod images;
mod leftovers;
mod mounts;
mod ports;
mod publish;
mod runs;
mod session;

pub mod backoff;
pub mod effect;
pub mod input;
pub mod judge;
pub mod key;
pub mod lanes;
pub mod request;
pub mod scan;
pub mod stats;
pub mod view;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

use self::backoff::{Gate, Jitter};
use self::effect::{Call, Effect};
use self::fence::Fence;
use self::input::{EngineFacts, Input, Seq};
use self::judge::Drafts;
use self::key::KeyState;
use self::lanes::Lanes;
use self::leftovers::Leftovers;
use self::mounts::MountChecks;
use self::request::Reply;
use self::runs::RunBooks;
use self::scan::Sources;
use self::session::Session;
use self::stats::Stats;
use self::view::{ChannelView, View};
use crate::planner::{Mark, Status};
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::effective::Build;
use crate::resource::{Kind, Now, ObjectRef, ResourceName};
use crate::world::admission::{Incumbents, PathClaims};
use crate::world::desired::DesiredChannel;
use crate::world::facts::{Facts, FactsWanted};
use crate::world::image::WantedImage;
use crate::world::ownership::Holder;
use crate::world::record::{EventRecord, Farewell, InventoryRow, Loaded, Write, meta_key};
use crate::world::run::Runs;
use crate::world::scan::{ParsedFile, Place};
use crate::world::{Settings, World};

/// How long a failed commit waits for its next try.
const STORE_RETRY: Duration = Duration::from_secs(5);
/// How many event records are kept.
const EVENTS_MAX: usize = 1_000;

/// What a controller begins with.
#[derive(Debug)]
pub struct Beginning {
    /// From flags and environment.
    pub settings: Settings,
    /// From the store.
    pub loaded: Loaded,
    /// The store's last good files, parsed.
    pub sources: BTreeMap<String, Arc<ParsedFile>>,
    /// What the specs directory, instance and host labels are now: see [`meta_key::SCOPE`].
    pub scope: String,
    /// May the anchor be taken over from another state directory?
    pub takeover: bool,
    /// Seeds the jitter.
    pub seed: u64,
}

/// A call on its way.
#[derive(Debug)]
struct Sent {
    subject: Option<ObjectRef>,
    call: Call,
    cause: String,
    at: Timestamp,
}

/// Somebody waits for a running shell.
#[derive(Debug)]
struct Ensuring {
    id: u64,
    channel: ResourceName,
    /// The check of its mounts that is answered first.
    mounts: Option<Seq>,
    until: Duration,
}

/// The core.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts, not the states of one thing"
)]
pub struct Controller {
    world: World,
    sources: Sources,
    drafts: Drafts,
    incumbents: Arc<Incumbents>,
    /// What channels were admitted with when containers were known: see [`Incumbents::admitted`].
    admitted: BTreeMap<ResourceName, Arc<PathClaims>>,
    facts: Arc<Facts>,
    facts_wanted: Arc<FactsWanted>,
    probing: bool,
    /// Of what images are built from; a large one takes long, and nobody else waits for it.
    reading_contexts: Option<BTreeSet<Build>>,
    keys: BTreeMap<ObjectRef, KeyState>,
    ready: BTreeSet<(u64, ObjectRef)>,
    wakes: BTreeSet<(Duration, ObjectRef)>,
    turns: u64,
    lanes: Lanes,
    session: Session,
    engine: EngineFacts,
    network_retry_at: Option<Duration>,
    /// Of the instance's network, which failed to be made.
    network_gate: Option<Gate>,
    /// How long images that could not be brought are left alone.
    image_gates: BTreeMap<WantedImage, Gate>,
    calls: BTreeMap<Seq, Sent>,
    seq: Seq,
    /// When the key of whom was forgotten: a list that was sent before may show it still, though an event made it a new key since.
    dropped: BTreeMap<ObjectRef, Seq>,
    /// Kept once a scan misses nothing under it.
    scope: Option<String>,
    /// As kept.
    place: Option<Place>,
    fence: Fence,
    /// Channels and runs whose last call failed for the engine's sake.
    engine_failures: BTreeSet<ObjectRef>,
    /// Was everything known since the engine was last away?
    was_live: bool,
    /// When it was last counted how many containers must be read.
    counted_dirty_at: Duration,
    /// How often in a row the engine could not be reached, or not for long.
    outages: u32,
    unsaved: Vec<Write>,
    committing: Option<(Seq, Vec<Write>)>,
    store_error: Option<String>,
    store_retry_at: Option<Duration>,
    rescan_at: Option<Duration>,
    ensuring: Vec<Ensuring>,
    mount_checks: MountChecks,
    leftovers: Leftovers,
    events: Vec<EventRecord>,
    stats: Stats,
    run_books: RunBooks,
    totals_changed: bool,
    /// Of the input at hand.
    now: Now,
    touched: BTreeSet<ObjectRef>,
    /// Running shells that may have been changed by hand while nobody listened: each is looked at once, one at a time.
    to_audit: BTreeSet<ResourceName>,
    auditing: Option<ResourceName>,
    /// Channels that wait for a port of another channel's container.
    port_waits: BTreeMap<ResourceName, ports::PortHolder>,
    view: View,
    view_dirty: bool,
    published_at: Option<Duration>,
    shutting_down: bool,
    jitter: Jitter,
    /// The branches of recovery that were taken.
    marks: BTreeSet<Mark>,
    out: Vec<Effect>,
}

impl Controller {
    /// A core that begins where the last one ended.
    pub fn new(beginning: Beginning) -> Self {
        let Beginning { settings, loaded, sources, scope, takeover, seed } = beginning;
        let channels = || loaded.inventory.iter().filter(|(_, row)| row.gone_since.is_none());
        let held: BTreeSet<ObjectRef> =
            channels().filter(|(_, row)| row.held).map(|(object, _)| object.clone()).collect();
        let old_scope = loaded.meta.get(meta_key::SCOPE);
        let suspicious = old_scope.is_some_and(|old| *old != scope);
        let settled_scope = old_scope == Some(&scope);
        let place: Option<Place> =
            loaded.meta.get(meta_key::PLACE).and_then(|text| serde_json::from_str(text).ok());
        // As last seen, be it by an earlier process: another one is said to be another.
        let engine_id = loaded.meta.get(meta_key::ENGINE_ID).cloned().unwrap_or_default();
        let tracker =
            Sources::restore(sources, &judge::owners(channels()), &held, place.clone(), suspicious);
        let holder = Holder {
            state_id: loaded.state_id,
            process: Some(settings.process),
            place: settings.state_place.clone(),
        };
        let mut world = World::new(settings);
        let instance = world.settings.instance.to_string();
        world.inventory = loaded.inventory;
        world.overrides = loaded.overrides;
        world.applied = loaded.applied;
        let first_sight = loaded.meta.get(meta_key::FIRST_SIGHT);
        world.runs = Runs::restore(loaded.runs, loaded.tombstones, loaded.sessions, loaded.totals);
        let runs_adopted = runs::adopt(&mut world.runs, first_sight);
        let mut keys: BTreeMap<ObjectRef, KeyState> = BTreeMap::new();
        for (object, conditions) in loaded.conditions {
            keys.entry(object).or_default().conditions = conditions;
        }
        for object in world.inventory.keys() {
            keys.entry(object.clone()).or_default();
        }
        for record in world.runs.iter().filter(|record| record.end.is_none()) {
            keys.entry(ObjectRef::run(record.id.name.clone())).or_default();
        }
        let touched = world.runs.iter().map(|record| ObjectRef::run(record.id.name.clone()));
        let touched = touched.collect();
        Self {
            world,
            sources: tracker,
            drafts: Drafts::default(),
            incumbents: Arc::default(),
            admitted: BTreeMap::new(),
            facts: Arc::default(),
            facts_wanted: Arc::default(),
            probing: false,
            reading_contexts: None,
            keys,
            ready: BTreeSet::new(),
            wakes: BTreeSet::new(),
            turns: 0,
            lanes: Lanes::new(2),
            session: Session::start(),
            engine: EngineFacts { id: engine_id, ..EngineFacts::default() },
            network_retry_at: None,
            network_gate: None,
            image_gates: BTreeMap::new(),
            calls: BTreeMap::new(),
            seq: 0,
            dropped: BTreeMap::new(),
            scope: (!settled_scope).then_some(scope),
            place,
            fence: Fence::new(holder, takeover, loaded.meta.get(meta_key::ANCHORED_ON).cloned()),
            engine_failures: BTreeSet::new(),
            was_live: false,
            counted_dirty_at: Duration::ZERO,
            outages: 0,
            unsaved: Vec::new(),
            committing: None,
            store_error: None,
            store_retry_at: None,
            rescan_at: None,
            ensuring: Vec::new(),
            mount_checks: MountChecks::default(),
            leftovers: Leftovers::default(),
            events: loaded.events,
            stats: Stats { runs_adopted, ..Stats::default() },
            run_books: RunBooks::begin(first_sight.is_some()),
            totals_changed: true,
            now: Now { mono: Duration::ZERO, wall: Timestamp::UNIX_EPOCH },
            touched,
            to_audit: BTreeSet::new(),
            auditing: None,
            port_waits: BTreeMap::new(),
            view: View { instance, ..View::default() },
            view_dirty: true,
            published_at: None,
            shutting_down: false,
            jitter: Jitter::new(seed),
            marks: BTreeSet::new(),
            out: Vec::new(),
        }
    }

    /// What is known, for tests and for the plan.
    pub const fn world(&self) -> &World {
        &self.world
    }

    /// Will it be planned again though nothing happens to it? A call or a record is on its way, a lane is waited for, or a time is set.
    /// For tests.
    pub fn will_look(&self, object: &ObjectRef) -> bool {
        let waits = |key: &KeyState| {
            key.in_flight.is_some() || key.wake_at.is_some() || key.waits_since.is_some()
        };
        self.keys.get(object).is_some_and(waits) || self.run_books.is_saving(&object.name)
    }

    /// The branches of recovery that were taken, for tests.
    pub const fn marks(&self) -> &BTreeSet<Mark> {
        &self.marks
    }

    /// Takes what happened, answers what to do.
    pub fn on(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Scanned(scan) => self.on_scan(now, scan),
            Input::Answered { seq, answer } => self.on_answer(now, seq, answer),
            Input::Progressed { seq, progress } => self.on_progress(seq, progress),
            Input::Committed { seq, result } => self.on_committed(now, seq, result),
            Input::RunProgressed { id, progress } => self.run_progressed(&id, progress),
            Input::RunFollowed { id, followed } => self.run_followed(&id, *followed),
            Input::Stream { epoch, event } => self.on_stream(now, epoch, event),
            Input::Requested { id, request } => self.asked(now, id, request),
            Input::Tick => {}
            Input::Shutdown => self.shutting_down = true,
        }
        self.pass_time(now);
        self.audit();
        self.enqueue_port_waits();
        self.drive(now);
        self.follow_runs();
        self.answer_ensures(now);
        self.remove_leftovers(now);
        self.publish(now);
        self.save(now);
        self.set_timer(now);
        std::mem::take(&mut self.out)
    }

    /// Everything whose time has come.
    fn pass_time(&mut self, now: Now) {
        self.advance_session(now);
        if self.rescan_at.is_some_and(|at| at <= now.mono) {
            self.rescan_at = None;
            self.out.push(Effect::Scan);
        }
        while let Some((at, object)) = self.wakes.first().cloned() {
            if at > now.mono {
                break;
            }
            self.wakes.remove(&(at, object.clone()));
            if let Some(key) = self.keys.get_mut(&object) {
                key.wake_at = None;
            }
            self.check_echo(now, &object);
            self.enqueue(&object);
        }
        let expired: Vec<ObjectRef> = self
            .world
            .overrides
            .iter()
            .filter(|(_, set)| set.until.is_some_and(|until| until <= now.wall))
            .map(|(object, _)| object.clone())
            .collect();
        for object in expired {
            self.marks.insert(Mark::OverrideEnds);
            self.world.overrides.remove(&object);
            self.unsaved.push(Write::Override(object.clone(), None));
            self.enqueue(&object);
            self.enqueue_runs_of(&object.name);
        }
    }

    fn on_scan(&mut self, now: Now, scan: crate::world::scan::RawScan) {
        let revision = scan.revision.as_ref().map(|revision| revision.text.clone());
        let complete =
            matches!(scan.root, crate::world::scan::Root::Present(_)) && scan.incomplete.is_none();
        let first = !self.sources.scanned();
        let outcome = self.sources.absorb(scan, self.world.settings.prune_delay);
        self.unsaved.extend(outcome.writes);
        self.mark_sources();
        self.keep_place();
        self.rescan_at = outcome.rescan_at.map(|at| at.max(now.mono));
        for (object, file) in &outcome.gone {
            self.object_gone(now, object, file);
        }
        if complete {
            self.view.specs.revision = revision;
            self.view.specs.scanned_at = Some(now.wall);
        }
        // A prompt's file may have come.
        self.world.runs.memory.prompts.retain(|_, read| read.is_ok());
        if outcome.changed || first {
            self.rebuild(now);
        } else {
            self.judge_claims(now);
        }
        // Facts are as old as the last scan: an unmounted disk or a new secret is noticed with it.
        self.probe();
        self.check_all_mounts(now);
        self.read_contexts();
        self.view_dirty = true;
    }

    fn mark_sources(&mut self) {
        let of = [
            (Mark::Frozen, self.sources.unavailable().is_some()),
            (Mark::LastGood, !self.sources.invalid().is_empty()),
            (Mark::RemovalHeld, self.sources.held().next().is_some()),
        ];
        self.marks.extend(of.into_iter().filter(|(_, so)| *so).map(|(mark, _)| mark));
    }

    /// Under which path, in which directory nothing was missing: what is missing elsewhere later is held.
    fn keep_place(&mut self) {
        let Some(place) = self.sources.settled_in() else { return };
        if self.place.as_ref() != Some(place) {
            if let Ok(text) = serde_json::to_string(place) {
                self.unsaved.push(Write::Meta(meta_key::PLACE.to_owned(), text));
            }
            self.place = Some(place.clone());
        }
        if let Some(scope) = self.scope.take() {
            self.unsaved.push(Write::Meta(meta_key::SCOPE.to_owned(), scope));
        }
    }

    fn object_gone(&mut self, now: Now, object: &ObjectRef, file: &str) {
        if object.kind == Kind::Channel {
            self.world.troubles.remove(&object.name);
        }
        if let Some(row) = self.world.inventory.get_mut(object) {
            row.gone_since = Some(now.wall);
            row.held = false;
            let row = row.clone();
            self.unsaved.push(Write::Inventory(object.clone(), Some(row)));
        }
        self.record(now, &object.to_string(), false, "Gone", &format!("{file} is gone"));
        self.enqueue(object);
    }

    /// Which channel has which host paths already.
    fn incumbents_now(&self) -> Arc<Incumbents> {
        let (containers, admitted) = (self.world.observed.claims(), self.admitted.clone());
        Arc::new(Incumbents { containers, admitted })
    }

    /// Containers came or went, and with them what they have mounted: that decides which of two channels is admitted.
    fn judge_claims(&mut self, now: Now) {
        if self.incumbents_now() != self.incumbents {
            self.rebuild(now);
        }
    }

    /// Judges everything anew, and plans what changed.
    fn rebuild(&mut self, now: Now) {
        self.incumbents = self.incumbents_now();
        let (desired, wanted) =
            self.drafts.desired(&self.sources, &self.facts, &self.world.settings, &self.incumbents);
        // A channel that was admitted before the engine was listed may be in the way of a container that nobody had seen.
        if self.world.observed.synced {
            self.admitted = self.drafts.admitted();
        }
        if wanted != self.facts_wanted {
            self.facts_wanted = wanted;
            self.probe();
            self.read_contexts();
        }
        let old = std::mem::replace(&mut self.world.desired, desired);
        self.keep_wanted_images();
        let mut changed: BTreeSet<ResourceName> = BTreeSet::new();
        for (name, channel) in &self.world.desired.channels {
            // What was not judged anew is the same.
            if old.channels.get(name).is_none_or(|old| !Arc::ptr_eq(old, channel) && old != channel)
            {
                changed.insert(name.clone());
            }
        }
        for name in old.channels.keys() {
            if !self.world.desired.channels.contains_key(name) {
                changed.insert(name.clone());
            }
        }
        let global = old.ready != self.world.desired.ready
            || old.unavailable != self.world.desired.unavailable;
        self.runs_desired(&old, &changed, global);
        self.stats.spec_changes += u64::from(!changed.is_empty());
        for name in &changed {
            self.note_desired(now, name, old.channels.get(name).map(AsRef::as_ref));
        }
        if old.unread != self.world.desired.unread {
            let desired = &self.world.desired.channels;
            let unexplained =
                self.world.observed.channels().filter(|it| !desired.contains_key(*it));
            changed.extend(unexplained.cloned());
        }
        if global {
            let channels = self.keys.keys().filter(|object| object.kind == Kind::Channel);
            changed.extend(channels.map(|object| object.name.clone()));
            changed.extend(self.world.observed.channels().cloned());
        }
        for name in changed {
            self.enqueue_channel(&name);
        }
        self.view_dirty = true;
    }

    /// Keeps the books of a channel whose wish changed: its row, its generation, its gates.
    fn note_desired(&mut self, now: Now, name: &ResourceName, old: Option<&DesiredChannel>) {
        let Some(desired) = self.world.desired.channels.get(name) else { return };
        let object = ObjectRef::channel(name.clone());
        let farewell = crate::planner::intent::farewell_of(desired);
        let before = self.world.inventory.get(&object).cloned();
        let mut row = before.clone().unwrap_or_else(|| InventoryRow {
            file: desired.source.file.clone(),
            generation: 0,
            fingerprint: String::new(),
            created_at: now.wall,
            pending_since: None,
            farewell: Farewell {
                keep_stopped_seconds: 3600,
                when_idle: true,
                max_wait_seconds: 86_400,
                grace_seconds: 10,
            },
            gone_since: None,
            held: false,
            stopped_at: None,
        });
        row.file.clone_from(&desired.source.file);
        row.gone_since = None;
        row.stopped_at = None;
        row.held = desired.removal_held;
        if let Some(farewell) = farewell {
            row.farewell = farewell;
        }
        let meant = row.fingerprint != desired.fingerprint;
        if meant {
            row.fingerprint.clone_from(&desired.fingerprint);
            row.generation += 1;
        }
        // What was said while no file wanted it is not said of the file, should a call keep it from being planned just now.
        if let Some(status) =
            self.keys.get_mut(&object).and_then(|key| key.status.as_mut()).filter(|_| old.is_none())
        {
            let message = "its file is new".to_owned();
            *status = Status { ready: ConditionStatus::Unknown, reason: Reason::Waiting, message };
        }
        // A new meaning, or a host that now allows it, is a new beginning.
        let judged_anew = old.is_none_or(|old| old.verdict != desired.verdict)
            || old.is_none_or(|old| old.target != desired.target);
        if meant || judged_anew {
            self.world.troubles.remove(name);
            self.world.crashes.remove(name);
            let key = self.keys.entry(object.clone()).or_default();
            key.gate = None;
            key.drift_tried = None;
            key.drift_again = false;
            key.mended = None;
        }
        if before.as_ref() != Some(&row) {
            self.world.inventory.insert(object.clone(), row.clone());
            self.unsaved.push(Write::Inventory(object, Some(row)));
        }
    }

    /// Looks at the host, unless somebody is looking.
    fn probe(&mut self) {
        if self.probing || self.shutting_down || *self.facts_wanted == FactsWanted::default() {
            return;
        }
        self.probing = true;
        let call = Call::Probe(Arc::clone(&self.facts_wanted));
        self.send(None, call, "the spec directory was read".to_owned());
    }

    /// Looks at what images are built from, unless that is being done.
    fn read_contexts(&mut self) {
        let wanted = self.facts_wanted.builds.clone();
        if self.reading_contexts.is_some() || self.shutting_down || wanted.is_empty() {
            return;
        }
        self.reading_contexts = Some(wanted.clone());
        self.send(None, Call::Contexts(wanted), "the spec directory was read".to_owned());
    }

    fn on_committed(&mut self, now: Now, seq: Seq, result: Result<(), String>) {
        let Some((expected, writes)) = self.committing.take() else { return };
        if expected != seq {
            self.committing = Some((expected, writes));
            return;
        }
        match result {
            Ok(()) => {
                if self.store_error.take().is_some() {
                    self.marks.insert(Mark::StoreIsBack);
                    self.enqueue_all();
                }
                self.runs_committed(true);
            }
            Err(error) => {
                self.marks.insert(Mark::CommitFailed);
                self.store_error = Some(error);
                self.store_retry_at = Some(now.mono + STORE_RETRY);
                let later = std::mem::replace(&mut self.unsaved, writes);
                self.unsaved.extend(later);
                self.runs_committed(false);
                self.view_dirty = true;
            }
        }
    }

    /// Sends what is to be kept, one transaction at a time: whatever gathers meanwhile goes into the next.
    fn save(&mut self, now: Now) {
        let waits = self.store_retry_at.is_some_and(|at| at > now.mono);
        if self.unsaved.is_empty() || self.committing.is_some() || waits {
            return;
        }
        let mut writes = std::mem::take(&mut self.unsaved);
        writes.append(&mut self.run_books.told);
        self.runs_committing();
        let seq = self.next_seq();
        self.store_retry_at = None;
        self.committing = Some((seq, writes.clone()));
        self.out.push(Effect::Commit { seq, writes });
    }

    const fn next_seq(&mut self) -> Seq {
        self.seq += 1;
        self.seq
    }

    fn reply(&mut self, id: u64, reply: Reply) {
        self.out.push(Effect::Reply { id, reply });
    }

    /// The earliest time at which something is to be done though nothing happens.
    fn set_timer(&mut self, now: Now) {
        // What only a live or a going operator does must not wake one that waits or ends.
        let session = self.session.next_time().filter(|_| !self.shutting_down);
        let publish = self.next_publication(now);
        let others = [
            session,
            publish,
            self.rescan_at,
            self.lanes.next_token(),
            self.network_retry_at.filter(|_| self.session.is_live() && !self.shutting_down),
            self.store_retry_at.filter(|_| self.committing.is_none() && !self.unsaved.is_empty()),
            self.wakes.first().map(|(at, _)| *at),
            self.ensuring.iter().map(|waiting| waiting.until).min(),
            self.next_override_end(now),
        ];
        if let Some(at) = others.into_iter().flatten().min() {
            self.out.push(Effect::WakeAt(at));
        }
    }

    fn next_override_end(&self, now: Now) -> Option<Duration> {
        let until = self.world.overrides.values().filter_map(|set| set.until).min()?;
        let left = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
        Some(now.mono + left)
    }

    fn channel_view(&self, name: &ResourceName) -> Option<&Arc<ChannelView>> {
        self.view.channels.get(name)
    }
}
