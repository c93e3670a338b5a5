//! Sessions outlive containers: the home keeps them.

use chanop::claude::command::Session;

use super::place::{Order, Place};

const PLAIN: &str = "first [[mock:echo:one]]";

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_session_goes_on_in_another_container_with_the_same_home() {
    let place = Place::new().await;
    let first = place.run("first", Order::new(PLAIN)).await;
    assert_eq!(first.exit, 0, "{first:?}");
    let session = first.session();
    let second = place
        .run("second", Order::new("second [[mock:echo:two]]").within(Session::Resume(session)))
        .await;
    assert_eq!((second.exit, second.session()), (0, session), "{second:?}");
    assert_eq!(second.result().unwrap()["result"], "two");
    let requests = place.api.messages_with("[[mock:echo:two]]");
    assert_eq!(requests.len(), 1);
    assert!(requests[0].body.to_string().contains(PLAIN), "the first turn is sent again");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_fork_has_a_session_of_its_own_and_leaves_the_first_as_it_was() {
    let place = Place::new().await;
    let first = place.run("first", Order::new(PLAIN)).await;
    let session = first.session();
    let forked = place
        .run(
            "fork",
            Order::new("forked [[mock:echo:two]]").within(Session::Fork { of: session, id: None }),
        )
        .await;
    assert_eq!(forked.exit, 0, "{forked:?}");
    assert_ne!(forked.session(), session);
    assert!(place.api.messages_with("[[mock:echo:two]]")[0].body.to_string().contains(PLAIN));
    let again = place
        .run("again", Order::new("again [[mock:echo:three]]").within(Session::Resume(session)))
        .await;
    assert_eq!((again.exit, again.session()), (0, session), "{again:?}");
    let sent = place.api.messages_with("[[mock:echo:three]]")[0].body.to_string();
    assert!(sent.contains(PLAIN) && !sent.contains("[[mock:echo:two]]"), "{sent}");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_session_is_compacted_and_goes_on() {
    let place = Place::new().await;
    let first = place.run("first", Order::new(PLAIN)).await;
    let session = first.session();
    let compacted =
        place.run("compact", Order::new("/compact").within(Session::Resume(session))).await;
    assert_eq!(compacted.exit, 0, "{compacted:?}");
    let result = compacted.result().unwrap();
    assert_eq!((&result["is_error"], &result["num_turns"]), (&false.into(), &0.into()), "{result}");
    let boundary = |event: &&serde_json::Value| event["subtype"] == "compact_boundary";
    assert!(compacted.events.iter().any(|event| boundary(&event)), "{compacted:?}");
    let after = place
        .run("after", Order::new("after [[mock:echo:two]]").within(Session::Resume(session)))
        .await;
    assert_eq!((after.exit, after.session()), (0, session), "{after:?}");
    let sent = place.api.messages_with("[[mock:echo:two]]")[0].body.to_string();
    assert!(sent.contains("A summary by the mock.") && !sent.contains("mock:echo:one"), "{sent}");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_compaction_of_nothing_is_no_error() {
    let place = Place::new().await;
    let compacted = place.run("compact", Order::new("/compact")).await;
    assert_eq!(compacted.exit, 0, "{compacted:?}");
    assert_eq!(compacted.result().unwrap()["is_error"], false);
    assert!(place.api.requests().is_empty());
}
