//! Two clocks in one value: what every decision is given instead of reading a clock.

use std::time::Duration;

use jiff::Timestamp;

/// An instant: monotonic for waiting, wall-clock for what people and Docker write down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Since the process began. Never goes back.
    pub mono: Duration,
    /// What the calendar says. May jump.
    pub wall: Timestamp,
}
