//! From nodes to types: strict, and to the end.
//!
//! A [`Decoder`] walks a document once and writes down everything that is wrong; it never stops at the first. A blank value
//! is as if its key were absent. `fields!` makes the decoder of a struct from the list of its keys; rules between
//! fields are a function named behind `check`, which sees the value and the nodes it came from.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::meta::ObjectRef;
use super::node::{Entry, Node, Place, Value};
use super::validate::near::nearest;
use super::validate::{Code, Severity, Violation, Violations, token};

/// A type that can be read from a node.
pub trait Decode: Sized {
    /// The value, or `None` after writing down why there is none.
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self>;
}

/// What a violation says beside its code and place.
#[derive(Debug, Default)]
pub struct Words {
    /// The sentence.
    pub message: String,
    /// Beside the caret.
    pub label: String,
    /// What was meant.
    pub suggestion: Option<String>,
    /// What to do.
    pub help: Option<String>,
}

impl Words {
    /// A sentence alone.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// With a word beside the caret.
    #[must_use]
    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = label.into();
        self
    }

    /// With what was probably meant.
    #[must_use]
    pub fn suggest(mut self, suggestion: Option<impl Into<String>>) -> Self {
        self.suggestion = suggestion.map(Into::into);
        self
    }

    /// With what to do.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// The walk through one document.
#[derive(Debug)]
pub struct Decoder {
    file: String,
    object: Option<ObjectRef>,
    path: String,
    violations: Violations,
    /// How many texts were compared with the allowed words. A violation that is not shown needs no suggestion.
    suggestions: usize,
}

/// What a message shows of a text that the file chose, in characters. A key can be as long as the file.
const MESSAGE_CHARS_MAX: usize = 1_000;

impl Decoder {
    /// A walk through a document of `file`.
    pub fn new(file: &str) -> Self {
        Self {
            file: file.to_owned(),
            object: None,
            path: String::new(),
            violations: Violations::default(),
            suggestions: 0,
        }
    }

    /// From here on violations name this object.
    pub fn set_object(&mut self, object: ObjectRef) {
        self.object = Some(object);
    }

    /// What was found.
    pub fn finish(mut self) -> Violations {
        for violation in self.violations.kept_mut() {
            violation.object.clone_from(&self.object);
        }
        self.violations
    }

    /// Has an error been written down?
    pub fn failed(&self) -> bool {
        self.violations.has_errors()
    }

    /// The path of the field being read.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Writes down a violation at the current path.
    pub fn report(&mut self, code: Code, place: Place, words: Words) {
        if self.violations.is_full() && code.severity() == Severity::Error {
            self.violations.count_error();
            return;
        }
        let Words { message, label, suggestion, help } = words;
        let shown = |text: &str| shortened(token::redact(text));
        self.violations.push(Violation {
            code,
            severity: code.severity(),
            file: self.file.clone(),
            line: place.line,
            column: place.column,
            length: place.length,
            path: shown(&self.path),
            object: None,
            message: shown(&message),
            label: shown(&label),
            suggestion: suggestion.map(|text| shown(&text)),
            help: help.map(|text| shown(&text)),
        });
    }

