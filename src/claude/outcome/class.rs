//! The rules by which an ending gets its name.
//!
//! In this order: a cancel or a deadline that we carried out, whatever the agent had said; the CLI's last word, if it had one;
//! then who or what ended the process; then what its standard error says. A result is the last word when no turn began after it, and, for a process that was killed, when nothing
//! was still at work in the background. A result that only says that the turn was interrupted gives way to why.
//!
//! A success is the one last word that an end can give the lie: a CLI that did all and said so exits 0. So one that ended
//! otherwise, and not by us, did not succeed. An end that nobody saw proves nothing, and a success stays one then:
//! whether a run is lost is decided by the caller, who knows why nobody saw it, before it asks here.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Ending, Stop};
use crate::claude::event::{ApiError, RateLimit, ResultEvent, clip};

/// The note on a run that we ended after its final result.
const DID_NOT_EXIT: &str = "the agent did not exit after its final result, and was terminated";
/// The longest line of a message: a sentence, with a path in it.
const MESSAGE_BYTES_MAX: usize = 512;

/// What became of a run, in one word. What a caller can do differs from one to the next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all_fields = "camelCase")]
pub enum OutcomeClass {
    /// The CLI's last word is a result that is no error, and it did not end otherwise.
    Succeeded,
    /// The process ended by itself after it had begun to work, and had no last word; exit 0 or not.
    NoResult,
    /// The API answered with an error that is none of those below.
    ApiError {
        /// HTTP's status.
        status: Option<u16>,
    },
    /// The API could not be reached.
    Unreachable,
    /// The credentials are missing, wrong, or not allowed this.
    AuthFailed,
    /// The account has no credit.
    Billing,
    /// There is no such model for this account.
    ModelNotFound,
    /// The account's limit is reached.
    RateLimited {
        /// When it begins anew; said for subscriptions only.
        resets_at: Option<Timestamp>,
    },
    /// The API is at capacity.
    Overloaded,
    /// The conversation does not fit: it can be compacted.
    PromptTooLong,
    /// The answer does not fit.
    OutputTooLong,
    /// The model refused.
    Refused,
    /// The session that was to be resumed is not there.
    SessionNotFound,
    /// It had all its turns.
    MaxTurns,
    /// It had all its dollars.
    Budget,
    /// It was interrupted, and not by us.
    Aborted,
    /// The CLI's last word is an error that has no name here, or a success after which it failed.
    Failed,
    /// It ended before it said anything: the command line, the files that it names, or the image are wrong.
    BadInvocation {
        /// The first line of its standard error.
        message: String,
    },
    /// A signal ended it, and not ours.
    Killed {
        /// Its number.
        signal: u8,
    },
    /// The kernel killed it for memory.
    OomKilled,
    /// We ended it: its time was over.
    Deadline,
    /// We ended it: somebody wished it.
    Cancelled,
}

impl OutcomeClass {
    /// Did it do what was asked?
    pub const fn is_success(&self) -> bool {
        matches!(self, Self::Succeeded)
    }

    /// The word alone.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Succeeded => "Succeeded",
            Self::NoResult => "NoResult",
            Self::ApiError { .. } => "ApiError",
            Self::Unreachable => "Unreachable",
            Self::AuthFailed => "AuthFailed",
            Self::Billing => "Billing",
            Self::ModelNotFound => "ModelNotFound",
            Self::RateLimited { .. } => "RateLimited",
            Self::Overloaded => "Overloaded",
            Self::PromptTooLong => "PromptTooLong",
            Self::OutputTooLong => "OutputTooLong",
            Self::Refused => "Refused",
            Self::SessionNotFound => "SessionNotFound",
            Self::MaxTurns => "MaxTurns",
            Self::Budget => "Budget",
            Self::Aborted => "Aborted",
            Self::Failed => "Failed",
            Self::BadInvocation { .. } => "BadInvocation",
            Self::Killed { .. } => "Killed",
            Self::OomKilled => "OomKilled",
            Self::Deadline => "Deadline",
            Self::Cancelled => "Cancelled",
        }
    }
}

/// What the events say about the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Facts<'a> {
    /// The last result.
    pub(super) result: Option<&'a ResultEvent>,
    /// A turn began after it.
    pub(super) went_on: bool,
    /// Tasks in the background and prompts that wait.
    pub(super) pending: u64,
    /// The error that the last message reported.
    pub(super) api_error: Option<&'a ApiError>,
    /// The model refused.
    pub(super) refused: bool,
    /// The last word on a limit.
    pub(super) rate_limit: Option<&'a RateLimit>,
    /// Was there any event?
    pub(super) began: bool,
}

