//! L2 and L5, from the disk's and the engine's side: has every run its end, and is nothing left of it?

use chanop::container::{ContainerId, ContainerState};
use chanop::world::run::{Attempt, RunRecord};
use jiff::SignedDuration;

use super::is_sane;
use crate::driver::Sim;
use crate::engine::is_ours;

/// Once its time is over, a look and a call.
const REMOVED_WITHIN: SignedDuration = SignedDuration::from_secs(5);

/// Records go with a list, and only after their containers. Lists are at most 72 s apart.
const BURIED_WITHIN: SignedDuration = SignedDuration::from_secs(75);

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
        // A rerun begins when the run before it has ended; that one, perhaps of a program, may wait for another channel.
        let before = sim.record(run).is_some_and(|record| record.end.is_none());
        if newest.is_none_or(|newest| newest < found.file.rerun)
            && !before
            && may_begin(sim, &found.file.channel)
        {
            return Some(format!("run {run} is not admitted"));
        }
    }
    for (channel, file) in &sim.tree.files {
        let ended = records.iter().filter(|it| it.end.is_some() && it.channel.as_str() == channel);
        // Where it cannot be helped, the last attempt may end at any time, and the next list has yet to come.
        let helped = !is_beyond_help(sim, channel);
        let ended = ended.filter(|it| helped || !has_ended_lately(sim, it));
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
        // There the last attempt may end at any time, and its container has its time to be looked at.
        let kept = is_beyond_help(sim, &agent.channel) && is_kept(sim, &agent.run, &it.id);
        ours && !paused && !waits && !kept
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

/// Does whatever begins in it fail, by its file's own will? That may go on long after all else is as it should be.
fn is_beyond_help(sim: &Sim, channel: &str) -> bool {
    sim.tree.files.get(channel).is_some_and(|file| !is_sane(&file.spec))
}

/// Did its attempt end so lately that its container may still be there?
fn is_kept(sim: &Sim, run: &str, id: &ContainerId) -> bool {
    let attempts = sim.record(run).into_iter().flat_map(|record| &record.attempts);
    let mut ended = attempts.filter(|it| it.container == *id).filter_map(|it| {
        let keep = it.terms.keep_container_seconds.cast_signed();
        Some(it.end.as_ref()?.recorded_at + SignedDuration::from_secs(keep) + REMOVED_WITHIN)
    });
    ended.any(|until| sim.core_now().wall < until)
}

/// Did it end so lately that no list may have come since its containers' time was over?
fn has_ended_lately(sim: &Sim, record: &RunRecord) -> bool {
    let keep = record.attempts.iter().map(|it| it.terms.keep_container_seconds).max();
    let keep = SignedDuration::from_secs(keep.unwrap_or_default().cast_signed());
    let within = keep + REMOVED_WITHIN + BURIED_WITHIN;
    record.end.as_ref().is_some_and(|end| sim.core_now().wall < end.at + within)
}

/// Why it should have ended by now.
fn unfinished(sim: &Sim, record: &RunRecord) -> Option<String> {
    let at_work = sim.live(record.id.name.as_str()).is_some();
    if record.held {
        return at_work.then(|| "held, and at work".to_owned());
    }
    // Its next container is being made, or is there: it began while its channel let it.
    let begins =
        sim.core().is_some_and(|core| core.world().runs.memory.holding.contains(&record.id.name));
    if begins {
        // Where it cannot be helped, attempts come and go.
        let comes_and_goes = is_beyond_help(sim, record.channel.as_str());
        return (!comes_and_goes).then(|| "it begins".to_owned());
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
