//! The built-in policy: what a spec may ask of the host and the engine where no administrator said otherwise.
//!
//! Pure: [`admit`] judges one effective spec by facts that [`crate::host`] gathered, and [`conflicts`] judges channels against each
//! other. Both report everything that is wrong, not the first thing. What depends on the file system is checked once more
//! when the container is created, and once more by `chanop-init` inside it; here is where a person learns why.
//!
//! *Guarantee.* [`admit`] takes [`Effective`] and every struct in it apart, field by field. A new field does not compile before
//! somebody decided which rule it has, and `tests::every_field_has_a_rule_or_a_reason` lists an allowed and a refused value
//! of each.
//!
//! *Host paths.* Binds and the workspace are below the owner's home, are not the home, and do not pass through a dot-directory
//! there (`~/.ssh`, `~/.claude`: whoever can write such a file runs code on the host). `files` are copies, so a dot-file directly
//! in the home may be one (`~/.npmrc`), but nothing inside a dot-directory.

mod accounts;
mod claims;
mod rule;

use std::collections::BTreeSet;

pub use accounts::{HostAccounts, admit_image_user};
pub use claims::{Incumbents, PathClaims, conflicts};
pub use rule::Rule;

use super::facts::{
    BuildFact, CredentialsFact, Facts, FactsWanted, PathFact, PathKind, SecretFact,
};
use super::preparation::is_below;
use super::runtime;
use crate::container::ImageRef;
use crate::container::name::ObjectName;
use crate::resource::condition::Reason;
use crate::resource::effective::{
    Agent, AgentCli, Build, Effective, EnvValue, EnvVar, FileCopy, Home, Image, McpServer, Mount,
    Network, Owner, Port, SecretKeyRef, SecurityContext, User, Workspace,
};

/// What the policy has to know besides spec and facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionContext {
    /// The operator's owner.
    pub owner: Owner,
    /// Real paths of the state, spec, secrets, policy and socket directories, and of Docker's socket.
    pub protected: Vec<String>,
    /// Does the operator have a CLI that it can inject?
    pub has_agent_cli: bool,
    /// `--runtime-class`: runtimes that specs may name besides the engine's default.
    pub runtime_classes: BTreeSet<String>,
    /// Ports of this host that the operator itself listens on.
    pub own_ports: BTreeSet<u16>,
}

/// One thing that the spec must not ask for, or that is not there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Denial {
    /// Which rule.
    pub rule: Rule,
    /// The condition's reason.
    pub reason: Reason,
    /// The field, as `spec.mounts[0].source`.
    pub path: String,
    /// A sentence for people.
    pub message: String,
}

/// The policy's answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admission {
    /// Nothing stands against it.
    Admitted,
    /// The host has not been looked at yet; nothing that needs no look stands against it.
    NotProbed,
    /// Everything that stands against it, violations first; never empty.
    Denied(Vec<Denial>),
}

/// What has to be looked at before `effective` can be judged.
pub fn facts_wanted(effective: &Effective) -> FactsWanted {
    let mut wanted = FactsWanted::default();
    wanted.paths.extend(host_paths(effective).into_iter().map(|path| path.value.to_owned()));
    wanted.secrets.extend(secret_references(effective).into_iter().map(|(_, key)| key.clone()));
    wanted.credentials.extend(effective.agent.credentials.clone());
    wanted.builds.extend(effective.image.build.clone());
    wanted
}

/// What `effective` lets its containers have of the host.
pub fn claims_of(effective: &Effective) -> PathClaims {
    let mut claims = PathClaims::default();
    for path in host_paths(effective) {
        claims.insert(path.value.to_owned(), path.writable, &path.field);
    }
    claims
}

