//! One run through its life, with every fault that a plan can name: each crash point, each answer of the engine to each call,
//! each lost event, and each pair of a crash and an answer; with the init's guard and record, and without them.
//!
//! The life: its file is written, its first attempt finds the API at capacity, its second does what is asked; the file is told to
//! run again; a second run is ended at work by its file. After each of them all must be at rest: an end on the disk, nothing left
//! on the engine. How it ended is judged too: no single fault of these takes more from a run than an attempt.

use std::time::Duration;

use chanop::resource::condition::Reason;
use chanop::world::run::Phase;
use chanop_sim::driver::{Counted, Fate, Planned};
use chanop_sim::settled::unsettled;
use chanop_sim::tree::RunFile;
use chanop_sim::{Says, Sim, Spec, Work};

/// What a call may come to. Fine is the case without a fate.
const FATES: [Fate; 11] = [
    Fate::Lost,
    Fate::AnswerLost,
    Fate::Hangs,
    Fate::Already,
    Fate::Taken,
    Fate::Conflict,
    Fate::Gone,
    Fate::Failed,
    Fate::Forgotten,
    Fate::Zombie(Duration::from_secs(3)),
    Fate::Refused(Reason::HostFailed),
];

/// Hangs are given up after two minutes, gates opened after five, and three attempts more are waited for.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_200);
/// Long enough for a list of every minute to contradict what events left behind.
const REST: Duration = Duration::from_secs(80);

type Change = fn(&mut Sim);

const LIFE: [(&str, Change); 4] = [
    // What the first scan of a new store has is held: the run comes later.
    ("its channel is written", |sim| {
        let mut spec = Spec { enabled: false, ..Spec::default() };
        spec.runs.keep = "2s";
        let quick = Work { takes: Duration::from_secs(1), ..Work::default() };
        let works = vec![
            Work { says: Says::Overloaded, ..quick.clone() },
            Work { says: Says::SuccessWithTool, ..quick },
        ];
        sim.works("fix", works);
        sim.write("a", spec);
        sim.run_until(SETTLES_WITHIN, |sim| sim.view.specs.scanned_at.is_some());
    }),
    ("it is asked for", |sim| sim.write_run("fix", RunFile::of("a"))),
    ("it is run again", |sim| sim.edit_run("fix", |file| file.rerun = 1)),
    ("another is ended at work", |sim| {
        sim.works("end", Work::saying(Says::Hangs));
        sim.write_run("end", RunFile::of("a"));
        sim.run_until(SETTLES_WITHIN, |sim| {
            sim.check.broken.is_some() || sim.live("end").is_some() || sim.has_ended("end")
        });
        sim.edit_run("end", |file| file.cancel = true);
    }),
];

/// One case; what could be counted in it, or what was broken, with the trace.
fn live(planned: &Planned, guard_off: bool) -> Result<Counted, String> {
    let mut sim = Sim::new(1);
    sim.luck.slow = 5;
    sim.engine.agents.guard_off = guard_off;
    sim.planned = planned.clone();
    for (chapter, change) in LIFE {
        change(&mut sim);
        let settled = sim.run_until(SETTLES_WITHIN, |sim| {
            sim.check.broken.is_some() || unsettled(sim).is_none()
        });
        if !settled {
            let why = unsettled(&sim).unwrap_or_default();
            sim.check.fail(format!("L2: after {chapter}: {why}"));
        }
        told(&mut sim, planned)?;
    }
    judged(&mut sim, planned, guard_off);
    let counted = sim.counted.clone();
    sim.run_for(Duration::from_secs(30));
    let since = sim.now;
    sim.run_for(REST);
    if sim.mutations(since) > 0 {
        sim.check.fail("L1: something is still being done");
    }
    if let Some(why) = unsettled(&sim) {
        sim.check.fail(format!("L1: it did not stay so: {why}"));
    }
    told(&mut sim, planned)?;
    Ok(counted)
}

/// A run loses no more than an attempt to any of these faults, but when its container is taken away at work, or the engine is.
fn judged(sim: &mut Sim, planned: &Planned, guard_off: bool) {
    let fate = planned.answer.as_ref().map(|(_, fate)| fate);
    let taken_away = matches!(fate, Some(Fate::Gone | Fate::Forgotten));
    // What init did not write down, and the engine says after nobody listened, is no evidence.
    // A start that failed, fenced by a removal after which the operator was killed: that it never ran, nobody can tell any more.
    let twice = planned.crash.is_some() && fate.is_some();
    let unheard = twice
        || guard_off && (planned.crash.is_some() || planned.event.is_some() || fate.is_some());
    for (run, rerun) in [("fix", 0), ("fix", 1), ("end", 0)] {
        let records = &sim.store.durable.runs;
        let found = records.iter().find(|it| it.id.name.as_str() == run && it.id.rerun == rerun);
        let phase = found.and_then(|it| it.end.as_ref()).map(|end| end.phase);
        let wanted = if run == "end" { Phase::Cancelled } else { Phase::Succeeded };
        let lost = phase == Some(Phase::Lost) && (taken_away || unheard);
        let failed = phase == Some(Phase::Failed) && taken_away;
        if phase != Some(wanted) && !lost && !failed {
            sim.check.fail(format!("5: {run}, rerun {rerun}, is {phase:?}"));
        }
    }
}

