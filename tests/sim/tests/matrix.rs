//! The crash matrix of runs: where the operator or the engine is killed, and that the run goes on from there, once.
//!
//! After each crash: the agent ran at most once for each attempt, the run has one end, and nothing of it is left. The rows are in
//! the order of a run's life; the book of promises is open all the time.

use std::time::Duration;

use chanop::container::ContainerState;
use chanop::controller::request::Request;
use chanop::world::run::{AttemptResult, Evidence, Phase};
use chanop_sim::bed::{SECOND, asked, asked_with, cleared, end_of, ends, results, sound};
use chanop_sim::driver::Fate;
use chanop_sim::host::name;
use chanop_sim::{Says, Sim, Work};

const LIMIT: Duration = Duration::from_secs(300);

/// Crashes as soon as it is so, after which all that is on its way is carried out, or nothing.
fn crash_when(sim: &mut Sim, arrives: bool, so: impl FnMut(&Sim) -> bool) {
    assert!(sim.run_until(LIMIT, so), "it does not come to it: {}", sim.log.join("\n"));
    sim.crash_and(arrives, SECOND);
}

fn attempts(sim: &Sim) -> usize {
    sim.record("fix").map_or(0, |record| record.attempts.len())
}

fn succeeds_at_once(mut sim: Sim) {
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded, "{}", sim.log.join("\n"));
    assert_eq!((attempts(&sim), sim.executions("fix")), (1, 1), "{}", sim.log.join("\n"));
    cleared(&mut sim);
}

/// The first attempt came to nothing without having run; the second did what was asked.
fn succeeds_the_second_time(mut sim: Sim, first: AttemptResult) {
    ends(&mut sim, "fix", LIMIT);
    let expected = [first, AttemptResult::Succeeded];
    assert_eq!(results(&sim, "fix"), expected, "{}", sim.log.join("\n"));
    assert_eq!(sim.executions("fix"), 1, "{}", sim.log.join("\n"));
    cleared(&mut sim);
}

#[test]
fn row_1_before_it_is_admitted() {
    for arrives in [true, false] {
        let mut sim = asked(Work::default());
        crash_when(&mut sim, arrives, |sim| sim.is_committing_run("fix"));
        succeeds_at_once(sim);
    }
}

#[test]
fn row_2_admitted_and_not_made() {
    for arrives in [true, false] {
        let mut sim = asked(Work::default());
        crash_when(&mut sim, arrives, |sim| sim.record("fix").is_some());
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
        assert_eq!(sim.executions("fix"), 1);
        cleared(&mut sim);
    }
}

#[test]
fn row_3_made_and_the_answer_is_lost() {
    let mut sim = asked(Work::default());
    sim.fates.push_back(("create", Fate::AnswerLost));
    crash_when(&mut sim, true, |sim| !sim.run_containers("fix").is_empty());
    succeeds_at_once(sim);

    // The same without a crash: the operator reads who has the name.
    for fate in [Fate::AnswerLost, Fate::Lost, Fate::Hangs, Fate::Already] {
        let mut sim = asked(Work::default());
        sim.fates.push_back(("create", fate));
        succeeds_at_once(sim);
    }
}

#[test]
fn row_4_it_is_still_being_made() {
    for after in [1, 3, 30] {
        let mut sim = asked(Work::default());
        sim.fates.push_back(("create", Fate::Zombie(after * SECOND)));
        crash_when(&mut sim, true, |sim| sim.count(Duration::ZERO, "create", Some("run/fix")) > 0);
        succeeds_at_once(sim);
    }
}

#[test]
fn row_5_made_and_not_permitted() {
    for arrives in [true, false] {
        let mut sim = asked(Work::default());
        crash_when(&mut sim, arrives, |sim| {
            !sim.run_containers("fix").is_empty() && attempts(sim) == 0
        });
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
        assert_eq!(sim.executions("fix"), 1, "{}", sim.log.join("\n"));
        cleared(&mut sim);
    }
}

