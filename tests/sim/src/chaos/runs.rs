//! What people, programs and agents do with runs meanwhile.

use std::sync::Arc;
use std::time::Duration;

use chanop::container::{ContainerId, ContainerName};
use chanop::controller::request::Request;
use chanop::resource::RunSpec;
use chanop::resource::run::RunOrder;

use crate::driver::{Fate, Sim};
use crate::engine::is_ours;
use crate::host::name;
use crate::tree::{Asks, Reading, RunFile, RunsOf};
use crate::work::{Says, Work};

/// The runs that there may be.
pub const RUNS: [&str; 8] = ["r1", "r2", "r3", "r4", "r5", "r6", "r7", "r8"];
/// Files with prompts.
const PROMPTS: [&str; 2] = ["prompts/x.md", "prompts/y.md"];

pub(super) fn random_runs(sim: &mut Sim) -> RunsOf {
    RunsOf {
        at_once: 1 + sim.rng.below(3) as u32,
        deadline: [60, 200, 600][sim.rng.below(3) as usize],
        grace: 1 + sim.rng.below(10) as u32,
        backoff: sim.rng.below(3) as u32,
        keep: ["0s", "5s", "20s"][sim.rng.below(3) as usize],
        history: if sim.rng.permille(200) { 2 } else { 100 },
        queue_age: "24h",
        deletion: if sim.rng.permille(500) { "Finish" } else { "Cancel" },
    }
}

fn random_work(sim: &mut Sim) -> Work {
    let says = match sim.rng.below(2) {
        0 => Says::SuccessWithTool,
        _ => sim.rng.pick(&Says::ALL).cloned().unwrap_or(Says::Success),
    };
    Work {
        says,
        takes: sim.rng.millis(1, 40_000),
        lingers: sim.rng.millis(0, 2_000),
        ignores_term: sim.rng.permille(150),
        stays: sim.rng.permille(80),
    }
}

fn random_file(sim: &mut Sim, channels: &[String]) -> RunFile {
    let channel = sim.rng.pick(channels).cloned().unwrap_or_default();
    let mut file = RunFile::of(&channel);
    if sim.rng.permille(200) {
        let prompt = sim.rng.pick(&PROMPTS).copied().unwrap_or_default();
        file.asks = Asks::From(prompt.to_owned());
    }
    file.session = match sim.rng.below(6) {
        0 => "{id: 11111111-2222-4333-8444-555555555555}".to_owned(),
        1 | 2 => "Latest".to_owned(),
        3 => "{key: chat}".to_owned(),
        _ => file.session,
    };
    file.fork = file.session != "Fresh" && sim.rng.permille(300);
    file.more = match sim.rng.below(5) {
        0 => "activeDeadlineSeconds: 20",
        1 => "backoffLimit: 1",
        2 => "startingDeadlineSeconds: 100",
        _ => "",
    };
    file
}

/// What the world of a seed begins with.
pub(super) fn begin(sim: &mut Sim) {
    sim.engine.agents.guard_off = sim.rng.permille(300);
    sim.engine.agents.oom_late = sim.rng.millis(0, 240);
    if sim.rng.permille(200) {
        "24.0.1".clone_into(&mut sim.engine.version);
    }
    sim.settings.max_runs = 1 + sim.rng.below(4) as u32;
    for prompt in PROMPTS {
        sim.tree.prompts.insert(prompt.to_owned(), format!("what stands in {prompt}"));
    }
    for run in RUNS {
        let works: Vec<Work> = (0..3).map(|_| random_work(sim)).collect();
        sim.works(run, works);
    }
}

fn some_run_container(sim: &mut Sim) -> Option<ContainerId> {
    let all = sim.engine.containers.values().filter(|it| it.agent.is_some());
    let ids: Vec<ContainerId> = all.map(|it| it.id.clone()).collect();
    sim.rng.pick(&ids).cloned()
}

