//! The agent's image from what this host has: for machines on which no registry can be asked.
//!
//! The CLI is no static program. Beside it, it needs its loader, some libraries and a bash; these are the host's own, copied,
//! and found by reading what the programs say of themselves: nothing is run. A static busybox gives the usual tools. The
//! libraries lie at the paths at which the host's loader looks by itself, because there is no cache of it in the image.
//!
//! The host's programs must be for the engine's processor; what is copied is the same on every call, so that the image is.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use super::busybox::Busybox;
use super::elf::{Elf, NotElf};
use super::layer::Layer;

/// Where a bash is; the agent's tool for commands takes no lesser shell.
const BASH: [&str; 2] = ["/bin/bash", "/usr/bin/bash"];
/// Certificates of Debian's kind and of Fedora's. The CLI has its own; other programs ask for these.
const CERTIFICATES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];
/// What glibc before 2.34 opens by itself to look up names; no program asks for it by name.
const NAME_SERVICES: [&str; 2] = ["libnss_files.so.2", "libnss_dns.so.2"];
/// The user of the image; any other one works too.
const USER: u64 = 1000;

/// Why this host cannot give what the image needs.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file is no program.
    #[error("{} is no program for 64-bit Linux", .0.display())]
    NoProgram(PathBuf),
    /// A program is for another processor.
    #[error("{} is for {program}, the engine's host is {engine}", path.display())]
    Architecture {
        /// The program.
        path: PathBuf,
        /// What it is for.
        program: &'static str,
        /// What the engine says.
        engine: String,
    },
    /// No bash on this host.
    #[error("this host has no /bin/bash, which the agent runs its commands with; install bash")]
    NoBash,
    /// A library is nowhere.
    #[error("{} needs {library}, which is in none of this host's usual directories", path.display())]
    NoLibrary {
        /// Who asks for it.
        path: PathBuf,
        /// Its name.
        library: String,
    },
}

/// The root file system with the CLI at `/usr/bin/claude`. Blocks.
///
/// `root` is the host's; tests have a smaller one.
pub(super) fn root_file_system(
    root: &Path,
    claude: &Path,
    busybox: &Busybox,
    architecture: &str,
) -> Result<Layer, HostError> {
    let mut host = Host { root, architecture, files: BTreeMap::new() };
    let opened = open(claude)?;
    let elf = host.examine(claude, &opened)?;
    host.files.insert("usr/bin/claude".to_owned(), opened);
    host.take_what_it_needs(claude, &elf)?;
    let bash = BASH.into_iter().find(|path| host.has(path)).ok_or(HostError::NoBash)?;
    host.take_program(bash, "usr/bin/bash")?;
    for name in NAME_SERVICES {
        if let Some(path) = host.find_library(name) {
            host.take_program(&path, &merged(&path))?;
        }
    }
    let mut layer = Layer::default();
    skeleton(&mut layer, host.files.keys().map(String::as_str));
    if let Some(path) = CERTIFICATES.into_iter().find(|path| host.has(path)) {
        host.files.insert("etc/ssl/certs/ca-certificates.crt".to_owned(), host.open(path)?);
    }
    let taken = |applet: &str| host.files.contains_key(&format!("usr/bin/{applet}"));
    busybox.put(&mut layer, "usr/bin", taken);
    for (path, file) in host.files {
        let mode = if path.starts_with("etc/") { 0o644 } else { 0o755 };
        layer
            .file(&path, mode, file)
            .map_err(|source| HostError::Unreadable { path: Path::new("/").join(&path), source })?;
    }
    Ok(layer)
}

struct Host<'a> {
    root: &'a Path,
    architecture: &'a str,
    /// What goes into the image: by the path there, so that the order is always the same.
    files: BTreeMap<String, File>,
}

