//! The agent's call from what lies on the host now: the project's file put over the channel, and where in the container the
//! CLI finds its key and its servers.
//!
//! For a run here, and for a person at a terminal in [`crate::wiring`]: what a channel says means the same to both.

use std::sync::Arc;

use crate::claude::command::ClaudeCmdBuilder;
use crate::claude::credentials::Credential;
use crate::claude::environment::Manner;
use crate::claude::project;
use crate::host::{self, PrepareError, SignIn};
use crate::init::layout;
use crate::resource::effective::Effective;
use crate::resource::project::{PROJECT_FILE, ProjectFile, decode_project};
use crate::specs::parse::parse_node;

/// A project's file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProjectError {
    /// It could not be read.
    #[error(transparent)]
    Host(#[from] PrepareError),
    /// What it says is wrong; with places.
    #[error("{0}")]
    Invalid(String),
}

/// The channel with what its project's file says, where the channel lets it, and what of that does not count, in sentences.
/// Blocks on the file system.
pub fn with_project(
    effective: &Arc<Effective>,
    manner: Manner,
) -> Result<(Arc<Effective>, Vec<String>), ProjectError> {
    let unchanged = || (Arc::clone(effective), Vec::new());
    if !effective.agent.project_file {
        return Ok(unchanged());
    }
    let Some(bytes) = host::project_file(&effective.workspace.path)? else {
        return Ok(unchanged());
    };
    let project = parse_project(&bytes).map_err(ProjectError::Invalid)?;
    let (mut applied, left_out) = project::apply(effective, &project);
    let mut notes = Vec::new();
    if manner == Manner::Interactive {
        applied.resources = effective.resources;
        if project.resources.is_some() {
            notes.push(format!("{PROJECT_FILE}: resources count for runs, not in the shell"));
        }
    }
    notes.extend(
        left_out.iter().map(|note| format!("{PROJECT_FILE}: {}: {}", note.field, note.message)),
    );
    Ok((Arc::new(applied), notes))
}

/// Calls the agent: `make` gets the builder that knows how the CLI signs in, and what of its servers are in the file of this
/// name.
pub fn call<T>(
    effective: &Effective,
    sign_in: Option<SignIn>,
    servers: &str,
    make: impl FnOnce(ClaudeCmdBuilder<'_>) -> T,
) -> T {
    let inside = |name: &str| format!("{}/{name}", layout::SECRETS);
    let (key, servers) = (inside(layout::API_KEY_FILE), inside(servers));
    let mut builder = ClaudeCmdBuilder::new(effective);
    match sign_in {
        Some(SignIn::ApiKey) => builder = builder.credential(Credential::ApiKey { file: &key }),
        Some(SignIn::OauthToken) => builder = builder.credential(Credential::OauthToken),
        None => {}
    }
    if !effective.agent.mcp_servers.is_empty() {
        builder = builder.mcp_config(&servers);
    }
    make(builder)
}

/// The file as text, or everything that is wrong with it in a sentence.
fn parse_project(bytes: &[u8]) -> Result<ProjectFile, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{PROJECT_FILE} is not UTF-8"))?;
    let node = parse_node(PROJECT_FILE, text).map_err(|violation| violation.to_string())?;
    let (project, violations) = decode_project(PROJECT_FILE, &node);
    project.ok_or_else(|| violations.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_project_file_that_is_wrong_is_told_with_its_places() {
        let project = parse_project(b"model: haiku\n").unwrap();
        assert_eq!(project.model.as_deref(), Some("haiku"));
        for (text, said) in [
            (&b"modle: x\nimage: {}\n"[..], "project.yaml:1:1: unknown field `modle`"),
            (b"\xff", ".chanop/project.yaml is not UTF-8"),
            (b"a: [", "project.yaml:1:"),
        ] {
            let error = parse_project(text).unwrap_err();
            assert!(error.contains(said), "{error}");
        }
        assert!(parse_project(b"modle: x\nimage: {}\n").unwrap_err().contains("; "));
    }
}
