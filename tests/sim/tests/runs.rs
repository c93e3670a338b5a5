//! What the operator does with runs when …, one sentence each.

use std::sync::Arc;
use std::time::Duration;

use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::request::{Reply, Request};
use chanop::resource::RunSpec;
use chanop::resource::run::RunOrder;
use chanop::world::run::{AttemptKind, AttemptResult, Evidence, Phase};
use chanop_sim::bed::{
    SECOND, asked, asked_with, cleared, converged, end_of, ends, results, sound,
};
use chanop_sim::driver::Fate;
use chanop_sim::host::name;
use chanop_sim::tree::{Asks, Reading, RunFile};
use chanop_sim::{Says, Sim, Spec, Work};

const LIMIT: Duration = Duration::from_secs(300);

fn trace(sim: &Sim) -> String {
    sim.log.join("\n")
}

/// Its container, as soon as its agent works.
fn at_work(sim: &mut Sim, run: &str) -> ContainerId {
    assert!(sim.run_until(LIMIT, |sim| sim.live(run).is_some()), "{}", trace(sim));
    sim.live(run).expect("at work").container.clone()
}

fn kinds(sim: &Sim, run: &str) -> Vec<AttemptKind> {
    sim.record(run).expect("a record").attempts.iter().map(|it| it.kind).collect()
}

fn spec(channel: &str, prompt: &str) -> Arc<RunSpec> {
    let order = RunOrder { prompt: Some(prompt.to_owned()), ..RunOrder::default() };
    Arc::new(RunSpec { channel_name: name(channel), rerun: None, cancel: None, order })
}

#[test]
fn a_run_costs_four_calls_to_the_engine_and_one_follower_and_three_commits() {
    let mut sim = converged(&["a"]);
    let (since, commits) = (sim.now, sim.store.commits);
    sim.write_run("fix", RunFile::of("a"));
    ends(&mut sim, "fix", LIMIT);
    cleared(&mut sim);
    assert!(sim.store.commits - commits <= 3, "B6: {} commits", sim.store.commits - commits);
    for (word, most) in [("create", 1), ("start", 1), ("inspect", 1), ("remove", 1), ("stop", 0)] {
        let count = sim.count(since, word, Some("run/fix"));
        assert!(count <= most, "B2: {count} of {word}\n{}", trace(&sim));
    }
    assert_eq!(end_of(&sim, "fix"), (Phase::Succeeded, "Succeeded".to_owned()));
    let end = sim.record("fix").and_then(|it| it.last_end()).expect("an end");
    let outcome = end.outcome.as_ref().expect("an outcome");
    assert_eq!((end.exit_code, end.evidence), (Some(0), Evidence::Init));
    assert_eq!((outcome.text.as_deref(), outcome.cost.dollars), (Some("done"), Some(0.5)));
}

#[test]
fn forty_runs_cost_forty_times_as_much_and_not_more() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.runs.at_once = 10);
    sim.settings.max_runs = 10;
    sim.run_for(15 * SECOND);
    let since = sim.now;
    for number in 0..40 {
        sim.tree.write_run(&format!("r{number}"), RunFile::of("a"));
    }
    sim.files_changed();
    let over = |sim: &Sim| (0..40).all(|number| sim.has_ended(&format!("r{number}")));
    assert!(sim.run_until(LIMIT, |sim| sim.check.broken.is_some() || over(sim)), "{}", trace(&sim));
    cleared(&mut sim);
    let calls = sim.calls.iter().filter(|it| it.at >= since);
    let calls = calls.filter(|it| it.channel.as_deref().is_some_and(|of| of.starts_with("run/")));
    let count = calls.count();
    assert!(count <= 40 * 4, "B2: {count} calls\n{}", trace(&sim));
}

#[test]
fn its_container_stays_for_a_while_and_goes() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    sim.run_for(18 * SECOND);
    let kept = sim.run_containers("fix");
    assert_eq!(kept.iter().map(|it| it.state).collect::<Vec<_>>(), [ContainerState::Exited]);
    sim.run_for(5 * SECOND);
    assert!(sim.run_containers("fix").is_empty(), "{}", trace(&sim));
    cleared(&mut sim);
}

// The queue.

#[test]
fn one_at_a_time_and_in_the_order_of_asking() {
    let mut sim = converged(&["a"]);
    for run in ["r1", "r3", "r5", "r7"] {
        sim.write_run(run, RunFile::of("a"));
        sim.run_for(SECOND);
    }
    let view = sim.run("r7").expect("a view");
    assert_eq!((view.phase, view.ahead), (Phase::Queued, Some(3)), "{view:#?}");
    ends(&mut sim, "r7", LIMIT);
    let ledger = &sim.engine.agents.ledger;
    let order: Vec<&str> = ledger.iter().map(|it| it.agent.run.as_str()).collect();
    assert_eq!(order, ["r1", "r3", "r5", "r7"]);
    let overlap =
        ledger.windows(2).any(|two| two[0].ended.is_none_or(|(at, ..)| at > two[1].began));
    assert!(!overlap, "{}", trace(&sim));
    cleared(&mut sim);
}

/// The files of runs with even numbers are in a folder, which comes after those with odd ones.
#[test]
fn runs_of_one_scan_start_in_the_order_of_their_files() {
    let mut sim = converged(&["a"]);
    sim.tree.prompts.insert("prompts/x.md".to_owned(), "from a file".to_owned());
    for run in ["r1", "r2", "r3", "r4"] {
        let mut file = RunFile::of("a");
        // Reading a prompt takes its time, and changes nothing.
        if run == "r3" {
            file.asks = Asks::From("prompts/x.md".to_owned());
        }
        sim.tree.write_run(run, file);
    }
    sim.files_changed();
    for run in ["r1", "r2", "r3", "r4"] {
        ends(&mut sim, run, LIMIT);
    }
    let ledger = &sim.engine.agents.ledger;
    let order: Vec<&str> = ledger.iter().map(|it| it.agent.run.as_str()).collect();
    assert_eq!(order, ["r1", "r3", "r2", "r4"]);
    cleared(&mut sim);
}

