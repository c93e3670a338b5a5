//! What the scenarios begin with and ask.

use std::time::Duration;

use chanop::container::ContainerId;
use chanop::resource::ObjectRef;

use chanop::world::run::{AttemptResult, Phase};

use crate::driver::Sim;
use crate::host::name;
use crate::tree::RunFile;
use crate::work::Work;

/// A second.
pub const SECOND: Duration = Duration::from_secs(1);
/// Twelve channels.
pub const TWELVE: [&str; 12] = crate::settled::CHANNELS;

/// A world in which these channels have a file each, and a running shell.
pub fn converged(channels: &[&str]) -> Sim {
    let mut sim = Sim::with_channels(1, channels);
    assert!(sim.run_until(30 * SECOND, Sim::all_ready), "{}", sim.log.join("\n"));
    sim.run_for(15 * SECOND);
    sim
}

/// The ID of the channel's shell.
pub fn id(sim: &Sim, channel: &str) -> ContainerId {
    sim.shell(channel).expect("a shell").id.clone()
}

/// The channel's word in the table.
pub fn status(sim: &Sim, channel: &str) -> String {
    sim.channel(channel).map_or_else(String::new, |view| view.status.clone())
}

/// No promise was broken.
pub fn sound(sim: &Sim) {
    assert_eq!(sim.check.broken, None, "{}", sim.log.join("\n"));
}

/// The channel as requests name it.
pub fn target(channel: &str) -> ObjectRef {
    ObjectRef::channel(name(channel))
}

/// A world with one channel, in which a run was just asked for by a file, whose agent does this, attempt by attempt.
pub fn asked(works: impl Into<Vec<Work>>) -> Sim {
    asked_with(works, |_| {})
}

/// The same, with another file.
pub fn asked_with(works: impl Into<Vec<Work>>, change: impl FnOnce(&mut RunFile)) -> Sim {
    let mut sim = converged(&["a"]);
    sim.works("fix", works);
    let mut file = RunFile::of("a");
    change(&mut file);
    sim.write_run("fix", file);
    sim
}

/// Lets time pass until the run has its end on the disk.
pub fn ends(sim: &mut Sim, run: &str, within: Duration) {
    let over = sim.run_until(within, |sim| sim.check.broken.is_some() || sim.has_ended(run));
    sound(sim);
    assert!(over, "{run} does not end: {:#?}\n{}", sim.record(run), sim.log.join("\n"));
}

/// How the run ended, and why.
pub fn end_of(sim: &Sim, run: &str) -> (Phase, String) {
    let end = sim.record(run).and_then(|record| record.end.clone()).expect("an end");
    (end.phase, end.reason)
}

/// How each attempt of the run ended.
pub fn results(sim: &Sim, run: &str) -> Vec<AttemptResult> {
    let record = sim.record(run).expect("a record");
    record.attempts.iter().filter_map(|attempt| Some(attempt.end.as_ref()?.result)).collect()
}

/// Nothing of a run is left on the engine, and nothing more happens.
pub fn cleared(sim: &mut Sim) {
    let gone = sim.run_until(400 * SECOND, |sim| {
        sim.check.broken.is_some() || sim.engine.containers.values().all(|it| it.agent.is_none())
    });
    sound(sim);
    assert!(gone, "a run's container is left\n{}", sim.log.join("\n"));
    sim.run_for(5 * SECOND);
    let since = sim.now;
    sim.run_for(120 * SECOND);
    sound(sim);
    assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
}
