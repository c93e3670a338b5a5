//! Is the image there that a new container needs? And if not, what is to be done about it?
//!
//! A container is taken away for another only when the image of the other is there: what cannot be had must not cost what
//! runs.

use std::time::Duration;

use super::action::Action;
use crate::resource::condition::Reason;
use crate::resource::effective::PullPolicy;
use crate::world::World;
use crate::world::desired::Target;
use crate::world::image::{ImageSource, ImageState};

/// Where a container's image stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ImageStep {
    /// The container can be made.
    There,
    /// To be done first.
    Bring(Action, String),
    /// Nothing to do but wait.
    Wait {
        reason: Reason,
        message: String,
        /// When to look again though nothing happens.
        after: Option<Duration>,
    },
}

/// For a container that is to be made where none is. That an image is there is found out by making it: a look before would be
/// one call more for each channel.
pub(super) fn for_new(world: &World, target: &Target, now: Duration) -> ImageStep {
    let state = world.images.get(&target.config.image);
    let ask_first = match &target.image {
        ImageSource::Registry(PullPolicy::Always) => !state.is_some_and(|it| it.is_fresh(now)),
        ImageSource::Registry(PullPolicy::Never) => false,
        ImageSource::Registry(PullPolicy::IfNotPresent) | ImageSource::Build(_) => {
            state.is_some_and(|state| state.missing)
        }
    };
    if ask_first { bring(state, target, now) } else { ImageStep::There }
}

/// For a container that is to take the place of one that is there.
pub(super) fn for_successor(world: &World, target: &Target, now: Duration) -> ImageStep {
    let state = world.images.get(&target.config.image);
    match state {
        Some(state) if state.is_fresh(now) => ImageStep::There,
        _ => bring(state, target, now),
    }
}

fn bring(state: Option<&ImageState>, target: &Target, now: Duration) -> ImageStep {
    let reference = &target.config.image;
    if let Some(work) = state.and_then(|state| state.work.as_ref()) {
        let (reason, doing) = match &target.image {
            ImageSource::Registry(_) => (Reason::ImagePulling, "pulling"),
            ImageSource::Build(_) => (Reason::ImageBuilding, "building"),
        };
        let message = format!("{doing} {reference}: {}", work.progress);
        return ImageStep::Wait { reason, message, after: None };
    }
    let failed = state.and_then(|state| state.failed.as_ref());
    if let Some(failed) = failed.filter(|failed| failed.retry_at > now) {
        let after = failed.retry_at.saturating_sub(now);
        let message = format!("{}; tried again in {} s", failed.message, after.as_secs().max(1));
        return ImageStep::Wait { reason: failed.reason, message, after: Some(after) };
    }
    let action = Action::BringImage { reference: reference.clone(), source: target.image.clone() };
    let cause = match &target.image {
        ImageSource::Registry(PullPolicy::Always) => "pullPolicy is Always",
        ImageSource::Registry(_) => "a new container needs it",
        ImageSource::Build(_) => "its context is new",
    };
    ImageStep::Bring(action, format!("image {reference}: {cause}"))
}
