//! What the core remembers of one channel beside the world: gates, what is on its way, what must be read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::backoff::Gate;
use super::effect::Call;
use super::input::Seq;
use crate::container::ContainerId;
use crate::planner::{Pending, Status};
use crate::resource::condition::Condition;
use jiff::Timestamp;

/// A call on its way.
#[derive(Debug, Clone)]
pub struct InFlight {
    /// To recognise its answer.
    pub seq: Seq,
    /// What.
    pub call: Call,
}

/// What must be read before anything else is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MustRead {
    /// What has our name: a create's outcome is unknown, or its name was taken.
    Name,
    /// This container.
    Id(ContainerId),
}

/// An event that a call of ours predicts: of which container, and the engine's word.
pub type Echo = (Option<ContainerId>, &'static str);

/// One channel's bookkeeping.
#[derive(Debug, Clone, Default)]
pub struct KeyState {
    /// At most one call at a time.
    pub in_flight: Option<InFlight>,
    /// Closed by failures.
    pub gate: Option<Gate>,
    /// Closed by looks that failed.
    pub read_gate: Option<Gate>,
    /// What must be read first.
    pub must_read: Option<MustRead>,
    /// Read by an inspect that nothing has happened since: what is done to this container now is done with open eyes.
    pub fresh: Option<(ContainerId, Duration)>,
    /// The answer of the last change: reads sent before it are stale.
    pub last_write: Seq,
    /// The last event: reads sent before it are stale too.
    pub last_event: Seq,
    /// What calls predict, so that their echo wakes nobody. A create predicts its event before its container has an ID.
    pub echo: BTreeSet<Echo>,
    /// An event of the last change must come by then, or the stream is not to be trusted.
    pub echo_due: Option<Duration>,
    /// When to plan again though nothing happens.
    pub wake_at: Option<Duration>,
    /// Since when its call waits for a lane.
    pub waits_since: Option<Duration>,
    /// Its turn in the queue.
    pub turn: u64,
    /// Of the last plan.
    pub status: Option<Status>,
    /// Of the last plan.
    pub pending: Option<Pending>,
    /// As published and stored.
    pub conditions: Vec<Condition>,
    /// Since when a change waits.
    pub pending_since: Option<Timestamp>,
    /// The last end of its process that was counted.
    pub last_end: Option<(ContainerId, Timestamp)>,
    /// The container that this process stopped itself: its end is no crash.
    pub stopped_by_us: Option<ContainerId>,
    /// The container that is to be replaced for a drift at the right hash, and the fields that differ in it: see
    /// `World::unreadable_drift`.
    pub drift_tried: Option<(ContainerId, Vec<&'static str>)>,
    /// Showed the last new container that very drift at once? A hand may be as quick, but hardly twice.
    pub drift_again: bool,
    /// When it was last made anew for what a hand had changed, and how often in a row.
    pub mended: Option<(Duration, u32)>,
}

/// What was read so long ago is no longer looked at with open eyes. The call goes out in the turn of the answer, unless its
/// lane is full; then a new look comes first, since somebody may have entered meanwhile.
const FRESH_FOR: Duration = Duration::from_millis(100);

impl KeyState {
    /// The container that was looked at just now.
    pub fn fresh_at(&self, now: Duration) -> Option<ContainerId> {
        let fresh = self.fresh.as_ref().filter(|(_, at)| now.saturating_sub(*at) < FRESH_FOR);
        fresh.map(|(id, _)| id.clone())
    }

    /// Expects what `call` predicts, and no longer what earlier calls predicted of the same container: an echo that did not
    /// come by now must not swallow an event that means something. Other containers' may still be on their way.
    pub fn expect(&mut self, call: &Call) {
        let (id, words) = echoes_of(call);
        self.echo.retain(|(of, _)| of.is_none() || *of != id);
        self.echo.extend(words.iter().map(|word| (id.clone(), *word)));
        self.echo_due = None;
    }

    /// Is this event the echo of a call? Once only.
    pub fn is_echo(&mut self, id: &ContainerId, action: &str) -> bool {
        let predicted =
            |(of, word): &&Echo| *word == action && of.as_ref().is_none_or(|of| of == id);
        let Some(echo) = self.echo.iter().find(predicted).cloned() else { return false };
        self.echo.remove(&echo);
        // Who is gone says no more: a remove of what had ended predicts an end in vain.
        if action == "destroy" {
            self.echo.retain(|(of, _)| of.as_ref() != Some(id));
        }
        true
    }

    /// Is an event of this call still to come?
    pub fn awaits(&self, call: &Call) -> bool {
        let (id, words) = echoes_of(call);
        words.iter().any(|word| self.echo.contains(&(id.clone(), *word)))
    }
}

/// The container that a call is about, and the events that it predicts.
fn echoes_of(call: &Call) -> (Option<ContainerId>, &'static [&'static str]) {
    match call {
        Call::Create { .. } | Call::CreateRun { .. } => (None, &["create"]),
        Call::Start { id, .. } => (Some(id.clone()), &["start"]),
        Call::Stop { id, .. } => (Some(id.clone()), &["kill", "die", "stop"]),
        Call::Remove { id, .. } => (Some(id.clone()), &["kill", "die", "destroy"]),
        Call::Update { id, .. } => (Some(id.clone()), &["update"]),
        Call::Ping
        | Call::Info
        | Call::Anchor(_)
        | Call::Network
        | Call::List
        | Call::Inspect(_)
        | Call::InspectName(_)
        | Call::LookForImage(_)
        | Call::BringImage(_)
        | Call::UntagBuilds { .. }
        | Call::Contexts(_)
        | Call::ReadPrompt(_)
        | Call::CheckMounts(_)
        | Call::RemoveSecrets { .. }
        | Call::Probe(_) => (None, &[]),
    }
}
