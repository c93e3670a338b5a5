//! The engine's answers, as much of them as we read.
//!
//! Own types, because the client library's are closed: one word that it does not know (a state of Podman's, an enum that a
//! newer engine extends) fails a whole list. Here every field may be missing or `null`, and words stay words until
//! [`crate::container`] takes them.

pub(super) mod container;
pub(super) mod event;
pub(super) mod object;
pub(super) mod progress;
mod readback;

use serde::{Deserialize, Deserializer};

use super::error::{EngineError, EngineResult};

/// `null` is the default: Go writes it for an empty list or map.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// Decodes an answer; the error says where in it, and never repeats what stands there.
pub(super) fn decode<T: for<'de> Deserialize<'de>>(what: &str, bytes: &[u8]) -> EngineResult<T> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let inner = error.inner();
        let kind = match inner.classify() {
            serde_json::error::Category::Io => "not read",
            serde_json::error::Category::Syntax => "no JSON",
            serde_json::error::Category::Data => "of an unexpected kind",
            serde_json::error::Category::Eof => "cut off",
        };
        EngineError::Unreadable(format!(
            "{what}: `{}` is {kind} (line {}, column {})",
            error.path(),
            inner.line(),
            inner.column()
        ))
    })
}
