//! The connection to the engine: reach it, know whose it is, follow its events, list, and stay in touch.
//!
//! The order matters. The engine answers the request for events before it subscribes, and it replays only what `since`
//! asks for: so the stream is opened from a moment before, then a list is made, and only then does the core act. Events are
//! doorbells; a stream that ends or that misses what it must tell costs a new list, never a wrong belief.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use super::backoff::{Class, after_failure, wall_at};
use super::effect::{Call, Effect};
use super::input::{Answer, Doorbell, Failure, Seq, StreamEvent};
use super::key::MustRead;
use super::stats::event_word;
use crate::container::{ContainerId, ContainerState, Identity, Snapshot};
use crate::planner::Mark;
use crate::resource::condition::Reason;
use crate::resource::{Kind, Now, ObjectRef};
use crate::world::Trouble;
use crate::world::facts::Facts;
use crate::world::observed::Noted;
use crate::world::record::{Write, meta_key};

/// Between two pings.
const PING_EVERY: Duration = Duration::from_secs(15);
/// Between two lists, give or take a fifth: the net under all that events may miss.
const LIST_EVERY: Duration = Duration::from_mins(1);
/// The engine must open its event stream within this.
const OPEN_WITHIN: Duration = Duration::from_secs(10);
/// How far before the present a stream begins: clocks are read in whole seconds in places, and replay is cheap.
const REPLAY: jiff::SignedDuration = jiff::SignedDuration::from_secs(2);
/// What conditions say under `userns-remap`.
const REMAPS_USERS: &str = "the engine remaps user IDs (userns-remap), so containers cannot use the owner's files: remove \
     `userns-remap` from /etc/docker/daemon.json and restart dockerd, or run the operator with --docker-host on an engine without it";
/// The event of an own change must come within this.
pub(super) const ECHO_WITHIN: Duration = Duration::from_secs(5);
/// So many channels whose calls failed for the engine's sake, with no success between, and nothing is sent until it answers.
/// One container that the engine cannot handle is not the engine.
const BREAKER_AT: usize = 3;
/// How often they are counted.
const COUNT_DIRTY_EVERY: Duration = Duration::from_millis(50);
/// More dirty containers than this and a list is cheaper than looking at each.
const LIST_RATHER_THAN: usize = 8;

/// How the connection stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Session {
    /// The engine does not answer; asked again at this time.
    Down { retry_at: Duration, error: Option<String> },
    /// Who are you?
    Asking { seq: Seq },
    /// Whose are you?
    Anchoring { seq: Seq },
    /// The stream is being opened.
    Opening { epoch: Seq, until: Duration },
    /// The first list is on its way.
    Listing { epoch: Seq, seq: Seq },
    /// All is known.
    Live(Live),
}

/// A connection that works.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Live {
    epoch: Seq,
    ping_at: Duration,
    ping: Option<Seq>,
    list_at: Duration,
    list: Option<Seq>,
    pub(super) anchor_at: Duration,
    pub(super) anchor: Option<Seq>,
}

impl Live {
    /// The engine answered, which a ping would only say again.
    pub(super) fn heard(&mut self, now: Duration) {
        self.ping_at = now + PING_EVERY;
    }
}

impl Session {
    pub(super) const fn start() -> Self {
        Self::Down { retry_at: Duration::ZERO, error: None }
    }

    pub(super) const fn is_live(&self) -> bool {
        matches!(self, Self::Live(_))
    }

    /// Why nothing can be done now.
    pub(super) fn error(&self) -> Option<String> {
        match self {
            Self::Down { error, .. } => {
                Some(error.clone().unwrap_or_else(|| "not asked yet".to_owned()))
            }
            Self::Asking { .. }
            | Self::Anchoring { .. }
            | Self::Opening { .. }
            | Self::Listing { .. } => Some("connecting".to_owned()),
            Self::Live(_) => None,
        }
    }

    pub(super) fn next_time(&self) -> Option<Duration> {
        match self {
            Self::Down { retry_at, .. } => Some(*retry_at),
            Self::Asking { .. } | Self::Anchoring { .. } | Self::Listing { .. } => None,
            Self::Opening { until, .. } => Some(*until),
            Self::Live(live) => {
                let ping = live.ping.is_none().then_some(live.ping_at);
                let list = live.list.is_none().then_some(live.list_at);
                let anchor = live.anchor.is_none().then_some(live.anchor_at);
                ping.into_iter().chain(list).chain(anchor).min()
            }
        }
    }
}

