//! Rows of runs: the record as JSON, and beside it the columns that people ask for.
//!
//! The JSON is the record; the columns are taken from it at each write and never read back. A record that has ended is
//! written once and never again, whoever asks.

use std::collections::BTreeMap;
use std::ops::Range;

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::columns::{Json, Time, Unsigned, Word};
use super::rows::{all, run, time};
use crate::claude::event::Tokens;
use crate::claude::outcome::{Cost, CostBasis, RunOutcome};
use crate::resource::ResourceName;
use crate::world::run::{
    KnownSession, Phase, RunId, RunRecord, SessionKey, Tombstone, TotalKey, total,
};

pub(super) fn record(row: &Row<'_>) -> rusqlite::Result<RunRecord> {
    row.get("record").map(|Json(record)| record)
}

pub(super) fn tombstone(row: &Row<'_>) -> rusqlite::Result<(RunId, Tombstone)> {
    let Word(name) = row.get("name")?;
    let Word(phase) = row.get("phase")?;
    let value = Tombstone {
        fingerprint: row.get("fingerprint")?,
        next_attempt: row.get("next_attempt")?,
        ended_at: time(row, "ended_at")?,
        phase,
    };
    Ok((RunId { name, rerun: row.get("rerun")? }, value))
}

pub(super) fn session(row: &Row<'_>) -> rusqlite::Result<(SessionKey, KnownSession)> {
    let Word(channel) = row.get("channel")?;
    let key: String = row.get("key")?;
    let Word(id) = row.get("id")?;
    // No key of a run is empty.
    let key = Some(key).filter(|key| !key.is_empty());
    Ok((SessionKey { channel, key }, KnownSession { id, at: time(row, "at")? }))
}

/// What the counters count. A family that this version does not know stays in the file, for the one that does.
pub(super) fn totals(connection: &Connection) -> rusqlite::Result<BTreeMap<TotalKey, f64>> {
    let rows: Vec<(String, Json<Vec<String>>, f64)> =
        all(connection, "SELECT family, labels, value FROM totals", |row| row.try_into())?;
    let known = rows.into_iter().filter_map(|(family, Json(labels), value)| {
        let family = total::ALL.into_iter().find(|known| *known == family)?;
        let Some(value) = total::checked(value) else {
            tracing::warn!(
                family,
                ?labels,
                value,
                "a total is out of range, and counts from 0 again"
            );
            return None;
        };
        Some((TotalKey { family, labels }, value))
    });
    Ok(known.collect())
}

/// Writes a record, unless the one that is there has ended.
pub(super) fn put_record(
    transaction: &Transaction<'_>,
    record: &RunRecord,
) -> rusqlite::Result<()> {
    let json = Json(record);
    let sums = Sums::of(record);
    let last = record.outcome();
    let changed = transaction
        .prepare_cached(
            "INSERT INTO run_records
                 (name, rerun, channel, turn, trigger, revision, phase, reason, message,
                  admitted_at, started_at, ended_at, attempts, first_attempt, next_attempt,
                  exit_code, session, model, turns, tools, tokens_in, tokens_out,
                  tokens_cache_read, tokens_cache_creation, dollars, cost_basis, record)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
                     ?18, ?19, ?20, ?21, ?22, ?23, ?24, ?25, ?26, ?27)
             ON CONFLICT (name, rerun) DO UPDATE SET
                  channel = excluded.channel, turn = excluded.turn, trigger = excluded.trigger,
                  revision = excluded.revision, phase = excluded.phase, reason = excluded.reason,
                  message = excluded.message, admitted_at = excluded.admitted_at,
                  started_at = excluded.started_at, ended_at = excluded.ended_at,
                  attempts = excluded.attempts, first_attempt = excluded.first_attempt,
                  next_attempt = excluded.next_attempt, exit_code = excluded.exit_code,
                  session = excluded.session, model = excluded.model, turns = excluded.turns,
                  tools = excluded.tools, tokens_in = excluded.tokens_in,
                  tokens_out = excluded.tokens_out,
                  tokens_cache_read = excluded.tokens_cache_read,
                  tokens_cache_creation = excluded.tokens_cache_creation,
                  dollars = excluded.dollars, cost_basis = excluded.cost_basis,
                  record = excluded.record
             WHERE run_records.ended_at IS NULL",
        )?
        .execute(params![
            record.id.name.as_str(),
            record.id.rerun,
            record.channel.as_str(),
            Unsigned(record.turn),
            record.trigger.to_string(),
            record.revision,
            phase(record).as_str(),
            record.end.as_ref().map(|end| &end.reason),
            record.end.as_ref().map(|end| &end.message),
            Time(record.admitted_at),
            record.started_at().map(Time),
            record.end.as_ref().map(|end| Time(end.at)),
            i64::try_from(record.attempts.len()).unwrap_or(i64::MAX),
            record.first_attempt,
            record.next_attempt(),
            record.last_end().and_then(|end| end.exit_code),
            last.and_then(|outcome| outcome.session_id.as_deref()),
            last.and_then(model),
            sums.turns.map(Unsigned),
            sums.tools.map(Unsigned),
            sums.tokens.map(|tokens| Unsigned(tokens.input)),
            sums.tokens.map(|tokens| Unsigned(tokens.output)),
            sums.tokens.map(|tokens| Unsigned(tokens.cache_read)),
            sums.tokens.map(|tokens| Unsigned(tokens.cache_creation)),
            sums.cost.and_then(|cost| cost.dollars),
            sums.cost.map(|cost| Word(cost.basis)),
            json,
        ])?;
    if changed == 0 && !is_there(transaction, record)? {
        tracing::error!(
            run = %record.id.name,
            "a record that has ended was to be changed: it stays as it is; this is a defect of this version"
        );
    }
    Ok(())
}

