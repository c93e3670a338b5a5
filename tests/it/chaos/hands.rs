//! What people do in Docker beside the operator, and containers that cannot start or do not stay.

use std::time::Duration;

use super::bed::Bed;
use crate::support::operator::Ground;
use crate::support::proxy::{Fault, Hold, Line};

#[test]
fn f16_name_taken_by_a_foreign_container() {
    let mut bed = Bed::new();
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    let name = bed.ground.container("a");
    bed.ground.docker(&["create", "--name", &name, &bed.ground.image, "sleep", "1"]);
    let foreign = bed.ground.shell("a");
    bed.ground.start();
    bed.ground.until_reason("a", "Ready", "NameConflict");
    bed.ground.until_reason("b", "Ready", "Running");
    assert_eq!(bed.ground.shell("a"), foreign, "it is not ours");
    let tried = bed.asked(0, "POST", "/containers/create");
    assert!(tried <= 3, "{tried} creates: {:#?}", bed.changes(0));
    assert_eq!(bed.asked(0, "DELETE", "/containers/*"), 0);
    bed.ground.docker(&["rm", &name]);
    bed.ground.chanop(&["reconcile", "channel/a"]).well();
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f20_vanishes_between_read_and_act() {
    let mut bed = Bed::with(&["a", "b"]);
    for round in 0..3 {
        // It is read, and gone before the read counts.
        let read = Hold::new();
        let id = bed.run_of("a").0;
        let look = format!("/containers/{}/json", id.as_str().unwrap());
        bed.once("GET", &look, Fault::HoldAnswer(read.clone()));
        let word = format!("read{round}");
        bed.change("a", &word);
        read.until_reached(1);
        bed.ground.docker(&["rm", "-f", id.as_str().unwrap()]);
        read.release();
        bed.until_changed("a", &word);
        // And at some instant of a change.
        let word = format!("any{round}");
        bed.change("a", &word);
        bed.ground.try_docker(&["rm", "-f", &bed.ground.container("a")]);
        bed.until_changed("a", &word);
    }
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f30_start_fails_after_create() {
    let mut bed = Bed::with(&["b"]);
    let (network, holder) =
        (format!("{}-other", bed.ground.instance), format!("{}-port", bed.ground.instance));
    bed.ground.docker(&["network", "create", &network]);
    let port = ["run", "-d", "--name", &holder, "--network", &network, "-p", "127.0.0.1:3999:80"];
    bed.ground.docker(&[&port[..], &[&bed.ground.image, "sleep", "100000"]].concat());
    let mark = bed.proxy.mark();
    bed.write("a", "  ports: [{containerPort: 80, hostPort: 3999}]\n");
    let why = bed.ground.until_reason("a", "Ready", "StartFailed");
    assert!(why.contains("3999"), "{why}");
    std::thread::sleep(Duration::from_secs(12));
    let changes = bed.changes(mark);
    // 5 s to begin with, doubling; each time a remove and a create may come between.
    assert!(changes.len() <= 12, "{} changes: {changes:#?}", changes.len());
    assert!(bed.asked(mark, "POST", "/containers/*/start") <= 4, "{changes:#?}");
    assert!(bed.ground.running("a").is_none() && bed.ground.running("b").is_some());
    bed.ground.docker(&["rm", "-f", &holder]);
    bed.ground.docker(&["network", "rm", &network]);
    bed.ground.chanop(&["reconcile", "channel/a"]).well();
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f31_crash_loop() {
    let mut bed = Bed::with(&["b"]);
    let mark = bed.proxy.mark();
    bed.write("a", "  shell: {command: [\"false\"]}\n");
    bed.ground.until_reason("a", "Ready", "CrashLoopBackOff");
    std::thread::sleep(Duration::from_secs(15));
    let starts = bed.asked(mark, "POST", "/containers/*/start");
    // At once, and again after 10 s and 20 s.
    assert!((2..=4).contains(&starts), "{starts}: {:#?}", bed.changes(mark));
    assert_eq!(bed.asked(mark, "POST", "/containers/create"), 1, "{:#?}", bed.changes(mark));
    bed.write("a", "");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f32_paused_by_hand() {
    let mut bed = Bed::with(&["a", "b"]);
    let before = bed.run_of("a");
    bed.ground.docker(&["pause", &bed.ground.container("a")]);
    bed.ground.until_reason("a", "Ready", "Paused");
    let mark = bed.proxy.mark();
    bed.change("a", "new");
    let b = bed.run_of("b");
    bed.kill("b");
    bed.until_another_run("b", &b);
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(bed.run_of("a"), before);
    assert_eq!(bed.ground.shell("a")["State"]["Paused"], true, "a person paused it");
    assert_eq!(bed.changes(mark).len(), 1, "the start of b: {:#?}", bed.changes(mark));
    bed.ground.docker(&["unpause", &bed.ground.container("a")]);
    bed.until_changed("a", "new");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f33_renamed_away_and_a_foreign_one_renamed_onto_our_name() {
    let mut bed = Bed::with(&["a", "b"]);
    let (ours, renamed, foreign) = (
        bed.ground.container("a"),
        format!("{}-renamed", bed.ground.instance),
        format!("{}-foreign", bed.ground.instance),
    );
    let before = bed.run_of("a");
    bed.ground.docker(&["rename", &ours, &renamed]);
    bed.until_another_run("a", &before);
    let now = bed.ground.inspect(&[&renamed])[0].clone();
    assert_eq!((&now["Id"], &now["State"]["StartedAt"]), (&before.0, &before.1), "not ours");
    // A create is on its way when a stranger takes the name.
    bed.ground.docker(&["create", "--name", &foreign, &bed.ground.image, "sleep", "1"]);
    let create = Hold::new();
    bed.once("POST", "/containers/create", Fault::Hold(create.clone()));
    bed.ground.docker(&["rm", "-f", &ours]);
    create.until_reached(1);
    bed.ground.docker(&["rename", &foreign, &ours]);
    let was = bed.ground.shell("a");
    create.release();
    bed.ground.until_reason("a", "Ready", "NameConflict");
    assert_eq!(bed.ground.shell("a"), was, "a stranger was touched");
    bed.ground.docker(&["rename", &ours, &foreign]);
    bed.ground.chanop(&["reconcile", "channel/a"]).well();
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!(bed.ground.inspect(&[&renamed])[0]["State"], now["State"]);
    bed.ground.docker(&["rm", "-f", &renamed, &foreign]);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f34_labels_handed_on_by_an_image() {
    let mut bed = Bed::with(&["a"]);
    let (image, made) =
        (format!("chanop-{}-made", bed.ground.instance), format!("{}-made", bed.ground.instance));
    bed.ground.docker(&["commit", &bed.ground.container("a"), &image]);
    let run = ["run", "-d", "--name", &made, "--network", "none", "--entrypoint", "/bin/sleep"];
    bed.ground.docker(&[&run[..], &[&image, "100000"]].concat());
    let was = bed.ground.inspect(&[&made])[0].clone();
    assert_eq!(was["Config"]["Labels"]["dev.chanop.channel"], "a");
    let mark = bed.proxy.mark();
    let before = bed.run_of("a");
    bed.kill("a");
    bed.until_another_run("a", &before);
    bed.change("a", "new");
    bed.until_changed("a", "new");
    bed.ground.docker(&["rm", "-f", &bed.ground.container("a")]);
    bed.until_changed("a", "new");
    bed.ground.until_converged(&["a"]);
    assert_eq!(bed.ground.inspect(&[&made])[0], was, "a stranger was touched");
    let stranger = was["Id"].as_str().unwrap();
    let touched = |line: &&Line| line.path.contains(stranger);
    assert_eq!(bed.changes(mark).iter().find(touched), None);
    bed.ground.docker(&["rm", "-f", &made]);
    bed.finish(&["a"]);
}

#[test]
#[ignore = "make chaos"]
fn f35_pruned_by_hand() {
    let mut bed = Bed::with(&["a", "b"]);
    bed.ground.chanop(&["suspend", "channel/a"]).well();
    bed.ground.until("a is stopped", |ground| ground.shell("a")["State"]["Status"] == "exited");
    let mark = bed.proxy.mark();
    let label = format!("label=dev.chanop.instance={}", bed.ground.instance);
    bed.ground.docker(&["container", "prune", "-f", "--filter", &label]);
    assert!(bed.ground.shell("a").is_null());
    bed.ground.until_reason("a", "Ready", "Suspended");
    assert_eq!(bed.changes(mark), [], "it is not wanted now");
    bed.ground.chanop(&["resume", "channel/a"]).well();
    bed.ground.until_runs("a", |_| true);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f36_started_by_hand_and_given_a_restart_policy() {
    let mut bed = Bed::with(&["a", "b"]);
    bed.ground.chanop(&["suspend", "channel/a"]).well();
    let stopped = |ground: &Ground| ground.shell("a")["State"]["Status"] == "exited";
    bed.ground.until("a is stopped", stopped);
    let mark = bed.proxy.mark();
    bed.ground.docker(&["start", &bed.ground.container("a")]);
    bed.until_asked(mark, 1, "POST", "/containers/*/stop");
    bed.ground.until("a is stopped again", stopped);
    bed.ground.chanop(&["resume", "channel/a"]).well();
    bed.ground.until_converged(&["a", "b"]);
    let before = bed.run_of("a");
    bed.ground.docker(&["update", "--restart", "always", &bed.ground.container("a")]);
    bed.ground.until("the policy is as it was", |ground| {
        ground.shell("a")["HostConfig"]["RestartPolicy"]["Name"] == "no"
    });
    assert_eq!(bed.run_of("a"), before, "without a restart");
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f50_image_missing_slow_and_moved() {
    let mut bed = Bed::with(&["a"]);
    let other = format!("chanop-{}-other:latest", bed.ground.instance);
    let file = bed.ground.channel_text("b", "", "").replace(&bed.ground.image, &other);
    bed.ground.workspace("b");
    let mark = bed.proxy.mark();
    bed.ground.write("b.yaml", &file);
    // There is no registry in this engine's network.
    bed.ground.until_reason("b", "Ready", "ImagePullBackOff");
    std::thread::sleep(Duration::from_secs(6));
    let pulls = bed.asked(mark, "POST", "/images/create");
    assert!((1..=12).contains(&pulls), "{pulls} pulls: {:#?}", bed.changes(mark));
    let creates = bed.asked(mark, "POST", "/containers/create");
    assert_eq!(creates, 1, "it is known that the image is missing: {:#?}", bed.changes(mark));
    // One that takes for ever is in nobody's way.
    let pull = Hold::new();
    bed.fault("POST", "/images/create", Fault::Hold(pull.clone()));
    bed.ground.chanop(&["reconcile", "channel/b"]).well();
    pull.until_reached(1);
    let before = bed.run_of("a");
    bed.kill("a");
    bed.until_another_run("a", &before);
    bed.ground.import_busybox(&other);
    pull.release();
    bed.proxy.heal();
    bed.ground.chanop(&["reconcile", "channel/b"]).well();
    bed.ground.until_converged(&["a", "b"]);
    // The tag moves: who runs keeps what it was made from.
    let (a, b) = (bed.run_of("a"), bed.run_of("b"));
    bed.ground.docker(&["tag", &bed.ground.image, &other]);
    let mark = bed.proxy.mark();
    bed.ground.chanop(&["reconcile"]).well();
    bed.until_asked(mark, 1, "GET", "/containers/json");
    bed.ground.until_converged(&["a", "b"]);
    assert_eq!((bed.run_of("a"), bed.run_of("b")), (a, b));
    bed.finish(&["a", "b"]);
}
