//! Answers that are lost, late, wrong, or the second of two.

use std::time::Duration;

use super::bed::Bed;
use crate::support::proxy::{Fault, Hold, Rule, When, count};

const CREATE: &str = "/containers/create";
const START: &str = "/containers/*/start";
const STOP: &str = "/containers/*/stop";
const REMOVE: &str = "/containers/*";

#[test]
fn f09_create_done_answer_lost() {
    let mut bed = Bed::new();
    bed.write("a", "");
    bed.once("POST", CREATE, Fault::DropAnswer);
    bed.ground.start();
    bed.ground.until_converged(&["a"]);
    // The first was found by its name; since nobody knows whether its files were copied, it made room for a second.
    assert_eq!(bed.asked(0, "POST", CREATE), 2, "{:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "DELETE", REMOVE), 1, "{:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "POST", START), 1, "{:#?}", bed.changes(0));
    bed.finish(&["a"]);
}

#[test]
fn f10_start_done_answer_lost() {
    let mut bed = Bed::new();
    bed.write("a", "");
    bed.once("POST", START, Fault::DropAnswer);
    bed.ground.start();
    bed.ground.until_converged(&["a"]);
    assert_eq!(bed.asked(0, "POST", CREATE), 1, "{:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "POST", START), 1, "{:#?}", bed.changes(0));
    bed.finish(&["a"]);
}

#[test]
fn f13_remove_done_answer_lost() {
    let mut bed = Bed::with(&["a"]);
    let mark = bed.proxy.mark();
    bed.once("DELETE", REMOVE, Fault::DropAnswer);
    bed.change("a", "new");
    bed.until_changed("a", "new");
    for (method, pattern) in [("POST", STOP), ("DELETE", REMOVE), ("POST", CREATE), ("POST", START)]
    {
        assert_eq!(bed.asked(mark, method, pattern), 1, "{pattern}: {:#?}", bed.changes(mark));
    }
    bed.finish(&["a"]);
}

#[test]
fn f14_stop_done_answer_lost() {
    let mut bed = Bed::with(&["a"]);
    let mark = bed.proxy.mark();
    bed.once("POST", STOP, Fault::DropAnswer);
    bed.change("a", "new");
    bed.until_changed("a", "new");
    for (method, pattern) in [("POST", STOP), ("DELETE", REMOVE), ("POST", CREATE), ("POST", START)]
    {
        assert_eq!(bed.asked(mark, method, pattern), 1, "{pattern}: {:#?}", bed.changes(mark));
    }
    bed.finish(&["a"]);
}

#[test]
fn f21_bursts_of_500_and_503() {
    const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
    let mut bed = Bed::with(&CHANNELS);
    let mark = bed.proxy.mark();
    for (status, percent, seed) in [(500, 15, 21), (503, 18, 12)] {
        let rule = Rule::on("*", "*", Fault::error(status, "no luck"));
        bed.proxy.rule(rule.when(When::Percent(percent, seed)));
    }
    bed.change("a", "new");
    bed.kill("b");
    bed.ground.docker(&["rm", "-f", &bed.ground.container("c")]);
    std::thread::sleep(Duration::from_secs(4));
    let asked = bed.proxy.since(mark);
    let failed = asked.iter().filter(|line| line.fault.is_some()).count();
    assert!(failed > 0, "nothing was hit: {asked:#?}");
    // What fails is tried later and later: three channels, and a connection that is made anew, in four seconds.
    assert!(asked.len() < 200, "{} calls: {asked:#?}", asked.len());
    bed.proxy.heal();
    bed.until_changed("a", "new");
    bed.finish(&CHANNELS);
}

#[test]
#[ignore = "make chaos"]
fn f07_one_class_of_calls_hangs() {
    let mut bed = Bed::new();
    bed.write("a", "");
    let start = Hold::new();
    bed.once("POST", START, Fault::Hold(start.clone()));
    bed.ground.start();
    start.until_reached(1);
    for channel in ["b", "c"] {
        bed.write(channel, "");
        bed.ground.until_reason(channel, "Ready", "Running");
    }
    assert!(bed.ground.running("a").is_none());
    start.release();
    bed.ground.until_converged(&["a", "b", "c"]);
    // Lists.
    let lists = Hold::new();
    bed.fault("GET", "/containers/json", Fault::Hold(lists.clone()));
    bed.ground.chanop(&["reconcile"]).well();
    lists.until_reached(1);
    let before = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &before);
    lists.release();
    bed.proxy.heal();
    // Looks at one of them.
    let looks = Hold::new();
    let a = bed.run_of("a");
    let of_a = format!("/containers/{}/json", a.0.as_str().unwrap());
    bed.fault("GET", &of_a, Fault::Hold(looks.clone()));
    bed.kill("a");
    looks.until_reached(1);
    let before = bed.run_of("c");
    bed.kill("c");
    bed.until_another_run("c", &before);
    looks.release();
    bed.until_another_run("a", &a);
    bed.finish(&["a", "b", "c"]);
}

#[test]
#[ignore = "make chaos"]
fn f08_answers_that_stall_after_the_head_or_break_off() {
    let mut bed = Bed::with(&["a", "b"]);
    let mark = bed.proxy.mark();
    let before = bed.run_of("a");
    // A look has ten seconds, all of it.
    bed.once("GET", "/containers/*/json", Fault::StallAfterHead);
    bed.kill("a");
    bed.until_another_run("a", &before);
    assert_eq!(bed.changes(mark).len(), 1, "{:#?}", bed.changes(mark));
    // A list has thirty; then the connection is made anew.
    bed.once("GET", "/containers/json", Fault::StallAfterHead);
    bed.ground.chanop(&["reconcile"]).well();
    bed.until_asked(mark, 1, "GET", "/events");
    bed.proxy.heal();
    bed.ground.until_converged(&["a", "b"]);
    // Half of an answer is none: of a look, a list, and a create, whose ID is then unknown.
    let mark = bed.proxy.mark();
    for (method, pattern) in
        [("GET", "/containers/*/json"), ("GET", "/containers/json"), ("POST", CREATE)]
    {
        bed.once(method, pattern, Fault::Truncate(12));
    }
    bed.change("a", "new");
    bed.until_changed("a", "new");
    let b = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &b);
    bed.ground.chanop(&["reconcile"]).well();
    bed.until_asked(mark, 2, "GET", "/containers/json");
    let cut = bed.proxy.since(mark).iter().filter(|line| line.fault.is_some()).count();
    assert_eq!(cut, 3, "{:#?}", bed.proxy.since(mark));
    assert_eq!(bed.asked(mark, "POST", START), 2, "{:#?}", bed.changes(mark));
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f11_start_done_answer_lost_and_it_ends_at_once() {
    let mut bed = Bed::new();
    bed.write("a", "  shell: {command: [\"true\"]}\n");
    bed.once("POST", START, Fault::DropAnswer);
    bed.ground.start();
    bed.ground.until_reason("a", "Ready", "CrashLoopBackOff");
    std::thread::sleep(Duration::from_secs(6));
    // Each start follows a look at how the last one ended, and the third waits for ten seconds.
    assert_eq!(bed.asked(0, "POST", START), 2, "{:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "POST", CREATE), 1, "{:#?}", bed.changes(0));
    let asked = bed.proxy.transcript();
    let starts = asked.iter().enumerate().filter(|(_, line)| line.is("POST", START));
    let places: Vec<usize> = starts.map(|(place, _)| place).collect();
    let between = &asked[places[0]..places[1]];
    assert!(count(between, "GET", "/containers/*/json") >= 1, "{between:#?}");
    bed.write("a", "");
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f15_name_taken_by_ours() {
    let mut bed = Bed::new();
    bed.write("a", "");
    bed.once("POST", CREATE, Fault::Twice);
    bed.ground.start();
    bed.ground.until_converged(&["a"]);
    let creates: Vec<Option<u16>> = bed
        .changes(0)
        .iter()
        .filter(|line| line.is("POST", CREATE))
        .map(|line| line.status)
        .collect();
    assert_eq!(creates, [Some(409), Some(201)], "found, and made completely");
    assert_eq!(bed.asked(0, "POST", START), 1);
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f17_name_taken_and_nobody_has_it() {
    let mut bed = Bed::new();
    bed.write("a", "");
    bed.write("b", "");
    let taken = format!(
        "Conflict. The container name \"/{}\" is already in use by container \"{}\". You have to remove (or rename) \
         that container to be able to reuse that name.",
        bed.ground.container("a"),
        "0".repeat(64)
    );
    let a = format!("{CREATE}?name={}", bed.ground.container("a"));
    bed.proxy.rule(Rule::on("POST", &a, Fault::error(409, &taken)).when(When::First(5)));
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.asked(0, "POST", &a), 6, "{:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "DELETE", REMOVE), 0, "nothing of anybody's was removed");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f18_removal_in_progress_or_impossible_for_a_while() {
    let mut bed = Bed::with(&["a", "b"]);
    let mark = bed.proxy.mark();
    let id = bed.run_of("a").0;
    let id = id.as_str().unwrap();
    let going = format!("removal of container {id} is already in progress");
    let busy = format!(
        "container {id}: driver \"overlay2\" failed to remove root filesystem: unlinkat: device or resource busy"
    );
    for (status, message) in [(409, &going), (500, &busy)] {
        bed.proxy
            .rule(Rule::on("DELETE", REMOVE, Fault::error(status, message)).when(When::First(2)));
    }
    // The fifth is overtaken by a hand.
    let fifth = Hold::new();
    bed.once("DELETE", REMOVE, Fault::Hold(fifth.clone()));
    bed.change("a", "new");
    let before = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &before);
    fifth.until_reached(1);
    bed.ground.docker(&["rm", "-f", id]);
    fifth.release();
    bed.until_changed("a", "new");
    let asked = bed.proxy.since(mark);
    let removes: Vec<Option<u16>> =
        asked.iter().filter(|line| line.is("DELETE", REMOVE)).map(|line| line.status).collect();
    assert_eq!(removes, [409, 409, 500, 500, 404].map(Some), "{asked:#?}");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f19_done_already_by_hand() {
    let mut bed = Bed::new();
    bed.write("a", "");
    let (start, stop) = (Hold::new(), Hold::new());
    bed.once("POST", START, Fault::Hold(start.clone()));
    bed.once("POST", STOP, Fault::Hold(stop.clone()));
    bed.ground.start();
    start.until_reached(1);
    bed.ground.docker(&["start", &bed.ground.container("a")]);
    let before = bed.run_of("a");
    start.release();
    bed.ground.until_converged(&["a"]);
    assert_eq!(bed.run_of("a"), before, "the hand's start is as good as any");
    bed.change("a", "new");
    stop.until_reached(1);
    bed.ground.docker(&["stop", &bed.ground.container("a")]);
    stop.release();
    bed.until_changed("a", "new");
    // It runs before its start is answered.
    bed.ground.until_converged(&["a"]);
    for (pattern, status) in [(START, [304, 204].as_slice()), (STOP, &[304])] {
        let asked = bed.proxy.transcript();
        let found: Vec<u16> = asked
            .iter()
            .filter(|line| line.is("POST", pattern))
            .filter_map(|line| line.status)
            .collect();
        assert_eq!(found, status, "{pattern}");
    }
    let log = bed.ground.log();
    let complaint = log.lines().find(|line| line.contains("channel/") && !line.contains(" INFO "));
    assert_eq!(complaint, None, "{log}");
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f22_api_version_too_old_or_too_new() {
    let mut bed = Bed::new();
    bed.write("a", "");
    for (newest, oldest, says) in
        [("1.40", "1.12", "1.41 (Docker 20.10)"), ("1.99", "1.60", "upgrade chanop")]
    {
        bed.proxy.heal();
        let version = format!(
            "{{\"Version\":\"99\",\"ApiVersion\":\"{newest}\",\"MinAPIVersion\":\"{oldest}\"}}"
        );
        bed.fault("GET", "/version", Fault::Answer(200, version));
        if newest == "1.40" {
            bed.ground.start();
        }
        bed.until_unready(says);
    }
    assert_eq!(bed.changes(0), [], "nothing is asked of an engine that is not understood");
    // An engine that was replaced while the operator runs.
    bed.proxy.heal();
    bed.ground.until_converged(&["a"]);
    let mark = bed.proxy.mark();
    let refused = "client version 1.41 is too new. Maximum supported API version is 1.40";
    bed.once("GET", "/containers/json", Fault::error(400, refused));
    bed.ground.chanop(&["reconcile"]).well();
    bed.until_asked(mark, 1, "GET", "/version");
    bed.finish(&["a"]);
}
