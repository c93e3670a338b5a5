//! The promises, held against the engine's own truth and the log of calls. What the files mean is judged a second time here,
//! by other code; so is what is ours.
//!
//! Checked at every step, here unless it says otherwise:
//!
//! | | promise | where |
//! |---|---|---|
//! | S1 | no change of what is not ours | `with_open_eyes` |
//! | S2 | one shell a channel | `executed`: names are unique, and `is_ours` binds a channel to a name |
//! | S9, S10 | nothing is taken away that a file still wants, or that nobody can say is unwanted | `is_justified` |
//! | S11 | no change from a stale view; absence only from a list or a 404 | `with_open_eyes`, `sent` |
//! | S12 | one call at a time, a read after an unknown outcome | `sent` |
//! | S13 | a create's name is the channel's | `sent` |
//! | S14 | no change unless the anchor said within ten seconds that the instance is ours | `sent` |
//! | S19 | Ready has a running container; a transition's time changes exactly with its status | [`published`](Check::published) |
//! | S20 | what is paused is left alone | `with_open_eyes` |
//! | S22 | the same world, the same plan | `no_lost_wake`; no ping-pong: at rest, in [`crate::chaos`] |
//! | S24 | no value of a variable in labels, conditions, events | `sent`, [`published`](Check::published) |
//! | L3 | no lost wake-up | `no_lost_wake` |
//! | B3 | no change through a closed gate, whatever events come | `gates` |
//!
//! Checked at the end of each seed, in [`crate::chaos`]: L1 all is as the files want it and stays so, L4 and S23 the final
//! state is the one that the same files give from scratch (so neither history nor events had a say), L5 nothing else of
//! ours is left ([`crate::settled`]), L7 after SIGTERM nothing new is begun, L8 a channel that cannot be helped holds up no
//! other, B1 calls at rest, B5 what the core keeps does not grow at rest. In `tests/scenarios.rs`: B2 two calls for each
//! create, B4 one probe for all while the engine is away, and the numbers of B3. B7, one parse for one changed file, is of
//! the specs room and of its tests.
//!
//! The promises about runs are in [`runs`]. Not there yet, since schedules are not: S16, S17.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chanop::container::{ContainerId, ContainerName, ContainerState, Snapshot, label};
use chanop::controller::Controller;
use chanop::controller::effect::{Call, SecretsOf};
use chanop::controller::input::{Answer, Failure};
use chanop::controller::view::View;
use chanop::planner::plan_channel;
use chanop::planner::run::plan_run;
use chanop::resource::{Kind, Now, ObjectRef, ResourceName};
use chanop::world::Settings;
use chanop::world::ownership::Holder;
use chanop::world::record::Loaded;

use crate::engine::{Engine, Maker, is_ours, spells};
use crate::host::settings;
mod gates;
mod runs;
mod view;

use self::gates::Gates;
use self::runs::RunBook;
use crate::driver::key_of;
use crate::tree::{Reading, Spec, Tree, path_of};

/// Each variable's value in the simulated files begins so.
pub const HUSH: &str = "hush";
/// Whoever acts on what an inspect said must do so within this.
const OPEN_EYES: Duration = Duration::from_millis(1_100);

/// So old may a read of the anchor be that allows a change.
const OWNED_FOR: Duration = Duration::from_secs(10);

/// What is known of one file by the scans that were delivered.
#[derive(Debug, Clone, Default)]
struct Belief {
    /// The last good content.
    spec: Option<Spec>,
    /// Complete scans in a row that proved it absent.
    scans: u32,
    since: Duration,
    held: bool,
    approved: bool,
    gone: bool,
    /// In the last scan, was it proved to be absent?
    absent: bool,
}

/// What the operator learned of a container by an inspect.
#[derive(Debug, Clone, Copy)]
struct Look {
    at: Duration,
    ours: bool,
    state: ContainerState,
}

/// Per channel.
#[derive(Debug, Clone, Default)]
struct Key {
    in_flight: Option<u64>,
    /// The call whose outcome is not known.
    unknown: Option<Duration>,
    last_write: Duration,
    absent: bool,
}

