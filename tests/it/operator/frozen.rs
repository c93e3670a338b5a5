//! Not seen is not gone: whatever becomes of the spec directory, nothing is stopped, and what is known is kept up.

use std::fs;

use serde_json::Value;

use crate::support::mounted::Mounted;
use crate::support::operator::Ground;

const CHANNELS: [&str; 3] = ["a", "b", "c"];

/// Three channels that run, one of them in a folder.
fn three() -> Ground {
    let mut ground = Ground::new();
    fs::create_dir(ground.path("specs/team")).unwrap();
    for (file, channel) in [("a.yaml", "a"), ("b.yaml", "b"), ("team/c.yaml", "c")] {
        ground.channel(file, channel, "");
    }
    ground.start();
    ground.until_converged(&CHANNELS);
    ground
}

/// Of all shells: which, and since when.
fn runs(ground: &Ground) -> Vec<(Value, Value)> {
    let shells = CHANNELS.iter().map(|channel| ground.shell(channel));
    shells.map(|shell| (shell["Id"].clone(), shell["State"]["StartedAt"].clone())).collect()
}

/// The condition tells, every shell is kept as it is, one that dies is started again, and all of that over a restart of
/// the operator too.
fn nothing_goes_and_healing_goes_on(
    ground: &mut Ground,
    troubled: &[&str],
    reason: &str,
    why: &str,
) {
    let before = runs(ground);
    for again in [false, true] {
        if again {
            ground.kill();
            ground.start();
        }
        for channel in troubled {
            let message = ground.until_reason(channel, "SourceValid", reason);
            assert!(message.contains(why), "the condition of {channel} says why: {message}");
        }
        let start = ground.shell("c")["State"]["StartedAt"].clone();
        ground.docker(&["kill", &ground.container("c")]);
        ground.until_runs("c", |now| now["State"]["StartedAt"] != start);
        // Well past the prune delay of these operators, which is one second: the scans since then believed nothing.
        let killed = ground.elapsed();
        ground.until("time enough to be tempted has passed", |ground| {
            ground.chanop(&["reconcile"]).code == 0
                && ground.elapsed().saturating_sub(killed).as_secs() >= 2
        });
        for channel in CHANNELS {
            ground.until_reason(channel, "Ready", "Running");
        }
        assert_eq!(runs(ground)[..2], before[..2], "{}", ground.dump("a and b were not touched"));
        assert_eq!(ground.containers(), CHANNELS.map(|channel| ground.container(channel)));
    }
}

/// Back to normal.
fn all_is_well(ground: &mut Ground) {
    for channel in CHANNELS {
        ground.until_reason(channel, "SourceValid", "Valid");
    }
    ground.until_converged(&CHANNELS);
}

#[test]
fn a_broken_file_keeps_its_last_good_content_and_says_where_it_is_broken() {
    let mut ground = three();
    let good = fs::read_to_string(ground.path("specs/team/c.yaml")).unwrap();
    ground.write("team/c.yaml", &format!("{good}  memmory: 1Gi\n"));
    nothing_goes_and_healing_goes_on(&mut ground, &["c"], "SourceInvalid", "team/c.yaml:8:3");
    assert_eq!(ground.condition("a", "SourceValid").0, "True", "only of that file");
    ground.write("team/c.yaml", &good);
    all_is_well(&mut ground);
}

#[test]
fn a_folder_that_cannot_be_read_keeps_its_channels() {
    let mut ground = three();
    // Permissions mean nothing to root; a link that leaves the directory is refused to everybody.
    fs::rename(ground.path("specs/team"), ground.path("team")).unwrap();
    std::os::unix::fs::symlink(ground.path("team"), ground.path("specs/team")).unwrap();
    nothing_goes_and_healing_goes_on(&mut ground, &["c"], "SourceInvalid", "team");
    fs::remove_file(ground.path("specs/team")).unwrap();
    fs::rename(ground.path("team"), ground.path("specs/team")).unwrap();
    all_is_well(&mut ground);
}

#[test]
fn a_spec_directory_that_is_moved_away_keeps_all_channels() {
    let mut ground = three();
    fs::rename(ground.path("specs"), ground.path("elsewhere")).unwrap();
    nothing_goes_and_healing_goes_on(&mut ground, &CHANNELS, "SourceUnavailable", "specs");
    fs::rename(ground.path("elsewhere"), ground.path("specs")).unwrap();
    all_is_well(&mut ground);
}

#[test]
fn a_spec_directory_that_became_a_file_keeps_all_channels() {
    let mut ground = three();
    fs::rename(ground.path("specs"), ground.path("elsewhere")).unwrap();
    fs::write(ground.path("specs"), "").unwrap();
    nothing_goes_and_healing_goes_on(&mut ground, &CHANNELS, "SourceUnavailable", "specs");
    fs::remove_file(ground.path("specs")).unwrap();
    fs::rename(ground.path("elsewhere"), ground.path("specs")).unwrap();
    all_is_well(&mut ground);
}

#[test]
fn a_spec_directory_that_is_unmounted_holds_every_removal() {
    let mut ground = Ground::new();
    let disk = Mounted::on(ground.path("specs"), "");
    for channel in CHANNELS {
        ground.channel(&format!("{channel}.yaml"), channel, "");
    }
    ground.start();
    ground.until_converged(&CHANNELS);
    let before = runs(&ground);
    // What is seen now is an empty directory, as readable as can be.
    drop(disk);
    for channel in CHANNELS {
        ground.until_reason(channel, "Ready", "PruneHeld");
    }
    ground.docker(&["kill", &ground.container("c")]);
    ground.until_runs("c", |now| now["State"]["StartedAt"] != before[2].1);
    ground.kill();
    ground.start();
    for channel in CHANNELS {
        ground.until_reason(channel, "Ready", "PruneHeld");
    }
    assert_eq!(runs(&ground)[..2], before[..2], "{}", ground.dump("a and b were not touched"));
    let _disk = Mounted::on(ground.path("specs"), "");
    for channel in CHANNELS {
        ground.channel(&format!("{channel}.yaml"), channel, "");
    }
    all_is_well(&mut ground);
    assert_eq!(runs(&ground)[..2], before[..2], "the same shells all along");
}
