//! One operator an engine and instance, and its end.

use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::operator::{Ground, Said, program};

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

/// A copy of the state directory, as a backup that is put in place beside the original.
fn copy_of_state(ground: &Ground) -> PathBuf {
    let copy = ground.path("copy");
    let copied = program("cp").arg("-a").arg(ground.path("state")).arg(&copy).status().unwrap();
    assert!(copied.success());
    copy
}

/// A second operator, which ends with the test.
struct Second(Child);

impl Drop for Second {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn asks(ground: &Ground, socket: &Path, arguments: &[&str]) -> Said {
    let mut command = ground.chanop_command(arguments);
    command.env("CHANOP_SOCKET", socket).output().unwrap().into()
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
fn an_operator_on_a_copied_state_directory_is_refused() {
    let mut ground = two();
    let before = starts(&ground);
    let copy = copy_of_state(&ground);
    let second = ground.operator_command(&copy, &ground.path("run/other.sock")).output().unwrap();
    let second = Said::from(second);
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(second.err.contains("copy of this state directory"), "{}", second.err);
    let original = ground.path("state").display().to_string();
    assert!(second.err.contains(&original) && second.err.contains("--takeover"), "{}", second.err);
    // Nor is it let in when nothing says whose the instance is but its containers.
    let anchor = format!("chanop_anchor_{}", ground.instance);
    ground.docker(&["volume", "rm", &anchor]);
    let second = ground.operator_command(&copy, &ground.path("run/other.sock")).output().unwrap();
    let second = Said::from(second);
    assert_eq!(second.code, 1, "{}", second.err);
    assert!(second.err.contains("containers of instance"), "{}", second.err);
    ground.until_converged(&CHANNELS);
    assert_eq!(starts(&ground), before);
}

#[test]
fn an_operator_whose_instance_is_taken_over_ends_at_once() {
    let mut ground = two();
    let (copy, socket) = (copy_of_state(&ground), ground.path("run/other.sock"));
    let mut command = ground.operator_command(&copy, &socket);
    let log = std::fs::File::create(ground.path("other.log")).unwrap();
    command.arg("--takeover").stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    let _second = Second(command.spawn().unwrap());
    ground.until("the second holds the instance", |ground| {
        asks(ground, &socket, &["get", "events"]).out.contains("TookOver")
    });
    // The first would change something.
    ground.channel("a.yaml", "a", "  resources: {limits: {memory: 77Mi}}\n");
    ground.until_gone();
    let log = ground.log();
    assert!(log.contains("an operator on a copy of this state directory"), "{log}");
    // The second goes on with what the first left.
    ground.until("the second changes the limit", |ground| {
        ground.shell("a")["HostConfig"]["Memory"] == 77 << 20
    });
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
