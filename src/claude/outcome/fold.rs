//! Counting: what is remembered of each event until the process ends.
//!
//! Everything that is kept has a bound with its reason; beyond it only the number goes on. The whole is in the transcript.

use std::collections::{BTreeMap, BTreeSet};

use super::class::{self, Facts, OutcomeClass};
use super::{
    Compactions, Cost, CostBasis, Ending, Lines, PermissionDenials, Retries, RunOutcome, ToolUses,
};
use crate::claude::event::{
    ApiError, Assistant, Block, COUNT_MAX, DOLLARS_MAX, Init, PermissionDenial, RateLimit,
    ResultEvent, Said, StreamEvent, TOKENS_MAX, Tokens, ToolResult, ToolUse, User, clip,
};
use crate::claude::parser::Noise;

/// Tool uses with their details. A record stays below 1 MiB with them (two texts of 2 KiB each), and nobody reads on there.
const TOOL_USES_KEPT: usize = 200;
/// Of a tool's input or result: what a line or two of a table can show.
const TOOL_TEXT_BYTES_MAX: usize = 2 * 1024;
/// Tools have a few dozen names, and each MCP server adds some.
const TOOL_NAMES_KEPT: usize = 256;
/// Of a tool's name or ID: MCP allows 128.
const NAME_BYTES_MAX: usize = 128;
/// Counts names beyond [`TOOL_NAMES_KEPT`]. No tool can be called so.
const OTHER_TOOLS: &str = "…";
/// Denials with their details: each is a wish for a rule, and so many rules nobody writes.
const DENIALS_KEPT: usize = 100;
/// Models, missing MCP servers, odd fields: a handful of each, were the CLI alone to speak.
const WORDS_KEPT: usize = 32;
/// The answer's text: what a record and a chat can carry. The longest real answers have a tenth of it.
const TEXT_BYTES_MAX: usize = 256 * 1024;

/// What is known of a run so far.
#[derive(Debug, Clone, Default)]
pub struct Fold {
    events: u64,
    session_id: Option<String>,
    asked_model: Option<String>,
    models: BTreeSet<String>,
    cli_version: Option<String>,
    mcp_servers_failed: BTreeSet<String>,
    last: Option<Box<ResultEvent>>,
    text_bytes: u64,
    results: u64,
    went_on: bool,
    // The model answered since the last result, and nobody said yet what that costs.
    unpaid: bool,
    background: u64,
    turns: u64,
    // Messages since the last result: its turns, should no result follow.
    open_turns: u64,
    message_id: Option<String>,
    tokens: Option<Tokens>,
    cost: Sum,
    tool_uses: ToolUses,
    tool_results: u64,
    permission_denials: PermissionDenials,
    retries: Retries,
    rate_limit: Option<RateLimit>,
    compactions: Compactions,
    api_error: Option<ApiError>,
    refused: bool,
    // Tries in a row at an API that does not take the credentials.
    unauthorized: u64,
    odd: BTreeSet<String>,
}

/// Dollars, result by result.
#[derive(Debug, Clone, Default)]
struct Sum {
    dollars: Option<f64>,
    // What the session had cost at the last result.
    session: Option<f64>,
    // Earlier runs of the session may be in it.
    too_much: bool,
    // A result said nothing.
    too_little: bool,
    // More than any run costs: the agent made it up.
    out_of_range: bool,
}

