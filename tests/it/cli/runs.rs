//! Runs at the command line: what is printed as they go, and the code that each end exits with.

use std::io::{Read, Write as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use chanop::controller::view::View;
use chanop::http::Limits;
use chanop::resource::ResourceName;
use chanop::runner::{AgentRequest, DockerRunner, Runner, RunnerError, Turn};
use chanop::world::image::{ImageProgress, ImageWork, ImageWorkKind};
use chanop::world::run::{Phase, RunProgress};
use expect_test::{Expect, expect};

use super::{blocking, chanop, command, seen};
use crate::faces::runs::{
    attempt_ended, change, ended, put, queued, running, succeeded, transcript,
};
use crate::faces::{Served, view};

async fn served_with(change: impl FnOnce(&mut View)) -> Served {
    let mut view = view();
    change(&mut view);
    Served::new(view, Limits::default()).await
}

/// A core that carries every order out at once: its transcript is this, and it ends so.
async fn carries_out(served: &Served, phase: Phase, reason: &'static str) {
    let mut views = served.view.subscribe();
    loop {
        let waiting = |view: &std::sync::Arc<View>| {
            view.runs.values().find(|run| run.phase == Phase::Queued).cloned()
        };
        let Some(run) = waiting(&views.borrow_and_update()) else {
            views.changed().await.unwrap();
            continue;
        };
        let name = run.name.to_string();
        served.transcripts.append(&name, 1, &transcript());
        served.transcripts.end(&name, 1);
        let run = attempt_ended(running((*run).clone(), 1), &transcript(), 0);
        served.publish(|view| put(view, ended(run, phase, reason, "")));
    }
}

/// Runs the binary against a core that carries orders out, and shows names that were made as `web-NNNNN`.
async fn check(arguments: &[&str], phase: Phase, reason: &'static str, expected: Expect) {
    let served = served_with(|_| {}).await;
    let output = tokio::select! {
        output = chanop(arguments, &served.socket) => output,
        () = carries_out(&served, phase, reason) => unreachable!(),
    };
    let mut shown = seen(&output, &served.socket);
    for name in served.view.borrow().runs.keys() {
        if let Some(letters) = name.as_str().strip_prefix("web-") {
            shown = shown.replace(letters, "NNNNN");
        }
    }
    expected.assert_eq(&shown);
}

#[tokio::test]
async fn a_run_is_followed_turn_by_turn_and_no_control_character_of_it_is_printed() {
    check(
        &["run", "web", "-p", "What is new?"],
        Phase::Succeeded,
        "Succeeded",
        expect![[r#"
        Let me \u{1b}[2J look.
        → Bash {"command":"ls"}
        → Read {"file_path":"/x"}
          a.txt …
          error: no such file
        Two files: é.
        ! run/web-NNNNN
        ! -- the API: overloaded; try 1 of 10 in 2 s
        ! run/web-NNNNN Succeeded: 2 turns, 2 tools, $0.42, 3m
        exit 0
    "#]],
    )
    .await;
}

#[tokio::test]
async fn each_end_has_its_exit_code() {
    for (phase, reason, code) in [
        (Phase::Succeeded, "Succeeded", 0),
        (Phase::Failed, "MaxTurns", 3),
        (Phase::Cancelled, "Cancelled", 4),
        (Phase::Lost, "Lost", 5),
        (Phase::NeverStarted, "StartFailed", 5),
        (Phase::Failed, "Deadline", 124),
    ] {
        let served = served_with(|_| {}).await;
        let both = async {
            let mut codes = vec![];
            for arguments in [
                &["run", "web", "-p", "x", "--name", "a"][..],
                &["run", "web", "-p", "x", "--name", "b", "--wait"],
                &["wait", "run/a"],
                &["logs", "-f", "run/a"],
            ] {
                codes.push(chanop(arguments, &served.socket).await.status.code().unwrap());
            }
            codes
        };
        let codes = tokio::select! {
            codes = both => codes,
            () = carries_out(&served, phase, reason) => unreachable!(),
        };
        assert_eq!(codes, [code; 4], "{phase} {reason}");
    }
}

#[tokio::test]
async fn who_waits_gets_the_answer_alone_on_standard_output() {
    check(
        &["run", "channel/web", "-p", "x", "--wait"],
        Phase::Succeeded,
        "Succeeded",
        expect![[r"
            Two files: é.
            ! run/web-NNNNN Succeeded: 2 turns, 2 tools, $0.42, 3m
            exit 0
        "]],
    )
    .await;
    check(
        &["run", "web", "-p", "x", "--detach", "--name", "mine"],
        Phase::Succeeded,
        "Succeeded",
        expect![[r"
            run/mine
            exit 0
        "]],
    )
    .await;
}

#[tokio::test]
async fn what_is_asked_for_is_what_is_ordered() {
    let served = served_with(|_| {}).await;
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(&file, "from a file\n").unwrap();
    let path = file.path().to_str().unwrap();
    let more = ["--session", "key:chat", "--fork", "--max-turns", "3", "--budget", "0.5"];
    let last = ["--deadline", "30m", "--author", "ann", "-d", "--name", "mine"];
    let arguments = [&["run", "web", "-f", path][..], &more, &last].concat();
    assert!(chanop(&arguments, &served.socket).await.status.success());
    let order = |name: &str| {
        let name = ResourceName::parse(name).unwrap();
        served.view.borrow().runs[&name].record.as_ref().unwrap().order.clone()
    };
    let ordered = order("mine");
    assert_eq!(
        serde_json::to_value(&ordered.ask).unwrap(),
        serde_json::json!({ "prompt": "from a file\n" })
    );
    assert_eq!(ordered.session, chanop::resource::run::Session::Key("chat".to_owned()));
    assert_eq!(
        (ordered.fork, ordered.max_turns, ordered.max_budget_usd),
        (true, Some(3), Some(0.5))
    );
    assert_eq!((ordered.active_deadline_seconds, ordered.author.as_str()), (Some(1800), "ann"));

    for (arguments, name) in [
        (&["run", "web", "-f", "-", "-d", "--name", "by-flag"][..], "by-flag"),
        (&["run", "web", "-", "-d", "--name", "by-dash"], "by-dash"),
    ] {
        let mut command = command(arguments, &served.socket);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let output = blocking(move || {
            let mut child = command.spawn().unwrap();
            child.stdin.take().unwrap().write_all(b"from standard input").unwrap();
            child.wait_with_output().unwrap()
        })
        .await;
        assert!(output.status.success());
        let ask = serde_json::to_value(order(name).ask).unwrap();
        assert_eq!(ask, serde_json::json!({ "prompt": "from standard input" }));
    }

    let again = chanop(&["run", "run/mine", "-d"], &served.socket).await;
    let name = String::from_utf8(again.stdout).unwrap();
    let name = name.trim().strip_prefix("run/").unwrap();
    assert!(name.starts_with("mine-"), "{name}");
    assert_eq!(order(name), ordered);
}

#[tokio::test]
async fn an_order_that_cannot_be_is_refused_with_the_reason() {
    let served = served_with(|view| put(view, queued("mine", "web"))).await;
    for (arguments, expected) in [
        (
            &["run", "web"][..],
            expect![[r"
            ! chanop: what is the agent to do? say it with -p TEXT, -f FILE, or - for standard input
            exit 1
        "]],
        ),
        (
            &["run", "nope", "-p", "x"],
            expect![[r"
            ! chanop: there is no channel `nope`
            exit 1
        "]],
        ),
        (
            &["run", "web", "-p", " "],
            expect![[r"
            ! chanop: the run is invalid: spec.prompt: the prompt is empty
            exit 1
        "]],
        ),
        (
            &["run", "web", "-p", "x", "--name", "mine"],
            expect![[r"
            ! chanop: there is a run `mine` already
            exit 1
        "]],
        ),
        (
            &["run", "web", "-p", "x", "--fork"],
            expect![[r"
            ! chanop: the run is invalid: spec.fork: a fresh session has nothing to fork (set session to Latest, {id: …} or {key: …})
            exit 1
        "]],
        ),
        (
            &["run", "run/mine", "-p", "x"],
            expect![[r"
            ! chanop: run/mine is ordered again as it was; order a new one with: chanop run CHANNEL …
            exit 1
        "]],
        ),
        (
            &["run", "schedule/nightly"],
            expect![[r"
            ! chanop: schedules are not served by this version
            exit 1
        "]],
        ),
        (
            &["logs", "channel/web"],
            expect![[r"
            ! chanop: a channel's shell has no log of chanop's: docker logs $(chanop get channel/web -o json | jq -r .status.container.id)
            exit 1
        "]],
        ),
        (
            &["wait", "run/mine", "--timeout", "1s"],
            expect![[r"
            ! chanop: run/mine has not ended; it goes on
            exit 1
        "]],
        ),
        (
            &["wait", "run/nope"],
            expect![[r#"
            ! chanop: runs "nope" not found
            exit 1
        "#]],
        ),
        (
            &["logs", "-f", "run/nope"],
            expect![[r#"
            ! chanop: runs "nope" not found
            exit 1
        "#]],
        ),
    ] {
        let output = chanop(arguments, &served.socket).await;
        expected.assert_eq(&seen(&output, &served.socket));
    }
}

#[tokio::test]
async fn runs_are_ended_and_let_go() {
    let served = served_with(|view| put(view, queued("x", "web"))).await;
    for (arguments, expected) in [
        (
            &["cancel", "run/x", "--reason", "enough"][..],
            expect![[r"
            run/x is ended: enough
            exit 0
        "]],
        ),
        (
            &["cancel", "x"],
            expect![[r"
            run/x is ended: asked for by socket
            exit 0
        "]],
        ),
        (
            &["cancel", "channel/x"],
            expect![[r"
            ! chanop: `channel/x` is no run
            exit 1
        "]],
        ),
        (
            &["release", "run/x"],
            expect![[r"
            run/x is let go
            exit 0
        "]],
        ),
        (
            &["release", "--all"],
            expect![[r"
            all runs are let go
            exit 0
        "]],
        ),
    ] {
        let output = chanop(arguments, &served.socket).await;
        expected.assert_eq(&seen(&output, &served.socket));
    }
}

#[tokio::test]
async fn logs_show_what_was_said_in_each_form() {
    let served = served_with(|view| put(view, succeeded("x", "web", &transcript()))).await;
    served.transcripts.append("x", 1, &transcript());
    served.transcripts.end("x", 1);
    let text = chanop(&["logs", "run/x"], &served.socket).await;
    expect![[r#"
        Let me \u{1b}[2J look.
        → Bash {"command":"ls"}
        → Read {"file_path":"/x"}
          a.txt …
          error: no such file
        Two files: é.
        ! -- the API: overloaded; try 1 of 10 in 2 s
        exit 0
    "#]]
    .assert_eq(&seen(&text, &served.socket));
    let raw = chanop(&["logs", "run/x", "--format", "raw"], &served.socket).await;
    assert_eq!(raw.stdout, transcript());
    // From the transcript and from the events: the same turns with the same places.
    let by_log = chanop(&["logs", "run/x", "--format", "json"], &served.socket).await;
    let by_events = chanop(&["logs", "run/x", "--format", "json", "-f"], &served.socket).await;
    let lines = |bytes: &[u8]| {
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        let turns = lines.filter(|turn: &serde_json::Value| {
            !matches!(turn["event"].as_str().unwrap(), "attempt" | "end")
        });
        turns.collect::<Vec<_>>()
    };
    assert_eq!(lines(&by_log.stdout).len(), 8);
    assert_eq!(lines(&by_log.stdout), lines(&by_events.stdout));
}

#[tokio::test]
async fn describe_tells_a_runs_life_and_what_to_do_next() {
    let served = served_with(|view| {
        let failed = attempt_ended(running(queued("x", "web"), 1), b"oops\n", 1);
        let run = attempt_ended(running(failed, 2), &transcript(), 0);
        put(view, ended(run, Phase::Succeeded, "Succeeded", ""));
    })
    .await;
    let output = chanop(&["describe", "run/x"], &served.socket).await;
    let text = seen(&output, &served.socket);
    // Times are of today.
    let text: Vec<String> = text
        .lines()
        .map(|line| match line.split_once("Z   ") {
            Some((at, rest)) if at.trim().starts_with("20") => format!("  TIME   {rest}"),
            _ => line.to_owned(),
        })
        .collect();
    expect![[r#"
        Name:       x
        Status:     Succeeded
        Channel:    web
        From:       api
        Age:        2h
        Revision:   4f1c2aa
        Turns:      2, tool uses: 2
        Tokens:     10 in, 5 out, 0 read from cache, 0 put there
        Cost:       $0.42 at least: work after the last result is not in it
        Duration:   8m
        Session:    9930b0c9-6cf2-46f0-b70a-99d9b442a594
        Timeline:
          TIME   admitted, from api
          TIME   attempt 1 permitted (First)
          TIME   attempt 1 began
          TIME   attempt 1 ended: Failed (BadInvocation) with 1
          TIME   attempt 2 permitted (Retry)
          TIME   attempt 2 began
          TIME   attempt 2 ended: Succeeded with 0
          TIME   ended: Succeeded
        Attempt 1:  container fedcba987654, image sha256:bb
                    the end is known from: the container's own init, which wrote it down
                    transcript 5 bytes, sha256 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
        Attempt 2:  container fedcba987654, image sha256:bb
                    the end is known from: the container's own init, which wrote it down
                    transcript 1141 bytes, sha256 cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc
        Outcome:
          exit      0
          model     claude-x
          retries   1 (last: 529, overloaded)
          lines     6 events, 1 lost, the first that is no event: not an event
        Tools:
          TOOL   USES
          Bash   1
          Read   1
        Tool uses:
          TOOL   INPUT                RESULT
          Bash   {"command":"ls"}     a.txt b.txt
          Read   {"file_path":"/x"}   error: no such file
        Answer:
          Two files: é.
        Next:       chanop run web --session 9930b0c9-6cf2-46f0-b70a-99d9b442a594 -p …    go on
        exit 0
    "#]].assert_eq(&(text.join("\n") + "\n"));
}

#[tokio::test]
async fn cost_adds_up_what_ended() {
    let served = served_with(|view| {
        put(view, succeeded("a", "web", &transcript()));
        put(view, succeeded("b", "web", &transcript()));
        put(view, queued("c", "ledger"));
    })
    .await;
    for (by, expected) in [
        (
            "channel",
            expect![[r"
            CHANNEL   RUNS   TURNS   TOKENS   DOLLARS
            web       2      4       30       0.84
            all       2      4       30       0.84
            exit 0
        "]],
        ),
        (
            "model",
            expect![[r"
            MODEL      RUNS   TURNS   TOKENS   DOLLARS
            claude-x   2      4       30       0.84
            all        2      4       30       0.84
            exit 0
        "]],
        ),
        (
            "run",
            expect![[r"
            RUN   RUNS   TURNS   TOKENS   DOLLARS
            a     1      2       15       0.42
            b     1      2       15       0.42
            all   2      4       30       0.84
            exit 0
        "]],
        ),
    ] {
        let output = chanop(&["cost", "--by", by], &served.socket).await;
        expected.assert_eq(&seen(&output, &served.socket));
    }
}

#[tokio::test]
async fn get_runs_prints_the_documented_columns() {
    let served = served_with(|view| {
        put(view, succeeded("a", "web", &transcript()));
        let mut waits = queued("b", "ledger");
        change(&mut waits, |record| record.turn = 2);
        put(view, waits);
    })
    .await;
    for arguments in [&["get", "runs"][..], &["get", "runs", "--channel", "ledger", "-o", "name"]] {
        let output = chanop(arguments, &served.socket).await;
        let expected = if arguments.len() == 2 {
            expect![[r"
            NAME   CHANNEL   STATUS      REASON      TURNS   TOOLS   COST   DURATION   AGE   FROM
            a      web       Succeeded   Succeeded   2       2       0.42   3m         2h    api
            b      ledger    Queued      -           -       -       -      -          2h    api
            exit 0
        "]]
        } else {
            expect![[r"
            run/b
            exit 0
        "]]
        };
        expected.assert_eq(&seen(&output, &served.socket));
    }
}

/// What a terminal shows while `arguments` run, until `seen` is in it; then `keys` are typed, and the rest is read.
async fn on_a_terminal(
    served: &Served,
    arguments: &str,
    until: &'static str,
    keys: &'static [u8],
) -> String {
    // Ctrl-C goes to the shell too, and only some shells outlive it for the sake of a program that did.
    let inside = format!(
        "trap : INT; stty cols 100; {} {arguments}; echo code $?",
        env!("CARGO_BIN_EXE_chanop")
    );
    #[expect(clippy::disallowed_methods, reason = "a terminal is needed")]
    let mut script = Command::new("script");
    script.args(["-qec", &inside, "/dev/null"]).env("CHANOP_SOCKET", &served.socket);
    script.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    blocking(move || {
        let mut child = script.spawn().unwrap();
        let mut typed = child.stdin.take().unwrap();
        let mut screen = child.stdout.take().unwrap();
        let mut seen = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&seen).contains(until) && screen.read(&mut byte).unwrap() > 0
        {
            seen.push(byte[0]);
        }
        typed.write_all(keys).unwrap();
        screen.read_to_end(&mut seen).unwrap();
        child.wait().unwrap();
        String::from_utf8_lossy(&seen).into_owned()
    })
    .await
}

#[tokio::test]
async fn on_a_terminal_a_line_shows_how_far_a_run_is_and_ctrl_c_leaves_it() {
    let served = served_with(|view| {
        let mut run = running(queued("x", "web"), 1);
        run.progress = Some(RunProgress { turns: 3, tools: 2, ..RunProgress::default() });
        put(view, run);
    })
    .await;
    let screen = on_a_terminal(&served, "logs -f run/x", "tools", &[3]).await;
    assert!(screen.contains("\r\u{1b}[2KRunning · 61m · 3 turns · 2 tools"), "{screen:?}");
    let (_, rest) = screen.rsplit_once("\r\u{1b}[2K").unwrap();
    assert!(
        rest.contains("chanop logs -f run/x") && rest.contains("chanop cancel run/x"),
        "{rest}"
    );
    assert!(rest.contains("code 130"), "{rest}");
}

#[tokio::test]
async fn while_the_image_is_pulled_the_line_is_its_bar() {
    let served = served_with(|view| {
        let mut run = queued("x", "web");
        run.phase = Phase::Starting;
        put(view, run);
    })
    .await;
    served.publish(|view| {
        let name = ResourceName::parse("web").unwrap();
        let mut web = (*view.channels[&name]).clone();
        web.image_work = Some(ImageWork {
            kind: ImageWorkKind::Pull,
            progress: ImageProgress { done: 1, total: 4, bytes: 1, bytes_total: 4 },
        });
        view.channels.insert(name, web.into());
    });
    let screen = on_a_terminal(&served, "logs -f run/x", "layers", &[3]).await;
    assert!(screen.contains("Pulling [#####---------------] 1/4 layers"), "{screen:?}");
}

#[tokio::test]
async fn a_program_runs_an_agent_hears_its_turns_and_finds_it_again_by_its_key() {
    let served = served_with(|_| {}).await;
    let runner = DockerRunner::new(&served.socket);
    let channel = ResourceName::parse("web").unwrap();
    let key = ResourceName::parse("mine").unwrap();
    let request = AgentRequest::prompt(channel.clone(), "What is new?").with_key(key.clone());
    let program = async {
        let mut heard = vec![];
        let response = runner.run(&request, &mut |turn: &Turn| heard.push(turn.clone())).await;
        let again = runner.run(&request, &mut |_: &Turn| {}).await;
        let other = AgentRequest::prompt(channel, "Something else").with_key(key);
        (response.unwrap(), again.unwrap(), heard, runner.run(&other, &mut |_: &Turn| {}).await)
    };
    let (response, again, heard, other) = tokio::select! {
        all = program => all,
        () = carries_out(&served, Phase::Succeeded, "Succeeded") => unreachable!(),
    };
    assert_eq!(response.text.as_deref(), Some("Two files: é."));
    assert_eq!(response, again);
    assert!(matches!(heard.first(), Some(Turn::Attempt(_))) && heard.len() == 10, "{heard:?}");
    assert!(matches!(other, Err(RunnerError::OtherOrder(_))), "{other:?}");
    let mut boundless = request.clone();
    boundless.spec.order.max_budget_usd = Some(f64::INFINITY);
    assert!(matches!(runner.submit(&boundless).await, Err(RunnerError::Budget(_))));
    assert_eq!(served.view.borrow().runs.len(), 1, "it ran once");
}

#[tokio::test]
async fn a_follower_outlives_a_restart_of_the_operator() {
    let first = served_with(|view| put(view, running(queued("x", "web"), 1))).await;
    let whole = transcript();
    let half = whole.iter().position(|byte| *byte == b'\n').unwrap() + 20;
    first.transcripts.append("x", 1, &whole[..half]);
    let name = ResourceName::parse("x").unwrap();
    // A link leads to whichever operator is there, as the one path of two would.
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("chanop.sock");
    std::os::unix::fs::symlink(&first.socket, &link).unwrap();
    let mut follow = DockerRunner::new(&link).follow(&name);
    let heard =
        tokio::time::timeout(Duration::from_secs(20), follow.next()).await.unwrap().unwrap();
    assert!(matches!(heard.turn, Turn::Attempt(_)));
    let second = served_with(|view| put(view, succeeded("x", "web", &whole))).await;
    second.transcripts.append("x", 1, &whole);
    second.transcripts.end("x", 1);
    assert!(first.stop().await);
    std::fs::remove_file(&link).unwrap();
    std::os::unix::fs::symlink(&second.socket, &link).unwrap();
    let mut words = vec![];
    loop {
        let event = tokio::time::timeout(Duration::from_secs(20), follow.next()).await.unwrap();
        let event = event.unwrap();
        words.push(format!("{:?}", event.turn).split('(').next().unwrap().to_owned());
        if matches!(event.turn, Turn::End(_)) {
            break;
        }
    }
    let expected = "Text ToolUse ToolUse ToolResult ToolResult ApiRetry Text Result End";
    assert_eq!(words.join(" "), expected);
}
