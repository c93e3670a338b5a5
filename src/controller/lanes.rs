//! How much goes on at once: a lane for each class of call, one token bucket for all that changes something.
//!
//! The numbers lie above what an engine on a fast machine does (a start takes some 200 ms of its work), so that they bound
//! a storm and never the normal course. The executor never queues: what has a slot here, goes out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::effect::Call;
use crate::resource::ResourceName;

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
    /// Ping, info, list, network, probe: the core has at most one of each on its way.
    Single,
}

impl Lane {
    /// The lane of a call.
    pub const fn of(call: &Call) -> Self {
        match call {
            Call::Inspect(_) | Call::InspectName(_) => Self::Inspect,
            Call::Create { .. } => Self::Create,
            Call::Start { .. } | Call::Update { .. } => Self::Start,
            Call::Stop { .. } => Self::Stop,
            Call::Remove { .. } => Self::Remove,
            Call::Ping
            | Call::Info
            | Call::Anchor { .. }
            | Call::Network
            | Call::List
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
        Call::List | Call::Anchor { .. } | Call::Network | Call::Probe(_) => {
            Duration::from_secs(30)
        }
        Call::Create { .. } | Call::Start { .. } | Call::Remove { .. } | Call::Update { .. } => {
            Duration::from_mins(2)
        }
        Call::Stop { grace_seconds, .. } => Duration::from_secs(*grace_seconds as u64 + 30),
    }
}

/// Slots and who waits for them.
#[derive(Debug)]
pub struct Lanes {
    limits: BTreeMap<Lane, usize>,
    used: BTreeMap<Lane, usize>,
    waiting: BTreeMap<Lane, BTreeSet<(u64, ResourceName)>>,
    /// Who stands in which queue: once, however often they are planned meanwhile.
    queued: BTreeSet<(Lane, ResourceName)>,
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
            queued: BTreeSet::new(),
            slow_start: usize::MAX,
            tokens: TOKENS_MAX,
            filled_at: Duration::ZERO,
        }
    }

    /// How many more calls may go out in the lane now.
    fn room(&self, lane: Lane) -> usize {
        let mut limit = self.limits.get(&lane).copied().unwrap_or(1);
        if lane == Lane::Create {
            limit = limit.min(self.slow_start);
        }
        limit.saturating_sub(self.used.get(&lane).copied().unwrap_or_default())
    }

    /// Would the call get a slot?
    pub fn has_room(&self, call: &Call) -> bool {
        self.room(Lane::of(call)) > 0
    }

    /// Takes a slot for the call, when there is one.
    pub fn take(&mut self, call: &Call) -> bool {
        let lane = Lane::of(call);
        let free = self.room(lane) > 0;
        if free {
            *self.used.entry(lane).or_default() += 1;
        }
        free
    }

    /// Gives the slot back.
    pub fn give_back(&mut self, call: &Call) {
        if let Some(used) = self.used.get_mut(&Lane::of(call)) {
            *used = used.saturating_sub(1);
        }
    }

    /// Lets those go who waited longest, as many in each lane as there is room and are tokens for now.
    pub fn admit(&mut self, now: Duration) -> Vec<ResourceName> {
        self.refill(now);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "few, and whole"
        )]
        let mut tokens = self.tokens.max(0.0) as usize;
        let lanes: Vec<Lane> = self.waiting.keys().copied().collect();
        let mut admitted = Vec::new();
        for lane in lanes {
            let free = lane == Lane::Inspect;
            let room = if free { self.room(lane) } else { self.room(lane).min(tokens) };
            let Some(waiting) = self.waiting.get_mut(&lane) else { continue };
            for (_, name) in std::iter::from_fn(|| waiting.pop_first()).take(room) {
                if !free {
                    tokens -= 1;
                }
                self.queued.remove(&(lane, name.clone()));
                admitted.push(name);
            }
            if waiting.is_empty() {
                self.waiting.remove(&lane);
            }
        }
        admitted
    }

    /// When the next of those who have room may go, if what they lack is a token.
    pub fn next_token(&self) -> Option<Duration> {
        let lacking = self.waiting.keys().any(|lane| self.room(*lane) > 0) && self.tokens < 1.0;
        // A millisecond more, so that the sum of fractions is surely a whole.
        let wait = Duration::from_secs_f64((1.0 - self.tokens).max(0.0) / TOKENS_PER_SECOND);
        lacking.then(|| self.filled_at + wait + Duration::from_millis(1))
    }

    /// Puts a channel into the queue of the lane.
    pub fn wait(&mut self, call: &Call, turn: u64, name: ResourceName) {
        let lane = Lane::of(call);
        if self.queued.insert((lane, name.clone())) {
            self.waiting.entry(lane).or_default().insert((turn, name));
        }
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

    fn name(text: &str) -> ResourceName {
        ResourceName::parse(text).unwrap()
    }

    #[test]
    fn when_a_slow_start_speeds_up_all_who_fit_go() {
        let mut lanes = Lanes::new(4);
        let id = crate::container::ContainerId::parse(&"a".repeat(64)).unwrap();
        let call = Call::Remove { id, force: false };
        for _ in 0..4 {
            assert!(lanes.take(&call));
        }
        assert!(!lanes.has_room(&call));
        for (turn, waiter) in ["a", "b", "c"].iter().enumerate() {
            lanes.wait(&call, turn as u64, name(waiter));
        }
        assert_eq!(lanes.admit(Duration::ZERO), []);
        lanes.give_back(&call);
        lanes.give_back(&call);
        assert_eq!(lanes.admit(Duration::ZERO), [name("a"), name("b")]);
        assert_eq!(lanes.depth(), 1);
    }
}
