//! Brings images: looks whether one is there, pulls or builds it, and tells meanwhile how far that is.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::{StreamExt as _, pin_mut};
use tracing::{debug, warn};

use super::Means;
use super::builds::{self, build_spec};
use super::failure::of_engine;
use crate::container::ImageRef;
use crate::controller::effect::Call;
use crate::controller::input::{Answer, Failure, Input, Seq};
use crate::docker::engine::ImageInfo;
use crate::docker::image::{
    BuildError, BuildEvent, ImageBuildSpec, PullError, PullProgress, RegistryAuth, is_content_hash,
    no_progress_for,
};
use crate::docker::{Engine, EngineError};
use crate::resource::condition::Reason;
use crate::resource::effective::{Build, PullPolicy};
use crate::resource::merge::DEFAULT_IMAGE;
use crate::world::image::{ImageProgress, ImageSource, WantedImage};

/// A pull that stands still for so long has lost its registry: layers come in pieces, and an engine that unpacks tells of it.
const PULL_PATIENCE: Duration = Duration::from_mins(2);
/// A step of a build may compile for long without a word.
const BUILD_PATIENCE: Duration = Duration::from_mins(30);
/// A look at one image is a moment's work for an engine that is well.
const LOOK_WITHIN: Duration = Duration::from_secs(20);
/// What is not swept now is swept after the next build.
const SWEEP_WITHIN: Duration = Duration::from_secs(30);
/// Between two words about the progress: each may become a write of the store.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// Is it there?
pub(super) async fn look_for<E: Engine>(
    means: &Means<E>,
    call: &Call,
    image: &WantedImage,
) -> Result<Answer, Failure> {
    let reference = parse(&image.reference)?;
    match look(means, call, &reference).await? {
        Some(found) => Ok(answer(&reference, found, false)),
        None if image.source.can_be_brought() => Ok(Answer::NoImage),
        None => Err(missing(image)),
    }
}

/// Pulls or builds it, unless it has come meanwhile.
pub(super) async fn bring<E: Engine>(
    means: &Means<E>,
    seq: Seq,
    call: &Call,
    image: &WantedImage,
) -> Result<Answer, Failure> {
    let reference = parse(&image.reference)?;
    if image.source.may_be_old()
        && let Some(found) = look(means, call, &reference).await?
    {
        return Ok(answer(&reference, found, false));
    }
    match &image.source {
        ImageSource::Registry(PullPolicy::Never) => return Err(missing(image)),
        ImageSource::Registry(_) => pull(means, seq, call, &reference).await?,
        ImageSource::Build(build) => build_image(means, seq, call, build, &reference).await?,
    }
    let gone = || Failure::Unknown(format!("{reference} was taken away as it came"));
    let found = look(means, call, &reference).await?.ok_or_else(gone)?;
    if let ImageSource::Build(_) = image.source
        && tokio::time::timeout(SWEEP_WITHIN, sweep(means, &reference)).await.is_err()
    {
        debug!(image = %reference, "earlier builds stay: the engine is slow to list and remove them");
    }
    Ok(answer(&reference, found, true))
}

fn answer(reference: &ImageRef, found: ImageInfo, brought: bool) -> Answer {
    let normal = reference.normal();
    let digest = normal.as_ref().and_then(|normal| {
        let digest = found.digest_of(normal)?;
        Some(format!("{}/{}@{digest}", normal.registry(), normal.repository()))
    });
    Answer::Image { id: found.id, digest, volumes: found.volumes, brought }
}

fn parse(reference: &str) -> Result<ImageRef, Failure> {
    ImageRef::parse(reference)
        .map_err(|error| Failure::Refused(Reason::InvalidSpec, error.to_string()))
}

async fn look<E: Engine>(
    means: &Means<E>,
    call: &Call,
    image: &ImageRef,
) -> Result<Option<ImageInfo>, Failure> {
    match tokio::time::timeout(LOOK_WITHIN, means.engine.image(image)).await {
        Ok(found) => found.map_err(|error| of_engine(call, error)),
        Err(_elapsed) => Err(Failure::Unknown(format!("no word about image {image}"))),
    }
}

