//! Bytes in chunks, against the parser and the fold: no panic, the same events as in one piece, nothing beyond its bound,
//! and an outcome that survives its JSON.
//!
//! The first byte says how the run ended, the second how long the chunks are, the third the limit of a line.
#![no_main]

use chanop::claude::outcome::{Ending, Fold, RunOutcome, Stop};
use chanop::claude::parser::{LINE_BYTES_MAX, Located, Noise, Parser};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let [how, size, limit, bytes @ ..] = data else { return };
    let chunk_bytes = usize::from(*size) + 1;
    let limit = if *limit < 128 { LINE_BYTES_MAX } else { usize::from(*limit) * 4 };
    let (whole, noise) = read(limit, [bytes].into_iter());
    let (pieces, same_noise) = read(limit, bytes.chunks(chunk_bytes));
    assert_eq!(pieces, whole);
    assert_eq!(same_noise, noise);

    let mut fold = Fold::new();
    let mut at = 0;
    for located in &whole {
        assert!(at <= located.offset && located.offset < located.end, "events stand in order");
        at = located.end;
        fold.add(&located.event);
    }
    assert!(at <= u64::try_from(bytes.len()).unwrap());
    let outcome = fold.end(&noise, &ending(*how, bytes));
    let json = serde_json::to_string(&outcome).unwrap();
    assert_eq!(serde_json::from_str::<RunOutcome>(&json).unwrap(), outcome);
});

fn read<'a>(limit: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<Located>, Noise) {
    let mut parser = Parser::new().with_limit(limit);
    let mut all = Vec::new();
    for chunk in chunks {
        all.extend(parser.push(chunk));
        assert!(parser.held_bytes() <= (2 * limit).max(8));
    }
    all.extend(parser.finish());
    assert_eq!(parser.finish(), None, "the end is said once");
    (all, parser.noise().clone())
}

fn ending(how: u8, bytes: &[u8]) -> Ending {
    let codes = [None, Some(0), Some(1), Some(127), Some(129), Some(137), Some(143), Some(-1)];
    Ending {
        exit_code: codes[usize::from(how & 7)],
        oom_killed: how & 8 != 0,
        stopped: [None, Some(Stop::Deadline), Some(Stop::Cancel), None][usize::from(how >> 4 & 3)],
        stderr: String::from_utf8_lossy(&bytes[..bytes.len().min(64)]).into_owned(),
    }
}
