//! What people, disks and networks do meanwhile: one deed a step.

use std::time::Duration;

use chanop::container::config::Limits;
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::request::Request;
use chanop::resource::ObjectRef;
use jiff::SignedDuration;

use crate::driver::Sim;
use crate::engine::{IMAGE_BAD, IMAGE_CRASHES, IMAGE_MISSING, IMAGE_REMOTE, Maker};
use crate::host::{another_operator, name};
use crate::tree::{Reading, Spec};

pub(super) fn random_spec(sim: &mut Sim) -> Spec {
    let mut spec = Spec { runs: super::runs::random_runs(sim), ..Spec::default() };
    for _ in 0..sim.rng.below(3) {
        change(sim, &mut spec);
    }
    spec
}

fn change(sim: &mut Sim, spec: &mut Spec) {
    match sim.rng.below(19) {
        18 => spec.max_wait = "20s",
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

pub(super) fn meddle(sim: &mut Sim, channels: &[String]) {
    let Some(channel) = sim.rng.pick(channels).cloned() else { return };
    match sim.rng.below(58) {
        42 | 43 => {
            let minutes = sim.rng.below(60) as i64 - 30;
            sim.note(format!("the operator's clock: {minutes} min ahead of true time"));
            sim.ahead = SignedDuration::from_mins(minutes);
            sim.check.clocks_move();
        }
        44 => {
            let minutes = sim.rng.below(60) as i64 - 30;
            sim.note(format!("the engine's clock: {minutes} min ahead of true time"));
            sim.engine.ahead = SignedDuration::from_mins(minutes);
            sim.check.clocks_move();
        }
        45 => {
            let back = sim.rng.millis(1, 5_000);
            sim.crash(back);
            sim.lose_store();
        }
        46 => {
            sim.note("by hand: docker volume prune");
            sim.take_anchor(None);
        }
        47 => {
            let copy = sim.rng.permille(500);
            sim.note(format!(
                "another operator takes the instance, on a copy of the state: {copy}"
            ));
            let state_id =
                if copy { &sim.store.durable.state_id } else { "state-of-another" }.to_owned();
            sim.take_anchor(another_operator(&state_id));
        }
        48 => {
            sim.restart_engine(false, Duration::from_secs(1));
            sim.note("another engine under the same socket");
            sim.engine.exchange();
        }
        49 | 50 => {
            sim.note("by hand: docker kill $(docker ps -q)");
            let ids: Vec<ContainerId> = sim.engine.containers.keys().cloned().collect();
            for id in ids {
                sim.engine.kill(&id, 137);
            }
        }
        51 => {
            sim.note("by hand: docker image prune -a");
            sim.engine.images.clear();
        }
        52 | 53 => {
            // The engine refuses while somebody is connected.
            if !sim.engine.containers.values().any(|found| found.is_live()) {
                sim.note("by hand: docker network rm");
                sim.engine.remove_network();
            }
        }
        54 | 55 => long_phantom(sim, &channel),
        56 | 57 => {
            sim.note(format!("/home/u/{channel}: removed, and another made"));
            sim.engine.replace_path(&format!("/home/u/{channel}"));
        }
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
            sim.tree.runs.clear();
            sim.files_changed();
        }
        14 => {
            sim.note("all files: deleted");
            sim.tree.files.clear();
            sim.tree.runs.clear();
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

/// A name that was reserved for longer than anybody has patience.
fn long_phantom(sim: &mut Sim, channel: &str) {
    let shell = ContainerName::shell(&sim.settings.instance, &name(channel));
    if let Some(id) = sim.engine.named(&shell).map(|found| found.id.clone()) {
        sim.engine.remove_by_hand(&id);
    }
    sim.note(format!("the name of {channel}: taken by nobody, and for long"));
    let until = sim.now + Duration::from_secs(100);
    sim.engine.phantoms.insert(shell, until);
}

/// A person's container: with our labels under another name, or on our name.
fn foreign(sim: &mut Sim, channel: &str) {
    let shell = ContainerName::shell(&sim.settings.instance, &name(channel));
    let labels = sim.engine.named(&shell).map(|found| found.config.labels.clone());
    let (wanted, labels) = match (sim.rng.below(3), labels) {
        (0, Some(labels)) => (format!("copy-of-{channel}"), labels),
        // `docker commit` and `run` under the name of another channel.
        (1, Some(labels)) => {
            let other = if channel == "a" { "b" } else { "a" };
            (ContainerName::shell(&sim.settings.instance, &name(other)).to_string(), labels)
        }
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
    if found.agent.is_some() {
        sim.check.tampered.insert(id.clone());
    }
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
            let stranger =
                sim.engine.containers.get(&id).is_some_and(|it| it.maker == Maker::Person);
            let ours = ["chanop_default_a", "chanop_default_b"].get(number as usize % 2);
            let to = ours
                .filter(|_| stranger)
                .map_or(format!("renamed-{number}"), |to| (*to).to_owned());
            if let Ok(to) = ContainerName::parse(&to) {
                sim.engine.rename(&id, &to);
            }
            "rename"
        }
        8 => {
            let limits = Limits { nano_cpus: 0, memory_bytes: 1 << 30, pids: 7 };
            sim.engine.update_by_hand(&id, Some(limits), None);
            if sim.rng.below(4) == 0 {
                sim.engine.pin_by_hand(&id);
            }
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
