//! From a run's file to its record, once: whatever editors, checkouts and restarts do to the file afterwards.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::attempt::terms;
use super::{Context, LOOK_AGAIN, LOOK_NOW_AND_THEN, RunAction, RunStep, take_away};
use crate::container::{ContainerState, label};
use crate::planner::mark::Mark;
use crate::resource::condition::Reason;
use crate::resource::run::{RunOrder, Session};
use crate::resource::text::hex;
use crate::resource::{Now, ResourceName, RunSpec};
use crate::world::World;
use crate::world::desired::Verdict;
use crate::world::observed::Seen;
use crate::world::run::{
    Ask, Attempt, AttemptKind, DesiredRun, Order, Phase, RunId, RunRecord, Terms, Tombstone,
    Trigger,
};

/// Seconds within which a run must start when its file says nothing: the schema's default.
const STARTING_DEADLINE_SECONDS: u32 = 86_400;

/// Of all that is asked, but for `rerun` and `cancel`, which may change.
pub fn fingerprint(spec: &RunSpec) -> String {
    let canonical = serde_json::json!({ "channel": spec.channel_name, "order": spec.order });
    let digest = Sha256::digest(canonical.to_string().as_bytes());
    format!("r1:{}", hex(digest.get(..16).unwrap_or_default()))
}

/// What is asked, with the text of its prompt; `None` when that stands in a file that was not given.
pub fn order_of(order: &RunOrder, prompt: Option<&str>) -> Option<Order> {
    let ask = match (&order.prompt, &order.messages, prompt) {
        (Some(prompt), _, _) => Ask::Prompt(prompt.clone()),
        (None, Some(messages), _) => Ask::Messages(messages.clone()),
        (None, None, Some(text)) => Ask::Prompt(text.to_owned()),
        (None, None, None) => return None,
    };
    Some(Order {
        ask,
        system_prompt: order.system_prompt.clone().unwrap_or_default(),
        author: order.author.clone().unwrap_or_default(),
        session: order.session.clone().unwrap_or(Session::Fresh),
        fork: order.fork.unwrap_or(false),
        starting_deadline_seconds: order
            .starting_deadline_seconds
            .unwrap_or(STARTING_DEADLINE_SECONDS),
        active_deadline_seconds: order.active_deadline_seconds,
        termination_grace_period_seconds: order.termination_grace_period_seconds,
        backoff_limit: order.backoff_limit,
        max_turns: order.max_turns,
        max_budget_usd: order.max_budget_usd,
        keep_container_seconds: order.keep_container.map(|span| span.0.as_secs()),
    })
}

/// A run that has a file, and is not on its way.
pub(super) fn step(
    world: &World,
    name: &ResourceName,
    record: Option<&Arc<RunRecord>>,
    desired: &DesiredRun,
    now: Now,
) -> RunStep {
    let rerun = desired.spec.rerun.unwrap_or(0);
    if let Some(record) = record
        && record.id.rerun >= rerun
    {
        let mut step = Context { world, record, now }.ended();
        if record.fingerprint != desired.fingerprint
            && matches!(record.trigger, Trigger::File { .. })
        {
            let changed = format!(
                "{} has changed since it was admitted, which runs nothing: raise spec.rerun to run it again",
                desired.source
            );
            step.message = if step.message.is_empty() {
                changed
            } else {
                format!("{}; {changed}", step.message)
            };
        }
        return step;
    }
    if let Some((buried, stone)) = world.runs.tombstone(name)
        && buried.rerun >= rerun
    {
        return dropped(stone);
    }
    let step = admit(world, name, record, desired, now);
    // The containers of an earlier rerun have their time too.
    match record {
        Some(record) if step.want.is_none() => Context { world, record, now }.clear_up(step),
        _ => step,
    }
}

