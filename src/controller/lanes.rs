//! How much goes on at once: a lane for each class of call, one token bucket for all that changes something.
//!
//! The numbers lie above what an engine on a fast machine does (a start takes some 200 ms of its work), so that they bound
//! a storm and never the normal course. The executor never queues: what has a slot here, goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::Call;
use crate::resource::ObjectRef;

/// A class of calls that share slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// Inspects: cheap, but they wait for the container's lock.
    Inspect,
    /// Creates: disk work.
    Create,
    /// Starts and updates: CPU work.
    Start,
    /// Stops: mostly waiting.
    Stop,
    /// Removes: disk work, and a slow one holds up all others in the engine.
    Remove,
    /// Ping, info, list, network, probe: the core has at most one of each on its way. Images: it bounds them itself.
    Single,
}

impl Lane {
    /// The lane of a call.
    pub const fn of(call: &Call) -> Self {
        match call {
            Call::Inspect(_) | Call::InspectName(_) => Self::Inspect,
            Call::Create { .. } | Call::CreateRun { .. } => Self::Create,
            Call::Start { .. } | Call::Update { .. } => Self::Start,
            Call::Stop { .. } => Self::Stop,
            Call::Remove { .. } | Call::UntagBuilds { .. } => Self::Remove,
            Call::Ping
            | Call::Info
            | Call::Anchor(_)
            | Call::Network
            | Call::List
            | Call::LookForImage(_)
            | Call::BringImage(_)
            | Call::Contexts(_)
            | Call::ReadPrompt(_)
            | Call::CheckMounts(_)
            | Call::RemoveSecrets { .. }
            | Call::Probe(_) => Self::Single,
        }
    }
}

/// How long each call may take. Creates and starts wait for the engine's disk and for its locks, as the kubelet's and ECS's
/// agents have learned; a call that was given up has an unknown outcome.
pub const fn timeout_of(call: &Call) -> Duration {
    match call {
        Call::Ping => Duration::from_secs(3),
        Call::Info | Call::Inspect(_) | Call::InspectName(_) => Duration::from_secs(10),
        // Somebody at a terminal waits for it; a dead network mount never answers.
        Call::CheckMounts(_) => Duration::from_secs(5),
        Call::List
        | Call::Anchor(_)
        | Call::Network
        | Call::LookForImage(_)
        | Call::ReadPrompt(_)
        | Call::RemoveSecrets { .. }
        | Call::Probe(_) => Duration::from_secs(30),
        // A gigabyte on a slow disk.
        Call::Contexts(_) => Duration::from_mins(10),
        Call::Create { .. }
        | Call::CreateRun { .. }
        | Call::Start { .. }
        | Call::Remove { .. }
        | Call::UntagBuilds { .. }
        | Call::Update { .. } => Duration::from_mins(2),
        // One without progress is given up long before; this is for one that crawls.
        Call::BringImage(_) => Duration::from_hours(6),
        Call::Stop { grace_seconds, .. } => Duration::from_secs(*grace_seconds as u64 + 30),
    }
}

/// Slots and who waits for them.
#[derive(Debug)]
pub struct Lanes {
    limits: BTreeMap<Lane, usize>,
    used: BTreeMap<Lane, usize>,
    waiting: BTreeMap<Lane, BTreeSet<(u64, ObjectRef)>>,
    /// Each waits once.
    places: BTreeMap<ObjectRef, (Lane, u64)>,
    /// After an outage, how many creates may be on their way: doubled by each success, so that a fault that hits all costs
    /// few doomed calls.
    slow_start: usize,
    tokens: f64,
    filled_at: Duration,
}

/// Changes a second in the long run, and at once.
const TOKENS_PER_SECOND: f64 = 100.0;
const TOKENS_MAX: f64 = 200.0;

impl Lanes {
    /// Lanes for an engine with so many CPUs.
    pub fn new(cpus: usize) -> Self {
        let limits = BTreeMap::from([
            (Lane::Inspect, 8),
            (Lane::Create, 4),
            (Lane::Start, cpus.clamp(4, 8)),
            (Lane::Stop, 16),
            (Lane::Remove, 4),
            (Lane::Single, usize::MAX),
        ]);
        Self {
            limits,
            used: BTreeMap::new(),
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            slow_start: usize::MAX,
            tokens: TOKENS_MAX,
            filled_at: Duration::ZERO,
        }
    }

    /// Is there a slot for the call?
    pub fn has_room(&self, call: &Call) -> bool {
        self.has_slot(Lane::of(call))
    }

    fn has_slot(&self, lane: Lane) -> bool {
        let mut limit = self.limits.get(&lane).copied().unwrap_or(1);
        if lane == Lane::Create {
            limit = limit.min(self.slow_start);
        }
        self.used.get(&lane).copied().unwrap_or(0) < limit
    }

