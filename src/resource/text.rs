//! Texts with a rule: paths, names of variables, secrets and volumes, image references.
//!
//! Each is parsed once, where the file is read, and has its rule in the schema as a pattern. What a path means (whose home
//! `~` is) and what it may be (policy) is decided by others.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use super::decode::{Decode, Decoder, Words};
use super::meta::{LABEL_MAX, NameError, ResourceName};
use super::node::{Node, shown};
use super::validate::Code;

/// Declares a text type: its name, its pattern in the schema, its code, and the function that judges and normalises.
macro_rules! text {
    ($(#[doc = $doc:literal])+ $name:ident, $pattern:literal, $code:ident $label:literal, $parse:path) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
        pub struct $name(String);

        impl $name {
            /// The text in its normal form, or why it is none.
            pub fn parse(text: &str) -> Result<Self, String> {
                $parse(text).map(Self)
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({ "type": "string", "pattern": $pattern })
            }
        }

        impl Decode for $name {
            fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
                let text = String::decode(node, decoder)?;
                Self::parse(&text)
                    .map_err(|why| decoder.report(Code::$code, node.place, Words::new(why).label($label)))
                    .ok()
            }
        }
    };
}

text! {
    /// An absolute path, or one below the owner's home (`~`, `~/…`); no `..`, no doubled or trailing `/`.
    HostPath, r"^(/|~$|~/)", InvalidPath "not such a path", host_path
}
text! {
    /// A relative path that stays beneath its directory.
    RelativePath, r"^[^/~]", InvalidPath "not such a path", relative_path
}
text! {
    /// The name of an environment variable.
    EnvName, r"^[A-Za-z_][A-Za-z0-9_]*$", InvalidName "not a name", env_name
}
text! {
    /// The name of a file or directory in the secrets directory.
    SecretName, r"^[A-Za-z0-9_][A-Za-z0-9._-]*$", InvalidName "not a name", secret_name
}
text! {
    /// A reference to an image: `node:22`, `registry.example/team/agent@sha256:…`.
    ImageRef, r"^[A-Za-z0-9][A-Za-z0-9._:/@-]*$", InvalidText "not an image", image_ref
}
text! {
    /// A Linux capability without its `CAP_`, or `ALL`.
    Capability, r"^(CAP_)?[A-Z][A-Z_]*$", InvalidText "not a capability", capability
}

impl HostPath {
    /// The absolute path, with `~` as `home`.
    pub fn resolve(&self, home: &str) -> String {
        let home = home.trim_end_matches('/');
        match self.0.strip_prefix('~') {
            Some("") if home.is_empty() => "/".to_owned(),
            Some(rest) => format!("{home}{rest}"),
            None => self.0.clone(),
        }
    }
}

/// A path with empty and `.` parts left out; `..` is refused.
fn parts(path: &str) -> Result<String, String> {
    let text = path.strip_prefix('~').unwrap_or(path);
    if text.chars().any(char::is_control) {
        return Err("a path must not hold control characters".to_owned());
    }
    let parts: Vec<&str> = text.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
    if parts.contains(&"..") {
        return Err(format!("the path `{}` has `..`; write where it leads to", shown(path)));
    }
    Ok(parts.join("/"))
}

fn host_path(text: &str) -> Result<String, String> {
    /// Linux' `PATH_MAX`, without the NUL.
    const PATH_MAX: usize = 4095;
    if text.len() > PATH_MAX {
        return Err(format!("a path has at most {PATH_MAX} bytes, this one has {}", text.len()));
    }
    if text == "~" || text.starts_with("~/") {
        let rest = parts(text)?;
        return Ok(if rest.is_empty() { "~".to_owned() } else { format!("~/{rest}") });
    }
    if text.starts_with('~') {
        return Err(format!("`{}` names another user's home; only `~/` is known", shown(text)));
    }
    if !text.starts_with('/') {
        let shown = shown(text);
        return Err(format!("the path `{shown}` is relative; start it with `/` or `~/`"));
    }
    Ok(format!("/{}", parts(text)?))
}

fn relative_path(text: &str) -> Result<String, String> {
    if text.starts_with('/') || text.starts_with('~') {
        return Err(format!("the path `{}` must be relative to the spec directory", shown(text)));
    }
    if text.is_empty() {
        return Err("a path must not be empty".to_owned());
    }
    let path = parts(text)?;
    Ok(if path.is_empty() { ".".to_owned() } else { path })
}

fn env_name(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
    if first && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
        return Ok(text.to_owned());
    }
    Err(format!("`{}` is no variable's name: letters, digits and `_`, no digit first", shown(text)))
}

