//! `kill -9` of the operator at each step of a run: the next one adopts it; it is executed once, and has its record.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::support::operator::Ground;
use crate::support::proxy::{Fault, Hold, Proxy, Rule, When, count};
use crate::support::runs::attempts;

const ENGINE: &str = "/var/run/docker.sock";
const CREATE: &str = "/containers/create";
const START: &str = "/containers/*/start";
const INSPECT: &str = "/containers/*/json";

/// An operator with one channel that runs, whose way to the engine leads through a proxy.
fn one() -> (Proxy, Ground) {
    let proxy = Proxy::before(Path::new(ENGINE));
    let mut ground = Ground::behind(ENGINE.into(), proxy.socket());
    ground.agent_channel("a", "maxConcurrent: 4, keepContainer: 1h");
    ground.start();
    ground.until_converged(&["a"]);
    (proxy, ground)
}

/// Kills it while the next request of this kind is held, and starts another one.
fn killed_at(ground: &mut Ground, proxy: &Proxy, method: &str, pattern: &str, done: bool) {
    let hold = Hold::new();
    let fault = if done { Fault::HoldAnswer(hold.clone()) } else { Fault::Hold(hold.clone()) };
    proxy.rule(Rule::on(method, pattern, fault).when(When::Nth(1)));
    ground.order("fix", "a", "say:one tool:two sleep:1 say:three");
    hold.until_reached(1);
    ground.kill();
    hold.release();
    proxy.heal();
    ground.start();
}

/// It ended well, in one execution of this attempt, and what it said is there.
fn went_well(ground: &mut Ground, number: u32) -> Value {
    let ended = ground.until_ended("fix");
    assert_eq!(ended["status"]["phase"], "Succeeded", "{}", ground.dump(&ended.to_string()));
    assert_eq!(ground.executions("a", "fix"), 1, "{ended:#}");
    let last = attempts(&ended).pop().unwrap();
    assert!(last.starts_with(&format!("{number} ")), "{ended:#}");
    let said = ground.chanop(&["logs", "run/fix", "--format", "raw"]).well();
    assert_eq!(said, ground.printed("a", "fix", 1));
    ended
}

#[test]
fn killed_before_and_after_the_engine_heard_of_its_container() {
    for done in [false, true] {
        let (proxy, mut ground) = one();
        killed_at(&mut ground, &proxy, "POST", CREATE, done);
        went_well(&mut ground, 1);
        assert_eq!(count(&proxy.since(0), "POST", START), 1);
    }
}

#[test]
fn killed_after_its_start_and_before_the_answer() {
    let (proxy, mut ground) = one();
    killed_at(&mut ground, &proxy, "POST", START, true);
    went_well(&mut ground, 1);
    assert_eq!(count(&proxy.since(0), "POST", START), 1, "it is sent once, for ever");
}

#[test]
fn killed_between_its_permit_and_a_start_that_the_engine_never_hears_of() {
    let (proxy, mut ground) = one();
    // The request dies with the operator's connection.
    proxy.rule(Rule::on("POST", START, Fault::DelayBefore(Duration::from_mins(5))));
    let mark = proxy.mark();
    ground.order("fix", "a", "say:one");
    ground.until("the start was sent", |_| count(&proxy.since(mark), "POST", START) == 1);
    ground.kill();
    proxy.cut("POST", START);
    proxy.heal();
    ground.start();
    let ended = went_well(&mut ground, 2);
    assert_eq!(attempts(&ended)[0], "1 First NeverStarted -", "{ended:#}");
}

#[test]
fn killed_while_it_runs_and_while_it_ends_and_while_nobody_looks() {
    let (proxy, mut ground) = one();
    ground.order("fix", "a", "say:one until:go say:three");
    ground.until_phase("fix", "Running");
    let id = ground.inspect(&[&ground.attempt("a", "fix", 1)])[0]["Id"].clone();
    ground.kill();
    ground.start();
    let now = ground.until_phase("fix", "Running");
    assert_eq!(now["status"]["attempts"][0]["container"], id, "it is the same");

    // Its end is known to the engine, and not on record.
    let hold = Hold::new();
    proxy.rule(Rule::on("GET", INSPECT, Fault::HoldAnswer(hold.clone())));
    ground.let_go("a", "go");
    hold.until_reached(1);
    ground.kill();
    hold.release();
    proxy.heal();
    ground.start();
    let ended = went_well(&mut ground, 1);
    assert_eq!(ended["status"]["attempts"][0]["end"]["evidence"], "Init", "{ended:#}");

    ground.order("next", "a", "say:one sleep:2");
    ground.until_phase("next", "Running");
    ground.kill();
    let container = ground.attempt("a", "next", 1);
    ground.docker(&["wait", &container]);
    ground.start();
    let ended = ground.until_ended("next");
    assert_eq!(ended["status"]["phase"], "Succeeded", "{ended:#}");
    assert_eq!(ground.executions("a", "next"), 1);
    // An end that is on record does not change, whoever looks at it.
    ground.kill();
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(ground.run("next")["status"]["attempts"], ended["status"]["attempts"]);
}

#[test]
fn removed_while_nobody_looks_is_lost_and_not_run_again() {
    let (_proxy, mut ground) = one();
    ground.order("fix", "a", "say:one until:never");
    ground.until("it is heard", |ground| ground.chanop(&["logs", "run/fix"]).out.contains("one"));
    ground.kill();
    let container = ground.attempt("a", "fix", 1);
    ground.docker(&["rm", "-f", &container]);
    // Longer than the engine is asked for what was, when the operator returns.
    std::thread::sleep(Duration::from_secs(4));
    ground.start();
    let ended = ground.until_ended("fix");
    assert_eq!(ended["status"]["phase"], "Lost", "{ended:#}");
    assert_eq!(attempts(&ended), ["1 First Lost NoResult"]);
    assert_eq!(ground.chanop(&["wait", "run/fix"]).code, 5);
    assert_eq!(ground.executions("a", "fix"), 1);
    let said = ground.chanop(&["logs", "run/fix"]).well();
    assert!(said.contains("one"), "what was heard of it stays: {said}");
}