/// The signal that ended a process, from its exit code.
fn signal(ending: &Ending) -> Option<u8> {
    // Shells, Docker and chanop-init all say 128 and the signal's number; there are 64 signals.
    let number = ending.exit_code?.checked_sub(128)?;
    u8::try_from(number).ok().filter(|number| (1..=64).contains(number))
}

/// The name.
pub(super) fn class(facts: &Facts<'_>, ending: &Ending) -> OutcomeClass {
    if let Some(class) = ended_by_us(ending) {
        return class;
    }
    match last_word(facts, ending) {
        Some(result) if result.is_success() => match disproved(ending) {
            Some(_) if ending.oom_killed => OutcomeClass::OomKilled,
            Some(_) => OutcomeClass::Failed,
            None => OutcomeClass::Succeeded,
        },
        Some(result) => match by_result(result, facts) {
            OutcomeClass::Aborted => stopped(ending).unwrap_or(OutcomeClass::Aborted),
            class => class,
        },
        None => without_result(facts, ending),
    }
}

/// Why it did not succeed, on one line.
pub(super) fn message(facts: &Facts<'_>, ending: &Ending) -> Option<String> {
    // The reason is not among the agent's words.
    if ended_by_us(ending).is_some() {
        return None;
    }
    let last_word = last_word(facts, ending);
    if last_word.is_some_and(ResultEvent::is_success) {
        if ending.stopped == Some(Stop::Finished) && disproved(ending).is_none() {
            return Some(DID_NOT_EXIT.to_owned());
        }
        let said = |code| format!("the CLI ended with {code} after it had said success");
        return disproved(ending).map(said);
    }
    let of_result = last_word.and_then(|result| {
        result.errors.iter().chain(&result.text).find_map(|text| first_line(text))
    });
    of_result.or_else(|| first_line(&ending.stderr))
}

/// The exit code that no success has: we did not end it, and it did not end well. One that failed by itself just before our stop
/// reached it has another code than the signals of a stop give.
fn disproved(ending: &Ending) -> Option<i64> {
    let by_us = |code: i64| match ending.stopped {
        None => false,
        Some(Stop::Finished) => matches!(code, 130 | 137 | 143),
        Some(Stop::Deadline | Stop::Cancel | Stop::Refused) => true,
    };
    ending.exit_code.filter(|code| *code != 0 && !by_us(*code))
}

fn last_word<'a>(facts: &Facts<'a>, ending: &Ending) -> Option<&'a ResultEvent> {
    let killed = ending.stopped.is_some() || signal(ending).is_some() || ending.exit_code.is_none();
    let at_work = facts.went_on || (killed && facts.pending > 0);
    facts.result.filter(|_| !at_work)
}

/// A cancel or a deadline is the end's name regardless of what the agent said before.
fn ended_by_us(ending: &Ending) -> Option<OutcomeClass> {
    match ending.stopped? {
        Stop::Deadline => Some(OutcomeClass::Deadline),
        Stop::Cancel => Some(OutcomeClass::Cancelled),
        Stop::Refused | Stop::Finished => None,
    }
}

fn stopped(ending: &Ending) -> Option<OutcomeClass> {
    match ending.stopped? {
        Stop::Refused => Some(OutcomeClass::AuthFailed),
        // It went on after the result that looked final.
        Stop::Finished => Some(OutcomeClass::Aborted),
        Stop::Deadline | Stop::Cancel => ended_by_us(ending),
    }
}

fn by_result(result: &ResultEvent, facts: &Facts<'_>) -> OutcomeClass {
    match result.subtype.as_str() {
        "error_max_turns" => return OutcomeClass::MaxTurns,
        "error_max_budget_usd" => return OutcomeClass::Budget,
        _ => {}
    }
    let text = result.text.as_deref().unwrap_or_default();
    match result.terminal_reason.as_deref().unwrap_or_default() {
        "max_turns" => return OutcomeClass::MaxTurns,
        "budget_exhausted" => return OutcomeClass::Budget,
        "prompt_too_long" | "blocking_limit" => return OutcomeClass::PromptTooLong,
        "aborted_streaming" | "aborted_tools" => return OutcomeClass::Aborted,
        _ => {}
    }
    // Before the first turn only: later, such words can be about anything.
    if result.turns.unwrap_or(0) == 0 && result.errors.iter().any(|error| says_no_session(error)) {
        return OutcomeClass::SessionNotFound;
    }
    // The message has the CLI's word for the error, and the result only HTTP's; one of both may be missing.
    let errors = [facts.api_error, result.api_error.as_ref()];
    let known = errors.iter().flatten().find_map(|error| by_api(error, facts));
    if let Some(class) = known.or_else(|| by_text(text)) {
        return class;
    }
    if facts.refused {
        return OutcomeClass::Refused;
    }
    let is_api = result.terminal_reason.as_deref() == Some("api_error")
        || errors.iter().any(Option::is_some);
    if is_api {
        let status = errors.iter().flatten().find_map(|error| error.status);
        return OutcomeClass::ApiError { status };
    }
    OutcomeClass::Failed
}

