//! One plan without an operator: one look at the files, the host and the engine.
//!
//! It knows no store: since when something waits, what was overridden by hand and what is on its way out are the
//! operator's to tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::clock::Clock;
use crate::config::{self, Environment};
use crate::container::label;
use crate::controller::judge;
use crate::controller::request::PlanReport;
use crate::controller::scan::Sources;
use crate::docker::{Docker, Endpoint, Engine, EngineError};
use crate::executor::{Contexts, only_running_sessions};
use crate::host;
use crate::planner::report::report;
use crate::specs::scan_once;
use crate::store::StateKey;
use crate::world::World;
use crate::world::admission::Incumbents;
use crate::world::facts::Facts;

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

/// Makes a plan, as an operator with these settings would.
pub async fn plan(
    settings: &config::Settings,
    environment: &Environment,
    endpoint: &Endpoint,
    clock: Clock,
) -> Result<Planned, EngineError> {
    let engine = Docker::connect(endpoint).await?;
    let now = clock.now();
    let scan = scan_once(&settings.specs_dir, &move || clock.now());
    let (secrets_dir, specs_dir) = (settings.secrets_dir.clone(), settings.specs_dir.clone());
    // Without the operator's key (nobody ran one here, or it is another user's) channels with secrets look changed.
    let key = StateKey::read(&settings.state_dir)
        .unwrap_or_else(|_unreadable| StateKey::from_bytes([0; 32]));
    let paths = super::host_paths(settings, environment, super::as_real(&settings.state_dir));
    let settings = super::core_settings(settings, environment, paths, endpoint);
    let revision = scan.revision.as_ref().map(|revision| revision.text.clone()).unwrap_or_default();
    let mut sources = Sources::default();
    sources.absorb(scan, settings.prune_delay);
    let nobody = Arc::default();
    let (_, wanted) = judge::desired(&sources, &Facts::default(), &settings, &nobody);
    let hash = |bytes: &[u8]| key.hash(bytes);
    let mut facts = host::probe(&wanted, Some(&secrets_dir), &hash);
    facts.builds = Contexts::default().facts(&specs_dir, &wanted.builds, now.wall);
    let info = engine.info().await?;
    facts.default_runtime = Some(info.default_runtime);
    let instance = settings.instance.clone();
    let mut world = World::new(settings);
    world.network_ready = true;
    for snapshot in engine.list(label::INSTANCE, instance.as_str()).await? {
        // What a list does not tell decides what would be done, so each is looked at; this is one plan, not a loop.
        let snapshot = match engine.inspect(&snapshot.id).await {
            Ok(inspected) => only_running_sessions(&engine, inspected).await?,
            Err(EngineError::NotFound(_)) => continue,
            Err(error) => return Err(error),
        };
        world.observed.note(&instance, snapshot, 1, now.mono);
    }
    let incumbents = Incumbents { containers: world.observed.claims(), admitted: BTreeMap::new() };
    (world.desired, _) = judge::desired(&sources, &facts, &world.settings, &Arc::new(incumbents));
    let report = PlanReport::new(report(&world, now), revision, Some(info.version));
    let invalid = sources.invalid().values().cloned().collect();
    let unavailable = sources.unavailable().map(str::to_owned);
    Ok(Planned { report, invalid, unavailable })
}