fn admit(
    world: &World,
    name: &ResourceName,
    before: Option<&Arc<RunRecord>>,
    desired: &DesiredRun,
    now: Now,
) -> RunStep {
    let waits =
        |reason: Reason, message: String| RunStep::rest(Phase::Pending, reason.as_str(), message);
    if !world.desired.ready || world.desired.unavailable.is_some() {
        let message = "the spec directory cannot be read; nothing new is begun";
        return waits(Reason::SourceUnavailable, message.to_owned());
    }
    let channel = &desired.spec.channel_name;
    match world.desired.channels.get(channel).map(|channel| &channel.verdict) {
        None => {
            let message = format!("there is no channel `{channel}`");
            return waits(Reason::ChannelNotFound, message);
        }
        Some(Verdict::NotForThisHost) => {
            let message = format!("channel/{channel} is not for this host");
            return waits(Reason::NotForThisHost, message);
        }
        Some(Verdict::Admitted | Verdict::Held { .. }) => {}
    }
    if let Some(full) = super::turn::queue_is_full(world, channel) {
        return waits(Reason::QueueFull, full).wake_after(LOOK_NOW_AND_THEN);
    }
    let order = &desired.spec.order;
    let prompt = match (&order.prompt_from, world.runs.memory.prompts.get(name)) {
        (None, _) => None,
        (Some(from), None) => {
            let action = RunAction::ReadPrompt(from.file.clone());
            return RunStep::act(Phase::Pending, action, "its prompt stands in a file");
        }
        (Some(_), Some(Ok(text))) => Some(text),
        (Some(_), Some(Err((reason, message)))) => return waits(*reason, message.clone()),
    };
    let Some(order) = order_of(order, prompt.map(AsRef::as_ref)) else {
        return waits(Reason::InvalidSpec, "there is no prompt".to_owned());
    };
    if let Some(earlier) = reads_its_prompt_before(world, name, desired) {
        let message = format!("run/{earlier} is before it in the files, and its prompt is read");
        return waits(Reason::AfterEarlierRun, message).wake_after(LOOK_AGAIN);
    }
    // With a store that was lost: what ran before is its attempts, and what never ran goes.
    let buried = world.runs.tombstone(name).map_or(1, |(_, stone)| stone.next_attempt);
    let found = world.observed.attempts_of(name).into_iter();
    let found = found.filter(|(number, _)| before.is_none() && *number >= buried);
    let found: Vec<(u32, &Seen)> = found.collect();
    if let Some((_, made)) = found.iter().find(|(_, seen)| seen.state() == ContainerState::Created)
    {
        let action = RunAction::Remove { id: made.snapshot.id.clone(), force: false };
        return RunStep::act(Phase::Pending, action, "never started, and no record explains it");
    }
    let effective = world.desired.channels.get(channel).and_then(|it| it.effective.as_deref());
    let terms = terms(&order, effective);
    let attempts: Vec<Attempt> =
        found.iter().map(|(at, seen)| found_attempt(*at, seen, terms)).collect();
    let record = RunRecord {
        id: RunId { name: name.clone(), rerun: desired.spec.rerun.unwrap_or(0) },
        channel: channel.clone(),
        turn: world.runs.next_turn(),
        trigger: Trigger::file(&desired.source),
        revision: None,
        labels: desired.labels.clone(),
        order,
        fingerprint: desired.fingerprint.clone(),
        admitted_at: now.wall,
        held: world.runs.memory.first_sight.contains(name) && before.is_none(),
        cancel: None,
        first_attempt: match (before, attempts.first()) {
            (Some(before), _) => before.next_attempt().max(buried),
            (None, Some(first)) => first.number,
            (None, None) => buried,
        },
        attempts,
        next: None,
        not_before: None,
        end: None,
    };
    let cause = format!("{} is new", desired.source);
    let mark = record.held.then_some(Mark::RunHeld);
    let step = RunStep::act(Phase::Pending, RunAction::Keep(Box::new(record)), cause);
    RunStep { mark, ..step }
}

/// A run of the same channel that comes before this one in the files and is only waiting for its prompt to be read: runs of one
/// scan are admitted in the order of their files, and reading takes its time.
fn reads_its_prompt_before<'a>(
    world: &'a World,
    name: &ResourceName,
    desired: &DesiredRun,
) -> Option<&'a ResourceName> {
    let mine = (&desired.source, name);
    let reads = |other: &ResourceName, run: &DesiredRun| {
        let rerun = run.spec.rerun.unwrap_or(0);
        run.spec.order.prompt_from.is_some()
            && run.spec.channel_name == desired.spec.channel_name
            && (&run.source, other) < mine
            && !world.runs.memory.prompts.contains_key(other)
            && !world.runs.troubles.contains_key(other)
            && world.runs.get(other).is_none_or(|it| it.end.is_some() && it.id.rerun < rerun)
            && world.runs.tombstone(other).is_none_or(|(id, _)| id.rerun < rerun)
    };
    world.desired.runs.iter().find(|(other, run)| reads(other, run)).map(|(other, _)| other)
}

