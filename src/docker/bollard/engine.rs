//! [`Engine`], method by method.

use std::collections::{BTreeMap, BTreeSet};

use bollard::errors::Error;
use bollard::models::{ExecConfig as ExecBody, VolumeCreateRequest};
use bollard::query_parameters as query_of;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt, TryFutureExt, TryStreamExt};
use jiff::Timestamp;

use super::{Docker, create, error};
use crate::container::config::Limits;
use crate::container::{
    ContainerConfig, ContainerId, ContainerName, ImageRef, ObjectName, Snapshot, WaitResponse,
};
use crate::docker::classify::Call;
use crate::docker::engine::{
    Engine, EngineEvent, EngineInfo, ExecConfig, ExecId, ExecState, ExecStream, ImageInfo,
    LogChunk, NetworkInfo, VolumeInfo,
};
use crate::docker::error::{EngineError, EngineResult};
use crate::docker::image::{BuildContext, BuildStream, ImageBuildSpec, PullStream, RegistryAuth};
use crate::docker::transport::query;
use crate::docker::wire::container::{Inspected, Listed, container_id};
use crate::docker::wire::object::{CreatedNetwork, Image, Info, ListedImage, Network, Volume};

/// Containers on the network cannot reach each other: channels share it, not each other's ports.
const INTER_CONTAINER: &str = "com.docker.network.bridge.enable_icc";

impl Docker {
    /// A short call of bollard's.
    async fn short<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, Error>> + Send,
    ) -> EngineResult<T> {
        let _permit = self.transport.short().await.map_err(error::of_transport)?;
        answer.await.map_err(|error| error::of_bollard(call, error))
    }

    /// A call of bollard's that may take minutes.
    async fn long<T>(
        &self,
        call: Call,
        answer: impl Future<Output = Result<T, Error>> + Send,
    ) -> EngineResult<T> {
        let _permit = self.transport.long().await.map_err(error::of_transport)?;
        answer.await.map_err(|error| error::of_bollard(call, error))
    }

    async fn inspect_path(&self, reference: &str) -> EngineResult<Inspected> {
        self.ask(Call::Inspect, &format!("/containers/{reference}/json")).await
    }
}

/// Both streams of a container's output.
fn logs_path(id: &ContainerId, follow: bool) -> String {
    let follow = if follow { "true" } else { "false" };
    let query = query(&[("follow", follow), ("stdout", "true"), ("stderr", "true")]);
    format!("/containers/{id}/logs{query}")
}

impl Engine for Docker {
    async fn ping(&self) -> EngineResult<()> {
        self.short(Call::Ping, self.api.ping()).await.map(drop)
    }

    async fn info(&self) -> EngineResult<EngineInfo> {
        let peer = self.transport.peer().await.map_err(error::of_transport)?;
        let info: Info = self.ask(Call::Info, "/info").await?;
        // Podman makes up another ID for each answer; what stays the same is where it keeps its data.
        let id = if peer.podman {
            format!("podman:{}:{}", info.name, info.docker_root_dir)
        } else {
            info.id
        };
        Ok(EngineInfo {
            id,
            version: peer.version,
            api_version: peer.api.to_string(),
            name: info.name,
            os: info.os_type,
            architecture: info.architecture,
            podman: peer.podman,
            default_runtime: info.default_runtime,
            cpus: info.ncpu,
            memory_bytes: info.mem_total,
            limits_swap: info.swap_limit,
            cgroup_version: info.cgroup_version,
            remaps_users: info.security_options.iter().any(|option| option == "name=userns"),
            rootless: info.security_options.iter().any(|option| option.contains("rootless")),
            warnings: info.warnings,
        })
    }

    async fn list(&self, key: &str, value: &str) -> EngineResult<Vec<Snapshot>> {
        let filters = serde_json::json!({ "label": [format!("{key}={value}")] }).to_string();
        let path = format!("/containers/json{}", query(&[("all", "true"), ("filters", &filters)]));
        let listed: Vec<Listed> = self.ask(Call::List, &path).await?;
        listed.into_iter().map(Listed::into_snapshot).collect()
    }

