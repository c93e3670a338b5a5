//! The doorbell: the kernel's word that something changed. The only user of `notify`.
//!
//! It says "look again" and nothing else; what changed is for the scan to find. So an event that is lost costs time, never
//! truth, and an error or an overflow is an event like others. What inotify will not tell (network file systems, the lower
//! layer of an overlay, an unmount, a lost watch) the periodic look finds.
//!
//! One watch a directory, none of them recursive: on each directory of the tree, and on each directory on the way to it, where
//! only the one name matters by which the way goes on. A watch belongs to an inode and says a path, so a directory that was
//! moved, replaced or removed is armed anew.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use notify::event::{EventKind, ModifyKind};
use notify::{Event, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::scan::Listen;
use crate::world::scan::{Identity, Watch};

/// The doorbell's button: rung by the kernel's events, heard by the task.
#[derive(Debug, Default)]
pub(super) struct Bell {
    rung: Notify,
    hearing: Mutex<Hearing>,
}

/// What matters of what is told.
#[derive(Debug, Default)]
struct Hearing {
    /// Directories on the way, each with the names that matter.
    way: BTreeMap<PathBuf, BTreeSet<OsString>>,
    /// Directories of the tree.
    whole: BTreeSet<PathBuf>,
    /// Directories that went from under their watch.
    lost: BTreeSet<PathBuf>,
}

impl Bell {
    /// Somebody rang since the last time this returned.
    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Rings.
    pub(super) fn ring(&self) {
        self.rung.notify_one();
    }

    /// What `notify` tells, on its own thread.
    fn hear(&self, told: notify::Result<Event>) {
        match told {
            // Our own reading is told too; to look again for that would never end.
            Ok(event) if event.kind.is_access() && !event.need_rescan() => {}
            Ok(event) if event.need_rescan() || event.paths.is_empty() => self.ring(),
            Ok(event) => {
                if self.hearing().takes(&event) {
                    self.ring();
                }
            }
            Err(error) => {
                tracing::debug!(%error, "watching the specs failed; looking again");
                self.ring();
            }
        }
    }

    fn hearing(&self) -> MutexGuard<'_, Hearing> {
        // Plain sets: whoever panicked while holding them left them as they are.
        self.hearing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Hearing {
    /// Does this event matter? Remembers what it takes from under a watch.
    fn takes(&mut self, event: &Event) -> bool {
        let goes =
            matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)));
        let mut matters = false;
        for path in &event.paths {
            let watched = self.whole.contains(path) || self.way.contains_key(path);
            if watched && goes {
                self.lost.insert(path.clone());
            }
            matters |= watched || self.matters_in_parent(path);
        }
        matters
    }

    fn matters_in_parent(&self, path: &Path) -> bool {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.whole.contains(parent)
            || self.way.get(parent).is_some_and(|names| names.contains(name))
    }
}

/// The watches that ring the bell.
#[derive(Debug)]
pub(super) struct Watches {
    bell: Arc<Bell>,
    watcher: Option<RecommendedWatcher>,
    armed: BTreeMap<PathBuf, Identity>,
    state: Watch,
}

impl Watches {
    pub(super) fn new(bell: Arc<Bell>) -> Self {
        Self { bell, watcher: None, armed: BTreeMap::new(), state: Watch::Off }
    }

    /// Do the watches hold?
    pub(super) fn state(&self) -> Watch {
        self.state.clone()
    }

    /// Rings its own bell.
    pub(super) fn ring(&self) {
        self.bell.ring();
    }

    /// Watches what the last scan saw. True when a watch is new: what changed there between the scan and now was not told.
    pub(super) fn arm(&mut self, listen: &Listen) -> bool {
        let mut watcher = match self.watcher.take().map_or_else(|| self.open(), Ok) {
            Ok(watcher) => watcher,
            Err(error) => {
                self.state = degraded(&error);
                return false;
            }
        };
        let wanted = self.wanted(listen);
        let lost = std::mem::take(&mut self.bell.hearing().lost);
        self.armed.retain(|path, identity| {
            let keep = wanted.get(path) == Some(identity) && !lost.contains(path);
            if !keep {
                // Gone with its directory already, more often than not.
                let _ = watcher.unwatch(path);
            }
            keep
        });
        let grew = self.add(&mut watcher, wanted);
        self.watcher = Some(watcher);
        grew
    }