impl Sum {
    /// A result's dollars: what it says is new; else what the session's sum grew by; else that sum.
    fn add(&mut self, result: &ResultEvent) {
        let new = result
            .since_last_result
            .as_ref()
            .and_then(|models| models.values().map(|usage| usage.cost_usd).sum::<Option<f64>>());
        let session = result.session_cost_usd;
        let grown = || match (session, self.session) {
            (Some(now), Some(before)) => Some((now - before).max(0.0)),
            _ => None,
        };
        if let Some(dollars) = new.or_else(grown) {
            self.dollars = Some(self.dollars.unwrap_or(0.0) + dollars);
        } else {
            // The first result, in a session that may have earlier runs; but a sum of zero holds none.
            self.too_much |= session.is_some_and(|dollars| dollars > 0.0);
            self.too_little |= session.is_none();
            if let Some(dollars) = session {
                self.dollars = Some(self.dollars.unwrap_or(0.0) + dollars);
            }
        }
        self.session = session.or(self.session);
        if self.dollars.is_some_and(|dollars| dollars > DOLLARS_MAX) {
            self.dollars = Some(DOLLARS_MAX);
            self.out_of_range = true;
        }
    }

    fn cost(&self, unpaid: bool) -> Cost {
        if self.out_of_range {
            return Cost { dollars: self.dollars, basis: CostBasis::Unknown };
        }
        let basis = match (self.dollars, self.too_much, self.too_little || unpaid) {
            (Some(_), false, false) => CostBasis::Exact,
            (Some(_), true, false) => CostBasis::AtMost,
            (Some(_), false, true) => CostBasis::AtLeast,
            (Some(_), true, true) | (None, _, _) => CostBasis::Unknown,
        };
        Cost { dollars: self.dollars, basis }
    }
}

impl Fold {
    /// Before the first event.
    pub fn new() -> Self {
        Self::default()
    }

    /// Its session began with it: what the session has cost is its own.
    #[must_use]
    pub const fn of_new_session(mut self) -> Self {
        self.cost.too_much = false;
        self
    }

    /// Takes the next event in.
    pub fn add(&mut self, event: &StreamEvent) {
        // A cut line is one of the parser's lost ones.
        if !matches!(event.said, Said::Cut { .. }) {
            self.events += 1;
        }
        if let Some(session_id) = &event.session_id {
            self.session_id = Some(session_id.clone());
        }
        for field in &event.odd {
            keep_word(&mut self.odd, field);
        }
        match &event.said {
            Said::Init(init) => self.init(init),
            Said::Assistant(assistant) => {
                self.assistant(assistant, event.parent_tool_use_id.is_some());
            }
            Said::User(user) => self.user(user, event.parent_tool_use_id.is_some()),
            Said::Result(result) => self.result(result),
            Said::ApiRetry(retry) => {
                let refused = matches!(retry.status, Some(401 | 403));
                self.unauthorized = if refused { self.unauthorized + 1 } else { 0 };
                self.retries.total += 1;
                self.retries.last = Some(retry.clone());
            }
            Said::PermissionDenied(denial) => self.denied(denial),
            Said::RateLimit(limit) => self.rate_limit = Some(limit.clone()),
            Said::BackgroundTasks(tasks) => self.background = *tasks,
            Said::Compacted { succeeded: true } => self.compactions.succeeded += 1,
            Said::Compacted { succeeded: false } => self.compactions.failed += 1,
            Said::Refused => self.refused = true,
            Said::Task(_) | Said::Delta(_) | Said::Other { .. } | Said::Cut { .. } => {}
        }
    }

    /// Turns so far.
    pub const fn turns(&self) -> u64 {
        self.turns.saturating_add(self.open_turns)
    }

    /// Tool uses so far.
    pub const fn tools(&self) -> u64 {
        self.tool_uses.total
    }

    /// Dollars, where a result said them.
    pub const fn dollars(&self) -> Option<f64> {
        self.cost.dollars
    }

    /// How often in a row, until now, the API refused the credentials and the CLI tried again.
    pub const fn unauthorized(&self) -> u64 {
        self.unauthorized
    }

    /// Was a result the last word of weight?
    pub const fn is_over(&self) -> bool {
        self.results > 0 && !self.went_on
    }

    /// Was the final result given: a result is the last word, and neither a background task nor a queued prompt is pending?
    pub fn is_finished(&self) -> bool {
        let queued = self.last.as_ref().map_or(0, |result| result.queued_turns);
        self.is_over() && self.background == 0 && queued == 0
    }