#[test]
fn those_who_are_held_do_not_hide_who_waits_behind_them() {
    let mut sim = Sim::with_channels(1, &["a"]);
    for number in 0..17 {
        sim.tree.write_run(&format!("held{number}"), RunFile::of("a"));
    }
    assert!(sim.run_until(30 * SECOND, Sim::all_ready), "{}", trace(&sim));
    for run in ["r1", "r3"] {
        sim.write_run(run, RunFile::of("a"));
        sim.run_for(SECOND);
    }
    ends(&mut sim, "r3", LIMIT);
}

#[test]
fn no_more_on_this_host_than_may_be_whatever_channels_allow() {
    let mut sim = Sim::with_channels(1, &["a", "b", "c"]);
    sim.settings.max_runs = 2;
    sim.run_for(30 * SECOND);
    for (run, channel) in [("r1", "a"), ("r3", "b"), ("r5", "c"), ("r7", "a"), ("r9", "b")] {
        sim.write_run(run, RunFile::of(channel));
    }
    for run in ["r1", "r3", "r5", "r7", "r9"] {
        ends(&mut sim, run, LIMIT);
    }
    let ledger = &sim.engine.agents.ledger;
    let at = |time: Duration| {
        let live = |it: &&chanop_sim::engine::Execution| {
            it.began <= time && it.ended.is_none_or(|(end, ..)| end > time)
        };
        ledger.iter().filter(live).count()
    };
    assert_eq!(ledger.iter().map(|it| at(it.began)).max(), Some(2), "no more and no fewer");
    cleared(&mut sim);
}

#[test]
fn whoever_waits_for_something_else_holds_up_nobody() {
    let mut sim = converged(&["a"]);
    let hour = Some(Duration::from_secs(3_600));
    sim.works("limited", vec![Work::saying(Says::RateLimited(hour)), Work::default()]);
    sim.write_run(
        "limited",
        RunFile { more: "startingDeadlineSeconds: 80000", ..RunFile::of("a") },
    );
    sim.run_for(20 * SECOND);
    let view = sim.run("limited").expect("a view");
    assert_eq!((view.phase, view.reason.as_str()), (Phase::Queued, "BackOff"), "{view:#?}");
    sim.write_run("other", RunFile::of("a"));
    ends(&mut sim, "other", 60 * SECOND);
    assert!(!sim.has_ended("limited"));
    ends(&mut sim, "limited", Duration::from_secs(3_700));
    assert_eq!(results(&sim, "limited"), [AttemptResult::Failed, AttemptResult::Succeeded]);
    let waited = sim.engine.agents.ledger.last().expect("it ran").began;
    assert!(waited >= Duration::from_secs(3_600), "{waited:?}");
    cleared(&mut sim);
}

#[test]
fn a_queue_that_is_full_takes_no_more_in() {
    let mut sim = converged(&["a"]);
    sim.works("r1", Work::taking(100 * SECOND));
    for number in 0..30 {
        sim.tree.write_run(&format!("r{number}"), RunFile::of("a"));
    }
    sim.files_changed();
    sim.run_for(20 * SECOND);
    assert_eq!(sim.store.durable.runs.len(), 21, "one at work, twenty wait");
    let refused = sim.request(Request::SubmitRun {
        name: name("api"),
        labels: Default::default(),
        spec: spec("a", "do it"),
    });
    assert!(matches!(sim.replies.get(&refused), Some(Reply::Refused(_))), "{:?}", sim.replies);
    let over = |sim: &Sim| (0..30).all(|number| sim.has_ended(&format!("r{number}")));
    assert!(sim.run_until(600 * SECOND, over), "{}", trace(&sim));
    cleared(&mut sim);
}

#[test]
fn what_could_not_begin_in_time_never_does() {
    let mut sim = converged(&["a"]);
    sim.works("long", Work::taking(100 * SECOND));
    sim.write_run("long", RunFile::of("a"));
    at_work(&mut sim, "long");
    sim.write_run("fix", RunFile { more: "startingDeadlineSeconds: 30", ..RunFile::of("a") });
    ends(&mut sim, "fix", 60 * SECOND);
    assert_eq!(end_of(&sim, "fix"), (Phase::NeverStarted, "StartingDeadline".to_owned()));
    ends(&mut sim, "long", LIMIT);
    assert_eq!(sim.executions("fix"), 0);
    cleared(&mut sim);
}

// Files.

#[test]
fn whatever_is_done_to_the_file_runs_nothing_again_but_a_raised_rerun() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    let record = sim.record("fix").cloned();
    sim.edit_run("fix", |file| file.asks = Asks::Prompt("something else".to_owned()));
    sim.run_for(30 * SECOND);
    sim.tree.tear_run("fix", 1);
    sim.files_changed();
    sim.run_for(30 * SECOND);
    sim.delete_run("fix");
    sim.run_for(60 * SECOND);
    sim.write_run("fix", RunFile::of("a"));
    sim.run_for(30 * SECOND);
    sim.crash(SECOND);
    sim.run_for(60 * SECOND);
    sound(&sim);
    assert_eq!((sim.executions("fix"), sim.record("fix").cloned()), (1, record));
    sim.edit_run("fix", |file| file.rerun = 3);
    assert!(sim.run_until(LIMIT, |sim| sim.executions("fix") == 2), "{}", trace(&sim));
    ends(&mut sim, "fix", LIMIT);
    let record = sim.record("fix").expect("a record");
    let attempts: Vec<u32> = record.attempts.iter().map(|it| it.number).collect();
    assert_eq!((record.id.rerun, attempts), (3, vec![2]), "attempts count on");
    cleared(&mut sim);
}

#[test]
fn a_file_that_changes_while_its_run_waits_changes_nothing_of_it() {
    let mut sim = converged(&["a"]);
    sim.works("long", Work::taking(30 * SECOND));
    sim.write_run("long", RunFile::of("a"));
    at_work(&mut sim, "long");
    sim.write_run("fix", RunFile::of("a"));
    sim.run_for(5 * SECOND);
    sim.edit_run("fix", |file| file.asks = Asks::Prompt("something else".to_owned()));
    sim.run_for(5 * SECOND);
    ends(&mut sim, "fix", LIMIT);
    sound(&sim);
    assert_eq!(sim.executions("fix"), 1);
    sim.run_for(5 * SECOND);
    let message = sim.run("fix").expect("a view").message.clone();
    assert!(message.contains("has changed since it was admitted"), "{message}");
}