    async fn inspect(&self, id: &ContainerId) -> EngineResult<Snapshot> {
        self.inspect_path(id.as_str()).await?.into_snapshot()
    }

    async fn inspect_name(&self, name: &ContainerName) -> EngineResult<Snapshot> {
        let found = self.inspect_path(name.as_str()).await?.into_snapshot()?;
        // The engine also takes the beginning of an ID for an answer, and that is a stranger's.
        if found.name == *name {
            return Ok(found);
        }
        Err(EngineError::NotFound(format!("no container has the name {name}")))
    }

    async fn create(
        &self,
        name: &ContainerName,
        config: &ContainerConfig,
    ) -> EngineResult<ContainerId> {
        let podman = self.transport.peer().await.map_err(error::of_transport)?.podman;
        let options =
            query_of::CreateContainerOptionsBuilder::default().name(name.as_str()).build();
        let body = create::body(config, podman);
        let created =
            self.short(Call::Create, self.api.create_container(Some(options), body)).await?;
        container_id(&created.id)
    }

    async fn start(&self, id: &ContainerId) -> EngineResult<()> {
        self.short(Call::Start, self.api.start_container(id.as_str(), None)).await
    }

    async fn stop(&self, id: &ContainerId, grace_seconds: u32) -> EngineResult<()> {
        let seconds = i32::try_from(grace_seconds).unwrap_or(i32::MAX);
        let options = query_of::StopContainerOptionsBuilder::default().t(seconds).build();
        self.long(Call::Stop, self.api.stop_container(id.as_str(), Some(options))).await
    }

    async fn kill(&self, id: &ContainerId, signal: &str) -> EngineResult<()> {
        let options = query_of::KillContainerOptionsBuilder::default().signal(signal).build();
        self.short(Call::Kill, self.api.kill_container(id.as_str(), Some(options))).await
    }

    async fn remove(&self, id: &ContainerId, force: bool) -> EngineResult<()> {
        let options =
            query_of::RemoveContainerOptionsBuilder::default().v(true).force(force).build();
        self.short(Call::Remove, self.api.remove_container(id.as_str(), Some(options))).await
    }

    async fn update(&self, id: &ContainerId, limits: &Limits) -> EngineResult<()> {
        self.short(Call::Update, self.api.update_container(id.as_str(), create::update(limits)))
            .await
    }

    async fn wait(&self, id: &ContainerId) -> EngineResult<WaitResponse> {
        let _permit = self.transport.long().await.map_err(error::of_transport)?;
        let mut answers = std::pin::pin!(self.api.wait_container(id.as_str(), None));
        match answers.next().await {
            Some(Ok(answer)) => Ok(WaitResponse {
                status_code: answer.status_code,
                error: answer.error.and_then(|error| error.message).filter(|text| !text.is_empty()),
            }),
            // What bollard takes for an error is an exit code like any other.
            Some(Err(Error::DockerContainerWaitError { error, code })) => Ok(WaitResponse {
                status_code: code,
                error: Some(error).filter(|text| !text.is_empty()),
            }),
            Some(Err(error)) => Err(error::of_bollard(Call::Wait, error)),
            None => Err(EngineError::Unknown("the wait ended without an exit code".to_owned())),
        }
    }

