//! From a file's text to its objects, and to everything that is wrong with it.
//!
//! The only place that knows YAML. A file is cut at its document markers first, which is exact: a line that begins with
//! `---` or `...` ends a document even within a quoted or block text. So each document is judged on its own, and one that
//! is broken loses none of the others. Whatever the text, the time and memory are bounded.

mod yaml;

use crate::resource::Resource;
use crate::resource::decode_document;
use crate::resource::node::{Node, Place, Value};
use crate::resource::project::PROJECT_BYTES_MAX;
use crate::resource::validate::{Code, Violation, Violations, token};

/// The largest file that is read. The API server's bound on an object, and far above what a person writes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// The most documents in a file, so that a file's conditions stay readable.
pub const DOCUMENTS_MAX: usize = 256;

/// What a file holds.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ParsedFile {
    /// The objects of the documents without an error, in their order.
    pub resources: Vec<Resource>,
    /// What is wrong, in the order of the lines.
    pub violations: Vec<Violation>,
    /// How many bytes of memory the objects need at most, as an estimate.
    pub memory: usize,
}

impl ParsedFile {
    /// Is there an error, so that the file as a whole does not count?
    pub fn has_errors(&self) -> bool {
        self.violations.iter().any(Violation::is_error)
    }
}

/// Parses the bytes of `file`.
pub fn parse_bytes(file: &str, bytes: &[u8]) -> ParsedFile {
    if bytes.len() > FILE_BYTES_MAX {
        return ParsedFile {
            violations: vec![too_large(file, FILE_BYTES_MAX)],
            ..ParsedFile::default()
        };
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => parse_file(file, text),
        Err(error) => {
            let before = bytes.get(..error.valid_up_to()).unwrap_or_default();
            let line = before.split(|byte| *byte == b'\n').count();
            let utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
            let message = if utf16 { "the file is UTF-16" } else { "the file is not UTF-8" };
            let mut violation = Violation::of_file(Code::NotUtf8, file, message);
            violation.line = u32::try_from(line).unwrap_or_default();
            violation.column = 1;
            violation.help = Some("save it as UTF-8".to_owned());
            ParsedFile { violations: vec![violation], ..ParsedFile::default() }
        }
    }
}

/// Parses the text of `file`; the name is for the places.
pub fn parse_file(file: &str, text: &str) -> ParsedFile {
    if text.len() > FILE_BYTES_MAX {
        return ParsedFile {
            violations: vec![too_large(file, FILE_BYTES_MAX)],
            ..ParsedFile::default()
        };
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parsed = ParsedFile::default();
    if text.trim().is_empty() {
        let mut violation = Violation::of_file(
            Code::EmptyFile,
            file,
            "the file is empty, as a half-written one would be",
        );
        violation.help = Some(
            "delete it, or write a comment or `[]` into it when it is to hold nothing".to_owned(),
        );
        parsed.violations.push(violation);
        return parsed;
    }
    let mut budget = yaml::Budget::for_specs();
    let mut violations = Violations::default();
    for (index, document) in documents(text).into_iter().enumerate() {
        if index >= DOCUMENTS_MAX {
            let message = format!("the file has more than {DOCUMENTS_MAX} documents");
            let mut violation = Violation::of_file(Code::TooLarge, file, message);
            violation.line = document.first_line;
            violation.column = 1;
            violation.help = Some("split it into several files".to_owned());
            violations.push(violation);
            break;
        }
        match yaml::document(document.text, document.first_line, &mut budget) {
            Ok(node) => parsed.resources.extend(object(file, &node, &mut violations)),
            Err(trouble) => violations.push(violation(file, trouble)),
        }
    }
    parsed.violations = violations.into_vec(file);
    parsed.memory = budget.used();
    parsed
}

/// The one document of a project file. A file without content is `Null`.
pub fn parse_node(file: &str, text: &str) -> Result<Node, Box<Violation>> {
    if text.len() > PROJECT_BYTES_MAX {
        return Err(Box::new(too_large(file, PROJECT_BYTES_MAX)));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut all = documents(text).into_iter();
    let Some(document) = all.next() else {
        return Ok(Node { place: Place::default(), value: Value::Null });
    };
    if let Some(second) = all.next() {
        let message = "the file has more than one document";
        let violation = Violation::of_file(Code::UnsupportedYaml, file, message);
        return Err(Box::new(Violation { line: second.first_line, column: 1, ..violation }));
    }
    yaml::document(document.text, document.first_line, &mut yaml::Budget::for_project())
        .map_err(|trouble| Box::new(violation(file, trouble)))
}

/// Where the field `path` of the document that begins at or before `line` stands: its key, or that of the nearest field
/// above it that is there.
pub fn locate(text: &str, line: u32, path: &str) -> Option<Place> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let document = documents(text).into_iter().rfind(|document| document.first_line <= line)?;
    let mut node =
        yaml::document(document.text, document.first_line, &mut yaml::Budget::for_specs()).ok()?;
    let mut found = None;
    for key in path.split('.').filter_map(|part| part.split('[').next()) {
        let Some(entry) = node.entry(key).cloned() else { break };
        found = Some(entry.place);
        node = entry.value;
    }
    found
}

fn too_large(file: &str, most: usize) -> Violation {
    let message = format!("the file has more than {most} bytes");
    Violation::of_file(Code::TooLarge, file, message)
}

fn object(file: &str, node: &Node, violations: &mut Violations) -> Option<Resource> {
    match &node.value {
        Value::Null => None,
        Value::List(items) if items.is_empty() => None,
        _ => decode_document(file, node, violations),
    }
}

fn violation(file: &str, trouble: yaml::Trouble) -> Violation {
    Violation {
        line: trouble.place.line,
        column: trouble.place.column,
        length: trouble.place.length,
        label: token::redact(&trouble.label),
        help: trouble.help,
        ..Violation::of_file(trouble.code, file, trouble.message)
    }
}

/// One document's text, its marker included.
struct Document<'t> {
    text: &'t str,
    first_line: u32,
}

