//! Images on their way: one call for each, however many channels wait for it.

use std::collections::BTreeSet;

use super::Controller;
use super::backoff::{Class, after_failure};
use super::effect::Call;
use super::input::{Answer, Failure, Seq};
use crate::planner::Mark;
use crate::resource::condition::Reason;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::image::{
    FoundImage, ImageFailure, ImageProgress, ImageSource, ImageWork, ImageWorkKind, WantedImage,
};

/// The end of a build's output, as far as it stands in a condition: some lines of a terminal.
const MESSAGE_MAX: usize = 2_000;

/// How many of a kind are on their way at once. Looks are short; a pull fills the host's network by itself; and of two builds of
/// the same content the second finds all its layers when it waits for the first.
const fn at_once(kind: ImageWorkKind) -> usize {
    match kind {
        ImageWorkKind::Look => 8,
        ImageWorkKind::Pull => 3,
        ImageWorkKind::Build => 1,
    }
}

impl Controller {
    /// Asks whether an image is there, unless that is being found out.
    pub(super) fn look_for_image(&mut self, image: WantedImage, cause: String) {
        if self.begin_work(&image, ImageWorkKind::Look) {
            self.send(None, Call::LookForImage(image), cause);
        }
    }

    /// Sends for an image, unless it is on its way.
    pub(super) fn bring_image(&mut self, image: WantedImage, cause: String) {
        let kind = match image.source {
            ImageSource::Registry(_) => ImageWorkKind::Pull,
            ImageSource::Build(_) => ImageWorkKind::Build,
        };
        if self.begin_work(&image, kind) {
            self.send(None, Call::BringImage(image), cause);
        }
    }

    /// Who finds no room is planned again when one of them has ended.
    fn begin_work(&mut self, image: &WantedImage, kind: ImageWorkKind) -> bool {
        let of_kind = |state: &&crate::world::image::ImageState| {
            state.work.as_ref().is_some_and(|work| work.kind == kind)
        };
        let busy = self.world.images.values().filter(of_kind).count();
        let state = self.world.images.entry(image.clone()).or_default();
        if state.work.is_some() || busy >= at_once(kind) {
            self.marks.insert(Mark::ImageWaits);
            return false;
        }
        state.work = Some(ImageWork { kind, progress: ImageProgress::default() });
        for name in self.users_of(image) {
            self.enqueue_channel(&name);
        }
        true
    }

    /// Only shown: nothing is decided by it.
    pub(super) fn on_progress(&mut self, seq: Seq, progress: ImageProgress) {
        let Some(Call::BringImage(image)) = self.calls.get(&seq).map(|sent| &sent.call) else {
            return;
        };
        let image = image.clone();
        if let Some(work) = self.world.images.get_mut(&image).and_then(|it| it.work.as_mut()) {
            work.progress = progress;
        }
        for name in self.users_of(&image) {
            self.touch(&ObjectRef::channel(name));
        }
    }

    pub(super) fn image_answered(
        &mut self,
        now: Now,
        image: &WantedImage,
        answer: Result<Answer, Failure>,
    ) {
        let state = self.world.images.entry(image.clone()).or_default();
        state.work = None;
        match answer {
            Ok(Answer::Image { id, digest, volumes, brought }) => {
                state.found = Some(FoundImage { id, digest, volumes, at: now.mono });
                state.missing = false;
                state.failed = None;
                if brought {
                    state.denied = false;
                }
                self.image_gates.remove(image);
            }
            Ok(Answer::NoImage) if image.source.can_be_brought() => {
                state.found = None;
                state.missing = true;
            }
            Ok(_) => {}
            Err(failure) => self.image_failed(now, image, &failure),
        }
        // Whoever waited for this one, or for room.
        self.enqueue_all();
        self.view_dirty = true;
    }

