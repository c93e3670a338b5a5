//! A line of the progress of a pull or a build.
//!
//! Read leniently: it is for people, engines word it as they like, and only an error in it decides anything.

use serde_json::Value;

use crate::docker::error::{EngineError, EngineResult};

/// What of a line is read; what is missing or of another kind is empty.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(in crate::docker) struct Line {
    /// What is being done.
    pub(in crate::docker) status: String,
    /// To which layer.
    pub(in crate::docker) id: String,
    /// A build's output.
    pub(in crate::docker) stream: String,
    /// The ID of the image that was built.
    pub(in crate::docker) built: Option<String>,
    /// What went wrong.
    pub(in crate::docker) error: Option<String>,
    /// Bytes done.
    pub(in crate::docker) current: u64,
    /// Bytes in all.
    pub(in crate::docker) total: u64,
}

impl Line {
    /// Reads a line; `what` names it in the error.
    pub(in crate::docker) fn parse(what: &str, line: &[u8]) -> EngineResult<Self> {
        let value: Value = serde_json::from_slice(line).map_err(|error| {
            EngineError::Unreadable(format!("{what} is no JSON (column {})", error.column()))
        })?;
        let text =
            |value: &Value, key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        let number = |key: &str| {
            value.pointer(&format!("/progressDetail/{key}")).and_then(Value::as_u64).unwrap_or(0)
        };
        let detail = value.get("errorDetail").and_then(|detail| text(detail, "message"));
        Ok(Self {
            status: text(&value, "status").unwrap_or_default(),
            id: text(&value, "id").unwrap_or_default(),
            stream: text(&value, "stream").unwrap_or_default(),
            built: value.get("aux").and_then(|aux| text(aux, "ID")),
            error: detail.or_else(|| text(&value, "error")),
            current: number("current"),
            total: number("total"),
        })
    }
}