fn is_there(transaction: &Transaction<'_>, record: &RunRecord) -> rusqlite::Result<bool> {
    let same: Option<bool> = transaction
        .prepare_cached("SELECT record = ?3 FROM run_records WHERE name = ?1 AND rerun = ?2")?
        .query_row(params![record.id.name.as_str(), record.id.rerun, Json(record)], |row| {
            row.get(0)
        })
        .optional()?;
    Ok(same == Some(true))
}

/// The numbers of a record's attempts, those that it may have had included.
pub(super) fn attempts(
    transaction: &Transaction<'_>,
    id: &RunId,
) -> rusqlite::Result<Option<(ResourceName, Range<u32>)>> {
    transaction
        .prepare_cached(
            "SELECT first_attempt, next_attempt FROM run_records WHERE name = ?1 AND rerun = ?2",
        )?
        .query_row(params![id.name.as_str(), id.rerun], |row| {
            Ok((id.name.clone(), row.get("first_attempt")?..row.get("next_attempt")?))
        })
        .optional()
}

/// The tombstone first: without one, no record goes.
pub(super) fn bury(
    transaction: &Transaction<'_>,
    id: &RunId,
    tombstone: &Tombstone,
) -> rusqlite::Result<()> {
    run(
        transaction,
        "INSERT OR REPLACE INTO tombstones (name, rerun, fingerprint, next_attempt, ended_at, phase)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            id.name.as_str(),
            id.rerun,
            tombstone.fingerprint,
            tombstone.next_attempt,
            Time(tombstone.ended_at),
            tombstone.phase.as_str(),
        ],
    )?;
    run(
        transaction,
        "DELETE FROM run_records WHERE name = ?1 AND rerun = ?2",
        params![id.name.as_str(), id.rerun],
    )
}

pub(super) fn put_session(
    transaction: &Transaction<'_>,
    key: &SessionKey,
    session: &KnownSession,
) -> rusqlite::Result<()> {
    run(
        transaction,
        "INSERT OR REPLACE INTO sessions (channel, key, id, at) VALUES (?1, ?2, ?3, ?4)",
        params![
            key.channel.as_str(),
            key.key.as_deref().unwrap_or_default(),
            Word(session.id),
            Time(session.at),
        ],
    )
}

pub(super) fn put_total(
    transaction: &Transaction<'_>,
    key: &TotalKey,
    value: f64,
) -> rusqlite::Result<()> {
    // SQLite makes NULL of NaN, and a commit that can never be made would hold up all that follow.
    if total::checked(value).is_none() {
        tracing::error!(family = key.family, "a total is out of range; the last one stays");
        return Ok(());
    }
    run(
        transaction,
        "INSERT OR REPLACE INTO totals (family, labels, value) VALUES (?1, ?2, ?3)",
        params![key.family, Json(&key.labels), value],
    )
}

/// How far the record says it is. What only the running operator knows (why it waits, whether its container is being made) is
/// not in it.
fn phase(record: &RunRecord) -> Phase {
    match &record.end {
        Some(end) => end.phase,
        None if record.open_attempt().is_some() => Phase::Running,
        None if record.held => Phase::Pending,
        None => Phase::Queued,
    }
}

fn model(outcome: &RunOutcome) -> Option<String> {
    let models: Vec<&str> = outcome.models.iter().map(String::as_str).collect();
    Some(models.join(",")).filter(|models| !models.is_empty())
}

/// All attempts together: each of them was paid for.
#[derive(Debug, Default)]
struct Sums {
    turns: Option<u64>,
    tools: Option<u64>,
    tokens: Option<Tokens>,
    cost: Option<Cost>,
}

impl Sums {
    fn of(record: &RunRecord) -> Self {
        let ends = record.attempts.iter().filter_map(|attempt| attempt.end.as_ref());
        ends.filter_map(|end| end.outcome.as_ref()).fold(Self::default(), Self::add)
    }

    fn add(self, outcome: &RunOutcome) -> Self {
        let tokens = outcome.tokens.map(|tokens| self.tokens.unwrap_or_default().plus(tokens));
        Self {
            turns: Some(self.turns.unwrap_or_default().saturating_add(outcome.turns)),
            tools: Some(self.tools.unwrap_or_default().saturating_add(outcome.tool_uses.total)),
            tokens: tokens.or(self.tokens),
            cost: Some(self.cost.map_or(outcome.cost, |cost| together(cost, outcome.cost))),
        }
    }
}

fn together(one: Cost, other: Cost) -> Cost {
    let dollars = match (one.dollars, other.dollars) {
        (Some(one), Some(other)) => Some(one + other),
        (one, other) => one.or(other),
    };
    let basis = match (one.basis, other.basis) {
        (one, other) if one == other => one,
        (CostBasis::Exact, other) => other,
        (one, CostBasis::Exact) => one,
        // What nobody said is not in the sum.
        (CostBasis::AtLeast, CostBasis::Unknown) | (CostBasis::Unknown, CostBasis::AtLeast) => {
            CostBasis::AtLeast
        }
        _ => CostBasis::Unknown,
    };
    Cost { dollars, basis }
}
