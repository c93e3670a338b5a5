//! What the tests of this room share, and the command lines, which are read best as a whole.

use uuid::Uuid;

use super::command::{
    ARGUMENT_MAX, ARGUMENTS_MAX, BatchCommand, Bounds, ClaudeCmdBuilder, CommandError,
    PROMPT_ARGUMENT_MAX, PROMPT_MAX, PromptDelivery, Session,
};
use super::credentials::Credential;
use super::shell::to_shell;
use crate::resource::{Effective, Owner, Resource, merge};
use crate::specs::parse::parse_file;

/// A channel as it counts, whose `agent` has these fields.
pub(super) fn effective(agent: &str) -> Effective {
    channel(&format!("agent: {{{}}}", agent.trim_end()))
}

/// A channel as it counts, with these fields beside its workspace, each on a line.
pub(super) fn channel(spec: &str) -> Effective {
    let spec = spec.replace('\n', "\n  ");
    let text = format!(
        "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {{name: payments}}\nspec:\n  workspace: {{path: ~/payments}}\n  {spec}\n"
    );
    let parsed = parse_file("a.yaml", &text);
    assert!(!parsed.has_errors(), "{:?}", parsed.violations);
    let Some(Resource::Channel(channel)) = parsed.resources.into_iter().next() else {
        panic!("no channel in {text}");
    };
    let home = "/home/ann".to_owned();
    let owner = Owner { user: "ann".to_owned(), uid: 1000, gid: 1000, home };
    merge::effective(&channel, None, &owner).unwrap().effective
}

const FIRST: Uuid = Uuid::from_u128(1);
const SECOND: Uuid = Uuid::from_u128(2);

fn batch(agent: &str, session: Session, prompt: &str) -> Result<BatchCommand, CommandError> {
    ClaudeCmdBuilder::new(&effective(agent)).batch(session, prompt, Bounds::default())
}

fn line(agent: &str, session: Session, prompt: &str) -> String {
    to_shell(&batch(agent, session, prompt).unwrap().argv)
}

const START: &str = "claude --verbose --print --output-format=stream-json --permission-mode=bypassPermissions --disallowedTools=Monitor,ScheduleWakeup";
const PINNED: &str = "--setting-sources=user --strict-mcp-config --add-dir=/home/ann/payments";
const OFF: &str = "--system-prompt-snapshot=off";

#[test]
fn a_run_with_nothing_said_is_pinned_and_asks_nothing() {
    let found = batch("", Session::Fresh(Some(FIRST)), "do it").unwrap();
    assert_eq!(found.prompt, PromptDelivery::Argument);
    assert_eq!(
        to_shell(&found.argv),
        format!(
            "{START} {PINNED} {OFF} --session-id=00000000-0000-0000-0000-000000000001 -- 'do it'"
        )
    );
}

#[test]
fn everything_that_can_be_said_is_said_once_and_behind_the_channels_own() {
    let effective = effective(
        "bin: /opt/claude, model: haiku, systemPrompt: -be brief, permissionMode: plan, workspaceSettings: None, args: [--effort, low]",
    );
    let builder = ClaudeCmdBuilder::new(&effective)
        .credential(Credential::ApiKey { file: "/.chanop/secrets/api-key" })
        .mcp_config("/.chanop/secrets/mcp.json")
        .run_system_prompt("and kind");
    let bounds = Bounds { max_turns: 3, max_budget_usd: 0.25 };
    let found = builder.batch(Session::Resume(FIRST), "mcp", bounds).unwrap();
    assert_eq!(
        found.argv,
        [
            "/opt/claude",
            "--effort",
            "low",
            "--verbose",
            "--print",
            "--output-format=stream-json",
            "--permission-mode=plan",
            "--disallowedTools=Monitor,ScheduleWakeup",
            "--setting-sources=user",
            "--strict-mcp-config",
            r#"--settings={"apiKeyHelper":"cat /.chanop/secrets/api-key"}"#,
            "--mcp-config=/.chanop/secrets/mcp.json",
            "--model=haiku",
            "--append-system-prompt=-be brief\n\nand kind",
            "--system-prompt-snapshot=off",
            "--resume=00000000-0000-0000-0000-000000000001",
            "--max-turns=3",
            "--max-budget-usd=0.25",
            "--",
            "mcp",
        ]
    );
}

#[test]
fn a_repository_counts_as_much_as_the_channel_says() {
    for (settings, options) in [
        ("Pinned", format!("{PINNED} {OFF}")),
        ("None", format!("--setting-sources=user --strict-mcp-config {OFF}")),
        ("Full", OFF.to_owned()),
    ] {
        let found = line(&format!("workspaceSettings: {settings}"), Session::Fresh(None), "x");
        assert_eq!(found, format!("{START} {options} -- x"));
    }
}

#[test]
fn a_session_is_new_or_goes_on_or_is_copied() {
    let tail = |session| {
        let found = line("workspaceSettings: Full", session, "x");
        found.strip_prefix(&format!("{START} {OFF} ")).unwrap().to_owned()
    };
    let (first, second) = (FIRST.to_string(), SECOND.to_string());
    assert_eq!(tail(Session::Fresh(None)), "-- x");
    assert_eq!(tail(Session::Resume(FIRST)), format!("--resume={first} -- x"));
    let fork = |id| Session::Fork { of: FIRST, id };
    assert_eq!(tail(fork(None)), format!("--resume={first} --fork-session -- x"));
    assert_eq!(
        tail(fork(Some(SECOND))),
        format!("--resume={first} --fork-session --session-id={second} -- x")
    );
}

