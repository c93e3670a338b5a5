//! What a channel's container needs on the host, and where it lies there.
//!
//! One pure answer for two askers: the template mounts what [`support_mounts`] says, and [`crate::host`] makes exactly that
//! before the container is created. Which optional mounts and files there are was decided from facts, so nothing in a
//! [`Preparation`] is optional any more: what has vanished since is an error, and the next probe decides anew.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::facts::{CredentialsFact, Facts, PathFact};
use super::runtime;
use crate::container::config::MountConfig;
use crate::init::layout;
use crate::resource::ResourceName;
use crate::resource::effective::{
    Effective, EnvValue, FileCopy, Home, McpServer, Mount, Owner, SecretKeyRef, User, Workspace,
};
use crate::resource::text::hex;

/// In the directory of an attempt: what its command reads.
pub const PROMPT: &str = "stdin";
/// In the directory of an attempt: what its init writes. See [`crate::init::attempt`].
pub const ATTEMPT: &str = "attempt";

/// Where things of one operator lie on the host. No path ends with a slash.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPaths {
    /// The state directory; the same path for the engine.
    pub state: String,
    /// The directory of the containers' secrets, on a tmpfs where there is one.
    pub secrets: String,
}

impl HostPaths {
    /// The init of every container. The name stays the same over upgrades, so that an upgrade recreates nothing.
    pub fn init(&self) -> String {
        format!("{}/bin/chanop-init", self.state)
    }

    /// A channel's home directory: kept when the channel goes.
    pub fn home(&self, channel: &ResourceName) -> String {
        format!("{}/homes/{channel}", self.state)
    }

    /// What else a channel's containers mount; made anew at will.
    pub fn channel(&self, channel: &ResourceName) -> String {
        format!("{}/channels/{channel}", self.state)
    }

    /// What one attempt of a run has for itself: its prompt, its [`layout::ATTEMPT`], its copies of files.
    pub fn attempt(&self, place: &RunPlace) -> String {
        format!("{}/{}/{}", self.runs(&place.channel), place.run, place.attempt)
    }

    /// The places of all of a channel's runs.
    pub fn runs(&self, channel: &ResourceName) -> String {
        format!("{}/runs", self.channel(channel))
    }

    /// A channel's secrets, mounted at [`layout::SECRETS`].
    pub fn secrets_of(&self, channel: &ResourceName) -> String {
        format!("{}/{channel}", self.secrets)
    }
}

/// Which attempt of which run: what the host has for it lies by these names, like its container.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RunPlace {
    /// The channel.
    pub channel: ResourceName,
    /// The run.
    pub run: ResourceName,
    /// The attempt's number.
    pub attempt: u32,
}

/// A bind mount that is there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bind {
    /// Absolute, on the host.
    pub source: String,
    /// Absolute, in the container.
    pub target: String,
    /// Read-only?
    pub read_only: bool,
}

/// A file that is there. The container gets a copy of its own, which lies on the host and is bind-mounted: the engine's own copying
/// mounts everything else of the container in the host's mount namespace, where an agent can lead it astray.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct HostFile {
    /// Absolute, on the host.
    pub source: String,
    /// Absolute, in the container.
    pub target: String,
    /// May the container not change its copy? So it is where its root file system is read-only.
    pub read_only: bool,
}

/// Who the container's processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContainerUser {
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Is it the image's own user? Then the image's passwd and group stay.
    pub of_image: bool,
}

impl ContainerUser {
    /// Who they are; `image` is whom the image names, where the spec says that.
    pub const fn of(user: User, owner: &Owner, image: (u32, u32)) -> Self {
        match user {
            User::Owner => Self { uid: owner.uid, gid: owner.gid, of_image: false },
            User::Ids { uid, gid } => Self { uid, gid, of_image: false },
            User::Image => Self { uid: image.0, gid: image.1, of_image: true },
        }
    }
}

