//! The store on a real file system: what comes back, who may open it, and what survives a kill and a full disk.

mod runs;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use chanop::container::ContainerId;
use chanop::container::config::Limits;
use chanop::resource::condition::{Condition, ConditionStatus, ConditionType, Reason};
use chanop::resource::{ObjectRef, ResourceName};
use chanop::store::{Store, StoreError, StoreHandle, start};
use chanop::world::record::{
    EventRecord, Farewell, InventoryRow, Loaded, Override, SourceRow, Write,
};
use jiff::Timestamp;

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn try_open(dir: &Path) -> Result<(Store, Loaded), StoreError> {
    Store::open(dir, &name("default"), at("2026-01-01T00:00:00Z"))
}

fn open(dir: &Path) -> (Store, Loaded) {
    try_open(dir).unwrap()
}

fn channel(text: &str) -> ObjectRef {
    ObjectRef::channel(name(text))
}

fn source(file: &str, text: &str) -> Write {
    Write::Source(file.to_owned(), Some(SourceRow { text: text.to_owned() }))
}

fn condition(kind: ConditionType, reason: Reason) -> Condition {
    Condition {
        kind,
        status: ConditionStatus::Unknown,
        reason,
        message: "it's \"so\"\nand so".to_owned(),
        observed_generation: 3,
        last_transition_time: at("2026-01-02T03:04:05.000000006Z"),
    }
}

/// Every field away from its default, so that a column that is forgotten or swapped shows.
fn everything() -> Loaded {
    let row = InventoryRow {
        file: "team/a.yaml".to_owned(),
        generation: 7,
        fingerprint: "f00d".to_owned(),
        created_at: at("2026-01-01T00:00:00Z"),
        pending_since: Some(at("2026-01-01T00:00:00.1Z")),
        farewell: Farewell {
            keep_stopped_seconds: 3_600,
            when_idle: true,
            max_wait_seconds: u64::from(u32::MAX) + 1,
            grace_seconds: 30,
        },
        gone_since: Some(at("2026-01-03T00:00:00Z")),
        held: true,
        stopped_at: Some(at("2026-01-04T00:00:00Z")),
    };
    let suspended = Override {
        suspend: true,
        reason: "lunch".to_owned(),
        since: at("2026-01-05T00:00:00Z"),
        until: Some(at("2026-01-05T01:00:00Z")),
    };
    // Not in the order of their names: what was written first is shown first.
    let conditions = vec![
        condition(ConditionType::UpToDate, Reason::UpdatePending),
        condition(ConditionType::Ready, Reason::CrashLoopBackOff),
    ];
    let limits = Limits { nano_cpus: 1_500_000_000, memory_bytes: 1 << 40, pids: 4_096 };
    let event = EventRecord {
        object: "operator".to_owned(),
        warning: true,
        reason: "EngineGone".to_owned(),
        message: "no answer".to_owned(),
        count: 12,
        first: at("2026-01-06T00:00:00Z"),
        last: at("2026-01-07T00:00:00Z"),
    };
    Loaded {
        meta: [("engine_id".to_owned(), "ABCD".to_owned())].into(),
        inventory: [(channel("a"), row)].into(),
        sources: [("team/a.yaml".to_owned(), SourceRow { text: "a: ü\n".to_owned() })].into(),
        overrides: [(channel("a"), suspended)].into(),
        conditions: [(channel("a"), conditions)].into(),
        applied: [(ContainerId::parse(&"a1".repeat(32)).unwrap(), limits)].into(),
        events: vec![event],
        runs: vec![runs::ended("a", 0), runs::running("b", 1)],
        tombstones: [(runs::id("z", 3), runs::tombstone())].into(),
        sessions: runs::sessions(),
        totals: runs::totals(),
        ..Loaded::default()
    }
}

