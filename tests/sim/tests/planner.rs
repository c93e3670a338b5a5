//! The channel table of the planner, one row a line: what is seen, and what is wanted next.

use std::time::Duration;

use chanop::container::label::SPEC_HASH;
use chanop::container::{ContainerState, Snapshot};
use chanop::controller::effect::Call;
use chanop::controller::input::Answer;
use chanop::planner::plan_channel;
use chanop::resource::condition::{ConditionStatus, Reason};
use chanop::resource::effective::PullPolicy;
use chanop::world::image::{
    FoundImage, ImageFailure, ImageProgress, ImageSource, ImageState, ImageWork, ImageWorkKind,
    WantedImage,
};
use chanop::world::{Crashes, World};
use chanop_sim::host::name;
use chanop_sim::{Sim, Spec};

/// A world in which one channel has converged, its shell as an inspect tells it, and the time.
fn settled(spec: Spec) -> (Sim, World, Snapshot) {
    let mut sim = Sim::new(1);
    sim.write("a", spec);
    assert!(sim.run_until(Duration::from_secs(20), Sim::all_ready));
    sim.run_for(Duration::from_secs(20));
    let id = sim.shell("a").expect("a shell").id.clone();
    let instance = sim.settings.instance.clone();
    let Ok(Answer::Inspected(found)) = sim.engine.execute(&instance, &Call::Inspect(id)) else {
        panic!("it is there");
    };
    let world = sim.core().expect("it lives").world().clone();
    (sim, world, *found)
}

type Change = fn(&mut Snapshot);

fn same(_: &mut Snapshot) {}

fn other_hash(found: &mut Snapshot) {
    found.labels.insert(SPEC_HASH.to_owned(), "h1:other".to_owned());
    if let Some(details) = &mut found.details {
        details.config.labels.insert(SPEC_HASH.to_owned(), "h1:other".to_owned());
        details.config.image = "img-b:1".to_owned();
    }
}

fn error(found: &mut Snapshot) {
    found.details.as_mut().expect("details").error = "exec: not found".to_owned();
}

fn untold(found: &mut Snapshot) {
    found.details = None;
}

fn somebody_in_it(found: &mut Snapshot) {
    other_hash(found);
    found.details.as_mut().expect("details").exec_ids.push("x".to_owned());
}

fn limits(found: &mut Snapshot) {
    found.details.as_mut().expect("details").limits.pids = 7;
}

fn policy(found: &mut Snapshot) {
    found.details.as_mut().expect("details").restart_policy = "always".to_owned();
}

#[test]
fn each_state_has_its_next_action() {
    use ContainerState::{Created, Dead, Exited, Paused, Removing, Restarting, Running, Unknown};
    use Reason as R;
    let rows: [(&str, ContainerState, Change, Option<&str>, Reason); 19] = [
        ("runs as wanted", Running, same, None, R::Running),
        ("runs, from another spec", Running, other_hash, Some("stop"), R::Stopping),
        ("runs, from another spec, somebody in it", Running, somebody_in_it, None, R::Running),
        ("runs, with other limits", Running, limits, Some("update"), R::Running),
        ("runs, with a restart policy", Running, policy, Some("update"), R::Running),
        ("runs, and a list only says so", Running, untold, None, R::Running),
        ("made, never started, by whom is not known", Created, same, Some("remove"), R::Creating),
        ("made, and a list only says so", Created, untold, Some("inspect"), R::Starting),
        ("its start failed", Created, error, Some("remove"), R::StartFailed),
        ("made from another spec", Created, other_hash, Some("remove"), R::Removing),
        ("paused", Paused, same, None, R::Paused),
        ("paused, from another spec", Paused, other_hash, None, R::Paused),
        ("ended", Exited, same, Some("start"), R::Starting),
        ("ended, from another spec", Exited, other_hash, Some("remove"), R::Removing),
        ("the engine restarts it", Restarting, policy, Some("update"), R::Stopping),
        ("on its way out", Removing, same, None, R::Removing),
        ("half removed", Dead, same, Some("remove"), R::Removing),
        ("in a state that nobody knows", Unknown, same, Some("inspect"), R::Waiting),
        ("ended, and a list only says so", Exited, untold, Some("start"), R::Starting),
    ];
    let (sim, world, found) = settled(Spec::default());
    let now = sim.core_now();
    for (row, state, change, verb, reason) in rows {
        let (mut world, mut seen) = (world.clone(), found.clone());
        world.images.insert(wanted("img-a:1"), image(Some(now.mono)));
        seen.state = state;
        change(&mut seen);
        world.observed.note(&sim.settings.instance, seen, u64::MAX, now.mono);
        let step = plan_channel(&world, &name("a"), now);
        let want = step.want.as_ref().map(|want| want.action.verb());
        assert_eq!((want, step.status.reason), (verb, reason), "{row}: {step:?}");
        assert_eq!(plan_channel(&world, &name("a"), now), step, "{row}: the same again");
    }
}