    /// Runs `read` with `key` appended to the path.
    pub fn within<T>(&mut self, key: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        if !self.path.is_empty() {
            self.path.push('.');
        }
        self.path.push_str(key);
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// Runs `read` with `[index]` appended to the path.
    pub fn within_item<T>(&mut self, index: usize, read: impl FnOnce(&mut Self) -> T) -> T {
        let length = self.path.len();
        let _infallible = write!(self.path, "[{index}]");
        let value = read(self);
        self.path.truncate(length);
        value
    }

    /// The entries of a map whose keys must be among `allowed`; reports unknown and doubled ones.
    pub fn fields<'n>(&mut self, node: &'n Node, allowed: &[&str]) -> Option<&'n Node> {
        let Value::Map(entries) = &node.value else {
            self.wrong_type(node, "a map");
            return None;
        };
        self.doubled(entries);
        for entry in entries {
            if !allowed.contains(&entry.key.as_str()) {
                self.unknown(entry, allowed);
            }
        }
        Some(node)
    }

    /// Reports each key that stands there already.
    pub fn doubled(&mut self, entries: &[Entry]) {
        let mut seen: BTreeMap<&str, Place> = BTreeMap::new();
        for entry in entries {
            if let Some(first) = seen.insert(&entry.key, entry.place) {
                if self.is_counting() {
                    self.violations.count_error();
                    continue;
                }
                let words = Words::new(format!("duplicate key `{}`", entry.key))
                    .label(format!("already set in line {}", first.line))
                    .help("keep one of the two; which one counts would be a matter of luck");
                self.report(Code::DuplicateField, entry.place, words);
            }
        }
    }

    /// Are further errors only counted? Then their words are not needed.
    fn is_counting(&self) -> bool {
        self.violations.is_full()
    }

    /// The allowed word that `written` most likely stands for.
    pub fn suggestion<'a>(
        &mut self,
        written: &str,
        allowed: impl IntoIterator<Item = &'a str>,
    ) -> Option<&'a str> {
        if self.is_counting() {
            return None;
        }
        self.suggestions += 1;
        nearest(written, allowed)
    }

    fn unknown(&mut self, entry: &Entry, allowed: &[&str]) {
        if self.is_counting() {
            self.violations.count_error();
            return;
        }
        if entry.key == "<<" {
            let words = Words::new("merge keys (`<<`) are not part of YAML 1.2")
                .help("write the fields out, or put what channels share into a ChannelClass");
            self.report(Code::UnsupportedYaml, entry.place, words);
            return;
        }
        let near = self.suggestion(&entry.key, allowed.iter().copied());
        let words = Words::new(format!("unknown field `{}`", entry.key))
            .label(if allowed.is_empty() { "no field belongs here" } else { "not a field here" })
            .suggest(near)
            .help(format!("allowed: {}", allowed.join(", ")));
        self.report(Code::UnknownField, entry.place, words);
    }

    /// Reports that something else was due than what `node` is.
    pub fn wrong_type(&mut self, node: &Node, due: &str) {
        let words = Words::new(format!("expected {due}, found {}", node.described()));
        self.report(Code::WrongType, node.place, words.label(format!("expected {due}")));
    }

    /// The field `key`, when it is there, not blank and right.
    pub fn optional<T: Decode>(&mut self, node: &Node, key: &str) -> Option<T> {
        let value = node.get(key)?;
        self.within(key, |decoder| T::decode(value, decoder))
    }

    /// The field `key`, which must be there.
    pub fn required<T: Decode>(&mut self, node: &Node, key: &str) -> Option<T> {
        if node.get(key).is_some() {
            return self.optional(node, key);
        }
        let blank = node.entry(key);
        let place = blank.map_or(node.place, |entry| entry.place);
        let message = match blank {
            Some(_) => format!("`{key}` is blank, and it must be set"),
            None => format!("`{key}` is missing"),
        };
        let words = Words::new(message).label(format!("needs `{key}`"));
        self.report(Code::MissingField, place, words);
        None
    }

    /// One of `allowed`, with a suggestion when it is none of them.
    pub fn word<T: Copy>(&mut self, node: &Node, allowed: &[(&'static str, T)]) -> Option<T> {
        let list = || allowed.iter().map(|(word, _)| *word);
        let Some(text) = node.as_str() else {
            let due = format!("one of {}", list().collect::<Vec<_>>().join(", "));
            self.wrong_type(node, &due);
            return None;
        };
        if let Some((_, value)) = allowed.iter().find(|(word, _)| *word == text) {
            return Some(*value);
        }
        let near = self.suggestion(text, list());
        let words = Words::new(format!("unknown value `{}`", super::node::shown(text)))
            .label("not one of the allowed values")
            .suggest(near)
            .help(format!("allowed: {}", list().collect::<Vec<_>>().join(", ")));
        self.report(Code::UnknownWord, node.place, words);
        None
    }

    /// A whole number from `least` to `most`.
    pub fn whole(&mut self, node: &Node, least: i128, most: i128) -> Option<i128> {
        let number = match &node.value {
            Value::Number(text) => text.parse::<i128>().ok(),
            _ => None,
        };
        let Some(number) = number else {
            let due = if least >= 0 { "a whole number" } else { "an integer" };
            let quoted = node.as_str().filter(|text| text.parse::<i128>().is_ok());
            let words = Words::new(format!("expected {due}, found {}", node.described()))
                .label(format!("expected {due}"))
                .suggest(quoted);
            self.report(Code::WrongType, node.place, words);
            return None;
        };
        if number < least || number > most {
            let words = Words::new(format!("{number} is out of range"))
                .label(format!("from {least} to {most}"));
            self.report(Code::OutOfRange, node.place, words);
            return None;
        }
        Some(number)
    }
}

impl Decode for String {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        match &node.value {
            Value::String(text) if !text.contains('\0') => Some(text.clone()),
            Value::String(_) => {
                let words = Words::new("a text must not hold a NUL character");
                decoder.report(Code::InvalidText, node.place, words);
                None
            }
            Value::Bool(_) | Value::Number(_) => {
                let bare = match &node.value {
                    Value::Bool(value) => value.to_string(),
                    Value::Number(text) => text.clone(),
                    _ => Self::new(),
                };
                let words = Words::new(format!("expected a string, found {}", node.described()))
                    .label("expected a string")
                    .suggest(Some(format!("\"{bare}\"")))
                    .help("put it into quotes");
                decoder.report(Code::WrongType, node.place, words);
                None
            }
            Value::Null | Value::List(_) | Value::Map(_) => {
                decoder.wrong_type(node, "a string");
                None
            }
        }
    }
}

