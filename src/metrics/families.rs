//! The families: their names, help and labels. Names are the interface to dashboards and alerts.

use prometheus::core::Collector;
use prometheus::process_collector::ProcessCollector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry, Result,
};

/// From a local unix socket's usual answer to the longest call, a pull or a stop with its grace.
const CALL_BUCKETS: &[f64] = &[
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0,
];

/// From a page cache's answer to a disk that stalls.
const COMMIT_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0];

/// From an answer without a tool to a day's work.
const RUN_BUCKETS: &[f64] = &[
    1.0, 5.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_800.0, 3_600.0, 7_200.0, 21_600.0, 86_400.0,
];

/// The label of families of runs that may be left out.
pub(super) const CHANNEL: &str = "channel";

/// One field a family, all registered.
#[derive(Debug)]
pub(super) struct Families {
    pub(super) registry: Registry,
    pub(super) channels: IntGaugeVec,
    pub(super) channel_status: IntGaugeVec,
    pub(super) channels_running: IntGauge,
    pub(super) channels_pending: IntGauge,
    pub(super) channels_suspended: IntGauge,
    pub(super) not_for_this_host: IntGauge,
    pub(super) policy_violations: IntGauge,
    pub(super) spec_revision: IntGaugeVec,
    pub(super) spec_age: Gauge,
    pub(super) spec_files: IntGaugeVec,
    pub(super) specs_readable: IntGauge,
    pub(super) prune_held: IntGauge,
    pub(super) engine_up: IntGauge,
    pub(super) engine_calls: IntCounterVec,
    pub(super) engine_call_duration: HistogramVec,
    pub(super) unknown_outcomes: IntCounterVec,
    pub(super) relists: IntCounterVec,
    pub(super) stale_reads: IntCounter,
    pub(super) cache_age: Gauge,
    pub(super) events: IntCounterVec,
    pub(super) event_gaps: IntCounter,
    pub(super) runs_adopted: IntCounter,
    pub(super) foreign: IntGauge,
    pub(super) blocked: IntGauge,
    pub(super) queue_depth: IntGauge,
    pub(super) queue_adds: IntCounter,
    pub(super) queue_wait_duration: Histogram,
    pub(super) in_flight: IntGauge,
    pub(super) longest_call: Gauge,
    pub(super) reconciles: IntCounterVec,
    pub(super) spec_changes: IntCounter,
    pub(super) actions: IntCounter,
    pub(super) retries: IntCounter,
    pub(super) action_failures: IntCounter,
    pub(super) breaker_open: IntGauge,
    pub(super) store_commit_duration: Histogram,
    pub(super) runs: IntGaugeVec,
    pub(super) runs_ended: CounterVec,
    pub(super) runs_held: IntGauge,
    pub(super) run_queue_depth: IntGaugeVec,
    pub(super) run_queue_oldest: GaugeVec,
    pub(super) run_queue_wait: Histogram,
    pub(super) run_duration: HistogramVec,
    pub(super) attempts_again: CounterVec,
    pub(super) tokens: CounterVec,
    pub(super) dollars: CounterVec,
}

