//! Container runtimes: which of them share the host's kernel, and which one a channel gets.
//!
//! `chanop-init` compares device and inode of every mount with what the operator prepared. Under a runtime with a kernel or a
//! file server of its own (runsc, kata) a container sees other numbers, so the comparison is impossible there. The list below
//! names the runtimes where it works; every other runtime is treated as one where it does not. No field of a spec switches the
//! comparison off by itself: a runtime that is not the engine's default has to be allowed by the administrator. Under every
//! runtime, the policy refuses a source that the channel could replace (`NotBelowOwnMount`).

use crate::resource::Effective;

/// Runtimes that run a process on the host's own kernel and mount the host's own file systems.
const NATIVE: [&str; 6] =
    ["runc", "crun", "youki", "nvidia", "io.containerd.runc.v1", "io.containerd.runc.v2"];

/// The runtime to ask the engine for: empty when the spec names the engine's default, whatever that is called.
pub fn requested<'a>(effective: &'a Effective, default: Option<&str>) -> &'a str {
    match effective.runtime_class_name.as_str() {
        class if Some(class) == default => "",
        class => class,
    }
}

/// Does the container see the host's own device and inode numbers? A default that is not known yet is taken for native:
/// the comparison then fails closed.
pub fn shows_host_inodes(effective: &Effective, default: Option<&str>) -> bool {
    let runtime = match requested(effective, default) {
        "" => default,
        class => Some(class),
    };
    runtime.is_none_or(|runtime| NATIVE.contains(&runtime))
}