#[test]
fn row_6_permitted_and_its_start_not_sent() {
    let mut sim = asked(Work::default());
    crash_when(&mut sim, false, |sim| attempts(sim) == 1);
    succeeds_the_second_time(sim, AttemptResult::NeverStarted);
}

#[test]
fn row_7_started_and_the_answer_is_lost_while_it_works() {
    let mut sim = asked(Work::taking(60 * SECOND));
    sim.fates.push_back(("start", Fate::AnswerLost));
    crash_when(&mut sim, true, |sim| sim.live("fix").is_some());
    let id = sim.live("fix").expect("at work").container.clone();
    sim.run_for(20 * SECOND);
    let live = sim.live("fix").expect("not interrupted");
    assert_eq!(live.container, id, "L6");
    succeeds_at_once(sim);

    // The same without a crash.
    let mut sim = asked(Work::taking(60 * SECOND));
    sim.fates.push_back(("start", Fate::AnswerLost));
    succeeds_at_once(sim);
}

#[test]
fn row_7_a_run_at_work_outlives_any_number_of_operators() {
    let mut sim = asked(Work::taking(120 * SECOND));
    for _ in 0..12 {
        sim.run_for(9 * SECOND);
        sim.crash(SECOND / 2);
    }
    succeeds_at_once(sim);
}

#[test]
fn row_8_started_and_ended_before_anybody_heard_of_it() {
    let quick =
        Work { takes: Duration::from_millis(1), lingers: Duration::ZERO, ..Work::default() };
    for crashes in [true, false] {
        let mut sim = asked(quick.clone());
        sim.fates.push_back(("start", Fate::AnswerLost));
        if crashes {
            crash_when(&mut sim, true, |sim| sim.executions("fix") == 1);
        }
        succeeds_at_once(sim);
    }
}

#[test]
fn row_8_a_start_that_comes_through_when_it_was_given_up() {
    for after in [1, 5, 30, 100] {
        let mut sim = asked(Work::default());
        sim.fates.push_back(("start", Fate::Zombie(after * SECOND)));
        crash_when(&mut sim, true, |sim| sim.count(Duration::ZERO, "start", Some("run/fix")) > 0);
        ends(&mut sim, "fix", 400 * SECOND);
        assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded, "{after}: {}", sim.log.join("\n"));
        assert_eq!(sim.executions("fix"), 1, "{after}: {}", sim.log.join("\n"));
        cleared(&mut sim);
    }
}

#[test]
fn row_9_a_start_that_fails_never_was_one_and_is_tried_three_times_more() {
    let mut sim = chanop_sim::bed::converged(&["a"]);
    sim.edit("a", |spec| {
        spec.enabled = false;
        spec.image = "img-bad:1";
    });
    sim.run_for(60 * SECOND);
    sim.write_run("fix", chanop_sim::tree::RunFile::of("a"));
    ends(&mut sim, "fix", 600 * SECOND);
    assert_eq!(results(&sim, "fix"), [AttemptResult::NeverStarted; 4]);
    assert_eq!(end_of(&sim, "fix").0, Phase::NeverStarted);
    let message = sim.record("fix").and_then(|it| it.end.clone()).expect("an end").message;
    assert!(message.contains("exec: not found"), "{message}");
    assert_eq!(sim.count(Duration::ZERO, "create", Some("run/fix")), 4);
    cleared(&mut sim);
}

#[test]
fn row_10_its_permit_never_reached_the_disk() {
    let mut sim = asked(Work::default());
    crash_when(&mut sim, false, |sim| {
        !sim.run_containers("fix").is_empty() && sim.is_committing_run("fix")
    });
    assert_eq!(attempts(&sim), 0);
    succeeds_at_once(sim);
}

#[test]
fn rows_11_to_13_ended_and_its_end_not_on_the_disk() {
    for arrives in [true, false] {
        for wait in [0, 10, 60, 300] {
            let mut sim = asked(Work::default());
            let ended = |sim: &Sim| {
                sim.run_containers("fix").iter().any(|it| it.state == ContainerState::Exited)
            };
            assert!(sim.run_until(LIMIT, ended));
            sim.run_for(Duration::from_millis(wait));
            sim.crash_and(arrives, SECOND);
            succeeds_at_once(sim);
        }
    }
}

