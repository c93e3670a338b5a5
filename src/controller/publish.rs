//! What the faces see: made from the world when something changed, at most every 20 ms.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::Controller;
use super::effect::Effect;
use super::stats::Stats;
use super::view::{ChannelView, ContainerView, EngineView, PendingView, View};
use crate::container::ContainerState;
use crate::resource::condition::{self, Condition, ConditionStatus, ConditionType, Reason};
use crate::resource::text::hex;
use crate::resource::{Kind, Now, ObjectRef, ResourceName};
use crate::world::Trouble;
use crate::world::desired::Verdict;
use crate::world::image::ImageWorkKind;
use crate::world::record::Write;

/// Between two snapshots: a person sees no difference, and a storm costs fifty a second.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

impl Controller {
    pub(super) fn next_publication(&self, now: Now) -> Option<Duration> {
        if !self.view_dirty {
            return None;
        }
        Some(self.published_at.map_or(now.mono, |at| at + PUBLISH_EVERY))
    }

    pub(super) fn publish(&mut self, now: Now) {
        if self.next_publication(now).is_none_or(|at| at > now.mono) {
            return;
        }
        for object in std::mem::take(&mut self.touched) {
            let name = object.name;
            if object.kind == Kind::Run {
                self.publish_run(name);
                continue;
            }
            match self.view_of(now, &name) {
                Some(view) => {
                    if self.channel_view(&name).map(AsRef::as_ref) != Some(&view) {
                        self.view.channels.insert(name, Arc::new(view));
                    }
                }
                None => {
                    self.view.channels.remove(&name);
                }
            }
        }
        let blocked = self.blocked();
        let held: Vec<String> = self.sources.held().map(held_name).collect();
        let hold_revision = self.hold_revision();
        let view = &mut self.view;
        view.version += 1;
        view.at = now.wall;
        view.blocked = blocked;
        view.specs.unavailable = self.sources.unavailable().map(str::to_owned);
        view.specs.files_ok = self.sources.files_ok();
        view.specs.invalid.clone_from(self.sources.invalid());
        view.specs.held = held;
        view.specs.hold_revision = hold_revision;
        view.specs.classes = self.world.desired.classes.iter().map(ToString::to_string).collect();
        view.specs.not_for_this_host = self
            .world
            .desired
            .channels
            .values()
            .filter(|channel| channel.verdict == Verdict::NotForThisHost)
            .count();
        view.engine = EngineView {
            live: self.session.is_live(),
            error: self.session.error(),
            version: self.engine.version.clone(),
            api_version: self.engine.api_version.clone(),
            id: self.engine.id.clone(),
        };
        view.impostors = self.world.observed.impostors().map(|(_, name)| name.clone()).collect();
        if *view.events != self.events {
            view.events = Arc::new(self.events.clone());
        }
        if std::mem::take(&mut self.totals_changed) {
            self.view.totals = Arc::new(self.world.runs.totals.clone());
        }
        let view = &mut self.view;
        let shells_running = view
            .channels
            .values()
            .filter_map(|channel| channel.container.as_ref())
            .filter(|container| container.state == ContainerState::Running)
            .count();
        let policy_violations = view
            .channels
            .values()
            .filter(|channel| channel.status == Reason::PolicyViolation.as_str())
            .count();
        let oldest = self.calls.values().find(|sent| sent.subject.is_some());
        self.view.stats = Stats {
            queue_depth: self.lanes.depth(),
            in_flight: self.lanes.in_flight(),
            oldest_call_since: oldest.map(|sent| sent.at),
            breaker_open: !self.session.is_live(),
            shells_running,
            policy_violations,
            ..self.stats.clone()
        };
        self.view_dirty = false;
        self.published_at = Some(now.mono);
        let view: View = self.view.clone();
        self.out.push(Effect::Publish(Arc::new(view)));
    }

