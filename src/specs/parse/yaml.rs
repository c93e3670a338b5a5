//! One document: the parser's events become nodes with places.
//!
//! Depth, nodes and bytes are limited. An alias, as a value or as a key, counts as a full copy of what it refers to, and so
//! does an anchor, because its node is kept for the aliases. Scalars are read by YAML 1.2's core schema, with
//! one caution: a number with a leading zero, which some read as octal, stays a text.

use std::collections::BTreeMap;

use serde_yaml::granit_parser::{Event, Options, Parser, ScalarStyle, ScanError, Span, Tag};

use super::FILE_BYTES_MAX;
use crate::resource::node::{Entry, Node, Place, Value, shown};
use crate::resource::project::PROJECT_BYTES_MAX;
use crate::resource::validate::Code;

/// Deeper than any spec, and shallow enough for recursion.
const DEPTH_MAX: usize = 64;

/// What one file can still expand to. Shared by all of its documents.
pub(super) struct Budget {
    nodes: usize,
    bytes: usize,
    /// What a file starts with, for the messages.
    most: (usize, usize),
}

impl Budget {
    /// For a spec file. A full channel has about 150 nodes.
    pub(super) const fn for_specs() -> Self {
        Self::new(100_000, 2 * FILE_BYTES_MAX)
    }

    /// For a project file, which describes a single agent.
    pub(super) const fn for_project() -> Self {
        Self::new(10_000, 2 * PROJECT_BYTES_MAX)
    }

    const fn new(nodes: usize, bytes: usize) -> Self {
        Self { nodes, bytes, most: (nodes, bytes) }
    }

    /// Bytes that a tree of what was read needs in memory, as an estimate that is not too low by much.
    pub(super) const fn used(&self) -> usize {
        let (nodes, bytes) = self.most;
        (nodes - self.nodes) * NODE_BYTES + (bytes - self.bytes)
    }
}

/// A key, a place, a value and their shares of allocations.
const NODE_BYTES: usize = 128;

/// Why a document could not be read.
pub(super) struct Trouble {
    pub(super) code: Code,
    pub(super) place: Place,
    pub(super) message: String,
    pub(super) label: String,
    pub(super) help: Option<String>,
}

/// Reads the one document in `text`, whose first line has the number `first_line`.
pub(super) fn document(text: &str, first_line: u32, budget: &mut Budget) -> Result<Node, Trouble> {
    let mut options = Options::default();
    options.set_emit_comments(false);
    let mut builder = Builder {
        text,
        first_line,
        budget,
        open: Vec::new(),
        anchors: BTreeMap::new(),
        root: None,
    };
    for next in Parser::new_from_str_with_options(text, options) {
        let (event, span) = next.map_err(|error| builder.syntax(&error))?;
        builder.take(&event, span)?;
    }
    let start = Place { line: first_line, column: 1, length: 0 };
    Ok(builder.root.unwrap_or(Node { place: start, value: Value::Null }))
}

/// A collection whose end has not come.
struct Open {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Vec<Entry>, key: Option<(String, Place)> },
}

struct Builder<'t, 'b> {
    text: &'t str,
    first_line: u32,
    budget: &'b mut Budget,
    open: Vec<Open>,
    /// By the parser's number; `None` while the node is not complete, or when it was too deep within others to be copied.
    anchors: BTreeMap<usize, Option<Node>>,
    root: Option<Node>,
}

