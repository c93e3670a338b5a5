//! The simulated engine answers each call in each state of a container as the table of the contract says, which the real
//! engine is held against too (`tests/it/contract.rs`): what the simulator proves, it proves of such an engine.

use std::time::Duration;

use chanop::container::config::{ContainerConfig, Limits};
use chanop::container::{ContainerId, ContainerName};
use chanop::controller::effect::Call;
use chanop::controller::input::{Answer, Failure};
use chanop_sim::engine::{Engine, IMAGE_BAD, IMAGE_CRASHES};
use chanop_sim::host::{name, settings};

#[path = "../../it/contract/table.rs"]
mod table;

use table::{Answered, Asked, Given, ROWS};

fn arrange(given: Given, shell: &ContainerName) -> (Engine, ContainerId) {
    let mut engine = Engine::new();
    engine.network = true;
    let image = match given {
        Given::FailedStart => IMAGE_BAD,
        Given::Exited => IMAGE_CRASHES,
        _ => "img-a:1",
    };
    let config = ContainerConfig { image: image.to_owned(), ..ContainerConfig::default() };
    let id = engine.make(shell, &config).expect("made");
    match given {
        Given::Created => {}
        Given::FailedStart => assert!(start(&mut engine, &id).is_err()),
        Given::Running => assert!(start(&mut engine, &id).is_ok()),
        Given::Paused => {
            assert!(start(&mut engine, &id).is_ok());
            engine.pause(&id);
        }
        Given::Exited => {
            assert!(start(&mut engine, &id).is_ok());
            engine.pass(Duration::from_secs(5));
        }
        Given::Removed => engine.remove_by_hand(&id),
    }
    (engine, id)
}

fn start(engine: &mut Engine, id: &ContainerId) -> Result<Answer, Failure> {
    engine.execute(&settings().instance, &Call::Start { id: id.clone(), target: None })
}

/// What the simulator models: the calls that the core makes.
fn ask(
    engine: &mut Engine,
    asked: Asked,
    id: &ContainerId,
    shell: &ContainerName,
) -> Option<Result<(), Failure>> {
    let id = id.clone();
    let call = match asked {
        Asked::CreateSameName => {
            let config =
                ContainerConfig { image: "img-a:1".to_owned(), ..ContainerConfig::default() };
            return Some(engine.make(shell, &config).map(|_| ()));
        }
        Asked::Inspect => Call::Inspect(id),
        Asked::Start => Call::Start { id, target: None },
        Asked::Stop => Call::Stop { id, grace_seconds: 1 },
        Asked::Remove => Call::Remove { id, force: false, place: None },
        Asked::RemoveForce => Call::Remove { id, force: true, place: None },
        Asked::Update => {
            let limits = Limits { memory_bytes: 64 << 20, nano_cpus: 500_000_000, pids: 50 };
            Call::Update { id, limits }
        }
        Asked::Kill | Asked::Wait | Asked::Logs | Asked::CopyTo | Asked::ExecCreate => return None,
    };
    Some(engine.execute(&settings().instance, &call).map(|_| ()))
}

fn class(failure: &Failure) -> &'static str {
    match failure {
        Failure::NotFound(_) => "not_found",
        Failure::NameTaken(_) => "name_taken",
        Failure::Conflict(_) => "conflict",
        Failure::Refused(..) => "refused",
        Failure::Failed(..) => "failed",
        Failure::NoSpace(_) => "no_space",
        Failure::Unknown(_) => "unknown",
        Failure::Unreachable(_) => "unreachable",
    }
}

#[test]
fn the_simulated_engine_answers_as_the_table_says() {
    let shell = ContainerName::shell(&settings().instance, &name("a"));
    let (mut held, mut wrong) = (0, Vec::new());
    for (given, asked, answered, after) in ROWS.iter().copied() {
        let (mut engine, id) = arrange(given, &shell);
        let Some(answer) = ask(&mut engine, asked, &id, &shell) else { continue };
        held += 1;
        let have = match &answer {
            Ok(()) => Answered::Ok,
            Err(failure) => Answered::Error(class(failure)),
        };
        let state = engine.containers.get(&id).map_or("gone", |found| found.state.as_str());
        if (have, state) != (answered, after) {
            wrong
                .push(format!("{given:?} {asked:?}: {have:?}, {state}, not {answered:?}, {after}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(held, 6 * 7, "each state is asked each of the core's calls");
}
