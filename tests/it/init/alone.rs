//! Without a container: exit codes, signals, the login environment.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Output, Stdio};

use chanop::init::mounts::{Identity, encode};
use rustix::process::{Pid, Signal, kill_process};

fn init(arguments: &[&str]) -> Command {
    #[expect(clippy::disallowed_methods, reason = "the program under test")]
    let mut command = Command::new(env!("CARGO_BIN_EXE_chanop-init"));
    command.args(arguments);
    command
}

fn output(arguments: &[&str]) -> Output {
    init(arguments).output().unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

#[test]
fn a_bad_call_is_told_in_one_line() {
    for arguments in [
        &[][..],
        &["dance"],
        &["run"],
        &["run", "--"],
        &["run", "true"],
        &["exec"],
        &["idle", "--", "true"],
        &["run", "--loud", "--", "true"],
        &["exec", "--stdin", "/dev/null", "--", "true"],
        &["idle", "--stdin", "/dev/null"],
        &["exec", "--guard", "/dev/null", "--", "true"],
        &["run", "--guard", "/dev/null"],
        &["exec", "--kill", "--", "true"],
        &["leash"],
        &["leash", "--", "a", "b"],
    ] {
        let output = output(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}");
        assert_eq!(stderr(&output).lines().count(), 1, "{arguments:?}");
    }
}

#[test]
fn the_commands_exit_code_is_passed_on() {
    for (command, code) in [
        (&["sh", "-c", "exit 0"][..], 0),
        (&["sh", "-c", "exit 7"], 7),
        (&["sh", "-c", "kill -TERM $$"], 143),
        (&["sh", "-c", "kill -KILL $$"], 137),
        (&["/nowhere/program"], 127),
        (&["/etc/passwd"], 126),
    ] {
        let output = output(&[&["run", "--"], command].concat());
        assert_eq!(output.status.code(), Some(code), "{command:?}: {}", stderr(&output));
    }
    for (program, code) in [("/nowhere/program", 127), ("/etc/passwd", 126)] {
        assert_eq!(output(&["exec", "--", program]).status.code(), Some(code));
    }
}

#[test]
fn a_guarded_command_is_run_once_and_its_end_is_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let (guard, ran) = (path("guard"), path("ran"));
    fs::write(&guard, "").unwrap();
    let script = format!("cat {guard}; echo x >>{ran}; exit 3");
    let run = || output(&["run", "--guard", &guard, "--", "sh", "-c", &script]);
    let first = run();
    assert_eq!(first.status.code(), Some(3), "{}", stderr(&first));
    let seen = String::from_utf8(first.stdout).unwrap();
    assert!(seen.starts_with(r#"{"startedAt":"2"#), "noted before it ran: {seen}");
    let second = run();
    assert_eq!(second.status.code(), Some(254));
    let said = "chanop-init: the command was started before; it is never started twice\n";
    assert_eq!(stderr(&second), said);
    assert_eq!(fs::read_to_string(&ran).unwrap(), "x\n");
    let text = fs::read_to_string(&guard).unwrap();
    let line: serde_json::Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(line["exitCode"], 3);
    let time = |name: &str| line[name].as_str().unwrap().parse::<jiff::Timestamp>().unwrap();
    assert!(time("startedAt") <= time("finishedAt"));
    assert_eq!(text.lines().count(), 3, "{text}");
}

#[test]
fn what_cannot_be_noted_is_not_started_and_what_fails_before_is_not_noted() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    let ran = path("ran");
    for guard in [path("missing"), path(""), "/dev/full".to_owned()] {
        let output = output(&["run", "--guard", &guard, "--", "touch", &ran]);
        assert_eq!(output.status.code(), Some(125), "{guard}");
        let said = stderr(&output);
        assert!(said.contains("failed to note the start in"), "{said}");
        assert!(!fs::exists(&ran).unwrap(), "{guard}");
    }
    let guard = path("guard");
    fs::write(&guard, "").unwrap();
    let missing = path("missing");
    let failed = output(&["run", "--guard", &guard, "--stdin", &missing, "--", "touch", &ran]);
    assert_eq!(failed.status.code(), Some(125));
    assert_eq!(fs::read_to_string(&guard).unwrap(), "");
    let none = output(&["run", "--guard", &guard, "--", "/nowhere/program"]);
    assert_eq!(none.status.code(), Some(127));
    let text = fs::read_to_string(&guard).unwrap();
    assert!(text.ends_with("\"exitCode\":127}\n"), "{text}");
}

#[test]
fn a_file_is_the_commands_standard_input() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("prompt");
    // More than a pipe holds and an argument may have.
    let text = "word ".repeat(600_000);
    fs::write(&path, &text).unwrap();
    let file = path.to_str().unwrap();
    let output = output(&["run", "--stdin", file, "--", "cat"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(output.stdout == text.as_bytes());
}

#[test]
fn a_standard_input_that_cannot_be_opened_runs_nothing() {
    let output = output(&["run", "--stdin", "/nowhere/prompt", "--", "echo", "ran"]);
    assert_eq!(output.status.code(), Some(125));
    assert_eq!(output.stdout, b"");
    let said = stderr(&output);
    assert!(said.starts_with("chanop-init: failed to open /nowhere/prompt as standard"), "{said}");
}

#[test]
fn signals_reach_the_command() {
    for (signal, name) in [
        (Signal::TERM, "TERM"),
        (Signal::INT, "INT"),
        (Signal::HUP, "HUP"),
        (Signal::USR1, "USR1"),
        (Signal::USR2, "USR2"),
        (Signal::QUIT, "QUIT"),
    ] {
        let script = format!("trap 'exit 9' {name}; echo ready; while :; do sleep 0.01; done");
        let mut child =
            init(&["run", "--", "sh", "-c", &script]).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        kill_process(Pid::from_child(&child), signal).unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(9), "{name}");
    }
}

#[test]
fn another_thing_at_a_mounts_place_is_refused_before_anything_runs() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().to_str().unwrap().to_owned();
    let list = directory.path().join("list");
    let metadata = fs::metadata(&target).unwrap();
    let ran = directory.path().join("ran");
    let run = |inode: u64, target: &str| {
        let identity = Identity { target: target.to_owned(), device: metadata.dev(), inode };
        fs::write(&list, encode(&[identity])).unwrap();
        let list = list.to_str().unwrap();
        output(&["run", "--mounts", list, "--", "touch", ran.to_str().unwrap()])
    };
    for refused in [run(metadata.ino() + 1, &target), run(metadata.ino(), "/nowhere/at all")] {
        assert_eq!(refused.status.code(), Some(78));
        assert_eq!(stderr(&refused).lines().count(), 1);
        assert!(!ran.exists());
    }
    assert_eq!(run(metadata.ino(), &target).status.code(), Some(0));
    assert!(ran.exists());
    fs::write(&list, "damaged").unwrap();
    let damaged = output(&["idle", "--mounts", list.to_str().unwrap()]);
    assert_eq!(damaged.status.code(), Some(78));
}

#[test]
fn a_login_in_bash_keeps_the_images_path_first() {
    // Debian's /etc/profile sets PATH anew; `name with spaces` would fall apart in a script.
    let command = [
        "exec",
        "--login",
        "--",
        "sh",
        "-c",
        "echo \"$PATH|$1|$CHANOP_PATH|$SHELL\"",
        "x",
        "a  b'c",
    ];
    let found =
        init(&command).env("PATH", "/image/bin:/usr/bin:/bin").env("HOME", "/").output().unwrap();
    let text = String::from_utf8(found.stdout).unwrap();
    let parts: Vec<&str> = text.trim_end().split('|').collect();
    assert!(parts[0].starts_with("/image/bin:/usr/bin:/bin"), "{text}");
    assert_eq!(parts[1..], ["a  b'c", "", "/bin/bash"]);
    assert_eq!(found.status.code(), Some(0));
}
