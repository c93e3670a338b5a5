//! How fast the CLI's output is read: `cargo bench --bench transcript`.
//!
//! Two shapes: a recorded run's lines over and over, as a busy agent prints them, and one line of 5 MB in pieces of 64 KiB, as a pipe
//! gives it. The second would show a search that begins anew with each piece.

use std::hint::black_box;

use chanop::claude::outcome::Fold;
use chanop::claude::parser::Parser;
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

/// What a pipe holds.
const CHUNK_BYTES: usize = 64 * 1024;

/// A run of 105 lines, about 700 bytes each.
const RECORDED: &[u8] = include_bytes!("../tests/fixtures/claude/max_budget.jsonl");

fn lines(criterion: &mut Criterion) {
    run(criterion, "many small lines", &RECORDED.repeat(50));
}

fn long_line(criterion: &mut Criterion) {
    let text = "long answer\\n".repeat(5_000_000 / 13);
    let line = format!(
        r#"{{"type":"assistant","message":{{"content":[{{"type":"text","text":"{text}"}}]}}}}"#
    );
    run(criterion, "one line of 5 MB", (line + "\n").as_bytes());
}

fn run(criterion: &mut Criterion, name: &str, bytes: &[u8]) {
    let mut group = criterion.benchmark_group("transcript");
    group.throughput(Throughput::Bytes(u64::try_from(bytes.len()).unwrap_or(u64::MAX)));
    group.bench_function(name, |bencher| {
        bencher.iter_batched(
            || (Parser::new(), Fold::new()),
            |(mut parser, mut fold)| {
                for chunk in bytes.chunks(CHUNK_BYTES) {
                    for located in parser.push(black_box(chunk)) {
                        fold.add(&located.event);
                    }
                }
                (parser, fold)
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

criterion_group!(benches, lines, long_line);
criterion_main!(benches);
