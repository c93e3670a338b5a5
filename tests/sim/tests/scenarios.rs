//! What the operator does when …, one sentence each.

use std::time::Duration;

use chanop::container::config::Limits;
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::effect::SecretsOf;
use chanop::controller::request::{Reply, Request};
use chanop::resource::condition::{ConditionType, Reason};
use chanop::world::record::Loaded;
use chanop_sim::bed::{SECOND, TWELVE, converged, id, sound, status, target};
use chanop_sim::driver::Fate;
use chanop_sim::engine::IMAGE_REMOTE;
use chanop_sim::host::{another_operator, name};
use chanop_sim::{Sim, Spec};

#[test]
fn twelve_channels_cost_a_create_and_a_start_each() {
    let sim = converged(&TWELVE);
    for word in ["create", "start"] {
        assert_eq!(sim.count(Duration::ZERO, word, None), 12, "{word}");
    }
    assert_eq!(sim.count(Duration::ZERO, "inspect", None), 0, "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn at_rest_there_are_pings_and_lists_whatever_the_number_of_channels() {
    let mut sim = converged(&TWELVE);
    let (since, commits) = (sim.now, sim.store.commits);
    sim.run_for(300 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    assert_eq!(sim.count(since, "inspect", None), 0);
    // A look at the anchor takes the place of a ping.
    assert!((12..=18).contains(&sim.count(since, "ping", None)));
    assert!((5..=8).contains(&sim.count(since, "anchor", None)));
    assert!((4..=7).contains(&sim.count(since, "list", None)));
    assert_eq!(sim.store.commits, commits);
}

#[test]
fn a_change_waits_until_everybody_has_left_the_shell() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.enter(&first);
    sim.edit("a", |spec| spec.image = "img-b:1");
    sim.run_for(60 * SECOND);
    assert_eq!(id(&sim, "a"), first);
    let view = sim.channel("a").expect("a view");
    assert!(view.ready, "a shell whose change waits is usable");
    assert_eq!(view.pending.as_ref().map(|pending| pending.action.as_str()), Some("recreate"));
    sim.engine.leave(&first);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a") && id(sim, "a") != first));
    sound(&sim);
}

#[test]
fn shell_with_replaced_workspace_restarts_within_a_minute() {
    let mut sim = converged(&["a", "b"]);
    let (a, b) = (id(&sim, "a"), id(&sim, "b"));
    sim.engine.replace_path("/home/u/a");
    assert!(
        sim.run_until(70 * SECOND, |sim| sim.shell("a").is_some_and(|shell| shell.starts == 2)),
        "{}",
        sim.log.join("\n")
    );
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    sim.run_for(300 * SECOND);
    let starts = |name: &str| sim.shell(name).map(|shell| (shell.id.clone(), shell.starts));
    assert_eq!((starts("a"), starts("b")), (Some((a, 2)), Some((b, 1))));
    sound(&sim);
}

#[test]
fn ensure_restarts_an_idle_shell_with_replaced_workspace() {
    let mut sim = converged(&["a"]);
    sim.engine.replace_path("/home/u/a");
    let asked = sim.request(Request::Ensure(name("a")));
    assert!(sim.run_until(10 * SECOND, |sim| sim.replies.contains_key(&asked)));
    assert!(matches!(sim.replies.get(&asked), Some(Reply::Ensured(_))), "{:?}", sim.replies);
    let shell = sim.shell("a").expect("a shell");
    assert_eq!((shell.starts, sim.engine.has_replaced_workspace(shell)), (2, false));
    sound(&sim);
}

#[test]
fn replaced_workspace_waits_for_open_shells_and_is_named() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.enter(&first);
    sim.engine.replace_path("/home/u/a");
    sim.run_for(70 * SECOND);
    assert_eq!(sim.shell("a").map(|shell| shell.starts), Some(1));
    let view = sim.channel("a").expect("a view");
    assert_eq!((view.ready, view.status.as_str()), (false, "MountReplaced"));
    assert!(view.message.contains("/home/u/a was replaced"), "{}", view.message);
    let asked = sim.request(Request::Ensure(name("a")));
    assert!(sim.run_until(10 * SECOND, |sim| sim.replies.contains_key(&asked)));
    let reply = format!("{:?}", sim.replies.get(&asked));
    assert!(reply.contains("Refused") && reply.contains("was replaced"), "{reply}");
    sim.engine.leave(&first);
    assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|s| s.starts == 2)));
    sound(&sim);
}

#[test]
fn secrets_of_a_gone_channel_go_with_its_last_container() {
    let mut sim = converged(&["a", "b"]);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.host.secrets_removed.len(), 0, "one list may be an old one");
    assert!(
        sim.run_until(100 * SECOND, |sim| sim.host.secrets_removed.len() == 1),
        "once after the start"
    );
    let shell = id(&sim, "a");
    sim.delete("a");
    let removed = |sim: &chanop_sim::Sim| sim.host.secrets_removed.last().cloned();
    let of_a = SecretsOf::These([name("a")].into());
    assert!(sim.run_until(200 * SECOND, |sim| removed(sim) == Some(of_a.clone())));
    assert!(!sim.engine.containers.contains_key(&shell));
    sim.run_for(300 * SECOND);
    assert_eq!(sim.host.secrets_removed.len(), 2);
    sim.crash(SECOND);
    sim.run_for(150 * SECOND);
    let kept = SecretsOf::AllBut([name("b")].into());
    assert_eq!(removed(&sim), Some(kept), "what the last process left is looked for once");
    sound(&sim);
}

