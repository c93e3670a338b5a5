//! Runs ordered at once, divided by a bare loop that does the same with containers; what they asked of the engine; and how many
//! orders a second become durable. How long one run's steps take is in [`super::spans`].

use std::sync::Arc;
use std::time::Duration;

use chanop::container::{ContainerConfig, ContainerName, label};
use chanop::docker::{Docker, Endpoint, Engine as _};
use chanop::http::client::Client;
use chanop::resource::ResourceName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{PATIENCE, WithImage, as_number, millis, spans, until_quiet};
use crate::agent;
use crate::counter::{Counter, Exchange};
use crate::engine::BENCH_LABEL;
use crate::floor::{anonymous, first_create};
use crate::ground::Ground;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// `maxConcurrent` of the channel, and how many the loop does at once.
const AT_ONCE: usize = 4;
/// Connections that orders are sent over.
const CONNECTIONS: usize = 32;
/// The channel whose runs are measured.
pub(super) const CHANNEL: &str = "work";

#[derive(Debug, Default)]
struct Pairs {
    operator: Vec<f64>,
    floor: Vec<f64>,
    calls: Vec<f64>,
}

/// See the module.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let with_image = WithImage::new(bench)?;
    let mut pairs = Pairs::default();
    for pair in 0..bench.arguments.pairs {
        one(bench, &with_image, &mut pairs)?;
        let last = |values: &[f64]| values.last().copied().unwrap_or_default();
        eprintln!(
            "  pair {pair}: operator {:.0} ms, loop {:.0} ms, {} calls a run",
            last(&pairs.operator),
            last(&pairs.floor),
            last(&pairs.calls)
        );
    }
    let mut rows = rows(&pairs, bench.arguments.runs);
    rows.extend(spans::measure(bench, &with_image)?);
    rows.push(admitted(bench, &with_image)?);
    Ok(rows)
}

/// Operator and loop, on a new ground.
fn one(bench: &Bench, with_image: &WithImage, pairs: &mut Pairs) -> Outcome<()> {
    let count = bench.arguments.runs;
    let (mut ground, counter) = with_image.ground(bench)?;
    channel(&ground, count)?;
    ground.start(&counter.socket())?;
    ground.until_ready(1, PATIENCE)?;
    let config = kept(bench, with_image, &mut ground)?;
    until_quiet(&counter);

    let mark = counter.mark();
    submit(bench, &ground.client(), CHANNEL, count, count)?;
    ground.until("the last run's container is removed", PATIENCE, |_| {
        Ok(from_create_to_remove(&counter.since(mark), count).is_some())
    })?;
    until_quiet(&counter);
    let asked = counter.since(mark);
    let took = from_create_to_remove(&asked, count).ok_or("not all were removed")?;
    pairs.operator.push(millis(took));
    // Lists come with time and not with runs.
    let its_own = |it: &&Exchange| !(it.is_ping() || it.is_list() || it.is_events());
    pairs.calls.push(as_number(asked.iter().filter(its_own).count()) / as_number(count));
    ground.stop()?;

    let took = bare(bench, &counter, &config, &ground.instance, count)?;
    pairs.floor.push(millis(took));
    let real = &with_image.real;
    real.remove(BENCH_LABEL, &ground.instance)?;
    real.remove(label::INSTANCE, &ground.instance)
}

/// The channel of [`CHANNEL`], with room for so many.
pub(super) fn channel(ground: &Ground, count: usize) -> Outcome<()> {
    let runs = format!(
        "maxConcurrent: {AT_ONCE}, keepContainer: 0s, queue: {{maxLength: {}}}",
        count.saturating_add(1)
    );
    agent::channel(ground, CHANNEL, &runs, "")
}

/// What a run's container is made from, and can be made from again: the run's own directory stays as long as its container.
fn kept(bench: &Bench, with_image: &WithImage, ground: &mut Ground) -> Outcome<ContainerConfig> {
    let mut order = agent::order(CHANNEL, "kept", 1)?;
    if let Some(spec) = order.get_mut("spec").and_then(|spec| spec.as_object_mut()) {
        spec.insert("keepContainer".to_owned(), "1h".into());
    }
    let (client, name) = (ground.client(), ResourceName::parse("kept")?);
    bench.runtime.block_on(client.submit_run(&order))?;
    ground.until("a run has succeeded", PATIENCE, |_| {
        Ok(bench.runtime.block_on(client.run(&name))?.status.phase == "Succeeded")
    })?;
    let configs = with_image.real.configs(&ground.instance)?;
    let config = configs.into_iter().next().ok_or("no container was kept")?;
    unguarded(config)
}

/// The same work for a container that may be started although the attempt was: its init heeds no guard.
fn unguarded(mut config: ContainerConfig) -> Outcome<ContainerConfig> {
    let is_guard = |word: &String| word == "--guard";
    let words = if config.entrypoint.iter().any(is_guard) {
        &mut config.entrypoint
    } else {
        &mut config.cmd
    };
    let at = words.iter().position(is_guard).ok_or("a run's container without a guard")?;
    // The flag and its file.
    words.drain(at..(at + 2).min(words.len()));
    Ok(config)
}

