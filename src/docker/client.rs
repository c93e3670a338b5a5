//! The ancestor's `DockerClient`: its method names over any [`Engine`].
//!
//! A façade without a thought of its own. Its names stay because people know them; its strings became parsed types, because a
//! string in a URL may reach another resource.

use std::collections::BTreeSet;
use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::io::AsyncRead;
use tokio_util::io::StreamReader;

use super::engine::Engine;
use super::error::{EngineError, EngineResult};
use super::image::{BuildContext, BuildError, ImageBuildSpec, build, pull};
use crate::container::snapshot::ContainerState;
use crate::container::{
    ContainerConfig, ContainerId, ContainerName, Identity, ImageRef, WaitResponse, label,
};

/// What is built when nobody says otherwise.
const DOCKERFILE: &str = "Dockerfile";

/// A container's output: standard output and error as they were written, without the engine's framing.
pub type LogReader = Pin<Box<dyn AsyncRead + Send>>;

/// A container's life, by the ancestor's names.
pub trait DockerClient: Send + Sync {
    /// Makes a container; answers its ID.
    fn container_create(
        &self,
        config: &ContainerConfig,
        name: &ContainerName,
    ) -> impl Future<Output = EngineResult<ContainerId>> + Send;

    /// Starts it.
    fn container_start(&self, id: &ContainerId) -> impl Future<Output = EngineResult<()>> + Send;

    /// All its output until now. What fails while reading is the reader's error.
    fn container_logs(&self, id: &ContainerId) -> LogReader;

    /// Its output as it is written, to its end.
    fn container_logs_follow(&self, id: &ContainerId) -> LogReader;

    /// Waits until it does not run; see [`Engine::wait`] for what that is worth.
    fn container_wait(
        &self,
        id: &ContainerId,
    ) -> impl Future<Output = EngineResult<WaitResponse>> + Send;

    /// Removes it, running or not. One that is gone already is success.
    fn container_remove(&self, id: &ContainerId) -> impl Future<Output = EngineResult<()>> + Send;

    /// The *running* containers with that label.
    fn container_list(
        &self,
        key: &str,
        value: &str,
    ) -> impl Future<Output = EngineResult<Vec<ContainerId>>> + Send;

    /// Puts a tar archive into it at `path`.
    fn copy_to_container(
        &self,
        id: &ContainerId,
        path: &str,
        archive: Bytes,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// IDs of the images with that reference.
    fn image_list(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = EngineResult<Vec<String>>> + Send;

    /// Pulls an image, without credentials.
    fn image_pull(&self, reference: &ImageRef) -> impl Future<Output = EngineResult<()>> + Send;

    /// Builds the directory's Dockerfile into `tag`, without what its `.dockerignore` names.
    fn image_build(
        &self,
        context_dir: &Path,
        tag: &ImageRef,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// The channels of that instance which have a running container of their own.
    fn running_channel_ids(
        &self,
        instance: &str,
    ) -> impl Future<Output = EngineResult<BTreeSet<String>>> + Send;

    /// Lets go of the engine; its connections close with the last clone.
    fn close(self);
}

impl<E: Engine> DockerClient for E {
    async fn container_create(
        &self,
        config: &ContainerConfig,
        name: &ContainerName,
    ) -> EngineResult<ContainerId> {
        self.create(name, config).await
    }

    async fn container_start(&self, id: &ContainerId) -> EngineResult<()> {
        self.start(id).await
    }

    fn container_logs(&self, id: &ContainerId) -> LogReader {
        reader(self, id, false)
    }

    fn container_logs_follow(&self, id: &ContainerId) -> LogReader {
        reader(self, id, true)
    }

    async fn container_wait(&self, id: &ContainerId) -> EngineResult<WaitResponse> {
        self.wait(id).await
    }

    async fn container_remove(&self, id: &ContainerId) -> EngineResult<()> {
        match self.remove(id, true).await {
            Err(EngineError::NotFound(_)) => Ok(()),
            answer => answer,
        }
    }

    async fn container_list(&self, key: &str, value: &str) -> EngineResult<Vec<ContainerId>> {
        let all = self.list(key, value).await?;
        let running =
            all.into_iter().filter(|container| container.state == ContainerState::Running);
        Ok(running.map(|container| container.id).collect())
    }

    async fn copy_to_container(
        &self,
        id: &ContainerId,
        path: &str,
        archive: Bytes,
    ) -> EngineResult<()> {
        self.copy_to(id, path, archive).await
    }

    async fn image_list(&self, reference: &ImageRef) -> EngineResult<Vec<String>> {
        Engine::image_list(self, reference).await
    }

    async fn image_pull(&self, reference: &ImageRef) -> EngineResult<()> {
        pull::finish(Engine::image_pull(self, reference, None)).await?;
        Ok(())
    }

    async fn image_build(&self, context_dir: &Path, tag: &ImageRef) -> EngineResult<()> {
        let directory = context_dir.to_owned();
        let read = move || BuildContext::read(&directory, DOCKERFILE);
        let context = tokio::task::spawn_blocking(read)
            .await
            .map_err(|error| EngineError::Refused(error.to_string()))?
            .map_err(BuildError::Context)?;
        build::finish(Engine::image_build(self, &ImageBuildSpec::default(), &context, tag)).await?;
        Ok(())
    }

    async fn running_channel_ids(&self, instance: &str) -> EngineResult<BTreeSet<String>> {
        let all = self.list(label::INSTANCE, instance).await?;
        let running = all.iter().filter(|container| container.state == ContainerState::Running);
        Ok(running
            .filter_map(|container| {
                Identity::channel_of(instance, &container.labels, &container.name)
            })
            .collect())
    }

    fn close(self) {}
}

fn reader(engine: &impl Engine, id: &ContainerId, follow: bool) -> LogReader {
    let bytes = engine.logs(id, follow).map_ok(|chunk| chunk.bytes).map_err(io::Error::other);
    Box::pin(StreamReader::new(bytes))
}