/// Judges what a channel asks for, whatever other channels ask for: see [`conflicts`].
pub fn admit(effective: &Effective, facts: &Facts, ctx: &AdmissionContext) -> Admission {
    let mut judge = Judge { facts, ctx, denials: Vec::new(), unprobed: false };
    judge.spec(effective);
    let Judge { denials, unprobed, .. } = judge;
    Admission::of(denials, unprobed)
}

impl Admission {
    fn of(mut denials: Vec<Denial>, unprobed: bool) -> Self {
        // What a person has to change comes before what may come by itself.
        denials.sort_by_key(|denial| denial.reason != Reason::PolicyViolation);
        match (denials.is_empty(), unprobed) {
            (false, _) => Self::Denied(denials),
            (true, true) => Self::NotProbed,
            (true, false) => Self::Admitted,
        }
    }

    /// The same, with what other channels have against it.
    #[must_use]
    pub fn with_conflicts(self, conflicts: &[Denial]) -> Self {
        let (mut denials, unprobed) = match self {
            Self::Admitted => (Vec::new(), false),
            Self::NotProbed => (Vec::new(), true),
            Self::Denied(denials) => (denials, false),
        };
        denials.extend(conflicts.iter().cloned());
        Self::of(denials, unprobed)
    }
}

/// The directory above an absolute, normal path.
fn parent_of(path: &str) -> Option<&str> {
    match path.rsplit_once('/')? {
        ("", _) => None,
        (parent, _) => Some(parent),
    }
}

fn root_denied(uid: u32) -> Option<Denial> {
    (uid == 0).then(|| Denial {
        rule: Rule::NoRoot,
        reason: Reason::PolicyViolation,
        path: "spec.user".to_owned(),
        message: "containers do not run as uid 0".to_owned(),
    })
}

fn root_group_denied(gid: u32) -> Option<Denial> {
    (gid == 0).then(|| Denial {
        rule: Rule::NoRootGroup,
        reason: Reason::PolicyViolation,
        path: "spec.user".to_owned(),
        message: "containers do not run with gid 0, the group of root".to_owned(),
    })
}

/// What a host path is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Use {
    Workspace,
    Bind,
    File,
}

/// A host path of the spec.
#[derive(Debug)]
struct HostPath<'a> {
    field: String,
    value: &'a str,
    use_: Use,
    /// It may be missing: optional, or made by the operator.
    may_be_missing: bool,
    writable: bool,
}

fn host_paths(effective: &Effective) -> Vec<HostPath<'_>> {
    let Workspace { path, create } = &effective.workspace;
    let mut paths = vec![HostPath {
        field: "spec.workspace.path".to_owned(),
        value: path,
        use_: Use::Workspace,
        may_be_missing: *create,
        writable: true,
    }];
    for (index, mount) in effective.mounts.iter().enumerate() {
        if let Mount::Bind { source, target: _, read_only, optional } = mount {
            paths.push(HostPath {
                field: format!("spec.mounts[{index}].source"),
                value: source,
                use_: Use::Bind,
                may_be_missing: *optional,
                writable: !read_only,
            });
        }
    }
    for (index, FileCopy { source, target: _, optional }) in effective.files.iter().enumerate() {
        paths.push(HostPath {
            field: format!("spec.files[{index}].source"),
            value: source,
            use_: Use::File,
            may_be_missing: *optional,
            writable: false,
        });
    }
    paths
}

fn secret_references(effective: &Effective) -> Vec<(String, &SecretKeyRef)> {
    let mut found = Vec::new();
    for (index, EnvVar { name: _, value }) in effective.env.iter().enumerate() {
        if let EnvValue::Secret(reference) = value {
            found.push((format!("spec.env[{index}].valueFrom.secretKeyRef"), reference));
        }
    }
    for (name, server) in &effective.agent.mcp_servers {
        // A program runs inside the container, and a URL is reached from inside: neither has more than the agent has.
        let McpServer { command: _, args: _, env, url: _ } = server;
        for EnvVar { name: variable, value } in env {
            if let EnvValue::Secret(reference) = value {
                let at = format!("spec.agent.mcpServers.{name}.env.{variable}");
                found.push((format!("{at}.valueFrom.secretKeyRef"), reference));
            }
        }
    }
    found
}

