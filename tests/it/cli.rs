//! The built binary: what it prints, and its exit codes.

use std::path::Path;
use std::process::{Command, Output};

use chanop::http::Limits;
use expect_test::{Expect, expect};

use crate::faces::{Served, view};

async fn chanop(arguments: &[&str], socket: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_chanop"));
    command.args(arguments).env_clear().env("CHANOP_SOCKET", socket).env("HOME", "/nonexistent");
    // The server runs on this thread meanwhile.
    tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
}

/// Everything that a person or a script sees, with paths of the test taken out.
fn seen(output: &Output, socket: &Path) -> String {
    let text = |bytes: &[u8]| {
        String::from_utf8(bytes.to_vec()).unwrap().replace(&socket.display().to_string(), "SOCKET")
    };
    let mut all = text(&output.stdout);
    for line in text(&output.stderr).lines() {
        all += &format!("! {line}\n");
    }
    all + &format!("exit {}\n", output.status.code().unwrap())
}

async fn check(arguments: &[&str], expected: Expect) {
    let served = Served::new(view(), Limits::default()).await;
    let output = chanop(arguments, &served.socket).await;
    expected.assert_eq(&seen(&output, &served.socket));
}

async fn check_alone(arguments: &[&str], expected: Expect) {
    let socket = Path::new("/nonexistent/chanop.sock");
    let output = chanop(arguments, socket).await;
    expected.assert_eq(&seen(&output, socket));
}

#[tokio::test]
async fn help_tells_a_newcomer_where_to_begin() {
    check_alone(&["--help"], expect![[""]]).await;
}

#[tokio::test]
async fn a_verbs_help_has_an_example() {
    check_alone(&["exec", "--help"], expect![[""]]).await;
}

#[tokio::test]
async fn without_an_operator_one_line_says_how_to_start_one() {
    check_alone(&["get", "channels"], expect![[""]]).await;
    check_alone(&["exec", "web", "--", "true"], expect![[""]]).await;
    check_alone(&["version"], expect![[""]]).await;
}

#[tokio::test]
async fn wrong_usage_is_an_error_and_not_a_pending_change() {
    check_alone(&["get", "pods"], expect![[""]]).await;
    check_alone(&["get", "channels", "-o", "table"], expect![[""]]).await;
    check_alone(&["suspend", "channel/web", "--for", "5"], expect![[""]]).await;
    check_alone(&["shell", "web"], expect![[""]]).await;
}

#[tokio::test]
async fn get_channels_prints_the_documented_columns() {
    check(&["get", "channels"], expect![[""]]).await;
}

#[tokio::test]
async fn get_has_wide_columns_and_names_and_selects() {
    check(&["get", "ch", "-o", "wide", "-l", "team=team-web"], expect![[""]]).await;
    check(&["get", "channels", "-o", "name"], expect![[""]]).await;
    check(&["get", "channel/web"], expect![[""]]).await;
    check(&["get", "channels", "-l", "team=nobody"], expect![[""]]).await;
    check(&["get", "channel", "nope"], expect![[""]]).await;
    check(&["get", "runs"], expect![[""]]).await;
}

#[tokio::test]
async fn get_all_lists_channels_and_classes() {
    check(&["get", "all"], expect![[""]]).await;
}

#[tokio::test]
async fn foreign_text_never_reaches_the_terminal_raw() {
    check(&["get", "events"], expect![[""]]).await;
}

#[tokio::test]
async fn verbs_print_the_operators_sentence() {
    check(&["reconcile"], expect![[""]]).await;
    check(&["reconcile", "channel/web"], expect![[""]]).await;
    check(&["suspend", "channel/web", "--for", "2h", "--reason", "migrating"], expect![[""]]).await;
    check(&["resume", "channel/web"], expect![[""]]).await;
    check(&["prune"], expect![[""]]).await;
    check(&["prune", "--confirm", "h1"], expect![[""]]).await;
}

#[tokio::test]
async fn a_plan_with_something_to_do_exits_with_2() {
    check(&["plan"], expect![[""]]).await;
}

#[tokio::test]
async fn describe_says_why_and_what_waits() {
    check(&["describe", "channel/web"], expect![[""]]).await;
    check(&["describe", "channel", "ledger"], expect![[""]]).await;
}

#[tokio::test]
async fn version_knows_operator_and_engine() {
    check(&["version"], expect![[""]]).await;
}

#[tokio::test]
async fn another_instances_operator_is_not_asked() {
    check(&["--instance", "other", "get", "channels"], expect![[""]]).await;
}

#[tokio::test]
async fn yaml_and_json_say_the_same() {
    let served = Served::new(view(), Limits::default()).await;
    let yaml = chanop(&["get", "channels", "-o", "yaml"], &served.socket).await;
    let json = chanop(&["get", "channels", "-o", "json"], &served.socket).await;
    let yaml: serde_json::Value = serde_yaml::from_slice(&yaml.stdout).unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(yaml, json);
    assert_eq!(json["items"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_watch_prints_rows_below_one_heading_until_the_operator_ends() {
    let served = Served::new(view(), Limits::default()).await;
    let socket = served.socket.clone();
    let watch = async { chanop(&["get", "channels", "-w"], &socket).await };
    let end = async {
        // The command is there once its rows are being read from a snapshot; then the operator goes.
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        assert!(served.stop().await);
    };
    let (output, ()) = tokio::join!(watch, end);
    expect![[""]].assert_eq(&seen(&output, &socket));
}

#[tokio::test]
async fn init_makes_a_directory_that_validates_and_never_writes_over_one() {
    let top = tempfile::tempdir().unwrap();
    let project = top.path().join("My Project");
    std::fs::create_dir(&project).unwrap();
    let specs = top.path().join("specs");
    let nowhere = Path::new("/nonexistent/chanop.sock");
    let arguments = ["init", specs.to_str().unwrap(), "--workspace", project.to_str().unwrap()];
    let first = chanop(&arguments, nowhere).await;
    let shown = seen(&first, top.path());
    expect![[""]].assert_eq(&shown);
    let again = chanop(&arguments, nowhere).await;
    assert_eq!(again.status.code(), Some(1));
    let valid = chanop(&["validate", specs.to_str().unwrap()], nowhere).await;
    assert_eq!(valid.status.code(), Some(0), "{}", seen(&valid, top.path()));
    // A project whose agent could write its own rules.
    let inside = project.join("specs");
    let refused = chanop(
        &["init", inside.to_str().unwrap(), "--workspace", project.to_str().unwrap()],
        nowhere,
    )
    .await;
    assert_eq!(refused.status.code(), Some(1));
    assert!(!inside.exists());
}

#[tokio::test]
async fn a_reader_that_leaves_is_no_error() {
    let served = Served::new(view(), Limits::default()).await;
    let script = format!("{} get channels -w | head -n 1", env!("CARGO_BIN_EXE_chanop"));
    let mut command = Command::new("bash");
    command.args(["-o", "pipefail", "-c", &script]).env("CHANOP_SOCKET", &served.socket);
    let running = tokio::task::spawn_blocking(move || command.output().unwrap());
    tokio::pin!(running);
    // Each change is a line that nobody reads; the command notices at the next one.
    let output = loop {
        served.publish(|view| {
            if view.channels.pop_first().is_none() {
                *view = self::view();
            }
        });
        tokio::select! {
            output = &mut running => break output.unwrap(),
            () = tokio::time::sleep(std::time::Duration::from_millis(50)) => {}
        }
    };
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("NAME"), "{text}");
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}
