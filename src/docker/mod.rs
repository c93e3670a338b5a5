//! The Docker engine: the real one behind a trait.
//!
//! [`Engine`] is what chanop needs of Docker, in chanop's own types. [`DockerClient`] is the ancestor's interface, a façade
//! that every engine has. The real engine is [`Docker`]: bollard behind [`transport`], which adds the API version to each
//! path, keeps a small pool, and bounds how many requests are open. No type of bollard leaves this room.

pub mod client;
pub mod engine;
pub mod error;

pub use client::DockerClient;
pub use engine::Engine;
pub use error::{EngineError, EngineResult};