impl Decode for bool {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if let Value::Bool(value) = node.value {
            return Some(value);
        }
        let meant = match node.as_str().map(str::to_lowercase).as_deref() {
            Some("yes" | "on" | "y" | "true") => Some("true"),
            Some("no" | "off" | "n" | "false") => Some("false"),
            _ => None,
        };
        let words = Words::new(format!("expected true or false, found {}", node.described()))
            .label("expected true or false")
            .suggest(meant);
        decoder.report(Code::WrongType, node.place, words);
        None
    }
}

macro_rules! whole_numbers {
    ($($type:ty),+) => {$(
        impl Decode for $type {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                let number = decoder.whole(node, i128::from(Self::MIN), i128::from(Self::MAX))?;
                Self::try_from(number).ok()
            }
        }
    )+};
}
whole_numbers!(u16, u32);

impl Decode for f64 {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        if let Value::Number(text) = &node.value
            && let Ok(number) = text.parse::<Self>()
            && number.is_finite()
        {
            return Some(number);
        }
        decoder.wrong_type(node, "a number");
        None
    }
}

impl<T: Decode> Decode for Vec<T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Value::List(items) = &node.value else {
            decoder.wrong_type(node, "a list");
            return None;
        };
        let mut all = Self::with_capacity(items.len());
        for (index, item) in items.iter().enumerate() {
            all.extend(decoder.within_item(index, |decoder| T::decode(item, decoder)));
        }
        Some(all)
    }
}

impl<T: Decode> Decode for BTreeMap<String, T> {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        let Value::Map(entries) = &node.value else {
            decoder.wrong_type(node, "a map");
            return None;
        };
        decoder.doubled(entries);
        let mut all = Self::new();
        for entry in entries {
            if entry.key == "<<" {
                decoder.unknown(entry, &[]);
            } else if entry.value.value != Value::Null {
                let value = decoder.within(&entry.key, |decoder| T::decode(&entry.value, decoder));
                all.extend(value.map(|value| (entry.key.clone(), value)));
            }
        }
        Some(all)
    }
}

/// `text` up to [`MESSAGE_CHARS_MAX`]; secrets were masked before, because half of one is still one.
fn shortened(mut text: String) -> String {
    if let Some((end, _)) = text.char_indices().nth(MESSAGE_CHARS_MAX) {
        text.truncate(end);
        text.push('…');
        text.shrink_to_fit();
    }
    text
}

