//! Disks that are full: the engine's, and the store's.

use std::fs;
use std::os::unix::fs::symlink;
use std::time::Duration;

use super::bed::Bed;
use crate::support::mounted::Mounted;
use crate::support::operator::{Said, program};
use crate::support::own_engine::OwnEngine;

/// Makes a small disk of a file, and mounts it where the engine's data lies.
const SMALL_DISK: &str = "truncate -s 96M \"$1/disk\" && mkfs.ext4 -q \"$1/disk\" && mkdir -p \"$1/data\" && \
                          mount -o loop \"$1/disk\" \"$1/data\"";

/// Can this machine mount a file? What it said, if not.
fn cannot_mount_a_file() -> Option<String> {
    let root = tempfile::Builder::new().prefix("chanop-m").tempdir_in("/var/tmp").unwrap();
    let mut command = program("unshare");
    command.args(["-m", "sh", "-c", SMALL_DISK, "sh"]).arg(root.path());
    let said = Said::from(command.output().unwrap());
    (said.code != 0).then_some(said.err)
}

#[test]
#[ignore = "make chaos"]
fn f37_disk_full_under_the_engine() {
    if let Some(why) = cannot_mount_a_file() {
        #[expect(clippy::print_stderr, reason = "the one thing that must be said")]
        {
            eprintln!("F37 IS NOT TESTED: this machine cannot mount a small disk: {why}");
        }
        return;
    }
    let mut bed = Bed::on(OwnEngine::with_mounts(SMALL_DISK));
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    let before = ["a", "b"].map(|channel| bed.run_of(channel));
    let in_engine = |script: &str| {
        let mut command = bed.engine.inside();
        command.args(["sh", "-c", script, "sh"]).arg(bed.engine.path("data"));
        Said::from(command.output().unwrap()).well()
    };
    // To the last byte, and the last name: blocks that are set aside for root are root's, as we are.
    in_engine(
        "dd if=/dev/zero of=\"$1/full\" bs=1M 2>/dev/null; dd if=/dev/zero of=\"$1/last\" bs=512 2>/dev/null; sync",
    );
    let mark = bed.proxy.mark();
    bed.write("c", "");
    let why = bed.ground.until_reason("c", "Ready", "NoSpace");
    assert!(why.contains("no space left on device"), "{why}");
    std::thread::sleep(Duration::from_secs(8));
    let creates = bed.asked(mark, "POST", "/containers/create");
    let starts = bed.asked(mark, "POST", "/containers/*/start");
    assert!(creates <= 2 && starts <= 2, "{creates} and {starts}: {:#?}", bed.changes(mark));
    assert_eq!(["a", "b"].map(|channel| bed.run_of(channel)), before, "who runs, runs on");
    let mut free = bed.engine.inside();
    free.args(["sh", "-c", "rm \"$1/full\" \"$1/last\"", "sh"]).arg(bed.engine.path("data"));
    Said::from(free.output().unwrap()).well();
    bed.ground.chanop(&["reconcile", "channel/c"]).well();
    bed.finish(&["a", "b", "c"]);
}

#[test]
#[ignore = "make chaos"]
fn f38_disk_full_under_the_store() {
    // Mounted before the engine has its namespace of mounts, which sees it too. The init of a test's build takes half of it.
    let place = tempfile::Builder::new().prefix("chanop-s").tempdir_in("/var/tmp").unwrap();
    let state = place.path().to_owned();
    let disk = Mounted::on(state.clone(), ",mode=700,size=64m");
    let mut bed = Bed::new();
    symlink(&state, bed.ground.path("state")).unwrap();
    for channel in ["a", "b"] {
        bed.write(channel, "");
    }
    bed.ground.start();
    bed.ground.until_converged(&["a", "b"]);
    let (a, b) = (bed.run_of("a"), bed.run_of("b"));
    let full = fs::write(state.join("full"), vec![0; 64 << 20]);
    assert!(full.is_err(), "the disk is full");
    let mark = bed.proxy.mark();
    bed.change("a", "new");
    bed.until_unready("the store cannot be written");
    let changes = bed.changes(mark);
    // What was on its way when the store failed is finished; nothing is begun.
    assert!(changes.len() <= 1, "{changes:#?}");
    bed.kill("b");
    std::thread::sleep(Duration::from_secs(5));
    assert_eq!(bed.changes(mark).len(), changes.len(), "{:#?}", bed.changes(mark));
    fs::remove_file(state.join("full")).unwrap();
    bed.until_changed("a", "new");
    bed.until_another_run("b", &b);
    assert_ne!(bed.run_of("a"), a);
    // What it knows is whole: the next operator begins from it.
    bed.ground.kill();
    bed.ground.start();
    bed.finish(&["a", "b"]);
    drop(disk);
}