/// What the host prepares before a container is created or started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preparation {
    /// Whose.
    pub channel: ResourceName,
    /// For an attempt of a run; `None`: for the shell.
    pub run: Option<RunPlace>,
    /// The operator's owner: whose home, whose git identity.
    pub owner: Owner,
    /// Whose the prepared files are.
    pub user: ContainerUser,
    /// Supplementary groups.
    pub groups: Vec<u32>,
    /// The project directory, a bind mount at its own path.
    pub workspace: Workspace,
    /// What stands at the home.
    pub home: Home,
    /// Binds of the spec.
    pub binds: Vec<Bind>,
    /// Names of writable volumes. A new one is given to the user.
    pub volumes: Vec<String>,
    /// Every target of the spec's mounts: where a mount point is needed.
    pub targets: Vec<String>,
    /// Files to copy.
    pub files: Vec<HostFile>,
    /// Secret environment variables.
    pub secrets: Vec<(String, SecretKeyRef)>,
    /// The agent's credentials, a directory of the secrets.
    pub credentials: Option<String>,
    /// Are they a key, so that the CLI must be told where it is?
    pub signs_in_by_key: bool,
    /// The agent's MCP servers.
    pub mcp_servers: BTreeMap<String, McpServer>,
    /// Does init compare device and inode? See [`super::runtime::shows_host_inodes`]: the policy refuses every source that
    /// the channel could replace, whatever the answer.
    pub verify_mounts: bool,
}

impl Preparation {
    /// What `effective` needs, optional things that are missing left out.
    pub fn of(
        channel: &ResourceName,
        effective: &Effective,
        owner: &Owner,
        user: ContainerUser,
        facts: &Facts,
    ) -> Self {
        let there = |optional: bool, source: &str| {
            !(optional && matches!(facts.paths.get(source), Some(PathFact::Missing)))
        };
        let mounts: Vec<&Mount> = effective
            .mounts
            .iter()
            .filter(|mount| match mount {
                Mount::Bind { source, optional, .. } => there(*optional, source),
                Mount::Volume { .. } | Mount::Tmpfs { .. } => true,
            })
            .collect();
        let file = |file: &FileCopy| HostFile {
            source: file.source.clone(),
            target: file.target.clone(),
            read_only: effective.security.read_only_root_filesystem,
        };
        let secret = |value: &EnvValue| match value {
            EnvValue::Secret(key) => Some(key.clone()),
            EnvValue::Plain(_) => None,
        };
        Self {
            channel: channel.clone(),
            run: None,
            owner: owner.clone(),
            user,
            groups: effective.security.supplemental_groups.clone(),
            workspace: effective.workspace.clone(),
            home: effective.home,
            binds: mounts.iter().filter_map(|mount| bind(mount)).collect(),
            volumes: mounts.iter().filter_map(|mount| writable_volume(mount)).collect(),
            targets: mounts.iter().map(|mount| mount.target().to_owned()).collect(),
            files: effective
                .files
                .iter()
                .filter(|file| there(file.optional, &file.source))
                .map(file)
                .collect(),
            secrets: effective
                .env
                .iter()
                .filter_map(|env| Some((env.name.clone(), secret(&env.value)?)))
                .collect(),
            credentials: effective.agent.credentials.clone(),
            signs_in_by_key: effective.agent.credentials.as_ref().is_some_and(|name| {
                matches!(facts.credentials.get(name), Some(CredentialsFact::ApiKey { .. }))
            }),
            mcp_servers: effective.agent.mcp_servers.clone(),
            verify_mounts: runtime::shows_host_inodes(effective, facts.default_runtime.as_deref()),
        }
    }

    /// Every host path that is mounted, with its target.
    pub fn sources(&self, paths: &HostPaths) -> Vec<(String, String)> {
        let mut sources = vec![(self.workspace.path.clone(), self.workspace.path.clone())];
        if self.home == Home::Channel {
            sources.push((paths.home(&self.channel), self.owner.home.clone()));
        }
        sources.extend(self.binds.iter().map(|bind| (bind.source.clone(), bind.target.clone())));
        sources
    }

    /// The identity list on the host. A container that was made from another set of mounts keeps its own list.
    pub fn mounts_file(&self, paths: &HostPaths) -> String {
        let mut hasher = Sha256::new();
        for (source, target) in self.sources(paths) {
            hasher.update(format!("{source}\0{target}\0"));
        }
        format!("{}/mounts-{}", paths.channel(&self.channel), short_hex(&hasher.finalize()))
    }

