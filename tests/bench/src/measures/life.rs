//! An operator with running channels on the real engine: at rest, when a file is saved, and when a container dies.

use std::thread::sleep;
use std::time::Duration;

use chanop::docker::Engine as _;

use super::{PATIENCE, WithImage, at_rest, millis};
use crate::counter::Counter;
use crate::deaths::Deaths;
use crate::ground::Ground;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// What the watcher waits for after the last change; `specs` has the number.
const DEBOUNCE_MILLIS: f64 = 100.0;
/// Between two samples: longer than the debounce, and no divisor of a period of the operator's.
const PAUSE: Duration = Duration::from_millis(370);

/// See the module.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let with_image = WithImage::new(bench)?;
    let count = bench.arguments.channels;
    let (mut ground, counter) = with_image.ground(bench)?;
    ground.channels(count)?;
    ground.start(&counter.socket())?;
    ground.until_ready(count, PATIENCE)?;
    let mut rows = at_rest(bench, &counter, &format!("{count} channels on Docker"));
    let resident = ground.resident_megabytes()?;
    rows.push(Row::median(
        format!("RSS at {count} channels"),
        Unit::Megabytes,
        &[resident],
        Some(25.0),
    ));
    rows.extend(kills(bench, &with_image, &mut ground, &counter)?);
    rows.extend(saves(bench, &mut ground, &counter)?);
    ground.stop()?;
    Ok(rows)
}

/// A file is saved: how long until its container is asked for.
fn saves(bench: &Bench, ground: &mut Ground, counter: &Counter) -> Outcome<Vec<Row>> {
    let mut times = Vec::new();
    for sample in 0..bench.arguments.samples {
        let name = format!("saved{sample}");
        ground.workspace(&name)?;
        sleep(PAUSE);
        let mark = counter.mark();
        let saved = bench.clock.now().mono;
        ground.save(&format!("team0/{name}.yaml"), &name)?;
        ground.until("the new container is started", PATIENCE, |_| {
            Ok(counter.since(mark).iter().any(|it| it.is_start() && it.answered.is_some()))
        })?;
        let asked = counter.since(mark);
        let create = asked.iter().find(|it| it.is_create()).ok_or("no create")?;
        times.push(millis(create.sent.saturating_sub(saved)));
    }
    let aim = Some(DEBOUNCE_MILLIS + 10.0);
    let row = |word, thousandths| {
        Row::quantile(
            format!("file saved → create sent, {word}"),
            Unit::Millis,
            &times,
            thousandths,
            aim,
        )
    };
    Ok(vec![row("p50", 500), row("p99", 990)])
}

/// A container is killed: how long until the operator asks for it.
fn kills(
    bench: &Bench,
    with_image: &WithImage,
    ground: &mut Ground,
    counter: &Counter,
) -> Outcome<Vec<Row>> {
    let real = &with_image.real;
    let deaths = Deaths::follow(bench, real, &ground.instance);
    let mut whole = Vec::new();
    let mut own = Vec::new();
    for sample in 0..bench.arguments.samples {
        let channel = format!("c{:05}", sample % bench.arguments.channels);
        let id = real.shell(&ground.instance, &channel)?;
        let mark = counter.mark();
        let killed = bench.clock.now().mono;
        real.run(real.docker().kill(&id, "KILL"))?;
        ground.until("it is started again", PATIENCE, |_| {
            let asked = counter.since(mark);
            Ok(asked.iter().any(|it| it.is_start() && it.answered.is_some()))
        })?;
        let asked = counter.since(mark);
        let next = asked.iter().find(|it| it.line.contains(id.as_str())).ok_or("no call")?;
        whole.push(millis(next.sent.saturating_sub(killed)));
        if let Some(died) = deaths.of(&id) {
            own.push((next.sent_wall.as_nanosecond() - died) as f64 / 1e6);
        }
        sleep(PAUSE);
    }
    let row = |what: &str, word, times: &[f64], thousandths, aim| {
        Row::quantile(
            format!("{what} → next call sent, {word}"),
            Unit::Millis,
            times,
            thousandths,
            aim,
        )
    };
    Ok(vec![
        row("`docker kill` sent", "p50", &whole, 500, None),
        row("`docker kill` sent", "p99", &whole, 990, Some(30.0)),
        row("the engine's `die`", "p50", &own, 500, None),
        row("the engine's `die`", "p99", &own, 990, None),
    ])
}
