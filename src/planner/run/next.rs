//! After an attempt: is the run over, or is it tried again? Never blindly: an agent has side effects.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::end::word;
use super::later;
use crate::claude::outcome::OutcomeClass;
use crate::world::World;
use crate::world::run::{AttemptEnd, AttemptKind, AttemptResult, Phase, RunRecord};

/// Attempts that did nothing are tried again so often, whatever `backoffLimit` says. Waits for a usage limit are not among them:
/// their bound is the queue's maximum age.
const FREE_TRIES: usize = 3;
/// Rejections of the same session in a row after which a fresh one is started.
const REJECTIONS_MAX: usize = 2;
/// After the first failure; doubled by each further one.
const BASE: Duration = Duration::from_secs(10);
/// At most.
const CAP: Duration = Duration::from_mins(10);
/// Starts after a usage limit's reset are spread over this.
const JITTER_MAX: Duration = Duration::from_secs(30);

/// What follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Next {
    /// It is over.
    Over { phase: Phase, reason: String, message: String },
    /// Another attempt.
    Again { kind: AttemptKind, not_before: Option<Timestamp> },
}

/// What follows the last attempt of a run, which has ended. `rejections`: so often in a row, this attempt included, the API
/// rejected the session that it resumed ([`rejections`]).
pub(super) fn next(record: &RunRecord, now: Timestamp, rejections: usize) -> Next {
    let Some((last, end)) = record.attempts.last().and_then(|it| Some((it, it.end.as_ref()?)))
    else {
        return Next::Again { kind: AttemptKind::First, not_before: None };
    };
    let over = |phase: Phase| {
        let message = end.message.clone();
        Next::Over { phase, reason: word(end), message }
    };
    let at_once = |kind| Next::Again { kind, not_before: None };
    match end.result {
        AttemptResult::Succeeded if last.kind == AttemptKind::Compact => {
            return at_once(AttemptKind::AfterCompact);
        }
        AttemptResult::Succeeded => return over(Phase::Succeeded),
        AttemptResult::Cancelled => return over(Phase::Cancelled),
        AttemptResult::Lost => return over(Phase::Lost),
        AttemptResult::Failed | AttemptResult::NeverStarted => {}
    }
    let failed = match end.result {
        AttemptResult::NeverStarted => Phase::NeverStarted,
        _ => Phase::Failed,
    };
    if record.cancel.is_some() {
        return over(Phase::Cancelled);
    }
    let had = |kind| record.attempts.iter().any(|attempt| attempt.kind == kind);
    let class = end.outcome.as_ref().map(|outcome| &outcome.class);
    match class {
        Some(OutcomeClass::SessionNotFound)
            if last.resumes.is_some() && !had(AttemptKind::WithoutSession) =>
        {
            return at_once(AttemptKind::WithoutSession);
        }
        Some(OutcomeClass::ApiError { status: Some(400) })
            if rejections >= REJECTIONS_MAX
                && !end.outcome.as_ref().is_some_and(|outcome| outcome.made_tool_use)
                && !had(AttemptKind::WithoutSession) =>
        {
            return at_once(AttemptKind::WithoutSession);
        }
        Some(OutcomeClass::PromptTooLong)
            if last.resumes.is_some() && !had(AttemptKind::Compact) =>
        {
            return at_once(AttemptKind::Compact);
        }
        // The session stays too long.
        _ if last.kind == AttemptKind::Compact && !is_free(end) => {
            let message =
                format!("the session is too long, and could not be made shorter: {}", end.message);
            return Next::Over { phase: failed, reason: "PromptTooLong".to_owned(), message };
        }
        _ => {}
    }
    let earlier = record.attempts.iter().rev().skip(1).filter_map(|attempt| attempt.end.as_ref());
    let kind = match last.kind {
        AttemptKind::Compact => AttemptKind::Compact,
        AttemptKind::First
        | AttemptKind::Retry
        | AttemptKind::WithoutSession
        | AttemptKind::AfterCompact => AttemptKind::Retry,
    };
    if let Some(LimitWait { resets_at }) = limit_wait(end) {
        let waits = earlier.take_while(|end| limit_wait(end).is_some()).count();
        let backoff = later(now, wait(waits).as_secs());
        let not_before = resets_at.map_or(backoff, |resets_at| resets_at.max(backoff));
        let not_before = later(not_before, jitter(record).as_secs());
        return Next::Again { kind, not_before: Some(not_before) };
    }
    if is_free(end) {
        let tried = earlier.filter(|end| is_free(end) && limit_wait(end).is_none()).count();
        if tried >= FREE_TRIES {
            return over(failed);
        }
        let not_before = Some(later(now, wait(tried).as_secs()));
        return Next::Again { kind, not_before };
    }
    let tried = earlier.filter(|end| may_be_tried_again(end) && !is_free(end)).count();
    let limit = usize::try_from(last.terms.backoff_limit).unwrap_or(usize::MAX);
    if may_be_tried_again(end) && tried < limit {
        let not_before = Some(later(now, wait(tried).as_secs()));
        return Next::Again { kind, not_before };
    }
    over(failed)
}

