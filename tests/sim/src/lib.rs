//! chanop's core in a world made of values: one thread, virtual time, everything that can go wrong drawn from a seed.
//!
//! The core is the one of production; what it talks to is not. [`engine`] is Docker with its traps, [`tree`] the spec
//! directory, [`store`] what outlives the process, [`host`] the file system's facts. [`driver`] carries out effects late,
//! twice or not at all, crashes the operator, and lets people meddle; [`check`] holds the core to its promises, from the
//! engine's own truth and the log of calls; [`settled`] says whether all is as the files
//! want it; [`chaos`] is one seed from beginning to end;
//! [`bed`] is what the scenarios have in common.
//!
//! Nothing here reads a clock or draws an unseeded number: a seed is a trace.

pub mod bed;
pub mod chaos;
pub mod check;
pub mod driver;
pub mod engine;
pub mod host;
pub mod rng;
pub mod settled;
pub mod store;
pub mod tree;
pub mod work;

pub use driver::{Fate, Sim};
pub use tree::Spec;
pub use work::{Says, Work};