impl Controller {
    pub(super) fn advance_session(&mut self, now: Now) {
        if self.shutting_down {
            return;
        }
        match self.session.clone() {
            Session::Down { retry_at, .. } if retry_at <= now.mono => {
                let seq = self.send(None, Call::Info, "connects".to_owned());
                self.session = Session::Asking { seq };
            }
            Session::Opening { until, .. } if until <= now.mono => {
                self.marks.insert(Mark::NotOpened);
                self.go_down(now, "the event stream did not open");
            }
            Session::Live(live) => self.stay_live(now, live),
            Session::Down { .. }
            | Session::Asking { .. }
            | Session::Anchoring { .. }
            | Session::Opening { .. }
            | Session::Listing { .. } => {}
        }
    }

    fn stay_live(&mut self, now: Now, mut live: Live) {
        if live.ping.is_none() && live.ping_at <= now.mono {
            live.ping = Some(self.send(None, Call::Ping, "keeps in touch".to_owned()));
        }
        let many = live.list.is_none() && self.many_are_dirty(now);
        if live.list.is_none() && (live.list_at <= now.mono || many) {
            let (why, cause) = if many {
                self.marks.insert(Mark::ListRather);
                ("many_changes", "much has changed")
            } else {
                ("periodic", "looks at everything")
            };
            live.list = Some(self.send(None, Call::List, cause.to_owned()));
            self.stats.relists.add(why);
        }
        if live.anchor.is_none() && live.anchor_at <= now.mono {
            live.anchor = Some(self.read_anchor("is the instance still ours?"));
        }
        if self.network_retry_at.is_some_and(|at| at <= now.mono) {
            self.network_retry_at = None;
            self.send(None, Call::Network, "makes sure of the network".to_owned());
        }
        self.session = Session::Live(live);
    }

    /// Must so many be read that one list is cheaper? Counting them takes its time where there are thousands, and what is doubted in
    /// the meantime is looked at one by one.
    fn many_are_dirty(&mut self, now: Now) -> bool {
        if now.mono < self.counted_dirty_at + COUNT_DIRTY_EVERY {
            return false;
        }
        self.counted_dirty_at = now.mono;
        let dirty = self.keys.values().filter(|key| key.must_read.is_some()).count();
        dirty > LIST_RATHER_THAN.max(self.world.observed.len() / 10)
    }

    /// The engine is away: nothing is sent until it answers.
    pub(super) fn go_down(&mut self, now: Now, error: &str) {
        self.outages = self.outages.saturating_add(1);
        self.runs_unheard();
        if std::mem::take(&mut self.was_live) {
            self.marks.insert(Mark::WentDown);
            self.record(now, "operator", true, "EngineUnavailable", error);
            self.enqueue_all();
        }
        // From 0.2 s, doubling to 5 s: one probe for the whole engine, whatever the number of channels.
        let wait =
            Duration::from_millis(200 << (self.outages - 1).min(5)).min(Duration::from_secs(5));
        let retry_at = now.mono + wait;
        self.session = Session::Down { retry_at, error: Some(error.to_owned()) };
        self.world.observed.synced = false;
        self.view_dirty = true;
    }

    /// An engine failure on a channel's call: a few in a row mean that it is not the channel's.
    pub(super) fn count_engine_failure(&mut self, now: Now, object: &ObjectRef, failure: &Failure) {
        self.engine_failures.insert(object.clone());
        let unreachable = matches!(failure, Failure::Unreachable(_));
        if self.session.is_live() && (unreachable || self.engine_failures.len() >= BREAKER_AT) {
            if !unreachable {
                self.marks.insert(Mark::Breaker);
            }
            self.go_down(now, failure.message());
        }
    }

