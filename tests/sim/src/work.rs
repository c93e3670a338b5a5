//! What the agent does in a run's container: what it says, how long it takes, how it ends.
//!
//! Each kind is one that the real CLI was seen to do: the lines have the fields of `tests/fixtures/claude` that anybody reads, and
//! their values. What happens in a conversation that is gone, too long or used twice, the world decides, and not the script.

use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

/// What the agent does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// From its first line to its last.
    pub takes: Duration,
    /// From its last line to its end.
    pub lingers: Duration,
    /// What it says.
    pub says: Says,
    /// Only KILL ends it.
    pub ignores_term: bool,
    /// It does not exit after its last line.
    pub stays: bool,
}

impl Default for Work {
    fn default() -> Self {
        Self {
            takes: Duration::from_secs(5),
            lingers: Duration::from_millis(50),
            says: Says::Success,
            ignores_term: false,
            stays: false,
        }
    }
}

impl Work {
    /// Says this, and takes five seconds.
    pub fn saying(says: Says) -> Self {
        Self { says, ..Self::default() }
    }

    /// Answers after so long.
    pub fn taking(takes: Duration) -> Self {
        Self { takes, ..Self::default() }
    }
}

impl From<Work> for Vec<Work> {
    fn from(work: Work) -> Self {
        vec![work]
    }
}

/// What the agent says, and with what it ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Says {
    /// An answer.
    Success,
    /// An answer after the use of a tool.
    SuccessWithTool,
    /// The API is at capacity.
    Overloaded,
    /// The API is at capacity after a tool was used.
    OverloadedAfterTool,
    /// The account's limit is reached; begins anew after so long, where that is said.
    RateLimited(Option<Duration>),
    /// The conversation does not fit.
    PromptTooLong,
    /// The conversation is gone.
    SessionNotFound,
    /// The API refuses something else.
    ApiError,
    /// Nothing more than that it began, and exit 0.
    NoResult,
    /// An answer, and then exit 1.
    SuccessThenFailure,
    /// Nothing at all, but on standard error, and exit 1.
    BadInvocation,
    /// A tool is used, and the kernel kills it for memory.
    OutOfMemory,
    /// It begins, uses a tool, and never ends.
    Hangs,
    /// The credentials are refused, and it tries again for ever.
    RefusedForEver,
}

impl Says {
    /// Every kind, for chance to choose from.
    pub const ALL: [Self; 15] = [
        Self::Success,
        Self::SuccessWithTool,
        Self::Overloaded,
        Self::OverloadedAfterTool,
        Self::RateLimited(None),
        Self::RateLimited(Some(Duration::from_secs(40))),
        Self::PromptTooLong,
        Self::SessionNotFound,
        Self::ApiError,
        Self::NoResult,
        Self::SuccessThenFailure,
        Self::BadInvocation,
        Self::OutOfMemory,
        Self::Hangs,
        Self::RefusedForEver,
    ];
}

/// What a process does when nobody disturbs it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Script {
    /// Lines of its standard output, each with the time since its begin.
    pub lines: Vec<(Duration, String)>,
    /// On its standard error.
    pub stderr: String,
    /// When it ends by itself, and with what.
    pub ends: Option<(Duration, i64)>,
    /// The kernel kills it.
    pub out_of_memory: bool,
    /// Its last word is an answer.
    pub answers: bool,
    /// Only KILL ends it.
    pub ignores_term: bool,
}

/// How many times credentials are refused before a script of refusals has no more lines: longer than any patience.
const REFUSALS: u32 = 40;

