//! Class into channel, defaults into both: the channel as it counts, and where each field came from.
//!
//! A scalar of the channel overrides the class's. `env` and `mcpServers` merge by name, `mounts` and `files` by target: the
//! channel's item takes the place of the class's as a whole, in the class's order, and new ones follow; `$patch: delete`
//! takes the class's away. Every other list replaces. What only shows when both are one, such as two things at one target,
//! is judged here; policy is not.

mod lists;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::channel::{Channel, ChannelSpec, NetworkMode, UserSpec, signs_in};
use super::class::ChannelClass;
use super::duration::Span;
use super::effective::{
    Agent, AgentCli, Build, Deletion, DeletionRuns, Effective, Home, Image, Mount, Network, Owner,
    Port, PullPolicy, Resources, RunDefaults, SecurityContext, Shell, UpdateStrategy,
    UpdateStrategyKind, User, Workspace, WorkspaceSettings,
};
use super::meta::{ObjectRef, ResourceName};
use super::quantity::Quantity;
use super::validate::{Code, Violation};

pub(crate) use lists::mcp_server;

/// The class that counts when a channel names none.
pub const DEFAULT_CLASS: &str = "default";

/// The image of a channel that names none.
pub const DEFAULT_IMAGE: &str = "chanop-agent:latest";

/// A channel as it counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Merged {
    /// Every field.
    pub effective: Effective,
    /// Where each came from, by its path in the file; an item of a merged list by its key: `spec.env[RUST_LOG]`.
    pub origins: BTreeMap<String, FieldOrigin>,
}

/// Who set a field.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum FieldOrigin {
    /// Nobody: chanop's default.
    Default,
    /// The channel's class.
    Class {
        /// Its name.
        name: ResourceName,
    },
    /// The channel itself.
    Channel,
}

/// Merges `class` into `channel`; `~` is the owner's home.
///
/// # Errors
/// What class and channel together do wrong, with the channel's place.
pub fn effective(
    channel: &Channel,
    class: Option<&ChannelClass>,
    owner: &Owner,
) -> Result<Merged, Vec<Violation>> {
    let mut merge = Merge {
        channel,
        class,
        home: &owner.home,
        origins: BTreeMap::new(),
        violations: Vec::new(),
    };
    let effective = merge.all();
    merge.judge(&effective);
    if merge.violations.is_empty() {
        return Ok(Merged { effective, origins: merge.origins });
    }
    Err(merge.violations)
}

struct Merge<'a> {
    channel: &'a Channel,
    class: Option<&'a ChannelClass>,
    home: &'a str,
    origins: BTreeMap<String, FieldOrigin>,
    violations: Vec<Violation>,
}

impl<'a> Merge<'a> {
    fn all(&mut self) -> Effective {
        Effective {
            class_name: self.class.map(|class| class.meta.name.clone()),
            suspend: self.pick("suspend", |s| s.suspend.as_ref(), false),
            host_selector: self.pick("hostSelector", |s| s.host_selector.as_ref(), BTreeMap::new()),
            workspace: self.workspace(),
            home: self.pick("home.type", |s| s.home.as_ref()?.kind.as_ref(), Home::Channel),
            image: self.image(),
            user: self.pick("user", |s| s.user.as_ref(), UserSpec(User::Owner)).0,
            env: self.env(),
            mounts: self.mounts(),
            files: self.files(),
            ports: self.ports(),
            resources: self.resources(),
            security: self.security(),
            runtime_class_name: self.text(
                "runtimeClassName",
                |s| s.runtime_class_name.as_ref(),
                "",
            ),
            network: self.network(),
            agent: self.agent(),
            shell: Shell {
                enabled: self.pick("shell.enabled", |s| s.shell.as_ref()?.enabled.as_ref(), true),
                command: self.pick("shell.command", |s| s.shell.as_ref()?.command.as_ref(), vec![]),
            },
            runs: self.runs(),
            update_strategy: UpdateStrategy {
                kind: self.pick(
                    "updateStrategy.type",
                    |s| s.update_strategy.as_ref()?.kind.as_ref(),
                    UpdateStrategyKind::WhenIdle,
                ),
                max_wait: self.span(
                    "updateStrategy.maxWait",
                    |s| s.update_strategy.as_ref()?.max_wait.as_ref(),
                    DAY,
                ),
            },
            deletion: Deletion {
                runs: self.pick(
                    "deletion.runs",
                    |s| s.deletion.as_ref()?.runs.as_ref(),
                    DeletionRuns::Finish,
                ),
                keep_stopped: self.span(
                    "deletion.keepStopped",
                    |s| s.deletion.as_ref()?.keep_stopped.as_ref(),
                    60 * 60,
                ),
            },
        }
    }

