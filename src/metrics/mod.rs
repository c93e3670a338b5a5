//! Every metric family, in one place.
//!
//! [`Metrics`] is fed from three sides: the executor tells the time of each call and commit, and each scrape reads the
//! newest [`View`]. No label takes an ID or an error's text: values are words of closed sets, so that the number of series
//! has a bound whatever people write into their files. There are two exceptions: the spec revision is a single series
//! whose old value goes when a new one comes, and [`runs`] have channels' names for labels, a bounded number of them. No text
//! of an agent is a label ([`models`]). No type of the metrics library leaves this room.

mod families;
mod models;
mod runs;

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus::{Encoder, IntCounter, IntCounterVec, IntGauge, TextEncoder};

use crate::controller::stats::Counts;
use crate::controller::view::View;
use crate::resource::condition::ConditionType;
use families::Families;
use runs::RunFigures;

/// The content type of [`Metrics::scrape`]'s text.
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// A family whose name or labels the library refuses: a mistake in this room.
#[derive(Debug, thiserror::Error)]
#[error("failed to register a metric family: {0}")]
pub struct InvalidFamily(String);

/// Which names may be labels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Labels {
    /// Are the names of channels? Without them, the families of runs are sums over all channels.
    pub channels: bool,
    /// Models that have a label of their own, beside the known families.
    pub models: BTreeSet<String>,
}

impl Default for Labels {
    fn default() -> Self {
        Self { channels: true, models: BTreeSet::new() }
    }
}

/// All figures of one operator.
#[derive(Debug)]
pub struct Metrics {
    families: Families,
    /// One scrape at a time: copying the view's counters over is a read and a write.
    scrape: Mutex<RunFigures>,
}

impl Metrics {
    /// Registers every family; what is counted begins at nought.
    pub fn new(labels: Labels) -> Result<Self, InvalidFamily> {
        let families =
            Families::new(labels.channels).map_err(|error| InvalidFamily(error.to_string()))?;
        Ok(Self { families, scrape: Mutex::new(RunFigures::new(labels)) })
    }

    /// One call to the engine ended. `op` and `code` are words of the program, never of the engine or of a person.
    pub fn observe_call(&self, op: &'static str, code: &'static str, seconds: f64) {
        let it = &self.families;
        if let Ok(calls) = it.engine_calls.get_metric_with_label_values(&[op, code]) {
            calls.inc();
        }
        if let Ok(duration) = it.engine_call_duration.get_metric_with_label_values(&[op]) {
            duration.observe(seconds);
        }
    }

    /// One commit of the store ended.
    pub fn observe_commit(&self, seconds: f64) {
        self.families.store_commit_duration.observe(seconds);
    }

    /// A call waited so long for its turn.
    pub fn observe_wait(&self, seconds: f64) {
        self.families.queue_wait_duration.observe(seconds);
    }

    /// The exposition text, with the view's figures as of `now`.
    pub fn scrape(&self, view: &View, now: Timestamp) -> String {
        let mut figures = self.scrape.lock().unwrap_or_else(PoisonError::into_inner);
        self.observe_view(view, now);
        figures.observe(&self.families, view, now);
        self.render()
    }

