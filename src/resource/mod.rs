//! The words of the files: every kind with every field, parsed strictly and judged whole.
//!
//! Pure data and pure rules; reading files is [`crate::specs`]'s work. A value of these types has been validated: names
//! are names, paths are absolute, quantities are numbers. What is wrong with a file is data too, a violation with its place.

pub mod condition;
pub mod effective;
pub mod meta;
pub mod time;

pub use effective::{Effective, Owner};
pub use meta::{Kind, ObjectMeta, ObjectRef, ResourceName, SourceRef};
pub use time::Now;
