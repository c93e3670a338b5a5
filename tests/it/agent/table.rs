//! What the API answers, and what the CLI makes of it: exit code, last event, and how often it asked.

use chanop::claude::command::{Bounds, Session};
use futures_util::StreamExt;
use uuid::Uuid;

use super::place::{Ended, Order, Place};

struct Case {
    /// A word in the prompt that is in no other.
    name: &'static str,
    /// The mock's scenario.
    scenario: &'static str,
    session: Session,
    bounds: Bounds,
    env: &'static [&'static str],
    expected: Expected,
}

struct Expected {
    exit: i64,
    subtype: &'static str,
    is_error: bool,
    terminal_reason: Option<&'static str>,
    api_error_status: Option<u64>,
    /// The result's text, or its first error, begins with it.
    says: &'static str,
    /// Requests for messages.
    requests: usize,
}

/// It went well.
const fn done(says: &'static str, requests: usize) -> Expected {
    Expected {
        exit: 0,
        subtype: "success",
        is_error: false,
        terminal_reason: Some("completed"),
        api_error_status: None,
        says,
        requests,
    }
}

/// The API refused: the subtype is `success` nevertheless.
const fn refused(status: u64, says: &'static str, requests: usize) -> Expected {
    Expected {
        exit: 1,
        subtype: "success",
        is_error: true,
        terminal_reason: Some("api_error"),
        api_error_status: Some(status),
        says,
        requests,
    }
}

const NO_BOUNDS: Bounds = Bounds { max_turns: 0, max_budget_usd: 0.0 };
const NO_ENV: &[&str] = &[];
const ONE_RETRY: &[&str] = &["CLAUDE_CODE_MAX_RETRIES=1"];

const CASES: &[Case] = &[
    Case {
        name: "plain-text",
        scenario: "text",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: done("Hello from the mock API.", 1),
    },
    Case {
        name: "one-tool",
        scenario: "tool",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: done("Done: the tool answered.", 2),
    },
    Case {
        name: "long-answer",
        scenario: "big:300000",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: done("xxxxxxxx", 1),
    },
    Case {
        name: "too-long",
        scenario: "toolong",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: Expected {
            terminal_reason: Some("prompt_too_long"),
            ..refused(400, "Prompt is too long", 1)
        },
    },
    Case {
        name: "bad-key",
        scenario: "401",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        // A key that a helper brings is fetched anew and tried again; by itself ten times, for three minutes.
        env: ONE_RETRY,
        expected: refused(401, "Invalid API key", 4),
    },
    Case {
        name: "no-credit",
        scenario: "billing",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: refused(400, "Credit balance is too low", 1),
    },
    Case {
        name: "rate-limit",
        scenario: "429",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: ONE_RETRY,
        expected: refused(429, "API Error", 2),
    },
    Case {
        name: "rate-limit-that-passes",
        scenario: "errn:1:429",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: ONE_RETRY,
        expected: done("Hello from the mock API.", 2),
    },
    Case {
        name: "overloaded",
        scenario: "529",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: ONE_RETRY,
        expected: refused(529, "API Error", 2),
    },
    Case {
        name: "broken-stream",
        scenario: "midstream",
        session: Session::Fresh(None),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: done("", 2),
    },
    Case {
        name: "endless",
        scenario: "loop",
        session: Session::Fresh(None),
        bounds: Bounds { max_turns: 2, ..NO_BOUNDS },
        env: NO_ENV,
        expected: Expected {
            exit: 1,
            subtype: "error_max_turns",
            is_error: true,
            terminal_reason: Some("max_turns"),
            api_error_status: None,
            says: "Reached maximum number of turns (2)",
            requests: 2,
        },
    },
    Case {
        name: "unknown-session",
        scenario: "text",
        session: Session::Resume(Uuid::from_u128(0x1111_1111_2222_4333_8444_5555_5555_5555)),
        bounds: NO_BOUNDS,
        env: NO_ENV,
        expected: Expected {
            exit: 1,
            subtype: "error_during_execution",
            is_error: true,
            terminal_reason: None,
            api_error_status: None,
            says: "No conversation found with session ID: 11111111-2222-4333-8444-555555555555",
            requests: 0,
        },
    },
];

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn the_last_event_says_how_a_run_went() {
    let place = Place::new().await;
    // Three at once are as many as two cores can use; all have one home, as a channel's runs do.
    let wrong: Vec<String> = futures_util::stream::iter(CASES)
        .map(|case| judge(&place, case))
        .buffer_unordered(3)
        .filter_map(std::future::ready)
        .collect()
        .await;
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// What is not as expected, if anything.
async fn judge(place: &Place, case: &Case) -> Option<String> {
    let prompt = format!("{} [[mock:{}]]", case.name, case.scenario);
    let order =
        Order { env: case.env, bounds: case.bounds, ..Order::new(&prompt) }.within(case.session);
    let ended = place.run(case.name, order).await;
    let seen = seen(&ended, place.api.messages_with(&prompt).len());
    let Expected { exit, subtype, is_error, terminal_reason, api_error_status, says, requests } =
        case.expected;
    let wanted = format!(
        "exit {exit}, {subtype}, is_error {is_error}, {terminal_reason:?}, {api_error_status:?}, {requests} requests"
    );
    let text = said(&ended);
    (seen != wanted || !text.starts_with(says) || ended.events.last()?["type"] != "result").then(
        || {
            let text: String = text.chars().take(200).collect();
            format!(
                "{}:\n  wanted {wanted}, `{says}`\n  seen   {seen}, `{text}`\n  stderr {}",
                case.name, ended.stderr
            )
        },
    )
}

fn seen(ended: &Ended, requests: usize) -> String {
    let Some(result) = ended.result() else { return format!("exit {}, no result", ended.exit) };
    format!(
        "exit {}, {}, is_error {}, {:?}, {:?}, {requests} requests",
        ended.exit,
        result["subtype"].as_str().unwrap_or("no subtype"),
        result["is_error"],
        result["terminal_reason"].as_str(),
        result["api_error_status"].as_u64(),
    )
}

fn said(ended: &Ended) -> String {
    let result = ended.result().cloned().unwrap_or_default();
    let text = result["result"].as_str().or_else(|| result["errors"][0].as_str());
    text.unwrap_or_default().to_owned()
}
