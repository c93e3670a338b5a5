//! When it is looked, and how much that costs.

use std::fs;
use std::time::Duration;

use chanop::specs::{SpecTree, Timing};
use chanop::world::scan::{FileState, Watch};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::{Apart, Specs, Watched, apart, clock_ahead, names, on_events_only, run, text};

/// The smallest channel.
fn channel(directory: usize, file: usize) -> String {
    format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: c-{directory}-{file}}}\nspec:\n  workspace: {{path: ~/src/c-{directory}-{file}}}\n"
    )
}

/// Looks often, so that a test need not wait half a minute.
fn often() -> Timing {
    Timing { every: Duration::from_millis(200), ..Timing::default() }
}

#[tokio::test]
async fn the_core_may_ask_for_another_look() {
    let specs = Specs::new();
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    let before = watched.next_after_asking().await;
    let after = watched.next_after_asking().await;
    assert!(after.started.mono > before.started.mono);
    assert_eq!(after.watch, Watch::Active);
}

#[tokio::test]
async fn only_what_changed_is_parsed_again() {
    let specs = Specs::new();
    for number in 0..5 {
        specs.write(&format!("{number}.yaml"), "old");
    }
    let mut watched = Watched::new(specs.root(), on_events_only());
    assert_eq!(watched.next().await.parsed, 5);
    assert_eq!(watched.next().await.parsed, 0);
    fs::write(specs.path("3.yaml"), "new").unwrap();
    let scan = watched.until("the change", |scan| text(scan, "3.yaml") == Some("new")).await;
    assert_eq!(scan.parsed, 1);
    // Written again with the same text: read, not parsed.
    fs::write(specs.path("3.yaml"), "new").unwrap();
    assert_eq!(watched.next_after_asking().await.parsed, 0);
}

#[tokio::test]
async fn what_happens_beside_the_directory_wakes_nobody() {
    let specs = Specs::new();
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    for number in 0..50 {
        fs::write(specs.outside.path().join(format!("{number}.yaml")), "x").unwrap();
    }
    // Its own reading would wake it too, were that listened to.
    let quiet = tokio::time::timeout(Duration::from_millis(600), watched.scans.recv()).await;
    assert!(quiet.is_err(), "{quiet:?}");
}

#[tokio::test]
async fn a_change_that_the_kernel_does_not_tell_is_seen_by_the_periodic_look() {
    let test = "specs::watch::a_change_that_the_kernel_does_not_tell_is_seen_by_the_periodic_look";
    if !apart(&Apart::Mounts, test) {
        return;
    }
    // An overlay's upper layer may not lie on an overlay, which a container's disk is.
    let disk = tempfile::tempdir().unwrap();
    run("mount", &["-t", "tmpfs", "none", disk.path().to_str().unwrap()], "/".as_ref());
    for directory in ["lower", "upper", "work", "merged"] {
        fs::create_dir(disk.path().join(directory)).unwrap();
    }
    fs::write(disk.path().join("lower/a.yaml"), "old").unwrap();
    run(
        "mount",
        &["-t", "overlay", "none", "-o", "lowerdir=lower,upperdir=upper,workdir=work", "merged"],
        disk.path(),
    );

    let mut watched = Watched::new(disk.path().join("merged"), often());
    watched.until("the old text", |scan| text(scan, "a.yaml") == Some("old")).await;
    fs::write(disk.path().join("lower/a.yaml"), "new!").unwrap();
    watched.until("the new text", |scan| text(scan, "a.yaml") == Some("new!")).await;
}

#[tokio::test]
async fn without_inotify_it_says_so_and_looks_all_the_same() {
    if !apart(
        &Apart::WithoutInotify,
        "specs::watch::without_inotify_it_says_so_and_looks_all_the_same",
    ) {
        return;
    }
    let specs = Specs::new();
    specs.write("a.yaml", "old");
    let mut watched = Watched::new(specs.root(), often());
    let scan = watched.next().await;
    let Watch::Degraded(reason) = &scan.watch else { panic!("{:?}", scan.watch) };
    assert_eq!(reason, "inotify: the limit fs.inotify.max_user_instances is reached");
    specs.write("a.yaml", "new");
    watched.until("the new text", |scan| text(scan, "a.yaml") == Some("new")).await;
}

#[tokio::test]
async fn it_ends_when_cancelled_though_nobody_takes_its_scans() {
    let specs = Specs::new();
    let (mailbox, scans) = mpsc::channel(1);
    let (_ask, rescan) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let timing = Timing { every: Duration::from_millis(1), ..Timing::default() };
    let tree = SpecTree::new(specs.root(), clock_ahead(0)).with_timing(timing);
    cancel.cancel();
    tree.run(mailbox, rescan, cancel).await;
    assert!(scans.is_empty());
}

#[tokio::test]
async fn ten_thousand_files_are_read_once_and_then_only_looked_at() {
    let specs = Specs::new();
    for directory in 0..100 {
        for file in 0..100 {
            specs.write(&format!("{directory}/{file}.yaml"), channel(directory, file));
        }
    }
    let (mailbox, mut scans) = mpsc::channel(1);
    let (_ask, rescan) = mpsc::channel(1);
    let cancel = CancellationToken::new();
    let _guard = cancel.clone().drop_guard();
    // So far ahead that what was written just now is settled.
    let tree = SpecTree::new(specs.root(), clock_ahead(60)).with_timing(on_events_only());
    #[expect(clippy::disallowed_methods, reason = "the guard ends it with the test")]
    tokio::spawn(tree.run(mailbox, rescan, cancel));
    let cold = scans.recv().await.unwrap();
    let warm = scans.recv().await.unwrap();
    let first = cold.files.values().next();
    assert!(
        matches!(first, Some(FileState::Parsed(file)) if file.resources.len() == 1),
        "{first:?}"
    );
    assert_eq!((cold.files.len(), cold.parsed), (10_000, 10_000));
    assert_eq!((warm.files.len(), warm.parsed), (10_000, 0));
    assert_eq!(names(&warm), names(&cold));
    #[expect(clippy::print_stderr, reason = "what it took, for whoever asks with --no-capture")]
    {
        eprintln!("10,000 files: {:?} cold, {:?} unchanged", cold.took, warm.took);
    }
    assert!(cold.took < Duration::from_secs(10), "{:?}", cold.took);
    assert!(warm.took < Duration::from_secs(2), "{:?}", warm.took);
    fs::write(specs.path("7/7.yaml"), "changed").unwrap();
    let changed = tokio::time::timeout(super::PATIENCE, scans.recv()).await.unwrap().unwrap();
    assert_eq!(changed.parsed, 1);
}
