//! The ancestor's `DockerClient`: its method names over any [`Engine`](super::Engine).

/// Placeholder until its methods are here.
pub trait DockerClient {}
