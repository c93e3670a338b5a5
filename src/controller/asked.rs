//! What people and programs ask: each is answered once, most at once.

use std::time::Duration;

use super::request::{EnsuredShell, PlanReport, Reply, Request};
use super::{Controller, Ensuring};
use crate::planner::{Mark, report};
use crate::resource::condition::Reason;
use crate::resource::{Kind, Now, ObjectRef, ResourceName};
use crate::world::desired::Verdict;
use crate::world::record::{Override, Write};

/// So many may wait for shells at once.
const ENSURING_MAX: usize = 1_000;
/// How long an asker waits for a shell: a slow engine's create and start together.
const ENSURE_WITHIN: Duration = Duration::from_mins(1);

impl Controller {
    pub(super) fn asked(&mut self, now: Now, id: u64, request: Request) {
        match request {
            Request::Ensure(channel) => self.ask_ensure(now, id, channel),
            Request::Suspend { target, duration, reason } => {
                self.ask_suspend(now, id, &target, duration, reason);
            }
            Request::Resume(target) => self.ask_resume(id, &target),
            Request::Reconcile(target) => self.ask_reconcile(now, id, target),
            Request::ConfirmPrune(revision) => self.ask_prune(now, id, &revision),
            Request::SubmitRun { name, labels, spec } => {
                self.ask_submit(now, id, name, labels, &spec);
            }
            Request::CancelRun { name, why } => self.ask_cancel(now, id, &name, why),
            Request::ReleaseRun(name) => self.ask_release(now, id, name),
            Request::Plan => {
                let engine = self.session.is_live().then(|| self.engine.version.clone());
                let revision = self.view.specs.revision.clone().unwrap_or_default();
                let plan = PlanReport::new(report::report(&self.world, now), revision, engine);
                self.reply(id, Reply::Planned(plan));
            }
        }
    }

    fn ask_ensure(&mut self, now: Now, id: u64, channel: ResourceName) {
        if !self.world.desired.channels.contains_key(&channel) {
            self.reply(id, Reply::NotFound(format!("there is no channel `{channel}`")));
            return;
        }
        if self.ensuring.len() >= ENSURING_MAX {
            self.reply(id, Reply::Refused("too many wait for shells already".to_owned()));
            return;
        }
        // It may have gone a moment ago, and the event of that be on its way: the answer is read, not remembered.
        self.doubt(&channel);
        self.enqueue_channel(&channel);
        let mounts = self.check_mounts_of(&channel);
        self.ensuring.push(Ensuring { id, channel, mounts, until: now.mono + ENSURE_WITHIN });
    }

    /// Answers those whose shell runs by now, or will not.
    pub(super) fn answer_ensures(&mut self, now: Now) {
        if self.ensuring.is_empty() {
            return;
        }
        let waiting = std::mem::take(&mut self.ensuring);
        for waiter in waiting {
            match self.ensure_answer(now, &waiter) {
                Some(reply) => {
                    if !matches!(reply, Reply::Ensured(_)) {
                        self.marks.insert(Mark::EnsureInVain);
                    }
                    self.reply(waiter.id, reply);
                }
                None => self.ensuring.push(waiter),
            }
        }
    }

    fn ensure_answer(&self, now: Now, waiter: &Ensuring) -> Option<Reply> {
        let name = &waiter.channel;
        let key = self.keys.get(&ObjectRef::channel(name.clone()));
        let status = key.and_then(|key| key.status.as_ref());
        let (Some(key), Some(status)) = (key, status) else {
            // Its file went while somebody waited.
            let gone = !self.world.desired.channels.contains_key(name);
            let missing = || Reply::NotFound(format!("there is no channel `{name}`"));
            return (gone || now.mono >= waiter.until).then(missing);
        };
        let unchecked = waiter.mounts.is_some_and(|seq| self.calls.contains_key(&seq));
        if unchecked && now.mono < waiter.until {
            return None;
        }
        let running = self.world.observed.shell_of(name).filter(|seen| {
            self.is_ready(name) && seen.state() == crate::container::ContainerState::Running
        });
        let certain = self.session.is_live() && key.must_read.is_none();
        if let Some(seen) = running.filter(|_| certain) {
            return Some(Reply::Ensured(EnsuredShell {
                container_id: seen.snapshot.id.clone(),
                engine_id: self.engine.id.clone(),
            }));
        }
        let hopeless = match status.reason {
            Reason::PolicyViolation
            | Reason::ClassNotFound
            | Reason::InvalidSpec
            | Reason::WorkspaceMissing
            | Reason::MountMissing
            | Reason::MountReplaced
            | Reason::SecretMissing
            | Reason::AgentCliMissing
            | Reason::Suspended
            | Reason::NotForThisHost
            | Reason::ShellDisabled
            | Reason::Paused
            | Reason::ImageMissing
            | Reason::ImagePullBackOff
            | Reason::ImageBuildFailed
            | Reason::NameConflict
            | Reason::Deleting => key.in_flight.is_none(),
            _ => false,
        };
        let refused = |why: &str| {
            Reply::Refused(format!(
                "channel/{name} has no running shell: {} ({why})",
                status.reason
            ))
        };
        if hopeless {
            return Some(refused(&status.message));
        }
        if now.mono >= waiter.until {
            let why = self.blocked().unwrap_or_else(|| status.message.clone());
            return Some(refused(&why));
        }
        None
    }

