//! What the log shows, read from a buffer instead of stderr.

use std::sync::{Arc, Mutex};

use super::*;

#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl io::Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Buffer {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

fn logged(format: LogFormat, asked: &str, work: impl FnOnce()) -> String {
    let environment = Environment { chanop_log: Some(asked.to_owned()), ..Environment::default() };
    let buffer = Buffer::default();
    let filter = filter(&environment).unwrap();
    let log = subscriber(format, false, filter, Clock::start(), buffer.clone());
    tracing::subscriber::with_default(log, work);
    String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap()
}

/// Without the time, which no test can foresee.
fn untimed(line: &str) -> &str {
    let (time, rest) = line.split_once(' ').unwrap();
    assert_eq!(time.len(), "14:03:07.120Z".len(), "{line}");
    rest.trim_start()
}

#[derive(Debug, thiserror::Error)]
#[error("failed to start shell-demo")]
struct Outer(#[source] io::Error);

#[test]
fn an_action_is_one_line_with_its_fields() {
    let text = logged(LogFormat::Text, "info", || {
        tracing::info!(object = %"channel/demo", attempt = 2, "created");
    });
    assert_eq!(untimed(&text), "INFO created object=channel/demo attempt=2\n");
}

#[test]
fn an_error_is_logged_with_its_causes() {
    let error = Outer(io::Error::other("no such image"));
    let text = logged(LogFormat::Text, "info", || {
        tracing::warn!(error = &error as &dyn std::error::Error, "will try again");
    });
    let expected = "WARN will try again error=\"failed to start shell-demo: no such image\"\n";
    assert_eq!(untimed(&text), expected);
}

#[test]
fn a_foreign_text_can_neither_end_the_line_nor_steer_the_terminal() {
    let text = logged(LogFormat::Text, "info", || {
        tracing::info!(message = %"a\nb", engine = %"\u{1b}[31mred\r");
    });
    assert_eq!(untimed(&text), "INFO a\\nb engine=\\u{1b}[31mred\\r\n");
}

#[test]
fn payloads_of_the_engine_client_are_never_shown() {
    let text = logged(LogFormat::Text, "trace,bollard::docker=trace", || {
        tracing::debug!(target: "bollard::docker", "env: TOKEN=hunter2");
        tracing::trace!(target: "hyper_util::client", "body: hunter2");
        tracing::info!(target: "bollard::docker", "connected");
        tracing::trace!(target: "bollardier", "ours to show");
    });
    assert!(!text.contains("hunter2"), "{text}");
    assert!(text.contains("connected") && text.contains("ours to show"), "{text}");
}

#[test]
fn json_is_one_object_a_line() {
    let text = logged(LogFormat::Json, "info", || {
        tracing::info!(object = %"channel/demo", "created\nat once");
    });
    let line: serde_json::Value = serde_json::from_str(text.trim_end()).unwrap();
    assert_eq!(text.lines().count(), 1);
    assert_eq!(line["message"], "created\nat once");
    assert_eq!(line["object"], "channel/demo");
    assert_eq!(line["level"], "INFO");
    assert!(line["timestamp"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
}

#[test]
fn our_variable_beats_the_general_one_and_a_bad_one_is_named() {
    let environment = |ours: Option<&str>| Environment {
        chanop_log: ours.map(str::to_owned),
        rust_log: Some("chanop=verbose!".to_owned()),
        ..Environment::default()
    };
    assert!(filter(&environment(Some("chanop=debug"))).is_ok());
    let error = filter(&environment(None)).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`chanop=verbose!` in RUST_LOG is no log filter; write for example chanop=debug"
    );
    assert!(filter(&Environment::default()).is_ok());
}
