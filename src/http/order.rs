//! The body of `POST …/runs`: a Run as its file would write it, in JSON, judged by the files' own decoder.
//!
//! All that is wrong is answered at once, each with the path of its field. `metadata.generateName` instead of a name has one
//! made, as in Kubernetes. What only a file can mean (`rerun`, `cancel`, annotations, which nothing would keep) is refused
//! rather than dropped in silence.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use uuid::Uuid;

use super::status::Refusal;
use super::views::{StatusCause, StatusDetails};
use crate::resource::node::{Entry, Node, Place, Value};
use crate::resource::validate::Violation;
use crate::resource::{Resource, ResourceName, RunSpec, decode_object};

/// The longest order: the agent's context holds a few megabytes of text, and JSON may double them.
pub(super) const ORDER_BYTES_MAX: usize = 12 * 1024 * 1024;

/// Values in an order: a conversation of thirty thousand messages. Each costs a hundred bytes beyond its text.
const NODES_MAX: usize = 100_000;

/// What stands behind a prefix: no vowels, no digit that looks like a letter, so no words.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// 14 million names a prefix.
const GENERATED_CHARS: usize = 5;

/// A run that is asked for.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct RunSubmission {
    pub(super) name: Named,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) spec: Arc<RunSpec>,
}

/// How it is to be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Named {
    /// So.
    As(ResourceName),
    /// As nothing else is, with this before.
    Generated(String),
}

impl Named {
    /// A name; of a prefix, another one each time.
    pub(super) fn name(&self) -> Result<ResourceName, Refusal> {
        match self {
            Self::As(name) => Ok(name.clone()),
            Self::Generated(prefix) => {
                ResourceName::parse(&format!("{prefix}{}", letters(Uuid::new_v4().as_u128())))
                    .map_err(|error| Refusal::bad_request(error.to_string()))
            }
        }
    }
}

/// Letters of a random number.
fn letters(mut random: u128) -> String {
    // A UUID's version and variant are in its middle: the lowest 62 bits are random.
    random &= (1 << 62) - 1;
    let base = LETTERS.len() as u128;
    let mut text = String::with_capacity(GENERATED_CHARS);
    for _ in 0..GENERATED_CHARS {
        let index = usize::try_from(random % base).unwrap_or(0);
        text.extend(LETTERS.get(index).map(|letter| char::from(*letter)));
        random /= base;
    }
    text
}

/// Judges a body.
pub(super) fn decode(body: &[u8]) -> Result<RunSubmission, Refusal> {
    let mut node = parse(body)?;
    let prefix = take_prefix(&mut node);
    let (resource, violations) = decode_object("the request", &node);
    let mut causes: Vec<_> = violations
        .iter()
        .filter(|violation| violation.is_error())
        .map(|violation| cause(violation, prefix.is_some()))
        .collect();
    let run = match resource {
        Some(Resource::Run(run)) => Some(run),
        Some(other) => {
            let message = format!("a {} is written in a file; here it is Run", other.kind());
            causes.push(own_cause("kind", &message));
            None
        }
        None => None,
    };
    if let Some(run) = &run {
        if run.spec.rerun.is_some_and(|times| times > 0) {
            causes.push(own_cause(
                "spec.rerun",
                "only a file can be told to run again: send the order under another name",
            ));
        }
        if run.spec.cancel == Some(true) {
            causes.push(own_cause("spec.cancel", "a run that is to be cancelled is not begun"));
        }
        if !run.meta.annotations.is_empty() {
            causes.push(own_cause(
                "metadata.annotations",
                "a run keeps labels, and no annotations: use labels",
            ));
        }
    }
    match run.filter(|_| causes.is_empty()) {
        Some(run) => Ok(RunSubmission {
            name: prefix.map_or(Named::As(run.meta.name), Named::Generated),
            labels: run.meta.labels,
            spec: Arc::new(run.spec),
        }),
        None => Err(invalid(causes)),
    }
}

fn parse(body: &[u8]) -> Result<Node, Refusal> {
    let bad =
        |error: serde_json::Error| Refusal::bad_request(format!("the body is no JSON: {error}"));
    let count = Cell::new(0);
    let mut decoder = serde_json::Deserializer::from_slice(body);
    let node = Tree(&count).deserialize(&mut decoder).map_err(bad)?;
    decoder.end().map_err(bad)?;
    Ok(node)
}

