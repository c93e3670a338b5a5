//! What the Claude CLI says: pure words, without I/O.
//!
//! [`parser`] makes lines of its `stream-json` output into [`event`]s, in chunks of any size and in bounded memory;
//! [`outcome`] folds the events of one process into what became of the run. Who reads the bytes, where they
//! are kept and whether a run is tried again is decided elsewhere.
//!
//! The output is not trusted: a tool of the agent can write to the same pipe. So every list that is kept has a bound,
//! nothing here panics, and a line that cannot be read never hides the others.

pub mod event;
pub mod outcome;
pub mod parser;
