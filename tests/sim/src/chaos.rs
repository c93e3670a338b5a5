//! One seed from beginning to end: files and containers are meddled with while everything fails; then the faults stop, and
//! within bounded time all must be as the files want it, and nothing more be done.

use std::collections::BTreeSet;
use std::time::Duration;

use chanop::container::config::Limits;
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::request::Request;
use chanop::planner::Mark;
use chanop::resource::ObjectRef;

use crate::driver::{Luck, Sim};
use crate::engine::{IMAGE_BAD, IMAGE_CRASHES, IMAGE_MISSING, IMAGE_REMOTE, Maker, is_ours};
use crate::host::name;
use crate::settled::{is_sane, unsettled};
use crate::tree::{Reading, Spec};

/// A promise that was broken, and how it came to it.
#[derive(Debug, Clone)]
pub struct Broken {
    /// The seed.
    pub seed: u64,
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

const SETTLES_WITHIN: Duration = Duration::from_secs(3_600);
const REST: Duration = Duration::from_secs(150);

/// Runs a seed.
pub fn run(seed: u64) -> Result<Summary, Broken> {
    let mut sim = Sim::new(seed);
    let channels = begin(&mut sim);
    let steps = 5 + sim.rng.below(40);
    for _ in 0..steps {
        let pause = if sim.rng.permille(300) { 20_000 } else { 2_000 };
        let pause = sim.rng.millis(1, pause);
        sim.run_for(pause);
        meddle(&mut sim, &channels);
        stop_if_broken(seed, &mut sim)?;
    }
    heal(&mut sim);
    let settled =
        sim.run_until(SETTLES_WITHIN, |sim| sim.check.broken.is_some() || unsettled(sim).is_none());
    stop_if_broken(seed, &mut sim)?;
    if !settled {
        let why = unsettled(&sim).unwrap_or_default();
        sim.check
            .fail(format!("L1: {why}, {} s after the faults stopped", SETTLES_WITHIN.as_secs()));
        stop_if_broken(seed, &mut sim)?;
    }
    // What keeps failing by the files' own will goes on forever.
    let rests = sim.tree.files.values().all(|file| is_sane(&file.spec));
    sim.note("all is as it should be");
    sim.run_for(Duration::from_secs(30));
    let (since, commits) = (sim.now, sim.store.commits);
    sim.run_for(REST);
    stop_if_broken(seed, &mut sim)?;
    if rests {
        at_rest(&mut sim, since, commits);
    }
    if let Some(why) = unsettled(&sim) {
        sim.check.fail(format!("L1: it did not stay so: {why}"));
    }
    stop_if_broken(seed, &mut sim)?;
    let marks = sim.marks();
    Ok(Summary { inputs: sim.inputs, calls: sim.calls.len(), time: sim.now, log: sim.log, marks })
}

fn stop_if_broken(seed: u64, sim: &mut Sim) -> Result<(), Broken> {
    match sim.check.broken.take() {
        None => Ok(()),
        Some(what) => Err(Broken { seed, what, log: std::mem::take(&mut sim.log) }),
    }
}

/// B1: pings, lists and looks at the host, and nothing written.
fn at_rest(sim: &mut Sim, since: Duration, commits: u64) {
    let minutes = (REST.as_secs() / 60 + 1) as usize;
    for (word, most) in [
        ("ping", 4 * minutes + 1),
        ("list", minutes + 1),
        ("probe", 2 * minutes + 1),
        ("anchor", 1),
    ] {
        let count = sim.count(since, word, None);
        if count > most {
            sim.check.fail(format!("B1: {count} calls of {word} in {} s at rest", REST.as_secs()));
        }
    }
    let other = sim
        .calls
        .iter()
        .find(|call| call.at >= since && !matches!(call.word, "ping" | "list" | "probe" | "anchor"))
        .cloned();
    if let Some(call) = other {
        sim.check.fail(format!("B1: at rest: {call:?}"));
    }
    if sim.store.commits > commits {
        sim.check.fail(format!("B1: {} commits at rest", sim.store.commits - commits));
    }
}

fn begin(sim: &mut Sim) -> Vec<String> {
    let often =
        |sim: &mut Sim, most: u64| if sim.rng.permille(500) { sim.rng.below(most) } else { 0 };
    sim.luck = Luck {
        unknown: often(sim, 150),
        zombie: often(sim, 80),
        refused: often(sim, 100),
        event_lost: often(sim, 300),
        event_twice: often(sim, 200),
        crash: often(sim, 15),
        commit: often(sim, 200),
        doorbell_lost: often(sim, 500),
        slow: 2 + sim.rng.below(400),
    };
    if sim.rng.permille(500) {
        sim.engine.lag = sim.rng.millis(0, 1_000);
    }
    let count = 1 + sim.rng.below(5);
    let channels: Vec<String> =
        ["a", "b", "c", "d", "e"].iter().take(count as usize).map(|&c| c.to_owned()).collect();
    for channel in &channels {
        if sim.rng.permille(800) {
            let spec = random_spec(sim);
            sim.write(channel, spec);
        }
    }
    channels
}

fn random_spec(sim: &mut Sim) -> Spec {
    let mut spec = Spec::default();
    for _ in 0..sim.rng.below(3) {
        change(sim, &mut spec);
    }
    spec
}

fn change(sim: &mut Sim, spec: &mut Spec) {
    match sim.rng.below(18) {
        16 | 17 => spec.image = IMAGE_REMOTE,
        0 | 1 => spec.memory = 64 + 64 * sim.rng.below(3) as u32,
        2..=4 => spec.var = sim.rng.below(4) as u32,
        5 | 6 => spec.image = if spec.image == "img-a:1" { "img-b:1" } else { "img-a:1" },
        7 => spec.suspend = !spec.suspend,
        8 => spec.enabled = !spec.enabled,
        9 => spec.strategy = "Recreate",
        10 => spec.strategy = "WhenIdle",
        11 => spec.zone = if spec.zone.is_some() { None } else { Some("far") },
        12 => spec.image = IMAGE_MISSING,
        13 => spec.image = IMAGE_BAD,
        14 => spec.image = IMAGE_CRASHES,
        _ => spec.keep_stopped = "0s",
    }
}

fn some_container(sim: &mut Sim) -> Option<ContainerId> {
    let ids: Vec<ContainerId> = sim.engine.containers.keys().cloned().collect();
    sim.rng.pick(&ids).cloned()
}

fn meddle(sim: &mut Sim, channels: &[String]) {
    let Some(channel) = sim.rng.pick(channels).cloned() else { return };
    match sim.rng.below(42) {
        40 => {
            sim.engine.registry_down = !sim.engine.registry_down;
            let down = sim.engine.registry_down;
            sim.note(format!("the registry is down: {down}"));
        }
        41 => {
            let images: Vec<String> = sim.engine.images.iter().cloned().collect();
            if let Some(image) = sim.rng.pick(&images).cloned() {
                sim.engine.images.remove(&image);
                sim.note(format!("by hand: docker image rm {image}"));
            }
        }
        0..=5 => {
            let mut spec =
                sim.tree.files.get(&channel).map_or_else(Spec::default, |f| f.spec.clone());
            change(sim, &mut spec);
            sim.write(&channel, spec);
        }
        6 | 7 => sim.delete(&channel),
        8 => {
            let how = sim.rng.next();
            sim.note(format!("file of {channel}: torn"));
            sim.tree.tear(&channel, how);
            sim.files_changed();
        }
        9 => {
            sim.note(format!("file of {channel}: whole again"));
            sim.tree.mend(&channel);
            sim.files_changed();
        }
        10 => {
            let reading =
                if sim.rng.permille(500) { Reading::Unreadable } else { Reading::Unstable };
            sim.note(format!("file of {channel}: {reading:?}"));
            if let Some(file) = sim.tree.files.get_mut(&channel) {
                file.reading = reading;
            }
            sim.files_changed();
        }
        11 => {
            sim.note("the spec directory: moved away, or back");
            sim.tree.away = if sim.tree.away.is_some() { None } else { Some("moved away") };
            sim.files_changed();
        }
        12 => {
            sim.note("the folder `team`: closed, or opened");
            if !sim.tree.closed.remove("team") {
                sim.tree.closed.insert("team".to_owned());
            }
            sim.files_changed();
        }
        13 => {
            sim.note("the spec directory: another, without files");
            sim.tree.inode += 1;
            sim.tree.files.clear();
            sim.files_changed();
        }
        14 => {
            sim.note("all files: deleted");
            sim.tree.files.clear();
            sim.files_changed();
        }
        15 => {
            let back = sim.rng.millis(1, 20_000);
            sim.crash(back);
        }
        16 => {
            let (live, back) = (sim.rng.permille(500), sim.rng.millis(100, 20_000));
            sim.restart_engine(live, back);
        }
        17 => sim.cut_stream(),
        18 => {
            sim.deaf = !sim.deaf;
            let deaf = sim.deaf;
            sim.note(format!("the event stream is deaf: {deaf}"));
        }
        19 => {
            let path = format!("/home/u/{channel}");
            sim.note(format!("{path}: unmounted, or mounted"));
            if !sim.host.missing.remove(&path) {
                sim.host.missing.insert(path);
            }
            sim.files_changed();
        }
        20 => {
            let until = sim.now + sim.rng.millis(1, 30_000);
            let shell = ContainerName::shell(&sim.settings.instance, &name(&channel));
            if sim.engine.named(&shell).is_none() {
                sim.note(format!("the name of {channel}: taken by nobody"));
                sim.engine.phantoms.insert(shell, until);
            }
        }
        21 => foreign(sim, &channel),
        22 => {
            sim.engine.noise(300);
            sim.note("much else happens on the engine");
        }
        23 => {
            sim.store.failing = !sim.store.failing;
            let failing = sim.store.failing;
            sim.note(format!("the store fails: {failing}"));
        }
        24 => {
            sim.engine.full = !sim.engine.full;
            let full = sim.engine.full;
            sim.note(format!("the engine's disk is full: {full}"));
        }
        25 => ask(sim, &channel),
        _ => by_hand(sim),
    }
}

fn ask(sim: &mut Sim, channel: &str) {
    let target = ObjectRef::channel(name(channel));
    let request = match sim.rng.below(7) {
        0 => Request::Ensure(name(channel)),
        1 => Request::Suspend { target, duration: None, reason: "test".to_owned() },
        2 => Request::Suspend {
            target,
            duration: Some(Duration::from_secs(20)),
            reason: String::new(),
        },
        3 => Request::Resume(target),
        4 => Request::Reconcile(Some(target)),
        5 => Request::Reconcile(None),
        _ => Request::Plan,
    };
    sim.request(request);
}

/// A person's container: with our labels under another name, or on our name.
fn foreign(sim: &mut Sim, channel: &str) {
    let shell = ContainerName::shell(&sim.settings.instance, &name(channel));
    let labels = sim.engine.named(&shell).map(|found| found.config.labels.clone());
    let (wanted, labels) = match (sim.rng.below(2), labels) {
        (0, Some(labels)) => (format!("copy-of-{channel}"), labels),
        _ => (shell.to_string(), std::collections::BTreeMap::new()),
    };
    let Ok(wanted) = ContainerName::parse(&wanted) else { return };
    if let Some(id) = sim.engine.create_by_hand(&wanted, labels) {
        sim.note(format!("by hand: docker run --name {wanted} ({})", id.short()));
    }
}

fn by_hand(sim: &mut Sim) {
    let Some(id) = some_container(sim) else { return };
    let Some(found) = sim.engine.containers.get(&id) else { return };
    let who = format!("{} ({})", found.name, id.short());
    let what = match sim.rng.below(15) {
        0 | 1 => {
            sim.engine.kill(&id, 137);
            "kill"
        }
        2 => {
            sim.engine.stop_by_hand(&id);
            "stop"
        }
        3 | 4 => {
            sim.engine.remove_by_hand(&id);
            "rm -f"
        }
        5 => {
            sim.engine.pause(&id);
            "pause"
        }
        6 => {
            sim.engine.unpause(&id);
            "unpause"
        }
        7 => {
            let number = sim.rng.below(1_000);
            if let Ok(to) = ContainerName::parse(&format!("renamed-{number}")) {
                sim.engine.rename(&id, &to);
            }
            "rename"
        }
        8 => {
            let limits = Limits { nano_cpus: 0, memory_bytes: 1 << 30, pids: 7 };
            sim.engine.update_by_hand(&id, Some(limits), None);
            "update --memory"
        }
        9 => {
            sim.engine.update_by_hand(&id, None, Some("always"));
            "update --restart=always"
        }
        10 => {
            sim.engine.enter(&id);
            "exec -it"
        }
        11 => {
            sim.engine.leave(&id);
            "exit"
        }
        12 => {
            let until = sim.now + sim.rng.millis(1, 10_000);
            sim.engine.remove_slowly(&id, until);
            "rm, slowly"
        }
        13 => {
            sim.disconnect_by_hand(&id);
            "network disconnect"
        }
        _ => {
            if sim.engine.containers.get(&id).is_none_or(|c| c.state != ContainerState::Running) {
                sim.engine.leave_dead(&id);
            }
            "left dead"
        }
    };
    sim.note(format!("by hand: {what} {who}"));
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
    sim.host.missing.clear();
    sim.tree.heal();
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
    for channel in ["a", "b", "c", "d", "e"] {
        sim.request(Request::Resume(ObjectRef::channel(name(channel))));
    }
    if let Some(revision) = sim.view.specs.hold_revision.clone() {
        sim.request(Request::ConfirmPrune(revision));
    }
}
