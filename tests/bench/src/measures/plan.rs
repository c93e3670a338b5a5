//! The core alone: the plan of everything, and one change.

use std::hint::black_box;

use chanop::controller::input::Input;
use chanop::planner::channel::plan_channel;
use chanop::resource::ResourceName;
use chanop_bench::core::Core;

use super::millis;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// How often each is done.
const TIMES: usize = 20;

/// See the module.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let count = bench.arguments.most;
    let mut core = Core::converged(count)?;
    let (mut whole, mut single, mut change) = (Vec::new(), Vec::new(), Vec::new());
    let name = ResourceName::parse("c7")?;
    for _ in 0..TIMES {
        let began = bench.clock.now().mono;
        let report = core.report();
        whole.push(millis(bench.clock.now().mono.saturating_sub(began)));
        if report.unchanged != count {
            return Err(format!("not converged: {:?}", report.lines.first()).into());
        }
        let began = bench.clock.now().mono;
        black_box(plan_channel(core.controller().world(), &name, core.now()));
        single.push(millis(bench.clock.now().mono.saturating_sub(began)));
    }
    for number in 0..TIMES {
        let scan = core.one_changed(number % count, 128);
        let now = core.now();
        // What the last change left to be told is not this one's.
        let told = core.on(now, Input::Tick);
        core.carry_out(told);
        let began = bench.clock.now().mono;
        let effects = core.on(now, scan);
        change.push(millis(bench.clock.now().mono.saturating_sub(began)));
        core.carry_out(effects);
        core.settle();
    }
    Ok(vec![
        Row::median(
            format!("plan of {count} converged channels"),
            Unit::Millis,
            &whole,
            Some(20.0),
        ),
        Row::median(
            format!("one change among {count}: scan to decision"),
            Unit::Millis,
            &change,
            Some(0.2),
        ),
        Row::median(format!("plan of one channel among {count}"), Unit::Millis, &single, None),
    ])
}
