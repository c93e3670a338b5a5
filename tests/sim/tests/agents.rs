//! The simulated run containers do what was seen of real ones: what the simulator proves, it proves of such agents.

use std::time::Duration;

use chanop::claude::command::Session;
use chanop::container::config::ContainerConfig;
use chanop::container::{ContainerId, ContainerName, ContainerState};
use chanop::controller::effect::Call;
use chanop::controller::input::Answer;
use chanop::world::run::Task;
use chanop_sim::engine::{Agent, Engine, How, REFUSED_BY_GUARD, Starter};
use chanop_sim::host::settings;
use chanop_sim::{Says, Work};
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

fn agent(attempt: u32, session: Session) -> Agent {
    Agent {
        channel: "a".to_owned(),
        run: "fix".to_owned(),
        attempt,
        session,
        task: Task::Prompt("mend it".into()),
        out_of_memory: None,
    }
}

struct World {
    engine: Engine,
    id: ContainerId,
    at: Duration,
}

impl World {
    fn new(work: Work) -> Self {
        Self::of(work, agent(1, Session::Fresh(Some(Uuid::from_u128(1)))))
    }

    fn of(work: Work, agent: Agent) -> Self {
        let mut engine = Engine::new();
        engine.agents.works.insert("fix".to_owned(), vec![work]);
        let id = make(&mut engine, agent);
        Self { engine, id, at: Duration::ZERO }
    }

    fn start(&mut self) {
        let call = Call::Start { id: self.id.clone(), target: None };
        self.engine.execute(&settings().instance, &call).expect("it starts");
    }

    fn stop(&mut self, grace_seconds: u32) {
        let call = Call::Stop { id: self.id.clone(), grace_seconds };
        self.engine.execute(&settings().instance, &call).expect("it is told to stop");
    }

    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        while let Some(next) = self.engine.next_time().filter(|next| *next <= end) {
            self.engine.pass(next);
        }
        self.engine.pass(end);
        self.at = end;
    }

    fn state(&self) -> (ContainerState, i64) {
        let found = &self.engine.containers[&self.id];
        (found.state, found.exit_code)
    }

    fn oom_killed(&mut self) -> bool {
        let call = Call::Inspect(self.id.clone());
        match self.engine.execute(&settings().instance, &call) {
            Ok(Answer::Inspected(found)) => found.details.is_some_and(|it| it.oom_killed),
            other => panic!("{other:?}"),
        }
    }

    fn said(&self) -> usize {
        self.engine.agents.of(&self.id).flat_map(|it| it.printed(self.at)).count()
    }
}