fn secret_name(text: &str) -> Result<String, String> {
    let first = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    let rest = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if first && text.chars().all(rest) && text.len() <= 255 {
        return Ok(text.to_owned());
    }
    let shown = shown(text);
    Err(format!(
        "`{shown}` is no name of a secret: letters, digits, `.`, `_` and `-`, no `.` first"
    ))
}

fn image_ref(text: &str) -> Result<String, String> {
    let bad = |why: &str| Err(format!("`{}` is no image reference: {why}", shown(text)));
    let (name, digest) = match text.split_once('@') {
        Some((name, digest)) => (name, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        let hex = digest.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() != 64 || !hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            return bad("a digest is `sha256:` and 64 hexadecimal digits");
        }
    }
    let slash = name.rfind('/').map_or(0, |at| at + 1);
    let (repository, tag) = match name.get(slash..).and_then(|last| last.find(':')) {
        Some(at) => (name.get(..slash + at).unwrap_or_default(), name.get(slash + at + 1..)),
        None => (name, None),
    };
    if let Some(tag) = tag {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let rest = |c: char| word(c) || matches!(c, '.' | '-');
        if tag.len() > 128 || !tag.starts_with(word) || !tag.chars().all(rest) {
            return bad("a tag has letters, digits, `_`, `.` and `-`, at most 128");
        }
    }
    let mut components = repository.split('/').peekable();
    let first_is_host = components.peek().is_some_and(|first| {
        repository.contains('/') && (first.contains(['.', ':']) || *first == "localhost")
    });
    if first_is_host {
        let host = components.next().unwrap_or_default();
        let (host, port) = host.split_once(':').unwrap_or((host, "0"));
        let named = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
        if host.is_empty() || !host.chars().all(named) || port.parse::<u16>().is_err() {
            return bad("the registry before the first `/` is no host name");
        }
    }
    let component = |part: &str| {
        let alphanumeric = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        let inner = |c: char| alphanumeric(c) || matches!(c, '.' | '_' | '-');
        part.starts_with(alphanumeric) && part.ends_with(alphanumeric) && part.chars().all(inner)
    };
    if !components.all(component) {
        return bad("a repository has lower-case letters, digits, `.`, `_`, `-` and `/`");
    }
    Ok(text.to_owned())
}

fn capability(text: &str) -> Result<String, String> {
    let name = text.strip_prefix("CAP_").unwrap_or(text);
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
        return Ok(name.to_owned());
    }
    Err(format!("`{}` is no capability; write `NET_BIND_SERVICE` or `ALL`", shown(text)))
}

impl Decode for ResourceName {
    fn decode(node: &Node, decoder: &mut Decoder) -> Option<Self> {
        name_at_most(node, LABEL_MAX, decoder)
    }
}

/// A name of at most `max` characters.
pub(crate) fn name_at_most(node: &Node, max: usize, decoder: &mut Decoder) -> Option<ResourceName> {
    let text = String::decode(node, decoder)?;
    match ResourceName::parse_at_most(&text, max) {
        Ok(name) => Some(name),
        Err(NameError::BadCharacters(_)) => {
            let fixed: String = text
                .to_lowercase()
                .chars()
                .map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' })
                .collect();
            let fixed = fixed.trim_matches('-');
            let words = Words::new(format!("invalid name `{}`", shown(&text)))
                .label("not a DNS-1123 label")
                .suggest((!fixed.is_empty()).then_some(fixed))
                .help("lower-case letters, digits and `-`, a letter or digit first and last");
            decoder.report(Code::InvalidName, node.place, words);
            None
        }
        Err(error @ (NameError::Empty | NameError::TooLong { .. })) => {
            let label = if error == NameError::Empty { "empty" } else { "too long" };
            let words = Words::new(error.to_string()).label(label);
            decoder.report(Code::InvalidName, node.place, words);
            None
        }
    }
}

impl JsonSchema for ResourceName {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ResourceName".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "string",
            "maxLength": LABEL_MAX,
            "pattern": "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$",
        })
    }
}
/// Can this character steer a terminal, or hide or reorder what a reader sees? Newline and tab are among them.
///
/// Controls, and Unicode's format characters and invisible ones: a bidirectional override makes a line read as another one.
/// Variation selectors are not among them: emoji have them, and they change a glyph alone.
pub fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}'
                | '\u{34f}'
                | '\u{600}'..='\u{605}'
                | '\u{61c}'
                | '\u{6dd}'
                | '\u{70f}'
                | '\u{890}'..='\u{891}'
                | '\u{8e2}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{3164}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{fffb}'
                | '\u{110bd}'
                | '\u{110cd}'
                | '\u{13430}'..='\u{1343f}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{e0fff}'
        )
}

/// Bytes in lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        // Writing to a String cannot fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}
