//! Runs: records that come back to the bit, ends that nobody changes, and transcripts that go with their record.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chanop::claude::RunOutcome;
use chanop::claude::outcome::Ending;
use chanop::container::ContainerId;
use chanop::resource::run::{Message, Role, Session};
use chanop::store::StoreError;
use chanop::world::record::Write;
use chanop::world::run::{
    Ask, Attempt, AttemptEnd, AttemptKind, AttemptResult, Cancel, Evidence, KnownSession, Order,
    Phase, RunEnd, RunId, RunRecord, SessionKey, Terms, Tombstone, TotalKey, TranscriptFact,
    Trigger, total,
};
use proptest::prelude::*;
use rusqlite::Connection;
use uuid::Uuid;

use super::{at, name, open, try_open};

pub(super) fn id(run: &str, rerun: u32) -> RunId {
    RunId { name: name(run), rerun }
}

fn outcome(fixture: &str) -> RunOutcome {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/claude").join(fixture);
    let ending = Ending { exit_code: Some(0), stderr: "a\n".to_owned(), ..Ending::default() };
    RunOutcome::of_transcript(&fs::read(path).unwrap(), &ending)
}

fn attempt(number: u32, kind: AttemptKind, end: Option<AttemptEnd>) -> Attempt {
    Attempt {
        number,
        kind,
        session: Uuid::from_u128(7),
        resumes: Some(Uuid::from_u128(8)),
        container: ContainerId::parse(&"b2".repeat(32)).unwrap(),
        image: "sha256:1".to_owned(),
        image_digest: Some("a@sha256:2".to_owned()),
        permitted_at: at("2026-02-01T00:00:01.5Z"),
        permitted_by: Uuid::from_u128(9),
        terms: Terms {
            active_deadline_seconds: 3_600,
            grace_seconds: 30,
            keep_container_seconds: 300,
            cancel_with_channel: false,
            backoff_limit: 1,
        },
        stop: None,
        end,
    }
}

fn attempt_end(fixture: &str) -> AttemptEnd {
    AttemptEnd {
        result: AttemptResult::Succeeded,
        message: "it's \"so\"\n".to_owned(),
        evidence: Evidence::Init,
        exit_code: Some(0),
        oom_killed: true,
        started_at: Some(at("2026-02-01T00:00:02Z")),
        finished_at: Some(at("2026-02-01T00:00:12.25Z")),
        outcome: Some(outcome(fixture)),
        transcript: Some(TranscriptFact {
            bytes: 12,
            sha256: "f0".repeat(32),
            missing: Some("half of it".to_owned()),
        }),
        tampered: Some("started by hand".to_owned()),
        recorded_at: at("2026-02-01T00:00:13Z"),
    }
}

/// Every field away from its default.
pub(super) fn running(run: &str, turn: u64) -> RunRecord {
    let message = Message { role: Role::User, content: "ü \u{1}".to_owned() };
    RunRecord {
        id: id(run, 2),
        channel: name("house"),
        turn,
        trigger: Trigger::File { file: "team/r.yaml".to_owned(), line: 3 },
        revision: Some("abc".to_owned()),
        labels: BTreeMap::from([("team".to_owned(), "blue".to_owned())]),
        order: Order {
            ask: Ask::Messages(vec![message]),
            system_prompt: "be brief".to_owned(),
            author: "ann".to_owned(),
            session: Session::Key("chat".to_owned()),
            fork: true,
            starting_deadline_seconds: 60,
            active_deadline_seconds: Some(61),
            termination_grace_period_seconds: Some(62),
            backoff_limit: Some(63),
            max_turns: Some(64),
            max_budget_usd: Some(0.1 + 0.2),
            keep_container_seconds: Some(65),
        },
        fingerprint: "f00d".to_owned(),
        admitted_at: at("2026-02-01T00:00:00.000000001Z"),
        held: true,
        cancel: Some(Cancel { at: at("2026-02-01T00:00:09Z"), why: "no more".to_owned() }),
        first_attempt: 4,
        attempts: vec![
            attempt(4, AttemptKind::First, Some(attempt_end("max_turns.jsonl"))),
            attempt(5, AttemptKind::AfterCompact, None),
        ],
        next: None,
        not_before: Some(at("2026-02-01T01:00:00Z")),
        end: None,
    }
}

