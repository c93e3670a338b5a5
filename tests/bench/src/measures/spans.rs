//! How long the steps of a run take that people wait for: from its end to its record, and from a line to whoever follows it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use chanop::http::client::Client;
use chanop::http::turns::Turn;
use chanop::resource::ResourceName;

use super::runs::{CHANNEL, channel};
use super::{PATIENCE, WithImage, millis};
use crate::counter::Counter;
use crate::deaths::Deaths;
use crate::ground::Ground;
use crate::stats::median;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome, agent};

/// What the record may take, beside one fsync.
const RECORD_MILLIS: f64 = 60.0;

/// One operator, one run at a time.
pub(super) fn measure(bench: &Bench, with_image: &WithImage) -> Outcome<Vec<Row>> {
    let (mut ground, counter) = with_image.ground(bench)?;
    channel(&ground, 1)?;
    ground.start(&counter.socket())?;
    ground.until_ready(1, PATIENCE)?;
    let fsyncs = fsyncs(bench, &ground)?;
    let what = "one fsync on the state directory's disk";
    let mut rows = vec![row(what, "p50", &fsyncs, 500, None), row(what, "p99", &fsyncs, 990, None)];
    rows.extend(records(bench, with_image, &mut ground, &counter)?.rows(median(&fsyncs)));
    let lines = lines(bench, &ground)?;
    let what = "container's line → SSE client";
    rows.push(row(what, "p50", &lines, 500, None));
    rows.push(row(what, "p99", &lines, 990, Some(10.0)));
    ground.stop()?;
    Ok(rows)
}

fn row(what: &str, word: &str, times: &[f64], thousandths: usize, aim: Option<f64>) -> Row {
    Row::quantile(format!("{what}, {word}"), Unit::Millis, times, thousandths, aim)
}

/// A page appended, and on the disk.
fn fsyncs(bench: &Bench, ground: &Ground) -> Outcome<Vec<f64>> {
    let path = ground.path("state/bench-fsync");
    let mut file = File::options().create_new(true).append(true).open(&path)?;
    let mut times = Vec::new();
    for _ in 0..bench.arguments.samples {
        let began = bench.clock.now().mono;
        file.write_all(&[7; 4096])?;
        file.sync_all()?;
        times.push(millis(bench.clock.now().mono.saturating_sub(began)));
    }
    std::fs::remove_file(path)?;
    Ok(times)
}

/// From a container's end on, step by step.
#[derive(Debug, Default)]
struct Steps {
    /// Until its remove is sent, which waits until the record is on the disk.
    durable: Vec<f64>,
    /// How long the engine took for the one inspect between.
    inspect: Vec<f64>,
    /// The rest.
    own: Vec<f64>,
    /// Until a watch tells it.
    shown: Vec<f64>,
}

/// Runs one after the other, without anything else to do.
fn records(
    bench: &Bench,
    with_image: &WithImage,
    ground: &mut Ground,
    counter: &Counter,
) -> Outcome<Steps> {
    let deaths = Deaths::follow(bench, &with_image.real, &ground.instance);
    let ends = Ends::follow(bench, ground.client());
    let client = ground.client();
    let mut steps = Steps::default();
    for sample in 0..bench.arguments.samples {
        let run = format!("sample-{sample}");
        let mark = counter.mark();
        bench.runtime.block_on(client.submit_run(&agent::order(CHANNEL, &run, 1)?))?;
        ground.until("the run has ended, and its container is removed", PATIENCE, |_| {
            let asked = counter.since(mark);
            let is_removed = asked.iter().any(|it| it.is_remove() && it.answered.is_some());
            Ok(is_removed && ends.of(&run).is_some() && deaths.of_run(&run).is_some())
        })?;
        let (end, death) = (ends.of(&run).ok_or("no end")?, deaths.of_run(&run).ok_or("no die")?);
        let asked = counter.since(mark);
        let remove = asked.iter().find(|it| it.is_remove()).ok_or("no remove")?;
        let inspects = asked.iter().filter(|it| it.is_inspect());
        let inspect = inspects.filter_map(|it| Some(it.answered?.saturating_sub(it.sent))).sum();
        let durable = between(death, remove.sent_wall.as_nanosecond());
        steps.durable.push(durable);
        steps.inspect.push(millis(inspect));
        steps.own.push(durable - millis(inspect));
        steps.shown.push(between(death, end));
    }
    Ok(steps)
}

impl Steps {
    fn rows(&self, fsync: f64) -> Vec<Row> {
        let what = "the engine's `die` → record durable";
        let own = format!("{what}, without the engine's own time");
        vec![
            row(what, "p50", &self.durable, 500, None),
            row(what, "p99", &self.durable, 990, Some(RECORD_MILLIS + fsync)),
            row(&own, "p50", &self.own, 500, None),
            row(&own, "p99", &self.own, 990, None),
            row(
                "the engine's answer to the inspect of an ended run",
                "p50",
                &self.inspect,
                500,
                None,
            ),
            row(
                "the engine's answer to the inspect of an ended run",
                "p99",
                &self.inspect,
                990,
                None,
            ),
            row("the engine's `die` → end told to a watch", "p99", &self.shown, 990, None),
        ]
    }
}

/// From the time in a line to its event at the client, of one run.
fn lines(bench: &Bench, ground: &Ground) -> Outcome<Vec<f64>> {
    let client = ground.client();
    let run = ResourceName::parse("lines")?;
    let order = agent::order(CHANNEL, run.as_str(), bench.arguments.samples)?;
    let mut times = Vec::new();
    bench.runtime.block_on(async {
        client.submit_run(&order).await?;
        let mut events = client.turns(&run, None).await?;
        while let Some(event) = events.next().await? {
            if let Turn::Text(it) = event.turn {
                let written = agent::written(&it.text).ok_or("a line without its time")?;
                times.push(between(written, bench.clock.now().wall.as_nanosecond()));
            }
        }
        Outcome::Ok(())
    })?;
    if times.len() == bench.arguments.samples {
        Ok(times)
    } else {
        Err(format!("{} lines came", times.len()).into())
    }
}

/// Milliseconds between two times of the wall clock.
#[expect(clippy::cast_precision_loss, reason = "a few seconds in nanoseconds")]
fn between(from: i128, to: i128) -> f64 {
    (to - from) as f64 / 1e6
}

/// When runs were first shown as ended, in nanoseconds since 1970.
#[derive(Debug)]
struct Ends(Arc<Mutex<BTreeMap<String, i128>>>);

impl Ends {
    /// By one watch of all runs, whose task ends with the operator.
    fn follow(bench: &Bench, client: Client) -> Self {
        let seen: Arc<Mutex<BTreeMap<String, i128>>> = Arc::default();
        let (known, clock) = (Arc::clone(&seen), bench.clock);
        bench.runtime.spawn(async move {
            let each = |line: &[u8]| {
                let now = clock.now().wall.as_nanosecond();
                let event: serde_json::Value = serde_json::from_slice(line)?;
                let text = |path| event.pointer(path).and_then(serde_json::Value::as_str);
                let name = text("/object/metadata/name").unwrap_or_default();
                if event.pointer("/object/status/finishedAt").is_some() {
                    let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
                    known.entry(name.to_owned()).or_insert(now);
                }
                Ok(true)
            };
            // Whoever waits for an end says that none came.
            let _ = client.watch("/runs?watch=true", "application/json", each).await;
        });
        Self(seen)
    }

    fn of(&self, run: &str) -> Option<i128> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(run).copied()
    }
}