    /// What `chanop prune --confirm` must name: a word for the held set, after the spec revision where there is one. So nobody
    /// confirms more than was shown.
    pub(super) fn hold_revision(&self) -> Option<String> {
        let held: BTreeSet<String> = self.sources.held().map(ToString::to_string).collect();
        if held.is_empty() {
            return None;
        }
        let digest = Sha256::digest(held.into_iter().collect::<Vec<_>>().join("\n").as_bytes());
        let word = hex(digest.get(..3).unwrap_or_default());
        Some(match &self.view.specs.revision {
            Some(revision) => format!("{revision}-{word}"),
            None => word,
        })
    }

    fn view_of(&mut self, now: Now, name: &ResourceName) -> Option<ChannelView> {
        let object = ObjectRef::channel(name.clone());
        let conditions = self.conditions_of(now, name);
        let desired = self.world.desired.channels.get(name);
        let row = self.world.inventory.get(&object);
        let seen = self.world.observed.shell_of(name);
        if desired.is_none() && row.is_none() && seen.is_none() {
            return None;
        }
        let key = self.keys.get(&object)?;
        let ready = conditions.iter().find(|c| c.kind == ConditionType::Ready)?.clone();
        let is_ready = ready.status == ConditionStatus::True;
        let status = if !is_ready || ready.reason == Reason::PruneHeld {
            ready.reason.as_str()
        } else {
            seen.map_or_else(|| ready.reason.as_str(), |_| Reason::Running.as_str())
        };
        let pending = key.pending.as_ref().map(|pending| PendingView {
            action: pending.verb.to_owned(),
            cause: pending.cause.clone(),
            waits: pending.waits.clone(),
            since: self.since(name).unwrap_or(now.wall),
            forced_at: pending.forced_at,
        });
        Some(ChannelView {
            name: name.clone(),
            uid: match self.channel_view(name) {
                Some(before) => before.uid.clone(),
                None => uid(&self.world.settings.instance, name),
            },
            generation: row.map_or(0, |row| row.generation),
            created_at: row.map_or(now.wall, |row| row.created_at),
            labels: desired.map(|desired| desired.labels.clone()).unwrap_or_default(),
            annotations: desired.map(|desired| desired.annotations.clone()).unwrap_or_default(),
            source: desired.map(|desired| desired.source.clone()),
            effective: desired.and_then(|desired| desired.effective.clone()),
            origins: desired.map(|desired| Arc::clone(&desired.origins)).unwrap_or_default(),
            ready: is_ready,
            status,
            message: ready.message,
            conditions,
            container: seen.map(|seen| ContainerView {
                id: seen.snapshot.id.clone(),
                name: seen.snapshot.name.clone(),
                state: seen.state(),
                image: desired
                    .and_then(|desired| desired.target.as_ref())
                    .map(|target| target.config.image.clone())
                    .unwrap_or_default(),
                image_id: seen.snapshot.image_id.clone(),
                image_digest: self.digest_of(&seen.snapshot.image_id),
                created: seen.snapshot.created,
            }),
            image_work: desired
                .and_then(|desired| desired.target.as_ref())
                .and_then(|target| self.world.images.get(&target.wanted_image()))
                .and_then(|image| image.work.clone())
                .filter(|work| work.kind != ImageWorkKind::Look),
            pending,
            overridden: self.world.suspended_by_hand(&object, now).cloned(),
            restarts: self.world.crashes.get(name).map_or(0, |crashes| crashes.count),
            in_flight: key.in_flight.as_ref().map(|flight| flight.call.word()),
            next_look: key.wake_at.and_then(|at| wall(now, at)),
        })
    }

    fn digest_of(&self, image_id: &str) -> Option<String> {
        let found = self.world.images.values().filter_map(|image| image.found.as_ref());
        found.filter(|found| found.id == image_id).find_map(|found| found.digest.clone())
    }

