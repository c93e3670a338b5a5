//! An image made from nothing: a static busybox and its names. No registry is asked.
//!
//! All tests share one image. Each holds a lock on a file while it needs it, and the last one removes it: when the tests are
//! over nothing is left, and no test pulls the image away under another.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use chanop::container::ImageRef;
use chanop::docker::{Docker, Engine};
use rustix::fs::{FlockOperation, flock};
use tar::{Builder, EntryType, Header};

use super::engine::{TEST_LABEL, engine, in_own_runtime};

const REFERENCE: &str = "chanop-test-busybox:latest";

/// The programs that tests call by name.
const APPLETS: &[&str] = &[
    "sh", "sleep", "cat", "echo", "stty", "id", "mount", "ls", "stat", "test", "true", "false",
    "seq", "touch", "env", "pwd", "tty", "kill", "wc",
];

/// The image, kept on the engine while this lives.
pub(crate) struct BusyboxImage {
    reference: ImageRef,
    in_use: File,
}

impl BusyboxImage {
    /// The image; made when it is missing.
    pub(crate) async fn get(docker: &Docker) -> Self {
        let reference = ImageRef::parse(REFERENCE).unwrap();
        // First the right to use it: from here on nobody removes it. Then, one after the other, look and make.
        let in_use = File::create(scratch().join("image-in-use.lock")).unwrap();
        lock(&in_use, FlockOperation::LockShared).await;
        let making = File::create(scratch().join("image-making.lock")).unwrap();
        lock(&making, FlockOperation::LockExclusive).await;
        if docker.image(&reference).await.unwrap().is_none() {
            let changes = [
                format!("LABEL {TEST_LABEL}=1"),
                "ENV PATH=/bin".to_owned(),
                "CMD [\"/bin/sh\"]".to_owned(),
            ];
            docker.image_import(root(), &reference, &changes).await.unwrap();
        }
        Self { reference, in_use }
    }

    /// Its reference.
    pub(crate) fn reference(&self) -> &ImageRef {
        &self.reference
    }
}

impl Drop for BusyboxImage {
    fn drop(&mut self) {
        if flock(&self.in_use, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let reference = self.reference.clone();
            in_own_runtime(async move {
                let _ = engine().await.image_remove(&reference).await;
            });
        }
    }
}

/// Waits for a lock on a thread of its own: another test may be making the image.
async fn lock(file: &File, operation: FlockOperation) {
    let file = file.try_clone().unwrap();
    tokio::task::spawn_blocking(move || flock(file, operation)).await.unwrap().unwrap();
}

/// The root file system, as a tar archive.
pub(crate) fn root() -> Bytes {
    let busybox = fs::read(busybox()).unwrap();
    let mut archive = Builder::new(Vec::new());
    for (path, mode) in
        [("bin/", 0o755), ("etc/", 0o755), ("tmp/", 0o1777), ("root/", 0o700), ("proc/", 0o755)]
    {
        let mut header = header(EntryType::Directory, mode, 0);
        archive.append_data(&mut header, path, std::io::empty()).unwrap();
    }
    let passwd = "root:x:0:0::/root:/bin/sh\n";
    for (path, mode, content) in
        [("bin/busybox", 0o755, busybox.as_slice()), ("etc/passwd", 0o644, passwd.as_bytes())]
    {
        let mut header = header(EntryType::Regular, mode, content.len());
        archive.append_data(&mut header, path, content).unwrap();
    }
    for applet in APPLETS {
        let mut header = header(EntryType::Symlink, 0o777, 0);
        archive.append_link(&mut header, format!("bin/{applet}"), "busybox").unwrap();
    }
    Bytes::from(archive.into_inner().unwrap())
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

/// A busybox that needs no library: the host's, or Debian's package, unpacked without installing it.
fn busybox() -> PathBuf {
    let host = ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from);
    if let Some(found) = host.into_iter().find(|path| is_static(path)) {
        return found;
    }
    let unpacked = scratch().join("busybox-static");
    let found = ["bin/busybox", "usr/bin/busybox"].map(|path| unpacked.join(path));
    if !found.iter().any(|path| is_static(path)) {
        fs::create_dir_all(&unpacked).unwrap();
        run("apt-get", &["download", "busybox-static"], &unpacked);
        let packages = fs::read_dir(&unpacked).unwrap().map(|entry| entry.unwrap().path());
        let package =
            packages.filter(|path| path.extension().is_some_and(|end| end == "deb")).max();
        let package = package.expect("apt-get download left a package");
        run("dpkg-deb", &["-x", package.to_str().unwrap(), "."], &unpacked);
    }
    found.into_iter().find(|path| is_static(path)).expect("the package has a static busybox")
}

/// No loader's name within: good enough to tell Debian's two builds of busybox apart.
fn is_static(path: &Path) -> bool {
    let loader = b"/ld-";
    fs::read(path).is_ok_and(|bytes| {
        bytes.starts_with(b"\x7fELF")
            && !bytes
                .get(..4096)
                .unwrap_or(&bytes)
                .windows(loader.len())
                .any(|window| window == loader)
    })
}

fn run(program: &str, arguments: &[&str], directory: &Path) {
    #[expect(clippy::disallowed_methods, reason = "the package manager is no engine")]
    let mut command = std::process::Command::new(program);
    let output = command.args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| {
        panic!("no static busybox here, and {program} is missing: {error}")
    });
    assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Of this build's; cargo makes it.
fn scratch() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
}
