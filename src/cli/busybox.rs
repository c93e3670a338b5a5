//! A static busybox: the tools of an image that is made from nothing.
//!
//! Named by the caller, found on the host, or taken out of Debian's package without installing it. A file that was merely
//! named is read and never run.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use super::elf::{Elf, NotElf};
use super::layer::Layer;
use super::work_dir::WorkDir;

/// Where hosts keep a busybox; only Debian's and Alpine's are looked for, and only a static one is taken.
const HOST_BUSYBOX: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"];
/// A busybox has one to two MB; what is larger is none.
const BUSYBOX_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no busybox.
#[derive(Debug, thiserror::Error)]
pub enum BusyboxError {
    /// The file named by the caller will not do.
    #[error("{path}: {reason}")]
    Unusable {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: Unfit,
    },
    /// None was named, none was found, and the package could not be had.
    #[error(
        "no static busybox found, and Debian's package could not be had ({0}); install busybox-static, or name a file with --busybox"
    )]
    None(String),
    /// It is for another processor than the engine's.
    #[error("busybox is for {busybox}, the engine's host is {engine}; name another with --busybox")]
    Architecture {
        /// What the program is for.
        busybox: &'static str,
        /// What the engine says.
        engine: String,
    },
    /// The program that looks for it stopped half-way.
    #[error("interrupted while looking for a busybox")]
    Interrupted,
}

/// Why a file is not the busybox that is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(String),
    /// It is no program for Linux.
    #[error("no ELF program")]
    NotElf,
    /// It needs libraries, which the image does not have.
    #[error("dynamically linked; a static one is needed")]
    Dynamic,
    /// It is a program, but not busybox with a shell.
    #[error("no busybox: it has no table of applets with `sh`")]
    NoApplets,
}

/// A busybox that will do.
#[derive(Debug)]
pub(super) struct Busybox {
    /// Where it came from, for people.
    pub(super) origin: String,
    /// Its names.
    pub(super) applets: Vec<String>,
    program: Vec<u8>,
    architecture: &'static str,
}

impl Busybox {
    /// One for the engine's processor: `named`, or whatever can be found.
    pub(super) async fn find(
        named: Option<PathBuf>,
        engine_architecture: &str,
    ) -> Result<Self, BusyboxError> {
        let busybox = find(named).await?;
        if busybox.architecture == engine_architecture {
            return Ok(busybox);
        }
        Err(BusyboxError::Architecture {
            busybox: busybox.architecture,
            engine: engine_architecture.to_owned(),
        })
    }

    /// Puts it into `directory` with a link for each of its names; a name that `taken` knows is another program's.
    pub(super) fn put(&self, layer: &mut Layer, directory: &str, taken: impl Fn(&str) -> bool) {
        layer.bytes(&format!("{directory}/busybox"), 0o755, self.program.as_slice());
        for applet in self.applets.iter().filter(|name| *name != "busybox" && !taken(name)) {
            layer.link(&format!("{directory}/{applet}"), "busybox");
        }
    }
}

async fn find(named: Option<PathBuf>) -> Result<Busybox, BusyboxError> {
    // Files and, at worst, a package manager: nothing for the threads that drive the sockets.
    tokio::task::spawn_blocking(move || match named {
        Some(path) => load(&path).map_err(|reason| BusyboxError::Unusable { path, reason }),
        None => HOST_BUSYBOX
            .iter()
            .find_map(|path| load(Path::new(path)).ok())
            .map_or_else(from_package, Ok),
    })
    .await
    .map_err(|_cancelled| BusyboxError::Interrupted)?
}

fn load(path: &Path) -> Result<Busybox, Unfit> {
    let unreadable = |error: io::Error| Unfit::Unreadable(error.to_string());
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut program = Vec::new();
    file.take(BUSYBOX_MAX_BYTES).read_to_end(&mut program).map_err(unreadable)?;
    examine(path.display().to_string(), program)
}

fn examine(origin: String, program: Vec<u8>) -> Result<Busybox, Unfit> {
    let architecture = static_elf(&program)?;
    let applets = applets(&program).ok_or(Unfit::NoApplets)?;
    Ok(Busybox { origin, applets, program, architecture })
}

/// The processor that a statically linked program is for, in `uname -m`'s word.
pub(super) fn static_elf(program: &[u8]) -> Result<&'static str, Unfit> {
    match Elf::of_bytes(program) {
        Ok(Elf { architecture, interpreter: None, needed: _ }) => Ok(architecture),
        Ok(_) => Err(Unfit::Dynamic),
        Err(NotElf) => Err(Unfit::NotElf),
    }
}