/// What is said of a run whose record was dropped.
fn dropped(stone: &Tombstone) -> RunStep {
    let message = format!("it ended on {}; its record was dropped", stone.ended_at);
    RunStep::rest(stone.phase, "Dropped", message)
}

/// Containers of ours that no record explains: their end is written down before they go, as of any run.
pub(super) fn found(world: &World, name: &ResourceName, now: Now) -> Option<RunStep> {
    let attempts = world.observed.attempts_of(name);
    let newest = attempts.last()?.1;
    let waits = |message: &str| RunStep::rest(Phase::Pending, "Found", message);
    if !world.desired.ready {
        return Some(waits("the spec directory has not been read yet"));
    }
    let age = now.mono.saturating_sub(newest.first_seen);
    if let Some(left) = world.settings.stray_grace.checked_sub(age).filter(|it| !it.is_zero()) {
        return Some(waits("no record explains its container").wake_after(left));
    }
    // A list that shows nothing of a container may be wrong, and its record be dropped: its end was on the disk.
    let buried = world.runs.tombstone(name);
    let first = buried.map_or(0, |(_, stone)| stone.next_attempt);
    let (left, attempts): (Vec<_>, Vec<_>) =
        attempts.into_iter().partition(|(number, _)| *number < first);
    if let Some((_, stone)) = buried.filter(|_| !left.is_empty()) {
        let want = left.iter().find_map(|(_, seen)| take_away(seen, now));
        if want.is_some() || attempts.is_empty() {
            let step = RunStep { want, ..dropped(stone) };
            return Some(step.marked(Mark::StrayGoes).wake_after(LOOK_AGAIN));
        }
    }
    if let Some((_, made)) =
        attempts.iter().find(|(_, seen)| seen.state() == ContainerState::Created)
    {
        let action = RunAction::Remove { id: made.snapshot.id.clone(), force: false };
        return Some(
            RunStep::act(Phase::Pending, action, "never started, and no record explains it")
                .marked(Mark::StrayGoes),
        );
    }
    let order = Order {
        ask: Ask::Prompt(String::new()),
        system_prompt: String::new(),
        author: String::new(),
        session: Session::Fresh,
        fork: false,
        starting_deadline_seconds: STARTING_DEADLINE_SECONDS,
        active_deadline_seconds: None,
        termination_grace_period_seconds: None,
        backoff_limit: Some(0),
        max_turns: None,
        max_budget_usd: None,
        keep_container_seconds: None,
    };
    let channel = &newest.identity.channel;
    let effective = world.desired.channels.get(channel).and_then(|it| it.effective.as_deref());
    let terms = terms(&order, effective);
    let attempts: Vec<Attempt> =
        attempts.iter().map(|(number, seen)| found_attempt(*number, seen, terms)).collect();
    // Never again what was dropped.
    let rerun = buried.map_or(0, |(id, _)| id.rerun.saturating_add(1));
    let text = |key: &str| newest.snapshot.labels.get(key).cloned();
    let record = RunRecord {
        id: RunId { name: name.clone(), rerun },
        channel: channel.clone(),
        turn: world.runs.next_turn(),
        trigger: Trigger::Found,
        revision: None,
        labels: std::collections::BTreeMap::new(),
        order,
        fingerprint: text(label::SPEC_HASH).unwrap_or_default(),
        admitted_at: newest.snapshot.created,
        held: false,
        cancel: None,
        first_attempt: attempts.first().map_or(1, |attempt| attempt.number),
        attempts,
        next: None,
        not_before: None,
        end: None,
    };
    let action = RunAction::Keep(Box::new(record));
    Some(
        RunStep::act(Phase::Pending, action, "its container was found, and no record of it")
            .marked(Mark::RunFound),
    )
}

/// Has it ever been more than made?
pub(super) fn ran(seen: &Seen) -> bool {
    seen.state() != ContainerState::Created
}

pub(super) fn found_attempt(number: u32, seen: &Seen, terms: Terms) -> Attempt {
    Attempt {
        number,
        kind: AttemptKind::First,
        session: uuid::Uuid::nil(),
        resumes: None,
        container: seen.snapshot.id.clone(),
        image: seen.snapshot.image_id.clone(),
        image_digest: None,
        permitted_at: seen.snapshot.created,
        permitted_by: uuid::Uuid::nil(),
        terms,
        stop: None,
        end: None,
    }
}