#[test]
fn unmounted_workspace_is_a_condition_and_no_restart() {
    let mut sim = converged(&["a"]);
    sim.host.unmounted.insert("/home/u/a".to_owned());
    sim.run_for(300 * SECOND);
    assert_eq!(sim.shell("a").map(|shell| shell.starts), Some(1));
    let view = sim.channel("a").expect("a view");
    assert_eq!((view.ready, view.status.as_str()), (false, "WorkspaceMissing"));
    sim.host.unmounted.clear();
    assert!(sim.run_until(70 * SECOND, |sim| sim.is_ready("a")));
    assert_eq!(sim.shell("a").map(|shell| shell.starts), Some(1));
    sound(&sim);
}

#[test]
fn mounts_that_change_again_and_again_cost_few_restarts() {
    let mut sim = converged(&["a"]);
    for _ in 0..120 {
        sim.engine.replace_path("/home/u/a");
        sim.run_for(60 * SECOND);
    }
    let starts = sim.shell("a").map(|shell| shell.starts).unwrap_or_default();
    assert!((5..12).contains(&starts), "{starts} starts in two hours");
    sound(&sim);
}

#[test]
fn a_change_that_waits_too_long_is_forced_and_the_wait_survives_a_restart() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.enter(&first);
    sim.edit("a", |spec| spec.image = "img-b:1");
    sim.run_for(200 * SECOND);
    sim.crash(SECOND);
    sim.run_for(80 * SECOND);
    assert_eq!(id(&sim, "a"), first);
    assert!(
        sim.run_until(30 * SECOND, |sim| sim.is_ready("a") && id(sim, "a") != first),
        "{}",
        sim.log.join("\n")
    );
    sound(&sim);
}

#[test]
fn limits_change_in_place() {
    let mut sim = converged(&["a"]);
    let (first, since) = (id(&sim, "a"), sim.now);
    sim.edit("a", |spec| spec.memory = 128);
    assert!(sim.run_until(5 * SECOND, |sim| {
        sim.shell("a").is_some_and(|s| s.config.limits.memory_bytes == 128 << 20)
    }));
    sim.run_for(30 * SECOND);
    assert_eq!(id(&sim, "a"), first);
    assert_eq!(sim.shell("a").map(|shell| shell.starts), Some(1));
    assert_eq!(sim.mutations(since), 1);
    sound(&sim);
}

#[test]
fn first_limit_is_set_in_place() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.memory = 0);
    let unlimited = |sim: &Sim| {
        sim.is_ready("a") && sim.shell("a").is_some_and(|s| s.config.limits.memory_bytes == 0)
    };
    assert!(sim.run_until(60 * SECOND, unlimited), "{}", sim.log.join("\n"));
    sim.run_for(10 * SECOND);
    let (first, since) = (id(&sim, "a"), sim.now);
    sim.edit("a", |spec| spec.memory = 128);
    assert!(sim.run_until(5 * SECOND, |sim| {
        sim.shell("a").is_some_and(|s| s.config.limits.memory_bytes == 128 << 20)
    }));
    sim.run_for(30 * SECOND);
    assert_eq!((id(&sim, "a"), sim.mutations(since)), (first, 1));
    sound(&sim);
}

#[test]
fn removed_limit_recreates_the_shell_once() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.edit("a", |spec| spec.memory = 0);
    let recreated = |sim: &Sim| sim.is_ready("a") && id(sim, "a") != first;
    assert!(sim.run_until(60 * SECOND, recreated), "{}", sim.log.join("\n"));
    let second = id(&sim, "a");
    sim.run_for(120 * SECOND);
    assert_eq!(id(&sim, "a"), second, "and once");
    assert_eq!(sim.shell("a").map(|s| s.config.limits.memory_bytes), Some(0));
    sound(&sim);
}

#[test]
fn what_docker_update_changed_is_put_back() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    let limits = Limits { nano_cpus: 0, memory_bytes: 1 << 30, pids: 7 };
    sim.engine.update_by_hand(&first, Some(limits), Some("always"));
    assert!(sim.run_until(5 * SECOND, |sim| {
        sim.shell("a").is_some_and(|s| s.restart_policy == "no" && s.config.limits.pids != 7)
    }));
    assert_eq!(id(&sim, "a"), first);
    sound(&sim);
}

#[test]
fn shell_pinned_by_hand_is_recreated_when_idle() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.enter(&first);
    sim.engine.pin_by_hand(&first);
    sim.run_for(90 * SECOND);
    assert_eq!(id(&sim, "a"), first, "somebody is in it");
    sim.engine.leave(&first);
    let recreated = |sim: &Sim| sim.is_ready("a") && id(sim, "a") != first;
    assert!(sim.run_until(90 * SECOND, recreated), "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_shell_that_was_taken_off_its_network_is_made_anew_each_time_within_a_minute_or_so() {
    let mut sim = converged(&["a"]);
    for _ in 0..3 {
        let before = id(&sim, "a");
        sim.disconnect_by_hand(&before);
        assert!(
            sim.run_until(75 * SECOND, |sim| {
                sim.is_ready("a") && sim.shell("a").is_some_and(|shell| shell.id != before)
            }),
            "no event tells; the list of every minute does: {}",
            sim.log.join("\n")
        );
        sim.run_for(10 * SECOND);
        assert!(sim.shell("a").is_some_and(|shell| !shell.networks.is_empty()));
    }
    sound(&sim);
}

#[test]
fn a_refused_stop_is_no_proof_that_the_engine_reports_a_drift_of_each_container() {
    let mut sim = converged(&["a"]);
    let before = id(&sim, "a");
    sim.fates.extend([("stop", Fate::Conflict), ("stop", Fate::Conflict)]);
    sim.disconnect_by_hand(&before);
    let recreated = |sim: &Sim| sim.is_ready("a") && id(sim, "a") != before;
    assert!(sim.run_until(200 * SECOND, recreated), "{}", sim.log.join("\n"));
    assert!(sim.fates.is_empty(), "both stops were refused");
    sound(&sim);
}

