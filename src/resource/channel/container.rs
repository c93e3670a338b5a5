//! The fields of a channel that say what its containers are made of.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::ChannelSpec;
use crate::resource::decode::{Decode, Decoder, Words, fields, map_fields, words};
use crate::resource::effective::{Home, PullPolicy, User};
use crate::resource::node::{Node, Place, Value, shown};
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

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum MountType {
    /// A host path; read-only unless `readOnly: false`.
    Bind,
    /// A named volume; an empty one is given to the user once.
    Volume,
    /// Memory.
    Tmpfs,
}

impl Decode for MountType {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let allowed = [("bind", Self::Bind), ("volume", Self::Volume), ("tmpfs", Self::Tmpfs)];
        decoder.word(node, &allowed)
    }
}

/// One mount.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct MountSpec {
    /// What is mounted.
    #[serde(rename = "type")]
    pub kind: Option<MountType>,
    /// The host path of a bind, or the volume's name.
    pub source: Option<String>,
    /// Where it appears: the key by which mounts merge.
    pub target: HostPath,
    /// Binds are read-only unless this says false; volumes are writable unless it says true.
    pub read_only: Option<bool>,
    /// Of a bind: leave it out when the source is missing. Otherwise that holds the channel.
    #[schemars(extend("default" = false))]
    pub optional: Option<bool>,
    /// Of a tmpfs: its size.
    pub size: Option<Quantity>,
    /// Of a tmpfs: may programs be run from it?
    #[schemars(extend("default" = false))]
    pub exec: Option<bool>,
    /// `delete` removes the class's mount of this target.
    #[serde(rename = "$patch")]
    pub patch: Option<Patch>,
}

map_fields!(MountSpec {
    kind = "type",
    source = "source",
    target = "target" required,
    read_only = "readOnly",
    optional = "optional",
    size = "size",
    exec = "exec",
    patch = "$patch",
}, judge MountSpec::judge);

impl Decode for MountSpec {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            Value::String(text) => Self::short(text, node, decoder),
            Value::Map(_) => Self::decode_map(node, decoder),
            _ => {
                decoder.wrong_type(node, "a map, or a text such as ~/notes:~/notes:ro");
                None
            }
        }
    }
}

impl MountSpec {
    /// `source:target[:ro|rw]`; a source with a path is a bind, any other a volume.
    fn short(text: &str, node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let mut refuse = |code, why: String| {
            decoder.report(code, node.place, Words::new(why).label("not source:target[:ro|rw]"));
        };
        let parts: Vec<&str> = text.split(':').collect();
        let (source, target, mode) = match parts.as_slice() {
            [source, target] => (*source, *target, None),
            [source, target, mode] => (*source, *target, Some(*mode)),
            _ => {
                let why = format!("`{}` is no mount: source:target[:ro|rw]", shown(text));
                refuse(Code::InvalidText, why);
                return None;
            }
        };
        let read_only = match mode {
            None => None,
            Some("ro") => Some(true),
            Some("rw") => Some(false),
            Some(other) => {
                let why = format!("`{}` is no mode of a mount: ro or rw", shown(other));
                refuse(Code::UnknownWord, why);
                return None;
            }
        };
        let target = HostPath::parse(target).map_err(|why| refuse(Code::InvalidPath, why)).ok()?;
        let bind = source.starts_with(['/', '~', '.']);
        let kind = if bind { MountType::Bind } else { MountType::Volume };
        Self::judge_source(kind, source, node.place, decoder);
        Some(Self {
            kind: Some(kind),
            source: Some(source.to_owned()),
            target,
            read_only,
            optional: None,
            size: None,
            exec: None,
            patch: None,
        })
    }

    fn judge(node: &Node, decoder: &mut Decoder) {
        if node.get("$patch").is_some() {
            return only_key(node, "target", decoder);
        }
        let Some(name) = node.get("type") else {
            let words = Words::new("`type` is missing").label("needs `type`");
            let words = words.help("allowed: bind, volume, tmpfs");
            return decoder.report(Code::MissingField, node.place, words);
        };
        let (kind, name, others): (_, _, &[&str]) = match name.as_str() {
            Some("bind") => (MountType::Bind, "bind", &["size", "exec"]),
            Some("volume") => (MountType::Volume, "volume", &["size", "exec", "optional"]),
            Some("tmpfs") => (MountType::Tmpfs, "tmpfs", &["source", "readOnly", "optional"]),
            _ => return,
        };
        for key in others {
            if let Some(entry) = node.entry(key).filter(|_| node.get(key).is_some()) {
                let words = Words::new(format!("`{key}` does not go with a {name} mount"))
                    .label(format!("not for type {name}"));
                decoder.within(key, |d| d.report(Code::FieldConflict, entry.place, words));
            }
        }
        match node.get("source") {
            _ if kind == MountType::Tmpfs => {}
            Some(source) => decoder.within("source", |decoder| {
                let text = source.as_str().unwrap_or("/");
                Self::judge_source(kind, text, source.place, decoder);
            }),
            None => {
                let words =
                    Words::new(format!("a {name} mount needs `source`")).label("needs `source`");
                decoder.report(Code::MissingField, node.place, words);
            }
        }
    }

