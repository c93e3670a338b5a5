//! JSON values as YAML for people: block style, and a comment behind a field where there is something to say of it.
//!
//! Text is written plain only where no reader could take it for anything else; all other text is written as JSON's
//! strings, which are YAML's double-quoted ones. Control characters never reach the terminal raw.

use std::fmt::Write as _;

use serde_json::Value;

use crate::resource::text::is_deceptive;

/// `value` as a YAML document. `comment` is asked for each field by its path, `spec.image.ref`, and
/// for each item of a list by its name or target, `spec.env[RUST_LOG]`.
pub(super) fn document(value: &Value, comment: &dyn Fn(&str) -> Option<String>) -> String {
    let mut writer = Writer { text: String::new(), comment };
    writer.block(value, 0, "");
    writer.text
}

/// `text` as one value, also within braces.
pub(super) fn flow_scalar(text: &str) -> String {
    // A path below `~` is plain: the tilde means nothing to YAML unless it stands alone.
    match text.strip_prefix("~/") {
        Some(below) if scalar(below) == *below => text.to_owned(),
        _ => scalar(text),
    }
}

struct Writer<'a> {
    text: String,
    comment: &'a dyn Fn(&str) -> Option<String>,
}

impl Writer<'_> {
    fn block(&mut self, value: &Value, indent: usize, path: &str) {
        match value {
            Value::Object(fields) if !fields.is_empty() => {
                for (key, field) in fields {
                    self.pad(indent);
                    self.text += &scalar(key);
                    self.text.push(':');
                    let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                    self.field(field, indent, &path);
                }
            }
            Value::Array(items) if !items.is_empty() => {
                for (index, item) in items.iter().enumerate() {
                    self.pad(indent);
                    self.text.push('-');
                    self.item(item, indent, &format!("{path}[{}]", key_of(item, index)));
                }
            }
            leaf => {
                self.pad(indent);
                self.leaf(leaf, path);
            }
        }
    }

    fn field(&mut self, field: &Value, indent: usize, path: &str) {
        if is_leaf(field) {
            self.text.push(' ');
            self.leaf(field, path);
            return;
        }
        self.remark(path);
        self.text.push('\n');
        // A list may stand at its key's own column, as kubectl writes it.
        let deeper = if field.is_array() { indent } else { indent + 2 };
        self.block(field, deeper, path);
    }

    fn item(&mut self, item: &Value, indent: usize, path: &str) {
        if is_leaf(item) {
            self.text.push(' ');
            self.leaf(item, path);
            return;
        }
        if item.is_array() {
            self.text.push('\n');
            self.block(item, indent + 2, path);
            return;
        }
        // The first field stands behind the dash, in the column of the others.
        let begin = self.text.len();
        self.block(item, indent + 2, path);
        self.text.replace_range(begin..begin + indent + 2, " ");
        if let (Some(remark), Some(end)) = ((self.comment)(path), self.text.get(begin..)) {
            let end = begin + end.find('\n').unwrap_or(end.len());
            self.text.insert_str(end, &remark_of(&remark));
        }
    }

    fn leaf(&mut self, leaf: &Value, path: &str) {
        self.text += &match leaf {
            Value::String(text) => scalar(text),
            Value::Object(_) => "{}".to_owned(),
            Value::Array(_) => "[]".to_owned(),
            Value::Null | Value::Bool(_) | Value::Number(_) => leaf.to_string(),
        };
        self.remark(path);
        self.text.push('\n');
    }

    fn remark(&mut self, path: &str) {
        if let Some(remark) = (self.comment)(path) {
            self.text += &remark_of(&remark);
        }
    }

    fn pad(&mut self, indent: usize) {
        self.text.extend(std::iter::repeat_n(' ', indent));
    }
}

fn remark_of(remark: &str) -> String {
    format!("  # {}", super::printer::plain(remark).replace(['\n', '\t'], " "))
}

/// What an item of a list is known by: what lists merge by, or its place.
fn key_of(item: &Value, index: usize) -> String {
    let key = ["name", "target"].into_iter().find_map(|key| item.get(key)?.as_str());
    key.map_or_else(|| index.to_string(), str::to_owned)
}

fn is_leaf(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
    }
}

/// Text that is a word, a path or an image's name stands as it is; all other text in quotes.
fn scalar(text: &str) -> String {
    let begins =
        text.bytes().next().is_some_and(|b| b.is_ascii_alphabetic() || matches!(b, b'/' | b'_'));
    let inner = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b'/' | b'+');
    let mut pieces = text.split(':');
    // A colon is a key's only before a space or at the end.
    let words = pieces.all(|piece| !piece.is_empty() && piece.bytes().all(inner));
    // What YAML of any version takes for a boolean, nothing or a number.
    let taken = ["true", "false", "yes", "no", "on", "off", "y", "n", "null", "nan", "inf"];
    if begins && words && !taken.iter().any(|it| text.eq_ignore_ascii_case(it)) {
        return text.to_owned();
    }
    quoted(text)
}

/// JSON's string, with the control characters that JSON lets through escaped too.
fn quoted(text: &str) -> String {
    harmless_json(&Value::String(text.to_owned()).to_string())
}

/// JSON text whose strings hold no raw character that can deceive a reader: JSON allows DEL, the C1 set and overrides of direction.
pub(super) fn harmless_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        if is_deceptive(c) && c != '\n' {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _infallible = write!(text, "\\u{unit:04x}");
            }
        } else {
            text.push(c);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_document_reads_as_people_write_it() {
        let value = json!({
            "metadata": {"name": "web", "labels": {}},
            "spec": {
                "image": {"ref": "node:22"},
                "mounts": [{"type": "bind", "target": "/a"}, "x"],
                "suspend": false,
                "limit": "4Gi",
                "args": [],
            },
        });
        let of_class = ["spec.image.ref", "spec.mounts[/a]"];
        let comment = |path: &str| of_class.contains(&path).then(|| "class default".to_owned());
        let text = document(&value, &comment);
        let expected = "metadata:\n  name: web\n  labels: {}\nspec:\n  image:\n    ref: node:22  # class default\n  mounts:\n  - type: bind  # class default\n    target: /a\n  - x\n  suspend: false\n  limit: \"4Gi\"\n  args: []\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn text_that_could_be_taken_for_something_else_is_quoted() {
        for text in [
            "",
            "no",
            "True",
            "12",
            "1e3",
            "~",
            "a: b",
            "a:",
            "- a",
            "#a",
            "a\u{1b}[2J",
            "\u{9b}",
            "a\u{202e}b",
            "x y",
        ] {
            let shown = scalar(text);
            assert!(shown.starts_with('"'), "{text:?} is shown as {shown}");
            let read: String = serde_yaml::from_str(&shown).unwrap();
            assert_eq!(read, text);
            assert!(!shown.chars().any(is_deceptive));
        }
        for text in ["web", "/home/ann/src", "chanop-demo:latest", "team/a.yaml:1"] {
            assert_eq!(scalar(text), text);
            assert_eq!(serde_yaml::from_str::<String>(text).unwrap(), text);
        }
    }
}
