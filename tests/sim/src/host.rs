//! The host's file system, as far as the core asks about it.

use std::collections::{BTreeMap, BTreeSet};

use chanop::controller::effect::SecretsOf;
use chanop::resource::{Owner, ResourceName};
use chanop::world::Settings;
use chanop::world::facts::{Facts, FactsWanted, PathFact, PathKind};
use chanop::world::mounted::{MountChange, MountChangeKind};
use chanop::world::ownership::{Holder, StatePlace};
use chanop::world::preparation::HostPaths;

use crate::engine::Engine;

/// What is there, which is all that is asked for but these.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Paths that are not there.
    pub missing: BTreeSet<String>,
    /// Whose secrets were removed, in order.
    pub secrets_removed: Vec<SecretsOf>,
    /// Paths whose own file system is not mounted.
    pub unmounted: BTreeSet<String>,
}

impl Host {
    /// Answers a probe.
    pub fn probe(&self, wanted: &FactsWanted) -> Facts {
        let fact = |path: &String| {
            if self.missing.contains(path) {
                return PathFact::Missing;
            }
            PathFact::Present {
                real: path.clone(),
                kind: PathKind::Directory,
                uid: 1000,
                identity: (1, 2),
            }
        };
        let paths = wanted.paths.iter().map(|path| (path.clone(), fact(path))).collect();
        Facts { paths, ..Facts::default() }
    }

    /// Answers a check of mounts: how each channel's workspace differs from what its running shell has.
    pub fn mount_changes(
        &self,
        engine: &Engine,
        instance: &ResourceName,
        channels: &BTreeSet<ResourceName>,
    ) -> BTreeMap<ResourceName, Vec<MountChange>> {
        let changes = |channel: &ResourceName| {
            let shell = engine.shell(instance, channel).filter(|shell| shell.is_live())?;
            let source = shell.config.working_dir.clone();
            let kind = if self.missing.contains(&source) {
                MountChangeKind::Missing
            } else if self.unmounted.contains(&source) {
                MountChangeKind::Unmounted
            } else if engine.has_replaced_workspace(shell) {
                MountChangeKind::Replaced
            } else {
                return None;
            };
            Some(MountChange { target: source.clone(), source, kind })
        };
        let found =
            |channel: &ResourceName| (channel.clone(), changes(channel).into_iter().collect());
        channels.iter().map(found).collect()
    }
}

/// The flags of the simulated operator.
pub fn settings() -> Settings {
    Settings {
        instance: name("default"),
        owner: Owner { user: "u".to_owned(), uid: 1000, gid: 1000, home: "/home/u".to_owned() },
        host_labels: std::collections::BTreeMap::new(),
        protected: vec!["/home/u/specs".to_owned()],
        environment: Vec::new(),
        paths: HostPaths {
            state: "/var/lib/chanop".to_owned(),
            secrets: "/run/chanop/secrets".to_owned(),
        },
        agent_cli: None,
        runtime_classes: std::collections::BTreeSet::new(),
        own_ports: std::collections::BTreeSet::new(),
        prune_delay: std::time::Duration::from_secs(10),
        stray_grace: std::time::Duration::from_secs(60),
        max_runs: 8,
        process: uuid::Uuid::nil(),
        state_place: StatePlace {
            boot_id: "boot".to_owned(),
            inode: "8:1".to_owned(),
            path: "/var/lib/chanop".to_owned(),
        },
    }
}

/// What the anchor says of an operator that works on another state directory of this host, or on a copy of ours.
pub fn another_operator(state_id: &str) -> Holder {
    Holder {
        state_id: state_id.to_owned(),
        process: Some(uuid::Uuid::from_u128(u128::MAX)),
        place: StatePlace {
            boot_id: "boot".to_owned(),
            inode: "8:2".to_owned(),
            path: "/srv/copy".to_owned(),
        },
    }
}

/// A name that is one.
pub fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).expect("a name")
}
