//! How the agent signs in, without the commands that it runs getting to see with what.
//!
//! The CLI passes its environment on to every command and MCP server, an `ANTHROPIC_API_KEY` too. So a key lies in a file
//! that the CLI has read by a helper (`apiKeyHelper`), anew every few minutes and after a refusal. An OAuth token cannot go
//! that way: what a helper says is sent as a key. It is the CLI itself that takes `CLAUDE_CODE_OAUTH_TOKEN` out of the
//! environment of commands and servers, seen in batch and at a terminal, so that the init may export it.
//!
//! This is against mishaps (a build that prints its environment, a package's install script), not against the agent: whoever
//! runs as its user can read the file, and the environment of the CLI's process.

use super::shell;

/// What the agent signs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Credential<'a> {
    /// A key, in this file inside the container.
    ApiKey {
        /// Absolute.
        file: &'a str,
    },
    /// A token, in [`OAUTH_VARIABLE`].
    OauthToken,
}

/// What the CLI takes an OAuth token from.
pub const OAUTH_VARIABLE: &str = "CLAUDE_CODE_OAUTH_TOKEN";

/// A file of settings that count before a user's and a project's, by which the CLI finds the key in `file` wherever it is
/// started in the container.
pub fn managed_settings(file: &str) -> String {
    helper(file).to_string()
}

/// The CLI's own interface: it hands this text to a shell.
fn helper(file: &str) -> serde_json::Value {
    serde_json::json!({ "apiKeyHelper": format!("cat {}", shell::quote(file)) })
}

impl Credential<'_> {
    /// The CLI's option for it. It stands in the argv and holds no secret.
    pub(super) fn settings_option(self) -> Option<String> {
        match self {
            Self::OauthToken => None,
            Self::ApiKey { file } => Some(format!("--settings={}", helper(file))),
        }
    }
}
