//! Host paths that change below a running shell: replaced directories and files, unmounted disks.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::chown;
use std::process::Stdio;

use crate::support::mounted::Mounted;
use crate::support::operator::{Ground, OWNER};

fn one(more: &str) -> Ground {
    let mut ground = Ground::new();
    ground.channel("a.yaml", "a", more);
    ground.start();
    ground.until_converged(&["a"]);
    ground
}

/// `rm -rf` and `mkdir`.
fn replace_workspace(ground: &Ground) {
    fs::remove_dir_all(ground.path("home/src/a")).unwrap();
    ground.workspace("a");
}

#[test]
fn exec_after_workspace_was_replaced_runs_in_the_new_one() {
    let ground = one("");
    let before = ground.shell("a");
    replace_workspace(&ground);
    assert_eq!(ground.exec("a", "echo hello > file && pwd").code, 0, "{}", ground.log());
    assert!(ground.path("home/src/a/file").exists(), "it is the directory that the host has");
    assert_eq!(ground.shell("a")["Id"], before["Id"], "restarted, not made again");
}

#[test]
fn replaced_workspace_waits_for_the_visitor_and_is_named() {
    let ground = one("");
    let before = ground.shell("a");
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sh", "-c", "read x"]);
    let mut visitor = visitor.stdin(Stdio::piped()).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());
    replace_workspace(&ground);
    let refused = ground.exec("a", "true");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("home/src/a was replaced"), "{}", refused.err);
    let (status, reason, message) = ground.condition("a", "Ready");
    assert_eq!((status.as_str(), reason.as_str()), ("False", "MountReplaced"));
    assert!(message.contains("home/src/a was replaced"), "{message}");
    visitor.stdin.take().unwrap().write_all(b"\n").unwrap();
    assert_eq!(visitor.wait().unwrap().code(), Some(0));
    ground.until("it is restarted", |ground| {
        ground.shell("a")["State"]["StartedAt"] != before["State"]["StartedAt"]
    });
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "pwd").code, 0);
}

#[test]
fn file_mount_replaced_by_rename_reaches_the_idle_shell() {
    let mut ground = Ground::new();
    let conf = ground.path("home/conf");
    fs::write(&conf, "old").unwrap();
    ground.channel("a.yaml", "a", "  mounts: [{type: bind, source: ~/conf, target: ~/conf}]\n");
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "cat ~/conf").well(), "old");
    fs::write(ground.path("home/conf.new"), "new").unwrap();
    fs::rename(ground.path("home/conf.new"), &conf).unwrap();
    assert_eq!(ground.exec("a", "cat ~/conf").well(), "new");
}

#[test]
fn unmounted_workspace_is_a_condition_and_no_empty_directory() {
    let mut ground = Ground::new();
    let workspace = ground.workspace("a");
    let disk = Mounted::on(workspace.clone(), "");
    chown(&workspace, Some(OWNER), Some(OWNER)).unwrap();
    ground.channel("a.yaml", "a", "");
    ground.start();
    ground.until_converged(&["a"]);
    let before = ground.shell("a");
    drop(disk);
    ground.chanop(&["reconcile", "channel/a"]).well();
    let message = ground.until_reason("a", "Ready", "WorkspaceMissing");
    assert!(message.contains("is not mounted"), "{message}");
    assert_eq!(ground.shell("a")["State"]["StartedAt"], before["State"]["StartedAt"]);
    // It ends, and is not started in the empty mount point.
    ground.docker(&["kill", &ground.container("a")]);
    let message = ground.until_reason("a", "Ready", "WorkspaceMissing");
    assert!(message.contains("home/src/a is empty"), "{message}");
    assert_eq!(ground.shell("a")["State"]["Status"], "exited");
    let _disk = Mounted::on(workspace.clone(), "");
    chown(&workspace, Some(OWNER), Some(OWNER)).unwrap();
    ground.chanop(&["reconcile", "channel/a"]).well();
    ground.until_converged(&["a"]);
}