/// Orders so many runs over so many connections at once.
fn submit(
    bench: &Bench,
    client: &Client,
    channel: &str,
    count: usize,
    at_once: usize,
) -> Outcome<()> {
    let orders: Vec<_> = (0..count)
        .map(|number| agent::order(channel, &format!("{channel}-{number}"), 1))
        .collect::<Outcome<_>>()?;
    bench.runtime.block_on(
        stream::iter(orders)
            .map(|order| async move {
                client.submit_run(&order).await?;
                Outcome::Ok(())
            })
            .buffer_unordered(at_once)
            .try_collect::<()>(),
    )
}

/// From the first create sent to the last of so many removes answered; `None`: not yet.
fn from_create_to_remove(exchanges: &[Exchange], count: usize) -> Option<Duration> {
    let removed: Vec<Duration> =
        exchanges.iter().filter(|it| it.is_remove()).filter_map(|it| it.answered).collect();
    if removed.len() < count {
        return None;
    }
    Some(removed.into_iter().max()?.saturating_sub(first_create(exchanges)?))
}

/// Create, start, wait, logs, remove, for as many containers.
fn bare(
    bench: &Bench,
    counter: &Counter,
    config: &ContainerConfig,
    instance: &str,
    count: usize,
) -> Outcome<Duration> {
    let mark = counter.mark();
    let config = &Arc::new(anonymous(config.clone(), instance));
    bench.runtime.block_on(async {
        let docker = &Docker::connect(&Endpoint::unix(counter.socket())).await?;
        stream::iter(0..count)
            .map(|number| async move {
                let name = ContainerName::parse(&format!("{instance}-run-{number}"))?;
                let id = docker.create(&name, config).await?;
                docker.start(&id).await?;
                let ended = docker.wait(&id).await?;
                let output: Vec<_> = docker.output(&id, false).try_collect().await?;
                docker.remove(&id, false).await?;
                if output.is_empty() {
                    return Err(format!("the loop's container said nothing: {ended:?}").into());
                }
                Outcome::Ok(())
            })
            .buffer_unordered(AT_ONCE)
            .try_collect::<()>()
            .await
    })?;
    let took = from_create_to_remove(&counter.since(mark), count);
    took.ok_or_else(|| "not all of the loop's containers were removed".into())
}

/// Runs of a suspended channel, ordered over [`CONNECTIONS`]: each answer says that the order is on the disk.
fn admitted(bench: &Bench, with_image: &WithImage) -> Outcome<Row> {
    let count = bench.arguments.queued;
    let mut rates = Vec::new();
    for _ in 0..bench.arguments.pairs {
        let (mut ground, counter) = with_image.ground(bench)?;
        let runs = format!("queue: {{maxLength: {}}}", count.saturating_mul(2));
        agent::channel(&ground, "queued", &runs, "  suspend: true\n")?;
        ground.start(&counter.socket())?;
        let client = ground.client();
        ground.until("the channel is known", PATIENCE, |_| {
            let known = client.get::<serde_json::Value>("/channels/queued", "application/json");
            Ok(bench.runtime.block_on(known).is_ok())
        })?;
        let began = bench.clock.now().mono;
        submit(bench, &client, "queued", count, CONNECTIONS)?;
        let took = bench.clock.now().mono.saturating_sub(began);
        rates.push(as_number(count) / took.as_secs_f64());
        let started = counter.since(0).iter().filter(|it| it.is_start()).count();
        ground.stop()?;
        if started > 0 {
            return Err("a suspended channel's run was started".into());
        }
    }
    let what = format!("{count} queued runs admitted, over {CONNECTIONS} connections");
    Ok(Row::median(what, Unit::PerSecond, &rates, None))
}

fn rows(pairs: &Pairs, count: usize) -> Vec<Row> {
    let divided: Vec<f64> =
        pairs.operator.iter().zip(&pairs.floor).map(|(operator, floor)| operator / floor).collect();
    let runs = format!("{count} runs, {AT_ONCE} at once");
    let bare = format!("a bare create+start+wait+logs+remove loop of {count}, {AT_ONCE} at once");
    vec![
        Row::median(format!("{runs} ÷ {bare}"), Unit::Ratio, &divided, Some(1.05)),
        Row::median(
            format!("{runs}: first create to last remove"),
            Unit::Millis,
            &pairs.operator,
            None,
        ),
        Row::median(bare, Unit::Millis, &pairs.floor, None),
        Row::median("calls a run", Unit::Calls, &pairs.calls, Some(5.0)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_work_goes_without_its_guard() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        let config = ContainerConfig {
            entrypoint: words("/init run --guard /file --stdin /in -- agent"),
            ..ContainerConfig::default()
        };
        let bare = unguarded(config.clone()).unwrap();
        assert_eq!(bare.entrypoint, words("/init run --stdin /in -- agent"));
        assert!(unguarded(bare).is_err());
    }
}
