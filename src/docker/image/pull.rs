//! A pull's progress, from the engine's lines, and what can be done about one that failed. Pure.
//!
//! The end of the stream is what says that the image is there; lines are told to people and to the watchdog
//! ([`super::no_progress_for`]). Podman's lines are fewer and differ: what is not known counts for nothing.

use std::collections::BTreeMap;
use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;

use super::stall::{Advance, Stalled};
use crate::docker::classify::clip;
use crate::docker::error::EngineError;
use crate::docker::wire::progress::Line;

/// A pull as it goes. Its end without an error says that the image is there; dropping it makes the engine give up.
pub type PullStream = BoxStream<'static, Result<PullProgress, PullError>>;

/// Layers that are counted. An image has at most 127; more is a registry's nonsense, and memory.
const LAYERS_MAX: usize = 1000;

/// How far a pull is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum PullPhase {
    /// The registry is asked what the reference means.
    #[default]
    Resolving,
    /// Layers are on their way.
    Downloading,
    /// All layers are here, and are being unpacked.
    Extracting,
    /// The engine says that it is done.
    Done,
}

/// What a pull has done so far.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullProgress {
    /// How far it is.
    pub phase: PullPhase,
    /// Layers of the image, as far as they were named.
    pub layers_total: usize,
    /// Those that are here and unpacked.
    pub layers_done: usize,
    /// Bytes of what is downloaded, as far as their number was told: it grows while layers begin.
    pub bytes_total: u64,
    /// Those that are here.
    pub bytes_current: u64,
    /// Bytes that were unpacked.
    pub bytes_extracted: u64,
    /// The digest that the reference has at the registry, once it is known.
    pub digest: Option<String>,
}

impl fmt::Display for PullProgress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes >> 20;
        match self.phase {
            PullPhase::Resolving => return f.write_str("asking the registry"),
            PullPhase::Done => return f.write_str("done"),
            PullPhase::Downloading => write!(
                f,
                "downloading, {} of {} MiB",
                mib(self.bytes_current),
                mib(self.bytes_total)
            )?,
            PullPhase::Extracting => {
                write!(f, "extracting, {} MiB so far", mib(self.bytes_extracted))?;
            }
        }
        write!(f, ", {} of {} layers", self.layers_done, self.layers_total)
    }
}

impl Advance for PullProgress {
    /// Other lines than these repeat themselves: an engine says every second that it will try again.
    fn advanced_since(&self, before: &Self) -> bool {
        self.phase > before.phase
            || self.layers_total > before.layers_total
            || self.layers_done > before.layers_done
            || self.bytes_current > before.bytes_current
            || self.bytes_extracted > before.bytes_extracted
    }
}

/// The sum of a pull's lines.
#[derive(Debug, Default)]
pub struct PullFold {
    layers: BTreeMap<String, Layer>,
    digest: Option<String>,
    done: bool,
}

#[derive(Debug, Default)]
struct Layer {
    total: u64,
    current: u64,
    extracted: u64,
    downloaded: bool,
    done: bool,
}

impl PullFold {
    /// Takes one line into account.
    pub fn fold(&mut self, line: &[u8]) -> Result<PullProgress, PullError> {
        let line = Line::parse("a line of a pull", line)?;
        if let Some(error) = line.error {
            return Err(PullError::of_text(&error));
        }
        if let Some(digest) = line.status.strip_prefix("Digest: ") {
            self.digest = Some(digest.to_owned());
        }
        self.done |= line.status.starts_with("Status: ");
        self.fold_layer(&line);
        Ok(self.progress())
    }

