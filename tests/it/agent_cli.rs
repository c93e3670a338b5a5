//! Our command lines and environments against the agent's real CLI, on this host and without containers.
//!
//! The pure tests say what we write; these say that the CLI takes it as it was meant. `CHANOP_TEST_CLI` names the CLI, and
//! `make test-agent` sets it; elsewhere they are ignored.

mod api;
mod bed;
mod hostile;

use chanop::claude::command::{Bounds, ClaudeCmdBuilder, PROMPT_ARGUMENT_MAX, Session};
use chanop::claude::credentials::Credential;
use chanop::claude::mcp;
use uuid::Uuid;

use bed::{Bed, KEY};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn a_session_goes_on_is_copied_and_is_compacted_under_the_ids_that_were_given() {
    let bed = Bed::new("").await;
    let [first, copy] = [Uuid::from_u128(0x4000_8000 << 64), Uuid::from_u128(7)];
    let asked = |session, prompt| bed.batch(session, prompt, Bounds::default());
    let told = asked(Session::Fresh(Some(first)), "one").await;
    assert_eq!(told.session(), first.to_string());
    let again = asked(Session::Fresh(Some(first)), "one").await;
    assert_eq!((again.code, again.events.len()), (1, 0), "an ID is good once: {}", again.stderr);

    let told = asked(Session::Resume(first), "two").await;
    assert_eq!(told.session(), first.to_string());
    assert!(bed.api.newest().contains("one"), "what was said before is known");
    let told = asked(Session::Fork { of: first, id: Some(copy) }, "three").await;
    assert_eq!(told.session(), copy.to_string());
    let told = asked(Session::Fork { of: first, id: None }, "four").await;
    assert!(![first, copy].map(|id| id.to_string()).contains(&told.session()));

    let command =
        ClaudeCmdBuilder::new(&bed.effective).credential(bed.key()).compact(copy).unwrap();
    let told = bed.run(&command).await;
    assert_eq!((told.code, told.session()), (0, copy.to_string()));
    assert!(told.has("compact_boundary"), "{:?}", told.events);

    // A command of the CLI's is one by standard input too.
    asked(Session::Resume(copy), "five").await;
    let builder = ClaudeCmdBuilder::new(&bed.effective).credential(bed.key()).prompt_by_stdin();
    let bounds = Bounds::default();
    let told = bed.run(&builder.batch(Session::Resume(copy), "/compact", bounds).unwrap()).await;
    assert!(told.code == 0 && told.has("compact_boundary"), "{:?}", told.events);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn a_prompt_arrives_whatever_it_looks_like() {
    let bed = Bed::new("systemPrompt: --SYSTEM-ONE, args: [--tools, Bash, Read]").await;
    let long = "word ".repeat(PROMPT_ARGUMENT_MAX / 4);
    let as_may_be = ClaudeCmdBuilder::new(&bed.effective).credential(bed.key());
    let unseen = as_may_be.clone().prompt_by_stdin();
    let prompts = ["mcp", "--help", "-p", "--", "it's \"$HOME\" \\ ünï\n\u{1b}[31m end", &long];
    for prompt in prompts {
        for builder in [&as_may_be, &unseen] {
            let command = builder.batch(Session::Fresh(None), prompt, Bounds::default()).unwrap();
            let told = bed.run(&command).await;
            assert_eq!(told.code, 0, "{prompt}: {}", told.stderr);
            let said: Vec<usize> = bed.api.said().iter().map(String::len).collect();
            let shown: String = prompt.chars().take(40).collect();
            assert!(
                bed.api.said().iter().any(|text| text.trim_end() == prompt.trim_end()),
                "{shown}: {said:?}"
            );
            assert!(bed.api.newest().contains("--SYSTEM-ONE"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn a_bound_ends_a_run_and_a_system_prompt_is_the_newest() {
    let bed = Bed::new("systemPrompt: SYSTEM-ONE").await;
    let id = Uuid::from_u128(9);
    let told = bed.batch(Session::Fresh(Some(id)), "x", Bounds::default()).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    let builder =
        ClaudeCmdBuilder::new(&bed.effective).credential(bed.key()).run_system_prompt("SYSTEM-TWO");
    let bounds = Bounds { max_turns: 1, max_budget_usd: 5.0 };
    let told =
        bed.run(&builder.batch(Session::Resume(id), "[[mock:bash:true]]", bounds).unwrap()).await;
    assert_eq!(told.result()["subtype"], "error_max_turns", "{}", told.stderr);
    assert!(bed.api.newest().contains("SYSTEM-ONE\\n\\nSYSTEM-TWO"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn no_command_sees_what_the_agent_signs_in_with() {
    let bed = Bed::new("").await;
    let token = "sk-ant-oat01-of-a-test";
    let with_token = bed.env([("CLAUDE_CODE_OAUTH_TOKEN", token)]);
    for (credential, env, sent) in
        [(bed.key(), bed.env([]), KEY), (Credential::OauthToken, with_token, token)]
    {
        let builder = ClaudeCmdBuilder::new(&bed.effective).credential(credential);
        let command =
            builder.batch(Session::Fresh(None), "[[mock:env]]", Bounds::default()).unwrap();
        let told = bed.run_with(&command, &env).await;
        let seen = told.tool_results();
        assert!(seen.contains("DISABLE_TELEMETRY=1"), "{seen}: {}", told.stderr);
        assert!(!seen.contains(sent), "{seen}");
        assert!(bed.api.signed_in_with(sent), "{credential:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn an_mcp_server_gets_its_secret_as_it_is_and_who_asked() {
    let bed = Bed::new(
        "mcpServers: {s: {command: sh, args: [-c, 'printf \"%s|%s|%s\" \"$T\" \"$P\" \"$CHANOP_AUTHOR\" >\"$0\"', '${PROOF}'], env: {P: '${CHANOP_RUN}', T: {valueFrom: {secretKeyRef: {name: s, key: k}}}}}}",
    )
    .await;
    let value = "a\"b\\c${HOME}${X:-y}$$";
    let servers = &bed.effective.agent.mcp_servers;
    let values = mcp::secrets(servers)
        .into_iter()
        .map(|key| (key, mcp::SecretBytes::new(value.as_bytes().to_vec())));
    let file = bed.path("mcp.json");
    let rendered = mcp::render(servers, &values.collect()).unwrap();
    std::fs::write(&file, rendered.expose()).unwrap();
    let proof = bed.path("proof");
    let mut env = bed.env([("PROOF", proof.as_str())]);
    env.extend(chanop::claude::environment::of_run("fix", "Ann ${HOME}"));
    let builder = ClaudeCmdBuilder::new(&bed.effective).credential(bed.key()).mcp_config(&file);
    let command = builder.batch(Session::Fresh(None), "x", Bounds::default()).unwrap();
    let told = bed.run_with(&command, &env).await;
    assert_eq!(told.code, 0, "{}", told.stderr);
    let proof = std::fs::read_to_string(proof).unwrap();
    assert_eq!(proof, format!("{value}|fix|Ann ${{HOME}}"));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs the agent's CLI: make test-agent"]
async fn nothing_makes_a_run_outlive_its_answer() {
    let bed = Bed::new("args: [--disallowedTools, WebFetch]").await;
    let told = bed.batch(Session::Fresh(None), "x", Bounds::default()).await;
    let tools = told.init()["tools"].to_string();
    assert!(tools.contains("\"Bash\""), "{tools}");
    for gone in ["Monitor", "ScheduleWakeup", "CronCreate", "Workflow", "WebFetch"] {
        assert!(!tools.contains(&format!("\"{gone}\"")), "{gone} in {tools}");
    }
    assert!(bed.api.only_messages(), "nothing but the API is asked");
}
