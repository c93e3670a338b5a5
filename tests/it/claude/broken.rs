//! Lines that are not as they should be: each costs itself alone.

use chanop::claude::event::{SYNTHETIC_MODEL, Said};
use chanop::claude::outcome::{CostBasis, Ending, Fold, OutcomeClass, RunOutcome, Stop};
use chanop::claude::parser::{Located, Parser};

use super::{ending, outcome, read_whole, transcript};

/// Recordings with every kind of event, short enough to break each of their lines in turn.
const SHORT: [&str; 9] = [
    "text",
    "tool_partial",
    "tool_task_subagent",
    "bg_task",
    "compact_resume",
    "oauth_ratelimit_rejected",
    "sigint_during_tool",
    "slash_clear",
    "err_529_sandbox_env",
];

fn lines(bytes: &[u8]) -> Vec<Vec<u8>> {
    bytes.split_inclusive(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect()
}

fn said(located: &[Located]) -> Vec<&Said> {
    located.iter().map(|located| &located.event.said).collect()
}

/// A transcript of these lines, ended so.
fn run(lines: &[&str], ending: &Ending) -> RunOutcome {
    RunOutcome::of_transcript((lines.join("\n") + "\n").as_bytes(), ending)
}

fn exit(code: i64) -> Ending {
    Ending { exit_code: Some(code), ..Ending::default() }
}

const INIT: &str = r#"{"type":"system","subtype":"init","model":"m","session_id":"9930b0c9-6cf2-46f0-b70a-99d9b442a594"}"#;
const USE: &str = r#"{"type":"assistant","message":{"id":"1","model":"m","content":[{"type":"tool_use","id":"t","name":"Bash","input":{}}]},"parent_tool_use_id":null}"#;
const SUCCESS: &str = r#"{"subtype":"success","is_error":false,"result":"ok","num_turns":1,"total_cost_usd":0.5,"model_usage_since_last_result":{"m":{"inputTokens":1,"costUSD":0.25}},"type":"result"}"#;
const BACKGROUND: &str =
    r#"{"type":"system","subtype":"background_tasks_changed","tasks":[{"task_id":"x"}]}"#;

#[test]
fn a_corrupted_line_costs_itself_alone() {
    type Corrupt = fn(&mut Vec<u8>);
    let ways: [(&str, Corrupt); 6] = [
        ("its first byte", |line| line[0] = b'x'),
        ("its last bytes", |line| line.truncate(line.len() - 3)),
        ("half of it", |line| line.truncate(line.len() / 2)),
        ("all of it", Vec::clear),
        ("a quote", |line| {
            let quote = line.iter().position(|byte| *byte == b'"').unwrap();
            line.remove(quote);
        }),
        ("zeros", |line| line.fill(0)),
    ];
    for case in SHORT {
        let whole = lines(&transcript(case));
        let (all, _) = read_whole(&whole.concat());
        let made_tool_use = outcome(case).made_tool_use;
        for broken in 0..whole.len() {
            for (what, corrupt) in ways {
                let mut lines = whole.clone();
                lines[broken].pop();
                corrupt(&mut lines[broken]);
                lines[broken].push(b'\n');
                let (kept, _) = read_whole(&lines.concat());
                let mut expected = said(&all);
                expected.remove(broken);
                assert_eq!(said(&kept), expected, "{case}, line {broken}, {what}");
                let outcome = RunOutcome::of_transcript(&lines.concat(), &ending(case));
                assert!(outcome.made_tool_use || !made_tool_use, "{case}, line {broken}, {what}");
            }
        }
    }
}

#[test]
fn noise_between_the_lines_is_counted_and_changes_nothing() {
    let whole = transcript("tool_two_parallel");
    let mut noisy = b"warning: something\n\n  \n{\"no\":\"type\"}\n[1]\n\xff\xfe\n".to_vec();
    for line in lines(&whole) {
        noisy.extend(&line[..line.len() - 1]);
        noisy.extend(b"\r\nplain text\n");
    }
    let clean = read_whole(&whole).0;
    let (located, noise) = read_whole(&noisy);
    assert_eq!(said(&located), said(&clean));
    assert_eq!((noise.not_json, noise.not_event, noise.empty, noise.crlf), (9, 2, 2, 7));
    assert_eq!((noise.invalid_utf8, noise.cut, noise.unfinished), (1, 0, false));
    assert_eq!(noise.first.as_deref(), Some("warning: something"));
}

#[test]
fn a_text_that_is_no_utf_8_is_mended_and_its_event_counts() {
    let line =
        b"{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"a\xffb\"}\n";
    let (all, noise) = read_whole(line);
    let Said::Result(result) = &all[0].event.said else { panic!() };
    assert_eq!((result.text.as_deref(), noise.invalid_utf8), (Some("a\u{fffd}b"), 1));
}

#[test]
fn a_last_line_without_a_newline_counts_and_one_that_broke_off_is_told() {
    let whole = transcript("text");
    let whole = whole.trim_ascii_end();
    let done = RunOutcome::of_transcript(whole, &exit(0));
    assert_eq!((done.class, done.lines.unfinished), (OutcomeClass::Succeeded, false));
    let broken = RunOutcome::of_transcript(&whole[..whole.len() - 1], &exit(137));
    assert_eq!(broken.class, OutcomeClass::Killed { signal: 9 });
    assert_eq!((broken.lines.unfinished, broken.lines.lost, broken.lines.events), (true, 1, 2));
}

#[test]
fn what_could_not_be_read_may_have_been_a_tool() {
    for (line, may) in [
        ("Warning: no stdin data", false),
        (r#"{"type":"assistant","message":{"conte"#, true),
        (r#"oops {"type":"tool_use"}"#, true),
    ] {
        assert_eq!(run(&[INIT, line], &exit(1)).made_tool_use, may, "{line}");
    }
    let result = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":""}]}}"#;
    assert!(run(&[INIT, result], &exit(1)).made_tool_use, "its use was lost");
}

#[test]
fn an_unknown_type_and_an_unknown_field_are_let_pass() {
    let lines = [
        r#"{"type":"telepathy","subtype":"x","a":{"b":[1,{}]}}"#,
        r#"{"type":"system","subtype":"novel"}"#,
        r#"{"a":1,"type":"assistant","message":{"content":[{"type":"hologram","data":"x"}],"b":2}}"#,
    ];
    let (all, noise) = read_whole(lines.join("\n").as_bytes());
    assert_eq!((all.len(), noise.lost_lines()), (3, 0));
    assert!(all.iter().all(|located| located.event.odd.is_empty()));
    let outcome = run(&[INIT, lines[0], lines[1], lines[2], SUCCESS], &exit(0));
    assert!(outcome.class.is_success());
}

#[test]
fn a_known_field_in_another_shape_costs_that_field() {
    let odd = r#"{"type":"result","subtype":"success","is_error":false,"result":{"a":1},"num_turns":"two","usage":[1],"total_cost_usd":-1,"permission_denials":{},"errors":[1,"e"],"session_id":"--evil"}"#;
    let outcome = run(&[INIT, odd], &exit(0));
    assert!(outcome.class.is_success());
    assert_eq!(outcome.session_id.as_deref(), Some("9930b0c9-6cf2-46f0-b70a-99d9b442a594"));
    assert_eq!(
        (outcome.text, outcome.tokens, outcome.cost.basis),
        (None, None, CostBasis::Unknown)
    );
    let odd: Vec<String> = outcome.odd_fields.into_iter().collect();
    assert_eq!(
        odd,
        [
            "errors",
            "num_turns",
            "permission_denials",
            "result",
            "session_id",
            "total_cost_usd out of range",
            "usage"
        ]
    );
}

fn result(number: &str, value: &str) -> String {
    format!(
        r#"{{"type":"result","subtype":"success","is_error":false,"result":"x","{number}":{value}}}"#
    )
}

#[test]
fn a_number_out_of_range_is_named_and_not_taken() {
    for (field, value) in [
        ("total_cost_usd", "1e308"),
        ("total_cost_usd", "-0.01"),
        ("total_cost_usd", "1000001"),
        ("num_turns", "18446744073709551615"),
        ("queued_turn_count", "1000000001"),
    ] {
        let outcome = run(&[INIT, &result(field, value)], &exit(0));
        assert_eq!(outcome.cost.dollars, None, "{field} {value}");
        assert_eq!(outcome.turns, 0, "{field} {value}");
        assert!(outcome.odd_fields.contains(&format!("{field} out of range")), "{field} {value}");
    }
    for value in ["1e999", "NaN", "Infinity"] {
        let outcome = run(&[INIT, &result("total_cost_usd", value)], &exit(0));
        assert_eq!(outcome.cost.dollars, None, "{value}");
        assert!(outcome.lines.lost == 1 || !outcome.odd_fields.is_empty(), "{value}");
    }
}

#[test]
fn tokens_out_of_range_are_named_and_sums_are_bounded() {
    let usage = |tokens: &str| result("usage", &format!(r#"{{"input_tokens":{tokens}}}"#));
    let outcome = run(&[INIT, &usage("1000000000001")], &exit(0));
    assert_eq!(outcome.tokens.unwrap().input, 0);
    assert!(outcome.odd_fields.contains("input_tokens out of range"));
    let most = usage("1000000000000");
    let outcome = run(&[INIT, &most, &most, &most], &exit(0));
    assert_eq!(outcome.tokens.unwrap().input, 1_000_000_000_000);
}

#[test]
fn a_sum_of_costs_out_of_range_is_no_exact_one() {
    let cost = |dollars: &str| {
        result("model_usage_since_last_result", &format!(r#"{{"m":{{"costUSD":{dollars}}}}}"#))
    };
    let lines = [cost("999999"), cost("999999")];
    let outcome = run(&[INIT, &lines[0], &lines[1]], &exit(0));
    assert_eq!((outcome.cost.dollars, outcome.cost.basis), (Some(1e6), CostBasis::Unknown));
    assert!(outcome.odd_fields.contains("sum of total_cost_usd out of range"));
}

#[test]
fn a_record_with_an_infinite_cost_is_readable() {
    for stored in [
        r#"{"dollars":1e308,"basis":"exact"}"#,
        r#"{"dollars":null,"basis":"exact"}"#,
        r#"{"dollars":-1,"basis":"exact"}"#,
    ] {
        let cost: chanop::claude::outcome::Cost = serde_json::from_str(stored).unwrap();
        assert_eq!((cost.dollars, cost.basis), (None, CostBasis::Unknown), "{stored}");
    }
}

#[test]
fn success_must_be_said() {
    for (result, class) in [
        (r#"{"type":"result","subtype":"success"}"#, "Failed"),
        (r#"{"type":"result","subtype":"success","is_error":"no"}"#, "Failed"),
        (r#"{"type":"result","subtype":"success","is_error":true}"#, "Failed"),
        (r#"{"type":"result","subtype":"error_during_execution","is_error":false}"#, "Failed"),
        (SUCCESS, "Succeeded"),
    ] {
        assert_eq!(run(&[INIT, result], &exit(0)).class.name(), class, "{result}");
    }
    assert_eq!(run(&[INIT, SUCCESS, INIT], &exit(0)).class, OutcomeClass::NoResult);
    assert_eq!(run(&[INIT, USE], &exit(0)).class, OutcomeClass::NoResult);
}

#[test]
fn a_success_that_the_end_gives_the_lie_is_none() {
    let by = |stop, code| Ending { stopped: Some(stop), ..exit(code) };
    let oom = |ending: Ending| Ending { oom_killed: true, ..ending };
    for (ending, class, code) in [
        (exit(0), "Succeeded", None),
        (exit(1), "Failed", Some(1)),
        (exit(143), "Failed", Some(143)),
        (oom(exit(0)), "Succeeded", None),
        (oom(exit(1)), "OomKilled", Some(1)),
        (oom(exit(137)), "OomKilled", Some(137)),
        // We ended it: that is told, whatever it had said before.
        (by(Stop::Deadline, 143), "Deadline", None),
        (by(Stop::Cancel, 137), "Cancelled", None),
        (oom(by(Stop::Cancel, 137)), "Cancelled", None),
        // Nobody saw its end.
        (Ending::default(), "Succeeded", None),
        (oom(Ending::default()), "Succeeded", None),
    ] {
        let ending = Ending { stderr: "a warning\n".to_owned(), ..ending };
        let outcome = run(&[INIT, SUCCESS], &ending);
        let message =
            code.map(|code| format!("the CLI ended with {code} after it had said success"));
        assert_eq!((outcome.class.name(), outcome.message), (class, message), "{ending:?}");
        assert_eq!(outcome.exit_code, ending.exit_code);
    }
    // What failed anyway keeps its name.
    let turns = r#"{"type":"result","subtype":"error_max_turns","is_error":true}"#;
    assert_eq!(run(&[INIT, turns], &oom(exit(1))).class, OutcomeClass::MaxTurns);
}

#[test]
fn endings_without_a_result_are_told_apart() {
    let by = |stop| Ending { stopped: Some(stop), ..exit(143) };
    let oom = |code| Ending { oom_killed: true, ..exit(code) };
    let told = |code: i64, stderr: &str| Ending { stderr: stderr.to_owned(), ..exit(code) };
    let message = |text: &str| OutcomeClass::BadInvocation { message: text.to_owned() };
    let gone = "No conversation found with session ID: x\n";
    for (lines, ending, class) in [
        (&[INIT][..], exit(143), OutcomeClass::Killed { signal: 15 }),
        (&[INIT], exit(137), OutcomeClass::Killed { signal: 9 }),
        (&[INIT], oom(137), OutcomeClass::OomKilled),
        (&[INIT], oom(0), OutcomeClass::NoResult),
        (&[INIT], by(Stop::Deadline), OutcomeClass::Deadline),
        (&[INIT], by(Stop::Cancel), OutcomeClass::Cancelled),
        (&[INIT], Ending::default(), OutcomeClass::NoResult),
        (&[INIT], exit(1), OutcomeClass::NoResult),
        (&[], exit(0), OutcomeClass::NoResult),
        (&[], exit(192), OutcomeClass::Killed { signal: 64 }),
        (&[], exit(255), message("")),
        (&[], told(127, "\n bash: claude: not found \nmore\n"), message("bash: claude: not found")),
        (&[], told(1, gone), OutcomeClass::SessionNotFound),
        (&["text"], told(1, "no"), message("no")),
    ] {
        assert_eq!(run(lines, &ending).class, class, "{lines:?} {ending:?}");
    }
}

#[test]
fn a_deadline_after_the_last_word_is_a_deadline() {
    let late = Ending { stopped: Some(Stop::Deadline), ..exit(143) };
    assert_eq!(run(&[INIT, SUCCESS], &late).class, OutcomeClass::Deadline);
    // But something was still at work, and was killed with it.
    assert_eq!(run(&[INIT, BACKGROUND, SUCCESS], &late).class, OutcomeClass::Deadline);
    assert_eq!(
        run(&[INIT, BACKGROUND, SUCCESS], &exit(143)).class,
        OutcomeClass::Killed { signal: 15 }
    );
    assert_eq!(run(&[INIT, BACKGROUND, SUCCESS], &exit(0)).class, OutcomeClass::Succeeded);
    // A subagent's words after the result begin no turn.
    let subagent = USE.replace(":null", ":\"a\"");
    let answer = r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":""}]},"parent_tool_use_id":"a"}"#;
    let lines = [INIT, BACKGROUND, SUCCESS, subagent.as_str(), answer];
    assert_eq!(run(&lines, &exit(0)).class, OutcomeClass::Succeeded);
    assert_eq!(run(&lines, &late).class, OutcomeClass::Deadline);
    // Interrupted by us, and it could still say so.
    let aborted = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"terminal_reason":"aborted_tools"}"#;
    assert_eq!(run(&[INIT, aborted], &late).class, OutcomeClass::Deadline);
    assert_eq!(run(&[INIT, aborted], &exit(0)).class, OutcomeClass::Aborted);
    let turns = r#"{"type":"result","subtype":"error_max_turns","is_error":true}"#;
    assert_eq!(run(&[INIT, turns], &late).class, OutcomeClass::Deadline);
}

#[test]
fn api_errors_are_known_by_either_of_their_lines() {
    for (case, class) in [
        ("err_401", OutcomeClass::AuthFailed),
        ("err_billing", OutcomeClass::Billing),
        ("err_529_retries2", OutcomeClass::Overloaded),
        ("err_connection_refused", OutcomeClass::Unreachable),
        ("err_prompt_too_long", OutcomeClass::PromptTooLong),
        ("oauth_ratelimit_rejected", outcome("oauth_ratelimit_rejected").class),
    ] {
        let text = String::from_utf8(transcript(case)).unwrap();
        let without: Vec<&str> =
            text.lines().filter(|line| !line.contains(SYNTHETIC_MODEL)).collect();
        assert_eq!(run(&without, &ending(case)).class, class, "{case} without its message");
    }
    // A login that is missing has no status.
    let login = r#"{"type":"result","subtype":"success","is_error":true,"terminal_reason":"api_error","result":"Not logged in · Please run /login","num_turns":1}"#;
    assert_eq!(run(&[INIT, login], &exit(1)).class, OutcomeClass::AuthFailed);
    let later = r#"{"type":"result","subtype":"error_during_execution","is_error":true,"num_turns":3,"errors":["No conversation found with session ID: x"]}"#;
    assert_eq!(run(&[INIT, later], &exit(1)).class, OutcomeClass::Failed, "not of the start");
}

#[test]
fn dollars_are_those_of_this_run_and_say_how_sure_they_are() {
    let bare = |session: &str| {
        format!(
            r#"{{"type":"result","subtype":"success","is_error":false,{session}"num_turns":1}}"#
        )
    };
    let cost = |lines: &[&str]| {
        let cost = run(lines, &exit(0)).cost;
        (cost.dollars, cost.basis)
    };
    let (one, two, none) =
        (bare(r#""total_cost_usd":1.0,"#), bare(r#""total_cost_usd":1.5,"#), bare(""));
    assert_eq!(cost(&[INIT, SUCCESS]), (Some(0.25), CostBasis::Exact), "and not the session's 0.5");
    assert_eq!(cost(&[INIT, SUCCESS, INIT, SUCCESS]), (Some(0.5), CostBasis::Exact));
    assert_eq!(cost(&[INIT, &one]), (Some(1.0), CostBasis::AtMost));
    assert_eq!(cost(&[INIT, &one, INIT, &two]), (Some(1.5), CostBasis::AtMost));
    assert_eq!(cost(&[INIT, SUCCESS, INIT, &two]), (Some(1.25), CostBasis::Exact), "grown by 1.0");
    assert_eq!(cost(&[INIT, SUCCESS, INIT, USE]), (Some(0.25), CostBasis::AtLeast));
    assert_eq!(cost(&[INIT, &one, INIT, USE]), (Some(1.0), CostBasis::Unknown));
    assert_eq!(cost(&[INIT, &none]), (None, CostBasis::Unknown));
    assert_eq!(cost(&[INIT, &none, INIT, SUCCESS]), (Some(0.25), CostBasis::AtLeast));
    assert_eq!(cost(&[INIT, USE]), (None, CostBasis::Unknown));
}

#[test]
fn what_a_new_session_has_cost_is_its_own() {
    let text = [
        INIT,
        r#"{"type":"result","subtype":"success","is_error":false,"total_cost_usd":1.0,"num_turns":1}"#,
    ];
    let mut parser = Parser::new();
    let mut fold = Fold::new();
    for located in parser.push(text.join("\n").as_bytes()).into_iter().chain(parser.finish()) {
        fold.add(&located.event);
    }
    let of = |fold: Fold| fold.end(parser.noise(), &exit(0)).cost.basis;
    assert_eq!(of(fold.clone()), CostBasis::AtMost);
    assert_eq!(of(fold.of_new_session()), CostBasis::Exact);
}