    fn fold_layer(&mut self, line: &Line) {
        let known = self.layers.contains_key(&line.id) || self.layers.len() < LAYERS_MAX;
        if line.id.is_empty() || !known {
            return;
        }
        let status = line.status.as_str();
        let is_of_a_layer = matches!(
            status,
            "Pulling fs layer"
                | "Waiting"
                | "Downloading"
                | "Verifying Checksum"
                | "Download complete"
                | "Extracting"
                | "Pull complete"
                | "Already exists"
        );
        // "Pulling from library/x" has the tag for an ID.
        if !is_of_a_layer {
            return;
        }
        let layer = self.layers.entry(line.id.clone()).or_default();
        match status {
            "Downloading" => {
                layer.current = line.current;
                layer.total = layer.total.max(line.total).max(line.current);
            }
            "Verifying Checksum" | "Download complete" => layer.have_all(),
            "Extracting" => {
                layer.have_all();
                layer.extracted = line.current;
            }
            "Pull complete" | "Already exists" => {
                layer.have_all();
                layer.done = true;
            }
            _ => {}
        }
    }

    fn progress(&self) -> PullProgress {
        let layers = || self.layers.values();
        PullProgress {
            phase: match () {
                () if self.done => PullPhase::Done,
                () if self.layers.is_empty() => PullPhase::Resolving,
                () if layers().all(|layer| layer.downloaded) => PullPhase::Extracting,
                () => PullPhase::Downloading,
            },
            layers_total: self.layers.len(),
            layers_done: layers().filter(|layer| layer.done).count(),
            bytes_total: sum(layers().map(|layer| layer.total)),
            bytes_current: sum(layers().map(|layer| layer.current)),
            bytes_extracted: sum(layers().map(|layer| layer.extracted)),
            digest: self.digest.clone(),
        }
    }
}

impl Layer {
    const fn have_all(&mut self) {
        self.downloaded = true;
        self.current = self.total;
    }
}

/// The numbers are the engine's and the registry's word.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// Why there is no image, by what can be done about it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// The registry has no such image, or not for this platform: another reference, or push it.
    #[error("the registry has no such image: {0}")]
    NotFound(String),
    /// The registry wants credentials, or other ones. Docker Hub says so of what does not exist, too.
    #[error("the registry refuses access: {0}")]
    Denied(String),
    /// The registry does not answer, or not as one: wait, or look at the network.
    #[error("the registry cannot be reached: {0}")]
    Unreachable(String),
    /// Too many pulls: wait longer, or log in.
    #[error("the registry limits pulls: {0}")]
    RateLimited(String),
    /// Make room where the engine keeps its data.
    #[error("no space left on the engine's disk: {0}")]
    NoSpace(String),
    /// It was given up. What is here already is not downloaded again, as long as the engine runs.
    #[error("the pull was given up: {0}")]
    Stalled(#[from] Stalled),
    /// Anything else that the engine said of it.
    #[error("the pull failed: {0}")]
    Failed(String),
    /// The engine itself: out of reach, or it did not answer as it should.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Makes an error of a text.
type Sort = fn(String) -> PullError;

/// What registries and engines say, in lower case. The first row that has one of its parts in a text decides: specific
/// words first, since texts are put together from several.
const WORDS: &[(Sort, &[&str])] = &[
    (PullError::NoSpace, &["no space left on device", "disk quota exceeded"]),
    (PullError::RateLimited, &["toomanyrequests", "too many requests", "rate limit", "http 429"]),
    (
        PullError::Denied,
        &[
            "unauthorized",
            "authentication required",
            "no basic auth credentials",
            "access denied",
            ": denied",
            "access to the resource is denied",
            "incorrect username or password",
            "invalid username/password",
            "403 forbidden",
            "http 401",
            "http 403",
            "access forbidden",
        ],
    ),
    (
        PullError::Unreachable,
        &[
            "dial tcp",
            "connection refused",
            "connection reset",
            "no such host",
            "server misbehaving",
            "network is unreachable",
            "no route to host",
            "i/o timeout",
            "timeout exceeded",
            "handshake timeout",
            "request canceled while waiting",
            "context deadline exceeded",
            "unexpected eof",
            ": eof",
            "x509:",
            "server gave http response to https client",
            "500 internal server error",
            "502 bad gateway",
            "503 service unavailable",
            "504 gateway",
            "http 502",
            "http 503",
            "http 504",
        ],
    ),
    (
        PullError::NotFound,
        &[
            "manifest unknown",
            "name unknown",
            "unknown blob",
            "blob unknown",
            "no matching manifest",
            "not found",
            "does not exist",
            "http 404",
        ],
    ),
];

impl PullError {
    /// What an error in the middle of a pull means.
    pub(in crate::docker) fn of_text(message: &str) -> Self {
        // Causes stand behind colons; now the first one does, too.
        let words = format!(": {}", message.to_ascii_lowercase());
        let row = WORDS.iter().find(|(_, parts)| parts.iter().any(|part| words.contains(part)));
        row.map_or(Self::Failed as Sort, |(sort, _)| *sort)(clip(message, 200))
    }

    /// What a refusal before the first line means.
    pub(in crate::docker) fn of_refusal(status: u16, message: &str) -> Self {
        let text = || clip(message, status);
        match (Self::of_text(message), status) {
            (Self::Failed(_), 401 | 403) => Self::Denied(text()),
            (Self::Failed(_), 404) => Self::NotFound(text()),
            (Self::Failed(_), 429) => Self::RateLimited(text()),
            (Self::Failed(_), _) => Self::Failed(text()),
            (error, _) => error,
        }
    }

    /// A short, closed word for metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "not_found",
            Self::Denied(_) => "denied",
            Self::Unreachable(_) => "unreachable",
            Self::RateLimited(_) => "rate_limited",
            Self::NoSpace(_) => "no_space",
            Self::Stalled(_) => "stalled",
            Self::Failed(_) => "failed",
            Self::Engine(error) => error.class(),
        }
    }
}