/// The book of promises.
#[derive(Debug, Default)]
pub struct Check {
    /// The first that was broken.
    pub broken: Option<String>,
    beliefs: BTreeMap<String, Belief>,
    suspicious: bool,
    pinned: Option<u64>,
    keys: BTreeMap<String, Key>,
    looks: BTreeMap<ContainerId, Look>,
    made_here: BTreeSet<ContainerId>,
    made_from: BTreeMap<ContainerId, Spec>,
    creating: BTreeMap<u64, Spec>,
    known_files: BTreeSet<String>,
    overridden: BTreeSet<String>,
    texts: BTreeMap<String, Spec>,
    listed: Option<BTreeSet<ContainerName>>,
    gates: Gates,
    /// When the last read of the anchor that said so was sent.
    anchored: Option<Duration>,
    /// Since when another operator holds the instance.
    foreign_since: Option<Duration>,
    state_id: String,
    runs: RunBook,
    /// When a channel was last believed gone.
    went: BTreeMap<String, Duration>,
    /// Containers that a person changed: what becomes of them needs no other reason.
    pub tampered: BTreeSet<ContainerId>,
}

impl Check {
    /// A promise was broken.
    pub fn fail(&mut self, what: impl Into<String>) {
        if self.broken.is_none() {
            self.broken = Some(what.into());
        }
    }

    /// The secrets of these channels are removed from the host: no container of theirs may run.
    pub fn secrets_removed(&mut self, of: &SecretsOf, engine: &Engine, settings: &Settings) {
        for container in engine.containers.values().filter(|it| it.is_live()) {
            let channel = container.config.labels.get(label::CHANNEL);
            let Some(channel) = channel.and_then(|name| ResourceName::parse(name).ok()) else {
                continue;
            };
            let loses = match of {
                SecretsOf::These(names) => names.contains(&channel),
                SecretsOf::AllBut(names) => !names.contains(&channel),
            };
            let theirs = container.maker == Maker::Person || self.tampered.contains(&container.id);
            if loses && !theirs && is_ours(&settings.instance, container) {
                self.fail(format!("S25: {channel} runs, and its secrets are removed"));
            }
        }
    }

    // Files.

    /// A scan is delivered.
    pub fn scanned(&mut self, tree: &Tree, now: Duration, prune_delay: Duration) {
        if tree.away.is_some() || tree.incomplete.is_some() {
            for belief in self.beliefs.values_mut().filter(|belief| !belief.gone) {
                belief.scans = 0;
                belief.absent = false;
            }
            self.runs_unseen();
            return;
        }
        self.runs_scanned(tree, now, prune_delay);
        if self.pinned.is_some_and(|pinned| pinned != tree.inode) {
            self.suspicious = true;
        }
        self.pinned = Some(tree.inode);
        self.known_files = tree.files.keys().cloned().collect();
        for (channel, file) in &tree.files {
            let whole = file.reading == Reading::Fine && file.text == file.spec.yaml(channel);
            let closed = is_closed(tree, channel);
            let known = self.beliefs.contains_key(channel);
            if !known && (!whole || closed) {
                continue;
            }
            let belief = self.beliefs.entry(channel.clone()).or_default();
            if whole && !closed {
                self.texts.insert(file.text.clone(), file.spec.clone());
                if belief.gone || belief.spec.as_ref() != Some(&file.spec) {
                    self.gates.open(channel);
                }
                *belief = Belief { spec: Some(file.spec.clone()), ..Belief::default() };
            } else {
                belief.scans = 0;
                belief.absent = false;
            }
        }
        let known = |belief: &Belief| belief.spec.is_some() && !belief.gone;
        let absent =
            |channel: &String| !tree.files.contains_key(channel) && !is_closed(tree, channel);
        let total = self.beliefs.values().filter(|belief| known(belief)).count();
        let missing: Vec<String> = self
            .beliefs
            .iter()
            .filter(|(channel, belief)| known(belief) && absent(channel))
            .map(|(channel, _)| channel.clone())
            .collect();
        let mass = missing.len() >= 3 && missing.len() * 2 >= total;
        for channel in &missing {
            let belief = self.beliefs.entry(channel.clone()).or_default();
            belief.scans += 1;
            belief.absent = true;
            if belief.scans == 1 {
                belief.since = now;
            }
            belief.held |= mass || self.suspicious;
            let proved = belief.scans >= 2 && now.saturating_sub(belief.since) >= prune_delay;
            if proved && (!belief.held || belief.approved) {
                belief.gone = true;
                self.went.insert(channel.clone(), now);
            }
        }
        for (channel, belief) in &mut self.beliefs {
            if !tree.files.contains_key(channel) && is_closed(tree, channel) && !belief.gone {
                belief.scans = 0;
                belief.absent = false;
            }
        }
        if missing.is_empty() {
            self.suspicious = false;
        }
    }

