//! What of a channel's home the CLI cannot do without, looked at before an attempt.
//!
//! The home is the agent's to write in: names are opened beneath a handle of the home, no link is followed, and what is read has a
//! bound. A damaged file is renamed within the home and never removed: a person may want what is in it.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::fs::{
    AtFlags, FileType, RenameFlags, Stat, StatVfsMountFlags, fstat, fstatvfs, renameat_with, statat,
};
use rustix::io::Errno;
use serde_json::{Map, Value as Json};

use super::Host;
use super::beneath::{self, WalkError};
use super::prepare::{PrepareError, io_failed, locked, walk_failed};
use crate::claude::first_start;
use crate::resource::effective::Home;
use crate::world::preparation::Preparation;

/// The CLI keeps its history in the file as well; after a year of use it had some megabytes.
const STATE_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Damaged files that are kept; the last one is replaced.
const KEPT_MAX: u32 = 5;
/// A CLI that writes the file at this moment has written it by then.
const SECOND_LOOK_DELAY: Duration = Duration::from_millis(250);
/// Where the CLI keeps sessions.
const CONFIG: &str = ".claude";

/// Checks the channel's home before an attempt; answers a sentence for each file that was moved aside. Blocks on the file system.
pub(super) fn check(preparation: &Preparation, host: &Host) -> Result<Vec<String>, PrepareError> {
    if preparation.home != Home::Channel {
        return Ok(Vec::new());
    }
    let path = host.paths.home(&preparation.channel);
    let home =
        beneath::directory(Path::new(&path)).map_err(|error| walk_failed("open", &path, error))?;
    must_be_writable(preparation, &home, &path)?;
    let _lock = locked(host, &preparation.channel)?;
    let moved = move_damaged_aside(&home)
        .map_err(|errno| io_failed("move the damaged file aside in", &path, errno.into()))?;
    Ok(moved.into_iter().collect())
}

/// Without it a run succeeds, and silently leaves no session.
fn must_be_writable(
    preparation: &Preparation,
    home: &OwnedFd,
    path: &str,
) -> Result<(), PrepareError> {
    let failed = |errno: Errno| io_failed("look at", path, errno.into());
    if fstatvfs(home).map_err(failed)?.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Err(PrepareError::HomeReadOnly(path.to_owned()));
    }
    let config = format!("{path}/{CONFIG}");
    let user = (preparation.user.uid, preparation.user.gid);
    match beneath::open_directories(home, Path::new(CONFIG)) {
        Ok(directory) => {
            let stat = fstat(&directory).map_err(failed)?;
            if preparation.user.of_image || can_write(&stat, user) {
                Ok(())
            } else {
                Err(PrepareError::NotWritable { path: config, uid: user.0 })
            }
        }
        // The CLI makes it; a link is the owner's affair.
        Err(WalkError::Missing | WalkError::NotReal) => Ok(()),
        Err(error) => Err(walk_failed("open", &config, error)),
    }
}

fn can_write(stat: &Stat, (uid, gid): (u32, u32)) -> bool {
    let shift = match (stat.st_uid == uid, stat.st_gid == gid) {
        _ if uid == 0 => return true,
        (true, _) => 6,
        (false, true) => 3,
        (false, false) => 0,
    };
    (stat.st_mode >> shift) & 0o3 == 0o3
}