    /// Where the copy of a staged file lies. Each attempt has its own.
    pub fn staged_file(&self, paths: &HostPaths, file: &HostFile) -> String {
        let name = short_hex(&Sha256::digest(file.target.as_bytes()));
        let own = self.run.as_ref().map(|place| paths.attempt(place));
        format!("{}/files/{name}", own.unwrap_or_else(|| paths.channel(&self.channel)))
    }
}

/// The mounts of every container beside workspace and the spec's own: init and what it reads, home, users, git's configuration, staged
/// files, and a run's prompt and attempt. Parents come before what lies in them.
pub fn support_mounts(paths: &HostPaths, preparation: &Preparation) -> Vec<MountConfig> {
    let channel = &preparation.channel;
    let own = |name: &str| format!("{}/{name}", paths.channel(channel));
    let bind = |source: String, target: &str, read_only: bool| MountConfig::Bind {
        source,
        target: target.to_owned(),
        read_only,
    };
    let mut mounts = vec![
        bind(paths.init(), layout::INIT, true),
        bind(preparation.mounts_file(paths), layout::MOUNTS, true),
        bind(paths.secrets_of(channel), layout::SECRETS, true),
        bind(own("gitignore"), layout::GITIGNORE, true),
        bind(own("gitconfig"), "/etc/gitconfig", true),
    ];
    if let Some(place) = &preparation.run {
        let own = paths.attempt(place);
        mounts.push(bind(format!("{own}/{PROMPT}"), layout::STDIN, true));
        mounts.push(bind(format!("{own}/{ATTEMPT}"), layout::ATTEMPT, false));
    }
    if !preparation.user.of_image {
        mounts.push(bind(own("passwd"), "/etc/passwd", true));
        mounts.push(bind(own("group"), "/etc/group", true));
    }
    if preparation.signs_in_by_key {
        mounts.push(bind(own("managed-settings.json"), layout::MANAGED_SETTINGS, true));
    }
    let home = &preparation.owner.home;
    match preparation.home {
        Home::Channel => mounts.push(bind(paths.home(channel), home, false)),
        Home::Tmpfs => mounts.push(MountConfig::Tmpfs {
            target: home.clone(),
            size_bytes: 0,
            exec: true,
            // Where the engine cannot set an owner, anyone in the container may write: there is one user.
            mode: 0o1777,
            owner: Some((preparation.user.uid, preparation.user.gid)),
        }),
        Home::Image => {}
    }
    for file in &preparation.files {
        mounts.push(bind(preparation.staged_file(paths, file), &file.target, file.read_only));
    }
    mounts
}

/// Does `path` lie strictly below `directory`? By whole components, of absolute, normal paths.
pub fn is_below(path: &str, directory: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    path.strip_prefix(directory)
        .and_then(|rest| rest.strip_prefix('/'))
        .is_some_and(|rest| !rest.trim_matches('/').is_empty())
}

fn bind(mount: &Mount) -> Option<Bind> {
    match mount {
        Mount::Bind { source, target, read_only, optional: _ } => {
            Some(Bind { source: source.clone(), target: target.clone(), read_only: *read_only })
        }
        Mount::Volume { .. } | Mount::Tmpfs { .. } => None,
    }
}

fn writable_volume(mount: &Mount) -> Option<String> {
    match mount {
        Mount::Volume { source, target: _, read_only: false } => Some(source.clone()),
        Mount::Volume { .. } | Mount::Bind { .. } | Mount::Tmpfs { .. } => None,
    }
}

/// 64 bits are plenty among the few mounts of a channel.
fn short_hex(bytes: &[u8]) -> String {
    hex(bytes.get(..8).unwrap_or(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn below_is_judged_by_whole_components() {
        for (path, directory, below) in [
            ("/home/u/x", "/home/u", true),
            ("/home/u/x", "/home/u/", true),
            ("/home/u2", "/home/u", false),
            ("/home/u", "/home/u", false),
            ("/home/u/", "/home/u", false),
            ("/home/u//", "/home/u/", false),
            ("/home", "/home/u", false),
            ("/x", "/", true),
            ("/", "/", false),
        ] {
            assert_eq!(is_below(path, directory), below, "{path} below {directory}");
        }
    }
}
