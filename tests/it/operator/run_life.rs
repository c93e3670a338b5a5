//! A run's life, from its file or order to its record, and what people may do to it.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use serde_json::Value;

use crate::support::operator::Ground;
use crate::support::runs::attempts;

/// An operator with one channel that runs.
fn one(runs: &str) -> Ground {
    let mut ground = Ground::new();
    ground.agent_channel("a", runs);
    ground.start();
    ground.until_converged(&["a"]);
    ground
}

#[test]
fn a_run_from_a_file_ends_in_one_record_with_the_transcript_that_it_printed_and_leaves_no_container()
 {
    let mut ground = one("keepContainer: 2s");
    ground.run_file("fix", "a", "say:one tool:two say:three", "");
    let ended = ground.until_ended("fix");
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    assert_eq!(attempts(&ended), ["1 First Succeeded Succeeded"]);
    let status = &ended["status"];
    assert_eq!((&status["turns"], &status["tools"]), (&3.into(), &1.into()), "{status:#}");
    assert_eq!((&status["trigger"], &status["models"][0]), (&"file".into(), &"a-script".into()));
    // The agent says only what its session has cost, and that began with this run.
    assert_eq!(status["cost"], serde_json::json!({"dollars": 0.01, "basis": "exact"}));
    let end = &status["attempts"][0]["end"];
    assert_eq!((&end["exitCode"], &end["evidence"]), (&0.into(), &"Init".into()), "{end:#}");
    let printed = ground.printed("a", "fix", 1);
    assert_eq!(ground.chanop(&["logs", "run/fix", "--format", "raw"]).well(), printed);
    assert_eq!(end["transcript"]["bytes"], printed.len());
    assert_eq!(ground.executions("a", "fix"), 1);
    let directory = ground.path("state/runs/fix");
    ground.until("the transcript is packed", |_| directory.join("1.jsonl.zst").is_file());
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&directory), mode(&directory.join("1.jsonl.zst"))), (0o700, 0o600));
    assert_eq!(ground.chanop(&["logs", "run/fix", "--format", "raw"]).well(), printed);

    ground.until("its container goes", |ground| ground.containers().is_empty());
    assert_eq!(ground.run("fix")["status"]["attempts"], status["attempts"], "the record stays");
    let table = ground.chanop(&["get", "runs"]).well();
    assert!(table.contains("fix") && table.contains("Succeeded"), "{table}");
    let told = ground.chanop(&["describe", "run/fix"]).well();
    for word in ["Succeeded", "a-script", "$0.01", "fix.yaml:1"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    let text = ground.chanop(&["logs", "run/fix"]).well();
    for word in ["one", "two", "three"] {
        assert!(text.contains(word), "{word}: {text}");
    }
}

#[test]
fn damaged_state_of_the_cli_is_moved_aside_with_an_event() {
    let mut ground = one("keepContainer: 0s");
    // The home is made with the first container.
    ground.order("first", "a", "say:one");
    ground.until_ended("first");
    let state = ground.path("state/homes/a/.claude.json");
    fs::write(&state, "{\"half\":").unwrap();
    ground.order("fix", "a", "say:one");
    let ended = ground.until_ended("fix");
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    let kept = fs::read_to_string(ground.path("state/homes/a/.claude.json.damaged-1")).unwrap();
    assert_eq!(kept, "{\"half\":");
    let told = ground.chanop(&["get", "events", "-o", "json"]).well();
    assert!(told.contains("~/.claude.json was not a JSON object"), "{told}");
}

#[test]
fn an_edited_file_runs_nothing_and_a_raised_rerun_runs_it_once_more_under_the_next_number() {
    let mut ground = one("keepContainer: 0s");
    ground.run_file("fix", "a", "say:one", "");
    let first = ground.until_ended("fix");
    ground.run_file("fix", "a", "say:another", "");
    ground.until("the change is said", |ground| {
        let message = ground.run("fix")["status"]["message"].to_string();
        message.contains("raise spec.rerun")
    });
    // Gone, and back, as a checkout does.
    ground.unlink("fix.yaml");
    std::thread::sleep(Duration::from_secs(3));
    ground.run_file("fix", "a", "say:one", "");
    ground.kill();
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(ground.run("fix")["status"]["attempts"], first["status"]["attempts"]);
    assert_eq!(ground.executions("a", "fix"), 1);

    ground.run_file("fix", "a", "say:another", ", rerun: 1");
    let second = ground.until_some("it ran again", |ground| {
        let now = ground.run("fix");
        (now["status"]["rerun"] == 1 && now["status"]["phase"] == "Succeeded").then_some(now)
    });
    assert_eq!(attempts(&second), ["2 First Succeeded Succeeded"]);
    assert_eq!(ground.executions("a", "fix"), 2);
    assert!(ground.printed("a", "fix", 2).contains("another"));
}

