//! What git does to a work tree, and what it says of it.

use std::path::Path;

use super::{Specs, Watched, clock_ahead, names, on_events_only, run, text};
use chanop::specs::scan_once;

fn git(directory: &Path, arguments: &[&str]) {
    let who =
        ["-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "init.defaultBranch=main"];
    run("git", &[&who, arguments].concat(), directory);
}

fn head(directory: &Path) -> String {
    let output =
        super::command("git").args(["rev-parse", "HEAD"]).current_dir(directory).output().unwrap();
    String::from_utf8(output.stdout).unwrap()[..7].to_owned()
}

fn revision(directory: &Path) -> Option<String> {
    scan_once(directory, &*clock_ahead(0)).revision.map(|revision| revision.text)
}

/// A repository with a branch `other` in which one file differs, one is gone and one is new.
fn repository() -> Specs {
    let specs = Specs::new();
    let root = specs.root();
    git(&root, &["init", "-q"]);
    specs.write("team/a.yaml", "main");
    specs.write("team/b.yaml", "main");
    git(&root, &["add", "."]);
    git(&root, &["commit", "-qm", "one"]);
    git(&root, &["checkout", "-qb", "other"]);
    specs.write("team/a.yaml", "other");
    specs.write("new/c.yaml", "other");
    git(&root, &["rm", "-q", "team/b.yaml"]);
    git(&root, &["add", "."]);
    git(&root, &["commit", "-qm", "two"]);
    git(&root, &["checkout", "-q", "main"]);
    specs
}

#[tokio::test]
async fn a_checkout_of_another_branch_is_seen_whole_with_its_revision() {
    let specs = repository();
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    git(&specs.root(), &["checkout", "-q", "other"]);
    let scan = watched
        .until("the other branch", |scan| {
            names(scan) == ["new/c.yaml", "team/a.yaml"]
                && text(scan, "team/a.yaml") == Some("other")
        })
        .await;
    assert!(scan.proves_absence_of("team/b.yaml"));
    assert_eq!(scan.revision.unwrap().text, head(&specs.root()));
}

#[test]
fn the_revision_is_gits_in_every_way_git_writes_it() {
    let specs = repository();
    let root = specs.root();
    let commit = head(&root);
    assert_eq!(revision(&root), Some(commit.clone()), "a loose ref");
    assert_eq!(revision(&root.join("team")), Some(commit.clone()), "a directory below the top");
    git(&root, &["pack-refs", "--all"]);
    assert_eq!(revision(&root), Some(commit.clone()), "a packed ref");
    git(&root, &["checkout", "-q", "--detach", "other"]);
    assert_eq!(revision(&root), Some(head(&root)), "a detached head");
    git(&root, &["worktree", "add", "-q", "../tree", "main"]);
    assert_eq!(revision(&specs.outside.path().join("tree")), Some(commit), "a worktree");
}

#[test]
fn a_git_directory_that_lies_shows_nothing_of_what_it_points_to() {
    let specs = Specs::new();
    std::fs::write(specs.outside.path().join("HEAD"), "hunter2").unwrap();
    specs.write(".git", "gitdir: ..\n");
    assert_eq!(revision(&specs.root()), None);
    std::fs::write(specs.outside.path().join("HEAD"), "ref: refs/../secret\n").unwrap();
    std::fs::write(specs.outside.path().join("secret"), "0123456789abcdef0123456789abcdef01234567")
        .unwrap();
    assert_eq!(revision(&specs.root()), None);
    std::fs::remove_file(specs.outside.path().join("HEAD")).unwrap();
    run("mkfifo", &["HEAD"], specs.outside.path());
    assert_eq!(revision(&specs.root()), None);
}

#[test]
fn without_git_and_links_there_is_no_revision() {
    assert_eq!(revision(&Specs::new().root()), None);
}
