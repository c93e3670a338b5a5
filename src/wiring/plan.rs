//! One plan without an operator: one look at the files, the host and the engine.
//!
//! It knows no store: since when something waits, what was overridden by hand and what is on its way out are the
//! operator's to tell.

use std::path::PathBuf;

use crate::container::label;
use crate::controller::judge;
use crate::controller::request::PlanReport;
use crate::controller::scan::Sources;
use crate::docker::{Engine, EngineError};
use crate::host;
use crate::planner::report::report;
use crate::resource::Now;
use crate::store::StateKey;
use crate::world::facts::Facts;
use crate::world::scan::RawScan;
use crate::world::{Settings, World};

/// What a plan is made from.
#[derive(Debug)]
pub struct PlanMeans {
    /// As an operator would be told.
    pub settings: Settings,
    /// The administrator's secrets.
    pub secrets_dir: PathBuf,
    /// Keys the hashes of secrets; of another key than the operator's, channels with secrets look changed.
    pub key: StateKey,
}

/// A plan, and what was wrong with the files.
#[derive(Debug)]
pub struct Planned {
    /// What would be done.
    pub report: PlanReport,
    /// Files that do not count, each with why.
    pub invalid: Vec<String>,
    /// Why the directory could not be read.
    pub unavailable: Option<String>,
}

/// Makes a plan.
pub async fn plan<E: Engine>(
    engine: &E,
    means: PlanMeans,
    scan: RawScan,
    now: Now,
) -> Result<Planned, EngineError> {
    let PlanMeans { settings, secrets_dir, key } = means;
    let revision = scan.revision.as_ref().map(|revision| revision.text.clone()).unwrap_or_default();
    let mut sources = Sources::default();
    sources.absorb(scan, settings.prune_delay);
    let (_, wanted) = judge::desired(&sources, &Facts::default(), &settings);
    let hash = |bytes: &[u8]| key.hash(bytes);
    let facts = host::probe(&wanted, Some(&secrets_dir), &hash);
    let (desired, _) = judge::desired(&sources, &facts, &settings);
    let info = engine.info().await?;
    let instance = settings.instance.clone();
    let mut world = World::new(settings);
    world.desired = desired;
    world.network_ready = true;
    for snapshot in engine.list(label::INSTANCE, instance.as_str()).await? {
        // What a list does not tell decides what would be done, so each is looked at; this is one plan, not a loop.
        let snapshot = match engine.inspect(&snapshot.id).await {
            Ok(inspected) => inspected,
            Err(EngineError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        world.observed.note(&instance, snapshot, 1, now.mono);
    }
    let report = PlanReport::new(report(&world, now), revision, Some(info.version));
    let invalid = sources.invalid().values().cloned().collect();
    let unavailable = sources.unavailable().map(str::to_owned);
    Ok(Planned { report, invalid, unavailable })
}
