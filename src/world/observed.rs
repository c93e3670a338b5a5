//! What the engine was last seen to have: our containers, by ID and by channel.
//!
//! Each entry knows from which read it comes, so that an older read never overwrites a newer one. A container that carries
//! our label under another name than its labels spell is kept apart: it is shown, and never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::admission::PathClaims;
use super::preparation::is_below;
use crate::container::label::{Ownership, Role};
use crate::container::snapshot::HostBind;
use crate::container::{ContainerId, ContainerName, ContainerState, Identity, Snapshot};
use crate::resource::{ObjectRef, ResourceName};

/// Counts calls, answers and events in one order: what tells a fresh read from a stale one.
pub type Seq = u64;

/// One container of ours as last seen.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// What the engine said.
    pub snapshot: Snapshot,
    /// What its labels and its name say together.
    pub identity: Identity,
    /// The read or write that this comes from.
    pub as_of: Seq,
    /// When it was read.
    pub read_at: Duration,
    /// When it was first seen by this process.
    pub first_seen: Duration,
    /// Made by this process just now: a start needs no look before it.
    pub made_here: bool,
}

impl Seen {
    /// Its state.
    pub const fn state(&self) -> ContainerState {
        self.snapshot.state
    }
}

/// All containers that carry our instance's label.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    containers: BTreeMap<ContainerId, Seen>,
    shells: BTreeMap<ResourceName, BTreeSet<ContainerId>>,
    runs: BTreeMap<ResourceName, BTreeSet<ContainerId>>,
    impostors: BTreeMap<ContainerId, ContainerName>,
    /// Directories of the operator: what a container mounts from there is not a claim on a path, so it is not kept.
    own_directories: Vec<String>,
    /// Has a full list been merged since the engine was last reached?
    pub synced: bool,
}

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// Ours: it is this channel's or run's.
    Ours(ObjectRef),
    /// Not ours, or not any more; it was this one's.
    NotOurs(Option<ObjectRef>),
}

impl Observed {
    /// Nothing seen yet, by an operator with these directories.
    pub fn new(own_directories: Vec<String>) -> Self {
        Self { own_directories, ..Self::default() }
    }

    /// The host paths that each channel's containers have mounted, their shells' and their runs'.
    pub fn claims(&self) -> BTreeMap<ResourceName, PathClaims> {
        let mut claims: BTreeMap<ResourceName, PathClaims> = BTreeMap::new();
        for seen in self.containers.values() {
            for HostBind { source, writable } in &seen.snapshot.binds {
                let of_channel = claims.entry(seen.identity.channel.clone()).or_default();
                of_channel.insert(source.clone(), *writable, "");
            }
        }
        claims
    }

    /// Takes a snapshot in, unless what is known comes from a later read.
    pub fn note(
        &mut self,
        instance: &ResourceName,
        mut snapshot: Snapshot,
        as_of: Seq,
        read_at: Duration,
    ) -> Noted {
        let id = snapshot.id.clone();
        let own = |path: &str| self.own_directories.iter().any(|it| is_below(path, it));
        snapshot.binds.retain(|bind| !own(&bind.source));
        match Identity::of(instance, &snapshot.labels, &snapshot.name) {
            Ownership::Ours(identity) => {
                self.impostors.remove(&id);
                let object = identity.object();
                let old = self.containers.get(&id);
                if old.is_some_and(|old| old.as_of > as_of) {
                    return Noted::Ours(object);
                }
                let first_seen = old.map_or(read_at, |old| old.first_seen);
                let of_its_kind = match &identity.role {
                    Role::Shell => &mut self.shells,
                    Role::Run { .. } => &mut self.runs,
                };
                of_its_kind.entry(object.name.clone()).or_default().insert(id.clone());
                let made_here = false;
                let seen = Seen { snapshot, identity, as_of, read_at, first_seen, made_here };
                self.containers.insert(id, seen);
                Noted::Ours(object)
            }
            Ownership::Impostor => {
                let was = self.forget(&id);
                self.impostors.insert(id, snapshot.name);
                Noted::NotOurs(was)
            }
            Ownership::Foreign => Noted::NotOurs(self.forget(&id)),
        }
    }

    /// Shells that this process just created may have been changed since: a look precedes their start. (A run's start follows its
    /// permit, and its restart policy is looked at while it runs.)
    pub fn doubt_new_shells(&mut self) {
        for seen in self.containers.values_mut() {
            if matches!(seen.identity.role, Role::Shell) {
                seen.made_here = false;
            }
        }
    }

    /// It is gone. Answers whose it was.
    pub fn forget(&mut self, id: &ContainerId) -> Option<ObjectRef> {
        self.impostors.remove(id);
        let seen = self.containers.remove(id)?;
        let object = seen.identity.object();
        let of_its_kind = match &seen.identity.role {
            Role::Shell => &mut self.shells,
            Role::Run { .. } => &mut self.runs,
        };
        if let Some(ids) = of_its_kind.get_mut(&object.name) {
            ids.remove(id);
            if ids.is_empty() {
                of_its_kind.remove(&object.name);
            }
        }
        Some(object)
    }

    /// The containers of a run's attempts, the oldest attempt first.
    pub fn attempts_of(&self, run: &ResourceName) -> Vec<(u32, &Seen)> {
        let ids = self.runs.get(run).into_iter().flatten();
        let seen = ids.filter_map(|id| self.containers.get(id));
        let mut attempts: Vec<(u32, &Seen)> = seen
            .filter_map(|seen| match &seen.identity.role {
                Role::Run { attempt, .. } => Some((*attempt, seen)),
                Role::Shell => None,
            })
            .collect();
        attempts.sort_by_key(|(attempt, seen)| (*attempt, seen.as_of));
        attempts
    }

    /// Runs that have containers.
    pub fn runs(&self) -> impl Iterator<Item = &ResourceName> {
        self.runs.keys()
    }

    /// One of ours.
    pub fn get(&self, id: &ContainerId) -> Option<&Seen> {
        self.containers.get(id)
    }

    /// One of ours, to be brought up to date by the answer to a write.
    pub fn get_mut(&mut self, id: &ContainerId) -> Option<&mut Seen> {
        self.containers.get_mut(id)
    }

    /// The channel's shell. A name belongs to one container at a time; should two be known, the one read last is the real one.
    pub fn shell_of(&self, channel: &ResourceName) -> Option<&Seen> {
        let ids = self.shells.get(channel)?;
        ids.iter()
            .filter_map(|id| self.containers.get(id))
            .max_by_key(|seen| (seen.as_of, seen.snapshot.created))
    }

    /// Channels that have a shell container.
    pub fn channels(&self) -> impl Iterator<Item = &ResourceName> {
        self.shells.keys()
    }

    /// Every container of ours.
    pub fn iter(&self) -> impl Iterator<Item = (&ContainerId, &Seen)> {
        self.containers.iter()
    }

    /// How many are ours.
    pub fn len(&self) -> usize {
        self.containers.len()
    }

    /// Are there none?
    pub fn is_empty(&self) -> bool {
        self.containers.is_empty()
    }

    /// Our label, another name: never touched.
    pub fn impostors(&self) -> impl Iterator<Item = (&ContainerId, &ContainerName)> {
        self.impostors.iter()
    }

    /// Replaces what is known of impostors by what a full list had.
    pub fn keep_impostors(&mut self, listed: &BTreeSet<ContainerId>) {
        self.impostors.retain(|id, _| listed.contains(id));
    }
}
