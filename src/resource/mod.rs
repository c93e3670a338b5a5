//! The words of the files: every kind with every field, parsed strictly and judged whole.
//!
//! Pure data and pure rules; reading files is [`crate::specs`]'s work. A value of these types has been validated: names
//! are names, paths are absolute, quantities are numbers. What is wrong with a file is data too, a violation with its place.
//!
//! In reading order: [`meta`] (names and kinds), [`channel`], [`class`], [`run`], [`schedule`] (the kinds as written),
//! [`node`] and [`decode`] (how a document becomes one of them), [`validate`] (what can be wrong), [`merge`] and
//! [`effective`] (a channel as it counts), [`project`] (what the workspace itself may say), [`schema`] (the same rules for
//! editors).

pub mod channel;
pub mod class;
pub mod condition;
pub mod cron;
pub mod decode;
pub mod duration;
pub mod effective;
mod labels;
pub mod merge;
pub mod meta;
pub mod node;
mod object;
pub mod project;
pub mod quantity;
pub mod run;
pub mod schedule;
pub mod schema;
pub mod text;
pub mod time;
pub mod validate;

pub use channel::{Channel, ChannelSpec};
pub use class::ChannelClass;
pub use effective::{Effective, Owner};
pub use meta::{Kind, ObjectMeta, ObjectRef, ResourceName, SourceRef};
pub use object::{Resource, decode_document, decode_object};
pub use run::{Run, RunSpec};
pub use schedule::{Schedule, ScheduleSpec};
pub use time::Now;
