//! The rules by which a run goes on, as a table.

use jiff::Timestamp;
use uuid::Uuid;

use super::history::expired;
use super::next::{Next, next, rejections};
use crate::claude::outcome::{Ending, OutcomeClass, RunOutcome};
use crate::container::ContainerId;
use crate::planner::template;
use crate::resource::run::Session;
use crate::resource::{Now, ResourceName, SourceRef};
use crate::world::World;
use crate::world::desired::{DesiredChannel, Verdict};
use crate::world::facts::Facts;
use crate::world::run::{
    Ask, Attempt, AttemptEnd, AttemptKind, AttemptResult, Cancel, Evidence, Order, Phase, RunEnd,
    RunId, RunRecord, Terms, Trigger,
};

const NOW: i64 = 1_000_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn record() -> RunRecord {
    RunRecord {
        id: RunId { name: ResourceName::parse("r").unwrap(), rerun: 0 },
        channel: ResourceName::parse("c").unwrap(),
        turn: 1,
        trigger: Trigger::Api,
        revision: None,
        labels: std::collections::BTreeMap::new(),
        order: Order {
            ask: Ask::Prompt("p".to_owned()),
            system_prompt: String::new(),
            author: String::new(),
            session: Session::Fresh,
            fork: false,
            starting_deadline_seconds: 60,
            active_deadline_seconds: None,
            termination_grace_period_seconds: None,
            backoff_limit: None,
            max_turns: None,
            max_budget_usd: None,
            keep_container_seconds: None,
        },
        fingerprint: String::new(),
        admitted_at: at(NOW),
        held: false,
        cancel: None,
        first_attempt: 1,
        attempts: Vec::new(),
        next: None,
        not_before: None,
        end: None,
    }
}

/// What an attempt came to: its class, and whether it used a tool.
type Came = (AttemptKind, AttemptResult, Option<(OutcomeClass, bool)>);

fn after(resumes: bool, backoff_limit: u32, attempts: &[Came]) -> RunRecord {
    let mut record = record();
    for (number, (kind, result, outcome)) in (1..).zip(attempts) {
        let outcome = outcome.clone().map(|(class, made_tool_use)| RunOutcome {
            class,
            made_tool_use,
            ..RunOutcome::of_transcript(b"", &Ending::default())
        });
        record.attempts.push(Attempt {
            number,
            kind: *kind,
            session: Uuid::from_u128(7),
            resumes: resumes.then(|| Uuid::from_u128(7)),
            container: ContainerId::parse(&"a".repeat(64)).unwrap(),
            image: String::new(),
            image_digest: None,
            permitted_at: at(NOW),
            permitted_by: Uuid::nil(),
            terms: Terms {
                active_deadline_seconds: 0,
                grace_seconds: 0,
                keep_container_seconds: 0,
                cancel_with_channel: false,
                backoff_limit,
            },
            stop: None,
            end: Some(AttemptEnd {
                result: *result,
                message: "m".to_owned(),
                evidence: Evidence::Init,
                exit_code: None,
                oom_killed: false,
                started_at: None,
                finished_at: None,
                outcome,
                transcript: None,
                tampered: None,
                recorded_at: at(NOW),
            }),
        });
    }
    record
}

/// `Succeeded`, `Failed NoResult`, `again Retry in 10 s`.
fn said(record: &RunRecord) -> String {
    match next(record, at(NOW), 0) {
        Next::Over { phase, reason, .. } if phase.as_str() == reason => reason,
        Next::Over { phase, reason, .. } => format!("{phase} {reason}"),
        Next::Again { kind, not_before: None } => format!("again {kind:?}"),
        Next::Again { kind, not_before: Some(then) } => {
            format!("again {kind:?} in {} s", then.as_second() - NOW)
        }
    }
}

