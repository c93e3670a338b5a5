//! `chanop describe run/X`: from its order to its end, and what to do next.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::describe::{Page, labels, row};
use super::outcome::{cost, facts, tool_uses};
use crate::claude::RunOutcome;
use crate::claude::outcome::{Cost, CostBasis};
use crate::http::table::{age, span};
use crate::http::views::SOURCE_ANNOTATION;
use crate::http::views::run::{AttemptStatus, CostStatus, EndStatus, Run};

/// Uses of tools in the page: the last screen of a long run. The log has all.
const TOOL_USES_SHOWN: usize = 20;

pub(super) fn page(run: &Run, now: Timestamp) -> String {
    let mut page = Page::default();
    head(&mut page, run, now);
    figures(&mut page, run);
    timeline(&mut page, run);
    for attempt in &run.status.attempts {
        one(&mut page, attempt);
    }
    let outcome = run.status.outcome.clone().and_then(|it| serde_json::from_value(it).ok());
    if let Some(outcome) = outcome {
        what_came_of_it(&mut page, &outcome);
    }
    let hints = next(run);
    for (index, hint) in hints.iter().enumerate() {
        page.line(if index == 0 { "Next" } else { "" }, hint);
    }
    page.0
}

fn head(page: &mut Page, run: &Run, now: Timestamp) {
    let (meta, status) = (&run.metadata, &run.status);
    let reason = Some(&status.reason).filter(|it| !it.is_empty() && **it != status.phase);
    let reason = reason.map_or_else(String::new, |reason| format!(" ({reason})"));
    page.line("Name", &meta.name);
    page.line("Status", &format!("{}{reason}", status.phase));
    if !status.message.is_empty() {
        page.line("", &status.message);
    }
    page.line("Channel", &status.channel_name);
    page.line("From", &status.from);
    match meta.annotations.get(SOURCE_ANNOTATION) {
        Some(source) if *source != status.from => page.line("Source", source),
        None if status.trigger == "file" => page.line("Source", "gone"),
        _ => {}
    }
    if let Some(trouble) = &status.source_trouble {
        page.line("", trouble);
    }
    if let Some(admitted) = meta.creation_timestamp {
        page.line("Age", &age(admitted, now));
    }
    labels(page, meta);
    if let Some(ahead) = status.ahead {
        page.line("Queue", &format!("{ahead} before it"));
    }
    if let Some(at) = status.not_before {
        page.line("Again", &format!("not before {at}, in {}", age(now, at)));
    }
    if let Some(cancel) = &status.cancel {
        page.line("Cancel", &format!("{}: {}", cancel.at, cancel.why));
    }
    if let Some(revision) = &status.revision {
        page.line("Revision", revision);
    }
    if let Some(container) = &status.container {
        page.line("Container", container);
    }
}

fn figures(page: &mut Page, run: &Run) {
    let status = &run.status;
    if status.attempts.is_empty() {
        return;
    }
    page.line("Turns", &format!("{}, tool uses: {}", status.turns, status.tools));
    if let Some(tokens) = status.tokens {
        page.line(
            "Tokens",
            &format!(
                "{} in, {} out, {} read from cache, {} put there",
                tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation
            ),
        );
    }
    if let Some(it) = &status.cost {
        page.line("Cost", &cost(known_cost(it)));
    }
    if let Some(seconds) = status.duration_seconds {
        page.line("Duration", &span(seconds));
    }
    if let Some(session) = &status.session_id {
        page.line("Session", session);
    }
}

fn known_cost(it: &CostStatus) -> Cost {
    let basis = match it.basis.as_str() {
        "exact" => CostBasis::Exact,
        "atMost" => CostBasis::AtMost,
        "atLeast" => CostBasis::AtLeast,
        _ => CostBasis::Unknown,
    };
    Cost { dollars: it.dollars, basis }
}

/// What happened when, oldest first.
fn timeline(page: &mut Page, run: &Run) {
    let mut rows: Vec<(Timestamp, String)> = vec![];
    if let Some(at) = run.metadata.creation_timestamp {
        rows.push((at, format!("admitted, from {}", run.status.from)));
    }
    for attempt in &run.status.attempts {
        let number = attempt.number;
        let resumes =
            attempt.resumes.as_ref().map_or_else(String::new, |it| format!(", goes on in {it}"));
        rows.push((
            attempt.permitted_at,
            format!("attempt {number} permitted ({}){resumes}", attempt.kind),
        ));
        let Some(end) = &attempt.end else { continue };
        rows.extend(end.started_at.map(|at| (at, format!("attempt {number} began"))));
        let ended = format!("attempt {number} ended: {}", ended(end));
        rows.push((end.finished_at.unwrap_or(end.recorded_at), ended));
    }
    if let Some(cancel) = &run.status.cancel {
        rows.push((cancel.at, format!("to be ended: {}", cancel.why)));
    }
    rows.extend(run.status.finished_at.map(|at| (at, format!("ended: {}", run.status.phase))));
    // Sorted by time alone: what happened at one instant stays as it was written down.
    rows.sort_by_key(|(at, _)| *at);
    let cells: Vec<_> = rows.into_iter().map(|(at, what)| row([&second(at), &what])).collect();
    if !cells.is_empty() {
        page.table("Timeline", &cells);
    }
}

