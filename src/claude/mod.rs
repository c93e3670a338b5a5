//! The agent's CLI: how it is called, what its session is given, and what its output means.
//!
//! Pure: arguments, environments and files as values. What was found about the CLI by trying it (2.1.330) stands where it
//! decides something.

pub mod command;
pub mod credentials;
pub mod environment;
pub mod first_start;
pub mod mcp;
pub mod project;
pub mod prompt;
pub mod shell;
#[cfg(test)]
mod tests;
