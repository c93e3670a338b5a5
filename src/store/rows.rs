//! Rows and values: the only place that knows which column holds what.
//!
//! Every write replaces or removes whole rows, so that repeating one changes nothing.

use std::collections::BTreeMap;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::columns::{Id, Time, Unsigned, Word};
use super::run_rows;
use crate::container::ContainerId;
use crate::container::config::Limits;
use crate::resource::condition::Condition;
use crate::resource::{ObjectRef, ResourceName};
use crate::world::record::{
    EventRecord, Farewell, InventoryRow, Loaded, Override, SourceRow, Write,
};

/// How many event records are kept: weeks of a calm house, hours of a stormy one, and about 200 kB.
pub(super) const EVENTS_MAX: u32 = 1_000;

/// Whose state directory it is.
#[derive(Debug)]
pub(super) struct Identity {
    state_id: String,
    pub(super) instance: String,
    fresh: bool,
}

/// Reads the identity; a new store gets one.
pub(super) fn identify(
    connection: &mut Connection,
    instance: &ResourceName,
    now: Timestamp,
) -> rusqlite::Result<Identity> {
    let transaction = connection.transaction()?;
    let read = |key: &str| {
        transaction
            .query_row("SELECT value FROM identity WHERE key = ?1", [key], |row| row.get(0))
            .optional()
    };
    let known: (Option<String>, Option<String>) = (read("state_id")?, read("instance")?);
    if let (Some(state_id), Some(instance)) = known {
        return Ok(Identity { state_id, instance, fresh: false });
    }
    let state_id = uuid::Uuid::new_v4().to_string();
    let instance = instance.to_string();
    let created_at = now.to_string();
    let rows = [("state_id", &state_id), ("instance", &instance), ("created_at", &created_at)];
    for (key, value) in rows {
        transaction.execute("INSERT OR REPLACE INTO identity VALUES (?1, ?2)", (key, value))?;
    }
    transaction.commit()?;
    Ok(Identity { state_id, instance, fresh: true })
}

/// Reads everything.
pub(super) fn load(connection: &Connection, identity: Identity) -> rusqlite::Result<Loaded> {
    let mut conditions: BTreeMap<ObjectRef, Vec<Condition>> = BTreeMap::new();
    let rows: Vec<_> = all(connection, "SELECT * FROM conditions ORDER BY id", condition)?;
    for (object, one) in rows {
        conditions.entry(object).or_default().push(one);
    }
    Ok(Loaded {
        state_id: identity.state_id,
        fresh: identity.fresh,
        meta: all(connection, "SELECT * FROM meta", |row| {
            Ok((row.get("key")?, row.get("value")?))
        })?,
        inventory: all(connection, "SELECT * FROM inventory", inventory_row)?,
        sources: all(connection, "SELECT * FROM sources", |row| {
            Ok((row.get("file")?, SourceRow { text: row.get("text")? }))
        })?,
        overrides: all(connection, "SELECT * FROM overrides", override_row)?,
        conditions,
        applied: all(connection, "SELECT * FROM applied_limits", limits)?,
        events: all(connection, "SELECT * FROM events ORDER BY sequence", event)?,
        runs: all(connection, "SELECT record FROM run_records ORDER BY turn", run_rows::record)?,
        tombstones: all(connection, "SELECT * FROM tombstones", run_rows::tombstone)?,
        sessions: all(connection, "SELECT * FROM sessions", run_rows::session)?,
        totals: run_rows::totals(connection)?,
    })
}

pub(super) fn all<T, C: FromIterator<T>>(
    connection: &Connection,
    sql: &str,
    read: impl FnMut(&Row<'_>) -> rusqlite::Result<T>,
) -> rusqlite::Result<C> {
    connection.prepare(sql)?.query_map([], read)?.collect()
}

fn object(row: &Row<'_>) -> rusqlite::Result<ObjectRef> {
    let Word(kind) = row.get("kind")?;
    let Word(name) = row.get("name")?;
    Ok(ObjectRef { kind, name })
}

pub(super) fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Timestamp> {
    row.get(column).map(|Time(time)| time)
}

fn time_if_any(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Time>>(column)?.map(|Time(time)| time))
}

