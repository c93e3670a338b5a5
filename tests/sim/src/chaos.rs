//! One seed from beginning to end: files and containers are meddled with while everything fails; then the faults stop, and
//! within bounded time all must be as the files want it, and nothing more be done.

use std::collections::BTreeSet;
use std::time::Duration;

use chanop::container::ContainerId;
use chanop::controller::request::Request;
use chanop::planner::Mark;
use chanop::resource::ObjectRef;
use jiff::SignedDuration;

use crate::check::HUSH;
use crate::driver::{Luck, Sim};
use crate::engine::{Maker, is_ours};
use crate::host::name;
use crate::rng::Rng;
use crate::settled::{CHANNELS, is_sane, unsettled};
use crate::tree::Spec;

mod hands;
mod runs;
mod shrink;

use self::hands::{meddle, random_spec};
pub use self::shrink::shrink;

/// A promise that was broken, and how it came to it.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
    /// How many steps it had.
    pub steps: u64,
    /// The promise.
    pub what: String,
    /// The trace.
    pub log: Vec<String>,
}

/// What a seed did.
#[derive(Debug, Clone, Default)]
pub struct Summary {
    /// Everything in plain words: two runs of a seed have the same.
    pub log: Vec<String>,
    /// Inputs that the cores took.
    pub inputs: u64,
    /// Calls sent.
    pub calls: usize,
    /// Virtual time.
    pub time: Duration,
    /// The branches of recovery that were taken.
    pub marks: BTreeSet<Mark>,
}

/// An agent whose channel is gone with a lost store may work for an hour, which is the deadline's default, by an engine's clock that is
/// half an hour ahead; then its container is kept for a while.
const SETTLES_WITHIN: Duration = Duration::from_secs(9_000);
const REST: Duration = Duration::from_secs(150);
/// How many letters the core may be longer after a rest.
const SLACK: usize = 512;
/// What is done without haste once all is settled: secrets are removed after two lists that lack the channel's containers.
const CALMS_WITHIN: Duration = Duration::from_secs(220);

/// A seed, and what of it is left out: the search for the shortest trace takes away what is not needed.
#[derive(Debug, Clone, Default)]
pub struct Case {
    /// The seed.
    pub seed: u64,
    /// Steps at which nobody does anything.
    pub skipped: BTreeSet<u64>,
    /// Faults that do not happen, by number.
    pub calm: BTreeSet<usize>,
}

/// Runs a seed.
pub fn run(seed: u64) -> Result<Summary, Broken> {
    run_case(&Case { seed, ..Case::default() })
}

/// Runs a seed, or what is left of it.
pub fn run_case(case: &Case) -> Result<Summary, Broken> {
    let mut sim = Sim::new(case.seed);
    let done = live(&mut sim, case);
    match sim.check.broken.take() {
        None => {
            let (marks, time) = (sim.marks(), sim.now);
            Ok(Summary { inputs: sim.inputs, calls: sim.calls.len(), time, marks, log: sim.log })
        }
        Some(what) => Err(Broken { seed: case.seed, steps: done, what, log: sim.log }),
    }
}

/// The whole of it, until a promise is broken. Answers how many steps there are.
fn live(sim: &mut Sim, case: &Case) -> u64 {
    let channels = begin(sim, case);
    let steps = 5 + sim.rng.below(40);
    for step in 0..steps {
        // Each step has chance of its own, so that leaving one out does not change the others.
        let luck = std::mem::replace(&mut sim.rng, Rng::new(case.seed ^ (step + 1) << 40));
        let pause = if sim.rng.permille(300) { 20_000 } else { 2_000 };
        let pause = sim.rng.millis(1, pause);
        let hands = std::mem::replace(&mut sim.rng, luck);
        sim.run_for(pause);
        if sim.check.broken.is_some() {
            return steps;
        }
        if !case.skipped.contains(&step) {
            let luck = std::mem::replace(&mut sim.rng, hands);
            if sim.rng.permille(400) {
                runs::meddle(sim, &channels);
            } else {
                meddle(sim, &channels);
            }
            sim.rng = luck;
        }
    }
    heal(sim);
    let settled =
        sim.run_until(SETTLES_WITHIN, |sim| sim.check.broken.is_some() || unsettled(sim).is_none());
    if !settled {
        let why = unsettled(sim).unwrap_or_default();
        sim.check
            .fail(format!("L1: {why}, {} s after the faults stopped", SETTLES_WITHIN.as_secs()));
    }
    if sim.check.broken.is_none() {
        stays(sim);
    }
    steps
}