#[test]
fn a_run_is_cancelled_by_its_file_the_api_and_the_command_line_and_when_its_file_goes_while_it_waits()
 {
    let mut ground = one("maxConcurrent: 3, terminationGracePeriodSeconds: 5, keepContainer: 0s");
    let words = "say:begun sleep:1000";
    ground.run_file("by-file", "a", words, "");
    assert_eq!(ground.order("by-api", "a", words), 201);
    assert_eq!(ground.order("by-api", "a", words), 409, "the name is the key");
    assert_eq!(ground.order("by-hand", "a", words), 201);
    for run in ["by-file", "by-api", "by-hand"] {
        ground.until("it has begun", |ground| ground.executions("a", run) == 1);
    }
    ground.run_file("waits", "a", words, "");
    ground.until_phase("waits", "Queued");
    ground.unlink("waits.yaml");
    let ended = ground.until_ended("waits");
    assert_eq!((&ended["status"]["phase"], attempts(&ended).len()), (&"Cancelled".into(), 0));

    ground.run_file("by-file", "a", words, ", cancel: true");
    let path = "/apis/chanop.dev/v1alpha1/runs/by-api/cancel";
    let (code, said) = ground.api("POST", path, r#"{"reason":"no longer wanted"}"#);
    assert!((200..300).contains(&code), "{code} {said}");
    ground.chanop(&["cancel", "run/by-hand", "--reason", "by hand"]).well();
    for (run, why) in
        [("by-file", "cancel is true"), ("by-api", "no longer wanted"), ("by-hand", "by hand")]
    {
        let ended = ground.until_ended(run);
        assert_eq!(ended["status"]["phase"], "Cancelled", "{ended:#}");
        assert_eq!(attempts(&ended), ["1 First Cancelled Cancelled"]);
        let cancel = ended["status"]["cancel"]["why"].to_string();
        assert!(cancel.contains(why), "{cancel}");
        assert_eq!(ground.chanop(&["wait", &format!("run/{run}")]).code, 4);
    }
    ground.until("nothing is left", |ground| ground.containers().is_empty());
    assert_eq!(ground.executions("a", "waits"), 0);
}

#[test]
fn a_deadline_ends_a_run_also_one_that_does_not_heed_and_each_end_has_its_exit_code() {
    let mut ground = one(
        "maxConcurrent: 6, activeDeadlineSeconds: 2, terminationGracePeriodSeconds: 1, keepContainer: 0s",
    );
    ground.order("late", "a", "deaf say:begun sleep:1000");
    ground.order("silent", "a", "exit:0");
    ground.order("failed", "a", "fail:1");
    ground.order("liar", "a", "die:7");
    let late = ground.until_ended("late");
    assert_eq!(late["status"]["reason"], "Deadline", "{late:#}");
    assert_eq!(late["status"]["attempts"][0]["end"]["exitCode"], 137, "{late:#}");
    assert_eq!(ground.executions("a", "late"), 1);
    for (run, phase, reason, code) in [
        ("late", "Failed", "Deadline", 124),
        ("silent", "Failed", "NoResult", 3),
        ("failed", "Failed", "Failed", 3),
        ("liar", "Failed", "Failed", 3),
    ] {
        let ended = ground.until_ended(run);
        let status = &ended["status"];
        assert_eq!((&status["phase"], &status["reason"]), (&phase.into(), &reason.into()));
        assert_eq!(ground.chanop(&["wait", &format!("run/{run}")]).code, code, "{run}");
    }
    let well = ground.chanop(&["run", "a", "-p", "say:hello", "--wait", "--name", "well"]);
    assert_eq!((well.code, well.out.as_str()), (0, "done\n"), "{well:?}");
    let followed = ground.chanop(&["run", "a", "-p", "say:hello fail:1", "--follow"]);
    assert_eq!(followed.code, 3, "{followed:?}");
    assert!(followed.out.contains("hello"), "{followed:?}");
}

#[test]
fn runs_wait_for_their_turn_and_go_in_the_order_in_which_they_came() {
    let mut ground = one("maxConcurrent: 1, keepContainer: 0s");
    let runs = ["zeta", "beta", "omega", "alpha"];
    for run in runs {
        assert_eq!(ground.order(run, "a", &format!("say:hello until:go-{run}")), 201);
    }
    for (at, run) in runs.into_iter().enumerate() {
        ground.until_phase(run, "Running");
        for (ahead, waits) in runs.into_iter().skip(at + 1).enumerate() {
            let now = ground.run(waits);
            assert_eq!(now["status"]["phase"], "Queued", "{now:#}");
            assert_eq!(now["status"]["ahead"], ahead + 1, "{waits} while {run} runs: {now:#}");
        }
        ground.let_go("a", &format!("go-{run}"));
        assert_eq!(ground.until_ended(run)["status"]["phase"], "Succeeded");
    }
    let bank = fs::read_to_string(ground.of_workspace("a", "bank")).unwrap();
    assert_eq!(bank.lines().collect::<Vec<_>>(), runs);
}

#[test]
fn a_suspended_channel_starts_no_run_and_lets_the_one_that_goes_on_finish() {
    let mut ground = one("maxConcurrent: 2, keepContainer: 0s");
    ground.order("goes-on", "a", "until:go");
    ground.until_phase("goes-on", "Running");
    ground.chanop(&["suspend", "channel/a"]).well();
    ground.order("waits", "a", "say:hello");
    ground.until("it says why it waits", |ground| {
        ground.run("waits")["status"]["reason"] == "Suspended"
    });
    ground.let_go("a", "go");
    assert_eq!(ground.until_ended("goes-on")["status"]["phase"], "Succeeded");
    assert_eq!(ground.executions("a", "waits"), 0);
    ground.chanop(&["resume", "channel/a"]).well();
    assert_eq!(ground.until_ended("waits")["status"]["phase"], "Succeeded");
}

#[test]
fn what_was_there_before_the_store_is_held_until_it_is_released() {
    let mut ground = Ground::new();
    ground.agent_channel("a", "maxConcurrent: 3, keepContainer: 0s");
    for run in ["old", "older"] {
        ground.run_file(run, "a", "say:hello", "");
    }
    ground.start();
    for run in ["old", "older"] {
        ground
            .until("it is held", |ground| ground.run(run)["status"]["reason"] == "HeldFirstSight");
    }
    ground.run_file("new", "a", "say:hello", "");
    assert_eq!(ground.until_ended("new")["status"]["phase"], "Succeeded");
    ground.kill();
    ground.start();
    ground.chanop(&["release", "run/old"]).well();
    assert_eq!(ground.until_ended("old")["status"]["phase"], "Succeeded");
    assert_eq!(ground.run("older")["status"]["reason"], "HeldFirstSight");
    assert_eq!(ground.executions("a", "older"), 0);
}

#[test]
fn hands_that_remove_a_running_one_lose_it_and_that_start_an_ended_one_run_nothing() {
    let mut ground = one("maxConcurrent: 2, keepContainer: 1h");
    ground.order("removed", "a", "say:begun sleep:1000");
    ground.order("started", "a", "say:hello");
    let before = ground.until_ended("started");
    ground.until("it has begun", |ground| ground.executions("a", "removed") == 1);
    // By the event of its end the engine has told its exit code: known, but nobody's success.
    ground.docker(&["rm", "-f", &ground.attempt("a", "removed", 1)]);
    let removed = ground.until_ended("removed");
    let phase = removed["status"]["phase"].as_str().unwrap();
    assert!(["Lost", "Failed"].contains(&phase), "{removed:#}");
    assert_eq!(attempts(&removed).len(), 1);
    assert_eq!(ground.executions("a", "removed"), 1);

    let container = ground.attempt("a", "started", 1);
    ground.docker(&["start", &container]);
    ground.until("it has ended again", |ground| {
        ground.inspect(&[&container])[0]["State"]["Running"] == false
    });
    assert_eq!(ground.executions("a", "started"), 1);
    assert_eq!(ground.run("started")["status"]["attempts"], before["status"]["attempts"]);
}

#[test]
fn a_record_that_retention_dropped_leaves_what_keeps_its_file_from_running_again() {
    let mut ground = one("history: {limit: 1}, keepContainer: 0s");
    ground.run_file("first", "a", "say:hello", "");
    ground.until_ended("first");
    ground.run_file("second", "a", "say:hello", "");
    ground.until_ended("second");
    // With a list of the engine's containers, the first of which is made at once.
    ground.kill();
    ground.start();
    ground.until("the older record is dropped", |ground| {
        ground.run("first")["status"]["reason"] == "Dropped"
    });
    ground.until("and its transcript", |ground| !ground.path("state/runs/first").exists());
    ground.kill();
    ground.start();
    ground.until_converged(&["a"]);
    let dropped = ground.run("first");
    assert_eq!(dropped["status"]["reason"], "Dropped", "{dropped:#}");
    assert_eq!(dropped["status"]["phase"], "Succeeded", "{dropped:#}");
    assert_eq!(ground.executions("a", "first"), 1);
    ground.run_file("first", "a", "say:hello", ", rerun: 1");
    let again = ground.until_some("it runs again", |ground| {
        let now = ground.run("first");
        (now["status"]["rerun"] == 1 && now["status"]["phase"] == "Succeeded").then_some(now)
    });
    let numbers: Vec<&Value> =
        again["status"]["attempts"].as_array().unwrap().iter().map(|it| &it["number"]).collect();
    assert_eq!(numbers, [&Value::from(2)], "numbers go on behind a record that is gone");
}
