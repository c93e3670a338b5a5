//! How an attempt ended: from what the init wrote down, what the engine says, and what the agent said.
//!
//! An engine that was restarted makes up exit codes, and one that lost a container says nothing. So an end has its evidence, and
//! without any it is Lost, whatever the transcript promises: somebody has to look at it.

use jiff::{SignedDuration, Timestamp};

use super::next::{Next, is_rejected, next, rejections};
use super::{Context, RunAction, RunStep};
use crate::claude::outcome::{Ending, OutcomeClass, RunOutcome, Stop};
use crate::container::{ContainerState, Snapshot};
use crate::init::layout;
use crate::planner::mark::Mark;
use crate::world::run::{
    Attempt, AttemptEnd, AttemptKind, AttemptResult, Evidence, ExitRecord, Live, Phase, RunEnd,
    RunRecord,
};

/// What is known of the end of a process.
struct Known {
    evidence: Evidence,
    exit_code: Option<i64>,
}

impl Context<'_> {
    /// The attempt has ended: what became of it, and of its run.
    pub(super) fn attempt_over(
        &self,
        attempt: &Attempt,
        live: &Live,
        snapshot: Option<&Snapshot>,
        never_started: Option<String>,
    ) -> RunStep {
        let end = self.end_of(attempt, live, snapshot, never_started);
        let mark = match end.result {
            AttemptResult::Lost => Some(Mark::RunLost),
            _ if end.evidence == Evidence::EngineAfterRestart => Some(Mark::EndAfterGap),
            _ if end.evidence == Evidence::Event => Some(Mark::EndFromEvent),
            _ => None,
        };
        let cause = format!("attempt {} ended: {}", attempt.number, word(&end));
        let mut record = RunRecord::clone(self.record);
        if let Some(open) = record.attempts.iter_mut().find(|it| it.number == attempt.number) {
            open.end = Some(end);
            // A create does not say what a local name meant; the look at the end does.
            if let (true, Some(snapshot)) = (open.image.is_empty(), snapshot) {
                open.image.clone_from(&snapshot.image_id);
            }
        }
        // Of several that a lost store left, only the last decides.
        if record.open_attempt().is_none() {
            let resumed = record.attempts.last().and_then(|last| last.resumes);
            let rejections = resumed.map_or(0, |session| rejections(self.world, &record, session));
            let next = next(&record, self.now.wall, rejections);
            if resumed.is_some() {
                advise(&mut record, &next);
            }
            match next {
                Next::Over { phase, reason, mut message } => {
                    // The advice is in the attempt's message.
                    if let Some(end) = record.last_end().filter(|end| is_rejected(end)) {
                        message.clone_from(&end.message);
                    }
                    record.end = Some(RunEnd { phase, reason, message, at: self.now.wall });
                }
                Next::Again { kind, not_before } => {
                    record.next = Some(kind);
                    record.not_before = not_before;
                }
            }
        }
        let phase = record.end.as_ref().map_or(Phase::Queued, |end| end.phase);
        let step = RunStep::act(phase, RunAction::Keep(Box::new(record)), cause);
        match mark {
            Some(mark) => step.marked(mark),
            None => step,
        }
    }

    fn end_of(
        &self,
        attempt: &Attempt,
        live: &Live,
        snapshot: Option<&Snapshot>,
        never_started: Option<String>,
    ) -> AttemptEnd {
        let details = snapshot.and_then(|snapshot| snapshot.details.as_ref());
        let by_init = live.followed.as_ref().and_then(|followed| followed.exit.as_ref());
        let never = never_started.or_else(|| {
            let fenced = live.fenced && !live.ran;
            fenced.then(|| "it was removed before it was started".to_owned())
        });
        // The agent can write there too, and its times go into sums and deadlines.
        let by_init_times = by_init.filter(|exit| is_plausible(exit, attempt, self.now.wall));
        let started_at = by_init_times
            .map(|exit| exit.started_at)
            .or_else(|| details.and_then(|details| details.started_at));
        let finished_at = by_init_times
            .map(|exit| exit.finished_at)
            .or_else(|| details.and_then(|details| details.finished_at));
        let tampered = details.and_then(|details| {
            (details.restart_count > 0)
                .then(|| "the engine restarted it by a policy that somebody set".to_owned())
        });
        let tampered = tampered.or_else(|| {
            (by_init.is_some() && by_init_times.is_none())
                .then(|| "its init's note names times that cannot be".to_owned())
        });
        let end = AttemptEnd {
            result: AttemptResult::NeverStarted,
            message: String::new(),
            evidence: Evidence::Engine,
            exit_code: None,
            oom_killed: details.is_some_and(|details| details.oom_killed),
            started_at,
            finished_at,
            outcome: None,
            transcript: live.followed.as_ref().and_then(|followed| followed.transcript.clone()),
            tampered,
            recorded_at: self.now.wall,
        };
        if let Some(why) = never {
            let cancelled = self.record.cancel.as_ref();
            let result =
                cancelled.map_or(AttemptResult::NeverStarted, |_| AttemptResult::Cancelled);
            let message = cancelled.map_or(why, |cancel| cancel.why.clone());
            return AttemptEnd { result, message, started_at: None, finished_at: None, ..end };
        }
        let known = Self::known_end(attempt, live, snapshot);
        let ending = Ending {
            exit_code: known.exit_code,
            oom_killed: end.oom_killed,
            stopped: self.stopped(attempt, live, finished_at, known.exit_code),
            stderr: live.followed.as_ref().map(|it| it.stderr.clone()).unwrap_or_default(),
        };
        // Of an attempt that was only found, nobody knows what it went on in.
        let is_new_session = attempt.resumes.is_none() && !attempt.session.is_nil();
        let outcome = live.followed.as_ref().map(|followed| {
            let fold = followed.fold.clone();
            let fold = if is_new_session { fold.of_new_session() } else { fold };
            fold.end(&followed.noise, &ending)
        });
        let end = AttemptEnd { evidence: known.evidence, exit_code: known.exit_code, ..end };
        judged(end, outcome, &ending)
    }

    /// How surely, and with which code. Of an attempt that was only found, since the store was lost, nobody heard everything: the engine
    /// may have been restarted meanwhile, and its code made up.
    fn known_end(attempt: &Attempt, live: &Live, snapshot: Option<&Snapshot>) -> Known {
        let gap = live.gap || attempt.session.is_nil();
        if let Some(exit) = live.followed.as_ref().and_then(|followed| followed.exit.as_ref()) {
            return Known { evidence: Evidence::Init, exit_code: Some(exit.exit_code) };
        }
        let ended =
            snapshot.filter(|it| matches!(it.state, ContainerState::Exited | ContainerState::Dead));
        match ended.and_then(|snapshot| snapshot.details.as_ref()) {
            Some(details) if !gap || live.exit_event == Some(details.exit_code) => {
                Known { evidence: Evidence::Engine, exit_code: Some(details.exit_code) }
            }
            // 255 stands for a process whose end nobody saw, and some versions put 0 there.
            Some(details) if !matches!(details.exit_code, 0 | 255) => {
                Known { evidence: Evidence::EngineAfterRestart, exit_code: Some(details.exit_code) }
            }
            Some(_) => Known { evidence: Evidence::None, exit_code: None },
            None => match live.exit_event {
                Some(code) => Known { evidence: Evidence::Event, exit_code: Some(code) },
                None => Known { evidence: Evidence::None, exit_code: None },
            },
        }
    }

    /// Did we end it, and why? After a restart its record and the clock say it.
    fn stopped(
        &self,
        attempt: &Attempt,
        live: &Live,
        finished_at: Option<Timestamp>,
        exit_code: Option<i64>,
    ) -> Option<Stop> {
        if live.stop.is_some() {
            return live.stop;
        }
        // This process decided it, and the look before the stop showed the end: another ended it. What one before it decided, it perhaps
        // sent too, unless the process had ended by then.
        let decided = attempt.stop.filter(|decision| {
            decision.by != self.world.settings.process
                && finished_at.is_none_or(|finished| finished >= decision.at)
        });
        if let Some(decision) = decided {
            return Some(decision.why);
        }
        // It ended well by itself, before any stop reached it.
        let followed = live.followed.as_ref();
        if exit_code == Some(0) && followed.is_some_and(|it| it.fold.says_success()) {
            return None;
        }
        let finished = finished_at.unwrap_or(self.now.wall);
        if self.record.cancel.as_ref().is_some_and(|cancel| cancel.at <= finished) {
            return Some(Stop::Cancel);
        }
        let late = self.deadline(attempt).is_some_and(|deadline| deadline <= finished);
        late.then_some(Stop::Deadline)
    }
}

