//! "What happens when …": twelve channels in nested folders, and everything that hands and files can do to them.

use serde_json::Value;

use crate::support::operator::{Ground, condition};

/// Where each of twelve channels lies.
fn files() -> Vec<(String, String)> {
    let folders = ["team", "team/billing", "team/billing/eu"];
    (1..=12).map(|n| (format!("{}/c{n:02}.yaml", folders[n % 3]), format!("c{n:02}"))).collect()
}

fn file_of(name: &str) -> String {
    files().into_iter().find(|(_, channel)| channel == name).unwrap().0
}

/// A ground with twelve channels that run.
fn twelve(more: &str) -> Ground {
    let mut ground = Ground::new();
    start_twelve(&mut ground, more);
    ground
}

/// The same on a ground that is there.
pub(super) fn start_twelve(ground: &mut Ground, more: &str) {
    for (file, name) in files() {
        ground.channel(&file, &name, more);
    }
    ground.start();
    let all = files();
    let names: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    ground.until_converged(&names);
}

/// What must not change of a container that is not ours.
fn identity(container: &Value) -> [Value; 6] {
    ["Id", "Name", "RestartCount", "State", "Config", "HostConfig"]
        .map(|field| container[field].clone())
}

fn started(container: &Value) -> Value {
    container["State"]["StartedAt"].clone()
}

#[test]
fn whatever_hands_do_to_twelve_shells_is_healed_and_strangers_are_never_touched() {
    let mut ground = twelve("  deletion: {keepStopped: 2s}\n");
    let names: Vec<String> = files().into_iter().map(|(_, name)| ground.container(&name)).collect();
    assert_eq!(ground.containers(), names, "one container a channel, and no other");

    // Two strangers that carry our labels: by copying, and from an image made of one of ours.
    let instance = ground.instance.clone();
    let copied = format!("{instance}-copied");
    let label = |key: &str, value: &str| format!("dev.chanop.{key}={value}");
    let [ours, kind, channel] =
        [label("instance", &instance), label("kind", "shell"), label("channel", "c01")];
    let labels = ["--label", &ours, "--label", &kind, "--label", &channel];
    let run = [&["run", "-d", "--name", &copied][..], &labels, &[&ground.image, "sleep", "100000"]];
    ground.docker(&run.concat());
    let (committed, image) = (format!("{instance}-committed"), format!("chanop-{instance}-made"));
    ground.docker(&["commit", &ground.container("c02"), &image]);
    ground.docker(&[
        "run",
        "-d",
        "--name",
        &committed,
        "--entrypoint",
        "/bin/sleep",
        &image,
        "100000",
    ]);
    let strangers = ground.inspect(&[&copied, &committed]);
    assert_eq!(
        strangers[1]["Config"]["Labels"]["dev.chanop.channel"], "c02",
        "the label is inherited"
    );

    // Killed, and stopped: the same container is started again.
    for (channel, verb) in [("c01", "kill"), ("c05", "stop")] {
        let before = ground.shell(channel);
        ground.docker(&[verb, &ground.container(channel)]);
        let after = ground.until_runs(channel, |now| started(now) != started(&before));
        assert_eq!(after["Id"], before["Id"], "{verb}: the same container");
    }

    // Removed: made again.
    let before = ground.shell("c02");
    ground.docker(&["rm", "-f", &ground.container("c02")]);
    ground.until_runs("c02", |now| now["Id"] != before["Id"]);

    // Paused: left alone, and said; the rest of this test is time enough to be tempted.
    let paused = ground.shell("c03");
    ground.docker(&["pause", &ground.container("c03")]);
    ground.until_reason("c03", "Ready", "Paused");

    // Renamed: a stranger from now on, and its name is free for a new shell.
    let before = ground.shell("c04");
    let renamed = format!("{instance}-renamed");
    ground.docker(&["rename", &ground.container("c04"), &renamed]);
    ground.until_runs("c04", |now| now["Id"] != before["Id"]);
    assert_eq!(
        started(&ground.inspect(&[&renamed])[0]),
        started(&before),
        "renamed is not stopped"
    );

    // Limits and restart policy changed: put back, without a restart.
    let before = ground.shell("c06");
    let changed = ["update", "--memory", "64m", "--memory-swap", "64m", "--restart", "always"];
    ground.docker(&[&changed[..], &[&ground.container("c06")]].concat());
    let after = ground.until_runs("c06", |now| {
        now["HostConfig"]["Memory"] == before["HostConfig"]["Memory"]
            && now["HostConfig"]["RestartPolicy"]["Name"] == "no"
    });
    assert_eq!(started(&after), started(&before), "limits change in place");

    // Unpaused: as it was.
    assert_eq!(ground.shell("c03")["State"]["Paused"], true, "a person paused it");
    ground.docker(&["unpause", &ground.container("c03")]);
    ground.until_reason("c03", "Ready", "Running");
    assert_eq!(started(&ground.shell("c03")), started(&paused));

    let all = files();
    let all: Vec<&str> = all.iter().map(|(_, name)| name.as_str()).collect();
    ground.until_converged(&all);
    let now = ground.inspect(&[&copied, &committed]);
    for at in [0, 1] {
        assert_eq!(identity(&now[at]), identity(&strangers[at]), "a stranger was touched");
    }
}

