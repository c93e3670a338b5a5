//! Where the path of the spec directory leads, link by link.
//!
//! This path is the operator's own setting, so its links may lead anywhere. They are remembered because a changed one is how
//! git-sync publishes a revision, and because each directory on the way is where such a change can be heard of.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};

use crate::world::scan::{Place, RootLink};

/// How many links the path may take, as in the kernel.
const HOPS: usize = 40;

/// Every name looked up on the way: the directory without links, and the name in it.
pub(super) type Steps = Vec<(PathBuf, OsString)>;

/// Walks `path`. The steps are as far as it got, so that a missing directory's coming can be heard of.
pub(super) fn find(path: &Path) -> (io::Result<Place>, Steps) {
    let mut steps = Steps::new();
    let place = walk(path, &mut steps);
    (place, steps)
}

fn walk(path: &Path, steps: &mut Steps) -> io::Result<Place> {
    let path = std::path::absolute(path)?;
    let mut todo: VecDeque<OsString> = names(&path).collect();
    let mut here = PathBuf::from("/");
    let mut links = Vec::new();
    while let Some(name) = todo.pop_front() {
        if name == ".." {
            here.pop();
            continue;
        }
        steps.push((here.clone(), name.clone()));
        let next = here.join(&name);
        let metadata = std::fs::symlink_metadata(&next)?;
        if !metadata.is_symlink() {
            here = next;
            continue;
        }
        if links.len() == HOPS {
            return Err(io::Error::other("its links never end"));
        }
        let target = std::fs::read_link(&next)?;
        let holder = std::fs::symlink_metadata(&here)?;
        links.push(RootLink {
            holder: (holder.dev(), holder.ino()),
            name: name.to_string_lossy().into_owned(),
            target: target.to_string_lossy().into_owned(),
        });
        if target.is_absolute() {
            here = PathBuf::from("/");
        }
        for name in names(&target).rev() {
            todo.push_front(name);
        }
    }
    let metadata = std::fs::symlink_metadata(&here)?;
    if !metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let identity = (metadata.dev(), metadata.ino());
    Ok(Place { identity, real: here.to_string_lossy().into_owned(), links })
}

/// The parts of a path that mean a step.
fn names(path: &Path) -> impl DoubleEndedIterator<Item = OsString> {
    path.components().filter_map(|component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsString::from("..")),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}
