//! `chanop transcript`: what it prints of recorded and of broken output.

use std::io::Write as _;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};

use crate::claude::path;

/// Runs the binary in the directory of the recordings, with `input` on standard input.
#[expect(clippy::disallowed_methods, reason = "the binary is what is tested")]
fn transcript(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chanop"))
        .arg("transcript")
        .args(arguments)
        .env_clear()
        .current_dir(path("x", "y").parent().unwrap())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    // A command that does not read its input must not be waited for.
    let writer = std::thread::spawn(move || {
        let _nobody_reads = stdin.write_all(&input);
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

fn check(arguments: &[&str], input: &[u8], expected: &Expect) {
    let output = transcript(arguments, input);
    let mut seen = String::from_utf8(output.stdout).unwrap();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        seen.extend(["! ", line, "\n"]);
    }
    expected.assert_eq(&(seen + &format!("exit {}\n", output.status.code().unwrap())));
}

#[test]
fn a_run_that_succeeded_is_told_in_a_few_lines() {
    check(
        &["tool_task_subagent.jsonl", "--exit-code", "0"],
        b"",
        &expect![[r#"
        Succeeded
          exit      0
          session   4442b719-bef6-4285-8472-7d3fea8a830e
          model     claude-opus-5-5
          cli       2.1.330
          turns     2
          tools     Agent 1, Bash 1
          tokens    480 in, 100 out, 0 read from cache, 0 put there
          cost      $0.00392
          lines     12 events

        TOOL     INPUT                                                           RESULT
        Agent    {"description":"sub","prompt":"Do it [[mock:tool]]","subagen…     <tools-used-before-summary>Bash</tools-used-before-summary…
          Bash   {"command":"echo hi","description":"mock"}                      hi

        Done: the tool answered.
        exit 0
    "#]],
    );
}

#[test]
fn a_run_that_failed_is_read_all_the_same() {
    check(
        &["oauth_ratelimit_rejected.jsonl", "--exit-code", "1"],
        b"",
        &expect![[r"
        RateLimited
          exit      1
          session   53b8a50d-00a3-43e9-ad07-fd6099aa3936
          model     claude-sonnet-5-5
          cli       2.1.330
          turns     1
          tools     none
          tokens    0 in, 0 out, 0 read from cache, 0 put there
          cost      $0.00
          limit     rejected, five_hour, resets 2026-11-22T14:48:30Z
          lines     4 events

        You've hit your 5-hour limit · resets 2:48pm (UTC)
        exit 0
    "]],
    );
    check(
        &["sigkill_during_tool.jsonl", "--exit-code", "137", "--oom"],
        b"",
        &expect![[r#"
        OomKilled
          exit      137
          session   fffe3aa8-9dec-4289-8e18-bf36062a8b6f
          model     claude-opus-5-5
          cli       2.1.330
          turns     1
          tools     Bash 1
          tokens    not told
          cost      not told
          lines     3 events

        TOOL   INPUT                                                           RESULT
        Bash   {"command":"touch started; python3 -c \"import time; time.sl…   -
        exit 0
    "#]],
    );
}

#[test]
fn json_has_the_names_that_are_promised() {
    check(
        &["max_turns.jsonl", "--exit-code=1", "-o", "json"],
        b"",
        &expect![[r#"
        {
          "class": {
            "name": "MaxTurns"
          },
          "message": "Reached maximum number of turns (2)",
          "exitCode": 1,
          "sessionId": "4e02a320-fca6-4c84-908e-bc7b70d078f2",
          "models": [
            "claude-opus-5-5"
          ],
          "cliVersion": "2.1.330",
          "mcpServersFailed": [],
          "text": null,
          "textBytes": 0,
          "results": 1,
          "turns": 3,
          "tokens": {
            "input": 240,
            "output": 50,
            "cacheRead": 0,
            "cacheCreation": 0
          },
          "cost": {
            "dollars": 0.00196,
            "basis": "exact"
          },
          "toolUses": {
            "total": 2,
            "failed": 0,
            "byName": {
              "Bash": 2
            },
            "first": [
              {
                "id": "toolu_0ee8a68b011d452191f276f6",
                "name": "Bash",
                "input": "{\"command\":\"echo loop\",\"description\":\"mock\"}",
                "result": "loop",
                "isError": false,
                "parent": null
              },
              {
                "id": "toolu_5ffb85aedb364faa9943eee3",
                "name": "Bash",
                "input": "{\"command\":\"echo loop\",\"description\":\"mock\"}",
                "result": "loop",
                "isError": false,
                "parent": null
              }
            ]
          },
          "madeToolUse": true,
          "permissionDenials": {
            "total": 0,
            "first": []
          },
          "retries": {
            "total": 0,
            "last": null
          },
          "rateLimit": null,
          "compactions": {
            "succeeded": 0,
            "failed": 0
          },
          "lines": {
            "events": 6,
            "lost": 0,
            "cut": 0,
            "unfinished": false,
            "invalidUtf8": 0,
            "crlf": 0,
            "empty": 0,
            "first": null
          },
          "oddFields": []
        }
        exit 0
    "#]],
    );
}

#[test]
fn standard_error_says_why_nothing_was_printed() {
    let mut stderr = tempfile::NamedTempFile::new().unwrap();
    stderr.write_all(b"error: unknown option '--x\x1b[2J'\nmore\n").unwrap();
    let stderr = stderr.path().to_str().unwrap();
    check(
        &["-", "--exit-code", "1", "--stderr", stderr],
        b"",
        &expect![[r"
        BadInvocation
          why       error: unknown option '--x\u{1b}[2J'
          exit      1
          session   none
          turns     0
          tools     none
          tokens    not told
          cost      not told
          lines     0 events
        exit 0
    "]],
    );
}

#[test]
fn what_cannot_be_read_is_one_line_and_an_error() {
    check(
        &["no-such.jsonl"],
        b"",
        &expect![[r"
        ! chanop: failed to read no-such.jsonl: No such file or directory (os error 2)
        exit 1
    "]],
    );
    check(
        &["."],
        b"",
        &expect![[r"
        ! chanop: failed to read .: Is a directory (os error 21)
        exit 1
    "]],
    );
    check(
        &["text.jsonl", "--stderr", "no-such"],
        b"",
        &expect![[r"
        ! chanop: failed to read no-such: No such file or directory (os error 2)
        exit 1
    "]],
    );
}

#[test]
fn control_characters_of_the_agent_reach_no_terminal() {
    let lines = [
        "warning: \x1b[2J\u{9b}2J",
        r#"{"type":"system","subtype":"init","model":"m\u001b[31m","claude_code_version":"1\u009b0m","mcp_servers":[{"name":"s\u001b[","status":"failed"}]}"#,
        r#"{"type":"assistant","message":{"model":"x\u0007","content":[{"type":"tool_use","id":"t","name":"Ba\r\nsh","input":{"command":"\u001b]0;title\u0007"}}]}}"#,
        r#"{"type":"user","message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"\u001bc\u007f"}]}}"#,
        r#"{"type":"result","subtype":"success","is_error":false,"result":"fine \u001b]8;;http://x\u0007\u009b2J\r end"}"#,
    ];
    let input = lines.join("\n");
    for format in ["text", "json"] {
        let output = transcript(&["-", "-o", format], input.as_bytes());
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("fine ") && text.contains("title"), "{text}");
        let control = text.chars().find(|c| c.is_control() && *c != '\n');
        assert_eq!(control, None, "{format}: {text}");
    }
}