/// By how much clocks of one host may differ, or be set, while an attempt runs.
const CLOCK_ERROR_MAX: SignedDuration = SignedDuration::from_hours(24);

/// Can the command have run from and until then?
fn is_plausible(exit: &ExitRecord, attempt: &Attempt, now: Timestamp) -> bool {
    exit.started_at <= exit.finished_at
        && attempt.permitted_at.duration_since(exit.started_at) <= CLOCK_ERROR_MAX
        && exit.finished_at.duration_since(now) <= CLOCK_ERROR_MAX
}

/// Of a resumed session that the API rejected: what happens now, or what a person can do.
fn advise(record: &mut RunRecord, next: &Next) {
    let advice = match next {
        Next::Over { .. } => {
            "the API may reject what is stored of this session: `--session new` starts another"
        }
        Next::Again { kind: AttemptKind::WithoutSession, .. } => {
            "the API rejected this session repeatedly: tried again in a fresh session"
        }
        Next::Again { .. } => return,
    };
    let last = record.attempts.last_mut().and_then(|last| last.end.as_mut());
    if let Some(end) = last.filter(|end| is_rejected(end)) {
        end.message = format!("{}; {advice}", end.message);
    }
}

/// The word for it.
fn judged(end: AttemptEnd, outcome: Option<RunOutcome>, ending: &Ending) -> AttemptEnd {
    let class = outcome.as_ref().map(|outcome| outcome.class.clone());
    let said = outcome.as_ref().is_some_and(|outcome| outcome.lines.events > 0);
    // The init's word that it did not run the agent: the mounts were not what was prepared, or it had run before, and was not seen to end.
    let says = |code: u8| end.evidence != Evidence::Init && end.exit_code == Some(i64::from(code));
    let unseen = end.evidence == Evidence::None || says(layout::EXIT_STARTED_BEFORE);
    let result = match &class {
        _ if unseen && ending.stopped == Some(Stop::Cancel) => AttemptResult::Cancelled,
        _ if unseen => AttemptResult::Lost,
        _ if says(layout::EXIT_MOUNTS) && !said => AttemptResult::NeverStarted,
        Some(OutcomeClass::Succeeded)
            if end.exit_code == Some(0) || ending.stopped == Some(Stop::Finished) =>
        {
            AttemptResult::Succeeded
        }
        Some(OutcomeClass::Cancelled) => AttemptResult::Cancelled,
        _ => AttemptResult::Failed,
    };
    let message = match (result, &outcome) {
        (AttemptResult::Succeeded, outcome) => {
            outcome.as_ref().and_then(|outcome| outcome.message.clone()).unwrap_or_default()
        }
        (AttemptResult::Lost, _) => "it ran, and nobody saw how it ended".to_owned(),
        (_, Some(outcome)) => outcome.message.clone().unwrap_or_else(|| said_of(&outcome.class)),
        (_, None) => match end.exit_code {
            Some(code) => format!("it ended with {code}, and nothing of its output is left"),
            None => "nothing is known of its end".to_owned(),
        },
    };
    AttemptEnd { result, message, outcome, ..end }
}

