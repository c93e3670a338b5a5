//! JSON Schemas of the kinds, for editors and for `chanop explain`: made from the types that read the files.
//!
//! Draft 7, which every editor knows, without references, so that a message names the field and not a definition. A schema says
//! what one value may be; rules between fields, and what must exist, only the decoder says. What the schema refuses, the
//! decoder refuses: a test holds them together.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value as Json, json};

use super::channel::ChannelSpec;
use super::class::NOT_SHARED;
use super::meta::{API_VERSION, Kind, LABEL_MAX, NAME_MAX};
use super::run::RunSpec;
use super::schedule::ScheduleSpec;

/// The schema of a kind's documents.
pub fn of(kind: Kind) -> Json {
    let (spec, about, name_max) = match kind {
        Kind::Channel => (channel(), "A workspace with one long-lived shell container.", NAME_MAX),
        Kind::ChannelClass => (class(), "What many channels share.", LABEL_MAX),
        Kind::Run => {
            (spec_of::<RunSpec>(), "The agent once, in a container of its own.", LABEL_MAX)
        }
        Kind::Schedule => (spec_of::<ScheduleSpec>(), "Runs at times.", LABEL_MAX),
    };
    let texts = |about: &str| {
        json!({
            "description": about,
            "type": ["object", "null"],
            "additionalProperties": { "type": ["string", "null"] },
        })
    };
    let required: &[&str] = match kind {
        Kind::ChannelClass => &["apiVersion", "kind", "metadata"],
        Kind::Channel | Kind::Run | Kind::Schedule => &["apiVersion", "kind", "metadata", "spec"],
    };
    json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": kind.as_str(),
        "description": about,
        "type": "object",
        "properties": {
            "apiVersion": { "description": "The group and version of chanop's kinds.", "const": API_VERSION },
            "kind": { "description": "The kind of the object.", "const": kind.as_str() },
            "metadata": {
                "description": "Name, labels and annotations.",
                "type": "object",
                "properties": {
                    "name": {
                        "description": "The object's ID within its kind: a DNS-1123 label, never renamed in place.",
                        "type": "string",
                        "maxLength": name_max,
                        "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
                    },
                    "labels": texts("For selecting. They never become Docker labels."),
                    "annotations": texts("For notes; a new value of chanop.dev/restartedAt recreates the shell."),
                },
                "required": ["name"],
                "additionalProperties": false,
            },
            "spec": spec,
        },
        "required": required,
        "additionalProperties": false,
    })
}

/// The name of a kind's file below `schemas/`.
pub fn file_name(kind: Kind) -> String {
    format!("{}.json", kind.as_str().to_ascii_lowercase())
}

/// The file's text.
pub fn text(kind: Kind) -> String {
    format!("{:#}\n", of(kind))
}

fn spec_of<T: JsonSchema>() -> Json {
    let settings = SchemaSettings::draft07().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    if let Json::Object(root) = &mut schema {
        root.remove("title");
    }
    schema
}

/// What a class may lack, a channel must have.
fn channel() -> Json {
    let mut spec = spec_of::<ChannelSpec>();
    require(&mut spec, "workspace");
    if let Some(workspace) = spec.pointer_mut("/properties/workspace") {
        require(workspace, "path");
    }
    spec
}

fn require(schema: &mut Json, key: &str) {
    let Json::Object(schema) = schema else { return };
    schema.insert("required".to_owned(), json!([key]));
    if let Some(Json::Object(field)) = schema.get_mut("properties").and_then(|all| all.get_mut(key))
        && let Some(Json::Array(types)) = field.get_mut("type")
    {
        types.retain(|name| name != "null");
        if let [only] = types.as_slice() {
            let only = only.clone();
            field.insert("type".to_owned(), only);
        }
    }
}

fn class() -> Json {
    let mut spec = spec_of::<ChannelSpec>();
    for (path, _) in NOT_SHARED {
        let mut at = Some(&mut spec);
        let Some((last, parents)) = path.split_last() else { continue };
        for key in parents {
            at = at.and_then(|at| at.get_mut("properties")?.get_mut(key));
        }
        if let Some(Json::Object(fields)) = at.and_then(|at| at.get_mut("properties")) {
            fields.shift_remove(*last);
        }
    }
    if let Json::Object(fields) = &mut spec {
        let text = "Any field of a channel's spec but workspace.path and className.";
        fields.insert("description".to_owned(), text.into());
        fields.insert("type".to_owned(), json!(["object", "null"]));
    }
    spec
}

/// Rust's widths become bounds, and closed enums become `enum` with what each word means.
fn tidy(schema: &mut Json) {
    match schema {
        Json::Object(map) => {
            bounds(map);
            words(map);
            nullable(map);
            paragraphs(map);
            blanks(map);
            map.values_mut().for_each(tidy);
        }
        Json::Array(items) => items.iter_mut().for_each(tidy),
        _ => {}
    }
}

fn bounds(map: &mut Map<String, Json>) {
    let most = match map.get("format").and_then(Json::as_str) {
        Some("uint32") => Some(u64::from(u32::MAX)),
        Some("uint16") => Some(u64::from(u16::MAX)),
        Some("double") => None,
        _ => return,
    };
    map.shift_remove("format");
    if let Some(most) = most {
        map.entry("maximum").or_insert_with(|| most.into());
    }
}

/// `oneOf` of constants, each with its description.
fn words(map: &mut Map<String, Json>) {
    let Some(Json::Array(all)) = map.get("oneOf") else { return };
    let words: Option<Vec<Json>> = all.iter().map(|one| one.get("const").cloned()).collect();
    let Some(words) = words else { return };
    let texts: Vec<Json> =
        all.iter().map(|one| one.get("description").cloned().unwrap_or_default()).collect();
    map.shift_remove("oneOf");
    map.insert("type".to_owned(), "string".into());
    map.insert("enum".to_owned(), words.into());
    map.insert("markdownEnumDescriptions".to_owned(), texts.into());
}

/// `anyOf` of one thing and null.
fn nullable(map: &mut Map<String, Json>) {
    let Some(Json::Array(all)) = map.get_mut("anyOf") else { return };
    let [Json::Object(one), null] = all.as_mut_slice() else { return };
    if null != &json!({ "type": "null" }) {
        return;
    }
    words(one);
    let mut one = one.clone();
    map.shift_remove("anyOf");
    if let Some(Json::Array(choices)) = one.get_mut("anyOf") {
        choices.push(json!({ "type": "null" }));
    }
    may_be_null(&mut one);
    if let Some(Json::Array(words)) = one.get_mut("enum") {
        words.push(Json::Null);
    }
    for (key, value) in one {
        map.entry(key).or_insert(value);
    }
}

fn may_be_null(map: &mut Map<String, Json>) {
    if let Some(Json::String(name)) = map.get("type") {
        let types = json!([name, "null"]);
        map.insert("type".to_owned(), types);
    }
}

/// A blank value is as if its key were absent, in maps with free keys too.
fn blanks(map: &mut Map<String, Json>) {
    if let Some(Json::Object(value)) = map.get_mut("additionalProperties") {
        may_be_null(value);
    }
}

/// A description is one paragraph; the lines of the source are not the reader's.
fn paragraphs(map: &mut Map<String, Json>) {
    if let Some(Json::String(text)) = map.get_mut("description") {
        *text = text.replace('\n', " ");
    }
}