#[test]
fn a_prompt_that_is_long_or_strange_goes_by_standard_input() {
    let longest = "x".repeat(PROMPT_ARGUMENT_MAX);
    for prompt in ["x", "/compact", "mcp", " -x", "é\n", &longest] {
        let found = batch("", Session::Fresh(None), prompt).unwrap();
        assert_eq!(found.prompt, PromptDelivery::Argument);
        assert_eq!(found.argv[found.argv.len() - 2..], ["--", prompt]);
    }
    for prompt in ["-p", "--help", "a\0b", &format!("{longest}x")] {
        let found = batch("", Session::Fresh(None), prompt).unwrap();
        assert_eq!(found.prompt, PromptDelivery::Stdin(prompt.as_bytes().to_vec()));
        assert_eq!(found.argv.last().unwrap(), OFF);
    }
}

#[test]
fn a_prompt_that_the_cli_would_refuse_is_refused_before() {
    let empty = batch("", Session::Fresh(None), " \n\t");
    assert_eq!(empty, Err(CommandError::EmptyPrompt));
    let longest = "x".repeat(PROMPT_MAX);
    assert!(batch("", Session::Fresh(None), &longest).is_ok());
    let long = batch("", Session::Fresh(None), &format!("{longest}x"));
    assert_eq!(long, Err(CommandError::PromptTooLong(PROMPT_MAX + 1)));
}

#[test]
fn what_the_kernel_would_refuse_is_refused_before() {
    let mut effective = effective("");
    let option = "--append-system-prompt";
    effective.agent.system_prompt = "x".repeat(ARGUMENT_MAX - option.len() - 1);
    let built = |effective: &Effective| {
        ClaudeCmdBuilder::new(effective).batch(Session::Fresh(None), "x", Bounds::default())
    };
    assert!(built(&effective).is_ok());
    effective.agent.system_prompt.push('x');
    let too_long =
        CommandError::ArgumentTooLong { option: option.to_owned(), bytes: ARGUMENT_MAX + 1 };
    assert_eq!(built(&effective), Err(too_long));
    effective.agent.system_prompt.clear();
    effective.agent.model = "a\0b".to_owned();
    assert_eq!(built(&effective), Err(CommandError::Nul("--model".to_owned())));
    effective.agent.model.clear();
    effective.agent.args = vec![format!("--name={}", "x".repeat(ARGUMENT_MAX / 2)); 9];
    assert!(
        matches!(built(&effective), Err(CommandError::ArgumentsTooLong(n)) if n > ARGUMENTS_MAX)
    );
}

#[test]
fn a_prompt_that_nobody_may_read_is_no_argument_however_short() {
    let effective = effective("");
    let builder = ClaudeCmdBuilder::new(&effective).prompt_by_stdin();
    let found = builder.batch(Session::Fresh(None), "x", Bounds::default()).unwrap();
    assert_eq!(found.prompt, PromptDelivery::Stdin(b"x".to_vec()));
    assert_eq!(to_shell(&found.argv), format!("{START} {PINNED} {OFF}"));
    assert_eq!(
        builder.batch(Session::Fresh(None), " ", Bounds::default()),
        Err(CommandError::EmptyPrompt)
    );
}

#[test]
fn a_runs_own_bound_counts_before_its_channels() {
    let runs = channel("runs: {maxTurns: 5, maxBudgetUSD: 2}").runs;
    let of = |max_turns, max_budget_usd| {
        let Bounds { max_turns, max_budget_usd } = Bounds::of(&runs, max_turns, max_budget_usd);
        format!("{max_turns} {max_budget_usd}")
    };
    assert_eq!(of(None, None), "5 2");
    assert_eq!(of(Some(0), Some(0.5)), "0 0.5");
}

#[test]
fn compacting_keeps_to_the_session_and_has_no_bounds() {
    let effective = effective("");
    let found = ClaudeCmdBuilder::new(&effective).compact(FIRST).unwrap();
    assert_eq!(found.prompt, PromptDelivery::Argument);
    assert_eq!(
        to_shell(&found.argv),
        format!("{START} {PINNED} {OFF} --resume={FIRST} -- /compact")
    );
}

#[test]
fn a_person_gets_the_same_agent_without_the_machines_output() {
    let effective = effective("args: [--effort=low]");
    let builder = ClaudeCmdBuilder::new(&effective).credential(Credential::OauthToken);
    assert_eq!(
        to_shell(&builder.interactive(Session::Resume(FIRST)).unwrap()),
        format!(
            "claude --effort=low --permission-mode=bypassPermissions {PINNED} {OFF} --resume={FIRST}"
        )
    );
}

#[test]
fn a_key_files_path_is_one_word_of_the_helper() {
    let effective = effective("workspaceSettings: Full");
    let builder =
        ClaudeCmdBuilder::new(&effective).credential(Credential::ApiKey { file: "/a b/'k'" });
    let argv = builder.interactive(Session::Fresh(None)).unwrap();
    assert_eq!(argv[2], r#"--settings={"apiKeyHelper":"cat '/a b/'\\''k'\\'''"}"#);
}
