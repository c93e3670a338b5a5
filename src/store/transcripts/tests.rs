//! On a real file system.

use std::fmt::Write as _;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::resource::text::hex;

fn run(text: &str) -> ResourceName {
    ResourceName::parse(text).unwrap()
}

fn transcripts(dir: &Path) -> Transcripts {
    Transcripts::new(dir).unwrap()
}

/// Lines like the agent's, and of no round length.
fn lines(bytes: usize) -> Vec<u8> {
    let mut text = String::new();
    for number in 0.. {
        if text.len() >= bytes {
            break;
        }
        let square = number * number;
        writeln!(text, r#"{{"type":"assistant","n":{number},"square":{square}}}"#).unwrap();
    }
    text.into_bytes()
}

fn write(transcripts: &Transcripts, name: &str, attempt: u32, content: &[u8]) {
    let mut appender = transcripts.append_to(&run(name), attempt).unwrap();
    appender.append(content).unwrap();
    let fact = appender.finish(None);
    assert_eq!(fact.bytes, content.len() as u64);
    assert_eq!(fact.sha256, hex(&Sha256::digest(content)));
    assert_eq!(fact.missing, None);
}

fn names(dir: &Path, name: &str) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir.join("runs").join(name)) else { return Vec::new() };
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

async fn all(mut tail: Tail) -> Vec<u8> {
    let mut all = Vec::new();
    while let Some(piece) = tail.next().await.unwrap() {
        assert!(piece.len() <= CHUNK_BYTES);
        all.extend_from_slice(&piece);
    }
    all
}

#[test]
fn what_is_written_is_private() {
    let dir = tempfile::tempdir().unwrap();
    write(&transcripts(dir.path()), "a", 0, b"{}\n");
    let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().mode() & 0o777;
    assert_eq!(["runs", "runs/a", "runs/a/0.jsonl"].map(mode), [0o700, 0o700, 0o600]);
}

#[tokio::test]
async fn a_packed_transcript_reads_the_same_from_every_place() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    let content = lines(2 * 1024 * 1024 + 70_000);
    write(&transcripts, "a", 3, &content);
    let plain = all(transcripts.open(&run("a"), 3, 5).unwrap()).await;
    assert_eq!(plain, content[5..]);
    // One who began before it was packed goes on after it.
    let mut early = transcripts.open(&run("a"), 3, 0).unwrap();
    let first = early.next().await.unwrap().unwrap();

    transcripts.recorded(&run("a"), 3);
    transcripts.shared.keeper.finish();
    assert_eq!(names(dir.path(), "a"), ["3.jsonl.zst"]);
    let packed = fs::metadata(dir.path().join("runs/a/3.jsonl.zst")).unwrap();
    assert_eq!(packed.mode() & 0o777, 0o600);
    assert!(packed.len() < content.len() as u64 / 3, "{} of {}", packed.len(), content.len());
    assert_eq!([first.to_vec(), all(early).await].concat(), content);
    let end = content.len();
    for from in [0, 1, 1_048_575, 1_048_576, 1_048_577, 2_097_152, end - 1, end, end + 9] {
        let tail = transcripts.open(&run("a"), 3, from as u64).unwrap();
        assert_eq!(all(tail).await, content[from.min(end)..], "from {from}");
    }
}

#[tokio::test]
async fn an_empty_transcript_is_packed_and_read_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    write(&transcripts, "a", 0, b"");
    transcripts.recorded(&run("a"), 0);
    transcripts.shared.keeper.finish();
    assert_eq!(names(dir.path(), "a"), ["0.jsonl.zst"]);
    assert_eq!(all(transcripts.open(&run("a"), 0, 0).unwrap()).await, b"");
}

#[tokio::test]
async fn a_damaged_packed_transcript_is_an_error_and_never_other_words() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    write(&transcripts, "a", 0, &lines(100_000));
    transcripts.recorded(&run("a"), 0);
    transcripts.shared.keeper.finish();
    let path = dir.path().join("runs/a/0.jsonl.zst");
    let good = fs::read(&path).unwrap();
    let broken = [good[..good.len() - 9].to_vec(), good[..10].to_vec(), vec![0xff; 40]];
    for bad in broken {
        fs::write(&path, bad).unwrap();
        let mut tail = transcripts.open(&run("a"), 0, 0).unwrap();
        assert!(tail.next().await.is_err());
    }
}

