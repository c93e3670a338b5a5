//! The Docker engine: the real one behind a trait.
//!
//! [`Engine`] is what chanop needs of Docker, in chanop's own types. [`DockerClient`] is the ancestor's interface, a façade
//! that every engine has. The real engine is [`Docker`]: bollard behind a transport of our own, which adds the API version to
//! each path, keeps a small pool, and bounds how many requests are open. An [`Endpoint`] says where it is.
//!
//! No type of bollard or hyper leaves this room. Nothing here retries, logs or decides; a call that may have been carried out
//! says so ([`EngineError::is_uncertain`]).

mod bollard;
mod classify;
pub mod client;
pub mod endpoint;
pub mod engine;
pub mod error;
mod frames;
#[cfg(fuzzing)]
pub mod fuzz;
pub mod image;
mod transport;
mod version;
mod wire;

pub use self::bollard::Docker;
pub use client::DockerClient;
pub use endpoint::{Endpoint, EndpointError, EndpointSources};
pub use engine::Engine;
pub use error::{EngineError, EngineResult};

/// What telemetry must add to every log filter, also to one that a person asks for: bollard writes whole request bodies, with
/// every environment variable in them, at debug.
pub const LOG_CAP: &str = "bollard=info";
