//! A document as it was written: values with their places, before any type is put on them.
//!
//! The parser of the files and the API's JSON both end here, so that one decoder judges both. Nothing is lost on the way:
//! a number keeps its spelling, a map its order and its doubled keys. Whoever builds a tree bounds its size and depth.

use serde_json::{Map, Number, Value as Json};

/// Where something stands; all zero when it came from no file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
    /// In characters, never beyond the line.
    pub length: u32,
}

/// A value and its place.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// Where it stands.
    pub place: Place,
    /// What it is.
    pub value: Value,
}

/// What a node is, by YAML 1.2's core schema.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// Blank, `null` or a bare `~`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A decimal number as it was spelled.
    Number(String),
    /// Anything else that is a scalar.
    String(String),
    /// A sequence.
    List(Vec<Node>),
    /// A mapping in its order, with every key that was written.
    Map(Vec<Entry>),
}

/// A key with its value.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The key's text.
    pub key: String,
    /// Where the key stands.
    pub place: Place,
    /// What it holds.
    pub value: Node,
}

impl Node {
    /// The value of `key`, when this is a map that has it and it is not blank.
    pub fn get(&self, key: &str) -> Option<&Self> {
        let value = self.entry(key).map(|entry| &entry.value)?;
        (value.value != Value::Null).then_some(value)
    }

    /// The entry of `key`, blank or not.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        match &self.value {
            Value::Map(entries) => entries.iter().find(|entry| entry.key == key),
            _ => None,
        }
    }

    /// The text, when this is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// What to call it in a message: `the number 080`, `a list`.
    pub fn described(&self) -> String {
        match &self.value {
            Value::Null => "nothing".to_owned(),
            Value::Bool(value) => format!("the boolean `{value}`"),
            Value::Number(text) => format!("the number `{text}`"),
            Value::String(text) => format!("the string `{}`", shown(text)),
            Value::List(_) => "a list".to_owned(),
            Value::Map(_) => "a map".to_owned(),
        }
    }

    /// The same as JSON; of a doubled key the last value counts.
    pub fn to_json(&self) -> Json {
        match &self.value {
            Value::Null => Json::Null,
            Value::Bool(value) => Json::Bool(*value),
            Value::Number(text) => {
                number(text).map_or_else(|| Json::String(text.clone()), Json::Number)
            }
            Value::String(text) => Json::String(text.clone()),
            Value::List(items) => Json::Array(items.iter().map(Self::to_json).collect()),
            Value::Map(entries) => Json::Object(
                entries.iter().map(|e| (e.key.clone(), e.value.to_json())).collect::<Map<_, _>>(),
            ),
        }
    }
}

impl From<&Json> for Node {
    fn from(json: &Json) -> Self {
        let value = match json {
            Json::Null => Value::Null,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(value) => Value::Number(value.to_string()),
            Json::String(text) => Value::String(text.clone()),
            Json::Array(items) => Value::List(items.iter().map(Self::from).collect()),
            Json::Object(map) => Value::Map(
                map.iter()
                    .map(|(key, value)| Entry {
                        key: key.clone(),
                        place: Place::default(),
                        value: Self::from(value),
                    })
                    .collect(),
            ),
        };
        Self { place: Place::default(), value }
    }
}

fn number(text: &str) -> Option<Number> {
    if let Ok(whole) = text.parse::<i64>() {
        return Some(whole.into());
    }
    if let Ok(whole) = text.parse::<u64>() {
        return Some(whole.into());
    }
    text.parse().ok().and_then(Number::from_f64)
}

/// `text` short enough for a message, and without what looks like a secret: that is masked before the cut, since half of a
/// secret has no shape and is one all the same.
pub fn shown(text: &str) -> String {
    /// A message is read on one line.
    const SHOWN_MAX: usize = 60;
    let text = &super::validate::token::redact(text);
    let line = text.lines().next().unwrap_or_default();
    if line.len() == text.len() && text.chars().count() <= SHOWN_MAX {
        return text.to_owned();
    }
    let head: String = line.chars().take(SHOWN_MAX).collect();
    format!("{head}…")
}
