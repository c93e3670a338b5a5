//! Whole trees that come, go and take each other's place.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use chanop::specs::scan_once;
use chanop::world::scan::{Place, RawScan, Root};

use super::{Apart, Specs, Watched, apart, clock_ahead, names, on_events_only, relink, run, text};

fn place(scan: &RawScan) -> &Place {
    match &scan.root {
        Root::Present(place) => place,
        Root::Unavailable { reason } => panic!("{reason}"),
    }
}

fn is_away(scan: &RawScan) -> bool {
    matches!(scan.root, Root::Unavailable { .. }) && !scan.proves_absence_of("a.yaml")
}

#[tokio::test]
async fn git_sync_publishes_a_revision_by_its_link() {
    let specs = Specs::new();
    specs.write("abc1234/a.yaml", "old");
    specs.write("def5678/a.yaml", "new");
    specs.link("current", "abc1234");
    let mut watched = Watched::armed(specs.path("current"), on_events_only()).await;
    relink(&specs.path("current"), "def5678");
    let new = watched.until("the new tree", |scan| text(scan, "a.yaml") == Some("new")).await;
    assert_eq!(new.revision.as_ref().unwrap().text, "def5678");
    // And the new tree is listened to.
    watched.next().await;
    specs.write("def5678/b.yaml", "b");
    watched.until("a change in the new tree", |scan| text(scan, "b.yaml") == Some("b")).await;
}

#[tokio::test]
async fn a_link_anywhere_on_the_way_may_be_swapped() {
    let specs = Specs::new();
    specs.write("abc1234/team/a.yaml", "old");
    specs.write("def5678/team/a.yaml", "new");
    specs.link("current", "abc1234");
    let mut watched = Watched::new(specs.path("current/team"), on_events_only());
    let before = watched.next().await;
    watched.next().await;
    relink(&specs.path("current"), "def5678");
    let after = watched.until("the new tree", |scan| text(scan, "a.yaml") == Some("new")).await;
    assert!(place(&after).continues(place(&before)));
}

#[test]
fn another_directory_under_the_same_path_is_not_the_same_source() {
    let specs = Specs::new();
    specs.write("a.yaml", "a");
    let before = specs.scan();
    fs::rename(specs.root(), specs.outside.path().join("away")).unwrap();
    fs::create_dir(specs.root()).unwrap();
    let after = specs.scan();
    assert!(after.files.is_empty() && !place(&after).continues(place(&before)));
    assert!(place(&before).continues(place(&before)));
}

#[test]
fn a_directory_in_the_place_of_the_link_is_not_the_same_source() {
    let specs = Specs::new();
    specs.write("abc1234/a.yaml", "a");
    specs.link("current", "abc1234");
    let now = clock_ahead(0);
    let before = scan_once(&specs.path("current"), &*now);
    fs::remove_file(specs.path("current")).unwrap();
    fs::create_dir(specs.path("current")).unwrap();
    let after = scan_once(&specs.path("current"), &*now);
    assert!(!place(&after).continues(place(&before)));
}

#[tokio::test]
async fn a_directory_moved_away_is_unavailable_until_it_is_back() {
    let specs = Specs::new();
    specs.write("a.yaml", "a");
    let mut watched = Watched::new(specs.root(), on_events_only());
    let before = watched.next().await;
    watched.next().await;
    let away = specs.outside.path().join("away");
    fs::rename(specs.root(), &away).unwrap();
    watched.until("that it is away", is_away).await;
    fs::rename(&away, specs.root()).unwrap();
    let after = watched.until("the file", |scan| text(scan, "a.yaml") == Some("a")).await;
    assert!(place(&after).continues(place(&before)));
    watched.next().await;
    specs.write("a.yaml", "b");
    watched.until("a change after it came back", |scan| text(scan, "a.yaml") == Some("b")).await;
}

#[tokio::test]
async fn a_directory_moved_away_and_back_before_anybody_looked_is_listened_to_as_before() {
    let specs = Specs::new();
    specs.write("team/a.yaml", "a");
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    fs::rename(specs.path("team"), specs.path("away")).unwrap();
    fs::rename(specs.path("away"), specs.path("team")).unwrap();
    // The scan for the moves, and the one for the watch that was armed anew.
    watched.next().await;
    watched.next().await;
    specs.write("team/a.yaml", "b");
    watched.until("a change in it", |scan| text(scan, "team/a.yaml") == Some("b")).await;
}

#[tokio::test]
async fn a_directory_above_moved_away_is_unavailable_until_it_is_back() {
    let specs = Specs::new();
    specs.write("team/deep/a.yaml", "a");
    let mut watched = Watched::armed(specs.path("team/deep"), on_events_only()).await;
    fs::rename(specs.path("team"), specs.path("away")).unwrap();
    watched.until("that it is away", is_away).await;
    fs::rename(specs.path("away"), specs.path("team")).unwrap();
    watched.until("the file", |scan| text(scan, "a.yaml") == Some("a")).await;
}

