//! What follows from a record: events, sessions, totals, and what is dropped when there are too many.

use std::sync::Arc;

use super::super::Controller;
use super::super::input::Seq;
use crate::planner::Mark;
use crate::planner::run::expired;
use crate::resource::run::Session;
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::record::Write;
use crate::world::run::{
    AttemptEnd, AttemptKind, AttemptResult, KnownSession, Phase, RunRecord, SessionKey, TotalKey,
    total,
};

impl Controller {
    /// Keeps the books of a record that is about to be written; all of it goes into the same commit.
    pub(super) fn enter(
        &mut self,
        now: Now,
        before: Option<&RunRecord>,
        record: &Arc<RunRecord>,
        cause: &str,
    ) {
        let object = ObjectRef::run(record.id.name.clone()).to_string();
        if before.is_none() {
            let message = format!("{} asks for it in channel/{}", record.trigger, record.channel);
            self.record(now, &object, false, "Admitted", &message);
        }
        for (at, attempt) in record.attempts.iter().enumerate() {
            let old = before.and_then(|before| before.attempts.get(at));
            if old.is_none() && attempt.kind != AttemptKind::First {
                let kind = format!("{:?}", attempt.kind);
                self.count(total::RETRIES, [record.channel.to_string(), kind], 1.0);
            }
            if let (Some(end), None) = (&attempt.end, old.and_then(|old| old.end.as_ref())) {
                self.attempt_ended(now, record, attempt.session, end);
                let bad =
                    !matches!(end.result, AttemptResult::Succeeded | AttemptResult::Cancelled);
                let message = if end.message.is_empty() { cause } else { &end.message };
                let message = format!("attempt {}: {message}", attempt.number);
                self.record(now, &object, bad, "AttemptEnded", &message);
            }
        }
        if let (Some(end), None) = (&record.end, before.and_then(|before| before.end.as_ref())) {
            let labels = [
                record.channel.to_string(),
                record.trigger.word().to_owned(),
                end.phase.as_str().to_owned(),
                end.reason.clone(),
            ];
            self.count(total::ENDED, labels, 1.0);
            let bad = !matches!(end.phase, Phase::Succeeded | Phase::Cancelled);
            let message =
                if end.message.is_empty() { "it did what was asked" } else { &end.message };
            self.record(now, &object, bad, end.phase.as_str(), message);
            self.world.runs.memory.prompts.remove(&record.id.name);
        }
    }

    fn attempt_ended(
        &mut self,
        now: Now,
        record: &RunRecord,
        assigned: uuid::Uuid,
        end: &AttemptEnd,
    ) {
        let Some(outcome) = &end.outcome else { return };
        let channel = record.channel.to_string();
        let model = match outcome.models.len() {
            0 => "unknown".to_owned(),
            1 => outcome.models.first().cloned().unwrap_or_default(),
            _ => "several".to_owned(),
        };
        if let Some(tokens) = &outcome.tokens {
            for (kind, count) in [
                ("input", tokens.input),
                ("output", tokens.output),
                ("cacheRead", tokens.cache_read),
                ("cacheCreation", tokens.cache_creation),
            ] {
                let labels = [channel.clone(), model.clone(), kind.to_owned()];
                #[expect(clippy::cast_precision_loss, reason = "Prometheus has no other number")]
                self.count(total::TOKENS, labels, count as f64);
            }
        }
        if let Some(dollars) = outcome.cost.dollars {
            self.count(total::DOLLARS, [channel, model], dollars);
        }
        let said = outcome.session_id.as_deref().and_then(|id| uuid::Uuid::try_parse(id).ok());
        let Some(id) =
            said.or_else(|| (outcome.turns > 0 && !assigned.is_nil()).then_some(assigned))
        else {
            return;
        };
        let session = KnownSession { id, at: now.wall };
        let mut keys = vec![None];
        if let Session::Key(key) = &record.order.session {
            keys.push(Some(key.clone()));
        }
        for key in keys {
            let key = SessionKey { channel: record.channel.clone(), key };
            self.world.runs.sessions.insert(key.clone(), session.clone());
            self.unsaved.push(Write::Session(key, session.clone()));
        }
    }

    fn count<const N: usize>(&mut self, family: &'static str, labels: [String; N], by: f64) {
        // Each is bounded where it is decoded; what is no number here would be in the store for good.
        if !by.is_finite() || by <= 0.0 {
            return;
        }
        let key = TotalKey { family, labels: labels.into() };
        let value = self.world.runs.totals.entry(key.clone()).or_default();
        *value = (*value + by).min(total::VALUE_MAX);
        let value = *value;
        self.unsaved.push(Write::Total(key, value));
        self.totals_changed = true;
    }

    /// Drops records that are too many or too old, by what the list of this number said of their containers.
    pub(in super::super) fn bury_runs(&mut self, now: Now, listed: Seq) {
        let channels: Vec<ResourceName> =
            self.world.runs.channels_with_history().cloned().collect();
        for channel in channels {
            for (id, stone) in expired(&self.world, &channel, now) {
                // Where the list said nothing, a container of it may be there: without its record that would be a stray.
                let unlisted = self.is_stale_for(&ObjectRef::run(id.name.clone()), listed);
                if unlisted || self.run_books.is_saving(&id.name) {
                    continue;
                }
                self.marks.insert(Mark::Buried);
                self.world.runs.bury(&id, stone.clone());
                self.unsaved.push(Write::Bury(id.clone(), stone));
                self.run_books.steps.remove(&id.name);
                let object = ObjectRef::run(id.name);
                self.touch(&object);
                self.enqueue(&object);
            }
        }
    }
}