#[test]
fn what_docker_update_changed_while_the_operator_was_away_is_put_back() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.crash(SECOND);
    sim.engine.update_by_hand(&first, None, Some("always"));
    assert!(
        sim.run_until(10 * SECOND, |sim| sim.shell("a").is_some_and(|s| s.restart_policy == "no"))
    );
    sound(&sim);
}

#[test]
fn a_shell_that_is_made_anew_again_and_again_leaves_nothing_in_mind_and_costs_no_new_stream() {
    let mut sim = converged(&["a"]);
    let mut sizes = Vec::new();
    for var in 1..60 {
        sim.edit("a", |spec| spec.var = var % 3);
        sim.run_for(20 * SECOND);
        // What changes with time has the same length by then.
        if var % 3 == 0 && var > 30 {
            sizes.push(format!("{:?}", sim.core().expect("it lives")).len());
        }
    }
    assert_eq!(sim.view.stats.event_gaps, 0, "{}", sim.log.join("\n"));
    let (first, last) = (sizes[0], sizes[sizes.len() - 1]);
    assert!(last <= first + 300, "{sizes:?}");
    sound(&sim);
}

#[test]
fn a_start_that_the_engine_could_not_write_down_makes_no_shell_doubtful() {
    let mut sim = Sim::with_channels(1, &["a"]);
    assert!(sim.run_until(30 * SECOND, Sim::all_ready));
    let shell = id(&sim, "a");
    sim.engine.containers.get_mut(&shell).unwrap().start_unwritten = true;
    let flickered = sim.run_until(300 * SECOND, |sim| !sim.is_ready("a"));
    assert!(!flickered, "{}", sim.log.join("\n"));
    assert_eq!(sim.shell("a").map(|shell| (shell.id.clone(), shell.starts)), Some((shell, 1)));
    sound(&sim);
}

#[test]
fn a_shell_that_the_operator_stopped_itself_has_not_crashed() {
    let mut sim = converged(&["a"]);
    for _ in 0..4 {
        sim.edit("a", |spec| spec.suspend = true);
        assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|s| !s.is_live())));
        sim.edit("a", |spec| spec.suspend = false);
        assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
        assert_eq!(sim.channel("a").map(|view| view.restarts), Some(0));
    }
    // The first real end is a first one: started again at once.
    sim.engine.kill(&id(&sim, "a"), 137);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_list_that_was_made_before_a_removal_does_not_bring_back_what_was_removed() {
    let mut sim = converged(&["a"]);
    let before = id(&sim, "a");
    sim.fates.push_back(("list", Fate::Late(5 * SECOND)));
    sim.request(Request::Reconcile(None));
    sim.run_for(Duration::from_millis(50));
    sim.edit("a", |spec| spec.var = 1);
    assert!(sim.run_until(3 * SECOND, |sim| sim.is_ready("a") && id(sim, "a") != before));
    sim.run_for(5 * SECOND);
    let known = sim.core().expect("it lives").world().observed.get(&before).is_some();
    assert!(!known, "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn nor_does_it_when_nothing_of_it_was_left_and_an_event_told_so_before() {
    // In some of these the event of the removal comes before its answer, in some after the channel was forgotten.
    for seed in 0..16 {
        let mut sim = Sim::new(seed);
        sim.write("a", Spec { keep_stopped: "5s", ..Spec::default() });
        assert!(sim.run_until(30 * SECOND, Sim::all_ready), "{}", sim.log.join("\n"));
        let shell = id(&sim, "a");
        sim.delete("a");
        assert!(sim.run_until(30 * SECOND, |sim| sim.shell("a").is_some_and(|it| !it.is_live())));
        sim.run_for(4 * SECOND);
        sim.fates.push_back(("list", Fate::Late(5 * SECOND)));
        sim.request(Request::Reconcile(None));
        sim.run_for(10 * SECOND);
        assert!(sim.shell("a").is_none(), "{}", sim.log.join("\n"));
        let known = sim.core().expect("it lives").world().observed.get(&shell).is_some();
        assert!(!known, "seed {seed}: {}", sim.log.join("\n"));
        sound(&sim);
    }
}

#[test]
fn a_look_that_the_engine_refuses_is_taken_more_and_more_slowly() {
    let mut sim = converged(&["a"]);
    for _ in 0..500 {
        sim.fates.push_back(("inspect", Fate::Refused(Reason::HostFailed)));
    }
    let since = sim.now;
    sim.engine.kill(&id(&sim, "a"), 137);
    sim.run_for(20 * SECOND);
    let looks = sim.count(since, "inspect", Some("a"));
    assert!((3..=12).contains(&looks), "{looks} looks in twenty seconds");
    sim.fates.clear();
    assert!(sim.run_until(60 * SECOND, |sim| sim.is_ready("a")));
    sound(&sim);
}

#[test]
fn a_shell_that_a_list_shows_as_ended_is_not_ready_though_a_look_is_still_on_its_way() {
    let mut sim = converged(&["a"]);
    sim.fates.push_back(("inspect", Fate::Late(5 * SECOND)));
    sim.engine.kill(&id(&sim, "a"), 137);
    assert!(sim.run_until(SECOND, |sim| sim.fates.is_empty()));
    sim.request(Request::Reconcile(None));
    sim.run_for(2 * SECOND);
    assert!(!sim.is_ready("a"), "{}", sim.log.join("\n"));
    assert!(sim.run_until(60 * SECOND, |sim| sim.is_ready("a")));
    sound(&sim);
}

#[test]
fn a_shell_that_keeps_ending_is_started_later_and_later() {
    ends_again_and_again(Duration::ZERO);
}

#[test]
fn a_list_that_lags_does_not_bring_what_ended_back_to_life() {
    // Long enough for the list of every minute to say that it runs while it waits to be started.
    ends_again_and_again(100 * SECOND);
}

fn ends_again_and_again(lag: Duration) {
    let mut sim = Sim::new(1);
    sim.engine.lag = lag;
    sim.write("a", Spec { image: "img-crash:1", ..Spec::default() });
    sim.run_for(400 * SECOND);
    let starts: Vec<u64> = sim
        .calls
        .iter()
        .filter(|call| call.word == "start")
        .map(|call| call.at.as_secs())
        .collect();
    let waits: Vec<u64> = starts.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let expected = [1, 11, 21, 41, 81, 161];
    assert_eq!(waits.len(), expected.len(), "{waits:?}");
    for (wait, expected) in waits.iter().zip(expected) {
        assert!(wait.abs_diff(expected) <= 1, "{waits:?}");
    }
    assert_eq!(status(&sim, "a"), "CrashLoopBackOff");
    sound(&sim);
}

#[test]
fn a_container_that_cannot_be_started_is_removed_and_made_anew_more_and_more_slowly() {
    let mut sim = Sim::new(1);
    sim.write("a", Spec { image: "img-bad:1", ..Spec::default() });
    sim.run_for(300 * SECOND);
    let creates = sim.count(Duration::ZERO, "create", Some("a"));
    assert!((4..=12).contains(&creates), "{creates} creates\n{}", sim.log.join("\n"));
    assert!(sim.count(Duration::ZERO, "start", Some("a")) <= creates);
    assert_eq!(status(&sim, "a"), "StartFailed");
    sim.edit("a", |spec| spec.image = "img-a:1");
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "a new spec opens the gate");
    sound(&sim);
}

