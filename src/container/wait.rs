//! What waiting for a container's end says. Never truth by itself: see [`crate::docker`].

/// The answer to a wait.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitResponse {
    /// The exit code.
    pub status_code: i64,
    /// The engine's own error, when it had one.
    pub error: Option<String>,
}