fn puts(all: &Loaded) -> Vec<Write> {
    let all = all.clone();
    let mut writes = Vec::new();
    writes.extend(all.meta.into_iter().map(|(key, value)| Write::Meta(key, value)));
    writes.extend(all.inventory.into_iter().map(|(key, row)| Write::Inventory(key, Some(row))));
    writes.extend(all.sources.into_iter().map(|(key, row)| Write::Source(key, Some(row))));
    writes.extend(all.overrides.into_iter().map(|(key, row)| Write::Override(key, Some(row))));
    writes.extend(all.conditions.into_iter().map(|(key, row)| Write::Conditions(key, Some(row))));
    writes.extend(all.applied.into_iter().map(|(key, row)| Write::Applied(key, Some(row))));
    writes.extend(all.events.into_iter().map(Write::Event));
    writes.extend(all.runs.into_iter().map(|record| Write::Run(Arc::new(record))));
    writes.extend(all.tombstones.into_iter().map(|(id, row)| Write::Bury(id, row)));
    writes.extend(all.sessions.into_iter().map(|(key, row)| Write::Session(key, row)));
    writes.extend(all.totals.into_iter().map(|(key, value)| Write::Total(key, value)));
    writes
}

#[test]
fn every_write_comes_back_and_every_removal_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, first) = open(dir.path());
    assert!(first.fresh);
    let mut expected = everything();
    expected.state_id.clone_from(&first.state_id);
    assert_eq!(
        Loaded { fresh: true, ..Loaded { state_id: first.state_id.clone(), ..Loaded::default() } },
        first
    );

    store.commit(&puts(&expected)).unwrap();
    // A repetition changes nothing: after an error the caller simply writes again.
    store.commit(&puts(&expected)).unwrap();
    store.close().unwrap();

    let (mut store, loaded) = open(dir.path());
    assert_eq!(loaded, expected);

    let container = ContainerId::parse(&"a1".repeat(32)).unwrap();
    let removals = [
        Write::Inventory(channel("a"), None),
        Write::Source("team/a.yaml".to_owned(), None),
        Write::Override(channel("a"), None),
        Write::Conditions(channel("a"), None),
        Write::Applied(container, None),
    ];
    store.commit(&removals).unwrap();
    store.close().unwrap();
    let left = open(dir.path()).1;
    let what_is_never_removed = Loaded {
        state_id: expected.state_id,
        meta: expected.meta,
        events: expected.events,
        runs: expected.runs,
        tombstones: expected.tombstones,
        sessions: expected.sessions,
        totals: expected.totals,
        ..Loaded::default()
    };
    assert_eq!(left, what_is_never_removed);
}

#[test]
fn conditions_are_replaced_as_a_whole() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let put = |conditions| Write::Conditions(channel("a"), Some(conditions));
    let ready = condition(ConditionType::Ready, Reason::Running);
    let valid = condition(ConditionType::SourceValid, Reason::Valid);
    store.commit(&[put(vec![ready, valid.clone()])]).unwrap();
    store.commit(&[put(vec![valid.clone()])]).unwrap();
    store.close().unwrap();
    assert_eq!(open(dir.path()).1.conditions, [(channel("a"), vec![valid])].into());
}

#[test]
fn a_second_operator_is_told_who_has_the_state_directory() {
    let dir = tempfile::tempdir().unwrap();
    let held = open(dir.path());
    let error = try_open(dir.path()).unwrap_err();
    let expected = format!("another operator (pid {}) holds ", std::process::id());
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&expected), "{error}");
    // Nor is it let in when somebody takes the file away.
    fs::remove_file(dir.path().join("lock")).unwrap();
    let error = try_open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked { .. }), "{error:?}");
    drop(held);
    open(dir.path());
}

#[test]
fn another_instance_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    drop(open(dir.path()));
    let error = Store::open(dir.path(), &name("other"), at("2026-01-01T00:00:00Z")).unwrap_err();
    assert!(matches!(error, StoreError::OtherInstance { .. }), "{error:?}");
    assert!(!open(dir.path()).1.fresh, "the refused instance must not have touched it");
}

