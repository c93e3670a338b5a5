//! What the engine was last seen to have: our containers, by ID and by channel.
//!
//! Each entry knows from which read it comes, so that an older read never overwrites a newer one. A container that carries
//! our label under another name than its labels spell is kept apart: it is shown, and never touched.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::container::label::{Ownership, Role};
use crate::container::{ContainerId, ContainerName, ContainerState, Identity, Snapshot};
use crate::resource::ResourceName;

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
    impostors: BTreeMap<ContainerId, ContainerName>,
    /// Has a full list been merged since the engine was last reached?
    pub synced: bool,
}

/// What became of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noted {
    /// Ours: it is this channel's.
    Ours(ResourceName),
    /// Not ours, or not any more; it was this channel's.
    NotOurs(Option<ResourceName>),
}

impl Observed {
    /// Takes a snapshot in, unless what is known comes from a later read.
    pub fn note(
        &mut self,
        instance: &ResourceName,
        snapshot: Snapshot,
        as_of: Seq,
        read_at: Duration,
    ) -> Noted {
        let id = snapshot.id.clone();
        match Identity::of(instance, &snapshot.labels, &snapshot.name) {
            Ownership::Ours(identity) => {
                self.impostors.remove(&id);
                let channel = identity.channel.clone();
                let old = self.containers.get(&id);
                if old.is_some_and(|old| old.as_of > as_of) {
                    return Noted::Ours(channel);
                }
                let first_seen = old.map_or(read_at, |old| old.first_seen);
                if identity.role == Role::Shell {
                    self.shells.entry(channel.clone()).or_default().insert(id.clone());
                }
                let made_here = false;
                let seen = Seen { snapshot, identity, as_of, read_at, first_seen, made_here };
                self.containers.insert(id, seen);
                Noted::Ours(channel)
            }
            Ownership::Impostor => {
                let was = self.forget(&id);
                self.impostors.insert(id, snapshot.name);
                Noted::NotOurs(was)
            }
            Ownership::Foreign => Noted::NotOurs(self.forget(&id)),
        }
    }

    /// It is gone. Answers whose it was.
    pub fn forget(&mut self, id: &ContainerId) -> Option<ResourceName> {
        self.impostors.remove(id);
        let seen = self.containers.remove(id)?;
        let channel = seen.identity.channel;
        if let Some(ids) = self.shells.get_mut(&channel) {
            ids.remove(id);
            if ids.is_empty() {
                self.shells.remove(&channel);
            }
        }
        Some(channel)
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

    /// The channels whose shell runs: the ancestor's `RunningChannelIDs`.
    pub fn running_channel_ids(&self) -> BTreeSet<&ResourceName> {
        self.shells
            .iter()
            .filter(|(channel, _)| {
                self.shell_of(channel).is_some_and(|seen| seen.state() == ContainerState::Running)
            })
            .map(|(channel, _)| channel)
            .collect()
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
