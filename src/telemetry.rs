//! The log: one line an action, on stderr, as text or as JSON.
//!
//! `CHANOP_LOG`, else `RUST_LOG`, says what is shown, in `tracing`'s filter language. What the engine's client and the
//! HTTP stack say below `info` is never shown, whatever was asked for: bollard logs whole requests at `debug`, with the
//! environment of containers in them.

use std::fmt;
use std::io::{self, IsTerminal};

use tracing::{Level, Metadata, Subscriber};
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::fmt::format::{self, Writer};
use tracing_subscriber::fmt::time::FormatTime;
use tracing_subscriber::fmt::{MakeWriter, layer};
use tracing_subscriber::layer::{Layer, SubscriberExt};
use tracing_subscriber::registry::Registry;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, field::RecordFields};

use crate::clock::Clock;
use crate::config::{Environment, LogFormat};
use crate::resource::text::is_deceptive;

/// What is shown when nobody says.
const DEFAULT_FILTER: &str = "chanop=info,warn";

/// Crates that log payloads below `info`.
const CAPPED: [&str; 4] = ["bollard", "hyper", "hyper_util", "h2"];

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter does not parse.
    #[error("`{text}` in {variable} is no log filter; write for example chanop=debug")]
    Filter {
        /// Where it stood.
        variable: &'static str,
        /// What stood there.
        text: String,
        /// Why it is none.
        source: ParseError,
    },
    /// Somebody set a log before.
    #[error("the log is set already")]
    Set(#[source] tracing_subscriber::util::TryInitError),
}

/// Sets the process's log. Once, and before the first line.
pub fn init(
    format: LogFormat,
    environment: &Environment,
    clock: Clock,
) -> Result<(), TelemetryError> {
    let color = environment.allows_color() && io::stderr().is_terminal();
    subscriber(format, color, filter(environment)?, clock, io::stderr)
        .try_init()
        .map_err(TelemetryError::Set)
}

fn filter(environment: &Environment) -> Result<EnvFilter, TelemetryError> {
    let asked = [("CHANOP_LOG", &environment.chanop_log), ("RUST_LOG", &environment.rust_log)];
    let asked = asked.into_iter().find_map(|(variable, text)| Some((variable, text.as_ref()?)));
    let Some((variable, text)) = asked else {
        return Ok(EnvFilter::new(DEFAULT_FILTER));
    };
    EnvFilter::builder().parse(text).map_err(|source| TelemetryError::Filter {
        variable,
        text: text.clone(),
        source,
    })
}

/// A filter of its own and not a directive, since a more specific directive of the user would beat it.
fn may_be_shown(metadata: &Metadata<'_>) -> bool {
    let target = metadata.target();
    let root = target.split_once("::").map_or(target, |(root, _)| root);
    *metadata.level() <= Level::INFO || !CAPPED.contains(&root)
}

fn subscriber<W>(
    format: LogFormat,
    color: bool,
    filter: EnvFilter,
    clock: Clock,
    writer: W,
) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match format {
        LogFormat::Text => layer()
            .with_timer(ShortTime(clock))
            .with_target(false)
            .with_ansi(color)
            .fmt_fields(OneLine)
            .with_writer(writer)
            .boxed(),
        LogFormat::Json => layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_timer(LongTime(clock))
            .with_writer(writer)
            .boxed(),
    };
    tracing_subscriber::registry().with(lines).with(filter).with(filter_fn(may_be_shown))
}

/// `14:03:07.120Z`, for people: the date is known to whoever watches, and journald adds its own.
#[derive(Debug, Clone, Copy)]
struct ShortTime(Clock);

impl FormatTime for ShortTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{}", self.0.now().wall.strftime("%H:%M:%S.%3fZ"))
    }
}

/// RFC 3339, for machines.
#[derive(Debug, Clone, Copy)]
struct LongTime(Clock);

impl FormatTime for LongTime {
    fn format_time(&self, writer: &mut Writer<'_>) -> fmt::Result {
        write!(writer, "{:.3}", self.0.now().wall)
    }
}

/// The message, then the fields, with nothing in them that could end the line or steer a terminal: texts come from
/// files, engines and agents.
#[derive(Debug, Clone, Copy)]
struct OneLine;

impl<'w> format::FormatFields<'w> for OneLine {
    fn format_fields<R: RecordFields>(&self, writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut visitor = Line { writer, result: Ok(()) };
        fields.record(&mut visitor);
        visitor.result
    }
}

struct Line<'w> {
    writer: Writer<'w>,
    result: fmt::Result,
}

impl Line<'_> {
    fn write(&mut self, field: &tracing::field::Field, value: &str) {
        if self.result.is_err() || field.name().starts_with("log.") {
            return;
        }
        let value = escape(value);
        self.result = match field.name() {
            "message" => write!(self.writer, "{value}"),
            name => write!(self.writer, " {name}={value}"),
        };
    }
}

impl tracing::field::Visit for Line<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn fmt::Debug) {
        self.write(field, &format!("{value:?}"));
    }

    fn record_error(
        &mut self,
        field: &tracing::field::Field,
        value: &(dyn std::error::Error + 'static),
    ) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            text = format!("{text}: {error}");
            source = error.source();
        }
        self.write(field, &format!("{text:?}"));
    }
}

fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            escaped.extend(character.escape_default());
        } else if is_deceptive(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    escaped
}

#[cfg(test)]
mod tests;
