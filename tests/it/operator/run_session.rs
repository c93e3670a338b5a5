//! In which conversation a run is, and the tries that come after an attempt that did nothing.

use crate::support::operator::Ground;
use crate::support::runs::attempts;

const UNKNOWN: &str = "00000000-0000-4000-8000-00000000000f";

fn one() -> Ground {
    let mut ground = Ground::new();
    ground.agent_channel("a", "keepContainer: 0s");
    ground.start();
    ground.until_converged(&["a"]);
    ground
}

/// Its session.
fn session(run: &serde_json::Value) -> String {
    run["status"]["sessionId"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_run_goes_on_in_the_latest_session_in_that_of_a_key_or_in_a_copy() {
    let mut ground = one();
    ground.run_file("new", "a", "say:hello", ", session: Latest");
    let first = session(&ground.until_ended("new"));
    assert!(ground.argv("a", "new", 1).contains(&format!("--session-id={first}\n")), "{first}");

    ground.run_file("latest", "a", "say:hello", ", session: Latest");
    assert_eq!(session(&ground.until_ended("latest")), first);
    let argv = ground.argv("a", "latest", 1);
    assert!(argv.contains(&format!("--resume={first}\n")), "{argv}");
    assert!(!argv.contains("--session-id") && !argv.contains("--fork-session"), "{argv}");

    // A key's first run has a session of its own.
    ground.run_file("key-one", "a", "say:hello", ", session: {key: slack-1}");
    let of_key = session(&ground.until_ended("key-one"));
    assert_ne!(of_key, first);
    ground.run_file("fresh", "a", "say:hello", "");
    assert_ne!(session(&ground.until_ended("fresh")), of_key);
    ground.kill();
    ground.start();
    ground.run_file("key-two", "a", "say:hello", ", session: {key: slack-1}");
    assert_eq!(session(&ground.until_ended("key-two")), of_key);
    assert!(ground.argv("a", "key-two", 1).contains(&format!("--resume={of_key}\n")));

    let fork = format!(", session: {{id: {first}}}, fork: true");
    ground.run_file("fork", "a", "say:hello", &fork);
    let forked = session(&ground.until_ended("fork"));
    let argv = ground.argv("a", "fork", 1);
    for word in [&format!("--resume={first}\n"), "--fork-session\n", &format!("={forked}\n")] {
        assert!(argv.contains(word), "{word}: {argv}");
    }
    assert!(forked != first && forked != of_key, "{forked}");
}

#[test]
fn a_session_that_is_gone_is_done_without_once_and_one_that_is_too_long_is_compacted() {
    let mut ground = one();
    ground.run_file("gone", "a", "gone say:hello", &format!(", session: {{id: {UNKNOWN}}}"));
    let ended = ground.until_ended("gone");
    assert_eq!(
        attempts(&ended),
        ["1 First Failed SessionNotFound", "2 WithoutSession Succeeded Succeeded"],
        "{ended:#}"
    );
    assert!(ground.argv("a", "gone", 1).contains(&format!("--resume={UNKNOWN}\n")));
    let second = ground.argv("a", "gone", 2);
    assert!(!second.contains("--resume") && second.contains("--session-id="), "{second}");

    let latest = session(&ended);
    ground.run_file("long", "a", "toolong say:hello", ", session: Latest");
    let ended = ground.until_ended("long");
    assert_eq!(
        attempts(&ended),
        [
            "1 First Failed PromptTooLong",
            "2 Compact Succeeded Succeeded",
            "3 AfterCompact Succeeded Succeeded"
        ],
        "{ended:#}"
    );
    for execution in [1, 2, 3] {
        let argv = ground.argv("a", "long", execution);
        assert!(argv.contains(&format!("--resume={latest}\n")), "{execution}: {argv}");
    }
    assert_eq!(ended["status"]["phase"], "Succeeded");
    assert_eq!(ground.executions("a", "long"), 3);
}

#[test]
fn an_attempt_that_met_an_api_at_capacity_is_tried_again_unless_it_used_a_tool() {
    let mut ground = one();
    ground.order("tried", "a", "overloaded:1 say:hello");
    ground.until("it waits", |ground| ground.run("tried")["status"]["reason"] == "BackOff");
    // The wait holds no slot: another one overtakes it.
    ground.order("used", "a", "tool:push overloaded:1 say:hello");
    let used = ground.until_ended("used");
    assert_eq!(attempts(&used), ["1 First Failed Overloaded"], "{used:#}");
    let tried = ground.until_ended("tried");
    assert_eq!(
        attempts(&tried),
        ["1 First Failed Overloaded", "2 Retry Succeeded Succeeded"],
        "{tried:#}"
    );
}
