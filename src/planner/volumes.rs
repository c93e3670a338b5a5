//! What is lost when a shell is recreated: the content of the volumes that its image declares.
//!
//! The engine makes a new volume of each such path for every container, and removes it together with the container. A mount of the
//! spec at the very path takes its place and is kept.

use std::collections::BTreeSet;

use super::action::Step;
use super::channel::Context;
use crate::resource::condition::ConditionStatus;
use crate::world::desired::Target;

/// An image may declare any number.
const PATHS_SHOWN: usize = 8;
/// Of each path.
const PATH_MAX: usize = 200;

impl Context<'_> {
    /// Says in the plan, and of a shell that is ready, which data a recreation loses.
    pub(super) fn with_lost_volumes(&self, mut step: Step, target: &Target) -> Step {
        let details = self.seen.and_then(|seen| seen.snapshot.details.as_ref());
        let image = self.world.images.get(&target.wanted_image());
        let found = image.and_then(|image| image.found.as_ref());
        let declared = details.map(|it| &it.image_volumes).or(found.map(|it| &it.volumes));
        let Some(paths) = declared.and_then(|paths| lost(paths, target)) else { return step };
        let note = format!("data in {paths} (VOLUME of the image, not a mount of the spec)");
        if self.seen.is_some() && step.recreate {
            let cause = step.pending.as_mut().map(|pending| &mut pending.cause);
            let cause = cause.or(step.want.as_mut().map(|want| &mut want.cause));
            if let Some(cause) = cause {
                *cause = format!("{cause}; {note} is lost");
            }
        }
        if step.status.ready == ConditionStatus::True {
            step.status.message =
                format!("{}; {note} is lost with each recreate", step.status.message);
        }
        step
    }
}

/// Those of the paths that no mount of the target takes the place of, for a person to read.
fn lost(declared: &BTreeSet<String>, target: &Target) -> Option<String> {
    let mounted: BTreeSet<&str> =
        target.config.mounts.iter().map(|it| it.target().trim_end_matches('/')).collect();
    let lost: Vec<&str> = declared
        .iter()
        .map(|path| path.trim_end_matches('/'))
        .filter(|path| !mounted.contains(path))
        .collect();
    let shown: Vec<String> =
        lost.iter().take(PATHS_SHOWN).map(|path| path.chars().take(PATH_MAX).collect()).collect();
    let more = lost.len().saturating_sub(shown.len());
    match (shown.is_empty(), more) {
        (true, _) => None,
        (false, 0) => Some(shown.join(", ")),
        (false, more) => Some(format!("{} and {more} more paths", shown.join(", "))),
    }
}
