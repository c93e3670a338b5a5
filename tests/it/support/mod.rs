//! What several subjects need: the real engine, and an image made from nothing.

pub(crate) mod engine;
pub(crate) mod image;
