//! Many seeds, each run twice.

use chanop_sim::chaos;

/// How many seeds plain `cargo nextest run` tries, in each of four tests.
const SEEDS: u64 = 400;

fn fails(seed: u64) -> Option<String> {
    match (chaos::run(seed), chaos::run(seed)) {
        (Ok(first), Ok(second)) => {
            let differs = first.log.iter().zip(&second.log).find(|(a, b)| a != b);
            differs.map(|(a, b)| format!("seed {seed} differs from itself:\n  {a}\n  {b}"))
        }
        (Err(broken), _) | (_, Err(broken)) => {
            let from = broken.log.len().saturating_sub(120);
            Some(format!(
                "seed {seed}: {}\n{}\n`make sim SEED={seed}` shows all of it",
                broken.what,
                broken.log.get(from..).unwrap_or_default().join("\n")
            ))
        }
    }
}

fn clean(range: std::ops::Range<u64>) {
    let failing: Vec<String> = range.filter_map(fails).collect();
    if let Some(first) = failing.first() {
        panic!("{} seeds fail; the first:\n{first}", failing.len());
    }
}

#[test]
fn seeds_are_clean() {
    clean(0..SEEDS);
}

#[test]
fn seeds_are_clean_in_the_second_quarter() {
    clean(SEEDS..2 * SEEDS);
}

#[test]
fn seeds_are_clean_in_the_third_quarter() {
    clean(2 * SEEDS..3 * SEEDS);
}

#[test]
fn seeds_are_clean_in_the_last_quarter() {
    clean(3 * SEEDS..4 * SEEDS);
}

#[test]
fn one_seed_is_replayed() {
    #[expect(clippy::disallowed_methods, reason = "a person names the seed to be replayed")]
    let seeds = std::env::var("SIM_SEED").unwrap_or_else(|_| "1".to_owned());
    for seed in seeds.split(',') {
        let (from, to) = seed.split_once('-').unwrap_or((seed, seed));
        let (from, to): (u64, u64) = (from.parse().unwrap(), to.parse().unwrap());
        let mut kinds = std::collections::BTreeMap::<String, (u64, u64)>::new();
        for seed in from..=to {
            match chaos::run(seed) {
                Ok(summary) if from == to => {
                    println!("{}", summary.log.join("\n"));
                    println!(
                        "seed {seed} is clean: {} inputs, {} calls, {:?}",
                        summary.inputs, summary.calls, summary.time
                    );
                }
                Ok(_) => {}
                Err(broken) if from == to => {
                    println!("{}", broken.log.join("\n"));
                    panic!("seed {seed}: {}", broken.what);
                }
                Err(broken) => {
                    let kind: String =
                        broken.what.chars().filter(|c| !c.is_ascii_digit()).take(60).collect();
                    kinds.entry(kind).or_insert((seed, 0)).1 += 1;
                }
            }
        }
        for (kind, (seed, count)) in &kinds {
            println!("{count:>5} × {kind} … seed {seed}");
        }
        assert!(kinds.is_empty(), "{} kinds of failure in seeds {from} to {to}", kinds.len());
    }
}
