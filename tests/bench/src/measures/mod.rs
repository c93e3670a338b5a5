//! What is measured: a file a subject, each with its rows and their aims.

mod cold;
mod life;
mod many;
mod plan;
mod read;
mod runs;
mod spans;

use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use chanop::cli::demo_image::{self, DEMO_IMAGE};
use chanop::container::ImageRef;
use chanop::docker::Engine as _;

use crate::counter::{Counter, Exchange};
use crate::engine::Real;
use crate::ground::Ground;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// One subject.
type Measure = fn(&Bench) -> Outcome<Vec<Row>>;

/// By the name that `--only` takes, in the order in which they run.
pub(crate) const MEASURES: [(&str, Measure); 7] = [
    ("cold", cold::measure),
    ("life", life::measure),
    ("many", many::measure),
    ("memory", many::memory),
    ("plan", plan::measure),
    ("read", read::measure),
    ("runs", runs::measure),
];

/// How long anything on a busy machine may take that Docker takes part in.
const PATIENCE: Duration = Duration::from_mins(10);
/// So long without a look at a container, and the echoes of all changes have been heard.
const QUIET: Duration = Duration::from_secs(3);

/// The real engine with the demo image, which goes again if it was not there before.
#[derive(Debug)]
struct WithImage {
    real: Real,
    had: bool,
}

impl WithImage {
    fn new(bench: &Bench) -> Outcome<Self> {
        let real = Real::connect(&bench.arguments.engine, &bench.runtime)
            .map_err(|error| format!("{error}; run `make docker`"))?;
        let reference = ImageRef::parse(DEMO_IMAGE)?;
        let had = real.run(real.docker().image(&reference))?.is_some();
        real.run(demo_image::build(real.docker(), None))?;
        Ok(Self { real, had })
    }

    /// A ground on it, behind a counter.
    fn ground(&self, bench: &Bench) -> Outcome<(Ground, Counter)> {
        let engine = crate::engine::Engine::Real(self.real.clone());
        let ground = Ground::new(&bench.program, DEMO_IMAGE, engine, bench.clock)?;
        Ok((ground, Counter::before(self.real.socket(), bench.clock)?))
    }
}

impl Drop for WithImage {
    fn drop(&mut self) {
        if let (false, Ok(reference)) = (self.had, ImageRef::parse(DEMO_IMAGE)) {
            // In use by somebody else by now: then it stays.
            let _ = self.real.run(self.real.docker().image_remove(&reference));
        }
    }
}

/// Waits until nothing is asked but whether the engine is there.
fn until_quiet(counter: &Counter) {
    loop {
        let mark = counter.mark();
        sleep(QUIET);
        if counter.since(mark).iter().all(Exchange::is_ping) {
            return;
        }
    }
}

/// What is asked while nothing happens.
fn at_rest(bench: &Bench, counter: &Counter, what: &str) -> Vec<Row> {
    until_quiet(counter);
    let mark = counter.mark();
    sleep(Duration::from_secs(bench.arguments.rest));
    let asked = counter.since(mark);
    let known = |it: &&Exchange| it.is_ping() || it.is_list() || it.is_events();
    let other = asked.iter().filter(|it| !known(it)).count();
    let seconds = bench.arguments.rest;
    let row = |name: &str, count: usize, aim| {
        let what = format!("{name} in {seconds} s at rest, {what}");
        Row::median(what, Unit::Calls, &[as_number(count)], aim)
    };
    // A list in 48 to 72 seconds, and with it a new stream at most; pings 15 after the last answer.
    vec![row("calls", asked.len(), Some(8.0)), row("calls but lists and pings", other, Some(0.0))]
}

/// A count as a number of the table.
#[expect(clippy::cast_precision_loss, reason = "nothing is counted beyond millions")]
fn as_number(count: usize) -> f64 {
    count as f64
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The ground's own text, for files that no operator reads.
fn write_files(directory: &Path, count: usize) -> Outcome<()> {
    for number in 0..count {
        let folder = directory.join(format!("team{}", number / 100));
        if number % 100 == 0 {
            std::fs::create_dir_all(&folder)?;
        }
        let name = format!("c{number:05}");
        let text =
            crate::ground::channel_text(&name, &Path::new("/home/u/src").join(&name), DEMO_IMAGE);
        std::fs::write(folder.join(format!("{name}.yaml")), text)?;
    }
    Ok(())
}