    fn observe_view(&self, view: &View, now: Timestamp) {
        let it = &self.families;
        self.observe_channels(view);

        it.spec_revision.reset();
        let revision = view.specs.revision.as_deref().unwrap_or("none");
        set(&it.spec_revision, revision, 1);
        if view.specs.scanned_at.is_some() {
            it.spec_age.set(seconds_since(view.specs.scanned_at, now));
        }
        set(&it.spec_files, "ok", count(view.specs.files_ok));
        set(&it.spec_files, "invalid", count(view.specs.invalid.len()));
        it.specs_readable.set(i64::from(view.specs.unavailable.is_none()));
        it.prune_held.set(count(view.specs.held.len()));
        it.not_for_this_host.set(count(view.specs.not_for_this_host));

        it.engine_up.set(i64::from(view.engine.live));
        it.blocked.set(i64::from(view.blocked.is_some()));
        it.foreign.set(count(view.impostors.len()));

        let stats = &view.stats;
        it.channels_running.set(count(stats.shells_running));
        it.policy_violations.set(count(stats.policy_violations));
        it.queue_depth.set(count(stats.queue_depth));
        it.in_flight.set(count(stats.in_flight));
        it.breaker_open.set(i64::from(stats.breaker_open));
        it.longest_call.set(seconds_since(stats.oldest_call_since, now));
        it.cache_age.set(seconds_since(stats.listed_at, now));
        raise(&it.queue_adds, stats.queue_adds);
        raise(&it.event_gaps, stats.event_gaps);
        raise(&it.runs_adopted, stats.runs_adopted);
        raise(&it.stale_reads, stats.stale_reads);
        raise(&it.spec_changes, stats.spec_changes);
        raise(&it.actions, stats.actions);
        raise(&it.retries, stats.retries);
        raise(&it.action_failures, stats.failures);
        raise_each(&it.events, &stats.events, &[]);
        raise_each(&it.relists, &stats.relists, &[]);
        raise_each(&it.unknown_outcomes, &stats.unknown_outcomes, &[]);
        raise_each(&it.reconciles, &stats.reconciles, &["channel"]);
        raise_each(&it.reconciles, &stats.run_reconciles, &["run"]);
    }

    fn observe_channels(&self, view: &View) {
        let it = &self.families;
        let ready = view.channels.values().filter(|channel| channel.ready).count();
        set(&it.channels, "true", count(ready));
        set(&it.channels, "false", count(view.channels.len() - ready));

        it.channel_status.reset();
        for channel in view.channels.values() {
            let reason = channel.conditions.iter().find(|it| it.kind == ConditionType::Ready);
            let word = reason.map_or_else(|| "Waiting".to_owned(), |it| it.reason.as_str());
            if let Ok(gauge) = it.channel_status.get_metric_with_label_values(&[&word]) {
                gauge.inc();
            }
        }
        it.channels_pending
            .set(count(view.channels.values().filter(|channel| channel.pending.is_some()).count()));
        it.channels_suspended.set(count(
            view.channels
                .values()
                .filter(|it| it.overridden.as_ref().is_some_and(|it| it.suspend))
                .count(),
        ));
    }

    fn render(&self) -> String {
        let mut text = vec![];
        // A family without a series is left out by the library, and writing to memory does not fail.
        let _written = TextEncoder::new().encode(&self.families.registry.gather(), &mut text);
        String::from_utf8_lossy(&text).into_owned()
    }
}

fn set(gauges: &prometheus::IntGaugeVec, label: &str, value: i64) {
    if let Ok(gauge) = gauges.get_metric_with_label_values(&[label]) {
        IntGauge::set(&gauge, value);
    }
}

/// The view holds totals and a counter takes steps. A total that fell belongs to a new core: nothing is taken back.
fn raise(counter: &IntCounter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}

/// The same for a counter by word; `first` are the values of the labels before it.
fn raise_each(counters: &IntCounterVec, totals: &Counts, first: &[&str]) {
    for (word, total) in totals.iter() {
        let labels: Vec<&str> = first.iter().copied().chain([word]).collect();
        if let Ok(counter) = counters.get_metric_with_label_values(&labels) {
            raise(&counter, total);
        }
    }
}

