//! The command line of the agent: an argv, never a string that a shell would have to take apart again.
//!
//! Ours comes after the channel's own `agent.args`, since of two equal options the CLI takes the last. The first of ours
//! is one that the run fails or asks without, in case an unknown option takes it for its value. Values are joined to their
//! options (`--option=value`), so that none of them can be taken for an option and no list swallows what follows; a prompt
//! stands behind `--`, where even `mcp` or `--help` is only a prompt.

use uuid::Uuid;

use super::credentials::Credential;
use crate::resource::effective::{Agent, Effective, RunDefaults, WorkspaceSettings};

/// A prompt longer than this goes by standard input. The kernel refuses one argument of 128 KiB (131,071 bytes pass), and
/// grants 128 KiB for all of arguments and environment whatever the stack's limit; besides, arguments can be read in
/// `docker inspect` and in every process list of the host. A quarter of it is more than people type.
pub const PROMPT_ARGUMENT_MAX: usize = 32 * 1024;

/// What the CLI reads from standard input: 10 MiB pass, and one byte more ends it with exit code 1. (It gives up at some
/// 3 MB already, with "Prompt is too long", which depends on the model and is its own affair.)
pub const PROMPT_MAX: usize = 10 * 1024 * 1024;

/// One argument has at most so many bytes; the kernel counts a NUL besides.
pub const ARGUMENT_MAX: usize = 128 * 1024 - 1;

/// All arguments together. A new program gets 2 MiB for arguments and environment where nobody changed the stack's limit;
/// secrets may take half of that, and what is left is for the plain environment.
pub const ARGUMENTS_MAX: usize = 512 * 1024;

/// Tools that make a batch process outlive its answer and then answer again, also with background tasks switched off: a
/// `Monitor` was seen to hold it for as long as it watches.
const NOT_IN_BATCH: &str = "Monitor,ScheduleWakeup";

/// The mode in which the CLI asks nothing; refused to root unless [`super::environment`] says it is in a sandbox.
pub const BYPASS: &str = "bypassPermissions";

/// Which conversation it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Session {
    /// A new one. With an ID that was never used in this home: the CLI refuses it a second time, so each attempt needs
    /// another.
    Fresh(Option<Uuid>),
    /// Goes on in this one. Nothing keeps two processes from doing so at once.
    Resume(Uuid),
    /// Goes on in a copy.
    Fork {
        /// What is copied.
        of: Uuid,
        /// The copy's ID; never used before.
        id: Option<Uuid>,
    },
}

/// Bounds of one run; zero is none.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bounds {
    /// Turns. The CLI ignores 0, and reports one more than it allowed.
    pub max_turns: u32,
    /// Dollars. The CLI looks after each call, so that one call more may be paid.
    pub max_budget_usd: f64,
}

impl Bounds {
    /// The channel's, but for what the run itself says.
    pub fn of(channel: &RunDefaults, max_turns: Option<u32>, max_budget_usd: Option<f64>) -> Self {
        Self {
            max_turns: max_turns.unwrap_or(channel.max_turns),
            max_budget_usd: max_budget_usd.unwrap_or(channel.max_budget_usd),
        }
    }
}

/// A command and how it is told what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchCommand {
    /// Program and arguments.
    pub argv: Vec<String>,
    /// Where the prompt is.
    pub prompt: PromptDelivery,
}

/// How the prompt reaches the CLI. With both at once it would answer to both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PromptDelivery {
    /// It is the last argument. Standard input must be closed or empty: on an open, silent one the CLI waits three seconds.
    Argument,
    /// These bytes on standard input, and then its end.
    Stdin(Vec<u8>),
}