    /// The answer to a call that concerns no channel.
    pub(super) fn on_session_answer(
        &mut self,
        now: Now,
        seq: Seq,
        call: &Call,
        answer: Result<Answer, Failure>,
    ) {
        match (call, answer) {
            (Call::Probe(_), Ok(Answer::Facts(facts))) => {
                self.probing = false;
                let (builds, default_runtime) =
                    (self.facts.builds.clone(), self.facts.default_runtime.clone());
                let facts = Facts { builds, default_runtime, ..facts };
                if facts != *self.facts {
                    self.facts = Arc::new(facts);
                    self.rebuild(now);
                }
                // What was wanted while this look was on its way.
                if matches!(call, Call::Probe(wanted) if *wanted != self.facts_wanted) {
                    self.probe();
                }
            }
            (Call::Probe(_), _) => self.probing = false,
            (Call::Contexts(_), answer) => self.contexts_read(now, answer),
            (Call::CheckMounts(_), answer) => self.mounts_checked(now, seq, answer),
            (Call::RemoveSecrets { .. }, answer) => self.leftovers_removed(now, answer),
            (Call::Network, Ok(_)) => {
                self.network_gate = None;
                let failed = self.world.network_failure.take().is_some();
                if failed || !self.world.network_ready {
                    self.world.network_ready = true;
                    self.enqueue_all();
                }
            }
            (Call::Network, Err(failure)) => self.network_failed(now, &failure),
            (Call::LookForImage(image) | Call::BringImage(image), answer) => {
                self.image_answered(now, image, answer);
            }
            (_, Err(failure)) => self.session_failed(now, seq, call, &failure),
            (Call::Info, Ok(Answer::Engine(facts))) => self.engine_known(now, seq, facts),
            (Call::Anchor(_), Ok(Answer::Anchor(holder))) => {
                self.anchored(now, seq, &holder);
            }
            (Call::List, Ok(Answer::Listed(listed))) => self.listed(now, seq, listed),
            (Call::Ping, Ok(_)) => {
                self.engine_failures.clear();
                if let Session::Live(live) = &mut self.session {
                    // It has lasted: the next outage is a new one.
                    self.outages = 0;
                    live.ping = None;
                    live.ping_at = now.mono + PING_EVERY;
                }
            }
            (_, Ok(_)) => {}
        }
    }

    /// The instance's network could not be made: an address pool that is exhausted stays so until somebody removes a network.
    fn network_failed(&mut self, now: Now, failure: &Failure) {
        self.marks.insert(Mark::NetworkFailed);
        let message = failure.message().to_owned();
        self.record(now, "operator", true, "NetworkFailed", &message);
        let reason = match failure {
            Failure::Refused(reason, _) | Failure::Failed(reason, _)
                if *reason != Reason::HostFailed =>
            {
                *reason
            }
            _ => Reason::NetworkMissing,
        };
        let gate = after_failure(self.network_gate, Class::Spec, now.mono, self.jitter.draw());
        self.network_gate = Some(gate);
        self.network_retry_at = Some(gate.until);
        let retry_at = wall_at(now, gate.until);
        let count = gate.failures;
        self.world.network_failure = Some(Trouble { reason, message, count, retry_at });
        // Whoever waits for the network says why.
        self.enqueue_all();
    }

    fn contexts_read(&mut self, now: Now, answer: Result<Answer, Failure>) {
        let asked = self.reading_contexts.take();
        if let Ok(Answer::Contexts(builds)) = answer
            && builds != self.facts.builds
        {
            Arc::make_mut(&mut self.facts).builds = builds;
            self.rebuild(now);
        }
        // What was wanted while this look was on its way.
        if asked.is_some_and(|asked| asked != self.facts_wanted.builds) {
            self.read_contexts();
        }
    }

    /// A call that keeps the connection failed. An older connection's call is nobody's.
    fn session_failed(&mut self, now: Now, seq: Seq, call: &Call, failure: &Failure) {
        let mine = match &self.session {
            Session::Asking { seq: expected }
            | Session::Anchoring { seq: expected }
            | Session::Listing { seq: expected, .. } => *expected == seq,
            Session::Live(live) => [live.ping, live.list, live.anchor].contains(&Some(seq)),
            Session::Down { .. } | Session::Opening { .. } => false,
        };
        if !mine {
            return;
        }
        let anchors = matches!(call, Call::Anchor(_));
        if anchors && self.session.is_live() && self.anchor_failed(now, failure) {
            return;
        }
        if let (true, Failure::Refused(_, message)) = (anchors, failure) {
            self.marks.insert(Mark::AnchorRefused);
            self.out.push(Effect::Fatal(message.clone()));
        }
        self.go_down(now, failure.message());
    }

