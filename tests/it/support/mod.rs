//! What several subjects need: the real engine, an image made from nothing, the API that the agent asks, the operator as a
//! process, a Docker engine of a test's own, a proxy before it at which faults happen, a registry, and a terminal.

pub(crate) mod engine;
pub(crate) mod image;
pub(crate) mod mock_api;
pub(crate) mod mounted;
pub(crate) mod operator;
pub(crate) mod own_engine;
pub(crate) mod proxy;
pub(crate) mod registry;
pub(crate) mod runs;
pub(crate) mod tmux;
pub(crate) mod witness;
