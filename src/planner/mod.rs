//! What should be done for one key, and why: a pure function of the world.
//!
//! [`plan_channel`] knows no sequence number, no backoff and no queue: whether *now* is the time is the controller's to say.
//! `chanop plan` is the fold of it over all channels ([`report`]).
//!
//! Always: the same world gives the same step; a step waits for time only where it says so, and else for a change of the
//! world; and once an action has succeeded, the same action is not wanted again.

pub mod action;
pub mod channel;
pub mod difference;
mod image;
pub mod intent;
pub mod mark;
pub mod ports;
mod remount;
pub mod report;
pub mod run;
pub mod template;
mod volumes;
mod writer;

pub use action::{Action, Pending, Status, Step, Wake};
pub use channel::plan_channel;
pub use mark::Mark;

/// How long from now until then; nothing when that has been.
fn until(now: jiff::Timestamp, then: jiff::Timestamp) -> std::time::Duration {
    std::time::Duration::try_from(then.duration_since(now)).unwrap_or_default()
}
