//! The floor under any operator: the same containers, created and started in a bare loop by the same client.
//!
//! Each is made from the configuration that the operator's own container was read back with, under another name and without
//! the operator's labels, on the operator's network and with its mounts.

use std::sync::Arc;
use std::time::Duration;

use chanop::clock::Clock;
use chanop::container::{ContainerConfig, ContainerName};
use chanop::docker::{Docker, Endpoint, Engine as _};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::runtime::Runtime;

use crate::Outcome;
use crate::counter::{Counter, Exchange};
use crate::engine::BENCH_LABEL;

/// How many at once; the best counts.
pub(crate) const CONCURRENCY: [usize; 3] = [2, 4, 8];

/// The same for a container that no operator takes for its own.
pub(crate) fn anonymous(mut config: ContainerConfig, instance: &str) -> ContainerConfig {
    config.labels = [(BENCH_LABEL.to_owned(), instance.to_owned())].into();
    config
}

/// From the first create sent to the last start answered.
pub(crate) fn run(
    runtime: &Arc<Runtime>,
    counter: &Counter,
    configs: &[ContainerConfig],
    instance: &str,
    at_once: usize,
    clock: Clock,
) -> Outcome<Duration> {
    let mark = counter.mark();
    let began = clock.now().mono;
    runtime.block_on(async {
        let docker = Docker::connect(&Endpoint::unix(counter.socket())).await?;
        let docker = &docker;
        stream::iter(configs.iter().enumerate())
            .map(|(number, config)| async move {
                let name = ContainerName::parse(&format!("{instance}-{at_once}-{number}"))?;
                let config = anonymous(config.clone(), instance);
                let id = docker.create(&name, &config).await?;
                docker.start(&id).await?;
                Outcome::Ok(())
            })
            .buffer_unordered(at_once)
            .try_collect::<Vec<()>>()
            .await
    })?;
    let exchanges = counter.since(mark);
    let first = first_create(&exchanges).unwrap_or(began);
    let last = last_start(&exchanges, configs.len()).ok_or("not all starts were answered")?;
    Ok(last.saturating_sub(first))
}

/// When the first create was sent.
pub(crate) fn first_create(exchanges: &[Exchange]) -> Option<Duration> {
    exchanges.iter().find(|exchange| exchange.is_create()).map(|exchange| exchange.sent)
}

/// When the last of so many starts was answered; `None`: not yet.
pub(crate) fn last_start(exchanges: &[Exchange], count: usize) -> Option<Duration> {
    let answered: Vec<Duration> =
        exchanges.iter().filter(|it| it.is_start()).filter_map(|it| it.answered).collect();
    if answered.len() < count { None } else { answered.into_iter().max() }
}