#[test]
fn a_prompt_may_stand_in_a_file_of_its_own() {
    let mut sim = converged(&["a"]);
    sim.write_run(
        "fix",
        RunFile { asks: Asks::From("prompts/x.md".to_owned()), ..RunFile::of("a") },
    );
    sim.run_for(30 * SECOND);
    let view = sim.run("fix").expect("a view");
    assert_eq!(view.phase, Phase::Pending, "{view:#?}");
    assert!(view.record.is_none());
    sim.tree.prompts.insert("prompts/x.md".to_owned(), "from a file".to_owned());
    sim.files_changed();
    ends(&mut sim, "fix", LIMIT);
    let told = format!("{:?}", sim.engine.agents.ledger[0].agent.task);
    assert!(told.contains("from a file"), "{told}");
    cleared(&mut sim);
}

#[test]
fn a_file_that_cannot_be_read_neither_begins_nor_ends_a_run() {
    let mut sim = converged(&["a"]);
    sim.works("long", Work::taking(60 * SECOND));
    sim.write_run("long", RunFile::of("a"));
    at_work(&mut sim, "long");
    sim.write_run("fix", RunFile::of("a"));
    sim.run_for(3 * SECOND);
    for run in ["long", "fix"] {
        sim.tree.runs.get_mut(run).expect("a file").reading = Reading::Unreadable;
    }
    sim.files_changed();
    sim.run_for(30 * SECOND);
    assert!(sim.record("fix").is_some_and(|it| it.cancel.is_none()));
    sim.tree.away = Some("moved away");
    sim.files_changed();
    ends(&mut sim, "long", LIMIT);
    assert_eq!(end_of(&sim, "long").0, Phase::Succeeded);
    sim.run_for(60 * SECOND);
    assert_eq!(sim.executions("fix"), 0, "nothing new is begun while the root is away");
    sim.tree.heal();
    sim.files_changed();
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
    cleared(&mut sim);
}

#[test]
fn a_run_without_a_channel_waits_for_one() {
    let mut sim = converged(&["a"]);
    sim.write_run("fix", RunFile::of("b"));
    sim.run_for(30 * SECOND);
    let view = sim.run("fix").expect("a view");
    assert_eq!((view.phase, view.reason.as_str()), (Phase::Pending, "ChannelNotFound"));
    sim.write("b", Spec::default());
    ends(&mut sim, "fix", LIMIT);
    cleared(&mut sim);
}

// Its end, by somebody's wish.

#[test]
fn cancel_true_in_its_file_ends_it() {
    let mut sim = asked(Work::saying(Says::Hangs));
    at_work(&mut sim, "fix");
    sim.edit_run("fix", |file| file.cancel = true);
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix"), (Phase::Cancelled, "Cancelled".to_owned()));
    assert_eq!(results(&sim, "fix"), [AttemptResult::Cancelled]);
    cleared(&mut sim);
}

#[test]
fn a_request_ends_it_also_when_it_does_not_heed_term_and_over_a_crash() {
    for crashes in [false, true] {
        let mut sim = asked(Work { ignores_term: true, ..Work::saying(Says::Hangs) });
        at_work(&mut sim, "fix");
        let asked_at = sim.now;
        sim.request(Request::CancelRun { name: name("fix"), why: "enough".to_owned() });
        if crashes {
            sim.run_for(SECOND);
            sim.crash(SECOND);
        }
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, Phase::Cancelled, "{}", trace(&sim));
        assert!(sim.now - asked_at >= 10 * SECOND, "its grace");
        let record = sim.record("fix").expect("a record");
        assert_eq!(record.cancel.as_ref().map(|it| it.why.as_str()), Some("enough"));
        cleared(&mut sim);
    }
}

#[test]
fn what_waits_and_whose_file_goes_is_ended_and_what_works_goes_on() {
    let mut sim = converged(&["a"]);
    sim.works("long", Work::taking(60 * SECOND));
    sim.write_run("long", RunFile::of("a"));
    at_work(&mut sim, "long");
    sim.write_run("fix", RunFile::of("a"));
    sim.run_for(3 * SECOND);
    sim.delete_run("fix");
    sim.delete_run("long");
    sim.run_for(5 * SECOND);
    assert!(!sim.has_ended("fix"), "absence is not believed at once");
    ends(&mut sim, "fix", 40 * SECOND);
    assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Cancelled, 0));
    ends(&mut sim, "long", LIMIT);
    assert_eq!(end_of(&sim, "long").0, Phase::Succeeded);
    cleared(&mut sim);
}

#[test]
fn a_channel_that_goes_lets_its_runs_finish_or_ends_them_as_its_file_said() {
    for (deletion, phase) in [("Finish", Phase::Succeeded), ("Cancel", Phase::Cancelled)] {
        let mut sim = converged(&["a", "b"]);
        sim.edit("a", |spec| spec.runs.deletion = deletion);
        sim.works("fix", Work::taking(100 * SECOND));
        sim.write_run("fix", RunFile::of("a"));
        at_work(&mut sim, "fix");
        sim.delete("a");
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix").0, phase, "{deletion}: {}", trace(&sim));
        assert!(sim.run_until(LIMIT, |sim| sim.shell("a").is_none()), "{deletion}");
        cleared(&mut sim);
    }
}

#[test]
fn a_suspended_channel_begins_no_run_and_lets_go_on_what_works() {
    let mut sim = converged(&["a"]);
    sim.works("long", Work::taking(30 * SECOND));
    sim.write_run("long", RunFile::of("a"));
    at_work(&mut sim, "long");
    sim.edit("a", |spec| spec.suspend = true);
    sim.write_run("fix", RunFile::of("a"));
    ends(&mut sim, "long", LIMIT);
    assert_eq!(end_of(&sim, "long").0, Phase::Succeeded);
    sim.run_for(60 * SECOND);
    assert_eq!(sim.executions("fix"), 0);
    let view = sim.run("fix").expect("a view");
    assert_eq!(view.reason, "Suspended", "{view:#?}");
    sim.edit("a", |spec| spec.suspend = false);
    ends(&mut sim, "fix", LIMIT);
    cleared(&mut sim);
}