    /// A person let held removals go.
    pub fn confirmed(&mut self) {
        for belief in self.beliefs.values_mut().filter(|belief| belief.held) {
            belief.approved = true;
        }
    }

    /// A person suspended the channel.
    pub fn overridden(&mut self, channel: &str) {
        self.overridden.insert(channel.to_owned());
    }

    /// What the last scan proved to be absent.
    pub fn file_is_absent(&self, channel: &str) -> bool {
        !self.known_files.contains(channel)
    }

    /// A person's word, or another host: whoever failed may be tried again.
    pub fn asked(&mut self) {
        self.gates = Gates::default();
    }

    /// What the operator knew of files and containers, it knows no more.
    pub fn store_lost(&mut self) {
        self.beliefs.clear();
        self.overridden.clear();
        self.runs_lost();
    }

    /// A new process: what was not durable is not known.
    pub fn restarted(&mut self, loaded: &Loaded) {
        self.gates = Gates::default();
        self.anchored = None;
        self.foreign_since = None;
        self.state_id.clone_from(&loaded.state_id);
        self.pinned = None;
        self.suspicious = false;
        self.looks.clear();
        self.made_here.clear();
        self.creating.clear();
        self.listed = None;
        self.beliefs.retain(|channel, belief| {
            let Ok(name) = ResourceName::parse(channel) else { return false };
            let object = ObjectRef::channel(name);
            let row = loaded.inventory.get(&object);
            let source = loaded.sources.get(&path_of(channel));
            // An end that was not written down is proved again.
            belief.gone =
                belief.gone && (row.is_none() || row.is_some_and(|row| row.gone_since.is_some()));
            // What was read and not yet durable is not known any more.
            if !belief.gone || source.is_some() {
                belief.spec = source.and_then(|row| self.texts.get(&row.text).cloned());
            }
            let source = source.is_some();
            belief.scans = 0;
            belief.held = row.is_some_and(|row| row.held);
            belief.approved = false;
            row.is_some() || source || belief.gone
        });
        self.keys.clear();
    }

    // Calls.