#[tokio::test]
async fn a_directory_that_is_not_there_yet_is_seen_when_it_comes() {
    let specs = Specs::new();
    let mut watched = Watched::armed(specs.path("later/specs"), on_events_only()).await;
    specs.write("later/specs/a.yaml", "a");
    watched.until("the file", |scan| text(scan, "a.yaml") == Some("a")).await;
}

#[tokio::test]
async fn a_directory_emptied_by_hand_is_a_whole_scan_without_files() {
    let specs = Specs::new();
    specs.write("a.yaml", "a");
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    fs::remove_file(specs.path("a.yaml")).unwrap();
    let scan = watched.until("no file", |scan| scan.files.is_empty()).await;
    assert!(scan.proves_absence_of("a.yaml"));
}

/// A `ConfigMap` as the kubelet writes one: files are links through `..data`, which is a link to the tree that counts.
fn config_map(specs: &Specs, files: usize) {
    for number in 0..files {
        specs.link(&format!("{number}.yaml"), &format!("..data/{number}.yaml"));
    }
    specs.link("sub", "..data/sub");
    write_generation(specs, "..0", files);
    specs.link("..data", "..0");
}

fn write_generation(specs: &Specs, directory: &str, files: usize) {
    for number in 0..files {
        specs.write(&format!("{directory}/{number}.yaml"), directory);
        specs.write(&format!("{directory}/sub/{number}.yaml"), directory);
    }
}

#[tokio::test]
async fn a_config_map_is_read_through_its_links_and_its_swap_is_seen() {
    let specs = Specs::new();
    config_map(&specs, 2);
    let mut watched = Watched::new(specs.root(), on_events_only());
    let scan = watched.next().await;
    assert_eq!(names(&scan), ["0.yaml", "1.yaml", "sub/0.yaml", "sub/1.yaml"]);
    assert_eq!(scan.revision.as_ref().unwrap().text, "..0");
    watched.next().await;
    write_generation(&specs, "..1", 2);
    relink(&specs.path("..data"), "..1");
    fs::remove_dir_all(specs.path("..0")).unwrap();
    let scan =
        watched.until("the new generation", |scan| text(scan, "sub/1.yaml") == Some("..1")).await;
    assert_eq!(text(&scan, "0.yaml"), Some("..1"));
}

#[test]
fn a_scan_is_never_a_mixture_of_two_generations() {
    const FILES: usize = 30;
    let specs = Specs::new();
    config_map(&specs, FILES);
    let stop = Arc::new(AtomicBool::new(false));
    let (mut whole, mut generations) = (0, std::collections::BTreeSet::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut generation = 0;
            while !stop.load(Ordering::Relaxed) {
                generation += 1;
                write_generation(&specs, &format!("..{generation}"), FILES);
                relink(&specs.path("..data"), &format!("..{generation}"));
                fs::remove_dir_all(specs.path(&format!("..{}", generation - 1))).unwrap();
            }
        });
        for _ in 0..300 {
            let scan = specs.scan();
            if scan.files.is_empty() {
                assert!(!scan.proves_absence_of("0.yaml"), "{scan:?}");
                continue;
            }
            let texts: Vec<_> = scan.files.keys().map(|name| text(&scan, name)).collect();
            assert_eq!(texts.len(), 2 * FILES);
            assert!(texts.iter().all(|text| text.is_some() && *text == texts[0]), "{texts:?}");
            generations.insert(texts[0].unwrap().to_owned());
            whole += 1;
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(
        whole > 0 && generations.len() > 1,
        "{whole} whole scans of {} generations",
        generations.len()
    );
}

#[test]
fn an_unmounted_directory_is_not_an_empty_one() {
    if !apart(&Apart::Mounts, "specs::swap::an_unmounted_directory_is_not_an_empty_one") {
        return;
    }
    let specs = Specs::new();
    fs::create_dir(specs.path("team")).unwrap();
    let mount = |at: &str| {
        run(
            "mount",
            &["-t", "tmpfs", "-o", "mode=755", "none", specs.path(at).to_str().unwrap()],
            "/".as_ref(),
        );
    };
    let unmount = |at: &str| run("umount", &[specs.path(at).to_str().unwrap()], "/".as_ref());
    mount("team");
    specs.write("team/b.yaml", "b");
    let before = specs.scan();
    assert_eq!(names(&before), ["team/b.yaml"]);
    unmount("team");
    let after = specs.scan();
    assert!(after.remounted_above(&before, "team/b.yaml"));
    assert!(!after.remounted_above(&before, "a.yaml"));

    mount("");
    specs.write("a.yaml", "a");
    let before = specs.scan();
    unmount("");
    let after = specs.scan();
    assert!(after.files.is_empty() && !place(&after).continues(place(&before)));
}
