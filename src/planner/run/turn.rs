//! Whose turn it is: so many at once in a channel and on the host, first in, first out, and one at a time in a session.

use crate::resource::effective::RunDefaults;
use crate::resource::{Now, ResourceName};
use crate::world::World;
use crate::world::observed::Seen;
use crate::world::run::RunRecord;

/// May it begin?
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Turn {
    /// It may.
    Now,
    /// Others are before it.
    Behind(usize),
    /// The host is full.
    HostFull,
}

/// Does this run hold a place? From the making of its container until its end is on record.
pub fn holds(world: &World, name: &ResourceName) -> bool {
    let Some(record) = world.runs.get(name).filter(|record| record.end.is_none()) else {
        return false;
    };
    let next = record.next_attempt();
    record.open_attempt().is_some()
        || world.runs.memory.making.contains_key(name)
        || world.observed.attempts_of(name).iter().any(|(attempt, _)| *attempt == next)
}

/// The bounds of a channel's runs.
pub(super) fn bounds<'a>(world: &'a World, channel: &ResourceName) -> Option<&'a RunDefaults> {
    world.desired.channels.get(channel)?.effective.as_ref().map(|effective| &effective.runs)
}

/// Is it this run's turn?
pub(super) fn turn(world: &World, record: &RunRecord, now: Now) -> Turn {
    let holding = &world.runs.memory.holding;
    if holding.contains(&record.id.name) {
        return Turn::Now;
    }
    let queue = world.runs.unfinished_in(&record.channel);
    let active = queue.clone().filter(|it| holding.contains(&it.id.name)).count()
        + unrecorded(world).filter(|seen| seen.identity.channel == record.channel).count();
    let limit = bounds(world, &record.channel).map_or(1, |bounds| bounds.max_concurrent);
    let free = usize::try_from(limit).unwrap_or(usize::MAX).saturating_sub(active);
    let ahead = queue
        .take_while(|it| it.turn < record.turn)
        .filter(|it| !holding.contains(&it.id.name) && may_begin(world, it, now))
        .count();
    if ahead >= free {
        return Turn::Behind(ahead + active);
    }
    let places = usize::try_from(world.settings.max_runs).unwrap_or(usize::MAX);
    if holding.len() + unrecorded(world).count() >= places { Turn::HostFull } else { Turn::Now }
}

/// Containers of runs at work that no record tells of, since the store was lost: until there is one, or the container is taken
/// away, each has its place.
pub(super) fn unrecorded(world: &World) -> impl Iterator<Item = &Seen> {
    let names = world.observed.runs().filter(|name| world.runs.get(name).is_none());
    let attempts = names.flat_map(|name| world.observed.attempts_of(name));
    attempts.map(|(_, seen)| seen).filter(|seen| seen.state().is_live())
}

/// Does nothing but its turn keep it from beginning? Whoever waits for something else is passed by.
fn may_begin(world: &World, record: &RunRecord, now: Now) -> bool {
    !record.held
        && record.cancel.is_none()
        && record.not_before.is_none_or(|at| at <= now.wall)
        && !world.runs.troubles.contains_key(&record.id.name)
        && super::session::of_next(world, record)
            .is_some_and(|conversation| conversation.is_free(world, record))
}

/// Why no further run of the channel is admitted now.
pub fn queue_is_full(world: &World, channel: &ResourceName) -> Option<String> {
    let bounds = bounds(world, channel)?;
    let holding = &world.runs.memory.holding;
    let waiting = world
        .runs
        .unfinished_in(channel)
        .filter(|record| !holding.contains(&record.id.name))
        .count();
    let limit = usize::try_from(bounds.queue_max_length).unwrap_or(usize::MAX);
    // What begins at once does not wait.
    let begins = usize::try_from(bounds.max_concurrent).unwrap_or(usize::MAX);
    let free = begins.saturating_sub(
        world.runs.unfinished_in(channel).filter(|it| holding.contains(&it.id.name)).count(),
    );
    (waiting >= limit.saturating_add(free)).then(|| {
        format!(
            "{waiting} runs of channel/{channel} wait already (runs.queue.maxLength is {limit})"
        )
    })
}
