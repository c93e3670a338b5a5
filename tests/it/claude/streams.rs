//! Bytes in any pieces: the same events, within bounds, without a panic.

use chanop::claude::event::{Block, Said};
use chanop::claude::outcome::{Ending, Fold, RunOutcome};
use chanop::claude::parser::{LINE_BYTES_MAX, Located, Parser};
use proptest::prelude::*;

use super::{cases, ending, events, outcome, read, read_whole, transcript};

/// `bytes` cut at the given places, which may lie anywhere.
fn cut<'a>(bytes: &'a [u8], places: &[usize]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places.iter().map(|place| place % (bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Pieces of lines as they might come: events, halves of events, text, and bytes that are neither.
fn line() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::sample::select(vec![
            r#"{"type":"system","subtype":"init","model":"m","session_id":"9930b0c9-6cf2-46f0-b70a-99d9b442a594"}"#,
            r#"{"message":{"content":[{"type":"tool_use","id":"t","name":"Bash","input":{"a":[1]}}]},"type":"assistant"}"#,
            r#"{"message":{"content":[{"type":"tool_result","tool_use_id":"t","content":"é"}]},"type":"user"}"#,
            r#"{"result":"ok","is_error":false,"subtype":"success","num_turns":1,"type":"result"}"#,
            r#"{"type":"assistant","message":{"content":[7,{"#,
            r#"{"type":7}"#,
            "[1,2]",
            "warning: \u{2028}",
            "",
            "\r",
        ])
        .prop_map(|line| line.as_bytes().to_vec()),
        prop::collection::vec(any::<u8>(), 0..40),
    ]
}

proptest! {
    #[test]
    fn any_chunking_gives_the_same_events(
        lines in prop::collection::vec(line(), 0..12),
        ends in any::<bool>(),
        places in prop::collection::vec(any::<usize>(), 0..30),
        limit in prop_oneof![Just(LINE_BYTES_MAX), 1_usize..200],
    ) {
        let mut bytes = lines.join(&b'\n');
        if ends {
            bytes.push(b'\n');
        }
        let parser = || Parser::new().with_limit(limit);
        let whole = read(parser(), [bytes.as_slice()]);
        prop_assert_eq!(&read(parser(), cut(&bytes, &places)), &whole);
        prop_assert_eq!(&read(parser(), bytes.chunks(1)), &whole);
    }

    #[test]
    fn any_bytes_are_read_without_a_panic_and_come_to_something(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        exit_code in prop::option::of(-300_i64..300),
        oom_killed in any::<bool>(),
        stderr in ".{0,40}",
    ) {
        let ending = Ending { exit_code, oom_killed, stderr, stopped: None };
        let outcome = RunOutcome::of_transcript(&bytes, &ending);
        prop_assert!(!outcome.class.is_success());
    }

    #[test]
    fn offsets_say_where_a_line_stands_and_where_to_go_on(
        lines in prop::collection::vec(line(), 0..12),
        seen in any::<prop::sample::Index>(),
    ) {
        let bytes = lines.join(&b'\n');
        let (all, _) = read_whole(&bytes);
        for located in &all {
            let own = &bytes[usize::try_from(located.offset).unwrap()..usize::try_from(located.end).unwrap()];
            let alone = read_whole(own).0;
            prop_assert_eq!(alone.len(), 1);
            prop_assert_eq!(&alone[0].event, &located.event);
        }
        if !all.is_empty() {
            let seen = seen.index(all.len());
            let end = all[seen].end;
            let rest = &bytes[usize::try_from(end).unwrap()..];
            let later = read(Parser::starting_at(end), [rest]).0;
            prop_assert_eq!(&later[..], &all[seen + 1..]);
        }
    }

    #[test]
    fn no_more_of_a_line_is_held_than_the_limit(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..3000), 0..8),
        limit in 1_usize..2000,
        size in 1_usize..500,
    ) {
        let bytes = lines.join(&b'\n');
        let mut parser = Parser::new().with_limit(limit);
        for chunk in bytes.chunks(size) {
            parser.push(chunk);
            // A vector grows by doubling, and begins with 8.
            prop_assert!(parser.held_bytes() <= (2 * limit).max(8), "{}", parser.held_bytes());
        }
        parser.finish();
        let long = bytes.split(|byte| *byte == b'\n').filter(|line| line.len() > limit).count();
        prop_assert_eq!(parser.noise().cut, u64::try_from(long).unwrap());
    }
}

