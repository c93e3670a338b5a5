//! What a build is asked for, what it says, and why it failed. Pure.
//!
//! The engine's older builder, which every engine has: its lines are a step's heading, the output of its command, and the
//! progress of a pull when a base image is missing. What was said last is kept, and handed over with a failure: the reason
//! stands there more often than in the error itself.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use sha2::{Digest as _, Sha256};

use super::context::{BuildContext, ContextError};
use super::credentials::RegistryAuth;
use super::pull::{PullError, PullFold, PullProgress};
use super::stall::{Advance, Stalled};
use crate::container::ImageRef;
use crate::container::name::InvalidName;
use crate::docker::classify::{Call, classify, clip};
use crate::docker::error::EngineError;
use crate::docker::transport::chain;
use crate::docker::wire::progress::Line;
use crate::resource::ResourceName;
use crate::resource::text::hex;

/// A build as it goes. [`BuildEvent::Built`] is its last item, or an error; dropping it makes the engine give up.
pub type BuildStream = BoxStream<'static, Result<BuildEvent, BuildError>>;

/// How much of the output is kept for a failure: a compiler's last words.
const OUTPUT_BYTES_MAX: usize = 16 * 1024;
/// The longest line; longer ones are cut in two.
const LINE_BYTES_MAX: usize = 4 * 1024;
/// Bytes of the hash in a tag: no two contexts meet by chance, nor by design.
const HASH_BYTES: usize = 16;
/// Whose tags nobody else's images have.
const TAG_PREFIX: &str = "chanop-build";

/// What is built, beside the context.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ImageBuildSpec {
    /// `--build-arg`. They can be read from the image: no place for secrets.
    pub args: BTreeMap<String, String>,
    /// The stage to stop at; empty: the last.
    pub target: String,
    /// What each command may use, swap included; 0: no limit.
    pub memory_bytes: i64,
    /// Labels of the image.
    pub labels: BTreeMap<String, String>,
    /// Who the engine is when it pulls base images.
    pub auths: Vec<RegistryAuth>,
}

impl ImageBuildSpec {
    /// What the image is made from, in one word. Labels and limits change nothing of what is in it.
    pub fn content_hash(&self, context: &BuildContext) -> String {
        let said = serde_json::json!({
            "context": context.hash(),
            "dockerfile": context.dockerfile(),
            "args": self.args,
            "target": self.target,
        });
        let digest = Sha256::digest(said.to_string().as_bytes());
        hex(digest.get(..HASH_BYTES).unwrap_or_default())
    }

    /// The tag of a channel's own build.
    pub fn tag(
        &self,
        channel: &ResourceName,
        context: &BuildContext,
    ) -> Result<ImageRef, InvalidName> {
        ImageRef::parse(&format!("{TAG_PREFIX}/{channel}:{}", self.content_hash(context)))
    }
}

/// Can this be what [`ImageBuildSpec::content_hash`] returns?
pub fn is_content_hash(text: &str) -> bool {
    let digit = |it: u8| it.is_ascii_digit() || (b'a'..=b'f').contains(&it);
    text.len() == 2 * HASH_BYTES && text.bytes().all(digit)
}

/// Something that a build said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BuildEvent {
    /// A line of its output, without the end of line.
    Line(String),
    /// A base image is on its way.
    Pulling(PullProgress),
    /// It is done: the image's ID.
    Built(String),
}

impl fmt::Display for BuildEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(line) => f.write_str(line),
            Self::Pulling(progress) => write!(f, "base image: {progress}"),
            Self::Built(id) => write!(f, "built {id}"),
        }
    }
}

impl Advance for BuildEvent {
    /// Commands may be silent for long, but what they say is new.
    fn advanced_since(&self, before: &Self) -> bool {
        match (self, before) {
            (Self::Pulling(now), Self::Pulling(before)) => now.advanced_since(before),
            _ => true,
        }
    }
}