fn said_of(class: &OutcomeClass) -> String {
    match class {
        OutcomeClass::Deadline => "its time was over".to_owned(),
        OutcomeClass::Cancelled => "it was ended by request".to_owned(),
        OutcomeClass::NoResult => "it ended without a result".to_owned(),
        OutcomeClass::OomKilled => "the kernel killed it for memory".to_owned(),
        OutcomeClass::Killed { signal } => format!("signal {signal} ended it"),
        class => class.name().to_owned(),
    }
}

/// One word: the outcome's class where the agent had a say.
pub(super) fn word(end: &AttemptEnd) -> String {
    match (end.result, &end.outcome) {
        (AttemptResult::Succeeded, _) => "Succeeded".to_owned(),
        (AttemptResult::NeverStarted, _) => "NeverStarted".to_owned(),
        (AttemptResult::Lost, _) => "Lost".to_owned(),
        (AttemptResult::Cancelled, _) => "Cancelled".to_owned(),
        (AttemptResult::Failed, Some(outcome)) => match &outcome.class {
            // A success that something else gave the lie.
            OutcomeClass::Succeeded => "Failed".to_owned(),
            class => class.name().to_owned(),
        },
        (AttemptResult::Failed, None) => "Failed".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::container::ContainerId;
    use crate::world::run::{AttemptKind, Terms};

    #[test]
    fn times_that_an_agent_made_up_are_not_plausible() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let attempt = Attempt {
            number: 1,
            kind: AttemptKind::First,
            session: uuid::Uuid::nil(),
            resumes: None,
            container: ContainerId::parse(&"ab".repeat(32)).unwrap(),
            image: String::new(),
            image_digest: None,
            permitted_at: at("2026-01-01T00:00:00Z"),
            permitted_by: uuid::Uuid::nil(),
            terms: Terms {
                active_deadline_seconds: 0,
                grace_seconds: 0,
                keep_container_seconds: 0,
                cancel_with_channel: false,
                backoff_limit: 0,
            },
            stop: None,
            end: None,
        };
        let now = at("2026-01-05T00:00:00Z");
        for (started, finished, plausible) in [
            ("2026-01-01T00:00:01Z", "2026-01-04T00:00:00Z", true),
            ("2026-01-01T00:00:01Z", "9999-12-30T00:00:00Z", false),
            ("-009990-01-02T00:00:00Z", "2026-01-04T00:00:00Z", false),
            ("2026-01-04T00:00:00Z", "2026-01-01T00:00:01Z", false),
        ] {
            let exit =
                ExitRecord { started_at: at(started), finished_at: at(finished), exit_code: 0 };
            assert_eq!(is_plausible(&exit, &attempt, now), plausible, "{started} {finished}");
        }
    }
}