#[test]
fn a_shell_waits_with_its_change_for_the_runs_of_its_channel() {
    let mut sim = asked(Work::taking(60 * SECOND));
    at_work(&mut sim, "fix");
    let shell = sim.shell("a").expect("a shell").id.clone();
    sim.edit("a", |spec| spec.var = 3);
    sim.run_for(20 * SECOND);
    assert_eq!(sim.shell("a").map(|it| it.id.clone()), Some(shell.clone()), "8: {}", trace(&sim));
    ends(&mut sim, "fix", LIMIT);
    assert!(
        sim.run_until(30 * SECOND, |sim| sim.shell("a").is_some_and(|it| it.id != shell)),
        "{}",
        trace(&sim)
    );
    cleared(&mut sim);
}

// Deadlines and retries.

#[test]
fn a_deadline_ends_it_and_sees_it_dead() {
    for ignores_term in [false, true] {
        let work = Work { ignores_term, ..Work::saying(Says::Hangs) };
        let mut sim = asked_with(work, |file| file.more = "activeDeadlineSeconds: 30");
        at_work(&mut sim, "fix");
        let began = sim.now;
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "Deadline".to_owned()), "{}", trace(&sim));
        let took = sim.now - began;
        let grace = if ignores_term { 10 } else { 0 };
        assert!((29..33).contains(&(took.as_secs() - grace)), "{took:?}");
        assert_eq!(sim.executions("fix"), 1);
        cleared(&mut sim);
    }
}

#[test]
fn a_deadline_counts_over_a_crash_and_over_all_attempts() {
    let mut sim = asked_with(
        vec![
            Work { takes: 20 * SECOND, ..Work::saying(Says::Overloaded) },
            Work::saying(Says::Hangs),
        ],
        |file| file.more = "activeDeadlineSeconds: 50",
    );
    at_work(&mut sim, "fix");
    sim.run_for(5 * SECOND);
    sim.crash(10 * SECOND);
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").1, "Deadline", "{}", trace(&sim));
    let ran: Duration =
        sim.engine.agents.ledger.iter().filter_map(|it| Some(it.ended?.0 - it.began)).sum();
    assert!((49..53).contains(&ran.as_secs()), "{ran:?}\n{}", trace(&sim));
    cleared(&mut sim);
}

#[test]
fn a_deadline_counts_from_its_start_and_not_from_a_permit_that_waited_for_the_engine() {
    for crashes in [false, true] {
        let more = "activeDeadlineSeconds: 30";
        let mut sim = asked_with(Work::saying(Says::Hangs), |file| file.more = more);
        let permits =
            |sim: &Sim| !sim.run_containers("fix").is_empty() && sim.is_committing_run("fix");
        assert!(sim.run_until(LIMIT, permits), "{}", trace(&sim));
        sim.restart_engine(true, 20 * SECOND);
        at_work(&mut sim, "fix");
        let began = sim.now;
        if crashes {
            sim.run_for(5 * SECOND);
            sim.crash(SECOND);
        }
        ends(&mut sim, "fix", LIMIT);
        let took = sim.now - began;
        assert!((29..33).contains(&took.as_secs()), "{took:?}\n{}", trace(&sim));
        cleared(&mut sim);
    }
}

#[test]
fn what_did_nothing_is_tried_again_three_times_and_what_used_a_tool_is_not() {
    for (says, attempts) in [
        (Says::Overloaded, 4),
        (Says::OverloadedAfterTool, 1),
        (Says::ApiError, 1),
        (Says::NoResult, 1),
        (Says::SuccessThenFailure, 1),
        (Says::BadInvocation, 1),
        (Says::OutOfMemory, 1),
    ] {
        let mut sim = asked(Work::saying(says.clone()));
        ends(&mut sim, "fix", 600 * SECOND);
        assert_eq!(results(&sim, "fix"), vec![AttemptResult::Failed; attempts], "{says:?}");
        assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Failed, attempts));
        cleared(&mut sim);
    }
}

#[test]
fn backoff_limit_tries_again_what_did_work() {
    let works = vec![
        Work::saying(Says::OverloadedAfterTool),
        Work::saying(Says::NoResult),
        Work::saying(Says::SuccessWithTool),
    ];
    let mut sim = asked_with(works, |file| file.more = "backoffLimit: 2");
    ends(&mut sim, "fix", 600 * SECOND);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded, "{}", trace(&sim));
    assert_eq!(kinds(&sim, "fix"), [AttemptKind::First, AttemptKind::Retry, AttemptKind::Retry]);
    cleared(&mut sim);
}

#[test]
fn what_becomes_of_its_channel_takes_no_further_try_from_an_attempt_that_has_begun() {
    let works = vec![Work::saying(Says::NoResult), Work::saying(Says::SuccessWithTool)];
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.runs.backoff = 1);
    sim.run_for(10 * SECOND);
    sim.works("fix", works);
    sim.write_run("fix", RunFile::of("a"));
    at_work(&mut sim, "fix");
    sim.edit("a", |spec| spec.runs.backoff = 0);
    ends(&mut sim, "fix", 600 * SECOND);
    assert_eq!(kinds(&sim, "fix"), [AttemptKind::First, AttemptKind::Retry], "{}", trace(&sim));
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded, "{}", trace(&sim));
    cleared(&mut sim);
}

#[test]
fn a_run_that_waits_for_its_next_attempt_is_cancelled_when_its_channel_goes() {
    let mut sim = asked(Work::saying(Says::RateLimited(Some(300 * SECOND))));
    let failed_once =
        |sim: &Sim| sim.record("fix").is_some_and(|record| record.last_end().is_some());
    assert!(sim.run_until(LIMIT, failed_once), "{}", trace(&sim));
    sim.delete("a");
    ends(&mut sim, "fix", 600 * SECOND);
    assert_eq!(end_of(&sim, "fix").0, Phase::Cancelled, "{}", trace(&sim));
    assert_eq!(sim.executions("fix"), 1);
}

#[test]
fn credentials_that_are_refused_again_and_again_end_it_early() {
    let mut sim = asked(Work { takes: 200 * SECOND, ..Work::saying(Says::RefusedForEver) });
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "AuthFailed".to_owned()), "{}", trace(&sim));
    assert_eq!(sim.executions("fix"), 1);
    cleared(&mut sim);
}