fn told(sim: &mut Sim, planned: &Planned) -> Result<(), String> {
    match sim.check.broken.take() {
        None => Ok(()),
        Some(what) => Err(format!("{planned:?}: {what}\n{}", sim.log.join("\n"))),
    }
}

/// Every case with one answer, added to what is planned already.
fn answers(base: &Planned, counted: &Counted) -> Vec<Planned> {
    let calls = (0..).zip(&counted.calls);
    calls
        .flat_map(|(number, word)| {
            let fates = FATES.iter().filter(|fate| fate.suits(word));
            fates.map(move |fate| Planned { answer: Some((number, fate.clone())), ..base.clone() })
        })
        .collect()
}

fn crashes(counted: &Counted) -> impl Iterator<Item = Planned> {
    (1..=counted.effects).flat_map(|after| {
        [true, false].map(|arrives| Planned { crash: Some((after, arrives)), ..Planned::default() })
    })
}

/// Runs them all, and says which failed first.
fn all_hold(cases: impl IntoIterator<Item = Planned>, guard_off: bool) -> usize {
    let mut count = 0;
    let mut failing = Vec::new();
    for planned in cases {
        count += 1;
        failing.extend(live(&planned, guard_off).err());
    }
    let kinds: Vec<&str> = failing.iter().filter_map(|it| it.lines().next()).collect();
    assert!(
        failing.is_empty(),
        "{} of {count} cases fail:\n{}\nthe first: {}",
        failing.len(),
        kinds.join("\n"),
        failing[0]
    );
    count
}

fn undisturbed() -> Counted {
    live(&Planned::default(), false).unwrap_or_else(|broken| panic!("{broken}"))
}

/// The count of cases must not shrink unnoticed: a life that is shorter, or a counter that counts less, proves less. Put up
/// when it grows; put down only with a reason.
fn not_fewer(what: &str, count: usize, least: usize) {
    println!("{what}: {count} cases");
    assert!(count >= least, "{what}: {count} cases, there were {least}");
}

fn each_single(guard_off: bool) {
    let counted = undisturbed();
    println!("{counted:?}");
    let events =
        (1..=counted.events).map(|event| Planned { event: Some(event), ..Planned::default() });
    let cases = crashes(&counted).chain(answers(&Planned::default(), &counted)).chain(events);
    not_fewer("single faults of a run", all_hold(cases, guard_off), 300);
}

#[test]
fn each_single_fault_of_a_run_is_survived() {
    each_single(false);
}

#[test]
fn each_single_fault_of_a_run_is_survived_without_the_guard() {
    each_single(true);
}

/// An eighth of the pairs, so that eight tests share them; four have the guard, and four do not.
fn each_pair(part: usize) {
    let counted = undisturbed();
    let guard_off = part % 2 == 1;
    let mut count = 0;
    for crash in crashes(&counted).skip(part / 2).step_by(4) {
        // What is asked after this crash is not what would have been asked without.
        let after = live(&crash, guard_off).unwrap_or_else(|broken| panic!("{broken}"));
        count += all_hold(answers(&crash, &after), guard_off);
    }
    not_fewer("a crash and an answer of a run", count, 5_000);
}

macro_rules! pairs {
    ($($name:ident: $number:literal,)*) => {
        $(#[test]
        fn $name() {
            each_pair($number);
        })*
    };
}

pairs! {
    each_crash_with_each_answer_is_survived_in_part_0: 0,
    each_crash_with_each_answer_is_survived_in_part_1: 1,
    each_crash_with_each_answer_is_survived_in_part_2: 2,
    each_crash_with_each_answer_is_survived_in_part_3: 3,
    each_crash_with_each_answer_is_survived_in_part_4: 4,
    each_crash_with_each_answer_is_survived_in_part_5: 5,
    each_crash_with_each_answer_is_survived_in_part_6: 6,
    each_crash_with_each_answer_is_survived_in_part_7: 7,
}
