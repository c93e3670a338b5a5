//! What the operator does with files that go, that cannot be read, and with what it cannot write down, one sentence each.

use chanop::container::ContainerState;
use chanop::controller::request::{Reply, Request};
use chanop::resource::condition::Reason;
use chanop_sim::bed::{SECOND, TWELVE, converged, id, sound, status};
use chanop_sim::tree::Reading;
use chanop_sim::{Sim, Spec};

#[test]
fn two_of_twelve_are_stopped_kept_and_removed() {
    let mut sim = converged(&TWELVE);
    let gone = sim.now;
    sim.delete("a");
    sim.delete("b");
    sim.run_for(9 * SECOND);
    assert_eq!(sim.mutations(gone), 0, "absence is not believed at once");
    assert!(sim.run_until(10 * SECOND, |sim| {
        ["a", "b"].iter().all(|c| sim.shell(c).is_some_and(|s| s.state == ContainerState::Exited))
    }));
    sim.run_for(25 * SECOND);
    assert!(sim.shell("a").is_some(), "kept for keepStopped");
    assert!(sim.run_until(20 * SECOND, |sim| sim.shell("a").is_none() && sim.shell("b").is_none()));
    sim.run_for(SECOND);
    assert!(sim.channel("a").is_none());
    assert!(sim.all_ready());
    sound(&sim);
}

#[test]
fn the_return_of_the_file_starts_the_same_container_again() {
    let mut sim = converged(&["a", "b", "c"]);
    let first = id(&sim, "a");
    sim.delete("a");
    assert!(sim.run_until(30 * SECOND, |sim| {
        sim.shell("a").is_some_and(|shell| shell.state == ContainerState::Exited)
    }));
    sim.write("a", Spec::default());
    assert!(sim.run_until(10 * SECOND, |sim| sim.is_ready("a")));
    assert_eq!(id(&sim, "a"), first);
    sound(&sim);
}

#[test]
fn a_mass_removal_is_held_until_a_person_confirms_the_revision_that_was_shown() {
    let mut sim = converged(&TWELVE);
    sim.tree.revision = Some("4f1c2aa".to_owned());
    let since = sim.now;
    for channel in &TWELVE[..8] {
        sim.delete(channel);
    }
    sim.run_for(300 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    assert_eq!(sim.view.specs.held.len(), 8);
    assert_eq!(status(&sim, "a"), "PruneHeld");
    sim.engine.kill(&id(&sim, "a"), 137);
    assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|s| s.is_live())), "healed");
    let wrong = sim.request(Request::ConfirmPrune("abcdef0".to_owned()));
    assert!(matches!(sim.replies.get(&wrong), Some(Reply::Refused(_))));
    let shown = sim.view.specs.hold_revision.clone().unwrap();
    assert!(shown.starts_with("4f1c2aa-"), "{shown}");
    let right = sim.request(Request::ConfirmPrune(shown));
    assert!(matches!(sim.replies.get(&right), Some(Reply::Accepted(_))));
    assert!(sim.run_until(120 * SECOND, |sim| TWELVE[..8].iter().all(|c| sim.shell(c).is_none())));
    assert!(sim.all_ready());
    sound(&sim);
}

#[test]
fn a_held_removal_stays_held_over_a_restart() {
    let mut sim = converged(&["a", "b", "c", "d"]);
    for channel in ["a", "b", "c"] {
        sim.delete(channel);
    }
    sim.run_for(30 * SECOND);
    let since = sim.now;
    sim.crash(SECOND);
    sim.run_for(120 * SECOND);
    assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
    assert_eq!(sim.view.specs.held.len(), 3);
}

#[test]
fn what_is_left_of_a_held_removal_stays_held_over_a_restart() {
    let mut sim = converged(&["a", "b", "c", "d", "e"]);
    for channel in ["a", "b", "c"] {
        sim.delete(channel);
    }
    sim.run_for(30 * SECOND);
    sim.write("c", Spec::default());
    sim.run_for(5 * SECOND);
    // Two of five would not be held for their number.
    let since = sim.now;
    sim.crash(SECOND);
    sim.run_for(120 * SECOND);
    assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
    assert_eq!(sim.view.specs.held.len(), 2);
    sound(&sim);
}