#[test]
fn an_image_that_nobody_has_is_tried_by_the_schedule_whatever_events_come() {
    let mut sim = Sim::new(1);
    sim.write("a", Spec { image: "img-missing:1", ..Spec::default() });
    sim.run_for(300 * SECOND);
    assert_eq!(sim.count(Duration::ZERO, "create", Some("a")), 1);
    assert!((2..=12).contains(&sim.count(Duration::ZERO, "pull", None)));
    assert_eq!(status(&sim, "a"), "ImagePullBackOff");
    sim.engine.images.insert("img-missing:1".to_owned());
    sim.request(Request::Reconcile(Some(target("a"))));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "reconcile opens the gate");
}

#[test]
fn an_image_of_many_channels_is_pulled_once() {
    let mut sim = Sim::new(1);
    for channel in TWELVE {
        sim.write(channel, Spec { image: IMAGE_REMOTE, ..Spec::default() });
    }
    assert!(sim.run_until(30 * SECOND, Sim::all_ready), "{}", sim.log.join("\n"));
    assert_eq!(sim.count(Duration::ZERO, "pull", None), 1);
    sound(&sim);
}

#[test]
fn what_runs_is_kept_until_the_image_of_its_successor_is_there() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.registry_down = true;
    sim.edit("a", |spec| spec.image = IMAGE_REMOTE);
    sim.run_for(120 * SECOND);
    assert_eq!((id(&sim, "a"), sim.is_ready("a")), (first.clone(), true));
    let pending = sim.channel("a").and_then(|view| view.pending.clone()).expect("it waits");
    assert!(pending.waits.contains("the registry does not answer"), "{pending:?}");
    assert!(sim.count(Duration::ZERO, "pull", None) <= 7, "more and more slowly");
    // It ends by itself: the old one is started again.
    sim.engine.kill(&first, 137);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    assert_eq!(id(&sim, "a"), first);
    sim.engine.registry_down = false;
    assert!(sim.run_until(300 * SECOND, |sim| {
        sim.is_ready("a") && sim.shell("a").is_some_and(|shell| shell.id != first)
    }));
    assert_eq!(sim.shell("a").map(|shell| shell.config.image.as_str()), Some(IMAGE_REMOTE));
    sound(&sim);
}

#[test]
fn a_pull_that_stands_still_holds_up_nobody_else() {
    let mut sim = Sim::new(1);
    sim.fates.push_back(("pull", Fate::Hangs));
    sim.write("a", Spec { image: IMAGE_REMOTE, ..Spec::default() });
    sim.write("b", Spec::default());
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("b")));
    assert_eq!(status(&sim, "a"), "ImagePulling");
    assert!(sim.run_until(150 * SECOND, Sim::all_ready), "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_create_whose_answer_is_lost_makes_no_second_container() {
    for fate in [Fate::AnswerLost, Fate::Lost, Fate::Hangs, Fate::Zombie(3 * SECOND)] {
        let mut sim = Sim::with_channels(1, &["a"]);
        sim.fates.push_back(("create", fate.clone()));
        assert!(sim.run_until(200 * SECOND, Sim::all_ready), "{fate:?}\n{}", sim.log.join("\n"));
        sim.run_for(30 * SECOND);
        assert_eq!(sim.engine.containers.len(), 1, "{fate:?}");
        sound(&sim);
    }
}

