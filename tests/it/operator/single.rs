//! One operator an engine and instance, and its end.

use std::time::Duration;

use serde_json::Value;

use crate::support::operator::{Ground, Said};

const CHANNELS: [&str; 2] = ["a", "b"];

fn two() -> Ground {
    let mut ground = Ground::new();
    for channel in CHANNELS {
        ground.channel(&format!("{channel}.yaml"), channel, "");
    }
    ground.start();
    ground.until_converged(&CHANNELS);
    ground
}

fn starts(ground: &Ground) -> Vec<Value> {
    CHANNELS.iter().map(|channel| ground.shell(channel)["State"]["StartedAt"].clone()).collect()
}

#[test]
fn a_second_operator_is_refused_by_the_lock_and_one_of_another_state_by_the_anchor_unless_it_takes_over()
 {
    let mut ground = two();
    let before = starts(&ground);
    let socket = ground.path("run/other.sock");
    let second = ground.operator_command(&ground.path("state"), &socket).output().unwrap();
    let second = Said::from(second);
    assert_eq!(second.code, 1);
    assert!(second.err.contains(&ground.pid().to_string()), "the holder is named: {}", second.err);
    let other = ground.operator_command(&ground.path("other"), &socket).output().unwrap();
    let other = Said::from(other);
    assert_eq!(other.code, 1);
    assert!(other.err.contains("--takeover"), "the way out is named: {}", other.err);
    ground.until_converged(&CHANNELS);

    // The state directory is lost.
    ground.kill();
    std::fs::rename(ground.path("state"), ground.path("lost")).unwrap();
    let refused = ground.operator_command(&ground.path("state"), &socket).output().unwrap();
    assert_eq!(refused.status.code(), Some(1), "without a word nothing is taken over");
    ground.flags.push("--takeover".to_owned());
    ground.start();
    ground.flags.pop();
    ground.until_converged(&CHANNELS);
    let containers = CHANNELS.map(|channel| ground.container(channel));
    assert_eq!(ground.containers(), containers);
    drop(before);
    // From now on it is the new one's.
    let before = starts(&ground);
    ground.stop();
    ground.start();
    ground.until_converged(&CHANNELS);
    assert_eq!(starts(&ground), before, "adopted as they are");
}

#[test]
fn the_operator_ends_within_ten_seconds_and_its_shells_run_on() {
    let mut ground = two();
    let before = starts(&ground);
    // With work on its way, too.
    for number in 0..6 {
        ground.channel(&format!("more{number}.yaml"), &format!("more{number}"), "");
    }
    ground.until("it works", |ground| ground.containers().len() > CHANNELS.len());
    let took = ground.stop();
    assert!(took < Duration::from_secs(10), "{took:?}");
    assert!(CHANNELS.iter().all(|channel| ground.running(channel).is_some()));
    ground.start();
    ground.until_converged(&["a", "b", "more0", "more1", "more2", "more3", "more4", "more5"]);
    assert_eq!(starts(&ground), before, "adopted as they are");
}
