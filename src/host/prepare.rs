//! Making on the host what a container needs, right before it is created, and again right before it is started.
//!
//! The secrets' tmpfs is empty after a reboot, devices get other numbers, a disk may be gone: so both occasions do the
//! same, and doing it twice is doing it once. Whatever the policy judged from facts is looked at again here, through handles that
//! follow no link, and the identities found go to `chanop-init`, which compares them after the engine has mounted.
//!
//! Nothing is ever removed, and nothing of the owner's is changed; a workspace is made only where the spec says so.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use rustix::fs::{FileType, FlockOperation, Gid, Uid, fchown, flock};

use super::archive;
use super::beneath::{self, Ids, WalkError};
use super::git::GitIdentity;
use super::mounted::{self, Mounted};
use super::secret_files::{SecretFiles, SignIn};
use super::users;
use crate::claude::credentials;
use crate::init::{layout, mounts};
use crate::resource::condition::Reason;
use crate::resource::effective::Home;
use crate::resource::{Owner, ResourceName};
use crate::world::mounted::{MountChange, MountChangeKind};
use crate::world::preparation::{Bind, HostFile, HostPaths, Preparation, is_below};

/// A file to copy is at most so long: it goes through memory, and configuration is what it is for.
const MAX_FILE_BYTES: u64 = 4 * 1024 * 1024;

/// The host as one operator sees it.
#[derive(Debug, Clone)]
pub struct Host {
    /// Where its things lie.
    pub paths: HostPaths,
    /// The administrator's secrets.
    pub secrets_directory: Option<PathBuf>,
    /// The `chanop-init` that came with the operator.
    pub init_source: PathBuf,
}

/// What is about to happen to the container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Occasion {
    /// It is made: `files` are copied anew.
    Create,
    /// One that is there is started: its staged files stay as it left them.
    Start,
}

/// What the engine is to be given when the container has been created.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Prepared {
    /// For volumes that did not exist before the container was created.
    pub volume_grants: Vec<VolumeGrant>,
    /// How the agent signs in, if it does.
    pub sign_in: Option<SignIn>,
    /// What was put right in the channel's home, each in a sentence.
    pub notes: Vec<String>,
}

/// A new volume that the container's user is to own. The init cannot do that: it has neither root nor capabilities.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VolumeGrant {
    /// The volume's name.
    pub volume: String,
    /// To whom.
    pub owner: (u32, u32),
    /// To be put at `/` of a container that has nothing but this volume, at [`GIVEN_AT`].
    pub archive: Bytes,
}

/// Where a volume is mounted in the container that serves to give it away.
pub const GIVEN_AT: &str = "/chanop-volume";

/// Why the host could not be prepared.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    /// The workspace is not there.
    #[error("workspace {0} is not there")]
    WorkspaceMissing(String),
    /// A source is the empty mount point of a disk that it was on at the last start.
    #[error("{} and {} is empty; if it is meant to be, put a file into it", .change.describe(), .change.source)]
    Unmounted {
        /// Which.
        change: MountChange,
        /// Is it the workspace?
        is_workspace: bool,
    },
    /// The source of a mount or file is not there.
    #[error("{0} is not there")]
    MountMissing(String),
    /// A secret is not there or must not be used.
    #[error("secret {reference}: {why}")]
    Secret {
        /// `name/key`.
        reference: String,
        /// Without any value.
        why: String,
    },
    /// The path leads elsewhere: a link appeared since the policy looked.
    #[error("{0} is not a real path: there is a link on the way, or it is not absolute")]
    NotReal(String),
    /// A socket, device or pipe, or a directory where a file was meant.
    #[error("{path} is no {wanted}")]
    WrongKind {
        /// The path.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A file is too long.
    #[error("{path} is longer than {bytes} bytes")]
    TooLong {
        /// Which.
        path: String,
        /// How long it may be.
        bytes: u64,
    },
    /// The home is on a file system that is mounted read-only.
    #[error("{0} is on a read-only file system: the agent cannot keep its sessions there")]
    HomeReadOnly(String),
    /// A directory of the home belongs to somebody else, or its permissions do not let its user write.
    #[error(
        "{path} is not writable by uid {uid}: the agent cannot keep its sessions there; change its owner or mode"
    )]
    NotWritable {
        /// Which.
        path: String,
        /// The container's user.
        uid: u32,
    },
    /// The file system refused.
    #[error("failed to {doing} {path}")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: String,
        /// Why.
        #[source]
        cause: io::Error,
    },
}

