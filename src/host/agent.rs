//! What the agent needs on the host each time that it is started, beside what its container got: the newest secrets and
//! servers, answers to its first questions, the project's file, and which session was the last.
//!
//! Workspace and home are the agent's to write in. So each name is opened beneath the one before, no link is followed, what
//! is read has a bound, and what is written takes the place of a name and never goes through one.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, Dir, FileType, statat};
use uuid::Uuid;

use super::Host;
use super::beneath::{self, WalkError};
use super::home;
use super::prepare::{PrepareError, io_failed, locked, walk_failed};
use super::secret_files::{SecretFiles, SignIn};
use crate::claude::first_start;
use crate::resource::ResourceName;
use crate::resource::effective::{Effective, Home};
use crate::resource::project::{PROJECT_BYTES_MAX, PROJECT_FILE};
use crate::world::preparation::Preparation;

/// The CLI keeps its history in the same file as its answers; one that was used for a year had some megabytes.
const ANSWERS_BYTES_MAX: u64 = 16 * 1024 * 1024;
/// Directories that the agent worked in, and names in all of them: a home with more has no newest session.
const PROJECTS_MAX: usize = 1_000;
const SESSIONS_MAX: usize = 100_000;

/// What a start of the agent finds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentPlace {
    /// How it signs in, if it does.
    pub sign_in: Option<SignIn>,
    /// What could not be done and is no reason not to start, each in a sentence.
    pub notes: Vec<String>,
}

/// Reads `<workspace>/.chanop/project.yaml`; `None` when there is none. Blocks on the file system.
pub fn project_file(workspace: &str) -> Result<Option<Vec<u8>>, PrepareError> {
    let shown = format!("{workspace}/{PROJECT_FILE}");
    let most = u64::try_from(PROJECT_BYTES_MAX).unwrap_or(u64::MAX);
    let path = Path::new(PROJECT_FILE);
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Ok(None) };
    let read = || -> Result<Option<Vec<u8>>, WalkError> {
        let workspace = beneath::directory(Path::new(workspace))?;
        let directory = beneath::open_directories(&workspace, directory)?;
        beneath::read_file(&directory, Path::new(name), most).map(|(_, text)| text)
    };
    match read() {
        Ok(Some(bytes)) => Ok(Some(bytes)),
        Ok(None) => Err(PrepareError::TooLong { path: shown, bytes: most }),
        Err(WalkError::Missing) => Ok(None),
        Err(error) => Err(walk_failed("read", &shown, error)),
    }
}

/// Writes the channel's secrets and servers as they are now, and answers the CLI's first questions in the channel's home.
/// Blocks on the file system.
pub fn prepare_agent(
    preparation: &Preparation,
    effective: &Effective,
    host: &Host,
) -> Result<AgentPlace, PrepareError> {
    let secrets = SecretFiles::read(preparation, host)?;
    secrets.write(preparation, host)?;
    let notes = if preparation.home == Home::Channel {
        answer_first_questions(preparation, effective, host)?
    } else {
        Some(
            "the home goes with its container: the agent asks its first questions in each"
                .to_owned(),
        )
    };
    Ok(AgentPlace { sign_in: secrets.sign_in, notes: notes.into_iter().collect() })
}

/// Puts what is missing into `~/.claude.json`; a sentence when that file is better left alone.
fn answer_first_questions(
    preparation: &Preparation,
    effective: &Effective,
    host: &Host,
) -> Result<Option<String>, PrepareError> {
    let path = host.paths.home(&preparation.channel);
    let directory =
        beneath::directory(Path::new(&path)).map_err(|error| walk_failed("open", &path, error))?;
    let _lock = locked(host, &preparation.channel)?;
    let left_alone =
        |why: &str| Ok(Some(format!("~/{} {why}: it is left alone", first_start::FILE)));
    let moved = home::move_damaged_aside(&directory)
        .map_err(|errno| io_failed("move the damaged file aside in", &path, errno.into()))?;
    let found =
        match beneath::read_file(&directory, Path::new(first_start::FILE), ANSWERS_BYTES_MAX) {
            Ok((_, Some(bytes))) => Some(bytes),
            Ok((_, None)) => return left_alone("is longer than 16 MiB"),
            Err(WalkError::Missing) => None,
            Err(WalkError::NotReal) => return left_alone("is a link"),
            Err(WalkError::Io(cause)) => return left_alone(&format!("cannot be read ({cause})")),
        };
    let text = match first_start::answers(effective, found.as_deref()) {
        Ok(None) => return Ok(moved),
        Ok(Some(text)) => text,
        Err(_not_an_object) => return left_alone("is no JSON object"),
    };
    let user = (preparation.user.uid, preparation.user.gid);
    beneath::replace_file(&directory, first_start::FILE, text.as_bytes(), 0o600, user)
        .map_err(|cause| io_failed("write the agent's answers to", &path, cause))?;
    Ok(moved)
}

/// The session of the channel's home that was written to last; `None` when there is none. Blocks on the file system.
pub fn newest_session(host: &Host, channel: &ResourceName) -> Result<Option<Uuid>, PrepareError> {
    let path = host.paths.home(channel);
    let failed = |error| walk_failed("look for sessions in", &path, error);
    let projects = || -> Result<OwnedFd, WalkError> {
        let home = beneath::directory(Path::new(&path))?;
        beneath::open_directories(&home, Path::new(".claude/projects"))
    };
    let projects = match projects() {
        Ok(projects) => projects,
        Err(WalkError::Missing) => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    newest_in(&projects).map_err(|error| failed(WalkError::Io(error)))
}

fn newest_in(projects: &OwnedFd) -> io::Result<Option<Uuid>> {
    let too_many = || io::Error::other("there are too many names");
    let mut newest: Option<((i64, i64), Uuid)> = None;
    let mut seen = 0_usize;
    for (index, project) in names(projects)?.enumerate() {
        if index >= PROJECTS_MAX {
            return Err(too_many());
        }
        // A file, or a link: no project of the CLI's.
        let Ok(project) = beneath::open_directories(projects, Path::new(&project?)) else {
            continue;
        };
        for name in names(&project)? {
            seen += 1;
            if seen > SESSIONS_MAX {
                return Err(too_many());
            }
            let name = name?;
            // Subagents have files of other names.
            let Some(id) = name.strip_suffix(".jsonl").and_then(|id| Uuid::try_parse(id).ok())
            else {
                continue;
            };
            let Ok(stat) = statat(&project, name.as_str(), AtFlags::SYMLINK_NOFOLLOW) else {
                continue;
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile || stat.st_size == 0 {
                continue;
            }
            let written = (stat.st_mtime, i64::try_from(stat.st_mtime_nsec).unwrap_or_default());
            if newest.is_none_or(|(other, _)| written > other) {
                newest = Some((written, id));
            }
        }
    }
    Ok(newest.map(|(_, id)| id))
}

/// The names in a directory that are text; the CLI's are.
fn names(directory: &OwnedFd) -> io::Result<impl Iterator<Item = io::Result<String>>> {
    let entries = Dir::read_from(directory)?;
    Ok(entries.filter_map(|entry| match entry {
        Ok(entry) => entry
            .file_name()
            .to_str()
            .ok()
            .filter(|name| !matches!(*name, "." | ".."))
            .map(|name| Ok(name.to_owned())),
        Err(errno) => Some(Err(errno.into())),
    }))
}
