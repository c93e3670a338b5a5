//! The fields of a channel that say how the agent is called.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::arguments;
use super::container::{Patch, ValueFromSpec};
use super::rules::exactly_one;
use super::variables::is_reserved;
use crate::resource::decode::{Decode, Decoder, Words, fields, words};
use crate::resource::effective::{AgentCli, WorkspaceSettings};
use crate::resource::node::{Node, Value};
use crate::resource::text::{EnvName, SecretName};
use crate::resource::validate::Code;
use crate::resource::validate::near::nearest;

/// How the agent is called.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct AgentSpec {
    /// The program.
    #[schemars(extend("default" = "claude"))]
    pub bin: Option<String>,
    /// Where the program comes from: the image has it, or the operator's is mounted into any glibc image.
    #[schemars(extend("default" = "Image"))]
    pub cli: Option<AgentCli>,
    /// The model; empty: the CLI's default.
    #[schemars(extend("default" = ""))]
    pub model: Option<String>,
    /// Appended to the CLI's own.
    #[schemars(extend("default" = ""))]
    pub system_prompt: Option<String>,
    /// The CLI's permission mode. The container is the sandbox, so the default asks nothing; any other mode of the CLI may
    /// be named.
    #[schemars(extend("default" = "bypassPermissions"))]
    pub permission_mode: Option<String>,
    /// The secret that the agent signs in with.
    pub credentials: Option<CredentialsSpec>,
    /// MCP servers by name, merged with the class's.
    #[schemars(extend("default" = {}))]
    pub mcp_servers: Option<BTreeMap<String, McpServerSpec>>,
    /// How much of the repository's own settings counts: its CLAUDE.md and nothing else, all of it as the CLI does, or
    /// nothing.
    #[schemars(extend("default" = "Pinned"))]
    pub workspace_settings: Option<WorkspaceSettings>,
    /// May `<workspace>/.chanop/project.yaml` set model, systemPrompt, mcpServers and tighter resources?
    #[schemars(extend("default" = false))]
    pub project_file: Option<bool>,
    /// Extra arguments. A flag that chanop sets itself is refused.
    #[schemars(extend("default" = []))]
    pub args: Option<Vec<String>>,
}
fields!(AgentSpec {
    bin = "bin",
    cli = "cli",
    model = "model",
    system_prompt = "systemPrompt",
    permission_mode = "permissionMode",
    credentials = "credentials",
    mcp_servers = "mcpServers",
    workspace_settings = "workspaceSettings",
    project_file = "projectFile",
    args = "args",
} check AgentSpec::check);
words!(AgentCli { Image, Inject });
words!(WorkspaceSettings { Pinned, Full, None });

/// Modes that the CLI is known to have; a newer one may have more.
const PERMISSION_MODES: [&str; 7] =
    ["acceptEdits", "auto", "bypassPermissions", "default", "dontAsk", "manual", "plan"];

/// One argument of a process may be 128 KiB with its NUL, whatever the system; this one begins with its option.
const ARGUMENT_MAX: usize = 128 * 1024 - 1 - "--append-system-prompt=".len();

impl AgentSpec {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        arguments::check(node, decoder);
        if let (Some(mode), Some(at)) = (&self.permission_mode, node.get("permissionMode")) {
            let near = nearest(mode, PERMISSION_MODES);
            let words = if mode.is_empty() || !mode.chars().all(|c| c.is_ascii_alphanumeric()) {
                let words = Words::new("a permission mode is one word").label("not a mode");
                Some((Code::InvalidText, words))
            } else if PERMISSION_MODES.contains(&mode.as_str()) {
                None
            } else {
                let words =
                    Words::new(format!("`{mode}` is no permission mode that chanop has seen"))
                        .label("the CLI may refuse it")
                        .suggest(near)
                        .help(format!("known: {}", PERMISSION_MODES.join(", ")));
                Some((Code::Unusual, words))
            };
            if let Some((code, words)) = words {
                decoder.within("permissionMode", |decoder| decoder.report(code, at.place, words));
            }
        }
        if self.bin.as_deref() == Some("") {
            let place = node.get("bin").map_or(node.place, |bin| bin.place);
            let words = Words::new("the agent's program has no name").label("empty");
            decoder.within("bin", |decoder| decoder.report(Code::InvalidText, place, words));
        }
        argument_length(node, "systemPrompt", decoder);
    }
}

