//! What the engine answers, state by state and call by call: the rows of [`table`] held against the real one.

mod table;

use std::time::Duration;

use bytes::Bytes;
use chanop::container::config::Limits;
use chanop::container::{ContainerId, ContainerName};
use chanop::docker::engine::ExecConfig;
use chanop::docker::{Engine, EngineError, EngineResult};
use futures_util::{StreamExt, TryStreamExt, stream};
use table::{Answered, Asked, Given, ROWS, Row};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::support::engine::{TestBed, endpoint};

/// Ends by itself with 7 the first time, runs until TERM the next.
const ONCE: &str =
    "if test -e /tmp/again; then while :; do sleep 1; done; fi; : > /tmp/again; exit 7";
const ENDLESS: &str = "while :; do sleep 1; done";
/// Long for an engine that answers, short for one that waits.
const SOON: Duration = Duration::from_millis(500);

#[tokio::test]
async fn the_engine_answers_a_created_container_as_the_table_says() {
    check(Given::Created).await;
}

#[tokio::test]
async fn the_engine_answers_a_container_whose_start_failed_as_the_table_says() {
    check(Given::FailedStart).await;
}

#[tokio::test]
async fn the_engine_answers_a_running_container_as_the_table_says() {
    check(Given::Running).await;
}

#[tokio::test]
async fn the_engine_answers_a_paused_container_as_the_table_says() {
    check(Given::Paused).await;
}

#[tokio::test]
async fn the_engine_answers_an_exited_container_as_the_table_says() {
    check(Given::Exited).await;
}

#[tokio::test]
async fn the_engine_answers_for_a_removed_container_as_the_table_says() {
    check(Given::Removed).await;
}

#[test]
fn every_state_is_asked_everything_once() {
    for (index, row) in ROWS.iter().enumerate() {
        assert!(
            !ROWS[..index].iter().any(|other| (other.0, other.1) == (row.0, row.1)),
            "{row:?} stands twice"
        );
    }
    assert_eq!(ROWS.len(), 6 * 12);
}

async fn check(given: Given) {
    let bed = &TestBed::new().await;
    let rows = ROWS.iter().copied().filter(|row| row.0 == given);
    // Four at a time: an engine starts a container in about 200 ms, alone or beside others.
    let observed: Vec<(Row, Row)> = stream::iter(rows)
        .map(|row| async move { (row, observe(bed, row.0, row.1).await) })
        .buffered(4)
        .collect()
        .await;
    let wrong: Vec<_> = observed.iter().filter(|(want, have)| want != have).collect();
    assert!(wrong.is_empty(), "(table, engine): {wrong:#?}");
}

async fn observe(bed: &TestBed, given: Given, asked: Asked) -> Row {
    let name = bed.name(&format!("{asked:?}").to_lowercase());
    let id = arrange(bed, given, &name).await;
    let answered = ask(bed, &id, &name, asked).await;
    let after = match bed.docker.inspect(&id).await {
        Ok(snapshot) => snapshot.state.as_str(),
        Err(EngineError::NotFound(_)) => "gone",
        Err(error) => panic!("{error}"),
    };
    (given, asked, answered, after)
}

async fn arrange(bed: &TestBed, given: Given, name: &ContainerName) -> ContainerId {
    let mut config = bed.config(if given == Given::Exited { ONCE } else { ENDLESS });
    if given == Given::FailedStart {
        config.cmd = vec!["/no/such/program".to_owned()];
    }
    let id = bed.docker.create(name, &config).await.unwrap();
    match given {
        Given::Created => {}
        Given::FailedStart => assert!(bed.docker.start(&id).await.is_err()),
        Given::Running => bed.docker.start(&id).await.unwrap(),
        Given::Paused => {
            bed.docker.start(&id).await.unwrap();
            pause(&id).await;
        }
        Given::Exited => {
            bed.docker.start(&id).await.unwrap();
            assert_eq!(bed.docker.wait(&id).await.unwrap().status_code, 7);
        }
        Given::Removed => bed.docker.remove(&id, false).await.unwrap(),
    }
    id
}

async fn ask(bed: &TestBed, id: &ContainerId, name: &ContainerName, asked: Asked) -> Answered {
    let docker = &bed.docker;
    match asked {
        Asked::CreateSameName => plain(docker.create(name, &bed.config(ENDLESS)).await),
        Asked::Inspect => plain(docker.inspect(id).await),
        Asked::Start => plain(docker.start(id).await),
        Asked::Stop => plain(docker.stop(id, 1).await),
        Asked::Kill => {
            let answer = docker.kill(id, "KILL").await;
            if answer.is_ok() {
                // A signal is answered when it is sent, not when it has worked.
                docker.wait(id).await.unwrap();
            }
            plain(answer)
        }
        Asked::Remove => plain(docker.remove(id, false).await),
        Asked::RemoveForce => plain(docker.remove(id, true).await),
        Asked::Update => {
            let limits = Limits { memory_bytes: 64 << 20, nano_cpus: 500_000_000, pids: 50 };
            plain(docker.update(id, &limits).await)
        }
        Asked::Wait => match tokio::time::timeout(SOON, docker.wait(id)).await {
            Ok(Ok(answer)) => Answered::Code(answer.status_code),
            Ok(Err(error)) => Answered::Error(error.class()),
            Err(_) => Answered::Blocks,
        },
        Asked::Logs => plain(docker.logs(id, false).try_collect::<Vec<_>>().await),
        Asked::CopyTo => {
            let empty = tar::Builder::new(Vec::new()).into_inner().unwrap();
            plain(docker.copy_to(id, "/tmp", Bytes::from(empty)).await)
        }
        Asked::ExecCreate => {
            let exec = ExecConfig { cmd: vec!["/bin/true".to_owned()], ..ExecConfig::default() };
            plain(docker.exec_create(id, &exec).await)
        }
    }
}

fn plain<T>(answer: EngineResult<T>) -> Answered {
    match answer {
        Ok(_) => Answered::Ok,
        Err(error) => Answered::Error(error.class()),
    }
}

/// What a person does; chanop has no use for it.
async fn pause(id: &ContainerId) {
    let mut stream = UnixStream::connect(endpoint().socket()).await.unwrap();
    let request = format!(
        "POST /v1.41/containers/{id}/pause HTTP/1.1\r\nHost: docker\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 204"), "{answer}");
}
