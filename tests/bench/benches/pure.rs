//! The pure parts alone: `cargo bench -p chanop-bench`.
//!
//! For a change of one of them: Criterion says whether it is faster or slower than the last time on this machine. What it means
//! for an operator is in the table of `make bench`.

#![expect(clippy::expect_used, reason = "without its world there is nothing to measure")]

use std::hint::black_box;

use chanop::container::spec_hash::spec_hash;
use chanop::planner::channel::plan_channel;
use chanop::planner::report::report;
use chanop::specs::parse::parse_file;
use chanop_bench::core::Core;
use chanop_sim::Spec;
use criterion::{Criterion, criterion_group, criterion_main};

/// Channels in the world that is planned.
const COUNT: usize = 1_000;

fn parse(criterion: &mut Criterion) {
    let text = Spec::default().yaml("web");
    criterion.bench_function("parse of a channel's file", |bencher| {
        bencher.iter(|| parse_file("web.yaml", black_box(&text)));
    });
}

fn plan(criterion: &mut Criterion) {
    let core = Core::converged(COUNT).expect("a world at rest");
    let (world, now) = (core.controller().world(), core.now());
    let (name, wish) = world.desired.channels.first_key_value().expect("a channel");
    let target = wish.target.as_ref().expect("it is admitted");
    criterion.bench_function("hash of a container's configuration", |bencher| {
        bencher.iter(|| spec_hash(black_box(&target.config), &()));
    });
    criterion.bench_function("plan of one channel among 1,000", |bencher| {
        bencher.iter(|| plan_channel(black_box(world), name, now));
    });
    criterion.bench_function("plan of 1,000 channels", |bencher| {
        bencher.iter(|| report(black_box(world), now));
    });
}

fn change(criterion: &mut Criterion) {
    let mut core = Core::converged(COUNT).expect("a world at rest");
    criterion.bench_function("one change among 1,000, seen and carried out", |bencher| {
        let mut memory = 64;
        bencher.iter(|| {
            memory = if memory == 64 { 128 } else { 64 };
            let scan = core.one_changed(7, memory);
            core.take(scan);
            core.settle();
        });
    });
}

criterion_group!(pure, parse, plan, change);
criterion_main!(pure);