impl PrepareError {
    /// The condition's word.
    pub const fn reason(&self) -> Reason {
        match self {
            Self::WorkspaceMissing(_) | Self::Unmounted { is_workspace: true, .. } => {
                Reason::WorkspaceMissing
            }
            Self::MountMissing(_) | Self::Unmounted { is_workspace: false, .. } => {
                Reason::MountMissing
            }
            Self::Secret { .. } => Reason::SecretMissing,
            Self::NotReal(_) | Self::WrongKind { .. } => Reason::PolicyViolation,
            Self::TooLong { .. }
            | Self::HomeReadOnly(_)
            | Self::NotWritable { .. }
            | Self::Io { .. } => Reason::HostFailed,
        }
    }
}

/// Prepares the host. Blocks on the file system.
///
/// The order is from what may fail for the spec's sake to what only writes: a missing workspace leaves nothing half done.
pub fn prepare(
    preparation: &Preparation,
    host: &Host,
    occasion: Occasion,
) -> Result<Prepared, PrepareError> {
    let work = Work { preparation, host, user: (preparation.user.uid, preparation.user.gid) };
    work.make_workspace()?;
    work.make_home()?;
    let mounted = work.look_at_mounts()?;
    work.make_inner_mount_points()?;
    let secrets = SecretFiles::read(preparation, host)?;
    work.copy_files(occasion)?;
    secrets.write(preparation, host)?;
    work.write_channel_files(&mounted)?;
    install_init(host)?;
    let volume_grants = work.grant_volumes()?;
    Ok(Prepared { volume_grants, sign_in: secrets.sign_in, notes: Vec::new() })
}

/// What a mount's target lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum MountParent<'a> {
    /// The channel's home.
    Home,
    /// A directory of the owner's that the container can write.
    Host { source: &'a str, target: &'a str },
    /// The image, a volume, memory, or something read-only.
    Other,
}

struct Work<'a> {
    preparation: &'a Preparation,
    host: &'a Host,
    user: Ids,
}

