//! One channel through its life, with every fault that a plan can name: each crash point, each answer of the engine to each
//! call, each lost event, and each pair of a crash and an answer.
//!
//! The life: a file with an image that is pulled, limits changed in place, a change that makes the container anew,
//! suspended, resumed, and the file gone, so that it is stopped and removed. After each of them all must be as the file
//! wants it; the faults are few and stop by themselves.

use std::time::Duration;

use chanop::resource::condition::Reason;
use chanop_sim::driver::{Counted, Fate, Planned};
use chanop_sim::engine::IMAGE_REMOTE;
use chanop_sim::settled::unsettled;
use chanop_sim::{Sim, Spec};

/// What a call may come to. Fine is the case without a fate.
const FATES: [Fate; 9] = [
    Fate::Lost,
    Fate::AnswerLost,
    Fate::Hangs,
    Fate::Already,
    Fate::Taken,
    Fate::Conflict,
    Fate::Gone,
    Fate::Failed,
    Fate::Refused(Reason::HostFailed),
];

/// Hangs are given up after two minutes, and gates opened after five: an hour is far beyond both.
const SETTLES_WITHIN: Duration = Duration::from_secs(1_200);
/// Long enough for a list of every minute to contradict what events left behind.
const REST: Duration = Duration::from_secs(80);

type Change = fn(&mut Sim);

const LIFE: [(&str, Change); 6] = [
    ("its file is written", |sim| {
        let spec = Spec { image: IMAGE_REMOTE, keep_stopped: "5s", ..Spec::default() };
        sim.write("a", spec);
    }),
    ("its limits are changed", |sim| sim.edit("a", |spec| spec.memory = 128)),
    ("it is made anew", |sim| sim.edit("a", |spec| spec.var = 1)),
    ("it is suspended", |sim| sim.edit("a", |spec| spec.suspend = true)),
    ("it is resumed", |sim| sim.edit("a", |spec| spec.suspend = false)),
    ("its file is deleted", |sim| sim.delete("a")),
];

/// One case; what could be counted in it, or what was broken, with the trace.
fn live(planned: &Planned) -> Result<Counted, String> {
    let mut sim = Sim::new(1);
    sim.luck.slow = 5;
    sim.planned = planned.clone();
    for (chapter, change) in LIFE {
        change(&mut sim);
        let settled = sim.run_until(SETTLES_WITHIN, |sim| {
            sim.check.broken.is_some() || unsettled(sim).is_none()
        });
        if !settled {
            let why = unsettled(&sim).unwrap_or_default();
            sim.check.fail(format!("L1: after {chapter}: {why}"));
        }
        told(&mut sim, planned)?;
    }
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
fn all_hold(cases: impl IntoIterator<Item = Planned>) -> usize {
    let mut count = 0;
    let mut failing = Vec::new();
    for planned in cases {
        count += 1;
        failing.extend(live(&planned).err());
    }
    assert!(
        failing.is_empty(),
        "{} of {count} cases fail; the first: {}",
        failing.len(),
        failing[0]
    );
    count
}

fn undisturbed() -> Counted {
    live(&Planned::default()).unwrap_or_else(|broken| panic!("{broken}"))
}

/// The count of cases must not shrink unnoticed: a life that is shorter, or a counter that counts less, proves less. Put up
/// when it grows; put down only with a reason.
fn not_fewer(what: &str, count: usize, least: usize) {
    println!("{what}: {count} cases");
    assert!(count >= least, "{what}: {count} cases, there were {least}");
}

#[test]
fn each_single_fault_is_survived() {
    let counted = undisturbed();
    println!("{counted:?}");
    let events =
        (1..=counted.events).map(|event| Planned { event: Some(event), ..Planned::default() });
    let cases = crashes(&counted).chain(answers(&Planned::default(), &counted)).chain(events);
    not_fewer("single faults", all_hold(cases), 280);
}

/// A quarter of the pairs, so that four tests share them.
fn each_pair(quarter: usize) {
    let counted = undisturbed();
    let mut count = 0;
    for crash in crashes(&counted).skip(quarter).step_by(4) {
        // What is asked after this crash is not what would have been asked without.
        let after = live(&crash).unwrap_or_else(|broken| panic!("{broken}"));
        count += all_hold(answers(&crash, &after));
    }
    not_fewer("a crash and an answer", count, 5_000);
}

#[test]
fn each_crash_with_each_answer_is_survived() {
    each_pair(0);
}

#[test]
fn each_crash_with_each_answer_is_survived_in_the_second_quarter() {
    each_pair(1);
}

#[test]
fn each_crash_with_each_answer_is_survived_in_the_third_quarter() {
    each_pair(2);
}

#[test]
fn each_crash_with_each_answer_is_survived_in_the_last_quarter() {
    each_pair(3);
}
