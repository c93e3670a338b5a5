//! A whole document: apiVersion, kind, metadata, spec.

use std::collections::BTreeMap;

use serde::Serialize as _;
use serde_json::Value as Json;

use super::channel::{Channel, ChannelSpec};
use super::class::{self, ChannelClass};
use super::decode::{Decoder, Words};
use super::labels;
use super::meta::{API_VERSION, Kind, LABEL_MAX, NAME_MAX, ObjectMeta, ObjectRef, SourceRef};
use super::node::{Node, Value, shown};
use super::run::{Run, RunSpec};
use super::schedule::{Schedule, ScheduleSpec};
use super::text::name_at_most;
use super::validate::{Code, Violation, Violations, token};

/// An object of any kind.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// A workspace with its shell.
    Channel(Channel),
    /// The agent once.
    Run(Run),
    /// Runs at times.
    Schedule(Schedule),
    /// What channels share.
    Class(ChannelClass),
}

impl Resource {
    /// Its kind.
    pub const fn kind(&self) -> Kind {
        match self {
            Self::Channel(_) => Kind::Channel,
            Self::Run(_) => Kind::Run,
            Self::Schedule(_) => Kind::Schedule,
            Self::Class(_) => Kind::ChannelClass,
        }
    }

    /// Which object it is.
    pub fn object_ref(&self) -> ObjectRef {
        ObjectRef { kind: self.kind(), name: self.meta().name.clone() }
    }

    /// Name, labels, annotations.
    pub const fn meta(&self) -> &ObjectMeta {
        match self {
            Self::Channel(channel) => &channel.meta,
            Self::Run(run) => &run.meta,
            Self::Schedule(schedule) => &schedule.meta,
            Self::Class(class) => &class.meta,
        }
    }

    /// Where it was written.
    pub const fn source(&self) -> &SourceRef {
        match self {
            Self::Channel(channel) => &channel.source,
            Self::Run(run) => &run.source,
            Self::Schedule(schedule) => &schedule.source,
            Self::Class(class) => &class.source,
        }
    }

    /// The object as its file could write it, without the fields that are not set.
    pub fn to_json(&self) -> Json {
        let spec = match self {
            Self::Channel(channel) => channel.spec.serialize(serde_json::value::Serializer),
            Self::Run(run) => run.spec.serialize(serde_json::value::Serializer),
            Self::Schedule(schedule) => schedule.spec.serialize(serde_json::value::Serializer),
            Self::Class(class) => class.spec.serialize(serde_json::value::Serializer),
        };
        let meta = self.meta();
        let mut json = serde_json::json!({
            "apiVersion": API_VERSION,
            "kind": self.kind().as_str(),
            "metadata": {
                "name": meta.name.as_str(),
                "labels": (!meta.labels.is_empty()).then_some(&meta.labels),
                "annotations": (!meta.annotations.is_empty()).then_some(&meta.annotations),
            },
            "spec": spec.unwrap_or_default(),
        });
        drop_nulls(&mut json);
        json
    }
}

fn drop_nulls(json: &mut Json) {
    match json {
        Json::Object(map) => {
            map.retain(|_, value| !value.is_null());
            map.values_mut().for_each(drop_nulls);
        }
        Json::Array(items) => items.iter_mut().for_each(drop_nulls),
        _ => {}
    }
}

/// Judges a document of `file`. Without a resource there is at least one error; with one there are only warnings.
pub fn decode_object(file: &str, node: &Node) -> (Option<Resource>, Vec<Violation>) {
    let mut violations = Violations::default();
    let resource = decode_document(file, node, &mut violations);
    (resource, violations.into_vec(file))
}

/// The same for one of several documents, whose violations are collected in `violations`.
pub fn decode_document(file: &str, node: &Node, violations: &mut Violations) -> Option<Resource> {
    let mut decoder = Decoder::new(file);
    let resource = object(node, file, &mut decoder);
    let failed = decoder.failed();
    violations.append(decoder.finish());
    resource.filter(|_| !failed)
}

fn object(node: &Node, file: &str, decoder: &mut Decoder) -> Option<Resource> {
    secrets(node, decoder);
    if !matches!(node.value, Value::Map(_)) {
        let words = Words::new(format!("expected an object, found {}", node.described()))
            .label("not an object")
            .help("a document is a map with apiVersion, kind, metadata and spec");
        decoder.report(Code::WrongType, node.place, words);
        return None;
    }
    let node = decoder.fields(node, &["apiVersion", "kind", "metadata", "spec"])?;
    let version = decoder.required::<String>(node, "apiVersion");
    if let (Some(version), Some(at)) = (version, node.get("apiVersion"))
        && version != API_VERSION
    {
        let words = Words::new(format!("unknown apiVersion `{}`", shown(&version)))
            .label("not chanop's")
            .suggest(Some(API_VERSION));
        decoder.within("apiVersion", |d| d.report(Code::ApiVersion, at.place, words));
    }
    let kind = kind(node, decoder);
    let meta = metadata(node, kind, decoder);
    let spec = spec(node, decoder);
    let kind = kind?;
    let source = SourceRef { file: file.to_owned(), line: first_line(node) };
    // A document without a readable name is judged all the same: all that is wrong comes in one go.
    decoder.within("spec", |decoder| match kind {
        Kind::Channel => {
            let value = ChannelSpec::decode_spec(spec?, decoder);
            Some(Resource::Channel(Channel { spec: value?, meta: meta?, source }))
        }
        Kind::ChannelClass => {
            let blank = Node { place: node.place, value: Value::Map(Vec::new()) };
            let spec = spec.unwrap_or(&blank);
            let value = super::decode::Decode::decode(spec, decoder);
            class::check(spec, decoder);
            Some(Resource::Class(ChannelClass { spec: value?, meta: meta?, source }))
        }
        Kind::Run => {
            let value: Option<RunSpec> = super::decode::Decode::decode(spec?, decoder);
            Some(Resource::Run(Run { spec: value?, meta: meta?, source }))
        }
        Kind::Schedule => {
            let value: Option<ScheduleSpec> = super::decode::Decode::decode(spec?, decoder);
            Some(Resource::Schedule(Schedule { spec: value?, meta: meta?, source }))
        }
    })
}

