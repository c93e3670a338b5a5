//! One arm for each call.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use tracing::warn;

use super::Means;
use super::anchor::anchor;
use super::failure::{of_engine, of_host};
use super::image::{bring, look_for, missing, untag_builds};
use super::runs::{create_run, read_prompt};
use crate::container::config::{MountConfig, NetworkMode};
use crate::container::{
    ContainerConfig, ContainerName, ContainerState, ImageRef, ObjectName, Snapshot, label,
};
use crate::controller::effect::{Call, SecretsOf};
use crate::controller::input::{Answer, EngineFacts, Failure, Seq};
use crate::docker::engine::{NetworkInfo, VolumeInfo};
use crate::docker::{Engine, EngineError, EngineResult};
use crate::host::{self, Occasion, Prepared, VolumeGrant};
use crate::resource::ResourceName;
use crate::resource::condition::Reason;
use crate::resource::effective::Build;
use crate::world::admission::admit_image_user;
use crate::world::desired::Target;
use crate::world::facts::FactsWanted;
use crate::world::preparation::{ContainerUser, Preparation, RunPlace};

pub(super) async fn carry_out<E: Engine>(
    means: &Means<E>,
    seq: Seq,
    call: &Call,
) -> Result<Answer, Failure> {
    let engine = &means.engine;
    let failed = |error| of_engine(call, error);
    match call {
        Call::Ping => engine.ping().await.map(|()| Answer::Pong).map_err(failed),
        Call::Info => {
            let info = engine.info().await.map_err(failed)?;
            Ok(Answer::Engine(EngineFacts {
                id: info.id,
                version: info.version,
                api_version: info.api_version,
                default_runtime: info.default_runtime,
                cpus: usize::try_from(info.cpus).unwrap_or(1),
                limits_swap: info.limits_swap,
                remaps_users: info.remaps_users,
            }))
        }
        Call::Anchor(claim) => anchor(means, call, claim).await,
        Call::Network => network(means, call).await,
        Call::List => {
            let listed = engine.list(label::INSTANCE, means.instance.as_str()).await;
            listed.map(Answer::Listed).map_err(failed)
        }
        Call::Inspect(id) => {
            let snapshot = engine.inspect(id).await.map_err(failed)?;
            inspected(engine, snapshot).await.map_err(failed)
        }
        Call::InspectName(name) => {
            let snapshot = engine.inspect_name(name).await.map_err(failed)?;
            inspected(engine, snapshot).await.map_err(failed)
        }
        Call::Create { name, target } => create(means, call, name, target).await,
        Call::CreateRun { name, target } => create_run(means, call, name, target).await,
        Call::ReadPrompt(file) => read_prompt(means, file).await,
        Call::Start { id, target } => {
            if let Some(target) = target {
                // Its image's name may mean another one by now, or nothing.
                let image = if target.preparation.user.of_image {
                    engine.inspect(id).await.map_err(failed)?.image_id
                } else {
                    String::new()
                };
                prepare(means, target, &image, Occasion::Start).await?;
            }
            engine.start(id).await.map(|()| Answer::Done).map_err(failed)
        }
        Call::Stop { id, grace_seconds } => {
            engine.stop(id, *grace_seconds).await.map(|()| Answer::Done).map_err(failed)
        }
        Call::Remove { id, force, place } => {
            let removed = match engine.remove(id, *force).await {
                Ok(()) => true,
                Err(EngineError::NotFound(_)) => false,
                Err(error) => return Err(failed(error)),
            };
            let Some(place) = place else { return Ok(Answer::Done) };
            let unstarted = forget(means, place.clone()).await;
            // Whoever took it away may have taken the place away too, and what is there now says nothing of it.
            Ok(Answer::RunRemoved { unstarted: removed && unstarted })
        }
        Call::Update { id, limits } => {
            engine.update(id, limits).await.map(|()| Answer::Done).map_err(failed)
        }
        Call::LookForImage(image) => look_for(means, call, image).await,
        Call::BringImage(image) => bring(means, seq, call, image).await,
        Call::UntagBuilds { repository, keep } => untag_builds(means, call, repository, keep).await,
        Call::Contexts(wanted) => contexts(means, wanted.clone()).await,
        Call::Probe(wanted) => probe(means, Arc::clone(wanted)).await,
        Call::RemoveSecrets { of, before } => remove_secrets(means, of.clone(), *before).await,
        Call::CheckMounts(channels) => check_mounts(means, channels.clone()).await,
    }
}