/// For those who know the engine's errors alone.
impl From<PullError> for EngineError {
    fn from(error: PullError) -> Self {
        let text = error.to_string();
        match error {
            PullError::NotFound(_) => Self::NotFound(text),
            PullError::Denied(_) => Self::Refused(text),
            PullError::NoSpace(text) => Self::NoSpace(text),
            PullError::Stalled(_) => Self::Unknown(text),
            PullError::Unreachable(_) | PullError::RateLimited(_) | PullError::Failed(_) => {
                Self::Engine(text)
            }
            PullError::Engine(error) => error,
        }
    }
}

/// Reads a pull to its end.
pub async fn finish(mut pull: PullStream) -> Result<PullProgress, PullError> {
    let mut last = PullProgress::default();
    while let Some(progress) = pull.next().await {
        last = progress?;
    }
    Ok(last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fold(lines: &[&str]) -> Vec<PullProgress> {
        let mut fold = PullFold::default();
        lines.iter().map(|line| fold.fold(line.as_bytes()).unwrap()).collect()
    }

    #[test]
    fn the_lines_of_a_pull_add_up() {
        use PullPhase::{Done, Downloading, Extracting, Resolving};
        let seen = fold(&[
            r#"{"status":"Pulling from library/x","id":"latest"}"#,
            r#"{"status":"Pulling fs layer","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Already exists","progressDetail":{},"id":"bb"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":30},"progress":"[=> ]","id":"aa"}"#,
            r#"{"status":"Verifying Checksum","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Download complete","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Extracting","progressDetail":{"current":20,"total":30},"id":"aa"}"#,
            r#"{"status":"Pull complete","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Digest: sha256:dd"}"#,
            r#"{"status":"Status: Downloaded newer image for x:latest"}"#,
        ]);
        let phases: Vec<_> = seen.iter().map(|at| at.phase).collect();
        assert_eq!(
            phases,
            [
                Resolving,
                Downloading,
                Downloading,
                Downloading,
                Extracting,
                Extracting,
                Extracting,
                Extracting,
                Extracting,
                Done
            ]
        );
        assert_eq!((seen[3].bytes_current, seen[3].bytes_total), (10, 30));
        assert_eq!((seen[3].layers_done, seen[3].layers_total), (1, 2));
        assert_eq!((seen[4].bytes_current, seen[6].bytes_extracted), (30, 20));
        assert_eq!(seen[9].layers_done, 2);
        assert_eq!(seen[9].digest.as_deref(), Some("sha256:dd"));
    }

    #[test]
    fn podmans_lines_and_those_of_tomorrow_count_for_nothing_and_harm_nothing() {
        let seen = fold(&[
            r#"{"status":"Trying to pull localhost:5000/x..."}"#,
            r#"{"status":null,"progressDetail":null,"id":null}"#,
            r#"{"status":"Pondering","id":"aa","progressDetail":{"current":"x","total":-1}}"#,
            r#"{"id":"0123456789ab","images":["0123456789ab"]}"#,
            "[]",
        ]);
        assert!(seen.iter().all(|at| *at == PullProgress::default()), "{seen:?}");
    }

    #[test]
    fn what_is_no_json_is_the_engines_fault() {
        let error = PullFold::default().fold(b"<html>").unwrap_err();
        assert_eq!(error.class(), "unreadable");
    }

    #[test]
    fn layers_without_end_are_not_kept() {
        let mut fold = PullFold::default();
        for number in 0..2 * LAYERS_MAX {
            let line = format!(r#"{{"status":"Waiting","id":"{number}"}}"#);
            fold.fold(line.as_bytes()).unwrap();
        }
        assert_eq!(fold.progress().layers_total, LAYERS_MAX);
    }

    #[test]
    fn trying_again_is_no_progress_but_what_comes_of_it_is() {
        let seen = fold(&[
            r#"{"status":"Downloading","progressDetail":{"current":10,"total":30},"id":"aa"}"#,
            r#"{"status":"Retrying in 5 seconds","progressDetail":{},"id":"aa"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":4,"total":30},"id":"aa"}"#,
            r#"{"status":"Downloading","progressDetail":{"current":6,"total":30},"id":"aa"}"#,
        ]);
        let advanced: Vec<_> =
            seen.windows(2).map(|pair| pair[1].advanced_since(&pair[0])).collect();
        assert_eq!(advanced, [false, false, true]);
    }

    #[test]
    fn failures_are_sorted_by_what_can_be_done() {
        for (text, class) in [
            // Docker 20.10 and distribution 2.8
            (
                "manifest for 127.0.0.1:5000/x:1 not found: manifest unknown: manifest unknown",
                "not_found",
            ),
            ("unknown blob", "not_found"),
            ("no matching manifest for linux/amd64 in the manifest list entries", "not_found"),
            (
                "Get \"http://127.0.0.1:1/v2/\": dial tcp 127.0.0.1:1: connect: connection refused",
                "unreachable",
            ),
            (
                "Get \"https://registry.invalid/v2/\": dial tcp: lookup registry.invalid: no such host",
                "unreachable",
            ),
            (
                "Get \"http://127.0.0.1:5000/v2/x/manifests/latest\": no basic auth credentials",
                "denied",
            ),
            ("unauthorized: authentication required", "denied"),
            (
                "pull access denied for x, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                "denied",
            ),
            ("toomanyrequests: You have reached your pull rate limit.", "rate_limited"),
            ("failed to register layer: write /x: no space left on device", "no_space"),
            ("received unexpected HTTP status: 503 Service Unavailable", "unreachable"),
            ("filesystem layer verification failed for digest sha256:404a", "failed"),
            ("unexpected EOF", "unreachable"),
            ("denied", "denied"),
            ("open /var/lib/docker/x: permission denied", "failed"),
        ] {
            let line = serde_json::json!({ "errorDetail": { "message": text }, "error": text });
            let error = PullFold::default().fold(line.to_string().as_bytes()).unwrap_err();
            assert_eq!(error.class(), class, "{text}");
            assert!(error.to_string().ends_with(text), "{error}");
        }
        assert_eq!(PullError::of_refusal(401, "").class(), "denied");
        assert_eq!(PullError::of_refusal(500, "").class(), "failed");
    }
}
