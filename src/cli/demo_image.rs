//! `chanop demo-image`: the quickstart's and the tests' image, made from nothing.
//!
//! One layer: a static busybox, a link for each of its applets, and the few files that programs expect. No registry is
//! asked, so it works offline wherever a static busybox can be had: named by the caller, found on the host, or taken out of
//! Debian's package without installing it. chanop's own init is not in it: the operator mounts that into every container.
//!
//! The same busybox gives the same bytes, and the image's label says which bytes those were: a second call does nothing.

use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::exit::Exit;
use super::printer::Printer;
use crate::container::ImageRef;
use crate::docker::{Engine, EngineError};
use crate::resource::text::hex;

/// The image's reference.
pub const DEMO_IMAGE: &str = "chanop-demo:latest";
/// The label that says whose image it is; its value is `1`.
pub const LABEL: &str = "dev.chanop.demo";
/// The label with the hash of the root file system.
const CONTENT_LABEL: &str = "dev.chanop.demo-content";

/// Where hosts keep a busybox; only Debian's and Alpine's are looked for, and only a static one is taken.
const HOST_BUSYBOX: [&str; 3] = ["/bin/busybox", "/usr/bin/busybox", "/bin/busybox.static"];
/// A busybox has one to two MB; what is larger is none.
const BUSYBOX_MAX_BYTES: u64 = 16 * 1024 * 1024;