#[test]
fn row_14_its_end_is_on_the_disk_and_its_container_is_there() {
    let mut sim = asked(Work::default());
    crash_when(&mut sim, false, |sim| sim.has_ended("fix"));
    let before = sim.record("fix").cloned();
    cleared(&mut sim);
    assert_eq!(sim.record("fix").cloned(), before, "S6");
    assert_eq!(sim.executions("fix"), 1);
}

#[test]
fn row_15_removed_and_the_answer_is_lost() {
    for fate in [Fate::AnswerLost, Fate::Lost, Fate::Hangs, Fate::Zombie(5 * SECOND), Fate::Gone] {
        let mut sim = asked(Work::default());
        ends(&mut sim, "fix", LIMIT);
        sim.fates.push_back(("remove", fate.clone()));
        if fate == Fate::AnswerLost {
            crash_when(&mut sim, true, |sim| {
                sim.count(Duration::ZERO, "remove", Some("run/fix")) > 0
            });
        }
        cleared(&mut sim);
    }
}

#[test]
fn row_21_the_engine_is_killed_before_it_notes_the_start() {
    for guard_off in [false, true] {
        let mut sim = asked(Work::taking(60 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        sim.fates.push_back(("start", Fate::Forgotten));
        ends(&mut sim, "fix", LIMIT);
        let results = results(&sim, "fix");
        if !guard_off {
            // It was at work, and init wrote that down.
            assert_eq!((&results[..], sim.executions("fix")), (&[AttemptResult::Lost][..], 1));
        }
        assert_ne!(results[0], AttemptResult::Succeeded);
        // Each attempt's agent ran at most once: the book of promises counts.
        assert!(sim.executions("fix") <= results.len());
        cleared(&mut sim);
    }
}

#[test]
fn row_21_what_the_engine_forgot_is_lost_whatever_a_start_by_hand_leaves() {
    // With the network, the init says no to a second start. Without it, that leaves its error behind.
    for network in [true, false] {
        let mut sim = asked(Work::taking(60 * SECOND));
        sim.fates.push_back(("start", Fate::Forgotten));
        let forgotten = |sim: &Sim| !sim.engine.agents.forgotten.is_empty();
        assert!(sim.run_until(LIMIT, forgotten), "{}", sim.log.join("\n"));
        let id = sim.engine.agents.forgotten.first().cloned().expect("a container");
        // The engine is back.
        sim.run_for(2 * SECOND);
        if !network {
            sim.engine.remove_network();
        }
        sim.engine.start_by_hand(&id);
        ends(&mut sim, "fix", LIMIT);
        assert_eq!((results(&sim, "fix"), sim.executions("fix")), (vec![AttemptResult::Lost], 1));
        cleared(&mut sim);
    }
}

#[test]
fn row_22_the_engine_is_started_anew_and_ends_what_runs() {
    for (version, code) in [("20.10.24", 137), ("20.10.24", 143), ("20.10.24", 255), ("24.0.1", 0)]
    {
        for guard_off in [false, true] {
            let mut sim = asked(Work::taking(60 * SECOND));
            sim.engine.version = version.to_owned();
            sim.engine.agents.guard_off = guard_off;
            assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
            sim.run_for(20 * SECOND);
            sim.restart_engine_with(code, 2 * SECOND);
            ends(&mut sim, "fix", LIMIT);
            let (phase, why) = end_of(&sim, "fix");
            let case = format!("{version} {code} {guard_off}: {phase} {why}");
            assert!(!matches!(phase, Phase::Succeeded | Phase::NeverStarted), "{case}");
            // Codes that it makes up are no evidence, unless init wrote down another.
            if matches!(code, 255 | 0) {
                assert_eq!(phase, Phase::Lost, "{case}");
            }
            assert_eq!(sim.executions("fix"), 1, "{case}");
            cleared(&mut sim);
        }
    }
}

#[test]
fn row_22_an_answer_that_was_given_before_the_engine_died_is_no_success_on_a_made_up_zero() {
    // It said all, and lingered: whether it would have ended well, nobody knows.
    let work = Work { lingers: 60 * SECOND, ..Work::default() };
    for guard_off in [false, true] {
        let mut sim = asked(work.clone());
        sim.engine.version = "24.0.1".to_owned();
        sim.engine.agents.guard_off = guard_off;
        assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
        sim.run_for(20 * SECOND);
        sim.restart_engine_with(0, 2 * SECOND);
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, Phase::Lost, "{}", sim.log.join("\n"));
    }
}

#[test]
fn row_23_the_engine_is_started_anew_and_leaves_what_runs() {
    let mut sim = asked(Work::taking(60 * SECOND));
    assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
    sim.run_for(20 * SECOND);
    sim.restart_engine(true, 2 * SECOND);
    succeeds_at_once(sim);
}

#[test]
fn row_23_what_ends_while_the_engine_is_away_has_its_end_by_what_init_wrote_down() {
    for (guard_off, loses) in [(false, true), (false, false), (true, true), (true, false)] {
        let mut sim = asked(Work::taking(20 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
        sim.restart_engine(true, 40 * SECOND);
        sim.engine.agents.loses_exits = loses;
        ends(&mut sim, "fix", LIMIT);
        let phase = end_of(&sim, "fix").0;
        // A zero after the engine was away is no evidence, whatever its version.
        let expected = if guard_off { Phase::Lost } else { Phase::Succeeded };
        assert_eq!(phase, expected, "{guard_off} {loses}: {}", sim.log.join("\n"));
        if !guard_off {
            let end = sim.record("fix").and_then(|it| it.last_end()).expect("an end");
            assert_eq!(end.evidence, Evidence::Init);
        }
    }
}

#[test]
fn row_24_the_host_is_started_anew() {
    for guard_off in [false, true] {
        let mut sim = asked(Work::taking(60 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
        sim.run_for(20 * SECOND);
        sim.crash_and(false, 20 * SECOND);
        sim.restart_engine_with(255, 15 * SECOND);
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, Phase::Lost, "{}", sim.log.join("\n"));
        assert_eq!(sim.executions("fix"), 1);
        cleared(&mut sim);
    }
}

#[test]
fn row_25_the_state_directory_is_lost_while_it_works() {
    let mut sim = asked(Work::taking(60 * SECOND));
    assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
    sim.run_for(10 * SECOND);
    sim.crash_and(false, SECOND);
    sim.lose_store();
    sim.run_for(60 * SECOND);
    assert!(sim.fatal.is_some(), "another state directory owns the instance");
    sim.crash_and(false, SECOND);
    sim.takeover = true;
    sim.run_for(200 * SECOND);
    sound(&sim);
    assert_eq!(sim.executions("fix"), 1, "it is not run again: {}", sim.log.join("\n"));
    let record = sim.record("fix").expect("what was found is written down");
    assert!(record.end.is_some() || record.held, "{record:#?}");
    sim.request(Request::ReleaseRun(Some(name("fix"))));
    sim.run_for(200 * SECOND);
    sound(&sim);
    assert!(sim.has_ended("fix"), "{:#?}\n{}", sim.record("fix"), sim.log.join("\n"));
    cleared(&mut sim);
}

#[test]
fn row_25_what_has_no_trace_is_held_until_a_person_lets_it_go() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    cleared(&mut sim);
    sim.crash_and(false, SECOND);
    sim.lose_store();
    sim.takeover = true;
    sim.run_for(200 * SECOND);
    sound(&sim);
    assert_eq!(sim.executions("fix"), 1, "{}", sim.log.join("\n"));
    let view = sim.run("fix").expect("a view");
    assert_eq!((view.phase, view.reason.as_str()), (Phase::Pending, "HeldFirstSight"));
    // It stays held over a restart, and what is new is not.
    sim.crash_and(false, SECOND);
    sim.write_run("other", chanop_sim::tree::RunFile::of("a"));
    ends(&mut sim, "other", LIMIT);
    assert_eq!(sim.executions("fix"), 1);
    sim.request(Request::ReleaseRun(Some(name("fix"))));
    ends(&mut sim, "fix", LIMIT);
    assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Succeeded, 2));
    cleared(&mut sim);
}

#[test]
fn row_25_what_ran_is_written_down_though_its_channel_is_gone_too() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    sim.crash_and(false, SECOND);
    sim.lose_store();
    sim.takeover = true;
    sim.tree.delete("a");
    ends(&mut sim, "fix", LIMIT);
    sim.run_for(500 * SECOND);
    sound(&sim);
    assert_eq!(sim.executions("fix"), 1, "{}", sim.log.join("\n"));
    assert!(sim.run_containers("fix").is_empty(), "{}", sim.log.join("\n"));
}

