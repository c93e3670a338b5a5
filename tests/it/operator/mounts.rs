//! Host paths that change below a running shell: replaced directories and files, unmounted disks.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, chown};
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
    let said = ground.exec("a", "echo hello > file && pwd");
    assert_eq!(said.code, 0, "{said:?}\n{}", ground.log());
    assert!(ground.path("home/src/a/file").exists(), "it is the directory that the host has");
    assert_eq!(ground.shell("a")["Id"], before["Id"], "restarted, not made again");
}

#[test]
fn replaced_workspace_waits_for_the_visitor_and_is_named() {
    let mut ground = one("");
    let before = ground.shell("a");
    let mut visitor = ground.chanop_command(&["exec", "a", "--", "sh", "-c", "read x"]);
    let mut visitor = visitor.stdin(Stdio::piped()).spawn().unwrap();
    ground.until("the visitor is in", |ground| !ground.shell("a")["ExecIDs"].is_null());
    replace_workspace(&ground);
    let refused = ground.exec("a", "true");
    assert_eq!(refused.code, 1, "{refused:?}");
    assert!(refused.err.contains("home/src/a was replaced"), "{}", refused.err);
    let message = ground.until_reason("a", "Ready", "MountReplaced");
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
    ground.until("its start is refused", |ground| {
        ground.condition("a", "Ready").2.contains("home/src/a is empty")
    });
    assert_eq!(ground.shell("a")["State"]["Status"], "exited");
    let _disk = Mounted::on(workspace.clone(), "");
    chown(&workspace, Some(OWNER), Some(OWNER)).unwrap();
    ground.chanop(&["reconcile", "channel/a"]).well();
    ground.until_converged(&["a"]);
}

#[test]
fn mount_points_in_the_workspace_belong_to_the_owner() {
    let mut ground = Ground::new();
    let volume = format!("{}-modules", ground.instance);
    ground.workspace("a");
    fs::write(ground.path("home/conf"), "x").unwrap();
    ground.channel(
        "a.yaml",
        "a",
        &format!(
            "  mounts:\n  - {{type: volume, source: {volume}, target: ~/src/a/web/node_modules}}\n  \
             - {{type: tmpfs, target: ~/src/a/tmp}}\n  files: [{{source: ~/conf, target: ~/src/a/conf}}]\n"
        ),
    );
    ground.start();
    ground.until_converged(&["a"]);
    for name in ["web", "web/node_modules", "tmp", "conf"] {
        let found = fs::metadata(ground.path("home/src/a").join(name)).unwrap();
        assert_eq!((found.uid(), found.gid()), (OWNER, OWNER), "{name}");
    }
    ground.stop();
    ground.docker(&["rm", "--force", "--volumes", &ground.container("a")]);
    ground.docker(&["volume", "rm", &volume]);
}

#[test]
fn a_volume_belongs_to_the_owner_where_the_operator_is_not_root() {
    let mut ground = Ground::new();
    let volume = format!("{}-modules", ground.instance);
    let mount =
        format!("  mounts: [{{type: volume, source: {volume}, target: ~/src/a/modules}}]\n");
    ground.channel("a.yaml", "a", &mount);
    ground.without_root();
    ground.start();
    ground.until_converged(&["a"]);
    let owners = ground.exec("a", "touch modules/x && stat -c %u:%g modules modules/x").well();
    assert_eq!(owners, format!("{OWNER}:{OWNER}\n{OWNER}:{OWNER}\n"));
    let all = ground.docker(&["ps", "--all", "--format", "{{.Names}}"]);
    let leftover = format!("chanop_volume_{}", ground.instance);
    assert!(!all.contains(&leftover), "what served to give it away is gone: {all}");
    ground.stop();
    ground.docker(&["rm", "--force", "--volumes", &ground.container("a")]);
    ground.docker(&["volume", "rm", &volume]);
}

#[test]
fn mounts_below_a_read_only_source_cannot_be_written() {
    let mut ground = Ground::new();
    let data = ground.path("home/data");
    fs::create_dir_all(data.join("disk")).unwrap();
    fs::write(data.join("file"), "seen").unwrap();
    let _disk = Mounted::on(data.join("disk"), "");
    for path in [data.clone(), data.join("disk")] {
        chown(path, Some(OWNER), Some(OWNER)).unwrap();
    }
    ground.channel("a.yaml", "a", "  mounts: [{type: bind, source: ~/data, target: ~/data}]\n");
    ground.start();
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "cat ~/data/file").well(), "seen");
    assert_ne!(ground.exec("a", "echo x > ~/data/disk/x").code, 0);
    assert!(!data.join("disk/x").exists());
}

#[test]
fn worktree_without_its_repository_is_a_condition() {
    let mut ground = Ground::new();
    let workspace = ground.workspace("a");
    let git_dir = ground.path("home/repo/.git/worktrees/a");
    fs::create_dir_all(&git_dir).unwrap();
    fs::write(workspace.join(".git"), format!("gitdir: {}\n", git_dir.display())).unwrap();
    ground.channel("a.yaml", "a", "");
    ground.start();
    ground.until_converged(&["a"]);
    let message = ground.until_reason("a", "GitUsable", "GitDirectoryNotMounted");
    let entry = r#"{type: bind, source: "~/repo/.git", target: "~/repo/.git", readOnly: false}"#;
    assert!(message.contains(entry), "{message}");
    let mounts = ground.shell("a")["Mounts"].to_string();
    assert!(
        !mounts.contains("repo/.git"),
        "nothing is mounted because a file in the workspace says so"
    );
    ground.channel("a.yaml", "a", &format!("  mounts: [{entry}]\n"));
    ground.until_reason("a", "GitUsable", "Valid");
    ground.until_converged(&["a"]);
    assert_eq!(ground.exec("a", "ls ~/repo/.git").well(), "worktrees\n");
}