    fn engine_known(&mut self, now: Now, seq: Seq, facts: super::input::EngineFacts) {
        let Session::Asking { seq: expected } = self.session else { return };
        if expected != seq {
            return;
        }
        if facts.remaps_users {
            // Nothing is tried: each container would fail with runc's "permission denied". The engine may come back without.
            self.go_down(now, REMAPS_USERS);
            return;
        }
        self.lanes.set_cpus(facts.cpus);
        self.world.engine_limits_swap = facts.limits_swap;
        if facts.id != self.engine.id {
            self.unsaved.push(Write::Meta(meta_key::ENGINE_ID.to_owned(), facts.id.clone()));
            if !self.engine.id.is_empty() {
                self.marks.insert(Mark::EngineChanged);
                let message = "another engine answers: containers are made anew on it";
                self.record(now, "operator", true, "EngineChanged", message);
                self.forget_images();
            }
        }
        if self.facts.default_runtime.as_ref() != Some(&facts.default_runtime) {
            Arc::make_mut(&mut self.facts).default_runtime = Some(facts.default_runtime.clone());
            self.rebuild(now);
        }
        self.engine = facts;
        let seq = self.read_anchor("makes sure that the instance is ours");
        self.session = Session::Anchoring { seq };
    }

    /// The instance is ours, and all that depends on that begins.
    pub(super) fn anchor_is_ours(&mut self, now: Now) {
        self.world.network_ready = false;
        self.world.network_failure = None;
        self.network_gate = None;
        self.network_retry_at = None;
        self.open_stream(now);
        self.send(None, Call::Network, "makes sure of the network".to_owned());
    }

    fn open_stream(&mut self, now: Now) {
        let epoch = self.next_seq();
        let since = now.wall.checked_sub(REPLAY).unwrap_or(now.wall);
        self.out.push(Effect::Follow { epoch, since });
        self.session = Session::Opening { epoch, until: now.mono + OPEN_WITHIN };
    }

    pub(super) fn on_stream(&mut self, now: Now, epoch: Seq, event: StreamEvent) {
        let current = match &self.session {
            Session::Opening { epoch, .. } | Session::Listing { epoch, .. } => *epoch,
            Session::Live(live) => live.epoch,
            Session::Down { .. } | Session::Asking { .. } | Session::Anchoring { .. } => return,
        };
        if current != epoch {
            return;
        }
        match event {
            StreamEvent::Opened => {
                if matches!(self.session, Session::Opening { .. }) {
                    let seq = self.send(None, Call::List, "connects".to_owned());
                    self.stats.relists.add(if self.was_live { "event_gap" } else { "connect" });
                    self.session = Session::Listing { epoch, seq };
                }
            }
            StreamEvent::Container(doorbell) => self.ring(now, doorbell),
            StreamEvent::Ended(error) => {
                self.marks.insert(Mark::StreamEnded);
                self.runs_unheard();
                self.stats.event_gaps += 1;
                if matches!(self.session, Session::Live(_)) {
                    // The engine may be well and only this stream gone: open another, and list again.
                    self.open_stream(now);
                    self.view_dirty = true;
                } else {
                    self.go_down(now, &error);
                }
            }
        }
    }

    fn ring(&mut self, _now: Now, doorbell: Doorbell) {
        self.stats.events.add(event_word(&doorbell.action));
        let known = self.world.observed.get(&doorbell.id).map(|seen| seen.identity.object());
        let Some(object) = known.or_else(|| doorbell.object.clone()) else { return };
        let seq = self.next_seq();
        if object.kind == Kind::Run {
            self.run_rang(&object, &doorbell);
        }
        let pending = self.keys.get(&object).is_some_and(|key| key.pending.is_some());
        let key = self.keys.entry(object.clone()).or_default();
        let relevant = match doorbell.action.as_str() {
            "create" | "start" | "die" | "oom" | "stop" | "kill" | "pause" | "unpause"
            | "rename" | "update" | "destroy" | "restart" => true,
            // Somebody left: a change that waits for that may go ahead.
            "exec_die" => pending,
            // Somebody came: what was read before does not know, nor does a look on its way, and a stop must not be based on it.
            "exec_create" | "exec_start" => {
                key.fresh = None;
                key.last_event = seq;
                false
            }
            _ => false,
        };
        if !relevant {
            return;
        }
        if key.is_echo(&doorbell.id, &doorbell.action) {
            key.echo_due = None;
            return;
        }
        // A signal is followed by what it does; the word alone changes nothing.
        if matches!(doorbell.action.as_str(), "kill" | "stop" | "restart") {
            return;
        }
        key.last_event = seq;
        key.fresh = None;
        // Another container's doorbell does not undo a doubt that is older.
        if !matches!(&key.must_read, Some(MustRead::Name)) {
            key.must_read = Some(MustRead::Id(doorbell.id));
        }
        self.enqueue(&object);
    }

