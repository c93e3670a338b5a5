//! Opens a directory beneath the spec directory, for who reads more than specs there: an image's build context.

use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens `relative` beneath `root`. The root may be reached through links, as ever; beneath it none is followed. The
/// error is a sentence for people.
pub fn open_directory(root: &Path, relative: &str) -> Result<OwnedFd, String> {
    let said = |errno: Errno, what: &str| match errno {
        Errno::NOENT => format!("there is no directory {what} in the spec directory"),
        // Of a link, NOFOLLOW with DIRECTORY says NOTDIR on some kernels and LOOP on others.
        Errno::LOOP | Errno::NOTDIR => {
            format!("{what} is no directory of the spec directory (links are not followed)")
        }
        errno => format!("{what} cannot be opened: {errno}"),
    };
    let mut fd = openat(CWD, root, DIRECTORY, Mode::empty())
        .map_err(|errno| format!("the spec directory cannot be opened: {errno}"))?;
    for component in Path::new(relative).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(name) => {
                fd = openat(&fd, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(|errno| said(errno, relative))?;
            }
            Component::RootDir | Component::ParentDir | Component::Prefix(_) => {
                return Err(format!("{relative} does not lie beneath the spec directory"));
            }
        }
    }
    Ok(fd)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_lies_beneath_is_opened_and_no_link_is_followed_but_the_roots() {
        let place = tempfile::tempdir().unwrap();
        let root = place.path().join("tree");
        std::fs::create_dir_all(root.join("a/b")).unwrap();
        std::fs::write(root.join("file"), "").unwrap();
        symlink("/etc", root.join("out")).unwrap();
        symlink("a", root.join("in")).unwrap();
        symlink(&root, place.path().join("link")).unwrap();
        let link = place.path().join("link");
        for there in ["a/b", "./a", "."] {
            assert!(open_directory(&link, there).is_ok(), "{there}");
        }
        for (not, why) in [
            ("a/c", "no directory a/c"),
            ("file", "links are not followed"),
            ("out", "links are not followed"),
            ("in/b", "links are not followed"),
            ("../tree/a", "does not lie beneath"),
            ("/etc", "does not lie beneath"),
        ] {
            let said = open_directory(&root, not).unwrap_err();
            assert!(said.contains(why), "{not}: {said}");
        }
    }
}
