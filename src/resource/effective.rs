//! A channel as it counts: class merged in, defaults filled, `~` resolved, every value parsed.
//!
//! Everything behind the parser (policy, template, planner, hash) reads this and never the file's own form, so that no
//! rule meets a value that may be absent or wrong. It holds no host fact: the owner's uid, a realpath and an image's ID
//! come from elsewhere.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::meta::ResourceName;

/// A channel's spec with nothing left to decide but what the host and the engine say.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Effective {
    /// The class that was merged in, when there was one.
    pub class_name: Option<ResourceName>,
    /// `spec.suspend`: the file's word; an override may add to it.
    pub suspend: bool,
    /// `spec.hostSelector`.
    pub host_selector: BTreeMap<String, String>,
    /// `spec.workspace`.
    pub workspace: Workspace,
    /// `spec.home.type`.
    pub home: Home,
    /// `spec.image`.
    pub image: Image,
    /// `spec.user`.
    pub user: User,
    /// `spec.env`, in order, names unique.
    pub env: Vec<EnvVar>,
    /// `spec.mounts`, targets unique.
    pub mounts: Vec<Mount>,
    /// `spec.files`, targets unique.
    pub files: Vec<FileCopy>,
    /// `spec.ports`.
    pub ports: Vec<Port>,
    /// `spec.resources.limits` and `shmSize`.
    pub resources: Resources,
    /// `spec.securityContext`.
    pub security: SecurityContext,
    /// `spec.runtimeClassName`; empty: Docker's default.
    pub runtime_class_name: String,
    /// `spec.network`.
    pub network: Network,
    /// `spec.agent`.
    pub agent: Agent,
    /// `spec.shell`.
    pub shell: Shell,
    /// `spec.runs`.
    pub runs: RunDefaults,
    /// `spec.updateStrategy`.
    pub update_strategy: UpdateStrategy,
    /// `spec.deletion`.
    pub deletion: Deletion,
}

/// The project directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Workspace {
    /// Absolute; mounted at the same path, read-write.
    pub path: String,
    /// Make it when it is missing.
    pub create: bool,
}

/// What stands at `$HOME`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum Home {
    /// A directory of the channel's own, in the state directory.
    Channel,
    /// Memory, gone with the container.
    Tmpfs,
    /// Whatever the image has there.
    Image,
}

/// The image and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The reference as written; unused when `build` is there.
    #[serde(rename = "ref")]
    pub reference: String,
    /// When to pull.
    pub pull_policy: PullPolicy,
    /// Build it from a directory beneath the spec directory.
    pub build: Option<Build>,
}

/// When an image is pulled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
pub enum PullPolicy {
    /// Before each creation.
    Always,
    /// When the engine has none.
    IfNotPresent,
    /// Not by the operator.
    Never,
}

/// An image built from the spec directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Build {
    /// Relative, beneath the spec directory.
    pub context: String,
    /// Relative to the context.
    pub dockerfile: String,
    /// `--build-arg`.
    pub args: BTreeMap<String, String>,
    /// The stage; empty: the last.
    pub target: String,
}

/// Who the processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum User {
    /// The operator's owner.
    Owner,
    /// Whoever the image names.
    Image,
    /// These numbers.
    Ids {
        /// User.
        uid: u32,
        /// Group.
        gid: u32,
    },
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct EnvVar {
    /// Its name.
    pub name: String,
    /// Where its value comes from.
    pub value: EnvValue,
}

/// A value, or the place of a secret one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum EnvValue {
    /// As written.
    Plain(String),
    /// `<secrets-dir>/name/key`, brought in by `chanop-init`.
    Secret(SecretKeyRef),
}

/// A file of the secrets directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct SecretKeyRef {
    /// The directory.
    pub name: String,
    /// The file in it.
    pub key: String,
}

/// One mount beside workspace and home. `target` is absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "camelCase")]
pub enum Mount {
    /// A host path.
    #[serde(rename_all = "camelCase")]
    Bind {
        /// Absolute, on the host.
        source: String,
        /// Absolute, in the container.
        target: String,
        /// True unless the file says otherwise.
        read_only: bool,
        /// Left out when the source is missing.
        optional: bool,
    },
    /// A named volume.
    #[serde(rename_all = "camelCase")]
    Volume {
        /// The volume's name.
        source: String,
        /// Absolute, in the container.
        target: String,
        /// False unless the file says otherwise.
        read_only: bool,
    },
    /// Memory.
    #[serde(rename_all = "camelCase")]
    Tmpfs {
        /// Absolute, in the container.
        target: String,
        /// At most so many bytes; 0: Docker's default.
        size_bytes: u64,
        /// May programs be run from it?
        exec: bool,
    },
}

impl Mount {
    /// Where it appears in the container: the key by which mounts merge.
    pub fn target(&self) -> &str {
        match self {
            Self::Bind { target, .. }
            | Self::Volume { target, .. }
            | Self::Tmpfs { target, .. } => target,
        }
    }
}

/// A host file copied in at creation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FileCopy {
    /// Absolute, on the host.
    pub source: String,
    /// Absolute, in the container.
    pub target: String,
    /// Left out when the source is missing.
    pub optional: bool,
}