struct Judge<'a> {
    facts: &'a Facts,
    ctx: &'a AdmissionContext,
    denials: Vec<Denial>,
    unprobed: bool,
}

impl Judge<'_> {
    fn deny(&mut self, rule: Rule, reason: Reason, path: &str, message: String) {
        self.denials.push(Denial { rule, reason, path: path.to_owned(), message });
    }

    fn violation(&mut self, rule: Rule, path: &str, message: String) {
        self.deny(rule, Reason::PolicyViolation, path, message);
    }

    fn spec(&mut self, effective: &Effective) {
        let Effective {
            workspace: _, // host_paths
            home: _, // targets: each of the three is chanop's own directory, memory or the image's
            image,
            user,
            env: _, // secret_references; plain values reach processes that could set them themselves
            mounts: _, // host_paths, own_mounts, targets
            files: _, // host_paths, targets
            ports,
            // Decoding bounds them. A spec can lift its own limits: see THREATS.md.
            resources: _,
            security,
            runtime_class_name: _, // runtime
            network,
            agent,
            shell: _, // a command inside the container
            // None of these influences what a container is made from.
            class_name: _,
            suspend: _,
            host_selector: _,
            runs: _,
            update_strategy: _,
            deletion: _,
        } = effective;
        for path in host_paths(effective) {
            self.host_path(&path);
        }
        for (field, reference) in secret_references(effective) {
            self.secret(&field, reference);
        }
        self.agent(agent);
        self.image(image);
        self.network(network);
        self.security(security);
        self.user(*user);
        self.runtime(effective);
        self.own_mounts(effective);
        self.ports(ports);
        self.targets(effective);
    }

    /// First by the text alone; what the file system says of a path that must not be asked for is nobody's business.
    fn host_path(&mut self, path: &HostPath<'_>) {
        let before = self.denials.len();
        self.path_text(path);
        if self.denials.len() > before {
            return;
        }
        match self.facts.paths.get(path.value) {
            None => self.unprobed = true,
            Some(PathFact::Missing) if path.may_be_missing => {}
            Some(PathFact::Missing) => {
                let hint = match path.use_ {
                    Use::Workspace => "; `create: true` makes it",
                    Use::Bind | Use::File => "; `optional: true` leaves it out",
                };
                let message = format!("{} is not there{hint}", path.value);
                self.deny(Rule::SourceExists, missing(path.use_), &path.field, message);
            }
            Some(PathFact::Unreadable(why)) => {
                let message = format!("{} cannot be looked at: {why}", path.value);
                self.deny(Rule::SourceExists, missing(path.use_), &path.field, message);
            }
            Some(PathFact::Present { real, kind, .. }) => self.present_path(path, real, *kind),
        }
    }

    fn path_text(&mut self, path: &HostPath<'_>) {
        let HostPath { field, value, .. } = path;
        if !is_normal(value) {
            let message = format!(
                "{value} is not a normal absolute path: no `.`, `..`, `//` or trailing slash"
            );
            return self.violation(Rule::RealPath, field, message);
        }
        let home = self.ctx.owner.home.trim_end_matches('/').to_owned();
        // A home of `/` would make the whole host its own.
        if home.is_empty() || !is_below(value, &home) {
            let message = format!("{value} is not below the owner's home {}", self.ctx.owner.home);
            return self.violation(Rule::BelowHome, field, message);
        }
        if goes_through_dot_directory(value, &home, path.use_) {
            let message =
                format!("{value} lies at a dot-name of {home}, where the host's own settings are");
            self.violation(Rule::NoDotPath, field, message);
        }
        let ctx = self.ctx;
        for protected in ctx.protected.iter().filter(|protected| overlap(value, protected)) {
            let message = format!("{value} and the operator's own {protected} overlap");
            self.violation(Rule::NotProtected, field, message);
        }
    }

    fn present_path(&mut self, path: &HostPath<'_>, real: &str, kind: PathKind) {
        let HostPath { field, value, .. } = path;
        if real != *value {
            let message = format!("{value} is really {real}: write that");
            self.violation(Rule::RealPath, field, message);
        }
        let wanted = match (path.use_, kind) {
            (Use::Workspace | Use::Bind, PathKind::Directory)
            | (Use::Bind | Use::File, PathKind::File) => return,
            (Use::Workspace, _) => "a directory",
            (Use::Bind, _) => "a directory or regular file",
            (Use::File, _) => "a regular file",
        };
        self.violation(Rule::NoSpecialFile, field, format!("{value} is not {wanted}"));
    }

    fn secret(&mut self, field: &str, reference: &SecretKeyRef) {
        let SecretKeyRef { name, key } = reference;
        let message = match self.facts.secrets.get(reference) {
            None => return self.unprobed = true,
            Some(SecretFact::Present { .. }) => return,
            Some(SecretFact::Missing) => format!("there is no secret {name}/{key}"),
            Some(SecretFact::Unusable(why)) => format!("secret {name}/{key} cannot be used: {why}"),
        };
        self.deny(Rule::SecretUsable, Reason::SecretMissing, field, message);
    }

    fn credentials(&mut self, name: Option<&str>) {
        let Some(name) = name else { return };
        let message = match self.facts.credentials.get(name) {
            None => return self.unprobed = true,
            Some(CredentialsFact::OauthToken { .. } | CredentialsFact::ApiKey { .. }) => return,
            Some(CredentialsFact::Missing) => {
                format!("secret {name} holds neither oauth-token nor api-key")
            }
            Some(CredentialsFact::Unusable(why)) => {
                format!("secret {name} cannot be used: {why}")
            }
        };
        let field = "spec.agent.credentials.secret";
        self.deny(Rule::SecretUsable, Reason::SecretMissing, field, message);
    }

    fn build(&mut self, build: &Build) {
        match self.facts.builds.get(build) {
            None => self.unprobed = true,
            Some(BuildFact::Present { .. }) => {}
            Some(BuildFact::Unusable(why)) => {
                let field = "spec.image.build.context";
                self.deny(Rule::BuildContext, Reason::ImageBuildFailed, field, why.clone());
            }
        }
    }

    fn agent(&mut self, agent: &Agent) {
        let Agent {
            bin,
            cli,
            credentials,
            mcp_servers: _, // secret_references
            // What the agent is told, inside the container that it has anyway.
            model: _,
            system_prompt: _,
            permission_mode: _,
            workspace_settings: _,
            project_file: _,
            args: _,
        } = agent;
        self.credentials(credentials.as_deref());
        match cli {
            AgentCli::Image => return,
            AgentCli::Inject => {}
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if bin.starts_with('.') || !bin.bytes().all(plain) {
            let message = format!(
                "`{bin}` is not a plain name; with `cli: Inject` it names the program that is mounted"
            );
            self.deny(Rule::AgentCli, Reason::InvalidSpec, "spec.agent.bin", message);
        }
        if !self.ctx.has_agent_cli {
            let message =
                "this operator has no CLI to inject: it wants --agent-cli FILE".to_owned();
            self.deny(Rule::AgentCli, Reason::AgentCliMissing, "spec.agent.cli", message);
        }
    }

    fn image(&mut self, image: &Image) {
        let Image { reference, pull_policy: _, build } = image;
        match build {
            Some(build) => self.build(build),
            None => {
                if let Err(why) = ImageRef::parse(reference) {
                    self.violation(Rule::ImageReference, "spec.image.ref", why.to_string());
                }
            }
        }
    }

    fn network(&mut self, network: &Network) {
        match network {
            Network::Bridge | Network::None => {}
            Network::Host => {
                let message = "the host's network is not allowed".to_owned();
                self.violation(Rule::NoHostNetwork, "spec.network.mode", message);
            }
            Network::Named(name) => {
                let message = format!("network {name} is not the instance's own");
                self.violation(Rule::NoForeignNetwork, "spec.network.name", message);
            }
        }
    }

    fn security(&mut self, security: &SecurityContext) {
        let SecurityContext {
            supplemental_groups,
            drop_capabilities,
            add_capabilities,
            allow_privilege_escalation,
            read_only_root_filesystem: _, // either is safe
        } = security;
        for (index, group) in supplemental_groups.iter().enumerate() {
            let field = format!("spec.securityContext.supplementalGroups[{index}]");
            let message = format!("group {group} is not allowed: processes have one group only");
            self.violation(Rule::NoSupplementalGroup, &field, message);
        }
        if !drop_capabilities.iter().any(|capability| capability == "ALL") {
            let field = "spec.securityContext.capabilities.drop";
            let message = "every capability must be dropped: write `drop: [ALL]`, or leave it out";
            self.violation(Rule::DropAll, field, message.to_owned());
        }
        for (index, capability) in add_capabilities.iter().enumerate() {
            let field = format!("spec.securityContext.capabilities.add[{index}]");
            let message = format!("capability {capability} is not allowed");
            self.violation(Rule::NoAddedCapability, &field, message);
        }
        if *allow_privilege_escalation {
            let field = "spec.securityContext.allowPrivilegeEscalation";
            let message = "privilege escalation is not allowed: a setuid program of the image would run as root";
            self.violation(Rule::NoPrivilegeEscalation, field, message.to_owned());
        }
    }

    fn user(&mut self, user: User) {
        let owner = &self.ctx.owner;
        let (uid, gid) = match user {
            User::Owner => (owner.uid, owner.gid),
            User::Ids { uid, gid } => (uid, gid),
            // Known when the image is: admit_image_user.
            User::Image => return,
        };
        let root = [root_denied(uid), root_group_denied(gid)];
        let is_root = root.iter().any(Option::is_some);
        self.denials.extend(root.into_iter().flatten());
        if !is_root && (uid, gid) != (owner.uid, owner.gid) {
            let message = format!(
                "{uid}:{gid} is not the owner, who is {}:{}: another user's files would be open to the channel",
                owner.uid, owner.gid
            );
            self.violation(Rule::NoForeignUser, "spec.user", message);
        }
    }

    fn runtime(&mut self, effective: &Effective) {
        let default = self.facts.default_runtime.as_deref();
        let class = runtime::requested(effective, default);
        if !class.is_empty() && !self.ctx.runtime_classes.contains(class) {
            let message = if ObjectName::parse(class).is_err() {
                format!("`{class}` is not a name of a runtime")
            } else if default.is_none() {
                // It may be the name of the engine's default.
                return self.unprobed = true;
            } else {
                format!(
                    "runtime {class} is not allowed: the administrator can allow it with `--runtime-class {class}`"
                )
            };
            self.violation(Rule::RuntimeClass, "spec.runtimeClassName", message);
        }
    }

    /// The engine makes mount points in a source as root, before chanop-init can compare what was mounted. So no source is below a directory in which the channel could replace it.
    fn own_mounts(&mut self, effective: &Effective) {
        let paths = host_paths(effective);
        for path in paths.iter().filter(|path| path.use_ != Use::File) {
            let above = paths.iter().find(|it| it.writable && is_below(path.value, it.value));
            if let Some(above) = above {
                let message = format!(
                    "{} is below {}, which the channel can write: it could replace it with a link to another path",
                    path.value, above.value
                );
                self.violation(Rule::NotBelowOwnMount, &path.field, message);
            }
        }
    }

    fn ports(&mut self, ports: &[Port]) {
        for (index, Port { container_port: _, host_port }) in ports.iter().enumerate() {
            let field = format!("spec.ports[{index}].hostPort");
            if self.ctx.own_ports.contains(host_port) {
                let message = format!("the operator itself listens on port {host_port}");
                self.violation(Rule::ReservedPort, &field, message);
            } else if *host_port < FIRST_UNPRIVILEGED_PORT {
                let message = format!(
                    "port {host_port} is privileged, and the owner could not listen on it: use {FIRST_UNPRIVILEGED_PORT} or above"
                );
                self.violation(Rule::ReservedPort, &field, message);
            }
        }
    }

    /// Volumes' names, and what mounts and files would cover.
    fn targets(&mut self, effective: &Effective) {
        for (index, mount) in effective.mounts.iter().enumerate() {
            if let Mount::Volume { source, .. } = mount {
                let field = format!("spec.mounts[{index}].source");
                if source.starts_with("chanop_") {
                    let message =
                        format!("volume {source}: names with `chanop_` are the operator's");
                    self.violation(Rule::VolumeName, &field, message);
                } else if let Err(why) = ObjectName::parse(source) {
                    self.violation(Rule::VolumeName, &field, why.to_string());
                }
            }
            let field = format!("spec.mounts[{index}].target");
            self.target(&field, mount.target());
            let home = (effective.home != Home::Image).then_some(&self.ctx.owner.home);
            if [Some(&effective.workspace.path), home].contains(&Some(&mount.target().to_owned())) {
                let message = format!("{} is the workspace's or the home's place", mount.target());
                self.violation(Rule::ReservedTarget, &field, message);
            }
        }
        for (index, file) in effective.files.iter().enumerate() {
            self.target(&format!("spec.files[{index}].target"), &file.target);
        }
    }

    fn target(&mut self, field: &str, target: &str) {
        if !is_normal(target) {
            let message = format!("{target} is not a normal absolute path");
            return self.violation(Rule::ReservedTarget, field, message);
        }
        if let Some(reserved) = RESERVED_TARGETS.iter().find(|reserved| overlap(target, reserved)) {
            let message = format!("{target} would cover {reserved}, which is not the spec's");
            self.violation(Rule::ReservedTarget, field, message);
        }
    }
}

