//! Runs under faults. What must hold beside the rest: each attempt is executed at most once, one that is said to have never started was
//! not executed, success is what the script really reached, and there is one record.

use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use super::bed::{Asleep, Bed};
use crate::support::own_engine::OwnEngine;
use crate::support::proxy::{Fault, Hold, Rule, When};
use crate::support::runs::attempts;

const CREATE: &str = "/containers/create";
const START: &str = "/containers/*/start";
const INSPECT: &str = "/containers/*/json";

/// A shell in `b`, and a channel `a` for runs.
fn bed(runs: &str) -> Bed {
    on(OwnEngine::new(), runs)
}

fn on(engine: OwnEngine, runs: &str) -> Bed {
    let mut bed = Bed::on(engine);
    bed.write("b", "");
    bed.ground.agent_channel("a", &format!("keepContainer: 0s{runs}"));
    bed.ground.start();
    bed.ground.until_converged(&["b"]);
    bed
}

/// The evidence of its last attempt.
fn evidence(run: &Value) -> &str {
    let all = run["status"]["attempts"].as_array().unwrap();
    all.last().and_then(|it| it["end"]["evidence"].as_str()).unwrap_or_default()
}

/// It has ended, and honestly: see the module.
fn ended(bed: &mut Bed, run: &str) -> Value {
    let ended = bed.ground.until_ended(run);
    let all = attempts(&ended);
    let ran = all.iter().filter(|attempt| !attempt.contains("NeverStarted")).count();
    let executions = bed.ground.executions("a", run);
    assert!(executions <= ran, "{executions} executions: {}", bed.ground.dump(&ended.to_string()));
    if ended["status"]["phase"] == "Succeeded" {
        assert_eq!(executions, 1, "{ended:#}");
        assert_ne!(evidence(&ended), "None", "{ended:#}");
        let printed = bed.ground.printed("a", run, 1);
        assert!(printed.contains("\"result\":\"done\""), "{printed}");
        let said = bed.ground.chanop(&["logs", &format!("run/{run}"), "--format", "raw"]).well();
        assert_eq!(said, printed, "{ended:#}");
    }
    ended
}

/// What is left of runs goes, and the rest is as it must be.
fn finish(mut bed: Bed) {
    let run = format!("{}_", bed.ground.container("a"));
    bed.ground.until("the runs' containers go", |ground| {
        !ground.containers().iter().any(|name| name.starts_with(&run))
    });
    bed.finish(&["b"]);
}

/// The container of its first attempt.
fn container(bed: &Bed, run: &str) -> Value {
    bed.ground.inspect(&[&bed.ground.attempt("a", run, 1)])[0]["Id"].clone()
}

