//! The engine itself goes, hangs, or is another one.

use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::bed::{Asleep, Bed, ENDS_WITHIN};
use crate::support::own_engine::OwnEngine;
use crate::support::proxy::{Fault, Hold};

const CREATE: &str = "/containers/create";
const START: &str = "/containers/*/start";

/// From 0.2 s to 5 s, doubling, a connection costs some requests at most: this is far above it, and does not grow with the
/// number of channels.
const PROBES_MAX: usize = 40;

#[test]
#[ignore = "make chaos"]
fn f01_engine_restarts() {
    let mut bed = Bed::with(&["a", "b"]);
    for signal in [Signal::TERM, Signal::KILL] {
        let ids = ["a", "b"].map(|channel| bed.run_of(channel).0);
        let mark = bed.proxy.mark();
        bed.engine.end(signal);
        bed.until_away();
        std::thread::sleep(Duration::from_secs(5));
        let probes = bed.proxy.since(mark).len();
        assert!(probes <= PROBES_MAX, "{probes} calls: {:#?}", bed.proxy.since(mark));
        bed.engine.start();
        bed.ground.until_converged(&["a", "b"]);
        let now = ["a", "b"].map(|channel| bed.run_of(channel).0);
        // What an engine that was killed left behind may be beyond starting.
        assert!(signal == Signal::KILL || now == ids, "the same containers");
        bed.accept_stranger();
    }
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f02_engine_restarts_and_its_containers_live() {
    let mut engine = OwnEngine::new();
    engine.end(Signal::TERM);
    engine.flags.push("--live-restore".to_owned());
    engine.start();
    let mut bed = Bed::on(engine);
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    let before = ["a", "b"].map(|channel| bed.run_of(channel));
    let mark = bed.proxy.mark();
    for signal in [Signal::TERM, Signal::KILL] {
        bed.engine.end(signal);
        bed.until_away();
        bed.engine.start();
        bed.ground.until_converged(&["a", "b"]);
        assert_eq!(["a", "b"].map(|channel| bed.run_of(channel)), before, "adopted");
    }
    assert_eq!(bed.changes(mark), [], "nothing was to be done");
    // The stream is heard again.
    bed.kill("a");
    bed.until_another_run("a", &before[0]);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f04_containerd_killed() {
    let mut bed = Bed::with(&["a", "b"]);
    let before = ["a", "b"].map(|channel| bed.run_of(channel));
    let mark = bed.proxy.mark();
    bed.engine.replace_containerd(|| {});
    bed.ground.until("the engine has its containerd again", |ground| {
        ground.try_docker(&["exec", &ground.container("a"), "true"]).code == 0
    });
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(["a", "b"].map(|channel| bed.run_of(channel)), before, "nothing happened to them");
    assert_eq!(bed.changes(mark), []);
    // An end of which nobody tells the engine: what it takes for running is running, until it looks itself.
    let process = bed.ground.shell("b")["State"]["Pid"].as_i64().unwrap();
    let process = Pid::from_raw(i32::try_from(process).unwrap()).unwrap();
    bed.engine.replace_containerd(|| kill_process(process, Signal::KILL).unwrap());
    bed.engine.end(Signal::TERM);
    bed.until_away();
    bed.engine.start();
    bed.until_another_run("b", &before[1]);
    bed.accept_stranger();
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f05_shim_killed() {
    let mut bed = Bed::with(&["a", "b"]);
    let (a, b) = (bed.run_of("a"), bed.run_of("b"));
    bed.engine.kill_shim(a.0.as_str().unwrap());
    bed.until_another_run("a", &a);
    assert_eq!(bed.run_of("b"), b);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f06_engine_hangs() {
    let mut bed = Bed::with(&["a"]);
    let before = bed.run_of("a");
    let mark = bed.proxy.mark();
    let asleep = Asleep::new(bed.engine.pid());
    // What is sent now is done later, when nobody waits for it any more, or not at all.
    bed.write("b", "");
    bed.until_away();
    let asked = bed.proxy.since(mark).len();
    assert!(asked <= PROBES_MAX, "{:#?}", bed.proxy.since(mark));
    drop(asleep);
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.run_of("a"), before);
    // An operator ends in time, whatever hangs.
    let asleep = Asleep::new(bed.engine.pid());
    bed.write("c", "");
    std::thread::sleep(Duration::from_secs(1));
    let took = bed.ground.stop();
    assert!(took < ENDS_WITHIN, "{took:?}");
    drop(asleep);
    bed.ground.start();
    bed.ground.until_converged(&["a", "b", "c"]);
    assert_eq!(bed.run_of("a"), before);
    bed.finish(&["a", "b", "c"]);
}

#[test]
#[ignore = "make chaos"]
fn f49_another_engine() {
    let mut bed = Bed::with(&["a"]);
    let before = bed.run_of("a");
    bed.proxy.refuse();
    bed.until_away();
    bed.engine.end(Signal::TERM);
    bed.engine.become_another();
    bed.engine.start();
    let image = bed.ground.image.clone();
    bed.ground.import_busybox(&image);
    bed.accept_stranger();
    bed.proxy.accept();
    bed.ground.until_converged(&["a"]);
    assert_ne!(bed.run_of("a").0, before.0);
    let events = bed.ground.chanop(&["get", "events"]).well();
    assert!(events.contains("another engine answers"), "it is said: {events}");
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f51_a_herd_after_an_outage() {
    let names: Vec<String> = (1..=24).map(|number| format!("c{number:02}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut bed = Bed::new();
    for channel in &names {
        bed.write(channel, "  network: {mode: None}\n");
    }
    bed.ground.start();
    bed.ground.until_converged(&names);
    let mark = bed.proxy.mark();
    bed.fault("*", "*", Fault::DropRequest);
    bed.proxy.cut("GET", "/events");
    bed.until_away();
    let containers: Vec<String> = names.iter().map(|name| bed.ground.container(name)).collect();
    let gone: Vec<&str> = containers[..12].iter().map(String::as_str).collect();
    let dead: Vec<&str> = containers[12..].iter().map(String::as_str).collect();
    bed.ground.docker(&[&["rm", "-f"], gone.as_slice()].concat());
    bed.ground.docker(&[&["kill"], dead.as_slice()].concat());
    std::thread::sleep(Duration::from_secs(10));
    let probes = bed.proxy.since(mark).len();
    assert!(probes <= PROBES_MAX, "{probes} calls: {:#?}", bed.proxy.since(mark));
    bed.proxy.heal();
    // Creates begin slowly: one, and as many more as went well.
    let create = Hold::new();
    bed.fault("POST", CREATE, Fault::HoldAnswer(create.clone()));
    let mark = bed.proxy.mark();
    create.until_reached(1);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(create.reached(), 1);
    create.release();
    bed.ground.until_converged(&names);
    assert_eq!(bed.asked(mark, "POST", CREATE), 12, "{:#?}", bed.changes(mark));
    let starts = bed.asked(mark, "POST", START);
    assert_eq!(starts, 24, "{}", bed.ground.dump(&format!("{:#?}", bed.changes(mark))));
    bed.finish(&names);
}