/// What a person can do where the operator may not, or could not.
pub(super) fn missing(image: &WantedImage) -> Failure {
    let way_out = match &image.source {
        ImageSource::Registry(PullPolicy::Never) if image.reference == DEFAULT_IMAGE => {
            "make it with `chanop agent-image`, or name another in spec.image.ref"
        }
        ImageSource::Registry(PullPolicy::Never) => {
            "pullPolicy is Never: load or build it on the engine"
        }
        ImageSource::Registry(_) => "it is pulled",
        ImageSource::Build(_) => "it is built",
    };
    let message = format!("the engine has no image {}; {way_out}", image.reference);
    Failure::Refused(Reason::ImageMissing, message)
}

async fn pull<E: Engine>(
    means: &Means<E>,
    seq: Seq,
    call: &Call,
    image: &ImageRef,
) -> Result<(), Failure> {
    let refused = |text: String| Failure::Refused(Reason::ImagePullBackOff, text);
    let auth = means.credentials.find(image).await.map_err(|error| refused(error.to_string()))?;
    let stream = no_progress_for(means.engine.image_pull(image, auth.as_ref()), PULL_PATIENCE);
    pin_mut!(stream);
    let mut teller = Teller::new(means, seq);
    while let Some(step) = stream.next().await {
        match step {
            Ok(progress) => teller.tell(&of_pull(&progress)),
            Err(PullError::NoSpace(text)) => return Err(Failure::NoSpace(text)),
            // Not the registry's fault, nor the reference's.
            Err(PullError::Engine(error)) => return Err(of_engine(call, error)),
            Err(error) => return Err(refused(format!("{image}: {error}"))),
        }
    }
    Ok(())
}

async fn build_image<E: Engine>(
    means: &Means<E>,
    seq: Seq,
    call: &Call,
    build: &Build,
    image: &ImageRef,
) -> Result<(), Failure> {
    let refused = |text: String| Failure::Refused(Reason::ImageBuildFailed, text);
    let (specs, wanted) = (means.specs_dir.clone(), build.clone());
    let read = tokio::task::spawn_blocking(move || builds::context(&specs, &wanted));
    let context = read.await.map_err(|error| refused(error.to_string()))?.map_err(refused)?;
    let spec = ImageBuildSpec { auths: auths(means).await, ..build_spec(build) };
    if !image.as_str().ends_with(&format!(":{}", spec.content_hash(&context))) {
        return Err(refused(format!(
            "{} has changed since it was looked at; it is looked at again",
            build.context
        )));
    }
    let stream = no_progress_for(means.engine.image_build(&spec, &context, image), BUILD_PATIENCE);
    pin_mut!(stream);
    let mut teller = Teller::new(means, seq);
    while let Some(step) = stream.next().await {
        match step {
            Ok(BuildEvent::Pulling(progress)) => teller.tell(&of_pull(&progress)),
            Ok(BuildEvent::Line(line)) => teller.tell_step(&line),
            Ok(BuildEvent::Built(_)) => {}
            Err(BuildError::NoSpace(text)) => return Err(Failure::NoSpace(text)),
            Err(BuildError::Engine(error)) => return Err(of_engine(call, error)),
            Err(BuildError::Failed { message, output }) => {
                return Err(refused(format!("{message}\n{output}")));
            }
            Err(error) => return Err(refused(error.to_string())),
        }
    }
    Ok(())
}

/// Who the engine is at the registries that Docker's config file names: a Dockerfile may begin at any of them.
async fn auths<E: Engine>(means: &Means<E>) -> Vec<RegistryAuth> {
    means.credentials.all().await.unwrap_or_else(|error| {
        warn!("the build goes on without credentials: {error}");
        Vec::new()
    })
}

/// Takes away what was built before for the same channel and is used by no container: the repository is chanop's own, and this
/// instance's. What is in use, the engine keeps; it goes with the next build.
async fn sweep<E: Engine>(means: &Means<E>, image: &ImageRef) {
    let repository = image.as_str().rsplit_once(':').map_or(image.as_str(), |(name, _)| name);
    let Ok(repository) = ImageRef::parse(repository) else { return };
    let Ok(tags) = built_tags(means, &repository).await else { return };
    for tag in tags.iter().filter(|tag| *tag != image) {
        if let Err(error) = means.engine.image_remove(tag).await {
            debug!(image = %tag, "an earlier build stays: {error}");
        }
    }
}

