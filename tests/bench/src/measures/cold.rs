//! From files to running containers, divided by what a bare loop needs for the same containers; and what was asked for it.

use std::time::Duration;

use chanop::container::label;

use super::{PATIENCE, WithImage, as_number, millis, until_quiet};
use crate::counter::Exchange;
use crate::engine::BENCH_LABEL;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome, compose, floor};

#[derive(Debug, Default)]
struct Pairs {
    from_spawn: Vec<f64>,
    from_create: Vec<f64>,
    floor: Vec<f64>,
    by_compose: Vec<f64>,
    writes: Vec<f64>,
    reads: Vec<f64>,
}

/// Operator and loop in turns, on a new ground each time.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let with_image = WithImage::new(bench)?;
    let compose = compose::installed();
    let mut pairs = Pairs::default();
    for pair in 0..bench.arguments.pairs {
        one(bench, &with_image, compose.as_deref(), &mut pairs)?;
        let last = |values: &[f64]| values.last().copied().unwrap_or_default();
        eprintln!(
            "  pair {pair}: operator {:.0} ms, loop {:.0} ms",
            last(&pairs.from_spawn),
            last(&pairs.floor)
        );
    }
    Ok(rows(&pairs, bench.arguments.channels))
}

fn one(
    bench: &Bench,
    with_image: &WithImage,
    compose: Option<&[&str]>,
    pairs: &mut Pairs,
) -> Outcome<()> {
    let count = bench.arguments.channels;
    let (mut ground, counter) = with_image.ground(bench)?;
    ground.channels(count)?;
    let began = ground.start(&counter.socket())?;
    ground.until("the last start is answered", PATIENCE, |_| {
        Ok(floor::last_start(&counter.since(0), count).is_some())
    })?;
    let exchanges = counter.since(0);
    let last = floor::last_start(&exchanges, count).ok_or("no start")?;
    let first = floor::first_create(&exchanges).ok_or("no create")?;
    pairs.from_spawn.push(millis(last.saturating_sub(began)));
    pairs.from_create.push(millis(last.saturating_sub(first)));
    ground.until_ready(count, PATIENCE)?;
    until_quiet(&counter);
    let asked = counter.since(0);
    let each = |is: fn(&Exchange) -> bool| {
        as_number(asked.iter().filter(|it| is(it)).count()) / as_number(count)
    };
    pairs.writes.push(each(Exchange::writes_container));
    pairs.reads.push(each(Exchange::reads_container));
    ground.stop()?;

    let real = &with_image.real;
    let configs = real.configs(&ground.instance)?;
    real.remove(label::INSTANCE, &ground.instance)?;
    let mut best = Duration::MAX;
    for at_once in floor::CONCURRENCY {
        let took =
            floor::run(&bench.runtime, &counter, &configs, &ground.instance, at_once, bench.clock)?;
        best = best.min(took);
        real.remove(BENCH_LABEL, &ground.instance)?;
    }
    pairs.floor.push(millis(best));
    if let Some(way) = compose {
        let (file, socket) = (ground.path(""), counter.socket());
        let took = compose::run(way, &file, &socket, &configs, &ground.instance, bench.clock)?;
        pairs.by_compose.push(millis(took));
        real.remove(BENCH_LABEL, &ground.instance)?;
    }
    Ok(())
}

fn rows(pairs: &Pairs, count: usize) -> Vec<Row> {
    let divided = |by: &[f64], values: &[f64]| -> Vec<f64> {
        values.iter().zip(by).map(|(value, by)| value / by).collect()
    };
    let cold = format!("cold convergence of {count} channels");
    let ratio = |what: &str, by: &[f64], values: &[f64], aim| {
        Row::median(format!("{cold} ÷ {what}"), Unit::Ratio, &divided(by, values), aim)
    };
    let best = "the best bare loop (2, 4, 8 at once)";
    let mut rows = vec![
        ratio(best, &pairs.floor, &pairs.from_spawn, Some(1.05)),
        ratio(&format!("{best}, from the first create on"), &pairs.floor, &pairs.from_create, None),
    ];
    if !pairs.by_compose.is_empty() {
        rows.push(ratio("`docker compose up -d`", &pairs.by_compose, &pairs.from_spawn, Some(1.0)));
    }
    rows.push(Row::median(cold, Unit::Millis, &pairs.from_spawn, None));
    rows.push(Row::median(
        format!("the best bare loop of {count}"),
        Unit::Millis,
        &pairs.floor,
        None,
    ));
    rows.push(Row::median("writes a channel, cold", Unit::Calls, &pairs.writes, Some(2.0)));
    rows.push(Row::median("reads a channel, cold", Unit::Calls, &pairs.reads, Some(0.1)));
    rows
}
