//! What an agent's process came to, in words for a person: the same wherever it is shown.
//!
//! Nothing here is made harmless; [`Grid`](super::grid::Grid) and [`plain`](super::printer::plain) see to that.

use crate::claude::event::ToolUse;
use crate::claude::outcome::{Cost, CostBasis, RunOutcome};

/// Of a tool's input and result in a table: two such columns fit a wide terminal.
const CELL_CHARS_MAX: usize = 60;

/// What is known, a line each; what there is none of is not told.
pub(super) fn facts(outcome: &RunOutcome) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    let mut tell = |what, value: Option<String>| facts.extend(value.map(|value| (what, value)));
    // An error's text is shown whole below.
    let told = outcome.text.as_deref().unwrap_or_default();
    tell("why", outcome.message.clone().filter(|message| !told.starts_with(message.as_str())));
    tell("exit", outcome.exit_code.map(|code| code.to_string()));
    tell("session", Some(outcome.session_id.clone().unwrap_or_else(|| "none".to_owned())));
    tell("model", listed(&outcome.models));
    tell("cli", outcome.cli_version.clone());
    tell("turns", Some(outcome.turns.to_string()));
    tell("results", (outcome.results > 1).then(|| outcome.results.to_string()));
    tell("tools", Some(tools(outcome)));
    tell("tokens", Some(tokens(outcome)));
    tell("cost", Some(cost(outcome.cost)));
    tell("denied", (outcome.permission_denials.total > 0).then(|| denied(outcome)));
    tell("retries", retries(outcome));
    tell("limit", limit(outcome));
    tell("compacted", compacted(outcome));
    tell("mcp down", listed(&outcome.mcp_servers_failed));
    tell("lines", Some(read(outcome)));
    tell("odd fields", listed(&outcome.odd_fields));
    facts
}

fn listed<'a>(words: impl IntoIterator<Item = &'a String>) -> Option<String> {
    let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

fn tools(outcome: &RunOutcome) -> String {
    let uses = &outcome.tool_uses;
    let by_name: Vec<String> =
        uses.by_name.iter().map(|(name, count)| format!("{name} {count}")).collect();
    match (uses.total, uses.failed) {
        (0, _) if outcome.made_tool_use => "none seen, but lines were lost".to_owned(),
        (0, _) => "none".to_owned(),
        (_, 0) => by_name.join(", "),
        (_, failed) => format!("{}; {failed} failed", by_name.join(", ")),
    }
}

fn tokens(outcome: &RunOutcome) -> String {
    outcome.tokens.map_or_else(
        || "not told".to_owned(),
        |tokens| {
            format!(
                "{} in, {} out, {} read from cache, {} put there",
                tokens.input, tokens.output, tokens.cache_read, tokens.cache_creation
            )
        },
    )
}

pub(super) fn cost(cost: Cost) -> String {
    let Some(dollars) = cost.dollars else { return "not told".to_owned() };
    // A request can cost a few millionths; whole cents stay at two places.
    let text = format!("${dollars:.6}");
    let short = text.trim_end_matches('0').len().max(text.len().saturating_sub(4));
    let dollars = text.get(..short).unwrap_or(&text);
    match cost.basis {
        CostBasis::Exact => dollars.to_owned(),
        CostBasis::AtMost => format!("{dollars} at most: earlier runs of the session may be in it"),
        CostBasis::AtLeast => {
            format!("{dollars} at least: work after the last result is not in it")
        }
        CostBasis::Unknown => format!("{dollars}, and neither at least nor at most"),
    }
}

fn denied(outcome: &RunOutcome) -> String {
    let denials = &outcome.permission_denials;
    let names: std::collections::BTreeSet<&String> =
        denials.first.iter().map(|denial| &denial.tool_name).collect();
    format!("{} ({})", denials.total, listed(names).unwrap_or_default())
}

fn retries(outcome: &RunOutcome) -> Option<String> {
    let last = outcome.retries.last.as_ref()?;
    let status = last.status.map_or_else(|| "network".to_owned(), |status| status.to_string());
    let error = last.error.as_deref().unwrap_or("no word");
    Some(format!("{} (last: {status}, {error})", outcome.retries.total))
}

fn limit(outcome: &RunOutcome) -> Option<String> {
    let limit = outcome.rate_limit.as_ref()?;
    let resets_at = limit.resets_at.map(|at| format!("resets {at}"));
    let told = [Some(limit.status.clone()), limit.window.clone(), resets_at];
    Some(told.into_iter().flatten().collect::<Vec<_>>().join(", "))
}

fn compacted(outcome: &RunOutcome) -> Option<String> {
    let compactions = outcome.compactions;
    match (compactions.succeeded, compactions.failed) {
        (0, 0) => None,
        (done, 0) => Some(done.to_string()),
        (done, failed) => Some(format!("{done}; {failed} failed")),
    }
}

fn read(outcome: &RunOutcome) -> String {
    let lines = &outcome.lines;
    let counts = [
        (lines.lost, "lost"),
        (lines.cut, "too long"),
        (u64::from(lines.unfinished), "broke off"),
        (lines.invalid_utf8, "no UTF-8"),
        (lines.crlf, "with CR"),
        (lines.empty, "empty"),
    ];
    let counts = counts.iter().filter(|(count, _)| *count > 0);
    let first = lines.first.as_ref().map(|it| format!("the first that is no event: {}", short(it)));
    std::iter::once(format!("{} events", lines.events))
        .chain(counts.map(|(count, what)| format!("{count} {what}")))
        .chain(first)
        .collect::<Vec<_>>()
        .join(", ")
}

/// A heading, and a row for each use of a tool.
pub(super) fn tool_uses(uses: &[ToolUse]) -> Vec<Vec<String>> {
    let heading = ["TOOL", "INPUT", "RESULT"].map(str::to_owned).to_vec();
    std::iter::once(heading).chain(uses.iter().map(row)).collect()
}

fn row(used: &ToolUse) -> Vec<String> {
    let indent = if used.parent.is_some() { "  " } else { "" };
    let result = used.result.as_deref().map_or_else(|| "-".to_owned(), short);
    let mark = if used.is_error { "error: " } else { "" };
    vec![format!("{indent}{}", used.name), short(&used.input), format!("{mark}{result}")]
}

fn short(text: &str) -> String {
    match text.char_indices().nth(CELL_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_have_cents_and_no_more_zeros_than_that() {
        let exact = |dollars| cost(Cost { dollars: Some(dollars), basis: CostBasis::Exact });
        assert_eq!(exact(0.0), "$0.00");
        assert_eq!(exact(0.68), "$0.68");
        assert_eq!(exact(12.5), "$12.50");
        assert_eq!(exact(0.001_96), "$0.00196");
        assert_eq!(exact(0.000_024_5), "$0.000024");
    }
}
