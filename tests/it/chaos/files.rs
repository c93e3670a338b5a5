//! What happens to files: none of it stops a shell that nobody took away.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::bed::{Asleep, Bed};
use crate::support::operator::condition;

/// Longer than the delay after which these operators believe that a file is gone.
const PAST_THE_DELAY: Duration = Duration::from_secs(3);

/// The file of [`Bed::write`].
fn text(bed: &Bed, channel: &str, more: &str) -> String {
    let more = format!("  updateStrategy: {{type: Recreate}}\n{more}");
    bed.ground.channel_text(channel, "", &more)
}

#[test]
#[ignore = "make chaos"]
fn f41_source_directory_moved_replaced_and_swapped_by_its_link() {
    let mut bed = Bed::new();
    // Two trees and a link, as git-sync publishes.
    let (specs, trees) = (bed.ground.path("specs"), bed.ground.path("trees"));
    for channel in ["a", "b", "c"] {
        bed.write(channel, "");
    }
    fs::create_dir(&trees).unwrap();
    fs::rename(&specs, trees.join("one")).unwrap();
    symlink(trees.join("one"), &specs).unwrap();
    bed.ground.start();
    bed.ground.until_converged(&["a", "b", "c"]);
    let before = ["a", "b", "c"].map(|channel| bed.run_of(channel));
    let mark = bed.proxy.mark();
    // A new tree, with one change.
    fs::create_dir(trees.join("two")).unwrap();
    for channel in ["a", "b", "c"] {
        let more = if channel == "c" { "  env: [{name: WORD, value: \"two\"}]\n" } else { "" };
        fs::write(trees.join(format!("two/{channel}.yaml")), text(&bed, channel, more)).unwrap();
    }
    symlink(trees.join("two"), trees.join("link")).unwrap();
    fs::rename(trees.join("link"), &specs).unwrap();
    bed.until_changed("c", "two");
    // Away.
    fs::rename(trees.join("two"), trees.join("away")).unwrap();
    for channel in ["a", "b", "c"] {
        bed.ground.until_reason(channel, "SourceValid", "SourceUnavailable");
    }
    bed.kill("b");
    bed.until_another_run("b", &before[1]);
    std::thread::sleep(PAST_THE_DELAY);
    // Another directory in its place, empty: as when a disk is not mounted.
    fs::create_dir(trees.join("two")).unwrap();
    for channel in ["a", "b", "c"] {
        bed.ground.until_reason(channel, "Ready", "PruneHeld");
    }
    std::thread::sleep(PAST_THE_DELAY);
    assert_eq!(bed.run_of("a"), before[0]);
    fs::remove_dir(trees.join("two")).unwrap();
    fs::rename(trees.join("away"), trees.join("two")).unwrap();
    bed.ground.until_converged(&["a", "b", "c"]);
    for channel in ["a", "b", "c"] {
        bed.ground.until_reason(channel, "SourceValid", "Valid");
    }
    // c was made anew, b started again.
    assert_eq!(bed.changes(mark).len(), 5, "{:#?}", bed.changes(mark));
    bed.finish(&["a", "b", "c"]);
}

