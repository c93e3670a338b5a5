//! Which records are dropped: beyond `history.limit` or older than `history.maxAge`. What is left of one keeps its file from running
//! again.

use std::borrow::Cow;

use super::later;
use crate::resource::effective::RunDefaults;
use crate::resource::{Now, ResourceName};
use crate::world::World;
use crate::world::run::{RunId, RunRecord, Tombstone};

/// The channel's records that are to be dropped, the oldest first.
pub fn expired(world: &World, channel: &ResourceName, now: Now) -> Vec<(RunId, Tombstone)> {
    let Some(bounds) = bounds(world, channel) else { return Vec::new() };
    let (limit, max_age) = (bounds.history_limit, bounds.history_max_age.as_secs());
    let ended = world.runs.ended_in(channel);
    let surplus = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    ended
        .enumerate()
        .map_while(|(at, id)| {
            let record = world.runs.record(id)?;
            let end = record.end.as_ref()?;
            let old = later(end.at, max_age) <= now.wall;
            (at < surplus || old).then_some((record, end))
        })
        // A container of it says by its name whose it is: it goes first.
        .filter(|(record, _)| !has_container(world, record))
        .map(|(record, end)| {
            let stone = Tombstone {
                fingerprint: record.fingerprint.clone(),
                next_attempt: record.next_attempt(),
                ended_at: end.at,
                phase: end.phase,
            };
            (record.id.clone(), stone)
        })
        .collect()
}

/// What the channel's file says, once it was read. Of a channel that is gone, what counts where nobody says anything.
fn bounds<'a>(world: &'a World, channel: &ResourceName) -> Option<Cow<'a, RunDefaults>> {
    let desired = &world.desired;
    match desired.channels.get(channel) {
        Some(channel) => Some(Cow::Borrowed(&channel.effective.as_ref()?.runs)),
        // What was not read may say that more are kept.
        None if !desired.ready || desired.unavailable.is_some() || !desired.unread.is_empty() => {
            None
        }
        None => Some(Cow::Owned(RunDefaults::default())),
    }
}

fn has_container(world: &World, record: &RunRecord) -> bool {
    let attempts = world.observed.attempts_of(&record.id.name);
    attempts.iter().any(|(number, _)| record.attempt(*number).is_some())
}
