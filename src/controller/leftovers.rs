//! When the secrets of a channel that is gone are removed from the host: with its last container, and once after a start.
//!
//! A container that exists may be started again and needs them; one that is made later gets them anew. So nothing is lost when they are
//! removed, as long as no container of the channel is there or being made.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::Controller;
use super::effect::{Call, SecretsOf};
use super::input::{Answer, Failure};
use crate::resource::{Now, ObjectRef, ResourceName};

/// What is still to be removed.
#[derive(Debug, Default)]
pub(super) struct Leftovers {
    /// Channels that are gone, whose runs may still have containers, each with how many lists there had been when it was last wanted or had
    /// one.
    gone: BTreeMap<ResourceName, u32>,
    /// Channels that had a container before the sweep: one list that lacks it does not prove that it is gone.
    seen: BTreeSet<ResourceName>,
    /// Was everything that an earlier process left looked for?
    swept: bool,
    /// How many lists of containers were taken in.
    lists: u32,
    /// Not looked at again before.
    next: Duration,
}

/// So many lists in a row must lack the containers of a channel before its secrets are removed: an engine can answer one of them with
/// what it knew before.
const LISTS_WITHOUT: u32 = 2;
/// Between two looks at what is still there; the list of every minute wakes the core for one.
const LEFTOVERS_INTERVAL: Duration = Duration::from_secs(1);

impl Controller {
    pub(super) fn channel_left(&mut self, name: &ResourceName) {
        self.leftovers.gone.insert(name.clone(), self.leftovers.lists);
    }

    /// A list of containers was taken in.
    pub(super) fn leftovers_listed(&mut self) {
        self.leftovers.lists = self.leftovers.lists.saturating_add(1);
        if !self.leftovers.swept {
            let with_containers = self.channels_with_containers();
            self.leftovers.seen.extend(with_containers);
        }
    }

    /// Sends what can be removed by now.
    pub(super) fn remove_leftovers(&mut self, now: Now) {
        let done = self.leftovers.swept && self.leftovers.gone.is_empty();
        let early = !self.leftovers.swept && self.leftovers.lists < LISTS_WITHOUT;
        if done
            || early
            || now.mono < self.leftovers.next
            || !self.world.desired.ready
            || self.blocked().is_some()
        {
            return;
        }
        self.leftovers.next = now.mono + LEFTOVERS_INTERVAL;
        let with_containers = self.channels_with_containers();
        let is_wanted = |name: &ResourceName| {
            self.world.desired.channels.contains_key(name)
                || self.world.inventory.contains_key(&ObjectRef::channel(name.clone()))
        };
        let lists = self.leftovers.lists;
        let (mut kept, mut free) = (BTreeMap::new(), BTreeSet::new());
        for (name, since) in self.leftovers.gone.iter().filter(|(name, _)| !is_wanted(name)) {
            let since = if with_containers.contains(name) { lists } else { *since };
            if lists.saturating_sub(since) < LISTS_WITHOUT {
                kept.insert(name.clone(), since);
            } else {
                free.insert(name.clone());
            }
        }
        let of = if self.leftovers.swept {
            if free.is_empty() {
                self.leftovers.gone = kept;
                return;
            }
            SecretsOf::These(free)
        } else {
            let known = self.world.inventory.keys().map(|object| &object.name);
            let wanted = self.world.desired.channels.keys().chain(known).chain(kept.keys());
            let seen = std::mem::take(&mut self.leftovers.seen);
            SecretsOf::AllBut(wanted.cloned().chain(with_containers).chain(seen).collect())
        };
        self.leftovers.gone = kept;
        self.leftovers.swept = true;
        let cause = "no container can use them any more".to_owned();
        self.send(None, Call::RemoveSecrets { of, before: now.wall }, cause);
    }

    /// Those that have a container, or may have one soon.
    fn channels_with_containers(&self) -> BTreeSet<ResourceName> {
        let seen = self.world.observed.iter().map(|(_, seen)| &seen.identity.channel);
        let runs = self.world.runs.iter().filter(|record| record.end.is_none());
        let runs = runs.map(|record| &record.channel);
        let sent = self.calls.values().filter_map(|sent| match &sent.call {
            Call::Create { target, .. } => Some(&target.preparation.channel),
            Call::CreateRun { target, .. } => Some(&target.target.preparation.channel),
            _ => None,
        });
        seen.chain(runs).chain(sent).cloned().collect()
    }

    pub(super) fn leftovers_removed(&mut self, now: Now, answer: Result<Answer, Failure>) {
        if let Err(failure) = answer {
            let message = format!(
                "secrets of channels that are gone stay on the host until the next start: {}",
                failure.message()
            );
            self.record(now, "operator", true, "SecretsStay", &message);
        }
    }
}
