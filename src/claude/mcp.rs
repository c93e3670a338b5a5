//! The file of a channel's MCP servers, as the CLI's `--mcp-config` reads it.
//!
//! It holds secrets, so it is rendered as late as can be, where their values are, and written where they are: in the
//! channel's directory of secrets, which containers mount read-only. Who asked is not in it: a server inherits the CLI's
//! environment ([`super::environment::of_run`]), so that one file serves every run of the channel.
//!
//! The CLI puts variables of its environment in place of `${NAME}` and `${NAME:-default}` in every text of the file. What
//! a channel's author writes keeps that meaning; a secret is taken as it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde_json::{Map, Value as Json, json};

use crate::resource::effective::{EnvValue, McpServer, SecretKeyRef};

/// Bytes that are or hold a secret: they do not print.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretBytes(Vec<u8>);

impl SecretBytes {
    /// Takes them in.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// For whoever writes them to where they belong.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for SecretBytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretBytes(…)")
    }
}

/// Why there is no file. No text holds a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum McpError {
    /// No value was given for it.
    #[error("MCP server {server} needs secret {}/{}, which is not there", secret.name, secret.key)]
    MissingSecret {
        /// Who needs it.
        server: String,
        /// What is needed.
        secret: SecretKeyRef,
    },
    /// JSON is text.
    #[error("MCP server {server} needs secret {}/{}, which is not UTF-8", secret.name, secret.key)]
    NotText {
        /// Who needs it.
        server: String,
        /// What is needed.
        secret: SecretKeyRef,
    },
}

/// The secrets that `servers` need.
pub fn secrets(servers: &BTreeMap<String, McpServer>) -> BTreeSet<SecretKeyRef> {
    let variables = servers.values().flat_map(|server| &server.env);
    let secret = variables.filter_map(|variable| match &variable.value {
        EnvValue::Plain(_) => None,
        EnvValue::Secret(secret) => Some(secret.clone()),
    });
    secret.collect()
}

/// The file's bytes. The same servers and values give the same bytes.
pub fn render(
    servers: &BTreeMap<String, McpServer>,
    values: &BTreeMap<SecretKeyRef, SecretBytes>,
) -> Result<SecretBytes, McpError> {
    let mut all = Map::new();
    for (name, server) in servers {
        all.insert(name.clone(), entry(name, server, values)?);
    }
    Ok(SecretBytes(json!({ "mcpServers": all }).to_string().into_bytes()))
}

fn entry(
    name: &str,
    server: &McpServer,
    values: &BTreeMap<SecretKeyRef, SecretBytes>,
) -> Result<Json, McpError> {
    if !server.url.is_empty() {
        return Ok(json!({ "type": "http", "url": server.url }));
    }
    let mut env = Map::new();
    for variable in &server.env {
        let value = match &variable.value {
            EnvValue::Plain(text) => text.clone(),
            EnvValue::Secret(secret) => secret_text(name, secret, values)?,
        };
        env.insert(variable.name.clone(), Json::String(value));
    }
    Ok(json!({ "command": server.command, "args": server.args, "env": env }))
}

fn secret_text(
    server: &str,
    secret: &SecretKeyRef,
    values: &BTreeMap<SecretKeyRef, SecretBytes>,
) -> Result<String, McpError> {
    let server = || server.to_owned();
    let value = values
        .get(secret)
        .ok_or_else(|| McpError::MissingSecret { server: server(), secret: secret.clone() })?;
    let text = std::str::from_utf8(value.expose())
        .map_err(|_| McpError::NotText { server: server(), secret: secret.clone() })?;
    Ok(literal(text))
}

/// `text` so that the CLI gives it back unchanged. It knows no escape, but looks at what it has put in only once: a
/// variable that nobody sets (see [`crate::resource::channel::is_reserved`]) has the dollar for its default.
pub fn literal(text: &str) -> String {
    text.replace("${", "${CHANOP_UNSET:-$}{")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::claude::tests::effective;

    fn key(name: &str, key: &str) -> SecretKeyRef {
        SecretKeyRef { name: name.to_owned(), key: key.to_owned() }
    }

    fn rendered(servers: &str, values: &[(&str, &[u8])]) -> Result<String, McpError> {
        let servers = effective(&format!("mcpServers: {servers}")).agent.mcp_servers;
        let values =
            values.iter().map(|(name, value)| (key("s", name), SecretBytes::new(value.to_vec())));
        let bytes = render(&servers, &values.collect())?;
        Ok(String::from_utf8(bytes.expose().to_vec()).unwrap())
    }

    #[test]
    fn the_file_has_the_form_that_the_cli_reads() {
        let text = rendered(
            "{web: {url: 'https://x/y'}, db: {command: npx, args: [-y, s], env: {B: b, A: '${HOME}'}}}",
            &[],
        );
        assert_eq!(
            text.unwrap(),
            r#"{"mcpServers":{"db":{"command":"npx","args":["-y","s"],"env":{"A":"${HOME}","B":"b"}},"web":{"type":"http","url":"https://x/y"}}}"#
        );
        assert_eq!(rendered("{}", &[]).unwrap(), r#"{"mcpServers":{}}"#);
    }

    #[test]
    fn a_secret_is_put_in_as_it_is() {
        let server = "{db: {command: c, env: {T: {valueFrom: {secretKeyRef: {name: s, key: t}}}}}}";
        let value = "a\"\n$b${HOME}${X:-y}";
        let json: Json =
            serde_json::from_str(&rendered(server, &[("t", value.as_bytes())]).unwrap()).unwrap();
        let written = json["mcpServers"]["db"]["env"]["T"].as_str().unwrap();
        assert_eq!(written, "a\"\n$b${CHANOP_UNSET:-$}{HOME}${CHANOP_UNSET:-$}{X:-y}");
        assert!(crate::resource::channel::is_reserved("CHANOP_UNSET"));

        let found = rendered(server, &[]).unwrap_err();
        assert_eq!(found.to_string(), "MCP server db needs secret s/t, which is not there");
        let found = rendered(server, &[("t", b"\xffgeheim")]).unwrap_err();
        assert_eq!(found.to_string(), "MCP server db needs secret s/t, which is not UTF-8");
    }

    #[test]
    fn what_is_needed_is_known_and_what_is_given_does_not_print() {
        let from = "{valueFrom: {secretKeyRef: {name: s, key: t}}}";
        let text = format!(
            "mcpServers: {{a: {{command: c, env: {{A: {from}, B: x}}}}, b: {{command: c, env: {{C: {from}}}}}}}"
        );
        let servers = effective(&text).agent.mcp_servers;
        assert_eq!(secrets(&servers), BTreeSet::from([key("s", "t")]));
        assert_eq!(format!("{:?}", SecretBytes::new(b"geheim".to_vec())), "SecretBytes(…)");
    }
}