/// Removes the tags that were built for a channel that is gone. The repository is chanop's own, this instance's and this
/// channel's. Nothing is forced: a tag that a container still uses stays and is a conflict.
pub(super) async fn untag_builds<E: Engine>(
    means: &Means<E>,
    call: &Call,
    repository: &str,
    keep: &BTreeSet<String>,
) -> Result<Answer, Failure> {
    let repository = parse(repository)?;
    let failed = |error| of_engine(call, error);
    let (mut used, mut kept) = (None, Vec::new());
    for tag in built_tags(means, &repository).await.map_err(failed)? {
        if keep.contains(tag.as_str()) {
            kept.push(tag.to_string());
            continue;
        }
        match means.engine.image_remove(&tag).await {
            Ok(()) | Err(EngineError::NotFound(_)) => {}
            Err(EngineError::Conflict(text)) => {
                used = Some(format!("image {tag}, built for the channel, is still in use: {text}"));
            }
            Err(error) => return Err(failed(error)),
        }
    }
    used.map_or(Ok(Answer::Untagged { kept }), |text| Err(Failure::Conflict(text)))
}

/// The tags of a repository that chanop made: each is the hash of what was built. Another one was set by a person.
async fn built_tags<E: Engine>(
    means: &Means<E>,
    repository: &ImageRef,
) -> Result<Vec<ImageRef>, EngineError> {
    let mut tags = means.engine.image_tags(repository).await?;
    tags.retain(|tag| tag.as_str().rsplit_once(':').is_some_and(|(_, tag)| is_content_hash(tag)));
    Ok(tags)
}

fn of_pull(progress: &PullProgress) -> ImageProgress {
    let count = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    ImageProgress {
        done: count(progress.layers_done),
        total: count(progress.layers_total),
        bytes: progress.bytes_current,
        bytes_total: progress.bytes_total,
    }
}

/// Tells the core how far it is, now and then.
struct Teller<'a, E> {
    means: &'a Means<E>,
    seq: Seq,
    told_at: Option<Duration>,
}

impl<'a, E> Teller<'a, E> {
    const fn new(means: &'a Means<E>, seq: Seq) -> Self {
        Self { means, seq, told_at: None }
    }

    fn tell(&mut self, progress: &ImageProgress) {
        let now = self.means.clock.now().mono;
        if self.told_at.is_some_and(|at| now.saturating_sub(at) < TELL_EVERY) {
            return;
        }
        self.told_at = Some(now);
        let progress = progress.clone();
        // A full mailbox has more important news, and the next word says more.
        let _said = self.means.progress.try_send(Input::Progressed { seq: self.seq, progress });
    }

    /// The older builder counts its steps itself: `Step 3/7 : RUN make`.
    fn tell_step(&mut self, line: &str) {
        let Some((done, total)) = step(line) else { return };
        self.tell(&ImageProgress { done, total, ..ImageProgress::default() });
    }
}

/// The steps that are done when this one begins, and all of them.
fn step(line: &str) -> Option<(u32, u32)> {
    let (counts, _) = line.strip_prefix("Step ")?.split_once(' ')?;
    let (this, total) = counts.split_once('/')?;
    Some((this.parse::<u32>().ok()?.saturating_sub(1), total.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_builds_steps_are_read_from_what_it_says() {
        assert_eq!(step("Step 3/7 : RUN make"), Some((2, 7)));
        for other in ["Step 3/7", "step 1/2 : x", "Step x/7 : y", " ---> Running in 1234"] {
            assert_eq!(step(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_missing_has_a_way_out() {
        let said = |reference: &str, source| {
            let image = WantedImage { reference: reference.to_owned(), source };
            missing(&image).message().to_owned()
        };
        let never = || ImageSource::Registry(PullPolicy::Never);
        assert!(said(DEFAULT_IMAGE, never()).contains("chanop agent-image"));
        assert!(said("node:22", never()).contains("pullPolicy is Never"));
        let pulled = said("node:22", ImageSource::Registry(PullPolicy::IfNotPresent));
        assert!(!pulled.contains("Never"), "{pulled}");
    }
}
