//! Mounts and files: what of the host appears in the containers, and where.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;

use super::container::Patch;
use super::rules::only_key;
use crate::resource::decode::{Decode, Decoder, Words, fields, map_fields};
use crate::resource::node::{Node, Place, Value, shown};
use crate::resource::quantity::Quantity;
use crate::resource::text::HostPath;
use crate::resource::validate::Code;

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
