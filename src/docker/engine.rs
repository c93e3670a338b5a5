//! What chanop needs of a Docker engine.
//!
//! Every method is one API call with one definite meaning; none retries, loops or decides. Timeouts around whole calls are
//! the caller's ([`crate::executor`]), because only it knows the grace period. Streams end with an error or with the end of
//! what they follow, never silently.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::io;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use jiff::Timestamp;

use super::error::{EngineError, EngineResult};
use super::image::{BuildContext, BuildStream, ImageBuildSpec, PullStream, RegistryAuth};
use crate::container::config::Limits;
use crate::container::{
    ContainerConfig, ContainerId, ContainerName, ImageRef, NormalImageRef, ObjectName, Snapshot,
    WaitResponse,
};

/// A Docker engine.
pub trait Engine: Clone + std::fmt::Debug + Send + Sync + 'static {
    /// Is it there?
    fn ping(&self) -> impl Future<Output = EngineResult<()>> + Send;

    /// Who it is and what it speaks.
    fn info(&self) -> impl Future<Output = EngineResult<EngineInfo>> + Send;

    /// Every container with the label `key=value`, stopped ones too. One that cannot be decoded is an error of the whole.
    fn list(
        &self,
        key: &str,
        value: &str,
    ) -> impl Future<Output = EngineResult<Vec<Snapshot>>> + Send;

    /// All of one container, by ID.
    fn inspect(&self, id: &ContainerId) -> impl Future<Output = EngineResult<Snapshot>> + Send;

    /// All of one container, by name. The name starts with `chanop_`, which is no prefix of an ID.
    fn inspect_name(
        &self,
        name: &ContainerName,
    ) -> impl Future<Output = EngineResult<Snapshot>> + Send;

    /// Makes a container. The name is the idempotency key: `NameTaken` when somebody has it.
    fn create(
        &self,
        name: &ContainerName,
        config: &ContainerConfig,
    ) -> impl Future<Output = EngineResult<ContainerId>> + Send;

    /// Starts it; one that runs already is success, one that exited runs again.
    fn start(&self, id: &ContainerId) -> impl Future<Output = EngineResult<()>> + Send;

    /// Stops it: TERM, `grace_seconds`, KILL. One that is stopped already is success.
    fn stop(
        &self,
        id: &ContainerId,
        grace_seconds: u32,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// Sends a signal.
    fn kill(&self, id: &ContainerId, signal: &str)
    -> impl Future<Output = EngineResult<()>> + Send;

    /// Removes it with its anonymous volumes; `force` kills it first.
    fn remove(
        &self,
        id: &ContainerId,
        force: bool,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// Changes limits in place, and puts the restart policy back to `no`. Memory or CPUs of 0 stay as they are: no engine
    /// takes such a limit away from a container that exists.
    fn update(
        &self,
        id: &ContainerId,
        limits: &Limits,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// Waits until it does not run. A hint, never truth: 0 for one that never started, an error when the engine restarts.
    fn wait(&self, id: &ContainerId) -> impl Future<Output = EngineResult<WaitResponse>> + Send;

    /// Its output, both streams, demultiplexed; `follow` goes on until it ends. (Two calls: how output is framed depends on
    /// the container.)
    fn logs(&self, id: &ContainerId, follow: bool) -> BoxStream<'static, EngineResult<LogChunk>>;

    /// The same of a container that has no terminal, which the caller knows: in one call.
    fn output(&self, id: &ContainerId, follow: bool) -> BoxStream<'static, EngineResult<LogChunk>> {
        self.logs(id, follow)
    }

    /// Puts a tar archive into it at `path`, an absolute path inside, of a directory that exists. Owners are kept.
    fn copy_to(
        &self,
        id: &ContainerId,
        path: &str,
        archive: Bytes,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// Events of containers with the label `key=value`, from `since` on, without end. The first item is `Opened`.
    fn events(
        &self,
        key: &str,
        value: &str,
        since: Timestamp,
    ) -> BoxStream<'static, EngineResult<EngineEvent>>;

    /// The image's ID and configuration, `None` when the engine has none of that reference. An ID counts when it is whole.
    fn image(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = EngineResult<Option<ImageInfo>>> + Send;

    /// IDs of the images with that reference.
    fn image_list(
        &self,
        reference: &ImageRef,
    ) -> impl Future<Output = EngineResult<Vec<String>>> + Send;

    /// The tags that the engine has of exactly that repository, whatever images they mean, each as a whole reference; the tag or
    /// digest of the one that is asked with does not matter. None of an ID, which has no repository.
    fn image_tags(
        &self,
        repository: &ImageRef,
    ) -> impl Future<Output = EngineResult<Vec<ImageRef>>> + Send;

    /// Pulls a reference, by its normal form. The stream ends when the image is there; dropped before, the engine gives up.
    fn image_pull(&self, reference: &ImageRef, auth: Option<&RegistryAuth>) -> PullStream;

    /// Builds a context into `tag`. The stream's last item is the image's ID; dropped before, the engine gives up. It says
    /// nothing while the context is on its way.
    fn image_build(
        &self,
        spec: &ImageBuildSpec,
        context: &BuildContext,
        tag: &ImageRef,
    ) -> BuildStream;

    /// Makes an image of one layer from a tar of a root file system, with Dockerfile `changes`; answers its ID.
    fn image_import(
        &self,
        archive: Bytes,
        tag: &ImageRef,
        changes: &[String],
    ) -> impl Future<Output = EngineResult<String>> + Send {
        let whole = stream::once(std::future::ready(Ok(archive)));
        self.image_import_stream(whole.boxed(), tag, changes)
    }

    /// Likewise, from an archive that is too large for memory. An error in it breaks the request: there is no image then.
    fn image_import_stream(
        &self,
        archive: BoxStream<'static, io::Result<Bytes>>,
        tag: &ImageRef,
        changes: &[String],
    ) -> impl Future<Output = EngineResult<String>> + Send;

    /// Removes an image's tag. The last one takes the image along, and is a `Conflict` when a container uses it.
    fn image_remove(&self, reference: &ImageRef) -> impl Future<Output = EngineResult<()>> + Send;

    /// The networks of that exact name; Docker 20.10 allows two.
    fn networks(
        &self,
        name: &ObjectName,
    ) -> impl Future<Output = EngineResult<Vec<NetworkInfo>>> + Send;

    /// Makes a bridge network on which containers cannot reach each other; answers its ID.
    fn network_create(
        &self,
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = EngineResult<String>> + Send;

    /// Removes a network by ID.
    fn network_remove(&self, id: &ObjectName) -> impl Future<Output = EngineResult<()>> + Send;

    /// Makes a volume, or answers the one of that name with the labels that *it* has.
    fn volume_create(
        &self,
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
    ) -> impl Future<Output = EngineResult<VolumeInfo>> + Send;

    /// The volume, `None` when there is none.
    fn volume(
        &self,
        name: &ObjectName,
    ) -> impl Future<Output = EngineResult<Option<VolumeInfo>>> + Send;

    /// Removes a volume that nothing uses.
    fn volume_remove(&self, name: &ObjectName) -> impl Future<Output = EngineResult<()>> + Send;

    /// Prepares a command in a running container; answers the session's ID.
    fn exec_create(
        &self,
        id: &ContainerId,
        exec: &ExecConfig,
    ) -> impl Future<Output = EngineResult<ExecId>> + Send;

    /// Runs it, connected to us. Of a command that cannot be run, Docker 20.10 says so *in the output*, and the session ends
    /// with code 126 or 127: only [`Self::exec_inspect`] tells that apart from a command that wrote such words.
    fn exec_start(
        &self,
        exec: &ExecId,
        tty: bool,
    ) -> impl Future<Output = EngineResult<ExecStream>> + Send;

    /// Tells a terminal's size; before the session runs, an error.
    fn exec_resize(
        &self,
        exec: &ExecId,
        rows: u16,
        columns: u16,
    ) -> impl Future<Output = EngineResult<()>> + Send;

    /// Does it run, and with which code did it end?
    fn exec_inspect(&self, exec: &ExecId) -> impl Future<Output = EngineResult<ExecState>> + Send;
}

/// Who the engine is and what it speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "they are independent facts, not the states of one thing"
)]
pub struct EngineInfo {
    /// `/info`'s ID: another one is another engine, or one that lost its data.
    pub id: String,
    /// The engine's version.
    pub version: String,
    /// The API version that we speak with it.
    pub api_version: String,
    /// The engine's own name for its host.
    pub name: String,
    /// `linux`.
    pub os: String,
    /// As `uname -m` says.
    pub architecture: String,
    /// Is it Podman behind Docker's API?
    pub podman: bool,
    /// The runtime of a container that names none.
    pub default_runtime: String,
    /// How many CPUs it has.
    pub cpus: i64,
    /// Bytes of memory it has.
    pub memory_bytes: i64,
    /// Can it limit swap?
    pub limits_swap: bool,
    /// `1` or `2`; empty when unsaid.
    pub cgroup_version: String,
    /// Is it rootless?
    pub rootless: bool,
    /// Does it remap user IDs (`userns-remap`)?
    pub remaps_users: bool,
    /// Warnings that it gives about itself.
    pub warnings: Vec<String>,
}

/// A piece of output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogChunk {
    /// True for standard error.
    pub stderr: bool,
    /// The bytes, not necessarily whole lines.
    pub bytes: Bytes,
}

/// What the event stream says: look again, and at whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EngineEvent {
    /// The engine answered the request for events. It may not have subscribed yet: only `since` closes that hole.
    Opened,
    /// Something happened to a container.
    Container(ContainerEvent),
}