#[test]
#[ignore = "make chaos"]
fn f01_engine_restarts_under_a_run() {
    let mut bed = bed("");
    for (run, signal) in [("told", Signal::TERM), ("killed", Signal::KILL)] {
        bed.ground.order(run, "a", "say:one until:never");
        bed.ground.until_phase(run, "Running");
        bed.engine.end(signal);
        bed.until_away();
        bed.engine.start();
        let ended = ended(&mut bed, run);
        let phase = ended["status"]["phase"].as_str().unwrap();
        assert!(["Failed", "Lost"].contains(&phase), "{ended:#}");
        assert_eq!(attempts(&ended).len(), 1, "agents have side effects: {ended:#}");
    }
    bed.accept_stranger();
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f02_engine_restarts_and_the_run_lives() {
    let mut engine = OwnEngine::new();
    engine.end(Signal::TERM);
    engine.flags.push("--live-restore".to_owned());
    engine.start();
    let mut bed = on(engine, "");
    for (run, signal) in [("told", Signal::TERM), ("killed", Signal::KILL)] {
        bed.ground.order(run, "a", &format!("say:one until:go-{run} say:two"));
        bed.ground.until_phase(run, "Running");
        let before = container(&bed, run);
        bed.engine.end(signal);
        bed.until_away();
        bed.engine.start();
        bed.ground.until_converged(&["b"]);
        assert_eq!(container(&bed, run), before);
        bed.ground.let_go("a", &format!("go-{run}"));
        let ended = ended(&mut bed, run);
        assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    }
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f03_engine_killed_while_it_starts_a_run() {
    let mut bed = bed("");
    for round in 0..3 {
        let run = format!("r{round}");
        let mark = bed.proxy.mark();
        bed.ground.order(&run, "a", "say:one sleep:1 say:two");
        bed.until_asked(mark, 1, "POST", START);
        std::thread::sleep(Duration::from_millis(50 * round));
        bed.engine.end(Signal::KILL);
        bed.engine.start();
        ended(&mut bed, &run);
    }
    bed.accept_stranger();
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f10_a_runs_start_done_answer_lost() {
    let mut bed = bed("");
    // It goes on meanwhile; and it has ended before anybody looks (F11).
    for (run, prompt) in [("slow", "say:one sleep:3 say:two"), ("quick", "say:one")] {
        bed.proxy.heal();
        bed.once("POST", START, Fault::DropAnswer);
        let mark = bed.proxy.mark();
        bed.ground.order(run, "a", prompt);
        let ended = ended(&mut bed, run);
        assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
        assert_eq!(bed.asked(mark, "POST", START), 1, "{:#?}", bed.changes(mark));
        assert_eq!(bed.asked(mark, "POST", CREATE), 1, "{:#?}", bed.changes(mark));
    }
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f12_a_start_is_carried_out_when_its_operator_is_dead() {
    let mut bed = bed("");
    for round in 0..2 {
        let run = format!("r{round}");
        let hold = Hold::new();
        bed.once("POST", START, Fault::Hold(hold.clone()));
        bed.ground.order(&run, "a", "say:one sleep:1 say:two");
        hold.until_reached(1);
        let asleep = Asleep::new(bed.engine.pid());
        hold.release();
        // Into the engine's ear, which does not listen.
        std::thread::sleep(Duration::from_millis(500));
        bed.ground.kill();
        bed.proxy.heal();
        bed.ground.spawn();
        if round == 1 {
            std::thread::sleep(Duration::from_secs(3));
        }
        drop(asleep);
        let ended = ended(&mut bed, &run);
        assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    }
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f29_a_run_without_memory() {
    let mut bed = bed("");
    let file = bed.ground.path("specs/a.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    bed.ground.write("a.yaml", &format!("{text}  resources: {{limits: {{memory: 64Mi}}}}\n"));
    bed.ground.until("the limit counts", |ground| {
        ground.shown("a")["spec"]["resources"]["limits"]["memory"] == "64Mi"
    });
    bed.ground.order("eats", "a", "say:one eat");
    let eats = ended(&mut bed, "eats");
    assert_eq!(eats["status"]["phase"], "Failed", "{eats:#}");
    assert_eq!(attempts(&eats), ["1 First Failed OomKilled"], "{eats:#}");
    // Only a child of the agent's, which goes on.
    bed.ground.order("child", "a", "say:one feed say:two");
    let child = ended(&mut bed, "child");
    assert_eq!(child["status"]["phase"], "Succeeded", "{child:#}");
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f35_an_ended_run_removed_by_hand_before_its_record() {
    let mut bed = bed("");
    bed.ground.order("seen", "a", "say:one until:go say:two");
    bed.ground.until_phase("seen", "Running");
    let hold = Hold::new();
    bed.proxy.rule(Rule::on("GET", INSPECT, Fault::Hold(hold.clone())).when(When::Nth(1)));
    bed.ground.let_go("a", "go");
    hold.until_reached(1);
    bed.ground.docker(&["rm", "-f", &bed.ground.attempt("a", "seen", 1)]);
    hold.release();
    let seen = ended(&mut bed, "seen");
    assert_eq!(attempts(&seen).len(), 1, "{seen:#}");

    bed.ground.order("unseen", "a", "say:one until:gone say:two");
    bed.ground.until_phase("unseen", "Running");
    bed.ground.kill();
    bed.ground.let_go("a", "gone");
    let container = bed.ground.attempt("a", "unseen", 1);
    bed.ground.docker(&["wait", &container]);
    bed.ground.docker(&["rm", &container]);
    bed.ground.start();
    let unseen = bed.ground.until_ended("unseen");
    assert_eq!(bed.ground.executions("a", "unseen"), 1);
    assert_eq!(attempts(&unseen).len(), 1, "{unseen:#}");
    assert_ne!(unseen["status"]["phase"], "Succeeded", "nobody heard its last word: {unseen:#}");
    // What is on record stays.
    bed.ground.kill();
    bed.ground.start();
    assert_eq!(bed.ground.run("seen")["status"]["attempts"], seen["status"]["attempts"]);
    finish(bed);
}

#[test]
#[ignore = "make chaos"]
fn f36_a_run_is_given_a_restart_policy_and_started_by_hand() {
    let mut bed = bed("");
    let file: PathBuf = bed.ground.path("specs/a.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    bed.ground.write("a.yaml", &text.replace("keepContainer: 0s", "keepContainer: 20s"));
    bed.ground.until("the time counts", |ground| {
        ground.shown("a")["spec"]["runs"]["keepContainer"] == "20s"
    });
    bed.ground.order("fix", "a", "say:one until:go say:two");
    bed.ground.until_phase("fix", "Running");
    let container = bed.ground.attempt("a", "fix", 1);
    bed.ground.docker(&["update", "--restart", "always", &container]);
    bed.ground.until("the policy is as it was", |ground| {
        ground.inspect(&[&container])[0]["HostConfig"]["RestartPolicy"]["Name"] == "no"
    });
    bed.ground.let_go("a", "go");
    let before = ended(&mut bed, "fix");
    assert_eq!(before["status"]["phase"], "Succeeded", "{before:#}");
    bed.ground.docker(&["start", &container]);
    bed.ground.until("its container goes", |ground| ground.inspect(&[&container]).is_null());
    let after = ended(&mut bed, "fix");
    assert_eq!(after["status"]["attempts"], before["status"]["attempts"]);
    finish(bed);
}
