//! Is the image there that a new container needs? And if not, what is to be done about it?
//!
//! A container is taken away for another only when the image of the other is there: what cannot be had must not cost what
//! runs.

use std::time::Duration;

use super::action::Action;
use crate::resource::Now;
use crate::resource::condition::Reason;
use crate::resource::effective::PullPolicy;
use crate::world::World;
use crate::world::desired::Target;
use crate::world::image::{ImageSource, ImageState, ImageWorkKind, WantedImage};

/// Where a container's image stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum ImageStep {
    /// The container can be made.
    There,
    /// To be done first.
    Do(Action, String),
    /// It is being done.
    UnderWay { reason: Reason, message: String },
    /// It could not be done; tried again after so long.
    Failed { reason: Reason, message: String, after: Duration },
}

/// For a container that is to be made where none is. That an image is there is found out by making it: a look before would be
/// one call more for each channel.
pub(super) fn for_new(world: &World, target: &Target, now: Now) -> ImageStep {
    let image = target.wanted_image();
    let state = world.images.get(&image);
    let ask_first = match &image.source {
        ImageSource::Registry(PullPolicy::Always) => !state.is_some_and(|it| it.is_fresh(now.mono)),
        ImageSource::Registry(PullPolicy::Never) => false,
        ImageSource::Registry(PullPolicy::IfNotPresent) | ImageSource::Build(_) => {
            state.is_some_and(|state| state.missing)
        }
    };
    if ask_first { see_to(image, state, now) } else { ImageStep::There }
}

/// For a container that is to take the place of one that is there.
pub(super) fn for_successor(world: &World, target: &Target, now: Now) -> ImageStep {
    let image = target.wanted_image();
    match world.images.get(&image) {
        Some(state) if state.is_fresh(now.mono) => ImageStep::There,
        state => see_to(image, state, now),
    }
}

fn see_to(image: WantedImage, state: Option<&ImageState>, now: Now) -> ImageStep {
    if let Some(work) = state.and_then(|state| state.work.as_ref()) {
        // How far it is changes each second, and is shown elsewhere: a condition is written down when it changes.
        let (reason, doing) = match work.kind {
            ImageWorkKind::Look => (Reason::ImagePulling, "looking for"),
            ImageWorkKind::Pull => (Reason::ImagePulling, "pulling"),
            ImageWorkKind::Build => (Reason::ImageBuilding, "building"),
        };
        return ImageStep::UnderWay { reason, message: format!("{doing} {image}") };
    }
    let failed = state.and_then(|state| state.failed.as_ref());
    if let Some(failed) = failed.filter(|failed| failed.retry_at > now.mono) {
        let message = format!("{}; tried again at {}", failed.message, second(failed.retry_wall));
        let after = failed.retry_at.saturating_sub(now.mono);
        return ImageStep::Failed { reason: failed.reason, message, after };
    }
    // What is there already costs a moment; only what is known to be missing, or may be old, is sent for.
    let known_missing = state.is_some_and(|state| state.missing);
    let send = !image.source.may_be_old() || (known_missing && image.source.can_be_brought());
    let cause = format!(
        "image {image}: {}",
        match &image.source {
            ImageSource::Registry(PullPolicy::Always) => "pullPolicy is Always",
            _ if !send => "is it there?",
            ImageSource::Registry(_) => "a new container needs it",
            ImageSource::Build(_) => "its context is new",
        }
    );
    let action = if send { Action::BringImage(image) } else { Action::LookForImage(image) };
    ImageStep::Do(action, cause)
}

/// To the second: a condition's text must not change with each look.
fn second(at: jiff::Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(at.as_second()).unwrap_or(at)
}
