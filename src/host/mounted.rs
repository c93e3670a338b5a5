//! Which directories and files a shell was given, kept beside its other files, so that a later replacement is noticed.
//!
//! The record is written when the host is prepared for the shell, right before the engine mounts, and init inside compares the same
//! identities before anything runs: a shell that runs has what the record says. `/proc/PID/root` would say the same, but only to an
//! operator with the container's uid and its PID namespace, so it is not used. Runs write no record of their own.
//!
//! Across a reboot device numbers change, but no shell outlasts one, and each start writes the record anew. Whether a source was on another
//! file system than the owner's home does not depend on these numbers: an empty directory on the home's file system, where there was another
//! one at the last start, is the mount point of a disk that is not mounted.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::beneath::{self, WalkError};
use crate::resource::ResourceName;
use crate::world::mounted::{MountChange, MountChangeKind};
use crate::world::preparation::HostPaths;

/// In the channel's directory.
const RECORD: &str = "mounted.json";
/// A hundred mounts with the longest paths are less.
const MAX_BYTES: u64 = 1024 * 1024;

/// One mount that the shell was given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Mounted {
    pub(super) source: String,
    pub(super) target: String,
    pub(super) device: u64,
    pub(super) inode: u64,
    /// Is it on another file system than the owner's home?
    pub(super) off_home: bool,
    /// The operator's own, which each start makes when it is missing.
    pub(super) own: bool,
}

/// The record's path and content.
pub(super) fn record(
    paths: &HostPaths,
    channel: &ResourceName,
    mounts: &[Mounted],
) -> (String, Vec<u8>) {
    let content = serde_json::to_vec(mounts).unwrap_or_default();
    (path_of(paths, channel), content)
}

fn path_of(paths: &HostPaths, channel: &ResourceName) -> String {
    format!("{}/{RECORD}", paths.channel(channel))
}

/// What the channel's shell was last given; nothing when no shell was prepared, or by a version that wrote no record.
pub(super) fn last_given(paths: &HostPaths, channel: &ResourceName) -> Vec<Mounted> {
    let path = path_of(paths, channel);
    let Ok(path) = Path::new(&path).canonicalize() else { return Vec::new() };
    let Ok((_, Some(content))) = beneath::read_path(&path, MAX_BYTES) else { return Vec::new() };
    serde_json::from_slice(&content).unwrap_or_default()
}

/// The device of the owner's home; `None` when it cannot be looked at, and then no file system is another one.
pub(super) fn home_device(home: &str) -> Option<u64> {
    std::fs::metadata(home).ok().map(|found| found.dev())
}

/// Is `source`, as it is now on `device`, the empty mount point of a disk that it was on when the shell was last started?
pub(super) fn is_unmounted(
    given: &[Mounted],
    source: &str,
    device: u64,
    home: Option<u64>,
) -> bool {
    let was_off_home = given.iter().any(|mounted| mounted.source == source && mounted.off_home);
    was_off_home && home == Some(device) && is_empty_directory(source)
}

fn is_empty_directory(path: &str) -> bool {
    let Ok(directory) = beneath::directory(Path::new(path)) else { return false };
    let Ok(mut entries) = rustix::fs::Dir::read_from(&directory) else { return false };
    entries
        .all(|entry| entry.is_ok_and(|entry| matches!(entry.file_name().to_bytes(), b"." | b"..")))
}

/// For each channel, how the host differs from what its running shell has mounted. Blocks on the file system, and on a dead network
/// mount for as long as the kernel does.
pub fn mount_changes<'a>(
    paths: &HostPaths,
    home: &str,
    channels: impl IntoIterator<Item = &'a ResourceName>,
) -> BTreeMap<ResourceName, Vec<MountChange>> {
    let home = home_device(home);
    let changes = |channel: &ResourceName| {
        let given = last_given(paths, channel);
        let mut changes: Vec<MountChange> = given
            .iter()
            .filter_map(|mounted| {
                let kind = change_of(mounted, home)?;
                let Mounted { source, target, .. } = mounted;
                Some(MountChange { source: source.clone(), target: target.clone(), kind })
            })
            .collect();
        changes.sort();
        changes
    };
    channels.into_iter().map(|channel| (channel.clone(), changes(channel))).collect()
}

fn change_of(mounted: &Mounted, home: Option<u64>) -> Option<MountChangeKind> {
    let stat = match beneath::look(Path::new(&mounted.source)) {
        Ok((_handle, stat)) => stat,
        Err(WalkError::Missing) if mounted.own => return Some(MountChangeKind::Replaced),
        Err(WalkError::Missing) => return Some(MountChangeKind::Missing),
        // A link on the way is the policy's to judge; what cannot be looked at now says nothing.
        Err(WalkError::NotReal | WalkError::Io(_)) => return None,
    };
    if (stat.st_dev, stat.st_ino) == (mounted.device, mounted.inode) {
        return None;
    }
    let unmounted = mounted.off_home && stat.st_dev != mounted.device && home == Some(stat.st_dev);
    Some(if unmounted { MountChangeKind::Unmounted } else { MountChangeKind::Replaced })
}