    /// The core sends a call.
    pub fn sent(
        &mut self,
        number: u64,
        now: Duration,
        subject: Option<&ObjectRef>,
        call: &Call,
        engine: &Engine,
        settings: &Settings,
    ) {
        let Some(subject) = subject else { return };
        let text = key_of(subject);
        let name = ContainerName::shell(&settings.instance, &subject.name);
        let absent = self.listed.as_ref().is_some_and(|listed| !listed.contains(&name));
        let key = self.keys.entry(text.clone()).or_insert_with(|| Key { absent, ..Key::default() });
        if let Some(other) = key.in_flight {
            self.fail(format!("S12: {text}: {} while call {other} is on its way", call.word()));
            return;
        }
        key.in_flight = Some(number);
        if !call.mutates() {
            return;
        }
        if key.unknown.is_some() {
            self.fail(format!(
                "S12: {text}: {} after an unknown outcome, without a read",
                call.word()
            ));
        }
        let within = |since: Duration| now.saturating_sub(since) < OWNED_FOR;
        if !self.anchored.is_some_and(within) {
            self.fail(format!("S14: {text}: {} though the instance may be another's", call.word()));
        }
        if !self.foreign_since.is_none_or(within) {
            self.fail(format!("S14: {text}: {} though the instance is another's", call.word()));
        }
        if let Some(why) = self.gates.closed(&text, now) {
            self.fail(format!("B3: {text}: {} {why}", call.word()));
        }
        match call {
            Call::CreateRun { name, target } => self.run_is_made(name, target, engine, settings),
            Call::Start { id, .. } if Self::is_run_call(call, engine) => self.run_starts(id),
            Call::Stop { id, .. } if Self::is_run_call(call, engine) => {
                self.with_open_eyes(&text, call.word(), id, now);
                self.run_stops(now, id, engine);
            }
            Call::Remove { id, force, .. } if Self::is_run_call(call, engine) => {
                if !self.may_go_unseen(id) {
                    self.with_open_eyes(&text, call.word(), id, now);
                }
                self.run_is_removed(id, *force, engine);
            }
            Call::Create { name: wanted, target } => {
                if *wanted != name {
                    self.fail(format!("S13: {text}: create of {wanted}"));
                }
                if target.config.labels.values().any(|label| label.contains(HUSH)) {
                    self.fail(format!("S24: {text}: a variable's value is in a label"));
                }
                if !self.keys.get(&text).is_some_and(|key| key.absent) {
                    self.fail(format!("S11: {text}: create though absence was not seen"));
                }
                if let Some(spec) = self.beliefs.get(&text).and_then(|b| b.spec.clone()) {
                    self.creating.insert(number, spec);
                }
            }
            Call::Start { id, .. } if self.made_here.remove(id) => {}
            Call::Start { id, .. } if is_perhaps_incomplete(engine, id) => {
                self.fail(format!(
                    "S11: {text}: start of {}, which may lack its files",
                    id.short()
                ));
            }
            Call::Start { id, .. } => self.with_open_eyes(&text, call.word(), id, now),
            Call::Stop { id, .. } | Call::Remove { id, .. } => {
                self.with_open_eyes(&text, call.word(), id, now);
                self.is_justified(&text, call.word(), id, engine, settings);
            }
            Call::Update { id, .. } => self.with_open_eyes(&text, call.word(), id, now),
            _ => {}
        }
    }

    fn with_open_eyes(&mut self, channel: &str, word: &str, id: &ContainerId, now: Duration) {
        let Some(look) = self.looks.get(id).copied() else {
            return self.fail(format!("S11: {channel}: {word} of {} unseen", id.short()));
        };
        if now.saturating_sub(look.at) > OPEN_EYES {
            self.fail(format!("S11: {channel}: {word} of {} seen too long ago", id.short()));
        }
        if !look.ours {
            self.fail(format!("S1: {channel}: {word} of {}, which is not ours", id.short()));
        }
        if look.state == ContainerState::Paused {
            self.fail(format!("S20: {channel}: {word} of {}, which is paused", id.short()));
        }
    }

    fn is_justified(
        &mut self,
        channel: &str,
        word: &str,
        id: &ContainerId,
        engine: &Engine,
        settings: &Settings,
    ) {
        let Some(container) = engine.containers.get(id).filter(|_| !engine.odd) else { return };
        // The engine refuses to remove what came up since it was looked at.
        let looked = self.looks.get(id).map(|look| look.state);
        let never_ran = container.starts == 0 || looked == Some(ContainerState::Created);
        let tampered = self.tampered.contains(id) || container.maker == Maker::Person;
        let odd = matches!(container.state, ContainerState::Dead | ContainerState::Restarting)
            || engine.is_unstartable(container);
        if tampered
            || odd
            || (word == "remove" && never_ran)
            || (word == "stop" && engine.has_replaced_workspace(container))
            || !is_ours(&settings.instance, container)
        {
            return;
        }
        let file_there = self.known_files.contains(channel);
        let overridden = self.overridden.contains(channel);
        let made_from = self.made_from.get(id);
        let why_not = match self.beliefs.get(channel) {
            Some(belief) if belief.gone => return,
            Some(belief) => {
                let Some(spec) = &belief.spec else { return };
                let wants_it = !spec.suspend && spec.enabled && spec.zone.is_none() && !overridden;
                let changed = made_from.is_none_or(|old| {
                    let memory = spec.memory;
                    Spec { memory, ..old.clone() }.container() != spec.container()
                });
                // Docker cannot remove these in place.
                let limits = container.config.limits;
                let has_more = (limits.memory_bytes > 0 && spec.memory == 0)
                    || limits.nano_cpus > 0
                    || !container.set_by_hand.is_empty();
                if !wants_it || changed || has_more {
                    return;
                }
                "its file wants it as it is"
            }
            None if file_there => "its file is there, though it could not be used",
            None => return,
        };
        self.fail(format!("S9: {channel}: {word} of {}: {why_not}", id.short()));
    }

