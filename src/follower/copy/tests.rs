//! What goes wrong between two readings of a log; the engine itself is in `tests/it/follower.rs`.

use super::*;
use crate::store::transcripts::SECRET_BYTES_MIN;

fn name() -> ResourceName {
    ResourceName::parse("a").unwrap()
}

fn open(dir: &std::path::Path, secrets: &[&str]) -> Copy {
    let transcripts = Transcripts::new(dir).unwrap();
    Copy::open(&transcripts, &name(), 0, Secrets::new(secrets)).unwrap()
}

fn out(text: &str) -> LogChunk {
    LogChunk { stderr: false, bytes: Bytes::copy_from_slice(text.as_bytes()) }
}

fn err(text: &str) -> LogChunk {
    LogChunk { stderr: true, ..out(text) }
}

fn written(dir: &std::path::Path) -> String {
    std::fs::read_to_string(dir.join("runs/a/0.jsonl")).unwrap()
}

/// Lines that differ, longer together than the mark.
fn lines(numbers: std::ops::Range<u32>) -> String {
    use std::fmt::Write as _;

    numbers.fold(String::new(), |mut text, number| {
        writeln!(text, "{{\"type\":\"system\",\"subtype\":\"other\",\"n\":{number}}}").unwrap();
        text
    })
}

fn reading(copy: &mut Copy, log: &str) -> Result<(), Misfit> {
    copy.begin();
    log.as_bytes()
        .chunks(1_000)
        .try_for_each(|piece| copy.take(&[out(std::str::from_utf8(piece).unwrap())]))
}

#[test]
fn what_is_read_again_is_neither_lost_nor_doubled() {
    let dir = tempfile::tempdir().unwrap();
    let whole = lines(0..500);
    let mut first = open(dir.path(), &["secret-of-a-house"]);
    reading(&mut first, &whole[..7_777]).unwrap();
    // The stream broke, and is opened again.
    reading(&mut first, &whole[..9_999]).unwrap();
    drop(first);
    // The operator was started again.
    let mut second = open(dir.path(), &["secret-of-a-house"]);
    assert_eq!(second.seen(), 9_999);
    reading(&mut second, &whole).unwrap();
    let followed = second.finish(None, None);
    assert_eq!(written(dir.path()), whole);
    let fact = followed.transcript.unwrap();
    assert_eq!((fact.bytes, fact.missing), (whole.len() as u64, None));
    assert_eq!(followed.noise.lost_lines(), 0);
}

#[test]
fn a_secret_is_masked_across_pieces_and_readings() {
    let secret = "hunter2-hunter2";
    let log = format!("before {secret} after {secret}\n");
    for cut in 0..log.len() {
        let dir = tempfile::tempdir().unwrap();
        let mut copy = open(dir.path(), &[secret]);
        copy.begin();
        copy.take(&[out(&log[..cut])]).unwrap();
        assert!(!written(dir.path()).contains("hunter2"));
        copy.begin();
        copy.take(&[out(&log[..cut]), out(&log[cut..])]).unwrap();
        copy.finish(None, None);
        let masked = log.replace(secret, &"*".repeat(secret.len()));
        assert_eq!(written(dir.path()), masked, "cut at {cut}");
    }
    assert!(secret.len() >= SECRET_BYTES_MIN);
}

#[test]
fn the_end_of_standard_error_is_kept_and_masked() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = open(dir.path(), &["hunter2-hunter2"]);
    copy.take(&[err("said before the stream broke\n")]).unwrap();
    copy.begin();
    copy.take(&[err(&"x".repeat(20_000)), err("hunter2-"), out("{}\n"), err("hunter2 end")])
        .unwrap();
    let followed = copy.finish(None, None);
    assert_eq!(followed.stderr.len(), STDERR_BYTES_MAX);
    assert!(followed.stderr.ends_with("xxx*************** end"), "{}", followed.stderr);
    assert_eq!(written(dir.path()), "{}\n");
}

#[test]
fn a_log_whose_beginning_was_thrown_away_goes_on_where_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let whole = lines(0..1_000);
    let mut copy = open(dir.path(), &[]);
    let half = whole.len() / 2 + 13;
    reading(&mut copy, &whole[..half]).unwrap();
    // The first third is gone; what was seen last is still there.
    let log = &whole[whole.len() / 3..];
    assert_eq!(reading(&mut copy, log), Err(Misfit));
    copy.begin_search();
    for piece in log.as_bytes().chunks(700) {
        copy.take(&[out(std::str::from_utf8(piece).unwrap())]).unwrap();
    }
    copy.end_search();
    reading(&mut copy, log).unwrap();
    let fact = copy.finish(None, None).transcript.unwrap();
    assert_eq!(written(dir.path()), whole);
    assert_eq!(fact.missing, None);
}

#[test]
fn a_part_that_the_engine_gives_twice_is_said_once_and_the_rest_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let mut copy = open(dir.path(), &[]);
    copy.begin();
    let twice = [lines(0..300), lines(200..400)].concat();
    copy.take(&[out(&twice)]).unwrap();
    let log = lines(0..500);
    assert_eq!(reading(&mut copy, &log), Err(Misfit));
    copy.begin_search();
    copy.take(&[out(&log)]).unwrap();
    copy.end_search();
    for _ in 0..2 {
        reading(&mut copy, &log).unwrap();
        assert!(!copy.is_short());
    }
    let fact = copy.finish(None, None).transcript.unwrap();
    assert_eq!(written(dir.path()), twice + &lines(400..500));
    let missing = fact.missing.unwrap();
    assert!(missing.starts_with("the engine gave a part of it twice, after byte "), "{missing}");
    assert!(!missing.contains(';'), "{missing}");
}

#[test]
fn what_was_thrown_away_before_it_was_read_is_said_to_be_missing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = lines(0..1_000);
    let mut copy = open(dir.path(), &[]);
    reading(&mut copy, &lines(0..200)).unwrap();
    let log = lines(600..1_000);
    assert_eq!(reading(&mut copy, &log), Err(Misfit));
    copy.begin_search();
    copy.take(&[out(&log)]).unwrap();
    copy.end_search();
    reading(&mut copy, &log).unwrap();
    let fact = copy.finish(None, None).transcript.unwrap();
    assert_eq!(written(dir.path()), lines(0..200) + &log);
    assert!(whole.ends_with(&log));
    assert!(fact.missing.unwrap().starts_with("the engine's log was full"));
}

#[test]
fn without_a_file_the_output_is_counted_all_the_same() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("runs"), "no directory").unwrap();
    let mut copy = open(dir.path(), &[]);
    let log = "{\"type\":\"result\",\"subtype\":\"success\",\"is_error\":false,\"result\":\"done\",\"num_turns\":3}\n";
    reading(&mut copy, log).unwrap();
    reading(&mut copy, log).unwrap();
    assert!(copy.is_over());
    assert_eq!(copy.progress().turns, 3);
    assert_eq!(copy.finish(None, None).transcript, None);
}
