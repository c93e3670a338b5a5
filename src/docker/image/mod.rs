//! Images: pulls and builds with their progress, contexts, and the credentials that registries want.
//!
//! When an image is pulled or built, and what follows from a failure, the core decides.

pub mod build;
pub mod context;
pub mod credentials;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod helper;
mod ignore;
pub mod pull;
pub mod stall;

pub use build::{BuildError, BuildEvent, BuildStream, ImageBuildSpec, is_content_hash};
pub use context::{BuildContext, ContextError};
pub use credentials::{CredentialsError, RegistryAuth};
pub use helper::CredentialSources;
pub use ignore::IgnoreError;
pub use pull::{PullError, PullPhase, PullProgress, PullStream};
pub use stall::{Stalled, no_progress_for};