#[test]
fn a_broken_file_keeps_its_last_good_content_over_a_restart() {
    let mut sim = converged(&["a", "b"]);
    let since = sim.now;
    sim.tree.tear("a", 1);
    sim.files_changed();
    sim.run_for(60 * SECOND);
    sim.crash(SECOND);
    sim.run_for(120 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    assert!(sim.view.specs.invalid.contains_key("a.yaml"), "{:?}", sim.view.specs.invalid);
    sim.engine.remove_by_hand(&id(&sim, "a"));
    assert!(
        sim.run_until(5 * SECOND, |sim| sim.is_ready("a")),
        "healed from the last good content"
    );
    sound(&sim);
}

#[test]
fn while_the_directory_is_away_nothing_is_stopped_and_healing_goes_on() {
    let mut sim = converged(&["a", "b"]);
    let since = sim.now;
    sim.tree.away = Some("moved away");
    sim.files_changed();
    sim.run_for(60 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    sim.engine.remove_by_hand(&id(&sim, "a"));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    sim.crash(SECOND);
    sim.run_for(60 * SECOND);
    sim.engine.remove_by_hand(&id(&sim, "b"));
    assert!(
        sim.run_until(5 * SECOND, |sim| sim.shell("b").is_some_and(|s| s.is_live())),
        "also after a restart: {}",
        sim.log.join("\n")
    );
    sound(&sim);
}

#[test]
fn a_container_without_a_record_goes_once_the_folder_of_its_file_can_be_read_and_holds_none() {
    let mut sim = converged(&["a", "b"]);
    sim.tree.closed.insert("team".to_owned());
    sim.files_changed();
    sim.run_for(5 * SECOND);
    sim.crash(SECOND);
    sim.lose_store();
    sim.takeover = true;
    sim.run_for(120 * SECOND);
    assert_eq!(status(&sim, "b"), Reason::SourceInvalid.as_str(), "its file is team/b.yaml");
    sim.delete("b");
    sim.run_for(120 * SECOND);
    assert!(sim.shell("b").is_some_and(|shell| shell.is_live()), "nobody knows that it is gone");
    sim.tree.closed.clear();
    sim.files_changed();
    assert!(sim.run_until(60 * SECOND, |sim| sim.shell("b").is_none()), "{}", sim.log.join("\n"));
    assert!(sim.is_ready("a"));
    sound(&sim);
}

#[test]
fn an_unreadable_file_stops_nothing() {
    let mut sim = converged(&["a"]);
    let since = sim.now;
    sim.tree.files.get_mut("a").expect("a file").reading = Reading::Unreadable;
    sim.files_changed();
    sim.run_for(120 * SECOND);
    assert_eq!(sim.mutations(since), 0);
}

#[test]
fn while_the_store_cannot_be_written_nothing_is_changed() {
    let mut sim = converged(&["a"]);
    sim.store.failing = true;
    sim.edit("a", |spec| spec.var = 7);
    sim.run_for(SECOND);
    let since = sim.now;
    sim.engine.kill(&id(&sim, "a"), 137);
    sim.run_for(60 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    assert!(sim.view.blocked.as_deref().is_some_and(|why| why.contains("store")));
    sim.store.failing = false;
    assert!(sim.run_until(15 * SECOND, Sim::all_ready));
    sound(&sim);
}

#[test]
fn a_workspace_that_vanishes_holds_the_channel_and_what_runs_stays() {
    let mut sim = converged(&["a"]);
    let since = sim.now;
    sim.host.missing.insert("/home/u/a".to_owned());
    sim.run_for(60 * SECOND);
    assert_eq!(status(&sim, "a"), Reason::WorkspaceMissing.as_str());
    assert_eq!(sim.mutations(since), 0);
    sim.host.missing.clear();
    assert!(sim.run_until(60 * SECOND, |sim| sim.is_ready("a")));
}