#[test]
fn recordings_in_pieces_of_any_size_are_read_alike() {
    for case in cases() {
        let bytes = transcript(&case);
        let whole = read_whole(&bytes);
        for size in [1, 7, 4096] {
            // A byte at a time through 1.3 MB takes a second without optimisation, and shows nothing more.
            if size == 1 && bytes.len() > 100_000 {
                continue;
            }
            assert_eq!(read(Parser::new(), bytes.chunks(size)), whole, "{case} by {size}");
        }
    }
}

#[test]
fn every_line_of_a_recording_is_an_event_at_its_place() {
    for case in cases().into_iter().filter(|case| case != "output_text") {
        let bytes = transcript(&case);
        let (all, _) = read_whole(&bytes);
        let mut at = 0;
        for located in &all {
            assert_eq!(located.offset, at, "{case}");
            at = located.end;
        }
        assert_eq!(at, u64::try_from(bytes.len()).unwrap(), "{case}");
        assert_eq!(all.len(), bytes.split_inclusive(|byte| *byte == b'\n').count(), "{case}");
    }
}

#[test]
fn a_line_over_the_limit_is_cut_and_marked_and_the_run_goes_on() {
    let bytes = transcript("big_read_image");
    let (all, noise) = read(Parser::new().with_limit(100_000), bytes.chunks(65_536));
    let cuts: Vec<_> = events(&all)
        .into_iter()
        .filter_map(|event| match &event.said {
            Said::Cut { bytes, head } => {
                Some((*bytes, head.len(), head.starts_with(r#"{"type":"user""#)))
            }
            _ => None,
        })
        .collect();
    assert_eq!(cuts, [(1_344_168, 256, true)]);
    assert_eq!((all.len(), noise.cut, noise.may_hide_tool_use), (5, 1, true));

    let mut fold = Fold::new();
    for located in &all {
        fold.add(&located.event);
    }
    let cut = fold.end(&noise, &ending("big_read_image"));
    let whole = outcome("big_read_image");
    assert_eq!((cut.lines.events, cut.lines.lost, cut.lines.cut), (4, 1, 1));
    assert_eq!((cut.class, cut.cost, cut.turns), (whole.class, whole.cost, whole.turns));
}

#[test]
fn a_buffer_that_a_long_line_needed_is_given_back() {
    let mut parser = Parser::new();
    let line = vec![b'x'; 5_000_000];
    parser.push(&line);
    assert!(parser.held_bytes() >= 5_000_000);
    parser.push(b"\n{\"type\"");
    assert!(parser.held_bytes() < 1000);
}

/// One line of so many bytes, as a long answer is one.
fn long_answer(bytes: usize) -> Vec<u8> {
    let text = "a".repeat(bytes);
    format!(r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#)
        .into_bytes()
}

#[test]
fn a_long_line_in_small_chunks_is_read_whole() {
    // 300,000 chunks: were each to look at the whole line again, this would take an hour.
    let line = long_answer(5_000_000);
    let (all, _) = read(Parser::new(), line.chunks(16).chain([b"\n".as_slice()]));
    let Said::Assistant(assistant) = &all[0].event.said else { panic!("{:?}", all[0].offset) };
    let Block::Text(text) = &assistant.blocks[0] else { panic!("no text") };
    assert_eq!(text.len(), 5_000_000);
}

#[test]
fn json_of_any_depth_is_read_without_a_panic() {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let count = |text: String| read_whole(text.as_bytes()).0;
    // As a tool's input, it stays as it is.
    let used = |input: String| {
        count(format!(
            r#"{{"type":"assistant","message":{{"content":[{{"type":"tool_use","id":"t","name":"x","input":{input}}}]}}}}"#
        ))
    };
    for depth in [100, 1000, 200_000] {
        let all: Vec<Located> = used(deep(depth));
        let Said::Assistant(assistant) = &all[0].event.said else { panic!() };
        let Block::ToolUse(used) = &assistant.blocks[0] else { panic!() };
        assert_eq!(used.input.len(), 2 * depth);
        // Where it is not wanted, it is skipped; where a word is wanted, it is odd.
        assert_eq!(count(format!(r#"{{"type":"x","y":{}}}"#, deep(depth))).len(), 1);
        let odd = count(format!(r#"{{"type":"result","errors":{}}}"#, deep(depth)));
        assert_eq!(odd[0].event.odd, ["errors"]);
        assert_eq!(count(deep(depth)).len(), 0);
    }
}

#[test]
fn a_list_of_millions_is_looked_at_in_part_and_skipped() {
    let zeros = "0,".repeat(2_000_000);
    let (all, _) = read_whole(
        format!(r#"{{"type":"result","errors":[{zeros}0],"is_error":false}}"#).as_bytes(),
    );
    let Said::Result(result) = &all[0].event.said else { panic!() };
    assert_eq!((result.errors.len(), result.is_error), (0, false));
}

#[test]
fn what_a_hostile_run_prints_leaves_an_outcome_of_bounded_size() {
    let mut fold = Fold::new();
    let mut parser = Parser::new();
    let long = "n".repeat(10_000);
    let line = |n: usize| {
        [
            format!(
                r#"{{"type":"assistant","message":{{"model":"{n}{long}","content":[{{"type":"tool_use","id":"{n}{long}","name":"{n}{long}","input":"{long}"}}]}}}}"#
            ),
            format!(
                r#"{{"type":"user","message":{{"content":[{{"type":"tool_result","tool_use_id":"{n}{long}","content":"{long}"}}]}}}}"#
            ),
            format!(r#"{{"type":"system","subtype":"permission_denied","tool_name":"{long}","tool_use_id":"{n}{long}"}}"#),
            format!(
                r#"{{"type":"system","subtype":"init","model":"{n}{long}","mcp_servers":[{{"name":"{n}{long}","status":"failed"}}]}}"#
            ),
        ]
        .join("\n")
            + "\n"
    };
    for n in 0..1000 {
        for located in parser.push(line(n).as_bytes()) {
            fold.add(&located.event);
        }
    }
    let text = "t".repeat(3_000_000);
    let errors = vec![format!("\"{text}\""); 3].join(",");
    let last = format!(r#"{{"type":"result","result":"{text}","errors":[{errors}]}}"#);
    for located in parser.push(last.as_bytes()).into_iter().chain(parser.finish()) {
        fold.add(&located.event);
    }
    let outcome = fold.end(parser.noise(), &Ending::default());
    assert_eq!((outcome.tool_uses.total, outcome.tool_uses.first.len()), (1000, 200));
    assert_eq!((outcome.tool_uses.by_name.len(), outcome.tool_uses.by_name["…"]), (257, 744));
    assert_eq!((outcome.models.len(), outcome.mcp_servers_failed.len()), (32, 32));
    assert_eq!(
        (outcome.permission_denials.total, outcome.permission_denials.first.len()),
        (1000, 100)
    );
    assert_eq!((outcome.text_bytes, outcome.text.as_ref().unwrap().len()), (3_000_000, 256 * 1024));
    let json = serde_json::to_string(&outcome).unwrap();
    assert!(json.len() < 1_400_000, "{}", json.len());
}

#[test]
fn refused_credentials_are_counted_until_something_else_is_heard() {
    let retry = |status: &str| {
        format!(
            r#"{{"type":"system","subtype":"api_retry","attempt":1,"max_retries":9,"retry_delay_ms":1,"error_status":{status},"error":"x"}}"#
        )
    };
    let counted = |lines: &[String]| {
        let (mut parser, mut fold) = (Parser::new(), Fold::new());
        for located in parser.push((lines.join("\n") + "\n").as_bytes()) {
            fold.add(&located.event);
        }
        fold.unauthorized()
    };
    let answer = r#"{"type":"assistant","message":{"id":"m","model":"m","content":[]}}"#.to_owned();
    assert_eq!(counted(&[retry("401"), retry("403"), retry("401")]), 3);
    assert_eq!(counted(&[retry("401"), retry("529"), retry("403")]), 1);
    assert_eq!(counted(&[retry("401"), answer]), 0);
}