impl Host<'_> {
    fn take_program(&mut self, path: &str, target: &str) -> Result<(), HostError> {
        if self.files.contains_key(target) {
            return Ok(());
        }
        let file = self.open(path)?;
        let elf = self.examine(Path::new(path), &file)?;
        self.files.insert(target.to_owned(), file);
        self.take_what_it_needs(Path::new(path), &elf)
    }

    /// Its loader and its libraries, and what those need.
    fn take_what_it_needs(&mut self, path: &Path, elf: &Elf) -> Result<(), HostError> {
        if let Some(loader) = &elf.interpreter {
            self.take_program(loader, &merged(loader))?;
        }
        for library in &elf.needed {
            let found = self.find_library(library).ok_or_else(|| HostError::NoLibrary {
                path: path.to_owned(),
                library: library.clone(),
            })?;
            // Ends: a library that is there already is not looked at again, and a host has finitely many.
            self.take_program(&found, &merged(&found))?;
        }
        Ok(())
    }

    /// In the directories that loaders know by themselves: Debian's, Fedora's, Alpine's.
    fn find_library(&self, name: &str) -> Option<String> {
        let machine = self.architecture;
        // A name with a path in it would be looked for elsewhere, and is nothing that a distribution's program has.
        let plain = !name.is_empty() && !name.contains('/');
        let directories = [
            format!("/lib/{machine}-linux-gnu"),
            format!("/usr/lib/{machine}-linux-gnu"),
            "/lib64".to_owned(),
            "/usr/lib64".to_owned(),
            "/lib".to_owned(),
            "/usr/lib".to_owned(),
        ];
        let mut paths = directories.iter().map(|directory| format!("{directory}/{name}"));
        paths.find(|path| plain && self.is_for_engine(path))
    }

    /// Hosts may keep libraries of other processors beside their own.
    fn is_for_engine(&self, path: &str) -> bool {
        let elf = self.open(path).ok().and_then(|file| Elf::of_file(&file).ok());
        elf.is_some_and(|elf| elf.architecture == self.architecture)
    }

    fn examine(&self, path: &Path, file: &File) -> Result<Elf, HostError> {
        let elf = Elf::of_file(file).map_err(|NotElf| HostError::NoProgram(path.to_owned()))?;
        if elf.architecture == self.architecture {
            return Ok(elf);
        }
        Err(HostError::Architecture {
            path: path.to_owned(),
            program: elf.architecture,
            engine: self.architecture.to_owned(),
        })
    }

    fn has(&self, path: &str) -> bool {
        self.at(path).is_file()
    }

    fn open(&self, path: &str) -> Result<File, HostError> {
        open(&self.at(path))
    }

    fn at(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }
}

fn open(path: &Path) -> Result<File, HostError> {
    File::open(path).map_err(|source| HostError::Unreadable { path: path.to_owned(), source })
}

/// Where a host's file lies in the image, whose `/bin`, `/lib` and `/lib64` are links into `/usr`.
fn merged(path: &str) -> String {
    let path = path.trim_start_matches('/');
    if path.starts_with("usr/") { path.to_owned() } else { format!("usr/{path}") }
}