pub(super) fn unsigned(row: &Row<'_>, column: &str) -> rusqlite::Result<u64> {
    row.get(column).map(|Unsigned(number)| number)
}

fn inventory_row(row: &Row<'_>) -> rusqlite::Result<(ObjectRef, InventoryRow)> {
    let farewell = Farewell {
        keep_stopped_seconds: unsigned(row, "keep_stopped_seconds")?,
        when_idle: row.get("when_idle")?,
        max_wait_seconds: unsigned(row, "max_wait_seconds")?,
        grace_seconds: row.get("grace_seconds")?,
    };
    let value = InventoryRow {
        file: row.get("file")?,
        generation: row.get("generation")?,
        fingerprint: row.get("fingerprint")?,
        created_at: time(row, "created_at")?,
        pending_since: time_if_any(row, "pending_since")?,
        farewell,
        gone_since: time_if_any(row, "gone_since")?,
        held: row.get("held")?,
        stopped_at: time_if_any(row, "stopped_at")?,
    };
    Ok((object(row)?, value))
}

fn override_row(row: &Row<'_>) -> rusqlite::Result<(ObjectRef, Override)> {
    let value = Override {
        suspend: row.get("suspend")?,
        reason: row.get("reason")?,
        since: time(row, "since")?,
        until: time_if_any(row, "until")?,
    };
    Ok((object(row)?, value))
}

fn condition(row: &Row<'_>) -> rusqlite::Result<(ObjectRef, Condition)> {
    let Word(kind) = row.get("type")?;
    let Word(status) = row.get("status")?;
    let Word(reason) = row.get("reason")?;
    let value = Condition {
        kind,
        status,
        reason,
        message: row.get("message")?,
        observed_generation: row.get("observed_generation")?,
        last_transition_time: time(row, "last_transition_time")?,
    };
    Ok((object(row)?, value))
}

fn limits(row: &Row<'_>) -> rusqlite::Result<(ContainerId, Limits)> {
    let Id(container) = row.get("container_id")?;
    let value = Limits {
        nano_cpus: row.get("nano_cpus")?,
        memory_bytes: row.get("memory_bytes")?,
        pids: row.get("pids")?,
    };
    Ok((container, value))
}

fn event(row: &Row<'_>) -> rusqlite::Result<EventRecord> {
    Ok(EventRecord {
        object: row.get("object")?,
        warning: row.get("warning")?,
        reason: row.get("reason")?,
        message: row.get("message")?,
        count: unsigned(row, "count")?,
        first: time(row, "first_at")?,
        last: time(row, "last_at")?,
    })
}

