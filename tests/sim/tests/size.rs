//! How long the core takes with many channels: printed, and bounded far above what is meant, for dev builds on slow machines.

use std::time::Duration;

use chanop::planner::report::report;
use chanop_sim::{Sim, Spec};

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn took<T>(what: &str, act: impl FnOnce() -> T) -> (T, Duration) {
    let start = std::time::Instant::now();
    let done = act();
    let took = start.elapsed();
    println!("{what}: {took:?}");
    (done, took)
}

#[expect(clippy::disallowed_methods, reason = "this measures")]
fn clock() -> Duration {
    static START: std::sync::OnceLock<std::time::Instant> = std::sync::OnceLock::new();
    START.get_or_init(std::time::Instant::now).elapsed()
}

#[test]
fn many_channels_cost_in_proportion() {
    let count = 1_000;
    let mut sim = Sim::new(1);
    sim.clock = Some(clock);
    sim.luck.slow = 1;
    for number in 0..count {
        sim.tree.write(&format!("c{number}"), Spec::default());
    }
    let limit = Duration::from_secs(600);
    let (ready, whole) = took("1,000 channels from files to Ready", || {
        sim.run_until(limit, |sim| sim.view.stats.shells_running == count)
    });
    assert!(
        ready,
        "{:?}\n{}",
        sim.view.stats,
        sim.log.get(sim.log.len().saturating_sub(30)..).unwrap_or_default().join("\n")
    );
    println!(
        "inputs: {}, virtual time: {:?}, the core alone: {:?}",
        sim.inputs, sim.now, sim.core_took
    );
    sim.run_for(Duration::from_secs(20));
    let now = sim.core_now();
    let core = sim.core().expect("it lives");
    let (plan, planned) = took("plan of 1,000 converged channels", || report(core.world(), now));
    assert_eq!((plan.lines.len(), plan.unchanged), (0, count));
    sim.edit("c7", |spec| spec.memory = 128);
    let before = sim.inputs;
    sim.core_took = (Duration::ZERO, Duration::ZERO);
    took("one change among them", || sim.run_for(Duration::from_secs(1)));
    println!("inputs: {}, the core alone: {:?}", sim.inputs - before, sim.core_took);
    took("five minutes at rest", || sim.run_for(Duration::from_secs(300)));
    assert!(whole < Duration::from_secs(120), "{whole:?}");
    assert!(planned < Duration::from_secs(1), "{planned:?}");
}