/// What must hold once all is as it should be.
fn stays(sim: &mut Sim) {
    // What keeps failing by the files' own will goes on forever.
    let waits = sim.store.durable.runs.iter().any(|record| record.end.is_none());
    let rests = !waits && sim.tree.files.values().all(|file| is_sane(&file.spec));
    sim.note("all is as it should be");
    sim.show_commits = true;
    sim.run_for(CALMS_WITHIN);
    let size = size_of_core(sim);
    let (since, commits) = (sim.now, sim.store.commits);
    sim.run_for(REST);
    if rests {
        at_rest(sim, since, commits);
        // Times have more or fewer digits; a leak grows on.
        let grown = size_of_core(sim);
        let after = |sim: &mut Sim| {
            sim.run_for(REST);
            size_of_core(sim)
        };
        if grown > size + SLACK && after(sim) > grown + SLACK {
            sim.check.fail(format!("B5: the core grows at rest, from {size} to {grown} letters"));
        }
    }
    if let Some(why) = unsettled(sim) {
        sim.check.fail(format!("L1: it did not stay so: {why}"));
    }
    same_as_from_scratch(sim);
    if !rests {
        others_go_on(sim);
    }
    let since = sim.now;
    sim.shut_down();
    sim.run_for(Duration::from_secs(15));
    if let Some(call) = sim.calls.iter().find(|call| call.at > since).cloned() {
        sim.check.fail(format!("L7: after SIGTERM: {call:?}"));
    }
}

/// B5: what a leak would make grow.
fn size_of_core(sim: &mut Sim) -> usize {
    // A call on its way is part of it.
    sim.run_until(Duration::from_secs(10), |sim| !sim.calls_fly());
    sim.core().map_or(0, |core| format!("{core:?}").len())
}

/// L4 and S23: neither history nor events have a say in what is in the end.
fn same_as_from_scratch(sim: &mut Sim) {
    let mut fresh = Sim::new(1);
    fresh.tree.files = sim.tree.files.clone();
    let odd = |channel: &str| sim.tree.files.get(channel).is_none_or(|it| !is_sane(&it.spec));
    fresh.run_until(SETTLES_WITHIN, |fresh| unsettled(fresh).is_none());
    let shells = |sim: &Sim| -> Vec<String> {
        let live = CHANNELS.iter().filter(|channel| !odd(channel));
        let live = live.filter_map(|channel| sim.shell(channel)).filter(|it| it.is_live());
        live.map(|it| format!("{}: {:?} on {:?}", it.name, it.config, it.networks)).collect()
    };
    let (have, want) = (shells(sim), shells(&fresh));
    if let Some((have, want)) = have.iter().zip(&want).find(|(have, want)| have != want) {
        sim.check.fail(format!("L4: the same files from scratch give {want}, not {have}"));
    } else if have.len() != want.len() {
        sim.check.fail("L4: the same files from scratch give others");
    }
}

/// L8: a channel that cannot be helped holds up no other.
fn others_go_on(sim: &mut Sim) {
    let usable =
        |spec: &Spec| is_sane(spec) && spec.enabled && !spec.suspend && spec.zone.is_none();
    let found = sim.tree.files.iter().find(|(_, file)| usable(&file.spec));
    let Some((channel, var)) = found.map(|(name, file)| (name.clone(), file.spec.var)) else {
        return;
    };
    let var = 10 + var;
    sim.edit(&channel, |spec| spec.var = var);
    let wanted = format!("VAR={HUSH}{var}");
    let done = sim.run_until(Duration::from_secs(60), |sim| {
        let new = sim.shell(&channel).is_some_and(|shell| shell.config.env.contains(&wanted));
        new && sim.is_ready(&channel)
    });
    if !done {
        sim.check.fail(format!("L8: {channel} waits a minute for what is only another's trouble"));
    }
}

