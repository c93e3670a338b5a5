//! Kind `Channel`, as its file writes it: every field may be absent, so that a class can fill it.
//!
//! The doc comments of the fields are what `chanop explain` and editors show. Defaults stand here, in the schema, and in
//! [`super::merge`], which a test holds together.

mod agent;
mod arguments;
mod container;
mod lifecycle;
mod mount;
mod rules;
mod variables;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

pub(in crate::resource) use agent::argument_length;
pub use agent::{AgentSpec, CredentialsSpec, McpEnvValue, McpServerSpec};
pub use container::{
    BuildSpec, CapabilitiesSpec, EnvSpec, HomeSpec, ImageSpec, LimitsSpec, NetworkMode,
    NetworkSpec, Patch, PortNumber, PortSpec, ResourcesSpec, SecretKeyRefSpec, SecurityContextSpec,
    UserSpec, ValueFromSpec, WorkspaceSpec,
};
pub(in crate::resource) use lifecycle::budget;
pub use lifecycle::{
    DeletionSpec, HistorySpec, QueueSpec, RunsSpec, ShellSpec, UpdateStrategySpec,
};
pub use mount::{FileSpec, MountSpec, MountType};
pub(in crate::resource) use rules::exactly_one;
pub use variables::{is_reserved, signs_in};

use super::decode::fields;
use super::meta::{ObjectMeta, ResourceName, SourceRef};

/// A channel as it was written.
#[derive(Debug, Clone, PartialEq)]
pub struct Channel {
    /// Name, labels, annotations.
    pub meta: ObjectMeta,
    /// What is wanted.
    pub spec: ChannelSpec,
    /// Where it was written.
    pub source: SourceRef,
}

/// What a channel is to be.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ChannelSpec {
    /// The class (kind `ChannelClass`) that fills the fields which are not set here. A named class that does not exist holds the channel;
    /// the default one may be absent.
    #[schemars(extend("default" = "default"))]
    pub class_name: Option<ResourceName>,
    /// Stop the shell, but keep its container, and start no run; active runs finish.
    #[schemars(extend("default" = false))]
    pub suspend: Option<bool>,
    /// Labels of the host that takes this channel (`--host-label k=v`). An operator that has host labels takes only channels
    /// that select it.
    #[schemars(extend("default" = {}))]
    pub host_selector: Option<BTreeMap<String, String>>,
    /// The project's directory on the host, mounted at the same path, read-write.
    pub workspace: Option<WorkspaceSpec>,
    /// What stands at `$HOME` in shell and runs.
    pub home: Option<HomeSpec>,
    /// The image and where it comes from.
    pub image: Option<ImageSpec>,
    /// Who the processes are: `Owner` (the operator's owner), `Image` (whoever the image names) or `"uid:gid"`. Uid 0 only
    /// where the policy allows.
    #[schemars(extend("default" = "Owner"))]
    pub user: Option<UserSpec>,
    /// Environment variables, merged with the class's by name.
    pub env: Option<Vec<EnvSpec>>,
    /// Binds, volumes and tmpfs beside workspace and home, merged with the class's by target. Each is a map, or the short
    /// form `source:target[:ro|rw]`.
    #[schemars(with = "Option<Vec<mount::MountItem>>")]
    pub mounts: Option<Vec<MountSpec>>,
    /// Host files that are copied in at creation, each container its own copy; merged with the class's by target.
    pub files: Option<Vec<FileSpec>>,
    /// Ports of the shell, published on 127.0.0.1.
    pub ports: Option<Vec<PortSpec>>,
    /// Limits of each container; swap equals memory.
    pub resources: Option<ResourcesSpec>,
    /// What the processes may do.
    pub security_context: Option<SecurityContextSpec>,
    /// Docker's `--runtime`: `runsc`, `kata`, …; empty: the engine's default.
    #[schemars(extend("default" = ""))]
    pub runtime_class_name: Option<String>,
    /// What the containers are connected to.
    pub network: Option<NetworkSpec>,
    /// How the agent is called.
    pub agent: Option<AgentSpec>,
    /// The long-lived container to work in.
    pub shell: Option<ShellSpec>,
    /// Defaults for every Run of the channel.
    pub runs: Option<RunsSpec>,
    /// How a changed shell is replaced.
    pub update_strategy: Option<UpdateStrategySpec>,
    /// What happens when the file goes. Volumes, homes and host directories are never deleted.
    pub deletion: Option<DeletionSpec>,
}

fields!(ChannelSpec {
    class_name = "className",
    suspend = "suspend",
    host_selector = "hostSelector",
    workspace = "workspace",
    home = "home",
    image = "image",
    user = "user",
    env = "env",
    mounts = "mounts",
    files = "files",
    ports = "ports",
    resources = "resources",
    security_context = "securityContext",
    runtime_class_name = "runtimeClassName",
    network = "network",
    agent = "agent",
    shell = "shell",
    runs = "runs",
    update_strategy = "updateStrategy",
    deletion = "deletion",
} check rules::check);