/// The CLI's word first, because a status can mean several things: credit is a 400.
fn by_api(error: &ApiError, facts: &Facts<'_>) -> Option<OutcomeClass> {
    let limited = || {
        let rejected = facts.rate_limit.filter(|limit| limit.is_rejected());
        let limit = error.rate_limit.as_ref().or(rejected);
        OutcomeClass::RateLimited { resets_at: limit.and_then(|limit| limit.resets_at) }
    };
    match error.kind.as_deref().unwrap_or_default() {
        "billing_error" => return Some(OutcomeClass::Billing),
        "authentication_failed" => return Some(OutcomeClass::AuthFailed),
        "rate_limit" => return Some(limited()),
        "model_not_found" => return Some(OutcomeClass::ModelNotFound),
        "max_output_tokens" => return Some(OutcomeClass::OutputTooLong),
        _ => {}
    }
    match error.code.as_deref().unwrap_or_default() {
        "connection_failed" => return Some(OutcomeClass::Unreachable),
        "usage_limit_reached" => return Some(limited()),
        _ => {}
    }
    match (error.status, error.error_type.as_deref().unwrap_or_default()) {
        (Some(529), _) | (_, "overloaded_error") => Some(OutcomeClass::Overloaded),
        (Some(429), _) => Some(limited()),
        (Some(401 | 403), _) => Some(OutcomeClass::AuthFailed),
        (Some(402), _) => Some(OutcomeClass::Billing),
        _ => None,
    }
}

/// What is left when the line with the error's name could not be read, or had none.
fn by_text(text: &str) -> Option<OutcomeClass> {
    let begins = |beginnings: &[&str]| beginnings.iter().any(|it| text.starts_with(it));
    if begins(&["Not logged in", "Invalid API key"]) {
        Some(OutcomeClass::AuthFailed)
    } else if begins(&["Credit balance is too low"]) {
        Some(OutcomeClass::Billing)
    } else if begins(&["Prompt is too long"]) {
        Some(OutcomeClass::PromptTooLong)
    } else {
        None
    }
}

fn says_no_session(text: &str) -> bool {
    text.contains("No conversation found with session ID")
        || text.contains("does not match any session title")
}

fn without_result(facts: &Facts<'_>, ending: &Ending) -> OutcomeClass {
    if let Some(class) = stopped(ending) {
        return class;
    }
    // The kernel may have killed a tool only, and the CLI went on and ended by itself.
    if ending.oom_killed && ending.exit_code != Some(0) {
        return OutcomeClass::OomKilled;
    }
    if let Some(signal) = signal(ending) {
        return OutcomeClass::Killed { signal };
    }
    let failed = ending.exit_code.is_some_and(|code| code != 0);
    if !failed || facts.began {
        return OutcomeClass::NoResult;
    }
    if says_no_session(&ending.stderr) {
        return OutcomeClass::SessionNotFound;
    }
    let message = first_line(&ending.stderr).unwrap_or_default();
    OutcomeClass::BadInvocation { message }
}

/// The first line that says something.
fn first_line(text: &str) -> Option<String> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    Some(clip(line, MESSAGE_BYTES_MAX).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::RunOutcome;

    const RESULT: &str =
        r#"{"type":"result","subtype":"success","is_error":false,"num_turns":1,"result":"done"}"#;

    fn ended(stopped: Option<Stop>, exit_code: i64) -> RunOutcome {
        let ending = Ending { exit_code: Some(exit_code), stopped, ..Ending::default() };
        RunOutcome::of_transcript(format!("{RESULT}\n").as_bytes(), &ending)
    }

    #[test]
    fn cancel_and_deadline_win_over_an_earlier_success() {
        for code in [0, 130, 137, 143] {
            assert_eq!(ended(Some(Stop::Deadline), code).class, OutcomeClass::Deadline);
            assert_eq!(ended(Some(Stop::Cancel), code).class, OutcomeClass::Cancelled);
        }
        assert_eq!(ended(Some(Stop::Cancel), 143).text.as_deref(), Some("done"));
    }

    #[test]
    fn success_that_did_not_exit_is_a_success_with_a_note() {
        let outcome = ended(Some(Stop::Finished), 143);
        assert_eq!(outcome.class, OutcomeClass::Succeeded);
        assert_eq!(outcome.message.as_deref(), Some(DID_NOT_EXIT));
        let outcome = ended(None, 143);
        assert_eq!(outcome.class, OutcomeClass::Failed, "somebody else ended it");
        let outcome = ended(Some(Stop::Finished), 1);
        assert_eq!(outcome.class, OutcomeClass::Failed, "it failed before the stop reached it");
    }
}