    fn logs(&self, id: &ContainerId, follow: bool) -> BoxStream<'static, EngineResult<LogChunk>> {
        let (docker, id) = (self.clone(), id.clone());
        let open = async move {
            let tty = docker.inspect_path(id.as_str()).await?.tty();
            docker.open_logs(&logs_path(&id, follow), tty).await
        };
        open.try_flatten_stream().boxed()
    }

    fn output(&self, id: &ContainerId, follow: bool) -> BoxStream<'static, EngineResult<LogChunk>> {
        let (docker, path) = (self.clone(), logs_path(id, follow));
        async move { docker.open_logs(&path, false).await }.try_flatten_stream().boxed()
    }

    async fn copy_to(&self, id: &ContainerId, path: &str, archive: Bytes) -> EngineResult<()> {
        let options = query_of::UploadToContainerOptionsBuilder::default().path(path).build();
        let body = bollard::body_full(archive);
        self.long(Call::Copy, self.api.upload_to_container(id.as_str(), Some(options), body)).await
    }

    fn events(
        &self,
        key: &str,
        value: &str,
        since: Timestamp,
    ) -> BoxStream<'static, EngineResult<EngineEvent>> {
        let docker = self.clone();
        let filters =
            serde_json::json!({ "type": ["container"], "label": [format!("{key}={value}")] })
                .to_string();
        let since = format!("{}.{:09}", since.as_second(), since.subsec_nanosecond());
        let path = format!("/events{}", query(&[("since", &since), ("filters", &filters)]));
        async move { docker.open_events(&path).await }.try_flatten_stream().boxed()
    }

    async fn image(&self, reference: &ImageRef) -> EngineResult<Option<ImageInfo>> {
        // By its normal form: of a name that it does not have, the engine takes the beginning of an ID for an answer.
        let reference = reference.normal().map_or_else(|| reference.clone(), |it| it.to_ref());
        match self.ask::<Image>(Call::Image, &format!("/images/{reference}/json")).await {
            Ok(image) => Ok(Some(image.into())),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn image_list(&self, reference: &ImageRef) -> EngineResult<Vec<String>> {
        let filters = serde_json::json!({ "reference": [reference.as_str()] }).to_string();
        let images: Vec<ListedImage> = self
            .ask(Call::Image, &format!("/images/json{}", query(&[("filters", &filters)])))
            .await?;
        Ok(images.into_iter().map(|image| image.id).collect())
    }

    async fn image_tags(&self, repository: &ImageRef) -> EngineResult<Vec<ImageRef>> {
        let Some(repository) = repository.normal() else { return Ok(Vec::new()) };
        // All of them: the engine's filter takes a name for a pattern, and knows it in one of its spellings only.
        let images: Vec<ListedImage> = self.ask(Call::Image, "/images/json").await?;
        let tags = images.into_iter().flat_map(|image| image.repo_tags);
        let known: BTreeSet<ImageRef> = tags
            // An image without a tag has `<none>:<none>`.
            .filter_map(|tag| ImageRef::parse(&tag).ok())
            .filter(|tag| tag.normal().is_some_and(|tag| tag.same_repository(&repository)))
            .collect();
        Ok(known.into_iter().collect())
    }

    fn image_pull(&self, reference: &ImageRef, auth: Option<&RegistryAuth>) -> PullStream {
        self.pull(reference, auth)
    }

    fn image_build(
        &self,
        spec: &ImageBuildSpec,
        context: &BuildContext,
        tag: &ImageRef,
    ) -> BuildStream {
        self.build(spec, context, tag)
    }

    async fn image_import_stream(
        &self,
        archive: BoxStream<'static, std::io::Result<Bytes>>,
        tag: &ImageRef,
        changes: &[String],
    ) -> EngineResult<String> {
        let options = query_of::CreateImageOptionsBuilder::default()
            .from_src("-")
            .repo(tag.as_str())
            .changes(changes.to_vec())
            .build();
        let progress =
            self.api.create_image(Some(options), Some(bollard::body_try_stream(archive)), None);
        // The last line that is an ID is the image's.
        let last = progress.try_fold(None, |found, line| {
            let id = line.status.filter(|status| status.starts_with("sha256:"));
            std::future::ready(Ok(id.or(found)))
        });
        self.long(Call::Import, last).await?.ok_or_else(|| {
            EngineError::Unreadable("the import ended without an image's ID".to_owned())
        })
    }

    async fn image_remove(&self, reference: &ImageRef) -> EngineResult<()> {
        let options = None::<query_of::RemoveImageOptions>;
        self.short(Call::Image, self.api.remove_image(reference.as_str(), options, None))
            .await
            .map(drop)
    }

    async fn networks(&self, name: &ObjectName) -> EngineResult<Vec<NetworkInfo>> {
        // The engine's filter finds every name that contains this one.
        let filters = serde_json::json!({ "name": [name.as_str()] }).to_string();
        let found: Vec<Network> = self
            .ask(Call::Network, &format!("/networks{}", query(&[("filters", &filters)])))
            .await?;
        Ok(found
            .into_iter()
            .filter(|network| network.name == name.as_str())
            .map(NetworkInfo::from)
            .collect())
    }

    async fn network_create(
        &self,
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<String> {
        let body = serde_json::json!({
            "Name": name.as_str(),
            // Before 1.44, an engine makes a second network of one name unless asked; and even then it may.
            "CheckDuplicate": true,
            "Driver": "bridge",
            "Options": { INTER_CONTAINER: "false" },
            "Labels": labels,
        });
        let created: CreatedNetwork =
            self.tell(Call::NetworkCreate, "/networks/create", &body).await?;
        Ok(created.id)
    }

    async fn network_remove(&self, id: &ObjectName) -> EngineResult<()> {
        self.short(Call::Network, self.api.remove_network(id.as_str())).await
    }

    async fn volume_create(
        &self,
        name: &ObjectName,
        labels: &BTreeMap<String, String>,
    ) -> EngineResult<VolumeInfo> {
        let request = VolumeCreateRequest {
            name: Some(name.as_str().to_owned()),
            labels: Some(labels.clone().into_iter().collect()),
            ..VolumeCreateRequest::default()
        };
        let volume = self.short(Call::Volume, self.api.create_volume(request)).await?;
        Ok(VolumeInfo {
            name: volume.name,
            labels: volume.labels.into_iter().collect(),
            driver: volume.driver,
            options: volume.options.into_iter().collect(),
            mountpoint: volume.mountpoint,
        })
    }

    async fn volume(&self, name: &ObjectName) -> EngineResult<Option<VolumeInfo>> {
        match self.ask::<Volume>(Call::Volume, &format!("/volumes/{name}")).await {
            Ok(volume) => Ok(Some(volume.into())),
            Err(EngineError::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn volume_remove(&self, name: &ObjectName) -> EngineResult<()> {
        let options = None::<query_of::RemoveVolumeOptions>;
        self.short(Call::Volume, self.api.remove_volume(name.as_str(), options)).await
    }

    async fn exec_create(&self, id: &ContainerId, exec: &ExecConfig) -> EngineResult<ExecId> {
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        let body = ExecBody {
            attach_stdin: Some(exec.stdin),
            attach_stdout: Some(true),
            attach_stderr: Some(true),
            tty: Some(exec.tty),
            cmd: Some(exec.cmd.clone()),
            env: Some(exec.env.clone()),
            working_dir: text(&exec.working_dir),
            user: text(&exec.user),
            ..ExecBody::default()
        };
        let created = self.short(Call::ExecCreate, self.api.create_exec(id.as_str(), body)).await?;
        ExecId::parse(&created.id)
    }

    async fn exec_start(&self, exec: &ExecId, tty: bool) -> EngineResult<ExecStream> {
        self.open_exec(&format!("/exec/{}/start", exec.as_str()), tty).await
    }

    async fn exec_resize(&self, exec: &ExecId, rows: u16, columns: u16) -> EngineResult<()> {
        let options = query_of::ResizeExecOptionsBuilder::default()
            .h(i32::from(rows))
            .w(i32::from(columns))
            .build();
        self.short(Call::Exec, self.api.resize_exec(exec.as_str(), options)).await
    }

    async fn exec_inspect(&self, exec: &ExecId) -> EngineResult<ExecState> {
        let state = self.short(Call::Exec, self.api.inspect_exec(exec.as_str())).await?;
        let running = state.running.unwrap_or_default();
        Ok(ExecState {
            running,
            exit_code: state.exit_code.filter(|_| !running),
            pid: state.pid.unwrap_or_default(),
        })
    }
}