    fn ask_suspend(
        &mut self,
        now: Now,
        id: u64,
        target: &ObjectRef,
        duration: Option<Duration>,
        reason: String,
    ) {
        if target.kind != Kind::Channel || !self.world.desired.channels.contains_key(&target.name) {
            self.reply(id, Reply::NotFound(format!("there is no {target}")));
            return;
        }
        let until = duration
            .and_then(|duration| jiff::SignedDuration::try_from(duration).ok())
            .and_then(|duration| now.wall.checked_add(duration).ok());
        let set = Override { suspend: true, reason, since: now.wall, until };
        self.unsaved.push(Write::Override(target.clone(), Some(set.clone())));
        self.world.overrides.insert(target.clone(), set);
        self.enqueue(target);
        self.enqueue_runs_of(&target.name);
        let until =
            until.map_or_else(|| "until `chanop resume`".to_owned(), |at| format!("until {at}"));
        self.reply(id, Reply::Accepted(format!("{target} is suspended {until}")));
    }

    fn ask_resume(&mut self, id: u64, target: &ObjectRef) {
        let by_hand = self.world.overrides.remove(target).is_some();
        if by_hand {
            self.unsaved.push(Write::Override(target.clone(), None));
            self.open_gate(target);
            self.enqueue(target);
            self.enqueue_runs_of(&target.name);
        }
        let desired = self.world.desired.channels.get(&target.name);
        let by_file =
            desired.and_then(|desired| desired.effective.as_ref()).is_some_and(|spec| spec.suspend);
        let reply = match (by_hand, by_file, desired) {
            (_, _, None) => Reply::NotFound(format!("there is no {target}")),
            (_, true, Some(desired)) => Reply::Refused(format!(
                "{target} is suspended by its file: set spec.suspend to false in {}",
                desired.source
            )),
            (true, false, _) => Reply::Accepted(format!("{target} is resumed")),
            (false, false, _) => Reply::Accepted(format!("{target} was not suspended")),
        };
        self.reply(id, reply);
    }

    fn ask_reconcile(&mut self, now: Now, id: u64, target: Option<ObjectRef>) {
        self.rescan_at = Some(now.mono);
        let reply =
            match target {
                None => {
                    self.look_again(now);
                    let all: Vec<ObjectRef> = self.keys.keys().cloned().collect();
                    for object in all {
                        self.open_gate(&object);
                    }
                    self.enqueue_all();
                    Reply::Accepted("everything is looked at again".to_owned())
                }
                Some(target) => {
                    let known = match target.kind {
                        Kind::Channel => {
                            self.world.desired.channels.contains_key(&target.name)
                                || self.world.inventory.contains_key(&target)
                        }
                        Kind::Run => {
                            self.world.runs.get(&target.name).is_some()
                                || self.world.desired.runs.contains_key(&target.name)
                        }
                        Kind::Schedule | Kind::ChannelClass => false,
                    };
                    if target.kind == Kind::Run && known {
                        self.open_gate(&target);
                        self.world.runs.troubles.remove(&target.name);
                        self.enqueue(&target);
                        Reply::Accepted(format!("{target} is looked at again"))
                    } else if !known {
                        Reply::NotFound(format!("there is no {target}"))
                    } else {
                        self.open_gate(&target);
                        self.doubt(&target.name);
                        self.world.remounts.remove(&target.name);
                        self.check_mounts_of(&target.name);
                        self.enqueue(&target);
                        let held =
                            self.world.desired.channels.get(&target.name).is_some_and(|desired| {
                                matches!(desired.verdict, Verdict::Held { .. })
                            });
                        let hint = if held { "; it is held, see `chanop describe`" } else { "" };
                        Reply::Accepted(format!("{target} is looked at again{hint}"))
                    }
                }
            };
        self.reply(id, reply);
    }

    /// What is known of the channel's container is to be read again.
    fn doubt(&mut self, name: &ResourceName) {
        use super::key::MustRead;
        let seen = self.world.observed.shell_of(name);
        let what = seen.map_or(MustRead::Name, |seen| MustRead::Id(seen.snapshot.id.clone()));
        self.keys.entry(ObjectRef::channel(name.clone())).or_default().must_read = Some(what);
    }

    fn ask_prune(&mut self, now: Now, id: u64, revision: &str) {
        let held = self.sources.held().count();
        let expected = self.hold_revision();
        let reply = match expected {
            _ if held == 0 => Reply::Refused("no removal is held".to_owned()),
            Some(expected) if expected == revision => {
                self.sources.confirm();
                self.rescan_at = Some(now.mono);
                self.record(
                    now,
                    "operator",
                    false,
                    "PruneConfirmed",
                    &format!("removal of {held} channels was confirmed"),
                );
                Reply::Accepted(format!(
                    "{held} channels are let go: stopped when idle, then removed"
                ))
            }
            Some(expected) => Reply::Refused(format!(
                "{held} removals are held at revision {expected}, not {revision}: look at `chanop plan`, then \
                 `chanop prune --confirm {expected}`"
            )),
            None => Reply::Refused("no removal is held".to_owned()),
        };
        self.reply(id, reply);
    }
}