/// Cuts a file at its markers. What is left of a document that has no more than comments and directives is dropped.
fn documents(text: &str) -> Vec<Document<'_>> {
    let mut all = Vec::new();
    let (mut start, mut first_line, mut offset) = (0, 1, 0);
    for (number, line) in (1u32..).zip(text.split_inclusive('\n')) {
        if offset > start && (marks(line, "---") || marks(line, "...")) {
            all.push(Document { text: text.get(start..offset).unwrap_or_default(), first_line });
            (start, first_line) = (offset, number);
        }
        offset += line.len();
        if marks(line, "...") {
            (start, first_line) = (offset, number + 1);
        }
    }
    all.push(Document { text: text.get(start..).unwrap_or_default(), first_line });
    all.retain(|document| !is_blank(document.text));
    all
}

fn marks(line: &str, marker: &str) -> bool {
    line.strip_prefix(marker)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '\t', '\r', '\n']))
}

/// Nothing but a bare marker, comments, directives and blank lines.
fn is_blank(document: &str) -> bool {
    document.lines().map(str::trim_end).all(|line| {
        let word = line.trim_start();
        word.is_empty() || word.starts_with('#') || line.starts_with('%') || line == "---"
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CHANNEL: &str = "apiVersion: chanop.dev/v1alpha1\nkind: Channel\nmetadata: {name: a}\nspec: {workspace: {path: ~/a}}\n";

    fn codes(text: &str) -> Vec<&'static str> {
        parse_file("a.yaml", text).violations.iter().map(|v| v.code.as_str()).collect()
    }

    #[test]
    fn the_smallest_channel_is_read() {
        let parsed = parse_file("a.yaml", CHANNEL);
        assert_eq!(parsed.violations, vec![]);
        assert_eq!(parsed.resources[0].object_ref().to_string(), "channel/a");
        assert_eq!(parsed.resources[0].source().to_string(), "a.yaml:1");
    }

    #[test]
    fn a_byte_order_mark_and_windows_line_ends_are_read() {
        let text = format!("\u{feff}# x\r\n{}", CHANNEL.replace('\n', "\r\n"));
        let parsed = parse_bytes("a.yaml", text.as_bytes());
        assert_eq!(parsed.violations, vec![]);
        assert_eq!(parsed.resources[0].source().line, 2);
    }

    #[test]
    fn an_empty_file_is_an_error_and_one_that_says_it_is_empty_is_not() {
        for text in ["", " \n\t\n", "\u{feff}", "\u{feff}\r\n"] {
            assert_eq!(codes(text), ["E0102"], "{text:?}");
        }
        for text in [
            "# nothing here\n",
            "[]\n",
            "---\n",
            "---\n# x\n---\n...\n",
            "null\n",
            "%YAML 1.2\n---\n[]\n",
        ] {
            let parsed = parse_file("a.yaml", text);
            assert!(parsed.resources.is_empty() && parsed.violations.is_empty(), "{text:?}");
        }
    }

    #[test]
    fn a_broken_document_loses_none_of_the_others() {
        let other = CHANNEL.replace("name: a", "name: b");
        let text = format!("{CHANNEL}---\nkind: {{ [\n--- # third\n{other}...\n---\nfoo: \"open\n");
        let parsed = parse_file("a.yaml", &text);
        let names: Vec<_> = parsed.resources.iter().map(|r| r.object_ref().to_string()).collect();
        assert_eq!(names, ["channel/a", "channel/b"]);
        assert_eq!(parsed.resources[1].source().line, 8);
        let lines: Vec<_> = parsed.violations.iter().map(|v| (v.code.as_str(), v.line)).collect();
        assert_eq!(lines.iter().map(|(code, _)| *code).collect::<Vec<_>>(), ["E0101", "E0101"]);
        assert!(lines.iter().all(|(_, line)| *line > 5), "{lines:?}");
    }

    #[test]
    fn what_is_not_utf8_is_refused_with_its_line() {
        let parsed = parse_bytes("a.yaml", b"# x\nname: \xff\n");
        assert_eq!(parsed.violations[0].code, Code::NotUtf8);
        assert_eq!(parsed.violations[0].line, 2);
    }

    #[test]
    fn hostile_texts_end_at_once_with_an_error() {
        let mut bomb = "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n".to_owned();
        for level in 1..12 {
            let aliases = vec![format!("*a{}", level - 1); 10].join(",");
            bomb = format!("{bomb}a{level}: &a{level} [{aliases}]\n");
        }
        let deep = |open: &str| open.repeat(FILE_BYTES_MAX / open.len());
        let lists = "- ".repeat(FILE_BYTES_MAX / 2);
        for (text, code) in [
            (bomb, "E0123"),
            (deep("["), "E0123"),
            (deep("{a: "), "E0123"),
            (lists, "E0123"),
            (deep("? "), "E0123"),
            ("[".repeat(10 << 20), "E0123"),
            (format!("a: [{}]", deep("a,").split_at(1 << 19).0), "E0123"),
            ("a: &a [*a]\n".to_owned(), "E0124"),
        ] {
            assert_eq!(codes(&text), [code], "{}", &text[..20.min(text.len())]);
        }
    }

    /// Bytes of all keys and scalars below `node`.
    fn expanded_bytes(node: &Node) -> usize {
        match &node.value {
            Value::String(text) | Value::Number(text) => text.len(),
            Value::Null | Value::Bool(_) => 0,
            Value::List(items) => items.iter().map(expanded_bytes).sum(),
            Value::Map(entries) => {
                entries.iter().map(|entry| entry.key.len() + expanded_bytes(&entry.value)).sum()
            }
        }
    }

    /// Texts in which aliases multiply a few kilobytes: as values, as keys, and as parts of each other.
    fn multiplying() -> Vec<String> {
        let scalar = "x".repeat(60_000);
        let number = "1".repeat(60_000);
        let items = |alias: &str, count: usize| vec![alias; count].join(", ");
        let keys = "- { *a : b }\n".repeat(2_000);
        vec![
            format!("a: &a {scalar}\nb: [{}]\n", items("*a", 20_000)),
            format!("a: &a {number}\nb: [{}]\n", items("*a", 20_000)),
            format!("a: &a {scalar}\nb:\n{keys}"),
            format!("a: &a {{ {}: b }}\nb: [{}]\n", "k".repeat(900), items("*a", 3_000)),
            format!("a: &a {scalar}\nb: &b [{}]\nc: [{}]\n", items("*a", 5), items("*b", 900)),
            (0..60).fold(format!("a: {scalar}\n"), |text, level| {
                format!("{text}b{level}: &b{level} {}\n", "y".repeat(10_000))
            }) + &format!(
                "c: [{}]",
                (0..60).map(|n| items(&format!("*b{n}"), 9)).collect::<Vec<_>>().join(", ")
            ),
        ]
    }

    #[test]
    fn aliases_do_not_multiply_bytes() {
        for text in multiplying() {
            let code = parse_node("a.yaml", &text).map_err(|violation| violation.code);
            let bytes = code.as_ref().map_or(0, expanded_bytes);
            assert!(bytes <= 2 * PROJECT_BYTES_MAX, "{bytes} bytes from {}", text.len());
            assert_eq!(code.map(|_| ()), Err(Code::TooLarge));
            assert_eq!(codes(&text), ["E0123"]);
        }
    }

    #[test]
    fn an_alias_of_ordinary_size_is_expanded() {
        let text = "a: &a {k: [1, two]}\nb: [*a, *a]\n";
        let node = parse_node("a.yaml", text).unwrap();
        assert_eq!(expanded_bytes(&node), 1 + 5 + 1 + 2 * 5);
        let large = format!("a: &a {}\n", "x".repeat(PROJECT_BYTES_MAX - 10));
        assert!(parse_node("a.yaml", &large).is_ok());
    }

    #[test]
    fn yaml_that_specs_do_not_use_is_refused() {
        for text in ["a: !!binary aGk=\n", "a: !mine x\n", "{[a]: b}\n", "a: *nowhere\n"] {
            assert!(["E0124", "E0101"].contains(&codes(text)[0]), "{text}: {:?}", codes(text));
        }
        assert_eq!(codes(&CHANNEL.replace("spec:", "spec: &s")), [""; 0]);
    }

    #[test]
    fn a_lone_carriage_return_ends_a_line_as_yaml_says() {
        let text = "\rspec:\n  mounts: ---\nkind: Channel\n\rkind: Channel\n";
        let lines: Vec<u32> =
            parse_file("a.yaml", text).violations.iter().map(|violation| violation.line).collect();
        assert!(lines.contains(&6), "{lines:?}");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_place_lies_outside(
            text in "([-?:,{}&*!|>%@`'\"#a-zé \\[\\]\t\r\n]|---\n|kind: Channel\n|spec:\n|  mounts: |: |\n  - ){0,60}"
        ) {
            // In YAML a lone carriage return ends a line as well.
            let lines = u32::try_from(text.split(['\n', '\r']).count()).unwrap();
            for violation in parse_file("a.yaml", &text).violations {
                prop_assert!(violation.line <= lines + 1, "{violation}");
                let _either = locate(&text, violation.line, "spec.mounts[0]");
            }
        }
    }
}