/// Why there is no image.
#[derive(Debug, thiserror::Error)]
pub enum DemoImageError {
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
    NoBusybox(String),
    /// It is for another processor than the engine's.
    #[error("busybox is for {busybox}, the engine's host is {engine}; name another with --busybox")]
    Architecture {
        /// What the program is for.
        busybox: &'static str,
        /// What the engine says.
        engine: String,
    },
    /// The archive could not be written.
    #[error("failed to write the root file system's archive")]
    Archive(#[source] io::Error),
    /// The engine did not take it.
    #[error("failed to import {DEMO_IMAGE}")]
    Engine(#[from] EngineError),
    /// The program that makes it stopped half-way.
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
pub struct Busybox {
    /// Where it came from, for people.
    pub origin: String,
    program: Vec<u8>,
    applets: Vec<String>,
    architecture: &'static str,
}

/// Makes the image, or answers at once when the engine has it.
pub async fn run<E: Engine>(printer: Printer, engine: &E, busybox: Option<&Path>) -> Exit {
    match make(engine, busybox, |line| printer.err(line)).await {
        Ok(image) => {
            printer.out(image);
            Exit::Ok
        }
        Err(error) => {
            let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}"));
            printer.err(format!("error: {error}{}", cause.unwrap_or_default()));
            Exit::Error
        }
    }
}

/// Makes the image without a word.
pub async fn build<E: Engine>(
    engine: &E,
    busybox: Option<&Path>,
) -> Result<ImageRef, DemoImageError> {
    make(engine, busybox, |_line| ()).await
}

async fn make<E: Engine>(
    engine: &E,
    busybox: Option<&Path>,
    say: impl Fn(String),
) -> Result<ImageRef, DemoImageError> {
    let busybox = find(busybox.map(Path::to_path_buf)).await?;
    say(format!("busybox: {} ({} applets)", busybox.origin, busybox.applets.len()));
    let info = engine.info().await?;
    if info.architecture != busybox.architecture {
        return Err(DemoImageError::Architecture {
            busybox: busybox.architecture,
            engine: info.architecture,
        });
    }
    let archive = root_file_system(&busybox).map_err(DemoImageError::Archive)?;
    let content = hex(&Sha256::digest(&archive));
    let reference =
        ImageRef::parse(DEMO_IMAGE).map_err(|error| EngineError::Refused(error.to_string()))?;
    let have = engine.image(&reference).await?;
    if have.is_some_and(|image| image.labels.get(CONTENT_LABEL) == Some(&content)) {
        say(format!("{DEMO_IMAGE} is there already"));
        return Ok(reference);
    }
    say(format!("importing {DEMO_IMAGE}, {} kB", archive.len() / 1024));
    engine.image_import(Bytes::from(archive), &reference, &changes(&content)).await?;
    Ok(reference)
}

/// What the image says beside its files, in Dockerfile's words.
fn changes(content: &str) -> [String; 4] {
    [
        "ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned(),
        "WORKDIR /".to_owned(),
        "CMD [\"/bin/sh\"]".to_owned(),
        format!("LABEL {LABEL}=1 {CONTENT_LABEL}={content}"),
    ]
}

async fn find(named: Option<PathBuf>) -> Result<Busybox, DemoImageError> {
    // Files and, at worst, a package manager: nothing for the threads that drive the sockets.
    tokio::task::spawn_blocking(move || match named {
        Some(path) => load(&path).map_err(|reason| DemoImageError::Unusable { path, reason }),
        None => HOST_BUSYBOX
            .iter()
            .find_map(|path| load(Path::new(path)).ok())
            .map_or_else(from_package, Ok),
    })
    .await
    .map_err(|_cancelled| DemoImageError::Interrupted)?
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
    Ok(Busybox { origin, program, applets, architecture })
}

/// The processor that a statically linked program is for, in `uname -m`'s word.
pub(super) fn static_elf(program: &[u8]) -> Result<&'static str, Unfit> {
    // Only 64-bit little-endian ELF: what Docker's engines run on. Offsets as elf(5) has them.
    const PT_INTERP: u64 = 3;
    let number = |at: usize, bytes: usize| -> Option<u64> {
        let field = program.get(at..at.checked_add(bytes)?)?;
        Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    };
    if !program.starts_with(b"\x7fELF\x02\x01") {
        return Err(Unfit::NotElf);
    }
    let architecture = match number(18, 2).ok_or(Unfit::NotElf)? {
        62 => "x86_64",
        183 => "aarch64",
        243 => "riscv64",
        _ => return Err(Unfit::NotElf),
    };
    let header = |at, bytes| number(at, bytes).and_then(|n| usize::try_from(n).ok());
    let (Some(start), Some(size), Some(count)) = (header(32, 8), header(54, 2), header(56, 2))
    else {
        return Err(Unfit::NotElf);
    };
    for index in 0..count {
        let at = size.checked_mul(index).and_then(|offset| offset.checked_add(start));
        if at.and_then(|at| number(at, 4)).ok_or(Unfit::NotElf)? == PT_INTERP {
            return Err(Unfit::Dynamic);
        }
    }
    Ok(architecture)
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

/// The layer: the same for the same busybox, to the byte.
fn root_file_system(busybox: &Busybox) -> io::Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, mode) in [
        ("bin", 0o755),
        ("dev", 0o755),
        ("etc", 0o755),
        ("home", 0o755),
        ("proc", 0o755),
        ("root", 0o700),
        ("run", 0o755),
        ("sys", 0o755),
        ("tmp", 0o1777),
        ("usr", 0o755),
        ("usr/local", 0o755),
        ("usr/local/bin", 0o755),
        ("var", 0o755),
        ("var/tmp", 0o1777),
    ] {
        tar.append_data(&mut header(tar::EntryType::Directory, mode, 0), path, io::empty())?;
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\n"),
        ("etc/group", "root:x:0:\n"),
        ("etc/os-release", "ID=chanop-demo\nPRETTY_NAME=\"chanop demo image (busybox)\"\n"),
    ] {
        let mut entry = header(tar::EntryType::Regular, 0o644, text.len());
        tar.append_data(&mut entry, path, text.as_bytes())?;
    }
    let mut program = header(tar::EntryType::Regular, 0o755, busybox.program.len());
    tar.append_data(&mut program, "bin/busybox", busybox.program.as_slice())?;
    // Scripts say /usr/bin/env, and root's PATH has the sbin directories: all are the one directory.
    for (path, target) in [("sbin", "bin"), ("usr/bin", "../bin"), ("usr/sbin", "../bin")] {
        tar.append_link(&mut header(tar::EntryType::Symlink, 0o777, 0), path, target)?;
    }
    for applet in busybox.applets.iter().filter(|name| *name != "busybox") {
        let mut link = header(tar::EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()
}

fn header(kind: tar::EntryType, mode: u32, size: usize) -> tar::Header {
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header
}

/// busybox-static as Debian and Ubuntu pack it, unpacked in memory and not installed.
fn from_package() -> Result<Busybox, DemoImageError> {
    let missing = |reason: String| DemoImageError::NoBusybox(reason);
    let work =
        WorkDir::new().map_err(|error| missing(format!("no temporary directory: {error}")))?;
    if let Err(first) = host("apt-get", &["download", "-qq", "busybox-static"], &work.0) {
        // A fresh machine has no package lists yet; fetching them takes root.
        host("apt-get", &["update", "-qq"], &work.0).map_err(|_not_root| missing(first))?;
        host("apt-get", &["download", "-qq", "busybox-static"], &work.0).map_err(missing)?;
    }
    let package = std::fs::read_dir(&work.0)
        .ok()
        .and_then(|entries| {
            entries.flatten().find(|entry| entry.path().extension().is_some_and(|x| x == "deb"))
        })
        .ok_or_else(|| missing("apt-get left no package".to_owned()))?;
    let file = package.file_name().to_string_lossy().into_owned();
    let tar = host("dpkg-deb", &["--fsys-tarfile", &file], &work.0).map_err(missing)?;
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

/// A private directory that goes away again.
struct WorkDir(PathBuf);

impl WorkDir {
    fn new() -> io::Result<Self> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("chanop-demo-image-{}", uuid::Uuid::new_v4()));
        // `create` fails where something is already: nobody can have put a link there for us.
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for WorkDir {
    fn drop(&mut self) {
        let _left_for_the_system_to_clean = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The least that passes for a static `x86_64` busybox: a header without program headers, and the table.
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

    #[test]
    fn the_same_busybox_gives_the_same_bytes() {
        let busybox = examine("test".to_owned(), program(false)).unwrap();
        let archive = root_file_system(&busybox).unwrap();
        assert_eq!(archive, root_file_system(&busybox).unwrap());
        let found = member(&archive, Path::new("bin/busybox")).unwrap();
        assert_eq!(found.as_deref(), Some(busybox.program.as_slice()));
        let mut links: Vec<String> = Vec::new();
        for entry in tar::Archive::new(archive.as_slice()).entries().unwrap() {
            let entry = entry.unwrap();
            if entry.link_name().unwrap().is_some_and(|to| to == Path::new("busybox")) {
                links.push(entry.path().unwrap().display().to_string());
            }
        }
        assert_eq!(links, ["bin/[", "bin/[[", "bin/ash", "bin/cat", "bin/sh"]);
    }
}
