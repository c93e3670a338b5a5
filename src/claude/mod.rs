//! The agent's CLI: how it is called, what its session is given, and what its output means.
//!
//! Pure: arguments, environments, files and events as values. What was found about the CLI by trying it (2.1.330) stands
//! where it decides something. [`parser`] makes lines of its `stream-json` output into [`event`]s, in chunks of any size and
//! in bounded memory; [`outcome`] folds the events of one process into what became of the run. Who reads the bytes, where
//! they are kept and whether a run is tried again is decided elsewhere.
//!
//! The output is not trusted: a tool of the agent can write to the same pipe. So every list that is kept has a bound,
//! nothing here panics, and a line that cannot be read never hides the others.

pub mod command;
pub mod credentials;
pub mod environment;
pub mod event;
pub mod first_start;
pub mod mcp;
pub mod outcome;
pub mod parser;
pub mod project;
pub mod prompt;
pub mod shell;

pub use outcome::RunOutcome;

#[cfg(test)]
mod tests;