#[test]
fn a_run_that_cannot_be_made_is_tried_by_the_schedule_whatever_events_come() {
    let mut sim = converged(&["a"]);
    for _ in 0..100 {
        sim.fates.push_back((
            "create",
            Fate::Refused(chanop::resource::condition::Reason::CreateFailed),
        ));
    }
    let since = sim.now;
    sim.write_run("fix", RunFile::of("a"));
    for _ in 0..60 {
        sim.run_for(5 * SECOND);
        sim.engine.noise(10);
    }
    let creates = sim.count(since, "create", Some("run/fix"));
    assert!((3..=12).contains(&creates), "B3: {creates} creates in five minutes\n{}", trace(&sim));
    let view = sim.run("fix").expect("a view");
    assert_eq!((view.phase, view.reason.as_str()), (Phase::Starting, "CreateFailed"), "{view:#?}");
    sim.fates.clear();
    ends(&mut sim, "fix", 600 * SECOND);
    assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Succeeded, 1));
    cleared(&mut sim);
}

// Conversations.

#[test]
fn a_conversation_goes_on_forks_and_is_kept_by_key() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    let first = sim.record("fix").expect("a record").attempts[0].session;
    for (run, session, fork, same) in [
        ("latest", "Latest", false, true),
        ("fork", "Latest", true, false),
        ("key", "{key: chat}", false, false),
    ] {
        sim.write_run(run, RunFile { session: session.to_owned(), fork, ..RunFile::of("a") });
        ends(&mut sim, run, LIMIT);
        assert_eq!(end_of(&sim, run).0, Phase::Succeeded, "{run}: {}", trace(&sim));
        let attempt = &sim.record(run).expect("a record").attempts[0];
        assert_eq!(attempt.session == first, same, "{run}");
        assert_eq!(attempt.resumes.is_some(), run != "key", "{run}");
    }
    let keyed = sim.record("key").expect("a record").attempts[0].session;
    sim.write_run("again", RunFile { session: "{key: chat}".to_owned(), ..RunFile::of("a") });
    ends(&mut sim, "again", LIMIT);
    assert_eq!(sim.record("again").expect("a record").attempts[0].session, keyed);
    cleared(&mut sim);
}

#[test]
fn two_runs_are_never_at_work_in_one_conversation() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.runs.at_once = 5);
    sim.write_run("first", RunFile::of("a"));
    ends(&mut sim, "first", LIMIT);
    for run in ["r1", "r3", "r5"] {
        sim.works(run, Work::taking(20 * SECOND));
        sim.write_run(run, RunFile { session: "Latest".to_owned(), ..RunFile::of("a") });
    }
    sim.write_run("fresh", RunFile::of("a"));
    sim.run_for(10 * SECOND);
    assert!(sim.has_ended("fresh"), "it is passed by: {}", trace(&sim));
    for run in ["r1", "r3", "r5"] {
        ends(&mut sim, run, LIMIT);
        assert_eq!(end_of(&sim, run).0, Phase::Succeeded);
    }
    cleared(&mut sim);
}

#[test]
fn a_conversation_that_is_gone_leaves_the_prompt_alone_once() {
    let gone = "{id: 11111111-2222-4333-8444-555555555555}";
    let mut sim = asked_with(Work::default(), |file| file.session = gone.to_owned());
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(kinds(&sim, "fix"), [AttemptKind::First, AttemptKind::WithoutSession]);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
    cleared(&mut sim);
}

#[test]
fn session_that_the_api_rejects_twice_is_given_up() {
    let mut sim = asked(Work::default());
    ends(&mut sim, "fix", LIMIT);
    let latest = || RunFile { session: "Latest".to_owned(), ..RunFile::of("a") };
    sim.works("second", Work::saying(Says::ApiError));
    sim.write_run("second", latest());
    ends(&mut sim, "second", LIMIT);
    let end = sim.record("second").and_then(|it| it.end.clone()).expect("an end");
    assert_eq!((end.phase, end.reason.as_str()), (Phase::Failed, "ApiError"));
    assert!(end.message.contains("`--session new`"), "{}", end.message);

    sim.works("third", vec![Work::saying(Says::ApiError), Work::default()]);
    sim.write_run("third", latest());
    ends(&mut sim, "third", LIMIT);
    assert_eq!(kinds(&sim, "third"), [AttemptKind::First, AttemptKind::WithoutSession]);
    assert_eq!(end_of(&sim, "third").0, Phase::Succeeded);
    let record = sim.record("third").expect("a record");
    let first = record.attempts[0].end.as_ref().expect("an end");
    assert!(first.message.contains("fresh session"), "{}", first.message);
    let (old, new) = (record.attempts[0].session, record.attempts[1].session);

    sim.write_run("fourth", latest());
    ends(&mut sim, "fourth", LIMIT);
    let resumes = sim.record("fourth").expect("a record").attempts[0].resumes;
    assert_eq!((resumes, old == new), (Some(new), false));
    cleared(&mut sim);
}

#[test]
fn usage_limit_is_waited_for_beyond_its_announced_reset() {
    let limited = Work::saying(Says::RateLimited(Some(Duration::from_secs(40))));
    let mut works = vec![limited; 6];
    works.push(Work::default());
    let mut sim = asked(works);
    ends(&mut sim, "fix", Duration::from_secs(3_600));
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
    assert_eq!(results(&sim, "fix").len(), 7);
    cleared(&mut sim);
}

#[test]
fn queues_maximum_age_bounds_the_wait_for_a_usage_limit() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| spec.runs.queue_age = "10m");
    sim.run_for(15 * SECOND);
    sim.works("fix", Work::saying(Says::RateLimited(None)));
    sim.write_run("fix", RunFile::of("a"));
    ends(&mut sim, "fix", Duration::from_secs(700));
    assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "RateLimited".to_owned()));
    let record = sim.record("fix").expect("a record");
    let message = &record.end.as_ref().expect("an end").message;
    assert!(message.contains("runs.queue.maxAge"), "{message}");
    assert!(record.attempts.len() > 4, "{}", record.attempts.len());
    cleared(&mut sim);
}