/// A port published on 127.0.0.1, by the shell only.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// In the container.
    pub container_port: u16,
    /// On the host.
    pub host_port: u16,
}

/// Limits of each container; 0 means none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// Billionths of a CPU.
    pub nano_cpus: i64,
    /// Bytes; swap equals it.
    pub memory_bytes: i64,
    /// Processes and threads.
    pub pids: i64,
    /// Bytes of `/dev/shm`.
    pub shm_size_bytes: i64,
}

/// What the processes may do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SecurityContext {
    /// Docker's `GroupAdd`.
    pub supplemental_groups: Vec<u32>,
    /// Capabilities taken away, `ALL` for all.
    pub drop_capabilities: Vec<String>,
    /// Capabilities given back.
    pub add_capabilities: Vec<String>,
    /// May setuid programs gain privileges?
    pub allow_privilege_escalation: bool,
    /// Is the image's own file system read-only?
    pub read_only_root_filesystem: bool,
}

/// What the container is connected to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Network {
    /// The instance's own bridge, where containers cannot reach each other.
    Bridge,
    /// Nothing.
    None,
    /// The host's.
    Host,
    /// A network that the administrator made.
    Named(String),
}

/// How the agent is called.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Agent {
    /// The program.
    pub bin: String,
    /// Where the program comes from.
    pub cli: AgentCli,
    /// Empty: the CLI's default.
    pub model: String,
    /// Appended to the CLI's own.
    pub system_prompt: String,
    /// The CLI's `--permission-mode`.
    pub permission_mode: String,
    /// The secrets directory with `oauth-token` or `api-key`.
    pub credentials: Option<String>,
    /// MCP servers by name.
    pub mcp_servers: BTreeMap<String, McpServer>,
    /// How much of the repository's own settings counts.
    pub workspace_settings: WorkspaceSettings,
    /// May `<workspace>/.chanop/project.yaml` set a few fields?
    pub project_file: bool,
    /// Extra arguments.
    pub args: Vec<String>,
}

/// Where the agent's program comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum AgentCli {
    /// The image has it.
    Image,
    /// The operator's is mounted.
    Inject,
}

/// How much of a repository's own settings the agent heeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum WorkspaceSettings {
    /// Its CLAUDE.md and nothing else.
    Pinned,
    /// All, as the CLI does.
    Full,
    /// Nothing.
    None,
}

/// One MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct McpServer {
    /// A program, or empty when `url` is there.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its environment.
    pub env: Vec<EnvVar>,
    /// A remote server, or empty.
    pub url: String,
}

/// The long-lived container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Shell {
    /// Should there be one?
    pub enabled: bool,
    /// What runs in it; empty: the idle init.
    pub command: Vec<String>,
}

/// Defaults of every run of the channel. Durations are whole seconds where the file's are.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RunDefaults {
    /// How many at once.
    pub max_concurrent: u32,
    /// How many may wait.
    pub queue_max_length: u32,
    /// How long one may wait.
    pub queue_max_age: Duration,
    /// From the first start, over all attempts; 0: none.
    pub active_deadline: Duration,
    /// Between TERM and KILL.
    pub termination_grace_period: Duration,
    /// Further attempts after work was done.
    pub backoff_limit: u32,
    /// 0: none.
    pub max_turns: u32,
    /// 0: none.
    #[serde(rename = "maxBudgetUSD")]
    pub max_budget_usd: f64,
    /// How long an ended container stays.
    pub keep_container: Duration,
    /// How many records stay.
    pub history_limit: u32,
    /// How long records stay.
    pub history_max_age: Duration,
}

/// What counts where neither channel nor class says anything.
impl Default for RunDefaults {
    fn default() -> Self {
        Self {
            max_concurrent: 1,
            queue_max_length: 20,
            queue_max_age: Duration::from_hours(24),
            active_deadline: Duration::from_hours(1),
            termination_grace_period: Duration::from_secs(30),
            backoff_limit: 0,
            max_turns: 0,
            max_budget_usd: 0.0,
            keep_container: Duration::from_mins(5),
            history_limit: 100,
            history_max_age: Duration::from_hours(90 * 24),
        }
    }
}

/// How a changed shell is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// When.
    #[serde(rename = "type")]
    pub kind: UpdateStrategyKind,
    /// After so long a wait it is done all the same.
    pub max_wait: Duration,
}

/// When a changed shell is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum UpdateStrategyKind {
    /// When nobody is in it and no run is active.
    WhenIdle,
    /// At once.
    Recreate,
    /// When a person removes the container.
    OnDelete,
}

/// What happens when the file goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Deletion {
    /// What becomes of active runs.
    pub runs: DeletionRuns,
    /// How long the stopped shell stays.
    pub keep_stopped: Duration,
}

/// What becomes of active runs when their channel goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum DeletionRuns {
    /// They finish.
    Finish,
    /// They are cancelled.
    Cancel,
}

/// Who owns the workspaces: whose home `~` is and whose uid containers run as.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Owner {
    /// The login name, `agent` where the host has none for the uid.
    pub user: String,
    /// User ID.
    pub uid: u32,
    /// Group ID.
    pub gid: u32,
    /// Absolute home directory.
    pub home: String,
}