    /// Is the last word a success?
    pub fn says_success(&self) -> bool {
        self.is_over() && self.last.as_ref().is_some_and(|result| result.is_success())
    }

    /// The process ended.
    pub fn end(self, noise: &Noise, ending: &Ending) -> RunOutcome {
        let facts = Facts {
            result: self.last.as_deref(),
            went_on: self.went_on,
            pending: self
                .background
                .saturating_add(self.last.as_ref().map_or(0, |result| result.queued_turns)),
            api_error: self.api_error.as_ref(),
            refused: self.refused,
            rate_limit: self.rate_limit.as_ref(),
            began: self.events > 0,
        };
        let class = class::class(&facts, ending);
        let message = class::message(&facts, ending);
        let turns = self.turns();
        // The CLI names the session that it was asked for, or makes one up: neither is there.
        let session_id = self.session_id.filter(|_| class != OutcomeClass::SessionNotFound);
        let mut models = self.models;
        if models.is_empty() {
            models.extend(self.asked_model);
        }
        let made_tool_use = self.tool_uses.total > 0
            || self.tool_results > 0
            || self.permission_denials.total > 0
            || noise.may_hide_tool_use;
        RunOutcome {
            class,
            message,
            exit_code: ending.exit_code,
            session_id,
            models,
            cli_version: self.cli_version,
            mcp_servers_failed: self.mcp_servers_failed,
            text: self.last.and_then(|result| result.text),
            text_bytes: self.text_bytes,
            results: self.results,
            turns,
            tokens: self.tokens,
            cost: self.cost.cost(self.unpaid),
            tool_uses: self.tool_uses,
            made_tool_use,
            permission_denials: self.permission_denials,
            retries: self.retries,
            rate_limit: self.rate_limit,
            compactions: self.compactions,
            lines: Lines::of(noise, self.events),
            odd_fields: self.odd,
        }
    }

    fn init(&mut self, init: &Init) {
        self.begin();
        if let Some(model) = &init.model {
            self.asked_model = Some(model.clone());
        }
        if let Some(version) = &init.cli_version {
            self.cli_version = Some(version.clone());
        }
        for server in &init.mcp_servers_failed {
            keep_word(&mut self.mcp_servers_failed, server);
        }
    }

    /// A turn goes on, or a new one begins: the last result was not the last word.
    fn begin(&mut self) {
        self.went_on = true;
        self.api_error = None;
        self.refused = false;
    }

    fn assistant(&mut self, assistant: &Assistant, of_subagent: bool) {
        // A subagent's trouble is its parent's to tell.
        if !of_subagent {
            self.went_on = true;
            self.api_error.clone_from(&assistant.api_error);
        }
        if !assistant.is_synthetic() {
            self.unauthorized = 0;
            self.unpaid = true;
            if let Some(model) = &assistant.model {
                keep_word(&mut self.models, model);
            }
            let same = assistant.message_id.is_some() && assistant.message_id == self.message_id;
            if !of_subagent && !same {
                self.open_turns += 1;
                self.message_id.clone_from(&assistant.message_id);
            }
        }
        for block in &assistant.blocks {
            if let Block::ToolUse(used) = block {
                self.used(used);
            }
        }
    }

    fn used(&mut self, used: &ToolUse) {
        let uses = &mut self.tool_uses;
        uses.total += 1;
        let name = clip(&used.name, NAME_BYTES_MAX);
        let known = uses.by_name.contains_key(name) || uses.by_name.len() < TOOL_NAMES_KEPT;
        let name = if known { name } else { OTHER_TOOLS };
        *uses.by_name.entry(name.to_owned()).or_default() += 1;
        if uses.first.len() < TOOL_USES_KEPT {
            uses.first.push(ToolUse {
                id: clip(&used.id, NAME_BYTES_MAX).to_owned(),
                name: clip(&used.name, NAME_BYTES_MAX).to_owned(),
                input: clip(&used.input, TOOL_TEXT_BYTES_MAX).to_owned(),
                result: None,
                is_error: false,
                parent: used.parent.as_deref().map(|it| clip(it, NAME_BYTES_MAX).to_owned()),
            });
        }
    }

