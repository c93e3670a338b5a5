//! How programs save: each must end with the new content, and leave no second file.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use super::{Specs, Watched, command, names, on_events_only, run, text};

/// Saves `a.yaml` so, and waits until the operator sees it.
async fn is_seen(save: impl FnOnce(&Path)) {
    let specs = Specs::new();
    specs.write("team/a.yaml", "old");
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    save(&specs.path("team"));
    let scan = watched.until("the new text alone", |scan| {
        text(scan, "team/a.yaml") == Some("new") && names(scan) == ["team/a.yaml"]
    });
    assert!(scan.await.unreadable.is_empty());
}

#[tokio::test]
async fn vim_renames_the_old_file_to_a_backup_and_writes_a_new_one() {
    is_seen(|team| {
        fs::write(team.join(".a.yaml.swp"), "swap").unwrap();
        fs::write(team.join("4913"), "").unwrap();
        fs::remove_file(team.join("4913")).unwrap();
        fs::rename(team.join("a.yaml"), team.join("a.yaml~")).unwrap();
        fs::write(team.join("a.yaml"), "new").unwrap();
        fs::remove_file(team.join("a.yaml~")).unwrap();
        fs::remove_file(team.join(".a.yaml.swp")).unwrap();
    })
    .await;
}

#[tokio::test]
async fn emacs_leaves_a_lock_an_autosave_and_a_backup_beside_the_file() {
    is_seen(|team| {
        std::os::unix::fs::symlink("user@host.1:2", team.join(".#a.yaml")).unwrap();
        fs::write(team.join("#a.yaml#"), "half").unwrap();
        fs::copy(team.join("a.yaml"), team.join("a.yaml~")).unwrap();
        fs::write(team.join("a.yaml"), "new").unwrap();
    })
    .await;
}

#[tokio::test]
async fn vs_code_truncates_and_writes_in_place() {
    is_seen(|team| {
        let mut file =
            fs::OpenOptions::new().write(true).truncate(true).open(team.join("a.yaml")).unwrap();
        file.write_all(b"new").unwrap();
        file.sync_all().unwrap();
    })
    .await;
}

#[tokio::test]
async fn sed_i_renames_a_temporary_file_over() {
    is_seen(|team| run("sed", &["-i", "s/old/new/", "a.yaml"], team)).await;
}

#[tokio::test]
async fn a_file_unlinked_and_created_again_is_the_new_one() {
    is_seen(|team| {
        fs::remove_file(team.join("a.yaml")).unwrap();
        fs::write(team.join("a.yaml"), "new").unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_save_of_the_same_length_in_the_same_instant_is_seen() {
    is_seen(|team| {
        let before = fs::metadata(team.join("a.yaml")).unwrap().modified().unwrap();
        fs::write(team.join("a.yaml"), "new").unwrap();
        fs::File::options()
            .write(true)
            .open(team.join("a.yaml"))
            .unwrap()
            .set_modified(before)
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn rsync_and_cp_into_the_directory_are_seen() {
    is_seen(|team| {
        fs::write(team.join("../../new.txt"), "new").unwrap();
        run("cp", &["-p", "../../new.txt", "a.yaml"], team);
    })
    .await;
}

#[tokio::test]
async fn a_directory_made_and_filled_at_once_is_seen_whole() {
    let specs = Specs::new();
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    specs.write("new/deep/er/a.yaml", "a");
    watched
        .until("the file in the new directories", |scan| {
            text(scan, "new/deep/er/a.yaml") == Some("a")
        })
        .await;
    // And is listened to from then on.
    watched.next().await;
    specs.write("new/deep/er/a.yaml", "b");
    watched.until("the change in them", |scan| text(scan, "new/deep/er/a.yaml") == Some("b")).await;
}

#[tokio::test]
async fn a_file_written_in_halves_ends_whole_and_is_read_when_the_writer_is_quiet() {
    let specs = Specs::new();
    specs.write("a.yaml", "");
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    // Another process, with a pause as long as a slow disk's between the halves: shorter than the quiet that is waited for.
    let mut writer = command("sh")
        .args(["-c", "printf one > a.yaml; sleep 0.05; printf two >> a.yaml"])
        .current_dir(specs.root())
        .spawn()
        .unwrap();
    watched.until("both halves", |scan| text(scan, "a.yaml") == Some("onetwo")).await;
    assert!(writer.wait().unwrap().success());
}

#[tokio::test]
async fn somebody_who_writes_all_the_time_is_heard_all_the_same() {
    let specs = Specs::new();
    specs.write("a.yaml", "old");
    let mut watched = Watched::armed(specs.root(), on_events_only()).await;
    let mut writer = command("sh")
        .args(["-c", "while :; do echo x > noise.txt; echo x > other.txt; rm other.txt; done"])
        .current_dir(specs.root())
        .spawn()
        .unwrap();
    specs.write("a.yaml", "new");
    watched.until("the change among the noise", |scan| text(scan, "a.yaml") == Some("new")).await;
    writer.kill().unwrap();
    writer.wait().unwrap();
    watched.until("a whole scan after it", |scan| scan.proves_absence_of("b.yaml")).await;
}
