//! What went wrong at the engine, sorted by what one can do about it.

/// The answer of every call.
pub type EngineResult<T> = Result<T, EngineError>;

/// Why a call did not do what was asked.
///
/// The variants are the caller's choices, not the engine's codes: retry later, look again, change the spec, or give up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// Nothing with that name or ID (404). For a remove, success.
    #[error("not found: {0}")]
    NotFound(String),
    /// A create found its name taken (409).
    #[error("name is taken: {0}")]
    NameTaken(String),
    /// The container's state does not allow it now: running, paused, being removed (other 409).
    #[error("conflict: {0}")]
    Conflict(String),
    /// The request itself is wrong, and will be next time (400).
    #[error("refused by the engine: {0}")]
    Refused(String),
    /// The image is not on the engine (404 on create).
    #[error("no such image: {0}")]
    NoImage(String),
    /// No space left where the engine keeps its data.
    #[error("no space left on the engine's disk: {0}")]
    NoSpace(String),
    /// The engine failed (5xx). What was asked may have happened.
    #[error("engine error: {0}")]
    Engine(String),
    /// No answer in time, or the connection broke after the request was sent. It may have happened, or may yet.
    #[error("no answer: {0}")]
    Unknown(String),
    /// The engine could not be reached; the request was not sent.
    #[error("engine is not reachable: {0}")]
    Unreachable(String),
    /// The engine answered something that could not be read.
    #[error("unreadable answer: {0}")]
    Unreadable(String),
}

impl EngineError {
    /// May the call have been carried out, or be carried out yet? Then the next call on that key is a read.
    pub const fn is_uncertain(&self) -> bool {
        matches!(self, Self::Engine(_) | Self::Unknown(_) | Self::Unreadable(_))
    }

    /// Does this speak of the engine as a whole rather than of the one request?
    pub const fn is_engine_down(&self) -> bool {
        matches!(self, Self::Unreachable(_) | Self::Unknown(_) | Self::Engine(_))
    }

    /// A short, closed word for metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::NameTaken(_) => "name_taken",
            Self::Conflict(_) => "conflict",
            Self::Refused(_) => "refused",
            Self::NoImage(_) => "no_image",
            Self::NoSpace(_) => "no_space",
            Self::Engine(_) => "engine",
            Self::Unknown(_) => "unknown",
            Self::Unreachable(_) => "unreachable",
            Self::Unreadable(_) => "unreadable",
        }
    }
}