fn make(engine: &mut Engine, agent: Agent) -> ContainerId {
    let name = format!("chanop_default_a_fix_{}", agent.attempt);
    let name = ContainerName::parse(&name).expect("a name");
    let config = ContainerConfig { image: "img-a:1".to_owned(), ..ContainerConfig::default() };
    match engine.create_run(&name, &config, agent) {
        Ok(Answer::Created(id)) => id,
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_agent_says_what_it_has_to_say_and_ends() {
    let mut world = World::new(Work::default());
    world.start();
    world.pass(SECOND);
    assert_eq!((world.state(), world.said()), ((ContainerState::Running, 0), 1));
    world.pass(10 * SECOND);
    assert_eq!((world.state(), world.said()), ((ContainerState::Exited, 0), 3));
    assert!(world.engine.agents.ledger[0].succeeded);
    assert_eq!(world.engine.agents.exit_record("fix", 1).map(|it| it.exit_code), Some(0));
}

#[test]
fn a_container_that_ended_and_is_started_again_runs_its_agent_again_unless_the_guard_is_there() {
    for guard_off in [false, true] {
        let mut world = World::new(Work::default());
        world.engine.agents.guard_off = guard_off;
        world.start();
        world.pass(10 * SECOND);
        world.engine.start_by_hand(&world.id.clone());
        world.pass(10 * SECOND);
        let (ran, code) = (world.engine.agents.ledger.len(), world.state().1);
        // Without the guard it runs, and finds that its conversation's ID was used.
        assert_eq!((ran, code), if guard_off { (2, 1) } else { (1, REFUSED_BY_GUARD) });
        assert_eq!(world.engine.agents.exit_record("fix", 1).is_some(), !guard_off);
    }
}

#[test]
fn a_stop_ends_it_with_143_and_after_the_grace_with_137_when_it_does_not_heed() {
    let mut world = World::new(Work::saying(Says::Hangs));
    world.start();
    world.pass(SECOND);
    world.stop(5);
    assert_eq!(world.state(), (ContainerState::Exited, 143));
    assert!(world.engine.agents.exit_record("fix", 1).is_some(), "init heard TERM too");

    let mut world = World::new(Work { ignores_term: true, ..Work::saying(Says::Hangs) });
    world.start();
    world.pass(SECOND);
    world.stop(5);
    world.pass(4 * SECOND);
    assert_eq!(world.state().0, ContainerState::Running);
    world.pass(2 * SECOND);
    assert_eq!(world.state(), (ContainerState::Exited, 137));
    assert!(world.engine.agents.exit_record("fix", 1).is_none(), "nobody hears KILL");
}

#[test]
fn a_restart_of_the_engine_ends_it_or_not_and_invents_codes_by_its_version() {
    for (version, live_restore, code, expected) in [
        ("20.10.24", false, 143, (ContainerState::Exited, 143)),
        ("20.10.24", false, 255, (ContainerState::Exited, 255)),
        ("24.0.1", false, 0, (ContainerState::Exited, 0)),
        ("20.10.24", true, 255, (ContainerState::Running, 0)),
    ] {
        let mut world = World::new(Work::saying(Says::Hangs));
        world.engine.version = version.to_owned();
        world.start();
        world.pass(SECOND);
        world.engine.go_down(live_restore, code);
        world.pass(SECOND);
        world.engine.come_up();
        assert_eq!(world.state(), expected, "{version} {live_restore} {code}");
        let truth = world.engine.agents.ledger[0].ended.map(|(_, code, how)| (code, how));
        let killed = (code == 143).then_some((143, How::Term)).or(Some((137, How::Kill)));
        assert_eq!(truth, if live_restore { None } else { killed });
    }
}

#[test]
fn what_ends_while_the_engine_is_away_is_seen_when_it_is_back_and_no_event_tells() {
    for (loses_exits, code) in [(false, 0), (true, 255)] {
        let mut world = World::new(Work::default());
        world.engine.agents.loses_exits = loses_exits;
        world.start();
        world.engine.go_down(true, 255);
        world.pass(10 * SECOND);
        assert!(world.engine.agents.ledger[0].succeeded);
        world.engine.come_up();
        assert_eq!(world.state(), (ContainerState::Exited, code));
        assert!(world.engine.news.is_empty());
    }
}

#[test]
fn an_end_that_the_engine_does_not_notice_leaves_a_ghost() {
    let mut world = World::new(Work::default());
    world.engine.agents.ghosts = true;
    world.start();
    world.pass(10 * SECOND);
    assert_eq!(world.state().0, ContainerState::Running);
    world.stop(5);
    assert_eq!(world.state(), (ContainerState::Exited, 143));
    assert!(world.engine.agents.ledger[0].succeeded, "in truth");
}

#[test]
fn the_engine_may_forget_that_it_started_it() {
    let mut world = World::new(Work::default());
    world.engine.starts_and_forgets(&world.id.clone());
    assert!(world.engine.down);
    world.engine.come_up();
    assert_eq!(world.state().0, ContainerState::Created);
    let found = &world.engine.containers[&world.id];
    assert_eq!((found.started_at, found.starts), (None, 1));
    assert_eq!(world.engine.agents.ledger.len(), 1, "it ran all the same");
}

#[test]
fn that_the_kernel_killed_it_is_known_later() {
    let mut world = World::new(Work::saying(Says::OutOfMemory));
    world.engine.agents.oom_late = Duration::from_millis(300);
    world.start();
    world.pass(5 * SECOND + Duration::from_millis(100));
    assert_eq!((world.state(), world.oom_killed()), ((ContainerState::Exited, 137), false));
    world.pass(SECOND);
    assert!(world.oom_killed());
}

#[test]
fn a_pause_costs_it_time_and_nothing_else() {
    let mut world = World::new(Work::default());
    world.start();
    world.pass(SECOND);
    world.engine.pause(&world.id.clone());
    world.pass(60 * SECOND);
    assert_eq!((world.state().0, world.said()), (ContainerState::Paused, 1));
    world.engine.unpause(&world.id.clone());
    world.pass(3 * SECOND);
    assert_eq!(world.state().0, ContainerState::Running);
    world.pass(2 * SECOND);
    assert_eq!(world.state(), (ContainerState::Exited, 0));
}

#[test]
fn a_restart_policy_that_somebody_set_starts_it_again_and_the_guard_refuses() {
    let mut world = World::new(Work::default());
    world.start();
    world.engine.update_by_hand(&world.id.clone(), None, Some("always"));
    world.pass(60 * SECOND);
    assert_eq!(world.engine.agents.ledger.len(), 1);
    assert!(world.engine.containers[&world.id].restarted > 3);
}

#[test]
fn a_conversation_is_there_once_begun_and_is_refused_its_id_a_second_time() {
    let fresh = Session::Fresh(Some(Uuid::from_u128(1)));
    let mut world = World::of(Work::default(), agent(1, fresh));
    world.start();
    world.pass(10 * SECOND);
    for (attempt, session, succeeds) in [
        (2, fresh, false),
        (3, Session::Resume(Uuid::from_u128(1)), true),
        (4, Session::Resume(Uuid::from_u128(9)), false),
        (5, Session::Fork { of: Uuid::from_u128(1), id: Some(Uuid::from_u128(2)) }, true),
        (6, Session::Resume(Uuid::from_u128(2)), true),
    ] {
        world.id = make(&mut world.engine, agent(attempt, session));
        world.start();
        world.pass(10 * SECOND);
        let last = world.engine.agents.ledger.last().expect("it ran");
        assert_eq!(last.succeeded, succeeds, "attempt {attempt}");
        assert_eq!(last.by, Starter::Operator);
    }
}

#[test]
fn a_conversation_that_is_too_long_goes_on_once_it_was_made_shorter() {
    let id = Uuid::from_u128(1);
    let mut world =
        World::of(Work::saying(Says::PromptTooLong), agent(1, Session::Fresh(Some(id))));
    world.start();
    world.pass(10 * SECOND);
    world.engine.agents.works.insert("fix".to_owned(), vec![Work::default()]);
    let compact = Agent { task: Task::Compact(id), ..agent(3, Session::Resume(id)) };
    for (agent, succeeds) in [
        (agent(2, Session::Resume(id)), false),
        (compact, true),
        (agent(4, Session::Resume(id)), true),
    ] {
        let attempt = agent.attempt;
        world.id = make(&mut world.engine, agent);
        world.start();
        world.pass(10 * SECOND);
        let last = world.engine.agents.ledger.last().expect("it ran");
        assert_eq!(last.succeeded, succeeds, "attempt {attempt}");
    }
}
