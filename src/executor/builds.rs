//! What images are built from: looked at with every scan, and hashed only when something changed.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use sha2::{Digest as _, Sha256};

use crate::docker::image::{BuildContext, ImageBuildSpec};
use crate::resource::effective::Build;
use crate::specs::open_directory;
use crate::world::facts::BuildFact;

/// What each command of a build may use. A compiler wants some; the host's other work must not starve.
const MEMORY_BYTES: i64 = 4 << 30;
/// Entries of a context whose look is remembered. A larger one is hashed each time, and its author should know
/// `.dockerignore`.
const ENTRIES_MAX: usize = 100_000;
/// Directories within each other.
const DEPTH_MAX: usize = 100;
/// What changed so shortly before the look may change again within the same tick of the file system's clock.
const SETTLED_SECONDS: i64 = 2;

/// What each context was when it was last hashed.
#[derive(Debug, Default)]
pub struct Contexts(Mutex<BTreeMap<Build, ([u8; 32], BuildFact)>>);

impl Contexts {
    /// Looks at all that is wanted, and forgets what is not. Blocks.
    pub fn facts(
        &self,
        specs: &Path,
        wanted: &BTreeSet<Build>,
        now: Timestamp,
    ) -> BTreeMap<Build, BuildFact> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|it, _| wanted.contains(it));
        let look = |build: &Build| (build.clone(), self.look(specs, build, now.as_second()));
        wanted.iter().map(look).collect()
    }

    /// Looks at a context: a walk, and a reading only where something is not as before. Blocks.
    fn look(&self, specs: &Path, build: &Build, now_seconds: i64) -> BuildFact {
        let stamp = stamp(specs, build, now_seconds);
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(build).cloned();
        if let (Some(stamp), Some((before, fact))) = (stamp, known)
            && stamp == before
        {
            return fact;
        }
        let fact = match context(specs, build) {
            Ok(context) => BuildFact::Present { hash: build_spec(build).content_hash(&context) },
            Err(why) => BuildFact::Unusable(why),
        };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match stamp {
            Some(stamp) => known.insert(build.clone(), (stamp, fact.clone())),
            None => known.remove(build),
        };
        fact
    }
}

/// Reads a context. Blocks.
pub(super) fn context(specs: &Path, build: &Build) -> Result<BuildContext, String> {
    let root = open_directory(specs, &build.context)?;
    BuildContext::read_opened(root, Path::new(&build.context), &build.dockerfile)
        .map_err(|error| error.to_string())
}

/// What the engine is asked for. No label of ours: a container would inherit it from the image.
pub(super) fn build_spec(build: &Build) -> ImageBuildSpec {
    ImageBuildSpec {
        args: build.args.clone(),
        target: build.target.clone(),
        memory_bytes: MEMORY_BYTES,
        ..ImageBuildSpec::default()
    }
}

/// A hash over what can be seen of a context without reading its files; `None` where that would not tell a change.
fn stamp(specs: &Path, build: &Build, now_seconds: i64) -> Option<[u8; 32]> {
    let root = open_directory(specs, &build.context).ok()?;
    let mut walk = Walk { hash: Sha256::new(), entries: 0, settled_before: now_seconds };
    walk.directory(&root, 0)?;
    Some(walk.hash.finalize().into())
}

struct Walk {
    hash: Sha256,
    entries: usize,
    settled_before: i64,
}

impl Walk {
    fn directory(&mut self, directory: impl AsFd, depth: usize) -> Option<()> {
        if depth > DEPTH_MAX {
            return None;
        }
        let mut names = Vec::new();
        for entry in Dir::read_from(&directory).ok()? {
            let entry = entry.ok()?;
            let name = entry.file_name().to_owned();
            if !matches!(name.to_bytes(), b"." | b"..") {
                names.push(name);
            }
        }
        names.sort();
        self.entries += names.len();
        if self.entries > ENTRIES_MAX {
            return None;
        }
        for name in names {
            let stat = statat(&directory, &name, AtFlags::SYMLINK_NOFOLLOW).ok()?;
            self.entry(name.to_bytes(), &stat)?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let child = openat(&directory, &name, flags, Mode::empty()).ok()?;
                self.directory(child, depth + 1)?;
            }
        }
        self.hash.update(b"/");
        Some(())
    }

    fn entry(&mut self, name: &[u8], stat: &Stat) -> Option<()> {
        // Of both times only this one is the kernel's own: a file may claim to be of next year.
        let (changed, written) = (stat.st_ctime, stat.st_mtime);
        if changed + SETTLED_SECONDS > self.settled_before {
            return None;
        }
        self.hash.update(name.len().to_le_bytes());
        self.hash.update(name);
        for number in [
            i128::from(stat.st_mode),
            i128::from(stat.st_size),
            i128::from(stat.st_ino),
            i128::from(stat.st_dev),
            i128::from(changed),
            i128::from(stat.st_ctime_nsec),
            i128::from(written),
            i128::from(stat.st_mtime_nsec),
        ] {
            self.hash.update(number.to_le_bytes());
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn build() -> Build {
        Build {
            context: "agent".to_owned(),
            dockerfile: "Dockerfile".to_owned(),
            args: BTreeMap::new(),
            target: String::new(),
        }
    }

    #[test]
    fn another_content_is_another_hash_and_what_did_not_change_is_not_read_again() {
        let place = tempfile::tempdir().unwrap();
        let specs = place.path();
        let contexts = Contexts::default();
        let later = i64::MAX - SETTLED_SECONDS;
        assert!(matches!(contexts.look(specs, &build(), later), BuildFact::Unusable(_)));
        std::fs::create_dir(specs.join("agent")).unwrap();
        std::fs::write(specs.join("agent/Dockerfile"), "FROM scratch\n").unwrap();
        let first = contexts.look(specs, &build(), later);
        assert!(matches!(first, BuildFact::Present { .. }), "{first:?}");
        // As if it were remembered: the walk alone decides.
        contexts.0.lock().unwrap().get_mut(&build()).unwrap().1 =
            BuildFact::Present { hash: "remembered".to_owned() };
        let again = contexts.look(specs, &build(), later);
        assert_eq!(again, BuildFact::Present { hash: "remembered".to_owned() });
        std::fs::write(specs.join("agent/Dockerfile"), "FROM scratch\nENV A=1\n").unwrap();
        let second = contexts.look(specs, &build(), later);
        assert_ne!(second, first);
        let args = Build { args: [("A".to_owned(), "1".to_owned())].into(), ..build() };
        assert_ne!(contexts.look(specs, &args, later), second);
    }

    #[test]
    fn what_changed_just_now_is_read_each_time() {
        let place = tempfile::tempdir().unwrap();
        std::fs::create_dir(place.path().join("agent")).unwrap();
        std::fs::write(place.path().join("agent/Dockerfile"), "FROM scratch\n").unwrap();
        assert_eq!(stamp(place.path(), &build(), 0), None);
        assert!(stamp(place.path(), &build(), i64::MAX - SETTLED_SECONDS).is_some());
    }
}
