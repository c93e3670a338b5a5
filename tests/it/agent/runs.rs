//! Runs of the real CLI, dispatched and recorded by the operator.

use serde_json::Value;

use super::place::{API_KEY, IMAGE};
use crate::support::mock_api::MockApi;
use crate::support::operator::Ground;
use crate::support::runs::attempts;

const UNKNOWN: &str = "11111111-2222-4333-8444-555555555555";

struct Place {
    ground: Ground,
    api: MockApi,
}

impl Place {
    /// An operator with one channel of the agent's image.
    async fn new() -> Self {
        let mut ground = Ground::new();
        let api = MockApi::start().await;
        ground.secret("anthropic", "api-key", API_KEY);
        ground.workspace("a");
        let more = format!(
            "  env: [{{name: ANTHROPIC_BASE_URL, value: '{}'}}, {{name: CLAUDE_CODE_MAX_RETRIES, value: '1'}}]\n  agent: {{model: haiku, credentials: {{secret: anthropic}}}}\n  shell: {{enabled: false}}\n  runs: {{keepContainer: 0s, maxConcurrent: 2}}\n",
            api.url()
        );
        let text = ground.channel_text("a", "", &more).replace(&ground.image, IMAGE);
        ground.write("a.yaml", &text);
        ground.start();
        ground.until_converged(&["a"]);
        Self { ground, api }
    }

    /// Until the agent is in the middle of a use of a tool.
    fn until_here(&mut self) {
        let here = self.ground.of_workspace("a", "here");
        self.ground.until("the agent uses a tool", |_| here.exists());
    }

    /// The whole of it once it has ended; `phase` is how it should.
    fn ended(&mut self, run: &str, phase: &str) -> Value {
        let ended = self.ground.until_ended(run);
        assert_eq!(ended["status"]["phase"], phase, "{ended:#}");
        ended
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_run_from_a_file_is_gone_on_in_by_one_from_the_api() {
    let mut place = Place::new().await;
    place.ground.run_file("first", "a", "first [[mock:tool]]", "");
    let first = place.ended("first", "Succeeded");
    let status = &first["status"];
    assert_eq!((&status["turns"], &status["tools"]), (&2.into(), &1.into()), "{status:#}");
    assert_eq!(status["attempts"][0]["end"]["outcome"]["text"], "Done: the tool answered.");
    assert!(status["cost"]["dollars"].as_f64().unwrap() > 0.0, "{status:#}");
    let session = status["sessionId"].clone();
    assert_eq!(session, status["attempts"][0]["session"], "as it was assigned");
    let told = place.ground.chanop(&["logs", "run/first"]).well();
    assert!(told.contains("echo hi") && told.contains("Done: the tool answered."), "{told}");

    let words = ["run", "a", "-p", "second [[mock:echo:two]]", "--session", "latest", "--follow"];
    let followed = place.ground.chanop(&[&words[..], &["--name", "second"]].concat());
    assert_eq!(followed.code, 0, "{followed:?}");
    assert!(followed.out.contains("two"), "{followed:?}");
    assert_eq!(place.ended("second", "Succeeded")["status"]["sessionId"], session);
    let asked = place.api.messages_with("[[mock:echo:two]]");
    assert!(
        asked[0].body.to_string().contains("first [[mock:tool]]"),
        "the first turn is sent again"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_session_that_is_lost_is_done_without_and_one_that_is_too_long_is_compacted() {
    let mut place = Place::new().await;
    place.ground.run_file(
        "lost",
        "a",
        "[[mock:echo:one]]",
        &format!(", session: {{id: {UNKNOWN}}}"),
    );
    let lost = place.ended("lost", "Succeeded");
    assert_eq!(
        attempts(&lost),
        ["1 First Failed SessionNotFound", "2 WithoutSession Succeeded Succeeded"],
        "{lost:#}"
    );
    // The CLI makes room by itself and asks once more, before it gives up.
    place.ground.run_file("long", "a", "[[mock:errn:2:toolong]]", ", session: Latest");
    let long = place.ended("long", "Succeeded");
    assert_eq!(
        attempts(&long),
        [
            "1 First Failed PromptTooLong",
            "2 Compact Succeeded Succeeded",
            "3 AfterCompact Succeeded Succeeded"
        ],
        "{long:#}"
    );
    assert_eq!(long["status"]["sessionId"], lost["status"]["sessionId"]);
    let asked = place.api.messages_with("[[mock:errn:2:toolong]]");
    let last = asked.last().unwrap().body.to_string();
    assert!(last.contains("A summary by the mock."), "{last}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_cancelled_one_and_one_whose_time_is_over_end_in_the_middle_of_a_tool_use() {
    let mut place = Place::new().await;
    let prompt = "[[mock:bash:touch here; sleep 100; touch done]]";
    place.ground.run_file("stopped", "a", prompt, "");
    place.until_here();
    place.ground.chanop(&["cancel", "run/stopped"]).well();
    let stopped = place.ended("stopped", "Cancelled");
    assert_eq!(attempts(&stopped), ["1 First Cancelled Cancelled"], "{stopped:#}");
    assert_eq!(stopped["status"]["tools"], 1, "{stopped:#}");

    place.ground.run_file("late", "a", prompt, ", activeDeadlineSeconds: 5");
    let late = place.ended("late", "Failed");
    assert_eq!(late["status"]["reason"], "Deadline", "{late:#}");
    assert_eq!(place.ground.chanop(&["wait", "run/late"]).code, 124);
    assert!(!place.ground.of_workspace("a", "done").exists());
    place.ground.until("nothing is left", |ground| ground.containers().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn a_rate_limit_before_any_tool_use_is_waited_for() {
    let mut place = Place::new().await;
    // The CLI asks twice.
    place.ground.run_file("limited", "a", "[[mock:errn:2:429]]", "");
    let limited = place.ended("limited", "Succeeded");
    assert_eq!(
        attempts(&limited),
        ["1 First Failed RateLimited", "2 Retry Succeeded Succeeded"],
        "{limited:#}"
    );
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the CLI and its image: make test-agent"]
async fn an_operator_killed_in_the_middle_of_a_tool_use_is_followed_by_one_that_loses_no_turn() {
    let mut place = Place::new().await;
    let prompt = "[[mock:bash:touch here; sleep 4; echo paid >>bank]]";
    place.ground.run_file("adopted", "a", prompt, "");
    place.until_here();
    place.ground.kill();
    place.ground.start();
    let adopted = place.ended("adopted", "Succeeded");
    assert_eq!(attempts(&adopted), ["1 First Succeeded Succeeded"], "{adopted:#}");
    let status = &adopted["status"];
    assert_eq!((&status["turns"], &status["tools"]), (&2.into(), &1.into()), "{status:#}");
    let bank = std::fs::read_to_string(place.ground.of_workspace("a", "bank")).unwrap();
    assert_eq!(bank, "paid\n");
    let said = place.ground.chanop(&["logs", "run/adopted", "--format", "raw"]).well();
    let of = |word: &str| said.matches(word).count();
    assert_eq!((of("\"type\":\"result\""), of("\"type\":\"tool_use\"")), (1, 1), "{said}");
}
