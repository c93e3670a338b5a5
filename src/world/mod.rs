//! The state the core decides from: what is desired, what is observed, what the host is like, what was overridden.

pub mod admission;
pub mod environment;
pub mod facts;
pub mod preparation;
pub mod record;
