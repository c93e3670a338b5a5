//! Environment variables that a channel's `env` does not decide, because chanop does.
//!
//! Some keep the CLI quiet and its runs predictable, some say how much of a repository counts: an `env` that set them would
//! undo what other fields promise, so its value does not count. Others sign in; they are a channel's to set while it has no
//! `agent.credentials`, since with both the CLI would take the variable. Where the API is (`ANTHROPIC_BASE_URL`), which
//! proxy leads there and how long a command may run stays the channel's own business.

/// Set by chanop, or by nobody.
const RESERVED: [&str; 14] = [
    "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD",
    "CLAUDE_CODE_BUBBLEWRAP",
    "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS",
    "CLAUDE_CODE_DISABLE_CRON",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "CLAUDE_CODE_DISABLE_WORKFLOWS",
    // Has tokens looked for, and kept, in files.
    "CLAUDE_CODE_REMOTE",
    // Takes every workspace for trusted.
    "CLAUDE_CODE_SANDBOXED",
    // What --bare is.
    "CLAUDE_CODE_SIMPLE",
    // Sessions and first-start answers are looked for below $HOME.
    "CLAUDE_CONFIG_DIR",
    "DISABLE_AUTOUPDATER",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_TELEMETRY",
    "IS_SANDBOX",
];

/// Everything of chanop's own begins so.
const PREFIX: &str = "CHANOP_";

/// Variables that the CLI signs in with, all of which win over what `agent.credentials` brings, or confuse it.
const SIGN_IN: [&str; 6] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
];

/// Is `name` decided by chanop, whatever the channel's `env` says?
pub fn is_reserved(name: &str) -> bool {
    RESERVED.contains(&name) || name.starts_with(PREFIX)
}

/// Does the CLI sign in with the variable `name`?
pub fn signs_in(name: &str) -> bool {
    SIGN_IN.contains(&name)
}
