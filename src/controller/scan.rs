//! From scans to objects: last good content, absence believed slowly, removals held.
//!
//! Not seen is not gone. A file that cannot be used keeps its last good content; a file that is missing keeps it until two
//! scans, far enough apart, have proved its absence in the same directory as before; and when half of the channels go at
//! once, or the directory is not the one it was, a person is asked.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::resource::condition::Reason;
use crate::resource::validate::Violation;
use crate::resource::{Kind, ObjectRef, Resource, SourceRef};
use crate::world::record::{SourceRow, Write};
use crate::world::scan::{FileState, ParsedFile, Place, RawScan, Root};

/// From so many channels on, half of all going at once is held.
const MASS_REMOVAL_AT_LEAST: usize = 3;

/// One object that counts, and where it stands in its file.
#[derive(Debug, Clone)]
pub struct Object {
    file: Arc<str>,
    parsed: Arc<ParsedFile>,
    index: usize,
    /// Why the newest content of its file does not count.
    pub trouble: Option<(Reason, String)>,
    /// Its file is gone, but its removal waits for a person.
    pub held: bool,
}

impl Object {
    /// What the file says.
    pub fn resource(&self) -> Option<&Resource> {
        self.parsed.resources.get(self.index)
    }

    /// The file that it is in.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// The whole of that file, and which of its objects this is: the same content while both are the same.
    pub const fn content(&self) -> (&Arc<ParsedFile>, usize) {
        (&self.parsed, self.index)
    }

    /// Where.
    pub fn source(&self) -> SourceRef {
        let line = self.resource().map_or(1, |resource| resource.source().line);
        SourceRef { file: self.file.to_string(), line }
    }

    fn is_same(&self, other: &Self) -> bool {
        self.file == other.file
            && Arc::ptr_eq(&self.parsed, &other.parsed)
            && self.index == other.index
            && self.trouble == other.trouble
            && self.held == other.held
    }
}

#[derive(Debug, Clone, Copy)]
struct Missing {
    since: Duration,
    scans: u32,
    held: bool,
    approved: bool,
}

/// What a scan changed.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Did any object change, come or go?
    pub changed: bool,
    /// Objects whose absence is now believed, with the file that they were in.
    pub gone: BTreeMap<ObjectRef, String>,
    /// To be kept.
    pub writes: Vec<Write>,
    /// Another scan is wanted at this time, to believe an absence or not.
    pub rescan_at: Option<Duration>,
}

/// Everything known of the spec directory.
#[derive(Debug, Default)]
pub struct Sources {
    good: BTreeMap<Arc<str>, Arc<ParsedFile>>,
    objects: BTreeMap<ObjectRef, Object>,
    missing: BTreeMap<ObjectRef, Missing>,
    invalid: BTreeMap<String, String>,
    pinned: Option<Place>,
    last: Option<RawScan>,
    /// What the store has of each file: not newer than the objects that still count.
    stored: BTreeMap<Arc<str>, Arc<str>>,
    /// Files that went away with a mount: their absence says nothing of them.
    displaced: BTreeSet<Arc<str>>,
    unavailable: Option<String>,
    suspicious: bool,
    scanned: bool,
    complete: bool,
}

impl Sources {
    /// What the store kept: the last good content of each file, which file owned each object, whose removal was held.
    /// And in which place the last scan was that missed nothing. `suspicious`: the path or the selection is not what it was, so
    /// whatever is missing at first is held.
    pub fn restore(
        good: BTreeMap<String, Arc<ParsedFile>>,
        owners: &BTreeMap<ObjectRef, String>,
        held: &BTreeSet<ObjectRef>,
        pinned: Option<Place>,
        suspicious: bool,
    ) -> Self {
        let good: BTreeMap<Arc<str>, _> =
            good.into_iter().map(|(file, parsed)| (file.into(), parsed)).collect();
        let stored =
            good.iter().map(|(file, parsed)| (file.clone(), Arc::clone(&parsed.text))).collect();
        let mut sources = Self { good, pinned, stored, suspicious, ..Self::default() };
        sources.objects = sources.assemble(|object| owners.get(object).map(String::as_str));
        for object in held {
            let missing = Missing { since: Duration::ZERO, scans: 0, held: true, approved: false };
            sources.missing.insert(object.clone(), missing);
        }
        sources
    }

