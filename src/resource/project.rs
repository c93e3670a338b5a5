//! `<workspace>/.chanop/project.yaml`: what a project says about its own agent, where the channel lets it.
//!
//! The agent can write this file. So it names no secret, no mount and no image, only what an agent could do in its container
//! anyway; what it says of resources counts where that is less ([`crate::claude::project`]).

use std::collections::BTreeMap;

use super::channel::{McpEnvValue, McpServerSpec, ResourcesSpec, argument_length};
use super::decode::{Decode as _, Decoder, Words, fields};
use super::node::{Node, Value};
use super::object::secrets;
use super::validate::{Code, Violation};

/// Where it lies, in the workspace.
pub const PROJECT_FILE: &str = ".chanop/project.yaml";

/// The largest project file: a system prompt of the maximum length of an argument, and some servers.
pub const PROJECT_BYTES_MAX: usize = 256 * 1024;

/// A project file as it was written.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ProjectFile {
    /// Instead of the channel's `agent.model`.
    pub model: Option<String>,
    /// Instead of the channel's `agent.systemPrompt`.
    pub system_prompt: Option<String>,
    /// Merged with the channel's by name.
    pub mcp_servers: Option<BTreeMap<String, McpServerSpec>>,
    /// Limits that are tighter than the channel's.
    pub resources: Option<ResourcesSpec>,
}
fields!(ProjectFile {
    model = "model",
    system_prompt = "systemPrompt",
    mcp_servers = "mcpServers",
    resources = "resources",
} check ProjectFile::check);

impl ProjectFile {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        argument_length(node, "systemPrompt", decoder);
        for (name, server) in self.mcp_servers.iter().flatten() {
            for (variable, value) in server.env.iter().flatten() {
                if matches!(value, McpEnvValue::From(_)) {
                    refuse_secret(node, name, variable, decoder);
                }
            }
        }
    }
}

fn refuse_secret(node: &Node, server: &str, variable: &str, decoder: &mut Decoder) {
    let env = node.get("mcpServers").and_then(|all| all.get(server)).and_then(|it| it.get("env"));
    let place = env.and_then(|env| env.get(variable)).map_or(node.place, |value| value.place);
    let words = Words::new("a project file may not name a secret")
        .label("not here")
        .help("the agent can write this file: put the server into the channel's agent.mcpServers");
    decoder.within("mcpServers", |decoder| {
        decoder.within(server, |decoder| {
            decoder.within("env", |decoder| {
                decoder.within(variable, |decoder| decoder.report(Code::NotHere, place, words));
            });
        });
    });
}

/// Judges the document of `file`; one that says nothing changes nothing. Without a value there is at least one error.
pub fn decode_project(file: &str, node: &Node) -> (Option<ProjectFile>, Vec<Violation>) {
    let mut decoder = Decoder::new(file);
    if node.value == Value::Null {
        return (Some(ProjectFile::default()), Vec::new());
    }
    secrets(node, &mut decoder);
    let project = ProjectFile::decode(node, &mut decoder);
    let failed = decoder.failed();
    (project.filter(|_| !failed), decoder.finish().into_vec(file))
}
