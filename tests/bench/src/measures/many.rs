//! Many channels on the simulated engine: at rest, when an operator takes them over, and how much memory they need.

use std::thread::sleep;
use std::time::Duration;

use super::{as_number, at_rest, millis, until_quiet};
use crate::counter::Counter;
use crate::engine::Engine;
use crate::engine_server::{EngineServer, IMAGE};
use crate::ground::Ground;
use crate::table::{Row, Unit};
use crate::{Bench, Outcome};

/// The operator changes a hundred things a second; two are a channel.
const PATIENCE: Duration = Duration::from_mins(20);

/// Running channels, the operator that started them, and what it asked.
fn running(bench: &Bench, count: usize) -> Outcome<(Ground, Counter, EngineServer)> {
    let mut ground = Ground::new(&bench.program, IMAGE, Engine::Simulated, bench.clock)?;
    let server = EngineServer::start(&bench.runtime, &ground.instance, bench.clock)?;
    let counter = Counter::before(&server.socket(), bench.clock)?;
    ground.channels(count)?;
    ground.start(&counter.socket())?;
    ground.until_ready(count, PATIENCE)?;
    Ok((ground, counter, server))
}

/// At rest, and taken over by the next process.
pub(super) fn measure(bench: &Bench) -> Outcome<Vec<Row>> {
    let count = bench.arguments.many;
    let (mut ground, counter, _server) = running(bench, count)?;
    let mut rows = at_rest(bench, &counter, &format!("{count} channels, simulated"));
    let (mut times, mut lists) = (Vec::new(), Vec::new());
    for _ in 0..bench.arguments.pairs {
        ground.stop()?;
        let mark = counter.mark();
        let began = ground.start(&counter.socket())?;
        let ready = ground.until_ready(count, PATIENCE)?;
        times.push(millis(ready.saturating_sub(began)));
        lists.push(as_number(counter.since(mark).iter().filter(|it| it.is_list()).count()));
        if let Some(wrote) = counter.since(mark).iter().find(|it| it.writes_container()) {
            return Err(format!("what runs was not taken over as it is: {}", wrote.line).into());
        }
        // Whatever is looked at again is not the next process's.
        until_quiet(&counter);
    }
    ground.stop()?;
    let what = format!("{count} running containers adopted");
    rows.push(Row::median(format!("{what}: start to Ready"), Unit::Millis, &times, Some(300.0)));
    rows.push(Row::median(format!("{what}: lists"), Unit::Calls, &lists, Some(1.0)));
    Ok(rows)
}

/// With very many.
pub(super) fn memory(bench: &Bench) -> Outcome<Vec<Row>> {
    let count = bench.arguments.most;
    let (mut ground, counter, _server) = running(bench, count)?;
    until_quiet(&counter);
    // The next look at the files is over by then, and what it needed is given back.
    sleep(Duration::from_secs(40));
    let resident = ground.resident_megabytes()?;
    ground.stop()?;
    let what = format!("RSS at {count} channels, simulated");
    Ok(vec![Row::median(what, Unit::Megabytes, &[resident], Some(80.0))])
}