impl Work<'_> {
    fn make_workspace(&self) -> Result<(), PrepareError> {
        let Preparation { workspace, owner, .. } = self.preparation;
        if !workspace.create || !is_below(&workspace.path, &owner.home) {
            return Ok(());
        }
        let failed = |error| walk_failed("make workspace", &workspace.path, error);
        let home = beneath::directory(Path::new(&owner.home)).map_err(failed)?;
        let relative =
            Path::new(&workspace.path).strip_prefix(&owner.home).unwrap_or(Path::new(""));
        let owner = (owner.uid, owner.gid);
        beneath::make_directories(home, relative, 0o755, owner).map_err(failed)?;
        Ok(())
    }

    /// The channel's home, and mount points in it: those that the runtime makes belong to root.
    fn make_home(&self) -> Result<(), PrepareError> {
        if self.preparation.home != Home::Channel {
            return Ok(());
        }
        let path = self.host.paths.home(&self.preparation.channel);
        let homes = private_directory(&format!("{}/homes", self.host.paths.state))?;
        let failed = |error| walk_failed("make home", &path, error);
        let name = Path::new(self.preparation.channel.as_str());
        let home = beneath::make_directories(&homes, name, 0o700, self.user).map_err(failed)?;
        beneath::give(&home, 0o700, self.user).map_err(|errno| failed(errno.into()))?;
        for (target, is_file) in self.inner_targets() {
            if let MountParent::Home = self.parent_of(target) {
                self.make_mount_point_in_home(&home, target, is_file);
            }
        }
        Ok(())
    }

    /// Where something is mounted, and whether that is a file: each may need a mount point in another mount.
    fn inner_targets(&self) -> Vec<(&str, bool)> {
        let Preparation { targets, files, workspace, binds, .. } = self.preparation;
        let is_file = |target: &str| {
            let bind = binds.iter().find(|bind| bind.target == target);
            bind.is_some_and(|bind| Path::new(&bind.source).is_file())
        };
        let targets = targets.iter().map(|target| (target.as_str(), is_file(target)));
        let files = files.iter().map(|file| (file.target.as_str(), true));
        targets.chain(files).chain([(workspace.path.as_str(), false)]).collect()
    }

    /// In which mount of the container `target` lies: the innermost one.
    fn parent_of(&self, target: &str) -> MountParent<'_> {
        let Preparation { targets, workspace, binds, owner, home, .. } = self.preparation;
        let home = (*home == Home::Channel).then_some((owner.home.as_str(), MountParent::Home));
        let workspace = (
            workspace.path.as_str(),
            MountParent::Host { source: &workspace.path, target: &workspace.path },
        );
        // Volumes and memory are not the owner's directories, and in what is read-only nothing is made.
        let others = targets.iter().map(|target| (target.as_str(), MountParent::Other));
        let binds = binds.iter().map(|bind| {
            let Bind { source, target, read_only } = bind;
            let parent =
                if *read_only { MountParent::Other } else { MountParent::Host { source, target } };
            (target.as_str(), parent)
        });
        others
            .chain(home)
            .chain([workspace])
            .chain(binds)
            .filter(|(mount, _)| is_below(target, mount))
            .max_by_key(|(mount, _)| mount.len())
            .map_or(MountParent::Other, |(_, parent)| parent)
    }

    /// As well as may be: the agent may have put a link or a file there, and then the runtime has the last word. What the runtime makes
    /// in this directory belongs to root, but it is the operator's and not a project of the owner's.
    fn make_mount_point_in_home(&self, home: &OwnedFd, target: &str, is_file: bool) {
        let Ok(relative) = Path::new(target).strip_prefix(&self.preparation.owner.home) else {
            return;
        };
        drop(make_mount_point(home, relative, is_file, self.user));
    }

    /// Mount points in the owner's own directories, made as the owner: those that the runtime makes belong to root. A link on the way is
    /// an error, since the runtime would follow it and make the directory elsewhere in the project.
    fn make_inner_mount_points(&self) -> Result<(), PrepareError> {
        let owner = &self.preparation.owner;
        for (inner, is_file) in self.inner_targets() {
            let MountParent::Host { source, target } = self.parent_of(inner) else { continue };
            let Ok(relative) = Path::new(inner).strip_prefix(target) else { continue };
            let path = Path::new(source).join(relative).display().to_string();
            let failed = |error| walk_failed("make the mount point", &path, error);
            let base = beneath::directory(Path::new(source)).map_err(failed)?;
            make_mount_point(&base, relative, is_file, (owner.uid, owner.gid)).map_err(failed)?;
        }
        Ok(())
    }

    /// Every bind's source, looked at through its own handle.
    fn look_at_mounts(&self) -> Result<Vec<Mounted>, PrepareError> {
        let Preparation { channel, workspace, owner, .. } = self.preparation;
        let home = mounted::home_device(&owner.home);
        let given = mounted::last_given(&self.host.paths, channel);
        let mut found = Vec::new();
        for (source, target) in self.preparation.sources(&self.host.paths) {
            let is_workspace = source == workspace.path;
            let (_handle, stat) =
                beneath::look(Path::new(&source)).map_err(|error| match error {
                    WalkError::Missing if is_workspace => {
                        PrepareError::WorkspaceMissing(source.clone())
                    }
                    WalkError::Missing => PrepareError::MountMissing(source.clone()),
                    other => walk_failed("look at", &source, other),
                })?;
            match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {}
                FileType::RegularFile if !is_workspace => {}
                _ => {
                    let wanted = "directory or file that can be mounted";
                    return Err(PrepareError::WrongKind { path: source, wanted });
                }
            }
            if mounted::is_unmounted(&given, &source, stat.st_dev, home) {
                let kind = MountChangeKind::Unmounted;
                let change = MountChange { source, target, kind };
                return Err(PrepareError::Unmounted { change, is_workspace });
            }
            found.push(Mounted {
                own: source == self.host.paths.home(channel),
                off_home: home.is_some_and(|home| home != stat.st_dev),
                source,
                target,
                device: stat.st_dev,
                inode: stat.st_ino,
            });
        }
        Ok(found)
    }

    /// For the record of what the shell is given: also its secrets' directory, which is there by now.
    fn secrets_directory(&self) -> Option<Mounted> {
        let source = self.host.paths.secrets_of(&self.preparation.channel);
        // The path to it may hold links, which the administrator chose; the engine follows them.
        let source = Path::new(&source).canonicalize().ok()?.into_os_string().into_string().ok()?;
        let (_handle, stat) = beneath::look(Path::new(&source)).ok()?;
        let target = layout::SECRETS.to_owned();
        let (device, inode) = (stat.st_dev, stat.st_ino);
        Some(Mounted { source, target, device, inode, off_home: false, own: true })
    }

    /// Copies `files` to where they are mounted from.
    fn copy_files(&self, occasion: Occasion) -> Result<(), PrepareError> {
        self.preparation.files.iter().try_for_each(|file| self.stage(file, occasion))
    }

    fn stage(&self, file: &HostFile, occasion: Occasion) -> Result<(), PrepareError> {
        let staged = self.preparation.staged_file(&self.host.paths, file);
        if occasion == Occasion::Start && Path::new(&staged).exists() {
            return Ok(());
        }
        let (mode, content) = read_source(file, &self.preparation.owner)?;
        write_private(&staged, &content, mode, self.user)
    }

    /// The files of our own that are mounted: the list of identities, users, git's configuration, the agent's.
    fn write_channel_files(&self, mounted: &[Mounted]) -> Result<(), PrepareError> {
        let directory = self.host.paths.channel(&self.preparation.channel);
        let git = GitIdentity::of(&self.preparation.owner);
        let config = git.config(layout::GITIGNORE, &self.preparation.workspace.path);
        let list = self.preparation.mounts_file(&self.host.paths);
        let identity = |found: &Mounted| mounts::Identity {
            target: found.target.clone(),
            device: found.device,
            inode: found.inode,
        };
        let verified = mounted.iter().filter(|_| self.preparation.verify_mounts);
        let identities: Vec<mounts::Identity> = verified.map(identity).collect();
        // The channel's shell and its runs are prepared side by side.
        let _lock = locked(self.host, &self.preparation.channel)?;
        for (path, content) in [
            (list, mounts::encode(&identities).into_bytes()),
            (format!("{directory}/passwd"), users::passwd(self.preparation).into_bytes()),
            (format!("{directory}/group"), users::group(self.preparation).into_bytes()),
            (format!("{directory}/gitconfig"), config.into_bytes()),
            (format!("{directory}/gitignore"), git.ignore),
        ] {
            write_private(&path, &content, 0o444, operator())?;
        }
        if self.preparation.run.is_none() {
            let given: Vec<Mounted> =
                mounted.iter().cloned().chain(self.secrets_directory()).collect();
            let channel = &self.preparation.channel;
            let (path, content) = mounted::record(&self.host.paths, channel, &given);
            write_private(&path, &content, 0o400, operator())?;
        }
        if self.preparation.signs_in_by_key {
            let key = format!("{}/{}", layout::SECRETS, layout::API_KEY_FILE);
            let settings = credentials::managed_settings(&key);
            let path = format!("{directory}/managed-settings.json");
            write_private(&path, settings.as_bytes(), 0o444, operator())?;
        }
        Ok(())
    }

    fn grant_volumes(&self) -> Result<Vec<VolumeGrant>, PrepareError> {
        let failed =
            |cause| io_failed("archive the volumes of", self.preparation.channel.as_str(), cause);
        let grant = |volume: &String| {
            let archive = archive::of_ownership(GIVEN_AT, self.user).map_err(failed)?;
            Ok(VolumeGrant { volume: volume.clone(), owner: self.user, archive })
        };
        self.preparation.volumes.iter().map(grant).collect()
    }
}

