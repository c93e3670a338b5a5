//! The control socket's place: a directory that only its owner, or one group, may enter.
//!
//! Whoever can open the socket may do everything, so the directory is judged before anything is bound. An existing one is
//! never opened up or closed by guess: one that others may enter (`/tmp`) is refused, not changed. A socket left by a dead
//! operator is replaced; one that somebody answers on is not.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener as StdListener, UnixStream as StdStream};
use std::path::{Path, PathBuf};

use tokio::net::UnixListener;

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another operator is there.
    #[error("another operator answers on {0}: stop it, or choose another --socket")]
    Answered(PathBuf),
    /// Not ours to use.
    #[error(
        "{directory} {problem}: the control socket needs a directory of its own that only you can enter, for instance {directory}/chanop"
    )]
    Directory {
        /// The directory.
        directory: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Something else has its name.
    #[error("{0} exists and is no socket")]
    NoSocket(PathBuf),
    /// The path has no directory.
    #[error("{0} is no path for a socket: give an absolute path in a directory of its own")]
    NoDirectory(PathBuf),
    /// The file system refused.
    #[error("failed to {what} {path}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
}

/// A socket in its place; taken away when dropped.
#[derive(Debug)]
pub struct Bound {
    path: PathBuf,
    inode: u64,
    listener: Option<UnixListener>,
}

impl Bound {
    /// Binds `path`, for the owner alone or for `group` too. Within a tokio runtime.
    pub fn new(path: &Path, group: Option<u32>) -> Result<Self, SocketError> {
        let directory = path
            .parent()
            .filter(|it| it.is_absolute() && path.file_name().is_some())
            .ok_or_else(|| SocketError::NoDirectory(path.to_owned()))?;
        prepare_directory(directory, group)?;
        clear_stale(path)?;

        let listener = StdListener::bind(path).map_err(failed("bind", path))?;
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        std::os::unix::fs::chown(path, None, group).map_err(failed("give a group to", path))?;
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("set the mode of", path))?;
        let inode = fs::symlink_metadata(path).map_err(failed("look at", path))?.ino();
        listener.set_nonblocking(true).map_err(failed("configure", path))?;
        let listener = UnixListener::from_std(listener).map_err(failed("listen on", path))?;
        Ok(Self { path: path.to_owned(), inode, listener: Some(listener) })
    }

    /// The listener, once: it goes into a [`Door`](super::Door).
    pub const fn take(&mut self) -> Option<UnixListener> {
        self.listener.take()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Bound {
    fn drop(&mut self) {
        // Another operator may have put its own there since.
        if fs::symlink_metadata(&self.path).is_ok_and(|it| it.ino() == self.inode) {
            let _gone_already = fs::remove_file(&self.path);
        }
    }
}

/// The ID of a group, from the text of `/etc/group`. A number stands for itself.
pub fn group_id(group_file: &str, group: &str) -> Option<u32> {
    let line = |line: &str| {
        let mut fields = line.split(':');
        (fields.next()? == group).then_some(())?;
        fields.nth(1)?.parse().ok()
    };
    group.parse().ok().or_else(|| group_file.lines().find_map(line))
}

fn prepare_directory(directory: &Path, group: Option<u32>) -> Result<(), SocketError> {
    let refused = |problem| SocketError::Directory { directory: directory.to_owned(), problem };
    match fs::DirBuilder::new().mode(0o700).create(directory) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(source) => {
            return Err(SocketError::Io { what: "make", path: directory.to_owned(), source });
        }
    }
    let found = fs::symlink_metadata(directory).map_err(failed("look at", directory))?;
    if !found.is_dir() {
        return Err(refused("is no directory"));
    }
    if found.uid() != rustix::process::geteuid().as_raw() {
        return Err(refused("belongs to another user"));
    }
    // 0710 is what --socket-group once made of it: entered by a group, listed by nobody.
    if found.mode() & 0o067 != 0 {
        return Err(refused("is open to others"));
    }
    std::os::unix::fs::chown(directory, None, group)
        .map_err(failed("give a group to", directory))?;
    let mode = if group.is_some() { 0o710 } else { 0o700 };
    fs::set_permissions(directory, fs::Permissions::from_mode(mode))
        .map_err(failed("set the mode of", directory))
}

fn clear_stale(path: &Path) -> Result<(), SocketError> {
    let found = match fs::symlink_metadata(path) {
        Ok(found) => found,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(failed("look at", path)(source)),
    };
    if !found.file_type().is_socket() {
        return Err(SocketError::NoSocket(path.to_owned()));
    }
    match StdStream::connect(path) {
        // Only a refusal says that nobody listens; a full backlog or a missing right does not.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("remove the stale socket", path))
        }
        Ok(_) | Err(_) => Err(SocketError::Answered(path.to_owned())),
    }
}

fn failed<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> SocketError + 'a {
    move |source| SocketError::Io { what, path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_lies_in_a_private_directory_and_goes_with_its_owner() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("chanop/chanop.sock");
        let bound = Bound::new(&path, None).unwrap();
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o700, 0o600));
        drop(bound);
        assert!(!path.exists());
    }

    #[tokio::test]
    async fn a_group_may_enter_but_not_list() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("chanop/chanop.sock");
        let group = rustix::process::getegid().as_raw();
        drop(Bound::new(&path, None).unwrap());
        let _bound = Bound::new(&path, Some(group)).unwrap();
        assert_eq!((mode(path.parent().unwrap()), mode(&path)), (0o710, 0o660));
    }

    #[tokio::test]
    async fn a_directory_that_others_may_enter_is_refused_and_left_as_it_is() {
        let top = tempfile::tempdir().unwrap();
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let error = Bound::new(&top.path().join("chanop.sock"), None).unwrap_err();
        assert!(matches!(error, SocketError::Directory { .. }), "{error}");
        assert_eq!(mode(top.path()), 0o755);
    }

    #[tokio::test]
    async fn a_dead_operators_socket_is_replaced_and_a_live_ones_is_not() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("chanop/chanop.sock");
        fs::DirBuilder::new().mode(0o700).create(path.parent().unwrap()).unwrap();
        drop(StdListener::bind(&path).unwrap());
        let _bound = Bound::new(&path, None).unwrap();
        assert!(matches!(Bound::new(&path, None), Err(SocketError::Answered(_))));
    }

    #[tokio::test]
    async fn a_file_in_its_place_is_not_removed() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().join("chanop.sock");
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Bound::new(&path, None), Err(SocketError::NoSocket(_))));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_group_is_found_by_name_or_number() {
        let file = "root:x:0:\ndocker:x:998:ann,bob\n";
        assert_eq!(group_id(file, "docker"), Some(998));
        assert_eq!(group_id(file, "1000"), Some(1000));
        assert_eq!(group_id(file, "nobody-has-it"), None);
    }
}