    fn add(
        &mut self,
        watcher: &mut RecommendedWatcher,
        wanted: BTreeMap<PathBuf, Identity>,
    ) -> bool {
        let mut grew = false;
        self.state = Watch::Active;
        for (path, identity) in wanted {
            if self.armed.contains_key(&path) {
                continue;
            }
            match watcher.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.armed.insert(path, identity);
                    grew = true;
                }
                Err(error) if is_of_one_place(&error) => {}
                Err(error) => {
                    self.state = degraded(&error);
                    // With no more watches to be had, each further one would be refused as well.
                    break;
                }
            }
        }
        grew
    }

    fn open(&self) -> notify::Result<RecommendedWatcher> {
        let bell = Arc::clone(&self.bell);
        notify::recommended_watcher(move |told| bell.hear(told))
    }

    /// Every directory to be watched, and which one it is. From here on the bell knows what matters there.
    fn wanted(&self, listen: &Listen) -> BTreeMap<PathBuf, Identity> {
        let mut hearing = self.bell.hearing();
        hearing.whole = listen.whole.iter().map(|(path, _)| path.clone()).collect();
        hearing.way.clear();
        let mut wanted = BTreeMap::new();
        for (path, name) in &listen.way {
            hearing.way.entry(path.clone()).or_default().insert(name.clone());
            if let Ok(metadata) = std::fs::symlink_metadata(path) {
                wanted.insert(path.clone(), (metadata.dev(), metadata.ino()));
            }
        }
        wanted.extend(listen.whole.iter().cloned());
        wanted
    }
}

/// Did this directory go away meanwhile, or may it only be passed and not read? The others can be watched all the same.
fn is_of_one_place(error: &notify::Error) -> bool {
    use std::io::ErrorKind::{NotFound, PermissionDenied};
    match &error.kind {
        notify::ErrorKind::PathNotFound => true,
        notify::ErrorKind::Io(error) => matches!(error.kind(), NotFound | PermissionDenied),
        _ => false,
    }
}

/// Why the kernel refuses, with what to do about it where that is known.
fn degraded(error: &notify::Error) -> Watch {
    let limit = match &error.kind {
        notify::ErrorKind::MaxFilesWatch => Some("fs.inotify.max_user_watches"),
        notify::ErrorKind::Io(error)
            if error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error()) =>
        {
            Some("fs.inotify.max_user_instances")
        }
        _ => None,
    };
    Watch::Degraded(match limit {
        Some(limit) => format!("inotify: the limit {limit} is reached"),
        None => format!("inotify: {error}"),
    })
}

#[cfg(test)]
mod tests {
    use notify::event::{AccessKind, AccessMode, CreateKind, Flag, RemoveKind};

    use super::*;

    fn bell() -> Bell {
        let bell = Bell::default();
        {
            let mut hearing = bell.hearing();
            hearing.way.insert("/srv".into(), ["specs".into()].into());
            hearing.whole.insert("/srv/specs".into());
        }
        bell
    }

    /// Does telling this ring?
    fn rings(told: notify::Result<Event>) -> bool {
        let bell = bell();
        bell.hear(told);
        let mut rung = std::pin::pin!(bell.rung());
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        rung.as_mut().poll(&mut context).is_ready()
    }

    fn at(kind: EventKind, path: &str) -> Event {
        Event::new(kind).add_path(path.into())
    }

    #[test]
    fn what_changes_in_the_tree_rings_and_what_is_only_read_does_not() {
        assert!(rings(Ok(at(EventKind::Create(CreateKind::File), "/srv/specs/..data"))));
        let read = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(!rings(Ok(at(read, "/srv/specs/a.yaml"))));
    }

    #[test]
    fn on_the_way_only_the_name_that_leads_on_rings() {
        assert!(rings(Ok(at(EventKind::Create(CreateKind::Folder), "/srv/specs"))));
        assert!(!rings(Ok(at(EventKind::Create(CreateKind::Folder), "/srv/other"))));
    }

    #[test]
    fn an_error_and_an_overflow_ring() {
        assert!(rings(Err(notify::Error::generic("no"))));
        assert!(rings(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))));
    }

    #[test]
    fn a_directory_that_went_is_armed_anew() {
        let bell = bell();
        bell.hear(Ok(at(EventKind::Remove(RemoveKind::Folder), "/srv/specs")));
        assert!(bell.hearing().lost.contains(Path::new("/srv/specs")));
    }
}
