//! The rules of the built-in policy, by name.

use std::fmt;

/// A rule that a spec broke. The names are stable: metrics, conditions and `validate` show them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rule {
    /// A host path is below the owner's home, and is not the home itself.
    BelowHome,
    /// No host path is in a dot-directory of the home.
    NoDotPath,
    /// A host path is absolute and normal, and contains no symbolic link.
    RealPath,
    /// Only directories and files are mounted; the workspace is a directory, a copied file a file.
    NoSpecialFile,
    /// No host path equals, contains or is inside a directory of the operator.
    NotProtected,
    /// No source is strictly below a path that another channel can write: that channel could replace it with a link.
    NotBelowForeignMount,
    /// No writable path contains a path that another channel has mounted already: the same, seen from the other side.
    NotAboveForeignMount,
    /// No source is strictly below a path that the channel itself can write, or that one of its containers still can.
    NotBelowOwnMount,
    /// Whatever is not optional exists.
    SourceExists,
    /// Every secret exists and is closed to others.
    SecretUsable,
    /// The host's network is not used.
    NoHostNetwork,
    /// No network is used but the instance's own.
    NoForeignNetwork,
    /// No capability is added.
    NoAddedCapability,
    /// Every capability is dropped.
    DropAll,
    /// Setuid programs gain no privileges.
    NoPrivilegeEscalation,
    /// No process has uid 0.
    NoRoot,
    /// No process has gid 0.
    NoRootGroup,
    /// Processes are the owner's or the image's user.
    NoForeignUser,
    /// Processes have no further groups.
    NoSupplementalGroup,
    /// A volume has a valid name that the operator does not use itself.
    VolumeName,
    /// An image reference follows its grammar.
    ImageReference,
    /// What an image is built from exists, inside the spec directory.
    BuildContext,
    /// The runtime is the engine's default, or one that the administrator allowed.
    RuntimeClass,
    /// A CLI that is injected exists, and has a plain name.
    AgentCli,
    /// No mount or file covers what chanop, the engine or the kernel puts into a container.
    ReservedTarget,
    /// No published port is privileged, or one that the operator itself listens on.
    ReservedPort,
}

impl Rule {
    /// The rule's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::BelowHome => "BelowHome",
            Self::NoDotPath => "NoDotPath",
            Self::RealPath => "RealPath",
            Self::NoSpecialFile => "NoSpecialFile",
            Self::NotProtected => "NotProtected",
            Self::NotBelowForeignMount => "NotBelowForeignMount",
            Self::NotAboveForeignMount => "NotAboveForeignMount",
            Self::NotBelowOwnMount => "NotBelowOwnMount",
            Self::SourceExists => "SourceExists",
            Self::SecretUsable => "SecretUsable",
            Self::NoHostNetwork => "NoHostNetwork",
            Self::NoForeignNetwork => "NoForeignNetwork",
            Self::NoAddedCapability => "NoAddedCapability",
            Self::DropAll => "DropAll",
            Self::NoPrivilegeEscalation => "NoPrivilegeEscalation",
            Self::NoRoot => "NoRoot",
            Self::NoRootGroup => "NoRootGroup",
            Self::NoForeignUser => "NoForeignUser",
            Self::NoSupplementalGroup => "NoSupplementalGroup",
            Self::VolumeName => "VolumeName",
            Self::ImageReference => "ImageReference",
            Self::BuildContext => "BuildContext",
            Self::RuntimeClass => "RuntimeClass",
            Self::AgentCli => "AgentCli",
            Self::ReservedTarget => "ReservedTarget",
            Self::ReservedPort => "ReservedPort",
        }
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
