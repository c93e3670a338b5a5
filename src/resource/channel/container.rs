//! The fields of a channel that say what its containers are made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::rules::{exactly_one, only_key};
use super::variables::is_reserved;
use crate::resource::decode::{Decode, Decoder, Words, fields, words};
use crate::resource::effective::{Home, PullPolicy, User};
use crate::resource::node::{Node, Value, shown};
use crate::resource::quantity::Quantity;
use crate::resource::text::{Capability, EnvName, HostPath, ImageRef, RelativePath, SecretName};
use crate::resource::validate::Code;

/// The project's directory.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct WorkspaceSpec {
    /// Where it is on the host, and in the containers.
    pub path: Option<HostPath>,
    /// Make it when it is missing. Otherwise a typo or an unmounted disk is a condition, not an empty directory.
    #[schemars(extend("default" = false))]
    pub create: Option<bool>,
}
fields!(WorkspaceSpec { path = "path", create = "create" });

/// What stands at `$HOME`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct HomeSpec {
    /// A directory per channel (so that sessions and caches stay), memory, or whatever the image has there.
    #[serde(rename = "type")]
    #[schemars(extend("default" = "Channel"))]
    pub kind: Option<Home>,
}
fields!(HomeSpec { kind = "type" });
words!(Home { Channel, Tmpfs, Image });

/// The image.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ImageSpec {
    /// The reference. Any glibc image with bash serves: the CLI can be injected.
    #[serde(rename = "ref")]
    #[schemars(extend("default" = "chanop-agent:latest"))]
    pub reference: Option<ImageRef>,
    /// When the operator pulls it.
    #[schemars(extend("default" = "IfNotPresent"))]
    pub pull_policy: Option<PullPolicy>,
    /// Build it from a directory beneath the spec directory; tagged `chanop-build/<channel>:<hash>` only.
    pub build: Option<BuildSpec>,
}
fields!(ImageSpec { reference = "ref", pull_policy = "pullPolicy", build = "build" });
words!(PullPolicy { Always, IfNotPresent, Never });

/// An image built from the spec directory.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct BuildSpec {
    /// The directory, beneath the spec directory.
    pub context: RelativePath,
    /// The Dockerfile, in the context.
    #[schemars(extend("default" = "Dockerfile"))]
    pub dockerfile: Option<RelativePath>,
    /// Build arguments.
    #[schemars(extend("default" = {}))]
    pub args: Option<BTreeMap<String, String>>,
    /// The stage to stop at; empty: the last.
    #[schemars(extend("default" = ""))]
    pub target: Option<String>,
}
fields!(BuildSpec {
    context = "context" required,
    dockerfile = "dockerfile",
    args = "args",
    target = "target",
});

/// Who the processes are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UserSpec(pub User);

impl Serialize for UserSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            User::Owner => serializer.serialize_str("Owner"),
            User::Image => serializer.serialize_str("Image"),
            User::Ids { uid, gid } => serializer.collect_str(&format_args!("{uid}:{gid}")),
        }
    }
}

impl JsonSchema for UserSpec {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "User".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "pattern": "^(Owner|Image|[0-9]{1,10}:[0-9]{1,10})$" })
    }
}

impl Decode for UserSpec {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if let Value::Number(text) = &node.value {
            let words = Words::new("a user is `Owner`, `Image` or \"uid:gid\"")
                .label("no group")
                .suggest(Some(format!("\"{text}:{text}\"")));
            decoder.report(Code::WrongType, node.place, words);
            return None;
        }
        let text = String::decode(node, decoder)?;
        if let Some((uid, gid)) = text.split_once(':')
            && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
            && !text.contains('+')
        {
            return Some(Self(User::Ids { uid, gid }));
        }
        decoder.word(node, &[("Owner", Self(User::Owner)), ("Image", Self(User::Image))])
    }
}

/// The word that removes what the class has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Patch {
    /// Remove it.
    Delete,
}

impl Decode for Patch {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        decoder.word(node, &[("delete", Self::Delete)])
    }
}

/// One environment variable.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct EnvSpec {
    /// Its name: the key by which variables merge.
    pub name: EnvName,
    /// Its value. One that looks like a token is an error: use `valueFrom`.
    pub value: Option<String>,
    /// Where its value comes from.
    pub value_from: Option<ValueFromSpec>,
    /// `delete` removes the class's variable of this name.
    #[serde(rename = "$patch")]
    pub patch: Option<Patch>,
}
fields!(EnvSpec {
    name = "name" required,
    value = "value",
    value_from = "valueFrom",
    patch = "$patch",
}, judge EnvSpec::judge);

impl EnvSpec {
    fn judge(node: &Node, decoder: &mut Decoder) {
        if node.get("$patch").is_some() {
            only_key(node, "name", decoder);
        } else {
            exactly_one(node, &["value", "valueFrom"], decoder);
            let name = node.get("name").filter(|name| name.as_str().is_some_and(is_reserved));
            if let Some((at, name)) = name.and_then(|at| Some((at, at.as_str()?))) {
                let words = Words::new(format!("chanop decides `{name}` itself"))
                    .label("this value does not count");
                decoder.within("name", |decoder| decoder.report(Code::Unusual, at.place, words));
            }
        }
    }
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ValueFromSpec {
    /// A file of the secrets directory: `<secrets-dir>/name/key`.
    pub secret_key_ref: SecretKeyRefSpec,
}
fields!(ValueFromSpec { secret_key_ref = "secretKeyRef" required });

/// A file of the secrets directory.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct SecretKeyRefSpec {
    /// The directory.
    pub name: SecretName,
    /// The file in it.
    pub key: SecretName,
}
fields!(SecretKeyRefSpec { name = "name" required, key = "key" required });

