//! The spec directory: watching, scanning and parsing it.
//!
//! Nothing here decides anything. A scan says what was read and what was not ([`crate::world::scan`]); the core decides what
//! that means. Events of the kernel mean only "look again"; every look is at everything, and everything is looked at again
//! twice a minute though nobody rang.
//!
//! In reading order: `limits` (what is read at all), `read` (one file), `beneath` (links), `tree` (one walk), `place` (the way
//! to the root), [`parse`] (a file to its objects; the only user of YAML), `scan` (walks until one is whole), `cache` (what
//! need not be parsed again), `directory` (for builds), `prompt` (for runs), `revision`, `watch` (the doorbell, the only user of `notify`), [`SpecTree`] (the task).

mod beneath;
mod cache;
mod directory;
#[cfg(fuzzing)]
pub mod fuzz;
mod limits;
pub mod parse;
mod place;
mod prompt;
mod read;
mod revision;
mod scan;
mod spec_tree;
mod tree;
mod watch;

use crate::resource::Now;

pub use directory::open_directory;
pub use prompt::{PromptError, read_prompt};
pub use scan::scan_once;
pub use spec_tree::{SpecTree, Timing};

/// Where the time comes from; only one file reads the clock.
pub type NowFn = dyn Fn() -> Now + Send + Sync;