/// Without its fractions.
fn second(at: Timestamp) -> String {
    Timestamp::from_second(at.as_second()).unwrap_or(at).to_string()
}

fn ended(end: &EndStatus) -> String {
    let mut words = vec![end.result.clone()];
    if !end.class.is_empty() && end.class != end.result {
        words.push(format!("({})", end.class));
    }
    words.extend(end.exit_code.map(|code| format!("with {code}")));
    if end.oom_killed {
        words.push("out of memory".to_owned());
    }
    if !end.message.is_empty() {
        words.push(format!("- {}", end.message));
    }
    words.join(" ")
}

fn one(page: &mut Page, attempt: &AttemptStatus) {
    let container = attempt.container.get(..12).unwrap_or(&attempt.container);
    let image = attempt.image_digest.as_deref().unwrap_or(&attempt.image);
    let image = if image.is_empty() { String::new() } else { format!(", image {image}") };
    page.line(&format!("Attempt {}", attempt.number), &format!("container {container}{image}"));
    let Some(end) = &attempt.end else { return };
    page.line("", &format!("the end is known from: {}", evidence(&end.evidence)));
    match &end.transcript {
        Some(it) => {
            page.line("", &format!("transcript {} bytes, sha256 {}", it.bytes, it.sha256));
            if let Some(missing) = &it.missing {
                page.line("", &format!("of it is missing: {missing}"));
            }
        }
        None => page.line("", "no transcript"),
    }
    if let Some(hand) = &end.tampered {
        page.line("", &format!("somebody had a hand in it: {hand}"));
    }
}

fn evidence(word: &str) -> &str {
    match word {
        "Init" => "the container's own init, which wrote it down",
        "Engine" => "the engine, which was never away",
        "EngineAfterRestart" => "the engine, which was away in between",
        "Event" => "the container's last event; it is gone",
        "None" => "nothing",
        other => other,
    }
}

fn what_came_of_it(page: &mut Page, outcome: &RunOutcome) {
    // What is over all attempts stands above.
    const ABOVE: [&str; 5] = ["session", "turns", "tokens", "cost", "tools"];
    let told = facts(outcome).into_iter().filter(|(what, _)| !ABOVE.contains(what));
    let rows: Vec<_> = told.map(|(what, value)| row([what, &value])).collect();
    page.table("Outcome", &rows);
    let by_name: &BTreeMap<String, u64> = &outcome.tool_uses.by_name;
    if !by_name.is_empty() {
        let mut rows = vec![row(["TOOL", "USES"])];
        rows.extend(by_name.iter().map(|(name, uses)| row([name, &uses.to_string()])));
        page.table("Tools", &rows);
        let first = &outcome.tool_uses.first;
        let last = first.len().saturating_sub(TOOL_USES_SHOWN);
        page.table("Tool uses", &tool_uses(first.get(last..).unwrap_or_default()));
    }
    if let Some(text) = outcome.text.as_deref().filter(|text| !text.is_empty()) {
        page.0.push_str("Answer:\n");
        for line in text.lines() {
            page.0.push_str("  ");
            page.0.push_str(line);
            page.0.push('\n');
        }
    }
}

/// What a person may want to do now.
fn next(run: &Run) -> Vec<String> {
    let (name, status) = (&run.metadata.name, &run.status);
    let channel = &status.channel_name;
    let again = format!("chanop run run/{name}    the same order again");
    let log = format!("chanop logs run/{name}    what it said and did");
    let change = |what: &str| format!("{what}, then: chanop run run/{name}");
    match (status.phase.as_str(), status.reason.as_str()) {
        ("Pending", _) if status.held => {
            vec![format!("chanop release run/{name}    if it has not run before")]
        }
        ("Pending" | "Queued", _) => vec![
            format!("chanop logs -f run/{name}    follow it from its begin"),
            format!("chanop cancel run/{name}"),
        ],
        ("Starting" | "Running", _) => {
            vec![format!("chanop logs -f run/{name}"), format!("chanop cancel run/{name}")]
        }
        ("Succeeded", _) => match &status.session_id {
            Some(session) => {
                vec![format!("chanop run {channel} --session {session} -p …    go on")]
            }
            None => vec![again],
        },
        (_, "AuthFailed") => vec![change("put a valid token into the channel's agent.credentials")],
        (_, "Billing") => vec![change("give the account credit")],
        (_, "ModelNotFound") => vec![change("name another model in the channel's agent.model")],
        (_, "MaxTurns" | "Budget" | "Deadline") => {
            vec![log, "order it with a wider bound: --max-turns, --budget, --deadline".to_owned()]
        }
        (_, "OomKilled") => vec![change("raise the channel's resources.limits.memory")],
        (_, "SessionNotFound") => vec!["order it without --session".to_owned()],
        ("Lost", _) => vec![log, format!("{again}; it may have done its work")],
        _ => vec![log, again],
    }
}