#[test]
fn what_the_store_makes_is_private() {
    let outer = tempfile::tempdir().unwrap();
    let dir = outer.path().join("deep/state");
    let (mut store, _) = open(&dir);
    store.commit(&[source("a.yaml", "a")]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&dir), 0o700);
    let mut files: Vec<PathBuf> =
        fs::read_dir(&dir).unwrap().map(|it| it.unwrap().path()).collect();
    files.sort();
    let names: Vec<_> = files.iter().filter_map(|file| file.file_name()?.to_str()).collect();
    assert_eq!(names, ["chanop.db", "chanop.db-shm", "chanop.db-wal", "key", "lock"]);
    for file in files {
        assert_eq!(mode(&file), 0o600, "{}", file.display());
    }
}

#[test]
fn a_state_directory_that_others_can_write_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), PermissionsExt::from_mode(0o770)).unwrap();
    let error = try_open(dir.path()).unwrap_err();
    let path = dir.path().display();
    assert_eq!(
        error.to_string(),
        format!("{path} can be written by others (mode 0770); chmod go-w {path}")
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn a_damaged_file_is_recognised_before_it_is_believed() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("chanop.db");
    let (mut store, _) = open(dir.path());
    let writes: Vec<Write> =
        (0..200).map(|n| source(&format!("{n}.yaml"), &"x".repeat(500))).collect();
    store.commit(&writes).unwrap();
    store.close().unwrap();
    let good = fs::read(&path).unwrap();

    let mut holed = good.clone();
    let middle = (good.len() / 2) & !4_095;
    holed[middle..middle + 4_096].fill(0xa5);
    for bad in [holed, b"no database at all, but long enough to have a header".repeat(100)] {
        fs::write(&path, bad).unwrap();
        let error = try_open(dir.path()).unwrap_err();
        assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
    }

    fs::write(&path, good).unwrap();
    assert_eq!(open(dir.path()).1.sources.len(), 200);
}

#[tokio::test]
async fn concurrent_commits_are_all_answered_and_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let (handle, writer) = start(open(dir.path()).0).unwrap();
    let commits = (0..500).map(|n| {
        let handle = handle.clone();
        async move { handle.commit(vec![source(&format!("{n}.yaml"), "x")]).await }
    });
    for outcome in futures_util::future::join_all(commits).await {
        outcome.unwrap();
    }
    writer.close().await.unwrap();
    let late = handle.commit(vec![source("late.yaml", "x")]).await;
    assert!(matches!(late, Err(StoreError::Closed)), "{late:?}");
    assert_eq!(open(dir.path()).1.sources.len(), 500);
}

const CHILD_DIR: &str = "CHANOP_TEST_STORE_DIR";

/// A run of one of this binary's hidden tests, with `dir` to work in. `wrapper` is put before it.
fn child(test: &str, dir: &Path, wrapper: &[&str]) -> Command {
    let us = std::env::current_exe().unwrap();
    let us = us.to_str().unwrap();
    let line = [wrapper, &[us, "--exact", test, "--ignored", "--nocapture"]].concat();
    #[expect(clippy::disallowed_methods, reason = "a process is needed that can be killed")]
    let mut command = Command::new(line[0]);
    command.args(&line[1..]).env(CHILD_DIR, dir);
    command
}

fn child_dir() -> PathBuf {
    #[expect(clippy::disallowed_methods, reason = "how a test hands its directory to its child")]
    let dir = std::env::var(CHILD_DIR);
    dir.expect("this is the child of another test and is not started alone").into()
}

const LANES: usize = 4;

/// Which numbers each lane has, checked to be without a hole and in step with the lane's counter.
fn lanes(loaded: &Loaded) -> BTreeMap<String, usize> {
    let lane = |lane: usize| {
        let lane = format!("lane{lane}");
        let last = loaded.meta.get(&lane).map_or(0, |last| last.parse().unwrap());
        let prefix = format!("{lane}/");
        let rows = loaded.sources.keys().filter(|file| file.starts_with(&prefix)).count();
        assert_eq!(rows, last, "a commit of {lane} is there in part");
        (lane, last)
    };
    (0..LANES).map(lane).collect()
}