/// Why there is no image, by what can be done about it.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// The directory cannot be built from.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The Dockerfile is wrong, or one of its commands failed.
    #[error("the build failed: {message}")]
    Failed {
        /// What the engine says of it.
        message: String,
        /// What the build said last.
        output: String,
    },
    /// A base image cannot be had.
    #[error("a base image is missing: {0}")]
    Base(PullError),
    /// Make room where the engine keeps its data.
    #[error("no space left on the engine's disk: {0}")]
    NoSpace(String),
    /// It was given up.
    #[error("the build was given up: {0}")]
    Stalled(#[from] Stalled),
    /// The engine itself.
    #[error(transparent)]
    Engine(#[from] EngineError),
}

impl BuildError {
    /// What a refusal before the first line means.
    pub(in crate::docker) fn of_refusal(status: u16, message: &str) -> Self {
        match classify(Call::Build, status, message) {
            EngineError::NoSpace(text) => Self::NoSpace(text),
            EngineError::Refused(message) | EngineError::NotFound(message) => {
                Self::Failed { message, output: String::new() }
            }
            error => Self::Engine(error),
        }
    }

    /// A short, closed word for metrics.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Context(_) => "context",
            Self::Failed { .. } => "failed",
            Self::Base(error) => error.class(),
            Self::NoSpace(_) => "no_space",
            Self::Stalled(_) => "stalled",
            Self::Engine(error) => error.class(),
        }
    }
}

/// For those who know the engine's errors alone.
impl From<BuildError> for EngineError {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Context(error) => Self::Refused(chain(&error)),
            error @ BuildError::Failed { .. } => Self::Refused(error.to_string()),
            BuildError::Base(error) => error.into(),
            BuildError::NoSpace(text) => Self::NoSpace(text),
            error @ BuildError::Stalled(_) => Self::Unknown(error.to_string()),
            BuildError::Engine(error) => error,
        }
    }
}

/// Reads a build to its end; answers the image's ID.
pub async fn finish(mut build: BuildStream) -> Result<String, BuildError> {
    while let Some(event) = build.next().await {
        if let BuildEvent::Built(id) = event? {
            return Ok(id);
        }
    }
    Err(without_id())
}

fn without_id() -> BuildError {
    EngineError::Unreadable("the build ended without an image's ID".to_owned()).into()
}

/// The sum of a build's lines.
#[derive(Debug, Default)]
pub struct BuildFold {
    /// Output since the last end of line.
    begun: String,
    output: VecDeque<String>,
    output_bytes: usize,
    /// Is the step one that names a base?
    from: bool,
    pull: PullFold,
    built: Option<String>,
}

impl BuildFold {
    /// Takes one line of the engine's into account; answers what it says.
    pub fn fold(&mut self, line: &[u8]) -> Result<Vec<BuildEvent>, BuildError> {
        let said = Line::parse("a line of a build", line)?;
        if let Some(message) = said.error {
            return Err(self.failure(&message));
        }
        self.built = said.built.or(self.built.take());
        if !said.status.is_empty() {
            let progress = self.pull.fold(line).map_err(BuildError::Base)?;
            return Ok(vec![BuildEvent::Pulling(progress)]);
        }
        Ok(self.lines(&said.stream))
    }

    /// What the end of the stream says.
    pub fn end(&mut self) -> Result<BuildEvent, BuildError> {
        self.built.take().map(BuildEvent::Built).ok_or_else(without_id)
    }

    fn lines(&mut self, text: &str) -> Vec<BuildEvent> {
        let mut lines = Vec::new();
        for c in text.chars() {
            if c != '\n' {
                self.begun.push(c);
            }
            if c == '\n' || self.begun.len() >= LINE_BYTES_MAX {
                let line = std::mem::take(&mut self.begun);
                let line = line.trim_end_matches('\r');
                // What comes between steps is for the eye.
                if !line.is_empty() {
                    self.keep(line);
                    lines.push(BuildEvent::Line(line.to_owned()));
                }
            }
        }
        lines
    }

    fn keep(&mut self, line: &str) {
        if let Some((step, instruction)) = line.split_once(" : ")
            && step.starts_with("Step ")
        {
            self.from = instruction.trim_start().to_ascii_uppercase().starts_with("FROM ");
            self.pull = PullFold::default();
        }
        self.output_bytes += line.len() + 1;
        self.output.push_back(line.to_owned());
        while self.output_bytes > OUTPUT_BYTES_MAX {
            let Some(oldest) = self.output.pop_front() else { break };
            self.output_bytes -= oldest.len() + 1;
        }
    }

