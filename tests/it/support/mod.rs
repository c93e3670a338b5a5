//! What several subjects need: the real engine, an image made from nothing, the API that the agent asks, the operator as a
//! process, and a terminal.

pub(crate) mod engine;
pub(crate) mod image;
pub(crate) mod mock_api;
pub(crate) mod operator;
pub(crate) mod registry;
pub(crate) mod tmux;