/// B1: pings, lists and looks at the host, and nothing written.
fn at_rest(sim: &mut Sim, since: Duration, commits: u64) {
    let minutes = (REST.as_secs() / 60 + 1) as usize;
    for (word, most) in [
        ("ping", 4 * minutes + 1),
        ("list", minutes + 1),
        ("probe", 2 * minutes + 1),
        ("mounts", 2 * minutes + 1),
        ("anchor", 2 * minutes + 1),
    ] {
        let count = sim.count(since, word, None);
        if count > most {
            sim.check.fail(format!("B1: {count} calls of {word} in {} s at rest", REST.as_secs()));
        }
    }
    let other = sim
        .calls
        .iter()
        .find(|call| {
            call.at >= since
                && !matches!(call.word, "ping" | "list" | "probe" | "mounts" | "anchor")
        })
        .cloned();
    if let Some(call) = other {
        sim.check.fail(format!("B1: at rest: {call:?}"));
    }
    if sim.store.commits > commits {
        sim.check.fail(format!("B1: {} commits at rest", sim.store.commits - commits));
    }
}

fn begin(sim: &mut Sim, case: &Case) -> Vec<String> {
    let often =
        |sim: &mut Sim, most: u64| if sim.rng.permille(500) { sim.rng.below(most) } else { 0 };
    sim.luck = Luck {
        unknown: often(sim, 150),
        zombie: often(sim, 80),
        refused: often(sim, 100),
        event_lost: often(sim, 300),
        event_twice: often(sim, 200),
        event_late: often(sim, 200),
        stale_list: often(sim, 100),
        unopened: often(sim, 100),
        crash: often(sim, 15),
        commit: often(sim, 200),
        doorbell_lost: often(sim, 500),
        slow: 2 + sim.rng.below(400),
    };
    for luck in &case.calm {
        *sim.luck.of(*luck) = 0;
    }
    sim.supervised = true;
    runs::begin(sim);
    sim.engine.odd = sim.rng.permille(40);
    if sim.rng.permille(500) {
        sim.engine.lag = sim.rng.millis(0, 1_000);
    }
    // Now and then more than are looked at one by one.
    let many = sim.rng.permille(40);
    let count = if many { CHANNELS.len() as u64 } else { 1 + sim.rng.below(5) };
    let channels: Vec<String> =
        CHANNELS.iter().take(count as usize).map(|&c| c.to_owned()).collect();
    for channel in &channels {
        if sim.rng.permille(800) {
            let spec = random_spec(sim);
            sim.write(channel, spec);
        }
    }
    channels
}

/// The faults stop, people tidy up.
fn heal(sim: &mut Sim) {
    sim.note("the faults stop");
    let slow = sim.luck.slow;
    sim.luck = Luck { slow, ..Luck::default() };
    // A stream that lost something ends sometime; until then what it lost may stay unseen.
    sim.deaf = false;
    sim.cut_stream();
    sim.store.failing = false;
    sim.engine.full = false;
    sim.engine.registry_down = false;
    sim.engine.lag = Duration::ZERO;
    sim.ahead = SignedDuration::ZERO;
    sim.engine.ahead = SignedDuration::ZERO;
    // Who took the anchor is gone for good, and a person says so now rather than when it is missed.
    if sim.engine.anchor.as_ref().is_none_or(|holder| {
        holder.state_id != sim.store.durable.state_id || holder.place != sim.settings.state_place
    }) {
        sim.crash(Duration::from_secs(1));
    }
    sim.host.missing.clear();
    sim.tree.heal();
    runs::heal(sim);
    if sim.rng.permille(500) {
        let odd: Vec<String> = sim
            .tree
            .files
            .iter()
            .filter(|(_, file)| !is_sane(&file.spec))
            .map(|(channel, _)| channel.clone())
            .collect();
        for channel in odd {
            sim.edit(&channel, |spec| spec.image = "img-b:1");
        }
    }
    sim.files_changed();
    let ids: Vec<ContainerId> = sim.engine.containers.keys().cloned().collect();
    for id in ids {
        sim.engine.unpause(&id);
        sim.engine.leave(&id);
        // Who took our name leaves again.
        let stranger = sim.engine.containers.get(&id).is_some_and(|found| {
            found.maker == Maker::Person
                && found.name.as_str().starts_with("chanop_")
                && !is_ours(&sim.settings.instance, found)
        });
        if stranger {
            sim.engine.remove_by_hand(&id);
        }
    }
    sim.run_until(Duration::from_secs(120), |sim| {
        !sim.engine.down
            && sim.core().is_some()
            && sim.view.engine.live
            && sim.view.specs.scanned_at.is_some()
    });
    sim.run_for(Duration::from_secs(60));
    runs::release(sim);
    for channel in CHANNELS {
        sim.request(Request::Resume(ObjectRef::channel(name(channel))));
    }
    if let Some(revision) = sim.view.specs.hold_revision.clone() {
        sim.request(Request::ConfirmPrune(revision));
    }
}