impl Script {
    /// Of this work, in this session, begun now.
    pub fn of(work: &Work, session: Uuid, now: Timestamp) -> Self {
        let init = init(session);
        let tool = [tool_use(session), tool_result(session)];
        let with_tool = |last: Vec<String>| [vec![init.clone()], tool.to_vec(), last].concat();
        let error = |status, kind, class, text: &str| {
            api_error(session, status, kind, class, text, "api_error", "")
        };
        let (lines, code) = match &work.says {
            Says::Success => (vec![init, text(session, "done"), success(session, "done")], 0),
            Says::SuccessThenFailure => (vec![init, success(session, "done")], 1),
            Says::SuccessWithTool => (with_tool(vec![success(session, "done")]), 0),
            Says::Overloaded => {
                let last =
                    error(529, "overloaded_error", "server_error", "API Error: Repeated 529");
                let retry = api_retry(session, 1, 529, "overloaded");
                ([vec![init, retry], last].concat(), 1)
            }
            Says::OverloadedAfterTool => {
                let last =
                    error(529, "overloaded_error", "server_error", "API Error: Repeated 529");
                (with_tool(last), 1)
            }
            Says::RateLimited(resets) => {
                let last = rate_limited(session, *resets, now);
                ([vec![init], last].concat(), 1)
            }
            Says::PromptTooLong => ([vec![init], too_long(session)].concat(), 1),
            Says::SessionNotFound => return Self::without_session(session),
            Says::ApiError => {
                let last = error(400, "invalid_request_error", "invalid_request", "API Error: 400");
                ([vec![init], last].concat(), 1)
            }
            Says::NoResult => (vec![init], 0),
            Says::BadInvocation => {
                return Self::bad_invocation("error: unknown option '--nonsense'");
            }
            Says::OutOfMemory => (with_tool(Vec::new()), 137),
            Says::Hangs => (with_tool(Vec::new()), 0),
            Says::RefusedForEver => {
                let again = (1..=REFUSALS)
                    .map(|number| api_retry(session, number, 401, "authentication_failed"));
                (std::iter::once(init).chain(again).collect(), 0)
            }
        };
        let endless = work.stays || matches!(work.says, Says::Hangs | Says::RefusedForEver);
        let ends = (!endless).then_some((work.takes + work.lingers, code));
        Self {
            lines: spread(lines, work.takes),
            stderr: String::new(),
            ends,
            out_of_memory: work.says == Says::OutOfMemory,
            answers: matches!(
                work.says,
                Says::Success | Says::SuccessWithTool | Says::SuccessThenFailure
            ),
            ignores_term: work.ignores_term,
        }
    }

    /// The conversation does not fit.
    pub fn too_long(session: Uuid) -> Self {
        let work = Work { takes: Duration::from_millis(300), ..Work::saying(Says::PromptTooLong) };
        Self::of(&work, session, Timestamp::UNIX_EPOCH)
    }

    /// The conversation is made shorter.
    pub fn compacts(session: Uuid) -> Self {
        let takes = Duration::from_secs(2);
        let lines = vec![
            format!(
                r#"{{"type":"system","subtype":"status","status":"compacting","session_id":"{session}"}}"#
            ),
            format!(
                r#"{{"type":"system","subtype":"status","status":null,"compact_result":"success","session_id":"{session}"}}"#
            ),
            init(session),
            success(session, ""),
        ];
        let (lines, ends) = (spread(lines, takes), Some((takes, 0)));
        Self { lines, ends, answers: true, ..Self::default() }
    }

    /// There is no such conversation.
    pub fn without_session(session: Uuid) -> Self {
        let why = format!("No conversation found with session ID: {session}");
        let line = format!(
            r#"{{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":0,"session_id":"{session}","total_cost_usd":0,"modelUsage":{{}},"permission_denials":[],"errors":["{why}"],"result_index":0}}"#
        );
        let at = Duration::from_millis(200);
        Self { lines: vec![(at, line)], stderr: why, ends: Some((at, 1)), ..Self::default() }
    }

    /// What the command line says is refused.
    pub fn bad_invocation(why: &str) -> Self {
        let ends = Some((Duration::from_millis(200), 1));
        Self { stderr: why.to_owned(), ends, ..Self::default() }
    }
}