#[test]
fn two_of_twelve_files_may_go_and_a_file_that_returns_starts_the_same_container_again() {
    let mut ground = twelve("  deletion: {keepStopped: 3s}\n");
    let keep = "  deletion: {keepStopped: 1h}\n";
    ground.channel(&file_of("c10"), "c10", keep);
    ground.until("the new content counts", |ground| {
        ground.shown("c10")["spec"]["deletion"]["keepStopped"] == "1h"
    });
    let before = ground.shell("c10");
    ground.unlink(&file_of("c10"));
    ground.unlink(&file_of("c11"));
    ground.until("c10 and c11 are stopped, c11 is removed", |ground| {
        ground.shell("c10")["State"]["Status"] == "exited"
            && ground.shell("c11").is_null()
            // The engine's word to others may be quicker than its answer.
            && ground.log().contains("channel/c11: remove done")
    });
    let log = ground.log();
    let place = |verb: &str| log.find(&format!("channel/c11: {verb} done")).expect(verb);
    assert!(place("stop") < place("remove"), "{log}");
    assert!(ground.shown("c11").is_null(), "nothing is known of c11 any more");
    assert!(ground.path("home/src/c11").is_dir(), "directories stay");

    let (code, plan) = ground.plan();
    let line = &plan["lines"][0];
    assert_eq!((code, line["object"].as_str()), (2, Some("channel/c10")), "{plan}");
    ground.channel(&file_of("c10"), "c10", keep);
    let after = ground.until_runs("c10", |_| true);
    assert_eq!(after["Id"], before["Id"], "the same container");
    ground.until_converged(&["c10"]);
}

#[test]
fn eight_of_twelve_files_going_at_once_is_held_until_a_person_confirms_what_was_seen() {
    let mut ground = twelve("  deletion: {keepStopped: 0s}\n");
    let gone = ["c01", "c02", "c03", "c04", "c05", "c06", "c07", "c08"];
    let before: Vec<Value> = gone.iter().map(|name| started(&ground.shell(name))).collect();
    for name in gone {
        ground.unlink(&file_of(name));
    }
    for name in gone {
        ground.until_reason(name, "Ready", "PruneHeld");
    }
    // Healing goes on for what is held; an operator that starts anew holds it too.
    ground.kill();
    ground.start();
    ground.docker(&["kill", &ground.container("c08")]);
    ground.until_runs("c08", |now| started(now) != before[7]);
    for name in gone {
        ground.until_reason(name, "Ready", "PruneHeld");
    }
    let now: Vec<Value> = gone.iter().map(|name| started(&ground.shell(name))).collect();
    assert_eq!(now[..7], before[..7], "nothing was stopped");

    let held = ground.chanop(&["prune"]);
    assert_eq!(held.code, 1, "{held:?}");
    let revision =
        held.err.split("--confirm ").nth(1).and_then(|rest| rest.split(';').next()).unwrap();
    let other = ground.chanop(&["prune", "--confirm", "0000000"]);
    assert_eq!(other.code, 1, "what was not seen is not confirmed: {other:?}");
    ground.chanop(&["prune", "--confirm", revision]).well();
    ground.until("the eight are removed", |ground| ground.containers().len() == 4);
    ground.until("and forgotten", |ground| ground.channels().len() == 4);
    let left = ground.channels();
    assert!(left.iter().all(|channel| condition(channel, "Ready").0 == "True"), "{left:?}");
}
