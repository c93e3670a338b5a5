//! The fence between operators: nothing is changed unless the anchor said a moment ago that this process holds the instance.
//!
//! Docker has no lease and no condition on a request. So the anchor is read before each burst of changes, and once a minute in any
//! case. An operator that was replaced stops within [`OWNED_FOR`], and one that takes over waits as long before its first change.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::Controller;
use super::effect::{Call, Effect};
use super::input::{Failure, Seq};
use super::session::Session;
use crate::planner::Mark;
use crate::resource::{Now, ObjectRef};
use crate::world::ownership::{Claim, Holder, Verdict};
use crate::world::record::{Write, meta_key};

/// So long after it was sent, a read of the anchor allows changes.
const OWNED_FOR: Duration = Duration::from_secs(10);
/// Between two reads when nothing is changed, times a number from 1 to 1.4.
const ANCHOR_EVERY: Duration = Duration::from_secs(40);
/// After a read that failed, when nobody waits for it.
const ANCHOR_RETRY: Duration = Duration::from_secs(15);
/// The same, when somebody does.
const ANCHOR_RETRY_SOON: Duration = Duration::from_secs(1);
/// After so many failures in a row, while somebody waits, the engine counts as away, and the reason is shown.
const FAILURES_MAX: u32 = 3;

/// What is known of the anchor.
#[derive(Debug)]
pub(super) struct Fence {
    /// What the anchor says when this process holds the instance.
    ours: Holder,
    /// `--takeover`, until it was granted.
    takeover: bool,
    /// The engine on which the anchor was last ours, and the directory from which, as kept: a copy of the store did not hold it.
    anchored_on: Option<String>,
    /// When the last read that showed this process as the holder was sent.
    confirmed: Option<Duration>,
    /// When the read that is on its way was sent.
    asked: Duration,
    /// Nothing is changed before: the operator that was replaced can still act on its last read.
    not_before: Duration,
    /// Who waits for a read.
    waiting: BTreeSet<ObjectRef>,
    /// Reads that failed in a row, and when it is tried again.
    failures: u32,
    retry_at: Duration,
}

impl Fence {
    pub(super) const fn new(ours: Holder, takeover: bool, anchored_on: Option<String>) -> Self {
        Self {
            ours,
            takeover,
            anchored_on,
            confirmed: None,
            asked: Duration::ZERO,
            not_before: Duration::ZERO,
            waiting: BTreeSet::new(),
            failures: 0,
            retry_at: Duration::ZERO,
        }
    }

    fn is_ours(&self, now: Duration) -> bool {
        now >= self.not_before && self.confirmed.is_some_and(|at| now < at + OWNED_FOR)
    }

    /// When the anchor is read next while nothing else asks for it.
    pub(super) fn next_read(&self, now: Duration, draw: f64) -> Duration {
        if self.waiting.is_empty() {
            now + ANCHOR_EVERY.mul_f64(1.0 + 0.4 * draw)
        } else {
            self.next_try(now)
        }
    }

    fn next_try(&self, now: Duration) -> Duration {
        now.max(self.not_before).max(self.retry_at)
    }
}

impl Controller {
    /// A slot, a fresh look at the anchor and a token for a change; or a place in the line for what is missing.
    pub(super) fn may_change(&mut self, now: Now, object: &ObjectRef, call: &Call) -> bool {
        if !self.lanes.has_room(call) {
            self.wait_for_lane(object, call);
            return false;
        }
        if !self.fence.is_ours(now.mono) {
            self.fence.waiting.insert(object.clone());
            self.keys.entry(object.clone()).or_default().waits_since.get_or_insert(now.mono);
            self.confirm_soon(now);
            return false;
        }
        // Who gets no token waits in line, or all would wake at one instant.
        if !self.lanes.take_token(now.mono) {
            self.wait_for_lane(object, call);
            return false;
        }
        true
    }

    /// A look precedes a change: the anchor is read beside it.
    pub(super) fn will_change(&mut self, now: Now) {
        if !self.fence.is_ours(now.mono) {
            self.confirm_soon(now);
        }
    }

