//! The built-in policy: what a spec may ask of the host and the engine where no administrator said otherwise.
//!
//! Pure: it judges an effective spec by facts that [`crate::host`] gathered. It reports everything that is wrong, not the
//! first thing. What depends on the file system is looked at once more when the container is made, and once more by
//! `chanop-init` inside it; here is where a person learns why.
//!
//! Host paths: binds and the workspace lie below the owner's home, are not the home, and go through no dot-directory
//! there (`~/.ssh`, `~/.claude`: who can write such a file runs code on the host). `files` are copies, so a dot-file directly
//! in the home may be one (`~/.npmrc`), but nothing inside a dot-directory.

use std::collections::BTreeMap;
use std::fmt;

use super::facts::{
    BuildFact, CredentialsFact, Facts, FactsWanted, PathFact, PathKind, SecretFact,
};
use super::preparation::is_below;
use crate::container::ImageRef;
use crate::container::name::ObjectName;
use crate::resource::ResourceName;
use crate::resource::condition::Reason;
use crate::resource::effective::{
    Agent, AgentCli, Build, Effective, EnvValue, Home, Mount, Network, Owner, SecretKeyRef, User,
};

/// What the policy has to know besides spec and facts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AdmissionContext {
    /// The operator's owner.
    pub owner: Owner,
    /// Real paths of the state, spec, secrets, policy and socket directories, and of Docker's socket.
    pub protected: Vec<String>,
    /// What channels may write, workspaces and writable binds, each path with those that may.
    pub writable: BTreeMap<String, Vec<ResourceName>>,
    /// Has the operator a CLI that it can inject?
    pub has_agent_cli: bool,
}

/// A rule that was broken. Stable words: metrics and `validate` name them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A host path lies below the owner's home, and is not it.
    BelowHome,
    /// No host path lies in a dot-directory of the home.
    NoDotPath,
    /// A host path is absolute and normal, and no link is on its way.
    RealPath,
    /// Only directories and files are mounted; the workspace is a directory, a copied file a file.
    NoSpecialFile,
    /// Nothing equals, contains or lies in a directory of the operator's.
    NotProtected,
    /// Nothing lies strictly below what another channel can write: it could be swapped for a link.
    NotBelowForeignMount,
    /// What is not optional is there.
    SourceExists,
    /// Every secret is there and closed to others.
    SecretUsable,
    /// The host's network is not used.
    NoHostNetwork,
    /// No network but the instance's own.
    NoForeignNetwork,
    /// No capability is given.
    NoAddedCapability,
    /// Nobody is root.
    NoRoot,
    /// A volume has a valid name, and none of the operator's.
    VolumeName,
    /// An image reference follows its grammar.
    ImageReference,
    /// What an image is built from is there, beneath the spec directory.
    BuildContext,
    /// A runtime class is a plain word.
    RuntimeClass,
    /// A CLI that is injected is there, and has a plain name.
    AgentCli,
    /// Nothing is mounted over what chanop or the kernel puts into a container.
    ReservedTarget,
}

impl Rule {
    /// The word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BelowHome => "BelowHome",
            Self::NoDotPath => "NoDotPath",
            Self::RealPath => "RealPath",
            Self::NoSpecialFile => "NoSpecialFile",
            Self::NotProtected => "NotProtected",
            Self::NotBelowForeignMount => "NotBelowForeignMount",
            Self::SourceExists => "SourceExists",
            Self::SecretUsable => "SecretUsable",
            Self::NoHostNetwork => "NoHostNetwork",
            Self::NoForeignNetwork => "NoForeignNetwork",
            Self::NoAddedCapability => "NoAddedCapability",
            Self::NoRoot => "NoRoot",
            Self::VolumeName => "VolumeName",
            Self::ImageReference => "ImageReference",
            Self::BuildContext => "BuildContext",
            Self::RuntimeClass => "RuntimeClass",
            Self::AgentCli => "AgentCli",
            Self::ReservedTarget => "ReservedTarget",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
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

/// For [`AdmissionContext::writable`]: what each channel lets its containers write on the host.
pub fn writable_by_path<'a>(
    channels: impl IntoIterator<Item = (&'a ResourceName, &'a Effective)>,
) -> BTreeMap<String, Vec<ResourceName>> {
    let mut writable: BTreeMap<String, Vec<ResourceName>> = BTreeMap::new();
    for (name, effective) in channels {
        for path in writable_paths(effective) {
            writable.entry(path).or_default().push(name.clone());
        }
    }
    writable
}

/// What `effective` lets its containers write on the host.
pub fn writable_paths(effective: &Effective) -> Vec<String> {
    let written = host_paths(effective).into_iter().filter(|path| path.writable);
    written.map(|path| path.value.to_owned()).collect()
}

/// Judges what a channel asks for.
pub fn admit(
    channel: &ResourceName,
    effective: &Effective,
    facts: &Facts,
    ctx: &AdmissionContext,
) -> Admission {
    let mut judge = Judge { channel, facts, ctx, denials: Vec::new(), unprobed: false };
    for path in host_paths(effective) {
        judge.host_path(&path);
    }
    for (field, reference) in secret_references(effective) {
        judge.secret(&field, reference);
    }
    judge.credentials(effective.agent.credentials.as_deref());
    if let Some(build) = &effective.image.build {
        judge.build(build);
    }
    judge.agent_cli(&effective.agent);
    judge.engine(effective);
    judge.targets(effective);
    let Judge { mut denials, unprobed, .. } = judge;
    // What a person has to change comes before what may come by itself.
    denials.sort_by_key(|denial| denial.reason != Reason::PolicyViolation);
    match (denials.is_empty(), unprobed) {
        (false, _) => Admission::Denied(denials),
        (true, true) => Admission::NotProbed,
        (true, false) => Admission::Admitted,
    }
}