pub(super) fn ended(run: &str, turn: u64) -> RunRecord {
    let mut record = running(run, turn);
    record.attempts[1].end = Some(attempt_end("big_tool_output.jsonl"));
    record.end = Some(RunEnd {
        phase: Phase::Failed,
        reason: "MaxTurns".to_owned(),
        message: "too many".to_owned(),
        at: at("2026-02-01T00:00:14Z"),
    });
    record
}

pub(super) fn tombstone() -> Tombstone {
    Tombstone {
        fingerprint: "f00d".to_owned(),
        next_attempt: 6,
        ended_at: at("2026-02-01T00:00:14Z"),
        phase: Phase::Lost,
    }
}

pub(super) fn sessions() -> BTreeMap<SessionKey, KnownSession> {
    let session = |key: Option<&str>, number| {
        let key = SessionKey { channel: name("house"), key: key.map(str::to_owned) };
        (key, KnownSession { id: Uuid::from_u128(number), at: at("2026-02-01T00:00:15Z") })
    };
    [session(None, 1), session(Some("chat"), 2)].into()
}

pub(super) fn totals() -> BTreeMap<TotalKey, f64> {
    let key = |family, labels: &[&str]| TotalKey {
        family,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    };
    [
        (key(total::ENDED, &["house", "file", "Failed", "a \"b\""]), 3.0),
        (key(total::DOLLARS, &["house", "m"]), 0.1 + 0.2),
        (key(total::RETRIES, &[]), 0.0),
    ]
    .into()
}

pub(super) fn put(record: &RunRecord) -> Write {
    Write::Run(Arc::new(record.clone()))
}

/// A person's `sqlite3`.
fn by_hand(dir: &Path) -> Connection {
    Connection::open(dir.join("chanop.db")).unwrap()
}

fn runs(dir: &Path) -> Vec<RunRecord> {
    open(dir).1.runs
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn dollars_come_back_to_the_last_bit(dollars in proptest::num::f64::NORMAL) {
        let mut record = ended("a", 0);
        record.order.max_budget_usd = Some(dollars);
        let json = serde_json::to_string(&record).unwrap();
        let back: RunRecord = serde_json::from_str(&json).unwrap();
        prop_assert_eq!(&back, &record);
        prop_assert_eq!(serde_json::to_string(&back).unwrap(), json);
    }
}

#[test]
fn a_run_that_has_ended_never_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let mut record = running("a", 0);
    store.commit(&[put(&record)]).unwrap();
    record.held = false;
    store.commit(&[put(&record)]).unwrap();
    let end = ended("a", 0);
    store.commit(&[put(&end)]).unwrap();
    // The same again is nothing; another one is refused, and what comes with it is kept.
    store.commit(&[put(&end)]).unwrap();
    let mut other = end.clone();
    other.end.as_mut().unwrap().phase = Phase::Succeeded;
    store.commit(&[put(&other), Write::Meta("beside".to_owned(), "it".to_owned())]).unwrap();
    store.commit(&[put(&record)]).unwrap();

    let hand = by_hand(dir.path());
    let refused = |sql: &str| hand.execute(sql, []).unwrap_err().to_string();
    assert_eq!(refused("UPDATE run_records SET phase = 'Succeeded'"), "an ended run never changes");
    assert_eq!(refused("DELETE FROM run_records"), "a run without a tombstone would run again");
    drop(hand);
    store.close().unwrap();
    let (_store, loaded) = open(dir.path());
    assert_eq!(loaded.runs, [end]);
    assert_eq!(loaded.meta.get("beside").map(String::as_str), Some("it"));
}

#[test]
fn a_burial_takes_the_record_and_its_transcripts_and_leaves_the_tombstone() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let (a, b) = (ended("a", 0), ended("b", 1));
    store.commit(&[put(&a), put(&b)]).unwrap();
    let files = dir.path().join("runs/a");
    for attempt in [4, 5, 6] {
        let file = store.transcripts().append_to(&name("a"), attempt).unwrap();
        file.finish(None);
    }
    let writes = [put(&a), Write::Bury(a.id.clone(), tombstone())];
    store.commit(&writes).unwrap();
    // After a commit whose outcome was not known, all of it is written again.
    store.commit(&writes).unwrap();
    let is_gone = |attempt: u32| !files.join(format!("{attempt}.jsonl")).exists();
    let deadline = Duration::from_secs(10);
    let mut waited = Duration::ZERO;
    while !(is_gone(4) && is_gone(5)) {
        assert!(waited < deadline, "its transcripts are still there");
        std::thread::sleep(Duration::from_millis(10));
        waited += Duration::from_millis(10);
    }
    assert!(!is_gone(6), "the next run's");
    store.close().unwrap();
    let (_store, loaded) = open(dir.path());
    assert_eq!(loaded.runs, [b]);
    assert_eq!(loaded.tombstones, [(a.id, tombstone())].into());
}