#[test]
fn row_26_the_engine_lost_all_it_had() {
    let mut sim = asked(Work::taking(60 * SECOND));
    sim.supervised = true;
    assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
    sim.run_for(10 * SECOND);
    sim.restart_engine_with(255, SECOND);
    sim.engine.exchange();
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").0, Phase::Lost, "{}", sim.log.join("\n"));
    assert_eq!(sim.executions("fix"), 1);
    cleared(&mut sim);
}

#[test]
fn row_27_killed_again_and_again_while_it_looks_around() {
    let mut sim = asked(Work::taking(30 * SECOND));
    assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
    for millis in 1..40 {
        sim.crash(Duration::from_millis(1));
        sim.run_for(Duration::from_millis(5 * millis));
    }
    succeeds_at_once(sim);
}

#[test]
fn row_28_the_disk_is_full_when_it_is_to_be_permitted() {
    let mut sim = asked(Work::default());
    assert!(sim.run_until(LIMIT, |sim| !sim.run_containers("fix").is_empty()));
    sim.store.failing = true;
    sim.run_for(100 * SECOND);
    assert_eq!((sim.executions("fix"), attempts(&sim)), (0, 0), "{}", sim.log.join("\n"));
    sim.store.failing = false;
    succeeds_at_once(sim);
}

