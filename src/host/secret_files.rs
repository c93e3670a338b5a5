//! A channel's secrets as its containers get them: files in a directory of their own, in memory, read-only to the channel's user.
//!
//! They are written before a container is created or started, and whenever the agent is: the directory is mounted and not
//! its files, so that what was written reaches the next command. What is exported to every command is in one file; the
//! agent's key, and its MCP servers with their secrets, are in files that only the agent is told of.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use super::Host;
use super::beneath::{self, Ids};
use super::prepare::{PrepareError, io_failed, locked, private_directory};
use super::probe::{API_KEY, OAUTH_TOKEN};
use super::secret::{self, Secret, SecretError};
use crate::claude::credentials::OAUTH_VARIABLE;
use crate::claude::mcp::{self, McpError, SecretBytes};
use crate::init::{layout, secrets};
use crate::resource::effective::SecretKeyRef;
use crate::world::preparation::Preparation;

/// What the agent signs in with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignIn {
    /// A key, in [`layout::API_KEY_FILE`].
    ApiKey,
    /// A token, in the environment of every command: the CLI takes it from nowhere else, in a shell too.
    OauthToken,
}

/// What is to be written.
#[derive(Debug)]
pub(super) struct SecretFiles {
    /// How the agent signs in, if it does.
    pub(super) sign_in: Option<SignIn>,
    variables: SecretBytes,
    api_key: Option<Secret>,
    mcp: SecretBytes,
}

impl SecretFiles {
    /// Reads what the channel needs.
    pub(super) fn read(preparation: &Preparation, host: &Host) -> Result<Self, PrepareError> {
        let mut variables = Vec::new();
        for (variable, reference) in &preparation.secrets {
            variables.push((variable.as_str(), read(host, reference)?));
        }
        let mut api_key = None;
        let mut sign_in = None;
        if let Some(name) = &preparation.credentials {
            match credentials(host, name)? {
                (SignIn::OauthToken, token) => {
                    sign_in = Some(SignIn::OauthToken);
                    variables.push((OAUTH_VARIABLE, token));
                }
                (SignIn::ApiKey, key) => {
                    sign_in = Some(SignIn::ApiKey);
                    api_key = Some(key);
                }
            }
        }
        let variables = secrets::encode(variables.iter().map(|(n, v)| (*n, v.bytes())))
            .ok_or_else(|| PrepareError::Secret {
                reference: "all of the channel's".to_owned(),
                why: "they are longer than 1 MiB, or a name is no variable's".to_owned(),
            })?;
        let variables = SecretBytes::new(variables);
        Ok(Self { sign_in, variables, api_key, mcp: mcp_file(preparation, host)? })
    }

    /// Writes it to a directory that is the user's: nobody else's processes can read it.
    pub(super) fn write(&self, preparation: &Preparation, host: &Host) -> Result<(), PrepareError> {
        let path = host.paths.secrets_of(&preparation.channel);
        let root = private_directory(&host.paths.secrets)?;
        let _lock = locked(host, &preparation.channel)?;
        let user: Ids = (preparation.user.uid, preparation.user.gid);
        let of_run = preparation.run.is_some();
        let mcp_name = if of_run { layout::RUN_MCP_FILE } else { layout::MCP_FILE };
        let write = || -> io::Result<()> {
            let name = Path::new(preparation.channel.as_str());
            let directory = beneath::make_directories(&root, name, 0o500, user)?;
            // Ours for the moment: without root one cannot write into a directory of mode 0500.
            beneath::give(&directory, 0o700, user)?;
            let key = self.api_key.as_ref().map(Secret::bytes);
            for (name, content) in [
                (layout::SECRETS_FILE, Some(self.variables.expose())),
                (layout::API_KEY_FILE, key),
                (mcp_name, Some(self.mcp.expose())),
            ] {
                match content {
                    Some(content) => beneath::replace_file(&directory, name, content, 0o400, user)?,
                    None => beneath::remove_file(&directory, name)?,
                }
            }
            Ok(beneath::give(&directory, 0o500, user)?)
        };
        write().map_err(|cause| io_failed("write secrets to", &path, cause))
    }
}

fn mcp_file(preparation: &Preparation, host: &Host) -> Result<SecretBytes, PrepareError> {
    let servers = &preparation.mcp_servers;
    let mut values = BTreeMap::new();
    for reference in mcp::secrets(servers) {
        let value = SecretBytes::new(read(host, &reference)?.bytes().to_vec());
        values.insert(reference, value);
    }
    mcp::render(servers, &values).map_err(|error| match error {
        McpError::MissingSecret { secret, .. } => failed(&secret, SecretError::Missing),
        McpError::NotText { secret, .. } => failed(
            &secret,
            SecretError::Unusable("it is not UTF-8, as a server's must be".to_owned()),
        ),
    })
}

/// One file of two: with both nobody could say which counts.
fn credentials(host: &Host, name: &str) -> Result<(SignIn, Secret), PrepareError> {
    let key = |key: &str| SecretKeyRef { name: name.to_owned(), key: key.to_owned() };
    let (token_key, api_key) = (key(OAUTH_TOKEN), key(API_KEY));
    match (value(host, &token_key), value(host, &api_key)) {
        (Ok(token), Err(SecretError::Missing)) => Ok((SignIn::OauthToken, token)),
        (Err(SecretError::Missing), Ok(key)) => Ok((SignIn::ApiKey, key)),
        (Ok(_), Ok(_)) => {
            let why = format!("{name} holds both {OAUTH_TOKEN} and {API_KEY}: keep one");
            Err(failed(&api_key, SecretError::Unusable(why)))
        }
        (Err(error @ SecretError::Unusable(_)), _) => Err(failed(&token_key, error)),
        (_, Err(error)) => Err(failed(&api_key, error)),
    }
}

fn read(host: &Host, reference: &SecretKeyRef) -> Result<Secret, PrepareError> {
    value(host, reference).map_err(|error| failed(reference, error))
}

fn value(host: &Host, reference: &SecretKeyRef) -> Result<Secret, SecretError> {
    let directory = host.secrets_directory.as_deref();
    directory.map_or(Err(SecretError::Missing), |directory| secret::read(directory, reference))
}

fn failed(reference: &SecretKeyRef, error: SecretError) -> PrepareError {
    PrepareError::Secret {
        reference: format!("{}/{}", reference.name, reference.key),
        why: match error {
            SecretError::Missing => "it is not there".to_owned(),
            SecretError::Unusable(why) => why,
        },
    }
}
