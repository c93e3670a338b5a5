//! Two operators, and one that dies at each of its steps.

use rustix::process::{Signal, kill_process};

use super::bed::{Asleep, Bed, ENDS_WITHIN};
use crate::support::operator::Said;
use crate::support::proxy::{Fault, Hold};

#[test]
#[ignore = "make chaos"]
fn f47_a_second_operator() {
    let mut bed = Bed::with(&["a", "b"]);
    let before = ["a", "b"].map(|channel| bed.run_of(channel));
    let pid = bed.ground.pid().to_string();
    let mark = bed.proxy.mark();
    for stopped in [false, true] {
        let _asleep = stopped.then(|| Asleep::new(bed.operator()));
        for (state, says) in [("state", pid.as_str()), ("other", "--takeover")] {
            let socket = bed.ground.path("run/other.sock");
            let mut second = bed.ground.operator_command(&bed.ground.path(state), &socket);
            let second = Said::from(second.output().unwrap());
            assert_eq!(second.code, 1, "{second:?}");
            assert!(second.err.contains(says), "{second:?}");
        }
    }
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(["a", "b"].map(|channel| bed.run_of(channel)), before);
    assert_eq!(bed.changes(mark), [], "a second one changes nothing");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f48_operator_killed_at_every_step_of_a_change() {
    let mut bed = Bed::with(&["a", "b"]);
    let b = bed.run_of("b");
    let steps = [
        ("POST", "/containers/*/stop"),
        ("DELETE", "/containers/*"),
        ("POST", "/containers/create"),
        ("POST", "/containers/*/start"),
    ];
    for (number, (method, pattern)) in steps.into_iter().enumerate() {
        for done in [false, true] {
            let hold = Hold::new();
            let fault =
                if done { Fault::HoldAnswer(hold.clone()) } else { Fault::Hold(hold.clone()) };
            bed.once(method, pattern, fault);
            let word = format!("{number}-{done}");
            bed.change("a", &word);
            hold.until_reached(1);
            bed.ground.kill();
            hold.release();
            bed.proxy.heal();
            bed.ground.start();
            bed.until_changed("a", &word);
            bed.ground.until_converged(&["a", "b"]);
        }
    }
    assert_eq!(bed.run_of("b"), b);
    // Told to end, again and again.
    bed.change("a", "last");
    let operator = bed.operator();
    let began = bed.ground.elapsed();
    for _ in 0..20 {
        // It may be gone already, but it is not reaped, so its number is still its own.
        let _ = kill_process(operator, Signal::TERM);
    }
    bed.ground.reap();
    let took = bed.ground.elapsed().saturating_sub(began);
    assert!(took < ENDS_WITHIN, "{took:?}");
    bed.ground.start();
    bed.until_changed("a", "last");
    assert_eq!(bed.run_of("b"), b);
    bed.finish(&["a", "b"]);
}
