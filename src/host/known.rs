//! Which secrets a channel's containers know, so that what they write can be masked.
//!
//! Read from what was prepared for them, which is what they were given, whatever the secrets directory holds by now. The
//! files of MCP servers (a person's agent has one, runs another) hold secrets beside plain words (`production`, a path), and masking those would hide half of the
//! text: of them counts what is in the secrets directory. When nothing is prepared any more (memory is empty after a reboot), every
//! secret of the operator counts.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use serde_json::Value as Json;

use super::Host;
use super::secret;
use crate::claude::mcp::{self, SecretBytes};
use crate::init::{layout, secrets};
use crate::resource::ResourceName;
use crate::resource::effective::SecretKeyRef;

/// Of the secrets directory: a house has dozens.
const SECRETS_MAX: usize = 2_000;
/// The longest that init takes, and several times what an MCP file has.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// The secrets of a channel's containers. What cannot be read is passed over: nothing waits for it.
pub fn known_secrets(host: &Host, channel: &ResourceName) -> Vec<SecretBytes> {
    let prepared = host.paths.secrets_of(channel);
    let prepared = Path::new(&prepared);
    let all = all(host);
    let Some(variables) = read(&prepared.join(layout::SECRETS_FILE)) else {
        return all.into_iter().map(SecretBytes::new).collect();
    };
    let variables = secrets::decode(&variables).unwrap_or_default();
    let mut known: BTreeSet<Vec<u8>> =
        variables.iter().map(|(_, value)| value.as_bytes().to_vec()).collect();
    known.extend(read(&prepared.join(layout::API_KEY_FILE)));
    let files = [layout::MCP_FILE, layout::RUN_MCP_FILE];
    let texts: Vec<Vec<u8>> = files.iter().filter_map(|file| read(&prepared.join(file))).collect();
    known.extend(all.into_iter().filter(|value| texts.iter().any(|text| is_in(text, value))));
    known.into_iter().map(SecretBytes::new).collect()
}

/// Is this one of the values in the file of MCP servers?
fn is_in(json: &[u8], value: &[u8]) -> bool {
    let (Ok(json), Ok(value)) = (serde_json::from_slice(json), std::str::from_utf8(value)) else {
        return false;
    };
    holds(&json, &mcp::literal(value))
}

fn holds(json: &Json, value: &str) -> bool {
    match json {
        Json::String(text) => text == value,
        Json::Array(items) => items.iter().any(|item| holds(item, value)),
        Json::Object(fields) => fields.values().any(|field| holds(field, value)),
        Json::Null | Json::Bool(_) | Json::Number(_) => false,
    }
}

/// Every secret of the operator.
fn all(host: &Host) -> BTreeSet<Vec<u8>> {
    let Some(directory) = host.secrets_directory.as_deref() else { return BTreeSet::new() };
    let names = names_in(directory);
    let references = names.iter().flat_map(|name| {
        let keys = names_in(&directory.join(name));
        keys.into_iter().map(|key| SecretKeyRef { name: name.clone(), key })
    });
    references
        .take(SECRETS_MAX)
        .filter_map(|reference| secret::read(directory, &reference).ok())
        .map(|secret| secret.bytes().to_vec())
        .collect()
}

fn names_in(directory: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .take(SECRETS_MAX)
        .collect()
}

fn read(path: &Path) -> Option<Vec<u8>> {
    use std::io::Read as _;

    let mut bytes = Vec::new();
    fs::File::open(path).ok()?.take(FILE_BYTES_MAX).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world::preparation::HostPaths;

    fn private(path: &Path, content: &[u8]) {
        use std::os::unix::fs::PermissionsExt as _;

        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }

    fn known(host: &Host) -> Vec<String> {
        let known = known_secrets(host, &ResourceName::parse("house").unwrap());
        known.iter().map(|it| String::from_utf8(it.expose().to_vec()).unwrap()).collect()
    }

    #[test]
    fn what_the_channel_was_given_is_known_and_after_a_reboot_all_there_is() {
        let dir = tempfile::tempdir().unwrap();
        let shown = |name: &str| dir.path().join(name).display().to_string();
        let host = Host {
            paths: HostPaths { state: shown("state"), secrets: shown("memory") },
            secrets_directory: Some(dir.path().join("secrets")),
            init_source: dir.path().join("init"),
        };
        private(&dir.path().join("secrets/db/password"), b"of-the-${database}\n");
        private(&dir.path().join("secrets/other/token"), b"of-another-channel");
        assert_eq!(known(&host), ["of-another-channel", "of-the-${database}"]);

        let prepared = dir.path().join("memory/house");
        let variables = secrets::encode([("A", &b"old-value-of-a"[..])]).unwrap();
        private(&prepared.join(layout::SECRETS_FILE), &variables);
        private(&prepared.join(layout::API_KEY_FILE), b"sk-key");
        assert_eq!(known(&host), ["old-value-of-a", "sk-key"]);

        let quoted = mcp::literal("of-the-${database}");
        let servers = serde_json::json!({ "mcpServers": { "db": {
            "command": "npx", "args": [], "env": { "MODE": "production", "PASSWORD": quoted },
        }}});
        // A person's agent and a run have a file each, and either may be alone.
        for file in [layout::MCP_FILE, layout::RUN_MCP_FILE] {
            private(&prepared.join(file), servers.to_string().as_bytes());
            assert_eq!(known(&host), ["of-the-${database}", "old-value-of-a", "sk-key"], "{file}");
            fs::remove_file(prepared.join(file)).unwrap();
        }
    }
}
