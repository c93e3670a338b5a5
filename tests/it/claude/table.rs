//! What each recorded run came to, as its files were read by a person.

use chanop::claude::outcome::{Compactions, CostBasis, OutcomeClass, RunOutcome};

use super::{cases, outcome};

/// Case, class, turns, tool uses by name, dollars and tokens (in, out) of this run, how the session's ID begins.
type Row =
    (&'static str, &'static str, u64, &'static str, Option<f64>, Option<(u64, u64)>, &'static str);

/// Read off the transcripts and command lines, not off the parser.
#[rustfmt::skip]
const TABLE: &[Row] = &[
    ("api_retry_after_hang_sigint", "Aborted", 2, "", Some(0.0), Some((0, 0)), "e28dc6bb"),
    ("append_system_prompt", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "82d86a34"),
    ("betas", "BadInvocation", 0, "", None, None, ""),
    ("bg_task", "Succeeded", 3, "Bash:1", Some(0.002_94), Some((360, 75)), "b015c40a"),
    ("bg_task_disabled", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "17c399b7"),
    ("bg_task_endless_ceiling5s", "Succeeded", 3, "Bash:1", Some(0.002_94), Some((360, 75)), "6259a4b6"),
    ("big_read_image", "Succeeded", 2, "Read:1", Some(0.001_96), Some((240, 50)), "8d74a881"),
    ("big_tool_output", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "fd606d20"),
    ("both_key_and_oauth", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "8055b31b"),
    ("compact_empty", "Succeeded", 0, "", Some(0.0), Some((0, 0)), "0edb37f2"),
    ("compact_resume", "Succeeded", 0, "", Some(0.001_96), Some((240, 50)), "94b0d1f5"),
    ("continue", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "94b0d1f5"),
    ("empty_prompt", "BadInvocation", 0, "", None, None, ""),
    ("err_400_other", "ApiError", 1, "", Some(0.0), Some((0, 0)), "989910c5"),
    ("err_401", "AuthFailed", 1, "", Some(0.0), Some((0, 0)), "a0fc75b4"),
    ("err_404_model", "ModelNotFound", 1, "", Some(0.0), Some((0, 0)), "24975de1"),
    ("err_429_once", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "2bd68a8d"),
    ("err_429_retries0", "RateLimited", 1, "", Some(0.0), Some((0, 0)), "0ce9098b"),
    ("err_500_retries2", "ApiError", 1, "", Some(0.0), Some((0, 0)), "e57eff21"),
    ("err_529_retries2", "Overloaded", 1, "", Some(0.0), Some((0, 0)), "63633f75"),
    ("err_529_sandbox_env", "Overloaded", 1, "", Some(0.0), Some((0, 0)), "882ee71b"),
    ("err_billing", "Billing", 1, "", Some(0.0), Some((0, 0)), "79504446"),
    ("err_connection_refused", "Unreachable", 1, "", Some(0.0), Some((0, 0)), "6553d9a9"),
    ("err_midstream_overloaded", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "309c54da"),
    ("err_prompt_too_long", "PromptTooLong", 1, "", Some(0.0), Some((0, 0)), "976ee905"),
    ("fork_of_fork_noop", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "f87ff44c"),
    ("hooks_events", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "fa2b4754"),
    ("json_err_toolong_output_json", "PromptTooLong", 1, "", Some(0.0), Some((0, 0)), "7c6c308d"),
    ("max_budget", "Budget", 52, "Bash:52", Some(0.050_96), Some((6240, 1300)), "0f360b44"),
    ("max_budget_bad", "BadInvocation", 0, "", None, None, ""),
    ("max_turns", "MaxTurns", 3, "Bash:2", Some(0.001_96), Some((240, 50)), "4e02a320"),
    ("max_turns_0", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "40ea4f5a"),
    ("mcp_config_bad_json", "BadInvocation", 0, "", None, None, ""),
    ("mcp_config_file", "Succeeded", 2, "mcp__probe__ping:1", Some(0.001_96), Some((240, 50)), "6334544d"),
    ("mcp_config_http_down", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "fa41f78b"),
    ("mcp_config_server_fails", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "0c8def42"),
    ("model", "Succeeded", 1, "", Some(0.000_735), Some((120, 25)), "034825fc"),
    ("model_alias_haiku", "Succeeded", 1, "", Some(0.000_024_5), Some((120, 25)), "e185b7d6"),
    ("no_session_persistence", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "9039e2c2"),
    ("oauth_ratelimit_allowed", "Succeeded", 1, "", Some(0.000_49), Some((120, 25)), "3e76d314"),
    ("oauth_ratelimit_rejected", "RateLimited", 1, "", Some(0.0), Some((0, 0)), "53b8a50d"),
    ("oauth_ratelimit_warning", "Succeeded", 1, "", Some(0.000_49), Some((120, 25)), "4108b173"),
    ("output_text", "NoResult", 0, "", None, None, ""),
    ("perm_mode_bad", "BadInvocation", 0, "", None, None, ""),
    ("project_settings_bare", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "85221597"),
    ("project_settings_default", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "65bad1ff"),
    ("project_settings_restricted", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "4d95e9f9"),
    ("project_settings_user_only", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "48671ab7"),
    ("prompt_argv_131000", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "053aefb6"),
    ("prompt_starts_with_dash", "BadInvocation", 0, "", None, None, ""),
    ("prompt_stdin", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "029d332f"),
    ("prompt_stdin_3M", "PromptTooLong", 1, "", Some(0.0), Some((0, 0)), "91e4f698"),
    ("prompt_stdin_leading_dash", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "66db064a"),
    ("read_only_cwd_missing_home", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "5ae0b661"),
    ("resume", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "94b0d1f5"),
    ("resume_after_kill", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "b1086b80"),
    ("resume_by_title_none", "SessionNotFound", 0, "", Some(0.0), Some((0, 0)), ""),
    ("resume_fork", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "60687299"),
    ("resume_other_cwd", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "94b0d1f5"),
    ("resume_unknown", "SessionNotFound", 0, "", Some(0.0), Some((0, 0)), ""),
    ("root_allow_dangerously", "BadInvocation", 0, "", None, None, ""),
    ("root_bypass_bubblewrap_env", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "876495bc"),
    ("session_id_bad", "BadInvocation", 0, "", None, None, ""),
    ("session_id_given", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "aaaaaaaa"),
    ("session_id_with_resume", "BadInvocation", 0, "", None, None, ""),
    ("sighup_during_tool", "Killed", 1, "Bash:1", None, None, "865529fc"),
    ("sigint_during_hang", "NoResult", 0, "", None, None, "ddca6668"),
    ("sigint_during_stream", "Aborted", 2, "", Some(0.000_82), Some((120, 17)), "be18411d"),
    ("sigint_during_tool", "Aborted", 3, "Bash:1", Some(0.000_98), Some((120, 25)), "022211e5"),
    ("sigkill_during_tool", "Killed", 1, "Bash:1", None, None, "fffe3aa8"),
    ("sigterm_during_hang", "Killed", 0, "", None, None, "04dd830f"),
    ("sigterm_during_stream", "Killed", 0, "", None, None, "82213b50"),
    ("sigterm_during_tool", "Killed", 1, "Bash:1", None, None, "f0dea08e"),
    ("sji_300k", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "b3af3211"),
    ("sji_bad_json", "BadInvocation", 0, "", None, None, ""),
    ("sji_initialize", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "c9dc9c3b"),
    ("sji_malformed_then_ok", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "dd388314"),
    ("sji_session_end_early", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "a0db680c"),
    ("sji_two", "Succeeded", 2, "", Some(0.001_96), Some((240, 50)), "35798392"),
    ("slash_clear", "Succeeded", 0, "", Some(0.0), Some((0, 0)), "ed4086b0"),
    ("slash_context", "Succeeded", 0, "", Some(0.0), Some((0, 0)), "dc12bda7"),
    ("slow_tool_12s", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "7e893922"),
    ("stdin_left_open_silent", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "9a171ead"),
    ("stop_refusal", "Refused", 2, "", Some(0.001_96), Some((240, 50)), "545cfdfe"),
    ("sysprompt_first", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "53a9a1ba"),
    ("sysprompt_model_on_resume", "Succeeded", 1, "", Some(0.000_245), Some((120, 25)), "fa0f7016"),
    ("sysprompt_resume_other_text", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "53a9a1ba"),
    ("sysprompt_resume_without", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "53a9a1ba"),
    ("text", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "9930b0c9"),
    ("text_no_telemetry_flags", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "98fc6edd"),
    ("text_partial", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "4aadb084"),
    ("thinking", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "232396b6"),
    ("tool_bad_input", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "d9db017b"),
    ("tool_bash_perm_mode_bypass_root", "BadInvocation", 0, "", None, None, ""),
    ("tool_bash_permission_denied", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "03256364"),
    ("tool_bash_skip_perm_root_is_sandbox", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "84833c70"),
    ("tool_env", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "f437d6f7"),
    ("tool_partial", "Succeeded", 2, "Bash:1", Some(0.001_96), Some((240, 50)), "243e1faf"),
    ("tool_task_subagent", "Succeeded", 2, "Agent:1 Bash:1", Some(0.003_92), Some((480, 100)), "4442b719"),
    ("tool_two_parallel", "Succeeded", 3, "Bash:2", Some(0.001_96), Some((240, 50)), "eef90a68"),
    ("tool_unknown", "Succeeded", 2, "NoSuchTool:1", Some(0.001_96), Some((240, 50)), "82883c2f"),
    ("unicode", "Succeeded", 1, "", Some(0.000_98), Some((120, 25)), "3c4e9673"),
    ("unknown_option", "BadInvocation", 0, "", None, None, ""),
    ("usage_big", "Succeeded", 1, "", Some(0.68), Some((150_000, 4000)), "25fea767"),
    ("variadic_swallows_prompt", "BadInvocation", 0, "", None, None, ""),
];