fn seconds_since(then: Option<Timestamp>, now: Timestamp) -> f64 {
    let since = then.and_then(|then| (now - then).total(jiff::Unit::Second).ok());
    since.unwrap_or(0.0).max(0.0)
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::controller::stats::Stats;
    use crate::world::run::{TotalKey, total};

    fn view(revision: &str, deaths: u64) -> View {
        let events = Counts::from([("die", deaths)]);
        let mut view = View { stats: Stats { events, ..Stats::default() }, ..View::default() };
        view.specs.revision = Some(revision.to_owned());
        view
    }

    #[test]
    fn an_old_revision_leaves_no_series_behind() {
        let metrics = Metrics::new(Labels::default()).unwrap();
        metrics.scrape(&view("aaa", 0), Timestamp::UNIX_EPOCH);
        let text = metrics.scrape(&view("bbb", 0), Timestamp::UNIX_EPOCH);
        assert!(text.contains(r#"chanop_spec_revision_info{revision="bbb"} 1"#), "{text}");
        assert!(!text.contains("aaa"), "{text}");
    }

    #[test]
    fn plans_of_channels_and_of_runs_are_told_apart() {
        let mut view = view("a", 0);
        view.stats.reconciles = Counts::from([("resting", 2)]);
        view.stats.run_reconciles = Counts::from([("wanting", 1)]);
        let text = Metrics::new(Labels::default()).unwrap().scrape(&view, Timestamp::UNIX_EPOCH);
        for line in [
            r#"chanop_reconciles_total{kind="channel",result="resting"} 2"#,
            r#"chanop_reconciles_total{kind="run",result="wanting"} 1"#,
        ] {
            assert!(text.contains(line), "{text}");
        }
    }

    #[test]
    fn totals_of_the_view_are_counted_once_however_often_it_is_scraped() {
        let metrics = Metrics::new(Labels::default()).unwrap();
        for (total, shown) in [(3, 3), (3, 3), (5, 5), (1, 5)] {
            let text = metrics.scrape(&view("a", total), Timestamp::UNIX_EPOCH);
            assert!(
                text.contains(&format!("\nchanop_events_total{{action=\"die\"}} {shown}\n")),
                "{text}"
            );
        }
    }

    #[test]
    fn the_age_of_the_specs_is_measured_at_the_scrape() {
        let metrics = Metrics::new(Labels::default()).unwrap();
        let mut view = view("a", 0);
        view.specs.scanned_at = Some(Timestamp::from_second(100).unwrap());
        let text = metrics.scrape(&view, Timestamp::from_second(142).unwrap());
        assert!(text.contains("\nchanop_spec_age_seconds 42\n"), "{text}");
    }

    fn costs(of: &[(&str, &str, f64)]) -> View {
        let key = |channel: &str, model: &str| TotalKey {
            family: total::DOLLARS,
            labels: vec![channel.to_owned(), model.to_owned()],
        };
        let totals = of.iter().map(|(channel, model, value)| (key(channel, model), *value));
        View { totals: Arc::new(totals.collect()), ..View::default() }
    }

    #[test]
    fn names_that_agents_print_share_one_label() {
        let names: Vec<_> = (0..1_000).map(|number| format!("model-{number}")).collect();
        let mut all: Vec<_> = names.iter().map(|name| ("web", name.as_str(), 1.0)).collect();
        all.push(("web", "claude-opus-5-5", 2.0));
        let metrics = Metrics::new(Labels::default()).unwrap();
        let text = metrics.scrape(&costs(&all), Timestamp::UNIX_EPOCH);
        let lines: Vec<_> =
            text.lines().filter(|line| line.starts_with("chanop_cost_dollars_total{")).collect();
        assert_eq!(
            lines,
            [
                r#"chanop_cost_dollars_total{channel="web",model="claude-opus"} 2"#,
                r#"chanop_cost_dollars_total{channel="web",model="other"} 1000"#,
            ]
        );
    }

    #[test]
    fn metrics_without_channels_are_sums() {
        let labels = Labels { channels: false, ..Labels::default() };
        let metrics = Metrics::new(labels).unwrap();
        let view = costs(&[("web", "unknown", 1.0), ("shop", "unknown", 2.0)]);
        let text = metrics.scrape(&view, Timestamp::UNIX_EPOCH);
        assert!(text.contains("\nchanop_cost_dollars_total{model=\"unknown\"} 3\n"), "{text}");
        assert!(text.contains("\nchanop_run_queue_depth 0\n"), "{text}");
        assert!(!text.contains("channel=") && !text.contains("web"), "{text}");
    }

    #[test]
    fn calls_are_counted_by_operation_and_outcome() {
        let metrics = Metrics::new(Labels::default()).unwrap();
        metrics.observe_call("create", "ok", 0.2);
        metrics.observe_call("create", "name_taken", 0.1);
        metrics.observe_commit(0.003);
        metrics.observe_wait(0.0);
        let text = metrics.scrape(&View::default(), Timestamp::UNIX_EPOCH);
        assert!(text.contains(r#"chanop_engine_calls_total{code="name_taken",op="create"} 1"#));
        assert!(text.contains(r#"chanop_engine_call_duration_seconds_count{op="create"} 2"#));
        assert!(text.contains("chanop_store_commit_duration_seconds_count 1"));
    }
}
