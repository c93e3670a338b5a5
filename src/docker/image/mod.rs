//! Images: pulls and builds with their progress, contexts, and the credentials that registries want.
//!
//! When an image is pulled or built, and what follows from a failure, the core decides.

pub mod credentials;
pub mod helper;
pub mod pull;
pub mod stall;

pub use credentials::{CredentialsError, RegistryAuth};
pub use helper::CredentialSources;
pub use pull::{PullError, PullPhase, PullProgress, PullStream};
pub use stall::{Stalled, no_progress_for};