impl Builder<'_, '_> {
    fn take(&mut self, event: &Event<'_>, span: Span) -> Result<(), Trouble> {
        let place = self.place(span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let plain = *style == ScalarStyle::Plain;
                self.count(1, text.len(), place)?;
                let value = Self::scalar(text, plain, tag.as_deref(), place)?;
                self.put(Node { place, value }, *anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                Self::untagged(tag.as_deref(), "seq", place)?;
                self.push(place, *anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                Self::untagged(tag.as_deref(), "map", place)?;
                self.push(place, *anchor, Content::Map { entries: Vec::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
            Event::Alias(anchor) => self.alias(*anchor, place),
            _ => Ok(()),
        }
    }

    fn push(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Trouble> {
        if self.open.len() >= DEPTH_MAX {
            return Err(Self::too_much(
                place,
                format!("the document is more than {DEPTH_MAX} levels deep"),
            ));
        }
        self.count(1, 0, place)?;
        if anchor > 0 {
            self.anchors.insert(anchor, None);
        }
        self.open.push(Open { place, anchor, content });
        Ok(())
    }

    fn close(&mut self) -> Result<(), Trouble> {
        let Some(Open { place, anchor, content }) = self.open.pop() else { return Ok(()) };
        let (place, value) = match content {
            Content::List(mut items) => {
                items.shrink_to_fit();
                (place, Value::List(items))
            }
            // A block map begins where its first key does: that is what to underline.
            Content::Map { mut entries, .. } => {
                entries.shrink_to_fit();
                let first = entries.first().map(|entry| entry.place);
                let place = first.filter(|first| first.line == place.line).unwrap_or(place);
                (place, Value::Map(entries))
            }
        };
        self.put(Node { place, value }, anchor)
    }

    fn alias(&mut self, anchor: usize, place: Place) -> Result<(), Trouble> {
        let Some(Some(node)) = self.anchors.get(&anchor) else {
            return Err(Trouble {
                code: Code::UnsupportedYaml,
                place,
                message: "an alias stands within what it refers to".to_owned(),
                label: "refers to itself".to_owned(),
                help: None,
            });
        };
        let Extent { nodes, bytes, depth } = extent(node);
        if self.open.len() + depth > DEPTH_MAX {
            return Err(Self::too_much(
                place,
                format!("the document is more than {DEPTH_MAX} levels deep"),
            ));
        }
        self.count(nodes, bytes, place)?;
        let Some(Some(mut node)) = self.anchors.get(&anchor).cloned() else { return Ok(()) };
        node.place = place;
        self.put(node, 0)
    }

    /// Puts a complete node where it belongs.
    fn put(&mut self, node: Node, anchor: usize) -> Result<(), Trouble> {
        if anchor > 0 {
            let Extent { nodes, bytes, depth: _ } = extent(&node);
            self.count(nodes, bytes, node.place)?;
            self.anchors.insert(anchor, Some(node.clone()));
        }
        match self.open.last_mut().map(|open| &mut open.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some((key, place)) => entries.push(Entry { key, place, value: node }),
                None => *key = Some((key_text(&node)?, node.place)),
            },
        }
        Ok(())
    }

    fn count(&mut self, nodes: usize, bytes: usize, place: Place) -> Result<(), Trouble> {
        let Budget { nodes: nodes_left, bytes: bytes_left, most } = &mut *self.budget;
        let (enough_nodes, enough_bytes) = (*nodes_left >= nodes, *bytes_left >= bytes);
        *nodes_left = nodes_left.saturating_sub(nodes);
        *bytes_left = bytes_left.saturating_sub(bytes);
        if !enough_nodes {
            let message = format!("the file has more than {} values, aliases expanded", most.0);
            return Err(Self::too_much(place, message));
        }
        if !enough_bytes {
            let message = format!("the file has more than {} bytes, aliases expanded", most.1);
            return Err(Self::too_much(place, message));
        }
        Ok(())
    }

    fn too_much(place: Place, message: String) -> Trouble {
        Trouble {
            code: Code::TooLarge,
            place,
            message,
            label: "from here on".to_owned(),
            help: None,
        }
    }

    fn scalar(text: &str, plain: bool, tag: Option<&Tag>, place: Place) -> Result<Value, Trouble> {
        let text = || text.to_owned();
        match tag.map(|tag| tag.core_suffix().unwrap_or("")) {
            None if plain => Ok(resolve(&text())),
            None | Some("str") => Ok(Value::String(text())),
            Some("int" | "float" | "bool" | "null") => Ok(resolve(&text())),
            Some(_) => Self::untagged(tag, "str", place).map(|()| Value::Null),
        }
    }

    fn untagged(tag: Option<&Tag>, core: &str, place: Place) -> Result<(), Trouble> {
        match tag {
            Some(tag) if tag.core_suffix() != Some(core) => Err(Trouble {
                code: Code::UnsupportedYaml,
                place,
                message: format!("the tag `{}` is not understood", shown(&tag.original())),
                label: "tagged".to_owned(),
                help: Some("leave the tag out; specs need none".to_owned()),
            }),
            _ => Ok(()),
        }
    }

    fn place(&self, span: Span) -> Place {
        let (start, end) = (span.start, span.end);
        let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
        let line = self.first_line.saturating_add(number(start.line().saturating_sub(1)));
        let length = if start.line() == end.line() {
            end.index().saturating_sub(start.index())
        } else {
            let at = start.byte_offset().unwrap_or_default();
            let rest = self.text.get(at..).and_then(|rest| rest.lines().next());
            rest.map_or(0, |rest| rest.trim_end().chars().count())
        };
        Place { line, column: number(start.col()).saturating_add(1), length: number(length) }
    }

    fn syntax(&self, error: &ScanError) -> Trouble {
        let marker = *error.marker();
        let place = self.place(Span::new(marker, marker));
        let info = error.info();
        let number = marker.line().saturating_sub(1);
        let tab =
            self.text.lines().nth(number).is_some_and(|line| {
                line.chars().take_while(|c| c.is_whitespace()).any(|c| c == '\t')
            });
        if info.contains("nest") || info.contains("recursion") || info.contains("depth") {
            return Self::too_much(
                place,
                format!("the document is more than {DEPTH_MAX} levels deep"),
            );
        }
        let (label, help) = if tab {
            ("a tab", "indent with spaces: YAML forbids tabs there")
        } else if info.contains("mapping values are not allowed") {
            ("a second `:`", "put a text that has `: ` in it into quotes, or check the indentation")
        } else {
            ("here, or before", "is a bracket, a brace or a quote still open above?")
        };
        Trouble {
            code: Code::Syntax,
            place,
            message: format!("not YAML: {}", shown(&info)),
            label: label.to_owned(),
            help: Some(help.to_owned()),
        }
    }
}

fn key_text(node: &Node) -> Result<String, Trouble> {
    match &node.value {
        Value::String(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Null => Ok(String::new()),
        Value::List(_) | Value::Map(_) => Err(Trouble {
            code: Code::UnsupportedYaml,
            place: node.place,
            message: "a key is a list or a map".to_owned(),
            label: "not a text".to_owned(),
            help: Some("put texts with braces or brackets into quotes".to_owned()),
        }),
    }
}

/// What a node and everything below it amount to.
#[derive(Clone, Copy, Default)]
struct Extent {
    nodes: usize,
    /// Of keys and scalars.
    bytes: usize,
    /// Levels, its own included.
    depth: usize,
}

fn extent(node: &Node) -> Extent {
    let mut all = Extent { nodes: 1, bytes: 0, depth: 0 };
    let mut add = |key: &str, child: &Node| {
        let Extent { nodes, bytes, depth } = extent(child);
        all.nodes += nodes + usize::from(!key.is_empty());
        all.bytes += bytes + key.len();
        all.depth = all.depth.max(depth);
    };
    match &node.value {
        Value::List(items) => items.iter().for_each(|item| add("", item)),
        Value::Map(entries) => entries.iter().for_each(|entry| add(&entry.key, &entry.value)),
        Value::String(text) | Value::Number(text) => all.bytes += text.len(),
        Value::Null | Value::Bool(_) => {}
    }
    all.depth += 1;
    all
}

fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let based = |prefix, radix| {
        text.strip_prefix(prefix).and_then(|digits| u64::from_str_radix(digits, radix).ok())
    };
    if let Some(number) = based("0x", 16).or_else(|| based("0o", 8)) {
        return Value::Number(number.to_string());
    }
    if is_number(text) { Value::Number(text.to_owned()) } else { Value::String(text.to_owned()) }
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, without leading zeros.
fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (unsigned, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let sound = match mantissa.split_once('.') {
        Some((whole, fraction)) => {
            (whole.is_empty() || digits(whole))
                && (fraction.is_empty() || digits(fraction))
                && mantissa.len() > 1
        }
        None => digits(mantissa),
    };
    let octal = mantissa.len() > 1 && mantissa.starts_with('0') && !mantissa.starts_with("0.");
    let exponent = exponent.is_none_or(|e| digits(e.strip_prefix(['-', '+']).unwrap_or(e)));
    sound && !octal && exponent
}

#[cfg(test)]
mod tests {
    use super::{Value, resolve};

    #[test]
    fn scalars_are_read_by_the_core_schema() {
        for text in [
            "no", "on", "y", "0777", "1_000", "1:30", ".", "1e", "0x", "-", "+.e3", "1.2.3", ".inf",
        ] {
            assert_eq!(resolve(text), Value::String(text.to_owned()), "{text}");
        }
        for text in
            ["0", "-1", "+1", "1.5", ".5", "5.", "1e3", "1.5E-3", "0.5", "18446744073709551616"]
        {
            assert_eq!(resolve(text), Value::Number(text.to_owned()), "{text}");
        }
        assert_eq!(resolve("0x1F"), Value::Number("31".to_owned()));
        assert_eq!(resolve("0o7"), Value::Number("7".to_owned()));
    }
}
