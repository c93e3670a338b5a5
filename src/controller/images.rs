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
    FoundImage, ImageFailure, ImageProgress, ImageSource, ImageState, ImageWork,
};

/// Pulls and builds at once: each fills the host's network or its CPUs by itself.
const AT_ONCE: usize = 3;
/// The end of a build's output, as far as it stands in a condition: some lines of a terminal.
const MESSAGE_MAX: usize = 2_000;

impl Controller {
    /// Sends for an image, unless it is on its way.
    pub(super) fn bring_image(&mut self, reference: &str, source: ImageSource, cause: String) {
        let busy = self.world.images.values().filter(|image| image.work.is_some()).count();
        let state = self.world.images.entry(reference.to_owned()).or_default();
        // Who finds no room is planned again when one of them has ended.
        if state.work.is_some() || busy >= AT_ONCE {
            self.marks.insert(Mark::ImageWaits);
            return;
        }
        let progress = ImageProgress::default();
        state.work = Some(ImageWork { verb: source.verb(), progress });
        self.send(None, Call::Image { reference: reference.to_owned(), source }, cause);
        self.plan_users_of(reference);
    }

    pub(super) fn on_progress(&mut self, seq: Seq, progress: ImageProgress) {
        let Some(Call::Image { reference, .. }) = self.calls.get(&seq).map(|sent| &sent.call)
        else {
            return;
        };
        let reference = reference.clone();
        if let Some(work) =
            self.world.images.get_mut(&reference).and_then(|image| image.work.as_mut())
        {
            work.progress = progress;
        }
        self.plan_users_of(&reference);
    }

    pub(super) fn image_answered(
        &mut self,
        now: Now,
        call: &Call,
        answer: Result<Answer, Failure>,
    ) {
        let Call::Image { reference, source } = call else { return };
        let state = self.world.images.entry(reference.clone()).or_default();
        state.work = None;
        match answer {
            Ok(Answer::Image { id, digest }) => {
                let at = now.mono;
                *state = ImageState {
                    found: Some(FoundImage { id: id.clone(), digest, at }),
                    ..ImageState::default()
                };
                self.image_gates.remove(reference);
            }
            Ok(_) => {}
            Err(failure) => self.image_failed(now, reference, source, &failure),
        }
        // Whoever waited for this one, or for room.
        self.enqueue_all();
        self.view_dirty = true;
    }

    fn image_failed(&mut self, now: Now, reference: &str, source: &ImageSource, failure: &Failure) {
        let (class, reason) = match failure {
            Failure::NoSpace(_) => (Class::Space, Reason::NoSpace),
            Failure::Refused(reason, _) => (Class::Spec, *reason),
            // The engine, or the way to it.
            _ => (
                Class::Engine,
                match source {
                    ImageSource::Registry(_) => Reason::ImagePullBackOff,
                    ImageSource::Build(_) => Reason::ImageBuildFailed,
                },
            ),
        };
        self.marks.insert(Mark::ImageFailed);
        let jitter = self.jitter.draw();
        let gate = after_failure(self.image_gates.get(reference).copied(), class, now.mono, jitter);
        self.image_gates.insert(reference.to_owned(), gate);
        let message = end_of(failure.message()).to_owned();
        for name in self.users_of(reference) {
            let object = ObjectRef::channel(name).to_string();
            self.record(now, &object, true, &reason.as_str(), &message);
        }
        let state = self.world.images.entry(reference.to_owned()).or_default();
        state.found = None;
        state.missing = true;
        state.failed =
            Some(ImageFailure { reason, message, count: gate.failures, retry_at: gate.until });
    }

    /// A create found no image. Can the operator bring it?
    pub(super) fn image_is_missing(&mut self, name: &ResourceName) -> bool {
        let target = self.world.desired.channels.get(name).and_then(|it| it.target.as_ref());
        let Some(target) = target.filter(|target| target.image.can_be_brought()) else {
            return false;
        };
        let state = self.world.images.entry(target.config.image.clone()).or_default();
        state.found = None;
        state.missing = true;
        true
    }

    /// A person wants it to be tried now.
    pub(super) fn forget_image_failure(&mut self, name: &ResourceName) {
        let target = self.world.desired.channels.get(name).and_then(|it| it.target.as_ref());
        let Some(reference) = target.map(|target| target.config.image.clone()) else { return };
        self.image_gates.remove(&reference);
        if let Some(image) = self.world.images.get_mut(&reference) {
            image.failed = None;
        }
    }

    /// Another engine has other images.
    pub(super) fn forget_images(&mut self) {
        self.world.images.retain(|_, image| image.work.is_some());
        self.image_gates.clear();
    }

    /// What no channel wants any more is not kept in mind.
    pub(super) fn keep_wanted_images(&mut self) {
        let wanted: BTreeSet<&str> = self
            .world
            .desired
            .channels
            .values()
            .filter_map(|channel| channel.target.as_ref())
            .map(|target| target.config.image.as_str())
            .collect();
        let is_wanted = |reference: &str| wanted.contains(reference);
        self.world.images.retain(|reference, image| image.work.is_some() || is_wanted(reference));
        self.image_gates.retain(|reference, _| is_wanted(reference));
    }

    fn users_of(&self, reference: &str) -> Vec<ResourceName> {
        self.world
            .desired
            .channels
            .iter()
            .filter(|(_, channel)| {
                channel.target.as_ref().is_some_and(|target| target.config.image == reference)
            })
            .map(|(name, _)| name.clone())
            .collect()
    }

    fn plan_users_of(&mut self, reference: &str) {
        for name in self.users_of(reference) {
            self.enqueue(&name);
        }
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