fn wanted(reference: &str) -> WantedImage {
    let source = ImageSource::Registry(PullPolicy::IfNotPresent);
    WantedImage { reference: reference.to_owned(), source }
}

/// An image that was there at that time.
fn image(at: Option<Duration>) -> ImageState {
    let found = at.map(|at| FoundImage {
        id: "sha256:a".to_owned(),
        digest: None,
        volumes: std::collections::BTreeSet::new(),
        at,
    });
    ImageState { found, ..ImageState::default() }
}

#[test]
fn what_runs_or_could_run_is_not_taken_away_for_an_image_that_is_not_there() {
    use ContainerState::{Exited, Running};
    let (sim, world, found) = settled(Spec::default());
    let mut now = sim.core_now();
    now.mono += Duration::from_mins(2);
    let failure = ImageFailure {
        reason: Reason::ImagePullBackOff,
        message: "no such image".to_owned(),
        retry_at: now.mono + Duration::from_secs(9),
        retry_wall: now.wall,
    };
    let failed = ImageState { failed: Some(failure), ..ImageState::default() };
    let work = ImageWork { kind: ImageWorkKind::Pull, progress: ImageProgress::default() };
    let coming = ImageState { work: Some(work), ..ImageState::default() };
    let long_ago = now.mono.saturating_sub(Duration::from_secs(61));
    let missing = ImageState { missing: true, ..ImageState::default() };
    let rows: [(&str, ContainerState, ImageState, Option<&str>); 10] = [
        ("nothing is known", Running, ImageState::default(), Some("look")),
        ("it was there long ago", Running, image(Some(long_ago)), Some("look")),
        ("it is not there", Running, missing.clone(), Some("pull")),
        ("it is on its way", Running, coming.clone(), None),
        ("it cannot be had now", Running, failed.clone(), None),
        ("ended; nothing is known", Exited, ImageState::default(), Some("look")),
        ("ended; it is not there", Exited, missing, Some("pull")),
        ("ended; it is on its way", Exited, coming, None),
        ("ended; it cannot be had now", Exited, failed, Some("start")),
        ("ended; it is there", Exited, image(Some(now.mono)), Some("remove")),
    ];
    for (row, state, image, verb) in rows {
        let (mut world, mut seen) = (world.clone(), found.clone());
        world.images.insert(wanted("img-a:1"), image);
        seen.state = state;
        other_hash(&mut seen);
        world.observed.note(&sim.settings.instance, seen, u64::MAX, now.mono);
        let step = plan_channel(&world, &name("a"), now);
        assert_eq!(step.want.as_ref().map(|want| want.action.verb()), verb, "{row}: {step:?}");
        assert_eq!(step.pending.is_some(), state == Running, "{row}: {step:?}");
    }
}

#[test]
fn what_is_not_there_is_made_and_what_ended_too_often_waits() {
    let (sim, mut world, found) = settled(Spec::default());
    let now = sim.core_now();
    let mut ended = found.clone();
    ended.state = ContainerState::Exited;
    world.observed.note(&sim.settings.instance, ended, u64::MAX, now.mono);
    let not_before = now.mono + Duration::from_secs(9);
    world.crashes.insert(name("a"), Crashes { count: 2, not_before, exit_code: 1 });
    let step = plan_channel(&world, &name("a"), now);
    assert_eq!((step.want, step.status.reason), (None, Reason::CrashLoopBackOff));
    world.observed.forget(&found.id);
    let step = plan_channel(&world, &name("a"), now);
    assert_eq!(step.want.map(|want| want.action.verb()), Some("create"));
}

#[test]
fn what_no_file_wants_is_stopped_and_removed_and_nothing_before_all_is_known() {
    let (sim, mut world, found) = settled(Spec::default());
    let mut now = sim.core_now();
    world.observed.note(&sim.settings.instance, found, u64::MAX, now.mono);
    world.desired.channels.clear();
    let step = plan_channel(&world, &name("a"), now);
    assert_eq!(
        (step.want, step.status.ready),
        (None, ConditionStatus::Unknown),
        "a moment at most"
    );
    let row = world.inventory.values_mut().next().expect("a row");
    row.gone_since = Some(now.wall);
    let gone = plan_channel(&world, &name("a"), now);
    assert_eq!(gone.want.map(|want| want.action.verb()), Some("stop"));
    world.desired.ready = false;
    assert_eq!(plan_channel(&world, &name("a"), now).want, None, "no scan was complete");
    world.desired.ready = true;
    world.inventory.clear();
    assert_eq!(plan_channel(&world, &name("a"), now).want, None, "a stray is given time");
    now.mono += Duration::from_secs(61);
    let stray = plan_channel(&world, &name("a"), now);
    assert_eq!(stray.want.map(|want| want.action.verb()), Some("stop"));
}