    /// Takes a slot for the call, when there is one.
    pub fn take(&mut self, call: &Call) -> bool {
        let lane = Lane::of(call);
        let room = self.has_slot(lane);
        if room {
            *self.used.entry(lane).or_default() += 1;
        }
        room
    }

    /// Gives the slot back.
    pub fn give_back(&mut self, call: &Call) {
        if let Some(used) = self.used.get_mut(&Lane::of(call)) {
            *used = used.saturating_sub(1);
        }
    }

    /// Puts a channel or run into the queue of the lane; one that waits for it already keeps its place.
    pub fn wait(&mut self, call: &Call, turn: u64, name: ObjectRef) {
        let lane = Lane::of(call);
        if self.places.get(&name).is_some_and(|(waits_for, _)| *waits_for == lane) {
            return;
        }
        self.leave(&name);
        self.places.insert(name.clone(), (lane, turn));
        self.waiting.entry(lane).or_default().insert((turn, name));
    }

    /// Takes it out of the queue that it waits in.
    pub fn leave(&mut self, name: &ObjectRef) {
        if let Some((lane, turn)) = self.places.remove(name)
            && let Some(queue) = self.waiting.get_mut(&lane)
        {
            queue.remove(&(turn, name.clone()));
        }
    }

    /// Takes out whoever waited longest for a lane that has room, and for a token where the lane's calls need one.
    pub fn admissible(&mut self, now: Duration) -> Option<ObjectRef> {
        self.refill(now);
        let may_go =
            |lane: Lane| self.has_slot(lane) && (lane == Lane::Inspect || self.tokens >= 1.0);
        let (_, queue) =
            self.waiting.iter().find(|(lane, queue)| !queue.is_empty() && may_go(**lane))?;
        let name = queue.first().map(|(_, name)| name.clone())?;
        self.leave(&name);
        Some(name)
    }

    /// When there will be a token, if that is what somebody who has room lacks.
    pub fn next_token(&self) -> Option<Duration> {
        let somebody = |(lane, queue): (&Lane, &BTreeSet<(u64, ObjectRef)>)| {
            !queue.is_empty() && *lane != Lane::Inspect && self.has_slot(*lane)
        };
        let lacking = self.tokens < 1.0 && self.waiting.iter().any(somebody);
        // A millisecond more, so that the fractions surely add up to a whole.
        let wait = Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / TOKENS_PER_SECOND);
        lacking.then(|| self.filled_at + wait + Duration::from_millis(1))
    }

    /// How many wait.
    pub fn depth(&self) -> usize {
        self.waiting.values().map(BTreeSet::len).sum()
    }

    /// How many are on their way.
    pub fn in_flight(&self) -> usize {
        self.used.values().sum()
    }

    /// Takes a token for a change, when there is one.
    pub fn take_token(&mut self, now: Duration) -> bool {
        self.refill(now);
        let some = self.tokens >= 1.0;
        if some {
            self.tokens -= 1.0;
        }
        some
    }

    fn refill(&mut self, now: Duration) {
        let passed = now.saturating_sub(self.filled_at).as_secs_f64();
        self.tokens = TOKENS_PER_SECOND.mul_add(passed, self.tokens).min(TOKENS_MAX);
        self.filled_at = now;
    }

    /// The engine was away: begin with one create.
    pub const fn begin_slowly(&mut self) {
        self.slow_start = 1;
    }

    /// A create worked.
    pub const fn speed_up(&mut self) {
        self.slow_start = self.slow_start.saturating_mul(2);
    }

    /// The engine's number of CPUs is known.
    pub fn set_cpus(&mut self, cpus: usize) {
        self.limits.insert(Lane::Start, cpus.clamp(4, 8));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::ResourceName;

    #[test]
    fn who_lacks_a_token_waits_in_line_and_not_each_with_a_timer() {
        let mut lanes = Lanes::new(4);
        let id = crate::container::ContainerId::parse(&"a".repeat(64)).unwrap();
        let call = Call::Remove { id, force: false, place: None };
        while lanes.take_token(Duration::ZERO) {}
        for (turn, waiter) in ["b", "a"].iter().enumerate() {
            lanes.wait(
                &call,
                turn as u64,
                ObjectRef::channel(ResourceName::parse(waiter).unwrap()),
            );
        }
        assert_eq!(lanes.admissible(Duration::ZERO), None);
        let then = lanes.next_token().unwrap();
        assert_eq!(
            lanes.admissible(then).map(|name| name.to_string()),
            Some("channel/b".to_owned())
        );
        assert!(lanes.take_token(then));
        assert_eq!(lanes.admissible(then), None);
    }
}