/// Implements [`Decode`] for a struct from its fields and their keys; `required` marks those that must be there.
///
/// Behind the list, `check` names a function of the value and its node; `judge` one of the node alone, which is called even
/// when a field that must be there is not.
///
/// The struct literal below makes the compiler ask for every field; a test holds the keys against the schema's.
macro_rules! fields {
    ($type:ident $($body:tt)+) => {
        $crate::resource::decode::map_fields!($type $($body)+);
        impl $crate::resource::decode::Decode for $type {
            fn decode(
                node: &$crate::resource::node::Node,
                decoder: &mut $crate::resource::decode::Decoder,
            ) -> Option<Self> {
                Self::decode_map(node, decoder)
            }
        }
    };
}
/// The same as a function of its own, for types that have another form beside the map.
macro_rules! map_fields {
    ($type:ident { $($field:ident = $key:literal $($required:ident)?),+ $(,)? } $(check $check:path)? $(, judge $judge:path)?) => {
        impl $type {
            /// The keys of its map.
            pub(crate) const KEYS: &'static [&'static str] = &[$($key),+];

            fn decode_map(
                node: &$crate::resource::node::Node,
                decoder: &mut $crate::resource::decode::Decoder,
            ) -> Option<Self> {
                let node = decoder.fields(node, Self::KEYS)?;
                Self::read_map(node, decoder)
            }

            /// The fields alone; whoever calls has judged the keys.
            fn read_map(
                node: &$crate::resource::node::Node,
                decoder: &mut $crate::resource::decode::Decoder,
            ) -> Option<Self> {
                $(let $field = $crate::resource::decode::read!(decoder, node, $key $($required)?);)+
                $($judge(node, decoder);)?
                let value = Self {
                    $($field: $crate::resource::decode::got!($field $($required)?)),+
                };
                $($check(&value, node, decoder);)?
                Some(value)
            }
        }
    };
}
macro_rules! read {
    ($decoder:ident, $node:ident, $key:literal) => {
        $decoder.optional($node, $key)
    };
    ($decoder:ident, $node:ident, $key:literal required) => {
        $decoder.required($node, $key)
    };
}
macro_rules! got {
    ($field:ident) => {
        $field
    };
    ($field:ident required) => {
        $field?
    };
}
/// Implements [`Decode`] for an enum whose words are its variants' names.
macro_rules! words {
    ($type:ident { $($variant:ident),+ $(,)? }) => {
        impl $crate::resource::decode::Decode for $type {
            fn decode(
                node: &$crate::resource::node::Node,
                decoder: &mut $crate::resource::decode::Decoder,
            ) -> Option<Self> {
                decoder.word(node, &[$((stringify!($variant), Self::$variant)),+])
            }
        }
    };
}
pub(crate) use {fields, got, map_fields, read, words};

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::validate::VIOLATIONS_MAX;

    fn map(keys: impl Iterator<Item = String>) -> Node {
        let blank = Node { place: Place::default(), value: Value::Bool(true) };
        let entry = |key| Entry { key, place: Place::default(), value: blank.clone() };
        Node { place: Place::default(), value: Value::Map(keys.map(entry).collect()) }
    }

    #[test]
    fn unknown_fields_cost_a_limited_number_of_suggestions() {
        let mut decoder = Decoder::new("a.yaml");
        let node = map((0..25_000).map(|index| format!("memmory{index}")));
        decoder.fields(&node, &["memory", "cpu"]);
        assert_eq!(decoder.suggestions, VIOLATIONS_MAX);
        let shown = decoder.finish().into_vec("a.yaml");
        assert_eq!(shown.len(), VIOLATIONS_MAX + 1);
        assert!(shown.last().unwrap().message.starts_with("24900 more are not shown"));
    }

    #[test]
    fn unknown_values_cost_a_limited_number_of_suggestions() {
        let mut decoder = Decoder::new("a.yaml");
        let text = Node { place: Place::default(), value: Value::String("Alwys".to_owned()) };
        for _ in 0..5_000 {
            decoder.word(&text, &[("Always", ())]);
        }
        assert_eq!(decoder.suggestions, VIOLATIONS_MAX);
        assert!(decoder.failed());
    }

    #[test]
    fn long_keys_are_shortened_in_messages_and_paths() {
        let mut decoder = Decoder::new("a.yaml");
        let key = "k".repeat(500_000);
        let node = map([key.clone()].into_iter());
        decoder.within(&key, |decoder| decoder.fields(&node, &["a"]));
        let shown = decoder.finish().into_vec("a.yaml");
        let bytes = shown.iter().map(|v| v.path.len() + v.message.len()).sum::<usize>();
        assert!(bytes < 3_000, "{bytes}");
    }
}