    /// Every object that counts.
    pub const fn objects(&self) -> &BTreeMap<ObjectRef, Object> {
        &self.objects
    }

    /// Files whose newest content does not count, each with the reason.
    pub const fn invalid(&self) -> &BTreeMap<String, String> {
        &self.invalid
    }

    /// Why the directory cannot be read now.
    pub fn unavailable(&self) -> Option<&str> {
        self.unavailable.as_deref()
    }

    /// Has any scan come, be it only to say that the directory is away?
    pub const fn scanned(&self) -> bool {
        self.scanned
    }

    /// Has a complete scan come?
    pub const fn complete(&self) -> bool {
        self.complete
    }

    /// Where the last complete scan was, if it missed nothing: what is missing elsewhere later is not believed to be gone.
    pub fn settled_in(&self) -> Option<&Place> {
        self.pinned.as_ref().filter(|_| self.complete && self.missing.is_empty())
    }

    /// Where the spec directory is, and where it last was: a swapped link leads to a new directory while the operator runs.
    pub fn real_paths(&self) -> impl Iterator<Item = &str> {
        let now = self.last.as_ref().and_then(|scan| match &scan.root {
            Root::Present(place) => Some(place),
            Root::Unavailable { .. } => None,
        });
        now.into_iter().chain(&self.pinned).map(|place| place.real.as_str())
    }

    /// Files and directories of which nobody knows what they hold now.
    pub fn unread(&self) -> BTreeSet<String> {
        let directories = self.last.iter().flat_map(|scan| scan.unreadable.keys());
        self.invalid.keys().chain(directories).cloned().collect()
    }

    /// How many files count as they are.
    pub fn files_ok(&self) -> usize {
        self.good.keys().filter(|file| !self.invalid.contains_key(&***file)).count()
    }

    /// Objects whose removal waits for a person.
    pub fn held(&self) -> impl Iterator<Item = &ObjectRef> {
        self.missing.iter().filter(|(_, missing)| missing.held && !missing.approved).map(|(o, _)| o)
    }

    /// Lets go of every held removal: they take place with the next scan that proves them.
    pub fn confirm(&mut self) -> usize {
        let mut count = 0;
        for missing in self.missing.values_mut().filter(|missing| missing.held) {
            missing.approved = true;
            count += 1;
        }
        count
    }

    /// Takes a scan in.
    pub fn absorb(&mut self, scan: RawScan, prune_delay: Duration) -> Outcome {
        self.scanned = true;
        let place = match (&scan.root, &scan.incomplete) {
            (Root::Present(place), None) => place.clone(),
            (Root::Present(_), Some(reason)) | (Root::Unavailable { reason }, _) => {
                return self.freeze(reason.clone());
            }
        };
        let thawed = self.unavailable.take().is_some();
        // Absence under another directory proves nothing of what was in the first one.
        let elsewhere = self.pinned.as_ref().is_some_and(|pinned| !place.continues(pinned));
        if elsewhere {
            self.suspicious = true;
        }
        // What nobody may mount lies elsewhere now.
        let moved = self.pinned.as_ref().is_none_or(|pinned| pinned.real != place.real);
        let mut outcome = Outcome { changed: moved, ..Outcome::default() };
        let unread_before = self.unread();
        let invalid_before = std::mem::take(&mut self.invalid);
        self.read_files(&scan);
        self.drop_absent(&scan);
        let present = self.assemble(|object| self.objects.get(object).map(Object::file));
        self.judge_absence(present, &scan, prune_delay, &mut outcome);
        self.keep_good(&mut outcome);
        outcome.changed |= thawed || invalid_before != self.invalid;
        if self.missing.is_empty() {
            self.suspicious = false;
        }
        self.pinned = Some(place);
        self.complete = true;
        self.last = Some(scan);
        // Of a container that no file explains, a directory that can be read again may say that none does.
        outcome.changed |= unread_before != self.unread();
        outcome
    }

