//! The engine goes away under the operator, politely and not.

use rustix::process::Signal;
use serde_json::Value;

use crate::support::operator::Ground;
use crate::support::own_engine::OwnEngine;

#[test]
fn the_engine_may_stop_or_die_under_the_operator_and_all_shells_run_again_when_it_returns() {
    let mut engine = OwnEngine::new();
    let mut ground = Ground::on(Some(engine.socket()));
    let channels = ["a", "b", "c"];
    for (channel, more) in channels.iter().zip(["", "  network: {mode: None}\n", ""]) {
        ground.channel(&format!("{channel}.yaml"), channel, more);
    }
    ground.start();
    ground.until_converged(&channels);
    let operator = ground.pid();
    for signal in [Signal::TERM, Signal::KILL] {
        let ids: Vec<Value> =
            channels.iter().map(|name| ground.shell(name)["Id"].clone()).collect();
        engine.end(signal);
        ground.until("the operator says that the engine is away", |ground| {
            ground.chanop(&["get", "channels", "-o", "json"]).out.contains("EngineUnavailable")
        });
        assert_eq!(ground.channels().len(), channels.len(), "and forgets nothing");
        engine.start();
        for (channel, id) in channels.iter().zip(&ids) {
            let shell = ground.until_runs(channel, |_| true);
            // An engine that was killed may be unable to start what it left behind; then it is made anew.
            let killed = signal == Signal::KILL;
            assert!(killed || shell["Id"] == *id, "the same container of {channel}");
        }
        ground.until_converged(&channels);
        assert_eq!(ground.pid(), operator);
    }
    // The stream is heard again: a kill is healed long before the next list.
    let before = ground.shell("a");
    ground.docker(&["kill", &ground.container("a")]);
    ground.until_runs("a", |now| now["State"]["StartedAt"] != before["State"]["StartedAt"]);
    drop(ground);
    drop(engine);
}