#[tokio::test]
async fn a_tail_waits_for_what_grows_and_ends_with_it() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    assert_eq!(transcripts.open(&run("a"), 0, 0).unwrap_err().kind(), io::ErrorKind::NotFound);
    transcripts.expect(&run("a"), 0, 0);
    // Before there is a file.
    let mut tail = transcripts.open(&run("a"), 0, 0).unwrap();
    let soon = Duration::from_millis(20);
    assert!(tokio::time::timeout(soon, tail.next()).await.is_err());
    let mut appender = transcripts.append_to(&run("a"), 0).unwrap();
    appender.append(b"one\n").unwrap();
    assert_eq!(tail.next().await.unwrap().unwrap(), "one\n");
    assert!(tokio::time::timeout(soon, tail.next()).await.is_err());
    appender.append(b"two\n").unwrap();
    appender.append(b"three\n").unwrap();
    // A slow reader gets all at once.
    assert_eq!(tail.next().await.unwrap().unwrap(), "two\nthree\n");
    let late = transcripts.open(&run("a"), 0, 4).unwrap();
    appender.finish(None);
    assert_eq!(tail.next().await.unwrap(), None);
    assert_eq!(all(late).await, b"two\nthree\n");
    // The record is what ends one that nobody wrote.
    transcripts.expect(&run("b"), 0, 0);
    let never = transcripts.open(&run("b"), 0, 0).unwrap();
    transcripts.recorded(&run("b"), 0);
    let ended = all(never);
    let error = tokio::time::timeout(Duration::from_secs(5), ended).await;
    assert_eq!(error.unwrap(), b"");
}

#[test]
fn one_writes_at_a_time_and_goes_on_where_the_last_one_was() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    let mut first = transcripts.append_to(&run("a"), 0).unwrap();
    first.append(b"one\n").unwrap();
    let busy = transcripts.append_to(&run("a"), 0).unwrap_err();
    assert_eq!(busy.kind(), io::ErrorKind::ResourceBusy);
    drop(first);
    let mut second = transcripts.append_to(&run("a"), 0).unwrap();
    assert_eq!(second.catch_up().unwrap(), "one\n");
    assert_eq!(second.catch_up().unwrap(), "");
    second.append(b"two\n").unwrap();
    let fact = second.finish(Some("nothing".to_owned()));
    assert_eq!((fact.bytes, fact.missing.as_deref()), (8, Some("nothing")));
    assert_eq!(fact.sha256, hex(&Sha256::digest(b"one\ntwo\n")));
}

#[test]
fn what_is_recorded_while_it_is_written_is_packed_when_the_writer_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    let mut appender = transcripts.append_to(&run("a"), 0).unwrap();
    appender.append(b"one\n").unwrap();
    transcripts.recorded(&run("a"), 0);
    appender.append(b"two\n").unwrap();
    assert_eq!(names(dir.path(), "a"), ["0.jsonl"]);
    drop(appender);
    transcripts.shared.keeper.finish();
    assert_eq!(names(dir.path(), "a"), ["0.jsonl.zst"]);
}

#[test]
fn a_sweep_finishes_what_a_crash_left_and_deletes_only_what_was_buried() {
    let dir = tempfile::tempdir().unwrap();
    let first = transcripts(dir.path());
    for (name, attempt) in [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("c", 0), ("d", 0)] {
        write(&first, name, attempt, b"one\n");
    }
    // Between the rename and the removal, and in mid-writing.
    let b = dir.path().join("runs/b");
    fs::write(b.join("0.jsonl.zst"), b"as good as the plain one").unwrap();
    fs::write(b.join("0.jsonl.zst.new"), b"half").unwrap();
    first.stop();

    let second = transcripts(dir.path());
    let sweep = Sweep {
        known: [(run("a"), [(1, true), (2, false)].into()), (run("b"), [(0, true)].into())].into(),
        buried: [(run("a"), 1), (run("d"), 1)].into(),
    };
    second.shared.keeper.ask(Job::Sweep(sweep));
    second.shared.keeper.finish();
    assert_eq!(names(dir.path(), "a"), ["1.jsonl.zst", "2.jsonl"]);
    assert_eq!(names(dir.path(), "b"), ["0.jsonl.zst"]);
    // Nobody knows it, and nobody buried it.
    assert_eq!(names(dir.path(), "c"), ["0.jsonl"]);
    assert!(!dir.path().join("runs/d").exists());
    let packed = File::open(b.join("0.jsonl.zst")).unwrap();
    assert_eq!(Source::Packed(packed::Packed::new(packed)).read(0, 99).unwrap(), "one\n");
}

#[test]
fn a_disk_that_cannot_be_written_is_told_once_and_leaves_no_half() {
    let dir = tempfile::tempdir().unwrap();
    let transcripts = transcripts(dir.path());
    let mut appender = transcripts.append_to(&run("a"), 0).unwrap();
    appender.append(b"one\n").unwrap();
    let path = dir.path().join("runs/a/0.jsonl");
    appender.break_for_test(&path);
    assert!(appender.append(b"two\n").is_err());
    appender.append(b"three\n").unwrap();
    let fact = appender.finish(None);
    assert_eq!(fact.bytes, 4);
    let missing = fact.missing.unwrap();
    assert!(missing.starts_with("it could not be written from byte 4: "), "{missing}");
    assert_eq!(fs::read(path).unwrap(), b"one\n");
}