#[test]
fn what_has_our_name_after_a_refusal_is_not_removed_at_once() {
    let mut sim = Sim::new(1);
    sim.luck.slow = 2;
    sim.fates.push_back(("create", Fate::Refused(Reason::HostFailed)));
    sim.fates.push_back(("create", Fate::Already));
    sim.write("a", Spec::default());
    assert!(sim.run_until(60 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    let at = |word: &str| {
        sim.calls.iter().filter(|it| it.word == word).map(|it| it.at).collect::<Vec<_>>()
    };
    let (creates, removes) = (at("create"), at("remove"));
    assert_eq!((creates.len(), removes.len()), (3, 1), "{}", sim.log.join("\n"));
    let waited = removes.first().zip(creates.get(1)).map(|(remove, create)| *remove - *create);
    assert!(waited >= Some(Duration::from_millis(25)), "B3: {waited:?}\n{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_name_in_a_strangers_hands_is_left_to_them() {
    let mut sim = Sim::new(1);
    let shell = ContainerName::parse("chanop_default_a").expect("a name");
    let stranger =
        sim.engine.create_by_hand(&shell, std::collections::BTreeMap::new()).expect("made");
    sim.write("a", Spec::default());
    sim.run_for(300 * SECOND);
    assert_eq!(status(&sim, "a"), "NameConflict");
    let creates = sim.count(Duration::ZERO, "create", Some("a"));
    assert!(creates <= 12, "{creates} creates in five minutes");
    assert_eq!(
        sim.engine.containers.get(&stranger).map(|c| c.state),
        Some(ContainerState::Running)
    );
    sim.engine.remove_by_hand(&stranger);
    sim.request(Request::Reconcile(Some(target("a"))));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    sound(&sim);
}

#[test]
fn a_name_that_nobody_has_and_nobody_can_take_is_tried_more_and_more_slowly() {
    let mut sim = Sim::new(1);
    sim.luck.slow = 2;
    let shell = ContainerName::parse("chanop_default_a").expect("a name");
    sim.engine.phantoms.insert(shell, 900 * SECOND);
    sim.write("a", Spec::default());
    sim.run_for(70 * SECOND);
    let since = sim.now;
    sim.run_for(300 * SECOND);
    let creates = sim.count(since, "create", Some("a"));
    assert!((2..=9).contains(&creates), "{creates} creates in five minutes, after the first");
    assert_eq!(status(&sim, "a"), Reason::Stuck.as_str());
    assert!(sim.run_until(1_000 * SECOND, |sim| sim.is_ready("a")));
    sound(&sim);
}

#[test]
fn a_shell_that_somebody_entered_after_the_look_is_not_stopped() {
    // More than are stopped at once, so that some wait for a lane after they were looked at.
    let names: Vec<String> = (0..24).map(|number| format!("c{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut sim = converged(&names);
    sim.luck.slow = 50;
    for channel in &names {
        sim.tree.write(channel, Spec { var: 1, ..Spec::default() });
    }
    sim.files_changed();
    let looked = |sim: &Sim| sim.calls.iter().filter(|call| call.word == "stop").count() == 16;
    assert!(sim.run_until(5 * SECOND, looked));
    sim.luck.slow = 1;
    let ids: Vec<ContainerId> = names.iter().map(|channel| id(&sim, channel)).collect();
    for shell in &ids {
        sim.engine.enter(shell);
    }
    let entered = sim.now;
    sim.run_for(Duration::from_millis(5));
    sim.run_for(30 * SECOND);
    let later = sim.count(entered + Duration::from_millis(5), "stop", None);
    assert_eq!(later, 0, "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_renamed_shell_is_never_touched_and_a_new_one_is_made() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.rename(&first, &ContainerName::parse("mine").expect("a name"));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    sim.run_for(300 * SECOND);
    assert_ne!(id(&sim, "a"), first);
    assert_eq!(sim.engine.containers.get(&first).map(|c| c.state), Some(ContainerState::Running));
    assert_eq!(sim.view.impostors.len(), 1);
    sound(&sim);
}

#[test]
fn a_paused_shell_is_left_alone() {
    let mut sim = converged(&["a"]);
    let (first, since) = (id(&sim, "a"), sim.now);
    sim.engine.pause(&first);
    sim.run_for(10 * SECOND);
    assert_eq!(status(&sim, "a"), "Paused");
    sim.edit("a", |spec| spec.image = "img-b:1");
    sim.run_for(300 * SECOND);
    assert_eq!(sim.mutations(since), 0);
    sim.engine.unpause(&first);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a") && id(sim, "a") != first));
    sound(&sim);
}

#[test]
fn three_failures_open_the_breaker_and_one_probe_asks_for_all() {
    let mut sim = converged(&TWELVE);
    let ids: Vec<ContainerId> = sim.engine.containers.keys().cloned().collect();
    sim.engine.down = true;
    for container in &ids {
        sim.engine.kill(container, 137);
    }
    let since = sim.now;
    sim.run_for(60 * SECOND);
    assert_eq!(status(&sim, "a"), "EngineUnavailable");
    let calls = sim.calls.iter().filter(|call| call.at >= since).count();
    assert!(calls <= 50, "{calls} calls while the engine is away");
    sim.engine.down = false;
    assert!(sim.run_until(30 * SECOND, Sim::all_ready));
    sound(&sim);
}

#[test]
fn a_deaf_event_stream_is_noticed_within_five_seconds_of_an_own_change() {
    let mut sim = converged(&["a", "b"]);
    sim.deaf = true;
    sim.edit("a", |spec| spec.memory = 128);
    let changed = sim.now;
    assert!(
        sim.run_until(7 * SECOND, |sim| sim.count(changed, "list", None) > 0),
        "{}",
        sim.log.join("\n")
    );
}

#[test]
fn a_channel_suspended_by_hand_runs_again_when_its_time_is_over() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    let request = Request::Suspend {
        target: target("a"),
        duration: Some(30 * SECOND),
        reason: "lunch".to_owned(),
    };
    sim.request(request);
    assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|s| !s.is_live())));
    assert_eq!(status(&sim, "a"), "Suspended");
    // The override is on the disk.
    sim.run_for(SECOND);
    sim.crash(SECOND);
    sim.run_for(10 * SECOND);
    assert!(!sim.shell("a").is_some_and(|s| s.is_live()), "an override outlives the process");
    assert!(sim.run_until(25 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    assert_eq!(id(&sim, "a"), first);
    sound(&sim);
}

#[test]
fn a_channel_suspended_by_its_file_is_stopped_and_kept() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.edit("a", |spec| spec.suspend = true);
    assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|s| !s.is_live())));
    sim.run_for(300 * SECOND);
    sim.edit("a", |spec| spec.suspend = false);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    assert_eq!(id(&sim, "a"), first);
    sound(&sim);
}