/// Something that happened to a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContainerEvent {
    /// Which.
    pub id: ContainerId,
    /// Docker's word: `create`, `start`, `die`, `exec_die`, …; without what follows a colon.
    pub action: String,
    /// `die`'s exit code.
    pub exit_code: Option<i64>,
    /// Nanoseconds since 1970, by the engine's clock.
    pub time_nano: i64,
    /// The container's labels (Docker puts them among the attributes).
    pub labels: BTreeMap<String, String>,
}

/// An image as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageInfo {
    /// `sha256:…`.
    pub id: String,
    /// Digests by which registries know it.
    pub repo_digests: Vec<String>,
    /// Its environment.
    pub env: Vec<String>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its user; empty: root.
    pub user: String,
    /// The paths that it declares as volumes.
    pub volumes: BTreeSet<String>,
}

impl ImageInfo {
    /// The digest by which that repository's registry knows the image: what was pulled, whatever the tag means by now.
    /// `None` for an image that was built or loaded here.
    pub fn digest_of(&self, reference: &NormalImageRef) -> Option<&str> {
        self.repo_digests.iter().find_map(|known| {
            let same = ImageRef::parse(known).ok()?.normal()?.same_repository(reference);
            known.split_once('@').map(|(_, digest)| digest).filter(|_| same)
        })
    }
}