fn tools(outcome: &RunOutcome) -> String {
    let by_name = &outcome.tool_uses.by_name;
    by_name.iter().map(|(name, count)| format!("{name}:{count}")).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_recorded_run_comes_to_what_a_person_read() {
    let mut wrong = Vec::new();
    for (case, class, turns, uses, dollars, tokens, session) in TABLE {
        let outcome = outcome(case);
        let said = (
            outcome.class.name(),
            outcome.turns,
            tools(&outcome),
            outcome.tokens.map(|tokens| (tokens.input, tokens.output)),
        );
        if said != (*class, *turns, (*uses).to_owned(), *tokens) {
            wrong.push(format!("{case}: {said:?}"));
        }
        let near = match (outcome.cost.dollars, dollars) {
            (Some(said), Some(read)) => (said - read).abs() < 1e-9,
            (said, read) => said.is_none() && read.is_none(),
        };
        let basis = if dollars.is_some() { CostBasis::Exact } else { CostBasis::Unknown };
        if !near || outcome.cost.basis != basis {
            wrong.push(format!("{case}: {:?}", outcome.cost));
        }
        let found = outcome.session_id.as_deref().unwrap_or_default();
        if !found.starts_with(session) || found.is_empty() != session.is_empty() {
            wrong.push(format!("{case}: session {found}"));
        }
        if outcome.made_tool_use == uses.is_empty() {
            wrong.push(format!("{case}: made a tool use: {}", outcome.made_tool_use));
        }
        if !outcome.odd_fields.is_empty() {
            wrong.push(format!("{case}: odd: {:?}", outcome.odd_fields));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn every_recorded_run_has_a_row() {
    let rows: Vec<&str> = TABLE.iter().map(|row| row.0).collect();
    assert_eq!(cases(), rows);
}

#[test]
fn a_line_that_is_no_event_stands_in_one_recording_alone() {
    for case in cases() {
        let lost = outcome(&case).lines.lost;
        assert_eq!(lost, u64::from(case == "output_text"), "{case}");
    }
    let lines = outcome("output_text").lines;
    assert_eq!((lines.events, lines.first.as_deref()), (0, Some("Hello from the mock API.")));
}

#[test]
fn the_cli_s_own_tries_are_counted() {
    let counts = [
        ("text", 0),
        ("err_429_once", 1),
        ("err_connection_refused", 1),
        ("err_500_retries2", 2),
        ("err_529_retries2", 2),
        ("err_529_sandbox_env", 4),
        ("api_retry_after_hang_sigint", 1),
    ];
    for (case, count) in counts {
        assert_eq!(outcome(case).retries.total, count, "{case}");
    }
    let last = outcome("err_529_sandbox_env").retries.last.unwrap();
    assert_eq!((last.attempt, last.max_retries, last.delay_ms), (4, 4, 4988));
    assert_eq!((last.status, last.error.as_deref()), (Some(529), Some("overloaded")));
    assert_eq!(outcome("err_connection_refused").retries.last.unwrap().status, None);
}

#[test]
fn classes_carry_what_the_caller_needs() {
    let resets_at = Some("2026-11-22T14:48:30Z".parse().unwrap());
    assert_eq!(outcome("oauth_ratelimit_rejected").class, OutcomeClass::RateLimited { resets_at });
    let unknown = OutcomeClass::RateLimited { resets_at: None };
    assert_eq!(outcome("err_429_retries0").class, unknown);
    assert_eq!(outcome("err_400_other").class, OutcomeClass::ApiError { status: Some(400) });
    assert_eq!(outcome("err_500_retries2").class, OutcomeClass::ApiError { status: Some(500) });
    for (case, signal) in
        [("sighup_during_tool", 1), ("sigkill_during_tool", 9), ("sigterm_during_hang", 15)]
    {
        assert_eq!(outcome(case).class, OutcomeClass::Killed { signal }, "{case}");
    }
    for (case, line) in [
        ("unknown_option", "error: unknown option '--no-such-option'"),
        ("session_id_bad", "Error: Invalid session ID. Must be a valid UUID."),
        ("mcp_config_bad_json", "Error: Invalid MCP configuration:"),
    ] {
        let message = line.to_owned();
        assert_eq!(outcome(case).class, OutcomeClass::BadInvocation { message }, "{case}");
    }
}

#[test]
fn a_failure_says_why_on_one_line_and_a_success_says_nothing() {
    for (case, message) in [
        ("text", None),
        // Warnings on standard error are no reason.
        ("stdin_left_open_silent", None),
        ("project_settings_default", None),
        ("err_billing", Some("Credit balance is too low")),
        ("err_401", Some("Invalid API key \u{b7} Fix external API key")),
        ("max_turns", Some("Reached maximum number of turns (2)")),
        ("max_budget", Some("Reached maximum budget ($0.05)")),
        (
            "resume_unknown",
            Some("No conversation found with session ID: 11111111-2222-4333-8444-555555555555"),
        ),
    ] {
        assert_eq!(outcome(case).message.as_deref(), message, "{case}");
    }
}

#[test]
fn models_limits_denials_and_compactions_are_told() {
    let models = |case: &str| outcome(case).models.into_iter().collect::<Vec<_>>();
    assert_eq!(models("text"), ["claude-opus-5-5"]);
    assert_eq!(models("sysprompt_model_on_resume"), ["claude-haiku-4-5"]);
    assert_eq!(models("model"), ["claude-sonnet-4-5"]);
    assert_eq!(models("err_404_model"), ["no-such-model"], "nobody answered: who was asked");
    assert_eq!(models("slash_context"), ["claude-opus-5-5"], "the CLI itself is no model");

    let limit = outcome("oauth_ratelimit_warning").rate_limit.unwrap();
    assert_eq!(
        (limit.status.as_str(), limit.window.as_deref()),
        ("allowed_warning", Some("five_hour"))
    );
    assert_eq!((limit.utilization, limit.is_rejected()), (Some(0.92), false));

    let denials = outcome("tool_bash_permission_denied").permission_denials;
    assert_eq!((denials.total, denials.first.len()), (1, 1), "said twice, and counted once");
    assert_eq!(denials.first[0].tool_name, "Bash");

    assert_eq!(outcome("compact_resume").compactions, Compactions { succeeded: 1, failed: 0 });
    assert_eq!(outcome("prompt_stdin_3M").compactions, Compactions { succeeded: 0, failed: 1 });

    let failed: Vec<String> =
        outcome("mcp_config_server_fails").mcp_servers_failed.into_iter().collect();
    assert_eq!(failed.len(), 1, "{failed:?}");
    assert_eq!(outcome("mcp_config_file").mcp_servers_failed.len(), 0);
    assert_eq!(outcome("text").cli_version.as_deref(), Some("2.1.330"));
}

#[test]
fn tool_uses_have_their_results() {
    let uses = outcome("tool_two_parallel").tool_uses;
    assert_eq!((uses.total, uses.failed), (2, 1));
    let seen: Vec<_> = uses
        .first
        .iter()
        .map(|used| (used.input.as_str(), used.result.as_deref(), used.is_error))
        .collect();
    assert_eq!(
        seen,
        [
            (r#"{"command":"echo a","description":"mock"}"#, Some("a"), false),
            (r#"{"command":"false","description":"mock"}"#, Some("Exit code 1"), true),
        ]
    );
    let uses = outcome("tool_task_subagent").tool_uses.first;
    assert_eq!(uses[0].parent, None);
    assert_eq!(uses[1].parent.as_deref(), Some(uses[0].id.as_str()), "the subagent's");
    let image = outcome("big_read_image").tool_uses.first;
    assert_eq!(image[0].result.as_deref(), Some("[image]"));
    let long = outcome("big_tool_output").tool_uses.first;
    assert!(long[0].result.as_ref().unwrap().len() <= 2048);
}

#[test]
fn an_outcome_survives_its_json() {
    for case in cases() {
        let outcome = outcome(&case);
        let json = serde_json::to_string(&outcome).unwrap();
        assert_eq!(serde_json::from_str::<RunOutcome>(&json).unwrap(), outcome, "{case}");
    }
}