    /// Something happened on the engine.
    pub fn executed(&mut self, engine: &Engine, max_runs: u32) {
        self.executions(engine, max_runs);
        let mut names: BTreeSet<&ContainerName> = BTreeSet::new();
        for container in engine.containers.values() {
            if !names.insert(&container.name) {
                let text = format!("S2: two containers are named {}", container.name);
                if self.broken.is_none() {
                    self.broken = Some(text);
                }
                return;
            }
        }
    }

    /// A call is answered.
    #[expect(clippy::too_many_arguments, reason = "all of one answer, taken apart once")]
    pub fn answered(
        &mut self,
        number: u64,
        now: Duration,
        sent: Duration,
        subject: Option<&ObjectRef>,
        call: &Call,
        answer: &Result<Answer, Failure>,
        settings: &Settings,
    ) {
        self.runs_answered(subject, call, answer, settings);
        if let (Call::List, Ok(Answer::Listed(all))) = (call, answer) {
            let ours = |found: &&Snapshot| spells(&settings.instance, &found.labels, &found.name);
            let all: Vec<&Snapshot> = all.iter().filter(ours).collect();
            for (name, key) in &mut self.keys {
                if key.last_write >= sent || key.in_flight.is_some() {
                    continue;
                }
                if key.unknown.is_some_and(|unknown| unknown < sent) {
                    key.unknown = None;
                }
                let name =
                    ResourceName::parse(name).map(|n| ContainerName::shell(&settings.instance, &n));
                key.absent = name.is_ok_and(|name| all.iter().all(|found| found.name != name));
            }
            self.gates.engine_is_back();
            self.listed = Some(all.iter().map(|found| found.name.clone()).collect());
            return;
        }
        if let (Call::Anchor(claim), Ok(Answer::Anchor(holder))) = (call, answer) {
            self.anchored = (*holder == claim.ours).then_some(sent);
        }
        let Some(subject) = subject else { return };
        let text = key_of(subject);
        if subject.kind == Kind::Channel {
            self.gates.answered(&text, now, call, answer);
        }
        let shell = ContainerName::shell(&settings.instance, &subject.name);
        let key = self.keys.entry(text).or_default();
        if key.in_flight == Some(number) {
            key.in_flight = None;
        }
        if call.mutates() {
            key.last_write = now;
        }
        match (call, answer) {
            (_, Err(Failure::Unknown(_))) if call.mutates() => {
                key.unknown = Some(now);
                key.absent = false;
            }
            (Call::Create { .. } | Call::CreateRun { .. }, Ok(Answer::Created(id))) => {
                key.absent = false;
                self.made_here.insert(id.clone());
            }
            (Call::Create { .. }, Err(Failure::NameTaken(_))) => key.absent = false,
            (Call::Start { id, .. }, Err(Failure::Unreachable(_))) => {
                self.made_here.insert(id.clone());
                self.start_is_unsent(id);
            }
            (Call::Remove { .. }, Ok(_)) => key.absent = true,
            (Call::Inspect(_) | Call::InspectName(_), Ok(Answer::Inspected(found))) => {
                key.unknown = None;
                let ours = spells(&settings.instance, &found.labels, &found.name);
                key.absent = !ours || found.name != shell;
                self.looks.insert(found.id.clone(), Look { at: now, ours, state: found.state });
            }
            (_, Err(Failure::NotFound(_))) if !matches!(call, Call::Create { .. }) => {
                key.unknown = None;
                key.absent = true;
            }
            _ => {}
        }
    }