    fn confirm_soon(&mut self, now: Now) {
        let at = self.fence.next_try(now.mono);
        let Session::Live(live) = &self.session else { return };
        if live.anchor.is_some() {
            return;
        }
        let sent = (at <= now.mono).then(|| self.read_anchor("is the instance still ours?"));
        if let Session::Live(live) = &mut self.session {
            live.anchor = sent;
            live.anchor_at = at;
        }
    }

    pub(super) fn read_anchor(&mut self, cause: &str) -> Seq {
        self.fence.asked = self.now.mono;
        let claim = self.claim();
        self.send(None, Call::Anchor(Arc::new(claim)), cause.to_owned())
    }

    fn anchorage(&self) -> String {
        format!("{} {}", self.engine.id, self.fence.ours.place.inode)
    }

    fn claim(&self) -> Claim {
        Claim {
            ours: self.fence.ours.clone(),
            takeover: self.fence.takeover,
            held_before: self.fence.anchored_on.as_ref() == Some(&self.anchorage()),
            held_by_us: self.fence.confirmed.is_some(),
        }
    }

    /// The anchor was read.
    pub(super) fn anchored(&mut self, now: Now, seq: Seq, found: &Holder) {
        let connecting = match &self.session {
            Session::Anchoring { seq: expected } if *expected == seq => true,
            Session::Live(live) if live.anchor == Some(seq) => false,
            _ => return,
        };
        let claim = self.claim();
        if claim.judge(found) != Verdict::Ours {
            self.marks.insert(Mark::AnchorTaken);
            self.fence.confirmed = None;
            let message = claim.refusal(&self.world.settings.instance, found);
            self.out.push(Effect::Fatal(message.clone()));
            self.go_down(now, &message);
            return;
        }
        let fence = &mut self.fence;
        fence.confirmed = Some(fence.asked);
        fence.failures = 0;
        fence.retry_at = Duration::ZERO;
        // Taken over once is enough: from now on the anchor is ours, and who takes it from us shall keep it.
        if std::mem::take(&mut fence.takeover) {
            fence.not_before = now.mono + OWNED_FOR;
            let message = "--takeover: nothing is changed for 10 s, in which another operator that is still there stops";
            self.record(now, "operator", false, "TookOver", message);
        }
        let anchorage = self.anchorage();
        if self.fence.anchored_on.as_ref() != Some(&anchorage) {
            self.fence.anchored_on = Some(anchorage.clone());
            self.unsaved.push(Write::Meta(meta_key::ANCHORED_ON.to_owned(), anchorage));
        }
        if connecting {
            self.anchor_is_ours(now);
            return;
        }
        if self.fence.is_ours(now.mono) {
            for object in std::mem::take(&mut self.fence.waiting) {
                if self.keys.contains_key(&object) {
                    self.enqueue(&object);
                }
            }
        }
        let draw = self.jitter.draw();
        let next = self.fence.next_read(now.mono, draw);
        if let Session::Live(live) = &mut self.session {
            live.anchor = None;
            live.anchor_at = next;
            live.heard(now.mono);
        }
    }

    /// A read of the anchor failed on a connection that works: volumes may be in trouble where containers are not. Answers whether
    /// that is all: false when the engine counts as away.
    pub(super) fn anchor_failed(&mut self, now: Now, failure: &Failure) -> bool {
        self.fence.failures = self.fence.failures.saturating_add(1);
        let waits = !self.fence.waiting.is_empty();
        if matches!(failure, Failure::Refused(..)) || (waits && self.fence.failures >= FAILURES_MAX)
        {
            return false;
        }
        let pause = if waits { ANCHOR_RETRY_SOON } else { ANCHOR_RETRY };
        self.fence.retry_at = now.mono + ANCHOR_RETRY_SOON;
        if let Session::Live(live) = &mut self.session {
            live.anchor = None;
            live.anchor_at = now.mono + pause;
        }
        true
    }
}
