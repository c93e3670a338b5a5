//! `chanop-init`: run by itself, and as the entrypoint on a real engine.

mod alone;
mod engine;