    /// Who holds the instance in truth.
    pub fn holder_is(&mut self, now: Duration, holder: Option<&Holder>) {
        let ours = settings().state_place.inode;
        let foreign =
            holder.is_some_and(|it| it.state_id != self.state_id || it.place.inode != ours);
        self.foreign_since = foreign.then(|| self.foreign_since.unwrap_or(now));
    }

    /// A create was carried out: what it was made from.
    pub fn created(&mut self, number: u64, id: &ContainerId) {
        if let Some(spec) = self.creating.remove(&number) {
            self.made_from.insert(id.clone(), spec);
        }
    }

    fn runs_answered(
        &mut self,
        subject: Option<&ObjectRef>,
        call: &Call,
        answer: &Result<Answer, Failure>,
        settings: &Settings,
    ) {
        match (call, answer, subject) {
            // Should it be there all the same, it goes before anything is started in it.
            (Call::CreateRun { .. }, Err(_), Some(run))
            | (Call::Remove { .. }, Ok(_), Some(run)) => {
                self.run_is_not_made(run.name.as_str());
            }
            (Call::CreateRun { .. }, Ok(Answer::Created(id)), Some(run)) => {
                self.run_was_made(run.name.as_str(), id);
            }
            (Call::Inspect(id), Err(Failure::NotFound(_)), _) => self.unpermitted_is_lost(id),
            _ => {}
        }
        let ours = |found: &Snapshot| spells(&settings.instance, &found.labels, &found.name);
        match answer {
            Ok(Answer::Listed(all)) => {
                for found in all {
                    self.run_is_seen(&found.id, ours(found));
                }
            }
            Ok(Answer::Inspected(found)) => self.run_is_seen(&found.id, ours(found)),
            Ok(Answer::Created(id)) => self.run_is_seen(id, true),
            _ => {}
        }
    }

    /// Is any call about a channel or run on its way?
    pub fn is_busy(&self) -> bool {
        self.keys.values().any(|key| key.in_flight.is_some())
    }

    // Wake-ups.

    /// L3: whoever wants something has a call on its way or a time to look again.
    pub fn no_lost_wake(&mut self, core: &Controller, view: &View, now: Now) {
        if self.broken.is_some() {
            return;
        }
        for (name, channel) in &view.channels {
            if channel.in_flight.is_some() || channel.next_look.is_some() {
                continue;
            }
            let key = self.keys.get(name.as_str());
            if key.is_some_and(|key| key.in_flight.is_some()) {
                continue;
            }
            let step = plan_channel(core.world(), name, now);
            if plan_channel(core.world(), name, now) != step {
                self.fail(format!("S22: {name} is planned twice, and otherwise"));
            }
            if let Some(want) = step.want {
                self.fail(format!(
                    "L3: {name} wants {} ({}) and nothing will wake it",
                    want.action.verb(),
                    want.cause
                ));
            }
        }
        for name in view.runs.keys() {
            let step = plan_run(core.world(), name, now);
            if plan_run(core.world(), name, now) != step {
                self.fail(format!("S22: run/{name} is planned twice, and otherwise"));
            }
            let want = step.and_then(|step| step.want);
            let run = ObjectRef::run(name.clone());
            if let Some((action, cause)) = want.filter(|_| !core.will_look(&run)) {
                self.fail(format!("L3: {run} wants {action:?} ({cause}) and nothing will wake it"));
            }
        }
    }
}

/// Never started, and not heard of as made: files are copied into it between its making and its start.
fn is_perhaps_incomplete(engine: &Engine, id: &ContainerId) -> bool {
    engine.containers.get(id).is_some_and(|found| {
        found.maker == Maker::Operator
            && found.starts == 0
            && found.state == ContainerState::Created
    })
}

fn is_closed(tree: &Tree, channel: &str) -> bool {
    let path = path_of(channel);
    tree.closed.contains(path.split_once('/').map_or("", |(folder, _)| folder))
}