#[test]
fn a_conversation_that_is_too_long_is_made_shorter_and_goes_on() {
    for fork in [false, true] {
        let mut sim = asked(Work::default());
        ends(&mut sim, "fix", LIMIT);
        let session = sim.record("fix").expect("a record").attempts[0].session;
        sim.engine.agents.sessions.insert(session, true);
        sim.write_run("next", RunFile { session: "Latest".to_owned(), fork, ..RunFile::of("a") });
        ends(&mut sim, "next", LIMIT);
        let expected = [AttemptKind::First, AttemptKind::Compact, AttemptKind::AfterCompact];
        assert_eq!(kinds(&sim, "next"), expected, "{fork}: {}", trace(&sim));
        assert_eq!(end_of(&sim, "next").0, Phase::Succeeded, "{fork}");
        let still_long = sim.engine.agents.sessions.get(&session).copied();
        assert_eq!(still_long, Some(fork), "the original of a copy stays as it is");
        cleared(&mut sim);
    }
}

#[test]
fn a_prompt_that_is_too_long_by_itself_fails() {
    let mut sim = asked(Work::saying(Says::PromptTooLong));
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "PromptTooLong".to_owned()));
    assert_eq!(sim.executions("fix"), 1);
    cleared(&mut sim);
}

// People's hands.

#[test]
fn what_was_removed_by_hand_at_work_is_lost_or_ended_by_its_last_event() {
    let mut sim = asked(Work::taking(60 * SECOND));
    let id = at_work(&mut sim, "fix");
    sim.run_for(5 * SECOND);
    sim.engine.remove_by_hand(&id);
    ends(&mut sim, "fix", LIMIT);
    let end = sim.record("fix").and_then(|it| it.last_end()).cloned().expect("an end");
    assert!(matches!(end.result, AttemptResult::Failed | AttemptResult::Lost), "{end:#?}");
    assert_eq!(sim.executions("fix"), 1, "never again");
    cleared(&mut sim);
}

