//! What needs the connection itself; what a caller sees is tested on a real file system in `tests/it/store.rs`.

use super::*;
use crate::resource::ObjectRef;
use crate::resource::condition::{Condition, ConditionStatus, ConditionType, Reason};
use crate::world::record::{EventRecord, Farewell, InventoryRow, SourceRow};

fn name(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn open(dir: &Path) -> (Store, Loaded) {
    Store::open(dir, &name("default"), at(0)).unwrap()
}

fn source(file: &str, bytes: usize) -> Write {
    Write::Source(file.to_owned(), Some(SourceRow { text: "x".repeat(bytes) }))
}

fn files(loaded: &Loaded) -> Vec<&str> {
    loaded.sources.keys().map(String::as_str).collect()
}

fn event(message: usize, second: i64) -> Write {
    Write::Event(EventRecord {
        object: "channel/a".to_owned(),
        warning: false,
        reason: "Created".to_owned(),
        message: message.to_string(),
        count: 1,
        first: at(second),
        last: at(second),
    })
}

#[test]
fn the_settings_that_durability_rests_on_are_in_force() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    let pragma = |name| store.connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
    let mode: String =
        store.connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
    assert_eq!(mode, "wal");
    let synchronous: i64 = pragma("synchronous");
    assert_eq!(synchronous, 2, "FULL");
}

#[test]
fn a_full_disk_refuses_the_commit_whole_and_later_ones_work_again() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.commit(&[source("before", 10)]).unwrap();
    let pages: u32 =
        store.connection.pragma_query_value(None, "page_count", |row| row.get(0)).unwrap();
    let limit = |store: &Store, pages: u32| {
        store
            .connection
            .pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
            .unwrap();
    };
    limit(&store, pages + 1);

    let error = store.commit(&[source("small", 10), source("big", 100_000)]).unwrap_err();
    assert!(matches!(error, StoreError::Full { .. }), "{error:?}");
    assert!(error.to_string().starts_with("no space left to write to "), "{error}");

    limit(&store, pages + 1_000);
    store.commit(&[source("after", 100_000)]).unwrap();
    drop(store);
    assert_eq!(files(&open(dir.path()).1), ["after", "before"]);
}

#[test]
fn a_store_that_cannot_be_written_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    store.connection.pragma_update(None, "query_only", true).unwrap();
    let error = store.commit(&[source("a", 1)]).unwrap_err();
    assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
}

#[test]
fn the_newest_thousand_events_stay_in_the_order_of_their_last_occurrence() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let many: Vec<Write> = (0..1_005).map(|number| event(number, 100)).collect();
    store.commit(&many).unwrap();
    // Seen again, by a clock that jumped back: the newest all the same, and still one row.
    store.commit(&[event(7, 50)]).unwrap();
    store.close().unwrap();

    let (_store, loaded) = open(dir.path());
    let messages: Vec<&str> = loaded.events.iter().map(|event| event.message.as_str()).collect();
    assert_eq!(messages.len(), 1_000);
    assert_eq!(messages.first(), Some(&"5"));
    assert_eq!(messages.last(), Some(&"7"));
    assert_eq!(messages.iter().filter(|message| **message == "7").count(), 1);
}

#[test]
fn a_newer_store_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store.connection.pragma_update(None, "user_version", schema::VERSION + 1).unwrap();
    drop(store);
    let error = Store::open(dir.path(), &name("default"), at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Newer { .. }), "{error:?}");
}

#[test]
fn a_row_that_does_not_hold_what_it_should_is_damage_and_no_default() {
    let dir = tempfile::tempdir().unwrap();
    let (store, _) = open(dir.path());
    store
        .connection
        .execute("INSERT INTO overrides VALUES ('Channel', 'a', 1, '', 'yesterday', NULL)", [])
        .unwrap();
    drop(store);
    let error = Store::open(dir.path(), &name("default"), at(0)).unwrap_err();
    assert!(matches!(error, StoreError::Corrupt { .. }), "{error:?}");
}

#[test]
fn people_see_one_line_an_object_while_the_operator_runs() {
    let dir = tempfile::tempdir().unwrap();
    let (mut store, _) = open(dir.path());
    let object = ObjectRef::channel(name("a"));
    let row = InventoryRow {
        file: "a.yaml".to_owned(),
        generation: 2,
        fingerprint: String::new(),
        created_at: at(0),
        pending_since: None,
        farewell: Farewell {
            keep_stopped_seconds: 0,
            when_idle: true,
            max_wait_seconds: 0,
            grace_seconds: 0,
        },
        gone_since: None,
        held: false,
        stopped_at: None,
    };
    let ready = Condition {
        kind: ConditionType::Ready,
        status: ConditionStatus::False,
        reason: Reason::ImageMissing,
        message: "no image".to_owned(),
        observed_generation: 2,
        last_transition_time: at(0),
    };
    store
        .commit(&[
            Write::Inventory(object.clone(), Some(row)),
            Write::Conditions(object, Some(vec![ready])),
        ])
        .unwrap();

    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reader = Connection::open_with_flags(dir.path().join("chanop.db"), flags).unwrap();
    let seen: (String, String, String, String, i64) = reader
        .query_row("SELECT kind, name, ready, reason, suspended_by_hand FROM objects", [], |row| {
            row.try_into()
        })
        .unwrap();
    let words = ["Channel", "a", "False", "ImageMissing"].map(str::to_owned);
    assert_eq!([seen.0, seen.1, seen.2, seen.3], words);
    assert_eq!(seen.4, 0);
}

#[test]
fn an_empty_file_is_a_store_of_version_zero() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("chanop.db"), "").unwrap();
    let (store, loaded) = open(dir.path());
    assert!(loaded.fresh);
    assert_eq!(schema::version(&store.connection).unwrap(), schema::VERSION);
}