/// A port of the shell.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct PortSpec {
    /// In the container.
    pub container_port: PortNumber,
    /// On the host, at 127.0.0.1; the same as `containerPort` when absent.
    pub host_port: Option<PortNumber>,
}
fields!(PortSpec { container_port = "containerPort" required, host_port = "hostPort" });

/// A port: from 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PortNumber(pub u16);

impl Decode for PortNumber {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        u16::try_from(decoder.whole(node, 1, i128::from(u16::MAX))?).ok().map(Self)
    }
}

impl JsonSchema for PortNumber {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Port".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
    }
}

/// Limits of each container.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct ResourcesSpec {
    /// What a container may use at most.
    pub limits: Option<LimitsSpec>,
    /// The size of `/dev/shm`.
    #[schemars(extend("default" = "256Mi"))]
    pub shm_size: Option<Quantity>,
}
fields!(ResourcesSpec { limits = "limits", shm_size = "shmSize" });

/// What a container may use at most.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct LimitsSpec {
    /// CPUs: `500m` is half of one; empty or 0: no limit.
    #[schemars(extend("default" = ""))]
    pub cpu: Option<Quantity>,
    /// Bytes; swap equals it; 0: no limit.
    #[schemars(extend("default" = "4Gi"))]
    pub memory: Option<Quantity>,
    /// Processes and threads; 0: no limit.
    #[schemars(extend("default" = 4096))]
    pub pids: Option<u32>,
}
fields!(LimitsSpec { cpu = "cpu", memory = "memory", pids = "pids" } check LimitsSpec::check);

impl LimitsSpec {
    /// Docker's own floor, and the smallest share that its scheduler takes.
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        let least_memory = 6 << 20;
        if let (Some(memory), Some(at)) = (self.memory, node.get("memory"))
            && memory.nano() != 0
            && memory.units() < least_memory
        {
            let near = format!("{memory}Mi");
            let words =
                Words::new(format!("memory of {} bytes is below Docker's minimum", memory.units()))
                    .label("at least 6Mi")
                    .suggest((memory.units() > 5 && memory.units() < 1_000_000).then_some(near));
            decoder.within("memory", |decoder| decoder.report(Code::OutOfRange, at.place, words));
        }
        if let (Some(cpu), Some(at)) = (self.cpu, node.get("cpu")) {
            let most = 4096 * 1_000_000_000;
            if (1..10_000_000).contains(&cpu.nano()) || cpu.nano() > most {
                let words =
                    Words::new(format!("cpu of {cpu} is out of range")).label("from 10m to 4096");
                decoder.within("cpu", |decoder| decoder.report(Code::OutOfRange, at.place, words));
            }
        }
    }
}

/// What the processes may do.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct SecurityContextSpec {
    /// Further groups, by number.
    #[schemars(extend("default" = []))]
    pub supplemental_groups: Option<Vec<u32>>,
    /// Capabilities taken away and given back.
    pub capabilities: Option<CapabilitiesSpec>,
    /// May setuid programs gain privileges?
    #[schemars(extend("default" = false))]
    pub allow_privilege_escalation: Option<bool>,
    /// Is the image's own file system read-only?
    #[schemars(extend("default" = false))]
    pub read_only_root_filesystem: Option<bool>,
}
fields!(SecurityContextSpec {
    supplemental_groups = "supplementalGroups",
    capabilities = "capabilities",
    allow_privilege_escalation = "allowPrivilegeEscalation",
    read_only_root_filesystem = "readOnlyRootFilesystem",
});

/// Linux capabilities, with or without `CAP_`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct CapabilitiesSpec {
    /// Taken away.
    #[schemars(extend("default" = ["ALL"]))]
    pub drop: Option<Vec<Capability>>,
    /// Given back.
    #[schemars(extend("default" = []))]
    pub add: Option<Vec<Capability>>,
}
fields!(CapabilitiesSpec { drop = "drop", add = "add" });

/// What the containers are connected to.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
#[schemars(deny_unknown_fields)]
pub struct NetworkSpec {
    /// The instance's own bridge (containers cannot reach each other), nothing, the host's network, or one by name.
    #[schemars(extend("default" = "Bridge"))]
    pub mode: Option<NetworkMode>,
    /// With `mode: Named`: the network, which must exist.
    pub name: Option<String>,
}
fields!(NetworkSpec { mode = "mode", name = "name" } check NetworkSpec::check);

impl NetworkSpec {
    fn check(&self, node: &Node, decoder: &mut Decoder) {
        if let (Some(name), Some(at)) = (&self.name, node.get("name")) {
            let word = |c: char| c.is_ascii_alphanumeric();
            let rest = |c: char| word(c) || matches!(c, '_' | '.' | '-');
            if !name.starts_with(word) || !name.chars().all(rest) {
                let words = Words::new(format!("`{}` is no name of a network", shown(name)));
                decoder
                    .within("name", |decoder| decoder.report(Code::InvalidName, at.place, words));
            }
            if self.mode.is_some_and(|mode| mode != NetworkMode::Named) {
                let words =
                    Words::new("`name` goes with `mode: Named` only").label("not with this mode");
                decoder
                    .within("name", |decoder| decoder.report(Code::FieldConflict, at.place, words));
            }
        }
    }
}

/// The kinds of network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
pub enum NetworkMode {
    /// The instance's own bridge.
    Bridge,
    /// Nothing.
    None,
    /// The host's.
    Host,
    /// The one that `name` names.
    Named,
}
words!(NetworkMode { Bridge, None, Host, Named });