#[test]
fn what_was_removed_by_hand_while_the_operator_was_away_has_init_to_tell_of_it() {
    for (guard_off, phase) in [(false, Phase::Succeeded), (true, Phase::Lost)] {
        let mut sim = asked(Work::taking(10 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        let id = at_work(&mut sim, "fix");
        sim.run_for(5 * SECOND);
        sim.crash(30 * SECOND);
        sim.run_for(15 * SECOND);
        sim.engine.remove_by_hand(&id);
        ends(&mut sim, "fix", LIMIT);
        // What init wrote down says how it ended; what it said, only as far as it had been read.
        let have = end_of(&sim, "fix").0;
        assert!(have == phase || have == Phase::Failed, "{guard_off}: {have}");
        assert_eq!(sim.executions("fix"), 1);
        cleared(&mut sim);
    }
}

#[test]
fn a_finished_run_that_is_started_by_hand_changes_no_record_and_is_put_to_an_end() {
    for guard_off in [false, true] {
        let mut sim = asked(vec![Work::default()]);
        sim.engine.agents.guard_off = guard_off;
        ends(&mut sim, "fix", LIMIT);
        let record = sim.record("fix").cloned();
        let id = sim.run_containers("fix")[0].id.clone();
        sim.check.tampered.insert(id.clone());
        sim.engine.start_by_hand(&id);
        cleared(&mut sim);
        assert_eq!(sim.record("fix").cloned(), record, "S6");
    }
}

#[test]
fn what_is_started_by_hand_before_its_permit_is_not_started_again() {
    for guard_off in [false, true] {
        let mut sim = asked(Work::taking(20 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        assert!(sim.run_until(LIMIT, |sim| !sim.run_containers("fix").is_empty()));
        let id = sim.run_containers("fix")[0].id.clone();
        sim.check.tampered.insert(id.clone());
        sim.engine.start_by_hand(&id);
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(sim.executions("fix"), 1, "{}", trace(&sim));
        cleared(&mut sim);
    }
}

#[test]
fn a_restart_policy_is_taken_off_and_the_agent_does_not_run_twice() {
    for guard_off in [false, true] {
        let mut sim = asked(Work::taking(30 * SECOND));
        sim.engine.agents.guard_off = guard_off;
        let id = at_work(&mut sim, "fix");
        sim.check.tampered.insert(id.clone());
        sim.engine.update_by_hand(&id, None, Some("always"));
        ends(&mut sim, "fix", LIMIT);
        assert_eq!(sim.executions("fix"), 1, "{guard_off}: {}", trace(&sim));
        assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded, "{guard_off}: {}", trace(&sim));
        cleared(&mut sim);
    }
}

#[test]
fn a_run_whose_container_was_renamed_is_read_to_its_end_and_not_touched() {
    let mut sim = asked(Work::taking(30 * SECOND));
    let id = at_work(&mut sim, "fix");
    sim.engine.rename(&id, &ContainerName::parse("mine-now").expect("a name"));
    sim.run_for(5 * SECOND);
    let since = sim.now;
    ends(&mut sim, "fix", LIMIT);
    sim.run_for(300 * SECOND);
    sound(&sim);
    assert_eq!(sim.mutations(since), 0, "S1: {}", trace(&sim));
    assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Succeeded, 1));
    assert!(sim.engine.containers.contains_key(&id));
}

#[test]
fn a_run_whose_container_was_renamed_and_removed_while_nobody_listened_has_its_end_within_two_minutes()
 {
    let mut sim = asked(Work::saying(Says::Hangs));
    let id = at_work(&mut sim, "fix");
    sim.engine.rename(&id, &ContainerName::parse("mine-now").expect("a name"));
    sim.run_for(5 * SECOND);
    sim.deaf = true;
    sim.engine.remove_by_hand(&id);
    ends(&mut sim, "fix", 120 * SECOND);
    assert_eq!((end_of(&sim, "fix").0, sim.executions("fix")), (Phase::Lost, 1));
}

#[test]
fn a_run_that_a_person_paused_is_left_alone_and_goes_on_when_it_is_let() {
    let mut sim =
        asked_with(Work::taking(20 * SECOND), |file| file.more = "activeDeadlineSeconds: 60");
    let id = at_work(&mut sim, "fix");
    sim.run_for(5 * SECOND);
    sim.engine.pause(&id);
    let since = sim.now;
    sim.run_for(20 * SECOND);
    assert_eq!(sim.mutations(since), 0, "S20");
    assert_eq!(sim.run("fix").map(|it| it.reason.clone()), Some("Paused".to_owned()));
    sim.engine.unpause(&id);
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
    cleared(&mut sim);
}

#[test]
fn a_copy_with_our_labels_is_a_strangers() {
    let mut sim = asked(Work::default());
    at_work(&mut sim, "fix");
    let labels = sim.run_containers("fix")[0].config.labels.clone();
    let copy = ContainerName::parse("a-copy").expect("a name");
    let copy = sim.engine.create_by_hand(&copy, labels).expect("made");
    ends(&mut sim, "fix", LIMIT);
    sim.run_for(300 * SECOND);
    sound(&sim);
    assert_eq!(sim.engine.containers.get(&copy).map(|it| it.state), Some(ContainerState::Running));
}

#[test]
fn a_name_in_a_strangers_hands_holds_the_run_and_its_place_is_not_taken_by_force() {
    let mut sim = converged(&["a"]);
    let theirs = ContainerName::parse("chanop_default_a_fix_1").expect("a name");
    let stranger = sim.engine.create_by_hand(&theirs, Default::default()).expect("made");
    sim.write_run("fix", RunFile::of("a"));
    sim.run_for(300 * SECOND);
    sound(&sim);
    let creates = sim.count(Duration::ZERO, "create", Some("run/fix"));
    assert!(creates <= 12, "{creates} creates\n{}", trace(&sim));
    assert!(sim.engine.containers.contains_key(&stranger));
    assert_eq!(sim.run("fix").map(|it| it.reason.clone()), Some("NameConflict".to_owned()));
    sim.engine.remove_by_hand(&stranger);
    sim.request(Request::Reconcile(Some(chanop::resource::ObjectRef::run(name("fix")))));
    ends(&mut sim, "fix", LIMIT);
    assert_eq!(end_of(&sim, "fix").0, Phase::Succeeded);
    cleared(&mut sim);
}

// Programs.

#[test]
fn a_run_asked_for_twice_under_one_name_runs_once() {
    let mut sim = converged(&["a"]);
    let submit = |sim: &mut Sim| {
        sim.request(Request::SubmitRun {
            name: name("api"),
            labels: Default::default(),
            spec: spec("a", "do it"),
        })
    };
    let first = submit(&mut sim);
    assert!(!sim.replies.contains_key(&first), "answered once it is on the disk");
    assert!(sim.run_until(5 * SECOND, |sim| sim.replies.contains_key(&first)));
    assert_eq!(sim.replies.get(&first), Some(&Reply::Submitted(name("api"))));
    assert!(sim.record("api").is_some());
    let second = submit(&mut sim);
    assert_eq!(sim.replies.get(&second), Some(&Reply::Exists(name("api"))));
    ends(&mut sim, "api", LIMIT);
    assert_eq!((end_of(&sim, "api").0, sim.executions("api")), (Phase::Succeeded, 1));
    cleared(&mut sim);
    let third = submit(&mut sim);
    assert_eq!(sim.replies.get(&third), Some(&Reply::Exists(name("api"))));
}

#[test]
fn what_could_not_be_written_down_was_not_taken() {
    let mut sim = converged(&["a"]);
    sim.store.failing = true;
    let asked = sim.request(Request::SubmitRun {
        name: name("api"),
        labels: Default::default(),
        spec: spec("a", "do it"),
    });
    sim.run_for(60 * SECOND);
    assert!(!matches!(sim.replies.get(&asked), Some(Reply::Submitted(_))), "{:?}", sim.replies);
    assert_eq!(sim.executions("api"), 0);
    sound(&sim);
}

#[test]
fn records_beyond_the_limit_go_and_their_files_never_run_again() {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| {
        spec.runs.history = 2;
        spec.runs.keep = "0s";
    });
    for number in 0..5 {
        let run = format!("r{number}");
        sim.write_run(&run, RunFile::of("a"));
        let gone = |sim: &Sim| {
            let stones = sim.store.durable.tombstones.keys();
            sim.has_ended(&run) || stones.into_iter().any(|id| id.name.as_str() == run)
        };
        assert!(sim.run_until(LIMIT, gone), "{}", trace(&sim));
    }
    sim.run_for(150 * SECOND);
    sound(&sim);
    let kept: Vec<&str> = sim.store.durable.runs.iter().map(|it| it.id.name.as_str()).collect();
    assert_eq!((kept, sim.store.durable.tombstones.len()), (vec!["r3", "r4"], 3));
    sim.crash(SECOND);
    sim.delete_run("r0");
    sim.run_for(60 * SECOND);
    sim.write_run("r0", RunFile::of("a"));
    sim.run_for(120 * SECOND);
    sound(&sim);
    assert_eq!(sim.executions("r0"), 1);
    // And a raised rerun counts its attempts on.
    sim.edit_run("r0", |file| file.rerun = 1);
    assert!(sim.run_until(LIMIT, |sim| sim.executions("r0") == 2), "{}", trace(&sim));
    assert_eq!(sim.engine.agents.ledger.last().map(|it| it.agent.attempt), Some(2));
    cleared(&mut sim);
}

#[test]
fn a_list_that_says_nothing_of_a_run_drops_no_record_of_it() {
    let mut sim = two_kept_containers(["r1", "r3"], "10m");
    sim.run_for(5 * SECOND);
    sim.fates.push_back(("list", Fate::Late(10 * SECOND)));
    sim.crash_and(false, SECOND);
    let since = sim.now;
    assert!(sim.run_until(LIMIT, |sim| sim.count(since, "list", None) > 0), "{}", trace(&sim));
    // Its key comes and goes while the list is on its way.
    sim.edit_run("r3", |file| file.asks = Asks::Prompt("another".to_owned()));
    sim.run_for(30 * SECOND);
    assert_eq!(sim.run_containers("r1").len(), 1, "{}", trace(&sim));
    assert!(sim.record("r1").is_some(), "{}", trace(&sim));
    sim.run_for(700 * SECOND);
    sound(&sim);
    assert!(sim.run_containers("r1").is_empty() && sim.record("r1").is_none());
}

