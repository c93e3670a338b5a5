//! L2 and L5, from the disk's and the engine's side: has every run its end, and is nothing left of it?

use chanop::container::ContainerState;
use chanop::world::run::{Attempt, RunRecord};

use super::is_sane;
use crate::driver::Sim;
use crate::engine::is_ours;

/// What of the runs is not as it should be.
pub(super) fn runs_unsettled(sim: &Sim) -> Option<String> {
    let records = &sim.store.durable.runs;
    for record in records.iter().filter(|record| record.end.is_none()) {
        if let Some(why) = unfinished(sim, record) {
            return Some(format!("run {}: {why}", record.id.name));
        }
    }
    for (run, found) in &sim.tree.runs {
        let known = sim.record(run).map(|record| record.id.rerun);
        let buried = sim.store.durable.tombstones.keys().filter(|id| id.name.as_str() == run);
        let newest = known.into_iter().chain(buried.map(|id| id.rerun)).max();
        if newest.is_none_or(|newest| newest < found.file.rerun)
            && may_begin(sim, &found.file.channel)
        {
            return Some(format!("run {run} is not admitted"));
        }
    }
    for (channel, file) in &sim.tree.files {
        let ended = records.iter().filter(|it| it.end.is_some() && it.channel.as_str() == channel);
        let most = file.spec.runs.history as usize;
        if ended.count() > most {
            return Some(format!("{channel} has more than {most} records"));
        }
    }
    let left = sim.engine.containers.values().find(|it| {
        let Some(agent) = &it.agent else { return false };
        let ours = is_ours(&sim.settings.instance, it);
        let paused = it.state == ContainerState::Paused;
        // One that has no end yet is told of above; in a channel that cannot be helped, attempts come and go.
        let record = sim.record(&agent.run).filter(|record| record.end.is_none());
        let waits = record.is_some_and(|record| {
            let ended = |a: &Attempt| a.container == it.id && a.end.is_some();
            !record.attempts.iter().any(ended) || !may_begin(sim, &agent.channel)
        });
        ours && !paused && !waits
    });
    left.map(|it| format!("{} is left, {:?}", it.name, it.state))
}

/// Do runs begin in it?
fn may_begin(sim: &Sim, channel: &str) -> bool {
    sim.tree.files.get(channel).is_some_and(|file| {
        let spec = &file.spec;
        is_sane(spec) && !spec.suspend && spec.zone.is_none()
    })
}

/// Why it should have ended by now.
fn unfinished(sim: &Sim, record: &RunRecord) -> Option<String> {
    let at_work = sim.live(record.id.name.as_str()).is_some();
    if record.held {
        return at_work.then(|| "held, and at work".to_owned());
    }
    if record.attempts.is_empty() && !may_begin(sim, record.channel.as_str()) {
        // It waits for its channel.
        return None;
    }
    let waits = !at_work && record.open_attempt().is_none();
    if waits && !may_begin(sim, record.channel.as_str()) {
        return None;
    }
    let view = sim.run(record.id.name.as_str());
    let shown = view.map(|view| (view.phase, &view.reason, &view.message));
    Some(format!("no end, with {} attempts, and shown as {shown:?}", record.attempts.len()))
}