#[test]
fn what_a_crash_kept_of_a_buried_run_is_swept_up_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&[Write::Bury(id("a", 0), tombstone())]).unwrap();
    drop(store);
    let files = dir.path().join("runs/a");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("5.jsonl.zst"), "x").unwrap();
    let _store = open(dir.path());
    let mut waited = Duration::ZERO;
    while files.exists() {
        assert!(waited < Duration::from_secs(10), "it is still there");
        std::thread::sleep(Duration::from_millis(10));
        waited += Duration::from_millis(10);
    }
}

#[test]
fn a_family_of_totals_that_is_not_known_is_left_for_whom_it_belongs_to() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.close().unwrap();
    let hand = by_hand(dir.path());
    hand.execute("INSERT INTO totals VALUES ('of_later', '[\"a\"]', 1.5)", []).unwrap();
    drop(hand);
    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.totals, BTreeMap::new());
    store.close().unwrap();
    let count: i64 =
        by_hand(dir.path()).query_row("SELECT count(*) FROM totals", [], |row| row.get(0)).unwrap();
    assert_eq!(count, 1);
}

#[test]
fn a_total_that_is_no_number_holds_nothing_up() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let (key, _) = totals().into_iter().next().unwrap();
    for odd in [f64::NAN, f64::INFINITY, -1.0, 1e308] {
        store.commit(&[Write::Total(key.clone(), 1.5), Write::Total(key.clone(), odd)]).unwrap();
    }
    store.close().unwrap();
    let (store, loaded) = open(dir.path());
    assert_eq!(loaded.totals, [(key, 1.5)].into());
    store.close().unwrap();
    // Not even when it is there already.
    by_hand(dir.path()).execute("UPDATE totals SET value = 9e999", []).unwrap();
    assert_eq!(open(dir.path()).1.totals, BTreeMap::new());
}

#[test]
fn a_damaged_row_is_an_error_and_no_default() {
    let breaks = [
        "UPDATE run_records SET record = '{}'",
        "UPDATE run_records SET record = json_set(record, '$.end', 7)",
        "UPDATE tombstones SET phase = 'Gone'",
        "UPDATE sessions SET id = 'no'",
        "UPDATE totals SET labels = '{}'",
    ];
    for sql in breaks {
        let dir = tempfile::tempdir().unwrap();
        let (mut store, _) = open(dir.path());
        store.commit(&super::puts(&super::everything())).unwrap();
        store.close().unwrap();
        let hand = by_hand(dir.path());
        hand.execute_batch("DROP TRIGGER an_ended_run_never_changes").unwrap();
        assert!(hand.execute(sql, []).unwrap() > 0);
        drop(hand);
        let error = try_open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{sql}: {error:?}");
    }
}

#[test]
fn records_from_before_attempts_had_their_retries_are_read() {
    let record = ended("a", 0);
    let mut json = serde_json::to_value(&record).unwrap();
    for attempt in json["attempts"].as_array_mut().unwrap() {
        let terms = attempt["terms"].as_object_mut().unwrap();
        assert_eq!(terms.remove("backoffLimit"), Some(1.into()));
    }
    let back: RunRecord = serde_json::from_value(json).unwrap();
    assert!(back.attempts.iter().all(|attempt| attempt.terms.backoff_limit == 0));
}