/// A network as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInfo {
    /// Its ID: names need not be unique.
    pub id: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its driver's options.
    pub options: BTreeMap<String, String>,
    /// When it was made, as the engine writes it.
    pub created: String,
}

/// A volume as the engine has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeInfo {
    /// Its name.
    pub name: String,
    /// The labels it was created with.
    pub labels: BTreeMap<String, String>,
    /// Its driver; `local` unless somebody chose another one.
    pub driver: String,
    /// Driver options; with them a volume can be any device or directory of the host.
    pub options: BTreeMap<String, String>,
    /// Where its data is on the engine's host.
    pub mountpoint: String,
}

/// A command to run in a running container.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ExecConfig {
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// `NAME=value`.
    pub env: Vec<String>,
    /// Absolute; empty: the container's.
    pub working_dir: String,
    /// `uid:gid`; empty: the container's.
    pub user: String,
    /// With a terminal.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
}

/// The ID of an exec session: 64 hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecId(pub(super) String);

impl ExecId {
    /// Parses an ID: hexadecimal digits and nothing else.
    pub fn parse(text: &str) -> Result<Self, EngineError> {
        let hex = |b: u8| b.is_ascii_hexdigit();
        if (1..=64).contains(&text.len()) && text.bytes().all(hex) {
            return Ok(Self(text.to_owned()));
        }
        Err(EngineError::Unreadable(format!("`{text}` is no ID of an exec session")))
    }

    /// The ID.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The two ends of a running exec session. Dropping it leaves the process running: Docker has no call to end one.
pub struct ExecStream {
    /// What the process writes.
    pub output: BoxStream<'static, EngineResult<LogChunk>>,
    /// What the process reads.
    pub input: std::pin::Pin<Box<dyn tokio::io::AsyncWrite + Send>>,
}

impl std::fmt::Debug for ExecStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExecStream").finish_non_exhaustive()
    }
}

/// How an exec session stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExecState {
    /// Does its process run?
    pub running: bool,
    /// Its exit code, once it has one.
    pub exit_code: Option<i64>,
    /// Its process on the engine's host; 0 when unknown.
    pub pid: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_a_digest_for_each_repository_that_it_was_pulled_from() {
        let (a, b) = ("a".repeat(64), "b".repeat(64));
        let image = ImageInfo {
            id: String::new(),
            repo_digests: vec![
                format!("node@sha256:{a}"),
                format!("localhost:5000/node@sha256:{b}"),
                "<none>@<none>".to_owned(),
            ],
            env: Vec::new(),
            labels: BTreeMap::new(),
            user: String::new(),
            volumes: BTreeSet::new(),
        };
        let digest = |text: &str| {
            let digest = image.digest_of(&ImageRef::parse(text).unwrap().normal().unwrap());
            digest.and_then(|digest| digest.strip_prefix("sha256:")).map(str::to_owned)
        };
        assert_eq!(digest("docker.io/library/node:22"), Some(a));
        assert_eq!(digest("localhost:5000/node"), Some(b));
        assert_eq!(digest("ghcr.io/node"), None);
    }
}
