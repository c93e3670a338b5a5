//! The lists that merge item by item.

use std::collections::BTreeMap;

use super::{FieldOrigin, Merge};
use crate::resource::channel::{
    ChannelSpec, EnvSpec, FileSpec, McpEnvValue, McpServerSpec, MountSpec, MountType,
    ValueFromSpec, is_reserved,
};
use crate::resource::effective::{EnvValue, EnvVar, FileCopy, McpServer, Mount, SecretKeyRef};
use crate::resource::quantity::Quantity;
use crate::resource::text::HostPath;

impl<'a> Merge<'a> {
    /// The class's items with the channel's in their places, then the channel's new ones.
    fn items<T>(
        &mut self,
        path: &str,
        get: impl Fn(&'a ChannelSpec) -> Option<&'a Vec<T>>,
        key: impl Fn(&T) -> String,
        deleted: impl Fn(&T) -> bool,
    ) -> Vec<&'a T> {
        let mut all: Vec<(String, &'a T, FieldOrigin)> = Vec::new();
        let class = self.class.and_then(|class| get(&class.spec)).into_iter().flatten();
        let class = class.map(|item| (item, self.class_origin()));
        let channel = get(&self.channel.spec).into_iter().flatten();
        for (item, origin) in class.chain(channel.map(|item| (item, FieldOrigin::Channel))) {
            let key = key(item);
            match all.iter_mut().find(|(known, _, _)| *known == key) {
                Some(slot) => *slot = (key, item, origin),
                None => all.push((key, item, origin)),
            }
        }
        all.retain(|(_, item, _)| !deleted(item));
        for (key, _, origin) in &all {
            self.origins.insert(format!("spec.{path}[{key}]"), origin.clone());
        }
        all.into_iter().map(|(_, item, _)| item).collect()
    }

    pub(super) fn env(&mut self) -> Vec<EnvVar> {
        let gone = |e: &EnvSpec| e.patch.is_some() || is_reserved(e.name.as_str());
        self.items("env", |s| s.env.as_ref(), |e| e.name.to_string(), gone)
            .into_iter()
            .map(env_var)
            .collect()
    }

    pub(super) fn mounts(&mut self) -> Vec<Mount> {
        let home = self.home;
        let key = |mount: &MountSpec| mount.target.resolve(home);
        self.items("mounts", |s| s.mounts.as_ref(), key, |mount| mount.patch.is_some())
            .into_iter()
            .map(|mount| mounted(mount, home))
            .collect()
    }

    pub(super) fn files(&mut self) -> Vec<FileCopy> {
        let home = self.home;
        let key = |file: &FileSpec| file.target.resolve(home);
        self.items("files", |s| s.files.as_ref(), key, |file| file.patch.is_some())
            .into_iter()
            .map(|file| FileCopy {
                source: file.source.as_ref().map(|path| path.resolve(home)).unwrap_or_default(),
                target: file.target.resolve(home),
                optional: file.optional.unwrap_or(false),
            })
            .collect()
    }

    pub(super) fn mcp_servers(&mut self) -> BTreeMap<String, McpServer> {
        let get = |spec: &'a ChannelSpec| spec.agent.as_ref()?.mcp_servers.as_ref();
        let class = self.class.and_then(|class| get(&class.spec)).into_iter().flatten();
        let class = class.map(|(name, server)| (name, server, self.class_origin()));
        let channel = get(&self.channel.spec).into_iter().flatten();
        let channel = channel.map(|(name, server)| (name, server, FieldOrigin::Channel));
        let mut all = BTreeMap::new();
        for (name, server, origin) in class.chain(channel) {
            all.insert(name, (server, origin));
        }
        all.retain(|_, (server, _)| server.patch.is_none());
        for (name, (_, origin)) in &all {
            self.origins.insert(format!("spec.agent.mcpServers[{name}]"), origin.clone());
        }
        all.into_iter().map(|(name, (server, _))| (name.clone(), mcp_server(server))).collect()
    }
}

fn env_var(env: &EnvSpec) -> EnvVar {
    let value = match &env.value_from {
        Some(from) => secret(from),
        None => EnvValue::Plain(env.value.clone().unwrap_or_default()),
    };
    EnvVar { name: env.name.to_string(), value }
}

fn secret(from: &ValueFromSpec) -> EnvValue {
    let secret = &from.secret_key_ref;
    EnvValue::Secret(SecretKeyRef { name: secret.name.to_string(), key: secret.key.to_string() })
}

/// A server as it counts.
pub(crate) fn mcp_server(server: &McpServerSpec) -> McpServer {
    // What chanop tells a server about its caller is not the spec's to change, nor the project file's.
    let env = server.env.iter().flatten().filter(|(name, _)| !is_reserved(name));
    let env = env.map(|(name, value)| EnvVar {
        name: name.clone(),
        value: match value {
            McpEnvValue::Plain(text) => EnvValue::Plain(text.clone()),
            McpEnvValue::From(from) => secret(from),
        },
    });
    McpServer {
        command: server.command.clone().unwrap_or_default(),
        args: server.args.clone().unwrap_or_default(),
        env: env.collect(),
        url: server.url.clone().unwrap_or_default(),
    }
}

fn mounted(mount: &MountSpec, home: &str) -> Mount {
    let target = mount.target.resolve(home);
    let source = mount.source.clone().unwrap_or_default();
    match mount.kind {
        // The decoder has made sure of the path and of the type.
        Some(MountType::Bind) | None => Mount::Bind {
            source: HostPath::parse(&source).map_or(source, |path| path.resolve(home)),
            target,
            read_only: mount.read_only.unwrap_or(true),
            optional: mount.optional.unwrap_or(false),
        },
        Some(MountType::Volume) => {
            Mount::Volume { source, target, read_only: mount.read_only.unwrap_or(false) }
        }
        Some(MountType::Tmpfs) => Mount::Tmpfs {
            target,
            size_bytes: u64::try_from(mount.size.map_or(0, Quantity::units)).unwrap_or(0),
            exec: mount.exec.unwrap_or(false),
        },
    }
}
