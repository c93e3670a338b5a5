//! The bank check: each run pays one line into a file, while the operator is killed at random. No line may be there twice, none of
//! a run that succeeded may be missing, and every run has its record.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::killed::{Dice, seed};
use crate::support::operator::Ground;
use crate::support::runs::{attempts, ends};

/// In the ordinary suite.
const RUNS: usize = 60;
/// Agents at work at once, and operators' lives meanwhile: as many as two cores carry.
const AT_ONCE: usize = 6;
/// So many orders in one operator's life, at most.
const ORDERS: u64 = 12;

/// `CHANOP_BANK`, or as many as an ordinary suite has time for.
fn wished() -> usize {
    #[expect(clippy::disallowed_methods, reason = "a test has no settings of its own to read")]
    let wished = std::env::var("CHANOP_BANK").ok();
    wished.map_or(RUNS, |text| text.parse().expect("CHANOP_BANK is a number of runs"))
}

/// What a run does: most go well, some fail, and some take their time.
fn prompt(dice: &mut Dice) -> &'static str {
    match dice.roll(8) {
        0 => "say:one fail:1",
        1 => "exit:0",
        2 | 3 => "say:one tool:two sleep:0.5",
        4 => "say:one sleep:1 tool:two",
        _ => "say:one",
    }
}

/// Ordered until it is there; an operator that dies meanwhile may have kept it or not.
fn order(ground: &Ground, run: &str, prompt: &str) -> bool {
    let said = ground.chanop(&["run", "a", "-p", prompt, "--name", run, "--detach"]);
    said.code == 0 || said.err.contains("already")
}

/// The counter of ended runs in the metrics: all labels together.
fn counted(ground: &Ground) -> u64 {
    let (_, text) = ground.api("GET", "/metrics", "");
    let ended = text.lines().filter(|line| line.starts_with("chanop_runs_ended_total{"));
    let counts = ended.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole numbers")]
    counts.map(|count| count as u64).sum()
}

#[test]
fn whenever_the_operator_is_killed_each_run_pays_at_most_once_and_has_its_record() {
    let wished = wished();
    let mut dice = Dice(seed());
    let mut ground = Ground::new();
    ground.patience = Duration::from_mins(4);
    let runs = format!(
        "maxConcurrent: {AT_ONCE}, queue: {{maxLength: 1000}}, keepContainer: 0s, history: {{limit: 10000}}"
    );
    ground.agent_channel("a", &runs);
    let names: Vec<String> = (1..=wished).map(|number| format!("r{number:04}")).collect();
    let prompts: Vec<&str> = names.iter().map(|_| prompt(&mut dice)).collect();
    let (mut ordered, mut kills) = (0, 0);
    while ordered < wished {
        ground.start();
        for _ in 0..=dice.roll(ORDERS) {
            if ordered < wished && order(&ground, &names[ordered], prompts[ordered]) {
                ordered += 1;
            }
        }
        std::thread::sleep(Duration::from_millis(dice.roll(2500)));
        ground.kill();
        kills += 1;
    }
    // And while all that is left goes on.
    for _ in 0..4 {
        ground.spawn();
        std::thread::sleep(Duration::from_millis(dice.roll(1500)));
        ground.kill();
        kills += 1;
    }
    ground.start();
    ground.until("every run has ended", |ground| {
        let runs = ground.runs();
        runs.len() == wished && runs.iter().all(ends)
    });

    let bank = fs::read_to_string(ground.of_workspace("a", "bank")).unwrap();
    let mut lines = BTreeMap::<&str, usize>::new();
    for line in bank.lines() {
        *lines.entry(line).or_default() += 1;
    }
    let all: BTreeMap<String, Value> = ground
        .runs()
        .into_iter()
        .map(|run| (run["metadata"]["name"].as_str().unwrap().to_owned(), run))
        .collect();
    let mut phases = BTreeMap::<String, usize>::new();
    for name in &names {
        let run = &all[name];
        let phase = run["status"]["phase"].as_str().unwrap();
        let lines = lines.get(name.as_str()).copied().unwrap_or_default();
        assert!(lines <= 1, "{name} paid {lines} times: {run:#}");
        assert!(phase != "Succeeded" || lines == 1, "{name} did not pay: {run:#}");
        // Every attempt has one end, and none of another's.
        assert!(attempts(run).iter().all(|attempt| !attempt.contains(" - -")), "{run:#}");
        *phases.entry(phase.to_owned()).or_default() += 1;
    }
    assert_eq!(all.len(), wished);
    let total = u64::try_from(wished).unwrap();
    assert_eq!(counted(&ground), total, "counters are records");
    ground.kill();
    ground.start();
    assert_eq!(counted(&ground), total, "also over a restart");
    ground.until("no container is left", |ground| ground.containers().is_empty());
    #[expect(clippy::print_stdout, reason = "what one asks for by CHANOP_BANK")]
    {
        let seconds = ground.elapsed().as_secs();
        println!("bank: {wished} runs, {kills} kills, {phases:?}, {seconds} s");
    }
}