/// The applets of a busybox, from the table in the program itself: names that end in NUL, in order, an empty one last.
/// Read and not asked for, because a file that was merely named is not run on the host.
fn applets(program: &[u8]) -> Option<Vec<String>> {
    const TABLE: &[u8] = b"\0[\0[[\0";
    let start = program.windows(TABLE.len()).position(|window| window == TABLE)? + 1;
    let table = program.get(start..)?;
    let table = table.get(..table.windows(2).position(|window| window == b"\0\0")?)?;
    let sound = |b: &u8| b.is_ascii_alphanumeric() || b"[-_.".contains(b);
    let names: Option<Vec<String>> = table
        .split(|byte| *byte == 0)
        .map(|name| {
            let valid = name.len() <= 32 && name.iter().all(sound);
            valid.then(|| String::from_utf8_lossy(name).into_owned())
        })
        .collect();
    names.filter(|names| names.iter().any(|name| name == "sh"))
}

/// busybox-static as Debian and Ubuntu pack it, unpacked in memory and not installed.
fn from_package() -> Result<Busybox, BusyboxError> {
    let missing = |reason: String| BusyboxError::None(reason);
    let work = WorkDir::new("busybox")
        .map_err(|error| missing(format!("no temporary directory: {error}")))?;
    if let Err(first) = host("apt-get", &["download", "-qq", "busybox-static"], work.path()) {
        // A fresh machine has no package lists yet; fetching them takes root.
        host("apt-get", &["update", "-qq"], work.path()).map_err(|_not_root| missing(first))?;
        host("apt-get", &["download", "-qq", "busybox-static"], work.path()).map_err(missing)?;
    }
    let package = std::fs::read_dir(work.path())
        .ok()
        .and_then(|entries| {
            entries.flatten().find(|entry| entry.path().extension().is_some_and(|x| x == "deb"))
        })
        .ok_or_else(|| missing("apt-get left no package".to_owned()))?;
    let file = package.file_name().to_string_lossy().into_owned();
    let tar = host("dpkg-deb", &["--fsys-tarfile", &file], work.path()).map_err(missing)?;
    let program = member(&tar.stdout, Path::new("bin/busybox"))
        .map_err(|error| missing(format!("{file} cannot be read: {error}")))?
        .ok_or_else(|| missing(format!("{file} has no bin/busybox")))?;
    examine(file, program).map_err(|reason| missing(reason.to_string()))
}

/// A file in a tar archive, by the end of its path: `./bin/busybox` in one release, `./usr/bin/busybox` in the next.
fn member(archive: &[u8], path: &Path) -> io::Result<Option<Vec<u8>>> {
    for entry in tar::Archive::new(archive).entries()? {
        let entry = entry?;
        if entry.header().entry_type().is_file() && entry.path()?.ends_with(path) {
            let mut bytes = Vec::new();
            entry.take(BUSYBOX_MAX_BYTES).read_to_end(&mut bytes)?;
            return Ok(Some(bytes));
        }
    }
    Ok(None)
}

#[expect(
    clippy::disallowed_methods,
    reason = "Debian's package manager and unpacker know signatures and compression; no container can do this before there is an image"
)]
fn host(program: &str, arguments: &[&str], directory: &Path) -> Result<Output, String> {
    let output = Command::new(program)
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("{program}: {error}"))?;
    if output.status.success() {
        return Ok(output);
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no message");
    Err(format!("{program}: {}", super::printer::plain(last)))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// The least that passes for a static `x86_64` busybox: a header without program headers, and the table.
    pub(in super::super) fn busybox() -> Busybox {
        examine("test".to_owned(), program(false)).unwrap()
    }

    fn program(interpreted: bool) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01".to_vec();
        elf.resize(64, 0);
        elf[18] = 62;
        elf[32] = 64;
        elf[54] = 56;
        elf[56] = 1;
        elf.resize(64 + 56, 0);
        elf[64] = if interpreted { 3 } else { 1 };
        elf.extend(b"noise\0[\0[[\0ash\0cat\0sh\0\0rest\0");
        elf
    }

    #[test]
    fn the_applets_are_read_from_the_program_itself() {
        let busybox = examine("test".to_owned(), program(false)).unwrap();
        assert_eq!(busybox.applets, ["[", "[[", "ash", "cat", "sh"]);
        assert_eq!(busybox.architecture, "x86_64");
    }

    #[test]
    fn a_program_that_needs_libraries_is_refused() {
        assert_eq!(examine(String::new(), program(true)).unwrap_err(), Unfit::Dynamic);
        assert_eq!(examine(String::new(), b"#!/bin/sh\n".to_vec()).unwrap_err(), Unfit::NotElf);
    }

    #[test]
    fn a_program_cut_short_is_refused_and_never_read_past_its_end() {
        let whole = program(false);
        let whole = &whole[..whole.len() - b"\0rest\0".len()];
        for length in 0..whole.len() {
            assert!(examine(String::new(), whole[..length].to_vec()).is_err(), "{length}");
        }
    }

    #[test]
    fn a_table_without_a_shell_is_no_busybox() {
        assert_eq!(applets(b"\0[\0[[\0cat\0\0"), None);
        assert_eq!(applets(b"\0[\0[[\0../../etc/passwd\0sh\0\0"), None);
    }
}