pub(super) fn meddle(sim: &mut Sim, channels: &[String]) {
    let Some(run) = sim.rng.pick(&RUNS).copied() else { return };
    match sim.rng.below(30) {
        0..=7 => {
            let file = random_file(sim, channels);
            let rerun = sim.tree.runs.get(run).map_or(0, |it| it.file.rerun);
            sim.write_run(run, RunFile { rerun, ..file });
        }
        8..=10 => sim.edit_run(run, |file| file.rerun += 1),
        11 => sim.edit_run(run, |file| file.cancel = true),
        12 => sim.delete_run(run),
        13 => {
            let how = sim.rng.next();
            sim.note(format!("file of run {run}: torn"));
            sim.tree.tear_run(run, how);
            sim.files_changed();
        }
        14 => {
            sim.note(format!("file of run {run}: unreadable"));
            if let Some(found) = sim.tree.runs.get_mut(run) {
                found.reading = Reading::Unreadable;
            }
            sim.files_changed();
        }
        15 => {
            sim.note(format!("file of run {run}: whole again"));
            sim.tree.mend_run(run);
            sim.files_changed();
        }
        16 | 17 => submit(sim, channels),
        18 => {
            sim.request(Request::CancelRun { name: name(run), why: "test".to_owned() });
        }
        19 => {
            sim.request(Request::ReleaseRun(None));
        }
        20 => {
            let prompt = sim.rng.pick(&PROMPTS).copied().unwrap_or_default();
            sim.note(format!("{prompt}: gone, or there"));
            if sim.tree.prompts.remove(prompt).is_none() {
                sim.tree.prompts.insert(prompt.to_owned(), format!("what stands in {prompt}"));
            }
            sim.files_changed();
        }
        21 => {
            sim.note("the engine will not notice ends");
            sim.engine.agents.ghosts = true;
        }
        22 => {
            sim.note("the next start is forgotten by the engine");
            sim.fates.push_back(("start", Fate::Forgotten));
        }
        23 => {
            if let Some(id) = some_conversation(sim) {
                sim.note(format!("conversation {id} is too long"));
                sim.engine.agents.sessions.insert(id, true);
            }
        }
        24 => {
            if let Some(id) = some_conversation(sim) {
                sim.note(format!("conversation {id} is gone"));
                sim.engine.agents.sessions.remove(&id);
            }
        }
        _ => by_hand(sim),
    }
}

fn some_conversation(sim: &mut Sim) -> Option<uuid::Uuid> {
    let all: Vec<uuid::Uuid> = sim.engine.agents.sessions.keys().copied().collect();
    sim.rng.pick(&all).copied()
}

/// A program's run; its name is one of those of files now and then.
fn submit(sim: &mut Sim, channels: &[String]) {
    let Some(channel) = sim.rng.pick(channels).cloned() else { return };
    let number = sim.rng.below(4);
    let run = if number == 3 { "r3".to_owned() } else { format!("api{number}") };
    if !sim.engine.agents.works.contains_key(&run) {
        let work = random_work(sim);
        sim.works(&run, work);
    }
    let order = RunOrder { prompt: Some("a program asks".to_owned()), ..RunOrder::default() };
    let spec = RunSpec { channel_name: name(&channel), rerun: None, cancel: None, order };
    let labels = std::collections::BTreeMap::new();
    sim.request(Request::SubmitRun { name: name(&run), labels, spec: Arc::new(spec) });
}

fn by_hand(sim: &mut Sim) {
    let Some(id) = some_run_container(sim) else { return };
    sim.check.tampered.insert(id.clone());
    let what = match sim.rng.below(7) {
        0 | 1 => {
            sim.engine.start_by_hand(&id);
            "start"
        }
        2 => {
            sim.engine.remove_by_hand(&id);
            "rm -f"
        }
        3 => {
            sim.engine.update_by_hand(&id, None, Some("always"));
            "update --restart=always"
        }
        4 => {
            sim.engine.kill_agent(&id);
            "its agent killed"
        }
        5 => {
            sim.engine.pause(&id);
            "pause"
        }
        _ => {
            let to = format!("renamed-{}", sim.rng.below(1_000));
            if let Ok(to) = ContainerName::parse(&to) {
                sim.engine.rename(&id, &to);
            }
            "rename"
        }
    };
    sim.note(format!("by hand: {what} {}", id.short()));
}

/// People tidy up: what they renamed they remove, what is held they let go, prompts are there again.
pub(super) fn heal(sim: &mut Sim) {
    sim.engine.agents.ghosts = false;
    sim.fates.clear();
    // A limit that never resets would be waited for until the queue's maximum age.
    for works in sim.engine.agents.works.values_mut() {
        if works.last().is_some_and(|work| matches!(work.says, Says::RateLimited(_))) {
            works.push(Work::default());
        }
    }
    for prompt in PROMPTS {
        sim.tree.prompts.insert(prompt.to_owned(), format!("what stands in {prompt}"));
    }
    let renamed = sim
        .engine
        .containers
        .values()
        .filter(|it| it.agent.is_some() && !is_ours(&sim.settings.instance, it));
    let renamed: Vec<ContainerId> = renamed.map(|it| it.id.clone()).collect();
    for id in renamed {
        sim.engine.remove_by_hand(&id);
    }
}

/// What was held is let go.
pub(super) fn release(sim: &mut Sim) {
    sim.request(Request::ReleaseRun(None));
    sim.run_for(Duration::from_secs(5));
}