/// Renames `~/.claude.json` when it is not a JSON object: every run would fail at it. A sentence when it did.
pub(super) fn move_damaged_aside(home: &OwnedFd) -> Result<Option<String>, Errno> {
    let Some(first) = damaged(home)? else { return Ok(None) };
    std::thread::sleep(SECOND_LOOK_DELAY);
    let Some(second) = damaged(home)? else { return Ok(None) };
    let identity = |it: &Stat| (it.st_dev, it.st_ino, it.st_size, it.st_mtime, it.st_mtime_nsec);
    if identity(&first) != identity(&second) {
        return Ok(None);
    }
    let home = home.as_fd();
    for number in 1..=KEPT_MAX {
        let name = format!("{}.damaged-{number}", first_start::FILE);
        let last = number == KEPT_MAX;
        let flags = if last { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        match renameat_with(home, first_start::FILE, home, &name, flags) {
            Ok(()) => {
                let file = first_start::FILE;
                return Ok(Some(format!("~/{file} was not a JSON object: moved to ~/{name}")));
            }
            Err(Errno::EXIST) if !last => {}
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        }
    }
    Ok(None)
}

/// The file's identity, when it is there and not a JSON object. A link is left alone: where it leads is not looked at.
fn damaged(home: &OwnedFd) -> Result<Option<Stat>, Errno> {
    let name = Path::new(first_start::FILE);
    let stat = match statat(home, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => stat,
        Err(Errno::NOENT) => return Ok(None),
        Err(errno) => return Err(errno),
    };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => {}
        FileType::Symlink => return Ok(None),
        _ => return Ok(Some(stat)),
    }
    match beneath::read_file(home, name, STATE_BYTES_MAX) {
        Ok((stat, Some(bytes))) => {
            let object = serde_json::from_slice::<Map<String, Json>>(&bytes).is_ok();
            Ok((!object).then_some(stat))
        }
        // Too long to be judged; or it changes at this moment; or only the container's user can read it.
        Ok((_, None)) | Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(dir: &Path) -> OwnedFd {
        beneath::directory(&dir.canonicalize().unwrap()).unwrap()
    }

    fn moved(text: &[u8]) -> (tempfile::TempDir, Option<String>) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(first_start::FILE), text).unwrap();
        let note = move_damaged_aside(&home(dir.path())).unwrap();
        (dir, note)
    }

    #[test]
    fn damaged_state_is_moved_aside_and_kept() {
        for text in [&b""[..], b"{\"a\":", b"[]", b"null", b"\0\0\0"] {
            let (dir, note) = moved(text);
            let note = note.unwrap();
            assert!(note.ends_with("moved to ~/.claude.json.damaged-1"), "{note}");
            assert!(!dir.path().join(first_start::FILE).exists());
            let kept = std::fs::read(dir.path().join(".claude.json.damaged-1")).unwrap();
            assert_eq!(kept, text);
        }
    }

    #[test]
    fn sound_or_missing_state_is_left_alone() {
        let (dir, note) = moved(b" {\"a\": 1}\n");
        assert_eq!(note, None);
        assert!(dir.path().join(first_start::FILE).exists());
        let empty = tempfile::tempdir().unwrap();
        assert_eq!(move_damaged_aside(&home(empty.path())).unwrap(), None);
    }

    #[test]
    fn link_to_damaged_state_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join(first_start::FILE)).unwrap();
        assert_eq!(move_damaged_aside(&home(dir.path())).unwrap(), None);
        assert!(outside.path().exists());
    }

    #[test]
    fn number_of_kept_damaged_files_is_bounded() {
        let dir = tempfile::tempdir().unwrap();
        for number in 0..KEPT_MAX + 2 {
            std::fs::write(dir.path().join(first_start::FILE), format!("no {number}")).unwrap();
            assert!(move_damaged_aside(&home(dir.path())).unwrap().is_some());
        }
        let count = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(count, KEPT_MAX as usize);
    }

    #[test]
    fn directory_is_writable_by_owner_group_or_others() {
        let dir = tempfile::tempdir().unwrap();
        let mut stat = fstat(home(dir.path())).unwrap();
        (stat.st_uid, stat.st_gid) = (1_000, 100);
        for (mode, user, can) in [
            (0o700, (1_000, 1_000), true),
            (0o500, (1_000, 1_000), false),
            (0o570, (1_000, 100), false),
            (0o770, (1_001, 100), true),
            (0o755, (1_001, 1_001), false),
            (0o000, (0, 0), true),
        ] {
            stat.st_mode = mode;
            assert_eq!(can_write(&stat, user), can, "{mode:o} {user:?}");
        }
    }
}
