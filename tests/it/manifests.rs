//! What deploys and watches the operator stays true to it: names of metrics and flags, and rules that the field's own
//! checker accepts. The manifests are files for people to copy, so nothing else would notice when they go stale.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn text(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Every word in `text` that looks like a metric of ours, without the suffixes that a histogram's series have.
fn metrics(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_')
        .filter(|word| word.starts_with("chanop_"))
        .map(|word| word.trim_end_matches("_bucket").trim_end_matches("_sum").to_owned())
        .collect()
}

#[test]
fn every_metric_that_rules_and_dashboard_name_is_exposed() {
    let exposed = metrics(&text("src/metrics/families.rs"));
    for path in [
        "manifests/prometheus/rules.yaml",
        "manifests/prometheus/rules_test.yaml",
        "manifests/grafana/chanop.json",
    ] {
        let used = metrics(&text(path));
        assert!(used.len() > 3, "{path} names metrics");
        let unknown: Vec<_> = used.difference(&exposed).collect();
        assert_eq!(unknown, Vec::<&String>::new(), "{path} names what src/metrics does not expose");
    }
}

#[test]
fn the_dashboard_shows_every_family() {
    // `build_info` is what the operator variable is made from.
    let shown = metrics(&text("manifests/grafana/chanop.json"));
    let exposed = metrics(&text("src/metrics/families.rs"));
    let missing: Vec<_> = exposed.difference(&shown).collect();
    assert_eq!(
        missing,
        Vec::<&String>::new(),
        "give them a panel in manifests/grafana/chanop.json"
    );
}

#[test]
fn panels_have_ids_of_their_own_and_do_not_overlap() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&text("manifests/grafana/chanop.json")).unwrap();
    let mut ids = BTreeSet::new();
    let mut cells = BTreeSet::new();
    for panel in dashboard["panels"].as_array().unwrap() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "{}", panel["title"]);
        let grid = |key: &str| panel["gridPos"][key].as_u64().unwrap();
        for x in grid("x")..grid("x") + grid("w") {
            assert!(x < 24, "{} is wider than the dashboard", panel["title"]);
            for y in grid("y")..grid("y") + grid("h") {
                assert!(cells.insert((x, y)), "{} covers another panel", panel["title"]);
            }
        }
    }
}

#[test]
fn systemd_unit_limits_memory_and_tasks() {
    let unit = text("manifests/systemd/chanop.service");
    for setting in ["MemoryMax=", "TasksMax="] {
        let value = unit.lines().find_map(|line| line.strip_prefix(setting)).unwrap_or_default();
        assert!(value.starts_with(|c: char| c.is_ascii_digit()), "{setting}{value}");
    }
}

#[test]
fn prometheus_accepts_its_rules_and_they_fire_when_they_should() {
    let directory = root().join("manifests/prometheus");
    promtool(&["check", "config", "prometheus.yaml"], &directory);
    promtool(&["test", "rules", "rules_test.yaml"], &directory);
}

#[expect(clippy::disallowed_methods, reason = "promtool is the judge of what Prometheus takes")]
fn promtool(arguments: &[&str], directory: &Path) {
    let output = Command::new("promtool").args(arguments).current_dir(directory).output();
    let output = output.unwrap_or_else(|error| {
        panic!("promtool: {error}; `make test` fetches it, else put target/tools on PATH")
    });
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "promtool {arguments:?}: {}", String::from_utf8_lossy(&said));
}
