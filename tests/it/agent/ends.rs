//! How a run is ended from outside, how it gets what is too long for an argument, and what its tools may do and see.

use std::time::{Duration, Instant};

use chanop::docker::Engine;

use super::place::{API_KEY, Order, Place};

#[expect(clippy::disallowed_methods, reason = "a test measures real time")]
fn now() -> Instant {
    Instant::now()
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_stop_ends_a_working_run_soon_and_without_a_result() {
    let place = Place::new().await;
    for (word, scenario, until) in [
        ("tool", "bash:tail -f /dev/null", "tool_use"),
        ("stream", "slow:100000:20", "system"),
        ("hang", "hang", "system"),
    ] {
        let prompt = format!("{word} [[mock:{scenario}]]");
        let id = place.start(word, Order::new(&prompt)).await;
        place.said(&id, until).await;
        let began = now();
        place.engine.docker.stop(&id, 20).await.unwrap();
        let took = now() - began;
        let ended = place.end(&id).await;
        assert_eq!(ended.exit, 143, "{word}: {ended:?}");
        assert!(took < Duration::from_secs(10), "{word}: {took:?}");
        assert!(ended.result().is_none(), "{word}: {ended:?}");
        assert!(ended.count("system") > 0, "{word}");
    }
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_tool_that_takes_too_much_memory_is_killed_and_the_run_goes_on() {
    let place = Place::new().await;
    // A child of the tool's shell, with a variable that grows until the container's 512 MiB are used up. (Much output would
    // do it too, and might kill the CLI: it goes to /tmp, which is memory.)
    let prompt = "memory [[mock:bash:bash -c 'x=y; while :; do x=$x$x; done']]";
    let ended = place.run("memory", Order { memory_mib: 512, ..Order::new(prompt) }).await;
    assert!(ended.oom_killed, "{ended:?}");
    // The kernel takes the largest process, which is the tool: the CLI tells the model.
    assert_eq!(ended.exit, 0, "{ended:?}");
    let tool = ended.tool_result().expect("the tool's end is told");
    assert_eq!(tool["is_error"], true, "{tool}");
    assert!(tool["content"].to_string().contains("137"), "{tool}");
    assert_eq!(ended.result().unwrap()["is_error"], false);
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_container_too_small_for_the_cli_ends_killed_and_without_a_result() {
    let place = Place::new().await;
    let ended = place.run("small", Order { memory_mib: 48, ..Order::new("[[mock:text]]") }).await;
    assert_eq!((ended.exit, ended.oom_killed), (137, true), "{ended:?}");
    assert!(ended.result().is_none(), "{ended:?}");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_prompt_too_long_for_an_argument_comes_by_standard_input() {
    let place = Place::new().await;
    let long = format!("{}the end [[mock:text]]", "word ".repeat(60_000));
    let ended = place.run("long", Order::new(&long)).await;
    assert_eq!(ended.exit, 0, "{ended:?}");
    assert_eq!(ended.result().unwrap()["result"], "Hello from the mock API.");
    let requests = place.api.messages_with("the end [[mock:text]]");
    assert_eq!(requests.len(), 1);
    assert!(requests[0].body.to_string().len() > 300_000);

    // Three megabytes are read, and are more than any model takes: the CLI says so without asking.
    let longer = format!("{}the end [[mock:text]]", "word ".repeat(600_000));
    let ended = place.run("longer", Order::new(&longer)).await;
    assert_eq!(ended.exit, 1, "{}", ended.stderr);
    let result = ended.result().unwrap();
    assert_eq!(result["terminal_reason"], "blocking_limit", "{}", result["result"]);
    assert_eq!(place.api.requests().len(), 1);
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_cli_that_is_injected_is_found_before_the_images_own() {
    let place = Place::new().await;
    let prompt = "injected [[mock:bash:command -v agent-cli]]";
    let order = Order { injected_as: Some("agent-cli"), ..Order::new(prompt) };
    let ended = place.run("injected", order).await;
    assert_eq!(ended.exit, 0, "{ended:?}");
    assert_eq!(ended.tool_result().unwrap()["content"], "/.chanop/bin/agent-cli");
    let order =
        Order { injected_as: Some("claude"), ..Order::new("both [[mock:bash:command -v claude]]") };
    let ended = place.run("both", order).await;
    assert_eq!(ended.tool_result().unwrap()["content"], "/.chanop/bin/claude");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn the_key_reaches_the_api_and_stands_in_no_inspect() {
    let place = Place::new().await;
    let id = place.start("key", Order::new("key [[mock:text]]")).await;
    let ended = place.end(&id).await;
    assert_eq!(ended.exit, 0, "{ended:?}");
    let requests = place.api.requests();
    // One request and no other: no telemetry, no look for updates.
    assert_eq!(requests.len(), 1, "{requests:?}");
    assert_eq!(requests[0].headers["x-api-key"], API_KEY);
    assert!(requests[0].path.starts_with("/v1/messages"));
    let inspected = format!("{:?}", place.engine.docker.inspect(&id).await.unwrap());
    assert!(!inspected.contains(API_KEY), "{inspected}");
}

#[tokio::test]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_tool_works_in_the_workspace_as_the_owner_and_nowhere_else() {
    use std::os::unix::fs::MetadataExt as _;

    let place = Place::new().await;
    let file = format!("{}/from-the-agent", place.workspace());
    let prompt = format!("write [[mock:write:{file}]]");
    let ended = place.run("write", Order::new(&prompt)).await;
    assert_eq!(ended.exit, 0, "{ended:?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "written by the mock\n");
    assert_eq!(std::fs::metadata(&file).unwrap().uid(), crate::bed::OWNER);

    let outside = place.run("outside", Order::new("write [[mock:write:/usr/bin/evil]]")).await;
    let tool = outside.tool_result().expect("the tool's end is told");
    assert_eq!(tool["is_error"], true, "{tool}");

    // Of what the agent signs in with, its commands see nothing unless they look for it: THREATS.md says that they can.
    let seen = place.run("env", Order::new("env [[mock:env]]")).await;
    let env = seen.tool_result().expect("the tool's answer")["content"].to_string();
    assert!(env.contains("HOME=") && env.contains("DISABLE_TELEMETRY=1"), "{env}");
    assert!(!env.contains(API_KEY), "{env}");
    let prompt = "look [[mock:bash:cat /.chanop/secrets/api-key]]";
    let found = place.run("look", Order::new(prompt)).await;
    assert_eq!(found.tool_result().expect("the tool's answer")["content"], API_KEY);
}