impl Families {
    /// With the label `channel` in the families of runs, or without.
    pub(super) fn new(channels: bool) -> Result<Self> {
        let of_runs = |labels: &'static [&'static str]| {
            let kept = labels.iter().copied().filter(|label| channels || *label != CHANNEL);
            kept.collect::<Vec<_>>()
        };
        let registry = Registry::new();
        let to = &registry;
        to.register(Box::new(ProcessCollector::for_self()))?;
        let build = gauges(to, "chanop_build_info", "The version of chanop, always 1", "version")?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1);
        Ok(Self {
            channels: gauges(
                to,
                "chanop_channels",
                "Channels, by whether they are ready",
                "ready",
            )?,
            channel_status: gauges(
                to,
                "chanop_channel_status",
                "Channels, by the reason of their condition Ready",
                "reason",
            )?,
            channels_running: gauge(
                to,
                "chanop_channels_running",
                "Shell containers of ours whose process runs",
            )?,
            channels_pending: gauge(
                to,
                "chanop_channels_pending",
                "Channels with a wanted change that waits",
            )?,
            channels_suspended: gauge(
                to,
                "chanop_channels_suspended_by_hand",
                "Channels suspended by a person against their file",
            )?,
            not_for_this_host: gauge(
                to,
                "chanop_channels_not_for_this_host",
                "Channels whose hostSelector takes another host",
            )?,
            policy_violations: gauge(
                to,
                "chanop_policy_violations",
                "Channels that ask for what the policy forbids",
            )?,
            spec_revision: gauges(
                to,
                "chanop_spec_revision_info",
                "The revision of the spec directory in use, always 1",
                "revision",
            )?,
            spec_age: float(
                to,
                "chanop_spec_age_seconds",
                "Time since the spec directory was last read completely",
            )?,
            spec_files: gauges(
                to,
                "chanop_spec_files",
                "Spec files, by whether they could be used; of an invalid one its last good content counts",
                "state",
            )?,
            specs_readable: gauge(
                to,
                "chanop_specs_readable",
                "1 when the spec directory could be read at the last attempt",
            )?,
            prune_held: gauge(
                to,
                "chanop_prune_held",
                "Channels whose removal waits until a person confirms it",
            )?,
            engine_up: gauge(
                to,
                "chanop_engine_up",
                "1 when the Docker engine answers and its state is known",
            )?,
            engine_calls: register(
                to,
                IntCounterVec::new(
                    Opts::new("chanop_engine_calls_total", "Calls to the Docker engine that ended"),
                    &["op", "code"],
                )?,
            )?,
            engine_call_duration: register(
                to,
                HistogramVec::new(
                    HistogramOpts::new(
                        "chanop_engine_call_duration_seconds",
                        "How long calls to the Docker engine took",
                    )
                    .buckets(CALL_BUCKETS.to_vec()),
                    &["op"],
                )?,
            )?,
            unknown_outcomes: counters(
                to,
                "chanop_unknown_outcomes_total",
                "Changes whose answer left open whether they were carried out",
                "op",
            )?,
            relists: counters(
                to,
                "chanop_relists_total",
                "Lists of all our containers asked for, by why",
                "reason",
            )?,
            stale_reads: counter(
                to,
                "chanop_stale_reads_total",
                "Entries of lists passed over, because something newer was known",
            )?,
            cache_age: float(
                to,
                "chanop_cache_age_seconds",
                "Time since the last list of all our containers was taken in",
            )?,
            events: counters(
                to,
                "chanop_events_total",
                "Events heard from the Docker engine, by its word",
                "action",
            )?,
            runs_adopted: counter(
                to,
                "chanop_runs_adopted_total",
                "Runs whose end was not known when the operator began, and that it took over",
            )?,
            event_gaps: counter(
                to,
                "chanop_event_gaps_total",
                "Times the stream of events broke off",
            )?,
            foreign: gauge(
                to,
                "chanop_foreign_labelled_containers",
                "Containers with our instance's label that are not ours by name; never touched",
            )?,
            blocked: gauge(
                to,
                "chanop_blocked",
                "1 while something that every action needs is missing",
            )?,
            queue_depth: gauge(to, "chanop_queue_depth", "Objects that wait for their turn")?,
            queue_adds: counter(
                to,
                "chanop_queue_adds_total",
                "Times an object was put into the queue",
            )?,
            queue_wait_duration: register(
                to,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "chanop_queue_wait_duration_seconds",
                        "How long a call waited for its turn",
                    )
                    .buckets(CALL_BUCKETS.to_vec()),
                )?,
            )?,
            in_flight: gauge(to, "chanop_calls_in_flight", "Calls to the engine on their way")?,
            longest_call: float(
                to,
                "chanop_longest_running_call_seconds",
                "How long the oldest call for an object is on its way",
            )?,
            reconciles: register(
                to,
                IntCounterVec::new(
                    Opts::new("chanop_reconciles_total", "Plans made, by what came of them"),
                    &["kind", "result"],
                )?,
            )?,
            spec_changes: counter(
                to,
                "chanop_spec_changes_total",
                "Times the meaning of the spec files changed",
            )?,
            actions: counter(to, "chanop_actions_total", "Actions decided and sent")?,
            retries: counter(
                to,
                "chanop_retries_total",
                "Actions sent again after a failure of the same object",
            )?,
            action_failures: counter(to, "chanop_action_failures_total", "Actions that failed")?,
            breaker_open: gauge(
                to,
                "chanop_breaker_open",
                "1 while calls are held back because the engine keeps failing",
            )?,
            store_commit_duration: register(
                to,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "chanop_store_commit_duration_seconds",
                        "How long commits of the store took",
                    )
                    .buckets(COMMIT_BUCKETS.to_vec()),
                )?,
            )?,
            runs: register(
                to,
                IntGaugeVec::new(
                    Opts::new("chanop_runs", "Runs that have not ended, by how far they are"),
                    &of_runs(&[CHANNEL, "phase"]),
                )?,
            )?,
            runs_ended: floats(
                to,
                "chanop_runs_ended_total",
                "Runs that ended, by who asked for them, how they ended and why; kept across restarts",
                &of_runs(&[CHANNEL, "trigger", "phase", "reason"]),
            )?,
            runs_held: gauge(
                to,
                "chanop_runs_held",
                "Runs that a new store saw first, and that wait for a person",
            )?,
            run_queue_depth: register(
                to,
                IntGaugeVec::new(
                    Opts::new("chanop_run_queue_depth", "Runs that wait for their turn"),
                    &of_runs(&[CHANNEL]),
                )?,
            )?,
            run_queue_oldest: register(
                to,
                GaugeVec::new(
                    Opts::new(
                        "chanop_run_queue_oldest_seconds",
                        "How long the oldest waiting run waits; 0 when none does",
                    ),
                    &of_runs(&[CHANNEL]),
                )?,
            )?,
            run_queue_wait: register(
                to,
                Histogram::with_opts(
                    HistogramOpts::new(
                        "chanop_run_queue_wait_seconds",
                        "How long ended runs had waited for their first start",
                    )
                    .buckets(RUN_BUCKETS.to_vec()),
                )?,
            )?,
            run_duration: register(
                to,
                HistogramVec::new(
                    HistogramOpts::new(
                        "chanop_run_duration_seconds",
                        "How long the agent worked in runs that ended, over all attempts",
                    )
                    .buckets(RUN_BUCKETS.to_vec()),
                    &["phase"],
                )?,
            )?,
            attempts_again: floats(
                to,
                "chanop_run_attempts_again_total",
                "Attempts beyond the first, by why there was one; kept across restarts",
                &of_runs(&[CHANNEL, "kind"]),
            )?,
            tokens: floats(
                to,
                "chanop_tokens_total",
                "Tokens that runs used, by kind; kept across restarts",
                &of_runs(&[CHANNEL, "model", "kind"]),
            )?,
            dollars: floats(
                to,
                "chanop_cost_dollars_total",
                "Dollars that runs cost, as the agent's CLI reckons them; kept across restarts",
                &of_runs(&[CHANNEL, "model"]),
            )?,
            registry,
        })
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, family: C) -> Result<C> {
    registry.register(Box::new(family.clone()))?;
    Ok(family)
}

fn gauge(registry: &Registry, name: &str, help: &str) -> Result<IntGauge> {
    register(registry, IntGauge::new(name, help)?)
}

fn float(registry: &Registry, name: &str, help: &str) -> Result<Gauge> {
    register(registry, Gauge::new(name, help)?)
}

fn gauges(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntGaugeVec> {
    register(registry, IntGaugeVec::new(Opts::new(name, help), &[label])?)
}

fn counters(registry: &Registry, name: &str, help: &str, label: &str) -> Result<IntCounterVec> {
    register(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
}

fn floats(registry: &Registry, name: &str, help: &str, labels: &[&str]) -> Result<CounterVec> {
    register(registry, CounterVec::new(Opts::new(name, help), labels)?)
}

fn counter(registry: &Registry, name: &str, help: &str) -> Result<IntCounter> {
    register(registry, IntCounter::new(name, help)?)
}