#[test]
fn what_was_renamed_while_the_next_attempt_was_at_work_is_not_removed() {
    for told in [true, false] {
        let works = vec![Work::saying(Says::Overloaded), Work::default()];
        let mut sim = asked(works);
        let first = at_work(&mut sim, "fix");
        sim.fates.push_back(("start", Fate::Hangs));
        let since = sim.now;
        let again = |sim: &Sim| sim.count(since, "start", Some("run/fix")) > 0;
        assert!(sim.run_until(LIMIT, again), "{}", trace(&sim));
        sim.deaf = !told;
        sim.engine.rename(&first, &ContainerName::parse("mine-now").expect("a name"));
        sim.run_for(SECOND);
        sim.deaf = false;
        ends(&mut sim, "fix", 600 * SECOND);
        sim.run_for(120 * SECOND);
        sound(&sim);
        assert!(sim.engine.containers.contains_key(&first), "{told}: S1: {}", trace(&sim));
    }
}

/// Two runs that have ended, one more than are kept, and both containers are there for a while yet.
fn two_kept_containers(runs: [&str; 2], keep: &'static str) -> Sim {
    let mut sim = converged(&["a"]);
    sim.edit("a", |spec| {
        spec.runs.history = 1;
        spec.runs.keep = keep;
    });
    for run in runs {
        sim.write_run(run, RunFile::of("a"));
        ends(&mut sim, run, LIMIT);
    }
    sim
}

#[test]
fn a_record_is_not_dropped_before_its_container_though_the_first_list_comes_late() {
    let mut sim = two_kept_containers(["r0", "r1"], "200s");
    sim.luck.slow = 300;
    // The files are read before the list is asked for, while it is told, or afterwards.
    for _ in 0..8 {
        sim.crash_and(false, SECOND);
        sim.run_for(15 * SECOND);
        assert_eq!(sim.run_containers("r0").len(), 1, "{}", trace(&sim));
        assert!(sim.record("r0").is_some(), "{}", trace(&sim));
    }
    sim.run_for(400 * SECOND);
    sound(&sim);
    assert!(sim.record("r0").is_none(), "{}", trace(&sim));
    cleared(&mut sim);
}

#[test]
fn what_is_left_of_a_dropped_run_goes_and_is_not_admitted_again() {
    let mut sim = two_kept_containers(["r0", "r1"], "200s");
    // A list that shows neither: the older record is dropped.
    sim.engine.earlier_list.clear();
    sim.engine.stale_once = true;
    assert!(sim.run_until(LIMIT, |sim| sim.record("r0").is_none()), "{}", trace(&sim));
    sim.run_for(400 * SECOND);
    sound(&sim);
    assert_eq!((sim.executions("r0"), sim.store.durable.tombstones.len()), (1, 1));
    // And what a raised rerun begins does not count it as its own.
    sim.edit_run("r0", |file| file.rerun = 1);
    assert!(sim.run_until(LIMIT, |sim| sim.executions("r0") == 2), "{}", trace(&sim));
    assert_eq!(sim.engine.agents.ledger.last().map(|it| it.agent.attempt), Some(2));
    cleared(&mut sim);
}

// The end that does not come.

#[test]
fn agent_that_stays_after_its_result_is_terminated() {
    let mut sim = asked(Work { stays: true, ..Work::default() });
    ends(&mut sim, "fix", 60 * SECOND);
    let end = sim.record("fix").and_then(|it| it.end.clone()).expect("an end");
    assert_eq!((end.phase, end.reason.as_str()), (Phase::Succeeded, "Succeeded"));
    assert!(end.message.contains("did not exit"), "{}", end.message);
    cleared(&mut sim);
}

#[test]
fn stop_of_a_silent_agent_survives_a_crash() {
    let mut sim = asked(Work { stays: true, ignores_term: true, ..Work::default() });
    let decided = |sim: &Sim| {
        let open = sim.record("fix").and_then(|it| it.open_attempt());
        open.is_some_and(|it| it.stop.is_some())
    };
    assert!(sim.run_until(60 * SECOND, decided), "{}", trace(&sim));
    sim.run_for(SECOND);
    sim.crash(SECOND);
    ends(&mut sim, "fix", 120 * SECOND);
    assert_eq!(end_of(&sim, "fix"), (Phase::Succeeded, "Succeeded".to_owned()));
    cleared(&mut sim);
}

#[test]
fn agent_killed_by_hand_before_the_stop_was_sent_does_not_succeed() {
    for crashes in [false, true] {
        let mut sim = asked(Work { stays: true, ..Work::default() });
        let id = at_work(&mut sim, "fix");
        sim.run_for(10 * SECOND);
        sim.luck.event_lost = 1000;
        sim.engine.kill(&id, 137);
        let decided = |sim: &Sim| {
            sim.record("fix").is_some_and(|it| it.attempts.iter().any(|it| it.stop.is_some()))
        };
        assert!(sim.run_until(60 * SECOND, decided), "{}", trace(&sim));
        if crashes {
            sim.crash(SECOND);
        }
        ends(&mut sim, "fix", 120 * SECOND);
        assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "Failed".to_owned()), "{}", trace(&sim));
        sim.luck.event_lost = 0;
        cleared(&mut sim);
    }
}

#[test]
fn cancel_after_a_final_result_is_a_cancel() {
    let mut sim = asked(Work { stays: true, ..Work::default() });
    at_work(&mut sim, "fix");
    sim.run_for(10 * SECOND);
    sim.request(Request::CancelRun { name: name("fix"), why: "enough".to_owned() });
    ends(&mut sim, "fix", 60 * SECOND);
    assert_eq!(end_of(&sim, "fix"), (Phase::Cancelled, "Cancelled".to_owned()));
    cleared(&mut sim);
}

#[test]
fn deadline_after_a_final_result_is_a_deadline() {
    let work = Work { stays: true, ..Work::default() };
    let mut sim = asked_with(work, |file| file.more = "activeDeadlineSeconds: 20");
    ends(&mut sim, "fix", 60 * SECOND);
    assert_eq!(end_of(&sim, "fix"), (Phase::Failed, "Deadline".to_owned()));
    let end = sim.record("fix").and_then(|it| it.end.clone()).expect("an end");
    assert_eq!(end.message, "its time was over");
    cleared(&mut sim);
}