#[test]
fn a_deselected_channel_is_stopped_and_never_removed() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.zone = Some("far"));
    sim.run_for(300 * SECOND);
    assert_eq!(sim.shell("a").map(|shell| shell.state), Some(ContainerState::Exited));
    assert_eq!(status(&sim, "a"), "NotForThisHost");
    sound(&sim);
}

#[test]
fn ensure_answers_with_the_running_shell_or_says_why_not() {
    let mut sim = converged(&["a"]);
    sim.engine.remove_by_hand(&id(&sim, "a"));
    let asked = sim.request(Request::Ensure(name("a")));
    assert!(sim.run_until(5 * SECOND, |sim| sim.replies.contains_key(&asked)));
    let Some(Reply::Ensured(shell)) = sim.replies.get(&asked) else {
        panic!("{:?}", sim.replies.get(&asked));
    };
    assert_eq!(shell.container_id, id(&sim, "a"));
    sim.edit("a", |spec| spec.suspend = true);
    sim.run_for(10 * SECOND);
    let asked = sim.request(Request::Ensure(name("a")));
    sim.run_for(SECOND);
    assert!(matches!(sim.replies.get(&asked), Some(Reply::Refused(_))), "{:?}", sim.replies);
    let asked = sim.request(Request::Ensure(name("nobody")));
    assert!(matches!(sim.replies.get(&asked), Some(Reply::NotFound(_))));
}

#[test]
fn ensure_while_the_engine_is_away_is_answered_after_a_minute() {
    let mut sim = converged(&["a"]);
    sim.engine.down = true;
    sim.run_for(30 * SECOND);
    let asked = sim.request(Request::Ensure(name("a")));
    sim.run_for(30 * SECOND);
    assert_eq!(sim.replies.get(&asked), None);
    sim.run_for(31 * SECOND);
    assert!(matches!(sim.replies.get(&asked), Some(Reply::Refused(_))));
}

#[test]
fn ensure_of_a_channel_whose_file_goes_meanwhile_is_answered() {
    let mut sim = converged(&["a", "b", "c"]);
    sim.edit("a", |spec| spec.keep_stopped = "0s");
    sim.run_for(2 * SECOND);
    sim.engine.full = true;
    sim.engine.remove_by_hand(&id(&sim, "a"));
    let asked = sim.request(Request::Ensure(name("a")));
    sim.delete("a");
    assert!(sim.run_until(70 * SECOND, |sim| sim.replies.contains_key(&asked)));
    assert!(!matches!(sim.replies.get(&asked), Some(Reply::Ensured(_))));
    sim.run_for(70 * SECOND);
    sound(&sim);
}

#[test]
fn another_operators_anchor_ends_this_one_and_takeover_takes_it() {
    let mut sim = Sim::with_channels(1, &["a"]);
    sim.take_anchor(another_operator("state-2"));
    sim.run_for(10 * SECOND);
    assert!(sim.fatal.as_deref().is_some_and(|why| why.contains("--takeover")));
    assert_eq!(sim.mutations(Duration::ZERO), 0);
    let mut sim = Sim::with_channels(1, &["a"]);
    sim.take_anchor(another_operator("state-2"));
    sim.takeover = true;
    sim.run_for(10 * SECOND);
    assert_eq!(sim.mutations(Duration::ZERO), 0, "the other needs some time to notice");
    assert!(sim.run_until(10 * SECOND, Sim::all_ready));
    assert_eq!(sim.fatal, None);
}

#[test]
fn a_killed_operator_adopts_what_runs() {
    let mut sim = converged(&TWELVE);
    let since = sim.now;
    sim.crash(SECOND);
    assert!(
        sim.run_until(10 * SECOND, |sim| sim.count(since, "list", None) > 0 && sim.all_ready())
    );
    sim.run_for(60 * SECOND);
    assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
}

#[test]
fn an_anchor_that_was_pruned_is_made_again_and_one_that_another_made_meanwhile_ends_this_one() {
    let mut sim = converged(&["a"]);
    sim.engine.anchor = None;
    assert!(sim.run_until(61 * SECOND, |sim| sim.engine.anchor.is_some()), "it is missed");
    assert_eq!(sim.fatal, None);
    sim.take_anchor(another_operator("state-2"));
    assert!(sim.run_until(61 * SECOND, |sim| sim.fatal.is_some()));
    assert!(sim.fatal.as_deref().is_some_and(|why| why.contains("--takeover")), "{:?}", sim.fatal);
    sound(&sim);
}

