//! What would be done, and why: the fold of [`plan_channel`] over all channels.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::action::{Action, Step};
use super::channel::plan_channel;
use crate::container::label::SPEC_HASH;
use crate::resource::condition::{ConditionStatus, Reason};
use crate::resource::{Now, ObjectRef, ResourceName};
use crate::world::World;
use crate::world::desired::Verdict;

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Report {
    /// Everything that is not as it should be, by name.
    pub lines: Vec<Line>,
    /// How many are as they should be.
    pub unchanged: usize,
}

/// One thing that would be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// How it is marked.
    pub sign: Sign,
    /// `channel/web`.
    pub object: String,
    /// `create`, `update`, `recreate`, `start`, `stop`, `remove`, `held`.
    pub verb: &'static str,
    /// Why.
    pub cause: String,
    /// When, or for what it waits; empty: now.
    pub when: String,
    /// Does it wait?
    pub waiting: bool,
}

/// How a line is marked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sign {
    /// Something new.
    Add,
    /// Changed in place.
    Change,
    /// Made anew.
    Replace,
    /// Taken away.
    Remove,
    /// Not done until something changes.
    Held,
}

/// The plan of everything.
pub fn report(world: &World, now: Now) -> Report {
    let mut names: BTreeSet<&ResourceName> = world.desired.channels.keys().collect();
    names.extend(world.inventory.keys().map(|object| &object.name));
    names.extend(world.observed.channels());
    let mut report = Report::default();
    for name in names {
        match line(world, name, now) {
            Some(line) => report.lines.push(line),
            None => report.unchanged += 1,
        }
    }
    report
}

fn line(world: &World, name: &ResourceName, now: Now) -> Option<Line> {
    let step = plan_channel(world, name, now);
    let object = ObjectRef::channel(name.clone()).to_string();
    let new = |sign, verb, cause: String, when: String, waiting| {
        Some(Line { sign, object: object.clone(), verb, cause, when, waiting })
    };
    let desired = world.desired.channels.get(name);
    if let Some(desired) = desired.filter(|desired| desired.removal_held) {
        let cause = format!("{} gone", desired.source.file);
        return new(Sign::Held, "held", cause, "until `chanop prune --confirm`".to_owned(), false);
    }
    if let Some(Verdict::Held { reason, message }) = desired.map(|desired| &desired.verdict) {
        return new(Sign::Held, "held", message.clone(), reason.to_string(), false);
    }
    if let Some(pending) = &step.pending {
        let sign = if step.recreate { Sign::Replace } else { Sign::Remove };
        let forced = pending.forced_at.map(|at| match pending.verb {
            "remove" => format!("in {}", short(now.wall, at)),
            _ => format!("waits: {}, forced in {}", pending.waits, short(now.wall, at)),
        });
        let when = forced.unwrap_or_else(|| format!("waits: {}", pending.waits));
        return new(sign, pending.verb, pending.cause.clone(), when, true);
    }
    if let Some(line) = wanted(&step, world, name, &object) {
        return Some(line);
    }
    match step.status.reason {
        Reason::Paused | Reason::CrashLoopBackOff | Reason::Removing
            if step.status.ready == ConditionStatus::False =>
        {
            new(Sign::Held, "held", step.status.message, step.status.reason.to_string(), false)
        }
        _ => None,
    }
}

fn wanted(step: &Step, world: &World, name: &ResourceName, object: &str) -> Option<Line> {
    let want = step.want.as_ref()?;
    let (sign, verb, when) = match &want.action {
        Action::Create { .. } => (Sign::Add, "create", ""),
        Action::Start(_) => (Sign::Change, "start", ""),
        Action::Update { .. } => (Sign::Change, "update", "in place, now"),
        Action::Stop { .. } | Action::Remove { .. } if step.recreate => {
            (Sign::Replace, "recreate", "now")
        }
        Action::Stop { .. } => (Sign::Remove, "stop", "now"),
        Action::Remove { .. } => (Sign::Remove, "remove", "now"),
        Action::LookForImage(_) | Action::BringImage(_) => {
            let there = world.observed.shell_of(name).is_some();
            let sign = if there { Sign::Replace } else { Sign::Add };
            (sign, want.action.verb(), "now, before the container is made")
        }
        Action::Forget => return None,
        // To be looked at: a difference in the hash is a coming recreation, else it is nothing that is known yet.
        Action::Inspect(_) => {
            let target = world.desired.channels.get(name)?.target.as_ref()?;
            let seen = world.observed.shell_of(name)?;
            if seen.snapshot.labels.get(SPEC_HASH) == Some(&target.hash) {
                return None;
            }
            (Sign::Replace, "recreate", "when nobody is in it")
        }
    };
    let cause = match (&want.action, world.desired.channels.get(name)) {
        (Action::Create { .. }, Some(desired)) => format!("{}: {}", desired.source, want.cause),
        (Action::Inspect(_), _) => "the spec has changed".to_owned(),
        _ => want.cause.clone(),
    };
    Some(Line {
        sign,
        object: object.to_owned(),
        verb,
        cause,
        when: when.to_owned(),
        waiting: matches!(want.action, Action::Inspect(_)),
    })
}

/// A span in at most two units: `23h40m`, `8s`.
fn short(from: Timestamp, to: Timestamp) -> String {
    let seconds = Duration::try_from(to.duration_since(from)).unwrap_or_default().as_secs();
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h{}m", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{}d{}h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}
