//! The JSON shape of an answer that is no object: what was done, or what is wrong.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ListMetadata;

/// How a request ended, when it has no object to answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// `v1`, as in Kubernetes.
    pub api_version: String,
    /// `Status`.
    pub kind: String,
    /// Nothing; clients expect it.
    pub metadata: ListMetadata,
    /// `Success` or `Failure`.
    pub status: String,
    /// A sentence.
    pub message: String,
    /// A stable word.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// The HTTP status.
    pub code: u16,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Box<StatusDetails>>,
}

/// What an error is about.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub struct StatusDetails {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its collection.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// All that is wrong with what was sent.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<StatusCause>,
    /// With 409: the object that has the name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<Value>,
}

/// One thing that is wrong with what was sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StatusCause {
    /// The field: `spec.session`. For an unknown or doubled key the map that holds it.
    pub field: String,
    /// The code that `chanop validate` prints for it.
    pub reason: String,
    /// A sentence, with what was meant or is allowed.
    pub message: String,
}

impl Status {
    pub(crate) fn failure(code: u16, reason: &str, message: String) -> Self {
        Self {
            status: "Failure".to_owned(),
            reason: reason.to_owned(),
            code,
            ..Self::success(message)
        }
    }

    pub(crate) fn success(message: String) -> Self {
        Self {
            api_version: "v1".to_owned(),
            kind: "Status".to_owned(),
            metadata: ListMetadata::default(),
            status: "Success".to_owned(),
            message,
            reason: String::new(),
            code: 200,
            details: None,
        }
    }
}