#[test]
fn row_28_the_disk_is_full_when_its_end_is_to_be_written_down() {
    for crashes in [false, true] {
        let mut sim = asked(Work::default());
        assert!(sim.run_until(LIMIT, |sim| sim.live("fix").is_some()));
        sim.store.failing = true;
        sim.run_for(100 * SECOND);
        if crashes {
            sim.crash(SECOND);
            sim.run_for(100 * SECOND);
        }
        assert_eq!(sim.run_containers("fix").len(), 1, "kept: {}", sim.log.join("\n"));
        assert!(!sim.has_ended("fix"));
        sim.store.failing = false;
        succeeds_at_once(sim);
    }
}

#[test]
fn an_end_that_the_engine_did_not_notice_comes_to_light_by_the_deadline() {
    let mut sim = asked_with(Work::default(), |file| file.more = "activeDeadlineSeconds: 60");
    sim.engine.agents.ghosts = true;
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(sim.executions("fix"), 1);
    cleared(&mut sim);
    assert!(matches!(end_of(&sim, "fix").0, Phase::Succeeded | Phase::Failed));
}

#[test]
fn an_agent_that_was_killed_for_memory_is_told_as_such_however_late_that_is_known() {
    for late in [0, 100, 240] {
        let mut sim = asked(Work::saying(Says::OutOfMemory));
        sim.engine.agents.oom_late = Duration::from_millis(late);
        // The second look comes a moment after the first, and not when nothing else is to be done.
        ends(&mut sim, "fix", 10 * SECOND);
        let end = sim.record("fix").and_then(|it| it.last_end()).expect("an end");
        assert!(end.oom_killed, "{late}: {end:#?}");
        assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "OomKilled".to_owned()));
    }
}