    /// The event of an own change did not come: the stream is deaf.
    pub(super) fn check_echo(&mut self, now: Now, object: &ObjectRef) {
        let Some(key) = self.keys.get_mut(object) else { return };
        let Some(due) = key.echo_due else { return };
        if due > now.mono {
            self.wake_at(object, due);
            return;
        }
        key.echo_due = None;
        key.echo.clear();
        self.marks.insert(Mark::EchoMissed);
        if self.session.is_live() {
            self.stats.event_gaps += 1;
            self.open_stream(now);
        }
    }

    fn listed(&mut self, now: Now, seq: Seq, listed: Vec<Snapshot>) {
        // A new stream, even to an engine that was never away, may have missed what the old one would have told.
        let gap = !self.session.is_live();
        let outage = !self.was_live;
        let epoch = match &self.session {
            Session::Listing { epoch, seq: expected } if *expected == seq => *epoch,
            Session::Live(live) if live.list == Some(seq) => live.epoch,
            _ => return,
        };
        self.merge_list(now, seq, listed);
        let spread = 0.8 + 0.4 * self.jitter.draw();
        let list_at = now.mono + LIST_EVERY.mul_f64(spread);
        self.session = Session::Live(match self.session.clone() {
            Session::Live(live) => Live { list_at, list: None, ..live },
            _ => Live {
                epoch,
                ping_at: now.mono + PING_EVERY,
                ping: None,
                list_at,
                list: None,
                anchor_at: self.fence.next_read(now.mono, self.jitter.draw()),
                anchor: None,
            },
        });
        self.bury_runs(now, seq);
        self.engine_failures.clear();
        self.world.observed.synced = true;
        self.stats.listed_at = Some(now.wall);
        self.judge_claims(now);
        self.leftovers_listed();
        self.was_live = true;
        if outage {
            self.lanes.begin_slowly();
        }
        if gap {
            for key in self.keys.values_mut() {
                if key.gate.is_some_and(|gate| gate.class == Class::Engine) {
                    key.gate = None;
                }
            }
            self.forgive_images();
            self.enqueue_all();
            self.begin_audit();
        }
        self.view_dirty = true;
    }

    /// A person wants everything to be looked at: now rather than within the minute.
    pub(super) fn look_again(&mut self, now: Now) {
        if self.world.network_failure.is_some() {
            self.network_retry_at = Some(now.mono);
        }
        match &mut self.session {
            Session::Live(live) => live.list_at = now.mono,
            Session::Down { retry_at, .. } => *retry_at = now.mono,
            Session::Asking { .. }
            | Session::Anchoring { .. }
            | Session::Opening { .. }
            | Session::Listing { .. } => {}
        }
    }