/// The engine remembers sessions that have ended, so each is asked whether it runs: nobody's work is yanked away, and
/// nobody's ghost keeps an update waiting.
pub async fn only_running_sessions<E: Engine>(
    engine: &E,
    mut snapshot: Snapshot,
) -> EngineResult<Snapshot> {
    if snapshot.state != ContainerState::Running {
        return Ok(snapshot);
    }
    if let Some(details) = &mut snapshot.details {
        let mut running = Vec::new();
        for id in std::mem::take(&mut details.exec_ids) {
            let Ok(exec) = crate::docker::engine::ExecId::parse(&id) else { continue };
            match engine.exec_inspect(&exec).await {
                Ok(state) if !state.running => {}
                Ok(_) => running.push(id),
                Err(EngineError::NotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
        details.exec_ids = running;
    }
    Ok(snapshot)
}

async fn inspected<E: Engine>(engine: &E, snapshot: Snapshot) -> EngineResult<Answer> {
    let snapshot = only_running_sessions(engine, snapshot).await?;
    Ok(Answer::Inspected(Box::new(snapshot)))
}

/// The volume of this name, made with these labels unless it is there. It is read after that: an engine that has been
/// restarted answers the creation of a volume that exists without its labels.
pub(super) async fn set_once<E: Engine>(
    engine: &E,
    name: &ObjectName,
    labels: &BTreeMap<String, String>,
) -> EngineResult<VolumeInfo> {
    engine.volume_create(name, labels).await?;
    let volume = engine.volume(name).await?;
    volume.ok_or_else(|| EngineError::NotFound(format!("volume {name} was removed as it was made")))
}

/// Docker 20.10 allows two networks of one name, and then neither can be named: the older of ours stays.
async fn network<E: Engine>(means: &Means<E>, call: &Call) -> Result<Answer, Failure> {
    let engine = &means.engine;
    let failed = |error| of_engine(call, error);
    let name = ObjectName::network_of(&means.instance);
    let is_ours = |network: &NetworkInfo| {
        network.labels.get(label::INSTANCE).map(String::as_str) == Some(means.instance.as_str())
    };
    let mut found = engine.networks(&name).await.map_err(failed)?;
    if found.is_empty() {
        let labels = BTreeMap::from([(label::INSTANCE.to_owned(), means.instance.to_string())]);
        engine.network_create(&name, &labels).await.map_err(failed)?;
        found = engine.networks(&name).await.map_err(failed)?;
    }
    if let Some(foreign) = found.iter().find(|network| !is_ours(network)) {
        let text = format!(
            "network {name} ({}) is not chanop's: remove it, or use another --instance",
            foreign.id
        );
        return Err(Failure::Refused(Reason::NameConflict, text));
    }
    found.sort_by(|a, b| a.created.cmp(&b.created));
    for extra in found.iter().skip(1) {
        let Ok(id) = ObjectName::parse(&extra.id) else { continue };
        engine.network_remove(&id).await.map_err(failed)?;
    }
    Ok(Answer::NetworkReady)
}

async fn create<E: Engine>(
    means: &Means<E>,
    call: &Call,
    name: &ContainerName,
    target: &Arc<Target>,
) -> Result<Answer, Failure> {
    let (prepared, user) = prepare(means, target, &target.config.image, Occasion::Create).await?;
    let mut config = target.config.clone();
    config.user = user_of(user);
    finish(means, call, name, &config, prepared).await
}

/// Makes the container on the host that was prepared for it, and gives it its files and volumes.
pub(super) async fn finish<E: Engine>(
    means: &Means<E>,
    call: &Call,
    name: &ContainerName,
    config: &ContainerConfig,
    prepared: Prepared,
) -> Result<Answer, Failure> {
    let engine = &means.engine;
    let failed = |error| of_engine(call, error);
    let mut volumes = BTreeMap::new();
    for mount in &config.mounts {
        if let MountConfig::Volume { source, .. } = mount {
            volumes.insert(source.as_str(), own_volume(means, call, source).await?);
        }
    }
    let grants = prepared.volume_grants.into_iter().filter_map(|grant| {
        volumes.get(grant.volume.as_str()).map(|volume| (volume.clone(), grant))
    });
    let grants: Vec<(VolumeInfo, VolumeGrant)> = grants.collect();
    let id = engine.create(name, config).await.map_err(failed)?;
    for (volume, grant) in grants {
        if let Err(error) = give(means, &config.image, &volume, grant).await {
            // Without its volumes it must not start. Should this remove not arrive, the core removes what is made and was
            // never heard of.
            let _uncertain = engine.remove(&id, false).await;
            return Err(Failure::Failed(Reason::CreateFailed, error.to_string()));
        }
    }
    Ok(Answer::Created(id))
}

/// Gives a volume's root to the user: on this host, or through a container that has nothing but this volume and is never started. To
/// copy into a container, the engine mounts all that it has in the host's own mount namespace, and follows links on the way to each
/// mount point; where one mount lies in another, an agent that works in that one could lead the engine elsewhere.
async fn give<E: Engine>(
    means: &Means<E>,
    image: &str,
    volume: &VolumeInfo,
    grant: VolumeGrant,
) -> EngineResult<()> {
    let (mountpoint, owner) = (volume.mountpoint.clone(), grant.owner);
    let given = tokio::task::spawn_blocking(move || host::give_volume(&mountpoint, owner));
    if matches!(given.await, Ok(Ok(()))) {
        return Ok(());
    }
    let engine = &means.engine;
    let name = ContainerName::for_giving(&means.instance, uuid::Uuid::new_v4());
    let mount = MountConfig::Volume {
        source: grant.volume,
        target: host::GIVEN_AT.to_owned(),
        read_only: false,
    };
    let config = ContainerConfig {
        image: image.to_owned(),
        entrypoint: vec!["/never".to_owned()],
        mounts: vec![mount],
        cap_drop: vec!["ALL".to_owned()],
        no_new_privileges: true,
        network: NetworkMode::None,
        ..ContainerConfig::default()
    };
    let id = engine.create(&name, &config).await?;
    let given = engine.copy_to(&id, "/", grant.archive).await;
    engine.remove(&id, false).await?;
    given
}

/// Creates a volume unless it exists, and answers it. Only volumes that chanop created for this instance are mounted, and only
/// without driver options: another volume is somebody else's data, and options can make a volume any device or directory of the
/// host. The volume is read after the create, since an engine that was restarted answers the creation of an existing
/// volume without its labels.
async fn own_volume<E: Engine>(
    means: &Means<E>,
    call: &Call,
    name: &str,
) -> Result<VolumeInfo, Failure> {
    let name = ObjectName::parse(name)
        .map_err(|error| Failure::Refused(Reason::InvalidSpec, error.to_string()))?;
    let labels = BTreeMap::from([(label::INSTANCE.to_owned(), means.instance.to_string())]);
    let volume =
        set_once(&means.engine, &name, &labels).await.map_err(|error| of_engine(call, error))?;
    let VolumeInfo { name, labels, driver, options, mountpoint: _ } = &volume;
    let why = if labels.get(label::INSTANCE).map(String::as_str) != Some(means.instance.as_str()) {
        format!("chanop did not create it for instance `{}`", means.instance)
    } else if driver != "local" && !driver.is_empty() {
        format!("its driver is {driver}, not local")
    } else if !options.is_empty() {
        "it has driver options".to_owned()
    } else {
        return Ok(volume);
    };
    Err(Failure::Refused(
        Reason::PolicyViolation,
        format!(
            "volume {name} is not mounted: {why}; use another name, and chanop creates the volume"
        ),
    ))
}

/// Whom the image names, as numbers. Root needs the policy's word, and a name could only be looked up inside the image.
pub async fn image_user<E: Engine>(means: &Means<E>, image: &str) -> Result<(u32, u32), Failure> {
    let reference = ImageRef::parse(image)
        .map_err(|error| Failure::Refused(Reason::InvalidSpec, error.to_string()))?;
    let missing =
        || Failure::Refused(Reason::ImageMissing, format!("the engine has no image {image}"));
    let found = means.engine.image(&reference).await.map_err(|error| match error {
        EngineError::Unreachable(text) => Failure::Unreachable(text),
        error => Failure::Failed(Reason::CreateFailed, error.to_string()),
    })?;
    let user = found.ok_or_else(missing)?.user;
    let names = |what: &str, name: &str| {
        let message = format!(
            "spec.user: image {image} names its {what} `{name}`: write its numbers, as \"1000:1000\""
        );
        Failure::Refused(Reason::PolicyViolation, message)
    };
    let (uid, gid) = user.split_once(':').unwrap_or((&user, ""));
    let uid = match uid {
        "" | "root" => 0,
        uid => uid.parse::<u32>().map_err(|_| names("user", uid))?,
    };
    // Without a group the engine would look into the image's passwd file, and take root's where it finds nothing.
    let gid = match gid {
        "" => uid,
        gid => gid.parse::<u32>().map_err(|_| names("group", gid))?,
    };
    let accounts = tokio::task::spawn_blocking(host::accounts).await.ok().flatten();
    if let Some(denial) = admit_image_user((uid, gid), &means.owner, accounts.as_ref()) {
        let message = format!("{}: image {image}: {}", denial.path, denial.message);
        return Err(Failure::Refused(Reason::PolicyViolation, message));
    }
    Ok((uid, gid))
}

/// The user as the engine is told it: always numbers of both, since the engine adds the groups of its image's group file to a user
/// that comes without one.
pub(super) fn user_of(user: ContainerUser) -> String {
    format!("{}:{}", user.uid, user.gid)
}

/// What the host is to prepare, with the user that the image names where the spec leaves it to that.
pub(super) async fn resolved<E: Engine>(
    means: &Means<E>,
    target: &Target,
    image: &str,
) -> Result<Preparation, Failure> {
    let mut preparation = target.preparation.clone();
    if preparation.user.of_image {
        let (uid, gid) = image_user(means, image).await.map_err(|failure| match failure {
            Failure::Refused(Reason::ImageMissing, _) => missing(&target.wanted_image()),
            failure => failure,
        })?;
        preparation.user.uid = uid;
        preparation.user.gid = gid;
    }
    Ok(preparation)
}

async fn prepare<E: Engine>(
    means: &Means<E>,
    target: &Arc<Target>,
    image: &str,
    occasion: Occasion,
) -> Result<(Prepared, ContainerUser), Failure> {
    let host = means.host.clone();
    let preparation = resolved(means, target, image).await?;
    let user = preparation.user;
    let work = move || host::prepare(&preparation, &host, occasion);
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(prepared)) => Ok((prepared, user)),
        Ok(Err(error)) => Err(of_host(&error)),
        Err(error) => Err(Failure::Refused(Reason::HostFailed, error.to_string())),
    }
}

/// Takes away what an attempt had on the host; answers whether that said that its command was never started. What cannot be
/// taken away is no reason to say that its container is still there.
async fn forget<E: Engine>(means: &Means<E>, place: RunPlace) -> bool {
    let paths = means.host.paths.clone();
    let work = move || {
        let unstarted = host::is_unstarted(&paths, &place);
        if let Err(error) = host::remove_run_place(&paths, &place) {
            warn!(error = &error as &dyn std::error::Error, "what a run had on the host stays");
        }
        unstarted
    };
    tokio::task::spawn_blocking(work).await.unwrap_or(false)
}

async fn probe<E: Engine>(means: &Means<E>, wanted: Arc<FactsWanted>) -> Result<Answer, Failure> {
    let host = means.host.clone();
    let key = means.key.clone();
    // A look at a dead network mount never ends: one thread may hang there, not one more with every scan.
    let Ok(looking) = Arc::clone(&means.looking).try_acquire_owned() else {
        return Err(Failure::Unknown("the last look at the host has not ended".to_owned()));
    };
    let work = move || {
        let hash = |bytes: &[u8]| key.hash(bytes);
        let facts = host::probe(&wanted, host.secrets_directory.as_deref(), &hash);
        drop(looking);
        facts
    };
    let facts = tokio::task::spawn_blocking(work).await;
    facts.map(Answer::Facts).map_err(|error| Failure::Unknown(error.to_string()))
}

/// Like a probe, a look may hang on a dead network mount: only so many threads may, and what finds none free says nothing.
async fn check_mounts<E: Engine>(
    means: &Means<E>,
    channels: BTreeSet<ResourceName>,
) -> Result<Answer, Failure> {
    let (paths, home) = (means.host.paths.clone(), means.owner.home.clone());
    let busy = || Failure::Unknown("too many looks at the host have not ended".to_owned());
    let Ok(checking) = Arc::clone(&means.checking_mounts).try_acquire_owned() else {
        return Err(busy());
    };
    let work = move || {
        let changes = host::mount_changes(&paths, &home, &channels);
        drop(checking);
        changes
    };
    let changes = tokio::task::spawn_blocking(work).await;
    changes.map(Answer::MountChanges).map_err(|error| Failure::Unknown(error.to_string()))
}

async fn remove_secrets<E: Engine>(
    means: &Means<E>,
    of: SecretsOf,
    before: Timestamp,
) -> Result<Answer, Failure> {
    let host = means.host.clone();
    let work = move || {
        let goes = |name: &ResourceName| match &of {
            SecretsOf::These(names) => names.contains(name),
            SecretsOf::AllBut(names) => !names.contains(name),
        };
        host::remove_secrets(&host, &goes, before.as_second())
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(_gone)) => Ok(Answer::Done),
        Ok(Err(error)) => Err(of_host(&error)),
        Err(error) => Err(Failure::Unknown(error.to_string())),
    }
}

async fn contexts<E: Engine>(means: &Means<E>, wanted: BTreeSet<Build>) -> Result<Answer, Failure> {
    let (contexts, specs) = (Arc::clone(&means.contexts), means.specs_dir.clone());
    let now = means.clock.now().wall;
    let work = move || contexts.facts(&specs, &wanted, now);
    let facts = tokio::task::spawn_blocking(work).await;
    facts.map(Answer::Contexts).map_err(|error| Failure::Unknown(error.to_string()))
}