    fn freeze(&mut self, reason: String) -> Outcome {
        // Absence must be proved by scans that follow each other.
        for missing in self.missing.values_mut() {
            missing.scans = 0;
        }
        let changed = self.unavailable.as_ref() != Some(&reason);
        self.unavailable = Some(reason);
        Outcome { changed, ..Outcome::default() }
    }

    /// The newest good content of each file, and what is wrong with the others.
    fn read_files(&mut self, scan: &RawScan) {
        for (file, state) in &scan.files {
            self.displaced.remove(file.as_str());
            let why = match state {
                FileState::Parsed(parsed) => {
                    let error = parsed.violations.iter().find(|violation| violation.is_error());
                    if let Some(violation) = error {
                        violation.to_string()
                    } else {
                        match self.good.get_mut(file.as_str()) {
                            Some(old) if Arc::ptr_eq(old, parsed) => {}
                            Some(old) => old.clone_from(parsed),
                            None => {
                                self.good.insert(file.as_str().into(), Arc::clone(parsed));
                            }
                        }
                        continue;
                    }
                }
                FileState::Unreadable(why) | FileState::Refused(why) => format!("{file}: {why}"),
                FileState::Unstable => format!("{file}: it keeps changing while it is read"),
            };
            self.invalid.insert(file.clone(), why);
        }
    }

    /// Forgets the content of files that are proved to be absent; their objects live on until that is believed.
    fn drop_absent(&mut self, scan: &RawScan) {
        let mut absent = Vec::new();
        for file in self.good.keys().filter(|file| !scan.files.contains_key(&***file)) {
            if self.last.as_ref().is_some_and(|last| scan.remounted_above(last, file)) {
                self.displaced.insert(file.clone());
            }
            if scan.proves_absence_of(file) {
                absent.push(file.clone());
            } else {
                let why = format!("{file}: what holds it cannot be read");
                self.invalid.insert(file.to_string(), why);
            }
        }
        for file in absent {
            self.good.remove(&file);
        }
    }

    /// Brings the store's copies up to date. A file from which an object is missing keeps the old copy until that is
    /// believed: after a restart the object must be known still.
    fn keep_good(&mut self, outcome: &mut Outcome) {
        let missing: BTreeSet<&str> = self
            .missing
            .keys()
            .filter_map(|name| self.objects.get(name).map(Object::file))
            .collect();
        for (file, parsed) in &self.good {
            if self.stored.get(file) != Some(&parsed.text) && !missing.contains(&**file) {
                let row = SourceRow { text: parsed.text.to_string() };
                outcome.writes.push(Write::Source(file.to_string(), Some(row)));
                self.stored.insert(file.clone(), Arc::clone(&parsed.text));
            }
        }
        let forgotten: Vec<Arc<str>> = self
            .stored
            .keys()
            .filter(|file| !self.good.contains_key(*file) && !missing.contains(&***file))
            .cloned()
            .collect();
        for file in forgotten {
            self.stored.remove(&file);
            self.displaced.remove(&file);
            outcome.writes.push(Write::Source(file.to_string(), None));
        }
    }