/// Makes the mount point `relative` beneath `base` when nothing is there.
fn make_mount_point(
    base: &OwnedFd,
    relative: &Path,
    is_file: bool,
    owner: Ids,
) -> Result<(), WalkError> {
    if !is_file {
        return beneath::make_directories(base, relative, 0o755, owner).map(drop);
    }
    let (Some(parent), Some(name)) = (relative.parent(), relative.file_name()) else {
        return Ok(());
    };
    let parent = beneath::make_directories(base, parent, 0o755, owner)?;
    beneath::touch(&parent, Path::new(name), owner)
}

/// Gives the root of a volume to its user on this host, where the operator is root.
///
/// The path is the engine's word, and a driver may leave it empty. No volume lies at `/` or right beneath it: what does is
/// the host's own, and is not given away.
pub fn give_volume(mountpoint: &str, (uid, gid): Ids) -> Result<(), PrepareError> {
    let path = Path::new(mountpoint);
    let names = path.components().filter(|part| matches!(part, Component::Normal(_))).count();
    if !path.is_absolute() || names < 2 {
        let cause = io::Error::new(io::ErrorKind::InvalidInput, "no volume's directory is there");
        return Err(io_failed("give away the volume", mountpoint, cause));
    }
    let directory = beneath::directory(path)
        .map_err(|error| walk_failed("open the volume", mountpoint, error))?;
    fchown(directory, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
        .map_err(|cause| io_failed("give away the volume", mountpoint, cause.into()))
}

/// Puts the init that came with this operator where containers mount it from, unless it is there: same length, same
/// time of change, which the copy takes over. Running containers keep the one that they have. The operator does so once at its start, before channels that are prepared
/// side by side could get in each other's way; before a container is made it is only looked whether it is still there.
pub fn install_init(host: &Host) -> Result<(), PrepareError> {
    let (path, source) = (host.paths.init(), host.init_source.display().to_string());
    let failed = |cause| io_failed("read the init from", &source, cause);
    let wanted = std::fs::metadata(&host.init_source).map_err(failed)?;
    let changed = wanted.modified().map_err(failed)?;
    let is_there = std::fs::metadata(&path).is_ok_and(|found| {
        found.len() == wanted.len() && found.modified().is_ok_and(|time| time == changed)
    });
    if is_there {
        return Ok(());
    }
    let content = File::open(&host.init_source).map_err(failed)?;
    let directory = private_directory(&format!("{}/bin", host.paths.state))?;
    beneath::replace_file(&directory, "chanop-init", content, 0o555, operator())
        .map_err(|cause| io_failed("install the init as", &path, cause))?;
    File::open(&path)
        .and_then(|file| file.set_modified(changed))
        .map_err(|cause| io_failed("install the init as", &path, cause))
}

/// Reads a file to copy, as the owner could: the policy judged its path, and nothing may have moved since.
fn read_source(file: &HostFile, owner: &Owner) -> Result<(u32, Vec<u8>), PrepareError> {
    let path = Path::new(&file.source);
    let (stat, content) = beneath::read_path_as((owner.uid, owner.gid), path, MAX_FILE_BYTES)
        .map_err(|error| match error {
            WalkError::Missing => PrepareError::MountMissing(file.source.clone()),
            other => walk_failed("read", &file.source, other),
        })?;
    let too_long = || PrepareError::TooLong { path: file.source.clone(), bytes: MAX_FILE_BYTES };
    let content = content.ok_or_else(too_long)?;
    Ok((stat.st_mode & 0o777, content))
}

/// Writes a file of the operator's own directories, unless it is as it should be: what is mounted keeps its inode.
fn write_private(path: &str, content: &[u8], mode: u32, owner: Ids) -> Result<(), PrepareError> {
    let path = Path::new(path);
    let shown = path.display().to_string();
    let (Some(parent), Some(name)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
    else {
        return Err(io_failed("write", &shown, io::ErrorKind::InvalidInput.into()));
    };
    let directory = private_directory(&parent.display().to_string())?;
    let bound = u64::try_from(content.len()).unwrap_or(u64::MAX);
    if let Ok((stat, Some(found))) = beneath::read_file(&directory, Path::new(name), bound) {
        let same = (stat.st_uid, stat.st_gid) == owner && stat.st_mode & 0o7777 == mode;
        if same && found == content {
            return Ok(());
        }
    }
    beneath::replace_file(&directory, name, content, mode, owner)
        .map_err(|cause| io_failed("write", &shown, cause))
}

/// Nobody else prepares for the channel while this lives: a new file has one name until it is renamed. The operator's own
/// directory is locked, which no container can open.
pub(super) fn locked(host: &Host, channel: &ResourceName) -> Result<OwnedFd, PrepareError> {
    let path = host.paths.channel(channel);
    let directory = private_directory(&path)?;
    flock(&directory, FlockOperation::LockExclusive)
        .map_err(|errno| io_failed("lock", &path, errno.into()))?;
    Ok(directory)
}

/// A directory of the operator's, 0700 where it is made. Its path may hold links above: it is the administrator's choice.
pub(super) fn private_directory(path: &str) -> Result<OwnedFd, PrepareError> {
    use std::os::unix::fs::DirBuilderExt as _;
    let open = || -> io::Result<OwnedFd> {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path)?;
        Ok(beneath::directory(&Path::new(path).canonicalize()?)?)
    };
    open().map_err(|cause| io_failed("make directory", path, cause))
}

fn operator() -> Ids {
    (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw())
}

pub(super) fn walk_failed(doing: &'static str, path: &str, error: WalkError) -> PrepareError {
    match error {
        WalkError::NotReal => PrepareError::NotReal(path.to_owned()),
        other => io_failed(doing, path, other.into()),
    }
}

pub(super) fn io_failed(doing: &'static str, path: &str, cause: io::Error) -> PrepareError {
    PrepareError::Io { doing, path: path.to_owned(), cause }
}