/// How often in a row, by the records that are there, the API rejected this session (HTTP 400) when it was resumed. The newest
/// attempts are those of `record`, which has not ended.
pub(super) fn rejections(world: &World, record: &RunRecord, session: Uuid) -> usize {
    let ended = world.runs.ended_in(&record.channel).rev();
    let ended = ended.filter_map(|id| world.runs.record(id)).map(AsRef::as_ref);
    std::iter::once(record)
        .chain(ended)
        .flat_map(|record| record.attempts.iter().rev())
        .filter(|it| it.session == session || it.resumes == Some(session))
        .take_while(|it| it.resumes == Some(session) && it.end.as_ref().is_some_and(is_rejected))
        .count()
}

/// Did the API reject the request as such? Of a resumed session, what is stored of it may be the reason, and stays so.
pub(super) fn is_rejected(end: &AttemptEnd) -> bool {
    end.outcome.as_ref().is_some_and(|outcome| {
        matches!(outcome.class, OutcomeClass::ApiError { status: Some(400) })
    })
}

/// A usage limit that an attempt met before it did anything.
pub(super) struct LimitWait {
    /// When the limit is reset, where that was said.
    resets_at: Option<Timestamp>,
}

/// Did it end at a usage limit before it did anything?
pub(super) fn limit_wait(end: &AttemptEnd) -> Option<LimitWait> {
    let outcome = end.outcome.as_ref().filter(|outcome| !outcome.made_tool_use)?;
    match outcome.class {
        OutcomeClass::RateLimited { resets_at } => Some(LimitWait { resets_at }),
        _ => None,
    }
}

/// Runs that wait for the same reset do not all start at once. Derived from the attempt's name: the core has no random numbers.
fn jitter(record: &RunRecord) -> Duration {
    let name = format!("{}/{}", record.id.name, record.next_attempt());
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    Duration::from_secs(hash % (JITTER_MAX.as_secs() + 1))
}

fn wait(tried: usize) -> Duration {
    BASE.saturating_mul(1 << tried.min(6)).min(CAP)
}

/// It did nothing that anybody could see, and may well work the next time.
fn is_free(end: &AttemptEnd) -> bool {
    if end.result == AttemptResult::NeverStarted {
        return true;
    }
    end.outcome.as_ref().is_some_and(|outcome| {
        !outcome.made_tool_use
            && matches!(outcome.class, OutcomeClass::Overloaded | OutcomeClass::RateLimited { .. })
    })
}

/// May it work the next time? What is wrong with the account, the order or the image stays wrong.
fn may_be_tried_again(end: &AttemptEnd) -> bool {
    if end.result == AttemptResult::NeverStarted {
        return true;
    }
    let Some(outcome) = &end.outcome else { return end.result == AttemptResult::Failed };
    match outcome.class {
        OutcomeClass::NoResult
        | OutcomeClass::ApiError { .. }
        | OutcomeClass::Unreachable
        | OutcomeClass::RateLimited { .. }
        | OutcomeClass::Overloaded
        | OutcomeClass::OutputTooLong
        | OutcomeClass::Aborted
        | OutcomeClass::Failed
        | OutcomeClass::Killed { .. }
        | OutcomeClass::OomKilled => true,
        OutcomeClass::Succeeded
        | OutcomeClass::AuthFailed
        | OutcomeClass::Billing
        | OutcomeClass::ModelNotFound
        | OutcomeClass::PromptTooLong
        | OutcomeClass::Refused
        | OutcomeClass::SessionNotFound
        | OutcomeClass::MaxTurns
        | OutcomeClass::Budget
        | OutcomeClass::BadInvocation { .. }
        | OutcomeClass::Deadline
        | OutcomeClass::Cancelled => false,
    }
}