    /// The objects of all good content; of two files that claim one, the incumbent keeps it, else the first.
    fn assemble<'a>(
        &self,
        incumbent: impl Fn(&ObjectRef) -> Option<&'a str>,
    ) -> BTreeMap<ObjectRef, Object> {
        let mut objects: BTreeMap<ObjectRef, Object> = BTreeMap::new();
        let mut contested: BTreeMap<ObjectRef, Vec<Object>> = BTreeMap::new();
        for (file, parsed) in &self.good {
            let trouble = self.invalid.get(&**file).map(|why| (Reason::SourceInvalid, why.clone()));
            for (index, resource) in parsed.resources.iter().enumerate() {
                let object = Object {
                    file: Arc::clone(file),
                    parsed: Arc::clone(parsed),
                    index,
                    trouble: trouble.clone(),
                    held: false,
                };
                match objects.entry(resource.object_ref()) {
                    Entry::Vacant(free) => {
                        free.insert(object);
                    }
                    Entry::Occupied(taken) => {
                        contested.entry(taken.key().clone()).or_default().push(object);
                    }
                }
            }
        }
        for (name, others) in contested {
            let Some(first) = objects.remove(&name) else { continue };
            let mut claimants: Vec<Object> = std::iter::once(first).chain(others).collect();
            let winner = incumbent(&name)
                .and_then(|file| claimants.iter().position(|object| object.file() == file))
                .unwrap_or(0);
            let mut winner = claimants.swap_remove(winner);
            if let Some(other) = claimants.first() {
                let message = format!("{} claims it too; {} counts", other.file, winner.file);
                winner.trouble = Some((Reason::Conflict, message));
            }
            objects.insert(name, winner);
        }
        objects
    }

    fn judge_absence(
        &mut self,
        present: BTreeMap<ObjectRef, Object>,
        scan: &RawScan,
        prune_delay: Duration,
        outcome: &mut Outcome,
    ) {
        let started = scan.started.mono;
        let before = std::mem::replace(&mut self.objects, present);
        // A held removal is over when its file was read again, not when nobody can say.
        let objects = &self.objects;
        self.missing.retain(|object, missing| {
            objects.get(object).is_none_or(|at| missing.held && !is_read(&at.file, scan))
        });
        for (object, missing) in &mut self.missing {
            if let Some(at) = self.objects.get_mut(object) {
                missing.scans = 0;
                at.held = !missing.approved;
            }
        }
        let total = before.keys().filter(|object| object.kind == Kind::Channel).count();
        let retained: BTreeMap<ObjectRef, Object> = before
            .iter()
            .filter(|(object, _)| !self.objects.contains_key(*object))
            .map(|(object, at)| (object.clone(), at.clone()))
            .collect();
        let evidence: BTreeSet<ObjectRef> = retained
            .iter()
            .filter(|(_, object)| is_proved(&object.file, scan))
            .map(|(name, _)| name.clone())
            .collect();
        let channels_missing = evidence.iter().filter(|name| name.kind == Kind::Channel).count();
        let mass = channels_missing >= MASS_REMOVAL_AT_LEAST && channels_missing * 2 >= total;
        for (name, mut object) in retained {
            let missing = self.missing.entry(name.clone()).or_insert(Missing {
                since: started,
                scans: 0,
                held: false,
                approved: false,
            });
            // A file that is back but cannot be used is no file that was deleted: the count begins anew.
            if !evidence.contains(&name) {
                missing.scans = 0;
                object.held = missing.held && !missing.approved;
                object.trouble =
                    self.invalid.get(object.file()).map(|why| (Reason::SourceInvalid, why.clone()));
                self.objects.insert(name, object);
                continue;
            }
            missing.scans += 1;
            if missing.scans == 1 {
                missing.since = started;
            }
            // Whatever the kind: a class that goes with its channels would change all of them.
            missing.held |= mass || self.suspicious || self.displaced.contains(&object.file);
            let proved = missing.scans >= 2 && started.saturating_sub(missing.since) >= prune_delay;
            if proved && (!missing.held || missing.approved) {
                self.missing.remove(&name);
                outcome.gone.insert(name, object.file.to_string());
                continue;
            }
            if !proved {
                let due = missing.since + prune_delay;
                outcome.rescan_at =
                    Some(outcome.rescan_at.map_or(due, |earlier: Duration| earlier.min(due)));
            }
            object.held = missing.held && !missing.approved;
            object.trouble = None;
            self.objects.insert(name, object);
        }
        outcome.changed |= !outcome.gone.is_empty()
            || before.len() != self.objects.len()
            || before
                .iter()
                .any(|(name, old)| self.objects.get(name).is_none_or(|new| !new.is_same(old)));
    }
}

/// Was the file there, and good?
fn is_read(file: &str, scan: &RawScan) -> bool {
    scan.files.contains_key(file) && is_proved(file, scan)
}

/// Does the scan say that an object that it does not have is no longer in `file`?
fn is_proved(file: &str, scan: &RawScan) -> bool {
    match scan.files.get(file) {
        Some(FileState::Parsed(parsed)) => !parsed.violations.iter().any(Violation::is_error),
        Some(FileState::Unreadable(_) | FileState::Refused(_) | FileState::Unstable) => false,
        None => scan.proves_absence_of(file),
    }
}

#[cfg(test)]
mod tests;