    fn failure(&mut self, message: &str) -> BuildError {
        match classify(Call::Build, 400, message) {
            EngineError::NoSpace(text) => return BuildError::NoSpace(text),
            _ if self.from => return BuildError::Base(PullError::of_text(message)),
            _ => {}
        }
        let mut output: Vec<String> = self.output.drain(..).collect();
        output.push(std::mem::take(&mut self.begun));
        let output = output.join("\n").trim_end().to_owned();
        BuildError::Failed { message: clip(message, 200), output }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stream(text: &str) -> String {
        serde_json::json!({ "stream": text }).to_string()
    }

    fn error(text: &str) -> String {
        serde_json::json!({ "errorDetail": { "code": 1, "message": text }, "error": text })
            .to_string()
    }

    fn fold(lines: &[String]) -> (BuildFold, Vec<BuildEvent>) {
        let mut fold = BuildFold::default();
        let events = lines.iter().flat_map(|line| fold.fold(line.as_bytes()).unwrap()).collect();
        (fold, events)
    }

    #[test]
    fn output_comes_in_lines_however_it_came_and_the_id_comes_last() {
        let (mut fold, events) = fold(&[
            stream("Step 1/2 : FROM x"),
            stream("\n"),
            r#"{"status":"Pulling fs layer","id":"aa"}"#.to_owned(),
            stream(" ---> aa\nhalf"),
            stream(" a line\r\nb\n\n"),
            r#"{"aux":{"ID":"sha256:aa"}}"#.to_owned(),
            stream("Successfully built aa\n"),
        ]);
        let said: Vec<String> = events.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            [
                "Step 1/2 : FROM x",
                "base image: downloading, 0 of 0 MiB, 0 of 1 layers",
                " ---> aa",
                "half a line",
                "b",
                "Successfully built aa",
            ]
        );
        assert_eq!(fold.end().unwrap(), BuildEvent::Built("sha256:aa".to_owned()));
        assert_eq!(fold.end().unwrap_err().class(), "unreadable");
    }

    #[test]
    fn a_failure_has_what_was_said_last() {
        let (mut fold, _) =
            fold(&[stream("Step 2/2 : RUN make\n"), stream("cc: no such file\nand half")]);
        let said = "The command '/bin/sh -c make' returned a non-zero code: 2";
        match fold.fold(error(said).as_bytes()).unwrap_err() {
            BuildError::Failed { message, output } => {
                assert_eq!(message, said);
                assert_eq!(output, "Step 2/2 : RUN make\ncc: no such file\nand half");
            }
            other => panic!("{other}"),
        }
    }

    #[test]
    fn output_without_end_is_kept_from_its_end() {
        let mut lines: Vec<String> =
            (0..5000).map(|number| stream(&format!("line {number}\n"))).collect();
        lines.push(stream(&"x".repeat(3 * LINE_BYTES_MAX)));
        let (mut fold, events) = fold(&lines);
        assert_eq!(events.len(), 5003, "a line without end is cut");
        let Err(BuildError::Failed { output, .. }) = fold.fold(error("x").as_bytes()) else {
            panic!("it failed")
        };
        assert!(output.len() <= OUTPUT_BYTES_MAX, "{}", output.len());
        assert!(output.contains("line 4999") && !output.contains("line 1000"));
    }

    #[test]
    fn a_base_that_cannot_be_had_is_told_from_a_command_that_failed() {
        let missing = error("manifest for x:1 not found: manifest unknown: manifest unknown");
        let (mut from, _) = fold(&[stream("Step 1/2 : FROM x:1 AS y\n")]);
        assert_eq!(from.fold(missing.as_bytes()).unwrap_err().class(), "not_found");
        let (mut run, _) = fold(&[stream("Step 1/2 : FROM x:1\n"), stream("Step 2/2 : RUN x\n")]);
        assert_eq!(run.fold(missing.as_bytes()).unwrap_err().class(), "failed");
        let full = error("write /x: no space left on device");
        assert_eq!(run.fold(full.as_bytes()).unwrap_err().class(), "no_space");
    }

    #[test]
    fn a_refusal_is_the_dockerfiles_fault_or_the_engines() {
        let class = |status, text| BuildError::of_refusal(status, text).class();
        assert_eq!(class(400, "dockerfile parse error line 1: unknown instruction: X"), "failed");
        assert_eq!(class(500, "context deadline exceeded"), "engine");
        assert_eq!(class(500, "no space left on device"), "no_space");
    }
}