    /// The channel's value, else the class's, else the default; the origin is noted.
    fn pick<T: Clone + 'a>(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a T>,
        default: T,
    ) -> T {
        self.find(path, get).unwrap_or_else(|| {
            self.origins.insert(format!("spec.{path}"), FieldOrigin::Default);
            default
        })
    }

    /// The same for a field that has no default.
    fn find<T: Clone + 'a>(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a T>,
    ) -> Option<T> {
        let (value, origin) = match get(&self.channel.spec) {
            Some(value) => (value, FieldOrigin::Channel),
            None => (get(&self.class?.spec)?, self.class_origin()),
        };
        self.origins.insert(format!("spec.{path}"), origin);
        Some(value.clone())
    }

    fn class_origin(&self) -> FieldOrigin {
        self.class.map_or(FieldOrigin::Default, |class| FieldOrigin::Class {
            name: class.meta.name.clone(),
        })
    }

    fn text(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a String>,
        default: &str,
    ) -> String {
        self.pick(path, get, default.to_owned())
    }

    fn span(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a Span>,
        default_seconds: u64,
    ) -> Duration {
        self.pick(path, get, Span(Duration::from_secs(default_seconds))).0
    }

    fn seconds(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a u32>,
        default: Duration,
    ) -> Duration {
        let default = u32::try_from(default.as_secs()).unwrap_or(u32::MAX);
        Duration::from_secs(u64::from(self.pick(path, get, default)))
    }

    fn workspace(&mut self) -> Workspace {
        let path = self.find("workspace.path", |s| s.workspace.as_ref()?.path.as_ref());
        if path.is_none() {
            self.refuse(Code::MissingField, "spec.workspace.path", "the channel has no workspace");
        }
        let path = path.map(|path| path.resolve(self.home)).unwrap_or_default();
        let create =
            self.pick("workspace.create", |s| s.workspace.as_ref()?.create.as_ref(), false);
        Workspace { path, create }
    }

    fn image(&mut self) -> Image {
        let reference = self
            .find("image.ref", |s| s.image.as_ref()?.reference.as_ref())
            .map(|reference| reference.to_string());
        let reference = reference.unwrap_or_else(|| {
            self.origins.insert("spec.image.ref".to_owned(), FieldOrigin::Default);
            DEFAULT_IMAGE.to_owned()
        });
        let pull_policy = self.pick(
            "image.pullPolicy",
            |s| s.image.as_ref()?.pull_policy.as_ref(),
            PullPolicy::IfNotPresent,
        );
        // A build is one thing: a context of the class with a Dockerfile of the channel would be nobody's.
        let build = self.find("image.build", |s| s.image.as_ref()?.build.as_ref());
        let build = build.map(|build| Build {
            context: build.context.to_string(),
            dockerfile: build.dockerfile.map_or("Dockerfile".to_owned(), |file| file.to_string()),
            args: build.args.unwrap_or_default(),
            target: build.target.unwrap_or_default(),
        });
        Image { reference, pull_policy, build }
    }

    fn ports(&mut self) -> Vec<Port> {
        let ports = self.pick("ports", |s| s.ports.as_ref(), Vec::new());
        ports
            .into_iter()
            .map(|port| Port {
                container_port: port.container_port.0,
                host_port: port.host_port.unwrap_or(port.container_port).0,
            })
            .collect()
    }

    fn resources(&mut self) -> Resources {
        let memory = Quantity::bytes(4 << 30);
        let cpu = self.pick(
            "resources.limits.cpu",
            |s| s.resources.as_ref()?.limits.as_ref()?.cpu.as_ref(),
            Quantity::ZERO,
        );
        let pids = self.pick(
            "resources.limits.pids",
            |s| s.resources.as_ref()?.limits.as_ref()?.pids.as_ref(),
            4096,
        );
        Resources {
            nano_cpus: i64::try_from(cpu.nano()).unwrap_or(i64::MAX),
            memory_bytes: self
                .pick(
                    "resources.limits.memory",
                    |s| s.resources.as_ref()?.limits.as_ref()?.memory.as_ref(),
                    memory,
                )
                .units(),
            pids: i64::from(pids),
            shm_size_bytes: self
                .pick(
                    "resources.shmSize",
                    |s| s.resources.as_ref()?.shm_size.as_ref(),
                    Quantity::bytes(256 << 20),
                )
                .units(),
        }
    }

    fn security(&mut self) -> SecurityContext {
        let drop = self.find("securityContext.capabilities.drop", |s| {
            s.security_context.as_ref()?.capabilities.as_ref()?.drop.as_ref()
        });
        let drop = drop.map(|all| all.iter().map(ToString::to_string).collect());
        let drop_capabilities = drop.unwrap_or_else(|| {
            let path = "spec.securityContext.capabilities.drop".to_owned();
            self.origins.insert(path, FieldOrigin::Default);
            vec!["ALL".to_owned()]
        });
        let add = self.pick(
            "securityContext.capabilities.add",
            |s| s.security_context.as_ref()?.capabilities.as_ref()?.add.as_ref(),
            Vec::new(),
        );
        SecurityContext {
            supplemental_groups: self.pick(
                "securityContext.supplementalGroups",
                |s| s.security_context.as_ref()?.supplemental_groups.as_ref(),
                Vec::new(),
            ),
            drop_capabilities,
            add_capabilities: add.iter().map(ToString::to_string).collect(),
            allow_privilege_escalation: self.pick(
                "securityContext.allowPrivilegeEscalation",
                |s| s.security_context.as_ref()?.allow_privilege_escalation.as_ref(),
                false,
            ),
            read_only_root_filesystem: self.pick(
                "securityContext.readOnlyRootFilesystem",
                |s| s.security_context.as_ref()?.read_only_root_filesystem.as_ref(),
                false,
            ),
        }
    }

    fn network(&mut self) -> Network {
        let mode =
            self.pick("network.mode", |s| s.network.as_ref()?.mode.as_ref(), NetworkMode::Bridge);
        match mode {
            NetworkMode::Bridge => Network::Bridge,
            NetworkMode::None => Network::None,
            NetworkMode::Host => Network::Host,
            NetworkMode::Named => {
                let name = self.find("network.name", |s| s.network.as_ref()?.name.as_ref());
                if name.is_none() {
                    let message = "`mode: Named` needs `name`";
                    self.refuse(Code::MissingField, "spec.network.name", message);
                }
                Network::Named(name.unwrap_or_default())
            }
        }
    }

    fn agent(&mut self) -> Agent {
        let credentials = self.find("agent.credentials.secret", |s| {
            Some(&s.agent.as_ref()?.credentials.as_ref()?.secret)
        });
        Agent {
            bin: self.text("agent.bin", |s| s.agent.as_ref()?.bin.as_ref(), "claude"),
            cli: self.pick("agent.cli", |s| s.agent.as_ref()?.cli.as_ref(), AgentCli::Image),
            model: self.text("agent.model", |s| s.agent.as_ref()?.model.as_ref(), ""),
            system_prompt: self.text(
                "agent.systemPrompt",
                |s| s.agent.as_ref()?.system_prompt.as_ref(),
                "",
            ),
            permission_mode: self.text(
                "agent.permissionMode",
                |s| s.agent.as_ref()?.permission_mode.as_ref(),
                "bypassPermissions",
            ),
            credentials: credentials.map(|secret| secret.to_string()),
            mcp_servers: self.mcp_servers(),
            workspace_settings: self.pick(
                "agent.workspaceSettings",
                |s| s.agent.as_ref()?.workspace_settings.as_ref(),
                WorkspaceSettings::Pinned,
            ),
            project_file: self.pick(
                "agent.projectFile",
                |s| s.agent.as_ref()?.project_file.as_ref(),
                false,
            ),
            args: self.pick("agent.args", |s| s.agent.as_ref()?.args.as_ref(), Vec::new()),
        }
    }

    fn runs(&mut self) -> RunDefaults {
        let default = RunDefaults::default();
        RunDefaults {
            max_concurrent: self.pick(
                "runs.maxConcurrent",
                |s| s.runs.as_ref()?.max_concurrent.as_ref(),
                default.max_concurrent,
            ),
            queue_max_length: self.pick(
                "runs.queue.maxLength",
                |s| s.runs.as_ref()?.queue.as_ref()?.max_length.as_ref(),
                default.queue_max_length,
            ),
            queue_max_age: self.span(
                "runs.queue.maxAge",
                |s| s.runs.as_ref()?.queue.as_ref()?.max_age.as_ref(),
                default.queue_max_age.as_secs(),
            ),
            active_deadline: self.seconds(
                "runs.activeDeadlineSeconds",
                |s| s.runs.as_ref()?.active_deadline_seconds.as_ref(),
                default.active_deadline,
            ),
            termination_grace_period: self.seconds(
                "runs.terminationGracePeriodSeconds",
                |s| s.runs.as_ref()?.termination_grace_period_seconds.as_ref(),
                default.termination_grace_period,
            ),
            backoff_limit: self.pick(
                "runs.backoffLimit",
                |s| s.runs.as_ref()?.backoff_limit.as_ref(),
                default.backoff_limit,
            ),
            max_turns: self.pick(
                "runs.maxTurns",
                |s| s.runs.as_ref()?.max_turns.as_ref(),
                default.max_turns,
            ),
            max_budget_usd: self.pick(
                "runs.maxBudgetUSD",
                |s| s.runs.as_ref()?.max_budget_usd.as_ref(),
                default.max_budget_usd,
            ),
            keep_container: self.span(
                "runs.keepContainer",
                |s| s.runs.as_ref()?.keep_container.as_ref(),
                default.keep_container.as_secs(),
            ),
            history_limit: self.pick(
                "runs.history.limit",
                |s| s.runs.as_ref()?.history.as_ref()?.limit.as_ref(),
                default.history_limit,
            ),
            history_max_age: self.span(
                "runs.history.maxAge",
                |s| s.runs.as_ref()?.history.as_ref()?.max_age.as_ref(),
                default.history_max_age.as_secs(),
            ),
        }
    }

    /// Rules that need the whole: nothing appears where something else stands, or where the kernel's own file systems are.
    fn judge(&mut self, effective: &Effective) {
        let mut taken = BTreeMap::from([(effective.workspace.path.as_str(), "the workspace")]);
        let mounts =
            effective.mounts.iter().map(|mount| (Mount::target(mount), "a mount", "spec.mounts"));
        let files =
            effective.files.iter().map(|file| (file.target.as_str(), "a file", "spec.files"));
        for (target, what, list) in mounts.chain(files) {
            let path = format!("{list}[{target}]");
            if let Some(other) = taken.insert(target, what) {
                let message = format!("`{target}` is the target of {what} and of {other}");
                self.refuse(Code::DuplicateItem, &path, &message);
            }
            let own = ["/proc", "/sys", "/dev"].iter().any(|own| {
                target
                    .strip_prefix(own)
                    .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
            });
            if target == "/" || own {
                let message =
                    format!("nothing can be put at `{target}`: it is the container's own");
                self.refuse(Code::InvalidPath, &path, &message);
            }
        }
        if effective.agent.credentials.is_some() {
            for variable in effective.env.iter().filter(|variable| signs_in(&variable.name)) {
                let path = format!("spec.env[{}]", variable.name);
                let message = format!(
                    "the agent signs in with agent.credentials, and would take `{}` instead",
                    variable.name
                );
                self.refuse(Code::FieldConflict, &path, &message);
            }
        }
        if effective.workspace.path == "/" {
            let message = "the workspace cannot be `/`: it would hide the container";
            self.refuse(Code::InvalidPath, "spec.workspace.path", message);
        }
    }

    fn refuse(&mut self, code: Code, path: &str, message: &str) {
        let source = &self.channel.source;
        let class = self.class.map(|class| format!("merged with ChannelClass {}", class.meta.name));
        self.violations.push(Violation {
            line: source.line,
            column: 1,
            path: path.to_owned(),
            object: Some(ObjectRef::channel(self.channel.meta.name.clone())),
            help: class,
            ..Violation::of_file(code, &source.file, message)
        });
    }
}

/// Seconds.
const DAY: u64 = 24 * 60 * 60;
