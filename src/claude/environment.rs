//! The environment that keeps the CLI quiet, predictable and within its workspace.
//!
//! A channel's own `env` never undoes it: these names do not count there ([`crate::resource::channel::is_reserved`]). `HOME`,
//! time zone and proxies are in the container's environment already; they are not repeated.

use std::collections::BTreeMap;

use super::command::BYPASS;
use crate::resource::effective::{Agent, WorkspaceSettings};

/// Whom the CLI works for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manner {
    /// A run: one question, one answer, an end.
    Batch,
    /// A person at a terminal.
    Interactive,
}

/// Nothing but the API is called: no telemetry, no reports, no look-ups of names, no updates of a program that the image or
/// the operator brought.
const QUIET: [&str; 4] = [
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
];

/// The process ends with its answer. With background tasks it stays for up to ten minutes (or as long as the agent asked
/// for) and answers again; with the scheduler, until what it scheduled is due; a workflow runs behind the first answer, and
/// has a second. For a person all of them are of use. (Two tools have no such variable: see [`super::command`].)
const ONE_ANSWER: [&str; 3] = [
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
    "CLAUDE_CODE_DISABLE_CRON",
    "CLAUDE_CODE_DISABLE_WORKFLOWS",
];

/// Lets a directory that was named by `--add-dir` bring its CLAUDE.md.
const READ_CLAUDE_MD: &str = "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD";

/// Without it the CLI refuses root the mode that asks nothing. It has to be exactly `1`. It also makes the CLI try ten
/// times instead of three when the API is overloaded, so others do not get it.
const SANDBOX: &str = "IS_SANDBOX";

/// What a run is called, for the commands and MCP servers that it starts; they inherit the CLI's environment.
const RUN: &str = "CHANOP_RUN";
/// Who asked.
const AUTHOR: &str = "CHANOP_AUTHOR";

/// What the CLI is to find in its environment. `uid` is who it runs as; `None`: whoever the image says, who may be root.
pub fn variables(agent: &Agent, uid: Option<u32>, manner: Manner) -> BTreeMap<String, String> {
    let mut names: Vec<&str> = QUIET.to_vec();
    if manner == Manner::Batch {
        names.extend(ONE_ANSWER);
    }
    if agent.workspace_settings == WorkspaceSettings::Pinned {
        names.push(READ_CLAUDE_MD);
    }
    if agent.permission_mode == BYPASS && matches!(uid, None | Some(0)) {
        names.push(SANDBOX);
    }
    names.into_iter().map(|name| (name.to_owned(), "1".to_owned())).collect()
}

/// What says which run it is and who asked. An author may be any text.
pub fn of_run(run: &str, author: &str) -> BTreeMap<String, String> {
    let author = (!author.is_empty()).then(|| (AUTHOR.to_owned(), author.to_owned()));
    std::iter::once((RUN.to_owned(), run.to_owned())).chain(author).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::tests::{channel, effective};
    use crate::resource::channel::is_reserved;

    #[test]
    fn a_run_is_quiet_and_ends_with_its_answer() {
        let found = variables(&effective("").agent, Some(1000), Manner::Batch);
        assert!(found.values().all(|value| value == "1"));
        assert_eq!(
            found.keys().map(String::as_str).collect::<Vec<_>>(),
            [
                READ_CLAUDE_MD,
                "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
                "CLAUDE_CODE_DISABLE_CRON",
                "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
                "CLAUDE_CODE_DISABLE_WORKFLOWS",
                "DISABLE_AUTOUPDATER",
                "DISABLE_ERROR_REPORTING",
                "DISABLE_TELEMETRY",
            ]
        );
    }

    #[test]
    fn a_person_keeps_background_tasks() {
        let agent = effective("workspaceSettings: Full").agent;
        let found = variables(&agent, Some(1000), Manner::Interactive);
        assert_eq!(found.keys().map(String::as_str).collect::<Vec<_>>(), QUIET);
    }

    #[test]
    fn only_root_that_asks_nothing_is_called_a_sandbox() {
        for (mode, uid, expected) in [
            ("bypassPermissions", Some(0), true),
            ("bypassPermissions", None, true),
            ("bypassPermissions", Some(1), false),
            ("plan", Some(0), false),
        ] {
            let agent = effective(&format!("permissionMode: {mode}")).agent;
            let found = variables(&agent, uid, Manner::Batch);
            assert_eq!(found.contains_key(SANDBOX), expected, "{mode} {uid:?}");
        }
    }

    #[test]
    fn whatever_is_set_here_is_no_channels_to_set() {
        let agent = effective("").agent;
        let all = variables(&agent, Some(0), Manner::Batch).into_keys();
        for name in all.chain(of_run("r", "a").into_keys()) {
            assert!(is_reserved(&name), "{name}");
            let text = format!("env: [{{name: {name}, value: '0'}}, {{name: OWN, value: x}}]");
            let counts: Vec<_> = channel(&text).env.into_iter().map(|it| it.name).collect();
            assert_eq!(counts, ["OWN"]);
        }
        let own = ["ANTHROPIC_BASE_URL", "HTTPS_PROXY", "BASH_MAX_TIMEOUT_MS", "RUST_LOG"];
        assert!(own.iter().all(|name| !is_reserved(name)));
    }

    #[test]
    fn the_author_is_handed_on_as_it_is() {
        let found = of_run("fix", "Ann \"A\" ${HOME}\n");
        assert_eq!(found[AUTHOR], "Ann \"A\" ${HOME}\n");
        assert_eq!(found[RUN], "fix");
        assert_eq!(of_run("fix", "").len(), 1);
    }
}