    fn merge_list(&mut self, now: Now, seq: Seq, listed: Vec<Snapshot>) {
        let instance = self.world.settings.instance.clone();
        let mut present: BTreeSet<ContainerId> = BTreeSet::new();
        let mut changed: BTreeSet<ObjectRef> = BTreeSet::new();
        for mut snapshot in listed {
            present.insert(snapshot.id.clone());
            let old = self.world.observed.get(&snapshot.id);
            let owner = match old {
                Some(seen) => Some(seen.identity.object()),
                None => Identity::object_of(&snapshot.labels),
            };
            if owner.as_ref().is_some_and(|object| self.is_stale_for(object, seq)) {
                self.marks.insert(Mark::StaleList);
                self.stats.stale_reads += 1;
                // Whoever has another name by now is looked at before anything is done to it, as after an event.
                if let (Some(object), Some(old)) = (owner, old)
                    && old.snapshot.name != snapshot.name
                    && let Some(key) = self.keys.get_mut(&object)
                {
                    key.last_event = key.last_event.max(seq);
                    key.fresh = None;
                }
                continue;
            }
            let mut doubt = false;
            if let Some(old) = old {
                if old.as_of > seq {
                    self.marks.insert(Mark::ListIsOlder);
                    self.stats.stale_reads += 1;
                    continue;
                }
                // What ran is never only made again: the engine could not write down that it was started. Its list is wrong for as long, and
                // what was seen stays.
                if snapshot.state == ContainerState::Created
                    && old.state() != ContainerState::Created
                {
                    self.marks.insert(Mark::ListForgetsStart);
                    if let Some(object) = owner {
                        let key = self.keys.entry(object.clone()).or_default();
                        key.must_read = Some(MustRead::Id(snapshot.id.clone()));
                        changed.insert(object);
                    }
                    continue;
                }
                let same = old.state() == snapshot.state && old.snapshot.name == snapshot.name;
                if same {
                    // A list knows less: what an inspect told still holds where nothing happened since.
                    snapshot.details.clone_from(&old.snapshot.details);
                    if !snapshot.state.is_live() {
                        snapshot.host_ports.clone_from(&old.snapshot.host_ports);
                    }
                }
                // A list lags exits: where it says that something lives that was seen ended, look.
                doubt = snapshot.state.is_live() && old.state() == ContainerState::Exited;
                // A connection that was made anew may have options, which only an inspect tells. The connections of a shell
                // that was just started are not known yet, so somebody may have been quicker than this list.
                let (before, after) = (&old.snapshot.endpoints, &snapshot.endpoints);
                let reconnected = same && !after.is_empty() && before != after;
                if let (true, Some(object)) = (reconnected, &owner)
                    && object.kind == Kind::Channel
                {
                    self.to_audit.insert(object.name.clone());
                }
                let connected =
                    snapshot.networks.is_none() || snapshot.networks == old.snapshot.networks;
                if same && connected && !reconnected && old.snapshot.labels == snapshot.labels {
                    continue;
                }
            }
            let id = snapshot.id.clone();
            let noted = self.world.observed.note(&instance, snapshot, seq, now.mono);
            let object = match noted {
                Noted::Ours(object) => Some(object),
                Noted::NotOurs(was) => was,
            };
            if let Some(object) = object {
                if doubt {
                    self.marks.insert(Mark::ListInDoubt);
                    self.keys.entry(object.clone()).or_default().must_read = Some(MustRead::Id(id));
                }
                changed.insert(object);
            }
        }
        let absent: Vec<(ContainerId, ObjectRef)> = self
            .world
            .observed
            .iter()
            .filter(|(id, seen)| !present.contains(*id) && seen.as_of < seq)
            .map(|(id, seen)| (id.clone(), seen.identity.object()))
            .filter(|(_, object)| !self.is_stale_for(object, seq))
            .collect();
        for (id, object) in absent {
            self.marks.insert(Mark::MissingFromList);
            self.world.observed.forget(&id);
            self.unsaved.push(Write::Applied(id.clone(), None));
            self.world.applied.remove(&id);
            changed.insert(object);
        }
        self.world.observed.keep_impostors(&present);
        // Every later list was sent after them.
        self.dropped.retain(|_, dropped| *dropped >= seq);
        // The list answers for every doubt that is older than itself, but an end that it may not know of yet.
        for (object, key) in &mut self.keys {
            if let Some(MustRead::Id(id)) = &key.must_read {
                let live = self.world.observed.get(id).is_some_and(|seen| seen.state().is_live());
                if key.last_event < seq && !live && key.last_write < seq {
                    self.marks.insert(Mark::ListSettles);
                    key.must_read = None;
                    changed.insert(object.clone());
                }
            }
        }
        for object in changed {
            self.restate(now, &object);
            self.enqueue(&object);
        }
    }

    /// Does this read say nothing about the channel, because something was done or happened after it was sent?
    pub(super) fn is_stale_for(&self, object: &ObjectRef, seq: Seq) -> bool {
        if self.dropped.get(object).is_some_and(|dropped| *dropped >= seq) {
            return true;
        }
        let Some(key) = self.keys.get(object) else { return false };
        let changing = key.in_flight.as_ref().is_some_and(|flight| flight.call.mutates());
        changing || key.last_write >= seq
    }
}
