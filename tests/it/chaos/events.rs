//! Events that are lost, doubled and out of order, streams that break or go deaf, and lists of yesterday.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use super::bed::Bed;
use crate::support::proxy::{Fault, Hold, ask};

/// Docker replays as many at most.
const RING: usize = 256;

#[test]
fn f23_event_gap_larger_than_the_engines_memory() {
    let mut bed = Bed::with(&["a", "b"]);
    let before = bed.run_of("a");
    let mark = bed.proxy.mark();
    bed.until_one_stream();
    bed.fault("GET", "/events", Fault::DropRequest);
    assert_eq!(bed.proxy.cut("GET", "/events"), 1);
    bed.kill("a");
    // More than the ring holds: the death is not replayed.
    let socket = bed.engine.socket();
    for number in 0..=RING / 2 {
        let name = format!("{}-{number}", bed.ground.instance);
        let (made, _) =
            ask(&socket, "POST", "/volumes/create", &format!("{{\"Name\":\"{name}\"}}"));
        let (gone, _) = ask(&socket, "DELETE", &format!("/volumes/{name}"), "");
        assert_eq!((made, gone), (201, 204));
    }
    assert!(bed.asked(mark, "GET", "/events") > 0);
    bed.proxy.heal();
    let after = bed.until_another_run("a", &before);
    assert_eq!(after["Id"], before.0, "the same container");
    let changes = bed.changes(mark);
    assert_eq!(changes.len(), 1, "one start, and nothing of b: {changes:#?}");
    bed.finish(&["a", "b"]);
}

#[test]
fn f28_stale_list() {
    let mut bed = Bed::with(&["a"]);
    let before = bed.run_of("a");
    let mark = bed.proxy.mark();
    // The last list is from when there was nothing yet.
    bed.once("GET", "/containers/json", Fault::Stale);
    bed.ground.chanop(&["reconcile"]).well();
    bed.ground.until("the old list was served", |_| {
        bed.proxy.since(mark).iter().any(|line| line.fault == Some("stale"))
    });
    bed.ground.until_converged(&["a"]);
    assert_eq!(bed.run_of("a"), before, "not made anew, not restarted");
    bed.proxy.heal();
    // And from when it ran: its end is seen all the same.
    bed.ground.chanop(&["reconcile"]).well();
    bed.until_asked(mark, 2, "GET", "/containers/json");
    bed.once("GET", "/containers/json", Fault::Stale);
    bed.kill("a");
    bed.ground.chanop(&["reconcile"]).well();
    let after = bed.until_another_run("a", &before);
    assert_eq!(after["Id"], before.0);
    assert_eq!(bed.asked(mark, "POST", "/containers/*/start"), 1, "{:#?}", bed.changes(mark));
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f24_events_dropped_and_late() {
    let mut bed = Bed::new();
    // The net is a list of every 48 to 72 seconds.
    bed.ground.patience = Duration::from_mins(2);
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    let deaths_are_lost = |line: &str| {
        if line.contains("\"Action\":\"die\"") { Vec::new() } else { vec![line.to_owned()] }
    };
    bed.fault("GET", "/events", Fault::lines(deaths_are_lost));
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    let mark = bed.proxy.mark();
    // An own stop is known to have happened.
    bed.change("a", "new");
    bed.until_changed("a", "new");
    let before = bed.run_of("b");
    bed.kill("b");
    let after = bed.until_another_run("b", &before);
    assert_eq!(after["Id"], before.0);
    assert_eq!(bed.changes(mark).len(), 5, "{:#?}", bed.changes(mark));
    // Late is not lost: a change too many would be seen below.
    bed.proxy.heal();
    bed.fault("GET", "/events", Fault::Drip(Duration::from_millis(300)));
    bed.until_one_stream();
    let mark = bed.proxy.mark();
    assert_eq!(bed.proxy.cut("GET", "/events"), 1);
    bed.until_asked(mark, 1, "GET", "/events");
    bed.change("a", "newer");
    bed.until_changed("a", "newer");
    let before = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &before);
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.changes(mark).len(), 5, "{:#?}", bed.changes(mark));
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f25_events_doubled_and_out_of_order() {
    let mut bed = Bed::new();
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    // Each is followed by the one before it, and by itself once more.
    let mut last = String::new();
    let doubled = move |line: &str| {
        let before = std::mem::replace(&mut last, line.to_owned());
        let lines = [line.to_owned(), before, line.to_owned()];
        lines.into_iter().filter(|line| !line.is_empty()).collect()
    };
    bed.fault("GET", "/events", Fault::lines(doubled));
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.asked(0, "POST", "/containers/create"), 2, "{:#?}", bed.changes(0));
    let mark = bed.proxy.mark();
    bed.change("a", "new");
    bed.until_changed("a", "new");
    let before = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &before);
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.changes(mark).len(), 5, "{:#?}", bed.changes(mark));
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f26_the_head_comes_before_the_subscription() {
    let mut bed = Bed::new();
    bed.write("a", "");
    let subscription = Hold::new();
    bed.once("GET", "/events", Fault::HeadFirst(subscription.clone()));
    bed.ground.start();
    subscription.until_reached(1);
    bed.ground.until_reason("a", "Ready", "Running");
    let before = bed.run_of("a");
    bed.kill("a");
    // Nobody was told yet.
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(bed.run_of("a"), before);
    let killed = bed.ground.elapsed();
    subscription.release();
    bed.until_another_run("a", &before);
    let took = bed.ground.elapsed().saturating_sub(killed);
    assert!(took < Duration::from_secs(10), "not only by the list of every minute: {took:?}");
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f27_stream_silently_dead() {
    let mut bed = Bed::new();
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    let dead = Arc::new(AtomicBool::new(false));
    let deaf = Arc::clone(&dead);
    let perhaps = move |line: &str| {
        if deaf.load(Ordering::SeqCst) { Vec::new() } else { vec![line.to_owned()] }
    };
    bed.once("GET", "/events", Fault::lines(perhaps));
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    dead.store(true, Ordering::SeqCst);
    let (mark, began) = (bed.proxy.mark(), bed.ground.elapsed());
    // The echo of an own change is missed.
    bed.change("a", "new");
    bed.until_asked(mark, 1, "GET", "/events");
    let took = bed.ground.elapsed().saturating_sub(began);
    assert!(took < Duration::from_secs(30), "{took:?}");
    let before = bed.run_of("b");
    let killed = bed.ground.elapsed();
    bed.kill("b");
    bed.until_another_run("b", &before);
    let took = bed.ground.elapsed().saturating_sub(killed);
    assert!(took < Duration::from_secs(10), "the new stream is heard: {took:?}");
    bed.until_one_stream();
    bed.finish(&["a", "b"]);
}