#[test]
fn what_follows_an_attempt() {
    use AttemptKind::{AfterCompact, Compact, First, Retry, WithoutSession};
    use AttemptResult::{Cancelled, Failed, Lost, NeverStarted, Succeeded};
    let class = |class: OutcomeClass| Some((class, false));
    let worked = |class: OutcomeClass| Some((class, true));
    let overloaded = || (Retry, Failed, class(OutcomeClass::Overloaded));
    let gone = || class(OutcomeClass::SessionNotFound);
    let long = || class(OutcomeClass::PromptTooLong);
    let no_result = || worked(OutcomeClass::NoResult);
    let auth = || class(OutcomeClass::AuthFailed);
    let table: Vec<(bool, u32, Vec<Came>, &str)> = vec![
        (false, 0, vec![(First, Succeeded, class(OutcomeClass::Succeeded))], "Succeeded"),
        (false, 9, vec![(First, Lost, None)], "Lost"),
        (false, 9, vec![(First, Cancelled, class(OutcomeClass::Cancelled))], "Cancelled"),
        (false, 9, vec![(First, Failed, class(OutcomeClass::Deadline))], "Failed Deadline"),
        // The ancestor's recoveries: each once, and only where a session was to go on.
        (true, 0, vec![(First, Failed, gone())], "again WithoutSession"),
        (false, 0, vec![(First, Failed, gone())], "Failed SessionNotFound"),
        (
            true,
            9,
            vec![(First, Failed, gone()), (WithoutSession, Failed, gone())],
            "Failed SessionNotFound",
        ),
        (true, 0, vec![(First, Failed, long())], "again Compact"),
        (false, 0, vec![(First, Failed, long())], "Failed PromptTooLong"),
        (true, 0, vec![(First, Failed, long()), (Compact, Succeeded, None)], "again AfterCompact"),
        (
            true,
            9,
            vec![(First, Failed, long()), (Compact, Failed, no_result())],
            "Failed PromptTooLong",
        ),
        (
            true,
            9,
            vec![
                (First, Failed, long()),
                (Compact, Succeeded, None),
                (AfterCompact, Failed, long()),
            ],
            "Failed PromptTooLong",
        ),
        // What did nothing is tried again, three times, whatever the limit.
        (false, 0, vec![(First, NeverStarted, None)], "again Retry in 10 s"),
        (false, 0, vec![overloaded(), overloaded(), overloaded()], "again Retry in 40 s"),
        (
            false,
            0,
            vec![overloaded(), overloaded(), overloaded(), overloaded()],
            "Failed Overloaded",
        ),
        // What used a tool is not, unless the limit says so; and what stays wrong never.
        (false, 0, vec![(First, Failed, worked(OutcomeClass::Overloaded))], "Failed Overloaded"),
        (false, 1, vec![(First, Failed, worked(OutcomeClass::Overloaded))], "again Retry in 10 s"),
        (false, 0, vec![(First, Failed, no_result())], "Failed NoResult"),
        (false, 1, vec![(First, Failed, no_result())], "again Retry in 10 s"),
        (
            false,
            1,
            vec![(First, Failed, no_result()), (Retry, Failed, no_result())],
            "Failed NoResult",
        ),
        (false, 9, vec![(First, Failed, auth())], "Failed AuthFailed"),
        (false, 9, vec![(First, Failed, class(OutcomeClass::MaxTurns))], "Failed MaxTurns"),
        // A success that something gave the lie.
        (false, 0, vec![(First, Failed, worked(OutcomeClass::Succeeded))], "Failed"),
    ];
    for (resumes, limit, attempts, expected) in table {
        let record = after(resumes, limit, &attempts);
        assert_eq!(said(&record), expected, "{attempts:?}");
    }
}

/// Seconds until the next attempt of a run that ended so often at a usage limit.
fn limit_wait(name: &str, attempts: usize, resets_in: i64) -> i64 {
    let class = OutcomeClass::RateLimited { resets_at: Some(at(NOW + resets_in)) };
    let came = (AttemptKind::Retry, AttemptResult::Failed, Some((class, false)));
    let mut record = after(false, 0, &vec![came; attempts]);
    record.id.name = ResourceName::parse(name).unwrap();
    match next(&record, at(NOW), 0) {
        Next::Again { kind: AttemptKind::Retry, not_before: Some(then) } => then.as_second() - NOW,
        other => panic!("{other:?}"),
    }
}

#[test]
fn waits_for_a_usage_limit_do_not_count_as_attempts() {
    for attempts in [1, 4, 5, 50] {
        let wait = limit_wait("r", attempts, 3_600);
        assert!((3_600..=3_630).contains(&wait), "{wait}");
    }
    // The reset was announced for a time that is over: the pauses grow.
    for (attempts, least) in [(1, 10), (2, 20), (4, 80), (50, 600)] {
        let wait = limit_wait("r", attempts, -5);
        assert!((least..=least + 30).contains(&wait), "{attempts}: {wait}");
    }
}

#[test]
fn starts_after_a_limits_reset_are_spread_by_name() {
    let waits = ["a", "b", "c", "d", "e"].map(|name| limit_wait(name, 1, 3_600));
    let distinct: std::collections::BTreeSet<i64> = waits.into_iter().collect();
    assert!(distinct.len() >= 3, "{waits:?}");
    assert_eq!(limit_wait("a", 1, 3_600), waits[0], "and the same each time");
}