async fn commit_for_ever(handle: StoreHandle, lane: String, last: usize) {
    for n in last + 1.. {
        let row = source(&format!("{lane}/{n}"), &"x".repeat(2_000));
        handle.commit(vec![row, Write::Meta(lane.clone(), n.to_string())]).await.unwrap();
        // One write of one line: the pipe takes it whole or not at all.
        std::io::stdout().write_all(format!("\nacked {lane} {n}\n").as_bytes()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "the child of a_kill_in_mid_write_loses_nothing_that_was_acknowledged"]
async fn the_child_that_commits_until_it_is_killed() {
    let (store, loaded) = open(&child_dir());
    let (handle, _writer) = start(store).unwrap();
    let lanes = lanes(&loaded);
    let all = lanes.into_iter().map(|(lane, last)| commit_for_ever(handle.clone(), lane, last));
    futures_util::future::join_all(all).await;
}

#[test]
fn a_kill_in_mid_write_loses_nothing_that_was_acknowledged() {
    const CHILD: &str = "store::the_child_that_commits_until_it_is_killed";
    let dir = tempfile::tempdir().unwrap();
    let mut acked: BTreeMap<String, usize> = BTreeMap::new();
    for round in 0..10 {
        let mut child = child(CHILD, dir.path(), &[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let mut seen = 0;
        // A different number of commits each time, so that the kill falls into different work.
        let enough = 1 + round * 13;
        let mut note = |line: String| {
            let Some(("acked", rest)) = line.split_once(' ') else { return 0 };
            let (lane, n) = rest.split_once(' ').unwrap();
            acked.insert(lane.to_owned(), n.parse().unwrap());
            1
        };
        while seen < enough {
            seen += note(lines.next().expect("the child ended by itself"));
        }
        child.kill().unwrap();
        // What it had acknowledged before it died counts too.
        lines.for_each(|line| {
            note(line);
        });
        child.wait().unwrap();

        let (_store, loaded) = open(dir.path());
        let found = lanes(&loaded);
        for (lane, last) in &acked {
            assert!(
                found[lane] >= *last,
                "round {round}: {lane} was acknowledged up to {last}, {found:?}"
            );
        }
    }
}

#[test]
#[ignore = "the child of a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_space"]
fn the_child_on_a_small_disk() {
    let dir = child_dir();
    let ballast = dir.join("ballast");
    fs::write(&ballast, vec![0; 256 * 1024]).unwrap();
    let (mut store, _) = open(&dir);

    let text = "x".repeat(64 * 1024);
    let mut acked = Vec::new();
    let error = loop {
        let file = format!("{:03}", acked.len());
        match store.commit(&[source(&file, &text)]) {
            Ok(()) => acked.push(file),
            Err(error) => break error,
        }
        assert!(acked.len() < 1_000, "the disk was never full");
    };
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(!acked.is_empty());
    let mut permit = runs::running("a", 0);
    permit.order.system_prompt.clone_from(&text);
    let error = store.commit(&[runs::put(&permit)]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "a permit without a place: {error:?}");

    fs::remove_file(&ballast).unwrap();
    store.commit(&[source("after", &text)]).unwrap();
    acked.push("after".to_owned());

    // There is no room to fold the log into the database. It says so, and the log is as good.
    let error = store.close().unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    let loaded = open(&dir).1;
    assert_eq!(loaded.sources.into_keys().collect::<Vec<String>>(), acked);
    assert_eq!(loaded.runs, []);
}

#[test]
fn a_full_disk_loses_nothing_and_the_store_goes_on_when_there_is_space() {
    let dir = tempfile::tempdir().unwrap();
    // A mount namespace of its own: the file system goes with the child, whatever becomes of it.
    let unshare: &[&str] = if rustix::process::geteuid().is_root() {
        &["unshare", "--mount"]
    } else {
        &["unshare", "--user", "--map-root-user", "--mount"]
    };
    let script =
        format!("mount -t tmpfs -o size=2m,mode=0700 none \"${CHILD_DIR}\" && exec \"$@\"");
    let wrapper = [unshare, &["sh", "-c", &script, "sh"]].concat();
    let out = child("store::the_child_on_a_small_disk", dir.path(), &wrapper).output().unwrap();
    let said = [out.stdout, out.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(
        out.status.success() && said.contains("1 passed"),
        "no small disk, or a failure on it:\n{said}"
    );
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "it was not a disk of its own");
}