impl ChannelSpec {
    /// A channel's spec: what a class's may lack, it must have.
    fn decode_spec(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let spec: Self = super::decode::Decode::decode(node, decoder)?;
        match node.get("workspace") {
            Some(workspace) => {
                if workspace.get("path").is_none() && matches!(workspace.value, Value::Map(_)) {
                    decoder.within("workspace", |d| d.required::<String>(workspace, "path"));
                }
            }
            None => {
                let _missing: Option<String> = decoder.required(node, "workspace");
            }
        }
        Some(spec)
    }
}

fn kind(node: &Node, decoder: &mut Decoder) -> Option<Kind> {
    let text = decoder.required::<String>(node, "kind")?;
    if let Some(kind) = Kind::ALL.into_iter().find(|kind| kind.as_str() == text) {
        return Some(kind);
    }
    let names = || Kind::ALL.iter().map(|kind| kind.as_str());
    let place = node.get("kind").map_or(node.place, |value| value.place);
    let words = Words::new(format!("unknown kind `{}`", shown(&text)))
        .label("not a kind")
        .suggest(decoder.suggestion(&text, names()));
    let words = if text == "OperatorPolicy" {
        words.help("a policy is no spec: give it to the operator with --policy FILE")
    } else {
        words.help(format!("allowed: {}", names().collect::<Vec<_>>().join(", ")))
    };
    decoder.within("kind", |decoder| decoder.report(Code::UnknownKind, place, words));
    None
}

/// The spec, which all kinds but a class must have.
fn spec<'n>(node: &'n Node, decoder: &mut Decoder) -> Option<&'n Node> {
    let class = node.get("kind").and_then(Node::as_str) == Some(Kind::ChannelClass.as_str());
    if node.get("spec").is_none() && !class {
        let _missing: Option<String> = decoder.required(node, "spec");
    }
    node.get("spec")
}

fn metadata(node: &Node, kind: Option<Kind>, decoder: &mut Decoder) -> Option<ObjectMeta> {
    let Some(meta) = node.get("metadata") else {
        let _missing: Option<String> = decoder.required(node, "metadata");
        return None;
    };
    decoder.within("metadata", |decoder| {
        let meta = decoder.fields(meta, &["name", "labels", "annotations"])?;
        let max = if kind == Some(Kind::Channel) { NAME_MAX } else { LABEL_MAX };
        let name = if let Some(node) = meta.get("name") {
            decoder.within("name", |decoder| name_at_most(node, max, decoder))
        } else {
            let _missing: Option<String> = decoder.required(meta, "name");
            None
        };
        if let (Some(kind), Some(name)) = (kind, &name) {
            decoder.set_object(ObjectRef { kind, name: name.clone() });
        }
        let labels = decoder.optional::<BTreeMap<_, _>>(meta, "labels").unwrap_or_default();
        labels::check(meta, "labels", decoder);
        let annotations = decoder.optional(meta, "annotations").unwrap_or_default();
        Some(ObjectMeta { name: name?, labels, annotations })
    })
}

fn first_line(node: &Node) -> u32 {
    match &node.value {
        Value::Map(entries) => entries.first().map_or(node.place.line, |first| first.place.line),
        _ => node.place.line,
    }
}

/// Reports every text that looks like a secret, wherever it stands.
pub(super) fn secrets(node: &Node, decoder: &mut Decoder) {
    match &node.value {
        Value::String(text) => {
            if let Some(kind) = token::kind_of(text) {
                let words = Words::new(format!("the value looks like {kind}"))
                    .label("not shown")
                    .help(
                        "specs lie in Git: put it into the secrets directory and name it, with \
                         valueFrom.secretKeyRef or agent.credentials; and revoke it if it was committed",
                    );
                decoder.report(Code::LooksLikeSecret, node.place, words);
            }
        }
        Value::List(items) => {
            for (index, item) in items.iter().enumerate() {
                decoder.within_item(index, |decoder| secrets(item, decoder));
            }
        }
        Value::Map(entries) => {
            for entry in entries {
                if let Some(kind) = token::kind_of(&entry.key) {
                    let words = Words::new(format!("the key looks like {kind}")).label("not shown");
                    decoder.report(Code::LooksLikeSecret, entry.place, words);
                }
                decoder.within(&entry.key, |decoder| secrets(&entry.value, decoder));
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}
