//! In which conversation an attempt is: a new one, one that goes on, or a copy.

use uuid::Uuid;

use crate::claude::command::Session as CliSession;
use crate::resource::run::Session;
use crate::world::World;
use crate::world::run::{AttemptKind, Made, RunRecord};

/// The conversation of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conversation {
    /// As the CLI is told.
    pub session: CliSession,
    /// As it is kept.
    pub made: Made,
}

impl Conversation {
    /// Is nobody else at work in the session that it goes on in? The CLI does not lock it.
    pub(super) fn is_free(&self, world: &World, record: &RunRecord) -> bool {
        match self.session {
            CliSession::Fresh(_) => true,
            CliSession::Resume(id) | CliSession::Fork { of: id, .. } => {
                !world.runs.session_in_use(&record.channel, id)
                    && !being_made_for(world, record, id)
            }
        }
    }
}

/// Is a container of another run made for this session, and not permitted yet?
fn being_made_for(world: &World, record: &RunRecord, session: Uuid) -> bool {
    let others = world
        .runs
        .unfinished_in(&record.channel)
        .filter(|other| other.id != record.id && world.runs.memory.holding.contains(&other.id.name))
        .filter(|other| other.open_attempt().is_none());
    others
        .filter_map(|other| of_next(world, other))
        .any(|other| other.made.resumes == Some(session) || other.made.session == session)
}

/// Why the next attempt is made; `None`: the last one ended the run, or has not ended.
pub(super) fn kind_of_next(record: &RunRecord) -> Option<AttemptKind> {
    match record.attempts.last() {
        None => Some(AttemptKind::First),
        Some(last) if last.end.is_none() => None,
        Some(_) => record.next.or(Some(AttemptKind::Retry)),
    }
}

/// The conversation of the next attempt.
pub(super) fn of_next(world: &World, record: &RunRecord) -> Option<Conversation> {
    let kind = kind_of_next(record)?;
    let number = record.next_attempt();
    let id = &record.id;
    // Never used before, and another one for each process and attempt: the CLI refuses an ID a second time.
    let new = Uuid::new_v5(
        &world.settings.process,
        format!("{}/{}/{number}", id.name, id.rerun).as_bytes(),
    );
    let forks = record.order.fork;
    let compacted = record.attempts.iter().rev().find(|it| it.kind == AttemptKind::Compact);
    let goes_on = match kind {
        AttemptKind::WithoutSession => None,
        // Of a copy, the copy is made shorter, and the original stays as it is.
        AttemptKind::Compact => record.attempts.last().map(|last| last.session),
        AttemptKind::AfterCompact => compacted.map(|attempt| attempt.session),
        AttemptKind::First | AttemptKind::Retry => {
            if record.attempts.iter().any(|it| it.kind == AttemptKind::WithoutSession) {
                None
            } else if let Some(compacted) = compacted {
                Some(compacted.session)
            } else if let Some(first) = record.attempts.first() {
                first.resumes
            } else {
                asked(world, record)
            }
        }
    };
    let session = match goes_on {
        None => CliSession::Fresh(Some(new)),
        Some(of) if forks && compacted.is_none() && kind != AttemptKind::Compact => {
            CliSession::Fork { of, id: Some(new) }
        }
        Some(of) => CliSession::Resume(of),
    };
    let leaves = match session {
        CliSession::Fresh(_) | CliSession::Fork { .. } => new,
        CliSession::Resume(id) => id,
    };
    Some(Conversation { session, made: Made { kind, session: leaves, resumes: goes_on } })
}

/// The session that was asked for; a latest one that does not exist yet is a new one.
fn asked(world: &World, record: &RunRecord) -> Option<Uuid> {
    match &record.order.session {
        Session::Fresh => None,
        Session::Latest => world.runs.session(&record.channel, None),
        Session::Id(id) => Some(*id),
        Session::Key(key) => world.runs.session(&record.channel, Some(key)),
    }
}