/// Takes `metadata.generateName` out, and puts a name as long in its place; with a name of its own the run has no use for it.
fn take_prefix(node: &mut Node) -> Option<String> {
    let metadata = entries(node)?.iter_mut().find(|entry| entry.key == "metadata")?;
    let fields = entries(&mut metadata.value)?;
    let at = fields.iter().position(|entry| entry.key == "generateName")?;
    let prefix = fields.get(at)?.value.as_str()?.to_owned();
    fields.remove(at);
    let is_named =
        fields.iter().any(|entry| entry.key == "name" && entry.value.value != Value::Null);
    if is_named || prefix.is_empty() {
        return None;
    }
    fields.retain(|entry| entry.key != "name");
    let name = Value::String(format!("{prefix}{}", "b".repeat(GENERATED_CHARS)));
    let place = Place::default();
    fields.push(Entry { key: "name".to_owned(), place, value: Node { place, value: name } });
    Some(prefix)
}

fn entries(node: &mut Node) -> Option<&mut Vec<Entry>> {
    match &mut node.value {
        Value::Map(entries) => Some(entries),
        _ => None,
    }
}

fn cause(violation: &Violation, generated: bool) -> StatusCause {
    let mut message = violation.message.clone();
    if let Some(meant) = &violation.suggestion {
        message.push_str("; did you mean `");
        message.push_str(meant);
        message.push_str("`?");
    }
    if let Some(help) = &violation.help {
        message.push_str(" (");
        message.push_str(help);
        message.push(')');
    }
    let field = match violation.path.as_str() {
        "metadata.name" if generated => "metadata.generateName",
        path => path,
    };
    StatusCause { field: field.to_owned(), reason: violation.code.to_string(), message }
}

fn own_cause(field: &str, message: &str) -> StatusCause {
    StatusCause {
        field: field.to_owned(),
        reason: "FieldValueForbidden".to_owned(),
        message: message.to_owned(),
    }
}

fn invalid(causes: Vec<StatusCause>) -> Refusal {
    /// A sentence is read; the list has the rest.
    const SAID_MAX: usize = 5;
    let said = |it: &StatusCause| {
        if it.field.is_empty() {
            it.message.clone()
        } else {
            format!("{}: {}", it.field, it.message)
        }
    };
    let mut words: Vec<_> = causes.iter().take(SAID_MAX).map(said).collect();
    if causes.len() > SAID_MAX {
        words.push(format!("and {} more", causes.len() - SAID_MAX));
    }
    let details = StatusDetails { kind: "runs".to_owned(), causes, ..StatusDetails::default() };
    Refusal::invalid(format!("the run is invalid: {}", words.join("; "))).about(details)
}

/// Reads a value of JSON into a [`Node`], which keeps doubled keys for the decoder to see. Depth is `serde_json`'s own bound.
#[derive(Clone, Copy)]
struct Tree<'c>(&'c Cell<usize>);

impl Tree<'_> {
    fn node<E: de::Error>(self, value: Value) -> Result<Node, E> {
        self.0.set(self.0.get() + 1);
        if self.0.get() > NODES_MAX {
            return Err(E::custom(format!("more than {NODES_MAX} values")));
        }
        Ok(Node { place: Place::default(), value })
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of JSON")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Node, E> {
        self.node(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Node, E> {
        self.node(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Node, E> {
        self.node(Value::Number(value.to_string()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Node, E> {
        self.node(Value::Number(value.to_string()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Node, E> {
        self.node(Value::Number(value.to_string()))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Node, E> {
        self.node(Value::String(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Node, E> {
        self.node(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Node, A::Error> {
        let mut items = vec![];
        while let Some(item) = seq.next_element_seed(self)? {
            items.push(item);
        }
        self.node(Value::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = vec![];
        while let Some(key) = map.next_key::<String>()? {
            let value = map.next_value_seed(self)?;
            entries.push(Entry { key, place: Place::default(), value });
        }
        self.node(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_name_has_five_letters_that_make_no_word() {
        let named = Named::Generated("web-".to_owned());
        let names: std::collections::BTreeSet<_> =
            (0..100).map(|_| named.name().unwrap().to_string()).collect();
        assert!(names.len() > 90, "{names:?}");
        for name in names {
            let tail = name.strip_prefix("web-").unwrap();
            assert!(tail.len() == 5 && tail.bytes().all(|b| LETTERS.contains(&b)), "{name}");
        }
        assert_eq!(letters(0), "bbbbb");
        assert_ne!(letters(1), letters(27));
    }

    #[test]
    fn what_has_too_many_values_or_is_too_deep_is_refused() {
        assert!(parse(format!("[{}0]", "0,".repeat(NODES_MAX)).as_bytes()).is_err());
        assert!(parse("[".repeat(100_000).as_bytes()).is_err());
        assert!(parse(b"{} {}").is_err());
    }
}
