//! What a container is: its configuration, names, labels, and what the engine says of it.
//!
//! Words only. A [`ContainerId`], [`ContainerName`] or [`ImageRef`] was parsed, so it may be put into a URL; nothing else
//! may. Ownership is decided in one place, [`label::Identity::of`].

pub mod config;
pub mod image_ref;
pub mod label;
pub mod name;
pub mod snapshot;
pub mod spec_hash;
pub mod wait;

pub use config::ContainerConfig;
pub use image_ref::{ImageRef, NormalImageRef};
pub use label::Identity;
pub use name::{ContainerId, ContainerName, ObjectName};
pub use snapshot::{ContainerState, Details, Snapshot};
pub use wait::WaitResponse;
