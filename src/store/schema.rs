//! The tables, as a list of steps from an empty file to today's.
//!
//! A step that was released is never changed; a new one is added at the end. `user_version` counts the steps that were
//! taken, in the same transaction as the step. Times are RFC 3339 texts and words are the words of the API, because
//! people read these tables with `sqlite3`.

use rusqlite::{Connection, TransactionBehavior};

/// The number of steps, and so the version of a file that has taken them all.
#[expect(clippy::cast_possible_truncation, reason = "a handful of steps")]
pub(super) const VERSION: u32 = STEPS.len() as u32;

const STEPS: &[&str] = &[
    // 1: what a state directory is, and channels
    "
    -- whose state directory this is: state_id, instance, created_at
    CREATE TABLE identity (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- single values of the operator
    CREATE TABLE meta (
        key TEXT PRIMARY KEY,
        value TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- what chanop believes exists
    CREATE TABLE inventory (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        file TEXT NOT NULL,
        generation INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        created_at TEXT NOT NULL,
        pending_since TEXT,
        keep_stopped_seconds INTEGER NOT NULL,
        when_idle INTEGER NOT NULL CHECK (when_idle IN (0, 1)),
        max_wait_seconds INTEGER NOT NULL,
        grace_seconds INTEGER NOT NULL,
        gone_since TEXT,
        held INTEGER NOT NULL CHECK (held IN (0, 1)),
        stopped_at TEXT,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;

    -- the last good content of each spec file
    CREATE TABLE sources (
        file TEXT NOT NULL PRIMARY KEY,
        text TEXT NOT NULL
    ) STRICT;

    -- what people set against the files
    CREATE TABLE overrides (
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        suspend INTEGER NOT NULL CHECK (suspend IN (0, 1)),
        reason TEXT NOT NULL,
        since TEXT NOT NULL,
        until TEXT,
        PRIMARY KEY (kind, name)
    ) STRICT, WITHOUT ROWID;

    -- conditions as last shown; id keeps their order
    CREATE TABLE conditions (
        id INTEGER PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        status TEXT NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        observed_generation INTEGER NOT NULL,
        last_transition_time TEXT NOT NULL,
        UNIQUE (kind, name, type)
    ) STRICT;

    -- the limits last given to a container
    CREATE TABLE applied_limits (
        container_id TEXT PRIMARY KEY,
        nano_cpus INTEGER NOT NULL,
        memory_bytes INTEGER NOT NULL,
        pids INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    -- what happened, with counts; sequence grows with each occurrence, whatever the clock does
    CREATE TABLE events (
        sequence INTEGER PRIMARY KEY,
        object TEXT NOT NULL,
        warning INTEGER NOT NULL CHECK (warning IN (0, 1)),
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        count INTEGER NOT NULL,
        first_at TEXT NOT NULL,
        last_at TEXT NOT NULL,
        UNIQUE (object, reason, message)
    ) STRICT;

    -- for people: one line an object
    CREATE VIEW objects AS
    SELECT i.kind, i.name, i.file, i.generation,
           c.status AS ready, c.reason, c.message,
           coalesce(o.suspend, 0) AS suspended_by_hand, o.reason AS suspended_because,
           i.pending_since, i.gone_since, i.held, i.stopped_at, i.created_at
    FROM inventory AS i
    LEFT JOIN conditions AS c ON c.kind = i.kind AND c.name = i.name AND c.type = 'Ready'
    LEFT JOIN overrides AS o ON o.kind = i.kind AND o.name = i.name;
    ",
    // 2: runs
    "
    -- every run: the record as JSON, and beside it what people ask for; people read the view `runs`
    CREATE TABLE run_records (
        name TEXT NOT NULL,
        rerun INTEGER NOT NULL,
        channel TEXT NOT NULL,
        turn INTEGER NOT NULL,
        trigger TEXT NOT NULL,
        revision TEXT,
        phase TEXT NOT NULL,
        reason TEXT,
        message TEXT,
        admitted_at TEXT NOT NULL,
        started_at TEXT,
        ended_at TEXT,
        attempts INTEGER NOT NULL,
        first_attempt INTEGER NOT NULL,
        next_attempt INTEGER NOT NULL,
        exit_code INTEGER,
        session TEXT,
        model TEXT,
        turns INTEGER,
        tools INTEGER,
        tokens_in INTEGER,
        tokens_out INTEGER,
        tokens_cache_read INTEGER,
        tokens_cache_creation INTEGER,
        dollars REAL,
        cost_basis TEXT,
        record TEXT NOT NULL CHECK (json_valid(record)),
        PRIMARY KEY (name, rerun)
    ) STRICT;
    CREATE INDEX run_records_by_turn ON run_records (turn);

    -- what is left of dropped records: their files must never run again
    CREATE TABLE tombstones (
        name TEXT NOT NULL,
        rerun INTEGER NOT NULL,
        fingerprint TEXT NOT NULL,
        next_attempt INTEGER NOT NULL,
        ended_at TEXT NOT NULL,
        phase TEXT NOT NULL,
        PRIMARY KEY (name, rerun)
    ) STRICT, WITHOUT ROWID;

    -- the newest session of each channel (key: '') and of each key in it
    CREATE TABLE sessions (
        channel TEXT NOT NULL,
        key TEXT NOT NULL,
        id TEXT NOT NULL,
        at TEXT NOT NULL,
        PRIMARY KEY (channel, key)
    ) STRICT, WITHOUT ROWID;

    -- what the counters count; labels: a JSON array
    CREATE TABLE totals (
        family TEXT NOT NULL,
        labels TEXT NOT NULL CHECK (json_valid(labels)),
        value REAL NOT NULL,
        PRIMARY KEY (family, labels)
    ) STRICT, WITHOUT ROWID;

    -- the last line of defence, against a hand with sqlite3 too
    CREATE TRIGGER an_ended_run_never_changes
    BEFORE UPDATE ON run_records WHEN OLD.ended_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'an ended run never changes'); END;
    CREATE TRIGGER a_run_is_buried_and_not_dropped
    BEFORE DELETE ON run_records
    WHEN NOT EXISTS (SELECT 1 FROM tombstones WHERE name = OLD.name AND rerun = OLD.rerun)
    BEGIN SELECT RAISE(ABORT, 'a run without a tombstone would run again'); END;

    -- for people: one line a run, the newest first
    CREATE VIEW runs AS
    SELECT name, rerun, channel, trigger, phase, reason, message, admitted_at, started_at, ended_at,
           round((julianday(ended_at) - julianday(started_at)) * 86400, 1) AS seconds,
           attempts, turns, tools, tokens_in, tokens_out, dollars, cost_basis, exit_code, session,
           model, revision
    FROM run_records ORDER BY turn DESC;

    -- for people: what each channel's runs cost, by day (UTC) and model; inexact: dollars that are not sure
    CREATE VIEW costs AS
    SELECT channel, date(ended_at) AS day, model, count(*) AS runs, sum(turns) AS turns,
           sum(tokens_in) AS tokens_in, sum(tokens_out) AS tokens_out,
           sum(tokens_cache_read) AS tokens_cache_read,
           sum(tokens_cache_creation) AS tokens_cache_creation,
           round(sum(dollars), 6) AS dollars,
           count(*) FILTER (WHERE cost_basis <> 'exact') AS inexact
    FROM run_records WHERE ended_at IS NOT NULL
    GROUP BY channel, day, model ORDER BY day DESC, channel, model;
    ",
    // 3: numbers that agents made up and that earlier versions kept. The records stay as they are; what is added up from the
    // columns is finite again
    "
    DROP TRIGGER an_ended_run_never_changes;
    UPDATE run_records SET dollars = NULL, cost_basis = 'unknown'
    WHERE dollars IS NOT NULL AND NOT dollars BETWEEN 0 AND 1e6;
    UPDATE run_records SET
        turns = min(turns, 1000000000),
        tools = min(tools, 1000000000),
        tokens_in = min(tokens_in, 1000000000000),
        tokens_out = min(tokens_out, 1000000000000),
        tokens_cache_read = min(tokens_cache_read, 1000000000000),
        tokens_cache_creation = min(tokens_cache_creation, 1000000000000)
    WHERE max(coalesce(turns, 0), coalesce(tools, 0)) > 1000000000
       OR max(coalesce(tokens_in, 0), coalesce(tokens_out, 0), coalesce(tokens_cache_read, 0),
              coalesce(tokens_cache_creation, 0)) > 1000000000000;
    CREATE TRIGGER an_ended_run_never_changes
    BEFORE UPDATE ON run_records WHEN OLD.ended_at IS NOT NULL
    BEGIN SELECT RAISE(ABORT, 'an ended run never changes'); END;
    DELETE FROM totals WHERE NOT value BETWEEN 0 AND 9007199254740992.0;
    ",
];

/// How many steps the file has taken.
pub(super) fn version(connection: &Connection) -> rusqlite::Result<u32> {
    connection.pragma_query_value(None, "user_version", |row| row.get(0))
}

/// Takes the steps after `from`, each whole or not at all.
pub(super) fn migrate(connection: &mut Connection, from: u32) -> rusqlite::Result<()> {
    for (step, version) in STEPS.iter().zip(1_u32..) {
        if version <= from {
            continue;
        }
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_becomes_the_newest_and_a_new_one_is_left_alone() {
        let mut connection = Connection::open_in_memory().unwrap();
        assert_eq!(version(&connection).unwrap(), 0);
        migrate(&mut connection, 0).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
        migrate(&mut connection, VERSION).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_behind() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE events (x INTEGER)").unwrap();
        assert!(migrate(&mut connection, 0).is_err());
        assert_eq!(version(&connection).unwrap(), 0);
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table'", [], |row| {
                row.get(0)
            })
            .unwrap();
        assert_eq!(tables, 1);
    }

    #[test]
    fn a_file_of_the_first_version_keeps_its_rows() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.pragma_update(None, "user_version", 1).unwrap();
        connection.execute("INSERT INTO meta VALUES ('a', 'b')", []).unwrap();
        migrate(&mut connection, 1).unwrap();
        assert_eq!(version(&connection).unwrap(), VERSION);
        let kept: String =
            connection.query_row("SELECT value FROM meta", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, "b");
        let runs: i64 =
            connection.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(runs, 0);
    }

    #[test]
    fn infinite_numbers_of_an_older_version_are_removed() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(STEPS[0]).unwrap();
        connection.execute_batch(STEPS[1]).unwrap();
        connection.pragma_update(None, "user_version", 2).unwrap();
        let insert = "INSERT INTO run_records (name, rerun, channel, turn, trigger, phase, admitted_at,
            ended_at, attempts, first_attempt, next_attempt, tokens_in, dollars, cost_basis, record)
            VALUES (?1, 0, 'web', 1, 'api', 'Succeeded', '2026-01-01T00:00:00Z', '2026-01-01T00:00:00Z',
            1, 1, 2, ?2, ?3, 'exact', '{}')";
        for (name, tokens, dollars) in
            [("a", i64::MAX, f64::INFINITY), ("b", i64::MAX, 1e308), ("c", 7, 0.5)]
        {
            connection.execute(insert, rusqlite::params![name, tokens, dollars]).unwrap();
        }
        connection
            .execute_batch(
                "INSERT INTO totals VALUES ('dollars', '[]', 9e999), ('tokens', '[]', 3)",
            )
            .unwrap();
        migrate(&mut connection, 2).unwrap();
        let (tokens, dollars, inexact): (i64, f64, i64) = connection
            .query_row("SELECT tokens_in, dollars, inexact FROM costs", [], |row| row.try_into())
            .unwrap();
        assert_eq!((tokens, dollars, inexact), (2_000_000_000_007, 0.5, 2));
        let totals: f64 =
            connection.query_row("SELECT sum(value) FROM totals", [], |row| row.get(0)).unwrap();
        assert!((totals - 3.0).abs() < f64::EPSILON);
        let change = connection.execute("UPDATE run_records SET phase = 'Lost'", []);
        assert!(change.is_err(), "an ended run never changes");
    }

    #[test]
    fn every_table_is_strict() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection, 0).unwrap();
        let lax: i64 = connection
            .query_row(
                "SELECT count(*) FROM pragma_table_list
                 WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite%' AND NOT strict",
                [],
                |row| row.get(0),
            )
            .unwrap();
        assert_eq!(lax, 0);
    }
}