/// Why there is no command.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// The CLI refuses a prompt of nothing but white space.
    #[error("the prompt is empty")]
    EmptyPrompt,
    /// The CLI would not read it.
    #[error(
        "the prompt has {0} bytes; the agent reads at most {PROMPT_MAX}: put it into a file and name that"
    )]
    PromptTooLong(usize),
    /// The kernel would not pass it on.
    #[error("`{option}` has {bytes} bytes; an argument has at most {ARGUMENT_MAX}")]
    ArgumentTooLong {
        /// Which one, without its value.
        option: String,
        /// With its value.
        bytes: usize,
    },
    /// Nor all of them.
    #[error("the agent's arguments have {0} bytes; together they may have {ARGUMENTS_MAX}")]
    ArgumentsTooLong(usize),
    /// A NUL ends an argument.
    #[error("`{0}` holds a NUL character")]
    Nul(String),
}

/// Builds the agent's commands for one channel. The ancestor's name.
#[derive(Debug, Clone)]
pub struct ClaudeCmdBuilder<'a> {
    agent: &'a Agent,
    workspace: &'a str,
    credential: Option<Credential<'a>>,
    mcp_config: Option<&'a str>,
    run_system_prompt: &'a str,
    prompt_by_stdin: bool,
}

impl<'a> ClaudeCmdBuilder<'a> {
    /// For a channel as it counts, its project file applied.
    pub fn new(effective: &'a Effective) -> Self {
        Self {
            agent: &effective.agent,
            workspace: &effective.workspace.path,
            credential: None,
            mcp_config: None,
            run_system_prompt: "",
            prompt_by_stdin: false,
        }
    }

    /// Signs in with this. See [`super::credentials`].
    #[must_use]
    pub fn credential(self, credential: Credential<'a>) -> Self {
        Self { credential: Some(credential), ..self }
    }

    /// Reads the MCP servers from this file, a path inside the container. A file that is missing ends the CLI.
    #[must_use]
    pub fn mcp_config(self, path: &'a str) -> Self {
        Self { mcp_config: Some(path), ..self }
    }

    /// A run's own system prompt, behind the channel's.
    #[must_use]
    pub fn run_system_prompt(self, text: &'a str) -> Self {
        Self { run_system_prompt: text, ..self }
    }

    /// A prompt goes by standard input, however short it is: as an argument all who may use the engine could read it.
    #[must_use]
    pub fn prompt_by_stdin(self) -> Self {
        Self { prompt_by_stdin: true, ..self }
    }

    /// The agent once, answering in lines of JSON.
    pub fn batch(
        &self,
        session: Session,
        prompt: &str,
        bounds: Bounds,
    ) -> Result<BatchCommand, CommandError> {
        if prompt.trim().is_empty() {
            return Err(CommandError::EmptyPrompt);
        }
        if prompt.len() > PROMPT_MAX {
            return Err(CommandError::PromptTooLong(prompt.len()));
        }
        let mut argv = self.batch_options(session);
        if bounds.max_turns > 0 {
            argv.push(format!("--max-turns={}", bounds.max_turns));
        }
        if bounds.max_budget_usd > 0.0 {
            argv.push(format!("--max-budget-usd={}", bounds.max_budget_usd));
        }
        // The dash would be safe behind `--` too; a wrapper that calls itself the agent may know less than the CLI.
        let fits = !self.prompt_by_stdin && prompt.len() <= PROMPT_ARGUMENT_MAX;
        let delivery = if fits && !prompt.starts_with('-') && !prompt.contains('\0') {
            argv.extend(["--".to_owned(), prompt.to_owned()]);
            PromptDelivery::Argument
        } else {
            PromptDelivery::Stdin(prompt.as_bytes().to_vec())
        };
        Ok(BatchCommand { argv: judged(argv)?, prompt: delivery })
    }

    /// Makes a session shorter that has become too long. It keeps its ID; the cost counts as a run's, the bounds do not.
    pub fn compact(&self, session: Uuid) -> Result<BatchCommand, CommandError> {
        let mut argv = self.batch_options(Session::Resume(session));
        argv.extend(["--".to_owned(), "/compact".to_owned()]);
        Ok(BatchCommand { argv: judged(argv)?, prompt: PromptDelivery::Argument })
    }