    fn user(&mut self, user: &User, of_subagent: bool) {
        for result in &user.results {
            // A subagent in the background works on after the result; it is pending, and no turn.
            self.went_on |= !of_subagent;
            self.tool_results += 1;
            self.answered(result);
        }
    }

    fn answered(&mut self, result: &ToolResult) {
        let uses = &mut self.tool_uses;
        uses.failed += u64::from(result.is_error);
        let id = clip(&result.tool_use_id, NAME_BYTES_MAX);
        if let Some(used) = uses.first.iter_mut().rev().find(|used| used.id == id) {
            used.result = Some(clip(&result.text, TOOL_TEXT_BYTES_MAX).to_owned());
            used.is_error = result.is_error;
        }
    }

    fn denied(&mut self, denial: &PermissionDenial) {
        let denials = &mut self.permission_denials;
        // The event says it at once, and the result again.
        let id = clip(&denial.tool_use_id, NAME_BYTES_MAX);
        if denials.first.iter().any(|known| known.tool_use_id == id) {
            return;
        }
        denials.total += 1;
        if denials.first.len() < DENIALS_KEPT {
            denials.first.push(PermissionDenial {
                tool_name: clip(&denial.tool_name, NAME_BYTES_MAX).to_owned(),
                tool_use_id: id.to_owned(),
            });
        }
    }

    fn result(&mut self, result: &ResultEvent) {
        self.results += 1;
        self.went_on = false;
        self.unpaid = false;
        let turns = result.turns.unwrap_or(self.open_turns);
        self.turns = self.turns.saturating_add(turns).min(COUNT_MAX);
        self.open_turns = 0;
        self.message_id = None;
        self.cost.add(result);
        if self.cost.out_of_range {
            keep_word(&mut self.odd, "sum of total_cost_usd out of range");
        }
        if let Some(tokens) = tokens(result) {
            self.tokens = Some(self.tokens.unwrap_or_default().plus(tokens).at_most(TOKENS_MAX));
        }
        for model in result.since_last_result.iter().flat_map(BTreeMap::keys) {
            keep_word(&mut self.models, model);
        }
        for denial in &result.permission_denials {
            self.denied(denial);
        }
        let text = result.text.as_deref().unwrap_or_default();
        self.text_bytes = u64::try_from(text.len()).unwrap_or(u64::MAX);
        // Not a clone: a text of 16 MiB is not copied to be cut.
        self.last = Some(Box::new(ResultEvent {
            subtype: result.subtype.clone(),
            is_error: result.is_error,
            text: result.text.as_deref().map(|text| clip(text, TEXT_BYTES_MAX).to_owned()),
            errors: result
                .errors
                .iter()
                .take(WORDS_KEPT)
                .map(|error| clip(error, TOOL_TEXT_BYTES_MAX).to_owned())
                .collect(),
            turns: result.turns,
            terminal_reason: result.terminal_reason.clone(),
            api_error: result.api_error.clone(),
            queued_turns: result.queued_turns,
            ..ResultEvent::default()
        }));
    }
}

/// A result's tokens: of all its models, subagents included; else of its main loop.
fn tokens(result: &ResultEvent) -> Option<Tokens> {
    let of_models = result
        .since_last_result
        .as_ref()
        .map(|models| models.values().fold(Tokens::default(), |sum, usage| sum.plus(usage.tokens)));
    of_models.or(result.usage)
}

fn keep_word(words: &mut BTreeSet<String>, word: &str) {
    if words.len() < WORDS_KEPT {
        words.insert(clip(word, NAME_BYTES_MAX).to_owned());
    }
}
