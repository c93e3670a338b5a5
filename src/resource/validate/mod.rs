//! Violations: what is wrong with a file, where, and what would be right.
//!
//! A violation is data: the same value is printed by `chanop validate`, becomes a channel's condition and is answered by the
//! API. Its texts never hold what looks like a secret, because every one passes [`token::redact`] on its way in.

pub mod across;
pub mod code;
mod collected;
pub mod near;
pub mod token;

use std::fmt;

use serde::Serialize;

pub use code::{Code, Severity};
pub use collected::{VIOLATIONS_MAX, Violations};

use super::meta::ObjectRef;

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Violation {
    /// What it is.
    pub code: Code,
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the spec directory.
    pub file: String,
    /// From 1; 0 when it concerns no line.
    pub line: u32,
    /// From 1, in characters; 0 when it concerns no column.
    pub column: u32,
    /// How many characters to underline.
    pub length: u32,
    /// The field: `spec.resources.limits`. For an unknown or doubled key the map that holds it.
    pub path: String,
    /// The object, when kind and name could be read.
    #[serde(serialize_with = "object_text")]
    pub object: Option<ObjectRef>,
    /// A sentence without a full stop.
    pub message: String,
    /// What stands beside the caret when nothing is suggested.
    pub label: String,
    /// What was most likely meant.
    pub suggestion: Option<String>,
    /// What to do, or what is allowed.
    pub help: Option<String>,
}

impl Violation {
    /// One that concerns a whole file.
    pub fn of_file(code: Code, file: &str, message: impl Into<String>) -> Self {
        Self {
            code,
            severity: code.severity(),
            file: file.to_owned(),
            line: 0,
            column: 0,
            length: 0,
            path: String::new(),
            object: None,
            message: token::redact(&message.into()),
            label: String::new(),
            suggestion: None,
            help: None,
        }
    }

    /// Does it keep the document from counting?
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

impl fmt::Display for Violation {
    /// The whole in a line: `team/a.yaml:14:9: unknown field `memmory` [E0103]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        write!(f, ": {} [{}]", self.message, self.code)
    }
}

#[expect(clippy::ref_option, reason = "serde's serialize_with passes a reference to the field")]
fn object_text<S: serde::Serializer>(
    object: &Option<ObjectRef>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    match object {
        Some(object) => serializer.collect_str(object),
        None => serializer.serialize_none(),
    }
}