#[test]
fn second_rejection_of_a_session_starts_a_fresh_one() {
    use AttemptKind::{First, WithoutSession};
    use AttemptResult::Failed;
    let rejected = |tool| Some((OutcomeClass::ApiError { status: Some(400) }, tool));
    let fresh = Next::Again { kind: WithoutSession, not_before: None };
    let once = after(true, 0, &[(First, Failed, rejected(false))]);
    assert!(matches!(next(&once, at(NOW), 1), Next::Over { .. }));
    assert_eq!(next(&once, at(NOW), 2), fresh);
    let worked = after(true, 0, &[(First, Failed, rejected(true))]);
    assert!(
        matches!(next(&worked, at(NOW), 2), Next::Over { .. }),
        "it may have changed something"
    );
    let again = after(
        true,
        0,
        &[(First, Failed, rejected(false)), (WithoutSession, Failed, rejected(false))],
    );
    assert!(matches!(next(&again, at(NOW), 2), Next::Over { .. }), "once and no more");
}

#[test]
fn rejections_of_a_session_are_counted_across_runs() {
    use AttemptKind::First;
    let (_, _, settings) = template::tests::channel("", None, &Facts::default());
    let session = Uuid::from_u128(7);
    let rejected = OutcomeClass::ApiError { status: Some(400) };
    let run = |name: &str, turn, class: OutcomeClass| {
        let mut record = after(true, 0, &[(First, AttemptResult::Failed, Some((class, false)))]);
        record.id.name = ResourceName::parse(name).unwrap();
        record.turn = turn;
        record
    };
    let count = |earlier: &[OutcomeClass]| {
        let mut world = World::new(settings.clone());
        for (turn, class) in (1..).zip(earlier) {
            let mut record = run(&format!("r{turn}"), turn, class.clone());
            let phase = Phase::Failed;
            let (reason, message) = (String::new(), String::new());
            record.end = Some(RunEnd { phase, reason, message, at: at(NOW) });
            world.runs.put(std::sync::Arc::new(record));
        }
        rejections(&world, &run("now", 100, rejected.clone()), session)
    };
    let other = OutcomeClass::NoResult;
    assert_eq!(count(&[]), 1);
    assert_eq!(count(std::slice::from_ref(&rejected)), 2);
    assert_eq!(count(&[rejected.clone(), other]), 1, "not in a row");
}

#[test]
fn nothing_follows_for_a_run_that_somebody_ended() {
    let class = Some((OutcomeClass::Overloaded, false));
    let mut record = after(true, 9, &[(AttemptKind::First, AttemptResult::Failed, class)]);
    record.cancel = Some(Cancel { at: at(NOW), why: "enough".to_owned() });
    let over = next(&record, at(NOW), 0);
    assert!(matches!(over, Next::Over { phase: Phase::Cancelled, .. }), "{over:?}");
}

/// What is not read yet after a restart may say that more records are kept than where nobody says anything.
#[test]
fn records_are_dropped_only_by_what_their_channels_file_says() {
    let (effective, _, settings) =
        template::tests::channel("runs: {history: {limit: 103}}", None, &Facts::default());
    let mut world = World::new(settings);
    for turn in 0..105 {
        let mut record = record();
        record.id.name = ResourceName::parse(&format!("r{turn}")).unwrap();
        record.turn = turn;
        record.end = Some(RunEnd {
            phase: Phase::Succeeded,
            reason: String::new(),
            message: String::new(),
            at: at(NOW),
        });
        world.runs.put(std::sync::Arc::new(record));
    }
    let channel = ResourceName::parse("c").unwrap();
    let now = Now { mono: std::time::Duration::ZERO, wall: at(NOW) };
    let dropped = |world: &World| expired(world, &channel, now).len();
    assert_eq!(dropped(&world), 0, "nothing was read yet");
    world.desired.ready = true;
    assert_eq!(dropped(&world), 5, "there is no such channel");
    world.desired.unread.insert("c.yaml".to_owned());
    assert_eq!(dropped(&world), 0, "it may be in there");
    world.desired.unread.clear();
    world.desired.unavailable = Some("it is away".to_owned());
    assert_eq!(dropped(&world), 0, "it may be in there");
    let mut desired = DesiredChannel {
        source: SourceRef { file: "c.yaml".to_owned(), line: 1 },
        labels: std::collections::BTreeMap::new(),
        annotations: std::collections::BTreeMap::new(),
        effective: Some(std::sync::Arc::new(effective)),
        origins: std::sync::Arc::default(),
        fingerprint: String::new(),
        verdict: Verdict::Admitted,
        target: None,
        git_missing: Vec::new(),
        source_trouble: None,
        removal_held: false,
    };
    world.desired.channels.insert(channel.clone(), std::sync::Arc::new(desired.clone()));
    assert_eq!(dropped(&world), 2, "its file says so");
    desired.effective = None;
    world.desired.channels.insert(channel.clone(), std::sync::Arc::new(desired));
    assert_eq!(dropped(&world), 0, "its class is missing, and may say so");
}
