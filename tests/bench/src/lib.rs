//! What the table and Criterion's benches share: the core with an engine that has all that it wants.

pub mod core;

/// What goes wrong ends the measure, and is printed.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;