/// Writes one change.
pub(super) fn apply(transaction: &Transaction<'_>, write: &Write) -> rusqlite::Result<()> {
    match write {
        Write::Meta(key, value) => run(
            transaction,
            "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)",
            params![key, value],
        ),
        Write::Inventory(object, Some(row)) => put_inventory(transaction, object, row),
        Write::Inventory(object, None) => remove(transaction, "inventory", object),
        Write::Source(file, Some(row)) => run(
            transaction,
            "INSERT OR REPLACE INTO sources (file, text) VALUES (?1, ?2)",
            params![file, row.text],
        ),
        Write::Source(file, None) => {
            run(transaction, "DELETE FROM sources WHERE file = ?1", params![file])
        }
        Write::Override(object, Some(row)) => run(
            transaction,
            "INSERT OR REPLACE INTO overrides (kind, name, suspend, reason, since, until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                object.kind.as_str(),
                object.name.as_str(),
                row.suspend,
                row.reason,
                Time(row.since),
                row.until.map(Time)
            ],
        ),
        Write::Override(object, None) => remove(transaction, "overrides", object),
        Write::Conditions(object, conditions) => {
            remove(transaction, "conditions", object)?;
            let conditions = conditions.iter().flatten();
            conditions.into_iter().try_for_each(|one| put_condition(transaction, object, one))
        }
        Write::Applied(container, Some(limits)) => run(
            transaction,
            "INSERT OR REPLACE INTO applied_limits (container_id, nano_cpus, memory_bytes, pids)
             VALUES (?1, ?2, ?3, ?4)",
            params![container.as_str(), limits.nano_cpus, limits.memory_bytes, limits.pids],
        ),
        Write::Applied(container, None) => run(
            transaction,
            "DELETE FROM applied_limits WHERE container_id = ?1",
            params![container.as_str()],
        ),
        Write::Event(event) => put_event(transaction, event),
        Write::Run(record) => run_rows::put_record(transaction, record),
        Write::Bury(id, tombstone) => run_rows::bury(transaction, id, tombstone),
        Write::Session(key, session) => run_rows::put_session(transaction, key, session),
        Write::Total(key, value) => run_rows::put_total(transaction, key, *value),
    }
}

/// Forgets all but the newest [`EVENTS_MAX`] event records.
pub(super) fn trim_events(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    run(
        transaction,
        "DELETE FROM events WHERE sequence <=
             (SELECT sequence FROM events ORDER BY sequence DESC LIMIT 1 OFFSET ?1)",
        params![EVENTS_MAX],
    )
}

pub(super) fn run(
    transaction: &Transaction<'_>,
    sql: &str,
    values: impl rusqlite::Params,
) -> rusqlite::Result<()> {
    transaction.prepare_cached(sql)?.execute(values).map(|_| ())
}

fn remove(
    transaction: &Transaction<'_>,
    table: &'static str,
    object: &ObjectRef,
) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM {table} WHERE kind = ?1 AND name = ?2");
    run(transaction, &sql, params![object.kind.as_str(), object.name.as_str()])
}

fn put_inventory(
    transaction: &Transaction<'_>,
    object: &ObjectRef,
    row: &InventoryRow,
) -> rusqlite::Result<()> {
    run(
        transaction,
        "INSERT OR REPLACE INTO inventory
             (kind, name, file, generation, fingerprint, created_at, pending_since,
              keep_stopped_seconds, when_idle, max_wait_seconds, grace_seconds,
              gone_since, held, stopped_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        params![
            object.kind.as_str(),
            object.name.as_str(),
            row.file,
            row.generation,
            row.fingerprint,
            Time(row.created_at),
            row.pending_since.map(Time),
            Unsigned(row.farewell.keep_stopped_seconds),
            row.farewell.when_idle,
            Unsigned(row.farewell.max_wait_seconds),
            row.farewell.grace_seconds,
            row.gone_since.map(Time),
            row.held,
            row.stopped_at.map(Time),
        ],
    )
}

fn put_condition(
    transaction: &Transaction<'_>,
    object: &ObjectRef,
    one: &Condition,
) -> rusqlite::Result<()> {
    run(
        transaction,
        "INSERT OR REPLACE INTO conditions
             (kind, name, type, status, reason, message, observed_generation, last_transition_time)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
        params![
            object.kind.as_str(),
            object.name.as_str(),
            Word(one.kind),
            Word(one.status),
            Word(one.reason),
            one.message,
            one.observed_generation,
            Time(one.last_transition_time),
        ],
    )
}

/// Replacing, not updating: the row gets a new sequence, so the newest occurrence is last.
fn put_event(transaction: &Transaction<'_>, event: &EventRecord) -> rusqlite::Result<()> {
    run(
        transaction,
        "INSERT OR REPLACE INTO events
             (object, warning, reason, message, count, first_at, last_at)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            event.object,
            event.warning,
            event.reason,
            event.message,
            Unsigned(event.count),
            Time(event.first),
            Time(event.last),
        ],
    )
}