/// Reports a text of `key` that no process could be given as an argument.
pub(in crate::resource) fn argument_length(node: &Node, key: &str, decoder: &mut Decoder) {
    let Some(at) = node.get(key) else { return };
    let length = at.as_str().map_or(0, str::len);
    if length > ARGUMENT_MAX {
        let words =
            Words::new(format!("`{key}` has {length} bytes; it may have at most {ARGUMENT_MAX}"))
                .label("too long");
        decoder.within(key, |decoder| decoder.report(Code::TooLarge, at.place, words));
    }
}

/// The secret that the agent signs in with.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CredentialsSpec {
    /// A directory of the secrets directory with one file: `oauth-token` or `api-key`. Both is an error.
    pub secret: SecretName,
}
fields!(CredentialsSpec { secret = "secret" required });

/// One MCP server: a program or a URL.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct McpServerSpec {
    /// The program that speaks on its standard input and output.
    pub command: Option<String>,
    /// Its arguments.
    #[schemars(extend("default" = []))]
    pub args: Option<Vec<String>>,
    /// Its environment, by name.
    #[schemars(extend("default" = {}))]
    pub env: Option<BTreeMap<String, McpEnvValue>>,
    /// A server that is reached over HTTP.
    pub url: Option<String>,
    /// `delete` removes the class's server of this name.
    #[serde(rename = "$patch")]
    pub patch: Option<Patch>,
}
fields!(McpServerSpec {
    command = "command",
    args = "args",
    env = "env",
    url = "url",
    patch = "$patch",
} check McpServerSpec::check);

impl McpServerSpec {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        let others = ["command", "args", "env", "url"];
        if self.patch.is_some() {
            for key in others.into_iter().filter(|key| node.get(key).is_some()) {
                let place = node.entry(key).map_or(node.place, |entry| entry.place);
                let words = Words::new(format!("`{key}` does not go with `$patch: delete`"));
                decoder.report(Code::FieldConflict, place, words.label("only `$patch`"));
            }
            return;
        }
        exactly_one(node, &["command", "url"], decoder);
        if let (Some(url), Some(at)) = (&self.url, node.get("url"))
            && !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme))
        {
            let words = Words::new("an MCP server's URL starts with http:// or https://");
            decoder.within("url", |decoder| decoder.report(Code::InvalidText, at.place, words));
        }
        if let Some(Value::Map(entries)) = node.get("env").map(|env| &env.value) {
            for entry in entries.iter().filter(|entry| entry.key != "<<") {
                if is_reserved(&entry.key) {
                    let words = Words::new(format!("chanop decides `{}` itself", entry.key))
                        .label("this value is not used");
                    decoder.within("env", |d| d.report(Code::Unusual, entry.place, words));
                }
                if let Err(why) = EnvName::parse(&entry.key) {
                    decoder.within("env", |decoder| {
                        decoder.report(Code::InvalidName, entry.place, Words::new(why));
                    });
                }
            }
        }
    }
}

/// A value of an MCP server's environment: a text, or the place of a secret.
#[derive(Debug, Clone, PartialEq)]
pub enum McpEnvValue {
    /// As written.
    Plain(String),
    /// From the secrets directory.
    From(ValueFromSpec),
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
struct McpEnvFrom {
    /// Where the value comes from.
    value_from: ValueFromSpec,
}
fields!(McpEnvFrom { value_from = "valueFrom" required });

impl Decode for McpEnvValue {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if matches!(node.value, Value::Map(_)) {
            return McpEnvFrom::decode(node, decoder).map(|from| Self::From(from.value_from));
        }
        String::decode(node, decoder).map(Self::Plain)
    }
}

impl Serialize for McpEnvValue {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Plain(text) => serializer.serialize_str(text),
            Self::From(from) => McpEnvFrom { value_from: from.clone() }.serialize(serializer),
        }
    }
}

impl JsonSchema for McpEnvValue {
    fn schema_name() -> Cow<'static, str> {
        "McpEnvValue".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let from = generator.subschema_for::<McpEnvFrom>();
        json_schema!({ "anyOf": [{ "type": ["string", "null"] }, from] })
    }
}