    fn image_failed(&mut self, now: Now, image: &WantedImage, failure: &Failure) {
        // Nobody wants it any more.
        if self.users_of(image).is_empty() {
            self.world.images.remove(image);
            return;
        }
        let (class, reason) = match (failure, &image.source) {
            (Failure::NoSpace(_), _) => (Class::Space, Reason::NoSpace),
            (Failure::Refused(reason, _), _) => (Class::Spec, *reason),
            // The engine, or the way to it.
            (_, ImageSource::Registry(_)) => (Class::Engine, Reason::ImagePullBackOff),
            (_, ImageSource::Build(_)) => (Class::Engine, Reason::ImageBuildFailed),
        };
        self.marks.insert(Mark::ImageFailed);
        let jitter = self.jitter.draw();
        let gate = after_failure(self.image_gates.get(image).copied(), class, now.mono, jitter);
        self.image_gates.insert(image.clone(), gate);
        let message = end_of(failure.message()).to_owned();
        // Once, and not for each channel that waits: they have it in their conditions.
        self.record(now, &format!("image/{image}"), true, &reason.as_str(), &message);
        let wait = jiff::SignedDuration::try_from(gate.until.saturating_sub(now.mono));
        let retry_wall = wait.ok().and_then(|wait| now.wall.checked_add(wait).ok());
        let state = self.world.images.entry(image.clone()).or_default();
        state.found = None;
        state.failed = Some(ImageFailure {
            reason,
            message,
            retry_at: gate.until,
            retry_wall: retry_wall.unwrap_or(now.wall),
        });
    }

    /// A create found no image. Does the plan say how it is brought? Not a second time for the same image: where a look finds
    /// what a create does not, bringing it again would go round and round.
    pub(super) fn image_is_missing(&mut self, name: &ResourceName) -> bool {
        let Some(image) = self.image_of(name).filter(|image| image.source.can_be_brought()) else {
            return false;
        };
        let state = self.world.images.entry(image).or_default();
        state.found = None;
        state.missing = true;
        !std::mem::replace(&mut state.denied, true)
    }

    /// A container was made of it.
    pub(super) fn image_served(&mut self, name: &ResourceName) {
        if let Some(image) = self.image_of(name)
            && let Some(state) = self.world.images.get_mut(&image)
        {
            state.denied = false;
        }
    }

    /// A person wants it to be tried now.
    pub(super) fn forget_image_failure(&mut self, name: &ResourceName) {
        let Some(image) = self.image_of(name) else { return };
        self.image_gates.remove(&image);
        if let Some(state) = self.world.images.get_mut(&image) {
            state.failed = None;
        }
    }

    /// Another engine has other images.
    pub(super) fn forget_images(&mut self) {
        self.world.images.retain(|_, image| image.work.is_some());
        for state in self.world.images.values_mut() {
            state.found = None;
        }
        self.image_gates.clear();
    }

    /// The engine is back: what failed for its sake is tried again.
    pub(super) fn forgive_images(&mut self) {
        let ended: Vec<WantedImage> = self
            .image_gates
            .iter()
            .filter(|(_, gate)| gate.class == Class::Engine)
            .map(|(image, _)| image.clone())
            .collect();
        for image in ended {
            self.image_gates.remove(&image);
            if let Some(state) = self.world.images.get_mut(&image) {
                state.failed = None;
            }
        }
    }

    /// What no channel wants any more is not kept in mind.
    pub(super) fn keep_wanted_images(&mut self) {
        let channels = self.world.desired.channels.values();
        let targets = channels.filter_map(|channel| channel.target.as_ref());
        let wanted: BTreeSet<(&String, &ImageSource)> =
            targets.map(|target| (&target.config.image, &target.image)).collect();
        let is_wanted = |image: &WantedImage| wanted.contains(&(&image.reference, &image.source));
        self.world.images.retain(|image, state| state.work.is_some() || is_wanted(image));
        self.image_gates.retain(|image, _| is_wanted(image));
    }

    fn image_of(&self, name: &ResourceName) -> Option<WantedImage> {
        let target = self.world.desired.channels.get(name)?.target.as_ref()?;
        Some(target.wanted_image())
    }

    fn users_of(&self, image: &WantedImage) -> Vec<ResourceName> {
        self.world
            .desired
            .channels
            .iter()
            .filter(|(_, channel)| {
                channel.target.as_ref().is_some_and(|target| {
                    target.config.image == image.reference && target.image == image.source
                })
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

/// The last of a long text, from the beginning of a line.
fn end_of(text: &str) -> &str {
    let Some(cut) = text.len().checked_sub(MESSAGE_MAX).filter(|cut| *cut > 0) else {
        return text;
    };
    let from = text.char_indices().map(|(at, _)| at).find(|at| *at >= cut).unwrap_or(0);
    let tail = text.get(from..).unwrap_or(text);
    tail.split_once('\n').map_or(tail, |(_, rest)| rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_long_text_the_last_whole_lines_are_kept() {
        assert_eq!(end_of("short"), "short");
        let text = format!("{}\nlast line", "ä".repeat(MESSAGE_MAX));
        assert_eq!(end_of(&text), "last line");
        let text = "x".repeat(MESSAGE_MAX + 5);
        assert_eq!(end_of(&text).len(), MESSAGE_MAX);
    }
}
