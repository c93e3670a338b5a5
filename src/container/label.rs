//! The labels of our containers, and the one rule of ownership.
//!
//! A container is ours when it has our instance's label *and* the name that its labels spell. Labels alone are no proof:
//! an image made from one of our containers hands them on to strangers.

use std::collections::BTreeMap;

use super::name::ContainerName;
use crate::resource::{ObjectRef, ResourceName};

/// Which operator instance.
pub const INSTANCE: &str = "dev.chanop.instance";
/// `shell` or `run`.
pub const KIND: &str = "dev.chanop.kind";
/// The channel's name.
pub const CHANNEL: &str = "dev.chanop.channel";
/// The run's name.
pub const RUN: &str = "dev.chanop.run";
/// The attempt's number.
pub const ATTEMPT: &str = "dev.chanop.attempt";
/// What the container was made from.
pub const SPEC_HASH: &str = "dev.chanop.spec-hash";
/// The file, relative to the spec directory.
pub const SOURCE: &str = "dev.chanop.source";

/// What a container of ours is for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The channel's long-lived shell.
    Shell,
    /// One attempt of a run.
    Run {
        /// Its name.
        run: ResourceName,
        /// Its number.
        attempt: u32,
    },
}

/// Whose container it is and what for: all that its name spells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Identity {
    /// The operator instance.
    pub instance: ResourceName,
    /// The channel.
    pub channel: ResourceName,
    /// Shell or run.
    pub role: Role,
}

/// How a container relates to this instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// Ours: label and name agree.
    Ours(Identity),
    /// Our instance's label, but another name than its labels spell: a copy, or renamed by hand. Never touched.
    Impostor,
    /// None of our business.
    Foreign,
}

impl Identity {
    /// A channel's shell.
    pub const fn shell(instance: ResourceName, channel: ResourceName) -> Self {
        Self { instance, channel, role: Role::Shell }
    }

    /// The name that these labels spell.
    pub fn name(&self) -> ContainerName {
        match &self.role {
            Role::Shell => ContainerName::shell(&self.instance, &self.channel),
            Role::Run { run, attempt } => {
                ContainerName::run(&self.instance, &self.channel, run, *attempt)
            }
        }
    }

    /// The labels that a new container gets, beside its hash and source.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels = BTreeMap::from([
            (INSTANCE.to_owned(), self.instance.to_string()),
            (CHANNEL.to_owned(), self.channel.to_string()),
        ]);
        match &self.role {
            Role::Shell => {
                labels.insert(KIND.to_owned(), "shell".to_owned());
            }
            Role::Run { run, attempt } => {
                labels.insert(KIND.to_owned(), "run".to_owned());
                labels.insert(RUN.to_owned(), run.to_string());
                labels.insert(ATTEMPT.to_owned(), attempt.to_string());
            }
        }
        labels
    }

    /// The channel or run that it belongs to.
    pub fn object(&self) -> ObjectRef {
        match &self.role {
            Role::Shell => ObjectRef::channel(self.channel.clone()),
            Role::Run { run, .. } => ObjectRef::run(run.clone()),
        }
    }

    /// The channel or run that labels name; whether the container is ours is another question.
    pub fn object_of(labels: &BTreeMap<String, String>) -> Option<ObjectRef> {
        Self::parse(labels).map(|identity| identity.object())
    }

    fn parse(labels: &BTreeMap<String, String>) -> Option<Self> {
        let name = |key: &str| labels.get(key).and_then(|text| ResourceName::parse(text).ok());
        let role = match labels.get(KIND)?.as_str() {
            "shell" => Role::Shell,
            "run" => Role::Run { run: name(RUN)?, attempt: labels.get(ATTEMPT)?.parse().ok()? },
            _ => return None,
        };
        Some(Self { instance: name(INSTANCE)?, channel: name(CHANNEL)?, role })
    }

    /// The channel whose container this is, by the rule of ownership, for one who has the instance's name as text.
    pub fn channel_of(
        instance: &str,
        labels: &BTreeMap<String, String>,
        name: &ContainerName,
    ) -> Option<String> {
        match Self::of(&ResourceName::parse(instance).ok()?, labels, name) {
            Ownership::Ours(identity) => Some(identity.channel.to_string()),
            Ownership::Impostor | Ownership::Foreign => None,
        }
    }

    /// The rule of ownership.
    pub fn of(
        instance: &ResourceName,
        labels: &BTreeMap<String, String>,
        name: &ContainerName,
    ) -> Ownership {
        if labels.get(INSTANCE).map(String::as_str) != Some(instance.as_str()) {
            return Ownership::Foreign;
        }
        match Self::parse(labels) {
            Some(identity) if identity.name() == *name => Ownership::Ours(identity),
            Some(_) | None => Ownership::Impostor,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    #[test]
    fn label_and_name_together_make_a_container_ours() {
        let identity = Identity::shell(name("default"), name("web"));
        let labels = identity.labels();
        let ours = Identity::of(&name("default"), &labels, &identity.name());
        assert_eq!(ours, Ownership::Ours(identity));
        let renamed = ContainerName::parse("web-copy").unwrap();
        assert_eq!(Identity::of(&name("default"), &labels, &renamed), Ownership::Impostor);
        assert_eq!(Identity::of(&name("other"), &labels, &renamed), Ownership::Foreign);
    }

    #[test]
    fn a_run_is_known_by_its_attempt_too() {
        let role = Role::Run { run: name("fix"), attempt: 2 };
        let identity = Identity { instance: name("default"), channel: name("web"), role };
        assert_eq!(identity.name().as_str(), "chanop_default_web_fix_2");
        let mut labels = identity.labels();
        labels.insert(ATTEMPT.to_owned(), "3".to_owned());
        assert_eq!(Identity::of(&name("default"), &labels, &identity.name()), Ownership::Impostor);
    }
}