    fn judge_source(kind: MountType, source: &str, place: Place, decoder: &mut Decoder) {
        match kind {
            MountType::Bind => {
                if let Err(why) = HostPath::parse(source) {
                    let words = Words::new(why).label("not such a path");
                    decoder.report(Code::InvalidPath, place, words);
                }
            }
            MountType::Volume => {
                let word = |c: char| c.is_ascii_alphanumeric();
                let rest = |c: char| word(c) || matches!(c, '_' | '.' | '-');
                if !source.starts_with(word) || !source.chars().all(rest) || source.len() > 255 {
                    let words = Words::new(format!("`{}` is no name of a volume", shown(source)))
                        .label("not a volume's name")
                        .help("letters, digits, `_`, `.` and `-`; a host path needs type bind");
                    decoder.report(Code::InvalidName, place, words);
                }
            }
            MountType::Tmpfs => {}
        }
    }
}

/// The schema of an item of `mounts`: a map, or the short form.
#[derive(Debug)]
pub(super) struct MountItem;

impl JsonSchema for MountItem {
    fn schema_name() -> Cow<'static, str> {
        "MountItem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mount = generator.subschema_for::<MountSpec>();
        let short = "^[^:]+:(/[^:]*|~(/[^:]*)?)(:(ro|rw))?$";
        json_schema!({
            "anyOf": [
                mount,
                { "type": "string", "description": "source:target[:ro|rw]", "pattern": short },
            ],
        })
    }
}

/// A host file copied in at creation.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(deny_unknown_fields)]
pub struct FileSpec {
    /// The file on the host.
    pub source: Option<HostPath>,
    /// Where it appears: the key by which files merge.
    pub target: HostPath,
    /// Leave it out when the source is missing. Otherwise that holds the channel.
    #[schemars(extend("default" = false))]
    pub optional: Option<bool>,
    /// `delete` removes the class's file of this target.
    #[serde(rename = "$patch")]
    pub patch: Option<Patch>,
}
fields!(FileSpec {
    source = "source",
    target = "target" required,
    optional = "optional",
    patch = "$patch",
}, judge FileSpec::judge);

impl FileSpec {
    fn judge(node: &Node, decoder: &mut Decoder) {
        if node.get("$patch").is_some() {
            only_key(node, "target", decoder);
        } else if node.get("source").is_none() {
            let words = Words::new("`source` is missing").label("needs `source`");
            decoder.report(Code::MissingField, node.place, words);
        }
    }
}

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

/// Rules that look at several fields of the channel.
pub(super) fn check(spec: &ChannelSpec, node: &Node, decoder: &mut Decoder) {
    unique(node, "env", decoder, |item| Some(item.get("name")?.as_str()?.to_owned()));
    unique(node, "mounts", decoder, target);
    unique(node, "files", decoder, target);
    unique(node, "ports", decoder, |item| {
        let port = item.get("hostPort").or_else(|| item.get("containerPort"))?;
        Some(port.to_json().to_string())
    });
    if let (Some(name), Some(at)) = (&spec.runtime_class_name, node.get("runtimeClassName"))
        && !name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    {
        let words = Words::new(format!("`{}` is no name of a runtime", shown(name)));
        decoder.within("runtimeClassName", |d| d.report(Code::InvalidName, at.place, words));
    }
}

fn target(item: &Node) -> Option<String> {
    let target = match &item.value {
        Value::String(text) => text.split(':').nth(1)?,
        _ => item.get("target")?.as_str()?,
    };
    HostPath::parse(target).ok().map(|path| path.to_string())
}

/// Reports each item of the list `key` that claims what an earlier one has.
fn unique(node: &Node, key: &str, decoder: &mut Decoder, claim: impl Fn(&Node) -> Option<String>) {
    let Some(Value::List(items)) = node.get(key).map(|list| &list.value) else { return };
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    for (index, item) in items.iter().enumerate() {
        let Some(claimed) = claim(item) else { continue };
        let Some(line) = seen.get(&claimed) else {
            seen.insert(claimed, item.place.line);
            continue;
        };
        let words = Words::new(format!("`{}` stands twice in `{key}`", shown(&claimed)))
            .label(format!("already in line {line}"));
        decoder.within(key, |decoder| {
            decoder.within_item(index, |d| d.report(Code::DuplicateItem, item.place, words));
        });
    }
}

/// Reports when not exactly one of `keys` is set.
pub(in crate::resource) fn exactly_one(node: &Node, keys: &[&str], decoder: &mut Decoder) {
    let set: Vec<&str> = keys.iter().copied().filter(|key| node.get(key).is_some()).collect();
    let list = keys.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
    match set.as_slice() {
        [_one] => {}
        [] => {
            let words = Words::new(format!("exactly one of {list} must be set, and none is"))
                .label("none of them is set");
            decoder.report(Code::ExactlyOne, node.place, words);
        }
        [first, rest @ ..] => {
            for key in rest {
                let place = node.entry(key).map_or(node.place, |entry| entry.place);
                let words = Words::new(format!("exactly one of {list} may be set"))
                    .label(format!("`{first}` is set already"));
                decoder.report(Code::ExactlyOne, place, words);
            }
        }
    }
}

/// With `$patch: delete` nothing but the key of the item counts.
fn only_key(node: &Node, key: &str, decoder: &mut Decoder) {
    let Value::Map(entries) = &node.value else { return };
    for entry in entries.iter().filter(|e| e.key != key && e.key != "$patch") {
        if entry.value.value != Value::Null {
            let words = Words::new(format!("`{}` does not go with `$patch: delete`", entry.key))
                .label(format!("only `{key}` and `$patch`"));
            decoder.report(Code::FieldConflict, entry.place, words);
        }
    }
}