/// Directories, links, and the few files that programs expect; `files` are what else there will be.
fn skeleton<'a>(layer: &mut Layer, files: impl Iterator<Item = &'a str>) {
    let mut directories: BTreeMap<String, (u32, u64)> = [
        ("dev", 0o755, 0),
        ("etc", 0o755, 0),
        ("etc/ssl", 0o755, 0),
        ("etc/ssl/certs", 0o755, 0),
        ("home", 0o755, 0),
        ("home/agent", 0o755, USER),
        ("proc", 0o755, 0),
        ("root", 0o700, 0),
        ("run", 0o755, 0),
        ("sys", 0o755, 0),
        ("tmp", 0o1777, 0),
        ("usr", 0o755, 0),
        ("usr/bin", 0o755, 0),
        ("usr/lib", 0o755, 0),
        ("usr/lib64", 0o755, 0),
        ("usr/local", 0o755, 0),
        ("usr/local/bin", 0o755, 0),
        ("var", 0o755, 0),
        ("var/tmp", 0o1777, 0),
    ]
    .map(|(path, mode, owner)| (path.to_owned(), (mode, owner)))
    .into();
    for file in files {
        for parent in Path::new(file).ancestors().skip(1).filter_map(Path::to_str) {
            if !parent.is_empty() {
                directories.entry(parent.to_owned()).or_insert((0o755, 0));
            }
        }
    }
    // A directory sorts before what is in it.
    for (path, (mode, owner)) in directories {
        layer.directory(&path, mode, owner);
    }
    for (path, target) in [
        ("bin", "usr/bin"),
        ("sbin", "usr/bin"),
        ("usr/sbin", "bin"),
        ("lib", "usr/lib"),
        ("lib64", "usr/lib64"),
    ] {
        layer.link(path, target);
    }
    for (path, text) in [
        (
            "etc/passwd",
            "root:x:0:0:root:/root:/bin/bash\nagent:x:1000:1000:agent:/home/agent:/bin/bash\n",
        ),
        ("etc/group", "root:x:0:\nagent:x:1000:\n"),
        (
            "etc/os-release",
            "ID=chanop-agent\nPRETTY_NAME=\"chanop agent image, from its host's files\"\n",
        ),
    ] {
        layer.bytes(path, 0o644, text);
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::cli::busybox::tests::busybox;
    use crate::cli::elf::tests::program;

    /// A host with a bash and the libraries named; each of those needs libc, which needs nothing but its loader.
    fn host(libraries: &[&str]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let write = |path: &str, bytes: &[u8]| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        };
        write("lib64/ld-linux-x86-64.so.2", &program("", &[]));
        write("bin/bash", &program("/lib64/ld-linux-x86-64.so.2", &["libtinfo.so.6", "libc.so.6"]));
        write("claude", &program("/lib64/ld-linux-x86-64.so.2", &["libm.so.6", "libc.so.6"]));
        for name in libraries {
            let needed: &[&str] =
                if *name == "libc.so.6" { &["ld-linux-x86-64.so.2"] } else { &["libc.so.6"] };
            write(&format!("usr/lib/x86_64-linux-gnu/{name}"), &program("", needed));
        }
        root
    }

    fn make(root: &Path, architecture: &str) -> Result<BTreeMap<String, String>, HostError> {
        let layer = root_file_system(root, &root.join("claude"), &busybox(), architecture)?;
        let mut bytes = Vec::new();
        layer.write(&mut bytes).unwrap();
        let mut archive = tar::Archive::new(bytes.as_slice());
        let entries = archive.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let what = match entry.link_name().unwrap() {
                Some(target) => format!("-> {}", target.display()),
                None => format!(
                    "{:o} {}",
                    entry.header().mode().unwrap(),
                    entry.header().uid().unwrap()
                ),
            };
            (entry.path().unwrap().display().to_string(), what)
        });
        Ok(entries.collect())
    }

    #[test]
    fn the_image_has_the_cli_a_bash_and_all_that_both_need() {
        let root = host(&["libc.so.6", "libm.so.6", "libtinfo.so.6", "libunused.so.1"]);
        let image = make(root.path(), "x86_64").unwrap();
        for path in [
            "usr/bin/claude",
            "usr/bin/bash",
            "usr/bin/busybox",
            "usr/lib64/ld-linux-x86-64.so.2",
            "usr/lib/x86_64-linux-gnu/libc.so.6",
            "usr/lib/x86_64-linux-gnu/libm.so.6",
            "usr/lib/x86_64-linux-gnu/libtinfo.so.6",
        ] {
            assert_eq!(image.get(path).map(String::as_str), Some("755 0"), "{path}");
        }
        assert_eq!(image["usr/bin/sh"], "-> busybox");
        assert_eq!((image["tmp"].as_str(), image["home/agent"].as_str()), ("1777 0", "755 1000"));
        assert!(!image.keys().any(|path| path.contains("unused")), "{image:?}");
        assert_eq!(image["lib64"], "-> usr/lib64");
    }

    #[test]
    fn a_library_that_is_nowhere_is_named_with_who_needs_it() {
        let root = host(&["libc.so.6", "libm.so.6"]);
        let error = make(root.path(), "x86_64").unwrap_err().to_string();
        assert!(error.starts_with("/bin/bash needs libtinfo.so.6"), "{error}");
    }

    #[test]
    fn a_cli_for_another_processor_or_none_at_all_is_refused() {
        let root = host(&["libc.so.6", "libm.so.6", "libtinfo.so.6"]);
        let error = make(root.path(), "aarch64").unwrap_err().to_string();
        assert!(error.ends_with("claude is for x86_64, the engine's host is aarch64"), "{error}");
        fs::write(root.path().join("claude"), "#!/usr/bin/env node\n").unwrap();
        assert!(matches!(make(root.path(), "x86_64"), Err(HostError::NoProgram(_))));
        fs::remove_file(root.path().join("bin/bash")).unwrap();
        fs::write(root.path().join("claude"), program("", &[])).unwrap();
        assert!(matches!(make(root.path(), "x86_64"), Err(HostError::NoBash)));
    }
}