#[test]
#[ignore = "make chaos"]
fn f42_files_of_every_bad_kind() {
    let mut bed = Bed::with(&["a", "b"]);
    let before = ["a", "b"].map(|channel| bed.run_of(channel));
    let good = text(&bed, "a", "");
    let mark = bed.proxy.mark();
    let bomb = (0..9).fold("x: &x0 [y]\n".to_owned(), |text, level| {
        let next = level + 1;
        text + &format!("x{next}: &x{next} [{}]\n", vec![format!("*x{level}"); 9].join(", "))
    });
    let half = &good.as_bytes()[..good.len() / 2];
    let huge = format!("{good}# {}\n", "x".repeat(2 << 20));
    let bad: [(&str, Vec<u8>); 9] = [
        ("half", half.to_vec()),
        ("nothing", Vec::new()),
        ("blanks", b" \n\n".to_vec()),
        ("bytes", vec![0xff, 0xfe, 0, 1, 2, 0xc0]),
        ("huge", huge.into_bytes()),
        ("a bomb of aliases", bomb.into_bytes()),
        ("a key twice", format!("{good}  updateStrategy: {{type: WhenIdle}}\n").into_bytes()),
        ("an unknown kind", good.replace("kind: Channel", "kind: Channels").into_bytes()),
        ("brackets", "[".repeat(50_000).into_bytes()),
    ];
    for (what, content) in bad {
        fs::write(bed.ground.path("specs/a.yaml"), content).unwrap();
        bed.ground.until(&format!("{what} is refused"), |ground| {
            let (status, reason, _) = condition(&ground.shown("a"), "SourceValid");
            status == "False" && reason == "SourceInvalid"
        });
        assert_eq!(
            bed.ground.condition("b", "SourceValid").1,
            "Valid",
            "{what}: only of that file"
        );
        bed.ground.write("a.yaml", &good);
        bed.ground.until_reason("a", "SourceValid", "Valid");
    }
    // The same in other clothes.
    let dressed = format!("\u{feff}{}", good.replace('\n', "\r\n"));
    bed.ground.write("a.yaml", &dressed);
    // The same channel twice: the first file keeps it.
    bed.ground.write("z.yaml", &text(&bed, "a", "  env: [{name: WORD, value: \"other\"}]\n"));
    bed.ground.until_reason("a", "SourceValid", "Conflict");
    bed.ground.unlink("z.yaml");
    bed.ground.until_reason("a", "SourceValid", "Valid");
    std::thread::sleep(PAST_THE_DELAY);
    assert_eq!(["a", "b"].map(|channel| bed.run_of(channel)), before);
    assert_eq!(bed.changes(mark), []);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f43_more_events_than_inotify_keeps() {
    let kept = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let kept: usize = kept.trim().parse().unwrap();
    if kept > 200_000 {
        #[expect(clippy::print_stderr, reason = "the one thing that must be said")]
        {
            eprintln!("F43 IS NOT TESTED: this machine keeps {kept} events, too many to make here");
        }
        return;
    }
    let mut bed = Bed::with(&["a"]);
    let before = bed.run_of("a");
    let asleep = Asleep::new(bed.operator());
    let (one, other) = (bed.ground.path("specs/one.txt"), bed.ground.path("specs/other.txt"));
    fs::write(&one, "").unwrap();
    // Each is two events, and none of them is about a spec.
    for _ in 0..=kept / 4 {
        fs::rename(&one, &other).unwrap();
        fs::rename(&other, &one).unwrap();
    }
    // What follows is lost.
    bed.write("b", "");
    drop(asleep);
    let began = bed.ground.elapsed();
    bed.ground.until_converged(&["a", "b"]);
    let took = bed.ground.elapsed().saturating_sub(began);
    assert!(took < Duration::from_secs(35), "{took:?}");
    assert_eq!(bed.run_of("a"), before);
    bed.finish(&["a", "b"]);
}

#[test]
#[ignore = "make chaos"]
fn f44_the_ways_of_editors_and_checkouts() {
    const CHANNELS: [&str; 4] = ["a", "b", "c", "d"];
    let mut bed = Bed::with(&CHANNELS);
    let before = CHANNELS.map(|channel| bed.run_of(channel));
    let mark = bed.proxy.mark();
    let path = |name: &str| bed.ground.path("specs").join(name);
    let a = text(&bed, "a", "");
    // Deleted and written anew.
    fs::remove_file(path("a.yaml")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path("a.yaml"), &a).unwrap();
    // Cut to nothing, and written in two pieces.
    fs::write(path("a.yaml"), "").unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path("a.yaml"), &a[..a.len() / 2]).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    fs::write(path("a.yaml"), &a).unwrap();
    // Moved aside as a backup, with the new one beside it and over it.
    fs::rename(path("a.yaml"), path("a.yaml~")).unwrap();
    fs::write(path(".a.yaml.swp"), "x").unwrap();
    fs::write(path("4913"), "").unwrap();
    fs::write(path("a.yaml"), &a).unwrap();
    for leftover in ["a.yaml~", ".a.yaml.swp", "4913"] {
        fs::remove_file(path(leftover)).unwrap();
    }
    // Moved to another file.
    fs::create_dir(path("team")).unwrap();
    fs::rename(path("b.yaml"), path("team/renamed.yaml")).unwrap();
    // A checkout takes all away, and brings all back.
    for name in ["a.yaml", "c.yaml", "d.yaml"] {
        fs::remove_file(path(name)).unwrap();
    }
    std::thread::sleep(Duration::from_millis(400));
    for channel in ["a", "c", "d"] {
        fs::write(path(&format!("{channel}.yaml")), text(&bed, channel, "")).unwrap();
    }
    std::thread::sleep(PAST_THE_DELAY);
    bed.ground.until_converged(&CHANNELS);
    assert_eq!(CHANNELS.map(|channel| bed.run_of(channel)), before);
    assert_eq!(bed.changes(mark), []);
    bed.change("a", "new");
    bed.until_changed("a", "new");
    bed.finish(&CHANNELS);
}
