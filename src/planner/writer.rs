//! May a container be made now, or could another one of its channel replace what it mounts?
//!
//! The policy refuses a source below a path that the same spec lets the channel write. After an edit, a container of the older spec
//! can still write there. The engine makes mount points as root, before chanop-init can compare what was mounted, so the new
//! container waits until the older one is gone.

use std::time::Duration;

use crate::container::ContainerState;
use crate::container::config::MountConfig;
use crate::container::label::Role;
use crate::resource::ResourceName;
use crate::world::World;
use crate::world::desired::Target;
use crate::world::observed::Seen;
use crate::world::preparation::is_below;

/// Nobody wakes a run when its channel's shell goes, nor a shell when a run of its channel goes.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The message of the condition, if a container of the channel could replace a source of `target`.
pub(super) fn writer_above(
    world: &World,
    channel: &ResourceName,
    target: &Target,
) -> Option<String> {
    let shell = world.observed.shell_of(channel).into_iter();
    let runs = world.runs.unfinished_in(channel);
    let attempts = runs.flat_map(|run| world.observed.attempts_of(&run.id.name));
    let mut containers = shell.chain(attempts.map(|(_, seen)| seen)).filter(|seen| may_run(seen));
    containers.find_map(|seen| {
        let (source, above) = overlap(target, seen)?;
        Some(format!(
            "waits until {} is gone: it can write {above}, and could replace {source} while a new container mounts it",
            seen.snapshot.name
        ))
    })
}

/// A shell may be started again; what a run's container did is done once.
fn may_run(seen: &Seen) -> bool {
    matches!(seen.identity.role, Role::Shell)
        || seen.state().is_live()
        || seen.state() == ContainerState::Created
}

fn overlap<'a>(target: &'a Target, seen: &'a Seen) -> Option<(&'a str, &'a str)> {
    let mut sources = target.config.mounts.iter().filter_map(|mount| match mount {
        MountConfig::Bind { source, .. } => Some(source.as_str()),
        MountConfig::Volume { .. } | MountConfig::Tmpfs { .. } => None,
    });
    let writable = || seen.snapshot.binds.iter().filter(|bind| bind.writable);
    sources.find_map(|source| {
        let above = writable().find(|bind| is_below(source, &bind.source))?;
        Some((source, above.source.as_str()))
    })
}