#[test]
fn who_was_replaced_changes_nothing_ten_seconds_later() {
    for state in ["state-1", "state-2"] {
        let mut sim = converged(&["a"]);
        sim.take_anchor(another_operator(state));
        sim.run_for(10 * SECOND);
        let since = sim.now;
        sim.edit("a", |spec| spec.var = 7);
        let first = id(&sim, "a");
        sim.engine.kill(&first, 137);
        assert!(sim.run_until(5 * SECOND, |sim| sim.fatal.is_some()), "it reads before it changes");
        sim.run_for(60 * SECOND);
        assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
        let why = sim.fatal.as_deref().unwrap_or_default();
        assert!(why.contains("/srv/copy") && why.contains("--takeover"), "{why}");
        sound(&sim);
    }
}

#[test]
fn an_anchor_that_cannot_be_read_stops_changes_and_is_reported() {
    let mut sim = converged(&["a"]);
    sim.run_until(60 * SECOND, |sim| sim.count(Duration::ZERO, "anchor", None) == 2);
    sim.run_for(10 * SECOND);
    let since = sim.now;
    sim.fates.extend(std::iter::repeat_n(("anchor", Fate::Lost), 30));
    let first = id(&sim, "a");
    sim.engine.kill(&first, 137);
    sim.run_for(30 * SECOND);
    assert_eq!(sim.mutations(since), 0, "{}", sim.log.join("\n"));
    assert_eq!(status(&sim, "a"), "EngineUnavailable");
    sim.fates.clear();
    assert!(sim.run_until(30 * SECOND, |sim| sim.is_ready("a")), "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn a_read_of_the_anchor_serves_a_burst_of_changes() {
    let mut sim = converged(&TWELVE);
    sim.run_for(60 * SECOND);
    let since = sim.now;
    for channel in TWELVE {
        sim.edit(channel, |spec| spec.memory = 128);
    }
    assert!(sim.run_until(10 * SECOND, |sim| sim.mutations(since) >= 12));
    assert_eq!(sim.count(since, "anchor", None), 1);
    sound(&sim);
}

#[test]
fn a_new_state_directory_does_not_inherit_containers_though_their_anchor_was_pruned() {
    let mut sim = converged(&["a"]);
    let before = id(&sim, "a");
    for takeover in [false, false, true] {
        sim.fatal = None;
        sim.engine.anchor = None;
        sim.takeover = takeover;
        let lost = Loaded { state_id: "state-2".to_owned(), ..Loaded::default() };
        sim.store.durable = lost;
        sim.crash(SECOND);
        sim.run_for(60 * SECOND);
        assert_eq!(sim.fatal.is_none(), takeover, "{:?}", sim.fatal);
        assert_eq!(sim.engine.anchor.is_some(), takeover, "who is refused leaves no anchor");
    }
    assert_eq!(id(&sim, "a"), before, "taken over, and kept");
}

#[test]
fn an_engine_that_was_exchanged_while_the_operator_was_away_is_said_to_be_another() {
    let mut sim = converged(&["a"]);
    sim.crash(SECOND);
    sim.engine.id = "ANOTHER".to_owned();
    sim.engine.containers.clear();
    sim.engine.anchor = None;
    assert!(sim.run_until(30 * SECOND, |sim| sim.shell("a").is_some_and(|shell| shell.is_live())));
    sim.run_for(SECOND);
    assert!(sim.view.events.iter().any(|event| event.reason == "EngineChanged"));
    sound(&sim);
}

#[test]
fn limits_that_cannot_be_changed_are_said_and_tried_again() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.edit("a", |spec| spec.memory = 128);
    sim.fates.push_back(("update", Fate::Refused(Reason::UpdateFailed)));
    let up_to_date = |sim: &Sim| {
        let view = sim.channel("a").expect("a view");
        let found = view.conditions.iter().find(|it| it.kind == ConditionType::UpToDate);
        found.expect("a condition").clone()
    };
    assert!(
        sim.run_until(4 * SECOND, |sim| up_to_date(sim).reason == Reason::UpdateFailed),
        "{}",
        sim.log.join("\n")
    );
    assert!(sim.is_ready("a"), "it runs with the old limits");
    assert!(sim.run_until(20 * SECOND, |sim| up_to_date(sim).reason == Reason::UpToDate));
    assert_eq!(id(&sim, "a"), first);
    sound(&sim);
}

#[test]
fn one_that_may_not_be_pulled_does_not_keep_another_from_pulling_the_same_image() {
    let mut sim = converged(&["a", "b"]);
    sim.edit("a", |spec| (spec.image, spec.pull) = (IMAGE_REMOTE, "Never"));
    sim.edit("b", |spec| spec.image = IMAGE_REMOTE);
    assert!(sim.run_until(120 * SECOND, |sim| {
        let uses =
            |channel| sim.shell(channel).is_some_and(|shell| shell.config.image == IMAGE_REMOTE);
        sim.is_ready("b") && uses("b") && sim.is_ready("a") && uses("a")
    }));
    sound(&sim);
}

#[test]
fn a_failed_pull_of_one_that_wants_the_newest_says_nothing_of_one_that_takes_what_is_there() {
    let mut sim = converged(&["b"]);
    sim.engine.registry_down = true;
    sim.write("a", Spec { pull: "Always", ..Spec::default() });
    assert!(sim.run_until(5 * SECOND, |sim| status(sim, "a") == "ImagePullBackOff"));
    sim.engine.remove_by_hand(&id(&sim, "b"));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("b")), "{}", sim.log.join("\n"));
    sound(&sim);
}

#[test]
fn each_new_container_of_one_that_wants_the_newest_image_is_made_after_a_pull() {
    let mut sim = converged(&["b"]);
    sim.write("a", Spec { pull: "Always", ..Spec::default() });
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    assert_eq!(sim.count(Duration::ZERO, "pull", None), 1, "a look of another is no pull");
    sim.run_for(120 * SECOND);
    sim.engine.remove_by_hand(&id(&sim, "a"));
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("a")));
    assert_eq!(sim.count(Duration::ZERO, "pull", None), 2);
    sound(&sim);
}