    /// Brings the channel's conditions up to date, and keeps them when they changed.
    fn conditions_of(&mut self, now: Now, name: &ResourceName) -> Vec<Condition> {
        let object = ObjectRef::channel(name.clone());
        let generation = self.world.inventory.get(&object).map_or(0, |row| row.generation);
        let live = self.was_live;
        let error = self.session.error();
        let desired = self.world.desired.channels.get(name);
        let git_missing = desired.map(|desired| desired.git_missing.join("; ")).unwrap_or_default();
        let source_trouble = desired.and_then(|desired| desired.source_trouble.clone());
        let unavailable = self.world.desired.unavailable.clone();
        let known = desired.is_some() || self.world.inventory.contains_key(&object);
        let running = self
            .world
            .observed
            .shell_of(name)
            .is_some_and(|seen| seen.state() == ContainerState::Running);
        let Some(key) = self.keys.get_mut(&object) else { return Vec::new() };
        let Some(status) = key.status.clone() else { return key.conditions.clone() };
        let condition = |kind, status, reason, message: String| Condition {
            kind,
            status,
            reason,
            message,
            observed_generation: generation,
            last_transition_time: now.wall,
        };
        let ready = if live {
            condition(ConditionType::Ready, status.ready, status.reason, status.message)
        } else {
            let message = error.unwrap_or_default();
            let unknown = ConditionStatus::Unknown;
            condition(ConditionType::Ready, unknown, Reason::EngineUnavailable, message)
        };
        let source = match (unavailable, source_trouble) {
            (Some(why), _) => condition(
                ConditionType::SourceValid,
                ConditionStatus::Unknown,
                Reason::SourceUnavailable,
                why,
            ),
            (None, Some((reason, why))) => {
                condition(ConditionType::SourceValid, ConditionStatus::False, reason, why)
            }
            (None, None) => condition(
                ConditionType::SourceValid,
                ConditionStatus::True,
                Reason::Valid,
                "the file is read and counts".to_owned(),
            ),
        };
        let failed_update =
            self.world.troubles.get(name).filter(|trouble| trouble.reason == Reason::UpdateFailed);
        let up_to_date = match &key.pending {
            _ if failed_update.is_some() => condition(
                ConditionType::UpToDate,
                ConditionStatus::False,
                Reason::UpdateFailed,
                failed_update.map(Trouble::text).unwrap_or_default(),
            ),
            Some(pending) => condition(
                ConditionType::UpToDate,
                ConditionStatus::False,
                pending.reason,
                format!("{}: {}; waits: {}", pending.verb, pending.cause, pending.waits),
            ),
            None if running => condition(
                ConditionType::UpToDate,
                ConditionStatus::True,
                Reason::UpToDate,
                "made from the newest spec".to_owned(),
            ),
            None => condition(
                ConditionType::UpToDate,
                ConditionStatus::Unknown,
                Reason::Waiting,
                "there is no running container".to_owned(),
            ),
        };
        let said = key.conditions.iter().any(|it| it.kind == ConditionType::GitUsable);
        let git = if git_missing.is_empty() {
            let message = "nothing that git needs is missing".to_owned();
            said.then(|| {
                let status = ConditionStatus::True;
                condition(ConditionType::GitUsable, status, Reason::Valid, message)
            })
        } else {
            let (status, reason) = (ConditionStatus::False, Reason::GitDirectoryNotMounted);
            Some(condition(ConditionType::GitUsable, status, reason, git_missing))
        };
        let mut changed = false;
        for new in [ready, source, up_to_date].into_iter().chain(git) {
            changed |= condition::set(&mut key.conditions, new);
        }
        let conditions = key.conditions.clone();
        if changed && known {
            self.unsaved.push(Write::Conditions(object, Some(conditions.clone())));
        }
        conditions
    }
}

/// A channel by its name, anything else with its kind.
fn held_name(object: &ObjectRef) -> String {
    match object.kind {
        Kind::Channel => object.name.to_string(),
        Kind::Run | Kind::Schedule | Kind::ChannelClass => object.to_string(),
    }
}

fn uid(instance: &ResourceName, name: &ResourceName) -> String {
    let digest = Sha256::digest(format!("{instance}/Channel/{name}").as_bytes());
    hex(digest.get(..16).unwrap_or_default())
}

fn wall(now: Now, at: Duration) -> Option<Timestamp> {
    let ahead = jiff::SignedDuration::try_from(at.saturating_sub(now.mono)).ok()?;
    now.wall.checked_add(ahead).ok()
}