/// The first line at once, the last when all is done, the others between them.
fn spread(lines: Vec<String>, takes: Duration) -> Vec<(Duration, String)> {
    let last = u32::try_from(lines.len().saturating_sub(1)).unwrap_or(1).max(1);
    (0..).zip(lines).map(|(number, line)| (takes * number / last, line)).collect()
}

fn init(session: Uuid) -> String {
    format!(
        r#"{{"type":"system","subtype":"init","cwd":"/home/u/a","session_id":"{session}","tools":["Bash"],"mcp_servers":[],"model":"claude-opus-5-5","permissionMode":"bypassPermissions","apiKeySource":"ANTHROPIC_API_KEY","claude_code_version":"2.1.330"}}"#
    )
}

fn assistant(session: Uuid, content: &str) -> String {
    format!(
        r#"{{"type":"assistant","message":{{"id":"msg_1","type":"message","role":"assistant","model":"claude-opus-5-5","content":[{content}],"stop_reason":null,"usage":{{"input_tokens":120,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":1}}}},"parent_tool_use_id":null,"session_id":"{session}"}}"#
    )
}

fn text(session: Uuid, text: &str) -> String {
    assistant(session, &format!(r#"{{"type":"text","text":"{text}"}}"#))
}

fn tool_use(session: Uuid) -> String {
    assistant(
        session,
        r#"{"type":"tool_use","id":"toolu_1","name":"Bash","input":{"command":"true"}}"#,
    )
}

fn tool_result(session: Uuid) -> String {
    format!(
        r#"{{"type":"user","message":{{"role":"user","content":[{{"type":"tool_result","content":"","is_error":false,"tool_use_id":"toolu_1"}}]}},"parent_tool_use_id":null,"session_id":"{session}"}}"#
    )
}

fn success(session: Uuid, text: &str) -> String {
    let usage = r#"{"claude-opus-5-5":{"inputTokens":120,"outputTokens":25,"cacheReadInputTokens":0,"cacheCreationInputTokens":0,"costUSD":0.5}}"#;
    format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"num_turns":1,"session_id":"{session}","total_cost_usd":0.5,"usage":{{"input_tokens":120,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":25}},"modelUsage":{usage},"permission_denials":[],"terminal_reason":"completed","result":"{text}","queued_turn_count":0,"result_index":0,"model_usage_since_last_result":{usage}}}"#
    )
}

fn api_retry(session: Uuid, number: u32, status: u16, error: &str) -> String {
    format!(
        r#"{{"type":"system","subtype":"api_retry","attempt":{number},"max_retries":10,"retry_delay_ms":1053,"error_status":{status},"error":"{error}","session_id":"{session}"}}"#
    )
}

/// The CLI's own message, and the result that repeats it.
fn api_error(
    session: Uuid,
    status: u16,
    kind: &str,
    class: &str,
    text: &str,
    terminal: &str,
    more: &str,
) -> Vec<String> {
    let message = format!(
        r#"{{"type":"assistant","message":{{"id":"m","model":"<synthetic>","role":"assistant","type":"message","usage":{{"input_tokens":0,"output_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0}},"content":[{{"type":"text","text":"{text}"}}]}},"parent_tool_use_id":null,"session_id":"{session}","error":"{class}","is_api_error_message":true,"api_error_status":{status},"api_error_type":"{kind}"{more}}}"#
    );
    let result = format!(
        r#"{{"type":"result","subtype":"success","is_error":true,"num_turns":1,"session_id":"{session}","total_cost_usd":0,"usage":{{"input_tokens":0,"cache_creation_input_tokens":0,"cache_read_input_tokens":0,"output_tokens":0}},"modelUsage":{{}},"permission_denials":[],"terminal_reason":"{terminal}","api_error_status":{status},"api_error_type":"{kind}"{more},"result":"{text}","queued_turn_count":0,"result_index":0,"model_usage_since_last_result":{{}}}}"#
    );
    vec![message, result]
}

fn too_long(session: Uuid) -> Vec<String> {
    let (kind, class) = ("invalid_request_error", "invalid_request");
    api_error(session, 400, kind, class, "Prompt is too long", "prompt_too_long", "")
}

fn rate_limited(session: Uuid, resets: Option<Duration>, now: Timestamp) -> Vec<String> {
    let (kind, class) = ("rate_limit_error", "rate_limit");
    let Some(after) = resets else {
        let text = "API Error: Request rejected (429)";
        return api_error(session, 429, kind, class, text, "api_error", "");
    };
    let at = now.as_second() + i64::try_from(after.as_secs()).unwrap_or_default();
    let info = format!(
        r#"{{"status":"rejected","resetsAt":{at},"rateLimitType":"five_hour","isUsingOverage":false}}"#
    );
    let event = format!(
        r#"{{"type":"rate_limit_event","rate_limit_info":{info},"session_id":"{session}"}}"#
    );
    let more = r#","api_error":"usage_limit_reached""#;
    let text = "You've hit your 5-hour limit";
    let last = api_error(session, 429, kind, class, text, "api_error", more);
    [vec![event], last].concat()
}

#[cfg(test)]
mod tests {
    use chanop::claude::RunOutcome;
    use chanop::claude::outcome::Ending;

    use super::*;

    fn outcome(says: Says) -> RunOutcome {
        let now = Timestamp::from_second(1_767_225_600).expect("a time");
        let script = Script::of(&Work::saying(says), Uuid::from_u128(7), now);
        let text: String = script.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        let ending = Ending {
            exit_code: script.ends.map(|(_, code)| code),
            oom_killed: script.out_of_memory,
            stopped: None,
            stderr: script.stderr,
        };
        RunOutcome::of_transcript(text.as_bytes(), &ending)
    }

    /// What the scripts mean is what the production reader of the CLI's output takes them for.
    #[test]
    fn each_kind_of_work_is_read_as_what_it_is_called() {
        let table = [
            (Says::Success, "Succeeded", false),
            (Says::SuccessWithTool, "Succeeded", true),
            (Says::Overloaded, "Overloaded", false),
            (Says::OverloadedAfterTool, "Overloaded", true),
            (Says::RateLimited(None), "RateLimited", false),
            (Says::RateLimited(Some(Duration::from_secs(40))), "RateLimited", false),
            (Says::PromptTooLong, "PromptTooLong", false),
            (Says::SessionNotFound, "SessionNotFound", false),
            (Says::ApiError, "ApiError", false),
            (Says::NoResult, "NoResult", false),
            (Says::SuccessThenFailure, "Failed", false),
            (Says::BadInvocation, "BadInvocation", false),
            (Says::OutOfMemory, "OomKilled", true),
            (Says::Hangs, "NoResult", true),
            (Says::RefusedForEver, "NoResult", false),
        ];
        assert_eq!(table.clone().map(|(says, ..)| says), Says::ALL);
        for (says, class, tool) in table {
            let outcome = outcome(says.clone());
            let have = (outcome.class.name(), outcome.made_tool_use);
            assert_eq!(have, (class, tool), "{says:?}");
            assert!(outcome.odd_fields.is_empty(), "{says:?}: {:?}", outcome.odd_fields);
            assert_eq!(outcome.lines.lost, 0, "{says:?}");
        }
    }

    #[test]
    fn a_limit_says_when_it_begins_anew_and_an_answer_what_it_cost() {
        let limited = outcome(Says::RateLimited(Some(Duration::from_secs(40))));
        let said = format!("{:?}", limited.class);
        assert!(said.contains("2026-01-01T00:00:40Z"), "{said}");
        let answer = outcome(Says::Success);
        assert_eq!(answer.cost.dollars, Some(0.5));
        assert_eq!(answer.tokens.map(|tokens| tokens.input), Some(120));
    }
}