#[test]
fn an_image_that_a_look_finds_and_a_create_does_not_is_tried_by_the_schedule() {
    let mut sim = Sim::new(1);
    for _ in 0..100 {
        sim.fates.push_back(("create", Fate::Refused(Reason::ImageMissing)));
    }
    sim.write("a", Spec::default());
    sim.run_for(300 * SECOND);
    for word in ["create", "pull", "image"] {
        let count = sim.count(Duration::ZERO, word, None);
        assert!(count <= 14, "{count} calls of {word}");
    }
    assert!(sim.view.events.iter().any(|event| event.reason == "ImageMissing"), "it is said");
}

#[test]
fn waiting_for_an_image_puts_nobody_out() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.engine.registry_down = true;
    sim.edit("a", |spec| spec.image = IMAGE_REMOTE);
    // Longer than maxWait, with nobody in it; then somebody comes, and then the image.
    sim.run_for(400 * SECOND);
    sim.engine.enter(&first);
    sim.engine.registry_down = false;
    sim.request(Request::Reconcile(Some(target("a"))));
    sim.run_for(200 * SECOND);
    assert_eq!(id(&sim, "a"), first, "{}", sim.log.join("\n"));
    sim.engine.leave(&first);
    assert!(sim.run_until(75 * SECOND, |sim| {
        sim.is_ready("a") && sim.shell("a").is_some_and(|shell| shell.id != first)
    }));
    sound(&sim);
}

#[test]
fn what_was_suspended_for_its_bad_spec_is_not_run_once_more_while_the_new_image_comes() {
    let mut sim = converged(&["a"]);
    let first = id(&sim, "a");
    sim.edit("a", |spec| spec.suspend = true);
    assert!(sim.run_until(5 * SECOND, |sim| sim.shell("a").is_some_and(|it| !it.is_live())));
    sim.run_for(120 * SECOND);
    sim.edit("a", |spec| (spec.suspend, spec.image) = (false, IMAGE_REMOTE));
    assert!(sim.run_until(10 * SECOND, |sim| sim.is_ready("a") && id(sim, "a") != first));
    assert_eq!(sim.count(Duration::ZERO, "start", Some("a")), 2, "the first and the last");
    sound(&sim);
}

#[test]
fn pulls_that_stand_still_keep_no_other_change_waiting() {
    let mut sim = converged(&["d"]);
    for channel in ["a", "b", "c"] {
        sim.fates.push_back(("pull", Fate::Hangs));
        let image = match channel {
            "a" => "remote-a:1",
            "b" => "remote-b:1",
            _ => "remote-c:1",
        };
        sim.write(channel, Spec { image, ..Spec::default() });
    }
    sim.run_for(5 * SECOND);
    let first = id(&sim, "d");
    sim.edit("d", |spec| spec.var = 7);
    assert!(sim.run_until(5 * SECOND, |sim| sim.is_ready("d") && id(sim, "d") != first));
    sound(&sim);
}

#[test]
fn a_volume_service_in_trouble_does_not_end_the_connection() {
    let mut sim = converged(&["a"]);
    for _ in 0..5 {
        sim.fates.push_back(("anchor", Fate::Lost));
    }
    sim.run_for(900 * SECOND);
    assert!(!sim.view.events.iter().any(|event| event.reason == "EngineUnavailable"));
    assert_eq!(sim.fatal, None);
    sound(&sim);
}

#[test]
fn whoever_changes_each_new_shell_again_is_not_fought_more_and_more_often() {
    let mut sim = converged(&["a"]);
    for _ in 0..30 {
        if let Some(shell) = sim.shell("a").filter(|shell| shell.is_live()) {
            let id = shell.id.clone();
            sim.disconnect_by_hand(&id);
        }
        sim.run_for(60 * SECOND);
    }
    let made = sim.count(Duration::ZERO, "create", Some("a"));
    assert!((3..=14).contains(&made), "{made} in half an hour");
    sound(&sim);
}

#[test]
fn exhausted_address_pool_is_reported_and_retried_slowly() {
    let mut sim = Sim::new(1);
    let why = "could not find an available, non-overlapping IPv4 address pool";
    sim.engine.network_refusal = Some(why.to_owned());
    sim.write("a", Spec::default());
    let message = |sim: &Sim| sim.channel("a").map_or_else(String::new, |it| it.message.clone());
    let told = |sim: &Sim| message(sim).contains(why) && message(sim).contains("tried again at");
    assert!(sim.run_until(10 * SECOND, told), "{}", message(&sim));
    let since = sim.now;
    sim.run_for(600 * SECOND);
    assert!(told(&sim), "{}", message(&sim));
    let tries = sim.count(since, "network", None);
    assert!((3..=10).contains(&tries), "{tries} in ten minutes");
    sim.engine.network_refusal = None;
    assert!(sim.run_until(300 * SECOND, |sim| sim.is_ready("a")), "{}", message(&sim));
    sound(&sim);
}

#[test]
fn engine_that_remaps_users_is_reported_and_left_alone() {
    let mut sim = Sim::new(1);
    sim.engine.remaps_users = true;
    sim.write("a", Spec::default());
    sim.run_for(60 * SECOND);
    assert_eq!(sim.mutations(Duration::ZERO), 0);
    let message = sim.channel("a").map_or_else(String::new, |it| it.message.clone());
    assert!(message.contains("userns-remap") && message.contains("daemon.json"), "{message}");
    sim.engine.remaps_users = false;
    assert!(sim.run_until(60 * SECOND, |sim| sim.is_ready("a")));
    sound(&sim);
}