    /// The agent for a person at a terminal.
    pub fn interactive(&self, session: Session) -> Result<Vec<String>, CommandError> {
        let mut argv = self.begin();
        argv.push(self.permission_mode());
        argv.extend(self.options());
        argv.extend(session_options(session));
        judged(argv)
    }

    fn batch_options(&self, session: Session) -> Vec<String> {
        let mut argv = self.begin();
        argv.extend(["--verbose", "--print", "--output-format=stream-json"].map(str::to_owned));
        argv.push(self.permission_mode());
        argv.push(format!("--disallowedTools={NOT_IN_BATCH}"));
        argv.extend(self.options());
        argv.extend(session_options(session));
        argv
    }

    fn begin(&self) -> Vec<String> {
        let own = self.agent.args.iter().cloned();
        std::iter::once(self.agent.bin.clone()).chain(own).collect()
    }

    /// One option for every mode; `--dangerously-skip-permissions` does no more than `bypassPermissions` here does.
    fn permission_mode(&self) -> String {
        format!("--permission-mode={}", self.agent.permission_mode)
    }

    fn options(&self) -> Vec<String> {
        let mut options = self.workspace_settings();
        options.extend(self.credential.and_then(Credential::settings_option));
        if let Some(path) = self.mcp_config {
            options.push(format!("--mcp-config={path}"));
        }
        // An empty model is sent as such.
        if !self.agent.model.is_empty() {
            options.push(format!("--model={}", self.agent.model));
        }
        let prompts = [self.agent.system_prompt.as_str(), self.run_system_prompt];
        let prompts: Vec<&str> =
            prompts.into_iter().filter(|text| !text.trim().is_empty()).collect();
        if !prompts.is_empty() {
            options.push(format!("--append-system-prompt={}", prompts.join("\n\n")));
        }
        // Else the first text of a session stays, whatever is given when it goes on.
        options.push("--system-prompt-snapshot=off".to_owned());
        options
    }

    /// `Pinned` was seen to hold: of a repository that tries, the CLI reads CLAUDE.md, .claude/CLAUDE.md, .claude/rules
    /// and what these import from beneath, and heeds no hook, helper, variable, permission, server, skill, command or agent.
    /// What it loses is the CLAUDE.md of subdirectories, and CLAUDE.local.md. The user's own settings and CLAUDE.md, those in
    /// the channel's home, count in every case.
    fn workspace_settings(&self) -> Vec<String> {
        let user_only = ["--setting-sources=user".to_owned(), "--strict-mcp-config".to_owned()];
        match self.agent.workspace_settings {
            WorkspaceSettings::Full => Vec::new(),
            WorkspaceSettings::None => user_only.into(),
            WorkspaceSettings::Pinned => {
                let directory = format!("--add-dir={}", self.workspace);
                user_only.into_iter().chain([directory]).collect()
            }
        }
    }
}

fn session_options(session: Session) -> Vec<String> {
    let assigned = |id: Option<Uuid>| id.map(|id| format!("--session-id={id}"));
    match session {
        Session::Fresh(id) => assigned(id).into_iter().collect(),
        Session::Resume(id) => vec![format!("--resume={id}")],
        Session::Fork { of, id } => {
            let fork = [format!("--resume={of}"), "--fork-session".to_owned()];
            fork.into_iter().chain(assigned(id)).collect()
        }
    }
}

/// Lets through what the kernel does.
fn judged(argv: Vec<String>) -> Result<Vec<String>, CommandError> {
    let name = |argument: &str| argument.split('=').next().unwrap_or_default().replace('\0', "");
    for argument in &argv {
        if argument.contains('\0') {
            return Err(CommandError::Nul(name(argument)));
        }
        if argument.len() > ARGUMENT_MAX {
            let option = name(argument);
            return Err(CommandError::ArgumentTooLong { option, bytes: argument.len() });
        }
    }
    let all = argv.iter().map(|argument| argument.len() + 1).sum();
    if all > ARGUMENTS_MAX {
        return Err(CommandError::ArgumentsTooLong(all));
    }
    Ok(argv)
}