#[test]
fn people_see_runs_and_what_they_cost_while_the_operator_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let record = ended("a", 0);
    store.commit(&[put(&record), put(&running("b", 1))]).unwrap();
    let hand = by_hand(dir.path());
    let lines: Vec<(String, String, Option<f64>, i64)> = hand
        .prepare("SELECT name, phase, seconds, attempts FROM runs")
        .unwrap()
        .query_map([], |row| row.try_into())
        .unwrap()
        .map(Result::unwrap)
        .collect();
    let line = |name: &str, phase: &str, seconds| (name.to_owned(), phase.to_owned(), seconds, 2);
    assert_eq!(lines, [line("b", "Running", None), line("a", "Failed", Some(12.0))]);

    let both = ["max_turns.jsonl", "big_tool_output.jsonl"].map(outcome);
    let dollars: f64 = both.iter().filter_map(|outcome| outcome.cost.dollars).sum();
    let turns: u64 = both.iter().map(|outcome| outcome.turns).sum();
    assert!(dollars > 0.0 && turns > 0);
    let cost: (String, String, i64, i64, f64) = hand
        .query_row("SELECT channel, day, runs, turns, dollars FROM costs", [], |row| row.try_into())
        .unwrap();
    assert_eq!(
        (cost.0.as_str(), cost.1.as_str(), cost.2, cost.3),
        ("house", "2026-02-01", 1, i64::try_from(turns).unwrap())
    );
    assert!((cost.4 - dollars).abs() < 1e-6, "{} {dollars}", cost.4);
}

#[tokio::test]
async fn a_reader_waits_for_an_attempt_that_goes_on_and_hears_of_its_end_from_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&[put(&running("a", 0))]).unwrap();
    drop(store);
    // An operator that was started again knows it before anybody follows it.
    let (mut store, _) = open(dir.path());
    let transcripts = store.transcripts().clone();
    let mut tail = transcripts.open(&name("a"), 5, 0).unwrap();
    let early = tokio::time::timeout(Duration::from_millis(50), tail.next()).await;
    assert!(early.is_err(), "{early:?}");
    store.commit(&[put(&ended("a", 0))]).unwrap();
    let end = tokio::time::timeout(Duration::from_secs(10), tail.next()).await.unwrap();
    assert_eq!(end.unwrap(), None);
    let none = transcripts.open(&name("a"), 5, 0).unwrap_err();
    assert_eq!(none.kind(), std::io::ErrorKind::NotFound);
}

#[test]
fn another_stores_transcripts_are_not_gone_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("runs/a");
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("5.jsonl"), "of a store that is lost\n").unwrap();
    // A new store puts all aside; one that was put back to an older state, what its attempts would go on with.
    let (mut store, loaded) = open(dir.path());
    let aside = dir.path().join(format!("runs-before-{}", loaded.state_id));
    assert!(aside.join("a/5.jsonl").exists() && !files.exists());
    fs::create_dir_all(&files).unwrap();
    fs::write(files.join("5.jsonl"), "of a later state\n").unwrap();
    store.commit(&[put(&running("a", 0))]).unwrap();
    assert_eq!(store.transcripts().append_to(&name("a"), 5).unwrap().bytes(), 0);
    assert!(files.join("5.jsonl.old").exists());
}

#[test]
fn a_state_directory_that_is_lost_acknowledges_no_permit() {
    let outer = tempfile::tempdir().unwrap();
    let (dir, elsewhere) = (outer.path().join("state"), outer.path().join("elsewhere"));
    let (mut store, _) = open(&dir);
    store.commit(&[put(&running("a", 0))]).unwrap();
    fs::rename(&dir, &elsewhere).unwrap();
    let permit = [put(&running("b", 1))];
    let error = store.commit(&permit).unwrap_err();
    assert!(matches!(error, StoreError::Lost { .. }), "{error:?}");
    // Another one in its place is not it.
    fs::create_dir(&dir).unwrap();
    fs::copy(elsewhere.join("chanop.db"), dir.join("chanop.db")).unwrap();
    assert!(store.commit(&permit).is_err());
    fs::remove_dir_all(&dir).unwrap();
    fs::rename(&elsewhere, &dir).unwrap();
    store.commit(&permit).unwrap();
    drop(store);
    assert_eq!(runs(&dir).len(), 2);
}

#[test]
fn runs_come_back_in_the_order_of_their_admission() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let writes: Vec<Write> =
        [("c", 1), ("a", 3), ("b", 2)].iter().map(|(run, turn)| put(&ended(run, *turn))).collect();
    store.commit(&writes).unwrap();
    drop(store);
    let names: Vec<String> =
        runs(dir.path()).iter().map(|record| record.id.name.to_string()).collect();
    assert_eq!(names, ["c", "b", "a"]);
}
