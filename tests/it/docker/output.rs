//! Logs and events.

use chanop::container::ContainerId;
use chanop::docker::Engine;
use chanop::docker::engine::{ContainerEvent, EngineEvent};
use futures_util::StreamExt;
use jiff::Timestamp;

use crate::support::engine::{TEST_LABEL, TestBed};

#[tokio::test]
async fn the_two_streams_come_out_apart_and_unframed() {
    let bed = TestBed::new().await;
    let id = bed.run_to_end("two", "echo one; echo two >&2; printf three").await;
    assert_eq!(bed.output(&id).await, ("one\nthree".to_owned(), "two\n".to_owned()));
}

#[tokio::test]
async fn lines_longer_than_the_engines_pieces_lose_nothing() {
    let bed = TestBed::new().await;
    let id = bed.run_to_end("long", "busybox seq -s , 1 40000").await;
    let wanted: Vec<String> = (1..=40_000).map(|number: u32| number.to_string()).collect();
    assert_eq!(bed.output(&id).await.0, format!("{}\n", wanted.join(",")));
}

#[tokio::test]
async fn a_terminals_output_is_raw_even_where_it_looks_framed() {
    let bed = TestBed::new().await;
    let mut config =
        bed.config("printf '\\001\\000\\000\\000\\000\\000\\000\\005hello'; printf 'prompt> '");
    config.tty = true;
    let id = bed.docker.create(&bed.name("tty"), &config).await.unwrap();
    bed.docker.start(&id).await.unwrap();
    bed.docker.wait(&id).await.unwrap();
    assert_eq!(bed.output(&id).await.0, "\u{1}\0\0\0\0\0\0\u{5}helloprompt> ");
}

#[tokio::test]
async fn following_goes_on_to_the_containers_end() {
    let bed = TestBed::new().await;
    let id = bed.create("follow", "echo begin; read line; echo end").await;
    // Nobody writes to it: `read` ends at once. What counts is that the stream ends with the container.
    bed.docker.start(&id).await.unwrap();
    let mut text = Vec::new();
    let mut chunks = bed.docker.logs(&id, true);
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap().bytes);
    }
    assert_eq!(text, b"begin\nend\n");
}

#[tokio::test]
async fn logs_of_no_container_are_an_error_and_not_an_empty_stream() {
    let bed = TestBed::new().await;
    let nobody = ContainerId::parse(&"0".repeat(64)).unwrap();
    let answers: Vec<_> = bed.docker.logs(&nobody, false).collect().await;
    assert_eq!(answers.len(), 1);
    assert_eq!(answers[0].as_ref().unwrap_err().class(), "not_found");
}

#[tokio::test]
async fn events_since_an_instant_tell_what_happened_before_they_were_asked_for() {
    let bed = TestBed::new().await;
    let other = TestBed::new().await;
    let before = bed.docker.inspect(&bed.create("clock", "true").await).await.unwrap().created;
    let id = bed.run_to_end("watched", "exit 5").await;
    other.run_to_end("unseen", "true").await;
    let events = read_events(&bed, before, |event| event.id == id && event.action == "die").await;
    let of_it: Vec<&str> =
        events.iter().filter(|event| event.id == id).map(|event| event.action.as_str()).collect();
    assert_eq!(
        of_it.iter().filter(|action| ["create", "start", "die"].contains(action)).count(),
        3,
        "{of_it:?}"
    );
    let died = events.iter().find(|event| event.id == id && event.action == "die").unwrap();
    assert_eq!(died.exit_code, Some(5));
    assert_eq!(died.labels.get(TEST_LABEL).map(String::as_str), Some(bed.mark()));
    assert!(
        events
            .iter()
            .all(|event| event.labels.get(TEST_LABEL).map(String::as_str) == Some(bed.mark()))
    );
    assert!(events.iter().all(|event| i128::from(event.time_nano) >= before.as_nanosecond()));

    // From the nanosecond after the death on, the death is not told again.
    let after = Timestamp::from_nanosecond(i128::from(died.time_nano) + 1).unwrap();
    bed.docker.remove(&id, true).await.unwrap();
    let events =
        read_events(&bed, after, |event| event.id == id && event.action == "destroy").await;
    assert!(!events.iter().any(|event| event.action == "die"), "{events:?}");
}

/// Events until one fits; the first item must be the opening.
async fn read_events(
    bed: &TestBed,
    since: Timestamp,
    last: impl Fn(&ContainerEvent) -> bool,
) -> Vec<ContainerEvent> {
    let mut stream = bed.docker.events(TEST_LABEL, bed.mark(), since);
    assert_eq!(stream.next().await, Some(Ok(EngineEvent::Opened)));
    let mut events = Vec::new();
    while let Some(item) = stream.next().await {
        match item.unwrap() {
            EngineEvent::Opened => panic!("opened twice"),
            EngineEvent::Container(event) => {
                let done = last(&event);
                events.push(event);
                if done {
                    return events;
                }
            }
        }
    }
    panic!("the event stream ended silently");
}