/// Below it, only root can listen.
const FIRST_UNPRIVILEGED_PORT: u16 = 1024;

/// What chanop and the engine mount themselves, and what the kernel provides. A mount can neither cover them nor be inside them.
const RESERVED_TARGETS: [&str; 11] = [
    crate::init::layout::DIRECTORY,
    "/etc/passwd",
    "/etc/group",
    "/etc/gitconfig",
    "/etc/hostname",
    "/etc/hosts",
    "/etc/resolv.conf",
    crate::init::layout::MANAGED_SETTINGS,
    "/proc",
    "/sys",
    "/dev",
];

const fn missing(use_: Use) -> Reason {
    match use_ {
        Use::Workspace => Reason::WorkspaceMissing,
        Use::Bind | Use::File => Reason::MountMissing,
    }
}

/// Absolute, without anything that another text could say shorter; then texts can be compared.
fn is_normal(path: &str) -> bool {
    let Some(rest) = path.strip_prefix('/') else { return false };
    !path.contains('\0')
        && rest.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

fn overlap(path: &str, other: &str) -> bool {
    let other = other.trim_end_matches('/');
    path == other || is_below(path, other) || is_below(other, path)
}

/// Is the first component below the home a dot-name? A file to copy may be one itself.
fn goes_through_dot_directory(path: &str, home: &str, use_: Use) -> bool {
    let below = path.strip_prefix(home).unwrap_or(path).trim_start_matches('/');
    let first_is_dot = below.starts_with('.');
    first_is_dot && (use_ != Use::File || below.contains('/'))
}

#[cfg(test)]
mod tests;