/// Judges `user: Image` when the image is known.
pub fn admit_image_user(uid: u32) -> Option<Denial> {
    root_denied(uid)
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
    let mut paths = vec![HostPath {
        field: "spec.workspace.path".to_owned(),
        value: &effective.workspace.path,
        use_: Use::Workspace,
        may_be_missing: effective.workspace.create,
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
    for (index, file) in effective.files.iter().enumerate() {
        paths.push(HostPath {
            field: format!("spec.files[{index}].source"),
            value: &file.source,
            use_: Use::File,
            may_be_missing: file.optional,
            writable: false,
        });
    }
    paths
}

fn secret_references(effective: &Effective) -> Vec<(String, &SecretKeyRef)> {
    let mut found = Vec::new();
    for (index, variable) in effective.env.iter().enumerate() {
        if let EnvValue::Secret(reference) = &variable.value {
            found.push((format!("spec.env[{index}].valueFrom.secretKeyRef"), reference));
        }
    }
    for (server, variable) in effective
        .agent
        .mcp_servers
        .iter()
        .flat_map(|(name, server)| server.env.iter().map(move |variable| (name, variable)))
    {
        if let EnvValue::Secret(reference) = &variable.value {
            let at = format!("spec.agent.mcpServers.{server}.env.{}", variable.name);
            found.push((format!("{at}.valueFrom.secretKeyRef"), reference));
        }
    }
    found
}

struct Judge<'a> {
    channel: &'a ResourceName,
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
            let message =
                format!("{value} is no normal absolute path: no `.`, `..`, `//` or trailing slash");
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
        // From the path upwards: ten thousand channels make this a few look-ups, not ten thousand comparisons.
        let above = std::iter::successors(parent_of(value), |path| parent_of(path));
        for (parent, writers) in above.filter_map(|path| ctx.writable.get_key_value(path)) {
            if let Some(name) = writers.iter().find(|writer| *writer != self.channel) {
                let message =
                    format!("{value} lies below {parent}, which channel {name} can write");
                self.violation(Rule::NotBelowForeignMount, field, message);
            }
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

    fn agent_cli(&mut self, agent: &Agent) {
        match agent.cli {
            AgentCli::Image => return,
            AgentCli::Inject => {}
        }
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if agent.bin.starts_with('.') || !agent.bin.bytes().all(plain) {
            let message = format!(
                "`{}` is no plain name; with `cli: Inject` it names the program that is mounted",
                agent.bin
            );
            self.deny(Rule::AgentCli, Reason::InvalidSpec, "spec.agent.bin", message);
        }
        if !self.ctx.has_agent_cli {
            let message =
                "this operator has no CLI to inject: it wants --agent-cli FILE".to_owned();
            self.deny(Rule::AgentCli, Reason::AgentCliMissing, "spec.agent.cli", message);
        }
    }

    /// What is asked of the engine.
    fn engine(&mut self, effective: &Effective) {
        match &effective.network {
            Network::Bridge | Network::None => {}
            Network::Host => {
                let message = "the host's network is not to be had".to_owned();
                self.violation(Rule::NoHostNetwork, "spec.network.mode", message);
            }
            Network::Named(name) => {
                let message = format!("network {name} is not the instance's own");
                self.violation(Rule::NoForeignNetwork, "spec.network.name", message);
            }
        }
        for (index, capability) in effective.security.add_capabilities.iter().enumerate() {
            let field = format!("spec.securityContext.capabilities.add[{index}]");
            let message = format!("capability {capability} is not to be had");
            self.violation(Rule::NoAddedCapability, &field, message);
        }
        let uid = match effective.user {
            User::Owner => Some(self.ctx.owner.uid),
            User::Ids { uid, gid: _ } => Some(uid),
            // Known when the image is: admit_image_user.
            User::Image => None,
        };
        self.denials.extend(uid.and_then(root_denied));
        if effective.image.build.is_none()
            && let Err(why) = ImageRef::parse(&effective.image.reference)
        {
            self.violation(Rule::ImageReference, "spec.image.ref", why.to_string());
        }
        let class = &effective.runtime_class_name;
        if !class.is_empty() && ObjectName::parse(class).is_err() {
            let message = format!("`{class}` is no name of a runtime");
            self.violation(Rule::RuntimeClass, "spec.runtimeClassName", message);
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
            let message = format!("{target} is no normal absolute path");
            return self.violation(Rule::ReservedTarget, field, message);
        }
        if let Some(reserved) = RESERVED_TARGETS.iter().find(|reserved| overlap(target, reserved)) {
            let message = format!("{target} would cover {reserved}, which is not the spec's");
            self.violation(Rule::ReservedTarget, field, message);
        }
    }
}

/// What chanop mounts itself, and what makes a container one. A mount may neither cover them nor lie in them.
const RESERVED_TARGETS: [&str; 8] = [
    crate::init::layout::DIRECTORY,
    "/etc/passwd",
    "/etc/group",
    "/etc/gitconfig",
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
