//! What one attempt of a run has on the host for itself: its prompt, what its init writes down, its copies of files.
//!
//! A directory of the operator's, which no container sees as a whole: single files in it are mounted. So all that an agent can
//! do to it is to write nonsense into the one file that its init writes too; what is read of that is bounded, and worth what it
//! says of this run alone. Made anew whenever the attempt's container is: there is no other container of that attempt then, or
//! its name would be taken. Gone with the container, and what a crash left goes when the operator starts.

use std::io;
use std::path::Path;

use super::prepare::{
    Host, Occasion, PrepareError, Prepared, io_failed, prepare, private_directory,
};
use super::{beneath, home};
use crate::init::attempt;
use crate::resource::ResourceName;
use crate::world::preparation::{ATTEMPT, HostPaths, PROMPT, Preparation, RunPlace};
use crate::world::run::ExitRecord;

/// Prepares the host for a new container of a run's attempt, whose command reads `stdin`. Blocks on the file system.
pub fn prepare_run(
    preparation: &Preparation,
    host: &Host,
    stdin: &[u8],
) -> Result<Prepared, PrepareError> {
    let Some(place) = &preparation.run else { return prepare(preparation, host, Occasion::Create) };
    remove_run_place(&host.paths, place)?;
    let mut prepared = prepare(preparation, host, Occasion::Create)?;
    prepared.notes = home::check(preparation, host)?;
    let path = host.paths.attempt(place);
    let user = (preparation.user.uid, preparation.user.gid);
    let directory = private_directory(&path)?;
    let failed = |cause| io_failed("write the run's files to", &path, cause);
    beneath::replace_file(&directory, PROMPT, stdin, 0o400, user).map_err(failed)?;
    // One that is there is left: should this be a call that was given up and hung until now, a container may have it already.
    beneath::touch(&directory, Path::new(ATTEMPT), user).map_err(|error| failed(error.into()))?;
    Ok(prepared)
}

/// Takes away what an attempt has, if anything; its container is gone, or there is none yet.
pub fn remove_run_place(paths: &HostPaths, place: &RunPlace) -> Result<(), PrepareError> {
    let path = paths.attempt(place);
    match std::fs::remove_dir_all(&path) {
        Ok(()) => {}
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(cause) => return Err(io_failed("remove", &path, cause)),
    }
    // The run's own, unless another attempt has something in it.
    if let Some(parent) = Path::new(&path).parent() {
        let _ = std::fs::remove_dir(parent);
    }
    Ok(())
}

/// Takes away what attempts have that nobody needs any more, all but those that `keep` says: for the operator's start, when a
/// crash may have come between a container's removal and this. Answers how many went.
pub fn sweep_run_places(
    paths: &HostPaths,
    keep: &dyn Fn(&RunPlace) -> bool,
) -> Result<usize, PrepareError> {
    let mut gone = 0;
    for channel in names(&format!("{}/channels", paths.state))? {
        for run in names(&paths.runs(&channel))? {
            for attempt in entries(&format!("{}/{run}", paths.runs(&channel)))? {
                let Ok(attempt) = attempt.parse() else { continue };
                let place = RunPlace { channel: channel.clone(), run: run.clone(), attempt };
                if !keep(&place) {
                    remove_run_place(paths, &place)?;
                    gone += 1;
                }
            }
        }
    }
    Ok(gone)
}

/// What the attempt's init wrote down about the end of its command. `None`: it never ran, has not ended, or was killed with
/// its command; or what stands there is nothing that an init writes. Blocks on the file system.
pub fn exit_record(
    paths: &HostPaths,
    channel: &ResourceName,
    run: &ResourceName,
    attempt: u32,
) -> Option<ExitRecord> {
    let place = RunPlace { channel: channel.clone(), run: run.clone(), attempt };
    last_record(&written_down(paths, &place)?)
}

/// Is the attempt's file of its init there, and nothing in it? Then its command was never started. Blocks on the file system.
pub fn is_unstarted(paths: &HostPaths, place: &RunPlace) -> bool {
    written_down(paths, place).is_some_and(|text| text.is_empty())
}

/// The end of what its init wrote down; `None` when that cannot be read.
fn written_down(paths: &HostPaths, place: &RunPlace) -> Option<Vec<u8>> {
    let path = Path::new(&paths.attempt(place)).canonicalize().ok()?;
    let directory = beneath::directory(&path).ok()?;
    beneath::read_tail(&directory, Path::new(ATTEMPT), attempt::TAIL_BYTES).ok()
}

pub(super) fn last_record(text: &[u8]) -> Option<ExitRecord> {
    let line = text.split(|byte| *byte == b'\n').rfind(|line| !line.trim_ascii().is_empty())?;
    let record: ExitRecord = serde_json::from_slice(line).ok()?;
    (0..=255).contains(&record.exit_code).then_some(record)
}

/// The names of objects that stand in a directory; none when it is not there.
fn names(path: &str) -> Result<Vec<ResourceName>, PrepareError> {
    let entries = entries(path)?.into_iter();
    Ok(entries.filter_map(|name| ResourceName::parse(&name).ok()).collect())
}

fn entries(path: &str) -> Result<Vec<String>, PrepareError> {
    let failed = |cause| io_failed("look for runs in", path, cause);
    let found = match std::fs::read_dir(path) {
        Ok(found) => found,
        Err(cause)
            if matches!(cause.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) =>
        {
            return Ok(Vec::new());
        }
        Err(cause) => return Err(failed(cause)),
    };
    let name = |entry: io::Result<std::fs::DirEntry>| entry.map(|entry| entry.file_name());
    let names = found.map(name).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    Ok(names.into_iter().filter_map(|name| name.into_string().ok()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDED: &str = r#"{"startedAt":"2026-11-27T03:00:00Z","finishedAt":"2026-11-27T03:00:01.5Z","exitCode":143}"#;

    #[test]
    fn the_last_line_is_what_counts() {
        let started = r#"{"startedAt":"2026-11-27T03:00:00Z"}"#;
        for text in [
            format!("{started}\n\n{ENDED}\n"),
            format!("{started}\n{{\"half\":\n{ENDED}\n\n"),
            format!("\u{0}\u{1}garbage\n{ENDED}"),
        ] {
            assert_eq!(last_record(text.as_bytes()).unwrap().exit_code, 143, "{text:?}");
        }
        for text in [
            String::new(),
            format!("{started}\n"),
            format!("{ENDED}\n{started}\n"),
            format!("{ENDED}\ngarbage"),
            ENDED.replace("143", "1430"),
            ENDED.replace("143", "-1"),
            ENDED.replace("2026-11-27T03:00:01.5Z", "soon"),
            ENDED[..60].to_owned(),
        ] {
            assert_eq!(last_record(text.as_bytes()), None, "{text:?}");
        }
    }
}
